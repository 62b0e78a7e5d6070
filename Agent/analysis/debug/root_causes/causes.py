"""The face: acts in, causes in words out, each with its path from the first act to what changed."""

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
from Agent.analysis.debug.root_causes.detectors import continuity, dependencies, follow_ups, rates, values
from Agent.analysis.debug.root_causes.issue import Issue
from Agent.analysis.debug.root_causes.ranking import Hypothesis, Step, rank
from Agent.analysis.debug.root_causes.scan import Finding
from Agent.event.clock import format_timestamp
from Agent.render.words import short_number

__all__ = ["DETECTORS", "causes_in", "findings_in", "root_causes"]

DETECTORS: Final[tuple[Callable[[Log], Iterator[Finding]], ...]] = (
    values.find,
    dependencies.find,
    follow_ups.find,
    continuity.find,
    rates.find,
    nearby.find,
)
MAX_CAUSES: Final = 6
MAX_ALSO: Final = 4
MAX_EVENTS: Final = 12
EVEN: Final = 2.5
OF_ODDS: Final = 0.47
OF_SCORE: Final = 0.49
LEAST: Final = 0.05
"""Something that the session does not show has at least this share."""
OTHER_MOMENT: Final = 0.5
OTHER_AGENT: Final = 0.7
"""What nothing recorded ties to an agent that the text names is less sure."""
MAX_CONFIDENCE: Final = 1 - LEAST
_MAX_TEXT: Final = 60


def root_causes(log: Log, question: Question) -> list[Cause]:
    """What may have begun an issue, likeliest first; empty where nothing in the session changes."""
    found: list[Cause] = []
    issue = Issue(question, log)
    ordered = [(each, issue.fits_moment(each.shown()[0], log)) for each in causes_in(log, question, issue)]
    for each, fits in sorted(ordered, key=lambda pair: not pair[1]):
        cause = cause_of(each)
        if not fits:
            cause = replace(cause, confidence=round(max(LEAST, OTHER_MOMENT * cause.confidence), 2))
        if issue.agents and not issue.agents.intersection(cause.agent_ids):
            cause = replace(cause, confidence=round(max(LEAST, OTHER_AGENT * cause.confidence), 2))
        # what is ranked lower is not surer
        most = found[-1].confidence if found else MAX_CONFIDENCE
        found.append(replace(cause, confidence=min(cause.confidence, most)))
    return found


def causes_in(log: Log, question: Question, issue: Issue | None = None) -> list[Hypothesis]:
    """The same as hypotheses, with their findings and scores."""
    issue = issue or Issue(question, log)
    return rank(log, findings_in(log, question, issue), issue)[:MAX_CAUSES]


def findings_in(log: Log, question: Question, issue: Issue) -> list[Finding]:
    """Where the relations of a session break, and what is unusual near what a text names."""
    nearby.walk(log, issue.seeds(log), issue.heard(log))
    found = [finding for find in DETECTORS for finding in find(log)]
    if "slow" not in question.topics:
        # how long things take is the machine's affair as often as the program's
        found = [finding for finding in found if finding.rule != "duration shifts"]
    return found


def cause_of(hypothesis: Hypothesis) -> Cause:
    """A hypothesis in words."""
    acts = {act.id: act for act in hypothesis.shown()}
    for step in hypothesis.chain:
        acts.setdefault(step.finding.first.id, step.finding.first)
    shown = list(acts.values())[:MAX_EVENTS]
    _, told = _told(hypothesis)
    agents = dict.fromkeys([hypothesis.owner, *(act.agent for act in shown)])
    return Cause(
        _sentence(hypothesis, told),
        _explained(hypothesis, told),
        tuple(act.id for act in shown),
        tuple(agent for agent in agents if agent)[:4],
        tuple(_edges(hypothesis)),
        confidence(hypothesis),
        hypothesis.findings[0].rule if hypothesis.findings else "act",
    )


def confidence(hypothesis: Hypothesis) -> float:
    """How likely a hypothesis is true: a logistic regression on its share among all and on its score.

    Fitted to the first causes of 639 sessions with a planted fault and 210 without, each ranked by weights
    that were fitted without the worlds of its author. `EVEN` was fitted as 2.0 and set higher, so that few
    sessions without a fault give a clear cause.
    """
    odds = math.log(hypothesis.chance / max(1 - hypothesis.chance, LEAST))
    sure = 1 / (1 + math.exp(EVEN - OF_ODDS * odds - OF_SCORE * hypothesis.score))
    return round(min(MAX_CONFIDENCE, max(LEAST, sure)), 2)


def _told(hypothesis: Hypothesis) -> tuple[Act, str]:
    if hypothesis.acts:
        act = hypothesis.acts[0]
        who = _name(act.agent, act) if act.agent else "the session"
        others = len({each.agent for each in hypothesis.acts}) - 1
        also = f" and {others} more" if others > 0 else ""
        return act, f"{who}{also}: {_act(act)} at {_moment(act)}"
    finding = hypothesis.findings[0]
    if finding.rule == "about it":
        return finding.first, f"{_who(finding)}{_act(finding.first)} at {_moment(finding.first)}"
    return finding.first, f"{_who(finding)}{_finding(finding)}"


def _who(finding: Finding) -> str:
    agent = dict(finding.group).get("agent") or finding.first.agent
    return f"{_name(agent, finding.first)}: " if agent else ""


def _name(agent: str, act: Act) -> str:
    """An agent; whom a bare number names, with its role."""
    return f"{act.role} {agent}" if agent.isdigit() and act.role != agent else agent


