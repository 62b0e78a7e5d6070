"""One score for what may have begun an issue.

Each candidate is described by a few measures: how surely something is odd there, how seldom such acts are,
whether the issue speaks of it, and how much of what changes later is linked to it. The score is their
weighted sum: the logarithm of how likely it is the cause beside the others (a conditional logit model).
"""

from __future__ import annotations

import heapq
import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from Agent.analysis.debug.root_causes.acts import Act, Log, Sort, is_number, leaf
from Agent.analysis.debug.root_causes.scan import Finding
from Agent.analysis.debug.root_causes.symptoms import LEAST_BLAME, QUIET, blame
from Agent.analysis.debug.root_causes.web import MAX_LIFE, Web, tokens_of

__all__ = ["Asked", "Hypothesis", "Step", "rank"]

HALF: Final = 7.0
"""So many nats are half of certainty: the best of a thousand chances has about as many."""
WIDTH: Final = 2.0


class Asked(Protocol):
    """What an issue speaks of."""

    agents: frozenset[str]
    """The agents that it names."""

    def relevance(self, hypothesis: Hypothesis) -> float:
        """From 0 to 1, how much of a hypothesis it speaks of."""

    def symptoms(self, log: Log, findings: Sequence[Finding]) -> dict[int, float]:
        """{place: how likely it is that the text speaks of this event}."""


class Step(NamedTuple):
    """One step from a cause to the issue: what it leads to, by which rule, and what both hold."""

    finding: Finding
    rule: str
    shared: Hashable = None


@dataclass(slots=True)
class Hypothesis:
    """Findings that begin with the same acts, or a seldom act."""

    findings: list[Finding]
    step: int
    tokens: dict[Hashable, float]
    strength: float
    """From 0 to 1, how sure it is that something is odd there; of a seldom act one in so many like it."""
    relevance: float = 0.0
    score: float = 0.0
    chance: float = 0.0
    """The share of this candidate among all of the session, by the score."""
    symptom: float = 0.0
    """How surely there is what the issue speaks of, whatever caused it."""
    measures: dict[str, float] = field(default_factory=dict)
    acts: list[Act] = field(default_factory=list)
    """The act that it is about, where that is no finding itself."""
    triggers: list[Act] = field(default_factory=list)
    """Seldom acts by or about who changed, before it did."""
    path: list[Act] = field(default_factory=list)
    """What happened to the things that it is about, until right after it."""
    chain: list[Step] = field(default_factory=list)
    """From it to what the issue speaks of."""
    beside: list[Hypothesis] = field(default_factory=list)
    """Less likely candidates at the same step about the same things: parts of the same incident."""

    @property
    def first(self) -> Act:
        """The act that begins it."""
        return self.acts[0] if self.acts else self.findings[0].first

    @property
    def owner(self) -> str:
        """Whom it is about."""
        return self.acts[0].agent if self.acts else _owner(self.findings[0])

    def shown(self) -> list[Act]:
        """The acts to name: those of which most findings tell, then others by how much blame reaches them."""
        own = self.own_acts()
        sides = [acts[:2] for acts in (own, *(each.own_acts() for each in self.beside))]
        told = [acts[n] for n in range(2) for acts in sides if n < len(acts)]
        others = sorted([*self.triggers, *self.path, *own], key=lambda act: -act.blame)
        return list({act.id: act for act in [*told, *others]}.values())[:MAX_SHOWN]

    def own_acts(self) -> list[Act]:
        """The acts of its own findings; first those that most of the findings are about."""
        told: dict[str, tuple[float, Act]] = {}
        for finding in self.findings:
            for place, act in enumerate([*_telling(finding)[:3], *finding.extras[:3]]):
                worth = _worth(finding) / (1 + place)
                told[act.id] = told.get(act.id, (0.0, act))[0] + worth, act
        own = [act for _, act in sorted(told.values(), key=lambda pair: (-pair[0], pair[1].place))]
        return [*self.acts, *own]


def _telling(finding: Finding) -> Sequence[Act]:
    """The acts that show it; those of a change of rate only stand for the steps that are counted."""
    if finding.rule == "follow-up missing":
        return [*finding.extras, *finding.acts]
    return finding.extras or finding.acts[:1] if finding.rule == "rate changes" else finding.acts


