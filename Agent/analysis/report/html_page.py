"""A session as one HTML page to look at and to mail: no script, no network, nothing beside the file.

`sections` says what stands in it, as plain data; this is the frame, the look and the writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from Agent.analysis.report.blocks import (
    Bars,
    Block,
    Cell,
    Curve,
    Entries,
    Entry,
    Fold,
    Grid,
    Head,
    Ranges,
    Section,
    Share,
    SideBySide,
    Title,
    Words,
)
from Agent.analysis.report.html_charts import curve, legend, ranges, share_bar, stacked_bars
from Agent.analysis.report.html_text import Markup, tag, text
from Agent.analysis.report.sections import SessionQuestions, gather, header, sections
from Agent.analysis.report.session_report import write_whole
from Agent.version import __version__

__all__ = ["page", "write_page"]

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_CODE_CHARS: Final = 6000


def page(asked: SessionQuestions, *, now: datetime | None = None) -> str:
    """The page about one session; what it holds is asked of an analyzer's public methods."""
    made_at = (now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    facts = gather(asked)
    head = header(facts)
    document = tag(
        "html",
        tag(
            "head",
            Markup('<meta charset="utf-8">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="referrer" content="no-referrer">'),
            tag("title", head.title),
            tag("style", Markup(_style())),
        ),
        tag(
            "body",
            _head(head),
            tag("main", *(_section(each) for each in sections(facts))),
            tag("footer", f"Made by Agent Trace {__version__} at {made_at}. All times are UTC."),
        ),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{document}\n"


def _style() -> str:
    return files("Agent.analysis.report").joinpath("html_page.css").read_text("utf-8")


def _head(head: Head) -> Markup:
    numbers = (
        tag("div", tag("b", value, class_=look), tag("span", name)) for name, value, look in head.numbers
    )
    return tag(
        "header",
        tag("h1", head.title),
        tag("p", head.about, class_="soft"),
        tag("div", *numbers, class_="facts"),
    )


def _section(section: Section) -> Markup:
    return tag("section", tag("h2", section.title), *map(_block, section.blocks))


def _block(block: Block) -> Markup:
    match block:
        case Words(words, "code"):
            return tag("pre", text(words, _CODE_CHARS))
        case Words(words, look):
            return tag("p", words, class_=look)
        case Title(title):
            return tag("h3", title)
        case Grid(columns, rows, right):
            return _table(columns, rows, right)
        case Bars():
            return Markup(stacked_bars(**block._asdict()) + legend(block.names, block.colours))
        case Curve():
            return curve(**block._asdict())
        case Ranges():
            return Markup(legend(["p50", "p95", "p99"], [0, 3, 5]) + ranges(**block._asdict()))
        case Fold(summary, blocks):
            return tag("details", tag("summary", summary), *map(_block, blocks))
        case Entries(entries):
            return Markup("".join(map(_entry, entries)))
        case SideBySide(columns):
            return tag("div", *(tag("div", *map(_block, column)) for column in columns), class_="pair")


def _entry(entry: Entry) -> Markup:
    name = tag("b", f"{entry.times} ", class_="bad"), tag("b", text(entry.text))
    return tag("div", *name, tag("p", entry.about, class_="soft"), *map(_block, entry.more), class_="error")


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]], right: frozenset[int]) -> Markup:
    looks = ["n" if at in right else None for at in range(len(columns))]
    head = (tag("th", name, class_=look) for name, look in zip(columns, looks, strict=True))
    body = (
        tag("tr", *(tag("td", _cell(value), class_=look) for value, look in zip(row, looks, strict=True)))
        for row in rows
    )
    return tag("div", tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body)), class_="wide")


def _cell(value: object) -> object:
    match value:
        case Cell(words, "name"):
            return tag("b", words)
        case Cell(words, look):
            return tag("span", words, class_=look)
        case Share(part, tip):
            return share_bar(part, tip)
    return "-" if value is None else value


def write_page(target: Path, asked: SessionQuestions) -> Path:
    """Write the page, readable by its owner only, whole or not at all; the path written.

    Raises:
        InputError: the place cannot be written.
    """
    return write_whole(target, page(asked).encode("utf-8", "backslashreplace"))
