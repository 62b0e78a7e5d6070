"""Where the processes of one program agree on a session, if some were started before any of them had one.

`<root>/.programs/<pid>-<start>@<place>` is named after the process that the others descend from, and holds
the name of the session. A process that begins to record keeps it locked until it knows its session, so that
one session is made.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from Agent.errors import AgentTraceError
from Agent.tree.files.descriptors import close_lock, open_lock
from Agent.tree.files.session import SessionInfo, open_session
from Agent.tree.files.writer_claim import boot_id, hostname, process_start_ticks
from Agent.tree.layout import DIRECTORY_MODE, is_session_name, make_root, programs_dir

keeps_apart = False
"""Set by a replay: what the code records that it calls belongs to no program's session."""

_PATIENCE_S: Final = 5.0
"""How long to wait for another process; one that was stopped meanwhile must not stop this one."""
_LONGEST_NAME: Final = 255


class Program(NamedTuple):
    """The process that all processes of a program descend from."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """That of a running process; None where the system does not say when it started."""
        ticks = process_start_ticks(pid)
        return None if ticks is None else cls(pid, ticks)

    def is_of(self, info: SessionInfo) -> bool:
        """Whether a session is this program's."""
        return (info.pid, info.process_start_ticks, info.host, info.boot_id) == (*self, hostname(), boot_id())


class Meeting:
    """What a program's processes agreed on; it is locked as long as it is held.

    Args:
        root: the trace root.
        program: whose sessions count.
        fd: of the open file.
    """

    def __init__(self, root: Path, program: Program, fd: int) -> None:
        self._root = root
        self._program = program
        self._fd = fd

    def session(self) -> Path | None:
        """The session that was agreed on; None if there is none that may still be written to."""
        name = os.pread(self._fd, _LONGEST_NAME, 0).decode("utf-8", "replace").strip()
        path = self._root / name
        if not is_session_name(name) or not _is_own_directory(path):
            return None
        try:
            info = open_session(path)
        except AgentTraceError:
            return None  # gone or damaged: the program begins another
        return path if info.recovered_at is None and self._program.is_of(info) else None

    def agree(self, session: Path) -> None:
        """Have the processes that come later join this one."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{session.name}\n".encode(), 0)

    def forget(self) -> None:
        """Have the processes that come later begin again; files that killed programs left go, too."""
        directory = programs_dir(self._root)
        place = _place()
        for name in os.listdir(directory):  # noqa: PTH208 - names are enough
            process, _, where = name.partition("@")
            pid, _, ticks = process.partition("-")
            if where != place or not pid.isdigit() or not ticks.isdigit():
                continue
            left = Program(int(pid), int(ticks))
            if left == self._program or Program.of(left.pid) != left:
                with contextlib.suppress(FileNotFoundError):
                    (directory / name).unlink()
        with contextlib.suppress(OSError):  # not empty
            directory.rmdir()


@contextlib.contextmanager
def meet(root: Path, program: Program, *, create: bool) -> Iterator[Meeting | None]:
    """Hold a program's meeting under a trace root; None where its processes cannot meet.

    That is: without advisory locks, where the root cannot be written, where the file or its directory belongs
    to somebody else or may be written by others, and where another process holds it for 5 s.

    Args:
        root: the trace root.
        program: whose processes meet.
        create: whether to make root and file; else None where they are not there.
    """
    if keeps_apart:
        yield None
        return
    try:
        if create:
            make_root(root)
        fd = _locked(_directory(root, create=create) / _name(program), create=create)
    except (ImportError, OSError):
        fd = None
    if fd is None:
        yield None
        return
    try:
        yield Meeting(root, program, fd)
    finally:
        close_lock(fd)


def _directory(root: Path, *, create: bool) -> Path:
    directory = programs_dir(root)
    if create:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=DIRECTORY_MODE)
    if not _is_own_directory(directory):
        raise PermissionError(13, "others can write there", str(directory))
    return directory


def _name(program: Program) -> str:
    return f"{program.pid}-{program.start_ticks}@{_place()}"


def _place() -> str:
    """Where a pid means what it means here: this machine or container, since it was booted."""
    return blake2b(f"{hostname()}|{boot_id()}".encode(), digest_size=6).hexdigest()


def _is_own_directory(path: Path) -> bool:
    """Whether it is a directory, no link, of this user's, that nobody else may write."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and _is_own(status)


def _is_own(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _locked(path: Path, *, create: bool) -> int | None:
    """A descriptor of the file of this name, locked; None if it cannot be trusted, or is held too long."""
    fcntl: Any = __import__("fcntl")
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        fd = open_lock(path, create=create)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            close_lock(fd)
            time.sleep(0.002)
            continue
        except OSError:
            close_lock(fd)
            raise
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and _is_own(status) and status.st_nlink == 1:
            return fd
        close_lock(fd)
        # without a name it was removed meanwhile, and the next to come makes another
        if status.st_nlink:
            return None
    return None
