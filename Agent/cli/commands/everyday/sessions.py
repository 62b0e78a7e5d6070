"""`sessions`: what was recorded under a root; `journey.py` shows what one agent did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from Agent.cli.options import parameters
from Agent.cli.output import render
from Agent.tree.files.run_lineage import as_tree

STATE_STYLES: dict[str, dict[str, Any]] = {"running": {"fg": "green"}, "crashed": {"fg": "red"}}


@click.command(epilog=parameters.examples("agent-trace sessions", "agent-trace sessions --json"))
@parameters.limit_option("Only the newest N sessions.")
@parameters.json_option
@parameters.root_option
def sessions(limit: int | None, as_json: bool, root: Path) -> None:
    """List the recorded sessions, newest last.

    Each row shows the id, start, duration, numbers of agents, events and errors, and whether the session is
    running, closed or crashed. A forked or resumed session is listed under its origin.
    """
    from Agent.cli.output.session_rows import session_rows

    rows = session_rows(root, limit)
    if as_json:
        render.emit_json({"root": str(root), "sessions": rows})
        return
    if not rows:
        render.note(f"no session was recorded in {root} yet; agent-trace demo records one")
        return
    tree = as_tree((row["session_id"], (row["origin"] or {}).get("session_id")) for row in rows)
    by_id = {row["session_id"]: row for row in rows}
    render.table(
        ("SESSION", "STARTED (UTC)", "DURATION", "AGENTS", "EVENTS", "ERRORS", "STATE"),
        [
            (
                indented(row["session_id"], depth),
                (row["started_at"] or "-")[:19].replace("T", " "),
                "-" if row["duration_s"] is None else render.duration(row["duration_s"]),
                render.count(row["agents"]),
                render.count(row["events"]),
                render.count(row["errors"]),
                row["state"],
            )
            for row, depth in ((by_id[name], depth) for name, depth in tree)
        ],
        right=("DURATION", "AGENTS", "EVENTS", "ERRORS"),
        styles={"STATE": STATE_STYLES},
    )
    for row in rows:
        if row["origin"]:
            origin = row["origin"]
            verb = origin["relation"].removesuffix("_from")
            render.note(f"{row['session_id']} was {verb} from {origin['run']} at {origin['step']}")
        if row["problem"]:
            render.note(f"{row['session_id']}: {row['problem']}; its events are still readable")


def indented(name: str, depth: int) -> str:
    """A name in a tree: behind what it comes from, and a little to the right."""
    return f"{'  ' * (depth - 1)}└ {name}" if depth else name
