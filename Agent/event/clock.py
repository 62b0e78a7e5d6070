"""Time as the record writes it: microseconds since 1970, as RFC 3339 in UTC, and the seam that tells it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_US = (datetime.min.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
"""The earliest time that `format_timestamp` can write, in microseconds since 1970."""
LAST_US = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
"""The latest."""


class Clock(Protocol):
    """Where recording gets its time from; `Agent.testing.FakeClock` is the double."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never run backwards, for durations."""


class SystemClock:
    """The clock of the machine."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.perf_counter_ns)


def format_timestamp(unix_us: int) -> str:
    """RFC 3339 in UTC with microseconds, e.g. 2026-11-20T10:30:45.123456Z; `FIRST_US` to `LAST_US`."""
    hours, rest_us = divmod(unix_us, 3_600_000_000)
    minutes, rest_us = divmod(rest_us, 60_000_000)
    try:
        return f"{_hour(hours)}:{minutes:02}:{rest_us / 1e6:09.6f}Z"
    except OverflowError:
        # such as the beginning of what a damaged line says took 10**30 ms
        return format_timestamp(FIRST_US if unix_us < 0 else LAST_US)


@lru_cache(maxsize=1024)
def _hour(hours: int) -> str:
    """The date and the hour; times that are written together share it, and a calendar costs most of one."""
    return moment_of(hours * 3_600_000_000).isoformat()[:13]


def seconds_between(started_at: str | None, until: str | None) -> float | None:
    """How far two RFC 3339 times lie apart, None where one is missing; ValueError where one is none."""
    if started_at is None or until is None:
        return None
    return (parse_timestamp(until) - parse_timestamp(started_at)) / 1_000_000


def parse_timestamp(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time; one without an offset is taken as UTC; ValueError."""
    return unix_us(datetime.fromisoformat(text))


def moment_of(unix_us: int) -> datetime:
    """The moment of some microseconds since 1970, in UTC."""
    return EPOCH + timedelta(microseconds=unix_us)


def unix_us(moment: datetime) -> int:
    """Microseconds since 1970 of a moment; one without an offset is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)
