"""A swarm of foraging rovers with a nest, a queen that plans, tool racks and repair bays. `instrument` on plain classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from Agent import AgentLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

ROVERS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
NEAR = ("creek", "log", "hollow", "stump")
FAR = ("ridge", "dune")
TOOLS = ("crane", "winch")
FAULTS = ("wheel", "arm", "lens", "cell")
USUAL = ("unload", "rinse", "give_back")


class Rack:
    """Holds one tool, which one rover at a time may take."""

    def __init__(self, tool: str) -> None:
        self.name, self.holder = f"rack_{tool}", ""

    def ask(self, rover: str, lift: str) -> str:
        if self.holder not in {"", rover}:
            return f"out with {self.holder}"
        self.holder = rover
        return "taken"

    def put_back(self, rover: str, lift: str) -> str:
        self.holder = "" if self.holder == rover else self.holder
        return self.holder or "in place"


class Canisters:
    """The sealed canisters in which amber is carried."""

    def __init__(self, number: int) -> None:
        self.name, self.free = "canister_shelf", number

    def lend(self, trip: int) -> int:
        """Lend one; returns how many there were."""
        before, self.free = self.free, max(0, self.free - 1)
        return before

    def restore(self, trip: int) -> int:
        self.free += 1
        return self.free


class Rover:
    """Fetches things; has habits that it was taught."""

    def __init__(self, name: str, shelf: Canisters, racks: dict[str, Rack]) -> None:
        self.name, self.shelf, self.racks = f"rover_{name}", shelf, racks
        self.habit: list[str] = list(USUAL)
        self.order: list[str] = list(TOOLS)
        self.grams, self.in_bay = 0, False

    def adopt_habit(self, steps: list[str], lesson: int) -> int:
        self.habit = steps
        return len(steps)

    def adopt_order(self, tools: list[str], lesson: int) -> str:
        self.order = tools
        return tools[0]

    def gather(self, patch: str, trip: int, grams: int) -> int:
        self.grams = grams
        return grams

    def fetch_amber(self, trip: int, seams: int) -> str:
        """One trip with a canister, ended by what the habit says."""
        if not self.shelf.lend(trip):
            return "no canister"
        for step in self.habit:
            getattr(self, step)(trip)
        return "done"

    def unload(self, trip: int) -> int:
        return trip % 40 + 60

    def rinse(self, trip: int) -> str:
        return "clean"

    def keep_overnight(self, trip: int) -> bool:
        """Keep a canister for the morning if there are plenty."""
        return self.shelf.free > 2

    def give_back(self, trip: int) -> int:
        return self.shelf.restore(trip)

    def grab(self, place: int, lift: str) -> str:
        """Ask for the first or second tool of the own order."""
        return self.racks[self.order[place]].ask(self.name, lift)

    def hoist(self, lift: str) -> str:
        for tool in self.order:
            self.racks[tool].put_back(self.name, lift)
        return "moved"

    def answer(self, call_no: int) -> str:
        return "in the bay" if self.in_bay else "here"


class Bay:
    """Mends two rovers or parts in each tick."""

    def __init__(self, name: str, rovers: dict[str, Rover]) -> None:
        self.name, self.rovers = name, rovers
        self.waiting: list[tuple[int, str, str]] = []
        self.classes: list[str] = []  # none: the oldest first

    def rearrange(self, classes: list[str], note: int) -> int:
        self.classes = classes
        return len(self.waiting)

    def admit(self, job: int, part: str, owner: str) -> int:
        self.waiting.append((job, part, owner))
        if owner in self.rovers:
            self.rovers[owner].in_bay = True
        return len(self.waiting)

    def serve(self, shift: int) -> list[int]:
        """Mend the first two; equal classes in the order of arrival."""
        if self.classes:
            self.waiting.sort(key=lambda item: self.classes.index(item[1]))
        done, self.waiting = self.waiting[:2], self.waiting[2:]
        for _, _, owner in done:
            if owner in self.rovers:
                self.rovers[owner].in_bay = False
        return [job for job, _, _ in done]


class Queen:
    """Plans the swarm, and books what patches yield."""

    def __init__(self, rovers: dict[str, Rover]) -> None:
        self.name, self.rovers = "queen", rovers
        self.score = dict.fromkeys(NEAR, 100) | dict.fromkeys(FAR, 100)

    def teach_habit(self, rover: str, steps: list[str], lesson: int) -> int:
        return self.rovers[rover].adopt_habit(steps, lesson)

    def teach_order(self, rover: str, tools: list[str], lesson: int) -> str:
        return self.rovers[rover].adopt_order(tools, lesson)

    def credit(self, patch: str, grams: int, trip: int) -> int:
        self.score[patch] += grams
        return self.score[patch]

    def choose_patch(self, patches: list[str], plan: int) -> str:
        return max(patches, key=lambda patch: self.score[patch])

    def pair_up(self, first: str, second: str, lift: str) -> str:
        """Have two rovers move one stone each with the same two tools; the second goes when it can."""
        pair, moved = [self.rovers[first], self.rovers[second]], 0
        held = {rover.name: 0 for rover in pair}
        for _ in range(4):
            for rover in pair:
                if held[rover.name] < 2 and rover.grab(held[rover.name], lift) == "taken":
                    held[rover.name] += 1
            for rover in pair:
                if held[rover.name] == 2:
                    rover.hoist(lift)
                    held[rover.name], moved = 3, moved + 1
        return f"{moved} stones moved"

    def call_up(self, rover: str, call_no: int) -> str:
        return self.rovers[rover].answer(call_no)


class Nest:
    """Weighs what comes in, feeds the brood, and writes down what is missing."""

    def __init__(self, queen: Queen) -> None:
        self.name, self.queen, self.store = "nest", queen, 4000

    def weigh(self, trip: int, grams: int, label: str) -> int:
        self.store += grams
        return self.queen.credit(label, grams, trip)

    def note_shortfall(self, note: int, of: str) -> str:
        return f"written down: {of}"


class Swarm:
    """The colony with an agenda that is made before the first tick."""

    def __init__(self, case: Case, ticks: int) -> None:
        self.case, self.ticks = case, ticks
        self.rng, numbers = case.rng("swarm"), list(range(10_000, 100_000))
        case.rng("numbers").shuffle(numbers)
        self.numbers = iter(numbers)
        self.racks = {tool: Rack(tool) for tool in TOOLS}
        self.leaks = sorted(
            {
                case.begin,
                case.end,
                *self.rng.sample(range(case.begin, case.end + 1), min(3, case.end - case.begin)),
            }
        )
        self.shelf = Canisters(len(self.leaks))
        self.rovers = {f"rover_{name}": Rover(name, self.shelf, self.racks) for name in ROVERS}
        self.bays = [Bay(name, self.rovers) for name in ("bay_main", "bay_shade", "bay_rock")]
        self.queen = Queen(self.rovers)
        self.nest = Nest(self.queen)
        self.mine, self.mate, self.third, *self.others = self.rng.sample(list(self.rovers), len(ROVERS))
        self.watch = {name: AgentLogger(name, "mast") for name in ("mast_north", "mast_south")}
        self.agenda: dict[int, list[Callable[[], Any]]] = defaultdict(list)
        for now in range(ticks):
            self.plan_day(now)
        getattr(self, f"plan_{case.kind}")()

    def number(self) -> int:
        return next(self.numbers)

    def at(self, now: int, act: Callable[..., Any], *values: Any) -> None:
        self.agenda[now].append(partial(act, *values))

    def plan_day(self, now: int) -> None:
        """Everyday trips, lessons, lifts, repairs and mishaps of one tick."""
        rng, case, everyone = self.rng, self.case, list(self.rovers)
        free = [rover for rover in everyone if rover != self.mine or now < case.begin]
        for rover in rng.sample(free, rng.choice((0, 1, 1))):
            self.at(now, self.lesson, rover, rng.random() < 0.5, rng.random())
        if rng.random() < 0.2:
            self.at(now, self.nest.note_shortfall, self.number(), rng.choice(("wax", "twine", "salt")))
        for rover in rng.sample(everyone, 2):
            patch = rng.choice(NEAR)
            label = rng.choice(NEAR) if rng.random() < 0.15 else patch  # all near ones are as good
            self.at(now, self.forage, rover, patch, label, rng.randint(5, 40))
        if rng.random() < 0.6:
            self.at(now, self.amber, rng.choice(free), rng.random() < 0.3)
        if rng.random() < 0.35:
            self.at(now, self.lift, *rng.sample(free, 2))
        if rng.random() < 0.4:
            self.at(now, self.expedition, rng.sample(NEAR, 2))
        if rng.random() < 0.45:
            classes = rng.sample(FAULTS, 4)
            self.at(now, self.bays[rng.randint(1, 2)].rearrange, classes, self.number())
        for _ in range(2):
            part = rng.choice([fault for fault in FAULTS if fault != "lens"])
            self.at(now, self.bays[0].admit, self.number(), part, f"spare_{rng.randint(10, 99)}")
        for bay in self.bays[1:]:
            if rng.random() < 0.5:
                self.at(now, bay.admit, self.number(), rng.choice(FAULTS), rng.choice(self.others))
                self.at(now, bay.serve, now)
        called = [rover for rover in everyone if rover != self.mate or case.kind != "starved_queue"]
        self.at(now, self.call_someone, rng.choice(called))
        mast = self.watch[rng.choice(("mast_north", "mast_south"))]
        if rng.random() < 0.1:
            self.at(now, mast.log_action, "set_threshold", {"wind": rng.randint(3, 9)})
        if rng.random() < 0.12:
            self.at(now, mast.warning, rng.choice(("dust on the lens", "radio shadow", "battery cold")))
        if rng.random() < 0.08:
            self.at(now, mast.error, "packet lost, sent again", {"tries": 2})
        if now == case.decoy_at:
            sort = rng.randrange(3)
            if sort == 0:
                self.at(now, mast.error, "gust tore the flag", {"metres_s": rng.randint(15, 30)})
            elif sort == 1:
                self.at(now, mast.log_action, "set_display", {"colour": "amber"})
            else:
                self.at(now, self.nest.note_shortfall, self.number(), "grease")

    def lesson(self, rover: str, about_tools: bool, mood: float) -> None:
        """Teach what does no harm: to rinse at another time, or something that is corrected at once."""
        if about_tools:
            if mood < 0.25:
                self.queen.teach_order(rover, list(reversed(TOOLS)), self.number())
            self.queen.teach_order(rover, list(TOOLS), self.number())
        else:
            if mood < 0.25:
                self.queen.teach_habit(rover, ["unload", "rinse"], self.number())
            steps = ["unload", "give_back", "rinse"] if mood < 0.6 else list(USUAL)
            self.queen.teach_habit(rover, steps, self.number())

    def forage(self, rover: str, patch: str, label: str, grams: int) -> int:
        """One trip to a patch; the nest weighs what is brought."""
        trip = self.number()
        self.rovers[rover].gather(patch, trip, grams)
        self.nest.weigh(trip, grams, label)
        return trip

    def amber(self, rover: str, sleepy: bool) -> None:
        """Fetch amber; a rover that kept its canister gives it back in a trip of its own."""
        trip, bot = self.number(), self.rovers[rover]
        if sleepy and bot.keep_overnight(trip):
            self.shelf.lend(trip)
            bot.unload(trip)
            bot.give_back(trip)
        elif bot.fetch_amber(trip, trip % 5) == "no canister":
            note = self.number()
            self.nest.note_shortfall(note, "amber")
            self.case.hop(call("canister_shelf", "lend", trip=trip), call(rover, "fetch_amber", trip=trip))
            self.complain(call("nest", "note_shortfall", note=note), rover)

    def lift(self, first: str, second: str) -> None:
        lift = f"L{self.number()}"
        if self.queen.pair_up(first, second, lift) != "2 stones moved":
            note = self.number()
            self.nest.note_shortfall(note, f"stones of {lift}")
            self.case.hop(call(first, "grab", lift=lift), call("rack_crane", "ask", lift=lift))
            self.case.hop(call(second, "grab", lift=lift))
            self.case.trigger(call("queen", "pair_up", lift=lift))
            self.complain(call("nest", "note_shortfall", note=note), second)

    def expedition(self, patches: list[str]) -> None:
        """Go where the books say that most is found; one of the far patches is bare by now."""
        plan, rover = self.number(), self.third
        patch = self.queen.choose_patch(patches, plan)
        trip = self.forage(rover, patch, patch, 0 if patch == "dune" else 30)
        if patch == "dune":
            note = self.number()
            self.nest.note_shortfall(note, "seed for the brood")
            self.case.hop(call("queen", "choose_patch", plan=plan), call(rover, "gather", trip=trip))
            self.complain(call("nest", "note_shortfall", note=note), rover)

    def call_someone(self, rover: str) -> None:
        number = self.number()
        if self.queen.call_up(rover, number) == "here" or rover in self.others:
            return
        note = self.number()
        self.nest.note_shortfall(note, "escort for the convoy")
        self.case.hop(call("queen", "call_up", call_no=number), call(rover, "answer", call_no=number))
        self.complain(call("nest", "note_shortfall", note=note), rover)

    def plan_leaked_resource(self) -> None:
        """A rover is taught another habit; it fetches amber now and then, and at last another one does."""
        case, lesson = self.case, self.number()
        steps = ["unload", "rinse"] if case.strikes("leaked_resource") else list(USUAL)
        self.agenda[case.begin].insert(0, partial(self.queen.teach_habit, self.mine, steps, lesson))
        case.root(call("queen", "teach_habit", lesson=lesson), call(self.mine, "adopt_habit", lesson=lesson))
        for count, now in enumerate(self.leaks):
            trip = self.number()
            mine = partial(self.rovers[self.mine].fetch_amber, trip, 1)
            self.agenda[now].append(mine)
            if count < 3 and (now < case.end or not count):
                case.root(call(self.mine, "fetch_amber", trip=trip), call(self.mine, "unload", trip=trip))
        self.at(case.end, self.amber, self.mate, False)

    def plan_wrong_credit(self) -> None:
        """Scouts visit the far patches; the richer load may be booked for the other one, and decides the expedition."""
        case, trip = self.case, self.number()
        label = "dune" if case.strikes("wrong_credit") else "ridge"
        visits = [now for now in range(1, case.begin) if self.rng.random() < 0.15]
        for now in visits:
            self.at(now, self.forage, self.mine, FAR[now % 2], FAR[now % 2], 4)
        grams = 90 + 4 * len(visits)
        self.at(case.begin, self.rovers[self.mine].gather, "ridge", trip, grams)
        self.at(case.begin, self.nest.weigh, trip, grams, label)
        case.root(call("queen", "credit", trip=trip), call("nest", "weigh", trip=trip))
        self.at(case.end, self.expedition, list(FAR))

    def plan_starved_queue(self) -> None:
        """The main bay is told in which order to work; a rover with a bad lens is called up later."""
        case, note, job = self.case, self.number(), self.number()
        classes = ["wheel", "cell", "arm", "lens"] if case.strikes("starved_queue") else []
        self.agenda[case.begin].insert(0, partial(self.bays[0].rearrange, classes, note))
        comes = self.rng.randint(case.begin, case.end - 1)
        self.agenda[comes].insert(1, partial(self.bays[0].admit, job, "lens", self.mate))
        case.root(call("bay_main", "rearrange", note=note))
        case.hop(call("bay_main", "admit", job=job))
        self.at(case.end, self.call_someone, self.mate)

    def plan_deadlock(self) -> None:
        """A rover is taught in which order it takes tools; later it lifts together with another one."""
        case, lesson = self.case, self.number()
        tools = ["winch", "crane"] if case.strikes("deadlock") else list(TOOLS)
        self.agenda[case.begin].insert(0, partial(self.queen.teach_order, self.mine, tools, lesson))
        case.root(call("queen", "teach_order", lesson=lesson), call(self.mine, "adopt_order", lesson=lesson))
        self.at(case.end, self.lift, self.mate, self.mine)

    def complain(self, event: Any, rover: str) -> None:
        names = {"rover": rover, "mate": self.mate, "tick": self.case.end, "third": self.third}
        self.case.symptom(event, *(text.format(**names) for text in TEXTS[self.case.kind]))

    def run(self) -> None:
        """Do what the agenda says, and let the main bay work at the end of each tick."""
        for now in range(self.ticks):
            with tick(now):
                for act in self.agenda[now]:
                    act()
                self.bays[0].serve(now)


TEXTS = {
    "leaked_resource": (
        "{rover} came home without amber, it did not even start",
        "No amber in tick {tick}. We own enough canisters, where are they all?",
        "why is {mate} standing in front of an empty shelf",
        "amber delivery broke off, and it had worked the whole season",
    ),
    "wrong_credit": (
        "the brood goes hungry since the expedition came back with nothing",
        "{third} walked all the way to a bare patch. The other one was full",
        "Expedition in tick {tick}: 0 grams. Who thought that the dune was worth it?",
        "why did {rover} bring no seed? it has never happened before",
    ),
    "starved_queue": (
        "{mate} is still in the repair shop and the convoy leaves without escort",
        "no escort in tick {tick}, the rover sits with a dull lens and nobody looks at it",
        "Why is {rover} not back? A lens takes five minutes",
        "convoy unprotected, others with later damage have long been mended",
    ),
    "deadlock": (
        "two rovers stand at the stones and nothing moves",
        "Stones not moved in tick {tick}. {mate} waits and waits",
        "the double lift hangs: no error, no stone, both tools are gone from the racks",
        "why could {mate} not finish? It lifts stones every week",
    ),
}


def watch() -> None:
    """Record the calls of classes that know nothing of it."""
    links = ("shelf", "racks", "rovers", "queen")
    for kind, acts in (
        (Rack, "ask put_back"),
        (Canisters, "lend restore"),
        (
            Rover,
            "adopt_habit adopt_order gather fetch_amber unload rinse keep_overnight give_back grab hoist answer",
        ),
        (Bay, "rearrange admit serve"),
        (Queen, "teach_habit teach_order credit choose_patch pair_up call_up"),
        (Nest, "weigh note_shortfall"),
    ):
        instrument(kind, acts.split(), agent_id="name", agent_role=kind.__name__.lower(), ignore=links)


def play(case: Case) -> None:
    """Let the swarm live for a season."""
    ticks = case.rng("season").choice((24, 40, 70, 110))
    case.window(ticks)
    watch()
    Swarm(case, ticks).run()


WORLD = World("foragers", "spans", ("leaked_resource", "wrong_credit", "starved_queue", "deadlock"), play, 20)
