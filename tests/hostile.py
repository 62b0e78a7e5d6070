"""Objects that fight back when they are looked at; `HOSTILE` makes a fresh one of each."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import random
import sys
import typing

import numpy as np
from shapes import Point


class ExplodingRepr:
    def __repr__(self):
        raise RuntimeError("no repr")

    __str__ = __repr__


class EndlessRepr:
    def __repr__(self):
        while True:
            pass


class RecursiveRepr:
    def __repr__(self):
        return f"<{self!r}>"


class ExplodingEverything:
    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __eq__(self, other):
        raise RuntimeError("eq")

    def __hash__(self):
        raise RuntimeError("hash")

    def __iter__(self):
        raise RuntimeError("iter")

    def __len__(self):
        raise RuntimeError("len")

    def __bool__(self):
        raise RuntimeError("bool")


class LyingClass:
    @property
    def __class__(self):
        return dict


class LyingDict:
    @property
    def __dict__(self):
        raise RuntimeError("no dict")


class EndlessIter:
    def __iter__(self):
        while True:
            yield 1


class EndlessGetattr:
    def __getattr__(self, name):
        return getattr(self, name + "x")


class HostileMeta(type):
    def __hash__(cls):
        raise RuntimeError("no hash")

    def __eq__(cls, other):
        raise RuntimeError("no eq")

    def __getattribute__(cls, name):
        raise RuntimeError(name)

    def __instancecheck__(cls, instance):
        raise RuntimeError("no instances")

    def __subclasscheck__(cls, subclass):
        raise RuntimeError("no subclasses")


class OfHostileMeta(metaclass=HostileMeta):
    pass


class HostileStr(str):
    def __str__(self):
        raise RuntimeError("no str")

    def __eq__(self, other):
        raise RuntimeError("no eq")

    def __hash__(self):
        return 1

    def encode(self, *args):
        raise RuntimeError("no encode")


class HostileInt(int):
    def __int__(self):
        raise RuntimeError("no int")

    __index__ = __str__ = __repr__ = __int__


class HostileDict(dict):
    def items(self):
        while True:
            yield ("a", 1)

    def keys(self):
        raise RuntimeError("no keys")

    def __iter__(self):
        raise RuntimeError("no iter")

    def __getitem__(self, key):
        raise RuntimeError("no item")


@dataclasses.dataclass
class HostileDataclass:
    value: int = 1

    def __getattribute__(self, name):
        raise RuntimeError(name)


class WithSlots:
    __slots__ = ("empty", "full")

    def __init__(self):
        self.full = 1


def _cycle():
    loop: list = [1]
    loop.append({"again": loop})
    return loop


def _double_cycle():
    loop: dict = {}
    loop["a"] = loop["b"] = loop
    return loop


def _doubling():
    node: typing.Any = []
    for _ in range(60):
        node = [node, node]
    return node


def _deep():
    node: list = []
    for _ in range(100_000):
        node = [node]
    return node


def _hidden_fields():
    broken = Point(1)
    broken.__dict__.clear()
    return broken


class _Zone(dt.tzinfo):
    def utcoffset(self, when):
        raise RuntimeError("no offset")


HOSTILE = {
    "object": object,
    "exploding repr": ExplodingRepr,
    "endless repr": EndlessRepr,
    "recursive repr": RecursiveRepr,
    "exploding everything": ExplodingEverything,
    "lying class": LyingClass,
    "lying dict": LyingDict,
    "endless iter": EndlessIter,
    "endless getattr": EndlessGetattr,
    "class of a hostile metaclass": lambda: OfHostileMeta,
    "instance of a hostile metaclass": lambda: type.__call__(OfHostileMeta),
    "hostile str": lambda: HostileStr("text"),
    "hostile int": lambda: HostileInt(5),
    "hostile dict": lambda: HostileDict(a=1),
    "dict with a hostile key": lambda: {HostileStr("k"): 1},
    "dict with a hostile value": lambda: {"k": ExplodingEverything()},
    "hostile dataclass": HostileDataclass,
    "dataclass without its fields": _hidden_fields,
    "slots": WithSlots,
    "cycle": _cycle,
    "double cycle": _double_cycle,
    "doubling": _doubling,
    "deep": _deep,
    "unknown zone": lambda: dt.datetime(2026, 1, 1, tzinfo=_Zone()),
    "generator": lambda: (n for n in range(3)),
    "function": lambda: _cycle,
    "lambda": lambda: lambda: 1,
    "method": lambda: [].append,
    "class": lambda: Point,
    "module": lambda: sys,
    "exception": lambda: ValueError("text", 1, object()),
    "system random": random.SystemRandom,
    "object array": lambda: np.array([object(), 1], dtype=object),
    "structured array": lambda: np.zeros(2, dtype=[("a", "i4"), ("b", "f8")]),
    "long double": lambda: np.longdouble(1.5),
    "defaultdict of a lambda": lambda: collections.defaultdict(lambda: 0, {(1, 2): 3}),
    "huge integer": lambda: 1 << 2_000_000,
    "not implemented": lambda: NotImplemented,
    "memoryview": lambda: memoryview(b"abc"),
}
