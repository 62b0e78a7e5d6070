"""Any value becomes one line of valid JSON; the fast way and the walk agree on it."""

from __future__ import annotations

import collections
import json
import math
import sys
import threading

import orjson
import pytest
from hostile import HOSTILE
from hypothesis import example, given
from hypothesis import strategies as st
from sameness import same
from shapes import Colour
from strategies import any_values, json_values, restorable_values

from Agent.event.values import values
from Agent.event.values.values import DEFAULT_LIMITS, Limits, decode_value, encode_value, to_json

SMALL = Limits(max_string_chars=24, max_bytes=1024, max_items=20, max_depth=3)


def assert_one_line_of_json(dumped):
    text = dumped.json.decode("utf-8")
    assert "\n" not in text
    assert "\r" not in text
    assert same(json.loads(text), orjson.loads(dumped.json))
    assert dumped.types is None or dumped.types
    assert set(dumped.opaque) <= set(dumped.types or ())


@given(any_values)
def test_any_value_is_one_line_of_valid_json(recipe):
    assert_one_line_of_json(to_json(recipe(), "/extra/args/x"))


@given(restorable_values)
def test_restorable_values_come_back_from_the_bytes(value):
    dumped = to_json(value, "/extra/args/x")
    assert_one_line_of_json(dumped)
    assert dumped.opaque == ()
    assert same(decode_value(json.loads(dumped.json), dumped.types, "/extra/args/x"), value)


@given(
    json_values | st.dictionaries(st.text(max_size=3), restorable_values, max_size=3),
    st.sampled_from([SMALL, DEFAULT_LIMITS]),
)
@example({"a": "x" * 24}, SMALL)
@example({"a": "x" * 25}, SMALL)
@example({"k" * 25: 1}, SMALL)
@example([[[1]]], SMALL)
@example([[[[1]]]], SMALL)
@example([0] * 19, SMALL)
@example([0] * 20, SMALL)
@example({str(n): "\u20ac" * 18 for n in range(17)}, SMALL)
@example([float("nan"), None], DEFAULT_LIMITS)
@example({"a": None, "b": float("inf")}, DEFAULT_LIMITS)
@example({"a": {"b": [None, float("-inf")]}}, DEFAULT_LIMITS)
def test_the_fast_way_and_the_walk_give_the_same(value, limits):
    dumped = to_json(value, "/e", limits)
    walked = encode_value(value, "/e", limits)
    assert same(orjson.loads(dumped.json), orjson.loads(orjson.dumps(walked.value)))
    assert (dumped.types or {}) == walked.types
    assert dumped.opaque == walked.opaque


def test_the_two_ways_agree_to_the_byte_on_what_is_too_large():
    limits = Limits(max_bytes=1024, max_string_chars=4096)
    for size in range(990, 1060):
        value = {"a": [1, None, True, False, -0.5, {"é": "x" * (size - 60)}], "b": {}, "c": []}
        dumped = to_json(value, "", limits)
        assert (dumped.types is None) == (len(orjson.dumps(value)) <= 1024), size
        assert (encode_value(value, "", limits).types == {}) == (dumped.types is None), size
        assert len(dumped.json) <= 1024, size


@pytest.mark.parametrize(
    "value",
    [{"a": 1, "b": None, "c": "null", "d": 2.5}, {"a": {"b": [1, {"c": []}]}}, [1, "x"], "x", None, 1.5],
)
def test_plain_values_take_the_fast_way(value, monkeypatch):
    def no_walk(*args):
        raise AssertionError("walked")

    monkeypatch.setattr(values, "encode_value", no_walk)
    dumped = to_json(value, "/x")
    assert dumped == (orjson.dumps(value), None, (), None)


@pytest.mark.parametrize(
    "value",
    [
        {"a": (1,)},
        {1: 2},
        {"a": float("nan")},
        {"a": Colour.RED},
        {"a": 2**64},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": collections.OrderedDict()},
        {"a": [{"b": {1}}]},
        collections.OrderedDict(a=1),
        float("inf"),
        "\udfff",
        2**64,
    ],
)
def test_values_that_need_a_tag_get_one(value):
    dumped = to_json(value, "/x")
    assert dumped.types
    assert same(decode_value(orjson.loads(dumped.json), dumped.types, "/x"), value)


@pytest.mark.integration
@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_objects_alone_and_inside(name):
    for value in (HOSTILE[name](), [HOSTILE[name]()], {"a": {"b": HOSTILE[name]()}}):
        assert_one_line_of_json(to_json(value, "/x"))


@pytest.mark.integration
def test_great_sizes_stay_within_the_limit():
    million = list(range(1_000_000))
    for value in (
        "x" * 50_000_000,
        {"a": "\0" * 20_000_000},
        million,
        {"a": million, "b": [million]},
        [[n] for n in million],
    ):
        dumped = to_json(value, "/x")
        assert len(dumped.json) <= DEFAULT_LIMITS.max_bytes
        assert dumped.opaque
        assert_one_line_of_json(dumped)


@pytest.mark.further
def test_great_depth_is_cut():
    value: object = 1
    for _ in range(100_000):
        value = [value]
    dumped = to_json({"x": value}, "")
    assert dumped.opaque
    assert_one_line_of_json(dumped)


def test_integer_of_five_thousand_digits_leaves_the_interpreter_limit_alone():
    limit = sys.get_int_max_str_digits()
    dumped = to_json({"n": 10**5000}, "/x")
    assert decode_value(orjson.loads(dumped.json), dumped.types, "/x") == {"n": 10**5000}
    assert sys.get_int_max_str_digits() == limit


def test_when_the_walk_fails_too_a_minimal_object_says_so(monkeypatch):
    def failing(*args):
        raise MemoryError

    monkeypatch.setattr(values, "encode_value", failing)
    dumped = to_json({object()}, "/x")
    assert orjson.loads(dumped.json) == {
        "repr": "<not recorded>",
        "class": "builtins.set",
        "failure": "MemoryError",
        "unseen": "it could not be read",
    }
    assert dumped.types == {"/x": "opaque"}
    assert dumped.opaque == ("/x",)


def test_agents_are_ids():
    class Peer:
        pass

    peer = Peer()
    dumped = to_json({"other": peer}, "/x", agent_of=lambda value: "b" if value is peer else None)
    assert (dumped.json, dumped.types) == (b'{"other":"b"}', {"/x/other": "agent"})


def test_interrupt_passes_through():
    def interrupt(value):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        to_json(object(), "/x", agent_of=interrupt)


def test_dict_that_other_threads_change_is_written_without_an_exception():
    table: dict = {"a": [1], "b": {"c": math.pi}}
    stop = threading.Event()

    def change():
        n = 0
        while not stop.is_set():
            table[f"k{n % 50}"] = [n] if n % 3 else (n,)
            table.pop(f"k{(n + 25) % 50}", None)
            n += 1

    thread = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for _ in range(300):
            assert_one_line_of_json(to_json(table, "/x"))
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
