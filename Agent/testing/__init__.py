"""The public test kit: doubles for the seams of recording, and a sink that keeps events in memory."""

from Agent.testing.doubles import FakeClock, MemorySink, record_in_memory

__all__ = ["FakeClock", "MemorySink", "record_in_memory"]
