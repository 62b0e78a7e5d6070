"""A call centre for household appliances: everybody works off a box of messages, and notes why each act was done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World, call

TOWNS = ("Ashby", "Brookvale", "Carrow", "Dunmere", "Eastleigh", "Farley")
FIXERS = dict(zip(("Roman", "Ramon", "Danuta", "Dalila", "Piet", "Petra"), TOWNS, strict=True))
CLERKS = ("desk/Yusuf", "desk/Mei", "desk/Carla", "desk/Ben")
PARTS = {
    "washer WX-300": "pump P-71",
    "washer WX-450": "pump P-74",
    "dryer D9": "belt B-12",
    "oven Ember 2": "thermostat T-4",
    "fridge Polar S": "seal S-30",
    "dishwasher Q6": "spray arm A-8",
    "hob Volta": "relay R-15",
}
NAMES = ("Abbott", "Bhatt", "Cole", "Dietz", "Evans", "Farouk", "Grant", "Hussain", "Ito", "Koch", "Lund")
WRONG_PART = "pump P-17"

Body = dict[str, Any]
W = TypeVar("W", bound="Worker")


@dataclass
class Ticket:
    """A broken appliance: who waits for whom at what time."""

    number: str
    customer: str
    model: str
    town: str
    slot: int
    needs_part: bool
    at_home: int
    covered: bool = False
    visited: bool = False

    @property
    def fixer(self) -> str:
        """Who works in the town of the customer."""
        return next(name for name, town in FIXERS.items() if town == self.town)


class Worker:
    """Somebody with a box: `on_...` methods say what is done about a message."""

    def __init__(self, centre: Centre, name: str, role: str) -> None:
        self.centre, self.name = centre, name
        self.log = AgentLogger(name, role)

    def tell(self, to: str, about: str, why: str, **more: Any) -> str:
        """Send a message; return the event of the sending."""
        message = self.log.send(to, {"about": about, **more}, causes=[why])
        self.centre.post.append(message)
        return message.event_id

    def take(self, message: Any) -> None:
        """Receive a message, and do what belongs to it."""
        seen = self.log.receive(message)
        handler: Callable[[Body, str], None] = getattr(self, f"on_{message.body['about']}")
        handler(message.body, seen)

    def act(self, name: str, why: str | Sequence[str], **data: Any) -> str:
        """Do something because of one or more events."""
        return self.log.log_action(name, data, causes=[why] if isinstance(why, str) else list(why))


class Dispatch(Worker):
    """Gives jobs to fixers, and moves them."""

    def on_job(self, body: Body, seen: str) -> None:
        """Give a job to the fixer of the town."""
        ticket = self.centre.tickets[body["ticket"]]
        fixer = ticket.fixer
        done = self.act("assign", seen, ticket=ticket.number, fixer=fixer, slot=ticket.slot)
        self.tell("parts depot", "need", done, ticket=ticket.number, model=ticket.model)
        to = self.centre.misled.get(ticket.number, fixer)
        sent = self.tell(to, "visit", done, ticket=ticket.number, town=ticket.town, slot=ticket.slot)
        if ticket.number == self.centre.mine and self.centre.case.has("wrong_recipient"):
            self.centre.case.root(sent)

    def on_move(self, body: Body, seen: str) -> None:
        """Move a job to another slot."""
        done = self.act("reassign", seen, ticket=body["ticket"], slot=body["slot"])
        self.tell(body["fixer"], "visit", done, ticket=body["ticket"], town=body["town"], slot=body["slot"])


class Depot(Worker):
    """Knows which part each model takes, from bulletins of the makers, and packs parts for jobs."""

    def __init__(self, centre: Centre, name: str, role: str) -> None:
        super().__init__(centre, name, role)
        self.list = dict(PARTS)

    def on_bulletin(self, body: Body, seen: str) -> None:
        """Believe a bulletin."""
        self.list[body["model"]] = body["part"]
        done = self.act("file_bulletin", seen, model=body["model"], part=body["part"], sheet=body["sheet"])
        if body["sheet"] == self.centre.sheet:
            self.centre.case.root(done)

    def on_need(self, body: Body, seen: str) -> None:
        """Pack a part for a job."""
        part = self.list[body["model"]]
        self.centre.packed[body["ticket"]] = part
        done = self.act("pack_part", seen, ticket=body["ticket"], part=part)
        if body["ticket"] == self.centre.mine and self.centre.case.has("false_belief"):
            self.centre.case.hop(done)


class Warranty(Worker):
    """Promises that repairs cost nothing, up to some slot."""

    def on_plea(self, body: Body, seen: str) -> None:
        """Grant cover for as long as asked, or a little longer."""
        done = self.act("grant_cover", seen, ticket=body["ticket"], until=body["until"])
        self.tell("billing", "cover", done, ticket=body["ticket"], until=body["until"])
        if body["ticket"] == self.centre.mine and self.centre.case.has("expired_permission"):
            self.centre.case.root(done)


class Billing(Worker):
    """Writes invoices."""

    def __init__(self, centre: Centre, name: str, role: str) -> None:
        super().__init__(centre, name, role)
        self.covers: dict[str, tuple[int, str]] = {}

    def on_cover(self, body: Body, seen: str) -> None:
        """Note a cover."""
        self.covers[body["ticket"]] = (body["until"], seen)

    def on_report(self, body: Body, seen: str) -> None:
        """Write an invoice for a visit."""
        centre, ticket = self.centre, self.centre.tickets[body["ticket"]]
        until, noted = self.covers.get(ticket.number, (-1, ""))
        euros = body["minutes"] * 2 + 40 if body["used"] else 0
        amount = 0 if until >= centre.now else euros
        done = self.act("invoice", [seen, noted] if noted else seen, ticket=ticket.number, euros=amount)
        opened = centre.person(ticket.customer).act("open_letter", done, ticket=ticket.number, euros=amount)
        if ticket.covered and amount:
            centre.case.hop(done)
            centre.tell(opened, "bill", ticket, euros=amount)


class Fixer(Worker):
    """Drives to customers."""

    def __init__(self, centre: Centre, name: str, role: str) -> None:
        super().__init__(centre, name, role)
        self.plan: dict[str, tuple[int, str]] = {}

    def on_visit(self, body: Body, seen: str) -> None:
        """Put a visit into the plan, unless the town is somebody else's."""
        if body["town"] == FIXERS[self.name]:
            self.plan[body["ticket"]] = (body["slot"], seen)
        else:
            done = self.act("set_aside", seen, ticket=body["ticket"], town=body["town"])
            if body["ticket"] == self.centre.mine:
                self.centre.case.hop(done)

    def work(self, now: int) -> None:
        """Make the visits of this slot."""
        centre = self.centre
        for number, (_, seen) in [item for item in self.plan.items() if item[1][0] == now]:
            del self.plan[number]
            ticket, minutes = centre.tickets[number], centre.rng.randint(20, 90)
            ticket.visited = True
            if ticket.at_home != now:
                done = self.act("ring_bell", seen, ticket=number, answer="nobody")
                card = centre.person(ticket.customer).act("find_card", done, ticket=number, fixer=self.name)
                centre.case.hop(done)
                centre.tell(card, "missed", ticket, fixer=self.name)
                continue
            fits = not ticket.needs_part or centre.packed[number] == PARTS[ticket.model]
            done = self.act("repair", seen, ticket=number, part=centre.packed[number], running=fits)
            rated = centre.person(ticket.customer).act("rate", done, ticket=number, stars=5 if fits else 1)
            if not fits:
                centre.case.hop(done)
                centre.tell(rated, "no fit", ticket, fixer=self.name)
            self.tell(
                "billing", "report", done, ticket=number, minutes=minutes, used=fits and ticket.needs_part
            )


