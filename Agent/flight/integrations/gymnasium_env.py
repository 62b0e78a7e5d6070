"""A wrapper that records an environment of Gymnasium."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from Agent.flight.integrations.environments import Episodes
from Agent.record.tracing.decorators import trace_agent_action


class RecordedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose resets and steps are recorded; see `TraceWrapper`."""

    agent_role = Episodes.agent_role

    def __init__(self, env: gymnasium.Env[Any, Any], agent_id: str) -> None:
        super().__init__(env)
        self.agent_id = agent_id
        self.episodes = Episodes(agent_id)

    def trace_state(self) -> dict[str, Any]:
        """The exposed fields: the episode, its step and its return."""
        return self.episodes.state()

    def trace_restore(self, fields: Mapping[str, Any]) -> None:
        """Take over exposed fields of a recording."""
        self.episodes.restore(fields)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment, and record the seed and the first observation."""
        with self.episodes.tick():
            return self._reset(self.episodes.seed_for(seed), options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Make a step, and record the action, its outcome and the reward."""
        with self.episodes.tick():
            return self._step(action)

    @trace_agent_action("reset")
    def _reset(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        found = self.env.reset(seed=seed, options=options)
        self.episodes.began()
        return found

    @trace_agent_action("step")
    def _step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        found = self.env.step(action)
        self.episodes.stepped({self.agent_id: found[1]}, action)
        return found
