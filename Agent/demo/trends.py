"""The trend service: a tool that tells creators what is hot, and that fails now and then; they ask it.

It is a traced peer: on a replay its answers, failures among them, come from the recording.
"""

from __future__ import annotations

import random

from Agent.utils import AgentLogger, trace_agent_action

TOPICS: dict[str, tuple[str, ...]] = {
    "video": ("street food", "robotics", "travel", "stage magic"),
    "article": ("climate", "robotics", "housing", "history"),
    "podcast": ("true crime", "history", "startups", "sleep"),
}
"""What each kind of content can be about."""


class TrendError(Exception):
    """The trend service had no answer; `retry_after` says when to ask again."""

    retry_after: int


class TrendTimeout(TrendError):
    """The service took too long; asking again after `retry_after` ticks is polite."""

    retry_after = 2


class TrendQuotaExceeded(TrendError):
    """The client used up its quota; it is renewed after `retry_after` seconds, as HTTP has it."""

    retry_after = 3_600


class TrendService:
    """Knows what is hot at the moment, unless it fails.

    Args:
        seed: where its own chance begins.
        failure_rate: the share of look-ups that time out.
        throttled_client: the agent whose quota is used up at its first look-up from `throttled_from` on.
        throttled_from: the tick of that; None throttles nobody.
    """

    def __init__(
        self,
        seed: str,
        *,
        failure_rate: float = 0.04,
        throttled_client: str | None = None,
        throttled_from: int | None = None,
    ) -> None:
        self.agent_id = "trend_service"
        self.agent_role = "tool"
        self.logger = AgentLogger(self.agent_id, self.agent_role)
        self.rng = random.Random(seed)
        self.failure_rate = failure_rate
        self.throttled_client = throttled_client
        self.throttled_from = throttled_from

    @trace_agent_action()
    def lookup(self, client: str, kind: str, tick: int) -> dict[str, object]:
        """What is hot in one kind of content: `{"topic", "heat": 0.0 to 1.0}`; may raise `TrendError`."""
        if (
            client == self.throttled_client
            and self.throttled_from is not None
            and tick >= self.throttled_from
        ):
            self.throttled_client = None
            raise TrendQuotaExceeded(
                f"quota of {client} exceeded, retry after {TrendQuotaExceeded.retry_after} s"
            )
        if self.rng.random() < self.failure_rate:
            raise TrendTimeout("no answer within 200 ms")
        return {"topic": self.rng.choice(TOPICS[kind]), "heat": round(self.rng.betavariate(2, 3), 3)}
