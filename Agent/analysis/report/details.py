"""The full reports on learning, interactions and performance, as blocks for `Agent.render`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

import orjson

from Agent.analysis.questions.interactions import MAX_PAIRS
from Agent.analysis.report import sections
from Agent.record.encode.safe_text import cut
from Agent.render.blocks import Block, Cell, Column, Curve, Grid, Section, Title, Words, grid, name
from Agent.render.formats import clock, count, milliseconds, named, number, plural, seconds

CHANGES: Final = 5
UPDATES: Final = 4
CONNECTED: Final = 5
SLOWEST: Final = 3
TREE: Final = 6
CASCADE: Final = 30


_LEARNT = ("total_training_steps", "reward_count", "exploration_count", "learning_updates", "policy_updates")


def learning_sections(learning: Mapping[str, Any]) -> Iterator[Section]:
    """The blocks of the full `learning_report`; for one agent with its `lineage` (`learning_lineage`).

    None if no learning was recorded.
    """
    if not any(learning[key] for key in _LEARNT) and not learning["changes"]["counts"]:
        return iter(())
    learners = {k: v for k, v in learning.get("by_agent", {}).items() if v["reward_count"]}
    return sections.filled(
        (
            "All agents" if learning["agent_id"] is None else named(learning["agent_id"]),
            sections.learned(learning),
        ),
        (f"Over time, by {learning['curves']['by']}", _curves(learning["curves"])),
        ("Agents", sections.rewards_by_agent(learners) if learners else []),
        ("Policy and strategy changes", _changes(learning["changes"])),
        ("From experience to use", _lineage(learning["lineage"]) if "lineage" in learning else []),
    )


def _curves(curves: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    place_of = partial(_place, axis=curves["by"])
    of_rewards, of_choices = curves["rewards"], curves["exploration"]
    drawn = (("Mean reward", of_rewards, "mean"), ("Moving mean", of_rewards, "moving_mean"))
    for title, points, key in (*drawn, ("Explored", of_choices, "share")):
        if len(points) > 1:
            values, places = [point[key] for point in points], [place_of(point["first"]) for point in points]
            ends = places[0], place_of(points[-1]["last"])
            span = f"{number(min(values))} to {number(max(values))}, from {ends[0]} to {ends[1]}"
            blocks += [Title(f"{title}: {span}"), Curve(values, places, ends, title)]
    settled, shift = curves["convergence"], curves["shift"]
    if settled["state"] == "too few points":
        return blocks
    trend = f"are still {settled['state']} at the end"
    if settled["converged"]:
        trend = f"are settled since {place_of(settled['since'])} at {number(settled['level'])}"
    elif settled["state"] == "unsettled":
        trend = "did not settle"
    blocks.append(Words(f"Rewards {trend} ({settled['method']})."))
    if shift is not None:
        change = f"from {number(shift['before'])} to {number(shift['after'])}"
        blocks.append(Words(f"They shift at {place_of(shift['at'])} {change} ({shift['method']})."))
    return blocks


def _place(position: object, axis: str) -> str:
    return clock(position)[:8] if isinstance(position, str) else f"{axis} {position}"


def _changes(changes: Mapping[str, Any]) -> list[Block]:
    rows = [
        (clock(row["timestamp"]), row["tick"], named(row["agent_id"]), _change(row), row["id"])
        for row in changes["last"][-CHANGES:]
    ]
    if not rows:
        return []
    counts = ", ".join(f"{name} {count(amount)}" for name, amount in changes["counts"].items())
    return [Words(f"{counts}."), Grid(("at", "tick", "agent", "change", "event"), rows, frozenset({1}))]


def _change(row: Mapping[str, Any]) -> str:
    before, after = (
        value if isinstance(value, str) else orjson.dumps(value).decode()
        for value in (row["before"], row["after"])
    )
    return cut(after if row["before"] is None else f"{before} -> {after}", 40)


def _lineage(lineage: Mapping[str, Any]) -> list[Block]:
    if not lineage["count"]:
        return []
    blocks: list[Block] = [
        Words(
            f"{plural(lineage['count'], 'update')}, {count(lineage['with_recorded_experience'])} with "
            f"recorded experience, {count(lineage['with_recorded_use'])} with a recorded use."
        )
    ]
    for update in lineage["updates"][-UPDATES:]:
        tick = "" if update["tick"] is None else f" tick {update['tick']}"
        came = _edges(update["experience"], update["experience_count"])
        used = _edges(update["used_by"], len(update["used_by"]))
        title = f"{clock(update['timestamp'])}{tick} {update['name']} {update['id']}"
        blocks.append(Words(f"{title}: from {came}; used by {used}"))
    return blocks


def _edges(edges: list[Mapping[str, Any]], amount: int) -> str:
    if not edges:
        return "nothing recorded"
    listed = ", ".join(_edge(edge) for edge in edges[:3]) + (
        f" and {count(amount - 3)} more" if amount > 3 else ""
    )
    first = edges[0]
    return f"{listed} ({'recorded' if first['source'] == 'recorded' else 'inferred: ' + first['rule']})"


def _edge(edge: Mapping[str, Any]) -> str:
    if edge.get("event_type") == "reward":
        return f"reward {number(edge['reward'])} {edge['id']}"
    return f"{edge.get('name', 'an event of another session')} {edge['id']}"


def interaction_sections(interactions: Mapping[str, Any]) -> Iterator[Section]:
    """The blocks of the full `interaction_report`."""
    graph, messages = interactions["graph"], interactions["messages"]
    joint = [
        f"{named(row['one'])} and {named(row['other'])} {row['times']} x"
        for row in graph["collaborations"][:CONNECTED]
    ]
    columns = ("sent", "from", "to", "event")
    lost = [
        (clock(row["sent_at"]), named(row["sender"]), named(row["recipient"]), row["sent_id"])
        for row in messages["oldest_undelivered"]
    ]
    return sections.filled(
        ("Interactions", _graph(graph)),
        ("Spread furthest", _spread(interactions["top_cascades"])),
        ("Worked together", [Words(", ".join(joint) + ".")] if joint else []),
        ("Messages", _messages(messages)),
        (
            "Never received, although a later one was",
            [Grid(columns, lost, further=messages["undelivered"] - len(lost))] if lost else [],
        ),
    )


def _graph(graph: Mapping[str, Any]) -> list[Block]:
    parts = graph["components"]
    back = "-" if graph["reciprocity"] is None else f"{graph['reciprocity']:.1%}"
    blocks: list[Block] = [
        Words(
            f"{plural(graph['nodes'], 'agent')}, {count(graph['edges'])} directed edges, {back} of them "
            f"reciprocated, {plural(parts['count'], 'component')}, the largest of {count(parts['largest'])}."
        )
    ]
    types = [
        f"{name} {count(row['weight'])} on {plural(row['edges'], 'pair')}"
        for name, row in list(graph["by_type"].items())[: sections.TYPES]
    ]
    types += [f"{count(more)} more"] if (more := len(graph["by_type"]) - sections.TYPES) > 0 else []
    blocks += [Words(", ".join(types) + ".", "soft")] if types else []
    if left_out := graph["collaborations_left_out"]:
        text = f"Without the pairs of {plural(left_out, 'collaboration')} of the largest groups"
        blocks.append(Words(f"{text}: all groups have over {count(MAX_PAIRS)} pairs.", "soft"))
    keys = ("neighbours", "out", "in", "weight_out", "weight_in")
    rows = [
        (name(row["agent_id"]), *(count(row[key]) for key in keys))
        for row in graph["top_connectors"][:CONNECTED]
    ]
    names = ("agent", "neighbours", "out", "in", "events out", "events in")
    return (
        [*blocks, Title("Most connected"), Grid(names, rows, sections.NUMBERS, spare=(5, 4))]
        if rows
        else blocks
    )


def _spread(top: list[Mapping[str, Any]]) -> list[Block]:
    columns = (
        Column("content", "content_id", name),
        Column("sharers", "size", count),
        Column("depth", "depth", right=True, spare=1),
        Column("breadth", "breadth", right=True, spare=2),
        Column("half within", "half_s", seconds),
        Column("from", "root_agent_id", name),
    )
    return [grid(top[:CONNECTED], *columns)] if top else []


def _messages(messages: Mapping[str, Any]) -> list[Block]:
    if not messages["sent"] and not messages["received"]:
        return []
    words = [f"{count(messages['sent'])} sent, {count(messages['received'])} received"]
    words.append(f"{count(messages['never_received'])} never received")
    if messages["undelivered"]:
        words.append(f"{count(messages['undelivered'])} of these although a later one to the same agent was")
    if messages["never_sent"]:
        words.append(f"{count(messages['never_sent'])} received whose sending was not recorded")
    latency = messages["latency_ms"]
    if latency["count"]:
        took = ", ".join(f"{key} {milliseconds(latency[key])}" for key in ("p50", "p95", "p99", "max"))
        words.append(f"from sending to receipt {took} ({latency['quantiles']})")
    unread = [
        f"{named(row['agent_id'])} {row['unread']}"
        for row in messages["by_agent"][:CONNECTED]
        if row["unread"]
    ]
    words += [f"most unread: {', '.join(unread)}"] if unread else []
    return [Words("; ".join(words) + ".")]


def cascade_sections(cascade: Mapping[str, Any]) -> Iterator[Section]:
    """How one piece of content spread (`interactions.cascade`), as a tree."""
    words = [plural(cascade["size"], "sharer")]
    words += [] if cascade["depth"] is None else [f"{cascade['depth']} deep"]
    words += [] if cascade["breadth"] is None else [f"at most {cascade['breadth']} wide"]
    blocks: list[Block] = [Words(", ".join(words) + ".")]
    if cascade["seconds_to"]:
        reached = ", ".join(f"{amount} in {seconds(took)}" for amount, took in cascade["seconds_to"].items())
        blocks.append(Words(f"Reached {reached}, counted from the {cascade['started_by']}.", "soft"))
    recorded = cascade["recorded"]
    if (
        cascade["tree"]
        and recorded
        and (recorded["size"], recorded["depth"]) != (cascade["size"], cascade["depth"])
    ):
        itself = f"{recorded['size']} sharers, {recorded['depth']} levels deep: {recorded['id']}"
        blocks.append(Words(f"The program itself logged {itself}.", "soft"))
    if cascade["tree"]:
        blocks.append(Words("(unknown)" if (root := cascade["root_agent_id"]) is None else named(root)))
    else:
        blocks.append(Words("Only cascade events exist, so there is no tree.", "soft"))
    for row in cascade["tree"][:CASCADE]:
        after = f"+{seconds(row['after_s'])}  {row['id']}"
        blocks.append(Words(f"{'  ' * row['depth']}{named(row['agent_id'])}  {after}"))
    if len(cascade["tree"]) > CASCADE:
        blocks.append(Words(f"{count(len(cascade['tree']) - CASCADE)} more.", "soft"))
    return sections.filled((cascade["content_id"], blocks))


def performance_sections(performance: Mapping[str, Any]) -> Iterator[Section]:
    """The blocks of the full `performance_report`; none if nothing was measured."""
    if not performance["spans"] and not performance["metrics"]:
        return iter(())
    steps = performance["latency_steps"]
    return sections.filled(
        (
            f"{plural(performance['spans'], 'span')}, the operations with the most own time first",
            _own_time(performance),
        ),
        ("Slower or faster", [*map(_latency_step, steps["steps"][: sections.STEPS])]),
        ("Slowest spans", [block for span in performance["slowest"][:SLOWEST] for block in _slow(span)]),
        ("Load", _load(performance)),
    )


def _own_time(performance: Mapping[str, Any]) -> list[Block]:
    numbers = {("metric", name): row for name, row in performance["operations"].items()}
    numbers |= {("agent_action", name): row for name, row in performance["actions"].items()}
    numbers |= {(row["kind"], row["name"]): row for row in performance["other_spans"]}
    rows = []
    for row in performance["bottlenecks"]:
        of = numbers[row["kind"], row["name"]]
        took = (milliseconds(of[key]) for key in ("p50", "p95", "p99", "max", "self_ms"))
        name = Cell(named(row["name"])[:24], "name")
        rows.append((name, count(row["count"]), count(of["errors"]), *took, f"{row['share']:.0%}"))
    names = ("operation", "count", "failed", "p50", "p95", "p99", "max", "own time", "share")
    further = len(numbers) - len(rows)
    return [Grid(names, rows, sections.NUMBERS, spare=(6, 5), further=further)] if rows else []


def _latency_step(step: Mapping[str, Any]) -> Block:
    factor = f"{step['ratio']:.3g} x slower" if step["ratio"] > 1 else f"{1 / step['ratio']:.3g} x faster"
    change = f"{milliseconds(step['before_ms'])} to {milliseconds(step['after_ms'])}"
    tick = "" if step["tick"] is None else f" (tick {step['tick']})"
    return Words(f"{step['name']}: {factor}, {change}, from {clock(step['at'])}{tick} on")


def _slow(span: Mapping[str, Any]) -> Iterator[Block]:
    tick = "" if span["tick"] is None else f" tick {span['tick']}"
    who = "" if span["agent_id"] is None else f" of {named(span['agent_id'])}"
    took = f"{milliseconds(span['duration_ms'])}, own time {milliseconds(span['self_ms'])}"
    yield Words(f"{clock(span['started_at'])}{tick} {span['name']}{who}: {took}  {span['id']}")
    for row in span["tree"][:TREE]:
        yield Words(f"{'  ' * row['depth']}{row['name']}  {milliseconds(row['duration_ms'])}", "soft")
    hidden = len(span["tree"]) - TREE + span["tree_left_out"]
    if hidden > 0:
        yield Words(f"  and {count(hidden)} more", "soft")


def _load(performance: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    curve = performance["throughput_curve"]
    if len(curve) > 1:
        rates, places = [point["events_per_s"] for point in curve], [clock(point["start"]) for point in curve]
        name = f"Events per second: {count(min(rates))} to {count(max(rates))}"
        blocks += [Title(name), Curve(rates, places, (places[0], places[-1]), name)]
    rows = [
        (Cell(name, "name"), number(row["per_second"]))
        for name, row in performance["throughput"].items()
        if row["per_second"] is not None
    ]
    blocks += [Grid(("throughput", "per second"), rows, sections.NUMBERS)] if rows else []
    blocks += sections.metrics(performance)
    used, memory = performance["resources"], performance["resource_curve"]["memory"]
    words = []
    if used["samples"] and used["max_memory_bytes"]:
        rising = " and rising" if memory and memory["rising"] else ""
        words.append(f"memory at most {used['max_memory_bytes'] / 1e6:,.0f} MB{rising}")
    if used["samples"] and used["mean_cpu_percent"] is not None:
        words.append(f"processor {used['mean_cpu_percent']:.0f} %, at most {used['max_cpu_percent']:.0f} %")
    return [*blocks, Words("; ".join(words).capitalize() + ".")] if words else blocks
