"""What ran concurrently: calls inside an action, whose order means nothing, and actions of several agents."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

from Agent.flight.matching.recorded_calls import CALL_KINDS
from Agent.replay.plan.actions import ASYNC_SLACK_US, OVERLAP_US, DrivenAction, PlannedCall
from Agent.replay.plan.recording import began_us

__all__ = ["groups_of", "has_concurrent_calls", "overlap", "ran_in_one_loop"]

_CLOCK_US = 2
"""A call that ends and the next one that begins are stamped by two readings of the clock."""


def has_concurrent_calls(action: DrivenAction) -> bool:
    """Whether calls of agents, of tools or of models inside an action ran at the same time."""
    return _is_concurrent(action.call) or _were_asked_at_one_time(action)


def _is_concurrent(call: PlannedCall) -> bool:
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


def overlap(one: DrivenAction, other: DrivenAction, *, is_loose: bool = False) -> bool:
    """Whether an action was open when a later one began.

    Args:
        is_loose: whether it may have been, of two async actions: when one began is told too late by what
            capturing its outcome took.
    """
    are_tasks = one.call.is_async and other.call.is_async and one.agent_id != other.agent_id
    slack_us = ASYNC_SLACK_US if is_loose and are_tasks else -OVERLAP_US
    return other.call.began_us < one.event.timestamp_us + slack_us


def groups_of(actions: Sequence[DrivenAction], *, is_loose: bool = False) -> Iterator[list[DrivenAction]]:
    """The actions in their order: those that ran at the same time together, any other by itself."""
    group: list[DrivenAction] = []
    for action in actions:
        if group and not any(overlap(each, action, is_loose=is_loose) for each in reversed(group)):
            yield group
            group = []
        group.append(action)
    if group:
        yield group


def ran_in_one_loop(group: Sequence[DrivenAction]) -> bool:
    """Whether tasks of one event loop can have taken turns with actions that ran at the same time.

    Of two such actions at least one has to be async, and no agent may have had two of them open.
    """
    open_now: list[DrivenAction] = []
    for action in group:
        open_now = [each for each in open_now if overlap(each, action)]
        for each in open_now:
            if each.agent_id == action.agent_id or not (each.call.is_async or action.call.is_async):
                return False
        open_now.append(action)
    return len(group) > 1
