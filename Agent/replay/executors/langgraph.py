"""The LangGraph executor: it replays a compiled graph with recorded node, model and tool responses.

Up to the checkpoint, nodes return their recorded responses, and the graph's own reducers and edges run.
After it, the nodes themselves run, and their models and tools return recorded responses. The state after
every super-step is compared.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from Agent.errors import (
    AgentTraceError,
    RecordingMiss,
    RunNotFound,
    TargetNotGiven,
    UsageError,
)
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.flight.integrations.driving import optional_module
from Agent.flight.recorded_graphs import (
    FRAMEWORK,
    GRAPH_STEP,
    NODE_STEP,
    generated_ids,
    node_step_id,
    plain_graph,
    plain_values,
    restored_values,
)
from Agent.flight.run_reading import RunRef
from Agent.flight.tool_replayer import ToolReplayer, replaying_tools
from Agent.record.encode.safe_text import message_of
from Agent.replay.compare.comparison import Comparison
from Agent.replay.compare.normaliser import Matches
from Agent.replay.compare.outcome import short
from Agent.replay.executors.result import (
    Execution,
    recorded_difference,
    replayer_after,
)
from Agent.replay.executors.saved_points import DoneStep, done_steps
from Agent.replay.executors.watch import ExecutorWatch
from Agent.replay.forks.outcome import merged
from Agent.replay.plan.target import TargetFailed, build, import_target, target_name
from Agent.tree.files.session import open_session

FRAMEWORKS: Final = ("langgraph", "langchain_core", "langsmith", "uuid_utils", "pydantic")
"""Packages whose own reads of ids and clocks (for callbacks) do not count as reads of user code."""
_MADE_ID: Final = re.compile(
    r"(?:lc_run--|run-+)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:-\d+)?|[0-9a-f]{32}"
)
_START: Final = "__start__"


_STEPS_BEFORE: Final = 2
"""How many super-steps fewer LangGraph counts if the first state was set with `update_state`."""


_STATE: Final = re.compile(r"((?:call_\d+\.)?)step_(\d+)")
"""A graph's checkpoint id: the call within the run, and the super-step after which it was saved."""
_GRAPH: Final = re.compile(r"(?:call_\d+\.)?graph")


async def replay_graph(
    input: Any,  # noqa: A002, ARG001 - the protocol's names
    state: Any,  # noqa: ARG001 - loaded again after the graph's classes
    config: Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
) -> Execution:
    """Continue a run of `recorded_graph` from the state after a super-step.

    Args:
        config: `target` is the compiled graph, or a function that returns it (the function or
            `module:factory`); the default is the target recorded in the session.
        overrides: `recorded_nodes`: names of nodes that return recorded responses to the end; True for all.

    Raises:
        MissingExtra: LangGraph is not installed.
        TargetNotGiven: no graph was given.
        UsageError: the checkpoint does not belong to a graph, or the change cannot be made there.
    """
    optional_module("langgraph.pregel", FRAMEWORK)
    graph = plain_graph(await asyncio.to_thread(_graph_of, config))
    drive = await asyncio.to_thread(_Drive, graph, config, dict(overrides or {}))
    return await drive.run()


def _graph_of(config: Mapping[str, Any]) -> Any:
    graph = config["target"]
    if graph is None or isinstance(graph, str):
        name = target_name(graph, open_session(Path(config["session"])), None)
        try:
            graph = build(import_target(name), None, name)
        except TargetFailed as error:
            raise TargetNotGiven(str(error), remedy="give a function that returns the graph") from error
    pregel = optional_module("langgraph.pregel", FRAMEWORK)
    if not isinstance(graph, pregel.Pregel) and callable(graph):
        graph = graph(None)
    if not isinstance(graph, pregel.Pregel):
        raise UsageError(
            f"the target returned a {type(graph).__name__}, not a compiled graph",
            remedy="give what graph.compile() or recorded_graph() returns",
        )
    return graph


