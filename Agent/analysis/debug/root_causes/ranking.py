"""Rank all events of a session by one score: how likely each is the cause of the issue.

The score is the logarithm of a likelihood ratio, up to a constant: how often an event with these features is
the true cause, relative to how often it is another event. Six features describe how an event relates to what
the issue speaks of, the others how unusual it is among its siblings. A cause consists of an event and the
likeliest of those that share something with it; together the causes hold as much probability as they can.
The next likeliest events are named beside them.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple, Protocol

from Agent.analysis.debug.root_causes.acts import Act, Log, Sort
from Agent.analysis.debug.root_causes.measures import CauseMeasures, boosted_trees, surprises
from Agent.analysis.debug.root_causes.scan import LEAST_CHANGE, MAX_NATS, Finding
from Agent.analysis.debug.root_causes.symptoms import LEAST_BLAME, Blame, blame, blame_that_reaches, oddness
from Agent.event.kinds import SNAPSHOT

WEIGHTS: Final = {
    "leads": 0.56,
    "breaks": 0.24,
    "near": 1.61,
    "before": 1.53,
    "then": -2.53,
    "late": 1.79,
    "odd": 0.27,
    "odd near": 0.67,
    "single": 2.05,
    "alike": -0.77,
    "after it": 0.3,
    "before it": 0.2,
}
"""Fitted by maximum likelihood (a conditional logit over all events of a session, with a penalty of 0.003 on
the squares) to 321 sessions with a planted fault, from worlds by six authors; the last two, later, to 326
sessions from worlds by eight authors, and reduced by a quarter. docs/EXPLAIN.md says what
each one gains.

leads       log of the blame for what the issue speaks of that reaches the event, relative to the mean of its
            sort: siblings had the same act without that effect
breaks      log of the blame for all findings of the session that reaches the event from later ones
near        nearness to a thing that the issue names, 0 to 1
before      the share of what the issue speaks of that happens after the event
then        the share that happens in the same step until then: a symptom is not a cause
late        log of its place within the first quarter, else 0: at the beginning much is new
odd         nats of the finding about the event that adds most to the score
odd near    nats of rarity near what the issue names, less with each hop
single      whether that finding is about one event rather than a series, less if chance may explain it
alike       log of the number of events of its kind and name, whoever did them: each kind of act is a
            suspect before each of its events
after it    nats by which what follows it about the same thing is rarer than usual (`surprises`)
before it   the same of what precedes it
"""
HALF: Final = 7.0
"""Nats that count half: the best of a thousand random tests has about as many."""
MAX_JUDGED: Final = 500
"""The likeliest causes by these weights alone, which the trees of `causes.json` order."""
TREES: Final = "causes"
MAX_KEPT: Final = 6
MAX_ACTS: Final = 6
"""Maximum number of events by which causes are formed: readers look at few."""
MAX_NAMED: Final = 12
"""Maximum number of events that a cause names: the next ones are right in a tenth of all sessions."""
MAX_LOOKED_AT: Final = 60
MAX_BESIDE: Final = 150
"""How many of the likeliest events may be named beside those that form a cause."""
MAX_CHAIN: Final = 4
LEADING: Final = 0.5
"""An event is what the issue speaks of if it is at least so likely, relative to the likeliest."""
MIN_NATS: Final = 1.0


class Asked(Protocol):
    """What an issue speaks of."""

    text: str

    def symptoms(self, log: Log, findings: Sequence[Finding]) -> dict[int, float]:
        """Return {place: probability that the text refers to this event}."""


class ChainStep(NamedTuple):
    """One step from a cause to the issue: the next event, and what is unusual about it."""

    act: Act
    finding: Finding | None
    shared: Hashable
    """What the event shares with the previous one; None if only time connects them."""
    is_asked: bool = False
    """Whether it is among the events that the issue most likely speaks of."""


class ScoredFinding(NamedTuple):
    """A finding, with its nats at one of its events."""

    nats: float
    finding: Finding


@dataclass(slots=True)
class Hypothesis:
    """Events that share something with one of them and together are the likeliest of those that remain."""

    acts: list[Act]
    """The events, likeliest first."""
    findings: list[Finding]
    """What is unusual about the first event, strongest finding first."""
    score: float
    chance: float
    """The events' share of the probability over all events of the session, by score."""
    chain: list[ChainStep] = field(default_factory=list)
    """The path from the first event to what the issue speaks of."""
    late: list[Finding] = field(default_factory=list)
    """What is unusual about the first event, but begins after the next one of the path: no cause of that."""
    beside: list[Act] = field(default_factory=list)
    """The next likeliest events that are linked to the first and form no other cause."""
    spread: float = 0.0
    """Entropy, in nats, of what the issue may speak of: 0 if it is one event for sure."""
    change: float = 0.0
    """Mean nats of the strongest change that begins with what the issue speaks of."""

    @property
    def first(self) -> Act:
        """The likeliest act."""
        return self.acts[0]


