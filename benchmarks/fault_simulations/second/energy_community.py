"""An energy community: homes with solar roofs and batteries, a shared pool, tariffs, and a ledger."""

import math
import random
from typing import Any

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Fault, pick

QUARTERS = 96
HOMES = 8
TARIFF = {"night": 0.19, "day": 0.27, "evening": 0.44}
FEED_IN = 0.11
FEEDER_LIMIT = 14.0
_run = {"fault": ""}


def _is(fault: str) -> bool:
    return _run["fault"] == fault


def _period(quarter: int) -> str:
    if quarter < 24 or quarter >= 90:
        return "night"
    return "evening" if 68 <= quarter < 86 else "day"


class Battery:
    """A battery of 8 kWh."""

    def __init__(self, agent_id: str, charge: float) -> None:
        self.agent_id = agent_id
        self.charge = charge

    @trace_agent_action()
    def store(self, energy: float, *, base: float) -> float:
        """Add energy to a level that was read before, or take it."""
        self.charge = round(max(0.0, min(8.0, base + energy)), 3)
        return self.charge


class Home:
    """A household with a meter, a roof and a battery."""

    def __init__(self, number: int, seed: int) -> None:
        self.agent_id = f"home_{number}"
        self.battery = Battery(f"battery_{number}", 0.6 if number == 2 else 3.0 + number % 3)
        self.log = AgentLogger(self.agent_id, "home")
        self._rng = random.Random(seed * 100 + number)
        self.roof = 0.55 + 0.06 * (number % 4)
        self.bill = 0.0
        self.missing = 0.0

    def weather(self, quarter: int) -> tuple[float, float]:
        """Return what is consumed and what the roof yields in a quarter of an hour."""
        load = 0.18 + 0.22 * math.exp(-(((quarter - 76) / 9) ** 2)) + self._rng.uniform(0, 0.08)
        sun = max(0.0, math.sin((quarter - 26) / 48 * math.pi)) if 26 < quarter < 74 else 0.0
        return round(load, 3), round(self.roof * sun * self._rng.uniform(0.8, 1.0), 3)

    @trace_agent_action()
    def plan(self, price: float, load: float, sun: float) -> dict[str, float]:
        """Decide what the battery does."""
        level, rest = self.battery.charge, sun - load
        if price >= 0.4 and self.agent_id != "home_2":
            move = -min(level, max(0.0, load - sun))
        elif price < 0.12 and level < 7.5:
            move = 0.9
        else:
            move = min(max(0.0, rest), 8 - level)
        self.log.log_decision(
            "battery", {"move": round(move, 3), "price": price}, reasoning="price and surplus"
        )
        return {"move": round(move, 3), "net": round(rest - move, 3)}

    @trace_agent_action()
    def read_meter(self, net: float, quarter: int) -> dict[str, float]:
        """Report what went out to the feeder, or came in."""
        if _is("turned_meter") and self.agent_id == "home_6" and quarter >= 34:
            net = -net
        return {"export": round(max(0.0, net), 3), "import": round(max(0.0, -net), 3)}

    @trace_agent_action()
    def pay(self, amount: float) -> float:
        """Pay for a quarter of an hour; credits are negative."""
        self.bill = round(self.bill + amount, 4)
        return self.bill

    @trace_agent_action()
    def lend(self, borrower: str, energy: float, level: float) -> float:
        """Give energy from the battery, at its present level, to a neighbour."""
        given = round(min(energy, self.battery.charge), 3)
        self.battery.store(-given, base=level)
        self.log.send(borrower, {"lent": given})
        return given


class TariffDesk:
    """Publishes the price of the period."""

    def __init__(self) -> None:
        self.agent_id = "tariff_desk"
        self.table = dict(TARIFF)
        self.system = SystemLogger("tariffs")

    @trace_agent_action()
    def load_table(self, evening: float, day: float) -> dict[str, float]:
        """Replace prices of the table."""
        self.table |= {"evening": evening, "day": day}
        return self.table

    @trace_agent_action()
    def price(self, period: str) -> float:
        """Return the price of a period."""
        return self.table[period]


class Ledger:
    """The accounts of the community."""

    def __init__(self) -> None:
        self.agent_id = "ledger"
        self.pot = 0.0

    @trace_agent_action()
    def credit(self, home: str, energy: float, quarter: int) -> float:
        """Credit what a home fed in."""
        amount = round(energy * FEED_IN, 4)
        if _is("whole_cents") and quarter >= 30:
            amount = math.floor(energy * FEED_IN * 100) / 100
        self.pot = round(self.pot - amount, 4)
        self.last = home
        return amount

    @trace_agent_action()
    def debit(self, home: str, energy: float, price: float) -> float:
        """Charge a home for what it drew."""
        amount = round(energy * price, 4)
        self.pot = round(self.pot + amount, 4)
        self.last = home
        return amount


