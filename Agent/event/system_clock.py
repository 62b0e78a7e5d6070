"""The clocks and the sleep of recording: the system's own, even where a program replaces those of `time`.

Tests freeze clocks (`freezegun`) and replace `time.monotonic` or `time.sleep`, in `time` and in every module
that has imported them, but not in classes. Imported with the package, before the first event.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator


class SystemClock:
    """The system clock."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.perf_counter_ns)
    monotonic_s = staticmethod(time.perf_counter)
    processor_ns = staticmethod(time.process_time_ns)
    pause = staticmethod(time.sleep)


def turns(patience_s: float, pause_s: float) -> Iterator[None]:
    """Yield at once, and after each pause until the patience is over, for a loop that waits for others.

    The number of turns is limited, too: a fake clock may have been there before the package.
    """
    until_s = SystemClock.monotonic_s() + patience_s
    yield
    for _ in range(math.ceil(patience_s / pause_s)):
        if SystemClock.monotonic_s() >= until_s:
            return
        SystemClock.pause(pause_s)
        yield
