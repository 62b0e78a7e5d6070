"""Limits the size of a session by removing its oldest rolled segments; also removes whole sessions.

The account in `removal_logs` is written before anything is removed. A segment stays while a process has it
open, a reader holds the reading lock, or an exporter's cursor has not passed it. Writers never reopen a
rolled segment, and an open file stays readable, so only readers that open files by name, such as a query
engine, take the lock. `config` runs this on a separate thread, never inside a logging call.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from Agent.errors import InputError
from Agent.event.system_clock import SystemClock, turns
from Agent.tree.files.descriptors import close_lock, locked, open_lock
from Agent.tree.files.lines import first_id
from Agent.tree.files.session import (
    Claim,
    SessionInfo,
    hostname,
    open_session,
    read_claims,
    replace_file,
)
from Agent.tree.layout import (
    NO_FOLLOW,
    SessionRef,
    cursors_dir,
    entries_in,
    is_session_name,
    list_sessions,
    make_private,
    open_file,
    open_private,
    parse_file_name,
    read_file,
    reading_lock_file,
    retention_lock_file,
    retention_pass_file,
    safe_name,
    tree_entries,
    tree_files,
)
from Agent.tree.read.removal_logs import (
    RetiredAccount,
    ScannedFile,
    read_account,
    read_removal,
    write_account,
)

# without file leases, a file counts as open for this long after its last change
_SETTLED_S: Final = 30.0


def is_open_for_writing(path: Path, directory: Path) -> bool:
    """Return whether a process may still write to a file; OSError if it cannot be opened.

    Args:
        path: the file.
        directory: on the same file system; a file is created there once to test whether leases work.
    """
    fd, status = open_file(path)
    try:
        if _leases_work(directory):
            return not _can_lease(fd)
        age_s = SystemClock.wall_ns() / 1e9 - max(status.st_mtime, status.st_ctime)
        return age_s < _SETTLED_S
    finally:
        os.close(fd)


def _can_lease(fd: int) -> bool:
    """Return whether the kernel grants a read lease; it does so only if the file is not open for writing."""
    fcntl: Any = __import__("fcntl")
    try:
        # If another process opens the file now, the kernel signals us. The default, SIGIO, would kill the
        # process; SIGURG is ignored.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


@lru_cache(maxsize=16)
def _leases_work(directory: Path) -> bool:
    """Return whether leases are refused for a file that is open for writing, and granted otherwise."""
    try:
        import fcntl
    except ImportError:
        return False
    if not hasattr(fcntl, "F_SETLEASE") or not hasattr(fcntl, "F_SETSIG"):
        return False
    path = directory / f".lease.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | NO_FOLLOW
    try:
        with os.fdopen(open_private(path, flags), "wb") as writing:
            try:
                with os.fdopen(os.open(path, os.O_RDONLY | NO_FOLLOW), "rb") as reading:
                    refused = not _can_lease(reading.fileno())
                    writing.close()
                    return refused and _can_lease(reading.fileno())
            finally:
                with contextlib.suppress(OSError):  # already removed
                    path.unlink()
    except OSError:
        return False


_RECHECK_S: Final = 0.02
_PATIENCE_S: Final = 3.0


@contextmanager
def nothing_retired(session: Path) -> Iterator[None]:
    """Keep retention from removing segments of a session during the block; waits for a running removal.

    Does nothing if no segment of the session was ever removed, or the system has no locks.
    """
    try:
        import fcntl

        fd = open_lock(reading_lock_file(session), create=False)
    except (ImportError, OSError):
        yield
        return
    try:
        # wait for a process that removes or is about to, so that a stream of readers cannot starve it
        entrance = open_lock(retention_lock_file(session), create=False)
        try:
            fcntl.flock(entrance, fcntl.LOCK_SH)
            fcntl.flock(fd, fcntl.LOCK_SH)
        finally:
            close_lock(entrance)
        yield
    finally:
        close_lock(fd)


@contextmanager
def readers_excluded(session: Path) -> Iterator[bool]:
    """Keep readers out during the block; yields whether no reader was left after at most 3 s.

    New readers wait until the block ends.
    """
    with locked(retention_lock_file(session), create=True, wait=True):
        for _ in turns(_PATIENCE_S, _RECHECK_S):
            with locked(reading_lock_file(session), create=True) as alone:
                if alone:
                    yield True
                    return
        yield False


IsHeld = Callable[[Path, os.stat_result], bool]
"""Returns whether a reader still needs a segment; retention then removes another one."""


def write_cursor(session: Path, name: str, cursor: dict[str, Any]) -> None:
    """Save the position of an exporter; OSError if it cannot be written."""
    directory = cursors_dir(session)
    make_private(directory, parents=True, exist_ok=True)
    replace_file(
        directory / f"{safe_name(name)}.json", orjson.dumps(cursor, option=orjson.OPT_APPEND_NEWLINE)
    )


def cursors_hold(session: Path) -> IsHeld:
    """Return a check by the cursors of a session: a segment is held until every cursor has passed its end.

    An unreadable cursor holds every segment.
    """
    read: list[dict[str, int] | None] = []
    for path in entries_in(cursors_dir(session), ".json"):
        try:
            files = orjson.loads(read_file(path))["files"]
            read.append({str(entry["first_id"]): int(entry["offset"]) for entry in files})
        except FileNotFoundError:
            continue  # its exporter has finished and removed it
        except (OSError, ValueError, TypeError, KeyError):
            read.append(None)
    if not read:
        return lambda _path, _status: False

    def is_held(path: Path, status: os.stat_result) -> bool:
        begins_with = str(first_id(path))
        return any(far is None or far.get(begins_with, 0) < status.st_size for far in read)

    return is_held


POLICY: Final = "max_session_bytes"
# a pass frees 1/16 of the limit more than it must, so that not every roll starts another pass
_SLACK_PARTS: Final = 16
# cursors and readers are ignored once the session exceeds the limit by this factor
_HARD_LIMIT_FACTOR: Final = 2
# the maximum that one step removes; keeps the account small and its writing frequent
_STEP_BYTES: Final = 256 * 1024 * 1024
_STEP_FILES: Final = 1000


class WriterRetired(NamedTuple):
    """The removed events of one writer; not every number from `first_seq` to `last_seq` need be removed."""

    writer: str
    events: int
    first_seq: int
    last_seq: int
    files: int
    size_bytes: int


@dataclass(slots=True)
class Retired:
    """The result of one retention pass."""

    files: int = 0
    size_bytes: int = 0
    writers: tuple[WriterRetired, ...] = ()
    left_bytes: int = 0
    """Size of the session's files after the pass."""
    in_use: int = 0
    """Segments that were kept because a process has them open for writing."""
    held: int = 0
    """Segments that were kept because a cursor has not passed them."""


