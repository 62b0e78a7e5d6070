"""What went before an odd event and may have led to it: the act that named the same, or came right before.

What is odd is seldom the first link: a setting was made, then a call answers otherwise, then a message says
so. Of the acts shortly before an event, the one that shares the rarest of what both say is its forerunner.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Final

from Agent.analysis.deeds import Deed
from Agent.analysis.habits import is_number
from Agent.analysis.leaves import leaves
from Agent.analysis.sights import worth
from Agent.analysis.suspects import Survey

__all__ = ["Forerunners"]

_WINDOW: Final = 0.06
"""An act may stand so large a part of the session before what it led to."""
_MIN_WINDOW: Final = 3
_MIN_SHARED: Final = 1.6
_OWN: Final = 0.9
_FIRST: Final = 1.5
"""Who says a thing first is the likelier origin of it."""
_LAG: Final = 0.15
_MOST: Final = 2.5
"""How much one shared value is worth at most, as a logarithm."""
_RIGHT_BEFORE: Final = 1
_ACTS: Final = frozenset(
    {
        "system.config", "system.module", "strategy_update", "policy_update", "agent_action", "agent_message",
        "state_change", "phase", "decision", "tool.call", "connection", "learning_update", "log",
    }
)  # fmt: skip
_SET: Final = frozenset({"system.config", "system.module", "strategy_update"})


class Forerunners:
    """Finds what went before an event, over all events of a survey."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._window = max(_MIN_WINDOW, round(_WINDOW * survey.steps))
        self._acts = [
            place
            for place, deed in enumerate(survey.deeds)
            if deed.kind in _ACTS and not survey.is_routine(deed)
        ]
        self._said: dict[int, dict[Any, float]] = {}

    def of(self, place: int) -> int | None:
        """The place of the event that most likely led to another one; None where none stands out."""
        deed = self._survey.deeds[place]
        best, found = 0.0, None
        for at in self._before(place):
            act = self._survey.deeds[at]
            if act.sort == deed.sort or self._is_one_with(act, deed, place):
                continue
            score = self._shared(at, place) - _LAG * (deed.step - act.step)
            if score > best:
                best, found = score, at
        return found if best >= _MIN_SHARED else self._right_before(place)

    def _is_one_with(self, act: Deed, deed: Deed, place: int) -> bool:
        """Whether it is the message that an event received, or the call in which it happened."""
        message = act.extra.get("message_id")
        if message is not None and message in (deed.extra.get("message_id"), *self._values(place)):
            return True
        return bool((act.span and act.span == deed.parent) or (deed.span and deed.span == act.parent))

    def _before(self, place: int) -> Iterator[int]:
        deeds = self._survey.deeds
        until = bisect_left(self._acts, place)
        for at in reversed(self._acts[:until]):
            if deeds[place].step - deeds[at].step > self._window:
                return
            yield at

    def _shared(self, at: int, place: int) -> float:
        """What two events share is worth: the more, the fewer say it."""
        act, deed = self._survey.deeds[at], self._survey.deeds[place]
        ours, theirs = self._values(place), self._values(at)
        found = 0.0
        for value, rare in theirs.items():
            if value in ours:
                is_first = self._survey.first_said.get(value) == at
                found += rare * (_FIRST if is_first else 1.0)
        odd = self._survey.odd.get(place)
        if act.agent is not None and act.agent == deed.agent and odd is not None and worth(odd.path) < 1.0:
            found += _OWN  # what it answers comes of what was done to it
        return found

    def _values(self, place: int) -> dict[Any, float]:
        """What an event says, whom it names, each with how rare that is."""
        known = self._said.get(place)
        if known is None:
            survey = self._survey
            deed = survey.deeds[place]
            every_leaf = leaves(deed.extra, deed.state)
            said = {value for path, value in every_leaf if path[-1] != "~" and _is_telling(value)}
            said.update(_partners(deed))
            every = len(survey.deeds)
            known = self._said[place] = {
                value: min(_MOST, math.log10(every / max(1, survey.said[value]))) for value in said
            }
        return known

    def _right_before(self, place: int) -> int | None:
        """What was set for all at the same moment: it need not name whom it changes."""
        deed = self._survey.deeds[place]
        for at in self._before(place):
            act = self._survey.deeds[at]
            if deed.step - act.step > _RIGHT_BEFORE:
                return None
            if act.kind in _SET:
                return at
        return None


def _is_telling(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) > 1 and "," not in value
    return is_number(value) and not isinstance(value, bool) and abs(value) > 1


def _partners(deed: Deed) -> Sequence[str]:
    names = (deed.agent, *(deed.extra.get(key) for key in ("recipient", "sender", "target_id", "source_id")))
    return [name for name in names if isinstance(name, str)]