class Clerk(Worker):
    """Answers the telephone."""

    def open(self, ticket: Ticket, now: int) -> str:
        """Open a ticket and ask for a visit."""
        data = {
            "ticket": ticket.number,
            "customer": ticket.customer,
            "model": ticket.model,
            "slot": ticket.slot,
        }
        done = self.log.log_action("open_ticket", data)
        self.tell("dispatch", "job", done, ticket=ticket.number)
        return done

    def plead(self, ticket: Ticket, until: int) -> None:
        """Ask for a cover."""
        done = self.log.log_action("promise_free", {"ticket": ticket.number, "until": until})
        self.tell("warranty desk", "plea", done, ticket=ticket.number, until=until)

    def move(self, ticket: Ticket, slot: int, *, passes_on: bool) -> str:
        """Write down that a customer is at home at another time, and tell the dispatch."""
        noted = self.log.log_action(
            "note_wish", {"ticket": ticket.number, "wish": "other time", "slot": slot}
        )
        if passes_on:
            data = {"ticket": ticket.number, "slot": slot, "fixer": ticket.fixer, "town": ticket.town}
            self.tell("dispatch", "move", noted, **data)
        ticket.at_home = slot
        return noted


class Maker(Worker):
    """A maker of appliances, who sends bulletins."""

    def publish(self, model: str, part: str, sheet: int) -> None:
        """Send a bulletin to the depot."""
        done = self.log.log_action("print_sheet", {"sheet": sheet, "model": model})
        sent = self.tell("parts depot", "bulletin", done, model=model, part=part, sheet=sheet)
        if sheet == self.centre.sheet:
            self.centre.case.root(sent)


