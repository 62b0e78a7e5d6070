"""One call of a tool while it is open: arguments as they came in, answer or exception, then its event.

`tool_recording.py` begins and ends it; `recorded_calls.py` reads it back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Token
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from Agent.flight.open_runs.artifact_saving import CallParts
from Agent.flight.open_runs.context import Run, settled_scope, surrounding_run
from Agent.flight.open_runs.run_events import emit_run_event
from Agent.record.emit.context import Answer, SpanScope, current_scope, learn_secrets
from Agent.record.encode.safe_text import message_of
from Agent.record.tracing.changed_arguments import cannot_change
from Agent.record.tracing.failures import outcome_of, record_error

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.encode.event_template import AgentBinding

_MAX_ERROR_CHARS = 400


class Codec(Protocol):
    """How answers of a tool are recorded, and made again."""

    def encode(self, answer: Any, /) -> Any:
        """The answer as plain values."""

    def decode(self, recorded: Any, /) -> Any:
        """The answer again."""


class ToolFacts(NamedTuple):
    """What is known of a tool before it is called."""

    name: str
    kind: str
    """`read` or `write`."""
    qualname: str
    codec: Codec | None


class OpenToolCall:
    """A call that is open.

    Args:
        facts: the tool.
        agent: the agent whose method it is; None for the one around the call.
        arguments: by name.
        site: the function that calls it.
        idempotency_key: of this call, where it has one.
        answer: what the recording says, which stands for the body; None where the body runs.
    """

    __slots__ = (
        "_agent", "_board_slot", "_changeable", "_facts", "_parts", "_pipeline", "_run", "_scope", "_site",
        "_span_id", "_started_ns", "_token", "answer", "leave",
    )  # fmt: skip

    def __init__(
        self,
        facts: ToolFacts,
        pipeline: Pipeline,
        agent: AgentBinding | None,
        arguments: dict[str, Any],
        site: str,
        idempotency_key: str | None,
        answer: Answer | None,
    ) -> None:
        self._facts = facts
        self._pipeline = pipeline
        self._site = site
        self.answer = answer
        self.leave: Callable[[Any, BaseException | None], None] | None = None
        scope = settled_scope()
        if agent is not None and (scope is None or scope.agent is not agent):
            scope = SpanScope(scope, agent=agent)
        self._scope = scope
        self._run: Run = surrounding_run(pipeline)
        self._span_id = span_id = pipeline.next_span_id()
        if agent is None and scope is not None:
            agent = scope.agent
        self._agent = agent or pipeline.binding(self._run.agent_id, None, "flight", "errors")
        self._parts = CallParts(pipeline, self._run, span_id, facts.name)
        self._parts.take("args", arguments)
        self._changeable = None if cannot_change(map(type, arguments.values())) else arguments
        if idempotency_key is not None:
            self._parts.take("idempotency_key", idempotency_key)
        own_agent = None if agent is None else self._agent
        inside = SpanScope(scope, span_id=span_id, name=facts.name, agent=own_agent)
        learn_secrets(inside, self._parts.secrets)
        inside.reads = None  # a replay answers the tool, so nothing in its body is read again
        self._token: Token[SpanScope | None] = current_scope.set(inside)
        self._board_slot = -1
        if pipeline.board is not None:
            agent_id = None if agent is None else agent.agent_id
            self._board_slot = pipeline.board.open_span(
                span_id, agent_id, facts.name, pipeline.wall_ns() // 1000
            )
        self._started_ns = pipeline.monotonic_ns()

    def end(self, result: Any) -> None:
        """The body returned, or the record answered: write the event."""
        duration_ns = self._pipeline.monotonic_ns() - self._started_ns
        try:
            self._close()
            self._parts.take_changes(self._changeable, result)
            self._take_answer("result", result)
            self._write(duration_ns)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(error)
        if self.leave is not None:
            self.leave(result, None)

    def fail(self, error: BaseException) -> None:
        """The body raised: write the error once, and the event."""
        duration_ns = self._pipeline.monotonic_ns() - self._started_ns
        ending = self._ending(error)
        try:
            self._close()
            self._parts.take_changes(self._changeable, error)
            self._write(duration_ns, ending)
        except Exception as trouble:  # noqa: BLE001 - the user's own exception is the one that must get out
            self._trouble(trouble)
        if self.leave is not None:
            self.leave(None, error)

    def _take_answer(self, part: str, value: Any) -> None:
        codec = self._facts.codec
        if codec is not None:
            try:
                value = codec.encode(value)
            except Exception as error:  # noqa: BLE001 - a codec of the user's; the plain record is better than none
                self._pipeline.health.trouble(f"the codec of the tool {self._facts.name}", error)
            else:
                self._parts.add(b'"coded":true')
        self._parts.take(part, value)

    def _ending(self, error: BaseException) -> dict[str, Any]:
        """What the event says of an exception; it is recorded within the call's own span."""
        outcome = outcome_of(error)
        ending: dict[str, Any] = {"outcome": outcome}
        if outcome == "error":
            more = {"call": self._facts.qualname}
            try:
                told = f"{type(error).__qualname__}: {message_of(error)[:_MAX_ERROR_CHARS]}"
                secrets = self._parts.secrets
                ending["error"] = self._pipeline.redactor.text_without(secrets, told) if secrets else told
                ending["error_id"] = record_error(self._pipeline, self._agent, error, more=more)
            except Exception as trouble:  # noqa: BLE001 - the user's own exception is the one that must get out
                self._trouble(trouble)
        return ending

    def _close(self) -> None:
        board = self._pipeline.board
        if self._board_slot >= 0 and board is not None:
            board.close_span(self._board_slot)
        self._leave_scope()

    def _leave_scope(self) -> None:
        try:
            current_scope.reset(self._token)
        except ValueError:  # a loop that ends closes what is open in a context of its own
            self._pipeline.health.note("a span was closed in another context")

    def _write(self, duration_ns: int, ending: Mapping[str, Any] | None = None) -> None:
        """Write the event; it stands in the run in which the call began."""
        facts = self._facts
        payload: dict[str, Any] = {"name": facts.name, "call_id": self._span_id, "tool_kind": facts.kind}
        if self._site:
            payload["site"] = self._site
        if self._scope is not None and self._scope.path:
            payload["path"] = list(self._scope.path)
        if self.answer is not None and self.answer.event_id is not None:
            payload["answered_by"] = self.answer.event_id
        if ending is not None:
            payload.update(ending)
        payload["duration_ms"] = round(duration_ns / 1e6, 6)
        emit_run_event(
            self._pipeline,
            self._run,
            "tool.call",
            payload,
            scope=self._scope or _NOWHERE,
            span_id=self._span_id,
            judged=self._parts.members(),
            judged_types=self._parts.types,
        )

    def _trouble(self, error: BaseException) -> None:
        self._pipeline.health.trouble(f"the end of the tool {self._facts.name}", error)
        self._pipeline.health.drop("a call of a tool could not be recorded")


