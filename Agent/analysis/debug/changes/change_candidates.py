"""What happened where behaviour changed: the field, update, message, setting or failure that fits best.

A trigger's score is what it is worth x how new it was for its agent x whether it lasted x how near it stood.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from Agent.analysis.causality.chains import INFERRED, Edge, chain, is_failure
from Agent.analysis.causality.event_links import Links
from Agent.analysis.causality.event_window import Row, time_us
from Agent.analysis.debug.changes.activity_series import Axis
from Agent.analysis.debug.changes.change_points import MIN_PEERS, STOPPED, Departure
from Agent.analysis.debug.changes.history import EventMoment, FieldChange, History
from Agent.analysis.debug.changes.outlier_score import lasting, novelty, peer_values, share_alike, told_change
from Agent.analysis.query.engine import Engine
from Agent.analysis.text import told_setting
from Agent.tree.read.reader import TreeReader

MIN_SCORE = 0.15
_MAX_FIELDS = 6
_WORTH = {
    "strategy_update": 0.8,
    "state_change": 0.8,
    "policy_update": 0.5,
    "learning_update": 0.45,
    "agent_message": 0.3,
    "system.config": 0.9,
    "system.module": 0.6,
    "system.init": 0.5,
    "phase": 0.4,
    "milestone": 0.3,
    "log": 0.45,
}
_FAILURE_WORTH = 0.5
_NEW_SHAPE_WORTH = 0.75
"""A message, update or setting of a form that none before it had."""
_TOLD_BY_MESSAGE = {"state_change", "log"}
"""Of these the message says what happened; of others it only says that there was one."""
_GAPS_BACK = 3
_MANY_SHAPES = 2


@dataclass(frozen=True, slots=True)
class SearchRange:
    """Where to look: what made the change stands between `at` and `until`, or up to `margin` around."""

    at: float
    until: float
    gap: float
    """How far apart such things usually are."""
    margin: float
    last: EventMoment | None
    """The last thing done before it stopped."""
    slack: float | None = None
    """How far behind `until` it may stand; None for the margin."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """The event that fits a change best, in words, and what led to it."""

    row: Row
    rule: str
    told: str
    score: float
    path: tuple[tuple[Row, Edge], ...] = ()
    """The way back to the failure or message behind it: each cause with the edge to what it caused."""


def place_of(departure: Departure, history: History | None, axis: Axis) -> SearchRange:
    """Where the change stands, as exactly as the events tell."""
    if history is not None and departure.measure == "count" and departure.sort == STOPPED:
        places = history.places[departure.series]
        if places:
            gaps = [later - earlier for earlier, later in pairwise(places)]
            gap = max(1.0, statistics.median(gaps)) if gaps else 1.0
            # The thing was due again after the longest pause it ever made, at the latest.
            until = places[-1] + max([gap, *gaps])
            return SearchRange(
                float(places[-1]), until, gap, _GAPS_BACK * gap, history.last[departure.series]
            )
    first, last = departure.plausible or (departure.bucket, departure.bucket)
    start, width = axis.start(first), float(axis.width)
    return SearchRange(float(start), axis.start(last) + width, width, _GAPS_BACK * width, None)


def onset(row: Row, axis: Axis) -> SearchRange | None:
    """The place of a thing that began with an event: what made it stands before it."""
    at = row["tick"] if axis.by_tick else time_us(row)
    if at is None:
        return None
    gap = max(1.0, axis.width / 2) if axis.by_tick else max(1.0, float(axis.width))
    return SearchRange(float(at) - gap, float(at), gap, _GAPS_BACK * gap, None, slack=0.0)


@dataclass(slots=True)
class Search:
    """Candidates for what made one change; `best` weighs them beside the peers' last values."""

    place: SearchRange
    axis: Axis
    series: str
    """The series that changed: its own events explain nothing."""
    before_us: int | None = None
    """Nothing that ends later than this made it, where that is known exactly."""
    first_id: str | None = None
    marks: list[_Candidate] = field(default_factory=list)
    fields: list[_FieldTrigger] = field(default_factory=list)

    def look_at(self, history: History, weight: float = 1.0) -> None:
        """Take what an agent's history holds near the place."""
        self._mark(history.marks, history.forgotten, weight)
        found = [
            each
            for each in _field_triggers(history, self.place, weight)
            if each.score >= MIN_SCORE and self._is_early(each.change.moment.us)
        ]
        self.fields = sorted([*self.fields, *found], key=lambda each: -each.score)[:_MAX_FIELDS]

    def look_around(self, rows: Sequence[Row], weight: float) -> None:
        """Take what was said of no single agent near the place."""
        self._mark(rows, Counter(), weight)

    def _is_early(self, us: int) -> bool:
        # what its first event itself left changed is looked at, too: it may have been so on entry
        return self.before_us is None or us <= self.before_us

    def _mark(self, rows: Iterable[Row], forgotten: Counter[str], weight: float) -> None:
        usual = forgotten.copy()
        known: dict[str, Counter[str]] = {}
        begin = self.place.at - self.place.margin
        for row in rows:
            at = row["tick"] if self.axis.by_tick else time_us(row)
            kind = row["event_type"]
            shapes = known.setdefault(kind, Counter())
            near = _nearness(at, self.place)
            if (
                near > 0.0
                and not self._is_own(row)
                and self._is_early(time_us(row))
                and row["id"] != self.first_id
            ):
                score = near * _worth(row, usual[kind], shapes) * weight
                if score >= MIN_SCORE:
                    rule = "failure_before_change" if is_failure(row) else f"{kind}_before_change"
                    self.marks.append(_Candidate(row["id"], rule, _told_mark(row), score, row))
            shapes[_shape(row)] += 1
            if at is not None and at < begin:
                usual[kind] += 1

    def _is_own(self, row: Row) -> bool:
        direction = f"message:{row['extra'].get('direction')}"
        return self.series in {row["event_type"], direction} or (self.series == "error" and is_failure(row))

    def messages(self, agent_id: str | None) -> set[str]:
        """What an agent's own candidates say where the words tell what it was."""
        return {mark.row["message"] for mark in self.marks if mark.row and _says_what(mark.row, agent_id)}

    def best(
        self, values: Mapping[str, Mapping[str, Any]], saying: Mapping[str, Collection[str]]
    ) -> _Candidate | None:
        """The candidate that fits best.

        Args:
            values: the last ones of the peers' fields, by peer.
            saying: which agents have events with the messages of the candidates.
        """
        candidates = [
            *(_unlike_peers(mark, values.keys(), saying) for mark in self.marks),
            *(_beside_peers(found, values) for found in self.fields),
        ]
        candidates = [found for found in candidates if found.score >= MIN_SCORE]
        # among equals the earlier one made the later one
        best = max(candidates, key=lambda found: (round(found.score, 6), found.event_id), default=None)
        return best if best is None or best.row is not None else self._setting_of(best)

    def _setting_of(self, found: _Candidate) -> _Candidate:
        """The setting of its name and value that a changed field took over; itself if there is none."""
        field = next((each for each in self.fields if each.change.moment.id == found.event_id), None)
        if field is None:
            return found
        taken_over = field.field.lstrip("_"), field.change.value
        for mark in self.marks:
            row = mark.row
            if row is None or time_us(row) > field.change.moment.us:
                continue
            if (row["extra"].get("name"), row["extra"].get("new_value")) == taken_over:
                return replace(mark, score=found.score)
        return found


