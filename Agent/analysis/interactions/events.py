"""What happened between agents, read once for all who ask: counts, the graph, cascades, messages."""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from Agent.analysis.query.engine import Engine
from Agent.analysis.query.event_dict import BY_ORDER
from Agent.analysis.query.temp_tables import kept
from Agent.analysis.query.views import scan

__all__ = ["interaction_lines"]

_KINDS: Final = (
    "interaction", "connection", "cascade", "collaboration", "agent_message", "content_generation",
)  # fmt: skip
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
