"""Reads a session: its agents, its events in order, damage, losses and open spans.

`summary` and all of analysis and replay use it; `follower` does the same for a growing session.
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson

from Agent.errors import AgentNotFound, DamagedInput, RunNotFound, SessionNotFound
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
from Agent.tree.layout import (
    agent_files,
    agents_dir,
    category_file,
    category_files,
    inode_at,
    open_file,
    parse_file_name,
    run_files,
    run_ids,
    safe_name,
    segment_order,
    stem_files,
    tree_files,
)
from Agent.tree.read.losses import Losses, Scan, Writers
from Agent.tree.read.removal_logs import ColdLines, read_recovery
from Agent.tree.write.crash_board import BoardSpan
from Agent.tree.write.kept_counts import KeptCounts, files_of_others

# `reader` asks, so that one agent's journey reads no run that it had nothing to do with.

_CHUNK_BYTES: Final = 1024 * 1024


def is_run_file(path: Path) -> bool:
    """Whether that is a file of a run's events, by its name."""
    return path.suffix == ".jsonl"


def files_naming(session: Path, agent_id: str) -> list[Path]:
    """The files of a session's runs that hold events of that agent."""
    try:
        wanted = b'"agent_id":' + orjson.dumps(agent_id)
    except orjson.JSONEncodeError:  # a lone surrogate: no event can name it
        return []
    return [
        path for run_id in run_ids(session) for path in run_files(session, run_id) if _holds(path, wanted)
    ]


def _holds(path: Path, wanted: bytes) -> bool:
    try:
        fd, _ = open_file(path)
    except OSError:
        return True  # whoever reads it says what is wrong with it
    try:
        held = b""
        while chunk := os.read(fd, _CHUNK_BYTES):
            held = held[-len(wanted) :] + chunk
            if wanted in held:
                return True
    finally:
        os.close(fd)
    return False


@dataclass(frozen=True, slots=True)
class AgentFiles:
    """One agent of a session, and the files with its events, in order."""

    agent_id: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class OpenSpan:
    """A span that had begun and not ended when the board was read, or when its process died."""

    agent_id: str | None
    name: str
    span_id: str
    started_us: int
    writer: str
    pid: int
    alive: bool

    def to_dict(self) -> dict[str, Any]:
        """The span as a JSON object, without whether its process is alive: that changes."""
        return {
            "agent_id": self.agent_id,
            "name": self.name,
            "span_id": self.span_id,
            "started_at": format_timestamp(self.started_us),
            "writer": self.writer,
            "pid": self.pid,
        }


