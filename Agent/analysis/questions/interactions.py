"""Interactions between agents: who with whom, how content spread, and how messages flowed."""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from Agent.analysis.query.kept import QueryEngine, kept
from Agent.analysis.query.views import BY_ORDER, EACH, events_of, quoted_text
from Agent.analysis.stats import quantile_columns
from Agent.errors import InputError
from Agent.event.clock import format_timestamp
from Agent.event.kinds import Category
from Agent.event.payloads import KINDS

_KINDS: Final = (
    *(name for name, kind in KINDS.items() if kind.category is Category.INTERACTIONS),
    "agent_message",
)
_OF_SPREAD: Final = "content_generation"
"""The kind that only the trees of shared content need, and of which there may be many."""
_KEYS: Final = (
    "interaction_type", "source_id", "target_id", "content_id", "connection_type", "size",
    "depth", "root_agent_id", "collaboration_type", "participants", "direction", "message_id", "sender",
    "recipient",
)  # fmt: skip


@contextmanager
def interaction_lines(
    engine: QueryEngine, agent_id: str | None = None, *, with_spread: bool = True
) -> Iterator[str]:
    """Keep the events between agents; yields a table or sub-query with order, tick, agent and payload.

    Args:
        engine: over the session.
        agent_id: keep only the events in which this agent takes part; None for all events.
        with_spread: also keep what `cascade` and `top_cascades` need.
    """
    lines = events_of((*_KINDS, _OF_SPREAD) if with_spread else _KINDS, *_KEYS)
    columns = f"{BY_ORDER}, tick, agent_id, event_type, {', '.join(_KEYS)}"
    query = f"(SELECT {columns} FROM {lines}{_with(agent_id)})"
    with kept(engine, "interaction_lines", query) as source:
        yield source


def _with(agent_id: str | None) -> str:
    if agent_id is None:
        return ""
    agent = quoted_text(agent_id)
    named = "agent_id, source_id, target_id, root_agent_id, sender, recipient"
    return f" AND ({agent} IN ({named}) OR array_contains(json_texts(participants), {agent}))"


TOP: Final = 10


def interaction_report(
    engine: QueryEngine, agent_id: str | None = None, *, edges: bool = False
) -> dict[str, Any]:
    """Return the summary with the graph, the trees of shared content, and the messages in full.

    Args:
        engine: over the session.
        agent_id: only the events in which this agent takes part; None for all events.
        edges: return every edge of the graph.

    Returns:
        The keys of `interaction_summary`, `messages` extended by `message_flow`, `graph` (`social_graph`,
        with every edge if `edges`), and `top_cascades` (`top_cascades`).
    """
    with interaction_lines(engine, agent_id) as lines:
        flow = message_flow(engine, lines)
        summary = _summary(engine, lines, flow["never_received"])
        return summary | {
            "messages": summary["messages"] | flow,
            "graph": social_graph(engine, lines, with_edges=edges),
            "top_cascades": top_cascades(engine, lines, TOP),
        }


def interaction_summary(engine: QueryEngine) -> dict[str, Any]:
    """Summarise who interacted with whom, and with which content.

    Returns:
        `total_interactions` (events of kind interaction) and `by_type`; `top_viral_content` (content by
        largest cascade event, then by shares and interactions; dicts with content_id, cascade_size (0 without
        a cascade event), interactions, shares); `most_active` agents; `connections`, `cascades`,
        `collaborations` and `messages` (dicts with their `total`).
    """
    with interaction_lines(engine, with_spread=False) as lines:
        return _summary(engine, lines, _never_received(engine, lines))


def _summary(engine: QueryEngine, lines: str, never_received: int) -> dict[str, Any]:
    by_type = _counts(engine, lines, "interaction_type", "interaction")
    return {
        "total_interactions": sum(by_type.values()),
        "by_type": by_type,
        "top_viral_content": _viral_content(engine, lines),
        "most_active": _counts(engine, lines, "coalesce(source_id, agent_id)", "interaction", TOP),
        "connections": _connections(engine, lines),
        "cascades": _cascades(engine, lines),
        "collaborations": _collaborations(engine, lines),
        "messages": _messages(engine, lines, never_received),
    }


