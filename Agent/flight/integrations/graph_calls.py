"""One call of a recorded graph while it runs: its run or step, the steps of its nodes, the states between.

`recorded_graphs.py` opens it, `graph_streams.py` reads its chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Self

from Agent.flight.checkpoints.recording import checkpoint_store
from Agent.flight.integrations.driving import interface
from Agent.flight.integrations.graph_values import FRAMEWORK, plain_values
from Agent.flight.open_runs.context import OPEN_RUNS
from Agent.flight.runs.recorder import RunBlock, StepBlock, recorder
from Agent.record.emit import installed

__all__ = [
    "GRAPH_STEP",
    "INNER_GRAPH_STEP",
    "INNER_NODE_STEP",
    "NODE_STEP",
    "GraphCall",
    "kept",
    "node_step",
    "node_step_id",
    "open_call",
]

GRAPH_STEP: Final = "langgraph.graph"
NODE_STEP: Final = "langgraph.node"
INNER_GRAPH_STEP: Final = "langgraph.inner_graph"
INNER_NODE_STEP: Final = "langgraph.inner_node"
"""Of graphs that nodes of a recorded graph call: they are replayed with the node."""
_OWN_KEYS: Final = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")

open_call: ContextVar[GraphCall | None] = ContextVar("agent_trace_graph_call", default=None)
_open_node: ContextVar[str | None] = ContextVar("agent_trace_graph_node", default=None)


def node_step_id(name: str, config: Mapping[str, Any]) -> str:
    """The id of a node's step: its super-step and name; tasks of one node in one super-step are numbered."""
    metadata = config.get("metadata") or {}
    path = metadata.get("langgraph_path") or ()
    turn = next((each for each in path[1:] if isinstance(each, int)), 0)
    return f"step_{metadata.get('langgraph_step', 0)}:{name}" + (f":{turn}" if turn else "")