WEIGHTS: Final = {
    "strength": 1.44,
    "rules": 0.96,
    "single": 1.56,
    "relevance": 1.22,
    "before": 2.21,
    "reach": 0.16,
    "late": 1.91,
    "alike": -0.17,
    "near": 1.64,
    "named": -2.51,
    "blame": 0.52,
    "then": -2.66,
}
"""Fitted by maximum likelihood, with a penalty of 0.003 on the squares, to 639 sessions with a planted fault.

strength    how sure it is that something is odd there, from 0 to 1
rules       the logarithm of one more than how many relations break there
single      whether it is one event rather than a course
relevance   how much of it the issue speaks of, from 0 to 1
before      the share of what the issue speaks of that begins after it
reach       the logarithm of how much changes after it in what is linked to it
late        the logarithm of its place in the first quarter, else 0: at the beginning all is new
alike       the logarithm of one more than how many findings of its rule are surer: what breaks everywhere
            says little
near        how near it is to a thing that the issue names, as far as it is not odd by itself
named       whether it is about an agent that the issue names, as far as it is not odd by itself: what is
            complained of is there more often than what brought it about
blame       the logarithm of how much of the blame that flows back from what the issue speaks of reaches it
then        how much of what the issue speaks of is at its own step
"""


def rank(log: Log, findings: Sequence[Finding], asked: Asked) -> list[Hypothesis]:
    """What may have begun an issue, likeliest first."""
    if not log.acts:
        return []
    rare = Rarity(log)
    found = _merged([each for each in findings if _worth(each) > _least(each)])
    if not found:
        return []  # nothing changes in this session, so its rare acts explain nothing
    shares = asked.symptoms(log, findings)
    blame(log, shares)
    found += _blamed(log, rare, found)
    for each in found:
        each.relevance = asked.relevance(each)
    web = Web(log)
    symptoms = {n: each.strength * each.relevance for n, each in enumerate(found) if each.findings}
    after = _measure(log, found, symptoms, web, asked)
    _measure_blame(log, found, shares)
    for n, each in enumerate(found):
        each.chain = _chain(found, n, after, symptoms, web, asked.agents)
        each.score = sum(weight * each.measures[name] for name, weight in WEIGHTS.items())
    found.sort(key=lambda each: (-each.score, each.first.place))
    total = sum(math.exp(each.score - found[0].score) for each in found)
    missing = math.prod(1 - each.strength * each.relevance for each in found if each.findings)
    for each in found:
        each.chance = math.exp(each.score - found[0].score) / total
        each.symptom = 1 - missing
    kept = _apart(found, web)
    contacts = {agent: set(own) for agent, own in web.whence.items()}
    for each in kept:
        if each.findings:
            each.triggers = rare.triggers(each, contacts)
        each.path = rare.path(each.first)
    return kept


MAX_KEPT: Final = 12
MIN_NATS: Final = 1.0
MIN_LOCAL: Final = 1.5


def _measure(
    log: Log, found: list[Hypothesis], symptoms: dict[int, float], web: Web, issue: Asked
) -> dict[int, int]:
    """Fill `measures`; what it gives says of each candidate to which one most of its blame is due."""
    reach, after = _blame(found, symptoms, web)
    whole = sum(symptoms.values()) or 1.0
    asked = _asked_after(found, symptoms)
    alike = _alike(found)
    for n, each in enumerate(found):
        first, is_act = each.first, not each.findings
        single = not is_act and (len(each.findings[0].acts) == 1 or each.findings[0].found == 1)
        near = max(
            [act.near for act in each.acts[:1]] + [finding.first.near for finding in each.findings[:4]]
        )
        each.measures = {
            "strength": each.strength,
            "rules": math.log1p(_relations(each.findings)),
            "single": float(single),
            "relevance": each.relevance,
            "before": asked[n] / whole,
            "reach": math.log1p(reach[n]),
            "near": near * (1 - each.strength),
            "named": float(each.owner in issue.agents) * (1 - each.strength),
            "late": min(0.0, math.log((first.step + 1) / (FIRST_QUARTER * log.steps))),
            "alike": alike[n],
        }
    return after


def _measure_blame(log: Log, found: Sequence[Hypothesis], shares: Mapping[int, float]) -> None:
    """Add to `measures` what the blame that flows back from the symptoms says."""
    at_step: dict[int, float] = defaultdict(float)
    for place, share in shares.items():
        at_step[log.acts[place].step] += share
    for each in found:
        most = max(act.blame for act in each.own_acts()[:MAX_SHOWN])
        each.measures["blame"] = math.log(LEAST_BLAME + most)
        each.measures["then"] = at_step.get(each.step, 0.0)


