"""What a report on a session says, as plain data: sections of blocks, which `Agent.render` draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from Agent.analysis.errors import told_pattern
from Agent.errors import EventNotFound
from Agent.event.clock import parse_timestamp
from Agent.event.ids import split_event_id
from Agent.render.blocks import (
    Bars,
    Block,
    Cell,
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
)
from Agent.render.words import clock, count, milliseconds, number, plural, seconds

BUCKETS: Final = 96
EXAMPLES: Final = 12
CHAINS: Final = 4
_LOOKBACK_S: Final = 60.0
KINDS: Final = 5
AGENTS: Final = 25
MORE_AGENTS: Final = 1000
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


class SessionQuestions(Protocol):
    """What the page asks of a session: `LogAnalyzer` is one."""

    def session_summary(self) -> dict[str, Any]:
        """The session in one dict."""

    def timeline(self, buckets: int = ...) -> dict[str, Any]:
        """How much happened when."""

    def find_causality_chain(self, event: str, lookback_seconds: float = ...) -> list[dict[str, Any]]:
        """What led to an event."""

    def sql(self, query: str) -> Iterable[Mapping[str, Any]]:
        """The answer to a query."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One session, as the page needs it."""

    summary: Mapping[str, Any]
    timeline: Mapping[str, Any]
    tracebacks: Mapping[str, str]
    """By the id of the error."""
    chains: Mapping[str, list[dict[str, Any]]]
    """What led to an error, nearest first, by its id."""


def gather(asked: SessionQuestions) -> Facts:
    """Ask a session everything."""
    summary = asked.session_summary()
    examples = [row["example_id"] for row in summary["errors"]["fingerprints"] if row.get("example_id")]
    chains = {}
    for event_id in examples[:CHAINS]:
        try:
            chains[event_id] = asked.find_causality_chain(event_id, _LOOKBACK_S)
        except EventNotFound:
            continue  # retention took the event meanwhile
    return Facts(summary, asked.timeline(BUCKETS), _tracebacks(asked, examples[:EXAMPLES]), chains)


def _tracebacks(asked: SessionQuestions, event_ids: list[str]) -> dict[str, str]:
    if not event_ids:
        return {}
    places = [split_event_id(event_id) for event_id in event_ids]
    # checked by the splitting: a writer is eight characters, of which a quote could be one
    listed = " OR ".join(
        f"(writer = '{writer.replace(chr(39), chr(39) * 2)}' AND seq = {seq})" for writer, seq in places
    )
    query = f"SELECT id, extra->>'$.traceback' AS text FROM events WHERE {listed}"  # noqa: S608
    return {row["id"]: row["text"] for row in asked.sql(query) if row["text"]}


def header(facts: Facts) -> Head:
    """What the session was, in a line and a few numbers."""
    summary = facts.summary
    lost, dropped = _lost(summary)
    total_errors, agents = summary["errors"]["total_errors"], len(summary["agents"])
    ticks = ""
    if summary["first_tick"] is not None:
        ticks = f", ticks {summary['first_tick']} to {summary['last_tick']}"
    when = f"{clock(summary['first_seen'], date=True)} to {clock(summary['last_seen'], date=True)} UTC{ticks}"
    what = f"{plural(summary['total_events'], 'event')} of {plural(agents, 'agent')}"
    numbers = [
        ("events", count(summary["total_events"]), None),
        ("agent" if agents == 1 else "agents", count(agents), None),
        ("duration", seconds(summary["duration_s"]), None),
        ("error" if total_errors == 1 else "errors", count(total_errors), "bad" if total_errors else "good"),
        ("events lost", count(lost + dropped), "bad" if lost + dropped else "good"),
        ("still open", count(len(summary["in_flight"])), "warn" if summary["in_flight"] else None),
    ]
    about = f"{what} in {seconds(summary['duration_s'])}, {when}"
    return Head(f"Session {summary['session_id']}", about, numbers)


def sections(facts: Facts) -> Iterator[Section]:
    """The sections that have something to say, in the order in which one asks."""
    summary = facts.summary
    made = (
        ("Activity over time", _activity(facts)),
        ("Errors", _errors(facts)),
        ("Still open", _in_flight(summary["in_flight"])),
        ("Agents", _agents(summary)),
        ("Actions", _actions(summary)),
        ("Learning", _learning(summary["learning"])),
        ("Performance", _performance(summary["performance"])),
        ("Interactions", _interactions(summary["interactions"])),
        ("Completeness", _record(summary)),
    )
    return filled(*made)


