"""An agent's state at any moment, and the origin of the values of its fields.

The index lists the events that changed it. They are folded once, in order, and copies of the fold are kept at
intervals, so that an earlier moment costs a few events instead of all of them.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from numpy.typing import NDArray

from Agent.event.model import Event
from Agent.flight.checkpoints.state_fold import StateFold, is_outside_write

MOST_COPIES: Final = 64
_BATCH_EVENTS: Final = 256
MOST_CHARS: Final = 2_000
_ABSENT: Any = object()


@dataclass(slots=True)
class Moment:
    """An agent's state after some of its events."""

    fold: StateFold = field(default_factory=StateFold)
    applied: int = 0
    """The number of the agent's changing events folded in."""
    changed: dict[str, int] = field(default_factory=dict)
    """{field: the position of the event that set its value}."""
    before: dict[str, Any] = field(default_factory=dict)
    """{field: its previous value}; missing for a new field."""
    handles: list[str] = field(default_factory=list)

    def copy(self) -> Moment:
        """Return an independent copy; values are shared, since no fold changes them."""
        return Moment(self.fold.copy(), self.applied, dict(self.changed), dict(self.before), self.handles)

    def add(self, event: Event) -> list[str]:
        """Fold one more event in, and return the fields that it changed or removed."""
        old, old_reported = dict(self.fold.fields), dict(self.fold.reported)
        changed = list(self.fold.add(event))
        changed += [name for name in old if name not in self.fold.fields and name not in changed]
        changed += [
            name
            for name, value in self.fold.reported.items()
            if name not in self.fold.fields and old_reported.get(name, _ABSENT) != value
        ]
        for name in changed:
            self.changed[name] = self.applied
            earlier = old.get(name, old_reported.get(name, _ABSENT))
            if earlier is _ABSENT:
                self.before.pop(name, None)
            else:
                self.before[name] = earlier
        if event.kind == "state":
            handles = event.extra.get("handles")
            self.handles = [str(each) for each in handles] if isinstance(handles, list) else []
        self.applied += 1
        return changed

    def settled(self, fields: dict[str, Any], position: int) -> None:
        """Note what a checkpoint's stored state changed in `fields`; `position` is that of the checkpoint."""
        for name in self.fold.fields:
            if fields.get(name, _ABSENT) != self.fold.fields[name]:
                self.changed[name] = position
                self.before.pop(name, None)
                if name in fields:
                    self.before[name] = fields[name]

    def values(self) -> dict[str, Any]:
        """Return the fields in order, then those that only the program reported."""
        return self.fold.fields | {
            name: value for name, value in self.fold.reported.items() if name not in self.fold.fields
        }


class History:
    """The changes of one agent's state.

    Args:
        rows: the rows of the events that change its state, ascending.
        read: returns the events of rows.
    """

    def __init__(self, rows: NDArray[Any], read: Callable[[Sequence[int]], list[Event]]) -> None:
        self.rows = rows
        self._read = read
        self._lock = threading.Lock()
        self._last = Moment()
        self._copies: list[Moment] = [Moment()]
        self._every = 64
        self.positions_of: dict[str, array[int]] = {}
        """{field: the positions in `rows` of the folded events that changed it}."""

    def extend(self, rows: NDArray[Any], read: Callable[[Sequence[int]], list[Event]]) -> None:
        """Append rows; the existing rows must be the same events."""
        with self._lock:
            self.rows, self._read = rows, read

    def at(self, position: int) -> Moment:
        """Return the state after the first `position` events of `rows`; the caller may change it."""
        with self._lock:
            self._fold_to(position)
            if self._last.applied == position:
                return self._last.copy()
            fold = self._copies[
                bisect_right(self._copies, position, key=lambda each: each.applied) - 1
            ].copy()
            for event in self._read(self.rows[fold.applied : position].tolist()):
                fold.add(event)
            return fold

    def changes(self, name: str, position: int) -> list[int]:
        """Return the positions below `position` of the events that changed a field."""
        with self._lock:
            self._fold_to(position)
            positions = self.positions_of.get(name, array("I"))
            return positions[: bisect_right(positions, position - 1)].tolist()

    def _fold_to(self, position: int) -> None:
        while self._last.applied < position:
            stop = min(position, self._last.applied + _BATCH_EVENTS)
            for event in self._read(self.rows[self._last.applied : stop].tolist()):
                at = self._last.applied
                for name in self._last.add(event):
                    self.positions_of.setdefault(name, array("I")).append(at)
                if self._last.applied % self._every == 0:
                    self._keep()

    def _keep(self) -> None:
        self._copies.append(self._last.copy())
        if len(self._copies) > MOST_COPIES:
            self._copies = self._copies[::2]
            self._every *= 2


def value_in(event: Event, name: str) -> tuple[bool, Any]:
    """Return whether an event gave a field a value, and that value."""
    if event.kind == "state":
        full = event.extra.get("fields")
        if isinstance(full, dict) and name in full:
            return True, full[name]
    new = (event.state or {}).get("set")
    if isinstance(new, dict) and name in new:
        return True, new[name]
    if event.kind == "state_change":
        for key in ("changed",) if is_outside_write(event) else ():
            values = event.extra.get(key)
            if isinstance(values, dict) and name in values:
                return True, values[name]
        reported = event.extra.get("new_state")
        if isinstance(reported, dict) and name in reported:
            return True, reported[name]
    return False, None


def as_text(value: Any) -> tuple[str, bool]:
    """Return a value as JSON of at most 2,000 characters, and whether it was cut."""
    text = orjson.dumps(value).decode()
    return (text, False) if len(text) <= MOST_CHARS else (text[:MOST_CHARS], True)
