"""Codecs of user classes: enums, dataclasses, pydantic models, named tuples, subclasses of builtins.

Decoding finds the class by name. No user constructor runs: the builtin base class creates the instance, and
its attributes are restored.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from enum import EnumType, Flag
from functools import cached_property, partial
from functools import reduce as fold
from operator import is_, or_
from typing import Any, Final, NamedTuple, TypeAlias

from Agent.event.classes import (
    attributes_of,
    by_class,
    class_name,
    find_class,
    find_in_classes,
    has_own_reduction,
    known_name,
    mro_of,
    own_attributes,
    remember,
    restore_attributes,
    solid_base,
    text_or_none,
)
from Agent.event.script_names import NAMED_CACHES, text_elsewhere
from Agent.event.values.digest import ALGORITHM, HIDING, leaves_out_secrets
from Agent.event.values.opaque import Content, OpaqueKind
from Agent.event.values.plain import SCALARS, all_scalars
from Agent.event.values.reading import Hides, Limits, is_secret

Reducer: TypeAlias = Callable[[Any, Limits], tuple[str, Any]]
"""Takes a value; returns (tag, reduced form)."""


class Binding:
    """Resolves class names in tags: the caller's choice, else the loaded class of exactly that name."""

    def __init__(self, codecs: Mapping[str, Any] | None) -> None:
        self.codecs: Mapping[str, Any] = codecs or {}

    def find(self, name: str, fits: Callable[[type], bool]) -> type:
        """Return the class if it is of the kind in the tag; raise LookupError otherwise."""
        chosen = self.codecs.get(name)
        cls = chosen if chosen is not None else find_class(name)
        if cls is None or not issubclass(type(cls), type) or not fits(cls):
            raise LookupError(name)
        return cls

    def module(self, name: str) -> Any:
        """Return the loaded module of a name (`__main__`: the recorded script); LookupError if missing."""
        chosen = self.codecs.get(name) if name == "__main__" else None
        found = sys.modules.get(name) if chosen is None else chosen
        if found is None:
            raise LookupError(name)
        return found

    def factory(self, name: str) -> Callable[[], Any]:
        """Return a defaultdict's factory: any callable from the caller, else a loaded class."""
        chosen = self.codecs.get(name)
        return chosen if callable(chosen) else self.find(name, lambda _: True)


Builder: TypeAlias = Callable[[Any, str, Binding], Any]
"""Takes (reduced form, argument of the tag, binding); returns the value."""


def is_record(cls: type) -> bool:
    """Whether instances are restored from attributes alone: dataclasses and attrs classes."""
    return class_reducer(cls) is _reduce_dataclass


@by_class  # inspecting a class costs more than recording an instance
def class_reducer(cls: type) -> Reducer | None:
    """Return the codec for instances of a user class; None if they cannot be restored."""
    if find_in_classes(cls, "__agent_trace_recorded__") is not None:
        return None  # a model whose calls are recorded: its class name would restore a different one
    if _is_enum(cls):
        return _reduce_enum
    if _is_dataclass(cls):
        return _reduce_dataclass
    if is_model(cls):
        return _reduce_model
    if _is_namedtuple(cls):
        return _reduce_namedtuple
    if _is_builtin_subclass(cls):
        return _reduce_subclass
    return None


def _is_enum(cls: type) -> bool:
    return issubclass(type(cls), EnumType)


def _is_dataclass(cls: type) -> bool:
    """Whether a decorator made it a class of declared fields: `dataclass`, or one of attrs."""
    is_declared = type(find_in_classes(cls, "__dataclass_fields__")) is dict or issubclass(
        type(find_in_classes(cls, "__attrs_attrs__")), tuple
    )
    return is_declared and solid_base(cls) is object and not _is_enum(cls)


def is_model(cls: type) -> bool:
    """Whether it is a pydantic model class, in which case pydantic is loaded."""
    base = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    return base is not None and any(each is base for each in mro_of(cls)) and cls is not base


