"""What was done in a run, step by step: what each was given, what it gave, and the state behind it.

`saved_points.py` makes checkpoints of it, and looks there for what an executor is to be given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from Agent.archive.sealed.reader import open_reader
from Agent.errors import RunNotFound
from Agent.event.clock import parse_timestamp
from Agent.event.model import Event
from Agent.event.values.values import decode_value
from Agent.flight.checkpoints.model import Checkpoint
from Agent.flight.checkpoints.state_fold import StateFold
from Agent.flight.integrations.graph_calls import GRAPH_STEP, INNER_GRAPH_STEP, INNER_NODE_STEP, NODE_STEP
from Agent.flight.open_runs.fold import Step
from Agent.flight.open_runs.main_module import RecordedProgram
from Agent.flight.runs.reading import RunRecord, RunRef, read_run
from Agent.replay.plan.recording import ACTION_KINDS

NOT_RECORDED: Final[Any] = object()
START: Final = "start"
"""The step id of a checkpoint that stands before the first step."""
_INNER_STEPS: Final = (INNER_GRAPH_STEP, INNER_NODE_STEP)
_STEP_EVENT = "step_event"


@dataclass(slots=True)
class DoneStep:
    """One step that has ended."""

    step_id: str
    ended_us: int
    agent_id: str | None = None
    event_id: str | None = None
    given: Any = NOT_RECORDED
    output: Any = NOT_RECORDED
    before: Any = NOT_RECORDED
    """The state before it."""
    state: Any = NOT_RECORDED
    """The state behind it."""
    step_type: str | None = None
    tick: int | None = None
    error: str | None = None
    """Type and text of what it raised; `cancelled` or `interrupted`, where it was."""
    began_us: int | None = None
    """When the state before it was recorded."""
    hidden_by: tuple[str, ...] = ()
    """Fields whose value behind it is not recorded: large ones and generators stand in full states only."""
    kept: Mapping[str, Any] = field(default_factory=dict)
    """All that a recorded graph or a node of one kept of itself."""
    unrestored: tuple[str, ...] = ()
    """Pointers below `kept` of what could not be brought back."""

    def checkpoint(self, run_id: str) -> Checkpoint:
        """The state behind it, to be kept."""
        return self._kept(run_id, self.step_id, self.state, self.ended_us, self.event_id)

    def start(self, run_id: str) -> Checkpoint:
        """The state before it, likewise."""
        at_us = self.ended_us - 1 if self.began_us is None else self.began_us
        return self._kept(run_id, START, self.before, at_us, None)

    def _kept(self, run_id: str, step_id: str, state: Any, at_us: int, event_id: str | None) -> Checkpoint:
        return Checkpoint(
            run_id,
            step_id,
            state.made() if isinstance(state, _Recorded) else state,
            agent_id=self.agent_id,
            timestamp=datetime.fromtimestamp(at_us / 1e6, UTC),
            tick=self.tick if step_id != START else None,
            reason="auto",
            event_id=event_id,
        )


def done_steps(ref: RunRef, agent_id: str | None = None) -> list[DoneStep]:
    """The steps of the recorder in a run; without any, the outermost actions of its agents, as they ended.

    Args:
        ref: the run; nothing of it has to be there but checkpoints.
        agent_id: of one agent only.
    """
    values = _Values(RecordedProgram(ref.session))
    if agent_id is None:
        try:
            record = read_run(ref)
        except RunNotFound:
            return []
        found = list(_recorder_steps(record, values))
        if found:
            return found
    return sorted(_actions(ref, agent_id, values), key=lambda step: step.ended_us)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A recorded state; made into values only where it is kept, since most are not."""

    values: _Values
    fields: Mapping[str, Any]
    types: Mapping[str, str] | None
    below: str = ""

    def made(self) -> Any:
        """The state as values."""
        return self.values.made(self.fields, self.types, self.below)


