"""Follow a value of an agent's state back through the events that set it, to an external input.

Each hop is a recorded event. From the action that set a value, the walk continues to the input that contains
the same value: a recorded response, a message, the result of a nested call, an argument, another field. From
an argument of code that is not traced, such as a main loop, it continues to the newest result or state with
that value if the value is rare or a single action gave it. If no input contains it, the action computed the
value, and the walk ends with the inputs of that action.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from Agent.analysis.causality.event_links import (
    OUTSIDE,
    Given,
    Links,
    Row,
    equal,
    given_by,
    givers,
    is_rare,
    is_sent,
    leaves,
    name_of,
    order,
    started_us,
    time_us,
)
from Agent.analysis.query.engine import Engine
from Agent.analysis.query.views import event_row
from Agent.analysis.questions.states import Moment, field_changes
from Agent.analysis.session import agent_events
from Agent.event.clock import parse_timestamp
from Agent.event.kinds import INTERVENTION
from Agent.flight.checkpoints.state_fold import StateFold
from Agent.tree.read.reader import TreeReader

MAX_HOPS: Final = 40
_MAX_QUERIES: Final = 60
_MAX_INPUTS: Final = 8
_MAX_EARLIER: Final = 20_000
_SAME: Final = "same value"
_PART: Final = "part of it"
_CHANGED: Final = "changed by"


class _Looked(NamedTuple):
    """A value to search for in the inputs of an action."""

    value: Any
    rule: str = _SAME
    """What an input with this value is to the value that the action gave."""
    error: float = 0.0
    """How far a number may differ because of rounding."""


@dataclass(slots=True)
class _Walk:
    reader: TreeReader
    engine: Engine
    links: Links
    hops: list[dict[str, Any]]
    seen: set[tuple[str, str]]
    end: str = ""
    """Why the walk ended."""
    inputs: tuple[Given, ...] = ()
    """The inputs of the last action if the value was computed there."""


def provenance(
    reader: TreeReader, engine: Engine, agent_id: str, name: str, when: Moment | None = None
) -> dict[str, Any]:
    """Follow the value of a field back to its origin.

    Args:
        reader: of the session.
        engine: over the session.
        agent_id: whose state.
        name: the field, or a value in one (a.b, or /a/b), as in `states.field_changes`.
        when: the moment of the value, as in `states.state_at`; default: the last known.

    Returns:
        `agent_id`, `field`, `value`; `hops`, from the value back: `id`, `agent_id`, `tick`, `timestamp`,
        `action` of an event, `path` and `value` in it, `from` (the argument that contained it, if any), and
        `rule`: `recorded` for the event that set a field, a caller and a message, `same value` where values
        were compared; `end`, why the walk ended there; `inputs`, the `path`, `value` and event `id` of each
        input of the last action. A hop has the rule `part of it` if the hop before it contains its value, and
        `changed by` if the number in the hop before it grew or fell by its value.

    Raises:
        AgentNotFound, EventNotFound, UsageError: as `states.field_changes`.
    """
    changes = field_changes(reader, engine, agent_id, name, when)
    at_us = parse_timestamp(changes["changes"][-1]["timestamp"])
    links = Links(reader, engine, 0, at_us, max_questions=_MAX_QUERIES)
    walk = _Walk(reader, engine, links, [], set())
    _of_field(walk, agent_id, name, changes)
    last = changes["changes"][-1]
    return {
        "agent_id": agent_id,
        "field": name,
        "value": last.get("after"),
        "hops": walk.hops,
        "end": walk.end,
        "inputs": [{"path": each.path, "value": each.value, "id": each.row["id"]} for each in walk.inputs],
    }


def _of_field(walk: _Walk, agent_id: str, name: str, changes: dict[str, Any], rule: str = "recorded") -> None:
    """Add the event that set a field, and continue from there."""
    last = changes["changes"][-1]
    row = _row(walk, agent_id, last["id"])
    value = last.get("after")
    if not _add(walk, row, name, value, rule):
        return
    if last["event_type"] == "state":
        walk.end = "the first recorded state: the constructor or the program set it before the first action"
    elif last["event_type"] == "state_change":
        is_by_hand = row["extra"].get("trigger") == INTERVENTION
        walk.end = "set by hand" if is_by_hand else "written from outside of the agent's actions"
    elif "after" not in last:
        walk.end = "the field was removed"
    else:
        _of_value(walk, row, name, _looked_for(last.get("before"), value))


def _of_value(
    walk: _Walk, row: Row, path: str, looked_for: Iterable[_Looked], inner: Row | None = None
) -> None:
    """Continue from an action to the input that contains one of some values.

    Args:
        inner: an event inside the action; only events that ended before it began count. None for the whole
            action.
    """
    walk.links.prepare([row], fails=lambda _row: True)
    inputs = list(_inputs(walk, row, inner))
    for looked in looked_for:
        same = [
            each
            for each in inputs
            if _is_like(each.value, looked) and (each.kind, each.path) != ("field", path)
        ]
        if same and _tells(looked.value):
            _of_input(walk, same[0], looked.rule)
            return
    walk.end = "computed in this action"
    shown = (each for each in inputs if not isinstance(each.value, (dict, list)) and each.path[0] != "/")
    walk.inputs = tuple(islice(shown, _MAX_INPUTS))


def _of_input(walk: _Walk, source: Given, rule: str) -> None:
    row = source.row
    if source.kind == "field":
        name = source.path
        before = field_changes(walk.reader, walk.engine, row["agent_id"], name, _event_before(walk, row))
        _of_field(walk, row["agent_id"], name, before, rule)
    elif not _add(walk, row, source.path, source.value, rule, again=source.kind == "args"):
        return
    elif source.kind == "outside":
        walk.end = OUTSIDE[row["event_type"]].format(name_of(row))
    elif source.kind == "message":
        _of_sender(walk, row, source)
    elif source.kind == "result":
        _of_value(walk, row, "", [_Looked(source.value)])
    else:
        caller = _around(walk, row)
        for _ in range(MAX_HOPS):  # spans of a damaged session may enclose each other
            if caller is None or caller["event_type"] == "agent_action":
                break
            caller = _around(walk, caller)
        if caller is None:
            _of_giver(walk, row, source.value)
        elif _add(walk, caller, "", source.value, "recorded"):
            _of_value(walk, caller, "", [_Looked(source.value)], row)


def _of_giver(walk: _Walk, row: Row, value: Any) -> None:
    """Continue from an argument to the result or field that code between two actions may have passed on."""
    giver = _giver(walk, row, value)
    if giver is None:
        walk.end = "an argument from code that is not traced"
    elif giver.kind == "field":
        name, agent_id = giver.path, giver.row["agent_id"]
        changes = field_changes(walk.reader, walk.engine, agent_id, name, giver.row["id"])
        _of_field(walk, agent_id, name, changes, _SAME)
    else:
        _of_input(walk, giver, _SAME)


def _giver(walk: _Walk, row: Row, value: Any) -> Given | None:
    """The newest result or new state before an event that has a value; None where several may be meant."""
    found = [same for same, *_ in givers(walk.links, row, [value])]
    names = {(each.row["agent_id"], name_of(each.row), each.path) for each in found}
    return found[0] if len(names) == 1 or (found and is_rare(value)) else None


def _around(walk: _Walk, row: Row) -> Row | None:
    """The span in which an event happened."""
    walk.links.prepare([row], fails=lambda _row: False)
    return walk.links.by_span.get(row["parent_span_id"] or "")


def _of_sender(walk: _Walk, row: Row, source: Given) -> None:
    """Continue from a received message to the action that sent it."""
    walk.links.prepare([row], fails=lambda _row: False)
    sent = walk.links.sent.get(str(row["extra"].get("message_id")))
    if sent is None:
        walk.end = "a message whose sender is not recorded"
        return
    if not _add(walk, sent, source.path, source.value, "recorded"):
        return
    action = _around(walk, sent)
    if action is None:
        walk.end = "a message from code that is not traced"
    elif _add(walk, action, "", source.value, "recorded"):
        _of_value(walk, action, "", [_Looked(source.value)], sent)


def _inputs(walk: _Walk, row: Row, inner: Row | None) -> Iterator[Given]:
    """Yield the inputs of an action, nearest first: from events inside it, arguments, the agent's fields."""
    yield from _inputs_inside(walk, row, inner)
    yield from leaves("args", row["extra"].get("args"), row, "args")
    if row["agent_id"] is None:
        return
    began, fold = started_us(row), StateFold()
    for event in agent_events(walk.reader, row["agent_id"]):
        if event.id == row["id"]:
            break
        if event.kind == "agent_message" and event.timestamp_us < began:
            message = event_row(event)
            if not is_sent(message):
                walk.links.add([message])
        fold.add(event)
    for name, value in fold.fields.items():
        yield from leaves(name, value, row, "field")
    # Messages that arrived earlier come last: an inbox may hold several, and it is unknown which one was
    # used.
    for message in walk.links.before(row, began, _MAX_EARLIER):
        if message["event_type"] == "agent_message" and not is_sent(message):
            yield from leaves("message.body", message["extra"].get("body"), message, "message")


