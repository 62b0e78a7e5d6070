"""The beer game on four levels: two shops, a wholesaler, a distributor, and a brewery, week by week."""

import random
from collections.abc import Generator
from typing import Any

import simpy

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

WEEKS = 64
STRIKE = range(40, 54)
SHOPS = ("corner_shop", "station_shop", "market_hall")
LEADS = {"coast": 1, "inland": 2}
_switch = {"fault": ""}


class Warehouse:
    """A warehouse: its stock, what is on its way, and what it owes."""

    def __init__(self, agent_id: str, stock: int, target: int) -> None:
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "warehouse")
        self.stock = stock
        self.target = target
        self.on_order = 0
        self.owed: dict[str, int] = {}

    @trace_agent_action()
    def receive(self, cases: int) -> int:
        """Put a delivery into stock."""
        self.stock += cases
        self.on_order = max(0, self.on_order - cases)
        return self.stock

    @trace_agent_action()
    def order(self, week: int) -> int:
        """Order up to the target."""
        wanted = self.target + sum(self.owed.values()) - self.stock - self.on_order
        cases = max(0, wanted)
        self.on_order += cases
        self.logger.log_decision("order", {"week": week, "cases": cases, "stock": self.stock})
        return cases

    @trace_agent_action()
    def accept(self, customer: str, cases: int) -> int:
        """Take an order from a customer."""
        self.owed[customer] = self.owed.get(customer, 0) + cases
        return self.owed[customer]

    @trace_agent_action()
    def allocate(self, week: int) -> dict[str, int]:
        """Share the stock among the customers, in proportion to what they are owed."""
        total = sum(self.owed.values())
        shares: dict[str, int] = {}
        if total == 0:
            return shares
        available = min(self.stock, total)
        ranked = sorted(self.owed, key=lambda name: -self.owed[name])
        for customer in ranked:
            share = round(available * self.owed[customer] / total)
            if _switch["fault"] == "largest_first" and self.agent_id == "wholesaler" and week >= 18:
                share = self.owed[customer] if customer != "station_shop" else 0
            share = min(share, self.stock, self.owed[customer])
            self.stock -= share
            self.owed[customer] -= share
            shares[customer] = share
        return shares


class Shop:
    """A shop that sells beer."""

    def __init__(self, agent_id: str, seed: int) -> None:
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "shop")
        self._rng = random.Random(f"{agent_id}-{seed}")
        self.shelf = 14
        self.coming = 0
        self.lost_sales = 0

    @trace_agent_action()
    def sell(self, week: int) -> int:
        """Serve the customers of a week."""
        demand = 6 + self._rng.randrange(4) + (3 if 12 <= week < 16 else 0)
        sold = min(demand, self.shelf)
        self.shelf -= sold
        self.lost_sales += demand - sold
        return sold

    @trace_agent_action()
    def restock(self, cases: int) -> int:
        """Fill the shelf."""
        self.shelf += cases
        self.coming = max(0, self.coming - cases)
        return self.shelf

    @trace_agent_action()
    def reorder(self) -> int:
        """Return how many cases are needed."""
        cases = max(0, 32 - self.shelf - self.coming)
        self.coming += cases
        return cases


class Carrier:
    """The trucks between the levels."""

    def __init__(self, env: simpy.Environment) -> None:
        self.agent_id = "carrier"
        self._env = env
        self.manifest: dict[str, int] = {}

    @trace_agent_action()
    def load(self, destination: str, cases: int, arrival: int) -> dict[str, int]:
        """Write a shipment onto the manifest of its week of arrival."""
        key = f"{destination}/{arrival}"
        before = self.manifest.get(key, 0)
        if _switch["fault"] == "overwritten" and destination == "distributor" and arrival >= 22:
            before = 0
        self.manifest[key] = before + cases
        return {key: self.manifest[key]}

    def unload(self, destination: str, week: int) -> int:
        """Take a week's shipments from the manifest."""
        return self.manifest.pop(f"{destination}/{week}", 0)


class Buyer:
    """The buyer of the distributor, who chooses the route of the year."""

    def __init__(self) -> None:
        self.agent_id = "buyer"
        self.logger = AgentLogger("buyer", "purchasing")

    @trace_agent_action()
    def choose_route(self, offers: dict[str, dict[str, float]]) -> str:
        """Choose a route by its price and its record of reliability."""
        weight = 0.0 if _switch["fault"] == "cheap_route" else 40.0
        scores = {name: weight * o["reliability"] - o["price"] for name, o in offers.items()}
        best = max(scores, key=lambda name: scores[name])
        self.logger.log_decision("route", {"route": best}, reasoning="best score of the offers")
        return best


