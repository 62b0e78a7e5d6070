"""Reading a partial leaves it without a `__dict__`, so that Python still joins it with a partial around it."""

from __future__ import annotations

from functools import partial

import pytest
from record_kit import recording

from Agent.event.classes import attributes_of, is_partial, restore_attributes
from Agent.utils import trace_agent_action


def told(*arguments, **named):
    return arguments, named


class Named(partial):
    pass


class WithSlot(partial):
    __slots__ = ("mark",)


class Told(partial):
    def __reduce__(self):
        raise AssertionError


class Binder:
    agent_id, agent_role = "binder", "binder"

    def __init__(self, made):
        self.bound = made(told, 1)
        self.held = [made(told, 3)]

    @trace_agent_action
    def bind(self, given):
        self.bound = type(self.bound)(self.bound, 2)
        return given


def has_none(value):
    return partial.__reduce__(value)[2][3] is None


@pytest.mark.parametrize("made", [partial, Named, WithSlot])
def test_a_recorded_partial_has_no_dict_that_the_program_did_not_make(made):
    agent, given = Binder(made), made(told, 5)
    with recording():
        for _ in range(20):
            assert agent.bind(given) is given
            assert has_none(given) and has_none(agent.bound) and has_none(agent.held[0])
    if made is partial:
        assert agent.bound.func is told and agent.bound.args == (1, *[2] * 20)


@pytest.mark.parametrize("made", [partial, Named, WithSlot])
def test_the_attributes_of_a_partial_are_read_if_it_has_some(made):
    value = made(told, 1)
    assert is_partial(made) and attributes_of(value) == {} and has_none(value)
    value.note = "kept"
    assert attributes_of(value) == {"note": "kept"}
    if made is WithSlot:
        value.mark = 7
        assert attributes_of(value) == {"mark": 7, "note": "kept"}
    other = made(told, 1)
    restore_attributes(other, {})
    assert has_none(other)
    restore_attributes(other, attributes_of(value))
    assert other.note == "kept"


def test_a_partial_with_a_reduction_of_its_own_is_not_asked_for_it():
    assert not is_partial(Told) and attributes_of(Told(told)) == {}


def test_an_attribute_that_a_partial_gets_between_actions_is_recorded():
    agent = Binder(partial)
    with recording() as recorded:
        agent.bind(1)
        agent.held[0].note = "new"
        agent.bind(2)
    assert '"note":"new"' in recorded.text
