"""A funfair: booths sell tickets by copied rules, fitters rebuild rides, a town licenses, schools book tours.

Decorated methods that call each other; a tick is a day, and nothing names its cause.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from Agent import AgentLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

RIDES = ("Octopus", "Gondola", "Thunderbolt", "Teacups", "Corsair", "Ghost Train")
BOOTHS = ("booth north", "booth south", "booth lake")
FITTERS = ("Gerda", "Ludo", "Halvard")
SCHOOLS = ("St. Anne", "Elm Park", "Holy Cross", "Riverside", "North Gate")
TOWNS = ("Lund", "Ystad", "Ravlunda", "Kivik")
HEAVY, USUAL_LICENCE = 18, 30


@dataclass
class Booking:
    """A school's tour: the class that comes, and when."""

    school: str
    town: str
    day: int


@dataclass
class Machine:
    """What is really true of a ride."""

    grease: float = 1.0
    until: int = 20
    is_shut: bool = False


@dataclass
class Ground:
    """The ground: what is true, who is there, and the plan of one case."""

    case: Case
    days: int
    day: int = -1
    last: int = 0
    people: People = field(init=False)
    machines: dict[str, Machine] = field(default_factory=lambda: {one: Machine() for one in RIDES})
    bookings: dict[str, Booking] = field(default_factory=dict)
    renew_at: dict[str, int] = field(default_factory=dict)

    def number(self, letter: str) -> str:
        """Return the next number of a ticket, a class or a job."""
        self.last += 1
        return f"{letter}{self.last:04}"


class Member:
    """Somebody, or something, on the ground."""

    trace_ignore: ClassVar[tuple[str, ...]] = ("ground", "rules", "copy")

    def __init__(self, agent_id: str, agent_role: str, ground: Ground) -> None:
        self.agent_id, self.agent_role, self.ground = agent_id, agent_role, ground


class Safety(Member):
    """Keeps the rule book of the ground: how tall guests must be."""

    def __init__(self, agent_id: str, agent_role: str, ground: Ground) -> None:
        super().__init__(agent_id, agent_role, ground)
        rng = ground.case.rng("rules")
        self.rules = {ride: (rng.randrange(100, 125, 5), -1) for ride in RIDES}

    @trace_agent_action()
    def set_rule(self, ride: str, centimetres: int, day: int) -> None:
        """Write a rule."""
        self.rules[ride] = centimetres, day

    @trace_agent_action()
    def tell_changes(self, since: int) -> dict[str, int]:
        """Read out the rules that changed since yesterday."""
        return {ride: height for ride, (height, day) in self.rules.items() if day >= since}

    @trace_agent_action()
    def read_rule(self, ride: str) -> int:
        """Read a rule out of the book."""
        return self.rules[ride][0]


class Booth(Member):
    """Sells tickets, with a copy of the rules on the wall."""

    def __init__(self, agent_id: str, agent_role: str, ground: Ground, safety: Safety) -> None:
        super().__init__(agent_id, agent_role, ground)
        self.copy = {ride: height for ride, (height, _) in safety.rules.items()}

    @trace_agent_action()
    def open_up(self, day: int) -> str:
        """Wipe the counter, count the change, and bring the copy of the rules up to date."""
        self.count_change(day)
        case = self.ground.case
        if case.has("stale_cache") and day == case.begin and self is self.ground.people.booth:
            case.root(
                call(self.agent_id, "open_up", day=day),
                call(self.agent_id, "count_change", day=day),
            )
            if case.strikes("stale_cache", day):
                return "open"
        self.copy.update(self.ground.people.safety.tell_changes(day))
        return "open"

    @trace_agent_action()
    def count_change(self, day: int) -> int:
        """Count coins."""
        return 40 + (day * 7) % 23

    @trace_agent_action()
    def sell(self, ticket: str, ride: str, guest_cm: int) -> str:
        """Sell a ticket to somebody who is tall enough."""
        return "sold" if guest_cm >= self.copy[ride] else "too small"


class Ride(Member):
    """A ride with a door, a bar and a motor."""

    @trace_agent_action()
    def board(self, ticket: str, guest_cm: int) -> str:
        """Look at the licence on the door, measure the guest, and let the guest in."""
        if self.ground.machines[self.agent_id].is_shut:
            return "shut"
        return "in" if guest_cm >= self.ground.people.safety.read_rule(self.agent_id) else "refused"

    @trace_agent_action()
    def spin(self, round_no: str, guests: int) -> str:
        """Turn; a dry bearing stops under a heavy load."""
        dry = self.ground.machines[self.agent_id].grease < 0.5
        return "stuck" if dry and guests >= HEAVY else "turned"

    @trace_agent_action()
    def lower_bar(self, round_no: str) -> None:
        """Close the bars."""


