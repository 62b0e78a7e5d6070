"""One traced call, from its arguments to its event: what the decorators and `instrument` share.

At entry the arguments become bytes, before the body can change them; at exit the result, the duration and,
for the outermost action of an agent, the code that ran and what it changed of its state.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import Token
from typing import Any

import orjson

from Agent.event.kinds import Category
from Agent.record import pipeline as installed
from Agent.record.agents import Known
from Agent.record.binding import AgentBinding
from Agent.record.code_identity import CodeIdentity
from Agent.record.context import Scope, current_scope, span_scope
from Agent.record.failures import outcome_of, record_error
from Agent.record.judge import Types
from Agent.record.levels import LIMITS
from Agent.record.pipeline import Pipeline, current_pipeline
from Agent.record.player import Answer, TracedCall, current_player
from Agent.record.state import StateTracker
from Agent.record.state_events import changes_tail, emit_state

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_RECEIVERS = frozenset({"self", "cls", "mcs", "_self", "this"})
_ACTION_KINDS = frozenset({"agent_action", "learning_update"})
_LABEL_KEY = {"agent_action": "action_type", "learning_update": "learning_stage", "metric": "metric_name"}
_CATEGORY = {
    "agent_action": Category.AGENTS,
    "learning_update": Category.LEARNING,
    "metric": Category.PERFORMANCE,
}


class TraceSpec:
    """What is known of a traced function before it is called.

    Args:
        function: the undecorated function.
        kind: the kind of event that a call leaves: agent_action, learning_update or metric.
        label: action type, update type or name of the measurement.
        attribute: the name under which the target holds it, where that is not the function's own.
        strict_state: look at the agent's state at entry too; None leaves it to the options.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        kind: str,
        label: str,
        *,
        level: int = 20,
        attribute: str | None = None,
        capture_args: bool = True,
        capture_result: bool = True,
        strict_state: bool | None = None,
        is_method: bool | None = None,
    ) -> None:
        self.function = function
        self.kind = kind
        self.label = label
        self.level = level
        self.capture_args = capture_args and kind != "metric"
        self.capture_result = capture_result and kind != "metric"
        self.strict_state = strict_state
        self.is_action = kind in _ACTION_KINDS
        self.limit = LIMITS[_CATEGORY[kind].value]
        self.call_type: type[Call] = Call
        self.code: CodeIdentity | None = None
        owner, _, name = function.__qualname__.rpartition(".")
        self.qualname = f"{owner}.{attribute}" if attribute and owner else attribute or function.__qualname__
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            parameters = []
        self._parameters = parameters
        # A function in a class whose first parameter has another name than `self` may be a method, or what a
        # staticmethod will hold: the first call tells.
        in_class = owner != "" and not owner.endswith("<locals>")
        named_like_one = bool(parameters) and parameters[0].name in _RECEIVERS
        self.is_undecided = is_method is None and in_class and bool(parameters) and not named_like_one
        self.treat_as_method(named_like_one if is_method is None else is_method)
        # The head of the payload is the same for every call, but for the mark of a root action.
        shared = {_LABEL_KEY[kind]: label, "call": self.qualname}
        if name != self.qualname and kind == "metric":
            shared["unit"] = "ms"
        self.slot_key = kind, level
        self.head = orjson.dumps(shared)[1:-1] + b","
        self.head_root = orjson.dumps({**shared, "root": True})[1:-1] + b","

    def treat_as_method(self, is_method: bool) -> None:
        """Settle whether the first argument is the target or an argument like the others."""
        self.is_method = is_method
        own = self._parameters[1:] if is_method else self._parameters
        self.names = tuple(parameter.name for parameter in own if parameter.kind in _POSITIONAL)
        self.rest_name = next((p.name for p in own if p.kind is inspect.Parameter.VAR_POSITIONAL), None)
        self.max_plain_args = len(self.names) + is_method

    def target_of(self, args: tuple[Any, ...]) -> object:
        """The object whose method is called with these arguments; None for a function."""
        if self.is_undecided:
            self._decide(args)
        return args[0] if self.is_method and args else None

    def _decide(self, args: tuple[Any, ...]) -> None:
        """Treat it as a method if it is called with an object of the class that it was defined in."""
        owner = self.function.__qualname__.rpartition(".")[0]
        classes = type(args[0]).__mro__ if args else ()
        self.treat_as_method(
            any(cls.__qualname__ == owner and cls.__module__ == self.function.__module__ for cls in classes)
        )
        self.is_undecided = False

    def identify(self) -> CodeIdentity:
        """The code of the function, looked up once."""
        if self.code is None:
            self.code = CodeIdentity(self.function)
        return self.code

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name; those of a `*name` parameter stand as a list under `*name`."""
        given = args[1:] if self.is_method else args
        bound = dict(zip(self.names, given, strict=False))
        if len(given) > len(self.names) and self.rest_name is not None:
            bound[f"*{self.rest_name}"] = list(given[len(self.names) :])
        if kwargs:
            bound.update(kwargs)
        return bound

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | Answer | None:
        """The open call; an Answer that stands for the body; None where nothing is to be recorded."""
        if self.limit.value > self.level:
            return None
        try:
            pipeline = installed.active or current_pipeline()
            target = args[0] if self.is_method and args and not self.is_undecided else self.target_of(args)
            known = pipeline.agents.find(target) if target is not None else None
            scope = current_scope.get()
            player = current_player.get()
            if player is None:
                return self.call_type(self, pipeline, target, known, scope, args, kwargs)
            described = self._traced_call(target, known, scope, args, kwargs)
            answer = player.enter(described)
            if answer is not None:
                return answer
            call = self.call_type(self, pipeline, target, known, scope, args, kwargs)
            call.leave = lambda result, error: player.leave(described, result, error)
        except Exception as error:
            if current_player.get() is not None:
                raise  # a replay's refusal is its answer
            active = installed.active
            if active is not None:
                active.health.trouble(f"the call of {self.qualname}", error)
                active.health.drop("a call could not be recorded")
            return None
        return call

    def _traced_call(
        self,
        target: object,
        known: Known | None,
        scope: Scope | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> TracedCall:
        agent = known.binding if known is not None else scope.agent if scope is not None else None
        return TracedCall(
            kind=self.kind,
            agent_id=agent.agent_id if agent is not None else None,
            agent_role=agent.agent_role if agent is not None else None,
            action_type=self.label,
            qualname=self.qualname,
            args=self.arguments(args, kwargs),
            target=target,
            is_root=scope is None or not scope.actions,
            is_generator=self.call_type is not Call,
        )


class Call:
    """A traced call that is open."""

    __slots__ = (
        "args_body", "binding", "board_slot", "is_entry", "known", "leave", "pipeline", "root", "span_id",
        "spec", "started_ns", "target", "token", "tracker", "types",
    )  # fmt: skip

    def __init__(
        self,
        spec: TraceSpec,
        pipeline: Pipeline,
        target: object,
        known: Known | None,
        scope: Scope | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.spec = spec
        self.pipeline = pipeline
        self.target = target
        self.known = known
        self.leave: Callable[[Any, BaseException | None], None] | None = None
        if known is not None:
            binding = known.binding
        elif scope is not None and scope.agent is not None:
            binding = scope.agent
        else:
            binding = pipeline.binding(None, None, spec.kind, _CATEGORY[spec.kind].value)
        self.binding: AgentBinding = binding
        self.tracker: StateTracker | None = None
        self.root = spec.is_action and (scope is None or not scope.actions)
        self.is_entry = spec.is_action and (scope is None or binding not in scope.actions)
        if self.is_entry and known is not None:
            self._look_at_state(known, target)
        self.types: Types | None = None
        self.args_body = b""
        if spec.capture_args:
            arguments = (
                spec.arguments(args, kwargs)
                if kwargs or len(args) > spec.max_plain_args
                else dict(zip(spec.names, args[1:] if spec.is_method else args, strict=False))
            )
            raw = pipeline.capture.judge.value(arguments) if arguments else b"{}"
            if raw is not None:
                self.args_body = b'"args":' + raw + b","
            else:
                body, self.types = pipeline.capture.body({"args": arguments})
                self.args_body = body + b","
        self.span_id = span_id = pipeline.next_span_id()
        self.token: Token[Scope | None] = current_scope.set(
            span_scope(scope, span_id, binding, is_action=spec.is_action)
        )
        self.board_slot = -1
        board = pipeline.board
        if board is not None:
            self.board_slot = board.open_span(
                span_id, binding.agent_id, spec.label, pipeline.wall_ns() // 1000
            )
        self.started_ns = pipeline.monotonic_ns()

    def _look_at_state(self, known: Known, target: object) -> None:
        pipeline = self.pipeline
        tracker = self.tracker = known.tracker or pipeline.agents.tracker(known, target)
        period = pipeline.options.state_period
        if tracker.actions % period == 0:
            reason = "first" if tracker.actions == 0 else "periodic"
            emit_state(pipeline, self.binding, tracker, target, reason)
        elif self.spec.strict_state or (self.spec.strict_state is None and pipeline.options.strict_state):
            changed, gone = tracker.changes(target)
            if changed or gone:
                payload = {"trigger": "outside", "changed": changed, **({"unset": gone} if gone else {})}
                pipeline.emit(self.binding.slot("state_change", 20), "outside", payload)
        tracker.actions += 1

    def end(self, result: Any) -> None:
        """The body returned: write the event."""
        pipeline = self.pipeline
        duration_ns = pipeline.monotonic_ns() - self.started_ns
        try:
            if self.board_slot >= 0:
                pipeline.board.close_span(self.board_slot)  # type: ignore[union-attr]
            try:
                current_scope.reset(self.token)
            except ValueError:
                self._note_other_context()
            body = self.args_body
            if self.spec.capture_result:
                raw = pipeline.capture.judge.value(result)
                if raw is not None:
                    body += b'"result":' + raw + b","
                else:
                    whole, types = pipeline.capture.body({"result": result})
                    body += whole + b","
                    if types:
                        self.types = {**self.types, **types} if self.types else types
            self._emit(body, duration_ns)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(error)
        if self.leave is not None:
            self.leave(result, None)

    def fail(self, error: BaseException) -> None:
        """The body raised: write the error once, the event, and the whole state."""
        duration_ns = self.pipeline.monotonic_ns() - self.started_ns
        try:
            outcome = outcome_of(error)
            ending = b'"outcome":"%s",' % outcome.encode()
            if outcome == "error":
                more = {_LABEL_KEY[self.spec.kind]: self.spec.label, "call": self.spec.qualname}
                error_id = record_error(self.pipeline, self.binding, error, more=more)
                ending += b'"error_id":%s,' % orjson.dumps(error_id)
            self._close_scope()
            self._emit(self.args_body + ending, duration_ns)
            if outcome == "error" and self.tracker is not None:
                emit_state(self.pipeline, self.binding, self.tracker, self.target, "error")
        except Exception as trouble:  # noqa: BLE001 - the user's own exception is the one that must get out
            self._trouble(trouble)
        if self.leave is not None:
            self.leave(None, error)

    def _close_scope(self) -> None:
        if self.board_slot >= 0 and self.pipeline.board is not None:
            self.pipeline.board.close_span(self.board_slot)
        self._leave_scope()

    def _leave_scope(self) -> None:
        try:
            current_scope.reset(self.token)
        except ValueError:
            self._note_other_context()

    def _note_other_context(self) -> None:
        """Count a span that was closed in another context than opened in, as a loop does at its end."""
        self.pipeline.health.note("a span was closed in another context")

    def _emit(self, body: bytes, duration_ns: int) -> None:
        """Write the event; `body` is the arguments and the result, each with a comma behind it."""
        spec, pipeline, types = self.spec, self.pipeline, self.types
        if body and not pipeline.capture.judge.clean(body):
            looked_at, types = pipeline.redactor.payload(body[:-1], types, "/extra")
            body = looked_at + b","
        tail = b""
        if self.is_entry:
            code = spec.code or spec.identify()
            if code not in pipeline.codes_told:
                code.tell(pipeline)
            if self.tracker is not None:
                tail, state_types = changes_tail(pipeline, self.tracker, self.target, code)
                if state_types:
                    types = {**types, **state_types} if types else state_types
            else:
                tail = code.tail
        duration_ms = duration_ns / 1e6
        slot = self.binding.slots.get(spec.slot_key) or self.binding.slot(*spec.slot_key)
        if spec.kind == "metric":
            measured = b'%s%s"value":%.6g,"duration_ms":%.6g' % (spec.head, body, duration_ms, duration_ms)
            pipeline.emit(slot, spec.label, body=measured, span_id=self.span_id, buffered=True)
            return
        head = spec.head_root if self.root else spec.head
        scope = current_scope.get()
        line_head = slot.heads.get(spec.label)
        if types or line_head is None or (scope is not None and scope.fields):
            whole = b'%s%s"duration_ms":%.6g' % (head, body, duration_ms)
            pipeline.emit(slot, spec.label, body=whole, types=types, span_id=self.span_id, tail=tail)
            return
        outer = b"" if scope is None else scope.links if scope.links is not None else scope.link_bytes()
        links = b"".join((b',"span_id":"', self.span_id.encode(), b'"', outer))
        rest = b"".join((head, body, b'"duration_ms":%.6g}' % duration_ms, tail, b"}\n"))
        pipeline.put(slot, line_head, links, slot.extra, rest)

    def _trouble(self, error: BaseException) -> None:
        self.pipeline.health.trouble(f"the end of {self.spec.qualname}", error)
        self.pipeline.health.drop("a call could not be recorded")
