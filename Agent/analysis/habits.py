"""What a value usually is, learnt event by event, and how unlike all that a new one is.

A habit belongs to one value of one sort of event (`leaves`) of all agents of a role. It knows no meaning: it
counts values, shapes, ranges, and how far values move. `suspects` asks for the chance of each value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeGuard

__all__ = ["ALIKE", "Habit", "Oddity", "Said", "is_number", "kind_of"]

AGAIN, ANOTHER, BEYOND, LEAP, NEW, OTHER_SORT, CHANGED, OWN_NEW = (
    "again", "another", "beyond", "leap", "new", "sort", "changed", "own",
)  # fmt: skip

MIN_SEEN: Final = 2
_MIN_MOVES: Final = 3
_MIN_UNIQUE: Final = 20
_UNIQUE: Final = 0.9
_FEW: Final = 0.2
MAX_SAID: Final = 60
"""A value said more often than this is routine; of rarer ones each is compared with all others."""
MAX_OWN: Final = 200
_MAX_LEAPS: Final = 400
_INFINITE: Final = float("inf")
_DIGITS: Final = re.compile(r"\d+")


class Oddity(NamedTuple):
    """How often chance says something so unlike the rest, in which way it is unlike, and beside what."""

    chance: float
    sort: str
    usual: Any = None


class Said(NamedTuple):
    """A value at its place: which step, which agent, which event."""

    step: int
    agent: str | None
    value: Any
    event: int


ALIKE: Final = Oddity(1.0, "")


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number with which one can reckon."""
    sort = type(value)
    return sort is int or (sort is float and value == value and abs(value) != _INFINITE)


