"""Which files of a session may be sealed: those whose writer has ended, cleanly or not.

`seal` asks; a file that a living writer may still append to is never touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from Agent.errors import SessionNotFound
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.ids import split_event_id
from Agent.tree.files.lines import first_id, open_file
from Agent.tree.files.writer_claim import Claim, read_claims
from Agent.tree.layout import category_files, log_files, parse_file_name

__all__ = ["Finished", "Segments", "finished_segments"]

_TAIL_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Finished:
    """A file that nobody writes any more."""

    file: str
    path: Path
    size_bytes: int
    mtime_ns: int


@dataclass(slots=True)
class Segments:
    """The files of a session that can be sealed, and those that cannot with the reason."""

    segments: list[Finished] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)


def finished_segments(session: Path) -> Segments:
    """The session's files whose writer has ended, by name; empty ones are left out.

    Raises:
        SessionNotFound: there is no such directory.
    """
    if not session.is_dir():
        raise SessionNotFound(
            "no session there", path=session, remedy="give the path of a session_... directory"
        )
    found = Segments()
    running = _running_writers(session)
    for path in log_files(session):  # a run's own events stay the plain file that people read
        try:
            status = path.lstat()
        except FileNotFoundError:  # rolled since it was listed: its writer runs
            continue
        file = path.relative_to(session).as_posix()
        if path.is_symlink() or not status.st_size:
            continue
        writer = _writer_of(path)
        if writer in running or (writer is None and running):
            claim = running.get(writer or "") or next(iter(running.values()))
            found.waiting[file] = f"writer {claim.writer} (process {claim.pid}) still runs"
            continue
        found.segments.append(Finished(file, path, status.st_size, status.st_mtime_ns))
    return found


def _running_writers(session: Path) -> dict[str, Claim]:
    """The writers whose process runs and that have not said in the recording that they ended."""
    alive = {writer: claim for writer, claim in read_claims(session).items() if claim.is_alive()}
    if alive:
        for writer in _closed_writers(category_files(session, "system")):
            alive.pop(writer, None)
    return alive


def _closed_writers(files: Iterable[Path]) -> set[str]:
    """The writers whose last words stand at the end of one of these files."""
    closed = set()
    for path in files:
        try:
            fd, status = open_file(path)
        except OSError:
            # Rolled, or not ours to read: then its writer counts as running, and its files wait, named.
            continue
        try:
            os.lseek(fd, max(status.st_size - _TAIL_BYTES, 0), os.SEEK_SET)
            lines = os.read(fd, _TAIL_BYTES).split(b"\n")
        finally:
            os.close(fd)
        for line in lines:
            if b'"log.closed"' in line:
                try:
                    event = decode_line(line)
                except DamagedLine:
                    continue  # cut where reading began, or torn: no last words
                if event.kind == "log.closed":
                    closed.add(event.writer)
    return closed


def _writer_of(path: Path) -> str | None:
    """Who wrote a file: its first event says so, else its name; None where neither does."""
    event_id = first_id(path)
    if event_id is not None:
        return split_event_id(event_id)[0]
    name = parse_file_name(path.name)
    return None if name is None else name.writer
