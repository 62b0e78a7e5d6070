"""Agents with less usual habits: each is recorded and driven again, and gets the verdict that it must have."""

import pytest

CASES = {
    "a generator that is replayed proves nothing, since its items are not recorded": (
        """
class Agent:
    def __init__(self):
        self.agent_id, self.n = "a", 0

    @trace_agent_action
    def count(self, to):
        for self.n in range(to):
            yield self.n

def build(spec):
    return Agent()

def main():
    list(Agent().count(3))
""",
        "last/a",
        "UNVERIFIED",
    ),
    "an action that consumes a traced generator of its own proves nothing either": (
        """
class Agent:
    def __init__(self):
        self.agent_id, self.total = "a", 0

    @trace_agent_action
    def count(self, to):
        yield from range(to)

    @trace_agent_action
    def add(self, to):
        self.total += sum(self.count(to))
        return self.total

def build(spec):
    return Agent()

def main():
    agent = Agent()
    agent.add(3)
    agent.add(4)
""",
        "last/a",
        "UNVERIFIED",
    ),
    "a cancelled step is cancelled again after as long as it took": (
        """
import asyncio

class Agent:
    def __init__(self):
        self.agent_id, self.n = "a", 0

    @trace_agent_action
    async def slow(self):
        self.n += 1
        await asyncio.sleep(30)
        self.n += 1

def build(spec):
    return Agent()

async def work():
    task = asyncio.create_task(Agent().slow())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

def main():
    asyncio.run(work())
""",
        "last/a",
        "IDENTICAL",
    ),
    "a call that a timeout cancels is cancelled again by its caller": (
        """
import asyncio

class Bidder:
    def __init__(self):
        self.agent_id = "slow"

    @trace_agent_action
    async def bid(self):
        await asyncio.sleep(60)

class House:
    def __init__(self):
        self.agent_id, self.late = "house", 0

    @trace_agent_action
    async def sell(self, bidder):
        try:
            async with asyncio.timeout(0.05):
                return await bidder.bid()
        except TimeoutError:
            self.late += 1
            return "late"

def build(spec):
    return House()

def main():
    asyncio.run(House().sell(Bidder()))
""",
        "last/house",
        "IDENTICAL",
    ),
    "values of classes come back as those classes": (
        """
import dataclasses, datetime, decimal, enum, uuid

class Mood(enum.Enum):
    GOOD, BAD = 1, 2

@dataclasses.dataclass(frozen=True)
class Memory:
    when: datetime.datetime
    mood: Mood
    ids: tuple

class Agent:
    def __init__(self):
        self.agent_id, self.memories, self.mood = "a", [], Mood.GOOD

    @trace_agent_action
    def remember(self, when, identity):
        self.mood = Mood.BAD if self.mood is Mood.GOOD else Mood.GOOD
        self.memories.append(Memory(when, self.mood, (identity, decimal.Decimal("1.5"))))
        return self.memories[-1]

def build(spec):
    return Agent()

def main():
    agent = Agent()
    for day in (1, 2, 3):
        agent.remember(datetime.datetime(2020, 1, day, tzinfo=datetime.UTC), uuid.UUID(int=day))
""",
        "last/a",
        "IDENTICAL",
    ),
    "its own __getstate__ is its state": (
        """
class Agent:
    def __init__(self):
        self.agent_id, self._hidden, self.junk = "a", [0], object()

    def __getstate__(self):
        return {"hidden": list(self._hidden)}

    def __setstate__(self, state):
        self._hidden = list(state["hidden"])

    @trace_agent_action
    def add(self, number):
        self._hidden.append(number)
        return sum(self._hidden)

def build(spec):
    return Agent()

def main():
    agent = Agent()
    agent._hidden = [5]
    agent.add(1)
    agent.add(2)
""",
        "last/a",
        "IDENTICAL",
    ),
    "arrays and numpy generators are restored": (
        """
import numpy

class Agent:
    def __init__(self, seed):
        self.agent_id, self.rng, self.weights = "a", numpy.random.default_rng(seed), numpy.zeros(3)

    @trace_agent_action
    def learn(self, rate):
        self.weights = self.weights + self.rng.normal(size=3) * rate
        return float(self.weights.sum())

def build(spec):
    return Agent(0)

def main():
    agent = Agent(4)
    for rate in (1.0, 0.5):
        agent.learn(numpy.float64(rate))
""",
        "last/a",
        "IDENTICAL",
    ),
    "measured and watched peers are answered": (
        """
from Agent.utils import measure_performance, trace_errors, trace_performance

class Tool:
    agent_id = "tool"

    @trace_performance
    @trace_agent_action
    @trace_errors
    def look(self, word):
        if word == "bad":
            raise KeyError(word)
        with measure_performance("inner"):
            return word.upper()

class Agent:
    def __init__(self, tool):
        self.agent_id, self.tool, self.logger = "a", tool, AgentLogger("a", "x")

    @trace_performance("timed")
    @trace_agent_action
    @trace_errors
    def go(self, word):
        with measure_performance("block", self.logger):
            try:
                return self.tool.look(word)
            except KeyError:
                self.logger.exception("oops")

def build(spec):
    return Agent(spec.peer("tool"))

def main():
    agent = Agent(Tool())
    for word in ("x", "bad", "y"):
        agent.go(word)
""",
        "last/a",
        "IDENTICAL",
    ),
    "one instrumented object is replayed with every sort of argument": (
        """
from Agent import instrument

class Plain:
    def __init__(self):
        self.n = 0

    def go(self, first, /, *rest, key=None, **more):
        self.n += first + sum(rest)
        return (self.n, key, more)

def build(spec):
    plain = Plain()
    instrument(plain, methods=["go"], agent_id=lambda obj: "a")
    return plain

def main():
    plain = build(None)
    plain.go(1)
    plain.go(1, 2, 3, key="k", other=1)
""",
        "last/a",
        "IDENTICAL",
    ),
    "causes within an action are the same causes": (
        """
from Agent import caused_by

class Agent:
    def __init__(self):
        self.agent_id, self.logger, self.n = "a", AgentLogger("a", "x"), 0

    @trace_agent_action
    def go(self, step):
        with caused_by(self.logger.log_decision("d", {"step": step})):
            self.logger.log_state_change({"n": self.n}, {"n": self.n + step}, trigger="go")
        self.n += step

def build(spec):
    return Agent()

def main():
    agent = Agent()
    with trace_context(agent.logger, "outer", run=1):
        with trace_context(agent.logger, "inner", run=2, more=[1, (2, 3)]):
            agent.go(1)
            agent.go(2)
""",
        "last/a",
        "IDENTICAL",
    ),
    "a secret handed to a peer stays hidden on both sides": (
        """
class Tool:
    agent_id = "tool"

    @trace_agent_action
    def login(self, user, password):
        return {"token": "tok_" + password, "user": user}

class Agent:
    def __init__(self, tool, password):
        self.agent_id, self.tool, self.password, self.token = "a", tool, password, None

    @trace_agent_action
    def go(self, user):
        self.token = self.tool.login(user, password=self.password)["token"]
        return user

def build(spec):
    return Agent(spec.peer("tool"), "another")

def main():
    Agent(Tool(), "hunter2hunter2").go("bob")
""",
        "last/a",
        "EQUIVALENT",
    ),
    "the same id in several processes is several objects": (
        """
import multiprocessing

class Agent:
    def __init__(self):
        self.agent_id, self.n = "a", 0

    @trace_agent_action
    def add(self, number):
        self.n += number
        return self.n

def build(spec):
    return Agent()

def main():
    Agent().add(1)
    process = multiprocessing.get_context("fork").Process(target=lambda: Agent().add(5))
    process.start()
    process.join()
""",
        "last/a",
        "UNVERIFIED",
    ),
    "agents that run beside each other are replayed one after the other": (
        """
import asyncio

class Agent:
    def __init__(self, name):
        self.agent_id, self.n = name, 0

    @trace_agent_action
    async def add(self, number):
        for _ in range(2):
            await asyncio.sleep(0.001)
            self.n += number
        return self.n

def build(spec):
    return {name: Agent(name) for name in spec.agent_ids}

async def work():
    one, other = Agent("a"), Agent("b")
    for _ in range(2):
        await asyncio.gather(one.add(1), other.add(2))

def main():
    asyncio.run(work())
""",
        "last",
        "IDENTICAL",
    ),
}


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize("what", CASES)
def test_that(toy, what):
    source, run, verdict = CASES[what]
    report = toy.record(source).replay(run)
    assert report.verdict == verdict, str(report) + report.stderr


