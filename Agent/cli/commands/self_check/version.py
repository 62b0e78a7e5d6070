"""`agent-trace version`: what a report of a mistake should name."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

import click

from Agent.cli.options import parameters
from Agent.cli.output import render
from Agent.version import __version__

__all__ = ["version"]

_LIBRARIES = ("orjson", "duckdb", "zstandard", "watchdog")


@click.command(epilog=parameters.examples("agent-trace version --json"))
@parameters.json_option
def version(as_json: bool) -> None:
    """Show the versions of Agent Trace, Python and libraries.

    Include them in a bug report.
    """
    found = {
        "agent-trace": __version__,
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        **{name: _version(name) for name in _LIBRARIES},
    }
    if as_json:
        render.emit_json(found)
        return
    for name, number in found.items():
        render.emit(f"{name:<12}  {number or 'not installed'}")


def _version(name: str) -> str | None:
    try:
        return version_of(name)
    except PackageNotFoundError:
        return None
