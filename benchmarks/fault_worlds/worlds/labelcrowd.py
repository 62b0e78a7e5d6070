"""A crowd that labels data: photographs, lengths of cells, pairs of answers. Functions with typed loggers; no ticks."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

WORKERS = (
    *("Abeni", "Bartosz", "Chidi", "Dorota", "Emeka", "Farida", "Goran", "Hye-jin", "Ivana", "Joao", "Kwame"),
    *("Leticia", "Mehmet", "Ngozi", "Oksana", "Pilar", "Quang", "Rukmini", "Somchai", "Tatiana"),
)
PHOTOS, CELLS, PAIRS = "photos", "cells", "pairs"
CLIENTS = {
    "client_lynx": PHOTOS,
    "client_heron": PHOTOS,
    "client_orca": CELLS,
    "client_newt": CELLS,
    "client_ibis": PAIRS,
    "client_mole": PAIRS,
}
CLASSES = ("fox", "deer", "boar", "owl", "hare", "empty", "blurred")
RULERS = ("ruler_1", "ruler_2", "ruler_3")
TRUE_SCALE = 0.5  # micrometres to a pixel
TRUSTED = 6  # points from which somebody may label alone
ROWS, CUSHION = 8, 1000


@dataclass
class Batch:
    """An order: its rows as they really are, and what the crowd made of them."""

    code: str
    client: str
    first: int
    truth: list[str]
    ruler: str = ""
    is_draft: bool = False
    made: list[str] = field(default_factory=list)


@dataclass
class Crowd:
    """State of the platform; `mine` is the client of the case, `planned` its batch."""

    case: Case
    day: int = 0
    orders: int = 0
    mine: str = ""
    other: str = ""
    novices: list[str] = field(default_factory=list)
    veterans: list[str] = field(default_factory=list)
    trust: dict[str, int] = field(default_factory=dict)
    purse: dict[str, int] = field(default_factory=dict)
    scale: dict[str, float] = field(default_factory=dict)
    checks: list[tuple[int, Batch]] = field(default_factory=list)
    ruler: str = ""
    drifts: int = 0
    planned: Batch | None = None


def agent(name: str) -> AgentLogger:
    """Return the logger of somebody."""
    role = "client" if name in CLIENTS else "worker" if name in WORKERS else name.rstrip("_123")
    return AgentLogger(name, role)


def order(crowd: Crowd, rng: Random, client: str) -> Batch:
    """Let a client order a batch, and pay for it in advance."""
    crowd.orders += 1
    first = 100 * crowd.orders + 1
    kind = CLIENTS[client]
    if kind == PHOTOS:
        truth = [rng.choice(CLASSES)]
        while len(truth) < ROWS:
            truth.append(rng.choice([one for one in CLASSES if one != truth[-1]]))
    elif kind == CELLS:
        truth = [f"{rng.uniform(8, 30):.1f}" for _ in range(ROWS)]
    else:
        truth = [rng.choice(("left", "right")) for _ in range(ROWS)]
    batch = Batch(f"{kind[0].upper()}{crowd.orders:04}", client, first, truth)
    agent(client).log_action("order", {"batch": batch.code, "rows": ROWS, "first_item": first})
    return batch


def assign(crowd: Crowd, rng: Random, batch: Batch, shortlist: list[str], passes: int) -> list[str]:
    """Choose who works on a batch; alone works only who is trusted."""
    if passes == 1:
        chosen = [name for name in shortlist if crowd.trust[name] >= TRUSTED][:1]
    else:
        chosen = [*rng.sample(crowd.veterans, 2), rng.choice(WORKERS)]
        chosen = list(dict.fromkeys(chosen)) if len(set(chosen)) == 3 else rng.sample(crowd.veterans, 3)
    points = {name: crowd.trust[name] for name in chosen}
    event = agent("router").log_decision(
        "assign", {"batch": batch.code, "workers": points}, f"{passes} passes"
    )
    if crowd.case.has("wrong_credit"):
        note(crowd, batch, event)
    return chosen


def answer(crowd: Crowd, rng: Random, name: str, truth: list[str], choices: tuple[str, ...]) -> list[str]:
    """Return what somebody answers: one slip at most, or the first thing on the screen from a novice."""
    slip = rng.randrange(3 * len(truth))
    lazy = rng.choice(choices)
    if name in crowd.novices:
        return [lazy] * len(truth)
    return [rng.choice(choices) if number == slip else value for number, value in enumerate(truth)]


def photos(crowd: Crowd, rng: Random, batch: Batch, workers: list[str]) -> None:
    """Classes are chosen, sheets imported, votes counted."""
    votes: dict[int, list[str]] = {batch.first + row: [] for row in range(ROWS)}
    careless = rng.random() < 0.15 and len(workers) == 3 and not set(workers) & set(crowd.novices)
    for number, name in enumerate(workers):
        labels = answer(crowd, rng, name, batch.truth, CLASSES)
        done = agent(name).log_action(
            "label", {"batch": batch.code, "items": [batch.first, batch.first + ROWS - 1], "labels": labels}
        )
        note(crowd, batch, done)
        first = batch.first + int(careless and number == 0)  # two others outvote it
        planned = batch is crowd.planned and crowd.case.has("off_by_one") and crowd.day == crowd.case.begin
        if planned and crowd.case.strikes("off_by_one", crowd.day):
            first = batch.first + 1
        event = agent("intake").log_action(
            "import_sheet", {"batch": batch.code, "worker": name, "first_item": first, "rows": labels}
        )
        if planned:
            crowd.case.root(event)
        note(crowd, batch, event)
        for row, label in enumerate(labels):
            votes.setdefault(first + row, []).append(label)
    seen = [votes[batch.first + row] for row in range(ROWS)]
    batch.made = [max(sorted(set(found)), key=found.count) if found else "none" for found in seen]
    settled = agent("consensus").log_action("settle", {"batch": batch.code, "labels": batch.made})
    note(crowd, batch, settled)


def cells(crowd: Crowd, rng: Random, batch: Batch, workers: list[str]) -> None:
    """Lengths are measured in pixels, and converted with the scale of a ruler."""
    free = [name for name in RULERS if name != crowd.ruler]
    batch.ruler = batch.ruler or rng.choice(free)
    scale = crowd.scale[batch.ruler]
    name = workers[0]
    pixels = [round(float(length) / TRUE_SCALE * rng.uniform(0.99, 1.01), 1) for length in batch.truth]
    agent(name).log_action("measure", {"batch": batch.code, "pixels": pixels})
    batch.made = [f"{length * scale:.1f}" for length in pixels]
    event = agent(batch.ruler).log_action(
        "convert", {"batch": batch.code, "um_per_px": scale, "lengths": batch.made}
    )
    note(crowd, batch, event)
    settled = agent("consensus").log_action("settle", {"batch": batch.code, "lengths": batch.made})
    note(crowd, batch, settled)


def pairs(crowd: Crowd, rng: Random, batch: Batch, workers: list[str]) -> None:
    """Of two answers the better one is chosen; a key tells which answer stood on which side."""
    codes = [rng.sample((f"a{batch.first + row}", f"b{batch.first + row}"), 2) for row in range(ROWS)]
    left, right = [one for one, _ in codes], [two for _, two in codes]
    best = [one if side == "left" else two for (one, two), side in zip(codes, batch.truth, strict=True)]
    agent("typesetter").log_action("lay_out", {"batch": batch.code, "left": left, "right": right})
    planned = batch is crowd.planned and crowd.case.has("swapped_fields")
    withdrawn = rng.random() < 0.12 and not planned and batch is not crowd.planned
    key = {"left": left, "right": right}
    if withdrawn or (planned and crowd.case.strikes("swapped_fields", crowd.day)):
        key = {"left": right, "right": left}
    filed = agent("key_desk").log_action("file_key", {"batch": batch.code, **key})
    if planned:
        crowd.case.root(filed)
    picks: list[list[str]] = []
    for name in workers:
        picks.append(answer(crowd, rng, name, batch.truth, ("left", "right")))
        agent(name).log_action("prefer", {"batch": batch.code, "sides": picks[-1]})
    if withdrawn:
        agent(batch.client).log_action("withdraw", {"batch": batch.code})
        return
    for row in range(ROWS):
        side = max(("left", "right"), key=[pick[row] for pick in picks].count)
        batch.made.append(key[side][row])
    batch.truth = best
    settled = agent("consensus").log_action("settle", {"batch": batch.code, "better": batch.made})
    note(crowd, batch, settled)


def note(crowd: Crowd, batch: Batch, event: str) -> None:
    """Note an event of the planned batch as a hop, if it comes after the cause."""
    late = not crowd.case.has("doubled_act")
    if batch is crowd.planned and late and crowd.case.roots and event not in crowd.case.roots:
        crowd.case.hop(event)


def deliver(crowd: Crowd, batch: Batch, check_on: int) -> None:
    """Send a batch to its client, who will check it one day."""
    packed = agent("packager").log_action("pack", {"batch": batch.code, "client": batch.client})
    note(crowd, batch, packed)
    InteractionLogger("packager", "packager").log_interaction(
        "delivery", "packager", batch.client, batch.code, {"rows": ROWS}
    )
    crowd.checks.append((check_on, batch))


def pay(crowd: Crowd, rng: Random, batch: Batch, workers: list[str]) -> None:
    """Pay the workers out of what the client paid in."""
    cents = rng.randint(26, 39) * ROWS
    InteractionLogger(batch.client, "client").log_interaction(
        "top_up", batch.client, "bank", batch.code, {"cents": cents}
    )
    crowd.purse[batch.client] += cents
    each = cents // len(workers)
    crowd.purse[batch.client] -= cents - each * len(workers)  # the fee of the bank
    twice = batch is not crowd.planned and rng.random() < 0.08
    for name in workers:
        paid = transfer(crowd, batch, name, each)
        if batch is crowd.planned and crowd.case.has("doubled_act"):
            crowd.case.root(paid)
            if crowd.case.strikes("doubled_act", crowd.day):
                crowd.case.root(transfer(crowd, batch, name, each))
    if twice:  # seen at once, and taken back
        transfer(crowd, batch, workers[0], each)
        agent("cashier").log_action("claw_back", {"batch": batch.code, "worker": workers[0], "cents": each})
        crowd.purse[batch.client] += each


def transfer(crowd: Crowd, batch: Batch, name: str, cents: int) -> str:
    """Pay somebody; return the event of the order to pay."""
    event = agent("cashier").log_action("pay_out", {"batch": batch.code, "worker": name, "cents": cents})
    before = crowd.purse[batch.client]
    crowd.purse[batch.client] -= cents
    booked = agent("bank").log_state_change(
        {"purse": batch.client, "cents": before}, {"purse": batch.client, "cents": before - cents}, "debit"
    )
    if batch is crowd.planned and crowd.case.has("doubled_act"):
        crowd.case.hop(booked)
    return event


def through(
    crowd: Crowd, rng: Random, batch: Batch, shortlist: list[str], passes: int, check_on: int
) -> Batch:
    """Take an ordered batch through the house."""
    workers = assign(crowd, rng, batch, shortlist, passes)
    {PHOTOS: photos, CELLS: cells, PAIRS: pairs}[CLIENTS[batch.client]](crowd, rng, batch, workers)
    pay(crowd, rng, batch, workers)
    if batch.made:
        deliver(crowd, batch, check_on)
    return batch


def jobs(crowd: Crowd) -> None:
    """The orders of a day."""
    case, day = crowd.case, crowd.day
    rng = case.rng(f"jobs/{day}")
    for _ in range(rng.randint(2, 4)):
        client = rng.choice(list(CLIENTS))
        shortlist, passes = rng.sample(crowd.veterans, 3), rng.choice((1, 3, 3))
        batch = order(crowd, rng, client)
        if CLIENTS[client] == CELLS:
            passes, batch.is_draft = 1, rng.random() < 0.4
            if batch.is_draft and rng.random() < 0.6 and crowd.ruler:
                batch.ruler = crowd.ruler
        through(crowd, rng, batch, shortlist, passes, day + rng.randint(0, 3))
    late = case.has("wrong_credit") or case.has("slow_drift")
    if day != (case.end if late else case.begin):
        return
    shortlist = rng.sample(crowd.veterans, 3)
    crowd.planned = order(crowd, rng, crowd.mine)
    if case.has("wrong_credit"):
        shortlist.insert(0, crowd.novices[0])
    if case.has("slow_drift"):
        crowd.planned.ruler = crowd.ruler
    through(crowd, rng, crowd.planned, shortlist, 1, case.end if not case.has("doubled_act") else 10**6)


def golds(crowd: Crowd) -> None:
    """Questions with known answers, and points for who knows them."""
    case, day = crowd.case, crowd.day
    rng = case.rng(f"golds/{day}")
    for number, name in enumerate(rng.sample(WORKERS, rng.randint(4, 6))):
        gold_question(crowd, rng, name, f"gold{day:03}{number}")
    if case.has("wrong_credit") and day == case.begin:
        gold_question(crowd, rng, rng.choice(crowd.veterans), f"gold{day:03}7", planned=True)


def gold_question(crowd: Crowd, rng: Random, name: str, item: str, *, planned: bool = False) -> None:
    """Ask one question; the points go to who answered it."""
    right, guess, slip = rng.choice(CLASSES), rng.choice(CLASSES), rng.random() < 0.15
    lucky = rng.choice([one for one in crowd.veterans if one != name])
    knows = name not in crowd.novices
    guess = right if knows else next(one for one in (guess, "fox", "owl") if one != right)
    agent(name).log_action("answer_gold", {"item": item, "label": guess})
    graded = agent("gold_desk").log_action("grade_gold", {"item": item, "expected": right, "is_right": knows})
    if not knows:
        return
    gets = lucky if slip and not planned else name  # between old hands it makes no difference
    if planned and crowd.case.strikes("wrong_credit", crowd.day):
        gets = crowd.novices[0]
    event = agent("gold_desk").log_action("credit", {"item": item, "worker": gets, "points": 1})
    before = crowd.trust[gets]
    crowd.trust[gets] = before + 1
    changed = agent("roster").log_state_change(
        {"worker": gets, "points": before}, {"worker": gets, "points": before + 1}, "credit"
    )
    if planned:
        crowd.case.root(event, graded)
        crowd.case.hop(changed)


def calibrate(crowd: Crowd) -> None:
    """Each ruler is set every morning, after its slide."""
    case, day = crowd.case, crowd.day
    rng = case.rng(f"calibrate/{day}")
    for name in RULERS:
        wobble = rng.uniform(0.995, 1.005)
        before = crowd.scale[name]
        value = round(TRUE_SCALE * wobble, 4)
        drifting = name == crowd.ruler and case.begin <= day <= case.end and case.strikes("slow_drift")
        if drifting:
            value = round(before * 1.16 ** (1 / (case.end - case.begin)), 4)
        event = agent(name).log_action("calibrate", {"from": before, "um_per_px": value, "day": day})
        PerformanceLogger(name, "ruler").log_metric("um_per_px", value, "um")
        crowd.scale[name] = value
        if case.has("slow_drift") and name == crowd.ruler and day >= case.begin and crowd.drifts < 3:
            crowd.drifts += 1
            case.root(event)


def checks(crowd: Crowd) -> None:
    """Clients check what they got, and train on it."""
    day = crowd.day
    due = [batch for on, batch in crowd.checks if on <= day]
    crowd.checks = [(on, batch) for on, batch in crowd.checks if on > day]
    for batch in due:
        kind = CLIENTS[batch.client]
        both = list(zip(batch.made, batch.truth, strict=True))
        if kind == CELLS:
            off = sum(float(one) for one, _ in both) / sum(float(one) for _, one in both) - 1
            fits, figure = abs(off) < (0.3 if batch.is_draft else 0.08), round(1 + off, 3)
        else:
            figure = round(sum(one == two for one, two in both) / ROWS, 3)
            fits = figure > 0.5
        trainer = f"trainer_{batch.client[7:]}"
        trained = AgentLogger(trainer, "trainer").log_action("train", {"batch": batch.code, "day": day})
        note(crowd, batch, trained)
        metric = "mean_length_ratio" if kind == CELLS else "validation_accuracy"
        PerformanceLogger(trainer, "trainer").log_metric(metric, figure, data={"batch": batch.code})
        if fits:
            agent(batch.client).log_action("accept_delivery", {"batch": batch.code})
        else:
            refused(crowd, batch, figure)


def refused(crowd: Crowd, batch: Batch, figure: float) -> None:
    """A client sends a batch back."""
    client, day = batch.client, crowd.day
    event = agent(client).log_action("reject_delivery", {"batch": batch.code})
    if CLIENTS[client] == CELLS:
        texts = (
            f"the cells of {client} are {figure} times as long as they are",
            "All lengths in one delivery are too big, by about the same factor. Nobody can have measured that badly",
            f"{client} publishes next week, and the mean cell grew over night? {batch.code}",
            f"mean_length_ratio went up to {figure} on day {day}, it was 1.00 for as long as I can see",
        )
    elif CLIENTS[client] == PAIRS:
        texts = (
            f"The model of {client} now praises the worse answers",
            f"why is {batch.code} the wrong way round",
            f"validation accuracy {figure} on day {day}. A coin would do better!",
            f"{client} says that a whole batch of preferences makes no sense, while {crowd.other} is happy as ever",
        )
    else:
        texts = (
            f"{batch.code} is rubbish",
            f"{client} refuses to pay, nearly every photograph has a wrong label",
            f"why did validation accuracy drop to {figure} on day {day}? before that it never was below 0.8",
            "there is an owl where I see a boar, and a boar where I see nothing. How does this pass our checks",
            f"deliveries to {client} were fine, those to {crowd.other} are still fine, but now this one",
        )
    crowd.case.symptom(event, *texts)


def bonuses(crowd: Crowd) -> None:
    """Good workers get a bonus out of the purse of a client."""
    case, day = crowd.case, crowd.day
    rng = case.rng(f"bonuses/{day}")
    mine = case.has("doubled_act")
    grants: list[tuple[str, str]] = []
    if rng.random() < 0.2:
        client = rng.choice([name for name in CLIENTS if name != crowd.mine])
        grants.append((client, rng.choice(crowd.veterans)))
    if mine and day == case.end:
        grants.append((crowd.mine, rng.choice(crowd.veterans)))
    for client, name in grants:
        asked = agent("cashier").log_action("grant_bonus", {"client": client, "worker": name, "cents": 900})
        if crowd.purse[client] >= 900:
            agent("bank").log_state_change(
                {"purse": client, "cents": crowd.purse[client]},
                {"purse": client, "cents": crowd.purse[client] - 900},
                "bonus",
            )
            InteractionLogger(client, "client").log_interaction(
                "top_up", client, "bank", None, {"cents": 900}
            )
            agent(name).log_action("thank", {"client": client, "day": day})
            continue
        refusal = agent("bank").log_decision(
            "refuse", {"purse": client, "cents": 900}, f"{crowd.purse[client]} cents are left"
        )
        case.trigger(asked)
        case.hop(refusal)
        event = agent(name).log_action("open_ticket", {"about": "bonus", "day": day})
        case.symptom(
            event,
            f"{name} did not get the bonus",
            f"Where is my money? {client} promised me 9 dollars and the page says refused",
            "a purse that always had enough in it is short and I cannot see where the rest went",
            f"bonus payments in this run: all went through but one, on day {day}. Why",
            "workers leave because we do not pay what we promise. there were ten dollars in there!",
        )


def chores(crowd: Crowd) -> None:
    """Forums, shifts, pages that do not load, settings."""
    case, day = crowd.case, crowd.day
    rng = case.rng(f"chores/{day}")
    for _ in range(rng.randint(1, 4)):
        name = rng.choice(WORKERS)
        agent(name).log_action(
            rng.choice(("log_in", "take_break", "post_in_forum", "read_guideline")), {"day": day}
        )
    if rng.random() < 0.3:
        one, two = rng.sample(WORKERS, 2)
        InteractionLogger(one, "worker").log_interaction("help", one, two)
    if rng.random() < 0.2:
        name = rng.choice(WORKERS)
        agent(name).error("page did not load", extra={"day": day})
        agent(name).log_action("load_again", {"day": day})
    if rng.random() < 0.15:
        setting = rng.choice(("reminder_hour", "forum_length", "night_colours"))
        SystemLogger("platform").log_config(setting, rng.randint(1, 9), rng.randint(10, 20))
    if rng.random() < 0.1 or day == case.decoy_at:
        client = crowd.mine if day == case.decoy_at else rng.choice(list(CLIENTS))
        agent(client).log_action("change_contact", {"day": day})


def play(case: Case) -> None:
    """Play some weeks of the platform, day by day."""
    rng = case.rng("crowd")
    days = rng.choice((12, 24, 45, 76))
    case.window(days, shortest=4 if case.has("slow_drift") else 1)
    crowd = Crowd(case)
    kind = CELLS if case.has("slow_drift") else PAIRS if case.has("swapped_fields") else PHOTOS
    crowd.mine, crowd.other = rng.sample([name for name in CLIENTS if CLIENTS[name] == kind], 2)
    crowd.novices = rng.sample(WORKERS, 3)
    crowd.veterans = [name for name in WORKERS if name not in crowd.novices]
    crowd.trust = {name: 5 if name in crowd.novices else rng.randint(8, 20) for name in WORKERS}
    crowd.purse = dict.fromkeys(CLIENTS, CUSHION)
    crowd.scale = dict.fromkeys(RULERS, TRUE_SCALE)
    crowd.ruler = rng.choice(RULERS) if case.has("slow_drift") else ""
    for day in range(days):
        crowd.day = day
        calibrate(crowd)
        chores(crowd)
        golds(crowd)
        jobs(crowd)
        checks(crowd)
        bonuses(crowd)


WORLD = World(
    "labelcrowd",
    "bare",
    ("off_by_one", "wrong_credit", "doubled_act", "slow_drift", "swapped_fields"),
    play,
    author=16,
)
