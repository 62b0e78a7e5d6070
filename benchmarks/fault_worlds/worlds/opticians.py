"""A chain of opticians: shops with catalogues, refractors, a lens laboratory with an oven, a van, sample boxes, a care desk."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

SHOPS = ("linden_shop", "market_shop", "station_shop", "harbour_shop")
VISITORS = ("visitor_ana", "visitor_bela", "visitor_cora", "visitor_dov")
BLANKS = (
    "aspheric_54",
    "aspheric_60",
    "flat_top_28",
    "office_70",
    "kids_65",
    "sport_80",
    "thin_67",
    "retro_55",
)
PEOPLE = (
    "Albers Bruhn Corti Duval Ekholm Farkas Gerlach Hesse Irving Jonker Kovacs Lund Moreau Nowak Oberlin Palme "
    "Quist Rossi Sander Thorup Ungar Vidal Wirth Yilmaz"
).split()
EVERYDAY = (
    "all well",
    "screw loose",
    "nose pads worn",
    "case lost",
    "dropped them, bent",
    "asks for a cord",
    "smudgy",
)


@dataclass
class Pair:
    """A pair of glasses, as it really is."""

    job: str
    owner: str
    shop: str
    blank: str
    needed: float
    sphere: float = 0.0
    curve: float = 0.0
    mineral: bool = False
    cold: bool = False
    fits: bool = True
    hard: bool = True
    cured: bool = True

    def trouble(self) -> str:
        """What its owner notices after a while."""
        if not self.fits:
            return "lens fell out of the rim"
        if abs(self.sphere - self.needed) >= 1:
            return "headaches, sees badly"
        if not self.hard and not self.mineral:
            return "cracked across"
        return "" if self.cured else "coating peels off"


class Trade:
    """Eyes, glasses and the plan of one case."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("opticians")
        self.eyes = {owner: self.rng.randint(-20, 8) / 4 for owner in PEOPLE}
        self.home = {owner: SHOPS[place % 4] for place, owner in enumerate(PEOPLE)}
        self.owner = self.rng.choice(PEOPLE)
        self.shop = self.home[self.owner]
        self.other_shop = self.rng.choice([shop for shop in SHOPS if shop != self.shop])
        self.blank = self.rng.choice(BLANKS)
        self.curves = dict.fromkeys(BLANKS, 4.0)
        self.stocked = {
            shop: sorted({*self.rng.sample(BLANKS, 5), *([self.blank] if shop == self.shop else [])})
            for shop in SHOPS
        }
        self.leaver, *self.others = self.rng.sample(VISITORS, 4)
        self.worn: dict[str, Pair] = {}
        self.ordered: list[Pair] = []
        self.planned, self.order_on = "", 0  # the job of the complaint
        self.serial = 4000
        self.lent: list[tuple[int, str, str]] = []

    def next(self, prefix: str) -> str:
        self.serial += self.rng.randint(1, 3)
        return f"{prefix}{self.serial}"

    def find(self, job: str) -> Pair:
        return next(pair for pair in self.ordered if pair.job == job)

    def reading(self, owner: str, day: int) -> tuple[float, float]:
        """What a refractor shows, and how sure it is; a blink gives a wild value, and a low contrast."""
        eye, blink = self.eyes[owner], self.rng.random() < 0.07
        shown = eye + self.rng.choice((0.0, 0.0, 0.25, -0.25))
        wild = self.rng.choice((-1.75, 1.5, 2.0))
        if owner == self.owner and self.case.has("trusted_tool") and day == self.case.begin:
            return shown + (wild if self.case.strikes("trusted_tool", day) else 0.0), 0.9
        return (shown + wild, 0.3) if blink else (shown, round(self.rng.uniform(0.7, 0.99), 2))


class Staff:
    """Somebody whose calls are recorded, with a log of their own."""

    trace_ignore = ("trade", "log", "oven", "meter")

    def __init__(self, agent_id: str, trade: Trade) -> None:
        self.agent_id, self.trade = agent_id, trade
        self.log = AgentLogger(agent_id, type(self).__name__.lower())


class Wholesaler(Staff):
    @trace_agent_action()
    def revise(self, blank: str, edition: str, curve: float) -> dict[str, Any]:
        self.trade.curves[blank] = curve
        return {"edition": edition, "valid": "at once"}


class Refractor(Staff):
    @trace_agent_action()
    def measure(self, owner: str, day: int) -> dict[str, Any]:
        sphere, contrast = self.trade.reading(owner, day)
        return {"sphere": sphere, "contrast": contrast}


