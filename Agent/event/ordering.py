"""One order for the events of any number of writers, and the trees of their spans.

All functions are pure and total: any input gives a defined result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

import orjson

from Agent.event.ids import split_event_id
from Agent.event.model import Event


def order_key(event: Event) -> tuple[str, str, int]:
    """Return (timestamp, writer, seq) of an event, even if its id or timestamp is malformed."""
    try:
        writer, seq = split_event_id(event.id)
    except ValueError:
        writer, seq = event.id, 0
    # A timestamp has a fixed width, so its text sorts in order of time.
    return event.timestamp, writer, seq


def in_order(events: Iterable[Event]) -> list[Event]:
    """Sort events by `order_key`; events with the same key, which only damage produces, by their content."""
    ordered: list[Event] = []
    for _, group in groupby(sorted(events, key=order_key), key=order_key):
        same = list(group)
        ordered += same if len(same) == 1 else sorted(same, key=_content)
    return ordered


def _content(event: Event) -> bytes:
    return orjson.dumps(event, default=repr, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


# Trees of spans: a pure and total fold over events, with a defined result for missing or wrong parents.
#
# Analysis and display traverse the result; nothing here reads a file or a clock.


class Mark(StrEnum):
    """What is unusual about a node and its position in the tree."""

    UNFINISHED = "unfinished"
    """The span has no event, only children: its process died, or it is still running."""
    DUPLICATE = "duplicate"
    """An earlier event has the same span id and holds the children."""
    CYCLE = "cycle"
    """Its parents form a cycle; as the earliest node of the cycle, it became a root."""


@dataclass(frozen=True, slots=True)
class Node:
    """One event, or one span that never ended, with the events inside it."""

    event: Event | None
    """None for an unfinished span."""
    span_id: str | None
    """None for an event that is not a span."""
    children: tuple[Node, ...] = ()
    """In order of (timestamp, writer, seq); an unfinished span has the position of its first event."""
    mark: Mark | None = None

    @property
    def unfinished(self) -> bool:
        """Return whether the span never ended."""
        return self.mark is Mark.UNFINISHED


@dataclass(frozen=True, slots=True)
class Forest:
    """All events as trees, each event under the span in which it happened."""

    roots: tuple[Node, ...] = ()

    def walk(self) -> Iterator[tuple[int, Node]]:
        """Yield every node with its depth, parents before children."""
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
    """Build the trees of the events; the order of input does not matter, and no input raises.

    A span is an event with a `span_id`; the parent of an event is the span with the id in `parent_span_id`. A
    parent without an event becomes an unfinished node, whose own parent is known if it has a `context_entry`.
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
    # In a damaged line, an id can be any value.
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
    """Make one span of each cycle of parents a root: an unfinished one, else the earliest."""
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
            # The parent of an unfinished span is known only from its entry event, so that link is cut first.
            earliest = min(circle, key=lambda d: (d.event is not None, d.key, d.span_id or ""))
            earliest.parent = None
            earliest.mark = earliest.mark or Mark.CYCLE
        settled.update(trail)


def _frozen(roots: list[_Draft]) -> tuple[Node, ...]:
    # `order` has parents before children, so its reverse makes each node after its children. No recursion: a
    # chain of spans may be longer than the interpreter's stack.
    order: list[_Draft] = []
    pending = list(roots)
    while pending:
        draft = pending.pop()
        order.append(draft)
        pending += draft.children
    frozen: dict[int, Node] = {}

    def arranged(drafts: list[_Draft]) -> tuple[Node, ...]:
        # Drafts of events are already in order; only unfinished spans have to be moved.
        drafts.sort(key=lambda draft: (draft.key, draft.event is not None, draft.span_id or ""))
        return tuple(frozen[id(draft)] for draft in drafts)

    for draft in reversed(order):
        if draft.event is None:
            draft.key = min((child.key for child in draft.children), default=_LAST)
        frozen[id(draft)] = Node(draft.event, draft.span_id, arranged(draft.children), draft.mark)
    return arranged(roots)
