"""A sailing week: boats race in heats, timers clock them, reckoners correct the times, a scorer keeps the long cup.

Functions with typed loggers: actions, decisions, interactions, metrics, state changes and configuration; no ticks.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

SPORT = ("alk", "brisling", "cormorant", "dunlin", "eider", "fulmar", "garganey", "hobby")
CLASSIC = ("merganser", "noddy", "osprey", "petrel", "quail", "redshank")
MARKS = ("mark_red", "mark_green", "mark_blue")
TIMERS = ("timer_east", "timer_west")
RECKONERS = ("reckoner_ivy", "reckoner_joe")
WATCH_S = 8.0  # what a crew puts up with between its own watch and the clock
SLIP_S = 15.0  # and between its own reckoning and its slip
CUP_S = 0.5  # and between the sum of its slips and the table
KM = 1.852


@dataclass
class Week:
    """What the sailing week has in its books, and what is true besides."""

    case: Case
    heats: int
    target: str
    timer: str
    agents: dict[str, AgentLogger] = field(default_factory=dict)
    meets: InteractionLogger = field(default_factory=InteractionLogger)
    gauges: dict[str, PerformanceLogger] = field(default_factory=dict)
    office: SystemLogger = field(default_factory=lambda: SystemLogger("race_office"))
    allowance: dict[str, float] = field(default_factory=dict)  # seconds for a sea mile, as they should be
    papers: dict[str, float] = field(default_factory=dict)  # and as they were written down
    cup: dict[str, float] = field(default_factory=dict)  # the table
    own: dict[str, float] = field(default_factory=dict)  # the same, as each crew adds up its slips
    watch: dict[str, float] = field(default_factory=dict)  # the last heat of each boat, by its own watch
    clocked: dict[str, float] = field(default_factory=dict)
    reckoned: dict[str, float] = field(default_factory=dict)  # the same, corrected by the crew
    slip: dict[str, float] = field(default_factory=dict)
    miles: dict[str, float] = field(default_factory=dict)
    fast: float = 0.0  # what the clock of one timer gains in a heat
    is_whole: bool = False  # whether the sheet of the sport boats has whole seconds
    roots_left: int = 0
    slips: int = 300
    sheets: int = 20
    heat: int = 0


def fleet_of(boat: str) -> tuple[str, ...]:
    """Return the division of a boat."""
    return SPORT if boat in SPORT else CLASSIC


def timer_of(boat: str) -> str:
    """Return the timer who watches a boat: one for each side of the line."""
    fleet = fleet_of(boat)
    return TIMERS[fleet.index(boat) % 2]


def open_week(case: Case) -> Week:
    """Prepare boats, people and books."""
    rng = case.rng("week")
    slow = case.has("slow_drift") or case.has("rounding_leak")
    heats = rng.randint(60, 95)
    case.window(heats, shortest=5 if slow else 1)
    target = rng.choice(SPORT)
    week = Week(case, heats, target, timer_of(target))
    people = {
        **dict.fromkeys((*SPORT, *CLASSIC), "crew"),
        **dict.fromkeys(TIMERS, "timer"),
        **dict.fromkeys(RECKONERS, "reckoner"),
        **dict.fromkeys(MARKS, "mark_boat"),
        "race_officer": "officer",
        "scorer": "scorer",
        "jury_chair": "jury",
        "measurer": "measurer",
        "notice_board": "board",
        "bosun": "bosun",
    }
    week.agents = {name: AgentLogger(name, role) for name, role in people.items()}
    week.gauges = {name: PerformanceLogger(name, people[name]) for name in (*MARKS, "race_officer")}
    for boat in (*SPORT, *CLASSIC):
        week.allowance[boat] = round(rng.uniform(38, 110), 1)
        week.cup[boat] = week.own[boat] = 0.0
    week.allowance[target] = round(rng.uniform(70, 105), 1)
    week.office.log_simulation_start("sailing week", {"heats": heats})
    for boat in (*SPORT, *CLASSIC):
        certify(week, boat, week.allowance[boat])
    return week


def certify(week: Week, boat: str, allowance: float, *, in_km: bool = False) -> str:
    """Let the measurer write a certificate; an allowance is in seconds for a sea mile."""
    written = round(allowance / KM, 1) if in_km else allowance
    week.allowance[boat] = allowance
    week.papers[boat] = written
    return week.agents["measurer"].log_action("certify", {"sail": boat, "allowance": written})


def new_rig(week: Week, rng: random.Random) -> None:
    """Let boats be measured again, after work on the rig."""
    boat = rng.choice([one for one in (*SPORT, *CLASSIC) if one != week.target])
    week.agents[boat].log_action("book_measuring", {"because": rng.choice(("jib", "keel", "mast", "hull"))})
    shift = rng.choice((-1, 1)) * rng.choice((1.8, 2.6, 3.3, 17.5, 26.7))
    certify(week, boat, round(min(115.3, max(34.6, week.allowance[boat] + shift)), 1))


def choose_fleet(week: Week, heat: int) -> tuple[str, ...]:
    """Return the division that races in a heat."""
    case = week.case
    fixed = heat in (case.begin, case.begin + 1, case.begin + 2, case.begin + 3, case.end)
    return SPORT if week.case.rng(f"fleet/{heat}").random() < 0.62 or fixed else CLASSIC


def race(week: Week, rng: random.Random) -> None:
    """Sail one heat: the gun, the marks, the line, and the books."""
    heat, fleet = week.heat, choose_fleet(week, week.heat)
    miles = rng.choice((2.5, 3.0, 3.5, 4.0))
    if rng.random() < 0.1:
        week.agents["race_officer"].log_decision("shorten_course", {"heat": heat, "by": 0.5}, "dying breeze")
        miles -= 0.5
    order = list(rng.sample(MARKS, 2))
    week.agents["race_officer"].log_decision("set_course", {"heat": heat, "miles": miles, "marks": order})
    week.gauges["race_officer"].log_metric("breeze", round(rng.uniform(3, 14), 1), "m/s")
    for mark in order:
        week.gauges[mark].log_metric("current", round(rng.uniform(0, 1.2), 2), "kn")
    starters = rng.sample(fleet, rng.randint(4, 6))
    must = week.target in fleet and week.case.begin <= heat <= week.case.end
    if must and week.target not in starters:
        starters[rng.randrange(len(starters))] = week.target
    week.agents["race_officer"].log_action("gun", {"heat": heat, "starters": len(starters)})
    for mark in order:
        rng.shuffle(starters)
        for boat in starters:
            week.meets.log_interaction("round", boat, mark, f"heat_{heat}")
    for boat in starters:
        finish(week, boat, miles, rng)
    for boat in starters:
        again = boat == week.target and heat == week.case.begin and week.case.strikes("doubled_act", heat)
        reckon(week, boat, rng, again=again)


def finish(week: Week, boat: str, miles: float, rng: random.Random) -> None:
    """Clock a boat at the line."""
    heat, case = week.heat, week.case
    true = round(week.allowance[boat] * miles + rng.uniform(1400, 2300), 1)
    if (true - week.allowance[boat] * miles) % 1 < 0.35:
        true = round(true + 0.4, 1)
    timer = timer_of(boat)
    gained = week.fast * max(0, heat - case.begin) if timer == week.timer else 0.0
    clocked = round(true + gained, 1)
    noted = week.agents[timer].log_action("clock", {"sail": boat, "heat": heat, "sec": clocked})
    if gained and week.roots_left:
        case.root(noted)
        week.roots_left -= 1
    watch = round(true + rng.uniform(-0.6, 0.6), 1)
    week.watch[boat], week.clocked[boat], week.miles[boat] = watch, clocked, miles
    week.reckoned[boat] = round(watch - week.allowance[boat] * miles, 1)
    if rng.random() < 0.5:
        week.agents[boat].log_action("stop_watch", {"heat": heat, "sec": watch})


def reckon(week: Week, boat: str, rng: random.Random, *, again: bool) -> None:
    """Correct a time, write the slip, and add it to the cup."""
    heat, case = week.heat, week.case
    corrected = round(week.clocked[boat] - week.papers[boat] * week.miles[boat], 1)
    week.slips += 1
    slip, who = f"L{week.slips}", RECKONERS[rng.random() < 0.5]
    week.slip[boat] = corrected
    written = week.agents[who].log_action(
        "write_slip", {"slip": slip, "sail": boat, "heat": heat, "corrected": corrected}
    )
    if rng.random() < 0.06:  # the same slip, written once more and thrown away
        week.agents[who].warning("ink ran, slip written again", {"slip": slip})
        week.agents[who].log_action(
            "write_slip", {"slip": slip, "sail": boat, "heat": heat, "corrected": corrected}
        )
    week.own[boat] = round(week.own[boat] + corrected, 1)
    if boat == week.target and heat == case.end and case.has("wrong_unit"):
        case.hop(written)
    enter(week, boat, slip, corrected)
    slips = rng.random() < 0.04 and not (boat == week.target and heat == case.begin)
    if again:
        case.root(*enter(week, boat, slip, corrected))
    elif slips:  # twice, seen at once and struck out
        enter(week, boat, slip, corrected)
        week.agents["scorer"].log_action("strike_out", {"slip": slip})
        write_row(week, "scorer", boat, round(week.cup[boat] - corrected, 1), slip)


def enter(week: Week, boat: str, slip: str, corrected: float) -> tuple[str, str]:
    """Let the scorer add a slip to the table."""
    entered = week.agents["scorer"].log_action("enter_slip", {"slip": slip, "sail": boat})
    before = week.cup[boat]
    total = round(before + corrected, 1)
    if week.is_whole and boat in SPORT:
        total = float(math.floor(total))
    changed = write_row(week, "scorer", boat, total, slip)
    if total != round(before + corrected, 1) and week.roots_left:
        week.case.root(changed)
        week.roots_left -= 1
    return entered, changed


def write_row(week: Week, who: str, boat: str, total: float, why: str, before: float | None = None) -> str:
    """Write a row of the table."""
    old = week.cup[boat] if before is None else before
    week.cup[boat] = total
    return week.agents[who].log_state_change({"sail": boat, "cup": old}, {"sail": boat, "cup": total}, why)


def new_sheet(week: Week) -> str:
    """Let the scorer begin a new sheet of the table."""
    week.sheets += 1
    return week.agents["scorer"].log_action("begin_sheet", {"sheet": week.sheets, "rows": len(week.cup)})


def change_cell(week: Week, timer: str) -> str:
    """Let a timer change the cell of the clock."""
    return week.agents[timer].log_action("change_cell", {"heat": week.heat})


def hear(week: Week, boat: str, other: str, rng: random.Random, *, penalty: int, heats_between: bool) -> None:
    """Hear a protest; the row is read again before it is written if a heat may have come between."""
    jury = week.agents["jury_chair"]
    week.meets.log_interaction("protest", other, boat, f"heat_{week.heat}")
    read = read_row(week, boat)
    if heats_between:
        race(week, rng)
        read = read_row(week, boat)
    jury.log_decision("penalise" if penalty else "dismiss", {"sail": boat, "sec": penalty}, "rule 18")
    if penalty:
        write_row(week, "jury_chair", boat, round(read[1] + penalty, 1), "penalty", read[1])
        week.own[boat] = round(week.own[boat] + penalty, 1)


def read_row(week: Week, boat: str) -> tuple[str, float]:
    """Let the jury read a row of the table."""
    seen = week.agents["jury_chair"].log_action("read_row", {"sail": boat, "cup": week.cup[boat]})
    return seen, week.cup[boat]


def hear_target(week: Week, rng: random.Random) -> None:
    """Hear a protest against the boat of the case, while its heat is sailed."""
    case, boat, jury = week.case, week.target, week.agents["jury_chair"]
    week.meets.log_interaction("protest", rng.choice(CLASSIC), boat, f"heat_{week.heat - 1}")
    event, value = read_row(week, boat)
    race(week, rng)
    if not case.strikes("lost_update", week.heat):
        event, value = read_row(week, boat)
    penalty = rng.choice((20, 30, 40))
    jury.log_decision("penalise", {"sail": boat, "sec": penalty}, "rule 18")
    case.root(write_row(week, "jury_chair", boat, round(value + penalty, 1), "penalty", value), event)
    week.own[boat] = round(week.own[boat] + penalty, 1)


def compare(week: Week, boat: str, what: str) -> None:
    """Let a crew compare what it knows with what is posted; what it does not put up with is the symptom."""
    case, crew = week.case, week.agents[boat]
    if what == "cup":
        own, shown, bearable = week.own[boat], week.cup[boat], CUP_S
    elif what == "time":
        own, shown, bearable = week.watch[boat], week.clocked[boat], WATCH_S
    else:
        own, shown, bearable = week.reckoned[boat], week.slip[boat], SLIP_S
    posted = week.agents["notice_board"].log_action("pin_up", {"sail": boat, what: shown})
    week.meets.log_interaction("read_board", boat, "notice_board", data={"own": own, "posted": shown})
    if abs(own - shown) <= bearable:
        crew.log_decision("keep_quiet", {"about": what})
        return
    case.hop(posted)
    event = crew.log_action("hand_in_query", {"about": what, "own": own, "posted": shown})
    said = {
        "cup": (
            f"{boat} says that the table is wrong: it has {shown}, and the crew adds up to {own}",
            "Somebody's total for the long cup does not agree with the slips, and we have to explain it by tonight",
            f"How can a crew have {own} seconds and the posted list {shown}? They kept every slip.",
        ),
        "time": (
            f"the crew of {boat} stopped {own} s, and we posted {shown}. Their watch was checked",
            "A boat complains about its finishing time in the last race, and has witnesses on the pier",
            f"Why is the time of {boat} so far from that on its own watch? race_officer saw nothing odd at the line.",
        ),
        "slip": (
            f"{boat} cannot follow its corrected time: {shown}, where it reckons {own}",
            f"The result of {boat} in heat {week.heat} cannot be right, it is not even close",
            "A skipper wants his placing explained. He says that he did better than what hangs on the wall.",
        ),
    }[what]
    case.symptom(event, *said)


def compare_some(week: Week, rng: random.Random) -> None:
    """Let some crews compare; those whom the fault would meet do so only when it is due."""
    case, heat = week.case, week.heat
    for boat in rng.sample([*SPORT, *CLASSIC], 3):
        what = rng.choice(("cup", "time", "slip"))
        if boat not in week.slip:
            continue
        waits = case.begin <= heat and boat in SPORT
        if waits and (boat == week.target or case.has("rounding_leak") or case.has("slow_drift")):
            continue
        compare(week, boat, what)
    if heat == case.end:
        sort = {"slow_drift": "time", "wrong_unit": "slip"}
        compare(week, week.target, sort.get(case.kind, "cup"))


def everyday(week: Week, rng: random.Random) -> None:
    """Do what happens in any week."""
    if rng.random() < 0.3:
        change_cell(week, rng.choice(TIMERS))
    if rng.random() < 0.2:
        new_sheet(week)
    if rng.random() < 0.25:
        new_rig(week, rng)
    if rng.random() < 0.25:
        name = rng.choice(("start_interval", "flag_height", "vhf_channel", "berth_fee"))
        week.office.log_config(name, rng.randint(3, 70), rng.randint(3, 70))
    if rng.random() < 0.2:
        week.agents["bosun"].log_action("patch_rib", {"rib": rng.randint(1, 4)})
    if rng.random() < 0.12:
        week.agents[rng.choice(MARKS)].warning("anchor dragged, laid again")
    if rng.random() < 0.08:
        week.agents["notice_board"].error("printer out of paper, sheet printed again")
    if rng.random() < 0.06:
        week.agents[rng.choice(CLASSIC)].log_action(
            "hand_in_query", {"about": rng.choice(("berth", "parking"))}
        )
    if rng.random() < 0.02:
        week.agents["bosun"].log_action("tow_in", {"sail": rng.choice(CLASSIC)})
    for _ in range(rng.randint(0, 3)):
        one, other = rng.sample(SPORT, 2)
        week.meets.log_interaction(
            "hail", one, other, data={"call": rng.choice(("room", "starboard", "tack"))}
        )


def fault(week: Week, rng: random.Random) -> bool:
    """Do what the plan has for this heat, with the fault or without it; tell whether the heat was sailed."""
    case, heat = week.case, week.heat
    if heat != case.begin:
        return False
    if case.has("slow_drift"):
        case.root(change_cell(week, week.timer))
        if case.strikes("slow_drift", heat):
            week.fast, week.roots_left = 1.4 * WATCH_S / (case.end - case.begin), 3
    elif case.has("rounding_leak"):
        case.root(new_sheet(week))
        if case.strikes("rounding_leak", heat):
            week.is_whole, week.roots_left = True, 3
    elif case.has("wrong_unit"):
        week.agents[week.target].log_action("book_measuring", {"because": "jib"})
        new = round(week.allowance[week.target] + rng.choice((-2.7, -1.9, 1.6, 2.8)), 1)
        case.root(certify(week, week.target, new, in_km=case.strikes("wrong_unit", heat)))
    elif case.has("lost_update"):
        hear_target(week, rng)
        return True
    return False


def play(case: Case) -> None:
    """Play the week, heat by heat."""
    week = open_week(case)
    for heat in range(1, week.heats + 1):
        week.heat = heat
        rng = case.rng(f"heat/{heat}")
        if heat % 9 == 1:
            week.office.log_phase(f"day_{heat // 9 + 1}")
        everyday(week, case.rng(f"everyday/{heat}"))
        sailed = fault(week, case.rng(f"fault/{heat}"))
        talk = case.rng(f"jury/{heat}")
        if not sailed and talk.random() < 0.3:
            accused, accuser = talk.sample([boat for boat in (*SPORT, *CLASSIC) if boat != week.target], 2)
            between = talk.random() < 0.5
            hear(week, accused, accuser, rng, penalty=talk.choice((0, 0, 20, 30, 40)), heats_between=between)
            sailed = between
        if not sailed:
            race(week, rng)
        if heat == case.decoy_at:
            week.agents["jury_chair"].log_action("swap_pens", {"heat": heat})
            week.agents[week.target].warning("sheet jammed, cut free")
        elif talk.random() < 0.1:
            week.agents[talk.choice(SPORT)].warning("sheet jammed, cut free")
        compare_some(week, case.rng(f"compare/{heat}"))
    week.office.log_simulation_end("sailing week")


WORLD = World(
    "regatta",
    "bare",
    ("slow_drift", "rounding_leak", "wrong_unit", "lost_update", "doubled_act"),
    play,
    author=17,
)
