"""Which events an issue may speak of, and where the blame for them comes from.

The blame for what an issue speaks of flows back over whatever events share: agents, things, values, spans.
An event passes most of it on to the nearest before it, and less over what many share.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Final

from Agent.analysis.debug.root_causes.acts import Log
from Agent.analysis.debug.root_causes.scan import Finding

__all__ = ["LEAST_BLAME", "QUIET", "blame", "symptoms"]

QUIET: Final = frozenset({"context_entry", "context_exit", "state", "metric", "resource", "throughput"})
WEIGHTS: Final = {"words": 2.91, "names": 5.32, "oddness": 0.63, "rarity": 6.41, "moment": 3.75}
"""Fitted by maximum likelihood to the events that show the symptom of planted faults.

words       how much of the words of the text it says, beside the event that says most
names       how much of what the text names it holds, in the same way
oddness     how surely something becomes unlike what was, in nats
rarity      how rare events of its sort are, from 0 to 1
moment      whether it is at the moment that the text names
"""
MAX_ODD: Final = 8.0
MAX_SYMPTOMS: Final = 60


def symptoms(
    log: Log,
    said: Mapping[int, float],
    named: Mapping[Hashable, float],
    then: Collection[int],
    findings: Sequence[Finding],
) -> dict[int, float]:
    """{place: how likely it is that the text speaks of this event}; of the likeliest.

    Args:
        log: the session.
        said: {place: how much of the words of the text the act says}.
        named: {thing, value or agent that the text names: how much it says}.
        then: the places at the moment that the text names.
        findings: what is unlike the rest of the session.
    """
    holds: dict[int, float] = defaultdict(float)
    for token, worth in named.items():
        for act in log.by_token[token]:
            holds[act.place] += worth
    odd: dict[int, float] = defaultdict(float)
    for finding in findings:
        if not finding.local:
            place = finding.first.place
            odd[place] = min(MAX_ODD, max(odd[place], finding.nats))
    most_said, most_held = max(said.values(), default=1.0), max(holds.values(), default=1.0)
    size = math.log(max(2, len(log.acts)))
    rarity = {sort: 1 - math.log(len(acts)) / size for sort, acts in log.by_sort.items()}
    scores = {
        act.place: WEIGHTS["words"] * said.get(act.place, 0.0) / most_said
        + WEIGHTS["names"] * holds.get(act.place, 0.0) / most_held
        + WEIGHTS["oddness"] * odd.get(act.place, 0.0)
        + WEIGHTS["rarity"] * rarity[act.sort]
        + WEIGHTS["moment"] * (act.place in then)
        for act in log.acts
        if act.kind not in QUIET
    }
    likeliest = heapq.nlargest(MAX_SYMPTOMS, scores, key=lambda place: (scores[place], -place))
    best = max(scores.values(), default=0.0)
    shares = {place: math.exp(scores[place] - best) for place in likeliest}
    whole = sum(shares.values())
    return {place: share / whole for place, share in shares.items()}


PASSED_ON: Final = 0.9
"""What an event passes on of the blame that reaches it."""
MAX_BEFORE: Final = 12
"""To so many events before it that share something, most to the nearest."""
LEAST_BLAME: Final = 1e-4
"""Less blame is not followed further, and tells nothing."""


def blame(log: Log, shares: Mapping[int, float]) -> None:
    """Fill `blame` of every act: how much of the blame for the symptoms reaches it."""
    for act in log.acts:
        act.blame = shares.get(act.place, 0.0)
    size = math.log(max(2, len(log.acts)))
    places: dict[Hashable, list[int]] = {}
    for act in reversed(log.acts):
        if act.blame < LEAST_BLAME:
            continue
        before: list[tuple[float, list[int]]] = []
        for token in act.tokens:
            if token not in places:
                places[token] = [each.place for each in log.by_token[token]]
            held = places[token]
            at = bisect_left(held, act.place)
            if at:
                before.append((1 - math.log(len(held)) / size, held[max(0, at - MAX_BEFORE) : at]))
        whole = sum(weight for weight, _ in before)
        for weight, held in before:
            part = PASSED_ON * act.blame * weight / whole
            near = sum(1 / n for n in range(1, len(held) + 1))
            for n, place in enumerate(reversed(held), 1):
                log.acts[place].blame += part / n / near
