"""Find acts near the things that an issue names, by a walk over what events share.

For a thing that the issue names, a single deviation is worth reporting. Elsewhere, deviations must be more
than chance explains. So the walk marks the acts that lead to the named things, over any number of agents and
steps, and every detector reports the deviations of marked acts one by one.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from itertools import count
from statistics import median
from typing import Final

from Agent.analysis.debug.root_causes.acts import MAX_SAME, Act, Log, Sort
from Agent.analysis.debug.root_causes.scan import Finding

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


# How closely what two events share links them: by this the path from a cause to its effect is chosen.

RECORDED: Final = frozenset({"span", "event"})
SAME_FIELD: Final = 0.5
"""An earlier event that set the same field of the agent: as close as a path over three rare values."""
OWN: Final = 0.2
"""Another earlier event of the same agent."""
NAMED: Final = 0.15
"""An event of an agent that the other event names."""
BOTH_NAME: Final = 0.05
"""Two events that name the same agent, or hold the same common word or the number of a name."""
NUMBER: Final = 0.3
"""A number that names no thing, if few events have it; a number that many have links nothing."""


def field_of(path: str) -> str:
    """Return the field of an agent that a path of an event leads to."""
    return _FIELD_END.split(path.partition(".")[2], maxsplit=1)[0]


FIELDS: Final = ("state.", "new_state.")
_FIELD_END: Final = re.compile(r"[.\[#@~]")


class SharedLinks:
    """The closeness of events of one session."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._size = math.log(max(2, len(log.acts)))
        self._held: dict[tuple[Hashable, Sort], int] = {}
        self._fields: dict[int, frozenset[str]] = {}

    def fields(self, act: Act) -> frozenset[str]:
        """Return the fields of its agent that an event set."""
        if act.place not in self._fields:
            paths = (path for path in act.values if path.startswith(FIELDS))
            self._fields[act.place] = frozenset(field_of(path) for path in paths)
        return self._fields[act.place]

    def closeness(self, token: Hashable, one: Act, other: Act) -> float:
        """Return how closely a token that two events share links them, 0 to 1."""
        kind = token[0] if isinstance(token, tuple) else ""
        if kind in RECORDED:
            return 1.0
        if kind == "agent":
            owners = [("agent", each.agent) == token for each in (one, other)]
            if all(owners):
                return OWN if self.fields(one).isdisjoint(self.fields(other)) else SAME_FIELD
            return NAMED if any(owners) else BOTH_NAME
        number = len(self._log.by_token[token])
        rarity = 1 - math.log(number) / self._size
        if kind == "=" or token in self._log.by_thing:
            return rarity
        if number <= MAX_SAME:
            return NUMBER * rarity if kind else rarity
        is_number = kind not in {"", "#"}
        if (
            is_number
            or number > MAX_SHARED
            or self._is_constant(token, one)
            or self._is_constant(token, other)
        ):
            return 0.0
        return BOTH_NAME * rarity

    def _is_constant(self, token: Hashable, act: Act) -> bool:
        """Whether all events of an event's sort have a token, which then links none of them with anything."""
        alike = self._log.by_sort[act.sort]
        key = token, act.sort
        if key not in self._held:
            self._held[key] = sum(each.sort == act.sort for each in self._log.by_token[token])
        return 1 < len(alike) == self._held[key]

    def closest(self, one: Act, other: Act) -> Hashable:
        """Return what links two events most closely; None if nothing does."""
        shared = [each for each in one.tokens if each in other.tokens]
        best = max(shared, key=lambda each: self.closeness(each, one, other), default=None)
        return best if best is not None and self.closeness(best, one, other) else None
