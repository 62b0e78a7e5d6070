"""`python -m Agent.server.ingest` and `.query`: one role in a separate process, with few options."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from Agent.errors import AgentTraceError

if TYPE_CHECKING:
    from Agent.server.role_servers import RunningServer
    from Agent.server.settings import ServerRole

_EXIT_INTERRUPTED = 130


def run_role(role: str, arguments: Sequence[str]) -> int:
    """Run one role until it is stopped, and return the exit code; an error is one line on stderr."""
    from Agent.lazy_names import extra_needed

    try:
        with extra_needed():
            return _run(role, arguments)
    except AgentTraceError as error:
        sys.stderr.write(f"agent-trace: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED


def _run(role: str, arguments: Sequence[str]) -> int:
    from Agent.server.role_servers import serve, started_lines, warnings_of
    from Agent.server.settings import INGEST_PORT, QUERY_PORT, ServerSettings, default_database_url

    parser = argparse.ArgumentParser(
        prog=f"python -m Agent.server.{role}",
        description=f"The {role} role of the service; agent-trace serve has all options.",
    )
    parser.add_argument("--database", metavar="URL", default=os.environ.get("AGENT_TRACE_DATABASE"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=INGEST_PORT if role == "ingest" else QUERY_PORT)
    options = parser.parse_args(list(arguments))
    settings = ServerSettings(
        database_url=options.database or default_database_url(os.environ),
        host=options.host,
        ingest_port=options.port,
        query_port=options.port,
    )
    roles: list[ServerRole] = ["ingest" if role == "ingest" else "query"]
    for line in warnings_of(settings, roles):
        sys.stderr.write(f"agent-trace: {line}\n")

    def started(server: RunningServer) -> None:
        sys.stdout.write("\n".join([*started_lines(server), ""]))
        sys.stdout.flush()

    serve(settings, roles, started=started)
    return 0
