"""`resume` and `fork`: continue from a point of a recorded run, as it was or with something changed."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from Agent.cli.options import parameters
from Agent.cli.output import render
from Agent.cli.output.progress import shown_forks

if TYPE_CHECKING:
    from Agent.replay import ForkResult


def run_sweep(
    run: str,
    step: str,
    patch: Any,
    *,
    seeds: int | None,
    vary: tuple[str, ...],
    outcome: str | None,
    as_json: bool,
    **how: Any,
) -> int:
    """Try every change and show what came of them; the exit code."""
    from Agent.replay import sweep_forks

    every_seed = range(1, (seeds or 0) + 1)
    with shown_forks("sweeping"):
        report = sweep_forks(
            run, step, _patches(patch, vary), seeds=every_seed, outcome=outcome or "error", **how
        )
    if as_json:
        render.emit_json(report.to_dict())
    else:
        for line in str(report).splitlines():
            render.emit(render.clean(line))
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
        return name, [_scalar(value.strip()) for value in values.split(",")]


def _scalar(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


_STEP_HELP = "Id of a checkpoint, step or event, tick:N, or the number of an action."
_LIVE_HELP = "A tool, model or agent whose calls may be executed; repeatable."


def _options(function: Any) -> Any:
    """What both commands take."""
    decorators = (
        parameters.run_argument,
        parameters.agent_option,
        click.option("--step", "--step-id", required=True, metavar="STEP", help=_STEP_HELP),
        parameters.target_option(),
        click.option("--live", multiple=True, metavar="NAME", help=_LIVE_HELP),
        parameters.timeout_option("timeout_seconds"),
        parameters.json_option,
        parameters.root_option,
    )
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


@click.command(
    epilog=parameters.examples(
        "agent-trace resume 01a1f918 --step step_5",
        "agent-trace resume last/creator_017 --step tick:40 --target Agent.demo.targets:creator",
    )
)
@_options
def resume(run: str, agent: str | None, step: str, as_json: bool, **how: Any) -> int:
    """Continue a recorded run from a point, as a new run.

    Restores the state at the point from a checkpoint, or by replaying the actions before it, and runs the
    remaining recorded actions. Clocks and generators continue from their recorded values. Tools, models and
    other agents return recorded responses; a call without one ends the new run (exit code 4) unless --live
    allows it. RUN is a run, last, a session or SESSION/agent_id.
    """
    from Agent.replay import resume_from_checkpoint

    parameters.find_code_here()
    with shown_forks("resuming"):
        result = resume_from_checkpoint(_named(run, agent), step, **how)
    return _show(result, as_json=as_json)


@click.command(
    epilog=parameters.examples(
        """agent-trace fork 01a1f918 --step step_3 --modify '{"max_retries": 3}'""",
        """agent-trace fork last/creator_017 --step tick:20 --modify '{"followers": 5000}'""",
        "agent-trace fork last/creator_017 --step tick:20 --seed 3",
        "agent-trace fork last/creator_017 --step tick:20 --sweep --seeds 50 --outcome followers",
        "agent-trace fork last/a_7 --step 9 --sweep --vary wait=1,2,4 --outcome 'done=true'",
    )
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
    as_json: bool,
    **how: Any,
) -> int:
    """Continue a recorded run from a point, with something changed.

    --modify changes the state there, --seed the generators. The fork then runs like `resume`, in a new run
    that names its origin, and is compared with it. --sweep runs many forks and prints the distribution of an
    outcome and the smallest change that flips it. Exit code 0: the fork ran to its end; 4: it had to stop.
    """
    context = click.get_current_context()
    patch = _json(modify, context)
    name = _named(run, agent)
    parameters.find_code_here()
    swept = {key: how.pop(key) for key in ("seeds", "vary", "outcome", "workers")}
    if sweep:
        if seed is not None:
            raise click.UsageError("a sweep takes --seeds instead", context)
        return run_sweep(name, step, patch, as_json=as_json, **swept, **how)
    if any(swept.values()):
        raise click.UsageError("--seeds, --vary, --outcome and --workers require --sweep", context)
    if patch is None and seed is None:
        raise click.UsageError("give a change: --modify or --seed", context)
    from Agent.replay import fork_run

    with shown_forks("forking"):
        _, result = fork_run(name, step, patch, seed=seed, **how)
    return _show(result, as_json=as_json)


def _named(run: str, agent: str | None) -> str:
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


def _show(result: ForkResult, *, as_json: bool) -> int:
    if as_json:
        render.emit_json(result.to_dict())
    else:
        render.emit_text(str(result))
    return result.exit_code
