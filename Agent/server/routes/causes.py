"""What led to an event, as far as stored rows tell: the walk is that of `Agent.analysis`, over the database.

What was not sent cannot be walked over: without content there is no message to quote and no changed field to
name, so a reason names the kind or the class of an error instead.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from Agent.analysis.causality.chains import MAX_HOPS, chain
from Agent.analysis.causality.event_links import FilledWindow, Row, time_us
from Agent.event.clock import format_timestamp
from Agent.event.kinds import LEVEL_NAMES
from Agent.store import Project, Store

__all__ = ["causes_of"]

_TRAIL_US: Final = 60_000_000
"""How long after the event the end of a span that was open around it is looked for."""
_LAST_US: Final = 253_402_300_799_999_999
_TEXTS: Final = frozenset({"error_id", "message_id", "direction", "sender", "outcome"})
"""What the walk takes as text; a project that takes content may hold anything there."""


def causes_of(
    store: Store, project: Project, session_uid: str, event_id: str, lookback_us: int
) -> list[dict[str, Any]] | None:
    """The causes of an event, nearest first, recorded before inferred; None where the event is not stored.

    Args:
        store: is asked.
        project: whose data it is.
        session_uid: of the event.
        event_id: its id in the session.
        lookback_us: nothing further back is a cause.

    Returns:
        Rows of the store with `edge`, `hops` and `inferred_hops`, as `causality.chain` has them.
    """
    session_uid = str(uuid.UUID(session_uid))
    found = store.events_by_id(project, session_uid, [event_id])
    if not found:
        return None
    row = _row(found[0])
    at = time_us(row)
    since_us = max(0, at - lookback_us)
    links = _StoredLinks(store, project, session_uid, since_us, at)
    links.take(found)
    causes = chain(row, links, since_us=since_us)
    of_walk = ("edge", "hops", "inferred_hops")
    return [links.stored[each["id"]] | {name: each[name] for name in of_walk} for each in causes]


class _StoredLinks(FilledWindow):
    """A window over a stretch of a stored session."""

    def __init__(
        self, store: Store, project: Project, session_uid: str, since_us: int, until_us: int
    ) -> None:
        super().__init__(MAX_HOPS)
        self.stored: dict[str, dict[str, Any]] = {}
        self._store = store
        self._place = project, session_uid
        self._since_us, self._until_us = since_us, until_us

    def take(self, found: Iterable[dict[str, Any]]) -> None:
        """Takes in rows of the store."""
        rows = {each["event_id"]: each for each in found}
        self.stored = rows | self.stored
        self.add([_row(each) for each in rows.values()])

    def _ask(self, ids: set[str], around: set[str], inside: set[str]) -> None:
        if ids:
            self.take(self._store.events_by_id(*self._place, ids))
        if around or inside:
            until_us = min(self._until_us + (_TRAIL_US if around else 0), _LAST_US)
            found = self._store.events_of_spans(
                *self._place, around=around, within=inside, since_us=self._since_us, until_us=until_us
            )
            self.take(found)

    def _add_agent(self, agent_id: str) -> None:
        since_us, until_us = self._since_us, self._until_us
        found = self._store.events_of_agent(*self._place, agent_id, since_us=since_us, until_us=until_us)
        self.take(found)


def _row(stored: Mapping[str, Any]) -> Row:
    """A row of the store as the walk has events."""
    body = dict(stored["body"])
    message, state = body.pop("message", None), body.pop("state", None)
    extra = {key: value for key, value in body.items() if key not in _TEXTS or isinstance(value, str)}
    if stored["duration_ms"] is not None:
        extra["duration_ms"] = stored["duration_ms"]
    if stored["outcome"] is not None:
        extra["outcome"] = stored["outcome"]
    named = stored["name"] or stored["kind"]
    return {
        "timestamp": format_timestamp(min(max(stored["ts_us"], 0), _LAST_US)),
        "id": stored["event_id"],
        "level": LEVEL_NAMES.get(stored["severity"], "INFO"),
        "message": message if isinstance(message, str) and message else named,
        "event_type": stored["kind"],
        "agent_id": stored["agent_id"],
        "run_id": stored["run_id"],
        "span_id": stored["span_id"],
        "parent_span_id": stored["parent_span_id"],
        "causes": stored["causes"] or [],
        "extra": extra,
        "state": state if isinstance(state, dict) else None,
    }
