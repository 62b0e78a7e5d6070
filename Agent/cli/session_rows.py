"""What `sessions` shows of each session: from its description and summary, counted where it has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Agent.errors import InputError
from Agent.event.clock import parse_timestamp
from Agent.tree.claim import read_claims
from Agent.tree.layout import SessionRef, list_sessions, summary_file
from Agent.tree.session import open_session
from Agent.tree.summary import summarise

__all__ = ["session_rows"]


def session_rows(root: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """One dict a session, newest last.

    Returns:
        session_id, path, started_at, ended_at, duration_s, agents, events, errors, lost (counts), and state:
        `running`, `closed`, `crashed`, or `recovered` where somebody finished it after that.
    """
    found = list_sessions(root)
    return [_row(ref) for ref in (found if limit is None else found[-limit:])]


def _row(ref: SessionRef) -> dict[str, Any]:
    started_at = ended_at = recovered_at = None
    try:
        info = open_session(ref.path)
        started_at, ended_at = info.started_at or None, info.ended_at
        recovered_at = info.recovered_at
    except InputError:
        pass  # its events are there all the same, and say when it was
    running = any(claim.is_alive() for claim in read_claims(ref.path).values())
    closed = ended_at is not None and not running
    summary = _stored_summary(ref.path) if closed else None
    if summary is None:
        summary = summarise(ref.path)
    started_at = started_at or summary["first_timestamp"]
    until = ended_at or summary["last_timestamp"]
    return {
        "session_id": ref.session_id,
        "path": str(ref.path),
        "started_at": started_at,
        "ended_at": ended_at,
        "duration_s": _seconds(started_at, until),
        "agents": len(summary["by_agent"]),
        "events": summary["events"],
        "errors": summary["errors"]["count"],
        "lost": summary["losses"]["lost"],
        "state": _state(running, closed, recovered_at is not None),
    }


def _state(running: bool, closed: bool, recovered: bool) -> str:
    if running:
        return "running"
    return "recovered" if recovered else "closed" if closed else "crashed"


def _stored_summary(session: Path) -> dict[str, Any] | None:
    """The summary that a clean end left, None where there is none that can be read."""
    import orjson

    from Agent.tree.summary import SUMMARY_VERSION

    try:
        stored = orjson.loads(summary_file(session).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    known = isinstance(stored, dict) and stored.get("summary_version") == SUMMARY_VERSION
    return stored if known else None


def _seconds(started_at: str | None, until: str | None) -> float | None:
    if started_at is None or until is None:
        return None
    return (parse_timestamp(until) - parse_timestamp(started_at)) / 1_000_000
