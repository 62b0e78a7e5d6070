"""When a condition on agents' states held, against what the recorded values say one by one."""

from __future__ import annotations

import enum
import math
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from analysis_kit import SessionBuilder
from hypothesis import given
from hypothesis import strategies as st

from Agent import setup_logging, shutdown_logging, tick, trace_agent_action
from Agent.analysis import LogAnalyzer
from Agent.errors import AgentNotFound, UsageError
from Agent.tree.read.reader import TreeReader

_CONDITIONS = {
    "a > 1": lambda fields, _tick: fields["a"] > 1,
    "len(b) == 1 and not a": lambda fields, _tick: (
        "b" in fields and len(fields["b"]) == 1 and not fields["a"]
    ),
    "any(x > a for x in b)": lambda fields, _tick: any(x > fields["a"] for x in fields.get("b", ())),
    "a < tick": lambda fields, tick: fields["a"] < tick,
}
_steps = st.lists(
    st.tuples(
        st.sampled_from(["p", "q"]),
        st.fixed_dictionaries(
            {}, optional={"a": st.integers(-1, 3), "b": st.lists(st.integers(0, 3), max_size=2)}
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=20,
)


@given(_steps, st.sampled_from(list(_CONDITIONS)))
def test_a_condition_holds_from_the_event_that_made_it_true_until_the_one_that_ended_it(steps, condition):
    with TemporaryDirectory() as directory:
        build, holds_at = SessionBuilder(Path(directory)), _CONDITIONS[condition]
        states, truth, open_since = {"p": {}, "q": {}}, [], {}
        first = [(name, {"a": -1, "b": []}, False) for name in "pq"]
        for tick, (name, new, unsets) in enumerate(first + steps):
            build.tick = tick
            gone = ["b"] if unsets and "b" not in new else []
            if tick < 2:
                event = build.emit("state", name, fields=new, reason="first", digest="0")
            else:
                event = build.emit("agent_action", name, action_type="act", state={"set": new, "unset": gone})
            states[name] = {k: v for k, v in {**states[name], **new}.items() if k not in gone}
            holds = holds_at(states[name], tick)
            if holds and name not in open_since:
                open_since[name] = len(truth)
                truth.append([name, event, None])
            elif not holds and name in open_since:
                truth[open_since.pop(name)][2] = event
        found = LogAnalyzer(root=directory).watch(condition)
    told = [
        [each["agent_id"], each["since"]["id"], each["until"] and each["until"]["id"]]
        for each in found["intervals"]
    ]
    assert told == truth


@pytest.fixture
def session(builder):
    fields = {"coins": 3, "name": "ann", "we.ird": 7, "class": "payer"}
    builder.emit("state", "ann", fields=fields, reason="first", digest="0")
    builder.emit("agent_action", "ann", action_type="pay", state={"set": {"coins": 0}})
    return builder


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("coins >", "is not an expression"),
        ("", "is not an expression"),
        ("import os", "is not an expression"),
        ("coins = 3", "and tick == 40'"),
        ("coins > 1; tick", "is not an expression"),
        ("-" * 99_999 + "1", "is not an expression"),
        ("purse > 3", "recorded fields: field('class'), coins, name, field('we.ird')"),
        ("coins.__class__", "reads the attribute __class__; use fields, operators, and abs, all"),
        ("name.format", "reads the attribute format; use fields"),
        ("open('x')", "calls open; use fields"),
        ("coins.bit_length()", "calls a method; use fields"),
        ("10 ** 10 ** 10 > coins", "makes a number, text or list that is too large; compare with"),
        ("(lambda: coins)()", "contains lambda: coins; use fields"),
        ("(x := coins) > 1", "contains (x := coins); use fields"),
        ("coins @ 3", "contains MatMult; use fields"),
        ("we.ird > 3", "no agent has a field 'we'; recorded fields: field('we.ird'), field('class'), coins"),
        ("we ird > 3", "a field whose name is no identifier as in \"field('a.b') > 3\""),
        ("field('ot.her') > 3", "no agent has a field 'ot.her'"),
        ("field(coins) > 3", "calls field with something else than one name in quotes"),
        ("'coins'", "names no field in 'coins'; write names of fields without quotes, or as in"),
        ("'we.ird' > 3 and coins > 1", "names no field in 'we.ird' > 3"),
        ("coins > 1 or 'we.ird'", "names no field in 'we.ird'"),
        ("len('coins') > 3", "names no field in len('coins') > 3"),
    ],
)
def test_what_cannot_be_evaluated_is_one_error_with_a_remedy(session, condition, words):
    with pytest.raises(UsageError) as raised:
        LogAnalyzer(root=session.root).watch(condition)
    text = f"{raised.value}; {raised.value.remedy}"
    assert words in text and "Sorry" not in text


@pytest.mark.parametrize("condition", ["coins.pence > 1", "name['first'] == 'ann'", "name % 3 == 0"])
def test_a_member_that_some_states_lack_is_counted_and_no_error(session, condition):
    assert sum(LogAnalyzer(root=session.root).watch(condition)["failures"].values()) == 2


METHODS = sorted({name for kind in (str, bytes, list, dict, int, float) for name in dir(kind)})


