"""Pharmacies of a town on a queue of events: surgeries, homes, a health fund, a wholesaler with vans, and a fax gateway."""

from __future__ import annotations

import datetime
import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from Agent import AgentLogger
from benchmarks.fault_worlds.kit import Case, World

SHOPS = ("Millgate", "Quayside", "Dome", "Ashfield")
DOCTORS = ("Dr Abel", "Dr Byrne", "Dr Chand")
HOMES = ("Oakview", "Elmhurst")
FUND, WHOLESALER, FAX, LINE = "Helva", "Norpharm", "fax_gateway", "patient_line"
ROLES = (
    dict.fromkeys(SHOPS, "pharmacy")
    | dict.fromkeys(DOCTORS, "doctor")
    | dict.fromkeys(HOMES, "home")
    | {FUND: "fund", WHOLESALER: "wholesaler", FAX: "gateway", LINE: "line", "van_7": "van", "van_9": "van"}
)
DRUGS = {
    "amlodipine": (5, 10),
    "metformin": (500, 850),
    "sertraline": (50, 100),
    "apixaban": (2, 5),
    "ramipril": (2, 5),
    "levothyroxine": (50, 75),
    "pregabalin": (75, 150),
    "adalimumab": (40, 80),
    "dupilumab": (200, 300),
}
DEAR = ("adalimumab", "dupilumab")
SURNAMES = (
    "Ferris Okoro Lund Baptiste Hale Ivers Novak Pym Quist Rowe Sandhu Tovey Ueda Vance Wick Yardley Zeller Amis "
    "Boon Crewe Dacre Eames Finch Gower Hobbs Inman Jupp Keane Lovell Mott Nash Orme Peel Rudd Stark Thorne"
).split()
SHORTEST = {"out_of_order": 5, "expired_permission": 4}
HOURS = (160, 280, 420, 640)

Process = Iterator[int]


@dataclass
class Patient:
    """Somebody with a usual pharmacy, and what the pharmacy, the home and the doctor hold about the dose."""

    name: str
    shop: str
    doctor: str
    home: str
    drug: str
    mg: int
    revision: int = 1
    chart: int = 0
    filed: int = 0
    entered: str = ""


@dataclass
class Shop:
    """What a pharmacy holds."""

    scripts: set[str] = field(default_factory=set)
    batches: set[str] = field(default_factory=set)
    pulled: set[str] = field(default_factory=set)


