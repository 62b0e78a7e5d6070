"""Reads a session: its agents, its events in order, damage, losses, open spans, and their summary.

All of analysis and replay use it; `follower` does the same for a growing session. `trace_summary.json` is a
cache of the summary that can be rebuilt at any time.
"""

from __future__ import annotations

import gc
import heapq
import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from Agent.errors import AgentNotFound, DamagedInput, RunNotFound
from Agent.event.clock import format_timestamp
from Agent.event.model import Event
from Agent.tree.files.lines import (
    Damage,
    DamageLog,
    Inode,
    LineDecoder,
    OrderKey,
    RawLine,
    Tail,
    event_key,
    line_key,
    own_line,
)
from Agent.tree.files.segment import numbered
from Agent.tree.files.session import replace_file
from Agent.tree.layout import (
    agent_files,
    agents_dir,
    category_file,
    category_files,
    existing,
    inode_at,
    open_file,
    parse_file_name,
    run_files,
    run_ids,
    safe_name,
    segment_order,
    session_id_of,
    stem_files,
    summary_file,
    tree_files,
)
from Agent.tree.read.losses import Losses, Scan, Writers
from Agent.tree.read.removal_logs import ColdLines, read_recovery
from Agent.tree.write.crash_board import BoardSpan
from Agent.tree.write.event_counts import (
    MOST_ERRORS,
    EventCounts,
    files_of_others,
    forget_counts,
    shown_error,
)

_CHUNK_BYTES: Final = 1024 * 1024


@contextmanager
def no_collection() -> Iterator[None]:
    """Disable garbage collection: a million events hold no cycles, and the search takes 20% of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def files_naming(session: Path, agent_id: str) -> list[Path]:
    """Return the run files that contain an agent's id, so that other runs need not be read for it."""
    try:
        needle = b'"agent_id":' + orjson.dumps(agent_id)
    except orjson.JSONEncodeError:  # a lone surrogate: no event can name it
        return []
    return [
        path for run_id in run_ids(session) for path in run_files(session, run_id) if _holds(path, needle)
    ]


def _holds(path: Path, needle: bytes) -> bool:
    try:
        fd, _ = open_file(path)
    except OSError:
        return True  # reading it later reports the error
    try:
        buffer = b""
        while chunk := os.read(fd, _CHUNK_BYTES):
            buffer = buffer[-len(needle) :] + chunk
            if needle in buffer:
                return True
    finally:
        os.close(fd)
    return False


class AgentFiles(NamedTuple):
    """One agent of a session, and the files with its events, in order."""

    agent_id: str
    files: tuple[Path, ...]


