"""What `Agent.replay` does with recorded runs: `replay`, `play`, `diff`, `resume` and `fork`."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from Agent.cli import parameters, render
from Agent.cli.parameters import ignore_option, normalise_option
from Agent.cli.render import bar, emit_judged, shown, shown_forks
from Agent.event.clock import moment_of

if TYPE_CHECKING:
    from Agent.replay import ForkResult, ReplayReport
    from Agent.replay.playback import Playback


def replay_all(*, agent: str | None, since: parameters.Since | None, **how: Any) -> int:
    """Replay all that is asked for and show how it went; the exit code."""
    from Agent.replay.history import replay_runs

    with bar("replaying all runs") as show:
        report = replay_runs(agents=agent, since=_moment(since), progress=show, **how)
    if render.gave_json(report.to_dict):
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
    return moment_of(since.timestamp_us)


@parameters.command("agent-trace play last/creator_017", "agent-trace play last --json")
@parameters.run_argument
@parameters.agent_option
@parameters.common_options
def play(run: str, agent: str | None, root: Path) -> int:
    """Step through a run as recorded, without your code.

    Shows each step with its arguments, the recorded response and what it changed; at the end, whether the log
    is complete. There is no verdict: exit code 0 means complete, 1 damaged. RUN is last, a session or
    SESSION/agent_id.
    """
    from Agent.replay import play_run

    played = play_run(run, root, agent)
    if render.gave_json(lambda: _played(played)):
        return played.exit_code
    width = render.width_of_terminal()
    for line in played.lines():
        shown = render.clean(line)
        render.emit(shown if width is None else render.clip(shown, width))
    return played.exit_code


def _played(played: Playback) -> dict[str, Any]:
    return {
        "run": played.run,
        "session": str(played.session),
        "agent_id": played.agent_id,
        "complete": played.is_complete,
        "sound": played.sound,
        "damage": list(played.damage),
        "steps": [asdict(step) for step in played.steps],
    }


@parameters.command(
    "agent-trace replay last/creator_017",
    "agent-trace replay last/creator_017 --target Agent.demo.targets:repaired_creator",
    "agent-trace replay --all --target shop.agents:build",
    "agent-trace replay --all --agent 'creator_*' --since=-7d --json",
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
    "--program/--no-program",
    default=True,
    help="Run the recorded program again as a whole if calls of its actions prove nothing.",
)
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
@parameters.common_options
def replay(
    run: str | None,
    agent: str | None,
    every: bool,
    since: parameters.Since | None,
    workers: int | None,
    keep_going: int | None,
    pdb: bool,
    **how: Any,
) -> int:
    """Replay a run with your current code and compare the two.

    Calls the recorded actions on a fresh object in recorded order. Tools and other agents return their
    recorded responses; results and changed state are compared. Exit code 0: IDENTICAL or EQUIVALENT; 1:
    DIVERGED; 4: UNVERIFIED; 3: the target cannot be imported. RUN is last, a session or SESSION/agent_id.
    --all replays every session under the root and groups the failures.

    If that proves nothing and the recorded script is here, the script runs twice as a whole: in a copy of
    this directory, without network, new processes or writes elsewhere. --no-program prevents it.
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
        return replay_all(agent=agent, since=since, workers=workers, **how)
    report = replay_run(
        run, how.pop("target"), how.pop("root"), agent, keep_going=keep_going or 0, pdb=pdb, **how
    )
    if not render.gave_json(report.to_dict):
        show_replay(report, width=render.width_of_terminal())
    return report.exit_code


def show_replay(report: ReplayReport, *, indent: str = "", width: int | None = None) -> None:
    """The report of a replay, its verdict set off; lines are wrapped at `width` where that is given."""
    emit_judged(str(report), str(report.verdict), indent=indent, width=width)


