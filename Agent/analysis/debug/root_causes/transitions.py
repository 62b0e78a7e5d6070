"""How surprising is what comes before and after each event, among all events about the same thing.

The events that share a token (a thing, a value, an agent) form a chain. Over all chains of one kind of token,
the module counts which sort of event comes after which. A step that is rarer than the usual step from that
sort is surprising: an order that was never booked, a key that was read before it was written.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from Agent.analysis.debug.root_causes.acts import Log, Sort

__all__ = ["Surprise", "surprises"]

NO_CHAIN: Final = frozenset({"=", "event", "span"})
"""Kinds of tokens that link two events only, or events of one call: they have no usual order."""
MAX_CHAIN: Final = 80
"""A token that more events share is a category."""
MIN_TIMES: Final = 6
MARGIN: Final = 0.1
"""Share of the session at either end in which a chain may be cut off by the recording."""
MAX_SURPRISE: Final = 8.0

Place = tuple[str, Sort]


class Surprise(NamedTuple):
    """Nats by place of the event: how unusual what came before it is, and what came after it."""

    before: list[float]
    after: list[float]


def surprises(log: Log) -> Surprise:
    """Return the largest surprise over the chains of each event, in nats beyond the mean of its sort."""
    if log.surprises is None:
        after, before = list(_steps(log, forward=True)), list(_steps(log, forward=False))
        log.surprises = Surprise(_nats(before, len(log.acts)), _nats(after, len(log.acts)))
    found: Surprise = log.surprises
    return found


def _steps(log: Log, *, forward: bool) -> Iterator[tuple[int, Place, Sort | None]]:
    """Yield (place of the event, (kind of token, sort), sort of the neighbour or None)."""
    early, late = log.steps * MARGIN, log.steps * (1 - MARGIN)
    for token, chain in log.by_token.items():
        kind = token[0] if isinstance(token, tuple) else "thing"
        if not 2 <= len(chain) <= MAX_CHAIN or kind in NO_CHAIN:
            continue
        for at, act in enumerate(chain):
            beside = at + 1 if forward else at - 1
            if 0 <= beside < len(chain):
                yield act.place, (kind, act.sort), chain[beside].sort
            elif early < act.step < late:
                yield act.place, (kind, act.sort), None


def _nats(steps: list[tuple[int, Place, Sort | None]], number: int) -> list[float]:
    counts: dict[Place, Counter[Sort | None]] = defaultdict(Counter)
    for _, where, beside in steps:
        counts[where][beside] += 1
    nats: dict[tuple[Place, Sort | None], float] = {}
    for where, found in counts.items():
        whole = found.total()
        if whole >= MIN_TIMES:
            usual = -sum(times / whole * math.log(times / whole) for times in found.values())
            for beside, times in found.items():
                nats[where, beside] = min(MAX_SURPRISE, -math.log(times / whole) - usual)
    surprise = [0.0] * number
    for place, where, beside in steps:
        surprise[place] = max(surprise[place], nats.get((where, beside), 0.0))
    return surprise
