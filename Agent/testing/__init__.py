"""The public test kit: doubles for the seams of recording, and a sink in memory."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Agent.testing.doubles import FakeClock, MemorySink, record_in_memory

__all__ = [
    "FakeClock",
    "MemorySink",
    "record_in_memory",
]


def __getattr__(name: str) -> Any:
    # Every test run of whoever installed this package loads the plugin here: it must not pay for the rest.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from Agent.testing import doubles

    return getattr(doubles, name)
