"""A day-care centre: an office keeps the forms, a kitchen cooks, a nurse gives drops, and teachers look after the children.

Decorated methods that call each other; a tick is a day.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from Agent import AgentLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

GROUPS = {"Hedgehogs": "Marit", "Otters": "Bram", "Robins": "Solveig"}
CHILDREN = ("Pim", "Ottilie", "Juno", "Karel", "Mila", "Ravi", "Tess", "Nils", "Ada", "Bo", "Leni", "Yusuf")
FOODS = ("egg", "nuts", "milk", "fish", "wheat", "soy")
DISHES = {
    "pancakes": ("egg", "milk", "wheat"),
    "rice pot": (),
    "fish pie": ("fish", "milk"),
    "nut loaf": ("nuts", "wheat"),
    "noodles": ("soy", "wheat"),
    "lentils": (),
}
SERVICE = ("bleed_pipes", "refill_salt", "test_valve", "note_pressure")
ROOMS = ("sun room", "moon room", "nest", "gym")
CLERKS = ("Mrs Okafor", "Mr Lindh")


@dataclass
class Form:
    """What the office knows about a child."""

    avoids: set[str] = field(default_factory=set)
    morning: int = 2
    noon: int = 2


class Person:
    """Anybody who works here."""

    def __init__(self, agent_id: str, agent_role: str) -> None:
        self.agent_id, self.agent_role = agent_id, agent_role


class Kitchen(Person):
    """Cooks from cards, which are copies of the forms."""

    trace_ignore = ("office", "cards")

    def __init__(self, office: dict[str, Form]) -> None:
        super().__init__("kitchen", "cook")
        self.office = office
        self.cards = {name: set(form.avoids) for name, form in office.items()}

    @trace_agent_action
    def pull_card(self, child: str) -> int:
        """Copy a form again."""
        self.cards[child] = set(self.office[child].avoids)
        return len(self.cards[child])

    @trace_agent_action
    def plate(self, child: str, dish: str, day: int) -> str:
        """Fill a plate, or take the spare dish for those who must not have it."""
        return "lentils" if self.cards[child] & set(DISHES[dish]) else dish


class Clerk(Person):
    """Keeps forms, books buses."""

    trace_ignore = ("forms", "kitchen", "company")

    def __init__(self, agent_id: str, forms: dict[str, Form], kitchen: Kitchen, company: BusCompany) -> None:
        super().__init__(agent_id, "office")
        self.forms, self.kitchen, self.company = forms, kitchen, company

    @trace_agent_action
    def change_diet(self, child: str, avoids: list[str], day: int) -> None:
        """Write down what a child must not eat."""
        self.forms[child].avoids = set(avoids)

    @trace_agent_action
    def write_drops(self, child: str, morning: int, noon: int, day: int) -> None:
        """Write down how many drops a child gets, as the doctor's letter says."""
        self.forms[child].morning, self.forms[child].noon = morning, noon

    @trace_agent_action
    def book_bus(self, group: str, trip: str, date: int) -> str:
        """Book a bus for a trip."""
        return self.company.take_booking(group, trip, date)


class BusCompany(Person):
    """Sends buses on the days for which they are booked."""

    trace_ignore = ("bookings",)

    def __init__(self) -> None:
        super().__init__("Vossbus", "company")
        self.bookings: dict[int, set[str]] = {}

    @trace_agent_action
    def take_booking(self, group: str, trip: str, date: int) -> str:
        """Enter a booking."""
        self.bookings.setdefault(date, set()).add(group)
        return f"{group} on {date}"

    @trace_agent_action
    def drive(self, group: str, day: int) -> str:
        """Look whether a bus goes today."""
        return "at the door" if group in self.bookings.get(day, ()) else "no bus today"


class Nurse(Person):
    """Gives drops when children cough."""

    trace_ignore = ("forms",)

    def __init__(self, agent_id: str, forms: dict[str, Form]) -> None:
        super().__init__(agent_id, "nurse")
        self.forms = forms

    @trace_agent_action
    def give_drops(self, child: str, when: str, day: int) -> int:
        """Give as many drops as the form says."""
        return self.forms[child].morning if when == "morning" else self.forms[child].noon


