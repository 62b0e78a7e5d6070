"""`journey`: what one agent did; `state`: its state at a moment; `watch`: when a condition on states held."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack

from Agent.cli import parameters, render
from Agent.cli.event_lines import Selection, Where, event_line
from Agent.cli.parameters import Across, More, Root, command, misuse
from Agent.event.clock import parse_timestamp
from Agent.event.model import Event
from Agent.render import formats, layout
from Agent.render.blocks import Column

if TYPE_CHECKING:
    from Agent.tree.read.reader import TreeReader


SCREEN_EVENTS = 20
TREE_LINES = 40
_TREE_WINDOW = 400


class JourneyForm(Across):
    """What `journey` shows.

    Args:
        engine: Read RUN and PATH (sealed sessions) together, with DuckDB on this machine or with Spark.
        master: Where Spark runs; default: this machine, local[*].
        everything: Every event, without a summary.
        tree: Show how actions are nested, and how long each took.
        summary: Only the summary.
        gaps: Also look for missing events; reads the whole session.
        all_sessions: Include every session of the trace root.
    """

    everything: Annotated[bool, "--all -A"]
    tree: bool
    summary: bool
    gaps: bool
    all_sessions: bool


@command()
def journey(
    agent: parameters.Agent,
    run: parameters.OneSession,
    more: More,
    limit: parameters.SomeLimit,
    first: Annotated[int | None, "--first N", parameters.COUNT],
    since: parameters.From,
    until: parameters.Until,
    kinds: parameters.Kinds,
    where: Where,
    root: Root,
    **how: Unpack[JourneyForm],
) -> None:
    """Show what one agent did, in order.

    Reads only that agent's files. Prints totals, then the last events; --all prints every event. RUN is a
    session: an id, a unique prefix of one, a path, or last. With --json, each line is one event as recorded;
    with --summary, --tree or --all-sessions it is one document. With --engine, RUN and PATH are sealed
    sessions, trace roots or patterns of both.

    Args:
        limit: Only the last N events.
        first: Only the first N events.

    Examples:
        agent-trace journey creator_001
        agent-trace journey creator_001 --since tick:40 --until tick:50 --type agent_action
        agent-trace journey last/creator_001 --first 10
        agent-trace journey creator_001 --tree
        agent-trace journey creator_001 --all-sessions
        agent-trace journey creator_001 --engine duckdb host-a/trace host-b/trace
    """
    from Agent.analysis.query.trees import of_agent
    from Agent.analysis.session import agent_events
    from Agent.archive.sealed.reader import open_reader

    across: Across = {"engine": how.pop("engine"), "master": how.pop("master")}  # type: ignore[misc]
    run = parameters.one_of(run, more, **across)

    if first is not None and (
        limit or any(how[form] for form in ("tree", "summary", "gaps", "all_sessions"))
    ):
        raise misuse("--first lists events, and cannot be combined with -n or a summary")
    parameters.exclusive(
        tree=how["tree"],
        summary=how["summary"],
        gaps=how["gaps"] and not how["summary"],  # a summary with gaps is one answer
        all_sessions=how["all_sessions"],
    )
    if across["engine"] is not None and (how["gaps"] or how["all_sessions"]):
        raise misuse("--gaps and --all-sessions are without --engine")
    if how["all_sessions"]:
        _show_all_sessions(root, agent)
        return
    with parameters.session_for(lambda _: of_agent(agent), run, more, root, agent, **across) as session:
        reader = open_reader(session)
        if how["tree"]:
            _show_tree(reader, agent, limit, everything=how["everything"])
        elif how["summary"] or how["gaps"]:
            _show_summary(reader, agent, gaps=how["gaps"])
        elif render.wants_json() or how["everything"] or any((limit, first, since, until, kinds, where)):
            selection = Selection(kinds=kinds, fields=where, since=since, until=until)
            chosen = islice(filter(selection, agent_events(reader, agent)), first)
            if not _print_events(chosen if limit is None else deque(chosen, maxlen=limit)):
                render.note(f"no event of {formats.named(agent)} matches that kind and time")
        else:
            _show_screen(reader, agent)
        render.note_damage(reader.damaged_lines)


def _print_events(events: Iterable[Event]) -> int:
    """Print events as they are read; return their number."""
    from Agent.event.codec import encode_event

    width, is_data = render.width_of_terminal(), render.wants_json()
    number = 0
    for number, event in enumerate(events, 1):  # noqa: B007 - it is given at the end
        if is_data:
            is_read = render.emit_json_bytes(encode_event(event))
        else:
            is_read = render.emit(event_line(event, width=width, with_agent=False))
        if not is_read:
            break
    return number


def _show_screen(reader: TreeReader, agent: str) -> None:
    """Print the totals and the last events."""
    from Agent.analysis.questions.journeys import journey_overview

    last: deque[Event] = deque(maxlen=SCREEN_EVENTS)
    overview = journey_overview(reader, agent, each=last.append)
    _print_overview(overview)
    render.emit()
    _print_events(last)
    if overview["total_logs"] > len(last):
        tick = last[0].tick
        before = "" if tick is None else f", --until tick:{tick} those before it"
        render.note(
            f"the last {len(last)} of {formats.count(overview['total_logs'])} events; --all shows all, "
            f"--tree the nesting{before}"
        )


def _show_summary(reader: TreeReader, agent: str, *, gaps: bool) -> None:
    from Agent.analysis.query.engine import open_engine
    from Agent.analysis.questions.journeys import journey_overview

    overview = journey_overview(reader, agent, open_engine(reader.session) if gaps else None)
    render.document(lambda: overview)
    _print_overview(overview)


def _print_overview(overview: dict[str, Any]) -> None:
    role = f" ({overview['agent_role']})" if overview["agent_role"] else ""
    render.title(f"{formats.named(overview['agent_id'])}{role}", f" in session {overview['session_id']}")
    took, ticks = formats.seconds(overview["duration_s"]), _ticks(overview)
    in_ticks = f", ticks {ticks}" if ticks else ""
    others = {kind: count for kind, count in overview["event_types"].items() if kind != "agent_action"}
    last = overview["recent_errors"][-1]["message"] if overview["errors"] else ""
    process_notes = {True: "", False: ", its process is gone"}
    open_spans = [
        f"{each['name']} since {formats.moment(each['started_at'])}{process_notes[each['alive']]}"
        for each in overview["in_flight"]
    ]
    render.pairs(
        [
            ("events", f"{formats.count(overview['total_logs'])} in {took}{in_ticks}"),
            ("first, last", _stretch(overview["started_at"], overview["last_seen"])),
            ("actions", _ranked(overview["action_counts"])),
            *_code(overview),
            ("other events", _ranked(others)),
            ("errors", overview["errors"] and layout.clip(f"{overview['errors']:,}, the last: {last}", 84)),
            ("busy, idle", _idle(overview)),
            *(("still open", each) for each in open_spans),
            ("record", _record(overview)),
        ],
        cut=True,
    )


def _code(overview: dict[str, Any], most: int = 3) -> list[tuple[str, str]]:
    """The code locations of the most frequent actions, one line each."""
    places = [
        (name, overview["code"][name]) for name in overview["action_counts"] if name in overview["code"]
    ]
    return [
        ("" if number else "code", f"{formats.path_line(**place)}  {name}")
        for number, (name, place) in enumerate(places[:most])
    ]


def _idle(overview: dict[str, Any]) -> str:
    text = f"{formats.seconds(overview['busy_s'])}, {formats.seconds(overview['idle_s'])}"
    longest = max(overview["idle"], key=lambda each: each["seconds"], default=None)
    if longest is not None and longest["seconds"] > 0:
        text += f"; longest idle {formats.seconds(longest['seconds'])} from {formats.clock(longest['start'])}"
    return text


def _record(overview: dict[str, Any]) -> str:
    parts = []
    if overview["damaged_lines"]:
        parts.append(f"{formats.plural(overview['damaged_lines'], 'damaged line')} in its files")
    if overview["gaps"] is None:
        parts.append("missing events were not checked (--gaps)")
    for gap in (overview["gaps"] or [])[:4]:
        where = f"between {_clock(gap['after'])} and {_clock(gap['before'])}"
        subject = f"{formats.plural(gap['count'], 'event')} {gap['verdict']}"
        parts.append(f"{subject} {where} by {gap['writer']}, possibly of this agent")
    if overview["gaps"] is not None and len(overview["gaps"]) > 4:
        parts.append(f"{formats.plural(len(overview['gaps']) - 4, 'more gap')} (--json)")
    return "; ".join(parts) or "nothing missing"


def _stretch(first: str, last: str) -> str:
    return f"{formats.moment(first)}  to  {formats.moment(last)}"


def _ranked(counts: dict[str, int], most: int = 6) -> str:
    ranked = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:most])
    return f"{ranked}, {len(counts) - most} more" if len(counts) > most else ranked


def _clock(timestamp: str | None) -> str:
    return "its end" if timestamp is None else formats.clock(timestamp)


def _show_tree(reader: TreeReader, agent: str, limit: int | None, *, everything: bool) -> None:
    from Agent.analysis.questions.journeys import MAX_TREE_EVENTS, journey_tree

    most = MAX_TREE_EVENTS if render.wants_json() or everything else _TREE_WINDOW
    rows, left_out = journey_tree(reader, agent, limit or most)
    render.document(lambda: {"agent_id": agent, "left_out": left_out, "nodes": rows})
    cut = 0
    if not everything and limit is None and len(rows) > TREE_LINES:
        # start at the first root from which all later rows fit
        starts = [place for place, row in enumerate(rows) if row["depth"] == 0]
        cut = next((place for place in starts if len(rows) - place <= TREE_LINES), starts[-1])
    for row in rows[cut:]:
        render.emit(_tree_line(row))
    if cut or left_out:
        render.note(
            f"the last {formats.count(len(rows) - cut)} of {formats.count(len(rows) + left_out)} steps; "
            "--tree --all shows all, --tree -n 500 the last 500 events"
        )


def _tree_line(row: dict[str, Any]) -> str:
    indent = formats.indentation(row["depth"])
    if row["id"] is None:
        what = f"{row['name'] or 'a span'}, still open"
        head = " " * 20
        return f"{head}{indent}{render.paint(f'({render.clean(what)})', dim=True)}"
    tick = "" if row["tick"] is None else f"t{row['tick']}"
    head = render.paint(f"{row['started_at'][11:23]}  {tick:>5} ", dim=True)
    name = row["name"] if row["name"] != row["event_type"] else row["message"] or row["event_type"]
    if row["event_type"] != "agent_action" and name != row["message"]:
        name = f"{row['event_type']}: {name}"
    took = "" if row["duration_ms"] is None else f"  {formats.milliseconds(row['duration_ms'])}"
    if row["children"] and row["self_ms"] is not None:
        took += f", {formats.milliseconds(row['self_ms'])} self"
    outcome = f"  {row['outcome']}" if row["outcome"] else ""
    style = render.LEVEL_STYLES.get(row["level"], {})
    width = max(render.width_of_page() - 22 - len(indent) - len(took) - len(outcome), 16)
    text = render.paint(layout.clip(render.clean(name), width), **style)
    return f"{head} {indent}{text}{render.paint(took + outcome, dim=True)}"


def _show_all_sessions(root: Path, agent: str) -> None:
    from Agent.analysis.questions.journeys import journeys_overview

    overview = journeys_overview(root, agent)
    for session_id, why in overview["unread"].items():
        render.note(f"{session_id} was skipped: {why}")
    render.document(lambda: overview)
    sessions = overview["sessions"]
    render.title(agent, f" in {formats.plural(len(sessions), 'session')}")
    render.pairs(
        [
            ("events", formats.count(overview["events"])),
            ("first, last", _stretch(overview["first_seen"], overview["last_seen"])),
            ("actions", _ranked(overview["action_counts"]) or "none"),
            ("errors", formats.count(overview["errors"])),
            ("between sessions", formats.seconds(overview["between_s"])),
        ],
        cut=True,
    )
    render.emit()
    rows = sessions[-SCREEN_EVENTS:]
    render.table(
        rows,
        Column("SESSION", "session_id"),
        Column("FIRST (UTC)", "started_at", formats.date_time, whole=True),
        Column("DURATION", "duration_s", formats.seconds),
        Column("IDLE", "idle_s", formats.seconds, spare=2),
        Column("EVENTS", "total_logs", formats.count),
        Column("ACTIONS", lambda row: formats.count(sum(row["action_counts"].values())), right=True, spare=1),
        Column("ERRORS", "errors", formats.count),
        Column("TICKS", _ticks, spare=3),
    )
    if len(rows) < len(sessions):
        render.note(f"the newest {len(rows)} of {len(sessions)} sessions; --json has all")


def _ticks(row: dict[str, Any]) -> str | None:
    return None if row["first_tick"] is None else f"{row['first_tick']} to {row['last_tick']}"


MAX_FIELDS = 40
MAX_CHECKPOINTS = 20


@command()
def state(
    agent: parameters.Agent,
    run: parameters.OneSession,
    at: Annotated[str | None, "--at WHEN"],
    why: Annotated[str | None, "--why FIELD"],
    plot: Annotated[str | None, "--plot FIELD"],
    checkpoints: bool,
    root: Root,
) -> None:
    """Show an agent's state at a moment.

    Every exposed field, with the event that last set it, computed from the nearest full state and the changes
    of each action since. RUN is a session: an id, a unique prefix of one, a path, or last.

    Args:
        at: A time (UTC; ISO, or 10:30:45.123), an event id, or tick:17; default: the last known.
        why: How this field got its value; below a field: values.video, or the JSON pointer /values/video.
        plot: Draw how this field, a number, changed over time, up to --at.
        checkpoints: List the moments at which a full state was recorded.

    Examples:
        agent-trace state creator_001
        agent-trace state creator_001 --at tick:17 --why followers
        agent-trace state creator_001 --plot followers
        agent-trace state creator_001 --checkpoints
    """
    parameters.exclusive(why=why, plot=plot, checkpoints=checkpoints)
    analyzer = parameters.analyzer_of(run, root, agent)
    if at is not None:
        from Agent.analysis.questions.states import check_within

        check_within(analyzer.reader, analyzer.engine, agent, at)
    if checkpoints:
        _show_checkpoints(analyzer, agent)
    elif why is not None:
        _show_changes(analyzer.field_changes(agent, why, at))
    elif plot is not None:
        _show_course(analyzer.field_course(agent, plot, at))
    else:
        _show_state(analyzer.state_at(agent, at))


def _show_state(answer: dict[str, Any]) -> None:
    del answer["values"]  # the same as `fields` with `types`, as Python objects
    render.document(lambda: answer)
    as_of, base = answer["as_of"], answer["base"]
    render.title(formats.named(answer["agent_id"]), f" after {_point(as_of)}")
    shown = list(answer["fields"])[:MAX_FIELDS]
    if shown:
        width = max(render.width_of_page() - max(map(layout.display_width, shown)) - 44, 20)
        render.table(
            shown,
            Column("FIELD", str),
            Column("VALUE", lambda name: layout.clip(_value(answer["fields"][name]), width)),
            Column("MADE BY", lambda name: _source_text(answer["made_by"][name])),
        )
    for name, value in answer["reported"].items():
        if name in answer["fields"]:
            continue  # the exposed field is authoritative
        render.emit(f"  {render.clean(name)} = {_value(value)}  " + render.paint("(as reported)", dim=True))
    hidden = len(answer["fields"]) - len(shown)
    if hidden > 0:
        render.note(f"{formats.plural(hidden, 'field')} more; --json has all")
    if answer["last_tick"] is not None:
        render.note(f"its last recorded tick is {answer['last_tick']}")
    if base is not None:
        later = formats.plural(answer["changes"], "later event")
        render.note(f"from the full state {base['id']} and {later}")
    if answer["sampled"] and answer["changes"]:
        render.note(f"recorded in full states only, so possibly older: {', '.join(answer['sampled'])}")
    if answer["unseen"]:
        render.note(f"could not be exposed: {', '.join(answer['unseen'])}")


def _point(point: dict[str, Any]) -> str:
    tick = "" if point["tick"] is None else f", tick {point['tick']}"
    return f"{point['id']} ({formats.moment(point['timestamp'])}{tick})"


def _source_text(source: dict[str, Any]) -> str:
    tick = "" if source["tick"] is None else f" t{source['tick']}"
    return f"{source['action']}{tick}  {source['id']}"


def _value(value: Any) -> str:
    import orjson

    return render.clean(orjson.dumps(value).decode())


def _show_changes(result: dict[str, Any]) -> None:
    render.document(lambda: result)
    changes = formats.plural(result["count"], "change")
    render.title(result["field"], f" of {render.clean(formats.named(result['agent_id']))}: {changes}")
    shown = result["changes"]
    for location, actions in _by_location(shown).items():
        render.emit("  " + render.clean(f"{', '.join(actions)} is at {location}"), verbatim=True)
    render.table(
        shown,
        Column("TIME (UTC)", "timestamp", formats.clock, spare=1, whole=True),
        Column("TICK", "tick", right=True),
        Column("EVENT", "id"),
        Column("BY", "action"),
        Column("CHANGE", _change),
    )
    last = shown[-1]
    if last["arguments"]:
        render.emit(
            "  " + layout.clip(f"called with {_value(last['arguments'])}", render.width_of_page() - 2)
        )
    if last["causes"]:
        render.emit(f"  caused by {', '.join(last['causes'][:6])}")
    if result["count"] > len(shown):
        render.note(f"the last {len(shown)} of {formats.count(result['count'])} changes")
    render.note(f"agent-trace causes {last['id']} looks further back")


def _by_location(changes: list[dict[str, Any]]) -> dict[str, dict[str, None]]:
    """The actions that made changes, in order, by code location."""
    by_location: dict[str, dict[str, None]] = {}
    for each in changes:
        if "file" in each:
            there = by_location.setdefault(formats.path_line(each["file"], each["line"]), {})
            there[str(each["action"])] = None
    return by_location


def _change(change: dict[str, Any]) -> str:
    """The values before and after; for objects, only the members that differ."""
    before, after = change.get("before", _NOTHING), change.get("after", _NOTHING)
    if isinstance(before, dict) and isinstance(after, dict):
        names = [name for name in before | after if before.get(name, _NOTHING) != after.get(name, _NOTHING)]
        parts = [
            f"{name} {_value_at(before.get(name, _NOTHING))} → {_value_at(after.get(name, _NOTHING))}"
            for name in names
        ]
        return ", ".join(parts) or "the order of its members"
    return f"{_value_at(before)} → {_value_at(after)}"


_NOTHING: Any = object()


def _value_at(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "(not there)" if value is _NOTHING else layout.clip(_value(value), 30)


PLOT_LINES = 8


def _show_course(result: dict[str, Any]) -> None:
    """Draw the values of a field as a curve: a column for each stretch of ticks, or of time without ticks."""
    render.document(lambda: result)
    points, end = result["points"], result["end"]
    key = "timestamp" if end["tick"] is None else "tick"
    last = _place(end, key)
    labels = [last if point[key] is None else _place(point, key) for point in points]
    first = labels[0]
    recorded = [point["value"] for point in points if point["value"] is not None]
    margin = max(len(formats.number(value)) for value in (min(recorded), max(recorded)))
    columns = max(render.width_of_page() - margin - 5, 10)
    columns = min(columns, last - first + 1)
    values, at = [], -1
    for column in range(columns):
        until = first + (last - first) * column // max(columns - 1, 1)
        while at + 1 < len(labels) and labels[at + 1] <= until:
            at += 1
        values.append(points[at]["value"])
    changes = f"{formats.plural(len(points), 'change')}, now {formats.number(points[-1]['value'])}"
    render.title(result["field"], f" of {render.clean(formats.named(result['agent_id']))}: {changes}")
    lines = formats.curve(values, PLOT_LINES)
    for number, line in enumerate(lines):
        label = {0: max(recorded), PLOT_LINES - 1: min(recorded)}.get(number)
        head = ("" if label is None else formats.number(label)).rjust(margin)
        render.emit(f"  {render.paint(f'{head} │', dim=True)}{line}".rstrip())
    ends = [f"tick {each}" if key == "tick" else formats.clock(each) for each in (points[0][key], end[key])]
    gap = columns - layout.display_width("".join(ends))
    below = f"{' ' * margin}  {ends[0]}{' ' * gap}{ends[1]}" if gap > 1 else " to ".join(ends)
    render.emit(render.paint(f"  {below}", dim=True))


def _place(point: dict[str, Any], key: str) -> int:
    return int(point["tick"]) if key == "tick" else parse_timestamp(point["timestamp"])


def _show_checkpoints(analyzer: Any, agent: str) -> None:
    from Agent.analysis.session import check_agent

    check_agent(analyzer.reader, agent)
    checkpoints = list(analyzer.checkpoints(agent, None if render.wants_json() else MAX_CHECKPOINTS))
    render.document(lambda: {"agent_id": agent, "checkpoints": checkpoints})
    if not checkpoints:
        render.note(f"no full state of {formats.named(agent)} was recorded")
        return
    render.table(
        checkpoints,
        Column("TIME (UTC)", "timestamp", formats.moment, whole=True),
        Column("TICK", "tick", right=True),
        Column("ID", "id"),
        Column("REASON", "name"),
    )
    if len(checkpoints) == MAX_CHECKPOINTS:
        render.note(f"the newest {len(checkpoints)}; --json has all")


@command()
def provenance(
    agent: parameters.Agent,
    field: Annotated[str, "FIELD"],
    run: parameters.OneSession,
    at: Annotated[str | None, "--at WHEN"],
    root: Root,
) -> None:
    """Follow a value back to where it came from.

    From the event that set an agent's field to the input that holds the same value (a recorded response, a
    message, a nested call or its exception, an argument, another field), and so on across agents, to the
    first input from outside. Where no input holds the value, it was computed there. FIELD may name a value
    below a field.

    Args:
        at: A time (UTC; ISO, or 10:30:45.123), an event id, or tick:17; default: the last known.

    Examples:
        agent-trace provenance creator_017 cooldown_until
        agent-trace provenance last/creator_017 pending --at tick:20 --json
    """
    result = parameters.analyzer_of(run, root, agent).provenance(agent, field, at)
    render.document(lambda: result)
    value = layout.clip(_value(result["value"]), max(render.width_of_page() - 30, 20))
    render.title(f"{formats.named(agent)}.{field}", f" = {value}")
    render.table(
        result["hops"],
        Column("WHEN", _when, spare=2),
        Column("AGENT", "agent_id", formats.named),
        Column("IN", "action", spare=3),
        Column("WHERE", lambda row: row.get("from") or row["path"]),
        Column("VALUE", lambda row: layout.clip(_value(row["value"]), 32)),
        Column("KNOWN BY", "rule", spare=1),
        Column("EVENT", "id"),
    )
    render.emit(f"  {render.clean(result['end'])}")
    if result["inputs"]:
        shown = ", ".join(
            f"{each['path']}={layout.clip(_value(each['value']), 24)}" for each in result["inputs"]
        )
        render.note(f"it had at hand: {shown}")


@command()
def watch(
    condition: Annotated[str, "CONDITION"],
    run: parameters.OneRun,
    limit: parameters.Limit = SCREEN_EVENTS,
    *,
    root: Root,
) -> int:
    """Find when a condition on agents' state held.

    CONDITION is an expression in Python's syntax over names of exposed fields, and over tick and agent_id; a
    field whose name is no identifier is field('a.b'). It is evaluated after each event that changed a field,
    for all agents or for the one that RUN names as SESSION/agent_id. Exit code 0: it held at some time; 1: it
    never did.

    Args:
        limit: How many of the first times to show.

    Examples:
        agent-trace watch 'cooldown_until > 1000'
        agent-trace watch 'len(inbox) > 3 and tick > 20' last/creator_017
    """
    session, agent = parameters.split_run(run)
    result = parameters.analyzer_of(session, root).watch(condition, agent)
    render.document(lambda: result)
    intervals = result["intervals"]
    agents = len({each["agent_id"] for each in intervals})
    times, of_agents = formats.plural(len(intervals), "time"), formats.plural(result["agents"], "agent")
    often = f"{times}, for {agents} of {of_agents}" if intervals else "at no time"
    render.title(condition, f" held {often}")
    if intervals:
        render.table(
            intervals[:limit],
            Column("AGENT", "agent_id", formats.named),
            Column("SINCE", lambda row: _when(row["since"])),
            Column("BY", lambda row: row["since"]["action"], spare=1),
            Column("UNTIL", lambda row: _when(row["until"]) if row["until"] else "the end"),
            Column("VALUES", lambda row: layout.clip(_values(row["values"]), 40), spare=2),
            Column("EVENT", lambda row: row["since"]["id"]),
        )
    if len(intervals) > limit:
        render.note(f"the first {limit} of {len(intervals):,} times; --limit or --json has more")
    for error, count in result["failures"].items():
        render.note(f"for {formats.plural(count, 'state')} it could not be evaluated: {error}")
    return 0 if intervals else 1


def _when(point: dict[str, Any]) -> str:
    return str(point["timestamp"][11:23]) if point["tick"] is None else f"tick {point['tick']}"


def _values(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in values.items())
