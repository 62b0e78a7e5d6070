"""Ride-hailing in six quarters of a town, with learned surge factors; classes traced from outside."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from Agent import LearningLogger, instrument, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

TICKS = 300
QUARTERS = ["harbour", "centre", "station", "campus", "airport", "hills"]
BUSY = {"harbour": 1.0, "centre": 2.2, "station": 1.6, "campus": 1.2, "airport": 1.4, "hills": 0.7}


def distance(one: str, other: str) -> int:
    """Return how many minutes lie between two quarters."""
    return 2 + 4 * abs(QUARTERS.index(one) - QUARTERS.index(other))


class Driver:
    """A driver with an app that reports where they are and when a trip ends."""

    def __init__(self, name: str, quarter: str, gateway: str) -> None:
        """Begin a shift in a quarter."""
        self.agent_id, self.quarter, self.gateway = name, quarter, gateway
        self.trips = 0
        self.earned = 0.0

    def report(self, quarter: str) -> str:
        """Report the quarter in which the driver is."""
        self.quarter = quarter
        return quarter

    def finish(self, trip: str, fare: float) -> str:
        """End a trip."""
        self.trips += 1
        return self.gateway


class Locator:
    """Knows for each driver the quarter last reported."""

    def __init__(self) -> None:
        """Begin with an empty table."""
        self.agent_id = "locator"
        self.places: dict[str, str] = {}

    def store(self, driver: str, quarter: str, table: dict[str, str]) -> int:
        """Store a report and return how many rows it changed."""
        changed = sum(self.places.get(name) != place for name, place in table.items())
        self.places.update(table)
        return changed


class Gateway:
    """Passes what drivers' apps say on to the dispatcher."""

    def __init__(self, name: str) -> None:
        """Open for messages."""
        self.agent_id, self.passed = name, 0

    def forward(self, driver: str, trip: str) -> int:
        """Tell the dispatcher that a driver is free again."""
        self.passed += 1
        return self.passed


class Dispatcher:
    """Chooses a driver for each call."""

    def __init__(self) -> None:
        """Begin with nobody on the way."""
        self.agent_id = "dispatcher"
        self.busy: dict[str, str] = {}

    def choose(self, trip: str, pickup: str, driver: str) -> str:
        """Send a driver to a pickup."""
        self.busy[driver] = trip
        return driver

    def free(self, driver: str) -> None:
        """Note that a driver has no trip any more."""
        self.busy.pop(driver, None)

    def decline(self, trip: str, pickup: str) -> str:
        """Tell a passenger that no car is free."""
        return trip


class Pricer:
    """Learns how much demand a quarter has and sets its surge factor."""

    def __init__(self, quarter: str) -> None:
        """Begin with the factor 1."""
        self.agent_id, self.demand, self.factor = f"pricer_{quarter}", BUSY[quarter], 1.0
        self.learning = LearningLogger("regression", self.agent_id)

    def learn(self, calls: int, error: float) -> float:
        """Move the estimate of demand by a part of the error."""
        self.demand = round(min(9.0, max(0.1, self.demand + 0.25 * error)), 3)
        return self.demand

    def set_factor(self, usual: float) -> float:
        """Set the factor from demand beside what is usual."""
        self.factor = round(min(4.0, max(1.0, self.demand / usual)), 2)
        return self.factor


class Ledger:
    """Quotes fares and pays drivers their share."""

    def __init__(self) -> None:
        """Begin with empty accounts."""
        self.agent_id, self.total = "ledger", 0.0

    def quote(self, trip: str, minutes: int, factor: float) -> float:
        """Return the fare of a trip."""
        return round((2.5 + 0.9 * minutes) * factor, 2)

    def settle(self, driver: str, trip: str, fare: float, share: float) -> float:
        """Pay a driver."""
        self.total = round(self.total + share, 2)
        return share


class Depot:
    """Washes and checks cars."""

    def __init__(self) -> None:
        """Open the depot."""
        self.agent_id = "depot"

    def check(self, driver: str, tyre_mm: float) -> bool:
        """Check a tyre; a worn one raises."""
        if tyre_mm < 1.6:
            raise ValueError(f"tyre of {driver} has {tyre_mm} mm")
        return True


for _cls, _methods in (
    (Driver, ["report", "finish"]), (Locator, ["store"]), (Gateway, ["forward"]),
    (Dispatcher, ["choose", "free", "decline"]), (Pricer, ["learn", "set_factor"]),
    (Ledger, ["quote", "settle"]), (Depot, ["check"]),
):  # fmt: skip
    instrument(_cls, methods=_methods, agent_id="agent_id")


def _error(case: str, pricer: Pricer, calls: int, now: int) -> float:
    gap = round(calls - pricer.demand, 3)
    return float(calls) if case == "surge" and pricer.agent_id == "pricer_harbour" and now >= 130 else gap