@dataclass(frozen=True, slots=True)
class _Candidate:
    event_id: str
    rule: str
    told: str
    score: float
    row: Row | None = None
    agent_id: str | None = None
    us: int = 0


def fetched(found: _Candidate, reader: TreeReader) -> Row | None:
    """The event of a candidate; None if it was retired since its agent's events were read."""
    from Agent.analysis.query.event_dict import event_row

    if found.row is not None or found.agent_id is None:
        return found.row
    for event in reader.events(found.agent_id, since_us=found.us, until_us=found.us + 1):
        if event.id == found.event_id:
            return event_row(event)
    return None


def _worth(row: Row, usual: int, shapes: Counter[str]) -> float:
    """What happened all the time before explains no change; what begins here, or is unlike it, may."""
    kind = row["event_type"]
    worth = _FAILURE_WORTH if is_failure(row) else _WORTH.get(kind, 0.0)
    rarity = 1.0 / (1.0 + 0.25 * usual)
    many = sum(shapes.values())
    if (
        many >= _MANY_SHAPES
        and not is_failure(row)
        and shapes[_shape(row)] == 0
        and 4 * len(shapes) <= many + 4
    ):
        return max(worth * rarity, _NEW_SHAPE_WORTH * (1.0 if many > _MANY_SHAPES else 0.85))
    return worth * rarity


_SHAPED = ("body", "policy_data", "update_data", "new_strategy", "new_value", "data", "strategy_type", "name")


def _shape(row: Row) -> str:
    """The form of what an event says: its keys, flags and words; of numbers their sign and magnitude."""
    extra = row["extra"]
    return repr([_form(extra[key]) for key in _SHAPED if key in extra])


def _form(value: Any, depth: int = 0) -> Any:
    if isinstance(value, dict) and depth < 3:
        return sorted((str(key), repr(_form(inner, depth + 1))) for key, inner in value.items())
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        if value == 0 or value != value or abs(value) == float("inf"):
            return repr(value)
        return (value > 0) - (value < 0), max(0, math.floor(math.log10(abs(value)) + 1))
    return type(value).__name__


