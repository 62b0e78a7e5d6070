"""Decorated functions and instrumented classes: a call, its span, its event, its error."""
