"""Threads that end with their action are no reason, those that do not are named; spawned generators; Mesa."""

import multiprocessing
import threading

import pytest

from Agent.record.state.introspection import read_state

THREADS = """
import asyncio, concurrent.futures as cf, threading
from Agent.flight import record_tool

@record_tool
def tool(x): return x + 1
def work(x): return x * x
TOGETHER = threading.Barrier(4)
def together(x):
    TOGETHER.wait()
    return tool(x)

class Peer:
    agent_id, agent_role = "p", "peer"
    @trace_agent_action
    def give(self, x): return x
class Agent:
    agent_id, agent_role = "a", "r"
    def __init__(self): self.peer = Peer()
    @trace_agent_action
    def mapped(self):
        with cf.ThreadPoolExecutor(3) as pool: return list(pool.map(work, range(5)))
    @trace_agent_action
    def futures(self):
        with cf.ThreadPoolExecutor(3) as pool: return [each.result() for each in [pool.submit(work, i) for i in range(5)]]
    @trace_agent_action
    def joined(self):
        out = [0] * 3
        threads = [threading.Thread(target=out.__setitem__, args=(i, work(i))) for i in range(3)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        return out
    @trace_agent_action
    async def one_by_one(self): return [await asyncio.to_thread(tool, i) for i in range(3)] + [await asyncio.to_thread(self.peer.give, 1)]
    @trace_agent_action
    async def gathered(self): return await asyncio.gather(*(asyncio.to_thread(work, i) for i in range(4)))
    @trace_agent_action
    def unjoined(self):
        threading.Thread(target=int).start()
        return 1
    @trace_agent_action
    def pooled_tool(self):
        with cf.ThreadPoolExecutor(3) as pool: return list(pool.map(tool, range(5)))
    @trace_agent_action
    async def gathered_tool(self): return await asyncio.gather(*(asyncio.to_thread(together, i) for i in range(4)))

def build(spec): return Agent()
METHODS = ["mapped", "futures", "joined", "one_by_one", "gathered"]
def main():
    agent = Agent()
    for name in METHODS:
        given = getattr(agent, name)()
        if asyncio.iscoroutine(given): asyncio.run(given)
"""


@pytest.mark.further
def test_threads_that_end_with_their_action_are_no_reason(toy):
    report = toy.record(THREADS).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("return x * x", "return x * x + 1").replay()
    assert report.verdict == "DIVERGED", str(report)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("unjoined", "a thread that the action does not join"),
        ("pooled_tool", "tool was called in a thread, but not as a call of the action"),
        ("gathered_tool", "call it in the action itself, or await one asyncio.to_thread after the other"),
    ],
)
def test_threads_whose_order_nobody_knows_are_named(toy, method, reason):
    source = THREADS.replace('["mapped", "futures", "joined", "one_by_one", "gathered"]', f'["{method}"]')
    report = toy.record(source).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert any(reason in each for each in report.reasons), report.reasons


WORKERS = """
import asyncio
import anyio.to_thread

def work(x): return x * x

class Agent:
    agent_id, agent_role = "a", "r"
    @trace_agent_action
    async def act(self, number):
        first = await anyio.to_thread.run_sync(work, number)
        return first, await asyncio.gather(*(anyio.to_thread.run_sync(work, n) for n in range(number)))

def build(spec): return Agent()

async def rounds():
    agent = Agent()
    for number in range(1, 4): await agent.act(number)

def main(): asyncio.run(rounds())
"""


@pytest.mark.further
def test_a_worker_of_a_library_that_waits_for_work_again_is_no_reason(toy):
    pytest.importorskip("anyio")
    report = toy.record(WORKERS).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("return x * x", "return x * x + 1").replay()
    assert report.verdict == "DIVERGED", str(report)


SPAWNS = """
import numpy as np
from Agent.flight import recorder

class Agent:
    agent_id, agent_role = "a", "r"
    def __init__(self):
        self.rng = np.random.default_rng()
        self.other = np.random.Generator(np.random.Philox())
        self.adopted = recorder.adopt(np.random.default_rng())
        self.kids = []
    @trace_agent_action
    def act(self):
        self.kids += self.rng.spawn(1)
        found = [*self.kids, *self.other.spawn(2), *self.adopted.spawn(2), self.adopted.spawn(1)[0].spawn(2)[1]]
        found.append(np.random.Generator(self.rng.bit_generator.spawn(1)[0]))
        return [float(each.random()) for each in found]

def build(spec): return Agent()
def main():
    agent = Agent()
    for _ in range(3): agent.act()
"""


@pytest.mark.further
def test_spawned_generators_give_what_they_gave(toy):
    report = toy.record(SPAWNS).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("self.other.spawn(2)", "self.other.spawn(3)[1:]").replay()
    assert report.verdict == "DIVERGED"


