"""The public test kit: doubles for the seams of recording, a sink in memory, and sessions of known truth."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_DOUBLES = frozenset({"FakeClock", "MemorySink", "record_in_memory"})


def __getattr__(name: str) -> Any:
    # Every test run of whoever installed this package loads the plugin here: it must not pay for the rest.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from Agent.testing import doubles, known_truth

    return getattr(doubles if name in _DOUBLES else known_truth, name)
