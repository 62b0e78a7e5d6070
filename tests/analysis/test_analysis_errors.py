"""Errors by pattern: what makes two errors one, how each pattern goes on, what comes together."""

from __future__ import annotations

import pytest
from analysis_kit import SessionBuilder
from hypothesis import given
from hypothesis import strategies as st

from Agent.analysis import LogAnalyzer
from Agent.analysis.query.engine import Engine
from Agent.analysis.questions.errors import (
    NUMBERS,
    errors,
    fingerprint,
    journey_tail,
    place_of,
    shape_of,
    trend,
)

TRACE = """Traceback (most recent call last):
  File "/home/me/shop/agents.py", line {line}, in Agent.step
    self.fetch()
  File "/home/me/shop/tools.py", line 7, in fetch
    json.loads(text)
  File "/usr/lib/python3.11/json/__init__.py", line 346, in loads
    return _default_decoder.decode(s)
ValueError: {message}
"""


def fail(build: SessionBuilder, agent: str, message: str, **extra: object) -> str:
    return build.emit(
        "error", agent, level="ERROR", message=f"ValueError: {message}", error_type="ValueError",
        error_message=message, **extra,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("no answer within 200 ms", "no answer within 1.5 ms"),
        ("event k3v9q2ma-1042 is gone", "event zz2a34bc-7 is gone"),
        ("no such file: /tmp/a/b.txt", "no such file: /var/lib/other"),
        ("bad key 'apple'", 'bad key "pear tree"'),
        (
            "request 3f2a9c10-77aa-4c1e-9d2f-0a1b2c3d4e5f failed",
            "request 00aa9c10-12aa-4cde-8d2f-aa1b2c3d4e5f failed",
        ),
        ("at 0x7f3a2c10", "at 0xdeadbeef99"),
    ],
)
def test_messages_that_differ_in_what_changes_have_one_shape(first: str, second: str) -> None:
    assert shape_of(first) == shape_of(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [("no answer", "no question"), ("and/or", "and"), ("agent_1 failed", "tool_1 failed")],
)
def test_messages_that_say_different_things_do_not(first: str, second: str) -> None:
    assert shape_of(first) != shape_of(second)


@given(st.text(max_size=80))
def test_a_message_without_its_numbers_already_has_the_same_shape(message: str) -> None:
    import re

    assert shape_of(re.sub(NUMBERS, "#", message, flags=re.ASCII)) == shape_of(message)


def test_the_place_is_the_innermost_function_of_ones_own_code() -> None:
    assert place_of(TRACE.format(line=3, message="x")) == "tools.py:fetch"
    foreign = 'File "/usr/lib/python3.11/json/decoder.py", line 3, in decode'
    assert place_of(foreign) == "decoder.py:decode"
    assert place_of(None) == place_of("no frames here") == ""
    assert fingerprint("T", "m", "a.py:f") != fingerprint("T", "m", "a.py:g")


def test_a_pattern_is_one_through_changing_lines_and_values(builder: SessionBuilder) -> None:
    ids = [
        fail(
            builder,
            f"agent_{n}",
            f"bad id x{n}y{n}z in '/data/{n}'",
            traceback=TRACE.format(line=n, message=n),
        )
        for n in range(6)
    ]
    fail(builder, "agent_0", "something else", traceback=TRACE.format(line=1, message="other"))
    patterns = LogAnalyzer(builder.path).find_error_patterns()
    top, other = patterns["fingerprints"]
    assert (top["count"], top["agents"], top["place"], top["example_id"]) == (6, 6, "tools.py:fetch", ids[0])
    assert top["agent_ids"] == [f"agent_{n}" for n in range(5)]
    assert (other["count"], patterns["total_fingerprints"], patterns["total_errors"]) == (1, 2, 7)


