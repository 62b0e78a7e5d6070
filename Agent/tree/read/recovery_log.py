"""What was found out about a crashed session: it stands in the place of its writers' boards from then on.

`Agent.archive.maintenance.recover` writes it; `losses` and `reader.in_flight` read it where a board is gone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.tree.files.session import read_stored, replace_durably
from Agent.tree.layout import recovered_file
from Agent.tree.write.crash_board import BoardSpan

__all__ = ["RECOVERY_VERSION", "RecoveredWriter", "Recovery", "TornTail", "read_recovery", "write_recovery"]

RECOVERY_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class TornTail:
    """The unfinished end of a file: it stays where it is, and a newline was put behind it."""

    file: str
    line_number: int
    offset: int
    size_bytes: int
    writer: str | None


@dataclass(frozen=True, slots=True)
class RecoveredWriter:
    """The account of a writer that was killed: `gaps` are (first, last, verdict) of what was not there then.

    Whatever else up to `last_seq` is missing later was there, and was lost since.
    """

    last_seq: int
    gaps: tuple[tuple[int, int, str], ...] = ()
    open_spans: tuple[BoardSpan, ...] = ()


@dataclass(slots=True)
class Recovery:
    """What recovering a session came to so far."""

    recovered_at: str | None = None
    writers: dict[str, RecoveredWriter] = field(default_factory=dict)
    torn_tails: list[TornTail] = field(default_factory=list)

    def tells_of(self, file: str, line_number: int) -> bool:
        """Whether a damaged line is a torn tail that was found then."""
        return any(tail.file == file and tail.line_number == line_number for tail in self.torn_tails)


def read_recovery(session: Path) -> Recovery:
    """What was found out; an empty one where the session was never recovered.

    Raises:
        DamagedInput: it is there and cannot be read.
    """
    remedy = "without it the losses of its writers are unknown"
    found = read_stored(recovered_file(session), _from_object, "the account of a recovery", remedy)
    return found or Recovery()


def write_recovery(session: Path, recovery: Recovery) -> None:
    """Put it in place, on the disk itself; OSError if that is refused."""
    stored: dict[str, Any] = {
        "version": RECOVERY_VERSION,
        "recovered_at": recovery.recovered_at,
        "writers": {
            writer: {
                "last_seq": account.last_seq,
                "gaps": account.gaps,
                "open_spans": [asdict(span) for span in account.open_spans],
            }
            for writer, account in sorted(recovery.writers.items())
        },
        "torn_tails": [asdict(tail) for tail in recovery.torn_tails],
    }
    replace_durably(
        recovered_file(session), orjson.dumps(stored, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


def _from_object(stored: Any) -> Recovery:
    if stored["version"] != RECOVERY_VERSION:
        raise ValueError(f"it is of version {stored['version']!r}")
    return Recovery(
        recovered_at=stored["recovered_at"],
        writers={
            writer: RecoveredWriter(
                int(account["last_seq"]),
                tuple((int(first), int(last), str(verdict)) for first, last, verdict in account["gaps"]),
                tuple(BoardSpan(**span) for span in account["open_spans"]),
            )
            for writer, account in stored["writers"].items()
        },
        torn_tails=[TornTail(**tail) for tail in stored["torn_tails"]],
    )