@parameters.command(
    "agent-trace diff 20261120_103045 20261121_090000",
    "agent-trace diff 20261120_103045/creator_017 last/creator_017 --json",
    "agent-trace diff --stats 20261120_103045 20261121_090000",
    "agent-trace diff --stats --by agent_version last",
    "agent-trace diff --stats --by agent_version --values 1.2,1.3 --json",
)
@click.argument("runs", metavar="[A] [B]", nargs=-1, shell_complete=parameters.complete_runs)
@click.option("--exhaustive", is_flag=True, help="Compare every event instead of bisecting.")
@click.option("--stats", is_flag=True, help="Compare statistics of behaviour.")
@click.option(
    "--by", "field", metavar="FIELD", help="Compare the events of one session by the values of a field."
)
@click.option("--values", metavar="X,Y", help="Two values of the field; default: the two commonest.")
@parameters.common_options
def diff(
    runs: tuple[str, ...],
    exhaustive: bool,
    stats: bool,
    field: str | None,
    values: str | None,
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
        return _in_numbers(runs, field, values, root)
    from Agent.replay import compare_runs

    with bar("comparing") as show:
        found = compare_runs(runs[0], runs[1], root, exhaustive=exhaustive, progress=show)
    if not render.gave_json(found.to_dict):
        render.emit_text(str(found))
    return found.exit_code


def _in_numbers(runs: tuple[str, ...], field: str | None, values: str | None, root: Path) -> int:
    from Agent.analysis import LogAnalyzer

    analyzer = LogAnalyzer(parameters.session_of(runs[0] if runs else "last"), root)
    with shown("comparing"):
        if field is not None:
            chosen = [value.strip() for value in values.split(",")] if values else []
            found = analyzer.compare_by(field, chosen)
        else:
            found = analyzer.compare(parameters.session_of(runs[1]))
    if not render.gave_json(found.to_dict):
        width = render.width_of_terminal()
        render.emit_report(found.to_text(width), width=width)
    return 1 if found.real else 0


def run_sweep(
    run: str,
    step: str,
    patch: Any,
    *,
    seeds: int | None,
    vary: tuple[str, ...],
    outcome: str | None,
    **how: Any,
) -> int:
    """Try every change and show what came of them; the exit code."""
    from Agent.replay import sweep_forks

    every_seed = range(1, (seeds or 0) + 1)
    with shown_forks("sweeping"):
        report = sweep_forks(
            run, step, _patches(patch, vary), seeds=every_seed, outcome=outcome or "error", **how
        )
    if not render.gave_json(report.to_dict):
        render.emit_text(str(report))
    return report.exit_code


def _patches(patch: Any, vary: tuple[str, ...]) -> list[Any]:
    """A list of patches, and every combination of values of the fields that vary on top of each."""
    is_list_of_patches = isinstance(patch, list) and not all(
        isinstance(each, dict) and "op" in each for each in patch
    )
    given = patch if is_list_of_patches else [] if patch is None else [patch]
    if not vary:
        return list(given)
    fields = [_values(text) for text in vary]
    if any(isinstance(each, list) for each in given):
        raise click.UsageError(
            "--vary requires merge patches, not a list of operations", click.get_current_context()
        )
    combined = [
        dict(zip((name for name, _ in fields), values, strict=True))
        for values in itertools.product(*(values for _, values in fields))
    ]
    return [{**base, **more} for base in (given or [{}]) for more in combined]


def _values(text: str) -> tuple[str, list[Any]]:
    name, sign, values = text.partition("=")
    if not (name and sign and values):
        raise click.UsageError(f"--vary {text!r} is not FIELD=VALUE,VALUE", click.get_current_context())
    try:
        return name, orjson.loads(f"[{values}]")
    except orjson.JSONDecodeError:
        from Agent.replay.forks.outcome import json_or_text

        return name, [json_or_text(value.strip()) for value in values.split(",")]


_STEP_HELP = "Id of a checkpoint, step or event, tick:N, or the number of an action."
_LIVE_HELP = "A tool, model or agent whose calls may be executed; repeatable."


_options = parameters.together(
    parameters.run_argument,
    parameters.agent_option,
    click.option("--step", "--step-id", required=True, metavar="STEP", help=_STEP_HELP),
    parameters.target_option(),
    click.option("--live", multiple=True, metavar="NAME", help=_LIVE_HELP),
    parameters.timeout_option("timeout_seconds"),
    parameters.common_options,
)


@parameters.command(
    "agent-trace resume 01a1f918 --step step_5",
    "agent-trace resume last/creator_017 --step tick:40 --target Agent.demo.targets:creator",
)
@_options
def resume(run: str, agent: str | None, step: str, **how: Any) -> int:
    """Continue a recorded run from a point, as a new run.

    Restores the state at the point from a checkpoint, or by replaying the actions before it, and runs the
    remaining recorded actions. Clocks and generators continue from their recorded values. Tools, models and
    other agents return recorded responses; a call without one ends the new run (exit code 4) unless --live
    allows it. Exit code 0: the run ended as recorded; 1: it differs. RUN is a run, last, a session or
    SESSION/agent_id.
    """
    from Agent.replay import resume_from_checkpoint

    parameters.find_code_here()
    with shown_forks("resuming"):
        result = resume_from_checkpoint(_of_agent(run, agent), step, **how)
    return _show(result)


@parameters.command(
    """agent-trace fork 01a1f918 --step step_3 --modify '{"max_retries": 3}'""",
    """agent-trace fork last/creator_017 --step tick:20 --modify '{"followers": 5000}'""",
    "agent-trace fork last/creator_017 --step tick:20 --seed 3",
    "agent-trace fork last/creator_017 --step tick:20 --sweep --seeds 50 --outcome followers",
    "agent-trace fork last/a_7 --step 9 --sweep --vary wait=1,2,4 --outcome 'done=true'",
)
@_options
@click.option(
    "--modify",
    metavar="PATCH",
    help="A JSON merge patch of the state there, or a JSON patch (a list); @FILE reads it from a file.",
)
@click.option("--seed", type=int, metavar="N", help="Seed every generator that the agents expose.")
@click.option("--sweep", is_flag=True, help="Run many forks, from --vary, --seeds and a list in --modify.")
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="Sweep: the seeds 1 to N.")
@click.option(
    "--vary",
    multiple=True,
    metavar="FIELD=V1,V2",
    help="Sweep: values of a field as JSON; if repeated, all combinations.",
)
@click.option(
    "--outcome",
    metavar="FIELD",
    help="Sweep: the outcome to measure, a field at the end, FIELD>VALUE, or error (the default).",
)
@parameters.workers_option("Sweep: number of parallel forks; default: all cores.")
def fork(
    run: str,
    agent: str | None,
    step: str,
    modify: str | None,
    seed: int | None,
    sweep: bool,
    **how: Any,
) -> int:
    """Continue a recorded run from a point, with something changed.

    --modify changes the state there, --seed the generators. The fork then runs like `resume`, in a new run
    that names its origin, and is compared with it. --sweep runs many forks and prints the distribution of an
    outcome and the smallest change that flips it. Exit code 0: the fork ended as recorded; 1: it differs;
    4: it had to stop. With --sweep, 0, or 4 if all had to stop.
    """
    context = click.get_current_context()
    patch = _json(modify, context)
    name = _of_agent(run, agent)
    parameters.find_code_here()
    swept = {key: how.pop(key) for key in ("seeds", "vary", "outcome", "workers")}
    if sweep:
        if seed is not None:
            raise click.UsageError("a sweep takes --seeds instead", context)
        return run_sweep(name, step, patch, **swept, **how)
    if any(swept.values()):
        raise click.UsageError("--seeds, --vary, --outcome and --workers require --sweep", context)
    if patch is None and seed is None:
        raise click.UsageError("give a change: --modify or --seed", context)
    from Agent.replay import fork_run

    with shown_forks("forking"):
        _, result = fork_run(name, step, patch, seed=seed, **how)
    return _show(result)


def _of_agent(run: str, agent: str | None) -> str:
    """The run with the agent behind it, where that was given apart."""
    if agent is None:
        return run
    if "/" not in run:
        return f"{run}/{agent}"
    raise click.UsageError("RUN already names an agent, or is a path", click.get_current_context())


def _json(text: str | None, context: click.Context) -> Any:
    if text is None:
        return None
    try:
        data = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
        return orjson.loads(data)
    except OSError as error:
        raise click.UsageError(f"--modify: {text[1:]} cannot be read: {error.strerror}", context) from None
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"--modify is not JSON: {error}", context) from None


def _show(result: ForkResult) -> int:
    if not render.gave_json(result.to_dict):
        render.emit_text(str(result))
    return result.exit_code
