"""Agents as a graph: who reached whom by interactions, ties and messages, and who worked with whom."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from Agent.analysis.query.engine import Engine

__all__ = ["social_graph"]

TOP: Final = 10
MAX_EDGES: Final = 100_000

_TABLES: Final = ("graph_edges", "graph_pairs", "graph_ties", "graph_labels", "graph_next")


def social_graph(engine: Engine, lines: str, top: int = TOP, *, with_edges: bool = False) -> dict[str, Any]:
    """The graph of a session's agents, told in numbers; weights are counts of events.

    `lines` is what `events` gives.

    Interactions that name a target, ties, and messages sent are directed edges; working together is an
    undirected one, which counts for neighbours and components only.

    Returns:
        `nodes`; `edges` (distinct ordered pairs, without loops); `self_edges`; `by_type`: {type: edges,
        weight}; `reciprocity` (share of the edges whose reverse is there, None without edges); `density`;
        `components` (weakly connected: `count`, `largest`, `sizes` of the ten largest); `top_connectors`
        (most neighbours first: agent_id, neighbours, out, in, weight_out, weight_in); `strongest` (pairs:
        source, target, weight, types); `collaborations` (pairs who worked together most); with `with_edges`,
        `edge_list`: every pair and type, the heaviest 100,000.
    """
    with _tables(engine, lines):
        counts = engine.row(
            "SELECT (SELECT count(*) FROM graph_labels) AS nodes, count(*) AS edges, "
            "(SELECT count(*) FROM (SELECT DISTINCT source FROM graph_edges WHERE source = target)) AS "
            "self_edges, "
            "count(*) FILTER (WHERE EXISTS (SELECT 1 FROM graph_pairs r WHERE r.source = p.target AND "
            "r.target = p.source)) AS mutual FROM graph_pairs p"
        )
        nodes, edges = counts["nodes"], counts["edges"]
        found: dict[str, Any] = {
            "nodes": nodes,
            "edges": edges,
            "self_edges": counts["self_edges"],
            "by_type": _by_type(engine),
            "reciprocity": counts["mutual"] / edges if edges else None,
            "density": edges / (nodes * (nodes - 1)) if nodes > 1 else None,
            "components": _components(engine),
            "top_connectors": _connectors(engine, top),
            "strongest": _strongest(engine, top),
            "collaborations": _collaborations(engine, top),
        }
        if with_edges:
            found["edge_list"] = engine.rows(
                "SELECT source, target, type, weight FROM graph_edges "
                f"ORDER BY weight DESC, source, target, type LIMIT {MAX_EDGES}"
            )
        return found


@contextmanager
def _tables(engine: Engine, lines: str) -> Iterator[None]:
    """One scan fills a table of weighted edges; the others are made of that."""
    try:
        engine.rows(
            "CREATE OR REPLACE TEMP TABLE graph_edges AS SELECT source, target, type, is_mutual, "
            f"count(*) AS weight FROM ({_raw_edges(lines)}) "
            "WHERE source IS NOT NULL AND target IS NOT NULL GROUP BY ALL"
        )
        engine.rows(
            "CREATE OR REPLACE TEMP TABLE graph_pairs AS SELECT source, target, sum(weight)::BIGINT AS "
            "weight "
            "FROM graph_edges WHERE NOT is_mutual AND source <> target GROUP BY ALL"
        )
        engine.rows(
            "CREATE OR REPLACE TEMP TABLE graph_ties AS SELECT DISTINCT a, b FROM ("
            "SELECT source AS a, target AS b FROM graph_edges UNION ALL SELECT target, source FROM "
            "graph_edges)"
        )
        _label_components(engine)
        yield
    finally:
        for name in _TABLES:
            engine.rows(f"DROP TABLE IF EXISTS {name}")


def _raw_edges(lines: str) -> str:
    """A query for (source, target, type, is_mutual), a row for each event and pair."""
    return f"""
        WITH joint AS (SELECT type, list_sort(list_distinct(TRY_CAST(participants AS VARCHAR[]))) AS who FROM
            (SELECT 'collaboration:' || coalesce(collaboration_type, '') AS type, participants FROM {lines}
            WHERE event_type = 'collaboration' AND json_type(participants) = 'ARRAY')),
        first AS (SELECT type, who, unnest(range(1, len(who))) AS i FROM joint),
        pairs AS (SELECT who[i] AS source, unnest(who[i + 1:]) AS target, type FROM first)
        SELECT coalesce(source_id, agent_id) AS source, target_id AS target,
            'interaction:' || coalesce(interaction_type, '') AS type, false AS is_mutual
            FROM {lines} WHERE event_type = 'interaction'
        UNION ALL SELECT source_id, target_id, 'connection:' || coalesce(connection_type, ''), false
            FROM {lines} WHERE event_type = 'connection'
        UNION ALL SELECT sender, recipient, 'message', false
            FROM {lines} WHERE event_type = 'agent_message' AND direction LIKE 'sen%'
        UNION ALL SELECT source, target, type, true FROM pairs"""


def _label_components(engine: Engine) -> None:
    """Give each node the least name that it is connected with; a label jumps to its label's own each time."""
    engine.rows(
        "CREATE OR REPLACE TEMP TABLE graph_labels AS SELECT a AS node, least(a, min(b)) AS label "
        "FROM graph_ties GROUP BY a"
    )
    while True:
        engine.rows(
            "CREATE OR REPLACE TEMP TABLE graph_next AS SELECT l.node, least(l.label, min(o.label)) AS label "
            "FROM graph_labels l JOIN graph_ties t ON t.a = l.node JOIN graph_labels o ON o.node = t.b "
            "GROUP BY l.node, l.label"
        )
        changed = engine.row(
            "SELECT count(*) AS n FROM graph_next n JOIN graph_labels l USING (node) WHERE n.label <> l.label"
        )
        if not changed["n"]:
            return
        engine.rows(
            "CREATE OR REPLACE TEMP TABLE graph_labels AS SELECT n.node, j.label "
            "FROM graph_next n JOIN graph_next j ON j.node = n.label"
        )


