"""Generators of numpy that read entropy before they are seeded with a number, and those that never are."""

from __future__ import annotations

import pytest

pytest.importorskip("numpy")

AGENT = """
import numpy

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role, self.count = "a", "user", 0
        self.rng = numpy.random.default_rng()

    @trace_agent_action
    def act(self):
        self.count += 1
        {body}

def build(spec):
    return Agent()

def main():
    agent = Agent()
    for _ in range(3):
        agent.act()
"""


def replayed(toy, *lines):
    return toy.record(AGENT.format(body="\n        ".join(lines))).replay()


def test_a_number_as_seed_takes_the_place_of_entropy(toy):
    report = replayed(
        toy,
        "first = numpy.random.RandomState(self.count).rand()",
        "later = numpy.random.RandomState()",
        "later.seed(self.count)",
        "return float(first + later.rand() + self.rng.random())",
    )
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
def test_draws_from_entropy_are_named_with_their_places(toy):
    lines = [
        "numpy.random.RandomState().rand()",
        "late = numpy.random.RandomState(); late.rand(); late.seed(3)",
        "numpy.random.default_rng().random()",
        "late = numpy.random.RandomState(3); late.seed(); late.rand()",
    ]
    report = replayed(toy, *lines, "return self.count")
    assert report.verdict == "UNVERIFIED", str(report)
    source = toy.source.splitlines()
    named = [source[read.line - 1].strip() for read in report.outcome.sources]
    assert named == lines
    assert {read.source for read in report.outcome.sources} == {"random.SystemRandom"}


BUILT = """
import numpy

class World:
    def __init__(self, seed):
        self.agent_id, self.agent_role, self.rng = "a", "world", numpy.random.default_rng()
        {drawn}
        self.rng = numpy.random.default_rng(seed)
        self.cell = Cell(self)

    @trace_agent_action
    def step(self):
        return self.cell.act() + 1

class Cell:
    def __init__(self, world):
        self.agent_id, self.agent_role, self.world = "c", "cell", world

    @trace_agent_action
    def act(self):
        return int(self.world.rng.integers(100))

def build(spec):
    return {{"a": World(7), **spec.nested}}

def main():
    world = World(7)
    for _ in range(3):
        world.step()
"""


@pytest.mark.further
def test_a_generator_that_the_factory_replaces_before_any_draw_is_no_chance(toy):
    verdicts = {
        "pass": "DIVERGED",
        "self.rng.bytes(8)": "UNVERIFIED",
        "self.kept = self.rng.spawn": "UNVERIFIED",
    }
    for drawn, verdict in verdicts.items():
        toy.record(BUILT.format(drawn=drawn)).change("self.cell.act() + 1", "self.cell.act() + 2")
        report = toy.replay("last")
        assert report.verdict == verdict, str(report)
        assert ("drew random values" in str(report)) is (verdict == "UNVERIFIED")
