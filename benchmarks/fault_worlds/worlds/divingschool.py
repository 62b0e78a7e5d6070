"""A diving school: boats go to reefs at slack water, a compressor fills bottles, lines keep ferries out.

Plain classes under `instrument`; a tick is a day, and nothing names its cause.
"""

from __future__ import annotations

from typing import Any

from Agent import AgentLogger, SystemLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

BOATS = {"Marlin": "Skipper Ines", "Nautilus": "Skipper Jorge", "Orca": "Skipper Katla"}
REEFS = ("Cathedral", "Old Anchor", "Seal Rock", "Three Sisters", "Wreck of the Vega")
SHELTERED = "Pool Bay"
GUESTS = ("Amelie", "Bruno", "Chidi", "Dagny", "Emre", "Fiona")
CYLINDERS, A_DAY, PATIENCE, SLOTS = 24, 5, 3, 8


class Shed:
    """Gives out cylinders and takes them back."""

    def __init__(self, name: str) -> None:
        self.name, self.free = name, CYLINDERS

    def give(self, trip: str, wanted: int) -> int:
        """Give as many cylinders as there are, up to what is wanted."""
        given = min(wanted, self.free)
        self.free -= given
        return given

    def take_back(self, trip: str, brought: int) -> int:
        """Put cylinders back onto their hooks."""
        self.free += brought
        return brought


class Tides:
    """A printed table of the tides."""

    def __init__(self, name: str) -> None:
        self.name = name

    def slack(self, day: int) -> int:
        """Return the hour of slack water, counted from the first of the day."""
        return 2 + day * 3 % 5


class Planner:
    """Plans trips by the table of the tides."""

    def __init__(self, name: str, school: School) -> None:
        self.name, self.school = name, school

    def plan_trip(self, trip: str, reef: str, day: int) -> dict[str, Any]:
        """Look up slack water and write a trip onto the board."""
        hour = self.school.tides.slack(day)
        if reef == SHELTERED:
            hour = 1 + day % SLOTS
        if trip == self.school.star and self.school.case.strikes("off_by_one", self.school.day):
            hour += 1
        return self.write(trip, reef, day, hour)

    def write(self, trip: str, reef: str, day: int, hour: int) -> dict[str, Any]:
        """Write onto the board."""
        school = self.school
        school.board.setdefault(day, []).append((trip, reef, hour))
        if trip == school.star and school.case.has("off_by_one"):
            school.case.root(call(self.name, "write", trip=trip), call(self.name, "plan_trip", trip=trip))
        return {"reef": reef, "hour": hour}


class Skipper:
    """Drives a boat to a reef and home again."""

    def __init__(self, name: str, school: School) -> None:
        self.name, self.school = name, school

    def sail(self, trip: str, reef: str, hour: int) -> bool:
        """Drive out and drop the anchor; return whether the water stands still."""
        self.drop_anchor(trip, reef)
        return reef == SHELTERED or hour == self.school.tides.slack(self.school.day)

    def drop_anchor(self, trip: str, reef: str) -> str:
        """Drop the anchor."""
        return f"holds at {reef}"

    def load(self, trip: str, wanted: int) -> int:
        """Fetch cylinders from the shed."""
        return self.school.shed.give(trip, wanted)

    def come_home(self, trip: str, taken: int) -> str:
        """Moor, rinse, and carry the cylinders to the shed; some may wait on the pier until the next day."""
        school, case = self.school, self.school.case
        brought = taken
        if case.strikes("leaked_resource") and self.name == school.skipper and school.day >= case.begin:
            brought = max(0, taken - school.lost_today())
            if brought < taken and len(case.roots) < 6:
                case.root(call("shed", "take_back", trip=trip), call(self.name, "come_home", trip=trip))
            case.hop(call("shed", "take_back", trip=trip))
        elif self.name != school.skipper and case.rng(f"pier/{trip}").random() < 0.25:
            brought = taken - 1
            school.on_pier.append(trip)
        self.rinse(trip)
        school.shed.take_back(trip, brought)
        return "moored"

    def rinse(self, trip: str) -> None:
        """Rinse the salt off."""


