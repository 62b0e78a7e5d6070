"""The two sides of a comparison of runs: their events by stream, where it begins, and their bisection.

A stream holds the events of one agent, or the events without an agent of one category or run.
"""

from __future__ import annotations

import os
import random
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from Agent.archive.sealed.reader import ArchiveLines, open_reader
from Agent.errors import UsageError
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.ids import split_event_id
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.flight.checkpoints.state_fold import is_outside_write
from Agent.flight.run_reading import RunName, RunRef, find_run
from Agent.flight.tool_replayer import short_json
from Agent.render.formats import plural
from Agent.replay.compare.comparison import Comparison, in_payload
from Agent.replay.compare.emitted_events import pair_difference
from Agent.replay.diff.first_difference import PASSED_OVER, TELLING, SameIds, end_differences
from Agent.replay.plan.recording import REPLAYED, check_agent, parents_of, spans_around
from Agent.tree.files.lines import first_id, line_key
from Agent.tree.files.session import Lineage, lineage_of, read_claims
from Agent.tree.layout import CATEGORY_FILES, agent_files, category_files, open_file
from Agent.tree.read.reader import TreeReader

COMPARED_CATEGORIES = tuple(name for name in CATEGORY_FILES if name not in {"performance", "system"})

_MAX_WAITING = 10_000
"""Events of one agent that wait for the action around them; older ones are in none."""
_BEHIND_ALL = ("9999", "", 0)
"""A sort key after every event."""


class StreamKey(NamedTuple):
    """The identity of a stream; the name of a run's stream is its index in the session."""

    kind: Literal["agent", "category", "run"]
    name: str


