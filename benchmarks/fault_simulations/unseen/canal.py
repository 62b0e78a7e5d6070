"""A canal of five locks for four days: barges climb to the summit, a pump lifts the water back."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from typing import Any

import simpy

from Agent import AgentLogger, PerformanceLogger, SystemLogger, setup_logging, shutdown_logging
from benchmarks.fault_simulations.kit import Event, Fault, pick

HOUR, DAY, DAYS = 60, 1440, 4
LOCKS = 5
NORMAL_CM, LOCKAGE_CM, PUMPED_CM_H = 200.0, 3.0, 6.0
NARROW_M = 3.9
BOOKED = (11, 12, 33, 12)
"""Barges a day; on the third day there is a rally."""
_PLAY = {"fault": ""}
Steps = Generator[simpy.Event, Any, None]


def _with(name: str) -> bool:
    return _PLAY["fault"] == name


def clock(now: float) -> str:
    """Write a time as the people on the canal do."""
    return f"d{int(now // DAY) + 1} {int(now % DAY // HOUR):02d}:{int(now % HOUR):02d}"


class Water:
    """The levels of the pounds in cm; pound 0 is the river, which never changes."""

    def __init__(self) -> None:
        self.cm = {pound: NORMAL_CM for pound in range(LOCKS + 1)}
        self.leaks: set[int] = set()

    def lockage(self, lock: int) -> None:
        """One chamber of water runs down through a lock."""
        self.cm[lock] -= LOCKAGE_CM
        self.cm[lock - 1] += LOCKAGE_CM

    def hour(self) -> None:
        """Feeders, weirs and leaks of an hour."""
        for pound in range(LOCKS, 0, -1):
            if pound in self.leaks:
                self.cm[pound] -= 8.0
                self.cm[pound - 1] += 8.0
            if pound < LOCKS and self.cm[pound] < NORMAL_CM:
                self.cm[pound] += 2.0
            if self.cm[pound] > NORMAL_CM + 9:
                self.cm[pound - 1] += self.cm[pound] - NORMAL_CM - 9
                self.cm[pound] = NORMAL_CM + 9
        self.cm[0] = NORMAL_CM


class Keeper:
    """Works one lock, and reads the board of the pound above it every other hour."""

    def __init__(self, env: simpy.Environment, number: int, water: Water, seed: int) -> None:
        self.env, self.number, self.water = env, number, water
        self.name = f"keeper_{number}"
        self.log = AgentLogger(self.name, "keeper")
        self.rng = random.Random(f"{seed}/{self.name}")
        self.passed = 0

    def work(self, barge: str) -> Steps:
        """Take a barge up."""
        self.passed += 1
        self.log.log_action("close_lower_gates", {"barge": barge, "at": clock(self.env.now)})
        yield self.env.timeout(self.rng.uniform(2, 4))
        self.log.log_action("raise_paddles", {"barge": barge})
        if self.rng.random() < 0.03:
            self.log.warning("paddle gear stiff, second try", {"barge": barge})
            yield self.env.timeout(3)
        yield self.env.timeout(self.rng.uniform(6, 9))
        self.water.lockage(self.number)
        self.log.log_action("open_upper_gates", {"barge": barge, "at": clock(self.env.now)})
        yield self.env.timeout(3)
        if _with("paddle") and self.number == 3 and self.passed == 15:
            self.water.leaks.add(3)
        else:
            self.log.log_action("drop_paddles", {"barge": barge})

    def day(self) -> Steps:
        """Read the board through the day; walk the bank in the evening."""
        yield self.env.timeout(HOUR * 6 + self.number * 2)
        while True:
            level = round(self.water.cm[self.number] + self.rng.gauss(0, 1.2))
            if self.rng.random() < 0.03:
                self.log.warning("board dirty, wiped and read again")
            self.log.log_action("read_board", {"pound": self.number, "cm": level})
            hour = self.env.now % DAY // HOUR
            if hour >= 20:
                self.water.leaks.discard(self.number)
                self.log.log_action("walk_bank", {"pound": self.number})
                yield self.env.timeout(HOUR * 10)
            else:
                yield self.env.timeout(HOUR * 2)


class Control:
    """The control room: gives out locks, chooses routes, orders the pumping."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.log = AgentLogger("control_room", "control")
        self.locks = {number: simpy.Resource(env, 1) for number in range(1, LOCKS + 1)}
        self.held: dict[int, Any] = {}
        self.known_bookings = BOOKED[0]

    def route(self, barge: str, papers: dict[str, float]) -> str:
        """Send slim boats by the old arm to spare the summit."""
        way = "old_arm" if papers["beam"] < NARROW_M else "main"
        self.log.log_decision("route", {"barge": barge, "way": way, "beam": papers["beam"]})
        return way

    def grant(self, number: int, barge: str, request: Any) -> None:
        """Give a lock to a barge."""
        self.held[number] = request
        self.log.log_action("grant_lock", {"lock": number, "barge": barge, "at": clock(self.env.now)})

    def clear(self, message: Any) -> None:
        """Hear from a keeper that a barge has gone."""
        self.log.receive(message)
        self.free(message.body["lock"])

    def free(self, number: int) -> None:
        """Free a lock for the next one."""
        if number in self.held:
            self.locks[number].release(self.held.pop(number))

    def mornings(self, pump: PumpHouse) -> Steps:
        """Order the day's pumping from the day's bookings."""
        for day in range(DAYS):
            yield self.env.timeout(max(0, day * DAY + 5 * HOUR - self.env.now))
            if not (_with("bookings") and day == 2):
                self.known_bookings = BOOKED[day]
                self.log.log_action("fetch_bookings", {"day": day + 1, "barges": self.known_bookings})
            hours = round(self.known_bookings * 0.67 * LOCKAGE_CM / PUMPED_CM_H + 0.4, 1)
            order = self.log.send("pump_house", {"hours": hours, "barges": self.known_bookings})
            self.env.process(pump.lift(order))


