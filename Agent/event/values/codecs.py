"""The codec of each type: builtin, registered by users, or derived from the class.

`values.py` walks a value and looks up this table at each node. A codec reduces one level: the walk continues
into the reduced form, so a codec does not deal with depth, cycles or budgets.
"""

from __future__ import annotations

import binascii
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import cached_property
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import orjson

from Agent.errors import UsageError
from Agent.event.classes import (
    ERROR_MARK,
    MOST_CLASSES,
    attributes_of,
    by_class,
    class_name,
    find_class,
    find_in_classes,
    has_own_reduction,
    is_installed,
    mro_of,
    namespace_of,
    note_other_forms,
    own_attributes,
    remember,
    restore_attributes,
    solid_base,
    text_or_none,
)
from Agent.event.limits_of_time import pass_on
from Agent.event.script_names import NAMED_CACHES, class_text, imported, module_name
from Agent.event.values.arrays import (
    ARRAY_BUILDERS,
    FLOATS_BY_NAME,
    number_tag,
    numpy_reducer,
    reads_generator,
    reduce_random,
)
from Agent.event.values.class_codecs import BUILDERS as CLASS_BUILDERS
from Agent.event.values.class_codecs import Binding, Builder, Reducer, class_reducer, pairs_of
from Agent.event.values.class_contents import CALLABLE, OF_EVERY_CLASS, Pieces, Unreadable, handle_of
from Agent.event.values.digest import ALGORITHM, HIDING, WITH_MORE, digest_bytes
from Agent.event.values.opaque import (
    Content,
    OpaqueKind,
    StandIn,
    attributes_without_waiters,
    form_head,
    has_waiters,
    head_of_bytes,
    is_lock,
)
from Agent.event.values.plain import DUMP_OPTIONS, SCALARS, all_scalars, write_json
from Agent.event.values.reading import Hides, Limits, Reading, is_secret

_FACTORIES: dict[str, Any] = {
    f.__name__: f
    for f in (list, dict, set, int, float, str, tuple, bool, frozenset, bytes, deque, Counter, OrderedDict)
}


def _exact(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"not of type {kind.__name__}")
    return value


# From values to reduced forms. Each returns (tag, a value of plain containers, which is walked in turn).


def are_cut_bytes(value: Any, limits: Limits) -> bool:
    """Whether bytes are recorded by their head and digest only, as their base64 exceeds the limit."""
    kind = type(value)
    return (kind is bytes or kind is bytearray) and len(value) * 4 // 3 + 4 > limits.max_string_chars


def _reduce_bytes(value: Any, limits: Limits) -> tuple[str, Any]:
    if are_cut_bytes(value, limits):
        return "truncated", head_of_bytes(value, limits.head_chars)
    return type(value).__name__, binascii.b2a_base64(value, newline=False).decode("ascii")


_ZONE_OF_PYDANTIC = "pydantic_core._pydantic_core.TzInfo"


def _zone_parts(zone: tzinfo | None) -> dict[str, Any] | None:
    """Return the part of a zone that the text does not contain; None if the text suffices."""
    if zone is None or zone is UTC:
        return None
    if type(zone) is timezone:
        parts: tuple[Any, ...] = zone.__getinitargs__()  # type: ignore[attr-defined]
        return {"offset": _delta_parts(parts[0]), "name": parts[1]} if len(parts) == 2 else None
    zoneinfo = sys.modules.get("zoneinfo")
    if zoneinfo is not None and type(zone) is zoneinfo.ZoneInfo:
        key = text_or_none(getattr(zone, "key", None))
        if key is not None:
            return {"zone": key}
    if class_name(type(zone)) == _ZONE_OF_PYDANTIC:  # the same moment in a standard zone
        offset = type(zone).utcoffset(zone, None)
        return None if not offset else {"offset": _delta_parts(offset), "name": type(zone).tzname(zone, None)}
    # Any other zone would need to run its own code, now and when it is restored.
    raise ValueError(f"a zone of class {class_name(type(zone))}")


