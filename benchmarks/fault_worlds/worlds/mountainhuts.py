"""Huts in the mountains: wardens cook and order, depots load, a helicopter flies, crews mend paths, and parties walk.

Plain classes that `instrument` traces; a tick is a day in summer, and calls nest in each other.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from Agent import AgentLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, Ref, World, call

PLACE_OF = ("Gamskar", "Rotmoos", "Silberegg", "Hochalp", "Krummboden", "Schafjoch")
WARDENS = dict(zip(("Vroni", "Kaspar", "Lena", "Toni", "Ursin", "Zita"), PLACE_OF, strict=True))
DEPOTS = ("valley depot", "pass depot")
SORTS = ("gas", "food", "linen", "mail")
PATHS = ("north path", "ravine path", "ridge path", "lake path")
CREWS = ("crew Almer", "crew Bisang")
PARTIES = ("the Brunners", "Aoife", "Milo", "Greta", "Dr Sand", "Noor", "the choir", "Wanda")
PLACES = ("pad", "meadow", "woodshed")
ROOM, DEPOT_LOAD = 9, 5


@dataclass
class Crate:
    """Something that a hut has ordered."""

    number: str
    sort: str
    hut: Hut
    day: int


class Depot:
    """Packs crates in the order of a list of sorts, and lends nets for loads of wood."""

    def __init__(self, agent_id: str, nets: int) -> None:
        self.agent_id, self.nets = agent_id, nets
        self.order: list[str] = list(SORTS)
        self.waiting: list[Crate] = []

    def set_order(self, order: list[str], note: str) -> None:
        """Decide which sort of crate is packed first."""
        self.order = order

    def take_order(self, number: str, sort: str, hut: Hut, day: int) -> None:
        """Write an order down."""
        self.waiting.append(Crate(number, sort, hut, day))

    def pack(self, day: int) -> int:
        """Pack as many crates as may fly today; old orders for comfort are struck off."""
        self.waiting = [one for one in self.waiting if one.sort == "gas" or one.day > day - 4]
        self.waiting.sort(key=lambda one: (self.order.index(one.sort), one.day))
        now, self.waiting = self.waiting[:DEPOT_LOAD], self.waiting[DEPOT_LOAD:]
        for one in now:
            one.hut.unpack(one.number, one.sort)
        return len(self.waiting)

    def lend_net(self, warden: str, day: int) -> str:
        """Hand out a net."""
        if self.nets == 0:
            return "none here"
        self.nets -= 1
        return "net"

    def take_back(self, nets: int, day: int) -> int:
        """Hang up nets that came back."""
        self.nets += nets
        return self.nets


class Hut:
    """A hut with its warden."""

    def __init__(self, agent_id: str, depot: Depot, gas: int) -> None:
        self.agent_id, self.depot, self.gas = agent_id, depot, gas
        self.place, self.wood = "pad", 1
        self.nets = dict.fromkeys(PLACES, 0)
        self.shelf: set[str] = set()

    def choose_place(self, place: str, note: str) -> None:
        """Decide where empty nets are put."""
        self.place = place

    def order(self, number: str, sort: str, day: int) -> None:
        """Order something from the depot."""
        self.depot.take_order(number, sort, self, day)

    def unpack(self, number: str, sort: str) -> None:
        """Put away what came."""
        if sort == "gas":
            self.gas += 400

    def burn_last(self, day: int) -> None:
        """Put the last logs on the fire."""
        self.wood = 0

    def unload_wood(self, day: int) -> str:
        """Stack wood, and put the net aside."""
        self.wood = 1
        self.nets[self.place] += 1
        return self.place

    def shelve(self, bag: str) -> None:
        """Take a bag in that was sent ahead."""
        self.shelf.add(bag)

    def find_bag(self, bag: str) -> str:
        """Look for a bag."""
        return "here" if bag in self.shelf else "no such bag"

    def serve(self, party: str, day: int, is_late: bool) -> str:
        """Give a party dinner and a room."""
        if is_late:
            return "kitchen closed"
        if self.gas <= 0:
            return "cold stove"
        return "warm dinner" if self.wood else "cold room"


class Helicopter:
    """Flies nets up and down."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id

    def collect(self, hut: Hut, day: int) -> int:
        """Pick up the empty nets that can be seen from above; at Hochalp the woodshed has no roof."""
        seen = PLACES if hut.agent_id == "Toni" else PLACES[:2]
        found = sum(hut.nets[place] for place in seen)
        for place in seen:
            hut.nets[place] = 0
        if found:
            hut.depot.take_back(found, day)
        return found

    def fly_wood(self, hut: Hut, warden: str, day: int) -> str:
        """Bring wood in a net."""
        net = hut.depot.lend_net(warden, day)
        return hut.unload_wood(day) if net == "net" else "not flown"

    def drop_bag(self, bag: str, hut: Hut) -> None:
        """Set a bag down at a hut."""
        hut.shelve(bag)


