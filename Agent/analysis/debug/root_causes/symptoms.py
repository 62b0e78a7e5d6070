"""Find what an issue names, the events that it speaks of and those near them, and trace blame for these back.

For a thing that the issue names, a single deviation is worth reporting; elsewhere, deviations must be more
than chance explains. So a walk over what events share marks those that lead to the named things, over any
number of agents and steps, and every detector reports the deviations of marked events one by one.

Blame flows back along whatever events share: agents, things, values, spans. An event passes it to earlier
events with which it shares something, and passes less along a link that many share.
"""

from __future__ import annotations

import heapq
import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, count, groupby
from statistics import median
from typing import Any, Final, NamedTuple

from Agent.analysis.debug.question import Question, stems
from Agent.analysis.debug.root_causes.acts import MAX_SAME, Act, Log, Sort, is_number, leaf
from Agent.analysis.debug.root_causes.measures import (
    SortCounts,
    boosted_trees,
    clear_at,
    linked,
    ranks,
    surprises,
    value_rarity,
)
from Agent.analysis.debug.root_causes.scan import Finding
from Agent.event.kinds import Meaning
from Agent.event.payloads import kinds_of

HOP: Final = 0.8
"""Factor on nearness for each hop from one event to another."""
LEAST_NEAR: Final = 0.08
MAX_SHARED: Final = 300
"""A token that more events share does not link them."""
MAX_NEAR: Final = 1_500
UNTOLD: Final = frozenset({"log", "state"})
"""Log lines and states are excluded: they only report a deviation that happened elsewhere."""


def walk(log: Log, named: Mapping[Hashable, float], matching: Mapping[int, float]) -> None:
    """Fill `near` of every act: 1 where it holds a named thing that few others hold, less with each hop.

    Args:
        log: the session.
        named: {thing or value that the text names: its weight, 0 to 1}.
        matching: {place: nearness} of the acts that match the text.
    """
    order = count()
    best: dict[Hashable, float] = dict(named)
    heap = [(-value, next(order), token) for token, value in named.items()]
    heapq.heapify(heap)
    size = math.log(max(2, len(log.acts)))
    reached = 0

    def spread(act: Act) -> None:
        for other in act.tokens:
            value = act.near * HOP * (1 - math.log(len(log.by_token[other])) / size)
            if value > max(LEAST_NEAR, best.get(other, 0.0)):
                best[other] = value
                heapq.heappush(heap, (-value, next(order), other))

    for place, value in matching.items():
        act = log.acts[place]
        if value > act.near:
            act.near = value
            spread(act)
    while heap and reached < MAX_NEAR:
        minus, _, token = heapq.heappop(heap)
        if -minus < best[token]:
            continue
        holders = log.by_token.get(token, [])
        if len(holders) > MAX_SHARED and token not in named:
            continue
        for act in holders:
            if -minus <= act.near:
                continue
            reached += act.near == 0
            act.near = -minus
            spread(act)


def find_near(log: Log) -> Iterator[Finding]:
    """Yield acts near what the issue names whose sort is rarer than that of the typical near act."""
    near = [act for act in log.acts if act.near and not act.failed and act.kind not in UNTOLD]
    counts = Counter(act.sort for act in near)
    if not counts:
        return
    # Events that belong to the life cycle of such things occur about as often as there are things.
    typical = median(log.alike[sort[1:]] for sort in counts.elements())
    for act in near:
        number = log.alike[act.sort[1:]]
        if number < typical:
            about = act.name or act.kind
            nats = math.log(typical / number)
            yield Finding("about it", about, [act], nats, usual=typical, found=number, local=True)


# How closely what two events share links them: by this the path from a cause to its effect is chosen.

RECORDED: Final = frozenset({"span", "event"})
SAME_FIELD: Final = 0.5
"""An earlier event that set the same field of the agent: as close as a path over three rare values."""
OWN: Final = 0.2
"""Another earlier event of the same agent."""
NAMED: Final = 0.15
"""An event of an agent that the other event names."""
BOTH_NAME: Final = 0.05
"""Two events that name the same agent, or hold the same common word or the number of a name."""
NUMBER: Final = 0.3
"""A number that names no thing, if few events have it; a number that many have links nothing."""


def field_of(path: str) -> str:
    """Return the field of an agent that a path of an event leads to."""
    return _FIELD_END.split(path.partition(".")[2], maxsplit=1)[0]


FIELDS: Final = ("state.", "new_state.")
_FIELD_END: Final = re.compile(r"[.\[#@~]")


