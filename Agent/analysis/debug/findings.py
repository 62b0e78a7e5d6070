"""The searches that `debug` makes in a session: each gives causes, and notes in words what it looked at."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import partial

from Agent.analysis.causality.event_window import Row, order
from Agent.analysis.debug.causes import Cause, departure_cause, shared_cause, times, topics_of
from Agent.analysis.debug.changes.activity_series import Profile
from Agent.analysis.debug.changes.change_candidates import onset, place_of
from Agent.analysis.debug.changes.change_points import NEVER, Departure, is_alike
from Agent.analysis.debug.changes.history import ErrorPattern, History
from Agent.analysis.debug.failure_causes import errors_cause, in_flight_cause, loop_cause, shared_errors_cause
from Agent.analysis.debug.investigation import MAX_EXAMINED, Inquiry, Lead
from Agent.analysis.debug.loops import Loop
from Agent.analysis.debug.question.question import Question
from Agent.analysis.session.integrity import in_flight
from Agent.analysis.text import plural
from Agent.event.clock import format_timestamp

_SAME_PLACE_BUCKETS = 2
_MAX_SHARED = 3
_MAX_PATTERNS = 6
_NEW = 0.05


def departure_leads(inquiry: Inquiry) -> list[Lead]:
    """A lead for every place at which an agent's behaviour changes."""
    suspects = inquiry.suspects()
    axis = inquiry.profile.axis
    unit = "ticks" if axis.by_tick else "time"
    inquiry.looked_at.append(
        f"how often {plural(len(suspects), 'agent')} did each of "
        f"{plural(len(inquiry.seen.names), 'thing')} over "
        f"{axis.buckets} spans of {unit}, against {'its' if len(suspects) == 1 else 'their'} own past and "
        f"the other agents of the same role ({plural(len(inquiry.profile.series), 'agent')} counted)"
    )
    leads = []
    for agent_id, departures in list(inquiry.departures().items())[:MAX_EXAMINED]:
        history = inquiry.history(agent_id)
        for group in _by_place(departures, inquiry.question):
            place = place_of(group[0], history, axis)
            silent = place.last is not None and max(history.steps) <= place.until < axis.last
            if silent:
                place = replace(place, last=history.latest() or place.last)
            search = None
            if group[0].sort != NEVER:
                search = inquiry.search(place, group[0].series)
                search.look_at(history)
                search.look_around(inquiry.around(agent_id), 0.6 * max(0.2, _share_alike(group[0])))

            cause = partial(
                departure_cause,
                departures=group,
                place=place,
                question=inquiry.question,
                axis=axis,
                silent=silent,
                first_id=inquiry.first_after(group[0]),
            )
            leads.append(Lead(cause, search, history, agent_id))
    return leads


def _share_alike(departure: Departure) -> float:
    """The share of peers that change, too: what was set for all explains no change of one alone."""
    return departure.alike / departure.peers if departure.peers else 1.0


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


def loop_leads(inquiry: Inquiry) -> list[Lead]:
    """A lead for every call that is made again and again."""
    examined = inquiry.examined()
    leads = []
    for agent_id in examined:
        peers = inquiry.profile.peers(agent_id)
        history = inquiry.history(agent_id)
        for loop in history.loops[:3]:
            names = (f"action:{loop.name}", f"tool:{loop.name}")
            alike = sum(1 for peer in peers if _failed(inquiry.profile, peer, names) * 2 >= loop.count)
            alike = alike if loop.failing else 0

            cause = partial(loop_cause, loop=loop, question=inquiry.question, alike=alike, peers=len(peers))

            # what every peer does too, from the start, nothing set off
            search = (
                None
                if alike * 2 > len(peers)
                else inquiry.before(_began(loop, history, inquiry), "error", history)
            )
            leads.append(Lead(cause, search, history, agent_id))
    if examined:
        inquiry.looked_at.append(
            f"calls repeated alike by {_list(examined)}, and those that others answered for them"
        )
    return leads


