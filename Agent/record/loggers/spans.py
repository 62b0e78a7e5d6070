"""Spans for blocks of code.

`trace_context` records entry, exit and duration, `measure_performance` the duration. Both work with `with`
and `async with`; the second also works as a decorator.
"""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from Agent.event.kinds import Category
from Agent.record import health
from Agent.record.emit.context import SpanScope, current_scope
from Agent.record.emit.installed import LIMITS, current_pipeline
from Agent.record.encode.safe_text import as_text, clean_head
from Agent.record.loggers.loggers import INFO, EventLogger
from Agent.record.tracing.failures import outcome_of, record_error

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.encode.event_template import AgentBinding


class SpanBlock:
    """A span around a block of code; failures of recording never reach the block."""

    def __init__(self, name: str) -> None:
        self.name = as_text(name)
        self.span_id: str | None = None
        self._pipeline: Pipeline | None = None
        self._binding: AgentBinding | None = None
        self._token: Token[SpanScope | None] | None = None
        self._board_slot = -1
        self._started_ns = 0

    def __enter__(self) -> Self:
        try:
            self._open()
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(error)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            if self._pipeline is not None:
                self._close(error)
            elif self._token is not None:
                self._leave_scope()
        except Exception as trouble:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(trouble)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _open(self) -> None:
        raise NotImplementedError

    def _close(self, error: BaseException | None) -> None:
        raise NotImplementedError

    def _push(
        self, pipeline: Pipeline, binding: AgentBinding, span_id: str, fields: dict[str, Any] | None
    ) -> None:
        self._pipeline, self._binding, self.span_id = pipeline, binding, span_id
        agent = binding if binding.agent_id is not None else None
        self._token = current_scope.set(
            SpanScope(
                current_scope.get(), span_id=span_id, name=self.name, agent=agent, fields=fields or None
            )
        )
        if pipeline.board is not None:
            name = clean_head(self.name, pipeline.redactor.text)
            self._board_slot = pipeline.board.open_span(
                span_id, binding.agent_id, name, pipeline.clock.wall_ns() // 1000
            )
        self._started_ns = pipeline.clock.monotonic_ns()

    def _pop(self, error: BaseException | None) -> tuple[Pipeline, AgentBinding, dict[str, Any]]:
        """Leave the span; return its duration and outcome."""
        pipeline, binding = self._pipeline, self._binding
        assert pipeline is not None and binding is not None  # noqa: S101 - pushed before, for the type checker
        ending: dict[str, Any] = {"duration_ms": (pipeline.clock.monotonic_ns() - self._started_ns) / 1e6}
        if error is not None:
            ending["outcome"] = outcome_of(error)
            if ending["outcome"] == "error":
                ending["error_id"] = record_error(pipeline, binding, error, more={"context": self.name})
        if self._board_slot >= 0 and pipeline.board is not None:
            pipeline.board.close_span(self._board_slot)
        self._leave_scope()
        self._pipeline = None
        return pipeline, binding, ending

    def _leave_scope(self) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        try:
            current_scope.reset(token)
        except (ValueError, RuntimeError):
            health.note("a span was closed in another context")

    def _trouble(self, error: BaseException) -> None:
        health.lost("a block could not be recorded")
        health.trouble("a block", error)


class trace_context(SpanBlock):  # noqa: N801 - used like a function; the name is public
    """Record entry, exit and duration of the block, and add `fields` to everything recorded in it.

    Args:
        logger: the logger of the entry and exit events.
        name: what the block does.
        fields: added to `extra` of each event in the block.
    """

    def __init__(self, logger: EventLogger, name: str, /, **fields: Any) -> None:
        super().__init__(name)
        self._logger = logger
        self._fields = fields

    def _open(self) -> None:
        if LIMITS[Category.AGENTS.value].value > INFO:
            # Events in the block that are still recorded, such as errors, get the fields too.
            if self._fields:
                self._token = current_scope.set(SpanScope(current_scope.get(), fields=self._fields))
            return
        pipeline, binding = self._logger._place()  # noqa: SLF001 - a method shared within this package
        span_id = pipeline.next_span_id()
        body, types = pipeline.capture.body({"context": self.name, "context_span": span_id})
        self._push(pipeline, binding, span_id, self._fields)
        pipeline.emit(binding.slot("context_entry", INFO), self.name, body=body, types=types)

    def _close(self, error: BaseException | None) -> None:
        span_id = self.span_id
        pipeline, binding, ending = self._pop(error)
        token = current_scope.set(SpanScope(current_scope.get(), fields=self._fields or None))
        try:
            payload = {"context": self.name, **ending}
            pipeline.emit(binding.slot("context_exit", INFO), self.name, payload, span_id=span_id)
        finally:
            current_scope.reset(token)


class measure_performance(SpanBlock):  # noqa: N801 - used like a function; the name is public
    """Record the duration of the block as a `metric` event.

    Args:
        operation: the name of the measurement.
        logger: its logger; default: that of the surrounding agent.
        data: stored with the duration.
    """

    def __init__(self, operation: str, logger: EventLogger | None = None, data: Any = None) -> None:
        super().__init__(operation)
        self._logger = logger
        self._data = data

    def _open(self) -> None:
        if LIMITS[Category.PERFORMANCE.value].value > INFO:
            return
        if self._logger is not None:
            pipeline, binding = self._logger._place()  # noqa: SLF001 - a method shared within this package
        else:
            pipeline = current_pipeline()
            scope = current_scope.get()
            acting = None if scope is None else scope.agent
            agent = (None, None) if acting is None else (acting.agent_id, acting.agent_role)
            binding = pipeline.binding(*agent, "performance", Category.PERFORMANCE.value)
        self._push(pipeline, binding, pipeline.next_span_id(), None)

    def _close(self, error: BaseException | None) -> None:
        span_id = self.span_id
        pipeline, binding, ending = self._pop(error)
        payload = {"metric_name": self.name, "value": ending["duration_ms"], "unit": "ms", **ending}
        if self._data is not None:
            payload["data"] = self._data
        pipeline.emit(binding.slot("metric", INFO), self.name, payload, span_id=span_id, buffered=True)
