"""Commands that run again what is recorded: `play`, `replay`; `Agent.replay` does it, here it is shown."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from Agent.cli import parameters, render

if TYPE_CHECKING:
    from Agent.replay import ReplayReport

VERDICT_STYLES: dict[str, dict[str, Any]] = {
    "IDENTICAL": {"fg": "green", "bold": True},
    "EQUIVALENT": {"fg": "green", "bold": True},
    "DIVERGED": {"fg": "red", "bold": True},
    "UNVERIFIED": {"fg": "yellow", "bold": True},
}


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
    )
)
@parameters.run_argument
@parameters.agent_option
@click.option(
    "--target",
    metavar="MODULE:FACTORY",
    help="What builds the agent: a function of a spec. Without it, the one that the session remembers.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Give up after that."
)
@parameters.json_option
@parameters.root_option
def replay(
    run: str, agent: str | None, target: str | None, timeout: float | None, as_json: bool, root: Path
) -> int:
    """Drive your code again and compare it with a run.

    The recorded actions are called on a fresh object in recorded order, tools and other agents answer from
    the record, and results and changed state are compared. Exit code 0 says IDENTICAL or EQUIVALENT,
    1 DIVERGED, 4 UNVERIFIED. RUN is last, a session or SESSION/agent_id.
    """
    from Agent.replay import replay_run

    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # where `python -m` would find the code too
    report = replay_run(run, target, root, agent, timeout_seconds=timeout)
    if as_json:
        render.emit_json(report.to_dict())
    else:
        show_replay(report, width=render.width_of_terminal())
    return report.exit_code


def show_replay(report: ReplayReport, *, indent: str = "", width: int | None = None) -> None:
    """The report of a re-drive, its verdict set off; lines are wrapped at `width` where that is given."""
    verdict = str(report.verdict)
    for number, line in enumerate(str(report).splitlines()):
        lines = render.wrapped(indent + render.clean(line), width)
        if number == 0:
            lines[0] = lines[0].replace(verdict, render.paint(verdict, **VERDICT_STYLES[verdict]), 1)
        for shown in lines:
            render.emit(shown)
