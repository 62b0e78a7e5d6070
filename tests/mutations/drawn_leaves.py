"""The leaves that change: two values that print differently, drawn by Hypothesis from the types of the standard library.

Each is kept as the text of an expression over the names of `value_kit.py`, so that it can stand in a program.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import ipaddress
import random
import uuid
import zoneinfo
from collections import Counter, OrderedDict, deque
from functools import cache
from typing import Any

import numpy as np
import value_kit
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

_TYPES: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "text": str,
    "bytes": bytes,
    "bytearray": bytearray,
    "complex": complex,
    "None or int": int | None,
    "Decimal": decimal.Decimal,
    "Fraction": fractions.Fraction,
    "date": datetime.date,
    "time": datetime.time,
    "datetime": datetime.datetime,
    "timedelta": datetime.timedelta,
    "timezone": datetime.timezone,
    "UUID": uuid.UUID,
    "IPv4": ipaddress.IPv4Address,
    "IPv6": ipaddress.IPv6Address,
    "IPv4 network": ipaddress.IPv4Network,
    "zone": zoneinfo.ZoneInfo,
    "range": range,
    "slice": slice,
    "list of ints": list[int],
    "tuple of anything": tuple[int, str, bytes],
    "set of texts": set[str],
    "dict by tuples": dict[tuple[int, str], float],
    "nested lists": list[dict[str, list[float | None]]],
    "deque": deque[int],
    "OrderedDict": OrderedDict[str, int],
    "Counter": Counter[str],
}
_DTYPES = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(),
    arrays.unsigned_integer_dtypes(),
    arrays.floating_dtypes(endianness="<", sizes=(16, 32, 64)),
    arrays.complex_number_dtypes(endianness="<", sizes=(64, 128)),
    arrays.datetime64_dtypes(),
    arrays.timedelta64_dtypes(),
    arrays.byte_string_dtypes(min_len=1),
    arrays.unicode_string_dtypes(min_len=1),
    arrays.array_dtypes(subtype_strategy=arrays.integer_dtypes(), allow_subarrays=True),
)
ARRAY = "array"
DRAWN = [*_TYPES, ARRAY]
_AMOUNT = 40


def draw(name: str, chance: random.Random, number: int) -> tuple[str, str]:
    """An expression of `c` whose two values print differently, and the path to what differs; from a draw by number."""
    if name == ARRAY:
        return _array(chance, number)
    texts = _texts(name, number)
    first, second = chance.sample(texts, 2)
    ordered = "sorted(map(repr, V))" if name == "set of texts" else "V"
    return f"({first}, {second})[c]", ordered


@cache
def _texts(name: str, number: int) -> list[str]:
    """Expressions of values of the type, no two of which print alike."""
    found: dict[str, None] = {}
    for value in _values(st.from_type(_TYPES[name]), number):
        text = repr(value)
        try:
            is_expression = len(text) < 2000 and repr(eval(text, vars(value_kit))) == text
        except (NameError, SyntaxError):
            continue  # such as `infj`
        if is_expression:
            found[text] = None
    return list(found)


def _values(strategy: st.SearchStrategy[Any], number: int) -> list[Any]:
    found: list[Any] = []

    @seed(number)
    @settings(
        database=None,
        max_examples=_AMOUNT,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


@cache
def _drawn_arrays(number: int) -> list[Any]:
    shapes = arrays.array_shapes(max_dims=3, max_side=4)
    return [
        array
        for array in _values(_DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, shapes)), number)
        if array.nbytes and not array.dtype.hasobject
    ]


def _array(chance: random.Random, number: int) -> tuple[str, str]:
    """An array of any type, and the same with one byte of one item changed."""
    while True:
        array = chance.choice(_drawn_arrays(number))
        content = bytearray(array.tobytes())
        place = chance.randrange(len(content))
        content[place] ^= 1 << chance.randrange(7)
        index = place // array.dtype.itemsize
        dtype = repr(array.dtype.descr if array.dtype.names else array.dtype.str)
        made = [
            f"raw_array({dtype}, {array.shape}, '{bytes(part).hex()}')" for part in (array.tobytes(), content)
        ]
        path = f"V.reshape(-1)[{index}].tolist()"
        try:
            first, second = (
                repr(eval(path.replace("V", text), {**vars(value_kit), "np": np})) for text in made
            )
        except (ValueError, OverflowError, SystemError):
            continue  # bytes that are no text, or no date
        if first != second:
            return f"({made[0]}, {made[1]})[c]", path
