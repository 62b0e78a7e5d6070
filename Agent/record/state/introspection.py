"""What an agent exposes of itself: which of its attributes are state, and how they are read and put back.

The first that applies: its own `trace_state()`/`trace_restore()`, a dataclass, a pydantic model, its own
`__getstate__`/`__setstate__`, else its attributes. Other agents count as their ids; handles such as loggers,
locks and files are listed, and are not state.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from types import FunctionType
from typing import Any, NamedTuple

from Agent.event.classes import attributes_of, class_name, find_in_classes, remember
from Agent.event.values.class_contents import TRACING, handle_of, is_over_memory
from Agent.event.values.codecs import fill_queue, is_queue


class Sort(IntEnum):
    """How a value of some class takes part in state."""

    SCALAR = 0
    VALUE = 1
    GENERATOR = 2
    ARRAY = 3
    UNKNOWN = 4
    """Perhaps an agent, perhaps a value without a codec: only the object itself tells."""
    HANDLE = 5
    """Something that belongs to this process, such as a lock: there is nothing to compare."""


_SCALARS = frozenset({str, int, float, bool, type(None)})
_VALUES = frozenset({dict, list, tuple, set, frozenset, bytes, bytearray, complex, range, slice})
_VALUE_CLASSES = (
    ("enum", "Enum"),
    ("datetime", "date"),
    ("datetime", "time"),
    ("datetime", "timedelta"),
    ("uuid", "UUID"),
    ("decimal", "Decimal"),
    ("pathlib", "PurePath"),
    ("collections", "deque"),
    ("numpy", "generic"),
)
_GENERATOR_CLASSES = (("random", "Random"), ("numpy.random", "Generator"), ("numpy.random", "RandomState"))
_sorts: dict[type, Sort] = {}


class Exposed(NamedTuple):
    """An agent's state as it is now."""

    fields: dict[str, Any]
    handles: tuple[str, ...] = ()
    """Names of attributes that hold what belongs to this process alone."""
    ignored: tuple[str, ...] = ()
    """Names of attributes that the class asked to leave out."""


def _loaded(names: tuple[tuple[str, str], ...]) -> tuple[type, ...]:
    """Those of the classes whose modules this process has imported; an object of another cannot exist."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return tuple(cls for cls in found if isinstance(cls, type))


def sort_of(cls: type) -> Sort:
    """How values of a class take part in state."""
    try:
        known = _sorts.get(cls)
        if known is None:
            known = remember(_sorts, cls, _judge(cls))
    except Exception:  # noqa: BLE001 - a metaclass whose __hash__, __eq__ or __subclasscheck__ raises
        return Sort.UNKNOWN
    return known


def _judge(cls: type) -> Sort:
    if cls in _SCALARS:
        return Sort.SCALAR
    if issubclass(cls, _loaded(_GENERATOR_CLASSES)):
        return Sort.GENERATOR
    if issubclass(cls, _loaded((("numpy", "ndarray"),))):
        return Sort.ARRAY
    if handle_of(cls) is not None:
        return Sort.HANDLE
    if cls in _VALUES or issubclass(cls, (dict, list, tuple, set, frozenset, str, int, float, bytes)):
        return Sort.VALUE
    if issubclass(cls, _loaded(_VALUE_CLASSES)) or is_queue(cls):
        return Sort.VALUE
    return Sort.UNKNOWN


class Exposure(NamedTuple):
    """How the objects of one class are read and put back."""

    read: Callable[[Any], Mapping[str, Any]]
    restore: Callable[[Any, Mapping[str, Any]], None]
    is_explicit: bool
    """The class said itself what its state is, so everything in it counts."""
    ignored: frozenset[str] = frozenset()
    """Names of attributes that are left out."""


_exposures: dict[type, Exposure] = {}
_functions: dict[type, Exposure] = {}
_TEXT = frozenset({str})
_STATE = "__state__"
"""Stands for the whole where a class's own `__getstate__` gives something else than a mapping."""


def exposure_of(cls: type) -> Exposure:
    """How the state of objects of a class is read."""
    known = _exposures.get(cls)
    if known is None:
        known = _choose(cls)
        ignored = _ignored_by(cls)
        if ignored:
            known = known._replace(ignored=ignored, read=_without(known.read, ignored))
        remember(_exposures, cls, known)
    return known


_ignored: dict[type, frozenset[str]] = {}


def set_ignored(cls: type, names: Iterable[str]) -> None:
    """Leave attributes of that name out of the state of a class's objects."""
    _ignored[cls] = frozenset(names)
    _exposures.clear()


def _ignored_by(cls: type) -> frozenset[str]:
    names: set[str] = set()
    for base in cls.__mro__:
        own = vars(base).get("trace_ignore", ())
        names.update([own] if isinstance(own, str) else own, _ignored.get(base, ()))
    return frozenset(names)


