"""The SQL over a session's lines, made from the payload table: a typed scan, and the named views for `sql()`.

A kind of event says in that table in which view it stands, and brings its columns along. A scan is made
of legs, one for each form in which lines lie (`scan_sources`); `engine` keeps those that a session has.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from typing import Final

from Agent.analysis.query.scan_sources import (
    LIVE,
    OLDER,
    REGULAR,
    SEALED,
    SEALED_FILENAME,
    UNNEEDED_IN_SCAN,
    VERBATIM,
    either,
    live_lines,
    read_files,
    regular_lines,
    sealed_rows,
    select,
    verbatim_lines,
)
from Agent.archive.sealed.parquet_columns import (
    ENVELOPE,
    NO_KIND,
    flat_keys,
    is_event,
    is_object,
    order_columns,
    payload_columns,
    quoted_name,
    structure,
)
from Agent.archive.sealed.parquet_rows import TIME_TEXT, literal, promoted_columns
from Agent.event.model import ENVELOPE_KEYS
from Agent.event.payloads import KINDS

_VIEWS: Final = {
    view: tuple(name for name, kind in KINDS.items() if kind.view == view)
    for view in dict.fromkeys(kind.view for kind in KINDS.values() if kind.view)
}

IS_ERROR: Final = "(event_type = 'error' OR (level IN ('ERROR', 'CRITICAL') AND error_id IS NULL))"
"""An error, once: an error event, or a line of that level that does not merely point at one."""

_AGENT: Final = ("agent_id", "agent_role")
_NOT_COLUMNS: Final = {"timestamp", "id", "schema_version", "extra", "types"}
_ENVELOPE_COLUMNS: Final = tuple(key for key in ENVELOPE_KEYS if key not in _NOT_COLUMNS)

_TELLING: Final = ("log.closed", "log.dropped", "log.retired")
_SAID: Final = {
    "event_type": "VARCHAR",
    "writer": "VARCHAR",
    "first_seq": "BIGINT",
    "last_seq": "BIGINT",
    "count": "BIGINT",
    "reason": "VARCHAR",
}
"""What the kinds that tell of the recording itself say; the first is in which of them it stands."""

_ARCHIVED: Final = {
    "ts_us": "ts_us",
    "writer": "writer",
    "seq": "seq",
    "timestamp": TIME_TEXT,
    "id": "concat(writer, '-', seq)",
}
"""The place of a row of the archive in the order of all."""


def scan(*keys: str) -> str:
    """A sub-query over every whole line of the session, with the payload keys asked for as columns.

    Besides them it has `ts_us`, `writer`, `seq`, the envelope, `agent_id`, `agent_role`, `event_type` and
    `filename`. A payload key that no query reads still costs its parsing, so each asks for what it needs.
    The text is for `Engine`, which knows the forms in which the session's lines lie.
    """
    known = payload_columns()
    payload = {name: known[name] for name in ("event_type", *_AGENT, *keys)}
    # A run's lines are flat: their payload stands beside the envelope.
    beside = {name: sql_type for name, sql_type in payload.items() if name in flat_keys()}
    columns, spare = ENVELOPE | beside, UNNEEDED_IN_SCAN
    return either(
        {
            LIVE: select(_of_line(payload), live_lines(columns, payload, spare), spare),
            REGULAR: select(_of_line(payload), regular_lines(columns, payload, spare), spare),
            SEALED: _of_rows(SEALED, payload, promoted_columns()),
            OLDER: _of_rows(OLDER, payload, {}),
            VERBATIM: select(_of_line(payload, "j."), verbatim_lines(columns, payload), spare),
        }
    )


def _of_line(payload: dict[str, str], of: str = "") -> dict[str, str]:
    """The columns of a scan, as expressions over what was read of a line."""
    columns = order_columns(of) | {"timestamp": f"{of}timestamp", "id": f"{of}id"}
    columns |= {name: f"{of}{name}" for name in _ENVELOPE_COLUMNS}
    columns["level"] = f"coalesce({of}level, 'INFO')"
    columns["state"] = f"CASE WHEN {is_object(f'{of}state')} THEN {of}state END"
    columns["event_type"] = f"coalesce({of}type, {of}extra.event_type, '{NO_KIND}')"
    for name in payload:
        quoted = quoted_name(name)
        if name != "event_type":
            inner = f"{of}extra.{quoted}"
            columns[name] = f"coalesce({inner}, {of}{quoted})" if name in flat_keys() else inner
    return columns | {"filename": SEALED_FILENAME if of else "filename"}


def _of_rows(form: str, payload: dict[str, str], promoted: dict[str, str]) -> str:
    """The same columns of rows of the archive: stored ones, and those that the payload's text gives."""
    stored = {*_AGENT, "event_type", *promoted}
    from_text = {name: sql_type for name, sql_type in payload.items() if name not in stored}
    columns = _ARCHIVED | {name: name for name in _ENVELOPE_COLUMNS}
    columns |= {"state": "state::JSON", "event_type": "event_type"}
    columns |= {
        name: f"p.{quoted_name(name)}" if name in from_text else quoted_name(name)
        for name in payload
        if name != "event_type"
    }
    return select(columns | {"filename": SEALED_FILENAME}, sealed_rows(form, from_text), UNNEEDED_IN_SCAN)