def _alike(found: Sequence[Hypothesis]) -> list[float]:
    """For each candidate, log(1 + n) of the n surer findings of its rule; of several rules the least."""
    by_rule: dict[str, list[float]] = defaultdict(list)
    for each in found:
        for finding in each.findings:
            if not finding.local:
                by_rule[finding.rule].append(-finding.nats)
    for nats in by_rule.values():
        nats.sort()
    return [
        min(
            (
                math.log1p(bisect_left(by_rule[finding.rule], -finding.nats))
                for finding in each.findings
                if not finding.local
            ),
            default=0.0,
        )
        for each in found
    ]


def _relations(findings: Sequence[Finding]) -> int:
    """How many relations break; items of one list are one."""
    return len({(each.rule, _ITEM.sub("[]", each.about)) for each in findings if not each.local})


_ITEM: Final = re.compile(r"\[[0-9]+\]")
FIRST_QUARTER: Final = 0.25


def _asked_after(found: list[Hypothesis], symptoms: dict[int, float]) -> list[float]:
    """How much of what is asked about begins after each candidate."""
    asked, weight = [0.0] * len(found), 0.0
    for n in sorted(range(len(found)), key=lambda n: (-found[n].first.place, -n)):
        asked[n] = weight
        weight += symptoms.get(n, 0.0)
    return asked


def _chain(
    found: list[Hypothesis],
    n: int,
    after: dict[int, int],
    symptoms: dict[int, float],
    web: Web,
    named: frozenset[str],
) -> list[Step]:
    """The way from a candidate to what the issue speaks of; by time alone where nothing links them.

    What somebody else does is an end of it only if the issue speaks of that more than of the candidate, and
    does not name the candidate's agent.
    """
    start, steps, seen = found[n], list[Step](), {n}
    ends = {
        m: weight
        for m, weight in symptoms.items()
        if m != n
        and weight
        and found[m].step >= start.step
        and (
            found[m].owner == start.owner
            or (found[m].relevance > start.relevance and start.owner not in named)
        )
    }
    most = max(ends.values(), default=0.0)
    while n in after and after[n] not in seen and len(steps) < MAX_CHAIN:
        before, n = n, after[n]
        seen.add(n)
        shared = [token for token in found[n].tokens if token in found[before].tokens]
        rule = "shared_value" if shared else "handed_on"
        steps.append(Step(found[n].findings[0], rule, max(shared, key=web.weight, default=None)))
        if ends.get(n, 0.0) >= most / 2 > 0:
            return steps
    # within one step the log's order need not be that of cause and effect
    clear = [m for m, weight in ends.items() if weight >= most / 2]
    if not clear:
        return []
    first = min(clear, key=lambda m: (found[m].step, -ends[m]))
    return [Step(found[first].findings[0], "change_after")]


MAX_CHAIN: Final = 5


def _own(hypothesis: Hypothesis) -> list[Act]:
    """The acts that tell of whom it is about."""
    if hypothesis.acts:
        return hypothesis.acts
    finding = hypothesis.findings[0]
    owner = _owner(finding)
    own = [act for act in [*finding.acts, *finding.extras] if act.agent == owner]
    return own or finding.acts


def _blame(
    found: list[Hypothesis], symptoms: dict[int, float], web: Web
) -> tuple[list[float], dict[int, int]]:
    """How many changes follow each candidate, and to which one it leads.

    Backwards in time each candidate passes the blame for what the issue speaks of on to what it is linked to
    before it; a candidate leads to the one from which it gets most.
    """
    order = sorted(range(len(found)), key=lambda n: -found[n].first.place)
    whole = sum(symptoms.values()) or 1.0
    held = [symptoms.get(n, 0.0) / whole for n in range(len(found))]
    reach = [0.0] * len(found)
    linked = _links(found, web)
    after: dict[int, tuple[float, int]] = {}
    for n in order:
        each = found[n]
        if not each.findings:
            continue
        slack = BLUR if each.findings[0].rule in BLURRED else -1
        links: dict[int, float] = {}
        for m, link in linked(n).items():
            other = found[m]
            if other.first.place < each.first.place or (m != n and other.step - each.step <= slack):
                links[m] = other.strength * link
                reach[m] += each.strength * link
        total = sum(links.values())
        for m, link in links.items():
            share = held[n] * link / total
            after[m] = max(after.get(m, (0.0, n)), (share, n))
            if found[m].first.place < each.first.place:  # what lies after it has had its turn
                held[m] += share
    return reach, {m: n for m, (_, n) in after.items()}


