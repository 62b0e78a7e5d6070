"""`compare_runs`: the first difference of two sessions, recorded runs or forks.

Sessions are bisected if possible; they are reported as alike only after every event was compared.
"""

from __future__ import annotations

import os
import random
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from Agent.errors import ReplayError
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.model import Event
from Agent.flight.run_reading import RunName
from Agent.record.emit.installed import flush_active
from Agent.render.html import TextInNotebook
from Agent.replay.compare.comparison import Comparison, in_payload
from Agent.replay.compare.emitted_events import describe, event_difference
from Agent.replay.compare.library_values import MADE_BY_LIBRARIES, LibraryValues
from Agent.replay.compare.outcome import ReplayOutcome
from Agent.replay.compare.python_text import differing_texts
from Agent.replay.diff.first_difference import (
    PASSED_OVER,
    ForkedAt,
    PlacedDivergence,
    RunDivergence,
    SameIds,
    StreamWalk,
    TickTimes,
    end_differences,
)
from Agent.replay.diff.run_side import RunSide, StreamKey, align, open_side, pair_agents
from Agent.replay.drive.states import FieldRules
from Agent.replay.plan.recording import module_names, session_info
from Agent.tree.files.lines import line_key
from Agent.tree.layout import open_file

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


class OutOfOrder(ReplayError):
    """A file cannot be searched: its places are not ascending, or a line is damaged or too long."""


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
            raise OutOfOrder("events are not in order")
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
            OutOfOrder: a line is longer than _MAX_SOUGHT_BYTES.
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
                raise OutOfOrder(f"a line is longer than {_MAX_SOUGHT_BYTES >> 20} MiB")
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
    """Decode lines to events; OutOfOrder for a damaged line, which the full comparison counts instead."""
    try:
        return [decode_line(line) for _, line in lines if line]
    except DamagedLine as error:
        raise OutOfOrder(f"a line is damaged ({error})") from error


class BisectionWindow(NamedTuple):
    """The part of two sessions that contains their first difference."""

    first: float
    """The first tick or number of the window."""
    last: float
    """The first tick or number after it."""
    unit: str
    pivot: StreamKey
    notes: tuple[str, ...] = ()


class Unseekable(Exception):
    """These sessions cannot be bisected; the message says why."""


class _Pair(NamedTuple):
    one: SeekableLog
    other: SeekableLog


