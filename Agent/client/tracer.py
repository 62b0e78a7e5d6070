"""`AgentTracer`: record an agent's runs, steps and failures on this machine, and send them to a service.

An agent waits only for recording. A separate process (`sender.py`) sends the events, so a slow or unreachable
service neither delays the agent nor loses events.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Any, Final, Self

from Agent.client.destination import Destination
from Agent.client.sender import Sender, finish_sender, sender_for
from Agent.errors import UsageError
from Agent.event.kinds import FAILURE_TYPES, RUN_STATUSES, FailureCode, FailureType, RunStatus, StepType
from Agent.export.failure_classes import classify_exception
from Agent.flight.open_runs import RecordingGuard, emit_run_event, ending_of, is_open, note_misuse, open_run
from Agent.flight.run_recorder import Recorder, RecorderBlock
from Agent.record.emit import installed
from Agent.record.encode.safe_text import as_message, as_text, message_of
from Agent.record.health import note, say
from Agent.record.loggers.loggers import WARNING, as_fields, present
from Agent.record.tracing.failures import fingerprint, place_of

_EXIT_TIMEOUT_S: Final = 5.0


class AgentTracer:
    """Traces the runs of one agent.

    Args:
        agent_id: the agent, as a short label: `customer_support`.
        agent_version: the agent's version, such as `1.0.0`.
        api_url: the address of the ingest service, such as `http://localhost:8000`; without it runs are only
            recorded, and `agent-trace ship` can send them later.
        api_key: the key for a service that is not on this machine.
        environment: a label of every run, such as `production`.
        send_content: also send payloads and messages; a service stores them if the project accepts content.
        exit_timeout_s: the seconds that the end of the program waits for unsent events.

    Raises:
        ConfigurationError: an invalid address or key.
        UsageError: `agent_id` is missing.
    """

    def __init__(
        self,
        agent_id: str,
        agent_version: str | None = None,
        api_url: str | None = None,
        api_key: str | None = None,
        *,
        environment: str | None = None,
        send_content: bool = False,
        exit_timeout_s: float = _EXIT_TIMEOUT_S,
    ) -> None:
        if not isinstance(agent_id, str) or not agent_id:
            raise UsageError("agent_id is not a name", remedy="use a short one, such as customer_support")
        self.agent_id = agent_id
        self.agent_version = agent_version
        self.destination = None if api_url is None else Destination(api_url, api_key)
        self._recorder = Recorder(
            agent_id, labels=present(agent_version=agent_version, environment=environment)
        )
        self._content = send_content
        self._exit_timeout_s = exit_timeout_s
        self._sender: Sender | None = None
        if self.destination is not None and self.destination.shows_key:
            say(f"the API key goes to {self.destination.place} unencrypted; use https")

    def start_run(self, labels: Mapping[str, Any] | None = None, *, run_id: str | None = None) -> AgentRun:
        """Start a run; use the result as a context manager, or call its `finish()`.

        Args:
            labels: labels to find the run by, in addition to the agent's version and environment.
            run_id: the run's id, if it already has one: lower-case letters, digits, `_`, `-` and `.`.
        """
        run = AgentRun(self._recorder, as_fields(labels), run_id)
        try:
            self._begin_to_send()
        except Exception as error:  # noqa: BLE001 - a failure to send must not stop an agent
            note(f"beginning to send: {type(error).__name__}")
            say(f"nothing is sent ({error}); `agent-trace ship` sends later")
        return run

    def _begin_to_send(self) -> None:
        pipeline = installed.active_pipeline()
        if self.destination is None or pipeline is None or pipeline.artifacts is None:
            return
        session = pipeline.artifacts.session
        sender = self._sender
        if sender is None or sender.session != session:
            self._sender = sender_for(
                session,
                self.destination,
                content=self._content,
                exit_timeout_s=self._exit_timeout_s,
            )

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until the service has everything recorded so far; return whether it has.

        Events are sent without this call too. It is for programs that query the service right afterwards.
        """
        installed.flush_active()
        if self._sender is None:
            return False
        return bool(self._sender.flush(timeout_s).get("delivered"))

    async def aflush(self, timeout_s: float = 10.0) -> bool:
        """Do the same as `flush` without blocking the event loop."""
        from asyncio import to_thread

        return await to_thread(self.flush, timeout_s)

    def health(self) -> dict[str, Any]:
        """Return the state of sending: events sent and refused, dropped values by path, current problem."""
        if self._sender is not None:
            self._sender.flush(0.0)
            return {name: value for name, value in self._sender.last.items() if name != "order"}
        return {"delivered": False, "sent": 0, "problem": "nothing is being sent"}

    def close(self) -> None:
        """Send the rest and end the sender process; the end of the program does the same."""
        sender, self._sender = self._sender, None
        installed.flush_active()
        if sender is not None:
            finish_sender(sender)

    async def aclose(self) -> None:
        """Do the same as `close` without blocking the event loop."""
        from asyncio import to_thread

        await to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


_STEP_TYPES: Final = frozenset(kind.value for kind in StepType)

_current_step: ContextVar[AgentStep | None] = ContextVar("agent_trace_client_step", default=None)


