"""What the page about a session shows, asked once; `html_sections` puts it into words and plots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from Agent.errors import EventNotFound
from Agent.event.ids import split_event_id

__all__ = ["Facts", "SessionQuestions", "gather"]

BUCKETS: Final = 96
EXAMPLES: Final = 12
CHAINS: Final = 4
_LOOKBACK_S: Final = 60.0


class SessionQuestions(Protocol):
    """What the page asks of a session: `LogAnalyzer` is one."""

    def session_summary(self) -> dict[str, Any]:
        """The session in one dict."""

    def timeline(self, buckets: int = ...) -> dict[str, Any]:
        """How much happened when."""

    def find_causality_chain(self, event: str, lookback_seconds: float = ...) -> list[dict[str, Any]]:
        """What led to an event."""

    def sql(self, query: str) -> Iterable[Mapping[str, Any]]:
        """The answer to a query."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One session, as the page needs it."""

    summary: Mapping[str, Any]
    timeline: Mapping[str, Any]
    tracebacks: Mapping[str, str]
    """By the id of the error."""
    chains: Mapping[str, list[dict[str, Any]]]
    """What led to an error, nearest first, by its id."""


def gather(asked: SessionQuestions) -> Facts:
    """Ask a session everything."""
    summary = asked.session_summary()
    examples = [row["example_id"] for row in summary["errors"]["fingerprints"] if row.get("example_id")]
    chains = {}
    for event_id in examples[:CHAINS]:
        try:
            chains[event_id] = asked.find_causality_chain(event_id, _LOOKBACK_S)
        except EventNotFound:
            continue  # retention took the event meanwhile
    return Facts(summary, asked.timeline(BUCKETS), _tracebacks(asked, examples[:EXAMPLES]), chains)


def _tracebacks(asked: SessionQuestions, event_ids: list[str]) -> dict[str, str]:
    if not event_ids:
        return {}
    places = [split_event_id(event_id) for event_id in event_ids]
    # checked by the splitting: a writer is eight characters, of which a quote could be one
    listed = " OR ".join(
        f"(writer = '{writer.replace(chr(39), chr(39) * 2)}' AND seq = {seq})" for writer, seq in places
    )
    query = f"SELECT id, extra->>'$.traceback' AS text FROM events WHERE {listed}"  # noqa: S608
    return {row["id"]: row["text"] for row in asked.sql(query) if row["text"]}
