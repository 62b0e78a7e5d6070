"""`tail`: the newest events, and those that come, of all agents in order; `lnav`: a format for the navigator.

What `tail` prints goes out when nothing more is there to be read, so that a flood costs few writes.
`formats/agent_trace.json` tells lnav, the log file navigator, of time, level, agent and every named field,
for its SQL too.
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
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TypedDict, Unpack

import click

from Agent.cli import parameters, render
from Agent.cli.event_lines import LEVEL_NAMES, FieldTest, Selection, Where, conditions, event_line
from Agent.cli.parameters import DIRECTORY, FROM_ZERO, OneRun, Root, command, misuse
from Agent.errors import DamagedInput, InputError
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.model import Event
from Agent.render import words
from Agent.tree.files.lines import MAX_LINE_BYTES

if TYPE_CHECKING:
    from Agent.tree.files.sequence_set import SeqSet
    from Agent.tree.read.follower import Follower
    from Agent.tree.read.reader import TreeReader


LINES: Final = 20
SETTLE_S: Final = 0.008
"""How old an event is before it is printed, so that writers who run side by side come in order."""
EXIT_INTERRUPTED: Final = 130
_BATCH: Final = 500
_TRIES: Final = 3
_LATE_S: Final = 1.0
_KEEP_EVERY_S: Final = 1.0


def _split_short(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[bool, tuple[FieldTest, ...]]:
    """What `-f` meant: alone it follows, with a condition it selects."""
    return "" in values, conditions(ctx, param, tuple(value for value in values if value))


_SHORT = {"multiple": True, "is_flag": False, "flag_value": "", "callback": _split_short}
_LEVEL = click.Choice(LEVEL_NAMES, case_sensitive=False)
_AGENTS = {"shell_complete": parameters.complete_agents}


class Asked(TypedDict):
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
    cursor: Annotated[Path | None, "--cursor FILE"],
    run: OneRun,
    root: Root,
    **asked: Unpack[Asked],
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
    from Agent.tree.layout import find_session

    if cursor is not None and lines is not None:
        raise misuse("--cursor continues where it was; leave out -n")
    session, agent = parameters.split_run(run)
    if agent:
        asked["agents"] += (agent,)
    wanted = Selection(fields=(*short[1], *where), **asked)
    if lines is None and not (wanted.since or wanted.until or cursor):
        lines = LINES
    path = find_session(root, session)
    screen = _Screen(wanted, as_json=render.wants_json())
    interrupted = _Tail(path, screen, lines, cursor).run(follow=follow or short[0])
    return EXIT_INTERRUPTED if interrupted else 0


class _Screen:
    """Prints the events that are wanted, in batches."""

    def __init__(self, wanted: Selection, *, as_json: bool) -> None:
        self.wanted = wanted
        self._as_json = as_json
        self._width = render.width_of_terminal()
        self.printed = 0

    def show(self, lines: Iterable[Line]) -> None:
        """Print those of them that are wanted."""
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
        """Bring it to the screen; BrokenPipeError where nobody reads any more."""
        sys.stdout.flush()
        sys.stdout.buffer.flush()


class _Tail:
    """One run of the command: what is there, then what comes."""

    def __init__(self, path: Path, screen: _Screen, lines: int | None, cursor: Path | None) -> None:
        self._path = path
        self._screen = screen
        self._lines = lines
        self._cursor = cursor
        self._kept_s = 0.0
        self._seen: dict[str, SeqSet] = {}
        self._damaged: Callable[[], int] = int
        """How many lines of what was there before were passed over."""

    def run(self, *, follow: bool) -> bool:
        """Print everything; whether an interrupt ended it."""
        from Agent.tree.read.follower import Follower

        begun = None if self._cursor is None else _read_cursor(self._cursor, self._path)
        if begun is None and not follow and self._cursor is None:
            self._screen.show(self._history(follow=False))
            render.note_damage(self._damaged())
            if not self._screen.printed and self._lines != 0:
                render.note(f"{self._path.name} contains no such event")
            return False
        # made before what is there is read, so that nothing falls between the two
        with Follower(self._path, from_start=False, cursor=begun) as follower:
            if begun is None:
                self._screen.show(self._noted(self._history(follow=follow)))
            interrupted = self._follow(follower, follow=follow)
            self._tell_what_is_missing(follower)
            return interrupted

    def _history(self, *, follow: bool) -> Iterator[Line]:
        """What is there, in order; AgentNotFound where nobody of that name is, and none can come."""
        from Agent.analysis.session import unknown_agent
        from Agent.archive.sealed.reader import open_reader

        reader, wanted = open_reader(self._path), self._screen.wanted
        for agent in wanted.agents:
            if not follow and not reader.holds_agent(agent):
                raise unknown_agent(reader, agent)
        if self._lines is not None:
            newest = self._newest(reader, wanted, self._lines)
            self._damaged = lambda: newest.damaged
            return iter(newest.lines)
        self._damaged = lambda: reader.damaged_lines
        agent_id = wanted.agents[0] if len(wanted.agents) == 1 else None
        if agent_id is not None and not reader.holds_agent(agent_id):
            return iter(())
        return reader.event_lines(agent_id, wanted.since_us, wanted.until_us)

    def _newest(self, reader: TreeReader, wanted: Selection, count: int) -> Newest:
        from Agent.tree.layout import agent_files

        def files() -> list[Path]:
            """Where the events that are wanted may stand now."""
            if not wanted.agents:
                return reader.files()
            return [path for agent in wanted.agents for path in agent_files(self._path, agent)]

        found = Newest([], 0)
        for _ in range(_TRIES):
            before = files()
            found = newest_lines(self._path, before, count, wanted, wanted.since_us)
            # a segment that was rolled meanwhile was perhaps not met under either name
            if files() == before:
                break
        return found

    def _noted(self, lines: Iterable[Line]) -> Iterator[Line]:
        """The same, remembered by number: the follower may meet what was written meanwhile once more."""
        from Agent.tree.files.sequence_set import SeqSet

        for line, event in lines:
            self._seen.setdefault(event.writer, SeqSet()).add(event.seq)
            yield line, event

    def _follow(self, follower: Follower, *, follow: bool) -> bool:
        until_us = self._screen.wanted.until_us
        with _interruption() as interrupted:

            def ended() -> bool:
                """Whether no further event is waited for."""
                if interrupted() or not follow or _reader_is_gone():
                    return True
                return until_us is not None and time.time() > until_us / 1e6 + _LATE_S

            for batch in follower.follow_lines(ended, SETTLE_S):
                self._screen.show(pair for pair in batch if self._is_new(pair[1]))
                if time.monotonic() - self._kept_s > _KEEP_EVERY_S:
                    self._keep(follower)
                if interrupted():
                    break
            self._keep(follower)
            return interrupted()

    def _tell_what_is_missing(self, follower: Follower) -> None:
        render.note_damage(self._damaged() + follower.damaged_lines)
        if follower.vanished_files:
            gone = words.plural(follower.vanished_files, "file")
            render.note(f"{gone} went away before all of it was read; agent-trace verify tells what lacks")

    def _is_new(self, event: Event) -> bool:
        seen = self._seen.get(event.writer)
        return seen is None or event.seq not in seen

    def _keep(self, follower: Follower) -> None:
        """Leave in the cursor's file how far everything is printed."""
        if self._cursor is None:
            return
        import orjson

        from Agent.tree.files.session import replace_file

        self._kept_s = time.monotonic()
        place = {"session": self._path.name, **follower.cursor()}
        replace_file(self._cursor, orjson.dumps(place, option=orjson.OPT_APPEND_NEWLINE))