def _share(case: str, fare: float, now: int) -> float:
    return float(int(fare * 0.8)) if case == "payout" and now >= 135 else round(fare * 0.8, 2)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play five hours of the town."""
    rng, calls_rng = random.Random(seed), random.Random(seed * 7 + 1)
    drivers = {
        f"d{n:02d}": Driver(f"d{n:02d}", rng.choice(QUARTERS), f"gateway_{n % 3 + 1}") for n in range(1, 41)
    }
    locator, dispatcher, ledger, depot = Locator(), Dispatcher(), Ledger(), Depot()
    gateways = {f"gateway_{n}": Gateway(f"gateway_{n}") for n in (1, 2, 3)}
    pricers = {q: Pricer(q) for q in QUARTERS}
    for driver in drivers.values():
        locator.places[driver.agent_id] = driver.quarter
    on_way: list[tuple[int, str, str, str, float]] = []
    seen = dict.fromkeys(QUARTERS, 0)
    outcome: dict[str, Any] = {"declined": 0, "long": 0, "top_harbour": 1.0, "short": 0.0, "trips": 0}
    waits: list[int] = []
    for now in range(TICKS):
        with tick(now):
            rate = 0.9 + 0.25 * (now in range(60, 110)) + (0.8 if 236 <= now < 244 else 0.0)
            for _ in range(calls_rng.choice([0, 1, 1, 2]) if calls_rng.random() < rate else 0):
                pickup, target = calls_rng.choices(QUARTERS, [BUSY[q] for q in QUARTERS], k=2)
                outcome["trips"] += 1
                trip = f"trip{outcome['trips']:04d}"
                seen[pickup] += 1
                free = sorted(
                    (distance(locator.places[d], pickup), d) for d in drivers if d not in dispatcher.busy
                )
                if not free:
                    dispatcher.decline(trip, pickup)
                    outcome["declined"] += 1
                    continue
                name = free[0][1]
                fare = ledger.quote(trip, distance(pickup, target), pricers[pickup].factor)
                dispatcher.choose(trip, pickup, name)
                wait = distance(drivers[name].quarter, pickup)
                waits.append(wait)
                outcome["long"] += wait - free[0][0] >= 8
                due = now + wait + distance(pickup, target) + rng.randrange(8, 18)
                on_way.append((due, name, trip, target, fare))
            for entry in [e for e in on_way if e[0] <= now]:
                on_way.remove(entry)
                _, name, trip, target, fare = entry
                driver = drivers[name]
                driver.finish(trip, fare)
                if not (fault == "gateway" and driver.gateway == "gateway_2" and now >= 120):
                    gateways[driver.gateway].forward(name, trip)
                    dispatcher.free(name)
                share = _share(fault, fare, now)
                outcome["short"] = round(outcome["short"] + fare * 0.8 - share, 2)
                ledger.settle(name, trip, fare, share)
                same = driver.quarter == target
                driver.report(target)
                stale = fault == "places" and now >= 170 and driver.agent_id[2] in "13579"
                locator.store(name, target, {} if stale or same else {name: target})
            if now % 10 == 9:
                for quarter, pricer in pricers.items():
                    error = _error(fault, pricer, seen[quarter], now)
                    pricer.learning.log_reward(f"window_{now // 10}", -abs(error))
                    pricer.learn(seen[quarter], error)
                    pricer.set_factor(BUSY[quarter] * 1.1)
                    seen[quarter] = 0
                outcome["top_harbour"] = max(outcome["top_harbour"], pricers["harbour"].factor)
            if now % 45 == 20:
                name = rng.choice(list(drivers))
                try:
                    depot.check(name, round(rng.uniform(1.2, 5.0), 1))
                except ValueError:
                    depot.check(name, 7.5)
    outcome["mean_wait"] = round(sum(waits) / len(waits), 2)
    return outcome


def _unstored(events: Sequence[Event]) -> list[str]:
    last: dict[str, str] = {}
    found = []
    for event in events:
        if event.act == "store":
            driver, quarter = event.args["driver"], event.args["quarter"]
            known = last.get(driver)
            if not event.args["table"] and (event.tick or 0) >= 170 and known not in {None, quarter}:
                found.append(event.id)
            last[driver] = quarter
    return found[:3]


FAULTS = {
    "surge": Fault(
        "Nearly four times the usual price from the harbour, and the streets were empty all evening!",
        lambda faulty, healthy: faulty["top_harbour"] >= max(3.5, healthy["top_harbour"] + 0.8),
        lambda events: pick(events, "pricer_harbour", "learn", tick=lambda t: t >= 130),
    ),
    "places": Fault(
        "The app promised a car around the corner, then it drove through half the town to get to me.",
        lambda faulty, healthy: faulty["long"] >= healthy["long"] + 6,
        _unstored,
    ),
    "gateway": Fault(
        "Since two hours or so the dispatcher says that no car is free, but I see drivers idle everywhere.",
        lambda faulty, healthy: faulty["declined"] >= healthy["declined"] + 5,
        lambda events: pick(
            events, act="finish", tick=lambda t: t >= 120, where=lambda e: e.result == "gateway_2"
        ),
    ),
    "payout": Fault(
        "My payout at the end of the shift is less than four fifths of the fares that I have written down.",
        lambda faulty, healthy: faulty["short"] >= healthy["short"] + 20,
        lambda events: pick(
            events, "ledger", "settle", tick=lambda t: t >= 135,
            where=lambda e: abs(e.args["share"] - e.args["fare"] * 0.8) > 0.006,
        ),
    ),
}  # fmt: skip