THREADED = """
import threading

class Tool:
    agent_id = "tool"

    @trace_agent_action
    def look(self):
        with open(__file__ + ".live", "a") as file:
            file.write("x")
        return 1

class Agent:
    def __init__(self):
        self.agent_id, self.tool, self.n = "a", Tool(), 0

    @trace_agent_action
    def go(self):
        thread = threading.Thread(target=self.work)
        thread.start()
        thread.join()
        return self.n

    def work(self):
        self.n += self.tool.look()

def build(spec):
    return Agent()

def main():
    Agent().go()
"""


def test_a_peer_is_not_called_from_a_thread_either(toy):
    toy.record(THREADED)
    live = toy.directory / f"{toy.name}.py.live"
    live.unlink()
    report = toy.replay()
    assert report.verdict == "UNVERIFIED"
    assert not live.exists()


NESTED = """
class Member:
    def __init__(self, name):
        self.agent_id, self.friends, self.by_name, self.n = name, [], {}, 0

    @trace_agent_action
    def poke(self):
        self.n += 1
        return self.n

    @trace_agent_action
    def visit(self, other):
        return [friend.poke() for friend in self.friends] + [self.by_name["x"][0].poke(), other.poke()]

def connect(a, b, c):
    a.friends, a.by_name = [b, c], {"x": (b, 1)}

def alone(spec):
    return Member("a")

def with_stand_ins(spec):
    member = Member("a")
    connect(member, spec.peer("b"), spec.peer("c"))
    return member

def all_of_them(spec):
    members = {name: Member(name) for name in "abc"}
    connect(*members.values())
    return members

def main():
    members = all_of_them(None)
    members["a"].visit(members["c"])
    members["a"].visit(members["b"])
    members["b"].poke()
"""


@pytest.mark.parametrize(
    ("run", "factory", "answers"),
    [("last/a", "alone", 8), ("last/a", "with_stand_ins", 8), ("last", "all_of_them", 0)],
)
def test_agents_inside_containers_are_restored_as_the_agents_that_they_are(toy, run, factory, answers):
    report = toy.record(NESTED).replay(run, factory=factory)
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.counts.answers == answers
