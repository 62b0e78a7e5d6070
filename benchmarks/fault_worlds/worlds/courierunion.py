"""A union of bicycle couriers: stewards, an office, an insurer, companies, counsel and a mail cart, who all write notes."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

STEWARDS = ("olga", "remi", "kofi")
COMPANIES = ("swiftbox", "pedalo", "kilorad")
HALLS = ("Depot 4", "Rosa Hall", "School Gym", "Old Tram Shed")
USUAL_HALL = "Union House"
IDLE = (("oil_chain", "km"), ("copy_flyers", "copies"), ("brew_coffee", "cups"), ("change_tube", "psi"))


class Union:
    """The notes under way, the diary, and what each agent has written into its own book."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng, self.day, self.count = case, case.rng("union"), 0, case.seed % 500
        self.entries, self.votes = 0, {case.end}
        self.logs: dict[str, AgentLogger] = {}
        self.notes: deque[tuple[str, str, Any, dict[str, Any]]] = deque()
        self.diary: list[tuple[int, int, Callable[..., None], dict[str, Any]]] = []
        self.riders = [f"{a}{b}" for a in ("Ann", "Ben", "Cem", "Dia", "Eli", "Fio") for b in "KLMP"]
        self.rider, (self.company, self.other) = self.rng.choice(self.riders), self.rng.sample(COMPANIES, 2)
        self.steward, self.absent = self.rng.sample(STEWARDS, 2)
        self.rate = dict.fromkeys(COMPANIES, 410)
        self.owed = dict(self.rate)
        self.rate_event: dict[str, str] = {}
        self.cover: dict[str, tuple[int, str]] = {}
        self.dues: dict[str, tuple[int, str]] = {}
        self.meeting: dict[tuple[str, int], tuple[str, str]] = {}
        self.shelf: list[tuple[str, str, str]] = []

    def number(self, form: str) -> str:
        """Return the next number of a form."""
        self.count += self.rng.randint(1, 3)
        return f"{form}/{self.count}"

    def log(self, who: str) -> AgentLogger:
        """Return somebody's logger."""
        if who not in self.logs:
            self.logs[who] = AgentLogger(who, "company" if who in COMPANIES else "union")
        return self.logs[who]

    def do(self, who: str, what: str, cause: str | Sequence[str] | None, /, **data: Any) -> str:
        """Record an act with its causes."""
        return self.log(who).log_action(what, data, causes=cause)

    def post(self, who: str, to: str, topic: str, cause: str | None, /, **words: Any) -> str:
        """Write a note; it is read later on the same day."""
        message = self.log(who).send(to, {"re": topic, **words}, causes=cause)
        self.notes.append((to, topic, message, words))
        return str(message.event_id)

    def later(self, due: int, what: Callable[..., None], /, **words: Any) -> None:
        """Enter something into the diary."""
        self.entries += 1
        heapq.heappush(self.diary, (due, self.entries, what, words))

    def empty_box(self) -> None:
        """Let everybody read the notes of the day, also those written meanwhile."""
        while self.notes:
            to, topic, message, words = self.notes.popleft()
            READERS[topic](self, to, self.log(to).receive(message), **words)

    def is_planned(self, kind: str, rider: str = "") -> bool:
        """Tell whether this belongs to the plan of the case."""
        return self.case.has(kind) and (not rider or rider == self.rider)


TEXTS = {
    "pay": (
        "My slip from {company} still has {old} cents a drop, it should be {new} since today",
        "we won {new} cents in the talks and they go on paying {old}, why",
        "{company} pays {who} the old rate. It was agreed long ago!",
    ),
    "cover": (
        "{who} broke an arm and now insurer says there is no cover",
        "no money for my accident, they say I had not renewed. Nobody asked me to! {who}",
        "insurer turned {who} down after the crash on the ring road",
    ),
    "hall": (
        "A whole crew stood before a locked door while the vote was held at {hall}",
        "Half of the night riders missed the assembly {paper}. hall_keeper counted empty chairs",
        "why were some of us led to {usual} and not to {hall}?",
    ),
    "help": (
        "counsel will not take the case of {who}, as if no dues had been paid",
        "I pay every month and was sent away when I needed legal help, {who}",
        "{who} was told by counsel that there are {open} months open, that is nonsense",
    ),
}


