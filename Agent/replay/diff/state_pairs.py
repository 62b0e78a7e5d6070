"""The states of one agent in two runs: compared where they begin, at full states, and where they end.

What the events of a run say of an agent's state is folded on the way, so that a fork, whose full states stand
at other places than its origin's, is compared with what the origin's state was there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from Agent.event.model import Event
from Agent.event.pointers import unescape
from Agent.flight.checkpoints.state_fold import StateFold
from Agent.replay.compare.comparison import ABSENT, Comparison, Difference, Recorded, shown
from Agent.tree.files.run_lineage import Lineage

_GENERATORS = ("random.", "numpy.Generator", "numpy.RandomState")
_TELLING = frozenset({"state", "state_change", "checkpoint"})
"""Kinds of events, besides actions, that say something of a state."""
_BETWEEN = "recorded in full states only, and one run has none there"


@dataclass(slots=True)
class _Side:
    """What one run says of the state, up to where the walk is."""

    fold: StateFold = field(default_factory=StateFold)
    full: Event | None = None
    """The last full state since the last action or pair of events."""
    overlooked: dict[str, str] = field(default_factory=dict)
    """Fields that the last full state names and does not hold, and why."""
    adopted: set[str] = field(default_factory=set)
    """Fields with generators whose draws are recorded one by one."""

    def add(self, event: Event) -> None:
        """Take the next event."""
        self.fold.add(event)
        if event.kind != "state":
            self.full = self.full if event.code is None else None
            return
        extra = event.extra
        self.full = event
        self.adopted.update(extra.get("adopted") or ())
        self.overlooked = {
            str(name): why
            for key, why in (("unseen", "cannot be seen"), ("ignored", "ignored by the program"))
            for name in extra.get(key) or ()
            if name not in self.fold.fields
        }

    def unknown(self) -> dict[str, str]:
        """Fields whose value here is not known, and why."""
        between = () if self.full is not None else self.fold.sampled
        return {**dict.fromkeys(between, _BETWEEN), **self.overlooked}

    def recorded(self, name: str) -> Recorded | None:
        """A field's value; None where it has none."""
        if name not in self.fold.fields:
            return None
        return Recorded(self.fold.fields[name], self.fold.tags.get(name, {}), "")


class StateDifference(NamedTuple):
    """A field in which two states differ."""

    name: str
    difference: Difference
    events: tuple[Event | None, Event | None]
    """The full state of each side, or the last event that says something of its state."""
    is_patched: bool
    """Nothing differs but what was changed at the point of a fork."""


class ForkedAt(NamedTuple):
    """What was changed in an agent's state where a fork goes on."""

    patched: Collection[str]
    is_seeded: bool

    @classmethod
    def of(cls, lineage: Lineage, agent_id: str) -> ForkedAt:
        """What a fork's session says of it."""
        patch, is_one = lineage.patch, len(lineage.agents) == 1
        if isinstance(patch, Mapping):
            part = patch if is_one else patch.get(agent_id)
            names = set(part) if isinstance(part, Mapping) else set(_first_keys(part or (), 0))
        else:
            own = [each for each in patch or () if is_one or _keys(each)[:1] == [agent_id]]
            names = set(_first_keys(own, 0 if is_one else 1))
        return cls(names, lineage.seed is not None)


def _first_keys(operations: Iterable[Mapping[str, object]], place: int) -> list[str]:
    """The keys at a place of the pointers of a JSON patch."""
    return [keys[place] for each in operations for keys in [_keys(each)] if len(keys) > place]


def _keys(operation: Mapping[str, object]) -> list[str]:
    return [unescape(part) for part in str(operation.get("path", "")).split("/")[1:]]


