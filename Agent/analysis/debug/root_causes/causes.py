"""The entry point: turn acts into causes in words, each with its path from the first act to the effect."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any, Final

from Agent.analysis.causality.chains import INFERRED, RECORDED, Edge
from Agent.analysis.debug.causes import Cause
from Agent.analysis.debug.question.question import Question
from Agent.analysis.debug.root_causes import nearby
from Agent.analysis.debug.root_causes.acts import Act, Log
from Agent.analysis.debug.root_causes.detectors import follow_ups, rates, relations, values
from Agent.analysis.debug.root_causes.issue import Issue
from Agent.analysis.debug.root_causes.ranking import Hypothesis, Step, rank
from Agent.analysis.debug.root_causes.scan import LEAST_CHANGE, Finding
from Agent.event.clock import format_timestamp
from Agent.render.words import short_number

__all__ = ["DETECTORS", "causes_in", "findings_in", "root_causes"]

DETECTORS: Final[tuple[Callable[[Log], Iterator[Finding]], ...]] = (
    values.find,
    relations.find,
    follow_ups.find,
    rates.find,
    nearby.find,
)
EVEN: Final = 1.0
OF_ODDS: Final = 0.53
OF_SCORE: Final = 0.2
LEAST: Final = 0.05
"""Lowest confidence, and the share reserved for causes that the session does not show."""
OTHER_MOMENT: Final = 0.5
"""Factor on the confidence of a cause that begins after the moment that the text names."""
MAX_CONFIDENCE: Final = 1 - LEAST
MAX_ALSO: Final = 2
MAX_SAID: Final = 4
_MAX_TEXT: Final = 60


def root_causes(log: Log, question: Question) -> list[Cause]:
    """Return the possible causes of an issue, most likely first; empty if nothing in the session changes."""
    issue = Issue(question, log)
    ranked = causes_in(log, question, issue)
    found: list[Cause] = []
    ordered = [(each, issue.fits_moment(each.first, log)) for each in ranked]
    for each, fits in sorted(ordered, key=lambda pair: not pair[1]):
        cause = cause_of(each)
        if not fits:
            cause = replace(cause, confidence=round(max(LEAST, OTHER_MOMENT * cause.confidence), 2))
        # A lower-ranked cause must not get a higher confidence.
        most = found[-1].confidence if found else MAX_CONFIDENCE
        found.append(replace(cause, confidence=min(cause.confidence, most)))
    return found


def causes_in(log: Log, question: Question, issue: Issue | None = None) -> list[Hypothesis]:
    """Return the causes as hypotheses, with their findings and scores."""
    issue = issue or Issue(question, log)
    return rank(log, findings_in(log, question, issue), issue)


def findings_in(log: Log, question: Question, issue: Issue) -> list[Finding]:
    """Return where the relations of a session break, and what is unusual near what a text names."""
    nearby.walk(log, issue.seeds(log), issue.heard(log))
    found = [finding for find in DETECTORS for finding in find(log)]
    if "slow" not in question.topics:
        # Durations depend on the machine as often as on the program.
        found = [finding for finding in found if finding.rule != "duration shifts"]
    return found


def cause_of(hypothesis: Hypothesis) -> Cause:
    """Return a hypothesis in words."""
    hypothesis = replace(hypothesis, findings=_led(hypothesis.findings))
    acts, findings = hypothesis.acts, hypothesis.findings
    owner = dict(findings[0].group).get("agent", "") if findings else ""
    agents = dict.fromkeys([owner, *(act.agent for act in acts)])
    return Cause(
        _sentence(hypothesis),
        _explained(hypothesis),
        tuple(act.id for act in acts),
        tuple(agent for agent in agents if agent)[:4],
        tuple(_edges(hypothesis)),
        confidence(hypothesis),
        findings[0].rule if findings else "act",
    )


def _led(findings: list[Finding]) -> list[Finding]:
    """Return findings with one about the event itself before what did not follow the event."""
    if findings and findings[0].rule == "follow-up missing":
        own = [each for each in findings if each.rule in _OWN and each.worth >= LEAST_CHANGE][:1]
        return [*own, *(each for each in findings if each not in own)]
    return findings


def confidence(hypothesis: Hypothesis) -> float:
    """Return the probability that a hypothesis is true, by logistic regression on its share and its score.

    Fitted to the first causes of sessions with a planted fault and without; docs/EXPLAIN.md has the figures.
    """
    odds = math.log(hypothesis.chance / max(1 - hypothesis.chance, LEAST))
    sure = 1 / (1 + math.exp(EVEN - OF_ODDS * odds - OF_SCORE * hypothesis.score))
    return round(min(MAX_CONFIDENCE, max(LEAST, sure)), 2)


def _told(act: Act, finding: Finding | None) -> str:
    """Describe an event: what is unusual about it, otherwise what it did."""
    if finding is None or finding.rule == "about it":
        who = f"{_name(act.agent, act)}: " if act.agent else ""
        return f"{who}{_act(act)} at {_moment(act)}"
    return f"{_who(finding)}{_finding(finding)}"


def _who(finding: Finding) -> str:
    agent = dict(finding.group).get("agent") or finding.first.agent
    return f"{_name(agent, finding.first)}: " if agent else ""


def _name(agent: str, act: Act) -> str:
    """Return an agent's name, with its role if the name is a bare number."""
    return f"{act.role} {agent}" if agent.isdigit() and act.role != agent else agent


