"""Every event looked at once: how odd what it says is, and how what agents do goes on over the steps.

`suspicion` then weighs the odd ones against where what is asked about began.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from Agent.analysis.contrasts import contrasts
from Agent.analysis.courses import Courses
from Agent.analysis.deeds import Deed, Deeds, Sort
from Agent.analysis.habits import DENSE, NEW, Habit, Oddity, is_number
from Agent.analysis.leaves import Leaf, leaves, scalars
from Agent.analysis.orders import Circles, Things, alike
from Agent.analysis.sights import FAILING, PASSING, TELLING, Odd, Sight, bursts, settled, significance
from Agent.analysis.stretches import dense_from
from Agent.analysis.wordings import LACKS, Wordings

__all__ = ["Survey", "bursts_by_sort", "survey"]

_ROUTINE: Final = 0.8
"""What is done in so many of the steps is routine: each counts."""


@dataclass(slots=True)
class Survey:
    """What one look at all events gave."""

    deeds: list[Deed]
    steps: int
    odd: dict[int, Odd] = field(default_factory=dict)
    """{place of a deed: the oddest thing it says}."""
    courses: Courses = field(default_factory=lambda: Courses(0))
    first_said: dict[Any, int] = field(default_factory=dict)
    """{a text or a number: the place of the deed that said it first}."""
    said: Counter[Any] = field(default_factory=Counter)
    """How many events say a text or a number, or name an agent."""
    totals: Counter[Sort] = field(default_factory=Counter)
    """How many events of each sort there are."""
    named: frozenset[str] = frozenset()
    """Ids of the events that name a thing of the text."""

    def is_routine(self, deed: Deed) -> bool:
        """Whether such events come in most steps: one of them is a suspect only if it is odd."""
        return self.totals[deed.sort] >= _ROUTINE * self.steps


class _Look:
    """One pass over the deeds, in order."""

    def __init__(self, deeds: Deeds, steps: int) -> None:
        totals = Counter(deed.sort for deed in deeds.all)
        self.survey = Survey(deeds.all, steps, courses=Courses(steps), totals=totals, named=deeds.named)
        self.habits: defaultdict[tuple[str, ...], Habit] = defaultdict(Habit)
        self._before: dict[str, tuple[str | None, str]] = {}
        self._found: defaultdict[int, list[Sight]] = defaultdict(list)
        self._lost = deeds.lost
        self._things = Things(deeds.all)
        self._circles = Circles({deed.agent for deed in deeds.all if deed.agent is not None})
        self._wordings = Wordings()

    def run(self) -> Survey:
        """Look at every deed, then once more at what is said seldom."""
        for place, deed in enumerate(self.survey.deeds):
            if deed.kind == "state":
                self._begin(deed)
                continue
            for path, value in self._said(deed):
                self._look_at(place, deed, path, value)
            self._count(deed)
        self._end()
        for key, habit in self.habits.items():
            for said, oddity in habit.beside_others(stays=not key[-1].startswith(PASSING)):
                if oddity.chance < TELLING:
                    odd = Odd(oddity.chance, key[-1], said.value, oddity)
                    self._found[said.event].append(Sight(odd, habit, None, None))
        moments = self._moments()
        for place, found in self._found.items():
            best = min((settled(sight, moments[sight.of]) for sight in found), key=significance)
            if best.chance < 1.0:
                self.survey.odd[place] = best
        self._look_at_failures()
        self._look_at_stretches()
        return self.survey

    def _look_at_stretches(self) -> None:
        """What calls give seldom, nothing where else is something, may come thick and fast from one on."""
        for key, habit in self.habits.items():
            if not key[-1].startswith("result"):
                continue
            for kind in _EMPTY:
                said = habit.kinds.get(kind, [])
                if habit.sorts[kind] > _SELDOM * habit.count:
                    continue
                begin = dense_from([step for step, _ in said], self.survey.steps)
                if begin:
                    chance = (begin + 0.5) / (len(said) + 1) / len(said)
                    odd = Odd(chance, key[-1], kind, Oddity(chance, DENSE), said=_TRIED)
                    for _, place in said[begin : begin + 2]:
                        self._take(place, odd)

    def _take(self, place: int, odd: Odd) -> None:
        """Take an oddity of a deed, if it is the oddest."""
        known = self.survey.odd.get(place)
        if known is None or significance(odd) < significance(known):
            self.survey.odd[place] = odd

    def _look_at_failures(self) -> None:
        """What all failing calls say and no other: odd is who said it first, and the first that failed."""
        survey = self.survey
        for contrast in contrasts(survey.deeds):
            for place in {survey.first_said.get(contrast.value, contrast.calls[0]), contrast.calls[0]}:
                odd = Odd(contrast.chance, FAILING, contrast.value, Oddity(contrast.chance, NEW))
                self._take(place, odd)

    def _moments(self) -> dict[tuple[int, str], int]:
        """At how many moments each habit was broken in each way."""
        steps: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
        for place, found in self._found.items():
            for sight in found:
                steps[sight.of].add(self.survey.deeds[place].step)
        return {of: bursts(own) for of, own in steps.items()}

    def _end(self) -> None:
        """Keep what was learnt of everybody's values, step by step."""
        courses = self.survey.courses
        for owner, role in {deed.agent or "": deed.role for deed in self.survey.deeds}.items():
            courses.members.setdefault(role, []).append(owner)
        for key, habit in self.habits.items():
            if not key[-1].startswith(PASSING) and not key[-1].endswith(LACKS):
                name = ("state", "", key[-1]) if key[1] == "state" else key[1:]
                for agent, own in habit.own.items():
                    courses.tracks.setdefault(agent or "", {})[name] = own.track

    def _begin(self, deed: Deed) -> None:
        fields = deed.extra.get("fields")
        for name, whole in (fields if isinstance(fields, dict) else {}).items():
            for path, value in scalars(whole, f"state.{name}"):
                self.habits[deed.role, "state", path].begin(deed.agent, value)

    def _said(self, deed: Deed) -> list[Leaf]:
        """What the deed says, and what it is beside others: with whom, after what, whether it arrived."""
        found = leaves(deed.extra, deed.state)
        found += list(self._wording(deed, found))
        if deed.kind == "agent_message":
            is_sent = deed.label == "sent"
            found.append(("with", deed.extra.get("recipient" if is_sent else "sender")))
            # of the last ones some are under way
            if is_sent and deed.step < self.survey.steps - 2:
                found.append(("arrived", str(deed.extra.get("message_id")) not in self._lost))
            if not is_sent:
                found.append(("message_id", deed.extra.get("message_id")))
        elif deed.kind == "agent_action" and deed.agent is not None:
            before = self._before.get(deed.role)
            if before is not None:
                found.append(
                    ("after", f"{before[1]} of {'itself' if before[0] == deed.agent else 'another'}")
                )
            self._before[deed.role] = (deed.agent, deed.label)
        if deed.kind in _CALLS:
            found.append(("failed", deed.failed))
        found += self._things.upon(deed)
        found += self._circles.closed(deed)
        found += alike(deed)
        return found

    def _wording(self, deed: Deed, said: Sequence[Leaf]) -> Iterator[Leaf]:
        """Of each text, whether it lacks what the others of its place have in common."""
        for path, value in said:
            if isinstance(value, str) and " " in value and path[-1] != "}" and not path.startswith("state."):
                lacks = self._wordings.lacks((*deed.sort, path), value)
                if lacks is not None:
                    yield f"{path}{LACKS}", lacks

    def _look_at(self, place: int, deed: Deed, path: str, value: Any) -> None:
        of_state = path.startswith("state.")
        key = (deed.role, "state", path) if of_state else (*deed.sort, path)
        habit = self.habits[key]
        oddity = habit.oddity(value, deed.agent)
        if oddity.chance < TELLING:
            own = habit.own.get(deed.agent)
            moved = None
            if own is not None and is_number(value) and is_number(own.last):
                moved = abs(value - own.last)
            odd = Odd(oddity.chance, path, value, oddity)
            self._found[place].append(Sight(odd, habit, moved, habit.times(oddity, value)))
        # a length is nothing by which one event is known from another
        if isinstance(value, str) or (is_number(value) and abs(value) > 1 and path[-1] != "~"):
            self.survey.first_said.setdefault(value, place)
            self.survey.said[value] += 1
        habit.learn(value, deed.agent, deed.step, place)

    def _count(self, deed: Deed) -> None:
        self.survey.said[deed.agent] += 1
        duration = deed.extra.get("duration_ms")
        track = self.survey.courses.track(deed.agent or "", (deed.kind, deed.label))
        track.cell(deed.step)[2] += 1
        if is_number(duration):
            # the logarithm, since a few long ones say little of all
            track.add(deed.step, math.log(max(duration, 1e-4)))


def survey(deeds: Deeds, steps: int) -> Survey:
    """What is odd, and how everything goes on."""
    return _Look(deeds, steps).run()


_EMPTY: Final = ("zero", "empty", "nothing")
_SELDOM: Final = 0.5
_TRIED: Final = 3
_CALLS: Final = frozenset({"agent_action", "tool.call", "metric", "learning_update"})


def bursts_by_sort(deeds: Sequence[Deed]) -> dict[Sort, int]:
    """How often each sort of event comes, those of neighbouring steps counted once."""
    steps: defaultdict[Sort, set[int]] = defaultdict(set)
    for deed in deeds:
        steps[deed.sort].add(deed.step)
    return {sort: bursts(own) for sort, own in steps.items()}
