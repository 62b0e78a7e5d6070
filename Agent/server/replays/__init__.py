"""Replays that the service runs in worker processes."""
