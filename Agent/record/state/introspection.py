"""Which attributes of an agent are state, and how they are read and restored.

The first that applies is used: `trace_state()`/`trace_restore()` of the class, a dataclass, a pydantic model,
`__getstate__`/`__setstate__` of the class, else the attributes. Objects derived from a container of Python
also have its members, as the field `self`. Other agents are represented by their ids.
Handles such as loggers, locks and files are listed, and are not state.
"""

from __future__ import annotations

import io
import random
import sys
import weakref
from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from enum import IntEnum
from functools import cached_property, lru_cache, partial
from itertools import chain
from types import BuiltinFunctionType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, NamedTuple, cast

from Agent.event.classes import (
    attribute_or_none,
    attributes_of,
    attributes_of_process,
    by_class,
    class_name,
    find_in_classes,
    has_own_lookup,
    hides_dict,
    is_of_library,
    is_partial,
    module_of_class,
    own_attributes,
    remember,
    restore_attributes,
)
from Agent.event.limits_of_time import pass_on
from Agent.event.values.class_codecs import class_reducer
from Agent.event.values.class_contents import TRACING, handle_of, is_over_memory
from Agent.event.values.codecs import fill_queue, is_queue
from Agent.event.values.plain import all_strings
from Agent.record.encode.native import native
from Agent.record.state.identity import unrecorded


class Sort(IntEnum):
    """How values of a class are treated as state."""

    SCALAR = 0
    VALUE = 1
    GENERATOR = 2
    ARRAY = 3
    UNKNOWN = 4
    """An agent or a value without a codec; each object has to be checked."""
    HANDLE = 5
    """A resource of this process, such as a lock; its content cannot be compared."""


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
    """Names of attributes that hold resources of this process."""
    ignored: tuple[str, ...] = ()
    """Names of attributes that the class excludes."""


def _loaded(names: tuple[tuple[str, str], ...]) -> tuple[type, ...]:
    """Return the classes whose modules are imported; objects of the other classes cannot exist."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return tuple(cls for cls in found if isinstance(cls, type))


def sort_of(cls: type) -> Sort:
    """Return how values of a class are treated as state."""
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


def is_object(value: object, agent_of: Callable[[object], str | None]) -> bool:
    """Whether it is a mutable object of a class without a codec, and not an agent."""
    cls = type(value)
    if sort_of(cls) is Sort.ARRAY:
        return getattr(getattr(value, "dtype", None), "kind", "") in _UNRESTORED_KINDS
    if cls is MethodType:  # a bound method is as mutable as its object
        owner = cast("MethodType", value).__self__
        return is_queue(type(owner)) or is_object(owner, agent_of)
    return _makes_objects(cls) and agent_of(value) is None


@by_class
def _makes_objects(cls: type) -> bool:
    if sort_of(cls) is not Sort.UNKNOWN or issubclass(cls, _NEVER_CHANGING) or class_reducer(cls) is not None:
        return False
    # Read through `type`, because a metaclass may hide the attributes of the class.
    return type.__dict__["__module__"].__get__(cls) not in _MODULES_OF_CONSTANTS


def can_be_held(value: object, agent_of: Callable[[object], str | None]) -> bool:
    """Whether code outside of actions may change a value in place: an object, or an unfrozen record."""
    return agent_of(value) is None if is_held_by_class(type(value)) else is_object(value, agent_of)


@by_class
def is_held_by_class(cls: type) -> bool:
    """Whether all objects of a class that are no agents can be held."""
    return cls is not MethodType and may_be_held(cls) and sort_of(cls) is not Sort.ARRAY


@by_class
def may_be_held(cls: type) -> bool:
    """Whether `can_be_held` may be true of a value of a class that has attributes."""
    return sort_of(cls) is Sort.ARRAY or _makes_objects(cls) or _makes_records(cls)


def items_perhaps_held(values: dict[str, Any]) -> Sequence[tuple[str, Any]]:
    """Return the items of a dict, possibly without values of types for which `may_be_held` is False."""
    return items_perhaps(values, may_be_held.known)


def _items_of(values: dict[str, Any], _kinds: dict[type, bool]) -> Sequence[tuple[str, Any]]:
    return tuple(values.items())


items_perhaps: Callable[[dict[str, Any], dict[type, bool]], Sequence[tuple[str, Any]]]
items_perhaps = _items_of if native is None else native.perhaps
"""Returns the items of a dict, possibly without values of types for which a cache of types has False."""


def _makes_records(cls: type) -> bool:
    if sort_of(cls) is not Sort.UNKNOWN or not any(hasattr(cls, mark) for mark in _RECORD_MARKS):
        return False
    return not getattr(getattr(cls, "__dataclass_params__", None), "frozen", False)


_RECORD_MARKS = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields__")
_UNRESTORED_KINDS = ("V", "O")
"""Kinds of arrays of records and of objects, of which only a digest is recorded."""
_MODULES_OF_CONSTANTS = frozenset("typing types re zoneinfo ipaddress fractions operator".split())
"""Modules whose classes have immutable objects, one of which may be shared by all users."""
_NEVER_CHANGING = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type)


class Exposure(NamedTuple):
    """How the state of objects of one class is read and restored."""

    read: Callable[[Any], Mapping[str, Any]]
    restore: Callable[[Any, Mapping[str, Any]], None]
    is_explicit: bool
    """Whether the class defines its state itself, so that handles in it are not filtered out."""
    ignored: frozenset[str] = frozenset()
    """Names of excluded attributes."""


_functions: dict[type, Exposure] = {}
_TEXT = frozenset({str})
_STATE = "__state__"
"""The field name of the whole state if a class's own function returns something other than a mapping."""


