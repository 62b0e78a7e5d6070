"""`checkpoint_store`: save checkpoints into the recorded session, and find them under the trace root.

Saving is recording, so failures never raise into the program: they are counted in `health()` and reported on
stderr and in the recording. All other methods raise, like all reading.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from Agent.errors import RunNotFound
from Agent.event.kinds import Category
from Agent.event.values.digest import code_digest, digest_bytes
from Agent.flight.checkpoints.files import checkpoints_dir
from Agent.flight.checkpoints.model import (
    Checkpoint,
    CheckpointInfo,
    CheckpointPolicy,
    CheckpointTrigger,
    Removed,
    RetentionPolicy,
)
from Agent.flight.checkpoints.store import LocalCheckpointStore
from Agent.flight.open_runs import OPEN_RUNS, Run, RunScope, is_run_id, settled_scope
from Agent.record.emit import installed as recording
from Agent.record.emit.context import SpanScope, current_scope
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.event_template import AgentBinding
from Agent.record.encode.safe_text import as_message
from Agent.record.loggers.loggers import INFO, present
from Agent.record.state.introspection import read_state
from Agent.tree.default_root import default_root
from Agent.tree.layout import readable_sessions

if TYPE_CHECKING:
    from Agent.record.tracing.traced_call import Call


def _session_of(pipeline: Pipeline) -> Path | None:
    """The session that a pipeline records; None if the recording keeps no files."""
    return None if pipeline.artifacts is None else pipeline.artifacts.session


def emit_checkpoint(pipeline: Pipeline, info: CheckpointInfo, binding: AgentBinding | None = None) -> str:
    """Write the event of a saved checkpoint into its run and return the event's id.

    Args:
        info: how the checkpoint is stored.
        binding: the binding of the agent whose exposed state it is; None for any other checkpoint.
    """
    payload = present(
        name=info.step_id,
        step_id=info.step_id,
        reason=info.reason,
        stored_as=info.kind,
        digest=info.digest,
        state_bytes=info.state_bytes,
        size_bytes=info.size_bytes,
        phase=info.phase,
        code_version=info.code,
        agent_version=info.agent_version,
        exposed=True if binding is not None else None,
    )
    scope = settled_scope()
    run_id = info.run_id if is_run_id(info.run_id) else None
    if (None if scope is None else scope.run_id) != run_id:
        scope = RunScope(None, run_id, None, None)
    if binding is None:
        category = Category.EVENTS if info.agent_id is None else Category.AGENTS
        binding = pipeline.binding(info.agent_id, None, "flight", category.value)
    token = current_scope.set(SpanScope(scope, tick=info.tick))
    try:
        return pipeline.emit(binding.slot("checkpoint", INFO), info.step_id, payload)
    finally:
        current_scope.reset(token)


class SessionCheckpoints:
    """A checkpoint store for the session that is being recorded at the time of each call."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._store: LocalCheckpointStore | None = None
        self._pipeline: Pipeline | None = None

    def save_checkpoint(
        self, checkpoint: Any, step_id: str | None = None, state: Any = None, /, **details: Any
    ) -> CheckpointInfo | None:
        """Save a checkpoint in the recorded session; if nothing is recorded yet, recording begins.

        Args:
            checkpoint: a `Checkpoint`, an object or mapping with the same names, or a run id.
            step_id: the step; only with a run id.
            state: the state, any value; only with a run id.
            details: further fields of a `Checkpoint`; `full=True` stores it as a snapshot.

        Returns:
            How it is stored; None if it could not be saved, which is counted in `health()`.

        Raises:
            TypeError: a required field is missing, or a field is unknown.
        """
        return self._saved(recording.current_pipeline(), None, checkpoint, step_id, state, **details)

    def take(
        self, pipeline: Pipeline, checkpoint: Checkpoint, binding: AgentBinding | None
    ) -> CheckpointInfo | None:
        """Save a checkpoint of a recorded run; if the step already has one, this one gets a numbered name.

        Args:
            pipeline: the pipeline that records the run.
            checkpoint: the checkpoint.
            binding: the binding of the agent whose exposed state it is; None for the whole run.
        """
        return self._saved(pipeline, binding, checkpoint, replace=False)

    def _saved(
        self, pipeline: Pipeline, binding: AgentBinding | None, *checkpoint: Any, **details: Any
    ) -> CheckpointInfo | None:
        """Save a checkpoint and write its event; None and a count if that fails. TypeError as above."""
        try:
            info = self._of(pipeline).save_checkpoint(*checkpoint, **details)
        except TypeError:
            raise
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            pipeline.health.trouble("checkpoint", error)
            pipeline.health.drop("a checkpoint could not be written")
            return None
        emit_checkpoint(pipeline, info, binding)
        return info

    def note_outcome(self, run_id: str, *, ok: bool) -> None:
        """Store the outcome of a run, which decides how long its checkpoints are kept."""
        pipeline = recording.active_pipeline()
        if self._store is None or pipeline is None or self._pipeline is not pipeline:
            return
        try:
            self._of(pipeline).note_outcome(run_id, ok=ok)
        except Exception as error:  # noqa: BLE001 - as above; `prune` then uses the run's events
            pipeline.health.trouble("the outcome of a run with checkpoints", error)

    def load_checkpoint(self, run_id: str, step_id: str, agent_id: str | None = None) -> Checkpoint:
        """Load the checkpoint of a step; raises RunNotFound, EventNotFound or DamagedInput."""
        return self._holding(run_id).load_checkpoint(run_id, step_id, agent_id)

    def list_checkpoints(self, run_id: str, agent_id: str | None = None) -> list[CheckpointInfo]:
        """List the checkpoints of a run, in the order in which they were saved; raises RunNotFound."""
        return self._holding(run_id).list_checkpoints(run_id, agent_id)

    def delete_checkpoints(
        self, run_id: str, step_ids: Iterable[str] | None = None, agent_id: str | None = None
    ) -> Removed:
        """Remove some or all checkpoints of a run; raises RunNotFound."""
        return self._holding(run_id).delete_checkpoints(run_id, step_ids, agent_id)

    def prune(self, policy: RetentionPolicy | None = None) -> Removed:
        """Remove the checkpoints that the policy does not keep, in every session under the trace root."""
        outcome = Removed()
        for session in self._sessions():
            with LocalCheckpointStore(session) as store:
                outcome.add(store.prune(policy))
        return outcome

    def after_fork_in_child(self) -> None:
        """Replace the lock, which a thread of the parent may hold at the time of the fork."""
        self._lock = threading.RLock()

    def _of(self, pipeline: Pipeline) -> LocalCheckpointStore:
        """The store of the session that the pipeline records; opened if necessary."""
        with self._lock:
            self._close_unless_for(pipeline)
            if self._store is None:
                if pipeline.artifacts is None:
                    raise OSError("this recording keeps no files")
                self._store = LocalCheckpointStore(pipeline.artifacts.session, redactor=pipeline.redactor)
                self._pipeline = pipeline
                # Releases the writer's claim when the session ends, so that others may prune its files.
                pipeline.at_close.append(lambda: self._end(pipeline))
            return self._store

    def _end(self, pipeline: Pipeline) -> None:
        """Close the store at the end of its session."""
        try:
            self._close_unless_for(None)
        except Exception as error:  # noqa: BLE001 - as above; saved checkpoints are not affected
            pipeline.health.trouble("the end of checkpoints", error)

    def _close_unless_for(self, pipeline: Pipeline | None) -> None:
        """Close the store if it belongs to another session than the pipeline's."""
        with self._lock:
            if self._store is not None and self._pipeline is not pipeline:
                self._store.close()
                self._store = self._pipeline = None

    def _sessions(self) -> list[Path]:
        """The directories of the recorded session, then of all others, newest first."""
        pipeline = recording.active_pipeline()
        self._close_unless_for(pipeline)
        recorded = None if pipeline is None else _session_of(pipeline)
        others = [ref.path for ref in reversed(readable_sessions(default_root())) if ref.path != recorded]
        return others if recorded is None else [recorded, *others]

    def _holding(self, run_id: str) -> LocalCheckpointStore:
        """The store of the newest session that has checkpoints of the run."""
        pipeline = recording.active_pipeline()
        for session in self._sessions():
            if checkpoints_dir(session, run_id).is_dir():
                if pipeline is not None and session == _session_of(pipeline):
                    return self._of(pipeline)
                return LocalCheckpointStore(session)
        raise RunNotFound(
            f"no session holds checkpoints of a run {run_id!r}",
            path=default_root(),
            remedy="set the trace root with AGENT_TRACE_ROOT, or use LocalCheckpointStore(session)",
        )


