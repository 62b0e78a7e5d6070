"""One score for what may have begun an issue: how sure it is, what it reaches, and what came before it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from Agent.analysis.root_causes.acts import Act, Log
from Agent.analysis.root_causes.scan import Finding

__all__ = ["Hypothesis", "rank"]

HALF: Final = 7.0
"""So many nats are half of certainty: the best of a thousand chances has about as many."""
WIDTH: Final = 2.0


@dataclass(slots=True)
class Hypothesis:
    """Findings that begin with the same acts."""

    findings: list[Finding]
    step: int
    agents: frozenset[str]
    things: frozenset[object]
    strength: float
    relevance: float = 0.0
    reach: float = 0.0
    asked: float = 0.0
    effects: float = 0.0
    """How many changes it may have led to, each by how sure and how near to the issue it is."""
    score: float = 0.0
    acts: list[Act] = field(default_factory=list)
    """The act that it is about, where that is no finding itself."""
    triggers: list[Act] = field(default_factory=list)
    """Seldom acts by or about who changed, between what was usual and what was not."""

    path: list[Act] = field(default_factory=list)
    """What happened before to the thing that the first finding is about."""

    begins: list[Finding] = field(default_factory=list)
    """What changes right after the act."""
    leads_to: list[Finding] = field(default_factory=list)
    """What changes later and is linked to it, what the issue speaks of first."""

    def shown(self) -> list[Act]:
        """The acts to name, those that began it first."""
        acts: dict[str, Act] = {}
        for act in [
            *self.acts,
            *(self.findings[0].acts[:2] if self.findings else ()),
            *(act for each in self.begins for act in each.acts[:1]),
            *self.triggers[:3],
            *self.path[:3],
            *(act for each in self.findings[:4] for act in [*each.acts[:3], *each.extras[:3]]),
        ]:
            acts.setdefault(act.id, act)
        return list(acts.values())[:MAX_SHOWN]


def rank(log: Log, findings: Sequence[Finding], relevance: Callable[[Hypothesis], float]) -> list[Hypothesis]:
    """What may have begun an issue, likeliest first.

    Args:
        relevance: from 0 to 1, how much of a hypothesis the issue speaks of.
    """
    found = _merged(findings, log.steps)
    rare, contacts = Rarity(log), _contacts(log)
    for each in found:
        each.relevance = relevance(each)
        each.triggers = rare.triggers(each, contacts)
        each.path = rare.upstream(each.findings[0].first)
    found += _seldom(log, found, rare, contacts, relevance)
    effects = [each for each in found if each.findings]
    total = sum(each.strength * (0.3 + each.relevance) for each in effects) or 1.0
    for each in found:
        reached = asked = 0.0
        later: list[tuple[float, Finding]] = []
        for other in effects:
            if other is not each and other.step >= each.step:
                link = other.strength * _link(log, each, other, contacts)
                reached += link * (0.3 + other.relevance)
                asked += link * other.relevance
                later.append((link * (0.3 + other.relevance), other.findings[0]))
        each.asked = asked
        later.sort(key=lambda pair: (-pair[0], pair[1].first.place))
        each.leads_to = [finding for worth, finding in later[:4] if worth > 0.1]
        each.effects = reached
        own = each.strength * (0.3 + each.relevance) if each.findings else 0.0
        each.reach = (reached + LONE) / (max(0.0, total - own) + LONE)
        each.score = each.strength * (0.3 + each.reach) * (0.7 + 0.3 * each.relevance)
    found.sort(key=lambda each: (-each.score, each.shown()[0].place))
    return _apart(found)


def _apart(found: list[Hypothesis]) -> list[Hypothesis]:
    """Without those that say what a likelier one says already."""
    kept: list[Hypothesis] = []
    said: set[str] = set()
    for each in found:
        own = [act.id for act in each.shown()]
        if own[0] in said and (len(own) == 1 or own[1] in said):
            continue
        said.update(own)
        kept.append(each)
    return kept


LONE: Final = 0.3
"""Where nothing else changes, nothing is left unexplained."""
SELDOM: Final = 0.06
"""An act is looked at for its effects if its sort comes at most so often a step."""
SOON: Final = 2
LATER: Final = 0.08


def _seldom(
    log: Log,
    found: list[Hypothesis],
    rare: Rarity,
    contacts: dict[str, set[str]],
    relevance: Callable[[Hypothesis], float],
) -> list[Hypothesis]:
    """Seldom acts after which something changes; those of one moment share what they may explain."""
    candidates: list[tuple[Act, float]] = []
    together: dict[object, list[Act]] = {}
    most = max(2.0, SELDOM * log.steps)
    for act in log.acts:
        if act.kind in QUIET or act.failed or act.kind == "log":
            continue
        times = rare.steps_of[act.sort]
        if times <= most:
            alike = together.setdefault((act.sort, act.step), [])
            alike.append(act)
            if len(alike) == 1:
                candidates.append((act, 1.0 / math.sqrt(times)))
    made = []
    explained: dict[int, float] = defaultdict(float)
    pairs: list[tuple[Act, int, float]] = []
    for act, weight in candidates:
        one = _act_alone(together[act.sort, act.step], 0.0)
        for n, each in enumerate(found):
            lag = each.step - act.step
            if lag < -1 or (
                lag <= 0 and each.findings[0].first.place < act.place and each.findings[0].rule not in BLURRED
            ):
                continue
            near = 1.0 if lag <= SOON else math.exp(-(lag - SOON) / (LATER * log.steps))
            worth = weight * near * _link(log, one, each, contacts)
            if worth > 0.05:
                pairs.append((act, n, worth))
                explained[n] += worth
    by_act: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for act, n, worth in pairs:
        by_act[act.place].append((n, worth * worth / explained[n]))
    for act, _ in candidates:
        own = sorted(by_act.get(act.place, ()), key=lambda pair: -pair[1] * found[pair[0]].strength)[:6]
        miss = 1.0
        for n, worth in own:
            miss *= 1 - worth * found[n].strength
        if miss < 0.9:
            one = _act_alone(together[act.sort, act.step], 1 - miss)
            one.begins = [found[n].findings[0] for n, _ in own[:2]]
            one.relevance = relevance(one)
            made.append(one)
    return made


def _act_alone(acts: list[Act], strength: float) -> Hypothesis:
    agents = {agent for act in acts for agent in (act.agent, *act.mentions)} - {""}
    things = {thing for act in acts for thing in act.things}
    return Hypothesis([], acts[0].step, frozenset(agents), frozenset(things), strength, acts=acts[:4])


class Rarity:
    """How seldom acts of a sort are, to tell which of those before a change may have brought it."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.first_of_step: dict[int, int] = {}
        for act in log.acts:
            self.first_of_step.setdefault(act.step, act.place)
        self.back = max(3, round(BACK * log.steps))
        self.steps_of = {sort: len({act.step for act in acts}) for sort, acts in log.by_sort.items()}
        self.by_agent = Counter((act.sort, act.agent) for act in log.acts)

    def triggers(self, hypothesis: Hypothesis, contacts: dict[str, set[str]]) -> list[Act]:
        """Seldom acts by or about the owner, or by whom it deals with, just before the first finding."""
        finding = hypothesis.findings[0]
        acts, first = self.log.acts, finding.first
        owners = {first.agent, *(value for _, value in finding.group)} - {""}
        near = set().union(*(contacts[owner] for owner in owners)) if owners else set()
        begin = self.first_of_step.get(max(0, first.step - self.back), 0)
        end = first.place
        if finding.rule in BLURRED:
            end = self.first_of_step.get(first.step + BLUR, len(acts)) - 1
        rated: list[tuple[float, int, Act]] = []
        for act in acts[begin : end + 1]:
            if act is first or act.kind in QUIET:
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
            expected = own * lag / self.log.steps * far
            if expected < MAX_EXPECTED:
                rated.append((expected, act.place, act))
        rated.sort(key=lambda each: each[:2])
        chosen: dict[object, Act] = {}
        for _, _, act in rated:
            chosen.setdefault((act.sort, act.step), act)
        return list(chosen.values())[:4]

    def upstream(self, act: Act) -> list[Act]:
        """What happened before to the things that an act is about, nearest first."""
        found: dict[int, Act] = {}
        for thing in act.things:
            life = self.log.by_thing[thing]
            if len(life) <= MAX_LIFE:
                for other in life:
                    if other.place < act.place and other.kind not in QUIET:
                        found[other.place] = other
        places = sorted(found)
        # how it began, and what came right before
        return [found[place] for place in dict.fromkeys([*places[:1], *reversed(places)])]


