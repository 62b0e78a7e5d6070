"""How answers look: headings, aligned columns, numbers, colours and bars; data to stdout, notes to stderr.

The command modules hand over plain values; nothing is computed about a session here. A bar shows work that
takes longer than a second, where stderr is a terminal.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import click

from Agent.analysis import text as words
from Agent.record.encode.safe_text import json_shown_safely, shown_safely

count, plural, clock = words.count, words.plural, words.clock
duration, milliseconds = words.seconds, words.milliseconds

MAX_WIDTH = 100
LEVEL_STYLES: dict[str, dict[str, Any]] = {
    "DEBUG": {"dim": True},
    "INFO": {},
    "WARNING": {"fg": "yellow"},
    "ERROR": {"fg": "red"},
    "CRITICAL": {"fg": "red", "bold": True},
}


_WORD: Final = re.compile(r"(\s*)(\S+)")
_STYLE: Final = re.compile(r"(\x1b\[[0-9;]*m)")


def moment(timestamp: str) -> str:
    """Date and time of a timestamp of the recording, to the millisecond."""
    return timestamp[:23].replace("T", " ")


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
    """One piece of the answer, on stdout; what a terminal obeys is escaped, but for styles and line ends.

    Lines are wrapped where stdout is a terminal, unless `whole`: those of a file.
    """
    width = None if whole else width_of_terminal()
    for line in _obeying_nothing(text).split("\n"):
        for shown in wrapped(line, width):
            click.echo(shown, color=uses_colour())


def note(text: str) -> None:
    """Something beside the answer, on stderr; wrapped where that is a terminal."""
    width = shutil.get_terminal_size((MAX_WIDTH, 24)).columns if sys.stderr.isatty() else None
    for line in _obeying_nothing(text).split("\n"):
        for shown in wrapped(line, width):
            click.echo(shown, err=True)


def _obeying_nothing(text: str) -> str:
    if text.isprintable():
        return text
    pieces = _STYLE.split(text)
    pieces[::2] = ["\n".join(map(clean, piece.split("\n"))) for piece in pieces[::2]]
    return "".join(pieces)


def note_damage(damaged: int) -> None:
    """Report how many damaged lines were skipped, if any."""
    if damaged:
        note(f"{plural(damaged, 'damaged line')} {'was' if damaged == 1 else 'were'} skipped")


JSON_WANTED: Final = "Agent.cli.json"
"""Under this name the context of a command keeps whether --json was given."""


def wants_json() -> bool:
    """Whether the command that runs was asked for JSON."""
    return bool(click.get_current_context().meta.get(JSON_WANTED))


def gave_json(document: Callable[[], Any]) -> bool:
    """Print the answer of a command as one JSON document, made then, where that is wanted; whether it is."""
    if wants_json():
        emit_json(document())
    return wants_json()


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


def display_width(text: str) -> int:
    """How many columns a text without escapes takes on a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def clip(text: str, width: int) -> str:
    """The text in at most `width` columns, with an ellipsis where something is left out."""
    kept = columns = 0
    # a text may be as long as a line of a file: nothing behind what fits is looked at
    for at, char in enumerate(text, start=1):
        columns += display_width(char)
        if columns > width:
            return text[:kept].rstrip() + "…"
        if columns < width:
            kept = at
    return text


def heading(title: str, aside: str = "") -> None:
    """The title of a section, underlined, with a remark at its right."""
    room = width_of_page() - len(title) - len(aside)
    emit()
    emit(paint(title, bold=True) + (" " * max(room, 2) + paint(aside, dim=True) if aside else ""))
    rule = "─" if (sys.stdout.encoding or "").lower().startswith("utf") else "-"
    emit(paint(rule * width_of_page(), dim=True))


def pairs(rows: Iterable[tuple[str, object]], *, cut: bool = False) -> None:
    """Names and values in two columns; with `cut` each value is cut to its line, else it is wrapped."""
    rows = list(rows)
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


def fitting(line: str, width: int | None) -> list[str]:
    """A line of a report in so many columns; a command line in it can still be copied."""
    if width is not None and len(line) > width and _COMMAND.match(line):
        return words.command_lines(line, width)
    return wrapped(line, width)


def emit_beside(head: str, columns: int, text: str) -> None:
    """A text to the right of a head that takes so many columns, wrapped to the terminal there."""
    width = width_of_terminal()
    room = None if width is None else max(width - columns, _LEAST_ROOM)
    for number, line in enumerate(wrapped(clean(text), room, indent=0)):
        emit((head if number == 0 else " " * columns) + line)


