"""`CheckpointManager`: lists, creates and loads the checkpoints under a trace root.

`replay_executor.py` continues from them. If a run has no checkpoints, they are made from its recorded steps
(`done_steps`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable
from urllib.parse import quote, unquote

import orjson

from Agent.archive.sealed.reader import open_reader
from Agent.errors import EventNotFound, RunNotFound, SessionNotFound, UsageError
from Agent.event.clock import parse_timestamp
from Agent.event.kinds import ACTION_KINDS
from Agent.event.model import Event
from Agent.event.pointers import tags_below
from Agent.event.values.values import decode_value
from Agent.flight.checkpoints.files import checkpoints_dir
from Agent.flight.checkpoints.model import Checkpoint, CheckpointInfo
from Agent.flight.checkpoints.state_fold import StateFold
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.flight.recorded_calls import RecordedProgram
from Agent.flight.recorded_graphs import GRAPH_STEP, INNER_GRAPH_STEP, INNER_NODE_STEP, NODE_STEP
from Agent.flight.run_fold import Step
from Agent.flight.run_reading import RunRecord, RunRef, find_run, read_run
from Agent.record.emit.installed import flush_active
from Agent.tree.default_root import default_root
from Agent.tree.layout import LAST, readable_sessions
from Agent.tree.write.artifacts import ROOT_RUN

NOT_RECORDED: Final[Any] = object()
START: Final = "start"
"""The step id of the checkpoint before the first step."""
_INNER_STEPS: Final = (INNER_GRAPH_STEP, INNER_NODE_STEP)
_STEP_EVENT = "step_event"


class CheckpointName(NamedTuple):
    """The parts of a checkpoint id."""

    run: str
    """The run's id; for a session's root run, the session's."""
    step_id: str
    agent_id: str | None = None

    def __str__(self) -> str:
        parts = (self.run, self.step_id) if self.agent_id is None else self
        return ":".join(quote(part, safe="") for part in parts if part is not None)


def parse_checkpoint_id(checkpoint_id: str) -> CheckpointName:
    """Split a checkpoint id into its parts.

    Raises:
        UsageError: the text is not a checkpoint id.
    """
    parts = [unquote(part) for part in str(checkpoint_id).split(":")]
    refuse_unstorable(*parts)
    if len(parts) not in {2, 3} or not parts[0]:
        raise UsageError(
            f"{checkpoint_id!r} is not a checkpoint id",
            remedy="auto_checkpoint_trace and list_checkpoints return ids: RUN:STEP or RUN:STEP:AGENT",
        )
    return CheckpointName(*parts)


def refuse_unstorable(*names: str) -> None:
    """Raise UsageError for a name that no database can store: one with a NUL or a lone surrogate."""
    for name in names:
        if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise UsageError(f"no run and no step is named {name!r}", remedy="agent-trace runs lists them")


_MOST_STEPS: Final = 1000


@dataclass(frozen=True, slots=True)
class SavedCheckpoint:
    """A checkpoint with its id; only `get_checkpoint` loads its state."""

    checkpoint_id: str
    session: Path
    info: CheckpointInfo
    ref: RunRef
    state: Any = None
    unrestored: tuple[str, ...] = ()
    """JSON pointers within `state` to the values that could not be restored."""

    @property
    def run(self) -> str:
        """The run, or one agent of a session's root run, as written on a command line."""
        return self.ref._replace(agent_id=self.info.agent_id).name

    @property
    def saved_us(self) -> int:
        """When it was saved, in microseconds since 1970."""
        return parse_timestamp(self.info.timestamp)


@runtime_checkable
class RunSource(Protocol):
    """A store that copies runs to the trace root on demand, such as a pool of `Agent.store`."""

    @property
    def name(self) -> str:
        """The source's name in error messages."""

    @property
    def local_root(self) -> Path:
        """The trace root in which runs that the source does not have are looked up."""

    def bring(self, trace_id: str) -> None:
        """Copy a run to the trace root, or update the copy; do nothing if the source does not have it."""

    def keep(self, session: Path, infos: list[CheckpointInfo]) -> None:
        """Save checkpoints of a session in the source."""

    def drop(self, session: Path, info: CheckpointInfo) -> None:
        """Remove a checkpoint from the source."""

    def keep_replay(
        self, session: Path, info: CheckpointInfo, replay_id: str, report: Mapping[str, Any]
    ) -> None:
        """Save the report of a replay in the source."""


