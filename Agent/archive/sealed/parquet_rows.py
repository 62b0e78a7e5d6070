"""The Parquet form of an event: its columns, and the conversion from and to the bytes of its line."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from typing import Final

from Agent.event.clock import EVENT_TIME, FIRST_US, LAST_US
from Agent.event.codec import CURRENT_SCHEMA
from Agent.event.kinds import Home
from Agent.event.model import ENVELOPE_KEYS
from Agent.event.payloads import KINDS

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
"""The keys of the envelope, and their SQL types."""

NO_KIND: Final = "log"

PROMOTED: Final = (
    "action_type", "call", "root", "outcome", "error_id", "duration_ms", "error_type", "error_message",
    "fingerprint", "reward", "metric_name", "value", "interaction_type", "message_id",
    "direction", "sender", "recipient", "content_id", "source_id", "target_id",
    "connection_type", "collaboration_type", "participants", "size", "depth", "root_agent_id",
    "cumulative_reward", "exploration", "epsilon", "learning_stage", "metrics", "metric", "decision_type",
    "context", "name", "model_name", "latency_ms", "traceback",
)  # fmt: skip
"""Payload keys that most queries use; the sealed form has columns for them besides the payload text."""


def order_columns(of: str = "") -> dict[str, str]:
    """The sort key of a line as expressions over its envelope; `of` is a prefix."""
    return {
        "ts_us": f"epoch_us(try_cast({of}timestamp AS TIMESTAMP))",
        "writer": f"split_part({of}id, '-', 1)",
        "seq": f"try_cast(split_part({of}id, '-', 2) AS BIGINT)",
    }


def is_event(of: str = "") -> str:
    """The codec's conditions for a line to be an event; a damaged line is a row of NULLs."""
    return (
        f"({of}id IS NOT NULL AND regexp_full_match({of}id, '.{{8}}-(0|[1-9][0-9]{{0,17}})') "
        f"AND regexp_full_match({of}timestamp, '{EVENT_TIME}') AND {of}timestamp >= '0001' "
        f"AND try_cast({of}timestamp AS TIMESTAMP) IS NOT NULL "
        f"AND {of}schema_version BETWEEN 1 AND {CURRENT_SCHEMA} "
        f"AND ({of}type IS NOT NULL OR {of}extra IS NOT NULL))"
    )


HAS_TIME: Final = f"ts_us BETWEEN {FIRST_US} AND {LAST_US}"
"""SQL: the time in the sort key is one that events can have."""


def has_payload(text: str) -> str:
    """Whether a line has a kind or a payload: as a struct, a payload that is no object looks empty."""
    return f"TRY({text}->>'$.type' IS NOT NULL OR json_type({text}, '$.extra') = 'OBJECT')"


def is_object(column: str) -> str:
    """Whether a JSON column of the engine holds an object."""
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
"""If kinds use different types for a key, the later one in this list holds both."""


def payload_columns() -> dict[str, str]:
    """Return every payload key with its SQL type; if kinds differ, the wider type."""
    columns = {"agent_id": "VARCHAR", "agent_role": "VARCHAR", "event_type": "VARCHAR"}
    for kind in KINDS.values():
        for field in kind.fields:
            columns[field.name] = _wider(columns.get(field.name), _SQL_TYPES[field.type])
    for name in ENVELOPE:
        columns.pop(name, None)
    return columns


def _wider(current: str | None, other: str) -> str:
    if current is None:
        return other
    return max(current, other, key=_WIDER.index)


def flat_keys() -> set[str]:
    """Return the payload keys that are next to the envelope keys in a run's flat line."""
    keys = {field.name for kind in KINDS.values() if kind.home is Home.RUN for field in kind.fields}
    return (keys | {"agent_id", "agent_role"}) - ENVELOPE.keys()


