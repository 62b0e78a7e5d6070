"""A chocolate works: beans are weighed, roasted and tempered, stores are kept in books, farms are paid, shops sell.

Functions with typed loggers: actions, decisions, interactions, metrics, state changes and configuration; a tick is a day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

WEIGHERS, CLERKS = ("Baptiste", "Ilse", "Moana"), ("Emil", "Rosa", "Thea")
KETTLES, SHOPS = (
    ("kettle north", "kettle south", "kettle yard"),
    ("shop Gare", "shop Dom", "shop Quai", "market stall"),
)
FARMS = ("Finca Luz", "Akwaba farm", "Rio Claro", "Tanoa estate")
EVEN = FARMS[3]  # is paid by the sack, in whole cents
STORES = ("hazelnuts", "sugar", "milk powder", "foil", "boxes")
POUNDS, IDEAL, LIMIT, FESTIVAL, REORDER = 2.2046, 31.5, 1.8, 250, 60


@dataclass
class Lot:
    """Sacks of beans: how heavy they are, and what the book says."""

    number: str
    kilos: float
    booked: float
    use_on: int
    shop: str


@dataclass
class Works:
    """The state of the works, and the plan of a case."""

    case: Case
    day: int = 0
    numbers: int = 0
    lots: list[Lot] = field(default_factory=list)
    real: dict[str, int] = field(default_factory=dict)
    book: dict[str, int] = field(default_factory=dict)
    coming: dict[str, int] = field(default_factory=dict)
    error: dict[str, float] = field(default_factory=dict)
    creep: dict[str, float] = field(default_factory=dict)
    keeps_rest: dict[str, bool] = field(default_factory=dict)
    rest: dict[str, float] = field(default_factory=dict)
    owed: dict[str, float] = field(default_factory=dict)
    paid: dict[str, int] = field(default_factory=dict)
    weigher: str = ""
    shop: str = ""
    kettle: str = ""
    farm: str = ""
    store: str = ""
    clerks: tuple[str, str] = ("", "")
    agents: dict[str, AgentLogger] = field(default_factory=dict)

    def agent(self, name: str) -> AgentLogger:
        """Return the logger of somebody."""
        if name not in self.agents:
            groups = (
                (WEIGHERS, "weigher"),
                (CLERKS, "clerk"),
                (KETTLES, "kettle"),
                (SHOPS, "shop"),
                (FARMS, "farm"),
            )
            role = next((role for names, role in groups if name in names), "hall")
            self.agents[name] = AgentLogger(name, role)
        return self.agents[name]

    def act(self, name: str, what: str, **data: Any) -> str:
        """Record an action."""
        return self.agent(name).log_action(what, data)


def begin(case: Case) -> Works:
    """Fill the stores and choose who is in the story."""
    w, rng = Works(case), case.rng("plan")
    w.weigher, w.shop, w.kettle = rng.choice(WEIGHERS), rng.choice(SHOPS), rng.choice(KETTLES)
    w.farm, w.store = rng.choice(FARMS[:3]), rng.choice(STORES)
    first, second = rng.sample(CLERKS, 2)
    w.clerks, w.numbers = (first, second), 100 + case.seed % 300
    for name in STORES:
        w.real[name] = rng.randint(90, 260)
    if case.has("lost_update"):  # lasts until the festival and some days, then more has to be ordered
        w.real[w.store] = 10 * (case.end + 1) + FESTIVAL + 2
    w.book = dict(w.real)
    w.error, w.creep = dict.fromkeys(KETTLES, 0.0), dict.fromkeys(KETTLES, 0.0)
    w.keeps_rest, w.rest = dict.fromkeys(FARMS, True), dict.fromkeys(FARMS, 0.0)
    w.owed, w.paid = dict.fromkeys(FARMS, 0.0), dict.fromkeys(FARMS, 0)
    return w


# Beans: weighed on arrival, planned from the book, roasted as they are, sold in shops.


def weigh(w: Works, who: str, use_on: int, shop: str, *, in_pounds: bool) -> str:
    """Weigh a lot and enter it; the scale can show kilos or pounds."""
    rng = w.case.rng(f"lot/{w.day}/{use_on}/{who}")
    w.numbers += 1
    kilos = round(rng.uniform(40, 160), 1)
    lot = Lot(f"L{w.numbers}", kilos, round(kilos * POUNDS if in_pounds else kilos, 1), use_on, shop)
    w.lots.append(lot)
    entered = w.act(who, "enter_lot", lot=lot.number, weight=lot.booked, farm=rng.choice(FARMS))
    InteractionLogger(who, "weigher").log_interaction("hand_over", who, "bean store", lot.number)
    return entered


def beans(w: Works) -> None:
    """Receive some lots, roast those whose day has come."""
    case, rng = w.case, w.case.rng(f"beans/{w.day}")
    for _ in range(rng.randint(0, 2)):
        weigh(w, rng.choice(WEIGHERS), w.day + rng.randint(1, 9), rng.choice(SHOPS), in_pounds=False)
    if case.has("wrong_unit") and w.day == case.begin:
        case.root(weigh(w, w.weigher, case.end, w.shop, in_pounds=case.strikes("wrong_unit", w.day)))
    for lot in [one for one in w.lots if one.use_on == w.day]:
        w.lots.remove(lot)
        bars = int(lot.booked * 7)
        planned = w.agent("planner").log_decision(
            "promise_bars", {"lot": lot.number, "bars": bars}, "weight in book"
        )
        roasted = w.act("roaster", "roast", lot=lot.number, trays=int(lot.kilos // 4))
        made = int(lot.kilos * 7 * rng.uniform(0.97, 1.0))
        filled = w.act("moulder", "fill_moulds", lot=lot.number, bars=made)
        case.hop(planned, roasted, filled)
        if made >= bars * 0.8:
            w.act(lot.shop, "fill_shelf", lot=lot.number, bars=made)
            continue
        case.symptom(
            w.act(lot.shop, "turn_people_away", lot=lot.number, missing=bars - made),
            f"Half of the bars that {lot.shop} was promised did not come, there is a queue in the street",
            "We ordered 300 bars for a wedding and got a box of 130 with an apology",
            f"{lot.shop} was sold out by ten, and the vans are empty",
            "Where is the rest of our delivery?",
        )


# Kettles: a probe measures, the kettle heats until the probe shows what it should, a taster looks at the bars.


def kettles(w: Works) -> None:
    """Mount probes, temper, taste."""
    case, rng = w.case, w.case.rng(f"kettles/{w.day}")
    planned = case.has("slow_drift")
    for name in KETTLES:
        is_mine = planned and name == w.kettle
        if (rng.random() < 0.06 and not (is_mine and w.day >= case.begin)) or (
            is_mine and w.day == case.begin
        ):
            w.error[name] = w.creep[name] = 0.0
            if is_mine and w.day == case.begin and case.strikes("slow_drift", w.day):
                w.creep[name] = (LIMIT + 0.02) / (case.end - case.begin + 1)
            mounted = w.act(name, "mount_probe", probe=rng.randint(100, 999), depth_mm=rng.randint(40, 60))
            if is_mine and w.day == case.begin:
                case.root(mounted)
        w.error[name] += w.creep[name]
        noise = rng.uniform(-0.08, 0.08)
        true = IDEAL + w.error[name] + noise
        probe = PerformanceLogger(name, "kettle")
        shown = probe.log_metric("kettle_temperature", round(true - w.error[name], 2), "C", {"day": w.day})
        burner = w.act(name, "set_burner", percent=round(40 + 6 * (true - IDEAL) + rng.uniform(-2, 2), 1))
        if is_mine and w.creep[name] and len(case.roots) < 4:
            case.root(shown)
        shop = rng.choice(SHOPS)
        poured = w.act("moulder", "pour", kettle=name, day=w.day)
        gloss = 96 - 8 * abs(true - IDEAL) + rng.uniform(-1, 1)
        PerformanceLogger("taster", "hall").log_metric("gloss", round(gloss, 1), None, {"kettle": name})
        sold = InteractionLogger(shop, "shop").log_interaction(
            "sell", shop, "customer", name, {"bars": rng.randint(9, 80)}
        )
        if abs(true - IDEAL) > LIMIT - 0.1:
            case.hop(burner, poured, sold)
            case.symptom(
                w.act(shop, "take_back_bars", bars=rng.randint(5, 60), day=w.day),
                "The bars have a white skin and crumble like old soap",
                f"Customers bring bars back to {shop} because they look mouldy, it is dull grey all over",
                f"{shop} had to give back money for a whole tray with streaks on it",
            )


# Stores: clerks read a book, take or bring, and write the book; what runs low is ordered for tomorrow.


def read(w: Works, clerk: str, store: str) -> tuple[int, str]:
    """Read the book."""
    return w.book[store], w.act(clerk, "read_book", store=store, units=w.book[store])


def write(w: Works, clerk: str, store: str, units: int, reason: str) -> str:
    """Write the book."""
    old, w.book[store] = w.book[store], units
    w.agent(clerk).log_state_change({"store": store, "units": old}, {"store": store, "units": units}, reason)
    return w.act(clerk, "write_book", store=store, units=units, reason=reason)


def stores(w: Works) -> None:
    """Bring what was ordered, use some, order more."""
    case, rng = w.case, w.case.rng(f"stores/{w.day}")
    for store in STORES:
        first, second = rng.sample(CLERKS, 2)
        units = w.coming.pop(store, 0)
        if units:
            known, _ = read(w, first, store)
            w.real[store] += units
            write(w, first, store, known + units, "delivery")
        if case.has("lost_update") and w.day == case.begin and store == w.store:
            festival(w)
        if w.real[store] < 10:
            stopped = w.act("packer", "stop_belt", store=store, found=w.real[store])
            case.hop(stopped)
            case.symptom(
                w.act(rng.choice(SHOPS), "hang_up_sign", text=f"no {store} bars today"),
                f"There is a sign in the window instead of chocolate, something about {store}",
                f"planner showed us plenty of {store} in the list, and yet the belt stands still",
                f"packer stood around for a whole shift, out of {store}",
                f"How can one run out of {store} the week before Easter",
            )
            w.real[store] += 200
        used = rng.randint(1, 9) + 1 if store != w.store or not case.has("lost_update") else 10
        w.real[store] -= used
        known, _ = read(w, second, store)
        write(w, second, store, known - used, "used")
        if w.book[store] < REORDER + 10:
            w.coming[store] = rng.randint(200, 300)
            w.agent("planner").log_decision(
                "order", {"store": store, "units": w.coming[store]}, "book is low"
            )


def festival(w: Works) -> None:
    """Take a lot for the festival while somebody else corrects the book for broken ones."""
    one, other = w.clerks
    was, looked = 0, ""
    if w.case.strikes("lost_update", w.day):
        was, looked = read(w, other, w.store)
    known, took = read(w, one, w.store)
    w.real[w.store] -= FESTIVAL
    wrote = write(w, one, w.store, known - FESTIVAL, "festival")
    if not looked:
        was, looked = read(w, other, w.store)
    w.real[w.store] -= 2
    last = write(w, other, w.store, was - 2, "broken")
    w.case.root(last, looked, wrote, took)


# Farms: a premium for each sack, in whole cents; the rest of a cent is carried over or not.


def farms(w: Works) -> None:
    """Pay premiums, let farms look at their accounts."""
    case, rng = w.case, w.case.rng(f"farms/{w.day}")
    planned = case.has("rounding_leak")
    for farm in FARMS:
        is_mine = planned and farm == w.farm
        if (is_mine and w.day == case.begin) or (
            rng.random() < 0.08 and not (is_mine and w.day > case.begin)
        ):
            rule = rng.choice(("whole", "carry")) if farm == EVEN and not is_mine else "carry"
            rule = "whole" if is_mine and case.strikes("rounding_leak", w.day) else rule
            w.keeps_rest[farm] = rule == "carry"
            made = w.agent("payer").log_decision(
                "open_contract", {"farm": farm, "form": rng.randint(3, 8), "rest": rule}
            )
            if is_mine and w.day == case.begin:
                case.root(made)
        for _ in range(rng.randint(2, 4)):
            premium = rng.randint(20, 90) + (0.0 if farm == EVEN else rng.uniform(0.4, 0.9))
            w.owed[farm] += premium
            exact = premium + (w.rest[farm] if w.keeps_rest[farm] else 0.0)
            cents = int(exact)
            w.rest[farm] = exact - cents
            w.paid[farm] += cents
            paid = w.act("payer", "pay_premium", farm=farm, cents=cents, due=round(premium, 3))
            if is_mine and w.day >= case.begin and len(case.roots) < 4:
                case.root(paid)
        bank = InteractionLogger("bank", "hall").log_interaction(
            "transfer", "payer", farm, None, {"day": w.day}
        )
        looks = w.day == case.end if is_mine else rng.random() < 0.1
        if looks and w.owed[farm] - w.paid[farm] >= 1.6:
            gap = round(w.owed[farm] - w.paid[farm], 1)
            case.hop(bank)
            case.symptom(
                w.act(farm, "dispute_account", missing=gap),
                f"The premiums of {farm} do not add up with what was agreed for the sacks",
                f"{farm} says that it gets less than the contract says, every single month",
                "Our members counted again and the sum on the statement is too low",
            )
        elif looks:
            w.act(farm, "sign_account", total=w.paid[farm])


def chores(w: Works) -> None:
    """Do what belongs to any day."""
    rng = w.case.rng(f"rest/{w.day}")
    if rng.random() < 0.3:
        SystemLogger("works").log_config(
            rng.choice(("belt_speed", "lamp_hours", "radio_volume")), 4, rng.randint(1, 9)
        )
    if rng.random() < 0.2 or w.day == w.case.decoy_at:
        w.agent(rng.choice(("roaster", "packer"))).warning("belt jammed, freed by hand", {"day": w.day})
    for name in rng.sample(SHOPS, 2):
        w.act(name, "wash_window", minutes=rng.randint(5, 25))


PARTS: tuple[Callable[[Works], None], ...] = (beans, kettles, stores, farms, chores)


def play(case: Case) -> None:
    """Play some weeks of the works."""
    days = case.rng("days").choice((12, 25, 55, 100))
    case.window(days)
    w = begin(case)
    for day in range(days):
        w.day = day
        with tick(day):
            for part in PARTS:
                part(w)


WORLD = World("chocolate", "bare", ("wrong_unit", "slow_drift", "lost_update", "rounding_leak"), play, 27)
