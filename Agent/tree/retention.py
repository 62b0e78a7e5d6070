"""Keeps the record of a session under a size, and removes whole sessions: rolled segments go, oldest first.

`removal_logs` has the account that is written before anything is removed. What is still needed stays: by a
process that has it open, by a reader's lease, or by a sender's cursor. A rolled segment is never opened
again, and a file that is open stays readable, so only readers that go by name, as a query engine does, take a
lease. `config` runs this on a thread of its own, never inside a logging call.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import signal
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from Agent.errors import InputError
from Agent.tree.files.descriptors import close_lock, locked, open_lock
from Agent.tree.files.lines import first_id
from Agent.tree.files.session import SessionInfo, open_session, replace_file
from Agent.tree.files.writer_claim import boot_id, hostname, process_start_ticks, read_claims
from Agent.tree.layout import (
    DIRECTORY_MODE,
    FILE_MODE,
    NO_FOLLOW,
    SessionRef,
    cursors_dir,
    entries_in,
    is_session_name,
    list_sessions,
    open_file,
    parse_file_name,
    read_file,
    reading_lock_file,
    retention_lock_file,
    retention_pass_file,
    run_dirs,
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

# where the system cannot tell who has a file open, it is left alone for so long after its last change
_SETTLED_S: Final = 30.0


class WriterWatch:
    """Tells whether a file is open for writing, by the system's leases where they can be trusted.

    Args:
        directory: on the same file system; a file is made there once to see whether leases work.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._leases: bool | None = None

    def is_open(self, path: Path) -> bool:
        """Whether somebody may still write to that file; OSError if it cannot be opened."""
        if self._leases is None:
            self._leases = _leases_work(self._directory)
        fd, status = open_file(path)
        try:
            if self._leases:
                return not _can_lease(fd)
            age_s = time.time() - max(status.st_mtime, status.st_ctime)
            return age_s < _SETTLED_S
        finally:
            os.close(fd)


def _can_lease(fd: int) -> bool:
    """Whether a lease for reading is granted, which it is only if nobody has the file open for writing."""
    fcntl: Any = __import__("fcntl")
    try:
        # who opens the file in this moment makes the kernel send a signal, whose default must not be to die
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


def _leases_work(directory: Path) -> bool:
    """Whether leases are refused for a file that is open for writing, and granted for one that is not."""
    try:
        import fcntl
    except ImportError:
        return False
    if not hasattr(fcntl, "F_SETLEASE") or not hasattr(fcntl, "F_SETSIG"):
        return False
    path = directory / f".lease.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | NO_FOLLOW
    try:
        writing = os.open(path, flags, FILE_MODE)
        reading = -1
        try:
            reading = os.open(path, os.O_RDONLY | NO_FOLLOW)
            refused = not _can_lease(reading)
            os.close(writing)
            writing = -1
            return refused and _can_lease(reading)
        finally:
            for fd in (writing, reading):
                if fd >= 0:
                    os.close(fd)
            with contextlib.suppress(OSError):  # never made, or removed already
                path.unlink()
    except OSError:
        return False


_LOOK_AGAIN_S: Final = 0.02
_PATIENCE_S: Final = 3.0


@contextmanager
def nothing_retired(session: Path) -> Iterator[None]:
    """While this is open retention leaves the segments of a session; a pass under way is waited for.

    Where nothing was ever retired, or locks are not to be had, there is nothing to wait for.
    """
    try:
        import fcntl

        fd = open_lock(reading_lock_file(session), create=False)
    except (ImportError, OSError):
        yield
        return
    try:
        # past whoever removes, or waits to: readers that come one after another do not hold it up for ever
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
def nobody_reading(session: Path) -> Iterator[bool]:
    """Whether nobody reads the segments by name while this is open; who comes meanwhile waits.

    Those who read are waited for a few seconds.
    """
    with locked(retention_lock_file(session), create=True, wait=True):
        patience_s = time.monotonic() + _PATIENCE_S
        while True:
            with locked(reading_lock_file(session), create=True) as alone:
                if alone or time.monotonic() >= patience_s:
                    yield alone
                    return
            time.sleep(_LOOK_AGAIN_S)


