"""A car-sharing fleet in a town: members book and drive electric cars; crews charge them."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from typing import Any

import simpy

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

BROKEN: set[str] = set()
STATIONS = ("north", "old_town", "station", "campus", "harbour")
END = 24 * 60


class Car:
    """An electric car with an odometer and a battery."""

    def __init__(self, plate: str, at: str) -> None:
        self.agent_id = plate
        self.logger = AgentLogger(plate, "car")
        self.at = at
        self.battery = 100.0
        self.km = self.since_service = 0.0
        self.worn = 0
        self.firmware = "3.1"

    @trace_agent_action()
    def update(self, firmware: str) -> str:
        """Install a firmware over the air."""
        self.firmware = firmware
        return self.firmware

    @trace_agent_action()
    def drive(self, km: float, to: str) -> dict[str, float]:
        """Drive to a station; tell distance and charge."""
        self.km += km
        self.since_service += km
        if self.since_service > 57:
            self.logger.warning("brake pads worn", extra={"km": self.since_service, "to": to})
            self.worn += 1
        self.battery = max(0.0, round(self.battery - 1.4 * km, 1))
        self.at = to
        shown = km
        if "miles" in BROKEN and self.agent_id == "car_03" and self.firmware == "3.2":
            shown = round(km * 0.621, 2)
        return {"km": shown, "battery": self.battery}

    @trace_agent_action()
    def overhaul(self) -> float:
        """Get brakes and tyres checked."""
        self.since_service = 0.0
        return self.km

    @trace_agent_action()
    def plug_in(self, minutes: int) -> float:
        """Charge for some minutes."""
        self.battery = min(100.0, round(self.battery + 0.8 * minutes, 1))
        return self.battery


class Desk:
    """The booking desk: who has which car, which cars rest, what members pay."""

    trace_ignore = ("cars",)

    def __init__(self, cars: list[Car]) -> None:
        self.agent_id = "desk"
        self.logger = AgentLogger(self.agent_id, "desk")
        self.cars = {car.agent_id: car for car in cars}
        self.booked: dict[str, str] = {}
        self.resting: set[str] = set()
        self.low = 30.0
        self.service_km = {car.agent_id: 0.0 for car in cars}
        self.due_km = 40.0

    @trace_agent_action()
    def book(self, member: str, station: str) -> str | None:
        """Find a free car with enough charge, at the station or else elsewhere."""
        fit = [c for c in self.cars.values() if c.agent_id not in {*self.booked, *self.resting}]
        fit.sort(key=lambda car: (car.at != station, -car.battery))
        if not fit or fit[0].at != station:
            return None
        self.booked[fit[0].agent_id] = member
        return fit[0].agent_id

    @trace_agent_action()
    def cancel(self, member: str, car: str) -> None:
        """Give a car back that was not used."""
        if "cancel" in BROKEN and self.cars[car].battery < 70:
            self.logger.info("booking cancelled", extra={"member": member, "car": car})
            return
        del self.booked[car]
        self.logger.info("booking cancelled", extra={"member": member, "car": car})

    @trace_agent_action()
    def give_back(self, car: str, trip: dict[str, float]) -> list[str]:
        """End a trip, and say what the car needs."""
        del self.booked[car]
        self.service_km[car] = round(self.service_km[car] + trip["km"], 1)
        needs = ["charge"] if trip["battery"] < self.low else []
        if self.service_km[car] >= self.due_km:
            needs.append("service")
            self.service_km[car] = 0.0
        if needs:
            self.resting.add(car)
        return needs

    @trace_agent_action()
    def set_low(self, percent: float) -> float:
        """Set the charge below which a car has to rest."""
        self.low = percent
        return self.low

    @trace_agent_action()
    def ready(self, car: str) -> None:
        """Let a car be booked again."""
        self.resting.discard(car)


class Crew:
    """Two people with a van, who take jobs off a board."""

    def __init__(self, name: str) -> None:
        self.agent_id = name
        self.logger = AgentLogger(name, "crew")
        self.jobs = 0

    @trace_agent_action()
    def take(self, board: list[dict[str, Any]], now: int) -> dict[str, Any] | None:
        """Take the most urgent job off the board."""
        if not board:
            return None
        board.sort(key=lambda job: (job["rank"], job["since"]))
        job = board[0]
        if "starved" in BROKEN and now > 420:
            fresh = [other for other in board if now - other["since"] < 24]
            if not fresh:
                return None
            job = fresh[0]
        board.remove(job)
        self.jobs += 1
        self.logger.log_decision("next_job", {**job, "left": len(board)})
        return job


class Member:
    """Somebody who books a car now and then."""

    def __init__(self, name: str) -> None:
        self.agent_id = name
        self.logger = AgentLogger(name, "member")
        self.walked = 0
        self.last_station = ""

    @trace_agent_action()
    def walk(self, station: str) -> int:
        """Go on foot, as there is no car."""
        self.walked += 1
        self.last_station = station
        return self.walked


class Fleet:
    """All of it on one clock."""

    def __init__(self, seed: int) -> None:
        self.env = simpy.Environment()
        self.rng = random.Random(seed)
        self.cars = [Car(f"car_{n:02}", STATIONS[n % 5]) for n in range(15)]
        self.desk = Desk(self.cars)
        self.board: list[dict[str, Any]] = []
        self.longest = 0
        self.stranded = 0
        self.turned_away = 0

    def trip(
        self, member: Member, start: str, to: str, km: float, cancels: bool
    ) -> Generator[Any, Any, None]:
        """Follow one booking."""
        plate = self.desk.book(member.agent_id, start)
        if plate is None:
            member.walk(start)
            self.turned_away += self.env.now > END / 2
            return
        yield self.env.timeout(10)
        if cancels:
            self.desk.cancel(member.agent_id, plate)
            return
        car = self.desk.cars[plate]
        yield self.env.timeout(int(3 * km))
        told = car.drive(km, to)
        if car.battery <= 0:
            self.stranded += 1
            member.logger.warning("stranded with an empty battery", extra={"car": plate})
        for need in self.desk.give_back(plate, told):
            rank = {"charge": 1, "service": 2}[need]
            self.board.append({"car": plate, "need": need, "rank": rank, "since": int(self.env.now)})

    def members(self) -> Generator[Any, Any, None]:
        """Let members come."""
        people = [Member(f"member_{n:02}") for n in range(20)]
        while True:
            yield self.env.timeout(self.rng.choice((2, 4, 5, 7)))
            start, to = self.rng.sample(STATIONS, 2)
            draw = self.rng.random()
            self.env.process(
                self.trip(self.rng.choice(people), start, to, 3 + int(14 * self.rng.random()), draw < 0.12)
            )

    def crew(self, crew: Crew) -> Generator[Any, Any, None]:
        """Let a crew work on the board."""
        while True:
            job = crew.take(self.board, int(self.env.now))
            if job is None:
                yield self.env.timeout(12)
                continue
            self.longest = max(self.longest, int(self.env.now) - job["since"])
            yield self.env.timeout(25 if job["need"] == "charge" else 30)
            if job["need"] == "charge":
                self.desk.cars[job["car"]].plug_in(100)
            else:
                self.desk.cars[job["car"]].overhaul()
            if job["car"] not in {other["car"] for other in self.board}:
                self.desk.ready(job["car"])

    def office(self) -> Generator[Any, Any, None]:
        """Change settings during the day."""
        system, meter = SystemLogger("office"), PerformanceLogger("office")
        for hour in range(24):
            if hour == 5:
                for car in self.cars:
                    car.update("3.2")
            if hour == 9:
                low = 3.5 if "low" in BROKEN else 35.0
                system.log_config("low_battery", self.desk.low, low)
                self.desk.set_low(low)
            meter.log_metric("cars_resting", len(self.desk.resting), "cars")
            yield self.env.timeout(60)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Run the fleet for a day."""
    BROKEN.clear()
    BROKEN.add(fault)
    fleet = Fleet(seed)
    for process in (fleet.office(), fleet.members(), fleet.crew(Crew("crew_a")), fleet.crew(Crew("crew_b"))):
        fleet.env.process(process)
    while fleet.env.peek() < END:
        with tick(int(fleet.env.peek())):
            fleet.env.step()
    waiting = [END - job["since"] for job in fleet.board]
    return {
        "walked": fleet.turned_away,
        "stranded": fleet.stranded,
        "longest": max([fleet.longest, *waiting]),
        "held": len(fleet.desk.booked),
        "worn": sum(car.worn for car in fleet.cars),
    }


