"""What the recording has of one call of a LangGraph graph: its states, its nodes' answers, how it was called.

`langgraph.py` replays it again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from Agent.errors import RunNotFound, UsageError
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.flight.integrations.graph_calls import GRAPH_STEP, NODE_STEP
from Agent.flight.integrations.graph_values import restored_values
from Agent.flight.runs.reading import RunRef
from Agent.replay.executors.done_steps import DoneStep, done_steps

__all__ = ["RecordedGraphCall"]

_STATE: Final = re.compile(r"((?:call_\d+\.)?)step_(\d+)")
"""The id of a checkpoint of a graph: which call of the run, and behind which super-step."""
_GRAPH: Final = re.compile(r"(?:call_\d+\.)?graph")


class RecordedGraphCall:
    """The call that a checkpoint is of.

    Args:
        config: what an executor is told.

    Raises:
        UsageError: the checkpoint is none of a graph's.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.ref = RunRef(Path(config["session"]), config["run_id"])
        found = _STATE.fullmatch(config["step_id"])
        self.call, self.step = ("", 0) if found is None else (found[1], int(found[2]))
        """What its steps and checkpoints begin with, "" for the first of a run; the super-step."""
        self.doubts: list[str] = []
        """What stands in the way of driving it."""
        self.states: dict[int, Any] = dict(sorted(self._states()))
        """The state behind each super-step that left one."""
        if found is None or 0 not in self.states or self.step not in self.states:
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
        """The steps of its nodes by their ids within it."""
        self.kept: Mapping[str, Any] = {}
        """What it kept of itself: its input, its settings."""
        self.error: str | None = None
        """Type and text of what it raised."""
        name = f"{self.call}graph"
        self._take([step for step in steps if step.step_type == GRAPH_STEP and step.step_id == name])

    def holds(self, path: Collection[str]) -> bool:
        """Whether a call with these spans around it was not made in another call of a graph."""
        graphs = [name for name in path if _GRAPH.fullmatch(name)]
        return not graphs or f"{self.call}graph" in graphs

    @property
    def recursion_limit(self) -> int | None:
        """How many super-steps it might take; None where it was not told and did not matter."""
        if self.error is not None and self.error.startswith("GraphRecursionError"):
            return max(self.states)
        return self.kept.get("recursion_limit")

    def _states(self) -> Iterator[tuple[int, Any]]:
        run_id = str(self.ref.run_id)
        with LocalCheckpointStore(self.ref.session) as store:
            try:
                known = store.list_checkpoints(run_id)
            except RunNotFound:
                return
            for info in known:
                found = _STATE.fullmatch(info.step_id)
                if info.agent_id is not None or found is None or found[1] != self.call:
                    continue
                loaded = store.load_checkpoint(run_id, info.step_id)
                self.doubts += [
                    f"{pointer} of {info.step_id} could not be brought back" for pointer in loaded.unrestored
                ]
                yield int(found[2]), restored_values(loaded.state)

    def _take(self, calls: list[DoneStep]) -> None:
        if len(calls) > 1:
            raise UsageError(
                f"the run has {len(calls)} graph calls that cannot be told apart",
                remedy="record them again, or each as a run of its own",
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
            "the recorded call went on in the middle of a thread of earlier calls, of which a run does not "
            "hold all; calls that begin a thread, or follow one that had come to its end, are replayed"
        )
    if kept.get("partial"):
        yield "the recorded call was asked for output_keys, so its states are not whole; record it without"
    if kept.get("left"):
        yield "the stream of the recorded call was not read to its end"
    elif call.error is not None and ":" not in call.error:
        yield f"the recorded call was {call.error}"
    elif call.error is None and call.output is None:
        yield "the recorded call of the graph did not end with an output"
    for pointer in call.unrestored:
        if pointer.startswith(("/configurable", "/context")):
            yield (
                f"{pointer.removeprefix('/')}, which the call was given, has no form in which it could be "
                "kept; give plain values or a dataclass"
            )
