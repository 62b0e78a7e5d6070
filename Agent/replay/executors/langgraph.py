"""The executor of LangGraph: a real compiled graph, driven again from its recorded node and model answers.

Up to the checkpoint the nodes answer from the record, and the graph's own reducers and edges do the rest;
behind it the nodes run, and their models and tools answer. The state behind every super-step is compared.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from Agent.errors import (
    AgentTraceError,
    EventNotFound,
    RecordingMiss,
    RunNotFound,
    TargetNotGiven,
    UsageError,
)
from Agent.flight.checkpoints import LocalCheckpointStore
from Agent.flight.recorded_graphs import FRAMEWORK, plain_graph, plain_values, restored_values
from Agent.flight.recorded_models.driving import interface
from Agent.flight.replaying import replaying_tools
from Agent.flight.runs import RunRef
from Agent.flight.tool_replayer import ToolReplayer
from Agent.replay.comparison import Comparison, Difference, Recorded
from Agent.replay.executors.answers_behind import replayer_behind
from Agent.replay.executors.differ import recorded_form
from Agent.replay.executors.done_steps import GRAPH_STEP, NODE_STEP, DoneStep, done_steps
from Agent.replay.executors.graph_nodes import ExecutedNodes, driven_node, is_async_alone
from Agent.replay.executors.protocol import Execution
from Agent.replay.executors.watched import ExecutorWatch
from Agent.replay.outcome import short
from Agent.replay.patches import merged
from Agent.replay.target import TargetFailed, build, import_target, target_name
from Agent.tree.session import open_session

FRAMEWORKS: Final = ("langgraph", "langchain_core", "langsmith", "uuid_utils", "pydantic")
"""Packages whose own reads, of ids and clocks for their callbacks, do not count."""
_MADE_ID: Final = re.compile(r"(?:lc_run--|run-+)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:-\d+)?")
_START: Final = "__start__"


class LangGraphExecutor:
    """Drives a run of `recorded_graph` again.

    Args:
        graph: the compiled graph, or a function that gives it; without it `ReplayConfig.target`, or what the
            session remembers, `module:factory`, is asked.
    """

    def __init__(self, graph: Any = None) -> None:
        self._graph = graph

    async def execute(
        self,
        input: Any,  # noqa: A002, ARG002 - as the protocol has it
        state: Any,  # noqa: ARG002 - loaded again once the graph's classes are there
        config: Mapping[str, Any],
        overrides: Mapping[str, Any] | None = None,
    ) -> Execution:
        """Go on from the state behind a super-step.

        Args:
            overrides: `recorded_nodes`: names of nodes that answer from the record to the end; True: all.

        Raises:
            MissingExtra: LangGraph is not installed.
            TargetNotGiven: no graph was given.
            UsageError: the checkpoint is none of a graph's, or the change cannot be made there.
        """
        interface("langgraph.pregel", FRAMEWORK)
        graph = plain_graph(await asyncio.to_thread(self._found, config))
        drive = await asyncio.to_thread(_Drive, graph, config, dict(overrides or {}))
        return await drive.run()

    def _found(self, config: Mapping[str, Any]) -> Any:
        made = self._graph
        if made is None:
            target = config["target"]
            if target is None or isinstance(target, str):
                name = target_name(target, open_session(Path(config["session"])), None)
                try:
                    made = build(import_target(name), None, name)
                except TargetFailed as error:
                    raise TargetNotGiven(
                        str(error), remedy="give a function that returns the graph"
                    ) from error
            else:
                made = target
        pregel = interface("langgraph.pregel", FRAMEWORK)
        if not isinstance(made, pregel.Pregel) and callable(made):
            made = made(None)
        if not isinstance(made, pregel.Pregel):
            raise UsageError(
                f"the target gave a {type(made).__name__}, no compiled graph",
                remedy="give what graph.compile() or recorded_graph() returns",
            )
        return made


class _Drive:
    """One re-drive: what the record holds of the run, and the graph with its nodes in our hands."""

    def __init__(self, graph: Any, config: Mapping[str, Any], overrides: dict[str, Any]) -> None:
        self.config = config
        self.ref = RunRef(Path(config["session"]), config["run_id"])
        self.doubts: list[str] = []
        self.step = _number(config["step_id"])
        self.states, self.unrestored = self._kept_states()
        self.watch = ExecutorWatch(allows_network=bool(config["live"]), frameworks=FRAMEWORKS)
        recorded = overrides.get("recorded_nodes", ())
        names = frozenset(graph.nodes) if recorded is True else frozenset(recorded)
        self.nodes = ExecutedNodes(self._node_steps(), self.step, names, self.watch)
        saver = interface("langgraph.checkpoint.memory", FRAMEWORK).InMemorySaver()
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
        self.thread = {"configurable": {"thread_id": "replay"}}
        self.same_id = _same_made_id()

    def _kept_states(self) -> tuple[list[Any], list[str]]:
        """The state behind each super-step, and what of it could not be brought back."""
        states: list[Any] = []
        lost: list[str] = []
        with LocalCheckpointStore(self.ref.session) as store:
            while True:
                try:
                    found = store.load_checkpoint(str(self.ref.run_id), f"step_{len(states)}")
                except (EventNotFound, RunNotFound):
                    break  # they end here
                lost += [f"{pointer} of step_{len(states)}" for pointer in found.unrestored]
                states.append(restored_values(found.state))
        if not states or self.step >= len(states):
            raise UsageError(
                f"{self.config['checkpoint_id']} is no state of a recorded graph",
                remedy="record it with recorded_graph(graph).invoke(...), and name one of its checkpoints",
            )
        return states, lost

    def _node_steps(self) -> dict[str, DoneStep]:
        steps = done_steps(self.ref)
        graphs = [step for step in steps if step.step_type == GRAPH_STEP]
        if len(graphs) > 1:
            raise UsageError(
                f"the run holds {len(graphs)} calls of graphs", remedy="record each call as a run of its own"
            )
        if not graphs or graphs[0].output is None:
            self.doubts.append("the recorded call of the graph did not end with an output")
        elif graphs[0].continued:
            self.doubts.append("the recorded call went on with a thread of earlier calls")
        return {step.step_id: step for step in steps if step.step_type == NODE_STEP}

    async def run(self) -> Execution:
        """Drive, compare, tell."""
        execution = Execution(None, original=plain_values(self.states[-1]), same_id=self.same_id)
        execution.reasons += [f"{lost} could not be brought back" for lost in self.unrestored]
        execution.reasons += self.doubts
        values: list[Any] = []
        replayer = await asyncio.to_thread(replayer_behind, self.ref, self.config["saved_us"])
        if not execution.reasons:
            await self._drive_answered(values, replayer, execution)
        execution.output = plain_values(values[-1]) if values else None
        execution.reads = self.watch.reads
        execution.user_code_ran = bool(self.nodes.ran)
        if not self.nodes.ran:
            execution.reasons.append("no user code ran: every node answered from the record")
        found = None
        if values and not self.changes:
            found = self._first_difference(values, ended=execution.error is None)
        # A state that differs comes before what the graph then asked for.
        execution.divergence = execution.divergence if found is None else found
        unused = [call.name for call in replayer.unused]
        if unused and not (self.changes or self.nodes.recorded or execution.divergence or execution.reasons):
            execution.divergence = f"{len(unused)} recorded calls were not made: {', '.join(unused[:5])}"
        execution.details = {
            "super_steps": max(len(values) - 1, 0),
            "nodes_ran": list(self.nodes.ran),
            "nodes_answered": list(self.nodes.answered),
            "unused_answers": unused,
        }
        return execution

    async def _drive_answered(self, values: list[Any], replayer: ToolReplayer, execution: Execution) -> None:
        """Drive while models and tools answer; what ends it early is told in the execution."""
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
            execution.error = f"{type(error).__name__}: {error}"
            if not self.nodes.ran:
                execution.reasons.append(f"the graph could not be brought to that state: {execution.error}")
        if execution.error is not None:
            execution.divergence = f"step {self.nodes.last_step}, {self.nodes.last_node}: {execution.error}"

    @property
    def changes(self) -> bool:
        """Whether something is to be other than recorded."""
        return self.config["modified_state"] is not None or self.config["modified_input"] is not None

    async def _drive(self, values: list[Any]) -> None:
        change = self._change()
        begin = dict(self.states[0]) if isinstance(self.states[0], dict) else self.states[0]
        if self.step == 0 and change:
            begin = merged(begin, change)
        await asyncio.to_thread(self._impose, begin, _START)
        if self.step and change:
            values.append(begin)
            for _ in range(self.step):
                await self._streamed(values, interrupt_before="*")
            last = self.nodes.nodes_of(self.step)
            if len(last) != 1:
                raise UsageError(
                    f"{len(last)} nodes ran at one time before {self.config['checkpoint_id']}",
                    remedy="change the state where one node ran alone",
                )
            await asyncio.to_thread(self._impose, change, last[0])
            values[-1] = (await asyncio.to_thread(self.app.get_state, self.thread)).values
        else:
            values.append(begin)
        await self._streamed(values)

    def _change(self) -> dict[str, Any]:
        patch, given = self.config["modified_state"], self.config["modified_input"]
        if given is not None and self.step:
            raise UsageError(
                "a graph is given its input at the beginning",
                remedy="go on from step_0, or change the state, ReplayConfig(modified_state={...})",
            )
        for each in (patch, given):
            if each is not None and not isinstance(each, Mapping):
                raise UsageError("the state of a graph is changed by a merge patch", remedy='{"key": value}')
        return {**(given or {}), **(patch or {})}

    def _impose(self, fields: Mapping[str, Any], node: str) -> None:
        """Put values into the graph's channels as they are, past their reducers."""
        overwrite = interface("langgraph.types", FRAMEWORK).Overwrite
        reduced = interface("langgraph.channels.binop", FRAMEWORK).BinaryOperatorAggregate
        self.app.update_state(
            self.thread,
            {
                name: overwrite(value) if isinstance(self.app.channels.get(name), reduced) else value
                for name, value in fields.items()
            },
            as_node=node,
        )

    async def _streamed(self, values: list[Any], **how: Any) -> None:
        """Let it run, and add the states that it goes through, without the one that it begins with."""
        how |= {"stream_mode": "values"}
        if not self.is_async:
            await asyncio.to_thread(self._stream_here, values, how)
            return
        begun = False
        async for each in self.app.astream(None, self.thread, **how):
            if begun:
                values.append(each)
            begun = True

    def _stream_here(self, values: list[Any], how: dict[str, Any]) -> None:
        with self.watch.noticing():
            for number, each in enumerate(self.app.stream(None, self.thread, **how)):
                if number:
                    values.append(each)

    def _first_difference(self, values: list[Any], *, ended: bool) -> str | None:
        comparison = Comparison(None, self.same_id)
        for number, (recorded, now) in enumerate(zip(self.states, values, strict=False)):
            found = _difference(recorded, now, comparison)
            if found is not None:
                nodes = ", ".join(self.nodes.nodes_of(number)) or "input"
                sides = f"{short(found.recorded)} -> {short(found.replayed)}"
                return f"step {number}, {nodes}, {found.path}: {sides}"
        if ended and len(values) != len(self.states):
            return f"{len(values) - 1} super-steps, and {len(self.states) - 1} were recorded"
        return None


def _difference(one: Any, other: Any, comparison: Comparison) -> Difference | None:
    return comparison.difference(
        Recorded(*recorded_form(plain_values(one)), ""), Recorded(*recorded_form(plain_values(other)), "")
    )


def _number(step_id: str) -> int:
    number = step_id.removeprefix("step_")
    return int(number) if number.isdigit() else 0


def _same_made_id() -> Callable[[str, str], bool]:
    """Whether two ids that frameworks make by chance stand for the same: each for one other."""
    forth: dict[str, str] = {}
    back: dict[str, str] = {}

    def same(one: str, other: str) -> bool:
        if _MADE_ID.fullmatch(one) is None or _MADE_ID.fullmatch(other) is None:
            return False
        return forth.setdefault(one, other) == other and back.setdefault(other, one) == one

    return same


__all__ = ["LangGraphExecutor"]
