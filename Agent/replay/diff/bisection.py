"""Bisection of two sessions: full states and what single actions set tell when they parted.

It reads a few blocks of each file. That two agents which once differ go on differing is assumed, and looked
at where full states stand; `run_comparison.py` walks both sessions whole where nothing can be sought.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from Agent.event.model import Event
from Agent.replay.compare.comparison import Comparison, Recorded
from Agent.replay.compare.emitted_events import describe, event_difference
from Agent.replay.diff.event_streams import END, Axis, Meter, OutOfOrder, Track, decoded, number_of, tick_of
from Agent.replay.diff.first_difference import PASSED_OVER, SameIds
from Agent.replay.diff.run_side import RunSide, StreamKey
from Agent.replay.plan.recorded_script import module_names

_TAIL_BYTES = 3 * 1024
_END_BYTES = 8 * 1024
_STATE_BYTES = 512 * 1024
_SAMPLES = 48
_CONTEXT = 1


class BisectionWindow(NamedTuple):
    """The part in which two sessions part, and on which grounds."""

    first: float
    """Tick, or number, with which it begins."""
    last: float
    """The first one behind it."""
    unit: str
    pivot: StreamKey
    notes: tuple[str, ...] = ()


class Unseekable(Exception):
    """Nothing can be sought in these sessions; the text says why."""


class _Pair(NamedTuple):
    one: Track
    other: Track


@dataclass(slots=True)
class Bisection:
    """Two sessions whose files are sought in."""

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
        """Where the two part first, None where their ends say nothing of a difference.

        Raises:
            Unseekable: several writers, no common axis, segments that were sealed, lines out of order.
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
            pairs[key] = _Pair(Track(files[0], axis, self.meter), Track(files[1], axis, self.meter))
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
        differing = [key for key, pair in self._pairs.items() if self._differ_at_end(key, pair)]
        if not differing:
            return None
        chance = random.Random(0)
        chance.shuffle(differing)
        pivot, end = self._earliest(differing[0], differing, END)
        pivot, end = self._looked_at(chance, pivot, end)
        notes = []
        begin = end - 1 if end != END else self._last_place(pivot)
        state = self._state_behind(pivot, begin)
        if state is not None:
            notes.append(state)
        return BisectionWindow(begin, end, self.unit, pivot, tuple(notes))

    def _earliest(self, pivot: StreamKey, differing: list[StreamKey], end: float) -> tuple[StreamKey, float]:
        """The stream that differs first, and the first place by which it does."""
        end = self._bisect(pivot, end)
        others = list(self._pairs) if len(self._pairs) < 2 * len(differing) else differing
        for key in others:
            if key != pivot and end != END and self._differ_before(key, end - 1):
                pivot, end = key, self._bisect(key, end - 1)
        return pivot, end

    def _looked_at(self, chance: random.Random, pivot: StreamKey, end: float) -> tuple[StreamKey, float]:
        """The same after looking here and there before it: a difference may have gone away again."""
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
        """The first place before which the two sides of a stream differ, being different before `end`."""
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
        """Whether the first events differ: a first state, with what chance began from in it."""
        return self._tails_differ(*(decoded([(0, track.head())]) for track in pair))

    def _differ_at_end(self, key: StreamKey, pair: _Pair) -> bool:
        """Whether the last states differ, or what was done last."""
        tails = [decoded(track.before(track.size, _END_BYTES)) for track in pair]
        states = [next((e for e in reversed(tail) if e.kind == "state"), None) for tail in tails]
        if key.kind == "agent" and states[0] is not None and states[1] is not None:
            if states[0].extra.get("digest") == states[1].extra.get("digest"):
                return False
            return self._states_differ(states[0], states[1])
        return self._tails_differ(*tails)

    def _differ_before(self, key: StreamKey, place: float) -> bool:
        """Whether the last that each side did before a place differs, full states in it included."""
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
        sides = [
            Recorded(event.extra.get("fields"), event.types or {}, "/extra/fields") for event in (one, other)
        ]
        return self._comparison.difference(sides[0], sides[1], ("",)) is not None

    def _state_behind(self, key: StreamKey, place: float) -> str | None:
        """What the last full state of an agent before a place says; None where none stands near."""
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
        """Both sides of a stream in a window, and in a place before and behind it."""
        one, other = (
            iter(
                decoded(
                    list(track.until(self._begin(track, window.first - _CONTEXT), window.last + _CONTEXT))
                )
            )
            for track in self._pairs[key]
        )
        return one, other

    def _begin(self, track: Track, place: float) -> int:
        return 0 if place == -END else track.seek(place)

    def streams(self) -> list[StreamKey]:
        """The streams of both."""
        return list(self._pairs)


def _writers(side: RunSide) -> int:
    """How many writers the files of its agents have; metrics have one of their own, in no file of theirs."""
    from Agent.tree.files.lines import first_id

    found = set()
    for key in side.streams():
        for path in side.files(key) or ():
            identity = first_id(path)
            if identity is not None:
                found.add(identity.partition("-")[0])
    return len(found)
