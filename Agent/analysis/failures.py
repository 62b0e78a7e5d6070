"""What went wrong: every error once, and the patterns that errors fall into."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from typing import Any

from Agent.analysis.engine import Engine
from Agent.analysis.rows import EVENT_COLUMNS, engine_row
from Agent.analysis.views import IS_ERROR, scan, whole_lines

TOP_MESSAGES = 20
TOP_PATTERNS = 50
NO_AGENT = "(no agent)"
NO_TYPE = "(logged)"

# Two errors are alike if they differ in numbers and hexadecimal words only.
FINGERPRINT = (
    "coalesce(fingerprint, left(md5(coalesce(error_type, '') || '|' || regexp_replace("
    "coalesce(error_message, message, ''), '0x[0-9a-fA-F]+|[0-9a-fA-F]{8,}|[0-9]+', '#', 'g')), 16))"
)
_KEYS = ("error_type", "error_message", "fingerprint", "error_id", "action_type")


def error_patterns(engine: Engine) -> dict[str, Any]:
    """Every error of the session counted once, and what they have in common.

    An error is an event of kind `error`, or a line of level ERROR or CRITICAL that does not point at one.

    Returns:
        `total_errors`; `most_common_messages`, a list of (message, count), most frequent first, at most 20;
        `by_type`, `by_agent`, `by_level` ({name: count}); `fingerprints`, at most 50 dicts with fingerprint,
        error_type, message (of the first), count, agents (how many), first_seen, last_seen and example_id
        (the first).
    """
    engine.rows(
        "CREATE OR REPLACE TEMP TABLE error_lines AS SELECT ts_us, writer, seq, id, timestamp, level, "
        "message, "
        f"agent_id, error_type, {FINGERPRINT} AS fingerprint FROM {scan(*_KEYS)} WHERE {IS_ERROR}"
    )
    try:
        messages = engine.rows(
            "SELECT coalesce(message, '') AS name, count(*) AS n FROM error_lines GROUP BY name "
            f"ORDER BY n DESC, name LIMIT {TOP_MESSAGES}"
        )
        return {
            "total_errors": engine.row("SELECT count(*) AS n FROM error_lines")["n"],
            "most_common_messages": [(row["name"], row["n"]) for row in messages],
            "by_type": _counts(engine, f"coalesce(error_type, '{NO_TYPE}')"),
            "by_agent": _counts(engine, f"coalesce(agent_id, '{NO_AGENT}')"),
            "by_level": _counts(engine, "level"),
            "fingerprints": _fingerprints(engine),
        }
    finally:
        engine.rows("DROP TABLE error_lines")


def _counts(engine: Engine, column: str) -> dict[str, int]:
    found = engine.rows(
        f"SELECT {column} AS name, count(*) AS n FROM error_lines GROUP BY 1 ORDER BY n DESC, name"
    )
    return {row["name"]: row["n"] for row in found}


def _fingerprints(engine: Engine) -> list[dict[str, Any]]:
    first = "(ts_us, writer, seq)"
    return engine.rows(
        f"SELECT fingerprint, arg_min(error_type, {first}) AS error_type, arg_min(message, {first}) AS "
        "message, "
        "count(*) AS count, count(DISTINCT agent_id) AS agents, min(timestamp) AS first_seen, "
        f"max(timestamp) AS last_seen, arg_min(id, {first}) AS example_id FROM error_lines GROUP BY "
        "fingerprint "
        f"ORDER BY count DESC, first_seen, fingerprint LIMIT {TOP_PATTERNS}"
    )


def errors(engine: Engine, agent_id: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
    """Every error as an event dict, newest last; of one agent, or only the newest so many, if asked for."""
    bound = "" if limit is None else f"LIMIT {max(0, int(limit))}"
    found = engine.rows(
        f"SELECT {EVENT_COLUMNS} FROM (SELECT *, extra->>'$.error_id' AS error_id FROM {whole_lines()}) "
        f"WHERE {IS_ERROR} AND (agent_id = $1 OR $1 IS NULL) ORDER BY ts_us DESC, writer DESC, seq DESC "
        f"{bound}",
        [agent_id],
    )
    return [engine_row(row) for row in reversed(found)]
