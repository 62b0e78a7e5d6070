"""What a report is made of, as plain data: sections of blocks, for the terminal, a page or a notebook alike.

`text.py` draws them as lines, `html.py` as elements of a page; nobody else does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from Agent.render.words import count, milliseconds, number, seconds, size


class Cell(NamedTuple):
    """A cell of a grid that is set off: `name`, `good`, `warn`, `bad` or `soft`."""

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
    most: int = 8
    """How many rows a text shows."""


class Column(NamedTuple):
    """A column of a grid: its name, and what stands in it."""

    name: str
    cell: str | Callable[[Any], object]
    """A key or an attribute of the row, or what makes the cell of it; None shows as a dash."""
    form: Callable[[Any], object] | None = None
    """How the value is written; numbers stand at the right."""
    right: bool = False
    looks: Mapping[str, str] = {}
    """By what is written, how it is set off."""

    def value(self, row: Any) -> object:
        """The cell of a row."""
        if callable(self.cell):
            value = self.cell(row)
        else:
            value = row.get(self.cell) if isinstance(row, Mapping) else getattr(row, self.cell)
        if self.form is not None:
            value = self.form(value)
        look = self.looks.get(str(value))
        return value if look is None else Cell(str(value), look)


_NUMBERS: Final = (count, milliseconds, number, seconds, size)


def grid(rows: Iterable[Any], *columns: Column, most: int = 8) -> Grid:
    """The grid of some rows; a text shows at most so many."""
    right = {at for at, each in enumerate(columns) if each.right or each.form in _NUMBERS}
    cells = [[each.value(row) for each in columns] for row in rows]
    return Grid([each.name for each in columns], cells, frozenset(right), most)


def numbers(form: Callable[[Any], object], *names: str) -> list[Column]:
    """Columns that are called as their keys, all written alike."""
    return [Column(name, name, form, right=True) for name in names]


def name(value: object) -> Cell:
    """A form for names, which are set off."""
    return Cell(str(value or "-"), "name")


def failures(amount: int | None) -> Cell | str:
    """A form for counts of what went wrong."""
    return Cell(count(amount), "bad") if amount else "0"


def by_name(rows: Mapping[str, Mapping[str, Any]], most: int | None = None) -> list[dict[str, Any]]:
    """The first of some rows that are known by name, with that as their `name`."""
    return [{**row, "name": key or "(no name)"} for key, row in list(rows.items())[:most]]


def first_of(rows: Sequence[Any], most: int, *columns: Column) -> list[Block]:
    """The grid of the first rows, and how many there are besides; nothing without rows."""
    more = [Words(f"{count(len(rows) - most)} more.", "soft")] if len(rows) > most else []
    return [grid(rows[:most], *columns), *more] if rows else []


def sentence(*parts: str | None, look: str | None = None) -> list[Block]:
    """What there is to say in one paragraph; nothing if that is nothing."""
    told = "; ".join(part for part in parts if part)
    return [Words(f"{told}.", look)] if told else []


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
    """One thing of a list: how often, what, what is known of it, line by line, and more."""

    times: str
    text: str
    about: Sequence[str]
    more: Sequence[Fold] = ()


class Entries(NamedTuple):
    """Several of them."""

    entries: Sequence[Entry]
    most: int = 8
    """How many a text shows."""


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