def _without(
    read: Callable[[Any], Mapping[str, Any]], ignored: frozenset[str]
) -> Callable[[Any], Mapping[str, Any]]:
    return lambda obj: {name: value for name, value in list(read(obj).items()) if name not in ignored}


def set_exposure(cls: type, read: Callable[[Any], Mapping[str, Any]]) -> None:
    """Expose third-party objects by a function of theirs; they are put back by setting attributes."""
    _functions[cls] = Exposure(_named(read), _set_attributes, is_explicit=True)
    _exposures.clear()


def clear_exposure(cls: type) -> None:
    """Take that back."""
    _functions.pop(cls, None)
    _exposures.clear()


def _named(read: Callable[[Any], Mapping[str, Any]]) -> Callable[[Any], Mapping[str, Any]]:
    """The same with texts as names, whatever the user's own function uses as keys."""

    def read_named(obj: Any) -> Mapping[str, Any]:
        fields: Any = read(obj)
        if type(fields) is not dict and not isinstance(fields, Mapping):
            return {_STATE: fields}
        if _TEXT.issuperset(map(type, fields)):
            return fields
        return {str(name): value for name, value in fields.items()}

    return read_named


def _choose(cls: type) -> Exposure:
    for base in cls.__mro__:
        if base in _functions:
            return _functions[base]
    if callable(getattr(cls, "trace_state", None)):
        read = _named(lambda obj: obj.trace_state())
        return Exposure(read, _trace_restore, is_explicit=True)
    if is_dataclass(cls):
        return Exposure(_reader(tuple(cls.__dataclass_fields__)), _set_attributes, is_explicit=False)
    if "pydantic" in sys.modules and hasattr(cls, "model_fields"):
        return Exposure(_read_model, _restore_model, is_explicit=False)
    own = next((base for base in cls.__mro__ if "__getstate__" in vars(base)), object)
    # A base of another library, such as gymnasium's EzPickle, knows nothing of what this class holds.
    if own is not object and _package_of(own) == _package_of(cls):
        return Exposure(_named(lambda obj: obj.__getstate__()), _setstate, is_explicit=True)
    slots = tuple(
        name for base in cls.__mro__ for name in _slot_names(base) if name not in {"__dict__", "__weakref__"}
    )
    if slots:
        return Exposure(_reader(slots), _set_attributes, is_explicit=False)
    return Exposure(instance_dict, _set_attributes, is_explicit=False)


def _package_of(cls: type) -> str:
    return str(cls.__module__).partition(".")[0]


def _reader(names: tuple[str, ...]) -> Callable[[Any], Mapping[str, Any]]:
    """Reads the named attributes, and whatever else the object holds."""
    return lambda obj: {**_attributes(obj, names), **getattr(obj, "__dict__", {})}


def _slot_names(base: type) -> list[str]:
    slots = vars(base).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    owner = base.__name__.lstrip("_")
    return [
        f"_{owner}{name}" if name.startswith("__") and not name.endswith("__") else name for name in names
    ]


def instance_dict(obj: Any) -> Mapping[str, Any]:
    """What most objects expose: their attributes."""
    return getattr(obj, "__dict__", {})


def _attributes(obj: Any, names: tuple[str, ...]) -> dict[str, Any]:
    missing = object()
    found = ((name, getattr(obj, name, missing)) for name in names)
    return {name: value for name, value in found if value is not missing}


def _setstate(obj: Any, fields: Mapping[str, Any]) -> None:
    state = fields[_STATE] if set(fields) == {_STATE} else dict(fields)
    if hasattr(obj, "__setstate__"):
        obj.__setstate__(state)
    else:
        obj.__dict__.update(fields)


def _trace_restore(obj: Any, fields: Mapping[str, Any]) -> None:
    if hasattr(obj, "trace_restore"):
        obj.trace_restore(fields[_STATE] if set(fields) == {_STATE} else dict(fields))
    else:
        _set_attributes(obj, fields)


def _parts_of_model(obj: Any) -> Iterator[dict[str, Any]]:
    """Where a pydantic model keeps what it holds: its fields, extra ones, private attributes."""
    yield vars(obj)
    for part in ("__pydantic_extra__", "__pydantic_private__"):
        yield getattr(obj, part, None) or {}


def _read_model(obj: Any) -> Mapping[str, Any]:
    return {name: value for part in _parts_of_model(obj) for name, value in part.items()}


def _restore_model(obj: Any, fields: Mapping[str, Any]) -> None:
    parts = list(_parts_of_model(obj))
    for name, value in fields.items():
        part = next((each for each in parts if name in each), parts[0])
        if not is_put_in_place(part.get(name), value):
            part[name] = value


