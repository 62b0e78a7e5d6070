"""`tail`: print and follow the newest events of all agents, in order; `lnav`: install a log format.

`tail` flushes its output only when no further event can be read, so that a burst needs few writes.
`formats/agent_trace.json` describes time, level, agent and every named field to lnav, the log file
navigator, also for its SQL.
"""

from __future__ import annotations

import heapq
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict, Unpack

import click

from Agent.cli import parameters, render
from Agent.cli.event_lines import LEVEL_NAMES, FieldTest, Selection, Where, conditions, event_line
from Agent.cli.parameters import DIRECTORY, FROM_ZERO, OneRun, Root, command, misuse
from Agent.errors import DamagedInput, InputError
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.model import Event
from Agent.render import formats
from Agent.tree.files.lines import MAX_LINE_BYTES
from Agent.tree.files.sequence_set import SeqSet
from Agent.tree.layout import NO_FILE, agent_files, find_session, open_file

if TYPE_CHECKING:
    from Agent.tree.read.follower import Follower
    from Agent.tree.read.reader import TreeReader


LINES: Final = 20
SETTLE_S: Final = 0.008
"""The age of an event before it is printed, so that events of concurrent writers are sorted."""
EXIT_INTERRUPTED: Final = 130
_BATCH: Final = 500
_TRIES: Final = 3
_LATE_S: Final = 1.0
_SAVE_INTERVAL_S: Final = 1.0