class _Drive:
    """One replay: the recorded call, and a copy of the graph whose nodes run or return recorded responses."""

    def __init__(self, graph: Any, config: Mapping[str, Any], overrides: dict[str, Any]) -> None:
        self.config = config
        self.recorded = RecordedGraphCall(config)
        self.states = self.recorded.states
        self.step = self.recorded.step
        self.watch = ExecutorWatch(allows_network=bool(config["live"]), frameworks=FRAMEWORKS)
        names = overrides.get("recorded_nodes", ())
        self.nodes = ExecutedNodes(
            self.recorded.nodes,
            self.step,
            frozenset(graph.nodes) if names is True else frozenset(names),
            self.watch,
        )
        saver = optional_module("langgraph.checkpoint.memory", FRAMEWORK).InMemorySaver()
        self.is_async = any(is_async_alone(node.bound) for node in graph.nodes.values())
        self.app = graph.copy(
            {
                "nodes": {
                    name: node if name == _START else driven_node(name, node, self.nodes)
                    for name, node in graph.nodes.items()
                },
                "checkpointer": saver,
            }
        )
        kept = self.recorded.kept
        configurable = restored_values(kept.get("configurable") or {})
        self.thread: dict[str, Any] = {"configurable": {**configurable, "thread_id": "replay"}}
        limit = self.recorded.recursion_limit
        if limit is not None:
            self.thread["recursion_limit"] = self._limit = max(1, limit - _STEPS_BEFORE)
        self.context = {"context": restored_values(kept["context"])} if "context" in kept else {}
        self._ids: tuple[set[str], set[str]] = set(), set()
        self.same_id = _same_made_id(*self._ids)

    async def run(self) -> Execution:
        """Replay the graph, compare its states with the recorded ones, and return the result."""
        original = plain_values(list(self.states.values())[-1])
        execution = Execution(None, original=original, same_id=self.same_id)
        execution.reasons += self.recorded.doubts
        values: dict[int, Any] = {}
        replayer = await asyncio.to_thread(
            replayer_after, self.recorded.ref, self.config["saved_us"], self.recorded.holds
        )
        if not execution.reasons:
            await self._drive_answered(values, replayer, execution)
            if not self.nodes.ran:
                execution.reasons.append(self._nothing_ran())
        execution.output = plain_values(list(values.values())[-1]) if values else None
        execution.reads = self.watch.reads
        execution.user_code_ran = bool(self.nodes.ran)
        for ids, states in zip(self._ids, (self.states, values), strict=True):
            ids.update(generated_ids([plain_values(each) for each in states.values()]))
        self._judge_error(execution)
        difference = None
        if values and not self.changes:
            difference = self._first_difference(values, ended=execution.error is None)
        # A differing state is the earlier difference: it caused the calls that the graph made afterwards.
        execution.divergence = execution.divergence if difference is None else difference
        unused = [call.name for call in replayer.unused]
        if unused and not (self.changes or self.nodes.recorded or execution.divergence or execution.reasons):
            execution.divergence = f"{len(unused)} recorded calls were not made: {', '.join(unused[:5])}"
        execution.details = {
            "super_steps": max(values, default=0),
            "nodes_ran": list(self.nodes.ran),
            "nodes_answered": list(self.nodes.answered),
            "unused_answers": unused,
        }
        return execution

    def _as_recorded(self, text: str) -> str:
        """Replace the lowered recursion limit in the text of an error with the recorded one."""
        limit = self.recorded.recursion_limit
        return text if limit is None else text.replace(f"limit of {self._limit} ", f"limit of {limit} ", 1)

    def _nothing_ran(self) -> str:
        note = "no user code ran: every node returned its recorded response"
        if self.step and not self.nodes.recorded:
            note += f"; {self.recorded.call}step_0 continues from the beginning"
        return note

    def _judge_error(self, execution: Execution) -> None:
        """Compare the error of the replay with the recorded one."""
        recorded = self.recorded.error
        if recorded is None or self.changes or execution.reasons:
            return
        if execution.error is None:
            execution.divergence = f"it finished, but the recorded call raised {recorded}"
        elif recorded_difference(recorded, execution.error, Comparison()) is None:
            first, *_ = execution.error.splitlines()
            execution.notes.append(f"it raised what the recorded call raised: {first}")
            execution.error = execution.divergence = None
        else:
            execution.divergence = f"{execution.divergence}; the recorded call raised {recorded}"

    async def _drive_answered(
        self, values: dict[int, Any], replayer: ToolReplayer, execution: Execution
    ) -> None:
        """Run the graph with recorded model and tool responses; an error goes into the execution."""
        try:
            with ExitStack() as around:
                around.enter_context(self.watch.open())
                around.enter_context(replaying_tools(replayer, live=self.config["live"]))
                await self._drive(values)
        except RecordingMiss as error:
            execution.error = str(error)
        except AgentTraceError:
            raise
        except Exception as error:  # noqa: BLE001 - what user code raises is a result
            execution.error = f"{type(error).__qualname__}: {self._as_recorded(message_of(error))}"
            if not self.nodes.ran:
                execution.reasons.append(f"the graph could not reach that state: {execution.error}")
        if execution.error is not None:
            execution.divergence = f"step {self.nodes.last_step}, {self.nodes.last_node}: {execution.error}"

    @property
    def changes(self) -> bool:
        """Whether the input or the state was modified."""
        return self.config["modified_state"] is not None or self.config["modified_input"] is not None

    async def _drive(self, values: dict[int, Any]) -> None:
        change = self._change()
        begin = dict(self.states[0]) if isinstance(self.states[0], dict) else self.states[0]
        if self.step == 0 and change:
            begin = merged(begin, change)
        await asyncio.to_thread(self._impose, begin, _START)
        if self.step and change:
            values[0] = begin
            while self.nodes.last_step < self.step:
                await self._streamed(values, interrupt_before="*")
            last = self.nodes.nodes_of(self.step)
            if len(last) != 1:
                raise UsageError(
                    f"{len(last)} nodes ran at the same time before {self.config['checkpoint_id']}",
                    remedy="change the state where one node ran alone",
                )
            await asyncio.to_thread(self._impose, change, last[0])
            values[self.step] = (await asyncio.to_thread(self.app.get_state, self.thread)).values
        else:
            values[0] = begin
        await self._streamed(values)

    def _change(self) -> dict[str, Any]:
        patch, new_input = self.config["modified_state"], self.config["modified_input"]
        if new_input is not None and self.step:
            raise UsageError(
                "the input of a graph can be changed only at its beginning",
                remedy="continue from step_0, or change the state, ReplayConfig(modified_state={...})",
            )
        for each in (patch, new_input):
            if each is not None and not isinstance(each, Mapping):
                raise UsageError("only a merge patch can change a graph's state", remedy='{"key": value}')
        return {**(new_input or {}), **(patch or {})}

    def _impose(self, fields: Mapping[str, Any], node: str) -> None:
        """Set the graph's channels to these values, bypassing their reducers."""
        overwrite = optional_module("langgraph.types", FRAMEWORK).Overwrite
        reduced = optional_module("langgraph.channels.binop", FRAMEWORK).BinaryOperatorAggregate
        self.app.update_state(
            self.thread,
            {
                name: overwrite(value) if isinstance(self.app.channels.get(name), reduced) else value
                for name, value in fields.items()
            },
            as_node=node,
        )

    async def _streamed(self, values: dict[int, Any], **how: Any) -> None:
        """Run the graph, and add each state after the first to `values` by super-step."""
        how |= {"stream_mode": "values", **self.context}
        if not self.is_async:
            await asyncio.to_thread(self._stream_here, values, how)
            return
        begun = False
        async for each in self.app.astream(None, self.thread, **how):
            if begun:
                values[self.nodes.last_step] = each
            begun = True

    def _stream_here(self, values: dict[int, Any], how: dict[str, Any]) -> None:
        with self.watch.noticing():
            for number, each in enumerate(self.app.stream(None, self.thread, **how)):
                if number:
                    values[self.nodes.last_step] = each

    def _first_difference(self, values: dict[int, Any], *, ended: bool) -> str | None:
        comparison = Comparison(None, self.same_id)
        for number in sorted({*self.states, *values}):
            if number not in self.states or number not in values:
                if not ended:
                    return None
                has_now = "it now has a state, but none was recorded"
                has_not = "a state was recorded, but it now has none"
                return f"{self._describe_step(number)}: {has_now if number in values else has_not}"
            one, other = plain_values(self.states[number]), plain_values(values[number])
            difference = recorded_difference(one, other, comparison)
            if difference is not None:
                sides = f"{short(difference.recorded)} -> {short(difference.replayed)}"
                return f"{self._describe_step(number)}, {difference.path}: {sides}"
        return None

    def _describe_step(self, number: int) -> str:
        nodes = self.nodes.nodes_of(number) if number else ["input"]
        return f"step {number}, {', '.join(nodes or self.nodes.nodes_now(number))}"


