"""Comparison of recorded and replayed values and events, and the outcome of a replay."""
