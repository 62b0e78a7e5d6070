"""`recorded_graph(graph)`: a compiled LangGraph graph whose nodes are steps, with checkpoints behind them.

What it gives is used like the graph itself. `replay/executors/langgraph.py` drives such a run again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Self

from Agent.errors import UsageError
from Agent.flight.checkpoint_recording import checkpoint_store
from Agent.flight.recorded_models.driving import interface
from Agent.flight.run_blocks import StepBlock
from Agent.flight.run_recorder import recorder

__all__ = [
    "GRAPH_STEP",
    "NODE_STEP",
    "node_step_id",
    "plain_graph",
    "plain_values",
    "recorded_graph",
    "restored_values",
]

GRAPH_STEP: Final = "langgraph.graph"
NODE_STEP: Final = "langgraph.node"
FRAMEWORK: Final = "langgraph"
MESSAGE: Final = "langchain.message"
"""The key of a message among recorded values."""
_PLAIN = "agent_trace_plain_graph"

_open_call: ContextVar[_GraphCall | None] = ContextVar("agent_trace_graph_call", default=None)


def recorded_graph(graph: Any, agent: str | None = None) -> Any:
    """The graph as a recorded one.

    `invoke` and `ainvoke` are a run of their own, with the label `framework`, where none is open, and a step
    of it otherwise; the state behind each super-step is a checkpoint. Where it is streamed, its nodes are
    steps, without checkpoints.

    Args:
        graph: a compiled graph.
        agent: whose run it is; the graph's name without it.

    Raises:
        MissingExtra: LangGraph is not installed.
        UsageError: it is no compiled graph.
    """
    pregel = interface("langgraph.pregel", FRAMEWORK)
    if not isinstance(graph, pregel.Pregel):
        raise UsageError(
            f"a {type(graph).__name__} is no compiled graph", remedy="give what graph.compile() returns"
        )
    if hasattr(graph, _PLAIN):
        return graph
    nodes = {
        name: node if name == "__start__" else node.copy({"bound": _recording_node(name, node.bound)})
        for name, node in graph.nodes.items()
    }
    # As its own copy() makes one, of another class.
    known = {name: value for name, value in vars(graph).items() if name != "__orig_class__"}
    copy = type(type(graph).__name__, (_RecordedGraph, type(graph)), {})(**{**known, "nodes": nodes})
    setattr(copy, _PLAIN, graph)
    copy.agent_trace_agent = agent or graph.get_name()
    return copy


def plain_graph(graph: Any) -> Any:
    """The graph that a recorded one was made from; any other is itself."""
    return getattr(graph, _PLAIN, graph)


def node_step_id(name: str, config: Mapping[str, Any]) -> str:
    """The id of a node's step: its super-step and name; tasks of one node in one super-step are numbered."""
    metadata = config.get("metadata") or {}
    path = metadata.get("langgraph_path") or ()
    turn = next((each for each in path[1:] if isinstance(each, int)), 0)
    return f"step_{metadata.get('langgraph_step', 0)}:{name}" + (f":{turn}" if turn else "")


