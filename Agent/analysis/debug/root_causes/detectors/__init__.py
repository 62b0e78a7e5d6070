"""Detectors: each takes a log and gives findings; none knows of another."""
