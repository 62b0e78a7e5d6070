"""Recorded draws of generators: taken again one by one, and which generator of a replay made them.

Generators are told apart by the field of the agent that holds one, by the name or the function that adopted
it, or because there is only one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from Agent.record.emit.context import kinds_of_draws
from Agent.record.sources.adopted import Adopted, living
from Agent.replay.plan.recording import Recording

_WHAT = {"random": "words", "numpy": "calls"}


_HIDDEN = frozenset({"random", "numpy.random"})
"""The generators behind modules, which are the same everywhere."""


class RecordedDraws:
    """Segments of draws: where each began, and how many there were.

    Args:
        kind: `random`, `numpy` or `draws`, see `Agent/record/sources/`.
        key: under which they stand in the event.
        place: what their generator is told from others by.
        segments: as they stand there.
    """

    def __init__(self, kind: str, key: str, place: str, segments: list[Any]) -> None:
        self.kind = kind
        self.place = place
        self.key = key
        self.is_free = True
        """No generator of the replay has drawn them yet."""
        self.value: Any = None
        """What was drawn last, of kind `draws`."""
        self._segments = segments
        self._index = 0
        self._used = 0
        self._is_put = False

    @property
    def recorded(self) -> str:
        """How much was drawn, for people."""
        return f"{sum(map(self._length, self._segments))} {_WHAT.get(self.kind, 'draws')} from {self._name}"

    @property
    def _name(self) -> str:
        return {"random": "a random.Random", "numpy": "a numpy generator"}.get(self.kind, "a generator")

    def _length(self, segment: list[Any]) -> int:
        return len(segment) if self.kind == "draws" else int(segment[1])

    def take(self, count: int, put: Callable[[list[Any]], None]) -> list[Any] | None:
        """The segment in which so many more draws stand, None where they are more than was recorded.

        Args:
            count: draws.
            put: puts the generator where a segment begins.
        """
        while self._index < len(self._segments):
            segment: list[Any] = self._segments[self._index]
            if not self._is_put:
                put(segment)
                self._is_put = True
            length = self._length(segment)
            if self._used + count <= length:
                if self.kind == "draws":
                    self.value = _value(segment[self._used])
                self._used += count
                return segment
            if self._used < length:
                return None
            self._index, self._used, self._is_put = self._index + 1, 0, False
        return None

    def is_at_end_of(self, segment: list[Any]) -> bool:
        """Whether all draws of a segment were taken."""
        return self._used == self._length(segment)

    def left(self) -> tuple[str, str] | None:
        """(recorded, replayed) where less was drawn than in the recording."""
        taken = sum(map(self._length, self._segments[: self._index])) + self._used
        if taken == sum(map(self._length, self._segments)):
            return None
        return self.recorded, str(taken)


def _value(kept: Any) -> Any:
    """A drawn value: integers stand as text, being of any size; other text marks a seed."""
    return int(kept, 16) if isinstance(kept, str) and kept.startswith(("0x", "-0x")) else kept


class GeneratorPlaces:
    """Tells generators apart by their places, see `Adopted.place`."""

    def __init__(self, recording: Recording) -> None:
        self._states = recording.generator_states
        self._recorded: dict[str, dict[str, None]] = {}
        self._known: dict[int, str | None] = {}
        self._of_fields: dict[int, str] = {}
        for event in recording.events:
            for kind, key in kinds_of_draws(event.extra.get("reads")):
                self._recorded.setdefault(kind, {})[self.of_key(key)] = None

    def of_key(self, key: str) -> str:
        """The place of the generator whose draws stand under a key of `reads`."""
        kind, _, rest = key.partition("@")
        if kind != "random":
            return rest
        state = self._states.get(rest)
        return "" if state is None else str(state.extra.get("name", ""))

    def identify(self, adopted: Adopted, place: str) -> None:
        """Say which one it is."""
        self._known[adopted.number] = self._of_fields[adopted.number] = place

    def of(self, adopted: Adopted) -> str | None:
        """Its place in the recording, where one that is not known drew nothing; None where it is unclear."""
        if adopted.number not in self._known:
            self._known[adopted.number] = self._find(adopted)
        return self._known[adopted.number]

    def _find(self, adopted: Adopted) -> str | None:
        place = adopted.place
        known_otherwise = {*_HIDDEN, *self._of_fields.values()}
        recorded = [each for each in self._recorded.get(adopted.kind, ()) if each not in known_otherwise]
        if place in _HIDDEN or "#" not in place:
            return place
        here = self._unidentified(adopted.kind)
        same = [each for each in recorded if _function(each) == _function(place)]
        if same:
            mine = [each for each in here if _function(each) == _function(place)]
            if set(same) <= set(mine):
                return place
            # Others belong to what is not replayed; these stand in the order in which they were adopted.
            return _in_order(same)[_in_order(mine).index(place)] if len(same) == len(mine) else None
        functions = set(map(_function, here))
        free = [each for each in recorded if _function(each) not in functions]
        if not free:
            return place
        known = set(map(_function, recorded))
        mine = [each for each in here if _function(each) not in known]
        return free[0] if len(free) == len(mine) == 1 else None

    def _unidentified(self, kind: str) -> list[str]:
        """Places of the generators that were adopted here and that no field or name distinguishes."""
        return [
            each.place
            for each in list(living)
            if each.kind == kind and "#" in each.place and each.number not in self._of_fields
        ]


def _function(place: str) -> str:
    return place.rpartition("#")[0]


def _in_order(places: list[str]) -> list[str]:
    return sorted(places, key=lambda place: int(place.rpartition("#")[2] or 0))
