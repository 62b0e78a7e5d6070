"""Messages between agents, recorded at both ends: the receipt names the sending as its cause."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from Agent.errors import UsageError
from Agent.event.kinds import LEVELS, Category
from Agent.record.emit import installed
from Agent.record.emit.context import current_scope
from Agent.record.emit.installed import LIMITS, current_pipeline
from Agent.record.encode.safe_text import as_message

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.encode.event_template import AgentBinding


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