def _links(found: list[Hypothesis], web: Web) -> Callable[[int], dict[int, float]]:
    """What gives the links of a candidate to others, from 0 to 1, by place in `found`."""
    carriers: dict[Hashable, list[int]] = defaultdict(list)
    owned: dict[str, list[int]] = defaultdict(list)
    for n, each in enumerate(found):
        owned[each.owner].append(n)
        for token in each.tokens:
            carriers[token].append(n)

    def links(n: int) -> dict[int, float]:
        miss: dict[int, float] = defaultdict(float)
        for token in found[n].tokens:
            apart = math.log(1 - web.weight(token))
            for m in carriers[token]:
                miss[m] += apart
        made = {m: 1 - math.exp(apart) for m, apart in miss.items()}
        for agent, share in web.whence.get(found[n].owner, {}).items():
            for m in owned.get(agent, ()):
                made[m] = max(made.get(m, 0.0), math.sqrt(share))
        made.pop(n, None)
        return {m: link for m, link in made.items() if link > 0}

    return links


def _apart(found: list[Hypothesis], web: Web) -> list[Hypothesis]:
    """Without those that say what a likelier one says already, which gets their share."""
    kept: list[Hypothesis] = []
    said: dict[str, Hypothesis] = {}
    for each in found:
        own = [act.id for act in each.shown()]
        same = next((other for other in kept if _is_one_change(other, each)), None)
        if same is None and own[0] in said and (len(own) == 1 or own[1] in said):
            same = said[own[0]]
        if same is None:
            same = next((other for other in kept if _is_one_incident(other, each, web)), None)
            if same is not None and len(same.beside) < MAX_BESIDE:
                same.beside.append(each)
                for act in own[:2]:
                    said.setdefault(act, same)
        if same is not None:
            same.chance += each.chance
        elif len(kept) < MAX_KEPT:
            kept.append(each)
            for identity in own:
                said.setdefault(identity, each)
    return kept


MAX_BESIDE: Final = 2


def _is_one_incident(one: Hypothesis, other: Hypothesis, web: Web) -> bool:
    """Whether both begin at one step with acts about a thing, value or message that few others share."""
    if one.step != other.step:
        return False
    shared = set(one.first.tokens).intersection(other.first.tokens)
    return any(web.weight(token) >= 0.5 for token in shared)


def _is_one_change(one: Hypothesis, other: Hypothesis) -> bool:
    """Whether both tell of one change: a relation that breaks again, or one owner's rates and levels."""
    if not one.findings or not other.findings:
        return False
    first, second = one.findings[0], other.findings[0]
    if (first.rule, first.about, first.group) == (second.rule, second.about, second.group):
        return True
    is_copy = is_number(first.found) and leaf(first.about) == leaf(second.about)
    if is_copy and (first.rule, first.found, first.usual) == (second.rule, second.found, second.usual):
        return True
    if (
        one.owner == other.owner
        and abs(one.step - other.step) <= BLUR
        and first.rule in BLURRED
        and second.rule in BLURRED
    ):
        return True
    if first.rule == second.rule == "follow-up missing" and first.extras and first.extras == second.extras:
        return True
    return first.rule in LACKING and second.rule == first.rule and _lacks(first) == _lacks(second)


LACKING: Final = frozenset({"follow-up missing", "precondition missing"})


def _lacks(finding: Finding) -> tuple[str, object]:
    """What is missing, and where."""
    arrow = " -> " if finding.rule == "follow-up missing" else " before "
    before, _, after = finding.about.partition(arrow)
    return after if arrow == " -> " else before, tuple(pair for pair in finding.group if pair[0] != "agent")


MAX_BLAMED: Final = 30


def _blamed(log: Log, rare: Rarity, found: Sequence[Hypothesis]) -> list[Hypothesis]:
    """The acts that most blame reaches, but those that a finding is about already."""
    told = {act.id for each in found for act in _telling(each.findings[0])[:1]}
    reached: dict[tuple[Sort, str], Act] = {}
    for act in log.acts:
        if not act.blame or act.kind in QUIET or act.failed or act.id in told:
            continue
        # of what somebody does again and again, the time to which most blame leads
        most = reached.setdefault((act.sort, act.agent), act)
        if act.blame > most.blame:
            reached[act.sort, act.agent] = act
    return [
        Hypothesis([], act.step, tokens_of([act]), 1.0 / rare.steps_of[act.sort], acts=[act])
        for act in heapq.nlargest(MAX_BLAMED, reached.values(), key=lambda act: act.blame)
    ]


