"""The public test kit: doubles for the seams of recording, a sink in memory, and sessions of known truth."""

from Agent.testing.doubles import FakeClock, MemorySink, record_in_memory
from Agent.testing.known_truth import FAULTS, Fault, Truth, make_session

__all__ = [
    "FakeClock",
    "Fault",
    "FAULTS",
    "make_session",
    "MemorySink",
    "record_in_memory",
    "Truth",
]
