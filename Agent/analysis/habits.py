"""What a value usually is, learnt event by event, and how unlike all that a new one is.

A habit belongs to one value of one sort of event (`leaves`) of all agents of a role. It knows no meaning: it
counts values, shapes, ranges, and how far values move. `suspects` asks for the chance of each value.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeGuard

from Agent.analysis.courses import LARGEST, Track

__all__ = ["ALIKE", "Habit", "Oddity", "Said", "is_number", "kind_of"]

AGAIN, ANOTHER, BACK, BEYOND, LEAP, NEW, OTHER_SORT, CHANGED, OWN_NEW, DENSE = (
    "again", "another", "back", "beyond", "leap", "new", "sort", "changed", "own", "dense",
)  # fmt: skip

MIN_SEEN: Final = 2
_MIN_MOVES: Final = 3
_MIN_UNIQUE: Final = 20
_UNIQUE: Final = 0.9
_FEW: Final = 0.2
_SCALE: Final = 5
"""Numbers of so many values measure something; of fewer each may have a meaning of its own."""
MAX_SAID: Final = 60
"""A value said more often than this is routine; of rarer ones each is compared with all others."""
MAX_OWN: Final = 200
MAX_MOMENTS: Final = 60
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


class Own:
    """What one agent said in one place: last, ever, and step by step."""

    __slots__ = ("last", "said", "track")

    def __init__(self, value: Any) -> None:
        self.last = value
        self.said = {value}
        self.track = Track()


class Habit:
    """What was said so far in one place, by whom."""

    __slots__ = (
        "_changes", "_falls", "_farthest", "_highest", "_leaped", "_lowest", "_moves", "_named", "_new_at",
        "_numbers", "_own_new", "_records", "_rises", "_single", "_steps_measured", "count", "kinds",
        "leaps", "own", "said", "sorts", "values",
    )  # fmt: skip

    def __init__(self) -> None:
        self.count = 0
        self.values: Counter[Any] = Counter()
        self.sorts: Counter[str] = Counter()
        self.said: list[Said] = []
        """What was said, while it is little."""
        self.kinds: dict[str, list[tuple[int, int]]] = {}
        """{kind of value: the steps at which it was said first, and the events}."""
        self.leaps: list[tuple[float, int]] = []
        """The farthest moves of one agent's value, with their steps."""
        self._single = 0
        self._new_at: list[int] = []
        self._numbers = self._records = 0
        self._lowest = self._highest = 0.0
        self.own: dict[str | None, Own] = {}
        self._moves = self._changes = self._own_new = 0
        self._rises = self._falls = 0
        self._steps_measured = self._leaped = 0
        self._farthest = 0.0
        self._named: Counter[bool] = Counter()

    def begin(self, agent: str | None, value: Any) -> None:
        """Take what an agent began with: it is no saying, but what its first one is compared with."""
        if agent not in self.own:
            self.own[agent] = Own(value)

    def oddity(self, value: Any, agent: str | None) -> Oddity:
        """How unlike everything before it a value of an agent is.

        The chance is the share of earlier ones that were as unlike all before them, by the rule of
        succession; of a number beyond all others it falls with the square of the distance.
        """
        own = self.own.get(agent)
        if own is not None and own.last == value and not self._comes_once():
            return ALIKE  # most of what is said is what was said before
        numeric = is_number(value)
        found = self._beside_all(value, numeric=numeric)
        if own is not None:
            self._beside_own(found, value, own, numeric=numeric)
        if self._named:
            names_itself = _names_itself(value, agent) if agent and isinstance(value, str) else None
            asked = sum(self._named.values())
            if names_itself is False and asked > _MIN_MOVES and not self._named[False]:
                found.append(Oddity(_chance_of_new(0, asked), ANOTHER))
        return min(found, key=_chance, default=ALIKE)

    def _beside_all(self, value: Any, *, numeric: bool) -> list[Oddity]:
        n = self.count
        found: list[Oddity] = []
        if n and not self.sorts[kind_of(value)]:
            found.append(Oddity(_chance_of_new(len(self.sorts) - 1, n), OTHER_SORT))
        if n < MIN_SEEN:
            return found
        if value not in self.values:
            if not numeric or (self._are_few() and not self._counts_on() and self._stands_apart(value)):
                found.append(Oddity(_chance_of_new(self._new_of_late(), n), NEW))
        elif self._comes_once():
            # numbers meet by chance, those that count on do not
            met = 1 if numeric and not self._counts_on() else n - self._single
            found.append(Oddity(_chance_of_new(met, n), AGAIN))
        if numeric and self._numbers >= MIN_SEEN:
            beyond = max(self._lowest - value, value - self._highest)
            if beyond > 0:
                spread = self._highest - self._lowest or abs(self._highest) or 1.0
                chance = (self._records + 1.0) / (self._numbers + 1) * _nearer(spread, beyond)
                found.append(Oddity(chance, BEYOND, (self._lowest, self._highest)))
        return found

    def _beside_own(self, found: list[Oddity], value: Any, own: Own, *, numeric: bool) -> None:
        last = own.last
        if self._moves >= _MIN_MOVES and (not numeric or self._are_few()):
            found.append(Oddity(_chance_of_new(self._changes, self._moves), CHANGED, last))
            if value not in own.said:
                found.append(Oddity(_chance_of_new(self._own_new, self._moves), OWN_NEW, last))
        if self._steps_measured > _MIN_MOVES and numeric and is_number(last):
            if value < last and self._rises > _MIN_MOVES:
                found.append(Oddity(_chance_of_new(self._falls, self._rises), BACK, last))
            leap = abs(value - last)
            if leap > self._farthest:
                beside = self._farthest or abs(last) or 1.0
                chance = (self._leaped + 0.5) / (self._steps_measured + 1)
                chance *= _nearer(beside, leap - self._farthest)
                found.append(Oddity(chance, LEAP, last))

    def _comes_once(self) -> bool:
        return self.count >= _MIN_UNIQUE and self._single >= _UNIQUE * self.count

    def _new_of_late(self) -> int:
        """How many values were new, by the rate of the later half: where none was, all are known."""
        return 2 * (len(self._new_at) - bisect_right(self._new_at, self.count // 2))

    def _are_few(self) -> bool:
        """Whether few values come again and again, so that a new one means something."""
        return len(self.values) <= max(3, _FEW * self.count)

    def _stands_apart(self, value: float) -> bool:
        """Whether a number is farther from all others than any of them from its next: no mere one more."""
        numbers = sorted(other for other in self.values if is_number(other))
        if len(numbers) < _SCALE:
            return True
        nearest = min(abs(other - value) for other in numbers)
        return nearest > max(later - earlier for earlier, later in pairwise(numbers))

    def times(self, oddity: Oddity, value: Any) -> tuple[int, int]:
        """How many exceptions of the sort of an oddity there are so far, and of how many they are.

        Asked again when all is known, it says whether what was odd at first came to be common.
        """
        match oddity.sort:
            case "sort":
                return self.sorts[kind_of(value)], self.count
            case "again":
                return self.count - len(self.values), self.count
            case "another":
                return self._named[False], sum(self._named.values())
            case "back":
                return self._falls, self._rises + self._falls
            case "changed":
                return self._changes, self._moves
            case "own":
                return self._own_new, self._moves
        return len(self._new_at), self.count

    def still_holds(self, oddity: Oddity) -> bool:
        """Whether what made a value odd holds for most: where many come again, none comes once."""
        return oddity.sort != AGAIN or self._comes_once()

    def _counts_on(self) -> bool:
        return self._records > 0.3 * len(self.values)

    def learn(self, value: Any, agent: str | None, step: int, event: int) -> None:
        """Take a value as one of those that are usual."""
        if len(self.said) <= MAX_SAID:
            self.said.append(Said(step, agent, value, event))
        self.count += 1
        before = self.values[value]
        self._single += (before == 0) - (before == 1)
        if before == 0:
            self._new_at.append(self.count)
        self.values[value] = before + 1
        kind = kind_of(value)
        self.sorts[kind] += 1
        known = self.kinds.setdefault(kind, [])
        if len(known) < MAX_MOMENTS:
            known.append((step, event))
        own = self.own.get(agent)
        numeric = is_number(value)
        if numeric:
            self._measure(value)
        if own is None:
            own = self.own[agent] = Own(value)
        else:
            self._moves += 1
            self._follow(own, value, step, numeric=numeric)
        if numeric or isinstance(value, bool):
            own.track.add(step, float(value))
        if agent and isinstance(value, str):
            names_itself = _names_itself(value, agent)
            if names_itself is not None:
                self._named[names_itself] += 1

    def _follow(self, own: Own, value: Any, step: int, *, numeric: bool) -> None:
        """Take how an agent's value goes on from its last one."""
        last = own.last
        cell = own.track.cell(step)
        cell[2] += 1
        if numeric and is_number(last):
            drift = float(value - last)
            self._rises += drift > 0
            self._falls += drift < 0
            self._measure_move(abs(drift), step)
            if abs(drift) < LARGEST:
                cell[3] += abs(drift)
                cell[4] += 1
                cell[5] += drift
        else:
            cell[3] += last != value
        if last != value:
            self._changes += 1
            self._own_new += value not in own.said
            own.last = value
            if len(own.said) < MAX_OWN:
                own.said.add(value)

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

    def _runs(self) -> Counter[tuple[str | None, Any]]:
        """How often each agent came to each of its values."""
        last: dict[str | None, Any] = {}
        runs: Counter[tuple[str | None, Any]] = Counter()
        for each in self.said:
            runs[each.agent, each.value] += each.agent not in last or last[each.agent] != each.value
            last[each.agent] = each.value
        return runs

    def beside_others(self, *, stays: bool = True) -> list[tuple[Said, Oddity]]:
        """What is said seldom, each beside all others, later ones too; not those of its own moment.

        Where a value stays until another comes, what one agent says on and on is one saying.
        """
        if self.count != len(self.said) or self.count < MIN_SEEN + 2 or len(self.values) == 1:
            return []
        found = []
        runs = self._runs()
        # what is said first is how it begins
        begun = next(n for n, each in enumerate(self.said) if each.value != self.said[0].value)
        for own in self.said[begun:]:
            if runs[own.agent, own.value] > _TO_AND_FRO:
                continue
            others = [
                each.value
                for each in self.said
                if abs(each.step - own.step) > 1
                and not (stays and (each.agent, each.value) == (own.agent, own.value))
            ]
            if len(others) > MIN_SEEN:
                odd = _beside(own.value, others)
                if odd.chance < 1.0:
                    found.append((own, odd))
        return found


_TO_AND_FRO: Final = 2
"""Who comes back to a value more often than that goes to and fro between some."""


def _chance_of_new(exceptions: int, n: int) -> float:
    """How often one more exception comes after some of n.

    By the rule of succession; where there was none yet, it may be a law, the surer the longer it held.
    """
    # values may come up faster of late than there were any before
    chance = min(1.0, (exceptions + 0.5) / (n + 1))
    return chance if exceptions else chance * _LAW / (n + _LAW)


_LAW: Final = 4.0
"""What held so often without exception is as likely a law as a habit."""


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
        found.append(Oddity(_chance_of_new(len({kind_of(other) for other in others}) - 1, n), OTHER_SORT))
    if value not in values and (not is_number(value) or len(values) <= max(3, _FEW * n)):
        found.append(Oddity(_chance_of_new(len(values) - 1, n), NEW))
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