class AgentRun(RecorderBlock):
    """One execution of an agent, from `AgentTracer.start_run()` to the end of its block or `finish()`.

    Its status is the one passed to `finish(status=...)`; else `failure` after an exception left the block or
    a failure was recorded; else `success`.
    """

    def __init__(
        self, recorder: Recorder, labels: Mapping[str, Any] | None = None, run_id: str | None = None
    ) -> None:
        self._recorder = recorder
        self._numbers = itertools.count(1)
        self._failures = 0
        self._failed_in: tuple[BaseException, AgentStep] | None = None
        self.run_id = recorder.start_run(labels=labels, run_id=run_id)

    def step(self, step_type: str, name: str | None = None) -> AgentStep:
        """Make a step of the run; it starts when its block is entered.

        Args:
            step_type: `plan`, `retrieve`, `tool`, `respond` or `other`.
            name: a short label: `search_kb`.
        """
        return AgentStep(self, f"step_{next(self._numbers)}", step_type, name)

    def record_failure(
        self,
        failure_type: str,
        failure_code: str = FailureCode.UNKNOWN.value,
        message: str | None = None,
        *,
        error: BaseException | None = None,
    ) -> str:
        """Record a failure of the run, in the enclosing step, and return the event's id.

        Args:
            failure_type: `tool`, `model`, `retrieval` or `orchestration`.
            failure_code: such as `timeout`, `schema_invalid`, `empty_retrieval`, or any other label.
            message: text for display; it is stored on this machine only, unless content is sent.
            error: the exception, if any.
        """
        current = _current_step.get()
        step = current if current is not None and current.run is self else None
        self._failures += 1
        with RecordingGuard("record_failure") as pipeline:
            if pipeline is None:
                return ""
            kind = as_message(failure_type)
            if kind not in FAILURE_TYPES:
                note_misuse(pipeline, "a failure was given an unknown type", kind)
                kind = FailureType.ORCHESTRATION.value
            run = open_run(self.run_id, pipeline)
            payload = present(
                failure_type=kind,
                failure_code=as_message(failure_code),
                step_id=step.step_id if step is not None else None,
                step_span=step.span_id if step is not None else None,
                failure_message=None if message is None else as_text(message),
            )
            if error is not None:
                shape = fingerprint(type(error).__qualname__, message_of(error)[:4000], place_of(error))
                payload["fingerprint"] = shape
                ending = ending_of(pipeline, run, error)
                payload |= {key: ending[key] for key in ("error_id",) if key in ending}
            return emit_run_event(pipeline, run, "run.failure", payload, level=WARNING)
        return ""

    def finish(self, status: str | None = None, error: str | BaseException | None = None) -> str:
        """End the run, and return the event's id, "" if it has already ended.

        Args:
            status: `success`, `failure` or `partial`; default: derived from the exceptions and failures.
            error: why the run did not reach its goal.
        """
        if not is_open(self.run_id):
            return ""
        message = None if status is None else as_message(status)
        if message is not None and message not in RUN_STATUSES:
            with RecordingGuard("finish") as pipeline:
                if pipeline is not None:
                    note_misuse(pipeline, "a run was given an unknown status", message)
            message = None
        if isinstance(error, Exception) and not self._failures:
            self._classify(error)
        failed = error is not None or self._failures > 0
        final_status = message or (RunStatus.FAILURE if failed else RunStatus.SUCCESS).value
        ok = final_status == RunStatus.SUCCESS.value
        return self._recorder.finish_run(ok, error, status=final_status, run_id=self.run_id)

    def _classify(self, error: Exception) -> None:
        """Record an exception as a failure, in the innermost step that it left, if any."""
        step = self._failed_in[1] if self._failed_in is not None and self._failed_in[0] is error else None
        kind, code = classify_exception(error, step.step_type if step is not None else None)
        token = _current_step.set(step)
        try:
            self.record_failure(kind.value, code.value, error=error)
        finally:
            _current_step.reset(token)

    def failed_in(self, step: AgentStep, error: BaseException) -> None:
        """Remember the innermost step that an exception left."""
        if self._failed_in is None or self._failed_in[0] is not error:
            self._failed_in = error, step

    def _end(self, error: BaseException | None) -> None:
        self.finish(error=error)


class AgentStep(RecorderBlock):
    """One step of a run. `output` is stored on this machine as an artifact; metadata is also sent."""

    def __init__(self, run: AgentRun, step_id: str, step_type: str, name: str | None) -> None:
        self.run = run
        self.step_id = step_id
        self.step_type = as_message(step_type)
        self.name = name
        self.span_id: str | None = None
        self.output: Any = None
        self._metadata: dict[str, Any] = {}
        self._token: Token[AgentStep | None] | None = None
        self._ended = False

    def add_metadata(self, metadata: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Add data for the later assessment of the step: counts, statuses, booleans, short labels.

        Before sending, the allow-list removes texts and personal data.
        """
        self._metadata.update({**as_fields(metadata), **more})
        if self._ended:
            self._misused("metadata came after the end of its step", self.step_id)

    def _begin(self) -> None:
        if self.step_type not in _STEP_TYPES:
            self._misused("a step was given an unknown type", self.step_type)
            self.step_type = StepType.OTHER.value
        recorder = self.run._recorder  # noqa: SLF001 - AgentStep and AgentRun belong together
        recorder.start_step(self.step_id, self.name, step_type=self.step_type, run_id=self.run.run_id)
        with RecordingGuard("start_step") as pipeline:
            if pipeline is not None:
                steps = open_run(self.run.run_id, pipeline).steps.get(self.step_id)
                self.span_id = steps[-1].span_id if steps else None
        self._token = _current_step.set(self)

    def _end(self, error: BaseException | None) -> None:
        self._ended = True
        token, self._token = self._token, None
        if token is not None:
            try:
                _current_step.reset(token)
            except ValueError:
                _current_step.set(None)  # the block was left in another context than it was entered in
        if error is not None:
            self.run.failed_in(self, error)
        recorder = self.run._recorder  # noqa: SLF001
        recorder.finish_step(
            self.step_id,
            self.name,
            self.output,
            error=error,
            metadata=self._metadata,
            run_id=self.run.run_id,
        )

    def _misused(self, misuse: str, detail: str) -> None:
        with RecordingGuard("step") as pipeline:
            if pipeline is not None:
                note_misuse(pipeline, misuse, detail)
