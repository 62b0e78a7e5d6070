"""Detect changes in how often each agent does each thing, and how long it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial

from Agent.analysis.debug.root_causes.acts import Act, Log
from Agent.analysis.debug.root_causes.constants import MAX_SLICES, MIN_OBSERVED, SHORT_MS
from Agent.analysis.debug.root_causes.scan import (
    Finding,
    Observation,
    scan_counts,
    scan_drifts,
)

__all__ = ["find"]


def find(log: Log) -> Iterator[Finding]:
    """Yield changes of rates and durations."""
    yield from _counts(log)
    yield from _durations(log)


def _counts(log: Log) -> Iterator[Finding]:
    width = max(1, -(-log.steps // MAX_SLICES))
    slices = -(-log.steps // width)
    first: dict[str, int] = {}
    by_slice: dict[int, Act] = {}
    for act in log.acts:
        first.setdefault(act.agent, act.step)
        by_slice.setdefault(act.step // width, act)
    for sort, acts in log.by_sort.items():
        if len(acts) < MIN_OBSERVED or acts[0].kind == "error":
            continue
        begins = acts[0].step // width
        agents = (log.peers.get(sort[0]) if sort[0] else None) or dict.fromkeys(act.agent for act in acts)
        starts = {agent: max(first.get(agent, 0) // width, begins) for agent in agents}
        series = {agent: [0] * (slices - start) for agent, start in starts.items()}
        total = [0] * (slices - begins)
        at: dict[tuple[str, int], Act] = {}
        for act in acts:
            part = act.step // width
            total[part - begins] += 1
            if act.agent in series:
                series[act.agent][part - starts[act.agent]] += 1
                at.setdefault((act.agent, part), act)
        at_slice = partial(_act_at, by_slice, acts[0])
        for each in scan_counts("rate changes", sort[2] or sort[1], series, partial(at_slice, starts, at)):
            owner = dict(each.group).get("agent", "")
            own = [act for act in each.acts if act.agent == owner and act.sort == sort]
            last = [act for act in acts if act.agent == owner and act.place < each.first.place]
            each.extras = tuple(own[:3] or last[-1:])
            yield each
        if len(series) > 2:
            found = scan_counts(
                "rate changes", sort[2] or sort[1], {"": total}, partial(at_slice, {"": begins}, {})
            )
            yield from found


def _act_at(
    by_slice: Mapping[int, Act], otherwise: Act, starts: Mapping[str, int],
    own: Mapping[tuple[str, int], Act], agent: str, place: int,
) -> Act:  # fmt: skip
    """Return the first act that an agent's count counts, or the first of anybody in that slice."""
    part = starts[agent] + place
    return own.get((agent, part)) or by_slice.get(part) or otherwise


def _durations(log: Log) -> Iterator[Finding]:
    for sort, acts in log.by_sort.items():
        timed = [
            Observation(act, math.log(act.duration_ms))
            for act in acts
            if act.duration_ms is not None and act.duration_ms > 0
        ]
        for each in scan_drifts("duration shifts", sort[2] or sort[1], timed):
            if abs(each.found - each.usual) > math.log(2) and max(each.found, each.usual) > math.log(
                SHORT_MS
            ):
                each.usual, each.found = math.exp(each.usual), math.exp(each.found)
                yield each
