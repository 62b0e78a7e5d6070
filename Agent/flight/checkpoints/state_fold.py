"""Fold an agent's state at any moment: a full state or checkpoint, and the changes recorded after it.

Analysis uses it to read the state at a moment and to follow a field over time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from Agent.errors import DamagedInput, EventNotFound, RunNotFound
from Agent.event.kinds import INTERVENTION
from Agent.event.model import Event
from Agent.event.pointers import copy_tree, escape, tags_below, unescape
from Agent.event.values.values import decode_value

if TYPE_CHECKING:
    from Agent.flight.checkpoints.store import LocalCheckpointStore

_HEAVY_BYTES: Final = 4096
_GENERATORS: Final = ("random.Random", "numpy.Generator", "numpy.RandomState")
_ABSENT: Any = object()

Tags = dict[str, str]
"""{JSON Pointer relative to a field: tag}; the pointer of the field itself is ""."""


@dataclass(slots=True)
class StateFold:
    """The state of an agent so far; pass its events to `add` in order."""

    fields: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, Tags] = field(default_factory=dict)
    """{field: its tags} for the fields that are not plain JSON."""
    reported: dict[str, Any] = field(default_factory=dict)
    """Fields that the program reported itself, from `new_state` of `state_change` events."""
    base: Event | None = None
    """The last full state."""
    last: Event | None = None
    changes: int = 0
    """The number of later events with a state: actions, whether or not a field changed, and changes."""
    unseen: list[str] = field(default_factory=list)
    """Fields of the last full state that are opaque or could not be inspected."""
    sampled: list[str] = field(default_factory=list)
    """Fields that are recorded in full states only, because they are large or random generators."""
    made_by: dict[str, Event] = field(default_factory=dict)
    """{field: the event that recorded its current value}."""
    checkpoint: Event | None = None
    """The last checkpoint of the agent's exposed state since `base`; see `settle`."""
    _since: set[str] = field(default_factory=set)
    """The fields that changed after `checkpoint`."""

    @classmethod
    def of(cls, fields: Mapping[str, Any], types: Mapping[str, str] | None = None) -> StateFold:
        """Start a fold from recorded fields, such as those of a checkpoint.

        Args:
            fields: {field: JSON value}.
            types: {pointer relative to the mapping of fields: tag}.
        """
        tags = {name: tags_below(types, f"/{escape(name)}") for name in fields}
        fold = cls(dict(fields), {name: found for name, found in tags.items() if found})
        fold.sampled = sorted(name for name in fields if _is_sampled(fields[name], tags[name]))
        return fold

    def copy(self) -> StateFold:
        """Return a fold that may be continued on its own; values are shared, since no fold changes them."""
        return replace(
            self,
            fields=dict(self.fields),
            tags=dict(self.tags),
            reported=dict(self.reported),
            made_by=dict(self.made_by),
            _since=set(self._since),
        )

    def add(self, event: Event) -> dict[str, Any]:
        """Fold one event in and return the fields that it changed, `{field: new value}`."""
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
        """Replace all fields by a full state; fields with equal values keep their event in `made_by`."""
        tags = {name: tags_below(event.types, f"/extra/fields/{escape(name)}") for name in full}
        if event.extra.get("reason") == "gone":
            # The last state of a deleted agent lacks the large fields, so keep their older values.
            older = [name for name in self.sampled if name in self.fields and name not in full]
            full = {**{name: self.fields[name] for name in older}, **full}
            tags |= {name: self.tags.get(name, {}) for name in older}
        changed = {name: value for name, value in full.items() if not self._has(name, value, tags[name])}
        self.fields = dict(full)
        self.tags = {name: found for name, found in tags.items() if found}
        # A field from the checkpoint that the fold started with has no event until one changes it.
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

    def _apply(self, event: Event, new: object, unset: object, pointer: str) -> dict[str, Any]:
        """Set the changed fields and delete the unset ones; `pointer` locates the new values' tags."""
        changed = dict(new) if isinstance(new, dict) else {}
        for name, value in changed.items():
            self._set(name, value, tags_below(event.types, f"{pointer}/{escape(name)}"), event)
        # An action recorded the field, so it is no longer large or a generator.
        self.sampled = [name for name in self.sampled if name not in changed]
        gone = unset if isinstance(unset, list) else []
        for name in gone:
            self._drop(name)
        self._since.update(changed, gone)
        self.changes += 1
        return changed

    def _set(self, name: str, value: Any, tags: Tags, event: Event | None) -> None:
        self.fields[name] = value
        self.tags.pop(name, None)
        if tags:
            self.tags[name] = tags
        if event is not None:
            self.made_by[name] = event

    def _has(self, name: str, value: Any, tags: Tags) -> bool:
        return _same(self.fields.get(name, _ABSENT), value) and self.tags.get(name, {}) == tags

    def _drop(self, name: str) -> None:
        for about in (self.fields, self.tags, self.made_by):
            about.pop(name, None)

    def settle(self, fields: Mapping[str, Any], types: Mapping[str, str] | None = None) -> None:
        """Merge the state saved with `checkpoint`, which includes the large fields and generators.

        Fields that changed after the checkpoint keep their value.

        Args:
            fields, types: as for `of`.
        """
        checkpoint_fold = StateFold.of(fields, types)
        for name in self.fields.keys() - fields.keys() - self._since:
            self._drop(name)
        for name, value in checkpoint_fold.fields.items():
            tags = checkpoint_fold.tags.get(name, {})
            if name not in self._since and not self._has(name, value, tags):
                self._set(name, value, tags, self.checkpoint)
        self.sampled = sorted({*self.sampled, *checkpoint_fold.sampled} & self.fields.keys() - self._since)

    def types(self) -> dict[str, str]:
        """The tags of all fields, by pointer relative to the mapping of fields."""
        return {
            f"/{escape(name)}{below}": tag
            for name, found in sorted(self.tags.items())
            for below, tag in found.items()
        }

    def with_numbers(self, *, beyond_json: bool = False) -> dict[str, Any]:
        """Return the fields with each Decimal and Fraction as a number instead of its recorded text.

        Args:
            beyond_json: also integers of more than 64 bits, infinities and NaN, which JSON cannot hold.
        """
        wanted = _NUMBERS_BEYOND_JSON if beyond_json else _OF_NUMBERS
        pointers = {
            name: {pointer: tag for pointer, tag in found.items() if tag in wanted}
            for name, found in self.tags.items()
        }
        found = {name: _with_numbers(self.fields[name], at) for name, at in pointers.items() if at}
        return {**self.fields, **found} if found else self.fields