checkpoint_store = SessionCheckpoints()
"""The checkpoint store of the recorded session; see `SessionCheckpoints`."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=checkpoint_store.after_fork_in_child)


_FAILURE: Final = "failure"
"""The step name of the checkpoint of a run that failed outside of a step."""
_FUNCTIONS: Final = (FunctionType, MethodType, BuiltinFunctionType, partial)
_taking: ContextVar[bool] = ContextVar("agent_trace_taking_checkpoint", default=False)
"""Whether a checkpoint is being taken in this context; traced calls of a `trace_state` are then no steps."""


@dataclass(slots=True)
class _Agent:
    """An agent that has acted in the run, with the facts for its next checkpoint."""

    trigger: CheckpointTrigger
    binding: AgentBinding
    ref: Callable[[], object | None]
    code: str = ""
    event_id: str = ""
    steps: int = 0


def begin_checkpoints(
    pipeline: Pipeline, run: Run, policy: CheckpointPolicy | None, state: Any, labels: Mapping[str, Any]
) -> None:
    """Set up checkpoints for a new run, unless it has no policy and state, or its recording keeps no files.

    Args:
        pipeline: the pipeline that records the run.
        run: the run.
        policy: when to save; None with a `state` means on errors only.
        state: the run's own state: a function that returns it, an object that exposes it, or a value.
        labels: the labels of the run; `agent_version` is used for agents without a version.

    Raises:
        TypeError: `policy` is not a CheckpointPolicy.
    """
    if (policy is None and state is None) or pipeline.artifacts is None:
        return
    if policy is not None and not isinstance(policy, CheckpointPolicy):
        raise TypeError(f"checkpoints is not a CheckpointPolicy but {type(policy).__name__}")
    if pipeline.watcher is None:
        pipeline.watcher = _Watcher()
    run.checkpoints = RunCheckpointing(pipeline, run, policy or CheckpointPolicy(), state, labels)


class RunCheckpointing:
    """Decides when to save checkpoints of one run, and saves them; see `begin_checkpoints`."""

    def __init__(
        self, pipeline: Pipeline, run: Run, policy: CheckpointPolicy, state: Any, labels: Mapping[str, Any]
    ) -> None:
        self._pipeline, self._run, self._policy, self._state = pipeline, run, policy, state
        self._run_id = run.directory_id
        self._version = labels.get("agent_version")
        self._run_trigger: CheckpointTrigger | None = None
        if policy.of != "agents" or state is not None:
            self._run_trigger = policy.trigger(self._run_id)
        self._agents: dict[str, _Agent] = {}
        self._in_tick: dict[str, _Agent] = {}
        """The agents that have acted since the last tick ended."""
        self._steps = 0
        self._stepped = False
        """Whether a step of the run has ended since the last tick ended."""
        self._phase: str | None = None
        self._reason: str | None = None
        """The reason of the last checkpoint of the whole run."""
        self._was_saved = False

    def set_state(self, state: Any) -> None:
        """Set the state of the run, as passed by the program."""
        self._state = state
        if self._run_trigger is None:
            self._run_trigger = self._policy.trigger(self._run_id)

    def step_ended(self, step_id: str, *, failed: bool) -> None:
        """Save a checkpoint if one is due after a step that `finish_step` ended."""
        self._stepped = True
        self._attempt(self._save_of_run, step_id, _tick_of(settled_scope()), error=failed)

    def phase_began(self, name: str) -> None:
        """Set the current phase."""
        self._phase = name

    def action_ended(self, call: Call, event_id: str, *, failed: bool) -> None:
        """Save a checkpoint if one is due after the entry action of an agent."""
        self._attempt(self._action_ended, call, event_id, settled_scope(), failed=failed)

    def _action_ended(self, call: Call, event_id: str, scope: SpanScope | None, *, failed: bool) -> None:
        step_id = self._open_step(scope)
        tick = _tick_of(scope)
        agent_id = call.binding.agent_id
        if call.tracker is not None and agent_id is not None:
            agent = self._agents.get(agent_id)
            if agent is None:
                trigger = self._policy.trigger(self._run_id)
                agent = self._agents[agent_id] = _Agent(trigger, call.binding, call.tracker.obj)
            agent.ref, agent.event_id, agent.steps = call.tracker.obj, event_id, agent.steps + 1
            agent.code = (call.spec.code or call.spec.identify()).digest
            if tick is not None:
                self._in_tick[agent_id] = agent  # checkpoints by tick are saved at the end of the tick
            if self._policy.of != "run":
                self._save_of_agent(agent_id, agent, step_id or f"step_{agent.steps}", tick, error=failed)
        if call.root and step_id is None and tick is None:
            # Outside of steps and ticks, each outermost action of the program counts as a step of the run.
            self._steps += 1
            self._save_of_run(f"step_{self._steps}", tick, error=failed)

    def tick_ended(self, number: int) -> None:
        """Save the checkpoints that are due after a tick of the simulation."""
        acted, self._in_tick = self._in_tick, {}
        stepped, self._stepped = self._stepped, False
        scope = settled_scope()
        for agent_id, agent in acted.items() if self._policy.of != "run" else ():
            self._attempt(
                self._save_of_agent, agent_id, agent, f"tick_{number}", number, tick=number, steps=0
            )
        if self._open_step(scope) is None and (scope is None or not scope.actions):
            # A tick counts as a step, unless steps of the run ended in it and were counted already.
            self._attempt(self._save_of_run, f"tick_{number}", number, steps=0 if stepped else 1)

    def run_ended(self, *, ok: bool) -> None:
        """Save the state of a failed run, unless the error already led to a checkpoint; store the outcome."""
        if not ok and self._reason != "error":
            self._attempt(self._save_of_run, _FAILURE, _tick_of(settled_scope()), error=True)
        if not self._was_saved and not self._agents and self._state is None:
            self._pipeline.health.note("a run has a checkpoint policy, but nothing in it exposed state")
        checkpoint_store.note_outcome(self._run_id, ok=ok)

    def _attempt(self, save: Callable[..., None], *args: Any, **step: Any) -> None:
        """Call a method that saves, unless one is at work; its exceptions are counted, not raised."""
        if _taking.get():
            return
        token = _taking.set(True)
        try:
            save(*args, **step)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._pipeline.health.trouble("a checkpoint", error)
            self._pipeline.health.drop("a checkpoint could not be taken")
        finally:
            _taking.reset(token)

    def _open_step(self, scope: SpanScope | None) -> str | None:
        """The innermost open step of the run in this scope, or None."""
        names = () if scope is None else scope.path
        return next((name for name in reversed(names) if name in self._run.steps), None)

    def _save_of_agent(self, agent_id: str, agent: _Agent, name: str, at: int | None, **step: Any) -> None:
        """Save a checkpoint of one agent, if it is due and the agent still exists.

        Args:
            at: the current tick.
            step: what its trigger gets.
        """
        reason = agent.trigger.due(self._pipeline.monotonic_ns(), phase=self._phase, **step)
        obj = agent.ref() if reason is not None else None
        if obj is not None:
            state = dict(read_state(obj).fields)
            about = {"agent_id": agent_id, "code": agent.code, "event_id": agent.event_id or None}
            self._save(agent.binding, name, state, _version_of(obj), tick=at, reason=reason, **about)

    def _save_of_run(self, name: str, at: int | None, **step: Any) -> None:
        """Save a checkpoint of the whole run, if it is due; arguments as for an agent."""
        if self._run_trigger is None:
            return
        reason = self._run_trigger.due(self._pipeline.monotonic_ns(), tick=at, phase=self._phase, **step)
        state = self._state_of_run() if reason is not None else None
        self._reason = reason or self._reason
        if state is not None:
            self._save(None, name, state, self._only_version(), tick=at, reason=reason, code=self._code())

    def _state_of_run(self) -> Any:
        """The run's own state; without one, {agent id: state} for its agents, or None if it has none."""
        if self._state is not None:
            return _exposed(self._state)
        living = ((agent_id, agent.ref()) for agent_id, agent in list(self._agents.items()))
        states = {agent_id: dict(read_state(obj).fields) for agent_id, obj in living if obj is not None}
        return states or None

    def _only_version(self) -> str | None:
        """The version of its agents, if all have the same."""
        objects = [agent.ref() for agent in list(self._agents.values())]
        versions = {_version_of(obj) for obj in objects if obj is not None}
        return versions.pop() if len(versions) == 1 else None

    def _code(self) -> str | None:
        """The digest of the code that ran: of the traced functions, or without any, of the program's file."""
        codes = sorted({agent.code for agent in list(self._agents.values())})
        if not codes:
            return _program_digest()
        return codes[0] if len(codes) == 1 else digest_bytes(" ".join(codes).encode())

    def _save(
        self, binding: AgentBinding | None, name: str, state: Any, version: str | None, **about: Any
    ) -> None:
        about |= {"agent_version": version or self._version, "phase": self._phase}
        taken = Checkpoint(self._run_id, name, state, **about)
        saved = checkpoint_store.take(self._pipeline, taken, binding)
        self._was_saved = self._was_saved or saved is not None