def _split_short(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[bool, tuple[FieldTest, ...]]:
    """Split the values of `-f`: without a value it means --follow, with one --where."""
    return "" in values, conditions(ctx, param, tuple(value for value in values if value))


_SHORT = {"multiple": True, "is_flag": False, "flag_value": "", "callback": _split_short}
_LEVEL = click.Choice(LEVEL_NAMES, case_sensitive=False)
_AGENTS = {"shell_complete": parameters.complete_agents}


class TailFilter(TypedDict):
    """Which events `tail` shows.

    Args:
        agents: Only events of this agent; repeatable.
        level: Only this level and above: debug, info, warning, error or critical.
    """

    agents: Annotated[tuple[str, ...], "--agent -a ID", _AGENTS]
    level: Annotated[str | None, "--level -l LEVEL", _LEVEL]
    kinds: parameters.Kinds
    since: parameters.From
    until: parameters.Until


@command()
def tail(
    follow: Annotated[bool, "--follow -F"],
    short: Annotated[Any, "-f [CONDITION]", _SHORT],
    where: Where,
    lines: Annotated[int | None, "--lines -n N", FROM_ZERO],
    cursor: Annotated[Path | None, "--cursor FILE", parameters.OUTPUT],
    run: OneRun,
    root: Root,
    **filters: Unpack[TailFilter],
) -> int:
    """Print the newest events, and follow them with -f.

    Follows every agent across rotation and new files, in order. RUN is a session, or SESSION/agent_id. With
    --json, each line is an event as recorded, with escapes for what a terminal would obey; otherwise long
    values are cut to its width.

    Args:
        follow: Wait for further events until interrupted; so does -f alone.
        short: Alone: --follow. With a condition: --where.
        lines: Start with the last N events.  [default: 20; all with --since, --until or --cursor]
        cursor: Start at the position stored in FILE by an earlier call, and update it.

    Examples:
        agent-trace tail -f
        agent-trace tail -n 50 -a creator_001 -l warning
        agent-trace tail -f -t agent_action -f 'duration_ms>100'
        agent-trace tail --since -3h -f extra.args.topic=tea --json
    """
    if cursor is not None and lines is not None:
        raise misuse("--cursor continues where it was; leave out -n")
    session, agent = parameters.split_run(run)
    if agent is not None:
        filters["agents"] += (agent,)
    selection = Selection(fields=(*short[1], *where), **filters)
    if lines is None and not (selection.since or selection.until or cursor):
        lines = LINES
    path = find_session(root, session)
    screen = _Screen(selection, as_json=render.wants_json())
    interrupted = _Tail(path, screen, lines, cursor).run(follow=follow or short[0])
    return EXIT_INTERRUPTED if interrupted else 0


class _Screen:
    """Prints the matching events in batches."""

    def __init__(self, selection: Selection, *, as_json: bool) -> None:
        self.wanted = selection
        self._as_json = as_json
        self._width = render.width_of_terminal()
        self.printed = 0

    def show(self, lines: Iterable[Line]) -> None:
        """Print the matching events among the lines."""
        for line, event in lines:
            if not self.wanted(event):
                continue
            self.printed += 1
            if self._as_json:
                sys.stdout.buffer.write(render.harmless_json(line + b"\n"))
            else:
                sys.stdout.write(event_line(event, width=self._width) + "\n")
            if self.printed % _BATCH == 0:
                self.flush()
        self.flush()

    def flush(self) -> None:
        """Flush the output; BrokenPipeError if its reader is gone."""
        sys.stdout.flush()
        sys.stdout.buffer.flush()


class _Tail:
    """One run of the command: existing events, then new ones."""

    def __init__(self, path: Path, screen: _Screen, lines: int | None, cursor: Path | None) -> None:
        self._path = path
        self._screen = screen
        self._lines = lines
        self._cursor = cursor
        self._saved_s = 0.0
        self._seen: dict[str, SeqSet] = {}
        self._damaged: Callable[[], int] = int
        """Returns the number of damaged lines that were skipped in the existing events."""

    def run(self, *, follow: bool) -> bool:
        """Print everything; return whether an interrupt ended it."""
        from Agent.tree.read.follower import Follower

        begun = None if self._cursor is None else _read_cursor(self._cursor, self._path)
        if begun is None and not follow and self._cursor is None:
            self._screen.show(self._history(follow=False))
            render.note_damage(self._damaged())
            if not self._screen.printed and self._lines != 0:
                render.note(f"{self._path.name} contains no such event")
            return False
        # created before the existing events are read, so that no event is missed in between
        with Follower(self._path, from_start=False, cursor=begun) as follower:
            if begun is None:
                self._screen.show(self._noted(self._history(follow=follow)))
            interrupted = self._follow(follower, follow=follow)
            self._note_missing(follower)
            return interrupted

    def _history(self, *, follow: bool) -> Iterator[Line]:
        """The existing events in order; AgentNotFound if an agent has none and, without -f, can get none."""
        from Agent.analysis.session import check_agent
        from Agent.archive.sealed.reader import open_reader

        reader, selection = open_reader(self._path), self._screen.wanted
        for agent in () if follow else selection.agents:
            check_agent(reader, agent)
        if self._lines is not None:
            newest = self._newest(reader, selection, self._lines)
            self._damaged = lambda: newest.damaged
            return iter(newest.lines)
        self._damaged = lambda: reader.damaged_lines
        agent_id = selection.agents[0] if len(selection.agents) == 1 else None
        if agent_id is not None and not reader.holds_agent(agent_id):
            return iter(())
        return reader.event_lines(agent_id, selection.since_us, selection.until_us)

    def _newest(self, reader: TreeReader, selection: Selection, count: int) -> _NewestEvents:
        def files() -> list[Path]:
            """The files that may hold matching events now."""
            if not selection.agents:
                return reader.files()
            return [path for agent in selection.agents for path in agent_files(self._path, agent)]

        for _ in range(_TRIES):
            before = files()
            newest = newest_lines(self._path, before, count, selection, selection.since_us)
            # a segment that was rolled in the meantime may have been missed under both names
            if files() == before:
                break
        return newest

    def _noted(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Yield the lines and remember their numbers, since the follower may read new events again."""
        for line, event in lines:
            self._seen.setdefault(event.writer, SeqSet()).add(event.seq)
            yield line, event

    def _follow(self, follower: Follower, *, follow: bool) -> bool:
        until_us = self._screen.wanted.until_us
        with _interruption() as interrupted:

            def ended() -> bool:
                """Whether to stop waiting for events."""
                if interrupted() or not follow or _reader_is_gone():
                    return True
                return until_us is not None and time.time() > until_us / 1e6 + _LATE_S

            for batch in follower.follow_lines(ended, SETTLE_S):
                self._screen.show(pair for pair in batch if self._is_new(pair[1]))
                if time.monotonic() - self._saved_s > _SAVE_INTERVAL_S:
                    self._save_position(follower)
                if interrupted():
                    break
            self._save_position(follower)
            return interrupted()

    def _note_missing(self, follower: Follower) -> None:
        render.note_damage(self._damaged() + follower.damaged_lines)
        if follower.vanished_files:
            vanished = formats.plural(follower.vanished_files, "file")
            render.note(f"{vanished} vanished before all of it was read; agent-trace verify names the loss")

    def _is_new(self, event: Event) -> bool:
        seen = self._seen.get(event.writer)
        return seen is None or event.seq not in seen

    def _save_position(self, follower: Follower) -> None:
        """Store in the cursor file how far everything is printed."""
        if self._cursor is None:
            return
        import orjson

        from Agent.tree.files.session import write_output

        self._saved_s = time.monotonic()
        position = {"session": self._path.name, **follower.cursor()}
        write_output(self._cursor, orjson.dumps(position, option=orjson.OPT_APPEND_NEWLINE))


def _read_cursor(file: Path, session: Path) -> dict[str, Any] | None:
    """The position stored in a cursor file; None if the file does not exist or is of another session."""
    import orjson

    try:
        position = orjson.loads(file.read_bytes())
        name = position["session"]
    except FileNotFoundError:
        if not file.parent.is_dir():
            raise InputError(
                "the cursor cannot be kept there", path=file, remedy="choose a file in an existing directory"
            ) from None
        return None  # the first call with this file
    except (ValueError, TypeError, KeyError):
        raise DamagedInput(
            "not a cursor file", path=file, remedy="remove it to start with the first event"
        ) from None
    if name != session.name:
        render.note(f"the cursor was in {name}; {session.name} is shown from its first event")
        return None
    return dict(position)


def _reader_is_gone() -> bool:
    """Whether stdout is a pipe whose reader has ended, so that waiting is pointless."""
    try:
        watch = select.poll()
        watch.register(sys.stdout.fileno(), 0)
        return any(found & (select.POLLERR | select.POLLNVAL) for _, found in watch.poll(0))
    except (AttributeError, OSError, ValueError):
        return False  # poll is not available, or stdout is not a file: the next write will fail


@contextmanager
def _interruption() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed; a second Ctrl-C raises at once."""
    pressed = False

    def press(_signal: int, _frame: FrameType | None) -> None:
        """The handler of SIGINT."""
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


Line = tuple[bytes, Event]
"""A recorded line without its newline, and its event."""


BLOCK_BYTES = 64 * 1024
SLACK_US = 1_000_000
"""How far lines in a file may be out of order: threads interleave, buffers delay, mtimes are coarse."""

_FIRST_STRETCH_US = 1_000_000
_LONGER = 8


def newest_lines(
    session: Path,
    files: Iterable[Path],
    count: int,
    matches: Callable[[Event], bool],
    since_us: int | None = None,
) -> _NewestEvents:
    """Find the newest `count` matching events; damaged lines are skipped and counted.

    Args:
        session: the session's directory, whose archive replaces files that were removed.
        files: the files to read, newest first, until the rest of a file is older than the events found.
        count: the number of events.
        matches: returns whether an event matches.
        since_us: the time at which to stop reading back.
    """
    newest = _NewestEvents(count, since_us)
    if count <= 0:
        return newest
    for modified_us, path in sorted(((_modified_us(path), path) for path in files), reverse=True):
        if newest.has_none_before(modified_us + SLACK_US):
            break
        for line, event in newest.events(_lines_backwards(path)):
            if newest.has_none_before(event.timestamp_us + SLACK_US):
                break
            if matches(event):
                newest.add(line, event)
    for line, event in newest.events(_sealed(session, newest)):
        if matches(event):
            newest.add(line, event)
    return newest


class _NewestEvents:
    """The newest `count` of the events added."""

    def __init__(self, count: int, since_us: int | None) -> None:
        self._count = count
        self._since_us = since_us
        self._found: list[tuple[tuple[int, str, int], int, Line]] = []
        self.damaged = 0
        """The number of damaged lines that were read on the way."""

    def events(self, lines: Iterable[bytes]) -> Iterator[Line]:
        """Yield the events of some lines; damaged ones are counted."""
        for line in lines:
            try:
                yield line, decode_line(line)
            except DamagedLine:
                self.damaged += 1

    def has_none_before(self, time_us: int) -> bool:
        """Whether no event older than that time can be among the result."""
        if self._since_us is not None and time_us < self._since_us:
            return True
        return len(self._found) == self._count and time_us < self._found[0][0][0]

    def add(self, line: bytes, event: Event) -> None:
        # the id breaks ties, because events cannot be compared
        entry = (event.order, id(event), (line, event))
        if len(self._found) < self._count:
            heapq.heappush(self._found, entry)
        elif entry > self._found[0]:
            heapq.heapreplace(self._found, entry)

    @property
    def lines(self) -> list[Line]:
        """The events, oldest first."""
        return [line for _, _, line in sorted(self._found)]


def _sealed(session: Path, newest: _NewestEvents) -> Iterator[bytes]:
    """The lines of removed segments from the archive, newest time range first."""
    from Agent.archive.sealed.reader import ArchiveLines

    archive = ArchiveLines(session)
    times_us = [
        time_us
        for _, segment in archive.segments()
        for time_us in (segment.first_us, segment.last_us)
        if time_us is not None
    ]
    if not times_us:
        return
    until_us, stretch_us = max(times_us) + 1, _FIRST_STRETCH_US
    while until_us > min(times_us) and not newest.has_none_before(until_us):
        for raw in archive.ordered_lines(until_us - stretch_us, until_us):
            yield raw.line
        until_us, stretch_us = until_us - stretch_us, stretch_us * _LONGER


def _modified_us(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1000
    except FileNotFoundError:
        # just rolled: its lines are now under another name
        return 0


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """The whole lines of a file, last first; text after the last newline is still being written."""
    try:
        file = os.fdopen(open_file(path)[0], "rb")
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        return  # rolled, so the caller lists files again; or not a regular file, which `verify` reports
    with file:
        position = file.seek(0, 2)
        parts: list[bytes] = []  # the parts of a line whose beginning is not yet read, last first
        held_bytes = 0
        at_end = True
        while position > 0:
            step = min(BLOCK_BYTES, position)
            position -= step
            file.seek(position)
            parts.append(file.read(step))
            held_bytes += step
            if b"\n" not in parts[-1]:
                if held_bytes > MAX_LINE_BYTES:
                    parts, held_bytes = [_TOO_LONG], 0
                continue
            remainder, *lines = b"".join(reversed(parts)).split(b"\n")
            parts, held_bytes = [remainder], len(remainder)
            if at_end and lines:
                lines, at_end = lines[:-1], False
            yield from (piece for piece in reversed(lines) if piece)
        if not at_end and (remainder := b"".join(reversed(parts))):
            yield remainder


_TOO_LONG: Final = b"\0"
"""Replaces an overlong line, so that it counts as damaged."""


FORMAT_NAME: Final = "agent_trace"
"""The name of the format, and of its table in lnav's SQL."""


def format_bytes() -> bytes:
    """The format file from the package."""
    return files("Agent.cli").joinpath("formats", f"{FORMAT_NAME}.json").read_bytes()


def formats_directory() -> Path:
    """The directory of lnav's formats: in `~/.lnav` if that exists, else in its configuration directory."""
    from Agent.record.user_key import config_home

    home = Path.home()
    # Without the default: lnav prefers `~/.lnav` to that, but not to a directory that the user names.
    configured = config_home({**os.environ, "HOME": ""})
    if configured is None and (home / ".lnav").is_dir():
        return home / ".lnav" / "formats"
    return (home / ".config" if configured is None else Path(configured)) / "lnav" / "formats"


@parameters.group()
def lnav() -> None:
    """Read logs with lnav, the log file navigator.

    Once installed, the format shows time, level, agent and message of each line, also in rotated and
    compressed files. In lnav's SQL prompt the table is agent_trace.

    Examples:
        agent-trace lnav install
        lnav trace/session_20261120_103045/agents
        agent-trace tail -f --json | lnav
    """


@command(of=lnav)
def install(directory: Annotated[Path | None, "--to DIR", DIRECTORY]) -> None:
    """Write the format file to lnav's directory, and print its path.

    Replaces an older one. With --to, start lnav with -I and the directory above `formats`.

    Args:
        directory: Another directory of formats.  [default: lnav's own]

    Examples:
        agent-trace lnav install
    """
    target = (directory or formats_directory()) / FORMAT_NAME / f"{FORMAT_NAME}.json"
    written = format_bytes()
    try:
        is_current = target.is_file() and target.read_bytes() == written
        if not is_current:
            target.parent.mkdir(parents=True, exist_ok=True)
            # the file that a link names, such as one of a directory of dotfiles
            real = Path(os.path.realpath(target))
            beside = real.with_suffix(f".{os.getpid()}.part")
            beside.write_bytes(written)
            beside.replace(real)
    except OSError as error:
        raise InputError(
            f"the format cannot be installed: {error.strerror}",
            path=target,
            remedy="choose a writable directory with --to",
        ) from error
    render.document(lambda: {"path": str(target), "format": FORMAT_NAME, "changed": not is_current})
    render.emit(str(target))
    render.note("it was already installed" if is_current else "now try: lnav trace/session_*/agents")


@command(of=lnav, name="show")
def show_format() -> None:
    """Print the format file.

    Examples:
        agent-trace lnav show
    """
    render.emit_json_bytes(format_bytes())