def _began(loop: Loop, history: History, inquiry: Inquiry) -> Row:
    """The first event of a loop, or of the errors that it consists of, where some came before it."""
    alike = [
        known for known in history.errors.values() if known.first["extra"].get("action_type") == loop.name
    ]
    pattern = max(alike, key=lambda known: known.count, default=None)
    if pattern is not None and pattern.first["id"] == loop.first["extra"].get("error_id"):
        return loop.first
    if loop.failing and pattern is not None and inquiry.onset_chance(pattern) <= _NEW:
        return min(pattern.first, loop.first, key=order)
    return loop.first


def _failed(profile: Profile, agent_id: str, names: tuple[str, ...]) -> int:
    return sum(sum(profile.get(agent_id, name).failed) for name in names)


def error_leads(inquiry: Inquiry) -> list[Lead]:
    """A lead for each sort of error of an examined agent that is new, many beside peers, or asked for."""
    examined = inquiry.examined()
    question = inquiry.question
    leads = []
    for agent_id in examined:
        history = inquiry.history(agent_id)
        count = sum(inquiry.profile.get(agent_id, "error").counts)
        if not count:
            continue
        peers = inquiry.profile.peers(agent_id)
        usual = sum(sum(inquiry.profile.get(peer, "error").counts) for peer in peers) / max(1, len(peers))
        for pattern in _telling(history.errors.values(), question):
            onset_chance = inquiry.onset_chance(pattern)
            if count <= usual + 2 and "error" not in question.topics and onset_chance > 0.01:
                continue
            cause = partial(
                errors_cause,
                agent_id=agent_id,
                count=count,
                usual=usual,
                peers=len(peers),
                pattern=pattern,
                question=question,
                onset_chance=onset_chance,
                others=inquiry.touched(pattern.fingerprint) - 1,
            )
            search = inquiry.before(pattern.first, "error", history) if onset_chance <= _NEW else None
            leads.append(Lead(cause, search, history, agent_id))
    if examined:
        inquiry.looked_at.append(f"the errors of {_list(examined)} beside those of their peers")
    return leads


def _telling(patterns: Iterable[ErrorPattern], question: Question) -> list[ErrorPattern]:
    """The two sorts of errors that speak: those that share words with the text, then the commonest."""

    def words(pattern: ErrorPattern) -> set[str]:
        return {word.lower() for word in str(pattern.first["message"]).replace(":", " ").split()}

    asked = set(question.words)
    return sorted(patterns, key=lambda p: (-len(words(p) & asked), -p.count, p.first["id"]))[:2]


def shared_leads(inquiry: Inquiry) -> list[Lead]:
    """A lead for what changes for half of all agents, or of a role, at the same time."""
    axis, question = inquiry.profile.axis, inquiry.question
    leads = []
    found = [d for d in inquiry.shared() if inquiry.is_asked(d) or not (question.series or question.topics)]
    # how long things take is the machine's affair as often as the program's
    found = [d for d in found if d.measure != "duration" or "slow" in question.topics]
    if question.agents:
        # what all others do explains nothing of one that does not
        found = [
            d
            for d in found
            if any(is_alike(d, inquiry.profile.get(agent, d.series)) for agent in question.agents)
        ]
    for departure in _steepest(found, question.series)[:_MAX_SHARED]:
        place = place_of(departure, None, axis)
        search = inquiry.search(place, departure.series)
        search.look_around(inquiry.surroundings(), 1.0)
        for service in inquiry.services():
            search.look_at(inquiry.history(service), 0.9)

        cause = partial(
            shared_cause,
            departure=departure,
            place=place,
            question=question,
            axis=axis,
            first_id=inquiry.first_after(departure),
        )

        leads.append(Lead(cause, search, None, None))
    inquiry.looked_at.append("what changes for half of the agents or more at one time")
    return leads