class _Segment(NamedTuple):
    changed_ns: int
    segment: int
    path: str


class Retention:
    """The retention policy of one session; a lock lets only one process at a time run a pass.

    Args:
        session: the session's directory.
        max_session_bytes: limit of the total size of its log files.
        may_continue: called repeatedly with the number of bytes above the target at the step's beginning, to
            pause for other threads; false ends the pass after the current file.
    """

    def __init__(
        self,
        session: Path,
        max_session_bytes: int,
        *,
        may_continue: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.session = session
        self.max_session_bytes = max_session_bytes
        self._may_continue = may_continue

    def run(self) -> Retired | None:
        """Run one pass; None if another process runs one, or a reader opens the segments by name.

        Readers block removal until the files reach twice the limit, so that an endless query cannot fill the
        disk. Above that the segments are removed anyway, and the reader has to start again.

        Raises:
            OSError: a file or the account cannot be read, written or removed.
            DamagedInput: the account is damaged, so nothing may be removed.
        """
        with locked(retention_pass_file(self.session), create=True) as mine:
            return self._pass() if mine else None

    def _pass(self) -> Retired | None:
        with readers_excluded(self.session) as alone:
            pass
        if not alone and self._oldest_first()[1] <= _HARD_LIMIT_FACTOR * self.max_session_bytes:
            return None
        account = read_account(self.session)
        _remove(self.session, account, at_once=not alone)
        oldest, total_bytes = self._oldest_first()
        done = Retired(left_bytes=total_bytes)
        if total_bytes <= self.max_session_bytes:
            return done
        by_writer: dict[str, WriterRetired] = {}
        going = True
        while going:
            files = done.files
            going = self._enter(account, oldest, done, by_writer)
            if done.files == files:
                break
            # write the account before removing: after a kill in between, the next pass finishes the removal
            write_account(self.session, account)
            _remove(self.session, account, at_once=not alone)
            going = going and not account.removing
        done.writers = tuple(by_writer[name] for name in sorted(by_writer))
        return done

    def _oldest_first(self) -> tuple[Iterator[_Segment], int]:
        """Return the rolled segments in order of removal, and the total size of all files."""
        chains: dict[str, list[_Segment]] = {}
        total_bytes = 0
        for entry in tree_entries(self.session):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # another process has removed it
            total_bytes += status.st_size
            name = parse_file_name(entry.name)
            if name is not None and name.segment is not None and stat.S_ISREG(status.st_mode):
                live = f"{entry.path.removesuffix(entry.name)}{name.stem}@{name.writer or ''}"
                chains.setdefault(live, []).append(_Segment(status.st_mtime_ns, name.segment, entry.path))
        return _by_age(chains), total_bytes

    def _enter(
        self,
        account: RetiredAccount,
        oldest: Iterator[_Segment],
        done: Retired,
        by_writer: dict[str, WriterRetired],
    ) -> bool:
        """Enter one step's segments into the account; returns whether more have to be removed."""
        is_held, claims = cursors_hold(self.session), read_claims(self.session)
        target_bytes = self.max_session_bytes - self.max_session_bytes // _SLACK_PARTS
        excess_bytes = done.left_bytes + done.size_bytes - target_bytes
        step_bytes = 0

        def may_continue() -> bool:
            return self._may_continue(excess_bytes)

        for segment in oldest:
            path = Path(segment.path)
            try:
                if self._has_to_stay(path, is_held, done):
                    continue
                scanned = read_removal(self.session, path, claims.__contains__, may_continue)
            except FileNotFoundError:
                continue  # another process has removed it
            account.add(scanned)
            _count(by_writer, scanned)
            size_bytes = scanned.removal.size_bytes
            done.files += 1
            done.size_bytes += size_bytes
            done.left_bytes -= size_bytes
            step_bytes += size_bytes
            if done.left_bytes <= target_bytes or not may_continue():
                return False
            if step_bytes >= _STEP_BYTES or len(account.removing) >= _STEP_FILES:
                return True
        return False

    def _has_to_stay(self, path: Path, is_held: IsHeld, done: Retired) -> bool:
        if is_open_for_writing(path, retention_lock_file(self.session).parent):
            done.in_use += 1
            return True
        if done.left_bytes <= _HARD_LIMIT_FACTOR * self.max_session_bytes and is_held(path, path.lstat()):
            done.held += 1
            return True
        return False


def finish_removal(session: Path) -> int:
    """Finish the removal that a killed pass had entered into the account; returns how many files remain.

    Raises:
        OSError, DamagedInput: as in `Retention.run`.
    """
    with locked(retention_pass_file(session), create=True) as mine:
        account = read_account(session)
        if mine and account.removing:
            _remove(session, account)
            write_account(session, account)
        return len(account.removing)


def _by_age(chains: dict[str, list[_Segment]]) -> Iterator[_Segment]:
    """Merge by time of last change; segments of one live name keep their number order if the clock jumped."""
    for chain in chains.values():
        chain.sort(key=lambda one: one.segment, reverse=True)
    first = [(chain[-1], live) for live, chain in chains.items()]
    heapq.heapify(first)
    while first:
        segment, live = first[0]
        chain = chains[live]
        chain.pop()
        yield segment
        if chain:
            heapq.heapreplace(first, (chain[-1], live))
        else:
            heapq.heappop(first)


def _count(by_writer: dict[str, WriterRetired], scanned: ScannedFile) -> None:
    for writer, numbers in scanned.numbers.items():
        first = numbers.lowest
        before = by_writer.get(writer) or WriterRetired(writer, 0, first, 0, 0, 0)
        by_writer[writer] = WriterRetired(
            writer,
            before.events + len(numbers),
            min(before.first_seq, first),
            max(before.last_seq, numbers.highest),
            before.files + 1,
            before.size_bytes + scanned.removal.size_bytes,
        )


def _remove(session: Path, account: RetiredAccount, *, at_once: bool = False) -> None:
    """Remove the files that the account marks for removal, and record those that are gone.

    If a reader holds the reading lock they are left to the next pass, unless `at_once`.
    """
    waiting = [removal for removal in account.removing if removal.still_there(session)]
    if waiting:
        with readers_excluded(session) as alone:
            for removal in waiting if alone or at_once else ():
                with suppress(FileNotFoundError):
                    (session / removal.file).unlink()
    account.settle(session)


_IN_REMOVAL: Final = ".removing-"
# a directory without description and claims may be a session in creation for this long
_MAKING_S: Final = 3600.0
# processes on another machine cannot be checked, so changes within a day count as a sign of life
_QUIET_S: Final = 24 * 3600.0


def living_writers(session: Path) -> dict[str, int]:
    """Return the writers of a session whose processes run, with their pids.

    The writers of a process that started and ended the session are closed, even if the process still runs.
    """
    ended = None
    with contextlib.suppress(InputError):  # without a description, every running process counts
        info = open_session(session)
        ended = None if info.ended_at is None else (info.pid, info.process_start_ticks)
    return {
        writer: claim.pid
        for writer, claim in read_claims(session).items()
        if (claim.pid, claim.process_start_ticks) != ended and claim.is_alive()
    }


def writers_clause(session: Path, *, now_s: float | None = None) -> str | None:
    """Return a clause that says which processes or machine may write to a session now; None if none."""
    pids = sorted(set(living_writers(session).values()))
    if pids:
        return f"process {', '.join(map(str, pids))} writes to it"
    return written_elsewhere(session, now_s=now_s)


def why_in_use(session: Path, *, now_s: float | None = None) -> str | None:
    """Return the reason why a session must not be removed now, as a clause; None if it is unused."""
    now_s = SystemClock.wall_ns() / 1e9 if now_s is None else now_s
    if (reason := writers_clause(session, now_s=now_s)) is not None:
        return reason
    try:
        info = open_session(session)
    except InputError:
        if not read_claims(session) and now_s - session.lstat().st_mtime < _MAKING_S:
            return "it may still be in creation"
        return None
    if _root_runs(info):
        return f"process {info.pid}, which started it, still runs"
    return None


def written_elsewhere(session: Path, *, now_s: float | None = None) -> str | None:
    """Return a clause if another machine may write to a session; None if not, or unchanged for a day."""
    now_s = SystemClock.wall_ns() / 1e9 if now_s is None else now_s
    try:
        info = open_session(session)
    except InputError:
        return None  # without a description, no other machine is known
    if info.ended_at is not None or info.host in {"", hostname()}:
        return None
    if now_s - _newest_change(session) >= _QUIET_S:
        return None
    return f"it was written on {info.host} within a day and has not ended"


def _root_runs(info: SessionInfo) -> bool:
    """Return whether the process that started the session runs here and has not ended the session."""
    root = Claim("", info.pid, info.process_start_ticks, info.boot_id, info.host)
    return info.ended_at is None and info.process_start_ticks is not None and root.is_alive()


def _newest_change(session: Path) -> float:
    newest = 0.0
    for path in [session, *tree_files(session)]:
        with contextlib.suppress(FileNotFoundError):
            newest = max(newest, path.lstat().st_mtime)
    return newest


def oldest_beyond(root: Path, keep: int) -> list[SessionRef]:
    """Return all sessions except the newest `keep`, oldest first."""
    sessions = list_sessions(root)
    return sessions[: max(len(sessions) - keep, 0)]


def remove_session(session: Path) -> bool:
    """Remove a session; False if another process was faster. Links are not followed.

    Links to its runs stay, for `drop_dead_links`.

    Raises:
        OSError: it cannot be removed. Either it is unchanged, or its rest no longer counts as a session.
    """
    root = session.parent
    going = root / f"{_IN_REMOVAL}{session.name}.{os.urandom(4).hex()}"
    try:
        session.rename(going)
    except FileNotFoundError:
        return False
    delete_tree(going)
    return True


def finish_removals(root: Path) -> int:
    """Finish interrupted removals; returns how many there were."""
    left = interrupted_removals(root)
    for path in left:
        delete_tree(path)
    return len(left)


def drop_dead_links(root: Path) -> None:
    """Remove the links to runs that no longer exist."""
    for link in entries_in(root / "runs"):
        with contextlib.suppress(FileNotFoundError):
            of_session = link.is_symlink() and any(map(is_session_name, link.readlink().parts))
            if of_session and not link.exists():
                link.unlink()


def interrupted_removals(root: Path) -> list[Path]:
    """Return the directories of interrupted removals under a root."""
    return entries_in(root, beginning=_IN_REMOVAL)


def delete_tree(path: Path) -> None:
    """Delete a directory by descriptors, so that links are not followed; safe with concurrent deletion."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for _, directories, files, fd in os.fwalk(path, topdown=False, follow_symlinks=False):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
        for name in directories:
            with contextlib.suppress(FileNotFoundError):
                try:
                    os.rmdir(name, dir_fd=fd)
                except NotADirectoryError:
                    # a link to a directory
                    os.unlink(name, dir_fd=fd)
    with contextlib.suppress(FileNotFoundError):
        path.rmdir()
