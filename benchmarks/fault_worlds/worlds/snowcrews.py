"""A city clears snow: probes in the roads, a yard for each quarter, lorries, a workshop, a planner, buses, walkers."""

from __future__ import annotations

import random
from typing import Any

from Agent import instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

QUARTERS = ("Lindenhof", "Marienberg", "Hafenviertel", "Obertor", "Auen")
PARK = "Auen"
STREETS = {
    "Lindenhof": ("Gartenstrasse", "Am Anger", "Kirchgasse", "Ringweg"),
    "Marienberg": ("Steiler Weg", "Bergallee", "Klostergasse", "Hohlweg"),
    "Hafenviertel": ("Kaistrasse", "Speicherweg", "Ankergasse", "Werftallee"),
    "Obertor": ("Torstrasse", "Marktplatz", "Wallgasse", "Schulgasse"),
    "Auen": ("Uferpfad", "Teichweg", "Weidenweg", "Wiesenpfad"),
}
STAIRS = ("Himmelsleiter", "Fishermens Steps", "Lower Stairs", "Chapel Steps", "Mill Stairs", "Station Steps")
HANDS = 4  # jobs that a yard's crew can do in an hour


class Planner:
    """Writes the rules by which yards work."""

    def __init__(self, yards: dict[str, Yard]) -> None:
        self.name, self.yards = "winter planning", yards

    def write_rule(self, quarter: str, rule: str, value: float) -> None:
        """Write a rule of a quarter."""
        self.yards[quarter].rules[rule] = value

    def meet(self, hour: int, guests: int) -> None:
        """Meet with the weather service."""

    def rank_jobs(self, quarter: str, sort: str, rank: int) -> None:
        """Say how urgent a sort of job is in a quarter; 1 is usual."""
        self.yards[quarter].ranks[sort] = rank


class Workshop:
    """Services lorries."""

    def __init__(self) -> None:
        self.name = "workshop hall 2"

    def jack_up(self, lorry: str, ticket: int) -> None:
        """Lift a lorry."""

    def hang_blade(self, lorry: str, ticket: int) -> None:
        """Hang the blade back on its arm."""

    def bolt_blade(self, lorry: str, ticket: int) -> None:
        """Bolt the blade to the arm."""

    def release(self, lorry: str, ticket: int) -> str:
        """Give a lorry back to its yard."""
        return "ready"

    def service(self, lorry: Lorry, ticket: int, todo: tuple[str, ...]) -> None:
        """Service a lorry, step by step."""
        lorry.is_bolted = lorry.is_bolted and "hang_blade" not in todo
        for step in todo:
            getattr(self, step)(lorry.name, ticket)
        lorry.is_bolted = lorry.is_bolted or "bolt_blade" in todo

    def order_parts(self, hour: int, pieces: int) -> None:
        """Order spare parts."""

    def swap_spreader(self, lorry: Lorry, ticket: int, part: str) -> None:
        """Put another spreading disc into a lorry."""
        lorry.part, lorry.tours = part, 0


class Lorry:
    """Grits and ploughs."""

    def __init__(self, name: str, wear: dict[str, float]) -> None:
        self.name, self.wear = name, wear
        self.part, self.tours, self.is_bolted = "disc-0", 0, True

    def grit(self, street: str, hour: int, wanted: float) -> float:
        """Spread salt; return how many grams lie on a square metre."""
        self.tours += 1
        noise = random.Random(f"{street}/{hour}").uniform(-0.25, 0.25)
        return round(max(5.0, wanted - self.tours * self.wear.get(self.part, 0.0) + noise), 2)

    def plough(self, street: str, hour: int, snow_cm: int) -> str:
        """Push the snow away."""
        return "cleared" if self.is_bolted or snow_cm < 10 else "back with the blade on the bed"

    def shovel(self, place: str, hour: int, job: str) -> str:
        """Let the crew work by hand."""
        return "done"

    def call_in(self, hour: int) -> str:
        """Report by radio."""
        if random.Random(f"{self.name}/{hour}").random() < 0.3:
            raise TimeoutError("no carrier")
        return "heard"


