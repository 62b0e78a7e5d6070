"""Digests: equal for equal tagged values, different where only a tag differs."""

from __future__ import annotations

import collections
import subprocess
import sys
from hashlib import blake2b

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import hashable_values, json_values, restorable_values

from Agent.event.values.digest import code_digest, differ_in_tokens_alone, digest_json
from Agent.event.values.values import encode_value


def digest_of(value, pointer=""):
    encoded = encode_value(value, pointer)
    return digest_json(encoded.value, encoded.types, pointer)


def reordered(value):
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(list(value))}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def test_digest_is_sixteen_hex_digits_and_stays_what_it_was():
    assert digest_json({"b": 1, "a": [1, 2.5, None, "é"]}) == digest_json({"a": [1, 2.5, None, "é"], "b": 1})
    assert digest_json({}) == blake2b(b"{}", digest_size=8).hexdigest() == "01e7b720ff566d53"
    tagged = blake2b(b'1:{"\\u0000":["tuple",[1]]}', digest_size=8).hexdigest()
    assert digest_json([1], {"": "tuple"}) == tagged == "2b8f0db33492902a"


@given(json_values)
def test_order_of_keys_does_not_count(value):
    assert digest_json(reordered(value)) == digest_json(value)


@given(st.dictionaries(hashable_values, json_values, max_size=4))
def test_order_of_keys_that_are_no_strings_does_not_count(table):
    backwards = {key: table[key] for key in reversed(list(table))}
    assert digest_of(backwards) == digest_of(table)
    assert digest_of(collections.defaultdict(list, backwards)) == digest_of(
        collections.defaultdict(list, table)
    )


def test_order_of_an_ordered_dict_counts():
    forwards, backwards = collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)
    assert digest_of(forwards) != digest_of(backwards)
    assert digest_of({1: forwards}) != digest_of({1: backwards})


@given(restorable_values)
def test_pointer_of_the_value_does_not_count(value):
    assert digest_of(value, "/extra/args/x") == digest_of(value)


@given(restorable_values)
def test_digest_survives_the_bytes(value):
    encoded = encode_value(value)
    assert digest_json(orjson.loads(orjson.dumps(encoded.value)), encoded.types) == digest_of(value)


DISTINCT = [
    [1],
    (1,),
    {1},
    frozenset({1}),
    [[1]],
    [(1,)],
    ([1],),
    {"a": 1},
    {"a": 1.0},
    {"a": "1"},
    {"a": True},
    {"a": None},
    {1: "a"},
    collections.OrderedDict(a=1),
    collections.Counter(a=1),
    float("nan"),
    "NaN",
    b"NaN",
    0.0,
    -0.0,
    0,
    2**70,
    str(2**70),
    "\ud800",
    "\\ud800",
    collections.deque([1]),
    collections.deque([1], 3),
    # Values that look like the canonical form of a tagged one.
    {"\0": ["tuple", [1]]},
    {"\0\0": ["tuple", [1]]},
    [{"\0": ["tuple", [1]]}, (1,)],
    [(1,), {"\0": ["tuple", [1]]}],
    [(1,), (1,)],
]


@pytest.mark.parametrize("index", range(len(DISTINCT)))
def test_values_of_different_type_or_content_differ(index):
    mine = digest_of(DISTINCT[index])
    assert [i for i, other in enumerate(DISTINCT) if digest_of(other) == mine] == [index]


def test_digest_does_not_change_its_arguments():
    value, types = {"a": [[1], 2]}, {"/a/0": "tuple", "/a": "set"}
    digest_json(value, types)
    assert (value, types) == ({"a": [[1], 2]}, {"/a/0": "tuple", "/a": "set"})


@pytest.mark.further
def test_json_that_orjson_refuses_has_a_digest_too():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    values = [
        deep,
        [deep],
        {"a": 2**80},
        {"a": "\ud800"},
        {"a": 2**80, "b": [1]},
        {"a": 2**80, "b": {"0": 1}},
    ]
    assert len({digest_json(value) for value in values}) == len(values)
    assert digest_json({"a": 2**80, "b": 1}) == digest_json({"b": 1, "a": 2**80})


@pytest.mark.process
def test_digest_is_the_same_in_every_process():
    code = "from Agent.event.values.digest import digest_json; print(digest_json({'a': [1], 'b': {'x': 2}}, {'/a': 'set'}))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{digest_json({'a': [1], 'b': {'x': 2}}, {'/a': 'set'})}\n".encode()}


def test_code_digest_sees_code_and_not_its_line_endings():
    source = "def f():\n    return 1\n"
    assert code_digest("m", "f", source) == code_digest("m", "f", "\ndef f():   \r\n    return 1")
    others = [
        ("m", "f", "def f():\n    return 2\n"),
        ("m", "g", source),
        ("n", "f", source),
        ("m.f", "", source),
    ]
    assert len({code_digest(*parts) for parts in [("m", "f", source), *others]}) == 5
    assert len(code_digest("m", "f", "'\ud800'")) == 16


def test_texts_whose_hidden_parts_alone_differ_are_told_from_others():
    one, other = f"[redacted:{'a' * 16}]", f"[redacted:{'b' * 16}]"
    assert differ_in_tokens_alone(f"key {one}!", f"key {other}!")
    assert not differ_in_tokens_alone(f"x{one}y", f"xy{other}")
    assert not differ_in_tokens_alone(f"x{one}", "x")
    assert not differ_in_tokens_alone("x", f"x{one}")
