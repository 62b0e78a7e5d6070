"""What links the events of a session: what they share, and who hands something to whom."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import Final

from Agent.analysis.debug.root_causes.acts import Act, Log

__all__ = ["MAX_LIFE", "Web", "tokens_of"]

MAX_LIFE: Final = 400
"""A thing with more events links none of them."""


class Web:
    """The links of one session."""

    def __init__(self, log: Log) -> None:
        self.sizes = {token: len(acts) for token, acts in log.by_token.items()}
        self.all = max(2, len(log.acts))
        self.whence = _whence(log)
        """{agent: {other agent: share of what the first gets that comes from the other}}."""

    def weight(self, token: Hashable) -> float:
        """From 0 to 1, how much it says that two events share it: nothing if all of them do."""
        size = self.sizes.get(token, 0)
        return math.log(self.all / size) / math.log(self.all) if size else 0.0


def _whence(log: Log) -> dict[str, dict[str, float]]:
    """{agent: {other agent: share of what the first gets that comes from the other}}."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    spans = {act.span: act for act in log.acts if act.span}
    by_id = {act.id: act for act in log.acts}
    for act in log.acts:
        for before in (*(by_id.get(cause) for cause in act.causes), spans.get(act.parent or "")):
            if before is not None and before.agent != act.agent:
                counts[act.agent][before.agent] += 1
        for other in act.mentions:
            counts[other][act.agent] += 1
    for token, acts in log.by_token.items():
        if len(acts) <= MAX_LIFE and not (isinstance(token, tuple) and token[0] in {"agent", "span", "#"}):
            for before, after in pairwise(acts):
                if before.agent != after.agent:
                    counts[after.agent][before.agent] += 1
    return {
        agent: {other: number / own.total() for other, number in own.items()} for agent, own in counts.items()
    }


def tokens_of(acts: Iterable[Act]) -> dict[Hashable, float]:
    """The tokens of some acts, each with the share of them that have it."""
    listed = list(acts)
    counts = Counter(token for act in listed for token in act.tokens)
    return {token: number / len(listed) for token, number in counts.items()}