def call_in(u: Union, cause: str, about: str, words: dict[str, Any]) -> None:
    """Let a rider phone; the hotline takes it down."""
    note = {key: value for key, value in words.items() if key != "usual"}
    u.post(
        "hotline",
        "hotline_book",
        "call",
        u.do("hotline", "answer_phone", cause, **note),
        about=about,
        **words,
    )


def on_call(u: Union, me: str, got: str, about: str, **words: Any) -> None:
    """Take a call down."""
    event = u.do(me, "take_down", got, **words)
    u.case.symptom(event, *(text.format(**words) for text in TEXTS[about]))


# Rates: a steward bargains, the company writes the rate into its pay roll from some day on.


def bargain(u: Union, steward: str, company: str, from_day: int, planned: bool) -> None:
    """Agree on a rate and send the accord to the company."""
    cents = u.owed[company] + u.rng.randint(3, 12)
    accord = u.number("ACC")
    signed = u.do(steward, "sign_accord", None, accord=accord, works=company, cents=cents, from_day=from_day)
    strikes = planned and u.case.strikes("wrong_recipient", u.day)
    to = u.other if strikes else company
    sent = u.post(steward, to, "accord", signed, accord=accord, works=company, cents=cents, from_day=from_day)
    u.later(from_day, lambda _, **rate: u.owed.update(rate), **{company: cents})
    if planned:
        u.case.root(sent)
    if u.rng.random() < 0.4:
        third = next(each for each in COMPANIES if each not in {company, u.other})
        u.post(steward, third, "accord", signed, accord=accord, works=company, cents=cents, from_day=from_day)


def on_accord(u: Union, me: str, got: str, accord: str, works: str, cents: int, from_day: int) -> None:
    """Enter an accord, or put one of another company aside."""
    if works != me:
        u.do(me, "put_aside", got, accord=accord)
        return
    entered = u.do(me, "enter_rate", got, accord=accord, cents=cents, from_day=from_day)
    u.later(from_day, begin_rate, company=me, cents=cents, entered=entered)


def begin_rate(u: Union, company: str, cents: int, entered: str) -> None:
    """Pay by a new rate from today."""
    u.rate[company] = cents
    u.rate_event[company] = u.do(company, "switch_rate", entered, cents=cents)


def pay_slips(u: Union) -> None:
    """Pay some riders of each company for the drops of the day."""
    for company in COMPANIES:
        for rider in u.rng.sample(u.riders, 2):
            drops, cents = u.rng.randint(8, 31), u.rate[company]
            cause = u.rate_event.get(company)
            slip = u.do(company, "pay_slip", cause, rider=rider, drops=drops, each=cents, sum=drops * cents)
            if cents < u.owed[company]:
                u.case.hop(slip)
                words = {"company": company, "who": rider, "old": cents, "new": u.owed[company]}
                call_in(u, slip, "pay", words)


# Cover: the insurer writes by the mail cart, the rider signs, the insurer renews.


def remind(u: Union, rider: str) -> None:
    """Remind a rider of the end of the cover."""
    due = u.do("insurer", "list_due", u.cover[rider][1], rider=rider, until=u.cover[rider][0])
    u.post("insurer", "mail_cart", "letter", due, rider=rider, letter=u.number("LT"))


def on_letter(u: Union, me: str, got: str, rider: str, letter: str) -> None:
    """Drop a letter at the rider's box, or shelve it."""
    mine = u.is_planned("dead_letter", rider) and u.day == u.case.begin
    box = u.rng.randint(1, 60)
    waits = u.rng.random() < 0.2
    if mine and u.case.strikes("dead_letter", u.day):
        u.case.root(u.do(me, "shelve", got, letter=letter, rider=rider, board="back"))
    elif waits and not mine:
        shelved = u.do(me, "shelve", got, letter=letter, rider=rider, board=u.rng.choice(("front", "side")))
        u.shelf.append((rider, letter, shelved))
    else:
        dropped = u.do(me, "drop", got, letter=letter, box=box)
        u.post(me, "insurer", "form", dropped, rider=rider, letter=letter)


def clear_shelf(u: Union) -> None:
    """Hand over what lies on the front and side boards."""
    for rider, letter, shelved in u.shelf:
        handed = u.do("mail_cart", "hand_over", shelved, letter=letter, rider=rider)
        u.post("mail_cart", "insurer", "form", handed, rider=rider, letter=letter)
    u.shelf.clear()


