"""The searches that `debug` makes in a session: each gives causes, and notes in words what it looked at."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from Agent.analysis.causes import (
    Cause,
    departure_cause,
    errors_cause,
    in_flight_cause,
    loop_cause,
    times,
    topics_of,
)
from Agent.analysis.departures import NEVER, Departure, find_departures
from Agent.analysis.engine import Engine
from Agent.analysis.failures import FINGERPRINT
from Agent.analysis.history import History, read_history
from Agent.analysis.integrity import in_flight
from Agent.analysis.question import Question
from Agent.analysis.series import Overview, Profile
from Agent.analysis.text import plural
from Agent.analysis.triggers import find_trigger, place_of
from Agent.analysis.views import IS_ERROR, scan
from Agent.event.clock import format_timestamp
from Agent.tree.reader import TreeReader

MAX_EXAMINED = 5
MAX_PEER_STATES = 100
_SAME_PLACE_BUCKETS = 2


@dataclass(slots=True)
class Inquiry:
    """What the searches share: the question, the counts, and what was read already."""

    reader: TreeReader
    engine: Engine
    question: Question
    seen: Overview
    profile: Profile
    looked_at: list[str] = field(default_factory=list)
    _histories: dict[str, History] = field(default_factory=dict)
    _departures: dict[str, list[Departure]] | None = None

    def history(self, agent_id: str) -> History:
        """The history of an agent, read once."""
        if agent_id not in self._histories:
            self._histories[agent_id] = read_history(
                self.reader, self.engine, agent_id, by_tick=self.profile.axis.by_tick
            )
        return self._histories[agent_id]

    def suspects(self) -> list[str]:
        """The agents that the text names, else everybody in scope."""
        return list(self.question.agents) or list(self.profile.series)

    def departures(self) -> dict[str, list[Departure]]:
        """The departures that a question can be about, by agent, agents with the least likely first."""
        if self._departures is None:
            suspects = self.suspects()
            found = {}
            for agent_id in suspects:
                own = find_departures(self.profile, agent_id, len(suspects))
                own = [departure for departure in own if self._is_asked(departure)]
                if own:
                    found[agent_id] = own
            self._departures = dict(sorted(found.items(), key=lambda pair: (pair[1][0].chance, pair[0])))
        return self._departures

    def _is_asked(self, departure: Departure) -> bool:
        named = departure.series in self.question.series or bool(topics_of(departure) & self.question.topics)
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


def departure_causes(inquiry: Inquiry) -> list[Cause]:
    """A cause for every place at which an agent's behaviour changes."""
    suspects = inquiry.suspects()
    axis = inquiry.profile.axis
    unit = "ticks" if axis.by_tick else "time"
    inquiry.looked_at.append(
        f"how often {plural(len(suspects), 'agent')} did each of "
        f"{plural(len(inquiry.seen.names), 'thing')} over "
        f"{axis.buckets} spans of {unit}, against {'its' if len(suspects) == 1 else 'their'} own past and "
        f"the other agents of the same role ({plural(len(inquiry.profile.series), 'agent')} counted)"
    )
    causes = []
    for agent_id, departures in list(inquiry.departures().items())[:MAX_EXAMINED]:
        history = inquiry.history(agent_id)
        peers = inquiry.profile.peers(agent_id)[:MAX_PEER_STATES]
        for group in _by_place(departures, inquiry.question):
            place = place_of(group[0], history, axis)
            trigger = None
            if group[0].sort != NEVER:
                trigger = find_trigger(group[0], history, axis, inquiry.engine, peers)
            silent = place.last is not None and max(history.steps) <= place.until < axis.last
            causes.append(departure_cause(group, place, trigger, inquiry.question, axis, silent=silent))
    return causes


def _by_place(departures: list[Departure], question: Question) -> list[list[Departure]]:
    """Departures at one place, as groups; in each, first what the text names, then actions."""
    groups: list[list[Departure]] = []
    for departure in sorted(departures, key=lambda d: (d.bucket, d.chance)):
        last = groups[-1] if groups else None
        same_kind = last is not None and (departure.sort == NEVER) == (last[0].sort == NEVER)
        if last is not None and same_kind and departure.bucket - last[-1].bucket <= _SAME_PLACE_BUCKETS:
            last.append(departure)
        else:
            groups.append([departure])
    for group in groups:
        group.sort(
            key=lambda d: (
                d.series not in question.series and not topics_of(d) & question.topics,
                not d.series.startswith("action:"),
                d.chance,
                d.series,
            )
        )
    return groups