class Caretaker(Person):
    """Services the heaters, a room at a time."""

    trace_ignore = ("salt",)

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id, "caretaker")
        self.salt = dict.fromkeys(ROOMS, True)

    @trace_agent_action
    def open_heater(self, room: str, day: int) -> None:
        """Empty a heater before its service."""
        self.salt[room] = False

    @trace_agent_action
    def do_step(self, room: str, step: str, day: int) -> str:
        """Do one step of a service."""
        if step == "refill_salt":
            self.salt[room] = True
        return "done"


class Heater(Person):
    """Warms a room."""

    trace_ignore = ("caretaker",)

    def __init__(self, agent_id: str, caretaker: Caretaker) -> None:
        super().__init__(agent_id, "device")
        self.caretaker = caretaker

    @trace_agent_action
    def warm(self, outside: int, day: int) -> int:
        """Heat; hard frost needs a boiler with salt."""
        return 21 if outside > -8 or self.caretaker.salt[self.agent_id] else 9


class Teacher(Person):
    """Looks after a group."""

    trace_ignore = ("house",)

    def __init__(self, agent_id: str, house: House) -> None:
        super().__init__(agent_id, "teacher")
        self.house = house

    @trace_agent_action
    def serve_lunch(self, child: str, dish: str, day: int) -> str:
        """Give a child its plate, and look at the child afterwards."""
        plate = self.house.kitchen.plate(child, dish, day)
        return self.house.kids[child].eat(plate, day)

    @trace_agent_action
    def treat_cough(self, child: str, when: str, day: int) -> str:
        """Send for the nurse."""
        drops = self.house.nurse.give_drops(child, when, day)
        return self.house.kids[child].rest(drops, when, day)

    @trace_agent_action
    def go_out(self, trip: str, group: str, day: int) -> str:
        """Stand at the door with all children."""
        return "left" if self.house.company.drive(group, day) == "at the door" else "stayed at the door"

    @trace_agent_action
    def gather(self, room: str, outside: int, day: int) -> str:
        """Sing in the morning."""
        return "sang" if self.house.heaters[room].warm(outside, day) > 15 else "went home blue with cold"


class Child(Person):
    """Eats, coughs, sleeps."""

    def __init__(self, agent_id: str, allergies: Iterable[str]) -> None:
        super().__init__(agent_id, "child")
        self.allergies = set(allergies)

    @trace_agent_action
    def eat(self, plate: str, day: int) -> str:
        """Eat; what must not be eaten shows on the skin."""
        return "red spots" if self.allergies & set(DISHES[plate]) else "fine"

    @trace_agent_action
    def rest(self, drops: int, when: str, day: int) -> str:
        """Rest after drops; many make one sleepy, which is meant at noon only."""
        return "cannot be woken" if drops > 4 and when == "morning" else "better"


