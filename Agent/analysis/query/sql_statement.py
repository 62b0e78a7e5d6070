"""Whether a person's statement only reads, and what is wrong with one in one clause; `engine` asks both.

DuckDB writes from inside statements that begin like a question (`WITH x AS (COPY ...) SELECT`, `EXPLAIN
ANALYZE COPY`), so what is let through is known node by node.
"""

from __future__ import annotations

import re
from typing import Any, Final

from Agent.errors import UsageError

__all__ = ["check_reads_only", "columns_of", "first_of", "told"]

_READING_NODES: Final = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_EXPLAIN: Final = re.compile(r"\s*EXPLAIN\b\s*(?:ANALYZE\b|\([^()]*\))?", re.IGNORECASE)
_DESCRIBES: Final = re.compile(r"\s*(?:EXPLAIN|DESCRIBE|DESC|SUMMARIZE|SHOW)\b", re.IGNORECASE)
_DESCRIBE: Final = "DESCRIBE\n"
_PLACE: Final = re.compile(r"^LINE (\d+): (.*)\n( *)\^", re.MULTILINE)
_HINTS: Final = ("Did you mean", "Candidate bindings:")


def check_reads_only(connection: Any, query: str) -> None:
    """Refuse everything but one statement that reads.

    Raises:
        UsageError: it writes, sets, loads or is more than one statement.
        duckdb.Error: it is no SQL.
    """
    import orjson

    statements = connection.extract_statements(query)
    kinds = [statement.type.name for statement in statements]
    inner = query
    if kinds == ["EXPLAIN"]:
        inner = query[found.end() :] if (found := _EXPLAIN.match(query)) else ""
        kinds = [statement.type.name for statement in connection.extract_statements(inner)]
    if kinds == ["SELECT"]:
        # only what reads can be serialised, and the tree names what stands inside
        text = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [inner]).fetchone()[0]
        tree = orjson.loads(text)
        if not tree["error"] and _nodes(tree) <= _READING_NODES:
            return
    if kinds == ["SELECT"]:
        kinds = ["one that writes"]
    what = "nothing" if not kinds else "several" if len(kinds) > 1 else kinds[0].replace("_", " ")
    raise UsageError(
        f"only a single reading statement is allowed, this is {what}",
        remedy="write SELECT ... FROM events, and see the views with agent-trace sql --schema",
    )


def columns_of(query: str) -> str:
    """A statement whose rows are the columns of another; that itself, where it describes already."""
    return query if _DESCRIBES.match(query) else _DESCRIBE + query


def first_of(connection: Any, query: str, rows: int) -> str:
    """A statement for the first rows of an answer alone, so that of an order no more is kept."""
    if _DESCRIBES.match(query):
        return query
    # on lines of its own, since a comment may stand at its end
    whole = query.rstrip().rstrip(";")
    limited = f"SELECT * FROM (\n{whole}\n) LIMIT {rows}"  # noqa: S608 - it was checked to do nothing but read
    import duckdb

    try:
        connection.extract_statements(limited)
    except duckdb.Error:
        return query  # it cannot stand in brackets, such as with a comment behind its semicolon
    return limited


def _nodes(tree: Any) -> set[str]:
    """The kinds of queries in a serialised statement, at any depth."""
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            kind = value.get("type")
            if isinstance(kind, str) and kind.endswith("_NODE"):
                found.add(kind)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found


def told(error: Exception, query: str) -> str:
    """What DuckDB says about a query, as one clause with the place: its first line, hint, line and column."""
    text, lines = str(error), query.splitlines()
    first, _, rest = text.partition("\n")
    first = re.sub(r"^[A-Z]\w*(?: \w+)* Error: ", "", first).rstrip(".!")
    if "pytz" in first:
        return "a time with a zone needs pytz to be shown; write (x AT TIME ZONE 'UTC')"
    parts = [first[:1].lower() + first[1:] if first[1:2].islower() else first]
    place = _PLACE.search(text)
    if place is not None:
        line, column = int(place[1]), len(place[3]) - len(f"LINE {place[1]}: ") + 1
        shown = place[2]
        whole = lines[line - 1] if line <= len(lines) else ""
        if shown.startswith("...") and (at := whole.find(shown.strip("."))) >= 0:
            column += at - 3  # a long line is shown from its middle on
        line -= query.startswith(_DESCRIBE)
        parts.append(f"at line {line}, column {column}")
    hint = [line.strip() for line in rest.splitlines() if line.startswith(_HINTS)][:1]
    return " ".join(parts + [f"({line[:1].lower()}{line[1:]})" for line in hint])
