"""What a contender is: how it is opened, what a call of it is, where its lines are and which is which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AGENT_ID = "creator_001"
AGENT_ROLE = "creator"
ACTION = "create_content"
LOGGER = "agents"
MESSAGE = f"Agent action: {ACTION}"

Identity = tuple[int, int]
"""(worker, number): which event a line holds."""


def fields(worker: int, number: int) -> dict[str, Any]:
    """The four fields of an event; everybody writes the same."""
    return {"content_type": "video", "topic": "AI", "worker": worker, "number": number}


def identity_of(payload: Mapping[str, Any]) -> Identity:
    return payload["worker"], payload["number"]


def of_action_data(line: Mapping[str, Any]) -> list[Identity]:
    """The identity in a flat line that has the fields under `action_data`."""
    return [identity_of(line["action_data"])]


@dataclass(frozen=True)
class Place:
    """Where one run writes, and at which size a file is rotated, the same for everybody."""

    directory: Path
    size_bytes: int
    backups: int
    label: str = ""
    """Tells the processes of a run apart, for those that write a file each."""


@dataclass(frozen=True)
class Opened:
    """A contender at work in one process."""

    call: Callable[..., object]
    """Of an event: `call(fields)`. Of a decorated method: `call(topic, budget)`."""
    settle: Callable[[], object] = lambda: None
    """Returns when everything that was called before is with the kernel."""
    close: Callable[[], object] = lambda: None
    lost: Callable[[], int] = lambda: 0
    """What it says itself that it lost."""
    lost_copies: Callable[[], int] = lambda: 0
    """The same of its copies."""


def _nothing(place: Place) -> None:
    return None


@dataclass(frozen=True)
class Contender:
    """One way to record.

    Args:
        packages: what must be installed, as PyPI calls it.
        how: the configuration, as the table prints it.
        open: `open(place, inherited)`, in the process that records.
        grown: the files in which its events stand.
        identities: the identities of the events in a parsed line; None where lines are not told apart.
        lead: what the parent of several recording processes does first; the result goes to each of them.
        copies: further files that hold every event, as caches.
    """

    packages: tuple[str, ...]
    how: str
    open: Callable[[Place, Any], Opened]
    grown: Callable[[Path], list[Path]]
    identities: Callable[[dict[str, Any]], Iterable[Identity]] | None = None
    lead: Callable[[Place], Any] = _nothing
    copies: Callable[[Path], list[Path]] | None = None
    tail_events: int = 1_000_000
    """How many single calls are timed; fewer where a call takes long."""
    rotates: bool = True


def files(pattern: str) -> Callable[[Path], list[Path]]:
    """The files of a directory that match."""
    return lambda directory: sorted(path for path in directory.glob(pattern) if path.is_file())
