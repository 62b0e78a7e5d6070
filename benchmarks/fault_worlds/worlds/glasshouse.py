"""Glasshouses worked by robots: plain classes, instrumented from outside; a recipe office, mixing tank, seed store, packers."""

from __future__ import annotations

import random
from typing import Any

from Agent import AgentLogger, instrument, tick
from benchmarks.fault_worlds.kit import Case, World, call

CROPS = ("basil", "chard", "mint", "pakchoi", "rocket", "sorrel")
BEDS = tuple(f"B{house}{place:02}" for house in (1, 2, 3) for place in range(1, 7))
CHEFS = ("bistro_rue", "market_hall", "hotel_park", "canteen_9")
ROUTINE = ("prune", "scout", "string_up")


class Planner:
    """Hands out jobs to the arms: a list of urgent ones, one of routine ones, and a rule for both."""

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.waiting: list[tuple[str, str, str]] = []
        self.turns = {"routine": 3, "urgent": 1}
        self.count = 0

    def post(self, order: str, bed: str, kind: str) -> int:
        self.waiting.append((order, bed, kind))
        return len(self.waiting)

    def set_turns(self, routine: int, urgent: int) -> dict[str, int]:
        self.turns = {"routine": routine, "urgent": urgent}
        return self.turns

    def pull(self, arm: str) -> tuple[str, str, str] | None:
        """Give the next job: `urgent` ones first, then a routine one after so many others."""
        self.count += 1
        pests = [job for job in self.waiting if job[2] == "depest"]
        rest = [job for job in self.waiting if job[2] != "depest"]
        whole = self.turns["routine"] + self.turns["urgent"]
        first = (rest, pests) if self.count % whole < self.turns["routine"] else (pests, rest)
        chosen = next((group[0] for group in first if group), None)
        if chosen:
            self.waiting.remove(chosen)
        return chosen


class Arm:
    """A robot on rails that does what is next."""

    def __init__(self, uid: str) -> None:
        self.uid, self.done = uid, 0

    def work(self, order: str, bed: str, kind: str) -> str:
        self.done += 1
        return "done"

    def grip(self, bed: str, force: float) -> str:
        if force > 8.5:
            raise ValueError("grip too firm")
        return "held"


class Sower:
    """Sows a bed in steps: fill, drill, cover, mist."""

    def __init__(self, uid: str) -> None:
        self.uid = uid

    def fill(self, batch: str, bed: str) -> str:
        return "peat"

    def drill(self, batch: str, bed: str, seeds: int) -> int:
        return seeds

    def cover(self, batch: str, bed: str, fleece: str) -> str:
        return fleece

    def mist(self, batch: str, bed: str, seconds: int) -> str:
        return "damp"


class Recipes:
    """The office that says what each crop gets, per bed."""

    def __init__(self, uid: str) -> None:
        self.uid = uid

    def prescribe(self, sheet: str, bed: str, salt: str, amount: float) -> dict[str, Any]:
        return {"salt": salt, "amount": amount}


class Mixer:
    """Doses salts by the sheet, in grams for each bed."""

    def __init__(self, uid: str) -> None:
        self.uid, self.stock = uid, 90_000.0

    def dose(self, sheet: str, bed: str, amount: float) -> float:
        self.stock -= amount
        return round(amount / 120, 2)


class Feeder:
    """A line that pumps feed into the beds of one house."""

    def __init__(self, uid: str) -> None:
        self.uid, self.liters = uid, 0

    def pump(self, sheet: str, bed: str, strength: float) -> int:
        self.liters += 120
        return 120


class Ledger:
    """The register of trays that may be promised to customers."""

    def __init__(self, uid: str) -> None:
        self.uid, self.trays = uid, dict.fromkeys(CROPS, 900)

    def look(self, crop: str, by: str) -> int:
        return self.trays[crop]

    def write(self, crop: str, trays: int, by: str, slip: str) -> int:
        self.trays[crop] = trays
        return trays


class Clerk:
    """Changes the register: reads, adds, writes."""

    def __init__(self, uid: str, ledger: Ledger) -> None:
        self.uid, self.ledger = uid, ledger
        self.seen: dict[str, int] = {}

    def open_slip(self, slip: str, crop: str) -> int:
        self.seen[slip] = self.ledger.look(crop, self.uid)
        return self.seen[slip]

    def close_slip(self, slip: str, crop: str, trays: int) -> int:
        return self.ledger.write(crop, self.seen.pop(slip) + trays, self.uid, slip)


