"""What C finds in an object for its form is what Python finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.classes import _in_slots, places_of
from Agent.event.values.opaque import _shown_of
from Agent.record.encode.native import native

pytestmark = pytest.mark.skipif(native is None, reason="the C part is not built")


class Text(str):
    """No plain text."""


class Slotted:
    __slots__ = ("first", "second", "third")


names = st.text(max_size=6) | st.sampled_from(["\ud800", "é", Text("x"), 7, "n" * 9])
values = (
    st.integers()
    | st.sampled_from([2**63 - 1, 2**63, -(2**63), 1 - 2**63, True, None, [], Text("x"), "\ud800", "é" * 9])
    | st.floats()
    | st.text(max_size=12)
)


@given(st.dictionaries(names, values, max_size=12), st.integers(0, 6))
def test_the_same_attributes_are_shown(attributes, most):
    shown, expected = native.shown(attributes, most, 8), _shown_of(attributes, most, 8)
    assert list(shown.items()) == list(expected.items())
    assert all(shown[name] is value for name, value in expected.items())


@given(st.sets(st.sampled_from(Slotted.__slots__)))
def test_the_same_slots_are_read(filled):
    slotted = Slotted()
    for name in filled:
        setattr(slotted, name, [name])
    slots = places_of(Slotted).slots
    assert native.in_slots(slotted, slots) == _in_slots(slotted, slots) == {name: [name] for name in filled}
