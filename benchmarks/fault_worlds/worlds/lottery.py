"""A regional lottery: kiosks, a registry of subscriptions, a drum, a bank, a charity. Functions with typed loggers; no ticks."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, InteractionLogger, PerformanceLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

KIOSKS = ("kiosk-03", "kiosk-07", "kiosk-11", "kiosk-14", "kiosk-19", "kiosk-22")
REPS = ("rep-coast", "rep-hills", "rep-plain")
OFFICES = (
    "registry",
    "drum-room",
    "prize-office",
    "help-desk",
    "bank",
    "charity",
    "head-office",
    "print-room",
)
SURNAMES = "Adler Boon Cerny Dupont Egger Falk Grau Hauser Imhof Juric Kolb Lindt Moser Nagel Orth".split()
TICKET_CT = 250
SHARE = 0.137  # of the takings, for the charity


@dataclass
class Subscription:
    """A standing bet, as it is booked."""

    number: str
    holder: str
    account: str
    bonus: int
    extra: int
    slip: tuple[int, int]
    lapsed: bool = False


@dataclass
class Books:
    """The loggers of all parties, and what the parties know."""

    case: Case
    draw: int = 0
    serial: int = 4000
    subs: dict[str, Subscription] = field(default_factory=dict)
    balance: dict[str, int] = field(default_factory=dict)
    limit_ct: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KIOSKS, 50_000))
    carry: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(REPS, True))
    rest: dict[str, float] = field(default_factory=lambda: dict.fromkeys(REPS, 0.0))
    due: dict[str, float] = field(default_factory=lambda: dict.fromkeys(REPS, 0.0))
    credited: dict[str, float] = field(default_factory=lambda: dict.fromkeys(REPS, 0.0))
    leaks: int = 0

    def __post_init__(self) -> None:
        roles = dict.fromkeys(KIOSKS, "kiosk") | dict.fromkeys(REPS, "rep") | {name: name for name in OFFICES}
        self.staff = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.links = {name: InteractionLogger(name, role) for name, role in roles.items()}
        self.meter, self.system = PerformanceLogger("registry", "registry"), SystemLogger()
        rng = self.case.rng("books")
        self.kiosk, self.stand = rng.sample(KIOSKS, 2)
        self.rep, self.fellow, _ = rng.sample(REPS, 3)
        self.surname = rng.choice(SURNAMES)
        self.prize_ct = rng.randint(60, 300) * 100
        self.lucky = rng.sample(range(1, 13), 2)
        for _ in range(rng.randint(9, 14)):
            others = [name for name in SURNAMES if name != self.surname]
            enrol(
                self, rng.choice(KIOSKS), rng.choice(others), rng.sample(range(1, 13), 2), rng.random() < 0.25
            )

    def do(self, who: str, act: str, **data: Any) -> str:
        return self.staff[who].log_action(act, {"draw": self.draw, **data})

    def meet(self, who: str, whom: str, what: str, **data: Any) -> str:
        return self.links[who].log_interaction(what, who, whom, data={"draw": self.draw, **data})

    def next(self) -> int:
        self.serial += 1 + self.serial % 3
        return self.serial


def enrol(
    books: Books, kiosk: str, holder: str, boxes: list[int], crossed: bool, cents: int = 10**6
) -> Subscription:
    """A kiosk scans the slip of a subscriber, the registry books it."""
    number, account = f"sub {books.next():06}", f"AC-{books.next()}"
    bonus, extra = boxes
    books.do(kiosk, "scan_slip", sub=number, holder=holder, boxes=f"bonus {bonus}, extra {extra}")
    books.meet(kiosk, "registry", "hand_in", sub=number)
    kept = (extra, bonus) if crossed else (bonus, extra)
    booked = books.do(
        "registry", "book_subscription", sub=number, bonus=kept[0], extra=kept[1], account=account
    )
    sub = books.subs[number] = Subscription(number, holder, account, *kept, slip=(bonus, extra))
    books.balance[account] = cents
    if holder == books.surname and books.case.has("swapped_fields"):
        books.case.root(booked)
    return sub


def collect(books: Books, sub: Subscription) -> tuple[str, str, bool]:
    """Take the price of one ticket from a subscriber's account."""
    order = books.do("registry", "order_debit", sub=sub.number, account=sub.account, cents=TICKET_CT)
    if books.balance[sub.account] < TICKET_CT:
        return order, books.do("bank", "return_debit", account=sub.account, cents=TICKET_CT), False
    books.balance[sub.account] -= TICKET_CT
    return order, books.do("bank", "debit", account=sub.account, cents=TICKET_CT), True


