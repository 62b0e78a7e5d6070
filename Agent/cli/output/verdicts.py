"""How a verdict looks in a terminal: shared by the commands that end with one."""

from __future__ import annotations

from typing import Any

from Agent.cli.output import render

__all__ = ["VERDICT_STYLES", "emit_judged"]

VERDICT_STYLES: dict[str, dict[str, Any]] = {
    "IDENTICAL": {"fg": "green", "bold": True},
    "EQUIVALENT": {"fg": "green", "bold": True},
    "DIVERGED": {"fg": "red", "bold": True},
    "UNVERIFIED": {"fg": "yellow", "bold": True},
}


def emit_judged(
    text: str, verdict: str, *, name: str = "", indent: str = "", width: int | None = None
) -> None:
    """Print a report whose first line begins with a verdict, that set off.

    Args:
        name: is put behind the verdict.
        indent: stands before each line.
        width: where lines are wrapped; they are not without it.
    """
    shown = render.paint(verdict, **VERDICT_STYLES[verdict]) + (f" {name}:" if name else "")
    for number, line in enumerate(text.splitlines()):
        lines = render.wrapped(indent + render.clean(line), width)
        if number == 0:
            lines[0] = lines[0].replace(verdict, shown, 1)
        for each in lines:
            render.emit(each)
