"""Steps as whole values: a `StepEvent` becomes a step of a run with its tool call, and comes back as one.

`recorder.record_step` writes them, `RunRecord.step_events` reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from Agent.event.values.values import decode_value
from Agent.flight.calls.tool_calls import ToolCall, ToolFacts
from Agent.flight.checkpoints.model import StepEvent
from Agent.flight.open_runs.context import OPEN_RUNS
from Agent.flight.open_runs.never_raise import Guard

if TYPE_CHECKING:
    from Agent.flight.runs.reading import RunRecord
    from Agent.flight.runs.recorder import Recorder

__all__ = ["read_step_events", "write_step_event"]

_STEP_TYPE: Final = "step_event"
_NAMES: Final = tuple(name for name in StepEvent.__dataclass_fields__ if name != "step_id")


def write_step_event(recorder: Recorder, source: Any) -> str:
    """Record a step that was made; the reference to what is kept of it, "" where it is no step."""
    with Guard("record_step") as pipeline:
        step = StepEvent.of(source)
        if pipeline is None:
            return recorder.finish_step(step.step_id)
        recorder.start_step(step.step_id, step_type=_STEP_TYPE)
        if step.tool_name:
            facts = ToolFacts(str(step.tool_name), "read", str(step.tool_name), None)
            ToolCall(facts, pipeline, None, dict(step.tool_args), "", None, None).end(step.tool_result)
        run = OPEN_RUNS.get(recorder.current_run_id or "")
        if run is not None and run.checkpoints is not None:
            run.checkpoints.state_told(step.output_state)
        return recorder.finish_step(step.step_id, None, {name: getattr(step, name) for name in _NAMES})
    return ""


def read_step_events(record: RunRecord) -> Iterator[StepEvent]:
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
