"""How numbers, durations and times read in a report."""

from __future__ import annotations

from typing import Any

__all__ = ["clock", "count", "milliseconds", "number", "plural", "seconds"]


def count(value: Any) -> str:
    """A whole number with its thousands set apart."""
    return "-" if value is None else f"{round(value):,}"


def plural(amount: int, noun: str) -> str:
    """A count with its noun: 1 error, 2 errors."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def number(value: Any) -> str:
    """A number in about four digits."""
    if value is None:
        return "-"
    if isinstance(value, int) or (value == value and abs(value) < 1e15 and value == int(value)):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def milliseconds(value: Any) -> str:
    """A duration that is given in milliseconds, in the unit that reads best."""
    if value is None or value != value:
        return "-"
    if value < 1:
        return f"{value * 1000:.3g} µs"
    return f"{value:.3g} ms" if value < 1000 else seconds(value / 1000)


def seconds(value: Any) -> str:
    """A duration that is given in seconds, in the unit that reads best."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def clock(timestamp: str | None, *, date: bool = False) -> str:
    """The time of day of a timestamp of the recording, in UTC."""
    if not timestamp:
        return "-"
    return f"{timestamp[:10]} {timestamp[11:19]}" if date else timestamp[11:23]
