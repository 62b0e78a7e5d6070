"""`learning`, `interactions`, `performance`: a whole session in numbers, one question each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from Agent.cli.options import parameters
from Agent.cli.output import render

MAX_AGENTS = 8
MAX_CHANGES = 5
MAX_UPDATES = 4


@click.command(
    epilog=parameters.examples(
        "agent-trace learning",
        "agent-trace learning creator_001",
        "agent-trace learning creator_001 --by time --json",
    )
)
@click.argument("agent", metavar="[AGENT]", required=False, shell_complete=parameters.complete_agents)
@parameters.session_argument
@click.option(
    "--by",
    type=click.Choice(("tick", "time", "episode")),
    default=None,
    show_default=False,
    help="The x axis of the curves; default: ticks if the rewards have them, else time.",
)
@parameters.session_option
@parameters.json_option
@parameters.root_option
def learning(
    agent: str | None, run: str | None, by: str | None, session: str, as_json: bool, root: Path
) -> None:
    """Show how agents learned.

    Rewards and exploration over time, what changed the policy, and whether the rewards settled. For one
    agent, also which experience led to which update, and which later action used it. RUN is a session: an id,
    a unique prefix of one, a path, or last.
    """
    analyzer = parameters.analyzer_of(run, session, root, agent)
    found = analyzer.learning_report(agent, by)
    if agent is not None:
        found["lineage"] = analyzer.learning_lineage(agent)
    if as_json:
        render.emit_json(found)
        return
    if not any(found[key] for key in _COUNTS) and not found["changes"]["counts"]:
        render.note("no learning events; LearningLogger and trace_learning_update record them")
        return
    _print_sums(found)
    _print_curves(found["curves"])
    if agent is None:
        _print_agents(found["by_agent"])
    _print_changes(found["changes"])
    if agent is not None:
        _print_lineage(found["lineage"])


_COUNTS = ("total_training_steps", "reward_count", "exploration_count", "learning_updates", "policy_updates")


def _print_sums(found: dict[str, Any]) -> None:
    who = "everybody" if found["agent_id"] is None else found["agent_id"]
    render.emit(render.paint(render.clean(who), bold=True))
    rows: list[tuple[str, object]] = []
    if found["reward_count"]:
        rows.append(
            (
                "rewards",
                f"{found['reward_count']:,}, sum {_number(found['total_rewards'])}, mean "
                f"{_number(found['mean_reward'])}, {_number(found['min_reward'])} to "
                f"{_number(found['max_reward'])}",
            )
        )
    if found["exploration_count"]:
        epsilon = "" if found["epsilon"] is None else f", last epsilon {_number(found['epsilon'])}"
        rows.append(
            (
                "explored",
                f"{found['exploration_share']:.0%} of {found['exploration_count']:,} choices{epsilon}",
            )
        )
    updates = {
        name: found[key]
        for name, key in (("learning", "learning_updates"), ("policy", "policy_updates"))
        if found[key]
    }
    steps = found["total_training_steps"]
    told = [f"{count:,} of {name}" for name, count in updates.items()]
    told += [render.plural(steps, "training step")] if steps else []
    if told:
        rows.append(("updates", ", ".join(told)))
    render.pairs(rows, cut=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _print_curves(curves: dict[str, Any]) -> None:
    rewards, exploration = curves["rewards"], curves["exploration"]
    if len(rewards) > 1:
        span = f"{_place(rewards[0]['first'])} to {_place(rewards[-1]['last'])}"
        render.heading("Over time", f"by {curves['by']}, {span}")
        _print_curve("mean reward", [point["mean"] for point in rewards])
        _print_curve("moving mean", [point["moving_mean"] for point in rewards])
    if len(exploration) > 1:
        _print_curve("explored", [point["share"] for point in exploration])
    _print_state(curves)


def _print_curve(name: str, values: Sequence[float]) -> None:
    from Agent.analysis.text import sparkline

    render.emit(
        f"  {render.paint(name.ljust(12), dim=True)} {sparkline(values)}  "
        f"{_number(min(values))} to {_number(max(values))}"
    )


def _place(place: object) -> str:
    return str(place)[11:19] if isinstance(place, str) else str(place)


def _print_state(curves: dict[str, Any]) -> None:
    settled, shift = curves["convergence"], curves["shift"]
    if settled["state"] == "too few points":
        return
    if settled["converged"]:
        said = f"settled since {_place(settled['since'])} at {_number(settled['level'])}"
    elif settled["state"] == "unsettled":
        said = "not settled"
    else:
        said = f"still {settled['state']} at the end"
    render.emit(f"  {render.paint('rewards'.ljust(12), dim=True)} {said}  " + _dim(settled["method"]))
    if shift is not None:
        render.emit(
            f"  {render.paint('shift'.ljust(12), dim=True)} at {_place(shift['at'])} from "
            f"{_number(shift['before'])} to {_number(shift['after'])}  " + _dim(shift["method"])
        )


def _dim(text: str) -> str:
    return render.paint(f"({text})", dim=True)


def _print_agents(agents: dict[str, dict[str, Any]]) -> None:
    rewarded = [(name, row) for name, row in agents.items() if row["reward_count"]]
    if not rewarded:
        return
    ranked = sorted(rewarded, key=lambda pair: (-pair[1]["total_rewards"], pair[0]))
    few = len(ranked) <= MAX_AGENTS
    shown = ranked if few else [*ranked[: MAX_AGENTS // 2], *ranked[-MAX_AGENTS // 2 :]]
    render.heading("Agents", "" if few else f"most and least rewarded of {len(ranked):,}")
    render.table(
        ("AGENT", "REWARDS", "SUM", "MEAN", "EXPLORED", "UPDATES"),
        [
            (
                name,
                render.count(row["reward_count"]),
                _number(row["total_rewards"]),
                _number(row["mean_reward"]),
                "-" if row["exploration_share"] is None else f"{row['exploration_share']:.0%}",
                render.count(row["learning_updates"] + row["policy_updates"]),
            )
            for name, row in shown
        ],
        right=("REWARDS", "SUM", "MEAN", "EXPLORED", "UPDATES"),
    )


def _print_changes(changes: dict[str, Any]) -> None:
    if not changes["last"]:
        return
    counts = ", ".join(f"{name} {count:,}" for name, count in changes["counts"].items())
    render.heading("Policy and strategy changes", counts)
    for row in changes["last"][-MAX_CHANGES:]:
        tick = "" if row["tick"] is None else f"t{row['tick']}"
        step = _short(row["after"])
        if row["before"] is not None:
            step = f"{_short(row['before'])} -> {step}"
        head = f"  {row['timestamp'][11:23]}  {tick:>5}  {row['agent_id'] or '-'}  "
        room = render.width_of_page() - len(head) - len(row["id"]) - 2
        render.emit(f"{render.paint(head, dim=True)}{render.clip(step, max(room, 20))}  {row['id']}")


def _short(value: Any) -> str:
    import orjson

    return render.clean(value if isinstance(value, str) else orjson.dumps(value).decode())


def _print_lineage(lineage: dict[str, Any]) -> None:
    if not lineage["count"]:
        return
    render.heading(
        "From experience to use",
        f"{lineage['count']:,} updates, {lineage['with_recorded_experience']:,} with recorded experience, "
        f"{lineage['with_recorded_use']:,} with a recorded use",
    )
    for update in lineage["updates"][-MAX_UPDATES:]:
        tick = "" if update["tick"] is None else f"t{update['tick']}"
        render.emit(
            f"  {update['timestamp'][11:23]}  {tick:>5}  {render.clean(update['name'])}  {update['id']}"
        )
        _print_edges("from", update["experience"], update["experience_count"])
        _print_edges("used by", update["used_by"], len(update["used_by"]))


def _print_edges(word: str, edges: list[dict[str, Any]], count: int) -> None:
    if not edges:
        render.emit(f"      {word.ljust(8)} " + render.paint("none recorded", dim=True))
        return
    told = ", ".join(_edge(edge) for edge in edges[:3])
    more = f" and {count - 3:,} more" if count > 3 else ""
    source = edges[0]["source"] if edges[0]["source"] == "recorded" else f"inferred: {edges[0]['rule']}"
    render.emit(render.clip(f"      {word.ljust(8)} {told}{more}  ({source})", render.width_of_page()))


def _edge(edge: dict[str, Any]) -> str:
    if edge.get("event_type") == "reward":
        return f"reward {_number(edge['reward'])} {edge['id']}"
    return f"{edge.get('name', 'an event of another session')} {edge['id']}"


TOP_INTERACTIONS = 5
CASCADE_LINES = 30


@click.command(
    epilog=parameters.examples(
        "agent-trace interactions",
        "agent-trace interactions --content creator_031-post-008",
        "agent-trace interactions last --json",
    )
)
@parameters.session_argument
@click.option("--content", metavar="ID", help="Show how this piece of content spread, as a tree.")
@parameters.session_option
@parameters.json_option
@parameters.root_option
def interactions(run: str | None, content: str | None, session: str, as_json: bool, root: Path) -> None:
    """Show who interacted with whom, and what spread.

    The graph of interactions, connections and messages, the content that spread furthest, who worked
    together, and messages that nobody received. RUN is a session: an id, a unique prefix of one, a path, or
    last.
    """
    analyzer = parameters.analyzer_of(run, session, root)
    if content is not None:
        _show_cascade(analyzer.cascade(content), as_json=as_json)
        return
    found = analyzer.interaction_report(edges=as_json)
    if as_json:
        render.emit_json(found)
        return
    graph = found["graph"]
    if not graph["nodes"] and not found["total_interactions"] and not found["cascades"]["total"]:
        render.note("no interactions; InteractionLogger and AgentLogger.send record them")
        return
    _print_graph(graph)
    _print_cascades(found["top_cascades"], found["cascades"]["total"])
    if graph["collaborations"]:
        render.heading("Worked together", _types(found["collaborations"]["by_type"]))
        told = [
            f"{row['one']} and {row['other']} {row['times']} x"
            for row in graph["collaborations"][:TOP_INTERACTIONS]
        ]
        render.paragraph(", ".join(told))
    _print_messages(found["messages"])


def _types(counts: dict[str, int]) -> str:
    return ", ".join(f"{name or '(no type)'} {count:,}" for name, count in list(counts.items())[:4])


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}" if share >= 0.01 or share == 0 else f"{share:.2%}"


def _print_graph(graph: dict[str, Any]) -> None:
    components = graph["components"]
    render.emit(
        f"{render.plural(graph['nodes'], 'agent')}, {graph['edges']:,} directed edges, "
        f"{_percent(graph['reciprocity'])} of them reciprocated, "
        f"{render.plural(components['count'], 'component')}"
        f" (largest {components['largest']:,})"
    )
    types = [
        f"{name} {row['weight']:,} on {render.plural(row['edges'], 'pair')}"
        for name, row in list(graph["by_type"].items())[:6]
    ]
    render.paragraph(", ".join(types), dim=True)
    if graph["top_connectors"]:
        render.heading("Most connected")
        render.table(
            ("AGENT", "NEIGHBOURS", "OUT", "IN", "EVENTS OUT", "EVENTS IN"),
            [
                (
                    row["agent_id"],
                    *(
                        render.count(row[key])
                        for key in ("neighbours", "out", "in", "weight_out", "weight_in")
                    ),
                )
                for row in graph["top_connectors"][:TOP_INTERACTIONS]
            ],
            right=("NEIGHBOURS", "OUT", "IN", "EVENTS OUT", "EVENTS IN"),
        )


def _print_cascades(top: list[dict[str, Any]], total: int) -> None:
    if not top:
        return
    render.heading("Spread furthest", f"{render.plural(total, 'cascade event')} in total")
    render.table(
        ("CONTENT", "SHARERS", "DEPTH", "BREADTH", "HALF WITHIN", "FROM"),
        [
            (
                row["content_id"],
                render.count(row["size"]),
                "-" if row["depth"] is None else row["depth"],
                "-" if row["breadth"] is None else row["breadth"],
                _half(row),
                row["root_agent_id"] or "-",
            )
            for row in top[:TOP_INTERACTIONS]
        ],
        right=("SHARERS", "DEPTH", "BREADTH", "HALF WITHIN"),
    )
    if any(row["tree"] for row in top[:TOP_INTERACTIONS]):
        render.note(f"agent-trace interactions --content {top[0]['content_id']} shows how one spread")


def _half(row: dict[str, Any]) -> str:
    return "-" if row["half_s"] is None else render.duration(row["half_s"])


def _print_messages(messages: dict[str, Any]) -> None:
    if not messages["sent"] and not messages["received"]:
        return
    latency = messages["latency_ms"]
    render.heading("Messages")
    rows: list[tuple[str, object]] = [
        ("sent, received", f"{messages['sent']:,}, {messages['received']:,}"),
        (
            "never received",
            f"{messages['never_received']:,}, of these {messages['undelivered']:,} although a later one to "
            "the "
            "same agent was",
        ),
    ]
    if messages["never_sent"]:
        rows.append(("without sender", f"{messages['never_sent']:,} received whose sending was not recorded"))
    if latency["count"]:
        rows.append(
            (
                "took",
                f"p50 {_ms(latency['p50'])}, p95 {_ms(latency['p95'])}, p99 {_ms(latency['p99'])}, at most "
                f"{_ms(latency['max'])} ({latency['quantiles']})",
            )
        )
    unread = [
        f"{row['agent_id']} {row['unread']}"
        for row in messages["by_agent"][:TOP_INTERACTIONS]
        if row["unread"]
    ]
    if unread:
        rows.append(("most unread", ", ".join(unread)))
    render.pairs(rows, cut=True)
    lost = messages["oldest_undelivered"]
    if lost:
        of_all = (
            ""
            if messages["undelivered"] <= TOP_INTERACTIONS
            else f"the first {TOP_INTERACTIONS} of {messages['undelivered']:,}"
        )
        render.heading("Never received, although a later one was", of_all)
        render.table(
            ("SENT", "FROM", "TO", "EVENT"),
            [
                (row["sent_at"][11:23], row["sender"], row["recipient"], row["sent_id"])
                for row in lost[:TOP_INTERACTIONS]
            ],
        )


def _ms(value: float) -> str:
    return render.duration(value / 1000) if value >= 1000 else f"{value:.3g} ms"


def _show_cascade(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        render.emit_json(found)
        return
    depth = "" if found["depth"] is None else f", {found['depth']} deep"
    breadth = "" if found["breadth"] is None else f", at most {found['breadth']} wide"
    size = render.plural(found["size"], "sharer")
    render.emit(f"{render.paint(render.clean(found['content_id']), bold=True)}: {size}{depth}{breadth}")
    if found["seconds_to"]:
        told = [f"{count} in {render.duration(seconds)}" for count, seconds in found["seconds_to"].items()]
        render.paragraph(f"reached {', '.join(told)}, counted from the {found['started_by']}", dim=True)
    recorded = found["recorded"]
    if (
        found["tree"]
        and recorded
        and (recorded["size"], recorded["depth"]) != (found["size"], found["depth"])
    ):
        render.paragraph(
            f"the program itself logged {recorded['size']} sharers, {recorded['depth']} levels deep: "
            f"{recorded['id']}",
            dim=True,
        )
    if not found["tree"]:
        render.note("only cascade events exist, so there is no tree")
        return
    render.emit(f"  {render.clean(found['root_agent_id'] or '(unknown)')}")
    for row in found["tree"][:CASCADE_LINES]:
        after = render.paint(f"+{render.duration(row['after_s'])}  {row['id']}", dim=True)
        render.emit(f"  {'  ' * row['depth']}{render.clean(row['agent_id'])}  {after}")
    if len(found["tree"]) > CASCADE_LINES:
        render.note(f"the first {CASCADE_LINES} of {len(found['tree']):,}; --json has all")


TOP_SPANS = 8
SLOW = 3
SPAN_LINES = 6


@click.command(epilog=parameters.examples("agent-trace performance", "agent-trace performance last --json"))
@parameters.session_argument
@parameters.session_option
@parameters.json_option
@parameters.root_option
def performance(run: str | None, session: str, as_json: bool, root: Path) -> None:
    """Show where the time goes.

    Every operation with its quantiles and its own time (without what was measured inside it), operations that
    became slower or faster, the slowest spans with what happened in them, throughput and resources. RUN is a
    session: an id, a unique prefix of one, a path, or last.
    """
    found = parameters.analyzer_of(run, session, root).performance_report()
    if as_json:
        render.emit_json(found)
        return
    if not found["spans"] and not found["metrics"]:
        render.note("nothing was measured; trace_performance and trace_agent_action measure")
        return
    _print_operations(found)
    _print_steps(found["latency_steps"])
    _print_slowest(found["slowest"])
    _print_load(found)


def _print_operations(found: dict[str, Any]) -> None:
    shown = found["bottlenecks"][:TOP_SPANS]
    numbers = {("metric", name): row for name, row in found["operations"].items()}
    numbers |= {("agent_action", name): row for name, row in found["actions"].items()}
    numbers |= {(row["kind"], row["name"]): row for row in found["other_spans"]}
    render.emit(
        f"{render.paint(render.plural(found['spans'], 'span'), bold=True)} of "
        f"{render.plural(len(numbers), 'operation')}; milliseconds, quantiles {found['quantiles']}"
    )
    render.table(
        ("OPERATION", "KIND", "COUNT", "FAILED", "P50", "P95", "P99", "MAX", "ITS OWN", "SHARE"),
        [_operation(row, numbers[row["kind"], row["name"]]) for row in shown],
        right=("COUNT", "FAILED", "P50", "P95", "P99", "MAX", "ITS OWN", "SHARE"),
    )
    if len(numbers) > len(shown):
        render.note(f"the {len(shown)} with the most own time, of {len(numbers)}; --json has all")


def _operation(row: dict[str, Any], numbers: dict[str, Any]) -> tuple[str, ...]:
    return (
        render.clip(render.clean(row["name"] or "(no name)"), 22),
        {"agent_action": "action", "learning_update": "learning", "context_exit": "context"}.get(
            row["kind"], row["kind"]
        ),
        render.count(row["count"]),
        render.count(numbers["errors"]),
        *(_number_ms(numbers[key]) for key in ("p50", "p95", "p99", "max", "self_ms")),
        f"{row['share']:.0%}",
    )


def _number_ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _print_steps(latency: dict[str, Any]) -> None:
    if not latency["steps"]:
        return
    render.heading("Slower or faster", latency["method"])
    for step in latency["steps"][:TOP_SPANS]:
        tick = "" if step["tick"] is None else f" (tick {step['tick']})"
        factor = f"{step['ratio']:.3g} x slower" if step["ratio"] > 1 else f"{1 / step['ratio']:.3g} x faster"
        render.emit(
            f"  {render.clean(step['name'])}: {factor}, {_ms(step['before_ms'])} to "
            f"{_ms(step['after_ms'])} ms, from {step['at'][11:23]}{tick} on"
        )


def _print_slowest(spans: list[dict[str, Any]]) -> None:
    if not spans:
        return
    render.heading("Slowest spans")
    for span in spans[:SLOW]:
        tick = "" if span["tick"] is None else f"t{span['tick']}"
        who = f"  {span['agent_id']}" if span["agent_id"] else ""
        render.emit(
            f"  {span['started_at'][11:23]}  {tick:>5}  {render.clean(span['name'])}{render.clean(who)}  "
            f"{_ms(span['duration_ms'])} ms, own time {_ms(span['self_ms'])} ms  {span['id']}"
        )
        for row in span["tree"][:SPAN_LINES]:
            line = f"{'  ' * row['depth']}{render.clean(row['name'])}  {_ms(row['duration_ms'])} ms"
            render.emit(" " * 23 + render.paint(line, dim=True))
        hidden = len(span["tree"]) - SPAN_LINES + span["tree_left_out"]
        if hidden > 0:
            render.emit(" " * 25 + render.paint(f"and {hidden:,} more", dim=True))


def _print_load(found: dict[str, Any]) -> None:
    from Agent.analysis.text import sparkline

    curve = found["throughput_curve"]
    rows: list[tuple[str, object]] = []
    if len(curve) > 1:
        rates = [point["events_per_s"] for point in curve]
        rows.append(("events per s", f"{sparkline(rates)}  {min(rates):,.0f} to {max(rates):,.0f}"))
    for name, row in list(found["throughput"].items())[:3]:
        if row["per_second"] is not None:
            rows.append((render.clip(name, 24), f"{row['per_second']:,.4g} per s"))
    for name, row in list(found["metrics"].items())[:3]:
        rows.append(
            (
                render.clip(name, 24),
                f"p50 {row['p50']:.4g}, p99 {row['p99']:.4g} {row['unit'] or ''}"
                if row["count"]
                else "not a number",
            )
        )
    used = found["resources"]
    if used["samples"]:
        memory = found["resource_curve"]["memory"]
        grows = " and rising" if memory and memory["rising"] else ""
        if used["max_memory_bytes"]:
            rows.append(("memory", f"at most {render.size(round(used['max_memory_bytes']))}{grows}"))
        if used["mean_cpu_percent"] is not None:
            rows.append(
                ("processor", f"{used['mean_cpu_percent']:.0f} %, at most {used['max_cpu_percent']:.0f} %")
            )
    if rows:
        render.heading("Load")
        render.pairs(rows, cut=True)
