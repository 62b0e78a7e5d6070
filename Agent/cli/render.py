"""How answers look: headings, aligned columns, numbers, colours and bars; data to stdout, notes to stderr.

The command modules hand over plain values; nothing is computed about a session here. A bar shows work that
takes longer than a second, where stderr is a terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

import click

from Agent.record.encode.safe_text import json_shown_safely, shown_safely
from Agent.render import layout, words
from Agent.render.blocks import Cell, Column, grid
from Agent.render.layout import clip, display_width, fitting, wrapped

MAX_WIDTH = 100
LEVEL_STYLES: dict[str, dict[str, Any]] = {
    "DEBUG": {"dim": True},
    "INFO": {},
    "WARNING": {"fg": "yellow"},
    "ERROR": {"fg": "red"},
    "CRITICAL": {"fg": "red", "bold": True},
}


def uses_colour() -> bool:
    """Whether stdout is a terminal whose user did not ask for plain text."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and sys.stdout.isatty()


def width_of_page() -> int:
    """How many columns a page of output may take: at most 100."""
    return min(MAX_WIDTH, shutil.get_terminal_size((MAX_WIDTH, 24)).columns)


def width_of_terminal() -> int | None:
    """How many columns the terminal has, None where stdout is none: what is piped is not cut."""
    return shutil.get_terminal_size((MAX_WIDTH, 24)).columns if sys.stdout.isatty() else None


def paint(text: str, **style: Any) -> str:
    """The text in a style of `click.style`, plain where colours are off."""
    return click.style(text, **style) if style and uses_colour() else text


def emit(text: str = "", *, whole: bool = False) -> None:
    """One piece of the answer, on stdout; nothing with --json.

    What a terminal obeys is escaped, but for styles and line ends. Lines are wrapped where stdout is a
    terminal, unless `whole`: those of a file.
    """
    if wants_json():
        return
    width = None if whole else width_of_terminal()
    for line in _obeying_nothing(text).split("\n"):
        for shown in wrapped(line, width):
            click.echo(shown, color=uses_colour())


def note(text: str, *, always: bool = False) -> None:
    """Something beside the answer, on stderr; wrapped where that is a terminal."""
    if _is_answered() and not always:
        return
    width = shutil.get_terminal_size((MAX_WIDTH, 24)).columns if sys.stderr.isatty() else None
    for line in _obeying_nothing(text).split("\n"):
        for shown in wrapped(line, width):
            click.echo(shown, err=True)


def _obeying_nothing(text: str) -> str:
    if text.isprintable():
        return text
    pieces = layout.STYLE.split(text)
    pieces[::2] = ["\n".join(map(clean, piece.split("\n"))) for piece in pieces[::2]]
    return "".join(pieces)


def note_damage(damaged: int) -> None:
    """Report how many damaged lines were skipped, if any."""
    if damaged:
        told = f"{words.plural(damaged, 'damaged line')} {'was' if damaged == 1 else 'were'} skipped"
        note(told, always=True)


JSON_WANTED: Final = "Agent.cli.json"
"""Under this name the context of a command keeps whether --json was given."""
_ANSWERED: Final = "Agent.cli.answered"


def wants_json() -> bool:
    """Whether the command that runs was asked for JSON."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(JSON_WANTED))


def document(made: Callable[[], Any]) -> None:
    """Print the answer of a command as one JSON document where that is wanted; then nothing follows it."""
    if wants_json():
        emit_json(made())
        click.get_current_context().meta[_ANSWERED] = True


def _is_answered() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and _ANSWERED in context.meta


def give_each(answers: Sequence[Any], *, every: bool) -> None:
    """What sessions answered, as JSON where that is wanted: a list of all, or the one that was asked."""
    if wants_json():
        emit_json(answers if every else answers[0])
    elif not answers:
        note("no session here yet")


def emit_json(document: Any) -> None:
    """The answer as one JSON document."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
    try:
        data = orjson.dumps(document, default=_plain, option=options)
    except orjson.JSONEncodeError:  # a path that is not UTF-8
        data = orjson.dumps(_as_text(document), default=_plain, option=options)
    emit_json_bytes(data)


