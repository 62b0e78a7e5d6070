"""What the commands that explain share: which session is asked about, and facts as two columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from Agent.cli.options import parameters

__all__ = ["analyzer_of", "run_option", "session_of"]

F = TypeVar("F", bound=Callable[..., Any])


run_option = click.argument(
    "run", metavar="[RUN]", required=False, shell_complete=parameters.complete_sessions
)


def session_of(run: str | None, session: str, agent: str | None = None) -> str:
    """The session named; of SESSION/agent the session, where the agent is the one asked about.

    Raises:
        click.UsageError: RUN names another agent than AGENT.
    """
    if run is None:
        return session
    name, slash, named = run.rpartition("/")
    if slash and agent is not None and not Path(run).exists():
        if named != agent:
            raise click.UsageError(
                f"RUN names {named} and AGENT is {agent}", click.get_current_context(silent=True)
            )
        return name
    return run


def analyzer_of(run: str | None, session: str, root: Path, agent: str | None = None) -> Any:
    """The `LogAnalyzer` of the session named."""
    from Agent.analysis import LogAnalyzer

    return LogAnalyzer(session_of(run, session, agent), root)
