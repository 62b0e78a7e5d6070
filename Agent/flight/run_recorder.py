"""The recorder: runs, their steps, model calls and artifacts, as calls and as blocks.

Most programs use `from Agent.flight import recorder`. Calls never raise; failures are counted in
`Agent.health()`. `open_runs.py` tracks what is open and writes the events, `artifact_saving.py` saves the
artifacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from Agent.event.kinds import RunStatus
from Agent.flight.artifact_saving import save_artifact, save_call_part, save_step_output
from Agent.flight.model_calls import cost_of
from Agent.flight.open_runs import (
    OPEN_RUNS,
    OpenStep,
    RecordingGuard,
    Run,
    RunScope,
    emit_run_event,
    ending_of,
    is_open,
    is_run_id,
    new_run_id,
    note_misuse,
    open_run,
    settled_scope,
    surrounding_run,
)
from Agent.flight.tool_calls import OpenToolCall, ToolFacts
from Agent.record.emit import installed
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.safe_text import as_message, as_text
from Agent.record.loggers.loggers import WARNING, as_fields, present
from Agent.tree.layout import safe_name
from Agent.tree.write.artifacts import artifact_ref, make_run_dir, safe_path

if TYPE_CHECKING:
    from Agent.flight.checkpoints.model import CheckpointPolicy, StepEvent


class RecorderBlock:
    """A `with` or `async with` block that begins and ends something."""

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _begin(self) -> None:
        """Do what entering the block requires; nothing by default."""

    def _end(self, error: BaseException | None) -> None:
        """Do what leaving the block requires."""


class RunBlock(RecorderBlock):
    """A block that is a run. `run_id` is set on entry; `finish_run` may end the run before the block ends."""

    def __init__(
        self, recorder: Recorder, agent: str | None, labels: Mapping[str, Any] | None, **more: Any
    ) -> None:
        self._recorder = recorder
        self._agent, self._labels, self._more = agent, labels, more
        self.run_id = ""

    def _begin(self) -> None:
        self.run_id = self._recorder.start_run(self._agent, self._labels, **self._more)

    def _end(self, error: BaseException | None) -> None:
        if is_open(self.run_id):
            self._recorder.finish_run(error is None, error, run_id=self.run_id)


class StepBlock(RecorderBlock):
    """A block that is a step. Assign `output` inside; `output_ref` is set when the block ends."""

    def __init__(self, recorder: Recorder, step_id: str, name: str | None, step_type: str | None) -> None:
        self._recorder = recorder
        self._step = step_id, name
        self._step_type = step_type
        self.output: Any = None
        self.output_ref: str | None = None

    def _begin(self) -> None:
        self._recorder.start_step(*self._step, step_type=self._step_type)

    def _end(self, error: BaseException | None) -> None:
        self.output_ref = self._recorder.finish_step(*self._step, self.output, error=error)


class AttachBlock(RecorderBlock):
    """A block in which everything recorded belongs to a run that is open in another thread or process."""

    def __init__(self, recorder: Recorder, run_id: str) -> None:
        self._recorder = recorder
        self.run_id = run_id
        self._joined: tuple[Token[Run | None], RunScope] | None = None

    def _begin(self) -> None:
        self._joined = self._recorder.join(self.run_id)

    def _end(self, _error: BaseException | None) -> None:
        joined, self._joined = self._joined, None
        if joined is not None:
            self._recorder.part(*joined)


T = TypeVar("T")


class Recorder:
    """Records runs; each recorder has its own current run in every thread and asyncio task.

    Without a current run, its calls belong to the enclosing run of any recorder, or else to the session's
    root run. Another thread or process takes part in a run by `with attach(run_id):`.

    Args:
        agent: the agent of these runs, unless `start_run` names one.
        labels: added to every run.
    """

    def __init__(self, agent: str | None = None, labels: Mapping[str, Any] | None = None) -> None:
        self._agent = agent
        self._labels = dict(labels or {})
        self._current: ContextVar[Run | None] = ContextVar("agent_trace_run", default=None)

    @property
    def current_run_id(self) -> str | None:
        """Return the id of the current run, None for the session's root run."""
        active = installed.active_pipeline()
        return None if active is None else self._run(active).run_id

    def start_run(
        self,
        agent: str | None = None,
        labels: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        checkpoints: CheckpointPolicy | None = None,
        state: Any = None,
    ) -> str:
        """Begin a run and return its id, a UUIDv7; within another run it becomes that run's child.

        Args:
            agent: the agent of the run.
            labels: labels by which it can be found.
            run_id: its id, if it already has one: lowercase letters, digits, `_`, `-` and `.`.
            checkpoints: when to save states, such as `CheckpointPolicy(every_steps=10)`.
            state: the run's own state: a function that returns it, or an object that exposes it.
        """
        identity = new_run_id() if run_id is None or not is_run_id(as_message(run_id)) else as_message(run_id)
        with RecordingGuard("start_run") as pipeline:
            if pipeline is None:
                return identity
            if run_id is not None and identity != run_id:
                note_misuse(pipeline, "a run was given an invalid id", as_text(run_id))
            self._start(pipeline, identity, self._agent if agent is None else agent, labels)
            if checkpoints is not None or state is not None:
                from Agent.flight.checkpoints.recording import begin_checkpoints

                labels = {**self._labels, **as_fields(labels)}
                begin_checkpoints(pipeline, OPEN_RUNS[identity], checkpoints, state, labels)
        return identity

    def finish_run(
        self,
        ok: bool = True,
        error: str | BaseException | None = None,
        *,
        status: str | None = None,
        run_id: str | None = None,
    ) -> str:
        """End the current run, or the given one; return the event's id.

        Args:
            ok: whether it reached its goal.
            error: why not: text, or the exception, which is recorded with its traceback.
            status: `success`, `failure` or `partial`; default: from `ok`.
            run_id: the run; default: the current one.
        """
        with RecordingGuard("finish_run") as pipeline:
            if pipeline is None:
                return ""
            run = self._run(pipeline, run_id)
            if run.run_id is None or (run_id is None and run is not self._own_run(pipeline)):
                note_misuse(pipeline, "a run was finished, but none is open", as_text(run_id or error))
                return ""
            return self._finish(pipeline, run, bool(ok), error, status)
        return ""

    def start_step(
        self,
        step_id: str,
        name: str | None = None,
        *,
        step_type: str | None = None,
        run_id: str | None = None,
    ) -> str:
        """Begin a step, which contains everything recorded until it is finished; return the event's id."""
        with RecordingGuard("start_step") as pipeline:
            if pipeline is None:
                return ""
            run = self._run(pipeline, run_id)
            identity, shown = as_message(step_id), None if name is None else as_message(name)
            before = settled_scope()
            agent = before.agent if before is not None else None
            scope = RunScope(before, run.run_id, pipeline.next_span_id(), agent, identity)
            payload = present(
                step_id=identity,
                name=shown,
                step_type=None if step_type is None else as_message(step_type),
                step_span=scope.span_id,
            )
            written = emit_run_event(pipeline, run, "step.started", payload, scope=before)
            run.add(OpenStep(pipeline, scope, identity, shown))
            scope.enter()
            return written
        return ""

    def finish_step(
        self,
        step_id: str,
        name: str | None = None,
        output: Any = None,
        *,
        error: str | BaseException | None = None,
        metadata: Mapping[str, Any] | None = None,
        run_id: str | None = None,
    ) -> str:
        """End a step and keep its output as a JSON artifact; return the reference to it."""
        identity = as_message(step_id)
        with RecordingGuard("finish_step") as pipeline:
            if pipeline is None:
                return artifact_ref(f"steps/{safe_name(identity)}.json")
            run = self._run(pipeline, run_id)
            around: Run | None = run
            while around is not None and identity not in around.steps:
                around = around.parent  # the step began before a nested run did
            run = run if around is None else around
            step = run.take(identity)
            output_ref = save_step_output(pipeline, run, identity, output)
            payload = present(
                step_id=identity,
                name=as_message(name) if name is not None else step.name if step is not None else None,
                output_ref=output_ref,
                metadata=as_fields(metadata) or None,
                **ending_of(pipeline, run, error),
            )
            if step is None:
                note_misuse(pipeline, "a step was finished that is not open", identity)
                payload["problem"] = "it was not open"
                emit_run_event(pipeline, run, "step.finished", payload, level=WARNING)
                return output_ref
            payload["duration_ms"] = step.close(pipeline)
            before = step.scope.before
            emit_run_event(pipeline, run, "step.finished", payload, scope=before, span_id=step.span_id)
            if run.checkpoints is not None:
                run.checkpoints.step_ended(identity, failed=payload.get("outcome") == "error")
            return output_ref
        return artifact_ref(f"steps/{safe_name(identity)}.json")

    def record_step(self, step: StepEvent) -> str:
        """Record a completed step from a `StepEvent`; return the reference to its artifact.

        Its tool call is recorded like any other, and its output state is saved in the run's checkpoints.
        """
        from Agent.flight.checkpoints.model import STEP_EVENT, StepEvent

        with RecordingGuard("record_step") as pipeline:
            step = StepEvent.of(step)
            if pipeline is None:
                return self.finish_step(step.step_id)
            self.start_step(step.step_id, step_type=STEP_EVENT)
            if step.tool_name:
                facts = ToolFacts(str(step.tool_name), "read", str(step.tool_name), None)
                call = OpenToolCall(facts, pipeline, None, dict(step.tool_args), "", None, None)
                call.end(step.tool_result)
            run = OPEN_RUNS.get(self.current_run_id or "")
            if run is not None and run.checkpoints is not None:
                run.checkpoints.set_state(step.output_state)
            return self.finish_step(step.step_id, None, step.output)
        return ""

    def record_model_call(  # noqa: PLR0913, PLR0917 - the fields of a model call
        self,
        step_id: str | None = None,
        call_id: str | None = None,
        model_name: str = "",
        model_version: str | None = None,
        model_provider: str | None = None,
        params: Mapping[str, Any] | None = None,
        prompt: Any = None,
        output: Any = None,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        latency_ms: float | None = None,
        *,
        run_id: str | None = None,
        **fields: Any,
    ) -> str:
        """Record one model call, with prompt and output as artifacts; return the reference to the output.

        Text is kept as text, anything else (such as lists of messages) as JSON. Further `fields` become part
        of the event.
        """
        call = new_run_id() if call_id is None else as_message(call_id)
        suffix = "txt" if isinstance(output, str) else "json"
        with RecordingGuard("record_model_call") as pipeline:
            if pipeline is None:
                return artifact_ref(f"calls/{safe_name(call)}/output.{suffix}")
            run = self._run(pipeline, run_id)
            step = None if step_id is None else as_message(step_id)
            tool = as_message(model_name)
            prompt_ref = None
            if prompt is not None:
                prompt_ref = save_call_part(pipeline, run, call, "prompt", prompt, step, tool=tool)
            output_ref = save_call_part(pipeline, run, call, "output", output, step, tool=tool)
            payload = present(
                "model_name",
                call_id=call,
                step_id=step,
                model_name=as_message(model_name),
                model_version=None if model_version is None else as_message(model_version),
                model_provider=None if model_provider is None else as_message(model_provider),
                params=None if params is None else as_fields(params),
                prompt_ref=prompt_ref,
                output_ref=output_ref,
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
                latency_ms=latency_ms,
                **cost_of(model_name, prompt_tokens, completion_tokens),
            )
            emit_run_event(pipeline, run, "model.call", payload, fields=fields)
            return output_ref
        return artifact_ref(f"calls/{safe_name(call)}/output.{suffix}")

    def save_artifact(
        self, path: str, data: Any, media_type: str | None = None, *, run_id: str | None = None
    ) -> str:
        """Store data as a file of the run; return the reference to it.

        Args:
            path: its name, relative, with `/`; it cannot lead outside the run. A name in use
                gets a number, so no artifact is overwritten.
            data: text, bytes, a `Path` or an open file (streamed), a numpy array, a data frame, or any value,
                which is kept as JSON. Secrets are replaced in text and JSON.
            media_type: such as `application/json`; default: from the data and the name.
            run_id: the run; default: the current one.
        """
        with RecordingGuard("save_artifact") as pipeline:
            if pipeline is not None:
                return save_artifact(pipeline, self._run(pipeline, run_id), path, data, media_type)
        return artifact_ref(safe_path(as_message(path)))

    def run(
        self,
        agent: str | None = None,
        labels: Mapping[str, Any] | None = None,
        *,
        checkpoints: CheckpointPolicy | None = None,
        state: Any = None,
    ) -> RunBlock:
        """Return a block that is a run; an exception that leaves it fails the run and is re-raised."""
        return RunBlock(self, agent, labels, checkpoints=checkpoints, state=state)

    def step(self, step_id: str, name: str | None = None, *, step_type: str | None = None) -> StepBlock:
        """Return a block that is a step; the value assigned to its `output` is saved."""
        return StepBlock(self, step_id, name, step_type)

    def attach(self, run_id: str) -> AttachBlock:
        """Return a block in which all calls belong to a run that began in another thread or process."""
        return AttachBlock(self, run_id)

    def adopt(self, generator: T, name: str | None = None) -> T:
        """Record the draws from a generator; use the returned one: see `recorded_sources`."""
        from Agent.record.sources.sources import adopt

        return adopt(generator, name)

    def join(self, run_id: str) -> tuple[Token[Run | None], RunScope] | None:
        """Make a run the current one until `part` is called; `attach` is the block that does both."""
        with RecordingGuard("attach") as pipeline:
            if pipeline is None:
                return None
            run = self._run(pipeline, run_id)
            before = settled_scope()
            binding = None if run.agent_id is None else pipeline.binding(run.agent_id, None, "flight")
            span_id = run.span.span_id if run.span is not None else None
            scope = RunScope(before, run.run_id, span_id, binding)
            scope.enter()
            return self._current.set(run), scope
        return None

    def part(self, token: Token[Run | None], scope: RunScope) -> None:
        """Undo `join`."""
        scope.leave()
        self._current.reset(token)

    def _own_run(self, pipeline: Pipeline) -> Run | None:
        """The innermost open run of this recorder; None outside of its runs."""
        run = self._current.get()
        # A run may have been ended in another task, or belong to a session that was closed since.
        while run is not None and (run.ended or run.pipeline is not pipeline):
            run = run.parent
        return run

    def _run(self, pipeline: Pipeline, run_id: str | None = None) -> Run:
        """The run that a call belongs to."""
        if run_id is not None:
            text = as_message(run_id)
            if is_run_id(text):
                return open_run(text, pipeline)
            note_misuse(pipeline, "a run was named by an invalid id", text)
        return self._own_run(pipeline) or surrounding_run(pipeline)

    def _start(
        self, pipeline: Pipeline, run_id: str, agent: str | None, labels: Mapping[str, Any] | None
    ) -> None:
        surrounding_run(pipeline)  # registers the root run, whose close hook detaches all runs of the session
        parent = self._run(pipeline)
        before = settled_scope()
        agent_id = None if agent is None else as_message(agent)
        run = OPEN_RUNS[run_id] = Run(pipeline, run_id, agent_id, self._own_run(pipeline))
        binding = None if agent_id is None else pipeline.binding(agent_id, None, "flight")
        payload = present(
            agent=agent_id,
            labels={**self._labels, **as_fields(labels)} or None,
            parent_run_id=parent.run_id,
        )
        if pipeline.artifacts is not None:
            make_run_dir(pipeline.artifacts.session, run_id)
        emit_run_event(pipeline, run, "run.started", payload, scope=before)
        run.enter(pipeline, before, binding)
        self._current.set(run)

    def _finish(
        self,
        pipeline: Pipeline,
        run: Run,
        ok: bool,
        error: str | BaseException | None,
        status: str | None,
    ) -> str:
        """Close the run's open steps and the run itself, and write `run.finished`."""
        # Read before `run.end`, which clears them.
        left_open = run.open_steps()
        payload = {"ok": ok, **ending_of(pipeline, run, error)}
        payload["status"] = as_message(status or (RunStatus.SUCCESS if ok else RunStatus.FAILURE).value)
        for step in reversed(left_open):
            step.close(pipeline)
        if left_open:
            payload["open_steps"] = [step.step_id for step in left_open]
        run.end(ok=ok)
        if self._current.get() is run:
            self._current.set(run.parent)
        if run.span is None:  # begun in another process, so its start time is unknown here
            return emit_run_event(pipeline, run, "run.finished", payload)
        payload["duration_ms"] = run.span.close(pipeline)
        before = run.span.scope.before
        return emit_run_event(pipeline, run, "run.finished", payload, scope=before, span_id=run.span.span_id)


recorder = Recorder()
"""The recorder that most programs use."""