def _set_attributes(obj: Any, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if not is_put_in_place(getattr(obj, name, None), value):
            object.__setattr__(obj, name, value)


def is_put_in_place(present: Any, value: Any) -> bool:
    """Give a generator the state of another, a queue what is in another; False for anything else."""
    if is_queue(type(value)) and type(present) is type(value):
        fill_queue(present, value)
        return True
    if sort_of(type(value)) is not Sort.GENERATOR or not isinstance(present, type(value)):
        return False
    # In place: others may hold the same generator, and an adopted one stays that.
    if hasattr(value, "getstate"):
        present.setstate(value.getstate())
    elif hasattr(value, "bit_generator"):
        bits, wanted = present.bit_generator, value.bit_generator
        bits.state = wanted.state
        if getattr(wanted, "seed_seq", None) is not None:
            with suppress(TypeError, AttributeError):  # numpy before 1.25 has no way to put a seed back
                bits.__setstate__((wanted.state, wanted.seed_seq))  # which decides what `spawn` gives
    else:
        present.set_state(value.get_state())
    return True


def _counts(value: object) -> bool:
    """Whether a thread or the like is an agent itself, or a file is in memory alone."""
    if is_over_memory(value):
        return True
    return handle_of(type(value)) != TRACING and getattr(value, "agent_id", None) is not None


def read_state(obj: object) -> Exposed:
    """The state that an object exposes now; values are the object's own, not copies."""
    exposure = exposure_of(type(obj))
    fields: dict[str, Any] = {}
    handles: list[str] = []
    for name, value in list(exposure.read(obj).items()):
        if not exposure.is_explicit and sort_of(type(value)) is Sort.HANDLE and not _counts(value):
            handles.append(str(name))
        else:
            fields[str(name)] = value
    return Exposed(fields, tuple(handles), tuple(sorted(exposure.ignored)))


_NO_STATE = frozenset({"agent_id", "agent_role", "trace_ignore", "logger"})


def plain_attributes(obj: object) -> dict[str, Any]:
    """The attributes of an object, read without any code of its class; none where the class hides them."""
    try:
        return attributes_of(obj)
    except ValueError:
        return {}


def generators_of(held: object) -> dict[str, Any]:
    """The attributes of an object that are generators of the class `random.Random`."""
    generator_class = getattr(sys.modules.get("random"), "Random", None)
    if generator_class is None:
        return {}
    return {name: value for name, value in plain_attributes(held).items() if type(value) is generator_class}


def read_class_state(cls: type) -> dict[str, Any]:
    """The data that a class itself holds, by name: what its methods may change for all of its objects."""
    return {name: vars(base)[name] for name, base in places_of_class_state(cls).items()}


def places_of_class_state(cls: type) -> dict[str, type]:
    """Where that stands: by name, the class or the base that holds it.

    Of bases, those of the same package count. Methods, descriptors, classes defined inside the class,
    defaults of a dataclass's fields and handles are not data.
    """
    found: dict[str, type] = {}
    if exposure_of(cls).is_explicit:
        return found
    package = _package_of(cls)
    for base in reversed(cls.__mro__):
        if _package_of(base) != package:
            continue
        own = list(vars(base).items())
        defaults = (
            {one.name for one in dataclass_fields(base)} if "__dataclass_fields__" in vars(base) else ()
        )
        found |= {
            name: base
            for name, value in own
            if name[:2] != "__" and name not in defaults and _is_class_data(base, name, value)
        }
    return found


_WRAPPERS: dict[type, str] = {
    staticmethod: "__func__",
    classmethod: "__func__",
    property: "fget",
    cached_property: "func",
    type(lru_cache(int)): "__wrapped__",
}
"""Where descriptors of the standard library hold their function."""


def _is_class_data(owner: type, name: str, value: Any) -> bool:
    if name in _NO_STATE:
        return False
    cls = type(value)
    if cls in _SCALARS:
        return True
    inner = _WRAPPERS.get(cls)
    if inner is not None:
        value = getattr(value, inner)
        cls = type(value)
    if cls is FunctionType:
        # A method is code; a function that was put there later has the name of another place.
        return str(value.__qualname__).rpartition(".")[2] != name
    is_descriptor = find_in_classes(cls, "__get__") is not None
    if issubclass(cls, type):
        return not class_name(value).endswith(f".{owner.__qualname__}.{name}")
    if is_descriptor:
        return False
    return sort_of(cls) is not Sort.HANDLE or is_over_memory(value)


def restore_state(obj: object, fields: Mapping[str, Any]) -> None:
    """Put recorded state back onto an object, by the way its class exposes it."""
    exposure_of(type(obj)).restore(obj, fields)
