"""Parts of values that their items and attributes do not show count in their digests."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from Agent.event.classes import attributes_of, restore_attributes
from Agent.event.values.content_digest import content_of
from Agent.event.values.reading import Reading
from Agent.event.values.values import decode_value, encode_value


def _stat_with(**fields):
    items, named = Path(__file__).stat().__reduce__()[1]
    return os.stat_result(items, {**named, **fields})


@pytest.mark.parametrize(
    ("one", "again", "other"),
    [
        [time.strptime(zone, "%z") for zone in ("+0100", "+0100", "+0200")],
        [time.struct_time((2026, *[1] * 8), {"tm_zone": zone, "tm_gmtoff": 0}) for zone in "AAB"],
        [_stat_with(st_mtime_ns=at) for at in (1, 1, 2)],
    ],
)
def test_fields_of_a_tuple_made_in_c_that_are_no_items_count(one, again, other):
    assert tuple(one) == tuple(other)
    assert content_of(one).text == content_of(again).text != content_of(other).text
    assert content_of([one]).text != content_of([other]).text
    assert content_of(one).text.startswith("c1.1:"), "earlier digests left them out"
    assert content_of(os.terminal_size((1, 2))).text.startswith("c1:")


class _Base:
    __slots__ = ("v", "w")


class _Derived(_Base):
    __slots__ = ("v",)


class _Beside:
    __slots__ = ("__dict__", "v")


def _derived(hidden, shown):
    made = _Derived()
    made.v = shown
    _Base.v.__set__(made, hidden)
    return made


def _beside(hidden, shown):
    made = _Beside()
    made.v = hidden
    made.__dict__["v"] = shown
    return made


@pytest.mark.parametrize("make", [_derived, _beside])
def test_a_slot_counts_although_another_attribute_of_its_name_hides_it(make):
    digests = {content_of(make(*values)).text for values in ((1, 1), (1, 2), (2, 1), (2, 2), (1, 1))}
    assert len(digests) == 4


def test_a_hidden_slot_is_restored():
    restored = _derived(0, 0)
    restore_attributes(restored, attributes_of(_derived(5, 6)))
    assert (_Base.v.__get__(restored), restored.v) == (5, 6)


def test_the_data_of_a_class_without_a_name_counts_in_its_objects():
    def made(bases=(), **data):
        return type("Made", bases, data)()

    class Local:
        at: int = 1

    digests = [content_of(each).text for each in (made(a=1), made(a=1), made(a=2), made(a=(1, 2)), Local())]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4
    assert all(digest.startswith("c1.1:") for digest in digests)
    assert content_of([made(a=1)]).text != content_of([made(a=2)]).text
    with_code = [content_of(made(a=at, act=lambda self: self)).text for at in (1, 2)]
    assert with_code[0] == with_code[1], "its code may count in its attributes"
    assert with_code[0].startswith("c1:")


def _raised(text, *, from_none):
    error = ValueError(text)
    error.__suppress_context__ = from_none
    return error


@pytest.mark.parametrize(
    ("usual", "other"),
    [
        (_raised("x", from_none=False), _raised("x", from_none=True)),
        (memoryview(b"ab"), memoryview(bytearray(b"ab"))),
        (np.dtype("i4"), np.dtype("i4", metadata={"unit": "m"})),
        (np.dtype("i4", metadata={"unit": "s"}), np.dtype("i4", metadata={"unit": "m"})),
    ],
)
def test_what_earlier_digests_left_out_counts(usual, other):
    assert content_of(usual).text != content_of(other).text
    assert content_of(other).text.startswith("c1.1:")


def test_an_exception_that_was_raised_from_none_comes_back_as_such():
    encoded = encode_value(_raised("x", from_none=True), reading=Reading(keeps_content=True))
    assert decode_value(encoded.value, encoded.types).__suppress_context__
