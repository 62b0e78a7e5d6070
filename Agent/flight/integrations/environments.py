"""`TraceWrapper` for environments of Gymnasium and PettingZoo, and `trace_mesa` for models of Mesa."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any, Final, TypeVar

from Agent.errors import UsageError
from Agent.record.emit.context import current_scope
from Agent.record.emit.installed import tick
from Agent.record.loggers.typed_loggers import LearningLogger
from Agent.record.tracing.instrument import Instrumented, instrument

Environment = TypeVar("Environment")

_HOMES: Final = {
    ("gymnasium.core", "Env"): ("gymnasium_env", "RecordedEnv"),
    ("pettingzoo.utils.env", "AECEnv"): ("pettingzoo_env", "RecordedAECEnv"),
    ("pettingzoo.utils.env", "ParallelEnv"): ("pettingzoo_env", "RecordedParallelEnv"),
}
"""{(module, name) of the base class of environments: (module, name) of the class here that records them}."""


def TraceWrapper(env: Environment, agent_id: str = "environment") -> Environment:  # noqa: N802 - a wrapper's name
    """Wrap an environment so that it records resets, steps, rewards and seeds, and can be replayed.

    Each `reset` and `step` is recorded as an `agent_action` of the environment, with arguments and result;
    each reward is a `reward` event of the agent that received it. A reset without a seed gets one, unless the
    environment was seeded before, so that a recording can be repeated. Steps are ticks, unless the
    program sets ticks itself. For a replay, the target returns a `TraceWrapper` around a new environment.

    Args:
        env: of Gymnasium, or of PettingZoo (AEC or parallel).
        agent_id: the name of the environment in the recording.

    Raises:
        UsageError: `env` is none of these.
    """
    for base in type(env).__mro__:
        home = _HOMES.get((base.__module__, base.__qualname__))
        if home is not None:
            module = import_module(f"{__package__}.{home[0]}")
            wrapper: Environment = getattr(module, home[1])(env, agent_id)
            return wrapper
    raise UsageError(
        f"{type(env).__module__}.{type(env).__qualname__} is not an environment that can be recorded",
        remedy="give an environment of Gymnasium, or an AECEnv or ParallelEnv of PettingZoo",
    )


class RecordedEnvironment:
    """The mixin of all wrappers, placed before the base class of their library."""

    agent_role = "environment"
    episodes: Episodes
    _reset: Callable[..., Any]
    _step: Callable[..., Any]

    def __init__(self, env: Any, agent_id: str) -> None:
        super().__init__(env)  # type: ignore[call-arg]
        self.agent_id = agent_id
        self.episodes = Episodes(agent_id)

    def trace_state(self) -> dict[str, Any]:
        """The exposed fields: the episode, its step and its returns by agent."""
        episodes = self.episodes
        return {"episode": episodes.number, "step": episodes.step, "returns": dict(episodes.returns)}

    def trace_restore(self, fields: Mapping[str, Any]) -> None:
        """Restore the exposed fields from a recording."""
        episodes = self.episodes
        episodes.number = int(fields.get("episode", episodes.number))
        episodes.step = int(fields.get("step", episodes.step))
        episodes.returns = dict(fields.get("returns", episodes.returns))

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset the environment, and record the seed and the first observation."""
        with self.episodes.tick():
            return self._reset(self.episodes.seed_for(seed), options)

    def step(self, action: Any) -> Any:
        """Make a step, and record the action, its outcome and the rewards."""
        with self.episodes.tick():
            return self._step(action)


class Episodes:
    """Counts episodes and steps, and sums up rewards: the state of a recorded environment."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.number = 0
        self.step = 0
        self.returns: dict[str, float] = {}
        """{agent: the sum of its rewards in this episode}."""
        self.is_seeded = False
        self._steps = 0
        self._loggers: dict[str, LearningLogger] = {}

    def seed_for(self, seed: int | None) -> int | None:
        """The seed for a reset: the given one, or a random one if the environment has none yet."""
        if seed is None and not self.is_seeded:
            return secrets.randbits(31)
        return seed

    @contextmanager
    def tick(self) -> Iterator[None]:
        """Begin a tick for the next step, unless the program sets ticks itself."""
        scope = current_scope.get()
        if scope is not None and scope.tick is not None:
            yield
            return
        with tick(self._steps):
            yield

    def began(self) -> None:
        """Count a reset."""
        self.number += 1
        self.step = 0
        self.returns = {}
        self.is_seeded = True

    def stepped(self, rewards: Mapping[str, Any], action: Any) -> None:
        """Count a step, and record its rewards by agent."""
        self.step += 1
        self._steps += 1
        for agent, amount in rewards.items():
            reward = float(amount)
            self.returns[agent] = self.returns.get(agent, 0.0) + reward
            logger = self._loggers.get(agent)
            if logger is None:
                logger = self._loggers[agent] = LearningLogger("environment", agent)
            logger.log_reward(action, reward, self.returns[agent])


class TracedModel(ExitStack):
    """The changes made by `trace_mesa`; `close()` or the end of a `with` block undoes them."""


def trace_mesa(model: type, *agents: type, methods: Iterable[str] = ("step",)) -> TracedModel:
    """Trace a class of Mesa models and classes of its agents.

    The model is the agent `model`; its agents are named after their class and number, such as wolf_17. Each
    step of the model is a tick with Mesa's own number, which begins with 1. Call it before the model is
    created.

    Args:
        model: a subclass of `mesa.Model`.
        agents: subclasses of `mesa.Agent`.
        methods: the methods of agents to trace; missing ones are ignored.

    Raises:
        ConfigurationError: the model has no `step`, or none of an agent's methods exists.
    """
    names = list(methods)
    traced = TracedModel()
    traced_model = Instrumented(model)
    step = model.step  # type: ignore[attr-defined]

    @functools.wraps(step)
    def step_in_tick(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.steps == 1:
            with tick(0):
                pass  # checkpoint policies count from the first tick that ends
        with tick(self.steps):
            return step(self, *args, **kwargs)

    traced.callback(instrument(model, ["step"], agent_id=lambda _: "model", agent_role="model").undo)
    for cls in agents:
        existing = [name for name in names if hasattr(cls, name)] or names
        kind = cls.__name__.lower()
        traced.callback(instrument(cls, existing, agent_id=_numbered(kind), agent_role=kind).undo)
    step = model.step  # type: ignore[attr-defined]
    traced_model.replace("step", step_in_tick)
    traced.callback(traced_model.undo)
    return traced


def _numbered(kind: str) -> Callable[[Any], str]:
    return lambda agent: f"{kind}_{agent.unique_id}"
