"""Recording keeps no reference that it does not need: the counts of the constants stay what they were."""

import contextlib
import gc
import sys

import pytest

from Agent import AgentLogger, trace_agent_action, trace_errors
from Agent.record.state.tracker import NONE

CALLS = 300


class Worker:
    def __init__(self):
        self.agent_id, self.done, self.mood = "worker", 0, None

    @trace_agent_action()
    def work(self, x):
        self.done += 1
        return x

    @trace_agent_action()
    def fail(self):
        self.done += 1
        raise ValueError(None)

    @trace_errors()
    def refuse(self):
        raise KeyError(None)


def swallow(call):
    with contextlib.suppress(ValueError, KeyError):
        call()


def test_no_call_leaks_a_reference_to_a_constant(recorded):
    worker, logger = Worker(), AgentLogger("plain", "r")

    def exchanged():
        logger.receive(logger.send("worker", {"x": None}))

    calls = [
        lambda: worker.work(1),
        lambda: worker.work(None),
        lambda: worker.work([None, {1, 2}]),
        lambda: swallow(worker.fail),
        lambda: swallow(worker.refuse),
        lambda: logger.log_action("note", {"a": 1, "b": None, "c": (True, False)}),
        lambda: logger.log_action("note", {"object": object()}),
        lambda: logger.info("password=hunter2xx"),
        lambda: logger.error("oops"),
        exchanged,
    ]
    leaked = {}
    for number, call in enumerate(calls):
        for _ in range(CALLS):  # what is known of an agent, a label and a class is kept from here on
            call()
        gc.collect()
        before = [sys.getrefcount(one) for one in (None, True, False, ())]
        for _ in range(CALLS):
            call()
        gc.collect()
        after = [sys.getrefcount(one) for one in (None, True, False, ())]
        rise = [now - then for now, then in zip(after, before, strict=True)]
        if any(one > CALLS // 3 for one in rise):
            leaked[number] = rise
    assert leaked == {}


class World:
    def __init__(self):
        self.tick = 0


class Member:
    def __init__(self, number, world):
        self.agent_id, self.world, self.wealth, self.rows = f"m{number}", world, 0, list(range(2_000))

    @trace_agent_action()
    def step(self):
        self.wealth += 1
        self.rows.append(self.wealth)


def tracked():
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.further
def test_an_agent_adds_few_objects_to_those_that_the_garbage_collector_looks_through(recorded):
    world, before_all = World(), Member(-1, None)
    before_all.step()
    members, before = [], tracked()
    for number in range(200):
        member = Member(number, world)
        member.step()
        member.world = World()  # code outside of actions writes to it, and another object is large
        member.step()
        members.append(member)
    assert (tracked() - before) / len(members) < 28
    assert NONE == {}, "the empty mapping that all agents share was written to"
