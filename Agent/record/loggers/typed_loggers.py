"""Loggers for learning and for interactions between agents; `program_loggers.py` has the others."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from Agent.event.kinds import Category
from Agent.record.encode.safe_text import as_message, as_text
from Agent.record.loggers.loggers import DEBUG, INFO, Causes, EventLogger, awaitable

_MAX_PARTICIPANTS = 10_000


class LearningLogger(EventLogger):
    """Records what an agent learns: training steps, rewards, exploration, policies, convergence.

    Args:
        learning_type: bandit, rl, evolution or any other word; part of each event.
        agent_id: the agent that learns; default: the agent of the surrounding action.
    """

    def __init__(
        self, learning_type: str = "learning", agent_id: str | None = None, agent_role: str | None = None
    ) -> None:
        self.learning_type = as_message(learning_type)
        super().__init__(f"learning.{self.learning_type}", Category.LEARNING, agent_id, agent_role)

    def log_training_step(
        self, step: Any, metrics: Any = None, model_state: Any = None, *, causes: Causes = None
    ) -> str:
        """Record one step of training with its metrics."""
        if self._limit.value > DEBUG:
            return ""
        values = {"step": step, "metrics": metrics, "model_state": model_state}
        return self._learned("training_step", as_text(step), values, causes, DEBUG)

    def log_reward(
        self, action_id: Any, reward: float, cumulative_reward: float | None = None, *, causes: Causes = None
    ) -> str:
        """Record the reward that an action earned."""
        if self._limit.value > INFO:
            return ""
        values = {"reward": reward, "action_id": action_id, "cumulative_reward": cumulative_reward}
        return self._learned("reward", as_text(reward), values, causes)

    def log_exploration_exploitation(
        self, action_selected: Any, exploration: bool, epsilon: float | None = None, *, causes: Causes = None
    ) -> str:
        """Record whether an action was chosen to explore or to exploit."""
        if self._limit.value > DEBUG:
            return ""
        explores = as_bool(exploration)
        mode = "exploration" if explores else "exploitation"
        values = {
            "action_selected": action_selected, "exploration": explores, "epsilon": epsilon, "mode": mode,
        }  # fmt: skip
        label = f"{mode.capitalize()}: {as_text(action_selected)}"
        return self._learned("exploration", label, values, causes, DEBUG)

    def log_policy_update(
        self,
        policy_data: Any = None,
        old_policy: Any = None,
        new_policy: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record a change of the policy."""
        if self._limit.value > INFO:
            return ""
        values = {"policy_data": policy_data, "old_policy": old_policy, "new_policy": new_policy}
        return self._learned("policy_update", "Policy update", values, causes)

    def log_convergence(
        self,
        metric: Any,
        value: Any = None,
        converged: bool | None = None,
        threshold: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record how far learning has converged."""
        if self._limit.value > INFO:
            return ""
        known = None if converged is None else as_bool(converged)
        values = {"metric": metric, "value": value, "converged": known, "threshold": threshold}
        return self._learned("convergence", as_text(metric), values, causes)

    def log_learning_update(
        self, learning_stage: Any, update_data: Any = None, *, causes: Causes = None
    ) -> str:
        """Record a learning update."""
        if self._limit.value > INFO:
            return ""
        values = {"learning_stage": learning_stage, "update_data": update_data}
        return self._learned("learning_update", learning_stage, values, causes)

    def _learned(
        self, kind: str, label: str, values: dict[str, Any], causes: Causes, level: int = INFO
    ) -> str:
        values["learning_type"] = self.learning_type
        return self._record(kind, label, values, causes, level)

    # Awaitable variants.
    alog_training_step = awaitable(log_training_step)
    alog_reward = awaitable(log_reward)
    alog_exploration_exploitation = awaitable(log_exploration_exploitation)
    alog_policy_update = awaitable(log_policy_update)
    alog_convergence = awaitable(log_convergence)
    alog_learning_update = awaitable(log_learning_update)


class InteractionLogger(EventLogger):
    """Records interactions between agents, and between agents and content."""

    def __init__(self, agent_id: str | None = None, agent_role: str | None = None) -> None:
        super().__init__("interaction", Category.INTERACTIONS, agent_id, agent_role)

    def log_interaction(
        self,
        interaction_type: str,
        source_id: Any = None,
        target_id: Any = None,
        content_id: Any = None,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record a like, a share, a comment or any other interaction."""
        if self._limit.value > INFO:
            return ""
        values = {
            "interaction_type": interaction_type, "source_id": source_id, "target_id": target_id,
            "content_id": content_id, "data": data,
        }  # fmt: skip
        return self._record("interaction", interaction_type, values, causes)

    def log_content_interaction(
        self,
        agent_id: Any,
        content_id: Any,
        interaction_type: str,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record what an agent did with a piece of content."""
        return self.log_interaction(interaction_type, agent_id, None, content_id, data, causes=causes)

    def log_connection(
        self,
        source_id: Any,
        target_id: Any,
        connection_type: str = "follow",
        strength: float | None = None,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record a connection between two agents, such as following."""
        if self._limit.value > INFO:
            return ""
        values = {
            "source_id": source_id, "target_id": target_id, "connection_type": as_text(connection_type),
            "strength": strength, "data": data,
        }  # fmt: skip
        label = f"Connection: {as_text(source_id)} -> {as_text(target_id)}"
        return self._record("connection", label, values, causes)

    def log_cascade(
        self,
        content_id: Any,
        size: int,
        depth: int | None = None,
        root_agent_id: Any = None,
        parent_id: Any = None,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record how far content has spread: `size` shares, at most `depth` steps from its author."""
        if self._limit.value > INFO:
            return ""
        values = {
            "content_id": content_id, "size": size, "depth": depth, "root_agent_id": root_agent_id,
            "parent_id": parent_id, "data": data,
        }  # fmt: skip
        return self._record("cascade", f"Cascade of {as_text(content_id)}: {as_text(size)}", values, causes)

    def log_collaboration(
        self,
        participants: Iterable[Any],
        collaboration_type: str = "collaboration",
        content_id: Any = None,
        data: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record that agents work together."""
        if self._limit.value > INFO:
            return ""
        values = {
            "collaboration_type": collaboration_type, "participants": as_list(participants),
            "content_id": content_id, "data": data,
        }  # fmt: skip
        return self._record("collaboration", collaboration_type, values, causes)

    # Awaitable variants.
    alog_interaction = awaitable(log_interaction)
    alog_content_interaction = awaitable(log_content_interaction)
    alog_connection = awaitable(log_connection)
    alog_cascade = awaitable(log_cascade)
    alog_collaboration = awaitable(log_collaboration)


def as_bool(value: Any) -> bool:
    """Return the truth value; False if `bool()` raises."""
    try:
        return bool(value)
    except Exception:  # noqa: BLE001 - an array with several elements, or an error in a user's __bool__
        return False


def as_list(values: Any) -> list[Any]:
    """Return the values as a list; a text or an object that cannot be iterated is a single value."""
    if values is None:
        return []
    try:
        return [values] if isinstance(values, str) else list(islice(values, _MAX_PARTICIPANTS))
    except Exception:  # noqa: BLE001 - a user's __iter__ may raise anything
        return [values]
