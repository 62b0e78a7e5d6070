"""A vaccination campaign in spring: depots with refrigerators, vans, twelve clinics and a booking office."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from Agent import instrument
from benchmarks.fault_simulations.kit import Event, Fault, pick

START = date(2025, 3, 3)
DAYS = 90
INTERVAL = 21
DEPOTS = {"depot_north": range(1, 5), "depot_south": range(5, 9), "depot_west": range(9, 13)}
SHARES = {"depot_north": 0.335, "depot_south": 0.335, "depot_west": 0.33}

_seed = 0
_about = ""


def _odds(*key: object) -> random.Random:
    return random.Random(f"{_seed}:{key}")


class Depot:
    """Keeps doses cold and gives them to the vans."""

    def __init__(self, name: str) -> None:
        """Begin with a small stock and a cold refrigerator."""
        self.name = name
        self.doses = 700
        self.warm_days = 0
        self.lots: dict[int, int] = {}

    def take_in(self, day: date, doses: int) -> int:
        """Store a delivery of the manufacturer; return the stock."""
        self.doses += doses
        return self.doses

    def read_fridge(self, day: date) -> float:
        """Read the thermometer of the refrigerator."""
        return _reading(self.name, day)

    def service(self, day: date, celsius: float) -> str:
        """Have the refrigerator repaired."""
        return "compressor changed" if celsius > 8 else "door seal cleaned"

    def hand_out(self, day: date, van: str, doses: int) -> int:
        """Give a van as many doses as there are, at most those asked for."""
        given = min(doses, self.doses)
        self.doses -= given
        return given


class Van:
    """Drives from a depot to its clinics."""

    def __init__(self, name: str) -> None:
        """Begin without a route."""
        self.name = name
        self.route: list[str] = []

    def set_route(self, day: date, stops: list[str]) -> None:
        """Take over the stops for the week."""
        self.route = stops

    def deliver(self, day: date, clinic: str, doses: int) -> int:
        """Bring doses to a clinic; OSError if the engine does not start."""
        if _odds("engine", self.name, day).random() < 0.02 and clinic == self.route[0]:
            raise OSError(f"{self.name} does not start")
        return doses


class Clinic:
    """Gives first and second doses, and turns people away when it has none."""

    def __init__(self, name: str) -> None:
        """Begin with doses for three days."""
        self.name = name
        self.doses = 150
        self.weak: int = 0

    def receive(self, day: date, doses: int) -> int:
        """Put doses into the refrigerator; return how many there are."""
        self.doses += doses
        return self.doses

    def vaccinate(self, day: date, first: int, second: int) -> dict[str, int]:
        """Vaccinate people with an appointment, second doses first."""
        seconds = min(second, self.doses)
        firsts = min(first, self.doses - seconds)
        self.doses -= firsts + seconds
        return {"first": firsts, "second": seconds, "away": first + second - firsts - seconds}

    def follow_up(self, day: date, sampled: int, protected: int) -> float:
        """Ask a sample of last month's people for antibodies; return the share that has them."""
        return round(protected / sampled, 2)


class BookingOffice:
    """Invites people for the first and the second dose."""

    def __init__(self, name: str) -> None:
        """Begin with an empty diary."""
        self.name = name
        self.diary: dict[tuple[str, date], int] = {}

    def invite(self, day: date, clinic: str, people: int) -> int:
        """Invite people for the first dose in two days."""
        return people

    def book_second(self, day: date, clinic: str, people: int, due: date) -> int:
        """Enter the second appointment of people who had their first dose."""
        self.diary[clinic, due] = self.diary.get((clinic, due), 0) + people
        return self.diary[clinic, due]


class Planner:
    """Divides the manufacturer's deliveries and plans routes."""

    def __init__(self, name: str) -> None:
        """Begin with the shares that were agreed on."""
        self.name = name
        self.shares = dict(SHARES)

    def set_share(self, day: date, depot: str, share: float) -> None:
        """Change which part of the deliveries a depot gets."""
        self.shares[depot] = share

    def divide(self, day: date, doses: int) -> dict[str, int]:
        """Divide a delivery."""
        return {depot: int(doses * share) for depot, share in self.shares.items()}

    def plan_route(self, day: date, van: str) -> list[str]:
        """Plan the stops of a van for a week."""
        return _stops(van, day)


