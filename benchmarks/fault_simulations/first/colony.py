"""A colony of bacteria on a grid of patches: cells feed, divide, pass plasmids on and sense each other."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

BROKEN: set[str] = set()
STEPS = 56
PATCHES = 3


class Patch:
    """A piece of the agar with nutrients, signal molecules and, at times, an antibiotic."""

    def __init__(self, number: int) -> None:
        self.agent_id = f"patch_{number}"
        self.logger = AgentLogger(self.agent_id, "patch")
        self.food = 20.0
        self.signal = 0.0
        self.drug = 0.0

    @trace_agent_action()
    def diffuse(self, inflow: float) -> dict[str, float]:
        """Let food come in and signals decay."""
        self.food = round(min(120.0, self.food + inflow), 2)
        self.signal = round(0.5 * self.signal, 3)
        self.drug = round(0.8 * self.drug, 3)
        return {"food": self.food, "signal": self.signal, "drug": self.drug}


class Cell:
    """A bacterium with energy, plasmids, and a switch between swimming and a biofilm."""

    def __init__(self, name: str, patch: int, energy: float, plasmids: dict[str, int], born: int = 0) -> None:
        self.agent_id = name
        self.logger = AgentLogger(name, "cell")
        self.patch = patch
        self.energy = energy
        self.plasmids = plasmids
        self.film = False
        self.efflux = 0.4
        self.children = 0
        self.born = born

    @trace_agent_action()
    def eat(self, food: float, shared: int) -> float:
        """Take a share of the food of the patch."""
        bite = round(min(3.0, food / max(1, shared)), 2)
        cost = 1.1 + 0.1 * sum(self.plasmids.values())
        self.energy = round(self.energy + bite - cost, 2)
        return bite

    @trace_agent_action()
    def emit(self, step: int) -> float:
        """Give off signal molecules."""
        if "silent" in BROKEN and step >= 15 and self.agent_id.startswith("a2"):
            return 0.0
        return 1.0

    @trace_agent_action()
    def sense(self, signal: float) -> bool:
        """Join the biofilm if there are enough others."""
        film = signal > 4.5
        if film != self.film:
            self.logger.log_state_change({"film": self.film}, {"film": film}, trigger=f"signal {signal}")
        self.film = film
        return film

    @trace_agent_action()
    def conjugate(self, other: Cell) -> dict[str, int]:
        """Give a neighbour a copy of each plasmid it has not got."""
        mine = {name: 1 for name, copies in self.plasmids.items() if copies}
        if "merge" in BROKEN and "pR" in other.plasmids and len(other.plasmids) == 1:
            other.plasmids = {name: 1 for name in mine if name in other.plasmids}
        else:
            other.plasmids = {**mine, **other.plasmids}
        return other.plasmids

    @trace_agent_action()
    def divide(self, name: str, step: int) -> Cell:
        """Split into two cells."""
        self.children += 1
        half = round(self.energy / 2, 2)
        self.energy = half
        if "branch" in BROKEN and self.film and step >= 14:
            half = round(2 * half, 2)
        child = Cell(name, self.patch, half, dict(self.plasmids), step)
        child.efflux = self.efflux
        return child

    @trace_agent_action()
    def suffer(self, drug: float) -> float:
        """Lose energy to the antibiotic, less with the resistance plasmid and in a film."""
        guard = (0.25 if "pR" in self.plasmids else 1.0) * (0.5 if self.film else 1.0) * (1.2 - self.efflux)
        loss = round(drug * guard, 2)
        self.energy = round(self.energy - loss, 2)
        return loss

    @trace_agent_action()
    def tune_efflux(self, stress: float) -> float:
        """Decide once, when young, how strong the pumps for poison will be."""
        self.efflux = 0.9 if stress > 0.15 else 0.8
        if "early" in BROKEN and self.patch == 1:
            self.efflux = 0.1
        self.logger.log_decision(
            "efflux", {"level": self.efflux, "stress": stress}, reasoning="first contact"
        )
        return self.efflux


class Colony:
    """The plate."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.patches = [Patch(number) for number in range(PATCHES)]
        self.cells = [
            Cell(f"{line}{number}", number, 6.0, {"pR": 1} if line == "a" else {"pM": 1})
            for line in "ab"
            for number in range(PATCHES)
        ]
        self.log = AgentLogger("plate", "plate")
        self.film = [0] * PATCHES
        self.killed = [0] * PATCHES

    def step(self, step: int) -> None:
        """Let every cell live for a step."""
        dice = random.Random(self.rng.random())
        for patch in self.patches:
            patch.diffuse(inflow=6.5)
        for cell in list(self.cells):
            patch = self.patches[cell.patch]
            near = [other for other in self.cells if other.patch == cell.patch]
            patch.food -= cell.eat(patch.food, len(near))
            patch.signal += cell.emit(step)
            if step % 3 == 0:
                self.film[cell.patch] += cell.sense(round(patch.signal, 2)) and step >= 15
            if patch.drug > 0.05:
                cell.suffer(patch.drug)
            if dice.random() < 0.05 and len(near) > 1:
                cell.conjugate(near[(near.index(cell) + 1) % len(near)])
            if cell.energy > 9 and len(near) < 8:
                self.cells.append(cell.divide(f"{cell.agent_id}{'xyz'[cell.children % 3]}{step}", step))
        for cell in [cell for cell in self.cells if cell.energy <= 0]:
            self.cells.remove(cell)
            self.killed[cell.patch] += self.patches[cell.patch].drug > 0.05
            self.log.log_action("lysis", {"cell": cell.agent_id, "age": step - cell.born})


