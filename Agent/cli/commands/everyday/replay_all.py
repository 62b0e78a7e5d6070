"""`replay --all`: every recorded run replayed; `Agent.replay.history` does it, here it is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from Agent.cli.options import parameters
from Agent.cli.output import render
from Agent.cli.output.progress import bar
from Agent.cli.output.verdicts import emit_judged

__all__ = ["replay_all"]


def replay_all(*, agent: str | None, since: parameters.Since | None, as_json: bool, **how: Any) -> int:
    """Replay all that is asked for and show how it went; the exit code."""
    from Agent.replay.history import replay_runs

    with bar("replaying all runs") as show:
        report = replay_runs(agents=agent, since=_moment(since), progress=show, **how)
    if as_json:
        render.emit_json(report.to_dict())
        return report.exit_code
    emit_judged(str(report), str(report.verdict), width=render.width_of_terminal())
    if report.verdict == "DIVERGED":
        first = next(run for run in report.failing if run.exit_code == 1)
        render.note(
            f"to make the first one small: agent-trace golden shrink {first.run} --target {first.target}"
        )
    return report.exit_code


def _moment(since: parameters.Since | None) -> datetime | None:
    if since is None:
        return None
    if since.timestamp_us is None:
        raise click.UsageError("--since takes a time here, not a tick", click.get_current_context())
    return datetime.fromtimestamp(since.timestamp_us / 1e6, UTC)
