"""The columns of a question, how each form of a session's lines gives them, and events as plain dicts."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from Agent.archive.sealed.parquet_rows import (
    ENVELOPE,
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
    says_something,
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
    columns = _envelope_of_line(of)
    columns["event_type"] = f"coalesce({of}type, {of}extra.event_type, '{NO_KIND}')"
    for name in payload:
        quoted = quoted_name(name)
        if name != "event_type":
            inner = f"{of}extra.{quoted}"
            columns[name] = f"coalesce({inner}, {of}{quoted})" if name in flat_keys() else inner
    return columns | {"filename": SEALED_FILENAME if of else "filename"}


def _envelope_of_line(of: str) -> dict[str, str]:
    columns = order_columns(of) | {"timestamp": f"{of}timestamp", "id": f"{of}id"}
    columns |= {name: f"{of}{name}" for name in _ENVELOPE_COLUMNS}
    columns["level"] = f"coalesce({of}level, 'INFO')"
    columns["state"] = f"CASE WHEN {is_object(f'{of}state')} THEN {of}state END"
    return columns


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
    columns = _envelope_of_line(of)
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


LIVE: Final = "live"
"""JSON lines in files."""
REGULAR: Final = "regular"
"""The same, all of which begin as this package writes them: no envelope is looked at."""
SEALED: Final = "sealed"
"""Rows of the archive, whose promoted columns are those of this version."""
OLDER: Final = "older"
"""Rows of the archive from a version that promoted other keys: those are taken from the payload's text."""
VERBATIM: Final = "verbatim"
"""Events of the archive whose line is kept as it stands."""

UNNEEDED: Final = frozenset(
    "session_id level logger message run_id span_id parent_span_id causes tick code state types".split()
)
"""Keys that no other column is made of."""
UNNEEDED_IN_SCAN: Final = UNNEEDED | frozenset(
    "agent_id agent_role ts_us writer seq timestamp id schema_version".split()
)
"""The same where a flat line's payload is not put together, for which every key of it is read."""
_LOOKED_AT: Final = {
    "id": frozenset({"id", "writer", "seq"}),
    "timestamp": frozenset({"timestamp", "ts_us"}),
    "schema_version": frozenset({"schema_version"}),
}
"""The keys that tell an event from a damaged line, with the columns that are made of each."""

_ANY: Final = re.compile(r"\{\{any\}\}(.*?)\{\{end\}\}", re.DOTALL)
# all columns of a selection in brackets are those that it names itself
_EVERYTHING: Final = re.compile(
    r"(?:\bSELECT\s+(?:DISTINCT\s+)?|,\s*|\.)\*(?!\s+FROM\s+\(\s*SELECT\b)", re.IGNORECASE
)
_WORD: Final = re.compile(r"\w+")
_UNREAD: Final = re.compile(r"/\*([\w|]+)\*/(.*?)/\*end\*/", re.DOTALL)
_OR: Final = "{{or}}"
_ONLY: Final = "{{only}}"
_AS_COLUMNS: Final = "{{as columns}}"


def either(legs: Mapping[str, str]) -> str:
    """A sub-query that is the union of some legs, by form; `resolve` makes SQL of it."""
    # files last: read first, they keep the engine from putting on the disk what it sorts of the rest
    in_order = sorted(legs, key=lambda form: form in (LIVE, REGULAR))
    return "({{any}}" + _OR.join(f"{form}:{legs[form]}" for form in in_order) + "{{end}})"


def resolve(sql: str, forms: Collection[str], only: str = "", *, uniform: bool = False) -> str:
    """The SQL with the legs of those forms alone; without any, that of live lines.

    Args:
        sql: made with `either`.
        forms: which forms the session has.
        only: a further condition on rows of the archive, over `file` and `filename`.
        uniform: whether every row of the archive is an event and columns alone, so that none is looked at.
    """
    wanted = forms or (LIVE,)
    named = _named(sql)

    def kept(found: re.Match[str]) -> str:
        legs = (leg.partition(":") for leg in found[1].split(_OR))
        return " UNION ALL ".join(_pruned(select, named) for form, _, select in legs if form in wanted)

    as_columns = "true" if uniform else "raw IS NULL AND event_type IS NOT NULL"
    found = _ANY.sub(kept, sql).replace(_AS_COLUMNS, as_columns)
    return found.replace(_ONLY, f"AND {only}" if only else "")


def _named(sql: str) -> frozenset[str] | None:
    """The words of a question outside its scans; None where it may mean every column."""
    asked = _ANY.sub(" ", sql)
    return None if _EVERYTHING.search(asked) else frozenset(_WORD.findall(asked))


def names_files(sql: str) -> bool:
    """Whether a question asks in which file a line stands."""
    named = _named(sql)
    return named is None or "filename" in named


def has_legs(sql: str) -> bool:
    """Whether `resolve` decides what a question reads."""
    return "{{any}}" in sql


def reads_files(sql: str) -> bool:
    """Whether a question of this package reads lines, not kept tables alone."""
    return has_legs(sql) or "getvariable(" in sql


def unread(names: str, sql: str) -> str:
    """A part of a leg that is left out where the question names nothing of those names, `|` between them."""
    return f"/*{names}*/{sql}/*end*/"


def _pruned(select: str, named: frozenset[str] | None) -> str:
    """The leg without what the question does not name: a key that is declared costs its parsing."""

    def kept(found: re.Match[str]) -> str:
        return found[2] if named is None or not named.isdisjoint(found[1].split("|")) else ""

    return _UNREAD.sub(kept, select)