@pytest.mark.first_case
@pytest.mark.parametrize(
    "condition",
    [
        *(f"name.{method}(2000000000) == 'a'" for method in METHODS),
        "'%2000000000d' % coins == 'a'",
        "f'{coins:>2000000000}' == 'a'",
        "3999999 ** 3999999 > coins",
        "(2 ** 99999) ** 9 > coins",
        "'ab' * 2000000000 == 'a'",
        "coins + (1 << 2000000000) > 1",
    ],
)
def test_a_condition_makes_no_value_that_takes_long_or_much_memory(session, condition):
    """Each is refused before a state is looked at, or at the first: it would be computed for every one."""
    before = time.process_time()
    with pytest.raises(UsageError):
        LogAnalyzer(root=session.root).watch(condition)
    assert time.process_time() - before < 1


def test_states_that_a_condition_does_not_fit_are_counted(session):
    found = LogAnalyzer(root=session.root).watch("name > coins")
    assert found["intervals"] == []
    assert found["failures"] == {"TypeError: '>' not supported between instances of 'str' and 'int'": 2}


def test_an_event_without_a_tick_has_the_last_one_and_before_the_first_no_comparison_holds(
    builder: SessionBuilder,
):
    builder.emit("state", "a", fields={"x": 5}, reason="first", digest="0")
    for builder.tick in (1, 2):
        builder.emit("agent_action", "a", action_type="act", state={"set": {"x": 5}})
    builder.tick = None
    builder.emit("state_change", "a", state={"set": {"x": 6}})
    found = LogAnalyzer(builder.path).watch("x > 1 and tick > 1")
    assert found["failures"] == {}
    assert [(each["since"]["tick"], each["until"]) for each in found["intervals"]] == [(2, None)]
    ended = LogAnalyzer(builder.path).watch("x == 5")
    assert [each["until"]["tick"] for each in ended["intervals"]] == [2]


def test_a_comparison_with_the_tick_of_a_session_without_ticks_is_counted(session):
    found = LogAnalyzer(root=session.root).watch("tick > 1")
    assert found["failures"] == {"TypeError: '>' not supported between instances of 'NoneType' and 'int'": 2}


def test_an_agent_that_is_not_there_is_named(session):
    with pytest.raises(AgentNotFound):
        LogAnalyzer(root=session.root).watch("coins > 1", "bob")


def test_decimals_and_fractions_are_numbers_and_members_of_enums_their_names(tmp_path):
    class Level(enum.IntEnum):
        LOW = 1
        HIGH = 2

    class Buyer:
        agent_id = "buyer"

        def __init__(self):
            self.budget, self.parts, self.level = Decimal("9.5"), [{"share": Fraction(1, 2)}], Level.LOW

        @trace_agent_action
        def pay(self):
            self.budget -= Decimal("4.5")
            self.parts = [{"share": Fraction(1, 4)}]
            self.level = Level.HIGH
            self.far = Decimal("1E+999999999")

    setup_logging(trace_root=tmp_path)
    buyer = Buyer()
    for number in range(2):
        with tick(number):
            buyer.pay()
    shutdown_logging()
    with LogAnalyzer(root=tmp_path) as analyzer:
        for condition in (
            "budget < 9",
            "budget * 1.5 == 0.75",
            "parts[0]['share'] == 0.25",
            "level == 'HIGH'",
        ):
            found = analyzer.watch(condition)
            assert len(found["intervals"]) == 1 and not found["failures"], condition
        assert [point["value"] for point in analyzer.field_course("buyer", "budget")["points"]] == [
            9.5,
            5,
            0.5,
        ]
        assert analyzer.state_at("buyer")["fields"]["budget"] == "0.5"


def test_numbers_beyond_json_are_compared_as_numbers(tmp_path):
    class Counter:
        agent_id = "counter"

        @trace_agent_action
        def take(self, value):
            self.value, self.parts = value, [value]

    setup_logging(trace_root=tmp_path)
    counter = Counter()
    for number, value in enumerate([5, 2**64, 5, math.inf, 5, -(2**70), math.nan, -math.inf]):
        with tick(number):
            counter.take(value)
    shutdown_logging()
    with LogAnalyzer(root=tmp_path) as analyzer:
        for condition, ticks in (
            ("value > 10", [1, 3]),
            ("parts[0] < 0", [5, 7]),
            ("value == 2**64", [1]),
            ("value != value", [6]),
        ):
            found = analyzer.watch(condition)
            assert [each["since"]["tick"] for each in found["intervals"]] == ticks, condition
            assert not found["failures"], condition
        assert analyzer.watch("value == 2**64")["intervals"][0]["values"] == {"value": "18446744073709551616"}


def test_all_agents_are_read_in_one_pass(session, monkeypatch):
    session.emit("state", "bob", fields={"coins": 5, "name": "bob"}, reason="first", digest="0")
    passes = []
    read = TreeReader.event_lines
    monkeypatch.setattr(TreeReader, "event_lines", lambda *given: passes.append(given[1:]) or read(*given))
    assert LogAnalyzer(root=session.root).watch("coins > 1")["agents"] == 2
    assert len(passes) == 1


def test_a_field_of_any_name_can_be_watched(session):
    session.emit("state", "", fields={"we.ird": 9, "len": 2, "tick": 5}, reason="first", digest="0")
    analyzer = LogAnalyzer(root=session.root)
    found = analyzer.watch("field('we.ird') > 8 and field('len') == 2 and field('tick') == 5")
    assert [each["agent_id"] for each in found["intervals"]] == [""]
    assert found["intervals"][0]["values"] == {"we.ird": 9, "len": 2, "tick": 5}
    assert found["names"] == ["len", "tick", "we.ird"]
    assert [each["values"] for each in analyzer.watch("field('class') == 'payer'")["intervals"]] == [
        {"class": "payer"}
    ]
