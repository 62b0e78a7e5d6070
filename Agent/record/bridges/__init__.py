"""Write records of `logging` and structlog as events; `Agent.bridges` has the public names."""