@by_class
def exposure_of(cls: type) -> Exposure:
    """Return how the state of objects of a class is read and restored."""
    chosen, ignored = _choose(cls), _ignored_by(cls)
    left_out = ignored if chosen.is_explicit else ignored | attributes_of_process(cls)
    return chosen._replace(ignored=ignored, read=_without(chosen.read, left_out)) if left_out else chosen


_ignored: dict[type, frozenset[str]] = {}


def set_ignored(cls: type, names: Iterable[str]) -> None:
    """Exclude attributes with these names from the state of a class's objects."""
    _ignored[cls] = frozenset(names)
    exposure_of.known.clear()


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
    """Read the state of a class's objects with a function; it is restored by setting attributes."""
    _functions[cls] = Exposure(_named(read), _set_attributes, is_explicit=True)
    exposure_of.known.clear()


def clear_exposure(cls: type) -> None:
    """Undo `set_exposure`."""
    _functions.pop(cls, None)
    exposure_of.known.clear()


def _named(read: Callable[[Any], Mapping[str, Any]]) -> Callable[[Any], Mapping[str, Any]]:
    """Wrap a user's function so that it returns a mapping with text keys."""

    def read_named(obj: Any) -> Mapping[str, Any]:
        try:
            fields: Any = unrecorded(read, obj)
        except Exception:
            raise
        except BaseException as error:
            pass_on(error)
            # callers record it like any other error of the function
            raise RuntimeError(f"the state cannot be read: {type(error).__name__}") from error
        if type(fields) is not dict and not isinstance(fields, Mapping):
            return {_STATE: fields}
        if _TEXT.issuperset(map(type, fields)):
            return fields
        return {str(name): value for name, value in fields.items()}

    return read_named


def _choose(cls: type) -> Exposure:
    known = _of_attributes(cls)
    if known.is_explicit:
        return known
    kind = next((each for each in _CONTAINERS if issubclass(cls, each)), None)
    if kind is not None:
        return _with_content(known, kind)
    values = next((each for base, each in _values_of_bases() if issubclass(cls, base)), None)
    return known if values is None else _with_values(known, values)