def plain_values(value: Any) -> Any:
    """The values of a graph with its messages in their own plain form, which needs no class to be read."""
    if isinstance(value, dict):
        return {key: plain_values(each) for key, each in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(plain_values(each) for each in value)
    messages = interface("langchain_core.messages", "langchain-core")
    if isinstance(value, messages.BaseMessage):
        return {MESSAGE: messages.message_to_dict(value)}
    return value


def restored_values(value: Any) -> Any:
    """The values of a graph back from that."""
    if isinstance(value, dict):
        if value.keys() == {MESSAGE}:
            messages = interface("langchain_core.messages", "langchain-core")
            return messages.messages_from_dict([value[MESSAGE]])[0]
        return {key: restored_values(each) for key, each in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(restored_values(each) for each in value)
    return value


class _RecordedGraph:
    """What a recorded graph does beside the graph's own."""

    def invoke(self, input: Any, config: Any = None, **more: Any) -> Any:  # noqa: A002 - LangGraph's name
        """The graph's own `invoke`, as a step of a run."""
        with _GraphCall(self, input, config) as call:
            found = super().invoke(input, config, **more)  # type: ignore[misc]
            call.step.output["output"] = plain_values(found)
        return found

    async def ainvoke(self, input: Any, config: Any = None, **more: Any) -> Any:  # noqa: A002
        """The graph's own `ainvoke`, as a step of a run."""
        with _GraphCall(self, input, config) as call:
            found = await super().ainvoke(input, config, **more)  # type: ignore[misc]
            call.step.output["output"] = plain_values(found)
        return found

    def stream(self, *given: Any, **more: Any) -> Iterator[Any]:
        """The graph's own `stream`; within `invoke`, which uses it, each super-step leaves a checkpoint."""
        call = _open_call.get()
        chunks = super().stream(*given, **more)  # type: ignore[misc]
        return chunks if call is None or call.graph is not self else call.tapped(chunks)

    def astream(self, *given: Any, **more: Any) -> AsyncIterator[Any]:
        """The graph's own `astream`, likewise."""
        call = _open_call.get()
        chunks = super().astream(*given, **more)  # type: ignore[misc]
        return chunks if call is None or call.graph is not self else call.atapped(chunks)


class _GraphCall:
    """One call of a graph while it runs."""

    def __init__(self, graph: Any, given: Any, config: Any) -> None:
        self.graph = graph
        self.given = given
        self.step: StepBlock = recorder.step("graph", graph.get_name(), step_type=GRAPH_STEP)
        self._config = config
        self._around = ExitStack()
        self._count = 0

    def __enter__(self) -> Self:
        if recorder.current_run_id is None:
            labels = {"framework": FRAMEWORK, "graph": self.graph.get_name()}
            self._around.enter_context(recorder.run(self.graph.agent_trace_agent, labels))
        self._around.enter_context(self.step)
        self.step.output = {
            "input": plain_values(self.given),
            "output": None,
            "continued": self._is_continued(),
        }
        self._token = _open_call.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _open_call.reset(self._token)
        self._around.__exit__(kind, error, trace)

    def _is_continued(self) -> bool:
        """Whether it goes on with a thread of earlier calls, which no run holds whole."""
        if not getattr(self.graph, "checkpointer", None):
            return False
        if self.given is None or type(self.given).__name__ == "Command":
            return True
        thread = ((self._config or {}).get("configurable") or {}).get("thread_id")
        saver = self.graph.checkpointer
        return thread is not None and saver is not True and saver.get_tuple(self._config) is not None

    def _take(self, chunk: Any) -> None:
        """Keep the state behind a super-step."""
        values = None
        if isinstance(chunk, tuple) and len(chunk) == 2 and chunk[0] == "values":
            values = chunk[1]
        elif isinstance(chunk, dict) and chunk.get("type") == "values" and "data" in chunk:
            values = chunk["data"]
        run_id = recorder.current_run_id
        if values is not None and run_id is not None:
            checkpoint_store.save_checkpoint(
                run_id, f"step_{self._count}", plain_values(values), reason=FRAMEWORK
            )
            self._count += 1

    def tapped(self, chunks: Iterator[Any]) -> Iterator[Any]:
        """The chunks as they come, each looked at for a state."""
        for chunk in chunks:
            self._take(chunk)
            yield chunk

    async def atapped(self, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The same of an asynchronous stream."""
        async for chunk in chunks:
            self._take(chunk)
            yield chunk


def _recording_node(name: str, bound: Any) -> Any:
    """A node that is recorded as a step."""
    runnables = interface("langchain_core.runnables", "langchain-core")

    class RecordedNode(runnables.Runnable):  # type: ignore[misc, name-defined]
        """Gives what the node gives."""

        def invoke(self, input: Any, config: Any = None, **more: Any) -> Any:  # noqa: A002
            with recorder.step(node_step_id(name, config or {}), name, step_type=NODE_STEP) as step:
                step.output = {"input": plain_values(input), "output": None}
                found = bound.invoke(input, config, **more)
                step.output["output"] = plain_values(found)
            return found

        async def ainvoke(self, input: Any, config: Any = None, **more: Any) -> Any:  # noqa: A002
            with recorder.step(node_step_id(name, config or {}), name, step_type=NODE_STEP) as step:
                step.output = {"input": plain_values(input), "output": None}
                found = await bound.ainvoke(input, config, **more)
                step.output["output"] = plain_values(found)
            return found

    return RecordedNode()
