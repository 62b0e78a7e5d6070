"""Errors that are one error: grouped by fingerprint, with when they came, how often, and whom they met."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    case,
    cast,
    collate,
    func,
    literal_column,
    select,
)

from Agent.store.filters import EventFilter
from Agent.store.pages import Page, read_page
from Agent.store.reads.querying import narrowed_events
from Agent.store.schema import EVENTS

__all__ = ["SAMPLED_ERRORS", "list_error_groups"]

SAMPLED_ERRORS: Final = 100_000
"""Groups are made of so many of the newest errors that are meant, so that the question stays bounded."""

_MOST_AGENTS: Final = 20
_KEY_CHARS: Final = 120
"""A cursor holds a key, and is a parameter of at most 1,000 characters however much of it is escaped."""


def list_error_groups(
    connection: Connection,
    project_id: int,
    wanted: EventFilter,
    *,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Groups of errors, the one that came last first.

    An item has `group_key`, `fingerprint`, `kind`, `name` (the class of the error), `failure_type`,
    `failure_code`, `first_us`, `last_us`, `errors`, `agents` (how many), `agent_ids` (those with most of
    them, twenty at most), and of the newest `session_uid`, `run_id` and `event_id`.
    """
    errors = _errors(connection, project_id, wanted)
    groups = _groups(errors).subquery()
    order = groups.c.last_us, groups.c.group_key
    page = read_page(connection, select(groups), *order, limit=limit, cursor=cursor, newest_first=True)
    agents = _agents(connection, errors, [item["group_key"] for item in page.items])
    for item in page.items:
        item["agent_ids"] = agents.get(item["group_key"], [])
    return page


def _errors(connection: Connection, project_id: int, wanted: EventFilter) -> Select[Any]:
    """The newest errors that are meant, each with the key of its group."""

    def told(name: str) -> ColumnElement[Any]:
        return cast(EVENTS.c.body[name].as_string(), Text)

    # an error without a fingerprint is one with others of its kind and name
    key: ColumnElement[Any] = func.substr(
        func.coalesce(told("fingerprint"), EVENTS.c.kind + ":" + func.coalesce(EVENTS.c.name, "")),
        1,
        _KEY_CHARS,
    )
    if connection.dialect.name == "postgresql":
        key = collate(key, "C")  # SQLite orders by bytes anyway
    columns = [EVENTS.c[name] for name in "ts_us event_id kind name agent_id run_id".split()]
    statement = select(
        *columns,
        cast(EVENTS.c.session_uid, Text).label("session_uid"),
        key.label("group_key"),
        *(told(name).label(name) for name in ("fingerprint", "failure_type", "failure_code")),
    )
    narrowed = narrowed_events(connection, statement, project_id, wanted)
    # as a literal, so that any plan can use the index that holds errors alone
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
    """Of each group the agents with most of its errors."""
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
    found: defaultdict[str, list[str]] = defaultdict(list)
    for group_key, agent_id in rows:
        found[group_key].append(agent_id)
    return found
