"""Data stored in the classes of agents, as JSON: encoded once, and again if it may have changed."""

from __future__ import annotations

from typing import Any, NamedTuple

from Agent.event.classes import MOST_CLASSES, remember
from Agent.event.values.marks import mark_of
from Agent.event.values.reading import Places
from Agent.record.encode.capture import Capture, Types
from Agent.record.encode.large_contents import BYTES_AN_ITEM, MUCH_BYTES, LargeContents
from Agent.record.encode.native import native
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import exposure_of, places_of_class_state

POINTER = "/extra/class_fields"
_FIRST = 64
"""The first 64 agents of a class have its data in their first states, then every 64th."""
_MISSES = 8
"""After 8 changes in a row, marks are compared every 8th time: they cost a fifth of what encoding costs."""


class _Known:
    """What is known of one class: how often it was asked about, and its data as encoded last."""

    __slots__ = ("account", "begun", "body", "is_large", "mark", "missed")

    def __init__(self, account: LargeContents) -> None:
        self.begun = self.missed = 0
        self.mark: object = None
        self.body: tuple[bytes, Types | None] = b"", None
        self.is_large = False
        """Whether it took long to encode last, as mappers and tables of an installed library do."""
        self.account = account


class _Places(NamedTuple):
    """The classes that hold a class's data, for one version: a changed attribute changes the version."""

    version: int
    bases: dict[str, type]


class ClassFields:
    """Encodes class fields for one pipeline and caches the result by class.

    Args:
        reads_always: whether every full state has them, however long they take.
    """

    def __init__(self, capture: Capture, *, reads_always: bool) -> None:
        self._capture = capture
        self._reads_always = reads_always
        self._known: dict[type, _Known] = {}
        self._at_end: dict[type, tuple[bytes, Types | None]] | None = None

    def end(self) -> None:
        """Encode the data of each class once from here on: recording ends, and nothing changes it."""
        self._at_end = {}

    def at_first(self, cls: type, owner: str | None) -> tuple[bytes, Types | None] | None:
        """Return the same as `body` for the first state of an agent; None if enough others have it.

        All agents of the class share the data, and every later state has it.
        """
        known = self._of(cls)
        number, known.begun = known.begun, known.begun + 1
        return self.body(cls, owner) if number < _FIRST or number % _FIRST == 0 else None

    def body(self, cls: type, owner: str | None) -> tuple[bytes, Types | None] | None:
        """Return the inner JSON of a class's data with its tags, or None.

        It is None if the class holds no data, and for data over 100 kB if this state cannot afford it.

        Args:
            owner: the id of the agent whose state contains the class fields.
        """
        held = _held_by(cls)
        if not held:
            return None
        if self._at_end is not None and cls in self._at_end:
            return self._at_end[cls]
        known = self._of(cls)
        has_mark = known.missed < _MISSES or known.missed % _MISSES == 0
        mark = mark_of(held, agent_id_of, shows_references=False) if has_mark else None
        if mark is not None and known.mark == mark:
            known.missed = 0
            if self._at_end is not None:
                self._at_end[cls] = known.body
            return known.body
        if known.is_large and self._at_end is None and not known.account.is_due():
            return None
        known.missed += 1
        places = Places()
        body = self._capture.user_body(held, POINTER, owner, places, shows_references=False)
        size_bytes = len(body[0]) + BYTES_AN_ITEM * places.nodes
        known.is_large = size_bytes > MUCH_BYTES
        known.account.spend(size_bytes)
        if self._at_end is not None:
            self._at_end[cls] = body
        # Encoding may change how a class is judged, and with it the mark: cache only an unchanged one.
        if mark is not None and mark == mark_of(held, agent_id_of, shows_references=False):
            known.mark, known.body = mark, body
        return body

    def _of(self, cls: type) -> _Known:
        known = self._known.get(cls)
        if known is None:
            if len(self._known) >= MOST_CLASSES:
                self._known.clear()
            account = LargeContents(reads_always=self._reads_always, are_first_free=False)
            known = self._known[cls] = _Known(account)
        return known


def _held_by(cls: type) -> dict[str, Any]:
    version = 0 if native is None else native.class_version(cls)
    known = _places.get(cls)
    if known is None or not version or known.version != version or exposure_of(cls).is_explicit:
        known = remember(_places, cls, _Places(version, places_of_class_state(cls)))
    return {name: vars(base)[name] for name, base in known.bases.items()}


_places: dict[type, _Places] = {}
