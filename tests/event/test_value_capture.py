"""Capture is bounded and safe: what is too large is cut, what is hostile is described, nothing raises."""

from __future__ import annotations

import collections
import functools
import re
import subprocess
import sys
import threading
import types

import numpy as np
import orjson
import pytest
from hostile import HOSTILE
from hypothesis import given
from hypothesis import strategies as st
from shapes import Count, Frozen, Pair
from strategies import any_values

from Agent.event.values.plain import census
from Agent.event.values.values import DEFAULT_LIMITS, Limits, decode_value, encode_value

SMALL = Limits(max_string_chars=64, max_bytes=2048, max_items=50, max_depth=6)


@given(any_values)
def test_any_value_is_encoded_without_an_exception(recipe):
    encoded = encode_value(recipe(), "/extra/args/x")
    assert all(pointer.startswith("/extra/args/x") for pointer in encoded.types)
    assert {p for p, tag in encoded.types.items() if tag in ("opaque", "truncated")} == set(encoded.opaque)
    orjson.dumps(encoded.value)


@given(any_values)
def test_small_limits_hold_for_any_value(recipe):
    encoded = encode_value(recipe(), "", SMALL)
    decode_value(encoded.value, encoded.types)
    assert len(orjson.dumps(encoded.value)) <= SMALL.max_bytes


@given(any_values)
def test_a_value_counted_as_too_large_is_encoded_as_if_it_had_not_been_counted(recipe):
    def encoded():
        return encode_value(recipe(), "/extra", SMALL)

    counted = encoded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("Agent.event.values.values._is_surely_cut", lambda _value, _limits: False)
        assert _of_content(encoded()) == _of_content(counted)


def _of_content(encoded):
    return _ADDRESS.sub("", repr(encoded))


_ADDRESS = re.compile(r"0x[0-9a-f]+")


nested = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=3) | st.builds(object),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=60,
)


@given(nested, st.integers(1, 40))
def test_a_census_counts_at_most_the_values_that_are_there(value, most):
    def walked(node):
        inner = list(node.values()) if type(node) is dict else node if type(node) in (list, tuple) else []
        return 1 + sum(map(walked, inner))

    def is_data(node):
        if type(node) in (dict, list, tuple):
            return all(map(is_data, node.values() if type(node) is dict else node))
        return type(node) is not object

    found = census(value)
    assert found.nodes <= walked(value)
    assert found.is_data == is_data(value)
    assert (census(value, most).nodes > most) == (found.nodes > most)


@pytest.mark.further
@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_object_is_described_or_kept_and_never_raises(name):
    value = HOSTILE[name]()
    encoded = encode_value({"x": value, "after": 1}, "/extra")
    assert encoded.value["after"] == 1
    orjson.dumps(encoded.value)
    decode_value(encoded.value, encoded.types, "/extra")


@pytest.mark.further
def test_long_string_is_cut_and_keeps_length_and_digest():
    text = "é" * 50_000_000
    encoded = encode_value({"x": text, "y": 1}, "/e")
    assert encoded.types == {"/e/x": "truncated"}
    assert encoded.opaque == ("/e/x",)
    assert encoded.value["x"]["chars"] == 50_000_000
    assert encoded.value["x"]["head"] == "é" * DEFAULT_LIMITS.head_chars
    other = encode_value({"x": text[:-1] + "e"}, "/e")
    assert other.value["x"]["digest"] != encoded.value["x"]["digest"]


def test_long_bytes_are_cut_and_keep_length_and_digest():
    encoded = encode_value(bytes(10_000_000))
    assert encoded.types == {"": "truncated"}
    assert encoded.value["bytes"] == 10_000_000
    assert encoded.value["digest"].startswith("c1:")


def test_string_at_the_limit_is_kept_whole():
    text = "x" * DEFAULT_LIMITS.max_string_chars
    assert encode_value(text) == (text, {}, ())
    assert encode_value(text + "x").types == {"": "truncated"}


@pytest.mark.further
def test_a_million_items_are_cut_and_counted():
    encoded = encode_value(list(range(1_000_000)))
    assert encoded.value["items"] == 1_000_000
    assert encoded.value["head"][:3] == [0, 1, 2]
    assert len(encoded.value["head"]) <= DEFAULT_LIMITS.max_items
    assert encoded.value["digest"] != encode_value([*range(999_999), 0]).value["digest"]


@pytest.mark.further
def test_one_large_field_does_not_hide_the_others():
    value = {"grid": [[n, (n,)] for n in range(100_000)], **{f"field{n}": (n,) for n in range(40)}}
    encoded = encode_value(value, "/s")
    back = decode_value(encoded.value, encoded.types, "/s")
    assert {name: back[name] for name in value if name != "grid"} == {f"field{n}": (n,) for n in range(40)}
    assert encoded.opaque == ("/s/grid",)
    assert back["grid"].value["items"] == 100_000


