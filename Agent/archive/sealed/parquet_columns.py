"""What a line looks like as columns: the one place that both the live and the sealed form are read by.

`parquet_rows` makes rows of lines with it and lines of rows; the views of `Agent.analysis` stand on it.
"""

from __future__ import annotations

from typing import Final

from Agent.event.kinds import Home
from Agent.event.payloads import KINDS
from Agent.event.schema import CURRENT_SCHEMA

__all__ = [
    "ENVELOPE",
    "MAX_LINE_BYTES",
    "NO_KIND",
    "PROMOTED",
    "flat_keys",
    "is_event",
    "is_object",
    "order_columns",
    "payload_columns",
    "quoted_name",
    "says_something",
    "structure",
]

ENVELOPE: Final = {
    "timestamp": "VARCHAR",
    "id": "VARCHAR",
    "schema_version": "BIGINT",
    "type": "VARCHAR",
    "session_id": "VARCHAR",
    "level": "VARCHAR",
    "logger": "VARCHAR",
    "message": "VARCHAR",
    "run_id": "VARCHAR",
    "span_id": "VARCHAR",
    "parent_span_id": "VARCHAR",
    "causes": "VARCHAR[]",
    "tick": "BIGINT",
    "code": "VARCHAR",
    "state": "JSON",
    "types": "JSON",
}
"""The keys around the payload, and the type in which they are read."""

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
NO_KIND: Final = "log"

PROMOTED: Final = (
    "action_type",
    "call",
    "root",
    "outcome",
    "error_id",
    "duration_ms",
    "error_type",
    "error_message",
    "fingerprint",
    "reward",
    "metric_name",
    "value",
    "interaction_type",
    "message_id",
)
"""Payload keys that most questions ask for: in the sealed form they are columns beside the payload's text."""


def order_columns(of: str = "") -> dict[str, str]:
    """The place of a line in the order of all, as expressions over its envelope; `of` is a prefix."""
    return {
        "ts_us": f"epoch_us(try_cast({of}timestamp AS TIMESTAMP))",
        "writer": f"split_part({of}id, '-', 1)",
        "seq": f"try_cast(split_part({of}id, '-', 2) AS BIGINT)",
    }


def is_event(of: str = "") -> str:
    """The codec's own conditions for a line to be an event; a damaged one arrives as a row of NULLs."""
    return (
        f"({of}id IS NOT NULL AND regexp_full_match({of}id, '.{{8}}-[0-9]+') "
        f"AND try_cast({of}timestamp AS TIMESTAMP) IS NOT NULL "
        f"AND {of}schema_version BETWEEN 1 AND {CURRENT_SCHEMA} "
        f"AND {says_something(of)})"
    )


def says_something(of: str = "") -> str:
    """The last of them: a kind of its own, or a payload."""
    return f"({of}type IS NOT NULL OR {of}extra IS NOT NULL)"


def has_payload(text: str) -> str:
    """The same of a line's text: read as a struct, a payload that is no object looks like an empty one."""
    return f"TRY({text}->>'$.type' IS NOT NULL OR json_type({text}, '$.extra') = 'OBJECT')"


def is_object(column: str) -> str:
    """Whether a column of JSON, as the engine reads it, holds an object."""
    return f"starts_with({column}::VARCHAR, '{{')"


_SQL_TYPES: Final = {
    "string": "VARCHAR",
    "number": "DOUBLE",
    "integer": "BIGINT",
    "boolean": "BOOLEAN",
    "object": "JSON",
    "array": "JSON",
    "any": "VARCHAR",
}
_WIDER: Final = ("BOOLEAN", "BIGINT", "DOUBLE", "JSON", "VARCHAR")
"""Where kinds differ about a key, the later of these two holds both."""


def payload_columns() -> dict[str, str]:
    """Every key of every payload with its SQL type; where kinds differ, the type that holds both."""
    columns = {"agent_id": "VARCHAR", "agent_role": "VARCHAR", "event_type": "VARCHAR"}
    for kind in KINDS.values():
        for field in kind.fields:
            columns[field.name] = _wider(columns.get(field.name), _SQL_TYPES[field.type])
    for name in ENVELOPE:
        columns.pop(name, None)
    return columns


def _wider(known: str | None, other: str) -> str:
    if known is None:
        return other
    return max(known, other, key=_WIDER.index)


def flat_keys() -> set[str]:
    """The payload keys that stand beside the envelope in a run's flat line."""
    keys = {field.name for kind in KINDS.values() if kind.home is Home.RUN for field in kind.fields}
    return (keys | {"agent_id", "agent_role"}) - ENVELOPE.keys()


def quoted_name(name: str) -> str:
    """A key as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def structure(columns: dict[str, str]) -> str:
    """The columns as the structure that `json_transform` takes; `VARCHAR[]` becomes a list of text."""
    parts = ", ".join(f'"{name}": {_member(sql_type)}' for name, sql_type in columns.items())
    return "{" + parts + "}"


def _member(sql_type: str) -> str:
    if sql_type.startswith("{"):
        return sql_type
    return f'["{sql_type[:-2]}"]' if sql_type.endswith("[]") else f'"{sql_type}"'
