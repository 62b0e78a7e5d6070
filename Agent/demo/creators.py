"""A creator plans what to publish and when, learns from the audience, and works with other creators.

One line is wrong on purpose, and only one agent reaches it: `debug_issue` finds it, a replay proves it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from Agent.utils import AgentLogger, LearningLogger, trace_agent_action, trace_learning_update

Arm = str
"""What a creator chooses between, `kind/slot`; a str, so that dicts keyed by it are plain JSON."""

KINDS = ("video", "article", "podcast")
SLOTS = ("morning", "noon", "evening", "night")


def arm_of(kind: str, slot: str) -> Arm:
    """The arm for a kind of content and a slot of the day."""
    return f"{kind}/{slot}"


def parts_of(arm: Arm) -> tuple[str, str]:
    """The kind of content and the slot of an arm."""
    kind, _, slot = arm.partition("/")
    return kind, slot


ARMS: tuple[Arm, ...] = tuple(arm_of(kind, slot) for kind in KINDS for slot in SLOTS)


def choose_arm(values: dict[Arm, float], epsilon: float, rng: random.Random) -> tuple[Arm, bool]:
    """Choose the next arm; return it and whether it was explored. Ties go to the first arm."""
    if rng.random() < epsilon:
        return rng.choice(ARMS), True
    return max(ARMS, key=lambda arm: values[arm]), False


VIRAL_REACH = 6
"""The number of shares from which a creator invites the first sharer to work together."""


class Creator:
    """A content creator with a bandit learner.

    All input arrives as arguments of `step` and `receive_feedback`, or from the trend service, and everything
    it bases decisions on is an attribute. Therefore a replay can run it alone.
    """

    trace_ignore = ("deliver",)
    """Not part of its state: messages leave through it, and a replay passes another function."""

    def __init__(
        self, agent_id: str, *, seed: str, trends: TrendService, deliver: Callable[[Any], None]
    ) -> None:
        self.agent_id = agent_id
        self.agent_role = "creator"
        self.logger = AgentLogger(agent_id, self.agent_role)
        self.learning_logger = LearningLogger("bandit", agent_id)
        self.trends = trends
        self.deliver = deliver

        self.rng = random.Random(seed)
        self.skill = round(self.rng.uniform(0.3, 1.0), 3)
        self.followers = self.rng.randrange(20, 200)
        self.epsilon = 0.3
        self.counts: dict[Arm, int] = dict.fromkeys(ARMS, 0)
        self.values: dict[Arm, float] = dict.fromkeys(ARMS, 1.0)
        self.total_reward = 0.0
        self.plan: Arm | None = None
        self.cooldown_until = 0
        self.backlog: list[str] = []
        self.pending: dict[str, Arm] = {}
        self.partners: list[str] = []
        self.published = 0

    @trace_agent_action()
    def step(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """Run one tick: read messages, plan, and publish if the slot has come.

        Takes `{"tick", "slot", "inbox"}`, returns `{"did": what, "post": {...} or None}`.
        """
        tick, slot = observation["tick"], observation["slot"]
        for message in observation["inbox"]:
            self._read(message)
        if tick < self.cooldown_until:
            return {"did": "wait", "post": None}
        kind, planned_slot = parts_of(self.plan or self._make_plan())
        if slot != planned_slot:
            return {"did": "prepare", "post": None}
        try:
            trend = self.trends.lookup(self.agent_id, kind, tick)
        except TrendError as error:
            self._back_off(tick, error)
            return {"did": "back_off", "post": None}
        return {"did": "publish", "post": self.publish(kind, slot, trend)}

    @trace_agent_action()
    def publish(self, kind: str, slot: str, trend: Mapping[str, Any]) -> dict[str, Any]:
        """Make one post from the plan and a trend."""
        self.published += 1
        content_id = f"{self.agent_id}-post-{self.published:03d}"
        partners, self.partners = self.partners, []
        quality = self.skill * self.rng.uniform(0.6, 1.2) * (1.0 + 0.25 * len(partners))
        post = {
            "content_id": content_id,
            "author": self.agent_id,
            "kind": kind,
            "slot": slot,
            "topic": trend["topic"],
            "quality": round(min(quality, 1.5), 3),
            "heat": trend["heat"],
            "followers": self.followers,
            "partners": partners,
        }
        self.logger.log_content_generation(
            content_type=kind,
            content_id=content_id,
            metadata={"topic": post["topic"], "slot": slot, "drafts_used": len(self.backlog)},
        )
        self.pending[content_id] = arm_of(kind, slot)
        self.plan = None
        self.backlog = []
        return post

    @trace_agent_action()
    def receive_feedback(self, feedback: Mapping[str, Any]) -> float:
        """Learn from the reactions to one post; return the reward.

        Takes `{"content_id", "likes", "comments", "shares", "new_followers", "cascade": {...} or None}`.
        """
        content_id = feedback["content_id"]
        arm = self.pending.pop(content_id)
        reward: float = round((feedback["likes"] + 2 * feedback["comments"] + 3 * feedback["shares"]) / 20, 4)
        self.followers += feedback["new_followers"]
        self.update_bandit(arm, reward)
        self.total_reward = round(self.total_reward + reward, 4)
        self.learning_logger.log_reward(
            action_id=content_id, reward=reward, cumulative_reward=self.total_reward
        )
        cascade = feedback["cascade"]
        if cascade and cascade["size"] >= VIRAL_REACH:
            invitation = {"type": "invitation", "content_id": content_id, "size": cascade["size"]}
            self.deliver(self.logger.send(cascade["first_sharer"], invitation))
        return reward

    @trace_learning_update(update_type="bandit_update")
    def update_bandit(self, arm: Arm, reward: float) -> dict[str, float]:
        """Move the value of an arm towards a reward, and explore a little less from now on."""
        self.counts[arm] += 1
        self.values[arm] += self.step_size(arm) * (reward - self.values[arm])
        self.epsilon = max(0.05, self.epsilon * 0.98)
        return {"value": self.values[arm], "epsilon": self.epsilon}

    def step_size(self, arm: Arm) -> float:
        """The step size for one reward: all rewards of an arm have the same weight."""
        return 1 / self.counts[arm]

    def ticks_to_wait(self, error: TrendError) -> int:
        """The number of ticks to wait after a failure of the trend service."""
        return error.retry_after

    def _make_plan(self) -> Arm:
        """Choose kind and slot of the next post, and draft it."""
        arm, explored = choose_arm(self.values, self.epsilon, self.rng)
        self.plan = arm
        kind, slot = parts_of(arm)
        self.backlog.append(f"draft for {slot}")
        self.learning_logger.log_exploration_exploitation(
            action_selected=arm, exploration=explored, epsilon=self.epsilon
        )
        self.logger.log_decision(
            decision_type="next_post",
            decision_data={"kind": kind, "slot": slot},
            reasoning="trying something else" if explored else "best so far",
        )
        return arm

    def _back_off(self, tick: int, error: TrendError) -> None:
        """Stop using the trend service for as long as its error says."""
        old = self.cooldown_until
        self.cooldown_until = tick + self.ticks_to_wait(error)
        self.logger.warning("Trend service gave no answer", extra={"error_type": type(error).__name__})
        self.logger.log_state_change(
            old_state={"cooldown_until": old},
            new_state={"cooldown_until": self.cooldown_until},
            trigger=type(error).__name__,
        )

    def _read(self, message: Any) -> None:
        """Read one message: answer an invitation, or add a partner who said yes for the next post."""
        self.logger.receive(message)
        body = message.body
        if body["type"] == "invitation":
            answer = "yes" if len(self.partners) < 2 else "no"
            if answer == "yes":
                self.partners.append(message.sender)
            self.deliver(self.logger.send(message.sender, {"type": answer, "content_id": body["content_id"]}))
        elif body["type"] == "yes" and message.sender not in self.partners:
            self.partners.append(message.sender)


TOPICS: dict[str, tuple[str, ...]] = {
    "video": ("street food", "robotics", "travel", "stage magic"),
    "article": ("climate", "robotics", "housing", "history"),
    "podcast": ("true crime", "history", "startups", "sleep"),
}
"""The topics of each kind of content."""


class TrendError(Exception):
    """The trend service did not answer; `retry_after` says when to ask again."""

    retry_after: int


class TrendTimeout(TrendError):
    """The service timed out; ask again after `retry_after` ticks."""

    retry_after = 2


class TrendQuotaExceeded(TrendError):
    """The client's quota is used up; it is renewed after `retry_after` seconds, as in HTTP."""

    retry_after = 3_600


class TrendService:
    """Returns the current trend for a kind of content, unless it fails.

    Args:
        seed: of its random generator.
        failure_rate: the share of look-ups that time out.
        throttled_client: the agent whose quota is used up at its first look-up from `throttled_from` on.
        throttled_from: the tick from which that happens; None for never.
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
        """The trend for one kind of content, `{"topic", "heat": 0.0 to 1.0}`; may raise `TrendError`."""
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
