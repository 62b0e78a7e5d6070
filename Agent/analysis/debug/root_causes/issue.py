"""The subject of an issue: the agents, things, values and moments that its words name."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, groupby
from typing import Any, Final

from Agent.analysis.debug.question import Question, stems
from Agent.analysis.debug.root_causes.acts import Act, Log, is_number, leaf
from Agent.analysis.debug.root_causes.nearby import HOP
from Agent.analysis.debug.root_causes.scan import Finding
from Agent.analysis.debug.root_causes.symptoms import QUIET, Subject, symptoms

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
        self.told = self._told(log, question)
        """{place of an act: how much of the text it matches, 0 to 1}."""

    def names_something(self, question: Question) -> bool:
        """Whether the text is empty, or names an agent, thing, moment, topic or word of the session."""
        named = question.agents, question.roles, question.series, question.topics, question.naming
        when = question.moments, question.clock, question.event_ids
        return not self.spaced.strip() or any((self.told, self.tokens, *named, *when))

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

    def _told(self, log: Log, question: Question) -> dict[int, float]:
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

    def heard(self, log: Log) -> dict[int, float]:
        """Return {place: nearness} of the acts that match the text best; empty if they are too many."""
        size = math.log(max(2, len(log.acts)))
        ordered = sorted(self.told.items(), key=lambda pair: (-pair[1], pair[0]))
        found: dict[int, float] = {}
        begin = 0
        for _, group in groupby(ordered, key=lambda pair: round(pair[1], 6)):
            places = [place for place, _ in group]
            begin += len(places)
            if begin > MAX_HEARD:
                break
            for place in places:
                found[place] = HOP * self.told[place] * (1 - math.log(begin) / size)
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
        return Subject(self.told, self._numbers(log), self.seeds(log), self.then(log))

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
