"""Hypothesis strategies for values that are recorded: plain JSON, restorable ones, any at all.

Their classes are in `shapes.py` and `hostile.py`; the comparison that goes with them is in `sameness.py`.
"""

from __future__ import annotations

import collections
import datetime as dt
import pathlib
import random
import zoneinfo

import numpy as np
from hostile import HOSTILE
from hypothesis import strategies as st
from shapes import (
    Access,
    Colour,
    Count,
    Frozen,
    FrozenTags,
    Key,
    Level,
    Mode,
    Name,
    Pair,
    Point,
    Ratio,
    Rows,
    Settings,
    Tags,
)


class Recipe:
    """How to make a value that no test framework could print or compare; call it for a fresh one."""

    def __init__(self, name, make):
        self.name = name
        self.make = make

    def __call__(self):
        return self.make()

    def __repr__(self):
        return f"<recipe: {self.name}>"


hostile_values = st.sampled_from([Recipe(name, HOSTILE[name]) for name in sorted(HOSTILE)])
"""Recipes of objects that fight back."""

# Values that come back exactly.

_texts = st.text(st.characters(exclude_categories=()), max_size=12)
_plain_texts = st.text(max_size=12)
_zones = st.sampled_from(
    [
        None,
        dt.UTC,
        dt.timezone(dt.timedelta(hours=2)),
        dt.timezone(dt.timedelta(hours=-3, seconds=7), "ODD"),
        zoneinfo.ZoneInfo("UTC"),
        zoneinfo.ZoneInfo("Europe/Berlin"),
    ]
)
_folds = st.integers(0, 1)
_datetimes = st.builds(lambda d, z, f: d.replace(tzinfo=z, fold=f), st.datetimes(), _zones, _folds)
_times = st.builds(lambda t, z, f: t.replace(tzinfo=z, fold=f), st.times(), _zones, _folds)
_integers = st.one_of(
    st.integers(-100, 100),
    st.integers(),
    st.integers(-(2**90), 2**90),
    st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63) - 1]),
)
_floats = st.one_of(st.floats(), st.sampled_from([-0.0, 1e16, 5e-324, 1.7976931348623157e308]))

json_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    _plain_texts,
)
json_values = st.recursive(
    json_scalars,
    lambda v: st.lists(v, max_size=4) | st.dictionaries(_plain_texts, v, max_size=4),
    max_leaves=12,
)
"""Values that JSON holds as they are."""

_numpy_scalars = st.one_of(
    st.builds(np.float64, st.floats()),
    st.builds(np.float32, st.floats(width=32)),
    st.builds(np.float16, st.floats(width=16)),
    st.builds(np.int8, st.integers(-128, 127)),
    st.builds(np.int64, st.integers(-(2**63), 2**63 - 1)),
    st.builds(np.uint64, st.integers(0, 2**64 - 1)),
    st.builds(np.longlong, st.integers(-100, 100)),
    st.builds(np.bool_, st.booleans()),
    st.builds(np.str_, _plain_texts),
    st.builds(np.complex128, st.complex_numbers()),
    st.builds(np.complex64, st.complex_numbers(width=64)),
    st.sampled_from([np.datetime64("2026-11-20T10:30", "ms"), np.datetime64("NaT"), np.timedelta64(5, "h")]),
)
_hashable_scalars = st.one_of(
    st.none(),
    st.booleans(),
    _integers,
    _floats.filter(lambda f: f == f),
    _texts,
    st.binary(max_size=8),
    st.dates(),
    st.uuids(),
    st.decimals(allow_nan=False),
    st.sampled_from([*Colour, *Level, *Mode, Access.READ, Access.READ | Access.RUN, Access(0)]),
    st.builds(Name, _texts),
    st.builds(Frozen, _plain_texts),
    st.sampled_from(
        [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("c:/x"), pathlib.Path("/tmp/\udcff")]
    ),
)
hashable_values = st.recursive(
    _hashable_scalars,
    lambda v: st.one_of(
        st.lists(v, max_size=3).map(tuple),
        st.frozensets(v, max_size=3),
        st.builds(Pair, v, v),
        st.builds(Key, v, v),
        st.builds(Frozen, v, v),
    ),
    max_leaves=6,
)
"""Values that come back exactly and can be keys."""