@dataclass(slots=True)
class Bisection:
    """Finds the first difference of two sessions by binary search in their files."""

    one: RunSide
    other: RunSide
    same_ids: SameIds
    meter: Meter = field(default_factory=Meter)
    unit: str = "tick"
    _pairs: dict[StreamKey, _Pair] = field(default_factory=dict)
    _comparison: Comparison = field(init=False)

    def __post_init__(self) -> None:
        scripts = module_names(self.one.session, self.other.session)
        self._comparison = Comparison(None, self.same_ids, scripts=scripts)

    def window(self) -> BisectionWindow | None:
        """Return the window of the first difference; None if the ends of the sessions do not differ.

        Raises:
            Unseekable: several writers, no common axis, sealed segments, or lines that are out of order or
                too long.
        """
        try:
            self._open()
            return self._first_window()
        except OutOfOrder as error:
            raise Unseekable(error.message) from error

    def _open(self) -> None:
        for axis, unit in ((tick_of, "tick"), (number_of, "number")):
            self._pairs = self._tracks(axis)
            self.unit = unit
            agents = [pair for key, pair in self._pairs.items() if key.kind == "agent"]
            if not agents:
                raise Unseekable("no agent has states to compare")
            if all(track.first_place() != END for pair in agents for track in pair):
                break
        if self.unit == "number" and any(_writers(side) > 1 for side in (self.one, self.other)):
            raise Unseekable("events carry no ticks, and several processes wrote them")

    def _tracks(self, axis: Axis) -> dict[StreamKey, _Pair]:
        self.meter.total_bytes = 0
        pairs = {}
        keys = dict.fromkeys((*self.one.streams(), *self.other.streams()))
        for key in keys:
            files = self.one.files(key), self.other.files(key)
            if files[0] is None or files[1] is None:
                raise Unseekable(
                    f"{key.kind} {key.name} is sealed, was written by several processes, or is only a part"
                )
            if not (files[0] or files[1]):
                continue
            pairs[key] = _Pair(
                SeekableLog(files[0], axis, self.meter), SeekableLog(files[1], axis, self.meter)
            )
        return pairs

    def _first_window(self) -> BisectionWindow | None:
        starts = [
            (min(track.first_place() for track in pair), key)
            for key, pair in self._pairs.items()
            if self._differ_at_start(pair)
        ]
        if starts:
            first, pivot = min(starts)
            return BisectionWindow(-END, first + 1, self.unit, pivot)
        differing = [key for key in self._pairs if self._differ_at_end(key)]
        if not differing:
            return self._window_at_end()
        chance = random.Random(0)
        chance.shuffle(differing)
        pivot, end = self._earliest(differing[0], differing, END)
        pivot, end = self._sampled(chance, pivot, end)
        notes = []
        begin = end - 1 if end != END else self._last_place(pivot)
        state = self._state_behind(pivot, begin)
        if state is not None:
            notes.append(state)
        return BisectionWindow(begin, end, self.unit, pivot, tuple(notes))

    def _window_at_end(self) -> BisectionWindow | None:
        """Return the last place as window if referenced objects ended with different contents, else None."""
        for key in self._pairs:
            if key.kind != "agent":
                continue
            one, other = self._last_states(self._tails(key))
            if next(end_differences(one, other, {}), None) is not None:
                end = self._last_place(key) + 1
                pivot, end = self._sampled(random.Random(0), key, end)
                return BisectionWindow(end - 1, END, self.unit, pivot)
        return None

    def _tails(self, key: StreamKey) -> list[list[Event]]:
        """Return the last events of each side of a stream."""
        return [decoded(track.before(track.size, _END_BYTES)) for track in self._pairs[key]]

    def _last_states(self, tails: list[list[Event]]) -> Iterator[Event | None]:
        return (next((e for e in reversed(tail) if e.kind == "state"), None) for tail in tails)

    def _earliest(self, pivot: StreamKey, differing: list[StreamKey], end: float) -> tuple[StreamKey, float]:
        """Return the stream that differs first, and the first place before which it differs."""
        end = self._bisect(pivot, end)
        others = list(self._pairs) if len(self._pairs) < 2 * len(differing) else differing
        for key in others:
            if key != pivot and end != END and self._differ_before(key, end - 1):
                pivot, end = key, self._bisect(key, end - 1)
        return pivot, end

    def _sampled(self, chance: random.Random, pivot: StreamKey, end: float) -> tuple[StreamKey, float]:
        """Sample random earlier places, since an earlier difference may have disappeared again."""
        keys = list(self._pairs)
        for number in range(_SAMPLES):
            key = chance.choice(keys)
            low = self._pairs[key].one.first_place()
            if END in (low, end) or end - low < 2:
                continue
            place = int(low + (end - low) * (number + chance.random()) / _SAMPLES)
            if low < place < end and self._differ_before(key, place):
                return self._earliest(key, [each for each in keys if each != key], place)
        return pivot, end

    def _bisect(self, key: StreamKey, end: float) -> float:
        """Return the first place up to `end` before which the two sides of a stream differ."""
        pair = self._pairs[key]
        low = min(track.first_place() for track in pair)
        if low == END:
            return END
        high = max(track.last_place() for track in pair) + 1
        high = min(high, end) if end != END else high
        if not self._differ_before(key, high):
            return END if end == END else end
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
        return min(track.last_place() for track in self._pairs[key])

    def _differ_at_start(self, pair: _Pair) -> bool:
        """Whether the first events differ; usually a first state, which contains the random generators."""
        return self._tails_differ(*(decoded([(0, track.head())]) for track in pair))

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
            *(decoded(track.before(track.seek(place), _TAIL_BYTES)) for track in self._pairs[key])
        )

    def _tails_differ(self, ones: list[Event], others: list[Event]) -> bool:
        left = [event for event in ones if event.kind not in PASSED_OVER]
        right = [event for event in others if event.kind not in PASSED_OVER]
        if bool(left) != bool(right):
            return True
        for one, other in zip(reversed(left), reversed(right), strict=False):
            self.same_ids.see(one)
            self.same_ids.see(other)
            if describe(one) != describe(other) or event_difference(one, other, self._comparison) is not None:
                return True
        return False

    def _states_differ(self, one: Event, other: Event) -> bool:
        sides = in_payload(one, "fields"), in_payload(other, "fields")
        return self._comparison.difference(*sides, ("",)) is not None

    def _state_behind(self, key: StreamKey, place: float) -> str | None:
        """Compare an agent's last full states before a place, in words; None if there is none nearby."""
        if key.kind != "agent":
            return None
        states = []
        for track in self._pairs[key]:
            lines = track.before(track.seek(place), min(_STATE_BYTES, track.size // 64))
            states.append(
                next((e for e in decoded([x for x in lines if b'"event_type":"state"' in x[1]][-1:])), None)
            )
        if states[0] is None or states[1] is None:
            return None
        at = f"{self.unit} {states[0].tick}" if states[0].tick is not None else f"event {states[0].id}"
        if self._states_differ(states[0], states[1]):
            return (
                f"the full state of {key.name} at {at} differs already, in fields that its actions do not set"
            )
        return f"the full states of {key.name} at {at} are equal"

    def events(self, key: StreamKey, window: BisectionWindow) -> tuple[Iterator[Event], Iterator[Event]]:
        """Return both sides of a stream in a window, with one place of context before and after it.

        Raises:
            Unseekable: a line is damaged or too long, or places are not ascending.
        """
        first, last = window.first - _CONTEXT, window.last + _CONTEXT
        try:
            one, other = (
                iter(decoded(list(track.until(self._begin(track, first), last))))
                for track in self._pairs[key]
            )
        except OutOfOrder as error:
            raise Unseekable(error.message) from error
        return one, other

    def _begin(self, track: SeekableLog, place: float) -> int:
        return 0 if place == -END else track.seek(place)

    def streams(self) -> list[StreamKey]:
        """Return the streams of both sessions."""
        return list(self._pairs)


def _writers(side: RunSide) -> int:
    """Count the writers of the compared files; the separate writer of metrics does not write to these."""
    from Agent.tree.files.lines import first_id

    writers = set()
    for key in side.streams():
        for path in side.files(key) or ():
            identity = first_id(path)
            if identity is not None:
                writers.add(identity.partition("-")[0])
    return len(writers)


_MOST_NAMED = 5


@dataclass(frozen=True)
class RunComparison(TextInNotebook):
    """The result of comparing two runs; true if they differ."""

    a: str
    b: str
    divergence: RunDivergence | None
    """The first difference; None if the runs are alike."""
    compared: int
    """The number of equal pairs of events."""
    states: int
    """The number of equal pairs of states (first, full and last)."""
    method: str
    """`bisection` or `walk`."""
    meter: Meter
    notes: tuple[str, ...] = ()
    not_compared: Mapping[str, str] = field(default_factory=dict)
    """{`agent.field`: why it was not compared}."""
    unseen: tuple[str, ...] = ()
    """Other values that could not be compared, and why."""
    of_agents: tuple[RunDivergence, ...] = ()
    """The first difference of each stream of events, in order, if `every_agent` was set."""

    @property
    def exit_code(self) -> int:
        """Return 1 if they differ, 0 if they are alike, 4 if nothing could be compared."""
        return 1 if self.divergence is not None else 0 if self.compared or self.states else 4

    def __bool__(self) -> bool:
        return self.divergence is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        meter = self.meter
        read = {"lines": meter.lines, "size_bytes": meter.size_bytes, "of_bytes": meter.total_bytes}
        names = ("a", "b", "compared", "states", "not_compared", "unseen", "method", "notes")
        return {name: getattr(self, name) for name in names} | {
            "differ": bool(self),
            "divergence": None if self.divergence is None else self.divergence.to_dict(),
            "read": read if self.method == "bisection" else None,
        }

    def __str__(self) -> str:
        divergence = self.divergence
        if divergence is None and not (self.compared or self.states):
            lines = [f"{self.a} and {self.b} have no comparable events or states"]
        elif divergence is None:
            rest = " in everything that could be compared" if self.not_compared or self.unseen else ""
            lines = [f"{self.a} and {self.b} are alike{rest}"]
        else:
            is_event = divergence.field == "events"
            one, other = (
                map(str, (divergence.a, divergence.b))
                if is_event
                else differing_texts(divergence.a, divergence.b)
            )
            lines = [
                f"{self.a} and {self.b} differ at {divergence}",
                f"  a: {one}" + (f" (event {divergence.event_a})" if divergence.event_a else ""),
                f"  b: {other}" + (f" (event {divergence.event_b})" if divergence.event_b else ""),
            ]
            if divergence.common_cause is not None:
                lines.append(f"  last in common: {divergence.common_cause}")
        lines += [f"  not compared: {line}" for line in _grouped(self.not_compared)]
        lines += [f"  not compared: {line}" for line in self.unseen[:_MOST_NAMED]]
        if len(self.unseen) > _MOST_NAMED:
            lines.append(f"  not compared: {len(self.unseen) - _MOST_NAMED:,} more values")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes), f"  {self._reading}"])

    @property
    def _reading(self) -> str:
        if self.method == "walk":
            before = " before that" if self.divergence is not None else ""
            return f"{_pairs(self.compared, 'event')} and {_pairs(self.states, 'state')} agree{before}"
        return (
            f"found by bisection: {self.meter.lines:,} lines read, {self.meter.size_bytes / 1e6:.2f} of "
            f"{self.meter.total_bytes / 1e6:,.1f} MB ({self.meter.share:.2%})"
        )


