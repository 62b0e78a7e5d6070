"""Wealth transfer of agentpy, its model traced from outside."""

import agentpy

from Agent import instrument, setup_logging, shutdown_logging


class Person(agentpy.Agent):
    def setup(self):
        self.wealth = 1

    def give(self):
        partner = self.model.people.random()
        if self.wealth > 0:
            partner.wealth += 1
            self.wealth -= 1


class Economy(agentpy.Model):
    def setup(self):
        self.people = agentpy.AgentList(self, self.p.people, Person)

    def step(self):
        self.people.give()

    def update(self):
        self.record("richest", max(self.people.wealth))


instrument(Economy, methods=["sim_step"], agent_id=lambda model: "economy", agent_role="model")


def make():
    model = Economy({"people": 10, "steps": 15, "seed": 6})
    model.sim_setup()
    return model


def build(spec):
    return make()


def main():
    setup_logging()
    model = make()
    for _ in range(15):
        model.sim_step()
    shutdown_logging()
    print(sorted(model.people.wealth))


if __name__ == "__main__":
    main()