class OpenSpan(NamedTuple):
    """A span that was open when the board was read, or when its process died."""

    agent_id: str | None
    name: str
    span_id: str
    started_us: int
    writer: str
    pid: int
    alive: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the span as a JSON object, without `alive`, which can change."""
        return {
            "agent_id": self.agent_id,
            "name": self.name,
            "span_id": self.span_id,
            "started_at": format_timestamp(self.started_us),
            "writer": self.writer,
            "pid": self.pid,
        }


class TreeReader:
    """Reads one session: running, ended or crashed. It writes nothing.

    Args:
        session: the session's directory.
        cold: the source of lines whose files were removed.

    Raises:
        SessionNotFound: the directory is missing.
    """

    def __init__(self, session: Path, cold: ColdLines | None = None) -> None:
        self._cold = cold
        self.session = existing(Path(session))
        self._damage = DamageLog()

    def files(self) -> list[Path]:
        """Return every log file of the session, segments in order."""
        return tree_files(self.session)

    def has_files(self) -> bool:
        """Return whether the session has any log files, on disk or in the archive."""
        return bool(self._in_either_form(self.files, lambda: list(self._cold_files())))

    def holds_agent(self, agent_id: str) -> bool:
        """Return whether the session has files of an agent, on disk or in the archive, or runs of it."""
        return bool(self._files_of_agent(agent_id)) or agent_id in self._files_of_runs()

    def run_ids(self) -> list[str]:
        """Return the ids of the session's runs, without the root run, oldest first."""
        return run_ids(self.session)

    def run_events(self, run_id: str) -> Iterator[Event]:
        """Yield the events in a run's files, in order; RunNotFound if it has none."""
        paths = run_files(self.session, run_id)
        if not paths:
            raise RunNotFound(
                f"no run {run_id!r}", path=self.session, remedy="`agent-trace runs` lists all runs"
            )
        return self._merged(paths)

    def run_beginning(self, run_id: str) -> Event | None:
        """Return the first event in a run's files; None if it has none."""
        return next(self._merged(run_files(self.session, run_id)), None)

    def begun_in(self, runs: Collection[str]) -> set[str]:
        """Return the given runs and all runs started within them, at any depth."""
        parents = {
            run: began.extra.get("parent_run_id")
            for run in self.run_ids()
            if (began := self.run_beginning(run)) is not None
        }
        runs_found = set(runs)
        while more := {
            run for run, parent in parents.items() if parent in runs_found and run not in runs_found
        }:
            runs_found |= more
        return runs_found

    def _files_of_runs(self) -> dict[str, list[Path]]:
        """Return the run files by agent; a run belongs to the agent of its first event."""
        decoder = LineDecoder(DamageLog(), Writers(self.session).knows)
        by_run: dict[str, list[Path]] = {}
        for run_id in self.run_ids():
            paths = run_files(self.session, run_id)
            firsts = (first_event(self.session, chain, decoder) for chain in chains_of(paths))
            agent_id = next(
                (first.agent_id for first in firsts if first is not None and first.agent_id), None
            )
            if agent_id is not None:
                by_run.setdefault(agent_id, []).extend(paths)
        return by_run

    def _cold_files(self) -> dict[Path, str | None]:
        return {} if self._cold is None else self._cold.files()

    def _cold_stem(self, stem: str, *, in_agents: bool = True) -> list[Path]:
        """Return the removed files of one stem."""
        directory = agents_dir(self.session) if in_agents else self.session
        paths = [path for path in self._cold_files() if path.parent == directory]
        named = [(path, parse_file_name(path.name)) for path in paths]
        return [path for path, name in named if name is not None and name.stem == stem]

    def agents(self) -> list[AgentFiles]:
        """Return the agents by id, each with its files; ids come from the events, not from file names."""
        decoder = LineDecoder(self._damage, Writers(self.session).knows)
        in_agents = agents_dir(self.session)
        by_agent: dict[str, list[Path]] = {}
        standing = [path for path in self.files() if path.parent == in_agents]
        for path, agent_id in self._cold_files().items():
            if agent_id is not None and path.parent == in_agents:
                by_agent.setdefault(agent_id, []).append(path)
        sealed = None if self._cold is None else SealedLines(self._cold)
        for chain in chains_of(standing):
            event = first_event(self.session, chain, decoder, sealed)
            if event is not None and event.agent_id is not None:
                by_agent.setdefault(event.agent_id, []).extend(chain.paths)
        for agent_id, files in self._files_of_runs().items():
            by_agent.setdefault(agent_id, []).extend(files)
        return [
            AgentFiles(agent_id, _in_order(dict.fromkeys(paths)))
            for agent_id, paths in sorted(by_agent.items())
        ]

    def events(
        self,
        agent_id: str | None = None,
        kinds: Collection[str] | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
    ) -> Iterator[Event]:
        """Yield the events in order of (timestamp, writer, seq), with memory independent of session size.

        Args:
            agent_id: only events in this agent's files and in run files that name it; no others are read.
            kinds: only these kinds.
            since_us: start time, inclusive, in microseconds since 1970.
            until_us: end time, exclusive, in microseconds since 1970.

        Raises:
            AgentNotFound: the session has no file of this agent.
        """
        return (event for _, event in self.event_lines(agent_id, since_us, until_us, kinds))

    def event_lines(
        self,
        agent_id: str | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
        kinds: Collection[str] | None = None,
    ) -> Iterator[tuple[bytes, Event]]:
        """Yield (line, event) of the same events; the line is as recorded, without its newline."""
        paths = self.files() if agent_id is None else self._agent_files(agent_id)
        return self._merged_lines(
            paths, kinds, since_us, until_us, with_cold=agent_id is None, agent_id=agent_id
        )

    def agent_events(self, agent_id: str) -> Iterator[Event]:
        """Yield one agent's events in order, reading only its files; AgentNotFound if it has none."""
        return self.events(agent_id)

    def category_events(self, category: str) -> Iterator[Event]:
        """Yield the events of a category's session files, in order."""
        return self._merged(
            self._in_either_form(
                lambda: category_files(self.session, category),
                lambda: self._cold_stem(category_file(category), in_agents=False),
            )
        )

    def _in_either_form(
        self, standing: Callable[[], list[Path]], sealed: Callable[[], list[Path]]
    ) -> list[Path]:
        """Return the paths of files on disk or in the archive, even while files are sealed or restored.

        The second listing finds files that were sealed since the first; the third, files that were restored.
        A name can be in both forms if a later process reused it.
        """
        before, sealed_before = standing(), sealed()
        return list(dict.fromkeys([*sealed_before, *before, *standing()]))

    def _files_of_agent(self, agent_id: str) -> list[Path]:
        return self._in_either_form(
            lambda: agent_files(self.session, agent_id), lambda: self._cold_stem(safe_name(agent_id))
        )

    def _agent_files(self, agent_id: str) -> list[Path]:
        paths = list(dict.fromkeys([*self._files_of_agent(agent_id), *files_naming(self.session, agent_id)]))
        if not paths:
            raise AgentNotFound(
                f"no events of agent {agent_id!r}",
                path=self.session,
                remedy="list the agents first",
            )
        return paths

    def _merged(self, paths: list[Path]) -> Iterator[Event]:
        return (event for _, event in self._merged_lines(paths))

    def _merged_lines(
        self,
        paths: list[Path],
        kinds: Collection[str] | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
        *,
        with_cold: bool = False,
        agent_id: str | None = None,
    ) -> Iterator[tuple[bytes, Event]]:
        writers = Writers(self.session)
        decoder = LineDecoder(self._damage, writers.knows)
        since = b"" if since_us is None else format_timestamp(since_us).encode()
        until = b"~" if until_us is None else format_timestamp(until_us).encode()  # "~" sorts after digits
        kind_set = None if kinds is None else frozenset(kinds)
        sealed = None
        if self._cold is not None:
            only = None if with_cold else paths
            sealed = SealedLines(self._cold, True, since_us, until_us, only)
        lines = merged_lines(self.session, chains_of(paths), decoder, writers.may_finish, sealed)
        for key, _, raw, decoded in lines:
            if not since <= key[0] < until:
                continue
            event = decoder.decode(raw) if decoded is None else decoded
            # A run's files hold the events of every agent that took part in it.
            if event is not None and agent_id not in {None, event.agent_id} and raw.path.suffix == ".jsonl":
                continue
            if event is not None and (kind_set is None or event.kind in kind_set):
                yield own_line(raw.line, event), event

    def scan(
        self,
        kinds: Collection[str] | None = None,
        tally: EventCounts | None = None,
        counts: EventCounts | None = None,
    ) -> Scan:
        """Scan every event once, unordered across files; `.losses` is set when iteration ends.

        `kinds` limits the events that are yielded. All events are accounted for and counted in `tally`;
        events of other kinds in the archive are counted without being read. Events in `counts` are not read
        again, but their numbers are accounted for.
        """
        if (
            counts is not None
            and counts.writers
            and (others := files_of_others(self.session, counts.writers)) is not None
        ):
            if tally is not None:
                tally.add(counts)
            return Scan(self.session, self._damage, self._cold, kinds, tally, counts.writers, lambda: others)
        return Scan(self.session, self._damage, self._cold, kinds, tally)

    def losses(self) -> Losses:
        """Compute the losses of the session by reading all of its events."""
        scan = self.scan(())
        for _ in scan:
            pass
        return scan.losses

    def damage(self) -> list[Damage]:
        """Return the first 1,000 damaged lines met so far."""
        return self._damage.kept()

    @property
    def damaged_lines(self) -> int:
        """The number of damaged lines met so far."""
        return self._damage.count

    def in_flight(self) -> list[OpenSpan]:
        """Return the open spans, oldest first: of running processes, and of dead ones when they died."""
        writers = Writers(self.session)
        open_spans = self._open_at_death(writers)
        spans = [
            _open_span(span, writer, writers.claims[writer].pid, alive=writer in writers.alive)
            for writer, board in writers.boards.items()
            if writer not in open_spans
            for span in board.open_spans
        ]
        spans += itertools.chain.from_iterable(open_spans.values())
        return sorted(spans, key=lambda span: (span.started_us, span.writer, span.span_id))

    def _open_at_death(self, writers: Writers) -> dict[str, list[OpenSpan]]:
        """Return the open spans that recovery found on the boards of killed writers, which it removed."""
        try:
            recovered = read_recovery(self.session).writers
        except DamagedInput as error:
            self._damage.note_file(Path(error.path or self.session), str(error))
            return {}
        pids = {writer: claim.pid for writer, claim in writers.claims.items()}
        return {
            writer: [
                _open_span(span, writer, pids.get(writer, -1), alive=False) for span in account.open_spans
            ]
            for writer, account in recovered.items()
        }


