"""Flood watch of a river basin: gauges, sluices, ponds, crests of dikes, barriers, and the people who are called."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

VILLAGES = (
    "alder ashby birkdale cowley dunmere eskham farnley gorsey hexwell ivelby jarrow_mill kelham lintz marl"
).split()
LIMITS = {"bank": 0.4, "bags": 0.4}


@dataclass
class Reach:
    """What is true of the river at a village, and what is thought of it."""

    name: str
    dike: float
    crest: float
    close_at: float
    whole: bool
    drift: float = 0.0
    step: float = 0.0
    stage: float = 2.0
    reading: float = 2.0
    rest: float = 0.0
    room: float = 50.0
    decimals: int = 2
    inflow: float = 0.0
    waves: dict[int, float] = field(default_factory=dict)


@dataclass
class Basin:
    """The basin and its plan."""

    case: Case
    hours: int
    rng: random.Random
    reaches: list[Reach]
    key: Reach
    wave: float
    flows: list[float]
    noted: int = 0


def log_of(role: str, reach: Reach | None = None) -> AgentLogger:
    """Return the logger of an agent, which belongs to a village or to the headquarters."""
    return AgentLogger(f"{role}_{reach.name}" if reach else role, role)


def lay_out(case: Case, hours: int) -> Basin:
    """Draw the basin."""
    rng = case.rng("basin")
    reaches = []
    for number, name in enumerate(rng.sample(VILLAGES, rng.choice((4, 7, 11)))):
        dike = round(rng.uniform(3.8, 5.2), 2)
        reaches.append(Reach(name, dike, dike, round(dike - 0.8, 2), whole=number % 2 == 1))
        reaches[-1].decimals = 0 if reaches[-1].whole else 2
    key = rng.choice([reach for reach in reaches if not reach.whole])
    for reach in reaches:
        for hour in range(hours):
            if rng.random() < 0.03 and (reach is not key or hour < case.begin):
                reach.waves[hour] = round(rng.uniform(1.0, reach.dike - 1.4), 2)
            if rng.random() < 0.01 and reach is not key:
                reach.waves[hour] = round(reach.dike - 2.0 + rng.uniform(0.1, 0.6), 2)
    flows = [round(rng.uniform(3, 9), 2) for _ in range(hours)]
    return Basin(case, hours, rng, reaches, key, rng.uniform(0.3, 0.8), flows)


def ring(basin: Basin, reach: Reach, what: str, cause: str) -> None:
    """Let somebody of a village ring the hotline."""
    case = basin.case
    called = InteractionLogger().log_interaction(
        "phone_call", f"warden_{reach.name}", "hotline", data={"about": what}
    )
    case.hop(cause, called)
    noted = log_of("hotline").log_action("note_call", {"from": reach.name, "about": what})
    case.symptom(noted, *(text.format(village=reach.name) for text in CALLS[what]))


def maintain(basin: Basin, hour: int) -> None:
    """Clean wells, survey dikes, begin new sheets, set thresholds."""
    case, rng, key = basin.case, basin.rng, basin.key
    others = [reach for reach in basin.reaches if reach is not key]
    starts = hour == case.begin
    visited = key if starts and case.has("slow_drift") else rng.choice(others)
    if visited is key or rng.random() < 0.1:
        cleaned = log_of("technician").log_action(
            "clean_well", {"gauge": visited.name, "min": rng.randint(9, 60)}
        )
        if visited is key:
            case.root(cleaned)
    if case.strikes("slow_drift", hour):
        key.step = 0.415 / (case.end - case.begin)
    surveyed = key if starts and case.has("wrong_unit") else rng.choice(others)
    if surveyed is key or rng.random() < 0.08:
        surveyed.crest = round(surveyed.dike * (3.28 if case.strikes("wrong_unit", hour) else 1), 2)
        entered = log_of("surveyor").log_action(
            "enter_crest", {"village": surveyed.name, "crest": surveyed.crest}
        )
        if surveyed is key:
            case.root(entered)
    booked = key if starts and case.has("rounding_leak") else rng.choice(others)
    if booked is key or rng.random() < 0.08:
        if booked is key:
            booked.decimals = 0 if case.strikes("rounding_leak", hour) else 2
        sheet = log_of("clerk").log_action("begin_sheet", {"pond": booked.name, "decimals": booked.decimals})
        if booked is key:
            case.root(sheet)
    barred = key if starts and case.has("config_change") else rng.choice(others)
    if barred is key or rng.random() < 0.12:
        old = barred.close_at
        lower = rng.uniform(0.6, 1.0)
        barred.close_at = round(
            barred.dike + 1.3 if case.strikes("config_change", hour) else barred.dike - lower, 2
        )
        data = {"barrier": barred.name, "close_at": barred.close_at}
        decided = log_of("duty_officer").log_action("set_threshold", data)
        config = SystemLogger().log_config(f"close_at_{barred.name}", old, barred.close_at)
        if barred is key:
            case.root(decided, config)


def gauge(basin: Basin, reach: Reach, hour: int) -> None:
    """Let the river rise or fall, read it, and turn the sluice by what was read."""
    case, rng = basin.case, basin.rng
    wave = reach.waves.get(hour, 0.0)
    if hour == case.end and reach is basin.key and case.kind in {"wrong_unit", "config_change"}:
        wave = reach.dike - 2 + basin.wave
    reach.drift += reach.step
    reach.stage = round(2.0 + wave + reach.drift + rng.uniform(-0.01, 0.01), 3)
    reach.reading = round(reach.stage - reach.drift, 3)
    told = log_of("gauge", reach).log_action("report_stage", {"stage": reach.reading, "hour": hour})
    if hour % 3 == 0:
        PerformanceLogger(f"gauge_{reach.name}").log_metric("stage", reach.reading, "m")
    if wave > 1 and reach is basin.key and hour == case.end:
        case.trigger(told)
    opening = round(50 - 40 * reach.drift + rng.uniform(-1, 1), 1)
    turned = log_of("sluice", reach).log_action("turn", {"open_pct": opening, "by": reach.reading})
    if reach.step and basin.noted < 3:
        basin.noted += 1
        case.root(told, turned)
    seen = "dry" if wave or reach.drift < LIMITS["bank"] else "under water"
    if hour % 2 == 0 or seen != "dry":
        walked = log_of("warden", reach).log_action("walk_meadow", {"meadow": seen, "hour": hour})
        if seen != "dry":
            case.hop(turned)
            ring(basin, reach, "meadow", walked)


def pond(basin: Basin, reach: Reach, hour: int) -> None:
    """Let out of a pond what the sheet says came in; the rest stays and adds up."""
    case, rng = basin.case, basin.rng
    comes = basin.flows[hour] if reach is basin.key else rng.uniform(3, 9)
    reach.inflow = float(round(comes)) if reach.whole else round(comes, 2)
    booked = math.floor(reach.inflow) if reach.decimals == 0 else reach.inflow
    entry = log_of("clerk").log_action("book_inflow", {"pond": reach.name, "m3": booked})
    let_out = log_of("keeper", reach).log_action("let_out", {"m3": booked, "came": reach.inflow})
    reach.rest = round(reach.rest + reach.inflow - booked, 2)
    if booked != reach.inflow and basin.noted < 3:
        basin.noted += 1
        case.root(entry)
    if reach.rest > reach.room:
        case.hop(let_out)
        spilled = log_of("warden", reach).log_state_change(
            {"pond": "brimming"}, {"pond": "spilling", "rest": reach.rest}, "level over the weir"
        )
        ring(basin, reach, "pond", spilled)
        reach.rest = 0.0


def defend(basin: Basin, reach: Reach, hour: int) -> None:
    """Forecast, warn, close barriers, and see what stays dry."""
    case = basin.case
    warns = reach.reading > reach.crest - LIMITS["bags"]
    outlook = ""
    if warns or hour % 4 == 0:
        outlook = log_of("forecaster").log_decision(
            "outlook",
            {"village": reach.name, "warn": warns, "margin": round(reach.crest - reach.reading, 2)},
            reasoning="margin under forty centimetres" if warns else "margin is fine",
        )
    bags = warns
    if bags:
        InteractionLogger().log_interaction("warning_call", "duty_officer", f"warden_{reach.name}")
        log_of("warden", reach).log_action("lay_sandbags", {"hour": hour})
    closes = reach.reading >= reach.close_at
    if closes:
        log_of("barrier", reach).log_state_change(
            {"gate": "open"}, {"gate": "closed"}, "stage over threshold"
        )
    over = reach.stage > reach.dike
    if over and not bags:
        outlook = outlook or log_of("forecaster").log_decision(
            "outlook", {"village": reach.name, "warn": False, "margin": round(reach.crest - reach.reading, 2)}
        )
        case.hop(outlook)
        ring(basin, reach, "street", log_of("warden", reach).log_action("find_water", {"hour": hour}))
    elif over and not closes:
        stayed = log_of("barrier", reach).log_action("stay_open", {"stage": reach.reading, "hour": hour})
        case.hop(stayed)
        ring(basin, reach, "quay", log_of("warden", reach).log_action("find_water", {"hour": hour}))


def chores(basin: Basin, hour: int) -> None:
    """Do what is done anyway."""
    rng, reach = basin.rng, basin.rng.choice(basin.reaches)
    draw = rng.random()
    if draw < 0.2:
        log_of("duty_officer").log_action("brief_shift", {"staff": rng.randint(2, 6)})
    elif draw < 0.3:
        SystemLogger().log_config(
            rng.choice(("map_colour", "siren_test_day", "poll_s")), 3, rng.randint(1, 9)
        )
    elif draw < 0.4:
        log_of("gauge", reach).warning("telegram late, polled again", extra={"s": rng.randint(20, 400)})
    elif draw < 0.5:
        InteractionLogger().log_interaction(
            "phone_call",
            f"warden_{reach.name}",
            "hotline",
            data={"about": rng.choice(("drone", "thanks", "mud"))},
        )
    if hour == basin.case.decoy_at:
        log_of("forecaster").error("radar picture missing, used the one before", extra={"hour": hour})


CALLS = {
    "meadow": (
        "The cows stand in water at {village} and no gauge says so",
        "our meadow is drowned, and upstream nothing has happened, it has not rained for days",
        "warden_{village} found the low meadow flooded although the river is normal on your page",
        "why does the water behind the sluice at {village} keep creeping up?",
    ),
    "pond": (
        "the pond at {village} ran over, right into my cellar",
        "Water over the weir of the {village} pond with no rain at all!",
        "keeper_{village} lets out too little, the pond is spilling",
        "warden_{village} is up to the knees in the pond that should never be full",
    ),
    "street": (
        "Nobody warned us! There is water in the street of {village}",
        "{village} is flooded and not one sandbag was laid.",
        "warden_{village} was told nothing, and now the school has a metre of water",
        "forecaster had seen it all and still there was no warning for {village}",
    ),
    "quay": (
        "the quay is gone under, why was the gate open",
        "barrier_{village} did not close and the river came in",
        "We were warned, we laid our bags, and still the harbour of {village} filled up through the open gate.",
        "warden_{village} says that the gate never moved",
    ),
}


def play(case: Case) -> None:
    """Watch a river for some days or weeks."""
    hours = case.rng("hours").choice((48, 96, 168, 168, 336, 620))
    case.window(hours, shortest=3)
    basin = lay_out(case, hours)
    if case.has("rounding_leak"):
        leaks = [flow - math.floor(flow) for flow in basin.flows[case.begin : case.end + 1]]
        basin.key.room = round(sum(leaks) - 0.005, 3)
        basin.flows[case.end] = max(basin.flows[case.end], math.floor(basin.flows[case.end]) + 0.01)
    for hour in range(hours):
        with tick(hour):
            maintain(basin, hour)
            for reach in basin.reaches:
                gauge(basin, reach, hour)
                pond(basin, reach, hour)
                defend(basin, reach, hour)
            chores(basin, hour)


WORLD = World("floodwatch", "bare", ("slow_drift", "wrong_unit", "rounding_leak", "config_change"), play, 28)
