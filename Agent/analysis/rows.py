"""An event as the plain dict that every list of this room holds, from the reader or the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Agent.event.model import Event

EVENT_COLUMNS = (
    "timestamp, id, session_id, level, logger, message, event_type, agent_id, agent_role, run_id, span_id, "
    "parent_span_id, causes, tick, extra, code, state, ts_us, writer, seq, is_flat"
)
"""What `engine_row` wants selected from `views.whole_lines()`."""

BY_ORDER = "ts_us, writer, seq"


def event_row(event: Event) -> dict[str, Any]:
    """The event as a dict of JSON values; absent links are None, `causes` and `extra` are always there."""
    return {
        "timestamp": event.timestamp,
        "id": event.id,
        "session_id": event.session_id,
        "level": event.level,
        "logger": event.logger,
        "message": event.message,
        "event_type": event.kind,
        "agent_id": event.agent_id,
        "agent_role": event.agent_role,
        "run_id": event.run_id,
        "span_id": event.span_id,
        "parent_span_id": event.parent_span_id,
        "causes": list(event.causes),
        "tick": event.tick,
        "extra": dict(event.extra),
        "code": event.code,
        "state": None if event.state is None else dict(event.state),
    }


def engine_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same dict from a row of EVENT_COLUMNS, whose payload and state are JSON text."""
    import orjson

    made = {key: row[key] for key in _PLAIN}
    extra = orjson.loads(row["extra"]) if row["extra"] is not None else {}
    # The keys of a run's flat line that its kind does not have arrive as nulls.
    made["extra"] = {k: v for k, v in extra.items() if v is not None} if row["is_flat"] else extra
    made["causes"] = list(row["causes"] or ())
    made["state"] = orjson.loads(row["state"]) if row["state"] is not None else None
    return {key: made[key] for key in _KEYS}


_KEYS = tuple(name.strip() for name in EVENT_COLUMNS.split(","))[:17]
_PLAIN = tuple(key for key in _KEYS if key not in {"extra", "causes", "state"})


def is_error(event: Event) -> bool:
    """Whether the event is an error, by the rule of `views.IS_ERROR`: pointing at one is no second one."""
    if event.kind == "error":
        return True
    return event.level in {"ERROR", "CRITICAL"} and event.extra.get("error_id") is None