class Shop(Staff):
    """Examines eyes, orders lenses by its catalogue, and hands glasses over."""

    def __init__(self, agent_id: str, trade: Trade, meter: Refractor) -> None:
        super().__init__(agent_id, trade)
        self.meter = meter
        self.catalogue = {blank: trade.curves[blank] for blank in trade.stocked[agent_id]}
        self.handed_over = 0

    @trace_agent_action()
    def refresh(self, blank: str, edition: str, curve: float) -> str:
        self.catalogue[blank] = curve
        return "copied"

    @trace_agent_action()
    def refine(self, owner: str) -> float:
        return self.trade.eyes[owner]

    @trace_agent_action()
    def examine(self, owner: str, day: int) -> float:
        """Examine eyes with the refractor; ask again if its contrast was low."""
        seen = self.meter.measure(owner, day)
        return self.refine(owner) if seen["contrast"] < 0.5 else float(seen["sphere"])

    @trace_agent_action()
    def order(self, job: str, owner: str, blank: str, sphere: float) -> dict[str, Any]:
        return {"job": job, "curve": self.catalogue[blank], "sphere": sphere}

    @trace_agent_action()
    def hand_over(self, job: str, owner: str) -> str:
        self.handed_over += 1
        return "worn"


class Oven(Staff):
    @trace_agent_action()
    def bake(self, job: str, minutes: int) -> str:
        if minutes < 60 and self.trade.find(job).cold:
            raise RuntimeError(f"{job}: element below 80 degrees")
        return "cured"


class Lab(Staff):
    """Makes lenses, step by step."""

    def __init__(self, agent_id: str, trade: Trade, oven: Oven) -> None:
        super().__init__(agent_id, trade)
        self.oven, self.made = oven, 0

    @trace_agent_action()
    def surface(self, job: str, blank: str, curve: float, sphere: float) -> str:
        return "ground"

    @trace_agent_action()
    def harden(self, job: str) -> str:
        return "hardened"

    @trace_agent_action()
    def coat(self, job: str, again: bool) -> str:
        """Coat a lens and cure it."""
        try:
            self.oven.bake(job, 40)
        except RuntimeError:
            if again:
                self.oven.bake(job, 75)
            self.trade.find(job).cured = again
        return "coated"

    @trace_agent_action()
    def edge(self, job: str, frame: str) -> str:
        return "cut"

    @trace_agent_action()
    def make(self, job: str, material: str, steps: list[str]) -> str:
        pair = self.trade.find(job)
        self.surface(job, pair.blank, pair.curve, pair.sphere)
        if "harden" in steps:
            self.harden(job)
        self.coat(job, "rebake" in steps)
        self.made += 1
        return self.edge(job, pair.shop[0].upper() + job[-2:])


class Van(Staff):
    @trace_agent_action()
    def deliver(self, job: str, shop: str) -> str:
        return "delivered"


class Cupboard(Staff):
    """Lends boxes of sample frames for visits at home."""

    def __init__(self, agent_id: str, trade: Trade, boxes: int) -> None:
        super().__init__(agent_id, trade)
        self.boxes = boxes

    @trace_agent_action()
    def lend(self, visitor: str, slip: str) -> str:
        if not self.boxes:
            return "none left"
        self.boxes -= 1
        return "lent"

    @trace_agent_action()
    def take_back(self, visitor: str, slip: str) -> str:
        self.boxes += 1
        return "back"


class Visitor(Staff):
    @trace_agent_action()
    def visit(self, street: str, slip: str) -> str:
        return "shown"

    @trace_agent_action()
    def postpone(self, street: str, slip: str) -> str:
        return "put off"


class Care(Staff):
    @trace_agent_action()
    def take_call(self, caller: str, note: str, remark: str) -> str:
        return "noted"


