"""Recovers a session whose processes were killed: torn tails, exact losses, open spans, description, summary.

`verify` checks the result; `rebuild_mirrors` rewrites the mirrors.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from Agent.archive.sealed.reader import open_reader
from Agent.errors import InputError, SessionInUse, SessionNotFound, UsageError
from Agent.event.clock import format_timestamp
from Agent.event.codec import encode_event
from Agent.event.kinds import LEVELS
from Agent.event.model import Event, RedactedBytes
from Agent.event.payloads import KINDS
from Agent.flight.checkpoints.files import is_written_to
from Agent.tree.files.descriptors import locked
from Agent.tree.files.lines import (
    MAX_LINE_BYTES,
    after_last_newline,
    chunks_of,
    is_event,
    read_blocks,
    tail_writer,
)
from Agent.tree.files.session import open_session, remove_half_written, update_session
from Agent.tree.layout import (
    MIRROR_FILES,
    NO_FOLLOW,
    boards_dir,
    entries_in,
    files_below,
    is_encrypted,
    list_sessions,
    make_private,
    open_file,
    session_id_of,
    summary_file,
    tree_files,
)
from Agent.tree.links import refuse_links
from Agent.tree.read.losses import Losses, WriterLosses, Writers
from Agent.tree.read.reader import OpenSpan, TreeReader, write_summary
from Agent.tree.read.removal_logs import (
    RecoveredWriter,
    Recovery,
    TornTail,
    read_account,
    read_recovery,
    write_recovery,
)
from Agent.tree.retention import delete_tree, finish_removal, living_writers, writers_clause
from Agent.tree.write.artifacts import blobs_dir
from Agent.tree.write.crash_board import remove_board
from Agent.tree.write.event_counts import EventCounts
from Agent.tree.write.mirror import Mirrors


@dataclass(slots=True)
class Recovered:
    """The result of a recovery; `changed` is false if the session needed none."""

    session: Path
    changed: bool = False
    writers: tuple[WriterLosses, ...] = ()
    """The accounts of the killed writers."""
    open_spans: tuple[OpenSpan, ...] = ()
    """The spans that were open when they died."""
    torn_tails: tuple[TornTail, ...] = ()
    losses: Losses = field(default_factory=lambda: Losses(()))
    notes: list[str] = field(default_factory=list)
    """Steps that failed, and why; all others succeeded."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "session_id": session_id_of(self.session),
            "path": str(self.session),
            "changed": self.changed,
            "killed_writers": [writer.writer for writer in self.writers],
            "open_spans": [span.to_dict() for span in self.open_spans],
            "torn_tails": [
                {"file": tail.file, "line": tail.line_number, "size_bytes": tail.size_bytes}
                for tail in self.torn_tails
            ],
            "losses": self.losses.to_dict(),
            "notes": self.notes,
        }