_LEAST_ROOM: Final = 20
_COMMAND: Final = re.compile(r"(try it: |[\s$])*agent-trace [a-z]")


def wrapped(line: str, width: int | None, indent: int = 4) -> list[str]:
    """A line broken at blanks so that it fits, what follows being indented further; whole without a width."""
    if width is None or display_width(_STYLE.sub("", line)) <= width:
        return [line]
    further = " " * (len(line) - len(line.lstrip()) + indent)
    lines, columns = [""], 0
    for blanks, word in _WORD.findall(line):
        room = width - columns - len(blanks)
        needed = display_width(_STYLE.sub("", word))
        if lines[-1] and needed > room and columns > len(further):
            lines.append(further + word)
            columns = len(further) + needed
        else:
            lines[-1] += blanks + word
            columns += len(blanks) + needed
    return lines


def paragraph(text: str, **style: Any) -> None:
    """Running text, wrapped to the page."""
    for line in textwrap.wrap(clean(text), width_of_page() - 2):
        emit("  " + paint(line, **style))


_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Column(Generic[_Row]):
    """A column of a table."""

    name: str
    cell: Callable[[_Row], object]
    """What stands in a row; None shows as a dash."""
    right: bool = False
    """Whether it is set right."""
    styles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By cell, keywords of `click.style`."""


def table(rows: Iterable[_Row], *columns: Column[_Row]) -> None:
    """Aligned columns under their names; the last takes what room is left, unless it is set right.

    On a terminal that is too narrow, each row takes two lines: its first cell, and the others below.
    """
    values = [[column.cell(row) for column in columns] for row in rows]
    cells = [["-" if value is None else clean(value) for value in row] for row in values]
    names, sides = [column.name for column in columns], [column.right for column in columns]
    widths = [max(map(display_width, column)) for column in zip(names, *cells, strict=True)]
    terminal = width_of_terminal()
    first = int(terminal is not None and _least(widths, sides) + len(widths) + 1 > terminal)
    margin = " " * (4 if first else 2)
    # half a time says nothing
    whole = [column.right or column.name.endswith("(UTC)") for column in columns]
    widths, gap = _fitted(widths[first:], sides[first:], whole[first:], len(margin))

    def line(row: Sequence[str], looks: Sequence[Mapping[str, Any]]) -> None:
        if first:
            emit("  " + paint(row[0], **looks[0]))
        emit((margin + in_columns(row[first:], widths, sides[first:], looks[first:], gap)).rstrip())

    line(names, [{"dim": True}] * len(columns))
    for row in cells:
        line(row, [column.styles.get(cell, {}) for column, cell in zip(columns, row, strict=True)])


_LEAST_LAST: Final = 12


def _least(widths: Sequence[int], sides: Sequence[bool]) -> int:
    """What the cells of a row need, the last of which may be cut where it is set left."""
    return sum(widths[:-1]) + (widths[-1] if sides[-1] else min(widths[-1], _LEAST_LAST))


def _fitted(
    widths: Sequence[int], sides: Sequence[bool], whole: Sequence[bool], margin: int
) -> tuple[list[int], int]:
    """Widths of columns, the last as wide as the page leaves it, and the blanks between them."""
    terminal = width_of_terminal()
    page, gaps = width_of_page() - margin, len(widths) - 1
    gap = 2 if _least(widths, sides) + 2 * gaps <= page else 1
    made = list(widths)
    if not sides[-1]:
        made[-1] = max(page - sum(widths[:-1]) - gap * gaps, min(widths[-1], _LEAST_LAST))
    if terminal is None:
        return made, gap
    return words.fitted(made, [not each for each in whole], terminal - margin)


def in_columns(
    cells: Sequence[str],
    widths: Sequence[int],
    to_right: Sequence[bool],
    looks: Sequence[Mapping[str, Any]] | None = None,
    gap: int = 2,
) -> str:
    """One line of a table: each cell cut or padded to its width.

    Args:
        cells: what stands there.
        widths: of the columns, in cells of the terminal.
        to_right: which columns are set right.
        looks: keywords of `click.style` for each cell.
        gap: how many blanks stand between two cells.
    """
    parts = []
    for cell, width, is_right, look in zip(cells, widths, to_right, looks or [{}] * len(cells), strict=True):
        text = clip(cell, width)
        padding = " " * (width - display_width(text))
        shown = paint(text, **look)
        parts.append(padding + shown if is_right else shown + padding)
    return (" " * gap).join(parts).rstrip()


def size(size_bytes: int) -> str:
    """A number of bytes in the unit that reads best."""
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


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