def _passed_over(event: Event) -> bool:
    chosen = event.result or {"car": ""}
    old = [job for job in event.args["board"] if event.args["now"] - job["since"] >= 24]
    return event.args["now"] > 420 and bool(old) and chosen["car"] not in {job["car"] for job in old}


def _cancelled_low(events: Sequence[Event]) -> list[str]:
    charge: dict[str, float] = {}
    found = []
    for event in events:
        if event.act in {"drive", "plug_in"}:
            charge[event.agent] = event.result if event.act == "plug_in" else event.result["battery"]
        if event.act == "cancel" and charge.get(event.args["car"], 100.0) < 70:
            found.append(event.id)
    return found[:3]


FAULTS = {
    "miles": Fault(
        "car_03 has worn brake pads, why was it not serviced in time?",
        lambda f, h: f["worn"] > h["worn"],
        lambda events: pick(events, "car_03", "drive", tick=lambda minute: minute >= 300),
    ),
    "cancel": Fault(
        "More and more members walk in the evening although cars stand around unused at the stations.",
        lambda f, h: f["walked"] > h["walked"] + 10 and f["held"] > h["held"] + 3,
        _cancelled_low,
    ),
    "low": Fault(
        "members got stranded with an empty battery this afternoon",
        lambda f, h: f["stranded"] > h["stranded"] + 2,
        lambda events: (
            pick(events, "desk", "set_low") + pick(events, where=lambda e: "low_battery" in str(e))
        ),
    ),
    "starved": Fault(
        "Why do several cars rest for the rest of the day and are never serviced again?",
        lambda f, h: f["longest"] > h["longest"] + 240,
        lambda events: pick(events, act="take", where=_passed_over),
    ),
}
