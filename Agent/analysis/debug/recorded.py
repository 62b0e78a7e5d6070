"""What the recording shows directly, without ranking: causes, facts, and what surrounds a complaint.

The causes are the causal chain of an event that the text names by id, spans that never ended, common errors,
and missing events. The facts are about the agents that the text names, at fault or not. Of many sealed
sessions with more events than can be explained, those around a complaint are selected.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Set as AbstractSet
from typing import Any, Final

from Agent.analysis.causality.chains import Edge, chain, is_failure
from Agent.analysis.causality.event_links import Links, find_event, time_us
from Agent.analysis.debug.question import Question, stems
from Agent.analysis.debug.report import Cause
from Agent.analysis.debug.root_causes import Log
from Agent.analysis.debug.root_causes.wording import moment
from Agent.analysis.query.engine import Engine
from Agent.analysis.query.kept import QueryEngine
from Agent.analysis.query.trees import MOST_ROWS, ChosenEvents
from Agent.analysis.query.views import IS_ERROR, events_of, scan
from Agent.analysis.session import in_flight
from Agent.event.payloads import KINDS
from Agent.render.formats import plural
from Agent.tree.read.reader import TreeReader

_LOOK_BACK_US: Final = 60_000_000
_MAX_EDGES: Final = 10
_MAX_SPANS: Final = 3
_MAX_NAMED: Final = 3
"""Number of events that a text may name by id."""
_HANGS: Final = frozenset({"absence", "slow", "error", "loop"})
SURE: Final = 0.7
"""The confidence of a chain of recorded causes that leads to a failure."""
_RECORD_WORDS: Final = frozenset(
    {"event", "events", "line", "lines", "log", "logs", "record", "records", "trace"}
)


def event_causes(reader: TreeReader, engine: Engine, question: Question) -> list[Cause]:
    """Return the causal chains of the events that the text names by id."""
    causes = []
    for event_id in question.event_ids[:_MAX_NAMED]:
        row = find_event(reader, engine, event_id)
        if row is None:
            continue
        at = time_us(row)
        links = Links(reader, engine, at - _LOOK_BACK_US, at)
        found = chain(row, links, since_us=at - _LOOK_BACK_US)
        failures = [cause for cause in found if is_failure(cause)]
        origin = failures[-1] if failures else found[-1] if found else None
        if origin is None:
            continue
        agents = dict.fromkeys(each["agent_id"] for each in [row, *found[:_MAX_EDGES]] if each["agent_id"])
        causes.append(
            Cause(
                f"{event_id} was caused by {origin['message']!r}",
                f"{row['message']} (event {event_id}) has a chain of {plural(len(found), 'cause')}; the "
                f"farthest {'failure' if failures else 'one'} is {origin['message']} (event {origin['id']}).",
                tuple(cause["id"] for cause in [row, *found[:_MAX_EDGES]]),
                tuple(agents),
                tuple(Edge(**cause["edge"]) for cause in found[:_MAX_EDGES]),
                SURE if failures and origin["inferred_hops"] == 0 else 0.5 if failures else 0.3,
                "event",
            )
        )
    return causes


def unknown_events(reader: TreeReader, engine: Engine, question: Question) -> list[str]:
    """Return a sentence for each event id of the text that no event of the session has."""
    named = question.event_ids[:_MAX_NAMED]
    missing = [each for each in named if find_event(reader, engine, each) is None]
    return [f"No event of this session has the id {each}." for each in missing]


def open_span_causes(reader: TreeReader, question: Question) -> list[Cause]:
    """Return the oldest open spans, only of the named agents if the text names any.

    A span whose process died is a finding if the text describes something that hangs, otherwise a hint.
    """
    causes = []
    wanted = [
        span
        for span in in_flight(reader)
        if span["agent_id"] in question.agents or (not question.agents and not span["alive"])
    ]
    for span in wanted[:_MAX_SPANS]:
        state = "is still running" if span["alive"] else "had not ended when its process died"
        is_sure = not span["alive"] and bool(_HANGS & question.topics)
        causes.append(
            Cause(
                f"{span['agent_id'] or 'A span'} never returned from {span['name']}",
                f"{span['name']} of {span['agent_id']} began at {span['started_at']} and {state} "
                f"(process {span['pid']}, span {span['span_id']}).",
                (),
                (span["agent_id"],) if span["agent_id"] else (),
                (),
                0.8 if is_sure else 0.4,
                "open",
            )
        )
    return causes


def error_causes(log: Log, question: Question, known: AbstractSet[str]) -> list[Cause]:
    """Return the most common error of each agent whose errors the text asks for or quotes.

    Such an error is a hint unless the text quotes it or names the failing action.

    Args:
        log: the acts of the session.
        question: what the text names.
        known: ids of events that the ranked causes already name.
    """
    every = [act for act in log.acts if act.kind == "error"]
    quoted = [act for act in every if _is_quoted(act.message, question.text)]
    named = question.agents if "error" in question.topics else ()
    called = {act.name for act in log.acts if act.kind == "agent_action"}
    causes = []
    for agent in dict.fromkeys([*named, *(act.agent for act in quoted)]):
        own = [act for act in quoted if act.agent == agent]
        errors = own or [act for act in every if act.agent == agent]
        if not errors or known & {act.id for act in errors}:
            continue
        common, number = Counter(act.message for act in errors).most_common(1)[0]
        first = next(act for act in errors if act.message == common)
        where = f" in {first.name}" if first.name in called else ""
        text = (
            f"{plural(number, 'error')} of {agent} {'is' if number == 1 else 'are'} {common!r}{where} "
            f"(first event {first.id}); `agent-trace causes {first.id}` shows the call with its arguments."
        )
        # A question that names the failing action is answered by its error; otherwise the error is a hint.
        is_asked = bool(own or (first.name and set(stems(question.text)).issuperset(stems(first.name))))
        confidence = 0.6 if is_asked else 0.45
        causes.append(
            Cause(
                f"{agent} fails{where} with {common!r}", text, (first.id,), (agent,), (), confidence, "error"
            )
        )
    return causes


def _is_quoted(message: str, text: str) -> bool:
    """Whether a text holds an error's message, with or without its type."""
    said = message.partition(": ")[2].strip()
    return len(said) >= _MIN_QUOTED and said.casefold() in text.casefold()


