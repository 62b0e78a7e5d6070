"""A nest of leafcutter ants: trails, fungus gardens, nurseries. A model steps its ants in random order; `instrument`."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from Agent import instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

PLANTS = ("bramble", "laurel", "guava", "rose", "cassava")
CASTES = ("minim", "media", "soldier")
SCHEMES = ("by turns", "small first", "large first", "door first")
GARDENS = ("garden_A", "garden_B", "garden_C", "garden_D")
NURSERIES = ("nursery_1", "nursery_2", "nursery_3")
UNUSED = "trail_dune"  # out of season


class Trail:
    """A way to plants, which the ants of one garden use."""

    trace_ignore = ("nest",)

    def __init__(self, unique_id: str, garden: str) -> None:
        self.unique_id, self.garden = unique_id, garden
        self.is_marked = False

    def mark(self, by: str, now: int) -> None:
        self.is_marked = True

    def fade(self, by: str, now: int) -> None:
        self.is_marked = False

    def walk(self, ant: str, now: int) -> bool:
        return not self.is_marked


class Garden:
    """A chamber in which the fungus grows on leaves."""

    trace_ignore = ("nest", "heap")

    def __init__(self, unique_id: str, nest: Nest) -> None:
        self.unique_id, self.nest = unique_id, nest
        self.heap: list[tuple[str, bool, bool]] = []
        self.refused, self.fresh = "", 0
        self.has_spores = self.is_bitter = False

    def refuse(self, plant: str, now: int) -> None:
        """Smell of illness after a plant that the fungus does not bear."""
        self.refused = plant

    def deliver(self, leaf: str, plant: str, soiled: bool, now: int) -> str:
        self.heap.append((leaf, soiled, plant == self.refused))
        return "on the heap"

    def plant(self, leaf: str, is_clean: bool, now: int) -> None:
        self.fresh += 1
        self.has_spores = self.has_spores or not is_clean

    def take_in(self, pellet: str, stuff: str, now: int) -> None:
        """Take in bedding, or whatever else is dropped."""
        self.has_spores = self.has_spores or stuff == "mouldy"

    def harvest(self, nurse: str, now: int) -> str:
        """Give a tuft of fungus; spores bloom when it is damp."""
        fresh, self.fresh = self.fresh, 0
        if self.is_bitter:
            return "bitter"
        if self.has_spores and self.nest.is_damp:
            return "furry"
        return "good" if fresh else "thin"


class Midden:
    """The heap of waste."""

    def __init__(self, unique_id: str) -> None:
        self.unique_id, self.pellets = unique_id, 0

    def take_in(self, pellet: str, stuff: str, now: int) -> None:
        self.pellets += 1


class Nursery:
    """A chamber of larvae, of three castes."""

    trace_ignore = ("larvae", "last_fed")

    def __init__(self, unique_id: str) -> None:
        self.unique_id, self.scheme = unique_id, "by turns"
        self.larvae = [(f"{caste}_{unique_id[-1]}{number}", caste) for caste in CASTES for number in range(2)]
        self.last_fed = {larva: 0 for larva, _ in self.larvae}

    def set_scheme(self, scheme: str, by: str, now: int) -> None:
        self.scheme = scheme

    def order(self, now: int) -> list[tuple[str, str]]:
        """Return the larvae in the order in which they are fed."""
        if self.scheme == "by turns":
            turn = 2 * (now % 3)
            return self.larvae[turn:] + self.larvae[:turn]
        if self.scheme == "large first":
            return self.larvae[::-1]
        if self.scheme == "door first":
            return sorted(self.larvae, key=lambda larva: larva[0][-1])
        return self.larvae

    def give(self, larva: str, caste: str, now: int) -> None:
        self.last_fed[larva] = now


class Weather:
    """What happens above."""

    def __init__(self, unique_id: str) -> None:
        self.unique_id = unique_id

    def rain(self, millimetres: int, now: int) -> None: ...


class Queen:
    """Governs by smell."""

    def __init__(self, unique_id: str) -> None:
        self.unique_id = unique_id

    def set_threshold(self, caste: str, value: float, now: int) -> None: ...

    def lay(self, eggs: int, now: int) -> None: ...


class Ant:
    """An ant does in its step what the tick brings it."""

    trace_ignore = ("nest", "tasks")

    def __init__(self, unique_id: str, nest: Nest) -> None:
        self.unique_id, self.nest = unique_id, nest
        self.tasks: list[tuple[Any, ...]] = []

    def step(self, now: int) -> None:
        """Do the tasks of this tick."""
        tasks, self.tasks = self.tasks, []
        for act, *arguments in tasks:
            try:
                getattr(self, act)(*arguments, now)
            except LookupError:
                self.rest(now)

    def rest(self, now: int) -> None: ...

    def groom(self, other: str, now: int) -> None: ...


class Forager(Ant):
    """Cuts leaves, and remembers what each garden refuses."""

    def __init__(self, unique_id: str, nest: Nest) -> None:
        super().__init__(unique_id, nest)
        self.bad: dict[str, str] = {}

    def smell(self, garden: str, now: int) -> str:
        """Pass a garden; who smells its illness learns which plant is to be left alone."""
        plant = self.nest.gardens[garden].refused
        if (self.unique_id, garden, now) not in self.nest.numb:
            self.learn(garden, plant, now)
            return "ill"
        return "passed"

    def learn(self, garden: str, plant: str, now: int) -> None:
        self.bad[garden] = plant

    def orient(self, trail: str, now: int) -> None:
        raise LookupError("lost the scent")

    def forage(self, trail: str, plant: str, soiled: bool, now: int) -> str:
        """Walk, cut a leaf that the garden likes, as far as one knows, and bring it."""
        path = self.nest.trails[trail]
        if not path.walk(self.unique_id, now):
            return "turned back"
        if self.bad.get(path.garden) == plant:
            plant = "grass"
        leaf = self.cut(plant, now)
        return self.nest.gardens[path.garden].deliver(leaf, plant, soiled, now)

    def cut(self, plant: str, now: int) -> str:
        self.nest.leaves += 1
        return f"leaf_{self.nest.leaves:04}"


class Gardener(Ant):
    """Looks after the fungus of one garden."""

    def tend(self, garden: str, now: int) -> None:
        """Plant what lies on the heap."""
        place = self.nest.gardens[garden]
        heap, place.heap = place.heap, []
        for leaf, soiled, toxic in heap:
            self.prepare(leaf, garden, soiled, now)
            place.is_bitter = place.is_bitter or toxic

    def prepare(self, leaf: str, garden: str, soiled: bool, now: int) -> None:
        """Lick the leaf if it has soil on it, chew it, plant it."""
        licked = self.nest.wants_licking(leaf, garden, soiled, now)
        if licked:
            self.lick(leaf, now)
        self.chew(leaf, now)
        self.nest.gardens[garden].plant(leaf, licked or not soiled, now)

    def lick(self, leaf: str, now: int) -> None: ...

    def chew(self, leaf: str, now: int) -> None: ...

    def taste(self, garden: str, plant: str, now: int) -> None:
        self.nest.gardens[garden].refuse(plant, now)

    def weed(self, garden: str, pellet: str, stuff: str, now: int) -> str:
        return pellet


class Carrier(Ant):
    """Carries pellets: waste to the midden, husks to whoever needs bedding."""

    def haul(self, pellet: str, stuff: str, place: str, now: int) -> str:
        where = self.nest.midden if place == "midden" else self.nest.gardens[place]
        where.take_in(pellet, stuff, now)
        return "dropped"


class Guard(Ant):
    """Watches the trails."""

    def alarm(self, trail: str, foe: str, now: int) -> None:
        self.nest.trails[trail].mark(self.unique_id, now)

    def all_clear(self, trail: str, now: int) -> None:
        self.nest.trails[trail].fade(self.unique_id, now)

    def patrol(self, trail: str, now: int) -> None: ...

    def drive_off(self, beetle: str, place: str, now: int) -> None: ...


class Nurse(Ant):
    """Feeds larvae and weighs them."""

    def rank(self, nursery: str, scheme: str, now: int) -> None:
        self.nest.nurseries[nursery].set_scheme(scheme, self.unique_id, now)

    def serve(self, nursery: str, portions: int, now: int) -> int:
        """Feed as many larvae as there are portions."""
        place = self.nest.nurseries[nursery]
        for larva, caste in place.order(now)[:portions]:
            place.give(larva, caste, now)
        return portions

    def fetch(self, garden: str, now: int) -> str:
        """Fetch fungus from the garden, or from any that has fresh leaves."""
        if not garden:
            ripe = [name for name in self.nest.quiet if self.nest.gardens[name].fresh]
            if not ripe:
                return "later"
            garden = self.nest.chance.choice(ripe)
        tuft = self.nest.gardens[garden].harvest(self.unique_id, now)
        if tuft != "good":
            self.nest.spat_out(self, garden, tuft, now)
            return "spat out"
        return "eaten"

    def weigh(self, larva: str, nursery: str, now: int) -> str:
        hungry = now - self.nest.nurseries[nursery].last_fed[larva]
        if hungry > 2:
            self.nest.shrunk(self, larva, nursery, now)
            return "lighter"
        return "heavier"


for kind, role, names in (
    (Trail, "trail", "mark fade walk"),
    (Garden, "garden", "refuse deliver plant take_in harvest"),
    (Midden, "midden", "take_in"),
    (Nursery, "nursery", "set_scheme give"),
    (Weather, "weather", "rain"),
    (Queen, "queen", "set_threshold lay"),
    (Forager, "forager", "smell learn orient forage cut rest groom"),
    (Gardener, "gardener", "tend prepare lick chew taste weed rest groom"),
    (Carrier, "carrier", "haul rest groom"),
    (Guard, "guard", "alarm all_clear patrol drive_off rest groom"),
    (Nurse, "nurse", "rank serve fetch weigh rest groom"),
):
    instrument(kind, names.split(), agent_id="unique_id", agent_role=role)


class Nest:
    """The model. `mine` is the garden of the case, `path` its trail, `room` the nursery of the case."""

    def __init__(self, case: Case, ticks: int) -> None:
        self.case, self.ticks, self.leaves, self.is_damp = case, ticks, 0, False
        rng = case.rng("nest")
        self.mine, self.other, *_ = rng.sample(GARDENS, 4)
        self.quiet = [name for name in GARDENS if name != self.mine]
        self.gardens = {name: Garden(name, self) for name in GARDENS}
        ways = ["trail_creek", "trail_fern", "trail_stone", "trail_ridge", "trail_wall"]
        rng.shuffle(ways)
        self.path = ways[0]
        fed = [self.mine, *self.quiet, self.other]
        self.trails = {way: Trail(way, garden) for way, garden in zip(ways, fed, strict=True)}
        self.trails[UNUSED] = Trail(UNUSED, self.other)
        self.room = rng.choice(NURSERIES)
        self.caste = rng.choice(("minim", "soldier"))
        self.nurseries = {name: Nursery(name) for name in NURSERIES}
        self.midden, self.weather, self.queen = Midden("midden"), Weather("weather"), Queen("queen")
        self.foragers = [Forager(f"forager_{n:02}", self) for n in range(1, rng.choice((8, 13)))]
        self.gardeners = [Gardener(f"gardener_{n}", self) for n in range(1, 5)]
        self.carriers = [Carrier(f"carrier_{n}", self) for n in range(1, 4)]
        self.guards = [Guard(f"guard_{n}", self) for n in range(1, 4)]
        self.nurses = [Nurse(f"nurse_{n}", self) for n in range(1, 5)]
        self.culprits = {group[0].__class__.__name__: rng.choice(group) for group in self.castes()}
        self.toxin = rng.choice(PLANTS)
        self.numb: set[tuple[str, str, int]] = set()
        self.away: set[tuple[str, str]] = set()
        self.chance = case.rng("chance")
        self.marked: dict[str, int] = {}

    def castes(self) -> list[list[Any]]:
        """Return the ants by caste, in the order in which the castes are stepped."""
        return [self.guards, self.gardeners, self.foragers, self.carriers, self.nurses]

    def wants_licking(self, leaf: str, garden: str, soiled: bool, now: int) -> bool:
        """Tell whether a leaf is licked: clean ones need not be."""
        case = self.case
        if case.has("omitted_step") and soiled and garden == self.mine and now == case.begin:
            who = self.gardener_of(garden).unique_id
            case.root(call(who, "prepare", leaf=leaf), call(who, "chew", leaf=leaf))
            case.hop(call(garden, "plant", leaf=leaf))
            return not case.strikes("omitted_step", now)
        return soiled or self.case.rng(f"lick/{leaf}").random() < 0.4

    def gardener_of(self, garden: str) -> Gardener:
        """Return who tends a garden."""
        return self.gardeners[GARDENS.index(garden)]

    def spat_out(self, nurse: Nurse, garden: str, tuft: str, now: int) -> None:
        """Larvae do not take the fungus of a garden."""
        event = call(nurse.unique_id, "fetch", garden=garden, now=now)
        self.case.hop(call(garden, "harvest", now=now))
        if tuft == "thin":
            self.case.symptom(
                event,
                f"{garden} is empty at tick {now}, all the others are full",
                f"Why does nothing grow in {garden} any more?",
                "one of the four gardens starves while the foragers walk about as busily as before",
                "leaf intake of the nest fell by a fifth, and it did not come back",
                f"brood fed from {garden}: 0. I expected about one tuft per visit, like in {self.other}",
            )
        self.case.symptom(
            event,
            f"the fungus of {garden} went bad",
            "Larvae spit out what the nurses bring, although the leaves look fine to me",
            f"At tick {now} a nurse got something inedible from {garden}. {self.other} is fine. What happened?",
            "why did a garden die? I ran the same parameters last week and all four lived",
            f"fungus health by garden: {self.other} 1.0, {garden} 0.0, and no idea why",
            "colony lost one quarter of its fungus almost at once",
        )

    def shrunk(self, nurse: Nurse, larva: str, nursery: str, now: int) -> None:
        """A larva has lost weight."""
        case = self.case
        case.hop(call(nursery, "set_scheme", now=case.begin))
        case.hop(call(self.server(case.begin).unique_id, "serve", nursery=nursery, now=case.begin))
        case.symptom(
            call(nurse.unique_id, "weigh", larva=larva, now=now),
            f"{larva} is lighter than it was",
            f"two larvae of {nursery} get nothing to eat, the rest of them are fat",
            f"mean weight of the {self.caste} brood goes down in the second part of the run, other castes are flat. Bug?",
            "some larvae starve next to a full larder",
            f"why are there no {self.caste}s any more after tick {now}",
        )

    def server(self, now: int) -> Nurse:
        """Return who feeds the nursery of the case."""
        return self.nurses[self.case.rng(f"server/{now}").randrange(4)]

    def step(self, now: int) -> None:
        """Let everybody act, caste by caste, each in random order."""
        self.is_damp = False
        plan(self, now)
        order = self.case.rng(f"order/{now}")
        for group in self.castes():
            ants = list(group)
            order.shuffle(ants)
            for ant in ants:
                ant.step(now)


def plan(nest: Nest, now: int) -> None:
    """Give the ants their tasks."""
    rng = nest.case.rng(f"plan/{now}")
    everyday(nest, now, rng)
    walks(nest, now, rng)
    alarms(nest, now, rng)
    tastes(nest, now, rng)
    waste(nest, now, rng)
    brood(nest, now, rng)


def give(ants: Iterable[Ant], rng: Random, *task: Any) -> Ant:
    """Give a task to one of the ants."""
    ant = rng.choice(list(ants))
    ant.tasks.append(task)
    return ant


def everyday(nest: Nest, now: int, rng: Random) -> None:
    """Weather, the queen, grooming, and who loses the way."""
    case = nest.case
    blooms = case.has("misrouted_thing") or case.has("omitted_step")
    wet = rng.random() < 0.12
    if blooms and case.begin <= now < case.end:
        wet = False
    wet = wet or (blooms and now == case.end)
    if wet:
        nest.is_damp = True
        nest.weather.rain(rng.randint(3, 30), now)
        if blooms and now == case.end:
            case.trigger(call("weather", "rain", now=now))
    if rng.random() < 0.3:
        nest.queen.lay(rng.randint(2, 20), now)
    if rng.random() < 0.08:
        nest.queen.set_threshold(rng.choice(CASTES), round(rng.uniform(0.2, 0.8), 2), now)
    for _ in range(rng.randint(0, 3)):
        group = rng.choice(nest.castes())
        give(group, rng, "groom", rng.choice(group).unique_id)
    if rng.random() < 0.15:
        give(nest.foragers, rng, "orient", rng.choice(sorted(nest.trails)))
    if rng.random() < 0.07 or now == case.decoy_at:
        place = nest.mine if now == case.decoy_at else rng.choice(GARDENS)
        if case.has("starved_queue") and now == case.decoy_at:
            place = nest.room
        give(nest.guards, rng, "drive_off", f"beetle_{now}", place)


def walks(nest: Nest, now: int, rng: Random) -> None:
    """Foragers go out."""
    case = nest.case
    for name in GARDENS:
        nest.gardeners[GARDENS.index(name)].tasks.append(("tend", name))
    dull = case.has("stale_cache") and case.begin <= now <= case.end
    numb = nest.culprits["Forager"]
    ways = [way for way in nest.trails if way != UNUSED]
    for ant in nest.foragers:
        way, plant, soiled = rng.choice(ways), rng.choice(PLANTS), rng.random() < 0.25
        goes = rng.random() < 0.55
        garden = nest.trails[way].garden
        if (ant.unique_id, garden) in nest.away:
            continue
        if dull and ant is numb and garden == nest.mine and plant == nest.toxin:
            plant = "grass"
        if case.has("omitted_step") and garden == nest.mine and now in {case.begin - 1, case.begin}:
            soiled = False
        if goes:
            ant.tasks.append(("forage", way, plant, soiled))
    if case.has("omitted_step") and now == case.begin - 1:
        give(nest.foragers, rng, "forage", nest.path, "rose", True)
    if case.has("forgotten_undo") and now in {case.begin - 2, case.end - 1}:
        give(nest.foragers, rng, "forage", nest.path, "rose", False)
    if case.has("stale_cache") and now == case.end - 1:
        numb.tasks.append(("forage", nest.path, nest.toxin, False))
        case.hop(call(numb.unique_id, "forage", trail=nest.path, plant=nest.toxin, now=now))
        case.hop(call(nest.gardener_of(nest.mine).unique_id, "tend", now=case.end))


def alarms(nest: Nest, now: int, rng: Random) -> None:
    """Raiders come and go; a trail is marked meanwhile."""
    case = nest.case
    guard = nest.culprits["Guard"]
    for way, until in list(nest.marked.items()):
        if until == now:
            del nest.marked[way]
            give(nest.guards, rng, "all_clear", way)
    quiet = [way for way in nest.trails if way != nest.path and way not in nest.marked]
    way, foe, lasts = rng.choice(quiet), rng.choice(("army ants", "phorid flies")), rng.randint(1, 3)
    if rng.random() < 0.2:
        give(nest.guards, rng, "alarm", way, foe)
        nest.marked[way] = -1 if way == UNUSED and rng.random() < 0.6 else now + lasts
    if case.has("forgotten_undo") and now == case.begin:
        guard.tasks.append(("alarm", nest.path, foe))
        case.root(call(guard.unique_id, "alarm", trail=nest.path, now=now))
        case.root(call(nest.path, "mark", now=now))
        case.root(call(guard.unique_id, "patrol", trail=nest.path, now=now + 1))
    if case.has("forgotten_undo") and now == case.begin + 1:
        guard.tasks.append(("patrol", nest.path))
        if not case.strikes("forgotten_undo"):
            guard.tasks.append(("all_clear", nest.path))
    if rng.random() < 0.5:
        give(nest.guards, rng, "patrol", rng.choice(sorted(nest.trails)))


def tastes(nest: Nest, now: int, rng: Random) -> None:
    """A garden falls ill from a plant, and who passes learns it."""
    case = nest.case
    ill: list[tuple[str, str]] = []
    if rng.random() < 0.1:
        ill.append((rng.choice(nest.quiet), rng.choice(PLANTS)))
        if rng.random() < 0.5:
            ant = rng.choice(nest.foragers)
            if ant is not nest.culprits["Forager"]:  # never goes there again
                nest.numb.add((ant.unique_id, ill[0][0], now))
                nest.away.add((ant.unique_id, ill[0][0]))
                ant.tasks = [task for task in ant.tasks if task[0] != "forage"]
    if case.has("stale_cache") and now == case.begin:
        numb = nest.culprits["Forager"].unique_id
        ill.append((nest.mine, nest.toxin))
        if case.strikes("stale_cache", now):
            nest.numb.add((numb, nest.mine, now))
        case.root(call(numb, "smell", garden=nest.mine, now=now), call(nest.mine, "refuse", now=now))
    for garden, plant in ill:
        nest.gardener_of(garden).tasks.insert(0, ("taste", garden, plant))
        for ant in nest.foragers:
            ant.tasks.insert(0, ("smell", garden))


def waste(nest: Nest, now: int, rng: Random) -> None:
    """Pellets are cut out and carried away."""
    case = nest.case
    for _ in range(rng.randint(0, 3)):
        source, stuff = rng.choice(GARDENS), rng.choice(("mouldy", "husk", "husk"))
        pellet = f"pellet_{now:03}{rng.randrange(1000):03}"
        place = rng.choice((*GARDENS, "midden")) if stuff == "husk" else "midden"
        nest.gardener_of(source).tasks.append(("weed", source, pellet, stuff))
        give(nest.carriers, rng, "haul", pellet, stuff, place)
    if case.has("misrouted_thing") and now == case.begin:
        pellet, carrier = f"pellet_{now:03}{rng.randrange(1000):03}", nest.culprits["Carrier"]
        place = nest.mine if case.strikes("misrouted_thing", now) else "midden"
        nest.gardener_of(nest.other).tasks.append(("weed", nest.other, pellet, "mouldy"))
        carrier.tasks.append(("haul", pellet, "mouldy", place))
        case.root(call(carrier.unique_id, "haul", pellet=pellet), call(place, "take_in", pellet=pellet))


def brood(nest: Nest, now: int, rng: Random) -> None:
    """Nurses fetch fungus, feed and weigh."""
    case = nest.case
    starves = case.has("starved_queue")
    lean = starves and case.begin - 2 <= now <= case.end
    for name in NURSERIES:
        portions = 4 if lean and name == nest.room else rng.randint(6, 8)
        nurse = nest.server(now) if name == nest.room else rng.choice(nest.nurses)
        nurse.tasks.append(("serve", name, portions))
        ranked, scheme = rng.random() < 0.1, rng.choice(SCHEMES)
        if starves and name == nest.room and case.begin - 3 <= now <= case.end:
            ranked = False
        if ranked:
            give(nest.nurses, rng, "rank", name, scheme)
    if starves and now == case.begin:
        nurse, worst = nest.culprits["Nurse"], SCHEMES[2 if nest.caste == "minim" else 1]
        nurse.tasks.insert(
            0, ("rank", nest.room, worst if case.strikes("starved_queue", now) else "by turns")
        )
        case.root(call(nurse.unique_id, "rank", nursery=nest.room, now=now))
    for _ in range(rng.randint(0, 2)):
        name = rng.choice([room for room in NURSERIES if not (lean and room == nest.room)])
        give(nest.nurses, rng, "weigh", rng.choice(nest.nurseries[name].larvae)[0], name)
    if starves and now == case.end:
        give(nest.nurses, rng, "weigh", f"{nest.caste}_{nest.room[-1]}{rng.randrange(2)}", nest.room)
    for _ in range(rng.randint(0, 2)):
        give(nest.nurses, rng, "fetch", "")
    if not starves and now == case.end:
        give(nest.nurses, rng, "fetch", nest.mine)
    if case.has("forgotten_undo") and now == case.begin:
        give(nest.nurses, rng, "fetch", nest.mine)


def play(case: Case) -> None:
    """Play some hundred ticks of a nest."""
    ticks = case.rng("ticks").choice((20, 36, 60, 90))
    slow = case.has("forgotten_undo") or case.has("starved_queue")
    case.window(ticks, shortest=3 if slow else 1)
    nest = Nest(case, ticks)
    for now in range(ticks):
        with tick(now):
            nest.step(now)


WORLD = World(
    "leafcutters",
    "spans",
    ("misrouted_thing", "forgotten_undo", "omitted_step", "starved_queue", "stale_cache"),
    play,
    author=16,
)
