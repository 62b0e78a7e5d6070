"""Whole sessions: whether somebody uses one, and its removal, with which the next goes on after a kill.

A session that goes is renamed first, to a name that nothing takes for a session, and deleted under that.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from Agent.errors import InputError
from Agent.tree.files.session import SessionInfo, open_session
from Agent.tree.files.writer_claim import boot_id, hostname, process_start_ticks, read_claims
from Agent.tree.layout import SessionRef, entries_in, list_sessions, tree_files

__all__ = [
    "delete_tree",
    "finish_removals",
    "left_overs",
    "living_writers",
    "oldest_beyond",
    "remove_session",
    "why_in_use",
    "written_elsewhere",
]

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


def why_in_use(session: Path, *, now_s: float | None = None) -> str | None:
    """Why a session must not be removed now, a clause; None if nobody uses it."""
    now_s = time.time() if now_s is None else now_s
    for writer, pid in living_writers(session).items():
        return f"process {pid} writes to it (writer {writer})"
    try:
        info = open_session(session)
    except InputError:
        if not read_claims(session) and now_s - session.lstat().st_mtime < _MAKING_S:
            return "it may still be in creation"
        return None
    if _root_runs(info):
        return f"process {info.pid}, which started it, still runs"
    return written_elsewhere(session, now_s=now_s)


def written_elsewhere(session: Path, *, now_s: float | None = None) -> str | None:
    """Whether another machine may write to a session, a clause; None if it does not, or ended a day ago."""
    now_s = time.time() if now_s is None else now_s
    try:
        info = open_session(session)
    except InputError:
        return None
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
    delete_tree(going)
    _drop_links(root / "runs", session.name)
    return True


def finish_removals(root: Path) -> int:
    """Go on with removals that were interrupted; how many there were."""
    count = 0
    for path in left_overs(root):
        delete_tree(path)
        _drop_links(root / "runs", path.name.removeprefix(_GOING).rpartition(".")[0])
        count += 1
    return count


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


def _drop_links(runs: Path, session_name: str) -> None:
    """Remove the links to the runs of a session that is gone."""
    for link in entries_in(runs):
        with contextlib.suppress(FileNotFoundError):
            if link.is_symlink() and session_name in link.readlink().parts:
                link.unlink()
