"""`recorded_graph(graph)`: a compiled LangGraph graph whose nodes are recorded as steps, with checkpoints.

The returned object is used like the graph. Its calls are runs or steps, its states are checkpoints, and
values are recorded in plain form. `replay/executors/langgraph.py` replays such a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from Agent.errors import UsageError
from Agent.flight.checkpoints.recording import checkpoint_store
from Agent.flight.integrations.driving import Stepped, optional_module
from Agent.flight.open_runs import OPEN_RUNS
from Agent.flight.run_recorder import RunBlock, StepBlock, recorder
from Agent.flight.tool_calls import note_trouble
from Agent.record.emit import installed

GRAPH_STEP: Final = "langgraph.graph"
NODE_STEP: Final = "langgraph.node"
INNER_GRAPH_STEP: Final = "langgraph.inner_graph"
INNER_NODE_STEP: Final = "langgraph.inner_node"
"""The inner types are for graphs called by a node of a recorded graph; they are replayed with the node."""
_INTERNAL_KEYS: Final = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")

open_call: ContextVar[GraphCall | None] = ContextVar("agent_trace_graph_call", default=None)
_open_node: ContextVar[str | None] = ContextVar("agent_trace_graph_node", default=None)


def node_step_id(name: str, config: Mapping[str, Any]) -> str:
    """The id of a node's step: super-step and name, and a number if the node has several tasks in it."""
    metadata = config.get("metadata") or {}
    path = metadata.get("langgraph_path") or ()
    turn = next((each for each in path[1:] if isinstance(each, int)), 0)
    return f"step_{metadata.get('langgraph_step', 0)}:{name}" + (f":{turn}" if turn else "")


class GraphCall:
    """A block for one call of a graph: a step of the open run, or of a new run if none is open.

    Args:
        graph: the recorded graph.
        input_value: its input.
        config: its configuration.
        context: the `runtime.context` of its nodes.
    """

    def __init__(self, graph: Any, input_value: Any, config: Any = None, context: Any = None) -> None:
        self.graph = graph
        self.graph_input = input_value
        self.is_streaming = False
        self.last_step = 0
        """The number of the last super-step in which a node began, counted from the call's first, 1."""
        self.output: dict[str, Any] = {}
        """The output of the call's step."""
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
        self.output |= {
            "input": recordable(self.graph_input),
            "output": None,
            "continued": False,
            **self._settings(),
        }
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
        """End a call whose reader stopped before the end of the stream."""
        open_call.reset(self._token)
        self.output["left"] = True
        self._step.__exit__(None, None, None)
        if self._run is not None:
            recorder.finish_run(status="partial", run_id=self._run_id)

    @property
    def is_inner(self) -> bool:
        """Whether a node of another recorded graph made the call."""
        return self._within is not None

    def ended(self, result: Any) -> None:
        """Set the result of the call in its output."""
        self.output["output"] = recordable(result)

    def _next_prefix(self) -> str:
        """The prefix that distinguishes the steps of several calls in one run; "" for the first call."""
        run = OPEN_RUNS.get(self._run_id or "")
        if run is None:
            return ""
        run.graph_calls += 1
        return "" if run.graph_calls == 1 else f"call_{run.graph_calls}."

    def _settings(self) -> dict[str, Any]:
        """The given values that nodes may read besides the state: configurable, context, recursion limit."""
        configurable = self._config.get("configurable") or {}
        user_settings = {
            key: each
            for key, each in configurable.items()
            if key not in _INTERNAL_KEYS and not key.startswith("__")
        }
        settings = {"configurable": recordable(user_settings)} if user_settings else {}
        if self._context is not None:
            settings["context"] = recordable(self._context)
        if "recursion_limit" in self._config:
            settings["recursion_limit"] = self._config["recursion_limit"]
        return settings

    # -- earlier calls of the thread

    def look_back(self) -> None:
        """Set `continued` in the output if the call continues a thread whose earlier calls it depends on.

        The run does not hold such a thread completely.
        """
        saver = self._saver()
        if saver is None:
            return
        with self._counting_exceptions():
            config = self._thread()
            self._judge(saver.get_tuple(config), lambda: self.graph.get_state(config).next)

    async def look_back_async(self) -> None:
        """Do the same for asynchronous savers."""
        saver = self._saver()
        if saver is None:
            return
        with self._counting_exceptions():
            config = self._thread()
            earlier = await saver.aget_tuple(config)
            waiting = () if earlier is None else (await self.graph.aget_state(config)).next
            self._judge(earlier, lambda: waiting)

    def _saver(self) -> Any:
        """The checkpointer to ask for earlier calls; None without one, or without a thread id.

        An input of None or a `Command` always continues a thread, so this sets `continued` and returns None.
        """
        saver = getattr(self.graph, "checkpointer", None)
        if not saver:
            return None
        if self.graph_input is None or type(self.graph_input).__name__ == "Command":
            self.output["continued"] = True
            return None
        return None if saver is True or "thread_id" not in self._thread()["configurable"] else saver

    def _thread(self) -> dict[str, Any]:
        bound = (getattr(self.graph, "config", None) or {}).get("configurable") or {}
        return {**self._config, "configurable": {**bound, **(self._config.get("configurable") or {})}}

    def _judge(self, earlier: Any, waiting: Callable[[], Any]) -> None:
        """Set `continued` unless the thread has ended and its visible state determines how it continues."""
        if earlier is None:
            return
        shown = {*self.graph.stream_channels_list, "__start__"}
        hidden = {key for key in earlier.checkpoint["channel_values"] if key not in shown}
        self.output["continued"] = bool(hidden or waiting())

    @contextmanager
    def _counting_exceptions(self) -> Iterator[None]:
        """Return a block that counts exceptions without raising them, and then sets `continued`."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a saver of the user's; recording never raises into the call
            self.output["continued"] = True
            note_trouble("looking for earlier calls of a graph", error)

    # -- while it runs

    def node(self, name: str, config: Mapping[str, Any]) -> tuple[str, str]:
        """The (id, type) of the current step of a node; super-steps are counted from the call's first, 1."""
        metadata = dict(config.get("metadata") or {})
        step = int(metadata.get("langgraph_step", 1))
        if self._before is None:
            self._before = step - 1
        metadata["langgraph_step"] = number = step - self._before
        self.last_step = max(self.last_step, number)
        kind = INNER_NODE_STEP if self.is_inner else NODE_STEP
        return self._prefix + node_step_id(name, {"metadata": metadata}), kind

    def keep_state(self, values: Any) -> None:
        """Save the state after a super-step: all its nodes have ended, and none of the next has begun."""
        self.last_state = values
        active = installed.active_pipeline()
        has_files = active is not None and active.artifacts is not None
        if self._run_id is not None and has_files and not self.is_inner:
            checkpoint_store.save_checkpoint(
                self._run_id, f"{self._prefix}step_{self.last_step}", recordable(values), reason=FRAMEWORK
            )