class Chain(Trade):
    """The company as a whole: who works there, and what a day is like."""

    def __init__(self, case: Case, boxes: int) -> None:
        super().__init__(case)
        self.wholesaler, self.care = Wholesaler("lens_wholesale", self), Care("care_desk", self)
        self.shops = {s: Shop(s, self, Refractor(f"refractor_{n}", self)) for n, s in enumerate(SHOPS, 1)}
        self.lab, self.van = Lab("lens_lab", self, Oven("curing_oven", self)), Van("grey_van", self)
        self.cupboard = Cupboard("sample_cupboard", self, boxes)
        self.visitors = {name: Visitor(name, self) for name in VISITORS}

    def publish(self, day: int) -> None:
        """New curves now and then; shops that do not stock a blank have nothing to copy."""
        case, rng = self.case, self.rng
        planned = case.has("stale_cache") and day == case.begin
        if not planned and rng.random() > 0.15:
            return
        blank = self.blank if planned else rng.choice([each for each in BLANKS if each != self.blank])
        edition, curve = (
            self.next("ed"),
            rng.choice([c for c in (3.0, 3.5, 4.0, 4.5, 5.0) if c != self.curves[blank]]),
        )
        self.wholesaler.revise(blank, edition, curve)
        for name, shop in self.shops.items():
            if blank in shop.catalogue and not (
                name == self.shop and planned and case.strikes("stale_cache", day)
            ):
                shop.refresh(blank, edition, curve)
        if planned:
            case.root(call("lens_wholesale", "revise", edition=edition))

    def order(self, owner: str, day: int, *, planned: bool) -> None:
        """Examine a customer and order glasses."""
        rng, shop = self.rng, self.shops[self.home[owner]]
        blanks = [blank for blank in shop.catalogue if blank != self.blank or shop.agent_id != self.shop]
        if not planned and rng.random() < 0.06:
            self.eyes[owner] += rng.choice((-1.25, 1.25))  # eyes do change
        blank = self.blank if planned and self.case.has("stale_cache") else rng.choice(blanks)
        pair = Pair(self.next("job"), owner, shop.agent_id, blank, self.eyes[owner])
        pair.mineral, pair.cold = rng.random() < 0.15 and not planned, rng.random() < 0.09
        pair.cold = pair.cold or (planned and self.case.has("swallowed_failure"))
        self.ordered.append(pair)
        pair.sphere = shop.examine(owner, day)
        pair.curve = float(shop.order(pair.job, owner, blank, pair.sphere)["curve"])
        if planned:
            self.planned = pair.job
            if self.case.has("trusted_tool"):
                self.case.root(call(shop.meter.agent_id, "measure", owner=owner, day=day))
            self.case.hop(call(shop.agent_id, "order", job=pair.job))

    def work_off(self, day: int) -> None:
        """Make, deliver and hand over what was ordered the day before."""
        case = self.case
        for pair in list(self.ordered):
            job, mine = pair.job, pair.job == self.planned
            steps = ["surface", "harden", "coat", "rebake", "edge"]
            if pair.mineral or (mine and case.strikes("omitted_step", day)):
                steps.remove("harden")
            rushed = self.rng.random() < 0.3 and not pair.cold  # a second bake is not foreseen, nor needed
            if rushed or (mine and case.strikes("swallowed_failure", day)):
                steps.remove("rebake")
            pair.hard = "harden" in steps
            pair.fits = pair.curve == self.curves[pair.blank]
            self.lab.make(job, "mineral" if pair.mineral else "organic", steps)
            if mine and case.has("omitted_step"):
                case.root(*(call("lens_lab", act, job=job) for act in ("surface", "coat", "make")))
            if mine and case.has("swallowed_failure"):
                error = f"{job}: element below 80 degrees"
                case.root(*(call("lens_lab", act, job=job) for act in ("coat", "make")))
                case.root(
                    call("curing_oven", "bake", job=job), call("curing_oven", "bake", error_message=error)
                )
            self.van.deliver(job, pair.shop)
            self.shops[pair.shop].hand_over(job, pair.owner)
            if mine:
                case.hop(call("lens_lab", "make", job=job), call(pair.shop, "hand_over", job=job))
            self.worn[pair.owner] = pair
        self.ordered.clear()

    def take_calls(self, day: int) -> None:
        """Customers call; what is wrong with the glasses of the case shows at the end."""
        callers = self.rng.sample(PEOPLE, self.rng.randint(2, 5))
        if day == self.case.end and self.owner not in callers:
            callers.append(self.owner)
        for owner in callers:
            early = owner == self.owner and self.order_on <= day < self.case.end
            trouble = self.worn[owner].trouble() if owner in self.worn and not early else ""
            note, everyday = self.next("note"), self.rng.choice(EVERYDAY)
            self.care.take_call(owner, note, trouble or everyday)
            if trouble:
                self.case.symptom(call("care_desk", "take_call", note=note), *self.wordings(trouble))

    def visits(self, day: int) -> None:
        """Visits at home, each with a box of samples; at the end is the week of the care homes, and all go out."""
        case, rng = self.case, self.rng
        planned = case.has("leaked_resource")
        for item in [item for item in self.lent if item[0] <= day]:
            self.lent.remove(item)
            self.cupboard.take_back(item[1], item[2])
        daily = planned and case.begin <= day <= case.end
        going = [self.leaver] if rng.random() < 0.4 or daily else []
        for name in self.others:
            has = sum(visitor == name for _, visitor, _ in self.lent)
            going += [name] * (2 - has if planned and day == case.end else rng.randint(0, max(0, 2 - has)))
        for name in going:
            slip, street, back = (
                self.next("slip"),
                rng.choice(("Elm Row", "Mill Lane", "Quay", "Hill")),
                rng.randint(1, 2),
            )
            if self.cupboard.lend(name, slip) == "lent":
                self.visitors[name].visit(street, slip)
                if name != self.leaver:
                    self.lent.append((day + back, name, slip))
                elif not (daily and case.strikes("leaked_resource")):
                    self.lent.append((day + 1, name, slip))
                elif day < case.begin + 3:
                    case.root(call("sample_cupboard", "lend", slip=slip), call(name, "visit", slip=slip))
                continue
            self.visitors[name].postpone(street, slip)
            note = self.next("note")
            self.care.take_call(street, note, "nobody came")
            case.hop(call(name, "postpone", slip=slip))
            case.symptom(call("care_desk", "take_call", note=note), *self.wordings("nobody came"))

    def wordings(self, trouble: str) -> list[str]:
        return [
            text.format(owner=self.owner, shop=self.shop, other=self.other_shop) for text in TEXTS[trouble]
        ]