def _same_made_id(recorded: Collection[str], replayed: Collection[str]) -> Callable[[str, str], bool]:
    """Return a function that matches the framework's random ids one to one between recording and replay.

    Args:
        recorded: the ids that the framework made in the recording. Ids that user code made are not matched,
            even if they look alike.
        replayed: the ids that the framework made in the replay.
    """
    matches = Matches({}, {})

    def same(one: str, other: str) -> bool:
        are_made = one in recorded and other in replayed and all(map(_MADE_ID.fullmatch, (one, other)))
        return are_made and matches.match(one, other)

    return same


@dataclass(slots=True)
class ExecutedNodes:
    """Decides which nodes run and which return recorded responses, and remembers both."""

    steps: Mapping[str, DoneStep]
    """The recorded steps of the run by id."""
    answered_until: int
    """The last super-step whose nodes return recorded responses."""
    recorded: Collection[str]
    """Names of nodes that return recorded responses to the end."""
    watch: ExecutorWatch
    """Watches the nodes that run."""
    ran: dict[str, None] = field(default_factory=dict)
    # Dicts serve as ordered sets: the nodes are reported in the order in which they ran.
    answered: dict[str, None] = field(default_factory=dict)
    last_step: int = 0
    last_node: str = "input"
    _offset: int | None = None

    def place(self, name: str, config: Mapping[str, Any]) -> tuple[str, int]:
        """Return the node's current step id and its super-step, numbered as in the recording."""
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
        """Whether a node returns its recorded response in this super-step."""
        return number <= self.answered_until or name in self.recorded

    def answer(self, step_id: str) -> Any:
        """Return or raise a step's recorded response; RecordingMiss if it has none."""
        step = self.steps.get(step_id)
        signal = None if step is None else _control_flow_exception(step.kept.get("told"))
        if step is None or (step.error is not None and signal is None):
            raise RecordingMiss(f"the graph goes to {step_id}, for which the recording has no response")
        self.answered[step_id] = None
        if signal is not None:
            raise signal
        return restored_values(step.output)


