"""A session as data embedded in a page: its events, state changes, findings, and a comparison.

The size of a shared page is limited, so for a large session it has the events around a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import orjson

from Agent.analysis.questions.states import NamedMoment
from Agent.errors import InputError, UsageError
from Agent.event.codec import event_to_object
from Agent.view.history import Moment, as_text
from Agent.view.index.columns import FULL_STATE, STATE
from Agent.view.session_view import SessionView
from Agent.view.snapshot import PENDING, Snapshot

MOST_EVENTS: Final = 60_000
"""The maximum number of events in a shared page."""
_MOST_CHARS: Final = 20_000
"""Longer events are cut to this length, which is what a page shows."""
_MOST_COMPARED: Final = 100
"""The number of agents whose differences are all shared; of further agents only the first difference."""
WAIT_S: Final = 600.0
"""The timeout of an answer or an index, in seconds."""
_POLL_S: Final = 0.1
_BLOCK: Final = 4_096

T = TypeVar("T", bound=Mapping[str, Any])


@dataclass(frozen=True, slots=True)
class SharedMoment:
    """A moment of a session: a time, and the event there if one was named."""

    t: float
    event_id: str | None = None
    agent: str | None = None


def awaited(ask: Callable[[], T]) -> T:
    """Wait until an answer is no longer pending, and return it.

    Raises:
        InputError: it is not ready within 10 minutes.
    """
    end_s = time.monotonic() + WAIT_S
    while (answer := ask()).get("state") == PENDING["state"]:
        if time.monotonic() > end_s:
            raise InputError("the data of the page was not ready within 10 minutes")
        time.sleep(_POLL_S)
    return answer


def moment_of(view: SessionView, when: str) -> SharedMoment:
    """Return the moment named by a text: the id of an event, tick:N (its end), or a time.

    Raises:
        UsageError: it names no moment of the session.
    """
    snapshot = view.snapshot
    index = snapshot.index
    moment = NamedMoment.of(when, f"session_{view.session_id}")
    if moment.tick is not None:
        ticks, rows = index.ticks
        position = int(np.searchsorted(ticks, moment.tick, "right"))
        if position == 0 or int(ticks[position - 1]) != moment.tick:
            raise UsageError(f"the session has no tick {moment.tick}", remedy="the page shows its ticks")
        return SharedMoment(index.time(int(rows[position])) - 1 if position < len(rows) else index.length_us)
    if moment.us is not None:
        return SharedMoment(moment.us - index.first_us)
    row = snapshot.row_of(when)
    return SharedMoment(index.time(row), when, index.tables.agents.texts[int(index.agent[row])])


def shared_session(view: SessionView, around: float | None, most: int = MOST_EVENTS) -> dict[str, Any]:
    """Return a session for a page without a server; ui/src/offline.ts answers from it.

    Args:
        view: the view of the session, with a complete index.
        around: the time around which events are kept if they are too many; None for that of the leading
            finding, or the end if there is none.
        most: the maximum number of events.
    """
    findings = awaited(view.findings)
    snapshot = view.snapshot
    index = snapshot.index
    if around is None and findings["causes"]:
        around = findings["causes"][0]["t"]
    first, last = _range(snapshot, around, most)
    named = {node["id"] for cause in findings["causes"] for node in cause["events"]}
    times = {"t0": index.time(first), "t1": index.time(last - 1)}
    return {
        "overview": view.overview(),
        "part": None if last - first == index.count else _described_part(snapshot, first, last),
        "findings": findings,
        "links": {event_id: view.event(event_id) for event_id in sorted(named)},
        "events": _events(snapshot, first, last),
        "states": _states(snapshot, first, last),
        "arrows": view.arrows(**times, limit=5_000)["arrows"],
    }


def _described_part(snapshot: Snapshot, first: int, last: int) -> dict[str, Any]:
    """Describe the part of a session that some rows cover, and the counts before it."""
    index = snapshot.index
    return {
        "t0": index.time(first),
        "t1": index.time(last - 1),
        "events": last - first,
        "before": {
            "events": first,
            "errors": int(np.searchsorted(index.errors, first)),
            "messages": index.messages_before(first),
        },
    }


def shared_comparison(view: SessionView, other: SessionView) -> dict[str, Any]:
    """Return how two sessions differ, and for each agent the events that differ."""
    comparison = awaited(lambda: view.comparison(other))
    agents = [each["agent"] for each in comparison["agents"] if each["agent"] is not None][:_MOST_COMPARED]
    return {
        "comparison": comparison,
        "differences": {
            agent: awaited(lambda agent=agent: view.differences(other, agent=agent))  # type: ignore[misc]
            for agent in agents
        },
    }


def _range(snapshot: Snapshot, around: float | None, most: int) -> tuple[int, int]:
    count = snapshot.index.count
    if count <= most:
        return 0, count
    middle = count if around is None else snapshot.place_after(around)
    first = min(max(0, middle - most // 2), count - most)
    return first, first + most


def _events(snapshot: Snapshot, first: int, last: int) -> dict[str, list[Any]]:
    """Return events as columns; times are differences, which compress well."""
    index = snapshot.index
    rows = range(first, last)
    listed: list[dict[str, Any]] = []
    events: list[Any] = []
    for begin in range(first, last, _BLOCK):
        some = list(range(begin, min(begin + _BLOCK, last)))
        listed += snapshot.listed(some)
        events += [_shortened(event_to_object(event)) for event in snapshot.lines.events(index, some)]
    columns = index.columns
    return {
        "step": np.diff(index.t_us[first:last], prepend=index.first_us).tolist(),
        "duration_us": [round(float(columns["duration_us"][row]), 3) for row in rows],
        "flags": (index.flags[first:last] & 0x3F).tolist(),
        "kind": columns["kind"][first:last].tolist(),
        "lane": [each["lane"] for each in listed],
        **{name: [each[name] for each in listed] for name in ("tick", "level", "text")},
        "whole": events,
    }


def _shortened(event: dict[str, Any]) -> dict[str, Any]:
    text = orjson.dumps(event, default=str)
    if len(text) <= _MOST_CHARS:
        return event
    return {"id": event["id"], "beginning": text[:_MOST_CHARS].decode("utf-8", "replace")}


def _states(snapshot: Snapshot, first: int, last: int) -> dict[str, Any]:
    """Return each agent's changes of fields with their events: [time, id, {field: text}]."""
    index = snapshot.index
    states = {}
    for agent in snapshot.lanes.agents.tolist():
        rows = index.rows_of(agent)
        rows = rows[((index.flags[rows] & (STATE | FULL_STATE)) != 0) & (rows < last)].tolist()
        moment = Moment()
        entries: list[list[Any]] = []
        for begin in range(0, len(rows), _BLOCK):
            some = rows[begin : begin + _BLOCK]
            for row, event in zip(some, snapshot.lines.events(index, some), strict=True):
                if row >= first and not entries and moment.values():
                    entries.append([0, None, _texts(moment.values(), moment.values())])
                changed = moment.add(event)
                if row >= first:
                    entries.append([index.time(row), event.id, _texts(changed, moment.values())])
        if moment.values():
            entries = entries or [[0, None, _texts(moment.values(), moment.values())]]
            states[index.tables.agents.texts[agent]] = {"changes": entries, "handles": moment.handles}
    return states


def _texts(names: Any, values: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: as_text(values[name])[0] if name in values else None for name in names}