def on_form(u: Union, me: str, got: str, rider: str, letter: str) -> None:
    """Renew a cover for a long time."""
    until = u.day + 400
    u.cover[rider] = until, u.do(me, "renew", got, rider=rider, letter=letter, until=until)


def crash(u: Union, rider: str, planned: bool) -> None:
    """Report an accident."""
    report = u.do(
        "hotline", "take_report", None, rider=rider, street=u.rng.choice(("ring road", "quay", "A-Str."))
    )
    if planned:
        u.case.trigger(report)
    u.post("hotline", "insurer", "accident", report, rider=rider)


def on_accident(u: Union, me: str, got: str, rider: str) -> None:
    """Pay, or say that the cover has ended."""
    (until, cover), euro = u.cover[rider], u.rng.randint(90, 900)
    if until >= u.day:
        u.do(me, "pay_claim", [got, cover], rider=rider, euro=euro)
        return
    refused = u.do(me, "turn_down", [got, cover], rider=rider, until=until)
    u.case.hop(refused)
    call_in(u, refused, "cover", {"who": rider})


# Assemblies: the office tells the stewards where to lead their crews.


def plan_assembly(u: Union, day: int, crews: Sequence[str], planned: bool) -> None:
    """Rent a hall for a vote and tell those whose crews are asked."""
    hall, paper = u.rng.choice(HALLS), u.number("VOTE")
    rented = u.do("office", "rent_hall", None, vote=paper, hall=hall, day=day, crews=list(crews))
    told = [
        u.post("office", name, "invite", rented, vote=paper, hall=hall, day=day)
        for name in crews
        if not (planned and name == u.absent and u.case.strikes("omitted_message", u.day))
    ]
    u.post("office", "hall_keeper", "chairs", rented, vote=paper, hall=hall)
    if planned:
        u.case.root(rented, *told)
    u.later(day, hold_vote, hall=hall, vote=paper, crews=crews, day=day)


def on_invite(u: Union, me: str, got: str, vote: str, hall: str, day: int) -> None:
    """Note the hall of a day."""
    u.meeting[me, day] = hall, u.do(me, "note_hall", got, vote=vote, hall=hall, day=day)


def on_chairs(u: Union, me: str, got: str, vote: str, hall: str) -> None:
    """Order chairs."""
    u.do(me, "order_chairs", got, vote=vote, hall=hall, chairs=u.rng.randint(40, 120))


def hold_vote(u: Union, hall: str, vote: str, crews: Sequence[str], day: int) -> None:
    """Lead the crews to a hall and count them there."""
    for name in crews:
        where, note = u.meeting.get((name, day), (USUAL_HALL, ""))
        led = u.do(name, "lead_crew", note or None, to=where, day=day, riders=u.rng.randint(9, 30))
        counted = u.do("hall_keeper", "count_crew", led, vote=vote, crew=name, seated=where == hall)
        if where != hall:
            u.case.hop(led, counted)
            call_in(u, counted, "hall", {"hall": hall, "paper": vote, "usual": USUAL_HALL})


# Dues and legal help: the bank link reports, the office notes, counsel asks.


def report_dues(u: Union, rider: str, months: int, planned: bool) -> None:
    """Report how many months of dues are open."""
    if months == 0 or planned:
        booked = u.do("bank_link", "book_transfer", None, rider=rider, cents=1800)
    else:
        booked = u.do("bank_link", "miss_transfer", None, rider=rider)
    if planned and u.case.strikes("false_belief", u.day):
        months = 3
    sent = u.post("bank_link", "office", "dues", booked, rider=rider, open_months=months)
    if planned:
        u.case.root(sent)


def on_dues(u: Union, me: str, got: str, rider: str, open_months: int) -> None:
    """Note the dues of a rider."""
    u.dues[rider] = open_months, u.do(me, "note_dues", got, rider=rider, open_months=open_months)
    if u.is_planned("false_belief", rider) and u.day == u.case.begin:
        u.case.root(got, u.dues[rider][1])


def ask_help(u: Union, rider: str) -> None:
    """Ask counsel for help against a company."""
    asked = u.do("counsel", "open_file", None, rider=rider, against=u.rng.choice(COMPANIES))
    u.post("counsel", "office", "standing", asked, rider=rider)


