"""A group of six elevators in an office tower of twenty floors, with a dispatcher for the hall calls."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, SystemLogger, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

BROKEN: set[str] = set()
FLOORS = 20
END = 3600


@dataclass
class Call:
    """A press of a button in the hall."""

    number: int
    at: int
    floor: int
    to: int
    people: int


@dataclass
class Car:
    """An elevator car; it does its stops one after the other."""

    agent_id: str
    logger: AgentLogger
    floor: int = 0
    stops: list[int] = field(default_factory=list)
    capacity: int = 10
    load: int = 0
    motor: float = 20.0
    in_service: bool = True
    trace_ignore = ("logger",)

    @trace_agent_action()
    def accept(self, call: int, floor: int, to: int) -> int:
        """Append a call to the stops."""
        self.stops += [floor, to]
        self.logger.debug("accepted", extra={"call": call})
        return len(self.stops)

    @trace_agent_action()
    def run_to(self, floor: int, second: int) -> int:
        """Drive to a floor; return the second of arrival."""
        distance = abs(floor - self.floor)
        self.floor = floor
        self.motor = round(self.motor + 0.4 * distance, 1)
        return second + 3 + 2 * distance

    @trace_agent_action()
    def open_doors(self, people: int) -> bool:
        """Let people in as far as the car can carry them."""
        limit = self.capacity
        if people > limit:
            self.logger.warning("overload buzzer", extra={"people": people})
            return False
        self.load = people
        return True

    @trace_agent_action()
    def close_doors(self, second: int) -> None:
        """Leave with an empty or a full car; cool down."""
        self.load = 0
        self.motor = round(max(20.0, self.motor - 4.0), 1)
        if self.motor > 60:
            self.logger.warning("motor is hot", extra={"second": second, "motor": self.motor})


class Dispatcher:
    """Chooses a car for each hall call, from what it believes about the cars."""

    trace_ignore = ("logger", "cars")

    def __init__(self, cars: list[Car]) -> None:
        self.agent_id = "dispatcher"
        self.logger = AgentLogger(self.agent_id, "dispatcher")
        self.cars = {car.agent_id: car for car in cars}
        self.busy = dict.fromkeys(self.cars, 0)
        self.silent: set[str] = set()
        self.zones = {car.agent_id: (0, FLOORS) for car in cars}
        self.pending: dict[int, int] = {}
        self.lost = 0

    @trace_agent_action()
    def set_zone(self, car: str, low: int, high: int) -> dict[str, tuple[int, int]]:
        """Limit a car to the calls of some floors, both included."""
        if "zone" in BROKEN and low > 10:
            high -= 1
        self.zones[car] = (low, high)
        return self.zones

    @trace_agent_action()
    def hall_call(self, number: int, floor: int, people: int, second: int) -> str | None:
        """Give a call to the car that will be there first."""
        able = []
        for name, car in self.cars.items():
            low, high = self.zones[name]
            if car.in_service and name not in self.silent and (floor == 0 or low <= floor <= high):
                able.append((self.busy[name] + 2 * abs(car.floor - floor), name))
        if not able:
            self.pending[number] = floor
            return None
        eta, best = min(able)
        self.pending.pop(number, None)
        self.logger.log_decision("assign", {"call": number, "car": best, "eta": eta, "people": people})
        self.busy[best] += 20
        if second % 600 > 590:
            self.logger.info("slow reply of the group controller", extra={"second": second})
        return best

    @trace_agent_action()
    def heartbeat(self, car: str, answered: bool) -> list[str]:
        """Note whether a car has answered."""
        if answered:
            self.silent.discard(car)
        else:
            self.silent.add(car)
        return sorted(self.silent)

    @trace_agent_action()
    def finished(self, car: str) -> int:
        """Lower the estimate for a car that has done a trip."""
        left = max(0, self.busy[car] - 20)
        if not ("lost" in BROKEN and car == "car_C" and self.busy[car] >= 40):
            self.busy[car] = left
        return left


class Tower:
    """The queue of events."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.cars = [Car(f"car_{name}", AgentLogger(f"car_{name}", "car")) for name in "ABCDEF"]
        self.desk = Dispatcher(self.cars)
        self.queue: list[tuple[int, int, str, Any]] = []
        self.free_at = {car.agent_id: 0 for car in self.cars}
        self.waits: list[tuple[int, int]] = []
        self.rides = dict.fromkeys(self.free_at, 0)
        self.left: list[Call] = []
        self.count = 0
        second = 0
        for number in range(240):
            second += rng.randint(5, 23)
            floor = 0 if rng.random() < 0.4 else rng.randint(1, FLOORS)
            to = rng.randint(1, FLOORS) if floor == 0 else 0
            people = rng.randint(1, 4) if rng.random() < 0.8 else rng.randint(5, 10)
            self.plan(second, "call", Call(number, second, floor, to, people))
        for minute in range(2, 60, 3):
            self.plan(60 * minute, "beat", minute)
        self.plan(900, "zones", None)
        self.plan(1500, "service", "car_B")

    def plan(self, second: int, what: str, about: Any) -> None:
        """Put an event into the queue."""
        self.count += 1
        heapq.heappush(self.queue, (second, self.count, what, about))

    def on_call(self, second: int, call: Call) -> None:
        """Dispatch a hall call."""
        name = self.desk.hall_call(call.number, call.floor, call.people, second)
        if name is None:
            if second - call.at < 240:
                self.plan(second + 20, "call", call)
            else:
                self.left.append(call)
            return
        car = self.desk.cars[name]
        if "receiver" in BROKEN and name == "car_D" and second > 1200:
            self.desk.cars["car_E"].accept(call.number, call.floor, call.to)
        else:
            car.accept(call.number, call.floor, call.to)
        self.plan(max(second, self.free_at[name]), "trip", (car, call))
        self.free_at[name] = max(second, self.free_at[name]) + 25

    def on_trip(self, second: int, trip: tuple[Car, Call]) -> None:
        """Fetch the people of a call and bring them where they want."""
        car, call = trip
        if "stuck" in BROKEN and car.agent_id == "car_F" and second > 1300:
            return
        if not car.stops:
            self.left.append(call)
            return
        here, there = car.stops[:2]
        del car.stops[:2]
        arrival = car.run_to(here, second)
        if here == call.floor and car.open_doors(call.people):
            self.waits.append((call.at, arrival - call.at))
            self.rides[car.agent_id] += 1
        done = car.run_to(there, arrival + 4)
        self.plan(done, "end", car)
        self.free_at[car.agent_id] = max(self.free_at[car.agent_id], done)

    def on_end(self, second: int, car: Car) -> None:
        """Finish a trip."""
        car.close_doors(second)
        self.desk.finished(car.agent_id)

    def on_beat(self, second: int, minute: int) -> None:
        """Ask every car whether it is there; the line of car_B is bad around its service."""
        for name, car in self.desk.cars.items():
            self.desk.heartbeat(name, answered=car.in_service or minute % 2 == 0)
        if minute % 15 == 2:
            self.desk.logger.info("waiting", extra={"second": second, "pending": dict(self.desk.pending)})

    def on_zones(self, _second: int, _about: None) -> None:
        """Split the cars into a low and a high group for the rush hour."""
        SystemLogger("building").log_config("zones", "all", "split")
        for name in self.desk.cars:
            low, high = (1, 12) if name in {"car_A", "car_C", "car_E"} else (11, 20)
            self.desk.set_zone(name, low, high)

    def on_service(self, second: int, name: str) -> None:
        """Take a car out of service, or put it back."""
        car = self.desk.cars[name]
        car.in_service = not car.in_service
        car.logger.log_action("service", {"on": car.in_service, "second": second})
        if not car.in_service:
            self.plan(second + 400, "service", name)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Run the tower for an hour."""
    BROKEN.clear()
    BROKEN.add(fault)
    tower = Tower(seed)
    while tower.queue and tower.queue[0][0] < END:
        second, _, what, about = heapq.heappop(tower.queue)
        getattr(tower, f"on_{what}")(second, about)
    late = [wait for at, wait in tower.waits if at > END / 2]
    return {
        "served": len(tower.waits),
        "top": sum(call.floor == FLOORS for call in tower.left),
        "left": len(tower.left),
        "rides": tower.rides,
        "wait": sum(late) / len(late),
    }


def _assigned(events: Sequence[Event]) -> dict[int, str]:
    return {event.args["call"]: event.args["car"] for event in events if event.act == "assign"}


def _hang(events: Sequence[Event]) -> list[str]:
    accepts = pick(events, "car_F", "accept", first=999)
    trips = len(pick(events, "car_F", "run_to", first=999)) // 2
    return pick(events, "car_F", "close_doors", first=999)[-1:] + accepts[trips : trips + 2]


def _misdirected(events: Sequence[Event]) -> list[str]:
    cars = _assigned(events)
    return pick(events, act="accept", where=lambda e: cars.get(e.args["call"], e.agent) != e.agent)


FAULTS = {
    "zone": Fault(
        "nobody comes to fetch the people on floor 20, they give up after four minutes",
        lambda f, h: f["top"] > h["top"],
        lambda events: pick(events, "dispatcher", "set_zone", where=lambda e: e.args["low"] > 10),
    ),
    "lost": Fault(
        "why does one car stand idle nearly all hour while car_A and car_E do most rides?",
        lambda f, h: f["rides"]["car_C"] < h["rides"]["car_C"] / 2,
        lambda events: pick(
            events, "dispatcher", "finished", where=lambda e: e.args["car"] == "car_C" and e.result >= 20
        ),
    ),
    "receiver": Fault(
        "In the second half hour many people were never picked up, although each of them was assigned a car",
        lambda f, h: f["served"] < h["served"] - 8,
        _misdirected,
    ),
    "stuck": Fault(
        "Waits have become much longer since minute 30 or so. What changed?",
        lambda f, h: f["wait"] > h["wait"] + 4 and f["rides"]["car_F"] < h["rides"]["car_F"] - 8,
        _hang,
    ),
}
