"""Six small satellites and three ground stations for five days: passes, commands, pictures, mosaics."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, setup_logging, shutdown_logging
from benchmarks.fault_simulations.kit import Event, Fault, pick

HOURS = 120
SATELLITES = ("sat_a", "sat_b", "sat_c", "sat_d", "sat_e", "sat_f")
STATIONS = ("fjord", "cape", "atoll")
MEMORY = 30
_PLAY = {"fault": ""}


def _with(name: str) -> bool:
    return _PLAY["fault"] == name


class Satellite:
    """Takes pictures, keeps them in its memory, and does what it is told."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.log = AgentLogger(name, "satellite")
        self.metrics = PerformanceLogger(name, "satellite")
        self.rng = random.Random(f"{seed}/{name}")
        self.memory: list[tuple[int, str]] = []
        self.strip, self.epoch = 100, 1
        self.camera, self.safe = True, False
        self.skipped = 0

    def shoot(self, region: str, hour: int) -> None:
        """Take the pictures of one hour."""
        if self.safe or not self.camera:
            return
        for _ in range(self.rng.choice([1, 2, 2])):
            if len(self.memory) >= MEMORY:
                self.skipped += 1
                self.log.log_action("skip_picture", {"hour": hour, "stored": len(self.memory)})
                continue
            self.strip += 1
            self.memory.append((self.strip, region))
        if hour % 6 == 0:
            self.metrics.log_metric("battery", round(72 + 12 * self.rng.random(), 1), "%")

    def send_down(self, most: int) -> list[tuple[int, str]]:
        """Send the oldest strips; they stay in the memory until they are erased."""
        return self.memory[:most]

    def execute(self, message: Any) -> None:
        """Carry out a command; in safe mode only the end of safe mode is heard."""
        self.log.receive(message)
        what = message.body["command"]
        if what == "leave_safe_mode":
            self.safe = False
        elif what == "camera_on":
            if not self.safe:
                self.camera = True
        elif what == "erase":
            self.memory = [strip for strip in self.memory if strip[0] > message.body["up_to"]]


class Office:
    """Looks after the uplink licences of the stations."""

    def __init__(self) -> None:
        self.log = AgentLogger("office", "clerk")
        self.until = {"fjord": 58, "cape": 84, "atoll": 100}

    def check(self, hour: int) -> None:
        """Renew each licence that ends within a day."""
        left = {station: until - hour for station, until in self.until.items()}
        soon = [station for station, hours in left.items() if hours <= 24]
        if _with("licence") and "fjord" in soon:
            soon.remove("fjord")
        for station in soon:
            self.until[station] += 200
        self.log.log_action("check_licences", {"left": left, "renewed": soon})


class Station:
    """An antenna that follows a satellite by its orbital elements."""

    def __init__(self, name: str, office: Office, seed: int) -> None:
        self.name, self.office = name, office
        self.log = AgentLogger(name, "station")
        self.rng = random.Random(f"{seed}/{name}")
        self.elements = dict.fromkeys(SATELLITES, 1)

    def load_elements(self, satellite: Satellite, published: int, hour: int) -> str:
        """Load the newest elements of a satellite."""
        if not (_with("elements") and self.name == "cape" and satellite.name == "sat_c" and hour > 40):
            self.elements[satellite.name] = published
        body = {"satellite": satellite.name, "epoch": self.elements[satellite.name], "hour": hour}
        return self.log.log_action("load_elements", body)

    def track(self, satellite: Satellite, hour: int, why: str) -> tuple[list[tuple[int, str]], str]:
        """Follow a satellite and receive what it sends."""
        most = self.rng.randint(9, 15)
        if self.elements[satellite.name] != satellite.epoch:
            most //= 6
        strips = satellite.send_down(most)
        if self.rng.random() < 0.04:
            self.log.warning("carrier lost for a few seconds, locked again", {"satellite": satellite.name})
        body = {"satellite": satellite.name, "hour": hour, "strips": len(strips)}
        return strips, self.log.log_action("track", body, causes=[why])

    def uplink(self, satellite: Satellite, body: dict[str, Any], hour: int) -> None:
        """Send one command up; without a licence the transmitter stays dark."""
        message = self.log.send(satellite.name, body)
        if hour < self.office.until[self.name]:
            satellite.execute(message)