SPAWNED = """
import numpy as np

RNG, KEPT = np.random.default_rng(5), []

class World:
    def __init__(self):
        self.rng = np.random.default_rng(6)

class Agent:
    agent_id, agent_role = "a", "r"
    def __init__(self):
        self.rng, self.world, self.sum = np.random.default_rng(7), World(), 0
    @trace_agent_action
    def act(self):
        self.sum += 1
        self.rng.spawn(1 + 1)
        number = float(PLACE.spawn(2)[0].random())
        return number

def build(spec): return Agent()
def main():
    self = Agent()
    KEPT.append(self)
    for _ in range(3):
        BESIDE
        self.act()
"""


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("place", ["self.rng", "self.world.rng", "RNG"])
def test_how_many_generators_one_has_spawned_is_part_of_its_state(toy, place):
    for beside in ("pass", f"{place}.spawn(1)"):
        toy.record(SPAWNED.replace("PLACE", place).replace("BESIDE", beside))
        report = toy.replay("last", program=False)
        assert report.verdict == "IDENTICAL", str(report)
        report = toy.change("self.sum += 1", "self.sum = self.sum + 1").replay("last", program=False)
        assert report.verdict == "IDENTICAL" and report.changed_code, str(report)
    report = toy.change("self.rng.spawn(1 + 1)", "self.rng.spawn(1 + 2)").replay("last", program=False)
    assert report.verdict == "DIVERGED", str(report)


@pytest.mark.further
def test_children_of_a_seed_that_two_generators_share_are_counted_once(toy):
    text = SPAWNED.replace("PLACE", "self.world.rng").replace("BESIDE", "pass")
    shared = "np.random.Generator(np.random.PCG64(SEED))"
    text = text.replace("np.random.default_rng(7)", shared).replace("np.random.default_rng(6)", shared)
    toy.record(text.replace("RNG, KEPT = ", "SEED = np.random.SeedSequence(3)\nRNG, KEPT = "))
    report = toy.replay("last", program=False)
    assert report.verdict == "IDENTICAL", str(report)


MESA = """
from mesa.examples.basic.schelling.model import Schelling
from Agent import instrument, tick

instrument(Schelling, methods=["step"], agent_id=lambda model: "model", agent_role="model")
def make(): return Schelling(height=8, width=8, seed={seed})
def build(spec): return make()
def main():
    model = make()
    for number in range(3):
        with tick(number): model.step()
"""


@pytest.mark.integration
@pytest.mark.parametrize("seed", [7, None])
def test_a_mesa_model_alone_is_identical_with_a_seed_and_says_so_without_one(toy, seed):
    pytest.importorskip("mesa")
    report = toy.record(MESA.format(seed=seed)).replay("last")
    if seed is not None:
        assert report.verdict == "IDENTICAL", str(report)
        return
    assert report.verdict == "UNVERIFIED", str(report)
    assert "a seed argument" in report.reasons[0] and "model.py" in report.reasons[0], report.reasons


AT_ONCE = """
import threading
EXTRA = 0
class Waiting:
    def wait(self):
        if self.barrier is not None: self.barrier.wait()
WAITING = Waiting()
WAITING.barrier = None

class Worker:
    def __init__(self, agent_id):
        self.agent_id, self.total = agent_id, 0

    @trace_agent_action
    def work(self, number):
        WAITING.wait()
        self.total += number + (EXTRA if number == 7 and self.agent_id == "b" else 0)
        return self.total

def make():
    return {name: Worker(name) for name in "abc"}

def build(spec):
    found = make()
    return found if spec.agent_id is None else found[spec.agent_id]

def main():
    WAITING.barrier = threading.Barrier(3)
    def act(worker):
        for number in range(9):
            worker.work(number)
    threads = [threading.Thread(target=act, args=(each,)) for each in make().values()]
    for each in threads: each.start()
    for each in threads: each.join()
    WAITING.barrier = None
"""


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize(
    ("old", "new"),
    [("EXTRA = 0", "EXTRA = 1"), ("self.total += number +", "self.total += number + (number == 7) +")],
)
def test_what_one_of_several_agents_in_threads_does_otherwise_is_found_whatever_their_order(toy, old, new):
    toy.record(AT_ONCE)
    assert toy.replay("last").verdict == "IDENTICAL"
    report = toy.change(old, new).replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 8), str(report)
    assert "in an order that a replay does not impose" in str(report)


