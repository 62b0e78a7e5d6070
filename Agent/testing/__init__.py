"""The public test kit: a fake clock, a sink in memory, and recording into memory."""

from typing import TYPE_CHECKING

from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.testing.doubles import FakeClock, MemorySink, record_in_memory

__all__ = ["FakeClock", "MemorySink", "record_in_memory"]

# pytest imports this package for its plugin in every test run, so nothing else is imported here.
__getattr__ = _lazy_names(__name__, {"doubles": "FakeClock MemorySink record_in_memory"})
