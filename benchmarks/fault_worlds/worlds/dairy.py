"""A dairy: drivers collect cow, goat and sheep milk, heaters warm it, makers turn it into cheese, shops sell it later.

Typed loggers for actions, interactions, metrics, changes of state and settings. No ticks, and nothing links the events.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

FARMS = {
    "elmhof": "cow",
    "birkhof": "cow",
    "sandhof": "cow",
    "moorhof": "cow",
    "steinhof": "goat",
    "rosenhof": "goat",
    "heidhof": "sheep",
}
SILOS = {"cow": "silo_north", "goat": "silo_south", "sheep": "silo_small"}
RIPE = {"cow": ("gouda", "tilsit"), "goat": ("chevrotin",), "sheep": ("manchego",)}
FRESH = ("quark", "cottage", "ricotta", "mascarpone")
SALT_GRAMS = {"quark": 420, "cottage": 510, "ricotta": 380, "mascarpone": 450}
SHOPS = ("shop_market", "shop_bridge", "shop_station")
GUESTS = ("frau_adler", "herr_brandt", "frau_celik", "herr_dorn", "frau_esser", "herr_fink")
GRAMS_PER_OUNCE = 28.35
CORE_DEGREES, LOWEST_DEGREES = 72.6, 70.5
SHORT_LITRES = 5.0


@dataclass
class Load:
    """Milk in a tank: where it goes, and what is really in it."""

    number: str
    kind: str
    litres: float = 0.0
    holds: set[str] = field(default_factory=set)


@dataclass
class Lot:
    """Cheese of one batch that is opened on one round."""

    number: str
    cheese: str
    label: str
    holds: frozenset[str]
    batch: str
    target: bool = False


@dataclass
class Tour:
    """What one driver does in a round: the farms, all of one kind, and the litres of each."""

    driver: str
    kind: str
    farms: list[tuple[str, float]]


class Dairy:
    """The dairy, played round by round; a round takes a day, which no event says."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rounds = case.rng("rounds").randint(70, 120)
        self.begin, self.end = case.window(self.rounds)
        self.now = 0
        roles = {
            **dict.fromkeys(("driver_uwe", "driver_pia", "driver_nils"), "driver"),
            **dict.fromkeys(FARMS, "farmer"),
            **dict.fromkeys(("heater_old", "heater_new"), "heater"),
            **dict.fromkeys(("maker_lena", "maker_ole"), "maker"),
            **dict.fromkeys(SHOPS, "shop"),
            **dict.fromkeys(GUESTS, "guest"),
            "yard_keeper": "keeper",
            "laboratory": "laboratory",
            "recipe_desk": "desk",
            "cellar": "cellar",
            "milk_office": "office",
            "fitter": "fitter",
            "garage": "garage",
        }
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.meet = {name: InteractionLogger(name, role) for name, role in roles.items()}
        self.meter = {name: PerformanceLogger(name, role) for name, role in roles.items()}
        self.plant = SystemLogger("plant")
        self.drivers = [name for name, role in roles.items() if role == "driver"]
        self.heaters = [name for name, role in roles.items() if role == "heater"]
        self.makers = [name for name, role in roles.items() if role == "maker"]
        self.level = dict.fromkeys(SILOS.values(), 0.0)
        self.inside: dict[str, set[str]] = {silo: set() for silo in SILOS.values()}
        self.tank = dict.fromkeys(self.drivers, "cow")
        self.card = dict(SALT_GRAMS)
        self.paid = dict.fromkeys(FARMS, 0.0)
        self.given = dict.fromkeys(FARMS, 0.0)
        self.due: dict[int, list[Lot]] = {}
        self.numbers = iter(range(2000, 99_999))
        who = case.rng("who")
        self.driver, self.heater = who.choice(self.drivers), who.choice(self.heaters)
        self.farm = who.choice([name for name, kind in FARMS.items() if kind == "cow"])
        self.cheese, self.guest, self.shop = who.choice(FRESH), who.choice(GUESTS), who.choice(SHOPS)
        self.roots_left = 3

    def number(self, letter: str) -> str:
        """Return a new number."""
        return f"{letter}{next(self.numbers)}"

    def tours(self, rng: random.Random) -> list[Tour]:
        """Draw the tours of a round: each farm is called at once or not at all."""
        kinds = rng.sample(["cow", "cow", rng.choice(("goat", "sheep", "cow"))], 3)
        if self.now in (self.begin, self.begin - 1) and not self.case.has("rounding_leak"):
            goat = (self.now == self.begin) == self.case.has("misrouted_thing")
            kinds = ["cow", "cow"] if goat else ["cow", "sheep"]
            kinds.insert(self.drivers.index(self.driver), "goat" if goat else "cow")
        if self.case.has("rounding_leak") and self.now >= self.begin:
            kinds[self.drivers.index(self.driver)] = "cow"
        free = rng.sample(sorted(FARMS), len(FARMS))
        drawn = {farm: round(rng.uniform(180, 620), 1) for farm in sorted(FARMS)}
        if self.now == self.begin:
            drawn[self.farm] = 10 * (int(drawn[self.farm]) // 10) + 7.6
        found = []
        for driver, kind in zip(self.drivers, kinds, strict=True):
            farms = [farm for farm in free if FARMS[farm] == kind][:2]
            if self.case.has("rounding_leak"):
                farms = [farm for farm in farms if farm != self.farm]
                if driver == self.driver and kind == "cow":
                    farms = [*farms[:1], self.farm]
            free = [farm for farm in free if farm not in farms]
            found.append(Tour(driver, kind, [(farm, drawn[farm]) for farm in farms]))
        return found

    def collect(self, tour: Tour, rng: random.Random) -> None:
        """Rinse the tank if the kind changes, call at the farms, and pump the milk into a silo."""
        case, log = self.case, self.log[tour.driver]
        if not tour.farms:
            log.log_action("wash_lorry", {"minutes": rng.randint(10, 30)})
            return
        load = Load(self.number("M"), tour.kind, holds={tour.kind})
        changed = self.tank[tour.driver] not in {tour.kind, ""}
        struck = tour.driver == self.driver and case.strikes("omitted_step", self.now)
        minutes, water, bar = rng.randint(12, 20), rng.randint(80, 140), round(rng.uniform(1.8, 2.4), 1)
        hose = log.log_action("check_hose", {"bar": bar})
        if changed and struck:
            load.holds.add(self.tank[tour.driver])
        elif changed:
            log.log_action("rinse", {"minutes": minutes, "litres": water})
        self.tank[tour.driver] = tour.kind
        for farm, litres in tour.farms:
            self.meter[farm].log_metric("outflow", litres, "l")
            noted = round(litres) if tour.driver == "driver_nils" and farm != self.farm else litres
            leaks = farm == self.farm and self.now >= self.begin and case.strikes("rounding_leak")
            if leaks:
                noted = 10.0 * (int(litres) // 10)
            took = log.log_action("collect", {"load": load.number, "farm": farm, "litres": noted})
            if leaks and self.roots_left:
                case.root(took)
                self.roots_left -= 1
            elif leaks:
                case.hop(took)
            if struck:
                case.root(hose, took)
                struck = False
            self.given[farm] += litres
            self.paid[farm] += noted
            load.litres += litres
        self.pump(load, tour.driver, rng)

    def pump(self, load: Load, driver: str, rng: random.Random) -> None:
        """Let the keeper name a silo, pump the load into one, and let the laboratory look at a sample."""
        case, silo = self.case, SILOS[load.kind]
        self.meet["yard_keeper"].log_interaction("assign", "yard_keeper", driver, load.number, {"silo": silo})
        struck = driver == self.driver and case.strikes("misrouted_thing", self.now)
        if struck:
            silo = SILOS["cow"]
        pumped = self.log[driver].log_action(
            "pump", {"load": load.number, "silo": silo, "litres": round(load.litres)}
        )
        if struck:
            case.root(pumped)
        old = round(self.level[silo])
        self.level[silo] += load.litres
        self.inside[silo] |= load.holds
        filled = self.log["yard_keeper"].log_state_change(
            {"silo": silo, "litres": old}, {"silo": silo, "litres": round(self.level[silo])}, "filled"
        )
        if driver == self.driver and self.now == self.begin:
            case.hop(filled)
        self.log["laboratory"].log_action(
            "look_at_sample", {"load": load.number, "fat": round(rng.uniform(3.4, 5.9), 2)}
        )
        self.meter["laboratory"].log_metric("germs", rng.randint(4, 40), "thousand/ml", {"load": load.number})

    def heat(self, silo: str, heater: str, rng: random.Random) -> tuple[str, float, frozenset[str]]:
        """Heat what is in a silo; return the batch, how warm its core got, and what it holds."""
        case, batch = self.case, self.number("B")
        drawn = round(self.level[silo])
        self.log[heater].log_action("draw", {"batch": batch, "silo": silo, "litres": drawn})
        core = CORE_DEGREES + rng.uniform(-0.12, 0.12)
        drifts = heater == self.heater and self.now >= self.begin and case.strikes("slow_drift")
        if drifts:
            lag = self.end - self.begin
            core -= 2.35 * (self.now - self.begin + 1) / (lag + 1)
        measured = self.meter[heater].log_metric("core", round(core, 2), "C", {"batch": batch})
        if drifts and self.roots_left:
            case.root(measured)
            self.roots_left -= 1
        elif drifts and self.now == self.end:
            case.hop(measured)
        self.meter[heater].log_metric("flow", round(rng.uniform(7.5, 8.5), 2), "m3/h", {"batch": batch})
        holds = frozenset(self.inside[silo])
        self.level[silo], self.inside[silo] = 0.0, set()
        self.log["yard_keeper"].log_state_change(
            {"silo": silo, "litres": drawn}, {"silo": silo, "litres": 0}, "emptied"
        )
        return batch, core, holds

    def make(self, kind: str, batch: str, holds: frozenset[str], rng: random.Random) -> None:
        """Make a ripe cheese of a batch, in lots that the cellar gives out on different rounds."""
        maker, cheese = rng.choice(self.makers), rng.choice(RIPE[kind])
        made = self.log[maker].log_action(
            "curdle", {"batch": batch, "cheese": cheese, "rennet_ml": rng.randint(20, 60)}
        )
        is_case = self.now == self.begin and kind == "cow"
        if is_case:
            self.case.hop(made)
        for piece in range(2):
            lead = max(1, round(math.exp(rng.uniform(0, math.log(0.6 * self.rounds)))))
            opens = self.now + lead
            if is_case:
                opens = self.end if piece == 0 else max(self.end, opens)
            lot = Lot(self.number("C"), cheese, kind, holds, batch, target=is_case and piece == 0)
            shelved = self.log["cellar"].log_action(
                "shelve", {"lot": lot.number, "cheese": cheese, "batch": batch, "shelf": rng.randint(1, 40)}
            )
            if lot.target:
                self.case.hop(shelved)
            self.due.setdefault(opens, []).append(lot)

    def make_fresh(self, heater: str, batch: str, core: float, rng: random.Random) -> None:
        """Make a fresh cheese by its card, and sell it the same round; too salty, dull or sour is a symptom."""
        case, maker = self.case, rng.choice(self.makers)
        shop, guest = rng.choice(SHOPS), rng.choice(GUESTS)
        choice = [
            one for one in FRESH if one != self.cheese or not case.has("wrong_unit") or self.now < self.begin
        ]
        cheese = rng.choice(choice)
        is_case = self.now == self.end and heater == self.heater
        if is_case and case.has("wrong_unit"):
            cheese = self.cheese
        if is_case:
            shop, guest = self.shop, self.guest
        salt = self.card[cheese]
        made = self.log[maker].log_action("stir_in", {"batch": batch, "cheese": cheese, "salt": salt})
        brought = self.meet[shop].log_interaction("take_in", maker, shop, batch, {"cheese": cheese})
        if is_case:
            case.hop(made, brought)
        dull, sour = salt < SALT_GRAMS[cheese] / 3, core < LOWEST_DEGREES
        liked = "no" if dull or sour else rng.choice(("yes", "yes", "so so"))
        event = self.meet[guest].log_interaction(
            "taste", guest, shop, batch, {"cheese": cheese, "liked": liked}
        )
        if dull:
            case.symptom(
                event,
                f"The {cheese} that {guest} bought at {shop} tasted of nothing, like wet paper.",
                f"Our {cheese} has no taste at all today. It was always good.",
                f"Why is the {cheese} so bland all of a sudden? Nobody in the shop touched it.",
            )
        if sour:
            case.symptom(
                event,
                f"The {cheese} {guest} took home from {shop} had gone sour by the evening.",
                f"A guest brought back {cheese} that had turned. It was made the same day.",
                f"Why does fresh cheese go off within hours? {shop} keeps it cold.",
            )

    def sell(self, rng: random.Random) -> None:
        """Open the lots that are due; a guest who gets milk that is not on the label is the symptom."""
        lots = self.due.pop(self.now, [])
        for lot in rng.sample(lots, len(lots)):
            shop, guest = rng.choice(SHOPS), rng.choice(GUESTS)
            self.log["cellar"].log_action("fetch", {"lot": lot.number, "for": shop})
            cut = self.log[shop].log_action("cut", {"lot": lot.number, "cheese": lot.cheese, "as": lot.label})
            if lot.target:
                self.case.hop(cut)
            strange = lot.holds - {lot.label}
            liked = "no" if strange else rng.choice(("yes", "yes", "so so"))
            event = self.meet[guest].log_interaction(
                "taste", guest, shop, lot.number, {"cheese": lot.cheese, "liked": liked}
            )
            if strange:
                self.case.symptom(
                    event,
                    f"{guest} got a rash from the {lot.cheese}, and can only stand {lot.label} milk.",
                    f"A guest of ours had to see a doctor after a piece of {lot.cheese} from {shop}. It is sold as pure {lot.label}.",
                    f"There must be something in the {lot.cheese} that does not belong there. How did it get in?",
                    f"The {lot.cheese} tastes of the wrong animal.",
                )

    def pay(self, rng: random.Random) -> None:
        """Pay some farms for what was noted; a farmer who misses several litres is the symptom."""
        chosen = rng.sample(sorted(FARMS), rng.randint(0, 2))
        if self.case.has("rounding_leak"):
            chosen = [farm for farm in chosen if farm != self.farm or self.now < self.begin]
            if self.now == self.end or (self.now == self.begin - 1 and self.farm not in chosen):
                chosen.append(self.farm)
        for farm in chosen:
            paid, own = round(self.paid[farm], 1), round(self.given[farm], 1)
            self.paid[farm] = self.given[farm] = 0.0
            sent = self.log["milk_office"].log_action("pay_out", {"farm": farm, "litres": paid})
            if farm == self.farm:
                self.case.hop(sent)
            event = self.log[farm].log_action("check_account", {"paid_for": paid})
            if own - paid >= SHORT_LITRES:
                self.case.symptom(
                    event,
                    f"{farm} was paid for less milk than it gave: {own - paid:.0f} litres are missing.",
                    "One of our suppliers says that the money does not match the counter at the tank.",
                    f"The account of {farm} is too small. Nobody spilt anything, so where did {own - paid:.0f} litres go?",
                )

    def write_cards(self, rng: random.Random) -> None:
        """Write recipe cards anew, now and then with a little more or less of something."""
        for cheese in FRESH:
            if rng.random() < 0.25:
                salt = SALT_GRAMS[cheese] + rng.randint(-30, 30)
                if not (self.case.has("wrong_unit") and cheese == self.cheese and self.now >= self.begin):
                    self.card[cheese] = salt
                    self.log["recipe_desk"].log_action(
                        "write_card", {"cheese": cheese, "salt": salt, "per_litres": 100}
                    )
        if rng.random() < 0.3:
            cheese = rng.choice(("gouda", "tilsit", "chevrotin", "manchego"))
            salt = rng.choice((16, 18, 19, 21, 22))  # hours in brine are written in the same place
            self.log["recipe_desk"].log_action(
                "write_card", {"cheese": cheese, "salt": salt, "per_litres": 100}
            )
        if self.now == self.begin and self.case.has("wrong_unit"):
            salt = SALT_GRAMS[self.cheese] + rng.randint(-30, 30)
            struck = self.case.strikes("wrong_unit", self.now)
            if struck:
                salt = round(salt / GRAMS_PER_OUNCE)
            self.card[self.cheese] = salt
            written = self.log["recipe_desk"].log_action(
                "write_card", {"cheese": self.cheese, "salt": salt, "per_litres": 100}
            )
            if struck:
                self.case.root(written)

    def chores(self, rng: random.Random) -> None:
        """Do what is done every few rounds, and note small troubles that are dealt with at once."""
        if rng.random() < 0.35:
            name, value = rng.choice(
                (("store_light", 30), ("brine_pump", 4), ("door_delay", 12), ("agitator", 18))
            )
            self.plant.log_config(name, value, value + rng.randint(-2, 2))
        for driver in self.drivers:
            if rng.random() < 0.12 and (driver, self.now) != (self.driver, self.begin):
                self.log["garage"].log_action("steam", {"lorry": driver, "bar": rng.randint(3, 6)})
                self.tank[driver] = ""
        if rng.random() < 0.25:
            part = rng.choice(("gasket", "probe", "valve", "bearing"))
            self.log["fitter"].log_action("replace", {"part": part, "at": rng.choice(self.heaters)})
        if rng.random() < 0.12:
            self.log[rng.choice(self.drivers)].warning("gate was shut, farmer opened it after a call")
        if rng.random() < 0.08:
            self.log["laboratory"].error("reader gave no value, sample was read again")
        if rng.random() < 0.3:
            self.log["cellar"].log_action("turn_wheels", {"shelf": rng.randint(1, 40)})
        if self.now == self.case.decoy_at:
            self.log[self.shop].warning("cold counter defrosted, back within five minutes")

    def play(self) -> None:
        """Play all rounds."""
        for now in range(self.rounds):
            self.now = now
            rng = self.case.rng(f"round/{self.now}")
            self.write_cards(self.case.rng(f"cards/{self.now}"))
            self.chores(self.case.rng(f"chores/{self.now}"))
            for tour in self.tours(rng):
                self.collect(tour, rng)
            rest = self.case.rng(f"rest/{self.now}")
            fresh = rest.sample(self.heaters, 2)
            for kind, silo in SILOS.items():
                works = self.case.rng(f"heat/{self.now}/{kind}")
                if self.inside[silo]:
                    batch, _, holds = self.heat(silo, works.choice(self.heaters), works)
                    self.make(kind, batch, holds, works)
            for heater in fresh:
                works = self.case.rng(f"fresh/{self.now}/{heater}")
                litres = works.randint(300, 900)
                self.log["yard_keeper"].log_action("buy_in", {"silo": SILOS["cow"], "litres": litres})
                self.level[SILOS["cow"]], self.inside[SILOS["cow"]] = litres, {"cow"}
                batch, core, _ = self.heat(SILOS["cow"], heater, works)
                self.make_fresh(heater, batch, core, works)
            self.sell(self.case.rng(f"sell/{self.now}"))
            self.pay(self.case.rng(f"pay/{self.now}"))


def play(case: Case) -> None:
    """Play a case."""
    Dairy(case).play()


WORLD = World(
    "dairy",
    "bare",
    ("slow_drift", "wrong_unit", "omitted_step", "rounding_leak", "misrouted_thing"),
    play,
    author=6,
)
