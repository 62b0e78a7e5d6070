"""Simulations with planted faults, which measure how often `debug_issue` names the true cause of a complaint.

The set shares no code with what it judges: it uses the public interface of `Agent` only. `kit` holds what all
worlds have in common, `worlds` one module for each world, and `score` the measurement.
"""