def _of_attributes(cls: type) -> Exposure:
    for base in cls.__mro__:
        if base in _functions:
            return _functions[base]
    if callable(getattr(cls, "trace_state", None)):
        read = _named(lambda obj: obj.trace_state())
        return Exposure(read, _trace_restore, is_explicit=True)
    slots = tuple(
        name for base in cls.__mro__ for name in _slot_names(base) if name not in {"__dict__", "__weakref__"}
    )
    if is_dataclass(cls):
        # Its bases may have slots that are no fields.
        names = tuple(dict.fromkeys((*(each.name for each in dataclass_fields(cls)), *slots)))
        return Exposure(FieldReader(names), _set_attributes, is_explicit=False)
    if "pydantic" in sys.modules and hasattr(cls, "model_fields"):
        return Exposure(_read_model, _restore_model, is_explicit=False)
    own = next((base for base in cls.__mro__ if "__getstate__" in vars(base)), object)
    # `__getstate__` of another library's base, such as gymnasium's EzPickle, ignores this class's attributes,
    # and one that another library made for it, such as attrs, ignores slots of bases.
    if own is not object and _package_of(own) == _package_of(cls) and not _is_made(own):
        return Exposure(_named(lambda obj: obj.__getstate__()), _setstate, is_explicit=True)
    if issubclass(cls, defaultdict):
        slots += ("default_factory",)
    if len(set(slots)) < len(slots):  # one hides another
        return Exposure(attributes_of, restore_attributes, is_explicit=False)
    if slots:
        return Exposure(FieldReader(slots), _set_attributes, is_explicit=False)
    return Exposure(instance_dict, _set_attributes, is_explicit=False)


def _is_made(cls: type) -> bool:
    """Whether another library made the class's `__getstate__`."""
    function = vars(cls)["__getstate__"]
    if type(function) is not FunctionType or not is_of_library(function.__code__.co_filename):
        return False
    return str(function.__globals__.get("__name__")).partition(".")[0] != _package_of(cls)


CONTENT = "self"
"""The field with the members of an agent whose class is derived from a container."""
_CONTAINERS: dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    OrderedDict: (OrderedDict.items, OrderedDict.clear, OrderedDict.update),
    dict: (dict.copy, dict.clear, dict.update),
    list: (list.__iter__, list.clear, list.extend),
    deque: (deque.__iter__, deque.clear, deque.extend),
    set: (set.__iter__, set.clear, set.update),
    bytearray: (memoryview, bytearray.clear, bytearray.extend),
}
"""How the members of a container are read, removed and added, without code of a derived class."""
_PLAIN: dict[type, type] = {OrderedDict: dict, deque: list}
_MOST_OBJECTS = 64
_MOST_ITEMS = 1_000
_HELD_PLAIN = _SCALARS | {bytes}
_copies: dict[int, tuple[weakref.ref[Any], Any]] = {}
"""By id of an agent, a weak reference to it and a plain copy of its members, or of what its base holds."""


def _with_content(known: Exposure, kind: type) -> Exposure:
    """Return an exposure that has the members of a container as a further field.

    The field is one object for the life of an agent, as any other that is changed in place, or it would be
    taken for one that other code replaced. More than _MOST_OBJECTS members that are no scalars are not read.
    """
    members, clear, extend = _CONTAINERS[kind]
    plain = _PLAIN.get(kind, kind)
    _, clear_plain, extend_plain = _CONTAINERS[plain]

    def read(obj: Any) -> Mapping[str, Any]:
        fresh = plain()
        extend_plain(fresh, members(obj))
        if not _SCALARS.issuperset(map(type, chain(fresh, fresh.values() if plain is dict else ()))):
            # No copy of objects is kept, since they may lead to the agent and keep it alive.
            return {**known.read(obj), CONTENT: fresh} if len(fresh) <= _MOST_OBJECTS else known.read(obj)
        held = _copies.get(id(obj))
        if held is None or held[0]() is not obj:
            place = id(obj)
            try:
                held = weakref.ref(obj, lambda _: _copies.pop(place, None)), fresh
            except TypeError:  # slots without `__weakref__`
                return {**known.read(obj), CONTENT: fresh}
            _copies[place] = held
        else:
            clear_plain(held[1])
            extend_plain(held[1], fresh)
        return {**known.read(obj), CONTENT: held[1]}

    def restore(obj: Any, fields: Mapping[str, Any]) -> None:
        known.restore(obj, {name: value for name, value in fields.items() if name != CONTENT})
        if CONTENT in fields:
            clear(obj)
            extend(obj, fields[CONTENT])

    return known._replace(read=read, restore=restore)


