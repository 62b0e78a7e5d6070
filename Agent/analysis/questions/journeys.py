"""One agent's events, one by one and in overview, from its files only; also the session's timeline."""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from Agent.analysis.query.kept import QueryEngine, kept
from Agent.analysis.query.tables import Rows
from Agent.analysis.query.views import (
    BY_ORDER,
    IS_ERROR,
    event_keys,
    event_row,
    events_of,
    is_error,
    part_of,
    scan,
)
from Agent.analysis.session import (
    agent_events,
    code_places,
    counted_losses,
    file_and_line,
    in_flight,
    unknown_agent,
)
from Agent.analysis.stats import describe, length_us
from Agent.archive.sealed.reader import open_reader
from Agent.errors import AgentNotFound, DamagedInput, SessionNotFound
from Agent.event.clock import format_timestamp, parse_timestamp
from Agent.event.model import Event
from Agent.event.ordering import Forest, Node, build_forest
from Agent.event.payloads import NAMED_BY
from Agent.event.values.plain import number_in
from Agent.render.blocks import Column, Section, first_of
from Agent.render.formats import plural
from Agent.render.html import notebook_html
from Agent.tree.layout import readable_sessions, session_id_of
from Agent.tree.read.losses import Gap
from Agent.tree.read.reader import TreeReader, ranked

if TYPE_CHECKING:
    from Agent.analysis.query.engine import Engine

RECENT_ERRORS = 10
SHOWN_EVENTS = 50


