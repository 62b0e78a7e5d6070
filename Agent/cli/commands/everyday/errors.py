"""`errors`: the errors of a session by pattern, with how each goes on; what it says is `Agent.analysis`'s."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from Agent.cli.options import parameters
from Agent.cli.output import render
from Agent.cli.output.progress import shown

_LOOKS: dict[str, dict[str, Any]] = {
    "rising": {"fg": "red"},
    "burst": {"fg": "yellow"},
    "over": {"dim": True},
}
LIMIT = 8


@click.command(
    epilog=parameters.examples(
        "agent-trace errors", "agent-trace errors last --tail", "agent-trace errors --json"
    )
)
@click.argument("run", metavar="[RUN]", required=False, shell_complete=parameters.complete_runs)
@parameters.limit_option("Only the N most frequent patterns.", LIMIT)
@click.option("--tail", is_flag=True, help="Show what the agent did before each example.")
@parameters.session_option
@parameters.json_option
@parameters.root_option
def errors(run: str | None, limit: int, tail: bool, session: str, as_json: bool, root: Path) -> None:
    """Group the errors of a session by pattern.

    A pattern is errors of one type, raised in one place, whose messages differ only in numbers, ids, paths
    and quoted parts. Each pattern names the event id of an example, for agent-trace causes ID.
    """
    from Agent.analysis import LogAnalyzer
    from Agent.analysis.errors import journey_tail

    analyzer = LogAnalyzer(parameters.session_of(run) or session, root)
    with shown():
        patterns = analyzer.find_error_patterns()
    rows = patterns["fingerprints"][:limit]
    if as_json:
        for row in rows:
            row["tail"] = journey_tail(analyzer.reader, row)
        render.emit_json(patterns)
        return
    if not patterns["total_errors"]:
        render.note("no errors")
        return
    width = max(len(render.count(row["count"])) for row in rows)
    for row in rows:
        _show(row, width)
        if tail:
            for event in journey_tail(analyzer.reader, row):
                line = f"{event['timestamp'][11:23]}  {render.clean(event['message'])}  {event['id']}"
                room = render.width_of_page() - width - 8
                render.emit(" " * (width + 8) + render.paint(render.clip(line, room), dim=True))
    _show_together(patterns)
    hidden = patterns["total_fingerprints"] - len(rows)
    more = f", {render.plural(hidden, 'pattern')} more" if hidden > 0 else ""
    render.note(f"{render.plural(patterns['total_errors'], 'error')} in total{more}")


def _show(row: dict[str, Any], width: int) -> None:
    from Agent.analysis.errors import told_pattern

    number = render.paint(f"{render.count(row['count']).rjust(width)} x", bold=True)
    room = render.width_of_page() - width - 6
    render.emit(f"  {number}  {render.clip(render.clean(told_pattern(row)), room)}")
    trend = row["trend"]
    when = f"{row['first_seen'][:23].replace('T', ' ')} to {row['last_seen'][11:23]}"
    place = f"in {row['place']}, " if row["place"] else ""
    agents = ", ".join(row["agent_ids"][:3]) + (", ..." if row["agents"] > 3 else "")
    who = f"{render.plural(row['agents'], 'agent')} ({agents})" if row["agents"] else "no agent"
    shown_trend = render.paint("too few for a trend" if trend == "few" else trend, **_LOOKS.get(trend, {}))
    render.emit(
        " " * (width + 6)
        + f"{shown_trend}, "
        + render.paint(f"{when}, for example {row['example_id']}", dim=True)
    )
    render.emit(" " * (width + 6) + render.paint(render.clip(render.clean(f"{place}{who}"), room), dim=True))


def _show_together(patterns: dict[str, Any]) -> None:
    names = {row["fingerprint"]: row for row in patterns["fingerprints"]}
    pairs = [p for p in patterns["together"] if p["first"] in names and p["second"] in names][:3]
    if pairs:
        render.emit()
        render.emit("  come together")
    for pair in pairs:
        first, second = (render.clean(names[pair[key]]["shape"])[:34] for key in ("first", "second"))
        often = f"{pair['windows']} times within a second ({pair['expected']:g} by chance)"
        if pair["spans"]:
            often = f"in {render.plural(pair['spans'], 'span')}, {often}"
        render.emit(f"    {first!r} and {second!r}: {often}")