def _pairs(count: int, what: str) -> str:
    return f"{count:,} pair{'s' * (count != 1)} of {what}s"


def compare_runs(
    a: RunName,
    b: RunName,
    root: str | os.PathLike[str] | None = None,
    *,
    exhaustive: bool = False,
    every_agent: bool = False,
    progress: Callable[[float], None] = lambda _: None,
) -> RunComparison:
    """Find the first difference of two runs: tick, agent and field with both values.

    Also finds the last event that both have in common. Events are paired by agent, order and place; ids,
    times and measured numbers are ignored. A fork is compared with its origin from the point where it
    continues.

    Args:
        a: a run's id or a unique prefix, a session, `SESSION/agent_id`, or `last`.
        b: likewise.
        root: the trace root; default: the configured one, then ./trace.
        exhaustive: compare every event from the beginning instead of bisecting.
        every_agent: likewise, and find the first difference of each agent, too.
        progress: called with the share of streams compared, unless bisection finds the difference.

    Raises:
        RunNotFound, SessionNotFound, AgentNotFound: a run does not exist.
        UsageError: they name two agents.
    """
    flush_active()
    one, other = open_side(a, root), open_side(b, root)
    pair_agents(one, other)
    notes = align(one, other)
    is_aligned = one.since is not None or other.since is not None
    same_ids = same_ids_of(one, other)
    if not exhaustive and not every_agent and not is_aligned:
        try:
            comparison = _bisected(one, other, same_ids, notes)
        except Unseekable as why:
            notes.append(f"compared every event: {why}")
        else:
            if comparison is not None:
                return comparison
            notes.append("compared every event, since the ends are alike")
    return _walked(one, other, same_ids, notes, has_ends=True, every_agent=every_agent, progress=progress)


