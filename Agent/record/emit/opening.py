"""Where pipelines are made: for a session's files, or for lines that reach no tree, as in replays."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from Agent.event.clock import Clock
from Agent.event.model import RedactedBytes
from Agent.record.emit.pipeline import MirrorSink, Pipeline, RecordOptions
from Agent.record.encode.redaction import Redactor

if TYPE_CHECKING:
    from Agent.tree.write.sink import Sink
    from Agent.tree.write.writer import SessionWriter

__all__ = ["LineSink", "options_of_replay", "record_lines", "record_session"]

SESSION = "session_"


class LineSink:
    """Takes the lines of one pipeline; `lines` holds those since the last `clear()`.

    Args:
        writer: as whom it numbers events.
    """

    def __init__(self, writer: str) -> None:
        self.writer = writer
        self.lines: list[bytes] = []
        self.next_seq = itertools.count(1).__next__

    def open_stream(self, agent_id: str | None, category: str) -> LineSink:  # noqa: ARG002 - one for all
        """This sink is its own only stream."""
        return self

    def write(self, line: RedactedBytes) -> bool:
        """Keep a line."""
        self.lines.append(line)
        return True

    def clear(self) -> None:
        """Forget what was written so far."""
        self.lines.clear()

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self, *, clean: bool = True) -> None:
        """Nothing is open."""


class UnkeptLines(LineSink):
    """Takes lines and keeps none.

    Args:
        writer: as whom it numbers events; an id of a writer where lines are read again.
        hear: hears each.
    """

    def __init__(self, writer: str, hear: Callable[[bytes], None] = lambda _line: None) -> None:
        super().__init__(writer)
        self._hear = hear

    def write(self, line: RedactedBytes) -> bool:
        """Let a line be heard and forget it."""
        self._hear(line)
        return True


def options_of_replay(state: object, *, gone_states: bool = False) -> RecordOptions:
    """How a replay records: what was written from outside is in the recording, so it looks for nothing.

    Args:
        state: the session's setting, `strict` or `exit`.
        gone_states: write the last state of agents that are gone.
    """
    return RecordOptions(strict_state=state == "strict", entry_looks=0, probes=0, gone_states=gone_states)


def record_session(
    session: Path,
    writer: SessionWriter,
    redactor: Redactor,
    options: RecordOptions,
    *,
    sink: Sink | None = None,
    mirrors: MirrorSink | None = None,
    open_buffered: Callable[[], Sink] | None = None,
) -> Pipeline:
    """The pipeline of a session's directory: its files, its board, its artifacts.

    Args:
        writer: of its files.
        sink: stands before the writer, where anything does.
        mirrors: see `Pipeline`, as `open_buffered`.
    """
    from Agent.tree.write.artifacts import ArtifactFiles

    return Pipeline(
        writer if sink is None else sink,
        session_id=session.name.removeprefix(SESSION),
        redactor=redactor,
        options=options,
        mirrors=mirrors,
        board=writer.board,
        open_buffered=open_buffered,
        artifacts=ArtifactFiles(session, sync=writer.durability == "disk"),
    )


def record_lines(
    sink: Sink,
    session_id: str,
    *,
    redact: bool = True,
    key: bytes | None = None,
    options: RecordOptions | None = None,
    clock: Clock | None = None,
) -> Pipeline:
    """A pipeline whose lines reach no tree.

    Args:
        sink: takes them.
        session_id: part of every event.
        key: of the tokens for secrets; None: one that nobody knows.
    """
    redactor = Redactor(os.urandom(32) if key is None else key, enabled=redact)
    return Pipeline(sink, session_id=session_id, redactor=redactor, options=options, clock=clock)