def _inputs_inside(walk: _Walk, row: Row, inner: Row | None) -> Iterator[Given]:
    """Yield the inputs from events inside an action, up to an inner event, latest first."""
    inside = walk.links.inside.get(row["span_id"] or "", [])
    if inner is not None:
        # Compare the order as well as the time: a short call begins and ends within one microsecond.
        until_us, until = started_us(inner), order(inner)
        inside = [each for each in inside if order(each) < until and time_us(each) <= until_us]
    walk.links.prepare([each for each in inside if "error_id" in each["extra"]], fails=lambda _row: False)
    for each in reversed(inside):
        yield from given_by(each, walk.links.by_id.get(str(each["extra"].get("error_id"))))


def _looked_for(before: Any, after: Any) -> list[_Looked]:
    """What to search for in the inputs of the action that set a field: its value, new parts, its change."""
    looked = [_Looked(after)]
    if isinstance(after, list):
        old = before if isinstance(before, list) else []
        looked += [_Looked(each, _PART) for each in reversed(after) if each not in old]
    elif isinstance(after, dict):
        known = before if isinstance(before, dict) else {}
        new = [each for key, each in after.items() if key not in known or known[key] != each]
        looked += [_Looked(each, _PART) for each in (*new, *(key for key in after if key not in known))]
    elif _is_number(after) and _is_number(before):
        with suppress(OverflowError):  # an integer that no float holds, and a float
            change, error = after - before, 0.0
            if isinstance(change, float):
                error = 2 * math.ulp(max(abs(before), abs(after)))
            looked += [_Looked(change, _CHANGED, error), _Looked(-change, _CHANGED, error)]
    return looked


