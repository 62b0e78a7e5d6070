"""A bell foundry: towers are measured, bells are drawn, poured, tapped, fitted, and lifted into their towers.

Functions with typed loggers: actions, decisions, interactions, metrics, state changes, configuration.
No ticks, no causes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

SURVEYORS = ("Abelard", "Blanche")
DRAWERS = ("Cosima", "Detlef")
SMELTERS = {"furnace east": "Egon", "furnace west": "Frieda", "furnace yard": "Gisbert"}
CLERKS = ("Hedda", "Ingo", "Justus")
PORTERS = ("Kaspar", "Lore", "Mirko")
FITTERS = ("Nelly", "Otto")
RIGGERS = ("Paula", "Rudi")
SMITH, TUNER = "Schmied Veit", "Meister Zeno"
BAYS = ("bay 1", "bay 2", "bay 3", "bay 4", "bay 5", "bay 6")
METALS = ("tin", "copper")
TOWNS = ("Alzey", "Bacharach", "Cochem", "Diez", "Erbach", "Fulda", "Gedern", "Hanau")
POUR_AT, TOO_FAR, LOW, INCH = 1140, 32.0, 420, 2.54
ROLES = {
    **dict.fromkeys(SURVEYORS, "surveyor"),
    **dict.fromkeys(DRAWERS, "drawer"),
    **dict.fromkeys(SMELTERS.values(), "smelter"),
    **dict.fromkeys(CLERKS, "clerk"),
    **dict.fromkeys(PORTERS, "porter"),
    **dict.fromkeys(FITTERS, "fitter"),
    **dict.fromkeys(RIGGERS, "rigger"),
}


@dataclass
class Order:
    """A bell that was ordered, and what is true of its tower."""

    number: str
    town: str
    window_cm: int
    noted: float = 0.0
    frame: float = 0.0
    bay: str = ""


@dataclass
class Foundry:
    """What is true, what stands on paper, and what is to be done in later shifts."""

    case: Case
    shifts: int
    shift: int = 0
    last: int = 0
    star: str = ""
    off: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SMELTERS, 0.0))
    creep: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SMELTERS, 0.0))
    cards: dict[str, int] = field(default_factory=lambda: dict.fromkeys(METALS, 900))
    real: dict[str, int] = field(default_factory=lambda: dict.fromkeys(METALS, 900))
    bays: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    agenda: dict[int, list[tuple[Callable[..., None], Order]]] = field(default_factory=dict)
    first_shifts: int = 0

    def later(self, shifts: int, act: Callable[..., None], order: Order) -> None:
        """Do something in a later shift."""
        self.agenda.setdefault(self.shift + shifts, []).append((act, order))

    def rng(self, order: Order, topic: str) -> Any:
        """Return the chance of one order."""
        return self.case.rng(f"{topic}/{order.number}")

    def number(self) -> str:
        """Return the number of the next order."""
        self.last += 1
        return f"N{self.last:04}"


def do(who: str, what: str, /, **data: Any) -> str:
    """Record what somebody does."""
    return AgentLogger(who, ROLES.get(who, "master")).log_action(what, data)


def survey(foundry: Foundry, order: Order) -> None:
    """Climb a tower and note how wide its window is, in centimetres; some towers have plans in inches."""
    rng, case = foundry.rng(order, "survey"), foundry.case
    who = rng.choice(SURVEYORS)
    do(who, "climb_tower", order=order.number, town=order.town, steps=rng.randint(80, 240))
    order.noted = order.window_cm
    is_mine = order.number == foundry.star and case.has("wrong_unit")
    if rng.random() < 0.2 and not is_mine:
        do(who, "read_old_plan", order=order.number, width_inches=round(order.window_cm / INCH, 1))
    if is_mine and case.strikes("wrong_unit", foundry.shift):
        order.noted = round(order.window_cm / INCH)
    noted = do(who, "note_window", order=order.number, width=order.noted)
    if is_mine:
        case.root(noted)
    foundry.later(0 if is_mine else rng.randint(0, 2), draw, order)


def draw(foundry: Foundry, order: Order) -> None:
    """Draw a frame that goes through the window, and a bell for it."""
    rng = foundry.rng(order, "draw")
    who = rng.choice(DRAWERS)
    AgentLogger(who, "drawer").log_decision(
        "rib",
        {"order": order.number, "kind": rng.choice(("heavy", "octave", "light"))},
        reasoning="the tower's other bells",
    )
    order.frame = round(order.noted * 0.85)
    drawn = do(who, "draw_frame", order=order.number, width=order.frame)
    if order.number == foundry.star and foundry.case.has("wrong_unit"):
        foundry.case.hop(drawn)
        foundry.later(foundry.case.end - foundry.shift, lift, order)
        return
    foundry.later(rng.randint(0, 2), pour, order)


def pour(foundry: Foundry, order: Order) -> None:
    """Weigh metal out, melt it and pour the bell."""
    rng, case = foundry.rng(order, "pour"), foundry.case
    furnace = rng.choice(list(SMELTERS))
    if case.has("slow_drift") and foundry.shift == case.end:
        furnace = foundry.star
    who = SMELTERS[furnace]
    for metal, most in (("tin", 45), ("copper", 70)):
        weigh_out(foundry, order, metal, rng.randint(12, most), rng.choice(CLERKS))
    by_eye = round(POUR_AT + foundry.off[furnace] + rng.randint(-8, 8), -1)
    do(who, "open_tap", order=order.number, furnace=furnace, kg=rng.randint(60, 300), by_eye=by_eye)
    state = AgentLogger(who, "smelter").log_state_change(
        {"mould": "empty"}, {"mould": "full"}, f"pour {order.number}"
    )
    far = foundry.off[furnace]
    case.hop(*([state] if far >= TOO_FAR else []))
    InteractionLogger(who).log_interaction("hand_over", who, TUNER, order.number, {"bell": order.town})
    tapped = do(TUNER, "tap_bell", order=order.number, partials=5, pores=int(far >= TOO_FAR))
    if far >= TOO_FAR:
        case.symptom(
            tapped,
            f"The bell for {order.town} sounds like a bucket, it is full of tiny holes",
            f"{order.number} is pitted from lip to crown, melt it down again",
            "What came out of the mould today is porous although the dial said what it always says",
        )
    foundry.later(rng.randint(0, 2), prepare, order)


def weigh_out(foundry: Foundry, order: Order, metal: str, kg: int, clerk: str) -> None:
    """Take metal out of the store and write it onto the card."""
    do(clerk, "read_card", metal=metal, kg=foundry.cards[metal])
    got = min(kg, foundry.real[metal])
    foundry.real[metal] -= got
    before = foundry.cards[metal]
    foundry.cards[metal] = before - kg
    AgentLogger(clerk, "clerk").log_state_change({metal: before}, {metal: before - kg}, f"out {order.number}")
    weighed = do(clerk, "weigh_out", order=order.number, metal=metal, kg=got)
    if got < kg:
        foundry.case.symptom(
            do(SMELTERS["furnace yard"], "stop_pour", order=order.number, missing=kg - got),
            f"In the middle of the pour we had no {metal} left. The store said there was enough!",
            f"{order.number} is half a bell: {kg - got} kilograms were missing",
            f"The scale showed {got} instead of {kg}, and the mould had to be broken up",
        )
    if kg > 100:
        foundry.case.hop(weighed)


def prepare(foundry: Foundry, order: Order) -> None:
    """Forge a clapper, turn a yoke, and carry all parts into one bay."""
    rng, case = foundry.rng(order, "prepare"), foundry.case
    order.bay = min(BAYS, key=lambda one: (len(foundry.bays[one]), rng.random()))
    do(TUNER, "assign_bay", order=order.number, bay=order.bay)
    is_mine = order.number == foundry.star and case.has("misrouted_thing")
    for item, maker in (("bell", TUNER), ("clapper", SMITH), ("yoke", SMITH)):
        do(maker, "release", order=order.number, item=item, kg=rng.randint(4, 40))
        porter, bay = rng.choice(PORTERS), order.bay
        if is_mine and item == "clapper" and case.strikes("misrouted_thing", foundry.shift):
            bay = BAYS[(BAYS.index(bay) + 1 + rng.randint(0, 3)) % len(BAYS)]
        elif rng.random() < 0.08:
            do(porter, "carry", order=order.number, item=item, to=rng.choice(BAYS))
            do(porter, "read_label", order=order.number, item=item)
        carried = do(porter, "carry", order=order.number, item=item, to=bay)
        if is_mine and item == "clapper":
            case.root(carried)
        foundry.bays[bay].append((order.number, item))
    foundry.later(case.end - foundry.shift if is_mine else rng.randint(1, 3), fit, order)


def fit(foundry: Foundry, order: Order) -> None:
    """Put the parts of a bell together."""
    rng = foundry.rng(order, "fit")
    who, here = rng.choice(FITTERS), foundry.bays[order.bay]
    found = [item for number, item in here if number == order.number]
    foreign = sum(number != order.number for number, _ in here)
    looked = do(who, "look_around_bay", order=order.number, bay=order.bay, foreign=foreign)
    if "clapper" not in found:
        foundry.case.hop(looked)
        foundry.case.symptom(
            do(who, "stop_fitting", order=order.number),
            f"The bell for {order.town} hangs in its yoke and has nothing inside that strikes",
            f"{who} cannot go on with {order.number}, a part is not there",
            "Forged weeks ago, says the smith. Then where is it? The crane is booked for today",
        )
    else:
        do(who, "hang_clapper", order=order.number)
    foundry.bays[order.bay] = [one for one in here if one[0] != order.number]
    foundry.later(rng.randint(1, 3), lift, order)


def lift(foundry: Foundry, order: Order) -> None:
    """Lift a bell through the window of its tower."""
    rng, case = foundry.rng(order, "lift"), foundry.case
    who = rng.choice(RIGGERS)
    do(who, "rig_tackle", order=order.number, town=order.town, metres=rng.randint(18, 60))
    ratio = order.frame / order.window_cm
    lifted = do(who, "swing_in", order=order.number, gap=round(order.window_cm - order.frame))
    if 0.6 <= ratio <= 1:
        do(who, "wedge", order=order.number, wedges=rng.randint(4, 12))
        return
    case.hop(lifted)
    case.symptom(
        do(who, "lower_again", order=order.number),
        f"The frame for {order.town} sits in its opening like a stool in a barn door",
        f"We had the mayor and a brass band, and {order.number} is far too small for the tower",
        "What came on the lorry does not match what we ordered, somebody built a toy",
        f"{who} sent everything back from {order.town}, nothing reaches the beams",
    )


def watch_furnaces(foundry: Foundry) -> None:
    """Read the heat of each furnace and keep it where it should be."""
    case, rng = foundry.case, foundry.case.rng(f"heat/{foundry.shift}")
    for furnace, who in SMELTERS.items():
        foundry.off[furnace] += foundry.creep[furnace]
        shown = POUR_AT + rng.randint(-5, 5)
        read = do(who, "read_heat", furnace=furnace, shown=shown, stokes=rng.randint(3, 6))
        if furnace == foundry.star and foundry.creep[furnace] and foundry.first_shifts < 3:
            foundry.first_shifts += 1
            case.root(read)
        logs = 40 + round(foundry.off[furnace] * 0.2) + rng.randint(-6, 6)
        PerformanceLogger(who, "smelter").log_metric("logs_burnt", logs, "logs", {"furnace": furnace})
        if abs(shown - POUR_AT) > 3:
            action = "more_wood" if shown < POUR_AT else "less_draught"
            AgentLogger(who, "smelter").log_decision(action, {"furnace": furnace, "shown": shown})
    busy = foundry.star if case.begin <= foundry.shift <= case.end else ""
    if rng.random() < 0.4:
        furnace = rng.choice([one for one in SMELTERS if one != busy])
        mount_probe(foundry, furnace)


def mount_probe(foundry: Foundry, furnace: str) -> None:
    """Clean the probe of a furnace and put it back; if it sits loose, soot creeps under it."""
    case, who = foundry.case, SMELTERS[furnace]
    is_mine = furnace == foundry.star and foundry.shift == case.begin
    foundry.off[furnace], foundry.creep[furnace] = 0.0, 0.0
    took = do(who, "take_probe_out", furnace=furnace)
    if is_mine and case.strikes("slow_drift", foundry.shift):
        foundry.creep[furnace] = TOO_FAR / (case.end - case.begin) + 0.001
    put = do(who, "put_probe_in", furnace=furnace, turns=case.rng(f"probe/{foundry.shift}").randint(5, 9))
    if is_mine and case.has("slow_drift"):
        case.root(put, took)


def count_store(foundry: Foundry) -> None:
    """Write what came and went onto the cards; who was disturbed reads again before writing."""
    case, rng = foundry.case, foundry.case.rng(f"store/{foundry.shift}")
    is_now = case.has("lost_update") and foundry.shift == case.begin
    for metal in METALS:
        if foundry.cards[metal] < LOW or (is_now and metal == foundry.star) or rng.random() < 0.06:
            one, other = rng.sample(CLERKS, 2)
            came, went = rng.randint(300, 500), rng.randint(90, 160)
            if rng.random() < 0.5 and not (is_now and metal == foundry.star):
                went = rng.randint(5, 30)
            read = do(one, "read_card", metal=metal, kg=foundry.cards[metal])
            known = foundry.cards[metal]
            do(other, "read_card", metal=metal, kg=known)
            foundry.cards[metal] -= went
            foundry.real[metal] -= went
            AgentLogger(other, "clerk").log_state_change(
                {metal: known}, {metal: known - went}, "sold as scrap"
            )
            is_mine = is_now and metal == foundry.star
            if not (is_mine and case.strikes("lost_update", foundry.shift)):
                do(one, "read_card", metal=metal, kg=foundry.cards[metal])
                known = foundry.cards[metal]
            foundry.cards[metal], foundry.real[metal] = known + came, foundry.real[metal] + came
            wrote = AgentLogger(one, "clerk").log_state_change(
                {metal: known}, {metal: known + came}, "delivery"
            )
            if is_mine:
                case.root(wrote, read)


def chores(foundry: Foundry) -> None:
    """Do what belongs to any shift."""
    case, rng = foundry.case, foundry.case.rng(f"rest/{foundry.shift}")
    if foundry.shift % 12 == 0:
        SystemLogger("foundry").log_phase(f"fortnight {foundry.shift // 12}")
    if rng.random() < 0.3:
        name = rng.choice(("hall_lamps", "crane_speed", "coffee_price", "gate_hours"))
        SystemLogger("foundry").log_config(name, rng.randint(1, 9), rng.randint(1, 9))
    if rng.random() < 0.2 or foundry.shift == case.decoy_at:
        who = rng.choice((*PORTERS, *FITTERS, *CLERKS))
        AgentLogger(who, ROLES[who]).warning("the hoist slipped, tied it again", {"kg": rng.randint(40, 300)})
    if foundry.shift == case.decoy_at:
        AgentLogger(SMITH, "master").error("bellows torn, worked with the small one", {"hours": 2})
        do(rng.choice(PORTERS), "carry", order="N0000", item="sand", to=rng.choice(BAYS))
    if rng.random() < 0.4:
        one, other = rng.sample((*SURVEYORS, *DRAWERS, *RIGGERS), 2)
        InteractionLogger(one).log_interaction(
            "talk", one, other, None, {"about": rng.choice(("rain", "pay"))}
        )


def begin(foundry: Foundry) -> None:
    """Do what the case is about, well or badly."""
    case, rng = foundry.case, foundry.case.rng("plan")
    if case.has("slow_drift"):
        foundry.star = rng.choice(list(SMELTERS))
        mount_probe(foundry, foundry.star)
    elif case.has("lost_update"):
        foundry.star = rng.choice(METALS)
    else:
        order = Order(foundry.number(), rng.choice(TOWNS), rng.randint(110, 190))
        foundry.star = order.number
        order.noted, order.frame = order.window_cm, round(order.window_cm * 0.85)
        (survey if case.has("wrong_unit") else prepare)(foundry, order)


def end(foundry: Foundry) -> None:
    """Let the great bell be poured, if that shows something."""
    case = foundry.case
    if case.has("lost_update"):
        order = Order(foundry.number(), "Mainz", 180)
        planned = do(
            TUNER,
            "plan_great_bell",
            order=order.number,
            metal=foundry.star,
            on_card=foundry.cards[foundry.star],
        )
        case.trigger(planned)
        weigh_out(foundry, order, foundry.star, foundry.cards[foundry.star] - 30, CLERKS[0])
    elif case.has("slow_drift"):
        pour(foundry, Order(foundry.number(), "Mainz", 140, 140, 119))


def play(case: Case) -> None:
    """Play some months of a foundry."""
    shifts = case.rng("shifts").choice((25, 50, 100, 190))
    case.window(shifts)
    foundry = Foundry(case, shifts, last=case.seed % 500)
    for shift in range(shifts):
        foundry.shift = shift
        rng = case.rng(f"orders/{shift}")
        chores(foundry)
        for _ in range(rng.randint(1, 2)):
            survey(foundry, Order(foundry.number(), rng.choice(TOWNS), rng.randint(45, 190)))
        if shift == case.begin:
            begin(foundry)
        count_store(foundry)
        watch_furnaces(foundry)
        while foundry.agenda.get(shift):
            act, order = foundry.agenda[shift].pop(0)
            act(foundry, order)
        if shift == case.end:
            end(foundry)


FAULTS = ("slow_drift", "wrong_unit", "lost_update", "misrouted_thing")
WORLD = World("bellfoundry", "bare", FAULTS, play, 29)
