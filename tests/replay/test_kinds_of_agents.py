"""Agents of every sort, recorded and driven again: each gets the verdict that it must have."""

import pytest

COUNTER = """
class Counter:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "counter"
        self.logger = AgentLogger("a", "counter")
        self.total, self.seen = 0, []

    @trace_agent_action
    def add(self, amount, *more, scale=1):
        self.total += (amount + sum(more)) * scale
        self.seen.append(amount)
        self.logger.log_decision("add", {"amount": amount})
        return {"total": self.total}

    @trace_agent_action("forget")
    def clear(self):
        del self.seen[:]

def build(spec):
    return Counter()

def main():
    agent = Counter()
    agent.add(1)
    agent.add(2, 3, 4, scale=2)
    agent.clear()
    agent.add(amount=5)
"""


def test_a_plain_agent_is_identical(toy):
    report = toy.record(COUNTER).replay()
    assert (report.verdict, report.exit_code, report.scope) == ("IDENTICAL", 0, "whole"), (
        str(report) + report.stderr
    )
    assert report.outcome.counts.driven == report.outcome.counts.actions == 4
    assert report.reasons == ()
    assert report.divergence is None
    first_line = str(report).splitlines()[0]
    assert first_line.startswith("IDENTICAL a: 4 of 4 actions covered; ")
    assert first_line.endswith("handles, not compared: logger")


def test_a_changed_result_diverges_at_its_step_and_field(toy):
    report = (
        toy.record(COUNTER)
        .change('return {"total": self.total}', 'return {"total": self.total // 10 * 10}')
        .replay()
    )
    assert (report.verdict, report.exit_code) == ("DIVERGED", 1)
    found = report.divergence
    assert (found.step, found.action, found.agent_id) == (1, "add", "a")
    assert (found.field, found.path, found.recorded, found.replayed) == ("result", "/total", 1, 0)


def test_a_changed_field_diverges_at_its_step_and_field(toy):
    report = toy.record(COUNTER).change("del self.seen[:]", "del self.seen[1:]").replay()
    assert report.verdict == "DIVERGED"
    assert (report.divergence.step, report.divergence.field) == (3, "state.seen")
    assert (report.divergence.path, report.divergence.recorded) == ("/0", "<absent>")
    assert report.divergence.replayed == 1


def test_a_missing_event_diverges(toy):
    report = (
        toy.record(COUNTER).change('self.logger.log_decision("add", {"amount": amount})', "pass").replay()
    )
    assert report.verdict == "DIVERGED"
    assert (report.divergence.step, report.divergence.field) == (1, "effects")
    assert report.divergence.recorded == "decision of a"


def test_a_renamed_method_is_unverified_by_name(toy):
    report = toy.record(COUNTER).change("def clear(self)", "def wipe(self)").replay()
    assert (report.verdict, report.exit_code) == ("UNVERIFIED", 4)
    assert "Counter has no method 'clear'" in report.reasons[0]
    assert report.outcome.counts.driven == 2


def test_arguments_that_no_longer_fit_are_unverified(toy):
    toy.record(COUNTER).change(
        "def add(self, amount, *more, scale=1)", "def add(self, amount, unit, scale=1)"
    )
    report = toy.change("(amount + sum(more))", "amount").replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "do not fit add of a" in report.reasons[0]


ASYNC = """
import asyncio

class Sender:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "sender"
        self.sent = 0

    @trace_agent_action
    async def send(self, count):
        for _ in range(count):
            await asyncio.sleep(0)
            self.sent += 1
        return self.sent

    @trace_agent_action
    async def send_both(self):
        await asyncio.gather(self.send(1), self.send(2))

def build(spec):
    return Sender()

async def work():
    agent = Sender()
    await agent.send(3)
    await agent.send_both()

def main():
    asyncio.run(work())
"""


def test_an_async_agent_is_identical(toy):
    report = toy.record(ASYNC).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.counts.driven == 2