def _is_like(value: Any, looked: _Looked) -> bool:
    """Whether a value is one that is searched for; the change of a number is subject to rounding."""
    if not looked.error or not _is_number(value):
        return equal(value, looked.value)
    with suppress(OverflowError):
        return math.isclose(value, looked.value, rel_tol=1e-9, abs_tol=looked.error)
    return False


def _tells(value: Any) -> bool:
    """Whether equality suggests that one value came from the other: not for flags, 0, 1 and empty values."""
    return not isinstance(value, bool) and value not in (None, 0, 1, -1, "", [], {})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _add(walk: _Walk, row: Row, path: str, value: Any, rule: str, *, again: bool = False) -> bool:
    """Add a hop; False if the walk ends, because it is too long or already visited the event."""
    if (row["id"], path) in walk.seen:
        walk.end = walk.end or "the walk came back to an earlier event"
        return False
    if len(walk.hops) >= MAX_HOPS:
        walk.end = f"stopped after {MAX_HOPS} hops"
        return False
    walk.seen.add((row["id"], path))
    hop = {name: row[name] for name in ("id", "agent_id", "tick", "timestamp")}
    hop |= {"action": name_of(row), "path": path, "value": value, "rule": rule}
    if again and rule == _SAME and walk.hops and walk.hops[-1]["id"] == row["id"]:
        walk.hops[-1]["from"] = path
    else:
        walk.hops.append(hop)
    return True


def _row(walk: _Walk, agent_id: str, event_id: str) -> Row:
    for event in agent_events(walk.reader, agent_id):
        if event.id == event_id:
            return event_row(event)
    raise AssertionError(f"{event_id} is an event of {agent_id}")


def _event_before(walk: _Walk, row: Row) -> str | None:
    """The agent's last event before one of its events."""
    last = None
    for event in agent_events(walk.reader, row["agent_id"]):
        if event.id == row["id"]:
            break
        last = event.id
    return last
