"""Measurements beside peers and beside the floor, always in one run: `python -m benchmarks`."""
