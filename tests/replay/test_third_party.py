"""A simulation that this project did not write, driven again through its own step: Mesa's wealth model."""

import pytest

MESA = """
from mesa.examples.basic.boltzmann_wealth_model.agents import MoneyAgent
from mesa.examples.basic.boltzmann_wealth_model.model import BoltzmannWealth

from Agent import instrument, tick

class Generous(MoneyAgent):
    pass

instrument(MoneyAgent, methods=["step", "give_money"], agent_id=lambda a: f"household_{a.unique_id}", agent_role="household")
instrument(BoltzmannWealth, methods=["step"], agent_id=lambda model: "model", agent_role="model")

def build(spec):
    return {"model": BoltzmannWealth(*spec.init.args, **spec.init.kwargs), **spec.nested}

def greedy(spec):
    before = MoneyAgent.give_money.__wrapped__
    def give_less(agent):
        if agent.wealth > 1:
            before(agent)
    MoneyAgent.give_money = give_less
    return build(spec)

def main():
    model = BoltzmannWealth(n=12, width=4, height=4, seed=42)
    for number in range(8):
        with tick(number):
            model.step()
"""


# In tests/integration it is driven in every run, with its plain twin.
@pytest.mark.slow
def test_a_mesa_model_is_identical_and_a_changed_household_diverges(toy):
    report = toy.record(MESA).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.counts.driven == 8
    assert len(report.outcome.inside) == 12
    assert sum(report.outcome.inside.values()) >= 12 * 8
    report = toy.replay("last", factory="greedy")
    assert report.verdict == "DIVERGED"
