"""The content of a report on a session as plain data: sections of blocks, which `Agent.render` draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import isfinite
from typing import Any, Final, NamedTuple

from Agent.analysis.questions.errors import pattern_text
from Agent.event.clock import parse_timestamp
from Agent.record.encode.safe_text import cut
from Agent.render.blocks import (
    Bars,
    Block,
    Cell,
    Column,
    Curve,
    Entries,
    Entry,
    Fold,
    Grid,
    Head,
    Ranges,
    Section,
    Share,
    SideBySide,
    Title,
    Words,
    by_name,
    failures,
    first_of,
    grid,
    name,
    numbers,
    sentence,
)  # fmt: skip
from Agent.render.formats import (
    cell,
    clock,
    count,
    date_time,
    milliseconds,
    moment,
    named,
    number,
    path_line,
    plural,
    seconds,
)

KINDS: Final = 5
AGENTS: Final = 25
MORE_ROWS: Final = 1000
CURVES: Final = 6
LEARNERS: Final = 10
ACTIONS: Final = 25
SPANS: Final = 25
_OTHER: Final = "other"
NUMBERS: Final = frozenset(range(1, 9))
PATTERNS: Final = 12
MORE_PATTERNS: Final = 50
OPERATIONS: Final = 14
TYPES: Final = 12
STEPS: Final = 8


class Facts(NamedTuple):
    """Everything that the page shows about one session."""

    summary: Mapping[str, Any]
    timeline: Mapping[str, Any]
    tracebacks: Mapping[str, str]
    """Tracebacks by event id of the error."""
    chains: Mapping[str, list[dict[str, Any]]]
    """Causal chains by event id of the error, nearest cause first."""


def header(facts: Facts) -> Head:
    """The page's title, with the session's time range and key numbers."""
    summary = facts.summary
    lost, dropped = _lost(summary)
    total_errors, agents = summary["errors"]["total_errors"], len(summary["agents"])
    ticks = ""
    if summary["first_tick"] is not None:
        ticks = f", ticks {summary['first_tick']} to {summary['last_tick']}"
    when = f"{clock(summary['first_seen'], date=True)} to {clock(summary['last_seen'], date=True)} UTC{ticks}"
    totals = f"{plural(summary['total_events'], 'event')} of {plural(agents, 'agent')}"
    numbers = [
        ("events", count(summary["total_events"]), None),
        ("agent" if agents == 1 else "agents", count(agents), None),
        ("duration", seconds(summary["duration_s"]), None),
        ("error" if total_errors == 1 else "errors", count(total_errors), "bad" if total_errors else "good"),
        ("events lost", count(lost + dropped), "bad" if lost + dropped else "good"),
        ("still open", count(len(summary["in_flight"])), "warn" if summary["in_flight"] else None),
    ]
    about = f"{totals} in {seconds(summary['duration_s'])}, {when}"
    whose = f"{named(summary['agent_id'])} in session" if "agent_id" in summary else "Session"
    return Head(f"{whose} {summary['session_id']}", about, numbers)


def sections(facts: Facts) -> Iterator[Section]:
    """The non-empty sections, in reading order."""
    summary = facts.summary
    made = (
        ("Activity over time", _activity(facts)),
        ("Errors", _errors(facts)),
        (LOGGED, logged(summary["errors"]["logs"])),
        ("Still open", _in_flight(summary["in_flight"])),
        ("Agents", _agents(summary)),
        ("Actions", _actions(summary["actions"])),
        ("Learning", _learning(summary["learning"])),
        ("Performance", _performance(summary["performance"])),
        ("Interactions", _interactions(summary["interactions"])),
        ("Completeness", _record(summary)),
    )
    return filled(*made)


def filled(*made: tuple[str, list[Block]]) -> Iterator[Section]:
    """The sections that contain at least one block."""
    return (Section(title, inner) for title, inner in made if inner)


def _activity(facts: Facts) -> list[Block]:
    buckets = facts.timeline["buckets"]
    if not buckets:
        return []
    top = list(facts.summary["event_types"])[:KINDS]
    others = len(facts.summary["event_types"]) > KINDS
    bars = [_parts(bucket["by_type"], top) for bucket in buckets]
    tips = [_tip(bucket) for bucket in buckets]
    ends = clock(buckets[0]["start"]), clock(buckets[-1]["end"])
    names = [*top, _OTHER] if others else top
    # "other" is not a kind, so it gets a colour that no kind has
    colours = [*range(len(top)), 6]
    marks = _marks(facts.timeline)
    blocks: list[Block] = [
        Bars(bars, names, tips, ends, "Events over time by kind", marks, colours),
    ]
    if facts.summary["errors"]["total_errors"]:
        failed = [{"errors": bucket["errors"]} for bucket in buckets]
        label = "Errors over time"
        blocks += [Title(label), Bars(failed, ["errors"], tips, ends, label, colours=[5], height=90)]
    return blocks


def _parts(by_type: Mapping[str, int], top: list[str]) -> dict[str, float]:
    parts: dict[str, float] = {kind: by_type.get(kind, 0) for kind in top}
    parts[_OTHER] = sum(by_type.values()) - sum(parts.values())
    return parts


def _tip(bucket: Mapping[str, Any]) -> str:
    ticks = "" if bucket["first_tick"] is None else f", ticks {bucket['first_tick']} to {bucket['last_tick']}"
    return (
        f"from {clock(bucket['start'])}{ticks}: {plural(bucket['events'], 'event')} of "
        f"{plural(bucket['agents'], 'agent')}, {plural(bucket['errors'], 'error')}"
    )


def _marks(timeline: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Phases and milestones, as shares of the time shown."""
    buckets = timeline["buckets"]
    first, last = parse_timestamp(buckets[0]["start"]), parse_timestamp(buckets[-1]["end"])
    marks = [mark for mark in timeline["marks"] if mark["event_type"] in {"phase", "milestone"}]
    return [
        ((parse_timestamp(mark["timestamp"]) - first) / max(last - first, 1), mark["message"] or mark["name"])
        for mark in marks[:100]
    ]