def recordable(value: Any) -> Any:
    """The value in plain form; if that fails, the value itself, which is then recorded like any other."""
    try:
        return plain_values(value)
    except Exception as error:  # noqa: BLE001 - values of the user's; recording never raises into the call
        note_trouble("a value in a graph", error)
        return value


@contextmanager
def node_step(name: str, input_value: Any, config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a block that is the step of a node; set `output` in the mapping that it yields.

    Exceptions by which a node signals to its graph, such as an interrupt, do not fail the step.
    """
    call = open_call.get()
    step_id, kind = (node_step_id(name, config), NODE_STEP) if call is None else call.node(name, config)
    bubbles = optional_module("langgraph.errors", FRAMEWORK).GraphBubbleUp
    failure: BaseException | None = None
    token = _open_node.set(step_id)
    try:
        with recorder.step(step_id, name, step_type=kind) as step:
            step.output = {"input": recordable(input_value), "output": None}
            try:
                yield step.output
            except bubbles as error:
                failure = error
                step.output["told"] = {type(error).__name__: recordable(list(error.args))}
    finally:
        _open_node.reset(token)
    if failure is not None:
        raise failure


FRAMEWORK: Final = "langgraph"
MESSAGE: Final = "langchain.message"
"""The key that marks a message in plain form."""
_CONTROL_FIELDS: Final = {
    "Command": ("graph", "update", "resume", "goto"),
    "Send": ("node", "arg"),
    "Interrupt": ("value", "id"),
    "Overwrite": ("value",),
}
"""{class of `langgraph.types` by which nodes control their graph: its attributes}."""
_PLAIN = (str, int, float, bool, bytes, type(None))


def plain_values(value: Any) -> Any:
    """Convert messages and LangGraph objects in a value to plain form; shared objects stay shared."""
    return _plain(value, {})


def _plain(value: Any, seen: dict[int, tuple[Any, Any]]) -> Any:
    """The plain form of one value; `seen` is {id: (value, plain form)} of the containers seen so far."""
    if isinstance(value, _PLAIN):
        return value
    if id(value) in seen:
        return seen[id(value)][1]
    seen[id(value)] = value, value  # ends the recursion for a value that contains itself
    form = _form(value, seen)
    seen[id(value)] = value, form
    return form


def _form(value: Any, seen: dict[int, tuple[Any, Any]]) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each, seen) for key, each in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(_plain(each, seen) for each in value)
    messages = optional_module("langchain_core.messages", "langchain-core")
    if isinstance(value, messages.BaseMessage):
        return {MESSAGE: messages.message_to_dict(value)}
    name = type(value).__name__
    if name in _CONTROL_FIELDS and type(value) is getattr(
        optional_module("langgraph.types", FRAMEWORK), name, None
    ):
        return {
            f"{FRAMEWORK}.{name}": {
                each: _plain(getattr(value, each), seen) for each in _CONTROL_FIELDS[name]
            }
        }
    return value


def restored_values(value: Any) -> Any:
    """Restore messages and LangGraph objects from the plain form."""
    if isinstance(value, dict):
        marked = _marked(value)
        if marked is None:
            return {key: restored_values(each) for key, each in value.items()}
        name, body = marked
        if name == MESSAGE:
            return optional_module("langchain_core.messages", "langchain-core").messages_from_dict([body])[0]
        cls = getattr(optional_module("langgraph.types", FRAMEWORK), name)
        return cls(**{each: restored_values(part) for each, part in body.items()})
    if type(value) in {list, tuple}:
        return type(value)(restored_values(each) for each in value)
    return value


def generated_ids(value: Any) -> Iterator[str]:
    """Yield the ids of messages and interrupts in plain values; LangGraph generates these at random."""
    pending, seen = [value], set[int]()
    while pending:
        node = pending.pop()
        if not isinstance(node, (dict, list, tuple)) or id(node) in seen:
            continue
        seen.add(id(node))
        marked = _marked(node) if isinstance(node, dict) else None
        if marked is not None:
            name, body = marked
            identity = (body.get("data") or {}).get("id") if name == MESSAGE else body.get("id")
            if isinstance(identity, str):
                yield identity
        pending += node.values() if isinstance(node, dict) else node


def _marked(value: dict[Any, Any]) -> tuple[str, dict[str, Any]] | None:
    """The (name, body) of a plain form; None for any other mapping."""
    if len(value) != 1:
        return None
    ((key, body),) = value.items()
    if not isinstance(key, str) or not isinstance(body, dict):
        return None
    name = key if key == MESSAGE else key.removeprefix(f"{FRAMEWORK}.")
    return (name, body) if name == MESSAGE or (name != key and name in _CONTROL_FIELDS) else None


_INTERRUPT = "__interrupt__"


class Chunks:
    """Requests a stream that contains every state, and reduces its chunks to those that the caller wants.

    Args:
        call: saves the states.
        more: the arguments of `stream` after its configuration.
        is_own: whether the graph's own `invoke` reads the stream.
    """

    def __init__(self, call: GraphCall, more: dict[str, Any], *, is_own: bool) -> None:
        self._call = call
        graph = call.graph
        mode = more.get("stream_mode")
        if mode is None:
            mode = graph.stream_mode
        self._modes = [mode] if isinstance(mode, str) else list(mode)
        self._is_single = not isinstance(mode, list)
        self._is_typed = more.get("version") == "v2"
        self._keys: Any = None
        self.stream_arguments = {**more, "stream_mode": [*dict.fromkeys([*self._modes, "values"])]}
        keys = more.get("output_keys")
        if keys is not None and keys != graph.stream_channels_asis:
            if is_own and not self._is_typed:  # `invoke` uses only the last state, which `_requested` reduces
                self._keys = keys
                self.stream_arguments["output_keys"] = None
            else:
                call.output["partial"] = True

    def take(self, chunk: Any) -> tuple[Any, ...]:
        """Save the state in a chunk; return a tuple with the chunk for the caller, or () if not requested."""
        if self._is_typed:
            if chunk["type"] == "values" and not chunk.get("ns"):
                self._call.keep_state(self._as_fields(chunk))
            return (chunk,) if chunk["type"] in self._modes else ()
        *namespace, mode, payload = chunk
        if mode == "values" and not (namespace and namespace[0]):
            self._call.keep_state(payload)
            payload = self._requested(payload)
        if mode not in self._modes:
            return ()
        prefix = (*namespace,) if self._is_single else (*namespace, mode)
        return ((*prefix, payload),) if prefix else (payload,)

    def _requested(self, payload: Any) -> Any:
        """The part of a complete state that the caller asked for."""
        keys = self._keys
        if keys is None or not isinstance(payload, dict):
            return payload
        if isinstance(keys, str):
            return payload.get(keys)
        return {key: payload[key] for key in (*keys, _INTERRUPT) if key in payload}

    def _as_fields(self, chunk: dict[str, Any]) -> Any:
        """{channel: value} of a state that may be an object of the graph's schema."""
        data = chunk["data"]
        channels = self._call.graph.stream_channels_asis
        if not isinstance(data, dict) and not isinstance(channels, str):
            data = {key: getattr(data, key) for key in channels if hasattr(data, key)}
        if chunk.get("interrupts") and isinstance(data, dict):
            data = {**data, _INTERRUPT: tuple(chunk["interrupts"])}
        return data


@contextmanager
def _streaming(call: GraphCall) -> Iterator[Context]:
    """Return a block for a streamed call, which yields the context in which its parts must run.

    A generator runs in the context of its reader, so the call's context variables need one of their own.
    """
    within = copy_context()
    within.run(call.__enter__)
    try:
        yield within
    except GeneratorExit:
        within.run(call.leave)
        raise
    except BaseException as error:
        within.run(call.__exit__, type(error), error, error.__traceback__)
        raise
    within.run(call.ended, call.last_state)
    within.run(call.__exit__, None, None, None)


def streamed(
    call: GraphCall, chunks_of: Callable[..., Iterator[Any]], more: dict[str, Any]
) -> Generator[Any, None, None]:
    """Yield the chunks of a streamed call, and record it."""
    with _streaming(call) as within:
        within.run(call.look_back)
        view = Chunks(call, more, is_own=False)
        source: Any = within.run(partial(chunks_of, **view.stream_arguments))
        while True:
            try:
                chunk = within.run(next, source)
            except StopIteration:
                break
            for each in within.run(view.take, chunk):
                try:
                    yield each
                except GeneratorExit:
                    within.run(source.close)
                    raise
                except Exception as error:
                    within.run(source.throw, error)  # as if the reader had the unrecorded stream
                    raise


async def astreamed(
    call: GraphCall, chunks_of: Callable[..., AsyncIterator[Any]], more: dict[str, Any]
) -> AsyncIterator[Any]:
    """Do the same for an asynchronous stream."""
    with _streaming(call) as within:
        await Stepped(call.look_back_async(), within.run)
        view = Chunks(call, more, is_own=False)
        source: Any = within.run(partial(chunks_of, **view.stream_arguments))
        while True:
            try:
                chunk = await Stepped(source.__anext__(), within.run)
            except StopAsyncIteration:
                break
            for each in within.run(view.take, chunk):
                try:
                    yield each
                except GeneratorExit:
                    await Stepped(source.aclose(), within.run)
                    raise
                except (Exception, asyncio.CancelledError) as error:
                    await Stepped(source.athrow(error), within.run)
                    raise


_ORIGINAL = "agent_trace_plain_graph"


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
    if hasattr(graph, _ORIGINAL):
        return graph
    nodes = {
        name: node if name == "__start__" else node.copy({"bound": _recording_node(name, node.bound)})
        for name, node in graph.nodes.items()
    }
    # Like `Pregel.copy`, but with a subclass as the class of the copy.
    attributes = {name: value for name, value in vars(graph).items() if name != "__orig_class__"}
    copy = type(type(graph).__name__, (_RecordedGraph, type(graph)), {})(**{**attributes, "nodes": nodes})
    setattr(copy, _ORIGINAL, graph)
    copy.agent_trace_agent = agent or graph.get_name()
    return copy


def plain_graph(graph: Any) -> Any:
    """The graph from which a recorded graph was made; any other graph is returned as is."""
    return getattr(graph, _ORIGINAL, graph)


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