def filled(*made: tuple[str, list[Block]]) -> Iterator[Section]:
    """Those sections that have something to say."""
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
    # other stands for no kind, so it has the colour of none
    colours = [*range(len(top)), 6]
    marks = _marks(facts.timeline)
    made: list[Block] = [
        Bars(bars, names, tips, ends, "Events over time by kind", marks, colours),
    ]
    if facts.summary["errors"]["total_errors"]:
        failed = [{"errors": bucket["errors"]} for bucket in buckets]
        label = "Errors over time"
        made += [Title(label), Bars(failed, ["errors"], tips, ends, label, colours=[5], height=90)]
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


def _agents(summary: Mapping[str, Any]) -> list[Block]:
    agents = summary["agents"]
    if not agents:
        return []
    roles: dict[str, list[Mapping[str, Any]]] = {}
    for agent in agents.values():
        roles.setdefault(agent["role"] or "(no role)", []).append(agent)
    made: list[Block] = []
    if len(agents) > AGENTS:
        rows = [
            (
                role,
                count(len(of)),
                *(count(sum(a[key] for a in of)) for key in ("events", "actions", "errors")),
            )
            for role, of in sorted(roles.items(), key=lambda pair: -len(pair[1]))[:AGENTS]
        ]
        made.append(Grid(("role", "agents", "events", "actions", "errors"), rows, NUMBERS))
        made.append(Title("Most errors, then most events"))
    ranked = sorted(agents.items(), key=lambda pair: (-pair[1]["errors"], -pair[1]["events"], pair[0]))
    made.append(_agent_table(ranked[:AGENTS]))
    rest = ranked[AGENTS:MORE_AGENTS]
    if rest:
        made.append(Fold(f"{count(len(rest))} more agents", [_agent_table(rest)]))
    if len(ranked) > MORE_AGENTS:
        made.append(Words(f"{count(len(ranked) - MORE_AGENTS)} more agents are not shown.", "soft"))
    return made


def _agent_table(agents: list[tuple[str, Mapping[str, Any]]]) -> Block:
    most = max(agent["events"] for _, agent in agents) or 1
    rows = [
        (
            Cell(agent_id or "(empty id)", "name"),
            agent["role"],
            Share(agent["events"] / most, f"{count(agent['events'])} events"),
            count(agent["events"]),
            count(agent["actions"]),
            Cell(count(agent["errors"]), "bad") if agent["errors"] else "0",
            clock(agent["first_seen"]),
            clock(agent["last_seen"]),
        )
        for agent_id, agent in agents
    ]
    names = ("agent", "role", "", "events", "actions", "errors", "first", "last")
    return Grid(names, rows, frozenset({3, 4, 5, 6, 7}))


def _actions(summary: Mapping[str, Any]) -> list[Block]:
    actions = summary["actions"]
    if not actions:
        return []
    rows = [
        (Cell(name or "(no name)", "name"), count(amount)) for name, amount in list(actions.items())[:ACTIONS]
    ]
    made: list[Block] = [Grid(("action", "count"), rows, NUMBERS)]
    if len(actions) > ACTIONS:
        made.append(Words(f"{count(len(actions) - ACTIONS)} more.", "soft"))
    return made


def learned(progress: Mapping[str, Any]) -> list[Block]:
    """The sums of learning in a sentence."""
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
    return [Words("; ".join(words) + ".")] if words else []


def _learning(progress: Mapping[str, Any]) -> list[Block]:
    made = learned(progress)
    curves = [("Mean reward over time", progress["reward_curve"])]
    curves += [(name, points) for name, points in list(progress["metric_curves"].items())[:CURVES]]
    drawn = [(Title(name), _curve(name, points)) for name, points in curves if len(points) > 2]
    for first in drawn[:1]:
        made += first
    if drawn[1:]:
        made.append(SideBySide(drawn[1:]))
    learners = {k: v for k, v in progress.get("by_agent", {}).items() if v["reward_count"]}
    if len(learners) > 1:
        made += rewards_by_agent(learners)
    return made


def _curve(name: str, points: list[Mapping[str, Any]]) -> Block:
    tips = [
        f"{clock(point['timestamp'])}: mean {number(point['mean'])} of {count(point['count'])}"
        for point in points
    ]
    ends = clock(points[0]["timestamp"]), clock(points[-1]["timestamp"])
    return Curve([point["mean"] for point in points], tips, ends, f"{name} over time")


