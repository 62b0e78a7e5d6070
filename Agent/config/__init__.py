"""Wiring: what can be set, where it is read from, and how the parts of recording meet."""
