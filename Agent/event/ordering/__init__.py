"""Events of any number of writers in one order, spans as trees, and beginnings with their ends."""
