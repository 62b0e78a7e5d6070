"""A scan is a union of legs, one for each form in which a session's lines lie; `engine` keeps those it has.

`views` says which columns a question has; here stands how each form gives them.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from Agent.archive.sealed.parquet_columns import (
    MAX_LINE_BYTES,
    has_payload,
    is_event,
    is_object,
    quoted_name,
    says_something,
    structure,
)
from Agent.archive.sealed.parquet_rows import literal

__all__ = [
    "LIVE",
    "OLDER",
    "REGULAR",
    "SEALED",
    "SEALED_FILENAME",
    "UNNEEDED_IN_SCAN",
    "VERBATIM",
    "either",
    "has_legs",
    "live_lines",
    "names_files",
    "read_files",
    "reads_files",
    "regular_lines",
    "resolve",
    "sealed_rows",
    "select",
    "verbatim_lines",
]

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
