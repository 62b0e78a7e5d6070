"""A harbour approach: ships wait for a pilot and tugs, berth, work their cargo and leave."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from typing import Any

import simpy

from Agent import AgentLogger, SystemLogger, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

BROKEN: set[str] = set()
HOURS = 96
Steps = Generator[simpy.Event, Any, None]


def swell(hour: float) -> float:
    """Return the significant wave height in metres off the breakwater."""
    return 2.0 if 56 <= hour < 74 else 0.9 + 0.3 * (int(hour) % 5 == 0)


class Tug:
    """A tug with an engine that wants a service now and then."""

    def __init__(self, name: str) -> None:
        self.agent_id = name
        self.logger = AgentLogger(name, "tug")
        self.tows = 0
        self.oil_age = 0
        self.service_due = False

    @trace_agent_action()
    def make_fast(self, ship: str, at: float) -> str:
        """Take the towline of a ship."""
        self.tows += 1
        self.oil_age += 1
        if self.oil_age > 15:
            self.logger.warning("engine overheated", extra={"ship": ship, "oil_age": self.oil_age, "at": at})
            return "breakdown"
        return "fast"

    @trace_agent_action()
    def part_line(self, ship: str, at: float) -> None:
        """Report a parted towline; the tow is given up."""
        self.logger.warning("towline parted", extra={"ship": ship, "at": at})

    @trace_agent_action()
    def cast_off(self, ship: str) -> bool:
        """Let go; do a service if one is due."""
        if self.service_due:
            self.logger.log_action("oil_change", {"oil_age": self.oil_age, "after": ship})
            self.oil_age, self.service_due = 0, False
        return True

    @trace_agent_action()
    def order(self, message: Any) -> None:
        """Take an order of the superintendent."""
        self.logger.receive(message)
        self.service_due = message.body["work"] == "oil change"


class Pilot:
    """A pilot, who boards up to a certain swell."""

    def __init__(self, name: str) -> None:
        self.agent_id = name
        self.logger = AgentLogger(name, "pilot")
        self.max_swell = 1.8
        self.jobs = 0
        self.last = ""

    @trace_agent_action()
    def read_notice(self, number: int, limits: dict[str, float]) -> float:
        """Take over the limits of a notice to mariners."""
        self.max_swell = limits["max_swell"]
        if "limit" in BROKEN and number == 31:
            self.max_swell = limits["max_current"]
        return self.max_swell

    @trace_agent_action()
    def board(self, ship: str, at: float) -> int:
        """Climb aboard."""
        self.jobs += 1
        self.last = f"{ship} at {at:.1f}"
        return self.jobs


class BerthMaster:
    """Knows the depth of each berth; has it sounded and dredged after every fourth ship."""

    def __init__(self) -> None:
        self.agent_id = "berth_master"
        self.logger = AgentLogger(self.agent_id, "berth_master")
        self.depth = {"B1": 11.6, "B2": 12.0, "B3": 12.0, "B4": 14.2, "B5": 12.5}
        self.calls = dict.fromkeys(self.depth, 0)
        self.taken: dict[str, str] = {}

    @trace_agent_action()
    def allot(self, ship: str, draught: float) -> str | None:
        """Find a free berth that is deep enough."""
        for berth, depth in self.depth.items():
            if berth not in self.taken and depth >= draught + 0.5:
                self.taken[berth] = ship
                return berth
        return None

    @trace_agent_action()
    def vacate(self, berth: str, ship: str) -> float:
        """Free a berth; the propellers wash silt into it."""
        self.taken = {place: other for place, other in self.taken.items() if other != ship}
        self.calls[berth] += 1
        self.depth[berth] = round(self.depth[berth] - 0.3, 2)
        skipped = "sounding" in BROKEN and berth == "B4" and self.calls[berth] >= 6
        if self.calls[berth] % 3 == 0 and not skipped:
            self.logger.log_action("dredge", {"berth": berth, "from": self.depth[berth]})
            self.depth[berth] = round(self.depth[berth] + 0.9, 2)
        return self.depth[berth]


class Control:
    """The traffic service, which gives each ship its pilot and tugs."""

    def __init__(self, pilots: list[Pilot], tugs: list[Tug]) -> None:
        self.agent_id = "vts"
        self.logger = AgentLogger(self.agent_id, "vts")
        self.pilots = {pilot.agent_id: pilot for pilot in pilots}
        self.last_ship = ""
        self.free_pilots = [pilot.agent_id for pilot in pilots]
        self.free_tugs = [tug.agent_id for tug in tugs]
        self.tugs = {tug.agent_id: tug for tug in tugs}

    trace_ignore = ("pilots", "tugs")

    @trace_agent_action()
    def assign(self, ship: str, tugs: int, at: float) -> dict[str, Any] | None:
        """Give a ship a pilot who may board in this swell, and her tugs."""
        fit = [name for name in self.free_pilots if self.pilots[name].max_swell >= swell(at)]
        if not fit or len(self.free_tugs) < tugs:
            return None
        self.free_pilots.remove(fit[0])
        self.last_ship = ship
        chosen, self.free_tugs = self.free_tugs[:tugs], self.free_tugs[tugs:]
        return {"pilot": fit[0], "tugs": chosen}

    @trace_agent_action()
    def release(self, pilot: str, tugs: list[str]) -> list[str]:
        """Take pilot and tugs back into the pool."""
        self.free_pilots.append(pilot)
        self.free_tugs += tugs
        return self.free_tugs


class Harbour:
    """The whole port."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.env = simpy.Environment()
        self.tugs = [Tug(name) for name in ("Ajax", "Boreas", "Castor", "Doris", "Echo")]
        self.pilots = [Pilot(f"pilot_{n}") for n in range(1, 5)]
        self.control = Control(self.pilots, self.tugs)
        self.berths = BerthMaster()
        self.waits: list[tuple[float, float, str]] = []
        self.refused = 0
        self.breakdowns = 0

    def ship(self, name: str, draught: float, parted: bool, cargo: float) -> Steps:
        """Follow a ship from the anchorage to the berth and out again."""
        env, come = self.env, self.env.now
        need = 2 if draught > 10 else 1
        while not (berth := self.berths.allot(name, draught)):
            if env.now - come > 12:
                self.control.logger.warning("ship sent on", extra={"ship": name, "draught": draught})
                self.refused += 1
                return
            yield env.timeout(2)
        while not (crew := self.control.assign(name, need, env.now)):
            yield env.timeout(1)
        self.waits.append((come, env.now - come, name))
        self.control.pilots[crew["pilot"]].board(name, env.now)
        lost = []
        for tug_name in crew["tugs"]:
            tug = self.control.tugs[tug_name]
            if tug.make_fast(name, env.now) == "breakdown":
                self.breakdowns += 1
                yield env.timeout(3)
        yield env.timeout(1.5)
        if parted:
            self.control.tugs[crew["tugs"][-1]].part_line(name, env.now)
            lost = crew["tugs"][-1:] if "tug_kept" in BROKEN else []
            yield env.timeout(1)
        for tug_name in crew["tugs"]:
            self.control.tugs[tug_name].cast_off(name)
        self.control.release(crew["pilot"], [tug for tug in crew["tugs"] if tug not in lost])
        yield env.timeout(cargo)
        self.berths.vacate(berth, name)

    def arrivals(self) -> Steps:
        """Let ships arrive at the anchorage."""
        for number in range(66):
            yield self.env.timeout(self.rng.choice((1, 1, 1.5, 1.5, 2)))
            draught = self.rng.choice((7.5, 8.5, 9.5, 10.2, 10.4))
            draught = 13.0 if number % 6 == 2 else draught
            cargo = self.rng.choice((3, 4, 5))
            self.env.process(self.ship(f"ship_{number:02}", draught, number in {11, 15, 19}, cargo))

    def office(self) -> Steps:
        """Publish notices, and have the tugs serviced in turn."""
        system, boss = SystemLogger("port_office"), AgentLogger("superintendent", "superintendent")
        yield self.env.timeout(12)
        for turn in range(6):
            for place, called in enumerate(self.tugs):
                tug = called
                work = "oil change" if turn % 2 else "inspection"
                if "wrong_tug" in BROKEN and place == 0 and turn in {1, 3, 5}:
                    tug = self.tugs[1]
                tug.order(boss.send(tug.agent_id, {"work": work, "turn": turn}))
            if turn == 1:
                system.log_config("notice_30", None, {"max_speed": 6})
            if turn == 2:
                limits = {"max_swell": 2.5, "max_current": 1.5}
                system.log_config("notice_31", {"max_swell": 1.8}, limits)
                for pilot in self.pilots:
                    pilot.read_notice(31, limits)
            yield self.env.timeout(12)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Run the port for four days."""
    BROKEN.clear()
    BROKEN.add(fault)
    harbour = Harbour(seed)
    harbour.env.process(harbour.office())
    harbour.env.process(harbour.arrivals())
    harbour.env.run(until=HOURS)
    late = [wait for come, wait, _ in harbour.waits if come > 56]
    return {
        "wait_late": sum(late) / max(1, len(late)),
        "wait_swell": max([wait for come, wait, _ in harbour.waits if 44 < come < 74], default=0),
        "refused": harbour.refused,
        "breakdowns": harbour.breakdowns,
    }


def _orders_astray(events: Sequence[Event]) -> list[str]:
    orders = pick(
        events,
        "superintendent",
        where=lambda e: e.record["extra"].get("recipient") == "Boreas" and e.args.get("work") == "oil change",
        first=6,
    )
    return orders[::2]


def _left_behind(events: Sequence[Event]) -> list[str]:
    found = []
    for at, event in enumerate(events):
        if event.act == "part_line":
            found.append(event.id)
            later = iter(events[at:])
            next(e for e in later if e.act == "cast_off" and e.agent == event.agent)
            found.append(next(e.id for e in later if e.act == "release"))
    return found[:6]


FAULTS = {
    "tug_kept": Fault(
        "Ships at the anchorage wait for hours although the port is not busy, why are there so few tugs?",
        lambda f, h: f["wait_late"] > h["wait_late"] + 1,
        _left_behind,
    ),
    "limit": Fault(
        "During the swell on the third day not one ship was brought in",
        lambda f, h: f["wait_swell"] > h["wait_swell"] + 6,
        lambda events: pick(events, act="read_notice", first=4),
    ),
    "sounding": Fault(
        "big ships of 13 m draught get sent on to other ports, again and again",
        lambda f, h: f["refused"] >= h["refused"] + 2,
        lambda events: pick(
            events, "berth_master", "vacate", where=lambda e: e.args["berth"] == "B4", first=6
        )[5:],
    ),
    "wrong_tug": Fault(
        "How come the engine of Ajax broke down in the middle of a tow?",
        lambda f, h: f["breakdowns"] > h["breakdowns"],
        _orders_astray,
    ),
}