def _steepest(departures: list[Departure], asked: Collection[str]) -> list[Departure]:
    """Of changes at one place the one that is asked about, else the steepest: the others follow from it."""

    def slope(departure: Departure) -> float:
        low, high = sorted((abs(departure.before), abs(departure.after)))
        return high / low if low else float("inf")

    kept: list[Departure] = []
    for departure in sorted(
        departures, key=lambda d: (d.series not in asked, -min(slope(d), 1e6), d.chance, d.series)
    ):
        near = [k for k in kept if abs(k.bucket - departure.bucket) <= _SAME_PLACE_BUCKETS]
        if not any(known.measure == departure.measure for known in near):
            kept.append(departure)
    return kept


def shared_error_leads(inquiry: Inquiry) -> list[Lead]:
    """A lead for each sort of error that begins in the course of the session and strikes several agents."""
    leads = []
    for pattern in inquiry.patterns()[:_MAX_PATTERNS]:
        chance = inquiry.pattern_chance(pattern)
        if chance > 0.01 or (pattern["agents"] < 2 and inquiry.question.agents):
            continue
        first = inquiry.event(pattern["example_id"], pattern["example_agent"])
        if first is None:
            continue
        history = None
        search = inquiry.search(onset(first, inquiry.profile.axis), "error", first)
        if pattern["example_agent"] is not None:
            history = inquiry.history(pattern["example_agent"])
            search.look_at(history, 0.9)
        search.look_around(inquiry.surroundings(), 1.0)
        for service in inquiry.services():
            search.look_at(inquiry.history(service), 0.9)

        cause = partial(
            shared_errors_cause, pattern=pattern, first=first, chance=chance, question=inquiry.question
        )

        leads.append(Lead(cause, search, history, pattern["example_agent"]))
    inquiry.looked_at.append(f"{plural(len(inquiry.patterns()), 'sort')} of errors and when each began")
    return leads


def open_span_causes(inquiry: Inquiry) -> list[Cause]:
    """A cause for every open span of a named agent, or for the oldest ones where none is named."""
    spans = in_flight(inquiry.reader)
    named = inquiry.question.agents
    wanted = [span for span in spans if not named or span["agent_id"] in named]
    inquiry.looked_at.append(f"{plural(len(spans), 'span')} begun and not ended")
    return [in_flight_cause(span, inquiry.question) for span in wanted[:3]]


def observations(inquiry: Inquiry) -> list[str]:
    """What the recording says of the things that the text names, whether or not they are at fault."""
    told = []
    profile = inquiry.profile
    for agent_id in list(inquiry.question.agents)[:MAX_EXAMINED]:
        peers = profile.peers(agent_id)
        history = inquiry.history(agent_id)
        for name in inquiry.question.series[:4]:
            count = sum(profile.get(agent_id, name).counts)
            others = sorted(sum(profile.get(peer, name).counts) for peer in peers)
            if not count and not any(others):
                continue
            line = f"{agent_id} {times(name, count)}"
            last = history.last.get(name)
            if last is not None:
                at = f"tick {last.tick}" if last.tick is not None else format_timestamp(last.us)
                line += f", last at {at} (event {last.id})"
            if others:
                line += f"; its {plural(len(others), 'peer')} {others[0]} to {others[-1]}"
            told.append(line + ".")
        pattern = max(history.errors.values(), key=lambda known: known.count, default=None)
        if pattern is not None:
            count = sum(known.count for known in history.errors.values())
            told.append(
                f"{agent_id} has {plural(count, 'error')}, most often {pattern.first['message']!r} "
                f"({pattern.count} times, last at {pattern.last['timestamp']}, event {pattern.last['id']})."
            )
    return told


def _list(agents: list[str]) -> str:
    return ", ".join(agents[:3]) + (f" and {len(agents) - 3} more" if len(agents) > 3 else "")