def compare_actions(
    a: RunName, b: RunName, *, made: LibraryValues | None = None, are_of_one_program: bool = False
) -> RunComparison:
    """Find the first difference of two sessions inside their actions and in their states.

    Writes of untraced code between actions are not compared, since the moment at which they are noticed
    depends on timing. Neither are the final contents of referenced objects.

    Args:
        a: the first session.
        b: the second.
        made: the ids and times that libraries made, which agree by form.
        are_of_one_program: whether the program ran whole in both: then code inside values may differ, since
            the actions show its effect, and it matters which of several equal objects another one holds.
    """
    one, other = open_side(a, None), open_side(b, None)
    one.only_actions = other.only_actions = True
    return _walked(
        one,
        other,
        same_ids_of(one, other),
        [],
        has_ends=False,
        progress=lambda _: None,
        made=made,
        are_of_one_program=are_of_one_program,
    )


def _recording_of_both(one: RunSide, other: RunSide) -> int:
    """Return the lower `SessionInfo.recording` of both; 0 for a fork, whose calls change copies."""
    if any(side.lineage is not None or side.forked is not None for side in (one, other)):
        return 0
    infos = session_info(one.session), session_info(other.session)
    return min(0 if info is None else info.recording for info in infos)


def same_ids_of(one: RunSide, other: RunSide) -> SameIds:
    """Return the matcher for the ids of two runs."""
    sides = one, other
    return SameIds(
        frozenset(name for side in sides for name in side.writers()),
        frozenset(name for side in sides for name in side.reader.run_ids()),
    )


