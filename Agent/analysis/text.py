"""Answers as text: plain columns of a bounded number of lines, values in words, and templates of pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from Agent.record.encode.safe_text import cut, shown_safely

if TYPE_CHECKING:
    from jinja2 import Template

WIDTH = 100


def section(title: str, lines: Iterable[str]) -> str:
    """A headed, indented block; empty if it has no line."""
    body = [f"  {line}" for line in lines]
    return "\n".join([title, *body]) if body else ""


def table(
    rows: Sequence[Sequence[Any]], right: frozenset[int] = frozenset(), width: int | None = None
) -> list[str]:
    """Rows in columns as wide as their widest cell.

    Args:
        right: the columns aligned to the right.
        width: what a line may take; columns stand closer, and long texts are cut, so that it does.
    """
    cells = [[cell(value) for value in row] for row in rows]
    if not cells:
        return []
    widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]))]
    gap = 2
    if width is not None:
        widths, gap = fitted(widths, [n not in right for n in range(len(widths))], width)
    lines = []
    for row in cells:
        shown = [
            text if len(text) <= most else text[: most - 1] + "…"
            for text, most in zip(row, widths, strict=True)
        ]
        padded = [
            text.rjust(widths[n]) if n in right else text.ljust(widths[n]) for n, text in enumerate(shown)
        ]
        lines.append((" " * gap).join(padded).rstrip())
    return lines


def command_lines(line: str, width: int) -> list[str]:
    """A command line, broken before its options where it is too long, so that a shell reads it as one."""
    if len(line) <= width:
        return [line]
    parts: list[str] = []
    for word in _SHELL_WORD.findall(line):
        # the value of an option stays with it
        if parts and not word.startswith("-") and parts[-1].startswith("-") and " " not in parts[-1]:
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    margin = " " * (len(line) - len(line.lstrip()))
    lines = [margin + parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) + len(" \\") <= width:
            lines[-1] += f" {part}"
        else:
            lines[-1] += " \\"
            lines.append(f"{margin}    {part}")
    return lines


_SHELL_WORD: Final = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:\\.|[^"\\])*"|'[^']*')+""")
_LEAST_CELL: Final = 12


def fitted(widths: Sequence[int], may_be_cut: Sequence[bool], room: int) -> tuple[list[int], int]:
    """Widths of columns that fit into a line, the widest cut first, and the blanks between them."""
    made, gaps = list(widths), len(widths) - 1
    gap = 2 if sum(made) + 2 * gaps <= room else 1
    while sum(made) + gap * gaps > room:
        widest = max(range(len(made)), key=lambda at: made[at] if may_be_cut[at] else 0)
        if not may_be_cut[widest] or made[widest] <= _LEAST_CELL:
            break
        made[widest] -= 1
    return made, gap


def cell(value: Any) -> str:
    """A value as a cell: numbers short, text on one line and at most 60 characters."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return short_number(value)
    return cut(" ".join(str(value).split()), 60)


def short_number(value: float) -> str:
    """A number in at most about four digits, without an exponent where that is readable."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if abs(value) >= 1000:
        return f"{value:.0f}"
    if abs(value) >= 1:
        return f"{value:.2f}"
    return f"{value:.3g}"


def sparkline(values: Sequence[float]) -> str:
    """A curve in one line of block characters, lowest to highest."""
    blocks = "▁▂▃▄▅▆▇█"
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    return "".join(blocks[min(7, int((value - low) / width * 8))] for value in values)


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


MOST_CHARS: Final = 400
"""How much of a value stands in a page."""


def shown(value: object, most: int = MOST_CHARS) -> str:
    """A value as text: cut after so many characters, without what cannot be shown."""
    return "\n".join(map(shown_safely, cut(str(value), most).split("\n")))


def template(name: str, **filters: Callable[..., Any]) -> Template:
    """A template of `templates/`; what it prints is escaped, and shown as by `shown`."""
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