TEXTS = {
    "lens fell out of the rim": (
        "Mrs {owner}'s new lenses do not sit in the frame, one fell into her soup on the first evening",
        "{shop} gave {owner} glasses whose lenses just drop out. Same frame as always!",
        "why don't {owner}'s lenses hold in the rim?",
    ),
    "headaches, sees badly": (
        "{owner} gets headaches from the new glasses and sees worse than with the old ones",
        "I cannot read the road signs any more with what I got from {shop}! {owner}",
        "wrong strength? customer {owner} sees nothing, at {other} they laughed about it",
    ),
    "cracked across": (
        "a lens of {owner} cracked straight across while cleaning. That must never happen with plastic",
        "{owner} was back at {shop} with a broken lens, barely used",
        "new glasses broke just like that ({owner})",
    ),
    "coating peels off": (
        "The glasses of {owner} look like they have a sunburn, the layer comes off in flakes",
        "{owner} says that the anti-glare of the pair from {shop} is peeling",
        "flaking lenses, customer {owner}, quite new. {other} has no such complaints",
    ),
    "nobody came": (
        "Nobody turned up at the care home although we had an appointment! They say there was nothing left to show",
        "visits at home were put off because there are no boxes with frames any more. {shop} cannot help either",
        "Where have all our sample boxes gone?",
    ),
}


def chores(day: int, chain: Chain, rng: random.Random) -> None:
    """Settings and hiccups of no consequence, and a more striking one shortly before the symptom."""
    staff: list[Staff] = [*chain.shops.values(), *chain.visitors.values(), chain.lab, chain.van, chain.care]
    for worker in rng.sample(staff, 3):
        dice = rng.random()
        if dice < 0.1:
            worker.log.log_action("set_display", {"brightness": rng.randint(2, 9)})
        elif dice < 0.2:
            worker.log.warning(rng.choice(("printer out of paper", "card reader slow", "late this morning")))
        elif dice < 0.45:
            worker.log.log_action(
                rng.choice(("count_cloths", "dust_shelf", "sort_mail")), {"minutes": rng.randint(3, 40)}
            )
    if day == chain.case.decoy_at:
        kind, worker = rng.randrange(3), rng.choice(staff)
        if kind == 0:
            chain.lab.log.error("power cut in the street", extra={"minutes": rng.randint(2, 20)})
        elif kind == 1:
            worker.log.log_action("set_threshold", {"contrast": 0.45, "before": 0.5})
        else:
            worker.log.log_action("replace_by_temp", {"name": rng.choice(PEOPLE).lower(), "days": 2})


def play(case: Case) -> None:
    """Play some months of a chain of opticians."""
    days = case.rng("length").choice((30, 45, 70, 110))
    case.window(days, 3 if case.has("leaked_resource") else 1)
    chain = Chain(case, 6 + (case.end - case.begin if case.has("leaked_resource") else 5))
    if case.has("stale_cache"):
        chain.order_on = case.end - 1
    else:  # faults in the laboratory begin the day after the order
        chain.order_on = case.begin - (case.has("omitted_step") or case.has("swallowed_failure"))
    for day in range(days):
        with tick(day):
            chores(day, chain, chain.rng)
            chain.work_off(day)
            chain.publish(day)
            for owner in chain.rng.sample(PEOPLE, chain.rng.randint(4, 8)):
                if owner != chain.owner or not chain.order_on - 1 <= day <= case.end:
                    chain.order(owner, day, planned=False)
            if day == chain.order_on and not case.has("leaked_resource"):
                chain.order(chain.owner, day, planned=True)
            chain.visits(day)
            chain.take_calls(day)


WORLD = World(
    "opticians",
    "spans",
    ("stale_cache", "trusted_tool", "omitted_step", "leaked_resource", "swallowed_failure"),
    play,
    author=13,
)