def _bisected(one: RunSide, other: RunSide, same_ids: SameIds, notes: list[str]) -> RunComparison | None:
    bisection = Bisection(one, other, same_ids)
    window = bisection.window()
    if window is None:
        return None
    comparison = Comparison(None, same_ids, scripts=module_names(one.session, other.session))
    recording = _recording_of_both(one, other)
    walk = StreamWalk(comparison, same_ids, has_ends=True, recording=recording)
    best: PlacedDivergence | None = None
    for key in bisection.streams():
        best = _earlier(best, walk.first_divergence(*bisection.events(key, window), limit=best))
    if best is None:
        raise Unseekable("the difference at the end could not be located by blocks")
    grounds = (
        *window.notes,
        *(
            [
                f"events before {window.unit} {window.first:.0f} were sampled and found alike; "
                "--exhaustive compares all of them"
            ]
            if window.first != -END
            else []
        ),
    )
    return RunComparison(
        one.name, other.name, best.divergence, walk.compared, walk.states, "bisection", bisection.meter,
        (*notes, *grounds),
    )  # fmt: skip


def _walked(
    one: RunSide,
    other: RunSide,
    same_ids: SameIds,
    notes: list[str],
    *,
    has_ends: bool,
    progress: Callable[[float], None],
    every_agent: bool = False,
    made: LibraryValues | None = None,
    are_of_one_program: bool = False,
) -> RunComparison:
    seen = ReplayOutcome()
    scripts = module_names(one.session, other.session)
    comparison = Comparison(None, same_ids, scripts=scripts, fields=FieldRules(seen), made=made)
    comparison.passes_code = comparison.compares_sharing = are_of_one_program
    walk = StreamWalk(
        comparison,
        same_ids,
        (one.counts, other.counts),
        has_ends=has_ends,
        recording=_recording_of_both(one, other),
    )
    ticks = TickTimes(lambda: (event for key in one.streams() for event in one.events(key)))
    best: PlacedDivergence | None = None
    each: list[PlacedDivergence] = []
    keys = dict.fromkeys((*one.streams(), *other.streams()))
    for number, key in enumerate(keys, start=1):
        lineage = one.forked if key.kind == "agent" else None
        forked = None if lineage is None else ForkedAt.of(lineage, key.name)
        limit = None if every_agent else best
        divergence = ticks.placed(walk.first_divergence(one.events(key), other.events(key), limit, forked))
        best = _earlier(best, divergence)
        each += [divergence] if divergence is not None and every_agent else []
        progress(number / len(keys))
    agreement = comparison.agreement
    if comparison.overlooked.of_libraries:
        notes.append(f"{comparison.overlooked.of_libraries:,} {MADE_BY_LIBRARIES}")
    if walk.reordered:
        notes.append(f"{walk.reordered:,} events of concurrent calls agree in another order")
    if agreement.redacted:
        notes.append(f"{agreement.redacted:,} values are redacted in both runs")
    for side in (one, other):
        damaged = side.reader.damaged_lines
        if damaged:
            notes.append(f"{side.name} has {damaged:,} damaged lines, which were skipped")
    each.sort(key=lambda placed_divergence: placed_divergence.order)
    return RunComparison(
        one.name, other.name, None if best is None else best.divergence, walk.compared, walk.states, "walk",
        Meter(), tuple(notes), {**walk.not_compared, **seen.unseen_fields}, tuple(seen.reasons),
        tuple(placed_divergence.divergence for placed_divergence in each),
    )  # fmt: skip


def _grouped(not_compared: Mapping[str, str]) -> list[str]:
    """Return one line for each reason, with the fields that it applies to."""
    whys: dict[str, list[str]] = {}
    for name, why in not_compared.items():
        whys.setdefault(why, []).append(name)
    return [
        f"{', '.join(names[:_MOST_NAMED])}"
        + (f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else "")
        + f": {why}"
        for why, names in whys.items()
    ]


def _earlier(one: PlacedDivergence | None, other: PlacedDivergence | None) -> PlacedDivergence | None:
    if one is None or (other is not None and other.order < one.order):
        return other
    return one
