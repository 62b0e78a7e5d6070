"""Messages between agents: sent, received, never received, and how long they took."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from typing import Any, Final

from Agent.analysis.query.engine import Engine
from Agent.analysis.stats.distribution import quantile_columns
from Agent.event.clock import format_timestamp

__all__ = ["message_flow"]

TOP: Final = 10
_SENT: Final = "direction LIKE 'sen%'"
_RECEIVED: Final = "direction LIKE 'rec%'"


def message_flow(engine: Engine, lines: str, top: int = TOP) -> dict[str, Any]:
    """What became of the messages of a session; both ends of one have its `message_id`.

    `lines` is what `events` gives.

    Returns:
        `sent` and `received` (events); `delivered`; `never_received`; of these `undelivered`: one that was
        sent to the same agent later has been received, so it was lost or left lying (the others may have been
        under way at the end); `never_sent` (received, and nobody on record sent it); `received_twice`;
        `latency_ms` from sending to the first receipt: count, mean, p50, p95, p99, max, `quantiles` (exact or
        approximate), and `negative` (receipts before the sending: clocks of two machines); `slowest`,
        `oldest_undelivered` (message_id with sender, recipient, sent_at, and sent_id, the event of the
        sending); `by_agent` (most unread first: agent_id, sent, received, unread); `pairs`.
    """
    try:
        engine.rows(
            "CREATE OR REPLACE TEMP TABLE message_ends AS SELECT message_id, "
            f"min(ts_us) FILTER (WHERE {_SENT}) AS sent_us, min(ts_us) FILTER (WHERE {_RECEIVED}) AS "
            "received_us, "
            f"arg_min(id, ts_us) FILTER (WHERE {_SENT}) AS sent_id, "
            f"count(*) FILTER (WHERE {_SENT}) AS sent, count(*) FILTER (WHERE {_RECEIVED}) AS received, "
            "min(sender) AS sender, min(recipient) AS recipient "
            f"FROM {lines} WHERE event_type = 'agent_message' "
            "GROUP BY message_id"
        )
        return _counts(engine) | {
            "latency_ms": _latency(engine),
            "slowest": _named(engine, "latency_ms IS NOT NULL", "latency_ms DESC", top),
            "oldest_undelivered": _named(engine, "is_undelivered", "sent_us", top),
            "by_agent": _by_agent(engine, top),
            "pairs": engine.rows(
                "SELECT sender, recipient, sum(sent)::BIGINT AS sent, sum(received)::BIGINT AS received "
                "FROM message_ends GROUP BY ALL ORDER BY sent DESC, received DESC, sender, recipient "
                f"LIMIT {int(top)}"
            ),
        }
    finally:
        engine.rows("DROP TABLE IF EXISTS message_ends")


_JUDGED: Final = """(SELECT m.*, (received_us - sent_us) / 1000.0 AS latency_ms,
    coalesce(sent > 0 AND received = 0 AND sent_us < l.last_us, false) AS is_undelivered
    FROM message_ends m LEFT JOIN (SELECT recipient, max(sent_us) AS last_us FROM message_ends
    WHERE received > 0 GROUP BY recipient) l USING (recipient))"""


def _counts(engine: Engine) -> dict[str, Any]:
    return engine.row(
        "SELECT coalesce(sum(sent), 0)::BIGINT AS sent, coalesce(sum(received), 0)::BIGINT AS received, "
        "count(*) FILTER (WHERE sent > 0 AND received > 0) AS delivered, "
        "count(*) FILTER (WHERE sent > 0 AND received = 0) AS never_received, "
        "count(*) FILTER (WHERE is_undelivered) AS undelivered, "
        "count(*) FILTER (WHERE sent = 0 AND received > 0) AS never_sent, "
        f"count(*) FILTER (WHERE received > 1) AS received_twice FROM {_JUDGED}"
    )


def _latency(engine: Engine) -> dict[str, Any]:
    pairs = engine.row("SELECT count(*) AS n FROM message_ends WHERE sent > 0 AND received > 0")["n"]
    columns, quantiles = quantile_columns("latency_ms", pairs)
    found = engine.row(
        f"SELECT {columns}, count(*) FILTER (WHERE latency_ms < 0) AS negative FROM {_JUDGED} "
        "WHERE latency_ms IS NOT NULL"
    )
    return {"count": found.pop("measured")} | found | {"quantiles": quantiles}


def _named(engine: Engine, which: str, order: str, top: int) -> list[dict[str, Any]]:
    rows = engine.rows(
        f"SELECT message_id, sender, recipient, sent_us, sent_id, latency_ms FROM {_JUDGED} WHERE {which} "
        f"ORDER BY {order}, message_id LIMIT {int(top)}"
    )
    for row in rows:
        sent_us = row.pop("sent_us")
        row["sent_at"] = None if sent_us is None else format_timestamp(sent_us)
    return rows


def _by_agent(engine: Engine, top: int) -> list[dict[str, Any]]:
    return engine.rows(
        "SELECT agent_id, sum(sent)::BIGINT AS sent, sum(received)::BIGINT AS received, "
        "sum(unread)::BIGINT AS unread FROM ("
        "SELECT sender AS agent_id, sent, 0 AS received, 0 AS unread FROM message_ends UNION ALL "
        "SELECT recipient, 0, received, (sent > 0 AND received = 0)::INTEGER FROM message_ends) "
        "WHERE agent_id IS NOT NULL GROUP BY agent_id "
        f"ORDER BY 4 DESC, sum(sent + received) DESC, agent_id LIMIT {int(top)}"
    )
