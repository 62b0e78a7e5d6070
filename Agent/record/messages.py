"""What crosses agents, processes and hosts: messages, and the context of a call.

Messages between agents are recorded at both ends: the receipt names the sending as its cause.

The text of `carry` fits into an environment variable, a header or a queue message. Events recorded inside
`adopt` belong to the carried span, run and tick, and have the carried events as causes.

Clocks of hosts differ. So the text contains the time, and a process whose clock is behind that time notes the
difference in the key `hlc` of its events: timestamp plus `hlc` never orders an effect before its cause. This
is a hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014), stored as its difference to the
writer's clock, so that a program that adopts nothing, or whose clock agrees, records no `hlc`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from Agent.errors import UsageError
from Agent.event.kinds import LEVELS, Category
from Agent.record.emit import context, installed
from Agent.record.emit.context import SpanScope, ahead_us, current_scope, event_ids
from Agent.record.emit.installed import LIMITS, current_pipeline
from Agent.record.encode.safe_text import as_message
from Agent.record.health import note

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.encode.event_template import AgentBinding

_VERSION: Final = "at1"
_FORM: Final = re.compile(
    r"at1;(?P<us>[0-9]{1,17});(?P<span>(?:[0-9a-f]{16})?);(?P<tick>(?:-?[0-9]{1,18})?)"
    r";(?P<run>[\w.:-]{0,200});(?P<causes>[a-z2-7]{8}-[0-9]{1,17}(?:,[a-z2-7]{8}-[0-9]{1,17}){0,63})?",
    re.ASCII,
)
_RUN: Final = re.compile(r"[\w.:-]{1,200}", re.ASCII)
MOST_CAUSES: Final = 64


@dataclass(frozen=True, slots=True)
class Message:
    """A sent message: hand it to the recipient, who passes it to `receive`."""

    id: str
    sender: str
    recipient: str
    body: Any
    event_id: str
    """The event of the sending; "" where it was not recorded."""


def record_send(
    pipeline: Pipeline, binding: AgentBinding, recipient: str, body: Any, causes: tuple[str, ...]
) -> Message:
    """Record the sending and return the message."""
    message = Message(pipeline.next_span_id(), str(binding.given_id), recipient, body, "")
    return replace(message, event_id=_record(pipeline, binding, "sent", message, causes))


def record_receipt(
    pipeline: Pipeline, binding: AgentBinding, message: Message, causes: tuple[str, ...]
) -> str:
    """Record the receipt, caused by the sending, and return its id."""
    led_to_it = (message.event_id, *causes) if message.event_id else causes
    received = replace(message, recipient=str(binding.given_id))
    return _record(pipeline, binding, "received", received, led_to_it)


def _record(
    pipeline: Pipeline, binding: AgentBinding, direction: str, message: Message, causes: tuple[str, ...]
) -> str:
    payload = {
        "direction": direction,
        "message_id": message.id,
        "sender": message.sender,
        "recipient": message.recipient,
        "body": message.body,
    }
    text = f"Message {direction}: {message.sender} -> {message.recipient}"
    return pipeline.emit(binding.slot("agent_message", 20), text, payload, causes=causes)


def send(to: str, body: Any = None) -> Message:
    """Send a message as the agent whose action is running; UsageError if there is none.

    If actions are not recorded, the message is not recorded either, and no error is raised.
    """
    if _is_off():
        return Message("", "", as_message(to), body, "")
    return record_send(*_speaker("send"), as_message(to), body, ())


def receive(message: Message) -> str:
    """Receive a message as the agent whose action is running; UsageError if there is none."""
    if _is_off():
        return ""
    return record_receipt(*_speaker("receive"), message, ())


def _is_off() -> bool:
    """Whether some actions may be unrecorded, so that a call outside a recorded action is not an error."""
    if LIMITS[Category.AGENTS.value].value > LEVELS["DEBUG"]:
        return True
    try:
        current_pipeline()
    except installed.NotRecording:
        return True
    return False


def _speaker(method: str) -> tuple[Pipeline, AgentBinding]:
    scope = current_scope.get()
    if scope is None or scope.agent is None or scope.agent.agent_id is None:
        raise UsageError(
            f"{method}() was called outside a traced action, so it has no sender",
            remedy=f"call it in a traced action, or use AgentLogger.{method}()",
        )
    return current_pipeline(), scope.agent


def carry(*causes: str) -> str:
    """Return the current context as text, for `adopt` in another process or on another host.

    Args:
        causes: ids of events, as `log_action` and others return them, that caused the work done there; 64 at
            most.

    Returns:
        ASCII text without spaces; "" if nothing is recorded.
    """
    try:
        pipeline = current_pipeline()
    except RuntimeError:
        return ""
    scope = current_scope.get()
    span = tick = run = ""
    if scope is not None:
        span, run = scope.span_id or "", scope.run_id or ""
        run = run if _RUN.fullmatch(run) else ""
        tick = "" if scope.tick is None else str(scope.tick)
    now_us = pipeline.stamps.now_us() + ahead_us.get()
    return ";".join((_VERSION, str(now_us), span, tick, run, ",".join(event_ids(causes[:MOST_CAUSES]))))


@contextmanager
def adopt(carried: str | None) -> Iterator[None]:
    """Record the block as a part of the carried context; a missing or damaged one is ignored."""
    match = None if not carried else _FORM.fullmatch(carried)
    if match is None:
        if carried:
            note("an invalid carried context was ignored")
        yield
        return
    scope = SpanScope(
        current_scope.get(),
        span_id=match["span"] or None,
        tick=int(match["tick"]) if match["tick"] else None,
        causes=tuple((match["causes"] or "").split(",")) if match["causes"] else (),
    )
    if match["run"]:
        scope.run_id = match["run"]
    ahead = ahead_us.set(max(ahead_us.get(), _ahead_us(int(match["us"]))))
    token = current_scope.set(scope)
    try:
        yield
    finally:
        current_scope.reset(token)
        ahead_us.reset(ahead)


def _ahead_us(carried_us: int) -> int:
    """Return how far this process's clock is behind the carried time, in microseconds."""
    try:
        now_us = current_pipeline().stamps.now_us()
    except RuntimeError:
        return 0
    ahead = max(0, carried_us + 1 - now_us)
    if ahead:
        context.is_behind = True
    return ahead