def _told_mark(row: Row) -> str:
    extra, kind = row["extra"], row["event_type"]
    if kind == "system.config":
        return told_setting(extra, repr)
    if kind == "agent_message":
        return f"there was {row['message']!r} from {extra.get('sender')}"
    return f"there was {row['message']!r}"


def _says_what(row: Row, agent_id: str | None) -> bool:
    return row["agent_id"] == agent_id and (row["event_type"] in _TOLD_BY_MESSAGE or is_failure(row))


def _unlike_peers(
    mark: _Candidate, peers: Collection[str], saying: Mapping[str, Collection[str]]
) -> _Candidate:
    """The candidate, worth less the more peers said the same and went on as before."""
    if mark.row is None or len(peers) < MIN_PEERS:
        return mark
    alike = len(set(peers).intersection(saying.get(mark.row["message"], ())))
    return replace(mark, score=mark.score * (1.0 - alike / len(peers)))


def _nearness(at: int | None, place: SearchRange) -> float:
    """1 where the change must have been made, a half two gaps away, 0 beyond the margin."""
    slack = place.margin if place.slack is None else place.slack
    if at is None or not place.at - place.margin <= at <= place.until + slack:
        return 0.0
    return 1.0 / (1.0 + max(place.at - at, at - place.until, 0.0) / (2 * place.gap))


@dataclass(frozen=True, slots=True)
class _FieldTrigger:
    agent_id: str
    field: str
    change: FieldChange
    told: str
    score: float


def _field_triggers(history: History, place: SearchRange, weight: float = 1.0) -> Iterator[_FieldTrigger]:
    for name, changes in history.fields.items():
        for n, change in enumerate(changes):
            near = _nearness(change.moment.position(history.by_tick), place)
            if n == 0 or near == 0.0:
                continue
            score = near * novelty(changes, n) * lasting(changes, n) * weight
            yield _FieldTrigger(history.agent_id, name, change, told_change(name, changes, n), score)


def _beside_peers(found: _FieldTrigger, values: Mapping[str, Mapping[str, Any]]) -> _Candidate:
    """The candidate, worth less the more peers end with the same value."""
    moment = found.change.moment
    score = found.score * (1.0 - share_alike(found.field, found.change, values))
    told = found.told + peer_values(found.field, values)
    return _Candidate(moment.id, "state_before_change", told, score, None, found.agent_id, moment.us)


def way_back(
    row: Row,
    place: SearchRange,
    history: History | None,
    axis: Axis,
    reader: TreeReader,
    engine: Engine,
    lines: str | None = None,
) -> tuple[tuple[Row, Edge], ...]:
    """The edges from an event back to the failure with the fewest guesses, else along what is recorded."""
    until = time_us(row)
    since = _since(row, place, history, axis, until)
    links = Links(reader, engine, since, until, max_queries=1, lines=lines)
    found = {
        cause["id"]: cause
        for cause in chain(row, links, since_us=links.since_us, rules=_TO_A_FAILURE, max_inferred=1)
    }
    failures = [cause for cause in found.values() if is_failure(cause)]
    if is_failure(row) and row["event_type"] == "error":
        failures = []
    if failures:
        origin = min(
            failures,
            key=lambda cause: (
                cause["inferred_hops"],
                cause["event_type"] != "error",
                cause["hops"],
                cause["id"],
            ),
        )
    else:
        named = [cause for cause in found.values() if _is_named(cause, found, row["id"])]
        if not named:
            return ()
        origin = max(named, key=lambda cause: (cause["hops"], cause["id"]))
    path: list[tuple[Row, Edge]] = []
    walk = origin["id"]
    while walk != row["id"]:
        edge = Edge(**found[walk]["edge"])
        path.append((found[walk], edge))
        walk = edge.effect_id
    return tuple(reversed(path))


def _is_named(cause: Row, found: Mapping[str, Row], end: str) -> bool:
    """Whether every step from an event to the end is one that the program recorded as a cause."""
    while True:
        edge = cause["edge"]
        if edge["rule"] not in {"cause", "message", "error"}:
            return False
        if edge["effect_id"] == end:
            return True
        cause = found[edge["effect_id"]]


# Of the guesses only these lead to a failure that means something; "the last change" is nearly always there.
_TO_A_FAILURE = frozenset({"error_before", "message_before_decision"})


def _since(row: Row, place: SearchRange, history: History | None, axis: Axis, until: int) -> int:
    """A few gaps before an event, as a time."""
    at = row["tick"] if axis.by_tick else time_us(row)
    if at is None or history is None:
        return until - 60_000_000
    if not axis.by_tick:
        return until - round(_GAPS_BACK * place.gap)
    since = history.time_at(at - _GAPS_BACK * place.gap)
    return until - 60_000_000 if since is None else min(since, until)


def trigger_edge(trigger: Trigger, effect_id: str, told: str) -> Edge:
    """The guess that the trigger made the change."""
    return Edge(trigger.row["id"], effect_id, INFERRED, trigger.rule, told)