def _read_cursor(file: Path, session: Path) -> dict[str, Any] | None:
    """The place in a session that a file keeps; None where it keeps none, or one in another session."""
    import orjson

    try:
        place = orjson.loads(file.read_bytes())
        name = place["session"]
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
    return dict(place)


def _reader_is_gone() -> bool:
    """Whether stdout is a pipe whose reader has ended, so that nobody waits for a further event."""
    try:
        watch = select.poll()
        watch.register(sys.stdout.fileno(), 0)
        return any(found & (select.POLLERR | select.POLLNVAL) for _, found in watch.poll(0))
    except (AttributeError, OSError, ValueError):
        return False  # no such call here, or stdout is no file: the next write will tell


@contextmanager
def _interruption() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether Ctrl-C was pressed; pressed twice it interrupts at once."""
    pressed = False

    def press(_signal: int, _frame: FrameType | None) -> None:
        """What Ctrl-C does meanwhile."""
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
"""An event behind its line as it stands in the recording, without the newline."""


class Newest(NamedTuple):
    """The end of a session, as far as it was asked for."""

    lines: list[Line]
    """Oldest first."""
    damaged: int
    """Lines on the way that are no event."""


BLOCK_BYTES = 64 * 1024
SLACK_US = 1_000_000
"""How far a file may be out of order: threads interleave, buffers are late, a file's time is coarse."""

_FIRST_STRETCH_US = 1_000_000
_LONGER = 8