class Filler:
    """Fills bottles with air or with nitrox, so many a day."""

    def __init__(self, name: str, school: School) -> None:
        self.name, self.school = name, school

    def note(self, order: str, gas: str) -> int:
        """Put a bottle into the row; return its place."""
        self.school.row.append((self.school.day, order, gas))
        return len(self.school.row)

    def arrange(self, day: int) -> list[str]:
        """Put the row into the order of the day: what came first, unless another order has been chosen."""
        school, case = self.school, self.school.case
        school.row.sort(key=lambda one: (one[0], one[1]))
        if case.has("starved_queue") and case.begin <= day < case.begin + 3:
            case.root(call(self.name, "arrange", day=day))
        if case.strikes("starved_queue") and day >= case.begin:
            school.row.sort(key=lambda one: (one[2] != "air", one[0], one[1]))
            case.hop(call(self.name, "arrange", day=day))
        return [order for _, order, _ in school.row[: A_DAY + 1]]

    def fill(self, order: str, gas: str, bar: int) -> int:
        """Fill a bottle."""
        self.school.full.add(order)
        return bar

    def send_away(self, order: str) -> None:
        """Give a bottle back unfilled, to be filled at the harbour."""


class Mechanic:
    """Works on moorings, lines and stones."""

    def __init__(self, name: str, school: School) -> None:
        self.name, self.school = name, school

    def set_stone(self, reef: str, job: str) -> str:
        """Bring a stone to a reef; the line of buoys is sunk for the barge meanwhile."""
        school = self.school
        self.sink_line(reef, job)
        self.lower_stone(reef, job)
        if job == school.star and school.case.has("forgotten_undo"):
            school.case.root(call(self.name, "lower_stone", job=job), call(self.name, "sink_line", job=job))
            if school.case.strikes("forgotten_undo", school.day):
                return "stone set"
        self.raise_line(reef, job)
        return "stone set"

    def sink_line(self, reef: str, job: str) -> None:
        """Let the line of buoys sink."""
        self.school.lines[reef] = False

    def lower_stone(self, reef: str, job: str) -> int:
        """Lower a stone."""
        return 300 + len(job) * 25

    def raise_line(self, reef: str, job: str) -> None:
        """Let the buoys come up again."""
        self.school.lines[reef] = True


class Ferry:
    """Passes the reefs several times a day."""

    def __init__(self, name: str, school: School) -> None:
        self.name, self.school = name, school

    def pass_by(self, reef: str, lap: str) -> str:
        """Go around what is marked by buoys, and straight on where nothing is marked."""
        return "around" if self.school.lines[reef] else "straight"


class Guest:
    """Dives, snorkels, and brings bottles to be filled."""

    def __init__(self, name: str, school: School) -> None:
        self.name, self.school = name, school

    def gear_up(self, trip: str, got: int, party: int) -> str:
        """Share out the cylinders of a party."""
        return "all set" if got >= party else "one is missing"

    def dive(self, trip: str, *, still: bool) -> str:
        """Go down."""
        return "saw a ray" if still else "was carried off"

    def snorkel(self, reef: str, lap: str) -> str:
        """Swim at the surface while the ferry comes by."""
        return "waved" if self.school.ferry.pass_by(reef, lap) == "around" else "dived for life"

    def bring(self, order: str, gas: str) -> int:
        """Bring a bottle."""
        return self.school.filler.note(order, gas)

    def pick_up(self, order: str) -> str:
        """Come for a bottle."""
        return "full" if order in self.school.full else "empty"


