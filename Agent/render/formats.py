"""Format values for people: numbers, durations, sizes and times."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from Agent.record.encode.safe_text import cut, shown_safely


def cell(value: Any) -> str:
    """A value as a cell: short numbers, and text on one line of at most 60 characters."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return short_number(value)
    return cut(" ".join(str(value).split()), 60)


def named(name: object) -> str:
    """A recorded name, such as an agent's id, printable: "(no name)" for an empty one, a dash for None."""
    return "-" if name is None else shown_safely(str(name)) or "(no name)"


def short_number(value: float) -> str:
    """A number with about four digits, without an exponent if that stays readable."""
    if not abs(value) < _LONG:
        return f"{value:.4g}"
    if value == int(value):
        return str(int(value))
    if abs(value) >= 1000:
        return f"{value:.0f}"
    if abs(value) >= 1:
        return f"{value:.2f}"
    return f"{value:.3g}"


_LONG: Final = 1e15
"""From here on, and for what is no number, digits alone are not readable."""


def curve(values: Sequence[float | None], lines: int = 1) -> list[str]:
    """A curve as lines of block characters, the highest values on the first.

    None, NaN and infinity are gaps.
    """
    blocks = " ▁▂▃▄▅▆▇█"
    present = [value for value in values if value is not None and math.isfinite(value)]
    low, high, most = min(present, default=0.0), max(present, default=0.0), 8 * lines - 1
    # the distance of two numbers can exceed a float, that of their halves cannot
    part = 1.0 if math.isfinite(high - low) else 0.5
    span = (high * part - low * part) or 1.0
    tall = [
        1 + min(most, int((value * part - low * part) / span * 8 * lines))
        if value is not None and math.isfinite(value)
        else 0
        for value in values
    ]
    below = [8 * (lines - 1 - line) for line in range(lines)]
    return ["".join(blocks[min(max(each - under, 0), 8)] for each in tall) for under in below]


def fewer(values: Sequence[float | None], most: int) -> list[float | None]:
    """The values, or if there are more than `most`, the means of that many adjacent groups; None is a gap."""
    groups = max(min(most, len(values)), 1)
    edges = [len(values) * group // groups for group in range(groups + 1)]
    means: list[float | None] = []
    for begin, end in pairwise(edges):
        present = [value for value in values[begin:end] if value is not None]
        means.append(_mean(present) if present else None)
    return means


def _mean(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    # a sum can exceed a float although the mean does not
    return mean if math.isfinite(mean) else sum(value / len(values) for value in values)


def count(value: Any) -> str:
    """A whole number with thousands separators."""
    return "-" if value is None else f"{round(value):,}"


MOST_LEVELS: Final = 20
"""Deeper lines are indented alike: blanks for 5,000 nested calls would be 99 % of their text."""


def indentation(depth: int) -> str:
    """Return what a line begins with at a depth of a tree: blanks, and the depth as a number if large."""
    return "  " * depth if depth <= MOST_LEVELS else f"{'  ' * MOST_LEVELS}[{depth}] "


def path_line(file: str, line: int) -> str:
    """A place in code as path:line, which terminals of editors open; relative if below this directory.

    For an installed package, the path begins with the package.
    """
    with contextlib.suppress(ValueError, OSError):  # elsewhere, or the working directory was removed
        file = Path(file).relative_to(Path.cwd()).as_posix()
    return f"{_INSTALLED.sub('', file)}:{line}"


_INSTALLED: Final = re.compile(r"^.*[/\\](?:site|dist)-packages[/\\]")


def plural(amount: int, noun: str, verb: str = "") -> str:
    """A count with its noun, such as 1 error or 2 errors, and a verb: 1 error is, 2 errors are."""
    words = f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"
    if verb:
        words += f" {_OF_ONE.get(verb, f'{verb}s') if amount == 1 else verb}"
    return words


_OF_ONE: Final = {"are": "is", "were": "was", "have": "has", "do": "does"}


def number(value: Any) -> str:
    """A number with about four digits."""
    if value is None:
        return "-"
    if isinstance(value, int) or (abs(value) < _LONG and value == int(value)):
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1000 <= abs(value) < _LONG else f"{value:.4g}"


def milliseconds(value: Any) -> str:
    """A duration in milliseconds, formatted in a suitable unit."""
    if value is None or value != value:
        return "-"
    if value < 1:
        return f"{value * 1000:.3g} µs"
    return f"{value:.3g} ms" if value < 1000 else seconds(value / 1000)


def seconds(value: Any) -> str:
    """A duration in seconds, formatted in a suitable unit."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    minutes, seconds_left = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds_left} s"


def clock(timestamp: str | None, *, date: bool = False) -> str:
    """The time of day of a recorded timestamp, in UTC; with `date`, date and time."""
    if not timestamp:
        return "-"
    return f"{timestamp[:10]} {timestamp[11:19]}" if date else timestamp[11:23]


def moment(timestamp: str) -> str:
    """Date and time of a recorded timestamp, to the millisecond."""
    return timestamp[:23].replace("T", " ")


def date_time(timestamp: str | None) -> str:
    """Date and time of a recorded timestamp, in UTC, to the second."""
    return clock(timestamp, date=True)


def size(size_bytes: int | None) -> str:
    """A number of bytes in a suitable unit."""
    if size_bytes is None:
        return "-"
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
