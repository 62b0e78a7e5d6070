"""Find the first difference of two sequences of events: pairs are compared in order, without ids and times.

`StatePairs` also compares the states, which are folded from the events. `run_comparison.py` passes in the
events: those of a window that it found by bisection, or all events of two runs.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from Agent.event.kinds import ACTION_KINDS
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.event.pointers import escape, unescape
from Agent.flight.checkpoints.state_fold import StateFold
from Agent.replay.compare.comparison import Comparison, Difference, Recorded, in_payload
from Agent.replay.compare.emitted_events import (
    ARGS_AFTER,
    arguments_difference,
    describe,
    field_at,
    pair_difference,
    sort_key,
)
from Agent.replay.compare.folded_values import ABSENT, is_tag_of_generator, shown
from Agent.replay.compare.normaliser import Matches
from Agent.replay.compare.outcome import place_in
from Agent.replay.plan.actions import FRAMEWORK_KINDS
from Agent.replay.plan.recording import began_us, ends_of, parents_of, spans_around
from Agent.tree.files.session import Lineage

PASSED_OVER = FRAMEWORK_KINDS | {
    *("metric", "throughput", "checkpoint", "system.init", "system.config", "system.module"),
    *("run.started", "run.finished", "replay.match"),
}
"""Kinds that are not compared: measurements, the environment, and the recorder's own events."""
_REMEMBERED = 256
_LOOK_AHEAD = 4_096
_MAX_IDS = 200_000
Order = tuple[float, str, str, int]
"""Sort key of an event in the first run: tick, time, writer, number."""
_BEGINNING: Order = (float("-inf"), "", "", 0)
_BEHIND_ALL: Order = (float("inf"), "", "", 0)
_STATES = {
    "state first": "first state",
    "state periodic": "full state",
    "state error": "state at an error",
    "state exit": "last state",
}
_ENDS = frozenset({"state exit", "state gone"})
_EVENT_ID = re.compile(r"([a-z2-7]{8})-[0-9]+")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")


_RELATIONS = {
    "recorded": "a recorded cause",
    "inside": "in the same call",
    "before": "the event before",
}


TELLING = frozenset({"state", "state_change", "checkpoint"})
"""Kinds of events, besides actions, that contain information about a state."""
_BETWEEN = "recorded in full states only, and one run has none there"
_OTHER_END = "the object ended with different content, which code between actions may have changed"


@dataclass(frozen=True, slots=True)
class CommonCause:
    """The last event before a divergence that both runs have in common."""

    what: str
    agent_id: str | None
    tick: int | None
    event_a: str
    event_b: str
    relation: str
    """`recorded` (a cause that the event names), `inside` (a call or message in it), or `before` (the agent's
    previous event)."""

    def __str__(self) -> str:
        at = f"tick {self.tick}, " if self.tick is not None else ""
        return f"{at}{self.what} ({self.event_a}, {self.event_b}), {_RELATIONS[self.relation]}"


@dataclass(frozen=True, slots=True)
class RunDivergence:
    """The first difference of two runs; `a` and `b` are its values, `<absent>` for a missing one."""

    tick: int | None
    agent_id: str | None
    action: str
    """The kind of event, with the name of an action."""
    field: str
    """`args`, `result`, `state.<name>`, another key of the event, or `events` if the events do not match."""
    path: str
    """JSON Pointer inside the field."""
    a: Any
    b: Any
    event_a: str | None = None
    event_b: str | None = None
    number: int = 0
    """The number of the pair among the agent's compared events, from 1."""
    where: str = ""
    """Field and path in Python notation: `field orders['a'].price`, `result[0]`."""
    common_cause: CommonCause | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the divergence as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        tick = f"tick {self.tick}, " if self.tick is not None else ""
        return f"{tick}{self.agent_id or 'no agent'}, {_STATES.get(self.action, self.action)}: {self.where}"


@dataclass(slots=True)
class SameIds:
    """Matches the ids of two runs one to one: of events, spans and runs."""

    writers: Collection[str]
    """The writers of both sessions, with which the ids of their events begin."""
    run_ids: Collection[str] = ()
    """The run ids of both sessions."""
    _processes: set[str] = field(default_factory=set)
    _matches: Matches = field(default_factory=lambda: Matches({}, {}))

    def see(self, event: Event) -> None:
        """Store the prefix that the span ids of its process have."""
        if event.span_id is not None:
            self._processes.add(event.span_id[:8])

    def __call__(self, one: str, other: str) -> bool:
        """Whether two ids match or can be matched; a match is kept for later calls."""
        if not (self._is_id(one) and self._is_id(other)):
            return False
        if len(self._matches.replayed) > _MAX_IDS:
            self._matches = Matches({}, {})
        return self._matches.match(one, other)

    def _is_id(self, text: str) -> bool:
        match = _EVENT_ID.fullmatch(text)
        if match is not None:
            return match[1] in self.writers
        return (text[:8] in self._processes and _SPAN_ID.fullmatch(text) is not None) or text in self.run_ids


