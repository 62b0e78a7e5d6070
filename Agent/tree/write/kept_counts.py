"""What a process counted of its own events while it wrote them, so that a session's end reads no line again.

Each process leaves a file `.state/counts/<writer>.json` when it closes its writers. `summary` takes the files
at the end of the session and removes them; they are caches: where one is missing, the lines of its writer are
read.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.event.model import Event
from Agent.tree.files.lines import first_id
from Agent.tree.files.session import replacing
from Agent.tree.layout import DIRECTORY_MODE, entries_in, read_file, retired_file, tree_files

MOST_ERRORS: Final = 100
"""How many errors of a session are shown by its summary."""
_VERSION: Final = 1


@dataclass(slots=True)
class KeptCounts:
    """Counts of events that were seen one by one, or counted elsewhere."""

    writers: dict[str, int] = field(default_factory=dict)
    """Writer to its last number, where all of its numbers stand in files."""
    rows: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    """(kind, level, agent id) to the number of events."""
    first: str | None = None
    """The earliest timestamp."""
    last: str | None = None
    error_types: Counter[str] = field(default_factory=Counter)
    errors: list[dict[str, Any]] = field(default_factory=list)
    """The earliest errors, as the summary shows them, `MOST_ERRORS` at most of each process."""

    def see(self, event: Event) -> None:
        """Count one event."""
        self.rows[event.kind, event.level, event.agent_id] += 1
        self.reach(event.timestamp, event.timestamp)

    def reach(self, *timestamps: str | None) -> None:
        """Take note of when some events were."""
        self.first = min(filter(None, (self.first, *timestamps)), default=None)
        self.last = max(filter(None, (self.last, *timestamps)), default=None)

    def add(self, other: KeptCounts) -> None:
        """Take in the counts of another process."""
        self.writers.update(other.writers)
        self.rows.update(other.rows)
        self.error_types.update(other.error_types)
        self.errors += other.errors
        self.reach(other.first, other.last)

    def by(self, place: int) -> Counter[str]:
        """How many events there were by kind (0), by level (1) or by agent (2), without those of none."""
        found: Counter[str] = Counter()
        for row, number in self.rows.items():
            if (name := row[place]) is not None:
                found[name] += number
        return found


def shown_error(timestamp: str, event_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What a summary shows of an error."""
    agent_id = extra.get("agent_id")
    return {
        "timestamp": timestamp,
        "id": event_id,
        "agent_id": agent_id if isinstance(agent_id, str) else None,
        "error_type": extra.get("error_type"),
        "error_message": extra.get("error_message"),
    }


def keep_counts(session: Path, counts: KeptCounts) -> None:
    """Leave the counts of a process that has closed its writers; without an error, since they are a cache."""
    if not counts.writers:
        return
    directory = _counts_dir(session)
    data = {
        "version": _VERSION,
        "writers": counts.writers,
        "rows": [[*key, number] for key, number in counts.rows.items()],
        "first": counts.first,
        "last": counts.last,
        "error_types": counts.error_types,
        "errors": counts.errors,
    }
    with contextlib.suppress(OSError):  # a cache: without it lines are counted again
        directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        with replacing(directory / f"{min(counts.writers)}.json", sync=False) as file:
            file.write(orjson.dumps(data))


def read_counts(session: Path) -> KeptCounts:
    """The counts that hold for the files as they stand; none where retention or sealing changed them."""
    found = KeptCounts()
    try:
        paths = entries_in(_counts_dir(session), ".json")
    except OSError:
        return found
    if os.path.lexists(retired_file(session)) or (session / "archive").is_dir():
        return found
    for path in paths:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # what it lacks is counted again
            found.add(_from_object(orjson.loads(read_file(path))))
    return found


def _from_object(stored: Any) -> KeptCounts:
    if stored["version"] != _VERSION:
        raise ValueError("of another version")
    return KeptCounts(
        writers=dict(stored["writers"]),
        rows=Counter({(kind, level, agent_id): number for kind, level, agent_id, number in stored["rows"]}),
        first=stored["first"],
        last=stored["last"],
        error_types=Counter(stored["error_types"]),
        errors=list(stored["errors"]),
    )


def files_of_others(session: Path, writers: Collection[str]) -> list[Path] | None:
    """The files that none of these writers made; None where a file does not say whose it is."""
    found = []
    for path in tree_files(session):
        begins_with = first_id(path)
        if begins_with is None:
            if _is_empty(path):
                continue
            return None
        if begins_with.partition("-")[0] not in writers:
            found.append(path)
    return found


def _is_empty(path: Path) -> bool:
    try:
        return path.lstat().st_size == 0
    except OSError:
        return False


def forget_counts(session: Path) -> None:
    """Remove the files: what they say stands in the summary, or no longer holds."""
    with contextlib.suppress(OSError):
        for path in entries_in(_counts_dir(session)):
            with contextlib.suppress(OSError):  # the others go all the same
                path.unlink()
        _counts_dir(session).rmdir()


def _counts_dir(session: Path) -> Path:
    return session / ".state" / "counts"
