"""An event as the plain dict that every list of this package holds, from the reader or the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Agent.event.codec import is_state_change
from Agent.event.model import Event
from Agent.event.payloads import KINDS

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
        "extra": _with_texts(event.kind, dict(event.extra)),
        "code": event.code,
        "state": None if event.state is None else dict(event.state),
    }


def engine_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same dict from a row of EVENT_COLUMNS, whose payload and state are JSON text."""
    import orjson

    made = {key: row[key] for key in _PLAIN}
    extra = orjson.loads(row["extra"]) if row["extra"] is not None else {}
    # The keys of a run's flat line that its kind does not have arrive as nulls.
    extra = {k: v for k, v in extra.items() if v is not None} if row["is_flat"] else extra
    made["extra"] = _with_texts(row["event_type"], extra)
    made["causes"] = list(row["causes"] or ())
    state = orjson.loads(row["state"]) if row["state"] is not None else None
    # The engine reads an envelope less strictly than the codec.
    made["state"] = state if is_state_change(state) else None
    return {key: made[key] for key in _KEYS}


def _with_texts(kind: str, extra: dict[str, Any]) -> dict[str, Any]:
    """The payload; of what its kind declares as text, a value of another type stands as its JSON."""
    for name in _TEXTS_OF.get(kind, ()):
        value = extra.get(name)
        if value is not None and not isinstance(value, str):
            import json

            extra[name] = json.dumps(value)
    return extra


_TEXTS_OF = {
    kind: tuple(field.name for field in row.fields if field.type == "string") for kind, row in KINDS.items()
}
_KEYS = tuple(name.strip() for name in EVENT_COLUMNS.split(","))[:17]
_PLAIN = tuple(key for key in _KEYS if key not in {"extra", "causes", "state"})


def is_error(event: Event) -> bool:
    """Whether the event is an error, by the rule of `views.IS_ERROR`: pointing at one is no second one."""
    if event.kind == "error":
        return True
    return event.level in {"ERROR", "CRITICAL"} and event.extra.get("error_id") is None