def _finding(finding: Finding) -> str:
    act, since = finding.first, _moment(finding.first)
    number = len(finding.acts)
    group = [f"{name.rsplit('.', 1)[-1]} {_short(value)}" for name, value in finding.group if name != "agent"]
    where = f" for {' and '.join(group)}" if group else ""
    times = f"{number} times from {since} on" if number > 1 else f"at {since}"
    if finding.rule == "rate changes":
        return _rate(finding, where, since)
    said = _SAID.get(finding.rule, "{about}{where}: {rule} {times} (first event {id})")
    low, high = map(_short, finding.usual) if isinstance(finding.usual, tuple) else ("", "")
    return said.format(
        about=_about(finding), where=where, since=since, times=times, rule=finding.rule, id=act.id, low=low,
        high=high, usual=_short(finding.usual), found=_short(finding.found), of=finding.of,
        present=finding.of - number,
    )  # fmt: skip


def _about(finding: Finding) -> str:
    """What it is about, a word once where an event is named as its only field is."""
    return " ".join(word for word, _ in groupby(_IN_EVENT.sub("", finding.about).split()))


_IN_EVENT: Final = re.compile(r"\b(?:new_state|state|args)\.(?=\w)")
"""Where in an event a field stands, which says nothing to a reader."""


def _rate(finding: Finding, where: str, since: str) -> str:
    before, after = _short(finding.usual), _short(finding.found)
    if finding.found == 0:
        return f"no {_about(finding)}{where} from {since} on; {before} per step before"
    return f"{_about(finding)}{where}: {before} per step before {since}, {after} after"


_BEYOND: Final = "{about} is {found} at {since}; {low} to {high} before"
_NEW: Final = "{about}: {found} is new at {since}"
_INSTEAD: Final = "{about}{where} is {found} instead of {usual} {times}"
_MOVED: Final = "{about}{where} moved from {usual} to {found} at {since}"
_MISSING: Final = "{about}{where} is missing {times}; present in {present} of {of} cases"
_SAID: Final = {
    **dict.fromkeys(("level shifts", "duration shifts"), _MOVED),
    "value beyond range": _BEYOND,
    **dict.fromkeys(("new value", "new form", "new error", "fields differ"), _NEW),
    "order never seen": _NEW,
    "not kept": _INSTEAD,
    **dict.fromkeys(("follow-up missing", "precondition missing"), _MISSING),
    "drifts": "{about}{where} begins to drift at {since}, by {found} each time",
    "rounded": "{about}{where} is rounded {times}",
    "never done": "no {about}; its {of} peers have {usual} each",
    "empty": "{about}{where} is empty {times}",
    "happens again": "{about}{where} was repeated for the same thing {times}",
}
"""How a finding of each rule is told."""


def _sentence(hypothesis: Hypothesis, told: str) -> str:
    """Who, what, when, therefore."""
    if not hypothesis.chain:
        return told
    end = hypothesis.chain[-1].finding
    then = "after it" if hypothesis.chain[-1].rule == "change_after" else "therefore"
    return f"{told}; {then} {_who(end)}{_finding(end)}"


def _explained(hypothesis: Hypothesis, told: str) -> str:
    """From what came before it to what changed, a line each."""
    lines = []
    if hypothesis.triggers:
        acts = "; ".join(
            f"{_name(act.agent, act) or 'the session'} {_act(act)} at {_moment(act)} (event {act.id})"
            for act in hypothesis.triggers[:2]
        )
        lines.append(f"before: {acts}")
    lines.append(f"first: {told}")
    lines += [f"also: {_who(each)}{_finding(each)}" for each in hypothesis.findings[1:MAX_ALSO]]
    lines += [f"at the same step: {_told(each)[1]}" for each in hypothesis.beside]
    lines += [
        f"then: {_who(step.finding)}{_finding(step.finding)}{_shared(step)}" for step in hypothesis.chain
    ]
    return "\n".join(lines)


def _shared(step: Step) -> str:
    if step.shared is None:
        return ""
    value = step.shared[1] if isinstance(step.shared, tuple) else step.shared
    return f" (both: {_short(value)})"


def _edges(hypothesis: Hypothesis) -> Iterator[Edge]:
    first = hypothesis.first
    if not hypothesis.acts:
        for act in hypothesis.triggers[:2]:
            basis = RECORDED if act.id in first.causes else INFERRED
            yield Edge(act.id, first.id, basis, "seldom_act_before_change", f"{_act(act)} before")
        for act in [act for act in hypothesis.path if act.place < first.place][:1]:
            yield Edge(act.id, first.id, INFERRED, "same_thing", f"{_act(act)} was about the same thing")
    for side in hypothesis.beside:
        if side.first.id != first.id:
            basis = RECORDED if first.id in side.first.causes else INFERRED
            yield Edge(first.id, side.first.id, basis, "same_incident", _told(side)[1])
    before = first
    for step in hypothesis.chain:
        act = step.finding.first
        if act.id != before.id:
            basis = RECORDED if before.id in act.causes else INFERRED
            yield Edge(before.id, act.id, basis, step.rule, f"{_who(step.finding)}{_finding(step.finding)}")
        before = act
    for each in [*hypothesis.findings, *(step.finding for step in hypothesis.chain)]:
        if each.rule == "rate changes" and each.first.kind in _COUNTED:
            sort = "stopped" if each.found == 0 else "fell" if each.found < each.usual else "rose"
            agent = dict(each.group).get("agent") or "all"
            effect = f"{agent}:{_COUNTED[each.first.kind]}:{each.about}:{sort}"
            yield Edge(first.id, effect, INFERRED, "rate", _finding(each))
            return


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