for _cls, _methods in (
    (Depot, ["take_in", "read_fridge", "service", "hand_out"]),
    (Van, ["set_route", "deliver"]),
    (Clinic, ["receive", "vaccinate", "follow_up"]),
    (BookingOffice, ["invite", "book_second"]),
    (Planner, ["set_share", "divide", "plan_route"]),
):
    instrument(_cls, methods=_methods, agent_id="name", agent_role=_cls.__name__.lower())


def _nth(day: date) -> int:
    return (day - START).days


def _inside(depot: str, day: date) -> float:
    """Return how warm it is in a refrigerator that nobody repaired."""
    noise = _odds("fridge", depot, day).uniform(-0.6, 0.6)
    begin = {"depot_south": 31, "depot_west": 66}.get(depot, 999)
    return round(4.6 + noise + max(0, min(7, _nth(day) - begin + 1)) * 3.1, 1)


def _reading(depot: str, day: date) -> float:
    if depot in _repaired:
        return round(4.5 + _odds("fridge", depot, day).uniform(-0.6, 0.6), 1)
    if _about == "thermometer" and depot == "depot_south" and _nth(day) >= 31:
        return round(4.6 + _odds("fridge", depot, day).uniform(-0.6, 0.6), 1)
    return _inside(depot, day)


_repaired: set[str] = set()


def _stops(van: str, day: date) -> list[str]:
    number = int(van[-1])
    stops = [f"clinic_{n:02d}" for n in list(DEPOTS.values())[number - 1]]
    _odds("route", van, day).shuffle(stops)
    if _about == "route" and van == "van_2" and _nth(day) == 49:
        stops[stops.index("clinic_06")] = "clinic_05"
    return stops


def _due(day: date, clinic: str) -> date:
    due = day + timedelta(days=INTERVAL)
    if _about == "calendar" and clinic == "clinic_10" and date(2025, 4, 10) <= day and due.day <= 12:
        return date(due.year, due.day, due.month) if due.day > due.month else due
    return due


def _share(depot: str, day: date, share: float) -> float:
    return round(share / 10, 3) if _about == "share" and depot == "depot_north" and _nth(day) == 28 else share