TEXTS = {
    "bill": (
        "{customer} got a bill of {euros} euros for a repair that was promised to be free",
        "Why was ticket {ticket} invoiced at all? It was under warranty, they said so on the phone",
        "a free repair of the {model} has cost {euros} euros in the end",
        "I was told I pay nothing. Now there is an invoice over {euros} in the letter box ({customer})",
    ),
    "missed": (
        "{fixer} rang at an empty flat although we had told you another time",
        "The technician came on the wrong day for ticket {ticket}, {customer} had asked for a later one",
        "why did {fixer} stand before a closed door",
        "I stay at home on the new date, and you come on the old one. The {model} still does not run",
    ),
    "no fit": (
        "{fixer} brought something that does not go into a {model}",
        "the part for our {model} did not fit, so it is still broken",
        "Why was the wrong spare part in the van for {ticket}? {customer} gave one star",
        "Same {model} as my neighbour has, hers was repaired at once, for mine they had an unsuitable piece",
    ),
    "waited": (
        "nobody came to {customer} in {town} at the agreed time",
        "I took a day off for ticket {ticket} and not a soul turned up",
        "Why has no one visited {customer}? The {model} has been standing still, and nobody called either",
        "The visit in {town} never took place, though the desk still shows it as given out",
    ),
}


class Centre:
    """The call centre: everybody in it, the post, and the tickets."""

    def __init__(self, case: Case, longest: int) -> None:
        self.case, self.rng, self.now, self.longest = case, case.rng("centre"), 0, longest
        self.post: deque[Any] = deque()
        self.people: dict[str, Worker] = {}
        self.tickets: dict[str, Ticket] = {}
        self.packed: dict[str, str] = {}
        self.misled: dict[str, str] = {}
        self.mine, self.sheet, self.sheets, self.last = "", -1, 100, 20_000
        self.add(Dispatch, "dispatch", "office"), self.add(Depot, "parts depot", "store")
        self.add(Warranty, "warranty desk", "office"), self.add(Billing, "billing", "office")
        self.clerks = [self.add(Clerk, name, "clerk") for name in CLERKS]
        self.fixers = [self.add(Fixer, name, "fixer") for name in FIXERS]
        self.makers = [self.add(Maker, name, "maker") for name in ("Nordwerk", "Casa Bella", "Hartmann AG")]
        self.model = self.rng.choice([model for model in PARTS if "washer" in model])

    def add(self, kind: type[W], name: str, role: str) -> W:
        """Let somebody join."""
        worker = kind(self, name, role)
        self.people[name] = worker
        return worker

    def person(self, name: str) -> Worker:
        """Return a customer."""
        return self.people[name] if name in self.people else self.add(Worker, name, "customer")

    def pump(self) -> None:
        """Deliver messages until none is left."""
        while self.post:
            message = self.post.popleft()
            self.people[message.recipient].take(message)

    def new_ticket(self, rng: Random, slot: int, model: str = "") -> Ticket:
        """Let something break."""
        self.last += rng.randint(1, 7)
        models = [name for name in PARTS if name != self.model or not self.case.has("false_belief")]
        if self.now < self.case.begin:
            models = list(PARTS)
        kind = model or rng.choice(models)
        if model and not self.case.has("false_belief"):
            kind = rng.choice(list(PARTS))
        name = f"{rng.choice(NAMES)} {rng.choice('ABCDEFGHKLM')}."
        ticket = Ticket(
            f"#{self.last}", name, kind, rng.choice(TOWNS), slot, bool(model) or rng.random() < 0.7, slot
        )
        self.tickets[ticket.number] = ticket
        return ticket

    def tell(self, event: str, matter: str, ticket: Ticket, **more: object) -> None:
        """Let a user write about an event."""
        words = {
            "customer": ticket.customer,
            "ticket": ticket.number,
            "model": ticket.model,
            "town": ticket.town,
        }
        self.case.symptom(event, *(text.format(**words, **more) for text in TEXTS[matter]))


def everyday(centre: Centre, rng: Random) -> None:
    """Tickets, covers, wishes and bulletins as they come."""
    now = centre.now
    for _ in range(rng.choice((0, 1, 1, 2))):
        ahead = rng.randint(1, 9) if rng.random() < 0.85 else rng.randint(10, centre.longest)
        ticket, clerk = centre.new_ticket(rng, now + ahead), rng.choice(centre.clerks)
        clerk.open(ticket, now)
        if rng.random() < 0.35:
            ticket.covered = True
            short = not ticket.needs_part and rng.random() < 0.6
            clerk.plead(ticket, now if short else ticket.slot + rng.randint(0, 5))
        centre.pump()
    open_ones = [item for item in centre.tickets.values() if item.slot > now and item.number != centre.mine]
    if open_ones and rng.random() < 0.4:
        ticket, clerk = rng.choice(open_ones), rng.choice(centre.clerks)
        if rng.random() < 0.5 and ticket.slot == ticket.at_home and not ticket.covered:
            ticket.slot += rng.randint(1, 4)
            clerk.move(ticket, ticket.slot, passes_on=True)
        else:
            wish = rng.choice(("mind the dog", "door code 4411", "please by e-mail", "bring shoe covers"))
            clerk.log.log_action("note_wish", {"ticket": ticket.number, "wish": wish})
    if rng.random() < 0.3:
        centre.sheets += 1
        model = rng.choice([name for name in PARTS if name != centre.model])
        rng.choice(centre.makers).publish(model, PARTS[model], centre.sheets)
    centre.pump()