def _of(number: int, step_ids: Iterable[str]) -> list[str]:
    begin = f"step_{number}:"
    return [step_id.removeprefix(begin) for step_id in step_ids if step_id.startswith(begin)]


def _control_flow_exception(recorded: Any) -> Exception | None:
    """Rebuild a node's control-flow exception: an interrupt, or a command to the parent graph."""
    for name, args in (recorded or {}).items():
        cls = getattr(optional_module("langgraph.errors", FRAMEWORK), name, None)
        if isinstance(cls, type) and issubclass(cls, Exception):
            error: Exception = cls(*restored_values(args))
            return error
    return None


def is_async_alone(bound: Any) -> bool:
    """Whether a node has only an async implementation."""
    return getattr(bound, "func", bound) is None and getattr(bound, "afunc", None) is not None


def driven_node(name: str, node: Any, nodes: ExecutedNodes) -> Any:
    """Copy a node so that `nodes` decides whether it runs or returns its recorded response."""
    runnables = optional_module("langchain_core.runnables", "langchain-core")
    bound = node.bound
    has_sync_alone = getattr(bound, "afunc", bound) is None and getattr(bound, "func", None) is not None

    class DrivenNode(runnables.Runnable):  # type: ignore[misc, name-defined]
        """Runs the node or returns its recorded response."""

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
            return await nodes.watch.stepped(bound.ainvoke(input, config, **more), number)

    return node.copy({"bound": DrivenNode()})


