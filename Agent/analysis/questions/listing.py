"""The list of recorded sessions, with their counts, states and origins."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

from Agent.analysis.session import session_counts
from Agent.archive.prune import size_and_change
from Agent.archive.sealed.parts import archive_dir
from Agent.errors import DamagedInput, InputError, SessionEncrypted
from Agent.event.clock import seconds_between
from Agent.tree import layout
from Agent.tree.files.control import PAUSED, RUNNING, is_live, read_program
from Agent.tree.files.session import Lineage, is_written, lineage_within, open_session
from Agent.tree.read.reader import SUMMARY_VERSION, summarise

_LARGE_BYTES: Final = 8 * 1024 * 1024


def session_rows(root: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """One dict for each session, newest last.

    Returns:
        session_id, path, size_bytes (of all its files), started_at, ended_at, duration_s, agents, events,
        errors, lost (counts, None if it is encrypted and cannot be opened); state: `running`, `paused` (by
        hand), `closed`, `crashed`, `recovered` after a crash, or `encrypted`; problem: why the session's
        description could not be read, so that the state is a guess, or why it cannot be decrypted, else None;
        and origin: where a forked or resumed run of the session comes from, else None.
    """
    sessions = layout.readable_sessions(root)
    return [_row(ref) for ref in (sessions if limit is None else sessions[-limit:])]


def _row(ref: layout.SessionRef) -> dict[str, Any]:
    if layout.is_encrypted(ref.path):
        return _locked_row(ref)
    started_at = ended_at = recovered_at = problem = lineage = None
    try:
        info = open_session(ref.path)
        started_at, ended_at = info.started_at or None, info.ended_at
        recovered_at = info.recovered_at
        lineage = lineage_within(info)
    except InputError as error:
        # its events still exist, and show when it ran
        problem = error.message
    running = is_written(ref.path, is_ended=ended_at is not None)
    closed = ended_at is not None and not running
    counts = (_stored_counts(ref.path) if closed else None) or _counted(ref.path)
    started_at = started_at or counts["first_timestamp"]
    until = ended_at or counts["last_timestamp"]
    return {
        "session_id": ref.session_id,
        "path": str(layout.recorded_at(ref.path)),
        "size_bytes": size_on_disk(layout.recorded_at(ref.path)),
        "started_at": started_at,
        "ended_at": ended_at,
        "duration_s": _seconds(started_at, until),
        **{name: counts[name] for name in ("agents", "events", "errors", "lost")},
        "state": _state(ref.path, running, closed, recovered_at is not None),
        "problem": problem,
        "origin": None if lineage is None else origin_of(lineage),
    }


def _locked_row(ref: layout.SessionRef) -> dict[str, Any]:
    """Return the row of an encrypted session that cannot be opened: only its id and size are known."""
    problem = None
    try:
        layout.readable(ref.path)
    except SessionEncrypted:
        pass  # the state says so
    except DamagedInput as error:
        problem = error.message
    unknown = (
        "started_at",
        "ended_at",
        "duration_s",
        "agents",
        "events",
        "errors",
        "lost",
        "origin",
    )
    return {
        "session_id": ref.session_id,
        "path": str(ref.path),
        "size_bytes": size_on_disk(ref.path),
        **dict.fromkeys(unknown),
        "state": "encrypted",
        "problem": problem,
    }


def origin_of(lineage: Lineage) -> dict[str, Any]:
    """The origin of a forked or resumed run, for the lists."""
    names = ("relation", "run", "session_id", "step", "patch", "seed")
    return {name: getattr(lineage, name) for name in names}


def _state(session: Path, running: bool, closed: bool, recovered: bool) -> str:
    if running:
        program = read_program(session)
        is_paused = program is not None and program.state == PAUSED and is_live(session, program)
        return PAUSED if is_paused else RUNNING
    return "recovered" if recovered else "closed" if closed else "crashed"


def _stored_counts(session: Path) -> dict[str, Any] | None:
    """The counts in the summary that a clean end writes; None if it is missing or unreadable."""
    import orjson

    try:
        stored = orjson.loads(layout.read_file(layout.summary_file(session)))
        is_valid = stored["summary_version"] == SUMMARY_VERSION and not _lacks_files(session, stored)
        counts = _summed(stored) if is_valid else None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return None  # it is only a cache: count again
    if counts is None:
        return None
    times = counts["first_timestamp"], counts["last_timestamp"]
    numbers = [number for name, number in counts.items() if not name.endswith("_timestamp")]
    is_sound = all(type(n) is int for n in numbers) and all(isinstance(t, str | None) for t in times)
    return counts if is_sound else None


def _lacks_files(session: Path, summary: dict[str, Any]) -> bool:
    """Whether log files of agents were removed, although nothing was sealed or retired."""
    if archive_dir(session).is_dir() or layout.retired_file(session).is_file():
        return False
    names = map(layout.parse_file_name, (entry.name for entry in layout.scan(layout.agents_dir(session))))
    return len({name.stem for name in names if name is not None}) < len(summary["by_agent"])


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
    """The counts of a session without a summary; large sessions are counted with DuckDB."""
    if is_for_engine(session):
        with contextlib.suppress(DamagedInput):  # SQL cannot skip an overlong line, but the reader can
            return session_counts(session)
    return _summed(summarise(session))


def is_for_engine(session: Path) -> bool:
    """Whether counting a session's events with DuckDB is faster than decoding each line, or the only way."""
    if archive_dir(session).is_dir():
        return True
    total = 0
    for path in layout.tree_files(session):
        with contextlib.suppress(FileNotFoundError):  # rolled or removed since the listing
            total += path.lstat().st_size
    return total > _LARGE_BYTES


def size_on_disk(session: Path) -> int:
    """Return the disk usage of all files of a session, in bytes: log files, runs, the archive and caches."""
    return size_and_change(session)[0]


def _seconds(started_at: str | None, until: str | None) -> float | None:
    try:
        return seconds_between(started_at, until)
    except ValueError:  # from a damaged session.json or summary
        return None