class CheckpointManager:
    """Lists, makes, loads and removes checkpoints of recorded runs.

    Args:
        place: a trace root, or the directory of one session; None for the configured trace root, then
            ./trace. An object with an attribute `trace_root` that is such a path is accepted too.

    Raises:
        UsageError: `place` is something else.
    """

    def __init__(self, place: Any = None) -> None:
        self.place = place
        self.source = place if isinstance(place, RunSource) else None
        root = getattr(place, "trace_root", place)
        if root is not None and not isinstance(root, (str, os.PathLike)):
            raise UsageError(
                f"a CheckpointManager cannot be made from a {type(place).__name__}",
                remedy="give a trace root, a session's directory, or nothing",
            )
        path = default_root() if root is None else Path(root)
        self._session = path if path.name.startswith("session_") and path.is_dir() else None
        self.root = path if self._session is None else path.parent
        self.hidden_by: tuple[str, ...] = ()
        """Fields that were unknown after some steps in the last `auto_checkpoint_trace`."""

    async def auto_checkpoint_trace(self, trace_id: str, *, limit: int = _MOST_STEPS) -> list[str]:
        """Make checkpoints at the steps of a run, unless the run has checkpoints already.

        One is made before the first step of each agent, and one after each step whose whole state is
        recorded. Large fields and generators are recorded in full states only (first, last, on error, every
        256 actions), so the state after other steps is unknown; `hidden_by` then names these fields.

        Args:
            trace_id: a run's id or its beginning, a session, `SESSION/agent_id`, or `last`.
            limit: the maximum number of checkpoints after steps, and of those before the first steps of
                agents; if there are more, every n-th is made.

        Returns:
            The ids of all checkpoints of the run, in the order of the steps.

        Raises:
            RunNotFound: the run does not exist.
            EventNotFound: neither the state before the first step nor one after any step is known.
        """
        return await asyncio.to_thread(self._auto, trace_id, limit)

    async def list_checkpoints(self, trace_id: str) -> list[SavedCheckpoint]:
        """List a run's checkpoints without their states, in the order of saving; RunNotFound."""
        return await asyncio.to_thread(self._listed, trace_id)

    async def get_checkpoint(self, checkpoint_id: str) -> SavedCheckpoint:
        """Load a checkpoint with its state.

        Raises:
            UsageError: the text is not a checkpoint id.
            RunNotFound, EventNotFound, DamagedInput: the checkpoint does not exist, or cannot be read.
        """
        return await asyncio.to_thread(self._loaded, checkpoint_id)

    async def delete_checkpoint(self, checkpoint_id: str) -> bool:
        """Remove a checkpoint; return False if the run did not have it. UsageError, RunNotFound."""
        return await asyncio.to_thread(self._deleted, checkpoint_id)

    async def create_checkpoint(self, checkpoint: Any) -> str:
        """Save a `Checkpoint` of a recorded run, or an object with its fields; return its id. RunNotFound."""
        return await asyncio.to_thread(self._created, Checkpoint.of(checkpoint))

    def last_state_like(self, saved: SavedCheckpoint) -> Any:
        """Return the state of the last checkpoint of the same run and agent."""
        same = [each for each in self._listed_of(saved.ref) if each.info.agent_id == saved.info.agent_id]
        return self._loaded(same[-1].checkpoint_id).state

    def find(self, trace_id: str) -> RunRef:
        """Find a run, even one that has only checkpoints; RunNotFound."""
        flush_active()
        trace_id = trace_id if trace_id is None else str(trace_id)
        if self.source is not None:
            refuse_unstorable(trace_id or "")
            return self._find_by(self.source, trace_id)
        return self._find_here(trace_id)

    def _find_by(self, source: RunSource, trace_id: str) -> RunRef:
        """Find the run in the source, or else among those recorded on this machine."""
        if trace_id and trace_id != LAST:
            source.bring(trace_id)
            with contextlib.suppress(RunNotFound, SessionNotFound):
                return self._find_here(trace_id)
        try:
            return CheckpointManager(source.local_root).find(trace_id)
        except (RunNotFound, SessionNotFound):
            raise RunNotFound(
                f"no run {trace_id!r} in {source.name}, nor under {source.local_root}",
                remedy="agent-trace ship --content sends a run there; agent-trace runs lists the local ones",
            ) from None

    def source_of(self, session: Path) -> RunSource | None:
        """Return the source of a session; None for one that was recorded on this machine."""
        return self.source if session.parent == self.root else None

    def _find_here(self, trace_id: str) -> RunRef:
        if self._session is not None and trace_id in {None, "last"}:
            return RunRef(self._session, None)
        for session in self._sessions():
            if trace_id and trace_id != ROOT_RUN and checkpoints_dir(session, trace_id).is_dir():
                return RunRef(session, trace_id)
        return find_run(trace_id, self.root)

    def _sessions(self) -> Iterator[Path]:
        if self._session is not None:
            yield self._session
        else:
            yield from (ref.path for ref in reversed(readable_sessions(self.root)))

    def _auto(self, trace_id: str, limit: int) -> list[str]:
        ref = self.find(trace_id)
        known = self._listed_of(ref)
        if known:
            return [each.checkpoint_id for each in known]
        done = done_steps(ref, ref.agent_id)
        steps = [step for step in done if step.state is not NOT_RECORDED]
        self.hidden_by = tuple(sorted({name for step in done for name in step.hidden_by}))
        first: dict[str | None, DoneStep] = {}
        for step in done:
            first.setdefault(step.agent_id, step)
        starts = [step for step in first.values() if step.before is not NOT_RECORDED]
        if not steps and not starts:
            raise self._nothing_known(trace_id, ref)
        spacing = -(-len(steps) // max(limit, 1))
        run_id = ref.run_id or ROOT_RUN
        with LocalCheckpointStore(ref.session) as store:
            for step in starts[:: -(-len(starts) // max(limit, 1)) or 1]:
                store.save_checkpoint(step.start(run_id), replace=False)
            for number, step in enumerate(steps, start=1):
                if number % spacing == 0 or number == len(steps):
                    store.save_checkpoint(step.checkpoint(run_id), replace=False)
        listed = self._listed_of(ref)
        self._keep(ref.session, [each.info for each in listed])
        return [each.checkpoint_id for each in listed]

    def _keep(self, session: Path, infos: list[CheckpointInfo]) -> None:
        if (source := self.source_of(session)) is not None:
            source.keep(session, infos)

    def _nothing_known(self, trace_id: str, ref: RunRef) -> EventNotFound:
        hidden = ", ".join(self.hidden_by[:5])
        if hidden:
            return EventNotFound(
                f"the state after the steps of {trace_id!r} is not known, since {hidden} cannot be recorded",
                path=ref.session,
                remedy="keep such fields out of the exposed state, or give the run a CheckpointPolicy",
            )
        source = self.source_of(ref.session)
        location = "" if source is None else f" in {source.name}"
        return EventNotFound(
            f"no state is known after any step of {trace_id!r}{location}",
            path=None if source is not None else ref.session,
            remedy="if it was sent without content, send it again: agent-trace ship --content"
            if source is not None
            else "record steps or agents with exposed state, or give the run a CheckpointPolicy",
        )

    def _listed(self, trace_id: str) -> list[SavedCheckpoint]:
        return self._listed_of(self.find(trace_id))

    def _listed_of(self, ref: RunRef) -> list[SavedCheckpoint]:
        with LocalCheckpointStore(ref.session) as store:
            try:
                listed = store.list_checkpoints(ref.run_id or ROOT_RUN)
            except RunNotFound:
                return []  # the run exists, without checkpoints
        return [self._named(ref, info) for info in listed if ref.agent_id in {None, info.agent_id}]

    def _named(self, ref: RunRef, info: CheckpointInfo, **more: Any) -> SavedCheckpoint:
        run = ref.run_id or ref.session.name.removeprefix("session_")
        name = CheckpointName(run, info.step_id, info.agent_id)
        return SavedCheckpoint(str(name), ref.session, info, ref, **more)

    def _loaded(self, checkpoint_id: str) -> SavedCheckpoint:
        name = parse_checkpoint_id(checkpoint_id)
        ref = self.find(name.run)
        with LocalCheckpointStore(ref.session) as store:
            loaded = store.load_checkpoint(ref.run_id or ROOT_RUN, name.step_id, name.agent_id)
        assert loaded.info is not None  # noqa: S101 - a loaded checkpoint has its info
        return self._named(ref, loaded.info, state=loaded.state, unrestored=loaded.unrestored)

    def _deleted(self, checkpoint_id: str) -> bool:
        name = parse_checkpoint_id(checkpoint_id)
        ref = self.find(name.run)
        run_id = ref.run_id or ROOT_RUN
        with LocalCheckpointStore(ref.session) as store:
            try:
                known = store.list_checkpoints(run_id)
            except RunNotFound:
                return False
            meant = [each for each in known if (each.step_id, each.agent_id) == name[1:]]
            if not meant:
                return False
            gone = store.delete_checkpoints(run_id, [name.step_id], name.agent_id, exactly=True)
        source = self.source_of(ref.session)
        if source is not None:
            source.drop(ref.session, meant[0])
        return gone.checkpoints > 0

    def _created(self, checkpoint: Checkpoint) -> str:
        ref = self.find(checkpoint.run_id)
        checkpoint.run_id = ref.run_id or ROOT_RUN
        with LocalCheckpointStore(ref.session) as store:
            info = store.save_checkpoint(checkpoint)
        self._keep(ref.session, [info])
        return self._named(ref, info).checkpoint_id


def given_and_output(saved: SavedCheckpoint, last_state: Any) -> tuple[Any, Any, str | None]:
    """Return the input of the step after a checkpoint, the run's output, and the type of step it consists of.

    Args:
        last_state: the output to return for a run without recorded steps.

    Returns:
        Input and output, None if not recorded; then `GRAPH_STEP` for a recorded graph, else None.
    """
    steps = done_steps(saved.ref, saved.info.agent_id)
    graph = [step for step in steps if step.step_type == GRAPH_STEP]
    if graph:
        call, _, number = saved.info.step_id.rpartition("step_")
        own = next((step for step in graph if step.step_id == f"{call}graph"), graph[-1])
        return own.given if number == "0" else None, own.output, GRAPH_STEP
    steps = [step for step in steps if step.step_type != NODE_STEP]
    if not steps:
        return None, last_state, None
    recorded_input = next((step.given for step in steps[_place(saved, steps) :]), NOT_RECORDED)
    output = steps[-1].output
    return (
        None if recorded_input is NOT_RECORDED else recorded_input,
        None if output is NOT_RECORDED else output,
        None,
    )


def _place(saved: SavedCheckpoint, steps: list[DoneStep]) -> int:
    """Count the steps before a checkpoint: by event id, by step id, or by time."""
    for number, step in enumerate(steps, start=1):
        if saved.info.event_id is not None and step.event_id == saved.info.event_id:
            return number
    named = [number for number, step in enumerate(steps, start=1) if step.step_id == saved.info.step_id]
    if named:
        return named[-1]
    return sum(step.ended_us <= saved.saved_us for step in steps)


@dataclass(slots=True)
class DoneStep:
    """A finished step of a run, or a finished action of an agent."""

    step_id: str
    ended_us: int
    agent_id: str | None = None
    event_id: str | None = None
    given: Any = NOT_RECORDED
    output: Any = NOT_RECORDED
    before: Any = NOT_RECORDED
    """The state before the step, or a function that restores it, since most states are never needed."""
    state: Any = NOT_RECORDED
    """The state after the step, or a function that restores it."""
    step_type: str | None = None
    tick: int | None = None
    error: str | None = None
    """Type and message of the exception, or `cancelled` or `interrupted`."""
    before_us: int | None = None
    """The time of the state before it."""
    hidden_by: tuple[str, ...] = ()
    """Fields without a recorded value after the step: large ones and generators are in full states only."""
    kept: Mapping[str, Any] = field(default_factory=dict)
    """The whole recorded output of a graph or of one of its nodes."""
    unrestored: tuple[str, ...] = ()
    """JSON pointers within `kept` to the values that could not be restored."""

    def checkpoint(self, run_id: str) -> Checkpoint:
        """Return the state after the step as a checkpoint."""
        return Checkpoint(
            run_id,
            self.step_id,
            self.state() if isinstance(self.state, partial) else self.state,
            agent_id=self.agent_id,
            timestamp=datetime.fromtimestamp(self.ended_us / 1e6, UTC),
            tick=self.tick,
            reason="auto",
            event_id=self.event_id,
        )

    def start(self, run_id: str) -> Checkpoint:
        """Return the state before the step as a checkpoint."""
        at_us = self.ended_us - 1 if self.before_us is None else self.before_us
        return replace(
            self, step_id=START, state=self.before, ended_us=at_us, tick=None, event_id=None
        ).checkpoint(run_id)


def done_steps(ref: RunRef, agent_id: str | None = None) -> list[DoneStep]:
    """Return a run's finished steps, or else its agents' outermost actions, in the order of their ends.

    Args:
        ref: the run; if it has only checkpoints, the result is empty.
        agent_id: return the actions of this agent only.
    """
    program = RecordedProgram(ref.session)
    if agent_id is None:
        try:
            record = read_run(ref)
        except RunNotFound:
            return []
        steps = list(_recorder_steps(record, program))
        if steps:
            return steps
    return sorted(_actions(ref, agent_id, program), key=lambda step: step.ended_us)


def _made(
    program: RecordedProgram,
    value: Any,
    types: Mapping[str, str] | None,
    below: str = "",
    lost: list[str] | None = None,
) -> Any:
    """Restore a recorded value; tokens remain in place of secrets.

    Args:
        below: the JSON pointer of the value, from which its tags are selected.
        lost: collects the pointers of values that cannot be restored.
    """
    tags = {at: tag for at, tag in tags_below(types, below).items() if tag != "redacted"}
    return decode_value(value, tags, codecs=program, unrestored=lost)


def _recorder_steps(record: RunRecord, program: RecordedProgram) -> Iterator[DoneStep]:
    types = {
        event.extra.get("ref"): event.extra.get("value_types")
        for event in record.events()
        if event.kind == "artifact.saved"
    }
    outputs: dict[str, Any] = {}
    began_at = record.summary.started_at
    # A root run has no start; there, the first event may be a call.
    before_us = None if began_at is None else parse_timestamp(began_at) - (record.ref.run_id is None)
    ended = [step for step in record.steps if step.output_ref is not None and step.finished_at is not None]
    for step in sorted(ended, key=lambda each: str(each.finished_at)):
        kept = orjson.loads(b"".join(record.read(str(step.output_ref))))
        lost: list[str] = []
        value = _made(program, kept, types.get(step.output_ref), lost=lost)
        done = DoneStep(
            step.step_id,
            parse_timestamp(str(step.finished_at)),
            output=value,
            step_type=step.step_type,
            error=_error_of(step),
        )
        if step.step_type == _STEP_EVENT and isinstance(value, dict):
            done.given = done.before = value.get("input_state")
            # Not when the step was recorded: that is after its work, and a run's first calls belong to it.
            done.before_us = before_us
            done.output = done.state = value.get("output_state")
        elif step.step_type in {GRAPH_STEP, NODE_STEP} and isinstance(value, dict):
            done.given, done.output = value.get("input"), value.get("output")
            done.kept, done.unrestored = value, tuple(lost)
        elif step.step_type in _INNER_STEPS:
            continue  # parts of a node
        else:
            outputs[step.step_id] = value
            done.state = dict(outputs)
        yield done


def _error_of(step: Step) -> str | None:
    """Return a step's exception as text, or the state of a step that ended for another reason."""
    if step.state == "ok":
        return None
    return str(step.error) if step.state == "error" else step.state


def _actions(ref: RunRef, agent_id: str | None, program: RecordedProgram) -> Iterator[DoneStep]:
    """Yield the outermost actions, each with the exposed state after it if all fields are known."""
    tracks: dict[str | None, _Track] = {}
    for event in open_reader(ref.session).events(agent_id or ref.agent_id):
        track = tracks.setdefault(event.agent_id, _Track())
        track.add(event, program)
        is_own = ref.run_id is None or event.run_id == ref.run_id
        if event.kind not in ACTION_KINDS or event.code is None or "call" not in event.extra or not is_own:
            continue
        track.count += 1
        yield track.done(event, program)


@dataclass(slots=True)
class _Track:
    """The state of one agent while its events are read."""

    fold: StateFold = field(default_factory=StateFold)
    count: int = 0
    latest: DoneStep | None = None

    def add(self, event: Event, program: RecordedProgram) -> None:
        """Apply an event; a full state right after a step is the state after that step."""
        self.fold.add(event)
        fields = event.extra.get("fields")
        if event.kind != "state" or not isinstance(fields, dict) or self.latest is None:
            return
        if not self.fold.unseen:
            self.latest.state = partial(_made, program, dict(self.fold.fields), self.fold.types())
            self.latest.hidden_by = ()

    def done(self, event: Event, program: RecordedProgram) -> DoneStep:
        extra, fold = event.extra, self.fold
        done = DoneStep(f"step_{self.count}", event.timestamp_us, event.agent_id, event.id, tick=event.tick)
        if "args" in extra:
            done.given = _made(program, extra["args"], event.types, "/extra/args")
        done.output = _made(program, extra.get("result"), event.types, "/extra/result")
        done.hidden_by = (*fold.unseen, *fold.sampled)
        if fold.base is not None:
            if not done.hidden_by:
                done.state = partial(_made, program, dict(fold.fields), fold.types())
            full = fold.base.extra.get("fields")
            if self.count == 1 and isinstance(full, dict) and not fold.unseen:
                done.before = partial(_made, program, full, fold.base.types, "/extra/fields")
                done.before_us = fold.base.timestamp_us
        self.latest = done
        return done
