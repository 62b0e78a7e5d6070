"""An allotment association: barrows from the shed, timers on the rows, work orders for crews, and loads for plots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from Agent import AgentLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

PEOPLE = ("Amara", "Benoit", "Clodagh", "Dimitri", "Eleni", "Farouk", "Greta", "Hideo", "Ines", "Jakub")
ROWS = ("row_A", "row_B", "row_C", "row_D", "row_E")
CREWS = ("path_crew", "hedge_crew", "ditch_crew")
GROUPS = ("pond_group", "orchard_group")
GOODS = ("manure", "bark", "seed potatoes", "gravel", "straw bales", "bean poles")
FAR = 30  # plots from this number on lie behind the railway
BARROWS = 8
A_DAY = 2  # work orders that a crew gets done in a day


@dataclass
class Order:
    """A work order: what is to be mended where, and until when."""

    number: str
    plot: int
    wish: int
    asker: str
    mended: bool = False


class Shed:
    """The shed, where the barrows stand."""

    def __init__(self) -> None:
        self.name = "shed"
        self.inside = [f"barrow {n}" for n in range(1, BARROWS + 1)]

    def lend(self, slip: str, to: str) -> str | None:
        """Hand out the next barrow."""
        return self.inside.pop(0) if self.inside else None

    def put_back(self, slip: str, barrow: str) -> int:
        """Take a barrow in; return how many stand there now."""
        self.inside.append(barrow)
        return len(self.inside)


class Group:
    """A group that works on common ground, with one member who leads it."""

    def __init__(self, name: str, shed: Shed) -> None:
        self.name, self.shed = name, shed
        self.leader = "nobody yet"
        self.careful = True

    def haul(self, slip: str, loads: int) -> str:
        """Haul earth for an hour or two with a barrow from the shed."""
        barrow = self.shed.lend(slip, self.name)
        if barrow is None:
            return "had to carry buckets"
        if self.careful:
            self.shed.put_back(slip, barrow)
        return f"hauled {loads} loads"


class Chair:
    """The chair of the association, who appoints and briefs."""

    def __init__(self, groups: dict[str, Group], crews: dict[str, Crew]) -> None:
        self.name, self.groups, self.crews = "chair", groups, crews

    def appoint(self, act: str, group: str, leader: str) -> None:
        """Make somebody the leader of a group."""
        self.groups[group].leader = leader

    def brief(self, act: str, crew: str, first: str, gloves: bool) -> None:
        """Tell a crew how to go about its list."""
        self.crews[crew].first = first


class Timer:
    """The timer of the sprinklers of a row."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.on = True

    def pause(self, job: str) -> None:
        """Stop the timer until further notice."""
        self.on = False

    def resume(self, job: str) -> None:
        """Let the timer run again."""
        self.on = True

    def night(self, tray: str, minutes: int) -> int:
        """Sprinkle over night; return the litres that the meter counted."""
        return 4 * minutes if self.on else 0


class Warden:
    """The warden, who mows between the rows and must not get wet."""

    def __init__(self, timers: dict[str, Timer]) -> None:
        self.name, self.timers = "warden", timers

    def start_mowing(self, job: str, row: str) -> None:
        """Stop the sprinklers of a row and mow it."""
        self.timers[row].pause(job)

    def leave_row(self, job: str, row: str) -> None:
        """Set the sprinklers going again."""
        self.timers[row].resume(job)