class SharedLinks:
    """The closeness of events of one session."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._size = math.log(max(2, len(log.acts)))
        self._held: dict[tuple[Hashable, Sort], int] = {}
        self._fields: dict[int, frozenset[str]] = {}

    def fields(self, act: Act) -> frozenset[str]:
        """Return the fields of its agent that an event set."""
        if act.place not in self._fields:
            paths = (path for path in act.values if path.startswith(FIELDS))
            self._fields[act.place] = frozenset(field_of(path) for path in paths)
        return self._fields[act.place]

    def closeness(self, token: Hashable, one: Act, other: Act) -> float:
        """Return how closely a token that two events share links them, 0 to 1."""
        kind = token[0] if isinstance(token, tuple) else ""
        if kind in RECORDED:
            return 1.0
        if kind == "agent":
            owners = [("agent", each.agent) == token for each in (one, other)]
            if all(owners):
                return OWN if self.fields(one).isdisjoint(self.fields(other)) else SAME_FIELD
            return NAMED if any(owners) else BOTH_NAME
        number = len(self._log.by_token[token])
        rarity = 1 - math.log(number) / self._size
        if kind == "=" or token in self._log.by_thing:
            return rarity
        if number <= MAX_SAME:
            return NUMBER * rarity if kind else rarity
        is_number = kind not in {"", "#"}
        if (
            is_number
            or number > MAX_SHARED
            or self._is_constant(token, one)
            or self._is_constant(token, other)
        ):
            return 0.0
        return BOTH_NAME * rarity

    def _is_constant(self, token: Hashable, act: Act) -> bool:
        """Whether all events of an event's sort have a token, which then links none of them with anything."""
        alike = self._log.by_sort[act.sort]
        key = token, act.sort
        if key not in self._held:
            self._held[key] = sum(each.sort == act.sort for each in self._log.by_token[token])
        return 1 < len(alike) == self._held[key]

    def closest(self, one: Act, other: Act) -> Hashable:
        """Return what links two events most closely; None if nothing does."""
        shared = [each for each in one.tokens if each in other.tokens]
        best = max(shared, key=lambda each: self.closeness(each, one, other), default=None)
        return best if best is not None and self.closeness(best, one, other) else None


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
    places: dict[Hashable, tuple[float, list[list[int]]]] = {}
    for act in reversed(log.acts):
        before: list[tuple[Hashable, list[int]]] = []
        weights: list[float] = []
        for token in act.tokens if reaches[act.place] >= LEAST_BLAME else ():
            if token not in places:
                held_by = log.by_token[token]
                places[token] = 1 - math.log(len(held_by)) / size, _by_sort(held_by)
            weight, of_sorts = places[token]
            held = []
            for each in of_sorts:
                while each and each[-1] >= act.place:  # events from here on are done
                    each.pop()
                if each:
                    held.append(each[-1])
            if held:
                weights.append(weight)
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


MIN_VALUE: Final = 3
MIN_NUMBER: Final = 100
"""Smaller numbers are ignored: they may count anything."""
SLACK: Final = 2
LINKS: Final = frozenset({"agent", "span", "event", "=", "#"})
"""Kinds of tokens that do not correspond to words of a text."""
_WORD: Final = re.compile(r"[a-z0-9]+")
_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?!\w|\.\d)")
MAX_HEARD: Final = 60
"""If more events than this match the text, none is used as a starting symptom."""


