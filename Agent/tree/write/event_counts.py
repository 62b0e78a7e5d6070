"""A process's counts of its own events, so that the summary need not read their lines again.

Each process writes `.state/counts/<writer>.json` when it closes its writers. The summary reads the files at
the end of the session and removes them. They are caches: if one is missing, its writer's lines are read.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.event.model import Event
from Agent.tree.files.lines import first_id
from Agent.tree.files.session import replacing
from Agent.tree.layout import entries_in, make_private, read_file, retired_file, tree_files

MOST_ERRORS: Final = 100
"""Maximum number of errors in a session's summary."""
_VERSION: Final = 1


@dataclass(slots=True)
class EventCounts:
    """Counts of events, from single events or from other counts."""

    writers: dict[str, int] = field(default_factory=dict)
    """Writer to its last number, for writers all of whose numbers are in files."""
    rows: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    """(kind, level, agent id) to the number of events."""
    first: str | None = None
    """The earliest timestamp."""
    last: str | None = None
    error_types: Counter[str] = field(default_factory=Counter)
    errors: list[dict[str, Any]] = field(default_factory=list)
    """The earliest errors in the form of the summary, at most `MOST_ERRORS` per process."""

    def see(self, event: Event) -> None:
        """Count one event."""
        self.rows[event.kind, event.level, event.agent_id] += 1
        self.reach(event.timestamp, event.timestamp)

    def reach(self, *timestamps: str | None) -> None:
        """Extend the time range by some timestamps."""
        self.first = min(filter(None, (self.first, *timestamps)), default=None)
        self.last = max(filter(None, (self.last, *timestamps)), default=None)

    def add(self, other: EventCounts) -> None:
        """Add the counts of another process."""
        self.writers.update(other.writers)
        self.rows.update(other.rows)
        self.error_types.update(other.error_types)
        self.errors += other.errors
        self.reach(other.first, other.last)

    def by(self, index: int) -> Counter[str]:
        """Count events by kind (0), level (1) or agent (2); events without an agent are left out of (2)."""
        counts: Counter[str] = Counter()
        for row, number in self.rows.items():
            if (name := row[index]) is not None:
                counts[name] += number
        return counts


def shown_error(timestamp: str, event_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return an error in the form of the summary."""
    agent_id = extra.get("agent_id")
    return {
        "timestamp": timestamp,
        "id": event_id,
        "agent_id": agent_id if isinstance(agent_id, str) else None,
        "error_type": extra.get("error_type"),
        "error_message": extra.get("error_message"),
    }


def save_counts(session: Path, counts: EventCounts) -> None:
    """Save the counts of a process that has closed its writers; errors are ignored, as it is a cache."""
    if not counts.writers:
        return
    directory = _counts_dir(session)
    data = {"version": _VERSION} | {each.name: getattr(counts, each.name) for each in fields(counts)}
    data["rows"] = [[*key, number] for key, number in counts.rows.items()]
    with contextlib.suppress(OSError):  # without this cache the lines are counted again
        make_private(directory, exist_ok=True)
        with replacing(directory / f"{min(counts.writers)}.json", sync=False) as file:
            file.write(orjson.dumps(data))


def read_counts(session: Path) -> EventCounts:
    """Read the counts that match the current files; empty after retention or sealing changed the files."""
    counts = EventCounts()
    try:
        paths = entries_in(_counts_dir(session), ".json")
    except OSError:
        return counts
    if os.path.lexists(retired_file(session)) or (session / "archive").is_dir():
        return counts
    for path in paths:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # if damaged, count lines again
            counts.add(_from_object(orjson.loads(read_file(path))))
    return counts


def _from_object(stored: Any) -> EventCounts:
    if stored["version"] != _VERSION:
        raise ValueError("of another version")
    return EventCounts(
        writers=dict(stored["writers"]),
        rows=Counter({(kind, level, agent_id): number for kind, level, agent_id, number in stored["rows"]}),
        first=stored["first"],
        last=stored["last"],
        error_types=Counter(stored["error_types"]),
        errors=list(stored["errors"]),
    )


def files_of_others(session: Path, writers: Collection[str]) -> list[Path] | None:
    """Return the files of other writers; None if the writer of some file is unknown."""
    files = []
    for path in tree_files(session):
        begins_with = first_id(path)
        if begins_with is None:
            if _is_empty(path):
                continue
            return None
        if begins_with.partition("-")[0] not in writers:
            files.append(path)
    return files


def _is_empty(path: Path) -> bool:
    try:
        return path.lstat().st_size == 0
    except OSError:
        return False


def forget_counts(session: Path) -> None:
    """Remove the count files: the summary contains them, or they are outdated."""
    with contextlib.suppress(OSError):
        for path in entries_in(_counts_dir(session)):
            with contextlib.suppress(OSError):  # still remove the others
                path.unlink()
        _counts_dir(session).rmdir()


def _counts_dir(session: Path) -> Path:
    return session / ".state" / "counts"
