"""SQL over each form of a session's lines with the same columns, and conversion of events to dicts.

Each engine implements the scans (`scan`, `whole_lines`), which have one leg for each form of the
lines. A query over whole sessions is the same text for both engines, DuckDB and Spark: it uses functions that
both have, no `::`, an explicit order of NULLs, and placeholders that each engine fills in (`WORDS`).
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from Agent.archive.sealed.parquet_rows import (
    ENVELOPE,
    HAS_TIME,
    NO_KIND,
    TIME_TEXT,
    flat_keys,
    has_payload,
    is_event,
    is_object,
    literal,
    order_columns,
    payload_columns,
    promoted_columns,
    quoted_name,
    structure,
)
from Agent.event.codec import MAX_DEPTH, is_state_change
from Agent.event.model import ENVELOPE_KEYS, Event
from Agent.event.payloads import KINDS
from Agent.event.pointers import is_deeper
from Agent.tree.files.lines import MAX_LINE_BYTES

_VIEWS: Final = {
    view: tuple(name for name, kind in KINDS.items() if kind.view == view)
    for view in dict.fromkeys(kind.view for kind in KINDS.values() if kind.view)
}

IS_ERROR: Final = "(event_type = 'error' OR (level IN ('ERROR', 'CRITICAL') AND error_id IS NULL))"
"""SQL: each error once. An error event, or a line of level ERROR or CRITICAL without an error_id."""

_AGENT: Final = ("agent_id", "agent_role")
_NOT_COLUMNS: Final = {"hlc", "timestamp", "id", "schema_version", "extra", "types"}
_ENVELOPE_COLUMNS: Final = tuple(key for key in ENVELOPE_KEYS if key not in _NOT_COLUMNS)

ACTION_STATES: Final = "action_states"
"""The view that `user_queries.action_states` makes."""
TELLING: Final = ("log.closed", "log.dropped", "log.retired")
"""The kinds of events about the recording itself."""
_ARCHIVED: Final = {
    "ts_us": "ts_us",
    "writer": "writer",
    "seq": "seq",
    "timestamp": TIME_TEXT,
    "id": "concat(writer, '-', seq)",
}
"""Expressions for the ordering columns of an archive row."""


class Only(NamedTuple):
    """An upper bound of the rows that a query needs, so that other lines are skipped.

    The query needs the same conditions in SQL, since it gets all lines of files that DuckDB reads, and of the
    archive at least those of other ids.
    """

    kinds: Collection[str] | None = None
    """The kinds of events; None for all."""
    with_errors: bool = False
    """Whether every event of level ERROR or CRITICAL is needed as well."""
    with_warnings: bool = False
    """Whether every event of level WARNING is needed as well."""
    since_us: int | None = None
    until_us: int | None = None
    ids: Collection[str] | None = None
    """The ids of events; None for all."""
    spans: Collection[str] = ()
    """In addition to the events with these ids: those of these spans and those inside them."""


EVERYTHING: Final = Only()


def is_of(kinds: Iterable[str]) -> str:
    """SQL: whether an event is of some kinds."""
    return f"event_type IN ({', '.join(map(literal, kinds))})"


def is_agent(agent_id: str | None) -> str:
    """SQL: whether an event is of an agent; None for all events."""
    return "true" if agent_id is None else f"agent_id = {quoted_text(agent_id)}"


def quoted_text(text: str) -> str:
    """SQL for a text of a program, such as an id; a brace in it does not begin a placeholder."""
    parts = literal(text).replace("{", "{' || '")
    return f"({parts})"


def events_of(
    kinds: Collection[str], *keys: str, since_us: int | None = None, until_us: int | None = None
) -> str:
    """The events of some kinds with these payload keys, for FROM; the text ends with a condition."""
    return f"{scan(*keys, only=Only(kinds, since_us=since_us, until_us=until_us))} WHERE {is_of(kinds)}"


TOTAL: Final = "{{total}}"
"""The sum of floating-point numbers; in DuckDB it does not depend on the order of the rows."""
ABOUT: Final = "{{about}}"
"""An estimated quantile of a column, for a share of 0 to 1."""
DIV: Final = "{{div}}"
"""The operator for integer division of non-negative numbers."""
WIDE: Final = "{{wide}}"
"""A type that holds the difference of any two 64-bit integers."""
EVERY: Final = "{{every}}"
"""The last argument of `regexp_replace`, so that every match is replaced."""
FIRST: Final = "{{first}}"
"""A function for the first elements of a list: its arguments are the list, 1 and their number."""
KEYS: Final = "{{keys}}"
"""The names of a JSON object's members, as a list."""
EACH: Final = "{{each}}"
"""One row for each element of a list."""
OBJECT: Final = "{{object}}"
"""An aggregate: the JSON object of the rows' columns `field` and `value`, without values that are NULL."""
AS_JSON: Final = "{{as_json}}"
"""After an expression: the conversion of JSON text to the engine's type for JSON, if it has one."""
WORDS: Final = {
    "total": "fsum", "about": "approx_quantile", "div": "//", "every": "'g'", "first": "array_slice",
    "wide": "HUGEINT", "each": "unnest", "keys": "json_keys", "as_json": "::JSON",
    "object": "to_json(map(coalesce(list(field ORDER BY field) FILTER (WHERE value IS NOT NULL), []), "
    "coalesce(list(value ORDER BY field) FILTER (WHERE value IS NOT NULL), [])))",
}  # fmt: skip
"""DuckDB's form of each placeholder in a query."""
MACROS: Final = (
    "is_json_object(value) AS "
    "coalesce(CASE WHEN json_valid(value) THEN json_type(value) END = 'OBJECT', false)",
    "json_member(value, name) AS "
    "json_extract_string(value, '/' || replace(replace(name, '~', '~0'), '/', '~1'))",
    "json_part(value, name) AS json_extract(value, '/' || replace(replace(name, '~', '~0'), '/', '~1'))",
    "json_texts(value) AS CASE WHEN json_type(value) = 'ARRAY' THEN CAST(value AS VARCHAR[]) END",
)
"""DuckDB's macros for functions that Spark defines differently."""
_WORD_LEFT: Final = re.compile(r"\{\{(\w+)\}\}")


