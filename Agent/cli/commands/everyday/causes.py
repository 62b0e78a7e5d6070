"""`causes`: what led to an event, as a tree, JSON, DOT or SVG; what it says is `Agent.analysis`'s."""

from __future__ import annotations

from pathlib import Path

import click

from Agent.cli.options import parameters
from Agent.cli.output import render
from Agent.cli.output.progress import shown

LIMIT = 12


@click.command(
    epilog=parameters.examples(
        "agent-trace causes k3v9q2ma-1042",
        "agent-trace causes k3v9q2ma-1042 last --lookback 600 --effects",
        "agent-trace causes k3v9q2ma-1042 --format svg > causes.svg",
    )
)
@click.argument("event_id", metavar="ID")
@click.argument("run", metavar="[RUN]", required=False, shell_complete=parameters.complete_runs)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "dot", "svg"]),
    default="text",
    help="Output format; dot is for Graphviz, svg is an image.",
)
@click.option(
    "--lookback",
    type=click.FloatRange(min=0),
    default=60.0,
    metavar="S",
    help="How many seconds to look back for causes.",
)
@click.option(
    "--effects", is_flag=True, help="Also show what the event led to, over the same number of seconds."
)
@parameters.limit_option("Only the N nearest causes, as text.", LIMIT)
@parameters.session_option
@parameters.json_option
@parameters.root_option
def causes(
    event_id: str,
    run: str | None,
    form: str,
    lookback: float,
    effects: bool,
    limit: int,
    session: str,
    as_json: bool,
    root: Path,
) -> int:
    """Show what led to an event, across agents.

    Each step back is recorded (a span, a cause, a message, an error) or inferred by a named rule, and shows
    its reason. RUN is a session or SESSION/AGENT. Exit code 1: no cause was found.
    """
    from Agent.analysis import LogAnalyzer

    analyzer = LogAnalyzer(parameters.session_of(run) or session, root)
    with shown():
        graph = analyzer.causal_graph(event_id, lookback, with_effects=effects)
    if as_json or form == "json":
        render.emit_json(graph.to_dict())
    elif form == "dot":
        render.emit(graph.to_dot().rstrip("\n"))
    elif form == "svg":
        from Agent.analysis.causal_svg import to_svg

        render.emit(to_svg(graph).rstrip("\n"))
    else:
        for line in graph.to_text(limit).splitlines():
            render.emit(render.clip(render.clean(line), render.width_of_terminal() or len(line) + 1))
    return 0 if graph.causes or graph.effects or graph.missing else 1
