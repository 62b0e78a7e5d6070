"""An outbreak in a small town: 110 people in households and firms, contact tracers, a health office."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, InteractionLogger, SystemLogger, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

PEOPLE = 110
DAYS = 75
STAY = 10
HOME, WORK = 0.05, 0.11


@dataclass
class Person:
    """Somebody who meets the household every day and others at work."""

    number: int
    household: int
    work: int
    since: int | None = None
    home_until: int = -1
    ill_on: int | None = None
    called: int = -99

    def __post_init__(self) -> None:
        """Get a name."""
        self.name = f"person_{self.number:03d}"
        self.log = AgentLogger(self.name, "person")
        self.ties = InteractionLogger(self.name, "person")


@dataclass
class Registry:
    """The town's list of who works where, as the health office has it."""

    listed: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open the log."""
        self.log = AgentLogger("registry", "registry")


@dataclass
class Tracer:
    """Asks people to stay at home."""

    name: str
    calls: int = 0

    def __post_init__(self) -> None:
        """Open the log."""
        self.log = AgentLogger(self.name, "tracer")


class Town:
    """People, offices and the virus."""

    def __init__(self, seed: int, about: str) -> None:
        """Let two people come home ill from holidays."""
        self.seed, self.about = seed, about
        self.people = [Person(n, n // 4, 100 + self.odds("work", n).randrange(9)) for n in range(PEOPLE)]
        for n in (3, 40):
            self.people[n].since = 0
        self.registry = Registry({p.number: p.work for p in self.people})
        self.tracers = [Tracer(f"tracer_{n}") for n in (1, 2, 3)]
        self.office = AgentLogger("health_office", "office")
        self.lab = AgentLogger("test_centre", "laboratory")
        self.system = SystemLogger("town")
        self.closed: dict[int, int] = {}
        self.new: list[int] = []
        self.unheard = self.back_early = self.open_days = 0
        self.work_notices = 0

    def odds(self, *key: object) -> random.Random:
        """Return the generator of a key."""
        return random.Random(f"{self.seed}/{key}")

    def meets(self, day: int) -> None:
        """Let everybody who can infect others meet them."""
        new = 0
        for person in self.people:
            if person.since is None or not 2 <= day - person.since <= 8:
                continue
            for other in self.people:
                if other is person:
                    continue
                near = other.household == person.household
                apart = person.home_until >= day or other.home_until >= day
                shut = self.closed.get(person.work, -1) >= day
                same = other.work == person.work and not apart and not shut
                if not (near or same):
                    continue
                draw = self.odds("meet", day, person.number, other.number)
                if not near and draw.random() > 0.5:
                    continue
                chance = HOME if near and not apart else HOME / 4 if near else WORK
                if other.since is None and draw.random() < chance:
                    other.since = day
                    new += 1
                    if not near:
                        self.back_early += day - person.called < STAY
                elif draw.random() < 0.2:
                    place = "home" if near else "work"
                    person.ties.log_interaction("meet", person.name, other.name, data={"place": place})
        self.new.append(new)
        for work in sorted({p.work for p in self.people}):
            self.open_days += self.cases(work, day) >= 2 and self.closed.get(work, -1) < day

    def falls_ill(self, day: int) -> list[Person]:
        """Return who goes for a test today; some with a cold only."""
        asked = []
        for person in self.people:
            draw = self.odds("symptoms", person.number)
            if (
                person.since is not None
                and person.ill_on is None
                and day - person.since == 3 + draw.randrange(3)
            ):
                person.ill_on = day
                if draw.random() < 0.65:
                    asked.append(person)
            elif self.odds("cold", day, person.number).random() < 0.01:
                asked.append(person)
        return asked

    def test(self, day: int, person: Person) -> None:
        """Test somebody, tell the office, and trace if positive."""
        positive = person.since is not None and 2 <= day - person.since <= 12
        positive = positive and self.odds("test", day, person.number).random() < 0.95
        self.lab.log_action("test", {"person": person.name, "positive": positive})
        person.log.receive(self.lab.send(person.name, {"positive": positive}))
        if not positive:
            return
        message = self.lab.send("health_office", {"case": person.name})
        self.office.receive(message)
        person.home_until = day + STAY
        tracer = self.tracers[(person.number + day) % len(self.tracers)]
        self.office.log_decision("assign", {"case": person.name, "tracer": tracer.name})
        self.trace(day, person, tracer)

    def trace(self, day: int, person: Person, tracer: Tracer) -> None:
        """Call the contacts of a case and report to the office."""
        work = self.registry.listed[person.number]
        contacts = [
            one for one in self.people
            if one is not person
            and (
                one.household == person.household
                or (self.registry.listed[one.number] == work and (one.number + person.number) % 4)
            )
        ]  # fmt: skip
        reached = [one for one in contacts if self.odds("phone", day, one.number).random() < 0.88]
        near = [
            one for one in self.people
            if one is not person
            and (one.household == person.household or (one.work == person.work and (one.number + person.number) % 4))
        ]  # fmt: skip
        called = reached if self.makes_calls(tracer.name, day) else []
        self.unheard += sum(one not in called for one in near)
        for one in called:
            tracer.calls += 1
            one.called = day
            until = day + self.stay(tracer.name, day)
            tracer.log.log_action("call", {"person": one.name, "home_until": until})
            one.home_until = max(one.home_until, until)
        note = {"case": person.name, "contacts": len(contacts), "reached": len(reached)}
        tracer.log.log_action("report", note)
        self.office.receive(tracer.log.send("health_office", note))
        if self.office_closes(day, work):
            self.closed[work] = day + 9
            self.office.log_action("close_workplace", {"work": work, "until": day + 9})

    def makes_calls(self, tracer: str, day: int) -> bool:
        """Return whether a tracer has time for the telephone."""
        return not (self.about == "report" and tracer == "tracer_3" and day >= 9)

    def stay(self, tracer: str, day: int) -> int:
        """Return how many days contacts are to stay at home."""
        return STAY // 10 if self.about == "days" and tracer == "tracer_2" and day >= 5 else STAY

    def office_closes(self, day: int, work: int) -> bool:
        """Return whether a firm is to be closed: two cases of it in ten days."""
        count = self.cases(work, day)
        self.office.log_decision("count_cases", {"work": work, "cases": count, "day": day})
        due = count >= 2 and self.closed.get(work, -1) < day
        return due and not (self.about == "closure" and self.first_due(day))

    def cases(self, work: int, day: int) -> int:
        """Return how many people of a firm fell ill in the last ten days."""
        return sum(p.work == work and p.ill_on is not None and day - p.ill_on <= 10 for p in self.people)

    def first_due(self, day: int) -> bool:
        """Note that a closure was due; return whether it is one of the first weeks."""
        self.work_notices += 1
        return day <= 40

    def move_jobs(self, day: int) -> None:
        """Let a good part of the people change their firm at the turn of the month."""
        for person in self.people:
            if self.odds("job", day, person.number).random() < 0.55:
                person.work = 100 + self.odds("new job", day, person.number).randrange(9)
                person.log.log_action("change_work", {"to": person.work})

    def refresh(self, day: int) -> None:
        """Load the registry's weekly list."""
        if not (self.about == "registry" and day >= 14):
            self.registry.listed = {p.number: p.work for p in self.people}
        self.registry.log.log_action("load_list", {"rows": len(self.registry.listed), "list": self.rows()})

    def rows(self) -> dict[str, int]:
        """Return how many people each firm has on the list."""
        found: dict[str, int] = {}
        for work in self.registry.listed.values():
            found[f"w{work}"] = found.get(f"w{work}", 0) + 1
        return dict(sorted(found.items()))


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play the outbreak and return how it went."""
    town = Town(seed, fault)
    town.system.log_simulation_start("outbreak", {"people": PEOPLE, "stay": STAY})
    for day in range(DAYS):
        with tick(day):
            if day == 11:
                town.move_jobs(day)
            if day % 7 == 0:
                town.refresh(day)
            if day and day % 5 == 0:
                guest = town.people[town.odds("guest", day).randrange(PEOPLE)]
                guest.since = day if guest.since is None else guest.since
                guest.log.log_action("return_from_trip", {"days": 6})
            town.meets(day)
            for person in town.falls_ill(day):
                person.log.log_action("ask_for_test", {"cough": True})
                town.test(day, person)
            if day % 10 == 9:
                town.system.log_config("test_hours", "8-16", f"8-{16 + day % 4}")
    works: dict[int, int] = {}
    for person in town.people:
        if person.since is not None:
            works[person.work] = works.get(person.work, 0) + 1
    return {
        "infected": sum(p.since is not None for p in town.people),
        "late": sum(p.since is not None and p.since > 25 for p in town.people),
        "worst_work": max(works.values()),
        "unheard": town.unheard,
        "back_early": town.back_early,
        "open_days": town.open_days,
        "curve": [sum(town.new[n : n + 7]) for n in range(0, DAYS, 7)],
    }


def _silent_reports(events: Sequence[Event]) -> list[str]:
    found, calls = [], 0
    for event in events:
        if event.agent != "tracer_3":
            continue
        if event.act == "call":
            calls += 1
        elif event.act == "report":
            if event.args["reached"] > calls:
                found.append(event.id)
            calls = 0
    return found[:3]


def _not_closed(events: Sequence[Event]) -> list[str]:
    found, shut = [], {}
    for n, event in enumerate(events):
        if event.act == "close_workplace":
            shut[event.args["work"]] = event.args["until"]
        elif event.act == "count_cases" and event.args["cases"] >= 2:
            follows = n + 1 < len(events) and events[n + 1].act == "close_workplace"
            if not follows and shut.get(event.args["work"], -1) < event.args["day"]:
                found.append(event.id)
    return found[:3]


FAULTS: dict[str, Fault] = {
    "report": Fault(
        "According to the health_office nearly everybody is being reached, and yet cases keep rising; several of "
        "my colleagues who sat next to an ill person never heard from anyone.",
        lambda bad, good: bad["unheard"] > 1.15 * good["unheard"],
        _silent_reports,
    ),
    "days": Fault(
        "The wave does not end. People come back to work after having been told to stay away and then fall ill there.",
        lambda bad, good: bad["back_early"] > good["back_early"] + 1,
        lambda events: pick(
            events, "tracer_2", "call", where=lambda e: e.args["home_until"] - (e.tick or 0) < STAY
        ),
    ),
    "closure": Fault(
        "Two of us were ill in the same week and a third soon after, and nobody ever told our firm to close for a "
        "while. Is that not the rule any more?",
        lambda bad, good: bad["open_days"] > 1.4 * good["open_days"],
        _not_closed,
    ),
    "registry": Fault(
        "I have been in my new job for weeks. The person next to me had it, but they called my former colleagues "
        "instead of me. Others here say the same.",
        lambda bad, good: bad["unheard"] > 1.15 * good["unheard"],
        lambda events: pick(events, "registry", "load_list", tick=lambda day: day >= 14),
    ),
}