def _agents(summary: Mapping[str, Any]) -> list[Block]:
    agents = summary["agents"]
    if not agents:
        return []
    roles: dict[str, list[Mapping[str, Any]]] = {}
    for agent in agents.values():
        roles.setdefault(agent["role"] or "(no role)", []).append(agent)
    blocks: list[Block] = []
    if len(agents) > AGENTS:
        sums = [
            {"role": role, "agents": len(of), **{key: sum(each[key] for each in of) for key in _SUMS}}
            for role, of in sorted(roles.items(), key=lambda pair: -len(pair[1]))
        ]
        blocks += _with_fold(sums, AGENTS, "role", _role_table)
        blocks.append(Title("Most errors, then most events"))
    ranked = sorted(by_name(agents), key=lambda each: (-each["errors"], -each["events"], each["name"]))
    return blocks + _with_fold(ranked, AGENTS, "agent", _agent_table)


def _with_fold(
    rows: Sequence[Any],
    most: int,
    noun: str,
    drawn: Callable[[Sequence[Any], int], Block],
    of_rest: Callable[[Sequence[Any], int], Block] | None = None,
    limit: int = MORE_ROWS,
    total: int | None = None,
) -> list[Block]:
    """The first `most` rows, and in a page the next up to `limit` folded; text counts all that it leaves out.

    Args:
        drawn: draws rows, with the number of those that follow.
        of_rest: draws the folded rows; None: as the first.
        total: the number of all rows, if `rows` has only the first of them.
    """
    total = max(len(rows), total or 0)
    shown, rest = rows[:most], rows[most:limit]
    blocks: list[Block] = [drawn(shown, total - len(shown))]
    if rest:
        hidden = total - len(shown) - len(rest)
        left_out = [Words(f"{plural(hidden, f'more {noun}', 'are')} not shown.", "soft")] if hidden else []
        folded = (of_rest or drawn)(rest, hidden)
        blocks.append(Fold(plural(len(rest), f"more {noun}"), [folded, *left_out]))
    return blocks


