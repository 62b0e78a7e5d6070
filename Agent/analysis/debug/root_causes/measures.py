"""Measure how events relate to what an issue speaks of, and how unusual they and their values are.

All measures compare an event with others of its session: none depends on the name of a kind or of a field, or
on the time between cause and effect. Texts are measured by how rare they are, numbers by rank and by ratio: a
number is compared with the one that it replaces, the previous one of its agent and thing, those just before
and after it, all of its field, and those of its list. Boosted decision trees correct a weighted sum of the
measures; `benchmarks.fault_worlds.fit` makes their files.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeGuard

from Agent.analysis.debug.root_causes.acts import Act, Log, Sort, is_number
from Agent.analysis.debug.root_causes.scan import Finding

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


MIN_VALUES: Final = 3
FEW_VALUES: Final = 0.3
"""A field with more distinct values for each event identifies: none of its values is rare."""
MIN_NUMBERS: Final = 5
HUGE: Final = 1e150
"""Larger numbers have no distances that a float holds."""


class ValueRarity(NamedTuple):
    """How unusual the values of an event are among those of its sort."""

    rare_value: float = 0.0
    """Nats of its rarest value, beyond the mean of the field."""
    rare_second: float = 0.0
    """The same of the next one."""
    tail: float = 0.0
    """Log of 1 / the share of numbers that lie at least so far out by rank."""
    beyond: float = 0.0
    """Log of 1 + the distance from the median, in units of that to the outer tenths."""


def value_rarity(acts: Sequence[Act]) -> dict[int, ValueRarity]:
    """Return {place: how unusual the values are} of all events of one sort."""
    fields: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    for act in acts:
        for path, value in act.values.items():
            fields[path].append((act.place, value))
    rare: dict[int, list[float]] = defaultdict(list)
    tail: dict[int, float] = defaultdict(float)
    beyond: dict[int, float] = defaultdict(float)
    for held in fields.values():
        # As dict keys True and 1 are equal.
        texts = [str(value) for _, value in held]
        counts, number = Counter(texts), len(held)
        if number < MIN_VALUES or len(counts) == 1:
            continue
        if len(counts) <= max(MIN_VALUES, FEW_VALUES * number):
            usual = -sum(times / number * math.log(times / number) for times in counts.values())
            nats = {text: -math.log(times / number) - usual for text, times in counts.items()}
            for (place, _), text in zip(held, texts, strict=True):
                rare[place].append(nats[text])
        numbers = [(place, value) for place, value in held if is_number(value) and abs(value) < HUGE]
        if len(numbers) >= MIN_NUMBERS and len(counts) > MIN_VALUES:
            for place, by_rank, by_distance in _outlying(numbers):
                tail[place] = max(tail[place], by_rank)
                beyond[place] = max(beyond[place], by_distance)
    return {
        place: _rarity(rare.get(place, ()), tail[place], beyond[place])
        for place in (act.place for act in acts)
    }


def _rarity(rare: Sequence[float], tail: float, beyond: float) -> ValueRarity:
    first, second = sorted([*rare, 0.0, 0.0], reverse=True)[:2]
    return ValueRarity(first, second, tail, beyond)


def _outlying(numbers: Sequence[tuple[int, int | float]]) -> Iterator[tuple[int, float, float]]:
    """Yield (place, how far in the tail by rank, by distance) of each number."""
    ordered = sorted(value for _, value in numbers)
    size = len(ordered)
    middle, low, high = ordered[size // 2], ordered[size // 10], ordered[-1 - size // 10]
    spread = max(high - middle, middle - low, 1e-9 * abs(middle), 1e-12)
    for place, value in numbers:
        below = bisect_left(ordered, value)
        outside = min(below, size - 1 - below)
        yield place, math.log((size + 1) / (2 * outside + 1)), math.log1p(abs(value - middle) / spread)


MAX_RATIO: Final = 6.0
"""Cap on the log of a ratio: a factor of 400."""
OTHER_SIGN: Final = 1.5
"""Added where two numbers differ in sign."""
MAX_SPREADS: Final = 20.0
BESIDE: Final = 3
"""How many numbers before, and after, are around one; a list with so many has a usual one."""
LEAST_SPREAD: Final = 0.05


@dataclass(slots=True)
class NumberContrast:
    """How far the numbers of an event are from others: logs of ratios, of the number that is furthest."""

    replaced: float = 0.0
    """From the value that it replaces."""
    previous: float = 0.0
    """From the previous one in its field by the same agent about the same thing."""
    previous_rank: float = 0.0
    """Log of 1 / the share of events of its sort whose number moved as far."""
    usual: float = 0.0
    """From the median of its field."""
    spreads: float = 0.0
    """The same in units of the spread of the field."""
    around: float = 0.0
    """From the median of the numbers just before and after in its field, whoever did them."""
    around_rank: float = 0.0
    """Log of 1 / the share of events whose number is as far from those around it."""
    listed: float = 0.0
    """From the median of the numbers of its list or dict."""


def number_contrasts(acts: Sequence[Act]) -> dict[int, NumberContrast]:
    """Return {place: how far its numbers are from others} of all events of one sort."""
    found: dict[int, NumberContrast] = {}
    columns: dict[str, list[tuple[int, float]]] = defaultdict(list)
    moved: dict[str, list[tuple[int, float]]] = defaultdict(list)
    latest: dict[tuple[Any, ...], float] = {}
    for act in acts:
        held = {path: value for path, value in act.values.items() if _is_finite(value)}
        own = found[act.place] = NumberContrast(listed=_from_its_list(held))
        for path, value in held.items():
            columns[path].append((act.place, value))
            key = path, act.agent, *act.things[:1]
            if key in latest:
                moved[path].append((act.place, _ratio(value, latest[key])))
            latest[key] = value
            replaced = act.before.get(path)
            if _is_finite(replaced):
                own.replaced = max(own.replaced, _ratio(value, replaced))
    for ratios in moved.values():
        for place, ratio, rank in _ranked(ratios):
            own = found[place]
            own.previous, own.previous_rank = max(own.previous, ratio), max(own.previous_rank, rank)
    for numbers in columns.values():
        if len({value for _, value in numbers}) == 1:
            continue  # as far from all others: zero
        for place, ratio, rank in _ranked(_from_around(numbers)):
            own = found[place]
            own.around, own.around_rank = max(own.around, ratio), max(own.around_rank, rank)
        for place, ratio, spreads in _from_usual(numbers):
            own = found[place]
            own.usual, own.spreads = max(own.usual, ratio), max(own.spreads, spreads)
    return found


def _is_finite(value: object) -> TypeGuard[int | float]:
    return is_number(value) and abs(value) < HUGE


def _ratio(one: float, other: float) -> float:
    """Return the log of the ratio of two numbers; of zero and another, one that grows with that."""
    if one == other:
        return 0.0
    if not one or not other:
        return min(MAX_RATIO, 1 + math.log1p(abs(one or other))) / 2
    ratio = abs(math.log(abs(one)) - math.log(abs(other)))
    return min(MAX_RATIO, ratio + (OTHER_SIGN if (one < 0) != (other < 0) else 0.0))


def _from_its_list(held: Mapping[str, float]) -> float:
    """Return how far a number is from the median of those in its list or dict, at most."""
    lists: dict[str, list[float]] = defaultdict(list)
    for path, value in held.items():
        if value:
            lists[path.rpartition("." if "." in path else "[")[0]].append(math.log(abs(value)))
    furthest = 0.0
    for logs in lists.values():
        if len(logs) >= BESIDE:
            median = sorted(logs)[len(logs) // 2]
            furthest = max(furthest, *(abs(each - median) for each in logs))
    return min(MAX_RATIO, furthest)


def _ranked(ratios: Sequence[tuple[int, float]]) -> Iterator[tuple[int, float, float]]:
    """Yield (place, ratio, log of 1 / the share that is as large) of each ratio above zero."""
    ordered, size = sorted(ratio for _, ratio in ratios), len(ratios)
    for place, ratio in ratios:
        if ratio:
            yield place, ratio, math.log((size + 1) / (size - bisect_left(ordered, ratio) + 1))


def _from_around(numbers: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return (place, log of the ratio to the median of those around it) of each number of a field."""
    found, values = [], [value for _, value in numbers]
    for at, (place, value) in enumerate(numbers):
        around = values[max(0, at - BESIDE) : at] + values[at + 1 : at + 1 + BESIDE]
        if len(around) > 1:
            around.sort()
            found.append((place, _ratio(value, around[len(around) // 2])))
    return found


def _from_usual(numbers: Sequence[tuple[int, float]]) -> Iterator[tuple[int, float, float]]:
    """Yield (place, log of the ratio to the median, the same in spreads) of the numbers of a field."""
    logs = [(place, math.log(abs(value))) for place, value in numbers if value]
    if len(logs) < MIN_VALUES:
        return
    ordered, tenth = sorted(each for _, each in logs), len(logs) // 10
    median = ordered[len(ordered) // 2]
    spread = max(ordered[-1 - tenth] - median, median - ordered[tenth], LEAST_SPREAD)
    for place, each in logs:
        far = abs(each - median)
        yield place, min(MAX_RATIO, far), min(MAX_SPREADS, far / spread)


LEAF: Final = 1
"""Length of a leaf, [value]; a branch is [number of a measure, largest value that goes left, left, right]."""


class BoostedTrees(NamedTuple):
    """A sum of trees over named measures, beside the sum that they correct."""

    measures: tuple[str, ...]
    corrected: float
    """Factor on the sum that they correct."""
    roots: Sequence[Any]
    """The root of each tree, nested lists as described at `LEAF`."""

    def score(self, measures: Mapping[str, float], weights: Mapping[str, float]) -> float:
        """Return the log of a likelihood, up to a constant of the session.

        Args:
            measures: the measures of an event by name.
            weights: those of the sum, by the name of the measure.
        """
        score = self.corrected * sum(weight * measures[name] for name, weight in weights.items())
        values = [measures[name] for name in self.measures]
        for root in self.roots:
            node = root
            while len(node) != LEAF:
                node = node[2] if values[node[0]] <= node[1] else node[3]
            score += node[0]
        return score


@lru_cache(maxsize=2)
def boosted_trees(name: str) -> BoostedTrees:
    """Return the trees of the file `name`.json beside this module."""
    content = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return BoostedTrees(tuple(content["measures"]), content["corrected"], content["trees"])
