"""`debug_issue`: explain an issue described in words by ranked causes, without a language model.

`question` finds what the text names. `root_causes` reads the events, learns the relations that hold in the
session, finds where they break, and ranks the breaks by what they may have caused. `recorded` reports causes
that need no ranking: errors, open spans and lost events.
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from Agent.analysis.debug import recorded
from Agent.analysis.debug.experiment_seam import HowToTest
from Agent.analysis.debug.experiments import tested
from Agent.analysis.debug.question import Question, absent, events_naming, matching_messages, read_question
from Agent.analysis.debug.recorded import observations
from Agent.analysis.debug.report import CLEAR, Cause, DebugReport, commands_for
from Agent.analysis.debug.root_causes import Baseline, Issue, Log, read_log, root_causes, survey
from Agent.analysis.debug.root_causes.causes import less_sure
from Agent.analysis.query.engine import Engine, open_engine
from Agent.analysis.query.kept import kept
from Agent.analysis.query.views import EVENT_COLUMNS, engine_row, whole_lines
from Agent.analysis.session import SessionRef, code_places, find, losses
from Agent.archive.sealed.reader import open_reader
from Agent.errors import UsageError
from Agent.event.code_places import CodePlace
from Agent.event.kinds import ACTION_KINDS
from Agent.render.formats import plural
from Agent.tree.read.reader import TreeReader, no_collection

_STEPS: Final = ACTION_KINDS | {"tool.call", "model.call"}
"""The kinds of events that `play` steps through."""
_PLACED: Final = 3
"""Of so many causes, and of so many events of each, the place in the program is looked up."""
MAX_EVENTS: Final = 60_000
"""Payloads are large: above this number of events, every query reads the files again."""


__all__ = ["DebugReport", "debug_issue", "explain"]


@contextmanager
def held_lines(engine: Engine, events: int) -> Iterator[str]:
    """Yield a table expression (the text after FROM) with the columns of `EVENT_COLUMNS`.

    Up to `MAX_EVENTS` events are kept in memory while the context is open.

    Args:
        engine: an engine over the session.
        events: approximate number of events in it.
    """
    if events > MAX_EVENTS:
        yield whole_lines()
        return
    with kept(engine, "debug_lines", f"(SELECT {EVENT_COLUMNS} FROM {whole_lines()})") as source:
        yield source


def debug_issue(
    text: str,
    session: SessionRef = None,
    root: str | os.PathLike[str] | None = None,
    *,
    baselines: Sequence[SessionRef] = (),
    test: bool = False,
    target: Any = None,
    outcome: str = "",
    live: bool | Collection[str] = False,
    seeds: int | None = None,
) -> DebugReport:
    """Rank what explains an issue described in words, such as "Agent creator_001 not generating content".

    Args:
        text: the issue; agents, actions, errors and ticks that it names are examined first. An event id says
            which event shows the problem.
        session: None for the current or newest one; an id, a unique prefix of one, or a path.
        root: the trace root; default: the configured one, else ./trace.
        baselines: sessions of the same program in which all was well, as `session` names them: what none
            of them has is unusual.
        test: whether to test the leading causes by forks of the run, with and without them.
        target: what builds the agents for the tests, `module:factory` or such a function; default: the one
            that the session remembers.
        outcome: the outcome to measure, as in `sweep_forks`; default: taken from the text.
        live: calls that forks may execute, as in `fork_run`.
        seeds: number of other random seeds for each cause.

    Raises:
        SessionNotFound: a session does not exist, or is empty.
        UsageError: tests were requested, but no tester is installed; a session is its own baseline.
    """
    path = find(session, root)
    how = HowToTest(target, outcome, live, seeds) if test else None
    reader = open_reader(path)
    with open_engine(path) as engine:
        return explain(text, path, reader, engine, how, [find(each, root) for each in baselines])


def explain(
    text: str,
    path: Path,
    reader: TreeReader,
    engine: Engine,
    how: HowToTest | None = None,
    baselines: Sequence[Path] = (),
) -> DebugReport:
    """Return the report on an issue in one session.

    Args:
        text: the issue.
        path: the session, with its reader and an engine over it.
        how: how to test its causes; None for no tests.
        baselines: sessions in which all was well.
    """
    usual = [log for each in baselines if (log := _baseline(each, path)) is not None]
    seen = survey(engine)
    question = read_question(text, seen.roles, seen.names)
    account = losses(path, reader, engine)
    looked_at: list[str] = []
    log = Log([], {}, 0)
    with held_lines(engine, seen.events) as lines:
        question = replace(question, naming=events_naming(engine, lines, question.things))
        if seen.axis is not None:
            with no_collection():
                named = [*question.event_ids, *(each.id for each in question.naming)]
                log, is_sample = read_log(engine, lines, seen, seen.axis, question.agents, named)
            looked_at.append(_read(log, is_sample))
        evidence = matching_messages(engine, lines, question)
        with no_collection():
            issue = Issue(question, log)
            found = root_causes(log, question, issue, Baseline(usual) if usual else None)
        _add_errors(found, log, question)
        names = {*seen.roles, *(token for token in log.by_token if isinstance(token, str))}
        unknown = absent(engine, lines, text, question.things, names)
        is_understood = bool(evidence) or issue.names_something(question)
        if unknown or not is_understood:  # the answer is about something else than what the text names
            found = [*map(less_sure, found)]
        causes = _in_order(found, question, reader, engine, account)
        causes = _with_places(causes, path, engine, lines)
    if usual:
        number = sum(len(each.acts) for each in usual)
        looked_at.append(
            f"{plural(number, 'event')} of {plural(len(usual), 'baseline')}: what they never have"
        )
    tests: list[str] = []
    if how is not None:
        causes, tests = tested(causes, question, path, how)
    notes = [f"{each} is not in this session." for each in unknown]
    notes += [*recorded.unknown_events(reader, engine, question), *observations(log, question)]
    if missing := recorded.missing_events(account):
        notes.append(
            f"{plural(missing, 'event', 'are')} missing from the recording: what seems not to have happened "
            "may be among them."
        )
    acting = {act.agent for act in log.acts if act.kind in _STEPS}
    return DebugReport(
        issue=text,
        session_id=path.name.removeprefix("session_"),
        causes=tuple(causes),
        observations=tuple(notes),
        evidence=tuple(evidence),
        looked_at=(*looked_at, _counted(account)),
        commands=tuple(commands_for(path, causes, question, acting, has_errors=seen.has_errors)),
        tests=tuple(tests),
        is_understood=is_understood,
    )


def _add_errors(found: list[Cause], log: Log, question: Question) -> None:
    """Add the errors that no clear cause explains yet."""
    explained = frozenset(
        event_id for cause in found if cause.confidence >= CLEAR for event_id in cause.event_ids
    )
    # An error that the text asks about is a symptom: earlier changes that may explain it come first.
    least = found[1].confidence if len(found) > 1 else 1.0
    for cause in recorded.error_causes(log, question, explained):
        found.insert(2, replace(cause, confidence=min(cause.confidence, least)))


def _in_order(
    found: list[Cause], question: Question, reader: TreeReader, engine: Engine, account: dict[str, Any]
) -> list[Cause]:
    """Add the causes that the recording itself names, and return all in the order of the report."""
    of_events = recorded.event_causes(reader, engine, question)
    # Beside a description, an id says what to explain, and a chain of guesses is the nearest explanation.
    guessed = [each for each in of_events if question.describes and each.confidence < recorded.SURE]
    inferred = [*found, *recorded.open_span_causes(reader, question)]
    return [
        *(each for each in of_events if each not in guessed),
        *recorded.loss_causes(account, question),
        *sorted(inferred, key=lambda cause: -cause.confidence),
        *guessed,
    ]


def _baseline(path: Path, explained: Path) -> Log | None:
    """Return the events of a session in which all was well; None where agents do nothing."""
    if path.samefile(explained):
        raise UsageError(
            f"{path.name.removeprefix('session_')} is the session to explain, so it is no baseline",
            remedy="name a session in which all was well",
        )
    with open_engine(path) as engine:
        seen = survey(engine)
        if seen.axis is None:
            return None
        with held_lines(engine, seen.events) as lines, no_collection():
            return read_log(engine, lines, seen, seen.axis, ())[0]


def _with_places(causes: list[Cause], path: Path, engine: Engine, lines: str) -> list[Cause]:
    """Return the causes, the first of them with their place in the program.

    That is where the first of its events was recorded, or the action in which it happened.
    """
    ids = list(dict.fromkeys(each for cause in causes[:_PLACED] for each in cause.event_ids[:1]))
    if not ids or not (places := code_places(path, engine)):
        return causes

    def rows(column: str, values: list[str]) -> list[dict[str, Any]]:
        marks = ", ".join("?" for _ in values)
        query = f"SELECT {EVENT_COLUMNS} FROM {lines} WHERE {column} IN ({marks})"
        return list(map(engine_row, engine.rows(query, values))) if values else []

    def placed(row: dict[str, Any]) -> CodePlace | None:
        return places.of(row["event_type"], row["extra"], row["code"])

    events = rows("id", ids)
    inside = {row["id"]: row["parent_span_id"] for row in events if placed(row) is None}
    spans = sorted({span for span in inside.values() if span is not None})
    around = {row["span_id"]: placed(row) for row in rows("span_id", spans)}
    found = {row["id"]: placed(row) or around.get(inside.get(row["id"])) for row in events}
    return [replace(cause, place=found.get(next(iter(cause.event_ids), ""))) for cause in causes]


def _read(log: Log, is_sample: bool) -> str:
    some = ", a sample" if is_sample else ""
    return (
        f"the relations, values, rates and failures of {plural(len(log.acts), 'event')}{some} of "
        f"{plural(len(log.by_sort), 'sort')} over {plural(log.steps, 'step')}, and where each of them breaks"
    )


def _counted(account: dict[str, Any]) -> str:
    return (
        f"losses: {plural(account['read'], 'event')} read, {account['lost']} lost, "
        f"{account['unknown']} unknown, {sum(account['dropped'].values())} dropped, "
        f"{plural(account['damaged_lines'], 'damaged line')}"
    )
