"""Mesa's own example of a virus on a network, traced from outside."""

import random

from mesa.examples.basic.virus_on_network.agents import VirusAgent
from mesa.examples.basic.virus_on_network.model import VirusOnNetwork

from Agent import instrument, setup_logging, shutdown_logging, tick

instrument(VirusOnNetwork, methods=["step"], agent_id=lambda model: "model", agent_role="model")
instrument(VirusAgent, methods=["step"], agent_id="unique_id", agent_role="computer")


def infect(self):
    spread = self.virus_spread_chance
    for other in self.cell.neighborhood.agents:
        if other.state.name == "SUSCEPTIBLE" and self.random.random() < spread:
            other.state = self.state


VirusAgent.try_to_infect_neighbors = infect


def make():
    random.seed(9)  # Mesa's example draws its graph from the global generator
    return VirusOnNetwork(num_nodes=20, seed=9)


def build(spec):
    return {"model": make(), **spec.nested}


def main():
    setup_logging()
    model = make()
    for number in range(20):
        with tick(number):
            model.step()
    shutdown_logging()
    print(model.steps, sorted(agent.state.name for agent in model.agents))


if __name__ == "__main__":
    main()
