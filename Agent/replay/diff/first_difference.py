"""Where two sequences of events part: pairs in order, compared field by field, ids and times left out.

`state_pairs.py` compares the states beside them. `bisection.py` says in which part of two sessions to look,
`run_comparison.py` gives it all of two runs.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from Agent.event.model import Event
from Agent.event.ordering.order import order_key
from Agent.event.pointers import escape, unescape
from Agent.replay.compare.comparison import ABSENT, Comparison, Difference, Recorded, shown
from Agent.replay.compare.emitted_events import describe, event_difference, sort_key
from Agent.replay.compare.locating import place_in
from Agent.replay.diff.state_pairs import ForkedAt, StateDifference, StatePairs
from Agent.replay.plan.actions import FRAMEWORK_KINDS
from Agent.replay.plan.recording import ACTION_KINDS, began_us

PASSED_OVER = FRAMEWORK_KINDS | {
    *("metric", "throughput", "checkpoint", "system.init", "system.config", "system.module"),
    *("run.started", "run.finished", "replay.match"),
}
"""Kinds that say how a run went rather than what it did: measurements, surroundings, the recorder's own."""
_REMEMBERED = 256
_LOOK_AHEAD = 4_096
_MAX_IDS = 200_000
Order = tuple[float, str, str, int]
"""Tick, time, writer and number in the first run."""
_BEGINNING: Order = (float("-inf"), "", "", 0)
_BEHIND_ALL: Order = (float("inf"), "", "", 0)
_STATES = {
    "state first": "first state",
    "state periodic": "full state",
    "state error": "state at an error",
    "state exit": "last state",
}
_EVENT_ID = re.compile(r"([a-z2-7]{8})-[0-9]+")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")


_RELATIONS = {
    "recorded": "a recorded cause",
    "inside": "in the same call",
    "before": "the event before",
}


@dataclass(frozen=True, slots=True)
class CommonCause:
    """The last thing before a divergence that both runs did alike."""

    what: str
    agent_id: str | None
    tick: int | None
    event_a: str
    event_b: str
    relation: str
    """`recorded` (a cause that the event names), `inside` (a call or message in it), `before` (what the agent
    did last)."""

    def __str__(self) -> str:
        at = f"tick {self.tick}, " if self.tick is not None else ""
        return f"{at}{self.what} ({self.event_a}, {self.event_b}), {_RELATIONS[self.relation]}"


@dataclass(frozen=True, slots=True)
class RunDivergence:
    """The first thing in which two runs differ; `a` and `b` are its values, `<absent>` where one has none."""

    tick: int | None
    agent_id: str | None
    action: str
    """What kind of event it is, and of an action its name."""
    field: str
    """`args`, `result`, `state.<name>`, another key of the event, or `events` where one lacks the event."""
    path: str
    """JSON Pointer inside the field."""
    a: Any
    b: Any
    event_a: str | None
    event_b: str | None
    number: int
    """Which of the compared events of that agent it is, from 1."""
    where: str = ""
    """Field and path as the program writes them: `field orders['a'].price`, `result[0]`."""
    common_cause: CommonCause | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        tick = f"tick {self.tick}, " if self.tick is not None else ""
        return f"{tick}{self.agent_id or 'no agent'}, {_STATES.get(self.action, self.action)}: {self.where}"


class SameIds:
    """Whether two texts are ids of the two runs that may mean the same thing: each has one counterpart.

    Args:
        writers: the writers of both sessions; only an id of one of them is an id of an event.
        run_ids: of both sessions.
    """

    def __init__(self, writers: Iterable[str], run_ids: Iterable[str] = ()) -> None:
        self._writers = frozenset(writers)
        self._run_ids = frozenset(run_ids)
        self._processes: set[str] = set()
        self._there: dict[str, str] = {}
        self._back: dict[str, str] = {}

    def see(self, event: Event) -> None:
        """Learn how the ids of spans of its process begin."""
        if event.span_id is not None:
            self._processes.add(event.span_id[:8])

    def __call__(self, one: str, other: str) -> bool:
        """Whether they may; once taken for the same they are so for good."""
        if not (self._is_id(one) and self._is_id(other)):
            return False
        if len(self._there) > _MAX_IDS:
            self._there.clear()
            self._back.clear()
        return self._there.setdefault(one, other) == other and self._back.setdefault(other, one) == one

    def _is_id(self, text: str) -> bool:
        found = _EVENT_ID.fullmatch(text)
        if found is not None:
            return found[1] in self._writers
        return (text[:8] in self._processes and _SPAN_ID.fullmatch(text) is not None) or text in self._run_ids


