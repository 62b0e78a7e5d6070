"""`same`: the comparison that types take part in, all the way down."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import math
import random

import numpy as np
from shapes import SUBCLASSES


def same(a, b):  # one flat ladder reads better than a table of pairs
    """Whether two values are of the same type and equal, all the way down; a NaN is the same as a NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, enum.Enum):
        return a is b
    if isinstance(a, np.ndarray):
        return (
            a.dtype == b.dtype
            and a.shape == b.shape
            and same(a.tobytes(), b.tobytes()) | same(a.tolist(), b.tolist())
        )
    if isinstance(a, np.generic):
        return a.dtype == b.dtype and (a.tobytes() == b.tobytes() or (bool(a != a) and bool(b != b)))
    if isinstance(a, random.Random):
        return a.getstate() == b.getstate()
    if isinstance(a, np.random.Generator):
        return same(a.bit_generator.state, b.bit_generator.state) and same(
            a.bit_generator.seed_seq.state, b.bit_generator.seed_seq.state
        )
    if isinstance(a, float):
        return same_float(float.__float__(a), float.__float__(b)) and _same_attributes(a, b)
    if isinstance(a, complex):
        return same_float(a.real, b.real) and same_float(a.imag, b.imag)
    if isinstance(a, decimal.Decimal):
        return a.as_tuple() == b.as_tuple()
    if isinstance(a, slice):
        return same([a.start, a.stop, a.step], [b.start, b.stop, b.step])
    if isinstance(a, range):
        return (a.start, a.stop, a.step) == (b.start, b.stop, b.step)
    if isinstance(a, dt.datetime | dt.time):
        return (
            a.replace(tzinfo=None) == b.replace(tzinfo=None)
            and a.fold == b.fold
            and _same_zone(a.tzinfo, b.tzinfo)
        )
    if isinstance(a, collections.deque):
        return a.maxlen == b.maxlen and same(list(a), list(b))
    if isinstance(a, dict):
        if isinstance(a, collections.defaultdict) and a.default_factory is not b.default_factory:
            return False
        return same([list(i) for i in dict.items(a)], [list(i) for i in dict.items(b)]) and _same_attributes(
            a, b
        )
    if isinstance(a, list | tuple):
        base = list if isinstance(a, list) else tuple
        x, y = base.__getitem__(a, slice(None)), base.__getitem__(b, slice(None))
        return len(x) == len(y) and all(map(same, x, y)) and _same_attributes(a, b)
    if isinstance(a, set | frozenset):
        rest = list(b)
        for item in a:
            found = next((i for i, other in enumerate(rest) if same(item, other)), None)
            if found is None:
                return False
            del rest[found]
        return not rest and _same_attributes(a, b)
    if dataclasses.is_dataclass(a):
        names = {f.name for f in dataclasses.fields(a)} | set(getattr(a, "__dict__", {}))
        return all(same(getattr(a, n, None), getattr(b, n, None)) for n in names)
    return bool(a == b) and _same_attributes(a, b)


def same_float(a, b):
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b and math.copysign(1, a) == math.copysign(1, b)


def _same_attributes(a, b):
    return (
        same(dict(getattr(a, "__dict__", {})), dict(getattr(b, "__dict__", {})))
        if type(a) in SUBCLASSES
        else True
    )


def _same_zone(a, b):
    if isinstance(a, dt.timezone):
        return isinstance(b, dt.timezone) and a == b and a.tzname(None) == b.tzname(None)
    return a is b
