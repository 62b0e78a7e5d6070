"""Events of any number of writers in one order, and spans as trees."""
