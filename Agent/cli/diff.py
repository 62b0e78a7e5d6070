"""`diff --stats`: how the behaviour of two sessions, or of two values of a field, differs in numbers."""

from __future__ import annotations

from pathlib import Path

import click

from Agent.cli import parameters, render
from Agent.cli.progress import shown


@click.command(
    epilog=parameters.examples(
        "agent-trace diff --stats 20261120_103045 20261121_090000",
        "agent-trace diff --stats --by agent_version last",
        "agent-trace diff --stats --by agent_version --values 1.2,1.3 --json",
    )
)
@click.argument("runs", metavar="[A] [B]", nargs=-1, shell_complete=parameters.complete_runs)
@click.option("--stats", is_flag=True, help="Compare behaviour in numbers.")
@click.option("--by", "field", metavar="FIELD", help="Compare the events of one session by a field's values.")
@click.option("--values", metavar="X,Y", help="Which two values of the field; default: the two commonest.")
@parameters.json_option
@parameters.root_option
def diff(
    runs: tuple[str, ...], stats: bool, field: str | None, values: str | None, as_json: bool, root: Path
) -> int:
    """Compare two sessions, or two versions in one, in numbers.

    Counts, rates, rewards, errors and latencies: for each how large the change is and whether noise explains
    it. Exit code 1 says that there is a difference that noise does not explain.
    """
    context = click.get_current_context()
    if not stats and field is None:
        raise click.UsageError(
            "step-by-step comparison is not there yet, use --stats for behaviour in numbers", context
        )
    wanted = 1 if field is not None else 2
    if len(runs) > wanted or (field is None and len(runs) < 2):
        raise click.UsageError(
            "--by takes one session" if field is not None else "name two sessions, A and B", context
        )
    if values is not None and field is None:
        raise click.UsageError("--values goes with --by", context)
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
