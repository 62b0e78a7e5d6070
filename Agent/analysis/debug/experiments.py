"""Test the leading causes of a report by forks: choose the measure, leave events out, judge the results.

An edge becomes `tested` only if forks showed the effect. Otherwise it keeps its basis and gets the reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from Agent.analysis.causality.chains import TESTED, CauseTest, Edge, judged, judged_chance
from Agent.analysis.debug import experiment_seam
from Agent.analysis.debug.experiment_seam import HowToTest, Measurable, TriedEvent
from Agent.analysis.debug.question import Question
from Agent.analysis.debug.report import LINK, MAX_CONFIDENCE, Cause
from Agent.errors import ReplayError
from Agent.render.formats import plural

MAX_CAUSES = 5
"""Number of causes that are tested: the first by every event of its chain, the others by two of them."""
CHANCE = "chance"
_BY_CHANCE = 0.8
REFUTED = 0.49
"""Highest confidence of a refuted cause (the effect is the same without it): below `CLEAR`, so a hint."""
_EVENT_ID = re.compile(r"[a-z2-7]{8}-[0-9]+")
_EFFECT = re.compile(
    r"(?P<agent>.+?):(?P<series>(?:action|decision|interaction|message|tool):[^:]+|[a-z_.]+):"
    r"(?P<sort>stopped|never|fell|rose)"
)


def complaint_of(question: Question, causes: Sequence[Cause], how: HowToTest) -> Measurable | None:
    """Return the measure of a complaint, from its text or its leading causes; None if neither names one."""
    agents, topics = question.agents, question.topics
    less = -1 if {"absence", "drop"} & topics else 0
    if how.outcome:
        return Measurable("state", (), agents, 0)
    if "error" in topics or "error" in question.series:
        return Measurable("count", ("error",), agents, 1)
    if "reward" in topics or "reward" in question.series:
        return Measurable("reward", ("reward",), agents, -1)
    if "slow" in topics:
        return None  # the duration of a fork says nothing about the duration of the original
    if question.series:
        return Measurable("count", question.series, agents, less or ("loop" in topics))
    for cause in causes[:MAX_CAUSES]:
        for edge in cause.edges:
            found = _EFFECT.fullmatch(edge.effect_id)
            if found is None:
                continue
            worse = 1 if found["sort"] == "rose" else -1
            own = agents or (() if found["agent"] == "all" else (found["agent"],))
            if found["series"] == "reward":
                return Measurable("reward", ("reward",), own, worse)
            return Measurable("count", (found["series"],), own, 1 if found["series"] == "error" else worse)
    return None


def tested(
    causes: Sequence[Cause], question: Question, session: Path, how: HowToTest
) -> tuple[list[Cause], list[str]]:
    """Return the causes, those confirmed by forks first, and lines that describe the tests.

    Raises:
        UsageError: no tester is installed, or the outcome is not valid.
    """
    complaint = complaint_of(question, causes, how)
    if complaint is None:
        reason = (
            "durations cannot be tested by forks"
            if "slow" in question.topics
            else "the text names nothing countable"
        )
        return list(causes), [f"not tested: {reason}; name a field at the end with --outcome (outcome=)"]
    chains = {place: chain for place, cause in enumerate(causes) if (chain := _chain(cause))}
    leading = {
        place: chain if number == 0 else _ends(chain)
        for number, (place, chain) in enumerate([*chains.items()][:MAX_CAUSES])
    }
    suspicions = [
        (event_id, rule, frozenset(causes[place].event_ids))
        for place, events in leading.items()
        for event_id, rule in events
    ]
    try:
        chance, *tried = experiment_seam.find(session, complaint, how).try_events(suspicions)
    except ReplayError as error:
        return list(causes), [f"not tested: {error}"]
    found, answers = list(causes), iter(tried)
    for place, events in leading.items():
        tests = [(event_id, rule, _best(next(answers), complaint)) for event_id, rule in events]
        found[place] = _with_tests(found[place], tests, complaint)
    by_chance, note = _chance_cause(chance[0], complaint)
    if by_chance is not None:
        found.append(by_chance)
    found.sort(key=lambda cause: (-_shown_effect(cause), -cause.confidence))
    shown = sum(_shown_effect(cause) > 0 for cause in found)
    lines = [
        f"{plural(len(leading), 'cause')} tested by forks with and without, measured by {complaint.in_words} "
        f"from that moment on: {shown or 'none'} shown"
    ]
    return found, [*lines, note] if note else lines


def _best(tried: Sequence[TriedEvent], complaint: Measurable) -> CauseTest:
    """Return the most conclusive test among all ways to leave out an event."""
    tests = [
        CauseTest("INCONCLUSIVE", each.change, reason=each.lacks)
        if each.lacks is not None
        else judged(each.change, each.with_it, each.without_it, complaint.worse, each.expected)
        for each in tried
    ]
    return min(tests, key=_rank)


def _with_tests(cause: Cause, tests: Sequence[tuple[str, str, CauseTest]], complaint: Measurable) -> Cause:
    """Return the cause with its test results and the confidence that follows from them."""
    edges = list(cause.edges)
    for event_id, rule, test in tests:
        edges = _labelled(edges, event_id, rule, complaint, test)
    confidence = cause.confidence
    shown = [event_id for event_id, _, test in tests if test.verdict == "SHOWN"]
    if shown:
        confidence = MAX_CONFIDENCE
        if _is_refuted(tests[0][2]):
            cause = _from(cause, shown[0])
    elif all(_is_refuted(test) for _, _, test in tests):
        confidence = min(confidence, REFUTED)
    return replace(cause, edges=tuple(edges), confidence=confidence)


def _from(cause: Cause, event_id: str) -> Cause:
    """Return a cause that begins with a later event of its path, because only that one has the effect."""
    reasons = [
        edge.reason.partition(LINK)[0] for edge in cause.edges if edge.effect_id == event_id and edge.reason
    ]
    lines = cause.explanation.splitlines()
    _, therefore, end = cause.title.rpartition("; therefore ")
    # The title says the end of the path, and lines before what is not of the path say the rest.
    path = [*(line for line in lines if line.startswith(("first: ", "then: "))), f"then: {end}"]
    places = (
        (n, reason)
        for reason in reasons
        for n, line in enumerate(path)
        if line.startswith(f"then: {reason}") or (therefore and n == len(path) - 1 and reason.endswith(end))
    )
    at, reason = next(places, (None, ""))
    if at is None:
        return cause
    return replace(
        cause,
        title=reason if reason.endswith(end) else f"{reason}{therefore}{end}",
        explanation="\n".join([f"first: {reason}", *path[at + 1 : -1], *lines[len(path) - 1 :]]),
        event_ids=tuple(dict.fromkeys((event_id, *cause.event_ids))),
    )


def _chance_cause(tried: TriedEvent, complaint: Measurable) -> tuple[Cause | None, str]:
    """Return chance as a cause if the run does worse than all other seeds; else None and the result."""
    if tried.lacks is not None:
        return None, f"another chance from the beginning on: {tried.lacks}"
    test = judged_chance(tried.change, tried.with_it[0], tried.without_it, complaint.worse)
    if test.verdict != "SHOWN":
        if len({*tried.without_it, tried.with_it[0]}) == 1:
            return None, "other seeds from the beginning do not change it"
        return None, f"another chance from the beginning on: {test.reason}"
    text = (
        f"With the recorded chance {complaint.in_words} is {test.with_it:g}; with each of "
        f"{plural(len(tried.without_it), 'other seed')} from the beginning on it is better, "
        f"{test.without_it:g} on average. A run that is but one of them does worst once in "
        f"{len(tried.without_it) + 1}."
    )
    edge = Edge(CHANCE, _effect(complaint), TESTED, "other_seeds", text, test)
    title = "Chance: it does not happen with other seeds"
    return Cause(title, text, (), complaint.agents, (edge,), _BY_CHANCE, CHANCE), ""


def _chain(cause: Cause) -> list[tuple[str, str]]:
    """Return the events of a cause to leave out, in order, each with the rule that suspects it."""
    rules = {edge.cause_id: edge.rule for edge in reversed(cause.edges)}
    ordered = [edge.cause_id for edge in cause.edges] + list(cause.event_ids)
    found = [(each, rules.get(each, "")) for each in dict.fromkeys(ordered) if _EVENT_ID.fullmatch(each)]
    return [each for each in found if each[0] in rules] or found[:1]


def _ends(chain: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the first and the last event of a chain.

    Two neighbours, such as the sending and the receipt of a message, are often one and the same to leave out.
    """
    return [*dict.fromkeys([chain[0], chain[-1]])]