class Chain:
    """The whole chain as one process per level."""

    def __init__(self, seed: int) -> None:
        self.env = simpy.Environment()
        self.shops = [Shop(name, seed) for name in SHOPS]
        self.wholesaler = Warehouse("wholesaler", 70, 80)
        self.distributor = Warehouse("distributor", 90, 80)
        self.carrier, self.buyer = Carrier(self.env), Buyer()
        self.brewery = AgentLogger("brewery", "factory")
        self.metrics, self.system = PerformanceLogger("chain"), SystemLogger("chain")
        self.route = "inland"
        self.late_stock = 0
        self.lost: dict[str, list[int]] = {name: [] for name in SHOPS}

    def retail(self) -> Generator[Any, None, None]:
        """Sell, reorder, and be served by the wholesaler."""
        while True:
            week = int(self.env.now)
            with tick(week):
                for shop in self.shops:
                    shop.restock(self.carrier.unload(shop.agent_id, week))
                    shop.sell(week)
                    self.lost[shop.agent_id].append(shop.lost_sales)
                    self.wholesaler.accept(shop.agent_id, shop.reorder())
                for name, cases in self.wholesaler.allocate(week).items():
                    self.carrier.load(name, cases, week + 1)
            yield self.env.timeout(1)

    def wholesale(self) -> Generator[Any, None, None]:
        """Receive, order, and be served by the distributor."""
        while True:
            week = int(self.env.now)
            with tick(week):
                self.wholesaler.receive(self.carrier.unload("wholesaler", week))
                cases = self.wholesaler.order(week)
                slow_line = week % 7 == 4
                attempts = 2 if slow_line and _switch["fault"] == "sent_twice" and week >= 20 else 1
                for _ in range(attempts):
                    message = self.wholesaler.logger.send("distributor", {"week": week, "cases": cases})
                    self.distributor.logger.receive(message)
                    self.distributor.accept("wholesaler", cases)
                if slow_line:
                    self.wholesaler.logger.warning("slow acknowledgement by the distributor")
                shipped = self.distributor.allocate(week).get("wholesaler", 0)
                self.carrier.load("wholesaler", shipped, week + 1)
                if week >= 30:
                    self.late_stock = max(self.late_stock, self.wholesaler.stock)
            yield self.env.timeout(1)

    def supply(self) -> Generator[Any, None, None]:
        """Let the brewery brew what the distributor orders, and ship it in two halves."""
        while True:
            week = int(self.env.now)
            with tick(week):
                self.distributor.receive(self.carrier.unload("distributor", week))
                cases = self.distributor.order(week)
                lead = LEADS[self.route] + (11 if self.route == "coast" and week in STRIKE else 0)
                self.brewery.log_action("brew", {"cases": cases, "route": self.route, "weeks": lead})
                for part in (cases - cases // 2, cases // 2):
                    self.carrier.load("distributor", part, week + lead)
                self.metrics.log_metric("distributor_stock", self.distributor.stock, "cases")
            yield self.env.timeout(1)

    def office(self) -> Generator[Any, None, None]:
        """Do what happens at certain weeks."""
        yield self.env.timeout(9)
        with tick(9):
            coast = {"price": 9.0, "reliability": 0.71}
            self.route = self.buyer.choose_route(
                {"coast": coast, "inland": {"price": 11.5, "reliability": 0.95}}
            )
        yield self.env.timeout(8)
        with tick(17):
            self.system.log_config("invoice_days", 30, 14)
        yield self.env.timeout(23)
        with tick(40):
            self.system.log_milestone("dockers on strike", {"weeks": len(STRIKE)})


def run(seed: int, fault: str) -> dict[str, Any]:
    """Simulate the weeks of the chain."""
    _switch["fault"] = fault
    chain = Chain(seed)
    chain.system.log_simulation_start("chain", {"weeks": WEEKS, "shops": SHOPS})
    for process in (chain.office, chain.supply, chain.wholesale, chain.retail):
        chain.env.process(process())
    chain.env.run(until=WEEKS)
    lost = {shop.agent_id: shop.lost_sales for shop in chain.shops}
    chain.system.log_simulation_end("chain", {"lost_sales": lost})
    return {"lost": lost, "total": sum(lost.values()), "late_stock": chain.late_stock}


def _twice(events: list[Event]) -> list[str]:
    seen: set[int] = set()
    found = []
    for event in events:
        if event.agent == "wholesaler" and event.record["extra"].get("direction") == "sent":
            week = event.tick or 0
            if week in seen:
                found.append(event.id)
            seen.add(week)
    return found[:3]


def _to_distributor(event: Event) -> bool:
    return event.args["destination"] == "distributor" and event.args["arrival"] >= 22


FAULTS = {
    "sent_twice": Fault(
        "In some weeks after 30 deliveries flood the wholesaler, though the shops sell as usual",
        lambda out, ref: out["late_stock"] > 1.1 * ref["late_stock"],
        _twice,
    ),
    "cheap_route": Fault(
        "Why did the shops run out of beer during the dockers' strike?",
        lambda out, ref: out["total"] > ref["total"] + 60,
        lambda events: pick(events, "buyer"),
    ),
    "overwritten": Fault(
        "after week 25 or so all shops lose sales, the shelves stay empty",
        lambda out, ref: out["total"] > ref["total"] + 60,
        lambda events: pick(events, "carrier", "load", where=_to_distributor, first=10_000)[1:6:2],
    ),
    "largest_first": Fault(
        "station_shop has hardly anything to sell in the second half of the game",
        lambda out, ref: out["lost"]["station_shop"] > ref["lost"]["station_shop"] + 60,
        lambda events: pick(events, "wholesaler", "allocate", lambda at: at >= 18),
    ),
}
