"""The weekend of a marathon: mats that read chips, tills for good causes, a roster of helpers, and a store of boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

MATS = {"mat_5k": 5.0, "mat_10k": 10.0, "mat_half": 21.1, "mat_30k": 30.0, "mat_finish": 42.2}
TILLS = {"cashier_north": "till N", "cashier_south": "till S", "cashier_expo": "till E"}
POTS = ("hospice", "lifeboat", "school meals")
TABLES = {
    "captain_canal": "Canal",
    "captain_forest": "Forest",
    "captain_bridge": "Bridge",
    "captain_park": "Park",
}
TEAMS = ("scouts", "rowing club", "choir", "bank staff", "fire cadets", "school 9b")
ITEMS = ("gels", "cups", "sponges", "foil blankets", "bananas", "safety pins")
CLERKS = ("clerk_dora", "clerk_emre", "clerk_finn")
BEATS = 2  # time signals that a mat answers in a slot of ten minutes
TOLERATED_S = 5.0


@dataclass
class Weekend:
    """What is true on the weekend, with the loggers of everyone."""

    case: Case
    slots: int
    log: dict[str, AgentLogger]
    gauge: dict[str, PerformanceLogger]
    traffic: InteractionLogger
    system: SystemLogger
    mat: str
    cashier: str
    captain: str
    item: str
    ahead: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MATS, 0.0))
    gains: dict[str, float] = field(default_factory=lambda: dict.fromkeys(MATS, 0.0))
    floors: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(TILLS, False))
    cash: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TILLS, 0))
    shared: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TILLS, 0))
    book: dict[str, int] = field(default_factory=dict)
    shelf: dict[str, int] = field(default_factory=dict)
    wanted: list[tuple[int, str, int]] = field(default_factory=list)
    roster: list[tuple[int, str, str]] = field(default_factory=list)
    config: dict[str, int] = field(default_factory=dict)
    serial: int = 0


def following(weekend: Weekend) -> int:
    """Return the next serial number."""
    weekend.serial += 1
    return weekend.serial


# ---- mats and times


def change_cell(weekend: Weekend, mat: str, slot: int, planned: bool) -> None:
    """Let the technician change the cell of a mat, after which its clock is set to the signal."""
    case = weekend.case
    done = weekend.log["technician"].log_action("change_cell", {"mat": mat, "volts": 3.6, "slot": slot})
    if planned:
        case.root(done)
        if case.strikes("slow_drift", slot):
            weekend.gains[mat] = 6.0 / (BEATS * (case.end - case.begin) + 1)


def beat(weekend: Weekend, slot: int, rng: Random) -> None:
    """Let all mats answer the time signal with their own clock."""
    case = weekend.case
    for number in range(BEATS):
        for mat in MATS:
            weekend.ahead[mat] += weekend.gains[mat]
            signal = 600 * slot + 300 * number
            own = round(signal + weekend.ahead[mat] + rng.uniform(-0.15, 0.15), 2)
            event = weekend.log[mat].log_action("answer_signal", {"own_s": own, "signal_s": signal})
            if case.has("slow_drift") and mat == weekend.mat and slot >= case.begin and len(case.roots) < 4:
                case.root(event)


def pass_mat(weekend: Weekend, mat: str, slot: int, rng: Random) -> None:
    """Let a runner pass a mat, and the referee look at the time; one who is put on hold is a symptom."""
    case, bib = weekend.case, 1000 + following(weekend)
    pace = rng.uniform(4.2, 6.8)
    due = 60 * pace * MATS[mat]
    lap = due + weekend.ahead[mat] + rng.uniform(-0.8, 0.8)
    read = weekend.log[mat].log_action("read_chip", {"bib": bib, "after_s": round(lap, 1)})
    video = round(due + rng.uniform(-0.8, 0.8), 1)
    odd = abs(lap - video) > TOLERATED_S
    verdict = weekend.log["referee"].log_decision(
        "release_time" if not odd else "hold_time",
        {"bib": bib, "chip_s": round(lap, 1), "film_s": video},
        "chip and film compared",
    )
    if odd:
        case.hop(read)
        told = weekend.log["speaker"].log_action("leave_out", {"bib": bib, "list": "provisional"})
        case.hop(verdict)
        case.symptom(
            told,
            f"Runner {bib} is missing from the list, although everybody saw her come past {mat}.",
            f"Why was the time of number {bib} not released?",
            f"The referee has put {bib} on hold, and the runner swears that the time of the chip is wrong.",
            f"A time at {mat} does not agree with the film. It did in the morning.",
        )


# ---- money


def open_sheet(weekend: Weekend, cashier: str, slot: int, planned: bool) -> None:
    """Open a new sheet for a till."""
    case, sheet = weekend.case, following(weekend)
    data = {"till": TILLS[cashier], "sheet": sheet, "columns": len(POTS)}
    opened = weekend.log[cashier].log_action("open_sheet", data)
    if planned:
        case.root(opened)
        weekend.floors[cashier] = case.strikes("rounding_leak", slot)


def donate(weekend: Weekend, cashier: str, slot: int, rng: Random) -> None:
    """Take a donation and share it among the good causes."""
    case, cents = weekend.case, 3 * rng.randint(60, 1700) + rng.randint(1, 2)
    receipt = f"R{following(weekend):05}"
    weekend.log[cashier].log_action("take_cash", {"receipt": receipt, "cents": cents})
    part = cents // len(POTS)
    parts = [part, part, part if weekend.floors[cashier] else cents - 2 * part]
    weekend.cash[cashier] += cents
    weekend.shared[cashier] += sum(parts)
    entry = weekend.log[cashier].log_action(
        "enter_parts", {"receipt": receipt, **dict(zip(POTS, parts, strict=True))}
    )
    watched = case.has("rounding_leak") and cashier == weekend.cashier and slot >= case.begin
    if watched and len(case.roots) < 4:
        case.root(entry)


def close_till(weekend: Weekend, cashier: str) -> None:
    """Count a till and compare it with its sheet; a till that does not agree is a symptom."""
    case, till = weekend.case, TILLS[cashier]
    bag = weekend.log[cashier].log_action("hand_in_bag", {"till": till, "cents": weekend.cash[cashier]})
    total = weekend.log["treasurer"].log_action(
        "add_up", {"till": till, "bag": weekend.cash[cashier], "sheet": weekend.shared[cashier]}
    )
    off = weekend.cash[cashier] - weekend.shared[cashier]
    report = weekend.log["auditor"].log_decision(
        "sign" if off == 0 else "send_back", {"till": till, "cents_apart": off}, "bag against sheet"
    )
    if off:
        case.hop(bag, total)
        case.symptom(
            report,
            f"The auditor sent {till} back: there are {off} cents in the bag that belong to nobody.",
            f"Why do bag and sheet of {till} differ by {off} cents?",
            f"The treasurer counted {till} three times. The money is there and the good causes got less.",
            f"Where do the {off} cents in {till} come from?",
        )
    weekend.cash[cashier] = weekend.shared[cashier] = 0


# ---- helpers


def ask_cover(weekend: Weekend, captain: str, at: int, team: str, slot: int, planned: bool = False) -> None:
    """Ask for hands at a table, and let the planner enter a team."""
    case, ask, entered = weekend.case, following(weekend), at
    weekend.log[captain].log_action("ask_for_hands", {"ask": ask, "table": TABLES[captain], "slot": at})
    if planned and case.strikes("off_by_one", slot):
        entered += 1
    done = weekend.log["planner"].log_decision(
        "enter_team", {"ask": ask, "table": TABLES[captain], "team": team, "slot": entered}, "free and near"
    )
    if planned:
        case.root(done)
    weekend.wanted.append((at, captain, ask))
    weekend.roster.append((entered, captain, team))


def open_tables(weekend: Weekend, slot: int, rng: Random) -> None:
    """Open the tables that are due; a runner who gets no water there is a symptom."""
    case = weekend.case
    for at, captain, team in [one for one in weekend.roster if one[0] == slot]:
        weekend.traffic.log_interaction(
            "report_for_duty", source_id=team, target_id=captain, data={"slot": at}
        )
    for _, captain, ask in [one for one in weekend.wanted if one[0] == slot]:
        here = [team for at, table, team in weekend.roster if (at, table) == (slot, captain)]
        opened = weekend.log[captain].log_action(
            "open_table", {"ask": ask, "table": TABLES[captain], "teams": here, "slot": slot}
        )
        bib = rng.randint(1000, 6000)
        if here:
            continue
        case.hop(opened)
        treated = weekend.log["first_aid"].log_action(
            "treat", {"bib": bib, "for": "thirst", "near": TABLES[captain]}
        )
        case.symptom(
            treated,
            f"A runner collapsed from thirst near {TABLES[captain]}. Why was nobody there to hand out water?",
            f"{captain} stood alone at the table in slot {slot}. A team had been asked for.",
            f"Number {bib} got nothing to drink at {TABLES[captain]} and had to be treated.",
            f"Why did nobody come to help {captain} in slot {slot}?",
        )


# ---- store


def look_up(weekend: Weekend, clerk: str, item: str) -> tuple[int, str]:
    """Let a clerk look up how many boxes there are."""
    boxes = weekend.book[item]
    return boxes, weekend.log[clerk].log_action("look_up", {"item": item, "boxes": boxes})


def write_stock(weekend: Weekend, clerk: str, item: str, seen: int, change: int, voucher: int) -> str:
    """Let a clerk write the number of boxes after a voucher."""
    weekend.book[item] = seen + change
    weekend.shelf[item] += change
    return weekend.log[clerk].log_state_change(
        {"item": item, "boxes": seen}, {"item": item, "boxes": seen + change}, f"voucher {voucher}"
    )


def two_vouchers(weekend: Weekend, slot: int, rng: Random) -> None:
    """Let two clerks enter a delivery and an issue of the same item, shortly after each other."""
    case, item = weekend.case, weekend.item
    one, other = rng.sample(CLERKS, 2)
    first, second = following(weekend), following(weekend)
    out, into = -rng.randint(110, 150), rng.randint(15, 30)
    early = case.strikes("lost_update", slot)
    if early:
        seen, looked = look_up(weekend, one, item)
    weekend.log[other].log_action("open_voucher", {"voucher": first, "item": item, "boxes": out})
    before, _ = look_up(weekend, other, item)
    issued = write_stock(weekend, other, item, before, out, first)
    weekend.log[one].log_action("open_voucher", {"voucher": second, "item": item, "boxes": into})
    if not early:
        seen, looked = look_up(weekend, one, item)
    written = write_stock(weekend, one, item, seen, into, second)
    case.root(written, looked, issued)


def supply(weekend: Weekend, captain: str, item: str, boxes: int) -> None:
    """Send boxes to a table, from the store if the book has enough; a table that gets too few is a symptom."""
    case, trip = weekend.case, following(weekend)
    enough = weekend.book[item] >= boxes
    data = {"trip": trip, "item": item, "boxes": boxes, "in_book": weekend.book[item]}
    chosen = weekend.log["dispatcher"].log_decision(
        "store" if enough else "wholesaler", data, "book of the store"
    )
    got = min(boxes, weekend.shelf[item]) if enough else boxes
    porter = weekend.log["porter"].log_action("carry", {"trip": trip, "item": item, "boxes": got})
    arrived = weekend.log[captain].log_action(
        "sign_for", {"trip": trip, "item": item, "boxes": got, "asked": boxes}
    )
    if enough:
        weekend.book[item] -= got
        weekend.shelf[item] -= got
        entered = {"item": item, "boxes": weekend.book[item]}
        weekend.log["dispatcher"].log_state_change(
            {"item": item, "boxes": data["in_book"]}, entered, f"trip {trip}"
        )
    if got < boxes:
        case.hop(chosen, porter)
        case.trigger(chosen)
        case.symptom(
            arrived,
            f"{captain} was promised {boxes} boxes of {item} and got {got}. Where is the rest?",
            f"Why did the store run out of {item}? The book says that there are plenty.",
            f"The table of {captain} ran out of {item} in the middle of the field.",
            f"There were only {got} boxes of {item} on the shelf for trip {trip}.",
        )


# ---- the weekend


def everyday(weekend: Weekend, slot: int) -> None:
    """Play what goes on in a slot anyway."""
    case, rng = weekend.case, weekend.case.rng(f"slot {slot}")
    beat(weekend, slot, rng)
    for mat in rng.sample(sorted(MATS), rng.randint(1, 3)):
        pass_mat(weekend, mat, slot, rng)
    for cashier in TILLS:
        for _ in range(rng.randint(1, 2)):
            donate(weekend, cashier, slot, rng)
    for cashier in TILLS:
        held = case.has("rounding_leak") and cashier == weekend.cashier and slot >= case.begin
        if rng.random() < 0.09 and not held:
            close_till(weekend, cashier)
            if rng.random() < 0.7:
                open_sheet(weekend, cashier, slot, planned=False)
    if rng.random() < 0.14:
        mat = rng.choice([one for one in MATS if one != weekend.mat or slot < case.begin])
        change_cell(weekend, mat, slot, planned=False)
    for captain in TABLES:
        lead = max(1, round(math.exp(rng.uniform(0, math.log(0.6 * weekend.slots)))))
        if rng.random() < 0.35 and not (case.has("off_by_one") and captain == weekend.captain):
            ask_cover(weekend, captain, slot + lead, rng.choice(TEAMS), slot)
    quiet = case.has("lost_update") and case.begin <= slot <= case.end
    items = [one for one in ITEMS if not (quiet and one == weekend.item)]
    for _ in range(rng.randint(0, 2)):
        clerk, item = rng.choice(CLERKS), rng.choice(items)
        seen, _ = look_up(weekend, clerk, item)
        if rng.random() < 0.3:
            look_up(weekend, rng.choice(CLERKS), item)
        if rng.random() < 0.7:
            change = rng.randint(20, 80) if seen < 250 else -rng.randint(10, 60)
            write_stock(weekend, clerk, item, seen, change, following(weekend))
    if rng.random() < 0.35:
        supply(weekend, rng.choice(sorted(TABLES)), rng.choice(items), rng.randint(10, 90))
    if rng.random() < 0.2:
        name = rng.choice(("speaker_volume", "barrier_metres", "toilet_round", "music_list", "lamp_timer"))
        value = rng.randint(1, 40)
        weekend.system.log_config(name, weekend.config.get(name), value)
        weekend.config[name] = value
    if rng.random() < 0.15:
        near, bib = rng.choice(sorted(TABLES.values())), rng.randint(1000, 6000)
        weekend.log["first_aid"].log_action("treat", {"bib": bib, "for": "blisters", "near": near})
    if rng.random() < 0.07:
        weekend.log["speaker"].warning("microphone cut out, second one taken")
    if rng.random() < 0.05:
        weekend.log["porter"].error("barrow with a flat tyre, boxes carried by hand", {"slot": slot})
    for captain in TABLES:
        if rng.random() < 0.4:
            weekend.gauge[captain].log_metric("cups_a_minute", round(rng.uniform(5, 60), 1), "1/min")
    if slot == case.decoy_at:
        weekend.log["first_aid"].warning(f"a dog ran across {weekend.mat}, past {weekend.captain}")


def planned(weekend: Weekend, slot: int) -> None:
    """Play what the plan has for a slot."""
    case, rng = weekend.case, weekend.case.rng(f"plan {slot}")
    if slot == case.begin:
        if case.has("off_by_one"):
            ask_cover(weekend, weekend.captain, case.end, rng.choice(TEAMS), slot, planned=True)
        if case.has("lost_update"):
            two_vouchers(weekend, slot, rng)
    if slot == case.end:
        if case.has("slow_drift"):
            pass_mat(weekend, weekend.mat, slot, rng)
        if case.has("rounding_leak"):
            close_till(weekend, weekend.cashier)
        if case.has("lost_update"):
            supply(weekend, weekend.captain, weekend.item, weekend.shelf[weekend.item] + rng.randint(30, 70))


def play(case: Case) -> None:
    """Play a case, slot by slot."""
    slots = case.rng("slots").randint(70, 115)
    case.window(slots)
    who = case.rng("who")
    people = [*MATS, *TILLS, *TABLES, *CLERKS, "technician", "referee", "speaker", "treasurer", "auditor"]
    people += ["planner", "first_aid", "dispatcher", "porter"]
    weekend = Weekend(
        case,
        slots,
        {name: AgentLogger(name, name.split("_")[0]) for name in people},
        {captain: PerformanceLogger(captain, "captain") for captain in TABLES},
        InteractionLogger("helpers_desk", "desk"),
        SystemLogger("finish_area"),
        mat=who.choice(sorted(MATS)),
        cashier=who.choice(sorted(TILLS)),
        captain=who.choice(sorted(TABLES)),
        item=who.choice(ITEMS),
        book={item: who.randint(280, 420) for item in ITEMS},
    )
    weekend.shelf = dict(weekend.book)
    for slot in range(slots):
        if slot == case.begin and case.has("slow_drift"):
            change_cell(weekend, weekend.mat, slot, planned=True)
        if slot == case.begin and case.has("rounding_leak"):
            close_till(weekend, weekend.cashier)
            open_sheet(weekend, weekend.cashier, slot, planned=True)
        everyday(weekend, slot)
        planned(weekend, slot)
        open_tables(weekend, slot, case.rng(f"tables {slot}"))


WORLD = World("marathon", "bare", ("slow_drift", "rounding_leak", "off_by_one", "lost_update"), play, 18)
