"""Output of the commands: headings, tables, numbers, colours and progress bars; notes go to stderr.

The command modules pass plain values; nothing is computed here. On a terminal, work that takes longer than
1 s shows a progress bar.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain, islice
from pathlib import Path
from threading import Timer
from typing import Any, Final

import click

from Agent.record.encode.safe_text import json_shown_safely, shown_safely
from Agent.render import formats, layout
from Agent.render.blocks import VERDICT_LOOKS, Cell, Column, grid
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
    """Whether to use colours: stdout is a terminal, and neither NO_COLOR nor TERM=dumb is set."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and sys.stdout.isatty()


def _terminal() -> os.terminal_size:
    import shutil  # here: it loads the libraries for archives, and output into a pipe needs no size

    return shutil.get_terminal_size((MAX_WIDTH, 24))


def width_of_page() -> int:
    """The width of a page of output in columns: at most 100."""
    return min(MAX_WIDTH, _terminal().columns)


def width_of_terminal() -> int | None:
    """The terminal's width in columns; None if stdout is not a terminal, since piped text is not cut."""
    return _terminal().columns if sys.stdout.isatty() else None


def paint(text: str, **style: Any) -> str:
    """The text in a style of `click.style`; plain if colours are off."""
    return click.style(text, **style) if style and uses_colour() else text


_has_reader = True


def discard_output() -> None:
    """Discard what is still printed, notes included: the reader of stdout closed the pipe, as `head` does."""
    global _has_reader  # noqa: PLW0603 - as the descriptor, it is the process's
    _has_reader = False
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def emit(text: str = "", *, verbatim: bool = False) -> bool:
    """Print a part of the answer on stdout; nothing with --json.

    If the reader closed the pipe, the command goes on without output, so that its exit code is its answer's.

    Control characters are escaped, except styles and line ends. On a terminal, lines are wrapped unless
    `verbatim`, which is for the contents of files.

    Returns:
        False if the reader has just closed the pipe, so that a long output can end there.
    """
    if wants_json():
        return True
    width = None if verbatim else width_of_terminal()
    try:
        for line in _without_controls(text).split("\n"):
            for shown in wrapped(line, width):
                click.echo(shown, color=uses_colour())
    except BrokenPipeError:
        discard_output()
        return False
    return True


def emit_pages(lines: Iterable[str], *, paged: bool) -> None:
    """Print printable lines; if `paged`, more lines than fit on a terminal's screen go to $PAGER."""
    left = iter(lines)
    if paged and not wants_json() and sys.stdout.isatty() and sys.stdin.isatty():
        first = list(islice(left, _terminal().lines))
        if len(first) == _terminal().lines:
            click.echo_via_pager(f"{line}\n" for line in chain(first, left))
            return
        left = chain(first, left)
    for line in left:
        if not emit(line):
            return


def note(text: str, *, always: bool = False) -> None:
    """Print a remark on stderr, wrapped on a terminal; after a JSON answer only if `always`."""
    if (_is_document_printed() or not _has_reader) and not always:
        return
    width = _terminal().columns if sys.stderr.isatty() else None
    for line in _without_controls(text).split("\n"):
        for shown in wrapped(line, width):
            click.echo(shown, err=True)


def _without_controls(text: str) -> str:
    if text.isprintable():
        return text
    pieces = layout.STYLE.split(text)
    pieces[::2] = ["\n".join(map(clean, piece.split("\n"))) for piece in pieces[::2]]
    return "".join(pieces)


def note_damage(damaged: int) -> None:
    """Report the number of damaged lines that were skipped, if any."""
    if damaged:
        note(f"{formats.plural(damaged, 'damaged line', 'were')} skipped", always=True)


JSON_WANTED: Final = "Agent.cli.json"
"""The key in the click context that records whether --json was given."""
_DOCUMENT_PRINTED: Final = "Agent.cli.answered"


