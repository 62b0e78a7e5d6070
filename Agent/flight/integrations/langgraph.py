"""Graphs of LangGraph: their calls as runs, their states as checkpoints, their values as plain data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from Agent.flight.checkpoints.recording import checkpoint_store
from Agent.flight.integrations.driving import interface
from Agent.flight.open_runs import OPEN_RUNS
from Agent.flight.run_recorder import RunBlock, StepBlock, recorder
from Agent.record.emit import installed

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


FRAMEWORK: Final = "langgraph"
MESSAGE: Final = "langchain.message"
"""The key of a message among recorded values."""
_SAID: Final = {
    "Command": ("graph", "update", "resume", "goto"),
    "Send": ("node", "arg"),
    "Interrupt": ("value", "id"),
    "Overwrite": ("value",),
}
"""What nodes say to their graph, by class of `langgraph.types`, and the attributes of each."""
_PLAIN = (str, int, float, bool, bytes, type(None))


def plain_values(value: Any) -> Any:
    """The values of a graph with all that is LangGraph's own in a plain form; shared values stay shared."""
    return _plain(value, {})


def _plain(value: Any, made: dict[int, tuple[Any, Any]]) -> Any:
    """The plain form of one value; `made` has those that were met, with their forms."""
    if isinstance(value, _PLAIN):
        return value
    if id(value) in made:
        return made[id(value)][1]
    made[id(value)] = value, value  # within itself a value stands as it is
    form = _form(value, made)
    made[id(value)] = value, form
    return form


def _form(value: Any, made: dict[int, tuple[Any, Any]]) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each, made) for key, each in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(_plain(each, made) for each in value)
    messages = interface("langchain_core.messages", "langchain-core")
    if isinstance(value, messages.BaseMessage):
        return {MESSAGE: messages.message_to_dict(value)}
    name = type(value).__name__
    if name in _SAID and type(value) is getattr(interface("langgraph.types", FRAMEWORK), name, None):
        return {f"{FRAMEWORK}.{name}": {each: _plain(getattr(value, each), made) for each in _SAID[name]}}
    return value


def restored_values(value: Any) -> Any:
    """The values of a graph back from that."""
    if isinstance(value, dict):
        found = _marked(value)
        if found is None:
            return {key: restored_values(each) for key, each in value.items()}
        name, body = found
        if name == MESSAGE:
            return interface("langchain_core.messages", "langchain-core").messages_from_dict([body])[0]
        made = getattr(interface("langgraph.types", FRAMEWORK), name)
        return made(**{each: restored_values(part) for each, part in body.items()})
    if type(value) in {list, tuple}:
        return type(value)(restored_values(each) for each in value)
    return value


def made_ids(value: Any) -> Iterator[str]:
    """The ids of messages and interrupts among plain values: LangGraph makes those by chance."""
    pending, seen = [value], set[int]()
    while pending:
        node = pending.pop()
        if not isinstance(node, (dict, list, tuple)) or id(node) in seen:
            continue
        seen.add(id(node))
        found = _marked(node) if isinstance(node, dict) else None
        if found is not None:
            name, body = found
            identity = (body.get("data") or {}).get("id") if name == MESSAGE else body.get("id")
            if isinstance(identity, str):
                yield identity
        pending += node.values() if isinstance(node, dict) else node


def _marked(value: dict[Any, Any]) -> tuple[str, dict[str, Any]] | None:
    """What a plain form stands for, and its body; None of any other mapping."""
    if len(value) != 1:
        return None
    ((key, body),) = value.items()
    if not isinstance(key, str) or not isinstance(body, dict):
        return None
    name = key if key == MESSAGE else key.removeprefix(f"{FRAMEWORK}.")
    return (name, body) if name == MESSAGE or (name != key and name in _SAID) else None


_INTERRUPT = "__interrupt__"