class ActivityCount:
    """Counts over one agent's events, taken one event at a time."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.role: str | None = None
        self.total = 0
        self.first: Event | None = None
        self.last: Event | None = None
        self.ticks: list[int] = []
        self.kinds: Counter[str] = Counter()
        self.levels: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()
        self.outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.decisions: Counter[str] = Counter()
        self.durations: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self.error_count = 0
        self.recent_errors: list[dict[str, Any]] = []

    def add(self, event: Event) -> None:
        """Count one more event."""
        self.total += 1
        self.first = self.first or event
        self.last = event
        self.role = event.agent_role or self.role
        self.kinds[event.kind] += 1
        self.levels[event.level] += 1
        if event.tick is not None:
            self.ticks = [min([event.tick, *self.ticks]), max([event.tick, *self.ticks])]
        if event.kind == "agent_action":
            self._add_action(event)
        elif event.kind == "decision":
            self.decisions[str(event.extra.get("decision_type"))] += 1
        if is_error(event):
            self._add_error(event)

    def _add_action(self, event: Event) -> None:
        action = str(event.extra.get("action_type"))
        self.actions[action] += 1
        outcome = event.extra.get("outcome") or ("error" if event.extra.get("error_id") else "ok")
        self.outcomes[action][str(outcome)] += 1
        duration = number_in(event.extra.get("duration_ms"))
        if duration is not None:
            self.durations[action].append(duration)

    def _add_error(self, event: Event) -> None:
        self.error_count += 1
        self.recent_errors.append(event_keys(event, "id", "timestamp", "message"))
        del self.recent_errors[:-RECENT_ERRORS]

    def result(self) -> dict[str, Any]:
        """The counts, with the keys that `analyze_agent_activity` documents."""
        assert self.first is not None and self.last is not None  # noqa: S101 - agent_events raised otherwise
        return {
            "agent_id": self.agent_id,
            "agent_role": self.role,
            "total_logs": self.total,
            "action_counts": ranked(self.actions),
            "errors": self.error_count,
            "recent_errors": self.recent_errors,
            "first_seen": self.first.timestamp,
            "last_seen": self.last.timestamp,
            "first_tick": self.ticks[0] if self.ticks else None,
            "last_tick": self.ticks[1] if self.ticks else None,
            "event_types": ranked(self.kinds),
            "levels": ranked(self.levels),
            "decisions": self.decisions.total(),
            "decision_counts": ranked(self.decisions),
            "outcomes": {action: ranked(counts) for action, counts in sorted(self.outcomes.items())},
            "durations_ms": {action: describe(values) for action, values in sorted(self.durations.items())},
        }


class Journey(Rows):
    """The events of one agent, in order; a notebook shows the first 50 as a table."""

    def _repr_html_(self) -> str:
        columns = ("timestamp", "tick", "level", "event_type", "message", "id")
        rows = first_of(list(self), SHOWN_EVENTS, *(Column(name, name) for name in columns))
        title = f"{self[0]['agent_id']}: {plural(len(self), 'event')}" if self else "No events"
        return notebook_html([Section(title, rows)])


def agent_activity(reader: TreeReader, agent_id: str) -> dict[str, Any]:
    """Count what one agent did: actions, outcomes, kinds, levels, errors, durations in milliseconds.

    `errors` counts the agent's errors once: an action that failed because of an error does not count again.

    Raises:
        AgentNotFound: the session does not contain this agent.
    """
    count = ActivityCount(agent_id)
    for event in agent_events(reader, agent_id):
        count.add(event)
    return count.result()


DEFAULT_BUCKETS = 60
MAX_MARKS = 500

_MARKS = (
    "simulation_start",
    "simulation_end",
    "phase",
    "milestone",
    "checkpoint",
    "run.started",
    "run.finished",
)


def timeline(engine: QueryEngine, buckets: int = DEFAULT_BUCKETS) -> dict[str, Any]:
    """Count events in equal intervals of the session.

    Returns:
        `buckets`: dicts with start, end, first_tick, last_tick, events, errors, agents (how many were active)
        and `by_type` ({event_type: count}), empty intervals included; `marks`: starts, ends, phases,
        milestones and named checkpoints, oldest first.
    """
    buckets = max(1, buckets)
    if (ends_us := engine.ends_us()) is None:
        return {"buckets": [], "marks": []}
    first, last = ends_us
    bucket, width = part_of("ts_us", first, last, buckets)
    count = -(-(last - first + 1) // width)
    intervals = [_empty(first + n * width, min(first + (n + 1) * width, last + 1)) for n in range(count)]
    query = (
        f"(SELECT {bucket} AS bucket, event_type, agent_id, count(*) AS n, min(tick) AS low, "
        f"max(tick) AS high, count(*) FILTER (WHERE {IS_ERROR}) AS errors FROM {scan('error_id')} "
        # events written after the ends were queried have no bucket
        f"WHERE ts_us BETWEEN {first} AND {last} GROUP BY bucket, event_type, agent_id)"
    )
    with kept(engine, "timeline_groups", query) as groups:
        for row in engine.rows(
            "SELECT bucket, event_type, CAST(sum(n) AS BIGINT) AS n, min(low) AS low, max(high) AS high, "
            f"CAST(sum(errors) AS BIGINT) AS errors FROM {groups} GROUP BY 1, 2 ORDER BY 1, n DESC, 2"
        ):
            _add(intervals[row["bucket"]], row)
        for row in engine.rows(f"SELECT bucket, count(DISTINCT agent_id) AS n FROM {groups} GROUP BY 1"):
            intervals[row["bucket"]]["agents"] = row["n"]
    return {"buckets": intervals, "marks": marks(engine)}


def _empty(start_us: int, end_us: int) -> dict[str, Any]:
    return {
        "start": format_timestamp(start_us),
        "end": format_timestamp(end_us),
        "first_tick": None,
        "last_tick": None,
        "events": 0,
        "errors": 0,
        "agents": 0,
        "by_type": {},
    }


def _add(bucket: dict[str, Any], row: dict[str, Any]) -> None:
    bucket["events"] += row["n"]
    bucket["errors"] += row["errors"]
    bucket["by_type"][row["event_type"]] = row["n"]
    if row["low"] is not None:
        low, high = bucket["first_tick"], bucket["last_tick"]
        bucket["first_tick"] = row["low"] if low is None else min(low, row["low"])
        bucket["last_tick"] = row["high"] if high is None else max(high, row["high"])


def marks(engine: QueryEngine) -> list[dict[str, Any]]:
    """The events that mark the program's progress (phases, milestones, ...), oldest first, at most 500."""
    return engine.rows(
        f"SELECT timestamp, id, tick, event_type, name, message FROM {events_of(_MARKS, 'name')} "
        f"ORDER BY {BY_ORDER} LIMIT {MAX_MARKS}"
    )


MAX_STRETCHES: Final = 4096


