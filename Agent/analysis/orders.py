"""What is done to a thing after what, and who names whom: orders that hold, and events that break them.

Two who read a count before either writes it, a claim of what is claimed, two who wait for each other: no
value of such an event is odd by itself, only its place among the others that name the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import combinations
from typing import Final

from Agent.analysis.deeds import Deed
from Agent.analysis.leaves import Leaf

__all__ = ["CIRCLE", "SAME", "UPON", "Circles", "Things", "alike"]

UPON: Final = "upon "
"""Begins a path: after what something is done to the thing named there."""
CIRCLE: Final = "circle "
"""Begins a path: whether those who are named there lead back to who names them."""
SAME: Final = "same "
"""Begins a path: whether two texts that are given are one and the same."""
_ACTS: Final = frozenset({"agent_action", "tool.call"})
_LONGEST: Final = 40
_COMMON: Final = 0.25
"""What is named so often is no thing among others but a word for how things are."""
_GIVEN: Final = ("args", "action_data", "arguments")
MAX_HOPS: Final = 8
MAX_KEYS: Final = 3


def _names(deed: Deed) -> list[tuple[str, str]]:
    """What an act is given by name: short texts, each with its path."""
    if deed.kind not in _ACTS:
        return []
    return [
        (f"{part}.{key}", value)
        for part in _GIVEN
        if isinstance(given := deed.extra.get(part), dict)
        for key, value in given.items()
        if isinstance(value, str) and 1 < len(value) <= _LONGEST
    ]


def alike(deed: Deed) -> list[Leaf]:
    """For each two texts that an act is given, whether they are the same; always so is a law."""
    names = _names(deed)[:MAX_KEYS]
    return [(f"{SAME}{a} and {b}", one == other) for (a, one), (b, other) in combinations(names, 2)]


class Things:
    """Follows each thing that acts name from one act upon it to the next."""

    def __init__(self, deeds: Sequence[Deed]) -> None:
        named = Counter(value for deed in deeds for _, value in _names(deed))
        most = max(2.0, _COMMON * sum(named.values()))
        self._things = {value for value, count in named.items() if 1 < count <= most}
        self._last: dict[str, tuple[str | None, str]] = {}

    def upon(self, deed: Deed) -> list[Leaf]:
        """For each thing that an act names, what was done to it last."""
        found: list[Leaf] = []
        names = _names(deed)
        for path, value in names:
            if value in self._things and value != deed.agent:
                before = self._last.get(value)
                who = "" if before is None else "itself" if before[0] == deed.agent else "another"
                found.append((f"{UPON}{path}", f"{before[1]} of {who}" if before else "nothing"))
        for _, value in names:
            self._last[value] = deed.agent, deed.label
        return found


class Circles:
    """Follows who names whom in acts of one sort, as a whole and apart by what else they name."""

    def __init__(self, agents: Collection[str]) -> None:
        self._agents = frozenset(agents)
        self._next: dict[tuple[str, ...], dict[str, str]] = {}

    def closed(self, deed: Deed) -> list[Leaf]:
        """For each agent that an act names, whether the way goes from there back to who does it."""
        if deed.agent is None:
            return []
        found: list[Leaf] = []
        names = _names(deed)
        others = [pair for pair in names if pair[1] not in self._agents]
        for path, partner in names:
            if partner not in self._agents or partner == deed.agent:
                continue
            for about in [(), *others[:MAX_KEYS]]:
                onward = self._next.setdefault((*deed.sort, path, *about), {})
                onward[deed.agent] = partner
                kept_apart = f" by {about[0]}" if about else ""
                found.append((f"{CIRCLE}{path}{kept_apart}", self._leads_back(onward, deed.agent)))
        return found

    @staticmethod
    def _leads_back(onward: dict[str, str], begin: str) -> bool:
        at: str | None = begin
        for _ in range(MAX_HOPS):
            at = onward.get(at or "")
            if at == begin:
                return True
            if at is None:
                return False
        return False
