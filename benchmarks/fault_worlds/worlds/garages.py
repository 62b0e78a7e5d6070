"""Two garages of one company: receptions, mechanics, a parts store, a card file of cars, a runner, depots of wheels, a patrol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

NAMES = "Abel Brandt Costa Dahl Ebner Fuchs Graf Horn Ilic Jansen Keller Lorenz Meier Novak Ott Peters Roth Stein".split()
PARTS = ("clutch_kit", "brake_hose", "wiper_motor", "water_pump", "turbo_seal", "door_lock")
MECHANICS = ("mechanic_ute", "mechanic_milan", "mechanic_jo", "mechanic_rana", "mechanic_pit")
DEPOTS = ("depot_mill", "depot_rail", "depot_park")
EVERYDAY = ("flat battery", "out of petrol", "key locked in", "puncture", "lamp failed", "false alarm")


@dataclass
class Car:
    """A car, as it really is; nobody's calls show it."""

    plate: str
    owner: str
    oil: str
    front_bar: float
    rear_bar: float
    filled: str = ""
    front_set: float = 0.0
    rear_set: float = 0.0
    pump_bridged: bool = False

    def trouble(self) -> str:
        """What stops it on the road."""
        if self.filled and self.filled != self.oil:
            return "engine seized"
        if self.front_set and abs(self.front_set - self.front_bar) > 0.7:
            return "spun off in a bend"
        return "fuel pump burnt out" if self.pump_bridged else ""


class CardFile:
    """One card a car, with what its maker demands."""

    def __init__(self) -> None:
        self.name = "card_file"
        self.cards: dict[str, dict[str, Any]] = {}
        self.number_of: dict[str, str] = {}

    def write(self, number: str, plate: str, owner: str, oil: str, depot: str) -> str:
        self.cards[number] = {"owner": owner, "oil": oil, "depot": depot}
        self.number_of.setdefault(plate, number)
        return "written"

    def pressures(self, plate: str, slip: str, front_bar: float, rear_bar: float) -> str:
        self.cards[self.number_of[plate]] |= {"front_bar": front_bar, "rear_bar": rear_bar}
        return "noted"

    def merge(self, keep: str, drop: str) -> int:
        """Make two cards one; all plates of the second are led by the first."""
        moved = [plate for plate, number in self.number_of.items() if number == drop]
        for plate in moved:
            self.number_of[plate] = keep
        self.cards[keep] = self.cards[drop] | self.cards[keep]
        return len(moved)

    def move_wheels(self, plate: str, depot: str) -> str:
        self.cards[self.number_of[plate]]["depot"] = depot
        return "changed"

    def look_up(self, plate: str) -> dict[str, Any]:
        return dict(self.cards[self.number_of[plate]])


class Store:
    """Parts on shelves; a reservation is a note, not a lock."""

    def __init__(self) -> None:
        self.name = "parts_store"
        self.shelf = dict.fromkeys(PARTS, 6)
        self.promised: dict[str, str] = {}
        self.coming: list[str] = []

    def look(self, part: str, job: str) -> int:
        return self.shelf[part] - sum(other == part for other in self.promised.values())

    def reserve(self, part: str, job: str) -> str:
        self.promised[job] = part
        return "noted"

    def send_for(self, part: str, job: str) -> str:
        """Order a missing part for this job; it arrives the next morning."""
        self.promised[job] = part
        self.coming.append(part)
        return "comes tomorrow"

    def unpack(self, part: str, pieces: int) -> int:
        self.shelf[part] += pieces
        return self.shelf[part]

    def count(self, part: str, pieces: int) -> str:
        """Correct the book after counting a shelf."""
        self.shelf[part] = pieces
        return "counted"

    def hand_out(self, part: str, job: str) -> str:
        self.promised.pop(job, None)
        if self.shelf[part] < 1:
            return "none"
        self.shelf[part] -= 1
        return "there you go"


