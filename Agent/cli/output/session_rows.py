"""What `sessions` shows of each session: from its description and summary, counted where it has none."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

from Agent.archive.sealed.parts import archive_dir
from Agent.errors import InputError
from Agent.event.clock import parse_timestamp
from Agent.tree.files.run_lineage import Lineage, lineage_within
from Agent.tree.files.session import open_session
from Agent.tree.files.writer_claim import read_claims
from Agent.tree.layout import SessionRef, list_sessions, summary_file, tree_files
from Agent.tree.read.summary import summarise

__all__ = ["session_rows"]

_LARGE_BYTES: Final = 8 * 1024 * 1024


def session_rows(root: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """One dict a session, newest last.

    Returns:
        session_id, path, started_at, ended_at, duration_s, agents, events, errors, lost (counts), state:
        `running`, `closed`, `crashed`, or `recovered` where somebody finished it after that; and problem: why
        the session's description could not be read, so that state is a guess; else None; and origin: what a
        forked or resumed run in it comes from, else None.
    """
    found = list_sessions(root)
    return [_row(ref) for ref in (found if limit is None else found[-limit:])]


def _row(ref: SessionRef) -> dict[str, Any]:
    started_at = ended_at = recovered_at = problem = lineage = None
    try:
        info = open_session(ref.path)
        started_at, ended_at = info.started_at or None, info.ended_at
        recovered_at = info.recovered_at
        lineage = lineage_within(info)
    except InputError as error:
        # its events are there all the same, and say when it was
        problem = error.message
    running = any(claim.is_alive() for claim in read_claims(ref.path).values())
    closed = ended_at is not None and not running
    summary = _stored_summary(ref.path) if closed else None
    counts = _counted(ref.path) if summary is None else _summed(summary)
    started_at = started_at or counts["first_timestamp"]
    until = ended_at or counts["last_timestamp"]
    return {
        "session_id": ref.session_id,
        "path": str(ref.path),
        "started_at": started_at,
        "ended_at": ended_at,
        "duration_s": _seconds(started_at, until),
        "agents": counts["agents"],
        "events": counts["events"],
        "errors": counts["errors"],
        "lost": counts["lost"],
        "state": _state(running, closed, recovered_at is not None),
        "problem": problem,
        "origin": None if lineage is None else origin_of(lineage),
    }


def origin_of(lineage: Lineage) -> dict[str, Any]:
    """What a forked or resumed run comes from, as the lists show it."""
    names = ("relation", "run", "session_id", "step", "patch", "seed")
    return {name: getattr(lineage, name) for name in names}


def _state(running: bool, closed: bool, recovered: bool) -> str:
    if running:
        return "running"
    return "recovered" if recovered else "closed" if closed else "crashed"


def _stored_summary(session: Path) -> dict[str, Any] | None:
    """The summary that a clean end left, None if there is none that can be read."""
    import orjson

    from Agent.tree.read.summary import SUMMARY_VERSION

    try:
        stored = orjson.loads(summary_file(session).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None  # it is a cache: what it would say is counted again
    if not isinstance(stored, dict) or stored.get("summary_version") != SUMMARY_VERSION:
        return None
    try:
        counts = _summed(stored)
    except (KeyError, TypeError):
        return None
    times = (counts.pop("first_timestamp"), counts.pop("last_timestamp"))
    is_sound = all(type(n) is int for n in counts.values()) and all(isinstance(t, str | None) for t in times)
    return stored if is_sound else None


def _summed(summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "agents": len(summary["by_agent"]),
        "events": summary["events"],
        "errors": summary["errors"]["count"],
        "lost": summary["losses"]["lost"],
        "first_timestamp": summary["first_timestamp"],
        "last_timestamp": summary["last_timestamp"],
    }


def _counted(session: Path) -> dict[str, Any]:
    """The same of a session without a summary; for a large one the engine is worth its loading."""
    if archive_dir(session).is_dir() or _size_bytes(session) > _LARGE_BYTES:
        from Agent.analysis.session import session_counts

        return session_counts(session)
    return _summed(summarise(session))


def _size_bytes(session: Path) -> int:
    total = 0
    for path in tree_files(session):
        with contextlib.suppress(FileNotFoundError):  # rolled or removed since it was listed
            total += path.lstat().st_size
    return total


def _seconds(started_at: str | None, until: str | None) -> float | None:
    if started_at is None or until is None:
        return None
    try:
        return (parse_timestamp(until) - parse_timestamp(started_at)) / 1_000_000
    except ValueError:  # in a damaged session.json, or a damaged summary
        return None