_MIN_QUOTED: Final = 8
"""Shorter messages, such as the key of a `KeyError`, are words of any text."""


def missing_events(account: dict[str, Any]) -> int:
    """Return the number of missing events from the result of `losses`."""
    return int(account["lost"] + account["unknown"] + sum(account["dropped"].values()))


def loss_causes(account: dict[str, Any], question: Question) -> list[Cause]:
    """Return missing events as a cause if the text mentions them."""
    missing = missing_events(account)
    damaged = account["damaged_lines"]
    if not (missing or damaged) or not {"absence", "drop"} & question.topics:
        return []
    if not _RECORD_WORDS.intersection(question.words):
        return []
    dropped = "".join(f", {n} dropped ({why})" for why, n in account["dropped"].items())
    text = (
        f"According to event numbers, {plural(account['lost'], 'event', 'are')} lost and "
        f"{account['unknown']} unknown{dropped}; {plural(damaged, 'line')} could not be read."
    )
    return [Cause(f"{plural(missing, 'event')} missing from the recording", text, (), (), (), 0.8, "record")]


_MAX_AGENTS: Final = 5
_MAX_SERIES: Final = 4


def observations(log: Log, question: Question) -> list[str]:
    """Compare how often named agents and their peers did what the text names, and list the agents' errors."""
    lines = [
        f"No agent is called {word!r} here; {agent_id} is assumed."
        for agent_id, word in question.guessed.items()
    ]
    if not question.agents and not question.roles:
        lines.append("The text names no agent or role of this session, so all agents were examined.")
    for agent in question.agents[:_MAX_AGENTS]:
        for series in question.series[:_MAX_SERIES]:
            lines += _done(log, agent, series.partition(":")[2] or series)
        lines += _errors(log, agent)
    return lines


def _done(log: Log, agent: str, name: str) -> list[str]:
    acts = [act for act in log.acts if name in (act.name, act.kind) and act.kind != "error"]
    counts = Counter(act.agent for act in acts)
    role = log.roles.get(agent)
    others = sorted(counts[peer] for peer in log.peers.get(role or "", ()) if peer != agent)
    if not counts[agent] and not any(others):
        return []
    last_act = acts[-1]
    verb = KINDS[last_act.kind].verb if last_act.kind in KINDS and last_act.name == name else "{name}"
    did = ("recorded {name}" if verb == "{name}" else verb).format(name=name)
    line = f"{agent} never {did}"
    if counts[agent]:
        last = next(act for act in reversed(acts) if act.agent == agent)
        often = plural(counts[agent], "time")
        line = f"{agent} {did} {often}, last at {moment(last)} (event {last.id})"
    if others:
        same = plural(others[0], "time") + " each" * (len(others) > 1)
        times = f"{others[0]} to {others[-1]} times" if others[0] != others[-1] else same
        line += f"; its {plural(len(others), 'peer')} {times}"
    return [f"{line}."]


def _errors(log: Log, agent: str) -> list[str]:
    errors = [act for act in log.acts if act.agent == agent and act.is_error]
    if not errors:
        return []
    common, number = Counter(act.message for act in errors).most_common(1)[0]
    last = next(act for act in reversed(errors) if act.message == common)
    line = f"{agent} has {plural(len(errors), 'error')}"
    if number < len(errors):
        line += f", {plural(number, 'time')}"
    return [f'{line} "{common}", last at {moment(last)} (event {last.id}).']


_MOST_AGENTS: Final = 1_000_000
_REMEDY: Final = "name the agents that it is about, or name fewer sessions"


def around_complaint(engine: QueryEngine, issue: str, most: int = MOST_ROWS) -> ChosenEvents:
    """All events if they are at most `most`; else those around the agents that a complaint names."""
    number = engine.row(f"SELECT count(*) AS n FROM {scan()}")["n"]
    if number > most and (agents := _agents_around(engine, issue)):
        where = f"(coalesce(array_contains(?, agent_id), false) OR {IS_ERROR})"
        return ChosenEvents(where, [agents], f"of {len(agents):,} agents around it, and the errors", _REMEDY)
    return ChosenEvents("true", [], "in all, and the complaint names no agent", _REMEDY)


def _agents_around(engine: QueryEngine, issue: str) -> list[str]:
    """The agents that a complaint names, and those with which they exchanged messages."""
    known = engine.rows(
        f"SELECT DISTINCT agent_id AS agent FROM {scan()} WHERE agent_id IS NOT NULL LIMIT {_MOST_AGENTS}"
    )
    named = sorted(
        row["agent"]
        for row in known
        if row["agent"] in issue and re.search(rf"(?<![\w-]){re.escape(row['agent'])}(?![\w-])", issue)
    )
    if not named:
        return []
    others = engine.rows(
        f"SELECT DISTINCT sender, recipient FROM {events_of(['agent_message'], 'sender', 'recipient')} "
        "AND (array_contains(?, sender) OR array_contains(?, recipient))",
        [named, named],
    )
    return sorted({*named, *(name for row in others for name in row.values() if name is not None)})
