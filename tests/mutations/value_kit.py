"""What the expressions of `value_kinds.py` are written with: small classes and functions, one for each way to hold a value.

A generated program imports all of it. Nothing here knows Agent Trace.
"""

# ruff: noqa: F401, PYI024 - the expressions use these names, and named tuples of both sorts

from __future__ import annotations

import abc
import argparse
import array
import ast
import asyncio
import calendar
import collections
import collections.abc
import concurrent.futures
import configparser
import contextlib
import contextvars
import ctypes
import dataclasses
import datetime
import decimal
import email.message
import enum
import fractions
import functools
import graphlib
import hashlib
import http.cookies
import inspect
import io
import ipaddress
import itertools
import json
import math
import operator
import pathlib
import pprint
import queue
import random
import re
import sched
import statistics
import string
import struct
import textwrap
import threading
import time
import tokenize
import types
import typing
import unittest.mock
import urllib.parse
import uuid
import weakref
import xml.etree.ElementTree as ElementTree
import zoneinfo
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, UserString, defaultdict, deque
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PosixPath, PurePosixPath, PureWindowsPath
from types import MappingProxyType, SimpleNamespace
from uuid import UUID

import numpy as np
import pandas as pd
import pydantic
import pydantic.dataclasses

nan, inf = math.nan, math.inf


class Box:
    """A plain object."""

    def __init__(self, a=None):
        self.a = a

    def get(self):
        return self.a

    @property
    def shown(self):
        return self.a

    @functools.cached_property
    def cached(self):
        return self.a

    @staticmethod
    def fixed(y):
        return y

    @classmethod
    def named(cls):
        return cls.__name__


class Kept(Box):
    """One that looks the same from outside, whatever it holds."""

    def __repr__(self):
        return "Kept"

    def __eq__(self, other):
        return isinstance(other, Kept)

    def __hash__(self):
        return 1


class Broken(Box):
    """One that cannot be looked at through its own methods."""

    def __repr__(self):
        raise RuntimeError("no repr")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


class Hidden(Box):
    """One whose attributes have private names."""

    def __init__(self, a):
        self.__inner = a
        self._kept = 1

    def reveal(self):
        return self.__inner


class Guarded:
    """One that answers for attributes that it does not have."""

    def __init__(self, a):
        self.__dict__["a"] = a

    def __getattr__(self, name):
        return None if name.startswith("__") else f"no {name}"


class Slotted:
    """An object without a dictionary."""

    __slots__ = ("__weakref__", "a", "empty")

    def __init__(self, a):
        self.a = a


class SlottedAndMore(Slotted):
    """Slots of the parent, and a dictionary."""

    def __init__(self, a, b):
        super().__init__(a)
        self.b = b


class Pickled(Box):
    """One with a state of its own for pickle, which leaves something out."""

    def __getstate__(self):
        return {}

    def __reduce__(self):
        return (Pickled, ())


class Copied(Box):
    """One whose copies are empty."""

    def __deepcopy__(self, memo):
        return Copied()

    __copy__ = __deepcopy__


class Called(Box):
    """One that can be called."""

    def __call__(self):
        return self.a


class Managed(Box):
    """A context manager, a descriptor and an iterator at once."""

    def __enter__(self):
        return self.a

    def __exit__(self, *_):
        return None

    def __iter__(self):
        raise RuntimeError("it may not be iterated")

    def __len__(self):
        raise RuntimeError("it has no length")

    def __bool__(self):
        raise RuntimeError("it is neither true nor false")


class Node:
    """A node of a tree that knows its parent."""

    def __init__(self, a, parent=None):
        self.a, self.parent, self.children = a, parent, []
        if parent is not None:
            parent.children.append(self)


class Meta(type):
    """A metaclass."""


def parent_of(a):
    parent = Node(1)
    Node(a, parent)
    return parent


class OfMeta(metaclass=Meta):
    """A class of a metaclass."""

    def __init__(self, a):
        self.a = a


class Abstract(abc.ABC):
    """An abstract class."""

    @abc.abstractmethod
    def get(self): ...


class Concrete(Abstract):
    """What implements it."""

    def __init__(self, a):
        self.a = a

    def get(self):
        return self.a


T = typing.TypeVar("T")


class Typed(typing.Generic[T]):
    """A generic class."""

    def __init__(self, a: T):
        self.a = a


class Ints(list):
    """A list with attributes."""


class Table(dict):
    """A mapping with attributes."""


class Missing(dict):
    """A mapping that makes what is missing."""

    def __missing__(self, key):
        return f"no {key}"