def _counts(
    engine: QueryEngine, lines: str, column: str, kind: str, limit: int | None = None
) -> dict[str, int]:
    return engine.counts(f"coalesce({column}, '')", f"{lines} WHERE event_type = '{kind}'", limit)


def _viral_content(engine: QueryEngine, lines: str) -> list[dict[str, Any]]:
    return engine.rows(
        "SELECT content_id, coalesce(max(size) FILTER (WHERE event_type = 'cascade'), 0) AS cascade_size, "
        "count(*) FILTER (WHERE event_type = 'interaction') AS interactions, "
        "count(*) FILTER (WHERE event_type = 'interaction' AND interaction_type ILIKE 'share%') AS shares "
        f"FROM {lines} WHERE content_id IS NOT NULL AND event_type IN ('interaction', 'cascade') "
        "GROUP BY content_id ORDER BY cascade_size DESC, shares DESC, interactions DESC, content_id "
        f"LIMIT {TOP}"
    )


def _connections(engine: QueryEngine, lines: str) -> dict[str, Any]:
    by_type = _counts(engine, lines, "connection_type", "connection")
    connected = (
        f"(SELECT source_id AS agent FROM {lines} WHERE event_type = 'connection' UNION ALL "
        f"SELECT target_id FROM {lines} WHERE event_type = 'connection') WHERE agent IS NOT NULL"
    )
    return {
        "total": sum(by_type.values()),
        "by_type": by_type,
        "most_connected": engine.counts("agent", connected, TOP),
    }


_ID: Final = "concat(writer, '-', seq)"
_BY_SIZE: Final = "(size, ts_us, writer, seq)"
"""Of equal sizes, the last one."""


def _cascades(engine: QueryEngine, lines: str) -> dict[str, Any]:
    sums = engine.row(
        "SELECT count(*) AS total, count(DISTINCT content_id) AS contents, max(size) AS largest, "
        f"avg(size) AS mean_size, max(depth) AS deepest FROM {lines} WHERE event_type = 'cascade'"
    )
    sums["top"] = engine.rows(
        "SELECT content_id, max(size) AS size, max(depth) AS depth, "
        f"max_by(root_agent_id, {_BY_SIZE}) FILTER (WHERE size IS NOT NULL AND root_agent_id IS NOT NULL) "
        f"AS root_agent_id, max_by({_ID}, {_BY_SIZE}) FILTER (WHERE size IS NOT NULL) AS id "
        f"FROM {lines} WHERE event_type = 'cascade' GROUP BY content_id "
        f"ORDER BY size DESC NULLS LAST, content_id NULLS LAST LIMIT {TOP}"
    )
    return sums


def _collaborations(engine: QueryEngine, lines: str) -> dict[str, Any]:
    by_type = _counts(engine, lines, "collaboration_type", "collaboration")
    largest = engine.row(
        f"SELECT max(json_array_length(participants)) AS n FROM {lines} WHERE event_type = 'collaboration' "
        "AND CAST(participants AS STRING) LIKE '[%'"
    )
    return {"total": sum(by_type.values()), "by_type": by_type, "largest": largest["n"]}


def _messages(engine: QueryEngine, lines: str, never_received: int) -> dict[str, Any]:
    directions = _counts(engine, lines, "direction", "agent_message")
    pairs = engine.rows(
        f"SELECT sender, recipient, count(*) AS n FROM {lines} WHERE event_type = 'agent_message' "
        f"AND direction LIKE 'sen%' GROUP BY sender, recipient ORDER BY n DESC, sender NULLS LAST, "
        f"recipient NULLS LAST LIMIT {TOP}"
    )
    return {
        "total": sum(directions.values()),
        "by_direction": directions,
        "never_received": never_received,
        "busiest_pairs": pairs,
    }


def _never_received(engine: QueryEngine, lines: str) -> int:
    """The number of messages that were sent and never received, which `message_flow` counts as well."""
    number: int = engine.row(
        f"SELECT count(*) AS n FROM (SELECT message_id FROM {lines} WHERE event_type = 'agent_message' "
        "GROUP BY message_id HAVING bool_or(direction LIKE 'sen%') AND NOT bool_or(direction LIKE 'rec%'))"
    )["n"]
    return number


