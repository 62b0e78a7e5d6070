"""Reports as HTML: self-contained pages without scripts or network access, and parts for notebooks.

`templates/` defines the look of the blocks in `blocks.py`; the geometry of the charts is here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from Agent.record.encode.safe_text import cut, shown_safely
from Agent.render.blocks import VERDICT_LOOKS, Bars, Block, Curve, Head, Ranges, Section, Share, Title, Words
from Agent.render.formats import count, milliseconds, number
from Agent.version import __version__

if TYPE_CHECKING:
    from jinja2 import Template

WIDTH: Final = 960
LEFT: Final = 56
RIGHT: Final = 12
TOP: Final = 10
_TICKS: Final = 4
_HUGE: Final = 1e307
_SAME: Final = 1e-13
"""A difference relative to the numbers that is above the rounding of a float."""
_NOTHING: Final = 1e-300
_DECADES: Final = (-300, 307)
"""The powers of ten whose neighbours are floats with all their digits."""
_CODE_CHARS: Final = 6000
_CODE_LINES: Final = 100
_COLOURS: Final = ("#4c7fd9", "#e0913a", "#3aa387", "#d9a72c", "#8a6fd1", "#cf4f5c", "#9aa5b5")
_PLAIN: Final[Mapping[str, Mapping[str, object]]] = {
    "grid": {"stroke": "#9aa5b5", "stroke-opacity": 0.4},
    "mark": {"stroke": "#9aa5b5", "stroke-dasharray": "3 3"},
    "hit": {"fill": "transparent"},
    "curve": {"fill": "none", "stroke": _COLOURS[0], "stroke-width": 2},
    "point": {"fill": _COLOURS[0]},
    "range": {"stroke": _COLOURS[6], "stroke-width": 4},
    **{f"c{number}": {"fill": colour} for number, colour in enumerate(_COLOURS)},
}
"""The attributes of a shape without a style sheet, as in a notebook; a style sheet overrides them."""
STYLE_SHEET: Final = Path(__file__).with_name("templates") / "page.css"
"""The look of the blocks, for servers that send it as a file."""
MOST_CHARS: Final = 400
"""The most characters of a value in a page."""


def shown(value: object, most: int = MOST_CHARS) -> str:
    """A value as text: cut after `most` characters, with unprintable characters escaped."""
    return "\n".join(map(shown_safely, cut(str(value), most).split("\n")))


def page(head: Head, sections: Iterable[Section]) -> str:
    """Render a report as an HTML page."""
    made_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    drawn = _blocks("page.html").render(head=head, sections=sections, version=__version__, made_at=made_at)
    return str(drawn)


def block_html(block: Block) -> str:
    """Render one block as HTML."""
    return str(_blocks("blocks.html").module.block(block))


def notebook_html(sections: Iterable[Section]) -> str:
    """Render a report as HTML for a notebook."""
    return "".join(block_html(Title(each.title)) + "".join(map(block_html, each.blocks)) for each in sections)


class TextInNotebook:
    """A report whose `str()` begins with a headline; a notebook shows the headline above the other lines."""

    __slots__ = ()

    def lines(self) -> Iterator[str]:
        """Yield the lines of the report."""
        yield from str(self).splitlines()

    def _repr_html_(self) -> str:
        lines = self.lines()
        headline = next(lines, "")
        further_lines = [*islice(lines, _CODE_LINES), *(["..."] if next(lines, None) is not None else [])]
        style = VERDICT_LOOKS.get(headline.partition(" ")[0])
        return block_html(Words(headline, style)) + block_html(Words("\n".join(further_lines), "code"))


def template(name: str, **filters: Callable[..., Any]) -> Template:
    """Load a template of `templates/`; the values it prints go through `shown` and are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if hasattr(value, "__html__") else shown(value),
    )
    environment.filters |= filters
    environment.tests["kind"] = lambda value, kind: type(value).__name__ == kind
    return environment.get_template(name)


def _blocks(name: str) -> Any:
    charts: dict[str, Callable[..., Any]] = {
        draw.__name__: draw for draw in (curve, ranges, share_bar, stacked_bars)
    }
    return template(name, at_length=_at_length, **charts)


def _at_length(text: str) -> Any:
    """Format a long text, such as a traceback, with a higher limit than `shown`."""
    from markupsafe import escape

    return escape(shown(text, _CODE_CHARS))


class SvgElement(NamedTuple):
    """One element of a drawing: its name, class, tooltip and attributes."""

    name: str
    look: str
    tip: str | None
    places: Mapping[str, object]


