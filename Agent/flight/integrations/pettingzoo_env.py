"""Wrappers that record environments of PettingZoo: agents act in turn (AEC) or all at once (parallel)."""

from __future__ import annotations

from typing import Any

from pettingzoo.utils.wrappers import BaseParallelWrapper, BaseWrapper

from Agent.flight.integrations.environments import RecordedEnvironment
from Agent.record.tracing.decorators import trace_agent_action

Step = tuple[dict[str, Any], dict[str, Any], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]
"""Observations, rewards, terminations, truncations and infos by agent."""


class RecordedParallelEnv(RecordedEnvironment, BaseParallelWrapper[Any, Any, Any]):  # type: ignore[misc]
    """A parallel environment whose resets and steps are recorded; see `TraceWrapper`."""

    def trace_state(self) -> dict[str, Any]:
        """The exposed fields: the episode, its step, its returns by agent, and who is in it."""
        agents = list(self.env.agents) if self.episodes.number else []  # set by the first reset
        return {**super().trace_state(), "agents": agents}

    @trace_agent_action("reset")
    def _reset(
        self, seed: int | None, options: dict[str, Any] | None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        result: tuple[dict[str, Any], dict[str, dict[str, Any]]] = self.env.reset(seed=seed, options=options)
        self.episodes.began()
        return result

    @trace_agent_action("step")
    def _step(self, actions: dict[str, Any]) -> Step:
        result: Step = self.env.step(actions)
        self.episodes.stepped(result[1], actions)
        return result


class RecordedAECEnv(RecordedEnvironment, BaseWrapper[Any, Any, Any]):  # type: ignore[misc]
    """An environment with agents in turn whose resets and steps are recorded; see `TraceWrapper`."""

    def trace_state(self) -> dict[str, Any]:
        """The exposed fields: the episode, its step, its returns by agent, and whose turn it is."""
        turn = self.env.agent_selection if self.episodes.number else None
        return {**super().trace_state(), "agent_selection": turn}

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Reset the environment, and record the seed and whose turn it is."""
        super().reset(seed, options)

    def step(self, action: Any) -> None:
        """Make a step of the agent whose turn it is, and record its action, the rewards and the next turn."""
        with self.episodes.tick():
            self._step(self.env.agent_selection, action)

    def observe(self, agent: Any) -> Any:
        """Return an agent's observation, and record it, since environments may draw random numbers for it."""
        with self.episodes.tick():
            return self._observe(agent)

    @trace_agent_action("reset")
    def _reset(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        self.env.reset(seed=seed, options=options)
        self.episodes.began()
        return self._ahead()

    @trace_agent_action("step")
    def _step(self, agent: str, action: Any) -> dict[str, Any]:  # noqa: ARG002 - recorded: who acted
        self.env.step(action)
        rewards = {name: reward for name, reward in self.env.rewards.items() if reward}
        self.episodes.stepped(rewards, action)
        return self._ahead()

    @trace_agent_action("observe")
    def _observe(self, agent: Any) -> Any:
        return self.env.observe(agent)

    def _ahead(self) -> dict[str, Any]:
        """Whose turn is next, and the rewards and ends of all."""
        return {
            "agent": self.env.agent_selection if self.env.agents else None,
            "rewards": dict(self.env.rewards),
            "terminations": dict(self.env.terminations),
            "truncations": dict(self.env.truncations),
        }
