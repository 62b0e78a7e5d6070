"""`diff`: the first difference of two runs, or with `--stats` how their behaviour differs in numbers."""

from __future__ import annotations

from pathlib import Path

import click

from Agent.cli.options import parameters
from Agent.cli.output import render
from Agent.cli.output.progress import bar, shown


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