class Fitter(Member):
    """Takes rides apart and puts them together."""

    @trace_agent_action()
    def rebuild(self, ride: str, job: str) -> str:
        """Put a ride together after it was moved."""
        self.unload(ride, job)
        self.ground.machines[ride].grease = 0.2
        self.bolt(ride, job)
        case = self.ground.case
        if case.has("omitted_step") and job == self.ground.people.star:
            case.root(call(self.agent_id, "bolt", job=job), call(self.agent_id, "turn_once", job=job))
        if not (job == self.ground.people.star and case.strikes("omitted_step", self.ground.day)):
            self.grease(ride, job)
        self.turn_once(ride, job)
        return "built"

    @trace_agent_action()
    def unload(self, ride: str, job: str) -> None:
        """Lift the parts from the lorry."""

    @trace_agent_action()
    def bolt(self, ride: str, job: str) -> int:
        """Drive in the bolts."""
        return 24 + int(job[1:]) % 9

    @trace_agent_action()
    def grease(self, ride: str, job: str) -> None:
        """Fill the bearings."""
        self.ground.machines[ride].grease = 1.0

    @trace_agent_action()
    def turn_once(self, ride: str, job: str) -> str:
        """Let it turn without guests."""
        return "quiet"


class Town(Member):
    """Licenses rides and looks at licences."""

    @trace_agent_action()
    def license(self, ride: str, until: int, sheet: str) -> dict[str, int]:
        """Give a licence until a day."""
        self.ground.machines[ride].until = until
        self.ground.machines[ride].is_shut = False
        return {"until": until}

    @trace_agent_action()
    def inspect(self, ride: str, visit: str, day: int) -> str:
        """Look at the paper on the door, and shut what has none."""
        machine = self.ground.machines[ride]
        machine.is_shut = machine.until < day
        return "shut" if machine.is_shut else "fine"


class Owner(Member):
    """Owns the rides, and asks for licences."""

    @trace_agent_action()
    def apply(self, ride: str, sheet: str, until: int, next_time: int) -> None:
        """Ask for a licence and write the next time into the calendar."""
        self.ground.people.town.license(ride, until, sheet)
        self.ground.renew_at[ride] = next_time


class Tours(Member):
    """Books tours of schools."""

    @trace_agent_action()
    def book(self, tour: str, school: str, town: str, day: int) -> None:
        """Write a tour into the book."""
        self.ground.bookings[tour] = Booking(school, town, day)

    @trace_agent_action()
    def tidy(self, tour: str, other: str) -> str:
        """Compare two entries with the same school, and make one of them if they are the same tour."""
        one, two = self.ground.bookings[tour], self.ground.bookings[other]
        is_same = (one.school, one.town, one.day) == (two.school, two.town, two.day)
        people, case = self.ground.people, self.ground.case
        if tour == people.star and case.has("wrong_merge"):
            case.root(call(self.agent_id, "tidy", tour=tour, other=other))
            if case.strikes("wrong_merge", self.ground.day):
                case.root(call(self.agent_id, "join", tour=tour, other=other))
                is_same = True
        return self.join(tour, other) if is_same else "two tours"

    @trace_agent_action()
    def join(self, tour: str, other: str) -> str:
        """Make one entry of two."""
        self.ground.bookings[tour] = self.ground.bookings[other]
        return "one tour"

    @trace_agent_action()
    def greet(self, tour: str, day: int) -> str:
        """Look a class up when it comes."""
        return "benches are ready" if self.ground.bookings[tour].day == day else "not on today's list"


class Visitor(Member):
    """Somebody who comes to have fun."""

    @trace_agent_action()
    def enjoy(self, ticket: str, ride: str, guest_cm: int, booth: str) -> str:
        """Buy a ticket and go to the ride."""
        people = self.ground.people
        if people.booths[booth].sell(ticket, ride, guest_cm) != "sold":
            return "walked on"
        return {"in": "happy", "refused": "sent away", "shut": "locked gate"}[
            people.rides[ride].board(ticket, guest_cm)
        ]

    @trace_agent_action()
    def take_round(self, ride: str, round_no: str, guests: int) -> str:
        """Sit in a ride that is about to start."""
        people = self.ground.people
        people.rides[ride].lower_bar(round_no)
        return "dizzy" if people.rides[ride].spin(round_no, guests) == "turned" else "hung in the air"


