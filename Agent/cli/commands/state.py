"""`state`: what an agent was at a moment, and why a field is what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from Agent.cli import parameters, render

MAX_FIELDS = 40
MAX_CHECKPOINTS = 20


@click.command(
    epilog=parameters.examples(
        "agent-trace state creator_001",
        "agent-trace state creator_001 --at tick:17 --why followers",
        "agent-trace state creator_001 --checkpoints",
    )
)
@parameters.agent_argument
@parameters.session_argument
@click.option(
    "--at",
    metavar="WHEN",
    help="A time (UTC; ISO, or 10:30:45.123), an event id, or tick:17; default: the last known.",
)
@click.option("--why", metavar="FIELD", help="How this field got its value.")
@click.option("--checkpoints", is_flag=True, help="The moments whose full state was recorded.")
@parameters.session_options
def state(
    agent: str,
    run: str | None,
    at: str | None,
    why: str | None,
    checkpoints: bool,
    session: str,
    as_json: bool,
    root: Path,
) -> None:
    """Show an agent's state at a moment.

    Every exposed field, with the event that last set it, computed from the nearest full state and the changes
    of each action since. RUN is a session: an id, a unique prefix of one, a path, or last.
    """
    analyzer = parameters.analyzer_of(run, session, root, agent)
    if checkpoints:
        _show_checkpoints(analyzer, agent, as_json=as_json)
    elif why is not None:
        _show_changes(analyzer.field_changes(agent, why, at), as_json=as_json)
    else:
        _show_state(analyzer.state_at(agent, _LAST if at is None else at), as_json=as_json)


_LAST = "9999-12-31T23:59:59.999999Z"


def _show_state(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        del found["values"]  # the same as `fields` with `types`, as Python objects
        render.emit_json(found)
        return
    as_of, base = found["as_of"], found["base"]
    render.emit(f"{render.paint(render.clean(found['agent_id']), bold=True)} after {_point(as_of)}")
    rows = [
        (name, _short(value), _made(found["made_by"][name]))
        for name, value in list(found["fields"].items())[:MAX_FIELDS]
    ]
    if rows:
        width = max(render.display_width(name) for name, _, _ in rows)
        room = render.width_of_page() - width - 44
        render.table(
            ("FIELD", "VALUE", "MADE BY"),
            [(name, render.clip(value, max(room, 20)), made) for name, value, made in rows],
        )
    for name, value in found["reported"].items():
        if name in found["fields"]:
            continue  # the exposed field is what it really is
        render.emit(f"  {render.clean(name)} = {_short(value)}  " + render.paint("(as reported)", dim=True))
    hidden = len(found["fields"]) - len(rows)
    if hidden > 0:
        render.note(f"{render.plural(hidden, 'field')} more; --json has all")
    if found["last_tick"] is not None:
        render.note(f"its last recorded tick is {found['last_tick']}")
    if base is not None:
        render.note(f"from the full state {base['id']} and {render.plural(found['changes'], 'change')} since")
    if found["sampled"] and found["changes"]:
        render.note(f"recorded in full states only, so possibly older: {', '.join(found['sampled'])}")
    if found["unseen"]:
        render.note(f"could not be exposed: {', '.join(found['unseen'])}")


def _point(point: dict[str, Any]) -> str:
    tick = "" if point["tick"] is None else f", tick {point['tick']}"
    return f"{point['id']} ({point['timestamp'][:23].replace('T', ' ')}{tick})"


def _made(made: dict[str, Any]) -> str:
    tick = "" if made["tick"] is None else f" t{made['tick']}"
    return f"{made['action']}{tick}  {made['id']}"


def _short(value: Any) -> str:
    import orjson

    return render.clean(orjson.dumps(value).decode())


def _show_changes(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        render.emit_json(found)
        return
    render.emit(
        f"{render.paint(render.clean(found['field']), bold=True)} of {render.clean(found['agent_id'])}: "
        f"{render.plural(found['count'], 'change')}"
    )
    shown = found["changes"]
    for change in shown:
        tick = "" if change["tick"] is None else f"t{change['tick']}"
        before = _short(change["before"]) if "before" in change else "(not there)"
        after = _short(change["after"]) if "after" in change else "(not there)"
        step = f"{render.clip(before, 30)} -> {render.clip(after, 30)}"
        head = f"  {change['timestamp'][11:23]}  {tick:>5}  "
        render.emit(f"{render.paint(head, dim=True)}{step}  by {change['action']}  {change['id']}")
    last = shown[-1]
    if last["arguments"]:
        render.emit(
            "  " + render.clip(f"called with {_short(last['arguments'])}", render.width_of_page() - 2)
        )
    if last["causes"]:
        render.emit(f"  caused by {', '.join(last['causes'][:6])}")
    if found["count"] > len(shown):
        render.note(f"the last {len(shown)} of {render.count(found['count'])} changes")
    render.note(f"agent-trace causes {last['id']} looks further back")


def _show_checkpoints(analyzer: Any, agent: str, *, as_json: bool) -> None:
    from Agent.analysis.session import unknown_agent

    if not analyzer.reader.holds_agent(agent):
        raise unknown_agent(analyzer.reader, agent)
    found = analyzer.checkpoints(agent, None if as_json else MAX_CHECKPOINTS)
    if as_json:
        render.emit_json({"agent_id": agent, "checkpoints": found})
        return
    if not found:
        render.note(f"no full state of {agent} was recorded")
        return
    render.table(
        ("TIME (UTC)", "TICK", "ID", "REASON"),
        [
            (
                row["timestamp"][:23].replace("T", " "),
                "-" if row["tick"] is None else row["tick"],
                row["id"],
                row["name"] or "-",
            )
            for row in found
        ],
        right=("TICK",),
    )
    if len(found) == MAX_CHECKPOINTS:
        render.note(f"the newest {len(found)}; --json has all")