_SUMS: Final = ("events", "actions", "errors")


def _role_table(roles: Sequence[Mapping[str, Any]], further: int) -> Block:
    columns = Column("role", "role"), *numbers(count, "agents", *_SUMS)
    return grid(roles, *columns, further=further)


def _agent_table(agents: Sequence[Mapping[str, Any]], further: int) -> Block:
    most = max(agent["events"] for agent in agents) or 1
    return grid(
        agents,
        Column("agent", "name", name),
        Column("role", "role", spare=1),
        Column("", lambda agent: Share(agent["events"] / most, plural(agent["events"], "event")), spare=4),
        *numbers(count, "events", "actions"),
        *numbers(failures, "errors"),
        Column("first", "first_seen", clock, right=True, spare=3),
        Column("last", "last_seen", clock, right=True, spare=2),
        further=further,
    )


def _actions(actions: Mapping[str, int]) -> list[Block]:
    columns = Column("action", lambda row: name(row[0])), Column("count", lambda row: row[1], count)
    return first_of([*actions.items()], ACTIONS, *columns)


def learned(progress: Mapping[str, Any]) -> list[Block]:
    """A sentence with the totals of learning."""
    not_finite = progress["reward_count"] - progress["finite_reward_count"]
    totals = (
        (progress["total_training_steps"], "training steps"),
        (
            progress["reward_count"],
            f"rewards, {count(not_finite)} of them not finite" if not_finite else "rewards",
        ),
        (progress["learning_updates"], "learning updates"),
        (progress["policy_updates"], "policy updates"),
    )
    rewards = f"total reward {_total(progress['total_rewards'])}, mean {number(progress['mean_reward'])}"
    share, choices = progress["exploration_share"], count(progress["exploration_count"])
    return sentence(
        *(f"{count(amount)} {noun}" for amount, noun in totals if amount),
        rewards if progress["finite_reward_count"] else None,
        None if share is None else f"explored in {share:.0%} of {choices} choices",
    )


def _total(total: float | None) -> str:
    """A sum of finite numbers; beyond the largest float it is known only as infinite, in JSON as null."""
    return number(total) if total is not None and isfinite(total) else "beyond the largest float"


def _learning(progress: Mapping[str, Any]) -> list[Block]:
    blocks = learned(progress)
    curves = [("Mean reward over time", progress["reward_curve"])]
    curves += [(name, points) for name, points in list(progress["metric_curves"].items())[:CURVES]]
    drawn = [(Title(name), _curve(name, points)) for name, points in curves if len(points) > 2]
    for first in drawn[:1]:
        blocks += first
    if drawn[1:]:
        blocks.append(SideBySide(drawn[1:]))
    learners = {k: v for k, v in progress.get("by_agent", {}).items() if v["reward_count"]}
    if len(learners) > 1:
        blocks += rewards_by_agent(learners)
    return blocks


def _curve(name: str, points: list[Mapping[str, Any]]) -> Block:
    tips = [
        f"{clock(point['timestamp'])}: mean {number(point['mean'])} of {count(point['count'])}"
        for point in points
    ]
    ends = clock(points[0]["timestamp"]), clock(points[-1]["timestamp"])
    return Curve([point["mean"] for point in points], tips, ends, f"{name} over time")


