"""Marks: what determines the JSON of a value, computed faster than the JSON. Equal marks mean equal JSON.

Containers, plain data, agents, references, and C objects that hold plain data have a mark. Objects that count
by their content have none: reading it takes as long as encoding it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from Agent.event.classes import attributes_of, by_class, own_attributes
from Agent.event.limits_of_time import pass_on
from Agent.event.values.class_contents import pieces_of, reference_of
from Agent.event.values.codecs import REGISTERED, builtin_reducer, plan_of
from Agent.event.values.opaque import TEXT_CHARS, Content, OpaqueKind, often_reference
from Agent.event.values.plain import SCALARS, all_scalars
from Agent.event.values.reading import AgentOf, Hides

_MOST = 500


class _NoMark(Exception):
    """The value has no mark; only its JSON can be compared."""


def mark_of(value: object, agent_of: AgentOf, *, shows_references: bool = True) -> list[object] | None:
    """Return a list that is equal as long as the JSON of the value is equal; None if the value has no mark.

    It contains only strings, bytes, numbers and classes.

    Args:
        shows_references: as in `Reading`.
    """
    marking = _Marking(agent_of, shows_references=shows_references)
    try:
        marking.add(value)
    except Exception as error:  # noqa: BLE001 - a large value, a dict changed by another thread, a class that raises
        pass_on(error)
        return None
    return marking.found


def content_by_mark(
    value: object, agent_of: AgentOf, hides: Hides | None, read: Callable[[object], Content]
) -> Content:
    """Return the result of `read` for a value, cached if the value has a mark.

    Args:
        hides: the redaction rules that `read` applies.
    """
    mark = mark_of(value, agent_of)
    if mark is None:
        return read(value)
    key = hides, *mark
    content = _contents.get(key)
    if content is None:
        content = read(value)
        if content.kind is OpaqueKind.COMPARABLE:
            if len(_contents) >= _MOST_CONTENTS:
                _contents.clear()
            _contents[key] = content
    return content


_contents: dict[tuple[object, ...], Content] = {}
_MOST_CONTENTS = 256


class _Marking:
    """One mark under construction."""

    __slots__ = ("_agent_of", "_met", "_shows_references", "found")

    def __init__(self, agent_of: AgentOf, *, shows_references: bool) -> None:
        self._agent_of = agent_of
        self._shows_references = shows_references
        self._met: dict[int, int] = {}
        """First positions of objects whose later occurrences are written as the same object."""
        self.found: list[object] = []

    def add(self, value: Any) -> None:
        """Add what determines the JSON of a value."""
        kind = type(value)
        if kind is str or kind is bytes or kind is int:
            self.found += (kind, value)
        elif kind in SCALARS:
            self.found += (kind, repr(value))
        elif kind is dict or kind is defaultdict:
            self._begin(value, kind)
            for key, item in list(value.items()):
                self.add(key)
                self.add(item)
            if kind is defaultdict:
                self.add(value.default_factory)
        elif kind is list or kind is tuple or kind is set or kind is frozenset:
            self._begin(value, kind)
            for item in list(value):
                self.add(item)
        elif kind in REGISTERED:
            raise _NoMark
        else:
            if len(self.found) > _MOST:
                raise _NoMark
            is_builtin, add = _way_of(kind)
            agent = None if is_builtin else self._agent_of(value)
            if agent is not None:
                self.found += ("agent", type(agent), agent)
            elif add is not None:
                add(self, value, kind)
            else:
                raise _NoMark

    def _begin(self, container: Any, kind: type) -> None:
        if len(self.found) + len(container) > _MOST:
            raise _NoMark
        self.found += (kind, len(container))

    def add_class(self, value: Any, kind: type) -> None:  # noqa: ARG002 - one signature for all
        """Add a class."""
        if not _has_name(value):
            raise _NoMark
        self.found.append(value)

    def add_shown(self, value: Any, kind: type) -> None:
        """Add an object that is recorded as a reference: its class and its shown attributes."""
        reference = often_reference(kind)
        attributes = attributes_of(value) if self._shows_references else own_attributes(value)
        if reference is None or (attributes and all_scalars(attributes.values())):
            raise _NoMark  # it counts by content
        found = self.found
        found += (kind, reference)
        if not self._shows_references:
            return
        for name, member in attributes.items():
            of = type(member)
            if of not in SCALARS or type(name) is not str:
                continue
            if of is str:
                if len(member) <= TEXT_CHARS:
                    found += (name, member)
            else:
                found += (name, of, member if of is int else repr(member))

    def add_parts(self, value: Any, kind: type) -> None:
        """Add an object of a C class without attributes, such as an iterator."""
        pieces = pieces_of(value, kind)
        if pieces is None or pieces.has_code or pieces.members is not None or pieces.mapping is not None:
            raise _NoMark
        label, ordered, _, _, raw, *_ = pieces
        if own_attributes(value) or not all(map(_is_flat, ordered)):
            raise _NoMark
        place = self._met.setdefault(id(value), len(self.found))
        self.found += (kind, place, label, raw)
        for part in ordered:
            self.add(part)


_Way = tuple[bool, Callable[[_Marking, Any, type], None] | None]


@by_class
def _has_name(cls: type) -> bool:
    """Whether a class is recorded by name."""
    return reference_of(cls) is not None


@by_class
def _way_of(kind: type) -> _Way:
    """Return whether objects of a class can never be agents, and how to mark them; None for no mark."""
    plan = plan_of(kind)
    if builtin_reducer(kind) is not None:
        return True, None
    if plan.is_value or plan.has_waiters:
        return False, None
    if issubclass(kind, type):
        return False, _Marking.add_class
    if plan.base is kind:
        return False, _Marking.add_parts
    return False, _Marking.add_shown if plan.is_simple else None


def _is_flat(part: Any) -> bool:
    """Whether it is a scalar, a class or a container of scalars, none of which is written as a reference."""
    kind = type(part)
    if kind is tuple or kind is dict:
        return all_scalars(part) and (kind is tuple or all_scalars(part.values()))
    return kind in SCALARS or issubclass(kind, type)
