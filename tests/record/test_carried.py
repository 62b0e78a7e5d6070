"""The context of a call travels as text to another process, and what is recorded there belongs to it."""

from __future__ import annotations

import json

import pytest

import Agent
from Agent import AgentLogger, adopt, carry, setup_logging, shutdown_logging, tick, trace_agent_action
from Agent.event.codec import decode_line
from Agent.event.system_clock import SystemClock
from Agent.flight import recorder


class Worker:
    agent_id = "worker"

    @trace_agent_action()
    def work(self) -> None:
        AgentLogger("worker").log_decision("go", {"far": True})


def lines_of(root, agent="worker"):
    session = next(root.glob("session_*"))
    return [json.loads(line) for line in (session / "agents" / f"{agent}.log").read_text().splitlines()]


def test_what_is_recorded_where_a_context_was_adopted_belongs_to_its_span_tick_and_causes(trace_root):
    setup_logging(trace_root=trace_root)
    seen = []

    class Boss:
        agent_id = "boss"

        @trace_agent_action()
        def ask(self):
            with tick(7):
                seen.append(carry(AgentLogger("boss").log_decision("who", {})))

    Boss().ask()
    with adopt(seen[0]):
        Worker().work()
    Worker().work()
    shutdown_logging()
    asked = lines_of(trace_root, "boss")
    span = next(line["span_id"] for line in asked if line["extra"]["event_type"] == "agent_action")
    decision = next(line["id"] for line in asked if line["extra"]["event_type"] == "decision")
    inside, outside = [line for line in lines_of(trace_root) if line["extra"]["event_type"] == "agent_action"]
    assert (inside["parent_span_id"], inside["tick"], inside["causes"]) == (span, 7, [decision])
    assert not outside.keys() & {"parent_span_id", "tick", "causes", "hlc"}


def test_a_clock_that_is_behind_what_it_heard_says_by_how_much_and_only_there(trace_root, monkeypatch):
    setup_logging(trace_root=trace_root)
    heard = carry(AgentLogger("boss").log_action("ask", {}, {}))
    shutdown_logging()
    (trace_root / "b").mkdir()
    real = SystemClock.wall_ns
    monkeypatch.setattr(SystemClock, "wall_ns", staticmethod(lambda: real() - 5_000_000_000))
    setup_logging(trace_root=trace_root / "b")
    Worker().work()
    with adopt(heard):
        Worker().work()
        answer = carry()
    Worker().work()
    shutdown_logging()
    written = lines_of(trace_root / "b")
    behind = [
        line.get("hlc") for line in written if line["extra"]["event_type"] in {"agent_action", "decision"}
    ]
    assert behind[:2] == behind[4:] == [None, None]
    assert 4_000_000 < behind[2] == behind[3] < 5_000_001
    sent_us = int(heard.split(";")[1])
    assert int(answer.split(";")[1]) > sent_us
    events = [decode_line(json.dumps(line).encode()) for line in written]
    assert all(event.order[0] > sent_us for event in events if event.hlc)


def test_clocks_that_agree_record_nothing_for_it(trace_root):
    setup_logging(trace_root=trace_root)
    heard = carry()
    with adopt(heard.replace(heard.split(";")[1], "1")):
        Worker().work()
    shutdown_logging()
    assert not any("hlc" in line for line in lines_of(trace_root))


@pytest.mark.first_case
@pytest.mark.parametrize("text", ["", None, "at1", "at2;1;;;;", 'at1;1;;;a"b;', "at1;1;zz;;;", "x" * 10_000])
def test_a_text_that_is_no_context_leaves_the_block_as_it_is(text, trace_root):
    setup_logging(trace_root=trace_root)
    with adopt(text):
        Worker().work()
    shutdown_logging()
    written = lines_of(trace_root)
    assert [line["extra"]["event_type"] for line in written].count("agent_action") == 1
    assert not any({"causes", "tick", "hlc", "run_id"} & line.keys() for line in written)


def test_a_carried_text_is_short_plain_and_part_of_the_public_names():
    assert {"adopt", "carry"} <= set(Agent.__all__)
    text = carry(*["k3v9q2ma-1"] * 100, "no id", "")
    assert text.isascii() and " " not in text and len(text) < 1_000


def test_events_of_runs_say_too_by_how_much_their_clock_is_behind(trace_root, monkeypatch):
    setup_logging(trace_root=trace_root)
    heard = carry(AgentLogger("boss").log_action("ask", {}, {}))
    shutdown_logging()
    (trace_root / "b").mkdir()
    real = SystemClock.wall_ns
    monkeypatch.setattr(SystemClock, "wall_ns", staticmethod(lambda: real() - 5_000_000_000))
    setup_logging(trace_root=trace_root / "b")
    with recorder.run("run"):
        with recorder.step("before", "before"):
            pass
        with adopt(heard), recorder.step("within", "within"):
            recorder.save_artifact("a.txt", "text")
    shutdown_logging()
    (path,) = trace_root.glob("b/session_*/runs/*/events.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = ["step.started", "artifact.saved", "artifact.saved", "step.finished"]
    assert [line["type"] for line in lines if "hlc" in line] == kinds, "those within the context alone"
    assert all(4_000_000 < line["hlc"] < 5_000_001 for line in lines if "hlc" in line)
    events = [decode_line(line) for line in path.read_bytes().splitlines()]
    assert all(event.order[0] > int(heard.split(";")[1]) for event in events if event.hlc)