def settle_subscriptions(books: Books, rng: random.Random) -> None:
    """Collect from some subscribers; what is collected twice by mistake is refunded at once, or they are rich."""
    case, mine = books.case, books.case.has("doubled_act")
    others = [sub for sub in books.subs.values() if sub.holder != books.surname]
    for sub in rng.sample(others, 4):
        collect(books, sub)
        if rng.random() < 0.12:
            collect(books, sub)
            if rng.random() < 0.5:
                books.balance[sub.account] += TICKET_CT
                books.do("bank", "refund", account=sub.account, cents=TICKET_CT)
    if mine and books.draw == max(0, case.begin - 2):
        ahead = case.end - books.draw + 1
        enrol(books, books.kiosk, books.surname, books.lucky, crossed=False, cents=ahead * TICKET_CT)
    for sub in [
        sub for sub in books.subs.values() if mine and sub.holder == books.surname and not sub.lapsed
    ]:
        if books.draw > case.end:
            continue
        order, taken, paid = collect(books, sub)
        if books.draw == case.begin:
            case.root(order, taken)
            if case.strikes("doubled_act", books.draw):
                again, once_more, _ = collect(books, sub)
                case.root(again, once_more)
        if not paid:
            sub.lapsed = True
            case.hop(order, taken)
            case.hop(books.meet("bank", "registry", "no_cover", account=sub.account))
            case.hop(books.do("registry", "end_subscription", sub=sub.number, reason="unpaid"))
            complain(
                books, books.do("help-desk", "take_letter", holder=sub.holder, sub=sub.number), "doubled_act"
            )


def draw_numbers(books: Books, rng: random.Random) -> None:
    """Turn the drum, match standing bets, and answer those who hold a slip against the result."""
    case = books.case
    bonus, extra = rng.sample(range(1, 13), 2)
    own = [sub for sub in books.subs.values() if sub.holder == books.surname and case.has("swapped_fields")]
    if own and books.draw == case.end:
        bonus, extra = books.lucky
    elif [bonus, extra] == books.lucky or [extra, bonus] == books.lucky:
        extra = next(number for number in range(1, 13) if number not in {bonus, *books.lucky})
    drawn = books.do("drum-room", "publish_numbers", bonus=bonus, extra=extra, turns=rng.randint(20, 60))
    if case.has("swapped_fields") and books.draw == case.begin:
        crossed = case.strikes("swapped_fields", books.draw)
        enrol(books, books.kiosk, books.surname, books.lucky, crossed)
    for sub in rng.sample(list(books.subs.values()), 2):
        books.do("prize-office", "match", sub=sub.number, hits=(sub.bonus == bonus) + (sub.extra == extra))
    for sub in own if books.draw == case.end else []:
        hits = (sub.bonus == bonus) + (sub.extra == extra)
        matched = books.do("prize-office", "match", sub=sub.number, hits=hits)
        if hits == 2:
            books.meet("prize-office", "bank", "transfer_prize", account=sub.account, cents=2_500_000)
        elif sub.slip == (bonus, extra):
            case.trigger(drawn)
            case.hop(matched, books.meet("prize-office", "help-desk", "file_no_prize", sub=sub.number))
            complain(
                books,
                books.do("help-desk", "take_letter", holder=sub.holder, sub=sub.number),
                "swapped_fields",
            )