class PlacedDivergence(NamedTuple):
    """The first difference of one pair of streams, with its order among those of other streams."""

    divergence: RunDivergence
    order: Order


TickTimes = tuple[list[str], list[int]]
"""The times of events with ticks, in order, and the highest tick up to each."""


def tick_times(events: Iterable[Event]) -> TickTimes:
    """Return the ticks of a run's events, which place events without one among those of other streams."""
    timed = sorted((event.timestamp, event.tick) for event in events if event.tick is not None)
    return [time for time, _ in timed], list(itertools.accumulate((tick for _, tick in timed), max))


def with_tick(found: PlacedDivergence | None, begun: Callable[[], TickTimes]) -> PlacedDivergence | None:
    """Return a difference with a tick in its order; if its event has none, the tick at its time."""
    if found is None or found.divergence.tick is not None or found.divergence.action in _ENDS:
        return found
    tick, time, writer, number = found.order
    times, ticks = begun()
    before = bisect_right(times, time)
    if before:
        tick = max(tick, float(ticks[before - 1]))
    return found._replace(order=(tick, time, writer, number))


@dataclass(slots=True)
class StreamWalk:
    """Compares the events of two runs pair by pair."""

    comparison: Comparison
    """Compares values, and collects how they agreed."""
    same_ids: SameIds
    """Matches ids; receives every event."""
    counts: tuple[Callable[[Event], bool], ...] = (lambda _: True, lambda _: True)
    """For each side, whether an event is compared; other events only update the state."""
    has_ends: bool = False
    """Whether the final contents of referenced objects are compared."""
    has_arguments: bool = False
    """Whether the arguments that calls changed in place are compared."""
    compared: int = 0
    """The number of equal pairs of events."""
    states: int = 0
    """The number of equal pairs of states."""
    reordered: int = 0
    """The number of pairs that are equal except for the order in which concurrent calls ended."""
    not_compared: dict[str, str] = field(default_factory=dict)
    """{`agent.field`: why it was not compared}."""
    changed_code: dict[str, None] = field(default_factory=dict)
    """The places of values that differ only in the code they contain."""
    _states: StatePairs = field(init=False)
    _streams: tuple[set[str], set[str]] = field(init=False)
    """For each side, the fields with generators whose positions the actions record."""

    def first_divergence(
        self,
        ones: Iterable[Event],
        others: Iterable[Event],
        limit: PlacedDivergence | None = None,
        forked: ForkedAt | None = None,
    ) -> PlacedDivergence | None:
        """Find the first difference of two event sequences; None if there is none up to `limit`.

        Args:
            ones: the events of the first run, in order.
            others: those of the second.
            limit: an earlier difference in another stream, after which the search stops.
            forked: the changes at the fork's point, if one run is a fork of the other.
        """
        self._states = states = StatePairs(self.comparison, forked, has_ends=self.has_ends)
        self._streams = set(), set()
        agent_id: str | None = None
        left, right = self._seen(ones), self._seen(others)
        alike: deque[tuple[Event, Event]] = deque(maxlen=_REMEMBERED)
        order = _BEGINNING
        try:
            for number in itertools.count(1):
                one, other = self._next(left, 0), self._next(right, 1)
                is_last = one is None and other is None
                parted = states.difference(is_first=number == 1, is_last=is_last)
                if parted is not None:
                    return _state_divergence(parted, number, alike, order)
                if is_last:
                    return None
                first = one or other
                agent_id = agent_id or (first.agent_id if first is not None else None)
                order = _order(one, order, other)
                if limit is not None and order > limit.order:
                    return None
                difference = self._difference(one, other)
                if difference is None and one is not None and other is not None:
                    self._agreed(one, other, alike)
                    continue
                behind, beside = _ahead(one, left), _ahead(other, right)
                plain, its_like = self._comparable(behind, 0), self._comparable(beside, 1)
                taken = self._concurrent(plain, its_like)
                if not taken:
                    one, other, difference = self._outermost_input(one, other, difference, plain, its_like)
                    return placed_divergence(one, other, difference, number, alike, order)
                for pair in zip(plain[:taken], its_like[:taken], strict=True):
                    self._agreed(*pair, alike)
                left = itertools.chain(_without(behind, plain[:taken]), left)
                right = itertools.chain(_without(beside, its_like[:taken]), right)
        finally:
            self.states += states.compared
            for name, why in states.not_compared.items():
                self.not_compared[f"{agent_id}.{name}"] = why
            self.changed_code.update((f"field {name} of {agent_id}", None) for name in states.changed_code)
        return None

    def _seen(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            self.same_ids.see(event)
            yield event

    def _next(self, events: Iterator[Event], side: int) -> Event | None:
        """Return the next event to compare; events before it only update the state."""
        for event in events:
            if self._is_compared(event, side):
                return event
            if event.kind == "state":
                self._streams[side].update(event.extra.get("streams") or ())
            self._states.add(side, event)
        return None

    def _is_compared(self, event: Event, side: int) -> bool:
        return event.kind not in PASSED_OVER and event.kind != "state" and self.counts[side](event)

    def _comparable(self, events: Sequence[Event], side: int) -> list[Event]:
        return [event for event in events if self._is_compared(event, side)]

    def _agreed(self, one: Event, other: Event, alike: deque[tuple[Event, Event]]) -> None:
        self.compared += 1
        alike.append((one, other))
        for side, event in enumerate((one, other)):
            self._states.add(side, event)

    def _difference(self, one: Event | None, other: Event | None) -> Difference | None:
        self.comparison.agreement.code.clear()
        difference = pair_difference(one, other, self.comparison)
        if difference is not None or one is None or other is None:
            return difference
        self._note_code(one)
        difference = self._draws_difference(one, other)
        if difference is not None or not self.has_arguments:
            return difference
        changed = arguments_difference(one, other, self.comparison)
        self._note_code(one, f"/{ARGS_AFTER}")
        return changed and changed.under(f"/{ARGS_AFTER}")

    def _note_code(self, event: Event, below: str = "") -> None:
        """Store the places in an event that differ only in the code of their values."""
        for path in sorted(self.comparison.agreement.code):
            at = f"/state{path}" if path.startswith("/set/") else f"{below}{path}"
            self.changed_code[f"{place_in(*field_at(at), event)} of {describe(event)}"] = None
        self.comparison.agreement.code.clear()

    def _draws_difference(self, one: Event, other: Event) -> Difference | None:
        """Compare the positions of the agents' generators after two actions, if both runs record them."""
        drew = [(each.state or {}).get("drew") or {} for each in (one, other)]
        for name in sorted({*drew[0], *drew[1]} & self._streams[0] & self._streams[1]):
            places = [each.get(name) for each in drew]
            if places[0] != places[1]:
                sides = ("<not drawn from>" if place is None else f"<drawn to {place}>" for place in places)
                return Difference(f"/state/set/{escape(name)}", *sides)
        return None

    def _concurrent(self, behind: Sequence[Event], beside: Sequence[Event]) -> int:
        """Return how many pairs are equal except for the order of concurrent calls; 0 if they are not."""
        end = next((at for at, event in enumerate(behind, 1) if event.code is not None), 0)
        if end < 2 or len(beside) < end or not (_overlap(behind[:end]) and _overlap(beside[:end])):
            return 0
        pairs = zip(sorted(behind[:end], key=sort_key), sorted(beside[:end], key=sort_key), strict=True)
        if any(self._difference(one, other) is not None for one, other in pairs):
            return 0
        self.reordered += end
        return end

    def _outermost_input(
        self,
        one: Event | None,
        other: Event | None,
        difference: Difference | None,
        behind: Sequence[Event],
        beside: Sequence[Event],
    ) -> tuple[Event | None, Event | None, Difference]:
        """Replace a difference by one in the arguments of the outermost enclosing call, if these differ.

        A call is recorded when it ends, after the calls inside it, but its arguments were set before them.
        """
        assert difference is not None  # noqa: S101 - the caller found a difference
        if one is None or other is None:
            return one, other, difference
        for outer, its_like in zip(
            reversed(_around(one, behind)), reversed(_around(other, beside)), strict=False
        ):
            if describe(outer) != describe(its_like):
                continue
            args = self.comparison.difference(in_payload(outer, "args"), in_payload(its_like, "args"), ("",))
            if args is not None:
                return outer, its_like, args.under("/args")
        return one, other, difference


def _around(event: Event, later: Sequence[Event]) -> list[Event]:
    """Return the event if it is a call, and its enclosing calls among later events; innermost first."""
    spans = {each.span_id: each for each in later if each.span_id is not None and each.kind in ACTION_KINDS}
    actions = [event] if event.kind in ACTION_KINDS else []
    around = spans_around(event, parents_of(spans.values()))
    actions += [spans[span_id] for span_id in itertools.islice(around, _REMEMBERED) if span_id in spans]
    return actions


def _overlap(events: Sequence[Event]) -> bool:
    """Whether two calls with the same parent span ran at the same time."""
    ends: dict[str | None, int] = {}
    for event in events:
        if event.span_id is None:
            continue
        before = ends.get(event.parent_span_id)
        if before is not None and began_us(event) < before:
            return True
        ends[event.parent_span_id] = event.timestamp_us
    return False


def _ahead(first: Event | None, rest: Iterator[Event]) -> list[Event]:
    return [event for event in (first, *itertools.islice(rest, _LOOK_AHEAD)) if event is not None]


def _without(events: Sequence[Event], done: Sequence[Event]) -> list[Event]:
    taken = {event.id for event in done}
    return [event for event in events if event.id not in taken]


def _order(event: Event | None, before: Order, other: Event | None = None) -> Order:
    """Return the sort key of an event of the first run.

    If the first run lacks the event, the key is the second's tick or that of the previous event. If neither
    is known, as for an agent that only the second run has, every other difference sorts first.
    """
    if event is None:
        if other is not None and other.tick is not None and other.tick > before[0]:
            return (float(other.tick), "", "", 0)
        return before if before != _BEGINNING else _BEHIND_ALL
    # An event without a tick, such as a final state, belongs after the previous event's tick.
    return (before[0] if event.tick is None else float(event.tick), *order_key(event))


def placed_divergence(
    one: Event | None,
    other: Event | None,
    difference: Difference,
    number: int,
    alike: Sequence[tuple[Event, Event]],
    order: Order = _BEGINNING,
) -> PlacedDivergence:
    """Describe a difference of two events, of which one may be missing."""
    event = one if one is not None else other
    assert event is not None  # noqa: S101 - at most one is missing
    field, path = field_at(difference.path or "/events")
    divergence = RunDivergence(
        tick=event.tick,
        agent_id=event.agent_id,
        action=describe(event).removesuffix(f" of {event.agent_id}"),
        field=field,
        path=path,
        a=difference.recorded,
        b=difference.replayed,
        event_a=None if one is None else one.id,
        event_b=None if other is None else other.id,
        number=number,
        where=place_in(field, path, event)
        if field != "events"
        else "another event"
        if one is not None and other is not None
        else "an event that only one run has",
        common_cause=_common_cause(event, alike),
    )
    return PlacedDivergence(divergence, order)


def _state_divergence(
    state_difference: StateDifference, number: int, alike: Sequence[tuple[Event, Event]], order: Order
) -> PlacedDivergence:
    one, other = state_difference.events
    difference = state_difference.difference.under(f"/state/set/{escape(state_difference.name)}")
    order = _BEHIND_ALL if state_difference.is_patched else _order(one if one is not None else other, order)
    return placed_divergence(one, other, difference, number, alike, order)


def _common_cause(event: Event, alike: Sequence[tuple[Event, Event]]) -> CommonCause | None:
    """Find the last common event that leads to a differing one: a cause, a call in it, or one before it."""
    ids = set(event.causes)
    inside = {event.span_id, event.parent_span_id} - {None}
    named = [pair for pair in alike if pair[0].id in ids or pair[1].id in ids]
    within = [
        pair
        for pair in alike
        if inside & {pair[0].parent_span_id, pair[1].parent_span_id}
        and pair[0].kind in {*ACTION_KINDS, "tool.call", "model.call", "agent_message", "decision"}
    ]
    for pairs, relation in ((named, "recorded"), (within, "inside"), (list(alike), "before")):
        if pairs:
            one, other = pairs[-1]
            return CommonCause(describe(one), one.agent_id, one.tick, one.id, other.id, relation)
    return None


def overlooked_in(state: Event, known: Collection[str]) -> dict[str, str]:
    """Return {field: why} for the fields that a full state names but that have no known value."""
    return {
        str(name): why
        for key, why in (("unseen", "cannot be seen"), ("ignored", "ignored by the program"))
        for name in state.extra.get(key) or ()
        if name not in known
    }


@dataclass(slots=True)
class _Side:
    """The state of one run's agent at the current event."""

    fold: StateFold = field(default_factory=StateFold)
    full: Event | None = None
    """The last full state since the last action or comparison of states."""
    overlooked: dict[str, str] = field(default_factory=dict)
    """Fields without a value in the last full state, and why."""
    adopted: set[str] = field(default_factory=set)
    """Fields with generators whose draws are recorded one by one."""
    shared: Collection[str] = ()
    """Fields with objects that other agents share; another agent's action does not record changes to them."""

    def add(self, event: Event) -> None:
        """Apply the next event."""
        self.fold.add(event)
        if event.kind != "state":
            self.full = self.full if event.code is None else None
            return
        extra = event.extra
        self.full = event
        self.adopted.update(extra.get("adopted") or ())
        self.shared = extra.get("shared_objects") or ()
        self.overlooked = overlooked_in(event, self.fold.fields)

    def recorded(self, name: str) -> Recorded | None:
        """Return a field's value; None if the field does not exist."""
        if name not in self.fold.fields:
            return None
        return Recorded(self.fold.fields[name], self.fold.tags.get(name, {}), "")


class StateDifference(NamedTuple):
    """A field in which two states differ."""

    name: str
    difference: Difference
    events: tuple[Event | None, Event | None]
    """For each side, the full state or else the last event with information about the state."""
    is_patched: bool
    """Whether the field was changed at the point of a fork."""


class ForkedAt(NamedTuple):
    """The changes to an agent's state at the point of a fork."""

    patched: Collection[str]
    is_seeded: bool

    @classmethod
    def of(cls, lineage: Lineage, agent_id: str) -> ForkedAt:
        """Return the changes to one agent that a fork's session records."""
        patch: Any = lineage.patch or ()
        is_one = len(lineage.agents) == 1
        if isinstance(patch, Mapping) and not is_one:
            patch, is_one = patch.get(agent_id) or (), True
        if isinstance(patch, Mapping):
            return cls(set(patch), lineage.seed is not None)
        pointers = [str(operation.get("path", "")) for operation in patch]
        keys = [[unescape(part) for part in pointer.split("/")[1:]] for pointer in pointers]
        if not is_one:
            keys = [each[1:] for each in keys if each[:1] == [agent_id]]
        return cls({each[0] for each in keys if each}, lineage.seed is not None)


def end_differences(
    one: Event | None, other: Event | None, not_compared: dict[str, str], *, is_fork: bool = False
) -> Iterator[StateDifference]:
    """Yield fields with a reference in both final states whose objects ended with different contents.

    Args:
        one: the final state of the first run.
        other: that of the second.
        not_compared: receives the fields that are not compared, and why.
        is_fork: whether one side is a fork of the other. A fork does not run the code between actions, which
            may have changed the object, so a different content proves nothing.
    """
    ones, others = ({} if event is None else ends_of(event) for event in (one, other))
    for name in sorted(ones.keys() & others.keys()):
        left, right = ones[name], others[name]
        if left is None or right is None:
            not_compared.setdefault(name, "part of its content at the end of the run cannot be compared")
        elif left != right and is_fork:
            not_compared.setdefault(name, _OTHER_END)
        elif left != right:
            difference = Difference("", f"content {left}", f"content {right}")
            yield StateDifference(name, difference, (one, other), is_patched=False)


@dataclass(slots=True)
class StatePairs:
    """Compares the states of one agent in two runs."""

    comparison: Comparison
    forked: ForkedAt | None
    """The changes at the point of a fork; None if neither run is a fork of the other."""
    has_ends: bool = False
    """Whether the final contents of referenced objects are compared."""
    compared: int = 0
    """The number of equal pairs of states."""
    not_compared: dict[str, str] = field(default_factory=dict)
    """Fields that were not compared, and why."""
    changed_code: dict[str, None] = field(default_factory=dict)
    """Fields that differ only in the code they contain."""
    _sides: tuple[_Side, _Side] = field(default_factory=lambda: (_Side(), _Side()))
    _unconfirmed: list[StateDifference] = field(default_factory=list)
    """Possible differences, for which a side's value was folded from events without a full state."""
    _confirmed: StateDifference | None = None
    """A possible difference that the agent's next action confirmed."""

    def add(self, side: int, event: Event) -> None:
        """Apply the next event of a side (0 or 1)."""
        if event.code is None and event.kind not in TELLING:
            return
        self._sides[side].add(event)
        if not self._unconfirmed or side or event.state is None:
            return
        # An action lists the fields that other code had changed before it, too. So a field that it does not
        # list had this value already, and the difference is confirmed.
        changed = {*(event.state.get("set") or ()), *(event.state.get("unset") or ())}
        self._confirmed = next(
            (each for each in self._unconfirmed if each.name not in changed), self._confirmed
        )
        self._unconfirmed = []

    def difference(self, *, is_first: bool, is_last: bool) -> StateDifference | None:
        """Return the first field in which the states differ; None if they agree, or are not compared here.

        Args:
            is_first: whether this is before the first pair of events.
            is_last: whether this is after the last pair of events.
        """
        one, other = self._sides
        if self._confirmed is not None:
            return self._confirmed
        if one.full is None and other.full is None and not (is_first or is_last):
            return None
        is_whole = one.full is not None and other.full is not None
        # Two runs of one program have their full states at the same places; a fork and its origin do not.
        is_place = is_first or is_last or is_whole or self.forked is not None
        is_known = one.fold.base is not None and other.fold.base is not None
        differences = (
            list(self._differences(is_first=is_first, is_last=is_last)) if is_place and is_known else []
        )
        if is_last and is_whole and self.has_ends and not differences:
            is_fork = self.forked is not None
            differences = list(end_differences(one.full, other.full, self.not_compared, is_fork=is_fork))
        self.compared += is_place and is_known and not differences
        one.full = other.full = None
        if is_whole:
            return min(differences, key=lambda each: each.is_patched, default=None)
        if is_last:
            for each in differences:
                self.not_compared.setdefault(each.name, "one run has no last state")
        # A value folded from events may be outdated, since other code can hold the same object and change it.
        self._unconfirmed = [] if is_last else differences
        return None

    def _differences(self, *, is_first: bool, is_last: bool) -> Iterator[StateDifference]:
        one, other = self._sides
        is_between = one.full is None or other.full is None
        # These values are in full states only.
        between = (*one.fold.sampled, *one.shared, *other.fold.sampled, *other.shared) if is_between else ()
        unknown = {**dict.fromkeys(between, _BETWEEN), **one.overlooked, **other.overlooked}
        patched = set() if self.forked is None else set(self.forked.patched)
        for name in sorted(one.fold.fields.keys() | other.fold.fields.keys() | unknown.keys()):
            left, right = one.recorded(name), other.recorded(name)
            if name in unknown:
                if is_last or unknown[name] is not _BETWEEN:
                    self.not_compared.setdefault(name, unknown[name])
                continue
            if self._is_by_design(name, left, right, is_first=is_first, is_last=is_last):
                continue
            difference = self._field_difference(name, left, right)
            if difference is None:
                continue
            if self.forked is not None and name in one.adopted | other.adopted:
                self.not_compared.setdefault(
                    name, "code that the fork does not run draws from this generator as well"
                )
                continue
            events = one.full or one.fold.last, other.full or other.fold.last
            yield StateDifference(name, difference, events, name in patched)

    def _is_by_design(
        self, name: str, left: Recorded | None, right: Recorded | None, *, is_first: bool, is_last: bool
    ) -> bool:
        """Whether a field may differ here because the fork changed it at its point."""
        if self.forked is None:
            return False
        if name in self.forked.patched:
            return not is_last
        tags = [each.types.get("", "") for each in (left, right) if each is not None]
        return self.forked.is_seeded and is_first and any(map(is_tag_of_generator, tags))

    def _field_difference(
        self, name: str, left: Recorded | None, right: Recorded | None
    ) -> Difference | None:
        rules, agent_id = self.comparison.fields, str(self._agent_id)
        tags = [each.types.get(each.pointer) for each in (left, right) if each is not None]
        if rules is not None and rules.leaves_out(agent_id, name, *tags):
            return None
        if left is None or right is None:
            one, other = (shown(ABSENT if each is None else each.value) for each in (left, right))
            return Difference("", one, other)
        difference, agreed = self.comparison.compare(left, right)
        if agreed.code:
            self.changed_code[name] = None
        if rules is not None:
            rules.note(agent_id, name, agreed)
        return difference

    @property
    def _agent_id(self) -> str | None:
        last_events = (side.fold.last for side in self._sides)
        return next((event.agent_id for event in last_events if event is not None), None)
