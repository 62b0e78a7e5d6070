"""The answers of child processes in the form of the pages: event ids become nodes with times and lanes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from Agent.analysis.causality.chains import CauseTest
from Agent.errors import EventNotFound, UsageError
from Agent.view.snapshot import Snapshot

PENDING: Final = {"state": "pending"}
_READY: Final = {"state": "ready"}
_MOST_CAUSES: Final = 3
_MOST_INSIDE: Final = 4_096
"""The number of later events among which the end of the enclosing action is searched."""


def findings(snapshot: Snapshot, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leading causes in a report of `debug`."""
    causes = [_cause(snapshot, each) for each in report["causes"][:_MOST_CAUSES]]
    return {**_READY, **{name: report[name] for name in ("status", "tests")}, "causes": causes}


def _cause(snapshot: Snapshot, cause: Mapping[str, Any]) -> dict[str, Any]:
    lines = cause["explanation"].splitlines()
    named = [*cause["event_ids"], *(e[end] for e in cause["edges"] for end in ("cause_id", "effect_id"))]
    events = nodes(snapshot, list(dict.fromkeys(named)))
    return {
        "title": cause["title"],
        "sentence": lines[0] if lines else cause["title"],
        "confidence": cause["confidence"],
        "lines": lines[1:],
        "events": events,
        "edges": [edge(each) for each in cause["edges"]],
        "t": _settled(snapshot, events[0]["id"]) if events else None,
    }


def _settled(snapshot: Snapshot, event_id: str) -> int:
    """Return when the change made by an event is in the agent's state: at the end of the enclosing action."""
    index, row = snapshot.index, snapshot.row_of(event_id)
    (event,) = snapshot.lines.events(index, [row])
    agent_rows = index.rows_of(int(index.agent[row]))
    begin = int(agent_rows.searchsorted(row)) + 1
    inside = event.parent_span_id
    if inside is not None:
        rows = agent_rows[begin : begin + _MOST_INSIDE].tolist()
        for later, one in zip(rows, snapshot.lines.events(index, rows), strict=True):
            if one.span_id == inside:
                row, inside = later, one.parent_span_id
    return index.time(row)


def comparison(snapshot: Snapshot, other: Snapshot, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return how two sessions differ, with the rows of both events of each difference."""
    names = ("a", "b", "differ", "compared", "states", "notes", "text")
    first = result["first"]
    return {
        **_READY,
        **{name: result[name] for name in names},
        "first": None if first is None else _placed(snapshot, other, [first])[0],
        "agents": _placed(snapshot, other, result["agents"]),
    }


def differences(snapshot: Snapshot, other: Snapshot, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the events of an agent in which two sessions differ."""
    return {**_READY, "pairs": _placed(snapshot, other, result["pairs"]), "more": result["more"]}


def provenance(snapshot: Snapshot, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hops from a value back to where it came from, each an event."""
    events = {node["id"]: node for node in nodes(snapshot, [each["id"] for each in result["hops"]])}
    names = ("action", "path", "value", "rule", "from")
    hops = [
        events[each["id"]] | {name: each.get(name) for name in names}
        for each in result["hops"]
        if each["id"] in events
    ]
    return {**_READY, **{name: result[name] for name in ("field", "value", "end", "inputs")}, "hops": hops}


def _placed(snapshot: Snapshot, other: Snapshot, listed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**each, "t_a": _time_of(snapshot, each["id_a"]), "t_b": _time_of(other, each["id_b"])}
        for each in listed
    ]


def _time_of(snapshot: Snapshot, event_id: str | None) -> int | None:
    if event_id is not None:
        with contextlib.suppress(EventNotFound, UsageError):
            return snapshot.index.time(snapshot.row_of(event_id))
    return None


def edge(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return an edge between two events."""
    ends = {"from": result["cause_id"], "to": result["effect_id"]}
    test = result.get("test")
    snapshot = {"test": None if test is None else str(CauseTest(**test))}
    return ends | {name: result[name] for name in ("basis", "rule", "reason")} | snapshot


def nodes(snapshot: Snapshot, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Describe events by id; those that are not in the index are left out."""
    rows = []
    for event_id in ids:
        with contextlib.suppress(EventNotFound, UsageError):
            rows.append(snapshot.row_of(event_id))
    return [
        snapshot.node(row, event)
        for row, event in zip(rows, snapshot.lines.events(snapshot.index, rows), strict=True)
    ]