def _finding(finding: Finding) -> str:
    act, since = finding.first, _moment(finding.first)
    number = len(finding.acts)
    group = [f"{name.rsplit('.', 1)[-1]} {_short(value)}" for name, value in finding.group if name != "agent"]
    where = f" for {' and '.join(group)}" if group else ""
    times = f"{number} times from {since} on" if number > 1 else f"at {since}"
    if finding.rule == "rate changes":
        return _rate(finding, where, since)
    if finding.rule == "fields differ":
        return _fields(finding, since)
    if finding.rule == "order never seen":
        before, after, _ = finding.found
        about = finding.about.removeprefix("events about ")
        return f"{_plain(after)} directly follows {_plain(before)} for {about} for the first time at {since}"
    said = _SAID.get(finding.rule, "{about}{where}: {rule} {times} (first event {id})")
    first, _, second = _about(finding).replace(" before ", " -> ").partition(" -> ")
    ends = list(dict.fromkeys(map(_short, finding.usual))) if isinstance(finding.usual, tuple) else []
    return said.format(
        about=_about(finding), where=where, since=since, times=times, rule=finding.rule, id=act.id,
        usual=_short(finding.usual), found=_short(finding.found), of=finding.of,
        present=finding.of - number, first=first, second=second, range=" to ".join(ends),
    )  # fmt: skip


def _about(finding: Finding) -> str:
    """Return what a finding is about, without repeating a word if the event is named after its only field."""
    return " ".join(word for word, _ in groupby(_IN_EVENT.sub("", finding.about).split()))


def _plain(name: str) -> str:
    """Return the name of an event's class, without prefixes of fields."""
    return _IN_EVENT.sub("", name).replace(",", " and ") or "an event"


def _fields(finding: Finding, since: str) -> str:
    """Return which fields an event has, or lacks, beside the usual events of its class."""
    usual = set(finding.usual[0])
    more = [_plain(path) for path in finding.found if path not in usual]
    less = [_plain(path) for path in sorted(usual.difference(finding.found))]
    told = [f"has {', '.join(more[:3])}"] * bool(more) + [f"lacks {', '.join(less[:3])}"] * bool(less)
    return f"{_about(finding)} {' and '.join(told)} for the first time at {since}"


_IN_EVENT: Final = re.compile(
    r"\b(?:new_state|state|args|action_data|decision_data|metadata|body|metrics)\.(?=\w)"
)
"""Prefixes that locate a field inside an event; they mean nothing to a reader."""


def _rate(finding: Finding, where: str, since: str) -> str:
    before, after = _short(finding.usual), _short(finding.found)
    if finding.found == 0:
        return f"no {_about(finding)}{where} from {since} on ({before} per step before)"
    return f"{_about(finding)}{where} went from {before} to {after} per step at {since}"


_BEYOND: Final = "{about} is {found} at {since} ({range} before)"
_NEW: Final = "{about} is {found} for the first time at {since}"
_MOVED: Final = "{about}{where} went from {usual} to {found} at {since}"
_OWN: Final = frozenset({"level shifts", "value beyond range", "new value", "new form", "far from usual"})
"""Rules about what an event holds."""
_SAID: Final = {
    **dict.fromkeys(("level shifts", "duration shifts"), _MOVED),
    "value beyond range": _BEYOND,
    "new value": _NEW,
    "new form": "{about} is written in another way for the first time at {since}: {found}",
    "new error": "an error that is new at {since}: {found}",
    "follow-up missing": "no {second} follows {first}{where} {times} ({present} of {of} have one)",
    "precondition missing": "no {first} comes before {second}{where} {times} ({present} of {of} have one)",
    "fails": "{about}{where} fails {times}",
    "error comes up": "an error in {about}{where} {times}",
    "not carried on": "{about}{where} is another value {times}",
    "amounts part": "{about}{where} no longer agree as before {times}",
    "not as beside it": "{about}{where} is not what it is else {times}",
    "seldom beside it": "{about} is {found} at {since}, and seldom so",
    "far from usual": "{about} is {found} at {since}, far from usual",
    "rounded": "{about}{where} is rounded {times}",
    "never done": "no {about}; its {of} peers have {usual} each",
    "empty": "{about}{where} is empty {times}",
    "happens again": "{about}{where} was repeated for the same thing {times}",
}
"""Sentence templates for the findings of each rule."""