def fold_events(fold: StateFold, events: Iterable[Event]) -> StateFold:
    """Add the events of the agent in order and return the fold."""
    for event in events:
        fold.add(event)
    return fold


def settle_from_store(fold: StateFold, store: LocalCheckpointStore) -> StateFold:
    """Merge the state of the last checkpoint into the fold, if the store still has it."""
    event = fold.checkpoint
    if event is None or event.run_id is None:
        return fold
    try:
        fields, types = store.recorded_state(event.run_id, str(event.extra.get("step_id")), event.agent_id)
    except (RunNotFound, EventNotFound, DamagedInput):
        # Retention removed it, or it is damaged. The events alone still give the state; the fields in
        # `sampled` may then have older values.
        return fold
    if isinstance(fields, dict):
        fold.settle(fields, types)
    return fold


def is_outside_write(event: Event) -> bool:
    """Whether the event records a write to the agent from outside its actions: by other code, or by hand."""
    is_write = str(event.extra.get("trigger")) in {"outside", INTERVENTION}
    return is_write and isinstance(event.extra.get("changed"), dict)


def change_of(event: Event) -> str:
    """How the event set a field: `full state`, `from outside`, `by hand`, or the name of an action."""
    if event.kind == "state":
        return "full state"
    if event.kind == "state_change":
        return "by hand" if event.extra.get("trigger") == INTERVENTION else "from outside"
    return str(event.extra.get("action_type") or event.kind)


def _is_sampled(value: Any, tags: Tags) -> bool:
    """Whether a field is recorded in full states only: a random generator, cut, or larger than 4 KiB."""
    if tags.get("") in _GENERATORS or "truncated" in tags.values():
        return True
    if isinstance(value, str):
        return len(value) > _HEAVY_BYTES
    if not isinstance(value, dict | list):
        return False
    import orjson

    return len(orjson.dumps(value)) + len(str(tags) if tags else "") > _HEAVY_BYTES


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; unlike in Python, 1 equals neither True nor 1.0."""
    if type(one) is not type(other) or one != other:
        return False
    if not isinstance(one, dict | list):
        return True
    import orjson

    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


def number_in(text: Any) -> Any:
    """Return the finite Decimal or Fraction in a text such as "0.10" or "1/3"; everything else as it is."""
    if not isinstance(text, str):
        return text
    try:
        # A Fraction of "1e999999999" would take minutes and gigabytes.
        number = Fraction(text) if "/" in text else Decimal(text)
    except (ValueError, ArithmeticError):
        return text
    return text if isinstance(number, Decimal) and not number.is_finite() else number


_OF_NUMBERS: Final = frozenset({"decimal", "fraction"})
_NUMBERS_BEYOND_JSON: Final = _OF_NUMBERS | {"int", "float"}


def _with_numbers(value: Any, tags: Mapping[str, str]) -> Any:
    holder = [copy_tree(value) if isinstance(value, dict | list) else value]
    for pointer, tag in tags.items():
        within: Any = holder
        key: int | str = 0
        for part in pointer.split("/")[1:]:
            within = within[key]
            key = int(part) if isinstance(within, list) else unescape(part)
        number = _number_of(tag, within[key])
        if number is not None:
            within[key] = number
    return holder[0]


def _number_of(tag: str, text: Any) -> int | float | None:
    """Return the number of a recorded text; None for Decimals and Fractions beyond a float."""
    if tag not in _OF_NUMBERS:
        number = decode_value(text, {"": tag})
        return number if isinstance(number, int | float) else None
    number = number_in(text)
    if not isinstance(number, Decimal | Fraction):
        return None
    try:
        plain = float(number)
    except OverflowError:
        return None
    if not math.isfinite(plain):
        return None
    return int(plain) if plain.is_integer() and abs(plain) <= _MAX_EXACT else plain


_MAX_EXACT: Final = 2**53
"""Floats up to this represent every integer."""
