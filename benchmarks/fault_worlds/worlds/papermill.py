"""A paper mill as plain functions over one record: bales at the gates, pulp, three machines, rolls, and claims by printers."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

GRADES = {"news_45": 45.0, "book_80": 80.0, "kraft_70": 70.0, "offset_100": 100.0, "tissue_18": 18.0}
PRINTED = ("news_45", "book_80", "kraft_70", "offset_100")
MACHINES = ("pm1", "pm2", "pm3")
PRINTERS = ("meyer_print", "okto_press", "rosa_carton", "delta_web")
DEALERS = ("altpapier_kim", "borough_bales", "cityfibre", "dunes_recycling")
FITTERS = ("fitter_lars", "fitter_mona")
STAFF = (
    "gate_1",
    "gate_2",
    "pulper_a",
    "pulper_b",
    "winder",
    "claims_desk",
    "accounts",
    "shift_lead",
    "laboratory",
)


@dataclass
class Batch:
    """A vat of pulp, as it really is."""

    number: str
    grade: str
    alum: float
    peroxide: float = 0.0


@dataclass
class Mill:
    """Everything that the functions share: loggers, recipes, gauges, towers and books."""

    case: Case
    rng: random.Random
    actors: dict[str, AgentLogger] = field(default_factory=dict)
    gauges: dict[str, PerformanceLogger] = field(default_factory=dict)
    trade: dict[str, InteractionLogger] = field(default_factory=dict)
    board: SystemLogger = field(default_factory=lambda: SystemLogger("recipe_board"))
    alum: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PRINTED, 1.2) | {"tissue_18": 0.2})
    real: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MACHINES, 1.0))
    creep: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MACHINES, 0.0))
    offset: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MACHINES, 0.0))
    towers: dict[str, tuple[int, Batch]] = field(default_factory=dict)
    digits: dict[str, int] = field(default_factory=lambda: {"gate_1": 3, "gate_2": 3})
    weighed: dict[str, float] = field(default_factory=lambda: dict.fromkeys(DEALERS, 0.0))
    booked: dict[str, float] = field(default_factory=lambda: dict.fromkeys(DEALERS, 0.0))
    machine: str = ""
    neighbour: str = ""
    grade: str = ""
    printer: str = ""
    dealer: str = ""
    serial: int = 50
    wrong_readings: int = 0

    def tag(self, letters: str) -> str:
        """Return the next number of some sort of paper."""
        self.serial += self.rng.randint(1, 3)
        return f"{letters}/{self.serial}"


def open_mill(case: Case) -> Mill:
    """Hire everybody, and choose what the case is about."""
    mill = Mill(case, case.rng("papermill"))
    for name in (*STAFF, *FITTERS):
        mill.actors[name] = AgentLogger(name, name.split("_")[0])
    for name in MACHINES:
        mill.actors[name] = AgentLogger(name, "machine")
        mill.gauges[name] = PerformanceLogger(f"scanner_{name[-1]}", "scanner")
    mill.gauges["laboratory"] = PerformanceLogger("laboratory", "laboratory")
    mill.trade = {name: InteractionLogger(name, "printer") for name in PRINTERS}
    mill.machine, mill.neighbour = mill.rng.sample(MACHINES, 2)
    mill.grade = mill.rng.choice(PRINTED)
    mill.printer, mill.dealer = mill.rng.choice(PRINTERS), mill.rng.choice(DEALERS)
    return mill


def weigh_bales(mill: Mill, now: int) -> None:
    """Bales come in; both gates weigh them in kilograms and book them in tonnes."""
    case, rng = mill.case, mill.rng
    if case.has("rounding_leak") and now == case.begin:
        places = 1 if case.strikes("rounding_leak", now) else 3
        case.root(mill.actors["gate_2"].log_action("load_form", {"form": "bale_note", "decimals": places}))
        mill.digits["gate_2"] = places
    elif rng.random() < 0.08:
        form = rng.choice(("starch_note", "clay_note", "visitor_pass"))
        mill.actors[rng.choice(("gate_1", "gate_2"))].log_action(
            "load_form", {"form": form, "decimals": rng.choice((0, 1))}
        )
    for gate in ("gate_1", "gate_2", "gate_2"):
        mine = gate == "gate_2" and rng.random() < 0.6
        dealer = mill.dealer if mine else rng.choice(DEALERS)
        if gate == "gate_1" and dealer == mill.dealer:
            continue
        kilograms, note = rng.randint(41, 239) * 100 + rng.randint(21, 95), mill.tag("BN")
        tonnes = math.floor(kilograms * 10 ** (mill.digits[gate] - 3)) / 10 ** mill.digits[gate]
        mill.weighed[dealer] += kilograms / 1000
        mill.booked[dealer] += tonnes
        event = mill.actors[gate].log_action(
            "book_bales", {"note": note, "dealer": dealer, "scale_kg": kilograms, "tonnes": tonnes}
        )
        if case.has("rounding_leak") and gate == "gate_2" and now >= case.begin and mill.wrong_readings < 3:
            mill.wrong_readings += 1
            case.root(event)
    if rng.random() < 0.3:  # starch is paid by the load, so whole tonnes will do
        load = {"note": mill.tag("ST"), "scale_kg": rng.randint(3000, 9000), "tonnes": rng.randint(3, 9)}
        mill.actors["gate_1"].log_action("book_starch", load)


def settle(mill: Mill, now: int) -> None:
    """Pay dealers; each compares our sum with the tickets of the scale."""
    due = now == mill.case.end and mill.case.has("rounding_leak")
    others = [each for each in DEALERS if each != mill.dealer]
    if not due and mill.rng.random() > 0.12:
        return
    dealer = mill.dealer if due else mill.rng.choice(others)
    paid, sent = round(mill.booked[dealer], 3), round(mill.weighed[dealer], 3)
    statement = mill.tag("AC")
    event = mill.actors["accounts"].log_decision(
        "settlement",
        {"statement": statement, "dealer": dealer, "tonnes": paid},
        reasoning="sum of the bale notes",
    )
    if due:
        mill.case.hop(event)
        if sent - paid > 0.015:
            event = mill.actors["claims_desk"].log_action(
                "take_letter", {"from": dealer, "statement": statement, "tickets_t": sent, "paid_t": paid}
            )
            complain(mill, event, "short", gap=round(1000 * (sent - paid)))


def change_recipe(mill: Mill, now: int) -> None:
    """The shift lead changes recipes on the board; tissue is hardly sized at all, as nobody prints on it."""
    case, rng = mill.case, mill.rng
    planned = case.has("config_change") and now == case.begin
    if not planned and rng.random() > 0.2:
        return
    free = [each for each in GRADES if each != mill.grade or now < case.begin]
    grade = mill.grade if planned else rng.choice(free)
    low, high = (0.1, 0.35) if grade == "tissue_18" else (0.9, 1.6)
    new = round(rng.uniform(low, high), 2)
    if planned and case.strikes("config_change", now):
        new = round(new / 5, 2)
    event = mill.board.log_config(
        f"alum.{grade}", mill.alum[grade], new, {"by": "shift_lead", "slip": mill.tag("RC")}
    )
    mill.alum[grade] = new
    if planned:
        case.root(event)


def cook(mill: Mill, grade: str, *, is_planned: bool = False) -> Batch:
    """Fill a vat, size it and bleach it; large vats get their peroxide in two halves."""
    case, rng = mill.case, mill.rng
    vat = rng.choice(("pulper_a", "pulper_b"))
    batch = Batch(mill.tag("V"), grade, mill.alum[grade])
    mixed = mill.actors[vat].log_action("mix", {"vat": batch.number, "grade": grade, "alum": batch.alum})
    litres = rng.randint(22, 38)
    halves = 2 if rng.random() < 0.3 and not is_planned else 1
    doses = [litres / halves] * halves
    if is_planned and case.strikes("doubled_act"):
        doses = doses * 2
    for part in doses:
        event = mill.actors[vat].log_action("bleach", {"vat": batch.number, "peroxide_l": part})
        batch.peroxide += part
        if is_planned and case.has("doubled_act"):
            case.root(event)
    if case.has("config_change") and is_planned:
        case.hop(mixed)
    return batch


def run_machine(mill: Mill, name: str, batch: Batch, *, is_planned: bool = False) -> tuple[str, float]:
    """Make a roll: scan the web, correct the valve, wind."""
    case, rng = mill.case, mill.rng
    target = GRADES[batch.grade]
    mill.creep[name] += mill.offset[name]
    shown = round(target * (mill.real[name] + mill.creep[name] + rng.uniform(-0.004, 0.004)), 2)
    reading = mill.gauges[name].log_metric(
        "web_weight", shown, "g/m2", {"grade": batch.grade, "vat": batch.number}
    )
    if mill.offset[name] and mill.wrong_readings < 3:
        mill.wrong_readings += 1
        case.root(reading)
    error = shown / target - 1
    valve = mill.actors[name].log_decision(
        "stock_valve",
        {"shown": shown, "target": target, "turn": round(-80 * error, 1)},
        reasoning="keep the weight",
    )
    mill.real[name] -= 0.8 * error
    roll = mill.tag("roll")
    wound = mill.actors["winder"].log_action("wind", {"roll": roll, "machine": name, "vat": batch.number})
    if is_planned:
        case.hop(reading, valve, wound)
    return roll, mill.real[name]


def deliver(mill: Mill, printer: str, roll: str, batch: Batch, weight: float) -> None:
    """Ship a roll; a printer who is not content with it writes to the claims desk."""
    case, rng = mill.case, mill.rng
    shipped = mill.trade[printer].log_interaction("unload", "winder", printer, roll, {"grade": batch.grade})
    words = "core crushed" if rng.random() < 0.05 else ""
    words = "too light" if weight < 0.955 else words
    words = "ink bleeds" if batch.alum < 0.6 and batch.grade != "tissue_18" else words
    words = "cracks at the fold" if batch.peroxide > 42 else words
    if words:
        event = mill.actors["claims_desk"].log_action(
            "open_claim", {"roll": roll, "printer": printer, "text": words}
        )
        if words != "core crushed":
            case.hop(shipped)
            complain(mill, event, words, roll=roll)


def make_paper(mill: Mill, now: int) -> None:
    """Cook, store, run and ship; what the case is about comes at its end."""
    case, rng = mill.case, mill.rng
    if case.has("doubled_act") and now == case.begin:
        batch = cook(mill, mill.grade, is_planned=True)
        mill.towers["tower_9"] = (case.end, batch)
        case.hop(mill.actors["shift_lead"].log_action("pump_over", {"vat": batch.number, "tower": "tower_9"}))
    for tower, (due, batch) in list(mill.towers.items()):
        if due > now:
            continue
        del mill.towers[tower]
        planned = tower == "tower_9"
        taken = mill.actors["shift_lead"].log_action("tap_tower", {"tower": tower, "vat": batch.number})
        if planned:
            case.trigger(taken)
            case.hop(taken)
        name = mill.machine if planned else rng.choice(MACHINES)
        roll, weight = run_machine(mill, name, batch, is_planned=planned)
        deliver(mill, mill.printer if planned else rng.choice(PRINTERS), roll, batch, 1.0)
    rests = case.begin <= now <= case.end and case.has("config_change")
    for name in MACHINES:
        batch = cook(mill, rng.choice([each for each in GRADES if each != mill.grade or not rests]))
        tower = f"tower_{rng.randint(1, 5)}"
        if rng.random() < 0.15 and tower not in mill.towers:
            mill.actors["shift_lead"].log_action("pump_over", {"vat": batch.number, "tower": tower})
            mill.towers[tower] = (now + rng.randint(1, 9), batch)
            continue
        checked = now == case.end and case.has("slow_drift") and name == mill.machine
        roll, weight = run_machine(mill, name, batch, is_planned=checked)
        if checked or (rng.random() < 0.5 and not (name == mill.machine and case.has("slow_drift"))):
            deliver(mill, mill.printer if checked else rng.choice(PRINTERS), roll, batch, weight)
        else:
            mill.actors["winder"].log_state_change(
                {"roll": roll, "at": "winder"}, {"roll": roll, "at": "hall"}, "crane"
            )
        if rng.random() < 0.2:
            grams = round(GRADES[batch.grade] * (mill.real[name] + rng.uniform(-0.006, 0.006)), 1)
            mill.gauges["laboratory"].log_metric("cut_sheet", grams, "g/m2", {"roll": roll, "machine": name})
    if now == case.end and case.has("config_change"):
        order = mill.tag("PO")
        case.trigger(
            mill.actors["shift_lead"].log_action("start_campaign", {"order": order, "grade": mill.grade})
        )
        batch = cook(mill, mill.grade, is_planned=True)
        roll, _ = run_machine(mill, mill.machine, batch, is_planned=True)
        deliver(mill, mill.printer, roll, batch, 1.0)


def fit_scanners(mill: Mill, now: int) -> None:
    """A fitter cleans the head of a scanner, which may leave it a little loose."""
    case, rng = mill.case, mill.rng
    planned = case.has("slow_drift") and now == case.begin
    if not planned and rng.random() > 0.15:
        return
    name = mill.machine if planned else rng.choice([each for each in MACHINES if each != mill.machine])
    torque = rng.choice((11, 12, 12, 13))
    if planned and case.strikes("slow_drift", now):
        torque = rng.choice((4, 5))
        mill.offset[name] = 0.075 / (case.end - case.begin + 1)
    event = mill.actors[rng.choice(FITTERS)].log_action(
        "refit_head", {"scanner": mill.gauges[name].agent_id, "bolts_nm": torque}
    )
    if planned:
        case.root(event)


def complain(mill: Mill, event: str, words: str, **values: object) -> None:
    """Somebody outside writes to the mill."""
    known = {"printer": mill.printer, "grade": mill.grade, "machine": mill.machine, "dealer": mill.dealer}
    known |= {"other": mill.neighbour, **{name: str(value) for name, value in values.items()}}
    mill.case.symptom(event, *(text.format(**known) for text in TEXTS[words]))


TEXTS = {
    "too light": (
        "The paper is far too thin: {roll} does not have the weight that is printed on its label",
        "{printer} weighed a sheet and says it is several percent under. {machine} shows the right value all the time!",
        "why is what comes from {machine} too light while {other} is fine?",
    ),
    "ink bleeds": (
        "Ink runs on {roll} like on blotting paper, {printer} had to stop the press",
        "the new delivery of {grade} cannot be printed on, letters go fuzzy",
        "{printer} sends back {grade}, the same colour dried well on the last lot. What happened?",
    ),
    "cracks at the fold": (
        "The sheets break at every fold, they are as brittle as toast ({roll})",
        "{printer}: covers from {roll} crack. It was made on {machine} like everything else",
        "why does this {grade} crack when it is folded",
    ),
    "short": (
        "{dealer} says that we paid for {gap} kg less than their trucks brought",
        "The statement of accounts does not agree with the tickets of the scale, {gap} kg are missing",
        "we are cheated! every truck was weighed and your total is lower. {dealer}",
    ),
}


def other_work(mill: Mill, now: int) -> None:
    """Hiccups and chores, and something that looks important shortly before the symptom."""
    rng = mill.rng
    who = mill.actors[rng.choice(sorted(mill.actors))]
    dice = rng.random()
    if dice < 0.2:
        who.log_action(rng.choice(("hose_down", "grease", "swap_felt")), {"minutes": rng.randint(4, 60)})
    elif dice < 0.32:
        who.warning(
            rng.choice(("web break, rethreaded", "pump cavitates", "steam low")),
            {"minutes": rng.randint(1, 9)},
        )
    elif dice < 0.4:
        mill.board.log_config("hall.lights", rng.randint(1, 4), rng.randint(5, 9))
    elif dice < 0.46:
        mill.board.log_phase(rng.choice(("early", "late", "night")))
    if now == mill.case.decoy_at:
        if rng.random() < 0.5:
            who.error("drive tripped", {"restart_min": rng.randint(2, 20)})
        else:
            mill.board.log_config("press.nip_kn", 85, rng.choice((88, 90)), {"by": "shift_lead"})


def play(case: Case) -> None:
    """Play some days, an hour at a time."""
    hours = case.rng("shift").choice((22, 40, 75, 120))
    case.window(hours)
    mill = open_mill(case)
    mill.board.log_simulation_start("papermill", {"hours": hours})
    for now in range(hours):
        other_work(mill, now)
        weigh_bales(mill, now)
        change_recipe(mill, now)
        fit_scanners(mill, now)
        make_paper(mill, now)
        settle(mill, now)


WORLD = World(
    "papermill", "bare", ("slow_drift", "config_change", "rounding_leak", "doubled_act"), play, author=19
)
