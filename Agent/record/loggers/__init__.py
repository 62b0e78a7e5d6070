"""The loggers and the blocks that users call."""
