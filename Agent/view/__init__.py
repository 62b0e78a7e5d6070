"""The pages' view of sessions: lists, an index of each session, and windows of it; plain data, no HTML.

Start at `session_view.SessionView`. ui/README.md describes the answers. Needs numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from Agent.lazy_names import extra_needed as _extra_needed
from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.view.session_view import SessionView
    from Agent.view.sessions import open_view, session_list

__all__ = ["open_view", "session_list", "SessionView"]

_HOMES = {
    "session_view": "SessionView",
    "sessions": "open_view session_list",
}

__getattr__ = _lazy_names(__name__, _HOMES, lambda: _extra_needed("view", "the view of a session"))
