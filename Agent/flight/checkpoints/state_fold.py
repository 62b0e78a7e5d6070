"""The one fold that gives an agent's state at any moment: a full state or checkpoint, and what came later.

Analysis asks it about a moment and follows fields with it; a checkpoint is where it may begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from Agent.errors import DamagedInput, EventNotFound, RunNotFound
from Agent.event.model import Event
from Agent.event.pointers import escape
from Agent.flight.checkpoints.model import CheckpointInfo

_HEAVY_BYTES: Final = 4096
_GENERATORS: Final = ("random.Random", "numpy.Generator", "numpy.RandomState")
_ABSENT: Any = object()

Tags = dict[str, str]
"""{JSON Pointer below a field: tag}; the field itself is ""."""


@dataclass(slots=True)
class StateFold:
    """The state known so far; `add` takes the next event of the agent."""

    fields: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, Tags] = field(default_factory=dict)
    """Of each field that plain JSON cannot hold."""
    reported: dict[str, Any] = field(default_factory=dict)
    base: Event | None = None
    last: Event | None = None
    changes: int = 0
    unseen: list[str] = field(default_factory=list)
    sampled: list[str] = field(default_factory=list)
    """Fields that are looked at in full states only, being large or a generator."""
    made_by: dict[str, Event] = field(default_factory=dict)
    """The event after which each field is known to be what it is."""
    checkpoint: Event | None = None
    """The last checkpoint of the agent's exposed state since its last full state; see `settle`."""
    _since: set[str] = field(default_factory=set)
    """The fields that are known from later events than that."""

    @classmethod
    def of(cls, fields: Mapping[str, Any], types: Mapping[str, str] | None = None) -> StateFold:
        """A fold that begins with recorded fields, such as a checkpoint's.

        Args:
            fields: JSON values by name.
            types: their tags, as pointers below the mapping of fields.
        """
        tags = {name: _tags_below(types, f"/{escape(name)}") for name in fields}
        fold = cls(dict(fields), {name: found for name, found in tags.items() if found})
        fold.sampled = sorted(name for name in fields if _is_sampled(fields[name], tags[name]))
        return fold

    def add(self, event: Event) -> dict[str, Any]:
        """Fold one event in; what it changed, `{field: new value}`."""
        changed: dict[str, Any] = {}
        if event.kind == "state":
            full = event.extra.get("fields")
            if isinstance(full, dict):
                changed = self._take(event, full)
        elif event.state is not None:
            changed = self._apply(event, event.state.get("set"), event.state.get("unset"), "/state/set")
        if event.kind == "state_change":
            if is_outside_write(event):
                changed = self._apply(
                    event, event.extra.get("changed"), event.extra.get("unset"), "/extra/changed"
                )
            new = event.extra.get("new_state")
            if isinstance(new, dict):
                self.reported.update(new)
        elif event.kind == "checkpoint" and event.extra.get("exposed") is True:
            self.checkpoint = event
            self._since.clear()
        self.last = event
        return changed

    def _take(self, event: Event, full: dict[str, Any]) -> dict[str, Any]:
        """A full state: it is the whole truth, and whoever made a field as it is keeps the credit."""
        tags = {name: _tags_below(event.types, f"/extra/fields/{escape(name)}") for name in full}
        if event.extra.get("reason") == "gone":
            # Large fields that could not be kept until the agent was gone do not stand there.
            older = [name for name in self.sampled if name in self.fields and name not in full]
            full = {**{name: self.fields[name] for name in older}, **full}
            tags |= {name: self.tags.get(name, {}) for name in older}
        changed = {
            name: value
            for name, value in full.items()
            if not _same(self.fields.get(name, _ABSENT), value) or self.tags.get(name, {}) != tags[name]
        }
        self.fields = dict(full)
        self.tags = {name: found for name, found in tags.items() if found}
        # A field that a checkpoint began with has no event to its credit until one changes it.
        self.made_by = {
            name: event if name in changed else self.made_by[name]
            for name in full
            if name in changed or name in self.made_by
        }
        self.base, self.changes = event, 0
        self.checkpoint = None
        lacking = (*(event.extra.get("opaque") or ()), *(event.extra.get("unseen") or ()))
        self.unseen = sorted({str(name) for name in lacking})
        self.sampled = sorted(name for name in full if _is_sampled(full[name], self.tags.get(name, {})))
        return changed

    def _apply(self, event: Event, new: object, gone: object, pointer: str) -> dict[str, Any]:
        changed = dict(new) if isinstance(new, dict) else {}
        for name, value in changed.items():
            self.fields[name] = value
            self.made_by[name] = event
            found = _tags_below(event.types, f"{pointer}/{escape(name)}")
            self.tags.pop(name, None)
            if found:
                self.tags[name] = found
        # small again, or no generator any more: from now on it is looked at after every action
        self.sampled = [name for name in self.sampled if name not in changed]
        for name in gone if isinstance(gone, list) else ():
            self.fields.pop(name, None)
            self.tags.pop(name, None)
            self.made_by.pop(name, None)
            self._since.add(name)
        self._since.update(changed)
        self.changes += 1
        return changed

    def settle(self, fields: Mapping[str, Any], types: Mapping[str, str] | None = None) -> None:
        """Take in what `checkpoint` holds: large fields and generators, too, of which actions say nothing.

        Args:
            fields, types: as `of` has them.
        """
        known = StateFold.of(fields, types)
        for name in [name for name in self.fields if name not in fields and name not in self._since]:
            for about in (self.fields, self.tags, self.made_by):
                about.pop(name, None)
        for name, value in known.fields.items():
            tags = known.tags.get(name, {})
            if name in self._since or (
                _same(self.fields.get(name, _ABSENT), value) and self.tags.get(name, {}) == tags
            ):
                continue
            self.fields[name] = value
            self.tags.pop(name, None)
            if tags:
                self.tags[name] = tags
            if self.checkpoint is not None:
                self.made_by[name] = self.checkpoint
        self.sampled = sorted({*self.sampled, *known.sampled} & self.fields.keys() - self._since)

    def types(self) -> dict[str, str]:
        """The tags of all fields, as pointers below the mapping of fields."""
        return {
            f"/{escape(name)}{below}": tag
            for name, found in sorted(self.tags.items())
            for below, tag in found.items()
        }