def quoted_name(name: str) -> str:
    """A key as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def structure(columns: dict[str, str]) -> str:
    """The columns as a structure for `json_transform`; `VARCHAR[]` becomes a list of text."""
    parts = ", ".join(f'"{name}": {_member(sql_type)}' for name, sql_type in columns.items())
    return "{" + parts + "}"


def _member(sql_type: str) -> str:
    if sql_type.startswith("{"):
        return sql_type
    return f'["{sql_type[:-2]}"]' if sql_type.endswith("[]") else f'"{sql_type}"'


ROW_GROUP_ROWS: Final = 32_768
"""Small enough to find one agent's rows without reading many others, large enough to compress well."""
ROW_GROUP_BYTES: Final = 8 * 1024 * 1024
"""The size of the lines in a row group, since reading one row holds the group's columns in memory."""
VECTOR_ROWS: Final = 2048
"""How many rows the engine works on at a time, whatever their size, where a table has that many."""

_DICTIONARY_VALUES: Final = 2_000
"""A column with more distinct values per row group is smaller, and written faster, without a dictionary."""

HEX_MARK: Final = "\x02"
"""Marks the substitute of a line that is not plain text; the line's bytes in hexadecimal follow."""

TIME_TEXT: Final = "strftime(make_timestamp(ts_us), '%Y-%m-%dT%H:%M:%S.%fZ')"


def _optional(key: str, text: str) -> str:
    return f"""CASE WHEN {key} IS NULL THEN '' ELSE concat(',"{key}":', {text}) END"""


_HEAD: Final = ", ".join(
    [
        f"""concat('{{"timestamp":"', {TIME_TEXT}, '","id":"', writer, '-', seq, '","schema_version":'""",
        "schema_version",
        """',"session_id":'""",
        "to_json(session_id)",
        """',"level":'""",
        "to_json(level)",
        """',"logger":'""",
        "to_json(logger)",
        """',"message":'""",
        "to_json(message)",
        _optional("run_id", "to_json(run_id)"),
        _optional("span_id", "to_json(span_id)"),
        _optional("parent_span_id", "to_json(parent_span_id)"),
        _optional("causes", "to_json(causes)"),
        _optional("tick", "tick"),
        """',"extra":')""",
    ]
)
"""SQL for the beginning of a canonical line, up to the payload."""

_TAIL: Final = ", ".join(
    [
        f"concat({_optional('code', 'to_json(code)')}",
        _optional("state", "state"),
        _optional("types", "types"),
        "'}')",
    ]
)


LINE_BYTES: Final = f"coalesce(raw, encode(concat({_HEAD}, extra, {_TAIL})))"
"""SQL for the bytes of a row's line, without its newline."""

TEXT_BYTES: Final = (
    f"CASE WHEN starts_with(text, chr({ord(HEX_MARK)})) THEN from_hex(substr(text, 2)) ELSE encode(text) END"
)
"""SQL for the bytes of a line that is converted to a row."""

_STORED: Final = tuple(key for key in ENVELOPE_KEYS if key not in {"timestamp", "id", "extra", "hlc"})


def promoted_columns() -> dict[str, str]:
    """Return the payload keys that are columns of the sealed form, with their types."""
    types = payload_columns()
    return {name: types[name] for name in PROMOTED if name in types}