class Pair(tuple):
    """A tuple with attributes."""


class Words(str):
    """A text with attributes."""


class Number(int):
    """A number with attributes."""


class Share(float):
    """A float with attributes."""


class Raw(bytes):
    """Bytes with attributes."""


class Group(set):
    """A set with attributes."""


class Frozen(frozenset):
    """A frozen set with attributes."""


class Ring(deque):
    """A deque with attributes."""


class Point(collections.namedtuple("Point", "x y")):
    """A subclass of a named tuple, with a dictionary."""


class SlimPoint(collections.namedtuple("SlimPoint", "x y")):
    """One without."""

    __slots__ = ()


class TypedPoint(typing.NamedTuple):
    """A typed named tuple."""

    x: object
    y: int = 1


class Ranked(typing.TypedDict):
    """A typed mapping."""

    a: object


class Colour(enum.Enum):
    """Names with values."""

    RED = 1
    BLUE = 2


class Size(enum.IntEnum):
    """Numbers with names."""

    SMALL = 1
    LARGE = 2


class Access(enum.Flag):
    """Names that add up."""

    READ = 1
    WRITE = 2
    BOTH = 3


class Mode(enum.StrEnum):
    """Texts with names."""

    ON = "on"
    OFF = "off"


class Planet(enum.Enum):
    """Names with values that are mutable objects."""

    EARTH = ["water"]
    MARS = ["dust"]


@dataclass
class Data:
    a: object


@dataclass(frozen=True)
class FrozenData:
    a: object
    b: int = 1


@dataclass(slots=True)
class SlottedData:
    a: object


@dataclass(frozen=True, slots=True)
class FrozenSlottedData:
    a: object


@dataclass(kw_only=True, order=True)
class KeywordData:
    a: object
    hidden: object = field(default=None, repr=False, compare=False)


@dataclass
class MadeData:
    a: object
    total: object = field(init=False)

    def __post_init__(self):
        self.total = [self.a]


@dataclass
class DataList(list):
    a: object = None


@dataclass
class GenericData(typing.Generic[T]):
    a: T
    many: list[T] = field(default_factory=list)


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    a: typing.Any


class FrozenModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True, frozen=True)
    a: typing.Any


class OpenModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True, extra="allow")
    b: int = 1


class PrivateModel(pydantic.BaseModel):
    b: int = 1
    _kept: typing.Any = pydantic.PrivateAttr(default=None)


class SecretModel(pydantic.BaseModel):
    word: pydantic.SecretStr


class OptionalModel(pydantic.BaseModel):
    a: int | None = None
    b: int | None = None


class RootModel(pydantic.RootModel[list[typing.Any]]):
    pass


class GenericModel(pydantic.BaseModel, typing.Generic[T]):
    a: T


IntModel = GenericModel[int]


class AliasedModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True, populate_by_name=True)
    a: typing.Any = pydantic.Field(alias="anAlias")


class ComputedModel(pydantic.BaseModel):
    a: int

    @pydantic.computed_field
    @property
    def twice(self) -> int:
        return 2 * self.a


class OuterModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    parts: list[Model]
    by_name: dict[str, Model] = {}


class UnionModel(pydantic.BaseModel):
    a: int | str | None


@pydantic.dataclasses.dataclass(config={"arbitrary_types_allowed": True})
class ModelData:
    a: typing.Any


class Rows(collections.abc.Sequence):
    """A sequence of its own."""

    def __init__(self, *rows):
        self.rows = rows

    def __getitem__(self, index):
        return self.rows[index]

    def __len__(self):
        return len(self.rows)


class Lookup(collections.abc.Mapping):
    """A mapping of its own."""

    def __init__(self, entries):
        self.entries = entries

    def __getitem__(self, key):
        return self.entries[key]

    def __iter__(self):
        return iter(self.entries)

    def __len__(self):
        return len(self.entries)


class Store(collections.abc.MutableMapping):
    """A mapping of its own that can be changed."""

    def __init__(self):
        self._entries = {}

    def __getitem__(self, key):
        return self._entries[key]

    def __setitem__(self, key, value):
        self._entries[key] = value

    def __delitem__(self, key):
        del self._entries[key]

    def __iter__(self):
        return iter(self._entries)

    def __len__(self):
        return len(self._entries)


class Members(collections.abc.Set):
    """A set of its own."""

    def __init__(self, members):
        self.members = list(members)

    def __contains__(self, item):
        return item in self.members

    def __iter__(self):
        return iter(self.members)

    def __len__(self):
        return len(self.members)


