"""Public names of the pages of a trace root, `agent-trace view`. Needs the extra `view`."""

from typing import TYPE_CHECKING

from Agent.lazy_names import extra_needed as _extra_needed
from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.server.pages.app import Pages, PagesServer
    from Agent.server.pages.editor import editor_of
    from Agent.server.pages.sharing import shared_page

__all__ = ["Pages", "PagesServer", "editor_of", "shared_page"]

_HOMES = {
    "app": "Pages PagesServer",
    "editor": "editor_of",
    "sharing": "shared_page",
}

__getattr__ = _lazy_names(__name__, _HOMES, lambda: _extra_needed("view", "agent-trace view"))