def _open_span(span: BoardSpan, writer: str, pid: int, *, alive: bool) -> OpenSpan:
    return OpenSpan(span.agent_id, span.name, span.span_id, span.started_us, writer, pid, alive)


def _in_order(paths: Iterable[Path]) -> tuple[Path, ...]:
    named = [(name, path) for path in paths if (name := parse_file_name(path.name)) is not None]
    return tuple(path for _, path in sorted(named, key=lambda pair: segment_order(pair[0])))


_MEMORY_BYTES: Final = 16 * 1024 * 1024
_MEMORY_LINES: Final = 32 * 1024

Ordered = tuple[OrderKey, int, RawLine, Event | None]


class FileSequence(NamedTuple):
    """The files of one stem by one writer: the live name, and the segments in ascending order."""

    live: Path
    numbers: tuple[int, ...]
    paths: tuple[Path, ...]


def chains_of(paths: Iterable[Path]) -> list[FileSequence]:
    """Group files by chain: the segments and the live file of one stem and writer."""
    by_directory: defaultdict[Path, list[tuple[float, Path]]] = defaultdict(list)
    for path in paths:
        name = parse_file_name(path.name)
        if name is not None:
            writer = "" if name.writer is None else f"@{name.writer}"
            order = float("inf") if name.segment is None else name.segment
            by_directory[path.with_name(f"{name.stem}{writer}{path.suffix}")].append((order, path))
    return [
        FileSequence(
            live,
            tuple(int(order) for order, _ in sorted(files) if order != float("inf")),
            tuple(path for _, path in sorted(files)),
        )
        for live, files in by_directory.items()
    ]


