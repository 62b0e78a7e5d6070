"""What the searches of `debug` share: the question, the counts, and whatever one of them has read already."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from Agent.analysis.causality.event_links import find_event
from Agent.analysis.causality.event_window import Row, order, time_us
from Agent.analysis.debug.causes import Cause, topics_of
from Agent.analysis.debug.changes.activity_series import Overview, Profile
from Agent.analysis.debug.changes.change_candidates import (
    Search,
    SearchRange,
    Trigger,
    fetched,
    onset,
    way_back,
)
from Agent.analysis.debug.changes.change_points import (
    NEVER,
    ROSE,
    Departure,
    find_departures,
    shared_departures,
)
from Agent.analysis.debug.changes.history import (
    ErrorPattern,
    History,
    agents_saying,
    calls_answered,
    last_values,
    read_history,
)
from Agent.analysis.debug.question.question import Question
from Agent.analysis.errors.failures import error_patterns
from Agent.analysis.query.engine import Engine
from Agent.analysis.query.event_dict import event_row
from Agent.errors import AgentNotFound
from Agent.event.clock import parse_timestamp
from Agent.tree.read.reader import TreeReader

MAX_ROWS = 5_000
MAX_SERVICES = 4
_MAX_MEMBERS = 2
_KINDS = frozenset({"system.config", "system.module", "system.init", "phase", "milestone", "log.dropped"})
_LOUD = frozenset({"WARNING", "ERROR", "CRITICAL"})


def surroundings(reader: TreeReader, seen: Overview) -> list[Row]:
    """What was said of no single agent that may change how all behave, in order; the newest 5,000.

    A row without a tick gets that of the bucket of time in which it stands, so that it has a place among the
    agents' events.
    """
    kept: deque[Row] = deque(maxlen=MAX_ROWS)
    for event in chain(reader.category_events("system"), reader.category_events("events")):
        if event.agent_id is None and (event.kind in _KINDS or event.level in _LOUD):
            kept.append(event_row(event))
    rows = sorted(kept, key=order)
    if seen.axis is None or not seen.axis.by_tick:
        return rows
    return [row if row["tick"] is not None else row | {"tick": _tick_of(row, seen)} for row in rows]


def _tick_of(row: Row, seen: Overview) -> int | None:
    """The tick at which the bucket that was running begins, moved by how much of it was over."""
    axis = seen.axis
    if axis is None:
        return None
    at = time_us(row)
    begun = [(us, bucket) for bucket, us in seen.bucket_us.items() if us <= at]
    if not begun:
        return axis.first
    us, bucket = max(begun)
    after = [later for later in seen.bucket_us.values() if later > us]
    share = (at - us) / (min(after) - us) if after else 0.0
    return min(axis.last, axis.start(bucket) + int(share * axis.width))


def services(seen: Overview, affected: list[str]) -> list[str]:
    """Agents that the affected ones may depend on: those of small roles of their own, the busiest first."""
    members: dict[str | None, list[str]] = {}
    for agent, role in seen.roles.items():
        members.setdefault(role, []).append(agent)
    roles = {seen.roles.get(agent) for agent in affected}
    found = [
        agent
        for role, agents in members.items()
        if len(agents) <= _MAX_MEMBERS and role not in roles
        for agent in agents
    ]
    found = [agent for agent in found if agent not in affected]
    return sorted(found, key=lambda agent: (-sum(seen.totals[agent].values()), agent))[:MAX_SERVICES]


MAX_EXAMINED = 5
MAX_PEER_STATES = 100
MAX_PATHS = 3
"""How many leads are followed back to what led to their trigger, the strongest."""
_MIN_ONSET = 4
_SERIES_OF = {"reward": ("reward",), "exploration": ("exploration",), "error": ("error",)}


@dataclass(slots=True)
class Lead:
    """A finding whose trigger is still looked for; `cause` makes the cause of it, with or without one."""

    cause: Callable[[Trigger | None], Cause]
    search: Search | None
    history: History | None
    agent_id: str | None


@dataclass(slots=True)
class Inquiry:
    """One question to one session."""

    reader: TreeReader
    engine: Engine
    question: Question
    seen: Overview
    profile: Profile
    lines: str
    """What stands behind FROM for every line of the session, of `cached_events`."""
    looked_at: list[str] = field(default_factory=list)
    _histories: dict[str, History] = field(default_factory=dict)
    _called: dict[str, list[Row]] | None = None
    _departures: dict[str, list[Departure]] | None = None
    _shared: list[Departure] | None = None
    _surroundings: list[Row] | None = None
    _patterns: list[dict[str, Any]] | None = None

    def history(self, agent_id: str) -> History:
        """The history of an agent, read once."""
        if self._called is None:
            self._called = calls_answered(self.engine, self.lines, self.examined())
        if agent_id not in self._histories:
            called = self._called.get(agent_id, [])
            by_tick = self.profile.axis.by_tick
            try:
                made = read_history(self.reader, agent_id, called, by_tick=by_tick)
            except AgentNotFound:  # it stands in other files only, or was retired meanwhile
                made = History(agent_id, by_tick)
            self._histories[agent_id] = made
        return self._histories[agent_id]

    def suspects(self) -> list[str]:
        """The agents that the text names, else everybody in scope."""
        return list(self.question.agents) or list(self.profile.series)

    def departures(self) -> dict[str, list[Departure]]:
        """The departures that a question can be about, by agent, agents with the least likely first."""
        if self._departures is None:
            suspects = self.suspects()
            found = {}
            asked = self.asked_series()
            for agent_id in suspects:
                own = find_departures(self.profile, agent_id, len(suspects), asked)
                own = [departure for departure in own if self.is_asked(departure)]
                if own:
                    found[agent_id] = own
            self._departures = dict(sorted(found.items(), key=lambda pair: (pair[1][0].chance, pair[0])))
        return self._departures

    def asked_series(self) -> set[str]:
        """The series that the text is about, by their names or by its topics."""
        named = set(self.question.series)
        for topic, kinds in _SERIES_OF.items():
            if topic in self.question.topics:
                named.update(kinds)
        return named

    def shared(self) -> list[Departure]:
        """What changes for many agents at the same time."""
        if self._shared is None:
            self._shared = shared_departures(self.profile)
        return self._shared

    def is_asked(self, departure: Departure) -> bool:
        """Whether the question can be about a departure."""
        named = departure.series in self.question.series or bool(topics_of(departure) & self.question.topics)
        less = {"drop", "absence"} & self.question.topics
        if (
            less
            and departure.sort == ROSE
            and departure.series != "error"
            and departure.measure != "duration"
        ):
            return False  # the text tells of the contrary
        if departure.measure in {"duration", "share"} or departure.sort == NEVER:
            return named and (departure.is_worse or departure.series in self.question.series)
        return departure.is_worse or named

    def examined(self) -> list[str]:
        """The few agents whose every event is read."""
        if self.question.agents:
            return list(self.question.agents)[:MAX_EXAMINED]
        failing = sorted(self.profile.series, key=lambda agent: (-self._failures(agent), agent))
        failing = [agent for agent in failing[:3] if self._failures(agent) >= MAX_EXAMINED]
        return list(dict.fromkeys([*list(self.departures())[:MAX_EXAMINED], *failing]))

    def _failures(self, agent_id: str) -> int:
        return sum(sum(series.failed) for series in self.profile.series[agent_id].values())

    def surroundings(self) -> list[Row]:
        """What was said of no single agent."""
        if self._surroundings is None:
            self._surroundings = surroundings(self.reader, self.seen)
        return self._surroundings

    def around(self, agent_id: str) -> list[Row]:
        """The same, those that name other agents left out."""
        others = self.seen.roles.keys() - {agent_id}
        return [row for row in self.surroundings() if str(row["extra"].get("name")) not in others]

    def services(self) -> list[str]:
        """The few agents that the others use."""
        return services(self.seen, self.suspects() if self.question.agents else [])

    def patterns(self) -> list[dict[str, Any]]:
        """The sorts of errors of the session."""
        if self._patterns is None:
            self._patterns = error_patterns(self.engine)["fingerprints"]
        return self._patterns

    def touched(self, fingerprint: str) -> int:
        """How many agents have errors of a sort."""
        return next((p["agents"] for p in self.patterns() if p["fingerprint"] == fingerprint), 1)

    def event(self, event_id: str, agent_id: str | None) -> Row | None:
        """An event of a known agent, from its files."""
        if agent_id is not None:
            try:
                for event in self.reader.events(agent_id):
                    if event.id == event_id:
                        return event_row(event)
            except AgentNotFound:
                pass  # it stands in a category's file
        return find_event(self.reader, self.engine, event_id)

    def search(self, place: SearchRange | None, series: str, first: Row | None = None) -> Search:
        """A search for what made a change at a place; before its first event, where that is known."""
        # an event without a tick has no place among ticks
        empty = SearchRange(0.0, -1.0, 1.0, 0.0, None, slack=0.0)
        search = Search(place or empty, self.profile.axis, series)
        if first is not None:
            search.before_us, search.first_id = time_us(first), first["id"]
        return search

    def before(self, first: Row, series: str, history: History) -> Search:
        """A search for what set off a thing that began with an event of an agent."""
        search = self.search(onset(first, self.profile.axis), series, first)
        search.look_at(history)
        search.look_around(self.around(history.agent_id), 0.5)
        for service in self.services():
            search.look_at(self.history(service), 0.8)
        return search

    def first_after(self, departure: Departure) -> str | None:
        """The first event of what is done differently from a departure on."""
        if departure.agent_id:
            found = self.profile.get(departure.agent_id, departure.series).first_ids
            return found.get(departure.bucket)
        ids = [own[departure.series].first_ids.get(departure.bucket) for own in self.profile.series.values()
               if departure.series in own]  # fmt: skip
        return min((each for each in ids if each is not None), default=None)

    def onset_chance(self, pattern: ErrorPattern) -> float:
        """How often chance alone leaves the session's beginning free of an agent's errors of one sort."""
        return self._late(time_us(pattern.first), pattern.count)

    def pattern_chance(self, pattern: dict[str, Any]) -> float:
        """The same for a sort of errors of all agents."""
        return self._late(parse_timestamp(pattern["first_seen"]), pattern["count"])

    def _late(self, first_us: int, count: int) -> float:
        times = self.seen.bucket_us.values()
        if count < _MIN_ONSET or not times:
            return 1.0
        begin, end = self.seen.ends_us or (min(times), max(times))
        share = (end - first_us) / max(1, end - begin)
        # one sort among several was bound to begin late
        return float(min(1.0, max(share, 0.0) ** (count - 1) * max(1, len(self.patterns()))))

    def causes_of(self, leads: list[Lead]) -> list[Cause]:
        """The causes of all leads, each with the trigger that fits it best."""
        wanted = {each.field for lead in leads if lead.search for each in lead.search.fields}
        peers = {
            peer
            for lead in leads
            if lead.agent_id
            for peer in self.profile.peers(lead.agent_id)[:MAX_PEER_STATES]
        }
        values = last_values(self.engine, self.lines, sorted(peers), sorted(wanted))
        messages = {each for lead in leads if lead.search for each in lead.search.messages(lead.agent_id)}
        saying = agents_saying(self.engine, self.lines, sorted(peers), sorted(messages))
        found = []
        for lead in leads:
            own = {} if lead.agent_id is None else {
                peer: values.get(peer, {}) for peer in self.profile.peers(lead.agent_id)[:MAX_PEER_STATES]
            }  # fmt: skip
            best = lead.search.best(own, saying) if lead.search is not None else None
            row = fetched(best, self.reader) if best is not None else None
            trigger = (
                Trigger(row, best.rule, best.told, best.score)
                if best is not None and row is not None
                else None
            )
            found.append((lead.cause(trigger), lead, trigger))
        found.sort(key=lambda each: (-each[0].confidence, each[0].title))
        return [self._with_path(*each) if place < MAX_PATHS else each[0] for place, each in enumerate(found)]

    def _with_path(self, cause: Cause, lead: Lead, trigger: Trigger | None) -> Cause:
        """The cause with what led to its trigger."""
        if trigger is None or lead.search is None:
            return cause
        path = way_back(
            trigger.row,
            lead.search.place,
            lead.history,
            self.profile.axis,
            self.reader,
            self.engine,
            self.lines,
        )
        return (
            lead.cause(Trigger(trigger.row, trigger.rule, trigger.told, trigger.score, path))
            if path
            else cause
        )
