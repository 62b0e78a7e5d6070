"""`debug_issue`: from an issue in words to ranked causes, without a model.

`question` finds what the text names. `root_causes` reads every event, learns the relations that hold in the
session, finds where they break, and ranks the breaks by what they may have led to. Other searches examine the
agents that the text names: counts that deviate from their own past and from their peers (`change_points`)
with the event that fits each (`change_candidates`), loops, errors and open spans.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from Agent.analysis.causality.chains import Edge, chain, is_failure
from Agent.analysis.causality.event_links import Links, find_event
from Agent.analysis.causality.event_window import time_us
from Agent.analysis.debug import field_causes, findings
from Agent.analysis.debug.causes import Cause
from Agent.analysis.debug.changes.activity_series import overview, profile, scope
from Agent.analysis.debug.experiment_seam import HowToTest
from Agent.analysis.debug.experiments import tested
from Agent.analysis.debug.investigation import Inquiry, Lead
from Agent.analysis.debug.question.entity_mentions import events_naming
from Agent.analysis.debug.question.message_search import matching_messages
from Agent.analysis.debug.question.question import Question, read_question
from Agent.analysis.debug.ranking import ranked
from Agent.analysis.debug.report import DebugReport, commands_for
from Agent.analysis.debug.root_causes import read_log, root_causes
from Agent.analysis.query.engine import Engine, kept, open_engine
from Agent.analysis.query.event_dict import EVENT_COLUMNS
from Agent.analysis.query.views import whole_lines
from Agent.analysis.session.integrity import losses
from Agent.analysis.session.lookup import SessionRef, find
from Agent.analysis.text import plural
from Agent.archive.sealed.reader import open_reader
from Agent.tree.read.reader import TreeReader

MAX_EVENTS: Final = 400_000
"""Payloads are large: of more events the files are read each time."""


@contextmanager
def held_lines(engine: Engine, events: int) -> Iterator[str]:
    """What stands behind FROM for the columns of `EVENT_COLUMNS`, for as long as this is open.

    Args:
        engine: over the session.
        events: about how many it has.
    """
    if events > MAX_EVENTS:
        yield whole_lines()
        return
    with kept(engine, "debug_lines", f"(SELECT {EVENT_COLUMNS} FROM {whole_lines()})") as source:
        yield source.text


__all__ = ["Cause", "DebugReport", "debug_issue", "explain"]

_LOOK_BACK_US = 60_000_000


def debug_issue(
    text: str,
    session: SessionRef = None,
    root: str | os.PathLike[str] | None = None,
    *,
    test: bool = False,
    target: Any = None,
    outcome: str = "",
    live: bool | Collection[str] = False,
    seeds: int | None = None,
) -> DebugReport:
    """Rank what explains an issue described in words, such as "Agent creator_001 not generating content".

    Args:
        text: the issue; agents, actions, errors and ticks that it names are examined first.
        session: None for the current or newest one; an id, a unique prefix of one, or a path.
        root: the trace root; default: the configured one, else ./trace.
        test: whether to test the leading causes by forks of the run, with and without them.
        target: what builds the agents for the tests, `module:factory` or such a function; default: the one
            that the session remembers.
        outcome: the outcome to measure, as in `sweep_forks`; default: taken from the text.
        live: calls that forks may execute, as in `fork_run`.
        seeds: number of other random seeds for each cause.

    Raises:
        SessionNotFound: the session does not exist, or is empty.
        UsageError: tests were requested, but no tester is installed.
    """
    path = find(session, root)
    how = HowToTest(target, outcome, live, seeds) if test else None
    reader = open_reader(path)
    engine = open_engine(path)
    try:
        return explain(text, path, reader, engine, how)
    finally:
        engine.close()


def explain(
    text: str,
    path: Path,
    reader: TreeReader,
    engine: Engine,
    how: HowToTest | None = None,
) -> DebugReport:
    """Return the report on an issue in one session; `how` says how to test its causes."""
    seen = overview(engine)
    question = read_question(text, seen.roles, seen.names)
    agents = scope(seen, question.agents, question.roles)
    account = losses(path, reader, engine)
    events = sum(sum(counts.values()) for counts in seen.totals.values())
    with held_lines(engine, events) as lines:
        question = replace(question, naming=events_naming(engine, lines, question.things))
        inquiry = Inquiry(reader, engine, question, seen, profile(engine, seen, agents), lines)
        kept = ranked([*_causes(inquiry), *_record_causes(account, question)], seen.roles)
        evidence = matching_messages(engine, lines, question)
    tests: list[str] = []
    if how is not None:
        kept, tests = tested(kept, question, path, how)
    observations = [*_named(question), *findings.observations(inquiry)]
    missing = account["lost"] + account["unknown"] + sum(account["dropped"].values())
    if missing:
        observations.append(
            f"{plural(missing, 'event')} are missing from the recording: what seems not to have happened "
            "may be among them."
        )
    return DebugReport(
        issue=text,
        session_id=path.name.removeprefix("session_"),
        causes=tuple(kept),
        observations=tuple(observations),
        evidence=tuple(evidence),
        looked_at=(*inquiry.looked_at, *_counted(account)),
        commands=tuple(commands_for(path, kept, question, has_errors=bool(inquiry.patterns()))),
        tests=tuple(tests),
    )


def _causes(inquiry: Inquiry) -> list[Cause]:
    """What every search finds, in no order."""
    leads: list[Lead] = [
        *findings.departure_leads(inquiry),
        *findings.loop_leads(inquiry),
        *findings.error_leads(inquiry),
        *findings.shared_leads(inquiry),
        *findings.shared_error_leads(inquiry),
    ]
    return [
        *inquiry.causes_of(leads),
        *_root_causes(inquiry),
        *field_causes.field_causes(inquiry),
        *findings.open_span_causes(inquiry),
        *_event_causes(inquiry.reader, inquiry.engine, inquiry.question),
    ]


def _root_causes(inquiry: Inquiry) -> list[Cause]:
    """What may have begun the issue, at any distance from it."""
    axis = inquiry.seen.axis
    if axis is None:
        return []
    log, sampled = read_log(inquiry.engine, inquiry.lines, axis)
    some = ", a sample" if sampled else ""
    inquiry.looked_at.append(
        f"the relations, values, rates and failures of {plural(len(log.acts), 'event')}{some} of "
        f"{plural(len(log.by_sort), 'sort')} over {plural(log.steps, 'step')}, and where each of them breaks"
    )
    return root_causes(log, inquiry.question)


def _counted(account: dict[str, Any]) -> list[str]:
    return [
        f"losses: {plural(account['read'], 'event')} read, {account['lost']} lost, "
        f"{account['unknown']} unknown, {sum(account['dropped'].values())} dropped, "
        f"{plural(account['damaged_lines'], 'damaged line')}"
    ]


def _named(question: Question) -> list[str]:
    told = [
        f"No agent is called {word!r} here; {agent_id} is assumed."
        for agent_id, word in question.guessed.items()
    ]
    if not question.agents and not question.roles:
        told.append(
            "The text names no agent or role of this session, so the most unusual ones were examined."
        )
    return told


def _event_causes(reader: TreeReader, engine: Engine, question: Question) -> list[Cause]:
    """What led to the events that the text names by id."""
    causes = []
    for event_id in question.event_ids[:3]:
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
        edges = tuple(Edge(**cause["edge"]) for cause in found[:10])
        agents = tuple(dict.fromkeys(c["agent_id"] for c in [row, *found[:10]] if c["agent_id"]))
        causes.append(
            Cause(
                f"{event_id} was caused by {origin['message']!r}",
                f"{row['message']} (event {event_id}) has a chain of {plural(len(found), 'cause')}; the "
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


def _record_causes(account: dict[str, Any], question: Question) -> list[Cause]:
    """That events are missing, where the text says so."""
    missing = account["lost"] + account["unknown"] + sum(account["dropped"].values())
    damaged = account["damaged_lines"]
    if not (missing or damaged) or not ("absence" in question.topics or "drop" in question.topics):
        return []
    if not _RECORD_WORDS & set(question.words):
        return []
    dropped = "".join(f", {n} dropped ({why})" for why, n in account["dropped"].items())
    told = (
        f"According to event numbers, {account['lost']} events are lost and {account['unknown']} "
        f"unknown{dropped}; "
        f"{plural(damaged, 'line')} could not be read."
    )
    return [Cause(f"{plural(missing, 'event')} missing from the recording", told, (), (), (), 0.8, "record")]


_RECORD_WORDS = frozenset({"event", "events", "line", "lines", "log", "logs", "record", "records", "trace"})