def fold_events(fold: StateFold, events: Iterable[Event]) -> StateFold:
    """The fold after these events of the agent, in their order."""
    for event in events:
        fold.add(event)
    return fold


class RecordedStates(Protocol):
    """What the fold asks of a checkpoint store; `LocalCheckpointStore` answers it."""

    def list_checkpoints(self, run_id: str, agent_id: str | None = None) -> list[CheckpointInfo]:
        """The checkpoints of a run, in the order in which they were saved."""

    def recorded_state(
        self, run_id: str, step_id: str, agent_id: str | None = None
    ) -> tuple[Any, dict[str, str]]:
        """The state of one as plain JSON, with its tags by JSON Pointer below it."""


def settle_from_store(fold: StateFold, store: RecordedStates) -> StateFold:
    """The fold with what the last checkpoint in it holds, where the store still has that."""
    event = fold.checkpoint
    if event is None or event.run_id is None:
        return fold
    try:
        fields, types = store.recorded_state(event.run_id, str(event.extra.get("step_id")), event.agent_id)
    except (RunNotFound, EventNotFound, DamagedInput):
        # Retention removed it, or it is damaged: events alone give the state all the same, and `sampled`
        # says of which fields an older value.
        return fold
    if isinstance(fields, dict):
        fold.settle(fields, types)
    return fold


def is_outside_write(event: Event) -> bool:
    """Whether the event says that something besides its actions wrote to the agent (`state="strict"`)."""
    return event.extra.get("trigger") == "outside" and isinstance(event.extra.get("changed"), dict)


def change_of(event: Event) -> str:
    """How the event made a field what it is, in a word or two: `full state`, `from outside`, or its name."""
    if event.kind == "state":
        return "full state"
    if event.kind == "state_change":
        return "from outside"
    return str(event.extra.get("action_type") or event.kind)


def _tags_below(types: Mapping[str, str] | None, pointer: str) -> Tags:
    if not types:
        return {}
    return {
        known[len(pointer) :]: tag
        for known, tag in types.items()
        if known == pointer or known.startswith(f"{pointer}/")
    }


def _is_sampled(value: Any, tags: Tags) -> bool:
    if tags.get("") in _GENERATORS:
        return True
    if isinstance(value, str):
        return len(value) > _HEAVY_BYTES
    if not isinstance(value, dict | list):
        return False
    import orjson

    return len(orjson.dumps(value)) + len(str(tags) if tags else "") > _HEAVY_BYTES


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same: unlike Python, 1 is neither True nor 1.0."""
    if type(one) is not type(other) or one != other:
        return False
    if not isinstance(one, dict | list):
        return True
    import orjson

    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