def loop_causes(inquiry: Inquiry) -> list[Cause]:
    """A cause for every call that is made again and again."""
    examined = inquiry.examined()
    causes = []
    for agent_id in examined:
        peers = inquiry.profile.peers(agent_id)
        for loop in inquiry.history(agent_id).loops[:3]:
            names = (f"action:{loop.name}", f"tool:{loop.name}")
            alike = sum(1 for peer in peers if _failed(inquiry.profile, peer, names) * 2 >= loop.count)
            causes.append(loop_cause(loop, inquiry.question, alike if loop.failing else 0, len(peers)))
    if examined:
        inquiry.looked_at.append(
            f"calls repeated alike by {_list(examined)}, and those that others answered for them"
        )
    return causes


def _failed(profile: Profile, agent_id: str, names: tuple[str, ...]) -> int:
    return sum(sum(profile.get(agent_id, name).failed) for name in names)


def error_causes(inquiry: Inquiry) -> list[Cause]:
    """A cause for each examined agent with more errors than its peers, or where the text asks for errors."""
    examined = inquiry.examined()
    causes = []
    for agent_id in examined:
        count = sum(inquiry.profile.get(agent_id, "error").counts)
        if not count:
            continue
        peers = inquiry.profile.peers(agent_id)
        usual = sum(sum(inquiry.profile.get(peer, "error").counts) for peer in peers) / max(1, len(peers))
        if count > usual + 2 or "error" in inquiry.question.topics:
            pattern = _commonest_error(inquiry.engine, agent_id)
            causes.append(errors_cause(agent_id, count, usual, len(peers), pattern, inquiry.question))
    if examined:
        inquiry.looked_at.append(f"the errors of {_list(examined)} beside those of their peers")
    return causes


def _commonest_error(engine: Engine, agent_id: str) -> dict[str, Any]:
    first = "(ts_us, writer, seq)"
    keys = ("error_type", "error_message", "fingerprint", "error_id")
    row = engine.row(
        f"SELECT {FINGERPRINT} AS pattern, arg_min(message, {first}) AS message, count(*) AS count, "
        f"min(timestamp) AS first_seen, max(timestamp) AS last_seen, arg_max(id, {first}) AS example_id "
        f"FROM {scan(*keys)} WHERE {IS_ERROR} AND agent_id = ? GROUP BY pattern ORDER BY count DESC, "
        "first_seen LIMIT 1",
        [agent_id],
    )
    words = [word.lower() for word in str(row["message"]).replace(":", " ").split()]
    return row | {"words": words}


def open_span_causes(inquiry: Inquiry) -> list[Cause]:
    """A cause for every open span of a named agent, or for the oldest ones where none is named."""
    spans = in_flight(inquiry.reader)
    named = inquiry.question.agents
    wanted = [span for span in spans if not named or span["agent_id"] in named]
    inquiry.looked_at.append(f"{plural(len(spans), 'span')} begun and not ended")
    return [in_flight_cause(span, inquiry.question) for span in wanted[:3]]


def observations(inquiry: Inquiry) -> list[str]:
    """What the record says of the things that the text names, whether or not anything is wrong with them."""
    told = []
    profile = inquiry.profile
    for agent_id in list(inquiry.question.agents)[:MAX_EXAMINED]:
        peers = profile.peers(agent_id)
        for name in inquiry.question.series[:4]:
            count = sum(profile.get(agent_id, name).counts)
            others = sorted(sum(profile.get(peer, name).counts) for peer in peers)
            if not count and not any(others):
                continue
            line = f"{agent_id} {times(name, count)}"
            last = inquiry.history(agent_id).last.get(name)
            if last is not None:
                at = f"tick {last.tick}" if last.tick is not None else format_timestamp(last.us)
                line += f", last at {at} (event {last.id})"
            if others:
                line += f"; its {plural(len(others), 'peer')} {others[0]} to {others[-1]}"
            told.append(line + ".")
        count = sum(profile.get(agent_id, "error").counts)
        if count:
            pattern = _commonest_error(inquiry.engine, agent_id)
            told.append(
                f"{agent_id} has {plural(count, 'error')}, most often {pattern['message']!r} "
                f"({pattern['count']} times, last at {pattern['last_seen']}, event {pattern['example_id']})."
            )
    return told


def _list(agents: list[str]) -> str:
    return ", ".join(agents[:3]) + (f" and {len(agents) - 3} more" if len(agents) > 3 else "")
