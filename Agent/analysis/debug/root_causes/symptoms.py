"""Find the events that an issue speaks of, and trace blame for them back.

A symptom is an event that the text speaks of, where something is unlike before, to which an earlier oddity
leads, and at which what it is about ends. Blame flows back from it along whatever events share: agents,
things, values, spans. An event passes it to earlier events with which it shares something, and passes less
along a link that many share.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Final, NamedTuple

from Agent.analysis.debug.root_causes.acts import Log
from Agent.analysis.debug.root_causes.nearby import HOP
from Agent.analysis.debug.root_causes.scan import MAX_NATS, Finding

__all__ = ["LEAST_BLAME", "MAX_LOOKED_AT", "QUIET", "Blame", "blame", "symptoms"]

QUIET: Final = frozenset({"context_entry", "context_exit", "state", "metric", "resource", "throughput"})
WEIGHTS: Final = {
    "word": 1.8, "near": 8.6, "oddness": 0.7, "rarity": 4.6, "moment": 4.2, "led to": 3.9, "ends": 1.5,
}  # fmt: skip
"""Fitted by maximum likelihood to the events that show the symptom of 278 planted faults.

word        how rare the rarest word of the text is that the event contains, 0 to 1
near        nearness to what the text names, 0 to 1
oddness     nats of the change that it shows
rarity      rarity of events of its sort, 0 to 1
moment      whether it happens at the moment that the text names
led to      how strongly something odd before it is linked to it, 0 to 1
ends        whether nothing later is about the same things
"""
MAX_LOOKED_AT: Final = 60
"""So many of the likeliest events are looked at, as symptoms and as causes."""
MAX_ABOUT: Final = 40
"""A token that more events share is not what an event is about."""


def symptoms(
    log: Log,
    said: Mapping[int, float],
    then: Collection[int],
    findings: Sequence[Finding],
) -> dict[int, float]:
    """Return {place: probability that the text refers to this event} for the likeliest events.

    Args:
        log: the session, in which `nearby.walk` has filled `near` of every act.
        said: {place: rarity of the rarest word of the text that the act contains}.
        then: the places at the moment that the text names.
        findings: what is unusual in the session.
    """
    odd: dict[int, float] = {}
    for finding in findings:
        if not finding.local:
            place = finding.first.place
            odd[place] = min(MAX_NATS, max(odd.get(place, 0.0), finding.nats))
    size = math.log(max(2, len(log.acts)))
    rarity = {sort: 1 - math.log(len(acts)) / size for sort, acts in log.by_sort.items()}
    lead = _led_to(log, odd)
    last = {token: held[-1].place for token, held in log.by_token.items() if len(held) <= MAX_ABOUT}
    scores = {
        act.place: WEIGHTS["word"] * said.get(act.place, 0.0)
        + WEIGHTS["near"] * act.near
        + WEIGHTS["oddness"] * odd.get(act.place, 0.0)
        + WEIGHTS["rarity"] * rarity[act.sort]
        + WEIGHTS["moment"] * (act.place in then)
        + WEIGHTS["led to"] * lead[act.place]
        + WEIGHTS["ends"] * all(last.get(token, act.place) == act.place for token in act.tokens)
        for act in log.acts
        if act.kind not in QUIET
    }
    likeliest = heapq.nlargest(MAX_LOOKED_AT, scores, key=lambda place: (scores[place], -place))
    best = max(scores.values(), default=0.0)
    shares = {place: math.exp(scores[place] - best) for place in likeliest}
    whole = sum(shares.values())
    return {place: share / whole for place, share in shares.items()}


def _led_to(log: Log, odd: Mapping[int, float]) -> list[float]:
    """Return how strongly the oddest earlier event is linked to each event, 0 to 1, less with each hop."""
    size = math.log(max(2, len(log.acts)))
    weight = {token: 1 - math.log(len(held)) / size for token, held in log.by_token.items()}
    lead = [0.0] * len(log.acts)
    carried: dict[Hashable, float] = {}
    for act in log.acts:
        strongest = max((carried.get(token, 0.0) * weight[token] for token in act.tokens), default=0.0)
        lead[act.place] = strongest
        passed = max(odd.get(act.place, 0.0) / MAX_NATS, HOP * strongest)
        for token in act.tokens:
            if passed > carried.get(token, 0.0):
                carried[token] = passed
    return lead


PASSED_ON: Final = 0.9
"""Factor on the blame that an event passes on; 0.98 finds the same true events."""
MAX_BEFORE: Final = 12
"""Number of earlier linked events that receive blame; 1 or 40 finds the same true events."""
LEAST_BLAME: Final = 1e-4
"""Smaller blame is not followed further."""


class Blame(NamedTuple):
    """How much of the blame for some events reaches each earlier event, and along which link."""

    reaches: list[float]
    """Blame by place; the symptoms themselves begin with their shares."""
    onward: dict[int, tuple[float, int, Hashable]]
    """{place: (most blame received along one link, place of the later event, what both share)}."""


def blame(log: Log, shares: Mapping[int, float]) -> Blame:
    """Propagate the blame for some events backwards, reduced by 10% at each link.

    Args:
        log: the session.
        shares: {place: share of the blame}.
    """
    reaches = [0.0] * len(log.acts)
    for place, share in shares.items():
        reaches[place] = share
    onward: dict[int, tuple[float, int, Hashable]] = {}
    size = math.log(max(2, len(log.acts)))
    places: dict[Hashable, list[int]] = {}
    for act in reversed(log.acts):
        if reaches[act.place] < LEAST_BLAME:
            continue
        before: list[tuple[float, Hashable, list[int]]] = []
        for token in act.tokens:
            if token not in places:
                places[token] = [each.place for each in log.by_token[token]]
            held = places[token]
            at = bisect_left(held, act.place)
            if at:
                weight = 1 - math.log(len(held)) / size
                before.append((weight, token, held[max(0, at - MAX_BEFORE) : at]))
        whole = sum(weight for weight, _, _ in before)
        for weight, token, held in before:
            part = PASSED_ON * reaches[act.place] * weight / whole / len(held)
            for place in held:
                reaches[place] += part
                if part > onward.get(place, (0.0,))[0]:
                    onward[place] = part, act.place, token
    return Blame(reaches, onward)
