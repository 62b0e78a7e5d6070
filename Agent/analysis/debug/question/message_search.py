"""Full-text search over the distinct messages of a session for the words of a question (SQLite FTS5)."""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from Agent.analysis.debug.question.question import Question, stem
from Agent.analysis.query.engine import Engine
from Agent.analysis.query.views import IS_ERROR, reads_files, scan

MAX_MESSAGES = 20_000
TOP = 8
_WHEN: Final = (
    ", min(timestamp) AS first_seen, max(timestamp) AS last_seen, "
    "arg_max(id, (ts_us, writer, seq)) AS example_id"
)
_CAMEL: Final = re.compile(r"([a-z])([A-Z])")


def matching_messages(engine: Engine, lines: str, question: Question) -> list[dict[str, Any]]:
    """Return the messages that best match a question; among equals, errors and rare messages first.

    `lines` is the table expression that `held_lines` yields.

    Returns:
        Dicts with message, agent_id, event_type, is_error, count, first_seen, last_seen, example_id (the
        last) and `rank` (bm25, lower is better). Empty if the text has no word left to search for.
    """
    if not question.words:
        return []
    # From files, the payload is read for this one key only.
    held = f"(SELECT *, extra->>'$.error_id' AS error_id FROM {lines})"
    told = scan("error_id") if reads_files(lines) else held

    def grouped(columns: str, *messages: str) -> list[dict[str, Any]]:
        among = " AND message IN (SELECT unnest($2))" if messages else ""
        return engine.rows(
            f"SELECT message, agent_id, event_type, {IS_ERROR} AS is_error, count(*) AS count{columns} "
            f"FROM {told} "
            "WHERE message <> '' AND (len($1) = 0 OR list_contains($1, agent_id)) "
            f"AND event_type NOT IN ('state', 'code', 'log.opened', 'log.closed'){among} "
            "GROUP BY message, agent_id, event_type, is_error ORDER BY is_error DESC, count, message, "
            f"agent_id, event_type LIMIT {MAX_MESSAGES}",
            [list(question.agents), list(messages)] if messages else [list(question.agents)],
        )

    if not engine.is_archived or not reads_files(lines):
        return _search(grouped(_WHEN), question.words)
    # An archive stores neither the text of a time nor an id: they are put together for what is found only.
    found = _search(grouped(""), question.words)
    named = grouped(_WHEN, *{document["message"] for document in found}) if found else []
    by_key = {_key(document): document for document in named}
    return [by_key[_key(document)] | document for document in found]


def _key(document: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(document[name] for name in ("message", "agent_id", "event_type", "is_error"))


def _search(documents: Sequence[dict[str, Any]], words: Sequence[str]) -> list[dict[str, Any]]:
    import sqlite3
    from contextlib import closing

    begins = [begin for begin in dict.fromkeys(stem(word) for word in words) if len(begin) > 2]
    if not begins:
        return []
    with closing(sqlite3.connect(":memory:")) as database:
        try:
            database.execute(
                "CREATE VIRTUAL TABLE told USING fts5(message, tokenize = \"unicode61 separators '_'\")"
            )
        except sqlite3.OperationalError:  # an SQLite that was built without FTS5
            return _search_plainly(documents, begins)
        # Quote each prefix, so that SQLite reads nothing in the text as a search operator.
        terms = " OR ".join(f'"{begin}"*' for begin in begins)
        database.executemany(
            "INSERT INTO told(rowid, message) VALUES (?, ?)",
            ((place, _searchable(document["message"])) for place, document in enumerate(documents)),
        )
        found = database.execute(
            "SELECT rowid, bm25(told) FROM told WHERE told MATCH ? ORDER BY bm25(told), rowid LIMIT ?",
            (terms, TOP),
        ).fetchall()
    return [documents[place] | {"rank": rank} for place, rank in found]


def _search_plainly(documents: Sequence[dict[str, Any]], begins: Sequence[str]) -> list[dict[str, Any]]:
    """Search without FTS5; `rank` is the negative number of matching words."""
    ranked = []
    for document in documents:
        words = _searchable(document["message"]).lower().replace("_", " ").split()
        shared = sum(1 for begin in begins if any(word.startswith(begin) for word in words))
        if shared:
            ranked.append(document | {"rank": -float(shared)})
    return sorted(ranked, key=lambda document: document["rank"])[:TOP]


def _searchable(message: str) -> str:
    """Return a message that SQLite can store, with CamelCase words split (TrendToolError)."""
    return _CAMEL.sub(r"\1 \2", message).encode("utf-8", "replace").decode()
