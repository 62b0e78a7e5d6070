"""How content spread: the tree of its shares, with size, depth, breadth and speed.

A share is an interaction whose type begins like share, repost, retweet or forward; who shared and from whom
stand in its `source_id` and `target_id`. Where only `cascade` events tell of it, there is no tree.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections import Counter
from typing import Any, Final

from Agent.analysis.query.engine import Engine
from Agent.analysis.query.event_dict import BY_ORDER
from Agent.errors import InputError
from Agent.event.clock import format_timestamp

__all__ = ["IS_SHARE", "cascade", "top_cascades"]

IS_SHARE: Final = (
    "(event_type = 'interaction' AND "
    "regexp_matches(lower(interaction_type), '^(re-?share|share|re-?post|re-?tweet|forward)'))"
)
MAX_SHARES: Final = 20_000
_STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


def top_cascades(engine: Engine, lines: str, top: int = 10) -> list[dict[str, Any]]:
    """The content that spread furthest, each as `cascade`, the largest first; of `events`."""
    if top < 1:
        return []
    rows = engine.rows(
        f"SELECT content_id, greatest(count(DISTINCT who) FILTER (WHERE is_share), "
        "coalesce(max(size), 0)) AS reach FROM (SELECT content_id, coalesce(source_id, agent_id) AS who, "
        f"{IS_SHARE} AS is_share, CASE WHEN event_type = 'cascade' THEN size END AS size FROM {lines} "
        f"WHERE event_type = 'cascade' OR {IS_SHARE}) WHERE content_id IS NOT NULL "
        f"GROUP BY content_id ORDER BY reach DESC, content_id LIMIT {int(top)}"
    )
    return _told(engine, lines, [row["content_id"] for row in rows])


def cascade(engine: Engine, lines: str, content_id: str) -> dict[str, Any]:
    """How one piece of content spread; `lines` is what `events` gives.

    Returns:
        `content_id`; `source`: `shares` where there is a tree, else `cascade events`; `root_agent_id`; `size`
        (distinct agents that shared, without the author), `depth`, `breadth` (most at one depth), `by_depth`,
        `shares` (events, repeated ones included), `seconds_to` ({number of agents: seconds until so many had
        shared}) `half_s` (until half of them had), counted from `started_at`, which is the time of
        `started_by`: content_generation, or the first share; `recorded`: what the last `cascade` event says
        of it (id, size, depth), None without one; `tree`: dicts in order, parents first, with depth,
        agent_id, id (of the share), tick and after_s.

    Raises:
        InputError: nobody shared it, and no cascade event names it.
    """
    found = _told(engine, lines, [content_id])
    if not found:
        raise InputError(
            f"no event shares {content_id!r}", remedy="agent-trace interactions lists shared content"
        )
    return found[0]


def _told(engine: Engine, lines: str, contents: list[str]) -> list[dict[str, Any]]:
    if not contents:
        return []
    made = {
        row["content_id"]: row
        for row in engine.rows(
            "SELECT content_id, min(ts_us) AS ts_us, arg_min(agent_id, ts_us) AS agent_id "
            f"FROM {lines} WHERE event_type = 'content_generation' "
            "AND list_contains($1, content_id) GROUP BY content_id",
            [contents],
        )
    }
    rows = engine.rows(
        f"SELECT content_id, event_type, {BY_ORDER}, id, tick, size, depth, root_agent_id, "
        "coalesce(source_id, agent_id) AS who, target_id AS from_whom "
        f"FROM {lines} WHERE (event_type = 'cascade' OR {IS_SHARE}) AND list_contains($1, content_id) "
        f"QUALIFY row_number() OVER (PARTITION BY content_id ORDER BY {BY_ORDER}) <= {MAX_SHARES} "
        f"ORDER BY {BY_ORDER}",
        [contents],
    )
    by_content: dict[str, list[dict[str, Any]]] = {name: [] for name in contents}
    for row in rows:
        by_content[row["content_id"]].append(row)
    return [_cascade(name, lines, made.get(name)) for name, lines in by_content.items() if lines]


def _cascade(name: str, rows: list[dict[str, Any]], made: dict[str, Any] | None) -> dict[str, Any]:
    events = [row for row in rows if row["event_type"] == "cascade"]
    shares = [row for row in rows if row["event_type"] == "interaction"]
    recorded = None
    if events:
        recorded = {key: events[-1][key] for key in ("id", "size", "depth")}
    root = next((row["root_agent_id"] for row in reversed(events) if row["root_agent_id"]), None)
    root = root or (made["agent_id"] if made else None)
    if not shares:
        return {
            "content_id": name,
            "source": "cascade events",
            "root_agent_id": root,
            "size": max((row["size"] or 0 for row in events), default=0),
            "depth": max((row["depth"] for row in events if row["depth"] is not None), default=None),
            "breadth": None,
            "by_depth": None,
            "shares": None,
            "seconds_to": {},
            "half_s": None,
            "started_at": None,
            "started_by": None,
            "recorded": recorded,
            "tree": [],
        }
    return _tree_of(name, shares, root, made) | {"recorded": recorded}


def _tree_of(
    name: str, shares: list[dict[str, Any]], root: str | None, made: dict[str, Any] | None
) -> dict[str, Any]:
    root = root or next((row["from_whom"] for row in shares if row["from_whom"]), None)
    began_us = made["ts_us"] if made else shares[0]["ts_us"]
    depths: dict[str, int] = {} if root is None else {root: 0}
    children: dict[str, list[dict[str, Any]]] = {}
    reached: list[int] = []
    for row in shares:
        who, parent = row["who"], row["from_whom"] or root
        if who is None or who in depths:
            continue  # shared before, or the author's own
        if parent is None:
            depths[who], parent = 1, ""
        else:
            # of somebody who is not known to have shared it: another beginning
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
        "started_by": "content_generation" if made else "first share",
        "tree": _flat(children, depths, began_us),
    }


def _flat(
    children: dict[str, list[dict[str, Any]]], depths: dict[str, int], began_us: int
) -> list[dict[str, Any]]:
    """The shares in order of the tree; by an own stack, since a chain may be long."""
    sharers = {row["who"] for rows in children.values() for row in rows}
    roots = [name for name in children if name not in sharers]
    pending = [row for name in reversed(roots) for row in reversed(children[name])]
    told = []
    while pending:
        row = pending.pop()
        told.append(
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
    return told
