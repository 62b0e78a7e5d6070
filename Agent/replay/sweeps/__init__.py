"""Many forks of one point, and how an outcome is distributed over them."""
