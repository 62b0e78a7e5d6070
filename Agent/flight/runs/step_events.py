"""Steps as whole values: a `StepEvent` becomes a step of a run with its tool call, and comes back as one.

`recorder.record_step` writes them, `RunRecord.step_events` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

import orjson

from Agent.event.model import Event
from Agent.event.values.values import decode_value
from Agent.flight.calls.tool_calls import OpenToolCall, ToolFacts
from Agent.flight.checkpoints.model import StepEvent
from Agent.flight.open_runs.context import OPEN_RUNS
from Agent.flight.open_runs.fold import Step
from Agent.flight.open_runs.run_events import Guard

__all__ = ["read_step_events", "write_step_event"]

_STEP_TYPE: Final = "step_event"
_NAMES: Final = tuple(name for name in StepEvent.__dataclass_fields__ if name != "step_id")


class StepRecorder(Protocol):
    """What records a step: the recorder of runs."""

    @property
    def current_run_id(self) -> str | None:
        """The run that is open here."""

    def start_step(self, step_id: str, name: str | None = None, *, step_type: str | None = None) -> str:
        """Begin a step."""

    def finish_step(self, step_id: str, name: str | None = None, output: Any = None) -> str:
        """End it; the reference to its output."""


class StepRecord(Protocol):
    """A run that was read back."""

    @property
    def steps(self) -> Sequence[Step]:
        """Its steps, in order."""

    def events(self) -> Iterable[Event]:
        """Its events, in order."""

    def read(self, ref: str) -> Iterable[bytes]:
        """The bytes of an artifact."""


def write_step_event(recorder: StepRecorder, source: Any) -> str:
    """Record a step that was made; the reference to what is kept of it, "" where it is no step."""
    with Guard("record_step") as pipeline:
        step = StepEvent.of(source)
        if pipeline is None:
            return recorder.finish_step(step.step_id)
        recorder.start_step(step.step_id, step_type=_STEP_TYPE)
        if step.tool_name:
            facts = ToolFacts(str(step.tool_name), "read", str(step.tool_name), None)
            OpenToolCall(facts, pipeline, None, dict(step.tool_args), "", None, None).end(step.tool_result)
        run = OPEN_RUNS.get(recorder.current_run_id or "")
        if run is not None and run.checkpoints is not None:
            run.checkpoints.state_told(step.output_state)
        return recorder.finish_step(step.step_id, None, {name: getattr(step, name) for name in _NAMES})
    return ""


def read_step_events(record: StepRecord) -> Iterator[StepEvent]:
    """The steps of a run that were recorded whole, in order.

    Raises:
        DamagedInput: what is kept of one is not what was saved.
    """
    types = {
        event.extra.get("ref"): event.extra.get("value_types")
        for event in record.events()
        if event.kind == "artifact.saved"
    }
    for step in record.steps:
        if step.step_type == _STEP_TYPE and step.output_ref is not None:
            found = orjson.loads(b"".join(record.read(step.output_ref)))
            found = decode_value(found, types.get(step.output_ref) or {})
            yield StepEvent(step.step_id, **{name: found[name] for name in _NAMES if name in found})