def whole_lines() -> str:
    """A sub-query like `scan`, with the payload as it stands in one JSON column `extra`."""
    beside = dict.fromkeys(_AGENT, "VARCHAR") | dict.fromkeys(sorted(flat_keys() - {*_AGENT}), "JSON")
    rows = _ARCHIVED | {name: name for name in _ENVELOPE_COLUMNS}
    rows |= {"state": "state::JSON"} | {name: name for name in (*_AGENT, "event_type")}
    rows |= {"extra": "extra::JSON", "is_flat": "false", "types": "types::JSON", "filename": SEALED_FILENAME}
    return either(
        {
            LIVE: select(_whole_of_line(), live_lines(ENVELOPE | beside, None)),
            REGULAR: select(_whole_of_line(), regular_lines(ENVELOPE | beside, None)),
            SEALED: select(rows, sealed_rows(SEALED, {})),
            OLDER: select(rows, sealed_rows(OLDER, {})),
            VERBATIM: select(_whole_of_line("j."), verbatim_lines(ENVELOPE | beside, None)),
        }
    )


def _whole_of_line(of: str = "") -> dict[str, str]:
    # The payload of a run's flat line is put together of the keys that its kinds name.
    names = [*_AGENT, *sorted(flat_keys() - {*_AGENT})]
    members = ", ".join(f"'{name}', {of}{quoted_name(name)}" for name in names)
    columns = order_columns(of) | {"timestamp": f"{of}timestamp", "id": f"{of}id"}
    columns |= {name: f"{of}{name}" for name in _ENVELOPE_COLUMNS}
    columns["level"] = f"coalesce({of}level, 'INFO')"
    columns["state"] = f"CASE WHEN {is_object(f'{of}state')} THEN {of}state END"
    columns |= {name: f"coalesce({of}extra->>'$.{name}', {of}{name})" for name in _AGENT}
    return columns | {
        "event_type": f"coalesce({of}type, {of}extra->>'$.event_type', '{NO_KIND}')",
        "extra": f"coalesce({of}extra, json_object({members}))",
        "is_flat": f"{of}extra IS NULL",
        "types": f"{of}types",
        "filename": SEALED_FILENAME if of else "filename",
    }


def numbers() -> str:
    """A sub-query over every line of the session, damaged ones of files among them.

    It has `is_whole`, `writer`, `seq`, and `said`: of lines that tell of the recording itself, what they say.
    """
    telling = f"IN ({', '.join(literal(kind) for kind in _TELLING)})"
    said = f"CASE WHEN event_type {telling} THEN json_transform(extra, {literal(structure(_SAID))}) END"
    stored = {"is_whole": "true", "writer": "writer", "seq": "seq", "said": said}
    return either(
        {
            LIVE: select(_numbers_of_line(telling), read_files(ENVELOPE, _SAID)),
            REGULAR: select(_numbers_of_line(telling), read_files(ENVELOPE, _SAID, form=REGULAR)),
            SEALED: select(stored, sealed_rows(SEALED, {})),
            OLDER: select(stored, sealed_rows(OLDER, {})),
            VERBATIM: select(_numbers_of_line(telling, "j."), verbatim_lines(ENVELOPE, _SAID)),
        }
    )


def _numbers_of_line(telling: str, of: str = "") -> dict[str, str]:
    columns = {"is_whole": f"coalesce({is_event(of)}, false)"} | order_columns(of)
    del columns["ts_us"]
    return columns | {
        "said": f"CASE WHEN coalesce({of}type, {of}extra.event_type) {telling} THEN {of}extra END"
    }


def damaged_lines() -> str:
    """A query for the files that hold lines which are no event, and how many; of files as they stand."""
    return (
        f"SELECT filename, count(*) AS lines FROM {read_files(ENVELOPE, None)} "
        f"WHERE NOT coalesce({is_event()}, false) GROUP BY filename ORDER BY filename"
    )


def statements() -> list[str]:
    """What makes the views that a person's query names."""
    spans = scan("duration_ms", "outcome", "action_type", "metric_name", "context", "call", "error_id")
    made = [
        f"CREATE OR REPLACE VIEW events AS SELECT * FROM {whole_lines()}",
        "CREATE OR REPLACE VIEW spans AS SELECT *, ts_us - coalesce(duration_ms, 0) * 1000 AS started_us "
        f"FROM {spans} WHERE span_id IS NOT NULL",
    ]
    return made + [_view(name, kinds) for name, kinds in _VIEWS.items()]


def _view(name: str, kinds: tuple[str, ...]) -> str:
    own = list(dict.fromkeys(field.name for kind in kinds for field in KINDS[kind].fields))
    own = [field for field in own if field not in ENVELOPE]
    if name == "errors":
        own.append("error_id")
    columns = ["ts_us", "timestamp", "id", "tick", "level", "message", "event_type", "agent_id", "agent_role"]
    columns += ["run_id", "span_id", "parent_span_id", *(quoted_name(field) for field in own)]
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    # Lines of level ERROR that no exception made are errors too; their error columns are empty.
    where = IS_ERROR if name == "errors" else f"event_type IN ({listed})"
    return f"CREATE OR REPLACE VIEW {name} AS SELECT {', '.join(columns)} FROM {scan(*own)} WHERE {where}"


def names() -> list[str]:
    """The views that `sql()` offers."""
    return sorted(["events", "spans", *_VIEWS])
