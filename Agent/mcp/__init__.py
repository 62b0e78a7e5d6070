"""The MCP server of `agent-trace mcp`: questions about recorded sessions as tools that only read.

`questions` has the tools, `worker` answers them in a process that can be stopped, `server` speaks MCP.
"""

from functools import partial as _partial
from typing import TYPE_CHECKING

from Agent.lazy_names import extra_needed as _extra_needed
from Agent.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from Agent.mcp.server import make_server, serve_stdio

__all__ = ["make_server", "serve_stdio"]

_HOMES = {"server": "make_server serve_stdio"}

__getattr__ = _lazy_names(__name__, _HOMES, _partial(_extra_needed, "mcp", "the MCP server"))
