"""A house of tailors: clerks take orders, fitters measure, cutters draw patterns, tailors sew, pressers press.

Decorated methods that call each other; one tick is half a day. Evidence: nested calls (spans), no recorded causes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

PARTS = ("chest", "waist", "hip", "sleeve", "back")
SURNAMES = ("Aldous", "Birtles", "Crane", "Dunmore", "Eversleigh", "Fanshawe", "Gaunt")
CLOTHS = ("flannel", "tweed", "blend", "mohair", "viscose")
SHRINKING = ("flannel", "tweed")
STYLES = ("lounge", "dinner", "hacking", "norfolk")
FITTERS = ("rosa", "imre", "celia")
CUTTERS = ("abel", "dorcas", "linus")
NEEDLES = ("ena", "giles", "hetty", "jonas", "kitty", "moss")


class NeedleBrokenError(RuntimeError):
    """A needle broke while sewing."""


@dataclass
class Garment:
    """A garment on its way through the house, with its size as it is now."""

    number: str
    customer: str
    cloth: str
    bolt: str = ""
    size: dict[str, float] = field(default_factory=dict)
    is_planned: bool = False


@dataclass
class House:
    """What is true in the house, whether somebody noted it or not."""

    case: Case
    bodies: dict[str, dict[str, float]] = field(default_factory=dict)
    garments: dict[str, Garment] = field(default_factory=dict)
    unshrunk: set[str] = field(default_factory=set)
    rng: random.Random = field(default_factory=random.Random)


class Hand:
    """Somebody who works in the house."""

    trace_ignore = ("house", "book", "drawer", "cards", "joined", "left", "mood")

    def __init__(self, house: House, agent_id: str, agent_role: str) -> None:
        self.house = house
        self.agent_id = agent_id
        self.agent_role = agent_role
        self.book = AgentLogger(agent_id, agent_role)
        self.mood: dict[str, Any] = {}  # how the hand works just now, of which nothing is noted


class Booth(Hand):
    """The booth that measures who stands in it."""

    @trace_agent_action()
    def scan(self, customer: str) -> dict[str, float]:
        if self.mood.pop("cold", False):
            raise TimeoutError("the lamp of the booth is cold")
        return {part: size + self.mood.get(part, 0) for part, size in self.house.bodies[customer].items()}


class CardOffice(Hand):
    """Keeps a card for each customer."""

    def __init__(self, house: House, agent_id: str, agent_role: str) -> None:
        super().__init__(house, agent_id, agent_role)
        self.cards: dict[str, dict[str, Any]] = {}
        self.joined: dict[str, str] = {}
        self.last_card = 400

    @trace_agent_action()
    def file_card(self, customer: str, surname: str, slip: dict[str, float]) -> int:
        self.last_card += 1
        self.cards[customer] = {"card": self.last_card, "surname": surname, **slip}
        return self.last_card

    @trace_agent_action()
    def pull_card(self, customer: str) -> dict[str, Any]:
        return dict(self.cards[self.joined.get(customer, customer)])

    @trace_agent_action()
    def newest_card(self, customer: str) -> int:
        return int(self.cards[self.joined.get(customer, customer)]["card"])

    @trace_agent_action()
    def compare_cards(self, one: str, other: str) -> dict[str, Any]:
        first, second = self.cards[one], self.cards[other]
        return {"surname": [first["surname"], second["surname"]], "back": [first["back"], second["back"]]}

    @trace_agent_action()
    def join_cards(self, kept: str, other: str) -> None:
        self.joined[other] = kept


class Fitter(Hand):
    """Measures customers, and lets them try on."""

    @trace_agent_action()
    def measure(self, customer: str, surname: str, booth: Booth, office: CardOffice) -> int:
        try:
            read = booth.scan(customer)
        except TimeoutError:
            self.book.warning("asked the customer to step in again", {"customer": customer})
            read = booth.scan(customer)
        if self.mood.get("tape"):
            self.tape(customer, self.mood["tape"])
        if self.mood.get("inattentive"):
            read = {**read, "chest": read["hip"], "hip": read["chest"]}
        slip = self.write_slip(customer, **read)
        return office.file_card(customer, surname, slip)

    @trace_agent_action()
    def tape(self, customer: str, part: str) -> float:
        return self.house.bodies[customer][part]

    @trace_agent_action()
    def write_slip(
        self, customer: str, chest: float, waist: float, hip: float, sleeve: float, back: float
    ) -> dict[str, float]:
        return {"chest": chest, "waist": waist, "hip": hip, "sleeve": sleeve, "back": back}

    @trace_agent_action()
    def try_on(self, garment: str, customer: str, tailor: Tailor) -> str:
        worn, body = self.house.garments[garment], self.house.bodies[customer]
        off = {part: round(worn.size[part] - body[part], 1) for part in PARTS}
        part = max(PARTS, key=lambda name: abs(off[name]))
        if abs(off[part]) > 3.0:
            back = self.book.log_action("send_back", {"garment": garment, "part": part, "off_cm": off[part]})
            sort = "tight" if off[part] < 0 else "loose"
            self.house.case.symptom(
                back,
                f"{garment} is far too {sort} in the {part}, the customer walked out of the fitting",
                f"{self.agent_id} had to send back a finished coat: {garment} cannot be worn. How did that happen?",
                f"Customer {customer} is furious. The {part} is {abs(off[part]):.0f} cm off, and we had all the time in the world",
                f"why does {garment} not fit? {tailor.agent_id} says the work itself was clean",
            )
            return "sent back"
        if abs(off[part]) >= 1.0:
            tailor.alter(garment, part)
        return "accepted"


class Cutter(Hand):
    """Draws patterns from cards, keeps them in a drawer, and cuts."""

    def __init__(self, house: House, agent_id: str, agent_role: str) -> None:
        super().__init__(house, agent_id, agent_role)
        self.drawer: dict[str, dict[str, Any]] = {}

    @trace_agent_action()
    def lay_pattern(self, garment: str, customer: str, office: CardOffice) -> dict[str, Any]:
        paper = self.drawer.get(customer)
        if (
            paper is not None
            and not self.mood.get("in_a_hurry")
            and office.newest_card(customer) != paper["card"]
        ):
            paper = None
        if paper is None:
            paper = self.draw(customer, office.pull_card(customer))
        self.house.garments[garment].size = {part: paper[part] for part in PARTS}
        return {"garment": garment, "paper": paper["card"]}

    @trace_agent_action()
    def draw(self, customer: str, card: dict[str, Any]) -> dict[str, Any]:
        self.drawer[customer] = {name: value for name, value in card.items() if name != "surname"}
        return self.drawer[customer]

    @trace_agent_action()
    def cut(self, garment: str, bolt: str, spare: str, store: Store) -> str:
        try:
            store.issue(bolt, 3)
        except ValueError:
            self.book.warning("too short, another bolt", {"bolt": bolt})
            bolt = spare
            store.issue(bolt, 3)
        self.house.garments[garment].bolt = bolt
        return bolt


class Store(Hand):
    """Keeps bolts of cloth."""

    def __init__(self, house: House, agent_id: str, agent_role: str) -> None:
        super().__init__(house, agent_id, agent_role)
        self.left: dict[str, int] = {}

    @trace_agent_action()
    def receive_bolt(self, bolt: str, cloth: str, finished: bool, use: str) -> str:
        self.left[bolt] = 3000 if use == "kept" else 12
        presser = self.mood.get("presser")
        if cloth in SHRINKING and not finished:
            self.house.unshrunk.add(bolt)
        if presser is not None:
            presser.soak(bolt)
        return self.shelve(bolt, cloth)

    @trace_agent_action()
    def shelve(self, bolt: str, cloth: str) -> str:
        return f"{cloth[:2]}{int(bolt[1:]) % 40}"

    @trace_agent_action()
    def issue(self, bolt: str, metres: int) -> int:
        if self.left[bolt] < metres:
            raise ValueError(f"{self.left[bolt]} m left on {bolt}")
        self.left[bolt] -= metres
        return self.left[bolt]

    @trace_agent_action()
    def snip_samples(self, bolt: str, pieces: int) -> None:
        self.left[bolt] -= 1


class Tailor(Hand):
    """Sews."""

    def __init__(self, house: House, agent_id: str, agent_role: str) -> None:
        super().__init__(house, agent_id, agent_role)
        self.seams = 0

    @trace_agent_action()
    def sew(self, garment: str) -> None:
        try:
            self.stitch(garment)
        except NeedleBrokenError:
            self.stitch(garment)
        self.seams += 14

    @trace_agent_action()
    def stitch(self, garment: str) -> None:
        if self.mood.pop("bad_needle", False):
            raise NeedleBrokenError("needle 90")

    @trace_agent_action()
    def alter(self, garment: str, part: str) -> None:
        self.seams += 1


class Presser(Hand):
    """Soaks cloth and presses garments."""

    @trace_agent_action()
    def soak(self, bolt: str) -> None:
        self.house.unshrunk.discard(bolt)

    @trace_agent_action()
    def press(self, garment: str) -> None:
        piece = self.house.garments[garment]
        if piece.bolt in self.house.unshrunk:
            piece.size = {part: round(size * 0.95, 1) for part, size in piece.size.items()}


class Clerk(Hand):
    """Takes orders."""

    @trace_agent_action()
    def take_order(self, garment: str, customer: str, style: str, cloth: str) -> str:
        self.house.garments[garment] = Garment(garment, customer, cloth)
        return f"{style} in {cloth}"

    @trace_agent_action()
    def write_letter(self, customer: str, about: str) -> None:
        return None


class Workshop:
    """The house, played half a day at a time."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.steps = case.rng("steps").randint(90, 170)
        self.begin, self.end = case.window(self.steps)
        self.house = house = House(case)
        self.clerks = [Clerk(house, f"clerk_{name}", "clerk") for name in ("otto", "prue", "una")]
        self.fitters = [Fitter(house, f"fitter_{name}", "fitter") for name in FITTERS]
        self.cutters = [Cutter(house, f"cutter_{name}", "cutter") for name in CUTTERS]
        self.tailors = [Tailor(house, f"tailor_{name}", "tailor") for name in NEEDLES]
        self.pressers = [Presser(house, f"presser_{name}", "presser") for name in ("sid", "tess")]
        self.booths = [Booth(house, f"booth_{side}", "booth") for side in ("left", "right")]
        self.office = CardOffice(house, "card_office", "office")
        self.store = Store(house, "storekeeper", "store")
        self.system = SystemLogger("workshop")
        self.jobs: dict[int, list[Callable[[], Any]]] = {}
        self.known: dict[str, str] = {}  # customer -> surname
        self.busy: dict[str, int] = {}  # customer -> step until which a garment of theirs is in work
        self.shelf: dict[str, list[str]] = {cloth: [] for cloth in CLOTHS}
        self.taken: set[str] = set()
        self.counts = {"c": 200, "g": 700, "b": 30}
        who = case.rng("who")
        self.first, self.last = who.sample(self.fitters, 2)
        self.cutter, self.tailor = who.choice(self.cutters), who.choice(self.tailors)
        self.presser, self.booth = who.choice(self.pressers), who.choice(self.booths)

    def at(self, step: int, job: Callable[[], Any]) -> None:
        """Plan a job."""
        self.jobs.setdefault(step, []).append(job)

    def number(self, letter: str) -> str:
        """Return the next number of customers, garments or bolts."""
        self.counts[letter] += 1
        name = f"{letter}{self.counts[letter]}"
        return self.number(letter) if name in self.taken else name

    def number_at(self, letter: str, step: int, a_step: float) -> str:
        """Return a number that is about due at a step, and keep it free."""
        number = self.counts[letter] + 8 + int(step * a_step)
        while f"{letter}{number}" in self.taken:
            number += 1
        self.taken.add(f"{letter}{number}")
        return f"{letter}{number}"

    def newcomer(self, rng: random.Random, surname: str = "", customer: str = "") -> str:
        """Return a new customer with a body."""
        customer = customer or self.number("c")
        chest = rng.randint(90, 112) + rng.choice((0.0, 0.5))
        self.house.bodies[customer] = {
            "chest": chest,
            "waist": chest - rng.randint(6, 16),
            "hip": chest + rng.randint(-9, 9),
            "sleeve": rng.randint(58, 68) + 0.5,
            "back": float(rng.randint(68, 80)),
        }
        self.known[customer] = surname or rng.choice(SURNAMES)
        return customer

    def measure(self, customer: str, rng: random.Random, **more: Any) -> None:
        """Let a fitter measure a customer."""
        how = {"cold": rng.random() < 0.06, "tape": rng.choice(("back", "sleeve", "", "", ""))}
        fitter, booth = rng.choice(self.fitters), rng.choice(self.booths)
        if rng.random() < 0.2:
            how[rng.choice(PARTS)] = rng.choice((-2.0, -1.5, -1.0, 1.0, 1.5, 2.0))
        if more:
            how = more
        fitter, booth = how.pop("fitter", fitter), how.pop("booth", booth)
        fitter.mood, booth.mood = {"tape": how.pop("tape"), "inattentive": how.pop("inattentive", False)}, how
        fitter.measure(customer, self.known[customer], booth, self.office)

    def new_bolt(self, rng: random.Random) -> None:
        """Receive a bolt; what shrinks is soaked, except what the mill has finished and what is for sample books."""
        bolt, cloth, finished = self.number("b"), rng.choice(CLOTHS), rng.random() < 0.3
        use = "samples" if rng.random() < 0.15 else "coats"
        soaked = cloth in SHRINKING and not finished and use == "coats"
        self.receive(bolt, cloth, finished, use, rng.choice(self.pressers) if soaked else None)
        if use == "samples":
            self.store.snip_samples(bolt, rng.randint(20, 60))
        else:
            self.shelf[cloth].append(bolt)

    def receive(self, bolt: str, cloth: str, finished: bool, use: str, presser: Presser | None) -> None:
        """Let the storekeeper receive a bolt, with somebody who soaks it or without."""
        self.store.mood = {"presser": presser}
        self.store.receive_bolt(bolt, cloth, finished, use)

    def lay(self, cutter: Cutter, garment: str, customer: str, ask: bool) -> None:
        """Let a cutter lay the pattern, who asks for the newest card first or not."""
        cutter.mood = {"in_a_hurry": not ask}
        cutter.lay_pattern(garment, customer, self.office)

    def sew(self, tailor: Tailor, garment: str, breaks: bool) -> None:
        """Let a tailor sew."""
        tailor.mood = {"bad_needle": breaks}
        tailor.sew(garment)

    def wear(self, low: int, mean: float, rng: random.Random) -> int:
        """Draw how long something waits."""
        return low + min(40, math.floor(rng.expovariate(1 / mean)))

    def order(self, now: int, customer: str, rng: random.Random) -> None:
        """Let a customer order a garment, and plan what follows."""
        garment, cloth = self.number("g"), rng.choice(CLOTHS)
        self.clerks[rng.randrange(3)].take_order(garment, customer, rng.choice(STYLES), cloth)
        cutter, tailor = rng.choice(self.cutters), rng.choice(self.tailors)
        laid = now + self.wear(0, 4, rng)
        sewn = laid + self.wear(0, 4, rng)
        worn = sewn + self.wear(0, 4, rng)
        self.busy[customer] = worn
        ask = rng.random() < 0.6 or customer in self.changed
        breaks, presser, fitter = rng.random() < 0.08, rng.choice(self.pressers), rng.choice(self.fitters)

        def lay() -> None:
            self.lay(cutter, garment, customer, ask)
            usable = self.shelf[cloth]
            bolt, spare = rng.choice(usable[-4:]), usable[0]
            cutter.cut(
                garment,
                bolt if self.store.left[bolt] >= 3 or rng.random() < 0.3 else spare,
                spare,
                self.store,
            )

        self.at(laid, lay)
        self.at(sewn, lambda: self.sew(tailor, garment, breaks))
        self.at(sewn, lambda: presser.press(garment))
        self.at(worn, lambda: fitter.try_on(garment, customer, tailor))

    def plan(self) -> None:
        """Plan the customer of the case: the fault is at `begin`, the fitting at `end`."""
        case, rng, begin, end = self.case, self.case.rng("plan"), self.begin, self.end
        surname = rng.choice(SURNAMES)
        measured = begin if case.has("swapped_fields") or case.has("trusted_tool") else rng.randint(1, 2)
        laid, sewn = sorted(rng.randint(begin, end) for _ in range(2))
        if case.has("stale_cache"):
            laid = begin
        ordered = rng.randint(measured, laid) if measured == begin else rng.randint(3, laid)
        received = begin if case.has("omitted_step") else rng.randint(3, laid)

        customer = self.newcomer(rng, surname, self.number_at("c", measured, 1.1))
        other = self.newcomer(rng, surname, self.number_at("c", 1, 1.1))
        body = self.house.bodies[customer]
        chest = body["chest"]
        body["hip"] = chest + rng.choice((-9, -8, -7, 7, 8, 9))
        namesake = {"chest": chest + rng.choice((-6, 6)), "hip": body["hip"] + rng.choice((-6, 6))}
        self.house.bodies[other] = {**body, **namesake}
        self.busy[customer] = self.busy[other] = self.steps
        garment = self.number_at("g", ordered, 1.8)
        piece = self.clerks[rng.randrange(3)]
        bolt, cloth = self.number_at("b", received, 0.4), rng.choice(SHRINKING)
        part, off = rng.choice(("chest", "waist", "hip")), rng.choice((-6.0, 6.0))

        def measure() -> None:
            more: dict[str, Any] = {
                "fitter": self.first,
                "booth": self.booth,
                "tape": "sleeve",
            }
            if case.strikes("swapped_fields", measured):
                more["inattentive"] = True
            if case.strikes("trusted_tool", measured):
                more[part] = off
            self.measure(customer, rng, **more)
            if case.has("swapped_fields"):
                case.root(call(self.first.agent_id, "write_slip", customer=customer))
                case.hop(call("card_office", "file_card", customer=customer))
            elif case.has("trusted_tool"):
                case.root(call(self.booth.agent_id, "scan", customer=customer))
                case.hop(call(self.first.agent_id, "write_slip", customer=customer))

        def lay() -> None:
            ask = not case.strikes("stale_cache", laid)
            self.lay(self.cutter, garment, customer, ask)
            noted = call(self.cutter.agent_id, "lay_pattern", garment=garment)
            (case.root if case.has("stale_cache") else case.hop)(noted)
            self.cutter.cut(garment, bolt, self.shelf[cloth][0], self.store)

        def receive() -> None:
            forgets = case.strikes("omitted_step", received)
            self.receive(bolt, cloth, False, "coats", None if forgets else self.presser)
            self.store.left[bolt] = 12
            if case.has("omitted_step"):
                case.root(
                    call("storekeeper", "receive_bolt", bolt=bolt), call("storekeeper", "shelve", bolt=bolt)
                )

        def press() -> None:
            self.sew(self.tailor, garment, False)
            self.presser.press(garment)
            case.hop(call(self.tailor.agent_id, "sew", garment=garment))
            case.hop(call(self.presser.agent_id, "press", garment=garment))

        self.at(measured, measure)
        self.at(rng.randint(1, 2), lambda: self.measure(other, rng, fitter=self.last, tape=""))
        if case.has("stale_cache"):
            self.first_coat(customer, measured, rng)
        if case.has("wrong_merge"):
            self.at(begin, lambda: self.compare(other, customer))
        self.at(received, receive)
        self.at(ordered, lambda: piece.take_order(garment, customer, rng.choice(STYLES), cloth))
        self.at(laid, lay)
        self.at(sewn, press)
        self.at(end, lambda: self.last.try_on(garment, customer, self.tailor))

    def first_coat(self, customer: str, measured: int, rng: random.Random) -> None:
        """Make a first coat for a customer who is measured again later."""
        garment, again = self.number_at("g", 3, 1.8), rng.randint(5, self.begin - 1)

        def make() -> None:
            self.clerks[0].take_order(garment, customer, "lounge", "blend")
            self.lay(self.cutter, garment, customer, True)
            self.cutter.cut(garment, self.shelf["blend"][0], self.shelf["blend"][0], self.store)
            self.sew(self.tailor, garment, False)
            self.last.try_on(garment, customer, self.tailor)

        def measure_again() -> None:
            change = rng.choice((-6.0, -5.0, 5.0, 6.0))
            self.house.bodies[customer]["waist"] += change
            self.house.bodies[customer]["hip"] += change
            self.measure(customer, rng, fitter=self.first, booth=self.booth, tape="back")

        self.at(max(measured, 3), make)
        self.at(again, measure_again)

    def compare(self, kept: str, other: str) -> None:
        """Let the office compare two cards of one name."""
        self.office.compare_cards(kept, other)
        if self.case.strikes("wrong_merge", self.begin):
            self.office.join_cards(kept, other)
            self.case.root(call("card_office", "join_cards", other=other))

    def everyday(self, now: int, rng: random.Random) -> None:
        """Let customers come, bolts arrive, and small things happen."""
        for _ in range(rng.choice((1, 1, 2, 2, 3))):
            free = [name for name in self.measured if self.busy.get(name, -1) < now]
            if free and rng.random() < 0.45:
                customer = rng.choice(free)
                if rng.random() < 0.3:  # has changed, and is measured again
                    self.house.bodies[customer]["waist"] += rng.choice((-4.0, -3.0, 3.0, 4.0))
                    self.changed.add(customer)
                    self.measure(customer, rng)
            else:
                customer = self.newcomer(rng)
                self.measure(customer, rng)
                self.measured.append(customer)
            self.order(now, customer, rng)
        if rng.random() < 0.4:
            self.new_bolt(rng)
        if rng.random() < 0.15 and len(self.measured) > 3:
            self.same_name(now, rng)
        if rng.random() < 0.2:
            rng.choice(self.clerks).write_letter(
                rng.choice(sorted(self.known)), rng.choice(("bill", "invitation"))
            )
        if rng.random() < 0.08:
            name = rng.choice(("steam_bar", "thread_tension", "lamp_minutes", "opening_hour"))
            self.system.log_config(name, rng.randint(2, 9), rng.randint(2, 9))
        if rng.random() < 0.05:
            rng.choice(self.pressers).book.error("iron too hot, taken off the board")
        if rng.random() < 0.05:
            rng.choice(self.tailors).book.log_action("change_thread", {"lot": rng.randint(10, 99)})
        if rng.random() < 0.015:
            rng.choice(self.cutters).book.log_action("grind_shears", {"minutes": rng.randint(10, 30)})
        if now == self.case.decoy_at:
            self.tailor.book.log_action("change_thread", {"lot": rng.randint(10, 99)})

    def same_name(self, now: int, rng: random.Random) -> None:
        """Compare two cards of one name; whoever came in twice gets one card."""
        one = rng.choice(self.measured)
        if rng.random() < 0.5:
            self.office.compare_cards(one, rng.choice(self.measured))
            return
        twice = self.newcomer(rng, self.known[one])
        self.house.bodies[twice] = self.house.bodies[one]
        self.measure(twice, rng)
        self.office.compare_cards(one, twice)
        self.office.join_cards(one, twice)
        if rng.random() < 0.6:
            self.order(now, twice, rng)
        self.busy[one] = max(
            self.busy.get(one, 0), self.steps
        )  # both names are of one body, which stays as it is

    def play(self) -> None:
        """Play all half days."""
        self.measured: list[str] = []
        self.changed: set[str] = set()
        self.plan()
        with tick(0):
            for cloth in CLOTHS:
                bolt = self.number("b")
                soaked = self.pressers[0] if cloth in SHRINKING else None
                self.receive(bolt, cloth, False, "kept", soaked)
                self.shelf[cloth].append(bolt)
        for now in range(1, self.steps):
            with tick(now):
                if now % 12 == 1:
                    self.system.log_phase(f"week_{now // 12 + 1}")
                self.everyday(now, self.case.rng(f"day/{now}"))
                for job in self.jobs.pop(now, ()):
                    job()


def play(case: Case) -> None:
    """Play a case."""
    Workshop(case).play()


WORLD = World(
    "tailors",
    "spans",
    ("stale_cache", "wrong_merge", "omitted_step", "swapped_fields", "trusted_tool"),
    play,
    author=17,
)
