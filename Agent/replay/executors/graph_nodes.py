"""The nodes of a LangGraph graph in a replay: answered with recorded responses, or run under watch."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from Agent.errors import RecordingMiss
from Agent.flight.integrations.driving import interface
from Agent.flight.integrations.graph_calls import node_step_id
from Agent.flight.integrations.graph_values import FRAMEWORK, restored_values
from Agent.replay.executors.done_steps import DoneStep
from Agent.replay.executors.watched import ExecutorWatch, watched


class ExecutedNodes:
    """Which nodes ran and which were answered.

    Args:
        steps: the recorded steps of the run by id.
        answered_until: the last super-step whose nodes answer from the recording.
        recorded: names of nodes that do so to the end.
        watch: of those that run.
    """

    def __init__(
        self,
        steps: Mapping[str, DoneStep],
        answered_until: int,
        recorded: Collection[str],
        watch: ExecutorWatch,
    ) -> None:
        self.steps = steps
        self.answered_until = answered_until
        self.recorded = recorded
        self.watch = watch
        self.ran: dict[str, None] = {}
        self.answered: dict[str, None] = {}
        self.last_step = 0
        self.last_node = "input"
        self._offset: int | None = None

    def place(self, name: str, config: Mapping[str, Any]) -> tuple[str, int]:
        """The id of the step that a node takes now, as the record counts super-steps, and that count."""
        step = int((config.get("metadata") or {}).get("langgraph_step", 1))
        if self._offset is None:
            self._offset = 1 - step
        number = step + self._offset
        self.last_step, self.last_node = number, name
        metadata = {**(config.get("metadata") or {}), "langgraph_step": number}
        return node_step_id(name, {"metadata": metadata}), number

    def nodes_of(self, number: int) -> list[str]:
        """The recorded nodes of a super-step."""
        return _of(number, self.steps)

    def nodes_now(self, number: int) -> list[str]:
        """The nodes of a super-step of the replay."""
        return _of(number, {**self.answered, **self.ran})

    def is_answered(self, name: str, number: int) -> bool:
        """Whether the record answers for a node there."""
        return number <= self.answered_until or name in self.recorded

    def answer(self, step_id: str) -> Any:
        """The recorded response; RecordingMiss if there is none."""
        step = self.steps.get(step_id)
        told = None if step is None else _told(step.kept.get("told"))
        if step is None or (step.error is not None and told is None):
            raise RecordingMiss(f"the graph goes to {step_id}, for which the recording has no response")
        self.answered[step_id] = None
        if told is not None:
            raise told
        return restored_values(step.output)


def _of(number: int, step_ids: Iterable[str]) -> list[str]:
    begin = f"step_{number}:"
    return [step_id.removeprefix(begin) for step_id in step_ids if step_id.startswith(begin)]


def _told(recorded: Any) -> Exception | None:
    """What a node raised to tell its graph something, an interrupt or a command to the graph around it."""
    for name, args in (recorded or {}).items():
        cls = getattr(interface("langgraph.errors", FRAMEWORK), name, None)
        if isinstance(cls, type) and issubclass(cls, Exception):
            made: Exception = cls(*restored_values(args))
            return made
    return None


def is_async_alone(bound: Any) -> bool:
    """Whether a node has no other form than a coroutine."""
    return getattr(bound, "func", bound) is None and getattr(bound, "afunc", None) is not None


def driven_node(name: str, node: Any, nodes: ExecutedNodes) -> Any:
    """A copy of a node that asks `nodes` whether it runs."""
    runnables = interface("langchain_core.runnables", "langchain-core")
    bound = node.bound
    has_sync_alone = getattr(bound, "afunc", bound) is None and getattr(bound, "func", None) is not None

    class DrivenNode(runnables.Runnable):  # type: ignore[misc, name-defined]
        """Runs the node or gives its recorded response."""

        def invoke(self, input: Any, config: Any = None, **more: Any) -> Any:  # noqa: A002
            step_id, number = nodes.place(name, config or {})
            if nodes.is_answered(name, number):
                return nodes.answer(step_id)
            nodes.ran[step_id] = None
            with nodes.watch.noticing(number):
                return bound.invoke(input, config, **more)

        async def ainvoke(self, input: Any, config: Any = None, **more: Any) -> Any:  # noqa: A002
            if has_sync_alone:
                return await asyncio.to_thread(self.invoke, input, config, **more)
            step_id, number = nodes.place(name, config or {})
            if nodes.is_answered(name, number):
                return nodes.answer(step_id)
            nodes.ran[step_id] = None
            return await watched(bound.ainvoke(input, config, **more), nodes.watch, number)

    return node.copy({"bound": DrivenNode()})