@dataclass(slots=True)
class Drawing:
    """An SVG image; a word is (x, y, text, anchor)."""

    height: int
    label: str
    width: int = WIDTH
    look: str = "plot"
    shapes: list[SvgElement] = field(default_factory=list)
    words: list[tuple[float, float, object, str]] = field(default_factory=list)

    def draw(self, name: str, style: str, tip: str | None = None, **attributes: object) -> None:
        """Add a shape; numbers are rounded to a tenth of a unit."""
        rounded = {
            key: f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
            for key, value in attributes.items()
        }
        self.shapes.append(SvgElement(name, style, tip, rounded | dict(_PLAIN.get(style, {}))))

    def write(self, x: float, y: float, text: object, anchor: str = "middle") -> None:
        """Add a text."""
        self.words.append((x, y, text, anchor))

    def frame(self, steps: Sequence[float], scale: float, ends: tuple[str, str], unit: int = 1) -> None:
        """Add the grid and scale on the left, in `unit`, and the labels at both ends of the time axis."""
        bottom = self.height - 22
        for step in steps:
            y = bottom - (step - steps[0]) * scale
            self.draw("line", "grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y)
            text = _short(step) if unit == 1 else f"{Decimal(step) * unit:.3g}"
            self.write(LEFT - 6, y + 4, text, "end")
        self.write(LEFT, self.height - 5, ends[0], "start")
        self.write(WIDTH - RIGHT, self.height - 5, ends[1], "end")


def _steps(most: float, least: float = 0.0) -> list[float]:
    """Round values from 0 up to at least `most`, at least `least` apart."""
    raw = max(most / _TICKS, least)
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    return [step * at for at in range(math.ceil(most / step - 1e-9) + 1)]


def _short(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def stacked_bars(block: Bars) -> Drawing:
    """Draw bars over time, each stacked from the parts `names`, bottom first."""
    drawing = Drawing(block.height, block.label)
    bottom = block.height - 22
    steps = _steps(max((sum(bar.values()) for bar in block.bars), default=0) or 1, least=1.0)
    scale = (bottom - TOP) / steps[-1]
    drawing.frame(steps, scale, block.ends)
    wide = (WIDTH - LEFT - RIGHT) / max(len(block.bars), 1)
    for at, (bar, tip) in enumerate(zip(block.bars, block.tips, strict=True)):
        level, x = float(bottom), LEFT + at * wide
        for colour, name in zip(block.colours or range(len(block.names)), block.names, strict=False):
            tall = bar.get(name, 0) * scale
            if tall > 0:
                level -= tall
                drawing.draw("rect", f"c{colour}", x=x, y=level, width=max(wide - 1, 0.6), height=tall)
        drawing.draw("rect", "hit", tip, x=x, y=float(TOP), width=wide, height=float(bottom - TOP))
    for share, text in block.marks:
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        drawing.draw("line", "mark", text, x1=x, x2=x, y1=float(TOP), y2=float(bottom))
    return drawing


def curve(block: Curve) -> Drawing:
    """Draw one curve over time; the scale includes 0 if the values vary by more than 40 %.

    NaN and infinity are left out.
    """
    drawing = Drawing(170, block.label)
    drawn = [at for at, value in enumerate(block.values) if math.isfinite(value)]
    # steps beyond the values, and distances of two, must be floats too
    unit = 1 if all(abs(block.values[at]) < _HUGE for at in drawn) else 16
    values = {at: block.values[at] / unit for at in drawn}
    low, high = min(values.values(), default=0.0), max(values.values(), default=0.0)
    if low > 0 and low < high * 0.6:
        low = 0.0
    if high < 0 and high > low * 0.6:
        high = 0.0
    most = max(abs(low), abs(high))
    if high - low <= max(_SAME * most, _NOTHING):
        # the values differ by no more than rounding; a step between them would vanish
        low, high = low - max(1.0, 10 * _SAME * most), high + max(1.0, 10 * _SAME * most)
    bottom = drawing.height - 22
    step = _steps(high - low)[1]
    steps = [step * at for at in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]
    scale = (bottom - TOP) / (steps[-1] - steps[0])
    drawing.frame(steps, scale, block.ends, unit)
    wide = (WIDTH - LEFT - RIGHT) / max(len(block.values) - 1, 1)
    points = [(LEFT + at * wide, bottom - (value - steps[0]) * scale) for at, value in values.items()]
    drawing.draw("polyline", "curve", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))
    for (x, y), at in zip(points, drawn, strict=True):
        tip = block.tips[at]
        drawing.draw("circle", "point", tip, cx=x, cy=y, r=3)
    return drawing


def ranges(block: Ranges) -> Drawing:
    """Draw a line from p50 over p95 to p99 for each operation, in milliseconds on a logarithmic scale."""
    names_wide, row_tall = 230, 24
    drawing = Drawing(len(block.rows) * row_tall + 30, block.label, look="plot ranges")
    durations = [row[key] for _, row in block.rows for key in ("p50", "p99") if row.get(key) and row[key] > 0]
    low = min(max(math.floor(math.log10(min(durations, default=1.0))), _DECADES[0]), _DECADES[1])
    high = max(min(math.ceil(math.log10(max(durations, default=1.0))), _DECADES[1]), low + 1)
    per_decade = (WIDTH - names_wide - RIGHT - 60) / (high - low)

    def place(value: float) -> float:
        return names_wide + (math.log10(max(value, 10.0**low)) - low) * per_decade

    for power in range(low, high + 1):
        x = place(10.0**power)
        drawing.draw("line", "grid", x1=x, x2=x, y1=4, y2=drawing.height - 22)
        drawing.write(x, drawing.height - 6, milliseconds(10.0**power))
    for at, (name, row) in enumerate(block.rows):
        y = at * row_tall + 16.0
        tooltip = ", ".join(
            f"{key} {milliseconds(float(row.get(key) or 0))}" for key in ("p50", "p95", "p99")
        )
        tip = f"{name}: {tooltip}, {count(row.get('count'))} times"
        p50, p95, p99 = (place(float(row.get(key) or 0)) for key in ("p50", "p95", "p99"))
        drawing.write(names_wide - 10, y + 4, shown(name, 30), "end")
        drawing.draw("line", "range", tip, x1=p50, x2=p99, y1=y, y2=y)
        for style, x, radius in (("c0", p50, 5), ("c3", p95, 4), ("c5", p99, 4)):
            drawing.draw("circle", style, tip, cx=x, cy=y, r=radius)
    return drawing


def share_bar(share: Share) -> Drawing:
    """Draw a small bar whose filled part is a share, 0 to 1."""
    drawing = Drawing(12, number(share.part), width=80, look="share")
    drawing.draw("rect", "c0", share.tip, x=0, y=2, width=max(min(share.part, 1.0), 0.0) * 80, height=8)
    return drawing
