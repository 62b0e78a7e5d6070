"""How an event stands among those of its sort: whether it came out of turn, and whether another replaced it.

Nothing that the event says matters here. What is done every seventh step and once between was done for a
reason; what was set and never set again is in force to the end, and may be at work long before it shows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from Agent.analysis.deeds import Deed, Sort

__all__ = ["Standing", "out_of_turn"]

OUT_OF_TURN: Final = 0.6
IN_FORCE: Final = 0.5
"""Both as common logarithms, below what worlds that are left out one at a time ask for."""
MIN_TIMES: Final = 4
MIN_PERIOD: Final = 3
MIN_SHARE: Final = 0.6
MAX_TIMES: Final = 400

_LASTING: Final = frozenset(
    {"system.config", "system.module", "strategy_update", "policy_update", "agent_action", "agent_message",
     "state_change", "connection", "tool.call"}
)  # fmt: skip


def out_of_turn(steps: Sequence[int]) -> frozenset[int]:
    """The steps that break the one rhythm in which most of some steps come; none where there is no rhythm."""
    own = sorted(set(steps))
    if not MIN_TIMES <= len(own) <= MAX_TIMES:
        return frozenset()
    gaps = Counter(later - earlier for earlier, later in pairwise(own))
    period, _ = max(gaps.items(), key=lambda each: (each[1], -each[0]))
    if period < MIN_PERIOD:
        return frozenset()
    phase, count = max(Counter(step % period for step in own).items(), key=lambda each: (each[1], -each[0]))
    if count < max(MIN_TIMES - 1, MIN_SHARE * len(own)):
        return frozenset()
    return frozenset(step for step in own if step % period != phase)


class Standing:
    """Where each event stands among those of its sort."""

    def __init__(self, deeds: Sequence[Deed]) -> None:
        times: defaultdict[Sort, list[int]] = defaultdict(list)
        self._last: dict[tuple[Sort, str | None], int] = {}
        for deed in deeds:
            times[deed.sort].append(deed.step)
            if deed.kind in _LASTING:
                self._last[deed.sort, _whom(deed)] = deed.step
        self._odd = {sort: out_of_turn(own) for sort, own in times.items()}

    def is_out_of_turn(self, deed: Deed) -> bool:
        """Whether it breaks the rhythm of its sort."""
        return deed.step in self._odd[deed.sort]

    def is_in_force(self, deed: Deed) -> bool:
        """Whether no later one of its sort for the same agent replaced it."""
        return deed.kind in _LASTING and self._last[deed.sort, _whom(deed)] <= deed.step

    def weight(self, deed: Deed) -> float:
        """What both are worth together."""
        return OUT_OF_TURN * self.is_out_of_turn(deed) + IN_FORCE * self.is_in_force(deed)

    def reasons(self, deed: Deed) -> tuple[str, ...]:
        """The same in sentences."""
        told = []
        if self.is_out_of_turn(deed):
            told.append("It came out of turn: others of its sort keep a rhythm.")
        if self.is_in_force(deed):
            told.append("No later one of its sort replaced it.")
        return tuple(told)


def _whom(deed: Deed) -> str | None:
    if deed.kind == "agent_message":
        return deed.extra.get("recipient")
    return deed.agent
