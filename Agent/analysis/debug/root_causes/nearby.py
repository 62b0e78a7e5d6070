"""Find acts near the things that an issue names, by a walk over what events share.

For a thing that the issue names, a single deviation is worth reporting. Elsewhere, deviations must be more
than chance explains. So the walk marks the acts that lead to the named things, over any number of agents and
steps, and every detector reports the deviations of marked acts one by one.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from itertools import count
from statistics import median
from typing import Final

from Agent.analysis.debug.root_causes.acts import Act, Log
from Agent.analysis.debug.root_causes.scan import Finding

__all__ = ["HOP", "find", "walk"]

HOP: Final = 0.8
"""Factor on nearness for each hop from one event to another."""
LEAST: Final = 0.08
MAX_SHARED: Final = 300
"""A token that more events share does not link them."""
MAX_NEAR: Final = 1_500
UNTOLD: Final = frozenset({"log", "state"})
"""Log lines and states are excluded: they only report a deviation that happened elsewhere."""


def walk(log: Log, named: Mapping[Hashable, float], heard: Mapping[int, float]) -> None:
    """Fill `near` of every act: 1 where it holds a named thing that few others hold, less with each hop.

    Args:
        log: the session.
        named: {thing or value that the text names: its weight, 0 to 1}.
        heard: {place: nearness} of the acts that match the text.
    """
    order = count()
    best: dict[Hashable, float] = dict(named)
    heap = [(-value, next(order), token) for token, value in named.items()]
    heapq.heapify(heap)
    size = math.log(max(2, len(log.acts)))
    reached = 0

    def spread(act: Act) -> None:
        for other in act.tokens:
            value = act.near * HOP * (1 - math.log(len(log.by_token[other])) / size)
            if value > max(LEAST, best.get(other, 0.0)):
                best[other] = value
                heapq.heappush(heap, (-value, next(order), other))

    for place, value in heard.items():
        act = log.acts[place]
        if value > act.near:
            act.near = value
            spread(act)
    while heap and reached < MAX_NEAR:
        minus, _, token = heapq.heappop(heap)
        if -minus < best[token]:
            continue
        holders = log.by_token.get(token, [])
        if len(holders) > MAX_SHARED and token not in named:
            continue
        for act in holders:
            if -minus <= act.near:
                continue
            reached += act.near == 0
            act.near = -minus
            spread(act)


def find(log: Log) -> Iterator[Finding]:
    """Yield acts near what the issue names whose sort is rarer than that of the typical near act."""
    near = [act for act in log.acts if act.near and not act.failed and act.kind not in UNTOLD]
    counts = Counter(act.sort for act in near)
    if not counts:
        return
    # Events that belong to the life cycle of such things occur about as often as there are things.
    typical = median(log.alike[sort[1:]] for sort in counts.elements())
    for act in near:
        number = log.alike[act.sort[1:]]
        if number < typical:
            about = act.name or act.kind
            nats = math.log(typical / number)
            yield Finding("about it", about, [act], nats, usual=typical, found=number, local=True)
