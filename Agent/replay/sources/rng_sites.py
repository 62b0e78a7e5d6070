"""Which adopted generator of a replay is which of the recording.

By the field of an agent that holds it, by the name that it was adopted under, by the function that adopted
it, or because there is only one. Otherwise nobody knows, and nothing is proved by what it draws.
"""

from __future__ import annotations

from Agent.record.sources.adopted import Adopted, living
from Agent.record.sources.reads import kinds_of_draws
from Agent.replay.plan.recording import Recording

_HIDDEN = frozenset({"random", "numpy.random"})
"""The generators behind modules, which are the same everywhere."""


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