def test_a_changed_async_agent_diverges(toy):
    report = toy.record(ASYNC).change("self.sent += 1", "self.sent += count").replay()
    assert (report.verdict, report.divergence.step, report.divergence.field) == ("DIVERGED", 1, "result")


STATES = {
    "dataclass": """
from dataclasses import dataclass, field

@dataclass
class Agent:
    agent_id: str = "a"
    agent_role: str = "keeper"
    held: dict = field(default_factory=dict)

    @trace_agent_action
    def keep(self, key, value):
        self.held[key] = value
        return len(self.held)
""",
    "slots": """
class Agent:
    __slots__ = ("agent_id", "agent_role", "held", "__weakref__")

    def __init__(self):
        self.agent_id, self.agent_role, self.held = "a", "keeper", {}

    @trace_agent_action
    def keep(self, key, value):
        self.held[key] = value
        return len(self.held)
""",
    "trace_state": """
class Agent:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "keeper"
        self._secret_box = [{}]

    def trace_state(self):
        return {"held": self._secret_box[0]}

    def trace_restore(self, state):
        self._secret_box[0] = dict(state["held"])

    @trace_agent_action
    def keep(self, key, value):
        held = self._secret_box[0]
        held[key] = value
        return len(held)
""",
    "pydantic": """
from pydantic import BaseModel

class Agent(BaseModel):
    agent_id: str = "a"
    agent_role: str = "keeper"
    held: dict = {}

    @trace_agent_action
    def keep(self, key, value):
        self.held[key] = value
        return len(self.held)
""",
}
KEEPING = """
def build(spec):
    return Agent()

def main():
    agent = Agent()
    for tick in range(3):
        agent.keep((tick, "x"), {1.5, tick})
    agent.keep("plain", None)
"""


@pytest.mark.further
@pytest.mark.parametrize("sort", STATES)
def test_state_however_exposed_is_restored_and_compared(toy, sort):
    toy.record(STATES[sort] + KEEPING)
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("[key] = value", "[key] = [value]").replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.held")


@pytest.mark.further
def test_a_long_journey_is_compared_at_its_full_states(toy):
    toy.record("""
class Collector:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "collector"
        self.pages = ["x" * 5000]
        self.count = 0

    @trace_agent_action
    def collect(self, number):
        self.pages[0] = self.pages[0][1:] + str(number % 10)
        self.count += 1

def build(spec):
    return Collector()

def main():
    agent = Collector()
    for number in range(300):
        agent.collect(number)
    """)
    assert toy.replay().verdict == "IDENTICAL"
    # The field is over 4 KiB, so only full states show it: those after 1, 2, 4, 8 ... actions and each 256th.
    report = toy.change("str(number % 10)", "str(number % 9)").replay()
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.field == "state.pages"
    assert (report.divergence.since, report.divergence.step) == (8, 16)


@pytest.mark.further
def test_a_generator_of_its_own_is_restored(toy):
    toy.record("""
import random

class Gambler:
    def __init__(self, seed):
        self.agent_id, self.agent_role = "a", "gambler"
        self.rng = random.Random(seed)

    @trace_agent_action
    def play(self):
        return self.rng.randint(1, 6) + self.rng.choice([0, 10])

def build(spec):
    return Gambler(0)

def main():
    agent = Gambler(99)
    for _ in range(5):
        agent.play()
    """)
    assert toy.replay().verdict == "IDENTICAL"
    report = toy.change("self.rng.choice([0, 10])", "self.rng.choice([0, 0, 10])").replay()
    assert report.verdict == "DIVERGED"


@pytest.mark.further
def test_a_draw_too_many_shows_in_the_generator(toy):
    toy.record("""
import random

class Wasteful:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "gambler"
        self.rng = random.Random(5)

    @trace_agent_action
    def play(self):
        return "done"

def build(spec):
    return Wasteful()

def main():
    Wasteful_agent = Wasteful()
    Wasteful_agent.play()
    globals()["kept"] = Wasteful_agent
    """)
    assert toy.replay().verdict == "IDENTICAL"
    report = toy.change('return "done"', 'self.rng.random(); return "done"').replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.rng")


