"""A coffee roastery: sacks come in, drums roast, bags are filled, vans deliver, and each sale pays a little to the growers.

Functions with typed loggers: actions, decisions, interactions, metrics, state changes and configuration; a tick is a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

DRUMS = ("big drum", "old drum", "test drum")
CAFES = ("Corner Cup", "Bar Lino", "Halfpint", "Milkweed", "Tramway", "Ostrich", "Bean There", "Kolme")
COOPS = ("coop Sidra", "coop Palma", "coop Nyeri")
TILLS = {"coop Sidra": "till one", "coop Palma": "till two", "coop Nyeri": "till three"}
POUNDS, YIELD, BATCHES, BITTER = 2.205, 0.84, 10, 6.0
ROLES = {"Nadja": "clerk", "Ewa": "planner", "van": "driver", "Soeren": "technician"}


@dataclass
class Order:
    """What a cafe wants, and what was written down."""

    number: str
    cafe: str
    wanted: tuple[int, int]
    written: tuple[int, int]


class Roastery:
    """The books, what is really there, and the plan of one case."""

    def __init__(self, case: Case, days: int) -> None:
        self.case, self.days, self.day, self.numbers = case, days, 0, case.seed % 400
        plan = case.rng("plan")
        self.cafe, self.drum, self.coop = plan.choice(CAFES), plan.choice(DRUMS), plan.choice(COOPS)
        self.lot, self.order = f"LOT-{plan.randint(700, 899)}", f"O-{plan.randint(90000, 98000)}"
        self.agents: dict[str, AgentLogger] = {}
        self.dealers: dict[str, InteractionLogger] = {}
        self.book: dict[str, int] = {}
        self.real: dict[str, int] = {}
        self.orders: dict[int, list[Order]] = {}
        self.offset = dict.fromkeys(DRUMS, 0.0)
        self.drift = dict.fromkeys(DRUMS, 0.0)
        self.paid, self.owed = dict.fromkeys(COOPS, 0), dict.fromkeys(COOPS, 0.0)
        self.carried = dict.fromkeys(COOPS, 0.0)
        self.floors: set[str] = set()
        self.last: dict[str, str] = {}

    def number(self, letters: str) -> str:
        """Return the next number of a paper."""
        self.numbers += 1
        return f"{letters}-{self.numbers}"

    def agent(self, who: str) -> AgentLogger:
        """Return the logger of somebody."""
        if who not in self.agents:
            role = "drum" if who in DRUMS else ("cafe" if who in CAFES else "house")
            self.agents[who] = AgentLogger(who, ROLES.get(who, role))
        return self.agents[who]

    def deal(self, who: str, what: str, to: str, about: str, **data: Any) -> str:
        """Record that somebody gives, tells or sends something to somebody."""
        if who not in self.dealers:
            self.dealers[who] = InteractionLogger(who, ROLES.get(who, "house"))
        return self.dealers[who].log_interaction(what, who, to, about, data)

    def is_now(self, kind: str) -> bool:
        """Tell whether the case begins today and is of this kind."""
        return self.case.has(kind) and self.day == self.case.begin

    def is_due(self, kind: str) -> bool:
        """Tell whether the case ends today and is of this kind."""
        return self.case.has(kind) and self.day == self.case.end


# Lots: the clerk writes down what came, the planner promises what the book says.


def take_in(w: Roastery, lot: str, kilos: int, planned: bool) -> None:
    """Weigh a lot and enter it."""
    pounds = round(kilos * POUNDS)
    w.deal("Nadja", "file_invoice", "Ewa", lot, pounds=pounds)
    number = pounds if planned and w.case.strikes("wrong_unit") else kilos
    entered = w.agent("Nadja").log_action("enter_lot", {"lot": lot, "weight": number, "bay": number % 7})
    w.book[lot], w.real[lot] = number, kilos
    if planned:
        w.case.root(entered)


def sell_lot(w: Roastery, lot: str, cafe: str) -> None:
    """Promise a whole lot to a cafe, roast what is there and send it."""
    promised, bags = int(w.book.pop(lot) * YIELD), int(w.real.pop(lot) * YIELD)
    said = w.agent("Ewa").log_decision("promise_bags", {"lot": lot, "cafe": cafe, "bags": promised}, "book")
    charged = w.agent("test drum").log_action("roast_lot", {"lot": lot, "bags": bags})
    sent = w.deal("van", "deliver", cafe, lot, bags=bags)
    counted = w.agent(cafe).log_action("count_bags", {"lot": lot, "bags": bags, "short": promised - bags})
    if bags < promised:
        w.case.hop(said, charged, sent)
        w.case.symptom(
            counted,
            f"We were promised {promised} bags of {lot} for our opening and got {bags}",
            f"{cafe} had to send people home at noon, half of the coffee was missing",
            "More than half of what we ordered is not there, and they say that the lot is used up",
        )


def stock(w: Roastery, rng: Random) -> None:
    """Take in lots and sell older ones."""
    for _ in range(rng.randint(1, 3)):
        take_in(w, w.number("LOT"), rng.choice((60, 69, 70, 120, 138, 152)), planned=False)
    if w.is_now("wrong_unit"):
        take_in(w, w.lot, rng.choice((60, 69, 70)), planned=True)
    for _ in range(2):
        older = [lot for lot in w.book if lot != w.lot]
        if len(older) > 4:
            sell_lot(w, rng.choice(older), rng.choice(CAFES))
    if w.is_due("wrong_unit"):
        sell_lot(w, w.lot, w.cafe)


# Drums: a probe tells when to drop the beans; a probe that reads low makes them dark.


def push_probe(w: Roastery, drum: str, planned: bool) -> None:
    """Push a loose probe back."""
    pushed = w.agent(drum).warning("probe loose, pushed back in", {"day": w.day})
    if planned:
        w.case.root(pushed)
        if w.case.strikes("slow_drift"):
            w.drift[drum] = BITTER / (BATCHES * (w.case.end - w.case.begin) + 3)


def roast(w: Roastery, drum: str, rng: Random) -> None:
    """Roast the batches of a day."""
    for number in range(BATCHES):
        w.offset[drum] += w.drift[drum]
        kilos, noise = rng.choice((12, 15, 18)), rng.uniform(-0.4, 0.4)
        minutes = round(11.5 + w.offset[drum] * 0.2 + noise, 2)
        w.agent(drum).log_action("charge", {"kilos": kilos, "batch": number})
        dropped = w.agent(drum).log_action(
            "drop_beans",
            {"reading": 212, "minutes": minutes, "colour": round(62 - 1.5 * w.offset[drum] + noise, 1)},
        )
        w.last[drum] = dropped
        if w.case.has("slow_drift") and drum == w.drum and w.day >= w.case.begin and len(w.case.roots) < 4:
            w.case.root(dropped)
        if number % 5 == 0:
            PerformanceLogger(drum, "drum").log_metric("gas", round(kilos * minutes / 9, 2), "m3")
    w.agent(drum).log_state_change({"kilos_today": 0}, {"kilos_today": 15 * BATCHES}, "evening")


def deliver(w: Roastery, rng: Random) -> None:
    """Bring beans of the day to cafes, which taste them."""
    for _ in range(rng.randint(12, 18)):
        drum, cafe, paper = rng.choice(DRUMS), rng.choice(CAFES), w.number("D")
        sent = w.deal("van", "deliver", cafe, paper, drum=drum, bags=rng.randint(2, 9))
        is_bitter = w.offset[drum] > BITTER
        taste = rng.choice(("sweet", "nutty", "round", "bright"))
        tasted = w.agent(cafe).log_action("taste", {"note": paper, "cup": "burnt" if is_bitter else taste})
        if is_bitter:
            w.case.hop(w.last[drum], sent)
            w.case.symptom(
                tasted,
                f"The house blend tastes of ash, delivery {paper} is unusable",
                f"guests of {cafe} send back their coffee, it got worse every week",
                "it used to be sweet, now it is black and oily and bitter, what changed?",
            )


# Orders: a cafe phones, the clerk writes, the packer packs by what is written.


def take_order(w: Roastery, number: str, cafe: str, wanted: tuple[int, int], day: int) -> None:
    """Write an order of espresso and filter bags down."""
    planned = number == w.order
    w.deal(cafe, "phone_order", "Nadja", number, day=day, machine=wanted[0], jug=wanted[1])
    written = wanted[::-1] if planned and w.case.strikes("swapped_fields") else wanted
    entered = w.agent("Nadja").log_action(
        "write_order",
        {"order": number, "cafe": cafe, "espresso": written[0], "filter": written[1], "day": day},
    )
    if planned:
        w.case.root(entered)
    w.orders.setdefault(day, []).append(Order(number, cafe, wanted, written))


def fill_orders(w: Roastery, rng: Random) -> None:
    """Pack and bring what is due today, and write new orders."""
    for order in w.orders.pop(w.day, []):
        espresso, coarse = order.written
        packed = w.agent("packer Ulla").log_action(
            "pack_order", {"order": order.number, "espresso": espresso, "filter": coarse}
        )
        sent = w.deal("van", "deliver", order.cafe, order.number, boxes=(espresso + coarse) // 6 + 1)
        opened = w.agent(order.cafe).log_action(
            "open_boxes", {"order": order.number, "espresso": espresso, "filter": coarse}
        )
        if order.written != order.wanted:
            w.case.hop(packed, sent)
            w.case.symptom(
                opened,
                f"{order.number} is all wrong, I cannot pull a single shot with this grind on a Saturday",
                f"{order.cafe} has hardly any espresso left for the festival and boxes of the other sort",
                f"I wanted {order.wanted[0]} for the machine and {order.wanted[1]} for the jug. Look what came",
            )
    for _ in range(rng.randint(4, 7)):
        wanted, ahead = (rng.randint(3, 30), rng.randint(3, 30)), rng.randint(1, 15)
        take_order(w, w.number("O"), rng.choice(CAFES), wanted, w.day + ahead)
    if w.is_now("swapped_fields"):
        many = rng.randint(24, 40)
        take_order(w, w.order, w.cafe, (many, many // 4), w.case.end)
    for _ in range(rng.randint(25, 40)):
        w.agent("packer Ulla").log_action("fill_bag", {"grams": 250 + rng.randint(0, 3)})


# Growers: each sale sets a share aside, and the cooperatives compare the sums.


def load_program(w: Roastery, coop: str, planned: bool) -> None:
    """Load a program into a till."""
    floors = planned and w.case.strikes("rounding_leak")
    loaded = w.agent("Soeren").log_action(
        "load_program", {"till": TILLS[coop], "cents": "down" if floors else "carry", "tips": "down"}
    )
    if floors:
        w.floors.add(coop)
    if planned:
        w.case.root(loaded)


def sell(w: Roastery, coop: str, rng: Random) -> None:
    """Sell bags and set the growers' share aside."""
    for _ in range(12):
        price = rng.randint(390, 2990)
        share = price * 0.025
        w.owed[coop] += share
        whole = share if coop in w.floors else share + w.carried[coop]
        w.carried[coop] = 0.0 if coop in w.floors else whole - int(whole)
        w.paid[coop] += int(whole)
        w.agent(TILLS[coop]).log_action("ring_up", {"price": price})
        put = w.agent(TILLS[coop]).log_action("set_aside", {"cents": int(whole), "sum": w.paid[coop]})
        if w.case.has("rounding_leak") and coop == w.coop and w.day >= w.case.begin and len(w.case.roots) < 4:
            w.case.root(put)


