"""Parts of values that their items and attributes do not show count in their digests."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import io
import ipaddress
import os
import queue
import random
import time
import types
import uuid
import weakref
from collections import Counter, OrderedDict
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


def _local(*, name="act", doc=None):
    def act(x):
        return x

    act.__name__, act.__doc__ = name, doc or act.__doc__
    return act


@functools.wraps(_local)
def _wraps(x):
    return x


@pytest.mark.parametrize(
    ("usual", "other"),
    [
        (io.StringIO("a"), io.StringIO("a", newline=None)),
        (weakref.ref(_Base), weakref.ref(_Base, print)),
        (_local(), _local(name="other")),
        (_local(), _local(doc="Says more.")),
        (_raised("x", from_none=False), _raised("x", from_none=True)),
        (memoryview(b"ab"), memoryview(bytearray(b"ab"))),
        (np.dtype("i4"), np.dtype("i4", metadata={"unit": "m"})),
        (np.dtype("i4", metadata={"unit": "s"}), np.dtype("i4", metadata={"unit": "m"})),
    ],
)
def test_what_earlier_digests_left_out_counts(usual, other):
    assert content_of(usual).text != content_of(other).text
    assert content_of(usual).text.startswith(("c1:", "c1/", "c1.1:"))
    assert content_of(other).text.startswith(("c1.1:", "c1.1/"))


def test_what_the_standard_library_gives_to_functions_and_weak_references_changes_no_digest():
    named = (
        _local,
        _wraps,
        pytest.fixture,
        lambda: 1,
        weakref.WeakValueDictionary(a=_Base),
        weakref.WeakSet([_Base]),
    )
    assert [each for each in named if not content_of(each).text.startswith(("c1:", "c1/"))] == []


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
def test_a_file_in_memory_is_restored_with_its_ends_of_lines(newline):
    file = io.StringIO("a\nb\n", newline=newline)
    file.read(2)
    encoded = encode_value(file, reading=Reading(keeps_content=True))
    restored = decode_value(encoded.value, encoded.types)
    assert io.StringIO.__getstate__(restored)[:3] == io.StringIO.__getstate__(file)[:3]
    assert content_of(restored) == content_of(file)


def test_what_the_maker_of_an_id_says_of_its_safety_counts():
    usual, safe = (
        uuid.UUID(int=5, is_safe=is_safe) for is_safe in (uuid.SafeUUID.unknown, uuid.SafeUUID.safe)
    )
    assert content_of([usual]).text != content_of([safe]).text
    encoded = encode_value([usual, safe])
    assert encoded.types == {"/0": "uuid", "/1": "uuid:safe"}
    assert [each.is_safe.name for each in decode_value(encoded.value, encoded.types)] == ["unknown", "safe"]
    of_clock = uuid.UUID(usual.hex[:12] + "1" + usual.hex[13:16] + "8" + usual.hex[17:], is_safe=safe.is_safe)
    assert of_clock.version == 1
    assert encode_value(of_clock).types == {"": "uuid"}, "it says so of the machine"
    other = uuid.UUID(int=5, is_safe=True)
    assert encode_value(other).types == {"": "opaque"}
    assert content_of(other).text != content_of(usual).text


_OWN_FORMS = [
    lambda: OrderedDict(a=1), lambda: Counter("aab"), lambda: random.Random(1), queue.Queue, asyncio.Queue,
    lambda: ipaddress.ip_network("10.0.0.0/31"), lambda: ipaddress.ip_interface("10.0.0.1/8"),
]  # fmt: skip


def _seen(value):
    encoded = encode_value([value])
    return encoded.value, encoded.types, content_of([value]).text


@pytest.mark.parametrize("make", _OWN_FORMS)
def test_attributes_that_a_program_set_on_objects_of_the_standard_library_count(make):
    def labelled(**attributes):
        made = make()
        made.__dict__.update(attributes)
        return made

    usual = _seen(make())
    assert usual == _seen(make())
    assert "opaque" not in usual[1].values(), "its own form suffices"
    one, again, other = (_seen(labelled(label=label)) for label in ("one", "one", "two"))
    assert one == again
    assert all(part != same for part, same in zip(one[::2], other[::2], strict=True))
    assert usual[2] != one[2]
    assert _seen(labelled(elements="one", seed="one")) != _seen(labelled(elements="two", seed="two"))


def test_what_a_class_sets_itself_is_no_attribute_of_the_program():
    network = ipaddress.ip_network("10.0.0.0/8")
    before = _seen(network)
    assert network.broadcast_address
    assert network.hostmask
    assert _seen(network) == before
    drawn = random.Random(1)
    drawn.gauss(0, 1)
    assert "opaque" not in _seen(drawn)[1].values()


def test_attributes_of_a_generator_whose_draws_are_recorded_count():
    def adopted(**attributes):
        made = random.Random(1)
        made.random = lambda: 0.5
        made.random.agent_trace_adopted = True
        made.__dict__.update(attributes)
        return content_of([made]).text

    assert adopted() == adopted()
    assert len({adopted(), adopted(label="one"), adopted(label="two")}) == 3


def test_an_ordered_dict_with_attributes_is_restored_with_them():
    made = OrderedDict(a=1)
    made.label = "one"
    encoded = encode_value(made, reading=Reading(keeps_content=True))
    restored = decode_value(encoded.value, encoded.types)
    assert (type(restored), dict(restored), restored.label) == (OrderedDict, {"a": 1}, "one")


def test_a_module_that_the_program_made_counts_by_its_content_and_an_imported_one_by_its_name():
    def made(**data):
        module = types.ModuleType("cfg")
        module.__dict__.update(data, __builtins__=__builtins__)
        return content_of([module]).text

    assert made(level=1) == made(level=1) != made(level=2)
    assert content_of(types.ModuleType("cfg")).kind == "digest"
    assert content_of(os.path).text == f"module {os.path.__name__}"
    spec = importlib.machinery.ModuleSpec("cfg", None)
    assert content_of(importlib.util.module_from_spec(spec)).text == "module cfg"


def test_an_exception_that_was_raised_from_none_comes_back_as_such():
    encoded = encode_value(_raised("x", from_none=True), reading=Reading(keeps_content=True))
    assert decode_value(encoded.value, encoded.types).__suppress_context__