class Packer:
    """Packs what is really on the shelf."""

    def __init__(self, uid: str) -> None:
        self.uid, self.shelf = uid, dict.fromkeys(CROPS, 900)

    def bring_in(self, slip: str, crop: str, trays: int) -> int:
        self.shelf[crop] += trays
        return trays

    def pack(self, order: str, crop: str, trays: int) -> int:
        self.shelf[crop] -= trays
        return trays

    def stocktake(self, crop: str) -> int:
        return self.shelf[crop]


class Scout:
    """A flying camera that looks at leaves."""

    def __init__(self, uid: str) -> None:
        self.uid, self.flights = uid, 0

    def survey(self, flight: str, bed: str, looks: str) -> str:
        self.flights += 1
        return looks


TRACED: dict[type[Any], tuple[str, ...]] = {
    Planner: ("post", "set_turns", "pull"),
    Arm: ("work", "grip"),
    Sower: ("fill", "drill", "cover", "mist"),
    Recipes: ("prescribe",),
    Mixer: ("dose",),
    Feeder: ("pump",),
    Ledger: ("look", "write"),
    Clerk: ("open_slip", "close_slip"),
    Packer: ("bring_in", "pack", "stocktake"),
    Scout: ("survey",),
}


class Nursery:
    """All glasshouses of a grower, and the truth about each bed."""

    def __init__(self, case: Case) -> None:
        for cls, methods in TRACED.items():
            instrument(
                cls,
                methods=methods,
                agent_id="uid",
                agent_role=cls.__name__.lower(),
                ignore=("ledger", "waiting"),
            )
        self.case, self.rng, self.serial = case, case.rng("glasshouse"), 100
        self.planner, self.recipes, self.mixer = (
            Planner("planner"),
            Recipes("recipe_office"),
            Mixer("mixing_tank"),
        )
        self.arms = [Arm(f"arm{number}") for number in range(1, 4)]
        self.sowers = [Sower("sower_a"), Sower("sower_b")]
        self.feeders = {house: Feeder(f"feedline_{house}") for house in "123"}
        self.ledger, self.packer, self.scout = (
            Ledger("tray_register"),
            Packer("packing_hall"),
            Scout("scout_cam"),
        )
        self.clerks = [
            Clerk("clerk_uma", self.ledger),
            Clerk("clerk_sven", self.ledger),
            Clerk("web_counter", self.ledger),
        ]
        self.log = {uid: AgentLogger(uid, "office") for uid in ("grower", "gatekeeper")}
        self.bed, self.other = self.rng.sample(BEDS, 2)
        self.crop = self.rng.choice(CROPS)
        self.chef = self.rng.choice(CHEFS)
        self.burnt: set[str] = set()
        self.bare: set[str] = set()
        self.infested: dict[str, int] = {}
        self.pest_slip = ""

    def next(self, head: str) -> str:
        self.serial += 1
        return f"{head}{self.serial:04}"

    def beds_for(self, now: int) -> list[str]:
        """Return the beds for everyday work; the bed of the case is left alone from the fault on."""
        return [each for each in BEDS if each != self.bed or now < self.case.begin]

    def sow(self, now: int) -> None:
        """Sow beds; in warm houses some crops need no fleece, and are not covered."""
        case, rng = self.case, self.rng
        mine = case.has("omitted_step") and now == case.begin
        for _ in range(1 if mine else rng.choice((0, 1, 1))):
            batch, sower = self.next("S"), rng.choice(self.sowers)
            bed = self.bed if mine else rng.choice(self.beds_for(now))
            warm = not mine and rng.random() < 0.2
            sower.fill(batch, bed)
            sower.drill(batch, bed, rng.randint(180, 420))
            covered = not warm and not (mine and case.strikes("omitted_step", now))
            fleece = rng.choice(("white", "green"))
            if covered:
                sower.cover(batch, bed, fleece)
            elif not warm:
                self.bare.add(bed)
            sower.mist(batch, bed, rng.randint(20, 50))
            if mine:
                case.root(*(call(sower.uid, act, batch=batch) for act in ("drill", "mist", "fill")))

    def feed(self, now: int) -> None:
        """Prescribe, dose and pump; the tank takes the amount of the sheet as grams for the bed."""
        case, rng = self.case, self.rng
        for place in range(2):
            mine = case.has("wrong_unit") and now == case.begin and place == 0
            sheet = self.next("F")
            bed = self.bed if mine else rng.choice(self.beds_for(now))
            salt = "potash" if mine else rng.choice(("potash", "lime", "magnesia", "iron"))
            grams = rng.randint(18, 60) * 10.0
            traces = salt == "iron"  # a hundredth is enough of that
            amount = round(grams / 100, 1) if traces else grams
            amount = round(amount / 28.35, 1) if mine and case.strikes("wrong_unit", now) else amount
            said = self.recipes.prescribe(sheet, bed, salt, amount)
            strength = self.mixer.dose(sheet, bed, said["amount"])
            line = self.feeders[bed[1]]
            line.pump(sheet, bed, strength)
            if mine:
                case.root(call("recipe_office", "prescribe", sheet=sheet))
                case.hop(call("mixing_tank", "dose", sheet=sheet), call(line.uid, "pump", sheet=sheet))
            if strength < 1 and not traces:
                self.burnt.add(bed)

    def jobs(self, now: int) -> None:
        """Post routine jobs and reports of pests; the arms take what the planner gives."""
        case, rng = self.case, self.rng
        planned = case.has("starved_queue")
        if planned and now == case.begin:
            turns = (4, 0) if case.strikes("starved_queue", now) else (4, 1)
            self.planner.set_turns(*turns)
            case.root(call("planner", "set_turns", routine=4, urgent=turns[1]))
        elif rng.random() < 0.1 and not (planned and now > case.begin):
            self.planner.set_turns(rng.choice((2, 3)), rng.choice((1, 2)))
        for _ in range(5):
            self.planner.post(self.next("J"), rng.choice(BEDS), rng.choice(ROUTINE))
        if planned and now == max(case.begin + 1, case.end - 8) and now < case.end:
            self.pest_slip = self.next("J")
            self.planner.post(self.pest_slip, self.bed, "depest")
            case.hop(call("planner", "post", order=self.pest_slip))
            self.infested[self.bed] = now
        elif rng.random() < 0.2 and not (planned and now >= case.begin):
            bed = rng.choice([each for each in BEDS if each != self.bed])
            self.planner.post(self.next("J"), bed, "depest")
        for number in range(5):
            arm = self.arms[number % 3]
            job = self.planner.pull(arm.uid)
            if job is None:
                continue
            force = rng.uniform(4, 9)
            try:
                arm.grip(job[1], round(force, 1))
            except ValueError:
                arm.grip(job[1], 6.0)
            arm.work(*job)
            if job[2] == "depest":
                self.infested.pop(job[1], None)

    def trade(self, now: int) -> None:
        """Crops come in and orders go out; the register follows, and slips are sometimes open for a while."""
        case, rng = self.case, self.rng
        mine = case.has("lost_update") and now == case.begin
        for place in range(2):
            planned = mine and place == 0
            crop = (
                self.crop
                if planned
                else rng.choice([each for each in CROPS if each != self.crop or not mine])
            )
            clerk, second = rng.sample(self.clerks, 2)
            slip, more, trays, sold = self.next("R"), self.next("R"), rng.randint(30, 80), rng.randint(10, 40)
            if planned:  # two slips for one crop in the same hour
                if case.strikes("lost_update", now):
                    clerk.open_slip(slip, crop)
                    second.open_slip(more, crop)
                    second.close_slip(more, crop, -sold)
                    clerk.close_slip(slip, crop, trays)
                else:
                    second.open_slip(more, crop)
                    second.close_slip(more, crop, -sold)
                    clerk.open_slip(slip, crop)
                    clerk.close_slip(slip, crop, trays)
                self.packer.bring_in(slip, crop, trays)
                self.packer.pack(more, crop, sold)
                case.root(call(clerk.uid, "close_slip", slip=slip), call("tray_register", "write", slip=slip))
                case.root(call(clerk.uid, "open_slip", slip=slip), call(second.uid, "close_slip", slip=more))
                continue
            other = rng.choice([each for each in CROPS if each != crop and (each != self.crop or not mine)])
            clerk.open_slip(slip, crop)
            if rng.random() < 0.25:  # open at the same time, for other crops
                second.open_slip(more, other)
                second.close_slip(more, other, -sold)
                self.packer.pack(more, other, sold)
            clerk.close_slip(slip, crop, trays)
            self.packer.bring_in(slip, crop, trays)
        for crop in rng.sample(CROPS, 2):
            self.packer.stocktake(crop)

    def look_round(self, now: int) -> None:
        """The camera looks at some beds, and the grower writes down what is striking."""
        case, rng = self.case, self.rng
        due = now == case.end
        beds = rng.sample([each for each in BEDS if each != self.bed], 3) + ([self.bed] if due else [])
        for bed in beds:
            looks = rng.choice(("even", "lush", "some dust", "a gap at the rim", "even"))
            if bed == self.bed:
                looks = "yellow rims" if bed in self.burnt else looks
                looks = "few seedlings" if bed in self.bare else looks
                looks = "webs on the leaves" if now - self.infested.get(bed, now) >= 1 else looks
            flight = self.next("V")
            self.scout.survey(flight, bed, looks)
            if looks in TEXTS:
                noted = self.log["grower"].log_action("walk_to_bed", {"bed": bed, "finds": looks})
                case.hop(call("scout_cam", "survey", flight=flight))
                case.symptom(noted, *self.texts(looks))
        if due and case.has("lost_update"):
            shelf = self.packer.stocktake(self.crop)
            promised = self.ledger.look(self.crop, "gatekeeper")
            order = self.next("O")
            case.hop(call("tray_register", "look", crop=self.crop, by="gatekeeper"))
            if promised > shelf:
                sent = self.log["gatekeeper"].log_action(
                    "load_truck", {"order": order, "for": self.chef, "asked": promised, "loaded": shelf}
                )
                case.symptom(sent, *self.texts("short"))
            else:
                self.log["gatekeeper"].log_action(
                    "load_truck", {"order": order, "for": self.chef, "asked": shelf, "loaded": shelf}
                )
        elif rng.random() < 0.4:
            trays = rng.randint(10, 50)
            body = {"order": self.next("O"), "for": rng.choice(CHEFS), "asked": trays, "loaded": trays}
            self.log["gatekeeper"].log_action("load_truck", body)

    def texts(self, about: str) -> list[str]:
        words = {
            "bed": self.bed,
            "crop": self.crop,
            "chef": self.chef,
            "other": self.other,
            "house": self.bed[1],
        }
        return [text.format(**words) for text in TEXTS[about]]


