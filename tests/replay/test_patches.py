"""Patches of recorded states: both standards by their own examples, and what becomes of tags."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.errors import UsageError
from Agent.replay.forks.outcome import apply_patch, leaves, merged, of_leaves

RFC_7386 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
"""The table of test cases in appendix A of the standard."""


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7386)
def test_a_merge_patch_does_what_the_standard_shows(target, patch, result):
    assert merged(target, patch) == result


def test_a_json_patch_is_carried_out_in_order():
    operations = [
        {"op": "add", "path": "/items/-", "value": 3},
        {"op": "move", "from": "/old", "path": "/new"},
        {"op": "remove", "path": "/gone"},
    ]
    patched = apply_patch({"items": [1, 2], "old": "x", "gone": True}, {}, operations)
    assert patched.fields == {"items": [1, 2, 3], "new": "x"}
    assert (set(patched.changed), set(patched.removed)) == ({"items", "new"}, {"old", "gone"})


def test_a_patch_that_cannot_be_carried_out_is_one_error():
    with pytest.raises(UsageError, match="does not fit"):
        apply_patch({"a": 1}, {}, [{"op": "replace", "path": "/b/c", "value": 1}])
    with pytest.raises(UsageError, match="does not leave a mapping"):
        apply_patch({"a": 1}, {}, [{"op": "replace", "path": "", "value": 1}])


def test_a_value_of_the_same_kind_keeps_its_tag_and_what_it_replaces_loses_its_own():
    fields = {"at": "2026-11-20T00:00:00", "place": [1, "2.5"], "set": [1], "same": [[1]]}
    types = {
        "/at": "datetime", "/place": "tuple", "/place/1": "decimal", "/set": "set", "/same": "tuple",
        "/same/0": "tuple",
    }  # fmt: skip
    patched = apply_patch(fields, types, {"at": "2026-11-21T00:00:00", "place": [1, 2], "set": "none"})
    assert patched.types == {
        "/at": "datetime", "/place": "tuple", "/same": "tuple", "/same/0": "tuple",
    }  # fmt: skip
    assert set(patched.changed) == {"at", "place", "set"}


def test_a_token_that_is_replaced_is_no_secret_any_more():
    patched = apply_patch({"key": "[redacted:0123456789abcdef]"}, {"/key": "redacted"}, {"key": "new"})
    assert patched.types == {}


def test_one_is_neither_true_nor_a_float():
    assert apply_patch({"a": 1, "b": 1}, {}, {"a": True, "b": 1.0}).changed == ("a", "b")


JSON = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.text(max_size=2), inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=2), JSON, max_size=4))
def test_the_single_changes_of_a_patch_together_are_the_patch(patch):
    assert of_leaves(patch, leaves(patch)) == patch


@given(st.dictionaries(st.text(max_size=2), JSON), st.dictionaries(st.text(max_size=2), JSON))
def test_applying_a_patch_changes_nothing_that_was_given(fields, patch):
    before = repr(fields), repr(patch)
    apply_patch(fields, {}, patch)
    assert (repr(fields), repr(patch)) == before


def test_values_that_json_lacks_are_left_alone_by_a_patch_of_others():
    chance = random.Random(3)
    patched = apply_patch({"chance": chance, "total": 1}, {}, {"total": 2})
    assert (patched.fields["chance"], patched.changed) == (chance, ("total",))