class RecordedGraphCall:
    """The recorded graph call that a checkpoint belongs to.

    Args:
        config: the `config` argument of an executor.

    Raises:
        UsageError: the checkpoint does not belong to a graph.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.ref = RunRef(Path(config["session"]), config["run_id"])
        match = _STATE.fullmatch(config["step_id"])
        self.call, self.step = ("", 0) if match is None else (match[1], int(match[2]))
        """The prefix of its step and checkpoint ids ("" for the first call of a run), and the super-step."""
        self.doubts: list[str] = []
        """Why it cannot be replayed."""
        self.states: dict[int, Any] = dict(sorted(self._states()))
        """The recorded states by super-step."""
        if match is None or 0 not in self.states or self.step not in self.states:
            raise UsageError(
                f"{config['checkpoint_id']} is not a state of a recorded graph",
                remedy="record it with recorded_graph(graph).invoke(...), and name one of its checkpoints",
            )
        steps = done_steps(self.ref)
        self.nodes: dict[str, DoneStep] = {
            step.step_id.removeprefix(self.call): step
            for step in steps
            if step.step_type == NODE_STEP and step.step_id.startswith(f"{self.call}step_")
        }
        """The steps of its nodes by id, without the call's prefix."""
        self.kept: Mapping[str, Any] = {}
        """The recorded call's input and settings."""
        self.error: str | None = None
        """Type and message of the recorded exception."""
        name = f"{self.call}graph"
        self._take([step for step in steps if step.step_type == GRAPH_STEP and step.step_id == name])

    def holds(self, path: Collection[str]) -> bool:
        """Whether a call with these enclosing spans was made inside this graph call or outside every one."""
        graphs = [name for name in path if _GRAPH.fullmatch(name)]
        return not graphs or f"{self.call}graph" in graphs

    @property
    def recursion_limit(self) -> int | None:
        """The limit of super-steps; None if it was not recorded and was not reached."""
        if self.error is not None and self.error.startswith("GraphRecursionError"):
            return max(self.states)
        return self.kept.get("recursion_limit")

    def _states(self) -> Iterator[tuple[int, Any]]:
        run_id = str(self.ref.run_id)
        with LocalCheckpointStore(self.ref.session) as store:
            try:
                known = store.list_checkpoints(run_id)
            except RunNotFound:
                return  # the run left no checkpoint
            for info in known:
                match = _STATE.fullmatch(info.step_id)
                if info.agent_id is not None or match is None or match[1] != self.call:
                    continue
                loaded = store.load_checkpoint(run_id, info.step_id)
                self.doubts += [
                    f"{pointer} of {info.step_id} could not be restored" for pointer in loaded.unrestored
                ]
                yield int(match[2]), restored_values(loaded.state)

    def _take(self, calls: list[DoneStep]) -> None:
        if len(calls) > 1:
            raise UsageError(
                f"the run has {len(calls)} graph calls that cannot be distinguished",
                remedy="record them again, or each as a separate run",
            )
        if not calls:
            self.doubts.append("the recorded call of the graph did not finish")
            return
        self.kept, self.error = calls[0].kept, calls[0].error
        self.doubts += _doubts_of(calls[0])


def _doubts_of(call: DoneStep) -> Iterator[str]:
    kept = call.kept
    if kept.get("continued"):
        yield (
            "the recorded call continued a thread of earlier calls, not all of which are in the run; calls "
            "that begin a thread, or follow one that had ended, can be replayed"
        )
    if kept.get("partial"):
        yield "the recorded call had output_keys, so its states are incomplete; record it without them"
    if kept.get("left"):
        yield "the stream of the recorded call was not read to its end"
    elif call.error is not None and ":" not in call.error:
        yield f"the recorded call was {call.error}"
    elif call.error is None and call.output is None:
        yield "the recorded call of the graph did not end with an output"
    for pointer in call.unrestored:
        if pointer.startswith(("/configurable", "/context")):
            yield (
                f"{pointer.removeprefix('/')}, an argument of the call, cannot be recorded; "
                "pass plain values or a dataclass"
            )