_NOWHERE = SpanScope(None)


class SteppedToolCall(OpenToolCall):
    """The call of a generator: what it yields is kept, item by item, and stands in one event at its end."""

    __slots__ = ("_inner", "_yielded", "body")

    def __init__(
        self,
        facts: ToolFacts,
        pipeline: Pipeline,
        agent: AgentBinding | None,
        arguments: dict[str, Any],
        site: str,
        idempotency_key: str | None,
        answer: Answer | None,
    ) -> None:
        super().__init__(facts, pipeline, agent, arguments, site, idempotency_key, answer)
        self.body: Callable[..., Any] | None = None
        self._inner = current_scope.get()
        self._yielded = 0

    def suspend(self, item: Any) -> None:
        """An item was yielded: what the consumer does now is not done in this span."""
        self._leave_scope()
        try:
            self._yielded += 1
            if self._facts.codec is not None:
                item = self._facts.codec.encode(item)
            self._parts.take_item(item)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._pipeline.health.trouble(f"an item of the tool {self._facts.name}", error)
            self._parts.lose_items()

    def resume(self) -> None:
        """The body runs on, in its own span."""
        self._token = current_scope.set(self._inner)

    def close(self) -> None:
        """It was closed, or nobody wanted the rest."""
        self._finish({"outcome": "closed"})

    def end(self, result: Any) -> None:
        """The body returned."""
        if result is not None:
            try:
                self._parts.take("returned", result)
            except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
                self._trouble(error)
        self._finish(None)

    def fail(self, error: BaseException) -> None:
        """The body raised after what it yielded."""
        if self._is_late():
            return
        self._finish(self._ending(error))

    def _finish(self, ending: dict[str, Any] | None) -> None:
        if self._is_late():
            return
        duration_ns = self._pipeline.monotonic_ns() - self._started_ns
        try:
            self._close()
            self._parts.end_items()
            self._parts.add(b'"yielded":%d' % self._yielded)
            if self._facts.codec is not None:
                self._parts.add(b'"coded":true')
            self._write(duration_ns, ending)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(error)

    def _is_late(self) -> bool:
        """Whether the recording in which it began has ended, so that its end has no place to stand."""
        if not self._pipeline.closed:
            return False
        self._pipeline.health.note("a generator outlived the recording that it began in")
        self._leave_scope()
        return True
