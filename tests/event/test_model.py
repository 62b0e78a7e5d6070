"""`Event` as a value."""

import dataclasses

import pytest

from Agent.event.codec import event_to_object
from Agent.event.model import ENVELOPE_KEYS, Event


def event(**changes):
    given = {
        "timestamp": "2026-11-20T10:30:45.123456Z",
        "id": "abcdefgh-42",
        "schema_version": 1,
        "kind": "log",
        "session_id": "s",
    }
    return Event(**{**given, **changes})


def test_an_event_is_frozen_and_holds_nothing_else():
    one = event()
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.kind = "other"
    with pytest.raises((AttributeError, TypeError)):
        one.other = 1


def test_the_envelope_is_an_event_without_its_kind():
    names = {field.name for field in dataclasses.fields(Event)}
    assert set(ENVELOPE_KEYS) == names - {"kind"} and len(set(ENVELOPE_KEYS)) == len(ENVELOPE_KEYS)


def test_the_keys_of_a_line_stand_in_the_order_of_the_envelope():
    links = {
        "run_id": "r",
        "span_id": "s",
        "parent_span_id": "p",
        "causes": ("abcdefgh-1",),
        "tick": 1,
        "hlc": 2,
    }
    full = event(**links, extra={"a": 1}, code="c", state={"set": {}, "unset": []}, types={"/extra/a": "int"})
    assert tuple(event_to_object(full)) == ENVELOPE_KEYS


def test_its_id_tells_writer_and_number():
    assert (event().writer, event().seq) == ("abcdefgh", 42)


def test_its_time_is_a_number_too():
    assert event().timestamp_us == 1_795_170_645_123_456


@pytest.mark.parametrize(
    ("extra", "agent", "role"),
    [
        ({}, None, None),
        ({"agent_id": "a", "agent_role": "r"}, "a", "r"),
        ({"agent_id": 5, "agent_role": []}, None, None),
    ],
)
def test_it_tells_its_agent_where_there_is_one(extra, agent, role):
    assert (event(extra=extra).agent_id, event(extra=extra).agent_role) == (agent, role)


@pytest.mark.parametrize(("level", "number"), [("DEBUG", 10), ("CRITICAL", 50), ("unheard of", 20)])
def test_its_level_is_a_number_too(level, number):
    assert event(level=level).severity == number


def test_events_are_ordered_by_time_then_writer_then_number():
    later = event(timestamp="2026-11-20T10:30:45.123457Z", id="aaaaaaaa-1")
    other = event(id="bbbbbbbb-1")
    second, tenth = event(id="abcdefgh-2"), event(id="abcdefgh-10")
    assert sorted([later, other, tenth, second], key=lambda one: one.order) == [second, tenth, other, later]


def test_equal_events_are_equal():
    assert event() == event() and event() != event(tick=1)
