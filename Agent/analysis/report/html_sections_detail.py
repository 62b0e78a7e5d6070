"""The sections of the page about errors, speed and dealings; `html_sections` puts them among the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from Agent.analysis.errors.fingerprints import told_pattern
from Agent.analysis.report.html_charts import legend, ranges, share_bar
from Agent.analysis.report.html_facts import Facts
from Agent.analysis.report.html_text import (
    Markup,
    clock,
    count,
    details,
    milliseconds,
    number,
    plural,
    table,
    tag,
    text,
)

__all__ = ["errors", "interactions", "performance"]

PATTERNS: Final = 12
MORE_PATTERNS: Final = 50
OPERATIONS: Final = 14
TYPES: Final = 12
STEPS: Final = 8
_TRACEBACK_CHARS: Final = 6000
_TRENDS: Final = frozenset({"rising", "falling", "steady", "over"})
_NUMBERS: Final = frozenset(range(1, 9))


def errors(facts: Facts) -> list[Markup]:
    """The patterns that errors fall into, each with an example and what led to it."""
    found = facts.summary["errors"]
    if not found["total_errors"]:
        return [tag("p", "None.", class_="good")]
    patterns = found["fingerprints"]
    agents = ", ".join(f"{name} ({count(amount)})" for name, amount in list(found["by_agent"].items())[:6])
    total = plural(found["total_errors"], "error")
    made = [
        tag(
            "p",
            f"{total} in {plural(found['total_fingerprints'], 'pattern')}; most of {agents}.",
        ),
        *(_pattern(row, facts) for row in patterns[:PATTERNS]),
    ]
    rest = patterns[PATTERNS:MORE_PATTERNS]
    if rest:
        rows = [(count(row["count"]), told_pattern(row), row["example_id"]) for row in rest]
        more = table(("count", "error", "example"), rows, right=frozenset({0}))
        made.append(details(f"{count(len(rest))} more patterns", more))
    return made


def _pattern(row: Mapping[str, Any], facts: Facts) -> Markup:
    first, last = clock(row["first_seen"]), clock(row["last_seen"])
    when = f"at {first}" if first == last else f"{first} to {last}"
    agents = row["agents"]
    who = ", ".join(map(str, agents)) if isinstance(agents, list) else plural(agents, "agent")
    about = f"{who}, {when}, for example {row['example_id']}"
    if row.get("trend") in _TRENDS:
        about += f", {row['trend']}"
    traceback = facts.tracebacks.get(row["example_id"])
    chain = facts.chains.get(row["example_id"])
    return tag(
        "div",
        tag("b", f"{count(row['count'])} x ", class_="bad"),
        tag("b", text(told_pattern(row))),
        tag("p", about, class_="soft"),
        details("Traceback of the example", tag("pre", text(traceback, _TRACEBACK_CHARS)))
        if traceback
        else None,
        details("What led to it", _chain(chain)) if chain else None,
        class_="error",
    )


def _chain(chain: list[dict[str, Any]]) -> Markup:
    steps = []
    for step in chain[:STEPS]:
        # a chain is of events with their link, or of links that hold an event
        event = step["event"] if isinstance(step.get("event"), Mapping) else step
        link = step["edge"] if isinstance(step.get("edge"), Mapping) else step
        why = link.get("reason") or link.get("rule") or ""
        basis = link.get("basis") or link.get("kind") or ""
        who = f"{event.get('agent_id') or '-'}: {event.get('message') or event.get('event_type') or ''}"
        told = ", ".join(str(part) for part in (basis, why) if part)
        steps.append(
            tag(
                "li",
                clock(event.get("timestamp")),
                " ",
                tag("b", who),
                tag("span", f" {told}", class_="soft"),
            )
        )
    return tag("ol", *steps, class_="chain")


def performance(found: Mapping[str, Any]) -> list[Markup]:
    """Latencies by operation, the slowest spans, metrics, resources."""
    timed = [(name, row) for group in ("actions", "operations") for name, row in found[group].items()]
    timed = [(name or "(no name)", row) for name, row in timed if row.get("count")]
    timed.sort(key=lambda pair: -(pair[1]["total_ms"] or 0))
    made = []
    if timed:
        made += [
            legend(["p50", "p95", "p99"], [0, 3, 5]),
            ranges(timed[:OPERATIONS], label="Latency by operation: p50, p95, p99"),
            _latencies(timed[:OPERATIONS]),
        ]
    if found["slowest"]:
        rows = [
            (milliseconds(row["duration_ms"]), row["name"], row["agent_id"], row["tick"], row["id"])
            for row in found["slowest"]
        ]
        slowest = table(("took", "what", "agent", "tick", "event"), rows, right=frozenset({0, 3}))
        made += [tag("h3", "Slowest"), slowest]
    made += _metrics(found)
    peak = found["resources"].get("max_memory_bytes")
    if peak:
        made.append(tag("p", f"Memory at most {peak / 1e6:,.0f} MB.", class_="soft"))
    return made


def _latencies(timed: list[tuple[str, Mapping[str, Any]]]) -> Markup:
    whole = sum(row["total_ms"] or 0 for _, row in timed) or 1
    rows = [
        (
            tag("b", name),
            share_bar((row["total_ms"] or 0) / whole, f"{(row['total_ms'] or 0) / whole:.0%} of the time"),
            count(row["count"]),
            tag("span", count(row["errors"]), class_="bad") if row.get("errors") else "0",
            *(milliseconds(row.get(key)) for key in ("p50", "p95", "p99", "max", "total_ms")),
        )
        for name, row in timed
    ]
    names = ("operation", "share", "count", "failed", "p50", "p95", "p99", "max", "total")
    return table(names, rows, right=frozenset(range(2, 9)))


def _metrics(found: Mapping[str, Any]) -> list[Markup]:
    rows = [
        (
            tag("b", name),
            row.get("unit"),
            count(row["count"]),
            *(number(row.get(key)) for key in ("mean", "p50", "p95", "max")),
        )
        for name, row in list(found["metrics"].items())[:OPERATIONS]
    ]
    if not rows:
        return []
    names = ("metric", "unit", "count", "mean", "p50", "p95", "max")
    return [tag("h3", "Metrics"), table(names, rows, right=frozenset(range(2, 7)))]


def interactions(found: Mapping[str, Any]) -> list[Markup]:
    """Who interacted with whom, and what spread furthest."""
    made = []
    groups = [
        ("interactions", found["total_interactions"], found["by_type"]),
        *(
            (name, found[name]["total"], found[name].get("by_type", {}))
            for name in ("connections", "collaborations")
        ),
    ]
    words = [f"{count(total)} {name}" for name, total, _ in groups if total]
    words += [f"{count(found['cascades']['total'])} cascades"] if found["cascades"]["total"] else []
    messages = found["messages"]
    if messages["total"]:
        words.append(
            f"{count(messages['total'])} message events, {count(messages['never_received'])} never received"
        )
    if not words:
        return []
    made.append(tag("p", "; ".join(words) + "."))
    kinds = [(name or "(no type)", amount) for _, _, by_type in groups for name, amount in by_type.items()]
    columns = []
    if kinds:
        most = max(amount for _, amount in kinds)
        rows = [
            (tag("b", name), share_bar(amount / most, count(amount)), count(amount))
            for name, amount in kinds[:TYPES]
        ]
        columns.append(
            tag("div", tag("h3", "By type"), table(("type", "", "count"), rows, right=frozenset({2})))
        )
    viral = [
        (
            tag("b", item["content_id"]),
            count(item["cascade_size"]) if item["cascade_size"] else "-",
            count(item["shares"]),
            count(item["interactions"]),
        )
        for item in found["top_viral_content"]
    ]
    if viral:
        names = ("content", "cascade", "shares", "interactions")
        columns.append(tag("div", tag("h3", "Spread furthest"), table(names, viral, right=_NUMBERS)))
    pairs = [
        (tag("b", f"{row['sender']} → {row['recipient']}"), count(row["n"]))
        for row in messages["busiest_pairs"]
    ]
    if pairs:
        columns.append(tag("div", tag("h3", "Messages"), table(("from → to", "sent"), pairs, right=_NUMBERS)))
    return [*made, tag("div", *columns, class_="pair")] if columns else made
