"""`interactions`: the social graph, what spread, who worked together, and what became of the messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from Agent.cli.options import parameters
from Agent.cli.output import render

TOP = 5
TREE_LINES = 30


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
        told = [f"{row['one']} and {row['other']} {row['times']} x" for row in graph["collaborations"][:TOP]]
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
                for row in graph["top_connectors"][:TOP]
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
            for row in top[:TOP]
        ],
        right=("SHARERS", "DEPTH", "BREADTH", "HALF WITHIN"),
    )
    if any(row["tree"] for row in top[:TOP]):
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
    unread = [f"{row['agent_id']} {row['unread']}" for row in messages["by_agent"][:TOP] if row["unread"]]
    if unread:
        rows.append(("most unread", ", ".join(unread)))
    render.pairs(rows, cut=True)
    lost = messages["oldest_undelivered"]
    if lost:
        of_all = "" if messages["undelivered"] <= TOP else f"the first {TOP} of {messages['undelivered']:,}"
        render.heading("Never received, although a later one was", of_all)
        render.table(
            ("SENT", "FROM", "TO", "EVENT"),
            [(row["sent_at"][11:23], row["sender"], row["recipient"], row["sent_id"]) for row in lost[:TOP]],
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
    for row in found["tree"][:TREE_LINES]:
        after = render.paint(f"+{render.duration(row['after_s'])}  {row['id']}", dim=True)
        render.emit(f"  {'  ' * row['depth']}{render.clean(row['agent_id'])}  {after}")
    if len(found["tree"]) > TREE_LINES:
        render.note(f"the first {TREE_LINES} of {len(found['tree']):,}; --json has all")