class School:
    """The school, and the plan of one case."""

    def __init__(self, case: Case) -> None:
        self.case, self.day, self.last = case, -1, case.seed % 800
        self.days = case.rng("days").choice((30, 55, 100, 150))
        case.window(self.days, 5 if case.has("leaked_resource") or case.has("starved_queue") else 1)
        self.shed, self.tides, self.ferry = Shed("shed"), Tides("tide table"), Ferry("ferry Lupa", self)
        self.planner, self.filler = Planner("Mrs Quist", self), Filler("Old Ned", self)
        self.mechanic = Mechanic("Sabine", self)
        self.skippers = {boat: Skipper(name, self) for boat, name in BOATS.items()}
        self.guests = {name: Guest(name, self) for name in GUESTS}
        self.board: dict[int, list[tuple[str, str, int]]] = {}
        self.row: list[tuple[int, str, str]] = []
        self.full: set[str] = set()
        self.due: dict[int, list[tuple[str, str]]] = {}
        self.lines = dict.fromkeys((*REEFS, SHELTERED), True)
        self.on_pier: list[str] = []
        rng = case.rng("plan")
        self.star, self.guest = "?", self.guests[rng.choice(GUESTS)]
        self.boat, self.reef = rng.choice(list(BOATS)), rng.choice(REEFS)
        self.skipper, self.leaked = BOATS[self.boat], 0

    def number(self, letter: str) -> str:
        """Return the next number of a trip, a bottle or a job."""
        self.last += 1
        return f"{letter}{self.last:04}"

    def lost_today(self) -> int:
        """Return how many cylinders stay on the boat today."""
        case = self.case
        so_far = CYLINDERS * (self.day - case.begin + 1) // (case.end - case.begin)
        now, self.leaked = so_far - self.leaked, max(self.leaked, so_far)
        return now

    def trips(self) -> None:
        """Sail the trips that stand on the board."""
        case, rng = self.case, self.case.rng(f"trips/{self.day}")
        for (boat, skipper), planned in zip(
            self.skippers.items(), self.board.pop(self.day, []), strict=False
        ):
            trip, reef, hour = planned
            party = 6 if boat == self.boat else rng.randint(2, 6)
            guest = self.guest if trip == self.star else self.guests[rng.choice(GUESTS)]
            got = skipper.load(trip, party)
            if guest.gear_up(trip, got, party) != "all set":
                case.symptom(
                    call(guest.name, "gear_up", trip=trip),
                    "There was no cylinder left for my husband, who had paid like all of us",
                    f"{guest.name} stayed on the pier because the school had too few cylinders",
                    f"How can a school with two dozen cylinders send us out on {trip} with so few?",
                )
            if rng.random() < 0.15 and trip != self.star:
                AgentLogger(skipper.name, "skipper").info("too much wind, stayed in the bay", {"knots": 24})
            elif guest.dive(trip, still=skipper.sail(trip, reef, hour)) != "saw a ray":
                case.hop(call(skipper.name, "sail", trip=trip))
                case.symptom(
                    call(guest.name, "dive", trip=trip),
                    f"We were carried half a mile out to sea on trip {trip} and waved for an hour",
                    f"{guest.name} could hold on to nothing down there, the water was racing",
                    "It should have been an easy dive for beginners, and the current nearly took us",
                )
            skipper.come_home(trip, got)

    def bottles(self) -> None:
        """Take bottles in, fill as many as a day allows, and give them out."""
        case, rng = self.case, self.case.rng(f"bottles/{self.day}")
        for _ in range(A_DAY + rng.randint(0, 1)):
            self.guests[rng.choice(GUESTS)].bring(self.number("B"), "air")
        if rng.random() < 0.35:
            guest, order, due = rng.choice(GUESTS), self.number("B"), self.day + rng.randint(5, 15)
            if case.has("starved_queue") and case.begin - 6 < self.day < case.end:
                due = max(due, case.end + 1)
            self.guests[guest].bring(order, "nitrox")
            self.due.setdefault(due, []).append((guest, order))
        self.filler.arrange(self.day)
        for _, order, gas in self.row[:A_DAY]:
            self.filler.fill(order, gas, rng.randint(198, 212))
        self.row = self.row[A_DAY:]
        for old in [one for one in self.row if one[2] == "air" and one[0] < self.day - PATIENCE]:
            self.row.remove(old)
            self.filler.send_away(old[1])
        for guest, order in self.due.pop(self.day, []):
            if self.guests[guest].pick_up(order) != "full":
                case.symptom(
                    call(guest, "pick_up", order=order),
                    f"My bottle {order} has been standing here for days and it is as empty as it was",
                    f"{guest} has to cancel the deep course, the gas mix is not there",
                    "Everybody else walks out with full bottles, only ours are never done",
                )

    def begin(self) -> None:
        """Do what the case is about, well or badly."""
        case = self.case
        if case.has("off_by_one"):
            self.star = self.number("D")
            self.planner.plan_trip(self.star, self.reef, case.end)
        elif case.has("forgotten_undo"):
            self.star = self.number("J")
            self.mechanic.set_stone(self.reef, self.star)
        elif case.has("starved_queue"):
            self.star = self.number("B")
            self.guest.bring(self.star, "nitrox")
            self.due.setdefault(case.end, []).append((self.guest.name, self.star))

    def everyday(self) -> None:
        """Do what belongs to any day."""
        case, rng = self.case, self.case.rng(f"day/{self.day}")
        planned = self.board.setdefault(self.day, [])
        while len(planned) < len(BOATS):
            reef = rng.choice((*REEFS, SHELTERED, SHELTERED))
            self.planner.plan_trip(self.number("D"), reef, self.day)
        later = self.day + rng.randint(1, 6)
        if rng.random() < 0.5 and len(self.board.get(later, ())) < 2:
            self.planner.plan_trip(self.number("D"), rng.choice((*REEFS, SHELTERED)), later)
        free = [one for one in REEFS if one != self.reef or not case.has("forgotten_undo")]
        if rng.random() < 0.3 or self.day == case.decoy_at:
            self.mechanic.set_stone(rng.choice(free), self.number("J"))
        for _ in range(rng.randint(1, 3)):
            self.guests[rng.choice(GUESTS)].snorkel(rng.choice((*free, SHELTERED)), self.number("L"))
        if self.on_pier:
            self.shed.take_back(self.on_pier[0], len(self.on_pier))
            self.on_pier.clear()
        if rng.random() < 0.2 or self.day == case.decoy_at:
            who = rng.choice((*BOATS.values(), "Old Ned", "Sabine"))
            AgentLogger(who, "crew").warning("a hose dripped, changed it", {"spare": rng.randint(1, 9)})
        if self.day == case.decoy_at:
            AgentLogger("Mrs Quist", "Planner").error("telephone was dead until noon", {"hours": 3})
        if rng.random() < 0.25:
            name = rng.choice(("towel_price", "pier_light", "compressor_oil"))
            SystemLogger("school").log_config(name, 4, rng.randint(1, 9))

    def swim(self) -> None:
        """Let the guest of the case swim where the stone was set."""
        case, lap = self.case, self.number("L")
        case.trigger(call("ferry Lupa", "pass_by", lap=lap))
        case.hop(call("ferry Lupa", "pass_by", lap=lap))
        if self.guest.snorkel(self.reef, lap) != "waved":
            case.symptom(
                call(self.guest.name, "snorkel", lap=lap),
                f"A ferry went right over us at {self.reef}! We dived and heard the screw above our heads",
                f"{self.guest.name} was nearly run over while snorkelling",
                "That big boat always keeps its distance, and this time it came straight at us",
            )

    def run(self) -> None:
        """Play all days."""
        for day in range(self.days):
            self.day = day
            with tick(day):
                if day == self.case.begin:
                    self.begin()
                self.everyday()
                self.trips()
                self.bottles()
                if day == self.case.end and self.case.has("forgotten_undo"):
                    self.swim()


for kind_of, acts in {
    Shed: ("give", "take_back"),
    Tides: ("slack",),
    Planner: ("plan_trip", "write"),
    Skipper: ("sail", "drop_anchor", "load", "come_home", "rinse"),
    Filler: ("note", "arrange", "fill", "send_away"),
    Mechanic: ("set_stone", "sink_line", "lower_stone", "raise_line"),
    Ferry: ("pass_by",),
    Guest: ("gear_up", "dive", "snorkel", "bring", "pick_up"),
}.items():
    instrument(kind_of, acts, agent_id="name", agent_role=kind_of.__name__.lower(), ignore=("school",))


def play(case: Case) -> None:
    """Play a season."""
    School(case).run()


FAULTS = ("leaked_resource", "starved_queue", "off_by_one", "forgotten_undo")
WORLD = World("divingschool", "spans", FAULTS, play, 29)
