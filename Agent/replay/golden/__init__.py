"""Golden traces: recorded runs kept as regression tests; failing ones can be shrunk."""
