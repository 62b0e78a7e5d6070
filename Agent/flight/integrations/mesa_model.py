"""`trace_mesa`: a preset that traces a Mesa model, its agents and its steps without editing them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from Agent.record.emit.installed import tick
from Agent.record.tracing.instrument import Instrumented, instrument


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
