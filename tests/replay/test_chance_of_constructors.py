"""Chance that no seed reaches, drawn while the factory builds: one reason, and what helps."""

import pytest

TREE = """
import uuid
from Agent.flight import recorded_sources

class Node:
    def __init__(self):
        self.key, self.lines = uuid.uuid4().hex, []
        self.parent, self.rest = self, {rest}

class Robot:
    agent_id = "a"

    def __init__(self):
        self.node = None
        {in_constructor}

    @trace_agent_action
    def grow(self):
        self.node = self.node or Node()
        return 1

    @trace_agent_action
    def step(self, number):
        self.node.lines.append(number)
        return len(self.node.lines)

def build(spec):
    return Robot()

def main():
    with recorded_sources():
        robot = Robot()
        robot.grow()
        for number in range(3):
            robot.step(number)
"""


@pytest.mark.integration
def test_the_one_reason_says_how_to_have_it_recorded_and_that_helps(toy):
    tree = TREE.replace("{rest}", "iter([1])")
    toy.record(tree.replace("{in_constructor}", "self.node = Node()"))
    report = toy.replay("last/a")
    assert report.verdict == "UNVERIFIED", str(report)
    (reason,) = report.reasons
    assert "uuid.uuid4 by Node.__init__" in reason
    assert "build it in a traced action of the agent, inside `with recorded_sources():`" in reason
    toy.record(tree.replace("{in_constructor}", "pass"))
    report = toy.replay("last/a")
    assert report.verdict == "IDENTICAL", str(report)


def test_what_was_drawn_is_put_back_with_the_first_state_that_holds_it(toy):
    toy.record(TREE.replace("{rest}", "[]").replace("{in_constructor}", "self.node = Node()"))
    report = toy.replay("last/a")
    assert report.verdict == "IDENTICAL", str(report)


MODEL = """
import random

class Model:
    agent_id = "a"

    def __init__(self, seed=None):
        self.dice = Dice(random.SystemRandom().randrange(2**32) if seed is None else seed)

    @trace_agent_action
    def step(self):
        return self.dice.side

class Dice:
    def __init__(self, seed):
        self.side, self.rest = random.Random(seed).randrange(2**32), iter([1])

def build(spec):
    return Model({seed})

def main():
    Model({seed}).step()
"""


def test_a_seed_that_was_not_given_is_asked_for_and_that_helps(toy):
    toy.record(MODEL.replace("{seed}", ""))
    report = toy.replay("last/a")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "random.SystemRandom by Model.__init__" in report.reasons[0]
    assert "give it a seed argument, in the program and in the factory" in report.reasons[0]
    toy.record(MODEL.replace("{seed}", "7"))
    assert toy.replay("last/a").verdict == "IDENTICAL"


LIBRARY = """
import random

class World:
    luck = 0

    def __init__(self):
        self.seed = random.SystemRandom().randrange(2**32)

    def start(self, seed):
        World.drawn, self.seed = self.seed, seed
        self.random = random.Random(seed)

    def roll(self):
        return self.random.randrange(3) + World.luck
"""
OF_LIBRARY = """
from world_library import World

class Person:
    def __init__(self, name, world):
        self.agent_id, self.world, self.met = name, world, 0

    @trace_agent_action
    def meet(self):
        self.met += self.world.roll()
        return self.met

class Town:
    agent_id = "town"

    def __init__(self):
        self.world = World()
        self.world.start(5)
        self.people = [Person("ann", self.world), Person("bob", self.world)]

    @trace_agent_action
    def step(self):
        return [person.meet() for person in self.people]

def build(spec):
    return {"town": Town(), **spec.nested}

def main():
    town = Town()
    for _ in range(4):
        town.step()
"""


@pytest.mark.integration
def test_chance_that_only_a_library_drew_is_no_doubt_if_other_draws_give_the_same_difference(
    toy, tmp_path, monkeypatch
):
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "world_library.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(library))
    report = toy.record(OF_LIBRARY).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("self.world.roll()", "self.world.roll() + (self.met > 2)").replay("last")
    assert report.verdict == "DIVERGED", str(report)
    assert "2 more replays with other times and draws had the same result" in str(report)
    (library / "world_library.py").write_text(
        LIBRARY.replace("luck = 0", "drawn = luck = 0").replace("+ World.luck", "+ World.drawn")
    )
    report = toy.record(OF_LIBRARY).replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