class Issue:
    """What the text of an issue names."""

    def __init__(self, question: Question, log: Log) -> None:
        self.agents = frozenset(question.agents)
        self.text = question.text.lower()
        self.ticks, self.clock = question.ticks, question.clock
        self.moments = question.moments
        self.event_ids = frozenset(question.event_ids)
        self.spaced = f" {' '.join(_WORD.findall(self.text))} "
        self.tokens = self._named_tokens(log)
        self.matched = self._matches(log, question)
        """{place of an act: how much of the text it matches, 0 to 1}."""

    def names_something(self, question: Question) -> bool:
        """Whether the text is empty, or names an agent, thing, moment, topic or word of the session."""
        named = question.agents, question.roles, question.series, question.topics, question.naming
        when = question.moments, question.clock, question.event_ids
        return not self.spaced.strip() or any((self.matched, self.tokens, *named, *when))

    def _named_tokens(self, log: Log) -> frozenset[Hashable]:
        """Return the things and values that the text names."""
        found: set[Hashable] = set()
        for token in log.by_token:
            if isinstance(token, tuple):
                name, value = token
                said = f"{name} {value}" if name not in LINKS else ""
                if isinstance(value, int) and value >= MIN_NUMBER and f" {value} " in self.spaced:
                    found.add(token)
            else:
                said = token if len(token) >= MIN_VALUE else ""
            if said and f" {' '.join(_WORD.findall(said.lower()))} " in self.spaced:
                found.add(token)
        return frozenset(found)

    def seeds(self, log: Log) -> dict[Hashable, float]:
        """Return the agents, things and values that the text names, each with its weight, 0 to 1."""
        size = math.log(max(2, len(log.acts)))
        agents = {("agent", agent) for agent in self.agents}
        # Sums and ties depend on the order, and the order of a set on the process.
        named = sorted((token for token in self.tokens | agents if token in log.by_token), key=repr)
        return {token: 1 - math.log(len(log.by_token[token])) / size for token in named}

    def _matches(self, log: Log, question: Question) -> dict[int, float]:
        """Return how much of the text the name and values of each act match."""
        words = frozenset(word for each in question.words for word in stems(each))
        # The name of a thing says whom the text is about, not what happened.
        words -= {word for token in self.tokens if isinstance(token, str) for word in stems(token)}
        holders: dict[str, list[int]] = {word: [] for word in sorted(words)}
        for act in log.acts:
            if act.kind in QUIET:
                continue
            texts = [act.name, *map(leaf, act.values)]
            texts += [value for value in act.values.values() if isinstance(value, str)]
            for word in words.intersection(chain.from_iterable(map(_stems, texts))):
                holders[word].append(act.place)
        return _shares(holders, len(log.acts))

    def matching(self, log: Log) -> dict[int, float]:
        """Return {place: nearness} of the acts that match the text best; empty if they are too many."""
        size = math.log(max(2, len(log.acts)))
        ordered = sorted(self.matched.items(), key=lambda pair: (-pair[1], pair[0]))
        found: dict[int, float] = {}
        begin = 0
        for _, group in groupby(ordered, key=lambda pair: round(pair[1], 6)):
            places = [place for place, _ in group]
            begin += len(places)
            if begin > MAX_HEARD:
                break
            for place in places:
                found[place] = HOP * self.matched[place] * (1 - math.log(begin) / size)
        return found

    def symptoms(self, log: Log, findings: Sequence[Finding]) -> dict[int, float]:
        """Return {place: probability that the text refers to this event}.

        If the text has ids of events, these are the only ones.
        """
        pointed_at = [act.place for act in log.acts if act.id in self.event_ids] if self.event_ids else []
        if pointed_at:
            return dict.fromkeys(pointed_at, 1 / len(pointed_at))
        return symptoms(log, self.subject(log), findings)

    def subject(self, log: Log) -> Subject:
        """Return what the text says about a session."""
        return Subject(self.matched, self._numbers(log), self.seeds(log), self.then(log))

    def _numbers(self, log: Log) -> dict[int, float]:
        """Return {place: how much of the numbers in the text the act holds, rare ones more}."""
        numbers = {float(each) for each in _NUMBER.findall(self.text)}
        holders: dict[float, dict[int, None]] = defaultdict(dict)
        for act in log.acts if numbers else ():
            for value in act.values.values():
                if is_number(value) and value in numbers:
                    holders[value][act.place] = None
        return _shares(holders, len(log.acts))

    def then(self, log: Log) -> Collection[int]:
        """Return the places at the first moment in the text that the session has: a tick, or another unit."""
        for unit, number in self.moments:
            at = [act.place for act in log.acts if act.tick == number]
            at = at or [act.place for act in log.by_token.get((unit, number), ())]
            if at:
                return range(at[0], at[-1] + 1)
        return ()

    def fits_moment(self, act: Act, log: Log) -> bool:
        """Whether an act may have caused what the text reports at a tick or time of day.

        The session must contain that moment, and the act must not be later.
        """
        if self.ticks:
            known = [each.tick for each in (log.acts[0], log.acts[-1]) if each.tick is not None]
            inside = not known or max(self.ticks) <= max(known) + SLACK
            return inside and (act.tick is None or act.tick <= max(self.ticks) + SLACK)
        if self.clock:
            at, off = max(self.clock)
            first, last = _second(log.acts[0]), _second(log.acts[-1])
            return first - off <= at <= last + off and _second(act) <= at + off
        return True


def _shares(holders: Mapping[Any, Collection[int]], number: int) -> dict[int, float]:
    """Return {place: how much of some words or numbers it holds, those that few hold more}.

    Args:
        holders: {word or number: places}.
        number: how many places there are.
    """
    size = math.log(max(2, number))
    # What all acts hold does not distinguish them.
    some = {each: held for each, held in holders.items() if 0 < len(held) < number}
    worth = {each: 1 - math.log(len(held)) / size for each, held in some.items()}
    whole = sum(worth.values())
    found: dict[int, float] = defaultdict(float)
    for each, value in worth.items():
        for place in some[each]:
            found[place] += value / whole
    return found


@lru_cache(maxsize=65_536)
def _stems(text: str) -> tuple[str, ...]:
    return tuple(stems(text))


def _second(act: Act) -> float:
    """Return the second of the day (UTC)."""
    return act.us / 1e6 % 86_400
