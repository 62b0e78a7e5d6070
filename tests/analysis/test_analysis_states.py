"""States: the fold against the truth, who made each field, restored values, a live agent compared with its record."""

from __future__ import annotations

import json
import random
from collections import deque
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from analysis_kit import SessionBuilder
from hypothesis import given
from hypothesis import strategies as st

from Agent.analysis import LogAnalyzer
from Agent.analysis.questions.states import check_within
from Agent.errors import EventNotFound, UsageError
from Agent.event.clock import parse_timestamp

_values = st.one_of(
    st.integers(-3, 3), st.booleans(), st.sampled_from(["", "x"]), st.lists(st.integers(0, 2), max_size=2)
)
_fields = st.dictionaries(st.sampled_from(["a", "b/c", "d~e", "f"]), _values, max_size=4)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("full"), _fields),
        st.tuples(st.just("set"), _fields, st.lists(st.sampled_from(["a", "b/c", "f"]), max_size=2)),
        st.tuples(st.just("outside"), _fields, st.lists(st.sampled_from(["a", "f"]), max_size=1)),
        st.tuples(st.just("log")),
        st.tuples(st.just("other")),
    ),
    min_size=1,
    max_size=25,
)


@pytest.mark.integration
@given(_steps)
def test_the_state_after_any_event_is_that_of_a_fold_from_the_beginning(steps: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as directory:
        build = SessionBuilder(Path(directory))
        state: dict[str, Any] = {}
        truth: dict[str, tuple[dict[str, Any], dict[str, str]]] = {}
        makers: dict[str, str] = {}
        build.emit("state", "a", fields={}, reason="first", digest="0")
        for tick, step in enumerate(steps):
            build.tick = tick
            if step[0] == "full":
                # what a full state merely confirms keeps its maker; 1 and True are two values
                new = dict(step[1])
                event = build.emit("state", "a", fields=new, reason="periodic", digest="0")
                kept = {k: makers[k] for k in new if k in state and repr(state[k]) == repr(new[k])}
                state, makers = new, {k: kept.get(k, event) for k in new}
            elif step[0] in {"set", "outside"}:
                new, gone = dict(step[1]), [name for name in step[2] if name not in step[1]]
                if step[0] == "set":
                    event = build.emit(
                        "agent_action", "a", action_type="act", state={"set": new, "unset": gone}
                    )
                else:
                    event = build.emit("state_change", "a", trigger="outside", changed=new, unset=gone)
                state = {k: v for k, v in (state | new).items() if k not in gone}
                makers = {k: v for k, v in (makers | dict.fromkeys(new, event)).items() if k not in gone}
            else:
                event = build.emit("log", "a" if step[0] == "log" else "b")
            truth[event] = (dict(state), dict(makers))
        analyzer = LogAnalyzer(build.path)
        for tick, (event, (fields, made)) in enumerate(truth.items()):
            for when in (event, tick, f"tick:{tick}"):
                found = analyzer.state_at("a", when)
                assert repr(sorted(found["fields"].items())) == repr(sorted(fields.items()))
                assert {name: maker["id"] for name, maker in found["made_by"].items()} == made
        for row in analyzer.sql("SELECT id, state FROM action_states"):
            assert repr(sorted(json.loads(row["state"]).items())) == repr(sorted(truth[row["id"]][0].items()))
        analyzer.close()


def test_values_come_back_as_what_they_were(builder: SessionBuilder) -> None:
    from Agent.event.codec import encode_event
    from Agent.event.model import Event
    from Agent.event.values.values import encode_value

    fields = {"when": datetime(2026, 1, 2), "seen": {1, 2}, "q": {(0, 1): 0.5}, "n": 1}
    full = encode_value(fields, "/extra/fields")
    builder.emit("state", "a", fields={}, reason="first", digest="0")
    first = builder.events[-1]
    later = encode_value({"seen": {3}, "queue": deque([1])}, "/state/set")
    for number, (kind, types, extra, state) in enumerate(
        [
            ("state", full.types, {"fields": full.value, "reason": "periodic", "digest": "0"}, None),
            ("agent_action", later.types, {"action_type": "act"}, {"set": later.value, "unset": ["n"]}),
        ],
        2,
    ):
        event = Event(
            timestamp=first.timestamp, id=f"{builder.writer}-{number}", schema_version=1, kind=kind,
            session_id=builder.session_id, extra={"agent_id": "a", "event_type": kind, **extra},
            types=types, state=state,
        )  # fmt: skip
        builder.write_line(encode_event(event), "a")
    analyzer = LogAnalyzer(builder.path)
    assert analyzer.state_at("a", f"{builder.writer}-2")["values"] == fields
    assert analyzer.state_at("a", f"{builder.writer}-3")["values"] == {
        "when": datetime(2026, 1, 2),
        "seen": {3},
        "q": {(0, 1): 0.5},
        "queue": deque([1]),
    }


def test_what_is_looked_at_in_full_states_only_is_said(builder: SessionBuilder) -> None:
    builder.emit("state", "a", fields={"big": "x" * 5000, "small": 1}, reason="first", digest="0")
    builder.emit("agent_action", "a", action_type="act", state={"set": {"small": 2}, "unset": []})
    found = LogAnalyzer(builder.path).state_at("a", "tick:0")
    assert found["sampled"] == ["big"]


def test_a_tick_of_a_session_without_ticks_is_an_error_that_says_so(trace_root: Path) -> None:
    build = SessionBuilder(trace_root, "20261120_120000")
    build.tick = None
    build.emit("state", "a", fields={"x": 0}, reason="first", digest="0")
    analyzer = LogAnalyzer(build.path)
    with pytest.raises(EventNotFound, match="its events have no ticks"):
        check_within(analyzer.reader, analyzer.engine, "a", "tick:7")


def test_a_time_as_pages_show_it_is_one_of_the_days_of_the_session(trace_root: Path) -> None:
    build = SessionBuilder(trace_root, "20261120_235959")
    build.now_us = parse_timestamp("2026-11-20T23:59:59.250100Z")
    build.emit("state", "a", fields={"x": 0}, reason="first", digest="0")
    build.emit("agent_action", "a", action_type="act", state={"set": {"x": 1}, "unset": []})
    build.pass_time(2)  # past midnight
    last = build.emit("agent_action", "a", action_type="act", state={"set": {"x": 2}, "unset": []})
    analyzer = LogAnalyzer(build.path)
    # the event stands at .250120: what the page cut away is meant, too
    assert analyzer.state_at("a", "23:59:59.250")["fields"] == {"x": 1}
    assert analyzer.state_at("a", "00:00:01")["fields"] == {"x": 1}
    assert analyzer.state_at("a", "00:00:01.250")["as_of"]["id"] == last
    with pytest.raises(UsageError, match="is not a moment"):
        analyzer.state_at("a", "24:00:01")


def test_the_changes_of_a_field_are_told_with_before_and_after(builder: SessionBuilder) -> None:
    builder.emit("state", "a", fields={"x": 1, "y": 1}, reason="first", digest="0")
    ids = [
        builder.emit(
            "agent_action", "a", action_type="act", args={"n": 1}, state={"set": {"x": 2}, "unset": []}
        ),
        builder.emit("agent_action", "a", action_type="act", state={"set": {"y": 2}, "unset": []}),
        builder.emit("agent_action", "a", action_type="drop", state={"set": {}, "unset": ["x"]}),
    ]
    analyzer = LogAnalyzer(builder.path)
    found = analyzer.field_changes("a", "x")
    assert found["count"] == 3
    assert [(c.get("before"), c.get("after")) for c in found["changes"]] == [(None, 1), (1, 2), (2, None)]
    assert [c["id"] for c in found["changes"][1:]] == [ids[0], ids[2]]
    assert "after" not in found["changes"][-1]
    assert found["changes"][1]["arguments"] == {"n": 1}
    assert analyzer.field_changes("a", "x", ids[1])["count"] == 2
    with pytest.raises(EventNotFound, match="no field 'z'"):
        analyzer.field_changes("a", "z")


def test_the_course_of_a_number_has_a_point_for_each_change(builder: SessionBuilder) -> None:
    builder.emit("state", "a", fields={"x": {"y": 1}, "name": "n"}, reason="first", digest="0")
    for tick, value in enumerate([{"y": 2.5}, {"y": 2.5}, {}]):
        builder.tick = tick
        builder.emit("agent_action", "a", action_type="act", state={"set": {"x": value}, "unset": []})
    analyzer = LogAnalyzer(builder.path)
    found = analyzer.field_course("a", "x.y")
    assert [(point["tick"], point["value"]) for point in found["points"]] == [(None, 1), (0, 2.5), (2, None)]
    assert found["end"]["tick"] == 2
    assert len(analyzer.field_course("a", "x.y", 1)["points"]) == 2
    with pytest.raises(UsageError, match="name of a is not a number"):
        analyzer.field_course("a", "name")
    with pytest.raises(EventNotFound, match="no field 'z'"):
        analyzer.field_course("a", "z")


@pytest.mark.further
def test_the_record_of_a_live_agent_gives_what_it_really_had_after_every_step(trace_root: Path) -> None:
    from Agent import shutdown_logging, tick
    from Agent.utils import trace_agent_action

    class Walker:
        def __init__(self) -> None:
            self.agent_id = "walker"
            self.position = (0, 0)
            self.seen: set[tuple[int, int]] = set()
            self.values: dict[tuple[int, int], float] = {}
            self.mood: str | None = None

        @trace_agent_action()
        def step(self, draw: random.Random) -> None:
            dx, dy = draw.choice([(0, 1), (1, 0), (0, -1), (-1, 0)])
            self.position = (self.position[0] + dx, self.position[1] + dy)
            self.seen.add(self.position)
            self.values[self.position] = self.values.get(self.position, 0.0) + draw.random()
            if draw.random() < 0.3:
                self.mood = draw.choice(["calm", "wild"])
            elif hasattr(self, "extra"):
                del self.extra
            else:
                self.extra = draw.random()

    walker, draw = Walker(), random.Random(3)
    truth = []
    for number in range(60):
        with tick(number):
            walker.step(draw)
        names = ("position", "seen", "values", "mood", "extra")
        truth.append({n: getattr(walker, n) for n in names if hasattr(walker, n)} | {
            "seen": set(walker.seen), "values": dict(walker.values)
        })  # fmt: skip
    analyzer = LogAnalyzer()
    for number, fields in enumerate(truth[:-1]):
        found = analyzer.state_at("walker", number)["values"]
        assert {name: found[name] for name in found if name != "agent_id"} == fields, number
    shutdown_logging()
    last = analyzer.state_at("walker", 59)["values"]
    assert {name: last[name] for name in last if name != "agent_id"} == truth[-1]


def test_states_of_actions_are_answered_where_lines_are_doubled(builder: SessionBuilder) -> None:
    for number in range(3):
        builder.emit("agent_action", "a", action_type="act", state={"set": {"n": number, "m": number}})
    file = builder.file_of("a")
    file.write_bytes(file.read_bytes() * 2)
    analyzer = LogAnalyzer(builder.path)
    states = [row["state"] for row in analyzer.sql("SELECT * FROM action_states ORDER BY ts_us")]
    assert [json.loads(state) for state in states] == [{"m": n, "n": n} for n in (0, 0, 1, 1, 2, 2)]
    assert len(states) == len(analyzer.sql("SELECT id FROM actions"))