def _sentence(hypothesis: Hypothesis) -> str:
    """Return one sentence: who, what, when, and the consequence."""
    told = _told(hypothesis.first, next(iter(hypothesis.findings), None))
    if not hypothesis.chain or hypothesis.chain[-1].shared is None:
        return told
    end = _then(hypothesis.chain[-1])
    return f"{told}; therefore {end}" if end != told else told


def _then(step: Step) -> str:
    """Describe a later event: what changed with it, or what it did if only its place is new."""
    return _told(step.act, None if step.finding and step.finding.rule in UNSAID else step.finding)


def _explained(hypothesis: Hypothesis) -> str:
    """Return the path from the events before the first act to the issue, one line each."""
    first, findings = hypothesis.first, hypothesis.findings
    beside = hypothesis.acts[1 : 1 + MAX_ALSO]
    lines = [f"before: {_beside(act)}" for act in beside if act.place < first.place]
    lines.append(f"first: {_told(first, next(iter(findings), None))}")
    # A result and the state that it set often tell the same deviation.
    told = {_same(each) for each in findings[:1]}
    for each in findings[1:]:
        if each.rule not in UNSAID and _same(each) not in told and len(told) < MAX_SAID:
            told.add(_same(each))
            lines.append(f"also: {_who(each)}{_finding(each)}")
    lines += [f"beside: {_beside(act)}" for act in beside if act.place > first.place]
    lines += dict.fromkeys(f"then: {_then(step)}{_shared(step)}" for step in hypothesis.chain)
    return "\n".join(lines[:MAX_LINES])


def _same(finding: Finding) -> tuple[str, str]:
    return finding.rule, str(finding.found)


UNSAID: Final = frozenset({"about it", "order never seen"})
"""Rules of which only the strongest finding is worth a line."""
MAX_LINES: Final = 6


def _beside(act: Act) -> str:
    return f"{_name(act.agent, act) or 'the session'} {_act(act)} at {_moment(act)} (event {act.id})"


def _shared(step: Step) -> str:
    if step.shared is None:
        return " (later; nothing that both hold is recorded)"
    if isinstance(step.shared, tuple) and step.shared[0] in {"span", "event"}:
        return " (in one call)" if step.shared[0] == "span" else " (recorded as its cause)"
    value = step.shared[1] if isinstance(step.shared, tuple) else step.shared
    return f" (both: {_short(value)})"


def _edges(hypothesis: Hypothesis) -> Iterator[Edge]:
    first = before = hypothesis.first
    for act in hypothesis.acts[1 : 1 + MAX_ALSO]:
        earlier, later = (act, first) if act.place < first.place else (first, act)
        yield _edge(earlier, later, "shared_value", _act(act))
    for step in hypothesis.chain:
        rule = "change_after" if step.shared is None else "shared_value"
        yield _edge(before, step.act, rule, _told(step.act, step.finding))
        before = step.act
    ends = [step.finding for step in hypothesis.chain if step.finding is not None]
    for each in [*hypothesis.findings, *ends]:
        if each.rule == "rate changes" and each.first.kind in _COUNTED:
            sort = "stopped" if each.found == 0 else "fell" if each.found < each.usual else "rose"
            agent = dict(each.group).get("agent") or "all"
            effect = f"{agent}:{_COUNTED[each.first.kind]}:{each.about}:{sort}"
            yield Edge(first.id, effect, INFERRED, "rate", _finding(each))
            return


def _edge(cause: Act, effect: Act, rule: str, reason: str) -> Edge:
    is_recorded = cause.id in effect.causes or (cause.span is not None and cause.span == effect.parent)
    return Edge(cause.id, effect.id, RECORDED if is_recorded else INFERRED, rule, reason)


_COUNTED: Final = {
    "agent_action": "action",
    "decision": "decision",
    "interaction": "interaction",
    "tool.call": "tool",
}


def _act(act: Act) -> str:
    changed = {path: value for path, value in act.values.items() if path in act.before}
    if changed:
        moves = [
            f"{path.rsplit('.', 1)[-1]} from {_short(act.before[path])} to {_short(value)}"
            for path, value in list(changed.items())[:2]
        ]
        return f"set {' and '.join(moves)}"
    said = [
        f"{path.rsplit('.', 1)[-1]} {_short(value)}"
        for path, value in list(act.values.items())[:3]
        if path != "direction"
    ]
    name = act.name or act.kind
    return f"{name} ({', '.join(said)})" if said else name


def _moment(act: Act) -> str:
    return f"tick {act.tick}" if act.tick is not None else format_timestamp(act.us)[11:23]


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        text = ", ".join(map(str, value))
    else:
        text = short_number(value) if isinstance(value, float) else str(value)
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
