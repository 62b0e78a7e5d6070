"""What happened to an agent where its behaviour changed: the field, update or failure that fits best.

A trigger's score is what it is worth x how new it was for the agent x whether it lasted x how near it stood.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from Agent.analysis.causality import INFERRED, Edge, chain, is_failure
from Agent.analysis.departures import STOPPED, Departure
from Agent.analysis.engine import Engine
from Agent.analysis.history import FieldChange, History, Moment, last_values, position
from Agent.analysis.series import Axis
from Agent.analysis.window import Row, load_event, load_window, time_us

MIN_SCORE = 0.15
_MAX_FIELDS = 6
_WORTH = {"strategy_update": 0.8, "policy_update": 0.5, "learning_update": 0.45, "agent_message": 0.3}
_FAILURE_WORTH = 0.5
_GAPS_BACK = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look: what made the change stands between `at` and `until`, or up to `margin` around."""

    at: float
    until: float
    gap: float
    """How far apart such things usually are."""
    margin: float
    last: Moment | None
    """The last thing done before it stopped."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """The event that fits a departure best, in words, and what led to it."""

    row: Row
    rule: str
    told: str
    score: float
    path: tuple[tuple[Row, Edge], ...] = ()
    """The way back to the failure behind it: each cause with the edge to what it caused."""


def place_of(departure: Departure, history: History, axis: Axis) -> Place:
    """Where the change stands, as exactly as the events tell."""
    if departure.measure == "count" and departure.sort == STOPPED:
        places = history.places[departure.series]
        if places:
            gaps = [later - earlier for earlier, later in pairwise(places)]
            gap = max(1.0, statistics.median(gaps)) if gaps else 1.0
            # The thing was due again after the longest pause it ever made, at the latest.
            until = places[-1] + max([gap, *gaps])
            return Place(float(places[-1]), until, gap, _GAPS_BACK * gap, history.last[departure.series])
    start, width = axis.start(departure.bucket), float(axis.width)
    return Place(float(start), start + width, width, _GAPS_BACK * width, None)


def find_trigger(
    departure: Departure, history: History, axis: Axis, engine: Engine, peers: Sequence[str]
) -> Trigger | None:
    """The best trigger of a departure, with the failure behind it if there is one; None if nothing fits."""
    place = place_of(departure, history, axis)
    marks = _mark_triggers(history, place, axis, departure)
    fields = [found for found in _field_triggers(history, place) if found.score >= MIN_SCORE]
    fields = sorted(fields, key=lambda found: -found.score)[:_MAX_FIELDS]
    values = last_values(engine, peers, sorted({found.field for found in fields}))
    candidates = [*marks, *(_beside_peers(found, values) for found in fields)]
    candidates = [found for found in candidates if found.score >= MIN_SCORE]
    if not candidates:
        return None
    best = max(candidates, key=lambda found: (found.score, found.event_id))
    row = load_event(engine, best.event_id)
    if row is None:  # retired since its agent's events were read
        return None
    path = _way_to_failure(row, place, history, axis, engine)
    return Trigger(row, best.rule, best.told, best.score, path)


@dataclass(frozen=True, slots=True)
class _Candidate:
    event_id: str
    rule: str
    told: str
    score: float


def _nearness(at: int | None, place: Place) -> float:
    """1 where the change must have been made, a half two gaps away, 0 beyond the margin."""
    if at is None or not place.at - place.margin <= at <= place.until + place.margin:
        return 0.0
    return 1.0 / (1.0 + max(place.at - at, at - place.until, 0.0) / (2 * place.gap))


@dataclass(frozen=True, slots=True)
class _FieldTrigger:
    field: str
    change: FieldChange
    told: str
    score: float


def _field_triggers(history: History, place: Place) -> Iterator[_FieldTrigger]:
    for name, changes in history.fields.items():
        for n, change in enumerate(changes):
            near = _nearness(change.moment.position(history.by_tick), place)
            if n == 0 or near == 0.0:
                continue
            score = near * _novelty(changes, n) * _lasting(changes, n)
            told = f"it set {name} from {_told(changes[n - 1])} to {_told(change)}"
            told += ", where it stayed" if n == len(changes) - 1 else ""
            yield _FieldTrigger(name, change, told, score)


def _beside_peers(found: _FieldTrigger, values: Mapping[str, Mapping[str, Any]]) -> _Candidate:
    """The candidate, worth less the more peers end with the same value."""
    score = found.score * (1.0 - _share_alike(found.field, found.change, values))
    told = found.told + _peer_values(found.field, values)
    return _Candidate(found.change.moment.id, "state_before_change", told, score)


def _novelty(changes: list[FieldChange], n: int) -> float:
    """How unlike everything before it a change of a field is, 0 to 1."""
    change, before = changes[n], changes[:n]
    number, numbers = change.number, [known.number for known in before]
    known_numbers = [value for value in numbers if value is not None]
    if number is None or len(known_numbers) < len(before):
        seen = any(known.value == change.value for known in before)
        return 0.2 if seen else 1.0 / (1.0 + 0.1 * (len(before) - 1))
    others = [*_steps(changes[:n]), *_steps(changes[n:])]
    if len(others) < 3:
        # A field that hardly ever moves says much when it does.
        return 0.9 if number not in known_numbers else 0.3
    low, high = min(known_numbers), max(known_numbers)
    step = abs(number - known_numbers[-1])
    largest = max(others) or 1e-12
    if low <= number <= high:
        return 0.2 if step <= largest else 0.5
    # A counter is always beyond everything before it; only a leap says something.
    return max(0.0, min(1.0, (step / largest - 1.5) / 1.5))


def _steps(changes: list[FieldChange]) -> list[float]:
    """How far a field moved at each of its changes."""
    numbers = [known.number for known in changes]
    return [abs(b - a) for a, b in pairwise(numbers) if a is not None and b is not None]


def _lasting(changes: list[FieldChange], n: int) -> float:
    """Whether a field stayed where the change took it, 0.2 to 1; 0.6 if it never came back, but moved on."""
    change, later = changes[n], changes[n + 1 :]
    if not later:
        return 1.0
    before = [known.number for known in changes[:n] if known.number is not None]
    after = [known.number for known in [change, *later] if known.number is not None]
    if before and len(after) == len(later) + 1 and (min(after) > max(before) or max(after) < min(before)):
        return 0.6
    stayed = sum(1 for known in later if known.value == change.value)
    return 0.2 + 0.5 * stayed / len(later)


def _share_alike(name: str, change: FieldChange, peers: Mapping[str, Mapping[str, Any]]) -> float:
    """The share of peers whose field ends at the same value: what all have explains nothing."""
    values = [fields[name] for fields in peers.values() if name in fields]
    if len(values) < 3:
        return 0.0
    number = change.number
    if number is not None:
        finals = [value for value in map(_number, values) if value is not None]
        alike = sum(1 for value in finals if abs(value - number) <= 0.25 * abs(number))
        # A value between those of the peers is an ordinary one.
        ordinary = 0.4 if finals and min(finals) <= number <= max(finals) else 0.0
        return max(ordinary, alike / len(values))
    return sum(1 for value in values if value == change.value) / len(values)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return float(len(value)) if isinstance(value, list | dict) else None


def _told(change: FieldChange) -> str:
    if change.size is not None:
        return f"{change.size} items"
    return repr(change.value) if isinstance(change.value, str) else str(change.value)


def _peer_values(name: str, peers: Mapping[str, Mapping[str, Any]]) -> str:
    numbers = sorted(value for fields in peers.values() if (value := _number(fields.get(name))) is not None)
    if len(numbers) < 3:
        return ""
    return f" (its peers end between {numbers[0]:g} and {numbers[-1]:g})"


def _mark_triggers(history: History, place: Place, axis: Axis, departure: Departure) -> Iterator[_Candidate]:
    # What happened all the time before explains no change; what begins here may.
    usual = history.forgotten.copy()
    for row in history.marks:
        at = position(row, axis.by_tick)
        if at is not None and at < place.at - place.margin:
            usual[row["event_type"]] += 1
    for row in history.marks:
        near = _nearness(position(row, axis.by_tick), place)
        kind = row["event_type"]
        if near == 0.0 or departure.series in {kind, f"message:{row['extra'].get('direction')}"}:
            continue
        if departure.series == "error" and is_failure(row):
            continue
        rarity = 1.0 / (1.0 + 0.25 * usual[kind])
        worth = _FAILURE_WORTH if is_failure(row) else _WORTH.get(kind, 0.0)
        told = f"there was {row['message']!r}"
        rule = "failure_before_change" if is_failure(row) else f"{kind}_before_change"
        yield _Candidate(row["id"], rule, told, near * worth * rarity)


def _way_to_failure(
    row: Row, place: Place, history: History, axis: Axis, engine: Engine
) -> tuple[tuple[Row, Edge], ...]:
    """The edges from an event back to the failure that takes the fewest guesses; empty if none is near."""
    if is_failure(row) and row["event_type"] == "error":
        return ()
    until = time_us(row)
    since = _since(row, place, history, axis, until)
    found = {cause["id"]: cause for cause in _chain(row, engine, since, until)}
    failures = [cause for cause in found.values() if is_failure(cause)]
    if not failures:
        return ()
    best = min(
        failures,
        key=lambda cause: (
            cause["inferred_hops"],
            cause["event_type"] != "error",
            cause["hops"],
            cause["id"],
        ),
    )
    path: list[tuple[Row, Edge]] = []
    walk = best["id"]
    while walk != row["id"]:
        edge = Edge(**found[walk]["edge"])
        path.append((found[walk], edge))
        walk = edge.effect_id
    return tuple(reversed(path))


# Of the guesses only these lead to a failure that means something; "the last change" is nearly always there.
_TO_A_FAILURE = frozenset({"error_before", "message_before_decision"})


def _chain(row: Row, engine: Engine, since: int, until: int) -> list[dict[str, Any]]:
    window = load_window(engine, since, until)
    return chain(row, window, since_us=since, rules=_TO_A_FAILURE, max_inferred=1)


def _since(row: Row, place: Place, history: History, axis: Axis, until: int) -> int:
    """A few gaps before an event, as a time."""
    at = position(row, axis.by_tick)
    if at is None:
        return until - 60_000_000
    if not axis.by_tick:
        return until - round(_GAPS_BACK * place.gap)
    since = history.time_at(at - _GAPS_BACK * place.gap)
    return until - 60_000_000 if since is None else min(since, until)


def trigger_edge(trigger: Trigger, effect_id: str, told: str) -> Edge:
    """The guess that the trigger made the change."""
    return Edge(trigger.row["id"], effect_id, INFERRED, trigger.rule, told)