def literal(text: str) -> str:
    """Return text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def rows_of(lines: str) -> str:
    """A query for the sealed rows of some lines.

    Args:
        lines: a relation with `file`, `line` (the number in its file, from 1) and `text`.
    """
    envelope = {name: kind for name, kind in ENVELOPE.items() if name != "type"}
    payload = {"agent_id": "VARCHAR", "agent_role": "VARCHAR", "event_type": "VARCHAR", **promoted_columns()}
    parsed = f"TRY(json_transform(text, {literal(structure(envelope))}))"
    opened = f"TRY(json_transform(extra, {literal(structure(payload))}))"
    around = f"{_HEAD} AS head, {_TAIL} AS tail"
    columns = (
        f"{HAS_TIME} AND length(writer) = 8 AND NOT contains(writer, '-') "
        f"AND schema_version BETWEEN 1 AND {CURRENT_SCHEMA} "
        "AND starts_with(text, head) AND ends_with(text, tail)"
    )
    between = "substr(text, length(head) + 1, length(text) - length(head) - length(tail))"
    apart = (
        f"SELECT file, line, text, j.id AS id, {_named(_SORT_KEY)}, {_members('j', _STORED)} "
        f"FROM (SELECT *, {parsed} AS j FROM {lines})"
    )
    # The text between head and tail is the payload if it is one JSON object: a second parse checks that, and
    # gives the promoted columns.
    cut = (
        f"SELECT *, CASE WHEN {columns} THEN {between} END AS extra FROM (SELECT *, {around} FROM ({apart}))"
    )
    expression = (
        "SELECT *, p IS NOT NULL AS fits, CASE WHEN p IS NULL THEN TRY(json_transform(text, "
        f"{literal(structure(_STRUCTURE))})) END AS w "
        f"FROM (SELECT *, CASE WHEN starts_with(extra, '{{') THEN {opened} END AS p FROM ({cut}))"
    )
    return f"SELECT file, line, {_named(_columns_of(payload))} FROM ({expression})"


_SORT_KEY: Final = order_columns("j.") | {
    "writer": "substr(j.id, 1, 8)",
    "seq": "try_cast(substr(j.id, 10) AS BIGINT)",
}
"""The sort key of a line whose id has a valid form, which the caller has to check."""

_STRUCTURE: Final = ENVELOPE | {
    "agent_id": "VARCHAR",
    "extra": structure({"agent_id": "VARCHAR", "event_type": "VARCHAR"}),
}
"""The sort key of a line that does not fit, by the rules of the live form."""


def _columns_of(payload: dict[str, str]) -> dict[str, str]:
    """The expression of each stored column, for lines that fit, other events, and damaged lines (NULL)."""
    order = order_columns("w.")
    usable = {
        "ts_us": order["ts_us"],
        "writer": order["writer"],
        "seq": order["seq"],
        "agent_id": "coalesce(w.extra.agent_id, w.agent_id)",
        "event_type": f"coalesce(w.type, w.extra.event_type, '{NO_KIND}')",
    }
    fitting = {
        "agent_id": "p.agent_id",
        "event_type": f"coalesce(p.event_type, '{NO_KIND}')",
    }
    is_whole = f"{is_event('w.')} AND {has_payload('text')}"
    columns = {
        name: f"CASE WHEN fits THEN {fitting.get(name, name)} WHEN {is_whole} THEN {expression} END"
        for name, expression in usable.items()
    }
    columns |= {name: f"CASE WHEN fits THEN {name} END" for name in (*_STORED, "extra")}
    columns |= {quoted_name(name): f"p.{quoted_name(name)}" for name in payload if name not in usable}
    columns["raw"] = f"CASE WHEN NOT fits THEN {TEXT_BYTES} END"
    return columns


_ID: Final = "CASE WHEN writer IS NOT NULL THEN concat(writer, '-', seq) END AS id"


def _named(columns: dict[str, str]) -> str:
    return ", ".join(f"{expression} AS {name}" for name, expression in columns.items())


def _members(struct: str, names: tuple[str, ...]) -> str:
    return ", ".join(f"{struct}.{name} AS {name}" for name in names)


def identified(rows: str, session_uid: str | None) -> str:
    """Sealed rows, each with its session and event (`session_uid`, `id`), for readers of many sessions."""
    uid = "NULL::VARCHAR" if session_uid is None else literal(session_uid)
    return f"SELECT {uid} AS session_uid, {_ID}, * FROM ({rows})"


def copy_statement(rows: str, target: str, line_bytes: int) -> str:
    """The statement that writes sealed rows into a Parquet file, in the given order.

    `line_bytes` is the mean length of their lines. Segments are ordered by agent, and the lines of a segment
    almost by time, so rows are clustered by agent and time without a sort, which would be a third of the
    work. Level 1 compresses the delta-encoded columns better and faster than the default level.
    """
    group = min(max(ROW_GROUP_BYTES // max(line_bytes, 1), 1), ROW_GROUP_ROWS)
    if group > VECTOR_ROWS:
        group -= group % VECTOR_ROWS
    return (
        f"COPY ({rows}) TO {literal(target)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, "
        f"ROW_GROUP_SIZE {group}, DICTIONARY_SIZE_LIMIT {_DICTIONARY_VALUES}, PARQUET_VERSION V2, "
        "USE_TMP_FILE false)"
    )