class Path:
    """A path with a barrier at its lower end."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id, self.is_open = agent_id, True

    def swing(self, is_open: bool, day: int) -> None:
        """Move the barrier."""
        self.is_open = is_open

    def let_pass(self, party: str, day: int) -> str:
        """Let a party through, or send it round the mountain."""
        return "straight on" if self.is_open else "round the mountain"


class Crew:
    """Mends paths."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id

    def close_path(self, path: Path, day: int) -> None:
        """Close a path before stones are moved on it."""
        path.swing(is_open=False, day=day)

    def move_stones(self, path: Path, day: int) -> str:
        """Work on a path."""
        return "mended"

    def open_path(self, path: Path, day: int) -> None:
        """Open a path again."""
        path.swing(is_open=True, day=day)


class Party:
    """People who walk from hut to hut."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id

    def walk(self, path: Path, day: int) -> str:
        """Walk to a hut; the way round takes until the night."""
        way = path.let_pass(self.agent_id, day)
        return "after dark" if way == "round the mountain" else "by four"

    def stay(self, hut: Hut, day: int, arrival: str) -> str:
        """Eat and sleep."""
        return hut.serve(self.agent_id, day, is_late=arrival == "after dark")

    def unpack(self, hut: Hut, bag: str) -> str:
        """Ask for the bag that was sent ahead."""
        return "dry clothes" if hut.find_bag(bag) == "here" else "wet clothes"


class Summer:
    """Plays the days of a summer."""

    def __init__(self, case: Case, days: int) -> None:
        self.case, self.days, self.count = case, days, case.seed % 900
        rng = case.rng("plan")
        self.warden = rng.choice([name for name in WARDENS if name != "Toni"])
        self.party, self.path, self.crew = rng.choice(PARTIES), rng.choice(PATHS), rng.choice(CREWS)
        self.bag = f"bag {rng.randint(400, 999)}"
        self.wrong = rng.choice([name for name in WARDENS if name != self.warden])
        self.wood = {day: self.wood_on(day) for day in range(days)}
        home = list(WARDENS).index(self.warden) // 3
        leaks = sum(self.warden in self.wood[day] for day in range(case.begin, min(case.end, days)))
        self.depots = [
            Depot(name, leaks + 2 if number == home and case.has("leaked_resource") else 3)
            for number, name in enumerate(DEPOTS)
        ]
        self.home = self.depots[home]
        gas = case.rng("gas")
        self.huts = {
            name: Hut(name, self.depots[number // 3], self.gas_at_start(name, gas.randint(4, 30)))
            for number, name in enumerate(WARDENS)
        }
        self.paths, self.crews = {name: Path(name) for name in PATHS}, {name: Crew(name) for name in CREWS}
        self.parties, self.heli = {name: Party(name) for name in PARTIES}, Helicopter("heli")
        self.bags: list[tuple[str, str]] = []

    def gas_at_start(self, name: str, usual: int) -> int:
        """Return how many days the gas of a hut lasts."""
        if not self.case.has("starved_queue"):
            return usual
        return self.case.end + (1 if name == self.warden else usual)

    def wood_on(self, day: int) -> list[str]:
        """Return to whom wood is flown on a day."""
        case, rng = self.case, self.case.rng(f"wood/{day}")
        names = [name for name in WARDENS if rng.random() < 0.4]
        if case.has("leaked_resource") and day == case.begin:
            names = list(dict.fromkeys([self.warden, *names]))
        if case.has("leaked_resource") and day == case.end:
            names = list(WARDENS)
        return names

    def number(self) -> str:
        """Return the next number of a crate."""
        self.count += 1
        return f"K{self.count}"

    def flights(self, day: int) -> None:
        """Collect nets and fly wood."""
        case, rng = self.case, self.case.rng(f"nets/{day}")
        if case.has("leaked_resource") and day == case.begin:
            place = "woodshed" if case.strikes("leaked_resource", day) else "meadow"
            case.root(call(self.warden, "choose_place", note=f"hay, day {day}"))
            self.huts[self.warden].choose_place(place, f"hay, day {day}")
        for name, hut in self.huts.items():
            is_mine = name == self.warden and case.has("leaked_resource") and day >= case.begin
            if rng.random() < 0.06 and not is_mine:
                hut.choose_place(
                    rng.choice(PLACES if name == "Toni" else PLACES[:2]),
                    f"{rng.choice(('hay', 'wind', 'cows'))}, day {day}",
                )
            self.heli.collect(hut, day)
        for name in self.wood[day]:
            self.huts[name].burn_last(day)
            if self.heli.fly_wood(self.huts[name], name, day) == "not flown":
                case.hop(call(self.huts[name].depot.agent_id, "lend_net", warden=name, day=day))
                case.hop(call("heli", "fly_wood", warden=name, day=day))
            elif (
                name == self.warden
                and case.has("leaked_resource")
                and day >= case.begin
                and len(case.roots) < 4
            ):
                case.root(call(name, "unload_wood", day=day))

    def crates(self, day: int) -> None:
        """Order and pack."""
        case, rng = self.case, self.case.rng(f"crates/{day}")
        if case.has("starved_queue") and day == case.begin:
            rest = rng.sample(SORTS[1:], 3)
            order = [*rest, "gas"] if case.strikes("starved_queue", day) else ["gas", *rest]
            case.root(call(self.home.agent_id, "set_order", note=f"after the storm, {day}"))
            self.home.set_order(order, f"after the storm, {day}")
        for depot in self.depots:
            order, is_new = rng.sample(SORTS[1:], 3), rng.random() < 0.12
            if is_new and not (depot is self.home and day >= case.begin):
                depot.set_order(["gas", *order], f"{rng.choice(('after the storm', 'new list'))}, {day}")
            depot.pack(day)
        for name, hut in self.huts.items():
            hut.gas -= 1
            for _ in range(2):
                hut.order(self.number(), rng.choice(SORTS[1:]), day)
            if hut.gas == 1:
                number = self.number()
                hut.order(number, "gas", day)
                case.hop(call(name, "order", number=number))

    def mending(self, day: int) -> None:
        """Close a path, mend it and open it."""
        case, rng = self.case, self.case.rng(f"paths/{day}")
        jobs = [(rng.choice(CREWS), rng.choice([name for name in PATHS if name != self.path]))]
        if rng.random() < 0.5:
            jobs = []
        planned = case.has("forgotten_undo") and day == case.begin
        for crew, name in [*([(self.crew, self.path)] if planned else []), *jobs]:
            who, path = self.crews[crew], self.paths[name]
            who.close_path(path, day)
            who.move_stones(path, day)
            is_mine = planned and name == self.path
            if is_mine:
                case.root(call(crew, "close_path", day=day), call(crew, "move_stones", day=day))
            if not (is_mine and case.strikes("forgotten_undo", day)):
                who.open_path(path, day)

    def walking(self, day: int) -> None:
        """Let parties walk, eat, sleep and ask for bags."""
        case, rng = self.case, self.case.rng(f"walk/{day}")
        is_end, names = day == case.end, list(PARTIES)
        rng.shuffle(names)
        for name, (warden, hut) in zip(names, self.huts.items(), strict=False):
            party, is_there = self.parties[name], rng.random() < 0.6 or is_end
            path = rng.choice([one for one in PATHS if one != self.path])
            if is_end and case.has("forgotten_undo") and warden == self.warden:
                path = self.path
            if not is_there:
                continue
            arrival = party.walk(self.paths[path], day)
            if arrival == "after dark":
                case.hop(call(path, "let_pass", party=name, day=day), call(name, "walk", day=day))
            result = party.stay(hut, day, arrival)
            place = WARDENS[warden]
            if result != "warm dinner":
                case.hop(call(warden, "serve", party=name, day=day))
                self.complain(name, place, call(name, "stay", day=day, result=result), result)

    def complain(self, name: str, place: str, ref: Ref, result: str) -> None:
        """Note what a party says."""
        texts = {
            "kitchen closed": (
                f"We came to the {place} hut at half past nine and there was nothing to eat any more",
                f"{name} stumbled through the dark with a torch for two hours, the map says four hours in all",
                f"{name} had to take an enormous detour for no reason that anybody could tell us",
            ),
            "cold stove": (
                f"Only bread and cheese at {place}, they could not even boil water for tea",
                f"{name} paid half board and the kitchen at {place} was cold",
                "How can a hut have nothing to cook with for days? The children cried",
            ),
            "cold room": (
                f"It was four degrees in the dormitory at {place} and the stove stayed off",
                f"{name} slept in all the clothes they had, the wood never came",
                f"the heli did not bring firewood to {place} although everybody saw it fly",
            ),
        }[result]
        self.case.symptom(ref, *texts)

    def luggage(self, day: int) -> None:
        """Fly bags to huts where their owners will ask for them."""
        case, rng = self.case, self.case.rng(f"bags/{day}")
        for _ in range(rng.randint(0, 2)):
            bag, warden = f"bag {1000 + self.count + rng.randint(0, 9)}/{day}", rng.choice(list(WARDENS))
            self.heli.drop_bag(bag, self.huts[warden])
            self.bags.append((bag, warden))
        if case.has("misrouted_thing") and day == case.begin:
            warden = self.wrong if case.strikes("misrouted_thing", day) else self.warden
            case.root(call("heli", "drop_bag", bag=self.bag))
            self.heli.drop_bag(self.bag, self.huts[warden])
            case.hop(call(warden, "shelve", bag=self.bag))
        asked = [(*self.bags.pop(0), rng.choice(PARTIES))] if self.bags and rng.random() < 0.7 else []
        if case.has("misrouted_thing") and day == case.end:
            asked.append((self.bag, self.warden, self.party))
        for bag, warden, name in asked:
            if self.parties[name].unpack(self.huts[warden], bag) == "wet clothes":
                case.hop(call(warden, "find_bag", bag=bag))
                case.symptom(
                    call(name, "unpack", bag=bag),
                    f"My {bag} was supposed to wait for me at {WARDENS[warden]}, it is not there",
                    f"{name} stood there in wet trousers, and nobody knew anything of a {bag}",
                    f"{warden} looked on every shelf for the luggage we paid 40 francs for. Nothing!",
                )

    def run(self) -> None:
        """Play all days."""
        for day in range(self.days):
            rng = self.case.rng(f"rest/{day}")
            with tick(day):
                self.mending(day)
                self.flights(day)
                self.crates(day)
                self.luggage(day)
                if rng.random() < 0.2 or day == self.case.decoy_at:
                    AgentLogger("heli", "aircraft").warning(
                        "fog, waited on the ground", {"minutes": rng.randint(5, 50)}
                    )
                self.walking(day)


def play(case: Case) -> None:
    """Play a summer."""
    days = case.rng("days").choice((15, 30, 50, 80))
    case.window(days)
    summer = Summer(case, days)
    hut = ("choose_place", "order", "unpack", "burn_last", "unload_wood", "shelve", "find_bag", "serve")
    traced: tuple[tuple[type, str, tuple[str, ...]], ...] = (
        (Depot, "depot", ("set_order", "take_order", "pack", "lend_net", "take_back")),
        (Hut, "warden", hut),
        (Helicopter, "aircraft", ("collect", "fly_wood", "drop_bag")),
        (Path, "path", ("swing", "let_pass")),
        (Crew, "crew", ("close_path", "move_stones", "open_path")),
        (Party, "party", ("walk", "stay", "unpack")),
    )
    with ExitStack() as stack:
        for cls, role, methods in traced:
            stack.enter_context(
                instrument(cls, methods, agent_role=role, ignore=("depot", "waiting", "shelf"))
            )
        summer.run()


FAULTS = ("leaked_resource", "starved_queue", "forgotten_undo", "misrouted_thing")
WORLD = World("mountainhuts", "spans", FAULTS, play, 27)