class Archive:
    """Keeps strips, joins those with the same number, and makes mosaics of regions."""

    def __init__(self) -> None:
        self.log = AgentLogger("archive", "archive")
        self.strips: dict[tuple[str, int], str] = {}
        self.regions: dict[str, list[str]] = {}
        self.daily: dict[str, int] = dict.fromkeys(SATELLITES, 0)
        self.low: list[str] = []
        self.alien = 0

    def store(self, satellite: Satellite, strips: list[tuple[int, str]], why: str, reboots: set[str]) -> str:
        """Store strips by satellite and number; after a reboot numbers start again and get a new series."""
        new = joined = 0
        for number, region in strips:
            name = satellite.name
            if name in reboots and not _with("series"):
                name = f"{satellite.name}/2"
            have = self.strips.get((name, number))
            if have is None:
                self.strips[name, number] = region
                self.regions.setdefault(region, []).append(region)
                new += 1
            elif have != region:
                self.strips[name, number] = region
                self.regions.setdefault(have, []).append(region)
                joined += 1
        self.daily[satellite.name] += new
        body = {"satellite": satellite.name, "new": new, "joined": joined}
        return self.log.log_action("store", body, causes=[why])

    def mosaic(self, region: str, hour: int) -> None:
        """Make the mosaic of a region and let the checker look at it."""
        parts = self.regions.get(region, [])
        share = sum(part != region for part in parts) / max(1, len(parts))
        self.alien += share > 0.05
        body = {"region": region, "strips": len(parts), "seams": round(share * 100)}
        self.log.log_action("make_mosaic", body)

    def day(self, hour: int) -> None:
        """Write the count of new strips per satellite."""
        self.log.log_action("day_sheet", dict(self.daily))
        self.low += [name for name, count in self.daily.items() if hour > 30 and count < 16]
        self.daily = dict.fromkeys(SATELLITES, 0)


class Planner:
    """Gives passes to stations and writes the commands for them."""

    def __init__(self) -> None:
        self.log = AgentLogger("planner", "planner")

    def assign(self, station: str, satellite: str, hour: int) -> str:
        """Plan a pass."""
        return self.log.log_decision(
            "assign_pass", {"station": station, "satellite": satellite, "hour": hour}
        )

    def wake(self, satellite: str) -> list[dict[str, Any]]:
        """Write the commands after a safe mode."""
        commands = [{"command": "leave_safe_mode"}, {"command": "camera_on"}]
        if _with("order") and satellite == "sat_b":
            commands.reverse()
        for command in commands:
            self.log.log_action("queue_command", {"satellite": satellite, **command})
        return commands