class StatePairs:
    """Compares the states of one agent in two runs.

    Args:
        comparison: compares values.
        forked: what was changed where the second run was forked from the first; None of other runs.
    """

    def __init__(self, comparison: Comparison, forked: ForkedAt | None) -> None:
        self._comparison = comparison
        self._forked = forked
        self._sides = _Side(), _Side()
        self._unsure: list[StateDifference] = []
        """Differences of which one side is known from events alone."""
        self._sure: StateDifference | None = None
        """One of them that the agent's next action showed to be one."""
        self.compared = 0
        """Pairs of states that agreed."""
        self.not_compared: dict[str, str] = {}
        """Fields that were not compared, and why."""

    def add(self, side: int, event: Event) -> None:
        """Take the next event of the first side, 0, or the second, 1."""
        if event.code is None and event.kind not in _TELLING:
            return
        self._sides[side].add(event)
        if not self._unsure or side or event.state is None:
            return
        # An agent's action says of each field whether somebody had changed it before.
        changed = {*(event.state.get("set") or ()), *(event.state.get("unset") or ())}
        self._sure = next((each for each in self._unsure if each.name not in changed), self._sure)
        self._unsure = []

    def difference(self, *, is_first: bool, is_last: bool) -> StateDifference | None:
        """The first field in which the states differ here; None where none does, or none is compared.

        Args:
            is_first: no pair of events was compared yet.
            is_last: all were.
        """
        one, other = self._sides
        if self._sure is not None:
            return self._sure
        if one.full is None and other.full is None and not (is_first or is_last):
            return None
        is_whole = one.full is not None and other.full is not None
        # Two runs of one program have their full states at the same places.
        is_place = is_first or is_last or is_whole or self._forked is not None
        is_known = one.fold.base is not None and other.fold.base is not None
        found = list(self._differences(is_first=is_first, is_last=is_last)) if is_place and is_known else []
        self.compared += is_place and is_known and not found
        one.full = other.full = None
        if is_whole:
            return min(found, key=lambda each: each.is_patched, default=None)
        if is_last:
            for each in found:
                self.not_compared.setdefault(each.name, "one run has no last state")
        # What events say of a field may be older: others may hold its value, and write to it.
        self._unsure = [] if is_last else found
        return None

    def _differences(self, *, is_first: bool, is_last: bool) -> Iterator[StateDifference]:
        one, other = self._sides
        unknown = {**one.unknown(), **other.unknown()}
        patched = set() if self._forked is None else set(self._forked.patched)
        for name in sorted(one.fold.fields.keys() | other.fold.fields.keys() | unknown.keys()):
            left, right = one.recorded(name), other.recorded(name)
            if name in unknown:
                if is_last or unknown[name] is not _BETWEEN:
                    self.not_compared.setdefault(name, unknown[name])
                continue
            if self._is_by_design(name, left, right, is_first=is_first, is_last=is_last):
                continue
            found = self._field_difference(name, left, right)
            if found is None:
                continue
            if self._forked is not None and name in one.adopted | other.adopted:
                self.not_compared.setdefault(
                    name, "code that the fork does not run draws from this generator as well"
                )
                continue
            events = one.full or one.fold.last, other.full or other.fold.last
            yield StateDifference(name, found, events, name in patched)

    def _is_by_design(
        self, name: str, left: Recorded | None, right: Recorded | None, *, is_first: bool, is_last: bool
    ) -> bool:
        """Whether a field may differ here because it was changed where the fork goes on."""
        if self._forked is None:
            return False
        if name in self._forked.patched:
            return not is_last
        tags = [each.types.get("", "") for each in (left, right) if each is not None]
        return self._forked.is_seeded and is_first and any(tag.startswith(_GENERATORS) for tag in tags)

    def _field_difference(
        self, name: str, left: Recorded | None, right: Recorded | None
    ) -> Difference | None:
        rules, agent_id = self._comparison.fields, str(self._agent_id)
        tags = [each.types.get(each.pointer) for each in (left, right) if each is not None]
        if rules is not None and rules.leaves_out(agent_id, name, *tags):
            return None
        if left is None or right is None:
            one, other = (shown(ABSENT if each is None else each.value) for each in (left, right))
            return Difference("", one, other)
        found, agreed = self._comparison.compare(left, right)
        if rules is not None:
            rules.note(agent_id, name, agreed)
        return found

    @property
    def _agent_id(self) -> str | None:
        found = (side.fold.last for side in self._sides)
        return next((event.agent_id for event in found if event is not None), None)