_scalars = st.one_of(
    _hashable_scalars,
    _floats,
    _datetimes,
    _times,
    st.timedeltas(),
    st.decimals(),
    st.complex_numbers(),
    st.binary(max_size=8).map(bytearray),
    st.builds(range, _integers, _integers, _integers.filter(bool)),
    st.builds(Count, _integers),
    st.builds(Ratio, _floats),
    _numpy_scalars,
    st.integers(0, 9).map(random.Random),
    st.sampled_from([np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64]).map(
        lambda g: np.random.Generator(g(7))
    ),
    st.lists(st.floats(), max_size=4).map(np.array),
    st.sampled_from(
        [
            np.zeros((0, 3)),
            np.array(3),
            np.array([["fun", ""], ["news", "\u20ac"]]),
            np.eye(2, dtype=np.complex64),
            np.array([["2026-01-01"]], "M8[D]"),
            np.arange(4, dtype=">i2").reshape(2, 2),
        ]
    ),
)


def _with_attributes(value, attributes):
    vars(value).update(attributes)
    return value


def _containers(v):
    mappings = st.dictionaries(hashable_values, v, max_size=3)
    named = st.dictionaries(_texts, v, max_size=3)
    return st.one_of(
        st.lists(v, max_size=4),
        st.lists(v, max_size=4).map(tuple),
        named,
        mappings,
        st.sets(hashable_values, max_size=4),
        st.frozensets(hashable_values, max_size=4),
        st.builds(collections.deque, st.lists(v, max_size=3), st.sampled_from([None, 3, 9])),
        st.builds(collections.OrderedDict, mappings | named),
        st.builds(collections.Counter, st.dictionaries(hashable_values, st.integers(-3, 3), max_size=3)),
        st.builds(
            collections.defaultdict, st.sampled_from([None, list, int, dict, set, Point]), mappings | named
        ),
        st.builds(slice, v, v, v),
        st.builds(Point, v, v),
        st.builds(Frozen, v, v),
        st.builds(Pair, v, v),
        st.builds(Key, v, v),
        st.builds(Rows, st.lists(v, max_size=3)),
        st.builds(_with_attributes, st.builds(Rows, st.lists(v, max_size=3)), named),
        st.builds(lambda d: Settings(**d), st.dictionaries(_plain_texts, v, max_size=3)),
        st.builds(lambda a, b: Settings(value=a, attributes=b), v, v),
        st.builds(Tags, st.sets(hashable_values, max_size=3)),
        st.builds(FrozenTags, st.sets(hashable_values, max_size=3)),
    )


restorable_values = st.recursive(_scalars, _containers, max_leaves=12)
"""Values that come back exactly, nested in each other."""


def _combined(v):
    many = st.lists(v, max_size=4)
    keyed = st.lists(st.tuples(hashable_values, v), max_size=3)
    named = st.lists(st.tuples(_texts, v), max_size=4)
    makers = [list, tuple, Rows, collections.deque, lambda made: Point(*made[:2]) if made else Point(0)]
    return st.one_of(
        *(
            many.map(lambda rs, m=m: Recipe(f"{m.__name__} of {rs}", lambda: m([r() for r in rs])))
            for m in makers
        ),
        *(p.map(lambda ps: Recipe(f"dict of {ps}", lambda: {k: r() for k, r in ps})) for p in (keyed, named)),
    )


any_values = st.recursive(
    hostile_values | _scalars.map(lambda value: Recipe(repr(value), lambda: value)), _combined, max_leaves=10
)
"""Recipes of any Python value at all."""