def on_standing(u: Union, me: str, got: str, rider: str) -> None:
    """Answer from the book."""
    open_months, note = u.dues.get(rider, (0, ""))
    looked = u.do(me, "look_up", [got, note] if note else got, rider=rider, open_months=open_months)
    u.post(me, "counsel", "answer", looked, rider=rider, open_months=open_months)
    if u.is_planned("false_belief", rider):
        u.case.hop(looked)


def on_answer(u: Union, me: str, got: str, rider: str, open_months: int) -> None:
    """Take the case, or close the file."""
    if open_months < 2:
        u.do(me, "take_case", got, rider=rider)
        return
    closed = u.do(me, "close_file", got, rider=rider, open_months=open_months)
    if u.is_planned("false_belief", rider) and u.day == u.case.end:
        u.case.hop(closed)
        call_in(u, closed, "help", {"who": rider, "open": open_months})


READERS: dict[str, Callable[..., None]] = {
    "call": on_call,
    "accord": on_accord,
    "letter": on_letter,
    "form": on_form,
    "accident": on_accident,
    "invite": on_invite,
    "chairs": on_chairs,
    "dues": on_dues,
    "standing": on_standing,
    "answer": on_answer,
}


def a_day(u: Union) -> None:
    """Do what is in the diary, and what the day brings."""
    case, rng, day = u.case, u.rng, u.day
    now, others = day == case.begin, [each for each in u.riders if each != u.rider]
    while u.diary and u.diary[0][0] <= day:
        _, _, due, words = heapq.heappop(u.diary)
        due(u, **words)
    steward, lead = rng.choice(STEWARDS), rng.randint(1, 12)
    if now and case.has("wrong_recipient"):
        bargain(u, u.steward, u.company, case.end, planned=True)
    elif rng.random() < 0.3:
        free = [each for each in COMPANIES if each != u.company or day + lead < case.begin]
        bargain(u, steward, rng.choice(free), day + lead, False)
    crews = STEWARDS if rng.random() < 0.6 else rng.sample(STEWARDS, 2)
    if now and case.has("omitted_message"):
        plan_assembly(u, case.end, STEWARDS, planned=True)
    elif rng.random() < 0.25 and day + lead not in u.votes:
        u.votes.add(day + lead)
        plan_assembly(u, day + lead, crews, False)
    if rng.random() < 0.4:  # an advertisement
        u.do("mail_cart", "shelve", None, letter=u.number("LT"), rider=rng.choice(others), board="back")
    for rider in rng.sample(others, 2):
        remind(u, rider)
        report_dues(u, rng.choice(others), rng.choice((0, 0, 0, 1, 3)), False)
    if now and case.has("dead_letter"):
        remind(u, u.rider)
    if day in {case.begin, case.begin - 2} and case.has("false_belief"):
        report_dues(u, u.rider, 0, planned=now)
    if rng.random() < 0.5:
        crash(u, rng.choice(others), False)
    if rng.random() < 0.5:
        ask_help(u, rng.choice(others))
    if day == case.end and case.has("dead_letter"):
        crash(u, u.rider, planned=True)
    if day == case.end and case.has("false_belief"):
        ask_help(u, u.rider)
    u.empty_box()
    pay_slips(u)
    clear_shelf(u)
    who, (what, unit), number = (
        rng.choice(("mail_cart", "office", *STEWARDS)),
        rng.choice(IDLE),
        rng.randint(2, 40),
    )
    if rng.random() < 0.5:
        u.do(who, what, None, **{unit: number})
    elif number < 14:
        u.log(who).warning("line busy, dialled again", {"dials": number % 4 + 1})
    elif number < 22:
        u.log(who).log_state_change({"bell": number}, {"bell": number - 1}, "too loud")
    if day == case.decoy_at:
        u.log(who).error("the stamp machine stopped", {"minutes": number})
    u.empty_box()


def play(case: Case) -> None:
    """Play some weeks of the union."""
    days = case.rng("days").choice((25, 40, 60, 90))
    case.window(days)
    u = Union(case)
    for rider in u.riders:
        until = case.end - 1 if u.is_planned("dead_letter", rider) else days + u.rng.randint(1, 300)
        u.cover[rider] = until, u.do("insurer", "begin_cover", None, rider=rider, until=until)
    for day in range(days):
        u.day = day
        with tick(day):
            a_day(u)


WORLD = World(
    "courierunion", "edges", ("wrong_recipient", "dead_letter", "omitted_message", "false_belief"), play, 24
)