def _by_type(engine: Engine) -> dict[str, dict[str, int]]:
    rows = engine.rows(
        "SELECT type, count(*) AS edges, sum(weight)::BIGINT AS weight FROM graph_edges GROUP BY type "
        "ORDER BY weight DESC, type"
    )
    return {row.pop("type"): row for row in rows}


def _components(engine: Engine) -> dict[str, Any]:
    return engine.row(
        "SELECT count(*) AS count, coalesce(max(n), 0) AS largest, "
        f"coalesce(list(n ORDER BY n DESC)[:{TOP}], []) AS sizes "
        "FROM (SELECT count(*) AS n FROM graph_labels GROUP BY label)"
    )


def _connectors(engine: Engine, top: int) -> list[dict[str, Any]]:
    return engine.rows(
        "WITH o AS (SELECT source AS node, count(*) AS n, sum(weight)::BIGINT AS w FROM graph_pairs GROUP "
        "BY 1), "
        "i AS (SELECT target AS node, count(*) AS n, sum(weight)::BIGINT AS w FROM graph_pairs GROUP BY 1), "
        "t AS (SELECT a AS node, count(*) FILTER (WHERE a <> b) AS n FROM graph_ties GROUP BY 1) "
        'SELECT t.node AS agent_id, t.n AS neighbours, coalesce(o.n, 0) AS out, coalesce(i.n, 0) AS "in", '
        "coalesce(o.w, 0) AS weight_out, coalesce(i.w, 0) AS weight_in "
        "FROM t LEFT JOIN o USING (node) LEFT JOIN i USING (node) "
        f"ORDER BY neighbours DESC, weight_out + weight_in DESC, agent_id LIMIT {int(top)}"
    )


def _strongest(engine: Engine, top: int) -> list[dict[str, Any]]:
    return engine.rows(
        "SELECT source, target, p.weight, list(DISTINCT e.type ORDER BY e.type) AS types FROM (SELECT * FROM "
        f"graph_pairs ORDER BY weight DESC, source, target LIMIT {int(top)}) p JOIN graph_edges e "
        "USING (source, target) WHERE NOT e.is_mutual GROUP BY ALL ORDER BY weight DESC, source, target"
    )


def _collaborations(engine: Engine, top: int) -> list[dict[str, Any]]:
    return engine.rows(
        "SELECT source AS one, target AS other, sum(weight)::BIGINT AS times FROM graph_edges WHERE "
        "is_mutual "
        f"GROUP BY ALL ORDER BY times DESC, one, other LIMIT {int(top)}"
    )
