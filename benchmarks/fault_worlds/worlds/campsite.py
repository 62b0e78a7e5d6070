"""A camp site: guests come and go, borrow adapters, plug in, cook, wait for parcels, and the crew mends what breaks.

Plain classes that `instrument` traces; a tick is a day, and calls nest in each other.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from Agent import AgentLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

FIELDS = ("birch", "lake", "dune")
SORTS = ("gully", "lamp", "tap", "fence")
CREW = ("Jonas", "Petra")
WATTS = {"fan": 60, "lights": 40, "fridge": 900, "kettle": 1100}
NAMES = ("Aldo", "Birte", "Cyril", "Dora", "Emre", "Fenna", "Gus", "Hetty", "Ivo", "Jule")
BOXES, COUNTER = ("porch", "steps"), "back counter"
VOLTS = 230


@dataclass
class Job:
    """Something that has to be mended."""

    number: str
    sort: str
    place: str
    day: int


@dataclass
class Site:
    """What is really true of the place, and the plan of one case."""

    case: Case
    day: int = 0
    count: int = 0
    crew: Crew = field(init=False)
    clogged: set[str] = field(default_factory=set)
    boxes: dict[str, int] = field(default_factory=dict)
    shelves: dict[str, str] = field(default_factory=dict)

    def number(self, letter: str) -> str:
        """Return the next number of a job, a guest or a parcel."""
        self.count += 1
        return f"{letter}{self.count + self.case.seed % 700}"


class Mender:
    """Does jobs in the order of a list of sorts."""

    def __init__(self, agent_id: str, site: Site) -> None:
        self.agent_id, self.site = agent_id, site
        self.order: list[str] = list(SORTS)
        self.jobs: list[Job] = []

    def sort_list(self, order: list[str], note: str) -> None:
        """Decide which sort of job comes first."""
        self.order = order

    def take_job(self, number: str, sort: str, place: str) -> None:
        """Write a job down."""
        self.jobs.append(Job(number, sort, place, self.site.day))

    def mend(self, number: str, sort: str, place: str) -> str:
        """Do a job."""
        self.site.clogged.discard(place)
        return "mended"

    def work(self, hours: int) -> list[str]:
        """Do as many jobs as fit into the hours, and strike off lamps that guests have mended themselves."""
        self.jobs = [job for job in self.jobs if job.sort == "gully" or job.day > self.site.day - 4]
        self.jobs.sort(key=lambda job: (self.order.index(job.sort), job.day))
        now, self.jobs = self.jobs[:hours], self.jobs[hours:]
        for job in now:
            self.mend(job.number, job.sort, job.place)
        return [job.number for job in self.jobs]


class Local:
    """Somebody, or something, on the site."""

    def __init__(self, agent_id: str, site: Site) -> None:
        self.agent_id, self.site = agent_id, site


class Gully(Local):
    """Takes the water of a wash-house away."""

    def swallow(self, litres: int) -> str:
        """Let rain through."""
        return "overflows" if self.agent_id in self.site.clogged and litres > 60 else "runs off"


class Kiosk:
    """Lends adapters for the power posts, and fetches back what guests have returned."""

    def __init__(self, agent_id: str, site: Site, spare: int) -> None:
        self.agent_id, self.site, self.spare = agent_id, site, spare

    def fetch_box(self, place: str) -> int:
        """Empty the box of returned adapters."""
        found = self.site.boxes.pop(place, 0)
        self.spare += found
        return found

    def lend(self, guest: str) -> str:
        """Give an adapter to a guest."""
        if self.spare == 0:
            return "none left"
        self.spare -= 1
        return "lent"


class Gate(Local):
    """The barrier with its warden, who lets people in and out."""

    box = BOXES[0]

    def move_box(self, place: str, reason: str) -> None:
        """Put the box for returned things somewhere else."""
        self.box = place

    def check_in(self, guest: str, pitch: int, wants_adapter: bool) -> str:
        """Let a guest in."""
        return self.site.crew.kiosk.lend(guest) if wants_adapter else "no adapter needed"

    def check_out(self, guest: str, has_adapter: bool) -> str:
        """Let a guest out and put what was borrowed into the box."""
        if has_adapter:
            self.site.boxes[self.box] = self.site.boxes.get(self.box, 0) + 1
        return self.box if has_adapter else "bye"


class Post(Local):
    """A power post with a fuse."""

    ampere = 10

    def load_value(self, ampere: int) -> None:
        """Take over a new limit."""
        self.ampere = ampere

    def feed(self, guest: str, things: list[str]) -> str:
        """Feed what a guest plugs in."""
        return "tripped" if sum(WATTS[one] for one in things) > self.ampere * VOLTS else "on"


class Office(Local):
    """Sets what can be set on the site."""

    def set_value(self, setting: str, value: int) -> str:
        """Change a setting, and pass it on to the post that it belongs to."""
        post = self.site.crew.posts.get(setting.removeprefix("limit_"))
        if post is not None:
            post.load_value(value)
        return "noted"


class Porter(Local):
    """Carries parcels to the shelves of the fields."""

    def carry(self, parcel: str, shelf: str) -> None:
        """Lay a parcel down."""
        self.site.shelves[parcel] = shelf

    def look_for(self, parcel: str, shelf: str) -> str:
        """Look for a parcel on a shelf."""
        return "here" if self.site.shelves.get(parcel) == shelf else "not here"


class Guest(Local):
    """Somebody on holiday."""

    def settle(self, pitch: int, answer: str) -> str:
        """Build up the tent and find out whether there is light."""
        return {"none left": "in the dark", "not here": "no tent"}.get(answer, "cosy")

    def wake(self, pitch: int, power: str, ground: str) -> str:
        """Look around in the morning."""
        return "milk gone off" if power == "tripped" else ("wet" if ground == "overflows" else "slept well")


class Crew:
    """Everybody and everything that works on the site."""

    def __init__(self, site: Site) -> None:
        case = site.case
        self.menders = {name: Mender(name, site) for name in CREW}
        self.gullies = {f"gully {name}": Gully(f"gully {name}", site) for name in FIELDS}
        spare = max(3, case.end - case.begin + 2)
        self.kiosk, self.gate = Kiosk("kiosk", site, spare), Gate("gatehouse", site)
        self.lake_gate = Gate("lake gate", site)
        self.posts = {name: Post(name, site) for name in ("post_a", "post_b", "post_c")}
        self.office, self.porter = Office("Ms Brandt", site), Porter("porter", site)
        self.guests = {name: Guest(name, site) for name in NAMES}


class Season:
    """Plays the days of a season."""

    def __init__(self, case: Case, site: Site) -> None:
        self.case, self.site, self.crew = case, site, (crew := site.crew)
        rng = case.rng("plan")
        self.guest, self.field = rng.choice(NAMES), rng.choice(FIELDS)
        self.post, self.mender = rng.choice(list(crew.posts)), rng.choice(CREW)
        self.gully, self.shelf = f"gully {self.field}", f"{self.field} {rng.randint(1, 3)}{rng.randint(4, 9)}"
        self.parcel, self.pitch = f"DX{rng.randint(300, 800)}", rng.randint(11, 89)
        self.leaving: list[tuple[int, str]] = []
        self.sent: list[tuple[str, str]] = []

    def report(self, mender: str, sort: str, place: str) -> str:
        """Report something broken."""
        number = self.site.number("B")
        if sort == "gully":
            self.site.clogged.add(place)
        self.crew.menders[mender].take_job(number, sort, place)
        return number

    def mending(self, day: int) -> None:
        """Report what broke, mend some of it."""
        case, rng, crew = self.case, self.case.rng(f"mend/{day}"), self.crew
        now, busy = day == case.begin, self.mender if case.has("starved_queue") else ""
        orders = [rng.sample(SORTS, 4) for _ in range(2)]
        if now and busy:
            order = ["gully", "lamp", "tap", "fence"]
            order = [*order[1:], "gully"] if case.strikes("starved_queue", day) else order
            case.root(call(busy, "sort_list", note=f"day {day}"))
            crew.menders[busy].sort_list(order, f"day {day}")
        for name, order in zip(CREW, orders, strict=True):
            if rng.random() < 0.15 and (name != busy or day < case.begin):
                crew.menders[name].sort_list(order, f"week {day // 7}, {name}")
        for name in CREW:
            for _ in range(5 if name == busy else rng.randint(1, 3)):
                sort = rng.choice(SORTS[1:])
                self.report(name, sort, f"{sort} {rng.randint(1, 60)}")
        other = next(name for name in CREW if name != busy)
        places = [place for place in crew.gullies if place != self.gully or not busy]
        if rng.random() < 0.4:
            self.report(other, "gully", rng.choice(places))
        if now and busy:
            case.hop(call(busy, "take_job", number=self.report(busy, "gully", self.gully)))
        for name in CREW:
            crew.menders[name].work(4)

    def rain(self, day: int) -> None:
        """Let it rain, and let a guest wake near a gully."""
        case, rng = self.case, self.case.rng(f"rain/{day}")
        planned = day == case.end and case.has("starved_queue")
        if not planned and rng.random() < 0.6:
            return
        places = [place for place in self.crew.gullies if place != self.gully] or [self.gully]
        place = self.gully if planned else rng.choice(places)
        litres = rng.randint(70, 95) if planned else rng.randint(5, 60)
        ground = self.crew.gullies[place].swallow(litres)
        guest = self.guest if planned else rng.choice(NAMES)
        if planned:
            case.trigger(call(place, "swallow", litres=litres))
            case.hop(call(place, "swallow", litres=litres, result=ground))
        if self.crew.guests[guest].wake(self.pitch, "on", ground) == "wet":
            case.symptom(
                call(guest, "wake", ground=ground),
                f"Our tent stood in dirty water this morning, pitch {self.pitch}, everything is wet",
                f"{guest} had to move in the night because the {self.field} wash-house flooded the meadow",
                "It rained for an hour and the whole row was under water. Nobody looks after this place!",
            )

    def coming_and_going(self, day: int) -> None:
        """Let guests leave and arrive."""
        case, rng, gate, mine = self.case, self.case.rng(f"guests/{day}"), self.crew.gate, self.leaving
        if day == case.begin and case.has("leaked_resource"):
            case.root(call("gatehouse", "move_box", reason=f"painters, day {day}"))
            place = COUNTER if case.strikes("leaked_resource", day) else BOXES[0]
            gate.move_box(place, f"painters, day {day}")
        elif rng.random() < 0.1 and not (case.has("leaked_resource") and day > case.begin):
            gate.move_box(rng.choice(BOXES), rng.choice(("sun", "wind", "fair")))
        if rng.random() < 0.3:
            self.crew.lake_gate.move_box(rng.choice((*BOXES, COUNTER)), f"painters, {day}")
        for due, name in [one for one in mine if one[0] <= day]:
            mine.remove((due, name))
            gate.check_out(name, has_adapter=True)
            if case.has("leaked_resource") and day >= case.begin and len(case.roots) < 4:
                case.root(call("gatehouse", "check_out", guest=name))
        for place in BOXES:
            self.crew.kiosk.fetch_box(place)
        for number in range(rng.randint(2, 4)):
            guest, pitch, stay = f"{rng.choice(NAMES)}/{day}{number}", rng.randint(11, 89), rng.randint(1, 3)
            answer = gate.check_in(guest, pitch, wants_adapter=number == 0)
            if number == 0 and answer == "lent":
                mine.append((day + stay, guest))
            elif number:
                gate.check_out(f"{rng.choice(NAMES)}/{day - 1}{number}", has_adapter=False)
            who = self.crew.guests[guest.partition("/")[0]]
            if who.settle(pitch, answer) == "in the dark":
                case.hop(call("kiosk", "lend", guest=guest), call("gatehouse", "check_in", guest=guest))
                case.symptom(
                    call(who.agent_id, "settle", pitch=pitch, answer=answer),
                    f"No current for our van on pitch {pitch}, they have nothing to plug it in with",
                    f"{who.agent_id} was told at the kiosk that there is nothing left for her, in a half-empty site",
                    f"{who.agent_id} had no light because you ran out of those blue plugs",
                )

    def plugging_in(self, day: int) -> None:
        """Change settings and let guests plug in."""
        case, rng, office = self.case, self.case.rng(f"power/{day}"), self.crew.office
        if day == case.begin and case.has("config_change"):
            value = 6 if case.strikes("config_change", day) else 12
            case.root(call("Ms Brandt", "set_value", setting=f"limit_{self.post}", value=value))
            office.set_value(f"limit_{self.post}", value)
        if rng.random() < 0.3 or day == case.decoy_at:
            name = rng.choice(("quiet_hour", "shower_minutes", "barrier_seconds", "pool_degrees"))
            office.set_value(name, rng.randint(5, 23))
        posts = [name for name in self.crew.posts if name != self.post]
        if rng.random() < 0.2:
            office.set_value(f"limit_{rng.choice(posts)}", rng.choice((10, 11, 13, 16)))
        for _ in range(rng.randint(1, 2)):
            name, guest, pitch = rng.choice(list(self.crew.posts)), rng.choice(NAMES), rng.randint(11, 89)
            things = rng.choice((["fan"], ["lights", "fan"], ["fridge"], ["kettle"]))
            power = self.crew.posts[name].feed(guest, things)
            self.crew.guests[guest].wake(pitch, power, "dry")
        if day == case.end and case.has("config_change"):
            things = ["fridge", "kettle", "lights"]
            power = self.crew.posts[self.post].feed(self.guest, things)
            case.hop(call(self.post, "feed", guest=self.guest, things=things))
            case.trigger(call(self.post, "feed", guest=self.guest, things=things))
            if self.crew.guests[self.guest].wake(self.pitch, power, "dry") == "milk gone off":
                case.symptom(
                    call(self.guest, "wake", power=power),
                    f"The baby's milk in our fridge was warm at six, pitch {self.pitch}",
                    f"{self.guest} lost all the food of the week, there was no current since midnight",
                    f"{self.guest} cooked tea and the whole row went dark, we pay for this",
                )

    def parcels(self, day: int) -> None:
        """Carry parcels and let guests ask for them."""
        case, rng, crew = self.case, self.case.rng(f"parcels/{day}"), self.crew
        for _ in range(rng.randint(0, 2)):
            parcel, shelf = self.site.number("DX9"), f"{rng.choice(FIELDS)} {rng.randint(14, 39)}"
            crew.porter.carry(parcel, shelf)
            self.sent.append((parcel, shelf))
        if day == case.begin and case.has("misrouted_thing"):
            name, _, digits = self.shelf.partition(" ")
            shelf = f"{name} {digits[::-1]}" if case.strikes("misrouted_thing", day) else self.shelf
            case.root(call("porter", "carry", parcel=self.parcel))
            crew.porter.carry(self.parcel, shelf)
        if self.sent and rng.random() < 0.6:
            crew.porter.look_for(*self.sent.pop(0))
        if day == case.end and case.has("misrouted_thing"):
            found = crew.porter.look_for(self.parcel, self.shelf)
            crew.gate.check_in(f"{self.guest}/{self.parcel}", self.pitch, wants_adapter=False)
            case.hop(call("porter", "look_for", parcel=self.parcel))
            case.hop(call("gatehouse", "check_in", guest=f"{self.guest}/{self.parcel}"))
            if crew.guests[self.guest].settle(self.pitch, found) == "no tent":
                case.symptom(
                    call(self.guest, "settle", answer=found),
                    f"My tent poles were sent ahead as {self.parcel} and nobody can find them",
                    f"{self.guest} has a tent without poles, and the post says it was delivered",
                    "Where is my parcel? I had to sleep in the car",
                )

    def run(self, days: int) -> None:
        """Play all days."""
        for day in range(days):
            rng, self.site.day = self.case.rng(f"rest/{day}"), day
            with tick(day):
                self.mending(day)
                self.coming_and_going(day)
                self.plugging_in(day)
                self.parcels(day)
                self.rain(day)
                if rng.random() < 0.15 or day == self.case.decoy_at:
                    AgentLogger("gatehouse", "gate").warning("barrier stuck, lifted by hand", {"day": day})


def play(case: Case) -> None:
    """Play a season on the site."""
    site = Site(case)
    days = case.rng("days").randint(60, 110)
    case.window(days)
    site.crew = Crew(site)
    traced: tuple[tuple[type, str, tuple[str, ...]], ...] = (
        (Mender, "crew", ("sort_list", "take_job", "mend", "work")),
        (Gully, "drain", ("swallow",)),
        (Kiosk, "shop", ("fetch_box", "lend")),
        (Gate, "gate", ("move_box", "check_in", "check_out")),
        (Post, "device", ("load_value", "feed")),
        (Office, "office", ("set_value",)),
        (Porter, "porter", ("carry", "look_for")),
        (Guest, "guest", ("settle", "wake")),
    )
    with ExitStack() as stack:
        for cls, role, methods in traced:
            stack.enter_context(instrument(cls, methods, agent_role=role, ignore=("site", "jobs")))
        Season(case, site).run(days)


FAULTS = ("starved_queue", "leaked_resource", "config_change", "misrouted_thing")
WORLD = World("campsite", "spans", FAULTS, play, 26)
