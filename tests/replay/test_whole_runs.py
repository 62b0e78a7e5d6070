"""Whole runs: several agents driven together, and a simulation that is driven through its own root."""

SIMULATION = """
import random
from Agent import instrument, tick

class Walker:
    def __init__(self, model, number):
        self.model, self.unique_id = model, number
        self.place = 0

    def step(self):
        self.place += self.model.random.choice([-1, 1])
        if self.model.random.random() < 0.1:
            self.model.born += 1
        return self.place

class Model:
    def __init__(self, seed, size=3):
        self.random = random.Random(seed)
        self.walkers = {number: Walker(self, number) for number in range(size)}
        self.born = 0
        self.steps = 0
        self.step = self.wrapped_step

    def wrapped_step(self):
        self.steps += 1
        type(self).step(self)

    def step(self):
        order = list(self.walkers)
        self.random.shuffle(order)
        for number in order:
            self.walkers[number].step()

instrument(Walker, methods=["step"], agent_id=lambda walker: f"walker_{walker.unique_id}", agent_role="walker")
instrument(Model, methods=["step"], agent_id=lambda model: "model", agent_role="model")

def build(spec):
    return {"model": Model(*spec.init.args), **spec.nested}

def model_alone(spec):
    return {"model": Model(*spec.init.args)}

def other_seed(spec):
    model = Model(5)
    return {"model": model, **spec.nested}

def main():
    model = Model(11)
    for number in range(10):
        with tick(number):
            model.step()
"""


def test_a_simulation_is_driven_through_its_root_and_its_agents_run_inside(toy):
    report = toy.record(SIMULATION).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.agents == ["model"]
    assert report.outcome.counts.driven == 10
    assert report.outcome.inside == {f"walker_{number}": 10 for number in range(3)}
    assert report.outcome.counts.answers == 0


def test_a_changed_nested_agent_diverges(toy):
    report = toy.record(SIMULATION).change("self.model.born += 1", "self.model.born += 2").replay("last")
    assert report.verdict == "DIVERGED"
    assert report.divergence.field == "state.born"


def test_a_changed_draw_of_a_nested_agent_diverges(toy):
    report = toy.record(SIMULATION).change("choice([-1, 1])", "choice([-1, 0, 1])").replay("last")
    assert report.verdict == "DIVERGED"
    assert report.divergence.step == 1


def test_the_recorded_state_counts_not_the_factory_seed(toy):
    report = toy.record(SIMULATION).replay("last", factory="other_seed")
    assert report.verdict == "IDENTICAL", str(report)


def test_agents_that_were_not_given_are_answered_and_the_report_says_so(toy):
    report = toy.record(SIMULATION).replay("last", factory="model_alone")
    assert report.outcome.answered
    assert report.verdict == "DIVERGED"  # the generator is drawn from by the agents that were answered
    assert "spec.nested" in str(report)


TWO = """
class Member:
    def __init__(self, name):
        self.agent_id, self.agent_role = name, "member"
        self.friend = None
        self.gifts = 0

    @trace_agent_action
    def give(self, amount):
        return self.friend.take(amount)

    @trace_agent_action
    def take(self, amount):
        self.gifts += amount
        return self.gifts

def pair(names):
    first, second = (Member(name) for name in names)
    first.friend, second.friend = second, first
    return {first.agent_id: first, second.agent_id: second}

def build(spec):
    return pair(spec.agent_ids)

def one(spec):
    member = Member("a")
    member.friend = spec.peer("b")
    return member

def main():
    members = pair("ab")
    members["a"].give(1)
    members["b"].give(2)
    members["a"].take(3)
"""


def test_agents_that_call_each_other_are_driven_together(toy):
    report = toy.record(TWO).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.agents == ["a", "b"]
    assert report.outcome.counts.actions == report.outcome.counts.driven == 3
    report = toy.change("self.gifts += amount", "self.gifts += amount + 1").replay("last")
    assert (report.verdict, report.divergence.step, report.divergence.agent_id) == ("DIVERGED", 1, "a")


def test_one_of_them_alone_is_answered_for_the_other(toy):
    toy.record(TWO)
    report = toy.replay("last/a", factory="one")
    assert report.verdict == "IDENTICAL", str(report)
    # b gave while a took: that is an action of a's own, and it is driven.
    assert report.outcome.counts.driven == 3
    assert report.outcome.answered == {"b": 1}


def test_a_whole_run_with_an_agent_left_out_is_unverified(toy):
    report = toy.record(TWO).replay("last", factory="one")
    assert report.verdict == "UNVERIFIED"
    assert "did not return (b)" in report.reasons[0]
