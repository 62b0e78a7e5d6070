"""The sessions under a trace root, and the view of one of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from Agent.analysis.listing import size_on_disk
from Agent.analysis.session import find, trace_root
from Agent.errors import SessionNotFound
from Agent.tree.files.session import lineage_of
from Agent.tree.files.writer_claim import is_written
from Agent.tree.layout import readable_sessions
from Agent.view.lanes import description
from Agent.view.session_view import SessionView

MOST_SESSIONS: Final = 500
NEWEST: Final = "newest"


def session_list(root: Path | None = None) -> dict[str, Any]:
    """List the newest 500 sessions under a trace root, newest first.

    Returns:
        `sessions`: dicts with `id`, `started` (RFC 3339, None if unknown), `size_bytes`, `is_running`, and
            `fork_of`: None, or the `session` from which it was forked and the `step`.
    """
    sessions = readable_sessions(trace_root(root))[-MOST_SESSIONS:]
    return {"sessions": [_row(each.session_id, each.path) for each in reversed(sessions)]}


def _row(session_id: str, path: Path) -> dict[str, Any]:
    info, lineage = description(path), lineage_of(path)
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