IsHeld = Callable[[Path, os.stat_result], bool]
"""Whether somebody still has to read a segment; asked by retention, which then takes another one."""


def write_cursor(session: Path, name: str, cursor: dict[str, Any]) -> None:
    """Leave how far somebody is; OSError if it cannot be written."""
    directory = cursors_dir(session)
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    replace_file(
        directory / f"{safe_name(name)}.json", orjson.dumps(cursor, option=orjson.OPT_APPEND_NEWLINE)
    )


def held_by_cursors(session: Path) -> IsHeld:
    """What the cursors of a session say: a segment is held until each of them has read it to its end.

    A cursor that cannot be read holds everything.
    """
    read: list[dict[str, int] | None] = []
    for path in entries_in(cursors_dir(session), ".json"):
        try:
            files = orjson.loads(read_file(path))["files"]
            read.append({str(entry["first_id"]): int(entry["offset"]) for entry in files})
        except FileNotFoundError:
            continue  # its reader has finished and removed it
        except (OSError, ValueError, TypeError, KeyError):
            read.append(None)
    if not read:
        return lambda _path, _status: False

    def is_held(path: Path, status: os.stat_result) -> bool:
        begins_with = str(first_id(path))
        return any(far is None or far.get(begins_with, 0) < status.st_size for far in read)

    return is_held


POLICY: Final = "max_session_bytes"
# a pass frees this part of the limit beyond what it must, so that not every roll makes another
_SLACK_PARTS: Final = 16
# what a cursor or a reader holds may come to so many times the limit
_HELD_TIMES: Final = 2
# what one step of a pass removes, so that its account is written before long and stays small
_STEP_BYTES: Final = 256 * 1024 * 1024
_STEP_FILES: Final = 1000


class WriterRetired(NamedTuple):
    """What of one writer was removed: how many events, the first and the last, not all between them."""

    writer: str
    events: int
    first_seq: int
    last_seq: int
    files: int
    size_bytes: int


@dataclass(slots=True)
class Retired:
    """What one pass did."""

    files: int = 0
    size_bytes: int = 0
    writers: tuple[WriterRetired, ...] = ()
    left_bytes: int = 0
    """How large the record is now."""
    in_use: int = 0
    """Segments that were left since somebody has them open for writing."""
    held: int = 0
    """Segments that were left since a cursor has not passed them."""


class _Segment(NamedTuple):
    changed_ns: int
    segment: int
    path: str


