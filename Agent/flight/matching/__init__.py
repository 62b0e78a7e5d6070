"""Recorded calls read back, matched with those made now, and answered from the recording."""