class TreeReader:
    """Reads one session; works while it is written, after its end and after a crash, and writes nothing.

    Args:
        session: the session's directory.
        cold: what holds the lines of segments that are no longer there as files.

    Raises:
        SessionNotFound: there is no such directory.
    """

    def __init__(self, session: Path, cold: ColdLines | None = None) -> None:
        self._cold = cold
        self.session = Path(session)
        if not self.session.is_dir():
            raise SessionNotFound(
                "no session there", path=session, remedy="give the path of a session_... directory"
            )
        self._damage = DamageLog()

    def files(self) -> list[Path]:
        """Every log file of the session, segments in order."""
        return tree_files(self.session)

    def has_files(self) -> bool:
        """Whether the session holds anything, as files or elsewhere."""
        return bool(self._in_either_form(self.files, lambda: list(self._cold_files())))

    def holds_agent(self, agent_id: str) -> bool:
        """Whether there is a file of that agent, or was one whose lines are kept elsewhere."""
        return bool(self._files_of_agent(agent_id)) or agent_id in self._files_of_runs()

    def run_ids(self) -> list[str]:
        """The explicit runs of the session, oldest first."""
        return run_ids(self.session)

    def run_events(self, run_id: str) -> Iterator[Event]:
        """The events in a run's own files, in order; RunNotFound if it has none."""
        paths = run_files(self.session, run_id)
        if not paths:
            raise RunNotFound(
                f"no run {run_id!r}", path=self.session, remedy="`agent-trace runs` lists all runs"
            )
        return self._merged(paths)

    def run_beginning(self, run_id: str) -> Event | None:
        """The first event in a run's own files; None where it has none."""
        return next(self._merged(run_files(self.session, run_id)), None)

    def begun_in(self, runs: Collection[str]) -> set[str]:
        """Some runs, and the explicit ones that were begun in them, at any depth."""
        parents = {
            run: began.extra.get("parent_run_id")
            for run in self.run_ids()
            if (began := self.run_beginning(run)) is not None
        }
        found = set(runs)
        while more := {run for run, parent in parents.items() if parent in found and run not in found}:
            found |= more
        return found

    def _files_of_runs(self) -> dict[str, list[Path]]:
        """The files of runs by the agent whose runs they are, as each run's first event says."""
        decoder = LineDecoder(DamageLog(), Writers(self.session).knows)
        found: dict[str, list[Path]] = {}
        for run_id in self.run_ids():
            paths = run_files(self.session, run_id)
            firsts = (first_event(self.session, chain, decoder) for chain in chains_of(paths))
            agent_id = next(
                (first.agent_id for first in firsts if first is not None and first.agent_id), None
            )
            if agent_id is not None:
                found.setdefault(agent_id, []).extend(paths)
        return found

    def _cold_files(self) -> dict[Path, str | None]:
        return {} if self._cold is None else self._cold.files()

    def _cold_stem(self, stem: str, *, in_agents: bool = True) -> list[Path]:
        """The files of one stem that are no longer there."""
        directory = agents_dir(self.session) if in_agents else self.session
        there = [path for path in self._cold_files() if path.parent == directory]
        named = [(path, parse_file_name(path.name)) for path in there]
        return [path for path, name in named if name is not None and name.stem == stem]

    def agents(self) -> list[AgentFiles]:
        """The agents by id, each with its files; the id is taken from the events, not from the names."""
        decoder = LineDecoder(self._damage, Writers(self.session).knows)
        in_agents = agents_dir(self.session)
        found: dict[str, list[Path]] = {}
        standing = [path for path in self.files() if path.parent == in_agents]
        for path, agent_id in self._cold_files().items():
            if agent_id is not None and path.parent == in_agents:
                found.setdefault(agent_id, []).append(path)
        sealed = None if self._cold is None else Sealed(self._cold)
        for chain in chains_of(standing):
            event = first_event(self.session, chain, decoder, sealed)
            if event is not None and event.agent_id is not None:
                found.setdefault(event.agent_id, []).extend(chain.paths)
        for agent_id, files in self._files_of_runs().items():
            found.setdefault(agent_id, []).extend(files)
        return [
            AgentFiles(agent_id, _in_order(dict.fromkeys(paths))) for agent_id, paths in sorted(found.items())
        ]

    def events(
        self,
        agent_id: str | None = None,
        kinds: Collection[str] | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
    ) -> Iterator[Event]:
        """The events in order of (timestamp, writer, seq), memory flat in the size of the session.

        Args:
            agent_id: only what stands in this agent's files and those of its runs, reading no other.
            kinds: only these kinds.
            since_us: only from these microseconds since 1970 on.
            until_us: only before these.

        Raises:
            AgentNotFound: the session has no file of that agent.
        """
        if agent_id is not None:
            return self._merged(self._agent_files(agent_id), kinds, since_us, until_us, agent_id=agent_id)
        return self._merged(self.files(), kinds, since_us, until_us, with_cold=True)

    def event_lines(
        self, agent_id: str | None = None, since_us: int | None = None, until_us: int | None = None
    ) -> Iterator[tuple[bytes, Event]]:
        """The same events, each behind its line as it stands in the recording, without the newline."""
        paths = self.files() if agent_id is None else self._agent_files(agent_id)
        return self._merged_lines(
            paths, None, since_us, until_us, with_cold=agent_id is None, agent_id=agent_id
        )

    def agent_events(self, agent_id: str) -> Iterator[Event]:
        """One agent's events in order, reading only its files and its runs'; AgentNotFound if it has none."""
        return self._merged(self._agent_files(agent_id), agent_id=agent_id)

    def category_events(self, category: str) -> Iterator[Event]:
        """The events of a category's own file, those of no single agent, in order."""
        return self._merged(
            self._in_either_form(
                lambda: category_files(self.session, category),
                lambda: self._cold_stem(category_file(category), in_agents=False),
            )
        )

    def _in_either_form(
        self, standing: Callable[[], list[Path]], sealed: Callable[[], list[Path]]
    ) -> list[Path]:
        """Files by name, as they stand or in the archive alone, also while they are moved there or back.

        What is sealed and removed between two looks is found at the second, what is restored at the third.
        A name can be both, where a later process took one that was free again.
        """
        before, gone = standing(), sealed()
        return list(dict.fromkeys([*gone, *before, *standing()]))

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

    def _merged(
        self,
        paths: list[Path],
        kinds: Collection[str] | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
        *,
        with_cold: bool = False,
        agent_id: str | None = None,
    ) -> Iterator[Event]:
        lines = self._merged_lines(paths, kinds, since_us, until_us, with_cold=with_cold, agent_id=agent_id)
        return (event for _, event in lines)

    def _merged_lines(
        self,
        paths: list[Path],
        kinds: Collection[str] | None,
        since_us: int | None,
        until_us: int | None,
        *,
        with_cold: bool,
        agent_id: str | None,
    ) -> Iterator[tuple[bytes, Event]]:
        writers = Writers(self.session)
        decoder = LineDecoder(self._damage, writers.knows)
        since = b"" if since_us is None else format_timestamp(since_us).encode()
        until = b"~" if until_us is None else format_timestamp(until_us).encode()  # "~" sorts after digits
        wanted = None if kinds is None else frozenset(kinds)
        sealed = None if self._cold is None else Sealed(self._cold, with_cold, since_us, until_us)
        lines = merged_lines(self.session, chains_of(paths), decoder, writers.may_finish, sealed)
        for key, _, raw, decoded in lines:
            if not since <= key[0] < until:
                continue
            event = decoder.decode(raw) if decoded is None else decoded
            # A run's files hold the events of every agent that took part in it.
            if event is not None and agent_id not in {None, event.agent_id} and is_run_file(raw.path):
                continue
            if event is not None and (wanted is None or event.kind in wanted):
                yield own_line(raw.line, event), event

    def scan(
        self,
        kinds: Collection[str] | None = None,
        tally: KeptCounts | None = None,
        counts: KeptCounts | None = None,
    ) -> Scan:
        """Every event once, or those of some kinds, in no order across files; `.losses` when all were taken.

        All are accounted for, and counted in `tally`; of segments that are no longer there as files those of
        other kinds are only counted. Events that are in `counts` already are not read again; their numbers
        are accounted for.
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
        """What became of every number that a writer took: files are read, what was removed is counted."""
        scan = self.scan(())
        for _ in scan:
            pass
        return scan.losses

    def damage(self) -> list[Damage]:
        """What was met so far that is no event; the first thousand."""
        return self._damage.kept()

    @property
    def damaged_lines(self) -> int:
        """How many damaged lines were met so far."""
        return self._damage.count

    def in_flight(self) -> list[OpenSpan]:
        """What stands open on the boards: now, or since the process died; oldest first."""
        writers = Writers(self.session)
        found = self._found_open(writers)
        spans = [
            _open_span(span, writer, writers.claims[writer].pid, alive=writer in writers.alive)
            for writer, board in writers.boards.items()
            if writer not in found
            for span in board.open_spans
        ]
        spans += itertools.chain.from_iterable(found.values())
        return sorted(spans, key=lambda span: (span.started_us, span.writer, span.span_id))

    def _found_open(self, writers: Writers) -> dict[str, list[OpenSpan]]:
        """What recovering found on the boards of killed writers, which it removed afterwards."""
        try:
            found = read_recovery(self.session).writers
        except DamagedInput as error:
            self._damage.note_file(Path(error.path or self.session), str(error))
            return {}
        pids = {writer: claim.pid for writer, claim in writers.claims.items()}
        return {
            writer: [
                _open_span(span, writer, pids.get(writer, -1), alive=False) for span in account.open_spans
            ]
            for writer, account in found.items()
        }


def _open_span(span: BoardSpan, writer: str, pid: int, *, alive: bool) -> OpenSpan:
    return OpenSpan(span.agent_id, span.name, span.span_id, span.started_us, writer, pid, alive)


def _in_order(paths: Iterable[Path]) -> tuple[Path, ...]:
    named = [(name, path) for path in paths if (name := parse_file_name(path.name)) is not None]
    return tuple(path for _, path in sorted(named, key=lambda pair: segment_order(pair[0])))


_MEMORY_BYTES: Final = 16 * 1024 * 1024
_MEMORY_LINES: Final = 32 * 1024

Ordered = tuple[OrderKey, int, RawLine, Event | None]


@dataclass(frozen=True, slots=True)
class FileSequence:
    """The files of one stem by one writer: rolled segments in ascending order, and the live name."""

    live: Path
    numbers: tuple[int, ...]
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Room:
    """How much of each chain may be in memory."""

    chunk_bytes: int
    held_bytes: int
    lines: int

    @classmethod
    def of(cls, chains: int) -> Self:
        share_bytes = _MEMORY_BYTES // max(chains, 1)
        return cls(
            chunk_bytes=min(max(share_bytes, 8 * 1024), 256 * 1024),
            held_bytes=max(share_bytes, 8 * 1024),
            lines=min(max(_MEMORY_LINES // max(chains, 1), 16), 2048),
        )


def chains_of(paths: Iterable[Path]) -> list[FileSequence]:
    """The chains that files belong to."""
    found: defaultdict[Path, list[tuple[float, Path]]] = defaultdict(list)
    for path in paths:
        name = parse_file_name(path.name)
        if name is not None:
            writer = "" if name.writer is None else f"@{name.writer}"
            order = float("inf") if name.segment is None else name.segment
            found[path.with_name(f"{name.stem}{writer}{path.suffix}")].append((order, path))
    return [
        FileSequence(
            live,
            tuple(int(order) for order, _ in sorted(files) if order != float("inf")),
            tuple(path for _, path in sorted(files)),
        )
        for live, files in found.items()
    ]


class Sealed:
    """What of a session is not there as files while it is read, and what goes away meanwhile.

    Args:
        cold: what holds it.
        as_sequence: give it as one ordered sequence, since there may be thousands of segments; else under the
            name of each.
        since_us, until_us: of the sequence, as `TreeReader.events` has them.
    """

    def __init__(
        self,
        cold: ColdLines,
        as_sequence: bool = False,
        since_us: int | None = None,
        until_us: int | None = None,
    ) -> None:
        self._cold, self._began = cold, cold.fixed()
        self._gone = frozenset(self._began.files())
        self._as_sequence = as_sequence
        self.sequence = self._began.ordered_lines(since_us, until_us) if as_sequence else None

    def lines(self, path: Path, standing: Iterator[RawLine]) -> Iterator[RawLine]:
        """The lines under one name: of what stands there, and of what did when it was sealed."""
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
    session: Path, chain: FileSequence, decoder: LineDecoder, sealed: Sealed | None = None
) -> Event | None:
    """The first event of a chain, reading no further."""
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
    sealed: Sealed | None = None,
) -> Iterator[Ordered]:
    """The lines of all chains in order; an event that stood behind a torn line comes decoded.

    Within a chain, lines of different threads may stand a little out of order: they are sorted within a
    window of up to 2,048 lines. One that is later still comes late, never twice and never not at all.

    Args:
        session: whose.
        chains: what to read.
        decoder: the one that decodes the lines afterwards.
        is_unfinished: whether a line without its newline may still get it, and so is left out.
        sealed: where the lines of a file are that is not there.
    """
    sequence = None if sealed is None else sealed.sequence
    room = _Room.of(len(chains) + (sequence is not None))
    ordered = [
        _merged_in_order(
            _chain_lines(session, chain, room.chunk_bytes, decoder, sealed), room, decoder, is_unfinished
        )
        for chain in chains
    ]
    if sequence is not None:
        ordered.append(_merged_in_order(sequence, room, decoder, is_unfinished))
    return ordered[0] if len(ordered) == 1 else heapq.merge(*ordered)


def _merged_in_order(
    lines: Iterator[RawLine],
    room: _Room,
    decoder: LineDecoder,
    is_unfinished: Callable[[RawLine], bool],
) -> Iterator[Ordered]:
    held: list[Ordered] = []
    held_bytes = 0
    for serial, raw in enumerate(lines):
        if not raw.complete and is_unfinished(raw):
            continue
        key = line_key(raw.line) or decoder.key_of(raw.line)
        if key is None:
            # What stands behind a torn line is believed only if it was not read before, so that has to come
            # first.
            held.sort()
            yield from held
            held, held_bytes = [], 0
            event = decoder.decode(raw)
            if event is not None:
                yield event_key(event), serial, raw, event
            continue
        held.append((key, serial, raw, None))
        held_bytes += len(raw.line)
        if len(held) >= 2 * room.lines or held_bytes > room.held_bytes:
            held.sort()
            half = (len(held) + 1) // 2
            yield from held[:half]
            del held[:half]
            held_bytes = sum(len(raw.line) for _, _, raw, _ in held)
    held.sort()
    yield from held


def _chain_lines(
    session: Path,
    chain: FileSequence,
    chunk_bytes: int,
    decoder: LineDecoder,
    sealed: Sealed | None = None,
) -> Iterator[RawLine]:
    """The lines of a chain, those of segments that are rolled meanwhile included."""
    tail = Tail(session, decoder.damage.note_unreadable, chunk_bytes=chunk_bytes)
    last = 0
    began = inode_at(chain.live)
    for number in chain.numbers:
        yield from _lines_at(numbered(chain.live, number), tail, sealed)
        last = number
    while (following := _next_number(chain, last, began)) is not None:
        # rolled since the files were listed; retention may have removed some of those since
        last = following
        yield from _lines_at(numbered(chain.live, last), tail, None)
    yield from _lines_at(chain.live, tail, sealed)


def _lines_at(path: Path, tail: Tail, sealed: Sealed | None) -> Iterator[RawLine]:
    """The lines of the file of that name, what stands behind its last newline included."""
    standing = itertools.chain(tail.new_lines(only=(path,)), tail.rests())
    return standing if sealed is None else sealed.lines(path, standing)


def _next_number(chain: FileSequence, last: int, began: Inode | None) -> int | None:
    """The number of the segment that was rolled after the last one read, None if there is none."""
    live, following = inode_at(chain.live), inode_at(numbered(chain.live, last + 1))
    if following is not None:
        return last + 1 if following != live else None
    if live == began:
        return None
    # the one in between may have been removed by retention
    stem = chain.live.stem.partition("@")[0]
    later = [
        number
        for same in chains_of(stem_files(chain.live.parent, stem, chain.live.suffix))
        if same.live == chain.live
        for number in same.numbers
        if number > last
    ]
    return min(later, default=None)
