"""The SQL over a session's lines, made from the payload table: a typed scan, and the named views for `sql()`.

A view is one more entry of `_VIEWS`; a new kind of event brings its columns along by itself.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from typing import Final

from Agent.event.kinds import Home
from Agent.event.payloads import KINDS
from Agent.event.schema import CURRENT_SCHEMA

ENVELOPE: Final = {
    "timestamp": "VARCHAR",
    "id": "VARCHAR",
    "schema_version": "VARCHAR",
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

MAX_LINE_BYTES: Final = 64 * 1024 * 1024

_VIEWS: Final = {
    "actions": ("agent_action",),
    "errors": ("error",),
    "rewards": ("reward",),
    "interactions": ("interaction", "connection", "cascade", "collaboration"),
    "messages": ("agent_message",),
    "metrics": ("metric", "throughput", "resource"),
    "decisions": ("decision",),
    "learning": ("learning_update", "training_step", "exploration", "policy_update", "convergence"),
    "states": ("state", "state_change"),
    "tool_calls": ("tool.call",),
    "model_calls": ("model.call",),
}

IS_ERROR: Final = "(event_type = 'error' OR (level IN ('ERROR', 'CRITICAL') AND error_id IS NULL))"
"""An error, once: an error event, or a line of that level that does not merely point at one."""

NO_KIND: Final = "log"


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


def _columns_literal(columns: dict[str, str]) -> str:
    return "{" + ", ".join(f"{_name(name)}: '{sql_type}'" for name, sql_type in columns.items()) + "}"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _read(columns: dict[str, str]) -> str:
    """The scan itself; `files` is a variable of the connection, so that no path stands in a statement."""
    return (
        "read_json(getvariable('files'), format='newline_delimited', records=true, ignore_errors=true, "
        f"filename=true, maximum_object_size={MAX_LINE_BYTES}, columns={_columns_literal(columns)})"
    )


_ORDER: Final = (
    "epoch_us(try_cast(timestamp AS TIMESTAMP)) AS ts_us, split_part(id, '-', 1) AS writer, "
    "try_cast(split_part(id, '-', 2) AS BIGINT) AS seq"
)
_ENVELOPE_COLUMNS: Final = (
    "timestamp, id, session_id, coalesce(level, 'INFO') AS level, logger, message, run_id, span_id, "
    "parent_span_id, causes, tick, code, state"
)

# Damaged lines arrive as rows of NULLs: the codec's own conditions for a line to be an event.
_VALID = (
    "id IS NOT NULL AND regexp_full_match(id, '.{8}-[0-9]+') AND try_cast(timestamp AS TIMESTAMP) IS NOT "
    "NULL "
    f"AND try_cast(schema_version AS INTEGER) BETWEEN 1 AND {CURRENT_SCHEMA} "
    "AND (type IS NOT NULL OR extra IS NOT NULL)"
)


def scan(*keys: str) -> str:
    """A sub-query over every whole line of the session, with the payload keys asked for as columns.

    Besides them it has `ts_us`, `writer`, `seq`, the envelope, `agent_id`, `agent_role`, `event_type` and
    `filename`. A payload key that no query reads still costs its parsing, so each asks for what it needs.
    """
    known = payload_columns()
    payload = {name: known[name] for name in ("agent_id", "agent_role", "event_type", *keys)}
    struct = "STRUCT(" + ", ".join(f"{_name(name)} {sql_type}" for name, sql_type in payload.items()) + ")"
    # A run's lines are flat: their payload stands beside the envelope.
    beside = {name: sql_type for name, sql_type in payload.items() if name in _flat_keys()}
    columns = [f"coalesce(extra.{_name(n)}, {_name(n)}) AS {_name(n)}" for n in beside]
    columns += [f"extra.{_name(n)} AS {_name(n)}" for n in payload if n not in beside and n != "event_type"]
    return (
        f"(SELECT {_ORDER}, {_ENVELOPE_COLUMNS}, coalesce(type, extra.event_type, '{NO_KIND}') AS "
        "event_type, "
        f"{', '.join(columns)}, filename FROM {_read(ENVELOPE | beside | {'extra': struct})} WHERE {_VALID})"
    )


def whole_lines() -> str:
    """A sub-query like `scan`, with the payload as it stands in one JSON column `extra`."""
    beside = {"agent_id": "VARCHAR", "agent_role": "VARCHAR"}
    flat = sorted(_flat_keys() - beside.keys())
    members = ", ".join(f"'{name}', {_name(name)}" for name in ["agent_id", "agent_role", *flat])
    # The payload of a run's flat line is put together of the keys that its kinds name.
    extra = f"coalesce(extra, json_object({members})) AS extra, extra IS NULL AS is_flat"
    return (
        f"(SELECT {_ORDER}, {_ENVELOPE_COLUMNS}, coalesce(extra->>'$.agent_id', agent_id) AS agent_id, "
        "coalesce(extra->>'$.agent_role', agent_role) AS agent_role, "
        f"coalesce(type, extra->>'$.event_type', '{NO_KIND}') AS event_type, {extra}, types, filename "
        f"FROM {_read(ENVELOPE | beside | dict.fromkeys(flat, 'JSON') | {'extra': 'JSON'})} WHERE {_VALID})"
    )


def damaged_lines() -> str:
    """A query for the files that hold lines which are no event, and how many."""
    return (
        f"SELECT filename, count(*) AS lines FROM {_read(ENVELOPE | {'extra': 'JSON'})} "
        f"WHERE NOT coalesce({_VALID}, false) GROUP BY filename ORDER BY filename"
    )


def _flat_keys() -> set[str]:
    keys = {field.name for kind in KINDS.values() if kind.home is Home.RUN for field in kind.fields}
    return (keys | {"agent_id", "agent_role"}) - ENVELOPE.keys()


def statements() -> list[str]:
    """What makes the views that a person's query names."""
    spans = scan("duration_ms", "outcome", "action_type", "metric_name", "context", "call", "error_id")
    made = [
        f"CREATE VIEW events AS SELECT * FROM {whole_lines()}",
        f"CREATE VIEW spans AS SELECT *, ts_us - coalesce(duration_ms, 0) * 1000 AS started_us FROM {spans} "
        "WHERE span_id IS NOT NULL",
    ]
    return made + [_view(name, kinds) for name, kinds in _VIEWS.items()]


def _view(name: str, kinds: tuple[str, ...]) -> str:
    own = list(dict.fromkeys(field.name for kind in kinds for field in KINDS[kind].fields))
    own = [field for field in own if field not in ENVELOPE]
    if name == "errors":
        own.append("error_id")
    columns = ["ts_us", "timestamp", "id", "tick", "level", "message", "event_type", "agent_id", "agent_role"]
    columns += ["run_id", "span_id", "parent_span_id", *(_name(field) for field in own)]
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    # Lines of level ERROR that no exception made are errors too; their error columns are empty.
    where = IS_ERROR if name == "errors" else f"event_type IN ({listed})"
    return f"CREATE VIEW {name} AS SELECT {', '.join(columns)} FROM {scan(*own)} WHERE {where}"


def names() -> list[str]:
    """The views that `sql()` offers."""
    return sorted(["events", "spans", *_VIEWS])