class Chunks:
    """How a graph is asked for its chunks so that each state is among them, and what the caller gets of one.

    Args:
        call: keeps the states.
        more: the arguments of `stream` behind its configuration.
        is_own: the graph's own `invoke` reads them.
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
        self.asked = {**more, "stream_mode": [*dict.fromkeys([*self._modes, "values"])]}
        keys = more.get("output_keys")
        if keys is not None and keys != graph.stream_channels_asis:
            if is_own and not self._is_typed:  # it looks at the last state alone
                self._keys = keys
                self.asked["output_keys"] = None
            else:
                call.output["partial"] = True

    def take(self, chunk: Any) -> tuple[Any, ...]:
        """Keep the state in a chunk; what the caller gets of it, nothing or one."""
        if self._is_typed:
            if chunk["type"] == "values" and not chunk.get("ns"):
                self._call.keep_state(self._as_fields(chunk))
            return (chunk,) if chunk["type"] in self._modes else ()
        *place, mode, payload = chunk
        if mode == "values" and not (place and place[0]):
            self._call.keep_state(payload)
            payload = self._wanted(payload)
        if mode not in self._modes:
            return ()
        told = (*place,) if self._is_single else (*place, mode)
        return ((*told, payload),) if told else (payload,)

    def _wanted(self, payload: Any) -> Any:
        """Of a whole state what was asked for."""
        keys = self._keys
        if keys is None or not isinstance(payload, dict):
            return payload
        if isinstance(keys, str):
            return payload.get(keys)
        return {key: payload[key] for key in (*keys, _INTERRUPT) if key in payload}

    def _as_fields(self, chunk: dict[str, Any]) -> Any:
        """A state that came as an object of the graph's schema, by its channels."""
        data = chunk["data"]
        channels = self._call.graph.stream_channels_asis
        if not isinstance(data, dict) and not isinstance(channels, str):
            data = {key: getattr(data, key) for key in channels if hasattr(data, key)}
        if chunk.get("interrupts") and isinstance(data, dict):
            data = {**data, _INTERRUPT: tuple(chunk["interrupts"])}
        return data


@contextmanager
def _streaming(call: GraphCall) -> Iterator[Context]:
    """A call that is streamed, as a run or a step of one; gives the context that its parts run in."""
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
    """The chunks of a call that is streamed."""
    with _streaming(call) as within:
        within.run(call.look_back)
        view = Chunks(call, more, is_own=False)
        source: Any = within.run(partial(chunks_of, **view.asked))
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
                    within.run(source.throw, error)  # as if the reader had the graph's own stream
                    raise


async def astreamed(
    call: GraphCall, chunks_of: Callable[..., AsyncIterator[Any]], more: dict[str, Any]
) -> AsyncIterator[Any]:
    """The same of an asynchronous stream."""
    with _streaming(call) as within:
        await _Within(within, call.look_back_async())
        view = Chunks(call, more, is_own=False)
        source: Any = within.run(partial(chunks_of, **view.asked))
        while True:
            try:
                chunk = await _Within(within, source.__anext__())
            except StopAsyncIteration:
                break
            for each in within.run(view.take, chunk):
                try:
                    yield each
                except GeneratorExit:
                    await _Within(within, source.aclose())
                    raise
                except (Exception, asyncio.CancelledError) as error:
                    await _Within(within, source.athrow(error))
                    raise


class _Within:
    """An awaitable that runs in a context, in the task of whoever awaits it."""

    def __init__(self, context: Context, awaitable: Awaitable[Any]) -> None:
        self._context = context
        self._awaitable = awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._awaitable.__await__()
        resume: Callable[[], Any] = partial(next, inner)
        while True:
            try:
                waited = self._context.run(resume)
            except StopIteration as end:
                return end.value
            try:
                sent = yield waited
            except GeneratorExit:
                self._context.run(inner.close)
                raise
            except BaseException as error:  # noqa: BLE001 - handed on to the code that waits
                resume = partial(inner.throw, error)
            else:
                resume = partial(next, inner) if sent is None else partial(inner.send, sent)
