"""Records of other logging libraries, as events: what the bridges of `logging` and structlog share.

Such a record becomes a `log` event under its own logger's name, in the file of the agent whose action is
running. An exception that comes with it is one `error` event, however often it is mentioned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from Agent.event.kinds import Category
from Agent.record import health
from Agent.record.emit.context import current_scope
from Agent.record.emit.installed import LIMITS, current_pipeline
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.event_template import AgentBinding
from Agent.record.encode.safe_text import MAX_SHOWN_CHARS, as_text
from Agent.record.tracing.failures import record_error, recorded_id

_LIMIT = LIMITS[Category.SYSTEM.value]
_INFO = 20
_ERROR = 40
# A value whose text logs itself comes back here; a few rounds may be meant, more never end.
_MAX_DEPTH = 4


class Foreign(NamedTuple):
    """A record of another library, in our words."""

    logger: str
    level: int
    message: str
    fields: Mapping[Any, Any]
    """The user's own keys."""
    error: BaseException | None = None


class _Depth(threading.local):
    value = 0


_depth = _Depth()


def level_below(number: object) -> int:
    """The nearest of our levels not above a number; DEBUG for what is below all, INFO for no number."""
    if not isinstance(number, int):
        # `logging.makeLogRecord` gives None; what came over a wire may be anything.
        return _INFO
    return min(max(number // 10 * 10, 10), 50)


def is_recorded(level: int) -> bool:
    """Whether records of this level are kept at all."""
    return _LIMIT.value <= level


def record_foreign(read: Callable[[], Foreign]) -> str:
    """Write a record and give the event's id, "" where it was not written; never raises.

    Args:
        read: gives the record; it may run the code of strangers, whose failure is counted.
    """
    if _depth.value >= _MAX_DEPTH:
        health.lost("a log record was made within another of itself, again and again")
        return ""
    _depth.value += 1
    try:
        foreign = read()
        pipeline = current_pipeline()
        fields = _named(foreign.fields)
        if len(foreign.message) > MAX_SHOWN_CHARS:
            # The message is its beginning; here, as any value, it may be long.
            fields.setdefault("full_message", foreign.message)
        binding = _binding(pipeline, foreign.logger, fields)
        if foreign.error is not None:
            known = recorded_id(foreign.error, pipeline)
            if known is None and foreign.level == _ERROR:
                # The message and the exception are one thing, and so one event.
                identity = record_error(
                    pipeline, binding, foreign.error, message=foreign.message or None, fields=fields
                )
                if identity:
                    return identity
            known = known or record_error(pipeline, binding, foreign.error)
            if known:
                fields["error_id"] = known
        slot = binding.slot("log", foreign.level)
        body, types = b"", None
        if fields:
            body, types = pipeline.capture.user_body(pipeline.health.moved(fields, slot.own_keys), "/extra")
        return pipeline.emit(slot, foreign.message, body=body, types=types)
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        health.trouble("a record of another library", error)
        health.lost("a record of another library could not be made")
        return ""
    finally:
        _depth.value -= 1


def _named(given: Mapping[Any, Any]) -> dict[Any, Any]:
    """The fields under texts, so that one odd key hides no other; two that become one both stay."""
    for key in given:
        if type(key) is not str:
            break
    else:
        return dict(given)
    fields: dict[Any, Any] = {}
    for key, value in given.items():
        name = as_text(key)
        while name in fields:
            name = f"user.{name}"
        fields[name] = value
    return fields


def _binding(pipeline: Pipeline, logger: str, fields: dict[Any, Any]) -> AgentBinding:
    """Where the record goes: the agent that acts; where none does, the one that the record itself names."""
    scope = current_scope.get()
    if scope is not None and scope.agent is not None and scope.agent.agent_id is not None:
        acting = scope.agent
        return pipeline.binding(acting.agent_id, acting.agent_role, logger, Category.SYSTEM.value)
    agent_id, role = fields.get("agent_id"), fields.get("agent_role")
    if type(agent_id) is not str or not agent_id:
        return pipeline.binding(None, None, logger, Category.SYSTEM.value)
    del fields["agent_id"]
    if type(role) is str:
        del fields["agent_role"]
    else:
        role = None
    return pipeline.binding(agent_id, role, logger, Category.SYSTEM.value)


def named(name: object, otherwise: str) -> str:
    """The name of a logger as text."""
    return as_text(name) if name is not None and name != "" else otherwise