def _supply(day: date, depot: Depot, van: Van, clinics: dict[str, Clinic], office: BookingOffice) -> None:
    for name in van.route:
        clinic = clinics[name]
        coming = sum(office.diary.get((name, day + timedelta(days=ahead)), 0) for ahead in range(4))
        wanted = max(0, coming + 130 - clinic.doses)
        if not wanted:
            continue
        given = depot.hand_out(day, van.name, wanted)
        for _ in range(2):
            try:
                clinic.receive(day, van.deliver(day, name, given))
                break
            except OSError:
                clinic.receive(day, given)
                break
        if _inside(depot.name, day) > 8 and depot.name not in _repaired:
            clinic.weak += given


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play three months and return what clinics and offices report."""
    global _seed, _about
    _seed, _about = seed, fault
    _repaired.clear()
    depots = {name: Depot(name) for name in DEPOTS}
    vans = [Van(f"van_{n}") for n in (1, 2, 3)]
    clinics = {f"clinic_{n:02d}": Clinic(f"clinic_{n:02d}") for n in range(1, 13)}
    office, planner = BookingOffice("booking_office"), Planner("planner")
    away: dict[str, dict[int, int]] = {name: {} for name in clinics}
    gaps: dict[str, list[int]] = {name: [] for name in clinics}
    protected: dict[str, list[float]] = {name: [] for name in clinics}
    for day in (START + timedelta(days=n) for n in range(DAYS)):
        nth = _nth(day)
        if day.weekday() == 0:
            for van in vans:
                van.set_route(day, planner.plan_route(day, van.name))
            for depot, share in SHARES.items():
                moved = _odds("share", day, depot).uniform(-0.02, 0.02)
                planner.set_share(day, depot, _share(depot, day, round(share + moved, 3)))
            for depot, doses in planner.divide(day, 3300 if nth < 21 else 6100).items():
                depots[depot].take_in(day, doses)
        for depot, van in zip(depots.values(), vans, strict=True):
            celsius = depot.read_fridge(day)
            if celsius > 8 or (nth == 44 and depot.name == "depot_north"):
                depot.service(day, celsius)
                _repaired.add(depot.name)
            if day.weekday() in {1, 3, 5}:
                _supply(day, depot, van, clinics, office)
        for name, clinic in clinics.items():
            if day.weekday() == 6:
                continue
            first = 34 + _odds("people", name, day).randrange(12)
            second = office.diary.get((name, day), 0)
            office.invite(day, name, first)
            done = clinic.vaccinate(day, first, second)
            if done["away"]:
                away[name][nth] = done["away"]
            if done["first"]:
                due = _due(day, name)
                gaps[name].append((due - day).days)
                office.book_second(day, name, done["first"], due)
            if nth % 14 == 12 and nth > 20:
                bad = min(30, round(clinic.weak / 25)) + _odds("blood", name, day).randrange(3)
                protected[name].append(clinic.follow_up(day, 40, 40 - bad))
    return {
        "away": away,
        "gaps": {name: max(days) for name, days in gaps.items()},
        "protected": {name: min(shares) for name, shares in protected.items()},
        "stock": {name: depot.doses for name, depot in depots.items()},
    }


def _turned(outcome: Any, name: str, since: int) -> int:
    return sum(n for day, n in outcome["away"][name].items() if int(day) >= since)


def _late_dates(events: Sequence[Event]) -> list[str]:
    def odd(event: Event) -> bool:
        day, due = (date.fromisoformat(str(event.args[key])[:10]) for key in ("day", "due"))
        return (due - day).days != INTERVAL

    return pick(events, act="book_second", where=odd)


def _on(day: int) -> Any:
    wanted = (START + timedelta(days=day)).isoformat()
    return lambda event: str(event.args.get("day"))[:10] >= wanted


FAULTS: dict[str, Fault] = {
    "calendar": Fault(
        "My second appointment at clinic_10 was supposed to be three weeks after the first. Now I have been "
        "given a date months away, and so have my neighbours.",
        lambda bad, good: bad["gaps"]["clinic_10"] > 40 > good["gaps"]["clinic_10"],
        _late_dates,
    ),
    "thermometer": Fault(
        "The antibody samples of clinic_07 and its neighbours are far too low, the other places are all right. "
        "Did the nurses there do something wrong?",
        lambda bad, good: bad["protected"]["clinic_07"] < good["protected"]["clinic_07"] - 0.15,
        lambda events: pick(events, "depot_south", "read_fridge", where=_on(31)),
    ),
    "route": Fault(
        "We had to turn away everybody with an appointment on Thursday because the boxes for clinic_06 never "
        "came. What is wrong there?",
        lambda bad, good: _turned(bad, "clinic_06", 49) > _turned(good, "clinic_06", 49) + 30,
        lambda events: pick(
            events, "planner", "plan_route", where=lambda e: _on(49)(e) and e.args["van"] == "van_2", first=1
        ),
    ),
    "share": Fault(
        "In the north people have been queueing in vain again and again since April; the vans come, but with "
        "next to nothing in them.",
        lambda bad, good: (
            sum(_turned(bad, f"clinic_{n:02d}", 28) for n in range(1, 5))
            > sum(_turned(good, f"clinic_{n:02d}", 28) for n in range(1, 5)) + 100
        ),
        lambda events: pick(
            events,
            "planner",
            "set_share",
            where=lambda e: _on(28)(e) and e.args["depot"] == "depot_north",
            first=1,
        ),
    ),
}
