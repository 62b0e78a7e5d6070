"""Draws from a generator that an agent reaches only through other objects in its fields."""

from __future__ import annotations

CHEF = """
import random

class FakeModel:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def answer(self, question):
        return f"{question} {self.rng.randint(1, 99)}"

class Client:
    def __init__(self, call):
        self.call = call

class Chef:
    def __init__(self, seed):
        self.agent_id, self.said = "a", []
        self.client = Client(FakeModel(seed).answer)

    @trace_agent_action
    def plan(self, dish):
        self.said.append(self.client.call(dish))
        return self.said[-1]

def build(spec):
    return Chef(7)

def main():
    chef = Chef(7)
    for number in range(6):
        chef.plan(f"dish {number}")
"""


def test_draws_are_those_of_the_program_where_what_leads_to_the_generator_is_as_recorded(toy):
    report = toy.record(CHEF).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("self.rng.randint(1, 99)", "1 + self.rng.randint(1, 99)").replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "result"), str(report)


def test_another_seed_in_the_factory_proves_nothing(toy):
    report = toy.record(CHEF).change("return Chef(7)", "return Chef(8)").replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "client" in str(report)


def test_another_seed_in_the_factory_of_a_generator_whose_draws_are_recorded_is_named(toy):
    source = CHEF.replace("Client(FakeModel(seed).answer)", "FakeModel(seed)").replace(
        "client.call(", "client.answer("
    )
    for recorded in (source, source.replace("{self.rng.randint(1, 99)}", "")):
        report = toy.record(recorded).replay()
        assert (report.verdict, report.outcome.factory_differences) == ("IDENTICAL", []), str(report)
        report = toy.change("return Chef(7)", "return Chef(8)").replay()
        assert report.outcome.factory_differences == [
            "a: factory made the random generator client.rng in another state; the recorded draws are used"
        ], str(report)


def test_draws_that_the_program_makes_between_actions_are_no_false_difference(toy):
    source = CHEF.replace("chef.plan(f", "chef.client.call('x'); chef.plan(f")
    report = toy.record(source).replay()
    assert report.verdict == "UNVERIFIED", str(report)