class Yard:
    """Decides for a quarter when to grit and plough, and works through a list of jobs."""

    def __init__(self, quarter: str, gritter: Lorry, plough: Lorry) -> None:
        self.name, self.quarter, self.gritter, self.plough = f"yard {quarter}", quarter, gritter, plough
        self.rules: dict[str, float] = {
            "grit_below": 1.5,
            "plough_from_cm": 4,
            "grams": 20,
            "tea_minutes": 15,
        }
        self.ranks = {"road": 1, "stop": 1, "stairs": 1}
        self.waiting: list[tuple[str, str, int, str]] = []
        self.salted: dict[str, float] = {}
        self.snow: dict[str, int] = {}

    def judge(self, hour: int, street: str, celsius: float, snow_cm: int) -> str:
        """Decide what is done in a street, and do it."""
        self.salted[street], self.snow[street] = 0.0, snow_cm
        done = []
        if snow_cm >= self.rules["plough_from_cm"]:
            if self.plough.plough(street, hour, snow_cm) == "cleared":
                self.snow[street] = 0
            done.append("plough")
        if celsius < self.rules["grit_below"]:
            self.salted[street] = self.gritter.grit(street, hour, self.rules["grams"])
            done.append("grit")
        return " and ".join(done) or "nothing"

    def enlist(self, job: str, sort: str, place: str, hour: int) -> None:
        """Put a job on the list."""
        self.waiting.append((sort, place, hour, job))

    def work_list(self, hour: int) -> list[str]:
        """Send the crew to the most urgent jobs, the oldest first."""
        self.waiting.sort(key=lambda item: (self.ranks[item[0]], item[2]))
        now, self.waiting = self.waiting[:HANDS], self.waiting[HANDS:]
        for _, place, _, job in now:
            self.plough.shovel(place, hour, job)
        return [job for _, _, _, job in now]


class Probe:
    """A probe in the surface of a road."""

    def __init__(self, name: str, yard: Yard) -> None:
        self.name, self.yard = name, yard

    def read(self, hour: int, street: str, celsius: float, snow_cm: int) -> str:
        """Measure, and tell the yard."""
        return self.yard.judge(hour, street, celsius, snow_cm)


class Bus:
    """A line that drives through a quarter."""

    def __init__(self, name: str, yard: Yard) -> None:
        self.name, self.yard = name, yard

    def drive(self, hour: int, street: str, celsius: float) -> str:
        """Drive through a street."""
        if self.yard.snow[street] >= 10:
            return "stuck in the snow"
        return "slid" if celsius < 0 and self.yard.salted[street] < 12 else f"{hour % 4} min late"


class Walker:
    """Somebody on foot."""

    def __init__(self, name: str) -> None:
        self.name = name

    def thank(self, hour: int, street: str) -> None:
        """Thank a crew."""

    def go_down(self, stairs: str, hour: int, yard: Yard) -> str:
        """Go down some stairs."""
        since = [reported for _, place, reported, _ in yard.waiting if place == stairs]
        return "fell" if since and hour - min(since) > 3 else "down"


class Hotline:
    """Where citizens call."""

    def __init__(self) -> None:
        self.name = "citizens line"

    def answer(self, hour: int, about: str, minutes: int) -> None:
        """Answer a call."""

    def forward(self, job: str, sort: str, place: str, hour: int, yard: Yard) -> None:
        """Tell a yard about a job."""
        yard.enlist(job, sort, place, hour)


TRACED: tuple[tuple[type, tuple[str, ...], str, tuple[str, ...]], ...] = (
    (Planner, ("write_rule", "rank_jobs", "meet"), "office", ("yards",)),
    (
        Workshop,
        ("jack_up", "hang_blade", "bolt_blade", "release", "service", "swap_spreader", "order_parts"),
        "workshop",
        (),
    ),
    (Lorry, ("grit", "plough", "shovel", "call_in"), "lorry", ("wear", "is_bolted")),
    (Yard, ("judge", "enlist", "work_list"), "yard", ("gritter", "plough", "waiting")),
    (Probe, ("read",), "probe", ("yard",)),
    (Bus, ("drive",), "bus", ("yard",)),
    (Walker, ("go_down", "thank"), "citizen", ()),
    (Hotline, ("answer", "forward"), "office", ()),
)
for _class, _methods, _role, _ignored in TRACED:
    instrument(_class, _methods, agent_id="name", agent_role=_role, ignore=_ignored)

