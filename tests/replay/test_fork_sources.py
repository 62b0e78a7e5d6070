"""Forks without a change are the same run: chance, clocks and environment go on from the recorded value."""

import pytest
from test_recorded_sources import CALLS, SHARED, TASKS
from test_whole_runs import SIMULATION

from Agent.flight import list_runs
from Agent.replay import compare_runs, fork_run, replay_run, resume_from_checkpoint
from Agent.replay.diff.run_comparison import differing_events
from Agent.tree.layout import list_sessions

SOURCES = """
import datetime, os, random, secrets, time, uuid
from Agent.flight import recorded_sources
from Agent.flight import recorder

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
from Agent.flight import recorded_sources
from Agent.flight import recorder

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

SEEDED = (
    HIDDEN.replace("RNG = random.Random(4)", "")
    .replace("RNG.", "random.")
    .replace("    agent = Agent()\n", "    random.seed(7)\n    agent = Agent()\n")
    .replace("    return Agent()", "    random.seed(7)\n    return Agent()")
)

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


@pytest.mark.first_case
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
    result = resume_from_checkpoint(origin(toy, agent), "step_2", f"{toy.name}:{factory}", toy.root)
    assert result.comparison.exit_code == 0, str(result)
    assert not result.errors


@pytest.mark.integration
def test_a_fork_that_read_recorded_values_is_a_recording_itself(toy):
    toy.record(SOURCES)
    first = resume_from_checkpoint(origin(toy), "step_3", f"{toy.name}:build", toy.root)
    session = first.session.name.removeprefix("session_")
    report = replay_run(f"{session}/a", target=f"{toy.name}:build", root=toy.root)
    assert report.verdict == "IDENTICAL", str(report)
    again = resume_from_checkpoint(first.fork_id, "step_4", f"{toy.name}:build", toy.root)
    assert again.comparison.exit_code == 0, str(again)


def results(result, call):
    from Agent.tree.read.reader import TreeReader

    return [
        event.extra["result"]
        for event in TreeReader(result.session).events("a")
        if event.kind == "agent_action" and event.extra["call"].endswith(call)
    ]


@pytest.mark.further
def test_a_clock_goes_on_from_the_recorded_value_and_never_back(toy):
    toy.record(SOURCES)
    same = resume_from_checkpoint(origin(toy), "step_2", f"{toy.name}:build", toy.root)
    _, other = fork_run(origin(toy), "step_2", {"more": 20}, f"{toy.name}:build", toy.root)
    recorded = [time for _, time, _ in results(same, "later")]
    shown = [each for many, time, _ in results(other, "later") for each in (*many, time)]
    assert shown == sorted(shown)
    assert abs(shown[0] - recorded[0]) < 0.001, "its first read has a counterpart"
    assert shown[-1] - recorded[-1] < 5, "elapsed time, not that of today"


@pytest.mark.further
def test_a_generator_goes_on_by_itself_once_a_call_draws_more(toy):
    toy.record(SOURCES)
    same = resume_from_checkpoint(origin(toy), "step_2", f"{toy.name}:build", toy.root)
    _, other = fork_run(origin(toy), "step_2", {"more": 1}, f"{toy.name}:build", toy.root)
    one, two = ([read for read, *_ in results(each, "act")] for each in (same, other))
    assert [each[2] for each in two] == [each[2] for each in one], "its own generator draws as often"
    drawn = [read[0] for read in one]
    assert all(read[0] not in drawn for read in two), "one draw more: no value comes at its old place"
    assert two[0][0] != two[1][0]


@pytest.mark.further
def test_a_seed_lets_every_generator_go_on_from_it(toy):
    toy.record(SOURCES)
    runs = [
        fork_run(origin(toy), "step_2", None, f"{toy.name}:build", toy.root, seed=seed)[1]
        for seed in (1, 1, 2)
    ]
    first, again, other = ([read[:3] for read, *_ in results(run, "act")] for run in runs)
    assert first == again != other
    assert runs[0].comparison.exit_code == 1


LATE = """
class Agent:
    def __init__(self):
        self.agent_id, self.agent_role, self.count, self.factor, self.big = "a", "late", 0, 1, ["x" * 5000]
        self.pupil = Pupil()

    @trace_agent_action
    def act(self):
        self.count += 1
        self.big[0] = self.big[0][1:] + str(self.factor)
        self.pupil.learn(self.factor)

