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

__all__ = ["Change", "Courses", "Key", "Onset", "Track", "begins", "onset_of"]

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
LARGEST: Final = 1e100
_CARRIED: Final = 0.35
_CLEAR: Final = 15.0
_SHORT: Final = 1e-3
_MONOTONE: Final = 0.97


class Track:
    """One value of one agent over the steps, as sums: its level, how far it moves, which way."""

    __slots__ = ("cells",)

    def __init__(self) -> None:
        self.cells: dict[int, list[float]] = {}
        """{step: [how many levels, their sum, how many moves, their sum, how many drifts, their sum]}."""

    def cell(self, step: int) -> list[float]:
        """The sums of a step, to be added to."""
        found = self.cells.get(step)
        if found is None:
            found = self.cells[step] = [0, 0.0, 0, 0.0, 0, 0.0]
        return found

    def add(self, step: int, value: float) -> None:
        """Take a level; none with whose square one cannot reckon."""
        if -LARGEST < value < LARGEST:
            cell = self.cell(step)
            cell[0] += 1
            cell[1] += value


_PLACES: Final = {"mean": 0, "duration": 0, "moves": 2, "drift": 4, "count": 0}


@dataclass(slots=True)
class Courses:
    """Everybody's courses; an owner is an agent, or all agents of a role as `role:NAME`."""

    steps: int
    tracks: dict[str, dict[Key, Track]] = field(default_factory=dict)
    """{agent: {what goes on, without the measure: its track}}."""
    members: dict[str, list[str]] = field(default_factory=dict)
    """{role: its agents}."""
    _pooled: dict[str, dict[Key, dict[int, list[float]]]] = field(default_factory=dict)

    def track(self, agent: str, name: Key) -> Track:
        """The track of one thing of an agent, made when it is first asked for."""
        own = self.tracks.setdefault(agent, {})
        found = own.get(name)
        if found is None:
            found = own[name] = Track()
        return found

    def of(self, owner: str, key: Key) -> dict[int, float]:
        """One course: means of the steps that have one, or counts of all steps."""
        cells = self._of(owner).get(key[:-1], {})
        if key[-1] == "count":
            return {step: cells[step][2] if step in cells else 0.0 for step in range(self.steps)}
        at = _PLACES[key[-1]]
        return {step: cell[at + 1] / cell[at] for step, cell in cells.items() if cell[at]}

    def keys(self, owner: str) -> list[Key]:
        """The courses of an owner that are long enough to change."""
        found: list[Key] = []
        for name, cells in self._of(owner).items():
            is_event = len(name) == _OF_EVENT
            for measure in ("duration",) if is_event else ("mean", "moves", "drift"):
                at = _PLACES[measure]
                if len(cells) >= MIN_POINTS and sum(cell[at] > 0 for cell in cells.values()) >= MIN_POINTS:
                    found.append((*name, measure))
            if is_event and sum(cell[2] for cell in cells.values()) >= _FEWEST:
                found.append((*name, "count"))
        return found

    def _of(self, owner: str) -> dict[Key, dict[int, list[float]]]:
        if owner not in self._pooled:
            role = owner.removeprefix("role:")
            agents = self.members.get(role, []) if owner != role else [owner]
            self._pooled[owner] = _pooled([self.tracks.get(agent, {}) for agent in agents])
        return self._pooled[owner]


_OF_EVENT: Final = 2
"""A name of kind and label alone is of the events themselves: how many, how long."""


def _pooled(tracks: Sequence[Mapping[Key, Track]]) -> dict[Key, dict[int, list[float]]]:
    """The tracks of several agents added up."""
    if len(tracks) == 1:
        return {name: track.cells for name, track in tracks[0].items()}
    sums: dict[Key, dict[int, list[float]]] = {}
    for own in tracks:
        for name, track in own.items():
            known = sums.setdefault(name, {})
            for step, cell in track.cells.items():
                at = known.get(step)
                known[step] = cell[:] if at is None else [a + b for a, b in zip(at, cell, strict=True)]
    return sums


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
    found: dict[Key, tuple[Change, dict[int, float]]] = {}
    for key in courses.keys(owner):
        points = _beside_peers(courses, owner, key, peers)
        if len(points) < MIN_POINTS or (key[-1] != "count" and _is_counter(points)):
            continue
        gains = begins([value for _, value in points])
        if not gains:
            continue
        best = max(gains.values())
        named = _NAMED if set(stems(" ".join(key))) & set(words) else 1.0
        # half the evidence: courses are rougher than the model of two levels
        shares = {points[place][0]: math.exp((gain - best) / 2) for place, gain in gains.items()}
        whole = sum(shares.values())
        belief = {step: share / whole for step, share in shares.items()}
        at = max(belief, key=lambda step: (belief[step], -step))
        weight = named * max(0.0, min(best, CERTAIN) - NOISE)
        weight *= _SETTLING if at < _EARLY * courses.steps else 1.0
        # level, movement and trend of one value change together
        if weight > 0 and (key[:-1] not in found or weight > found[key[:-1]][0].weight):
            found[key[:-1]] = Change(owner, key, at, best, weight), belief
    for change, belief in found.values():
        onset.add(change, belief)
    return onset


_EARLY: Final = 0.08
_SETTLING: Final = 0.15
"""What changes when a session has just begun is how things begin."""


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
