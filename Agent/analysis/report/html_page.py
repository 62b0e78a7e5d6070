"""A session as one HTML page to look at and to mail: no script, no network, nothing beside the file.

`sections` says what stands in it, as plain data; this is the frame, the look and the writing.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

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
from Agent.analysis.report.sections import SessionQuestions, gather, header, sections
from Agent.analysis.report.session_report import write_whole
from Agent.analysis.text import count, milliseconds, number
from Agent.version import __version__

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_CODE_CHARS: Final = 6000


def page(asked: SessionQuestions, *, now: datetime | None = None) -> str:
    """The page about one session; what it holds is asked of an analyzer's public methods."""
    made_at = (now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    facts = gather(asked)
    head = header(facts)
    style = files("Agent.analysis.report").joinpath("html_page.css").read_text("utf-8")
    document = tag(
        "html",
        tag(
            "head",
            Markup('<meta charset="utf-8">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="referrer" content="no-referrer">'),
            tag("title", head.title),
            tag("style", Markup(style)),
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


WIDTH: Final = 960
LEFT: Final = 56
RIGHT: Final = 12
TOP: Final = 10
_TICKS: Final = 4


def _svg(height: int, *inner: Markup, label: str, width: int = WIDTH) -> Markup:
    return tag("svg", *inner, viewBox=f"0 0 {width} {height}", role="img", aria_label=label, class_="plot")


def _shape(name: str, tip: str | None = None, **attributes: Any) -> Markup:
    rounded = {
        key: f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
        for key, value in attributes.items()
    }
    return tag(name, tag("title", tip) if tip else None, **rounded)


def _words(x: float, y: float, words: object, anchor: str = "middle") -> Markup:
    return tag("text", words, x=f"{x:.0f}", y=f"{y:.0f}", text_anchor=anchor)


def _steps(most: float, least: float = 0.0) -> list[float]:
    """A few round values, at least so far apart, from 0 up to at least `most`."""
    raw = max(most / _TICKS, least)
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    return [step * at for at in range(math.ceil(most / step - 1e-9) + 1)]


def _short(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def stacked_bars(
    bars: Sequence[Mapping[str, float]],
    names: Sequence[str],
    tips: Sequence[str],
    ends: tuple[str, str],
    *,
    marks: Sequence[tuple[float, str]] = (),
    colours: Sequence[int] | None = None,
    height: int = 220,
    label: str,
) -> Markup:
    """Bars over time, each made of the parts `names`, bottom first; a mark is (share of the width, words)."""
    bottom = height - 22
    steps = _steps(max((sum(bar.values()) for bar in bars), default=0) or 1, least=1.0)
    scale = (bottom - TOP) / steps[-1]
    shapes = [*_grid(steps, bottom, scale)]
    wide = (WIDTH - LEFT - RIGHT) / max(len(bars), 1)
    for at, (bar, tip) in enumerate(zip(bars, tips, strict=True)):
        level, x = float(bottom), LEFT + at * wide
        for colour, name in zip(colours or range(len(names)), names, strict=False):
            tall = bar.get(name, 0) * scale
            if tall > 0:
                level -= tall
                place: dict[str, Any] = {"x": x, "y": level, "width": max(wide - 1, 0.6), "height": tall}
                shapes.append(_shape("rect", class_=f"c{colour}", **place))
        whole: dict[str, Any] = {"x": x, "y": float(TOP), "width": wide, "height": float(bottom - TOP)}
        shapes.append(_shape("rect", tip, class_="hit", **whole))
    for share, words in marks:
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        shapes.append(_shape("line", words, x1=x, x2=x, y1=float(TOP), y2=float(bottom), class_="mark"))
    return _svg(height, *shapes, *_ends(ends, height), label=label)


def _grid(steps: Sequence[float], bottom: float, scale: float) -> list[Markup]:
    shapes = []
    for step in steps:
        y = bottom - (step - steps[0]) * scale
        shapes.append(_shape("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        shapes.append(_words(LEFT - 6, y + 4, _short(step), "end"))
    return shapes


def _ends(ends: tuple[str, str], height: int) -> list[Markup]:
    return [_words(LEFT, height - 5, ends[0], "start"), _words(WIDTH - RIGHT, height - 5, ends[1], "end")]


def curve(
    values: Sequence[float], tips: Sequence[str], ends: tuple[str, str], *, height: int = 170, label: str
) -> Markup:
    """One curve over time, with a scale that includes zero unless all values lie far from it."""
    low, high = min(values), max(values)
    if low > 0 and low < high * 0.6:
        low = 0.0
    if high < 0 and high > low * 0.6:
        high = 0.0
    if high == low:
        low, high = low - 1, high + 1
    bottom = height - 22
    step = _steps(high - low)[1]
    steps = [step * at for at in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]
    scale = (bottom - TOP) / (steps[-1] - steps[0])
    wide = (WIDTH - LEFT - RIGHT) / max(len(values) - 1, 1)
    places = [(LEFT + at * wide, bottom - (value - steps[0]) * scale) for at, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    points = [
        _shape("circle", tip, cx=x, cy=y, r=3.0, class_="point")
        for (x, y), tip in zip(places, tips, strict=True)
    ]
    drawn = _shape("polyline", points=Markup(line), class_="curve")
    return _svg(height, *_grid(steps, bottom, scale), drawn, *points, *_ends(ends, height), label=label)


def ranges(rows: Sequence[tuple[str, Mapping[str, Any]]], *, label: str) -> Markup:
    """A line for each operation from p50 over p95 to p99, in milliseconds on a logarithmic scale."""
    names_wide, row_tall = 230, 24
    height = len(rows) * row_tall + 30
    found = [row[key] for _, row in rows for key in ("p50", "p99") if row.get(key) and row[key] > 0]
    low = math.floor(math.log10(min(found, default=1.0)))
    high = max(math.ceil(math.log10(max(found, default=1.0))), low + 1)
    per_decade = (WIDTH - names_wide - RIGHT - 60) / (high - low)

    def place(value: float) -> float:
        return names_wide + (math.log10(max(value, 10.0**low)) - low) * per_decade

    shapes: list[Markup] = []
    for power in range(low, high + 1):
        x = place(10.0**power)
        shapes.append(_shape("line", x1=x, x2=x, y1=4.0, y2=float(height - 22), class_="grid"))
        shapes.append(_words(x, height - 6, milliseconds(10.0**power)))
    for at, (name, row) in enumerate(rows):
        y = at * row_tall + 16.0
        p50, p95, p99 = (float(row.get(key) or 0) for key in ("p50", "p95", "p99"))
        tip = (
            f"{name}: p50 {milliseconds(p50)}, p95 {milliseconds(p95)}, p99 {milliseconds(p99)}, "
            f"{count(row.get('count'))} times"
        )
        shapes.append(_words(names_wide - 10, y + 4, text(name, 30), "end"))
        shapes.append(_shape("line", tip, x1=place(p50), x2=place(p99), y1=y, y2=y, class_="range"))
        shapes.append(_shape("circle", tip, cx=place(p50), cy=y, r=5.0, class_="c0"))
        shapes.append(_shape("circle", tip, cx=place(p95), cy=y, r=4.0, class_="c3"))
        shapes.append(_shape("circle", tip, cx=place(p99), cy=y, r=4.0, class_="c5"))
    return _svg(height, *shapes, label=label)


def share_bar(share: float, tip: str) -> Markup:
    """A small bar that fills a share, 0 to 1, of its width."""
    filled = _shape("rect", tip, x=0, y=2, width=max(min(share, 1.0), 0.0) * 80, height=8, class_="c0")
    return tag("svg", filled, viewBox="0 0 80 12", class_="share", role="img", aria_label=number(share))


def legend(names: Sequence[str], classes: Sequence[int] | None = None) -> str:
    """What the colours mean; nothing of one alone."""
    if len(names) < 2:
        return ""
    keys = classes or range(len(names))
    return tag(
        "p",
        *(tag("span", tag("i", class_=f"k{key}"), " ", name) for key, name in zip(keys, names, strict=False)),
        class_="legend",
    )


MAX_CHARS: Final = 400


class Markup(str):
    """A piece of HTML; only the functions of this module make it."""

    __slots__ = ()


def text(value: object, most: int = MAX_CHARS) -> Markup:
    """A value as escaped text: cut after so many characters, without what cannot be shown."""
    if isinstance(value, Markup):
        return value
    plain = str(value)
    if len(plain) > most:
        plain = plain[: most - 1] + "…"
    if not plain.isprintable():
        plain = "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in plain)
    return Markup(html.escape(plain))


def tag(name: str, *inner: object, **attributes: object) -> Markup:
    """An element; what stands in it is escaped, an underscore in an attribute's name is a hyphen."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = "".join(text(each) for each in inner if each is not None)
    return Markup(f"<{name}{written}>{content}</{name}>")
