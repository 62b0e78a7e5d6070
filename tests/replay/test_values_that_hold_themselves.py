"""Values that hold themselves, or one thing again and again: no walk over them goes on for ever."""

from __future__ import annotations

import importlib
import signal
from types import SimpleNamespace

import orjson
import pytest

from Agent.event.values.content_digest import content_of
from Agent.event.values.reading import Limits
from Agent.event.values.values import decode_value, to_json
from Agent.flight.recorded_graphs import generated_ids
from Agent.replay.drive.states import agents_in, generators_in, held_together
from Agent.replay.forks.interventions import without_message

PROCESSOR_S = 20.0
"""Ten times what the slowest of these takes; a walk that doubles 40 times takes days."""
FEW = Limits(max_items=2_000)
REPEATS_ALONE = Limits(max_items=1 << 60, max_bytes=1 << 60, max_string_chars=1 << 60, max_repeats=2_000)

SOURCE = """
from collections import OrderedDict, UserDict, deque, namedtuple
from dataclasses import dataclass
from Agent import AgentLogger, send, trace_agent_action
from Agent.flight import record_tool
from Agent.flight import recorder

@dataclass
class Two:
    a: object
    b: object
class Box:
    def __init__(self, a, b): self.a, self.b = a, b
Pair = namedtuple("Pair", "a b")

def in_list(x): x = [x]; x.append(x); return x
def in_dict(x): x = {"x": x}; x["self"] = x; return x
def in_deque(x): x = deque([x]); x.append(x); return x
def in_two(x): x = Two(x, 0); x.b = x; return x
def in_box(x): x = Box(x, 0); x.b = x; return x
def in_tuple(x): x = ([x], 1); x[0].append(x); return x
def in_wide(x): x = [x]; x += [x] * 30; return x

def twice(make, x, depth=40):
    for _ in range(depth):
        x = make(x)
    return x

CYCLES = [in_list, in_dict, in_deque, in_two, in_box, in_tuple, in_wide]
TWICE = [
    lambda x: [x, x], lambda x: (x, x), lambda x: {"a": x, "b": x}, lambda x: {1: x, 2: x},
    lambda x: deque([x, x]), lambda x: Two(x, x), lambda x: Box(x, x), lambda x: Pair(x, x),
    lambda x: OrderedDict(a=x, b=x), lambda x: UserDict(a=x, b=x), lambda x: [{"a": x}, (x,)],
    lambda x: frozenset([x, (x,)]),
]
HUNDREDFOLD = twice(lambda x: [x] * 100, 1, 6)

@record_tool
def ask(held): return 1

class Failure(Exception): pass

class Holder:
    agent_id, agent_role = "a", "holder"
    def __init__(self):
        self.held, self.logger = None, AgentLogger("a", "holder")
    @trace_agent_action
    def take(self, make, at):
        held = self.held = VALUES[make](at)
        ask(held)
        self.inner(held)
        send("b", body=held)
        recorder.record_model_call(model_name="m", prompt=held, output=1)
        recorder.save_artifact("held.json", held)
        self.logger.log_decision("choose", {"held": held})
        return held
    @trace_agent_action
    def inner(self, held): return 1
    @trace_agent_action
    def fail(self, make):
        failure = Failure(VALUES[make](1))
        failure.held = VALUES[make](2)
        raise failure

VALUES = {"list": in_list, "two": in_two, "box": in_box, "twice": lambda x: twice(TWICE[0], x),
          "boxes": lambda x: twice(TWICE[6], x)}

def build(spec): return Holder()

def main():
    holder = Holder()
    for make in VALUES:
        holder.take(make, 1)
        try:
            holder.fail(make)
        except Failure:
            pass
"""


class NeverEnds(BaseException):
    """A walk took too long; no `except Exception` keeps it."""


@pytest.fixture(autouse=True)
def time_limit():
    def stop(*_):
        raise NeverEnds

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, PROCESSOR_S)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, before)


@pytest.fixture
def made(toy):
    module = importlib.import_module(toy.write(SOURCE).name)
    cycles = [make(1) for make in module.CYCLES]
    return [*cycles, *(module.twice(make, 1) for make in module.TWICE), module.HUNDREDFOLD]


@pytest.mark.further
@pytest.mark.parametrize("limits", [FEW, REPEATS_ALONE])
def test_what_is_written_of_them_is_short(made, limits):
    for value in made:
        dumped = to_json(value, "", limits)
        assert len(dumped.json) < 1_000_000, value
        decode_value(orjson.loads(dumped.json), dumped.types)


def test_their_content_has_a_digest_or_a_reason_why_not(made):
    for value in made:
        assert content_of(value).text


def test_walks_over_live_values_end(made):
    for value in made:
        agent = SimpleNamespace(agent_id="a", held=value)
        assert agents_in(agent) == {}
        assert list(generators_in(agent)) == []
        held_together({"a": agent, "b": agent})
        without_message([value], "m-1")
        list(generated_ids([value]))


def test_a_value_that_is_cut_many_times_is_read_once(made, monkeypatch):
    read = []

    def counted(self, value):
        read.append(value)
        return content_of(value)

    monkeypatch.setattr("Agent.event.values.walk.Walk._content", counted)
    dumped = to_json(made[7], "", FEW)
    assert sum(tag == "truncated" for tag in dumped.types.values()) > 10
    assert len(read) <= 45


@pytest.mark.integration
def test_an_agent_that_handles_them_is_recorded_and_replayed(toy):
    toy.record(SOURCE)
    report = toy.replay(agent_id="a", timeout_seconds=120)
    assert report.verdict == "IDENTICAL", str(report)
