"""The public test kit: doubles for the seams of recording, and a sink in memory."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.testing.doubles import FakeClock, MemorySink, record_in_memory

__all__ = ["FakeClock", "MemorySink", "record_in_memory"]

# Every test run of whoever installed this package loads the plugin here: it must not pay for the rest.
__getattr__ = _lazy_names(__name__, {"doubles": "FakeClock MemorySink record_in_memory"})
