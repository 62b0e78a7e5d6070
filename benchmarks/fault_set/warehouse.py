"""A warehouse: robots fetch goods from zones to packing tables, share docks, and log it all by hand."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick
from benchmarks.fault_set.case import Plan, Truth, World

BINS = {f"bin_{n:02d}": "ABCD"[n % 4] for n in range(24)}
TABLES = ("P1", "P2", "P3")
LOW_CHARGE, FULL_CHARGE = 36.0, 92.0
RESCUE_TICKS = 5


@dataclass
class Order:
    """One thing to fetch, and when it was ordered."""

    name: str
    bin: str
    table: str
    express: bool
    came: int


@dataclass
class Robot:
    """Carries one order at a time; the gauge shows the charge with an error."""

    agent_id: str
    journal: AgentLogger
    rng: random.Random
    charge: float
    gauge_offset: float = 0.0
    order: Order | None = None
    held: list[str] = field(default_factory=list)
    working: int = 0
    dock: str | None = None
    rescue: int = 0
    enters: tuple[str, str] = ("shelf", "table")
    shelf_map: dict[str, str] = field(default_factory=lambda: dict(BINS))
    told_to_wait: bool = False

    @property
    def shown(self) -> float:
        return round(min(100.0, self.charge + self.gauge_offset), 1)


class Warehouse:
    """Robots, docks, zones, the ledger of stock and a dispatcher."""

    def __init__(self, plan: Plan, demand: float) -> None:
        self.plan, self.demand = plan, demand
        names = [plan.name("robot", n) for n in range(plan.size)]
        self.robots = [
            Robot(name, AgentLogger(name, "robot"), plan.chance(name), 40.0 + 55.0 * n / plan.size)
            for n, name in enumerate(names)
        ]
        self.dispatcher, self.docks = AgentLogger("dispatcher", "dispatcher"), AgentLogger("docks", "service")
        self.ledger, self.planner = AgentLogger("ledger", "ledger"), AgentLogger("planner", "planner")
        self.metrics = PerformanceLogger()
        self.orders: list[Order] = []
        self.zones: dict[str, Robot] = {}
        self.taken: dict[str, tuple[str, int]] = {}
        self.dock_names = [f"dock_{n}" for n in range(max(2, plan.size // 2))]
        self.lease_ticks, self.urgency = 7, 5.0
        self.paper = dict.fromkeys(BINS, 200)
        self.counted = dict.fromkeys(BINS, 200)
        self.rng, self.hands = plan.chance("orders"), plan.chance("upkeep")
        self.numbered = 0

    def arrive(self, now: int) -> None:
        """New orders, some at any time and more in waves; a quarter of them is express."""
        wave = len(self.robots) if now % 16 == 3 else 0
        for number in range(len(self.robots) + wave):
            if number < wave or self.rng.random() < self.demand:
                self.numbered += 1
                place = self.rng.choice(sorted(BINS)), self.rng.choice(TABLES)
                is_express = self.rng.random() < 0.25
                self.orders.append(Order(f"o_{self.numbered:04d}", *place, is_express, now))

    def assign(self, robot: Robot, now: int) -> None:
        """The order with the best score goes to a robot that is free."""
        if not self.orders:
            return
        best = max(self.orders, key=lambda order: now - order.came + self.urgency * 10 * order.express)
        self.orders.remove(best)
        body = {"order": best.name, "bin": best.bin, "table": best.table, "express": best.express}
        robot.journal.receive(self.dispatcher.send(robot.agent_id, body))
        robot.order, robot.working = best, 3  # the way there

    def move(self, robot: Robot, now: int) -> None:
        """What a robot does in a tick."""
        if robot.rescue:
            self._rescued(robot)
        elif robot.dock:
            self._charge(robot)
        elif robot.charge <= 0:
            robot.journal.warning("no power, standing still", {"shown": robot.shown, "held": robot.held})
            robot.rescue = RESCUE_TICKS
        elif robot.order is None:
            robot.charge -= 1.0
            if robot.shown < LOW_CHARGE:
                self._ask_for_dock(robot, now)
            else:
                self.assign(robot, now)
        else:
            self._carry(robot, now)

    def _rescued(self, robot: Robot) -> None:
        robot.rescue -= 1
        if not robot.rescue:
            robot.charge = 60.0
            robot.journal.log_action("rescued", {"by": "technician", "charge": 60.0})

    def _ask_for_dock(self, robot: Robot, now: int) -> None:
        """A dock that is free, or whose lease has run out."""
        for name in self.dock_names:
            since = self.taken[name][1] if name in self.taken else -1
            # Leases end because the word that a robot has left can get lost.
            if since < 0 or now - since > self.lease_ticks:
                self.taken[name], robot.dock = (robot.agent_id, now), name
                self.docks.log_action("lease", {"dock": name, "robot": robot.agent_id})
                return
        holders = {name: who for name, (who, _) in self.taken.items()}
        self.docks.log_action("refuse", {"robot": robot.agent_id, "leased": holders})

    def _charge(self, robot: Robot) -> None:
        robot.charge = min(100.0, robot.charge + 16.0)
        if robot.shown < FULL_CHARGE:
            return
        left, robot.dock = str(robot.dock), None
        robot.journal.log_action("undock", {"dock": left, "shown": robot.shown})
        if robot.rng.random() < 0.35:  # the word does not always get through
            self.taken.pop(left, None)
            self.docks.log_action("release", {"dock": left, "robot": robot.agent_id})

    def _carry(self, robot: Robot, now: int) -> None:
        order = robot.order
        assert order is not None
        if robot.working:
            robot.working -= 1
            robot.charge -= 4.5
            return
        places = {"shelf": f"zone {robot.shelf_map[order.bin]}", "table": f"table {order.table}"}
        wanted = [places[step] for step in robot.enters if places[step] not in robot.held]
        if wanted:
            holder = self.zones.get(wanted[0])
            if holder is None:
                self.zones[wanted[0]] = robot
                robot.held.append(wanted[0])
                robot.journal.log_action("enter", {"place": wanted[0], "order": order.name})
                robot.working, robot.told_to_wait = 1, False
                robot.charge -= 6.0
            elif not robot.told_to_wait or now % 4 == 0:
                robot.journal.log_action("wait", {"place": wanted[0], "taken_by": holder.agent_id})
                robot.told_to_wait = True
        else:
            self._put_down(robot, order, now)

    def _put_down(self, robot: Robot, order: Order, now: int) -> None:
        found = robot.shelf_map[order.bin] == BINS[order.bin] and robot.rng.random() > 0.02
        robot.journal.log_action("pick", {"order": order.name, "bin": order.bin, "found": found})
        if found:
            self.counted[order.bin] -= 1
            self.write(order.bin, self.read(order.bin, robot.agent_id)[0] - 1, robot.agent_id)
            what = {"order": order.name, "express": order.express, "took": now - order.came}
            robot.journal.log_action("deliver", what)
        else:
            robot.journal.warning("the bin is empty", {"order": order.name, "bin": order.bin})
            self.orders.append(order)
        for place in robot.held:
            del self.zones[place]
        robot.held, robot.order = [], None

    def read(self, name: str, reader: str) -> tuple[int, str]:
        """What the ledger says of a bin, and the event."""
        event = self.ledger.log_action("read", {"bin": name, "count": self.paper[name], "for": reader})
        return self.paper[name], event

    def write(self, name: str, count: int, writer: str) -> str:
        """Corrects the ledger; gives the event."""
        self.paper[name] = count
        return self.ledger.log_action("write", {"bin": name, "count": count, "by": writer})

    def restock(self, name: str, amounts: dict[str, int], together: bool) -> list[str]:
        """Goods that trucks brought; gives the events of the ledger."""
        events = []
        before = {truck: self.read(name, truck) for truck in amounts} if together else {}
        # Read together, the second truck does not know of the goods of the first.
        for truck, amount in amounts.items():
            self.counted[name] += amount
            count, read = before[truck] if together else self.read(name, truck)
            events += [read, self.write(name, count + amount, truck)]
        return events

    def stocktake(self) -> None:
        """Every bin is counted by hand and compared."""
        odd = {
            name: {"ledger": self.paper[name], "counted": self.counted[name]}
            for name in BINS
            if self.paper[name] != self.counted[name]
        }
        self.ledger.log_action("stocktake", {"bins": len(BINS), "odd": odd})

    def map_to(self, robot: Robot, shelves: dict[str, str]) -> tuple[str, str]:
        """Tells a robot where some bins stand; gives both events."""
        message = self.planner.send(robot.agent_id, {"shelves": shelves})
        robot.shelf_map = {**robot.shelf_map, **shelves}
        return message.event_id, robot.journal.receive(message)


def run(plan: Plan, truth: Truth, demand: float = 0.01) -> None:
    """One session of the warehouse."""
    house, system = Warehouse(plan, demand), SystemLogger("warehouse")
    system.log_simulation_start("warehouse", {"robots": plan.size, "docks": len(house.dock_names)})
    for now in range(plan.ticks):
        with tick(now):
            if now == plan.ticks // 5:
                system.log_config("light_dim_minutes", 10, 20)
            _upkeep(house, now)
            _plant(plan, truth, house, now)
            house.arrive(now)
            for robot in house.robots:
                house.move(robot, now)
                if (now + int(robot.agent_id[-1])) % 5 == 0:
                    house.metrics.log_metric("battery", robot.shown, "percent", {"robot": robot.agent_id})
            house.metrics.log_metric("open_orders", len(house.orders), "orders")
            if now % 10 == 9:
                house.stocktake()
    system.log_simulation_end("warehouse", "finished")


def _score(house: Warehouse, urgency: float, reason: str) -> str:
    old, house.urgency = house.urgency, urgency
    return house.dispatcher.log_strategy_update(
        "order_score", {"urgency_weight": old}, {"urgency_weight": urgency}, reason
    )


def _lease(house: Warehouse, ticks: int) -> str:
    house.lease_ticks = ticks
    return house.docks.log_action("set_lease", {"lease_ticks": ticks})


def _gauge(robot: Robot, offset: float) -> str:
    robot.gauge_offset = offset
    return robot.journal.log_action("calibrate_gauge", {"offset": offset})


def _route(robot: Robot, first: str, second: str) -> str:
    robot.enters = (first, second)
    return robot.journal.log_action("load_route", {"enter": [first, second], "speed": 1.2})


def _upkeep(house: Warehouse, now: int) -> None:
    """What technicians set in the ordinary course of things."""
    plan, rng = house.plan, house.hands
    robot = house.robots[(now * 5 + 1) % plan.size]
    before, fault = now < plan.at - 4, plan.fault
    touchable = before or fault is None or robot is not house.robots[plan.victim]
    if now % 6 == 1 and touchable:
        _gauge(robot, round(rng.uniform(-2, 2), 1))
    if now % 8 == 3 and touchable and (before or fault != "deadlock"):
        _route(robot, "shelf", "table")
    if now % 9 == 5 and touchable:
        some = rng.sample(sorted(BINS), 6)
        house.map_to(robot, {name: BINS[name] for name in some})
    if now % 13 == 7 and (before or fault != "resource_leak"):
        _lease(house, rng.randint(6, 8))
    if now % 15 == 4 and (before or fault != "wrong_configuration"):
        _score(house, round(rng.uniform(4, 6), 1), "review of the week")
    if now % 7 == 2:
        truck = f"truck_{rng.randint(10, 40)}"
        house.restock(rng.choice(sorted(BINS)), {truck: rng.randint(5, 25)}, together=False)


def _plant(plan: Plan, truth: Truth, house: Warehouse, now: int) -> None:
    victim = house.robots[plan.victim]
    if plan.begins("resource_leak", now):
        truth.note(_lease(house, plan.rng.choice([2000, 9999])))
    if plan.begins("deadlock", now):
        for robot in house.robots[plan.victim % 2 :: 2]:
            truth.note(_route(robot, "table", "shelf"))
    if plan.begins("sensor_drift", now):
        truth.note(_gauge(victim, round(plan.rng.uniform(42, 50), 1)))
    if now == plan.at and plan.fault in {None, "lost_update"}:
        name = plan.rng.choice(sorted(BINS))
        amounts = {"truck_51": plan.rng.randint(20, 40), "truck_64": plan.rng.randint(20, 40)}
        events = house.restock(name, amounts, together=plan.fault is not None)
        truth.note(*(events if plan.fault else []))
    if plan.begins("wrong_configuration", now):
        truth.note(_score(house, round(plan.rng.uniform(-6, -4), 1), "fewer empty runs"))
    if plan.begins("state_corruption", now):
        names = sorted(BINS)
        shifted = {name: BINS[names[(n + 2) % len(names)]] for n, name in enumerate(names)}
        truth.note(*house.map_to(victim, shifted))


WORLD = World(
    name="warehouse",
    run=run,
    prefix="robot",
    sizes=(5, 8),
    ticks=(110, 150),
    complaints={
        "resource_leak": "robots cannot get a dock any more although nobody stands at most of them",
        "deadlock": "nothing moves any more, robots wait for each other and the orders pile up",
        "sensor_drift": "{victim} keeps stopping in the middle of the hall without power",
        "lost_update": "at the stocktake one bin holds more than the ledger says",
        "wrong_configuration": "since about tick {when} express orders lie around while ordinary ones go out",
        "state_corruption": "{victim} comes back with nothing nearly every time",
    },
)
CALM = World(
    name="warehouse_sale",
    run=partial(run, demand=0.02),
    prefix="robot",
    sizes=(4, 9),
    ticks=(90, 160),
    complaints={
        "suspects_agent": "{victim} delivers less than I expected, what is the matter with it?",
        "suspects_docks": "are there problems with charging since about tick {when}?",
        "suspects_ledger": "I do not believe the ledger, I think that goods disappear",
    },
)
