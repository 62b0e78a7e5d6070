"""A small consulate: passports, papers from home, visitors and pouches, handled by desks that write to each other.

Messages sent and received and actions with causes; a tick is half a day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

PEOPLE = ("Amara", "Boris", "Chloe", "Dinesh", "Elif", "Fabio", "Gwen", "Hana", "Ilya", "Joao")
PRINTERS = ("print Lyon", "print Porto", "print Graz")
SMEARS = ("street smeared by rain", "no name at the door", "stairs closed")
TRAYS = ("blue tray", "lower tray")
CHORES = ("water_plants", "fold_flag", "wind_clock", "sort_forms", "test_siren")
ROLES = {
    "counter": "desk",
    "consul": "office",
    "guardhouse": "guard",
    "pouch": "courier",
    "customs": "border",
}


class Consulate:
    """The desks, the diary, and what each of them has in its books."""

    def __init__(self, case: Case) -> None:
        self.case, self.now, self.files = case, 0, case.seed % 900
        self.rng = case.rng("consulate")
        self.logs: dict[str, AgentLogger] = {}
        self.diary: dict[int, list[Callable[[], None]]] = defaultdict(list)
        self.person, self.spouse = self.rng.sample(PEOPLE, 2)
        self.printed: dict[str, tuple[str, str]] = {}
        self.expected: dict[str, str] = {}
        self.passes: dict[str, tuple[int, str]] = {}
        self.photos: dict[str, str] = {}
        self.trayed: list[tuple[str, str, str]] = []

    def file(self) -> str:
        """Return the number of the next file."""
        self.files += self.rng.randint(1, 4)
        return f"F-{self.files}"

    def log(self, who: str) -> AgentLogger:
        """Return the logger of a desk or a person."""
        if who not in self.logs:
            self.logs[who] = AgentLogger(who, ROLES.get(who, "print" if who in PRINTERS else "public"))
        return self.logs[who]

    def act(self, who: str, what: str, causes: str | Sequence[str] | None, /, **data: Any) -> str:
        """Record an act."""
        return self.log(who).log_action(what, data, causes=causes)

    def write(self, who: str, to: str, cause: str | None, /, **body: Any) -> tuple[str, str]:
        """Write to another desk, which reads at once; return the sending and the receipt."""
        message = self.log(who).send(to, body, causes=cause)
        return message.event_id, self.log(to).receive(message)

    def at(self, when: int, what: Callable[..., None], /, *words: Any) -> None:
        """Enter something into the diary."""
        self.diary[when].append(lambda: what(self, *words))

    def is_plan(self, kind: str) -> bool:
        """Tell whether the case begins now and is of this kind."""
        return self.case.has(kind) and self.now == self.case.begin


# Passports: the consul approves, a printer prints, the owner fetches.


def approve(c: Consulate, person: str, fetch_at: int, planned: bool) -> None:
    """Approve a passport and have it printed."""
    number, printer = c.file(), c.rng.choice(PRINTERS)
    asked = c.act("counter", "take_form", None, file=number, person=person)
    _, read = c.write("counter", "consul", asked, re="form", file=number, person=person)
    approved = c.act("consul", "approve", read, file=number, printer=printer, fetch_at=fetch_at)
    other = next(name for name in PRINTERS if name != printer)
    to = other if planned and c.case.strikes("wrong_recipient") else printer
    sent, got = c.write("consul", to, approved, re="print", file=number, person=person)
    if planned:
        c.case.root(sent)
    done = c.act(to, "print_book", got, file=number, pages=32)
    c.printed[number] = to, done
    c.at(fetch_at, fetch, person, number, printer, approved)


def fetch(c: Consulate, person: str, number: str, printer: str, approved: str) -> None:
    """Let somebody fetch a passport, which the counter has from the printer of the file."""
    came = c.act(person, "come_to_counter", None, file=number)
    where, book = c.printed[number]
    asked, got = c.write("counter", printer, came, re="book", file=number)
    if where == printer:
        handed = c.act(printer, "hand_over", [got, book], file=number)
        c.act("counter", "give_book", handed, file=number, person=person)
        return
    c.case.hop(asked, got)
    sent, read = c.write(
        printer, "counter", c.act(printer, "search", [got, approved], file=number), file=number
    )
    c.case.hop(sent)
    c.case.symptom(
        c.act(person, "go_home_without", read, file=number),
        f"I flew in for my passport, {number}, and there is none. My visa runs out on Friday",
        f"{person} stood at the counter for the second time and still has no passport",
        f"no book for {number}, although the text message said it is ready",
    )


# Photos: a registered letter asks for a missing photo; a file without one is closed on its day.


def ask_photo(c: Consulate, person: str, close_at: int, planned: bool) -> None:
    """Ask somebody for a photo by registered letter."""
    number = c.file()
    missing = c.act("counter", "note_missing_photo", None, file=number, person=person)
    _, got = c.write("counter", "pouch", missing, re="letter", file=number, person=person)
    lost = planned and c.case.strikes("dead_letter")
    if lost:
        smeared = c.log("pouch").warning("street smeared by rain", {"file": number}, causes=got)
        c.case.root(smeared, c.act("pouch", "lay_aside", smeared, file=number, tray="grey tray"))
    elif c.rng.random() < 0.35 and not planned:
        if c.rng.random() < 0.6:
            got = c.log("pouch").warning(c.rng.choice(SMEARS), {"file": number}, causes=got)
        laid = c.act("pouch", "lay_aside", got, file=number, tray=c.rng.choice(TRAYS))
        c.trayed.append((number, person, laid))
    else:
        bring_photo(c, number, person, got)
    c.at(close_at, close, person, number, missing)


def bring_photo(c: Consulate, number: str, person: str, cause: str) -> None:
    """Deliver the letter and let the person bring a photo."""
    _, got = c.write(
        "pouch", person, c.act("pouch", "ring_door", cause, file=number), re="photo", file=number
    )
    c.photos[number] = c.act(person, "bring_photo", got, file=number)


def empty_trays(c: Consulate) -> None:
    """Deliver what was laid into the usual trays."""
    for number, person, laid in c.trayed:
        bring_photo(c, number, person, laid)
    c.trayed.clear()


def close(c: Consulate, person: str, number: str, missing: str) -> None:
    """Decide on a file on the day on which it ends."""
    if number in c.photos:
        c.act("consul", "finish_file", [missing, c.photos[number]], file=number)
        return
    closed = c.act("consul", "close_unfinished", missing, file=number)
    sent, got = c.write("consul", person, closed, re="closed", file=number)
    c.case.hop(closed, sent)
    c.case.symptom(
        c.act(person, "protest", got, file=number),
        f"You closed {number} because I did not answer, but nobody ever wrote to me!",
        f"{person} has to begin again after four months and pay twice",
        f"{number} was refused. All my papers were complete as far as I know",
    )


# Visits: the consul invites, the guardhouse lets in who is on its list.


def invite(c: Consulate, person: str, come_at: int, planned: bool) -> None:
    """Invite somebody to an interview and tell the guards."""
    number = c.file()
    invited = c.act("consul", "set_interview", None, file=number, person=person, at=come_at)
    told, letter = c.write("consul", person, invited, re="interview", file=number, at=come_at)
    if not (planned and c.case.strikes("omitted_message")):
        _, got = c.write("consul", "guardhouse", invited, re="visitor", file=number, person=person)
        c.expected[number] = c.act("guardhouse", "list_visitor", got, file=number)
    if planned:
        c.case.root(invited, told)
    c.at(come_at, visit, person, number, letter)


def visit(c: Consulate, person: str, number: str, letter: str) -> None:
    """Let somebody come to the gate."""
    came = c.act(person, "ring_at_gate", letter, file=number)
    _, got = c.write(person, "guardhouse", came, re="here", file=number)
    if number in c.expected:
        c.act("guardhouse", "open_gate", [got, c.expected[number]], file=number)
        return
    refused = c.act("guardhouse", "keep_shut", got, file=number)
    c.case.hop(came, refused)
    c.case.symptom(
        c.act(person, "phone_hotline", refused, file=number),
        "I had an appointment and was left standing in the street, they did not even look at my letter",
        f"{person} was turned away by guardhouse and missed the interview",
        f"why was I not let in? My interview {number} was today at ten",
    )


# Papers: the registry's originals may cross the border while a pass is valid.


def issue_pass(c: Consulate, person: str, cross_at: int, planned: bool) -> None:
    """Allow the pouch to carry originals for some time."""
    number, spare = c.file(), c.rng.randint(8, 30)
    asked = c.act("counter", "take_request", None, file=number, person=person)
    _, got = c.write("counter", "consul", asked, re="originals", file=number)
    until = cross_at - 1 if planned and c.case.strikes("expired_permission") else cross_at + spare
    issued = c.act("consul", "issue_pass", got, file=number, valid_until=until)
    sent, read = c.write("consul", "pouch", issued, re="pass", file=number, valid_until=until)
    if planned:
        c.case.root(issued, sent)
    c.passes[number] = until, read
    c.at(cross_at, cross, person, number, planned)


def cross(c: Consulate, person: str, number: str, planned: bool) -> None:
    """Carry originals over the border."""
    until, read = c.passes[number]
    left = c.act("pouch", "drive_off", read, file=number)
    _, shown = c.write("pouch", "customs", left, re="originals", file=number)
    if planned:
        c.case.trigger(left)
    if until >= c.now:
        c.write(
            "pouch", person, c.act("customs", "wave_through", shown, file=number), re="papers", file=number
        )
        return
    kept = c.act("customs", "keep_envelope", [shown, read], file=number)
    sent, told = c.write("customs", person, kept, re="kept", file=number)
    c.case.hop(left, kept, sent)
    c.case.symptom(
        c.act(person, "call_off_wedding", told, file=number),
        f"{person} could not marry today because the birth certificate lies at the border",
        f"our papers {number} were held back, for no reason that anyone could tell us",
        "the registrar sent us home, the originals you promised did not come",
    )


MATTERS: dict[str, Callable[[Consulate, str, int, bool], None]] = {
    "wrong_recipient": approve,
    "dead_letter": ask_photo,
    "omitted_message": invite,
    "expired_permission": issue_pass,
}


def half_day(c: Consulate) -> None:
    """Do what is in the diary, what comes in, and some chores."""
    rng, case = c.rng, c.case
    empty_trays(c)
    for due in c.diary.pop(c.now, []):
        due()
    planned = next((kind for kind in MATTERS if c.is_plan(kind)), "")
    kind, person, later = rng.choice(list(MATTERS)), rng.choice(PEOPLE), rng.randint(1, 14)
    if planned:
        MATTERS[planned](c, c.person, case.end, True)
    elif rng.random() < 0.55:
        MATTERS[kind](c, person if person != c.person else c.spouse, c.now + later, False)
    who, chore = rng.choice(("counter", "consul", "guardhouse")), rng.choice(CHORES)
    if rng.random() < 0.3:
        c.act(who, chore, None, minutes=rng.randint(2, 20))
    elif rng.random() < 0.3:
        c.log(who).warning("printer jam, cleared", {"sheets": rng.randint(1, 4)})
    elif rng.random() < 0.1:
        c.log(who).log_state_change({"desk_fan": 0}, {"desk_fan": rng.randint(1, 3)}, "hot")
    if rng.random() < 0.15:
        c.act("pouch", "lay_aside", None, file=c.file(), tray=rng.choice(("grey tray", *TRAYS)))  # catalogues
    if c.now == case.decoy_at:
        c.log("guardhouse").error("the siren went off in a test", {"seconds": rng.randint(3, 30)})


def play(case: Case) -> None:
    """Play some weeks of a consulate."""
    steps = case.rng("steps").randint(60, 80)
    case.window(steps)
    c = Consulate(case)
    for now in range(steps):
        c.now = now
        with tick(now):
            half_day(c)


WORLD = World(
    "consulate",
    "edges",
    ("wrong_recipient", "dead_letter", "omitted_message", "expired_permission"),
    play,
    author=26,
)
