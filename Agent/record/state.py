"""An agent's state over time: what a root action left changed, and full states in between.

A tracker looks once, when an action of its agent ends. Values that cannot change are compared as they are,
others by their bytes; large fields and generators only at full states.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import orjson

from Agent.event.plain import DUMP_OPTIONS, SCALARS
from Agent.event.serialise import to_json
from Agent.record.exposure import Exposed, Sort, exposure_of, is_exposable, read_state, sort_of
from Agent.record.judge import Types, differing, holds_nonfinite, is_plain

_HEAVY_BYTES = 4096
_ABSENT = object()


class _EveryKey(set[str]):
    """Stands for the known keys where only the shape of a value is asked, not its names."""

    def issuperset(self, _other: object) -> bool:
        return True


_EVERY_KEY = _EveryKey()
ValueBytes = Callable[[Any], bytes | None]


def _undecided(_value: Any) -> None:
    """Where no judge is at hand, the tracker looks at each value itself."""


class StateTracker:
    """What was last recorded of one object's state.

    Args:
        obj: the agent; only weakly held where its class allows.
        agent_of: the id of an object that is an agent itself, None for others.
        value_bytes: the JSON of a plain value, None where it takes a closer look (`Judge.value`).
    """

    __slots__ = (
        "__weakref__", "_agent_of", "_ignored", "_is_explicit", "_read", "_ref", "_value_bytes",
        "actions", "failure", "heavy", "init", "last", "shared", "unseen",
    )  # fmt: skip

    def __init__(
        self, obj: object, agent_of: Callable[[object], str | None], value_bytes: ValueBytes = _undecided
    ) -> None:
        self._ref: Callable[[], object | None]
        try:
            self._ref = weakref.ref(obj)
        except TypeError:
            self._ref = lambda: obj
        self._agent_of = agent_of
        self._value_bytes = value_bytes
        exposure = exposure_of(type(obj))
        self._read, self._is_explicit = exposure.read, exposure.is_explicit
        self.last: dict[str, Any] = {}
        self.heavy: set[str] = set()
        # Attributes of a class that is no state, such as loggers: not judged again at each action.
        self._ignored: dict[str, type] = {}
        self.shared: dict[str, str] = {}
        self.unseen: tuple[str, ...] = ()
        self.actions = 0
        self.failure: Exception | None = None
        """Why the state could not be looked at the last time; whoever tells it takes it away."""
        self.init: tuple[bytes, Types | None] | None = None

    def obj(self) -> object | None:
        """The agent, None once it is gone."""
        return self._ref()

    def changes(self, obj: object) -> tuple[dict[str, Any], list[str]]:
        """The fields that differ from those last recorded, and the names that are gone.

        Both count as recorded now.
        """
        try:
            return self._changes(obj)
        except Exception as error:  # noqa: BLE001 - a `trace_state`, a property, a metaclass of a stranger
            self.failure = error
            # Nothing is known of what was looked at so far, so all of it counts as changed the next time.
            self.last.clear()
            return {}, []

    def _changes(self, obj: object) -> tuple[dict[str, Any], list[str]]:
        changed: dict[str, Any] = {}
        gone: list[str] = []
        last = self.last
        heavy = self.heavy
        ignored = self._ignored
        present = self._read(obj)
        items = differing(present, last, ignored) if type(present) is dict else list(present.items())
        if items is None:
            if not heavy or heavy <= present.keys():
                return changed, gone
            items = []
        for name, value in items:
            kind = type(value)
            if kind in SCALARS:
                before = last.get(name, _ABSENT)
                if type(before) is kind and (before == value or (before != before and value != value)):
                    continue
                if kind is str and len(value) > _HEAVY_BYTES:
                    heavy.add(name)
                    continue
                changed[name] = last[name] = value
                heavy.discard(name)
                ignored.pop(name, None)
            elif name not in heavy and ignored.get(name) is not kind:
                raw = self._bytes_of(name, value)
                if raw is None:
                    if name not in heavy:
                        # It was state and is none any more: a callback in the place of a None.
                        ignored[name] = kind
                        if name in last:
                            gone.append(name)
                elif last.get(name, _ABSENT) != raw:
                    last[name] = raw
                    changed[name] = value
                    ignored.pop(name, None)
        if not (last.keys() <= present.keys() and heavy <= present.keys()):
            gone += [name for name in (*last, *heavy) if name not in present]
        for name in gone:
            last.pop(name, None)
            heavy.discard(name)
        return changed, gone

    def _bytes_of(self, name: str, value: Any) -> bytes | None:
        """The bytes by which a value is compared; None where it is not looked at between full states."""
        kind = type(value)
        raw = self._value_bytes(value) if kind is dict or kind is list else None
        if raw is None:
            sort = sort_of(kind)
            if sort is Sort.GENERATOR:
                self.heavy.add(name)
                return None
            if not self._is_explicit:
                if sort is Sort.SKIPPED:
                    return None
                if sort is Sort.UNKNOWN:
                    agent_id = self._agent_of(value)
                    if agent_id is not None:
                        return b"agent " + agent_id.encode("utf-8", "surrogatepass")
                    if not is_exposable(value, None):
                        return None
            raw = self._plain(value) or self._tagged(value)
        if len(raw) > _HEAVY_BYTES:
            self.heavy.add(name)
            self.last.pop(name, None)
            return None
        return raw

    def _plain(self, value: Any) -> bytes | None:
        """The bytes of a value that is plain JSON, None for any other."""
        kind = type(value)
        try:
            if (kind is not dict and kind is not list) or not is_plain({"": value}, _EVERY_KEY):
                return None
            raw = orjson.dumps(value, None, DUMP_OPTIONS)
        except Exception:  # noqa: BLE001 - strange keys, a dict that another thread changes: the codec knows
            return None
        return None if raw.find(b"null") >= 0 and holds_nonfinite(value) else raw

    def _tagged(self, value: Any) -> bytes:
        dumped = to_json(value, "", agent_of=self._agent_of)
        return dumped.json + (orjson.dumps(dumped.types) if dumped.types else b"")

    def full(self, obj: object) -> Exposed:
        """The whole state, large fields and generators included; it counts as recorded now."""
        exposed = read_state(obj, self._agent_of)
        self.unseen = exposed.unseen
        self.heavy.clear()
        self._ignored.clear()
        self.last = {}
        for name, value in exposed.fields.items():
            if type(value) in SCALARS and not (type(value) is str and len(value) > _HEAVY_BYTES):
                self.last[name] = value
            else:
                raw = self._bytes_of(name, value)
                if raw is not None:
                    self.last[name] = raw
        return exposed


class GeneratorOwners:
    """Which agents hold which generator; one that two agents draw from cannot be replayed by its state."""

    def __init__(self) -> None:
        self._owners: dict[int, tuple[Any, dict[str, None]]] = {}

    def is_of_one(self, generator: Any) -> bool:
        """Whether one agent alone was seen with it, so that its state is in that agent's."""
        known = self._owners.get(id(generator))
        return known is not None and known[0]() is generator and len(known[1]) == 1

    def other_owner(self, generator: Any, agent_id: str) -> str | None:
        """The first other agent that was seen with the same generator, None if there is none."""
        known = self._owners.get(id(generator))
        if known is None or known[0]() is not generator:
            try:
                known = (weakref.ref(generator), {})
            except TypeError:
                known = (lambda: generator, {})
            self._owners[id(generator)] = known
        known[1][agent_id] = None
        return next((owner for owner in known[1] if owner != agent_id), None)
