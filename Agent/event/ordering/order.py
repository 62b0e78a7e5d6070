"""One order for events of any number of writers, the same whatever order they arrive in."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import orjson

from Agent.event.ids import split_event_id
from Agent.event.model import Event

__all__ = ["in_order", "order_key"]


def order_key(event: Event) -> tuple[str, str, int]:
    """(timestamp, writer, seq) of any event, also of one whose id or timestamp is malformed."""
    try:
        writer, seq = split_event_id(event.id)
    except ValueError:
        writer, seq = event.id, 0
    # The text of a timestamp has a fixed width, so it sorts as the time does.
    return event.timestamp, writer, seq


def in_order(events: Iterable[Event]) -> list[Event]:
    """The events by `order_key`; those that share a key, which only damage makes, by their content."""
    ordered: list[Event] = []
    for _, group in groupby(sorted(events, key=order_key), key=order_key):
        same = list(group)
        ordered += same if len(same) == 1 else sorted(same, key=_content)
    return ordered


def _content(event: Event) -> bytes:
    return orjson.dumps(event, default=repr, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