class Pupil:
    def __init__(self):
        self.agent_id, self.agent_role, self.book = "p", "pupil", ["y" * 5000]

    @trace_agent_action
    def learn(self, factor):
        self.book[0] = self.book[0][1:] + "z"

def build(spec):
    return {"a": Agent(), **spec.nested}

def main():
    agent = Agent()
    for number in range(5):
        agent.act()
"""


@pytest.mark.further
def test_what_differs_in_the_last_state_alone_is_a_difference(toy):
    toy.record(LATE)
    run, target = origin(toy, ""), f"{toy.name}:build"
    same = resume_from_checkpoint(run, "step_2", target, toy.root).comparison
    assert (same.exit_code, same.not_compared) == (0, {}), str(same)
    assert same.states >= 4, "the first and last states of both agents"
    for agent_id, patch in (("a", {"a": {"count": 2, "unused": 9}}), ("p", {"p": {"unused": [1]}})):
        _, other = fork_run(run, "step_2", patch, target, toy.root)
        divergence = other.comparison.divergence
        assert (divergence.agent_id, divergence.field) == (agent_id, "state.unused")
        assert divergence.a == "<absent>"
    _, other = fork_run(run, "step_2", {"a": {"factor": 3}}, target, toy.root)
    assert other.comparison.divergence.field == "args", "what came of the change is told before the change"


KINDS = """
import re
import types
from Agent.flight import recorder

class Plan:
    def __init__(self, steps):
        self.steps = steps

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role, self.count, self.wanted = "a", "planner", 0, "buy"
        self.plan = Plan([types.SimpleNamespace(kind="buy")])
        self.source = re.finditer("a", "aa")

    @trace_agent_action
    def act(self):
        self.count += 1
        self.plan.steps[0].kind = self.wanted

def build(spec):
    return Agent()

def main():
    with recorder.run("a"):
        agent = Agent()
        for number in range(4):
            agent.act()
"""


@pytest.mark.further
def test_values_without_a_codec_differ_by_their_content_and_unseen_ones_are_named(toy):
    toy.record(KINDS)
    run, target = origin(toy), f"{toy.name}:build"
    same = resume_from_checkpoint(run, "step_2", target, toy.root)
    assert same.comparison.exit_code == 0, str(same)
    assert list(same.comparison.not_compared) == ["a.source"]
    assert "alike in everything that could be compared" in str(same)
    assert "not compared: a.source" in str(same)
    _, other = fork_run(run, "step_2", {"wanted": "sell"}, target, toy.root)
    divergence = other.comparison.divergence
    assert (divergence.agent_id, divergence.field) == ("a", "state.plan"), str(other)


@pytest.mark.further
def test_two_recorded_runs_differ_by_the_last_state_alone(toy):
    ended = KINDS + "        agent.late = 1\n        Agent.kept = agent\n"
    for source in (ended, ended, ended.replace("agent.late = 1", "agent.late = 2")):
        toy.record(source)
    other, again, first = (run.run_id for run in list_runs(toy.root))
    assert compare_runs(first, again, toy.root).exit_code == 0
    found = compare_runs(first, other, toy.root)
    assert (found.exit_code, found.divergence.where) == (1, "field late"), str(found)
    assert "differ at a, last state: field late" in str(found)


BORN = """
class Child:
    def __init__(self):
        self.agent_id, self.agent_role, self.age = "child", "child", 0

    @trace_agent_action
    def grow(self):
        self.age += 1

class Model:
    def __init__(self):
        self.agent_id, self.agent_role, self.has_child = "model", "model", False

    @trace_agent_action
    def step(self):
        if self.has_child:
            Child().grow()

def build(spec):
    return {"model": Model(), **spec.nested}

def main():
    model = Model()
    for number in range(4):
        model.step()
"""


def test_an_agent_that_is_born_in_a_fork_is_a_difference(toy):
    toy.record(BORN)
    run, target = origin(toy, ""), f"{toy.name}:build"
    _, other = fork_run(run, "step_2", {"has_child": True}, target, toy.root)
    assert other.comparison.divergence.where == "field has_child", str(other)  # of the last state, as patched
    (found, *_), _ = differing_events(run, other.comparison.b, "child", toy.root)
    assert found.where == "an event that only one run has"