class Stretch(NamedTuple):
    """An idle interval in microseconds; `after` and `before` are the events at its ends."""

    start_us: int
    end_us: int
    after: str
    before: str

    @property
    def length_us(self) -> int:
        """The length in microseconds."""
        return self.end_us - self.start_us


class Busy:
    """The union of intervals; `add` takes them in order of their ends, the order in which spans are written.

    Above 4096 separate intervals, those with the smallest gaps between them are merged: gaps up to `blur_us`
    may then count as busy.
    """

    def __init__(self, most: int = MAX_STRETCHES) -> None:
        self._most = most
        self._times: list[tuple[int, int, str, str]] = []
        self.blur_us = 0

    def add(self, start_us: int, end_us: int, event_id: str) -> None:
        """Add one interval; an instant has the same start and end."""
        start_us = min(start_us, end_us)
        last_us, first, last = end_us, event_id, event_id
        while self._times and self._times[-1][1] >= start_us:
            before = self._times.pop()
            first = before[2] if before[0] <= start_us else first
            last = before[3] if before[1] > last_us else last
            start_us, last_us = min(start_us, before[0]), max(last_us, before[1])
        self._times.append((start_us, last_us, first, last))
        if len(self._times) > self._most:
            self._merge()

    def _merge(self) -> None:
        """Merge intervals across the smaller half of the gaps, so that about half of them remain."""
        between = sorted(b[0] - a[1] for a, b in zip(self._times, self._times[1:], strict=False))
        self.blur_us = max(self.blur_us, between[len(between) // 2])
        merged = [self._times[0]]
        for time in self._times[1:]:
            before = merged[-1]
            if time[0] - before[1] <= self.blur_us:
                merged[-1] = (before[0], time[1], before[2], time[3])
            else:
                merged.append(time)
        self._times = merged

    @property
    def busy_us(self) -> int:
        """The total busy time in microseconds, including gaps that were merged."""
        return sum(end - start for start, end, _, _ in self._times)

    @property
    def idle_us(self) -> int:
        """The total idle time in microseconds between the first and the last interval."""
        return self._times[-1][1] - self._times[0][0] - self.busy_us if self._times else 0

    @property
    def first_us(self) -> int | None:
        """The start of the first interval, None without any."""
        return self._times[0][0] if self._times else None

    def stretches(self, most: int) -> list[Stretch]:
        """The longest idle intervals, at most `most`, in order of time."""
        pairs = zip(self._times, self._times[1:], strict=False)
        gaps = [Stretch(a[1], b[0], a[3], b[2]) for a, b in pairs]
        longest = sorted(gaps, key=lambda each: (-each.length_us, each.start_us))[:most]
        return sorted(longest)


IDLE_STRETCHES: Final = 5
MAX_GAPS: Final = 50
_SPOILING: Final = frozenset({"lost", "unacknowledged", "unknown"})


class _Overview:
    """Running totals over one agent's events."""

    def __init__(self, agent_id: str) -> None:
        self.activity = ActivityCount(agent_id)
        self.busy = Busy()
        self.writers: Counter[str] = Counter()
        self.runs: set[str] = set()
        self.spans = 0
        self.codes: dict[str, tuple[str | None, object]] = {}
        """By action, the digest of the code that ran last, if one is known, and the name of its function."""

    def add(self, event: Event) -> None:
        self.activity.add(event)
        action, call = event.extra.get("action_type"), event.extra.get("call")
        if isinstance(action, str) and call is not None:
            self.codes[action] = event.code or self.codes.get(action, (None,))[0], call
        self.writers[event.writer] += 1
        if event.run_id is not None and len(self.runs) < 1000:
            self.runs.add(event.run_id)
        self.spans += event.span_id is not None
        self.busy.add(_started_us(event), event.timestamp_us, event.id)


def journey_overview(
    reader: TreeReader,
    agent_id: str,
    engine: Engine | None = None,
    each: Callable[[Event], None] = lambda _event: None,
) -> dict[str, Any]:
    """Summarise one agent's journey through one session; memory does not grow with its length.

    Args:
        reader: of the session.
        agent_id: whose journey.
        engine: over the whole session, to find gaps of the recording; None skips this.
        each: called with every event, in order.

    Returns:
        The keys of `agent_activity`, `session_id`, `started_at` (the start of the first span), `duration_s`,
        `busy_s`, `idle_s`, `idle` (the 5 longest idle intervals: start, end, seconds, and the ids of the
        events around), `idle_blur_s` (shorter intervals may count as busy), `spans`, `in_flight` (of this
        agent), `runs`, `damaged_lines` (in its files), `gaps` (`record_gaps`, or None), and `code`, by action
        the `file` and `line` of the function that ran last, where they are known.

    Raises:
        AgentNotFound: the session does not contain this agent.
    """
    kept = _Overview(agent_id)
    damaged_before = reader.damaged_lines
    for event in agent_events(reader, agent_id):
        kept.add(event)
        each(event)
    damaged = reader.damaged_lines - damaged_before
    activity = kept.activity.result()
    first_us = kept.busy.first_us or 0
    places = code_places(reader.session) if kept.codes else None
    code = {
        action: file_and_line(place)
        for action, (digest, call) in kept.codes.items()
        if places is not None and (place := places.of("agent_action", {"call": call}, digest)) is not None
    }
    return activity | {
        "session_id": session_id_of(reader.session),
        "started_at": format_timestamp(first_us),
        "duration_s": (kept.busy.busy_us + kept.busy.idle_us) / 1e6,
        "busy_s": kept.busy.busy_us / 1e6,
        "idle_s": kept.busy.idle_us / 1e6,
        "idle": [*map(_stretch, kept.busy.stretches(IDLE_STRETCHES))],
        "idle_blur_s": kept.busy.blur_us / 1e6,
        "spans": kept.spans,
        "in_flight": [{key: span[key] for key in ("name", "span_id", "started_at", "alive")}
                      for span in in_flight(reader) if span["agent_id"] == agent_id],
        "runs": sorted(kept.runs),
        "damaged_lines": damaged,
        "gaps": None if engine is None else record_gaps(reader, engine, list(kept.writers)),
        "code": code,
    }  # fmt: skip


def _stretch(idle: Stretch) -> dict[str, Any]:
    return {
        "start": format_timestamp(idle.start_us),
        "end": format_timestamp(idle.end_us),
        "seconds": idle.length_us / 1e6,
        "after": idle.after,
        "before": idle.before,
    }


def record_gaps(reader: TreeReader, engine: Engine, writers: list[str]) -> list[dict[str, Any]]:
    """List the gaps in some writers' numbering; a missing event may belong to any agent of that writer.

    Returns:
        In order, at most 50: `writer`, `verdict` (lost, unacknowledged, unknown, retired, as in `losses()`),
        `count`, `first_seq`, `last_seq`, and the times of the writer's nearest events, `after` and `before`
        (None if there is none).
    """
    recorded_losses = counted_losses(reader.session, engine) or reader.losses()
    gaps = [
        (account.writer, gap)
        for account in recorded_losses.writers
        if account.writer in writers
        for gap in account.gaps
        if gap.verdict in _SPOILING or gap.verdict == "retired"
    ][:MAX_GAPS]
    around = _neighbours(engine, gaps) if gaps else {}
    return [_placed(writer, gap, around.get(place, {})) for place, (writer, gap) in enumerate(gaps)]


def _neighbours(engine: Engine, gaps: list[tuple[str, Gap]]) -> dict[int, dict[str, Any]]:
    """The times next to each gap, from a single scan; the times of one writer never decrease."""
    rows = engine.rows(
        "WITH gaps AS (SELECT unnest($1::BIGINT[]) AS place, unnest($2::VARCHAR[]) AS owner, "
        "unnest($3::BIGINT[]) AS first_seq, unnest($4::BIGINT[]) AS last_seq) "
        "SELECT place, max(ts_us) FILTER (WHERE seq < first_seq) AS after_us, "
        "min(ts_us) FILTER (WHERE seq > last_seq) AS before_us "
        f"FROM (SELECT ts_us, writer, seq FROM {scan()} WHERE list_contains($2, writer)) JOIN gaps "
        "ON owner = writer AND seq BETWEEN first_seq - 1000 AND last_seq + 1000 GROUP BY place",
        [
            list(range(len(gaps))),
            [writer for writer, _ in gaps],
            [gap.first_seq for _, gap in gaps],
            [gap.last_seq for _, gap in gaps],
        ],
    )
    return {row["place"]: row for row in rows}


def _placed(writer: str, gap: Gap, around: dict[str, Any]) -> dict[str, Any]:
    after_us, before_us = around.get("after_us"), around.get("before_us")
    return {
        "writer": writer,
        **{name: getattr(gap, name) for name in ("verdict", "count", "first_seq", "last_seq")},
        "after": None if after_us is None else format_timestamp(after_us),
        "before": None if before_us is None else format_timestamp(before_us),
    }


def journeys_overview(root: Path, agent_id: str) -> dict[str, Any]:
    """Summarise one agent through every session under a root.

    Returns:
        `sessions`: the `journey_overview` of each, oldest first; and in total `events`, `actions`, `errors`,
        `busy_s`, `first_seen`, `last_seen`, `between_s` (time between sessions, when nothing was recorded;
        neither idle nor a gap), `action_counts`, and `unread`: {session id: why it could not be read}; such
        a session is missing from all totals.

    Raises:
        AgentNotFound: no session under the root contains the agent.
    """
    sessions: list[dict[str, Any]] = []
    newest: TreeReader | None = None
    unread: dict[str, str] = {}
    for ref in readable_sessions(root):
        try:
            reader = open_reader(ref.path)
            if reader.holds_agent(agent_id):
                newest = reader
                sessions.append(journey_overview(reader, agent_id))
        except SessionNotFound:
            continue  # removed by retention in the meantime
        except AgentNotFound:
            continue  # its file has no readable event of the agent
        except DamagedInput as error:
            unread[ref.session_id] = str(error)
    if not sessions:
        refs = readable_sessions(root)
        if newest is None and refs:
            newest = open_reader(refs[-1].path)
        if newest is None:
            raise AgentNotFound(f"no agent {agent_id!r}", path=root, remedy="no session was recorded there")
        raise unknown_agent(newest, agent_id)
    actions: Counter[str] = Counter()
    for session in sessions:
        actions.update(session["action_counts"])
    return {
        "agent_id": agent_id,
        "sessions": sessions,
        "events": sum(session["total_logs"] for session in sessions),
        "actions": actions.total(),
        "errors": sum(session["errors"] for session in sessions),
        "busy_s": sum(session["busy_s"] for session in sessions),
        "first_seen": min(session["started_at"] for session in sessions),
        "last_seen": max(session["last_seen"] for session in sessions),
        "between_s": _between_s(sessions),
        "action_counts": ranked(actions),
        "unread": unread,
    }


def _between_s(sessions: list[dict[str, Any]]) -> float:
    spans = sorted((parse_timestamp(s["started_at"]), parse_timestamp(s["last_seen"])) for s in sessions)
    covered = Busy()
    for start_us, end_us in sorted(spans, key=lambda span: span[1]):
        covered.add(start_us, end_us, "")
    return covered.idle_us / 1e6


MAX_TREE_EVENTS: Final = 100_000


def agent_journey(reader: TreeReader, agent_id: str, *, nested: bool = False) -> Journey:
    """List every event of one agent, each with its depth among the agent's own spans.

    A span is written when it ends, so in order of time (the default) it follows the events inside it.

    Args:
        reader: of the session.
        agent_id: whose journey.
        nested: sort by start time, so that each span precedes the events inside it.

    Returns:
        Event dicts (`views.event_row`) plus `depth`, `duration_ms` and `started_at`.

    Raises:
        AgentNotFound: the session does not contain this agent.
    """
    events = list(agent_events(reader, agent_id))
    depths = span_depths(events)
    steps = [_step(event, depths) for event in events]
    if nested:
        places = {id(step): place for place, step in enumerate(steps)}
        # An inner event can start in the same microsecond as its span; depth sorts the span first.
        steps.sort(key=lambda step: (step["started_at"], step["depth"], places[id(step)]))
    return Journey(steps)


def _step(event: Event, depths: dict[str, int]) -> dict[str, Any]:
    if event.span_id is not None:
        depth = depths[event.span_id]
    else:
        depth = depths[event.parent_span_id] + 1 if event.parent_span_id in depths else 0
    duration_ms = number_in(event.extra.get("duration_ms"))
    return event_row(event) | {"depth": depth, "duration_ms": duration_ms, "started_at": _started(event)}


def _started_us(event: Event) -> int:
    length = 0 if event.span_id is None else length_us(event.extra.get("duration_ms"))
    return event.timestamp_us - length


def _started(event: Event) -> str:
    started_us = _started_us(event)
    return event.timestamp if started_us == event.timestamp_us else format_timestamp(started_us)


def span_depths(events: Sequence[Event]) -> dict[str, int]:
    """The number of known spans around each span, by span id."""
    parents = {event.span_id: event.parent_span_id for event in events if event.span_id is not None}
    depths: dict[str, int] = {}
    for span in parents:
        path: dict[str, None] = {}
        walk: str | None = span
        while walk in parents and walk not in depths and walk not in path:
            path[walk] = None
            walk = parents[walk]
        depth = depths[walk] + 1 if walk in depths else 0
        for known in reversed(path):
            depths[known] = depth
            depth += 1
    return depths


def journey_tree(
    reader: TreeReader, agent_id: str, most: int = MAX_TREE_EVENTS
) -> tuple[list[dict[str, Any]], int]:
    """Build the tree of one agent's spans; return its rows, parents first, and the number of dropped events.

    Returns:
        Nodes with `depth`, `id`, `span_id`, `event_type`, `name`, `timestamp`, `started_at`, `duration_ms`,
        `self_ms` (duration less that of the direct children, at least 0), `tick`, `level`, `outcome`,
        `message`, `children` (count), `inside` (of a root: the enclosing span that belongs to another agent),
        and `mark`: None, `open` (started and not ended), duplicate or cycle (`event.ordering`). Only the last
        `most` events are used.

    Raises:
        AgentNotFound: the session does not contain this agent.
    """
    seen = 0
    kept: deque[Event] = deque(maxlen=most)
    for event in agent_events(reader, agent_id):
        seen += 1
        kept.append(event)
    open_spans = {span.span_id: span.name for span in reader.in_flight()}
    return tree_rows(build_forest(kept), open_spans), seen - len(kept)


def tree_rows(forest: Forest, open_spans: dict[str, str]) -> list[dict[str, Any]]:
    """The nodes of a forest as dicts, parents before children."""
    rows: list[dict[str, Any]] = []
    inside: str | None = None
    for depth, node in forest.walk():
        if depth == 0:
            # A root without an event that is not open belongs to another agent: skip it, keep its children.
            is_elsewhere = node.unfinished and node.span_id not in open_spans
            inside = node.span_id if is_elsewhere else None
            if is_elsewhere:
                continue
        level = depth if inside is None else depth - 1
        rows.append(_node(level, node, open_spans) | {"inside": inside if level == 0 else None})
    return rows


def _node(depth: int, node: Node, open_spans: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {"depth": depth, "id": None, "span_id": node.span_id} | dict.fromkeys(_OF_EVENT)
    row |= {"children": len(node.children), "mark": None if node.mark is None else node.mark.value}
    event = node.event
    if event is None:
        return row | {"name": open_spans.get(node.span_id or ""), "mark": "open"}
    duration_ms = number_in(event.extra.get("duration_ms"))
    self_ms = None
    if event.span_id is not None and duration_ms is not None:
        inner = (child.event for child in node.children if child.event is not None and child.span_id)
        inner_ms = sum(number_in(each.extra.get("duration_ms")) or 0.0 for each in inner)
        self_ms = max(0.0, duration_ms - inner_ms)
    row |= event_keys(event, "id", "event_type", "timestamp", "tick", "level", "message")
    return row | {
        "name": event_name(event),
        "started_at": _started(event),
        "duration_ms": duration_ms,
        "self_ms": self_ms,
        "outcome": event.extra.get("outcome"),
    }


_OF_EVENT: Final = (
    "event_type", "name", "timestamp", "started_at", "duration_ms", "self_ms", "tick", "level", "outcome",
    "message",
)  # fmt: skip
_NAMES: Final = (
    "action_type", "metric_name", "context", "learning_stage", "decision_type", "interaction_type",
    "error_type", "content_type", "strategy_type", "operation", "name",
)  # fmt: skip


def event_name(event: Event) -> str:
    """A short name for an event: its action, metric, stage, ..., else its kind."""
    names = (event.extra.get(key) for key in (*_NAMES, NAMED_BY.get(event.kind, "")))
    return next((str(value) for value in names if value), event.kind)
