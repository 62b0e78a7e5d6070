"""Suspects that are one matter, put together: what is one message, one call, one value, or led to another.

`suspicion` weighs the events; here they become the few matters of which a report tells.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Final

from Agent.analysis.deeds import Deed
from Agent.analysis.forerunners import Forerunners
from Agent.analysis.leaves import leaves
from Agent.analysis.sights import Odd
from Agent.analysis.suspects import Survey
from Agent.analysis.touched import chance_beside_untouched

__all__ = ["Matter", "Suspect", "Weight", "apart", "grouped", "look_at_touched", "with_forerunners"]

_REPEATED: Final = 0.4


@dataclass(frozen=True, slots=True)
class Weight:
    """Why an event is suspected, in common logarithms."""

    oddity: float
    """0: as many such events as there are of a thing that comes once; less for what is common."""
    onset: float
    nearness: float
    kind: float
    words: float
    moment: float
    """Whether it stands before the moment that the text names; what only sets up is worth less."""
    standing: float = 0.0
    """More for what breaks the rhythm of its sort, and for what nothing of its sort replaced."""

    @property
    def total(self) -> float:
        """The weight."""
        parts = self.oddity, self.onset, self.nearness, self.kind, self.words, self.moment, self.standing
        return math.fsum(parts)


@dataclass(frozen=True, slots=True)
class Suspect:
    """One event with its weight."""

    place: int
    deed: Deed
    odd: Odd | None
    weight: Weight
    reasons: tuple[str, ...] = ()
    """What else speaks for it, in sentences."""


@dataclass(slots=True)
class Matter:
    """Events that are one matter, such as a message, its receipt, and the call that used it."""

    suspects: list[Suspect]
    """The weightiest first."""
    score: float = 0.0

    @property
    def main(self) -> Suspect:
        """The weightiest event."""
        return self.suspects[0]


def grouped(suspects: Sequence[Suspect], survey: Survey) -> list[Matter]:
    """Suspects that are one matter, put together under the weightiest."""
    matters: list[Matter] = []
    roots = _Roots(survey)
    for suspect in suspects:
        for matter in matters:
            if any(_is_same(suspect, known, roots) for known in matter.suspects):
                matter.suspects.append(suspect)
                break
        else:
            matters.append(Matter([suspect]))
    places = {suspect.place: suspect for suspect in suspects}
    for matter in matters:
        _put_next(
            matter, min((each for each in matter.suspects if each.odd), key=_place, default=matter.main)
        )
        origin = _origin(matter.main, survey)
        if origin is not None and all(known.place != origin for known in matter.suspects):
            known = places.get(origin)
            weight = known.weight if known else matter.main.weight
            matter.suspects.insert(1, Suspect(origin, survey.deeds[origin], survey.odd.get(origin), weight))
    return matters


def _place(suspect: Suspect) -> int:
    return suspect.place


class _Roots:
    """The outermost span in which an event happened."""

    def __init__(self, survey: Survey) -> None:
        self._parents = {deed.span: deed.parent for deed in survey.deeds if deed.span}

    def of(self, deed: Deed) -> str | None:
        """That span, as far as it is known; None for what happened in none."""
        span = deed.span or deed.parent
        for _ in range(_DEEPEST):
            outer = self._parents.get(span or "")
            if outer is None:
                break
            span = outer
        return span


_DEEPEST: Final = 20


def _is_same(one: Suspect, other: Suspect, roots: _Roots) -> bool:
    """Whether two events of the same moment are one matter."""
    a, b = one.deed, other.deed
    if abs(a.step - b.step) > 1:
        return False
    if a.sort == b.sort:
        return True
    message = a.extra.get("message_id")
    if message is not None and message == b.extra.get("message_id"):
        return True
    if (a.parent and a.parent == b.span) or (a.span and a.span == b.parent):
        return True
    if one.odd is None or other.odd is None or a.step != b.step:
        return False
    if one.odd.value != other.odd.value or isinstance(one.odd.value, bool) or one.odd.value is None:
        return False
    root = roots.of(a)  # of numbers that count few are alike by chance
    return not isinstance(one.odd.value, int) or (root is not None and root == roots.of(b))


_ORIGIN_STEPS: Final = 2


def _origin(suspect: Suspect, survey: Survey) -> int | None:
    """The event that said an odd value first, shortly before: from there it came."""
    if suspect.odd is None or isinstance(suspect.odd.value, bool) or suspect.odd.value is None:
        return None
    place = survey.first_said.get(suspect.odd.value)
    if place is None or place >= suspect.place:
        return None
    near = suspect.deed.step - survey.deeds[place].step <= _ORIGIN_STEPS
    return place if near and survey.deeds[place].kind != "state" else None


def apart(matters: list[Matter]) -> list[Matter]:
    """The weightiest first; a further one of the same sort, or odd by the same text, is worth less."""
    seen: Counter[Any] = Counter()
    for matter in matters:
        sort, odd = matter.main.deed.sort, matter.main.odd
        value = odd.value if odd is not None and isinstance(odd.value, str) else None
        again = max(seen[sort], seen[value] if value else 0)
        matter.score = matter.main.weight.total - _REPEATED * again
        seen[sort] += 1
        seen[value] += 1
    return sorted(matters, key=lambda matter: (-matter.score, matter.main.place))


def with_forerunners(matters: list[Matter], survey: Survey, weigh: Callable[[int], Suspect]) -> list[Matter]:
    """The same, each with what went before it; one that another goes back to is no matter of its own."""
    before = Forerunners(survey)
    whose: dict[int, Matter] = {}
    for matter in matters:
        for suspect in matter.suspects:
            whose.setdefault(suspect.place, matter)
    gone: set[int] = set()
    for matter in matters[:_TRACED]:
        if id(matter) in gone:
            continue
        place = before.of(matter.main.place)
        if place is None:
            continue
        known = next((each for each in matter.suspects if each.place == place), None)
        other = whose.get(place)
        if known is not None:
            _put_next(matter, known)
        elif other is None or id(other) in gone or other.main.place != place:
            _put_next(matter, weigh(place))
        else:
            more, less = (other, matter) if other.score >= matter.score else (matter, other)
            first = less.main
            more.suspects += less.suspects
            _put_next(more, first)
            gone.add(id(less))
    return [matter for matter in matters if id(matter) not in gone]


def _put_next(matter: Matter, suspect: Suspect) -> None:
    """Name an event of a matter right after its weightiest."""
    if suspect.place != matter.main.place:
        rest = [each for each in matter.suspects[1:] if each.place != suspect.place]
        matter.suspects = [matter.main, suspect, *rest]


_TRACED: Final = 12
_MOST: Final = 1.0


def look_at_touched(matters: Sequence[Matter], survey: Survey) -> None:
    """Where those whom a matter touches part from the others, what is asked about may well begin with it.

    Touched are those of whom the same is said: what everybody is given may be of two sorts.
    """
    for matter in matters:
        deed, weight = matter.main.deed, matter.main.weight
        alike = [each for each in matter.suspects if each.deed.sort == deed.sort]
        sides = [alike, *_sides(alike)]
        chances = []
        for side in sides:
            agents = {each.deed.agent for each in side if each.deed.agent is not None}
            chances.append(
                chance_beside_untouched(survey.courses, agents, deed.role, deed.step, deed.sort[1:])
            )
        gain = min(_MOST, -0.3 * math.log10(max(min(chances) * len(sides), 1e-9)))
        if gain > weight.onset:
            # of each sort one, then the second of each: it may be either that was not as it should be
            first, *rest = [each for row in zip_longest(*sides[1:] or sides) for each in row if each]
            others = [each for each in matter.suspects if each not in alike]
            first = replace(first, weight=replace(weight, onset=gain))
            matter.suspects = [first, *rest[:1], *others[:1], *rest[1:], *others[1:]]


def _sides(alike: Sequence[Suspect]) -> list[list[Suspect]]:
    """Suspects of one sort apart by the first value in which they differ and some agree; [] without one."""
    said = [dict(leaves(each.deed.extra, None)) for each in alike]
    for path in said[0]:
        values = Counter(own.get(path) for own in said)
        if 1 < len(values) <= _MAX_SIDES and max(values.values()) > 1:
            return [
                [each for each, own in zip(alike, said, strict=True) if own.get(path) == value]
                for value in values
            ]
    return []


_MAX_SIDES: Final = 3