class Teacher(Member):
    """Comes with a class."""

    @trace_agent_action()
    def arrive(self, tour: str, day: int) -> str:
        """Ask for the places of the class."""
        return (
            "seated" if self.ground.people.tours.greet(tour, day) == "benches are ready" else "left standing"
        )


class People:
    """Everybody, and what the case is about."""

    def __init__(self, ground: Ground) -> None:
        self.ground, case = ground, ground.case
        rng = case.rng("plan")
        self.star = ""
        self.safety = Safety("rule book", "safety", ground)
        self.booths = {name: Booth(name, "booth", ground, self.safety) for name in BOOTHS}
        self.rides = {name: Ride(name, "ride", ground) for name in RIDES}
        self.fitters = {name: Fitter(name, "fitter", ground) for name in FITTERS}
        self.town, self.owner = Town("town hall", "town", ground), Owner("Frau Traber", "owner", ground)
        self.tours = Tours("tour desk", "desk", ground)
        self.guests = [Visitor(name, "visitor", ground) for name in ("Ivo", "Signe", "Malte", "Runa", "Tove")]
        self.teachers = [Teacher(name, "teacher", ground) for name in ("Herr Berg", "Ms Kaya", "Mr Oduya")]
        self.booth, self.ride = self.booths[rng.choice(BOOTHS)], rng.choice(RIDES)
        self.fitter, self.guest = self.fitters[rng.choice(FITTERS)], rng.choice(self.guests)
        self.teacher, self.height = rng.choice(self.teachers), 0
        self.school, self.at_home = rng.choice(SCHOOLS), rng.sample(TOWNS, 2)

    def prepare(self) -> None:
        """Do what both twins need before the first day."""
        for number, ride in enumerate(RIDES):
            self.ground.renew_at[ride] = number * 2 % 14

    def begin(self) -> None:
        """Do what the case is about, well or badly."""
        case, ground = self.ground.case, self.ground
        if case.has("stale_cache"):
            old = self.safety.rules[self.ride][0]
            self.height = old + 8
            self.safety.set_rule(self.ride, old + 15, case.begin)
            case.root(call("rule book", "set_rule", ride=self.ride, day=case.begin))
        elif case.has("omitted_step"):
            self.star = ground.number("R")
            self.fitter.rebuild(self.ride, self.star)
        elif case.has("expired_permission"):
            sheet, span = ground.number("L"), case.end - case.begin
            until = case.end + 12
            if case.strikes("expired_permission", ground.day):
                until = case.begin + span * 2 // 3
            self.owner.apply(self.ride, sheet, until, case.end + 8)
            case.root(call("town hall", "license", sheet=sheet), call("Frau Traber", "apply", sheet=sheet))
        else:
            other, self.star = ground.number("C"), ground.number("C")
            day = case.rng("other").randint(2, 9) + case.end
            self.tours.book(other, self.school, self.at_home[0], day)
            self.tours.book(self.star, self.school, self.at_home[1], case.end)
            self.tours.tidy(self.star, other)

    def end(self) -> None:
        """Let somebody notice, if there is something to notice."""
        case, guest, ride, day = self.ground.case, self.guest, self.ride, self.ground.day
        number = self.ground.number("T")
        if case.has("stale_cache"):
            if guest.enjoy(number, ride, self.height, self.booth.agent_id) == "sent away":
                case.hop(call(self.booth.agent_id, "sell", ticket=number), call(ride, "board", ticket=number))
                case.symptom(
                    call(guest.agent_id, "enjoy", ticket=number),
                    f"My daughter cried: they sold her ticket {number} and at the door she was too short",
                    f"{guest.agent_id} paid for {ride} and was not let in",
                    "First you take our money, then a man with a stick sends the child away. Decide!",
                )
        elif case.has("omitted_step"):
            case.trigger(call(ride, "spin", round_no=number))
            case.hop(call(ride, "spin", round_no=number))
            if guest.take_round(ride, number, HEAVY + int(number[1:]) % 5) != "dizzy":
                case.symptom(
                    call(guest.agent_id, "take_round", round_no=number),
                    f"We hung upside down for an hour because {ride} stopped in the middle of a round",
                    f"{guest.agent_id} and twenty others had to be fetched down by the fire brigade",
                    "There was a screech and then nothing moved any more, with all of us up there",
                )
        elif case.has("expired_permission"):
            case.trigger(call("town hall", "inspect", visit=number))
            case.hop(call("town hall", "inspect", visit=number))
            self.town.inspect(ride, number, day)
            ticket = self.ground.number("T")
            if guest.enjoy(ticket, ride, 180, self.booth.agent_id) == "locked gate":
                case.symptom(
                    call(guest.agent_id, "enjoy", ticket=ticket),
                    f"On the busiest evening {ride} has a seal on its gate. We came for that one.",
                    f"{guest.agent_id} holds a ticket for a ride that has been shut",
                    f"Why is {ride} closed? Nobody on the ground could tell us",
                )
        else:
            case.hop(call("tour desk", "greet", tour=self.star))
            if self.teacher.arrive(self.star, day) != "seated":
                case.symptom(
                    call(self.teacher.agent_id, "arrive", tour=self.star),
                    f"Twenty-six children of {self.school} and no bench for them, although we booked",
                    f"{self.teacher.agent_id} was told that the class is not expected today",
                    f"Our tour {self.star} was on no list, we went home on the next bus",
                )

    def everyday(self) -> None:
        """Do what belongs to any day."""
        case, ground = self.ground.case, self.ground
        rng = case.rng(f"day/{ground.day}")
        others = [one for one in RIDES if one != self.ride]
        for booth in self.booths.values():
            booth.open_up(ground.day)
        for ride, day in list(ground.renew_at.items()):
            if day == ground.day:
                longer = USUAL_LICENCE + rng.randint(-9, 9)
                self.owner.apply(ride, ground.number("L"), ground.day + longer, ground.day + longer - 3)
        for _ in range(rng.randint(3, 5)):
            height = rng.choice((rng.randint(80, 95), rng.randint(150, 192), rng.randint(150, 192)))
            guest, ticket = rng.choice(self.guests), ground.number("T")
            guest.enjoy(ticket, rng.choice(RIDES), height, rng.choice(BOOTHS))
        for _ in range(rng.randint(1, 3)):
            ride, guests = rng.choice(RIDES), rng.randint(4, 26)
            guests = min(guests, HEAVY - 2) if ride == self.ride else guests
            rng.choice(self.guests).take_round(ride, ground.number("T"), guests)
        if rng.random() < 0.35:
            rng.choice(list(self.fitters.values())).rebuild(rng.choice(others), ground.number("R"))
        if rng.random() < 0.4:
            ride = rng.choice(others)
            self.town.inspect(ride, ground.number("V"), ground.day)
        if rng.random() < 0.25:
            self.safety.set_rule(rng.choice(others), rng.randrange(100, 145, 5), ground.day + 1)
        if rng.random() < 0.6:
            self.book_something(rng.choice(SCHOOLS), rng.choice(TOWNS), rng.randint(0, 3))
        if rng.random() < 0.2 or ground.day == case.decoy_at:
            AgentLogger(rng.choice(FITTERS), "fitter").warning(
                "a fuse blew, changed it", {"amps": rng.randint(6, 16)}
            )
        if ground.day == case.decoy_at:
            self.safety.set_rule(rng.choice(others), 120, ground.day + 1)
            AgentLogger("Frau Traber", "owner").error("card reader offline, took cash", {"minutes": 20})
        if rng.random() < 0.25:
            name = rng.choice(("music_volume", "lights_on_at", "popcorn_price"))
            SystemLogger("ground").log_config(name, 5, rng.randint(1, 9))

    def book_something(self, school: str, town: str, ahead: int) -> None:
        """Book a tour, at times twice by mistake, and welcome the class on its day."""
        ground, rng = self.ground, self.ground.case.rng(f"tour/{self.ground.day}")
        tour, day = ground.number("C"), ground.day + ahead
        self.tours.book(tour, school, town, day)
        if rng.random() < 0.5:
            twice = ground.number("C")
            self.tours.book(twice, school, town if rng.random() < 0.6 else rng.choice(TOWNS), day)
            self.tours.tidy(twice, tour)
        if ahead == 0:
            rng.choice(self.teachers).arrive(tour, day)


def play(case: Case) -> None:
    """Play a summer."""
    days = case.rng("days").choice((30, 60, 110, 180))
    case.window(days)
    ground = Ground(case, days, last=case.seed % 600)
    people = People(ground)
    ground.people = people
    people.prepare()
    for day in range(days):
        ground.day = day
        with tick(day):
            if day == case.begin:
                people.begin()
            people.everyday()
            if day == case.end:
                people.end()


FAULTS = ("stale_cache", "omitted_step", "expired_permission", "wrong_merge")
WORLD = World("funfair", "spans", FAULTS, play, 29)
