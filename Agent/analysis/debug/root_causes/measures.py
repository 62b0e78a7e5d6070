"""Measure how events relate to what an issue speaks of, and how unusual they are.

All measures compare an event with others of its session: none depends on the name of a kind or of a field, or
on the time between cause and effect.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Final, NamedTuple

from Agent.analysis.debug.root_causes.acts import Act, Log, Sort
from Agent.analysis.debug.root_causes.scan import Finding
from Agent.analysis.debug.root_causes.value_measures import (
    NumberContrast,
    ValueRarity,
    number_contrasts,
    value_rarity,
)

__all__ = ["CauseMeasures", "SortCounts", "clear_at", "Surprise", "linked", "ranks", "surprises"]

SPECIFIC: Final = 40
"""A token that more events share links a finding to too many others."""
CLEAR: Final = 4.0
"""Nats of a finding that is counted among what is unusual before or after an event."""
SURE: Final = 5.0
"""Nats of a finding that is counted among all of the session."""
LEAST: Final = 1e-6


class SortCounts:
    """How many events of each sort a session has, by whom, and how many of them come before each event."""

    def __init__(self, log: Log) -> None:
        self.doers: dict[tuple[str, str], set[str]] = defaultdict(set)
        """{(kind, name): agents}."""
        self.own: Counter[tuple[str, Sort]] = Counter()
        """{(agent, sort): number of events}."""
        self.agents: Counter[str] = Counter()
        """{agent: number of events}."""
        self.before: list[tuple[int, int]] = []
        """By place: the number of earlier events of its sort, and of its sort by its agent."""
        of_sort: Counter[Sort] = Counter()
        for act in log.acts:
            self.before.append((of_sort[act.sort], self.own[act.agent, act.sort]))
            of_sort[act.sort] += 1
            self.own[act.agent, act.sort] += 1
            self.agents[act.agent] += 1
            self.doers[act.sort[1:]].add(act.agent)


def clear_at(findings: Sequence[Finding]) -> dict[Hashable, list[tuple[int, float]]]:
    """Return {token: (place, nats) of each clear finding that begins at an event with that token}."""
    found: dict[Hashable, list[tuple[int, float]]] = defaultdict(list)
    for each in findings:
        if not each.local and each.nats >= CLEAR:
            for token in each.first.tokens:
                found[token].append((each.first.place, each.nats))
    return found


def linked(
    log: Log, act: Act, clear: Mapping[Hashable, list[tuple[int, float]]]
) -> Iterator[tuple[int, float]]:
    """Yield (place, nats) of the clear findings that share specific tokens with an event, once for each."""
    for token in act.tokens:
        if len(log.by_token[token]) <= SPECIFIC:
            yield from clear.get(token, ())


class CauseMeasures:
    """Measures the possible causes of a session.

    Args:
        log: the session.
        findings: what is unusual in it.
        shares: {place: probability that the issue speaks of the event}.
        reaches: blame for what the issue speaks of, by place.
        breaks: blame for all findings, by place.
        candidates: the places of the events that may be causes.
    """

    def __init__(
        self,
        log: Log,
        findings: Sequence[Finding],
        shares: Mapping[int, float],
        reaches: Sequence[float],
        breaks: Sequence[float],
        candidates: Sequence[int],
    ) -> None:
        self._log, self._shares, self._reaches, self._breaks = log, shares, reaches, breaks
        self._size = math.log(max(2, len(log.acts)))
        self._begin: dict[int, list[Finding]] = defaultdict(list)
        self._within: dict[int, list[Finding]] = defaultdict(list)
        self._local: dict[int, list[Finding]] = defaultdict(list)
        for each in findings:
            for number, act in enumerate(each.telling):
                kept = self._local if each.local else self._within if number else self._begin
                kept[act.place].append(each)
        self._starts = sorted(each.first.place for each in findings if not each.local and each.nats >= SURE)
        self._clear = clear_at(findings)
        self._counts = SortCounts(log)
        self._said: dict[Hashable, float] = defaultdict(float)
        self._said_agents: dict[str, float] = defaultdict(float)
        for place, share in shares.items():
            self._said_agents[log.acts[place].agent] += share
            for token in log.acts[place].tokens:
                self._said[token] += share
        blamed_of_sort: dict[Sort, list[float]] = defaultdict(list)
        for place in candidates:
            blamed_of_sort[log.acts[place].sort].append(reaches[place])
        self._blamed_of_sort = {sort: sorted(values) for sort, values in blamed_of_sort.items()}
        self._values: dict[Sort, tuple[dict[int, ValueRarity], dict[int, NumberContrast]]] = {}
        near = [act.near for act in log.acts]
        self._blame_ranks, self._break_ranks, self._near_ranks = (
            ranks(dict(enumerate(values)), candidates) for values in (reaches, breaks, near)
        )

    def of(self, act: Act) -> dict[str, float]:
        """Return the measures of an event by name.

        blame, blame rank   log of the blame for what the issue speaks of, and its rank in the session
        blame in sort       the share of events of its sort that no more blame reaches
        all breaks          log of the blame for all findings
        break rank          its rank by that
        near rank           its rank by nearness to what the issue names
        said                how much of what the issue speaks of shares specific things and values with it
        said most           the same of the one that most of it shares
        said new            the same of those that occur first in it
        said agent          the share of what the issue speaks of that its agent does
        share               log of the probability that the issue speaks of the event itself
        odd first, odd sum  nats of the strongest finding that begins with it, and the sum of all
        odd later           nats of the strongest finding in which it is a later event
        odd count           number of those
        odd alone, odd of   whether the strongest one is about one event; log of how many it was compared with
        odd here, here sum  nats of the strongest finding near what the issue names, and the sum of all
        odd after           nats of the strongest finding that begins at a later event and shares a token
        onset               the share of the session's findings that begin before it
        of sort, of agent   log of the number of events of its sort, and of its agent
        of both, doers      log of the number of both, and of the agents that do such a thing
        sort before         log of the number of earlier events of its sort
        both before, after  the same of its agent's, and their later ones
        values, changes     log of how many values it has, and how many it changed
        tokens, new         how many links it has, and log of the events that share those that are new
        and those of `ValueRarity` and `NumberContrast`
        """
        log, place = self._log, act.place
        begin, within, local = (found.get(place, ()) for found in (self._begin, self._within, self._local))
        best = max(begin, key=lambda each: each.nats, default=None)
        said = [
            (self._said[token] * specific(log, token, self._size), log.by_token[token][0] is act)
            for token in act.tokens
            if token in self._said
        ]
        counts = self._counts
        own, (sort_before, own_before) = counts.own[act.agent, act.sort], counts.before[place]
        blamed_of_sort = self._blamed_of_sort[act.sort]
        if act.sort not in self._values:
            alike = log.by_sort[act.sort]
            self._values[act.sort] = value_rarity(alike), number_contrasts(alike)
        rarities, contrasts = self._values[act.sort]
        return {
            "blame": math.log(LEAST + self._reaches[place]),
            "blame rank": self._blame_ranks[place],
            "blame in sort": bisect_right(blamed_of_sort, self._reaches[place]) / len(blamed_of_sort),
            "all breaks": math.log(LEAST + self._breaks[place]),
            "break rank": self._break_ranks[place],
            "near rank": self._near_ranks[place],
            "said": sum(value for value, _ in said),
            "said most": max((value for value, _ in said), default=0.0),
            "said new": sum(value for value, is_first in said if is_first),
            "said agent": self._said_agents.get(act.agent, 0.0),
            "share": math.log(LEAST + self._shares.get(place, 0.0)),
            "odd first": best.nats if best else 0.0,
            "odd sum": sum(min(10.0, each.nats) for each in begin),
            "odd later": max((each.nats for each in within), default=0.0),
            "odd count": len(within),
            "odd alone": float(best is not None and len(best.acts) == 1),
            "odd of": math.log1p(best.of) if best else -1.0,
            "odd here": max((each.nats for each in local), default=0.0),
            "here sum": sum(each.nats for each in local),
            "odd after": max((nats for at, nats in linked(log, act, self._clear) if at > place), default=0.0),
            "onset": bisect_left(self._starts, place) / max(1, len(self._starts)),
            "of sort": math.log(len(log.by_sort[act.sort])),
            "of agent": math.log(counts.agents[act.agent]),
            "of both": math.log(own),
            "doers": math.log(len(counts.doers[act.sort[1:]])),
            "sort before": math.log1p(sort_before),
            "both before": math.log1p(own_before),
            "both after": own - 1 - own_before,
            "values": math.log1p(len(act.values)),
            "changes": len(act.before),
            "tokens": len(act.tokens),
            "new": math.log1p(
                sum(len(log.by_token[each]) - 1 for each in act.tokens if log.by_token[each][0] is act)
            ),
            **rarities[place]._asdict(),
            **asdict(contrasts[place]),
        }


def specific(log: Log, token: Hashable, size: float) -> float:
    """Return how specific a token is: 1 for one event, 0 for one that all share."""
    return 1 - math.log(len(log.by_token[token])) / size


def ranks(values: Mapping[int, float], places: Sequence[int]) -> dict[int, float]:
    """Return the log of 1 + the rank of each place by its value, from 0 for the highest."""
    ordered = sorted(places, key=lambda place: -values.get(place, 0.0))
    return {place: math.log1p(rank) for rank, place in enumerate(ordered)}


NO_CHAIN: Final = frozenset({"=", "event", "span"})
"""Kinds of tokens that link two events only, or events of one call: they have no usual order."""
MAX_CHAIN: Final = 80
"""A token that more events share is a category."""
MIN_TIMES: Final = 6
MARGIN: Final = 0.1
"""Share of the session at either end in which a chain may be cut off by the recording."""
MAX_SURPRISE: Final = 8.0

Place = tuple[str, Sort]


class Surprise(NamedTuple):
    """Nats by place of the event: how unusual what came before it is, and what came after it."""

    before: list[float]
    after: list[float]


def surprises(log: Log) -> Surprise:
    """Return the largest surprise over the chains of each event, in nats beyond the mean of its sort.

    The events that share a token (a thing, a value, an agent) form a chain. Over all chains of one kind of
    token it is counted which sort of event comes after which. A step that is rarer than the usual step from
    that sort is surprising: an order that was never booked, a key that was read before it was written.
    """
    if log.surprises is None:
        after, before = list(_steps(log, forward=True)), list(_steps(log, forward=False))
        log.surprises = Surprise(_nats(before, len(log.acts)), _nats(after, len(log.acts)))
    found: Surprise = log.surprises
    return found


def _steps(log: Log, *, forward: bool) -> Iterator[tuple[int, Place, Sort | None]]:
    """Yield (place of the event, (kind of token, sort), sort of the neighbour or None)."""
    early, late = log.steps * MARGIN, log.steps * (1 - MARGIN)
    for token, chain in log.by_token.items():
        kind = token[0] if isinstance(token, tuple) else "thing"
        if not 2 <= len(chain) <= MAX_CHAIN or kind in NO_CHAIN:
            continue
        for at, act in enumerate(chain):
            beside = at + 1 if forward else at - 1
            if 0 <= beside < len(chain):
                yield act.place, (kind, act.sort), chain[beside].sort
            elif early < act.step < late:
                yield act.place, (kind, act.sort), None


def _nats(steps: list[tuple[int, Place, Sort | None]], number: int) -> list[float]:
    counts: dict[Place, Counter[Sort | None]] = defaultdict(Counter)
    for _, where, beside in steps:
        counts[where][beside] += 1
    nats: dict[tuple[Place, Sort | None], float] = {}
    for where, found in counts.items():
        whole = found.total()
        if whole >= MIN_TIMES:
            usual = -sum(times / whole * math.log(times / whole) for times in found.values())
            for beside, times in found.items():
                nats[where, beside] = min(MAX_SURPRISE, -math.log(times / whole) - usual)
    surprise = [0.0] * number
    for place, where, beside in steps:
        surprise[place] = max(surprise[place], nats.get((where, beside), 0.0))
    return surprise