def audit(w: Roastery, coop: str) -> None:
    """Let a cooperative compare what it got with what was sold."""
    told = w.deal(TILLS[coop], "print_sum", coop, f"day {w.day}", cents=w.paid[coop])
    short = w.owed[coop] - w.paid[coop]
    compared = w.agent(coop).log_action("compare_sums", {"due": int(w.owed[coop]), "got": w.paid[coop]})
    if w.is_due("rounding_leak") and coop == w.coop:
        w.case.trigger(compared)
    if short > 2:
        w.case.hop(told, compared)
        w.case.symptom(
            w.agent("exporter").log_action("hold_container", {"for": coop, "short": int(short)}),
            f"We at {coop} were paid {int(short)} cents less than the sales say, please explain",
            "Our growers do not get what is printed on your bags, and the next container stays here",
            f"exporter holds our green coffee because {coop} does not trust the numbers any more",
        )


def fund(w: Roastery, rng: Random) -> None:
    """Sell, load programs, and let cooperatives compare."""
    for coop in COOPS:
        mine = coop == w.coop and w.case.has("rounding_leak")
        loads, looks = rng.random() < 0.08, rng.random() < 0.15
        if w.is_now("rounding_leak") and mine:
            load_program(w, coop, planned=True)
        elif loads and not (mine and w.day > w.case.begin):
            load_program(w, coop, planned=False)
        sell(w, coop, rng)
        if (looks and not (mine and w.day >= w.case.begin)) or (mine and w.is_due("rounding_leak")):
            audit(w, coop)