class Network:
    """Five days of operations."""

    def __init__(self, seed: int) -> None:
        self.satellites = {name: Satellite(name, seed) for name in SATELLITES}
        self.office = Office()
        self.stations = {name: Station(name, self.office, seed) for name in STATIONS}
        self.archive, self.planner = Archive(), Planner()
        self.rng = random.Random(f"{seed}/orbits")
        self.visits = random.Random(f"{seed}/visits")
        self.published = dict.fromkeys(SATELLITES, 1)
        self.reboots: set[str] = set()
        self.waiting: dict[str, list[dict[str, Any]]] = {name: [] for name in SATELLITES}

    def hour(self, hour: int) -> None:
        """Play one hour."""
        for number, satellite in enumerate(self.satellites.values()):
            satellite.shoot(f"r{(hour // 4 + number * 3) % 11:02d}", hour)
        self._happen(hour)
        if hour % 12 == 6:
            self.office.check(hour)
            for station in self.stations.values():
                for satellite in self.satellites.values():
                    station.load_elements(satellite, self.published[satellite.name], hour)
        for place, satellite in enumerate(self.satellites.values()):
            if (hour + place * 2) % 4 == 0:
                self.contact(satellite, STATIONS[self._station(hour, place)], hour)
        if hour % 12 == 11:
            for _ in range(3):
                self.archive.mosaic(f"r{self.rng.randrange(11):02d}", hour)
        if hour % 24 == 23:
            self.archive.day(hour)

    def _station(self, hour: int, place: int) -> int:
        if place == 0:
            return 0 if hour % 24 else 1
        if place == 2:
            return 1
        return self.rng.randrange(3)

    def _happen(self, hour: int) -> None:
        if hour in {20, 66}:
            hit = self.satellites["sat_f" if hour == 20 else "sat_b"]
            hit.safe, hit.camera = True, False
            hit.log.log_action("enter_safe_mode", {"hour": hour, "trigger": "star tracker"})
            self.waiting[hit.name] = self.planner.wake(hit.name)
        if hour == 48:
            moved = self.satellites["sat_c"]
            moved.epoch += 1
            self.published[moved.name] += 1
            moved.log.log_action("raise_orbit", {"burn_s": 14, "hour": hour})
        if hour == 30:
            again = self.satellites["sat_e"]
            again.strip, again.memory = 100, []
            self.reboots.add(again.name)
            again.log.log_action("reboot", {"hour": hour, "software": "4.2"})
        if hour == 77:
            self.stations["atoll"].log.info("dish washed after the sandstorm", {"minutes": 40})
        if self.visits.random() < 0.02:
            self.stations["cape"].log.info("visitors at the fence", {"hour": hour})

    def contact(self, satellite: Satellite, station_name: str, hour: int) -> None:
        """One pass: receive, store, and send up what waits."""
        station = self.stations[station_name]
        planned = self.planner.assign(station_name, satellite.name, hour)
        strips, tracked = station.track(satellite, hour, planned)
        self.archive.store(satellite, strips, tracked, self.reboots)
        for command in self.waiting[satellite.name]:
            station.uplink(satellite, command, hour)
        self.waiting[satellite.name] = []
        if strips:
            station.uplink(satellite, {"command": "erase", "up_to": strips[-1][0]}, hour)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play five days; return what users of the pictures see."""
    _PLAY["fault"] = fault
    setup_logging()
    network = Network(seed)
    SystemLogger("network").log_simulation_start("stations", {"satellites": list(SATELLITES), "hours": HOURS})
    for hour in range(HOURS):
        network.hour(hour)
    shutdown_logging()
    return {
        "skipped": {name: found.skipped for name, found in network.satellites.items()},
        "low": network.archive.low,
        "alien": network.archive.alien,
    }


def _not_renewed(event: Event) -> bool:
    return 0 < event.args["left"]["fjord"] <= 24 and "fjord" not in event.args["renewed"]


def _lists(low: Sequence[str], name: str) -> bool:
    return name in low


FAULTS: dict[str, Fault] = {
    "licence": Fault(
        "sat_a has stopped taking pictures again and again because its memory is full, "
        "although every one of its passes was flown.",
        lambda faulty, healthy: faulty["skipped"]["sat_a"] > 5 + healthy["skipped"]["sat_a"],
        lambda events: pick(events, "office", "check_licences", where=_not_renewed),
    ),
    "elements": Fault(
        "We get hardly any new pictures of sat_c since its orbit was raised.",
        lambda faulty, healthy: _lists(faulty["low"], "sat_c") and not _lists(healthy["low"], "sat_c"),
        lambda events: pick(
            events,
            "cape",
            "load_elements",
            where=lambda event: (
                event.args["satellite"] == "sat_c" and event.args["hour"] > 48 and event.args["epoch"] == 1
            ),
            first=2,
        ),
    ),
    "order": Fault(
        "After its safe mode sat_b answers and is healthy, but not one picture has come from it since.",
        lambda faulty, healthy: _lists(faulty["low"], "sat_b") and not _lists(healthy["low"], "sat_b"),
        lambda events: pick(
            events, "planner", "queue_command", where=lambda event: event.args["satellite"] == "sat_b"
        ),
    ),
    "series": Fault(
        "Customers complain that in some of the large pictures strips of another coast are pasted in.",
        lambda faulty, healthy: faulty["alien"] > healthy["alien"],
        lambda events: pick(events, "archive", "store", where=lambda event: event.args["joined"] > 0),
    ),
}
