"""Check a user's query: that it only reads, and which tables and columns it names; report its errors.

`action_states`, the state of an agent after each of its actions, is the one view that is not in `views`.
"""

# ruff: noqa: S608 - statements are built only from names of this package
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from Agent.analysis.query.views import ACTION_STATES, EACH, KEYS, OBJECT, Only, scan
from Agent.archive.sealed.duckdb_module import load_duckdb
from Agent.errors import UsageError

_READING_NODES: Final = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_EXPLAIN: Final = re.compile(r"\s*EXPLAIN\b\s*(?:ANALYZE\b|\([^()]*\))?", re.IGNORECASE)
_DESCRIBES: Final = re.compile(r"\s*(?:EXPLAIN|DESCRIBE|DESC|SUMMARIZE|SHOW)\b", re.IGNORECASE)
_DESCRIBE: Final = "DESCRIBE\n"
_PLACE: Final = re.compile(r"^LINE (\d+): (.*)\n( *)\^", re.MULTILINE)
_HINTS: Final = ("Did you mean", "Candidate bindings:")


# DuckDB also writes from statements that look like a query (`WITH x AS (COPY ...) SELECT`, `EXPLAIN ANALYZE
# COPY`), so the kind of every node is checked against a list.
def check_reads_only(connection: Any, query: str) -> Any:
    """Refuse everything except a single reading statement.

    Returns:
        Its syntax tree; None for a statement that describes or explains another.

    Raises:
        UsageError: the statement writes, sets or loads, or there is more than one.
        duckdb.Error: the text is not valid SQL.
    """
    import orjson

    statements = connection.extract_statements(query)
    kinds = [statement.type.name for statement in statements]
    is_itself = kinds == ["SELECT"]
    inner = query
    if kinds == ["EXPLAIN"]:
        inner = query[match.end() :] if (match := _EXPLAIN.match(query)) else ""
        kinds = [statement.type.name for statement in connection.extract_statements(inner)]
    if kinds == ["SELECT"]:
        # DuckDB serialises only reading statements, and the tree shows the nested ones
        text = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [inner]).fetchone()[0]
        tree = orjson.loads(text)
        if not tree["error"] and _nodes(tree) <= _READING_NODES:
            return tree if is_itself else None
        kinds = ["one that writes"]
    statement_kind = "nothing" if not kinds else "several" if len(kinds) > 1 else kinds[0].replace("_", " ")
    raise UsageError(
        f"only a single reading statement is allowed, this is {statement_kind}",
        remedy="write SELECT ... FROM events, and see the views with agent-trace sql --schema",
    )


def columns_of(query: str) -> str:
    """A statement that returns the columns of a query; the query itself if it already describes."""
    return query if _DESCRIBES.match(query) else _DESCRIBE + query