class Retention:
    """The policy of one session; several processes may have one, of which one at a time is at work.

    Args:
        session: the session's directory.
        max_session_bytes: what its log files may come to.
        breathe: called again and again with the bytes that were too many when the pass began, for a pause in
            which other threads get their turn; false ends the pass after the file that is being read.
    """

    def __init__(
        self,
        session: Path,
        max_session_bytes: int,
        *,
        breathe: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.session = session
        self.max_session_bytes = max_session_bytes
        self._breathe = breathe
        self._watch = WriterWatch(retention_lock_file(session).parent)

    def run(self) -> Retired | None:
        """One pass; None if another process is at it, or somebody reads the segments by name.

        Who reads is waited for until the files come to twice the limit: a query that takes for ever shall not
        fill the disk. What he reads by name is then gone, and he has to ask again.

        Raises:
            OSError: a file or the account cannot be read, written or removed.
            DamagedInput: the account cannot be read, so nothing may be removed.
        """
        with locked(retention_pass_file(self.session), create=True) as mine:
            return self._pass() if mine else None

    def _pass(self) -> Retired | None:
        with nobody_reading(self.session) as alone:
            pass
        if not alone and self._oldest_first()[1] <= _HELD_TIMES * self.max_session_bytes:
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
            # said on the disk, then done: whoever is killed in between leaves both, and the next one goes on
            write_account(self.session, account)
            _remove(self.session, account, at_once=not alone)
            going = going and not account.removing
        done.writers = tuple(by_writer[name] for name in sorted(by_writer))
        return done

    def _oldest_first(self) -> tuple[Iterator[_Segment], int]:
        """The rolled segments in the order in which they go, and the size of all files."""
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
        """Enter the next segments into the account, one step's worth; whether more have to go after them."""
        is_held, claims = held_by_cursors(self.session), read_claims(self.session)
        target_bytes = self.max_session_bytes - self.max_session_bytes // _SLACK_PARTS
        excess_bytes = done.left_bytes + done.size_bytes - target_bytes
        step_bytes = 0

        def breathe() -> bool:
            return self._breathe(excess_bytes)

        for segment in oldest:
            path = Path(segment.path)
            try:
                if self._has_to_stay(path, is_held, done):
                    continue
                found = read_removal(self.session, path, claims.__contains__, breathe)
            except FileNotFoundError:
                continue  # another process has removed it
            account.add(found)
            _count(by_writer, found)
            size_bytes = found.removal.size_bytes
            done.files += 1
            done.size_bytes += size_bytes
            done.left_bytes -= size_bytes
            step_bytes += size_bytes
            if done.left_bytes <= target_bytes or not breathe():
                return False
            if step_bytes >= _STEP_BYTES or len(account.removing) >= _STEP_FILES:
                return True
        return False

    def _has_to_stay(self, path: Path, is_held: IsHeld, done: Retired) -> bool:
        if self._watch.is_open(path):
            done.in_use += 1
            return True
        if done.left_bytes <= _HELD_TIMES * self.max_session_bytes and is_held(path, path.lstat()):
            done.held += 1
            return True
        return False


def finish_removal(session: Path) -> int:
    """Remove what a pass that was killed had entered into the account; how many files stayed all the same.

    Raises:
        OSError, DamagedInput: as `Retention.run`.
    """
    with locked(retention_pass_file(session), create=True) as mine:
        account = read_account(session)
        if mine and account.removing:
            _remove(session, account)
            write_account(session, account)
        return len(account.removing)


def _by_age(chains: dict[str, list[_Segment]]) -> Iterator[_Segment]:
    """By their last change, those of one live name in the order of their numbers whatever the clock did."""
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


def _count(by_writer: dict[str, WriterRetired], found: ScannedFile) -> None:
    for writer, numbers in found.numbers.items():
        first = numbers.lowest
        before = by_writer.get(writer) or WriterRetired(writer, 0, first, 0, 0, 0)
        by_writer[writer] = WriterRetired(
            writer,
            before.events + len(numbers),
            min(before.first_seq, first),
            max(before.last_seq, numbers.highest),
            before.files + 1,
            before.size_bytes + found.removal.size_bytes,
        )


def _remove(session: Path, account: RetiredAccount, *, at_once: bool = False) -> None:
    """Remove the files that the account says are going, and book those that are gone.

    Where somebody reads by name and goes on reading they stay, to be removed by the next pass, but `at_once`.
    """
    waiting = [removal for removal in account.removing if removal.still_there(session)]
    if waiting:
        with nobody_reading(session) as alone:
            for removal in waiting if alone or at_once else ():
                with suppress(FileNotFoundError):
                    (session / removal.file).unlink()
    account.settle(session)


_GOING: Final = ".removing-"
# a directory without description and claims may be one that is just being made
_MAKING_S: Final = 3600.0
# what another machine writes cannot be asked there, only by what it leaves
_QUIET_S: Final = 24 * 3600.0


def living_writers(session: Path) -> dict[str, int]:
    """The writers of a session whose processes run, and their pids.

    The process that began a session and has ended it may run on: its writers are closed.
    """
    ended = None
    with contextlib.suppress(InputError):  # then every process that runs counts
        info = open_session(session)
        ended = None if info.ended_at is None else (info.pid, info.process_start_ticks)
    return {
        writer: claim.pid
        for writer, claim in read_claims(session).items()
        if (claim.pid, claim.process_start_ticks) != ended and claim.is_alive()
    }


def who_writes(session: Path, *, now_s: float | None = None) -> str | None:
    """Who may write to a session now, a clause: processes here, or another machine; None if nobody does."""
    pids = sorted(set(living_writers(session).values()))
    if pids:
        return f"process {', '.join(map(str, pids))} writes to it"
    return written_elsewhere(session, now_s=now_s)


def why_in_use(session: Path, *, now_s: float | None = None) -> str | None:
    """Why a session must not be removed now, a clause; None if nobody uses it."""
    now_s = time.time() if now_s is None else now_s
    if (reason := who_writes(session, now_s=now_s)) is not None:
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
    """Whether another machine may write to a session, a clause; None if it does not, or ended a day ago."""
    now_s = time.time() if now_s is None else now_s
    try:
        info = open_session(session)
    except InputError:
        return None  # no description that could name another machine
    if info.ended_at is not None or info.host in {"", hostname()}:
        return None
    if now_s - _newest_change(session) >= _QUIET_S:
        return None
    return f"it was written on {info.host} within a day and has not ended"


def _root_runs(info: SessionInfo) -> bool:
    """Whether the process that began the session runs here; it may have ended the session and run on."""
    if info.ended_at is not None or info.host != hostname() or info.boot_id != boot_id():
        return False
    if info.process_start_ticks is None:
        return False
    return process_start_ticks(info.pid) == info.process_start_ticks


def _newest_change(session: Path) -> float:
    newest = 0.0
    for path in [session, *tree_files(session)]:
        with contextlib.suppress(FileNotFoundError):
            newest = max(newest, path.lstat().st_mtime)
    return newest


def oldest_beyond(root: Path, keep: int) -> list[SessionRef]:
    """The sessions that are more than the newest `keep`, oldest first."""
    found = list_sessions(root)
    return found[: max(len(found) - keep, 0)]


def remove_session(session: Path) -> bool:
    """Remove a session whole; False if another process was faster. No link is followed.

    Raises:
        OSError: it cannot be removed; what is left of it is no session any more, or all of it still is one.
    """
    root = session.parent
    going = root / f"{_GOING}{session.name}.{os.urandom(4).hex()}"
    try:
        session.rename(going)
    except FileNotFoundError:
        return False
    # a kill in between leaves the directory, by which `finish_removals` knows whose links to look for
    _drop_links(_links_to_runs(root, going), {session.name})
    delete_tree(going)
    return True


def finish_removals(root: Path) -> int:
    """Go on with removals that were interrupted; how many there were."""
    left = left_overs(root)
    if left:
        names = {path.name.removeprefix(_GOING).rpartition(".")[0] for path in left}
        _drop_links(entries_in(root / "runs"), names)
    for path in left:
        delete_tree(path)
    return len(left)


def drop_dead_links(root: Path) -> None:
    """Remove the links to runs that are gone."""
    for link in entries_in(root / "runs"):
        with contextlib.suppress(FileNotFoundError):
            of_session = link.is_symlink() and any(map(is_session_name, link.readlink().parts))
            if of_session and not link.exists():
                link.unlink()


def left_overs(root: Path) -> list[Path]:
    """The removals under a root that were interrupted."""
    return [path for path in entries_in(root) if path.name.startswith(_GOING)]


def delete_tree(path: Path) -> None:
    """Delete a directory by descriptors, so that no link in it leads elsewhere; others may be at it too."""
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


def _links_to_runs(root: Path, session: Path) -> list[Path]:
    """Where the links to a session's runs stand, by the names of the runs; every link where it says none."""
    links = root / "runs"
    try:
        names = [run.name for run in run_dirs(session)]
        return [links / name for name in (*names, open_session(session).session_uid)] if names else []
    except (InputError, OSError):
        return entries_in(links)


def _drop_links(links: Iterable[Path], sessions: set[str]) -> None:
    """Remove those of the links that lead to the runs of sessions that are gone."""
    for link in links:
        with contextlib.suppress(FileNotFoundError):
            if link.is_symlink() and not sessions.isdisjoint(link.readlink().parts):
                link.unlink()
