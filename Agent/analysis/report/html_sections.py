"""What the page about a session shows, section by section; a section without anything to say is left out.

`html_sections_detail` holds those about errors, speed and dealings; `html_page` is the frame around them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from Agent.analysis.report.html_charts import curve, legend, share_bar, stacked_bars
from Agent.analysis.report.html_facts import Facts
from Agent.analysis.report.html_sections_detail import errors, interactions, performance
from Agent.analysis.report.html_text import Markup, clock, count, details, number, seconds, table, tag
from Agent.event.clock import parse_timestamp

__all__ = ["header", "sections"]

KINDS: Final = 5
AGENTS: Final = 25
MORE_AGENTS: Final = 1000
CURVES: Final = 6
LEARNERS: Final = 10
SPANS: Final = 25
_OTHER: Final = "other"
_NUMBERS: Final = frozenset(range(1, 9))


def header(facts: Facts) -> Markup:
    """The title and what the session was, in a few numbers."""
    summary = facts.summary
    lost, dropped = _lost(summary)
    total_errors = summary["errors"]["total_errors"]
    ticks = ""
    if summary["first_tick"] is not None:
        ticks = f", ticks {summary['first_tick']} to {summary['last_tick']}"
    when = f"{clock(summary['first_seen'], date=True)} to {clock(summary['last_seen'], date=True)} UTC{ticks}"
    boxes = [
        ("events", count(summary["total_events"]), None),
        ("agent" if len(summary["agents"]) == 1 else "agents", count(len(summary["agents"])), None),
        ("duration", seconds(summary["duration_s"]), None),
        ("error" if total_errors == 1 else "errors", count(total_errors), "bad" if total_errors else "good"),
        ("events lost", count(lost + dropped), "bad" if lost + dropped else "good"),
        ("still open", count(len(summary["in_flight"])), "warn" if summary["in_flight"] else None),
    ]
    shown = (tag("div", tag("b", value, class_=look), tag("span", name)) for name, value, look in boxes)
    return tag(
        "header",
        tag("h1", f"Session {summary['session_id']}"),
        tag("p", when, class_="soft"),
        tag("div", *shown, class_="facts"),
    )


def sections(facts: Facts) -> Iterator[Markup]:
    """The sections that have something to say, in the order in which one asks."""
    made = (
        ("Activity over time", _activity(facts)),
        ("Errors", errors(facts)),
        ("Still open", _in_flight(facts.summary["in_flight"])),
        ("Agents", _agents(facts.summary)),
        ("Learning", _learning(facts.summary["learning"])),
        ("Performance", performance(facts.summary["performance"])),
        ("Interactions", interactions(facts.summary["interactions"])),
        ("Completeness", _record(facts.summary)),
    )
    for title, inner in made:
        if inner:
            yield tag("section", tag("h2", title), *inner)


def _activity(facts: Facts) -> list[Markup]:
    buckets = facts.timeline["buckets"]
    if not buckets:
        return []
    top = list(facts.summary["event_types"])[:KINDS]
    others = len(facts.summary["event_types"]) > KINDS
    bars = [_parts(bucket["by_type"], top) for bucket in buckets]
    tips = [_tip(bucket) for bucket in buckets]
    ends = clock(buckets[0]["start"]), clock(buckets[-1]["end"])
    names = [*top, _OTHER] if others else top
    # other stands for no kind, so it has the colour of none
    shown = stacked_bars(
        bars,
        names,
        tips,
        ends,
        marks=_marks(facts.timeline),
        colours=[*range(len(top)), 6],
        label="Events over time by kind",
    )
    made = [shown, legend(names, [*range(len(top)), 6][: len(names)])]
    if facts.summary["errors"]["total_errors"]:
        failed = [{"errors": bucket["errors"]} for bucket in buckets]
        made += [
            tag("h3", "Errors over time"),
            stacked_bars(failed, ["errors"], tips, ends, height=90, colours=[5], label="Errors over time"),
        ]
    return made


def _parts(by_type: Mapping[str, int], top: list[str]) -> dict[str, float]:
    parts: dict[str, float] = {kind: by_type.get(kind, 0) for kind in top}
    parts[_OTHER] = sum(by_type.values()) - sum(parts.values())
    return parts


def _tip(bucket: Mapping[str, Any]) -> str:
    ticks = "" if bucket["first_tick"] is None else f", ticks {bucket['first_tick']} to {bucket['last_tick']}"
    return (
        f"from {clock(bucket['start'])}{ticks}: {count(bucket['events'])} events of "
        f"{count(bucket['agents'])} agents, {count(bucket['errors'])} errors"
    )


def _marks(timeline: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Phases and milestones, as shares of the time shown."""
    buckets = timeline["buckets"]
    first, last = parse_timestamp(buckets[0]["start"]), parse_timestamp(buckets[-1]["end"])
    found = [mark for mark in timeline["marks"] if mark["event_type"] in {"phase", "milestone"}]
    return [
        ((parse_timestamp(mark["timestamp"]) - first) / max(last - first, 1), mark["message"] or mark["name"])
        for mark in found[:100]
    ]


