"""`mcp`: answer an MCP client's questions about the recorded sessions."""

from __future__ import annotations

from typing import Annotated

import click

from Agent.cli.parameters import ABOVE_ZERO, Root, command


@command(json=False)
def mcp(
    root: Root,
    timeout: Annotated[float, "--timeout SECONDS", ABOVE_ZERO] = 60.0,
    max_chars: Annotated[int, "--max-chars N", click.IntRange(1000, 1_000_000)] = 20_000,
) -> None:
    """Answer questions of an MCP client about sessions.

    So an agent can debug its own runs. Speaks the Model Context Protocol on stdin and stdout; a client starts
    this command itself. The tools are sessions, analyze, journey, errors, debug, causes, state, diff and sql.
    All only read, and only under the trace root. What they return, recorded content without secrets, goes to
    the client and so to its model.

    Args:
        timeout: Stop an answer that takes longer.
        max_chars: The most characters of an answer; longer ones are cut, and say so.

    Examples:
        agent-trace mcp
        agent-trace mcp --root /path/of/trace --max-chars 40000
    """
    from Agent.mcp import serve_stdio

    serve_stdio(root, timeout_s=timeout, max_chars=max_chars)
