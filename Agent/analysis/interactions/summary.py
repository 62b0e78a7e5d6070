"""What happens between agents and content: interactions, connections, cascades, collaborations, messages."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from Agent.analysis.interactions.cascades import top_cascades
from Agent.analysis.interactions.messages import message_flow
from Agent.analysis.interactions.social_graph import social_graph
from Agent.analysis.query.engine import Engine, kept
from Agent.analysis.query.event_dict import BY_ORDER
from Agent.analysis.query.views import scan
from Agent.event.kinds import Category
from Agent.event.payloads import KINDS

_KINDS: Final = (
    *(name for name, kind in KINDS.items() if kind.category is Category.INTERACTIONS),
    "agent_message",
    "content_generation",
)
_KEYS: Final = (
    "interaction_type", "source_id", "target_id", "content_id", "connection_type", "strength", "size",
    "depth", "root_agent_id", "collaboration_type", "participants", "direction", "message_id", "sender",
    "recipient",
)  # fmt: skip


@contextmanager
def interaction_lines(engine: Engine) -> Iterator[str]:
    """What stands behind FROM for the events between agents: place, id, tick, agent, kind and payload."""
    kinds = ", ".join(f"'{kind}'" for kind in _KINDS)
    query = (
        f"(SELECT {BY_ORDER}, id, tick, agent_id, event_type, {', '.join(_KEYS)} FROM {scan(*_KEYS)} "
        f"WHERE event_type IN ({kinds}))"
    )
    with kept(engine, "interaction_lines", query) as source:
        yield source.text


TOP = 10


def interaction_report(engine: Engine, *, edges: bool = False) -> dict[str, Any]:
    """The summary with the graph, the trees of what spread, and the messages in full.

    Returns:
        What `interaction_summary` gives, with `messages` as `messages.message_flow` has them, `graph`
        (`social_graph.social_graph`, with every edge if `edges`), and `top_cascades`
        (`cascades.top_cascades`).
    """
    with interaction_lines(engine) as lines:
        found = _summary(engine, lines)
        return found | {
            "messages": found["messages"] | message_flow(engine, lines),
            "graph": social_graph(engine, lines, with_edges=edges),
            "top_cascades": top_cascades(engine, lines, TOP),
        }


def interaction_summary(engine: Engine) -> dict[str, Any]:
    """Who dealt with whom and with what.

    Returns:
        `total_interactions` (events of kind interaction) and `by_type`; `top_viral_content` (content with the
        largest cascade event, then with most shares and interactions; dicts with content_id, cascade_size (0
        where no cascade event tells of it), interactions, shares); `most_active` agents; `connections`,
        `cascades`, `collaborations` and `messages` (dicts with their `total`).
    """
    with interaction_lines(engine) as lines:
        return _summary(engine, lines)


def _summary(engine: Engine, lines: str) -> dict[str, Any]:
    by_type = _counts(engine, lines, "interaction_type", "interaction")
    return {
        "total_interactions": sum(by_type.values()),
        "by_type": by_type,
        "top_viral_content": _viral_content(engine, lines),
        "most_active": _counts(engine, lines, "coalesce(source_id, agent_id)", "interaction", TOP),
        "connections": _connections(engine, lines),
        "cascades": _cascades(engine, lines),
        "collaborations": _collaborations(engine, lines),
        "messages": _messages(engine, lines),
    }


def _counts(engine: Engine, lines: str, column: str, kind: str, limit: int | None = None) -> dict[str, int]:
    bound = "" if limit is None else f"LIMIT {limit}"
    found = engine.rows(
        f"SELECT coalesce({column}, '') AS name, count(*) AS n FROM {lines} WHERE event_type = ? "
        f"GROUP BY name ORDER BY n DESC, name {bound}",
        [kind],
    )
    return {row["name"]: row["n"] for row in found}


def _viral_content(engine: Engine, lines: str) -> list[dict[str, Any]]:
    return engine.rows(
        "SELECT content_id, coalesce(max(size) FILTER (WHERE event_type = 'cascade'), 0) AS cascade_size, "
        "count(*) FILTER (WHERE event_type = 'interaction') AS interactions, "
        "count(*) FILTER (WHERE event_type = 'interaction' AND interaction_type ILIKE 'share%') AS shares "
        f"FROM {lines} WHERE content_id IS NOT NULL AND event_type IN ('interaction', 'cascade') "
        "GROUP BY content_id ORDER BY cascade_size DESC, shares DESC, interactions DESC, content_id "
        f"LIMIT {TOP}"
    )


def _connections(engine: Engine, lines: str) -> dict[str, Any]:
    by_type = _counts(engine, lines, "connection_type", "connection")
    hubs = engine.rows(
        "SELECT agent, count(*) AS n FROM (SELECT unnest([source_id, target_id]) AS agent FROM "
        f"{lines} "
        "WHERE event_type = 'connection') WHERE agent IS NOT NULL GROUP BY agent ORDER BY n DESC, agent "
        f"LIMIT {TOP}"
    )
    return {
        "total": sum(by_type.values()),
        "by_type": by_type,
        "most_connected": {row["agent"]: row["n"] for row in hubs},
    }


def _cascades(engine: Engine, lines: str) -> dict[str, Any]:
    sums = engine.row(
        "SELECT count(*) AS total, count(DISTINCT content_id) AS contents, max(size) AS largest, "
        f"avg(size) AS mean_size, max(depth) AS deepest FROM {lines} WHERE event_type = 'cascade'"
    )
    sums["top"] = engine.rows(
        "SELECT content_id, max(size) AS size, max(depth) AS depth, arg_max(root_agent_id, size) AS "
        "root_agent_id, "
        f"arg_max(id, size) AS id FROM {lines} WHERE event_type = 'cascade' GROUP BY content_id "
        f"ORDER BY size DESC NULLS LAST, content_id LIMIT {TOP}"
    )
    return sums


def _collaborations(engine: Engine, lines: str) -> dict[str, Any]:
    by_type = _counts(engine, lines, "collaboration_type", "collaboration")
    largest = engine.row(
        f"SELECT max(json_array_length(participants)) AS n FROM {lines} WHERE event_type = "
        "'collaboration' "
        "AND json_type(participants) = 'ARRAY'"
    )
    return {"total": sum(by_type.values()), "by_type": by_type, "largest": largest["n"]}


def _messages(engine: Engine, lines: str) -> dict[str, Any]:
    directions = _counts(engine, lines, "direction", "agent_message")
    pairs = engine.rows(
        f"SELECT sender, recipient, count(*) AS n FROM {lines} WHERE event_type = 'agent_message' "
        f"AND direction LIKE 'sen%' GROUP BY sender, recipient ORDER BY n DESC, sender, recipient LIMIT {TOP}"
    )
    never = engine.row(
        f"SELECT count(*) AS n FROM (SELECT message_id FROM {lines} WHERE event_type = "
        "'agent_message' "
        "GROUP BY message_id HAVING bool_or(direction LIKE 'sen%') AND NOT bool_or(direction LIKE 'rec%'))"
    )
    return {
        "total": sum(directions.values()),
        "by_direction": directions,
        "never_received": never["n"],
        "busiest_pairs": pairs,
    }
