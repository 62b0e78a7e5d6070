"""A session in a few numbers, for lists of sessions that nobody has summed up."""

# ruff: noqa: S608 - statements are put together from names of this package alone
from __future__ import annotations

from pathlib import Path
from typing import Any

from Agent.analysis.query.engine import open_engine
from Agent.analysis.query.views import scan
from Agent.analysis.session.integrity import counted_losses
from Agent.archive.sealed.reader import open_reader
from Agent.event.clock import format_timestamp

__all__ = ["session_counts"]


def session_counts(session: Path) -> dict[str, Any]:
    """How much a session holds, by the engine: in flat memory, and without decoding every line if it can.

    Returns:
        `events`, `agents`, `errors`, `lost` (counts), `first_timestamp`, `last_timestamp` (None without
        events).

    Raises:
        SessionNotFound: there is no such session.
        MissingExtra: duckdb is not installed.
    """
    reader = open_reader(session)
    engine = open_engine(session)
    try:
        row = engine.row(
            "SELECT count(*) AS events, count(DISTINCT agent_id) AS agents, "
            "count(*) FILTER (WHERE event_type = 'error') AS errors, "
            f"min(ts_us) AS first_us, max(ts_us) AS last_us FROM {scan()}"
        )
        losses = counted_losses(session, engine) or reader.losses()
    finally:
        engine.close()
    first_us, last_us = row.pop("first_us"), row.pop("last_us")
    return row | {
        "lost": losses.total_lost,
        "first_timestamp": None if first_us is None else format_timestamp(first_us),
        "last_timestamp": None if last_us is None else format_timestamp(last_us),
    }
