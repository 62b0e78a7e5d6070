"""A paint factory: cards with recipes, batches, a book of the solvent tank, colour meters, and painters who buy.

Plain functions that write with typed loggers; there are no ticks, no spans and no links.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

SHADES = ("ember", "lagoon", "birch", "slate", "saffron", "heather", "moss", "chalk", "plum")
BUYERS = ("Kern & Son", "Atelier Ruiz", "Hafenbau", "Stage Nine", "Villa Color")
METERS = ("meter_1", "meter_2", "meter_3")
TOLERANCE = 1.0
TANKER_L = 420.0


@dataclass
class Card:
    """A recipe: pigment in percent, drier in percent, matting agent in percent."""

    dose: float
    drier: float
    matt: float


@dataclass
class Works:
    """All that the factory knows, and what is true."""

    case: Case
    days: int
    shade: str
    meter: str
    cards: dict[str, Card]
    meant: dict[str, Card]
    noor: AgentLogger = field(default_factory=lambda: AgentLogger("Noor", "chemist"))
    piet: AgentLogger = field(default_factory=lambda: AgentLogger("Piet", "colourist"))
    planner: AgentLogger = field(default_factory=lambda: AgentLogger("planning", "planner"))
    mixer: AgentLogger = field(default_factory=lambda: AgentLogger("mixer_B", "mixer"))
    scale: AgentLogger = field(default_factory=lambda: AgentLogger("tank_scale", "scale"))
    filler: AgentLogger = field(default_factory=lambda: AgentLogger("filling", "filler"))
    system: SystemLogger = field(default_factory=lambda: SystemLogger("plant"))
    offsets: dict[str, float] = field(default_factory=lambda: dict.fromkeys(METERS, 0.0))
    places: int = 2
    booked: float = 900.0
    real: float = 900.0
    cut: float = 0.0
    batch: int = 4100
    today: int = 0
    noted: int = 0


def open_works(case: Case) -> Works:
    """Set the factory up."""
    rng = case.rng("works")
    days = rng.randint(75, 140)
    case.window(days)
    doses = {
        shade: round(rng.uniform(0.6, 5.0) if rng.random() < 0.6 else rng.uniform(12, 40), 1)
        for shade in SHADES
    }
    cards = {
        shade: Card(doses[shade], rng.choice((1.2, 1.4, 1.8)), rng.choice((2.0, 4.0, 6.0)))
        for shade in SHADES
    }
    shade = rng.choice(SHADES)
    meant = {shade: Card(card.dose, card.drier, card.matt) for shade, card in cards.items()}
    return Works(case, days, shade, rng.choice(METERS), cards, meant)


# cards


def try_out(works: Works, shade: str, dose: float, *, is_key: bool = False) -> None:
    """Try a new strength of a shade in a beaker, and write it on the card."""
    rng = works.case.rng(f"beaker/{works.today}/{shade}")
    base_g = rng.choice((500, 1000, 2000))
    tried = works.noor.log_action(
        "beaker", {"shade": shade, "base_g": base_g, "pigment_g": round(base_g * dose / 100, 2)}
    )
    works.meant[shade].dose = dose
    wrong = is_key and works.case.strikes("wrong_unit")
    old, new = works.cards[shade].dose, round(dose * 10 if wrong else dose, 2)
    works.cards[shade].dose = new
    wrote = works.noor.log_state_change(
        {"shade": shade, "pigment": old}, {"shade": shade, "pigment": new}, "trial"
    )
    if wrong:
        works.case.root(wrote, tried)


def show_card(log: AgentLogger, shade: str, card: Card) -> str:
    """Open a card on a screen."""
    return log.log_action("open_card", {"shade": shade, "drier": card.drier, "matt": card.matt})


def save_card(works: Works, log: AgentLogger, shade: str, card: Card) -> str:
    """Save all that stands on a screen."""
    works.cards[shade].drier, works.cards[shade].matt = card.drier, card.matt
    return log.log_action("save_card", {"shade": shade, "drier": card.drier, "matt": card.matt})


def edit_together(works: Works, shade: str, drier: float, matt: float, *, is_key: bool = False) -> None:
    """Let the chemist change the drier and the colourist the matting agent of one shade."""
    card = works.cards[shade]
    early = is_key and works.case.strikes("lost_update")
    first = Card(card.dose, card.drier, card.matt)
    show_card(works.noor, shade, first)
    before = show_card(works.piet, shade, first) if early else ""
    save_card(works, works.noor, shade, Card(card.dose, drier, card.matt))
    second = first if early else Card(card.dose, card.drier, card.matt)
    opened = before or show_card(works.piet, shade, second)
    saved = save_card(works, works.piet, shade, Card(card.dose, second.drier, matt))
    works.meant[shade].drier, works.meant[shade].matt = drier, matt
    if early:
        works.case.root(opened, saved)


# the tank


def draw_solvent(works: Works, litres: float) -> bool:
    """Let solvent out of the tank and write it into the book; tell whether there was enough."""
    enough = works.real >= litres
    factor = 10**works.places
    written = math.floor(litres * factor + 1e-6) / factor
    works.real = max(0.0, works.real - litres)
    works.booked = round(max(0.0, works.booked - written), 2)
    works.cut += litres - math.floor(litres)
    event = works.scale.log_action("book_out", {"litres": written, "left": works.booked})
    PerformanceLogger("tank_scale", "scale").log_metric("valve_seconds", round(litres * 1.7, 1), "s")
    if works.places == 0 and works.noted < 3:
        works.case.root(event)
        works.noted += 1
    return enough


def fetch_tanker(works: Works, why: str) -> None:
    """Let a tanker fill the tank up."""
    works.real += TANKER_L
    works.booked = round(works.booked + TANKER_L, 2)
    works.scale.log_action("book_in", {"litres": TANKER_L, "left": works.booked}, {"why": why})


def gauge(works: Works) -> None:
    """Dip the tank and write what is there into the book."""
    works.booked = works.real = round(works.real, 2)
    works.cut = 0.0
    works.scale.log_action("dip", {"left": works.booked})


# meters


def zero_meters(works: Works) -> None:
    """Set all meters to zero on their tiles, as every morning."""
    case = works.case
    lag = case.end - case.begin
    for name in METERS:
        wander = case.rng(f"zero/{works.today}/{name}").uniform(-0.06, 0.06)
        old = works.offsets[name]
        drifts = name == works.meter and case.strikes("slow_drift") and case.begin <= works.today <= case.end
        new = round(old + 1.2 / (lag + 1) if drifts else wander, 3)
        works.offsets[name] = new
        event = AgentLogger(name, "meter").log_state_change({"zero": old}, {"zero": new}, "morning tile")
        if drifts and works.noted < 3:
            case.root(event)
            works.noted += 1


def change_tile(works: Works, meter: str, tile: str) -> str:
    """Lay another tile under a meter."""
    return works.piet.log_action("change_tile", {"meter": meter, "tile": tile})


# orders


def take_order(
    works: Works, buyer: str, shade: str, kilos: int, solvent: float, *, is_key: bool = False
) -> None:
    """Plan, mix, measure, fill and deliver one order."""
    case, rng = works.case, works.case.rng(f"order/{works.batch}")
    works.batch += 1
    code, card, meant = f"B{works.batch}", works.cards[shade], works.meant[shade]
    sales = InteractionLogger(buyer, "painter")
    ordered = sales.log_interaction("order", buyer, "planning", code, {"shade": shade, "kilos": kilos})
    if is_key and case.has("rounding_leak"):
        case.trigger(ordered)
    if works.booked < solvent:
        works.planner.log_decision(
            "fetch_first", {"batch": code, "book": works.booked}, "not enough in the book"
        )
        fetch_tanker(works, code)
    planned = works.planner.log_decision("plan", {"batch": code, "book": works.booked}, "enough in the book")
    pigment = round(kilos * card.dose / 100, 2)
    weighed = works.mixer.log_action(
        "weigh", {"batch": code, "shade": shade, "pigment_kg": pigment, "drier": card.drier}
    )
    is_thin = draw_solvent(works, solvent)
    meter = works.meter if is_key else rng.choice(METERS)
    shift = works.offsets[meter]
    read = AgentLogger(meter, "meter").log_action(
        "read", {"batch": code, "distance": round(rng.uniform(0.1, 0.4), 2)}
    )
    tinted = works.piet.log_decision("tint", {"batch": code, "drops": rng.randint(0, 9)}, f"by {meter}")
    if rng.random() < 0.4:
        PerformanceLogger("mixer_B", "mixer").log_metric("stirrer_load", rng.randint(30, 80), "percent")
    filled = works.filler.log_action("fill", {"batch": code, "cans": max(1, kilos // 10)})
    sales.log_interaction("delivery", "filling", buyer, code, {"cans": max(1, kilos // 10)})
    if is_key and not case.has("slow_drift"):
        case.hop(planned if case.has("rounding_leak") else weighed, filled)
    if shift > TOLERANCE:
        case.hop(read, tinted, filled)
        event = sales.log_interaction("claim", buyer, "planning", code, {"about": "shade"})
        case.symptom(
            event,
            f"{buyer} sends {code} back: on the wall it does not look like the {shade} that they had before.",
            f"The {shade} of {code} is off, one can see the edge where the old coat ends.",
            f"Colours do not match any more. {buyer} laid two cans of {shade} side by side.",
        )
    elif abs(card.dose - meant.dose) > 0.01:
        event = sales.log_interaction("claim", buyer, "planning", code, {"about": "far too strong"})
        case.symptom(
            event,
            f"{buyer} got {shade} that is almost a paste, it cannot be the tone from the fan deck.",
            f"We used {pigment} kg of pigment in {code}, which costs more than the whole order.",
            f"Why is the {shade} in batch {code} so dark? filling says that the cans were heavy too.",
        )
    elif card.drier != meant.drier:
        event = sales.log_interaction("claim", buyer, "planning", code, {"about": "tacky"})
        case.symptom(
            event,
            f"The {shade} at {buyer} is still sticky after four days.",
            f"{code} does not dry. We had this with {shade} long ago, and I thought that it was cured.",
            f"mixer_B made a batch of {shade} that never got hard.",
        )
    elif not is_thin:
        case.hop(works.mixer.log_action("stop_stirrer", {"batch": code, "solvent_l": solvent}))
        event = sales.log_interaction("claim", buyer, "planning", code, {"about": "late"})
        case.symptom(
            event,
            f"{buyer} waits for {code}: the solvent ran out while it was stirred, and the books show plenty.",
            f"Why did mixer_B stand still in the middle of {code}? We had planned with enough solvent.",
            f"A batch for {buyer} set hard in the vessel because there was not enough in the tank.",
        )


def happen(works: Works) -> None:
    """Let the act happen at which the fault begins, or its harmless form."""
    case, rng = works.case, works.case.rng("act")
    if case.has("wrong_unit"):
        try_out(works, works.shade, round(rng.uniform(1.2, 3.9), 1), is_key=True)
    elif case.has("lost_update"):
        card = works.cards[works.shade]
        edit_together(works, works.shade, round(card.drier + 0.6, 1), card.matt + 1.0, is_key=True)
    elif case.has("slow_drift"):
        event = change_tile(works, works.meter, f"T{rng.randint(20, 60)}")
        if case.faulty:
            case.root(event)
    else:
        gauge(works)
        old, works.places = works.places, 0 if case.strikes("rounding_leak") else 2
        event = works.system.log_config("tank_scale.decimals", old, works.places)
        if case.faulty:
            case.root(event)
        take_order(works, "Hafenbau", works.shade, 120, rng.randint(9, 20) + 0.83)


def come_due(works: Works) -> None:
    """Let the order come in the processing of which the fault shows."""
    case, rng = works.case, works.case.rng("due")
    litres = round(rng.uniform(14, 30), 2)
    if case.has("rounding_leak"):
        litres = works.real + 0.7 * works.cut
    take_order(
        works, rng.choice(BUYERS), works.shade, rng.randint(20, 60) * 10, round(litres, 2), is_key=True
    )


def spend_day(works: Works) -> None:
    """Spend one ordinary day."""
    case, now = works.case, works.today
    rng = case.rng(f"day/{now}")
    busy = case.begin <= now <= case.end
    zero_meters(works)
    free = [shade for shade in SHADES if shade != works.shade or not busy or case.has("slow_drift")]
    if works.real < 200:
        fetch_tanker(works, "level switch")
    for _ in range(rng.randint(1, 3)):
        take_order(
            works, rng.choice(BUYERS), rng.choice(free), rng.randint(5, 60) * 10, round(rng.uniform(3, 25), 2)
        )
    everyday_cards(works, rng)
    if rng.random() < 0.3 or now == case.decoy_at:
        others = [meter for meter in METERS if meter != works.meter or not case.has("slow_drift")]
        change_tile(works, rng.choice(others), f"T{rng.randint(20, 60)}")
    if rng.random() < 0.35 or now == case.decoy_at:
        name = rng.choice(("filling.decimals", "mixer_B.pause_s", "shop_scale.decimals", "tank_scale.lamp"))
        works.system.log_config(name, rng.randint(0, 3), rng.randint(0, 3))
    places = rng.choice((2, 3))
    if rng.random() < 0.12 and not (busy and case.has("rounding_leak")):
        works.system.log_config("tank_scale.decimals", works.places, places)
        works.places = places
    if rng.random() < 0.12:
        buyer = rng.choice(BUYERS)
        about = {"about": rng.choice(("dented can", "one can short", "label upside down"))}
        InteractionLogger(buyer, "painter").log_interaction(
            "claim", buyer, "planning", f"B{works.batch - 1}", about
        )
    if rng.random() < 0.15:
        works.filler.warning("lid jammed, line freed and started again")
    if rng.random() < 0.06 or now == case.decoy_at:
        works.mixer.error("stirrer tripped, restarted after ten seconds")
    if rng.random() < 0.2 and not (busy and case.has("rounding_leak")):
        gauge(works)
    works.planner.log_action("close_day", {"batches": works.batch - 4100})


def everyday_cards(works: Works, rng: random.Random) -> None:
    """Work on the cards of other shades."""
    shade = rng.choice([one for one in SHADES if one != works.shade])
    doing = rng.random()
    if doing < 0.3:
        try_out(works, shade, round(rng.uniform(0.6, 5.0) if rng.random() < 0.6 else rng.uniform(12, 40), 1))
    elif doing < 0.55:
        edit_together(works, shade, rng.choice((1.2, 1.4, 1.8)), rng.choice((2.0, 3.0, 5.0)))
    elif doing < 0.8:
        for log in (works.noor, works.piet):
            show_card(log, shade, works.cards[shade])


def play(case: Case) -> None:
    """Play some months of the factory."""
    works = open_works(case)
    for today in range(works.days):
        works.today = today
        if today == case.begin and case.has("slow_drift"):
            happen(works)
        spend_day(works)
        if today == case.begin and not case.has("slow_drift"):
            happen(works)
        if today == case.end:
            come_due(works)


WORLD = World(
    "paintworks", "bare", ("wrong_unit", "rounding_leak", "slow_drift", "lost_update"), play, author=25
)
