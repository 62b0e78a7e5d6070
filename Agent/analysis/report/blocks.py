"""A report as plain data: sections of a few sorts of blocks. `html_page` and `session_report` print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """A cell of a grid that is set off: `name` or `bad`."""

    text: str
    look: str


class Share(NamedTuple):
    """A cell that shows a share, 0 to 1, and what it is of."""

    part: float
    tip: str


class Words(NamedTuple):
    """A paragraph; `look` is good, warn, bad, soft, or code, whose lines stay as they are."""

    text: str
    look: str | None = None


class Title(NamedTuple):
    """The title of the blocks behind it."""

    text: str


class Grid(NamedTuple):
    """Rows under their names; `right` holds the columns of numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    right: frozenset[int] = frozenset()


class Bars(NamedTuple):
    """Bars over time, each made of the parts `names`; a mark is (share of the width, words)."""

    bars: Sequence[Mapping[str, float]]
    names: Sequence[str]
    tips: Sequence[str]
    ends: tuple[str, str]
    label: str
    marks: Sequence[tuple[float, str]] = ()
    colours: Sequence[int] | None = None
    height: int = 220


class Curve(NamedTuple):
    """One curve over time."""

    values: Sequence[float]
    tips: Sequence[str]
    ends: tuple[str, str]
    label: str


class Ranges(NamedTuple):
    """For each operation its p50, p95 and p99 in milliseconds."""

    rows: Sequence[tuple[str, Mapping[str, Any]]]
    label: str


class Fold(NamedTuple):
    """Something that is shown where it is asked for."""

    summary: str
    blocks: Sequence[Block]


class Entry(NamedTuple):
    """One thing of a list: how often, what, what is known of it, and more."""

    times: str
    text: str
    about: str
    more: Sequence[Fold]


class Entries(NamedTuple):
    """Several of them."""

    entries: Sequence[Entry]


class SideBySide(NamedTuple):
    """Blocks in columns, where there is room."""

    columns: Sequence[Sequence[Block]]


Block = Words | Title | Grid | Bars | Curve | Ranges | Fold | Entries | SideBySide


class Section(NamedTuple):
    """A titled part of a report."""

    title: str
    blocks: Sequence[Block]


class Head(NamedTuple):
    """What a report is about, in a line and in a few numbers: (name, value, look)."""

    title: str
    about: str
    numbers: Sequence[tuple[str, str, str | None]]
