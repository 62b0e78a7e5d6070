"""A plantation of blood oranges in harvest: weighbridges, sprayers, picking gangs, a pay desk, a packing house, buyers."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass, field

from Agent import AgentLogger, InteractionLogger, LearningLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

BRIDGES = {"east_bridge": 130, "west_bridge": 120, "mill_bridge": 30}  # with the crates of a usual load
GANGS = ("gang_alba", "gang_brino", "gang_cesa", "gang_dora")
BLOCKS = ("Contrada 1", "Contrada 2", "Sciara", "Vigna Alta", "Pozzo", "Lenza")
BUYERS = ("nordfrucht", "buongusto", "halles_lyon")
OIL, COPPER, SULPHUR = "white oil", "copper", "sulphur"


@functools.cache
def hand(name: str) -> AgentLogger:
    """Return the logger of somebody on the estate."""
    return AgentLogger(name, "estate")


@dataclass
class Estate:
    """What is true on the estate in one season."""

    case: Case
    rng: random.Random
    rounds: int
    serial: int = 0
    spring: dict[str, str] = field(default_factory=lambda: dict.fromkeys(BRIDGES, "K14"))
    stretch: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BRIDGES, 0.0))
    oiled: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BLOCKS, 1.5))
    step: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GANGS, 1))
    short: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GANGS, 0))
    points: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GANGS, 20))
    heat: int = 25
    seen: int = 0

    def __post_init__(self) -> None:
        self.serial = 1000 + self.case.seed % 3000
        self.bridge, self.block = self.rng.choice(("east_bridge", "west_bridge")), self.rng.choice(BLOCKS)
        self.good, self.rough, *self.others = self.rng.sample(GANGS, 4)
        self.wages = [self.rng.randint(6200, 9400) for _ in range(self.rounds)]
        lag = max(1, self.case.end - self.case.begin)
        self.soft = 0.048 / (lag + 1)
        self.patience = sum(wage % 10 for wage in self.wages[self.case.begin : self.case.end]) * 9

    def number(self, prefix: str) -> str:
        """Return the number of the next paper."""
        self.serial += self.rng.randint(1, 4)
        return f"{prefix}{self.serial}"

    def due(self, kind: str, now: int) -> bool:
        """Tell whether the plan of the case has its first act in this round."""
        return self.case.has(kind) and now == self.case.begin

    def first_wrong(self, event: str) -> None:
        """Note one of the first three wrong values."""
        self.seen += 1
        if self.seen <= 3:
            self.case.root(event)


TEXTS = {
    "weight": (
        "{buyer} pays us for {kg} kg less than our own ticket {paper} says",
        "The port weighed load {paper} and it is nearly five percent lighter than written. Do we cheat?",
        "what is wrong with the weight of {paper}? {buyer} has sent a claim",
    ),
    "scale": (
        "the packhouse sent back a whole lot from {block}, full of scale insects. We had sprayed there!",
        "{count} insects on a leaf in {block}, why did the treatment do nothing",
        "Lot {paper} of {block} rejected because of scale, {buyer} waits for it",
    ),
    "pay": (
        "We counted it again: {euro} euros are missing in our envelopes since some weeks",
        "{gang} says that their pay does not add up to what they earned, {euro} euros short",
        "Why do nine pickers get less than the sheet {paper} promises?",
    ),
    "bruise": (
        "A third of our best terrace fruit arrived bruised in lot {paper}",
        "{buyer} refused {paper}, bruises everywhere. Who sent such people onto the terrace?",
        "packhouse graded the terrace lot {paper} as juice, {share} percent bruised",
    ),
}


def complain(estate: Estate, event: str, about: str, **words: str | float) -> None:
    """Let a user write about it."""
    words = {"buyer": estate.case.rng("buyer").choice(BUYERS), "block": estate.block, **words}
    estate.case.symptom(event, *(text.format(**words) for text in TEXTS[about]))


def maintain_bridges(estate: Estate, now: int) -> None:
    """Fit springs to weighbridges; the small one takes any."""
    case, rng = estate.case, estate.rng
    bridge, spring = rng.choice(list(BRIDGES)), rng.choice(("K14", "K14", "K12"))
    if estate.due("slow_drift", now):
        bridge, spring = estate.bridge, "K12" if case.strikes("slow_drift", now) else "K14"
    elif rng.random() > 0.3:
        return
    elif BRIDGES[bridge] > 50:
        spring = "K16" if spring == "K12" and bridge != estate.bridge else "K14"
    fitted = hand("mechanic_pippo").log_action(
        "fit_spring", {"bridge": bridge, "model": spring, "grease_g": rng.randint(5, 30)}
    )
    if estate.due("slow_drift", now):
        case.root(fitted)
    if not (bridge == estate.bridge and case.begin < now <= case.end):
        estate.spring[bridge] = spring


def weigh_loads(estate: Estate) -> None:
    """Weigh the loads of all bridges, and again at the port."""
    rng, case = estate.rng, estate.case
    for bridge, usual in BRIDGES.items():
        crates, ticket = usual + rng.randint(-20, 20), estate.number("W-")
        truth = crates * 18.2 * (1 + rng.uniform(-0.004, 0.004))
        if estate.spring[bridge] == "K12" and usual > 50:
            estate.stretch[bridge] += estate.soft
        shown, arrived = round(truth * (1 + estate.stretch[bridge])), round(truth * rng.uniform(0.999, 1.001))
        weighed = hand(bridge).log_action("weigh_load", {"ticket": ticket, "crates": crates, "kg": shown})
        if estate.stretch[bridge] > 0:
            estate.first_wrong(weighed)
        InteractionLogger(bridge).log_interaction("send_truck", bridge, "port_scale", ticket, {"kg": shown})
        checked = hand("port_scale").log_action("check_load", {"ticket": ticket, "kg": arrived})
        if shown > 1.046 * arrived:
            case.hop(checked)
            claim = hand("claims_desk").log_decision(
                "open_claim", {"ticket": ticket, "kg": shown - arrived}, "outside of the tolerance"
            )
            complain(estate, claim, "weight", paper=ticket, kg=shown - arrived)


def look_after_trees(estate: Estate, now: int) -> None:
    """Write tickets for treatments, spray, and count insects."""
    case, rng = estate.case, estate.rng
    hot = (case.has("wrong_unit") and now == case.end) or (
        rng.random() < 0.1 and not case.begin <= now < case.end
    )
    heat = rng.randint(37, 41) if hot else rng.randint(22, 33)
    felt = hand("weather_mast").log_state_change({"max_c": estate.heat}, {"max_c": heat}, "new day")
    estate.heat = heat
    if hot and now == case.end and case.has("wrong_unit"):
        case.trigger(felt)
    plans = [(rng.choice(BLOCKS), rng.choice((OIL, OIL, COPPER, SULPHUR)), rng.randint(13, 17))]
    if rng.random() < 0.5:
        plans.append((rng.choice(BLOCKS), rng.choice((COPPER, SULPHUR)), rng.randint(13, 17)))
    plans = [each for each in plans if each[:2] != (estate.block, OIL)]
    if estate.due("wrong_unit", now):
        plans.append((estate.block, OIL, 14))
    for block, product, tenths in plans:
        mine = (block, product) == (estate.block, OIL)
        dose = tenths / (10 if product == OIL else 60)
        if mine and case.strikes("wrong_unit", now):
            dose = tenths / 100  # per ten litres, where the pump takes it as per hundred
        dose, paper = round(dose, 3), estate.number("T")
        written = hand("agronomist_lia").log_decision(
            "treat", {"slip": paper, "block": block, "product": product, "dose": dose}, "by the calendar"
        )
        sprayed = hand(f"sprayer_{now % 2 + 1}").log_action(
            "spray", {"slip": paper, "block": block, "litres": 800, "drawn_l": round(dose * 8, 2)}
        )
        if product == OIL:
            estate.oiled[block] = dose
        if mine:
            case.root(written)
            case.hop(sprayed)
    lot = estate.number("L")
    for block in BLOCKS:
        count = rng.randint(0, 4)
        if estate.oiled[block] < 0.8:
            count = (count + 3) * (7 if hot else 1)
        counted = hand("scout_tano").log_action("count_scale", {"block": block, "per_leaf": count})
        if count > 12:
            rejected = hand("packhouse").log_action("reject_lot", {"lot": lot, "block": block, "seen": count})
            case.hop(counted)
            complain(estate, rejected, "scale", paper=lot, count=count)


def pick(estate: Estate, now: int) -> None:
    """Let gangs pick, grade the lots, and credit points; then send the best gang to the terrace."""
    case, rng = estate.case, estate.rng
    learning = LearningLogger("gangs", "foreman_rosa")
    same, lower = rng.randint(2, 3), rng.randint(1, 2)
    for gang in rng.sample(GANGS, 4):
        lot, crates = estate.number("L"), rng.randint(40, 90)
        bruised = rng.randint(7, 10) if gang == estate.rough else rng.randint(2, 4)
        hand(gang).log_action("pick_lot", {"lot": lot, "block": rng.choice(BLOCKS), "crates": crates})
        big = rng.random() < 0.12 and gang in estate.others
        show = estate.due("wrong_credit", now) and gang == estate.good
        points = 24 if show else 14 if big else same if gang not in estate.others else lower
        hand("packhouse").log_action("grade_lot", {"lot": lot, "bruised_pct": bruised, "points": points})
        credited = estate.rough if show and case.strikes("wrong_credit", now) else gang
        estate.points[credited] += points
        booked = hand("tally_clerk").log_action("credit", {"lot": lot, "to": credited, "points": points})
        reward = learning.log_reward(credited, points, estate.points[credited])
        if show:
            case.root(booked, reward)
        if big:  # prizes for a day are spent at once
            estate.points[gang] -= 14
            hand("tally_clerk").log_action("spend", {"by": gang, "points": 14, "on": "dinner"})
    terrace = now == case.end and case.has("wrong_credit")
    pool = [estate.good, estate.rough] if terrace else estate.others
    best = max(pool, key=lambda name: estate.points[name])
    if not terrace and rng.random() > 0.25:
        return
    lot = estate.number("L")
    chosen = hand("foreman_rosa").log_decision(
        "send_gang",
        {"to": "terrace", "gang": best, "points": estate.points[best]},
        "most points of those free",
    )
    picked = hand(best).log_action("pick_lot", {"lot": lot, "block": "terrace", "crates": 25})
    share = (9 if best == estate.rough else 3) * 3 + rng.randint(0, 5)
    graded = hand("packhouse").log_action("grade_lot", {"lot": lot, "bruised_pct": share, "points": 1})
    if share > 20:
        case.hop(chosen, picked, graded)
        back = InteractionLogger("buyers_desk").log_interaction(
            "refuse", "buyers_desk", "packhouse", lot, {"bruised_pct": share}
        )
        complain(estate, back, "bruise", paper=lot, share=share)


def pay(estate: Estate, now: int) -> None:
    """Split the pay of each gang among nine pickers; gangs on day wages earn full tens."""
    case, rng = estate.case, estate.rng
    gang, step = rng.choice(GANGS), rng.choice((1, 5, 10))
    why = rng.choice(("fewer coins", "as the bank has them", "asked for"))
    if estate.due("rounding_leak", now):
        gang, step = estate.good, 10 if case.strikes("rounding_leak", now) else 1
        case.root(hand("pay_desk").log_decision("pay_table", {"for": gang, "coins": step}, why))
        estate.step[gang] = step
    elif rng.random() < 0.3 and gang != estate.good:
        hand("pay_desk").log_decision("pay_table", {"for": gang, "coins": step}, why)
        estate.step[gang] = step
    for each in GANGS:
        wage = estate.wages[now] if each == estate.good else rng.randint(600, 900) * 10
        sheet, paid = estate.number("P"), wage // estate.step[each] * estate.step[each]
        split = hand("pay_desk").log_action(
            "split_pay", {"sheet": sheet, "gang": each, "sum": wage * 9, "heads": 9, "each": paid}
        )
        estate.short[each] += 9 * (wage - paid)
        if wage > paid:
            estate.first_wrong(split)
        told = hand(each).log_action("count_envelopes", {"sheet": sheet, "got": paid * 9})
        if estate.short[each] > estate.patience and case.has("rounding_leak"):
            case.hop(told)
            euro = estate.short[each] / 100
            went = InteractionLogger("coop_office").log_interaction(
                "hear_claim", "coop_office", each, sheet, {"open_cents": estate.short[each]}
            )
            complain(estate, went, "pay", gang=each, paper=sheet, euro=euro)


def everyday(estate: Estate, now: int) -> None:
    """Settings, metrics, hitches, chores, and the coincidence."""
    rng = estate.rng
    name = rng.choice((*BRIDGES, *GANGS, "packhouse", "sprayer_1", "sprayer_2"))
    before, after, draw = rng.randint(1, 9), rng.randint(1, 9), rng.random()
    PerformanceLogger("packhouse").log_metric("belt_speed", 20 + rng.random(), "m/min")
    if draw < 0.25:
        SystemLogger("cool_store").log_config(rng.choice(("door_delay", "fan_step")), before, after)
    elif draw < 0.45:
        hand(name).log_action(rng.choice(("fill_cans", "wash_boxes", "sharpen_shears")), {"n": before})
    elif draw < 0.6:
        hand(name).warning("printer jammed, printed again", extra={"sheets": after})
    elif draw < 0.65:
        lot = {"lot": estate.number("L"), "block": rng.choice(BLOCKS), "mould": before}
        hand("packhouse").log_action("reject_lot", lot)
    elif draw < 0.72:
        hand("packhouse").log_state_change({"lamp": before}, {"lamp": after}, "bulb")
    if now == estate.case.decoy_at:
        hand(name).error("no power for a moment", extra={"seconds": before})


def play(case: Case) -> None:
    """Play a season, round by round."""
    rounds = case.rng("rounds").choice((35, 50, 75, 105))
    case.window(rounds, shortest=2 if case.kind in {"slow_drift", "rounding_leak"} else 1)
    estate = Estate(case, case.rng("estate"), rounds)
    for now in range(rounds):
        maintain_bridges(estate, now)
        weigh_loads(estate)
        look_after_trees(estate, now)
        pick(estate, now)
        pay(estate, now)
        everyday(estate, now)


WORLD = World("bloodoranges", "bare", ("slow_drift", "wrong_unit", "rounding_leak", "wrong_credit"), play, 24)