def _labelled(
    edges: list[Edge], event_id: str, rule: str, complaint: Measurable, test: CauseTest
) -> list[Edge]:
    """Set the test on the edge from an event to the complaint, or add an edge if none exists."""
    basis = {"basis": TESTED} if test.verdict == "SHOWN" else {}
    for place, edge in enumerate(edges):
        if edge.cause_id == event_id:
            edges[place] = replace(edge, test=test, **basis)
            return edges
    reason = test.change or "it was tried without it"
    made = Edge(
        event_id, _effect(complaint), basis.get("basis", "inferred"), rule or "suspected", reason, test
    )
    return [*edges, made]


def _effect(complaint: Measurable) -> str:
    return f"{','.join(complaint.agents) or 'all'}:{','.join(complaint.series) or complaint.sort}"


def _rank(test: CauseTest) -> tuple[int, int]:
    return {"SHOWN": 0, "CONTRARY": 1}.get(test.verdict, 2), test.effect is None


def _is_refuted(test: CauseTest) -> bool:
    """Whether forks refute the cause: without it the outcome is the same, worse, or better by too little."""
    if test.low is None or test.high is None:
        return False
    is_same = test.low == test.high == 0.0
    return is_same or (test.verdict != "SHOWN" and test.low * test.high > 0.0)


def _shown_effect(cause: Cause) -> float:
    """Return the largest effect of a cause that forks showed; 0 without such a test.

    Causes are sorted by it, because undoing a symptom removes only part of the effect.
    """
    shown = [edge.test for edge in cause.edges if edge.test is not None and edge.test.verdict == "SHOWN"]
    return max((abs(test.effect or 0.0) for test in shown), default=0.0)