class House:
    """Everybody, and the plan of a case."""

    def __init__(self, case: Case) -> None:
        self.case, rng = case, case.rng("plan")
        self.forms = {name: Form() for name in CHILDREN}
        self.child, self.other = rng.sample(CHILDREN, 2)
        self.group, self.room, self.clerk = rng.choice(list(GROUPS)), rng.choice(ROOMS), rng.choice(CLERKS)
        self.food = rng.choice(("egg", "nuts", "fish", "soy"))
        self.dish = next(name for name, foods in DISHES.items() if self.food in foods)
        self.kids = {name: Child(name, ()) for name in CHILDREN}
        for name in CHILDREN:
            if name != self.child and rng.random() < 0.4:
                self.kids[name].allergies = {rng.choice(FOODS)}
                self.forms[name].avoids = set(self.kids[name].allergies)
        self.kitchen, self.company = Kitchen(self.forms), BusCompany()
        self.clerks = {name: Clerk(name, self.forms, self.kitchen, self.company) for name in CLERKS}
        self.nurse, self.caretaker = Nurse("Sister Ruth", self.forms), Caretaker("Henk")
        self.heaters = {name: Heater(name, self.caretaker) for name in ROOMS}
        self.teachers = {group: Teacher(name, self) for group, name in GROUPS.items()}
        self.trips: dict[int, list[tuple[str, str]]] = {}
        self.serviced: set[int] = set()

    def group_of(self, child: str) -> str:
        """Return the group of a child."""
        return list(GROUPS)[CHILDREN.index(child) % len(GROUPS)]

    def lunch(self, day: int) -> None:
        """Change diets, cook, eat."""
        case, rng = self.case, self.case.rng(f"lunch/{day}")
        planned = case.has("stale_cache")
        if rng.random() < 0.25:
            child = rng.choice([name for name in CHILDREN if name != self.child])
            more = sorted({*self.kids[child].allergies, rng.choice(FOODS)})
            self.clerks[rng.choice(CLERKS)].change_diet(child, more, day)
            if rng.random() < 0.7:  # the card may wait, as long as the child can stand the food
                self.kitchen.pull_card(child)
        if planned and day == case.begin:
            self.kids[self.child].allergies = {self.food}  # as the doctor found out
            self.clerks[self.clerk].change_diet(self.child, [self.food], day)
            case.root(call(self.clerk, "change_diet", child=self.child, day=day))
            if not case.strikes("stale_cache", day):
                self.kitchen.pull_card(self.child)
        elif rng.random() < 0.1:
            self.kitchen.pull_card(rng.choice([name for name in CHILDREN if name != self.child]))
        harmless = [dish for dish, foods in DISHES.items() if self.food not in foods]
        dish = rng.choice(harmless)
        eaters = rng.sample(CHILDREN, 5)
        if planned and day == case.end:
            dish, eaters = self.dish, list(dict.fromkeys([*eaters, self.child]))
        for child in eaters:
            teacher = self.teachers[self.group_of(child)]
            if teacher.serve_lunch(child, dish, day) == "red spots":
                case.hop(call("kitchen", "plate", child=child, day=day), call(child, "eat", day=day))
                case.symptom(
                    call(teacher.agent_id, "serve_lunch", child=child, day=day),
                    f"{child} came home with red spots all over, and we told you what must not be eaten",
                    f"You served {dish} to my daughter, she had to go to the emergency room",
                    "We handed in the letter of the doctor, and still he got that for lunch!",
                )

    def coughs(self, day: int) -> None:
        """Write drops down, treat coughs."""
        case, rng = self.case, self.case.rng(f"cough/{day}")
        if rng.random() < 0.35:
            child = rng.choice([name for name in CHILDREN if name != self.child])
            self.clerks[rng.choice(CLERKS)].write_drops(child, rng.randint(1, 4), rng.randint(1, 7), day)
        if case.has("swapped_fields") and day == case.begin:
            drops = (7, 3) if case.strikes("swapped_fields", day) else (3, 7)
            self.clerks[self.clerk].write_drops(self.child, *drops, day)
            case.root(call(self.clerk, "write_drops", child=self.child, day=day))
        sick = [(child, rng.choice(("morning", "noon"))) for child in rng.sample(CHILDREN, rng.randint(0, 2))]
        sick = [one for one in sick if one[0] != self.child]
        if case.has("swapped_fields") and day == case.end:
            sick.append((self.child, "morning"))
        for child, when in sick:
            teacher = self.teachers[self.group_of(child)]
            if teacher.treat_cough(child, when, day) == "cannot be woken":
                case.hop(
                    call("Sister Ruth", "give_drops", child=child, day=day), call(child, "rest", day=day)
                )
                case.symptom(
                    call(teacher.agent_id, "treat_cough", child=child, day=day),
                    f"{child} slept through the whole morning and was still dizzy at four",
                    "Our son could hardly stand when I fetched him, what did you give him?",
                    f"Sister Ruth gave {child} far too much of the cough medicine before ten",
                )

    def outings(self, day: int) -> None:
        """Book buses, go on trips."""
        case, rng = self.case, self.case.rng(f"trip/{day}")
        planned = case.has("off_by_one")
        if rng.random() < 0.35:
            group, date = rng.choice(list(GROUPS)), day + rng.randint(1, 9)
            if not planned or group != self.group:
                trip = f"{rng.choice(('farm', 'pool', 'theatre', 'aquarium'))} {day}"
                self.clerks[rng.choice(CLERKS)].book_bus(group, trip, date)
                self.trips.setdefault(date, []).append((group, trip))
        if planned and day == case.begin:
            trip = f"aquarium {day}"
            date = case.end + (1 if case.strikes("off_by_one", day) else 0)
            self.clerks[self.clerk].book_bus(self.group, trip, date)
            case.root(call(self.clerk, "book_bus", group=self.group, trip=trip))
            self.trips.setdefault(case.end, []).append((self.group, trip))
        for group, trip in self.trips.pop(day, []):
            teacher = self.teachers[group]
            if teacher.go_out(trip, group, day) == "stayed at the door":
                case.hop(call("Vossbus", "drive", group=group, day=day))
                case.symptom(
                    call(teacher.agent_id, "go_out", trip=trip, group=group),
                    f"The {group} waited in their raincoats for an hour, no bus, and then lunch was late",
                    f"{teacher.agent_id} had to tell the children that there is no {trip.split()[0]} today",
                    "All that packing for nothing. The trip just did not happen",
                )

    def heating(self, day: int) -> None:
        """Service heaters, sing in the rooms."""
        case, rng = self.case, self.case.rng(f"heat/{day}")
        planned = case.has("omitted_step") and day == case.begin
        rooms = [name for name in ROOMS if name != self.room] if case.has("omitted_step") else list(ROOMS)
        services = [self.room] if planned else ([rng.choice(rooms)] if rng.random() < 0.2 else [])
        for room in services:
            self.caretaker.open_heater(room, day)
            for step in SERVICE:
                if planned and step != "refill_salt":
                    case.root(call("Henk", "do_step", room=room, step=step, day=day))
                if step != "refill_salt" or not (planned and case.strikes("omitted_step", day)):
                    self.caretaker.do_step(room, step, day)
        del case.roots[2:]
        is_end = day == case.end and case.has("omitted_step")
        mornings = [(group, rng.choice(rooms), rng.randint(-7, 9)) for group in GROUPS]
        if is_end:
            mornings.append((self.group, self.room, -rng.randint(9, 15)))
        for group, room, outside in mornings:
            teacher = self.teachers[group]
            if teacher.gather(room, outside, day).startswith("went home"):
                case.hop(call(room, "warm", outside=outside, day=day))
                case.trigger(call(room, "warm", outside=outside, day=day))
                case.symptom(
                    call(teacher.agent_id, "gather", room=room, outside=outside),
                    f"Nine degrees in the {room} this morning, on the coldest day of the year",
                    f"{teacher.agent_id} rang us at nine to fetch the children again, it was freezing",
                    "I had to take a day off because you cannot heat",
                )

    def chores(self, day: int) -> None:
        """Do what belongs to any day."""
        rng = self.case.rng(f"rest/{day}")
        if rng.random() < 0.2:
            SystemLogger("centre").log_config(
                rng.choice(("doorbell", "nap_minutes", "fee")), rng.randint(1, 9), 10
            )
        if rng.random() < 0.15 or day == self.case.decoy_at:
            name = rng.choice((*GROUPS.values(), "kitchen"))
            AgentLogger(name, "cook" if name == "kitchen" else "teacher").warning(
                "glass broken, swept up", {"day": day}
            )


def play(case: Case) -> None:
    """Play some weeks of the centre."""
    days = case.rng("days").choice((14, 30, 60, 150))
    case.window(days)
    house = House(case)
    for day in range(days):
        with tick(day):
            for part in (house.heating, house.coughs, house.outings, house.chores, house.lunch):
                part(day)


FAULTS = ("stale_cache", "swapped_fields", "off_by_one", "omitted_step")
WORLD = World("daycare", "spans", FAULTS, play, 27)