class PumpHouse:
    """Lifts water from the river to the summit."""

    def __init__(self, env: simpy.Environment, water: Water) -> None:
        self.env, self.water = env, water
        self.log = AgentLogger("pump_house", "pump")
        self.metrics = PerformanceLogger("pump_house", "pump")

    def lift(self, order: Any) -> Steps:
        """Run for as long as ordered."""
        self.log.receive(order)
        left = order.body["hours"]
        while left > 0:
            part = min(1.0, left)
            yield self.env.timeout(part * HOUR)
            self.water.cm[LOCKS] += PUMPED_CM_H * part
            self.metrics.log_metric("pump_power", round(86 + 4 * part, 1), "kW")
            left -= part
        self.log.log_action("stop_pump", {"at": clock(self.env.now)})


class Barge:
    """A barge with its papers and its draught."""

    def __init__(self, name: str, rng: random.Random, wide: bool) -> None:
        self.name = name
        self.log = AgentLogger(name, "barge")
        beam = rng.uniform(4.2, 4.6) if wide else rng.uniform(3.3, 3.7)
        self.papers = {"beam": round(beam, 2), "draught": round(rng.uniform(1.35, 1.52), 2)}
        self.rng = rng


class Canal:
    """All of it, and what went wrong on it."""

    def __init__(self, env: simpy.Environment, seed: int) -> None:
        self.env, self.seed = env, seed
        self.water = Water()
        self.keepers = {n: Keeper(env, n, self.water, seed) for n in range(1, LOCKS + 1)}
        self.control = Control(env)
        self.pump = PumpHouse(env, self.water)
        self.office = AgentLogger("toll_office", "office")
        self.rng = random.Random(f"{seed}/traffic")
        self.aground: dict[int, int] = {}
        self.phoned = self.stuck = self.arrived = 0
        self.previous: dict[str, float] = {}
        self.cleared = 0

    def traffic(self) -> Steps:
        """Let barges arrive through each day."""
        number = 0
        for day, count in enumerate(BOOKED):
            yield self.env.timeout(day * DAY + 6.5 * HOUR - self.env.now)
            fleet = []
            for _ in range(count):
                number += 1
                own = random.Random(f"{self.seed}/barge{number}")
                fleet.append(Barge(f"barge_{number:02d}", own, number % 3 != 0))
            for place, barge in enumerate(fleet):
                papers = barge.papers
                if _with("papers") and day == 1 and place in {5, 6}:
                    papers = fleet[11 - place].papers
                self.office.log_action("register", {"barge": barge.name, **papers})
                if place == 7 and day == 1:
                    self.office.info("a school class visits the office", {"children": 23})
                self.env.process(self.travel(barge, papers))
                yield self.env.timeout(self.rng.uniform(0.8, 1.2) * 12 * HOUR / count)

    def travel(self, barge: Barge, papers: dict[str, float]) -> Steps:
        """Take a barge up the canal."""
        way = self.control.route(barge.name, papers)
        for number in range(1, LOCKS + 1):
            if way == "old_arm" and number == 4:
                yield self.env.timeout(barge.rng.uniform(25, 40))
                if barge.papers["beam"] > NARROW_M:
                    self.stuck += 1
                    barge.log.log_action("wedged", {"bridge": "mill bridge", "at": clock(self.env.now)})
                    return
                barge.log.log_action("pass_arm", {"at": clock(self.env.now)})
                self.arrived += 1
                return
            yield from self.lock_through(barge, number)
            yield from self.cruise(barge, number)
        self.arrived += 1
        barge.log.log_action("moor", {"at": clock(self.env.now)})

    def lock_through(self, barge: Barge, number: int) -> Steps:
        """Wait for a lock and go through; who waits too long telephones."""
        request = self.control.locks[number].request()
        while not request.triggered:
            late = self.env.timeout(150)
            yield request | late
            if not request.triggered:
                self.phoned += 1
                barge.log.log_action("telephone", {"lock": number, "waited": 150})
                self.control.free(number)
        self.control.grant(number, barge.name, request)
        keeper = self.keepers[number]
        yield from keeper.work(barge.name)
        gone = keeper.log.send("control_room", {"lock": number, "barge": barge.name, "clear": True})
        self.cleared += number == 4
        if _with("unheard") and number == 4 and self.cleared == 12:
            return
        self.control.clear(gone)

    def cruise(self, barge: Barge, pound: int) -> Steps:
        """Go along a pound, if there is enough water under the keel."""
        yield self.env.timeout(barge.rng.uniform(15, 25))
        need = barge.papers["draught"] * 100 + 22
        under = self.water.cm[pound]
        if under < need:
            self.aground[pound] = self.aground.get(pound, 0) + 1
            barge.log.log_action("touch_ground", {"pound": pound, "at": clock(self.env.now)})
            yield self.env.timeout(50)
        else:
            barge.log.log_action("cruise", {"pound": pound, "at": clock(self.env.now)})

    def hours(self) -> Steps:
        """Let the water run."""
        while True:
            yield self.env.timeout(HOUR)
            self.water.hour()


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play four days on the canal; return what the canal company hears of."""
    _PLAY["fault"] = fault
    setup_logging()
    SystemLogger("canal").log_simulation_start("canal", {"locks": LOCKS, "days": DAYS})
    env = simpy.Environment()
    canal = Canal(env, seed)
    for keeper in canal.keepers.values():
        env.process(keeper.day())
    env.process(canal.hours())
    env.process(canal.control.mornings(canal.pump))
    env.process(canal.traffic())
    env.run(until=DAYS * DAY)
    shutdown_logging()
    return {
        "aground": {str(pound): count for pound, count in canal.aground.items()},
        "phoned": canal.phoned,
        "stuck": canal.stuck,
        "arrived": canal.arrived,
    }


def _left_up(events: Sequence[Event]) -> list[str]:
    dropped = {
        event.args["barge"] for event in events if event.agent == "keeper_3" and event.act == "drop_paddles"
    }
    return pick(
        events,
        "keeper_3",
        "open_upper_gates",
        where=lambda event: event.args["barge"] not in dropped and event.args["at"] < "d4 19",
        first=1,
    )


def _unheard(events: Sequence[Event]) -> list[str]:
    heard = {event.record["extra"].get("message_id") for event in events if event.agent == "control_room"}
    return pick(
        events,
        "keeper_4",
        where=lambda event: (
            event.kind == "agent_message" and event.record["extra"].get("message_id") not in heard
        ),
        first=1,
    )


def _wrong_papers(events: Sequence[Event]) -> list[str]:
    return pick(
        events, "toll_office", "register", where=lambda event: event.args["barge"] in {"barge_17", "barge_18"}
    )


FAULTS = {
    "paddle": Fault(
        "Boats touched the bottom between lock 3 and lock 4 although nobody had drawn water off there.",
        lambda faulty, healthy: faulty["aground"].get("3", 0) > 0 == healthy["aground"].get("3", 0),
        _left_up,
    ),
    "papers": Fault(
        "A broad barge is wedged under the mill bridge, where boats of its size should never have been sent.",
        lambda faulty, healthy: faulty["stuck"] > 0 == healthy["stuck"],
        _wrong_papers,
    ),
    "bookings": Fault(
        "On the rally day the summit ran low and several skippers ran aground up there; "
        "the pump_house says it did exactly what it was told.",
        lambda faulty, healthy: faulty["aground"].get("5", 0) > 1 > healthy["aground"].get("5", 0),
        lambda events: pick(
            events,
            "control_room",
            where=lambda event: event.kind == "agent_message" and event.args.get("barges") == BOOKED[1],
        )[1:2],
    ),
    "unheard": Fault(
        "Skippers rang up because they had been lying below lock 4 for hours while nobody was in it.",
        lambda faulty, healthy: faulty["phoned"] > 0 == healthy["phoned"],
        _unheard,
    ),
}