def rank(log: Log, findings: Sequence[Finding], asked: Asked) -> list[Hypothesis]:
    """Return possible causes of an issue, likeliest first; empty if nothing in the session is unusual."""
    if all(each.kind == SNAPSHOT for each in log.acts) or not any(
        each.worth >= MIN_NATS for each in findings
    ):
        return []
    by_place = findings_by_place(findings)
    shares = asked.symptoms(log, findings)
    blamed = blame(log, shares)
    judge = boosted_trees(TREES)
    scores = {
        place: judge.score(measures, WEIGHTS)
        for place, measures in measures_of_causes(log, findings, by_place, shares, blamed).items()
    }
    likeliest = heapq.nlargest(MAX_BESIDE, scores, key=lambda place: (scores[place], -place))
    ordered = likeliest[:MAX_LOOKED_AT]
    best = scores[ordered[0]]
    # Of a sample, an event far from what is asked also stands for those that were not read.
    whole = sum(
        math.exp(score - best) * (1.0 if log.acts[place].near else log.each)
        for place, score in scores.items()
    )
    chances = {place: math.exp(scores[place] - best) / whole for place in ordered}
    spread = -sum(share * math.log(share) for share in shares.values() if share)
    changes, _, _ = oddness(findings)
    change = sum(share * changes.get(place, 0.0) for place, share in shares.items())
    found: list[Hypothesis] = []
    while ordered and len(found) < MAX_KEPT:
        # Together the causes are to hold as much of the probability as they can.
        groups = (_group(log, place, ordered, MAX_ACTS - 1, is_asked=bool(asked.text)) for place in ordered)
        own = max(groups, key=lambda group: sum(chances[place] for place in group))
        own.sort(key=ordered.index)
        ordered = [place for place in ordered if place not in own]
        place = own[0]
        found.append(
            Hypothesis(
                [log.acts[each] for each in own],
                [each.finding for each in by_place.get(place, ())],
                scores[place],
                sum(chances[each] for each in own),
                _chain(log, place, shares, blamed, by_place, is_asked=bool(asked.text)),
                spread=spread,
                change=change,
            )
        )
    formed = {act.place for each in found for act in each.acts}
    rest = [place for place in likeliest if place not in formed]
    for each in found:
        # What comes after the effect is no cause of it.
        end = max(act.place for act in (each.first, *(step.act for step in each.chain)))
        earlier, more = [place for place in rest if place <= end], MAX_NAMED - len(each.acts)
        _, *beside = _group(log, each.first.place, earlier, more, is_asked=bool(asked.text))
        each.beside = [log.acts[place] for place in beside]
        rest = [place for place in rest if place not in beside]
    return found


def _group(log: Log, place: int, ordered: Sequence[int], others: int, *, is_asked: bool) -> list[int]:
    """Return an event and the likeliest others linked to it: without a text, by what was recorded."""
    first = log.acts[place]
    is_linked = _is_linked if is_asked else _is_recorded
    linked = (each for each in ordered if each != place and is_linked(first, log.acts[each]))
    return [place, *islice(linked, others)]


def _is_linked(one: Act, other: Act) -> bool:
    """Whether two events share something, have the same agent, or one of them belongs to no agent."""
    return other.agent in {one.agent, ""} or not set(one.tokens).isdisjoint(other.tokens)


def _is_recorded(one: Act, other: Act) -> bool:
    """Whether two events are of one call, or one is recorded as a cause of the other."""
    return any(_is_recorded_link(each) for each in set(one.tokens).intersection(other.tokens))


def _is_recorded_link(shared: Hashable) -> bool:
    return isinstance(shared, tuple) and shared[0] in {"span", "event"}


def measures_of_causes(
    log: Log,
    findings: Sequence[Finding],
    by_place: Mapping[int, list[ScoredFinding]],
    shares: Mapping[int, float],
    blamed: Blame,
) -> dict[int, dict[str, float]]:
    """Return {place: measures by name} of the likeliest causes by `WEIGHTS` alone, in order of place.

    The measures are those of `WEIGHTS` and of `CauseMeasures.of`.
    """
    breaks = _blame_of_findings(log, findings)
    found = _first_look(log, breaks, by_place, shares, blamed)
    candidates = [act.place for act in log.acts if act.kind != SNAPSHOT]
    scores = {place: sum(WEIGHTS[name] * found[place][name] for name in WEIGHTS) for place in candidates}
    likeliest = heapq.nlargest(MAX_JUDGED, candidates, key=lambda place: (scores[place], -place))
    measures = CauseMeasures(log, findings, shares, blamed.reaches, breaks, candidates)
    return {place: found[place] | measures.of(log.acts[place]) for place in sorted(likeliest)}


