"""The worker process of a replay: its start, requests, progress, and the driver that calls user code."""