_SHARES: Final = ("share", "reshare", "re-share", "repost", "re-post", "retweet", "re-tweet", "forward")
_BEGINS: Final = " OR ".join(f"interaction_type ILIKE '{word}%'" for word in _SHARES)
IS_SHARE: Final = f"(event_type = 'interaction' AND ({_BEGINS}))"
MAX_SHARES: Final = 20_000
_STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


def top_cascades(engine: QueryEngine, lines: str, top: int = 10) -> list[dict[str, Any]]:
    """The content that spread furthest, largest first, each as from `cascade`."""
    if top < 1:
        return []
    rows = engine.rows(
        f"SELECT content_id, greatest(count(DISTINCT who) FILTER (WHERE is_share), "
        "coalesce(max(size), 0)) AS reach FROM (SELECT content_id, coalesce(source_id, agent_id) AS who, "
        f"{IS_SHARE} AS is_share, CASE WHEN event_type = 'cascade' THEN size END AS size FROM {lines} "
        f"WHERE event_type = 'cascade' OR {IS_SHARE}) WHERE content_id IS NOT NULL "
        f"GROUP BY content_id ORDER BY reach DESC, content_id LIMIT {int(top)}"
    )
    return _cascades_of(engine, lines, [row["content_id"] for row in rows])


def cascade(engine: QueryEngine, lines: str, content_id: str) -> dict[str, Any]:
    """Show how one piece of content spread; `lines` is from `interaction_lines`.

    Returns:
        `content_id`; `source`: `shares` if there is a tree, else `cascade events`; `root_agent_id`; `size`
        (distinct agents that shared, without the author), `depth`, `breadth` (most at one depth), `by_depth`,
        `shares` (events, repeated ones included), `seconds_to` ({number of agents: seconds until that many
        had shared}), `half_s` (until half of them had), counted from `started_at`, the time of `started_by`:
        content_generation, or the first share; `recorded`: the last `cascade` event of the content (id, size,
        depth), None without one; `tree`: dicts in order, parents first, with depth, agent_id, from, id (of
        the share), tick and after_s.

    Raises:
        InputError: nobody shared the content, and no cascade event names it.
    """
    cascades = _cascades_of(engine, lines, [content_id])
    if not cascades:
        raise InputError(
            f"no event shares {content_id!r}", remedy="agent-trace interactions lists shared content"
        )
    return cascades[0]


def _cascades_of(engine: QueryEngine, lines: str, contents: list[str]) -> list[dict[str, Any]]:
    if not contents:
        return []
    generated = {
        row["content_id"]: row
        for row in engine.rows(
            f"SELECT content_id, min(ts_us) AS ts_us, min_by(agent_id, ({BY_ORDER})) "
            f"FILTER (WHERE agent_id IS NOT NULL) AS agent_id FROM {lines} "
            "WHERE event_type = 'content_generation' AND array_contains(?, content_id) GROUP BY content_id",
            [contents],
        )
    }
    rows = engine.rows(
        f"SELECT * FROM (SELECT content_id, event_type, {BY_ORDER}, {_ID} AS id, tick, size, depth, "
        "root_agent_id, coalesce(source_id, agent_id) AS who, target_id AS from_whom, "
        f"row_number() OVER (PARTITION BY content_id ORDER BY {BY_ORDER}) AS place "
        f"FROM {lines} WHERE (event_type = 'cascade' OR {IS_SHARE}) AND array_contains(?, content_id)) "
        f"WHERE place <= {MAX_SHARES} ORDER BY {BY_ORDER}",
        [contents],
    )
    by_content: dict[str, list[dict[str, Any]]] = {name: [] for name in contents}
    for row in rows:
        by_content[row["content_id"]].append(row)
    return [_cascade(name, lines, generated.get(name)) for name, lines in by_content.items() if lines]


