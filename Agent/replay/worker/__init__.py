"""The process that replays: start, requests, progress, and the driver that calls user code."""
