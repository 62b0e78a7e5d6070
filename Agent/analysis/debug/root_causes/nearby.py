"""What lies near the things that an issue names: a walk from them over what events share.

Of a thing that somebody complains about, one deviation is enough to be looked at. Of all others it takes as
many as chance does not explain. So the walk marks the acts that lead to the named things, over any number of
agents and steps, and every detector tells of their deviations one by one.
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
"""What is left of nearness by a hop from one event to another."""
LEAST: Final = 0.08
MAX_SHARED: Final = 300
"""What more events share links none of them."""
MAX_NEAR: Final = 1_500
UNTOLD: Final = frozenset({"log", "state"})
"""Log lines and states only report a deviation that happened elsewhere."""


def walk(log: Log, named: Mapping[Hashable, float], heard: Mapping[int, float]) -> None:
    """Fill `near` of every act: 1 at what holds a named thing that few others hold, less by each hop.

    Args:
        log: the session.
        named: {thing or value that the text names: how much it says, from 0 to 1}.
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
    """Acts near what the issue names, of a sort that is seldom beside the others that are near."""
    near = [act for act in log.acts if act.near and not act.failed and act.kind not in UNTOLD]
    counts = Counter(act.sort for act in near)
    if not counts:
        return
    # what belongs to the life of such a thing comes as often as there are such things
    typical = median(len(log.by_sort[sort]) for sort in counts.elements())
    for act in near:
        number = len(log.by_sort[act.sort])
        if number < typical:
            about = act.name or act.kind
            nats = math.log(typical / number)
            yield Finding("about it", about, [act], nats, usual=typical, found=number, local=True)
