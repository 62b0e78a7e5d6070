"""A saltworks by the sea: ponds, hydrometers, rakes, a weighbridge for each silo, two clerks, a doser, and buyers; no ticks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

PONDS = ("pond_a", "pond_b", "pond_c", "pond_d", "pond_e", "pond_f")
SILOS = ("silo_1", "silo_2", "silo_3")
CLERKS = ("clerk_ida", "clerk_ole")
BUYERS = ("buyer_ostra", "buyer_belmar", "buyer_quill", "buyer_tannhof", "buyer_veld")
TARGET = 25.6  # degrees Baume at which a pond is raked


@dataclass
class Lot:
    """A lot of table salt or cattle lick, as it really is."""

    name: str
    iodide: float
    passes: int
    to: str
    bound_for: int  # shift of the delivery


@dataclass
class Works:
    """Everything true about the saltworks, and the plan of the case."""

    case: Case
    shifts: int
    rng: random.Random
    stock: dict[str, int] = field(default_factory=dict)
    book: dict[str, int] = field(default_factory=dict)
    density: dict[str, float] = field(default_factory=dict)
    lots: list[Lot] = field(default_factory=list)
    float_swapped: int = -1
    number: int = 700
    logs: dict[str, AgentLogger] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = self.rng
        self.silo, self.coarse, self.third = rng.sample(SILOS, 3)
        self.pond = rng.choice(PONDS)
        self.buyer, self.other = rng.sample(BUYERS, 2)
        self.late, self.early = rng.sample(CLERKS, 2)
        self.stock = {silo: rng.randint(300_000, 400_000) for silo in SILOS}
        self.book = dict(self.stock)
        self.density = {pond: rng.uniform(20, 22) for pond in PONDS}
        self.meters = {pond: PerformanceLogger(f"hydrometer_{pond[-1]}", "hydrometer") for pond in PONDS}
        self.bridges = {silo: f"bridge_{silo[-1]}" for silo in SILOS}
        self.trade, self.plant = InteractionLogger("sales_desk", "sales"), SystemLogger("plant")

    def log(self, name: str) -> AgentLogger:
        """The log of one agent, whose role is the first part of its name."""
        if name not in self.logs:
            self.logs[name] = AgentLogger(name, name.partition("_")[0])
        return self.logs[name]

    def next(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}{self.number}"

    def complain(self, event: str, texts: Sequence[str]) -> None:
        names = {"buyer": self.buyer, "silo": self.silo, "pond": self.pond, "other": self.other}
        self.case.symptom(event, *(text.format(**names) for text in texts))


# ponds


def read_hydrometers(works: Works, shift: int) -> dict[str, float]:
    """Let the sun work, and read each pond; a swapped float that leaks sinks, and shows more each time."""
    case, shown = works.case, {}
    sun = works.rng.uniform(0.1, 0.25)
    for pond in PONDS:
        works.density[pond] = min(works.density[pond] + sun + works.rng.uniform(-0.1, 0.1), 25.4)
        seen = works.density[pond] + works.rng.uniform(-0.12, 0.12)
        drifting = pond == works.pond and shift >= case.begin and case.strikes("slow_drift")
        if drifting:
            seen += 2.7 * (shift - case.begin + 1) / (case.end - case.begin + 1)
        shown[pond] = round(seen, 2)
        event = works.meters[pond].log_metric("density", shown[pond], "Be", {"shift": shift})
        if drifting and shift < case.begin + 3:
            case.root(event)
    return shown


def swap_floats(works: Works, shift: int) -> None:
    """The fitter swaps floats of hydrometers now and then."""
    planned = works.case.has("slow_drift") and shift == works.case.begin
    pond = works.pond if planned else works.rng.choice(PONDS)
    if planned or (works.rng.random() < 0.2 and pond != works.pond):
        act = {"hydrometer": f"hydrometer_{pond[-1]}", "float": works.next("F"), "shift": shift}
        event = works.log("fitter").log_action("swap_float", act)
        if planned:
            works.case.root(event)


def rake_ponds(works: Works, shift: int, shown: dict[str, float]) -> None:
    """Each pond has its turn: strong brine is added up to the target, then it is raked."""
    due = PONDS[(PONDS.index(works.pond) + works.case.end - shift) % 6]
    added = round(max(0.0, TARGET - shown[due]), 2)
    event = works.log("pan_master").log_decision(
        "add_brine",
        {"pond": due, "degrees": added, "shift": shift},
        reasoning=f"hydrometer shows {shown[due]}",
    )
    true = works.density[due] + added
    slush = true < TARGET - 2.2
    tonnes = round(max(4.0, 34 + 5 * min(0.0, true - TARGET + 0.4) + works.rng.uniform(-3, 3)), 1)
    if slush and due == works.pond:
        works.case.hop(event)
    crew = f"rake_{1 + PONDS.index(due) // 2}"
    grade = "slush" if slush else works.rng.choice(("A", "A", "A", "B"))
    harvest = works.log(crew).log_action(
        "rake", {"pond": due, "tonnes": tonnes, "grade": grade, "shift": shift}
    )
    if slush:
        works.case.hop(harvest)
        sorting = works.log("washery").log_action("wash", {"from": due, "result": "melted away"})
        works.complain(sorting, TEXTS["slush"])
    else:
        works.log("washery").log_action(
            "wash", {"from": due, "result": works.rng.choice(("clean", "clean", "grey"))}
        )
    works.density[due] = works.rng.uniform(20, 21.4)


# silos and their book


def book_move(works: Works, silo: str, clerk: str, kilograms: int, ticket: str) -> str:
    """Read the balance of a silo and write it back; returns the event of the writing."""
    read_balance(works, silo, clerk)
    return write_balance(works, silo, clerk, works.book[silo] + kilograms, ticket)


def read_balance(works: Works, silo: str, clerk: str) -> str:
    return works.log(clerk).log_action("read_balance", {"silo": silo, "balance_kg": works.book[silo]})


def write_balance(works: Works, silo: str, clerk: str, balance: int, ticket: str) -> str:
    works.book[silo] = balance
    return works.log(clerk).log_action(
        "write_balance", {"silo": silo, "balance_kg": balance, "ticket": ticket}
    )


def weigh_in(works: Works, silo: str, shift: int) -> tuple[int, str]:
    """Tip a truck into a silo; returns what its ticket says, and the number of the ticket."""
    case, rng = works.case, works.rng
    gross, tare = rng.randint(14_200, 16_900), rng.randint(6_100, 6_900)
    net, ticket = gross - tare, works.next("T")
    works.stock[silo] += net
    leaking = silo == works.silo and shift >= case.begin and case.strikes("rounding_leak")
    shown = net // 500 * 500 if leaking else round(net / 50) * 50 if silo == works.coarse else net
    event = works.log(works.bridges[silo]).log_action(
        "weigh", {"silo": silo, "ticket": ticket, "gross_kg": gross, "tare_kg": tare, "net_kg": shown}
    )
    if leaking and len(case.roots) < 3:
        case.root(event)
    return shown, ticket


def move_salt(works: Works, shift: int) -> None:
    """Trucks bring salt, and contract loads leave; two clerks keep the book."""
    case, rng = works.case, works.rng
    for silo in rng.sample(SILOS, len(SILOS)):
        for _ in range(rng.randint(3, 5)):
            shown, ticket = weigh_in(works, silo, shift)
            book_move(works, silo, rng.choice(CLERKS), shown, ticket)
        for _ in range(6 if works.stock[silo] > 380_000 else 3):
            load = rng.randint(6_500, 9_500)
            works.stock[silo] -= load
            ticket = works.next("L")
            works.log("ramp").log_action(
                "load", {"silo": silo, "kg": load, "ticket": ticket, "contract": True}
            )
            book_move(works, silo, rng.choice(CLERKS), -load, ticket)
    if rng.random() < 0.6:  # somebody only wants to know
        read_balance(works, rng.choice(SILOS), rng.choice(CLERKS))
    planned = case.has("lost_update") and shift == case.begin
    if planned or rng.random() < 0.4:
        both_clerks(works, works.silo if planned else rng.choice(SILOS), shift, planned=planned)


def both_clerks(works: Works, silo: str, shift: int, *, planned: bool) -> None:
    """Two tickets of one silo are booked side by side; who was second reads again before writing."""
    case, rng = works.case, works.rng
    load, out, (shown, into) = rng.randint(6_500, 9_500), works.next("L"), weigh_in(works, silo, shift)
    works.stock[silo] -= load
    works.log("ramp").log_action("load", {"silo": silo, "kg": load, "ticket": out, "contract": True})
    first, second = (works.early, works.late) if planned else rng.sample(CLERKS, 2)
    before = works.book[silo]
    read = read_balance(works, silo, second)
    read_balance(works, silo, first)
    lost = write_balance(works, silo, first, before - load, out)
    stale = planned and case.strikes("lost_update", shift)
    if not stale and (planned or rng.random() < 0.9):
        read_balance(works, silo, second)
    wrote = write_balance(works, silo, second, (before if stale else works.book[silo]) + shown, into)
    if planned:
        case.root(wrote, read, lost)


def sell_from_silos(works: Works, shift: int) -> None:
    """Spot orders, which the sales desk checks against the book; at the end a ship comes, which wants nearly all."""
    case, rng = works.case, works.rng
    orders = [
        (rng.choice(SILOS), rng.choice(BUYERS), rng.randint(1_000, 5_000)) for _ in range(rng.randint(0, 2))
    ]
    if rng.random() < 0.05 and shift != case.end:
        orders.append(
            (works.third, rng.choice(BUYERS), round(works.stock[works.third] * rng.uniform(0.6, 1.05)))
        )
    ship = shift == case.end and (case.has("rounding_leak") or case.has("lost_update"))
    if ship:
        wanted = works.stock[works.silo] + (-150 if case.has("rounding_leak") else 4_000)
        orders.insert(0, (works.silo, works.buyer, wanted))
    for silo, buyer, wanted in orders:
        order, there, written = works.next("O"), works.stock[silo], works.book[silo]
        asked = works.trade.log_interaction("order", buyer, "sales_desk", order, {"kg": wanted, "silo": silo})
        accepted, loaded = written >= wanted, 0
        answer = "accept_order" if accepted else "refuse_order"
        path = [works.log("sales_desk").log_decision(answer, {"order": order, "kg": wanted})]
        if accepted:
            ticket, loaded = works.next("L"), min(wanted, there)
            works.stock[silo] -= loaded
            load = {"silo": silo, "kg": loaded, "ticket": ticket, "contract": False}
            path.append(works.log("ramp").log_action("load", load))
            book_move(works, silo, rng.choice(CLERKS), -loaded, ticket)
        note = "refused" if not accepted else "in full" if loaded == wanted else "short"
        event = works.log(buyer).log_action("close_order", {"order": order, "kg": loaded, "note": note})
        if note == "short" or (note == "refused" and there >= wanted):
            case.hop(*path)
            case.trigger(asked)
            works.complain(event, TEXTS[note])


# lots for the table and for cattle


def make_lots(works: Works, shift: int) -> None:
    """A recipe, one or two passes through the doser, bags; cattle licks are dosed in grams by a press of their own."""
    case, rng = works.case, works.rng
    doses = case.has("wrong_unit") or case.has("doubled_act")
    planned = doses and shift == case.begin
    for number in range(rng.randint(1, 3)):
        mine = planned and number == 0
        lick = rng.random() < 0.3 and not mine
        wanted = rng.randint(22, 28)
        given = (
            round(wanted / 1000, 3) if lick or (mine and case.strikes("wrong_unit", shift)) else float(wanted)
        )
        passes = 2 if rng.random() < 0.25 and not mine else 1
        name = works.next("lot")
        recipe = {
            "lot": name,
            "product": "lick" if lick else "table",
            "iodide": given / passes,
            "passes": passes,
        }
        event = works.log("recipe_clerk").log_action("enter_recipe", recipe)
        if mine and case.has("wrong_unit"):
            case.root(event)
        machine = "lick_press" if lick else "doser"
        done = [
            works.log(machine).log_action("dose", {"lot": name, "iodide": given / passes})
            for _ in range(passes)
        ]
        if not lick and rng.random() < 0.1:
            works.log(machine).warning("nozzle blocked, cleared", extra={"lot": name})
        if mine and case.strikes("doubled_act", shift):
            done.append(works.log(machine).log_action("dose", {"lot": name, "iodide": given / passes}))
        if mine and case.has("doubled_act"):
            case.root(*reversed(done))
        case.hop(*(done if mine and case.has("wrong_unit") else ()))
        content = given / passes * len(done) * (1000 if lick else 1)
        works.log("bagger").log_action("bag", {"lot": name, "bags": rng.randint(80, 140)})
        to, due = rng.choice(BUYERS), shift + round(rng.expovariate(0.1))
        works.lots.append(Lot(name, content, passes, works.buyer if mine else to, case.end if mine else due))
        if rng.random() < 0.2 and not mine:
            works.log("assay_lab").log_action(
                "assay", {"lot": name, "iodide_mg_kg": round(content + rng.uniform(-1, 1), 1)}
            )


def deliver_lots(works: Works, shift: int) -> None:
    """Lots that are due go to their buyers, who taste and test them."""
    for lot in [lot for lot in works.lots if lot.bound_for <= shift]:
        works.lots.remove(lot)
        handed = works.log("ramp").log_action("hand_out", {"lot": lot.name, "to": lot.to})
        everyday = works.rng.choice(("fine", "fine", "fine", "a torn bag", "came late"))
        finding = "bitter" if lot.iodide > 40 else "no iodine" if lot.iodide < 10 else everyday
        event = works.log(lot.to).log_action("test_lot", {"lot": lot.name, "finding": finding})
        if finding in TEXTS:
            works.case.hop(handed)
            works.complain(event, [text.replace("{lot}", lot.name) for text in TEXTS[finding]])


TEXTS = {
    "slush": (
        "what was raked off {pond} is slush, it melted away in the washery. It should have been ripe",
        "No harvest from {pond} this time, only grey mud. Why was it raked so early?",
        "washery got slush instead of salt",
    ),
    "short": (
        "Our ship sails half a truck short although the salt had been promised to us",
        "{buyer} was told there was enough, and then the silo ran empty while loading",
        "{silo} is empty though on paper there should be tons",
    ),
    "refused": (
        "they refused our order for lack of salt, and anybody can see that the silo is full to the brim!",
        "{buyer} turned away because of too little stock. I climbed up: there is enough in there",
        "the stock of {silo} on paper is lower than what is in it. {other} gets salt all the time",
    ),
    "bitter": (
        "Customers bring our table salt back, it tastes like medicine",
        "{buyer} tested {lot}: twice the iodine that the label says",
        "{lot} is far too strong, how can that be? {other} has no trouble with theirs",
    ),
    "no iodine": (
        "The health office found next to no iodine in our salt. It says iodised on the bag!",
        "{buyer} has tested {lot}, there is practically no iodine in it",
        "{lot} without iodine, why?",
    ),
}


def chores(works: Works, shift: int) -> None:
    """Settings, hiccups and work of no consequence; and something striking shortly before the symptom."""
    rng, case = works.rng, works.case
    agents = ["pan_master", "ramp", "doser", "bagger", "washery", "fitter", *CLERKS, *works.bridges.values()]
    for name in rng.sample(agents, 3):
        dice = rng.random()
        if dice < 0.12:
            works.plant.log_config(f"{name}.lamp_hours", rng.randint(2, 5), rng.randint(6, 9))
        elif dice < 0.2:
            works.log(name).log_action("set_display", {"digits": rng.randint(3, 6)})
        elif dice < 0.3:
            works.log(name).warning(
                rng.choice(("gull on the belt", "radio silent", "key not found")), extra={"shift": shift}
            )
        elif dice < 0.6:
            works.log(name).log_action(
                rng.choice(("sweep", "grease", "count_sacks")), {"minutes": rng.randint(5, 45)}
            )
    if shift == case.decoy_at:
        kind = rng.randrange(3)
        if kind == 0:
            works.plant.log_config("belt.speed", 1.4, 1.6)
        elif kind == 1:
            works.log("wind_mast").error(
                "gust, cover torn off", extra={"pond": rng.choice(PONDS), "m_s": rng.randint(17, 26)}
            )
        else:
            works.log(rng.choice(BUYERS)).log_state_change(
                {"contact": "Ms Roth"}, {"contact": "Mr Baum"}, trigger="new buyer"
            )


def play(case: Case) -> None:
    """Play some weeks of the saltworks, three shifts a day."""
    rng = case.rng("saltworks")
    shifts = rng.choice((40, 60, 90, 140))
    case.window(shifts, 3 if case.has("slow_drift") else 1)
    works = Works(case, shifts, rng)
    for shift in range(shifts):
        works.plant.log_milestone("shift", {"number": shift})
        chores(works, shift)
        swap_floats(works, shift)
        rake_ponds(works, shift, read_hydrometers(works, shift))
        move_salt(works, shift)
        make_lots(works, shift)
        deliver_lots(works, shift)
        sell_from_silos(works, shift)


WORLD = World(
    "saltworks",
    "bare",
    ("wrong_unit", "slow_drift", "rounding_leak", "lost_update", "doubled_act"),
    play,
    author=13,
)
