"""A society that pays writers for what the radio plays: stations, a matcher, registrars, a distributor and a treasury."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from Agent import AgentLogger, InteractionLogger, SystemLogger
from benchmarks.fault_worlds.kit import Case, World

STATIONS = {"Radio Nord": 0.052, "Kanal 5": 0.064, "Hafenwelle": 0.038, "Stadtfunk": 0.045}  # points a second
REGISTRARS = ("Gudrun", "Matteo")
STAFF = ("matcher", "tariff_desk", "distributor", "treasury", "member_desk", "archive")
MEMBERS = (
    "A. Kjellberg,B. Quint,C. Marlowe,D. Ostrander,E. Fenn,F. Abruzzi,G. Holm,H. Tanaka,I. Voss,J. Perrin,K. Adeyemi,"
    "L. Strand,M. Duarte,N. Wexler,O. Brandt,P. Silva,R. Lindqvist,S. Moor,T. Galanis,U. Reyes,V. Castell,W. Nyman"
).split(",")
FIRST = ("Blue", "Last", "Paper", "Winter", "Golden", "Silent", "Broken", "Distant", "Second", "Velvet")
SECOND = ("Harbour", "Train", "Letter", "Garden", "Engine", "Summer", "Mirror", "River", "Window", "Parade")
SHARES = ((50, 50), (75, 25), (25, 75), (60, 40), (40, 60))
SHORTEST = {"rounding_leak": 8}
DAYS = (40, 80, 130, 190)
DISPUTED_FROM = 4  # points that a payment lacks


@dataclass
class Work:
    """A piece: who wrote it, what the writers agreed, and what is registered."""

    number: str
    sort: str
    music: str
    words: str
    agreed: tuple[int, int]
    seconds: int
    shares: tuple[int, int] = (0, 0)
    length: int = 0

    def parts(self, shares: tuple[int, int]) -> dict[str, float]:
        """Return what each writer gets of it."""
        if self.music == self.words:
            return {self.music: 1.0}
        return {self.music: shares[0] / 100, self.words: shares[1] / 100}


@dataclass
class Member:
    """A writer: what is booked, what would be right, and how the society reaches him."""

    name: str
    record: dict[str, str]
    bank: str
    balance: int = 0
    due: float = 0.0
    rest: float = 0.0


@dataclass
class Society:
    """Everybody in the society, and the plan of the case."""

    case: Case
    now: int = 0
    works: dict[str, Work] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    keeps_rest: dict[str, bool] = field(default_factory=lambda: {"song": True, "jingle": True, "theme": True})
    shown: bool = False

    def __post_init__(self) -> None:
        roles = dict.fromkeys(STATIONS, "station") | dict.fromkeys(REGISTRARS, "registrar")
        self.logs = {name: AgentLogger(name, role) for name, role in (roles | {n: n for n in STAFF}).items()}
        self.matches = InteractionLogger("matcher", "matcher")
        self.system = SystemLogger("society")
        rng = self.case.rng("society")
        for name in MEMBERS:
            bank = account(rng)
            record = {"bank": bank, "street": f"{rng.choice(SECOND)} Road {rng.randint(1, 90)}"}
            self.members[name] = Member(name, record, bank)
        self.who, self.partner = rng.sample(MEMBERS, 2)
        self.clerk, self.colleague = rng.sample(REGISTRARS, 2)
        self.station = rng.choice(list(STATIONS))
        self.planned = ""

    def act(self, who: str, name: str, /, **data: object) -> str:
        """Record an action."""
        return self.logs[who].log_action(name, data)


def account(rng: random.Random) -> str:
    """Draw an account as it is shown."""
    return f"{rng.choice(('Sparbank', 'Union', 'Postbank', 'Merkur', 'Handels'))} ..{rng.randint(1000, 9999)}"


def register(society: Society, clerk: str, work: Work, shares: tuple[int, int], length: int) -> str:
    """File the agreement of the writers, and register a work; return the event of that."""
    agreed = {work.words: work.agreed[1]} | {work.music: work.agreed[0]}
    society.act("archive", "file_agreement", work=work.number, signed=agreed)
    entry = {"work": work.number, "sort": work.sort, "music": work.music, "words": work.words}
    entry |= {"music_share": str(shares[0]), "words_share": str(shares[1]), "length": str(length)}
    written = society.act(clerk, "register_work", **entry)
    work.shares, work.length = shares, length
    society.works[work.number] = work
    return written


def compose(society: Society, rng: random.Random, sort: str, music: str = "", words: str = "") -> Work:
    """Draw a new work."""
    one, two = rng.sample([name for name in MEMBERS if name != society.who], 2)
    number = f"W-{2000 + len(society.works)} {rng.choice(FIRST)} {rng.choice(SECOND)}"
    seconds = {"song": rng.randint(150, 290), "theme": rng.randint(25, 60), "jingle": rng.randint(4, 20)}[
        sort
    ]
    music = music or one
    words = words or (music if sort == "jingle" else two)
    return Work(number, sort, music, words, (100, 0) if music == words else rng.choice(SHARES), seconds)


def broadcast(society: Society, station: str, work: Work, rng: random.Random) -> None:
    """Report a play, find the work, and credit its writers."""
    case, rate = society.case, STATIONS[station]
    heard = work.number.partition(" ")[2]
    society.act(station, "report_play", title=heard, minute=rng.randint(0, 1439))
    society.matches.log_interaction("match", station, None, work.number, {"heard": heard})
    right = work.parts(work.agreed)
    for name, part in work.parts(work.shares).items():
        member, exact = society.members[name], round(work.length * rate * part, 2)
        member.due += round(work.seconds * rate * right[name], 2)
        points = math.floor(exact + member.rest + 1e-9)
        if society.keeps_rest[work.sort]:
            member.rest = exact + member.rest - points
        else:
            points = math.floor(exact)
        member.balance += points
        booked = society.act(
            "distributor", "credit", work=work.number, member=name, exact=exact, points=points
        )
        if not society.keeps_rest[work.sort] and exact - points > 0.3 and len(case.roots) < 4:
            case.root(booked)
        if name == society.who and work.number == society.planned and not society.shown:
            case.hop(booked)
            society.shown = case.begin < society.now


def recoup(
    society: Society, name: str, advance: str, instalment: int, points: int, *, owed: bool = True
) -> str:
    """Take an instalment of an advance back."""
    member = society.members[name]
    member.balance -= points
    member.due -= points if owed else 0
    return society.act(
        "treasury", "recoup", member=name, advance=advance, instalment=instalment, points=points
    )


def edit(society: Society, clerk: str, name: str, change: dict[str, str], seen: dict[str, str]) -> str:
    """Write a record back with a change of what was read before."""
    member = society.members[name]
    old, member.record = member.record, {**seen, **change}
    return society.logs[clerk].log_state_change(old, {"member": name, **member.record}, trigger="edit_record")


def look(society: Society, clerk: str, name: str) -> tuple[str, dict[str, str]]:
    """Read a record; return the event and the record."""
    record = dict(society.members[name].record)
    return society.act(clerk, "read_record", member=name, **record), record


def pay(society: Society, name: str) -> None:
    """Pay a member out, who compares that with an own list and looks into the account."""
    case, member = society.case, society.members[name]
    planned = name == society.who and society.now == case.end
    asked = society.act("member_desk", "payout_request", member=name)
    stated = society.act("distributor", "statement", member=name, points=member.balance)
    bank, amount = member.record["bank"], max(0, member.balance)
    paid = society.act("treasury", "pay", member=name, points=amount, account=bank)
    if planned:
        case.hop(stated, paid)
        if case.has("lost_update"):
            case.trigger(asked)
    short, arrived = member.due - member.balance >= DISPUTED_FROM, bank == member.bank
    member.balance, member.due, member.rest = 0, 0.0, 0.0
    if not arrived:
        case.hop(society.act("treasury", "returned", member=name, account=bank))
    if short or not arrived:
        noted = society.act("member_desk", "dispute", member=name, about="payment", points=amount)
        if planned:
            names = {"station": society.station, "clerk": society.colleague, "partner": society.partner}
            case.symptom(noted, *(text.format(**names) for text in TEXTS[case.kind]))


def everyday(society: Society, rng: random.Random) -> None:
    """Plays, registrations, instalments, edits, payouts, tables, chores and handled errors of a day."""
    draws, small = [rng.random() for _ in range(11)], rng.randint(1, 60)
    playable = [number for number in society.works if number != society.planned]
    for station in STATIONS:
        for number in rng.choices(playable, k=rng.randint(1, 3)):
            broadcast(society, station, society.works[number], rng)
    for number in sorted(n for n, work in society.works.items() if work.sort == "jingle")[:2]:
        broadcast(society, society.station, society.works[number], rng)
    clerk, sort = rng.choice(REGISTRARS), rng.choice(("song", "song", "theme"))
    new = compose(society, rng, sort)
    if draws[0] < 0.25:
        if draws[1] < 0.3:
            register(society, clerk, new, new.agreed[::-1], new.seconds)
            fixed = dict(zip(("music_share", "words_share"), map(str, new.agreed), strict=True))
            society.act(clerk, "correct_work", work=new.number, **fixed)
            new.shares = new.agreed
        else:
            register(society, clerk, new, new.agreed, new.seconds)
    others = [name for name in MEMBERS if name != society.who]
    one, two, three, four = rng.sample(others, 4)
    if draws[2] < 0.3:
        advance, points = f"ADV-{small}", rng.randint(15, 70)
        recoup(society, one, advance, 1 + small % 6, points)
        if draws[3] < 0.25:
            recoup(society, one, advance, 1 + small % 6, points, owed=False)
            society.members[one].balance += points
            society.act("treasury", "reverse", member=one, advance=advance, points=points)
        elif draws[3] < 0.4:
            recoup(society, one, advance, 2 + small % 6, points)
    if draws[4] < 0.3:
        first, second = rng.sample(("member_desk", *REGISTRARS), 2)
        _, seen = look(society, first, two)
        look(society, second, two)
        edit(society, first, two, {"street": f"{rng.choice(FIRST)} Street {small}"}, seen)
        if draws[5] < 0.6:
            _, seen = look(society, second, two)
            bank = account(rng)
            society.members[two].bank = bank
            edit(society, second, two, {"bank": bank}, seen)
    for name in [three, *([four] if draws[6] < 0.4 else [])]:
        pay(society, name)
    if society.now < society.case.begin - 1 and draws[6] > 0.9:
        pay(society, society.who)
    if draws[7] < 0.12:
        table = rng.choice(("song", "theme", "jingle"))
        society.act("tariff_desk", "publish_table", sort=table, year=2030 + society.now // 60, page=small)
    if draws[8] < 0.15:
        name = rng.choice(("statement_font", "mail_hour", "page_length", "bank_holiday"))
        society.system.log_config(name, small, small + 1)
    if draws[9] < 0.08:
        society.logs[rng.choice(list(STATIONS))].error(
            "report file cut off, sent again", extra={"lines": small}
        )
    if draws[10] < 0.3:
        about = rng.choice(("spelling of a title", "late statement", "password", "tax form", "new pseudonym"))
        society.act("member_desk", "question", member=four, about=about)
    if draws[10] > 0.94:
        society.act("member_desk", "dispute", member=four, about="date of payment", points=small)
    if 0.4 < draws[10] < 0.5:
        society.act("archive", rng.choice(("bind_volume", "scan_pages", "dust_shelves")), number=small)
    if society.now == society.case.decoy_at:
        society.logs["treasury"].warning("bank file sent late", extra={"minutes": small})


TEXTS = {
    "rounding_leak": (
        "I keep a list of everything of mine that is on air, and what you paid does not add up to it",
        "a few points are missing, not many, but they are mine. {station} has sent me its own list and it agrees with me",
        "It is always a bit less than what I work out. {clerk} told me that this cannot be",
    ),
    "swapped_fields": (
        "I wrote most of it and get the smaller part? {partner} and I have signed something else",
        "our song is on {station} every day, and my payment is a joke compared to what {partner} got",
        "{clerk} says the payment is right. It is not, look at our contract!",
    ),
    "doubled_act": (
        "This payment is far too small, there must have been a mistake with my balance",
        "you paid me less than what {station} alone should have brought me",
        "my money is short and {clerk} sees nothing strange",
    ),
    "lost_update": (
        "No money has come. I told you my new bank months ago, and got a letter that thanked me for it",
        "the payment went to an account that I have closed, {clerk} confirmed the new one to me!",
        "where did you send my royalties? not to me",
    ),
    "wrong_unit": (
        "My song runs on {station} day and night, and you pay me for it as if it were a beep",
        "next to nothing for a hit? every jingle earns more",
        "our song pays almost nothing although it is played all the time, {clerk} does not believe it either",
    ),
}


def play(case: Case) -> None:
    """Play some months of the society."""
    days = case.rng("size").choice(DAYS)
    case.window(days, SHORTEST.get(case.kind, 1))
    society = Society(case)
    rng = case.rng("catalogue")
    society.system.log_simulation_start("society", {"members": len(MEMBERS)})
    for number in range(36):
        sort = "jingle" if number % 12 < 2 else rng.choice(("song", "song", "theme"))
        own = society.who if sort == "jingle" or number % 9 == 4 else ""
        work = compose(society, rng, sort, own)
        register(society, rng.choice(REGISTRARS), work, work.agreed, work.seconds)
    for society.now in range(days):
        if society.now % 7 == 0:
            society.system.log_phase(f"week {society.now // 7 + 1}")
        if society.now == case.begin:
            _begin(society, case.rng("plan"))
        everyday(society, case.rng(f"day/{society.now}"))
        if society.planned:
            plays = case.rng(f"plays/{society.now}")
            for _ in range(plays.randint(1, 3)):
                broadcast(society, society.station, society.works[society.planned], plays)
        if society.now in {case.begin - 1, case.end}:
            pay(society, society.who)


def _begin(society: Society, rng: random.Random) -> None:
    """Do the act of the plan, rightly or wrongly."""
    case, now, who = society.case, society.now, society.who
    if case.has("rounding_leak"):
        case.root(
            society.act("tariff_desk", "publish_table", sort="jingle", year=2030 + now // 60, page=now % 60)
        )
        society.keeps_rest["jingle"] = not case.strikes("rounding_leak", now)
        society.planned = next(number for number, work in society.works.items() if work.sort == "jingle")
    elif case.has("doubled_act"):
        first = recoup(society, who, f"ADV-{now % 60}", 3, 48)
        if case.strikes("doubled_act", now):
            case.root(recoup(society, who, f"ADV-{now % 60}", 3, 48, owed=False), first)
    elif case.has("lost_update"):
        read, seen = look(society, society.clerk, who)
        _, fresh = look(society, "member_desk", who)
        bank = account(rng)
        society.members[who].bank = bank
        edit(society, "member_desk", who, {"bank": bank}, fresh)
        if not case.strikes("lost_update", now):
            _, seen = look(society, society.clerk, who)
        case.root(edit(society, society.clerk, who, {"street": f"{rng.choice(FIRST)} Row {now}"}, seen), read)
    else:
        work = compose(society, rng, "song", who, society.partner)
        work.agreed, work.seconds = (75, 25), 60 * rng.randint(4, 5)
        swapped, minutes = case.strikes("swapped_fields", now), case.strikes("wrong_unit", now)
        length = work.seconds // 60 if minutes else work.seconds
        case.root(register(society, society.clerk, work, (25, 75) if swapped else (75, 25), length))
        society.planned = work.number


WORLD = World(
    "royalties",
    "bare",
    ("rounding_leak", "swapped_fields", "doubled_act", "lost_update", "wrong_unit"),
    play,
    author=12,
)