def rewards_by_agent(learners: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """Who was rewarded most and least."""
    ranked = sorted(learners.items(), key=lambda pair: (-pair[1]["total_rewards"], pair[0]))
    if len(ranked) <= LEARNERS:
        return [Title("Reward by agent"), _rewards_of(ranked)]
    half = LEARNERS // 2
    most = Title("Most reward"), _rewards_of(ranked[:half])
    least = Title("Least reward"), _rewards_of(ranked[-half:])
    return [SideBySide([most, least])]


def _rewards_of(learners: list[tuple[str, Mapping[str, Any]]]) -> Block:
    cells = [
        (
            Cell(name, "name"),
            number(row["total_rewards"]),
            number(row["mean_reward"]),
            count(row["reward_count"]),
        )
        for name, row in learners
    ]
    return Grid(("agent", "total reward", "mean", "rewards"), cells, NUMBERS)


def _in_flight(spans: list[Mapping[str, Any]]) -> list[Block]:
    if not spans:
        return []
    rows = [
        (
            Cell(span["agent_id"] or "-", "name"),
            span["name"],
            clock(span["started_at"], date=True),
            "still running" if span["alive"] else Cell("its process died", "bad"),
        )
        for span in spans[:SPANS]
    ]
    made: list[Block] = [Grid(("agent", "what", "since", "state"), rows)]
    if len(spans) > SPANS:
        made.append(Words(f"{count(len(spans) - SPANS)} more.", "soft"))
    return made


def _lost(summary: Mapping[str, Any]) -> tuple[int, int]:
    losses = summary["losses"]
    return losses["total_lost"], sum(losses["dropped"].values())


def _record(summary: Mapping[str, Any]) -> list[Block]:
    losses = summary["losses"]
    lost, dropped = _lost(summary)
    made: list[Block] = []
    if lost:
        made.append(Words(f"{count(lost)} events were lost.", "bad"))
    if dropped:
        reasons = ", ".join(f"{reason} ({count(amount)})" for reason, amount in losses["dropped"].items())
        made.append(Words(f"{count(dropped)} events were dropped: {reasons}.", "bad"))
    if summary["damaged_lines"]:
        made.append(Words(f"{count(summary['damaged_lines'])} damaged lines were skipped.", "warn"))
    if not lost and not dropped and losses.get("clean"):
        made.append(Words("Complete: no events were lost.", "good"))
    elif not lost and not dropped:
        made.append(Words("No known losses; not every writer closed.", "warn"))
    kinds = ", ".join(f"{kind} {count(amount)}" for kind, amount in list(summary["event_types"].items())[:24])
    levels = ", ".join(f"{level} {count(amount)}" for level, amount in summary["levels"].items())
    return [*made, Words(f"Levels: {levels}."), Words(f"Kinds: {kinds}.", "soft")]


def _errors(facts: Facts) -> list[Block]:
    """The patterns that errors fall into, each with an example and what led to it."""
    found = facts.summary["errors"]
    if not found["total_errors"]:
        return [Words("None.", "good")]
    patterns = found["fingerprints"]
    agents = ", ".join(f"{name} ({count(amount)})" for name, amount in list(found["by_agent"].items())[:6])
    total = plural(found["total_errors"], "error")
    made: list[Block] = [
        Words(f"{total} in {plural(found['total_fingerprints'], 'pattern')}; most of {agents}."),
        Entries([_pattern(row, facts) for row in patterns[:PATTERNS]]),
    ]
    rest = patterns[PATTERNS:MORE_PATTERNS]
    if rest:
        rows = [(count(row["count"]), told_pattern(row), row["example_id"]) for row in rest]
        more = Grid(("count", "error", "example"), rows, frozenset({0}))
        made.append(Fold(f"{count(len(rest))} more patterns", [more]))
    return made


def error_sections(
    found: Mapping[str, Any],
    patterns: Sequence[Mapping[str, Any]],
    tails: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Iterator[Section]:
    """Some patterns of `error_patterns`, and which of them come together.

    Args:
        tails: what the agent did before an example, by the id of that (`errors.journey_tail`).
    """
    entries = [_entry(row, tails.get(row["example_id"], ())) for row in patterns]
    shapes = {row["fingerprint"]: row["shape"][:34] for row in found["fingerprints"]}
    pairs = [pair for pair in found["together"] if {pair["first"], pair["second"]} <= shapes.keys()][:3]
    together = []
    for pair in pairs:
        often = f"{pair['windows']} times within a second ({pair['expected']:g} by chance)"
        if pair["spans"]:
            often = f"in {plural(pair['spans'], 'span')}, {often}"
        together.append(Words(f"{shapes[pair['first']]!r} and {shapes[pair['second']]!r}: {often}"))
    return filled(("Errors", [Entries(entries, len(entries))]), ("Come together", [*together]))


def _pattern(row: Mapping[str, Any], facts: Facts) -> Entry:
    more = []
    if traceback := facts.tracebacks.get(row["example_id"]):
        more.append(Fold("Traceback of the example", [Words(traceback, "code")]))
    if chain := facts.chains.get(row["example_id"]):
        steps = [_step(each) for each in chain[:STEPS]]
        more.append(Fold("What led to it", [Grid(("at", "what", "why"), steps)]))
    return _entry(row)._replace(more=more)


def _entry(row: Mapping[str, Any], tail: Sequence[Mapping[str, Any]] = ()) -> Entry:
    when = clock(row["first_seen"], date=True)
    if row["last_seen"] != row["first_seen"]:
        when += f" to {clock(row['last_seen'])}"
    trend = "too few for a trend" if row["trend"] == "few" else row["trend"]
    agents = ", ".join(row["agent_ids"][:3]) + (", ..." if row["agents"] > 3 else "")
    who = f"{plural(row['agents'], 'agent')} ({agents})" if row["agents"] else "no agent"
    place = f"in {row['place']}, " if row["place"] else ""
    about = [f"{trend}, {when}, for example {row['example_id']}", f"{place}{who}"]
    about += [f"  {clock(event['timestamp'])}  {event['message']}  {event['id']}" for event in tail]
    return Entry(f"{count(row['count'])} x", told_pattern(row), about)


def _step(step: Mapping[str, Any]) -> tuple[str, str, str]:
    edge = step["edge"]
    who = f"{step['agent_id'] or '-'}: {step['message'] or step['event_type']}"
    return clock(step["timestamp"]), who, f"{edge['basis']}, {edge['reason'] or edge['rule']}"


def _performance(found: Mapping[str, Any]) -> list[Block]:
    """Latencies by operation, the slowest spans, metrics, resources."""
    timed = [(name, row) for group in ("actions", "operations") for name, row in found[group].items()]
    timed = [(name or "(no name)", row) for name, row in timed if row.get("count")]
    timed.sort(key=lambda pair: -(pair[1]["total_ms"] or 0))
    made: list[Block] = []
    if timed:
        made += [
            Ranges(timed[:OPERATIONS], "Latency by operation: p50, p95, p99"),
            _latencies(timed[:OPERATIONS]),
        ]
    if found["slowest"]:
        rows = [
            (milliseconds(row["duration_ms"]), row["name"], row["agent_id"], row["tick"], row["id"])
            for row in found["slowest"]
        ]
        made += [Title("Slowest"), Grid(("took", "what", "agent", "tick", "event"), rows, frozenset({0, 3}))]
    made += metrics(found)
    peak = found["resources"].get("max_memory_bytes")
    if peak:
        made.append(Words(f"Memory at most {peak / 1e6:,.0f} MB.", "soft"))
    return made


def _latencies(timed: list[tuple[str, Mapping[str, Any]]]) -> Block:
    whole = sum(row["total_ms"] or 0 for _, row in timed) or 1
    rows = [
        (
            Cell(name, "name"),
            Share((row["total_ms"] or 0) / whole, f"{(row['total_ms'] or 0) / whole:.0%} of the time"),
            count(row["count"]),
            Cell(count(row["errors"]), "bad") if row.get("errors") else "0",
            *(milliseconds(row.get(key)) for key in ("p50", "p95", "p99", "max", "total_ms")),
        )
        for name, row in timed
    ]
    names = ("operation", "share", "count", "failed", "p50", "p95", "p99", "max", "total")
    return Grid(names, rows, frozenset(range(2, 9)))


def metrics(found: Mapping[str, Any]) -> list[Block]:
    """The values of metrics without a duration."""
    rows = [
        (
            Cell(name, "name"),
            row.get("unit"),
            count(row["count"]),
            *(number(row.get(key)) for key in ("mean", "p50", "p95", "max")),
        )
        for name, row in list(found["metrics"].items())[:OPERATIONS]
    ]
    if not rows:
        return []
    names = ("metric", "unit", "count", "mean", "p50", "p95", "max")
    return [Title("Metrics"), Grid(names, rows, frozenset(range(2, 7)))]


def _interactions(found: Mapping[str, Any]) -> list[Block]:
    """Who interacted with whom, and what spread furthest."""
    made: list[Block] = []
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
    made.append(Words("; ".join(words) + "."))
    kinds = [(name or "(no type)", amount) for _, _, by_type in groups for name, amount in by_type.items()]
    columns: list[list[Block]] = []
    if kinds:
        most = max(amount for _, amount in kinds)
        rows = [
            (Cell(name, "name"), Share(amount / most, count(amount)), count(amount))
            for name, amount in kinds[:TYPES]
        ]
        columns.append([Title("By type"), Grid(("type", "", "count"), rows, frozenset({2}))])
    viral = [
        (
            Cell(str(item["content_id"]), "name"),
            count(item["cascade_size"]) if item["cascade_size"] else "-",
            count(item["shares"]),
            count(item["interactions"]),
        )
        for item in found["top_viral_content"]
    ]
    if viral:
        names = ("content", "cascade", "shares", "interactions")
        columns.append([Title("Spread furthest"), Grid(names, viral, NUMBERS)])
    pairs = [
        (Cell(f"{row['sender']} → {row['recipient']}", "name"), count(row["n"]))
        for row in messages["busiest_pairs"]
    ]
    if pairs:
        columns.append([Title("Messages"), Grid(("from → to", "sent"), pairs, NUMBERS)])
    return [*made, SideBySide(columns)] if columns else made
