"""Forks without a change are the same run: chance, clocks and environment go on from the recorded value."""

import pytest
from test_recorded_sources import CALLS, SHARED, TASKS
from test_whole_runs import SIMULATION

from Agent.replay import fork_run, replay_run, resume_from_checkpoint
from Agent.tree.layout import list_sessions

SOURCES = """
import datetime, os, random, secrets, time, uuid
from Agent.flight import recorded_sources, recorder

class Agent:
    def __init__(self, rng):
        self.agent_id, self.agent_role, self.rng, self.more, self.total = "a", "reader", rng, 0, 0.0

    @trace_agent_action
    def act(self):
        extra = [random.random() for _ in range(self.more)]
        read = [random.random(), random.gauss(0, 1), self.rng.randint(0, 99), str(uuid.uuid4())]
        clocks = [time.time(), time.monotonic_ns(), datetime.datetime.now().isoformat()]
        self.total += read[0]
        return [read, clocks, secrets.token_hex(3), os.environ.get("SHOP_MODE")]

    @trace_agent_action
    def later(self):
        return [time.time() for _ in range(self.more)], time.time(), self.more

def build(spec):
    return Agent(random.Random())

def main():
    random.seed(99)
    with recorded_sources():
        agent = Agent(recorder.adopt(random.Random(5)))
        for number in range(6):
            random.random()  # outside of any action
            agent.act()
            agent.later()
            time.sleep(0.02)
"""

NUMPY = """
import numpy
from Agent.flight import recorded_sources, recorder

class Agent:
    def __init__(self, rng):
        self.agent_id, self.agent_role, self.rng, self.size, self.last = "a", "numeric", rng, 2, None

    @trace_agent_action
    def act(self):
        self.last = [float(numpy.random.rand()), *map(float, self.rng.normal(size=self.size))]
        return self.last

def build(spec):
    return Agent(recorder.adopt(numpy.random.default_rng()))

def main():
    with recorded_sources():
        agent = Agent(recorder.adopt(numpy.random.default_rng(3)))
        for number in range(6):
            agent.act()
            numpy.random.rand()
"""

HIDDEN = """
import random

RNG = random.Random(4)

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role, self.last = "a", "hidden", 0

    @trace_agent_action
    def act(self):
        self.last = RNG.randint(0, 9999)
        return self.last

def build(spec):
    return Agent()

def main():
    agent = Agent()
    for number in range(6):
        agent.act()
"""

SEEDED = HIDDEN.replace("RNG = random.Random(4)", "").replace("RNG.", "random.").replace(
    "    agent = Agent()\n", "    random.seed(7)\n    agent = Agent()\n"
).replace("    return Agent()", "    random.seed(7)\n    return Agent()")

CONCURRENT = """
import asyncio, random, time
from Agent.flight import recorded_sources

class Trader:
    def __init__(self, name):
        self.agent_id, self.agent_role, self.price = name, "trader", 0.0

    @trace_agent_action
    async def bid(self):
        self.price = random.random()
        await asyncio.sleep(0.001)
        self.price += random.random() + time.time() % 1
        return self.price

class Market:
    def __init__(self):
        self.agent_id, self.agent_role, self.traders, self.book = "market", "market", [], []
        self.traders = [Trader(f"t{number}") for number in range(3)]

    @trace_agent_action
    async def round(self):
        self.book.append(sum(await asyncio.gather(*(trader.bid() for trader in self.traders))))
        return self.book[-1]

def build(spec):
    return {**spec.nested, "market": Market()}

async def run():
    market = Market()
    async with recorded_sources():
        for number in range(5):
            await market.round()

def main():
    asyncio.run(run())
"""


def origin(toy, agent="/a"):
    return f"{list_sessions(toy.root)[0].session_id}{agent}"


@pytest.mark.parametrize(
    ("source", "agent", "factory"),
    [
        (SOURCES, "/a", "build"),
        (NUMPY, "/a", "build"),
        (HIDDEN, "/a", "build"),
        (SEEDED, "/a", "build"),
        (SHARED.replace("300", "30"), "/b", "build"),
        (SHARED.replace("300", "30"), "/a", "build_adopted"),
        (CALLS, "/a", "build"),
        (CALLS, "", "build_both"),
        (TASKS, "/a", "build"),
        (CONCURRENT, "", "build"),
        (SIMULATION, "", "build"),
    ],
    ids="own numpy hidden seeded shared adopted calls both tasks market mesa".split(),
)
def test_a_fork_without_a_change_is_the_same_run(toy, source, agent, factory):
    toy.record(source)
    run = origin(toy, agent)
    for step in ("step_1", "step_2"):
        result = resume_from_checkpoint(run, step, f"{toy.name}:{factory}", toy.root)
        assert result.comparison.exit_code == 0, (step, str(result))
        assert not result.errors