def recover_session(session: Path) -> Recovered:
    """Recover a crashed session; a session that ended well or was recovered before is not changed.

    No byte is altered or dropped: a torn tail stays, with a newline after it. Recovery can be killed at any
    point and run again.

    Raises:
        SessionNotFound: the session is missing, or its directory is empty.
        InputError: it is encrypted, or one of its directories is replaced by something else.
        SessionInUse: a process writes to it or recovers it.
        DamagedInput: an account of the session cannot be read.
        OSError: something cannot be written.
    """
    if is_encrypted(session):
        raise InputError(
            "it is encrypted, so it ended cleanly", path=session, remedy="nothing needs to be recovered"
        )
    reader = open_reader(session)
    refuse_links(session)
    refuse_if_in_use(session, _ELSEWHERE)
    _make_state_directory(session, reader)
    with locked(session / ".state" / "recover.lock", create=True) as is_alone:
        if not is_alone:
            raise SessionInUse("another process is recovering it", path=session, remedy="wait for it to end")
        refuse_if_in_use(session, _ELSEWHERE)
        done = Recovered(session)
        if finish_removal(session):
            done.notes.append("a reader still uses segments that retention had begun to remove")
        read_account(session)
        recovery = read_recovery(session)
        done.losses = losses = reader.losses()
        writers = Writers(session)
        changed = _find_torn_tails(session, recovery)
        for account in losses.writers:
            if not account.closed and account.writer not in recovery.writers:
                recovery.writers[account.writer] = _recovered(account, writers)
                changed = True
        if changed or (recovery.writers and recovery.recovered_at is None):
            recovery.recovered_at = format_timestamp(time.time_ns() // 1000)
            # sync before a board is removed: from then on only this account records the losses
            write_recovery(session, recovery)
        changed |= _end_tails(session)
        changed |= _remove_boards(session)
        changed |= _remove_half_saved(session)
        done.writers = tuple(account for account in losses.writers if account.writer in recovery.writers)
        done.open_spans = tuple(reader.in_flight())
        done.torn_tails = tuple(recovery.torn_tails)
        done.changed = _describe(session, recovery, done, changed)
        return done


def _make_state_directory(session: Path, reader: TreeReader) -> None:
    """Create `.state` if it is missing, as in a copy without hidden files, unless the session is empty."""
    state = session / ".state"
    if not os.path.lexists(state) and not reader.has_files():
        raise SessionNotFound("nothing was recorded in it", path=session, remedy="remove the directory")
    try:
        make_private(state, exist_ok=True)
    except FileExistsError as error:
        raise InputError(
            "a directory of the session is missing, and something else has its name",
            path=state,
            remedy="remove or rename it, and recover the session again",
        ) from error


_ELSEWHERE: Final = (
    "recover it after the process has ended; if that is on another machine, there or a day later"
)


def refuse_if_in_use(session: Path, remedy: str, runs: Iterable[Path] = ()) -> None:
    """Raise SessionInUse if a process records a session, or writes checkpoints of these runs."""
    reason = writers_clause(session)
    if reason is None and held_claim(runs) is not None:
        reason = "a process writes checkpoints"
    if reason is not None:
        raise SessionInUse(reason, path=session, remedy=remedy)


def held_claim(runs: Iterable[Path]) -> Path | None:
    """Return a claim of a process that writes checkpoints of one of these runs; None if there is none."""
    claims = (claim for run in runs for claim in entries_in(run / "checkpoints", ".writer"))
    return next(filter(is_written_to, claims), None)


def refuse_unrecovered(session: Path) -> None:
    """Raise UsageError if a killed program's session was not recovered."""
    if entries_in(boards_dir(session), ".board"):
        raise UsageError(
            "its program was killed, and it was not recovered",
            path=session,
            remedy=f"agent-trace recover {session_id_of(session)}",
        )


def _recovered(account: WriterLosses, writers: Writers) -> RecoveredWriter:
    board = writers.boards.get(account.writer)
    return RecoveredWriter(
        last_seq=account.last_seq,
        gaps=tuple(
            (gap.first_seq, gap.last_seq, gap.verdict) for gap in account.gaps if gap.verdict != "retired"
        ),
        open_spans=() if board is None else board.open_spans,
    )


def _plain_files(session: Path) -> list[Path]:
    """Return the log files that are regular files, without links and others."""
    return [path for path in tree_files(session) if stat.S_ISREG(path.lstat().st_mode)]


def _find_torn_tails(session: Path, recovery: Recovery) -> bool:
    """Record incomplete last lines that are not events; returns whether a new one was found."""
    known_tails = {(tail.file, tail.offset) for tail in recovery.torn_tails}
    before = len(recovery.torn_tails)
    for path in _plain_files(session):
        tail = _torn_tail(session, path)
        if tail is not None and (tail.file, tail.offset) not in known_tails:
            recovery.torn_tails.append(tail)
    return len(recovery.torn_tails) > before


def _torn_tail(session: Path, path: Path) -> TornTail | None:
    fd, status = open_file(path)
    try:
        offset = after_last_newline(fd, status.st_size)
    finally:
        os.close(fd)
    inode = (status.st_dev, status.st_ino)
    for block in read_blocks(path, inode, offset=offset, max_line_bytes=MAX_LINE_BYTES):
        raw = next(block.lines())
        if not raw.complete and not is_event(raw):
            name, size_bytes = path.relative_to(session).as_posix(), len(raw.line) + raw.left_out_bytes
            number = sum(chunk.count(b"\n") for chunk in chunks_of(path)) + 1
            return TornTail(name, number, offset, size_bytes, tail_writer(raw))
    return None


def _end_tails(session: Path) -> bool:
    """Append a newline to each file that ends without one, so that a later line starts on its own line."""
    changed = False
    for path in _plain_files(session):
        flags = os.O_RDWR | os.O_APPEND | NO_FOLLOW
        fd = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
        try:
            size_bytes = os.fstat(fd).st_size
            if size_bytes and os.pread(fd, 1, size_bytes - 1) != b"\n":
                os.write(fd, b"\n")
                os.fsync(fd)
                changed = True
        finally:
            os.close(fd)
    return changed


def _remove_boards(session: Path) -> bool:
    """Remove the boards, whose content is now in the recovery's account; returns whether there were any."""
    boards = entries_in(boards_dir(session), ".board")
    for board in boards:
        remove_board(board)
    return bool(boards)


def _remove_half_saved(session: Path) -> bool:
    """Remove partly saved artifacts and other files; returns whether there were any."""
    left = entries_in(blobs_dir(session), ".new", ".")
    for path in left:
        path.unlink(missing_ok=True)
    return remove_half_written(files_below(session)) or bool(left)


def _describe(session: Path, recovery: Recovery, done: Recovered, changed: bool) -> bool:
    """Update description and summary; returns whether the recovery changed anything."""
    try:
        info = open_session(session)
    except InputError as error:
        done.notes.append(str(error))
    else:
        ended_at = info.ended_at or _last_timestamp(session, recovery)
        if (info.ended_at, info.recovered_at) != (ended_at, recovery.recovered_at):
            update_session(session, ended_at=ended_at, recovered_at=recovery.recovered_at)
            changed = True
    if changed or not summary_file(session).exists():
        write_summary(session, open_reader(session))
        return True
    return False


def _last_timestamp(session: Path, recovery: Recovery) -> str:
    """Return the time of the last event, for a session without a recorded end."""
    tally = EventCounts()
    for _ in open_reader(session).scan((), tally):
        pass  # none is requested
    return tally.last or recovery.recovered_at or format_timestamp(time.time_ns() // 1000)


_MAKING: Final = ".mirrors-"
_BATCH_LINES: Final = 64
_TEXT: Final = ".text"


def rebuild_mirrors(
    root: Path,
    *,
    as_text: Callable[[bytes], str] | None = None,
) -> dict[str, int]:
    """Rebuild every mirror under a root, session by session, events in order.

    The new mirrors are written next to the old ones and replace them at the end; a kill before that changes
    nothing.

    Args:
        root: the trace root.
        as_text: formats a line for the text mirrors; if None they are skipped.

    Returns:
        The number of lines per category.

    Raises:
        SessionInUse: a process records under that root, and writes to the mirrors itself, or another one
            rebuilds them or erases.
        InputError: something other than a directory is in the place of one, of a session or of the mirrors.
        OSError: they cannot be written.
    """
    for ref in list_sessions(root):
        refuse_links(ref.path)
        living = living_writers(ref.path)
        if living:
            raise SessionInUse(
                f"process {min(living.values())} records here and writes to the mirrors",
                path=ref.path,
                remedy="rebuild them when no process records",
            )
    for directory in sorted({(root / name).parent for name in MIRROR_FILES.values()}):
        if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
            raise InputError(
                "something else is in the place of a directory of category files",
                path=directory,
                remedy="remove or rename it",
            )
    with locked(root) as is_alone:
        if not is_alone:
            raise SessionInUse(
                "another process rebuilds the mirrors or erases here", path=root, remedy="wait for it to end"
            )
        for left in entries_in(root, beginning=_MAKING):
            delete_tree(left)
        directory = root / f"{_MAKING}{os.urandom(4).hex()}"
        make_private(directory)
        try:
            counts = _fill(root, directory, as_text)
            for category, name in MIRROR_FILES.items():
                if as_text is not None or not category.endswith(_TEXT):
                    _replace_mirror(root / name, directory / name)
        finally:
            delete_tree(directory)
        return dict(counts)


def _fill(
    root: Path,
    directory: Path,
    as_text: Callable[[bytes], str] | None,
) -> Counter[str]:
    mirrors = Mirrors(directory)
    # closed from the start, so that this thread writes each line at once
    mirrors.close()
    waiting: defaultdict[str, list[bytes]] = defaultdict(list)
    counts: Counter[str] = Counter()

    def write(category: str) -> None:
        mirrors.add(category, RedactedBytes(b"".join(waiting.pop(category, []))))

    for ref in list_sessions(root):
        for event in open_reader(ref.path).events():
            line = encode_event(event)
            for category in _categories(event):
                counts[category] += 1
                waiting[category].append(line)
                if as_text is not None and category + _TEXT in MIRROR_FILES:
                    waiting[category + _TEXT].append(as_text(line).encode("utf-8", "replace"))
                if len(waiting[category]) >= _BATCH_LINES:
                    write(category)
                    write(category + _TEXT)
    for category in list(waiting):
        write(category)
    mirrors.close()
    failures = mirrors.counts.snapshot()
    if failures:
        raise InputError(
            f"the mirrors could not be written: {', '.join(sorted(set(map(_reason, failures))))}",
            path=directory,
            remedy="free disk space, or change the permissions; the old ones are unchanged",
        )
    return counts


def _reason(counter: str) -> str:
    """Return the system's message for a failure counter such as `mirror:ENOSPC`."""
    name = counter.partition(":")[2]
    number = getattr(errno, name, None)
    return name.replace("_", " ") if number is None else os.strerror(number)


def _categories(event: Event) -> set[str]:
    """Return the mirrors of an event: that of its category, and `errors` if it is an error."""
    kind = KINDS.get(event.kind)
    if kind is None or event.kind == "log":
        # a log message belongs to the category of its logger
        first = event.logger.partition(".")[0]
        plural = {"agent": "agents", "interaction": "interactions"}.get(first, first)
        category = plural if plural in MIRROR_FILES else "agents" if event.agent_id is not None else "system"
    else:
        category = str(kind.category)
    categories = {category if category in MIRROR_FILES else "events"}
    if LEVELS.get(event.level, 0) >= LEVELS["ERROR"]:
        categories.add("errors")
    return categories


def _replace_mirror(old: Path, new: Path) -> None:
    """Replace a mirror and its backups by the new ones."""
    for path in entries_in(old.parent, beginning=old.name):
        if path.name == old.name or path.name.removeprefix(f"{old.name}.").isdigit():
            path.unlink()
    for path in entries_in(new.parent, beginning=new.name):
        make_private(old.parent, parents=True, exist_ok=True)
        path.rename(old.parent / path.name)
