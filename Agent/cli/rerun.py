"""Commands that run again what is recorded: `play`, `replay`; `Agent.replay` does it, here it is shown."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from Agent.cli import parameters, render
from Agent.cli.normalising import normalise_option
from Agent.cli.verdicts import emit_judged

if TYPE_CHECKING:
    from Agent.replay import ReplayReport


@click.command(
    epilog=parameters.examples("agent-trace play last/creator_017", "agent-trace play last --json")
)
@parameters.run_argument
@parameters.agent_option
@parameters.json_option
@parameters.root_option
def play(run: str, agent: str | None, as_json: bool, root: Path) -> int:
    """Step through a run as recorded, without your code.

    Each step with its arguments, the recorded answer and what it changed; at the end, whether the record is
    whole. Nothing is judged: exit code 0 says that it is, 1 that it is damaged. RUN is last, a session or
    SESSION/agent_id.
    """
    from Agent.replay import play_run

    played = play_run(run, root, agent)
    if as_json:
        render.emit_json(
            {
                "run": played.run,
                "session": str(played.session),
                "agent_id": played.agent_id,
                "complete": played.is_complete,
                "sound": played.sound,
                "damage": list(played.damage),
                "steps": [asdict(step) for step in played.steps],
            }
        )
        return played.exit_code
    width = render.width_of_terminal()
    for line in played.lines():
        shown = render.clean(line)
        render.emit(shown if width is None else render.clip(shown, width))
    return played.exit_code


@click.command(
    epilog=parameters.examples(
        "agent-trace replay last/creator_017",
        "agent-trace replay last/creator_017 --target Agent.demo.targets:repaired_creator",
        "agent-trace replay --all --target shop.agents:build",
        "agent-trace replay --all --agent 'creator_*' --since=-7d --json",
    )
)
@click.argument("run", metavar="[RUN]", required=False, shell_complete=parameters.complete_runs)
@parameters.agent_option
@click.option(
    "--target",
    metavar="MODULE:FACTORY",
    help="What builds the agent: a function of a spec. Without it, the one that the session remembers.",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up after that; with --all, on one run.",
)
@normalise_option
@click.option("--network", is_flag=True, help="Let the code use the network while it is driven.")
@click.option("--all", "every", is_flag=True, help="All recorded runs; --agent is a pattern then.")
@parameters.since_option
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="--all: runs at one time; all cores without."
)
@parameters.json_option
@parameters.root_option
def replay(
    run: str | None,
    agent: str | None,
    every: bool,
    since: parameters.Since | None,
    workers: int | None,
    as_json: bool,
    **how: Any,
) -> int:
    """Drive your code again and compare it with a run.

    The recorded actions are called on a fresh object in recorded order, tools and other agents answer from
    the record, and results and changed state are compared. Exit code 0 says IDENTICAL or EQUIVALENT,
    1 DIVERGED, 4 UNVERIFIED. RUN is last, a session or SESSION/agent_id; --all drives every session under
    the root and tells in what ways they fail.
    """
    from Agent.replay import replay_run

    context = click.get_current_context()
    if (run is None) is not every:
        raise click.UsageError("name a RUN, or say --all" if run is None else "--all takes no RUN", context)
    if not every and (since is not None or workers is not None):
        raise click.UsageError("--since and --workers go with --all", context)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # where `python -m` would find the code too
    if every:
        from Agent.cli.history import replay_all

        return replay_all(agent=agent, since=since, workers=workers, as_json=as_json, **how)
    report = replay_run(run, how.pop("target"), how.pop("root"), agent, **how)
    if as_json:
        render.emit_json(report.to_dict())
    else:
        show_replay(report, width=render.width_of_terminal())
    return report.exit_code


def show_replay(report: ReplayReport, *, indent: str = "", width: int | None = None) -> None:
    """The report of a re-drive, its verdict set off; lines are wrapped at `width` where that is given."""
    emit_judged(str(report), str(report.verdict), indent=indent, width=width)