def _reduce_moment(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001 - one signature for all
    tag = type(value).__name__
    parts = _zone_parts(value.tzinfo)
    if parts is None and not value.fold:
        return tag, value.isoformat()
    bare = value.replace(fold=0) if parts is None else value.replace(tzinfo=None, fold=0)
    return tag, {"iso": bare.isoformat(), **(parts or {}), **({"fold": 1} if value.fold else {})}


def _delta_parts(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _reduce_path(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001
    from pathlib import Path

    cls = type(value)
    tag = "path" if cls is type(Path()) else f"path:{cls.__name__}"
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        # File names that are not UTF-8 reach Python as lone surrogates.
        return tag, {"escaped": text.encode("unicode_escape").decode("ascii")}
    return tag, text


def _reduce_defaultdict(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001
    factory = value.default_factory
    if factory is None:
        return "defaultdict:None", dict.copy(value)
    if issubclass(type(factory), type):
        known = _FACTORIES.get(factory.__name__) is factory
        name = factory.__name__ if known else class_name(factory)
    else:
        # The name of a lambda is for readers only; to decode it, the caller has to provide the function.
        module = getattr(factory, "__module__", None) if type(factory) is type(_reduce_path) else None
        name = f"{module}.{factory.__qualname__}" if module else class_name(type(factory))
    return f"defaultdict:{name}", dict(dict.items(value))


_QUEUES = {
    f"{module}.{name}": (module, name)
    for module in ("asyncio.queues", "queue")
    for name in ("Queue", "LifoQueue", "PriorityQueue")
}
UNFINISHED = "unfinished_tasks"
"""Recordings before this version have no such count."""
_SPARE_UNFINISHED = 1_000_000
"""Added to the count of a queue that a replay filled; `parts_of_queue` subtracts it."""


@by_class
def is_queue(cls: type) -> bool:
    """Whether the class is exactly a queue of asyncio or of threads."""
    module, name = _QUEUES.get(class_name(cls), ("", ""))
    return bool(name) and vars(sys.modules[module]).get(name) is cls


def parts_of_queue(queue: Any) -> dict[str, Any]:
    """Return a queue's maximum size, actual item container and unfinished tasks, and whether it is shut down.

    Waiters belong to the process.
    """
    attributes = attributes_of(queue)
    names = ("maxsize", "queue", "is_shutdown", UNFINISHED)
    parts: dict[str, Any] = {name: attributes.get(name, attributes.get(f"_{name}")) for name in names}
    if type(parts[UNFINISHED]) is int and parts[UNFINISHED] > _SPARE_UNFINISHED // 2:
        parts[UNFINISHED] -= _SPARE_UNFINISHED
    return parts


def fill_queue(queue: Any, other: Any) -> None:
    """Copy the items of another queue of the same class into a queue, whose waiters keep waiting.

    It is unknown which items are being processed, so any number of `task_done` calls is allowed.
    """
    parts = parts_of_queue(other)
    unfinished = _SPARE_UNFINISHED + (parts[UNFINISHED] or 0)
    _put_items(queue, tuple(parts["queue"]), parts["maxsize"], unfinished)


def _put_items(queue: Any, items: Sequence[Any], maxsize: int, unfinished: int) -> None:
    present = attributes_of(queue)
    prefix = "" if "maxsize" in present else "_"
    container = present[f"{prefix}queue"]
    container.clear()
    container.extend(items)
    restore_attributes(queue, {f"{prefix}maxsize": maxsize, f"{prefix}unfinished_tasks": unfinished})
    if unfinished and "_finished" in present:
        present["_finished"].clear()


def _reduce_queue(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001
    parts = parts_of_queue(value)
    parts["queue"] = list(parts["queue"] or ())
    form = {name: each for name, each in parts.items() if each or (name == UNFINISHED and each is not None)}
    return f"queue:{class_name(type(value))}", form


def _reduce_uuid(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001
    safe = value.is_safe
    if type(safe) is not sys.modules["uuid"].SafeUUID:
        raise ValueError("it says something else of its safety")
    # What made one from the clock says it of the machine.
    is_usual = safe._value_ is None or value.version == 1
    return "uuid" if is_usual else f"uuid:{safe._name_}", str(value)


def _whole(reduce: Reducer) -> Reducer:
    """Leave values with attributes that their form would lose to the digest of their whole content."""

    def reducer(value: Any, limits: Limits) -> tuple[str, Any]:
        if attributes_beyond(value):
            raise ValueError("it has attributes that its class does not set")
        return reduce(value, limits)

    return reducer


def attributes_beyond(value: Any) -> dict[str, Any]:
    """Return the attributes of a standard library's object that its own class neither sets nor defines."""
    attributes = own_attributes(value)
    known = _set_by_class(type(value)) if attributes else frozenset()
    if known.issuperset(attributes):
        return {}
    # what is computed once, and methods that were replaced: of networks, and of adopted generators
    defined = _defined_by_class(type(value))
    return {
        name: item
        for name, item in attributes.items()
        if name not in known and (name not in defined or type(item) in SCALARS)
    }


@by_class
def _defined_by_class(cls: type) -> frozenset[str]:
    """Return the names that a class and its bases define; a None among them counts as not defined."""
    names = {name for base in mro_of(cls) for name in namespace_of(base)}
    return frozenset(name for name in names if find_in_classes(cls, name) is not None)


@by_class
def _set_by_class(cls: type) -> frozenset[str]:
    """Return the attributes that the functions of a class set."""
    from dis import get_instructions

    members = (member for base in mro_of(cls) for member in namespace_of(base).values())
    steps = (step for each in members if type(each) is FunctionType for step in get_instructions(each))
    return frozenset(step.argval for step in steps if step.opname == "STORE_ATTR")


def _simple(tag: str, reduce: Callable[[Any], Any]) -> Reducer:
    def reducer(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001
        return tag, reduce(value)

    return reducer


_REDUCERS: dict[type, Reducer] = {
    tuple: _simple("tuple", list),
    set: _simple("set", frozenset),
    frozenset: _simple("frozenset", frozenset),
    bytes: _reduce_bytes,
    bytearray: _reduce_bytes,
    complex: _simple("complex", lambda v: [v.real, v.imag]),
    range: _simple("range", lambda v: [v.start, v.stop, v.step]),
    slice: _simple("slice", lambda v: [v.start, v.stop, v.step]),
    datetime: _reduce_moment,
    time: _reduce_moment,
    date: _simple("date", date.isoformat),
    timedelta: _simple("timedelta", _delta_parts),
    deque: lambda v, _: ("deque" if v.maxlen is None else f"deque:{v.maxlen}", list(v)),
    OrderedDict: _whole(_simple("OrderedDict", lambda v: dict(OrderedDict.items(v)))),
    Counter: _whole(_simple("Counter", lambda v: dict(dict.items(v)))),
    defaultdict: _reduce_defaultdict,
    type(...): _simple("ellipsis", lambda _: "..."),
}

_ADDRESSES = tuple(
    f"IPv{version}{sort}" for version in (4, 6) for sort in ("Address", "Network", "Interface")
)

_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")

# Types of modules that this table does not import: matched by name and verified against the module.
_BY_NAME: dict[tuple[str, str], Reducer] = {
    ("uuid", "UUID"): _reduce_uuid,
    ("decimal", "Decimal"): _simple("decimal", str),
    ("fractions", "Fraction"): _simple("fraction", str),
    **{("ipaddress", name): _whole(_simple(f"ipaddress:{name}", str)) for name in _ADDRESSES},
    ("random", "Random"): _whole(reduce_random),
    **dict.fromkeys(_QUEUES.values(), _whole(_reduce_queue)),
    **{("pathlib", name): _reduce_path for name in _PATHS},
}


def builtin_reducer(cls: type) -> Reducer | None:
    """Return the codec of a type of the standard library or of numpy; None for other classes."""
    try:
        known = _REDUCERS.get(cls)
        if known is not None or cls in _foreign:
            return known
    except Exception as error:  # noqa: BLE001 - a metaclass whose __hash__ or __eq__ raises is foreign
        pass_on(error)
        return None
    module, _, name = class_name(cls).rpartition(".")
    reducer = _BY_NAME.get((module, name))
    if reducer is None or vars(sys.modules[module]).get(name) is not cls:
        reducer = numpy_reducer(cls)
    if reducer is None:
        remember(_foreign, cls, None)
    else:
        _REDUCERS[cls] = reducer
    return reducer


_foreign: dict[type, None] = {}
"""Classes without such a codec."""
NAMED_CACHES.append(_foreign)


def is_read_generator(value: Any) -> bool:
    """Whether the codec of a value is that of a random generator, and can read it."""
    reducer = builtin_reducer(type(value))
    return reducer is not None and reads_generator(reducer, value)


@by_class
def exact_way(cls: type) -> tuple[Reducer, str | None] | None:
    """Return the codec that writes a class's values in digests, and the tag of numbers; None if none does."""
    name = cls.__name__
    if name not in _REDUCE_EXACT and not class_name(cls).startswith(("pathlib.", "numpy.")):
        return None
    reducer = None if name == "ndarray" else builtin_reducer(cls)
    return None if reducer is None else (reducer, number_tag(cls))


NAMED_CACHES.append(exact_way.known)
_REDUCE_EXACT = frozenset("datetime date time timedelta UUID Decimal Random Generator RandomState".split())


# From reduced forms to values. Each may raise any exception for a form that the encoder did not write.


def _build_int(reduced: Any, _argument: str, _binding: Binding) -> int:
    text: str = _exact(reduced, str)
    digits = text.removeprefix("-")
    if digits.startswith("0x"):
        return int(text, 16)
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError("no integer")
    return int(text)


def _unescape_text(text: Any) -> str:
    plain: str = _exact(text, str)
    return plain.encode("ascii").decode("unicode_escape")


def _build_set(reduced: Any, cls: type) -> Any:
    members = _exact(reduced, list)
    built = cls(members)
    if len(built) != len(members):
        raise ValueError("members that are equal")
    return built


def _build_complex(reduced: Any, _argument: str, _binding: Binding) -> complex:
    real, imaginary = _exact(reduced, list)
    return complex(_exact(real, float), _exact(imaginary, float))


def _build_delta(reduced: Any) -> timedelta:
    days, seconds, microseconds = (_exact(part, int) for part in _exact(reduced, list))
    return timedelta(days, seconds, microseconds)


def _builder_of(cls: type, build: Callable[[Any, Any], Any]) -> Callable[[Any, str, Any], Any]:
    """Bind the class, since tests that freeze the clock replace its name in all modules."""
    return lambda reduced, _argument, _binding: build(reduced, cls)


def _build_moment(reduced: Any, cls: Any) -> Any:
    if type(reduced) is str:
        return cls.fromisoformat(reduced)
    parts = _exact(reduced, dict)
    moment = cls.fromisoformat(_exact(parts["iso"], str)).replace(fold=_exact(parts.get("fold", 0), int))
    if "zone" in parts:
        from zoneinfo import ZoneInfo

        return moment.replace(tzinfo=ZoneInfo(_exact(parts["zone"], str)))
    if "offset" in parts:
        return moment.replace(tzinfo=timezone(_build_delta(parts["offset"]), _exact(parts["name"], str)))
    return moment


def _of_text(module: str, name: str) -> Builder:
    return lambda reduced, _argument, _binding: getattr(import_module(module), name)(_exact(reduced, str))


def _build_uuid(reduced: Any, argument: str, _binding: Binding) -> Any:
    import uuid

    return uuid.UUID(_exact(reduced, str), is_safe=uuid.SafeUUID[argument or "unknown"])


def _build_address(reduced: Any, argument: str, _binding: Binding) -> Any:
    import ipaddress

    if argument not in _ADDRESSES:
        raise ValueError("no address")
    return getattr(ipaddress, argument)(_exact(reduced, str))


def _build_path(reduced: Any, argument: str, _binding: Binding) -> Any:
    import pathlib

    if argument and argument not in _PATHS:
        raise ValueError("no path")
    text = _unescape_text(reduced["escaped"]) if type(reduced) is dict else _exact(reduced, str)
    return getattr(pathlib, argument or "Path")(text)


def _build_deque(reduced: Any, argument: str, _binding: Binding) -> deque[Any]:
    members = _exact(reduced, list)
    if not argument:
        return deque(members)
    if len(members) > int(argument):
        raise ValueError("more members than the deque can hold")
    return deque(members, int(argument))


def _build_queue(reduced: Any, argument: str, _binding: Binding) -> Any:
    module, name = _QUEUES[argument]
    parts = _exact(reduced, dict)
    built = getattr(import_module(module), name)()
    items = _exact(parts.get("queue", []), list)
    unfinished = _exact(parts.get(UNFINISHED, len(items)), int)
    _put_items(built, items, _exact(parts.get("maxsize", 0), int), unfinished)
    if _exact(parts.get("is_shutdown", False), bool):
        built.shutdown()
    return built


def _build_counter(reduced: Any, _argument: str, _binding: Binding) -> Counter[Any]:
    built: Counter[Any] = Counter()
    dict.update(built, pairs_of(reduced))
    return built


def _build_defaultdict(reduced: Any, argument: str, binding: Binding) -> Any:
    pairs = pairs_of(reduced)
    if argument == "None":
        return defaultdict(None, pairs)
    name = argument.partition("@")[0]  # the digest of a function follows it
    factory = _FACTORIES.get(name) or binding.factory(name)
    return defaultdict(factory, pairs)


def _span(cls: type) -> Builder:
    def build(reduced: Any, _argument: str, _binding: Binding) -> Any:
        start, stop, step = _exact(reduced, list)
        return cls(start, stop, step)

    return build


BUILDERS: Mapping[str, Builder] = {
    "int": _build_int,
    "float": lambda v, _a, _b: FLOATS_BY_NAME[v],
    "str": lambda v, _a, _b: _unescape_text(v),
    "tuple": lambda v, _a, _b: tuple(_exact(v, list)),
    "set": lambda v, _a, _b: _build_set(v, set),
    "frozenset": lambda v, _a, _b: _build_set(v, frozenset),
    "bytes": lambda v, _a, _b: binascii.a2b_base64(_exact(v, str), strict_mode=True),
    "bytearray": lambda v, _a, _b: bytearray(binascii.a2b_base64(_exact(v, str), strict_mode=True)),
    "map": lambda v, _a, _b: dict(pairs_of(_exact(v, list))),
    "complex": _build_complex,
    "range": _span(range),
    "slice": _span(slice),
    "datetime": _builder_of(datetime, _build_moment),
    "time": _builder_of(time, _build_moment),
    "date": _builder_of(date, lambda v, cls: cls.fromisoformat(_exact(v, str))),
    "timedelta": lambda v, _a, _b: _build_delta(v),
    "uuid": _build_uuid,
    "decimal": _of_text("decimal", "Decimal"),
    "fraction": _of_text("fractions", "Fraction"),
    "ipaddress": _build_address,
    "path": _build_path,
    "deque": _build_deque,
    "queue": _build_queue,
    "OrderedDict": lambda v, _a, _b: OrderedDict(pairs_of(v)),
    "Counter": _build_counter,
    "defaultdict": _build_defaultdict,
    "ellipsis": lambda _v, _a, _b: ...,
    **ARRAY_BUILDERS,
    **CLASS_BUILDERS,
}


# Codecs that users register for their own classes; the only table of this package that can grow.


class RegisteredCodec(NamedTuple):
    """The functions to encode and decode one class."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


REGISTERED: dict[type, RegisteredCodec] = {}
REGISTERED_NAMES: dict[str, RegisteredCodec] = {}


def registered_codec(cls: type) -> RegisteredCodec | None:
    """Return the codec registered for exactly this class."""
    try:
        return REGISTERED.get(cls) if REGISTERED else None
    except Exception as error:  # noqa: BLE001 - a metaclass whose __hash__ or __eq__ raises
        pass_on(error)
        return None


def register_codec(cls: type, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> None:
    """Record instances of exactly this class by `encode`, and restore them by `decode`.

    Args:
        cls: the class; UsageError for types that have a fixed form in the recording.
        encode: returns a dict with string keys, a list or a tuple, a string, a finite number, a bool or None;
            its items may be anything that can be recorded.
        decode: restores the object from that; a tuple arrives as a list.
    """
    if cls in (*SCALARS, list, dict) or builtin_reducer(cls) is not None:
        raise UsageError(f"{class_name(cls)} already has a codec", remedy="register your own class")
    REGISTERED[cls] = REGISTERED_NAMES[class_name(cls)] = RegisteredCodec(encode, decode)
    note_other_forms()


# Facts about a class, computed once.

_LAZY: dict[str, frozenset[str]] = {
    "pandas": frozenset({"_cache", "_item_cache", "_id", "_references", "_is_copy", "_engine", "_readonly"}),
    "numpy.ma": frozenset({"_basedict", "_sharedmask"}),
    "builtins.module": frozenset({"__builtins__"}),
}
"""Attributes that libraries fill on access and that are not part of the content."""


class ClassPlan(NamedTuple):
    """Facts about a class, computed once for all its objects."""

    head: bytes
    base: type
    is_value: bool
    """Objects are compared by content."""
    is_simple: bool
    """Objects have only attributes."""
    is_named: bool
    """Objects may be classes, modules, functions that read a source, or handles."""
    lazy: frozenset[str]
    has_waiters: bool
    """Objects keep a list of waiters, which is not part of their content."""
    form: dict[str, str] | None
    """The beginning of each object's form; None if the form has more than attributes."""
    is_plain: bool
    """Objects consist of their attributes; see `is_plain_class`."""
    carried: Pieces | None
    """The data of a class of data alone that no module has under its name, such as one that `type` made."""


def is_plain_class(cls: type) -> bool:
    """Whether an object of the class consists of its attributes, so that it can be restored from them.

    False for classes that define how they are copied, or what happens on deletion.
    """
    return plan_of(cls).is_plain and registered_codec(cls) is None


def is_all_attributes(cls: type) -> bool:
    """Whether its objects consist of attributes only, and their end runs none of the program's code."""
    return (
        solid_base(cls) is object
        and builtin_reducer(cls) is None
        and registered_codec(cls) is None
        and find_in_classes(cls, "__del__") is None
    )


def container_below(cls: type) -> type | None:
    """Return the builtin container below a class whose objects have its items and attributes only."""
    base = solid_base(cls)
    if base not in _CONTAINERS or find_in_classes(cls, "__del__") is not None:
        return None
    if cls is Counter:
        return base
    has_codec = builtin_reducer(cls) is not None or registered_codec(cls) is not None
    return None if has_codec or class_reducer(cls) is None else base


_CONTAINERS = frozenset({dict, list, tuple, set, frozenset})


def classes_met() -> list[type]:
    """Return the classes of values that were read since they were last forgotten, some of them twice."""
    return [*plan_of.known, *class_reducer.known]


def forget_met(kept: Collection[type] = ()) -> None:
    """Forget the classes that were met, other than these."""
    for known in (plan_of.known, class_reducer.known):
        for cls in [*known]:
            if cls not in kept:
                known.pop(cls, None)


@by_class
def plan_of(cls: type) -> ClassPlan:
    """Return the facts about a class."""
    name = class_text(cls).encode("utf-8", "replace")
    base = solid_base(cls)
    line = [class_name(each) for each in mro_of(cls)]
    lazy = [
        names
        for library, names in _LAZY.items()
        if any(f"{each}.".startswith(f"{library}.") for each in line)
    ]
    lazy += [_cached(each) for each in mro_of(cls)]
    is_value = class_reducer(cls) is not None
    is_simple = base is object and builtin_reducer(cls) is None and registered_codec(cls) is None
    is_named = handle_of(cls) is not None or issubclass(cls, type | ModuleType | StandIn) or cls in CALLABLE
    carried = _carried(cls) if is_simple and not is_named else None
    is_shown = is_simple and not is_value and not is_named and not any(lazy) and not is_lock(cls)
    return ClassPlan(
        head=b"Os%d:" % len(name) + name,
        base=base,
        is_value=is_value,
        is_simple=is_simple,
        is_named=is_named,
        lazy=frozenset[str]().union(*lazy),
        has_waiters=has_waiters(cls),
        form=form_head(cls) if is_shown and carried is None else None,
        is_plain=is_shown
        and not has_own_reduction(cls)
        and find_in_classes(cls, "__del__") is None
        and find_in_classes(cls, "__agent_trace_recorded__") is None,
        carried=carried,
    )


NAMED_CACHES.append(plan_of.known)
_NO_DATA = OF_EVERY_CLASS | {"__annotations__", "__static_attributes__"}


def _carried(cls: type) -> Pieces | None:
    """Return the plain attributes of a class without a name of its own; None if its code may change them."""
    if find_class(class_name(cls)) is cls:
        return None
    own: dict[str, Any] = {}
    for base in reversed(mro_of(cls)[:-1]):
        own |= {name: each for name, each in namespace_of(base).items() if name not in _NO_DATA}
    values = own.values()
    if not own or not all(all_scalars(each if type(each) is tuple else (each,)) for each in values):
        return None
    return Pieces("class", mapping=tuple(sorted(own.items())), algorithm=WITH_MORE)


def _cached(cls: type) -> frozenset[str]:
    """Return the attributes in which a class of an installed library caches derived values.

    Caches of the program's own classes are kept: a replay compares their results.
    """
    namespace = namespace_of(cls)
    names = [name for name, member in namespace.items() if type(member) is cached_property]
    title = namespace.get("__module__") if names else None
    module = sys.modules.get(title) if type(title) is str else None
    file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    return frozenset(names) if type(file) is str and is_installed(file) else frozenset()


def plan_attributes(value: Any, plan: ClassPlan) -> dict[str, Any]:
    """Return attributes by name; for an enum member its name and value."""
    if plan.base is FunctionType or issubclass(plan.base, type):
        return {}  # the readers of these classes include them
    try:
        attributes = attributes_without_waiters(value) if plan.has_waiters else attributes_of(value)
    except ValueError as error:
        raise Unreadable(f"{class_name(type(value))} hides its attributes") from error
    if "_name_" in attributes and "_value_" in attributes:
        return {name: attributes[name] for name in ("_name_", "_value_")}
    if "__module__" in attributes:
        attributes = {**attributes, "__module__": module_name(attributes["__module__"])}
    if plan.lazy or ERROR_MARK in attributes:
        return {
            name: item for name, item in attributes.items() if name not in plan.lazy and name != ERROR_MARK
        }
    return attributes


def with_own(value: object, plan: ClassPlan, content: Content, reading: Reading) -> Content:
    """Add a digest of the object's plain attributes to an environment reference passed in a call."""
    if content.kind is not OpaqueKind.REFERENCE or reading.owner is not None:
        return content
    own = {
        name: item
        for name, item in plan_attributes(value, plan).items()
        if type(item) in SCALARS or (type(item) is tuple and all_scalars(item))
    }
    hides, algorithm, data = reading.hides, ALGORITHM, b""
    with suppress(Exception):  # a secret may not be JSON
        data = _json_of_own(own)
    digest = digest_bytes(imported(data)) if data else ""
    if not data or not (hides is None or (hides, digest) in _without_secrets or hides.is_harmless(own, data)):
        secret = {name for name, item in own.items() if hides is not None and is_secret(name, item, hides)}
        if secret or not data:
            own = {name: own[name] for name in own.keys() - secret}
            algorithm, digest = ALGORITHM + HIDING * bool(secret), digest_bytes(imported(_json_of_own(own)))
        elif len(_without_secrets) < MOST_CLASSES:
            _without_secrets.add((hides, digest))
        else:
            _without_secrets.clear()
    return content._replace(text=f"{content.text}{WITH_OWN}{algorithm}:{digest}")


def _json_of_own(own: dict[str, Any]) -> bytes:
    return write_json(own, DUMP_OPTIONS | orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


_without_secrets: set[tuple[Hides | None, str]] = set()
"""Digests of attributes that were searched for secrets without finding any; agents often share one world."""


WITH_OWN = " with "
"""Separates the class of an environment from the digest of its plain attributes."""