class SealedLines:
    """The archived lines of a session while it is read, including files that are sealed during reading.

    Args:
        cold: the source of these lines.
        as_sequence: provide them as one ordered sequence, since there can be thousands of segments; else
            separately for each file name.
        since_us, until_us: time range of the sequence, as in `TreeReader.events`.
        only: the paths of the sequence; all by default.
    """

    def __init__(
        self,
        cold: ColdLines,
        as_sequence: bool = False,
        since_us: int | None = None,
        until_us: int | None = None,
        only: Collection[Path] | None = None,
    ) -> None:
        self._cold, self._began = cold, cold.fixed()
        self._gone = frozenset(self._began.files())
        self._as_sequence = as_sequence
        self.sequence = self._began.ordered_lines(since_us, until_us, only) if as_sequence else None

    def lines(self, path: Path, standing: Iterator[RawLine]) -> Iterator[RawLine]:
        """Yield the lines of one path: archived ones first, then those of the file on disk."""
        if path in self._gone and not self._as_sequence:
            yield from self._began.lines(path)
        is_there = path in self._gone
        for raw in standing:
            is_there = True
            yield raw
        if not is_there:
            # sealed and removed since the files were listed
            yield from self._cold.lines(path)


def first_event(
    session: Path, chain: FileSequence, decoder: LineDecoder, sealed: SealedLines | None = None
) -> Event | None:
    """Return the first event of a chain without reading further; None if it has none."""
    for raw in _chain_lines(session, chain, 8 * 1024, decoder, sealed):
        event = decoder.decode(raw) if raw.complete else None
        if event is not None:
            return event
    return None