def pay_small_prizes(books: Books, rng: random.Random) -> None:
    """Reps set the limits of kiosks in cents; kiosks pay what is within, and send the rest away."""
    case, own = books.case, books.case.has("wrong_unit")
    if rng.random() < 0.4:
        others = [kiosk for kiosk in KIOSKS if not (own and kiosk == books.kiosk)]
        kiosk, limit = rng.choice(others), rng.choice((500, 20_000, 30_000, 50_000, 80_000))
        set_limit(books, rng.choice(REPS), kiosk, limit)
    if own and books.draw == case.begin:
        set_limit(books, books.rep, books.kiosk, 500 if case.strikes("wrong_unit", books.draw) else 50_000)
    claims = [(rng.choice(KIOSKS), rng.choice((200, 250, 400, 500))) for _ in range(rng.randint(1, 4))]
    claims += [(kiosk, rng.randint(6, 150) * 100) for kiosk in rng.sample(KIOSKS, 2)]
    claims = [claim for claim in claims if claim[1] <= 500 or (books.limit_ct[claim[0]] > 15_000 and not own)]
    if own and books.draw == case.end:
        claims.append((books.kiosk, books.prize_ct))
    for kiosk, cents in claims:
        ticket = f"T{rng.randint(10**6, 10**7)}"
        shown = books.do(kiosk, "read_ticket", ticket=ticket, prize_ct=cents)
        if cents <= books.limit_ct[kiosk]:
            books.do(kiosk, "pay_out", ticket=ticket, prize_ct=cents)
            continue
        refused = books.staff[kiosk].log_decision(
            "send_away", {"ticket": ticket, "prize_ct": cents}, f"above {books.limit_ct[kiosk]}"
        )
        case.hop(shown, refused)
        if kiosk == books.kiosk:
            case.hop(books.meet(kiosk, "head-office", "announce_winner", ticket=ticket))
            complain(
                books, books.do("head-office", "receive_visitor", ticket=ticket, prize_ct=cents), "wrong_unit"
            )


def set_limit(books: Books, rep: str, kiosk: str, limit: int) -> None:
    """A rep visits a kiosk and enters what it may pay out by itself."""
    entered = books.do(rep, "enter_limit", kiosk=kiosk, pays_up_to=limit)
    old, books.limit_ct[kiosk] = books.limit_ct[kiosk], limit
    taken = books.staff[kiosk].log_state_change({"pays_up_to": old}, {"pays_up_to": limit}, f"visit of {rep}")
    if books.case.has("wrong_unit") and books.draw == books.case.begin and kiosk == books.kiosk:
        books.case.root(entered, taken)


def sell(books: Books, rng: random.Random) -> None:
    """Kiosks report what they sold; reps credit the charity in whole euros and keep the rest for the next time."""
    case, own = books.case, books.case.has("rounding_leak")
    sheets(books, rng)
    for number, kiosk in enumerate(KIOSKS):
        rep, tickets = REPS[number % 3], rng.randint(30, 160)
        books.do(kiosk, "close_till", tickets=tickets, takings_eur=tickets * TICKET_CT / 100)
        share = round(tickets * TICKET_CT / 100 * SHARE, 4)
        books.due[rep] += share
        carried = books.rest[rep] if books.carry[rep] else 0.0
        whole = int(share + carried)
        books.rest[rep] = share + carried - whole if books.carry[rep] else 0.0
        books.credited[rep] += whole
        booked = books.do(
            rep, "book_share", kiosk=kiosk, exact_eur=share, booked_eur=whole, kept=round(books.rest[rep], 4)
        )
        if own and rep == books.rep and books.draw >= case.begin and books.leaks < 3:
            books.leaks += 1
            case.root(booked)
    for rep in REPS:
        paid = books.meet(rep, "bank", "pay_in", eur=round(books.credited[rep]), total=True)
        if own and rep == books.rep and books.draw == case.end:
            case.hop(paid)
    free = [rep for rep in REPS if not (own and rep == books.rep)]
    asked = [rng.choice(free)] if rng.random() < 0.4 else []
    for rep in [*asked, *([books.rep] if own and books.draw == case.end else [])]:
        account = round(books.credited[rep])
        stated = books.do("bank", "state_account", payer=rep, eur=account)
        expected = round(books.due[rep], 2)
        if account + books.rest[rep] >= expected - 0.02:
            books.do("charity", "tick_off", payer=rep, expected_eur=expected, eur=account)
            continue
        case.hop(stated)
        gap = round(expected - account - books.rest[rep], 2)
        complain(
            books,
            books.do("charity", "query", expected_eur=expected, eur=account, gap=gap),
            "rounding_leak",
            gap,
        )


def sheets(books: Books, rng: random.Random) -> None:
    """Reps get new tables for their sums now and then; a table that drops the rest is sent back at once."""
    case, draw = books.case, books.draw
    rep = rng.choice(REPS)
    plans = [[(rep, True)], [(rep, False), (rep, True)]][rng.random() < 0.35] if rng.random() < 0.35 else []
    if case.has("rounding_leak"):
        plans = [plan for plan in plans if plan[0] != books.rep]
        if draw == case.begin:
            plans.append((books.rep, not case.strikes("rounding_leak", draw)))
    for rep, keeps in plans:
        old = {"sheet": f"v{books.draw // 3}", "keeps_rest": books.carry[rep]}
        books.carry[rep] = keeps
        new = {"sheet": f"v{books.draw // 3 + 1}", "keeps_rest": keeps}
        changed = books.staff[rep].log_state_change(old, new, "new sheet from the print-room")
        if case.has("rounding_leak") and draw == case.begin and rep == books.rep:
            case.root(changed)


