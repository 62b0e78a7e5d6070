"""A public swimming bath: basins, guards, drums of chemicals and bookings. Plain classes, instrumented from outside."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from Agent import instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

BASINS = ("Otter", "Heron", "Pike", "Newt", "Gull", "Carp", "Swan")
GUARDS = ("Gitte", "Malik", "Sunniva", "Oskar")
CLUBS = ("the divers", "class 4b", "the water polo boys", "class 7a", "the seniors", "the triathletes")
USUAL = {"warmth": (25, 30), "flow": (40, 70), "lights": (2, 9), "chlorine": (5, 9)}


class Basin:
    """A basin with its water."""

    def __init__(self, name: str, bath: Bath) -> None:
        self.name, self.bath, self.doses = name, bath, True
        self.targets = {"warmth": 27, "flow": 55, "lights": 5, "chlorine": 6}
        self.visits = 0

    def pause_doses(self, job: str) -> None:
        self.doses = False

    def resume_doses(self, job: str) -> None:
        self.doses = True

    def take_in(self, party: str, heads: int) -> str:
        """Let a party swim; many heads at once need what is dosed."""
        self.visits += heads
        return "clear" if self.doses or heads < 60 else "milky"

    def fill_bottle(self, bottle: str) -> int:
        """Give a sample: the germs in it."""
        germs = self.bath.germs[bottle]
        return germs if self.targets["chlorine"] >= 3 else germs + 60

    def feed(self, drum: str) -> None:
        """Connect a drum of flocculant."""

    def open_for(self, booking: str) -> str:
        """Open for a booking, if somebody watches."""
        bath = self.bath
        if bath.watched.get(booking) == bath.now or bath.standby.stand_in(booking):
            return "open"
        return "shut"


class Guard:
    """A guard, who washes filters and helps people in, too."""

    def __init__(self, name: str, bath: Bath) -> None:
        self.name, self.bath = name, bath

    def wash_filter(self, job: str, basin: str) -> None:
        water = self.bath.basins[basin]
        water.pause_doses(job)
        if job not in self.bath.left:
            water.resume_doses(job)

    def finish(self, job: str, basin: str) -> None:
        self.bath.basins[basin].resume_doses(job)

    def help_in(self, visit: str, basin: str) -> bool:
        """Lift somebody in with a sling of the hoist, and hang the sling back."""
        if not self.bath.slings.hand_out(visit):
            return False
        self.bath.basins[basin].take_in(visit, 1)
        if visit not in self.bath.left:
            self.bath.slings.hang_back(visit)
        return True

    def change_drum(self, basin: str, turn: int) -> str:
        """Connect the next drum that stands beside the basin; if none does, go without."""
        shelf = self.bath.shelves[basin]
        if not shelf:
            return "none there"
        self.bath.basins[basin].feed(shelf[0])
        return shelf.pop(0)

    def stand_in(self, booking: str) -> bool:
        return not self.bath.standby_ill


class Slings:
    """The slings of the hoist."""

    def __init__(self, count: int) -> None:
        self.name, self.hanging = "sling_rack", count

    def hand_out(self, visit: str) -> bool:
        if not self.hanging:
            return False
        self.hanging -= 1
        return True

    def hang_back(self, visit: str) -> int:
        self.hanging += 1
        return self.hanging


class PlantRoom:
    """The plant room: set points and drums."""

    def __init__(self, bath: Bath) -> None:
        self.name, self.bath = "plant_room", bath

    def set_point(self, basin: str, what: str, value: int) -> None:
        self.bath.basins[basin].targets[what] = value

    def order_drum(self, drum: str, basin: str) -> None:
        self.bath.ordered.append((drum, basin))

    def blow_whistle_test(self, basin: str) -> str:
        return "heard"


class Porter:
    """Brings drums."""

    def __init__(self, bath: Bath) -> None:
        self.name, self.bath = "porter", bath

    def set_down(self, drum: str, basin: str) -> None:
        self.bath.shelves[basin].append(drum)

    def carry_over(self, drum: str, basin: str) -> None:
        for shelf in self.bath.shelves.values():
            if drum in shelf:
                shelf.remove(drum)
        self.bath.shelves[basin].append(drum)


class Rota:
    """Who watches when."""

    def __init__(self, bath: Bath) -> None:
        self.name, self.bath = "rota", bath

    def write_in(self, booking: str, guard: str, turn: int) -> None:
        self.bath.watched[booking] = turn

    def report_ill(self, guard: str, turn: int) -> None:
        self.bath.standby_ill = True


class HealthOffice:
    """Takes samples."""

    def __init__(self, bath: Bath) -> None:
        self.name, self.bath = "health_office", bath

    def test(self, bottle: str, basin: str) -> str:
        return "ok" if self.bath.basins[basin].fill_bottle(bottle) < 20 else "too many"


class CashDesk:
    """Sells tickets, and writes down what people say."""

    def __init__(self) -> None:
        self.name = "cash_desk"

    def scan(self, card: str) -> str:
        if card.endswith("X"):
            raise ValueError("the card cannot be read")
        return "in"

    def let_in(self, card: str) -> str:
        return "in"

    def write_down(self, page: int, matter: str) -> None:
        """Keep what somebody said."""


TRACED = {
    Basin: ("basin", "pause_doses resume_doses take_in fill_bottle feed open_for"),
    Guard: ("guard", "wash_filter finish help_in change_drum stand_in"),
    Slings: ("store", "hand_out hang_back"),
    PlantRoom: ("office", "set_point order_drum blow_whistle_test"),
    Porter: ("porter", "set_down carry_over"),
    Rota: ("office", "write_in report_ill"),
    HealthOffice: ("authority", "test"),
    CashDesk: ("office", "scan let_in write_down"),
}


@dataclass
class Bath:
    """The bath, and the basin `mine` of the case."""

    case: Case
    now: int = 0
    pages: int = 0
    standby_ill: bool = False
    left: set[str] = field(default_factory=set)
    unfinished: list[tuple[str, str, str]] = field(default_factory=list)
    wet: list[str] = field(default_factory=list)
    ordered: list[tuple[str, str]] = field(default_factory=list)
    germs: dict[str, int] = field(default_factory=dict)
    watched: dict[str, int] = field(default_factory=dict)
    booked: list[tuple[int, str, str, str]] = field(default_factory=list)

    def build(self, slings: int) -> None:
        """Build everything that acts."""
        rng = self.case.rng("who")
        self.basins = {name: Basin(name, self) for name in BASINS}
        self.guards = {name: Guard(name, self) for name in GUARDS}
        self.standby = Guard("Bertil", self)
        self.slings, self.plant, self.porter = Slings(slings), PlantRoom(self), Porter(self)
        self.rota, self.office, self.desk = Rota(self), HealthOffice(self), CashDesk()
        self.mine = rng.choice(BASINS)
        self.quiet = [name for name in BASINS if name != self.mine]
        self.guard, self.other, self.club = rng.choice(GUARDS), rng.choice(self.quiet), rng.choice(CLUBS)
        self.shelves = {name: [f"D{number:03}"] for number, name in enumerate(BASINS)}
        self.drums = len(BASINS)

    def tell(self, matter: str, *texts: str) -> None:
        """Somebody complains at the desk, and a user writes about it."""
        self.pages += 1
        self.desk.write_down(self.pages, matter)
        fill = {"mine": self.mine, "other": self.other, "club": self.club}
        event = call("cash_desk", "write_down", page=self.pages)
        self.case.symptom(event, *(text.format(**fill) for text in texts))

    def change(self, basin: str, guard: str) -> None:
        """Change the drum of a basin, and order the next one."""
        got = self.guards[guard].change_drum(basin, self.now)
        self.drums += 1
        self.plant.order_drum(f"D{self.drums:03}", basin)
        if got == "none there":
            self.case.hop(call(guard, "change_drum", basin=basin, turn=self.now))
            self.tell(
                "green water",
                "The water is green. Green!",
                "{mine} has gone the colour of pea soup since this afternoon, {other} is fine",
                "somebody must have ordered too little of that stuff that makes the water clear, they ran out at {mine}",
                "you cannot see the tiles on the floor any more",
            )


def _drums(bath: Bath, now: int) -> None:
    """Bring what was ordered, and change drums that are empty."""
    case, rng = bath.case, case_rng(bath, "drums", now)
    for drum, basin in bath.ordered:
        place, slip = basin, rng.random()
        away = rng.choice([name for name in BASINS if name not in {basin, bath.mine}])
        if case.has("misrouted_thing") and basin == bath.mine:
            if now == case.begin:
                place = away if case.strikes("misrouted_thing", now) else basin
                case.root(call("porter", "set_down", drum=drum))
        elif slip < 0.2 and basin != bath.mine:
            place = away
        bath.porter.set_down(drum, place)
        if place != basin and basin != bath.mine:
            bath.porter.carry_over(drum, basin)
    bath.ordered.clear()
    if rng.random() < 0.3:
        bath.change(rng.choice(bath.quiet), rng.choice(GUARDS))
    if case.has("misrouted_thing") and now in {1, case.begin - 1, case.end}:
        if now == case.end and len(bath.shelves[bath.mine]) > 1:
            raise AssertionError("more drums than planned")
        bath.change(bath.mine, bath.guard)


def case_rng(bath: Bath, topic: str, now: int):
    """Return the dice of one topic at one time."""
    return bath.case.rng(f"{topic}/{now}")


def _filters(bath: Bath, now: int) -> None:
    """Wash filters, and let parties swim."""
    case, rng = bath.case, case_rng(bath, "filters", now)
    for guard, job, basin in bath.unfinished:
        bath.guards[guard].finish(job, basin)
    bath.unfinished.clear()
    if rng.random() < 0.5:
        job, basin, guard = f"F{now:03}a", rng.choice(bath.quiet), rng.choice(GUARDS)
        if rng.random() < 0.25:  # the pump has to cool, and somebody comes back for it
            bath.left.add(job)
            bath.unfinished.append((guard, job, basin))
        bath.guards[guard].wash_filter(job, basin)
    if case.has("forgotten_undo") and now in {2, case.begin}:
        job = f"F{now:03}b"
        if case.strikes("forgotten_undo", now):
            bath.left.add(job)
        bath.guards[bath.guard].wash_filter(job, bath.mine)
        if now == case.begin:
            case.root(call(bath.guard, "wash_filter", job=job), call(bath.mine, "pause_doses", job=job))
    parties = [(rng.choice(BASINS), rng.randint(3, 40)) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.3:
        ready = [name for name in bath.quiet if bath.basins[name].doses]
        parties.append((rng.choice(ready), rng.randint(60, 90)))
    if case.has("forgotten_undo") and now == case.end:
        parties.append((bath.mine, 75))
    for number, (basin, heads) in enumerate(parties):
        party = f"P{now:03}{number}"
        if bath.basins[basin].take_in(party, heads) == "milky":
            case.trigger(call(basin, "take_in", party=party))
            case.hop(call(basin, "take_in", party=party))
            bath.tell(
                "red eyes",
                "forty children with red eyes, and the water like milk",
                "We had a big group in {mine} today and one could not see one's own hand. Same group in {other} last week, no trouble",
                "the water of {mine} went cloudy at once, I suppose they put in too much chlorine?",
                "eyes burning, water dull, what on earth happened",
            )


def _points(bath: Bath, now: int) -> None:
    """Change set points, and test the water."""
    case, rng = bath.case, case_rng(bath, "points", now)
    names = bath.quiet if case.has("config_change") else BASINS
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        basin, what = rng.choice(names), rng.choice(tuple(USUAL))
        value = rng.randint(*USUAL[what])
        if what == "chlorine" and rng.random() < 0.3:  # a slip of the finger, put right at once
            bath.plant.set_point(basin, what, value // 4)
        bath.plant.set_point(basin, what, value)
    if case.has("config_change") and now == case.begin:
        value = 1 if case.strikes("config_change", now) else 7
        bath.plant.set_point(bath.mine, "chlorine", value)
        case.root(call("plant_room", "set_point", basin=bath.mine, what="chlorine", value=value))
    tested = [rng.choice(names)] if rng.random() < 0.35 else []
    tested += [bath.mine] if case.has("config_change") and now == case.end else []
    for number, basin in enumerate(tested):
        bottle = f"S{now:03}{number}"
        bath.germs[bottle] = rng.randint(0, 9)
        if bath.office.test(bottle, basin) != "ok":
            case.hop(call(basin, "fill_bottle", bottle=bottle), call("health_office", "test", bottle=bottle))
            bath.tell(
                "closed by the authority",
                "there is a red seal on the door and nobody tells us why we may not swim",
                "{mine} was closed by the authorities today, germs they say",
                "Was it the babies? They found bacteria in {mine}, but none in {other} where the babies go",
                "they shut our pool because of what was in the water",
            )


def _visits(bath: Bath, now: int, leaks: list[int]) -> None:
    """Help people in who cannot walk."""
    case, rng = bath.case, case_rng(bath, "visits", now)
    leaking = case.has("leaked_resource")
    for visit in bath.wet:
        bath.slings.hang_back(visit)
    bath.wet.clear()
    if rng.random() < 0.6 and not (leaking and leaks[-1] <= now <= case.end):
        visit = f"V{now:03}a"
        if rng.random() < 0.3 and not (leaking and now >= case.begin - 1):  # stays for the night to dry
            bath.left.add(visit)
            bath.wet.append(visit)
        bath.guards[rng.choice(GUARDS)].help_in(visit, rng.choice(BASINS))
    if not leaking:
        return
    for number in range(leaks.count(now)):
        visit = f"V{now:03}b{number}"
        if case.strikes("leaked_resource"):
            bath.left.add(visit)
        bath.guards[bath.guard].help_in(visit, rng.choice(BASINS))
        if len(case.roots) < 3:
            case.root(call(bath.guard, "help_in", visit=visit))
            case.hop(call("sling_rack", "hand_out", visit=visit))
    if now == case.end:
        visit, helper = f"V{now:03}c", rng.choice([name for name in GUARDS if name != bath.guard])
        if not bath.guards[helper].help_in(visit, bath.mine):
            case.hop(call("sling_rack", "hand_out", visit=visit), call(helper, "help_in", visit=visit))
            bath.tell(
                "no lift",
                "My father sat beside the pool in his wheelchair for an hour and then we drove home",
                "we were told that the hoist cannot be used today. It is not broken, I looked",
                f"{helper} was very sorry but could not get my mother into {{mine}}",
                f"visit {visit} never got into the water, why?",
            )


def _bookings(bath: Bath, now: int, steps: int) -> None:
    """Write bookings into the rota, and open for those of today."""
    case, rng = bath.case, case_rng(bath, "bookings", now)
    new = []
    if rng.random() < 0.5:
        new.append((now + rng.randint(1, max(2, steps // 3)), rng.choice(bath.quiet), rng.random() < 0.12))
    if case.has("off_by_one") and now == case.begin:
        new.append((case.end, bath.mine, False))
    for number, (turn, basin, slips) in enumerate(new):
        booking, guard = f"K{now:03}{number}", rng.choice(GUARDS)
        shift = int(slips and turn != case.end)  # such a slip hurts nobody while somebody can stand in
        if basin == bath.mine:
            shift = int(case.strikes("off_by_one", now))
            case.root(call("rota", "write_in", booking=booking))
        bath.rota.write_in(booking, guard, turn + shift)
        bath.booked.append((turn, booking, basin, bath.club if basin == bath.mine else rng.choice(CLUBS)))
    ill = case.has("off_by_one") and now == case.end
    if ill:
        bath.rota.report_ill("Bertil", now)
    for turn, booking, basin, _club in bath.booked:
        if turn == now and bath.basins[basin].open_for(booking) == "shut":
            case.trigger(call("rota", "report_ill", turn=now))
            case.hop(call(basin, "open_for", booking=booking), call("Bertil", "stand_in", booking=booking))
            bath.tell(
                "sent home",
                "{club} stood before a locked door, although we had booked",
                f"booking {booking}: confirmed, paid, and then nobody there to open {{mine}}",
                "They say that there was nobody to watch us. Is it because Bertil is ill?",
                "we were sent home from {mine} while {other} next to it was open",
            )
    bath.standby_ill = False


def _chores(bath: Bath, now: int) -> None:
    """Cards that cannot be read, lost towels, tests."""
    rng = case_rng(bath, "chores", now)
    for number in range(rng.randint(1, 3)):
        card = f"{now:03}{number}{rng.choice('ABCDEX')}"
        try:
            bath.desk.scan(card)
        except ValueError:
            bath.desk.let_in(card)
    if rng.random() < 0.3:
        bath.pages += 1
        matter = rng.choice(
            ("lost towel", "cold shower", "praise for the slide", "found goggles", "loud music")
        )
        bath.desk.write_down(bath.pages, matter)
    if now == bath.case.decoy_at:
        bath.plant.blow_whistle_test(bath.mine)


def play(case: Case) -> None:
    """Play some weeks of half days."""
    steps = case.rng("steps").choice((30, 55, 90, 130))
    begin, end = case.window(steps)
    count = min(6, max(2, end - begin))
    leaks = [begin + place * (end - begin) // count for place in range(count)]
    bath = Bath(case)
    bath.build(count)
    with contextlib.ExitStack() as stack:
        for cls, (role, methods) in TRACED.items():
            stack.enter_context(
                instrument(cls, methods.split(), agent_id="name", agent_role=role, ignore=("bath",))
            )
        for now in range(steps):
            bath.now = now
            with tick(now):
                _chores(bath, now)
                _points(bath, now)
                _filters(bath, now)
                _drums(bath, now)
                _visits(bath, now, leaks)
                _bookings(bath, now, steps)


WORLD = World(
    "swimbath",
    "spans",
    ("forgotten_undo", "misrouted_thing", "config_change", "leaked_resource", "off_by_one"),
    play,
    author=14,
)
