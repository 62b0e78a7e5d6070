"""Commands that show what is recorded: `sessions`, `journey`, `tail`; `event_lines.py` forms the lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from Agent.cli import parameters, render
from Agent.cli.event_lines import event_line

if TYPE_CHECKING:
    from Agent.event.model import Event

LEVEL_NAMES = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
STATE_STYLES: dict[str, dict[str, Any]] = {"running": {"fg": "green"}, "crashed": {"fg": "red"}}


@click.command(epilog=parameters.examples("agent-trace sessions", "agent-trace sessions --json"))
@click.option("--limit", "-n", type=click.IntRange(min=1), metavar="N", help="Only the newest N sessions.")
@parameters.json_option
@parameters.root_option
def sessions(limit: int | None, as_json: bool, root: Path) -> None:
    """List the recorded sessions, newest last.

    One row a session: its id, when it started and how long it took, how many agents, events and errors it
    holds, and whether it is running, closed or crashed.
    """
    from Agent.cli.session_rows import session_rows

    rows = session_rows(root, limit)
    if as_json:
        render.emit_json({"root": str(root), "sessions": rows})
        return
    if not rows:
        render.note(f"no session was recorded in {root} yet; agent-trace demo records one")
        return
    render.table(
        ("SESSION", "STARTED (UTC)", "DURATION", "AGENTS", "EVENTS", "ERRORS", "STATE"),
        [
            (
                row["session_id"],
                (row["started_at"] or "-")[:19].replace("T", " "),
                "-" if row["duration_s"] is None else render.duration(row["duration_s"]),
                render.count(row["agents"]),
                render.count(row["events"]),
                render.count(row["errors"]),
                row["state"],
            )
            for row in rows
        ],
        right=("DURATION", "AGENTS", "EVENTS", "ERRORS"),
        styles={"STATE": STATE_STYLES},
    )


@click.command(
    epilog=parameters.examples(
        "agent-trace journey creator_001",
        "agent-trace journey creator_001 --since tick:40 --type agent_action",
    )
)
@parameters.agent_argument
@click.option("--limit", "-n", type=click.IntRange(min=1), metavar="N", help="Only the last N events.")
@parameters.since_option
@parameters.type_option
@parameters.session_option
@parameters.json_option
@parameters.root_option
def journey(
    agent: str,
    limit: int | None,
    since: parameters.Since | None,
    kinds: tuple[str, ...],
    session: str,
    as_json: bool,
    root: Path,
) -> None:
    """Show what one agent did, in order.

    Reads that agent's files only. With --json each line is one event as it stands in the record.
    """
    from Agent.analysis.session import agent_events, find
    from Agent.tree.reader import TreeReader

    reader = TreeReader(find(session, root))
    wanted = _filter(kinds=kinds, since=since)
    chosen: Iterable[Event] = (event for event in agent_events(reader, agent) if wanted(event))
    if limit is not None:
        chosen = deque(chosen, maxlen=limit)
    shown = _print_events(chosen, as_json=as_json, with_agent=False)
    if not shown:
        render.note(f"no event of {agent} is of that kind and time")
    damaged = len(reader.damage())
    if damaged:
        render.note(
            f"{render.plural(damaged, 'damaged line')} {'was' if damaged == 1 else 'were'} passed over"
        )


@click.command(
    epilog=parameters.examples("agent-trace tail -f", "agent-trace tail -n 50 -a creator_001 -l warning")
)
@click.option("--follow", "-f", is_flag=True, help="Wait for further events until interrupted.")
@click.option(
    "--lines", "-n", type=click.IntRange(min=0), default=20, metavar="N", help="Begin with the last N events."
)
@click.option("--agent", "-a", shell_complete=parameters.complete_agents, help="Only events of this agent.")
@click.option(
    "--level",
    "-l",
    type=click.Choice(LEVEL_NAMES, case_sensitive=False),
    metavar="LEVEL",
    help="Only this level and above: debug, info, warning, error or critical.",
)
@parameters.type_option
@parameters.session_option
@parameters.json_option
@parameters.root_option
def tail(
    follow: bool,
    lines: int,
    agent: str | None,
    level: str | None,
    kinds: tuple[str, ...],
    session: str,
    as_json: bool,
    root: Path,
) -> None:
    """Print the newest events, and follow them with -f.

    Follows every agent across rotation and new files. With --json each line is one event as it stands in the
    record.
    """
    from Agent.analysis.session import unknown_agent
    from Agent.cli.newest import newest_events
    from Agent.tree.follower import Follower
    from Agent.tree.layout import agent_files, find_session
    from Agent.tree.reader import TreeReader

    path = find_session(root, session)
    wanted = _filter(agent=agent, level=level, kinds=kinds)
    follower = Follower(path, from_start=False) if follow else None
    try:
        reader = TreeReader(path)
        files = reader.files() if agent is None else agent_files(path, agent)
        if not files and agent is not None and not follow:
            raise unknown_agent(reader, agent)
        latest = newest_events(files, lines, wanted)
        _print_events(latest, as_json=as_json)
        if follower is not None:
            known = {event.id for event in latest}
            new = (
                event for event in follower.follow(lambda: False) if event.id not in known and wanted(event)
            )
            _print_events(new, as_json=as_json)
    finally:
        if follower is not None:
            follower.close()


def _filter(
    *,
    agent: str | None = None,
    level: str | None = None,
    kinds: tuple[str, ...] = (),
    since: parameters.Since | None = None,
) -> Callable[[Event], bool]:
    """Whether an event is one of those asked for."""
    from Agent.event.kinds import LEVELS

    least = LEVELS[level.upper()] if level else 0

    def wanted(event: Event) -> bool:
        return (
            (agent is None or event.agent_id == agent)
            and event.severity >= least
            and (not kinds or event.kind in kinds)
            and (since is None or since.reached_by(event))
        )

    return wanted


def _print_events(events: Iterable[Event], *, as_json: bool, with_agent: bool = True) -> int:
    """Prints events as they come and gives their number."""
    from Agent.event.codec import encode_event

    width = render.width_of_terminal()
    number = 0
    for event in events:
        number += 1
        if as_json:
            render.emit_bytes(encode_event(event))
        else:
            render.emit(event_line(event, width=width, with_agent=with_agent))
    return number
