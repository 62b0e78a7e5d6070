"""The way of one agent through a session, event by event; read from that agent's files alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from Agent.analysis.query.event_dict import event_row
from Agent.analysis.session.lookup import agent_events
from Agent.analysis.stats.distribution import number
from Agent.event.clock import format_timestamp
from Agent.event.model import Event
from Agent.event.ordering.span_tree import Forest, Node, build_forest
from Agent.tree.read.reader import TreeReader

MAX_TREE_EVENTS: Final = 100_000
_LONGEST_MS: Final = 1e12


def agent_journey(reader: TreeReader, agent_id: str, *, nested: bool = False) -> list[dict[str, Any]]:
    """Every event of one agent, each with its depth among the agent's own spans.

    A span is written when it ends, so in order of time (the default) it stands behind what happened in it.

    Args:
        reader: of the session.
        agent_id: whose journey.
        nested: order by beginnings instead, each span before what happened in it; `started_at` never
            decreases.

    Returns:
        Event dicts (`rows.event_row`) with `depth`, `duration_ms` and `started_at` besides.

    Raises:
        AgentNotFound: the session knows no such agent.
    """
    events = list(agent_events(reader, agent_id))
    depths = span_depths(events)
    steps = [_step(event, depths) for event in events]
    if nested:
        places = {id(step): place for place, step in enumerate(steps)}
        # What a span holds can begin in the same microsecond; the span is then told first.
        steps.sort(key=lambda step: (step["started_at"], step["depth"], places[id(step)]))
    return steps


def _step(event: Event, depths: dict[str, int]) -> dict[str, Any]:
    duration_ms = number(event.extra.get("duration_ms"))
    started = _started(event, duration_ms)
    if event.span_id is not None:
        depth = depths[event.span_id]
    else:
        depth = depths[event.parent_span_id] + 1 if event.parent_span_id in depths else 0
    return event_row(event) | {"depth": depth, "duration_ms": duration_ms, "started_at": started}


def _started(event: Event, duration_ms: float | None) -> str:
    if event.span_id is None or duration_ms is None or not 0 <= duration_ms < _LONGEST_MS:
        return event.timestamp
    return format_timestamp(event.timestamp_us - round(duration_ms * 1000))


def span_depths(events: Sequence[Event]) -> dict[str, int]:
    """How many known spans enclose each span of some events, by span id."""
    parents = {event.span_id: event.parent_span_id for event in events if event.span_id is not None}
    depths: dict[str, int] = {}
    for span in parents:
        path: list[str] = []
        walk: str | None = span
        while walk in parents and walk not in depths and walk not in path:
            path.append(walk)
            walk = parents[walk]
        depth = depths[walk] + 1 if walk in depths else 0
        for known in reversed(path):
            depths[known] = depth
            depth += 1
    return depths


def journey_tree(
    reader: TreeReader, agent_id: str, most: int = MAX_TREE_EVENTS
) -> tuple[list[dict[str, Any]], int]:
    """One agent's events as the tree of its spans, parents before children; and how many were left out.

    Returns:
        Nodes with `depth`, `id`, `span_id`, `event_type`, `name`, `timestamp`, `started_at`, `duration_ms`,
        `self_ms` (what its own children do not account for, at least 0), `tick`, `level`, `outcome`,
        `message`, `children` (how many), `inside` (of an outermost one: the span around it that is none of
        this agent's), and `mark`: None, `open` (begun and not ended), duplicate or cycle
        (`event.forest.Mark`). Of more than `most` events the last are taken.

    Raises:
        AgentNotFound: the session knows no such agent.
    """
    seen = 0
    kept: deque[Event] = deque(maxlen=most)
    for event in agent_events(reader, agent_id):
        seen += 1
        kept.append(event)
    open_spans = {span.span_id: span.name for span in reader.in_flight()}
    return tree_rows(build_forest(kept), open_spans), seen - len(kept)


def tree_rows(forest: Forest, open_spans: dict[str, str]) -> list[dict[str, Any]]:
    """The nodes of a forest as dicts, parents before children."""
    rows: list[dict[str, Any]] = []
    inside: str | None = None
    for depth, node in forest.walk():
        if depth == 0:
            # A span of another agent, or of none, is no step of this journey; what it holds stands outermost.
            is_elsewhere = node.unfinished and node.span_id not in open_spans
            inside = node.span_id if is_elsewhere else None
            if is_elsewhere:
                continue
        level = depth if inside is None else depth - 1
        rows.append(_node(level, node, open_spans) | {"inside": inside if level == 0 else None})
    return rows


def _node(depth: int, node: Node, open_spans: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"depth": depth, "id": None, "span_id": node.span_id} | dict.fromkeys(_OF_EVENT)
    row |= {"children": len(node.children), "mark": None if node.mark is None else node.mark.value}
    event = node.event
    if event is None:
        return row | {"name": open_spans.get(node.span_id or ""), "mark": "open"}
    duration_ms = number(event.extra.get("duration_ms"))
    self_ms = None
    if event.span_id is not None and duration_ms is not None:
        inner = (child.event for child in node.children if child.event is not None and child.span_id)
        self_ms = max(0.0, duration_ms - sum(number(each.extra.get("duration_ms")) or 0.0 for each in inner))
    return row | {
        "id": event.id,
        "event_type": event.kind,
        "name": event_name(event),
        "timestamp": event.timestamp,
        "started_at": _started(event, duration_ms),
        "duration_ms": duration_ms,
        "self_ms": self_ms,
        "tick": event.tick,
        "level": event.level,
        "outcome": event.extra.get("outcome"),
        "message": event.message,
    }


_OF_EVENT: Final = (
    "event_type", "name", "timestamp", "started_at", "duration_ms", "self_ms", "tick", "level", "outcome",
    "message",
)  # fmt: skip
_NAMES: Final = (
    "action_type", "metric_name", "context", "learning_stage", "decision_type", "interaction_type",
    "error_type", "content_type", "strategy_type", "operation", "name",
)  # fmt: skip


def event_name(event: Event) -> str:
    """What an event is about, in a word: its action, metric, stage ..., else its kind."""
    found = (event.extra.get(key) for key in _NAMES)
    return next((str(value) for value in found if value), event.kind)
