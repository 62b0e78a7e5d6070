"""Public names of the service: ingest, which only writes, and query, which only reads. Needs the extra."""

from typing import TYPE_CHECKING

from Agent.lazy_names import extra_needed as _extra_needed
from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.server.app import make_app
    from Agent.server.role_servers import RunningServer, serve
    from Agent.server.settings import ServerSettings

__all__ = ["make_app", "RunningServer", "serve", "ServerSettings"]

_HOMES = {
    "app": "make_app",
    "role_servers": "RunningServer serve",
    "settings": "ServerSettings",
}

__getattr__ = _lazy_names(__name__, _HOMES, _extra_needed)