def merged_lines(
    session: Path,
    chains: list[FileSequence],
    decoder: LineDecoder,
    is_unfinished: Callable[[RawLine], bool],
    sealed: SealedLines | None = None,
) -> Iterator[Ordered]:
    """Merge the lines of all chains in order; an event after a torn line is already decoded.

    Within a chain, lines of different threads can be slightly out of order: they are sorted within a window
    of 16 to 2,048 lines, depending on the number of chains. A line outside the window is yielded late, but
    exactly once.

    Args:
        session: the session's directory.
        chains: the chains to read.
        decoder: the decoder that decodes the lines afterwards.
        is_unfinished: returns whether an incomplete line may still be completed; it is then skipped.
        sealed: the archived lines.
    """
    sequence = None if sealed is None else sealed.sequence
    count = max(len(chains) + (sequence is not None), 1)
    held_bytes = max(_MEMORY_BYTES // count, 8 * 1024)
    most_lines = min(max(_MEMORY_LINES // count, 16), 2048)
    chunk_bytes = min(held_bytes, 256 * 1024)
    files = [_chain_lines(session, chain, chunk_bytes, decoder, sealed) for chain in chains]
    ordered = [
        _merged_in_order(lines, held_bytes, most_lines, decoder, is_unfinished)
        for lines in (files if sequence is None else [*files, sequence])
    ]
    return ordered[0] if len(ordered) == 1 else heapq.merge(*ordered)


def _merged_in_order(
    lines: Iterator[RawLine],
    most_bytes: int,
    most_lines: int,
    decoder: LineDecoder,
    is_unfinished: Callable[[RawLine], bool],
) -> Iterator[Ordered]:
    pending: list[Ordered] = []
    held_bytes = 0
    for serial, raw in enumerate(lines):
        if not raw.complete and is_unfinished(raw):
            continue
        key = line_key(raw.line) or decoder.key_of(raw.line)
        if key is None:
            # An event after a torn line is accepted only if its id is new, so yield earlier lines first.
            pending.sort()
            yield from pending
            pending, held_bytes = [], 0
            event = decoder.decode(raw)
            if event is not None:
                yield event_key(event), serial, raw, event
            continue
        pending.append((key, serial, raw, None))
        held_bytes += len(raw.line)
        if len(pending) >= 2 * most_lines or held_bytes > most_bytes:
            pending.sort()
            half = (len(pending) + 1) // 2
            yield from pending[:half]
            del pending[:half]
            held_bytes = sum(len(raw.line) for _, _, raw, _ in pending)
    pending.sort()
    yield from pending


def _chain_lines(
    session: Path,
    chain: FileSequence,
    chunk_bytes: int,
    decoder: LineDecoder,
    sealed: SealedLines | None = None,
) -> Iterator[RawLine]:
    """Yield the lines of a chain, including segments that are rolled during reading."""
    tail = Tail(session, decoder.damage.note_unreadable, chunk_bytes=chunk_bytes)
    last = 0
    began = inode_at(chain.live)
    for number in chain.numbers:
        yield from _lines_at(numbered(chain.live, number), tail, sealed)
        last = number
    while (following := _next_number(chain, last, began)) is not None:
        # rolled since the files were listed; retention may have removed some of them again
        last = following
        yield from _lines_at(numbered(chain.live, last), tail, None)
    yield from _lines_at(chain.live, tail, sealed)


def _lines_at(path: Path, tail: Tail, sealed: SealedLines | None) -> Iterator[RawLine]:
    """Yield the lines of one path, including an incomplete last line."""
    standing = itertools.chain(tail.new_lines(only=(path,)), tail.rests())
    return standing if sealed is None else sealed.lines(path, standing)


def _next_number(chain: FileSequence, last: int, began: Inode | None) -> int | None:
    """Return the number of the next segment rolled after `last`; None if there is none."""
    live, following = inode_at(chain.live), inode_at(numbered(chain.live, last + 1))
    if following is not None:
        return last + 1 if following != live else None
    if live == began:
        return None
    # retention may have removed the segments in between
    stem = chain.live.stem.partition("@")[0]
    later = [
        number
        for same in chains_of(stem_files(chain.live.parent, stem, chain.live.suffix))
        if same.live == chain.live
        for number in same.numbers
        if number > last
    ]
    return min(later, default=None)


SUMMARY_VERSION = 1
_SHOWN_DAMAGES = 100
_SHOWN_SPANS = 1000


def summarise(
    session: Path, reader: TreeReader | None = None, counts: EventCounts | None = None
) -> dict[str, Any]:
    """Compute counts by kind, level and agent, errors, files with sizes, and losses; reads every line once.

    Args:
        session: the session's directory.
        reader: the reader to use, needed if some of its lines are in the archive.
        counts: counts kept by its processes, whose lines are then not read.

    Raises:
        SessionNotFound: the session is missing.
    """
    reader = reader or TreeReader(session)
    totals = EventCounts()
    scan = reader.scan({"error"}, totals, counts)
    for event in scan:
        totals.error_types[str(event.extra.get("error_type", "unknown"))] += 1
        totals.errors.append(shown_error(event.timestamp, event.id, event.extra))
        if len(totals.errors) >= 2 * MOST_ERRORS:
            totals.errors = _earliest(totals.errors)
    kinds = totals.by(0)
    return {
        "summary_version": SUMMARY_VERSION,
        "session_id": session_id_of(session),
        "events": kinds.total(),
        "first_timestamp": totals.first,
        "last_timestamp": totals.last,
        "by_kind": ranked(kinds),
        "by_level": ranked(totals.by(1)),
        "by_agent": ranked(totals.by(2)),
        "errors": {
            "count": kinds["error"],
            "by_type": ranked(totals.error_types),
            "first": _earliest(totals.errors),
        },
        "open_spans": _left_open(reader),
        "files": _files(reader, session),
        "losses": scan.losses.to_dict(),
        "damage": _damage(reader, session),
    }


def _left_open(reader: TreeReader) -> list[dict[str, Any]]:
    """Return the spans that ended processes left open."""
    return [
        {"agent_id": span.agent_id, "name": span.name, "span_id": span.span_id, "writer": span.writer}
        for span in reader.in_flight()[:_SHOWN_SPANS]
        if not span.alive
    ]


def _damage(reader: TreeReader, session: Path) -> list[dict[str, Any]]:
    return [
        {
            "file": entry.path.relative_to(session).as_posix(),
            "line": entry.line_number,
            "reason": entry.reason,
        }
        for entry in reader.damage()[:_SHOWN_DAMAGES]
    ]


def write_summary(
    session: Path, reader: TreeReader | None = None, *, counts: EventCounts | None = None
) -> Path:
    """Write a session's `trace_summary.json`; `reader` and `counts` as in `summarise`.

    Raises:
        SessionNotFound: the session is missing.
        OSError: it cannot be written.
    """
    path = summary_file(session)
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    replace_file(path, orjson.dumps(summarise(session, reader, counts), option=options, default=str))
    forget_counts(session)
    return path


def ranked(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts sorted by frequency, most frequent first, then by name."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _earliest(errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(errors, key=lambda error: (error["timestamp"], error["id"]))[:MOST_ERRORS]


def _files(reader: TreeReader, session: Path) -> list[dict[str, Any]]:
    files = []
    for path in reader.files():
        try:
            size_bytes = path.lstat().st_size
        except FileNotFoundError:
            # rolled since it was listed
            continue
        files.append({"file": path.relative_to(session).as_posix(), "size_bytes": size_bytes})
    return files
