"""The traced call of a generator, told by `generators.py` how its body goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from Agent.record.emit.context import SpanScope, current_scope
from Agent.record.tracing.traced_call import Call

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.state.agents import Known
    from Agent.record.tracing.traced_function import TraceSpec


class SteppedCall(Call):
    """The call, open until the generator ends: `yielded` counts its items, which are not kept themselves."""

    __slots__ = ("active_ns", "outer", "resumed_ns", "scope", "yielded")

    body = None

    def __init__(
        self,
        spec: TraceSpec,
        pipeline: Pipeline,
        target: object,
        known: Known | None,
        scope: SpanScope | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        arguments: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(spec, pipeline, target, known, scope, args, kwargs, arguments)
        self.outer = scope
        self.scope = current_scope.get()
        self.yielded = 0
        self.active_ns = 0
        self.resumed_ns = self.started_ns

    def suspend(self, _item: Any) -> None:
        """An item was yielded: what the consumer does now is not done in this span."""
        self.yielded += 1
        self.active_ns += self.pipeline.monotonic_ns() - self.resumed_ns
        self._leave_scope()

    def resume(self) -> None:
        """The body runs on, in its own span, at the step of the simulation that it is now."""
        self.resumed_ns = self.pipeline.monotonic_ns()
        scope, around = self.scope, current_scope.get()
        if around is not None and around.tick is not None and scope is not None and around.tick != scope.tick:
            scope = SpanScope(scope, tick=around.tick)
        self.token = current_scope.set(scope)

    def end(self, result: Any) -> None:
        """The body returned: write the event."""
        body = b""
        if result is not None and self.spec.capture_result:
            try:
                raw, returned_types = self.pipeline.capture.body({"returned": result})
            except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
                self._trouble(error)
            else:
                body = raw + b","
                if returned_types:
                    self.types = {**self.types, **returned_types} if self.types else returned_types
        self._finish(body, result)

    def close(self) -> None:
        """It was closed, or nobody wanted the rest: write the event."""
        self._finish(b'"outcome":"closed",', None)

    def fail(self, error: BaseException) -> None:
        """The body raised: write the error once, and the event."""
        if self._is_late():
            return
        super().fail(error)

    def _finish(self, ending: bytes, result: Any) -> None:
        if self._is_late():
            return
        duration_ns = self.pipeline.monotonic_ns() - self.started_ns
        try:
            self._close_scope()
            event_id = self._emit(self.args_body + ending, duration_ns)
            if self.is_entry and self.pipeline.watcher is not None:
                self.pipeline.watcher.action_ended(self, event_id, None)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(error)
        if self.leave is not None:
            self.leave(result, None)

    def _is_late(self) -> bool:
        """Whether the recording in which it began has ended, so that its end has no place to stand."""
        self.active_ns += self.pipeline.monotonic_ns() - self.resumed_ns
        if not self.pipeline.closed:
            return False
        self.pipeline.health.note("a generator outlived the recording that it began in")
        self._leave_scope()
        return True

    def _emit(self, body: bytes, duration_ns: int) -> str:
        """Write the event where the generator began, whoever consumed the last of it."""
        counted = b'%s"yielded":%d,"active_ms":%.6g,' % (body, self.yielded, self.active_ns / 1e6)
        token = current_scope.set(self.outer)
        try:
            return super()._emit(counted, duration_ns)
        finally:
            current_scope.reset(token)
