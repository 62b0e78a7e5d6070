"""The matching ladder: one table of what is asked, what is recorded, and which rung it is found on."""

from __future__ import annotations

from types import SimpleNamespace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.values.values import encode_value
from Agent.flight.recorded_calls import (
    Match,
    RecordedCall,
    RequestedCall,
    Rung,
    Tagged,
    distances,
    find_match,
)

HERE, THERE = ("Agent.act", ("plan",)), ("Agent.check", ("plan", "check"))
TOKEN, OTHER_TOKEN = "[redacted:0123456789abcdef]", "[redacted:fedcba9876543210]"


def tagged(value: object) -> Tagged:
    encoded = encode_value(value)
    return Tagged(encoded.value, encoded.types)


def recorded(value: object, place=HERE, ordinal: int = 0, number: int = 1) -> RecordedCall:
    call = RecordedCall(
        SimpleNamespace(), SimpleNamespace(id=f"w-{number}"), "tool.call", "search", number, *place, ordinal
    )
    call.__dict__["arguments"] = tagged(value)
    return call


def ask(value: object, place=HERE, ordinal: int = 0) -> RequestedCall:
    return RequestedCall("tool.call", "search", tagged(value), place, ordinal)


TABLE = [
    # (what is asked, place, ordinal), the recorded calls, the rung, which of them
    (({"q": "tea"}, HERE, 0), [({"q": "tea"}, HERE, 0)], Rung.EXACT, 0),
    (({"q": "tea"}, None, 0), [({"q": "x"}, HERE, 0), ({"q": "tea"}, THERE, 0)], Rung.EXACT, 1),
    (({"q": "tea"}, HERE, 1), [({"q": "tea"}, HERE, 1)], Rung.EXACT, 0),
    (({"b": 1, "a": 2}, HERE, 0), [({"a": 2, "b": 1}, HERE, 0)], Rung.EXACT, 0),
    (({"q": {1, 2}}, HERE, 0), [({"q": {2, 1}}, HERE, 0)], Rung.EXACT, 0),
    # the same arguments elsewhere: after those here, before any that are near
    (({"q": "tea"}, HERE, 0), [({"q": "tea"}, THERE, 0), ({"q": "tea"}, HERE, 0)], Rung.EXACT, 1),
    (({"q": "tea"}, HERE, 0), [({"q": "teas"}, HERE, 0), ({"q": "tea"}, THERE, 0)], Rung.MOVED, 1),
    # another key made another token of the same secret
    (({"key": OTHER_TOKEN}, HERE, 0), [({"key": TOKEN}, HERE, 0)], Rung.HIDDEN, 0),
    (({"key": f"Bearer {OTHER_TOKEN}"}, HERE, 0), [({"key": f"Bearer {TOKEN}"}, THERE, 0)], Rung.HIDDEN, 0),
    # near, at the same place and turn only
    (({"q": "green teas"}, HERE, 0), [({"q": "green tea"}, HERE, 0)], Rung.NEAR, 0),
    (({"q": "green teas"}, HERE, 1), [({"q": "green tea"}, HERE, 0), ({"q": "green tee"}, HERE, 1)], Rung.NEAR, 1),
    (({"x": 0.30000000000000004}, HERE, 0), [({"x": 0.3}, HERE, 0)], Rung.NEAR, 0),
    (({"q": "green teas"}, None, 0), [({"q": "green tea"}, THERE, 0)], Rung.NEAR, 0),
    (({"q": "green teas"}, HERE, 0), [({"q": "green tea"}, THERE, 0)], None, 0),
    (({"q": "green teas"}, HERE, 1), [({"q": "green tea"}, HERE, 0)], None, 0),
    # another page, another flag, one argument more, another type: other calls
    (({"q": "tea", "page": 3}, HERE, 0), [({"q": "tea", "page": 2}, HERE, 0)], None, 0),
    (({"q": "tea", "new": True}, HERE, 0), [({"q": "tea", "new": False}, HERE, 0)], None, 0),
    (({"q": "tea", "n": 1}, HERE, 0), [({"q": "tea"}, HERE, 0)], None, 0),
    (({"q": (1, 2)}, HERE, 0), [({"q": [1, 2]}, HERE, 0)], None, 0),
    (({"q": "coffee"}, HERE, 0), [({"q": "tax law"}, HERE, 0)], None, 0),
    (({"q": "tea"}, HERE, 0), [], None, 0),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "calls", "rung", "which"), TABLE)
