"""A lighthouse supply service: a chart room, a depot, two tenders, a lamp shop, keepers on rocks, and the coast watch."""

from __future__ import annotations

from random import Random
from typing import Any

from Agent import AgentLogger, trace_agent_action
from Agent import tick as day_of
from benchmarks.fault_worlds.kit import Case, World, call

ROCKS = ("skerry", "holm", "stack", "nab", "calf", "tusk")
SHIPS = ("Aurelia", "Bright Morn", "Corvina", "Dunlin", "Endeavour II", "Frisia", "Gudrun", "Halcyon")
LANDINGS = ("west gully", "iron ladder", "south steps", "boat slip", "north ledge")
DAILY_WATER = 6


class Coast:
    """The truth outside of the books: usable landings, weather, and the plan of the case."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng, self.serial = case, case.rng("coast"), 100 + case.seed % 800
        self.usable: dict[str, set[str]] = {rock: set(LANDINGS) for rock in ROCKS}
        self.fog: set[str] = set()
        self.gale: set[str] = set()
        self.rock, self.quiet = self.rng.sample(ROCKS, 2)

    def number(self, letter: str) -> str:
        """Return the next number of a paper."""
        self.serial += 1
        return f"{letter}{self.serial}"


class Hand:
    """Somebody in the service."""

    trace_ignore: tuple[str, ...] = ("coast", "log")

    def __init__(self, agent_id: str, coast: Coast) -> None:
        self.agent_id, self.coast = agent_id, coast
        self.log = AgentLogger(agent_id, type(self).__name__.lower())


class Keeper(Hand):
    """Lives on a rock, with stores, a lamp and a horn."""

    def __init__(self, agent_id: str, coast: Coast, watch: CoastWatch) -> None:
        super().__init__(agent_id, coast)
        self.rock, self.watch = agent_id.removeprefix("keeper_"), watch
        self.water, self.oil = coast.rng.randint(40, 90), coast.rng.randint(60, 120)
        self.bath_ml, self.horn_cap = 900, ""

    trace_ignore = ("coast", "log", "watch")

    @trace_agent_action()
    def stow(self, order: str, oil: int, water: int, wet: int) -> dict[str, int]:
        """Carry what was landed into the store."""
        self.water += water
        self.oil += oil
        return {"shelved": 9 - wet, "wet": wet}

    @trace_agent_action()
    def draw_water(self, day: int) -> int:
        """Take the water of a day out of the cistern."""
        drawn = min(DAILY_WATER, self.water)
        self.water -= drawn
        return drawn

    @trace_agent_action()
    def light_lamp(self, day: int) -> dict[str, float]:
        """Light the lamp and time its turn."""
        self.oil = max(5, self.oil - 2)
        swell = self.rock in self.coast.gale
        slow = 11.0 if swell and self.bath_ml < 300 else 0.0
        return {"turn_s": round(20 + slow + self.coast.rng.uniform(-0.3, 0.3), 1)}

    @trace_agent_action()
    def sound_horn(self, day: int) -> dict[str, int]:
        """Sound the horn and note how far it carries."""
        return {"heard_m": self.coast.rng.randint(2600, 3300) // (20 if self.horn_cap else 1)}

    @trace_agent_action()
    def hoist_flag(self, day: int, flag: str) -> str:
        """Show a flag that is seen from the shore."""
        return self.watch.enter(self.coast.number("W"), self.rock, f"flag {flag} from the shore")


class Tender(Hand):
    """A boat that brings crates to the rocks, with its own folder of landing sheets."""

    def __init__(self, agent_id: str, coast: Coast) -> None:
        super().__init__(agent_id, coast)
        self.folder: dict[str, tuple[str, str]] = {}

    @trace_agent_action()
    def file_sheet(self, sheet: str, rock: str, landing: str) -> str:
        """Put a new sheet into the folder."""
        self.folder[rock] = (sheet, landing)
        return "filed"

    @trace_agent_action()
    def hear_notice(self, sheet: str, rock: str, landing: str, fetch: bool) -> dict[str, str]:
        """Hear that there is a new sheet."""
        if fetch:
            self.file_sheet(sheet, rock, landing)
        return {"rock": rock, "in_folder": self.folder[rock][0]}

    @trace_agent_action()
    def approach(self, order: str, rock: str) -> dict[str, str]:
        """Choose a landing by the folder."""
        sheet, landing = self.folder[rock]
        return {"sheet": sheet, "landing": landing}

    @trace_agent_action()
    def land_crates(self, order: str, keeper: Keeper, oil: int, water: int) -> dict[str, int]:
        """Land the crates of an order."""
        landing = self.approach(order, keeper.rock)["landing"]
        wet = 0 if landing in self.coast.usable[keeper.rock] else 7
        return keeper.stow(order, oil, water, wet)


class ChartRoom(Hand):
    """Issues landing sheets."""

    @trace_agent_action()
    def issue_sheet(
        self, sheet: str, rock: str, landing: str, tenders: list[tuple[Tender, bool]]
    ) -> list[str]:
        """Issue a new sheet and tell the tenders."""
        return [each.hear_notice(sheet, rock, landing, fetch)["in_folder"] for each, fetch in tenders]


class Depot(Hand):
    """Packs orders."""

    @trace_agent_action()
    def take_order(self, order: str, rock: str, oil: int, water: int) -> str:
        """Write an order into the book."""
        return order

    @trace_agent_action()
    def label_crates(self, order: str, oil: int, water: int) -> dict[str, int]:
        """Label what goes into the boat."""
        return {"casks": oil + water}

    @trace_agent_action()
    def supply(self, order: str, keeper: Keeper, tender: Tender, asked: list[int], packed: list[int]) -> str:
        """Handle an order from the book to the rock."""
        self.take_order(order, keeper.rock, asked[0], asked[1])
        self.label_crates(order, packed[0], packed[1])
        tender.land_crates(order, keeper, packed[0], packed[1])
        return "landed"


class LampShop(Hand):
    """Maintains lamps and lanterns."""

    @trace_agent_action()
    def drain_bath(self, job: str, keeper: Keeper) -> int:
        """Drain the mercury on which the lens floats."""
        keeper.bath_ml = 120
        return keeper.bath_ml

    @trace_agent_action()
    def fill_bath(self, job: str, keeper: Keeper) -> int:
        """Fill the bath again."""
        keeper.bath_ml = 900
        return keeper.bath_ml

    @trace_agent_action()
    def level_lens(self, job: str, rock: str) -> float:
        """Level the lens."""
        return round(self.coast.rng.uniform(0.0, 0.2), 2)

    @trace_agent_action()
    def service_lens(self, job: str, keeper: Keeper, fill: bool) -> str:
        """Service a lens from the first to the last step."""
        self.drain_bath(job, keeper)
        if fill:
            self.fill_bath(job, keeper)
        self.level_lens(job, keeper.rock)
        return "serviced"

    @trace_agent_action()
    def cap_horn(self, job: str, keeper: Keeper) -> str:
        """Cap the horn while people work in front of it."""
        keeper.horn_cap = job
        return "capped"

    @trace_agent_action()
    def uncap_horn(self, job: str, keeper: Keeper) -> str:
        """Take the cap off."""
        keeper.horn_cap = ""
        return "open"

    @trace_agent_action()
    def paint_gallery(self, job: str, keeper: Keeper, coats: int, uncap: bool) -> str:
        """Paint the gallery in front of the horn."""
        self.cap_horn(job, keeper)
        self.brush(job, coats)
        if uncap:
            self.uncap_horn(job, keeper)
        return "painted"

    @trace_agent_action()
    def brush(self, job: str, coats: int) -> int:
        """Put the paint on."""
        return coats * self.coast.rng.randint(30, 50)


class CoastWatch(Hand):
    """Announces the weather and enters what ships and the shore tell."""

    @trace_agent_action()
    def announce(self, day: int, rock: str, weather: str) -> str:
        """Announce weather for a rock."""
        (self.coast.fog if weather == "fog" else self.coast.gale).add(rock)
        return weather

    @trace_agent_action()
    def enter(self, entry: str, rock: str, told: str) -> str:
        """Enter a report into the book."""
        return entry


TEXTS = {
    "wet": (
        "Seven crates went into the sea at the {rock} landing, our winter flour with them. How could that happen?",
        "keeper_{rock} got only two dry crates out of nine with order {paper}",
        "the boat landed {paper} where nobody can land since the rockfall",
    ),
    "turn": (
        "The light on {rock} turned at about half its speed last night in the storm",
        "coast_watch has a report of {ship} about a wrong rhythm of the {rock} light, we nearly took it for another one",
        "why does keeper_{rock} time a turn of half a minute when it should be twenty seconds",
    ),
    "horn": (
        "{ship} came within two cables of {rock} in thick fog and heard nothing",
        "Nobody could hear the fog horn of {rock}, though keeper_{rock} says it was sounded all night",
        "coast_watch wrote down that the horn at {rock} is hardly audible. It is in working order!",
    ),
    "flag": (
        "There is nothing left to drink on {rock}, weeks before the boat is due",
        "keeper_{rock} shows the flag for water. The cistern should have lasted",
        "out of water at {rock}, who miscounted?",
    ),
}


class Service:
    """The people, and what they do on a day."""

    def __init__(self, case: Case, coast: Coast) -> None:
        self.case, self.coast, self.rng = case, coast, coast.rng
        self.watch = CoastWatch("coast_watch", coast)
        self.keepers = {rock: Keeper(f"keeper_{rock}", coast, self.watch) for rock in ROCKS}
        self.tenders = [Tender("tender_maud", coast), Tender("tender_pole", coast)]
        self.charts, self.depot = ChartRoom("chart_room", coast), Depot("depot", coast)
        self.shop = LampShop("lamp_shop", coast)
        self.keeper = self.keepers[coast.rock]
        self.first = self.rng.randint(8, 14)
        if case.has("swapped_fields"):
            lag = case.end - case.begin
            self.first = min(self.first, 6 * lag + 3)
            self.keeper.water = DAILY_WATER * case.end - 2 - self.first + self.rng.randint(0, 1)
            self.second = self.first + 20 + self.rng.randint(0, 15)
            self.keeper.oil = 60 + 2 * lag

    def tell(self, what: str, entry: str, ship: str = "", paper: str = "") -> None:
        """Note the symptom."""
        texts = (text.format(rock=self.coast.rock, ship=ship, paper=paper) for text in TEXTS[what])
        self.case.symptom(call("coast_watch", "enter", entry=entry), *texts)

    def sheets(self, day: int) -> None:
        """Issue sheets: everyday, and the one of the case."""
        case, rng, coast = self.case, self.rng, self.coast
        planned = case.has("stale_cache") and day == case.begin
        if not planned and rng.random() > 0.22:
            return
        rock = coast.rock if planned else rng.choice([each for each in ROCKS if each != coast.rock])
        sheet, landing = coast.number("S"), rng.choice(LANDINGS)
        skips = rng.random() < 0.3
        if planned:
            held = self.tenders[0].folder[rock][1]
            landing = rng.choice([each for each in LANDINGS if each != held])
            coast.usable[rock].discard(held)
            skips = case.strikes("stale_cache", day)
            case.root(call("chart_room", "issue_sheet", sheet=sheet))
            case.root(call("tender_maud", "hear_notice", sheet=sheet))
        self.charts.issue_sheet(
            sheet, rock, landing, [(self.tenders[0], not skips), (self.tenders[1], rng.random() < 0.9)]
        )

    def orders(self, day: int) -> None:
        """Supply rocks."""
        case, rng, coast = self.case, self.rng, self.coast
        for rock, keeper in self.keepers.items():
            order, oil, water = coast.number("O"), rng.randint(8, 24), rng.randint(25, 60)
            boat = self.tenders[rng.randint(0, 1)]
            packed = [oil, water]
            if rock == coast.rock and case.has("swapped_fields") and day != case.begin and day <= case.end:
                continue
            if rock == coast.rock and case.has("swapped_fields") and day == case.begin:
                oil, water = self.first, self.second
                packed = [water, oil] if case.strikes("swapped_fields", day) else [oil, water]
                case.root(call("depot", "label_crates", order=order))
                case.hop(call(boat.agent_id, "land_crates", order=order))
                case.hop(call(keeper.agent_id, "stow", order=order))
            elif rock == coast.rock and case.has("stale_cache"):
                boat = self.tenders[0 if day == case.end else 1]
                if day >= case.begin and (day == case.end) != (boat is self.tenders[0]):
                    continue
                if day != case.end and (day >= case.begin or keeper.water > 25):
                    keeper.water += DAILY_WATER if day > case.begin else 0  # rain fills the cistern
                    continue
            elif keeper.water > 25:
                continue
            self.depot.supply(order, keeper, boat, [oil, water], packed)
            landing = boat.folder[rock][1]
            if landing not in coast.usable[rock]:
                case.hop(call(boat.agent_id, "approach", order=order))
                case.hop(call(keeper.agent_id, "stow", order=order))
                entry = coast.number("W")
                self.watch.enter(entry, rock, f"7 crates adrift, order {order}")
                self.tell("wet", entry, paper=order)

    def jobs(self, day: int) -> None:
        """Send the lamp shop to rocks."""
        case, rng, coast = self.case, self.rng, self.coast
        others = [self.keepers[rock] for rock in ROCKS if rock != coast.rock]
        job, keeper, coats = coast.number("J"), rng.choice(others), rng.randint(1, 3)
        due = day == case.begin
        if case.has("omitted_step") and due:
            self.shop.service_lens(job, self.keeper, not case.strikes("omitted_step", day))
            case.root(*(call("lamp_shop", name, job=job) for name in ("drain_bath", "level_lens")))
        elif rng.random() < 0.25:
            roller = keeper.rock == coast.quiet  # its lens runs on rollers, the bath is only a damper
            self.shop.service_lens(job, keeper, not roller)
        job = coast.number("J")
        if case.has("forgotten_undo") and due:
            self.shop.paint_gallery(job, self.keeper, coats, not case.strikes("forgotten_undo", day))
            case.root(*(call("lamp_shop", name, job=job) for name in ("cap_horn", "brush")))
        elif rng.random() < 0.25:
            old_horn = keeper.rock == coast.quiet  # has a bell now
            self.shop.paint_gallery(job, keeper, coats, not old_horn)

    def weather(self, day: int) -> None:
        """Fog and gales, and what ships tell of the lights and horns."""
        case, rng, coast = self.case, self.rng, self.coast
        coast.fog.clear()
        coast.gale.clear()
        places = [rock for rock in ROCKS if rock not in {coast.rock, coast.quiet}]
        for weather in ("fog", "gale"):
            kind = "forgotten_undo" if weather == "fog" else "omitted_step"
            if case.has(kind) and day == case.end:
                self.watch.announce(day, coast.rock, weather)
                case.trigger(call("coast_watch", "announce", day=day, rock=coast.rock, weather=weather))
            elif rng.random() < 0.3:
                self.watch.announce(day, rng.choice(places), weather)
        for rock, keeper in self.keepers.items():
            turn = keeper.light_lamp(day)["turn_s"]
            ship, entry = rng.choice(SHIPS), coast.number("W")
            if turn > 25:
                case.hop(call(keeper.agent_id, "light_lamp", day=day))
                self.watch.enter(entry, rock, f"{ship}: one flash in {turn} s")
                self.tell("turn", entry, ship)
            elif rng.random() < 0.1:
                self.watch.enter(entry, rock, f"{ship}: light seen at {rng.randint(6, 19)} miles")
            if rock in coast.fog:
                heard, entry = keeper.sound_horn(day)["heard_m"], coast.number("W")
                self.watch.enter(entry, rock, f"{ship}: horn heard at {heard} m")
                if heard < 500:
                    case.hop(call(keeper.agent_id, "sound_horn", day=day))
                    self.tell("horn", entry, ship)
            if keeper.draw_water(day) < DAILY_WATER:
                case.hop(call(keeper.agent_id, "draw_water", day=day))
                self.tell("flag", keeper.hoist_flag(day, "W"))

    def chores(self, day: int) -> None:
        """Do small things, and something odd shortly before the symptom."""
        rng: Random = self.rng
        everyone: list[Hand] = [*self.keepers.values(), *self.tenders, self.depot, self.shop]
        hand, other = rng.choice(everyone), rng.choice(everyone)
        minutes, draw = rng.randint(5, 60), rng.random()
        if draw < 0.3:
            hand.log.log_action(rng.choice(("polish_brass", "mend_rope", "feed_hens")), {"minutes": minutes})
        elif draw < 0.45:
            hand.log.warning("signal lamp answered late", extra={"tries": minutes % 3 + 1})
        elif draw < 0.55:
            before = {"radio_hour": rng.randint(5, 11)}
            hand.log.log_state_change(before, {"radio_hour": rng.randint(12, 20)}, "by agreement")
        if day == self.case.decoy_at:
            other.log.error("engine of the winch stopped, started again", extra={"minutes": minutes})


def play(case: Case) -> None:
    """Play some weeks or months of the service."""
    days = case.rng("length").choice((40, 65, 100, 140))
    case.window(days, shortest=1)
    coast = Coast(case)
    service = Service(case, coast)
    with day_of(0):
        for rock in ROCKS:
            told: list[Any] = [(each, True) for each in service.tenders]
            service.charts.issue_sheet(coast.number("S"), rock, coast.rng.choice(LANDINGS), told)
    for day in range(1, days):
        with day_of(day):
            service.sheets(day)
            service.jobs(day)
            service.orders(day)
            service.weather(day)
            service.chores(day)


WORLD = World(
    "lighthouses", "spans", ("stale_cache", "omitted_step", "swapped_fields", "forgotten_undo"), play, 24
)
