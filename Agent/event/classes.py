"""The names of classes, the attributes of their instances, and the lookup of a class by its name.

Nothing here runs the user's code: metaclasses, properties and hooks are bypassed. A name from disk is looked
up in the modules that are already loaded; no module is imported for it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache, partial, wraps
from types import GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType, WrapperDescriptorType
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast

from Agent.event.limits_of_time import pass_on

T = TypeVar("T")

ERROR_MARK: Final = "__agent_trace_error__"
"""The attribute of a recorded exception: the ids of its session and event; it is not part of the content."""
MOST_CLASSES: Final = 4096
"""The size limit of a cache by class: an entry keeps its class alive, and a program may create any number."""
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement
_NAME_CHARS = 400

# Descriptors of `type` itself, so that a metaclass cannot override what they return.
_MODULE: Any = type.__dict__["__module__"]
_QUALNAME: Any = type.__dict__["__qualname__"]
_MRO: Any = type.__dict__["__mro__"]
_DICT: Any = type.__dict__["__dict__"]
_FLAGS: Any = type.__dict__["__flags__"]

_C_MEMBERS = (WrapperDescriptorType, MethodDescriptorType, GetSetDescriptorType)
_OF_INSTANCES = frozenset({"__dict__", "__weakref__"})
_REDUCTIONS = "__getstate__ __setstate__ __reduce__ __reduce_ex__ __getnewargs__ __getnewargs_ex__".split()


def text_or_none(value: object) -> str | None:
    """Return the value if it is exactly a str (no subclass) that UTF-8 can encode, else None."""
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return None  # a lone surrogate
        return value
    return None


def name_or_kind(name: object) -> str:
    """Return a name that is a text, else the text of its class: a key to sort attributes by."""
    return text_or_none(name) or repr(type(name))


def module_of_class(cls: type) -> str:
    """Return the name of a class's module, even if a metaclass overrides it; `?` if it is not text."""
    try:
        return text_or_none(_MODULE.__get__(cls)) or "?"
    except AttributeError:
        return "?"


def class_name(cls: type) -> str:
    """Return `module.QualName` of a class, with `?` for a part that is not text."""
    name = f"{module_of_class(cls)}.{text_or_none(_QUALNAME.__get__(cls)) or '?'}"
    return name[:_NAME_CHARS]


def known_name(cls: type) -> str:
    """Return the same as `class_name`, cached until the class has another module or name."""
    parts = _MODULE.__get__(cls), _QUALNAME.__get__(cls)
    try:
        module, qualname, name = _known_names[cls]
        if module is parts[0] and qualname is parts[1]:
            return name
    except Exception as error:  # noqa: BLE001 - not cached yet, or a metaclass whose __hash__ or __eq__ raises
        pass_on(error)
    return remember(_known_names, cls, (*parts, class_name(cls)))[2]


_known_names: dict[type, tuple[object, object, str]] = {}


def mro_of(cls: type) -> tuple[type, ...]:
    """Return the method resolution order, even if a metaclass overrides `__mro__`."""
    order: tuple[type, ...] = _MRO.__get__(cls)
    return order


def namespace_of(cls: type) -> Mapping[str, Any]:
    """Return the `__dict__` of a class, even if a metaclass overrides it."""
    namespace: Mapping[str, Any] = _DICT.__get__(cls)
    return namespace


def _is_heap(cls: type) -> bool:
    flags: int = _FLAGS.__get__(cls)
    return bool(flags & _HEAP_TYPE)


def _is_python_class(cls: type) -> bool:
    if not _is_heap(cls):
        return False
    # Some types made in C or Cython are heap types too. They have slot wrappers or computed attributes; a
    # class made by a class statement has none.
    members = list(namespace_of(cls).items())
    return not any(
        type(m) in _C_MEMBERS and name not in _OF_INSTANCES and m.__objclass__ is cls for name, m in members
    )


def solid_base(cls: type) -> type:
    """Return the class made in C that determines the layout of an instance: `object` for ordinary classes."""
    return next(base for base in mro_of(cls) if not _is_python_class(base))


def find_in_classes(cls: type, name: str) -> Any:
    """Return the unbound attribute of that name from the class or its bases, None if it is missing."""
    for base in mro_of(cls):
        namespace = namespace_of(base)
        if name in namespace:
            return namespace[name]
    return None


def has_own_reduction(cls: type) -> bool:
    """Return whether the class or a base customises pickling, so that attributes alone do not restore it."""
    heaps = (namespace_of(base) for base in mro_of(cls) if _is_heap(base))
    return any(name in namespace for namespace in heaps for name in _REDUCTIONS)


