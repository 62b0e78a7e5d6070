"""The loggers and context managers that users call."""
