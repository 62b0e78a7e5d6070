"""Four weeks of milk collection by tankers from farms to a dairy, with SimPy."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from typing import Any

import simpy

from Agent import SystemLogger, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

DAYS = 28
FARMS = [f"farm_{n:02}" for n in range(1, 25)]
TANKERS = [f"tanker_{n}" for n in range(1, 5)]
PRICE = 0.094
"""Of a litre, for each percent of fat."""


class Farm:
    """A farm with its cooling tank."""

    agent_role = "farm"

    def __init__(self, agent_id: str, herd: int) -> None:
        """Make a farm with a herd."""
        self.agent_id = agent_id
        self.herd = herd
        self.tank = 0
        self.spilled = 0

    @trace_agent_action
    def milk(self, day: int, litres: int) -> int:
        """Milk the cows of a day into the tank, which holds what the herd gives in three days."""
        self.tank += litres
        over = max(0, self.tank - self.herd * 75)
        self.tank -= over
        self.spilled += over
        return over


class Tanker:
    """A tanker and its driver."""

    agent_role = "tanker"

    def __init__(self, agent_id: str) -> None:
        """Make an empty tanker."""
        self.agent_id = agent_id
        self.load = 0
        self.waits: list[int] = []

    @trace_agent_action
    def collect(self, farm: str, minute: int, litres: int, celsius: float) -> bool:
        """Take a farm's milk unless it is too warm."""
        if celsius > 7.0:
            return False
        self.load += litres
        return True

    @trace_agent_action
    def dock(self, minute: int, waited: int) -> None:
        """Drive onto a bay of the dairy."""
        self.waits.append(waited)

    @trace_agent_action
    def unload(self, minute: int, litres: int) -> int:
        """Pump the load out."""
        self.load -= litres
        return self.load

    @trace_agent_action
    def leave_bay(self, minute: int) -> None:
        """Drive off the bay."""

    @trace_agent_action
    def report_stop(self, minute: int, reason: str) -> None:
        """Tell the yard that unloading was broken off."""


class Dispatcher:
    """Makes the routes of a day."""

    agent_role = "dispatcher"

    def __init__(self) -> None:
        """Make the dispatcher."""
        self.agent_id = "dispatcher"

    @trace_agent_action
    def plan_route(self, day: int, tanker: str, farms: list[str]) -> int:
        """Give a tanker its farms."""
        return len(farms)


class Laboratory:
    """Analyses a sample of each collection, and each silo at night."""

    agent_role = "laboratory"

    def __init__(self) -> None:
        """Make the laboratory."""
        self.agent_id = "laboratory"

    @trace_agent_action
    def analyse(self, farm: str, litres: int, fat: float) -> float:
        """Enter the fat of a sample; return the price of the litres."""
        return round(litres * fat * PRICE, 2)

    @trace_agent_action
    def count_germs(self, day: int, silo: str, thousands: int) -> str:
        """Judge a silo."""
        return "reject" if thousands > 150 else "pass"


class Accounts:
    """Pays the farms."""

    agent_role = "accounts"

    def __init__(self) -> None:
        """Open the books."""
        self.agent_id = "accounts"
        self.owed: dict[str, float] = {}

    @trace_agent_action
    def credit(self, farm: str, amount: float) -> None:
        """Credit a collection to a farm."""
        self.owed[farm] = round(self.owed.get(farm, 0.0) + amount, 2)

    @trace_agent_action
    def pay(self, farm: str, amount: float) -> None:
        """Pay a farm for four weeks."""