def select(columns: Mapping[str, str], source: str, spare: Collection[str] = UNNEEDED) -> str:
    """A selection of named expressions; one in `spare` is left out where the question does not name it."""
    listed = {name: f"{expression} AS {quoted_name(name)}" for name, expression in columns.items()}
    first = {"event_type": listed.pop("event_type")} if "event_type" in listed else {}
    return f"SELECT {_joined(first | listed, {name: name for name in spare})} FROM {source}"


def _joined(parts: Mapping[str, str], optional: Mapping[str, str]) -> str:
    """Parts of a list by name, the first of which is always there; others by the names that ask for them."""
    texts = [
        unread(optional[name], f", {text}") if name in optional else f", {text}"
        for name, text in parts.items()
    ]
    return "".join(texts)[2:]


def live_lines(
    columns: Mapping[str, str], payload: Mapping[str, str] | None, spare: Collection[str] = UNNEEDED
) -> str:
    """The lines of files that are events, and `filename`.

    Args:
        columns: the keys of a line, and their types.
        payload: those inside `extra`; None takes it as JSON.
        spare: the keys that need not be read where the question does not name them.
    """
    return f"{read_files(columns, payload, spare)} WHERE {is_event()}{_with_object(payload)}"


def regular_lines(
    columns: Mapping[str, str], payload: Mapping[str, str] | None, spare: Collection[str] = UNNEEDED
) -> str:
    """As `live_lines`, of files in which only a line that is no JSON, or says nothing, is no event."""
    return (
        f"{read_files(columns, payload, spare, form=REGULAR)} WHERE {says_something()}{_with_object(payload)}"
    )


def _with_object(payload: Mapping[str, str] | None) -> str:
    """A further condition where the payload is read as JSON: it is an object, or the line is flat."""
    return f" AND (extra IS NULL OR {is_object('extra')})" if payload is None else ""


def read_files(
    columns: Mapping[str, str],
    payload: Mapping[str, str] | None,
    spare: Collection[str] = UNNEEDED,
    *,
    form: str = LIVE,
) -> str:
    """The scan of files itself: a damaged line is a row of NULLs."""
    types = {name: f"{quoted_name(name)}: '{sql_type}'" for name, sql_type in columns.items()}
    optional = {name: name for name in spare if name not in _LOOKED_AT}
    if form == REGULAR:
        optional |= {name: "|".join(sorted(made)) for name, made in _LOOKED_AT.items() if made <= set(spare)}
    types["extra"] = "extra: 'JSON'"
    if payload is not None:
        members = {name: f"{quoted_name(name)} {sql_type}" for name, sql_type in payload.items()}
        types["extra"] = f"extra: 'STRUCT({_joined(members, optional)})'"
    typed = "{" + _joined({"extra": types.pop("extra")} | types, optional) + "}"
    # The files are a variable of the connection, so that no path stands in a statement.
    return (
        f"read_json(getvariable('{form}'), format='newline_delimited', records=true, ignore_errors=true, "
        f"filename=true, maximum_object_size={MAX_LINE_BYTES}, columns={typed})"
    )


def _rows(form: str) -> str:
    return f"read_parquet(getvariable('{form}'))"


def sealed_rows(form: str, from_text: Mapping[str, str]) -> str:
    """The rows of an archive that are columns alone, and a struct `p` of keys out of the payload's text."""
    where = f"WHERE {_AS_COLUMNS} {_ONLY}"
    if not from_text:
        return f"{_rows(form)} {where}"
    parsed = f"json_transform(extra, {literal(structure(dict(from_text)))})"
    return f"(SELECT *, {parsed} AS p FROM {_rows(form)} {where})"


def verbatim_lines(columns: Mapping[str, str], payload: Mapping[str, str] | None) -> str:
    """The rows of an archive whose line is kept as it stands, and that line as a struct `j`."""
    extra = "JSON" if payload is None else structure(dict(payload))
    parsed = f"json_transform(decode(raw), {literal(structure({**columns, 'extra': extra}))})"
    return (
        f"(SELECT *, {parsed} AS j FROM {_rows(VERBATIM)} "
        f"WHERE raw IS NOT NULL AND event_type IS NOT NULL AND {has_payload('decode(raw)')} {_ONLY})"
    )


SEALED_FILENAME: Final = "concat(getvariable('session'), file)"
"""What `filename` is of a row of the archive: the file in which its line stood."""


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
    made = {key: row[key] for key in _PLAIN}
    extra = json_of(row["extra"]) or {}
    # The keys of a run's flat line that its kind does not have arrive as nulls.
    extra = {k: v for k, v in extra.items() if v is not None} if row["is_flat"] else extra
    made["extra"] = _with_texts(row["event_type"], extra)
    made["causes"] = list(row["causes"] or ())
    state = json_of(row["state"])
    # The engine reads an envelope less strictly than the codec.
    made["state"] = state if is_state_change(state) else None
    return {key: made[key] for key in _KEYS}


def json_of(text: str | None, otherwise: Any = None) -> Any:
    """The value of some JSON; `otherwise` where it is none, or so deep that readers call its line damaged."""
    import orjson

    if text is None:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:  # the engine takes what is deeper than this parser goes
        return otherwise
    is_flat = text.count("[") + text.count("{") <= MAX_DEPTH
    return value if is_flat or not is_deeper(value, MAX_DEPTH) else otherwise


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
