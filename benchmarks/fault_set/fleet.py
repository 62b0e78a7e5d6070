"""A fleet: couriers fetch parcels from a depot and bring them to addresses on a grid; docks are few."""

from __future__ import annotations

import time

from Agent import AgentLogger, LearningLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_set.case import Plan, Truth, World

DEPOT = 0.0


class Router:
    """The map service of the fleet."""

    def __init__(self) -> None:
        self.agent_id = "router"
        self.agent_role = "service"
        self.roads = 400

    @trace_agent_action()
    def load_map(self, roads: int) -> int:
        """Takes a new map of so many roads."""
        self.roads = roads
        return roads

    @trace_agent_action()
    def plan_route(self, start: float, end: float) -> float:
        """The distance; takes the longer the more roads there are."""
        time.sleep(self.roads * 1e-7)
        return round(abs(end - start), 2)


class Depot:
    """Parcels, their number on paper, and docks to charge at."""

    def __init__(self, docks: int) -> None:
        self.agent_id = "depot"
        self.agent_role = "depot"
        self.docks = docks
        self.taken = 0
        self.release_on = "departure"
        self._parcels: dict[str, float] = {}
        self.stock = 1000
        self.counted = 1000

    @trace_agent_action()
    def open_gates(self, release_on: str) -> str:
        """When a dock counts as free again."""
        self.release_on = release_on
        return release_on

    @trace_agent_action()
    def assign_dock(self, courier: str) -> bool:
        """Whether the courier gets one."""
        free = self.taken < self.docks
        self.taken += free
        return free


class Courier:
    """Fetches, drives, delivers, charges."""

    def __init__(self, agent_id: str, router: Router, plan: Plan) -> None:
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "courier")
        self.learning = LearningLogger("delivery", agent_id)
        self._router = router
        self.rng = plan.chance(agent_id)
        self.position = DEPOT
        self.battery = 1.0
        self.metres_per_turn = 3.0
        self.firmware = "4.0"
        self.parcel: str | None = None
        self.address = 0.0
        self.claimed: str | None = None
        self.in_service = True
        self.docked = False
        self.delivered = 0

    @trace_agent_action()
    def calibrate(self, turns: int, distance: float) -> float:
        """How far a turn of the wheels goes, from a measured drive."""
        self.metres_per_turn = round(distance / turns, 3)
        return self.metres_per_turn

    @trace_agent_action()
    def install(self, firmware: str) -> str:
        """Takes another firmware."""
        self.firmware = firmware
        return firmware

    @trace_agent_action()
    def set_service(self, in_service: bool, reason: str) -> bool:
        """Leaves or joins the service."""
        self.in_service = in_service
        return in_service

    @trace_agent_action()
    def claim(self, parcel: str, claimed: bool) -> str:
        """Reserves a parcel that nobody has claimed."""
        if claimed:
            raise RuntimeError(f"{parcel} is claimed already")
        self.claimed = parcel
        return parcel

    @trace_agent_action()
    def load(self, depot: Depot) -> str | None:
        """Takes the claimed parcel on board; KeyError where it is not there."""
        parcel, self.claimed = self.claimed, None
        self.address = depot._parcels.pop(str(parcel))
        self.parcel = parcel
        return parcel

    @trace_agent_action()
    def drive(self, target: float) -> float:
        """Moves towards a target; gives what is left."""
        distance = self._router.plan_route(self.position, target)
        step = min(distance, self.metres_per_turn * (1.0 if self.battery > 0 else 0.4))
        self.position = round(self.position + (step if target > self.position else -step), 2)
        self.battery = round(self.battery - (0.2 if self.firmware == "4.1" else 0.03), 3)
        return round(abs(target - self.position), 2)

    @trace_agent_action()
    def enter_dock(self, depot: Depot) -> bool:
        """Takes a dock where one is free."""
        self.docked = depot.assign_dock(self.agent_id)
        return self.docked

    @trace_agent_action()
    def leave_dock(self) -> float:
        """Full again."""
        self.battery, self.docked = 1.0, False
        return self.battery

    @trace_agent_action()
    def deliver(self) -> int:
        """Hands the parcel over."""
        self.parcel = None
        self.delivered += 1
        return self.delivered

    @trace_agent_action()
    def count_stock(self, stock: int) -> int:
        """How many parcels the depot has on paper."""
        return stock

    @trace_agent_action()
    def write_stock(self, stock: int) -> int:
        """Corrects the number by the one parcel taken."""
        return stock - 1


