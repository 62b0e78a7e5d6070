"""A small wafer fab in SimPy: lots go through three layers of lithography, etch, implant and metrology."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import simpy

from Agent import AgentLogger, PerformanceLogger, SystemLogger, instrument
from benchmarks.fault_simulations.kit import Fault, pick

HORIZON = 1500
LAYERS = ("active", "gate", "contact")
DOSE = {"A": 4.0, "B": 5.5, "C": 7.0}
SETUP = {"fault": ""}


class Tool:
    """A machine that processes one lot at a time."""

    def __init__(self, env: simpy.Environment, name: str, minutes: float) -> None:
        self.name = name
        self.seat = simpy.Resource(env)
        self.recipe = {"minutes": minutes, "focus": 0.0}
        self.done = 0

    def load_recipe(self, version: int, minutes: float) -> dict[str, float]:
        """Take over a new version of the recipe."""
        if SETUP["fault"] == "recipe" and self.name == "etcher_2" and version == 3:
            minutes = 13.0
        self.recipe = {"minutes": minutes, "focus": self.recipe["focus"]}
        return dict(self.recipe)

    def etch(self, lot: str, layer: str, wafers: int) -> dict[str, Any]:
        """Etch the wafers in pairs, as the chamber has two seats."""
        pairs = wafers // 2 if SETUP["fault"] == "odd_lot" and layer == "gate" else -(-wafers // 2)
        self.done += 1
        return {"etched": min(wafers, 2 * pairs), "depth": round(self.recipe["minutes"] * 1.3, 1)}

    def expose(self, lot: str, layer: str, reticle: str) -> float:
        """Expose the wafers; return the overlay error."""
        self.done += 1
        return round(abs(self.recipe["focus"]) + 1.0, 2)


class Implanter(Tool):
    """Implants a dose that depends on the product."""

    def implant(self, lot: str, product: str, current_ma: float) -> float:
        """Run until the dose is reached; return the dose that was counted."""
        self.done += 1
        return round(current_ma * self.recipe["minutes"] / 4, 2)


class Stocker:
    """Lends reticles to the scanners."""

    def __init__(self, env: simpy.Environment) -> None:
        self.name = "stocker"
        self.shelf = {layer: simpy.Container(env, capacity=3, init=3) for layer in LAYERS}
        self.out = 0

    def lend(self, layer: str, to: str) -> str:
        """Hand out one copy of a reticle."""
        self.out += 1
        return f"{layer}-{int(self.shelf[layer].level) + 1}"

    def take_back(self, reticle: str) -> int:
        """Put a reticle back on the shelf."""
        self.out -= 1
        self.shelf[reticle.partition("-")[0]].put(1)
        return self.out


for kind, methods in (
    (Tool, ["load_recipe", "etch", "expose"]),
    (Implanter, ["implant"]),
    (Stocker, ["lend", "take_back"]),
):
    instrument(
        kind, methods=methods, agent_id="name", agent_role=kind.__name__.lower(), ignore=["seat", "shelf"]
    )


class Fab:
    """The tools and the way of the lots."""

    def __init__(self, seed: int) -> None:
        self.env = simpy.Environment()
        self.rng = random.Random(seed)
        self.scanners = [Tool(self.env, f"scanner_{i}", 9) for i in (1, 2)]
        self.etchers = [Tool(self.env, f"etcher_{i}", 30) for i in (1, 2, 3, 4)]
        self.implanter = Implanter(self.env, "implanter_1", 4)
        self.stocker = Stocker(self.env)
        self.dispatch, self.probe = AgentLogger("dispatcher", "planner"), AgentLogger("prober", "test")
        self.metro, self.engineer = (
            PerformanceLogger("metrology"),
            AgentLogger("process_engineer", "engineer"),
        )
        self.tested: dict[str, float] = {}
        self.dead: dict[str, str] = {}
        self.waits: list[float] = []

    def lot(self, number: int) -> Iterator[Any]:
        """Take one lot from the start to the test."""
        name, product = f"lot_{number:02}", self.rng.choice("AABBC")
        wafers = 13 if self.rng.random() < 0.12 and number > 6 else 24
        self.dispatch.log_action(
            "release", {"lot": name, "product": product, "wafers": wafers, "at": self.env.now}
        )
        rolls = [(self.rng.random(), self.rng.uniform(0.95, 1.05)) for _ in LAYERS]
        flaws = []
        for layer, (chance, wobble) in zip(LAYERS, rolls, strict=True):
            since = self.env.now
            yield self.stocker.shelf[layer].get(1)
            scanner = min(self.scanners, key=lambda tool: (tool.seat.count + len(tool.seat.queue), tool.name))
            reticle = self.stocker.lend(layer, scanner.name)
            yield from self.occupy(scanner)
            self.waits.append(self.env.now - since)
            scanner.expose(name, layer, reticle)
            rework = chance < 0.1
            if rework:
                self.dispatch.log_decision("rework", {"lot": name, "layer": layer}, "overlay out of range")
                yield from self.occupy(scanner)
                scanner.expose(name, layer, reticle)
            if not (SETUP["fault"] == "reticle_kept" and rework):
                self.stocker.take_back(reticle)
            etcher = min(self.etchers, key=lambda tool: (tool.seat.count + len(tool.seat.queue), tool.done))
            yield from self.occupy(etcher)
            result = etcher.etch(name, layer, wafers)
            if result["etched"] < wafers:
                flaws.append("open contact")
            if result["depth"] < 35:
                flaws.append("residue")
            if number % 5 == 0:
                self.metro.log_metric(
                    "line_width", round(45 * wobble, 2), "nm", {"lot": name, "layer": layer}
                )
        yield from self.occupy(self.implanter)
        dose = self.implanter.implant(name, product, self.current(product))
        if abs(dose - DOSE[product]) > 0.5:
            flaws.append("threshold voltage")
        yield self.env.timeout(60)
        good = round(0.94 * rolls[0][1] - 0.3 * len(flaws), 3)
        self.tested[name] = good
        self.dead[name] = ", ".join(flaws)
        data = {"lot": name, "product": product, "yield": good, "fails": flaws, "at": round(self.env.now)}
        self.probe.log_action("probe", data)

    def occupy(self, tool: Tool) -> Iterator[Any]:
        """Wait for a tool and use it."""
        with tool.seat.request() as turn:
            yield turn
            yield self.env.timeout(tool.recipe["minutes"])

    def current(self, product: str) -> float:
        """Return the beam current for a product in milliamperes."""
        if SETUP["fault"] == "current" and product == "C" and self.env.now > 380:
            return DOSE[product] * 0.1
        return DOSE[product]

    def release(self) -> Iterator[Any]:
        """Start a lot every 24 minutes or so."""
        for number in range(1, 66):
            self.env.process(self.lot(number))
            yield self.env.timeout(self.rng.uniform(20, 27))

    def engineering(self) -> Iterator[Any]:
        """Change recipes now and then, as engineers do."""
        system = SystemLogger("recipes")
        for version, when, minutes in ((2, 200, 31.0), (3, 420, 31.0), (4, 1300, 30.0)):
            yield self.env.timeout(when - self.env.now)
            system.log_config("etch_recipe", version - 1, version)
            self.engineer.log_decision(
                "roll_out_recipe", {"version": version, "minutes": minutes}, "weekly change"
            )
            for etcher in self.etchers:
                etcher.load_recipe(version, minutes)
            if version == 2:
                self.engineer.warning("scanner_2 reports lens heating, within limits", {"focus": 0.02})


def run(seed: int, fault: str) -> dict[str, Any]:
    """Run the fab for a day."""
    SETUP["fault"] = fault
    fab = Fab(seed)
    SystemLogger("fab").log_simulation_start("day", {"lots": 65, "horizon": HORIZON})
    fab.env.process(fab.release())
    fab.env.process(fab.engineering())
    fab.env.run(until=HORIZON)
    fails = {flaw: sum(flaw in text for text in fab.dead.values()) for flaw in ("residue", "open", "voltage")}
    return {"tested": len(fab.tested), **fails, "mean_wait": round(sum(fab.waits) / len(fab.waits), 1)}


FAULTS = {
    "recipe": Fault(
        "Why does the prober find residue on so many lots in the second half of the day?",
        lambda f, h: f["residue"] > h["residue"] + 4,
        lambda events: (
            pick(events, "etcher_2", "load_recipe", where=lambda e: e.args["version"] == 3)
            + pick(
                events, where=lambda e: e.kind == "system.config" and e.record["extra"].get("new_value") == 3
            )
        ),
    ),
    "reticle_kept": Fault(
        "Lots pile up before lithography and hardly anything reaches the test any more",
        lambda f, h: f["tested"] < h["tested"] - 8,
        lambda events: pick(events, "dispatcher", "rework"),
    ),
    "current": Fault(
        "all lots of product C fail the threshold voltage at the prober, earlier ones were fine",
        lambda f, h: f["voltage"] > h["voltage"] + 2,
        lambda events: pick(
            events,
            "implanter_1",
            "implant",
            where=lambda e: e.args["product"] == "C" and e.args["current_ma"] < 1,
        ),
    ),
    "odd_lot": Fault(
        "open contacts in a few lots: what do these lots have in common?",
        lambda f, h: f["open"] > h["open"],
        lambda events: pick(
            events,
            act="etch",
            where=lambda e: e.args["layer"] == "gate" and e.result["etched"] < e.args["wafers"],
        ),
    ),
}
