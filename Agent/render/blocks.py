"""The parts of a report as plain data: sections of blocks, for a terminal, a page or a notebook.

`layout.py` draws them as lines, `html.py` as HTML elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from Agent.render.formats import count, milliseconds, named, number, seconds, size

VERDICT_LOOKS: Final[Mapping[str, str]] = {
    "IDENTICAL": "good",
    "EQUIVALENT": "good",
    "DIVERGED": "bad",
    "UNVERIFIED": "warn",
}
"""The looks of the verdicts of a replay."""


class Cell(NamedTuple):
    """A cell of a grid with a look: `name`, `good`, `warn`, `bad` or `soft`."""

    text: str
    look: str


class Link(NamedTuple):
    """A cell that leads to another page of the same server; text shows its text alone."""

    text: str
    address: str


class Share(NamedTuple):
    """A cell that shows a share, 0 to 1, with a description."""

    part: float
    tip: str


class Words(NamedTuple):
    """A paragraph; `look` is good, warn, bad, soft, or code, whose lines are kept unchanged."""

    text: str
    look: str | None = None


class Title(NamedTuple):
    """The title of the following blocks."""

    text: str


class Grid(NamedTuple):
    """Rows with column names; `right` has the indices of right-aligned columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    right: frozenset[int] = frozenset()
    most: int = 8
    """The number of rows shown in text."""
    spare: Sequence[int] = ()
    """The columns that narrow text may leave out, the least important first."""
    whole: frozenset[int] = frozenset()
    """The columns that narrow text does not cut, besides right-aligned ones."""
    further: int = 0
    """The rows of the list that are not in `rows`; text counts them, a page has them in a later block."""


class Column(NamedTuple):
    """A column of a grid: its name, and how to get its cells."""

    name: str
    cell: str | Callable[[Any], object]
    """A key or an attribute of the row, or a function of the row; None is shown as a dash."""
    form: Callable[[Any], object] | None = None
    """How to format the value; columns of numbers are right-aligned."""
    right: bool = False
    looks: Mapping[str, str] = {}
    """{formatted value: look}."""
    spare: int = 0
    """If the width is too small, columns with the highest number are left out first; 0 is always kept."""
    whole: bool = False
    """Whether its texts are never cut, as those of times; numbers never are."""

    def value(self, row: Any) -> object:
        """The formatted cell of a row."""
        if callable(self.cell):
            value = self.cell(row)
        else:
            value = row.get(self.cell) if isinstance(row, Mapping) else getattr(row, self.cell)
        if self.form is not None:
            value = self.form(value)
        style = self.looks.get(str(value))
        return value if style is None else Cell(str(value), style)


_NUMBERS: Final = (count, milliseconds, number, seconds, size)


def grid(rows: Iterable[Any], *columns: Column, most: int = 8, further: int = 0) -> Grid:
    """A grid of some rows; text shows at most `most` of them, and counts `further` ones with the others."""
    whole = frozenset(at for at, each in enumerate(columns) if each.whole)
    right = {at for at, each in enumerate(columns) if each.right or each.form in _NUMBERS}
    cells = [[each.value(row) for each in columns] for row in rows]
    spare = sorted((at for at, each in enumerate(columns) if each.spare), key=lambda at: -columns[at].spare)
    return Grid([each.name for each in columns], cells, frozenset(right), most, spare, whole, further)


def numbers(form: Callable[[Any], object], *names: str, spare: int = 0) -> list[Column]:
    """Right-aligned columns named like their keys, all with the same format."""
    return [Column(name, name, form, right=True, spare=spare) for name in names]


def name(value: object) -> Cell:
    """Format a name."""
    return Cell(named(value), "name")


def failures(amount: int | None) -> Cell | str:
    """Format a count of failures; red unless it is 0."""
    return Cell(count(amount), "bad") if amount else "0"


def by_name(rows: Mapping[str, Mapping[str, Any]], most: int | None = None) -> list[dict[str, Any]]:
    """The first `most` rows of a mapping as dicts, with their key as `name`."""
    return [{**row, "name": named(key)} for key, row in list(rows.items())[:most]]


def first_of(rows: Sequence[Any], most: int, *columns: Column, total: int | None = None) -> list[Block]:
    """The first `most` rows, in text and in a page, and the number of further ones; [] without rows.

    `total`: the number of all rows, if `rows` has only the first of them.
    """
    left_out = (len(rows) if total is None else total) - min(len(rows), most)
    more = [Words(f"{count(left_out)} more.", "soft")] if left_out > 0 else []
    return [grid(rows[:most], *columns, most=most), *more] if rows else []


def sentence(*parts: str | None, style: str | None = None) -> list[Block]:
    """The non-empty parts as one paragraph; [] if there are none."""
    text = "; ".join(part for part in parts if part)
    return [Words(f"{text}.", style)] if text else []


class Bars(NamedTuple):
    """Stacked bars over time with the parts `names`; a mark is (share of the width, text)."""

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
    """The p50, p95 and p99 of each operation, in milliseconds."""

    rows: Sequence[tuple[str, Mapping[str, Any]]]
    label: str


class Fold(NamedTuple):
    """Blocks that are hidden until the reader opens them."""

    summary: str
    blocks: Sequence[Block]


class Entry(NamedTuple):
    """One item of a list: count, name, lines about it, and further blocks."""

    times: str
    text: str
    about: Sequence[str]
    more: Sequence[Fold] = ()


class Entries(NamedTuple):
    """A list of entries."""

    entries: Sequence[Entry]
    most: int = 8
    """The number of entries shown in text."""
    further: int = 0
    """The entries of the list that are not in `entries`, as in `Grid`."""


class SideBySide(NamedTuple):
    """Blocks in columns, if there is room."""

    columns: Sequence[Sequence[Block]]


Block = Words | Title | Grid | Bars | Curve | Ranges | Fold | Entries | SideBySide


class Section(NamedTuple):
    """A titled part of a report."""

    title: str
    blocks: Sequence[Block]


class Head(NamedTuple):
    """The head of a report: a title, a line, and some numbers as (name, value, look)."""

    title: str
    about: str
    numbers: Sequence[tuple[str, str, str | None]]