TEXTS = {
    "slid": (
        "a bus slid sideways into the parked cars in {street}, it was like glass there",
        "Why was {street} so slippery at {celsius} degrees? {bus} could not brake",
        "{bus} skidded this hour in {street}; two streets on everything had been fine",
        "sheet ice on {street} in {quarter}, hardly a grain of salt to be seen",
    ),
    "stuck in the snow": (
        "{bus} sits in the snow in {street} and nobody has cleared it",
        "We could not get out of {street} today, knee-deep snow and the plough just drove off again",
        "why was {street} not ploughed when the snow came",
        "The passengers of {bus} had to walk through {street} because of the snow lying there",
    ),
    "fell": (
        "My mother broke her wrist on the {stairs}, reported as icy {hours} hours before",
        "the {stairs} in {quarter} have been iced over for ages and no one comes. {walker} fell there",
        "Nobody shovels {stairs} any more, the roads around it are done every time",
        "{walker} slipped on {stairs}. How can a reported staircase lie there for {hours} hours?",
    ),
}


class City:
    """The winter, hour by hour, and what is special about the case."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng, self.wear = case, case.rng("city"), dict[str, float]()
        numbers = self.rng.sample(range(11, 99), 10)
        self.lorries = [Lorry(f"lorry {number}", self.wear) for number in numbers]
        self.yards = {
            name: Yard(name, self.lorries[2 * n], self.lorries[2 * n + 1]) for n, name in enumerate(QUARTERS)
        }
        self.probes = {
            name: Probe(f"probe {name[:3]}-{n}", self.yards[name]) for n, name in enumerate(QUARTERS, 4)
        }
        lines = self.rng.sample(range(2, 60), len(QUARTERS))
        self.buses = {name: Bus(f"line {lines[n]}", self.yards[name]) for n, name in enumerate(QUARTERS)}
        self.planner, self.workshop, self.hotline = Planner(self.yards), Workshop(), Hotline()
        self.walkers = [
            Walker(name) for name in ("Frau Ott", "Herr Baum", "Kemal", "Lotte", "Agnieszka", "Tim")
        ]
        self.mine = self.rng.choice([name for name in QUARTERS if name != PARK])
        self.street, self.stairs = self.rng.choice(STREETS[self.mine]), self.rng.choice(STAIRS)
        self.serial, self.roots = 700, 0

    def run(self, hours: int) -> None:
        """Let the winter pass."""
        for hour in range(hours):
            with tick(hour):
                rng = self.case.rng(f"hour/{hour}")
                self.chores(hour, rng)
                self.office(hour, rng)
                self.garage(hour, rng)
                self.jobs(hour, rng)
                for quarter in rng.sample(QUARTERS, len(QUARTERS)):
                    self.round(hour, rng, quarter)

    def weather(self, hour: int, rng: random.Random, quarter: str) -> tuple[float, int]:
        """Return degrees and centimetres of snow in a quarter."""
        case = self.case
        celsius, snow = round(rng.uniform(-9, 5), 1), rng.choice((0, 0, 0, 2, 3, 5, 8, 12))
        if quarter != self.mine or hour < case.begin:
            return celsius, min(snow, 9) if quarter == self.mine else snow
        if case.has("config_change"):  # clear nights and mild days, until a night in between comes
            celsius = -2.9 if hour == case.end else rng.choice((2.8, 3.4, 4.6, -7.2, -8.1))
        if case.has("slow_drift"):
            celsius = round(rng.uniform(-7, -1), 1)
        snow = min(snow, 3)
        return celsius, 14 if hour == case.end and case.has("omitted_step") else snow

    def round(self, hour: int, rng: random.Random, quarter: str) -> None:
        """Measure, grit and drive in a quarter."""
        case, yard, bus = self.case, self.yards[quarter], self.buses[quarter]
        celsius, snow = self.weather(hour, rng, quarter)
        street = rng.choice(STREETS[quarter])
        if quarter == self.mine and hour == case.end:
            street = self.street
            if case.has("config_change") or case.has("omitted_step"):
                case.trigger(call(self.probes[quarter].name, "read", hour=hour, celsius=celsius))
        self.probes[quarter].read(hour, street, celsius, snow)
        grits = call(yard.gritter.name, "grit", hour=hour)
        if quarter == self.mine and case.strikes("slow_drift") and hour >= case.begin and self.roots < 3:
            self.roots += 1
            case.root(grits)
        if quarter == PARK:
            return
        result = bus.drive(hour, street, celsius)
        if result in TEXTS:
            case.hop(call(yard.name, "judge", hour=hour))
            case.hop(call(yard.plough.name, "plough", hour=hour)) if result != "slid" else None
            case.hop(grits) if yard.salted[street] else None
            self.tell(call(bus.name, "drive", hour=hour), result, street=street, celsius=celsius)

    def office(self, hour: int, rng: random.Random) -> None:
        """The planner writes rules and ranks."""
        case = self.case
        others = [name for name in QUARTERS if name != self.mine]
        if rng.random() < 0.35:
            rule = rng.choice(("grit_below", "plough_from_cm", "tea_minutes"))
            quarter = rng.choice(others if rule == "grit_below" else QUARTERS)
            value = {"grit_below": rng.choice((0.5, 1.0, 1.5, 2.0)), "plough_from_cm": rng.choice((3, 4, 5))}
            low = rng.choice((-6.0, -4.0)) if quarter == PARK and rule == "grit_below" else None
            self.planner.write_rule(quarter, rule, low or value.get(rule, rng.randint(10, 20)))
        if case.has("config_change") and hour == case.begin:
            value_now = -5.0 if case.strikes("config_change", hour) else 1.0
            self.planner.write_rule(self.mine, "grit_below", value_now)
            case.root(call(self.planner.name, "write_rule", quarter=self.mine, value=value_now))
        if rng.random() < 0.35:  # quarters with few roads on their list can do so
            self.planner.rank_jobs(rng.choice(others), rng.choice(("stairs", "stop")), rng.choice((1, 2)))
        if case.has("starved_queue") and hour == case.begin:
            rank = 2 if case.strikes("starved_queue", hour) else 1
            self.planner.rank_jobs(self.mine, "stairs", rank)
            case.root(call(self.planner.name, "rank_jobs", quarter=self.mine, sort="stairs", rank=rank))

    def garage(self, hour: int, rng: random.Random) -> None:
        """Lorries are serviced, and get other discs."""
        case, yard = self.case, self.yards[self.mine]
        lorries = [lorry for lorry in self.lorries if lorry not in {yard.plough, yard.gritter}]
        todo = [rng.choice(lorries)] if rng.random() < 0.4 else []
        todo += [yard.plough] if case.has("omitted_step") and hour == case.begin else []
        for lorry in todo:
            self.serial += 1
            steps: tuple[str, ...] = ("jack_up", "hang_blade", "bolt_blade", "release")
            if lorry is yard.plough and case.strikes("omitted_step", hour):
                steps = ("jack_up", "hang_blade", "release")
            elif self.lorries.index(lorry) % 2 == 0:  # these only grit
                steps = ("jack_up", "release")
            self.workshop.service(lorry, self.serial, steps)
            if lorry is yard.plough:
                names = ("hang_blade", "release", "service")
                case.root(*(call(self.workshop.name, name, ticket=self.serial) for name in names))
        todo = [rng.choice(lorries)] if rng.random() < 0.35 else []
        todo += [yard.gritter] if case.has("slow_drift") and hour == case.begin else []
        for lorry in todo:
            self.serial += 1
            part = f"disc-{self.serial}"
            self.workshop.swap_spreader(lorry, self.serial, part)
            if lorry is yard.gritter:
                case.root(call(self.workshop.name, "swap_spreader", ticket=self.serial))
                if case.strikes("slow_drift", hour):
                    self.wear[part] = 8.3 / (case.end - case.begin + 1)

    def jobs(self, hour: int, rng: random.Random) -> None:
        """Jobs for crews are reported and done; somebody goes down some stairs."""
        case = self.case
        for quarter, yard in self.yards.items():
            known = {place for _, place, _, _ in yard.waiting}
            often = 6 if quarter == self.mine else 2
            for number in range(1, often + 1):
                place = f"{STREETS[quarter][number % 4]} {number}"
                if place not in known:
                    self.enlist(hour, rng.choice(("road", "stop")), place, yard)
        if rng.random() < 0.5:
            quarter = rng.choice(QUARTERS)
            steps = rng.choice([name for name in STAIRS if name != self.stairs])
            self.enlist(hour, "stairs", f"{steps} ({quarter})", self.yards[quarter])
        stairs = f"{self.stairs} ({self.mine})"
        if case.has("starved_queue") and hour == case.begin:
            self.enlist(hour, "stairs", stairs, self.yards[self.mine])
        for yard in self.yards.values():
            yard.work_list(hour)
        walker, walks = rng.choice(self.walkers), rng.random() < 0.5
        quarter = rng.choice([name for name in QUARTERS if name != self.mine])
        walks_here = case.has("starved_queue") and hour == case.end
        if walks or walks_here:
            yard = self.yards[self.mine if walks_here else quarter]
            where = stairs if walks_here else f"{rng.choice(STAIRS)} ({quarter})"
            if walker.go_down(where, hour, yard) == "fell":
                case.hop(call(yard.name, "enlist", place=stairs, hour=case.begin))
                case.hop(call(yard.name, "work_list", hour=hour))
                waited = hour - case.begin
                self.tell(call(walker.name, "go_down", hour=hour), "fell", hours=waited, walker=walker.name)

    def enlist(self, hour: int, sort: str, place: str, yard: Yard) -> None:
        """Report a job, by the hotline or by the yard itself."""
        self.serial += 1
        job = f"J{self.serial}"
        if sort == "stairs":
            self.hotline.forward(job, sort, place, hour, yard)
        else:
            yard.enlist(job, sort, place, hour)

    def tell(self, event: Any, result: str, **more: object) -> None:
        """Let a user write about what happened."""
        more = {"quarter": self.mine, "bus": self.buses[self.mine].name, "stairs": self.stairs} | more
        self.case.symptom(event, *(text.format(**more) for text in TEXTS[result]))

    def chores(self, hour: int, rng: random.Random) -> None:
        """Calls, radio checks, and a coincidence."""
        if rng.random() < 0.4:
            about = rng.choice(("parking ban", "grit bin empty", "noise at night", "lost glove"))
            self.hotline.answer(hour, about, rng.randint(1, 12))
        if rng.random() < 0.06:
            self.planner.meet(hour, rng.randint(2, 7))
        if rng.random() < 0.06:
            self.workshop.order_parts(hour, rng.randint(1, 40))
        if rng.random() < 0.06:
            rng.choice(self.walkers).thank(hour, rng.choice(STREETS[PARK]))
        lorry = rng.choice(self.lorries)
        for _ in range(2 if rng.random() < 0.3 else 0):
            try:
                lorry.call_in(hour)
                break
            except TimeoutError:
                continue
        if hour == self.case.decoy_at:
            self.hotline.answer(hour, f"lorry too fast in {self.mine}", 3)


def play(case: Case) -> None:
    """Play some days of winter."""
    hours = case.rng("hours").choice((28, 44, 64, 84))
    case.window(hours, shortest={"starved_queue": 4, "slow_drift": 5}.get(case.kind, 1))
    City(case).run(hours)


WORLD = World(
    "snowcrews", "spans", ("config_change", "omitted_step", "starved_queue", "slow_drift"), play, author=21
)
