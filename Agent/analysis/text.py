"""Answers as text for a terminal or a file: plain columns, no colour, a bounded number of lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from Agent.analysis.errors.fingerprints import told_pattern

WIDTH = 100
TOP = 8


def session_text(summary: Mapping[str, Any]) -> str:
    """The report on a session that `analyze_session` prints."""
    parts = [
        _head(summary),
        _agents(summary),
        _actions(summary),
        _errors(summary["errors"]),
        _learning(summary["learning"]),
        _interactions(summary["interactions"]),
        _performance(summary["performance"]),
        _record(summary),
    ]
    return "\n\n".join(part for part in parts if part)


def section(title: str, lines: Iterable[str]) -> str:
    """A headed, indented block; empty if it has no line."""
    body = [f"  {line}" for line in lines]
    return "\n".join([title, *body]) if body else ""


def table(rows: Sequence[Sequence[Any]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows in columns as wide as their widest cell; `right` holds the columns aligned to the right."""
    cells = [[cell(value) for value in row] for row in rows]
    if not cells:
        return []
    widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]))]
    lines = []
    for row in cells:
        padded = [
            text.rjust(widths[n]) if n in right else text.ljust(widths[n]) for n, text in enumerate(row)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def cell(value: Any) -> str:
    """A value as a cell: numbers short, text on one line and at most 60 characters."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return short_number(value)
    line = " ".join(str(value).split())
    return line if len(line) <= 60 else line[:59] + "…"


def short_number(value: float) -> str:
    """A number in at most about four digits, without an exponent where that is readable."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if abs(value) >= 1000:
        return f"{value:.0f}"
    if abs(value) >= 1:
        return f"{value:.2f}"
    return f"{value:.3g}"


def told_setting(extra: Mapping[str, Any], show: Callable[[Any], str]) -> str:
    """What a change of configuration says, as far as it says it: pool was set from 32 to 1."""
    name = extra.get("name")
    told = f"{name if isinstance(name, str) else 'the configuration'} was set"
    if extra.get("old_value") is not None:
        told += f" from {show(extra['old_value'])}"
    if "new_value" in extra or "old_value" in extra:
        told += f" to {show(extra.get('new_value'))}"
    return told


def plural(count: int, noun: str) -> str:
    """A count with its noun: 1 error, 2 errors."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _head(summary: Mapping[str, Any]) -> str:
    lines = [f"Session {summary['session_id']}  ({summary['path']})"]
    ticks = ""
    if summary["first_tick"] is not None:
        ticks = f", ticks {summary['first_tick']} to {summary['last_tick']}"
    lines.append(
        f"  {plural(summary['total_events'], 'event')} of {plural(len(summary['agents']), 'agent')} in "
        f"{short_number(summary['duration_s'])} s, {summary['first_seen']} to {summary['last_seen']}{ticks}"
    )
    return "\n".join(lines)


def _agents(summary: Mapping[str, Any]) -> str:
    agents = summary["agents"]
    roles: dict[str, list[Mapping[str, Any]]] = {}
    for agent in agents.values():
        roles.setdefault(agent["role"] or "(no role)", []).append(agent)
    rows: list[Sequence[Any]] = [("role", "agents", "events", "actions", "errors")]
    for role, members in sorted(roles.items(), key=lambda pair: -len(pair[1]))[:TOP]:
        rows.append(
            (role, len(members), *(sum(m[key] for m in members) for key in ("events", "actions", "errors")))
        )
    busiest = sorted(agents, key=lambda agent: (-agents[agent]["events"], agent))[:3]
    most = ", ".join(f"{cell(agent)} ({agents[agent]['events']})" for agent in busiest)
    lines = [*table(rows, frozenset({1, 2, 3, 4})), f"most events: {most}"]
    return section("Agents", lines) if agents else ""


def _actions(summary: Mapping[str, Any]) -> str:
    actions = summary["actions"]
    durations = summary["performance"]["actions"]
    rows: list[Sequence[Any]] = [("action", "count", "failed", "p50 ms", "p95 ms")]
    for name, count in list(actions.items())[:TOP]:
        timed = durations.get(name, {})
        rows.append((name or "(no name)", count, timed.get("errors"), timed.get("p50"), timed.get("p95")))
    lines = table(rows, frozenset({1, 2, 3, 4})) if actions else []
    return section("Actions", [*lines, *_more(len(actions))])


def _more(count: int) -> list[str]:
    return [f"... and {count - TOP} more"] if count > TOP else []


def _errors(patterns: Mapping[str, Any]) -> str:
    if not patterns["total_errors"]:
        return section("Errors", ["none"])
    rows = [(f"{row['count']} x", told_pattern(row)) for row in patterns["fingerprints"][:TOP]]
    agents = [(agent, plural(count, "error")) for agent, count in list(patterns["by_agent"].items())[:3]]
    most = ", ".join(f"{agent} ({count})" for agent, count in agents)
    lines = [*table(rows, frozenset({0})), *_more(patterns["total_fingerprints"]), f"most in {most}"]
    return section(f"Errors: {patterns['total_errors']}", lines)


def _learning(progress: Mapping[str, Any]) -> str:
    lines = []
    if progress["total_training_steps"]:
        lines.append(plural(progress["total_training_steps"], "training step"))
    if progress["reward_count"]:
        mean = progress["mean_reward"]
        lines.append(
            f"{plural(progress['reward_count'], 'reward')}, total {short_number(progress['total_rewards'])}"
            + (f", mean {short_number(mean)}" if mean is not None else "")
        )
        curve = [point["mean"] for point in progress["reward_curve"]]
        if len(curve) > 2:
            lines.append(f"mean reward over time  {sparkline(curve)}")
    if progress["exploration_share"] is not None:
        lines.append(
            f"explored in {progress['exploration_share']:.0%} of {progress['exploration_count']} choices"
        )
    updates = [
        (progress["learning_updates"], "learning update"),
        (progress["policy_updates"], "policy update"),
    ]
    told = [plural(count, noun) for count, noun in updates if count]
    return section("Learning", [*lines, *([", ".join(told)] if told else [])])


def sparkline(values: Sequence[float]) -> str:
    """A curve in one line of block characters, lowest to highest."""
    blocks = "▁▂▃▄▅▆▇█"
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    return "".join(blocks[min(7, int((value - low) / width * 8))] for value in values)


def _interactions(found: Mapping[str, Any]) -> str:
    lines = []
    if found["total_interactions"]:
        types = ", ".join(
            f"{name or '(no type)'} {count}" for name, count in list(found["by_type"].items())[:TOP]
        )
        lines.append(f"{plural(found['total_interactions'], 'interaction')}: {types}")
    for name, noun in (
        ("connections", "connection"),
        ("cascades", "cascade"),
        ("collaborations", "collaboration"),
    ):
        if found[name]["total"]:
            lines.append(plural(found[name]["total"], noun))
    messages = found["messages"]
    if messages["total"]:
        lines.append(
            f"{plural(messages['total'], 'message event')}, {messages['never_received']} never received"
        )
    viral = found["top_viral_content"][:5]
    if viral:
        lines.append("content that spread furthest")
        rows = [
            (
                item["content_id"],
                # content that was shared need not have a cascade event
                f"cascade of {item['cascade_size']}"
                if item["cascade_size"]
                else plural(item["shares"], "share"),
                plural(item["interactions"], "interaction"),
            )
            for item in viral
        ]
        lines.extend(f"  {line}" for line in table(rows))
    return section("Interactions", lines)


def _performance(found: Mapping[str, Any]) -> str:
    rows: list[Sequence[Any]] = [("operation", "count", "mean ms", "p95 ms", "max ms")]
    for name, row in list(found["operations"].items())[:TOP]:
        rows.append((name, row["count"], row["mean"], row["p95"], row["max"]))
    lines = table(rows, frozenset({1, 2, 3, 4})) if found["operations"] else []
    peak = found["resources"]["max_memory_bytes"]
    if peak:
        lines.append(f"memory at most {peak / 1e6:.0f} MB")
    return section("Performance", lines)


def _record(summary: Mapping[str, Any]) -> str:
    lines = []
    if summary["in_flight"]:
        open_spans = ", ".join(f"{span['agent_id']}: {span['name']}" for span in summary["in_flight"][:5])
        lines.append(f"{plural(len(summary['in_flight']), 'span')} still open: {open_spans}")
    if summary["damaged_lines"]:
        lines.append(f"{plural(summary['damaged_lines'], 'damaged line')} skipped")
    lost, dropped = summary["losses"]["total_lost"], sum(summary["losses"]["dropped"].values())
    if lost:
        lines.append(f"{plural(lost, 'event')} lost")
    if dropped:
        lines.append(f"{plural(dropped, 'event')} dropped: {', '.join(summary['losses']['dropped'])}")
    if not lost and not dropped and summary["losses"]["clean"]:
        lines.append("complete: no events lost")
    return section("Completeness", lines)