def newest_lines(
    session: Path,
    files: Iterable[Path],
    count: int,
    wanted: Callable[[Event], bool],
    since_us: int | None = None,
) -> Newest:
    """The newest `count` events that are wanted; damaged lines are passed over and counted.

    Args:
        session: the session's directory, whose archive is asked for what is no longer there as files.
        files: which of its files are read, newest first, until all of a file is older than what was found.
        count: how many.
        wanted: which.
        since_us: where reading back may end.
    """
    newest = _Kept(count, since_us)
    if count <= 0:
        return newest.result()
    for modified_us, path in sorted(((_modified_us(path), path) for path in files), reverse=True):
        if newest.has_none_before(modified_us + SLACK_US):
            break
        for line, event in newest.events(_lines_backwards(path)):
            if newest.has_none_before(event.timestamp_us + SLACK_US):
                break
            if wanted(event):
                newest.add(line, event)
    for line, event in newest.events(_sealed(session, newest)):
        if wanted(event):
            newest.add(line, event)
    return newest.result()


class _Kept:
    """At most `count` events, the newest of those added."""

    def __init__(self, count: int, since_us: int | None) -> None:
        self._count = count
        self._since_us = since_us
        self._found: list[tuple[tuple[int, str, int], int, Line]] = []
        self._damaged = 0

    def events(self, lines: Iterable[bytes]) -> Iterator[Line]:
        """The events on some lines; one that is none is counted."""
        for line in lines:
            try:
                yield line, decode_line(line)
            except DamagedLine:
                self._damaged += 1

    def has_none_before(self, time_us: int) -> bool:
        """Whether nothing that is older than that can be among them."""
        if self._since_us is not None and time_us < self._since_us:
            return True
        return len(self._found) == self._count and time_us < self._found[0][0][0]

    def add(self, line: bytes, event: Event) -> None:
        # ids settle a tie, events have no order of their own
        entry = (event.order, id(event), (line, event))
        if len(self._found) < self._count:
            heapq.heappush(self._found, entry)
        elif entry > self._found[0]:
            heapq.heapreplace(self._found, entry)

    def result(self) -> Newest:
        return Newest([line for _, _, line in sorted(self._found)], self._damaged)


def _sealed(session: Path, newest: _Kept) -> Iterator[bytes]:
    """The lines of segments that were removed, stretch by stretch from the newest on."""
    from Agent.archive.sealed.parts import read_parts
    from Agent.archive.sealed.reader import ArchiveLines

    times_us = [
        time_us
        for part in read_parts(session)
        if part.json_removed
        for segment in part.segments
        for time_us in (segment.first_us, segment.last_us)
        if time_us is not None
    ]
    if not times_us:
        return
    archive = ArchiveLines(session)
    until_us, stretch_us = max(times_us) + 1, _FIRST_STRETCH_US
    while until_us > min(times_us) and not newest.has_none_before(until_us):
        for raw in archive.ordered_lines(until_us - stretch_us, until_us):
            yield raw.line
        until_us, stretch_us = until_us - stretch_us, stretch_us * _LONGER


def _modified_us(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1000
    except FileNotFoundError:
        # just rolled: its lines stand under the name that it has now
        return 0


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """The whole lines of a file, last first; what stands behind the last newline is still being written."""
    from Agent.tree.layout import NO_FILE, open_file

    try:
        file = os.fdopen(open_file(path)[0], "rb")
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        return  # it was rolled, and the caller looks again; or it is no file, which `verify` reports
    with file:
        position = file.seek(0, 2)
        parts: list[bytes] = []  # of the line whose beginning is not yet read, last first
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
            rest, *whole = b"".join(reversed(parts)).split(b"\n")
            parts, held_bytes = [rest], len(rest)
            if at_end and whole:
                whole, at_end = whole[:-1], False
            yield from (piece for piece in reversed(whole) if piece)
        if not at_end and (rest := b"".join(reversed(parts))):
            yield rest


_TOO_LONG: Final = b"\0"
"""Replaces a line that is longer than any event, so that it is counted as damaged."""


FORMAT_NAME: Final = "agent_trace"
"""The name of the format, which is that of its table in lnav's SQL too."""


def format_bytes() -> bytes:
    """The format file as it is shipped."""
    return files("Agent.cli").joinpath("formats", f"{FORMAT_NAME}.json").read_bytes()


def formats_directory() -> Path:
    """Where lnav looks for formats: in `~/.lnav` where that is there, else in its configuration directory."""
    home = Path.home()
    configured = os.environ.get("XDG_CONFIG_HOME")
    if not configured and (home / ".lnav").is_dir():
        return home / ".lnav" / "formats"
    return (Path(configured) if configured else home / ".config") / "lnav" / "formats"


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

    Replaces an older one. With --to, pass lnav the directory above `formats` by lnav -I.

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
            beside = target.with_suffix(f".{os.getpid()}.part")
            beside.write_bytes(written)
            beside.replace(target)
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