@dataclass(slots=True)
class Parting:
    """Where one pair of streams parts, with what is needed to order it among those of other streams."""

    divergence: RunDivergence
    order: Order


def _always(_event: Event) -> bool:
    return True


class StreamWalk:
    """Walks pairs of events of two runs.

    Args:
        comparison: compares values; keeps over what they agreed.
        same_ids: learns ids on the way.
        counts: for each side, whether an event is compared; others only say what the state is.
    """

    def __init__(
        self,
        comparison: Comparison,
        same_ids: SameIds,
        counts: tuple[Callable[[Event], bool], Callable[[Event], bool]] = (_always, _always),
    ) -> None:
        self._comparison = comparison
        self._same_ids = same_ids
        self._counts = counts
        self._states = StatePairs(comparison, None)
        self.compared = 0
        """Pairs of events that agreed."""
        self.states = 0
        """Pairs of states that did."""
        self.reordered = 0
        """Pairs that agreed but for the order in which concurrent calls ended."""
        self.not_compared: dict[str, str] = {}
        """`agent.field` to why it was not compared."""

    def first_parting(
        self,
        ones: Iterable[Event],
        others: Iterable[Event],
        limit: Parting | None = None,
        forked: ForkedAt | None = None,
    ) -> Parting | None:
        """Where two sequences of one agent's events part; None where they agree, or only behind `limit`.

        Args:
            forked: what was changed where the second was forked from the first.
        """
        self._states = states = StatePairs(self._comparison, forked)
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
                    return _state_parting(parted, number, alike, order)
                if is_last:
                    return None
                first = one or other
                agent_id = agent_id or (first.agent_id if first is not None else None)
                order = _order(one, order)
                if limit is not None and order > limit.order:
                    return None
                found = self._difference(one, other)
                if found is None and one is not None and other is not None:
                    self._agreed(one, other, alike)
                    continue
                behind, beside = _ahead(one, left), _ahead(other, right)
                plain, its_like = self._comparable(behind, 0), self._comparable(beside, 1)
                taken = self._concurrent(plain, its_like)
                if not taken:
                    one, other, found = self._outermost_input(one, other, found, plain, its_like)
                    return _parting(one, other, found, number, alike, order)
                for pair in zip(plain[:taken], its_like[:taken], strict=True):
                    self._agreed(*pair, alike)
                left = itertools.chain(_without(behind, plain[:taken]), left)
                right = itertools.chain(_without(beside, its_like[:taken]), right)
        finally:
            self.states += states.compared
            for name, why in states.not_compared.items():
                self.not_compared[f"{agent_id}.{name}"] = why
        return None

    def _seen(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            self._same_ids.see(event)
            yield event

    def _next(self, events: Iterator[Event], side: int) -> Event | None:
        """The next event that is compared; what comes before it says what the state is."""
        for event in events:
            if self._is_compared(event, side):
                return event
            self._states.add(side, event)
        return None

    def _is_compared(self, event: Event, side: int) -> bool:
        return event.kind not in PASSED_OVER and event.kind != "state" and self._counts[side](event)

    def _comparable(self, events: Sequence[Event], side: int) -> list[Event]:
        return [event for event in events if self._is_compared(event, side)]

    def _agreed(self, one: Event, other: Event, alike: deque[tuple[Event, Event]]) -> None:
        self.compared += 1
        alike.append((one, other))
        for side, event in enumerate((one, other)):
            self._states.add(side, event)

    def _difference(self, one: Event | None, other: Event | None) -> Difference | None:
        if one is None or other is None or describe(one) != describe(other):
            return Difference(
                "",
                shown(ABSENT) if one is None else describe(one),
                shown(ABSENT) if other is None else describe(other),
            )
        return event_difference(one, other, self._comparison)

    def _concurrent(self, behind: Sequence[Event], beside: Sequence[Event]) -> int:
        """How many pairs agree but for the order of concurrent calls; 0 for none."""
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
        found: Difference | None,
        behind: Sequence[Event],
        beside: Sequence[Event],
    ) -> tuple[Event | None, Event | None, Difference]:
        """A call is written when it ends: where what it was given differs already, that came first."""
        assert found is not None  # noqa: S101 - the caller met a difference
        if one is None or other is None:
            return one, other, found
        for outer, its_like in zip(
            reversed(_around(one, behind)), reversed(_around(other, beside)), strict=False
        ):
            if describe(outer) != describe(its_like):
                continue
            args = self._comparison.difference(_args(outer), _args(its_like), ("",))
            if args is not None:
                return outer, its_like, Difference(f"/args{args.path}", args.recorded, args.replayed)
        return one, other, found


