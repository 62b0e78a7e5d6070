"""A notary's office and the authorities around it: actors that only write to each other, each act naming its letter."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

SURNAMES = "Abt Berger Conrad Dahl Engel Falk Gruber Hahn Imhof Janssen Keller Lorenz Maurer".split()
STREETS = ("Bach Lane", "Kirchweg", "Old Harbour", "Rosengasse", "Station Road", "Vine Hill", "Western Quay")
TRADES = ("bakery", "joinery", "bike shop", "roofing", "software", "dental lab")
CLERKS = ("clerk_ada", "clerk_ben", "clerk_cleo")


class Actor:
    """Somebody with a letter box; `on_...` methods answer letters by their subject."""

    role = "office"

    def __init__(self, name: str, office: Office) -> None:
        self.name, self.office, self.rng = name, office, office.rng
        self.log = AgentLogger(name, self.role)

    def write(self, to: str, about: str, cause: str | list[str], /, **body: Any) -> str:
        """Post a letter; return the id of the event."""
        letter = self.log.send(to, {"subject": about, **body}, causes=cause)
        self.office.post.append((to, about, letter, body))
        return letter.event_id

    def act(self, what: str, cause: str | list[str] | None = None, /, **data: Any) -> str:
        return self.log.log_action(what, data, causes=cause)


class Clerk(Actor):
    """Drafts, asks authorities and files."""

    def on_new_firm(self, got: str, matter: str, firm: str) -> None:
        case = self.office.case
        mine = firm == self.office.firm
        drafted = self.act("draft_articles", got, matter=matter, firm=firm)
        to = "tax_office" if mine and case.strikes("wrong_recipient") else "company_register"
        sent = self.write(to, "filing", drafted, matter=matter, firm=firm)
        if mine:
            case.root(sent)
        elif self.rng.random() < 0.4:  # for information
            self.write("tax_office", "filing", drafted, matter=matter, firm=firm)

    def on_new_sale(self, got: str, deed: str, parcel: str, until: int) -> None:
        opened = self.act("open_sale", got, deed=deed, parcel=parcel)
        asked = self.write("bank_desk", "power", opened, deed=deed, until=until)
        enquiry = self.write("land_registry", "title", opened, deed=deed, parcel=parcel)
        if deed == self.office.deed and self.office.case.has("expired_permission"):
            self.office.case.root(asked)
        if deed == self.office.deed and self.office.case.has("false_belief"):
            self.office.case.hop(enquiry)

    def on_same_person(self, got: str, keep: str, drop: str) -> None:
        compared = self.act("compare_files", got, one=keep, two=drop)
        sent = self.write("archive", "join", compared, keep=keep, drop=drop)
        if self.office.day == self.office.case.begin and keep == self.office.twin:
            self.office.case.root(compared, sent)

    def on_file(self, got: str, client: str, street: str, matter: str) -> None:
        letter = self.act("address_letter", got, matter=matter, client=client, street=street)
        self.office.note(client, got, letter)
        self.write("courier", "carry", letter, matter=matter, street=street, client=client)


class Bank(Actor):
    """Gives powers, opens accounts, watches its mortgages."""

    role = "outside"

    def on_power(self, got: str, deed: str, until: int) -> None:
        issued = self.act("issue_power", got, deed=deed, valid_to=until)
        sent = self.write("archive", "keep_power", issued, deed=deed, valid_to=until)
        if deed == self.office.deed and self.office.case.has("expired_permission"):
            self.office.case.root(issued)
            self.office.case.hop(sent)

    def ask_register(self, firm: str) -> None:
        wish = self.act("open_account", firm=firm)
        if firm == self.office.firm:
            self.office.case.trigger(wish)
        self.write("company_register", "enquiry", wish, firm=firm)

    def on_firm(self, got: str, firm: str, entries: int) -> None:
        decided = self.act("decide_account", got, firm=firm, granted=entries > 0)
        if not entries:
            self.office.case.hop(got, decided)
            self.write("front_desk", "visit", decided, about=firm, says="no account")

    def on_notice(self, got: str, deed: str, parcel: str, clause: bool) -> None:
        read = self.act("read_notice", got, deed=deed, parcel=parcel)
        if self.office.charges.get(parcel) and not clause:
            self.office.case.hop(got, read)
            self.write("front_desk", "visit", read, about=parcel, says="mortgage left out")


class LandRegistry(Actor):
    """Knows what lies on each parcel, and enters deeds."""

    role = "outside"

    def charge(self, parcel: str) -> None:
        self.office.charges[parcel] = 1
        self.act("enter_charge", parcel=parcel, sheet=self.rng.randint(1000, 9999), creditor="bank_desk")

    def on_title(self, got: str, deed: str, parcel: str) -> None:
        mine = deed == self.office.deed and self.office.case.has("false_belief")
        found = self.office.charges.get(parcel, 0)
        if mine and self.office.case.strikes("false_belief"):
            found = 0
        looked = self.act("look_up_title", got, parcel=parcel)
        sent = self.write("notary_haas", "extract", looked, deed=deed, parcel=parcel, charges=found)
        if mine:
            self.office.case.root(sent)

    def on_deed(self, got: str, deed: str, parcel: str, power_to: int, clause: bool) -> None:
        if power_to < self.office.day:
            returned = self.act("return_deed", got, deed=deed, power_to=power_to, today=self.office.day)
            self.office.case.hop(got, returned)
            self.write("front_desk", "visit", returned, about=deed, says="deed came back")
            return
        entered = self.act("enter_deed", got, deed=deed, parcel=parcel)
        self.write("bank_desk", "notice", entered, deed=deed, parcel=parcel, clause=clause)


class Notary(Actor):
    """Notes what extracts say, and certifies sales from these notes."""

    def __init__(self, name: str, office: Office) -> None:
        super().__init__(name, office)
        self.titles: dict[str, tuple[str, str, int]] = {}

    def on_extract(self, got: str, deed: str, parcel: str, charges: int) -> None:
        noted = self.act("note_title", got, deed=deed, parcel=parcel, charges=charges)
        self.titles[deed] = (noted, parcel, charges)
        if deed == self.office.deed and self.office.case.has("false_belief"):
            self.office.case.root(got, noted)

    def certify(self, deed: str) -> None:
        noted, parcel, charges = self.titles.pop(deed)
        kept, until = self.office.archive.powers.pop(deed)
        signed = self.act("certify", [noted, kept], deed=deed, parcel=parcel, mortgage_clause=charges > 0)
        if deed == self.office.deed:
            self.office.case.hop(signed)
            if self.office.case.has("expired_permission"):
                self.office.case.trigger(signed)
        self.write(
            "land_registry", "deed", signed, deed=deed, parcel=parcel, power_to=until, clause=charges > 0
        )


class Archive(Actor):
    """Keeps a file for each client, and the powers."""

    def __init__(self, name: str, office: Office) -> None:
        super().__init__(name, office)
        self.powers: dict[str, tuple[str, int]] = {}
        self.streets: dict[str, str] = {}
        self.joined: dict[str, str] = {}

    def open_file(self, client: str) -> None:
        name, born, street = self.office.people[client]
        self.streets[client] = street
        self.act("open_file", client=client, name=name, born=born, street=street)

    def on_keep_power(self, got: str, deed: str, valid_to: int) -> None:
        kept = self.act("shelve_power", got, deed=deed, valid_to=valid_to)
        self.powers[deed] = (kept, valid_to)

    def on_join(self, got: str, keep: str, drop: str) -> None:
        self.joined[drop] = keep
        event = self.act("join_files", got, keep=keep, drop=drop)
        if self.office.day == self.office.case.begin and keep == self.office.twin:
            self.office.case.root(event)

    def on_which_file(self, got: str, client: str, matter: str, to: str) -> None:
        kept = self.joined.get(client, client)
        pulled = self.act("pull_file", got, client=client, file=kept)
        self.office.note(client, got, pulled)
        self.write(to, "file", pulled, client=client, street=self.streets[kept], matter=matter)


class Register(Actor):
    """The register of companies."""

    role = "outside"

    def __init__(self, name: str, office: Office) -> None:
        super().__init__(name, office)
        self.firms: dict[str, str] = {}

    def on_filing(self, got: str, matter: str, firm: str) -> None:
        self.firms[firm] = self.act("enter_firm", got, matter=matter, firm=firm)

    def on_enquiry(self, got: str, firm: str) -> None:
        entry = self.firms.get(firm, "")
        searched = self.act("search", [got, entry] if entry else got, firm=firm, entries=int(bool(entry)))
        if firm == self.office.firm:
            self.office.case.hop(searched)
        self.write("bank_desk", "firm", searched, firm=firm, entries=int(bool(entry)))


class TaxOffice(Actor):
    role = "outside"

    def on_filing(self, got: str, matter: str, firm: str) -> None:
        self.act("put_on_file", got, matter=matter, firm=firm)
        if firm == self.office.firm:
            self.office.case.hop(got)


class Courier(Actor):
    """Carries letters to the doors of clients."""

    def on_carry(self, got: str, matter: str, street: str, client: str) -> None:
        cause = got
        if self.rng.random() < 0.15:
            cause = self.log.warning("nobody at home, again later", extra={"matter": matter}, causes=got)
        handed = self.act("hand_over", cause, matter=matter, street=street)
        if street != self.office.people[client][2]:
            self.office.case.hop(handed)
            self.write("front_desk", "visit", handed, about=client, says="never got it")


class FrontDesk(Actor):
    """Receives visitors."""

    def on_visit(self, got: str, about: str, says: str) -> None:
        event = self.act("take_down", got, about=about, visitor_says=says)
        self.office.complain(event, says)


class Office:
    """The post room, the diary, and what is true outside."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng, self.day, self.serial = case, case.rng("notary"), 0, case.seed % 700
        self.post: deque[tuple[str, str, Any, dict[str, Any]]] = deque()
        self.diary: list[tuple[int, Callable[[str], None], str]] = []
        self.people: dict[str, tuple[str, int, str]] = {}
        self.charges: dict[str, int] = {}
        self.archive, self.registry = Archive("archive", self), LandRegistry("land_registry", self)
        self.bank, self.notary, self.desk = (
            Bank("bank_desk", self),
            Notary("notary_haas", self),
            FrontDesk("front_desk", self),
        )
        others = [Register("company_register", self), TaxOffice("tax_office", self), Courier("courier", self)]
        others += [Clerk(name, self) for name in CLERKS]
        self.actors = {
            each.name: each
            for each in (self.archive, self.registry, self.bank, self.notary, self.desk, *others)
        }
        self.firm = self.deed = self.twin = self.client = self.spare = ""
        self.parcel = self.next("parcel {}/1")
        self.on_market: deque[str] = deque()
        self.charged_on = self.rng.randint(0, case.begin - 1)

    def next(self, form: str) -> str:
        self.serial += self.rng.randint(1, 2)
        return form.format(self.serial)

    def note(self, client: str, *events: str) -> None:
        """Note hops of the letter of the case."""
        if client == self.client and self.day >= self.case.end:
            self.case.hop(*events)

    def deliver(self) -> None:
        """Hand over all letters, also those that are written meanwhile."""
        while self.post:
            to, about, letter, body = self.post.popleft()
            got = self.actors[to].log.receive(letter)
            getattr(self.actors[to], f"on_{about}")(got, **body)

    def person(self, like: str = "", **change: Any) -> str:
        """Open a file for somebody; the same person may have two."""
        client = self.next("C{}")
        name = f"{self.rng.choice('ABEHJKMT')}. {self.rng.choice(SURNAMES)}"
        fresh = (name, self.rng.randint(1940, 2001), f"{self.rng.choice(STREETS)} {self.rng.randint(1, 90)}")
        self.people[client] = self.people[like] if like else fresh
        if change:
            self.people[client] = (change["name"], *fresh[1:])
        self.archive.open_file(client)
        return client

    def open_firm(self, *, planned: bool = False) -> None:
        firm = f"{self.rng.choice(SURNAMES)} {self.rng.choice(TRADES)} {self.next('{}')}"
        if planned:
            self.firm = firm
        came = self.desk.act("greet", about="new firm", firm=firm)
        self.desk.write(self.rng.choice(CLERKS), "new_firm", came, matter=self.next("M-{}"), firm=firm)
        due = self.case.end if planned else self.day + self.rng.randint(1, 12)
        self.diary.append((due, self.bank.ask_register, firm))

    def open_sale(self, *, planned: bool = False) -> None:
        rng, case = self.rng, self.case
        deed, parcel = self.next("D-{}"), self.parcel if planned else self.on_market.popleft()
        due, more = self.day + rng.randint(1, 14), rng.randint(0, 9)
        if planned:
            self.deed, due = deed, case.end
        until = due + more
        shorter = rng.randint(case.begin, max(case.begin, case.end - 1))
        if planned and case.strikes("expired_permission", self.day):
            until = shorter
        came = self.desk.act("greet", about="sale", parcel=parcel)
        self.desk.write(rng.choice(CLERKS), "new_sale", came, deed=deed, parcel=parcel, until=until)
        self.diary.append((due, self.notary.certify, deed))

    def join(self, keep: str, drop: str) -> None:
        told = self.desk.act("check_passport", client=drop, name=self.people[keep][0])
        self.desk.write(self.rng.choice(CLERKS), "same_person", told, keep=keep, drop=drop)

    def letter(self, client: str) -> None:
        matter = self.next("M-{}")
        asked = self.desk.act("send_for", matter=matter, client=client)
        self.note(client, asked)
        self.desk.write(
            "archive", "which_file", asked, client=client, matter=matter, to=self.rng.choice(CLERKS)
        )

    def complain(self, event: str, says: str) -> None:
        name = self.people[self.client][0] if self.client else ""
        words = {
            "firm": self.firm,
            "deed": self.deed,
            "parcel": self.parcel,
            "client": self.client,
            "name": name,
        }
        self.case.symptom(event, *(text.format(**words) for text in TEXTS[says]))