class District:
    """The world in which all of them work."""

    def __init__(self, seed: int, fault: str) -> None:
        """Make the district."""
        self.fault = fault
        self.rng = random.Random(f"milk{seed}")
        self.env = simpy.Environment()
        self.bays = simpy.Resource(self.env, capacity=2)
        self.farms = {name: Farm(name, self.rng.randint(38, 90)) for name in FARMS}
        self.fat = {name: round(self.rng.uniform(3.75, 4.45), 2) for name in FARMS}
        if self.fat["farm_12"] % 1 >= 0.45 or self.fat["farm_12"] < 4.2:
            self.fat["farm_12"] = 4.37
        self.tankers = {name: Tanker(name) for name in TANKERS}
        self.dispatcher, self.laboratory, self.accounts = Dispatcher(), Laboratory(), Accounts()
        self.warm = 0
        self.outcome: dict[str, Any] = {"rejected_silos": 0, "late_waits": 0}

    def route(self, day: int, number: int) -> list[str]:
        """Return the farms of a tanker: every farm is visited every second day."""
        first = number * 6 + (day % 2) * 3
        farms = FARMS[first : first + 3]
        if self.fault == "old_list" and day == 9 and number == 2:
            farms = FARMS[number * 6 : number * 6 + 3]
        return farms

    def days(self) -> Generator[simpy.Event, Any, None]:
        """Let the days pass."""
        system = SystemLogger("dairy")
        for day in range(1, DAYS + 1):
            system.log_phase(f"day {day}")
            for farm in self.farms.values():
                farm.milk(day, int(farm.herd * self.rng.uniform(24, 27)))
            runs = []
            for number, name in enumerate(TANKERS):
                farms = self.route(day, number)
                self.dispatcher.plan_route(day, name, farms)
                runs.append(self.env.process(self.tour(day, name, farms)))
            yield simpy.AllOf(self.env, runs)
            for silo in ("silo_a", "silo_b"):
                germs = self.rng.randint(30, 80) + (240 if self.warm and silo == "silo_a" else 0)
                if self.laboratory.count_germs(day, silo, germs) == "reject":
                    self.outcome["rejected_silos"] += 1
            self.warm = 0
            if self.rng.random() < 0.15:
                system.warning(
                    "scale of the yard did not answer, weighed again", {"tanker": self.rng.choice(TANKERS)}
                )
            if day in (5, 18):
                system.log_config("cleaning_agent", "acid", "lye")
            yield self.env.timeout(day * 1440 - self.env.now)
        for name in FARMS:
            self.accounts.pay(name, self.accounts.owed[name])

    def tour(self, day: int, name: str, farms: list[str]) -> Generator[simpy.Event, Any, None]:
        """Drive a route and unload at the dairy."""
        tanker, rng, env = self.tankers[name], self.rng, self.env
        yield env.timeout(300 + 15 * TANKERS.index(name))
        for farm_name in farms:
            yield env.timeout(rng.randint(25, 45))
            farm = self.farms[farm_name]
            celsius = 9.4 if (day, farm_name) in ((15, "farm_16"), (22, "farm_03")) else rng.uniform(3.2, 5.4)
            shown = celsius
            if self.fault == "low_probe" and name == "tanker_3" and day >= 14:
                shown = celsius - 2.6
            litres = farm.tank
            if not tanker.collect(farm_name, int(env.now) % 1440, litres, round(shown, 1)):
                farm.tank = 0
                continue
            self.warm += celsius > 7.0
            farm.tank = 0
            fat = round(self.fat[farm_name] + rng.uniform(-0.04, 0.04), 2)
            if self.fault == "whole_percent" and day >= 14:
                fat = float(round(fat))
            self.accounts.credit(farm_name, self.laboratory.analyse(farm_name, litres, fat))
        yield env.timeout(rng.randint(20, 40))
        asked = env.now
        bay = self.bays.request()
        yield bay
        waited = int(env.now - asked)
        tanker.dock(int(env.now) % 1440, waited)
        if day >= 10 and waited > 55:
            self.outcome["late_waits"] += 1
        broken = (day, name) in ((3, "tanker_4"), (9, "tanker_1"), (19, "tanker_2"))
        yield env.timeout(40 + rng.randint(0, 15))
        if broken:
            tanker.report_stop(int(env.now) % 1440, "seal of the hose leaks")
            if self.fault == "bay_kept" and day == 9:
                yield env.timeout(35)
                tanker.unload(int(env.now) % 1440, tanker.load)
                return
            yield env.timeout(35)
        tanker.unload(int(env.now) % 1440, tanker.load)
        tanker.leave_bay(int(env.now) % 1440)
        self.bays.release(bay)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play four weeks."""
    district = District(seed, fault)
    SystemLogger("dairy").log_simulation_start("four weeks", {"farms": len(FARMS), "tankers": len(TANKERS)})
    district.env.process(district.days())
    district.env.run()
    return district.outcome | {
        "spilled": {name: farm.spilled for name, farm in district.farms.items()},
        "paid": dict(district.accounts.owed),
    }


def _day(events: Sequence[Event], day: int) -> int:
    return next(e.number for e in events if e.kind == "phase" and e.record["extra"]["name"] == f"day {day}")


FAULTS = {
    "old_list": Fault(
        "My tank ran over, the tanker never came. I am farm_18 and have been on the same days for years.",
        lambda faulty, healthy: faulty["spilled"]["farm_18"] > healthy["spilled"]["farm_18"],
        lambda events: pick(
            events,
            "dispatcher",
            "plan_route",
            where=lambda e: (e.args["day"], e.args["tanker"]) == (9, "tanker_3"),
        ),
    ),
    "low_probe": Fault(
        "A whole silo had to go to the biogas plant, germs sky-high on day 15.",
        lambda faulty, healthy: faulty["rejected_silos"] > healthy["rejected_silos"],
        lambda events: pick(
            events,
            "tanker_3",
            "collect",
            where=lambda e: e.number > _day(events, 14),
        ),
    ),
    "bay_kept": Fault(
        "Since the second week we stand in the yard for an hour and more before we can pump out, tanker_4 worst.",
        lambda faulty, healthy: faulty["late_waits"] > healthy["late_waits"] + 8,
        lambda events: [
            e.id for e in events if e.agent == "tanker_1" and e.act == "unload" and e.number > _day(events, 9)
        ][:1],
    ),
    "whole_percent": Fault(
        "The milk cheque of farm_12 for these four weeks is far too small, the cows gave as much as ever.",
        lambda faulty, healthy: faulty["paid"]["farm_12"] < 0.97 * healthy["paid"]["farm_12"],
        lambda events: pick(
            events,
            "laboratory",
            "analyse",
            where=lambda e: e.number > _day(events, 14),
        ),
    ),
}
