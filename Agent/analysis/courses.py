"""How the things somebody does and says go on, step by step, and at which step they change.

A course is one number over the steps of the session: how often something is done, the mean of a value, how
far it moves. Of each the most likely place of a change is looked for; together they say where it began.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from Agent.analysis.question import stems

__all__ = ["Change", "Course", "Courses", "Key", "Onset", "begins", "onset_of"]

Key = tuple[str, ...]
"""What goes on: kind, label, path and measure."""

MIN_POINTS: Final = 8
MIN_EDGE: Final = 3
"""How many steps must stand on either side of a change."""
NOISE: Final = 5.0
"""So much a change explains, in natural logarithms, at the likeliest of some hundred places by chance."""
CERTAIN: Final = 30.0
_MIN_PEERS: Final = 3
_FEWEST: Final = 4
_NAMED: Final = 3.0
_VAGUE: Final = 10.0
_LARGEST: Final = 1e100
_CARRIED: Final = 0.35
_CLEAR: Final = 15.0
_SHORT: Final = 1e-3
_MONOTONE: Final = 0.97


class Course:
    """One number over the steps: sums and counts."""

    __slots__ = ("counts", "sums")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.sums: dict[int, float] = {}

    def add(self, step: int, value: float) -> None:
        """Take a value in a step."""
        self.counts[step] = self.counts.get(step, 0) + 1
        self.sums[step] = self.sums.get(step, 0.0) + value

    def means(self) -> dict[int, float]:
        """{step: mean}, of steps with a value."""
        return {step: self.sums[step] / count for step, count in self.counts.items()}


@dataclass(slots=True)
class Courses:
    """Everybody's courses; an owner is an agent, or a role as `role:NAME`."""

    steps: int
    means: dict[str, dict[Key, Course]] = field(default_factory=dict)
    counts: dict[str, dict[Key, Course]] = field(default_factory=dict)

    def add(self, owner: str, key: Key, step: int, value: float) -> None:
        """Take a value of an owner; none with whose square one cannot reckon."""
        if not abs(value) < _LARGEST:
            return
        own = self.means.setdefault(owner, {})
        course = own.get(key)
        if course is None:
            course = own[key] = Course()
        course.add(step, value)

    def count(self, owner: str, key: Key, step: int) -> None:
        """Take that an owner did something."""
        own = self.counts.setdefault(owner, {})
        course = own.get(key)
        if course is None:
            course = own[key] = Course()
        course.add(step, 1.0)

    def of(self, owner: str, key: Key) -> dict[int, float]:
        """One course: means of the steps that have one, or counts of all steps."""
        if key[-1] != "count":
            course = self.means.get(owner, {}).get(key)
            return {} if course is None else course.means()
        course = self.counts.get(owner, {}).get(key)
        counts = {} if course is None else course.counts
        return {step: float(counts.get(step, 0)) for step in range(self.steps)}

    def keys(self, owner: str) -> list[Key]:
        """The courses of an owner that are long enough to change."""
        found = [k for k, c in self.means.get(owner, {}).items() if len(c.counts) >= MIN_POINTS]
        done = self.counts.get(owner, {}).items()
        return found + [key for key, course in done if sum(course.counts.values()) >= _FEWEST]


@dataclass(frozen=True, slots=True)
class Change:
    """A course that changes: from which step on, how much that explains, how much it counts."""

    owner: str
    key: Key
    step: int
    gain: float
    weight: float


@dataclass(slots=True)
class Onset:
    """At which step what is asked about began, as a share of belief for each step."""

    belief: list[float]
    weight: float = 0.0
    changes: list[Change] = field(default_factory=list)

    def add(self, change: Change, belief: Mapping[int, float]) -> None:
        """Take a change, with where it may have been."""
        self.weight += change.weight
        self.changes.append(change)
        for step, share in belief.items():
            self.belief[step] += change.weight * share

    def join(self, other: Onset) -> None:
        """Take all that another one found."""
        self.weight += other.weight
        self.changes += other.changes
        self.belief = [own + more for own, more in zip(self.belief, other.belief, strict=True)]

    def fits(self) -> list[float]:
        """How much better than any other a step fits as that of the cause, 0.1 to 20; 1 where all is one.

        A cause stands where the change begins, or some steps before: the longer, the less it fits.
        """
        steps = len(self.belief)
        if self.weight <= 0:
            return [1.0] * steps
        slow = max(3.0, 0.06 * steps)
        found = [0.0] * steps
        for change_at, share in enumerate(self.belief):
            if share < 1e-6 * self.weight:
                continue
            for step in range(steps):
                lag = change_at - step
                found[step] += share * (0.02 if lag < -1 else math.exp(-max(0, lag - 2) / slow))
        later = self._later(found)
        # where little changes, it says little of where anything began
        vague = _VAGUE * sum(found) / steps / self.weight
        found = [vague + own + more for own, more in zip(found, later, strict=True)]
        usual = sum(found) / steps
        return [max(0.1, min(20.0, each / usual)) for each in found]

    def _later(self, found: Sequence[float]) -> list[float]:
        """What later changes add to where an earlier one began, which explains both."""
        steps = len(found)
        rest = [0.0] * (steps + 1)
        for step in range(steps - 1, -1, -1):
            rest[step] = rest[step + 1] + self.belief[step]
        return [
            _CARRIED * min(1.0, own / _CLEAR) * rest[min(steps, step + 3)] for step, own in enumerate(found)
        ]