def _agents(summary: Mapping[str, Any]) -> list[Markup]:
    agents = summary["agents"]
    if not agents:
        return []
    roles: dict[str, list[Mapping[str, Any]]] = {}
    for agent in agents.values():
        roles.setdefault(agent["role"] or "(no role)", []).append(agent)
    made = []
    if len(agents) > AGENTS:
        rows = [
            (
                role,
                count(len(of)),
                *(count(sum(a[key] for a in of)) for key in ("events", "actions", "errors")),
            )
            for role, of in sorted(roles.items(), key=lambda pair: -len(pair[1]))[:AGENTS]
        ]
        made.append(table(("role", "agents", "events", "actions", "errors"), rows, right=_NUMBERS))
        made.append(tag("h3", "Most errors, then most events"))
    ranked = sorted(agents.items(), key=lambda pair: (-pair[1]["errors"], -pair[1]["events"], pair[0]))
    made.append(_agent_table(ranked[:AGENTS]))
    rest = ranked[AGENTS:MORE_AGENTS]
    if rest:
        made.append(details(f"{count(len(rest))} more agents", _agent_table(rest)))
    if len(ranked) > MORE_AGENTS:
        made.append(tag("p", f"{count(len(ranked) - MORE_AGENTS)} more agents are not shown.", class_="soft"))
    return made


def _agent_table(agents: list[tuple[str, Mapping[str, Any]]]) -> Markup:
    most = max(agent["events"] for _, agent in agents) or 1
    rows = [
        (
            tag("b", agent_id or "(empty id)"),
            agent["role"],
            share_bar(agent["events"] / most, f"{count(agent['events'])} events"),
            count(agent["events"]),
            count(agent["actions"]),
            tag("span", count(agent["errors"]), class_="bad") if agent["errors"] else "0",
            clock(agent["first_seen"]),
            clock(agent["last_seen"]),
        )
        for agent_id, agent in agents
    ]
    names = ("agent", "role", "", "events", "actions", "errors", "first", "last")
    return table(names, rows, right=frozenset({3, 4, 5, 6, 7}))


def _learning(progress: Mapping[str, Any]) -> list[Markup]:
    told = [
        (progress["total_training_steps"], "training steps"),
        (progress["reward_count"], "rewards"),
        (progress["learning_updates"], "learning updates"),
        (progress["policy_updates"], "policy updates"),
    ]
    words = [f"{count(amount)} {noun}" for amount, noun in told if amount]
    if progress["reward_count"]:
        words.append(
            f"total reward {number(progress['total_rewards'])}, mean {number(progress['mean_reward'])}"
        )
    if progress["exploration_share"] is not None:
        choices = count(progress["exploration_count"])
        words.append(f"explored in {progress['exploration_share']:.0%} of {choices} choices")
    made = [tag("p", "; ".join(words) + ".")] if words else []
    curves = [("Mean reward over time", progress["reward_curve"])]
    curves += [(name, points) for name, points in list(progress["metric_curves"].items())[:CURVES]]
    drawn = [tag("div", tag("h3", name), _curve(name, points)) for name, points in curves if len(points) > 2]
    made += drawn[:1]
    if drawn[1:]:
        made.append(tag("div", *drawn[1:], class_="pair"))
    learners = {k: v for k, v in progress.get("by_agent", {}).items() if v["reward_count"]}
    if len(learners) > 1:
        made.append(_learners(learners))
    return made


