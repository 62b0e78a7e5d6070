"""`run`: run a program with recording switched on, without an edit of it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import click

from Agent.cli import parameters
from Agent.cli.parameters import command, misuse

_MODULE: Final = "Agent.cli.run_program"
_PACKAGES: Final = Path(__file__).resolve().parents[3]
"""Where this package is; a source tree need not be installed."""


@command(json=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    *,
    program: Annotated[str, "PROGRAM"],
    arguments: Annotated[tuple[str, ...], "[ARGUMENTS]", click.UNPROCESSED],
    is_module: Annotated[bool, "-m --module"],
    no_spans: bool,
    endpoint: Annotated[str | None, "--export-to URL"],
    content: bool,
    root: parameters.Root,
) -> None:
    """Run a program and record it, without an edit of it.

    Records what the program records itself, the classes that agent-trace.toml names under [[instrument]], and
    the spans of all libraries with an installed OpenTelemetry instrumentation, each in the action of the
    agent that caused it. The exit code is the program's.

    Args:
        is_module: PROGRAM is a module, as in python -m.
        no_spans: Record no spans of libraries, for programs that set their own tracer provider.
        endpoint: Also export the session as spans to this receiver of OTLP while it runs.
        content: Export arguments, results and prompts, too.

    Examples:
        agent-trace run simulation.py --ticks 100
        agent-trace run -m my_package.main
        agent-trace run --export-to http://localhost:6006 simulation.py
    """
    if any("\0" in word for word in (program, *arguments)):
        raise misuse("a program and its arguments cannot hold a NUL")
    settings = {"is_module": is_module, "spans": not no_spans, "endpoint": endpoint, "content": content}
    # Not `-m`: the program's directory takes the first place of the path, as if Python had started it.
    start = f"import sys; sys.path[0] = {str(_PACKAGES)!r}; from {_MODULE} import main; sys.exit(main())"
    words = [sys.executable, "-c", start, json.dumps(settings), program, *arguments]
    sys.stdout.flush()
    environment = {**os.environ, "AGENT_TRACE_ROOT": str(Path(root).absolute())}
    os.execve(sys.executable, words, environment)  # noqa: S606 - this interpreter, this package