def kind_of(value: Any) -> str:
    """The sort of a scalar: its type; of a number its sign too."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a flag"
    if isinstance(value, int | float):
        if not is_number(value):
            return "no finite number"
        return "negative" if value < 0 else "zero" if value == 0 else "positive"
    return "a text" if value else "empty"


class Habit:
    """What was said so far in one place, by whom."""

    __slots__ = (
        "_changes", "_farthest", "_highest", "_last", "_leaped", "_lowest", "_moves", "_named", "_numbers",
        "_of_agent", "_own_new", "_records", "_single", "_steps_measured", "count", "leaps", "said", "sorts",
        "values",
    )  # fmt: skip

    def __init__(self) -> None:
        self.count = 0
        self.values: Counter[Any] = Counter()
        self.sorts: Counter[str] = Counter()
        self.said: list[Said] = []
        """What was said, while it is little."""
        self.leaps: list[tuple[float, int]] = []
        """The farthest moves of one agent's value, with their steps."""
        self._single = 0
        self._numbers = self._records = 0
        self._lowest = self._highest = 0.0
        self._last: dict[str | None, Any] = {}
        self._of_agent: dict[str | None, set[Any]] = {}
        self._moves = self._changes = self._own_new = 0
        self._steps_measured = self._leaped = 0
        self._farthest = 0.0
        self._named: Counter[bool] = Counter()

    def last(self, agent: str | None) -> tuple[bool, Any]:
        """Whether an agent said something before, and what last."""
        return agent in self._last, self._last.get(agent)

    def begin(self, agent: str | None, value: Any) -> None:
        """Take what an agent began with: it is no saying, but what its first one is compared with."""
        if agent not in self._last:
            self._last[agent] = value
            self._of_agent[agent] = {value}

    def oddity(self, value: Any, agent: str | None) -> Oddity:
        """How unlike everything before it a value of an agent is.

        The chance is the share of earlier ones that were as unlike all before them, by the rule of
        succession; of a number beyond all others it falls with the square of the distance.
        """
        known = agent in self._last
        if known and self._last[agent] == value:
            return ALIKE  # most of what is said is what was said before
        numeric = is_number(value)
        found = self._beside_all(value, numeric=numeric)
        if known:
            self._beside_own(found, value, agent, numeric=numeric)
        if self._named:
            names_itself = _names_itself(value, agent) if agent and isinstance(value, str) else None
            asked = sum(self._named.values())
            if names_itself is not None and asked > _MIN_MOVES and not self._named[names_itself]:
                found.append(Oddity(0.5 / (asked + 1), ANOTHER))
        return min(found, key=_chance, default=ALIKE)

    def _beside_all(self, value: Any, *, numeric: bool) -> list[Oddity]:
        n = self.count
        found: list[Oddity] = []
        if n and not self.sorts[kind_of(value)]:
            found.append(Oddity((len(self.sorts) - 0.5) / (n + 1), OTHER_SORT))
        if n < MIN_SEEN:
            return found
        if value not in self.values:
            if not numeric or self._are_few():
                found.append(Oddity((len(self.values) - 0.5) / (n + 1), NEW))
        elif n >= _MIN_UNIQUE and self._single >= _UNIQUE * n and not (numeric and self._counts_on()):
            found.append(Oddity((n - self._single + 0.5) / (n + 1), AGAIN))
        if numeric and self._numbers >= MIN_SEEN:
            beyond = max(self._lowest - value, value - self._highest)
            if beyond > 0:
                spread = self._highest - self._lowest or abs(self._highest) or 1.0
                chance = (self._records + 1.0) / (self._numbers + 1) * _nearer(spread, beyond)
                found.append(Oddity(chance, BEYOND, (self._lowest, self._highest)))
        return found

    def _beside_own(self, found: list[Oddity], value: Any, agent: str | None, *, numeric: bool) -> None:
        last = self._last[agent]
        if self._moves >= _MIN_MOVES and (not numeric or self._are_few()):
            found.append(Oddity((self._changes + 0.5) / (self._moves + 1), CHANGED, last))
            if value not in self._of_agent[agent]:
                found.append(Oddity((self._own_new + 0.5) / (self._moves + 1), OWN_NEW, last))
        if self._steps_measured > _MIN_MOVES and numeric and is_number(last):
            leap = abs(value - last)
            if leap > self._farthest:
                beside = self._farthest or abs(last) or 1.0
                chance = (self._leaped + 0.5) / (self._steps_measured + 1)
                chance *= _nearer(beside, leap - self._farthest)
                found.append(Oddity(chance, LEAP, last))

    def _are_few(self) -> bool:
        """Whether few values come again and again, so that a new one means something."""
        return len(self.values) <= max(3, _FEW * self.count)

    def _counts_on(self) -> bool:
        return self._records > 0.3 * self.count

    def learn(self, value: Any, agent: str | None, step: int, event: int) -> None:
        """Take a value as one of those that are usual."""
        if len(self.said) <= MAX_SAID:
            self.said.append(Said(step, agent, value, event))
        self.count += 1
        before = self.values[value]
        self._single += (before == 0) - (before == 1)
        self.values[value] = before + 1
        self.sorts[kind_of(value)] += 1
        known = agent in self._last
        if is_number(value):
            self._measure(value)
            if known and is_number(self._last[agent]):
                self._measure_move(abs(value - self._last[agent]), step)
        if known:
            self._moves += 1
        if not known or self._last[agent] != value:
            own = self._of_agent.setdefault(agent, set())
            self._changes += known
            self._own_new += known and value not in own
            self._last[agent] = value
            if len(own) < MAX_OWN:
                own.add(value)
        if agent and isinstance(value, str):
            names_itself = _names_itself(value, agent)
            if names_itself is not None:
                self._named[names_itself] += 1

    def _measure(self, value: float) -> None:
        self._numbers += 1
        if self._numbers == 1:
            self._lowest = self._highest = value
        elif value < self._lowest:
            self._lowest = value
            self._records += 1
        elif value > self._highest:
            self._highest = value
            self._records += 1

    def _measure_move(self, distance: float, step: int) -> None:
        self._steps_measured += 1
        if distance > 0:
            self.leaps.append((distance, step))
            if len(self.leaps) > _MAX_LEAPS:
                self.leaps.sort(reverse=True)
                del self.leaps[_MAX_LEAPS // 2 :]
        if distance > self._farthest:
            self._farthest = distance
            self._leaped += self._steps_measured > 1

    def beside_others(self) -> list[tuple[Said, Oddity]]:
        """What is said seldom, each beside all others, later ones too; not those of its own moment."""
        if self.count != len(self.said) or self.count < MIN_SEEN + 2 or len(self.values) == 1:
            return []
        found = []
        # what is said first is how it begins
        for own in self.said[1:]:
            others = [
                each.value
                for each in self.said
                if abs(each.step - own.step) > 1 and (each.agent, each.value) != (own.agent, own.value)
            ]
            if len(others) > MIN_SEEN:
                odd = _beside(own.value, others)
                if odd.chance < 1.0:
                    found.append((own, odd))
        return found


def _nearer(usual: float, distance: float) -> float:
    """The square of what is usual by a distance, at most 1."""
    return (usual / distance) ** 2 if usual < distance else 1.0


def _chance(odd: Oddity) -> float:
    return odd.chance


def _beside(value: Any, others: Sequence[Any]) -> Oddity:
    """How unlike some others, in whatever order, a value is."""
    n, values = len(others), set(others)
    found = [ALIKE]
    if kind_of(value) not in {kind_of(other) for other in others}:
        found.append(Oddity((len({kind_of(other) for other in others}) - 0.5) / (n + 1), OTHER_SORT))
    if value not in values and (not is_number(value) or len(values) <= max(3, _FEW * n)):
        found.append(Oddity((len(values) - 0.5) / (n + 1), NEW))
    numbers = [other for other in others if is_number(other)]
    if is_number(value) and len(numbers) > MIN_SEEN:
        low, high = min(numbers), max(numbers)
        beyond = max(low - value, value - high)
        if beyond > 0:
            spread = high - low or abs(high) or 1.0
            found.append(
                # the lowest and the highest of any are beyond the others
                Oddity(2.0 / (len(numbers) + 1) * _nearer(spread, beyond), BEYOND, (low, high))
            )
    return min(found, key=_chance)


@lru_cache(maxsize=4096)
def _names_itself(value: str, agent: str) -> bool | None:
    """Whether a text names its own agent, by its number or its name; None where it names nobody."""
    own = _DIGITS.findall(agent)
    if own:
        there = _DIGITS.findall(value)
        return there[-len(own) :] == own if there else None
    return agent in value