class Countdown:
    """An iterator of its own."""

    def __init__(self, *left):
        self.left = list(left)

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        return self.left.pop(0)


class Failure(Exception):
    """An error with attributes."""

    def __init__(self, text, detail=None):
        super().__init__(text)
        self.detail = detail


class Struct(ctypes.Structure):
    _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_double)]


class Either(ctypes.Union):
    _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_float)]


class Marked(np.ndarray):
    """An array with attributes."""


class Offset(datetime.tzinfo):
    """A time zone of its own."""

    def __init__(self, minutes):
        self.minutes = minutes

    def utcoffset(self, when):
        return timedelta(minutes=self.minutes)

    def dst(self, when):
        return timedelta(0)

    def tzname(self, when):
        return "own"


KEEP = [Box(0), Box(1)]
VARIABLE = contextvars.ContextVar("VARIABLE", default=0)


def greedy(x=1):
    return x


def timid(x=1):
    return -x


async def waiting(a):
    return a


def produce(*items):
    yield from items


def closing_over(a):
    def inner():
        return a

    return inner


def closing_twice(a):
    def inner():
        return closing_over(a)

    return inner


def with_default(a):
    def inner(y=a, *, z=a):
        return y

    return inner


def recursive(a):
    def inner(depth):
        return a if depth == 0 else inner(depth - 1)

    return inner


def decorated(a):
    @functools.wraps(greedy)
    def inner():
        return a

    return inner


def cached(a):
    @functools.lru_cache(maxsize=8)
    def inner():
        return a

    return inner


def of_text(text):
    """A function that was compiled while the program ran."""
    namespace = {}
    exec(compile(f"def made(): return {text!r}", "<made>", "exec"), namespace)
    return namespace["made"]


def made_class(a):
    return type("Made", (), {"a": a})


def local_object(a):
    class Local:
        def __init__(self):
            self.a = a

    return Local()


def having(thing, **attributes):
    """The thing, with these attributes."""
    for name, value in attributes.items():
        setattr(thing, name, value)
    return thing


def called(thing, *calls):
    """The thing, after these methods were called: (name, argument, ...)."""
    for name, *arguments in calls:
        getattr(thing, name)(*arguments)
    return thing


def deep(a, levels):
    for _ in range(levels):
        a = [a]
    return a


def deep_objects(a, levels):
    for _ in range(levels):
        a = Box(a)
    return a


def bottom(value, levels):
    for _ in range(levels):
        value = value[0] if isinstance(value, list) else value.a
    return value


def in_cycle(a):
    return called(ring := [a], ("append", ring))


def self_holding(a):
    return having(box := Box(a), me=box)


def same_twice(a, is_same):
    """Two objects that look alike: the same one twice, or a copy."""
    first = Box([a])
    return [first, first if is_same else Box([a])]


def caused(a):
    error = ValueError("outer")
    error.__cause__ = KeyError(a)
    return error


def noted(text):
    error = ValueError("noted")
    error.add_note(text)
    return error


def raised(a):
    try:
        raise Failure("raised", a)
    except Failure as error:
        return error


def future_of(a):
    return called(concurrent.futures.Future(), ("set_result", a))


def exception_future(a):
    return called(concurrent.futures.Future(), ("set_exception", Failure("late", a)))


def put(into, *items):
    return called(into, *(("put_nowait", item) for item in items))


def message_of(text):
    return called(email.message.EmailMessage(), ("__setitem__", "Subject", text), ("set_content", "body"))


def config_of(text):
    return called(configparser.ConfigParser(), ("read_dict", {"a": {"b": text}}))


def element_of(text):
    return called(ElementTree.Element("a"), ("append", having(ElementTree.Element("b"), text=text)))


def raw_array(dtype, shape, content):
    """An array of these bytes, given as hexadecimal digits."""
    return np.frombuffer(bytes.fromhex(content), dtype=dtype).reshape(shape).copy()


def ascending(count, changed):
    """A mapping with as many keys, of which the middle one's value is given."""
    table = dict.fromkeys(range(count), 0)
    table[count // 2] = changed
    return table


def listed(count, changed):
    items = list(range(count))
    items[count // 2] = changed
    return items


def many_objects(count, changed):
    boxes = [Box(number) for number in range(count)]
    boxes[count // 2].a = changed
    return boxes


def long_text(length, changed):
    return "x" * (length // 2) + changed + "y" * (length // 2)