def _cascade(name: str, rows: list[dict[str, Any]], generated: dict[str, Any] | None) -> dict[str, Any]:
    events = [row for row in rows if row["event_type"] == "cascade"]
    shares = [row for row in rows if row["event_type"] == "interaction"]
    recorded = None
    if events:
        recorded = {key: events[-1][key] for key in ("id", "size", "depth")}
    root = next((row["root_agent_id"] for row in reversed(events) if row["root_agent_id"]), None)
    root = root or (generated["agent_id"] if generated else None)
    if not shares:
        return {
            "content_id": name,
            "source": "cascade events",
            "root_agent_id": root,
            "size": max((row["size"] or 0 for row in events), default=0),
            "depth": max((row["depth"] for row in events if row["depth"] is not None), default=None),
            **dict.fromkeys(("breadth", "by_depth", "shares")),
            "seconds_to": {},
            **dict.fromkeys(("half_s", "started_at", "started_by")),
            "recorded": recorded,
            "tree": [],
        }
    return _tree_of(name, shares, root, generated) | {"recorded": recorded}


def _tree_of(
    name: str, shares: list[dict[str, Any]], root: str | None, generated: dict[str, Any] | None
) -> dict[str, Any]:
    root = root or next((row["from_whom"] for row in shares if row["from_whom"]), None)
    began_us = generated["ts_us"] if generated else shares[0]["ts_us"]
    depths: dict[str, int] = {} if root is None else {root: 0}
    children: dict[str, list[dict[str, Any]]] = {}
    reached: list[int] = []
    for row in shares:
        who, parent = row["who"], row["from_whom"] or root
        if who is None or who in depths:
            continue  # a repeated share, or one by the author
        if parent is None:
            depths[who], parent = 1, ""
        else:
            # shared from an agent whose own share is unknown: that agent becomes another root
            depths[who] = depths.setdefault(parent, 0) + 1
        children.setdefault(parent, []).append(row)
        reached.append(row["ts_us"])
    counts = Counter(depths[row["who"]] for rows in children.values() for row in rows)
    return {
        "content_id": name,
        "source": "shares",
        "root_agent_id": root,
        "size": len(reached),
        "depth": max(counts, default=0),
        "breadth": max(counts.values(), default=0),
        "by_depth": [counts[depth] for depth in range(1, max(counts, default=0) + 1)],
        "shares": len(shares),
        "seconds_to": {n: (reached[n - 1] - began_us) / 1e6 for n in _STEPS if n <= len(reached)},
        "half_s": (reached[(len(reached) - 1) // 2] - began_us) / 1e6 if reached else None,
        "started_at": format_timestamp(began_us),
        "started_by": "content_generation" if generated else "first share",
        "tree": _flat(children, depths, began_us),
    }


def _flat(
    children: dict[str, list[dict[str, Any]]], depths: dict[str, int], began_us: int
) -> list[dict[str, Any]]:
    """The shares in tree order; with an explicit stack, since a chain can exceed the recursion limit."""
    sharers = {row["who"] for rows in children.values() for row in rows}
    roots = [name for name in children if name not in sharers]
    pending = [row for name in reversed(roots) for row in reversed(children[name])]
    tree = []
    while pending:
        row = pending.pop()
        tree.append(
            {
                "depth": depths[row["who"]],
                "agent_id": row["who"],
                "from": row["from_whom"],
                "id": row["id"],
                "tick": row["tick"],
                "after_s": (row["ts_us"] - began_us) / 1e6,
            }
        )
        pending += reversed(children.get(row["who"], []))
    return tree


MAX_EDGES: Final = 100_000

_WEIGHT: Final = "CAST(sum(weight) AS BIGINT)"
MAX_PAIRS: Final = 500_000
"""Collaborations whose groups have more pairs, the smallest groups counted first, are left out."""
_TABLES: Final = (
    "graph_groups", "graph_edges", "graph_pairs", "graph_ties", "graph_links", "graph_labels", "graph_next",
)  # fmt: skip


def social_graph(engine: QueryEngine, lines: str, *, with_edges: bool = False) -> dict[str, Any]:
    """Compute statistics of the graph of a session's agents; weights are counts of events.

    `lines` is from `interaction_lines`.

    Interactions with a target, connections, and sent messages are directed edges. A collaboration is an
    undirected edge, which counts only for neighbours and components. There is one for each two participants,
    so those of the largest groups are left out when all groups have over 500,000 pairs; their participants
    are nodes all the same, and connected in the components.

    Returns:
        `nodes`; `edges` (distinct ordered pairs, without loops); `self_edges`; `by_type`: {type: edges,
        weight}; `reciprocity` (share of the edges whose reverse exists, None without edges); `density`;
        `components` (weakly connected: `count`, `largest`, `sizes` of the ten largest); `top_connectors`
        (most neighbours first: agent_id, neighbours, out, in, and with events to itself weight_out and
        weight_in); `strongest` (pairs:
        source, target, weight, types); `collaborations` (the pairs with most collaborations);
        `collaborations_left_out` (how many have no edges); with `with_edges`, `edge_list`: the heaviest
        100,000 pairs by type.
    """
    with _tables(engine, lines):
        counts = engine.row(
            "SELECT (SELECT count(*) FROM graph_labels) AS nodes, count(*) AS edges, "
            "(SELECT count(*) FROM (SELECT DISTINCT source FROM graph_edges WHERE source = target)) AS "
            "self_edges, (SELECT count(*) FROM graph_pairs p JOIN graph_pairs r "
            "ON r.source = p.target AND r.target = p.source) AS mutual FROM graph_pairs"
        )
        nodes, edges = counts["nodes"], counts["edges"]
        graph: dict[str, Any] = {
            "nodes": nodes,
            "edges": edges,
            "self_edges": counts["self_edges"],
            "by_type": _by_type(engine),
            "reciprocity": counts["mutual"] / edges if edges else None,
            "density": edges / (nodes * (nodes - 1)) if nodes > 1 else None,
            "components": _components(engine),
            "top_connectors": _connectors(engine),
            "strongest": _strongest(engine),
            "collaborations": _collaborating_pairs(engine),
            "collaborations_left_out": _left_out(engine),
        }
        if with_edges:
            graph["edge_list"] = engine.rows(
                "SELECT source, target, type, weight FROM graph_edges "
                f"ORDER BY weight DESC, source, target, type LIMIT {MAX_EDGES}"
            )
        return graph


@contextmanager
def _tables(engine: QueryEngine, lines: str) -> Iterator[None]:
    """Create the tables of the graph: one scan fills the weighted edges, the others derive from these."""
    try:
        _derived(engine, "graph_groups", _groups(lines))
        _derived(
            engine,
            "graph_edges",
            f"SELECT source, target, type, is_mutual, {_WEIGHT} AS weight FROM ({_raw_edges(lines)}) "
            "WHERE source IS NOT NULL AND target IS NOT NULL GROUP BY source, target, type, is_mutual",
        )
        _derived(
            engine,
            "graph_pairs",
            f"SELECT source, target, {_WEIGHT} AS weight FROM graph_edges "
            "WHERE NOT is_mutual AND source <> target GROUP BY source, target",
        )
        _derived(
            engine,
            "graph_ties",
            "SELECT DISTINCT a, b FROM (SELECT source AS a, target AS b FROM graph_edges "
            "UNION ALL SELECT target, source FROM graph_edges)",
        )
        _label_components(engine)
        yield
    finally:
        for name in _TABLES:
            engine.drop_table(name)


def _derived(engine: QueryEngine, name: str, query: str) -> None:
    """Keep a table of the graph, of any size, since other tables are derived from it."""
    engine.keep(name, f"({query})", derived=True)


def _raw_edges(lines: str) -> str:
    """A query for (source, target, type, is_mutual, weight), one row per event or group, and pair."""
    return f"""
        WITH joint AS (SELECT * FROM graph_groups WHERE pairs <= {MAX_PAIRS}),
        pairs AS (SELECT one.who AS source, other.who AS target, type, one.times AS weight
            FROM joint one JOIN joint other USING (number, type) WHERE one.who < other.who)
        SELECT coalesce(source_id, agent_id) AS source, target_id AS target,
            'interaction:' || coalesce(interaction_type, '') AS type, false AS is_mutual, 1 AS weight
            FROM {lines} WHERE event_type = 'interaction'
        UNION ALL SELECT source_id, target_id, 'connection:' || coalesce(connection_type, ''), false, 1
            FROM {lines} WHERE event_type = 'connection'
        UNION ALL SELECT sender, recipient, 'message', false, 1
            FROM {lines} WHERE event_type = 'agent_message' AND direction LIKE 'sen%'
        UNION ALL SELECT source, target, type, true, weight FROM pairs"""


def _groups(lines: str) -> str:
    """A query for the participants of collaborations: (number, type, times, who, pairs).

    A group is a list of participants, of which `times` collaborations of a type have the same. `pairs` is
    the number of pairs in all groups up to this one, the smallest first.
    """
    return f"""
        WITH listed AS (SELECT 'collaboration:' || coalesce(collaboration_type, '') AS type,
            json_texts(participants) AS names FROM {lines} WHERE event_type = 'collaboration'),
        numbered AS (SELECT type, names, times, row_number() OVER (ORDER BY type, names) AS number
            FROM (SELECT type, names, count(*) AS times FROM listed GROUP BY type, names)),
        members AS (SELECT DISTINCT number, type, times, {EACH}(names) AS who FROM numbered),
        sizes AS (SELECT number, sum(n * (n - 1) / 2) OVER (ORDER BY n, number) AS pairs
            FROM (SELECT number, count(*) AS n FROM members GROUP BY number))
        SELECT number, type, times, who, pairs FROM members JOIN sizes USING (number)"""


def _left_out(engine: QueryEngine) -> int:
    """The number of collaborations that have no edges because there would be too many."""
    number: int = engine.row(
        "SELECT CAST(coalesce(sum(times), 0) AS BIGINT) AS n FROM (SELECT DISTINCT number, times "
        f"FROM graph_groups WHERE pairs > {MAX_PAIRS})"
    )["n"]
    return number


def _label_components(engine: QueryEngine) -> None:
    """Label each node with the least name in its component, by label propagation with pointer jumping.

    Participants of groups without edges are tied to the first of their group.
    """
    first = (
        "(SELECT g.who, f.first FROM graph_groups g JOIN (SELECT number, min(who) AS first FROM graph_groups "
        f"WHERE pairs > {MAX_PAIRS} GROUP BY number HAVING count(*) > 1) f USING (number))"
    )
    _derived(
        engine,
        "graph_links",
        "SELECT DISTINCT a, b FROM (SELECT a, b FROM graph_ties "
        f"UNION ALL SELECT who, first FROM {first} UNION ALL SELECT first, who FROM {first})",
    )
    _derived(
        engine, "graph_labels", "SELECT a AS node, least(a, min(b)) AS label FROM graph_links GROUP BY a"
    )
    while True:
        _derived(
            engine,
            "graph_next",
            "SELECT l.node, least(l.label, min(o.label)) AS label FROM graph_labels l "
            "JOIN graph_links t ON t.a = l.node JOIN graph_labels o ON o.node = t.b GROUP BY l.node, l.label",
        )
        changed = engine.row(
            "SELECT count(*) AS n FROM graph_next n JOIN graph_labels l USING (node) WHERE n.label <> l.label"
        )
        if not changed["n"]:
            return
        _derived(
            engine,
            "graph_labels",
            "SELECT n.node, j.label FROM graph_next n JOIN graph_next j ON j.node = n.label",
        )


def _by_type(engine: QueryEngine) -> dict[str, dict[str, int]]:
    rows = engine.rows(
        f"SELECT type, count(*) AS edges, {_WEIGHT} AS weight FROM graph_edges GROUP BY type "
        "ORDER BY weight DESC, type"
    )
    return {row.pop("type"): row for row in rows}


def _components(engine: QueryEngine) -> dict[str, Any]:
    sizes = "(SELECT label, count(*) AS n FROM graph_labels GROUP BY label)"
    components = engine.row(f"SELECT count(*) AS count, coalesce(max(n), 0) AS largest FROM {sizes}")
    largest = engine.rows(f"SELECT n FROM {sizes} ORDER BY n DESC LIMIT {TOP}")
    return components | {"sizes": [row["n"] for row in largest]}


def _connectors(engine: QueryEngine) -> list[dict[str, Any]]:
    return engine.rows(
        "WITH p AS (SELECT source, target, sum(weight) AS weight FROM graph_edges WHERE NOT is_mutual "
        "GROUP BY source, target), "
        f"o AS (SELECT source AS node, count(*) FILTER (WHERE source <> target) AS n, {_WEIGHT} AS w "
        f"FROM p GROUP BY 1), i AS (SELECT target AS node, count(*) FILTER (WHERE source <> target) AS n, "
        f"{_WEIGHT} AS w FROM p GROUP BY 1), "
        "t AS (SELECT a AS node, count(*) FILTER (WHERE a <> b) AS n FROM graph_ties GROUP BY 1) "
        'SELECT t.node AS agent_id, t.n AS neighbours, coalesce(o.n, 0) AS out, coalesce(i.n, 0) AS "in", '
        "coalesce(o.w, 0) AS weight_out, coalesce(i.w, 0) AS weight_in "
        "FROM t LEFT JOIN o USING (node) LEFT JOIN i USING (node) "
        f"ORDER BY neighbours DESC, weight_out + weight_in DESC, agent_id LIMIT {TOP}"
    )


def _strongest(engine: QueryEngine) -> list[dict[str, Any]]:
    rows = engine.rows(
        "SELECT source, target, p.weight, e.type FROM (SELECT * FROM "
        f"graph_pairs ORDER BY weight DESC, source, target LIMIT {TOP}) p JOIN graph_edges e "
        "USING (source, target) WHERE NOT e.is_mutual ORDER BY p.weight DESC, source, target, e.type"
    )
    edges: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        pair = edges.setdefault((row["source"], row["target"]), row | {"types": []})
        pair.pop("type", None)
        pair["types"].append(row["type"])
    return list(edges.values())


def _collaborating_pairs(engine: QueryEngine) -> list[dict[str, Any]]:
    return engine.rows(
        "SELECT source AS one, target AS other, CAST(sum(weight) AS BIGINT) AS times FROM graph_edges WHERE "
        f"is_mutual GROUP BY source, target ORDER BY times DESC, one, other LIMIT {TOP}"
    )


_SENT: Final = "direction LIKE 'sen%'"
_RECEIVED: Final = "direction LIKE 'rec%'"


def message_flow(engine: QueryEngine, lines: str) -> dict[str, Any]:
    """Follow the messages of a session; sending and receipt share a `message_id`.

    `lines` is from `interaction_lines`.

    Returns:
        `sent` and `received` (events); `delivered`; `never_received`; `undelivered`: those never received
        although a later message to the same agent was, so they were lost or left unread (the others may have
        been in transit at the end); `never_sent` (received without a recorded sending); `received_twice`;
        `latency_ms` from sending to the first receipt: count, mean, p50, p95, p99, max, `quantiles` (exact or
        approximate), and `negative` (receipts before the sending, if two machines' clocks differ); `slowest`,
        `oldest_undelivered` (message_id with sender, recipient, sent_at, and sent_id, the event of the
        sending); `by_agent` (most unread first: agent_id, sent, received, unread); `pairs`.
    """
    ends = (
        f"(SELECT message_id, min(ts_us) FILTER (WHERE {_SENT}) AS sent_us, "
        f"min(ts_us) FILTER (WHERE {_RECEIVED}) AS received_us, count(*) FILTER (WHERE {_SENT}) AS sent, "
        f"count(*) FILTER (WHERE {_RECEIVED}) AS received, min(sender) AS sender, "
        f"min(recipient) AS recipient FROM {lines} WHERE event_type = 'agent_message' GROUP BY message_id)"
    )
    with kept(engine, "message_ends", ends, derived=True):
        return _message_counts(engine) | {
            "latency_ms": _latency(engine),
            "slowest": _named(engine, lines, "latency_ms IS NOT NULL", "latency_ms DESC"),
            "oldest_undelivered": _named(engine, lines, "is_undelivered", "sent_us"),
            "by_agent": _by_agent(engine),
            "pairs": engine.rows(
                "SELECT sender, recipient, CAST(sum(sent) AS BIGINT) AS sent, "
                "CAST(sum(received) AS BIGINT) AS received FROM message_ends GROUP BY sender, recipient "
                f"ORDER BY sent DESC, received DESC, sender NULLS LAST, recipient NULLS LAST LIMIT {TOP}"
            ),
        }


_JUDGED: Final = """(SELECT m.*, (received_us - sent_us) / 1e3 AS latency_ms,
    coalesce(sent > 0 AND received = 0 AND sent_us < l.last_us, false) AS is_undelivered
    FROM message_ends m LEFT JOIN (SELECT recipient, max(sent_us) AS last_us FROM message_ends
    WHERE received > 0 GROUP BY recipient) l USING (recipient))"""


def _message_counts(engine: QueryEngine) -> dict[str, Any]:
    return engine.row(
        "SELECT CAST(coalesce(sum(sent), 0) AS BIGINT) AS sent, "
        "CAST(coalesce(sum(received), 0) AS BIGINT) AS received, "
        "count(*) FILTER (WHERE sent > 0 AND received > 0) AS delivered, "
        "count(*) FILTER (WHERE sent > 0 AND received = 0) AS never_received, "
        "count(*) FILTER (WHERE is_undelivered) AS undelivered, "
        "count(*) FILTER (WHERE sent = 0 AND received > 0) AS never_sent, "
        f"count(*) FILTER (WHERE received > 1) AS received_twice FROM {_JUDGED}"
    )


def _latency(engine: QueryEngine) -> dict[str, Any]:
    pairs = engine.row("SELECT count(*) AS n FROM message_ends WHERE sent > 0 AND received > 0")["n"]
    columns, quantiles = quantile_columns("latency_ms", pairs)
    latency = engine.row(
        f"SELECT {columns}, count(*) FILTER (WHERE latency_ms < 0) AS negative FROM {_JUDGED} "
        "WHERE latency_ms IS NOT NULL"
    )
    return {"count": latency.pop("measured")} | latency | {"quantiles": quantiles}


def _named(engine: QueryEngine, lines: str, which: str, order: str) -> list[dict[str, Any]]:
    rows = engine.rows(
        f"SELECT message_id, sender, recipient, NULL AS sent_id, latency_ms FROM {_JUDGED} WHERE {which} "
        f"ORDER BY {order}, message_id LIMIT {TOP}"
    )
    if not rows:
        return []
    # looked up of these only: to find the first sending of every message takes a third of all their counts
    sendings = engine.rows(
        f"SELECT message_id, min(({BY_ORDER})) AS first FROM {lines} WHERE event_type = 'agent_message' "
        f"AND {_SENT} AND (message_id IS NULL OR array_contains(?, message_id)) GROUP BY message_id",
        [[row["message_id"] for row in rows if row["message_id"] is not None] or [""]],
    )
    first = {row["message_id"]: row["first"] for row in sendings}
    for row in rows:
        sent_us, writer, seq = first.get(row["message_id"]) or (None, "", 0)
        row["sent_id"] = None if sent_us is None else f"{writer}-{seq}"
        row["sent_at"] = None if sent_us is None else format_timestamp(sent_us)
    return rows


def _by_agent(engine: QueryEngine) -> list[dict[str, Any]]:
    return engine.rows(
        "SELECT * FROM (SELECT agent_id, CAST(sum(sent) AS BIGINT) AS sent, "
        "CAST(sum(received) AS BIGINT) AS received, "
        "CAST(sum(unread) AS BIGINT) AS unread FROM ("
        "SELECT sender AS agent_id, sent, 0 AS received, 0 AS unread FROM message_ends UNION ALL "
        "SELECT recipient, 0, received, CASE WHEN sent > 0 AND received = 0 THEN 1 ELSE 0 END "
        "FROM message_ends) "
        "WHERE agent_id IS NOT NULL GROUP BY agent_id) "
        f"ORDER BY unread DESC, sent + received DESC, agent_id LIMIT {TOP}"
    )