def _tick_of(scope: SpanScope | None) -> int | None:
    return None if scope is None else scope.tick


class _Watcher:
    """A `RunWatcher`: passes the ends of actions and ticks, and beginnings of phases, to the current run."""

    def action_ended(self, call: Call, event_id: str, error: BaseException | None) -> None:
        if (taken := _of_scope()) is not None:
            taken.action_ended(call, event_id, failed=error is not None)

    def tick_ended(self, number: int) -> None:
        if (taken := _of_scope()) is not None:
            taken.tick_ended(number)

    def phase_began(self, name: str) -> None:
        if (taken := _of_scope()) is not None:
            taken.phase_began(name)


def _of_scope() -> RunCheckpointing | None:
    """The checkpointing of the current run, or None."""
    scope = settled_scope()
    run = None if scope is None or scope.run_id is None else OPEN_RUNS.get(scope.run_id)
    checkpointing = None if run is None else run.checkpoints
    return checkpointing if isinstance(checkpointing, RunCheckpointing) else None


def _exposed(state: Any) -> Any:
    """The state that a program passed: a function is called, an object is read, a builtin value is kept."""
    if isinstance(state, _FUNCTIONS):
        state = state()
    if isinstance(state, Mapping) or type(state).__module__ == "builtins":
        return state
    return dict(read_state(state).fields)


def _version_of(obj: object) -> str | None:
    version = getattr(obj, "agent_version", None)
    return None if version is None else as_message(version)


@cache
def _program_digest() -> str | None:
    """The digest of the main program's file; None in an interactive session, or if it cannot be read."""
    import sys

    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # type: ignore[arg-type]
            return code_digest("__main__", "", file.read())
    except (OSError, TypeError):
        return None  # the program has no readable file
