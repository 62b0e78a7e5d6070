"""The sessions under a trace root, the view of one of them, and its changes while it grows."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any, Final, Self

from Agent.analysis.questions.listing import size_on_disk
from Agent.analysis.session import find
from Agent.errors import SessionNotFound
from Agent.tree.default_root import trace_root
from Agent.tree.files.session import is_written, lineage_of, session_info
from Agent.tree.layout import readable_sessions
from Agent.view.session_view import SessionView

MOST_SESSIONS: Final = 500
NEWEST: Final = "newest"
_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 512 * 1024


def session_list(root: Path | None = None) -> dict[str, Any]:
    """List the newest 500 sessions under a trace root, newest first.

    Returns:
        `sessions`: dicts with `id`, `started` (RFC 3339, None if unknown), `size_bytes`, `is_running`, and
            `fork_of`: None, or the `session` from which it was forked and the `step`.
    """
    sessions = readable_sessions(trace_root(root))[-MOST_SESSIONS:]
    return {"sessions": [_row(each.session_id, each.path) for each in reversed(sessions)]}


def _row(session_id: str, path: Path) -> dict[str, Any]:
    info, lineage = session_info(path), lineage_of(path)
    return {
        "id": session_id,
        "started": None if info is None else info.started_at or None,
        "size_bytes": size_on_disk(path),
        "is_running": is_written(path, is_ended=info is not None and info.ended_at is not None),
        "fork_of": None if lineage is None else {"session": lineage.session_id, "step": lineage.step},
    }


def open_view(session: str, *, root: Path | None = None) -> SessionView:
    """Open the view of a session; the caller closes it.

    Args:
        session: its id, a prefix of exactly one id, or `newest`.
        root: the trace root; default: the configured one, else ./trace.

    Raises:
        SessionNotFound: no session matches, or it has no events yet.
    """
    if os.sep in session:
        raise SessionNotFound(f"no session {session[:80]!r}", remedy="give an id, not a path")
    return SessionView(find(None if session == NEWEST else session, trace_root(root)))


def release_large_arrays() -> None:
    """Make the C library return arrays of 512 KiB and more to the system when they are freed.

    By default, glibc raises that limit up to 32 MB with each freed array. The index of a growing session is
    rebuilt many times per second, which would leave holes of its size in the heap. Only for a server's
    process; without `mallopt`, it does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


class Watch:
    """Reports news of a session to one page; while open, the files are checked many times per second.

    Args:
        view: the view of the session.
    """

    def __init__(self, view: SessionView) -> None:
        self._view = view
        self._reported: dict[str, Any] = {}
        self._version: object = None

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._view.watch(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._view.watch(-1)

    @property
    def is_behind(self) -> bool:
        """Return whether the session has changed since the last report."""
        return self._version is not self._view.version

    def news(self) -> dict[str, Any]:
        """Return the changes of the overview: `lanes` as {number: lane}, and the added `ticks`."""
        self._version = self._view.version
        overview, reported = self._view.overview(), self._reported
        self._reported = overview
        if not reported:
            return overview
        new = {name: value for name, value in overview.items() if reported[name] != value}
        if "lanes" in new:
            old = reported["lanes"]
            new["lanes"] = {
                number: lane
                for number, lane in enumerate(overview["lanes"])
                if number >= len(old) or lane != old[number]
            }
        count = len(reported["ticks"])
        if "ticks" in new and overview["ticks"][:count] == reported["ticks"]:
            new["more_ticks"] = new.pop("ticks")[count:]
        return new