def _as_text(value: Any) -> Any:
    """The same document, whatever in its texts is not UTF-8 as escapes."""
    from Agent.tree.layout import shown_name

    if isinstance(value, Mapping):
        return {_as_text(key): _as_text(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_as_text(item) for item in value]
    return shown_name(str(value)) if isinstance(value, (str, Path)) else value


def emit_json_bytes(data: bytes) -> None:
    """JSON as it was encoded, such as lines of the recording; what a terminal would obey is escaped."""
    _write(harmless_json(data))


def emit_bytes(data: bytes) -> None:
    """Bytes as they are, such as those of an artifact; only on a terminal what that would obey is escaped."""
    _write(_harmless(data) if sys.stdout.isatty() else data)


def _write(data: bytes) -> None:
    sys.stdout.flush()  # what was printed as text stands before it
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def harmless_json(data: bytes) -> bytes:
    """The same JSON with escapes for what is not printable: sooner or later a pipe ends at a terminal."""
    # A return between two values would move the cursor; inside a text it is escaped already.
    data = data.replace(b"\r", b" ")
    return data if data.isascii() and b"\x7f" not in data else _harmless(data)


def _harmless(data: bytes) -> bytes:
    # JSON leaves as they are: DEL, the C1 controls, and marks that hide text or turn it around
    return json_shown_safely(data.decode("utf-8", "backslashreplace")).encode()


def _plain(value: object) -> object:
    """What JSON has no form for: mappings, sets and paths of the packages below."""
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def clean(text: object) -> str:
    """A value as one printable line: what a trace holds must not drive the reader's terminal."""
    return shown_safely(str(text))


def heading(title: str, aside: str = "") -> None:
    """The title of a section, underlined, with a remark at its right."""
    room = width_of_page() - len(title) - len(aside)
    emit()
    emit(paint(title, bold=True) + (" " * max(room, 2) + paint(aside, dim=True) if aside else ""))
    rule = "─" if (sys.stdout.encoding or "").lower().startswith("utf") else "-"
    emit(paint(rule * width_of_page(), dim=True))


def pairs(rows: Iterable[tuple[str, object]], *, cut: bool = False) -> None:
    """Names and values, but for those that say nothing, in two columns.

    With `cut` each value is cut to its line, else it is wrapped.
    """
    rows = [(name, value) for name, value in rows if value not in (None, "", 0)]
    width = max((display_width(name) for name, _ in rows), default=0)
    for name, value in rows:
        shown = clip(clean(value), width_of_page() - width - 4) if cut else clean(value)
        emit_beside("  " + paint(name.ljust(width), dim=True) + "  ", width + 4, shown)


def emit_report(text: str, indent: str = "", width: int | None = None) -> None:
    """A report that another package wrote: its headings, which begin at the margin, are set off."""
    for line in text.splitlines():
        is_heading = line[:1].strip() != ""
        for shown in fitting((indent + clean(line)).rstrip(), width):
            emit(paint(shown, bold=True) if is_heading else shown)


def emit_text(text: str) -> None:
    """A text that another package wrote; a command line in it is broken so that it can be copied."""
    width = width_of_terminal()
    for line in text.splitlines():
        for shown in fitting(clean(line), width):
            emit(shown)


def emit_beside(head: str, columns: int, text: str) -> None:
    """A text to the right of a head that takes so many columns, wrapped to the terminal there."""
    width = width_of_terminal()
    room = None if width is None else max(width - columns, _LEAST_ROOM)
    for number, line in enumerate(wrapped(clean(text), room, indent=0)):
        emit((head if number == 0 else " " * columns) + line)


_LEAST_ROOM: Final = 20


def paragraph(text: str, **style: Any) -> None:
    """Running text, wrapped to the page."""
    for line in textwrap.wrap(clean(text), width_of_page() - 2):
        emit("  " + paint(line, **style))


LOOKS: Final[dict[str, dict[str, Any]]] = {
    "good": {"fg": "green"},
    "warn": {"fg": "yellow"},
    "bad": {"fg": "red"},
    "soft": {"dim": True},
}
"""How the looks of `Agent.render.blocks` are set off on a terminal."""


def table(rows: Iterable[Any], *columns: Column) -> None:
    """Aligned columns under their names; where the terminal is too narrow, each row takes two lines."""
    drawn = grid(rows, *columns)
    cells = [[_shown(value) for value in row] for row in drawn.rows]
    width = width_of_terminal()
    room = None if width is None else width - 2
    for line in layout.table(cells, drawn.right, room, names=drawn.columns, whole=True, paint=painted):
        emit(f"  {line}")


def _shown(value: object) -> object:
    return value if isinstance(value, Cell) else None if value in (None, "") else clean(value)


def painted(text: str, look: str) -> str:
    """The text set off by a look of `Agent.render.blocks`."""
    return paint(text, **LOOKS.get(look, {}))


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
    shown = paint(verdict, **VERDICT_STYLES[verdict]) + (f" {name}:" if name else "")
    for number, line in enumerate(text.splitlines()):
        lines = wrapped(indent + clean(line), width)
        if number == 0:
            lines[0] = lines[0].replace(verdict, shown, 1)
        for each in lines:
            emit(each)


@contextmanager
def bar(what: str) -> Iterator[Callable[[float], None]]:
    """Give a function that is told the share that is done; the bar goes away at the end."""
    if not sys.stderr.isatty():
        yield lambda _share: None
        return
    drawn = _Bar(what)
    try:
        yield drawn.show
    finally:
        drawn.close()


class _Bar:
    """Made at the first share that is told, so that quick work draws, and loads, nothing."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._progress: object = None

    def show(self, share: float) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        if share >= 1.0:
            # what comes next on the terminal is an answer
            self.close()
            return
        if not isinstance(self._progress, Progress):
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.add_task(self._what, total=1.0)
            self._progress.start()
        self._progress.update(self._progress.task_ids[0], completed=share)

    def close(self) -> None:
        stop = getattr(self._progress, "stop", None)
        if stop is not None:
            stop()
        self._progress = None


@contextmanager
def shown(what: str = "reading the session") -> Iterator[None]:
    """Show how far long queries of `Agent.analysis` are while this is open."""
    from Agent.analysis.query.progress import listener

    with _heard(listener, what):
        yield


@contextmanager
def shown_forks(what: str) -> Iterator[None]:
    """Show how far forks are while this is open, where they take longer than a second."""
    from Agent.replay.worker.jobs import listener

    with _heard(listener, what):
        yield


@contextmanager
def _heard(listener: ContextVar[Callable[[float], None] | None], what: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    with bar(what) as show:
        token = listener.set(show)
        try:
            yield
        finally:
            listener.reset(token)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something is being done whose share nobody knows, while this is open."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
