"""The queries of the service: events, runs, counts, error groups and journeys."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, Unpack

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    Select,
    Table,
    Text,
    case,
    cast,
    collate,
    func,
    literal_column,
    or_,
    select,
)

from Agent.errors import UsageError
from Agent.event.ids import event_id, split_event_id
from Agent.store.schema import (
    EVENTS,
    FAILURES,
    RUNS,
    SESSIONS,
    STEPS,
    EventFilter,
    Page,
    Paging,
    Project,
    RunFilter,
    matching,
    plain_rows,
    read_cursor,
    read_page,
    rows_of,
    rows_within,
)

_MAX_FAILURES: Final = 1_000
_MOST_LINKED: Final = 5_000
_MOST_NAMED: Final = 5_000
"""The most ids in a query, below the parameter limits of both databases; further ids are ignored."""


def list_runs(connection: Connection, project: Project, filters: RunFilter, **page: Unpack[Paging]) -> Page:
    """Return a page of runs, newest first."""
    statement = narrowed_runs(rows_of(RUNS, project), filters)
    order = RUNS.c.listed_us, RUNS.c.run_id
    return read_page(connection, statement, *order, newest_first=True, **page)


def narrowed_runs(statement: Select[Any], filters: RunFilter) -> Select[Any]:
    """Add a filter to a statement over runs."""
    names = ("agent_id", "agent_version", "status", "failure_type", "failure_code", "session_uid")
    if filters.session_id is not None:
        statement = statement.where(_of_session(RUNS, filters.session_id))
    if filters.label is not None:
        key, equals, value = filters.label.partition("=")
        if not equals or not key:
            raise UsageError("a label is written KEY=VALUE", remedy="give label=environment=production")
        statement = statement.where(cast(RUNS.c.labels[key].as_string(), Text) == value)
    return _narrowed(statement, RUNS.c.listed_us, filters, names)


def _of_session(table: Table, session_id: str) -> ColumnElement[bool]:
    """Return the condition that a row belongs to a session of that name."""
    named = select(SESSIONS.c.session_uid).where(
        SESSIONS.c.project_id == table.c.project_id, SESSIONS.c.session_id == session_id
    )
    return table.c.session_uid.in_(named)


def _narrowed(
    statement: Select[Any], time: Column[Any], filters: RunFilter | EventFilter, names: Iterable[str]
) -> Select[Any]:
    """Add conditions for these columns and the time to a statement."""
    for name in names:
        if (value := getattr(filters, name)) is not None:
            statement = statement.where(time.table.c[name] == value)
    if filters.since_us is not None:
        statement = statement.where(time >= filters.since_us)
    if filters.until_us is not None:
        statement = statement.where(time < filters.until_us)
    return statement


def find_run(connection: Connection, project: Project, run_id: str) -> dict[str, Any] | None:
    """Return one run, None if the project does not have it."""
    return next(iter(plain_rows(connection, rows_of(RUNS, project, run_id=run_id))), None)


def list_steps(connection: Connection, project: Project, run_id: str, **page: Unpack[Paging]) -> Page:
    """Return a page of the steps of a run, in order."""
    order = STEPS.c.position, STEPS.c.step_key
    return read_page(connection, rows_of(STEPS, project, run_id=run_id), *order, **page)


def list_failures(connection: Connection, project: Project, run_id: str) -> list[dict[str, Any]]:
    """Return the failures of a run, in order; at most 1,000."""
    order = FAILURES.c.occurred_us.nulls_last(), FAILURES.c.failure_id
    query = rows_of(FAILURES, project, run_id=run_id).order_by(*order).limit(_MAX_FAILURES)
    return plain_rows(connection, query)


def list_events(
    connection: Connection, project: Project, filters: EventFilter, **page: Unpack[Paging]
) -> Page:
    """Return a page of events of a session or run, oldest first; the events of one agent are its journey.

    Raises:
        UsageError: neither a session nor a run is given.
    """
    if filters.session_uid is None and filters.session_id is None and filters.run_id is None:
        remedy = "give session_uid, session_id or run_id"
        raise UsageError("events are read by session or by run", remedy=remedy)
    statement = narrowed_events(connection, rows_of(EVENTS, project), project, filters)
    return read_page(connection, statement, EVENTS.c.ts_us, EVENTS.c.event_id, **page)


def narrowed_events(
    connection: Connection, statement: Select[Any], project: Project, filters: EventFilter
) -> Select[Any]:
    """Add a filter to a statement over the events of a project."""
    session_uid = filters.session_uid
    if session_uid is None and filters.run_id is not None:
        # The session determines the partition of a run's events.
        run = find_run(connection, project, filters.run_id)
        session_uid = run["session_uid"] if run is not None else None
    if session_uid is not None:
        statement = statement.where(EVENTS.c.session_uid == session_uid)
    if filters.session_id is not None:
        statement = statement.where(_of_session(EVENTS, filters.session_id))
    if filters.min_severity is not None:
        statement = statement.where(EVENTS.c.severity >= filters.min_severity)
    return _narrowed(statement, EVENTS.c.ts_us, filters, ("run_id", "agent_id", "kind"))


def list_sessions(
    connection: Connection,
    project: Project,
    *,
    session_id: str | None = None,
    **page: Unpack[Paging],
) -> Page:
    """Return a page of sessions, newest first; only those of a name if it is given."""
    order = SESSIONS.c.first_us, SESSIONS.c.session_uid
    named = {} if session_id is None else {"session_id": session_id}
    statement = rows_of(SESSIONS, project, **named)
    return read_page(connection, statement, *order, newest_first=True, **page)


def events_by_id(
    connection: Connection, project: Project, session_uid: str, ids: Collection[str]
) -> list[dict[str, Any]]:
    """Return the stored events of the first 5,000 ids, up to about 16 MiB."""
    query = rows_of(EVENTS, project, session_uid=session_uid, event_id=_named(ids))
    return rows_within(connection, query)[0]


def events_of_agent(
    connection: Connection, project: Project, session_uid: str, agent_id: str, *, since_us: int, until_us: int
) -> list[dict[str, Any]]:
    """Return the newest 5,000 events of an agent in a time range, newest first."""
    query = rows_of(EVENTS, project, session_uid=session_uid, agent_id=agent_id)
    return _newest_events(connection, query, since_us, until_us)


def events_of_spans(
    connection: Connection,
    project: Project,
    session_uid: str,
    *,
    around: Collection[str],
    within: Collection[str],
    since_us: int,
    until_us: int,
) -> list[dict[str, Any]]:
    """Return the spans `around` and the direct children of the spans `within`, in a time range."""
    linked = or_(EVENTS.c.span_id.in_(_named(around)), EVENTS.c.parent_span_id.in_(_named(within)))
    query = rows_of(EVENTS, project, session_uid=session_uid).where(linked)
    return _newest_events(connection, query, since_us, until_us)


def _newest_events(
    connection: Connection, query: Select[Any], since_us: int, until_us: int
) -> list[dict[str, Any]]:
    newest_first = EVENTS.c.ts_us.desc(), EVENTS.c.event_id.desc()
    in_time = query.where(EVENTS.c.ts_us.between(since_us, until_us)).order_by(*newest_first)
    return rows_within(connection, in_time.limit(_MOST_LINKED))[0]


def _named(names: Collection[str]) -> list[str]:
    return sorted(names)[:_MOST_NAMED]


SAMPLED_RUNS: Final = 10_000
"""The number of newest runs whose latencies are computed, so that the cost of the query is bounded."""

_MAX_GROUPS: Final = 100


INTERVALS_US: Final = {"hour": 3_600_000_000, "day": 86_400_000_000}
"""{name: width} of the intervals by which runs are counted."""
_MAX_INTERVALS: Final = 1_000


def count_runs(
    connection: Connection, project: Project, filters: RunFilter, *, interval: str | None = None
) -> dict[str, Any]:
    """Return counts over all matching runs, and latencies, tokens and cost over the newest of them.

    Args:
        interval: `hour` or `day`, to count by it too; the newest 1,000 intervals are returned.
    """
    begins = None
    if interval is not None:
        elapsed = RUNS.c.listed_us % literal_column(str(INTERVALS_US[interval]))
        begins = (RUNS.c.listed_us - elapsed).label("begins_us")
    number = func.count().label("runs")
    failed = func.sum(case((RUNS.c.status == "failure", 1), else_=0)).label("failed")

    def counted(*by: ColumnElement[Any], more: Sequence[ColumnElement[Any]] = ()) -> list[dict[str, Any]]:
        order, most = (func.count().desc(), *by), _MAX_GROUPS
        if by[0] is begins:
            order, most = (begins.desc(),), _MAX_INTERVALS
        statement = _select_matching(project, filters, *by, number, *more).group_by(*by)
        return plain_rows(connection, statement.order_by(*order).limit(most))

    def used(rows: Iterable[dict[str, Any]], column: str) -> list[dict[str, Any]]:
        return [row | _summed(usage, **{column: row[column]}) for row in rows]

    by_status = counted(RUNS.c.status)
    usage = _usage(connection, project, filters, begins)
    # Both times are known, and the clock was not set back.
    timed = _newest(project, filters, _RUN_MS, _OF_ALL).where(RUNS.c.ended_us >= RUNS.c.started_us)
    newest = _newest(project, filters, RUNS.c.run_id).subquery()
    steps = (
        select(STEPS.c.latency_ms.label("ms"), STEPS.c.step_type)
        .join(newest, newest.c.run_id == STEPS.c.run_id)
        .where(matching(STEPS, project), STEPS.c.latency_ms.is_not(None))
    )
    run_ms = _latencies(connection, timed)
    return {
        "versions": used(counted(RUNS.c.agent_version, more=[failed]), "agent_version"),
        "intervals": None if begins is None else used(reversed(counted(begins, more=[failed])), "begins_us"),
        "usage": _summed(usage),
        "runs": sum(row["runs"] for row in by_status),
        "by_status": {row["status"]: row["runs"] for row in by_status},
        "agents": counted(RUNS.c.agent_id, more=[failed]),
        "failures": [
            row
            for row in counted(RUNS.c.failure_type, RUNS.c.failure_code)
            if row["failure_type"] is not None
        ],
        "run_ms": {name: run_ms[0][name] for name in run_ms[0] if name != "step_type"} if run_ms else None,
        "steps": _latencies(connection, steps),
        "sampled_runs": SAMPLED_RUNS,
    }


_RUN_MS: Final = ((RUNS.c.ended_us - RUNS.c.started_us) / 1000.0).label("ms")
_OF_ALL: Final[ColumnElement[Any]] = literal_column("''").label("step_type")
"""Groups the latencies of runs as one."""


_Usage = list[dict[str, Any]]
"""The model calls, tokens and cost of some runs, by version, interval and currency."""


def _summed(usage: _Usage, **equal: object) -> dict[str, Any]:
    """Sum up the usage of the runs with these values."""
    rows = [row for row in usage if all(row[name] == value for name, value in equal.items())]
    cost: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        if row["cost"] is not None:
            cost[row["currency"] or "unknown"] += float(row["cost"])
    names = ("model_calls", "prompt_tokens", "completion_tokens")
    return {name: sum(int(row[name] or 0) for row in rows) for name in names} | {"cost": dict(cost)}


def _usage(
    connection: Connection, project: Project, filters: RunFilter, begins: ColumnElement[Any] | None
) -> _Usage:
    """Sum up the model calls of the newest matching runs, by interval if its start is given."""
    begins = literal_column("0").label("begins_us") if begins is None else begins
    newest = _newest(project, filters, RUNS.c.run_id, RUNS.c.agent_version, begins).subquery()
    currency = cast(EVENTS.c.body["currency"].as_string(), Text).label("currency")
    by = (newest.c.agent_version, newest.c.begins_us, currency)
    statement = (
        select(
            *by,
            func.count().label("model_calls"),
            *(
                func.sum(_number(connection, name)).label(name)
                for name in ("prompt_tokens", "completion_tokens", "cost")
            ),
        )
        .join(newest, newest.c.run_id == EVENTS.c.run_id)
        # A literal, not a parameter, so that any plan can use the partial index of model calls.
        .where(matching(EVENTS, project, kind=literal_column("'model.call'")))
        .group_by(*by)
    )
    return plain_rows(connection, statement)


def _number(connection: Connection, name: str) -> ColumnElement[Any]:
    """Return a number in the body of events, NULL for other values, which a client may send as content."""
    value = EVENTS.c.body[name]
    if connection.dialect.name == "postgresql":
        return case((func.jsonb_typeof(value) == "number", cast(value.as_string(), Float(53))))
    kind = func.json_type(EVENTS.c.body, f"$.{name}")
    return case((kind.in_(("integer", "real")), func.json_extract(EVENTS.c.body, f"$.{name}")))


def _select_matching(project: Project, filters: RunFilter, *columns: ColumnElement[Any]) -> Select[Any]:
    """Select columns of the matching runs of a project."""
    return narrowed_runs(select(*columns).where(matching(RUNS, project)), filters)


def _newest(project: Project, filters: RunFilter, *columns: ColumnElement[Any]) -> Select[Any]:
    newest_first = RUNS.c.listed_us.desc(), RUNS.c.run_id.desc()
    return _select_matching(project, filters, *columns).order_by(*newest_first).limit(SAMPLED_RUNS)


def _latencies(connection: Connection, values: Select[Any]) -> list[dict[str, Any]]:
    """Return the count, the mean, p50 and p95 (values that occurred), and the maximum of `ms`, by type."""
    each = values.subquery()
    of_type = each.c.step_type
    ranked = select(
        each,
        func.row_number().over(partition_by=of_type, order_by=each.c.ms).label("place"),
        func.count().over(partition_by=of_type).label("total"),
    ).subquery()
    by, value = ranked.c.step_type, ranked.c.ms

    def quantile(part: float) -> ColumnElement[Any]:
        return func.min(case((ranked.c.place >= ranked.c.total * part, value)))

    numbers = {
        "mean": func.avg(value),
        "p50": quantile(0.5),
        "p95": quantile(0.95),
        "max": func.max(value),
    }
    columns = [number.label(name) for name, number in numbers.items()]
    statement = select(by, func.count().label("count"), *columns).group_by(by).order_by(by)
    # PostgreSQL returns decimals, SQLite floats.
    return [
        row | {name: round(float(row[name]), 3) for name in numbers}
        for row in plain_rows(connection, statement)
    ]


SAMPLED_ERRORS: Final = 100_000
"""The number of newest matching errors that are grouped, so that the cost of the query is bounded."""

_MOST_AGENTS: Final = 20
_KEY_CHARS: Final = 120
"""The maximum length of a key, so that a cursor that contains it has at most 1,000 characters."""


def list_error_groups(
    connection: Connection, project: Project, filters: EventFilter, **page: Unpack[Paging]
) -> Page:
    """Return a page of groups of errors, in descending order of their last error.

    An item has `group_key`, `fingerprint`, `kind`, `name` (the class of the error), `failure_type`,
    `failure_code`, `first_us`, `last_us`, `errors`, `agents` (their number), `agent_ids` (at most 20, those
    with the most errors), and `session_uid`, `run_id` and `event_id` of the newest error.
    """
    errors = _errors(connection, project, filters)
    groups = _groups(errors).subquery()
    order = groups.c.last_us, groups.c.group_key
    groups_page = read_page(connection, select(groups), *order, newest_first=True, **page)
    agents = _agents(connection, errors, [item["group_key"] for item in groups_page.items])
    for item in groups_page.items:
        item["agent_ids"] = agents.get(item["group_key"], [])
    return groups_page


def _errors(connection: Connection, project: Project, filters: EventFilter) -> Select[Any]:
    """Select the newest matching errors, each with the key of its group."""

    def body_text(name: str) -> ColumnElement[Any]:
        return cast(EVENTS.c.body[name].as_string(), Text)

    # Errors without a fingerprint are grouped by kind and name.
    key: ColumnElement[Any] = func.substr(
        func.coalesce(body_text("fingerprint"), EVENTS.c.kind + ":" + func.coalesce(EVENTS.c.name, "")),
        1,
        _KEY_CHARS,
    )
    if connection.dialect.name == "postgresql":
        key = collate(key, "C")  # order by bytes, as SQLite does by default
    columns = [EVENTS.c[name] for name in "ts_us event_id kind name agent_id run_id".split()]
    statement = select(
        *columns,
        cast(EVENTS.c.session_uid, Text).label("session_uid"),
        key.label("group_key"),
        *(body_text(name).label(name) for name in ("fingerprint", "failure_type", "failure_code")),
    ).where(matching(EVENTS, project))
    narrowed = narrowed_events(connection, statement, project, filters)
    # A literal, not a parameter, so that any plan can use the partial index of errors.
    return (
        narrowed.where(EVENTS.c.severity >= literal_column("40"))
        .order_by(EVENTS.c.ts_us.desc(), EVENTS.c.event_id.desc())
        .limit(SAMPLED_ERRORS)
    )


def _groups(errors: Select[Any]) -> Select[Any]:
    each = errors.subquery()
    newest_first = [each.c.ts_us.desc(), each.c.event_id.desc()]
    placed = select(
        each, func.row_number().over(partition_by=each.c.group_key, order_by=newest_first).label("place")
    ).subquery()

    def of_newest(name: str) -> ColumnElement[Any]:
        return func.max(case((placed.c.place == 1, placed.c[name]))).label(name)

    names = "fingerprint kind name failure_type failure_code session_uid run_id event_id".split()
    return select(
        placed.c.group_key,
        func.min(placed.c.ts_us).label("first_us"),
        func.max(placed.c.ts_us).label("last_us"),
        func.count().label("errors"),
        func.count(placed.c.agent_id.distinct()).label("agents"),
        *map(of_newest, names),
    ).group_by(placed.c.group_key)


def _agents(connection: Connection, errors: Select[Any], keys: list[str]) -> dict[str, list[str]]:
    """Return the agents with the most errors of each group."""
    if not keys:
        return {}
    each = errors.subquery()
    counted = (
        select(each.c.group_key, each.c.agent_id, func.count().label("errors"))
        .where(each.c.group_key.in_(keys), each.c.agent_id.is_not(None))
        .group_by(each.c.group_key, each.c.agent_id)
        .subquery()
    )
    most_first = [counted.c.errors.desc(), counted.c.agent_id]
    placed = select(
        counted, func.row_number().over(partition_by=counted.c.group_key, order_by=most_first).label("place")
    ).subquery()
    rows = connection.execute(
        select(placed.c.group_key, placed.c.agent_id)
        .where(placed.c.place <= _MOST_AGENTS)
        .order_by(placed.c.group_key, placed.c.place)
    )
    agents: defaultdict[str, list[str]] = defaultdict(list)
    for group_key, agent_id in rows:
        agents[group_key].append(agent_id)
    return agents


_MAX_LOOKUPS: Final = 5_000
"""The most ids per page that are looked up to find missing events; further gaps are unknown."""

_Gap = tuple[str, range]


def list_journey(
    connection: Connection, project: Project, filters: EventFilter, **page: Unpack[Paging]
) -> Page:
    """Return a page of the events of one agent, oldest first, each with the gap before it.

    In addition to its columns, an item has `started_us`; `gap_ms`, the time without an event of the agent,
    None for the first; and `missing`, the number of events of the same writer between the two that are not
    stored, None if it was not looked up.

    Raises:
        UsageError: no agent is given, or neither a session nor a run.
    """
    if filters.agent_id is None:
        raise UsageError("a journey is of one agent", remedy="give agent_id")
    events = list_events(connection, project, filters, **page)
    cursor = page.get("cursor")
    before = read_cursor(cursor, str(EVENTS.c.event_id.key)) if cursor is not None else None
    ended_us = None if before is None else before[0]
    for item in events.items:
        item["started_us"] = _started_us(item)
        item["gap_ms"] = None if ended_us is None else max(0, item["started_us"] - ended_us) / 1000
        ended_us = item["ts_us"]
    _count_missing(connection, project, events.items, None if before is None else before[1])
    return events


def _started_us(item: dict[str, Any]) -> int:
    ended_us: int = item["ts_us"]
    duration_ms: float | None = item["duration_ms"]
    if item["span_id"] is None or duration_ms is None:
        return ended_us
    return max(0, ended_us - max(0, round(duration_ms * 1000)))


def _count_missing(
    connection: Connection, project: Project, items: Sequence[dict[str, Any]], before: str | None
) -> None:
    """Set `missing` of the items: the count of numbers of their writers in between that are not stored."""
    gaps = _gaps(items, before)
    numbers_by_writer: defaultdict[str, set[str]] = defaultdict(set)
    left = _MAX_LOOKUPS
    looked_at: dict[int, _Gap] = {}
    for index, (writer, numbers) in gaps.items():
        if len(numbers) <= left:
            left -= len(numbers)
            looked_at[index] = (writer, numbers)
            numbers_by_writer[items[index]["session_uid"]].update(
                event_id(writer, number) for number in numbers
            )
    stored = {
        (uid, known)
        for uid, ids in numbers_by_writer.items()
        if ids
        for known in _stored(connection, project, uid, ids)
    }
    for index, item in enumerate(items):
        gap = looked_at.get(index)
        item["missing"] = None
        if gap is not None:
            ids = ((item["session_uid"], event_id(gap[0], number)) for number in gap[1])
            item["missing"] = sum(each not in stored for each in ids)


def _gaps(items: Sequence[dict[str, Any]], before: str | None) -> dict[int, _Gap]:
    """Return {index of an item: the numbers between it and the previous item of its writer}."""
    last: dict[str, int] = {}
    gaps: dict[int, _Gap] = {}
    if before is not None:
        with contextlib.suppress(ValueError):  # a cursor made by a client may not contain an event id
            last = dict([split_event_id(before)])
    for index, item in enumerate(items):
        writer, number = split_event_id(item["event_id"])
        if writer in last:
            gaps[index] = (writer, range(last[writer] + 1, number))
        last[writer] = max(number, last.get(writer, 0))
    return gaps


def _stored(connection: Connection, project: Project, session_uid: str, ids: Iterable[str]) -> set[str]:
    condition = matching(EVENTS, project, session_uid=session_uid, event_id=sorted(ids))
    return set(connection.execute(select(EVENTS.c.event_id).where(condition)).scalars())