def _args(event: Event) -> Recorded:
    return Recorded(event.extra.get("args"), event.types or {}, "/extra/args")


def _around(event: Event, later: Sequence[Event]) -> list[Event]:
    """The calls around an event among those that ended later, and itself; the innermost first."""
    spans = {each.span_id: each for each in later if each.span_id is not None and each.kind in ACTION_KINDS}
    found = [event] if event.kind in ACTION_KINDS else []
    span_id = event.parent_span_id
    while span_id in spans and len(found) < _REMEMBERED:
        found.append(spans[span_id])
        span_id = spans[span_id].parent_span_id
    return found


def _overlap(events: Sequence[Event]) -> bool:
    """Whether two calls directly under one span ran at the same time."""
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


def _order(event: Event | None, before: Order) -> Order:
    """Where an event of the first run stands; one that it lacks stands where the one before it does."""
    if event is None:
        return before
    # What is told outside of any tick, as the last states are, belongs behind the tick before it.
    return (before[0] if event.tick is None else float(event.tick), *order_key(event))


def _parting(
    one: Event | None,
    other: Event | None,
    found: Difference,
    number: int,
    alike: Sequence[tuple[Event, Event]],
    order: Order,
) -> Parting:
    event = one if one is not None else other
    assert event is not None  # noqa: S101 - one of both is there
    field, path = _field(found.path)
    divergence = RunDivergence(
        tick=event.tick,
        agent_id=event.agent_id,
        action=describe(event).removesuffix(f" of {event.agent_id}"),
        field=field,
        path=path,
        a=found.recorded,
        b=found.replayed,
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
    return Parting(divergence, order)


def _state_parting(
    found: StateDifference, number: int, alike: Sequence[tuple[Event, Event]], order: Order
) -> Parting:
    one, other = found.events
    path = f"/fields/{escape(found.name)}{found.difference.path}"
    told = Difference(path, found.difference.recorded, found.difference.replayed)
    order = _BEHIND_ALL if found.is_patched else _order(one if one is not None else other, order)
    return _parting(one, other, told, number, alike, order)


def _field(path: str) -> tuple[str, str]:
    """A pointer inside an event as people name it: the field, and where in it."""
    if not path:
        return "events", ""
    first, *rest = path.split("/")[1:]
    if first == "state" and rest[:1] == ["set"] and len(rest) > 1:
        return f"state.{unescape(rest[1])}", "".join(f"/{part}" for part in rest[2:])
    if first == "fields" and rest:
        return f"state.{unescape(rest[0])}", "".join(f"/{part}" for part in rest[1:])
    return unescape(first), "".join(f"/{part}" for part in rest)


def _common_cause(event: Event, alike: Sequence[tuple[Event, Event]]) -> CommonCause | None:
    """What both runs had in common last on the way to an event of one of them."""
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
