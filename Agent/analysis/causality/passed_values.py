"""Values that one event gave and a later one had: results, responses, messages and new states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import orjson

from Agent.analysis.causality.event_links import Links, Row, changed_fields, is_sent
from Agent.event.pointers import escape

_MAX_LEAVES: Final = 2_000
_RARE_FROM: Final = 10_000
_RARE_LENGTH: Final = 8
OUTSIDE: Final = {
    "tool.call": "a recorded response of the tool {}",
    "model.call": "a recorded response of the model {}",
    "source.read": "read from {}",
}
"""Kinds of events whose values come from outside the recorded agents."""


class Given(NamedTuple):
    """A value in an event that a later one may have it from."""

    path: str
    """Where the value is, such as `args.order.total` or `message.body.size`."""
    value: Any
    row: Row
    """The event that has it: the action itself for its arguments and the agent's fields."""
    kind: str
    """`args`, `field`, `message`, `result`, or `outside`."""


def givers(links: Links, row: Row, values: Sequence[Any]) -> Iterator[list[Given]]:
    """Yield, newest first, what each result or new state before an event has of some values."""
    for each in reversed(links.containing([orjson.dumps(value).decode() for value in values], row)):
        fields = [leaves(name, new, each, "field") for name, new in changed_fields(each).items()]
        given = list(chain(given_by(each, None), *fields))
        same = [next((has for has in given if equal(has.value, value)), None) for value in values]
        if found := [has for has in same if has is not None]:
            yield found


def given_by(row: Row, error: Row | None) -> Iterator[Given]:
    """Yield the values that an action received from an event inside it, or from the event's exception."""
    kind, extra = row["event_type"], row["extra"]
    if error is not None:
        of = "outside" if kind in OUTSIDE else "result"
        for key in ("error_attributes", "error_message"):
            yield from leaves(key, error["extra"].get(key), row, of)
    if kind in OUTSIDE:
        for key in ("result", "response", "output", "value", "values"):
            yield from leaves(key, extra.get(key), row, "outside")
    elif kind == "agent_message" and not is_sent(row):
        yield from leaves("message.body", extra.get("body"), row, "message")
    elif kind == "agent_action":
        yield from leaves("result", extra.get("result"), row, "result")


def leaves(path: str, value: Any, row: Row, kind: str) -> Iterator[Given]:
    """Yield the value and the values in it, with their paths; at most 2,000."""
    open_: list[tuple[str, Any]] = [(path, value)]
    for _ in range(_MAX_LEAVES):
        if not open_:
            return
        where, node = open_.pop(0)
        if node is not None:
            yield Given(where, node, row, kind)
        if isinstance(node, dict):
            open_ += [(_below(where, str(key), kind), each) for key, each in node.items()]
        elif isinstance(node, list):
            open_ += [(_below(where, str(index), kind), each) for index, each in enumerate(node)]


def _below(path: str, key: str, kind: str) -> str:
    if kind != "field":
        return f"{path}.{key}"
    return f"{path if path.startswith('/') else '/' + escape(path)}/{escape(key)}"


def rare_values(value: Any) -> list[Any]:
    """The rare texts and numbers in a value, each once."""
    found = (each.value for each in leaves("", value, {}, "args"))
    return [*{each: None for each in found if isinstance(each, (str, int, float)) and is_rare(each)}]


def is_rare(value: Any) -> bool:
    """Whether two events that have the value by chance are unlikely."""
    if isinstance(value, (int, float)):
        return value % 1 != 0 or abs(value) >= _RARE_FROM
    return len(value) >= _RARE_LENGTH


def equal(one: Any, other: Any) -> bool:
    """Whether two values of one type are equal."""
    return type(one) is type(other) and bool(one == other)


def name_of(row: Row) -> str:
    """The name of an event's action, tool, model or source; its kind if it has none."""
    extra = row["extra"]
    for key in ("action_type", "tool", "tool_name", "model", "model_name", "source", "name"):
        if isinstance(extra.get(key), str):
            return str(extra[key])
    if row["event_type"] == "agent_message":
        return "send" if is_sent(row) else "receive"
    return str(row["event_type"])
