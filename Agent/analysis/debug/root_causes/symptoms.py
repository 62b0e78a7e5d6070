"""Find the events that an issue speaks of, and trace blame for them back.

Blame flows back along whatever events share: agents, things, values, spans. An event passes it to earlier
events with which it shares something, and passes less along a link that many share.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from Agent.analysis.debug.root_causes.acts import Act, Log, Sort
from Agent.analysis.debug.root_causes.measures import (
    SortCounts,
    boosted_trees,
    clear_at,
    linked,
    ranks,
    surprises,
    value_rarity,
)
from Agent.analysis.debug.root_causes.nearby import OWN, SAME_FIELD, SharedLinks
from Agent.analysis.debug.root_causes.scan import Finding
from Agent.event.kinds import Meaning
from Agent.event.payloads import kinds_of

QUIET: Final = kinds_of(Meaning.OBSERVATION)
WEIGHTS: Final = {
    "words": 2.91,
    "names": 5.32,
    "odd": 0.63,
    "odd near": 0.15,
    "rare": 6.41,
    "alone": 1.5,
    "moment": 3.75,
}
"""Fitted by maximum likelihood to the events that show the symptom of planted faults; "odd near" and "alone",
later, to 392 sessions from worlds by thirteen authors, with the others as they are (0.52 and 2.29), and
reduced, since texts about what does not happen speak of no single event.