class Mechanic:
    """Works on cars by what the card says."""

    def __init__(self, name: str, file: CardFile, store: Store, cars: dict[str, Car]) -> None:
        self.name, self.file, self.store, self.cars = name, file, store, cars
        self.jobs_done = 0

    def check_part(self, part: str, job: str) -> int:
        return self.store.look(part, job)

    def claim_part(self, part: str, job: str, seen: int) -> str:
        """Reserve a part that was there, or send for one."""
        return self.store.reserve(part, job) if seen > 0 else self.store.send_for(part, job)

    def change_oil(self, plate: str, job: str) -> str:
        oil = str(self.file.look_up(plate)["oil"])
        self.cars[plate].filled = oil
        return oil

    def set_tyres(self, plate: str, job: str) -> dict[str, float]:
        card, car = self.file.look_up(plate), self.cars[plate]
        car.front_set, car.rear_set = card["front_bar"], card["rear_bar"]
        return {"front": car.front_set, "rear": car.rear_set}

    def bridge_pump(self, plate: str, job: str) -> str:
        """Let the fuel pump run without its relay, to bleed the line."""
        self.cars[plate].pump_bridged = True
        return "runs"

    def pull_bridge(self, plate: str, job: str) -> str:
        self.cars[plate].pump_bridged = False
        return "stops"

    def fit(self, part: str, plate: str, job: str) -> str:
        return "fitted"

    def sign(self, plate: str, job: str) -> int:
        self.jobs_done += 1
        return self.jobs_done


class Runner:
    """Brings sets of wheels to where they are kept."""

    def __init__(self, name: str, depots: dict[str, Depot]) -> None:
        self.name, self.depots = name, depots

    def bring(self, wheels: str, depot: str, trip: str) -> str:
        self.depots[depot].shelve(wheels)
        return "unloaded"


class Depot:
    """Keeps wheels out of season."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.racks: list[str] = []

    def shelve(self, wheels: str) -> int:
        self.racks.append(wheels)
        return len(self.racks)

    def fetch(self, wheels: str, slip: str) -> str:
        if wheels not in self.racks:
            return "not here"
        self.racks.remove(wheels)
        return "handed out"


class Reception:
    """Takes cars in, and gives them back."""

    def __init__(self, name: str, file: CardFile) -> None:
        self.name, self.file = name, file
        self.in_house = 0

    def read_label(self, plate: str, slip: str, front_bar: float, rear_bar: float) -> str:
        """Enter the tyre pressures printed on the door of a car."""
        return self.file.pressures(plate, slip, front_bar, rear_bar)

    def take_in(self, plate: str, job: str, wish: str) -> str:
        self.in_house += 1
        return "accepted"

    def give_back(self, plate: str, job: str, to: str) -> str:
        self.in_house -= 1
        return "gone"

    def put_off(self, plate: str, slip: str, reason: str) -> str:
        return "owner informed"


class Patrol:
    """Helps on the road, and writes down what it found."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0

    def assist(self, plate: str, found: str, note: str) -> str:
        self.calls += 1
        return "towed" if found not in EVERYDAY else "went on"