def everyday(books: Books, rng: random.Random) -> None:
    """Settings, paper jams, calls, and something striking shortly before the symptom."""
    books.meter.log_metric("subscriptions", len(books.subs), "pieces")
    if rng.random() < 0.15:
        books.system.log_config(
            rng.choice(("jackpot_floor", "poster", "opening_hour")), rng.randint(1, 9), rng.randint(1, 9)
        )
    if rng.random() < 0.2:
        kiosk = rng.choice(KIOSKS)
        books.staff[kiosk].warning("paper jam", {"draw": books.draw})
        books.do(kiosk, "print_again", copies=1)
    if rng.random() < 0.15:
        books.staff["bank"].error("line to the registry timed out", {"attempt": 1})
        books.do("bank", "reconnect", attempt=2)
    if rng.random() < 0.3:
        holder = rng.choice([name for name in SURNAMES if name != books.surname])
        enrol(books, rng.choice(KIOSKS), holder, rng.sample(range(1, 13), 2), rng.random() < 0.25)
    for _ in range(rng.randint(0, 3)):
        books.meet("help-desk", rng.choice(KIOSKS), rng.choice(("ask_hours", "praise", "send_poster")))
    if rng.random() < 0.3:
        books.staff["print-room"].log_decision(
            "reprint", {"rolls": rng.randint(1, 9)}, "stock below two weeks"
        )
    if books.draw == books.case.decoy_at:
        sort = rng.randrange(3)
        if sort == 0:
            books.system.log_config("charity_name", "Sports Aid", "Sport Aid")
        elif sort == 1:
            books.staff[books.kiosk].error("scanner lamp burnt out", {"spare": "fitted"})
        else:
            books.do("head-office", "replace_lock", door="east")


TEXTS = {
    "doubled_act": (
        "Family {name} lost their subscription for not paying. There has always been exactly enough on that account",
        "the bank says no cover for {name}, I had put in the money for all weeks up to this one",
        "{name} was thrown out of the lottery in draw {draw}, one ticket short",
        "why did the lottery cancel my standing bet? I paid for every single draw in advance",
    ),
    "swapped_fields": (
        "I have bonus {one} and extra {two} on my slip, that is what was drawn, and I get nothing!",
        "{name} holds a winning slip from {kiosk} and the prize-office says no prize",
        "two right numbers in draw {draw} and not a cent. The lottery is a fraud, {name}",
        "How can the slip of {name} win on paper and lose in the computer?",
    ),
    "wrong_unit": (
        "{kiosk} would not pay my {eur} euros, I had to travel to the capital for it",
        "Winner of {eur} euros turned away at the counter. Other shops pay that without a word",
        "why was a prize of {cents} cents sent to head-office? {kiosk} usually pays up to 500 euros itself",
        "queue of angry people at {kiosk}, they are told to go elsewhere with quite ordinary prizes",
    ),
    "rounding_leak": (
        "{gap} euros are missing from what the charity should have got by draw {draw}",
        "Our sports clubs receive less than 13.7 percent of the sales, who keeps the {gap} euros?",
        "the account at the bank is {gap} short although every till was reported and every payment came",
        "charity share does not add up any more, small change is lost somewhere",
    ),
}


def complain(books: Books, event: str, kind: str, gap: float = 0.0) -> None:
    one, two = books.lucky
    names = {
        "name": books.surname,
        "draw": books.draw,
        "kiosk": books.kiosk,
        "one": one,
        "two": two,
        "gap": gap,
    }
    names |= {"cents": books.prize_ct, "eur": books.prize_ct // 100}
    books.case.symptom(event, *(text.format(**names) for text in TEXTS[kind]))


def play(case: Case) -> None:
    """Hold some months of draws."""
    draws = case.rng("season").choice((16, 28, 45, 70))
    case.window(draws)
    books = Books(case)
    for books.draw in range(draws):
        for part in (everyday, sell, pay_small_prizes, settle_subscriptions, draw_numbers):
            part(books, case.rng(f"{part.__name__} {books.draw}"))


WORLD = World("lottery", "bare", ("rounding_leak", "wrong_unit", "swapped_fields", "doubled_act"), play, 20)