def onset_of(courses: Courses, owner: str, peers: Sequence[str], words: Collection[str]) -> Onset:
    """Where the courses of an owner change, beside those of its peers; what `words` name counts more."""
    onset = Onset([0.0] * courses.steps)
    for key in courses.keys(owner):
        points = _beside_peers(courses, owner, key, peers)
        if len(points) < MIN_POINTS or (key[-1] != "count" and _is_counter(points)):
            continue
        gains = begins([value for _, value in points])
        if not gains:
            continue
        best = max(gains.values())
        named = _NAMED if set(stems(" ".join(key))) & set(words) else 1.0
        weight = named * max(0.0, min(best, CERTAIN) - NOISE)
        if weight <= 0:
            continue
        # half the evidence: courses are rougher than the model of two levels
        shares = {points[place][0]: math.exp((gain - best) / 2) for place, gain in gains.items()}
        whole = sum(shares.values())
        belief = {step: share / whole for step, share in shares.items()}
        at = max(belief, key=lambda step: (belief[step], -step))
        onset.add(Change(owner, key, at, best, weight), belief)
    return onset


def _beside_peers(courses: Courses, owner: str, key: Key, peers: Sequence[str]) -> list[tuple[int, float]]:
    """A course as (step, value), less the median of the peers where three or more have it too."""
    own = courses.of(owner, key)
    others = [course for peer in peers if len(course := courses.of(peer, key)) * 3 >= len(own)]
    if len(others) >= _MIN_PEERS:
        beside = {}
        for step, value in own.items():
            at = [course[step] for course in others if step in course]
            if len(at) >= _MIN_PEERS:
                beside[step] = value - statistics.median(at)
        if len(beside) >= 0.6 * len(own):
            own = beside
    return sorted(own.items())


def _is_counter(points: Sequence[tuple[int, float]]) -> bool:
    """Whether a course only ever goes one way, as clocks and totals do."""
    if len({value for _, value in points}) <= 6:
        return False
    ups = sum(later >= earlier for (_, earlier), (_, later) in pairwise(points))
    return not (1 - _MONOTONE) * (len(points) - 1) < ups < _MONOTONE * (len(points) - 1)


def begins(values: Sequence[float]) -> dict[int, float]:
    """{place: how much two levels, the second from there on, explain beyond one}; {} where nothing varies.

    The log likelihood ratio of a Gaussian course, less as far as neighbours resemble each other anyway.
    """
    n = len(values)
    total, squares = math.fsum(values), math.fsum(value * value for value in values)
    around = squares - total * total / n
    if n < 2 * MIN_EDGE or around <= 1e-12 * max(1.0, squares):
        return {}
    found = {}
    first = first_squares = 0.0
    for place in range(1, n - MIN_EDGE + 1):
        value = values[place - 1]
        first += value
        first_squares += value * value
        if place < MIN_EDGE:
            continue
        within = squares - first * first / place - (total - first) ** 2 / (n - place)
        found[place] = n / 2 * math.log(around / max(within, _SHORT * around))
    best = max(found, key=lambda place: found[place])
    levels = math.fsum(values[:best]) / best, math.fsum(values[best:]) / (n - best)
    rest = [value - levels[place >= best] for place, value in enumerate(values)]
    power = math.fsum(value * value for value in rest)
    alike = math.fsum(a * b for a, b in pairwise(rest)) / power if power > 0 else 0.0
    alike = min(0.95, max(0.0, alike))
    return {place: gain * (1 - alike) / (1 + alike) for place, gain in found.items()}