@lru_cache(maxsize=1024)
def is_installed(file: str) -> bool:
    """Return whether a file belongs to Python or an installed package, not to the user's program."""
    import sysconfig

    if "site-packages" in file or "dist-packages" in file:
        return True
    paths = sysconfig.get_paths()
    return file.startswith(tuple(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")))


def is_of_library(path: str) -> bool:
    """Return whether a file belongs to an installed library."""
    return "-packages" in path and _INSTALLED.search(path) is not None


_INSTALLED = re.compile(r"(?:^|[\\/])(?:site|dist)-packages(?:[\\/]|$)")

_remembered: dict[int, dict[type, Any]] = {}
"""{`id()` of a cache: the cache}, for all caches by class."""


forgetting: list[Callable[[], None]] = []
"""Functions that clear other caches of classes; `note_other_forms` calls them."""


def forget_classes() -> None:
    """Clear all caches by class, so that unused classes can be freed."""
    for known in [*_remembered.values()]:  # a daemon thread may still record
        known.clear()
    note_other_forms()


def note_other_forms() -> None:
    """Clear what other caches know of classes: objects of one of them have another form from now on."""
    for forget in forgetting:
        forget()


def remember(known: dict[type, T], cls: type, fact: T) -> T:
    """Store a fact about a class in a cache, and return the fact. A full cache is cleared first."""
    _remembered.setdefault(id(known), known)
    with suppress(Exception):  # __hash__ or __eq__ of a metaclass raised: the fact is computed at each call
        if len(known) >= MOST_CLASSES:
            known.clear()
        known[cls] = fact
    return fact


class ByClass(Protocol[T]):
    """A function of a class that computes its result once for each class."""

    known: dict[type, T]
    """The results so far."""

    def __call__(self, cls: type, /) -> T:
        """Return the result for a class."""


def by_class(find: Callable[[type], T]) -> ByClass[T]:
    """Decorate a function so that it computes its result once for each class."""
    known: dict[type, T] = {}

    @wraps(find)
    def of(cls: type, /) -> T:
        try:
            return known[cls]
        except Exception as error:  # noqa: BLE001 - not known yet, or a metaclass whose __hash__ or __eq__ raises
            pass_on(error)
            return remember(known, cls, find(cls))

    decorated = cast("ByClass[T]", of)
    decorated.known = known
    return decorated


class _Places(NamedTuple):
    """The storage of the attributes of a class's instances."""

    slots: tuple[tuple[str, MemberDescriptorType], ...]
    instance: Any
    """The descriptor of `__dict__`, or what reads it in its place; None if instances have no `__dict__`."""


@by_class
def places_of(cls: type) -> _Places:
    """Return where instances of a class keep their attributes."""
    bases = [base for base in reversed(mro_of(cls)) if _is_python_class(base)]
    last = {name: base for base in bases for name in _slots(base)}
    slots = tuple(
        (name if last[name] is base else _hidden_name(base, name), slot)
        for base in bases
        for name, slot in _slots(base).items()
    )
    instance = _dict_descriptor(cls)
    return _Places(slots, _DICT_OF_PARTIAL if instance is not None and is_partial(cls) else instance)


class _DictOfPartial:
    """Reads the `__dict__` of a partial like a descriptor, but makes none.

    Asking for it would make it, and CPython joins nested partials only while the inner one has none.
    """

    def __get__(self, value: Any, cls: type | None = None) -> dict[str, Any]:
        state = _REDUCE_PARTIAL(value)[2]
        attributes: dict[str, Any] | None = state[3]
        return {} if attributes is None else attributes


_REDUCE_PARTIAL: Any = vars(partial)["__reduce__"]
_DICT_OF_PARTIAL = _DictOfPartial()


@by_class
def is_partial(cls: type) -> bool:
    """Whether it is `functools.partial` in C or derived from it, with its way to tell the attributes."""
    return (
        type(_REDUCE_PARTIAL) is MethodDescriptorType
        and partial in mro_of(cls)
        and find_in_classes(cls, "__reduce__") is _REDUCE_PARTIAL
    )


def _hidden_name(cls: type, name: str) -> str:
    """Return the name of a slot whose own name is that of a slot of a derived class, or in `__dict__`."""
    return f"{class_name(cls).rpartition('.')[2]}.{name}"


def attributes_of(value: object) -> dict[str, Any]:
    """Read the attributes of an instance, from `__dict__` and slots, without calling any hook of the class.

    Raises ValueError if the class hides its `__dict__`.
    """
    return own_attributes(value).copy()


def own_attributes(value: object) -> dict[str, Any]:
    """Return the same without a copy: the `__dict__` itself if the class has no slots; do not change it."""
    cls = type(value)
    places = places_of(cls)
    if places.slots or places.instance is None:
        return _with_slots(value, cls, places)
    try:
        attributes = places.instance.__get__(value, cls)
    except AttributeError:  # a proxy of wrapt, as OpenTelemetry uses, around an object without `__dict__`
        return {}
    return attributes if type(attributes) is dict else _plain_dict(attributes)


@by_class
def has_own_lookup(cls: type) -> bool:
    """Whether a `__getattribute__` of the program looks up the attributes of the class's objects."""
    return type(find_in_classes(cls, "__getattribute__")) is not WrapperDescriptorType


def attribute_or_none(value: object, name: str) -> Any:
    """Return an attribute, None if it is missing; a `__getattribute__` of the program is not called."""
    if has_own_lookup(type(value)):
        try:
            return object.__getattribute__(value, name)
        except AttributeError:
            return None
    return getattr(value, name, None)


def _own_dict(value: object, cls: type, instance: Any) -> dict[str, Any]:
    try:
        return _plain_dict(instance.__get__(value, cls))
    except AttributeError:  # as above
        return {}


def _with_slots(value: object, cls: type, places: _Places) -> dict[str, Any]:
    attributes = in_slots(value, places.slots)
    own = {} if places.instance is None else _own_dict(value, cls, places.instance)
    if own and not attributes.keys().isdisjoint(own):
        slots = dict(places.slots)
        attributes = {
            _hidden_name(slots[name].__objclass__, name) if name in own else name: item
            for name, item in attributes.items()
        }
    attributes.update(own)
    return attributes


def _in_slots(value: object, slots: tuple[tuple[str, MemberDescriptorType], ...]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for name, member in slots:
        try:
            attributes[name] = member.__get__(value, type(value))
        except AttributeError:
            continue  # a slot that was never filled
    return attributes


in_slots: Callable[[object, tuple[tuple[str, MemberDescriptorType], ...]], dict[str, Any]] = _in_slots
"""Returns the values in the slots of an object; `record/` replaces it by a C function."""


def _slots(cls: type) -> dict[str, MemberDescriptorType]:
    members = list(namespace_of(cls).items())
    return {n: m for n, m in members if type(m) is MemberDescriptorType and m.__objclass__ is cls}


def _instance_dict(value: object) -> dict[str, Any] | None:
    getter = _dict_descriptor(type(value))
    return None if getter is None else _plain_dict(getter.__get__(value, type(value)))


@by_class
def hides_dict(cls: type) -> bool:
    """Whether asking an object of the class for its `__dict__` runs code of the program."""
    try:
        _dict_descriptor(cls)
    except ValueError:
        return True
    return False


def _dict_descriptor(cls: type) -> Any:
    for base in mro_of(cls):
        namespace = namespace_of(base)
        if "__dict__" in namespace:
            getter: Any = namespace["__dict__"]
            if type(getter) not in (GetSetDescriptorType, MemberDescriptorType):
                raise ValueError("the class hides its __dict__")
            return getter
    return None


def _plain_dict(instance: object) -> dict[str, Any]:
    if type(instance) is not dict:
        raise ValueError("the instance has no plain __dict__")
    return instance


def restore_attributes(value: object, attributes: Mapping[Any, Any]) -> None:
    """Set attributes in the slots and the `__dict__` of an instance; ValueError if one cannot be stored."""
    slots: dict[str, MemberDescriptorType] = {}
    for base in reversed(mro_of(type(value))):
        if _is_heap(base):
            slots.update(_slots(base))
    slots.update(places_of(type(value)).slots)
    instance = _instance_dict(value) if attributes else None  # asking for the one of a partial makes it
    for name, attribute in attributes.items():
        if name in slots:
            slots[name].__set__(value, attribute)
        elif instance is not None and type(name) is str:
            instance[name] = attribute
        else:
            raise ValueError(f"no place for the attribute {name!r}")


def remove_attributes(value: object, names: Iterable[str]) -> None:
    """Delete attributes from slots and `__dict__` without calling any hook of the class."""
    slots = dict(places_of(type(value)).slots)
    instance = _instance_dict(value) or {}
    for name in names:
        if name in slots:
            slots[name].__delete__(value)
        else:
            instance.pop(name, None)


def find_class(name: str) -> type | None:
    """Find the class with this `module.QualName` in the loaded modules; None if it is missing."""
    if len(name) > _NAME_CHARS:
        return None
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:cut]))
        if module is None:
            continue
        cls = _walk(module, parts[cut:])
        if cls is not None and class_name(cls) == name and _MODULE.__get__(cls) == ".".join(parts[:cut]):
            return cls
    return None


def _walk(module: object, names: list[str]) -> type | None:
    # Read from `__dict__`: `getattr` would load a lazy module or call a module's `__getattr__`.
    try:
        namespace: Any = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return None
    value: Any = None
    for name in names:
        if not hasattr(namespace, "get"):
            return None
        value = namespace.get(name)
        if not issubclass(type(value), type):
            return None
        namespace = namespace_of(value)
    return value if issubclass(type(value), type) else None


_OF_PROCESS = {
    "threading.Thread": frozenset(
        "_started _is_stopped _initialized _ident _native_id _tstate_lock _handle _os_thread_handle _stderr "
        "_invoke_excepthook".split()
    ),
    "multiprocessing.process.BaseProcess": frozenset({"_parent_pid", "_config", "_popen", "_sentinel"}),
}


def attributes_of_process(cls: type) -> frozenset[str]:
    """Return the attributes by which a thread or process knows how it runs; they are no state."""
    found = (_OF_PROCESS.get(class_name(base)) for base in mro_of(cls))
    return next((names for names in found if names is not None), frozenset())