def named_columns(columns: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The columns of a user's query with their types; duplicate names get a number."""
    named: dict[str, str] = {}
    for name, sql_type in columns:
        number = sum(known == name or known.startswith(f"{name}:") for known in named)
        named[f"{name}:{number}" if name in named else name] = sql_type
    return named


def first_of(connection: Any, query: str, rows: int) -> str:
    """A statement for the first rows of a query, so that DuckDB keeps only these when it sorts."""
    if _DESCRIBES.match(query):
        return query
    # on its own line, since the query may end with a comment
    whole = query.rstrip().rstrip(";")
    limited = f"SELECT * FROM (\n{whole}\n) LIMIT {rows}"
    duckdb = load_duckdb("a query")
    try:
        connection.extract_statements(limited)
    except duckdb.Error:
        return query  # not valid in brackets, for example with a comment after its semicolon
    return limited


def _objects(tree: Any) -> Iterator[dict[str, Any]]:
    """The objects in a serialised statement, at any depth."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _nodes(tree: Any) -> set[str]:
    """The kinds of query nodes in a serialised statement, at any depth."""
    kinds = (each.get("type") for each in _objects(tree))
    return {kind for kind in kinds if isinstance(kind, str) and kind.endswith("_NODE")}


_OF_EVERYTHING: Final = frozenset({"STAR", "SHOW_REF", "POSITIONAL_REFERENCE", "PIVOT", "TABLE_FUNCTION"})
"""Node types that may use columns that a query does not name."""


def words_of(tree: Any) -> frozenset[str] | None:
    """The tables and columns that a serialised statement names, in lower case; None if it may use others."""
    if tree is None:
        return None
    tables: set[str] = set()
    alone: set[str] = set()
    words: set[str] = set()
    for each in _objects(tree):
        if each.get("type") in _OF_EVERYTHING or each.get("ref_type") in {"NATURAL", "POSITIONAL"}:
            return None
        if each.get("type") == "BASE_TABLE":
            tables |= {each["table_name"].lower(), each["alias"].lower()}
            if each.get("column_name_alias"):
                return None
        names = [name.lower() for name in (*each.get("column_names", ()), *each.get("using_columns", ()))]
        words.update(names)
        alone.update(names if len(names) == 1 else ())
    # a table's name instead of a column's is the whole row
    return None if alone & tables else frozenset(words | tables)


def error_clause(error: Exception, query: str) -> str:
    """DuckDB's error about a query as one clause: its first line, line and column, and hint."""
    text, lines = str(error), query.splitlines()
    first, _, rest = text.partition("\n")
    first = re.sub(r"^[A-Z]\w*(?: \w+)* Error: ", "", first).rstrip(".!")
    if "pytz" in first:
        return "a time with a zone needs pytz to be shown; write (x AT TIME ZONE 'UTC')"
    parts = [first[:1].lower() + first[1:] if first[1:2].islower() else first]
    match = _PLACE.search(text)
    if match is not None:
        line, column = int(match[1]), len(match[3]) - len(f"LINE {match[1]}: ") + 1
        shown = match[2]
        whole = lines[line - 1] if line <= len(lines) else ""
        if shown.startswith("...") and (at := whole.find(shown.strip("."))) >= 0:
            column += at - 3  # DuckDB shows only the middle of a long line
        line -= query.startswith(_DESCRIBE)
        parts.append(f"at line {line}, column {column}")
    hint = [line.strip() for line in rest.splitlines() if line.startswith(_HINTS)][:1]
    return " ".join(parts + [f"({line[:1].lower()}{line[1:]})" for line in hint])


_STATE_KINDS: Final = ("agent_action", "state", "state_change")
_STATE_KEYS: Final = (
    "action_type",
    "outcome",
    "duration_ms",
    "fields",
    "changed",
    "unset",
    "trigger",
    "reason",
)


def action_states() -> str:
    """The statement that creates the view `action_states`, the same for both engines.

    The fold is that of `Agent.flight.checkpoints.state_fold`, without the fields that only a run's checkpoint
    stored. Its columns identify the action and its position, and `state` is a JSON object of all fields after
    the action. A value is valid from the event that set it until another event sets or unsets it, or a full
    state lacks it.
    """
    return f"CREATE OR REPLACE TEMP VIEW {ACTION_STATES} AS {_STATE_FOLD}"


_STATE_LINES: Final = scan(*_STATE_KEYS, only=Only(_STATE_KINDS))
_OF_ACTIONS: Final = (
    "a.ts_us, a.timestamp, a.id, a.tick, a.agent_id, a.agent_role, a.action_type, a.outcome, a.duration_ms"
)
_STATE_FOLD: Final = f"""
WITH lines AS (
    SELECT *, CAST(row_number() OVER (PARTITION BY agent_id ORDER BY ts_us, writer, seq) AS BIGINT) AS place,
        CASE WHEN event_type = 'state' THEN fields WHEN trigger IN ('outside', 'intervention') THEN changed
            ELSE json_part(state, 'set') END AS new,
        CASE WHEN trigger IN ('outside', 'intervention') THEN unset ELSE json_part(state, 'unset') END AS gone
    FROM {_STATE_LINES} WHERE agent_id IS NOT NULL AND event_type IN ('agent_action', 'state', 'state_change')
), bases AS (
    SELECT *, max(CASE WHEN event_type = 'state' AND reason IS DISTINCT FROM 'gone' THEN place END)
        OVER (PARTITION BY agent_id ORDER BY place) AS base FROM lines
), writes AS (
    SELECT agent_id, place, field, json_part(new, field) AS value
    FROM (SELECT agent_id, place, new, {EACH}({KEYS}(new)) AS field FROM lines WHERE is_json_object(new))
    UNION ALL SELECT agent_id, place, {EACH}(names) AS field, NULL
        FROM (SELECT agent_id, place, json_texts(gone) AS names FROM lines)
), held AS (
    SELECT *, lead(place, 1, 9223372036854775807) OVER (PARTITION BY agent_id, field ORDER BY place) AS until
    FROM writes
)
SELECT {_OF_ACTIONS},
    {OBJECT} AS state
FROM bases a LEFT JOIN held h
    ON h.agent_id = a.agent_id AND h.place <= a.place AND a.place < h.until AND h.place >= coalesce(a.base, 0)
WHERE a.event_type = 'agent_action' GROUP BY a.place, {_OF_ACTIONS}
"""