@pytest.mark.further
def test_an_error_is_driven_and_compared(toy):
    toy.record("""
class Fragile:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "fragile"
        self.tries = 0

    @trace_agent_action
    def attempt(self, limit):
        self.tries += 1
        if self.tries > limit:
            raise ValueError(f"{self.tries} tries are too many")
        return self.tries

def build(spec):
    return Fragile()

def main():
    agent = Fragile()
    agent.attempt(1)
    try:
        agent.attempt(1)
    except ValueError:
        pass
    """)
    assert toy.replay().verdict == "IDENTICAL"
    report = toy.change("tries are too many", "attempts are too many").replay()
    assert (report.verdict, report.divergence.step, report.divergence.field) == ("DIVERGED", 2, "error")
    toy.change("raise ValueError", "print")
    report = toy.replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "outcome")
    assert "ValueError" in report.divergence.recorded


@pytest.mark.further
def test_learning_updates_and_contexts_are_driven_with_their_fields(toy):
    toy.record("""
class Learner:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "learner"
        self.logger = AgentLogger("a", "learner")
        self.value = 0.0

    @trace_learning_update(update_type="nudge")
    def nudge(self, reward):
        with trace_context(self.logger, "inside", phase="nudging"):
            self.logger.info("learning", extra={"reward": reward})
            self.value += 0.5 * (reward - self.value)
        return self.value

def build(spec):
    return Learner()

def main():
    from Agent import tick
    agent = Learner()
    with trace_context(agent.logger, "outside", experiment="e7", when=(1, 2)):
        for number in range(3):
            with tick(number):
                agent.nudge(1.0)
    """)
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change('phase="nudging"', 'phase="shoving"').replay()
    assert (report.verdict, report.divergence.field, report.divergence.path) == (
        "DIVERGED",
        "effects",
        "/phase",
    )


def test_ids_of_events_in_values_stand_for_the_same_events(toy):
    toy.record("""
class Chronicler:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "chronicler"
        self.logger = AgentLogger("a", "chronicler")
        self.last = None

    @trace_agent_action
    def note(self, text):
        before, self.last = self.last, self.logger.log_decision(text)
        return before

def build(spec):
    return Chronicler()

def main():
    agent = Chronicler()
    for text in ("one", "two", "three"):
        agent.note(text)
    """)
    report = toy.replay()
    assert report.verdict == "EQUIVALENT", str(report)
    assert "ids of events" in str(report)
    report = toy.change("return before", "return self.last").replay()
    assert report.verdict == "DIVERGED"


OVERRIDDEN = """
class Vehicle:
    def __init__(self):
        self.agent_id, self.agent_role, self.speed = "a", "truck", 0

    @trace_agent_action
    def choose_speed(self, limit):
        self.speed = min(limit, self.speed + 30)
        return self.speed

class Truck(Vehicle):
    def choose_speed(self, limit):
        return super().choose_speed(limit - 20)

def build(spec):
    return Truck()

def main():
    truck = Truck()
    for limit in (50, 70, 90):
        truck.choose_speed(limit)
"""


@pytest.mark.further
def test_an_untraced_override_that_calls_the_traced_method_of_its_base_is_not_called_again(toy):
    """The recorded arguments are those that the override passed on."""
    recorded = toy.record(OVERRIDDEN)
    assert recorded.replay().verdict == "IDENTICAL"
    assert recorded.change("self.speed + 30", "self.speed + 15").replay().verdict == "DIVERGED"


OF_CLASSES = """
class Calm:
    def __init__(self):
        self.agent_id, self.agent_role, self.anger = "a", "npc", 0

    @trace_agent_action
    def poke(self, force):
        self.anger += force
        if self.anger > 5:
            self.__class__ = Angry
        return self.anger

class Angry(Calm):
    pass

class Mild(Calm):
    pass

def build(spec):
    return Calm()

def build_mild(spec):
    return Mild()

KEPT = []

def main():
    KEPT.append(Calm())
    for force in (1, 2, 4):
        KEPT[0].poke(force)
"""


