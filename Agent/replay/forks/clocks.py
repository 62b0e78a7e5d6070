"""Clocks of a fork: each continues from what it showed in the recording, so that a fork is not years later.

A call that the original made as well reads what it read then. Any other read is the recorded time plus what
has really gone by since, and no clock goes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from Agent.record.sources.clock import CLOCK_FORMS, CLOCKS

T = TypeVar("T")

WALL = "time"
_OF_WALL = {f"time.{name}" for name in CLOCK_FORMS} | {"datetime.datetime.now", "datetime.datetime.utcnow"}


def kind_of(source: str) -> str | None:
    """Which clock a source reads: `time`, `monotonic`, `perf_counter`, ...; None where it is no clock."""
    if source in _OF_WALL:
        return WALL
    module, _, name = source.partition(".")
    return name.removesuffix("_ns") if module == "time" and name in CLOCKS else None


class ForkClocks:
    """Shows recorded time.

    Args:
        wall_us: the time of day where the fork goes on, microseconds since 1970.
        latest: the last recorded value of other clocks before that, by source.
    """

    def __init__(self, wall_us: float, latest: Mapping[str, float]) -> None:
        self._ahead_ns = {WALL: int(wall_us * 1000) - time.time_ns()}
        """By kind of clock, how far the recording is ahead of the real one."""
        self._shown: dict[str, tuple[int, int]] = {}
        """By kind, how far ahead it was when a time that is not recorded was shown, and when that was."""
        for source, value in latest.items():
            kind = kind_of(source)
            if kind is not None and kind != WALL:
                self._ahead_ns[kind] = _ahead_ns(source, value, getattr(time, source.partition(".")[2])())

    def recorded(self, source: str, value: T, now: Callable[[], T]) -> T:
        """The recorded value that is due, but where the fork was shown a later time already."""
        kind = kind_of(source)
        if kind is None:
            return value
        ahead = _ahead_ns(source, value, now())
        shown = self._shown.get(kind)
        if shown is not None:
            before, at_ns = shown
            if ahead < before - (time.monotonic_ns() - at_ns):
                return self.now(source, now)
            del self._shown[kind]
        self._ahead_ns[kind] = ahead
        return value

    def now(self, source: str, now: Callable[[], T]) -> T:
        """What the source shows where nothing was recorded: for a clock, recorded time and what went by."""
        kind, real = kind_of(source), now()
        if kind is None or kind not in self._ahead_ns:
            return real
        ahead = self._ahead_ns[kind]
        self._shown[kind] = ahead, time.monotonic_ns()
        later: T = _later(source, real, ahead)
        return later


def latest_reads(reads: Iterable[Any]) -> dict[str, float]:
    """The last value of each clock but the time of day in the reads of calls, in order."""
    found: dict[str, float] = {}
    for each in reads:
        for source, values in each.items() if isinstance(each, dict) else ():
            if kind_of(source) not in {None, WALL} and values:
                found[source] = values[-1]
    return found


def _ahead_ns(source: str, value: Any, real: Any) -> int:
    if isinstance(value, datetime):
        return int((value - real) / timedelta(microseconds=1)) * 1000
    return int(value - real) if source.endswith("_ns") else round((value - real) * 1e9)


def _later(source: str, value: Any, ahead_ns: int) -> Any:
    if isinstance(value, datetime):
        return value + timedelta(microseconds=ahead_ns // 1000)
    return value + (ahead_ns if source.endswith("_ns") else ahead_ns / 1e9)
