"""What the reports on learning, interactions and performance say in full, in the blocks of all reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from Agent.analysis.report.sections import (
    OPERATIONS,
    STEPS,
    TYPES,
    filled,
    learned,
    metrics,
    rewards_by_agent,
)  # fmt: skip
from Agent.record.encode.safe_text import cut
from Agent.render.blocks import (
    Block,
    Column,
    Curve,
    Section,
    Title,
    Words,
    by_name,
    first_of,
    name,
    numbers,
    sentence,
)  # fmt: skip
from Agent.render.words import clock, count, milliseconds, number, plural, seconds

CHANGES: Final = 5
UPDATES: Final = 4
CONNECTED: Final = 5
SLOWEST: Final = 3
TREE: Final = 6
CASCADE: Final = 30


def learning_sections(found: Mapping[str, Any]) -> Iterator[Section]:
    """`learning_report` in full; of one agent with its `lineage` (`learning_lineage`)."""
    learners = {k: v for k, v in found.get("by_agent", {}).items() if v["reward_count"]}
    return filled(
        ("Everybody" if found["agent_id"] is None else found["agent_id"], learned(found)),
        (f"Over time, by {found['curves']['by']}", _curves(found["curves"])),
        ("Agents", rewards_by_agent(learners) if learners else []),
        ("Policy and strategy changes", _changes(found["changes"])),
        ("From experience to use", _lineage(found["lineage"]) if "lineage" in found else []),
    )


def _curves(curves: Mapping[str, Any]) -> list[Block]:
    made: list[Block] = []
    of_rewards, of_choices = curves["rewards"], curves["exploration"]
    drawn = (("Mean reward", of_rewards, "mean"), ("Moving mean", of_rewards, "moving_mean"))
    for title, points, key in (*drawn, ("Explored", of_choices, "share")):
        if len(points) > 1:
            values, places = [point[key] for point in points], [_place(point["first"]) for point in points]
            ends = places[0], _place(points[-1]["last"])
            span = f"{number(min(values))} to {number(max(values))}, from {ends[0]} to {ends[1]}"
            made += [Title(f"{title}: {span}"), Curve(values, places, ends, title)]
    settled, shift = curves["convergence"], curves["shift"]
    if settled["state"] == "too few points":
        return made
    said = f"are still {settled['state']} at the end"
    if settled["converged"]:
        said = f"are settled since {_place(settled['since'])} at {number(settled['level'])}"
    elif settled["state"] == "unsettled":
        said = "did not settle"
    made.append(Words(f"Rewards {said} ({settled['method']})."))
    if shift is not None:
        change = f"from {number(shift['before'])} to {number(shift['after'])}"
        made.append(Words(f"They shift at {_place(shift['at'])} {change} ({shift['method']})."))
    return made


def _place(place: object) -> str:
    return clock(place)[:8] if isinstance(place, str) else str(place)


def _changes(changes: Mapping[str, Any]) -> list[Block]:
    counts = ", ".join(f"{kind} {count(amount)}" for kind, amount in changes["counts"].items())
    drawn = first_of(
        changes["last"][-CHANGES:],
        CHANGES,
        Column("at", "timestamp", clock),
        Column("tick", "tick", right=True),
        Column("agent", "agent_id"),
        Column("change", _change),
        Column("event", "id"),
    )
    return [Words(f"{counts}."), *drawn] if drawn else []


def _change(row: Mapping[str, Any]) -> str:
    before, after = (
        value if isinstance(value, str) else orjson.dumps(value).decode()
        for value in (row["before"], row["after"])
    )
    return cut(after if row["before"] is None else f"{before} -> {after}", 40)


def _lineage(lineage: Mapping[str, Any]) -> list[Block]:
    if not lineage["count"]:
        return []
    made: list[Block] = [
        Words(
            f"{plural(lineage['count'], 'update')}, {count(lineage['with_recorded_experience'])} with "
            f"recorded experience, {count(lineage['with_recorded_use'])} with a recorded use."
        )
    ]
    for update in lineage["updates"][-UPDATES:]:
        tick = "" if update["tick"] is None else f" tick {update['tick']}"
        came = _edges(update["experience"], update["experience_count"])
        used = _edges(update["used_by"], len(update["used_by"]))
        what = f"{clock(update['timestamp'])}{tick} {update['name']} {update['id']}"
        made.append(Words(f"{what}: from {came}; used by {used}"))
    return made


def _edges(edges: list[Mapping[str, Any]], amount: int) -> str:
    if not edges:
        return "nothing recorded"
    told = ", ".join(_edge(edge) for edge in edges[:3]) + (
        f" and {count(amount - 3)} more" if amount > 3 else ""
    )
    first = edges[0]
    return f"{told} ({'recorded' if first['source'] == 'recorded' else 'inferred: ' + first['rule']})"


def _edge(edge: Mapping[str, Any]) -> str:
    if edge.get("event_type") == "reward":
        return f"reward {number(edge['reward'])} {edge['id']}"
    return f"{edge.get('name', 'an event of another session')} {edge['id']}"


def interaction_sections(found: Mapping[str, Any]) -> Iterator[Section]:
    """`interaction_report` in full."""
    graph, messages = found["graph"], found["messages"]
    joint = [
        f"{row['one']} and {row['other']} {row['times']} x" for row in graph["collaborations"][:CONNECTED]
    ]
    lost = first_of(
        messages["oldest_undelivered"],
        TYPES,
        Column("sent", "sent_at", clock),
        Column("from", "sender"),
        Column("to", "recipient"),
        Column("event", "sent_id"),
    )
    return filled(
        ("Interactions", _graph(graph)),
        ("Spread furthest", _spread(found["top_cascades"])),
        ("Worked together", sentence(", ".join(joint))),
        ("Messages", _messages(messages)),
        ("Never received, although a later one was", lost),
    )


def _graph(graph: Mapping[str, Any]) -> list[Block]:
    parts = graph["components"]
    back = "-" if graph["reciprocity"] is None else f"{graph['reciprocity']:.1%}"
    made = sentence(
        f"{plural(graph['nodes'], 'agent')}, {count(graph['edges'])} directed edges, {back} of them "
        f"reciprocated, {plural(parts['count'], 'component')}, the largest of {count(parts['largest'])}"
    )
    types = [
        f"{kind} {count(row['weight'])} on {plural(row['edges'], 'pair')}"
        for kind, row in list(graph["by_type"].items())[:TYPES]
    ]
    connected = first_of(
        graph["top_connectors"][:CONNECTED],
        CONNECTED,
        Column("agent", "agent_id", name),
        *numbers(count, "neighbours", "out", "in"),
        Column("events out", "weight_out", count),
        Column("events in", "weight_in", count),
    )
    made += sentence(", ".join(types), look="soft")
    return [*made, Title("Most connected"), *connected] if connected else made


def _spread(top: list[Mapping[str, Any]]) -> list[Block]:
    return first_of(
        top[:CONNECTED],
        CONNECTED,
        Column("content", "content_id", name),
        Column("sharers", "size", count),
        Column("depth", "depth", right=True),
        Column("breadth", "breadth", right=True),
        Column("half within", "half_s", seconds),
        Column("from", "root_agent_id"),
    )


def _messages(messages: Mapping[str, Any]) -> list[Block]:
    if not messages["sent"] and not messages["received"]:
        return []
    latency = messages["latency_ms"]
    took = ", ".join(f"{key} {milliseconds(latency.get(key))}" for key in ("p50", "p95", "p99", "max"))
    unread = [
        f"{row['agent_id']} {row['unread']}" for row in messages["by_agent"][:CONNECTED] if row["unread"]
    ]
    late, unsent = count(messages["undelivered"]), count(messages["never_sent"])
    return sentence(
        f"{count(messages['sent'])} sent, {count(messages['received'])} received",
        f"{count(messages['never_received'])} never received",
        f"{late} of these although a later one to the same agent was" if messages["undelivered"] else None,
        f"{unsent} received whose sending was not recorded" if messages["never_sent"] else None,
        f"from sending to receipt {took} ({latency['quantiles']})" if latency["count"] else None,
        f"most unread: {', '.join(unread)}" if unread else None,
    )


def cascade_sections(found: Mapping[str, Any]) -> Iterator[Section]:
    """How one piece of content spread (`interactions.cascade`), as a tree."""
    words = [plural(found["size"], "sharer")]
    words += [] if found["depth"] is None else [f"{found['depth']} deep"]
    words += [] if found["breadth"] is None else [f"at most {found['breadth']} wide"]
    made: list[Block] = [Words(", ".join(words) + ".")]
    if found["seconds_to"]:
        reached = ", ".join(f"{amount} in {seconds(took)}" for amount, took in found["seconds_to"].items())
        made.append(Words(f"Reached {reached}, counted from the {found['started_by']}.", "soft"))
    said = found["recorded"]
    if found["tree"] and said and (said["size"], said["depth"]) != (found["size"], found["depth"]):
        itself = f"{said['size']} sharers, {said['depth']} levels deep: {said['id']}"
        made.append(Words(f"The program itself logged {itself}.", "soft"))
    if found["tree"]:
        made.append(Words(found["root_agent_id"] or "(unknown)"))
    else:
        made.append(Words("Only cascade events exist, so there is no tree.", "soft"))
    for row in found["tree"][:CASCADE]:
        after = f"+{seconds(row['after_s'])}  {row['id']}"
        made.append(Words(f"{'  ' * row['depth']}{row['agent_id']}  {after}"))
    if len(found["tree"]) > CASCADE:
        made.append(Words(f"{count(len(found['tree']) - CASCADE)} more.", "soft"))
    return filled((found["content_id"], made))


def performance_sections(found: Mapping[str, Any]) -> Iterator[Section]:
    """`performance_report` in full."""
    steps = found["latency_steps"]
    return filled(
        (f"{plural(found['spans'], 'span')}, the operations with the most own time first", _own_time(found)),
        ("Slower or faster", [*map(_latency_step, steps["steps"][:STEPS])]),
        ("Slowest spans", [block for span in found["slowest"][:SLOWEST] for block in _slow(span)]),
        ("Load", _load(found)),
    )


def _own_time(found: Mapping[str, Any]) -> list[Block]:
    numbers_of = {("metric", key): row for key, row in found["operations"].items()}
    numbers_of |= {("agent_action", key): row for key, row in found["actions"].items()}
    numbers_of |= {(row["kind"], row["name"]): row for row in found["other_spans"]}
    rows = [
        {**numbers_of[row["kind"], row["name"]], **row, "name": (row["name"] or "(no name)")[:24]}
        for row in found["bottlenecks"]
    ]
    return first_of(
        rows,
        len(rows),
        Column("operation", "name", name),
        *numbers(count, "count"),
        Column("failed", "errors", count),
        *numbers(milliseconds, "p50", "p95", "p99", "max"),
        Column("own time", "self_ms", milliseconds),
        Column("share", lambda row: f"{row['share']:.0%}", right=True),
    )


def _latency_step(step: Mapping[str, Any]) -> Block:
    factor = f"{step['ratio']:.3g} x slower" if step["ratio"] > 1 else f"{1 / step['ratio']:.3g} x faster"
    change = f"{milliseconds(step['before_ms'])} to {milliseconds(step['after_ms'])}"
    tick = "" if step["tick"] is None else f" (tick {step['tick']})"
    return Words(f"{step['name']}: {factor}, {change}, from {clock(step['at'])}{tick} on")


def _slow(span: Mapping[str, Any]) -> Iterator[Block]:
    tick = "" if span["tick"] is None else f" tick {span['tick']}"
    who = f" of {span['agent_id']}" if span["agent_id"] else ""
    took = f"{milliseconds(span['duration_ms'])}, own time {milliseconds(span['self_ms'])}"
    yield Words(f"{clock(span['started_at'])}{tick} {span['name']}{who}: {took}  {span['id']}")
    for row in span["tree"][:TREE]:
        yield Words(f"{'  ' * row['depth']}{row['name']}  {milliseconds(row['duration_ms'])}", "soft")
    hidden = len(span["tree"]) - TREE + span["tree_left_out"]
    if hidden > 0:
        yield Words(f"  and {count(hidden)} more", "soft")


def _load(found: Mapping[str, Any]) -> list[Block]:
    made: list[Block] = []
    curve = found["throughput_curve"]
    if len(curve) > 1:
        rates, places = [point["events_per_s"] for point in curve], [clock(point["start"]) for point in curve]
        title = f"Events per second: {count(min(rates))} to {count(max(rates))}"
        made += [Title(title), Curve(rates, places, (places[0], places[-1]), title)]
    measured = [row for row in by_name(found["throughput"], OPERATIONS) if row["per_second"] is not None]
    made += first_of(
        measured,
        OPERATIONS,
        Column("throughput", "name", name),
        Column("per second", "per_second", number),
    )
    used, memory = found["resources"], found["resource_curve"]["memory"]
    rising = " and rising" if memory and memory["rising"] else ""
    most_bytes = used["max_memory_bytes"]
    mean, most = used["mean_cpu_percent"], used["max_cpu_percent"]
    return [
        *made,
        *metrics(found),
        *sentence(
            f"Memory at most {most_bytes / 1e6:,.0f} MB{rising}" if used["samples"] and most_bytes else None,
            None if not used["samples"] or mean is None else f"processor {mean:.0f} %, at most {most:.0f} %",
        ),
    ]
