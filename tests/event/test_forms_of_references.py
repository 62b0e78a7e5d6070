"""The form of a reference is kept while the attributes of its object are unchanged, and is the one made anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.classes import note_other_forms
from Agent.event.values import content_digest, opaque, values
from Agent.event.values.reading import USUAL, Reading
from Agent.record.encode.native import native

needs_native = pytest.mark.skipif(native is None, reason="only the part in C tells versions")


class World:
    """An environment: a library's object that holds agents."""

    def __init__(self):
        self.agents = [object()]


class Slotted:
    """The same with a slot, whose changes no version of a dict shows."""

    __slots__ = ("__dict__", "step")

    def __init__(self):
        self.agents, self.step = [object()], 0


REFERENCE = content_digest.Content(content_digest.OpaqueKind.REFERENCE, "environment World")


@pytest.fixture(autouse=True)
def worlds(monkeypatch):
    for cls in (World, Slotted):
        monkeypatch.setitem(opaque._in_vain, cls, opaque._InVain(REFERENCE, 100, 0))
    note_other_forms()


def no_agent(_value):
    return None


READINGS = (USUAL, Reading(owner="a"), Reading(owner="a", shows_references=False))


def form_of(value, reading):
    return values.form_of_reference(value, no_agent, reading)


def form_anew(value, reading):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "attributes_version", values._no_version)
        return form_of(value, reading)


CHANGES = st.one_of(
    st.tuples(st.just("set"), st.sampled_from("ab"), st.sampled_from([1, True, 1.0, "x", None, (1, 2), [1]])),
    st.tuples(st.just("delete"), st.sampled_from("ab"), st.none()),
    st.tuples(st.just("replace"), st.none(), st.none()),
    st.tuples(st.just("slot"), st.none(), st.integers(0, 3)),
)


@given(
    st.sampled_from([World, Slotted]), st.lists(st.tuples(CHANGES, st.sampled_from(READINGS)), max_size=12)
)
def test_a_form_is_the_one_that_would_be_made_now(cls, steps):
    world = cls()
    for (how, name, value), reading in steps:
        if how == "set":
            setattr(world, name, value)
        elif how == "delete":
            vars(world).pop(name, None)
        elif how == "replace":
            world.__dict__ = dict(vars(world))
        elif cls is Slotted:
            world.step = value
        assert form_of(world, reading) == form_anew(world, reading)


@needs_native
def test_a_form_is_kept_while_no_attribute_changes():
    world = World()
    first = form_of(world, USUAL)
    assert form_of(world, USUAL) is first
    world.step = 1
    assert form_of(world, USUAL) != first
    assert form_of(World(), USUAL) is not form_of(World(), USUAL), "of two objects"


@needs_native
def test_a_class_that_counts_otherwise_has_another_form(monkeypatch):
    world = World()
    form_of(world, USUAL)
    other = content_digest.Content(content_digest.OpaqueKind.REFERENCE, "environment of another kind")
    monkeypatch.setitem(opaque._in_vain, World, opaque._InVain(other, 100, 0))
    assert form_of(world, USUAL) == form_anew(world, USUAL)


def test_few_forms_are_kept():
    for _ in range(3 * values._MOST_FORMS):
        form_of(World(), USUAL)
    assert len(values._forms) <= values._MOST_FORMS


@needs_native
def test_only_the_dict_of_an_object_itself_has_a_version():
    world, slotted = World(), Slotted()
    version = native.attributes_version(world, vars(world))
    assert version > 0
    assert native.attributes_version(world, dict(vars(world))) == 0
    assert native.attributes_version(slotted, {**vars(slotted), "step": 0}) == 0
    assert native.attributes_version(1, {}) == 0
    world.step = 1
    assert native.attributes_version(world, vars(world)) != version