TEXTS = {
    "yellow rims": (
        "The leaves in bed {bed} have yellow rims as if they were starved, although feedline_{house} ran as always",
        "why do the plants of {bed} look hungry? {other} is lush",
        "bed {bed} pale and yellow, scout_cam saw it today. It was fed like the rest, we thought",
    ),
    "few seedlings": (
        "Hardly anything came up in {bed}",
        "{bed} has bare patches everywhere, birds or drought? The arms arm1 and arm2 say they never touched it",
        "poor germination in house {house}: scout_cam shows nearly empty soil in {bed}",
    ),
    "webs on the leaves": (
        "Spider mites all over {bed}, nobody came to treat it though it had been reported",
        "bed {bed} is lost to mites. arm2 was busy pruning the whole time!",
        "why was the pest in {bed} not dealt with?",
    ),
    "short": (
        "We could not deliver what {chef} was promised, there were fewer trays of {crop} than the list says",
        "{crop}: tray_register promises more than the shelf of packing_hall holds. {chef} is angry",
        "The truck left without all the {crop}, where did those trays go?",
    ),
}


def everyday(now: int, nursery: Nursery, rng: random.Random) -> None:
    """Small things, and now and then a harmless one that looks important."""
    log = nursery.log[rng.choice(("grower", "gatekeeper"))]
    dice = rng.random()
    if dice < 0.3:
        log.log_action(
            rng.choice(("air_house", "rinse_filter", "sort_labels")), {"minutes": rng.randint(3, 30)}
        )
    elif dice < 0.42:
        log.warning(
            rng.choice(("humidity probe jumpy", "gate sensor dirty", "drone battery low")),
            {"at": rng.randint(1, 3)},
        )
    elif dice < 0.5:
        log.log_action("set_threshold", {"shade_klux": rng.randint(30, 60)})
    if now == nursery.case.decoy_at:
        if rng.random() < 0.5:
            log.error("boiler tripped", extra={"minutes": rng.randint(4, 25)})
        else:
            log.log_action("store_plan", {"week": rng.randint(1, 52), "crops": rng.randint(3, 6)})


def play(case: Case) -> None:
    """Play some weeks of hours in which somebody works."""
    hours = case.rng("hours").choice((16, 30, 48, 60))
    case.window(hours, 2 if case.has("starved_queue") else 1)
    nursery = Nursery(case)
    for hour in range(hours):
        with tick(hour):
            everyday(hour, nursery, nursery.rng)
            nursery.sow(hour)
            nursery.feed(hour)
            nursery.jobs(hour)
            nursery.trade(hour)
            nursery.look_round(hour)


WORLD = World(
    "glasshouse", "spans", ("starved_queue", "wrong_unit", "lost_update", "omitted_step"), play, author=19
)
