"""A program over Mesa's own example models, traced from outside; run by test_mesa.py in a process of its own.

Arguments: model name, number of steps, seed. Prints what the model itself says about the run, as one JSON object.
"""

import json
import sys

from mesa.examples.basic.boltzmann_wealth_model.agents import MoneyAgent
from mesa.examples.basic.boltzmann_wealth_model.model import BoltzmannWealth
from mesa.examples.basic.schelling.agents import SchellingAgent
from mesa.examples.basic.schelling.model import Schelling

from Agent import instrument, setup_logging, shutdown_logging, tick


def boltzmann(seed: int) -> BoltzmannWealth:
    instrument(MoneyAgent, methods=["step", "give_money"], agent_id="unique_id", agent_role="household")
    return BoltzmannWealth(n=60, width=8, height=8, seed=seed)


def schelling(seed: int) -> Schelling:
    instrument(
        SchellingAgent,
        methods=["step", "assign_state"],
        agent_id=lambda agent: f"resident_{agent.unique_id}",
        agent_role="resident",
    )
    return Schelling(height=10, width=10, density=0.7, seed=seed)


def main(name: str, steps: int, seed: int) -> None:
    setup_logging()
    model = {"boltzmann": boltzmann, "schelling": schelling}[name](seed)
    for number in range(steps):
        with tick(number):
            model.step()
    shutdown_logging()
    print(
        json.dumps(
            {
                "agents": [agent.unique_id for agent in model.agents],
                "wealth": {str(agent.unique_id): getattr(agent, "wealth", None) for agent in model.agents},
                "happy": {str(agent.unique_id): getattr(agent, "happy", None) for agent in model.agents},
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