def wants_json() -> bool:
    """Whether the running command was called with --json."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(JSON_WANTED))


def document(make: Callable[[], Any]) -> None:
    """With --json, print the answer as one JSON document and suppress later notes."""
    if wants_json():
        emit_json(make())
        click.get_current_context().meta[_DOCUMENT_PRINTED] = True


def _is_document_printed() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and _DOCUMENT_PRINTED in context.meta


def give_each(answers: Sequence[Any], *, every: bool) -> None:
    """With --json, print the answers of several sessions: with `every` as a list, else the single one."""
    if wants_json():
        emit_json(answers if every else answers[0])
    elif not answers:
        note("no session here yet")


def emit_json(document: Any) -> None:
    """Print the answer as one JSON document."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
    try:
        data = orjson.dumps(document, default=_plain, option=options)
    except orjson.JSONEncodeError:  # a path that is not UTF-8
        data = orjson.dumps(_as_text(document), default=_plain, option=options)
    emit_json_bytes(data)


def _as_text(value: Any) -> Any:
    """The document with escapes for text that is not UTF-8."""
    from Agent.tree.layout import shown_name

    if isinstance(value, Mapping):
        return {_as_text(key): _as_text(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_as_text(item) for item in value]
    return shown_name(str(value)) if isinstance(value, (str, Path)) else value


def emit_json_bytes(data: bytes) -> bool:
    """Print encoded JSON, such as lines of a recording; control characters are escaped.

    Returns:
        As `emit`.
    """
    return _write(harmless_json(data))


def emit_bytes(data: bytes) -> bool:
    """Print bytes unchanged, such as an artifact; on a terminal, control characters are escaped.

    Returns:
        As `emit`.
    """
    return _write(_harmless(data) if sys.stdout.isatty() else data)


def _write(data: bytes) -> bool:
    try:
        sys.stdout.flush()  # earlier text output must come first
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        discard_output()
        return False
    return True


def harmless_json(data: bytes) -> bytes:
    """The JSON with unprintable characters escaped, even in a pipe, since its output may reach a terminal."""
    # A carriage return between two values would move the cursor; inside a text JSON escapes it.
    data = data.replace(b"\r", b" ")
    return data if data.isascii() and b"\x7f" not in data else _harmless(data)


def _harmless(data: bytes) -> bytes:
    # JSON does not escape DEL, C1 controls, and characters that hide or reverse text
    return json_shown_safely(data.decode("utf-8", "backslashreplace")).encode()


def _plain(value: object) -> object:
    """Convert what JSON cannot express: mappings, sets, paths and other values."""
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def clean(text: object) -> str:
    """A value as one printable line, so that recorded text cannot control the reader's terminal."""
    return shown_safely(str(text))


def heading(title: str, aside: str = "") -> None:
    """Print an underlined section title, with a remark on the right."""
    width = width_of_page() - len(title) - len(aside)
    emit()
    emit(paint(title, bold=True) + (" " * max(width, 2) + paint(aside, dim=True) if aside else ""))
    rule = "─" if (sys.stdout.encoding or "").lower().startswith("utf") else "-"
    emit(paint(rule * width_of_page(), dim=True))


def title(name: object, about: str = "") -> None:
    """Print a name in bold, followed by a text about it."""
    emit(paint(clean(name), bold=True) + about)


def pairs(rows: Iterable[tuple[str, object]], *, cut: bool = False) -> None:
    """Print names and values in two columns; values of None, "" and 0 are skipped.

    With `cut` each value is cut to one line, else it is wrapped.
    """
    rows = [(name, value) for name, value in rows if value not in (None, "", 0)]
    width = max((display_width(name) for name, _ in rows), default=0)
    for name, value in rows:
        shown = clip(clean(value), width_of_page() - width - 4) if cut else clean(value)
        emit_beside("  " + paint(name.ljust(width), dim=True) + "  ", width + 4, shown)


def emit_report(text: str, indent: str = "", width: int | None = None) -> None:
    """Print another package's report; its headings, which are not indented, are bold."""
    for line in text.splitlines():
        is_heading = line[:1].strip() != ""
        for shown in fitting((indent + clean(line)).rstrip(), width):
            emit(paint(shown, bold=True) if is_heading else shown)


def emit_text(text: str) -> None:
    """Print another package's text; a long command line is broken so that it can still be copied."""
    width = width_of_terminal()
    for line in text.splitlines():
        for shown in fitting(clean(line), width):
            emit(shown)


def emit_beside(head: str, columns: int, text: str) -> None:
    """Print a text to the right of a head of `columns` columns, wrapped to the terminal."""
    width = width_of_terminal()
    least_width = None if width is None else max(width - columns, _LEAST_ROOM)
    for number, line in enumerate(wrapped(clean(text), least_width, indent=0)):
        emit((head if number == 0 else " " * columns) + line)


_LEAST_ROOM: Final = 20


def paragraph(text: str, **style: Any) -> None:
    """Print text wrapped to the page."""
    for line in textwrap.wrap(clean(text), width_of_page() - 2):
        emit("  " + paint(line, **style))


LOOKS: Final[dict[str, dict[str, Any]]] = {
    "good": {"fg": "green"},
    "warn": {"fg": "yellow"},
    "bad": {"fg": "red"},
    "soft": {"dim": True},
}
"""Terminal styles for the looks of `Agent.render.blocks`."""


def table(rows: Iterable[Any], *columns: Column) -> None:
    """Print an aligned table with column names; a narrow terminal lacks the least important columns."""
    drawn = grid(rows, *columns)
    cells = [[_shown(value) for value in row] for row in drawn.rows]
    width = width_of_terminal()
    inner_width = None if width is None else width - 2
    how: dict[str, Any] = {"names": drawn.columns, "spare": drawn.spare, "whole": drawn.whole}
    for line in layout.table(cells, drawn.right, inner_width, **how, uncut=True, paint=painted):
        emit(f"  {line}")


def _shown(value: object) -> object:
    return value if isinstance(value, Cell) else None if value in (None, "") else clean(value)


def painted(text: str, style: str) -> str:
    """The text in the style of a look of `Agent.render.blocks`."""
    return paint(text, **LOOKS.get(style, {}))


def verdict_text(verdict: str) -> str:
    """A verdict of `VERDICT_LOOKS` in bold, in its colour."""
    return paint(verdict, bold=True, **LOOKS[VERDICT_LOOKS[verdict]])


def emit_judged(
    text: str, verdict: str, *, name: str = "", indent: str = "", width: int | None = None
) -> None:
    """Print a report whose first line begins with a verdict, in the verdict's colour.

    Args:
        text: the report.
        verdict: one of VERDICT_LOOKS.
        name: printed after the verdict.
        indent: printed before each line.
        width: where to wrap lines; None for no wrapping.
    """
    shown = verdict_text(verdict) + (f" {name}:" if name else "")
    for number, line in enumerate(text.splitlines()):
        lines = wrapped(indent + clean(line), width)
        if number == 0:
            lines[0] = lines[0].replace(verdict, shown, 1)
        for each in lines:
            emit(each)


@contextmanager
def bar(title: str) -> Iterator[Callable[[float], None]]:
    """Show a progress bar; yields a function to call with the finished share."""
    if not sys.stderr.isatty():
        yield lambda _share: None
        return
    progress: Any = None

    def show(share: float) -> None:
        nonlocal progress
        if share >= 1.0:
            # remove the bar before the answer is printed
            close()
            return
        if progress is None:  # only now, so that fast work does not load rich
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")
            progress = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
            progress.add_task(title, total=1.0)
            progress.start()
        progress.update(progress.task_ids[0], completed=share)

    def close() -> None:
        nonlocal progress
        if progress is not None:
            progress.stop()
        progress = None

    try:
        yield show
    finally:
        close()


@contextmanager
def shown(title: str = "reading the session") -> Iterator[None]:
    """Show the progress of long queries while this is open."""
    from Agent.analysis.query.progress import listener

    with _listening(listener, title):
        yield


@contextmanager
def shown_forks(title: str) -> Iterator[None]:
    """Show the progress of forks that take longer than 1 s while this is open."""
    from Agent.replay.worker.jobs import listener

    with _listening(listener, title):
        yield


@contextmanager
def _listening(listener: ContextVar[Callable[[float], None] | None], title: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    with bar(title) as show:
        token = listener.set(show)
        try:
            yield
        finally:
            listener.reset(token)


PATIENCE_S = 1.0
"""How long work is silent before it shows a spinner."""


@contextmanager
def working(title: str) -> Iterator[None]:
    """Show a spinner for work without a measurable progress, if it takes longer than 1 s."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    from Agent.analysis.query.progress import listener

    status = Console(stderr=True).status(title)
    timer = Timer(PATIENCE_S, status.start)
    timer.daemon = True
    token = listener.set(None)  # a bar of a query would be drawn over the spinner
    timer.start()
    try:
        yield
    finally:
        listener.reset(token)
        timer.cancel()
        timer.join()
        status.stop()