@pytest.mark.parametrize(
    ("places", "says"),
    [
        (range(100), "steady"),
        ([99 - n * n // 100 for n in range(100)], "rising"),
        (range(40), "over"),
        (range(50, 58), "burst"),
        ([10, 50, 90], "few"),
    ],
)
def test_the_trend_is_told_by_a_test(builder: SessionBuilder, places: range, says: str) -> None:
    wanted = list(places)
    for n in range(100):
        builder.emit("log", "a")
        for _ in range(wanted.count(n)):
            fail(builder, "a", "no")
        builder.pass_time(1)
    builder.emit("log", "a")
    (row,) = LogAnalyzer(builder.path).find_error_patterns()["fingerprints"]
    assert row["trend"] == says
    assert sum(row["slices"]) == len(wanted)


def test_few_errors_have_no_trend() -> None:
    assert trend([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], 0.2, 0.4) == "few"


def test_patterns_that_come_together_are_told_and_others_are_not(builder: SessionBuilder) -> None:
    for n in range(60):
        if n % 6 == 0:
            fail(builder, "a", "cause")
            fail(builder, "b", "effect")
        if n % 7 == 3:
            fail(builder, "c", "alone")
        builder.pass_time(2)
    patterns = LogAnalyzer(builder.path).find_error_patterns()
    names = {row["fingerprint"]: row["shape"] for row in patterns["fingerprints"]}
    assert [{names[pair["first"]], names[pair["second"]]} for pair in patterns["together"]] == [
        {"cause", "effect"}
    ]
    assert patterns["together"][0]["windows"] == 10


def test_warnings_and_messages_that_differ_in_numbers_are_one_pattern(builder: SessionBuilder) -> None:
    fail(builder, "a", "gone")
    builder.emit("log", "a", level="ERROR", message="broken")
    first = builder.emit("log", "a", message="read 3 rows in 1.5 ms")
    builder.emit("log", "b", message="read 70 rows in 2 ms")
    builder.emit("log", "b", message="ready")
    slow = builder.emit(
        "metric", "b", level="WARNING", message="call k3v9q2ma-1042 took 9 s", metric_name="m"
    )
    builder.emit("metric", "b", message="call k3v9q2ma-1043 took 1 s", metric_name="m")
    found = LogAnalyzer(builder.path).find_error_patterns()["logs"]
    assert [(row["level"], row["count"], row["agents"]) for row in found["patterns"]] == [
        ("WARNING", 1, 1), ("INFO", 2, 2), ("INFO", 1, 1),
    ]  # fmt: skip
    assert found["patterns"][0]["example_id"] == slow and found["patterns"][1]["example_id"] == first
    assert (found["warnings"], found["total"], found["total_patterns"]) == (1, 4, 3)


def test_empty_messages_and_those_without_an_agent_are_patterns_of_their_shapes(
    builder: SessionBuilder,
) -> None:
    first = builder.emit("log", None, message="step 1")
    builder.pass_time(100)
    builder.emit("log", "b", message="step 2")
    builder.emit("log", "a", message="")
    builder.emit("log", "b", message="")
    step, empty = LogAnalyzer(builder.path).find_error_patterns()["logs"]["patterns"]
    assert (step["example_id"], step["example_agent"], step["message"]) == (first, "b", "step 1")
    assert step["varies"] and step["agent_ids"] == ["b"] and step["slices"] == [1, *[0] * 8, 1]
    assert (empty["count"], empty["agents"], empty["shape"], empty["varies"]) == (2, 2, "", False)


def test_patterns_of_messages_keep_no_table_of_them(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # beyond a bound such a table is dropped again, and each question reads all lines
    kept: list[str] = []
    keep = Engine.keep
    monkeypatch.setattr(
        Engine, "keep", lambda self, name, *given, **how: kept.append(name) or keep(self, name, *given, **how)
    )
    builder.emit("log", "a", message="step 1")
    LogAnalyzer(builder.path).find_error_patterns()
    assert kept == ["error_lines"]


def test_the_tail_of_an_example_ends_with_it(builder: SessionBuilder) -> None:
    before = [builder.emit("log", "a") for _ in range(9)]
    error = fail(builder, "a", "no")
    builder.emit("log", "a")
    analyzer = LogAnalyzer(builder.path)
    (pattern,) = analyzer.find_error_patterns()["fingerprints"]
    assert [row["id"] for row in journey_tail(analyzer.reader, pattern)] == [*before[-5:], error]


def test_a_list_of_errors_is_bounded_and_says_how_many_there_are(
    builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [fail(builder, "a", "no") for _ in range(7)]
    monkeypatch.setattr("Agent.analysis.questions.errors.MAX_ERRORS", 3)
    analyzer = LogAnalyzer(builder.path)
    found = analyzer.get_errors()
    assert ([row["id"] for row in found], found.total) == (ids[-3:], 7)
    assert errors(analyzer.engine, "a", 2).total == 7
    assert errors(analyzer.engine, "nobody").total == 0
