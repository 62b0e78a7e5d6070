"""Typed loggers: each method records one kind of event and returns the event's id.

A method checks the level; the pipeline does the rest. A method returns normally even if its arguments cannot
be written.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from Agent.event.kinds import Category
from Agent.event.limits_of_time import pass_on
from Agent.record.emit import installed
from Agent.record.emit.context import current_scope, event_ids
from Agent.record.emit.installed import LIMITS, current_pipeline
from Agent.record.encode.safe_text import MAX_SHOWN_CHARS, as_message, as_text
from Agent.record.health import note, say
from Agent.record.tracing.failures import current_exception, record_error, recorded_id
from Agent.tree.write.sink import Waits, collect_waits

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.encode.capture import Types
    from Agent.record.encode.event_template import AgentBinding, Slot
    from Agent.record.messages import Message


Recorder = TypeVar("Recorder")
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def awaitable(
    method: Callable[Concatenate[Recorder, Given], Answer],
) -> Callable[Concatenate[Recorder, Given], Coroutine[Any, Any, Answer]]:
    """Make the awaitable variant of a recording method, which has an `a` before the name.

    Calling it records the event; `await` returns the method's result once the event is as durable as after a
    direct call. If the task is cancelled, the event is neither lost nor repeated.
    """
    name = method.__name__

    @functools.wraps(method)
    def record(self: Recorder, /, *args: Given.args, **kwargs: Given.kwargs) -> Coroutine[Any, Any, Answer]:
        waits: Waits = []
        before = collect_waits(waits)
        try:
            # Looked up by name, so that the variant calls the override of a subclass.
            answer: Answer = getattr(self, name)(*args, **kwargs)
        finally:
            collect_waits(before)
        return _after(waits, answer)

    record.__name__ = f"a{name}"
    record.__qualname__ = f"{method.__qualname__.removesuffix(name)}a{name}"
    record.__doc__ = f"Awaitable `{name}`. {method.__doc__ or ''}"
    return record


async def _after(waits: Waits, answer: Answer) -> Answer:
    if waits:
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the event loop of another library
            _do(waits)
        else:
            await loop.run_in_executor(None, _do, waits)
    return answer


def _do(waits: Waits) -> None:
    for work in waits:
        work()


DEBUG, INFO, WARNING, ERROR, CRITICAL = 10, 20, 30, 40, 50
_MAX_CAUSES = 1000
Causes = str | Iterable[str] | None


def as_causes(causes: Causes) -> tuple[str, ...]:
    """Return event ids as a tuple; `causes` may be one id, an iterable or None."""
    if causes is None:
        return ()
    if type(causes) is str:
        return event_ids((causes,))
    try:
        return event_ids(list(islice(causes, _MAX_CAUSES)))
    except Exception as error:  # noqa: BLE001 - a user's __iter__ may raise anything
        pass_on(error)
        note("causes that cannot be iterated were left out")
        return ()


class EventLogger:
    """Base of all loggers: messages at five levels, bound fields, exceptions.

    Args:
        name: the key `logger` of each event.
        category: determines the file of events without an agent, and the minimum level.
        agent_id: the agent of the events; default: the agent of the surrounding action.
        agent_role: its role.
    """

    def __init__(
        self, name: str, category: Category, agent_id: str | None = None, agent_role: str | None = None
    ) -> None:
        self.name = name
        self.agent_id = None if agent_id is None else as_message(agent_id)
        self.agent_role = None if agent_role is None else as_message(agent_role)
        self._category = category.value
        self._limit = LIMITS[self._category]
        self._owner: Pipeline | None = None
        self._own_binding: AgentBinding | None = None
        self._slots: dict[str, Slot] = {}
        self._fields: dict[str, Any] = {}
        self._field_bytes: tuple[bytes, Types | None] | None = None

    def __repr__(self) -> str:
        about = f" of {self.agent_id}" if self.agent_id is not None else ""
        return f"<{type(self).__name__} {self.name}{about}>"

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the parts that belong to this process, so that a logger can be pickled."""
        state = dict(vars(self))
        state.update(_owner=None, _own_binding=None, _slots={}, _field_bytes=None, _limit=None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._limit = LIMITS[self._category]

    def bind(self, /, **fields: Any) -> Self:
        """Return a copy of this logger that adds these fields to each of its events."""
        other = copy.copy(self)
        vars(other).update(_fields={**self._fields, **fields}, _field_bytes=None)
        return other

    def debug(self, message: str, extra: Mapping[str, Any] | None = None, *, causes: Causes = None) -> str:
        """Record detail for diagnosis; return the event's id, or "" if DEBUG is not recorded."""
        if self._limit.value > DEBUG:
            return ""
        return self._log(DEBUG, message, extra, causes)

    def info(self, message: str, extra: Mapping[str, Any] | None = None, *, causes: Causes = None) -> str:
        """Record normal progress; return the event's id."""
        if self._limit.value > INFO:
            return ""
        return self._log(INFO, message, extra, causes)

    def warning(self, message: str, extra: Mapping[str, Any] | None = None, *, causes: Causes = None) -> str:
        """Record something that may become a problem; return the event's id."""
        if self._limit.value > WARNING:
            return ""
        return self._log(WARNING, message, extra, causes)

    def error(self, message: str, extra: Mapping[str, Any] | None = None, *, causes: Causes = None) -> str:
        """Record a failure; return the event's id."""
        if self._limit.value > ERROR:
            return ""
        return self._log(ERROR, message, extra, causes)

    def critical(self, message: str, extra: Mapping[str, Any] | None = None, *, causes: Causes = None) -> str:
        """Record a failure of the whole program; return the event's id."""
        if self._limit.value > CRITICAL:
            return ""
        return self._log(CRITICAL, message, extra, causes)

    def exception(
        self, message: str, extra: Mapping[str, Any] | None = None, *, causes: Causes = None
    ) -> str:
        """Record the exception being handled, with its traceback.

        An exception that already has an event is not recorded again: the message carries its `error_id`.
        """
        if self._limit.value > ERROR:
            return ""
        error = current_exception()
        if error is None:
            return self._log(ERROR, message, extra, causes)
        try:
            pipeline, binding = self._place()
            known = recorded_id(error, pipeline)
            own = as_fields(extra)
            if known is not None:
                return self._log(ERROR, message, {**own, "error_id": known}, causes)
            return record_error(
                pipeline,
                binding,
                error,
                message=as_message(message),
                fields={**self._fields, **own},
                causes=as_causes(causes),
            )
        except Exception as trouble:  # noqa: BLE001 - recording never raises into the code that is recorded
            return self._gave_up("exception", trouble)

    # Awaitable variants.
    adebug = awaitable(debug)
    ainfo = awaitable(info)
    awarning = awaitable(warning)
    aerror = awaitable(error)
    acritical = awaitable(critical)
    aexception = awaitable(exception)

    def _place(self) -> tuple[Pipeline, AgentBinding]:
        """Return the pipeline and the prepared bytes of this logger's events."""
        pipeline = installed.active or current_pipeline()
        if self._owner is not pipeline:
            self._own_binding = pipeline.binding(self.agent_id, self.agent_role, self.name, self._category)
            self._owner = pipeline
            self._slots = {}
            self._field_bytes = None
        if self.agent_id is None:
            scope = current_scope.get()
            if scope is not None and scope.agent is not None and scope.agent.agent_id is not None:
                agent = scope.agent
                return pipeline, pipeline.binding(agent.agent_id, agent.agent_role, self.name, self._category)
        assert self._own_binding is not None  # noqa: S101 - set above, for the type checker
        return pipeline, self._own_binding

    def _record(
        self,
        kind: str,
        label: str,
        values: dict[str, Any],
        causes: Causes,
        level: int = INFO,
        *,
        buffered: bool = False,
    ) -> str:
        """Write one event with the values that are not None; a required value that is None becomes null."""
        required = _required(kind)
        payload = {name: value for name, value in values.items() if value is not None or name in required}
        return self._emit(kind, level, label, payload, causes, buffered=buffered)

    def _emit(
        self,
        kind: str,
        level: int,
        label: str,
        payload: dict[str, Any],
        causes: Causes = None,
        *,
        buffered: bool = False,
    ) -> str:
        """Write one event; callers omit values that are None."""
        try:
            pipeline = self._owner
            # A slot is cached while the pipeline stays the same, and only if the logger has an agent.
            slot = self._slots.get(kind) if pipeline is not None and pipeline is installed.active else None
            if pipeline is None or slot is None or slot.level != level:
                pipeline, binding = self._place()
                slot = binding.slot(kind, level)
                if LIMITS[slot.category].value > level:
                    return ""  # the first event of the process sets up recording, which sets the level
                if self.agent_id is not None:
                    self._slots[kind] = slot
            if self._fields:
                own_keys = slot.own_keys | payload.keys()
                body, types = self._with_own_fields(pipeline, own_keys, *pipeline.capture.body(payload))
                return pipeline.emit(
                    slot, label, causes=as_causes(causes), body=body, types=types, buffered=buffered
                )
            if causes is not None or buffered:
                return pipeline.emit(slot, label, payload, causes=as_causes(causes), buffered=buffered)
            return pipeline.emit_plain(slot, label, payload)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            pass_on(error)
            try:
                return self._gave_up(kind, error)
            except RecursionError:  # the stack is full, so only a counter can be raised without a call
                if installed.active is not None:
                    installed.active.health.too_deep += 1
                return ""

    def _log(self, level: int, message: str, extra: Mapping[str, Any] | None, causes: Causes) -> str:
        try:
            pipeline, binding = self._place()
            if self._limit.value > level:
                return ""  # as above
            slot = binding.slot("log", level)
            text = message if type(message) is str else as_message(message)
            if len(text) > MAX_SHOWN_CHARS:
                # The message is truncated, so the full text is kept as a field.
                extra = {"full_message": text, **as_fields(extra)}
            body, types = b"", None
            if extra is not None or self._fields:
                own = extra if type(extra) is dict else as_fields(extra)
                merged = {**self._fields, **own} if self._fields else own
                body, types = pipeline.capture.user_body(
                    pipeline.health.moved(merged, slot.own_keys), "/extra"
                )
            return pipeline.emit(slot, text, causes=as_causes(causes), body=body, types=types)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            pass_on(error)
            try:
                return self._gave_up("log", error)
            except RecursionError:  # the stack is full, so only a counter can be raised without a call
                if installed.active is not None:
                    installed.active.health.too_deep += 1
                return ""

    def _with_own_fields(
        self, pipeline: Pipeline, own_keys: frozenset[str], body: bytes, types: Types | None
    ) -> tuple[bytes, Types | None]:
        """Return the payload with the bound fields; a field with a reserved name is renamed."""
        capture = pipeline.capture
        if not own_keys.isdisjoint(self._fields):
            moved = pipeline.health.moved(self._fields, own_keys)
            return capture.joined((body, types), capture.user_body(moved, "/extra"))
        if self._field_bytes is None:
            self._field_bytes = capture.user_body(self._fields, "/extra")
        return capture.joined((body, types), self._field_bytes)

    def _gave_up(self, what: str, error: BaseException) -> str:
        active = installed.active
        if active is None:
            # NotRecording: recording was given up or is suspended, which was already reported.
            if not isinstance(error, installed.NotRecording) and self._limit.value <= CRITICAL:
                say(f"recording is not set up: {as_text(error)}")
            return ""
        active.health.drop("the event could not be made")
        active.health.trouble(f"a call of {what}", error)
        return ""


def as_fields(extra: Any) -> dict[str, Any]:
    """Return `extra` as fields; anything that is not a mapping becomes the field `value`."""
    try:
        return dict(extra) if isinstance(extra, Mapping) else {} if extra is None else {"value": extra}
    except Exception as error:  # noqa: BLE001 - a user's mapping may raise anything; the codec reports it
        pass_on(error)
        return {"value": extra}


def present(required: str = "", /, **values: Any) -> dict[str, Any]:
    """Return the values that are not None; required names get null."""
    names = required.split()
    return {key: value for key, value in values.items() if value is not None or key in names}


@functools.cache
def _required(kind: str) -> frozenset[str]:
    from Agent.event.payloads import KINDS

    return frozenset(field.name for field in KINDS[kind].fields if field.required)


class AgentLogger(EventLogger):
    """The logger of one agent: its actions, decisions, changes and messages.

    Args:
        agent_id: any text; it is data, not a path.
        agent_role: the type of agent; analysis compares agents of one role with each other.
    """

    def __init__(self, agent_id: str, agent_role: str = "agent") -> None:
        super().__init__(f"agent.{as_message(agent_role)}", Category.AGENTS, agent_id, agent_role)

    def log_action(
        self,
        action_type: str,
        action_data: Any = None,
        decision_context: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record an action of the agent; return the event's id."""
        if self._limit.value > INFO:
            return ""
        payload = {"action_type": action_type}
        if action_data is not None:
            payload["action_data"] = action_data
        if decision_context is not None:
            payload["decision_context"] = decision_context
        slot = self._slots.get("agent_action")
        if slot is None or causes is not None or self._fields or self._owner is not installed.active:
            return self._emit("agent_action", INFO, action_type, payload, causes)
        # This method is called most often, so it calls the fast path directly.
        try:
            return slot.emit_plain(slot, action_type, payload)
        except RecursionError:
            if installed.active is not None:
                installed.active.health.too_deep += 1
            return ""

    def log_decision(
        self, decision_type: str, decision_data: Any = None, reasoning: Any = None, *, causes: Causes = None
    ) -> str:
        """Record a decision of the agent and its reasoning."""
        if self._limit.value > INFO:
            return ""
        values = {"decision_type": decision_type, "decision_data": decision_data, "reasoning": reasoning}
        return self._record("decision", decision_type, values, causes)

    def log_state_change(
        self, old_state: Any, new_state: Any, trigger: Any = None, *, causes: Causes = None
    ) -> str:
        """Record a change of state that the agent reports itself."""
        if self._limit.value > INFO:
            return ""
        payload = {"trigger": trigger, "old_state": old_state, "new_state": new_state}
        return self._emit("state_change", INFO, as_text(trigger), payload, causes)

    def log_content_generation(
        self, content_type: Any, content_id: Any, metadata: Any = None, *, causes: Causes = None
    ) -> str:
        """Record a piece of content that the agent created."""
        if self._limit.value > INFO:
            return ""
        values = {"content_type": content_type, "content_id": content_id, "metadata": metadata}
        label = f"Content generated: {as_text(content_type)} {as_text(content_id)}"
        return self._record("content_generation", label, values, causes)

    def log_strategy_update(
        self,
        strategy_type: Any,
        old_strategy: Any = None,
        new_strategy: Any = None,
        reason: Any = None,
        *,
        causes: Causes = None,
    ) -> str:
        """Record a change of the agent's strategy."""
        if self._limit.value > INFO:
            return ""
        values = {
            "strategy_type": strategy_type, "old_strategy": old_strategy, "new_strategy": new_strategy,
            "reason": reason,
        }  # fmt: skip
        return self._record("strategy_update", strategy_type, values, causes)

    def log_learning_update(
        self, learning_stage: Any, update_data: Any = None, *, causes: Causes = None
    ) -> str:
        """Record a learning update of the agent."""
        if self._limit.value > INFO:
            return ""
        values = {"learning_stage": learning_stage, "update_data": update_data}
        return self._record("learning_update", learning_stage, values, causes)

    def send(self, to: str, body: Any = None, *, causes: Causes = None) -> Message:
        """Record that the agent sends a message; return the message to deliver."""
        from Agent.record.messages import Message, record_send

        unrecorded = Message("", str(self.agent_id), as_message(to), body, "")
        if self._limit.value > INFO:
            return unrecorded
        try:
            pipeline, binding = self._place()
            return record_send(pipeline, binding, unrecorded.recipient, body, as_causes(causes))
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            pass_on(error)
            self._gave_up("send", error)
            return unrecorded

    def receive(self, message: Message, *, causes: Causes = None) -> str:
        """Record that a message arrived; its sending becomes the cause."""
        if self._limit.value > INFO:
            return ""
        from Agent.record.messages import record_receipt

        try:
            pipeline, binding = self._place()
            return record_receipt(pipeline, binding, message, as_causes(causes))
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            pass_on(error)
            return self._gave_up("receive", error)

    # Awaitable variants.
    alog_action = awaitable(log_action)
    alog_decision = awaitable(log_decision)
    alog_state_change = awaitable(log_state_change)
    alog_content_generation = awaitable(log_content_generation)
    alog_strategy_update = awaitable(log_strategy_update)
    alog_learning_update = awaitable(log_learning_update)
    asend = awaitable(send)
    areceive = awaitable(receive)