def _curve(name: str, points: list[Mapping[str, Any]]) -> Markup:
    tips = [
        f"{clock(point['timestamp'])}: mean {number(point['mean'])} of {count(point['count'])}"
        for point in points
    ]
    ends = clock(points[0]["timestamp"]), clock(points[-1]["timestamp"])
    return curve([point["mean"] for point in points], tips, ends, label=f"{name} over time")


def _learners(learners: Mapping[str, Mapping[str, Any]]) -> Markup:
    ranked = sorted(learners.items(), key=lambda pair: (-pair[1]["total_rewards"], pair[0]))
    if len(ranked) <= LEARNERS:
        return tag("div", tag("h3", "Reward by agent"), _rewards_of(ranked))
    half = LEARNERS // 2
    return tag(
        "div",
        tag("div", tag("h3", "Most reward"), _rewards_of(ranked[:half])),
        tag("div", tag("h3", "Least reward"), _rewards_of(ranked[-half:])),
        class_="pair",
    )


def _rewards_of(learners: list[tuple[str, Mapping[str, Any]]]) -> Markup:
    cells = [
        (
            tag("b", name),
            number(row["total_rewards"]),
            number(row["mean_reward"]),
            count(row["reward_count"]),
        )
        for name, row in learners
    ]
    return table(("agent", "total reward", "mean", "rewards"), cells, right=_NUMBERS)


def _in_flight(spans: list[Mapping[str, Any]]) -> list[Markup]:
    if not spans:
        return []
    rows = [
        (
            tag("b", span["agent_id"] or "-"),
            span["name"],
            clock(span["started_at"], date=True),
            "still running" if span["alive"] else tag("span", "its process died", class_="bad"),
        )
        for span in spans[:SPANS]
    ]
    made = [table(("agent", "what", "since", "state"), rows)]
    if len(spans) > SPANS:
        made.append(tag("p", f"{count(len(spans) - SPANS)} more.", class_="soft"))
    return made


def _lost(summary: Mapping[str, Any]) -> tuple[int, int]:
    losses = summary["losses"]
    return losses["total_lost"], sum(losses["dropped"].values())


def _record(summary: Mapping[str, Any]) -> list[Markup]:
    losses = summary["losses"]
    lost, dropped = _lost(summary)
    lines = []
    if lost:
        lines.append(tag("p", f"{count(lost)} events were lost.", class_="bad"))
    if dropped:
        reasons = ", ".join(f"{reason} ({count(amount)})" for reason, amount in losses["dropped"].items())
        lines.append(tag("p", f"{count(dropped)} events were dropped: {reasons}.", class_="bad"))
    if summary["damaged_lines"]:
        lines.append(
            tag("p", f"{count(summary['damaged_lines'])} damaged lines were skipped.", class_="warn")
        )
    if not lost and not dropped:
        whole = (
            "Complete: no events were lost."
            if losses.get("clean")
            else "No known losses; not every writer closed."
        )
        lines.append(tag("p", whole, class_="good" if losses.get("clean") else "warn"))
    kinds = ", ".join(f"{kind} {count(amount)}" for kind, amount in list(summary["event_types"].items())[:24])
    levels = ", ".join(f"{level} {count(amount)}" for level, amount in summary["levels"].items())
    return [
        *lines,
        tag("p", f"Levels: {levels}."),
        tag("p", Markup(tag("span", f"Kinds: {kinds}.", class_="soft"))),
    ]
