"""One order for events of any number of writers, and their spans as trees: pure and total."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

import orjson

from Agent.event.ids import split_event_id
from Agent.event.model import Event


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


# Spans as trees: a pure and total fold over events, with a defined answer for what is missing or wrong.
#
# Analysis and display walk the outcome; nothing here reads a file or a clock.


class Mark(StrEnum):
    """Why a node stands where it stands, where that is not plain."""

    UNFINISHED = "unfinished"
    """The span never ended: its process died, or it is still running. No event, only what it holds."""
    DUPLICATE = "duplicate"
    """An earlier event has the same span id and holds the children."""
    CYCLE = "cycle"
    """Its parents lead back to itself; as the earliest of that circle it became a root."""


@dataclass(frozen=True, slots=True)
class Node:
    """One event, or one span that never ended, and what happened in it."""

    event: Event | None
    """None for an unfinished span."""
    span_id: str | None
    """None for an event that is no span."""
    children: tuple[Node, ...] = ()
    """In order of (timestamp, writer, seq); an unfinished span stands where its first event stands."""
    mark: Mark | None = None

    @property
    def unfinished(self) -> bool:
        """Whether the span never ended."""
        return self.mark is Mark.UNFINISHED


@dataclass(frozen=True, slots=True)
class Forest:
    """All events, each in the span in which it happened."""

    roots: tuple[Node, ...] = ()

    def walk(self) -> Iterator[tuple[int, Node]]:
        """Every node with its depth, parents before children."""
        pending = [(0, node) for node in reversed(self.roots)]
        while pending:
            depth, node = pending.pop()
            yield depth, node
            pending += [(depth + 1, child) for child in reversed(node.children)]


_Key = tuple[str, str, int]
_LAST: _Key = ("\U0010ffff", "", 0)


class _Draft:
    """A node before its children are known."""

    __slots__ = ("children", "event", "key", "mark", "parent", "span_id")

    def __init__(self, event: Event | None, span_id: str | None, mark: Mark | None = None) -> None:
        self.event = event
        self.span_id = span_id
        self.mark = mark
        self.key = _LAST if event is None else order_key(event)
        self.parent: str | None = None
        self.children: list[_Draft] = []


def build_forest(events: Iterable[Event]) -> Forest:
    """The forest of the events; any order of input gives the same, and no input raises.

    A span is an event with a `span_id`; every event hangs under the span that its `parent_span_id` names. A
    parent that never appears is an unfinished node, placed by its `context_entry` where there is one.
    """
    drafts: list[_Draft] = []
    spans: dict[str, _Draft] = {}
    entered: dict[str, str] = {}
    for event in in_order(events):
        span_id = _id(event.span_id)
        draft = _Draft(event, span_id, Mark.DUPLICATE if span_id in spans else None)
        draft.parent = _id(event.parent_span_id)
        drafts.append(draft)
        if span_id is not None and draft.mark is None:
            spans[span_id] = draft
        if event.kind == "context_entry" and draft.parent is not None:
            inner = _id(event.extra.get("context_span"))
            if inner is not None:
                entered.setdefault(inner, draft.parent)
    _add_unfinished(drafts, spans, entered)
    _cut_cycles(spans)
    roots: list[_Draft] = []
    for draft in drafts:
        (roots if draft.parent is None else spans[draft.parent].children).append(draft)
    return Forest(_frozen(roots))


def _id(value: object) -> str | None:
    # Events may come from damaged lines, where an id can be anything.
    return value if isinstance(value, str) and value else None


def _add_unfinished(drafts: list[_Draft], spans: dict[str, _Draft], entered: dict[str, str]) -> None:
    for draft in list(drafts):
        missing = draft.parent
        while missing is not None and missing not in spans:
            placeholder = _Draft(None, missing, Mark.UNFINISHED)
            placeholder.parent = entered.get(missing)
            spans[missing] = placeholder
            drafts.append(placeholder)
            missing = placeholder.parent


def _cut_cycles(spans: dict[str, _Draft]) -> None:
    """Make one span of each circle of parents a root: an unfinished one, else the earliest."""
    settled: set[str] = set()
    for start in spans:
        trail: dict[str, None] = {}
        here: str | None = start
        while here is not None and here not in settled and here not in trail:
            trail[here] = None
            here = spans[here].parent
        if here is not None and here in trail:
            names = list(trail)
            circle = [spans[name] for name in names[names.index(here) :]]
            # The parent of an unfinished span is known by its entry only, so that link gives way first.
            earliest = min(circle, key=lambda d: (d.event is not None, d.key, d.span_id or ""))
            earliest.parent = None
            earliest.mark = earliest.mark or Mark.CYCLE
        settled.update(trail)


def _frozen(roots: list[_Draft]) -> tuple[Node, ...]:
    # Parents before children in `order`, so the reverse makes each node after its children; no recursion,
    # for a chain of spans may be longer than the interpreter's stack.
    order: list[_Draft] = []
    pending = list(roots)
    while pending:
        draft = pending.pop()
        order.append(draft)
        pending += draft.children
    made: dict[int, Node] = {}

    def arranged(drafts: list[_Draft]) -> tuple[Node, ...]:
        # Drafts of events are in order already; only unfinished spans have to find their place.
        drafts.sort(key=lambda draft: (draft.key, draft.event is not None, draft.span_id or ""))
        return tuple(made[id(draft)] for draft in drafts)

    for draft in reversed(order):
        if draft.event is None:
            draft.key = min((child.key for child in draft.children), default=_LAST)
        made[id(draft)] = Node(draft.event, draft.span_id, arranged(draft.children), draft.mark)
    return arranged(roots)