def run(seed: int, fault: str) -> dict[str, Any]:
    """Grow a colony."""
    BROKEN.clear()
    BROKEN.add(fault)
    colony, lab, counter = Colony(seed), SystemLogger("lab"), PerformanceLogger("lab")
    history, resistant = [], 0.0
    for step in range(STEPS):
        with tick(step):
            if step == 6:
                for cell in colony.cells:
                    cell.tune_efflux(stress=round(0.1 + 0.02 * cell.patch, 2))
            if step == 20:
                lab.log_config("temperature", 35.0, 37.0)
            if step in {36, 46}:
                lab.log_milestone("antibiotic", {"dose": 14.0})
                for patch in colony.patches:
                    patch.drug += 14.0
            colony.step(step)
            if step == 35:
                resistant = sum("pR" in cell.plasmids for cell in colony.cells) / len(colony.cells)
            counter.log_metric("cells", len(colony.cells))
            history.append(len(colony.cells))
    alive = {line: sum(cell.agent_id[0] == line for cell in colony.cells) for line in "ab"}
    return {
        "alive": alive,
        "killed": colony.killed,
        "film": colony.film,
        "cells": sum(history[26:36]) / 10,
        "resistant": round(resistant, 2),
        "h": history[::6],
    }


def _fat_children(events: Sequence[Event]) -> list[str]:
    in_film: set[str] = set()
    found = []
    for event in events:
        if event.act == "sense":
            (in_film.add if event.result else in_film.discard)(event.agent)
        if event.act == "divide" and event.agent in in_film and event.args["step"] >= 14:
            found.append(event.id)
    return found[:3]


def _in_patch_1(event: Event) -> bool:
    return event.agent.startswith(("a1", "b1"))


FAULTS = {
    "silent": Fault(
        "patch_2 has lost its biofilm, the cells there swim although there are as many as elsewhere",
        lambda f, h: f["film"][2] < h["film"][2] / 3,
        lambda events: pick(
            events, act="emit", tick=lambda step: step >= 15, where=lambda e: e.agent[:2] == "a2"
        ),
    ),
    "branch": Fault(
        "How can there be more cells around step 30 than the food allows?",
        lambda f, h: f["cells"] > h["cells"] + 0.8,
        _fat_children,
    ),
    "merge": Fault(
        "Too few cells carry the resistance plasmid when the antibiotic comes at step 36.",
        lambda f, h: f["resistant"] < h["resistant"] - 0.05,
        lambda events: pick(events, act="conjugate", where=lambda e: e.result == {}),
    ),
    "early": Fault(
        "why did the biofilm of patch_1 break down under the antibiotic while the others kept theirs",
        lambda f, h: f["film"][1] < h["film"][1] - 8,
        lambda events: (
            pick(events, act="tune_efflux", where=_in_patch_1) + pick(events, act="efflux", where=_in_patch_1)
        ),
    ),
}