TEXTS = {
    "no account": (
        "The bank says that {firm} does not exist, and we had signed everything",
        "{firm} is unknown at the company_register, why? We paid for the foundation",
        "no account for {firm} because nobody has it in the books",
    ),
    "mortgage left out": (
        "bank_desk is furious: the contract for {parcel} was made as if nothing lay on the land",
        "We bought {parcel} free of debts, and now there is a mortgage on it!",
        "the sale {deed} has no word about the mortgage of {parcel}",
    ),
    "deed came back": (
        "land_registry sent {deed} back unentered, on the very day of the signature",
        "Our purchase of {parcel} was not entered. All of us were there to sign, what went wrong",
        "{deed} refused, something of the papers was out of date",
    ),
    "never got it": (
        "{name} never got the letter, a stranger opened it instead",
        "client {client} complains that private papers were handed over at another house by the courier",
        "my will was brought to somebody I do not know. {name}",
    ),
}


def a_day(office: Office, day: int) -> None:
    """Visitors, appointments and small things of one day."""
    case, rng = office.case, office.rng
    now = day == case.begin
    for item in [each for each in office.diary if each[0] <= day]:
        office.diary.remove(item)
        item[1](item[2])
    if case.has("false_belief") and day == office.charged_on:
        office.registry.charge(office.parcel)
    if rng.random() < 0.5 or not office.on_market:
        office.on_market.append(office.next("parcel {}/2"))
        if rng.random() < 0.45:
            office.registry.charge(office.on_market[-1])
    if day < 3:
        for _ in range(4):
            office.person()
    if case.has("wrong_merge") and day == 1:
        office.twin = office.person()
        office.client = office.person(name=office.people[office.twin][0])
    if case.has("wrong_merge") and day == case.begin - 1:
        office.spare = office.person(like=office.twin)
    if case.has("wrong_merge") and now:
        office.join(office.twin, office.client if case.strikes("wrong_merge", day) else office.spare)
    elif rng.random() < 0.15 and day > 3:
        one = rng.choice(
            [each for each in office.people if each not in {office.twin, office.client, office.spare}]
        )
        office.join(one, office.person(like=one))
    if (now and case.has("wrong_recipient")) or rng.random() < 0.4:
        office.open_firm(planned=now and case.has("wrong_recipient"))
    sale = now and (case.has("false_belief") or case.has("expired_permission"))
    if sale or rng.random() < 0.5:
        office.open_sale(planned=sale)
    free = [each for each in office.people if each != office.client or day < case.begin]
    for client in rng.sample(free, min(2, len(free))):
        office.letter(client)
    if day == case.end and office.client:
        office.letter(office.client)
    if rng.random() < 0.5:
        actor = office.actors[rng.choice(sorted(office.actors))]
        kind = rng.choice(("action", "action", "warning", "state"))
        if kind == "action":
            actor.act(
                rng.choice(("sharpen_pencils", "bind_volume", "set_display")), minutes=rng.randint(1, 30)
            )
        elif kind == "warning":
            actor.log.warning(
                rng.choice(("scanner jams", "stamp is dry", "line engaged")), {"minutes": rng.randint(1, 9)}
            )
        else:
            actor.log.log_state_change({"window": "open"}, {"window": "shut"}, "noise")
    if day == case.decoy_at:
        actor = office.actors[rng.choice(CLERKS)]
        if rng.random() < 0.5:
            actor.log.error("file server unreachable", extra={"seconds": rng.randint(5, 90)})
        else:
            actor.act("store_plan", holiday_from=day + 2)
    office.deliver()


def play(case: Case) -> None:
    """Play some months of an office."""
    days = case.rng("days").choice((30, 50, 70, 95))
    case.window(days)
    office = Office(case)
    for day in range(days):
        office.day = day
        with tick(day):
            a_day(office, day)


WORLD = World(
    "notary",
    "edges",
    ("expired_permission", "wrong_merge", "false_belief", "wrong_recipient"),
    play,
    author=19,
)