def test_the_first_rung_that_holds_is_taken(asked, calls, rung, which):
    free = [
        recorded(value, place, ordinal, number) for number, (value, place, ordinal) in enumerate(calls, 1)
    ]
    found = find_match(free, ask(*asked), 0.5)
    if rung is None:
        assert not isinstance(found, Match)
    else:
        assert isinstance(found, Match)
        assert (found.rung, found.call) == (rung, free[which])


@pytest.mark.parametrize(
    ("node", "tag"),
    [
        ([["a", 1]], "defaultdict:app.make@{}"),
        ({"repr": "<K object>", "class": "K", "digest": "{}"}, "opaque"),
        ({"head": ["a"], "items": 9, "tag": "list", "digest": "{}"}, "truncated"),
    ],
)
def test_equal_arguments_in_which_a_secret_is_left_out_are_no_exact_match(node, tag):
    for digest, rung in (("c1/redacted:1234", Rung.HIDDEN), ("c1:1234", Rung.EXACT)):
        held = orjson.loads(orjson.dumps(node).replace(b"{}", digest.encode()))
        arguments = Tagged({"held": [held]}, {"/held/0": tag.replace("{}", digest)})
        call = recorded({})
        call.__dict__["arguments"] = arguments
        found = find_match([call], RequestedCall("tool.call", "search", arguments, HERE, 0), 0.0)
        assert isinstance(found, Match)
        assert found.rung is rung


def test_a_tolerance_of_nothing_shuts_the_last_rung():
    free = [recorded({"q": "green tea"})]
    assert not isinstance(find_match(free, ask({"q": "green teas"}), 0.0), Match)


def test_distances_are_told_by_field_and_by_place():
    near = find_match([recorded({"q": "green tea", "n": 2})], ask({"q": "green teas", "n": 2}), 0.5)
    assert list(near.distance) == ["/q"]
    assert 0 < near.distance["/q"] < 0.2
    moved = find_match([recorded({"q": 1}, THERE)], ask({"q": 1}), 0.5)
    assert moved.distance == {"site": 1.0, "path": 1.0}


def test_of_what_is_missed_the_nearest_are_named_first():
    free = [recorded({"q": "tax law"}, number=1), recorded({"q": "tea", "page": 1}, number=2)]
    nearest = find_match(free, ask({"q": "tea", "page": 2}), 0.5)
    assert [one.call.number for one in nearest] == [2, 1]
    assert nearest[0].distance == {"/page": 1.0}


def test_texts_of_which_only_the_shape_was_kept_are_never_near():
    one, other = "[str 13:00112233445566aa]", "[str 13:00112233445566ab]"
    distance = distances(Tagged({"q": one}, {"/q": "opaque"}), Tagged({"q": other}, {"/q": "opaque"}))
    assert distance == {"/q": 1.0}
    assert distances(tagged({"q": one}), tagged({"q": other}))["/q"] < 0.1


def test_keys_that_differ_in_secrets_alone_are_one_key_beside_an_object_too():
    ring = {"repr": "<cycle: 1 up>", "class": "builtins.list", "digest": "c1:56f388a26ac25862"}
    one, other, changed = (
        Tagged({"q": [{f"password={token}": value}, ring]}, {"/q/1": "opaque"})
        for token, value in ((TOKEN, 1), (OTHER_TOKEN, 1), (OTHER_TOKEN, 2))
    )
    assert distances(one, other) == {f"/q/0/password={TOKEN}": 0.0}
    assert distances(one, changed) == {f"/q/0/password={TOKEN}": 1.0}
    two_keys = {f"a={TOKEN}": 1, f"b={TOKEN}": 1}, {f"a={OTHER_TOKEN}": 1, f"c={OTHER_TOKEN}": 1}
    alone = distances(*(tagged(each) for each in two_keys))
    assert alone == {f"/a={TOKEN}": 0.0, f"/b={TOKEN}": 1.0, f"/c={OTHER_TOKEN}": 1.0}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_distances_are_none_for_equal_values_and_between_0_and_1_else(one, other):
    assert distances(tagged(one), tagged(one)) == {}
    found = distances(tagged(one), tagged(other))
    assert all(0.0 <= value <= 1.0 for value in found.values())
    assert bool(found) == (tagged(one).digest != tagged(other).digest)
    assert found.keys() == distances(tagged(other), tagged(one)).keys()