def _first_look(
    log: Log,
    breaks: Sequence[float],
    by_place: Mapping[int, list[ScoredFinding]],
    shares: Mapping[int, float],
    blamed: Blame,
) -> list[dict[str, float]]:
    """Return the measures of `WEIGHTS` of every event, by place."""
    by_sort: dict[Sort, float] = {
        sort: sum(blamed.reaches[act.place] for act in acts) / len(acts) for sort, acts in log.by_sort.items()
    }
    at_step: dict[int, float] = defaultdict(float)
    then: list[float] = []
    for act in log.acts:
        at_step[act.step] += shares.get(act.place, 0.0)
        then.append(at_step[act.step])
    chains = surprises(log)
    found: list[dict[str, float]] = [{} for _ in log.acts]
    after = 0.0
    for act in reversed(log.acts):
        odd, odd_near, single = _oddness(by_place.get(act.place, ()))
        found[act.place] = {
            "leads": math.log(
                (LEAST_BLAME / 10 + blamed.reaches[act.place]) / (LEAST_BLAME / 10 + by_sort[act.sort])
            ),
            "breaks": math.log(LEAST_BLAME / 10 + breaks[act.place]),
            "near": act.near,
            "before": after,
            "then": then[act.place],
            "late": min(0.0, math.log(4 * (act.step + 1) / log.steps)),
            "odd": odd,
            "odd near": odd_near,
            "single": single,
            "alike": math.log(log.each * log.alike[act.sort[1:]]),
            "after it": chains.after[act.place],
            "before it": chains.before[act.place],
        }
        after += shares.get(act.place, 0.0)
    return found


def _blame_of_findings(log: Log, findings: Sequence[Finding]) -> list[float]:
    """Return how much of the blame for all findings reaches each event from later ones."""
    sure: dict[int, float] = defaultdict(float)
    for each in findings:
        if not each.local:
            place = each.first.place
            sure[place] = max(sure[place], 1 / (1 + math.exp(-(each.nats - HALF) / 2)))
    whole = sum(sure.values()) or 1.0
    shares = {place: value / whole for place, value in sure.items()}
    reaches = blame_that_reaches(log, shares)
    return [max(0.0, value - shares.get(place, 0.0)) for place, value in enumerate(reaches)]


def _oddness(scored: Sequence[ScoredFinding]) -> tuple[float, float, float]:
    """Return the nats of what adds most to the score, of rarity near the issue, and 1.0 for one event."""
    surest = max((each for each in scored if not each.finding.local), key=_worth, default=None)
    odd_near = next((each.nats for each in scored if each.finding.local), 0.0)
    if surest is None:
        return 0.0, min(odd_near, MAX_NATS), 0.0
    return min(surest.nats, MAX_NATS), min(odd_near, MAX_NATS), _singleness(surest)


def _worth(scored: ScoredFinding) -> float:
    """Return what a finding adds to the score of its event."""
    return WEIGHTS["odd"] * min(scored.nats, MAX_NATS) + WEIGHTS["single"] * _singleness(scored)


def _singleness(scored: ScoredFinding) -> float:
    """Return 1.0 for a finding about one event, less if chance finds as much, else 0.0."""
    return min(1.0, scored.nats / LEAST_CHANGE) if len(scored.finding.acts) == 1 else 0.0


def findings_by_place(findings: Sequence[Finding]) -> dict[int, list[ScoredFinding]]:
    """Return {place: findings about the event, strongest first}; later events of a series count less."""
    by_place: dict[int, dict[int, ScoredFinding]] = defaultdict(dict)
    for number, finding in enumerate(findings):
        for after, act in enumerate(finding.telling):
            by_place[act.place].setdefault(
                number, ScoredFinding(finding.worth / math.sqrt(1 + after), finding)
            )
    return {
        place: sorted(found.values(), key=lambda each: (-each.nats, each.finding.rule, each.finding.about))
        for place, found in by_place.items()
    }


def _chain(
    log: Log,
    place: int,
    shares: Mapping[int, float],
    blamed: Blame,
    by_place: Mapping[int, list[ScoredFinding]],
    *,
    is_asked: bool,
) -> list[ChainStep]:
    """Return the likeliest path from an event to what the issue speaks of.

    Without a text, nothing is spoken of, and a path along values that two events share would lead anywhere.
    """
    steps: list[ChainStep] = []
    begin, least = log.acts[place].step, max(shares.values(), default=0.0) * LEADING
    if shares.get(place, 0.0) > sum(share for each, share in shares.items() if each > place):
        return steps  # it is rather what the issue speaks of than what led to that
    while place in blamed.onward and len(steps) < MAX_CHAIN:
        likely, after, shared = blamed.onward[place]
        if log.acts[place].step > begin and shares.get(place, 0.0) >= likely:
            break  # it is the symptom
        if not (is_asked or _is_recorded_link(shared)):
            break
        place = after
        finding = next((each.finding for each in by_place.get(place, ())), None)
        steps.append(ChainStep(log.acts[place], finding, shared, shares.get(place, 0.0) >= least))
    later = [each for each in shares if log.acts[each].step > log.acts[place].step]
    if is_asked and not steps and later:
        steps.append(ChainStep(log.acts[max(later, key=lambda each: (shares[each], -each))], None, None))
    return steps