def worded(sql: str, words: Mapping[str, str] = WORDS) -> str:
    """Fill in the placeholders of a resolved query."""
    return _WORD_LEFT.sub(lambda match: words[match[1]], sql)


def is_finite(column: str) -> str:
    """SQL: a number that is neither NULL, NaN nor infinite; both engines order NaN after all numbers."""
    return f"abs({column}) <= 1.7976931348623157e308"


def part_of(column: str, low: int, high: int, most: int) -> tuple[str, int]:
    """Return SQL for the part of a range that a value is in, of at most `most`, and the width of a part."""
    width = max(1, -(-(high - low + 1) // most))
    # the difference of two 64-bit integers may need more bits, which are slower
    value = f"CAST({column} AS {WIDE})" if high - low >= 1 << 63 else column
    return f"(({value} - {low}) {DIV} {width})", width


def scan(*keys: str, only: Only = EVERYTHING) -> str:
    """A sub-query over every whole line of the session, with the requested payload keys as columns.

    The other columns are `ts_us`, `writer`, `seq`, the envelope, `agent_id`, `agent_role`, `event_type` and
    `filename`. Each requested key costs parsing time, so a query requests only the keys it reads. The text is
    a template for `Engine`, which fills in the forms that the session has.
    """
    known = payload_columns()
    payload = {name: known[name] for name in ("event_type", *_AGENT, *keys)}
    # Lines of a run are flat: the payload keys are next to the envelope.
    beside = {name: sql_type for name, sql_type in payload.items() if name in flat_keys()}
    columns, spare = ENVELOPE | beside, UNNEEDED_IN_SCAN
    return either(
        {
            LIVE: select(_of_line(payload), live_lines(columns, payload, spare), spare),
            LINES: select(_of_columns(payload), read_columns(payload, spare, only), spare),
            SEALED: _of_rows(SEALED, payload, promoted_columns(), only),
            OLDER: _of_rows(OLDER, payload, {}, only),
            VERBATIM: select(_of_line(payload, "j."), verbatim_lines(columns, payload), spare),
            ROWS: _of_base(_of_columns(payload)),
        }
    )


def _of_base(columns: Iterable[str]) -> str:
    """The columns of a scan from the rows of many sessions; the engine puts its own query there."""
    return f"{{{{rows {' '.join(columns)}}}}}"


ROWS_ASKED: Final = re.compile(r"\{\{rows (.*?)\}\}")
"""The requested columns of `ROWS`, in a resolved statement."""


def _of_line(payload: dict[str, str], of: str = "") -> dict[str, str]:
    """The columns of a scan as expressions over the parsed line."""
    columns = _envelope_of_line(of)
    columns["event_type"] = f"coalesce({of}type, {of}extra.event_type, '{NO_KIND}')"
    for name in payload:
        quoted = quoted_name(name)
        if name != "event_type":
            inner = f"{of}extra.{quoted}"
            columns[name] = f"coalesce({inner}, {of}{quoted})" if name in flat_keys() else inner
    return columns | {"filename": SEALED_FILENAME if of else "filename"}


def _of_columns(payload: Mapping[str, str]) -> dict[str, str]:
    """The columns of a scan from those that `read_columns` returns for lines, all of which are events."""
    columns = {name: name for name in ("ts_us", "writer", "seq", "timestamp", "id", *_ENVELOPE_COLUMNS)}
    columns |= {"level": "coalesce(level, 'INFO')", "state": f"CASE WHEN {is_object('state')} THEN state END"}
    return columns | {name: quoted_name(name) for name in payload} | {"filename": "filename"}


def read_columns(payload: Mapping[str, str], spare: Collection[str], only: Only) -> str:
    """The lines of files as columns, which the engine reads: those of the envelope, and these payload keys.

    Keys that a run's flat line has next to the envelope are read from there, too.
    """
    columns = dict(_COLUMNS_OF_ENVELOPE)
    for name, sql_type in payload.items():
        beside = name if name in flat_keys() else ""
        columns[name] = f"{_COLUMN_KINDS[sql_type]},{name},{beside}"
    columns["event_type"] = _KIND_COLUMN
    return source_of_columns(columns, {name: name for name in spare}, only)


def source_of_columns(
    columns: Mapping[str, str], optional: Mapping[str, str], only: Only = EVERYTHING
) -> str:
    """A placeholder that `Engine` replaces by the columns that it reads from lines; see `asked_in`."""
    listed = {name: f"{name},{column}" for name, column in columns.items()}
    requested = _joined({"event_type": listed.pop("event_type")} | listed, optional)
    kinds = "*" if only.kinds is None else " ".join(sorted(only.kinds))
    bounds = (
        (_FIRST_US if only.since_us is None else only.since_us),
        (_LAST_US if only.until_us is None else only.until_us),
    )
    levels = only.with_errors * _ERROR_LEVELS | only.with_warnings * _WARNING_LEVEL
    ids = "*" if only.ids is None else " ".join(filter(_IS_ID.fullmatch, only.ids))
    # in hexadecimal, because a program may give spans any ids
    spans = " ".join(span.encode("utf-8", "replace").hex() for span in only.spans)
    return f"{{{{lines {requested}~{kinds}~{levels}~{bounds[0]}~{bounds[1]}~{ids}~{spans}}}}}"


_ERROR_LEVELS: Final = 1
_WARNING_LEVEL: Final = 2
"""Bits for levels, as an argument of `Files.lines`."""
_IS_ID: Final = re.compile(r"[a-z0-9]{8}-[0-9]+")
_FIRST_US: Final = -(2**63)
_LAST_US: Final = 2**63 - 1
LINES_ASKED: Final = re.compile(r"\{\{lines (.*?)\}\}")
"""A placeholder for lines as columns in a resolved statement."""
_AskedColumn = tuple[str, str, str | None, str | None]


_Texts = tuple[str, ...]
_Asked = tuple[tuple[_AskedColumn, ...], _Texts | None, int, int, int, _Texts | None, _Texts | None]


def asked_in(source: str) -> _Asked:
    """The arguments of `Files.lines` for such a placeholder."""
    columns, kinds, levels, since_us, until_us, ids, spans = source.split("~")
    named = (each.split(",") for each in columns.split(", "))
    return (
        tuple((name, kind, inner or None, beside or None) for name, kind, inner, beside in named),
        None if kinds == "*" else tuple(kinds.split()),
        int(levels),
        int(since_us),
        int(until_us),
        None if ids == "*" else tuple(ids.split()),
        tuple(bytes.fromhex(span).decode() for span in spans.split()) or None,
    )


_COLUMN_KINDS: Final = {
    "VARCHAR": "T",
    "JSON": "j",
    "BIGINT": "i",
    "DOUBLE": "d",
    "BOOLEAN": "b",
    "VARCHAR[]": "L",
}
_KIND_COLUMN: Final = "e,event_type,type"
_COLUMNS_OF_ENVELOPE: Final = {
    "ts_us": "u,,",
    "writer": "w,,",
    "seq": "n,,",
    "timestamp": "t,,",
    "id": "#,,",
    "filename": "f,,",
    **{name: f"{_COLUMN_KINDS[ENVELOPE[name]]},,{name}" for name in _ENVELOPE_COLUMNS},
}


def _envelope_of_line(of: str) -> dict[str, str]:
    columns = order_columns(of) | {"timestamp": f"{of}timestamp", "id": f"{of}id"}
    columns |= {name: f"{of}{name}" for name in _ENVELOPE_COLUMNS}
    columns["level"] = f"coalesce({of}level, 'INFO')"
    columns["state"] = f"CASE WHEN {is_object(f'{of}state')} THEN {of}state END"
    return columns


def _of_rows(form: str, payload: dict[str, str], promoted: dict[str, str], only: Only) -> str:
    """The same columns from archive rows: stored columns, and keys parsed from the payload's text."""
    stored = {*_AGENT, "event_type", *promoted}
    from_text = {name: sql_type for name, sql_type in payload.items() if name not in stored}
    columns = _ARCHIVED | {name: name for name in _ENVELOPE_COLUMNS}
    columns |= {"state": "state::JSON", "event_type": "event_type"}
    columns |= {
        name: f"p.{quoted_name(name)}" if name in from_text else quoted_name(name)
        for name in payload
        if name != "event_type"
    }
    columns |= {"filename": SEALED_FILENAME}
    return _select_rows(columns, form, UNNEEDED_IN_SCAN, only, from_text)


def _select_rows(
    columns: Mapping[str, str],
    form: str,
    spare: Collection[str],
    only: Only,
    from_text: Mapping[str, str] | None = None,
) -> str:
    """The selection from archive rows, with one part for each condition that the engine checks as it reads.

    It reads further columns only where the condition holds, and checks none that joins two columns by OR.
    """
    return " UNION ALL ".join(
        select(columns, sealed_rows(form, from_text or {}, condition), spare)
        for condition in _disjoint_conditions(only)
    )


def _disjoint_conditions(only: Only) -> list[str]:
    """Conditions on archive rows of which one holds for each row within the bound."""
    times = "" if only.since_us is None else f" AND ts_us >= {only.since_us}"
    times += "" if only.until_us is None else f" AND ts_us <= {only.until_us}"
    if only.kinds is None:
        return [f"true{times}"]
    levels = only.with_errors * ["ERROR", "CRITICAL"] + only.with_warnings * ["WARNING"]
    is_other = f"NOT {is_of(sorted(only.kinds))}{times}"
    others = [f"{_is_read_among('level', levels)} AND {is_other}"] if levels else []
    return [f"{_is_read_among('event_type', sorted(only.kinds))}{times}", *others]


def _is_read_among(column: str, values: Sequence[str]) -> str:
    """SQL: whether a stored column has one of some values, as conditions that the reader of Parquet checks.

    By IN with several values it skips row groups, but reads all columns of the others; by the second
    condition, only those of the rows.
    """
    among = f"{column} IN ({', '.join(map(literal, values))})"
    return among if len(values) == 1 else f"{among} AND coalesce({among}, false)"


def whole_lines(only: Only = EVERYTHING) -> str:
    """A sub-query like `scan`, with the whole payload as JSON in one column `extra`.

    Of archive rows it is text, since the engine would check the JSON of each row, wanted or not.
    """
    beside = dict.fromkeys(_AGENT, "VARCHAR") | dict.fromkeys(sorted(flat_keys() - {*_AGENT}), "JSON")
    rows = _ARCHIVED | {name: name for name in _ENVELOPE_COLUMNS}
    rows |= {name: name for name in (*_AGENT, "event_type")}
    spare = UNNEEDED_IN_WHOLE
    rows |= {"extra": "extra", "is_flat": "false", "types": "types", "filename": SEALED_FILENAME}
    return either(
        {
            LIVE: select(_whole_of_line(), live_lines(ENVELOPE | beside, None), spare),
            LINES: select(_whole_of_columns(), _read_whole(only), spare),
            **{form: _select_rows(rows, form, spare, only) for form in (SEALED, OLDER)},
            VERBATIM: select(_whole_of_line("j."), verbatim_lines(ENVELOPE | beside, None), spare),
            ROWS: _of_base(_whole_of_line()),
        }
    )


def _read_whole(only: Only) -> str:
    """The lines of files as columns, the payload as JSON; for flat lines, the keys next to the envelope."""
    of_flat = {name: f"j,,{name}" for name in sorted(flat_keys() - {*_AGENT})}
    columns = _COLUMNS_OF_ENVELOPE | {"types": "j,,types", "event_type": _KIND_COLUMN}
    columns |= {name: f"T,{name},{name}" for name in _AGENT} | {"extra": "j,,extra"} | of_flat
    optional = {name: name for name in UNNEEDED_IN_WHOLE} | dict.fromkeys(of_flat, "extra")
    optional |= {"extra": "extra|is_flat"} | {name: f"{name}|extra" for name in _AGENT}
    return source_of_columns(columns, optional, only)


def _whole_of_columns() -> dict[str, str]:
    columns = _of_columns(dict.fromkeys(("event_type", *_AGENT), ""))
    return {name: columns.get(name, made) for name, made in _whole_of_line().items()}


def _whole_of_line(of: str = "") -> dict[str, str]:
    # A flat line has no payload object; build one from the keys that its kinds declare.
    names = [*_AGENT, *sorted(flat_keys() - {*_AGENT})]
    members = ", ".join(f"'{name}', {of}{quoted_name(name)}" for name in names)
    columns = _envelope_of_line(of)
    columns |= {name: f"coalesce({of}extra->>'$.{name}', {of}{name})" for name in _AGENT}
    return columns | {
        "event_type": f"coalesce({of}type, {of}extra->>'$.event_type', '{NO_KIND}')",
        "extra": f"coalesce({of}extra, json_object({members}))",
        "is_flat": f"{of}extra IS NULL",
        "types": f"{of}types",
        "filename": SEALED_FILENAME if of else "filename",
    }


def damaged_lines() -> str:
    """A query for the number of damaged lines in each live file; files without any are left out."""
    return (
        f"SELECT filename, count(*) AS lines FROM {read_files(ENVELOPE, None)} "
        f"WHERE NOT coalesce({is_event()}, false) GROUP BY filename ORDER BY filename"
    )


def statements(wanted: Collection[str] | None = None) -> list[str]:
    """The statements that create the views for users' queries.

    Args:
        wanted: the words of a query in lower case; views and columns that it does not name are left out. None
            for all views with all columns.
    """
    made = {"events": _listed(_whole_of_columns())}
    made["events"] |= {name: f"{name}{AS_JSON}" for name in ("extra", "state", "types")}
    made["spans"] = _listed(_of_columns(dict.fromkeys((*_AGENT, *_OF_SPANS), "")))
    made["spans"] |= {"started_us": "ts_us - coalesce(duration_ms, 0) * 1000"}
    for view in _VIEWS:
        made[view] = {name: quoted_name(name) for name in (*_OF_EVENT, *_own_keys(view))}
    if wanted is not None:
        made = {name: _wanted(columns, wanted) for name, columns in made.items() if name in wanted}
    return [_view(name, columns) for name, columns in made.items()]


_OF_SPANS: Final = "duration_ms", "outcome", "action_type", "metric_name", "context", "call", "error_id"
_OF_EVENT: Final = (
    *("ts_us", "timestamp", "id", "tick", "level", "message", "event_type", "agent_id", "agent_role"),
    *("run_id", "span_id", "parent_span_id"),
)
"""The columns of every view of some kinds, before the keys of these kinds."""


def _listed(columns: Iterable[str]) -> dict[str, str]:
    return {name: quoted_name(name) for name in ("event_type", *columns)}


def _wanted(columns: Mapping[str, str], wanted: Collection[str]) -> dict[str, str]:
    """The columns that are named; one at least."""
    return {name: expression for name, expression in columns.items() if name.lower() in wanted} or {
        "seq": "1"
    }


def _own_keys(view: str) -> list[str]:
    named = dict.fromkeys(field.name for kind in _VIEWS[view] for field in KINDS[kind].fields)
    return [name for name in named if name not in ENVELOPE] + (["error_id"] if view == "errors" else [])


def _view(name: str, columns: Mapping[str, str]) -> str:
    # A line of level ERROR without an exception is an error too; its error columns are NULL.
    where = {"events": "true", "spans": "span_id IS NOT NULL", "errors": IS_ERROR}.get(name)
    where = where or is_of(_VIEWS[name])
    selection = (
        f"SELECT {', '.join(f'{sql} AS {quoted_name(column)}' for column, sql in columns.items())} FROM"
    )
    named = {*_WORD.findall(selection), *_WORD.findall(where)}
    keys = _OF_SPANS if name == "spans" else () if name == "events" else _own_keys(name)
    only = EVERYTHING if name in {"events", "spans"} else Only(_VIEWS[name], with_errors=name == "errors")
    source = whole_lines() if name == "events" else scan(*(key for key in keys if key in named), only=only)
    return f"CREATE OR REPLACE TEMP VIEW {name} AS {selection} {source} WHERE {where}"


def names() -> list[str]:
    """The names of the views for `sql()`."""
    return sorted(["events", "spans", *_VIEWS])


LIVE: Final = "live"
"""JSON lines in live files."""
LINES: Final = "lines"
"""JSON lines in files that `_columns` can read completely: the engine reads them as columns."""
SEALED: Final = "sealed"
"""Archive rows with the promoted columns of this version."""
OLDER: Final = "older"
"""Archive rows of a version with other promoted columns: keys are parsed from the payload's text."""
VERBATIM: Final = "verbatim"
"""Archived events that are stored as their original line."""
ROWS: Final = "rows"
"""The rows of many sealed sessions, from which Spark derives the requested columns."""

UNNEEDED: Final = frozenset(
    "session_id level logger message run_id span_id parent_span_id causes tick code state types "
    "filename".split()
)
"""Keys that no other column is derived from."""
UNNEEDED_IN_SCAN: Final = UNNEEDED | frozenset(
    "agent_id agent_role ts_us writer seq timestamp id schema_version".split()
)
"""The same for `scan`, which does not build a payload object from a flat line's keys."""
UNNEEDED_IN_WHOLE: Final = UNNEEDED_IN_SCAN | {"extra", "is_flat"}
"""The columns of `whole_lines` that a query may leave out."""
_LOOKED_AT: Final = frozenset({"id", "timestamp", "schema_version"})
"""The keys that distinguish an event from a damaged line."""

_ANY: Final = re.compile(r"\{\{any\}\}(.*?)\{\{end\}\}", re.DOTALL)
# matches `*` except in `SELECT * FROM (SELECT ...)`, whose columns the inner selection names
_EVERYTHING: Final = re.compile(
    r"(?:\bSELECT\s+(?:DISTINCT\s+)?|,\s*|\.)\*(?!\s+FROM\s+\(\s*SELECT\b)", re.IGNORECASE
)
_WORD: Final = re.compile(r"\w+")
_UNREAD: Final = re.compile(r"/\*([\w|]+)\*/(.*?)/\*end\*/", re.DOTALL)
_OR: Final = "{{or}}"
_ONLY: Final = "{{only}}"
_AS_COLUMNS: Final = "{{as columns}}"


def either(legs: Mapping[str, str]) -> str:
    """A sub-query template: the union of one leg per form, which `resolve` turns into SQL."""
    # files last: if they are read first, DuckDB spills the sorted rows of the other legs to disk
    in_order = sorted(legs, key=lambda form: form in (LIVE, LINES))
    return "({{any}}" + _OR.join(f"{form}:{legs[form]}" for form in in_order) + "{{end}})"


def resolve(sql: str, forms: Collection[str], only: str = "", *, uniform: bool = False) -> str:
    """Turn a template into SQL with the legs of the given forms; without forms, with that of live files.

    Args:
        sql: made with `either`.
        forms: the forms that the session has.
        only: a further condition on archive rows, over `file` and `filename`.
        uniform: whether every archive row is an event stored in columns, so that this need not be checked.
    """
    wanted = forms or (LIVE,)
    named = _named(sql)

    def kept(match: re.Match[str]) -> str:
        legs = (leg.partition(":") for leg in match[1].split(_OR))
        return " UNION ALL ".join(_pruned(select, named) for form, _, select in legs if form in wanted)

    as_columns = "true" if uniform else "raw IS NULL AND event_type IS NOT NULL"
    resolved = _ANY.sub(kept, sql).replace(_AS_COLUMNS, as_columns)
    return resolved.replace(_ONLY, f"AND {only}" if only else "")


def _named(sql: str) -> frozenset[str] | None:
    """The words of a query outside its scans; None if it may use every column."""
    outside = _ANY.sub(" ", sql)
    return None if _EVERYTHING.search(outside) else frozenset(_WORD.findall(outside))


def has_legs(sql: str) -> bool:
    """Whether a query is a template with legs."""
    return "{{any}}" in sql


def reads_files(sql: str) -> bool:
    """Whether one of this package's queries reads files, not only kept tables."""
    return has_legs(sql) or "getvariable(" in sql


def _pruned(select: str, named: frozenset[str] | None) -> str:
    """The leg without the parts that the query does not name: every declared key costs parsing time."""

    def kept(match: re.Match[str]) -> str:
        return match[2] if named is None or not named.isdisjoint(match[1].split("|")) else ""

    return _UNREAD.sub(kept, select)


def select(columns: Mapping[str, str], source: str, spare: Collection[str] = UNNEEDED) -> str:
    """A SELECT of named expressions; those in `spare` are dropped unless the query names them."""
    listed = {name: f"{expression} AS {quoted_name(name)}" for name, expression in columns.items()}
    first = {"event_type": listed.pop("event_type")} if "event_type" in listed else {}
    return f"SELECT {_joined(first | listed, {name: name for name in spare})} FROM {source}"


def _joined(parts: Mapping[str, str], optional: Mapping[str, str]) -> str:
    """Join parts of a list; the first is always present, optional ones depend on the names in the query.

    Args:
        parts: by name.
        optional: by name of a part, the names, separated by `|`, of which a query has to use one.
    """
    texts = [
        f"/*{optional[name]}*/, {text}/*end*/" if name in optional else f", {text}"
        for name, text in parts.items()
    ]
    return "".join(texts)[2:]


def live_lines(
    columns: Mapping[str, str], payload: Mapping[str, str] | None, spare: Collection[str] = UNNEEDED
) -> str:
    """The lines of live files that are events, with `filename`.

    Args:
        columns: the keys of a line, with their types.
        payload: the keys inside `extra`; None reads it as JSON.
        spare: the keys to skip if the query does not name them.
    """
    # a payload that is read as JSON must be an object, unless the line is flat
    with_object = f" AND (extra IS NULL OR {is_object('extra')})" if payload is None else ""
    return f"{read_files(columns, payload, spare)} WHERE {is_event()}{with_object}"


def read_files(
    columns: Mapping[str, str],
    payload: Mapping[str, str] | None,
    spare: Collection[str] = UNNEEDED,
) -> str:
    """The scan of the files; a damaged line becomes a row of NULLs."""
    types = {name: f"{quoted_name(name)}: '{sql_type}'" for name, sql_type in columns.items()}
    optional = {name: name for name in spare if name not in _LOOKED_AT}
    types["extra"] = "extra: 'JSON'"
    if payload is not None:
        members = {name: f"{quoted_name(name)} {sql_type}" for name, sql_type in payload.items()}
        types["extra"] = f"extra: 'STRUCT({_joined(members, optional)})'"
    typed = "{" + _joined({"extra": types.pop("extra")} | types, optional) + "}"
    # The file names are a variable of the connection, so that statements contain no paths.
    return (
        f"read_json(getvariable('{LIVE}'), format='newline_delimited', records=true, ignore_errors=true, "
        f"filename=true, maximum_object_size={MAX_LINE_BYTES}, columns={typed})"
    )


def _rows(form: str) -> str:
    return f"read_parquet(getvariable('{form}'))"


def sealed_rows(form: str, from_text: Mapping[str, str], condition: str = "true") -> str:
    """Archive rows stored in columns, with a struct `p` of keys parsed from the payload's text."""
    where = f"WHERE {_AS_COLUMNS} AND {condition} {_ONLY}"
    if not from_text:
        return f"{_rows(form)} {where}"
    parsed = f"json_transform(extra, {literal(structure(dict(from_text)))})"
    return f"(SELECT *, {parsed} AS p FROM {_rows(form)} {where})"


def verbatim_lines(columns: Mapping[str, str], payload: Mapping[str, str] | None) -> str:
    """Archive rows stored as their original line, with that line parsed as a struct `j`."""
    extra = "JSON" if payload is None else structure(dict(payload))
    parsed = f"json_transform(decode(raw), {literal(structure({**columns, 'extra': extra}))})"
    return (
        f"(SELECT *, {parsed} AS j FROM {_rows(VERBATIM)} "
        f"WHERE raw IS NOT NULL AND event_type IS NOT NULL AND {HAS_TIME} "
        f"AND {has_payload('decode(raw)')} {_ONLY})"
    )


SEALED_FILENAME: Final = "concat(getvariable('session'), file)"
"""The `filename` of an archive row: the file that held its line."""


EVENT_COLUMNS = (
    "timestamp, id, session_id, level, logger, message, event_type, agent_id, agent_role, run_id, span_id, "
    "parent_span_id, causes, tick, extra, code, state, ts_us, writer, seq, is_flat"
)
"""The columns of `whole_lines()` that `engine_row` needs."""

BY_ORDER = "ts_us, writer, seq"


def event_row(event: Event) -> dict[str, Any]:
    """The event as a dict of JSON values; missing links are None, `causes` and `extra` always exist."""
    row = event_keys(event, *_KEYS)
    row["causes"], row["extra"] = list(event.causes), _with_texts(event.kind, dict(event.extra))
    row["state"] = None if event.state is None else dict(event.state)
    return row


def event_keys(event: Event, *names: str) -> dict[str, Any]:
    """Some keys of an event's dict, with the values as the event has them."""
    return {name: getattr(event, _ATTRIBUTES.get(name, name)) for name in names}


def engine_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same dict from a row of EVENT_COLUMNS, where payload and state are JSON text."""
    as_row = {key: row[key] for key in _PLAIN} | nested_values(row)
    return {key: as_row[key] for key in _KEYS}


def nested_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """The `extra`, `causes` and `state` of that dict, from a row with these columns and `is_flat`."""
    extra = json_of(row["extra"]) or {}
    # A flat line has NULL for every key that its own kind does not declare.
    extra = {k: v for k, v in extra.items() if v is not None} if row["is_flat"] else extra
    state = json_of(row["state"])
    return {
        "extra": _with_texts(row["event_type"], extra),
        "causes": list(row["causes"] or ()),
        # DuckDB checks an envelope less strictly than the codec does.
        "state": state if is_state_change(state) else None,
    }


def json_of(text: str | None, otherwise: Any = None) -> Any:
    """Parse JSON; `otherwise` if it is invalid, or nested too deeply for a whole line."""
    import orjson

    if text is None:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:  # DuckDB accepts deeper nesting than this parser
        return otherwise
    is_flat = text.count("[") + text.count("{") <= MAX_DEPTH
    return value if is_flat or not is_deeper(value, MAX_DEPTH) else otherwise


def _with_texts(kind: str, extra: dict[str, Any]) -> dict[str, Any]:
    """The payload, with non-text values of keys that its kind declares as text converted to JSON text."""
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
_ATTRIBUTES = {"event_type": "kind"}
_PLAIN = tuple(key for key in _KEYS if key not in {"extra", "causes", "state"})


def is_error(event: Event) -> bool:
    """Whether the event is an error by `IS_ERROR`: an event that refers to an error does not count again."""
    if event.kind == "error":
        return True
    return event.level in {"ERROR", "CRITICAL"} and event.extra.get("error_id") is None
