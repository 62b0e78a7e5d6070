"""Golden traces: recorded runs kept as tests with all that a replay needs, and failing ones made small."""