def test_an_agent_that_ends_as_another_class_diverges(toy):
    report = toy.record(OF_CLASSES).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("self.__class__ = Angry", "self.__class__ = Mild").replay()
    assert report.verdict == "DIVERGED", str(report)
    found = report.divergence
    assert (found.step, found.field, found.recorded, found.replayed) == (
        3,
        "state.__class__",
        "Angry",
        "Mild",
    )
    report = toy.change("self.__class__ = Mild", "pass").replay()
    assert (report.divergence.recorded, report.divergence.replayed) == ("Angry", "<unchanged>")


OF_MANY = """
from Agent import trace_agent_action

class Counted:
    total = 0

    def __init__(self, agent_id):
        self.agent_id = agent_id

    @trace_agent_action
    def count(self):
        Counted.total += 1
        return 1

def build(spec):
    return {name: Counted(name) for name in spec.agent_ids}

KEPT = []

def main():
    for number in range(100):
        KEPT.append(Counted(f"a{number:03d}"))
        KEPT[-1].count()
"""


@pytest.mark.further
def test_what_the_last_of_many_agents_leaves_in_their_class_is_compared(toy):
    report = toy.record(OF_MANY).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("Counted.total += 1", "Counted.total += 3 if self.agent_id == 'a099' else 1").replay(
        "last"
    )
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.field.endswith("total"), str(report)


def test_a_target_of_another_class_is_no_difference(toy):
    assert toy.record(OF_CLASSES).replay(factory="build_mild").verdict == "IDENTICAL"


OF_CONTAINERS = """
from collections import Counter, OrderedDict, defaultdict, deque

class Traced:
    @trace_agent_action
    def work(self, number):
        self.count += 1
        self.put(number)

def kind(base, put):
    return type(base.__name__, (Traced, base), {"put": put})

def put_in(self, number): self[number] = number * 2
def append(self, number): self.append(number * 2)
def add(self, number): self.add(number * 2)
def reorder(self, number):
    self[number] = 0
    if number: self.move_to_end(0)

KINDS = [kind(dict, put_in), kind(Counter, put_in), kind(defaultdict, put_in), kind(OrderedDict, reorder),
    kind(list, append), kind(bytearray, append), kind(deque, append), kind(set, add)]

def make():
    agents = {}
    for cls in KINDS:
        agent = cls()
        agent.agent_id, agent.agent_role, agent.count = cls.__name__, "container", 0
        agents[agent.agent_id] = agent
    return agents

def build(spec):
    return make()

def build_filled(spec):
    agents = make()
    for agent in agents.values():
        agent.put(0)
    return agents

def main():
    agents = make()
    for agent in agents.values():
        for number in range(3):
            agent.work(number)
"""
CHANGES_OF_MEMBERS = {
    "dict": ("def put_in(self, number): self[number] = number * 2", "def put_in(self, number): self[number] = number"),
    "OrderedDict": ("if number: self.move_to_end(0)", "if number: self.move_to_end(0, last=False)"),
    "list": ("def append(self, number): self.append(number * 2)", "def append(self, number): self.append(number)"),
    "set": ("def add(self, number): self.add(number * 2)", "def add(self, number): self.add(number)"),
}  # fmt: skip


@pytest.mark.further
def test_the_members_of_an_agent_that_is_a_container_are_compared(toy):
    for name, (old, new) in CHANGES_OF_MEMBERS.items():
        report = toy.record(OF_CONTAINERS).replay(run="last")
        assert report.verdict == "IDENTICAL", str(report)
        report = toy.change(old, new).replay(run="last")
        assert report.verdict == "DIVERGED", str(report)
        assert (report.divergence.agent_id, report.divergence.field) == (name, "state.self"), str(report)


def test_the_members_at_the_begin_are_restored(toy):
    report = toy.record(OF_CONTAINERS).replay(run="last", factory="build_filled")
    assert report.verdict == "IDENTICAL", str(report)
    assert "factory made self" in str(report)