class Town:
    """The queue of events, everybody in town, and the plan of the case."""

    def __init__(self, case: Case, hours: int) -> None:
        self.case, self.hours, self.now = case, hours, 0
        self.serial, self.numbers = itertools.count(), itertools.count(4001)
        self.queue: list[tuple[int, int, Process]] = []
        self.logs = {name: AgentLogger(name, role) for name, role in ROLES.items()}
        self.shops = {name: Shop() for name in SHOPS}
        rng = case.rng("people")
        self.people = [self.patient(name, rng, at < 12) for at, name in enumerate(SURNAMES)]
        needs_home = case.kind in {"omitted_message", "out_of_order"}
        self.who = rng.choice(self.people[:12] if needs_home else self.people[12:])
        self.elsewhere, self.third = rng.sample([name for name in SHOPS if name != self.who.shop], 2)
        self.until: dict[str, int] = {}
        self.recalled: set[str] = set()
        self.batch = ""

    def patient(self, name: str, rng: random.Random, in_home: bool) -> Patient:
        """Draw a patient."""
        drug = rng.choice([name for name in DRUGS if name not in DEAR])
        home = rng.choice(HOMES) if in_home else ""
        dose = DRUGS[drug][0]
        return Patient(name, rng.choice(SHOPS), rng.choice(DOCTORS), home, drug, dose, chart=dose, filed=dose)

    def start(self, process: Process, at: int) -> None:
        """Put a process on the queue."""
        heapq.heappush(self.queue, (at, next(self.serial), process))

    def run(self) -> None:
        """Let things happen in the order of their time."""
        while self.queue and self.queue[0][0] < self.hours:
            self.now, _, process = heapq.heappop(self.queue)
            wait = next(process, None)
            if wait is not None:
                self.start(process, self.now + wait)

    def when(self, hour: int) -> str:
        """Return an hour as it is written; a day has eight."""
        day = datetime.date(2032, 2, 2) + datetime.timedelta(days=hour // 8)
        return f"{day.isoformat()} {9 + hour % 8:02}:00"

    def act(self, who: str, name: str, /, *causes: str, **data: object) -> str:
        """Record an action."""
        return self.logs[who].log_action(name, data, causes=[cause for cause in causes if cause])

    def say(self, who: str, to: str, cause: str, /, **body: object) -> tuple[str, str]:
        """Send a message that arrives at once; return both events."""
        message = self.logs[who].send(to, body, causes=cause or None)
        return message.event_id, self.logs[to].receive(message)

    def call_line(self, patient: Patient, about: str, cause: str, *, planned: bool) -> None:
        """Let somebody ring the patient line; the call of the patient of the case at its end is the symptom."""
        noted = self.act(LINE, "take_call", cause, patient=patient.name, about=about)
        if planned:
            names = {"name": patient.name, "shop": patient.shop, "other": self.elsewhere, "third": self.third}
            self.case.symptom(noted, *(text.format(**names) for text in TEXTS[about]))


def script(town: Town, patient: Patient, rng: random.Random, planned: str = "") -> Process:
    """Follow a prescription from the doctor to the patient."""
    case, rx = town.case, f"RX{next(town.numbers)}"
    drug = rng.choice(DEAR) if rng.random() < 0.2 else patient.drug
    away, forgets, ordered = rng.random() < 0.12, rng.random() < 0.25, rng.random() < 0.35
    wait = round(2.718 ** rng.uniform(0.7, 4.6))
    if planned:
        wait, ordered = case.end - town.now, planned == "omitted_step"
        drug = "dupilumab" if planned == "expired_permission" else patient.drug
        away = planned == "wrong_recipient" and case.strikes(planned)
        forgets = away
    mg = rng.choice(DRUGS[drug])
    other = rng.choice([name for name in SHOPS if name != patient.shop])
    to = (town.elsewhere if planned else other) if away else patient.shop
    wrote = town.logs[patient.doctor].log_decision(
        "prescribe", {"rx": rx, "patient": patient.name, "drug": drug, "mg": mg}, rng.choice(REASONS)
    )
    sent, got = town.say(patient.doctor, to, wrote, rx=rx, patient=patient.name, drug=drug, mg=mg)
    filed = town.act(to, "file_script", got, rx=rx)
    town.shops[to].scripts.add(rx)
    if planned == "wrong_recipient":
        case.root(sent, got)
    if drug in DEAR:
        yield from approve(town, to, rx, filed, rng, planned)
        wait = max(wait - 1, 0) if planned else wait
    batch = f"{drug[:2].upper()}{rng.randint(100, 999)}"
    if ordered:
        yield from deliver(town, to, rx, batch, filed, rng, planned)
    yield max(0, case.end - town.now) if planned else max(1, wait)
    at = patient.shop if forgets else to
    if rx not in town.shops[at].scripts:
        turned = town.act(at, "turn_away", patient=patient.name, reason="no prescription here")
        called = rng.random() < 0.3
        if planned:
            case.hop(turned)
        if planned or called:
            town.call_line(patient, "no prescription", turned, planned=bool(planned))
        if planned:
            return
        asked, _ = town.say(at, to, turned, ask="transfer", rx=rx)
        town.act(at, "file_script", asked, rx=rx)
    if town.until.get(rx, town.now) < town.now:
        refused = town.act(at, "claim_refused", filed, rx=rx, drug=drug)
        called = rng.random() < 0.2
        if planned:
            case.hop(refused)
        if planned or called:
            town.call_line(patient, "not paid", refused, planned=bool(planned))
        if planned:
            return
        yield from approve(town, at, rx, refused, rng, "")
    if planned == "omitted_step":
        noticed = recall(town, batch, rng)
        case.trigger(noticed)
        case.hop(noticed)
    if batch in town.shops[at].pulled:
        batch = f"{batch[:2]}{rng.randint(100, 999)}"
    handed = town.act(at, "hand_out", filed, rx=rx, patient=patient.name, drug=drug, mg=mg, batch=batch)
    if batch in town.recalled:
        case.hop(handed)
        town.call_line(patient, "recalled pack", handed, planned=bool(planned))


def approve(town: Town, shop: str, rx: str, cause: str, rng: random.Random, planned: str) -> Process:
    """Ask the fund whether it pays, and until when."""
    _, asked = town.say(shop, FUND, cause, claim=rx, form="H12")
    yield 1
    hours = rng.choice((16, 40, 80, 160, 320)) + rng.randint(-7, 7)
    if planned:
        hours = town.case.end - town.now + (-1 if town.case.strikes(planned) else 80)
    until = town.now + hours
    given = town.logs[FUND].log_decision(
        "approve", {"claim": rx, "until": town.when(until)}, "listed", causes=asked
    )
    sent, _ = town.say(FUND, shop, given, claim=rx, approved_until=town.when(until))
    town.until[rx] = until
    if planned == "expired_permission":
        town.case.root(given, sent)


def deliver(
    town: Town, shop: str, rx: str, batch: str, cause: str, rng: random.Random, planned: str
) -> Process:
    """Order a pack, drive it to the pharmacy, and book it in."""
    van, tote, drive = rng.choice(("van_7", "van_9")), f"T{rng.randint(1000, 9999)}", rng.randint(1, 4)
    _, asked = town.say(shop, WHOLESALER, cause, order=rx)
    packed = town.act(WHOLESALER, "pack_tote", asked, tote=tote, rx=rx, batch=batch)
    loaded = town.act(van, "load", packed, tote=tote)
    if not planned:
        yield drive
    dropped = town.act(van, "drop", loaded, tote=tote, at=shop)
    booked = town.act(shop, "book_in", dropped, tote=tote, rx=rx)
    trouble = ""
    if planned == "omitted_step" or rng.random() < 0.15:
        trouble = town.logs[shop].warning("scanner: battery low", extra={"tote": tote}, causes=booked)
    skipped = not planned and rng.random() < 0.06  # of a batch that nobody will recall
    if planned == "omitted_step":
        town.case.root(booked, trouble)
        skipped = town.case.strikes(planned)
        town.batch = batch
    if not skipped:
        town.act(shop, "scan_batch", booked, tote=tote, batch=batch)
        town.shops[shop].batches.add(batch)


def recall(town: Town, batch: str, rng: random.Random) -> str:
    """Call a batch back; pharmacies look whether they have it. Return the first event."""
    reason = rng.choice(("leaflet wrong", "seal not tight", "strength too low"))
    town.recalled.add(batch)
    noticed = town.act(WHOLESALER, "recall", batch=batch, reason=reason)
    for name, shop in town.shops.items():
        _, got = town.say(WHOLESALER, name, noticed, recall=batch, reason=reason)
        if batch in shop.batches:
            town.act(name, "pull_batch", got, batch=batch)
            shop.pulled.add(batch)
        else:
            town.act(name, "check_shelf", got, batch=batch, held=0)
    return noticed


def change_dose(town: Town, patient: Patient, rng: random.Random, planned: str = "") -> Process:
    """Change a dose: the home writes it on its chart, the pharmacy into its file, sometimes after a fax."""
    case, faxed, hold = town.case, rng.random() < 0.3, rng.choice((0, 0, 0, 2, 5))
    withdrawn = rng.random() < 0.15 and not planned
    if planned:
        faxed, hold = planned == "out_of_order", 3 if case.strikes(planned) else 0
    low, high = DRUGS[patient.drug]
    patient.mg = low + high - patient.mg
    patient.revision += 1
    mg = patient.mg
    order = {"patient": patient.name, "drug": patient.drug, "mg": mg, "revision": patient.revision}
    decided = town.logs[patient.doctor].log_decision("change_dose", order, rng.choice(REASONS))
    _, told = town.say(patient.doctor, patient.home, decided, **order)
    charted = town.act(patient.home, "update_chart", told, patient=patient.name, mg=mg)
    patient.chart = mg
    if withdrawn:
        yield rng.randint(1, 3)
        order["mg"] = patient.mg = patient.chart = low + high - mg
        back = town.logs[patient.doctor].log_decision("withdraw_change", order, "wrong patient's letter")
        _, told = town.say(patient.doctor, patient.home, back, **order)
        town.act(patient.home, "update_chart", told, patient=patient.name, mg=patient.chart)
        return
    if planned == "omitted_message":
        case.root(decided, charted)
        if case.strikes(planned):
            return
    if faxed:
        _, queued = town.say(patient.doctor, FAX, decided, to=patient.shop, **order)
        held = queued
        if hold:
            held = town.logs[FAX].warning("line busy, held", extra={"to": patient.shop}, causes=queued)
            yield hold
        sent, got = town.say(FAX, patient.shop, held, pages=1, **order)
        if planned:
            case.root(held, sent, got)
    else:
        _, got = town.say(patient.doctor, patient.shop, decided, **order)
    patient.entered = town.act(patient.shop, "set_dose", got, **order)
    patient.filed = mg
    if planned == "out_of_order":
        case.root(patient.entered)


def packs(town: Town, patient: Patient, rng: random.Random) -> Process:
    """Fill blister packs for somebody in a home, again and again."""
    while True:
        content = {"patient": patient.name, "drug": patient.drug, "mg": patient.filed}
        made = town.act(patient.shop, "fill_blister", patient.entered, **content)
        van = rng.choice(("van_7", "van_9"))
        brought = town.act(van, "bring", made, to=patient.home, patient=patient.name)
        if patient.filed == patient.chart:
            town.act(patient.home, "check_pack", brought, patient=patient.name, mg=patient.chart)
        else:
            found = town.act(
                patient.home, "reaction", brought, patient=patient.name, pulse=rng.randint(40, 52)
            )
            planned = patient is town.who and town.now == town.case.end
            if planned:
                town.case.hop(made, brought, found)
            town.call_line(patient, "wrong dose", found, planned=planned)
            _, asked = town.say(patient.home, patient.shop, found, ask="dose", patient=patient.name)
            content["mg"] = patient.chart
            patient.entered = town.act(patient.shop, "set_dose", asked, by="phone", **content)
            patient.filed = patient.chart
        wait = round(2.718 ** rng.uniform(2.5, 4.8))
        if patient is town.who:  # the packs of the case last until its end
            begin, end = town.case.begin - 1, town.case.end
            wait = min(wait, begin - town.now) if town.now < begin else max(wait, end - town.now)
            wait = end - town.now if begin <= town.now < end else wait
        yield wait


REASONS = ("blood pressure", "laboratory values", "asked for by patient", "review", "side effects")


def days(town: Town, rng: random.Random) -> Process:
    """Let prescriptions, changes of dose, recalls, settings, chores and handled errors come, hour by hour."""
    for hour in range(town.hours):
        draws = [rng.random() for _ in range(8)]
        one, shop, small = rng.choice(town.people), rng.choice(SHOPS), rng.randint(1, 60)
        home = rng.choice(town.people[:12])
        fresh = town.case.rng(f"life/{hour}")
        if draws[0] < 0.5 and (one is not town.who or not town.case.begin - 2 <= hour <= town.case.end):
            town.start(script(town, one, fresh), hour)
        if draws[1] < 0.14 and (home is not town.who or not town.case.begin - 12 <= hour <= town.case.end):
            town.start(change_dose(town, home, fresh), hour)
        if draws[2] < 0.04:
            held = sorted(town.shops[shop].batches - {town.batch}) or ["XX000"]
            recall(town, held[small % len(held)], fresh)
        if draws[3] < 0.12:
            town.act(shop, rng.choice(CHORES), minutes=small)
        if draws[4] < 0.05:
            town.logs[shop].error("card terminal: no answer, tried again", extra={"seconds": small})
        if draws[5] < 0.06:
            name = rng.choice(("label_font", "queue_screen", "reorder_level", "opening_minutes"))
            town.logs[shop].log_state_change({name: small}, {name: small + 1}, trigger="by hand")
        if draws[6] < 0.06:
            town.act(
                LINE, "take_call", patient=one.name, about=rng.choice(("opening hours", "parking", "advice"))
            )
        if draws[7] < 0.04:
            town.logs[rng.choice(("van_7", "van_9"))].warning("traffic jam", extra={"minutes": small})
        if hour == town.case.decoy_at:
            town.logs[town.who.shop].warning("fridge door was open", extra={"degrees": 8.4})
        yield 1


CHORES = ("count_stock", "clean_scale", "sort_leaflets", "fill_robot", "return_bottles")
TEXTS = {
    "no prescription": (
        "{shop} sent me home, they say that there is nothing for me, and I have no tablets left",
        "I was told my prescription would be waiting for me. It was not, and nobody at {shop} could say why",
        "No medicine for {name} today, the doctor promised it was all arranged",
    ),
    "not paid": (
        "They want 1,400 from me at the counter for an injection that was approved, I have it in writing",
        "{shop} would not give me my injection without paying. Last time it was no problem at all",
        "my injection was refused at the till although everything had been agreed with Helva",
    ),
    "recalled pack": (
        "The news says this batch must not be taken, and I was handed exactly that an hour ago!",
        "I read the number on my pack, it is one of those called back. My sister at {other} got hers exchanged",
        "{name} was given a pack that is on the recall list, how can that be? {third} had taken them off the shelf",
    ),
    "wrong dose": (
        "Mother was so dizzy that she fell. The doctor had told us that her tablets would change",
        "the blister from {shop} has the old strength in it, the nurse has noticed it only after two days",
        "{name} gets the wrong strength. Whoever filled this at {shop} does not read what the doctor writes",
    ),
}


def play(case: Case) -> None:
    """Play some weeks in town."""
    hours = case.rng("size").choice(HOURS)
    case.window(hours, SHORTEST.get(case.kind, 1))
    town = Town(case, hours)
    rng, begin = case.rng("planned"), case.begin
    town.start(days(town, case.rng("days")), 0)
    for number, patient in enumerate(town.people[:12]):
        town.start(packs(town, patient, case.rng(f"packs/{patient.name}")), 1 + number % 7)
    if case.kind == "out_of_order":
        town.start(change_dose(town, town.who, rng, case.kind), begin)
        town.start(change_dose(town, town.who, case.rng("later"), "later"), begin + 1)
    elif case.kind == "omitted_message":
        town.start(change_dose(town, town.who, rng, case.kind), begin)
    else:
        town.start(script(town, town.who, rng, case.kind), begin)
    town.run()


WORLD = World(
    "pharmacies",
    "edges",
    ("wrong_recipient", "omitted_message", "expired_permission", "out_of_order", "omitted_step"),
    play,
    author=12,
)
