"""Viral cascades: how one post spreads from follower to follower, as a tree of shares."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_DEPTH = 12


@dataclass(frozen=True)
class Share:
    """One hop of a cascade: who shared what `parent_id` had shared, at which depth."""

    agent_id: str
    parent_id: str
    depth: int


@dataclass(frozen=True)
class Cascade:
    """The tree of shares below one post, in the order in which it grew."""

    content_id: str
    root_agent_id: str
    shares: tuple[Share, ...]

    @property
    def size(self) -> int:
        """How many shared it."""
        return len(self.shares)

    @property
    def depth(self) -> int:
        """The longest way from the author to a share."""
        return max((share.depth for share in self.shares), default=0)

    def by_depth(self) -> list[int]:
        """How many shares there are at depth 1, 2, 3 and so on."""
        return [sum(share.depth == depth for share in self.shares) for depth in range(1, self.depth + 1)]


def spread(
    content_id: str,
    author: str,
    followers: Mapping[str, Sequence[str]],
    chance: float,
    rng: random.Random,
) -> Cascade:
    """Lets a post spread over the graph of who follows whom; each follower shares with the same chance."""
    shares: list[Share] = []
    reached = {author}
    wave = [author]
    for depth in range(1, MAX_DEPTH + 1):
        next_wave = []
        for sharer in wave:
            for follower in followers[sharer]:
                if follower not in reached and rng.random() < chance:
                    reached.add(follower)
                    next_wave.append(follower)
                    shares.append(Share(follower, sharer, depth))
        if not next_wave:
            break
        wave = next_wave
    return Cascade(content_id, author, tuple(shares))