def _values_of_bases() -> Iterator[tuple[type, Callable[[Any], object]]]:
    """Yield types that hold values outside of attributes, and functions that read them without user code."""
    yield random.Random, random.Random.getstate
    yield BaseException, BaseException.args.__get__  # type: ignore[attr-defined]
    yield array, _in_array
    # Immutable ones: an agent derived from one, such as a `NamedTuple`, is another object after each change.
    yield from ((each, partial(_all_items, each)) for each in (tuple, str, bytes))
    yield from ((each, each.__pos__) for each in (int, float, complex))
    yield frozenset, frozenset.copy
    for kind in (io.StringIO, io.BytesIO):
        yield kind, partial(_in_file, kind)
    numpy, ctypes = sys.modules.get("numpy"), sys.modules.get("ctypes")
    if numpy is not None:
        yield numpy.ndarray, lambda obj: _in_ndarray(numpy.ndarray.view(obj, numpy.ndarray))
    for kind in () if ctypes is None else (ctypes.Structure, ctypes.Union, ctypes.Array):
        yield kind, lambda obj: memoryview(obj).tobytes()


def _all_items(kind: Any, obj: Any) -> object:
    return kind.__getitem__(obj, slice(None))


def _in_array(obj: Any) -> tuple[object, object]:
    """Return its items, as bytes if there are many, and their type code."""
    few = array.__len__(obj) <= _MOST_ITEMS
    return tuple(array.tolist(obj)) if few else array.tobytes(obj), array.typecode.__get__(obj)


def _in_file(kind: Any, obj: Any) -> object:
    """Return the text or bytes of a file in memory, and the position in it; None after it was closed."""
    return None if kind.closed.__get__(obj) else (kind.getvalue(obj), kind.tell(obj))


def _in_ndarray(values: Any) -> object:
    """Return items with shape and type, or the array itself if it has many."""
    if values.size > _MOST_ITEMS:
        return values
    return tuple(values.ravel().tolist()), values.shape, str(values.dtype)


def _is_plain(value: object) -> bool:
    """Whether a value holds no objects of the program, so that it is compared without the program's code."""
    return all(map(_is_plain, value)) if type(value) is tuple else type(value) in _HELD_PLAIN


def _kept(obj: Any, present: Any) -> Any:
    """Return what the base of an agent holds, as the same object as before if it is equal, or was closed.

    Another object would be taken for one that other code put there. Objects of the program are not kept, as
    they may lead to the agent, nor is a view of an array: its copy is.
    """
    is_array = hasattr(present, "dtype")
    if present.dtype.hasobject if is_array else not _is_plain(present):
        return present
    place = id(obj)
    reference, held = _copies.get(place, (None, None))
    if held is not None and reference is not None and reference() is obj:
        if is_array and (type(held), held.shape, held.dtype) == (type(present), present.shape, present.dtype):
            held[...] = present
            return held
        if not is_array and (present is None or (type(held) is type(present) and held == present)):
            return held
    kept = present.copy() if is_array else present
    with suppress(TypeError):  # slots without `__weakref__`
        _copies[place] = weakref.ref(obj, lambda _: _copies.pop(place, None)), kept
    return kept


def _with_values(known: Exposure, values: Callable[[Any], object]) -> Exposure:
    """Return an exposure that has what a base holds as a further field, which the factory has to make."""

    def read(obj: Any) -> Mapping[str, Any]:
        return {**known.read(obj), CONTENT: _kept(obj, values(obj))}

    def restore(obj: Any, fields: Mapping[str, Any]) -> None:
        known.restore(obj, {name: value for name, value in fields.items() if name != CONTENT})

    return known._replace(read=read, restore=restore)


def _package_of(cls: type) -> str:
    return module_of_class(cls).partition(".")[0]


class FieldReader:
    """Reads the named attributes and the object's `__dict__`."""

    __slots__ = ("names",)

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def __call__(self, obj: Any) -> Mapping[str, Any]:
        """Return the fields by name."""
        fields: dict[str, Any] | None = None if native is None else native.fields_named(obj, self.names)
        if fields is not None:
            return fields
        return {**attributes_named(obj, self.names), **instance_dict(obj)}


if native is not None:
    native.learn({FieldReader.__name__: FieldReader})


def _slot_names(base: type) -> list[str]:
    slots = vars(base).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    owner = base.__name__.lstrip("_")
    return [
        f"_{owner}{name}" if name.startswith("__") and not name.endswith("__") else name for name in names
    ]