words       how many words of the text the event contains, relative to the event that contains most
names       how many of the names in the text it contains, relative in the same way
odd         nats of the strongest change that begins with it
odd near    the same of single deviations near what the text names
rare        rarity of events of its kind and name, 0 to 1
alone       1 divided by the number of agents that do such a thing
moment      whether it happens at the moment that the text names
"""
MAX_ODD: Final = 8.0
MAX_LOOKED_AT: Final = 300
"""The likeliest events by these weights alone, which the trees of `symptoms.json` order."""
MAX_SYMPTOMS: Final = 60
TREES: Final = "symptoms"


class Subject(NamedTuple):
    """What a text says about a session."""

    said: Mapping[int, float]
    """{place of an act: how much of the text its words match, 0 to 1}."""
    numbers: Mapping[int, float]
    """{place of an act: how much of the numbers in the text it holds, 0 to 1}."""
    named: Mapping[Hashable, float]
    """{thing, value or agent that the text names: its weight}."""
    then: Collection[int]
    """The places at the moment that the text names."""


def symptoms(log: Log, subject: Subject, findings: Sequence[Finding]) -> dict[int, float]:
    """Return {place: probability that the text refers to this event} for the likeliest events.

    Args:
        log: the session.
        subject: what the text says about it.
        findings: what is unusual in the session.
    """
    judged = measures_of_symptoms(log, subject, findings)
    judge = boosted_trees(TREES)
    scores = {place: judge.score(found, WEIGHTS) for place, found in judged.items()}
    likeliest = heapq.nlargest(MAX_SYMPTOMS, scores, key=lambda place: (scores[place], -place))
    best = max(scores.values(), default=0.0)
    shares = {place: math.exp(scores[place] - best) for place in likeliest}
    whole = sum(shares.values())
    return {place: share / whole for place, share in shares.items()}


def measures_of_symptoms(
    log: Log, subject: Subject, findings: Sequence[Finding]
) -> dict[int, dict[str, float]]:
    """Return {place: measures by name} of the events that the text may refer to; the arguments as above.

    Those of `WEIGHTS`, and:

    word rank, name rank   log of the ranks of the event by words and by names
    alike                  log of the number of events of its sort that match the text as much
    alike before, after    how many of these are earlier, and later
    changes                the number of findings that begin with it
    odd before             log of the number of clear findings at earlier events with something in common
    before it              nats by which what precedes it about the same thing is rarer than usual
    later                  log of the number of later events about the same things
    near, values, caused   its nearness to what the text names, its values, and the events that it caused
    of sort, of both       log of the number of events of its sort, and of those by its agent
    sort before            the number of earlier events of its sort
    numbers                how much of the numbers in the text it holds
    last, agent's last     whether it is the last event about one of its things, and the last of its agent
    failed                 whether it failed
    tokens, mentions       how many links it has, and how many other agents it names
    and those of `ValueRarity`
    """
    said, holds = subject.said, _held(log, subject.named)
    odd, odd_near, changes = oddness(findings)
    counts = SortCounts(log)
    found = _first_look(log, subject, holds, odd, odd_near, counts)
    first_look = {
        place: sum(WEIGHTS[name] * value for name, value in each.items()) for place, each in found.items()
    }
    looked_at = heapq.nlargest(MAX_LOOKED_AT, first_look, key=lambda place: (first_look[place], -place))
    word_ranks, name_ranks = ranks(said, [*found]), ranks(holds, [*found])
    matches = [
        (act.sort, round(said.get(act.place, 0.0), 4), round(holds.get(act.place, 0.0), 4))
        for act in log.acts
    ]
    alike: dict[tuple[Sort, float, float], list[int]] = defaultdict(list)
    for place, match in enumerate(matches):
        alike[match].append(place)
    caused = Counter(cause for act in log.acts for cause in act.causes)
    before_it, clear = surprises(log).before, clear_at(findings)
    last = {act.agent: act.place for act in log.acts}
    rarity = {
        place: rare
        for sort in {log.acts[place].sort for place in looked_at}
        for place, rare in value_rarity(log.by_sort[sort]).items()
    }
    for place in looked_at:
        act, alike_it = log.acts[place], alike[matches[place]]
        alike_before = bisect_left(alike_it, place)
        found[place] |= {
            "word rank": word_ranks[place],
            "name rank": name_ranks[place],
            "alike": math.log(len(alike_it)),
            "alike before": alike_before,
            "alike after": len(alike_it) - 1 - alike_before,
            "changes": changes[place],
            "odd before": math.log1p(sum(at < place for at, _ in linked(log, act, clear))),
            "before it": before_it[place],
            "later": math.log1p(
                sum(each.place > place for thing in act.things for each in log.by_thing[thing])
            ),
            "near": act.near,
            "values": len(act.values),
            "caused": caused[act.id],
            "of sort": math.log(len(log.by_sort[act.sort])),
            "of both": math.log(counts.own[act.agent, act.sort]),
            "sort before": counts.before[place][0],
            "numbers": subject.numbers.get(place, 0.0),
            "last": float(any(log.by_thing[thing][-1] is act for thing in act.things)),
            "agent's last": float(last[act.agent] == place),
            "failed": float(act.failed),
            "tokens": len(act.tokens),
            "mentions": len(act.mentions),
            **rarity[place]._asdict(),
        }
    return {place: found[place] for place in sorted(looked_at)}


def _held(log: Log, named: Mapping[Hashable, float]) -> dict[int, float]:
    """Return {place: how much of what the text names the act holds}."""
    holds: dict[int, float] = defaultdict(float)
    for token, worth in named.items():
        for act in log.by_token[token]:
            holds[act.place] += worth
    return holds


def _first_look(
    log: Log,
    subject: Subject,
    holds: Mapping[int, float],
    odd: Mapping[int, float],
    odd_near: Mapping[int, float],
    counts: SortCounts,
) -> dict[int, dict[str, float]]:
    """Return {place: measures of `WEIGHTS` by name} of all events but observations."""
    most_said, most_held = max(subject.said.values(), default=1.0), max(holds.values(), default=1.0)
    size = math.log(max(2, len(log.acts)))
    return {
        act.place: {
            "words": subject.said.get(act.place, 0.0) / most_said,
            "names": holds.get(act.place, 0.0) / most_held,
            "odd": odd.get(act.place, 0.0),
            "odd near": odd_near.get(act.place, 0.0),
            "rare": 1 - math.log(log.alike[act.sort[1:]]) / size,
            "alone": 1 / len(counts.doers[act.sort[1:]]),
            "moment": float(act.place in subject.then),
        }
        for act in log.acts
        if act.kind not in QUIET
    }


def oddness(
    findings: Sequence[Finding],
) -> tuple[Mapping[int, float], Mapping[int, float], Counter[int]]:
    """Return nats of changes by the place where they begin, of deviations near the text, and their number."""
    odd: dict[int, float] = defaultdict(float)
    odd_near: dict[int, float] = defaultdict(float)
    changes: Counter[int] = Counter()
    for finding in findings:
        nats = min(MAX_ODD, finding.nats)
        if not finding.local:
            place = finding.first.place
            odd[place] = max(odd[place], nats)
            changes[place] += 1
            continue
        for act in finding.telling:
            odd_near[act.place] = max(odd_near[act.place], nats)
    return odd, odd_near, changes


PASSED_ON: Final = 0.9
"""Factor on the blame that an event passes on; 0.98 finds the same true events."""
MAX_BEFORE: Final = 30
"""Of how many sorts the last linked event receives blame."""
LEAST_BLAME: Final = 1e-4
"""Smaller blame is not followed further."""


class Blame(NamedTuple):
    """How much of the blame for some events reaches each earlier event, and along which link."""

    reaches: list[float]
    """Blame by place; the symptoms themselves begin with their shares."""
    onward: dict[int, tuple[float, int, Hashable]]
    """The likeliest path to a later symptom: {place: (likelihood, place of the next event, their link)}."""


def blame(log: Log, shares: Mapping[int, float]) -> Blame:
    """Propagate the blame for some events backwards, and find the path to a symptom of the closest links.

    A path may skip what the same agent did in between.

    Args:
        log: the session.
        shares: {place: share of the blame}.
    """
    paths = dict(shares)
    onward: dict[int, tuple[float, int, Hashable]] = {}
    likeliest = [0.0] * len(log.acts)
    links = SharedLinks(log)
    of_agent: dict[tuple[str, str], tuple[float, int]] = {}

    def lead(place: int, path: float, next_place: int, token: Hashable) -> None:
        if path > likeliest[place]:
            likeliest[place] = path
            onward[place] = path, next_place, token
            paths[place] = max(path, shares.get(place, 0.0))

    reaches = [0.0] * len(log.acts)
    for act, held_before in _propagated(log, shares, reaches):
        owner = "agent", act.agent
        keys = [(act.agent, each) for each in ("", *sorted(links.fields(act)))]
        for key in keys if owner in act.tokens else ():
            path, after = of_agent.get(key, (0.0, 0))
            lead(act.place, PASSED_ON * (SAME_FIELD if key[1] else OWN) * path, after, owner)
        path = paths.get(act.place, 0.0)
        for key in keys if reaches[act.place] >= LEAST_BLAME else ():
            of_agent[key] = max(of_agent.get(key, (0.0, 0)), (path, act.place))
        ahead = PASSED_ON * path
        for token, held in held_before:
            for place in held:
                if ahead > likeliest[place]:  # closeness is at most 1
                    lead(place, ahead * links.closeness(token, log.acts[place], act), act.place, token)
    return Blame(reaches, onward)


def blame_that_reaches(log: Log, shares: Mapping[int, float]) -> list[float]:
    """Propagate the blame for some events, {place: share}, backwards; return it by place."""
    reaches = [0.0] * len(log.acts)
    for _ in _propagated(log, shares, reaches):
        pass
    return reaches


def _propagated(
    log: Log, shares: Mapping[int, float], reaches: list[float]
) -> Iterator[tuple[Act, Sequence[tuple[Hashable, list[int]]]]]:
    """Add the blame that reaches each event, reduced by 10% at each link; yield the events, last first.

    With each come the links by which it passes blame on, and the places that receive it. Of what shares a
    token with an event, the last one of each sort receives blame: a setting of its agent as much as what the
    agent did just before.
    """
    for place, share in shares.items():
        reaches[place] = share
    size = math.log(max(2, len(log.acts)))
    places: dict[Hashable, list[list[int]]] = {}
    for act in reversed(log.acts):
        before: list[tuple[Hashable, list[int]]] = []
        weights: list[float] = []
        for token in act.tokens if reaches[act.place] >= LEAST_BLAME else ():
            if token not in places:
                places[token] = _by_sort(log.by_token[token])
            held = [each[at - 1] for each in places[token] if (at := bisect_left(each, act.place))]
            if held:
                weights.append(1 - math.log(len(log.by_token[token])) / size)
                before.append((token, sorted(held)[-MAX_BEFORE:]))
        whole = sum(weights)
        for weight, (_, held) in zip(weights, before, strict=True):
            part = PASSED_ON * reaches[act.place] * weight / whole / len(held)
            for place in held:
                reaches[place] += part
        yield act, before


def _by_sort(acts: Iterable[Act]) -> list[list[int]]:
    """Return the places of events of each sort."""
    found: dict[Sort, list[int]] = defaultdict(list)
    for act in acts:
        found[act.sort].append(act.place)
    return [*found.values()]