class Community:
    """All homes, and what they share."""

    def __init__(self, seed: int) -> None:
        self.homes = [Home(n, seed) for n in range(1, HOMES + 1)]
        self.desk, self.ledger = TariffDesk(), Ledger()
        self.metrics, self.trades = PerformanceLogger("feeder"), InteractionLogger("pool", "market")
        self.out = {"peak": 0.0, "grid": 0.0, "shop": 0.0, "surplus": 0.0}

    def loan(self, quarter: int, level: float) -> None:
        """Let home_2 supply the village shop, which has no connection of its own."""
        lender, wanted = self.homes[1], 0.22 if quarter >= 64 else 0.05
        given = lender.lend("shop", wanted, level)
        self.out["shop"] += wanted - given

    def step(self, quarter: int) -> None:
        """Play a quarter of an hour."""
        price, total, exported = self.desk.price(_period(quarter)), 0.0, 0.0
        for home in self.homes:
            load, sun = home.weather(quarter)
            level = home.battery.charge
            choice = home.plan(price, load, sun)
            home.battery.store(choice["move"], base=level)
            if home.agent_id == "home_2":
                lost = _is("lost_charge") and quarter >= 38
                self.loan(quarter, level if lost else home.battery.charge)
            meter = home.read_meter(choice["net"], quarter)
            total -= choice["net"]
            exported += meter["export"]
            if meter["export"]:
                home.pay(-self.ledger.credit(home.agent_id, meter["export"], quarter))
                self.trades.log_interaction("feed_in", home.agent_id, "pool", data={"kwh": meter["export"]})
            else:
                home.pay(self.ledger.debit(home.agent_id, meter["import"], price))
        if quarter >= 40:
            self.out["surplus"] += exported
        self.out["peak"] = max(self.out["peak"], total * 4 if quarter >= 60 else 0.0)
        self.metrics.log_metric("power", round(total * 4, 2), "kW")
        if total * 4 > FEEDER_LIMIT:
            self.metrics.warning("feeder above its limit", {"kw": round(total * 4, 2)})


def run(seed: int, fault: str) -> dict[str, Any]:
    """Simulate one day."""
    _run["fault"] = fault
    community = Community(seed)
    system = SystemLogger("community")
    system.log_simulation_start("day", {"homes": HOMES, "tariff": TARIFF, "feed_in": FEED_IN})
    for quarter in range(QUARTERS):
        with tick(quarter):
            if quarter == 20:
                system.log_config("meter_interval", 30, 15)
            if quarter in {27, 52, 81}:
                system.warning("gateway of the meters restarted")
            if quarter == 44:
                evening = 0.046 if fault == "low_price" else 0.46
                community.desk.system.log_config("tariff.evening", TARIFF["evening"], evening)
                community.desk.load_table(evening, 0.28)
            community.step(quarter)
    bills = {home.agent_id: round(home.bill, 3) for home in community.homes}
    system.log_simulation_end("day", {"pot": community.ledger.pot})
    return {"bills": bills, "pot": community.ledger.pot, **community.out}


FAULTS = {
    "turned_meter": Fault(
        "The pool reports clearly less solar surplus than on other sunny days, and the pot is too full.",
        lambda out, ref: out["surplus"] < ref["surplus"] - 0.4 and out["pot"] > ref["pot"] + 0.2,
        lambda events: pick(
            events, "home_6", "read_meter", lambda at: at >= 34, lambda e: e.args["net"] != 0
        ),
    ),
    "low_price": Fault(
        "Why was the feeder overloaded at about five in the afternoon?",
        lambda out, ref: out["peak"] > max(FEEDER_LIMIT, 1.3 * ref["peak"]),
        lambda events: (
            pick(events, where=lambda e: e.record["extra"].get("name") == "tariff.evening")
            + pick(events, "tariff_desk", "load_table")
        ),
    ),
    "whole_cents": Fault(
        "at the end of the day the pot holds more money than it should, by about half a euro",
        lambda out, ref: out["pot"] > ref["pot"] + 0.2,
        lambda events: pick(events, "ledger", "credit", lambda at: at >= 30),
    ),
    "lost_charge": Fault(
        "the shop had no power for much of the evening",
        lambda out, ref: out["shop"] > ref["shop"] + 0.4,
        lambda events: pick(
            events, "battery_2", "store", lambda at: at >= 36, lambda e: e.args["energy"] == -0.05
        ),
    ),
}
