"""Reads events back from files: in order across writers, with losses, also while a session is written."""
