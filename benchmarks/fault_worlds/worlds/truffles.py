"""A co-operative of truffle hunters: dogs, scales, cellars, kitchens and a cashier. Functions with typed loggers; no ticks."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

DOGS = ("Birba", "Lola", "Nerone", "Pippo", "Stella", "Tuono", "Zara", "Moka")
HANDLERS = ("Aldo", "Bruna", "Carlo", "Delfina", "Ettore")
WOODS = {"Castagneto": "gauge_c", "Querceto": "gauge_q", "Faggeta": "gauge_f", "Noceto": "gauge_n"}
SCALES = ("scale_red", "scale_blue")
CELLARS = ("cellar_east", "cellar_west", "cellar_hill")
KITCHENS = ("Trattoria_Ada", "Chez_Colette", "Osteria_Verde", "Hotel_Lux", "Bistro_Kant", "Zum_Hirschen")
LOOKS = {"cheese_price": (30, 60), "opening_hour": (6, 10), "music": (0, 5), "lamp_timer": (10, 90)}


@dataclass
class Lot:
    """A find, weighed and stored."""

    number: str
    handler: str
    wood: str
    grams: float
    cellar: str
    day: int
    dried: bool = False


@dataclass
class Season:
    """All that the co-operative knows, and who the case is about."""

    case: Case
    day: int = 0
    days: int = 0
    lots: list[Lot] = field(default_factory=list)
    orders: int = 0
    merits: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DOGS, 100))
    tare: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SCALES, 0.0))
    target: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CELLARS, 88))
    air: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CELLARS, 88.0))
    rain: dict[str, float] = field(default_factory=lambda: dict.fromkeys(WOODS, 40.0))
    fell: dict[str, float] = field(default_factory=lambda: dict.fromkeys(WOODS, 40.0))
    paid: dict[str, float] = field(default_factory=lambda: dict.fromkeys(HANDLERS, 0.0))
    earned: dict[str, float] = field(default_factory=lambda: dict.fromkeys(HANDLERS, 0.0))
    carried: dict[str, float] = field(default_factory=lambda: dict.fromkeys(HANDLERS, 0.0))
    read: dict[str, str] = field(default_factory=dict)

    def cast(self) -> None:
        """Choose dogs, a wood, a scale, a cellar, a handler and a kitchen."""
        rng = self.case.rng("cast")
        self.dog, self.rival = rng.sample(DOGS, 2)
        self.pack = [dog for dog in DOGS if dog not in {self.dog, self.rival}]
        self.wood, self.scale = rng.choice(tuple(WOODS)), rng.choice(SCALES)
        self.cellar, self.handler = rng.choice(CELLARS), rng.choice(HANDLERS)
        self.kitchen, self.rest = rng.choice(KITCHENS), rng.choice(KITCHENS)
        self.calm = [kitchen for kitchen in KITCHENS if kitchen != self.kitchen]
        self.others = [handler for handler in HANDLERS if handler != self.handler]

    def dice(self, topic: str) -> Random:
        """Return the dice of a topic for today."""
        return self.case.rng(f"{topic}/{self.day}")


def note(who: str, role: str, act: str, **data: Any) -> str:
    """Log what somebody does."""
    return AgentLogger(who, role).log_action(act, data)


def bring(source: str, target: str, kind: str, thing: str, **data: Any) -> str:
    """Log that somebody brings something to somebody."""
    return InteractionLogger(source).log_interaction(kind, source, target, thing, data or None)


def hunt(season: Season, wood: str, dog: str, handler: str, grams: float, points: int) -> Lot:
    """Send a dog into a wood; weigh, store, credit and pay what it finds."""
    number = f"T{len(season.lots) + 1:04}"
    note(dog, "dog", "dig_up", lot=number, wood=wood, day=season.day)
    bring(handler, "weigh_house", "hand_in", number, dog=dog)
    scale = season.dice(f"scale/{number}").choice(SCALES)
    PerformanceLogger(scale, "scale").log_metric(
        "weight", round(grams + season.tare[scale], 1), "g", {"lot": number}
    )
    cellar = season.dice(f"cellar/{number}").choice(CELLARS)
    bring("weigh_house", cellar, "store", number)
    lot = Lot(number, handler, wood, grams, cellar, season.day)
    season.lots.append(lot)
    credit(season, lot, dog, points)
    pay(season, lot)
    return lot


def credit(season: Season, lot: Lot, dog: str, points: int) -> None:
    """Credit a find to the dog that made it; a slip among dogs of the pack is noticed, or does no harm."""
    case, rng = season.case, season.dice(f"credit/{lot.number}")
    to, is_mine = dog, dog == season.dog and points > 50
    if is_mine and case.strikes("wrong_credit", season.day):
        to = season.rival
    elif dog in season.pack and rng.random() < 0.15:
        to = rng.choice(season.pack)
    old = season.merits[to]
    season.merits[to] += points
    entry = note("studbook", "office", "credit_find", lot=lot.number, dog=to, points=points)
    change = AgentLogger(to, "dog").log_state_change({"merit": old}, {"merit": old + points}, "find credited")
    if is_mine:
        case.root(entry, change)
    elif to != dog and rng.random() < 0.5:
        season.merits[to] -= points
        season.merits[dog] += points
        note("studbook", "office", "move_credit", lot=lot.number, source=to, dog=dog, points=points)


def pay(season: Season, lot: Lot) -> None:
    """Pay a find, in cents or in round sums."""
    case, rng = season.case, season.dice(f"pay/{lot.number}")
    watched = case.has("rounding_leak") and lot.handler == season.handler
    worth = round(lot.grams * 2.7, 2)
    season.earned[lot.handler] += worth
    sum_paid = worth
    if watched and case.strikes("rounding_leak") and case.begin <= season.day <= case.end:
        sum_paid = 5 * (worth // 5)
    elif lot.handler in season.others and rng.random() < 0.4:  # in notes, and the rest the next time
        season.carried[lot.handler] += worth % 5
        sum_paid = 5 * (worth // 5)
    elif lot.handler in season.others and season.carried[lot.handler]:
        sum_paid = worth + season.carried[lot.handler]
        season.carried[lot.handler] = 0.0
    season.paid[lot.handler] += sum_paid
    event = note(
        "cashier", "office", "pay_out", lot=lot.number, grams=round(lot.grams, 1), euros=round(sum_paid, 2)
    )
    if watched and case.begin <= season.day <= case.end and len(case.roots) < 3:
        case.root(event)
    got = bring("cashier", lot.handler, "payment", lot.number, euros=round(sum_paid, 2))
    if watched and case.begin <= season.day:
        case.hop(got)


def merits_and_hunts(season: Season) -> None:
    """Choose dogs by their merits, and hunt."""
    case, rng, day = season.case, season.dice("hunts"), season.day
    for _ in range(rng.randint(2, 4)):
        wood, handler = rng.choice(tuple(WOODS)), rng.choice(HANDLERS)
        some = rng.sample(season.pack, 3)
        best = max(some, key=lambda dog: season.merits[dog] + rng.randint(0, 60))
        AgentLogger("kennel", "office").log_decision(
            "pick_dog", {"wood": wood, "dog": best, "of": some}, f"merit {season.merits[best]}"
        )
        if rng.random() < 0.2:
            note(best, "dog", "find_nothing", wood=wood, day=day)
            continue
        hunt(season, wood, best, handler, rng.uniform(18, 95), rng.randint(2, 9))
    if day % 4 == 1 and not (case.has("wrong_credit") and case.begin <= day <= case.end):
        for dog in (season.dog, season.rival):
            hunt(season, rng.choice(tuple(WOODS)), dog, rng.choice(HANDLERS), rng.uniform(18, 40), 5)
    if case.has("rounding_leak") and case.begin <= day <= case.end:
        for _ in range(2):
            grams = (5 * rng.randint(11, 32) + rng.choice((3.4, 3.9, 4.2, 4.75, 4.9))) / 2.7
            hunt(season, season.wood, rng.choice(season.pack), season.handler, grams, 4)
    if case.has("wrong_credit") and day == case.begin:
        hunt(season, season.wood, season.dog, season.handler, rng.uniform(280, 390), rng.randint(60, 75))
    if case.has("wrong_credit") and day == case.end:
        pair = {dog: season.merits[dog] for dog in (season.dog, season.rival)}
        best = max(pair, key=lambda dog: pair[dog])
        chosen = AgentLogger("kennel", "office").log_decision(
            "pick_dog", {"wood": "Royal", "dog": best, "of": list(pair)}, f"merit {pair[best]}"
        )
        went = bring("kennel", best, "send_out", "Royal")
        if best == season.dog:
            lot = hunt(season, season.wood, best, season.handler, 160.0, 5)
            deliver(season, season.kitchen, lot, 160.0, season.scale)
            return
        nothing = note(best, "dog", "find_nothing", wood="Royal", day=day)
        empty = bring(season.handler, season.kitchen, "bring_empty_basket", "Royal")
        case.hop(chosen, went, nothing, empty)
        complain(
            season,
            "no delivery",
            "We had ordered for the wedding and got an empty basket",
            f"nothing?! it was the one dinner of the year, and {season.rest} had plenty",
            f"{season.kitchen} here. {season.handler} stood at the door with nothing in his basket, in the best week of the season",
            "why do you send a dog with no nose into the best wood of all",
        )


def complain(season: Season, matter: str, *texts: str) -> None:
    """The kitchen of the case complains, and a user writes about it."""
    event = note(season.kitchen, "kitchen", "complain", matter=matter, day=season.day)
    season.case.symptom(event, *texts)


def deliver(season: Season, kitchen: str, lot: Lot, wanted: float, scale: str) -> None:
    """Pack, send, and let a kitchen weigh, smell and cook what it got."""
    case, mine = season.case, kitchen == season.kitchen and season.day == season.case.end
    season.orders += 1
    parcel = f"O{season.orders:04}"
    order = note(kitchen, "kitchen", "order", parcel=parcel, grams=round(wanted, 1))
    packer = note("packer", "worker", "pack", parcel=parcel, lot=lot.number, cellar=lot.cellar)
    shown = PerformanceLogger(scale, "scale").log_metric("parcel", round(wanted, 1), "g", {"parcel": parcel})
    real = wanted - season.tare[scale]
    rider = bring(season.dice("rider").choice(("courier_1", "courier_2")), kitchen, "deliver", parcel)
    weighed = PerformanceLogger(kitchen, "kitchen").log_metric(
        "kitchen_scale", round(real, 1), "g", {"parcel": parcel}
    )
    if mine:
        case.hop(packer, shown, rider, weighed)
        case.trigger(order)
    if lot.dried:
        complain(
            season,
            "dry",
            f"these are corks, not truffles. Angry regards, {season.kitchen}",
            f"What {season.kitchen} got today was so dry that the knife slipped off. {season.rest} tells me theirs smelled wonderful",
            f"parcel {parcel} is hard and has no smell, how long has it been lying about?",
            "dried out, inedible, 300 euros",
        )
    elif real < 0.93 * wanted:
        complain(
            season,
            "short weight",
            f"we paid for {wanted:.0f} grams and there are {real:.0f} in it",
            f"{season.kitchen} has been cheated. Weighed it three times",
            "your parcels get lighter and lighter, are you eating from them",
            f"Short again. {season.rest} buys from you as well and says it was exact to the gram, so why not mine?",
        )
    else:
        note(kitchen, "kitchen", "cook", parcel=parcel)


def scales(season: Season) -> None:
    """Wipe scales, and read what they show without a load."""
    case, rng, day = season.case, season.dice("scales"), season.day
    for scale in SCALES:
        watched = case.has("slow_drift") and scale == season.scale and case.begin <= day <= case.end
        if watched and day == case.begin:
            case.root(note("weigh_house", "office", "wipe_pan", scale=scale, day=day))
        elif not watched and rng.random() < 0.3:
            note("weigh_house", "office", "wipe_pan", scale=scale, day=day)
            season.tare[scale] = 0.0
        elif not watched and rng.random() < 0.15:  # mud, which is gone with the next wipe
            season.tare[scale] = min(4.0, season.tare[scale] + rng.uniform(0.5, 2.0))
        if watched and case.strikes("slow_drift"):
            season.tare[scale] += 26 / (case.end - case.begin)
        elif watched or (case.has("slow_drift") and scale == season.scale and day == case.begin - 1):
            season.tare[scale] = 0.0
        shown = round(season.tare[scale] + rng.uniform(-0.3, 0.3), 1)
        event = PerformanceLogger(scale, "scale").log_metric("empty_pan", shown, "g")
        if watched and day < case.begin + 3:
            case.root(event)


def cellars(season: Season) -> None:
    """Air cellars, and change what is set there and elsewhere."""
    case, rng, day = season.case, season.dice("cellars"), season.day
    keeper = SystemLogger("cellars")
    for cellar in CELLARS:
        watched = case.has("config_change") and cellar == season.cellar
        if rng.random() < 0.12 and not watched:
            old, new = season.target[cellar], rng.randint(85, 92)
            if rng.random() < 0.3:  # an hour of dry air, against mould
                keeper.log_config(f"{cellar}.humidity", old, 62)
                keeper.log_config(f"{cellar}.humidity", 62, old)
            keeper.log_config(f"{cellar}.humidity", old, new)
            season.target[cellar] = new
        if watched and day == case.begin:
            new = 58 if case.strikes("config_change", day) else 90
            case.root(keeper.log_config(f"{cellar}.humidity", season.target[cellar], new))
            season.target[cellar] = new
        season.air[cellar] += 0.7 * (season.target[cellar] - season.air[cellar])
        PerformanceLogger(cellar, "cellar").log_metric("humidity", round(season.air[cellar], 1), "%")
        for lot in season.lots[-60:]:
            lot.dried |= lot.cellar == cellar and season.air[cellar] < 72
    if rng.random() < 0.3:
        name = rng.choice(tuple(LOOKS))
        old, new = rng.sample(range(*LOOKS[name]), 2)
        SystemLogger("shop").log_config(name, old, new)


def rains(season: Season) -> None:
    """Read gauges, and open woods that are wet enough."""
    case, rng, day = season.case, season.dice("rains"), season.day
    dry = rng.random() < 0.25
    for wood, gauge in WOODS.items():
        if rng.random() > 0.4 and not (case.has("wrong_unit") and day == case.begin):
            continue
        watched = case.has("wrong_unit") and wood == season.wood and case.begin <= day <= case.end
        if watched and day > case.begin:
            continue  # the gauge is emptied after the hunt only
        fell = (
            rng.uniform(0.5, 4.0)
            if dry and not (case.has("wrong_unit") and day == case.begin)
            else rng.uniform(28, 60)
        )
        shown = fell / 25.4 if watched and case.strikes("wrong_unit", day) else fell
        season.fell[wood], season.rain[wood] = fell, round(shown, 1)
        season.read[wood] = PerformanceLogger(gauge, "gauge").log_metric(
            "rain", round(shown, 1), None, {"wood": wood}
        )
        if watched:
            case.root(season.read[wood])
    asked = [rng.choice(tuple(WOODS))] if rng.random() < 0.4 else []
    asked = [
        wood for wood in asked if not (case.has("wrong_unit") and wood == season.wood and day >= case.begin)
    ]
    asked += [season.wood] if case.has("wrong_unit") and day == case.end else []
    for wood in asked:
        is_open = season.rain[wood] >= 15
        event = AgentLogger("warden", "office").log_decision(
            "open_wood", {"wood": wood, "open": is_open, "day": day}, f"rain {season.rain[wood]}"
        )
        told = bring("warden", season.handler, "tell", wood, open=is_open)
        if wood == season.wood and case.has("wrong_unit") and day == case.end:
            if is_open:
                lot = hunt(season, wood, season.pack[0], season.handler, 150.0, 5)
                deliver(season, season.kitchen, lot, 120.0, season.scale)
                continue
            home = note(season.handler, "handler", "go_home", wood=wood, day=day)
            case.hop(event, told, home)
            complain(
                season,
                "nothing from there",
                f"You promised us truffles from {wood} and now it is said to be closed because it is too dry. It has rained for a week!",
                f"how can a wood be closed for drought when {season.handler} had to swim here",
                f"{season.handler} told {season.kitchen} there is nothing to be had. Everyone can see that the forest is soaking wet",
                "no delivery, silly excuse about the weather",
            )


def kitchens(season: Season) -> None:
    """Deliver to kitchens."""
    case, rng, day = season.case, season.dice("kitchens"), season.day
    drifting, drying = case.has("slow_drift"), case.has("config_change")
    for _ in range(rng.randint(0, 2)):
        fresh = [lot for lot in season.lots[-30:] if not (drying and lot.cellar == season.cellar)]
        scale = rng.choice(
            [scale for scale in SCALES if not drifting or scale != season.scale or day < case.begin]
        )
        if fresh:
            deliver(season, rng.choice(season.calm), rng.choice(fresh), rng.uniform(80, 300), scale)
    if (drifting or drying) and day == case.end:
        kept = [lot for lot in season.lots[-60:] if lot.cellar == season.cellar and lot.day < day]
        deliver(season, season.kitchen, rng.choice(kept or season.lots[-9:]), 250.0, season.scale)


def accounts(season: Season) -> None:
    """Compare what was paid with what handlers wrote down."""
    case, rng, day = season.case, season.dice("accounts"), season.day
    asked = [rng.choice(season.others)] if rng.random() < 0.2 else []
    if not case.has("rounding_leak") and rng.random() < 0.1:
        asked.append(season.handler)
    asked += [season.handler] if case.has("rounding_leak") and day == case.end else []
    for handler in asked:
        missing = round(season.earned[handler] - season.paid[handler] - season.carried[handler], 2)
        own = note(handler, "handler", "add_up_notebook", euros=round(season.earned[handler], 2), day=day)
        event = note("auditor", "office", "compare", handler=handler, missing=missing, day=day)
        if missing > 10:
            case.hop(own)
            case.symptom(
                event,
                f"{handler} says that {missing} euros are missing and I get the same when I add up the slips",
                "The money paid out is less than what my truffles were worth. Not much each time, but I can count",
                f"can someone look at what was paid to {handler}? {rng.choice(season.others)} got everything to the cent",
                "I am being paid too little",
            )


def village(season: Season) -> None:
    """Dogs that bark, parcels with wet labels, and other things of every day."""
    rng, day = season.dice("village"), season.day
    for _ in range(rng.randint(1, 3)):
        note(
            rng.choice(DOGS), "dog", rng.choice(("bark", "sleep", "chase_cat", "roll_in_mud", "eat")), day=day
        )
    if rng.random() < 0.15:
        AgentLogger("courier_1", "courier").error("label unreadable", {"parcel": season.orders})
        note("courier_1", "courier", "ask_for_address", parcel=season.orders, answer="found")
    if rng.random() < 0.15:
        AgentLogger(rng.choice(CELLARS), "cellar").warning("door left open", {"minutes": rng.randint(2, 9)})
    if day == season.case.decoy_at:
        note(season.handler, "handler", "mend_basket", day=day)
        note(season.kitchen, "kitchen", "sharpen_slicer", day=day)
    if day % 7 == 0:
        SystemLogger("season").log_phase(f"week {day // 7 + 1}")


def play(case: Case) -> None:
    """Play a season."""
    days = case.rng("days").choice((26, 48, 85, 112))
    case.window(days, 4 if case.has("slow_drift") else 1)
    season = Season(case, days=days)
    season.cast()
    for day in range(days):
        season.day = day
        for part in (village, scales, cellars, rains, merits_and_hunts, kitchens, accounts):
            part(season)


WORLD = World(
    "truffles",
    "bare",
    ("wrong_credit", "slow_drift", "wrong_unit", "rounding_leak", "config_change"),
    play,
    author=15,
)
