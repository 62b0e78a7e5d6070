"""Lines and writers for the tests of the tree."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from Agent.event.clock import format_timestamp
from Agent.event.codec import encode_event
from Agent.event.model import Event, RedactedBytes
from Agent.tree.layout import create_session_dir
from Agent.tree.write.writer import SessionWriter

SESSION_ID = "20261120_103045"
START_US = 1_795_170_645_000_000


def make_line(
    writer: str,
    seq: int,
    /,
    *,
    agent_id: str | None = "creator_001",
    kind: str = "agent_action",
    us: int | None = None,
    level: str = "INFO",
    **extra: object,
) -> RedactedBytes:
    """One line as recording would make it."""
    payload: dict[str, object] = {} if agent_id is None else {"agent_id": agent_id}
    event = Event(
        timestamp=format_timestamp(START_US + seq if us is None else us),
        id=f"{writer}-{seq}",
        schema_version=1,
        kind=kind,
        session_id=SESSION_ID,
        level=level,
        logger="agent.creator",
        message="something happened",
        extra={**payload, "event_type": kind, **extra},
    )
    return RedactedBytes(encode_event(event))


def make_session(root: Path) -> Path:
    """A session's directory without anything in it."""
    session, _ = create_session_dir(root, SESSION_ID)
    return session


class Recorder:
    """Writes events through a session writer as the room above does: number, board, line."""

    def __init__(self, sink: SessionWriter) -> None:
        self.sink = sink

    def store(self) -> Callable[[int], None]:
        return self.sink.board.thread_slot() if self.sink.board is not None else lambda seq: None

    def write(self, agent_id: str | None = "creator_001", category: str = "agents", **fields: object) -> int:
        """One event of the current time; its number, negative if it was not written."""
        seq = self.sink.next_seq()
        fields.setdefault("us", time.time_ns() // 1000)
        line = make_line(self.sink.writer, seq, agent_id=agent_id, **fields)  # type: ignore[arg-type]
        return seq if self.sink.open_stream(agent_id, category).write(line) else -seq

    def close(self) -> None:
        """Say how many there were, as a clean end does."""
        seq = self.sink.next_seq()
        line = make_line(
            self.sink.writer, seq, agent_id=None, kind="log.closed", last_seq=seq, writer=self.sink.writer
        )
        assert self.sink.open_stream(None, "system").write(line)
        self.sink.close()


def open_descriptors(below: Path | None = None) -> int:
    """How many descriptors this process has open, or only those of files in a directory."""
    held = Path("/proc/self/fd")
    if below is None:
        return len(list(held.iterdir()))
    count = 0
    for entry in held.iterdir():
        # A thread of an earlier test may close a descriptor meanwhile.
        with contextlib.suppress(FileNotFoundError):
            count += entry.readlink().is_relative_to(below)
    return count
