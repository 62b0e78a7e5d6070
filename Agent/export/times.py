"""A time as the wire tells it, and the same as a number: whole microseconds since 1970."""

from __future__ import annotations

from typing import Final

from Agent.event.clock import parse_timestamp

__all__ = ["NO_TIME", "elapsed_ms", "read_time"]

NO_TIME: Final = "it is not an RFC 3339 time between 1970 and 9999"
_MAX_CHARS: Final = 40
_YEAR_10000_US: Final = 253_402_300_800_000_000


def read_time(value: object) -> int | None:
    """Microseconds since 1970 of an RFC 3339 time, None for what is none; without an offset it is UTC."""
    if not isinstance(value, str) or len(value) > _MAX_CHARS:
        return None
    try:
        ts_us = parse_timestamp(value)
    except (ValueError, OverflowError):
        return None
    return ts_us if 0 <= ts_us < _YEAR_10000_US else None


def elapsed_ms(started_us: int | None, ended_us: int | None) -> float | None:
    """How long something took; None where one of both is not known, or a clock was set back meanwhile."""
    if started_us is None or ended_us is None or ended_us < started_us:
        return None
    return (ended_us - started_us) / 1000
