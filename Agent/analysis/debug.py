"""`debug_issue`: from an issue in words to ranked causes, without a model; the end of the walk here.

What the text names is found (`question`), everybody is counted over time (`series`), departures from the
own past and from the peers are tested (`departures`), the event that fits each and the failure behind it
are looked for (`triggers`), loops, errors and open spans besides; `causes` gives each finding its words and
its confidence.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from Agent.analysis import findings
from Agent.analysis.causality import chain, is_failure
from Agent.analysis.causes import Cause
from Agent.analysis.debug_report import DebugReport, commands_for
from Agent.analysis.engine import Engine
from Agent.analysis.evidence import matching_messages
from Agent.analysis.findings import Inquiry
from Agent.analysis.integrity import losses
from Agent.analysis.question import Question, read_question
from Agent.analysis.series import overview, profile, scope
from Agent.analysis.session import SessionRef, find
from Agent.analysis.text import plural
from Agent.analysis.window import load_event, load_window, time_us
from Agent.tree.reader import TreeReader

__all__ = ["Cause", "DebugReport", "debug_issue", "explain"]

MIN_CONFIDENCE = 0.2
MAX_CAUSES = 8
_LOOK_BACK_US = 60_000_000


def debug_issue(
    text: str, session: SessionRef = None, root: str | os.PathLike[str] | None = None
) -> DebugReport:
    """What explains an issue that is told in words, such as "Agent creator_001 not generating content".

    Args:
        text: the issue; agents, actions, errors and ticks that it names are looked at first.
        session: None for the current or newest one; an id, a unique prefix of one, or a path.
        root: the trace root; default: AGENT_TRACE_ROOT, else ./trace.

    Raises:
        SessionNotFound: there is no such session, or it is empty.
    """
    path = find(session, root)
    reader = TreeReader(path)
    engine = Engine(path, reader.files)
    try:
        return explain(text, path, reader, engine)
    finally:
        engine.close()


def explain(text: str, path: Path, reader: TreeReader, engine: Engine) -> DebugReport:
    """The report on an issue in one session."""
    seen = overview(engine)
    question = read_question(text, seen.roles, seen.names)
    agents = scope(seen, question.agents, question.roles)
    inquiry = Inquiry(reader, engine, question, seen, profile(engine, seen, agents))
    causes = [
        *findings.departure_causes(inquiry),
        *findings.loop_causes(inquiry),
        *findings.error_causes(inquiry),
        *findings.open_span_causes(inquiry),
        *_event_causes(engine, question),
    ]
    kept = sorted(
        (cause for cause in _merged(causes) if cause.confidence >= MIN_CONFIDENCE),
        key=lambda cause: (-cause.confidence, cause.title),
    )[:MAX_CAUSES]
    account = losses(path, reader, engine)
    observations = [*_named(question), *findings.observations(inquiry)]
    missing = account["lost"] + account["unknown"] + sum(account["dropped"].values())
    if missing:
        observations.append(
            f"The record lacks {plural(missing, 'event')}: what seems not to have happened may be among them."
        )
    return DebugReport(
        issue=text,
        session_id=path.name.removeprefix("session_"),
        causes=tuple(kept),
        observations=tuple(observations),
        evidence=tuple(matching_messages(engine, question)),
        looked_at=(*inquiry.looked_at, *_counted(account)),
        commands=tuple(commands_for(path, kept, question)),
    )


def _counted(account: dict[str, Any]) -> list[str]:
    return [
        f"the account of the record: {plural(account['read'], 'event')} read, {account['lost']} lost, "
        f"{account['unknown']} unknown, {sum(account['dropped'].values())} dropped, "
        f"{plural(account['damaged_lines'], 'damaged line')}"
    ]


def _named(question: Question) -> list[str]:
    told = [
        f"No agent is called {word!r} here; taken for {agent_id}."
        for agent_id, word in question.guessed.items()
    ]
    if not question.agents and not question.roles:
        told.append(
            "The text names no agent or role of this session, so the most unusual ones were looked at."
        )
    return told


def _event_causes(engine: Engine, question: Question) -> list[Cause]:
    """What led to the events that the text names by id."""
    causes = []
    for event_id in question.event_ids[:3]:
        row = load_event(engine, event_id)
        if row is None:
            continue
        at = time_us(row)
        found = chain(row, load_window(engine, at - _LOOK_BACK_US, at), since_us=at - _LOOK_BACK_US)
        failures = [cause for cause in found if is_failure(cause)]
        origin = failures[-1] if failures else found[-1] if found else None
        if origin is None:
            continue
        from Agent.analysis.causality import Edge

        edges = tuple(Edge(**cause["edge"]) for cause in found[:10])
        agents = tuple(dict.fromkeys(c["agent_id"] for c in [row, *found[:10]] if c["agent_id"]))
        causes.append(
            Cause(
                f"{event_id} goes back to {origin['message']!r}",
                f"{row['message']} (event {event_id}) has {plural(len(found), 'event')} behind it; the "
                "farthest "
                f"{'failure' if failures else 'one'} is {origin['message']} (event {origin['id']}).",
                tuple(cause["id"] for cause in [row, *found[:10]]),
                agents,
                edges,
                0.7 if failures and origin["inferred_hops"] == 0 else 0.5 if failures else 0.3,
                "event",
            )
        )
    return causes


def _merged(causes: list[Cause]) -> list[Cause]:
    """The causes without those that only tell a better one again."""
    kept: list[Cause] = []
    for cause in sorted(causes, key=lambda cause: -cause.confidence):
        same = [known for known in kept if known.title == cause.title]
        told = cause.sort == "errors" and any(set(cause.event_ids) & set(known.event_ids) for known in kept)
        if not same and not told:
            kept.append(cause)
    return kept