@dataclass(slots=True)
class RunSide:
    """One of the two runs."""

    ref: RunRef
    name: str
    reader: TreeReader
    lineage: Lineage | None
    run_ids: frozenset[str] = frozenset()
    """The run and its child runs; empty for a whole session."""
    agents: tuple[str, ...] = ()
    since: tuple[str, str, int] | None = None
    """The sort key of the first event that is compared; None for all events."""
    is_sealed: bool = False
    """Whether segments of the session are sealed to Parquet."""
    around: frozenset[str] = frozenset()
    """The span inside which the run was started, if any."""
    only_actions: bool = False
    """Whether only events inside actions are compared, since a fork does not run the code that calls them."""
    skips_writes: bool = False
    """Whether writes of untraced code between actions are not compared, but what it logged is."""
    forked: Lineage | None = None
    """On both sides, the fork's origin if one side is a fork of the other."""
    _runs: list[str] | None = None
    """What `runs` returned first: each stream of a run asks for it."""

    @property
    def session(self) -> Path:
        """The session's directory."""
        return self.ref.session

    def streams(self) -> list[StreamKey]:
        """Return the streams of this side."""
        keys = [StreamKey("agent", name) for name in self.agents]
        if self.ref.agent_id is None:
            if not self.run_ids:
                names = (*COMPARED_CATEGORIES, "system") if self.skips_writes else COMPARED_CATEGORIES
                keys += [StreamKey("category", name) for name in names]
            if not self.only_actions:
                keys += [StreamKey("run", str(index)) for index, _ in enumerate(self.runs())]
        return keys

    def runs(self) -> list[str]:
        """Return the runs whose streams are compared, oldest first."""
        if self._runs is None:
            names = self.reader.run_ids()
            self._runs = [name for name in names if not self.run_ids or name in self.run_ids]
        return self._runs

    def events(self, key: StreamKey) -> Iterator[Event]:
        """Yield the events of a stream in order."""
        events = self._all(key)
        events = inside_actions(events) if self.only_actions else events
        return self._of_run(events) if self.run_ids else events

    def counts(self, event: Event) -> bool:
        """Whether an event is compared; other events only update the state."""
        if self.since is not None and order_key(event) < self.since:
            return False
        if (self.only_actions or self.skips_writes) and is_outside_write(event):
            return False
        return not self.run_ids or event.run_id in self.run_ids or event.span_id in self.around

    def _of_run(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the events up to the run's end, and later states that no other action precedes."""
        has_begun = False
        later: list[Event] = []
        for event in events:
            if self.counts(event):
                has_begun = True
                yield from later
                later = []
            elif has_begun:
                later.append(event)
                continue
            yield event
        for event in later:
            if event.code is not None:
                return
            yield event

    def _all(self, key: StreamKey) -> Iterator[Event]:
        if key.kind == "agent":
            return self.reader.events(key.name) if self.reader.holds_agent(key.name) else iter(())
        if key.kind == "category":
            return self.reader.category_events(key.name)
        runs = self.runs()
        if int(key.name) >= len(runs):
            return iter(())
        return (event for event in self.reader.run_events(runs[int(key.name)]) if event.agent_id is None)

    def files(self, key: StreamKey) -> list[Path] | None:
        """Return a stream's files in order, if one writer wrote all of it to unsealed files; else None."""
        if self.since is not None or self.run_ids or key.kind == "run" or self.is_sealed:
            return None
        files_of = agent_files if key.kind == "agent" else category_files
        paths = files_of(self.session, key.name)
        return None if any("@" in path.name for path in paths) else paths

    def writers(self) -> list[str]:
        """Return the writers of the session, and that of events that a fork kept from before its point."""
        return [*read_claims(self.session), REPLAYED]


def open_side(run: RunName, root: str | os.PathLike[str] | None) -> RunSide:
    """Open a run by name: a run's id or its beginning, a session, `SESSION/agent_id`, or `last`.

    Raises:
        RunNotFound, SessionNotFound, AgentNotFound: it does not exist.
    """
    ref = find_run(run, root)
    reader = open_reader(ref.session)
    side = RunSide(ref, ref.name, reader, lineage_of(ref.session))
    side.is_sealed = bool(ArchiveLines(ref.session).files())
    if ref.run_id is not None:
        side.run_ids = frozenset(_with_children(reader, ref.run_id))
        began = next(reader.run_events(ref.run_id), None)
        if began is not None and began.parent_span_id is not None:
            side.around = frozenset([began.parent_span_id])
    known = [agent.agent_id for agent in reader.agents()]
    if ref.agent_id is not None:
        check_agent(reader, ref.agent_id)
        known = [ref.agent_id]
    side.agents = tuple(known)
    return side


def pair_agents(one: RunSide, other: RunSide) -> None:
    """Restrict both sides to the agent that one of them names.

    Raises:
        UsageError: they name two agents, whose events cannot be paired.
        AgentNotFound: a side does not have the agent.
    """
    named = [side.ref.agent_id for side in (one, other) if side.ref.agent_id is not None]
    if len(set(named)) > 1:
        raise UsageError(
            f"{one.name} and {other.name} are different agents, and only the same agent can be compared",
            remedy="name the same agent twice, or run `journey --summary` for each",
        )
    for side in (one, other):
        if named and side.ref.agent_id is None:
            check_agent(side.reader, named[0])
            side.ref = side.ref._replace(agent_id=named[0])
            side.agents = (named[0],)


def _with_children(reader: TreeReader, run_id: str) -> list[str]:
    run_ids = [run_id]
    parents = {}
    for name in reader.run_ids():
        began = next(reader.run_events(name), None)
        parents[name] = None if began is None else began.extra.get("parent_run_id")
    for name in run_ids:
        run_ids += [child for child, parent in parents.items() if parent == name and child not in run_ids]
    return run_ids


def inside_actions(events: Iterable[Event]) -> Iterator[Event]:
    """Yield one agent's actions, the events inside them, and its state events, in order."""
    waiting: list[Event] = []
    for event in events:
        if event.kind == "state" or is_outside_write(event):
            yield event
            continue
        waiting.append(event)
        if event.code is None or event.span_id is None:
            del waiting[:-_MAX_WAITING]
            continue
        parents = parents_of(waiting)
        rest = []
        for each in waiting:
            if each is event or event.span_id in spans_around(each, parents):
                yield each
            else:
                rest.append(each)
        waiting = rest


def align(one: RunSide, other: RunSide) -> list[str]:
    """Restrict a fork and its origin to the part that both have; return notes on what is left out."""
    notes = []
    for fork, origin in ((one, other), (other, one)):
        lineage = fork.lineage
        if lineage is None or not _is_of(lineage, origin):
            continue
        one.forked = other.forked = lineage
        origin.since = _BEHIND_ALL
        if lineage.from_event is not None and lineage.from_timestamp is not None:
            writer, seq = split_event_id(lineage.from_event)
            origin.since = (lineage.from_timestamp, writer, seq)
        agents = tuple(name for name in origin.agents if name in lineage.agents)
        left_out = len(origin.agents) - len(agents)
        known = {agent.agent_id for agent in origin.reader.agents()}
        fork.agents = tuple(name for name in fork.agents if name in lineage.agents or name not in known)
        origin.agents = agents
        origin.only_actions = fork.only_actions = not lineage.by_itself
        changed = "" if lineage.patch is None else f" with {short_json(lineage.patch)}"
        verb = lineage.relation.removesuffix("_from")
        notes.append(f"{fork.name} was {verb} from {origin.name} at {lineage.step}{changed}")
        if left_out:
            notes.append(
                f"{plural(left_out, 'agent')} of {origin.name} did not run in the fork: not compared"
            )
        break
    return notes


def _is_of(lineage: Lineage, origin: RunSide) -> bool:
    if origin.session.name.removeprefix("session_") != lineage.session_id:
        return False
    return origin.lineage is None or origin.lineage.run_id != lineage.run_id


# Bisection of two sessions: full states and the fields that actions set show when the runs began to differ.
#
# It reads a few blocks of each file. It assumes that agents that differ once continue to differ, and checks
# this at random places. If seeking in the files is impossible, both sessions are compared event by event.

_TAIL_BYTES = 3 * 1024
_END_BYTES = 8 * 1024
_STATE_BYTES = 512 * 1024
_SAMPLES = 48
_CONTEXT = 1


_BLOCK_BYTES = 2048
_MAX_SOUGHT_BYTES = 1024 * 1024
"""The longest line for bisection, which may read a line several times; else all is read once instead."""
_TICK = re.compile(rb'"tick":(-?\d+)')
END = float("inf")
"""The place after all lines."""

Axis = Callable[[bytes], int | None]
"""Returns the place of a line: its tick, or its number; None if it has none."""


class Unseekable(Exception):
    """These sessions cannot be bisected, as places are not ascending, or a line is damaged or too long."""


@dataclass(slots=True)
class Meter:
    """Counts how much of the recording was read, and its total size."""

    lines: int = 0
    size_bytes: int = 0
    total_bytes: int = 0

    @property
    def share(self) -> float:
        """The bytes read divided by the total size; a byte that is read twice counts twice."""
        return self.size_bytes / self.total_bytes if self.total_bytes else 0.0


def tick_of(line: bytes) -> int | None:
    """Return the tick of a line; None if it has none."""
    end = line.find(b',"extra":')
    match = _TICK.search(line, 0, end if end >= 0 else len(line))
    return None if match is None else int(match[1])


def number_of(line: bytes) -> int | None:
    """Return the sequence number that a line's writer gave it; None if the line has none."""
    key = line_key(line)
    return None if key is None else key[2]


class SeekableLog:
    """The segments of one stream as one file that can be searched along an axis.

    Args:
        paths: the files in order.
        axis: returns the place of a line.
        meter: counts the bytes and lines read.
    """

    def __init__(self, paths: list[Path], axis: Axis, meter: Meter) -> None:
        self._axis = axis
        self._meter = meter
        self._parts: list[tuple[int, int, Path]] = []
        self.size = 0
        for path in paths:
            size = path.stat().st_size
            self._parts.append((self.size, self.size + size, path))
            self.size += size
        meter.total_bytes += self.size
        self._known: list[tuple[float, int]] = []
        """(place, offset) of lines that were read; both ascending."""
        self._head: bytes | None = None

    def seek(self, place: float) -> int:
        """Return the offset of the first line at or after a place.

        A line without a place belongs to the line before it.
        """
        at = bisect_left(self._known, (place, -1))
        low = self._known[at - 1][1] if at else 0
        high = self._known[at][1] if at < len(self._known) else self.size
        while high - low > _BLOCK_BYTES:
            middle = (low + high) // 2
            _, end, line_place = self._placed_line(middle, high)
            if line_place >= place:
                high = middle
            else:
                low = end
        for start, line in self._lines(low, self.size):
            own = self._axis(line)
            if own is not None and own >= place:
                return start
        return self.size

    def _placed_line(self, offset: int, limit: int) -> tuple[int, int, float]:
        """Return (start, end, place) of the first line after an offset that has a place; END if none has."""
        for start, line in self._lines(offset, self.size, whole=False):
            line_place = self._axis(line)
            if line_place is not None:
                self._note(line_place, start)
                return start, start + len(line) + 1, line_place
            if start > limit:
                break
        return self.size, self.size, END

    def _note(self, place: float, offset: int) -> None:
        at = bisect_left(self._known, (place, offset))
        if at < len(self._known) and self._known[at] == (place, offset):
            return
        before = self._known[at - 1][1] if at else -1
        behind = self._known[at][1] if at < len(self._known) else self.size
        if not before < offset < behind:
            raise Unseekable("events are not in order")
        self._known.insert(at, (place, offset))

    def head(self) -> bytes:
        """Return the first line, which is read once and cached."""
        if self._head is None:
            self._head = next((line for _, line in self._lines(0, self.size)), b"")
        return self._head

    def first_place(self) -> float:
        """Return the place of the first line that has one; END if none has."""
        line_place = self._axis(self.head())
        return self._placed_line(0, self.size)[2] if line_place is None else line_place

    def last_place(self) -> float:
        """Return the place of the last line that has one; -END if none was found."""
        budget = 2 * _BLOCK_BYTES
        while True:
            lines = self.before(self.size, budget)
            for start, line in reversed(lines):
                line_place = self._axis(line)
                if line_place is not None:
                    self._note(line_place, start)
                    return line_place
            if budget >= self.size:
                return -END
            budget *= 4

    def before(self, offset: int, budget_bytes: int) -> list[tuple[int, bytes]]:
        """Return the whole lines in the last `budget_bytes` before an offset; at least one if possible."""
        while True:
            begin = max(0, offset - budget_bytes)
            lines = list(self._lines(begin, offset, whole=begin == 0))
            if lines or begin == 0:
                return lines
            budget_bytes *= 2

    def until(self, start: int, place: float) -> Iterator[tuple[int, bytes]]:
        """Yield the lines from the start of a line at an offset up to the first line at or after a place."""
        for offset, line in self._lines(start, self.size):
            line_place = self._axis(line)
            if line_place is not None and line_place >= place:
                return
            yield offset, line

    def _lines(self, offset: int, end: int, *, whole: bool = True) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, line) of the whole lines from an offset on.

        Args:
            offset: where to begin.
            end: where to stop.
            whole: whether a line begins at the offset; else the rest of a partial line is skipped.

        Raises:
            Unseekable: a line is longer than _MAX_SOUGHT_BYTES.
        """
        at, rest, skips = offset, b"", not whole and offset > 0
        if skips:
            at -= 1  # if the byte before the offset is a newline, a line begins exactly at the offset
        position = at
        while position < end:
            # Read as much as is held already: a fixed size would copy a long line once per block.
            data = self._read(position, min(max(_BLOCK_BYTES, len(rest)), end - position))
            if not data:
                return
            position += len(data)
            pieces = (rest + data).split(b"\n")
            rest = pieces.pop()
            if len(rest) > _MAX_SOUGHT_BYTES:
                raise Unseekable(f"a line is longer than {_MAX_SOUGHT_BYTES >> 20} MiB")
            for piece in pieces:
                start, at = at, at + len(piece) + 1
                if skips:
                    skips = False
                    continue
                self._meter.lines += 1
                yield start, piece

    def _read(self, offset: int, size: int) -> bytes:
        for begin, end, path in self._parts:
            if begin <= offset < end:
                fd, _ = open_file(path)
                try:
                    data = os.pread(fd, min(size, end - offset), offset - begin)
                finally:
                    os.close(fd)
                self._meter.size_bytes += len(data)
                return data
        return b""


def decoded(lines: list[tuple[int, bytes]]) -> list[Event]:
    """Decode lines to events; Unseekable for a damaged line, which the full comparison counts instead."""
    try:
        return [decode_line(line) for _, line in lines if line]
    except DamagedLine as error:
        raise Unseekable(f"a line is damaged ({error})") from error


class BisectionWindow(NamedTuple):
    """The part of two sessions that contains their first difference."""

    first: float
    """The first tick or number of the window."""
    last: float
    """The first tick or number after it."""
    unit: str
    notes: tuple[str, ...] = ()


_Pair = tuple[SeekableLog, SeekableLog]


@dataclass(slots=True)
class Bisection:
    """Finds the first difference of two sessions by binary search in their files."""

    one: RunSide
    other: RunSide
    same_ids: SameIds
    comparison: Comparison
    meter: Meter = field(default_factory=Meter)
    unit: str = "tick"
    pairs: dict[StreamKey, _Pair] = field(default_factory=dict)
    """The files of both sides by stream."""

    def window(self) -> BisectionWindow | None:
        """Return the window of the first difference; None if the ends of the sessions do not differ.

        Raises:
            Unseekable: several writers, no common axis, sealed segments, or lines that are out of order or
                too long.
        """
        self._open()
        starts = [
            min(track.first_place() for track in pair)
            for pair in self.pairs.values()
            # The first event is usually a first state, which contains the random generators.
            if self._tails_differ(*(decoded([(0, track.head())]) for track in pair))
        ]
        if starts:
            return BisectionWindow(-END, min(starts) + 1, self.unit)
        differing = [key for key in self.pairs if self._differ_at_end(key)]
        if not differing:
            return self._window_at_end()
        chance = random.Random(0)
        chance.shuffle(differing)
        pivot, end = self._earliest(differing[0], differing, END)
        pivot, end = self._sampled(chance, pivot, end)
        begin = end - 1 if end != END else self._last_place(pivot)
        return BisectionWindow(begin, end, self.unit, tuple(self._states_behind(pivot, begin)))

    def _open(self) -> None:
        for axis, unit in ((tick_of, "tick"), (number_of, "number")):
            self.pairs = self._tracks(axis)
            self.unit = unit
            agents = [pair for key, pair in self.pairs.items() if key.kind == "agent"]
            if not any(self._have_states(key) for key in self.pairs):
                raise Unseekable("no agent has states in both to bisect by")
            if all(track.first_place() != END for pair in agents for track in pair):
                break
        if self.unit == "number" and any(_writers(side) > 1 for side in (self.one, self.other)):
            raise Unseekable("events carry no ticks, and several processes wrote them")

    def _have_states(self, key: StreamKey) -> bool:
        """Whether both sides of an agent begin or end with a recorded state or change of one."""
        if key.kind != "agent":
            return False
        sides = zip(self.pairs[key], self._tails(key), strict=True)
        return all(
            any(
                event.kind in TELLING or event.state is not None
                for event in (*decoded([(0, track.head())]), *tail)
            )
            for track, tail in sides
        )

    def _tracks(self, axis: Axis) -> dict[StreamKey, _Pair]:
        self.meter.total_bytes = 0
        pairs = {}
        keys = dict.fromkeys((*self.one.streams(), *self.other.streams()))
        for key in keys:
            files = self.one.files(key), self.other.files(key)
            if files[0] is None or files[1] is None:
                if key.kind == "run":
                    raise Unseekable("the session holds runs, whose events have no files of their own")
                raise Unseekable(
                    f"{key.kind} {key.name} is sealed, was written by several processes, or is only a part"
                )
            if not (files[0] or files[1]):
                continue
            pairs[key] = SeekableLog(files[0], axis, self.meter), SeekableLog(files[1], axis, self.meter)
        return pairs

    def _window_at_end(self) -> BisectionWindow | None:
        """Return the last place as window if referenced objects ended with different contents, else None."""
        for key in self.pairs:
            if key.kind != "agent":
                continue
            one, other = self._last_states(self._tails(key))
            if next(end_differences(one, other, {}), None) is not None:
                end = self._last_place(key) + 1
                _, end = self._sampled(random.Random(0), key, end)
                return BisectionWindow(end - 1, END, self.unit)
        return None

    def _tails(self, key: StreamKey) -> list[list[Event]]:
        """Return the last events of each side of a stream."""
        return [decoded(track.before(track.size, _END_BYTES)) for track in self.pairs[key]]

    def _last_states(self, tails: list[list[Event]]) -> Iterator[Event | None]:
        return (next((e for e in reversed(tail) if e.kind == "state"), None) for tail in tails)

    def _earliest(self, pivot: StreamKey, differing: list[StreamKey], end: float) -> tuple[StreamKey, float]:
        """Return the stream that differs first, and the first place before which it differs."""
        end = self._bisect(pivot, end)
        others = list(self.pairs) if len(self.pairs) < 2 * len(differing) else differing
        for key in others:
            if key != pivot and end != END and self._differ_before(key, end - 1):
                pivot, end = key, self._bisect(key, end - 1)
        return pivot, end

    def _sampled(self, chance: random.Random, pivot: StreamKey, end: float) -> tuple[StreamKey, float]:
        """Sample random earlier places, since an earlier difference may have disappeared again."""
        keys = list(self.pairs)
        for number in range(_SAMPLES):
            key = chance.choice(keys)
            low = self.pairs[key][0].first_place()
            if END in (low, end) or end - low < 2:
                continue
            place = int(low + (end - low) * (number + chance.random()) / _SAMPLES)
            if low < place < end and self._differ_before(key, place):
                return self._earliest(key, [each for each in keys if each != key], place)
        return pivot, end

    def _bisect(self, key: StreamKey, end: float) -> float:
        """Return the first place up to `end` before which the two sides of a stream differ."""
        pair = self.pairs[key]
        low = min(track.first_place() for track in pair)
        if low == END:
            return END
        high = max(track.last_place() for track in pair) + 1
        high = min(high, end) if end != END else high
        if not self._differ_before(key, high):
            return end
        if self._differ_before(key, low):
            return low
        while high - low > 1:
            middle = (low + high) // 2
            if self._differ_before(key, middle):
                high = middle
            else:
                low = middle
        return high

    def _last_place(self, key: StreamKey) -> float:
        return min(track.last_place() for track in self.pairs[key])

    def _differ_at_end(self, key: StreamKey) -> bool:
        """Whether the final states differ; if a side has none, whether the last events do."""
        tails = self._tails(key)
        one, other = self._last_states(tails)
        if key.kind == "agent" and one is not None and other is not None:
            if one.extra.get("digest") == other.extra.get("digest"):
                return False
            return self._states_differ(one, other)
        return self._tails_differ(*tails)

    def _differ_before(self, key: StreamKey, place: float) -> bool:
        """Whether the last events before a place differ, including full states."""
        return self._tails_differ(
            *(decoded(track.before(track.seek(place), _TAIL_BYTES)) for track in self.pairs[key])
        )

    def _tails_differ(self, ones: list[Event], others: list[Event]) -> bool:
        left = [event for event in ones if event.kind not in PASSED_OVER]
        right = [event for event in others if event.kind not in PASSED_OVER]
        if bool(left) != bool(right):
            return True
        for one, other in zip(reversed(left), reversed(right), strict=False):
            self.same_ids.see(one)
            self.same_ids.see(other)
            if pair_difference(one, other, self.comparison) is not None:
                return True
        return False

    def _states_differ(self, one: Event, other: Event) -> bool:
        sides = in_payload(one, "fields"), in_payload(other, "fields")
        return self.comparison.difference(*sides, ("",)) is not None

    def _states_behind(self, key: StreamKey, place: float) -> Iterator[str]:
        """Compare an agent's last full states before a place, in words; nothing if there is none nearby."""
        if key.kind != "agent":
            return
        states = []
        for track in self.pairs[key]:
            lines = track.before(track.seek(place), min(_STATE_BYTES, track.size // 64))
            last = [each for each in lines if b'"event_type":"state"' in each[1]][-1:]
            states.append(next(iter(decoded(last)), None))
        if states[0] is None or states[1] is None:
            return
        at = f"{self.unit} {states[0].tick}" if states[0].tick is not None else f"event {states[0].id}"
        if self._states_differ(states[0], states[1]):
            what = "in fields that its actions do not set"
            yield f"the full state of {key.name} at {at} differs already, {what}"
        else:
            yield f"the full states of {key.name} at {at} are equal"

    def events(self, key: StreamKey, window: BisectionWindow) -> tuple[Iterator[Event], Iterator[Event]]:
        """Return both sides of a stream in a window, with one place of context before and after it.

        Raises:
            Unseekable: a line is damaged or too long, or places are not ascending.
        """
        first, last = window.first - _CONTEXT, window.last + _CONTEXT
        one, other = (
            iter(decoded(list(track.until(0 if first == -END else track.seek(first), last))))
            for track in self.pairs[key]
        )
        return one, other


def _writers(side: RunSide) -> int:
    """Count the writers of the compared files; the separate writer of metrics does not write to these."""
    writers = set()
    for key in side.streams():
        for path in side.files(key) or ():
            identity = first_id(path)
            if identity is not None:
                writers.add(identity.partition("-")[0])
    return len(writers)