def a_day(w: Roastery) -> None:
    """Do the work of a day."""
    case, rng = w.case, w.case.rng(f"day/{w.day}")
    stock(w, rng)
    for drum in DRUMS:
        pushes = rng.random() < 0.06
        if drum == w.drum and w.is_now("slow_drift"):
            push_probe(w, drum, planned=True)
        elif pushes:
            push_probe(w, drum, planned=False)
        roast(w, drum, rng)
    deliver(w, rng)
    fill_orders(w, rng)
    fund(w, rng)
    if rng.random() < 0.3:
        name = rng.choice(("fan_speed", "label_font", "shop_lights", "radio_volume"))
        SystemLogger("roastery").log_config(name, rng.randint(1, 4), rng.randint(5, 9))
    if rng.random() < 0.2:
        w.agent("van").warning("road closed, went round", {"minutes": rng.randint(5, 30)})
    if w.day == case.decoy_at:
        w.agent("Soeren").log_action(
            "load_program", {"till": "label printer", "cents": "carry", "tips": "none"}
        )
        w.agent("packer Ulla").error("sealer too cold, sealed again", {"bags": rng.randint(2, 9)})


def play(case: Case) -> None:
    """Play some months of the roastery."""
    days = case.rng("days").randint(100, 150)
    case.window(days)
    w = Roastery(case, days)
    for day in range(days):
        w.day = day
        with tick(day):
            a_day(w)


WORLD = World("roastery", "bare", ("wrong_unit", "rounding_leak", "slow_drift", "swapped_fields"), play, 26)
