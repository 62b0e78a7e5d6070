"""Classes seen from outside: their names, the attributes of their instances, and the way back from a name.

Nothing here runs a user's code: metaclasses, properties and hooks are passed by. A name from disk is looked
up among the modules that are already loaded, never imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType, WrapperDescriptorType
from typing import Any, Final, NamedTuple, TypeVar

T = TypeVar("T")

MOST_CLASSES: Final = 4096
"""Of how many classes something is remembered, which keeps them alive; programs may make more and more."""
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement
_NAME_CHARS = 400

# Read through `type` itself, a metaclass cannot answer in its place.
_MODULE: Any = type.__dict__["__module__"]
_QUALNAME: Any = type.__dict__["__qualname__"]
_MRO: Any = type.__dict__["__mro__"]
_DICT: Any = type.__dict__["__dict__"]
_FLAGS: Any = type.__dict__["__flags__"]

_C_MEMBERS = (WrapperDescriptorType, MethodDescriptorType, GetSetDescriptorType)
_OF_INSTANCES = frozenset({"__dict__", "__weakref__"})
_REDUCTIONS = (
    "__getstate__",
    "__setstate__",
    "__reduce__",
    "__reduce_ex__",
    "__getnewargs__",
    "__getnewargs_ex__",
)


def text_or_none(value: object) -> str | None:
    """The value where it is an exact str that UTF-8 can hold, else None."""
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return None  # a lone surrogate
        return value
    return None


def class_name(cls: type) -> str:
    """`module.QualName` of the class, `?` for a part that is no text."""
    try:
        module = text_or_none(_MODULE.__get__(cls))
    except AttributeError:
        module = None
    name = f"{module or '?'}.{text_or_none(_QUALNAME.__get__(cls)) or '?'}"
    return name[:_NAME_CHARS]


def mro_of(cls: type) -> tuple[type, ...]:
    """The true method resolution order."""
    order: tuple[type, ...] = _MRO.__get__(cls)
    return order


def namespace_of(cls: type) -> Mapping[str, Any]:
    """The true `__dict__` of the class."""
    namespace: Mapping[str, Any] = _DICT.__get__(cls)
    return namespace


def _is_heap(cls: type) -> bool:
    flags: int = _FLAGS.__get__(cls)
    return bool(flags & _HEAP_TYPE)


def _is_python_class(cls: type) -> bool:
    if not _is_heap(cls):
        return False
    # Some types of C and Cython are heap types too; they own slot wrappers or computed attributes, a class
    # statement none.
    members = list(namespace_of(cls).items())
    return not any(
        type(m) in _C_MEMBERS and name not in _OF_INSTANCES and m.__objclass__ is cls for name, m in members
    )


def solid_base(cls: type) -> type:
    """The class made in C that decides the layout of an instance: `object` for ordinary classes."""
    return next(base for base in mro_of(cls) if not _is_python_class(base))


def find_in_classes(cls: type, name: str) -> Any:
    """What the class or its bases hold under the name, unbound; None if nothing."""
    for base in mro_of(cls):
        namespace = namespace_of(base)
        if name in namespace:
            return namespace[name]
    return None


def has_own_reduction(cls: type) -> bool:
    """Whether a Python class in its line says itself how it is copied, so attributes alone are not it."""
    for base in mro_of(cls):
        if _is_heap(base):
            namespace = namespace_of(base)
            if any(name in namespace for name in _REDUCTIONS):
                return True
    return False


def is_installed(file: str) -> bool:
    """Whether a module came with Python or was installed, so that it is no module of the program's own."""
    import sysconfig

    if "site-packages" in file or "dist-packages" in file:
        return True
    paths = sysconfig.get_paths()
    return file.startswith(tuple(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")))


_remembered: dict[int, dict[type, Any]] = {}
"""All in which something of classes is remembered, each by its id."""


forgetting: list[Callable[[], None]] = []
"""What forgets classes that are remembered elsewhere."""


def forget_classes() -> None:
    """Forget what was remembered of all classes, which keeps them alive."""
    for known in [*_remembered.values()]:  # a daemon thread may still record
        known.clear()
    for forget in forgetting:
        forget()


def remember(known: dict[type, T], cls: type, found: T) -> T:
    """Keep what was found of a class among what is known of others; what was found."""
    _remembered.setdefault(id(known), known)
    with suppress(Exception):  # a metaclass whose __hash__ or __eq__ raises: then it is found each time again
        if len(known) >= MOST_CLASSES:
            known.clear()
        known[cls] = found
    return found


class _Places(NamedTuple):
    """Where the instances of a class keep their attributes."""

    slots: tuple[tuple[str, MemberDescriptorType], ...]
    instance: Any
    """The descriptor of `__dict__`, None if there is none."""


def _places_of(cls: type) -> _Places:
    try:
        return _PLACES[cls]
    except Exception:  # noqa: BLE001 - not there, or a metaclass whose __hash__ or __eq__ raises
        slots = tuple(
            slot for base in reversed(mro_of(cls)) if _is_python_class(base) for slot in _slots(base).items()
        )
        return remember(_PLACES, cls, _Places(slots, _dict_descriptor(cls)))


_PLACES: dict[type, _Places] = {}


def attributes_of(value: object) -> dict[str, Any]:
    """Instance attributes, from `__dict__` and from slots, read without any hook of the class.

    Raises ValueError where the class hides its `__dict__`.
    """
    cls = type(value)
    places = _places_of(cls)
    found: dict[str, Any] = {}
    for name, member in places.slots:
        try:
            found[name] = member.__get__(value, cls)
        except AttributeError:
            continue  # a slot that was never filled
    if places.instance is not None:
        found.update(_plain_dict(places.instance.__get__(value, cls)))
    return found


def _slots(cls: type) -> dict[str, MemberDescriptorType]:
    members = list(namespace_of(cls).items())
    return {n: m for n, m in members if type(m) is MemberDescriptorType and m.__objclass__ is cls}


def _instance_dict(value: object) -> dict[str, Any] | None:
    getter = _dict_descriptor(type(value))
    return None if getter is None else _plain_dict(getter.__get__(value, type(value)))


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
    """Put attributes back where `attributes_of` found them; ValueError where there is no place for one."""
    slots: dict[str, MemberDescriptorType] = {}
    for base in reversed(mro_of(type(value))):
        if _is_heap(base):
            slots.update(_slots(base))
    instance = _instance_dict(value)
    for name, attribute in attributes.items():
        if name in slots:
            slots[name].__set__(value, attribute)
        elif instance is not None and type(name) is str:
            instance[name] = attribute
        else:
            raise ValueError(f"no place for the attribute {name!r}")


def remove_attributes(value: object, names: Iterable[str]) -> None:
    """Take away attributes that `attributes_of` finds, past every hook of the class."""
    slots = dict(_places_of(type(value)).slots)
    instance = _instance_dict(value) or {}
    for name in names:
        if name in slots:
            slots[name].__delete__(value)
        else:
            instance.pop(name, None)


def find_class(name: str) -> type | None:
    """The loaded class of exactly this `module.QualName`, None where no loaded module holds one."""
    if len(name) > _NAME_CHARS:
        return None
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:cut]))
        if module is None:
            continue
        found = _walk(module, parts[cut:])
        if (
            found is not None
            and class_name(found) == name
            and _MODULE.__get__(found) == ".".join(parts[:cut])
        ):
            return found
    return None


def _walk(module: object, names: list[str]) -> type | None:
    # By way of `__dict__`, so that neither a lazy module nor a module's `__getattr__` wakes up.
    try:
        namespace: Any = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return None
    found: Any = None
    for name in names:
        if not hasattr(namespace, "get"):
            return None
        found = namespace.get(name)
        if not issubclass(type(found), type):
            return None
        namespace = namespace_of(found)
    return found if issubclass(type(found), type) else None