MAX_LIFE: Final = 400
QUIET: Final = frozenset({"context_entry", "context_exit", "state", "metric", "resource", "throughput"})
BLURRED: Final = frozenset({"level shifts", "rate changes"})
BLUR: Final = 3
BACK: Final = 0.1
MAX_EXPECTED: Final = 0.8
MAX_SHOWN: Final = 10


EARLY: Final = 0.1
"""A change within the first tenth has little past to be unlike."""


def _merged(findings: Sequence[Finding], steps: int) -> list[Hypothesis]:
    by_key: dict[tuple[int, str], list[Finding]] = defaultdict(list)
    for finding in sorted(findings, key=lambda each: (-each.nats, each.first.place, each.rule, each.about)):
        by_key[finding.step, _owner(finding)].append(finding)
    found = []
    for (step, _), group in by_key.items():
        miss = 1.0
        for n, each in enumerate(group[:4]):
            miss *= 1 - _sure(each.nats) * (1.0 if n == 0 else 0.3)
        is_late = group[0].rule == "never done" or step + 1 > EARLY * steps
        early = 1.0 if is_late else (step + 1) / (EARLY * steps + 1)
        acts = [each.first for each in group]
        found.append(
            Hypothesis(
                group, step, frozenset(act.agent for act in acts if act.agent),
                frozenset(thing for act in acts for thing in act.things),
                (1 - miss) * early,
            )
        )  # fmt: skip
    return found


def _sure(nats: float) -> float:
    return 1 / (1 + math.exp(-(nats - HALF) / WIDTH))


def _owner(finding: Finding) -> str:
    named = dict(finding.group).get("agent")
    return named if named is not None else finding.first.agent


def _contacts(log: Log) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    spans = {act.span: act.agent for act in log.acts if act.span}
    by_id = {act.id: act.agent for act in log.acts}
    for act in log.acts:
        for other in (spans.get(act.parent or ""), *(by_id.get(cause) for cause in act.causes)):
            if other and other != act.agent:
                found[act.agent].add(other)
                found[other].add(act.agent)
    for act in log.acts:
        for other in act.mentions:
            found[act.agent].add(other)
            found[other].add(act.agent)
    for acts in log.by_thing.values():
        agents = {act.agent for act in acts[:20]}
        if len(agents) <= 8:
            for agent in agents:
                found[agent] |= agents
    return found


def _link(log: Log, one: Hypothesis, other: Hypothesis, contacts: dict[str, set[str]]) -> float:
    if one.agents & other.agents:
        return 1.0
    if one.things & other.things:
        return 0.9
    if any(contacts[agent] & other.agents for agent in one.agents):
        return 0.7
    if {log.roles.get(agent) for agent in one.agents} & {log.roles.get(agent) for agent in other.agents}:
        return 0.6
    return 0.4
