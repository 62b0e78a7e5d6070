"""Containers and arrays of plain values in objects that agents hold: copied, compared, and changed in place.

Only exactly the types below are followed and, inside containers, instances of dataclasses and attrs classes
that are not agents, because nothing here may run code of a class. A value that holds anything else, or is too
large, is not followed.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import EnumType
from fractions import Fraction
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from Agent.event.classes import attributes_of, by_class, find_in_classes, remember, restore_attributes
from Agent.event.limits_of_time import pass_on
from Agent.event.values.class_codecs import class_reducer, is_record
from Agent.event.values.codecs import REGISTERED
from Agent.event.values.plain import SCALARS
from Agent.record.encode.native import native
from Agent.record.state.identity import TRACED, identity_of
from Agent.record.state.introspection import items_perhaps

_MOST_ITEMS = 600
_MOST_DEPTH = 6
_MOST_ARRAY_BYTES = 32_768
_MOST_TEXT = 4_096
_LEAVES = SCALARS | {bytes, complex, date, datetime, time, timedelta, Decimal, Fraction, UUID, range}
_TEXTS = frozenset({str, bytes})
_MAPPINGS = frozenset({dict, defaultdict, OrderedDict})
_SEQUENCES = frozenset({list, deque})
_SETS = frozenset({set, frozenset})
_KINDS_OF_ARRAYS = "biufcmM"


class _TooMuchError(Exception):
    """A value is too large, or holds a value that is not plain."""


class Copied(NamedTuple):
    """A copy of a container or an array."""

    value: Any
    size: int
    """Number of values in it, including nested ones."""
    has_records: bool
    """Whether instances of dataclasses or attrs classes are among them."""


def copied(value: object) -> Copied | None:
    """Return a copy of a container or array; None for a value that is not followed."""
    if type(value) in _LEAVES or holds_any(value, _never_inside):
        return None
    copying = _Copying()
    try:
        found = copying.of(value, _MOST_DEPTH)
    except (_TooMuchError, RuntimeError, ValueError):  # also: changed by another thread, hidden attributes
        return None
    return Copied(found, _MOST_ITEMS - copying.left, copying.has_records)


def is_followed(value: object) -> bool:
    """Whether it is a container or an array whose changes are recorded."""
    # Most attributes are of classes that are never followed.
    return _is_perhaps_followed(type(value)) and copied(value) is not None


def holds_followed(values: dict[str, Any]) -> bool:
    """Whether a value of a dict is followed."""
    perhaps_followed = _is_perhaps_followed.known
    if native is not None and native.holds_none(values, perhaps_followed, _never_inside):
        return False
    return any(is_followed(each) for _, each in items_perhaps(values, perhaps_followed))


@by_class
def _is_perhaps_followed(cls: type) -> bool:
    numpy = sys.modules.get("numpy")
    classes = (getattr(numpy, "ndarray", None), getattr(numpy, "generic", None))
    return (
        cls in _CONTAINERS
        or isinstance(cls, EnumType)
        or issubclass(cls, tuple(each for each in classes if isinstance(each, type)))
    )


_CONTAINERS = _MAPPINGS | _SEQUENCES | _SETS | {tuple, bytearray}


_never_inside: dict[type, bool] = {}
"""Classes whose objects no copy holds, so that a container with one is not followed."""


def _is_never_inside(kind: type) -> bool:
    """Whether a class, none of those that `_Copying.of` copies, is not of records either; noted for later."""
    is_never = not is_record(kind)
    if is_never and type(kind) is type and kind not in _CONTAINERS:
        remember(_never_inside, kind, True)
    return is_never


def _holds_any(value: object, kinds: dict[type, bool]) -> bool:
    """Whether a dict, list or tuple holds an object of one of these classes itself, perhaps as a key."""
    if type(value) is dict:
        items: Sequence[Any] = (*value, *value.values())
    elif type(value) is list or type(value) is tuple:
        items = tuple(value)
    else:
        return False
    return any(type(kind) is type and kind in kinds for kind in map(type, items))


holds_any: Callable[[object, dict[type, bool]], bool] = _holds_any if native is None else native.holds_any


class _Copying:
    """The state of one copy operation."""

    def __init__(self) -> None:
        self.left = _MOST_ITEMS
        """Number of values that may still be copied."""
        self.has_records = False

    def of(self, value: Any, depth: int, *, is_key: bool = False) -> Any:
        """Return a copy of a value with its nested values, down to that depth."""
        kind = type(value)
        self.left -= 1
        if self.left < 0 or depth < 0:
            raise _TooMuchError
        if kind in _LEAVES:
            if (kind is str or kind is bytes) and len(value) > _MOST_TEXT:
                raise _TooMuchError
            return value
        if kind in _MAPPINGS:
            pairs = tuple(value.items())
            if self._are_leaves(tuple(chain.from_iterable(pairs)), depth):
                found = dict(pairs)
            else:
                found = {
                    self.of(key, _MOST_DEPTH, is_key=True): self.of(item, depth - 1, is_key=is_key)
                    for key, item in pairs
                }
            return found if kind is dict else _like(value, found)
        if kind in _SEQUENCES or kind in _SETS or kind is tuple:
            if len(value) > self.left:
                raise _TooMuchError
            is_key = is_key or kind in _SETS
            items: Sequence[Any] = tuple(value)
            if not self._are_leaves(items, depth):
                items = [self.of(item, depth - 1, is_key=is_key) for item in items]
            return deque(items, value.maxlen) if kind is deque else kind(items)
        if kind is bytearray and len(value) <= _MOST_TEXT:
            return bytearray(value)
        if is_array(value):
            if value.dtype.kind not in _KINDS_OF_ARRAYS or value.nbytes > _MOST_ARRAY_BYTES:
                raise _TooMuchError
            return value.copy()
        if isinstance(kind, EnumType) or _is_scalar_of_numpy(value):
            return value
        # A record is not copied as a key, since lookups would run its class's code, nor at the top level,
        # since objects in agents' fields are followed separately.
        if _is_never_inside(kind) or is_key or depth == _MOST_DEPTH or not _is_record(value):
            raise _TooMuchError
        self.has_records = True
        made = object.__new__(kind)
        restore_attributes(made, self.of(attributes_of(value), depth - 1))
        return made

    def _are_leaves(self, values: Sequence[Any], depth: int) -> bool:
        """Whether all these values are copied as they are; then they are counted."""
        if depth < 1 or len(values) > self.left:
            return False
        kinds = set(map(type, values))
        if not kinds <= _LEAVES:
            return False
        if not kinds.isdisjoint(_TEXTS) and any(
            len(each) > _MOST_TEXT for each in values if type(each) in _TEXTS
        ):
            return False
        self.left -= len(values)
        return True


def _is_record(value: object) -> bool:
    """Whether it is an instance of a dataclass or attrs class, and not an agent."""
    kind = type(value)
    return (
        is_record(kind)
        and is_value(kind)
        and identity_of(value) is None
        and all(find_in_classes(kind, name) is None for name in _NAMING)
        and _NAMING.isdisjoint(attributes_of(value))
    )


_NAMING = frozenset({"agent_id", "logger"})


@by_class
def is_value(cls: type) -> bool:
    """Whether objects of the class are values that can be restored, and it has no traced methods."""
    is_restored = class_reducer(cls) is not None or cls in REGISTERED
    return is_restored and not has_traced_methods(cls)


def has_traced_methods(cls: type) -> bool:
    """Whether a decorator or `instrument` traces a method of the class."""
    version = 0 if native is None else native.class_version(cls)
    try:
        if version and (known := _traced[cls])[0] == version:
            return known[1]
    except Exception as error:  # noqa: BLE001 - not known yet, or a metaclass whose __hash__ or __eq__ raises
        pass_on(error)
    found = any(hasattr(each, TRACED) for base in cls.__mro__ for each in vars(base).values())
    return remember(_traced, cls, (version, found))[1]


_traced: dict[type, tuple[int, bool]] = {}
"""What was found, with the version of the class, which changes with its methods and those of its bases."""


def _like(value: Any, items: dict[Any, Any]) -> Any:
    if type(value) is defaultdict:
        if value.default_factory not in _FACTORIES:
            raise _TooMuchError
        return defaultdict(value.default_factory, items)
    return OrderedDict(items)


_FACTORIES = (None, int, float, str, bool, list, dict, set)


def is_array(value: object) -> bool:
    """Whether it is an array of numpy, not of a derived class."""
    array = getattr(sys.modules.get("numpy"), "ndarray", None)
    return array is not None and type(value) is array


def _is_scalar_of_numpy(value: object) -> bool:
    generic = getattr(sys.modules.get("numpy"), "generic", None)
    return isinstance(generic, type) and issubclass(type(value), generic) and type(value).__name__ != "void"


def is_same(one: Any, other: Any) -> bool:
    """Whether a value has the content of a copy of it: types and the order of keys count, NaN equals NaN.

    Records are compared by their attributes, without running `__eq__` of their class.
    """
    kind = type(one)
    if kind is not type(other):
        return False
    if one is other or _same_content(one, other):
        return True
    if kind is str or kind is bytes or kind is int or kind is bytearray:
        return bool(one == other)
    if kind in _SETS:
        found = {each: each for each in other}
        return len(one) == len(other) and all(each in found and is_same(each, found[each]) for each in one)
    if kind in _MAPPINGS:
        is_made_alike = kind is not defaultdict or one.default_factory is other.default_factory
        one, other = [*one, *one.values()], [*other, *other.values()]
    elif kind in _SEQUENCES or kind is tuple:
        is_made_alike = kind is not deque or one.maxlen == other.maxlen
        one, other = tuple(one), tuple(other)
    elif kind in _LEAVES or _is_scalar_of_numpy(one):
        return repr(one) == repr(other)  # tells 1.0 from 1.00, equal times of two zones, and -0.0 from 0.0
    elif is_array(one):
        return (
            one.dtype == other.dtype and one.shape == other.shape and bool(one.tobytes() == other.tobytes())
        )
    else:  # a member of an enumeration is itself alone
        return is_record(kind) and is_same(attributes_of(one), attributes_of(other))
    return is_made_alike and len(one) == len(other) and all(map(is_same, one, other))


def _never_surely(_one: object, _other: object) -> bool:
    return False


_same_content: Callable[[Any, Any], bool] = _never_surely if native is None else native.same_content
"""Whether two values surely have the same content; False where it has to be looked at here."""


def pour(present: Any, value: Any) -> bool:
    """Replace the content of a container or an array in place; return False if that is not possible.

    Mutable values inside keep their identity where one of the same type is at the same place.
    """
    kind = type(value)
    if kind is not type(present) or kind is tuple or kind is frozenset:
        return False
    if kind in _MAPPINGS:
        _pour_mapping(present, value)
    elif kind is list:
        items = _kept_records(tuple(present), value)
        del present[len(items) :]
        for number, item in enumerate(items):
            if number == len(present):
                present.append(item)
            elif not pour(present[number], item):
                present[number] = item
    elif kind is deque:
        items = _kept_records(tuple(present), value)
        present.clear()
        present.extend(items)
    elif kind is set:
        present.clear()
        present.update(value)
    elif kind is bytearray:
        present[:] = value
    elif is_array(value):
        if present.shape != value.shape or present.dtype != value.dtype or not present.flags.writeable:
            return False
        present[...] = value
    else:
        return False
    return True


def _kept_records(present: tuple[Any, ...], value: Sequence[Any]) -> list[Any]:
    """Return the new items, with present records instead of equal new ones, since others may hold them."""
    left = [each for each in present if is_record(type(each))]
    items: list[Any] = []
    for item in value:
        same = (at for at, each in enumerate(left) if is_same(item, each))
        place = next(same, None) if is_record(type(item)) else None
        items.append(item if place is None else left.pop(place))
    return items


def _pour_mapping(present: Any, value: Any) -> None:
    if list(present) != list(value)[: len(present)]:
        kept = dict(present)
        present.clear()
        for name in value:
            present[name] = kept.get(name)
    for name, item in value.items():
        if name not in present or not pour(present[name], item):
            present[name] = item