class Yard:
    """Both garages, their customers, and the plan of the case."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("garages")
        rng = self.rng
        self.cars: dict[str, Car] = {}
        self.file, self.store = CardFile(), Store()
        self.depots = {name: Depot(name) for name in DEPOTS}
        self.runner, self.patrol = Runner("runner_abdul", self.depots), Patrol("road_patrol")
        self.desks = [Reception(name, self.file) for name in ("reception_north", "reception_south")]
        self.mechanics = [Mechanic(name, self.file, self.store, self.cars) for name in MECHANICS]
        names = (*MECHANICS, *DEPOTS, "reception_north", "reception_south", "parts_store", "lift_2")
        self.logs = {name: AgentLogger(name, name.partition("_")[0]) for name in names}
        self.serial = rng.randint(200, 600)
        for owner in NAMES * 2:
            self.register(owner, rng.choice(("0W20", "5W30", "5W40")))
        self.car = self.cars[rng.choice(list(self.cars))]
        self.twin = self.register(self.car.owner, "0W20" if self.car.oil != "0W20" else "5W40")
        self.part = rng.choice(PARTS)
        self.mate, self.rival, self.fellow = rng.sample(self.mechanics, 3)
        self.day = 0
        self.copies: list[tuple[str, str]] = []  # second cards of the same car, with the first
        self.asked: list[tuple[int, str, str, Car]] = []  # parts that are due: day, part, job, car

    def next(self, prefix: str) -> str:
        self.serial += self.rng.randint(1, 2)
        return f"{prefix}{self.serial}"

    def register(self, owner: str, oil: str) -> Car:
        """Take a car into the file; vans carry their weight behind, tow trucks in front."""
        rng = self.rng
        front = round(rng.uniform(2.1, 2.6), 1)
        rear = round(front + rng.choice((0.0, 0.0, 0.2, 0.2, 0.2, 1.3, 1.5, -1.0)), 1)
        plate, depot = f"{owner[:2].upper()}-{self.next('')}", rng.choice(DEPOTS)
        car = self.cars[plate] = Car(plate, owner, oil, front, rear)
        self.file.write(self.next("K"), plate, owner, oil, depot)
        rng.choice(self.desks).read_label(plate, self.next("S"), front, rear)
        self.depots[depot].shelve(f"wheels {plate}")
        return car

    def pick(self) -> Car:
        """Some car; that of the case only where it cannot meet what is planned."""
        case, kept = self.case, {self.twin.plate}
        if case.begin - 3 <= self.day <= case.end:
            kept.add(self.car.plate)
        return self.rng.choice([car for car in self.cars.values() if car.plate not in kept])

    def service(self, car: Car, mechanic: Mechanic, acts: list[str], to: str = "owner") -> tuple[str, str]:
        """One visit from taking in to giving back; returns the job and the reception."""
        job, desk = self.next("J"), self.rng.choice(self.desks)
        desk.take_in(car.plate, job, "service" if "change_oil" in acts else "as told")
        for act in acts:
            getattr(mechanic, act)(car.plate, job)
        mechanic.sign(car.plate, job)
        desk.give_back(car.plate, job, to)
        return job, desk.name

    def second_card(self, car: Car) -> None:
        """Somebody writes a card for a car that has one."""
        number, first = self.next("K"), self.file.number_of[car.plate]
        self.file.write(number, car.plate, car.owner, car.oil, self.file.look_up(car.plate)["depot"])
        self.copies.append((number, first))

    def everyday(self, day: int) -> None:
        """Services, papers and wheels of a day; cars that leave by trailer keep the bridge for their own dealer."""
        rng, case = self.rng, self.case
        if case.begin < day < case.end and rng.random() < 0.15:  # the same car again, for something else
            other = "change_oil" if case.has("swapped_fields") else "set_tyres"
            self.service(self.car, rng.choice(self.mechanics), [other])
        for _ in range(rng.randint(3, 6)):
            car, mechanic, bleed = self.pick(), rng.choice(self.mechanics), rng.random() < 0.3
            to = "dealer" if bleed and rng.random() < 0.25 else "owner"
            acts = [act for act, chance in (("change_oil", 0.6), ("set_tyres", 0.4)) if rng.random() < chance]
            acts = ["bridge_pump", *acts] if bleed else acts
            self.service(car, mechanic, [*acts, "pull_bridge"] if bleed and to == "owner" else acts, to)
            car.pump_bridged = False
        car, known = self.pick(), {number for pair in self.copies for number in pair}
        if rng.random() < 0.5 and self.file.number_of[car.plate] not in known:
            self.second_card(car)
        if case.has("wrong_merge") and day == case.begin - 2:
            self.second_card(self.twin)
        elif self.copies and rng.random() < 0.5 and self.copies[0][1] != self.file.number_of[self.twin.plate]:
            self.file.merge(*self.copies.pop(0))
        if rng.random() < 0.5:
            car = self.pick()
            rng.choice(self.desks).read_label(car.plate, self.next("S"), car.front_bar, car.rear_bar)
        for car in [self.pick() for _ in range(rng.randint(0, 2))]:
            depot, slip = self.file.look_up(car.plate)["depot"], self.next("S")
            self.depots[depot].fetch(f"wheels {car.plate}", slip)
            if rng.random() < 0.3:
                depot = rng.choice(DEPOTS)
                self.file.move_wheels(car.plate, depot)
            self.runner.bring(f"wheels {car.plate}", depot, self.next("R"))

    def parts(self, day: int) -> None:
        """Mechanics check for parts, claim them, and fit them when they are due."""
        rng, case, store = self.rng, self.case, self.store
        for part in store.coming:
            store.unpack(part, 1)
        store.coming.clear()
        for item in [item for item in self.asked if item[0] <= day]:
            self.asked.remove(item)
            self.hand_out(*item[1:])
        rare = self.part if case.has("race") and case.begin - 1 <= day <= case.end else ""
        for part in PARTS:
            if part != rare and store.look(part, "stock") < 1 and rng.random() < 0.7:
                store.unpack(part, rng.randint(2, 4))
        if rare and day == case.begin - 1:
            store.count(rare, 1 + list(store.promised.values()).count(rare))
        elif rng.random() < 0.15:
            part = rng.choice(PARTS)
            store.count(part, store.shelf[part])
        for part in rng.sample(PARTS, rng.randint(1, 3)):
            both = rng.sample(self.mechanics, 2 if rng.random() < 0.4 else 1)
            wait, cars = rng.choice((0, 1, 2, 3, 5, 9, 20)), [self.pick() for _ in both]
            due = day + (min(wait, 1) if part == self.part and case.has("race") else wait)
            if part != rare:
                self.want(part, both, cars, due, case_now=False)
        if rare and day == case.begin:
            self.want(rare, [self.mate, self.rival], [self.pick(), self.car], case.end, case_now=True)

    def want(self, part: str, who: list[Mechanic], cars: list[Car], due: int, *, case_now: bool) -> None:
        """Check and claim a part; if there is too little for two, the second checks again before the claim."""
        jobs = [self.next("J") for _ in who]
        seen = [mechanic.check_part(part, job) for mechanic, job in zip(who, jobs, strict=True)]
        who[0].claim_part(part, jobs[0], seen[0])
        for mechanic, job, pieces in zip(who[1:], jobs[1:], seen[1:], strict=True):
            hasty = case_now and self.case.strikes("race")
            free = mechanic.check_part(part, job) if pieces < 2 and not hasty else pieces
            mechanic.claim_part(part, job, free)
            if case_now:
                self.case.root(*(call(mechanic.name, act, job=job) for act in ("claim_part", "check_part")))
                self.case.root(call(who[0].name, "check_part", job=jobs[0]))
                self.case.root(*(call("parts_store", act, job=job) for act in ("look", "reserve") if free))
        self.asked += [(due, part, job, car) for job, car in zip(jobs, cars, strict=True)]

    def hand_out(self, part: str, job: str, car: Car) -> None:
        """Fit a part, or tell the owner that it is not there."""
        mechanic, desk, slip = self.rng.choice(self.mechanics), self.rng.choice(self.desks), self.next("S")
        if self.store.hand_out(part, job) != "none":
            mechanic.fit(part, car.plate, job)
            mechanic.sign(car.plate, job)
        else:
            desk.put_off(car.plate, slip, "no part")
            self.case.hop(call("parts_store", "hand_out", job=job))
            self.complain(call(desk.name, "put_off", slip=slip), "no part")

    def begin(self, day: int) -> None:
        """The act of the case that may go wrong, in both twins."""
        case, car = self.case, self.car
        if case.has("wrong_merge"):
            known = self.file.number_of[self.twin.plate]
            number, first = next(pair for pair in self.copies if pair[1] == known)
            self.copies.remove((number, first))
            drop = self.file.number_of[car.plate] if case.strikes("wrong_merge", day) else first
            self.file.merge(number, drop)
            case.root(call("card_file", "merge", keep=number, drop=drop))
        elif case.has("swapped_fields"):
            desk, slip = self.rng.choice(self.desks), self.next("S")
            car.rear_bar = round(car.front_bar + 1.4, 1)  # it has become a van
            front, rear = car.front_bar, car.rear_bar
            if case.strikes("swapped_fields", day):
                front, rear = rear, front
            desk.read_label(car.plate, slip, front, rear)
            case.root(call(desk.name, "read_label", slip=slip), call("card_file", "pressures", slip=slip))
        elif case.has("misrouted_thing"):
            right, trip = self.file.look_up(car.plate)["depot"], self.next("R")
            other = self.rng.choice([depot for depot in DEPOTS if depot != right])
            self.depots[right].fetch(f"wheels {car.plate}", self.next("S"))
            depot = other if case.strikes("misrouted_thing", day) else right
            self.runner.bring(f"wheels {car.plate}", depot, trip)
            case.root(call("runner_abdul", "bring", trip=trip))
        elif case.has("forgotten_undo"):
            acts = ["bridge_pump", "change_oil", "set_tyres", "pull_bridge"]
            acts = acts[:-1] if case.strikes("forgotten_undo", day) else acts
            job, desk_name = self.service(car, self.mate, acts)
            case.hop(call(desk_name, "give_back", job=job))
            case.root(*(call(self.mate.name, act, job=job) for act in ("bridge_pump", "set_tyres", "sign")))

    def finish(self, day: int) -> None:
        """Calls from the road, and the day on which the owner of the car would notice."""
        case, car, rng = self.case, self.car, self.rng
        calling, desk = [self.pick() for _ in range(rng.randint(1, 4))], rng.choice(self.desks)
        if rng.random() < 0.3:
            desk.put_off(
                calling[0].plate, self.next("S"), rng.choice(("lift taken", "mechanic ill", "owner late"))
            )
        if day == case.end and not case.has("race"):
            if case.has("wrong_merge") or case.has("swapped_fields"):
                act = "change_oil" if case.has("wrong_merge") else "set_tyres"
                job, _ = self.service(car, self.mate, [act])
                case.hop(call(self.mate.name, act, job=job))
            depot, slip = self.file.look_up(car.plate)["depot"], self.next("S")
            if (
                case.has("misrouted_thing")
                and self.depots[depot].fetch(f"wheels {car.plate}", slip) == "not here"
            ):
                case.hop(call(depot, "fetch", slip=slip))
                desk.put_off(car.plate, slip, "no wheels")
                self.complain(call(desk.name, "put_off", slip=slip), "no wheels")
            calling.append(car)
        for other in calling:
            note, everyday = self.next("N"), rng.choice(EVERYDAY)
            found = other.trouble() or everyday
            self.patrol.assist(other.plate, found, note)
            if found not in EVERYDAY:
                self.complain(call("road_patrol", "assist", note=note), found)

    def complain(self, event: Any, what: str) -> None:
        names = {"plate": self.car.plate, "owner": self.car.owner, "part": self.part.replace("_", " ")}
        names |= {"fellow": self.fellow.name, "mate": self.mate.name}
        self.case.symptom(event, *(text.format(**names) for text in TEXTS[what]))


TEXTS = {
    "no part": (
        "I took a day off to fetch my car, and now you tell me that the part is not there. It had been promised!",
        "{owner} was promised {plate} for today, there is no {part}. {fellow} says they had one",
        "no {part} for {plate}, {fellow} stood before an empty shelf",
    ),
    "no wheels": (
        "My winter wheels have vanished. You had them all summer!",
        "{fellow} wanted to fit the other wheels of {plate} and they are not in the rack",
        "wheels of {owner} ({plate}) cannot be found, {fellow} has looked everywhere",
    ),
    "engine seized": (
        "The engine of {plate} died on the motorway a few kilometres after the oil had been changed",
        "{owner} is furious: motor gone, straight from the service at {mate}'s",
        "engine of {owner}'s car seized, why? it only came for fresh oil",
    ),
    "spun off in a bend": (
        "I nearly died, the car swam in the first bend after I got it back from you. {owner}",
        "{plate} spun off the road, tyres hard in front and soft behind. {fellow} has measured it",
        "who pumped up the tyres of {plate} like that? {fellow} had to let half of it out in front",
    ),
    "fuel pump burnt out": (
        "The fuel pump of {plate} has melted. It never stopped humming since it was with you, even at night",
        "towed today: {owner}, pump burnt out. {fellow} shakes his head",
        "burnt pump in {plate}, after a simple service by {mate}",
    ),
}


def chores(day: int, yard: Yard) -> None:
    """Settings, hiccups and work of no consequence; and something striking shortly before the symptom."""
    rng = yard.rng
    for log in rng.sample(list(yard.logs.values()), 3):
        dice = rng.random()
        if dice < 0.12:
            log.log_action("set_display", {"font": rng.randint(8, 14)})
        elif dice < 0.24:
            log.warning(
                rng.choice(("compressor loud", "phone engaged", "oil on the floor")), extra={"day": day}
            )
        elif dice < 0.5:
            log.log_action(
                rng.choice(("sweep", "sort_keys", "order_coffee")), {"minutes": rng.randint(4, 30)}
            )
    if day == yard.case.decoy_at:
        kind = rng.randrange(3)
        if kind == 0:
            yard.logs["lift_2"].error("lift stopped, reset by hand", extra={"minutes": rng.randint(2, 30)})
        elif kind == 1:
            yard.logs[rng.choice(MECHANICS)].log_action("set_threshold", {"torque_nm": 110, "before": 120})
        else:
            yard.logs[rng.choice(MECHANICS)].log_action("new_apprentice", {"name": rng.choice(NAMES).lower()})


def watch_classes() -> None:
    """Record the calls of plain classes that know nothing of it."""
    links = ("file", "store", "cars", "depots")
    for kind, acts in (
        (CardFile, "write pressures merge move_wheels look_up"),
        (Store, "look reserve send_for unpack count hand_out"),
        (Mechanic, "check_part claim_part change_oil set_tyres bridge_pump pull_bridge fit sign"),
        (Runner, "bring"),
        (Depot, "shelve fetch"),
        (Reception, "read_label take_in give_back put_off"),
        (Patrol, "assist"),
    ):
        instrument(kind, acts.split(), agent_id="name", agent_role=kind.__name__.lower(), ignore=links)


def play(case: Case) -> None:
    """Play some months of two garages."""
    days = case.rng("length").choice((35, 55, 90, 130))
    case.window(days)
    watch_classes()
    yard = Yard(case)
    for yard.day in range(days):
        with tick(day := yard.day):
            chores(day, yard)
            yard.parts(day)
            yard.everyday(day)
            if day == case.begin:
                yard.begin(day)
            yard.finish(day)


WORLD = World(
    "garages",
    "spans",
    ("race", "wrong_merge", "swapped_fields", "misrouted_thing", "forgotten_undo"),
    play,
    author=13,
)
