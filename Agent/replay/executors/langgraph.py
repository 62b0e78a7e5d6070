"""The executor of LangGraph: a real compiled graph, replayed from its recorded node and model answers.

Up to the checkpoint the nodes answer from the recording, and the graph's own reducers and edges do the rest;
behind it the nodes run, and their models and tools answer. The state behind every super-step is compared.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from Agent.errors import (
    AgentTraceError,
    RecordingMiss,
    TargetNotGiven,
    UsageError,
)
from Agent.flight.integrations.driving import interface
from Agent.flight.integrations.graph_values import FRAMEWORK, made_ids, plain_values, restored_values
from Agent.flight.matching.replaying import replaying_tools
from Agent.flight.matching.tool_replayer import ToolReplayer
from Agent.flight.recorded_graphs import plain_graph
from Agent.record.encode.safe_text import message_of
from Agent.replay.compare.comparison import Comparison
from Agent.replay.compare.outcome import short
from Agent.replay.executors.differ import recorded_difference
from Agent.replay.executors.graph_nodes import ExecutedNodes, driven_node, is_async_alone
from Agent.replay.executors.graph_record import RecordedGraphCall
from Agent.replay.executors.protocol import Execution
from Agent.replay.executors.remaining_results import replayer_behind
from Agent.replay.executors.watched import ExecutorWatch
from Agent.replay.forks.patches import merged
from Agent.replay.plan.target import TargetFailed, build, import_target, target_name
from Agent.tree.files.session import open_session

FRAMEWORKS: Final = ("langgraph", "langchain_core", "langsmith", "uuid_utils", "pydantic")
"""Packages whose own reads, of ids and clocks for their callbacks, do not count."""
_MADE_ID: Final = re.compile(
    r"(?:lc_run--|run-+)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:-\d+)?|[0-9a-f]{32}"
)
_START: Final = "__start__"


_STEPS_BEFORE: Final = 2
"""How many super-steps LangGraph counts less where it begins with a state that was put there."""


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
            overrides: `recorded_nodes`: names of nodes that answer from the recording to the end; True: all.

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
                f"the target gave a {type(made).__name__}, not a compiled graph",
                remedy="give what graph.compile() or recorded_graph() returns",
            )
        return made


class _Drive:
    """One replay: what the recording has of the run, and the graph with its nodes in our hands."""

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
        kept = self.recorded.kept
        given = restored_values(kept.get("configurable") or {})
        self.thread: dict[str, Any] = {"configurable": {**given, "thread_id": "replay"}}
        limit = self.recorded.recursion_limit
        if limit is not None:
            self.thread["recursion_limit"] = self._limit = max(1, limit - _STEPS_BEFORE)
        self.context = {"context": restored_values(kept["context"])} if "context" in kept else {}
        self._ids: tuple[set[str], set[str]] = set(), set()
        self.same_id = _same_made_id(*self._ids)

    async def run(self) -> Execution:
        """Drive, compare, tell."""
        original = plain_values(list(self.states.values())[-1])
        execution = Execution(None, original=original, same_id=self.same_id)
        execution.reasons += self.recorded.doubts
        values: dict[int, Any] = {}
        replayer = await asyncio.to_thread(
            replayer_behind, self.recorded.ref, self.config["saved_us"], self.recorded.holds
        )
        if not execution.reasons:
            await self._drive_answered(values, replayer, execution)
            if not self.nodes.ran:
                execution.reasons.append(self._nothing_ran())
        execution.output = plain_values(list(values.values())[-1]) if values else None
        execution.reads = self.watch.reads
        execution.user_code_ran = bool(self.nodes.ran)
        for ids, states in zip(self._ids, (self.states, values), strict=True):
            ids.update(made_ids([plain_values(each) for each in states.values()]))
        self._judge_error(execution)
        found = None
        if values and not self.changes:
            found = self._first_difference(values, ended=execution.error is None)
        # A state that differs comes before what the graph then asked for.
        execution.divergence = execution.divergence if found is None else found
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
        """The text of an error with the limit of super-steps as it was given."""
        limit = self.recorded.recursion_limit
        return text if limit is None else text.replace(f"limit of {self._limit} ", f"limit of {limit} ", 1)

    def _nothing_ran(self) -> str:
        told = "no user code ran: every node returned its recorded response"
        if self.step and not self.nodes.recorded:
            told += f"; {self.recorded.call}step_0 goes on from the beginning"
        return told

    def _judge_error(self, execution: Execution) -> None:
        """What it raised, beside what it was recorded to raise."""
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
            execution.error = f"{type(error).__qualname__}: {self._as_recorded(message_of(error))}"
            if not self.nodes.ran:
                execution.reasons.append(f"the graph could not be brought to that state: {execution.error}")
        if execution.error is not None:
            execution.divergence = f"step {self.nodes.last_step}, {self.nodes.last_node}: {execution.error}"

    @property
    def changes(self) -> bool:
        """Whether something is to be other than recorded."""
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

    async def _streamed(self, values: dict[int, Any], **how: Any) -> None:
        """Let it run, and add the states that it goes through, without the one that it begins with."""
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
                has_now = "there is a state now, but none was recorded"
                has_not = "a state was recorded, but there is none now"
                return f"{self._told(number)}: {has_now if number in values else has_not}"
            one, other = plain_values(self.states[number]), plain_values(values[number])
            found = recorded_difference(one, other, comparison)
            if found is not None:
                sides = f"{short(found.recorded)} -> {short(found.replayed)}"
                return f"{self._told(number)}, {found.path}: {sides}"
        return None

    def _told(self, number: int) -> str:
        nodes = self.nodes.nodes_of(number) if number else ["input"]
        return f"step {number}, {', '.join(nodes or self.nodes.nodes_now(number))}"


def _same_made_id(recorded: Collection[str], replayed: Collection[str]) -> Callable[[str, str], bool]:
    """Whether two ids that the framework makes by chance stand for the same: each for one other.

    Args:
        recorded: such ids in the recording; a text like them that user code made is none.
        replayed: those of the replay.
    """
    forth: dict[str, str] = {}
    back: dict[str, str] = {}

    def same(one: str, other: str) -> bool:
        if one not in recorded or other not in replayed:
            return False
        if _MADE_ID.fullmatch(one) is None or _MADE_ID.fullmatch(other) is None:
            return False
        return forth.setdefault(one, other) == other and back.setdefault(other, one) == one

    return same


__all__ = ["LangGraphExecutor"]