class Rarity:
    """How seldom acts of a sort are, to tell which of those before a change may have brought it."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.first_of_step: dict[int, int] = {}
        for act in log.acts:
            self.first_of_step.setdefault(act.step, act.place)
        steps: dict[tuple[str, str], set[int]] = defaultdict(set)
        for sort, acts in log.by_sort.items():
            steps[sort[1:]].update(act.step for act in acts)
        # whoever does it, it is the same
        self.steps_of = {sort: len(steps[sort[1:]]) for sort in log.by_sort}
        self.by_agent = Counter((act.sort, act.agent) for act in log.acts)

    def triggers(self, hypothesis: Hypothesis, contacts: dict[str, set[str]]) -> list[Act]:
        """Seldom acts by or about the owner, or by whom it deals with, before the first finding."""
        finding = hypothesis.findings[0]
        acts, first = self.log.acts, finding.first
        owners = {first.agent, *(value for _, value in finding.group)} - {""}
        near = set().union(*(contacts.get(owner, set()) for owner in owners)) if owners else set()
        end = first.place
        if finding.rule in BLURRED:
            end = self.first_of_step.get(first.step + BLUR, len(acts)) - 1
        rated: list[tuple[float, int, Act]] = []
        for act in acts[: end + 1]:
            if (act is first and finding.rule != "rate changes") or act.kind in QUIET:
                continue
            if (
                act.agent in owners
                or owners & set(act.mentions)
                or any(value in owners for value in act.values.values() if isinstance(value, str))
            ):
                far = 1.0
            elif not act.agent or act.agent in near:
                far = 2.0
            else:
                far = 5.0
            own = self.by_agent[act.sort, act.agent] if act.agent in owners else self.steps_of[act.sort]
            lag = abs(first.step - act.step) + 1
            if act.place < finding.since:
                lag += 2  # the group was as usual afterwards
            rated.append((own * lag * far, act.place, act))
        rated.sort(key=lambda each: each[:2])
        chosen: dict[object, Act] = {}
        by_others = self._set_by_others(owners, end)
        if by_others is not None:
            chosen[by_others.sort, by_others.step] = by_others
        for _, _, act in rated:
            chosen.setdefault((act.sort, act.step), act)
        return list(chosen.values())[:4]

    def _set_by_others(self, owners: set[str], end: int) -> Act | None:
        """The last seldom act before a place by which somebody else names an owner, however long before."""
        most = math.sqrt(self.log.steps)
        for act in reversed(self.log.acts[: end + 1]):
            if (
                act.agent not in owners
                and owners.intersection(act.mentions)
                and act.kind not in QUIET
                and not act.failed
                and self.steps_of[act.sort] <= most
            ):
                return act
        return None

    def path(self, act: Act) -> list[Act]:
        """What happened to the things that an act is about until a step later, what got most blame first."""
        found = {
            other.place: other
            for thing in act.things
            if len(life := self.log.by_thing[thing]) <= MAX_LIFE
            for other in life
            if other.step <= act.step + 1 and other.place != act.place and other.kind not in QUIET
        }
        return sorted(found.values(), key=lambda other: (-other.blame, other.place))


BLURRED: Final = frozenset({"level shifts", "rate changes", "drifts"})
BLUR: Final = 3
MAX_SHOWN: Final = 10


def _merged(findings: Sequence[Finding]) -> list[Hypothesis]:
    by_key: dict[tuple[int, str], list[Finding]] = defaultdict(list)
    for finding in sorted(
        findings, key=lambda each: (-_worth(each), each.first.place, each.rule, each.about)
    ):
        by_key[finding.step, _owner(finding)].append(finding)
    found = []
    for (step, _), group in by_key.items():
        made = Hypothesis(group, step, {}, _sure(_worth(group[0])))
        made.tokens = tokens_of(_own(made)[:3])
        found.append(made)
    return found


def _least(finding: Finding) -> float:
    return MIN_LOCAL if finding.local else MIN_NATS


def _worth(finding: Finding) -> float:
    """Its nats; of what is told only because it is near what the issue names, less with each hop."""
    return finding.nats * finding.first.near if finding.local else finding.nats


def _sure(nats: float) -> float:
    return 1 / (1 + math.exp(-(nats - HALF) / WIDTH))


def _owner(finding: Finding) -> str:
    named = dict(finding.group).get("agent")
    return named if named is not None else finding.first.agent