def rewards_by_agent(learners: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """The agents with the most and the least reward."""
    ranked = sorted(by_name(learners), key=lambda row: (-row["total_rewards"], row["name"]))
    if len(ranked) <= LEARNERS:
        return [Title("Reward by agent"), _rewards_of(ranked)]
    half = LEARNERS // 2
    most = Title("Most reward"), _rewards_of(ranked[:half])
    least = Title("Least reward"), _rewards_of(ranked[-half:])
    return [SideBySide([most, least])]


def _rewards_of(learners: list[dict[str, Any]]) -> Block:
    columns = [
        Column("agent", "name", name),
        Column("total reward", lambda row: _total(row["total_rewards"]), right=True),
        Column("mean", "mean_reward", number),
        Column("rewards", "reward_count", count),
    ]
    if any(row["finite_reward_count"] < row["reward_count"] for row in learners):
        columns.append(
            Column("not finite", lambda row: row["reward_count"] - row["finite_reward_count"], count)
        )
    return grid(learners, *columns)


def _in_flight(spans: list[Mapping[str, Any]]) -> list[Block]:
    died = Cell("its process died", "bad")
    return first_of(
        spans,
        SPANS,
        Column("agent", "agent_id", name),
        Column("what", "name"),
        Column("since", "started_at", date_time),
        Column("state", lambda span: "still running" if span["alive"] else died),
    )


def _lost(summary: Mapping[str, Any]) -> tuple[int, int]:
    losses = summary["losses"]
    return losses["total_lost"], sum(losses["dropped"].values())


def _record(summary: Mapping[str, Any]) -> list[Block]:
    losses = summary["losses"]
    lost, dropped = _lost(summary)
    blocks: list[Block] = []
    if lost:
        blocks.append(Words(f"{plural(lost, 'event', 'were')} lost.", "bad"))
    if dropped:
        reasons = ", ".join(f"{reason} ({count(amount)})" for reason, amount in losses["dropped"].items())
        blocks.append(Words(f"{plural(dropped, 'event', 'were')} dropped: {reasons}.", "bad"))
    if summary["damaged_lines"]:
        blocks.append(Words(f"{plural(summary['damaged_lines'], 'damaged line', 'were')} skipped.", "warn"))
    # A question reads each line alone: not what is behind a torn line on it, and a repeated line again.
    apart = summary["total_events"] - losses.get("read", 0)
    is_clean = not lost and not dropped and losses.get("clean")
    if is_clean and apart and summary["damaged_lines"]:
        how = "in none of these figures" if apart < 0 else "counted twice in these figures"
        blocks.append(Words(f"{plural(abs(apart), 'event', 'are')} {how}: `verify` names the lines.", "warn"))
    elif is_clean:
        blocks.append(Words("Complete: no events were lost.", "good"))
    elif not lost and not dropped:
        blocks.append(Words("No known losses; not every writer closed.", "warn"))
    kinds = _listed(summary["event_types"], 24)
    levels = ", ".join(f"{level} {count(amount)}" for level, amount in summary["levels"].items())
    return [*blocks, Words(f"Levels: {levels}."), Words(f"Kinds: {kinds}.", "soft")]


def _listed(counts: Mapping[str, int], most: int) -> str:
    """The first `most` names with their counts, and how many more there are."""
    shown = [f"{name} {count(amount)}" for name, amount in list(counts.items())[:most]]
    return ", ".join(shown) + (f" and {count(len(counts) - most)} more" if len(counts) > most else "")


def _errors(facts: Facts) -> list[Block]:
    """The patterns of errors, each with an example and what led to it."""
    errors = facts.summary["errors"]
    if not errors["total_errors"]:
        return [Words("None.", "good")]
    patterns = errors["fingerprints"]
    agents = ", ".join(
        f"{named(name)} ({count(amount)})" for name, amount in list(errors["by_agent"].items())[:6]
    )
    total = plural(errors["total_errors"], "error")

    def entries(rows: Sequence[Mapping[str, Any]], further: int) -> Block:
        return Entries([_pattern(row, facts) for row in rows], further=further)

    blocks: list[Block] = [
        Words(f"{total} in {plural(errors['total_fingerprints'], 'pattern')}; most of {agents}."),
    ]
    number_of_all = errors["total_fingerprints"]
    return blocks + _with_fold(
        patterns, PATTERNS, "pattern", entries, _pattern_table, MORE_PATTERNS, number_of_all
    )


def _pattern_table(patterns: Sequence[Mapping[str, Any]], further: int) -> Block:
    return grid(
        patterns,
        Column("count", "count", count),
        Column("error", pattern_text),
        Column("example", "example_id"),
        further=further,
    )


def error_sections(
    errors: Mapping[str, Any],
    patterns: Sequence[Mapping[str, Any]],
    tails: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Iterator[Section]:
    """Some patterns of `error_patterns`, which of them occur together, and warnings and log messages.

    Args:
        errors: the result of `error_patterns`.
        patterns: the patterns to show.
        tails: {id of an example: the agent's events before it} (`errors.journey_tail`).
    """
    entries = [_entry(row, tails.get(row["example_id"], ())) for row in patterns]
    shapes = {row["fingerprint"]: row["shape"][:34] for row in errors["fingerprints"]}
    pairs = [pair for pair in errors["together"] if {pair["first"], pair["second"]} <= shapes.keys()][:3]
    together = []
    for pair in pairs:
        often = f"{pair['windows']} times within a second ({pair['expected']:g} by chance)"
        if pair["spans"]:
            often = f"in {plural(pair['spans'], 'span')}, {often}"
        together.append(Words(f"{shapes[pair['first']]!r} and {shapes[pair['second']]!r}: {often}"))
    listed: list[Block] = [Entries(entries, len(entries))] if entries else []
    return filled(("Errors", listed), ("Come together", [*together]), (LOGGED, logged(errors["logs"])))


LOGGED: Final = "Warnings and log messages"


def logged(errors: Mapping[str, Any]) -> list[Block]:
    """The patterns of `log_patterns`."""

    def level(row: Mapping[str, Any]) -> Cell | str:
        return Cell(row["level"], "warn") if row["level"] == "WARNING" else str(row["level"])

    return first_of(
        errors["patterns"],
        PATTERNS,
        Column("count", "count", count),
        Column("level", level),
        Column("message", lambda row: cut(row["shape"] if row["varies"] else row["message"] or "-", 160)),
        Column("agents", "agents", count, spare=1),
        Column("trend", lambda row: "-" if row["trend"] == "few" else row["trend"], spare=2),
        Column("example", "example_id", name),
        total=errors["total_patterns"],
    )


def _pattern(row: Mapping[str, Any], facts: Facts) -> Entry:
    more = []
    if traceback := facts.tracebacks.get(row["example_id"]):
        more.append(Fold("Traceback of the example", [Words(traceback, "code")]))
    if chain := facts.chains.get(row["example_id"]):
        steps = [_step(each) for each in chain[:STEPS]]
        more.append(Fold("What led to it", [Grid(("at", "what", "why"), steps)]))
    return _entry(row)._replace(more=more)


def _entry(row: Mapping[str, Any], tail: Sequence[Mapping[str, Any]] = ()) -> Entry:
    when = moment(row["first_seen"])
    if row["last_seen"] != row["first_seen"]:
        when += f" to {clock(row['last_seen'])}"
    trend = "too few for a trend" if row["trend"] == "few" else row["trend"]
    agents = ", ".join(map(named, row["agent_ids"][:3])) + (", ..." if row["agents"] > 3 else "")
    who = f"{plural(row['agents'], 'agent')} ({agents})" if row["agents"] else "no agent"
    place = f"in {row['place']}, " if row["place"] else ""
    if row["file"] is not None:
        function = str(row["place"]).rpartition(":")[2]
        place = f"at {path_line(row['file'], row['line'])} in {function}, "
    about = [f"{trend}, {when}, for example {row['example_id']}", f"{place}{who}"]
    about += [f"{clock(event['timestamp'])}  {cell(event['message'])}  {event['id']}" for event in tail]
    return Entry(f"{count(row['count'])} x", pattern_text(row), about)


def _step(step: Mapping[str, Any]) -> tuple[str, str, str]:
    edge = step["edge"]
    who = f"{named(step['agent_id'])}: {step['message'] or step['event_type']}"
    return clock(step["timestamp"]), who, f"{edge['basis']}, {edge['reason'] or edge['rule']}"


def _performance(performance: Mapping[str, Any]) -> list[Block]:
    """Latencies by operation, the slowest spans, metrics and memory."""
    timed = [
        row for group in ("actions", "operations") for row in by_name(performance[group]) if row.get("count")
    ]
    timed = sorted(timed, key=lambda row: -(row["total_ms"] or 0))
    blocks: list[Block] = []
    if timed:
        label = "Latency by operation: p50, p95, p99"
        whole_ms = sum(row["total_ms"] or 0 for row in timed) or 1
        blocks.append(Ranges([(row["name"], row) for row in timed[:OPERATIONS]], label))
        blocks += _with_fold(timed, OPERATIONS, "operation", partial(_latencies, whole_ms))
    slowest = first_of(
        performance["slowest"],
        len(performance["slowest"]),
        Column("took", "duration_ms", milliseconds),
        Column("what", "name"),
        Column("agent", "agent_id", name),
        Column("tick", "tick", right=True),
        Column("event", "id"),
    )
    blocks += [Title("Slowest"), *slowest] if slowest else []
    peak = performance["resources"].get("max_memory_bytes")
    memory = sentence(f"Memory at most {peak / 1e6:,.0f} MB" if peak else None, style="soft")
    return [*blocks, *metrics(performance), *memory]


def _latencies(whole_ms: float, timed: Sequence[Mapping[str, Any]], further: int) -> Block:
    def share(row: Mapping[str, Any]) -> Share:
        part = (row["total_ms"] or 0) / whole_ms
        return Share(part, f"{part:.0%} of the time")

    return grid(
        timed,
        Column("operation", "name", name),
        Column("share", share, spare=2),
        *numbers(count, "count"),
        Column("failed", "errors", failures, right=True),
        *numbers(milliseconds, "p50", "p95"),
        *numbers(milliseconds, "p99", "max", spare=1),
        Column("total", "total_ms", milliseconds),
        further=further,
    )


def metrics(performance: Mapping[str, Any]) -> list[Block]:
    """The values of metrics without a duration."""
    rows = by_name(performance["metrics"])
    drawn = first_of(
        rows,
        OPERATIONS,
        Column("metric", "name", name),
        Column("unit", "unit"),
        *numbers(count, "count"),
        *numbers(number, "mean", "p50", "p95", "max"),
    )
    return [Title("Metrics"), *drawn] if drawn else []


def _interactions(interactions: Mapping[str, Any]) -> list[Block]:
    """Who interacted with whom, and what spread furthest."""
    messages, cascades = interactions["messages"], interactions["cascades"]["total"]
    groups = {
        "interactions": {"total": interactions["total_interactions"], "by_type": interactions["by_type"]}
    }
    groups |= {key: interactions[key] for key in ("connections", "collaborations")}
    sent = f"{count(messages['total'])} message events, {count(messages['never_received'])} never received"
    summary = sentence(
        *(f"{count(of['total'])} {key}" for key, of in groups.items() if of["total"]),
        f"{count(cascades)} cascades" if cascades else None,
        sent if messages["total"] else None,
    )
    kinds = [
        (kind or "(no type)", amount) for of in groups.values() for kind, amount in of["by_type"].items()
    ]
    most = max((amount for _, amount in kinds), default=1)
    by_type = first_of(
        kinds,
        TYPES,
        Column("type", lambda row: name(row[0])),
        Column("", lambda row: Share(row[1] / most, count(row[1])), spare=1),
        Column("count", lambda row: row[1], count),
    )
    viral = first_of(
        interactions["top_viral_content"],
        TYPES,
        Column("content", "content_id", name),
        Column("cascade", lambda row: row["cascade_size"] or None, count),
        *numbers(count, "shares", "interactions"),
    )
    pairs = first_of(
        messages["busiest_pairs"],
        TYPES,
        Column("from → to", lambda row: name(f"{named(row['sender'])} → {named(row['recipient'])}")),
        Column("sent", "n", count),
    )
    parts = (("By type", by_type), ("Spread furthest", viral), ("Messages", pairs))
    columns = [[Title(title), *drawn] for title, drawn in parts if drawn]
    return [*summary, SideBySide(columns)] if summary and columns else summary
