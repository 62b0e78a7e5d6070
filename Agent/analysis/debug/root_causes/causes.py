"""The entry point: turn acts into causes in words, each with its path from the first act to the effect."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Final

from Agent.analysis.causality.chains import INFERRED, RECORDED, Edge
from Agent.analysis.debug.question import Question
from Agent.analysis.debug.report import LINK, Cause, ChangedField
from Agent.analysis.debug.root_causes.acts import MAX_SAME, RANDOM_ID, Act, Log, leaf
from Agent.analysis.debug.root_causes.detectors import follow_ups, relations, values
from Agent.analysis.debug.root_causes.detectors.values import UNLIKE, Baseline
from Agent.analysis.debug.root_causes.ranking import ChainStep, Hypothesis, rank
from Agent.analysis.debug.root_causes.scan import LEAST_CHANGE, Finding
from Agent.analysis.debug.root_causes.symptoms import (
    FIELDS,
    MAX_SHARED,
    QUIET,
    Issue,
    SharedLinks,
    field_of,
    find_near,
    walk,
)
from Agent.analysis.debug.root_causes.wording import Wording, short
from Agent.event.payloads import KINDS

DETECTORS: Final[tuple[Callable[[Log], Iterator[Finding]], ...]] = (
    values.find,
    relations.find,
    follow_ups.find,
    values.find_rates,
    find_near,
)
EVEN: Final = 1.75
"""Chosen, not fitted, and not blind to the demo; docs/EXPLAIN.md says what was looked at."""
OF_ODDS: Final = 0.35
OF_SCORE: Final = 0.3
OF_SPREAD: Final = -0.21
OF_CHANGE: Final = 0.26
LEAST: Final = 0.05
"""Lowest confidence, and the share reserved for causes that the session does not show."""
ELSEWHERE: Final = 0.5
"""Factor on the confidence of a cause of something else than what the text names: another time or thing."""
MAX_CONFIDENCE: Final = 1 - LEAST
MAX_ALSO: Final = 2
_OWN: Final = frozenset({"level shifts", "value beyond range", "new value", "far from usual", UNLIKE})
"""Rules about what an event holds."""


def root_causes(log: Log, question: Question, issue: Issue, baseline: Baseline | None = None) -> list[Cause]:
    """Return the possible causes of an issue, most likely first; empty if nothing in the session changes."""
    ranked = rank(log, findings_in(log, question, issue, baseline), issue)
    found: list[Cause] = []
    words = Wording(log)
    ordered = [(each, issue.fits_moment(each.first, log)) for each in ranked]
    for each, fits in sorted(ordered, key=lambda pair: not pair[1]):
        cause = cause_of(each, words)
        if not fits:
            cause = less_sure(cause)
        # A lower-ranked cause must not get a higher confidence.
        most = found[-1].confidence if found else MAX_CONFIDENCE
        found.append(replace(cause, confidence=min(cause.confidence, most)))
    return found


def less_sure(cause: Cause) -> Cause:
    """Return a cause of something else than what the text says with less confidence."""
    return replace(cause, confidence=round(max(LEAST, ELSEWHERE * cause.confidence), 2))


def findings_in(
    log: Log, question: Question, issue: Issue, baseline: Baseline | None = None
) -> list[Finding]:
    """Return where the relations of a session break, and what is unusual near what a text names.

    With a baseline, what it never has is unusual, too.
    """
    walk(log, issue.seeds(log), issue.matching(log))
    found = [finding for find in DETECTORS for finding in find(log)]
    if baseline is not None:
        found += baseline.find(log)
    relations.link_amounts(log, found)
    if "slow" not in question.topics:
        # Durations depend on the machine as often as on the program.
        found = [finding for finding in found if finding.rule != "duration shifts"]
    return found


def cause_of(hypothesis: Hypothesis, words: Wording) -> Cause:
    """Return a hypothesis in words."""
    chain = [*_true_steps(hypothesis.chain, words)]
    true = [*filter(words.is_true, hypothesis.findings)]
    late = [each for each in true if chain and _begins_after(each, chain[0].act)]
    findings = _led([each for each in true if each not in late])
    hypothesis = replace(hypothesis, findings=findings, late=late, chain=chain)
    acts = hypothesis.acts
    owner = dict(findings[0].group).get("agent", "") if findings else ""
    agents = dict.fromkeys([owner, *(act.agent for act in acts)])
    return Cause(
        _sentence(hypothesis, words),
        _explained(hypothesis, words),
        tuple(act.id for act in (*acts, *hypothesis.beside)),
        tuple(agent for agent in agents if agent)[:4],
        tuple(_edges(hypothesis, words)),
        confidence(hypothesis),
        findings[0].rule if findings else "act",
        field=_changed_field(hypothesis),
    )


def _changed_field(hypothesis: Hypothesis) -> ChangedField | None:
    """Return the field that has the last unusual value of a path; None if that is not of a field."""
    steps = [ChainStep(hypothesis.first, each, None) for each in hypothesis.findings[:1]] + hypothesis.chain
    for act, finding, *_ in reversed(steps):
        if finding is None:
            continue
        path = finding.beside.path if finding.beside else finding.about.rpartition(" ")[2]
        value = act.values.get(path)
        same = (each for each, own in act.values.items() if own == value and each.startswith(FIELDS))
        if value is not None and (name := path if path.startswith(FIELDS) else next(same, "")):
            return ChangedField(act.agent, field_of(name), act.id)
    return None


def _true_steps(chain: Sequence[ChainStep], words: Wording) -> Iterator[ChainStep]:
    """Yield the steps of a path, without findings that are not true or begin after the next step."""
    for step, after in zip_longest(chain, chain[1:]):
        finding = step.finding
        is_late = finding is not None and after is not None and _begins_after(finding, after.act)
        is_shown = finding is None or (words.is_true(finding) and not is_late)
        yield step if is_shown else step._replace(finding=None)


def _begins_after(finding: Finding, act: Act) -> bool:
    """Whether a finding begins after an event: a silence is found at the last event before it."""
    return finding.first.place > act.place


def _led(findings: list[Finding]) -> list[Finding]:
    """Return findings with one about the event itself before what did not follow the event."""
    if findings and findings[0].rule == "follow-up missing":
        own = [each for each in findings if each.rule in _OWN and each.worth >= LEAST_CHANGE][:1]
        return [*own, *(each for each in findings if each not in own)]
    return findings


def confidence(hypothesis: Hypothesis) -> float:
    """Return the probability that a hypothesis is true, by logistic regression.

    On its share and score, on how clear it is what the issue speaks of, and on how much changes there: where
    all is well, a complaint fits many events a little, and nothing changes at them. Fitted to first causes of
    sessions with a planted fault and without; docs/EXPLAIN.md has the figures.
    """
    odds = math.log(hypothesis.chance / max(1 - hypothesis.chance, LEAST))
    logit = OF_ODDS * odds + OF_SCORE * hypothesis.score - EVEN
    logit += OF_SPREAD * hypothesis.spread + OF_CHANGE * hypothesis.change
    return round(min(MAX_CONFIDENCE, max(LEAST, 1 / (1 + math.exp(-logit)))), 2)


def _sentence(hypothesis: Hypothesis, words: Wording) -> str:
    """Return one sentence: who, what, when, and the consequence."""
    sentence = words.sentence(hypothesis.first, next(iter(hypothesis.findings), None))
    effect = _effect(hypothesis, words.log)
    if effect is None:
        return sentence
    steps = _steps(hypothesis, words.log)
    before = [hypothesis.first, *(step.act for step in steps)][steps.index(effect)]
    return f"{sentence}; therefore {_then(effect, before, words, whose=_owner(hypothesis))}"


def _effect(hypothesis: Hypothesis, log: Log) -> ChainStep | None:
    """Return the last step of the path that is linked with what is before it, if it is worth a sentence."""
    # An event without anything unusual, which the text need not speak of, is no consequence.
    steps = {step.act.place: step for step in _steps(hypothesis, log)}
    before, effect = hypothesis.first, None
    for step in hypothesis.chain:
        if not _is_link(step, before, log):
            break
        before = step.act
        if step.act.place in steps and (_news(step) or step.is_asked):
            effect = steps[step.act.place]
    return effect


def _is_link(step: ChainStep, before: Act, log: Log) -> bool:
    """Whether an event and the one before it share more than a value that they may both have by chance."""
    if before.agent and before.agent == step.act.agent:
        return step.shared is not None
    if not isinstance(step.shared, tuple):
        return step.shared is not None and len(log.by_token[step.shared]) <= MAX_SHARED
    kind, value = step.shared
    if kind == "#":
        return _same_text(str(value), before, step.act) is not None
    is_thing = step.shared in {*before.things, *step.act.things}
    return kind in _RECORDED or is_thing or len(log.by_token[step.shared]) <= MAX_SAME


_RECORDED: Final = frozenset({"agent", "span", "event"})


def _same_text(part: str, one: Act, other: Act) -> str | None:
    """Return a text that two events have and that contains a part; None if there is none."""
    texts = [text for text in one.values.values() if isinstance(text, str) and part in text]
    return next((text for text in texts if text in other.values.values()), None)


def _owner(hypothesis: Hypothesis) -> str:
    """Return the agent that a cause begins with."""
    of_group = next((dict(each.group).get("agent", "") for each in hypothesis.findings[:1]), "")
    return of_group or hypothesis.first.agent


def _steps(hypothesis: Hypothesis, log: Log) -> list[ChainStep]:
    """Return the steps of the path that say something new, and those that link them."""
    known = {fact for each in hypothesis.findings[:1] for fact in _facts(each)}
    found: list[ChainStep] = []
    for step in hypothesis.chain:
        news = _news(step)
        facts = _facts(news) if news else {("event", step.act.id)}
        # A snapshot of a state says nothing unless something about it is unusual.
        if known.isdisjoint(facts) and (news or step.act.kind not in QUIET):
            if found and not news and not _news(found[-1]) and found[-1].act.sort == step.act.sort:
                found.pop()  # of several alike that all are as usual, the last is enough
            found.append(step)
        known |= facts
    return [*_linked_steps(hypothesis, {step.act.place for step in found}, SharedLinks(log))]


def _linked_steps(hypothesis: Hypothesis, shown: set[int], links: SharedLinks) -> Iterator[ChainStep]:
    """Yield the steps at some places, and those that link them, each with its link to the one before."""
    chain = hypothesis.chain
    for n in range(len(chain) - 1, 0, -1):
        step, before = chain[n], _last_shown(hypothesis, shown, n)
        if step.act.place in shown and step.shared is not None and links.closest(before, step.act) is None:
            shown.add(chain[n - 1].act.place)
    for n, step in enumerate(chain):
        if step.act.place in shown:
            before = _last_shown(hypothesis, shown, n)
            is_next = before is (chain[n - 1].act if n else hypothesis.first)
            yield step if is_next else step._replace(shared=links.closest(before, step.act))


def _last_shown(hypothesis: Hypothesis, shown: Container[int], number: int) -> Act:
    """Return the last event at some places before a step of the path; the first event if there is none."""
    before = (step.act for step in reversed(hypothesis.chain[:number]) if step.act.place in shown)
    return next(before, hypothesis.first)


def _then(step: ChainStep, before: Act, words: Wording, *, whose: str = "") -> str:
    """Describe a later event: what changed with it, or only what it did if that began before the last one."""
    news = _news(step)
    is_earlier = news is not None and news.first.place < before.place
    return words.sentence(step.act, None if is_earlier else news, whose=whose)


def _news(step: ChainStep) -> Finding | None:
    """Return what is unusual about a step, if it is worth saying."""
    return None if step.finding and step.finding.rule in UNSAID else step.finding


def _explained(hypothesis: Hypothesis, words: Wording) -> str:
    """Return the path from the first act to the issue, then what else is unusual, one line each."""
    first, findings = hypothesis.first, hypothesis.findings
    lines = [f"first: {words.sentence(first, next(iter(findings), None))}"]
    effect, before = _effect(hypothesis, words.log), first
    said = {fact for each in findings[:1] for fact in _facts(each)}
    above = first
    for step in _steps(hypothesis, words.log):
        line = _then(step, before, words)
        if step != effect:  # the title says it
            # Beside a line about another event than the one that leads to it, what links it is true of both.
            is_true = above is before or step.shared is None or step.shared in above.tokens
            lines.append(f"then: {line}{_shared(step, before, line) if is_true else ''}")
            above = step.act
        elif above is first:
            above = step.act
        said |= _facts(news) if (news := _news(step)) else set()
        before = step.act
    also: list[str] = []
    for each in findings[1:]:
        # A result and the state that it set often show the same deviation.
        if each.rule not in UNSAID and said.isdisjoint(_facts(each)) and len(also) < MAX_ALSO:
            said |= _facts(each)
            also.append(f"also: {words.who(each, _owner(hypothesis))}{words.finding(each)}")
    beside = [
        f"{'before' if act.place < first.place else 'beside'}: {words.sentence(act, None)} (event {act.id})"
        for act in hypothesis.acts[1 : 1 + MAX_ALSO]
    ]
    after = [
        f"afterwards: {words.who(each, _owner(hypothesis))}{words.finding(each)}" for each in hypothesis.late
    ]
    shown = [*lines, *also, *after[:1], *beside][:MAX_LINES]
    shown_ids = {first.id, *(step.act.id for step in hypothesis.chain)}
    unshown = [
        act.id
        for act in hypothesis.acts
        if act.id not in shown_ids and not any(f"(event {act.id})" in line for line in shown)
    ]
    return "\n".join([*shown, *([f"its other events: {', '.join(unshown)}"] if unshown else [])])


def _facts(finding: Finding) -> set[tuple[str, str]]:
    """Return what a finding says: two findings that share one of these say nearly the same."""
    if finding.beside is None:
        return {("value", str(finding.found)), ("about", finding.about)}
    return {("value", str(finding.beside.value)), ("about", finding.about)}


UNSAID: Final = frozenset({"about it", "order never seen"})
"""Rules of which only the strongest finding is worth a line."""
MAX_LINES: Final = 6


def _shared(step: ChainStep, before: Act, line: str) -> str:
    """Return what links an event to the one before it, unless the line about it says so."""
    if step.shared is None:
        return " (later; no link is recorded)"
    kind, value = step.shared if isinstance(step.shared, tuple) else ("", step.shared)
    link = _link_text(step.shared, before, step.act)
    if kind in {"span", "event"}:
        return f" ({link})"
    if kind == "#":
        value = _same_text(str(value), before, step.act) or value
    return "" if str(value) in line or not link else f" ({link})"


def _link_text(shared: Hashable, before: Act, act: Act) -> str:
    """Return what two events share in words; empty if only a random id without a name is shared."""
    kind, value = shared if isinstance(shared, tuple) else ("", shared)
    if kind == "span":
        return "in the same call"
    if kind == "event":
        return "recorded as its cause"
    if kind == "agent":
        return f"both concern {short(value)}"
    if kind == "#":  # a number such as 58: show the name that both events use, such as P-058
        value = _same_text(str(value), before, act) or value
    if RANDOM_ID.match(str(value)):
        named = next((path for path, own in act.values.items() if own == value), "")
        return f"both have the same {leaf(named).removesuffix('@')}" if named else ""
    return f"both have {kind} {short(value)}" if kind.isidentifier() else f"both have {short(value)}"


def _edges(hypothesis: Hypothesis, words: Wording) -> Iterator[Edge]:
    first = before = hypothesis.first
    links = SharedLinks(words.log)
    for act in hypothesis.acts[1 : 1 + MAX_ALSO]:
        earlier, later = (act, first) if act.place < first.place else (first, act)
        yield _edge(earlier, later, words.act(act), links.closest(earlier, later))
    for step in hypothesis.chain:
        yield _edge(before, step.act, _then(step, before, words), step.shared)
        before = step.act
    ends = [step.finding for step in hypothesis.chain if step.finding is not None]
    for each in [*hypothesis.findings, *hypothesis.late, *ends]:
        if each.rule == "rate changes" and each.first.kind in _COUNTED:
            sort = "stopped" if each.found == 0 else "fell" if each.found < each.usual else "rose"
            agent = dict(each.group).get("agent") or "all"
            effect = f"{agent}:{_COUNTED[each.first.kind]}:{each.about}:{sort}"
            yield Edge(first.id, effect, INFERRED, "rate", words.finding(each))
            return


def _edge(cause: Act, effect: Act, text: str, shared: Hashable) -> Edge:
    is_recorded = cause.id in effect.causes or (cause.span is not None and cause.span == effect.parent)
    basis = RECORDED if is_recorded else INFERRED
    if shared is None:
        return Edge(cause.id, effect.id, basis, "change_after", text)
    tokens = set(cause.tokens).intersection(effect.tokens)
    if any(isinstance(each, tuple) and each[0] == "span" for each in tokens):
        return Edge(cause.id, effect.id, basis, "same_call", text)
    link = _link_text(shared, cause, effect)
    return Edge(cause.id, effect.id, basis, "shared_value", f"{text}{LINK}{link}" if link else text)


_COUNTED: Final = {
    kind.name: kind.series[0] for kind in KINDS.values() if kind.series[1] and kind.series[1] == kind.about
}
"""{kind: the word for what is counted} of those that experiments count by what they are about."""
