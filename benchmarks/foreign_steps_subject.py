"""A model of Mesa's examples, run in a process of its own: `foreign_steps_subject.py MODEL HOW STEPS DIRECTORY`.

HOW is `none`, `count`, `eliot` or `ours`. The last line is the number of calls (`count`), else the processor time of the
first step and of all steps, in seconds.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable
from typing import Any

Made = tuple[Callable[[], Any], list[type], list[str]]


def boltzmann() -> Made:
    """100 agents that give money to others in their cell."""
    from mesa.examples.basic.boltzmann_wealth_model.agents import MoneyAgent
    from mesa.examples.basic.boltzmann_wealth_model.model import BoltzmannWealth

    return lambda: BoltzmannWealth(n=100, width=10, height=10, seed=42), [MoneyAgent], ["step"]


def schelling() -> Made:
    """About 320 agents that move away from neighbours of the other type."""
    from mesa.examples.basic.schelling.agents import SchellingAgent
    from mesa.examples.basic.schelling.model import Schelling

    return lambda: Schelling(height=20, width=20, seed=42), [SchellingAgent], ["step"]


def wolf_sheep() -> Made:
    """About 150 animals that are born, eat and die."""
    from mesa.examples.advanced.wolf_sheep.agents import Sheep, Wolf
    from mesa.examples.advanced.wolf_sheep.model import WolfSheep
    from mesa.experimental.devs import ABMSimulator

    return lambda: WolfSheep(seed=42, simulator=ABMSimulator()), [Wolf, Sheep], ["step"]


def game_of_life() -> Made:
    """400 cells, each with two methods a step."""
    from mesa.examples.basic.conways_game_of_life.agents import Cell
    from mesa.examples.basic.conways_game_of_life.model import ConwaysGameOfLife

    return (
        lambda: ConwaysGameOfLife(width=20, height=20, seed=42),
        [Cell],
        ["determine_state", "assume_state"],
    )


def boid_flockers() -> Made:
    """100 agents with arrays and lists of their neighbours; the model writes their angles."""
    from mesa.examples.basic.boid_flockers.agents import Boid
    from mesa.examples.basic.boid_flockers.model import BoidFlockers

    return lambda: BoidFlockers(seed=42), [Boid], ["step"]


def virus_on_network() -> Made:
    """50 nodes of a network."""
    from mesa.examples.basic.virus_on_network.agents import VirusAgent
    from mesa.examples.basic.virus_on_network.model import VirusOnNetwork

    return lambda: VirusOnNetwork(num_nodes=50, seed=42), [VirusAgent], ["step"]


def prisoners_dilemma() -> Made:
    """400 cells that play against their neighbours."""
    from mesa.examples.advanced.pd_grid.agents import PDAgent
    from mesa.examples.advanced.pd_grid.model import PdGrid

    return lambda: PdGrid(width=20, height=20, seed=42), [PDAgent], ["step", "advance"]


def sugarscape() -> Made:
    """200 traders, each with several methods a step."""
    from mesa.examples.advanced.sugarscape_g1mt.agents import Trader
    from mesa.examples.advanced.sugarscape_g1mt.model import SugarscapeG1mt

    methods = ["move", "eat", "maybe_die", "trade_with_neighbors"]
    return lambda: SugarscapeG1mt(seed=42), [Trader], methods


def civil_violence() -> Made:
    """1,200 agents with lists of the cells that they see."""
    from mesa.examples.advanced.epstein_civil_violence.agents import Citizen, Cop
    from mesa.examples.advanced.epstein_civil_violence.model import EpsteinCivilViolence

    return lambda: EpsteinCivilViolence(seed=42), [Citizen, Cop], ["step"]


MODELS = {
    each.__name__: each
    for each in (
        *(boltzmann, schelling, wolf_sheep, game_of_life),
        *(boid_flockers, virus_on_network, prisoners_dilemma, sugarscape, civil_violence),
    )
}


def main(model: str, how: str, steps: int, directory: str) -> None:
    """Run it, and print what it took."""
    make, classes, methods = MODELS[model]()
    calls = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            return function(*arguments)

        return call

    if how == "ours":
        from Agent import instrument, setup_logging

        setup_logging(trace_root=directory)
        for cls in classes:
            instrument(cls, methods=methods)
    elif how != "none":
        traced = counted
        if how == "eliot":
            import eliot

            log = open(f"{directory}/eliot.log", "ab")  # noqa: SIM115 - open until the process ends
            eliot.add_destinations(eliot.FileDestination(file=log))
            traced = eliot.log_call
        for cls in classes:
            for name in methods:
                setattr(cls, name, traced(getattr(cls, name)))
    made = make()
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.process_time()
        made.step()
        first = time.process_time() - began
        for _ in range(steps - 1):
            made.step()
        whole = time.process_time() - began
    print(calls if how == "count" else f"{first} {whole}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