def instance_dict(obj: Any) -> Mapping[str, Any]:
    """Return the object's `__dict__`, which is the state of most objects."""
    found: Mapping[str, Any] | None = attribute_or_none(obj, "__dict__")
    return {} if found is None else found


def _attributes_named(obj: Any, names: tuple[str, ...]) -> dict[str, Any]:
    read = object.__getattribute__ if has_own_lookup(type(obj)) else getattr
    found: dict[str, Any] = {}
    for name in names:
        with suppress(AttributeError):
            found[name] = read(obj, name)
    return found


attributes_named: Callable[[Any, tuple[str, ...]], dict[str, Any]]
attributes_named = _attributes_named if native is None else native.attributes_named
"""Returns those of the named attributes that an object has."""


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
    """Yield the mappings in which a pydantic model stores fields, extra fields and private attributes."""
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
    """Copy the state of a generator or the items of a queue into the present one; False for other values."""
    if is_queue(type(value)) and type(present) is type(value):
        fill_queue(present, value)
        return True
    if sort_of(type(value)) is not Sort.GENERATOR or not isinstance(present, type(value)):
        return False
    # In place, because others may hold the same generator, and an adopted generator stays adopted.
    if hasattr(value, "getstate"):
        present.setstate(value.getstate())
    elif hasattr(value, "bit_generator"):
        bits, wanted = present.bit_generator, value.bit_generator
        bits.state = wanted.state
        if getattr(wanted, "seed_seq", None) is not None and not _has_spawned_as(bits, wanted):
            with suppress(TypeError, AttributeError):  # numpy before 1.25 cannot restore a seed sequence
                bits.__setstate__((wanted.state, wanted.seed_seq))  # the seed determines `spawn`
    else:
        present.set_state(value.get_state())
    return True


def _has_spawned_as(bits: Any, wanted: Any) -> bool:
    """Let a generator of numpy spawn as many children as another one; False if their seeds differ.

    Its seed sequence stays the same object, since other generators may spawn from it.
    """
    present, recorded = (getattr(getattr(each, "seed_seq", None), "state", None) for each in (bits, wanted))
    if type(present) is not dict or type(recorded) is not dict:
        return False
    more: int = recorded.pop(_SPAWNED, 0) - present.pop(_SPAWNED, 0)
    if present != recorded or not 0 <= more <= _MOST_SPAWNED:
        return False
    if more:
        bits.seed_seq.spawn(more)
    return True


_SPAWNED = "n_children_spawned"
_MOST_SPAWNED = 1_000


def _counts(value: object) -> bool:
    """Whether a handle is state: an agent, such as a thread with an `agent_id`, or a file in memory."""
    if is_over_memory(value):
        return True
    return handle_of(type(value)) != TRACING and attribute_or_none(value, "agent_id") is not None


def read_state(obj: object) -> Exposed:
    """Return the present state of an object; its values are not copied."""
    exposure = exposure_of(type(obj))
    read = exposure.read(obj)
    ignored = tuple(sorted(exposure.ignored)) if exposure.ignored else ()
    if type(read) is dict:
        read = read.copy()
        if all_strings(read) and (exposure.is_explicit or not _has_handles(read)):
            return Exposed(read, (), ignored)
    fields: dict[str, Any] = {}
    handles: list[str] = []
    for name, value in list(read.items()):
        if not exposure.is_explicit and sort_of(type(value)) is Sort.HANDLE and not _counts(value):
            handles.append(str(name))
        else:
            fields[str(name)] = value
    return Exposed(fields, tuple(handles), ignored)


def _has_handles(values: dict[str, Any]) -> bool:
    for _, value in items_perhaps(values, _is_handle.known):  # noqa: SIM110 - most often there is none
        if _is_handle(type(value)):
            return True
    return False


@by_class
def _is_handle(cls: type) -> bool:
    return sort_of(cls) is Sort.HANDLE


_NO_STATE = frozenset({"agent_id", "agent_role", "trace_ignore", "logger"})


def plain_attributes(obj: object) -> dict[str, Any]:
    """Return an object's attributes without running code of its class; none if the class hides them."""
    try:
        return attributes_of(obj)
    except ValueError:
        return {}