@pytest.mark.further
def test_list_of_a_hundred_thousand_levels_is_cut_at_the_depth_limit():
    encoded = encode_value(HOSTILE["deep"]())
    assert len(encoded.opaque) == 1
    assert encoded.opaque[0].count("/") == DEFAULT_LIMITS.max_depth


def test_depth_limit_counts_containers_around_a_value():
    limits = Limits(max_depth=2)
    assert encode_value([[1]], "", limits).types == {}
    assert encode_value([[[1]]], "", limits).types == {"/0/0": "opaque"}


def test_cycle_is_opaque_and_shared_references_are_not():
    shared = [1]
    assert encode_value([shared, shared, (shared,)]).opaque == ()
    loop: dict = {"a": 1}
    loop["self"] = [loop]
    encoded = encode_value(loop, "/x")
    assert encoded.opaque == ("/x/self/0",)
    assert encoded.value["a"] == 1


@pytest.mark.parametrize("digits", [19, 20, 3_900, 4_300, 5_000, 30_000])
@pytest.mark.parametrize("sign", [1, -1])
def test_integers_of_thousands_of_digits_come_back(digits, sign):
    limit = sys.get_int_max_str_digits()
    value = sign * (10**digits - 7)
    encoded = encode_value([value, {value: value}])
    recorded = orjson.loads(orjson.dumps(encoded.value))
    assert decode_value(recorded, encoded.types) == [value, {value: value}]
    assert sys.get_int_max_str_digits() == limit


def test_integer_beyond_the_limit_is_cut():
    encoded = encode_value(1 << 1_000_000)
    assert encoded.types == {"": "truncated"}
    assert encoded.value["bits"] == 1_000_001


def test_large_array_is_cut_with_shape_and_digest():
    encoded = encode_value(np.zeros((1000, 1000)))
    assert encoded.types == {"": "truncated"}
    assert encoded.value["shape"] == [1000, 1000]
    assert encode_value(np.ones((1000, 1000))).value["digest"] != encoded.value["digest"]


def test_texts_of_an_array_that_unicode_does_not_have_are_not_taken_for_those_that_it_has():
    # numpy checks no code point, and UTF-8 writes this one like 0xB9119
    points = np.array([[75, 0xB9119], [75, 0x100B9119]], dtype="<u4")
    known, unknown = (encode_value(each.view("<U2")) for each in points)
    assert known.types == {"": "ndarray:<U2"}
    assert unknown.types == {"": "opaque"}
    assert encode_value(points.view("<U2")[:0]).types == {"": "ndarray:<U2"}


@pytest.mark.parametrize(
    "limits",
    [
        {"max_bytes": 10},
        {"max_items": 1},
        {"max_depth": 0},
        {"max_depth": 500},
        {"max_string_chars": 1},
        {"head_chars": -1},
    ],
)
def test_limits_that_leave_no_room_are_refused(limits):
    with pytest.raises(ValueError, match="limits need"):
        Limits(**limits)


@pytest.mark.further
@pytest.mark.process
def test_sets_are_stored_in_an_order_that_does_not_depend_on_hashes():
    code = (
        "import orjson\nfrom Agent.event.values.values import encode_value\n"
        "print(orjson.dumps(encode_value({'s': {'a', 'b', 'c', 'd'}, 'm': {(1, 'x'), (2, 'y'), None, 3.5, 'z'}}).value))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


def test_description_of_an_object_holds_no_address():
    for value in (
        object(),
        memoryview(b"x"),
        encode_value,
        functools.partial(print),
        ValueError("<X at 0x7f0011223344>"),
        threading.Lock(),
    ):
        assert "0x7" not in encode_value(value).value["repr"]
        assert encode_value(value).value == encode_value(value).value


def test_plain_attributes_of_an_unknown_object_are_shown():
    thing = types.SimpleNamespace()
    encoded = encode_value(Plain(thing), "/x")
    assert encoded.value["attributes"] == {"count": 3, "name": "n"}
    assert encoded.value["class"] == f"{__name__}.Plain"


class Plain:
    def __init__(self, thing):
        self.count = 3
        self.name = "n"
        self.thing = thing

    def __repr__(self):
        raise AssertionError("not to be called")


def test_exception_is_described_by_its_class_and_arguments():
    assert encode_value(KeyError("k", 3)).value["repr"] == "KeyError('k', 3)"


def test_containers_that_other_threads_change_are_read_without_an_exception():
    table = {n: n for n in range(200)}
    queue = collections.deque(range(200))
    stop = threading.Event()

    def change():
        n = 200
        while not stop.is_set():
            table[n] = n
            del table[n - 200]
            queue.append(n)
            queue.popleft()
            n += 1

    thread = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for _ in range(200):
            encoded = encode_value({"t": table, "q": queue}, "/x")
            assert type(encoded.value["t"]) is list
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_deep_stack_of_the_caller_gives_an_opaque_value_and_no_error():
    def descend(depth):
        try:
            return descend(depth + 1)
        except RecursionError:
            pass
        return encode_value(Pair(1, [Frozen((Count(3),))]), "/x")

    assert descend(0) is not None
