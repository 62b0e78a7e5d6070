"""A yard for scrap metal: loads are weighed, tipped out, paid and shipped. Functions with typed loggers only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

SCALES = {"scale_north": "Hanno", "scale_south": "Liv", "scale_rail": "Remy"}
BAYS = ("copper_bay", "brass_bay", "zinc_bay", "steel_bay", "lead_bay")
DRIVERS = ("Tove", "Ulf")
BOOTHS = ("booth_1", "booth_2", "booth_3")
SUPPLIERS = ("Lenz_Abbruch", "Dachbau_Ott", "Ruiz_und_Sohn", "Autohof_Ney", "Kabel_Senn", "Schrott_Adam")
BUYERS = ("Nordhuette", "Alcast", "Rheinguss")
POUNDS = 2.2046


@dataclass
class Load:
    """A load on its way through the yard."""

    ticket: str
    supplier: str
    scale: str
    bay: str
    booth: str
    kg: int
    cents: int = 0
    in_pounds: bool = False
    said: int = -1  # what a public scale has found, if the driver has a slip of it


@dataclass
class Yard:
    """What is weighed, what lies in the bays, and what stands on their sheets."""

    case: Case
    now: int = 0
    tickets: int = 0
    seen: dict[str, AgentLogger] = field(default_factory=dict)
    gauges: dict[str, PerformanceLogger] = field(default_factory=dict)
    offset: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SCALES, 0.0))
    step: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SCALES, 0.0))
    heap: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BAYS, 6000))
    sheet: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BAYS, 6000))
    price: dict[str, int] = field(default_factory=lambda: {name: 90 + 70 * k for k, name in enumerate(BAYS)})
    missing: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BOOTHS, 0))
    owed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SUPPLIERS, 0))
    whole: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        rng = self.case.rng("mine")
        self.scale, self.bay, self.booth = rng.choice(tuple(SCALES)), rng.choice(BAYS), rng.choice(BOOTHS)
        self.supplier, self.other = rng.sample(SUPPLIERS, 2)
        self.buyer = rng.choice(BUYERS)
        self.meet, self.system = InteractionLogger("gate", "gate"), SystemLogger("yard")

    def log(self, name: str) -> AgentLogger:
        """Return the logger of somebody."""
        if name not in self.seen:
            groups = (("scale", SCALES), ("bay", BAYS), ("booth", BOOTHS), ("driver", DRIVERS))
            more = (("supplier", SUPPLIERS), ("buyer", BUYERS), ("clerk", tuple(SCALES.values())))
            role = next((role for role, names in (*groups, *more) if name in names), "office")
            self.seen[name] = AgentLogger(name, role)
        return self.seen[name]

    def gauge(self, scale: str) -> PerformanceLogger:
        """Return the logger of what a scale shows."""
        if scale not in self.gauges:
            self.gauges[scale] = PerformanceLogger(scale, "scale")
        return self.gauges[scale]

    def load(self, rng: Random, **fixed: str | int | bool) -> Load:
        """Let a load come to the gate."""
        self.tickets += 1
        drawn = {
            "supplier": rng.choice(SUPPLIERS),
            "scale": rng.choice(tuple(SCALES)),
            "bay": rng.choice(BAYS),
            "booth": rng.choice(BOOTHS),
            "kg": rng.randint(150, 1400),
            "cents": rng.randint(55, 95),
        }
        return Load(f"T{self.tickets:04}", **(drawn | fixed))

    def complain(self, cause: str, matter: str, *texts: str) -> None:
        """The office books a complaint, and a user writes about it."""
        self.case.hop(cause)
        event = self.log("front_office").log_action("take_complaint", {"matter": matter, "page": self.now})
        fill = {"supplier": self.supplier, "other": self.other, "buyer": self.buyer, "bay": self.bay}
        self.case.symptom(event, *(text.format(**fill) for text in texts))


def weigh(yard: Yard, load: Load, rng: Random) -> tuple[int, str]:
    """Put a truck on a scale; return what the clerk writes, and the event of the ticket."""
    case = yard.case
    yard.meet.log_interaction("drive_up", load.supplier, load.scale, load.ticket)
    shown = load.kg + round(yard.offset[load.scale]) + rng.randint(-3, 3)
    is_off = round(yard.offset[load.scale]) != 0
    yard.offset[load.scale] += yard.step[load.scale]
    unit = "lb" if load.in_pounds else "kg"
    number = round(shown * POUNDS) if load.in_pounds else shown
    found = yard.gauge(load.scale).log_metric("net", number, unit, {"ticket": load.ticket})
    if case.has("slow_drift") and load.scale == yard.scale and case.begin <= yard.now <= case.end:
        if is_off and len(case.roots) < 4 and yard.now < case.end:
            case.root(found)
        if load.said >= 0:
            case.hop(found)
    clerk = SCALES[load.scale]
    written = shown
    if load.in_pounds:
        mine = load.supplier == yard.supplier and case.has("wrong_unit") and yard.now == case.begin
        typed_raw = case.strikes("wrong_unit", yard.now) if mine else rng.random() < 0.3
        if typed_raw:
            written = number
        if typed_raw and not mine:  # seen at once, and written again
            yard.log(clerk).log_action(
                "write_ticket", {"ticket": load.ticket, "kg": number, "metal": load.bay}
            )
            yard.log(clerk).log_decision("void_ticket", {"ticket": load.ticket}, "was not in kilograms")
            written = shown
    event = yard.log(clerk).log_action(
        "write_ticket", {"ticket": load.ticket, "kg": written, "metal": load.bay}
    )
    if load.in_pounds and load.supplier == yard.supplier and case.has("wrong_unit"):
        case.root(event)
    if load.said >= 0:
        _compare(yard, load, written, event)
    return written, event


def _compare(yard: Yard, load: Load, written: int, event: str) -> None:
    """A driver holds the ticket beside the slip of a public scale."""
    shown = yard.log(load.supplier).log_action(
        "compare_slips", {"ticket": load.ticket, "public": load.said, "ours": written}
    )
    if abs(written - load.said) > 35:
        yard.case.hop(event)
        yard.complain(
            shown,
            "weights differ",
            "our driver was weighed twice on the same morning and the two papers do not agree",
            f"{{supplier}} says that ticket {load.ticket} is off by {abs(written - load.said)} kilos",
            "somebody at the scale must have stood on it, {supplier} was weighed far too heavy",
            "With {other} the public weighbridge and yours agree, with us they do not",
        )


def tip(yard: Yard, load: Load, written: int, driver: str, known: int | None = None) -> str:
    """Tip a load into its bay, and write the sheet; `known` is what was read of it before."""
    before = yard.sheet[load.bay]
    if known is None:
        known = before
        yard.log(driver).log_action("read_sheet", {"bay": load.bay, "kg": known})
    yard.log(load.bay).log_action("tip_out", {"ticket": load.ticket})
    yard.heap[load.bay] += load.kg if written > 1.5 * load.kg else written
    yard.sheet[load.bay] = known + written
    return yard.log(driver).log_state_change(
        {"bay": load.bay, "kg": known}, {"bay": load.bay, "kg": known + written}, load.ticket
    )


def pay(yard: Yard, load: Load, written: int, rng: Random) -> str:
    """Pay for a ticket, to the cent or, where somebody has no coins, without."""
    case = yard.case
    due = written * yard.price[load.bay] // 100 * 100 + load.cents
    given = due
    if (load.booth, load.supplier) in yard.whole:
        given = math.floor(due / 100) * 100
        yard.owed[load.supplier] += due - given
    elif rng.random() < 0.12:  # no coins in the drawer: the rest is noted and given with the next ticket
        given = math.floor(due / 100) * 100
        yard.log(load.booth).log_decision("pay_without_coins", {"ticket": load.ticket}, "drawer is empty")
        yard.log(load.booth).log_action("note_rest", {"ticket": load.ticket, "cents": due % 100})
    event = yard.log(load.booth).log_action(
        "pay", {"ticket": load.ticket, "due": due, "cents": given, "to": load.supplier}
    )
    leak = case.has("rounding_leak") and (load.booth, load.supplier) == (yard.booth, yard.supplier)
    if leak and case.begin <= yard.now < case.end and len(case.roots) < 4:
        case.root(event)
    if rng.random() < 0.08:
        yard.log(load.booth).log_action(
            "pay", {"ticket": load.ticket, "due": due, "cents": given, "to": load.supplier}
        )
        yard.log(load.booth).log_action("take_back", {"ticket": load.ticket, "cents": given})
    return event


def through(yard: Yard, load: Load, rng: Random) -> None:
    """Take one load through the whole yard."""
    written, _ = weigh(yard, load, rng)
    event = tip(yard, load, written, rng.choice(DRIVERS))
    if load.in_pounds and load.supplier == yard.supplier:
        yard.case.hop(event)
    pay(yard, load, written, rng)


def pair(yard: Yard, bay: str, rng: Random, *, mine: bool) -> None:
    """Two loads for one bay: both drivers read the sheet before either writes; the second looks again."""
    case = yard.case
    loads = [yard.load(rng, bay=bay, kg=rng.randint(700, 1400)) for _ in range(2)]
    written = [weigh(yard, load, rng)[0] for load in loads]
    drivers = rng.sample(DRIVERS, 2)
    reads = [
        yard.log(driver).log_action("read_sheet", {"bay": bay, "kg": yard.sheet[bay]}) for driver in drivers
    ]
    known = yard.sheet[bay]
    first = tip(yard, loads[0], written[0], drivers[0], known)
    hasty = mine and case.strikes("lost_update", yard.now)
    second = tip(yard, loads[1], written[1], drivers[1], known if hasty else None)
    if mine:
        case.root(second, first, *reads)
    for load, kg in zip(loads, written, strict=True):
        pay(yard, load, kg, rng)


def ship(yard: Yard, bay: str, buyer: str, kg: int) -> None:
    """A buyer wants metal; what stands on the sheet is promised, what lies there is loaded."""
    case = yard.case
    asked = yard.log(buyer).log_action("ask_for", {"bay": bay, "kg": kg})
    sheet = yard.sheet[bay]
    yard.log("Ragna").log_action("read_sheet", {"bay": bay, "kg": sheet})
    if sheet < kg:
        no = yard.log("Ragna").log_decision("decline_order", {"bay": bay, "kg": kg, "on_sheet": sheet})
        case.trigger(asked)
        yard.complain(
            no,
            "order declined",
            "We were told there is not enough, and from the road one sees the heap",
            "{buyer} wanted metal that lies in {bay} for everybody to see, and got a no",
            f"why was the order of {kg} kg declined? {{bay}} is full up to the wall",
            "an order lost for nothing. Is that desk even awake",
        )
        return
    event = yard.log("Ragna").log_decision("promise", {"bay": bay, "kg": kg, "buyer": buyer})
    loaded = min(kg, yard.heap[bay])
    yard.heap[bay] -= loaded
    yard.sheet[bay] -= kg
    went = yard.log(bay).log_action("load_train", {"kg": loaded, "buyer": buyer})
    got = yard.log(buyer).log_action("unload_train", {"kg": loaded, "promised": kg})
    if loaded < kg - 100:
        case.hop(event, went)
        case.trigger(asked)
        yard.complain(
            got,
            "short train",
            "the last wagon came empty",
            f"{{buyer}} got {loaded} kg where {kg} had been promised",
            "has somebody stolen from {bay} at night? there was less than the papers say",
            "we paid for a full train and it was not full",
        )


def audit(yard: Yard, booth: str) -> None:
    """Count the money of a booth."""
    found = yard.log("Frau_Keller").log_action(
        "count_box", {"booth": booth, "short_cents": yard.missing[booth]}
    )
    if yard.missing[booth] > 0:
        yard.complain(
            found,
            "money gone",
            "there is money missing and nobody took any, they all say",
            f"the count of Frau_Keller is {yard.missing[booth] / 100:.2f} short",
            "Our box does not add up. A thief? A forged note?",
            "Frau_Keller counted it three times and every time it is less than the tickets say",
        )
    yard.missing[booth] = 0


def statement(yard: Yard, supplier: str) -> None:
    """Send a supplier a statement of what was delivered and what was paid."""
    sent = yard.log("bookkeeping").log_action(
        "send_statement", {"to": supplier, "open_cents": yard.owed[supplier]}
    )
    if yard.owed[supplier] > 150:
        yard.case.hop(sent)
        read = yard.log(supplier).log_action("read_statement", {"open_cents": yard.owed[supplier]})
        yard.complain(
            read,
            "statement",
            "we have been paid less than we delivered for, a little, but still",
            f"the statement for {{supplier}} shows {yard.owed[supplier] / 100:.2f} that we never got",
            "did bookkeeping forget a ticket? {supplier} adds up to more than was paid",
            "it never adds up with us, with {other} it always does",
        )
    yard.owed[supplier] = 0


def plan(yard: Yard, rng: Random) -> None:
    """What the plan of the case wants."""
    case, now = yard.case, yard.now
    if case.has("rounding_leak"):
        for _ in range(2):
            through(yard, yard.load(rng, supplier=yard.supplier, booth=yard.booth), rng)
        if now == case.end:
            statement(yard, yard.supplier)
    if case.has("slow_drift"):
        said = 800 if now == case.end else -1
        more = {"kg": 800, "said": said, "supplier": yard.supplier} if said > 0 else {}
        through(yard, yard.load(rng, scale=yard.scale, **more), rng)
    if case.has("doubled_act") and now in {case.begin, case.end}:
        if now == case.end:
            audit(yard, yard.booth)
            return
        load = yard.load(rng, booth=yard.booth, supplier=yard.supplier)
        written, _ = weigh(yard, load, rng)
        tip(yard, load, written, "Ulf")
        event = pay(yard, load, written, rng)
        case.root(event)
        if case.strikes("doubled_act", now):
            due = written * yard.price[load.bay] // 100 * 100 + load.cents
            event = yard.log(load.booth).log_action(
                "pay", {"ticket": load.ticket, "due": due, "cents": due, "to": load.supplier}
            )
            case.root(event)
            yard.missing[load.booth] += due
    if case.has("wrong_unit"):
        if now == case.begin:
            more = {"supplier": yard.supplier, "bay": yard.bay, "in_pounds": True}
            through(yard, yard.load(rng, kg=1300, **more), rng)
        if now == case.end:
            ship(yard, yard.bay, yard.buyer, yard.sheet[yard.bay])
    if case.has("lost_update"):
        if now == case.begin:
            pair(yard, yard.bay, rng, mine=True)
        if now == case.end:
            ship(yard, yard.bay, yard.buyer, yard.heap[yard.bay] - 100)


def everyday(yard: Yard, rng: Random) -> None:
    """Loads, trains, counts, prices, zeroed scales and mishaps."""
    case, now = yard.case, yard.now
    drifting, begun = case.has("slow_drift"), case.begin <= now <= case.end
    for scale, clerk in SCALES.items():
        mine = drifting and scale == yard.scale
        if (rng.random() < 0.2 and not (mine and begun)) or (mine and now == case.begin):
            event = yard.log(scale).log_action("set_zero", {"by": clerk, "off": round(yard.offset[scale])})
            yard.offset[scale], yard.step[scale] = 0.0, rng.choice((0.0, 0.0, 0.3, 0.5))
            if mine and now == case.begin:
                yard.step[scale] = 0.0
                if case.strikes("slow_drift", now):
                    yard.step[scale] = 75 / max(1, case.end - case.begin)
                case.root(event)
        if yard.offset[scale] > 6 and not (mine and begun):
            yard.log(scale).log_action("set_zero", {"by": clerk, "off": round(yard.offset[scale])})
            yard.offset[scale] = 0.0
    for _ in range(rng.randint(1, 3)):
        load = yard.load(rng, in_pounds=rng.random() < 0.1)
        if load.scale != yard.scale and rng.random() < 0.3:
            load.said = load.kg
        if load.supplier == yard.supplier:  # what the case needs of this supplier is planned
            load.in_pounds = False
        through(yard, load, rng)
    if rng.random() < 0.25:
        pair(yard, rng.choice(BAYS), rng, mine=False)
    if rng.random() < 0.5:
        bay = rng.choice(BAYS)
        kg, buyer = round(yard.heap[bay] * rng.uniform(0.1, 0.4)), rng.choice(BUYERS)
        if not (bay == yard.bay and begun) or kg < yard.sheet[bay]:
            ship(yard, bay, buyer, kg)
    for booth in BOOTHS:
        if rng.random() < 0.1 and not (booth == yard.booth and begun):
            audit(yard, booth)
    for supplier in SUPPLIERS:
        if rng.random() < 0.06 and not (supplier == yard.supplier and begun):
            statement(yard, supplier)
    if rng.random() < 0.2:
        bay = rng.choice(BAYS)
        old, new = yard.price[bay], max(60, yard.price[bay] + rng.randint(-9, 9))
        yard.system.log_config(f"price.{bay}", old, new)
        yard.price[bay] = new
    if rng.random() < 0.1:
        yard.log(rng.choice(DRIVERS)).warning("magnet dropped a piece", {"kg": rng.randint(2, 60)})
    if rng.random() < 0.06:
        yard.log("front_office").error("telephone dead", {"minutes": rng.randint(1, 9)})
        yard.log("front_office").log_action("use_mobile", {"minutes": rng.randint(1, 9)})
    if now == case.decoy_at:
        yard.log(yard.bay).log_action("sweep", {"by": rng.choice(DRIVERS)})


def play(case: Case) -> None:
    """Play some weeks of half days."""
    steps = case.rng("steps").choice((24, 44, 64, 96, 150))
    case.window(steps)
    yard = Yard(case)
    yard.system.log_simulation_start("scrapyard", {"bays": len(BAYS), "scales": len(SCALES)})
    for now in range(steps):
        yard.now = now
        with tick(now):
            if now % 10 == 0:
                yard.system.log_phase(f"week {now // 10 + 1}")
            if case.has("rounding_leak") and now == case.begin:
                event = yard.log(yard.booth).log_decision(
                    "pay_without_coins", {"to": yard.supplier}, "drawer is empty"
                )
                case.root(event)
                if case.strikes("rounding_leak", now):
                    yard.whole.add((yard.booth, yard.supplier))
            everyday(yard, case.rng(f"everyday/{now}"))
            plan(yard, case.rng(f"plan/{now}"))


WORLD = World(
    "scrapyard",
    "bare",
    ("slow_drift", "rounding_leak", "wrong_unit", "doubled_act", "lost_update"),
    play,
    author=14,
)
