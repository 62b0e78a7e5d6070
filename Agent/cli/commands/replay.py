"""Commands for `Agent.replay`: `replay`, `play`, `diff`, `resume` and `fork`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, Unpack

import orjson

from Agent import replay as engine
from Agent.cli import parameters, render
from Agent.cli.parameters import COUNT, Root, Run, Seconds, command, misuse
from Agent.cli.render import bar, emit_judged, shown, shown_forks, working
from Agent.event.clock import moment_of
from Agent.render import layout
from Agent.tree.layout import recorded_at

if TYPE_CHECKING:
    from Agent.replay.playback import Playback


def replay_all(*, agent: str | None, since: parameters.Since | None, **how: Any) -> int:
    """Replay all matching runs, print the report and return the exit code."""
    from Agent.replay.history import replay_runs

    with bar("replaying all runs") as show:
        report = replay_runs(agents=agent, since=_moment(since), progress=show, **how)
    render.document(report.to_dict)
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
        raise misuse("--since takes a time here, not a tick")
    return moment_of(since.timestamp_us)


@command()
def play(
    run: Run,
    agent: parameters.OneAgent,
    pager: Annotated[bool, "--pager/--no-pager", {"default": True}],
    root: Root,
) -> int:
    """Step through a run as recorded, without your code.

    Shows each step with its arguments, the recorded response and what it changed; at the end, whether the log
    is complete. There is no verdict: exit code 0 means complete, 1 damaged. RUN is last, a session or
    SESSION/agent_id.

    Args:
        pager: Show what is longer than the screen in $PAGER, on a terminal.

    Examples:
        agent-trace play last/creator_017
        agent-trace play last --json
    """
    played = engine.play_run(run, root, agent)
    render.document(lambda: _played(played))
    width = render.width_of_terminal()
    lines = map(render.clean, played.lines())
    render.emit_pages(lines if width is None else (layout.clip(line, width) for line in lines), paged=pager)
    return played.exit_code


def _played(played: Playback) -> dict[str, Any]:
    return {
        "run": played.run,
        "session": str(recorded_at(played.session)),
        "agent_id": played.agent_id,
        "complete": played.is_complete,
        "sound": played.sound,
        "damage": list(played.damage),
        "steps": [asdict(step) for step in played.steps],
    }


class HowToReplay(TypedDict):
    """How a run, or all of them, are replayed.

    Args:
        timeout_seconds: Stop after this many seconds; with --all, per run.
        strict_factory: Count a first state other than the recorded one as a difference.
        no_writes: Refuse to open existing files for writing.
        program: Run the recorded program again as a whole if calls of its actions prove nothing.
    """

    target: parameters.Target
    timeout_seconds: Seconds
    normaliser: parameters.Normalise
    ignore: parameters.Ignore
    network: parameters.Network
    strict_factory: bool
    no_writes: bool
    program: Annotated[bool, "--program/--no-program", {"default": True}]
    root: Root


@command()
def replay(
    run: parameters.SomeRun,
    agent: parameters.OneAgent,
    every: Annotated[bool, "--all"],
    since: parameters.From,
    workers: parameters.Workers,
    keep_going: Annotated[int | None, "--keep-going [N]", COUNT, {"is_flag": False, "flag_value": 20}],
    pdb: bool,
    **how: Unpack[HowToReplay],
) -> int:
    """Replay a run with your current code and compare the two.

    Calls the recorded actions on a fresh object in recorded order. Tools and other agents return their
    recorded responses; results and changed state are compared. Exit code 0: IDENTICAL or EQUIVALENT; 1:
    DIVERGED; 4: UNVERIFIED; 3: the target cannot be imported. RUN is last, a session or SESSION/agent_id.
    --all replays every session under the root and groups the failures.

    If that proves nothing, or there is no target, and the recorded script is here, the script runs twice as
    a whole: in a copy of this directory, without network, new processes or writes elsewhere. --no-program
    prevents it.

    Args:
        every: All recorded runs; --agent is then a pattern.
        workers: With --all: number of parallel replays; default: all cores.
        keep_going: Look for up to N differences after the first one; 20 without N.
        pdb: Stop in the debugger before the step that differs.

    Examples:
        agent-trace replay last/creator_017
        agent-trace replay last/creator_017 --target Agent.demo.targets:repaired_creator
        agent-trace replay --all --target shop.agents:build
        agent-trace replay --all --agent 'creator_*' --since=-7d --json
    """
    if (run is None) is not every:
        raise misuse("give a RUN, or --all" if run is None else "--all takes no RUN")
    if not every and (since is not None or workers is not None):
        raise misuse("--since and --workers require --all")
    if every and (keep_going is not None or pdb):
        raise misuse("--keep-going and --pdb require a single RUN")
    parameters.make_code_importable()
    if every:
        return replay_all(agent=agent, since=since, workers=workers, **how)
    with nullcontext() if pdb else working("replaying"):
        report = engine.replay_run(run, agent_id=agent, keep_going=keep_going or 0, pdb=pdb, **how)
    render.document(report.to_dict)
    show_replay(report, width=render.width_of_terminal())
    return report.exit_code


def show_replay(report: engine.ReplayReport, *, indent: str = "", width: int | None = None) -> None:
    """Print the report of a replay with its verdict in colour; with `width`, lines are wrapped."""
    emit_judged(str(report), str(report.verdict), indent=indent, width=width)


@command()
def diff(
    runs: Annotated[tuple[str, ...], "[A] [B]", {"shell_complete": parameters.complete_runs}],
    exhaustive: bool,
    stats: bool,
    field: Annotated[str | None, "--by FIELD"],
    values: Annotated[str | None, "--values X,Y"],
    root: Root,
) -> int:
    """Find where two runs differ, or compare their statistics.

    Prints the first tick, agent and field that differ, both values, and the last event that both runs have in
    common. Compares events and states, including the first and last states, but not ids and times. A and B
    are sessions, runs, forks or SESSION/agent_id.

    With --stats: counts, rates, rewards, errors and latencies of two sessions, or of two versions in one,
    each with the size of the change and whether noise explains it. Exit code 0: no difference; 1: different;
    4: nothing to compare.

    Args:
        exhaustive: Compare every event instead of bisecting, as is done where the sessions are small.
        stats: Compare statistics of behaviour.
        field: Compare the events of one session by the values of a field.
        values: Two values of the field; default: the two commonest.

    Examples:
        agent-trace diff 20261120_103045 20261121_090000
        agent-trace diff 20261120_103045/creator_017 last/creator_017 --json
        agent-trace diff --stats 20261120_103045 20261121_090000
        agent-trace diff --stats --by agent_version last
        agent-trace diff --stats --by agent_version --values 1.2,1.3 --json
    """
    is_in_numbers = stats or field is not None
    if field is not None and len(runs) > 1:
        raise misuse("--by needs exactly one session")
    if field is None and len(runs) != 2:
        raise misuse(f"give two {'sessions' if is_in_numbers else 'runs'}, A and B")
    if values is not None and field is None:
        raise misuse("--values requires --by")
    if exhaustive and is_in_numbers:
        raise misuse("--exhaustive cannot be combined with --stats or --by")
    if stats and field is None and any(parameters.split_run(run)[1] is not None for run in runs):
        raise misuse("--stats compares sessions: leave the agent out")
    if is_in_numbers:
        return _in_numbers(runs, field, values, root)
    with bar("comparing") as show:
        comparison = engine.compare_runs(runs[0], runs[1], root, exhaustive=exhaustive, progress=show)
    render.document(comparison.to_dict)
    render.emit_text(str(comparison))
    return comparison.exit_code


def _in_numbers(runs: tuple[str, ...], field: str | None, values: str | None, root: Path) -> int:

    analyzer = parameters.analyzer_of(runs[0] if runs else "last", root)
    with shown("comparing"):
        if field is not None:
            chosen = [value.strip() for value in values.split(",")] if values else []
            comparison = analyzer.compare_by(field, chosen)
        else:
            comparison = analyzer.compare(parameters.session_of(runs[1]))
    render.document(comparison.to_dict)
    width = render.width_of_terminal()
    render.emit_report(comparison.to_text(width), width=width)
    return 1 if comparison.real else 0


class Continuation(TypedDict):
    """Where and how a recorded run continues.

    Args:
        step: Id of a checkpoint, step or event, tick:N, or the number of an action.
        live: A tool, model or agent whose calls may be executed; repeatable.
    """

    step: Annotated[str, "--step --step-id STEP", {"required": True}]
    target: parameters.Target
    live: Annotated[tuple[str, ...], "--live NAME"]
    timeout_seconds: Seconds
    root: Root


@command()
def resume(run: Run, agent: parameters.OneAgent, **how: Unpack[Continuation]) -> int:
    """Continue a recorded run from a point, as a new run.

    Restores the state at the point from a checkpoint, or by replaying the actions before it, and runs the
    remaining recorded actions. Clocks and generators continue from their recorded values. Tools, models and
    other agents return recorded responses; a call without one ends the new run (exit code 4) unless --live
    allows it. Exit code 0: the run ended as recorded; 1: it differs. RUN is a run, last, a session or
    SESSION/agent_id.

    Examples:
        agent-trace resume 01a1f918 --step step_5
        agent-trace resume last/creator_017 --step tick:40 --target Agent.demo.targets:creator
    """
    parameters.make_code_importable()
    with shown_forks("resuming"):
        result = engine.resume_from_checkpoint(_of_agent(run, agent), **how)
    return _show(result)


@command()
def fork(
    run: Run,
    agent: parameters.OneAgent,
    modify: Annotated[str | None, "--modify PATCH"],
    seed: Annotated[int | None, "--seed N"],
    sweep: bool,
    latest: bool,
    seeds: Annotated[int | None, "--seeds N", COUNT],
    vary: Annotated[tuple[str, ...], "--vary FIELD=V1,V2"],
    outcome: Annotated[str | None, "--outcome FIELD"],
    workers: parameters.Workers,
    **how: Unpack[Continuation],
) -> int:
    """Continue a recorded run from a point, with something changed.

    --modify changes the state there, --seed the generators. The fork then runs like `resume`, in a new run
    that names its origin, and is compared with it. --sweep runs many forks and prints the distribution of an
    outcome and the smallest change that flips it. --latest bisects forks for the latest point at which the
    change still alters the outcome. Exit code 0: the fork ended as recorded; 1: it differs, or --modify
    changed nothing; 4: it had to stop. With --sweep, 0, or 4 if all had to stop; with --latest, 0, or 1 if
    the change alters nothing even at --step.

    Args:
        modify: A JSON merge patch of the state there, or a JSON patch (a list); @FILE reads it from a file.
        seed: Seed every generator that the agents expose.
        sweep: Run many forks, from --vary, --seeds and a list in --modify.
        latest: From --step on, find the point of no return: where --modify no longer alters --outcome.
        seeds: Sweep: the seeds 1 to N.
        vary: Sweep: values of a field as JSON; if repeated, all combinations.
        outcome: Sweep, latest: what to measure, a field at the end, FIELD>VALUE, or error (the default).
        workers: Sweep: number of parallel forks; default: all cores.

    Examples:
        agent-trace fork 01a1f918 --step step_3 --modify '{"max_retries": 3}'
        agent-trace fork last/creator_017 --step tick:20 --modify '{"followers": 5000}'
        agent-trace fork last/creator_017 --step tick:20 --seed 3
        agent-trace fork last/creator_017 --step tick:20 --sweep --seeds 50 --outcome followers
        agent-trace fork last/a_7 --step 9 --modify '{"wait": 0}' --latest --outcome 'served>50'
        agent-trace fork last/a_7 --step 9 --sweep --vary wait=1,2,4 --outcome 'done=true'
    """
    parameters.exclusive(sweep=sweep, latest=latest)
    patch = None if modify is None else _json(modify)
    name = _of_agent(run, agent)
    parameters.make_code_importable()
    if sweep:
        if seed is not None:
            raise misuse("a sweep takes --seeds instead")
        from Agent.replay.forks.outcome import varied_patches

        every_seed, changes = range(1, (seeds or 0) + 1), varied_patches(patch, vary)
        with shown_forks("sweeping"):
            report = engine.sweep_forks(
                name, patches=changes, seeds=every_seed, outcome=outcome or "error", workers=workers, **how
            )
        return _show(report)
    if latest:
        return _point_of_no_return(name, patch, outcome, **how)
    if seeds or vary or outcome or workers:
        raise misuse("--seeds, --vary, --outcome and --workers require --sweep")
    if patch is None and seed is None:
        raise misuse("give a change: --modify or --seed")
    with shown_forks("forking"):
        _, result = engine.fork_run(name, patch=patch, seed=seed, **how)
    exit_code = _show(result)
    if patch is not None and seed is None and not result.outcome.changed:
        render.note("--modify changed nothing: the state has these values already", always=True)
        return exit_code or 1
    return exit_code


def _point_of_no_return(run: str, patch: Any, outcome: str | None, **how: Any) -> int:
    if patch is None or outcome is None:
        raise misuse("--latest requires --modify and --outcome")
    with shown_forks("bisecting"):
        turning = engine.turning_point(run, patch=patch, outcome=outcome, **how)
    return _show(turning)


@command()
def ask(
    run: Run,
    function: Annotated[str, "MODULE:FUNCTION"],
    at: Annotated[str | None, "--at WHEN"],
    target: parameters.Target,
    timeout_seconds: Seconds,
    root: Root,
) -> int:
    """Call a function on an agent as it was at a moment.

    RUN names the agent, as SESSION/agent_id. The agent is restored from the nearest recorded state and, where
    that is needed, by replaying the recorded actions from there; its methods are those of your current code.
    The function is yours; it takes the agent and should only read it. Its result is printed as JSON, what it
    prints goes to stderr, and nothing is recorded.

    Args:
        at: tick:17 (the end of that tick), a time (UTC, ISO), or the id of an event; default: the end.

    Examples:
        agent-trace ask last/creator_017 checks:days_of_budget --at tick:34
        agent-trace ask last/creator_017 builtins:vars
    """
    parameters.make_code_importable()
    with shown_forks("asking"):
        answer = engine.ask_agent(run, function, at, target, root, timeout_seconds=timeout_seconds)
    for printed in filter(str.strip, (answer.stdout, answer.stderr)):
        render.note(printed.rstrip("\n"))
    render.document(answer.to_dict)
    render.emit_text(str(answer))
    return 0


def _of_agent(run: str, agent: str | None) -> str:
    """The run with the agent after a slash, if it was given as a separate argument."""
    if agent is None:
        return run
    if "/" not in run:
        return f"{run}/{agent}"
    raise misuse("RUN already names an agent, or is a path")


def _json(text: str) -> Any:
    try:
        return orjson.loads(Path(text[1:]).read_bytes() if text.startswith("@") else text)
    except OSError as error:
        raise misuse(f"--modify: {text[1:]} cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise misuse(f"--modify is not JSON: {error}") from None


def _show(result: engine.ForkResult | engine.SweepReport | engine.TurningPoint) -> int:
    render.document(result.to_dict)
    render.emit_text(str(result))
    return result.exit_code