def generators_of(held: object) -> dict[str, Any]:
    """Return the attributes of an object whose class is exactly `random.Random`."""
    try:
        return generators_in(own_attributes(held))
    except ValueError:  # the class hides them
        return {}


def generators_in(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values whose class is exactly `random.Random`."""
    found: dict[str, Any] = {}
    for name, value in items_perhaps(values, is_random_class.known):
        kind = type(value)
        if type(kind) is type and is_random_class(kind):  # another metaclass may run any code
            found[name] = value
    return found


@by_class
def is_random_class(cls: type) -> bool:
    """Whether it is `random.Random`, which is not loaded for the question."""
    return class_name(cls) == "random.Random"


def read_class_state(cls: type) -> dict[str, Any]:
    """Return the data stored in a class, by name, which its methods may change for all of its objects."""
    return {name: vars(base)[name] for name, base in places_of_class_state(cls).items()}


def places_of_class_state(cls: type) -> dict[str, type]:
    """Return {name: class} of the data of a class, with the class or base that holds each name.

    Only bases of the same package are included. Methods, descriptors, classes defined inside the class,
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
"""The attribute in which each of these descriptors stores its function."""


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
        # A method is code. A function assigned later is data; its qualified name has a different last part.
        return str(value.__qualname__).rpartition(".")[2] != name
    is_descriptor = find_in_classes(cls, "__get__") is not None
    if issubclass(cls, type):
        return not class_name(value).endswith(f".{owner.__qualname__}.{name}")
    if is_descriptor:
        return False
    return sort_of(cls) is not Sort.HANDLE or is_over_memory(value)


def put_field(obj: object, fields: Mapping[str, Any], name: str, value: object) -> None:
    """Set one field of an object's state, as its class's exposure restores it.

    Args:
        fields: the present fields, for a class that restores its state only as a whole.
    """
    exposure = exposure_of(type(obj))
    restores = exposure.restore is _trace_restore and hasattr(obj, "trace_restore")
    is_whole = restores or exposure.restore is _setstate
    exposure.restore(obj, {**fields, name: value} if is_whole else {name: value})


def restore_state(obj: object, fields: Mapping[str, Any]) -> None:
    """Restore recorded state onto an object, as its class's exposure defines."""
    exposure_of(type(obj)).restore(obj, fields)


def live_attributes(value: object) -> dict[str, Any] | None:
    """Return an object's `__dict__` itself, or a new dict of its slots, without running code of its class.

    Returns None if it has neither, or if a class replaces `__dict__`, as proxies do.
    """
    if is_partial(type(value)):
        return own_attributes(value)
    if hides_dict(type(value)):
        return None
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        slots = _slots_of(type(value))
        return dict(_in_slots(value, slots)) if slots else None
    return found if type(found) is dict else None


def set_attribute(held: object, name: str, value: Any) -> None:
    """Set an attribute that `live_attributes` reads, without running code of the class."""
    found = None if is_partial(type(held)) else live_attributes(held)
    if found is not None and not _slots_of(type(held)):
        found[name] = value
    else:
        object.__setattr__(held, name, value)


def _in_slots(value: object, slots: Mapping[str, MemberDescriptorType]) -> Iterator[tuple[str, Any]]:
    for name, slot in slots.items():
        try:
            yield name, slot.__get__(value)
        except AttributeError:
            continue  # the slot is empty


def _slots_of(cls: type) -> Mapping[str, MemberDescriptorType]:
    """The slots of a class whose objects have no `__dict__`."""
    try:
        found = _slots.get(cls)
    except Exception as error:  # noqa: BLE001 - a metaclass whose __hash__ raises
        pass_on(error)
        return {}
    if found is None:
        bases = [vars(base) for base in type.__dict__["__mro__"].__get__(cls)]
        found = {
            name: slot
            for base in bases
            if "__slots__" in base
            for name, slot in base.items()
            if type(slot) is MemberDescriptorType and name != "__weakref__"
        }
        has_dict = any("__dict__" in base for base in bases)
        found = remember(_slots, cls, {} if has_dict else found)
    return found


_slots: dict[type, Mapping[str, MemberDescriptorType]] = {}
