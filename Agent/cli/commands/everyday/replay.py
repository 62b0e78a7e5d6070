"""`replay`, `play`, `diff`: a run again with your code, a run as recorded, and two runs compared."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from Agent.cli.options import parameters
from Agent.cli.options.parameters import ignore_option, normalise_option
from Agent.cli.output import render
from Agent.cli.output.progress import bar, shown
from Agent.cli.output.render import emit_judged

if TYPE_CHECKING:
    from Agent.replay import ReplayReport


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


@click.command(
    epilog=parameters.examples("agent-trace play last/creator_017", "agent-trace play last --json")
)
@parameters.run_argument
@parameters.agent_option
@parameters.json_option
@parameters.root_option
def play(run: str, agent: str | None, as_json: bool, root: Path) -> int:
    """Step through a run as recorded, without your code.

    Shows each step with its arguments, the recorded response and what it changed; at the end, whether the log
    is complete. There is no verdict: exit code 0 means complete, 1 damaged. RUN is last, a session or
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
@parameters.target_option()
@parameters.timeout_option("timeout_seconds", "Stop after this many seconds; with --all, per run.")
@normalise_option
@ignore_option
@parameters.network_option
@click.option(
    "--strict-factory",
    is_flag=True,
    help="Treat another first state than the recorded one as a difference.",
)
@click.option("--no-writes", is_flag=True, help="Refuse to open existing files for writing.")
@click.option(
    "--keep-going",
    type=click.IntRange(min=1),
    is_flag=False,
    flag_value=20,
    metavar="[N]",
    help="Look for up to N differences after the first one; 20 without N.",
)
@click.option("--pdb", is_flag=True, help="Stop in the debugger before the step that differs.")
@click.option("--all", "every", is_flag=True, help="All recorded runs; --agent is then a pattern.")
@parameters.since_option
@parameters.workers_option("With --all: number of parallel replays; default: all cores.")
@parameters.json_option
@parameters.root_option
def replay(
    run: str | None,
    agent: str | None,
    every: bool,
    since: parameters.Since | None,
    workers: int | None,
    as_json: bool,
    keep_going: int | None,
    pdb: bool,
    **how: Any,
) -> int:
    """Replay a run with your current code and compare the two.

    Calls the recorded actions on a fresh object in recorded order. Tools and other agents return their
    recorded responses; results and changed state are compared. Exit code 0: IDENTICAL or EQUIVALENT; 1:
    DIVERGED; 4: UNVERIFIED; 3: the target cannot be imported. RUN is last, a session or SESSION/agent_id.
    --all replays every session under the root and groups the failures.
    """
    from Agent.replay import replay_run

    context = click.get_current_context()
    if (run is None) is not every:
        raise click.UsageError("give a RUN, or --all" if run is None else "--all takes no RUN", context)
    if not every and (since is not None or workers is not None):
        raise click.UsageError("--since and --workers require --all", context)
    if every and (keep_going is not None or pdb):
        raise click.UsageError("--keep-going and --pdb require a single RUN", context)
    parameters.find_code_here()
    if every:
        return replay_all(agent=agent, since=since, workers=workers, as_json=as_json, **how)
    report = replay_run(
        run, how.pop("target"), how.pop("root"), agent, keep_going=keep_going or 0, pdb=pdb, **how
    )
    if as_json:
        render.emit_json(report.to_dict())
    else:
        show_replay(report, width=render.width_of_terminal())
    return report.exit_code


def show_replay(report: ReplayReport, *, indent: str = "", width: int | None = None) -> None:
    """The report of a replay, its verdict set off; lines are wrapped at `width` where that is given."""
    emit_judged(str(report), str(report.verdict), indent=indent, width=width)


@click.command(
    epilog=parameters.examples(
        "agent-trace diff 20261120_103045 20261121_090000",
        "agent-trace diff 20261120_103045/creator_017 last/creator_017 --json",
        "agent-trace diff --stats 20261120_103045 20261121_090000",
        "agent-trace diff --stats --by agent_version last",
        "agent-trace diff --stats --by agent_version --values 1.2,1.3 --json",
    )
)
@click.argument("runs", metavar="[A] [B]", nargs=-1, shell_complete=parameters.complete_runs)
@click.option("--exhaustive", is_flag=True, help="Compare every event instead of bisecting.")
@click.option("--stats", is_flag=True, help="Compare statistics of behaviour.")
@click.option(
    "--by", "field", metavar="FIELD", help="Compare the events of one session by the values of a field."
)
@click.option("--values", metavar="X,Y", help="Two values of the field; default: the two commonest.")
@parameters.json_option
@parameters.root_option
def diff(
    runs: tuple[str, ...],
    exhaustive: bool,
    stats: bool,
    field: str | None,
    values: str | None,
    as_json: bool,
    root: Path,
) -> int:
    """Find where two runs differ, or compare their statistics.

    Prints the first tick, agent and field that differ, both values, and the last event that both runs have in
    common. Compares events and states, including the first and last states, but not ids and times. A and B
    are sessions, runs, forks or SESSION/agent_id.

    With --stats: counts, rates, rewards, errors and latencies of two sessions, or of two versions in one,
    each with the size of the change and whether noise explains it. Exit code 0: no difference; 1: different;
    4: nothing to compare.
    """
    context = click.get_current_context()
    is_in_numbers = stats or field is not None
    wanted = 1 if field is not None else 2
    if len(runs) > wanted or (field is None and len(runs) < 2):
        raise click.UsageError(
            "--by needs exactly one session"
            if field is not None
            else f"give two {'sessions' if is_in_numbers else 'runs'}, A and B",
            context,
        )
    if values is not None and field is None:
        raise click.UsageError("--values requires --by", context)
    if exhaustive and is_in_numbers:
        raise click.UsageError("--exhaustive cannot be combined with --stats or --by", context)
    if is_in_numbers:
        return _in_numbers(runs, field, values, root, as_json=as_json)
    from Agent.replay import compare_runs

    with bar("comparing") as show:
        found = compare_runs(runs[0], runs[1], root, exhaustive=exhaustive, progress=show)
    if as_json:
        render.emit_json(found.to_dict())
    else:
        render.emit_text(str(found))
    return found.exit_code


def _in_numbers(
    runs: tuple[str, ...], field: str | None, values: str | None, root: Path, *, as_json: bool
) -> int:
    from Agent.analysis import LogAnalyzer

    analyzer = LogAnalyzer(parameters.session_of(runs[0] if runs else "last"), root)
    with shown("comparing"):
        if field is not None:
            chosen = [value.strip() for value in values.split(",")] if values else []
            found = analyzer.compare_by(field, chosen)
        else:
            found = analyzer.compare(parameters.session_of(runs[1]))
    if as_json:
        render.emit_json(found.to_dict())
    else:
        render.emit_report(str(found), width=render.width_of_terminal())
    return 1 if found.real else 0
