"""`recorded_graph(graph)`: a compiled LangGraph graph whose nodes are recorded as steps, with checkpoints.

The returned object is used like the graph itself. `integrations/langgraph.py` records one call of it and its
stream, and `replay/executors/langgraph.py` replays such a run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

from Agent.errors import UsageError
from Agent.flight.integrations.driving import optional_module
from Agent.flight.integrations.langgraph import (
    FRAMEWORK,
    Chunks,
    GraphCall,
    astreamed,
    node_step,
    open_call,
    recordable,
    streamed,
)

_PLAIN = "agent_trace_plain_graph"


def recorded_graph(graph: Any, agent: str | None = None) -> Any:
    """Return a copy of a graph that records its calls; a graph that is already recorded is returned as is.

    A call of it (`invoke`, `ainvoke`, `stream`, `astream`) is a step of the open run; if no run is open, it
    begins one with the label `framework`. The state after each super-step is saved as a checkpoint. If a node
    of another recorded graph calls it, the call is part of that node and saves steps, but no checkpoints.

    Args:
        graph: a compiled graph.
        agent: the agent of the run; default: the graph's name.

    Raises:
        MissingExtra: LangGraph is not installed.
        UsageError: `graph` is not a compiled graph.
    """
    pregel = optional_module("langgraph.pregel", FRAMEWORK)
    if not isinstance(graph, pregel.Pregel):
        raise UsageError(
            f"a {type(graph).__name__} is not a compiled graph", remedy="give what graph.compile() returns"
        )
    if hasattr(graph, _PLAIN):
        return graph
    nodes = {
        name: node if name == "__start__" else node.copy({"bound": _recording_node(name, node.bound)})
        for name, node in graph.nodes.items()
    }
    # Like `Pregel.copy`, but with a subclass as the class of the copy.
    attributes = {name: value for name, value in vars(graph).items() if name != "__orig_class__"}
    copy = type(type(graph).__name__, (_RecordedGraph, type(graph)), {})(**{**attributes, "nodes": nodes})
    setattr(copy, _PLAIN, graph)
    copy.agent_trace_agent = agent or graph.get_name()
    return copy


def plain_graph(graph: Any) -> Any:
    """The graph from which a recorded graph was made; any other graph is returned as is."""
    return getattr(graph, _PLAIN, graph)


class _RecordedGraph:
    """The methods of a recorded graph that override those of the graph's class."""

    def invoke(self, input: Any, config: Any = None, **more: Any) -> Any:  # noqa: A002 - LangGraph's name
        """Call the graph's own `invoke` as a step of a run."""
        with GraphCall(self, input, config, more.get("context")) as call:
            call.look_back()
            result = super().invoke(input, config, **more)  # type: ignore[misc]
            call.ended(result)
        return result

    async def ainvoke(self, input: Any, config: Any = None, **more: Any) -> Any:  # noqa: A002
        """Call the graph's own `ainvoke` as a step of a run."""
        with GraphCall(self, input, config, more.get("context")) as call:
            await call.look_back_async()
            result = await super().ainvoke(input, config, **more)  # type: ignore[misc]
            call.ended(result)
        return result

    def stream(self, input: Any, config: Any = None, **more: Any) -> Iterator[Any]:  # noqa: A002
        """Call the graph's own `stream`, with a checkpoint after each super-step; `invoke` uses it, too."""
        inherited = partial(super().stream, input, config)  # type: ignore[misc]
        view = _view_for_invoke(self, more)
        if view is not None:
            return _tapped(inherited(**view.stream_arguments), view)
        return streamed(_streaming_call(self, input, config, more), inherited, more)

    def astream(self, input: Any, config: Any = None, **more: Any) -> AsyncIterator[Any]:  # noqa: A002
        """Call the graph's own `astream`, recorded like `stream`."""
        inherited = partial(super().astream, input, config)  # type: ignore[misc]
        view = _view_for_invoke(self, more)
        if view is not None:
            return _atapped(inherited(**view.stream_arguments), view)
        return astreamed(_streaming_call(self, input, config, more), inherited, more)


def _streaming_call(graph: Any, input_value: Any, config: Any, more: dict[str, Any]) -> GraphCall:
    call = GraphCall(graph, input_value, config, more.get("context"))
    call.is_streaming = True
    return call


def _view_for_invoke(graph: Any, more: dict[str, Any]) -> Chunks | None:
    """The observer of the chunks if an already recorded `invoke` reads the stream; None for a user's call."""
    call = open_call.get()
    if call is None or call.graph is not graph or call.is_streaming:
        return None
    call.is_streaming = True
    return Chunks(call, more, is_own=True)


def _tapped(chunks: Iterator[Any], view: Chunks) -> Iterator[Any]:
    for chunk in chunks:
        yield from view.take(chunk)


async def _atapped(chunks: AsyncIterator[Any], view: Chunks) -> AsyncIterator[Any]:
    async for chunk in chunks:
        for each in view.take(chunk):
            yield each


def _recording_node(name: str, bound: Any) -> Any:
    """Wrap a node so that each of its calls is recorded as a step."""
    runnables = optional_module("langchain_core.runnables", "langchain-core")

    class RecordedNode(runnables.Runnable):  # type: ignore[misc, name-defined]
        """Calls the node and returns its result."""

        def invoke(self, input: Any, config: Any = None, **more: Any) -> Any:  # noqa: A002
            with node_step(name, input, config or {}) as step:
                result = bound.invoke(input, config, **more)
                step["output"] = recordable(result)
            return result

        async def ainvoke(self, input: Any, config: Any = None, **more: Any) -> Any:  # noqa: A002
            with node_step(name, input, config or {}) as step:
                result = await bound.ainvoke(input, config, **more)
                step["output"] = recordable(result)
            return result

    return RecordedNode()