def _is_namedtuple(cls: type) -> bool:
    if solid_base(cls) is not tuple:
        return False
    fields = find_in_classes(cls, "_fields")
    return type(fields) is tuple and all(type(f) is str for f in fields)


def _is_builtin_subclass(cls: type) -> bool:
    # A named tuple's reduction contains only its fields.
    says_itself = has_own_reduction(cls) and not _is_namedtuple(cls)
    return solid_base(cls) in _EXACT and not says_itself and not _is_enum(cls)


def _parts(cls: type, names: str) -> Callable[[Any], dict[str, Any]]:
    """Return a function that reads attributes of a builtin, whatever a subclass has under their names."""
    read = {name: getattr(cls, name).__get__ for name in names.split()}
    return lambda value: {name: get(value) for name, get in read.items()}


# Keyed by class, since tests that freeze the clock replace the classes' names in all modules.
_PARTS_OF_TIMES: dict[type, Callable[[Any], dict[str, Any]]] = {
    datetime: _parts(datetime, "year month day hour minute second microsecond tzinfo fold"),
    date: _parts(date, "year month day"),
    time: _parts(time, "hour minute second microsecond tzinfo fold"),
    timedelta: _parts(timedelta, "days seconds microseconds"),
}


def _slice(cls: Any) -> Callable[[Any], Any]:
    return lambda value: cls.__getitem__(value, slice(None))


def _copier(cls: Any) -> Callable[[Any], Any]:
    return lambda value: cls(**_PARTS_OF_TIMES[cls](value))


# Read subclasses by the builtin's own methods: a user's override may return something else.
_EXACT: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    complex: complex.__pos__,
    dict: lambda v: dict(dict.items(v)),
    set: lambda v: set(set.__iter__(v)),
    frozenset: lambda v: frozenset(frozenset.__iter__(v)),
    **{cls: _slice(cls) for cls in (bytes, bytearray, list, tuple)},
    **{cls: _copier(cls) for cls in _PARTS_OF_TIMES},
}


def _made(base: Any, cls: type, content: Any) -> Any:
    """Make an instance of a class derived from a builtin, without the class's own code."""
    if base in _PARTS_OF_TIMES:
        return base.__new__(cls, **_PARTS_OF_TIMES[base](content))
    if base.__hash__ is not None:  # immutable
        return base.__new__(cls, content)
    instance = base.__new__(cls)
    base.__init__(instance, content)
    return instance