class GraphCall:
    """A call of a graph, as a block: a run of its own where none is open, and a step of it.

    Args:
        graph: the recorded graph.
        given: its input.
        config: its configuration.
        context: what the nodes find as `runtime.context`.
    """

    def __init__(self, graph: Any, given: Any, config: Any = None, context: Any = None) -> None:
        self.graph = graph
        self.given = given
        self.is_streaming = False
        self.last_step = 0
        """The super-step in which a node began last, as the call counts them."""
        self.output: dict[str, Any] = {}
        """What is kept of the call, in its step."""
        self._config = config or {}
        self._context = context
        self.last_state: Any = None
        self._run: RunBlock | None = None
        self._before: int | None = None
        self._within = _open_node.get()
        self._prefix = ""
        self._run_id: str | None = None

    def __enter__(self) -> Self:
        if recorder.current_run_id is None:
            labels = {"framework": FRAMEWORK, "graph": self.graph.get_name()}
            self._run = recorder.run(self.graph.agent_trace_agent, labels).__enter__()
        self._run_id = recorder.current_run_id
        self._prefix = f"{self._within}/" if self.is_inner else self._next_prefix()
        kind = INNER_GRAPH_STEP if self.is_inner else GRAPH_STEP
        self._step: StepBlock = recorder.step(f"{self._prefix}graph", self.graph.get_name(), step_type=kind)
        self._step.__enter__()
        self._step.output = self.output
        self.output |= {"input": kept(self.given), "output": None, "continued": False, **self._settings()}
        self._token = open_call.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        open_call.reset(self._token)
        self._step.__exit__(kind, error, trace)
        if self._run is not None:
            self._run.__exit__(kind, error, trace)

    def leave(self) -> None:
        """End it where nobody wants the rest."""
        open_call.reset(self._token)
        self.output["left"] = True
        self._step.__exit__(None, None, None)
        if self._run is not None:
            recorder.finish_run(status="partial", run_id=self._run_id)

    @property
    def is_inner(self) -> bool:
        """Whether a node of another recorded graph called it."""
        return self._within is not None

    def ended(self, found: Any) -> None:
        """Keep what it gave."""
        self.output["output"] = kept(found)

    def _next_prefix(self) -> str:
        """What tells the steps of several calls in one run apart."""
        run = OPEN_RUNS.get(self._run_id or "")
        if run is None:
            return ""
        run.graph_calls += 1
        return "" if run.graph_calls == 1 else f"call_{run.graph_calls}."

    def _settings(self) -> dict[str, Any]:
        """What nodes may read beside the state, as far as it was given."""
        given = self._config.get("configurable") or {}
        own = {key: each for key, each in given.items() if key not in _OWN_KEYS and not key.startswith("__")}
        found = {"configurable": kept(own)} if own else {}
        if self._context is not None:
            found["context"] = kept(self._context)
        if "recursion_limit" in self._config:
            found["recursion_limit"] = self._config["recursion_limit"]
        return found

    # -- what came before it

    def look_back(self) -> None:
        """Find out whether it goes on with a thread of earlier calls, which no run holds whole."""
        saver = self._saver()
        if saver is None:
            return
        with self._noting_trouble():
            config = self._thread()
            self._judge(saver.get_tuple(config), lambda: self.graph.get_state(config).next)

    async def look_back_async(self) -> None:
        """The same of savers that have to be awaited."""
        saver = self._saver()
        if saver is None:
            return
        with self._noting_trouble():
            config = self._thread()
            earlier = await saver.aget_tuple(config)
            waiting = () if earlier is None else (await self.graph.aget_state(config)).next
            self._judge(earlier, lambda: waiting)

    def _saver(self) -> Any:
        saver = getattr(self.graph, "checkpointer", None)
        if not saver:
            return None
        if self.given is None or type(self.given).__name__ == "Command":
            self.output["continued"] = True
            return None
        return None if saver is True or "thread_id" not in self._thread()["configurable"] else saver

    def _thread(self) -> dict[str, Any]:
        own = (getattr(self.graph, "config", None) or {}).get("configurable") or {}
        return {**self._config, "configurable": {**own, **(self._config.get("configurable") or {})}}

    def _judge(self, earlier: Any, waiting: Callable[[], Any]) -> None:
        """A thread that came to its end and has no hidden values goes on as its state says."""
        if earlier is None:
            return
        shown = {*self.graph.stream_channels_list, "__start__"}
        hidden = {key for key in earlier.checkpoint["channel_values"] if key not in shown}
        self.output["continued"] = bool(hidden or waiting())

    @contextmanager
    def _noting_trouble(self) -> Iterator[None]:
        """Looking costs the caller nothing; where it fails, the thread counts as one that goes on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a saver of the user's; recording never raises into the call
            self.output["continued"] = True
            active = installed.active_pipeline()
            if active is not None:
                active.health.trouble("looking for earlier calls of a graph", error)

    # -- while it runs

    def node(self, name: str, config: Mapping[str, Any]) -> tuple[str, str]:
        """Id and type of the step that a node takes now; super-steps count from the call's first, 1."""
        metadata = dict(config.get("metadata") or {})
        step = int(metadata.get("langgraph_step", 1))
        if self._before is None:
            self._before = step - 1
        metadata["langgraph_step"] = number = step - self._before
        self.last_step = max(self.last_step, number)
        kind = INNER_NODE_STEP if self.is_inner else NODE_STEP
        return self._prefix + node_step_id(name, {"metadata": metadata}), kind

    def keep_state(self, values: Any) -> None:
        """Keep the state behind a super-step: all of its nodes ended, and none of the next has begun."""
        self.last_state = values
        active = installed.active_pipeline()
        has_files = active is not None and active.artifacts is not None
        if self._run_id is not None and has_files and not self.is_inner:
            checkpoint_store.save_checkpoint(
                self._run_id, f"{self._prefix}step_{self.last_step}", kept(values), reason=FRAMEWORK
            )


def kept(value: Any) -> Any:
    """Plain values of it; the value itself where it has none, which is then recorded as anything else is."""
    try:
        return plain_values(value)
    except Exception as error:  # noqa: BLE001 - values of the user's; recording never raises into the call
        active = installed.active_pipeline()
        if active is not None:
            active.health.trouble("a value in a graph", error)
        return value


@contextmanager
def node_step(name: str, given: Any, config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The step of a node; in what it gives, `output` is to be set.

    What a node raises to tell its graph something, an interrupt for one, is no error of it.
    """
    call = open_call.get()
    step_id, kind = (node_step_id(name, config), NODE_STEP) if call is None else call.node(name, config)
    bubbles = interface("langgraph.errors", FRAMEWORK).GraphBubbleUp
    told: BaseException | None = None
    token = _open_node.set(step_id)
    try:
        with recorder.step(step_id, name, step_type=kind) as step:
            step.output = {"input": kept(given), "output": None}
            try:
                yield step.output
            except bubbles as error:
                told = error
                step.output["told"] = {type(error).__name__: kept(list(error.args))}
    finally:
        _open_node.reset(token)
    if told is not None:
        raise told
