"""Data stored in the classes of agents, as JSON: encoded once, and again if it may have changed."""

from __future__ import annotations

from typing import Any, NamedTuple

from Agent.event.classes import MOST_CLASSES, remember
from Agent.event.values.marks import mark_of
from Agent.record.encode.capture import Capture, Types
from Agent.record.encode.native import native
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import exposure_of, places_of_class_state

POINTER = "/extra/class_fields"
_MISSES = 8
"""After so many changes in a row, such as a counter that each new agent advances, marks are compared only
every so many times: they cost a fifth of what encoding costs."""


class _Encoded(NamedTuple):
    mark: object
    body: tuple[bytes, Types | None]


class _Places(NamedTuple):
    """The classes that hold a class's data, for one version: a changed attribute changes the version."""

    version: int
    bases: dict[str, type]


class ClassFields:
    """Encodes class fields for one pipeline and caches the result by class."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._encoded: dict[type, _Encoded] = {}
        self._missed: dict[type, int] = {}

    def body(self, cls: type, owner: str | None) -> tuple[bytes, Types | None] | None:
        """Return the inner JSON of a class's data with its tags, or None if the class holds no data.

        Args:
            owner: the id of the agent whose state contains the class fields.
        """
        held = _held_by(cls)
        if not held:
            return None
        missed = self._missed.get(cls, 0)
        has_mark = missed < _MISSES or missed % _MISSES == 0
        mark = mark_of(held, agent_id_of, shows_references=False) if has_mark else None
        known = self._encoded.get(cls)
        if known is not None and mark is not None and known.mark == mark:
            self._missed.pop(cls, None)
            return known.body
        remember(self._missed, cls, missed + 1)
        body = self._capture.user_body(held, POINTER, owner, shows_references=False)
        # Encoding may change how a class is judged, and with it the mark: cache only an unchanged one.
        if mark is not None and mark == mark_of(held, agent_id_of, shows_references=False):
            if len(self._encoded) >= MOST_CLASSES:
                self._encoded.clear()
            self._encoded[cls] = _Encoded(mark, body)
        return body


def _held_by(cls: type) -> dict[str, Any]:
    version = 0 if native is None else native.class_version(cls)
    known = _places.get(cls)
    if known is None or not version or known.version != version or exposure_of(cls).is_explicit:
        known = remember(_places, cls, _Places(version, places_of_class_state(cls)))
    return {name: vars(base)[name] for name, base in known.bases.items()}


_places: dict[type, _Places] = {}