class Crew:
    """A crew that works through a list of orders."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.first = "oldest"
        self.list: list[Order] = []

    def morning(self, day: int) -> list[str]:
        """Choose the orders of the day and mend them."""
        line = list(self.list)
        if self.first == "nearest":
            line.sort(key=lambda order: order.plot >= FAR)
        chosen = line[:A_DAY]
        for order in chosen:
            self.mend(order.number, order.plot)
            order.mended = True
            self.list.remove(order)
        return [order.number for order in chosen]

    def mend(self, number: str, plot: int) -> None:
        """Mend one thing."""


class Secretary:
    """The secretary, who takes work orders and buys things for plots."""

    def __init__(self, crews: dict[str, Crew]) -> None:
        self.name, self.crews = "secretary", crews

    def take_order(self, number: str, crew: str, plot: int, wish: int, asker: str) -> Order:
        """Put a work order on the list of a crew."""
        order = Order(number, plot, wish, asker)
        self.crews[crew].list.append(order)
        return order

    def buy(self, load: str, goods: str, put_at: str) -> None:
        """Order a load, with the place where it shall be put."""


class Gatehouse:
    """The gatehouse, which sees what comes in and what is fetched."""

    def __init__(self) -> None:
        self.name = "gatehouse"

    def let_in(self, load: str, goods: str) -> str:
        """Let a carter in and keep the slip."""
        return f"slip for {goods}"

    def strike_off(self, load: str) -> str:
        """Strike a load off the list when its owner comes for it."""
        return "struck off"


class Carter:
    """A carter with a small lorry."""

    def __init__(self, name: str, gate: Gatehouse, ground: dict[str, str]) -> None:
        self.name, self.gate, self.ground = name, gate, ground

    def bring(self, load: str, goods: str, to: str) -> None:
        """Bring a load in and put it down."""
        self.gate.let_in(load, goods)
        self.put_down(load, to)

    def put_down(self, load: str, at: str) -> None:
        """Put a load down."""
        self.ground[load] = at


class Holder:
    """Somebody who holds a plot."""

    def __init__(self, name: str, plot: int, shed: Shed, gate: Gatehouse, ground: dict[str, str]) -> None:
        self.name, self.plot, self.shed, self.gate, self.ground = name, plot, shed, gate, ground

    def dig(self, slip: str) -> str:
        """Dig for an afternoon, with a barrow."""
        barrow = self.shed.lend(slip, self.name)
        if barrow is None:
            return "went home again"
        self.shed.put_back(slip, barrow)
        return "dug over"

    def plant_out(self, tray: str, row: str) -> None:
        """Plant seedlings in a common row."""

    def look_after(self, tray: str, litres: int) -> str:
        """Look at the seedlings on the next morning."""
        return "upright" if litres else "limp"

    def walk_by(self, number: str, mended: bool) -> str:
        """See whether a work order was done."""
        return "mended" if mended else "still broken"

    def fetch(self, load: str, at: str) -> str:
        """Fetch a load from where it was to be put."""
        if self.ground.get(load) != at:
            return "nothing there"
        self.gate.strike_off(load)
        return "fetched"

    def unlock(self, gate: str, turns: int) -> None:
        """Open a gate; the locks are old."""
        if turns == 1:
            raise RuntimeError(f"lock of {gate} jams")


TRACED = (
    (Shed, "store", ("lend", "put_back"), ()),
    (Group, "group", ("haul",), ("shed", "careful")),
    (Chair, "chair", ("appoint", "brief"), ("groups", "crews")),
    (Timer, "timer", ("pause", "resume", "night"), ()),
    (Warden, "warden", ("start_mowing", "leave_row"), ("timers",)),
    (Crew, "crew", ("morning", "mend"), ("list",)),
    (Secretary, "office", ("take_order", "buy"), ("crews",)),
    (Gatehouse, "gate", ("let_in", "strike_off"), ()),
    (Carter, "carter", ("bring", "put_down"), ("gate", "ground")),
    (
        Holder,
        "holder",
        ("dig", "plant_out", "look_after", "walk_by", "fetch", "unlock"),
        ("shed", "gate", "ground"),
    ),
)


@contextmanager
def watched() -> Iterator[None]:
    """Trace the classes of this module for the length of a block."""
    with ExitStack() as stack:
        for cls, role, methods, ignored in TRACED:
            stack.enter_context(instrument(cls, methods, agent_id="name", agent_role=role, ignore=ignored))
        yield


class Association:
    """The association, played day by day."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.days = case.rng("days").randint(90, 150)
        self.begin, self.end = case.window(self.days)
        who = case.rng("who")
        self.shed, self.gate = Shed(), Gatehouse()
        self.ground: dict[str, str] = {}
        self.timers = {row: Timer(f"timer_{row}") for row in ROWS}
        self.warden = Warden(self.timers)
        self.crews = {name: Crew(name) for name in CREWS}
        self.secretary = Secretary(self.crews)
        self.groups = {name: Group(name, self.shed) for name in GROUPS}
        self.chair = Chair(self.groups, self.crews)
        self.carters = [Carter(name, self.gate, self.ground) for name in ("carter_Voss", "carter_Adair")]
        plots = who.sample(range(2, FAR), 7) + who.sample(range(FAR, 48), 3)
        self.holders = {
            name: Holder(name, plot, self.shed, self.gate, self.ground)
            for name, plot in zip(PEOPLE, plots, strict=True)
        }
        self.victim = who.choice(PEOPLE[7:]) if case.has("starved_queue") else who.choice(PEOPLE)
        self.row, self.neighbour = who.choice(ROWS), who.choice([one for one in PEOPLE if one != self.victim])
        self.group = self.groups[who.choice(GROUPS)]
        lag = self.end - self.begin
        self.hauls = [self.begin + n * lag // BARROWS for n in range(BARROWS)]
        self.orders: list[Order] = []
        self.parked: list[tuple[str, str]] = []
        self.mowing: list[tuple[str, str]] = []
        self.loads: list[tuple[int, str, str, str, str]] = []
        self.goods, self.load = who.choice(GOODS), ""
        self.count = 0

    def new(self, letter: str) -> str:
        """Return a new mark, as the association writes them on slips."""
        self.count += 1
        return f"{letter}-{self.count:04}"

    def dig(self, name: str) -> None:
        """Let a holder dig; one who finds no barrow is a symptom."""
        slip = self.new("S")
        if self.holders[name].dig(slip) == "dug over":
            return
        self.case.hop(call("shed", "lend", slip=slip))
        self.case.symptom(
            call(name, "dig", slip=slip),
            f"{name} came for a barrow and the shed was empty. There were {BARROWS} of them in spring.",
            "Where have all our barrows gone? Nobody could get one this afternoon.",
            f"Why could {name} not get a barrow?",
            "A member went home again without having dug anything, as there was nothing left to push earth with.",
        )

    def sprinkle(self, name: str, row: str, minutes: int) -> None:
        """Let a holder plant seedlings and the sprinklers run; limp seedlings are a symptom."""
        tray, holder, timer = self.new("T"), self.holders[name], self.timers[row]
        holder.plant_out(tray, row)
        litres = timer.night(tray, minutes)
        if holder.look_after(tray, litres) == "upright":
            return
        self.case.trigger(call(name, "plant_out", tray=tray))
        self.case.hop(call(name, "plant_out", tray=tray), call(timer.name, "night", tray=tray))
        self.case.symptom(
            call(name, "look_after", tray=tray),
            f"{name} found the seedlings in {row} limp on the first morning. Were they not watered?",
            f"Why did {row} get no water in the night after planting?",
            f"The tray {tray} is lost, all of it dried out. Sprinklers should have run.",
            f"{name} lost a whole tray of young leeks. The other rows are doing well.",
        )

    def check(self, now: int) -> None:
        """Let holders see whether their work orders were done in time; one that was not is a symptom."""
        for order in [one for one in self.orders if one.wish == now]:
            self.orders.remove(order)
            if self.holders[order.asker].walk_by(order.number, order.mended) == "mended":
                continue
            self.case.hop(call("path_crew", "morning", day=now))
            self.case.symptom(
                call(order.asker, "walk_by", number=order.number),
                f"{order.asker} still has to climb over the broken path at plot {order.plot}. When is its turn?",
                f"Order {order.number} was to be done by now and nobody has even come to look.",
                f"Why is nothing mended at plot {order.plot}, while others are served on the same day?",
                f"{order.asker} complains that work orders from behind the railway are forgotten.",
            )

    def collect(self, name: str, load: str, goods: str, at: str) -> None:
        """Let a holder fetch a load; one who finds nothing is a symptom."""
        if self.holders[name].fetch(load, at) == "fetched":
            return
        self.case.hop(call("gatehouse", "let_in", load=load))
        self.case.symptom(
            call(name, "fetch", load=load),
            f"{name} came for the {goods} that was paid for, and there is nothing at {at}.",
            f"Where is load {load}? It came in at the gate, that much we know.",
            f"Why is there no {goods} at {at}?",
            f"{name} wants the money back for a load of {goods} that never turned up on the plot.",
        )

    def planned(self, now: int) -> None:
        """Do what the plan has for this day."""
        case, rng = self.case, self.case.rng(f"plan {now}")
        home = f"plot {self.holders[self.victim].plot}"
        if case.has("leaked_resource"):
            if now == self.begin:
                act = self.new("A")
                self.chair.appoint(act, self.group.name, self.neighbour)
                self.group.careful = not case.strikes("leaked_resource", now)
                case.root(call("chair", "appoint", act=act))
            for number in [n for n, day in enumerate(self.hauls) if day == now]:
                slip = self.new("S")
                self.group.haul(slip, rng.randint(3, 9))
                case.hop(call(self.group.name, "haul", slip=slip))
                if number < 3:
                    case.root(call(self.group.name, "haul", slip=slip), call("shed", "lend", slip=slip))
        if case.has("forgotten_undo"):
            if now == self.begin:
                job = self.new("M")
                self.warden.start_mowing(job, self.row)
                case.root(
                    call("warden", "start_mowing", job=job), call(f"timer_{self.row}", "pause", job=job)
                )
                if not case.strikes("forgotten_undo", now):
                    self.warden.leave_row(job, self.row)
            if now == self.end:
                self.sprinkle(self.victim, self.row, rng.randrange(20, 60, 5))
        if case.has("misrouted_thing"):
            if now == self.begin:
                self.load, other = self.new("L"), f"plot {self.holders[self.neighbour].plot}"
                self.secretary.buy(self.load, self.goods, home)
                carter = rng.choice(self.carters)
                to = other if case.strikes("misrouted_thing", now) else home
                carter.bring(self.load, self.goods, to)
                case.root(
                    call(carter.name, "bring", load=self.load), call(carter.name, "put_down", load=self.load)
                )
            if now == self.end:
                self.collect(self.victim, self.load, self.goods, home)

    def crews_day(self, now: int) -> None:
        """Take work orders, brief crews and let them work; in the time of the plan the path crew has much to do."""
        case, rng = self.case, self.case.rng(f"crews {now}")
        busy = case.has("starved_queue") and self.begin <= now <= self.end
        if case.has("starved_queue") and now == self.begin:
            first, act = "nearest" if case.strikes("starved_queue", now) else "oldest", self.new("A")
            self.chair.brief(act, "path_crew", first, gloves=True)
            case.root(call("chair", "brief", act=act))
            self.ask("path_crew", self.victim, self.end)
        if rng.random() < 0.12:
            crew = rng.choice(CREWS[1:])
            self.chair.brief(
                self.new("A"), crew, rng.choice(("nearest", "oldest")), gloves=rng.random() < 0.5
            )
        if rng.random() < 0.04 and not busy and now < self.begin:
            self.chair.brief(self.new("A"), "path_crew", "oldest", gloves=rng.random() < 0.5)
        for crew in CREWS:
            for _ in range(A_DAY if busy and crew == "path_crew" else rng.choice((0, 0, 1, 2))):
                near = busy and crew == "path_crew"
                self.ask(crew, rng.choice(PEOPLE[:7] if near else PEOPLE), now + rng.randint(4, 9))
            self.crews[crew].morning(now)

    def ask(self, crew: str, asker: str, wish: int) -> None:
        """Let a holder ask for something to be mended."""
        number, plot = self.new("W"), self.holders[asker].plot
        self.orders.append(self.secretary.take_order(number, crew, plot, wish, asker))

    def everyday(self, now: int) -> None:
        """Let people dig, plant, mow and fetch, with small troubles."""
        case, rng = self.case, self.case.rng(f"day {now}")
        for slip, barrow in self.parked:
            self.shed.put_back(slip, barrow)
        self.parked = []
        for _ in range(rng.randint(1, 3)):
            self.dig(rng.choice(PEOPLE))
        group = self.groups[rng.choice(GROUPS)]
        if rng.random() < 0.3 and not (case.has("leaked_resource") and group is self.group):
            group.haul(self.new("S"), rng.randint(3, 9))
        if rng.random() < 0.1:
            slip = self.new("S")
            lent = self.shed.lend(slip, rng.choice(PEOPLE))
            if lent is not None:
                self.parked.append((slip, lent))
        if rng.random() < 0.1 and group is not self.group:
            self.chair.appoint(self.new("A"), group.name, rng.choice(PEOPLE))
        for job, row in self.mowing:
            self.warden.leave_row(job, row)
        self.mowing, free = [], [row for row in ROWS if row != self.row]
        if rng.random() < 0.3:
            self.sprinkle(rng.choice(PEOPLE), rng.choice(free), rng.randrange(20, 60, 5))
        if rng.random() < 0.3:
            job, row = self.new("M"), rng.choice(free)
            self.warden.start_mowing(job, row)
            if rng.random() < 0.7:
                self.warden.leave_row(job, row)
            else:
                self.mowing.append((job, row))
        for due in [one for one in self.loads if one[0] == now]:
            self.collect(*due[1:])
            self.loads.remove(due)
        if rng.random() < 0.25:
            load, goods, name = self.new("L"), rng.choice(GOODS), rng.choice(PEOPLE)
            at = rng.choice(("the hut", f"plot {self.holders[name].plot}", f"plot {rng.randint(2, 47)}"))
            self.secretary.buy(load, goods, at)
            rng.choice(self.carters).bring(load, goods, at)
            self.loads.append((now + rng.randint(1, 20), name, load, goods, at))
        if rng.random() < 0.07:
            name, gate = rng.choice(PEOPLE), rng.choice(("north gate", "rail gate"))
            try:
                self.holders[name].unlock(gate, 1)
            except RuntimeError:
                self.holders[name].unlock(gate, 2)
        if now == case.decoy_at:
            AgentLogger("caretaker", "caretaker").warning(f"a strange van stood near {self.row} for an hour")

    def play(self) -> None:
        """Play all days."""
        for now in range(self.days):
            with tick(now):
                self.everyday(now)
                self.crews_day(now)
                self.planned(now)
                self.check(now)


def play(case: Case) -> None:
    """Play a case with its classes watched."""
    with watched():
        Association(case).play()


WORLD = World(
    "allotments", "spans", ("leaked_resource", "forgotten_undo", "starved_queue", "misrouted_thing"), play, 18
)
