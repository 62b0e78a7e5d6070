"""Reports as text: the sections of `blocks.py` as lines, with the first rows of each table and list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from textwrap import wrap

from Agent.render.blocks import Block, Curve, Entries, Grid, Section, Share, SideBySide, Title, Words
from Agent.render.formats import curve, fewer
from Agent.render.layout import WIDTH, clip, section, table


def sections_text(parts: Iterable[Section], width: int | None = None) -> str:
    """Format sections as text: titles at the margin, blocks indented, the first rows of tables and lists.

    With a width, tables are cut to it; paragraphs are never wider than a page.
    """
    lines = (
        section(each.title, chain.from_iterable(_lines(block, width) for block in each.blocks))
        for each in parts
    )
    return "\n\n".join(part for part in lines if part)


def _lines(block: Block, width: int | None) -> Iterator[str]:
    text_width = None if width is None else width - 2
    match block:
        case Words(words) | Title(words):
            yield from wrap(words, min(text_width or WIDTH, WIDTH - 2))
        case Grid(columns, rows, right, most, spare):
            shares = {at for row in rows for at, value in enumerate(row) if isinstance(value, Share)}
            shown = [at for at in range(len(columns)) if at not in shares]
            cells = [[row[at] for at in shown] for row in rows[:most]]
            to_right = {place for place, at in enumerate(shown) if at in right}
            least = [shown.index(at) for at in spare if at in shown]
            yield from table(cells, to_right, text_width, names=[columns[at] for at in shown], spare=least)
            yield from _more(len(rows) - most)
        case Entries(entries, most):
            for entry in entries[:most]:
                yield clip(f"{entry.times}  {_folded(entry.text)}", text_width or WIDTH)
                for line in entry.about:
                    yield from wrap(
                        _folded(line), text_width or WIDTH, initial_indent="  ", subsequent_indent="    "
                    )
            yield from _more(len(entries) - most)
        case Curve(values):
            yield from curve(values if text_width is None else fewer(values, text_width))
        case SideBySide(columns):
            for column in columns:
                yield from chain.from_iterable(_lines(each, width) for each in column)


def _folded(text: str) -> str:
    """A recorded text on one line, so that it cannot look like further lines of the report."""
    return " ".join(text.split())


def _more(hidden: int) -> Iterator[str]:
    if hidden > 0:
        yield f"... and {hidden} more"
