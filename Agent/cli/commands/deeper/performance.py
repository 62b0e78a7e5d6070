"""`performance`: where the time goes, what got slower, and what the slowest spans did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from Agent.cli.options import parameters
from Agent.cli.output import render

TOP = 8
SLOW = 3
TREE_LINES = 6


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
    shown = found["bottlenecks"][:TOP]
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
        *(_ms(numbers[key]) for key in ("p50", "p95", "p99", "max", "self_ms")),
        f"{row['share']:.0%}",
    )


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _print_steps(latency: dict[str, Any]) -> None:
    if not latency["steps"]:
        return
    render.heading("Slower or faster", latency["method"])
    for step in latency["steps"][:TOP]:
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
        for row in span["tree"][:TREE_LINES]:
            line = f"{'  ' * row['depth']}{render.clean(row['name'])}  {_ms(row['duration_ms'])} ms"
            render.emit(" " * 23 + render.paint(line, dim=True))
        hidden = len(span["tree"]) - TREE_LINES + span["tree_left_out"]
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