LOCKSTEP = """
import sys
import threading
from collections import deque

class Hand:
    def __init__(self, agent_id):
        self.agent_id, self.inbox, self.done = agent_id, deque(), 0

    @trace_agent_action
    def take(self, number):
        while self.inbox:
            self.done += self.inbox.popleft()
        return self.done

def make():
    return {name: Hand(name) for name in "abcd"}

def build(spec):
    found = make()
    return found if spec.agent_id is None else found[spec.agent_id]

def main():
    hands, barrier, interval = make(), threading.Barrier(4), sys.getswitchinterval()
    def work(hand, after):
        for number in range(40):
            barrier.wait()
            hand.take(number)
            barrier.wait()
            after.inbox.extend([number] * 20)
    names = list(hands)
    threads = [threading.Thread(target=work, args=(hands[a], hands[b])) for a, b in zip(names, names[1:] + names[:1])]
    sys.setswitchinterval(1e-6)
    try:
        for each in threads: each.start()
        for each in threads: each.join()
    finally:
        sys.setswitchinterval(interval)
"""


@pytest.mark.further
@pytest.mark.process
def test_what_threads_write_between_actions_is_recorded_whole_while_other_threads_act(toy):
    toy.record(LOCKSTEP)
    for name in "abcd":
        report = toy.replay(f"last/{name}")
        assert report.verdict == "IDENTICAL", str(report)
    assert toy.replay("last").verdict != "DIVERGED"


def test_a_thread_has_neither_tick_nor_open_call_in_a_replay_either(toy):
    toy.record(
        """
import threading

from Agent import tick

class Bidder:
    agent_id = "bidder"

    @trace_agent_action
    def offer(self, lot):
        return lot + 1

class House:
    agent_id = "house"

    @trace_agent_action
    def sell(self, lot, bidder):
        got = []
        thread = threading.Thread(target=lambda: got.append(bidder.offer(lot)))
        thread.start()
        thread.join()
        return got

def build(spec):
    return {"house": House(), "bidder": Bidder()}

def main():
    house, bidder = House(), Bidder()
    for day in range(2):
        with tick(day):
            house.sell(day, bidder)
"""
    )
    for how in ({}, {"program": False}):
        report = toy.replay("last", **how)
        assert report.verdict == "IDENTICAL", str(report)


GATHERED = """
import asyncio
from Agent.flight import record_tool

@record_tool
async def ask(prompt):
    await asyncio.sleep(0.03 if "slow" in prompt else 0.005)
    return prompt.upper()

class Helper:
    agent_id = "h"

    @trace_agent_action
    async def help(self, prompt):
        await asyncio.sleep(0.03 if "slow" in prompt else 0.005)
        return prompt

class Agent:
    agent_id = "a"

    def __init__(self, helper):
        self.helper, self.seen = helper, []

    async def decide(self, prompt):
        self.seen.append(await ask(prompt))
        self.seen.append(await self.helper.help(prompt + "!"))

    @trace_agent_action
    async def both(self):
        await asyncio.gather(self.decide("slow"), self.decide("two"), self.decide("three"))
        return list(self.seen)

def build(spec): return Agent(spec.peer("h"))

def main(): asyncio.run(Agent(Helper()).both())
"""


def test_concurrent_awaits_get_their_responses_in_the_recorded_order(toy):
    toy.record(GATHERED)
    report = toy.replay(program=False)
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
def test_a_response_does_not_wait_for_calls_that_changed_code_no_longer_makes(toy):
    toy.record(GATHERED)
    toy.change('self.decide("two"), self.decide("three")', 'self.decide("three")')
    report = toy.replay(program=False)
    assert report.verdict == "DIVERGED", str(report)


RUNNERS = """
import threading
class Runner(threading.Thread):
    def __init__(self, agent_id):
        super().__init__()
        self.agent_id, self.out = agent_id, []
    def run(self):
        for number in range(3): self.add(number)
    @trace_agent_action
    def add(self, number):
        self.out.append(number)
        return len(self.out)

def build(spec): return Runner("a")
def main():
    runner = Runner("a")
    runner.start()
    runner.join()
    runner.add(7)
"""


@pytest.mark.further
@pytest.mark.process
def test_an_agent_that_is_a_thread_is_replayed_although_it_is_another_thread(toy):
    toy.record(RUNNERS)
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("len(self.out)", "sum(self.out)").replay("last")
    assert report.verdict == "DIVERGED", str(report)


def test_what_says_which_thread_it_is_is_no_state():
    thread = threading.Thread(target=print, name="runner")
    before = read_state(thread).fields
    thread.start()
    thread.join()
    after = read_state(thread).fields
    assert after == {name: before[name] for name in after}
    assert after["_name"] == "runner"


def test_what_says_which_process_it_is_is_no_state():
    fields = read_state(multiprocessing.Process(name="runner")).fields
    assert fields["_name"] == "runner"
    assert fields.keys().isdisjoint({"_config", "_parent_pid", "_popen"})