class Fleet:
    """The couriers, the depot and the orders between them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.router = Router()
        self.depot = Depot(max(3, plan.size // 3))
        self.couriers = [Courier(plan.name("courier", n), self.router, plan) for n in range(plan.size)]
        self.dispatcher = AgentLogger("dispatcher", "dispatcher")
        self.rng = plan.chance("orders")
        self.orders = 0
        self.charge_below = 0.2

    def order(self) -> str:
        self.orders += 1
        parcel = f"parcel_{self.orders:04d}"
        self.depot._parcels[parcel] = round(self.rng.uniform(4, 12), 2)
        return parcel

    def turn(self, courier: Courier, now: int) -> None:
        """What one courier does in a tick."""
        if not courier.in_service:
            return
        gain = -0.1
        if courier.docked:
            courier.leave_dock()
            if self.depot.release_on == "departure":
                self.depot.taken -= 1
        elif courier.battery < self.charge_below and courier.position == DEPOT:
            courier.enter_dock(self.depot)
        elif courier.parcel:
            if courier.drive(courier.address) == 0.0:
                courier.deliver()
                gain = 5.0
        elif courier.position != DEPOT:
            courier.drive(DEPOT)
        else:
            self.fetch(courier)
        courier.learning.log_reward("turn", gain)

    def fetch(self, courier: Courier) -> None:
        if courier.claimed is None:
            courier.claim(self.order(), claimed=False)
        try:
            courier.load(self.depot)
        except KeyError:
            courier.logger.warning("parcel is not at the depot")
            return
        self.depot.counted -= 1
        self.depot.stock = courier.write_stock(courier.count_stock(self.depot.stock))


def run(plan: Plan, truth: Truth) -> None:
    """One session of the fleet."""
    fleet, system = Fleet(plan), SystemLogger("fleet")
    system.log_simulation_start("fleet", {"couriers": plan.size, "charge_below": fleet.charge_below})
    fleet.depot.open_gates(release_on="departure")
    for now in range(plan.ticks):
        with tick(now):
            if now == plan.ticks // 6:
                system.log_config("map_colours", "day", "night")
                fleet.router.load_map(roads=410)
                for courier in fleet.couriers[2::4]:
                    courier.install("4.0.1")
            if now % 10 == 3:
                courier = fleet.couriers[now % plan.size]
                turns = fleet.rng.randint(20, 40)
                if courier.in_service and courier.metres_per_turn > 1:
                    courier.calibrate(turns=turns, distance=round(turns * fleet.rng.uniform(2.9, 3.1), 1))
            _service(fleet, plan, now)
            _plant(plan, truth, fleet, system, now)
            for courier in fleet.couriers:
                fleet.turn(courier, now)
            if now % 10 == 9:
                _inventory(fleet)
    system.log_simulation_end("fleet", "finished")


def _service(fleet: Fleet, plan: Plan, now: int) -> None:
    """Couriers go out of service for three ticks now and then."""
    for offset, joins in ((0, False), (3, True)):
        if now % 12 == 4 + offset and now > 4:
            courier = fleet.couriers[((now - offset) * 5) % plan.size]
            if courier is not fleet.couriers[plan.victim] or now + 6 < plan.at:
                courier.set_service(joins, "cleaning" if not joins else "clean")


def _inventory(fleet: Fleet) -> None:
    difference = fleet.depot.stock - fleet.depot.counted
    if difference:
        fleet.dispatcher.warning("count and paper differ", extra={"difference": difference})
    else:
        fleet.dispatcher.log_action("inventory", {"stock": fleet.depot.stock})


def _plant(plan: Plan, truth: Truth, fleet: Fleet, system: SystemLogger, now: int) -> None:
    victim, other = fleet.couriers[plan.victim], fleet.couriers[plan.other]
    if plan.begins("state_corruption", now):
        victim.calibrate(turns=30, distance=0.9)  # metres taken for hundreds of them
        truth.seek(victim.agent_id, "calibrate", now, contains='"distance": 0.9')
    if plan.begins("slow_dependency", now):
        fleet.router.load_map(roads=plan.rng.randint(18_000, 26_000))
        truth.seek("router", "load_map", now)
    if plan.begins("wrong_configuration", now):
        new = plan.rng.choice([0.8, 0.85, 0.9])
        truth.note(system.log_config("charge_below", fleet.charge_below, new))
        fleet.charge_below = new
    if plan.begins("silent_agent", now):
        victim.set_service(False, "cleaning")
        truth.seek(victim.agent_id, "set_service", now)
    if plan.begins("bad_rollout", now):
        for courier in fleet.couriers[plan.victim % 2 :: 2]:
            courier.install("4.1")
            truth.seek(courier.agent_id, "install", now)
    if plan.begins("resource_leak", now):
        fleet.depot.open_gates(release_on="request")
        truth.seek("depot", "open_gates", now)
    if plan.begins("lost_update", now):
        _overlap(truth, fleet, victim, other, now)
    if plan.begins("race", now):
        _both_claim(truth, fleet, victim, other, now)
    if plan.begins("dropped_message", now):
        parcel = fleet.order()
        truth.note(fleet.dispatcher.send(victim.agent_id, {"fetch": parcel, "express": True}).event_id)
    elif now % 7 == 1:
        courier = fleet.couriers[(now * 3) % plan.size]
        parcel = fleet.order()
        message = fleet.dispatcher.send(courier.agent_id, {"fetch": parcel, "express": True})
        courier.logger.receive(message)
        courier.logger.log_decision("express", {"parcel": parcel}, "handed to the bicycle")
        fleet.depot._parcels.pop(parcel)


def _overlap(truth: Truth, fleet: Fleet, victim: Courier, other: Courier, now: int) -> None:
    """Two couriers correct the stock, each from what stood there before the other wrote."""
    seen = [(courier, courier.count_stock(fleet.depot.stock)) for courier in (victim, other)]
    for courier, stock in seen:
        fleet.depot.stock = courier.write_stock(stock)
        fleet.depot.counted -= 1
        truth.seek(courier.agent_id, "count_stock", now)
        truth.seek(courier.agent_id, "write_stock", now)


def _both_claim(truth: Truth, fleet: Fleet, victim: Courier, other: Courier, now: int) -> None:
    """Both see a free parcel, and both claim it."""
    parcel = fleet.order()
    for courier in (other, victim):
        courier.claim(parcel, claimed=False)
        truth.seek(courier.agent_id, "claim", now, contains=parcel)


WORLD = World(
    name="fleet",
    run=run,
    prefix="courier",
    sizes=(10, 16),
    ticks=(60, 90),
    complaints={
        "state_corruption": "{victim} delivers nothing any more although it is on the road all the time",
        "slow_dependency": "driving became very slow for every courier, each call takes ages",
        "wrong_configuration": "the whole fleet delivers much less than in the beginning",
        "silent_agent": "{victim} has disappeared, we see nothing of it in the later part",
        "bad_rollout": "some couriers deliver clearly less than the others since tick {when} or so",
        "resource_leak": "couriers cannot get a dock any more and stand around at the depot",
        "lost_update": "the stock on paper no longer matches what was counted at the depot",
        "race": "a courier stood at the depot and the parcel it wanted was not there",
        "dropped_message": "an express parcel for {victim} was never fetched",
    },
)
