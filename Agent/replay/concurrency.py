"""Whether calls inside an action ran at one time: what those did may come in any order."""

from __future__ import annotations

import itertools
from collections import defaultdict

from Agent.flight.recorded_calls import CALL_KINDS
from Agent.replay.plan import DrivenAction, RecordedCall
from Agent.replay.recording import began_us

__all__ = ["has_concurrent_calls"]

_CLOCK_US = 2
"""A call that ends and the next one that begins are stamped by two readings of the clock."""


def has_concurrent_calls(action: DrivenAction) -> bool:
    """Whether calls of agents, of tools or of models inside an action ran at one time."""
    return _is_concurrent(action.call) or _were_asked_at_one_time(action)


def _is_concurrent(call: RecordedCall) -> bool:
    children = call.children
    return any(one.overlaps(other) for one, other in itertools.pairwise(children)) or any(
        _is_concurrent(child) for child in children
    )


def _were_asked_at_one_time(action: DrivenAction) -> bool:
    """Whether of the tools and models that were called from one place one began before another had ended."""
    beside = defaultdict(list)
    for event in action.effects:
        if event.kind in CALL_KINDS:
            beside[event.parent_span_id].append((began_us(event), float(event.timestamp_us)))
    return any(
        later_began < ended - _CLOCK_US
        for calls in beside.values()
        for (_, ended), (later_began, _) in itertools.pairwise(sorted(calls))
    )