@dataclass(slots=True)
class _Values:
    """Makes recorded values again; tokens stay in the place of secrets."""

    program: Mapping[str, Any]

    def made(
        self,
        value: Any,
        types: Mapping[str, str] | None,
        below: str = "",
        lost: list[str] | None = None,
    ) -> Any:
        """The value whose tags stand below that pointer; `lost` collects what cannot be made again."""
        tags = {
            pointer[len(below) :]: tag
            for pointer, tag in (types or {}).items()
            if tag != "redacted" and (pointer == below or pointer.startswith(f"{below}/"))
        }
        return decode_value(value, tags, codecs=self.program, unrestored=lost)


def _recorder_steps(record: RunRecord, values: _Values) -> Iterator[DoneStep]:
    types = {
        event.extra.get("ref"): event.extra.get("value_types")
        for event in record.events()
        if event.kind == "artifact.saved"
    }
    outputs: dict[str, Any] = {}
    ended = [step for step in record.steps if step.output_ref is not None and step.finished_at is not None]
    for step in sorted(ended, key=lambda each: str(each.finished_at)):
        kept = orjson.loads(b"".join(record.read(str(step.output_ref))))
        lost: list[str] = []
        found = values.made(kept, types.get(step.output_ref), lost=lost)
        done = DoneStep(
            step.step_id,
            parse_timestamp(str(step.finished_at)),
            output=found,
            step_type=step.step_type,
            error=_error_of(step),
        )
        if step.step_type == _STEP_EVENT and isinstance(found, dict):
            done.given = done.before = found.get("input_state")
            done.began_us = None if step.started_at is None else parse_timestamp(step.started_at)
            done.output = done.state = found.get("output_state")
        elif step.step_type in {GRAPH_STEP, NODE_STEP} and isinstance(found, dict):
            done.given, done.output = found.get("input"), found.get("output")
            done.kept, done.unrestored = found, tuple(lost)
        elif step.step_type in _INNER_STEPS:
            continue  # parts of a node
        else:
            outputs[step.step_id] = found
            done.state = dict(outputs)
        yield done


def _error_of(step: Step) -> str | None:
    """Type and text of what it raised; one word of a step that ended for another reason."""
    if step.state == "ok":
        return None
    return str(step.error) if step.state == "error" else step.state


def _actions(ref: RunRef, agent_id: str | None, values: _Values) -> Iterator[DoneStep]:
    """Outermost actions, with the exposed state behind each where all of it is known."""
    tracks: dict[str | None, _Track] = {}
    for event in open_reader(ref.session).events(agent_id or ref.agent_id):
        track = tracks.setdefault(event.agent_id, _Track())
        track.add(event, values)
        is_own = ref.run_id is None or event.run_id == ref.run_id
        if event.kind not in ACTION_KINDS or event.code is None or "call" not in event.extra or not is_own:
            continue
        track.count += 1
        yield track.done(event, values)


@dataclass(slots=True)
class _Track:
    """One agent so far."""

    fold: StateFold = field(default_factory=StateFold)
    count: int = 0
    latest: DoneStep | None = None

    def add(self, event: Event, values: _Values) -> None:
        """Fold an event in; a full state right behind a step is the state behind that step."""
        self.fold.add(event)
        fields = event.extra.get("fields")
        if event.kind != "state" or not isinstance(fields, dict) or self.latest is None:
            return
        if not self.fold.unseen:
            self.latest.state = _Recorded(values, dict(self.fold.fields), self.fold.types())
            self.latest.hidden_by = ()

    def done(self, event: Event, values: _Values) -> DoneStep:
        extra, fold = event.extra, self.fold
        done = DoneStep(f"step_{self.count}", event.timestamp_us, event.agent_id, event.id, tick=event.tick)
        if "args" in extra:
            done.given = values.made(extra["args"], event.types, "/extra/args")
        done.output = values.made(extra.get("result"), event.types, "/extra/result")
        done.hidden_by = (*fold.unseen, *fold.sampled)
        if fold.base is not None:
            if not done.hidden_by:
                done.state = _Recorded(values, dict(fold.fields), fold.types())
            full = fold.base.extra.get("fields")
            if self.count == 1 and isinstance(full, dict) and not fold.unseen:
                done.before = _Recorded(values, full, fold.base.types, "/extra/fields")
                done.began_us = fold.base.timestamp_us
        self.latest = done
        return done
