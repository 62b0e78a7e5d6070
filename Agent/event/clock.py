"""Time in logs: microseconds since 1970, written as RFC 3339 in UTC; and the clock that tests can replace."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_US = (datetime.min.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
"""The earliest time that `format_timestamp` can write, in microseconds since 1970."""
LAST_US = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
"""The latest time that `format_timestamp` can write, in microseconds since 1970."""
EVENT_TIME: Final = (
    "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?(Z|[+]00:00)?"
)
"""The form of an event's time, a pattern that Python and the engines of SQL read alike: RFC 3339 in UTC."""
_is_event_time = re.compile(EVENT_TIME).fullmatch


class Clock(Protocol):
    """The time source of recording; tests replace it with `Agent.testing.FakeClock`."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never decrease, for durations."""


def format_timestamp(unix_us: int) -> str:
    """Format a time as RFC 3339 in UTC with microseconds, e.g. 2026-11-20T10:30:45.123456Z.

    Times before `FIRST_US` or after `LAST_US` are clamped to these.
    """
    hours, rest_us = divmod(unix_us, 3_600_000_000)
    minutes, rest_us = divmod(rest_us, 60_000_000)
    try:
        return f"{_hour(hours)}:{minutes:02}:{rest_us / 1e6:09.6f}Z"
    except OverflowError:
        # e.g. the start of a span to which a damaged line gives a duration of 10**30 ms
        return format_timestamp(FIRST_US if unix_us < 0 else LAST_US)


@lru_cache(maxsize=1024)
def _hour(hours: int) -> str:
    """Format the date and the hour.

    The calendar is the expensive part of a timestamp, and times written together share it: so it is cached.
    """
    return moment_of(hours * 3_600_000_000).isoformat()[:13]


def seconds_between(started_at: str | None, until: str | None) -> float | None:
    """Return the seconds between two RFC 3339 times, None if one is missing; ValueError if malformed."""
    if started_at is None or until is None:
        return None
    return (parse_timestamp(until) - parse_timestamp(started_at)) / 1_000_000


def parse_timestamp(text: str) -> int:
    """Return microseconds since 1970; a time without an offset is UTC; ValueError if it is not RFC 3339."""
    return unix_us(datetime.fromisoformat(text))


def event_time(text: str) -> int:
    """Return microseconds since 1970 of an event's time; ValueError if it is not one that events can have."""
    if _is_event_time(text) is None:
        raise ValueError(f"{text[:40]!r} is not a time in UTC like 2026-11-20T10:30:45.123456Z")
    return parse_timestamp(text)


def moment_of(unix_us: int) -> datetime:
    """Convert microseconds since 1970 to a datetime in UTC."""
    return EPOCH + timedelta(microseconds=unix_us)


def unix_us(moment: datetime) -> int:
    """Convert a datetime to microseconds since 1970; one without an offset is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)
