"""The audience: a few segments with tastes of their own that like, comment on and share what they are shown.

Each segment stands for thousands of people, so its numbers are drawn, not counted; `platform.py` feeds it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from Agent.demo.bandit import KINDS, SLOTS
from Agent.utils import AgentLogger, InteractionLogger, trace_agent_action

SEGMENTS = ("commuters", "students", "parents", "night_owls")
FEED_LENGTH = 6


class Audience:
    """One segment of the audience, with a taste for kinds of content and for hours of the day."""

    def __init__(self, segment: str, *, seed: str) -> None:
        self.agent_id = f"audience_{segment}"
        self.agent_role = "audience"
        self.logger = AgentLogger(self.agent_id, self.agent_role)
        self.interaction_logger = InteractionLogger()
        self.rng = random.Random(seed)
        self.taste = {kind: round(self.rng.uniform(0.2, 1.0), 3) for kind in KINDS}
        self.activity = {slot: round(self.rng.uniform(0.2, 1.0), 3) for slot in SLOTS}

    @trace_agent_action()
    def react(self, posts: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
        """What the segment does with the posts in its feed: {content_id: {"likes", "comments", "shares"}}."""
        feed = sorted(posts, key=lambda post: (-self._appeal(post), post["content_id"]))[:FEED_LENGTH]
        return {post["content_id"]: self._react_to(post) for post in feed}

    def _appeal(self, post: Mapping[str, Any]) -> float:
        """How much a post pleases before chance has its say: 0 to about 2.5."""
        return float(self.taste[post["kind"]] * post["quality"] * (0.5 + post["heat"]))

    def _react_to(self, post: Mapping[str, Any]) -> dict[str, int]:
        reach = self.activity[post["slot"]] * (20 + 4 * post["followers"] ** 0.5)
        likes = int(reach * self._appeal(post) * self.rng.uniform(0.5, 1.5))
        comments = int(likes * self.rng.uniform(0.0, 0.2))
        shares = int(likes * self.rng.uniform(0.0, 0.15))
        for interaction_type, count in (("like", likes), ("comment", comments), ("share", shares)):
            if count:
                self.interaction_logger.log_interaction(
                    interaction_type=interaction_type,
                    source_id=self.agent_id,
                    target_id=post["author"],
                    content_id=post["content_id"],
                    data={"count": count},
                )
        return {"likes": likes, "comments": comments, "shares": shares}