def plot(centre: Centre, rng: Random) -> None:
    """The ticket of the case, and what happens to it."""
    case, now = centre.case, centre.now
    clerk = rng.choice(centre.clerks)
    opens = {"omitted_message": max(0, case.begin - 2), "false_belief": max(case.begin, case.end - 3)}
    if case.has("false_belief") and now == case.begin:
        centre.sheets += 1
        centre.sheet = centre.sheets
        part = WRONG_PART if case.strikes("false_belief", now) else PARTS[centre.model]
        rng.choice(centre.makers).publish(centre.model, part, centre.sheet)
        centre.pump()
    if now == opens.get(case.kind, case.begin):
        ticket = centre.new_ticket(rng, case.end, centre.model)
        centre.mine = ticket.number
        if case.strikes("wrong_recipient", now):
            fixer = ticket.fixer
            centre.misled[ticket.number] = next(
                name for name in FIXERS if name[0] == fixer[0] and name != fixer
            )
        opened = clerk.open(ticket, now)
        if case.has("false_belief"):
            case.trigger(opened)
        if case.has("expired_permission"):
            lag = case.end - now
            ticket.covered = True
            is_short = case.strikes("expired_permission", now)
            until = now + min(lag - 1, int(lag * 0.6)) if is_short else case.end + 2
            clerk.plead(ticket, until)
            case.root(call(clerk.name, "promise_free", ticket=ticket.number))
        centre.pump()
    if case.has("omitted_message") and now == case.begin:
        ticket = centre.tickets[centre.mine]
        later = case.end + rng.randint(1, 3)
        case.root(clerk.move(ticket, later, passes_on=not case.strikes("omitted_message", now)))
        centre.pump()


def evening(centre: Centre) -> None:
    """Whoever has waited in vain calls again."""
    waiting = [item for item in centre.tickets.values() if item.at_home == centre.now and not item.visited]
    for ticket in waiting:
        event = centre.person(ticket.customer).log.log_action("wait_in_vain", {"ticket": ticket.number})
        centre.tell(event, "waited", ticket)


def noise(centre: Centre, rng: Random) -> None:
    """Hiccups, settings, chores, jobs sent about, and a coincidence."""
    clerk, fixer = rng.choice(centre.clerks), rng.choice(centre.fixers)
    if rng.random() < 0.25:
        tune = rng.choice(("rain", "harp", "none"))
        clerk.log.log_action("set_display", {"hold_music": tune})
    if rng.random() < 0.2:
        lost = clerk.log.warning("line dropped", extra={"line": rng.randint(1, 9)})
        clerk.act("call_back", lost, line=rng.randint(1, 9))
    if rng.random() < 0.08:
        fixer.log.error("navigation froze, started again", extra={"van": rng.randint(1, 20)})
    others = [
        item for item in centre.tickets.values() if item.slot > centre.now and item.number != centre.mine
    ]
    if others and rng.random() < 0.25:  # in case that the first one has no time, a second one is told
        ticket, dispatch = rng.choice(others), centre.people["dispatch"]
        if ticket.town != FIXERS[fixer.name]:
            note = dispatch.log.log_action("name_deputy", {"ticket": ticket.number, "fixer": fixer.name})
            dispatch.tell(fixer.name, "visit", note, ticket=ticket.number, town=ticket.town, slot=ticket.slot)
            centre.pump()
    if centre.now == centre.case.decoy_at:
        clerk.log.warning("headset noise, changed", extra={"desk": clerk.name})


def play(case: Case) -> None:
    """Play some weeks of the call centre."""
    slots = case.rng("slots").choice((36, 64, 110, 180))
    case.window(slots)
    centre = Centre(case, slots * 6 // 10)
    for now in range(slots):
        with tick(now):
            centre.now = now
            noise(centre, case.rng(f"noise/{now}"))
            everyday(centre, case.rng(f"everyday/{now}"))
            plot(centre, case.rng(f"plot/{now}"))
            for fixer in centre.fixers:
                fixer.work(now)
                centre.pump()
            evening(centre)


WORLD = World(
    "appliances",
    "edges",
    ("omitted_message", "expired_permission", "wrong_recipient", "false_belief"),
    play,
    21,
)
