"""Lines that are to be erased: found in the files, the archive and the mirrors, entered, and taken out.

What goes is entered into the account of retired numbers first: until a file is rewritten its events are read
as ever, from then on they count as retired. So a kill leaves either, and doing it again changes nothing.
Parts of an archive that hold some become plain files before; the session is sealed again when all is done.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from Agent.archive.erase.target import AGENT, Target
from Agent.archive.sealed.part_writer import open_connection
from Agent.archive.sealed.parts import Part, drop_part, read_parts
from Agent.archive.sealed.reader import file_lines, unseal
from Agent.errors import DamagedInput
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.model import Event
from Agent.tree.files.lines import first_id, read_lines
from Agent.tree.files.sequence_set import SeqSet, dropped_by, last_seq_in
from Agent.tree.files.session import replace_file, replacing
from Agent.tree.layout import cursors_dir, runs_dir
from Agent.tree.read.removal_logs import (
    ERASED,
    Recovery,
    TornTail,
    read_account,
    read_recovery,
    write_account,
    write_recovery,
)
from Agent.tree.write.artifacts import ROOT_RUN

_BATCH_LINES: Final = 4096


@dataclass(slots=True)
class FoundLines:
    """What of a session's lines goes."""

    files: list[Path] = field(default_factory=list)
    """The files that lose lines."""
    parts: list[str] = field(default_factory=list)
    """The parts of the archive that are the record, and lose lines."""
    numbers: dict[str, SeqSet] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)
    dropped: list[tuple[str, int, str, int]] = field(default_factory=list)
    """Writer and number of each `log.dropped` event that goes, with its reason and count."""
    damaged: int = 0
    artifacts: set[tuple[str, str]] = field(default_factory=set)
    """(directory of the run, path) of what their `artifact.saved` events tell of."""

    @property
    def events(self) -> int:
        """How many events go."""
        return sum(map(len, self.numbers.values()))

    def note(self, event: Event | None) -> None:
        """Take note of a line that goes, and of its event."""
        if event is None:
            self.damaged += 1
            return
        self.numbers.setdefault(event.writer, SeqSet()).add(event.seq)
        if event.kind == "log.closed":
            self.closed[event.writer] = last_seq_in(event)
        elif event.kind == "log.dropped":
            self.dropped.append((event.writer, event.seq, *dropped_by(event)))
        elif event.kind == "artifact.saved":
            self.artifacts.add((event.run_id or ROOT_RUN, str(event.extra.get("path"))))


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file; OSError if it cannot be read."""
    status = path.lstat()
    return (raw.line for raw in read_lines(path, (status.st_dev, status.st_ino)))


def find_lines(session: Path, files: Iterable[Path], target: Target, found: FoundLines) -> None:
    """Find what goes in the files of a session.

    Raises:
        OSError: one of them cannot be read.
    """
    session_id = session.name.removeprefix("session_")
    for path in files:
        whole = is_whole(session, path, target)
        hit = False
        for line in lines_of(path):
            kept, event = target.judge(line, session_id, whole=whole)
            if kept is not line:
                hit = True
                found.note(event)
        if hit or whole:
            found.files.append(path)


def find_sealed(session: Path, target: Target, found: FoundLines) -> None:
    """Find what goes in the parts that are the record.

    Raises:
        DamagedInput: a part cannot be read.
        MissingExtra: duckdb is not installed.
    """
    session_id = session.name.removeprefix("session_")
    for part, line in sealed_lines(part for part in read_parts(session) if part.json_removed):
        kept, event = target.judge(line, session_id)
        if kept is not line:
            found.note(event)
        if part.name not in found.parts and (kept is not line or _is_named(part, target)):
            found.parts.append(part.name)


def sealed_lines(parts: Iterable[Part]) -> Iterator[tuple[Part, bytes]]:
    """Every line of some parts; DamagedInput where one cannot be read."""
    for part in parts:
        with open_connection(part.directory.parent) as connection:
            for _, _, line in file_lines(connection, part):
                yield part, line


def _is_named(part: Part, target: Target) -> bool:
    """Whether the description names what goes."""
    return any(
        (target.kind == AGENT and segment.agent_id == target.value)
        or target.is_named_by(f"{segment.agent_id or ''}\n{segment.file}")
        for segment in part.segments
    )


def open_parts(session: Path, found: FoundLines) -> tuple[bool, list[Path]]:
    """Drop the parts that hold lines that go; of those that are the record the files stand again before.

    Returns:
        Whether there were any, and the files that stand again.

    Raises:
        DamagedInput: a part cannot be read; it is as it was.
        OSError: its files cannot be written.
    """
    going = {path.relative_to(session).as_posix() for path in found.files}
    is_any, standing = False, []
    for part in read_parts(session):
        if part.name in found.parts or any(segment.file in going for segment in part.segments):
            if part.json_removed:
                unseal(session, only=[part])
                standing += [session / each.file for each in part.segments]
            drop_part(part)
            is_any = True
    return is_any, standing


def is_whole(session: Path, path: Path, target: Target) -> bool:
    """Whether a file is one of a run that goes as a whole."""
    return path.parent.parent == runs_dir(session) and path.parent.name in target.run_dirs


def enter(session: Path, found: FoundLines) -> None:
    """Enter what goes into the account of the session.

    Raises:
        DamagedInput: the account cannot be read, so nothing may be removed.
        OSError: it cannot be written.
    """
    account = read_account(session)
    added = 0
    for writer, seq, reason, count in found.dropped:
        known = account.numbers.get(writer)
        if known is None or seq not in known:
            account.dropped[reason] += count
    for writer, numbers in found.numbers.items():
        known = account.numbers.setdefault(writer, SeqSet())
        before = len(known)
        known.update(numbers)
        added += len(known) - before
    for writer, last in found.closed.items():
        account.closed[writer] = max(account.closed.get(writer, 0), last)
    if added:
        account.events += added
        account.reasons[ERASED] += added
        write_account(session, account)


def rewrite(path: Path, judge: Callable[[bytes], bytes | None]) -> None:
    """Take lines out of a file, which is replaced as a whole, or removed if nothing is left of it.

    Args:
        path: of the file, which keeps the time of its last change.
        judge: what stays of a line.

    Raises:
        OSError: it cannot be read or replaced; it is as it was.
    """
    status = path.lstat()
    batches = _kept_batches(path, judge)
    first = next(batches, None)
    if first is None:
        path.unlink()
        return
    with replacing(path) as file:
        file.write(first)
        file.writelines(batches)
        file.flush()
        os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


def _kept_batches(path: Path, judge: Callable[[bytes], bytes | None]) -> Iterator[bytes]:
    batch: list[bytes] = []
    for line in lines_of(path):
        kept = judge(line)
        if kept is not None:
            batch.append(kept)
        if len(batch) == _BATCH_LINES:
            yield b"\n".join(batch) + b"\n"
            batch = []
    if batch:
        yield b"\n".join(batch) + b"\n"


def drop_cursor_entries(session: Path, files: Iterable[Path]) -> None:
    """Let those who follow the session read the rewritten files from their beginning.

    Their places in a file that loses lines mean nothing any more. Called before it does.
    """
    gone = {first for path in files if (first := first_id(path)) is not None}
    for path in sorted(cursors_dir(session).glob("*.json")):
        try:
            stored = orjson.loads(path.read_bytes())
            entries = list(stored["files"])
            kept = [entry for entry in entries if entry["first_id"] not in gone]
        except (ValueError, TypeError, KeyError):
            continue  # whoever uses it says that it is damaged, and reads from the beginning
        if len(kept) < len(entries):
            replace_file(path, orjson.dumps({**stored, "files": kept}, option=orjson.OPT_APPEND_NEWLINE))


def settle_torn_tails(session: Path) -> None:
    """Let what recovering wrote down name the torn lines where they stand now; those that are gone, never.

    Raises:
        DamagedInput, OSError: it cannot be read or written.
    """
    recovery = read_recovery(session)
    settled: list[TornTail] = []
    by_file: dict[str, list[TornTail]] = {}
    for tail in recovery.torn_tails:
        by_file.setdefault(tail.file, []).append(tail)
    for file, tails in by_file.items():
        settled += _found_again(session / file, tails)
    if settled != recovery.torn_tails:
        write_recovery(session, Recovery(recovery.recovered_at, recovery.writers, settled))


def _found_again(path: Path, tails: list[TornTail]) -> Iterator[TornTail]:
    if not path.exists():
        return
    sizes = Counter(tail.size_bytes for tail in tails)
    waiting = sorted(tails, key=lambda tail: tail.line_number)
    offset = 0
    for number, line in enumerate(lines_of(path), start=1):
        if sizes[len(line)] and _is_damaged(line):
            match = next((tail for tail in waiting if tail.size_bytes == len(line)), None)
            if match is not None and number <= match.line_number:
                waiting.remove(match)
                sizes[len(line)] -= 1
                yield TornTail(match.file, number, offset, len(line), match.writer)
        offset += len(line) + 1


def _is_damaged(line: bytes) -> bool:
    try:
        decode_line(line)
    except DamagedLine:
        return True
    return False


def refuse_damaged_account(session: Path) -> None:
    """Nothing where the accounts of a session can be read; DamagedInput otherwise, before anything goes."""
    try:
        read_account(session)
        read_recovery(session)
    except DamagedInput as error:
        raise DamagedInput(error.message, path=error.path, remedy="nothing was erased") from None