def _reduce_enum(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001 - one signature for all
    cls = type(value)
    members: Mapping[str, Any] = EnumType.__members__.__get__(cls)
    tag = f"{MEMBER}{known_name(cls)}"
    own_name = own_attributes(value).get("_name_")
    if type(own_name) is str and members.get(own_name) is value:
        if text_or_none(own_name) is None:
            raise ValueError("a name that is not a text")
        return tag, own_name
    parts = [
        name
        for name, member in members.items()
        if member.value and member.value & value.value == member.value
    ]
    if _combine(cls, members, parts) is not value:
        raise ValueError("not a combination of members")
    return tag, parts


MEMBER: Final = "enum:"
"""Prefix of the tags of members of enums: the class and `@` follow, and what the member is."""


class _Member(NamedTuple):
    """The tag of a member as long as it has the same attributes."""

    member: Any
    hides: Hides | None
    """Kept like the member, so that no other object gets its `id()`."""
    attributes: tuple[Any, ...]
    tag: str


_members: dict[Any, _Member] = {}
"""{(id of a member whose attributes are immutable, id of what hides secrets): its tag}."""
NAMED_CACHES.append(_members)


def known_tag_of_member(value: Any, hides: Hides | None) -> str | None:
    """Return what `tag_of_member` returned for a member last, if that is still its tag."""
    known = _members.get((id(value), id(hides)))
    if known is None:
        return None
    attributes = own_attributes(value)
    is_same = len(known.attributes) == len(attributes) and all(
        map(is_, attributes.values(), known.attributes)
    )
    return known.tag if is_same else None


def tag_of_member(tag: str, value: Any, hides: Hides | None, read: Callable[[object], Content]) -> str:
    """Return the tag of a member of an enum, with a short value itself or a digest of all that it has.

    Args:
        tag: the tag without that.
        value: the member.
        hides: recognises secrets.
        read: returns the content of a value, without its secrets.
    """
    known = known_tag_of_member(value, hides)
    if known is not None:
        return known
    cls, attributes = type(value), own_attributes(value)
    name, content = text_or_none(attributes.get("_name_")) or "", attributes.get("_value_")
    own = {
        key: item
        for key, item in attributes.items()
        if not (key.startswith("_") and key.endswith("_"))
        and type(find_in_classes(cls, key)) is not cached_property
    }
    whole = {**own, name: content}
    base = solid_base(cls)
    exact = _EXACT[base](value) if base in _EXACT else content
    if type(exact) is not type(content) or exact != content:
        whole[base.__name__] = exact
    text = _short_text(content) if len(whole) == 1 else ""
    if not text or (
        hides is not None and any(is_secret(each, content, hides) for each in (name, cls.__name__))
    ):
        is_denied = hides is not None and hides.is_denied(cls.__name__)
        found = read({cls.__name__: whole} if is_denied else whole)
        if found.kind is not OpaqueKind.COMPARABLE:
            return tag
        algorithm, _, digest = found.text.partition(":")
        if found.without_code:  # as for methods, the name of a function counts, in any version of Python
            algorithm = ALGORITHM + HIDING * leaves_out_secrets(found.text)
            digest = found.without_code.partition(":")[2]
        text = f"{algorithm}:{digest}"
    tag = f"{tag}@{text}"
    if all(
        type(each) in _FIXED or each is cls or (type(each) is tuple and all_scalars(each))
        for each in attributes.values()
    ):
        place: Any = id(value), id(hides)
        remember(_members, place, _Member(value, hides, tuple(attributes.values()), tag))
    return tag


_FIXED = SCALARS | {bytes}
_LONGEST_SHOWN = 40


def _short_text(value: Any) -> str:
    """Return a short number or text as Python writes it, if that is the same in every process; else ""."""
    kind = type(value)
    if kind is str:
        is_same = len(value) <= _LONGEST_SHOWN and value.isascii() and text_elsewhere(value) == value.encode()
        shown = repr(value)
        return (
            shown if is_same and shown[1:-1] == value and shown[0] == "'" and "__main__" not in value else ""
        )
    if kind is int and value.bit_length() > _MOST_BITS:
        return ""
    return repr(value) if kind in SCALARS else ""


_MOST_BITS = 64


def _combine(cls: Any, members: Mapping[str, Any], names: list[str]) -> Any:
    if not issubclass(cls, Flag):
        raise TypeError("a combination of members of an enum that is not a Flag")
    return fold(or_, (members[name] for name in names), cls(0))


def _build_enum(reduced: Any, argument: str, binding: Binding) -> Any:
    cls = binding.find(argument.partition("@")[0], _is_enum)
    members: Mapping[str, Any] = EnumType.__members__.__get__(cls)
    return members[reduced] if type(reduced) is str else _combine(cls, members, reduced)


def _reduce_dataclass(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001
    return f"dataclass:{class_name(type(value))}", attributes_of(value)


def _build_instance(name: str, reduced: Any, argument: str, binding: Binding) -> Any:
    instance, usual = bare_instance(name, argument, binding)
    restore_attributes(instance, usual | dict(pairs_of(reduced)))
    return instance


_FIELDS_SET = "__pydantic_fields_set__"
_PARTS = ("__pydantic_extra__", "__pydantic_private__")


def _reduce_model(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001
    """Return the fields, and the model's other state where it differs from that of most models."""
    cls = type(value)
    attributes = attributes_of(value)
    fields_set = attributes.pop(_FIELDS_SET, None)
    if fields_set != _fields_of(cls):
        attributes[_FIELDS_SET] = fields_set
    for name in _PARTS:
        if attributes.get(name, _PARTS) is None:
            del attributes[name]
    return f"pydantic:{class_name(cls)}", attributes


def _fields_of(cls: type) -> set[str]:
    fields = find_in_classes(cls, "__pydantic_fields__")
    return set(fields) if type(fields) is dict else set()


def bare_instance(name: str, argument: str, binding: Binding) -> tuple[Any, dict[str, Any]]:
    """Return an empty instance of a dataclass or model, and the attributes it has if none are recorded."""
    is_of_pydantic = name == "pydantic"
    cls = binding.find(argument, is_model if is_of_pydantic else _is_dataclass)
    usual = {_FIELDS_SET: _fields_of(cls), **dict.fromkeys(_PARTS)} if is_of_pydantic else {}
    return object.__new__(cls), usual


def pairs_of(reduced: Any) -> list[tuple[Any, Any]]:
    """Return the items of a mapping in either form, object or list of pairs; ValueError for other forms."""
    if type(reduced) is dict:
        return list(reduced.items())
    if type(reduced) is list and all(type(pair) is list and len(pair) == 2 for pair in reduced):
        return [(key, value) for key, value in reduced]
    raise ValueError("neither an object nor a list of pairs")


def _reduce_namedtuple(value: Any, limits: Limits) -> tuple[str, Any]:
    if attributes_of(value):  # a class without `__slots__`
        return _reduce_subclass(value, limits)
    cls = type(value)
    fields = find_in_classes(cls, "_fields")
    items = tuple.__getitem__(value, slice(None))
    if len(items) != len(fields):
        raise ValueError("not as many values as fields")
    return f"namedtuple:{class_name(cls)}", dict(zip(fields, items, strict=True))


def _build_namedtuple(reduced: Any, argument: str, binding: Binding) -> Any:
    cls = binding.find(argument, _is_namedtuple)
    fields = find_in_classes(cls, "_fields")
    if type(reduced) is not dict or len(reduced) != len(fields):
        raise ValueError("other fields")
    return tuple.__new__(cls, [reduced[name] for name in fields])


def _reduce_subclass(value: Any, limits: Limits) -> tuple[str, Any]:  # noqa: ARG001
    cls = type(value)
    tag = f"subclass:{class_name(cls)}"
    base = solid_base(cls)
    exact = _EXACT[base](value)
    attributes = attributes_of(value)
    if not attributes and _stands_alone(exact, base):
        return tag, list(exact) if base is tuple else exact
    return tag, {"value": exact, "attributes": attributes}


def _stands_alone(exact: Any, base: type) -> bool:
    """Whether the builtin value is plain JSON itself, so that it needs only the subclass tag."""
    if base is str:
        return text_or_none(exact) is not None
    if base is int:
        return bool(-(2**63) <= exact < 2**64)
    if base is float:
        return math.isfinite(exact)
    if base is dict:
        # A dict with the keys of the longer form would be read as that form.
        return all(type(key) is str for key in list(exact)) and bool(exact.keys() != _LONG_FORM)
    return base in (list, tuple)


_LONG_FORM = {"value", "attributes"}


def _build_subclass(reduced: Any, argument: str, binding: Binding) -> Any:
    cls = binding.find(argument, _is_builtin_subclass)
    base = solid_base(cls)
    attributes: Any = {}
    if type(reduced) is dict and reduced.keys() == _LONG_FORM:
        reduced, attributes = reduced["value"], reduced["attributes"]
    elif type(reduced) is list and base is tuple:
        reduced = tuple(reduced)
    elif type(reduced) is list and base is dict:
        reduced = dict(reduced)
    if type(reduced) is not base or type(attributes) is not dict:
        raise ValueError(f"no {base.__name__}")
    instance = _made(base, cls, reduced)
    if attributes:
        restore_attributes(instance, attributes)
    return instance


BUILDERS: Mapping[str, Builder] = {
    "enum": _build_enum,
    "dataclass": partial(_build_instance, "dataclass"),
    "pydantic": partial(_build_instance, "pydantic"),
    "namedtuple": _build_namedtuple,
    "subclass": _build_subclass,
}
