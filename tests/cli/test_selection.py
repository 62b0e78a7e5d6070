"""Which events a command shows: conditions on fields, times, levels."""

from __future__ import annotations

import pytest

from Agent.cli.event_lines import Selection, field_values, parse_condition
from Agent.cli.parameters import Since
from Agent.event.model import Event

EVENT = Event(
    "2026-11-20T10:30:45.123456Z",
    "aaaabbbb-7",
    1,
    "agent_action",
    "20261120_103045",
    level="WARNING",
    message="Agent action: publish",
    tick=17,
    causes=("aaaabbbb-3", "aaaabbbb-5"),
    extra={
        "agent_id": "creator_001",
        "action_type": "publish",
        "duration_ms": 12.0,
        "ok": True,
        "nothing": None,
        "args": {"topic": "tea", "when.exactly": "now", "tags": ["hot", "green"]},
        "rows": [{"id": 1}, {"id": 2}],
    },
    state={"set": {"followers": 12}},
)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("action_type=publish", True),
        ("action_type = publish", False),
        ("extra.action_type=publish", True),
        ("action_type=pub", False),
        ("action_type~^pub", True),
        ("action_type!~^pub", False),
        ("action_type!=publish", False),
        ("args.topic=tea", True),
        ("args.when.exactly=now", True),
        ("args.tags=green", True),
        ("args.tags=gre", False),
        ("args.tags.0=hot", True),
        ("args.tags.1=hot", False),
        ("args.tags.9=hot", False),
        ("rows.id=2", True),
        ("rows.1.id=1", False),
        ("tick=17", True),
        ("tick=17.0", True),
        ("tick>16", True),
        ("tick>17", False),
        ("tick>=17", True),
        ("duration_ms<12.5", True),
        ("duration_ms<=11", False),
        ("duration_ms=12", True),
        ("ok=true", True),
        ("ok=1", False),
        ("ok>0", False),
        ("nothing=null", True),
        ("absent=1", False),
        ("absent!=1", True),
        ("absent!~.", True),
        ("absent>1", False),
        ("causes=aaaabbbb-5", True),
        ("state.set.followers>=12", True),
        ("message~publish", True),
        ("type=agent_action", True),
        ("event_type=agent_action", True),
        ("level=WARNING", True),
        ("args~topic.*tea", True),
        ("args.topic=", False),
    ],
)
def test_a_condition_holds_for_what_the_line_says(condition, holds):
    assert parse_condition(condition).holds_for(EVENT) is holds


@pytest.mark.parametrize(
    "text", ["", "key", "=value", "~x", "key~(", "key~*", "key>many", "key>nan", ">5", "key<"]
)
def test_what_is_no_condition_is_told_in_one_clause(text):
    with pytest.raises(ValueError) as refused:
        parse_condition(text)
    assert "\n" not in str(refused.value)
    assert str(refused.value)


def test_every_value_of_a_list_is_one_value_of_the_field():
    assert list(field_values(EVENT, "rows.id")) == [1, 2]
    assert list(field_values(EVENT, "args.tags")) == ["hot", "green"]
    assert list(field_values(EVENT, "nowhere.at.all")) == []


def test_all_that_is_asked_must_hold():
    assert Selection()(EVENT)
    assert Selection(
        ("x", "creator_001"), "WARNING", ("agent_action", "reward"), (parse_condition("tick=17"),)
    )(EVENT)
    assert not Selection(agents=("x",))(EVENT)
    assert not Selection(level="ERROR")(EVENT)
    assert not Selection(kinds=("reward",))(EVENT)
    assert not Selection(fields=(parse_condition("tick=17"), parse_condition("tick=18")))(EVENT)


def test_a_stretch_begins_with_since_and_ends_before_until():
    at = EVENT.timestamp_us
    assert Selection(since=Since(at))(EVENT) and not Selection(since=Since(at + 1))(EVENT)
    assert Selection(until=Since(at + 1))(EVENT) and not Selection(until=Since(at))(EVENT)
    assert Selection(since=Since(tick=17), until=Since(tick=18))(EVENT)
    assert not Selection(until=Since(tick=17))(EVENT)
