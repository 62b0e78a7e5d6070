"""A wrapper that records an environment of Gymnasium."""

from __future__ import annotations

from typing import Any

import gymnasium

from Agent.flight.integrations.environments import RecordedEnvironment
from Agent.record.tracing.decorators import trace_agent_action


class RecordedEnv(RecordedEnvironment, gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose resets and steps are recorded; see `TraceWrapper`."""

    @trace_agent_action("reset")
    def _reset(self, seed: int | None, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        result = self.env.reset(seed=seed, options=options)
        self.episodes.began()
        return result

    @trace_agent_action("step")
    def _step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = self.env.step(action)
        self.episodes.stepped({self.agent_id: result[1]}, action)
        return result
