"""A linen laundry for the wards of a hospital: orders for a later day, two stores, vans, and a mail tray."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from Agent import AgentLogger, tick
from benchmarks.fault_worlds.kit import Case, World

WARDS = ("amber", "birch", "cedar", "dahlia", "elm", "fern", "gorse", "hazel")
ARTICLES = ("gowns", "drapes", "fleeces", "towels", "bibs", "slings")
DESKS = ("clerk_ines", "clerk_otto", "clerk_ruth")
POOL_PIECES = 50


@dataclass
class Order:
    """Pieces of an article that a ward wants on a day."""

    number: str
    ward: str
    article: str
    pieces: int
    due: int
    desk: str
    target: bool = False


@dataclass
class Held:
    """What a store holds back for an order, with the event that says so."""

    order: Order
    day: int
    because: str


@dataclass
class Store:
    """A store with the orders that it will pick, and the tray of mail that came while it was counted."""

    log: AgentLogger
    van: AgentLogger
    held: list[Held] = field(default_factory=list)
    tray: list[tuple[Order, int, str]] = field(default_factory=list)


class Laundry:
    """The laundry with its wards, played day by day."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("days")
        self.days = self.rng.randint(60, 120)
        self.begin, self.end = case.window(self.days)
        self.wards = {name: AgentLogger(name, "ward") for name in WARDS}
        self.desks = {name: AgentLogger(name, "desk") for name in DESKS}
        self.stores = {
            name: Store(AgentLogger(name, "store"), AgentLogger(van, "van"))
            for name, van in (("store_quay", "van_red"), ("store_mill", "van_blue"))
        }
        self.mail = AgentLogger("mailroom", "mail")
        self.washers = [AgentLogger(f"washer_{number}", "washer") for number in range(1, 5)]
        self.due: dict[int, list[Order]] = {}
        self.numbers = iter(range(400, 9_999))
        who = case.rng("who")
        self.ward, self.other = who.sample(WARDS[:4] if who.random() < 0.5 else WARDS[4:], 2)
        self.article, self.desk = who.choice(ARTICLES), who.choice(DESKS)

    def home(self, ward: str) -> str:
        """Return the store that serves the ward: one for the first four, the other for the rest."""
        return "store_quay" if WARDS.index(ward) < 4 else "store_mill"

    def order(
        self, now: int, ward: str, article: str, pieces: int, due: int, desk: str, target: bool = False
    ) -> str:
        """Let a ward order, and the desk accept, book and reserve; return the event of acceptance."""
        case = self.case
        order = Order(f"L{next(self.numbers)}", ward, article, pieces, due, desk, target)
        self.due.setdefault(due, []).append(order)
        log = self.desks[desk]
        message = self.wards[ward].send(
            desk, {"order": order.number, "article": article, "pieces": pieces, "due": due}
        )
        heard = log.receive(message)
        accepted = log.log_action(
            "accept_order", {"order": order.number, "ward": ward, "due": due}, causes=heard
        )
        day = due + 1 if target and case.strikes("off_by_one", now) else due
        booked = log.log_action(
            "book_day", {"order": order.number, "day": day, "article": article}, causes=accepted
        )
        if target and case.strikes("off_by_one", now):
            case.root(booked)
        if target and case.strikes("omitted_message", now):
            case.root(accepted, booked)
            return accepted
        to = self.home(ward)
        if target and case.strikes("wrong_recipient", now):
            to = next(name for name in self.stores if name != to)
        self.reserve(now, order, day, to, booked)
        if target and case.strikes("doubled_act", now):
            again = log.log_action(
                "book_day", {"order": order.number, "day": day, "article": article}, causes=accepted
            )
            case.root(again)
            self.reserve(now, order, day, to, again)
        return accepted

    def reserve(self, now: int, order: Order, day: int, to: str, booked: str) -> None:
        """Send the reservation to a store; while the store is counted, the mail room lays it into the tray."""
        case, store = self.case, self.stores[to]
        message = self.desks[order.desk].send(
            to, {"reserve": order.number, "article": order.article, "pieces": order.pieces, "day": day}
        )
        counted = self.rng.random() < 0.15 and day > now
        if (order.target and case.has("dead_letter")) or (counted and not order.target):
            aside = self.mail.log_action(
                "lay_into_tray", {"reserve": order.number, "for": to, "why": "stocktaking"}, causes=booked
            )
            if order.target and case.strikes("dead_letter", now):
                case.root(aside)
                return
            store.tray.append((order, day, aside))
            return
        heard = store.log.receive(message)
        if order.target and case.strikes("wrong_recipient", now):
            case.root(message.event_id, heard)
        self.hold(store, order, day, heard)

    def hold(self, store: Store, order: Order, day: int, because: str) -> None:
        """Let a store note what it will pick."""
        event = store.log.log_action("hold_back", {"order": order.number, "day": day}, causes=because)
        store.held.append(Held(order, day, event))
        if order.target:
            self.case.hop(event)

    def morning(self, now: int) -> None:
        """Hand over the mail of the tray, wash, and do chores."""
        for name, store in self.stores.items():
            for order, day, aside in store.tray:
                given = self.mail.log_action(
                    "hand_over", {"reserve": order.number, "for": name}, causes=aside
                )
                self.hold(store, order, day, given)
            store.tray = []
        for washer in self.washers:
            load = washer.log_action(
                "wash", {"kilos": self.rng.randint(20, 60), "degrees": self.rng.choice((60, 75, 90))}
            )
            washer.log_action("spin", {"minutes": self.rng.randint(6, 12)}, causes=load)
        if self.rng.random() < 0.12:
            self.rng.choice(self.washers).warning("lint filter full, cleaned at once")
        if self.rng.random() < 0.1:
            self.rng.choice(self.washers).log_action(
                "set_threshold", {"foam_percent": self.rng.randint(10, 30)}
            )
        if now == self.case.decoy_at:
            self.stores[self.home(self.ward)].van.warning(
                "tyre changed on the way, 20 minutes late, all delivered"
            )

    def deliver(self, now: int) -> dict[str, list[str]]:
        """Pick, load and bring what is held for today; return what reached each order."""
        case = self.case
        arrived: dict[str, list[str]] = {}
        self.pieces: dict[str, int] = {}
        for name, store in self.stores.items():
            pool = dict.fromkeys(ARTICLES, POOL_PIECES)
            for held in [one for one in store.held if one.day == now]:
                order = held.order
                taken = min(order.pieces, pool[order.article])
                pool[order.article] -= taken
                data = {"order": order.number, "article": order.article, "pieces": taken}
                picked = store.log.log_action("pick", data, causes=held.because)
                loaded = store.van.log_action("load", {"order": order.number, "pieces": taken}, causes=picked)
                if order.target:
                    case.hop(picked, loaded)
                if self.home(order.ward) != name:
                    store.van.log_action(
                        "bring_back", {"order": order.number, "why": "not on this round"}, causes=loaded
                    )
                    continue
                seen = self.wards[order.ward].log_action(
                    "unpack", {"order": order.number, "pieces": taken}, causes=loaded
                )
                arrived.setdefault(order.number, []).append(seen)
                self.pieces[order.number] = self.pieces.get(order.number, 0) + taken
            store.held = [one for one in store.held if one.day != now]
            if self.rng.random() < 0.2:
                spare = store.van.log_action("load", {"order": "spare", "pieces": self.rng.randint(1, 5)})
                store.van.log_action("bring_back", {"order": "spare", "why": "not needed"}, causes=spare)
        return arrived

    def ready(self, now: int, arrived: dict[str, list[str]]) -> None:
        """Let the wards compare what came with what they want today; too little of it is the symptom."""
        for order in self.due.pop(now, []):
            pieces = self.pieces.get(order.number, 0)
            event = self.wards[order.ward].log_action(
                "make_ready",
                {"article": order.article, "wanted": order.pieces, "there": pieces},
                causes=arrived.get(order.number),
            )
            if pieces * 2 < order.pieces:
                floor = 1 + WARDS.index(order.ward) // 4
                rest = "none" if not pieces else f"only {pieces}"
                self.case.symptom(
                    event,
                    f"On day {now} {order.ward} had {rest} of the {order.pieces} {order.article} it wanted. Everything else was on the trolley.",
                    f"Somebody had to borrow {order.article} that morning: {order.pieces} wanted, {rest} there, although they were ordered in time.",
                    f"Why did the people in {order.ward} stand there without their {order.article}?",
                    f"The wards of floor {floor} were short of {order.article}, and nobody had told them. It used to work.",
                )

    def play(self) -> None:
        """Play all days."""
        case, rng = self.case, self.rng
        second = rng.randint(self.begin, self.end - 1)
        for now in range(self.days):
            with tick(now):
                self.morning(now)
                if now == self.begin:
                    self.order(now, self.ward, self.article, 24, self.end, self.desk, target=True)
                if now == second:
                    accepted = self.order(now, self.other, self.article, 20, self.end, rng.choice(DESKS))
                    if case.has("doubled_act"):
                        case.trigger(accepted)
                        case.hop(accepted)
                for _ in range(rng.randint(1, 3)):
                    lead = max(1, round(math.exp(rng.uniform(0, math.log(0.6 * self.days)))))
                    due, article = now + lead, rng.choice(ARTICLES)
                    ward, pieces, desk = rng.choice(WARDS), rng.randint(4, 24), rng.choice(DESKS)
                    same = sum(one.pieces for one in self.due.get(due, []) if one.article == article)
                    if (
                        due < self.days
                        and same + pieces <= POOL_PIECES
                        and not (due in (self.end, self.end + 1) and article == self.article)
                    ):
                        self.order(now, ward, article, pieces, due, desk)
                self.ready(now, self.deliver(now))


def play(case: Case) -> None:
    """Play a case."""
    Laundry(case).play()


WORLD = World(
    "laundry",
    "edges",
    ("doubled_act", "dead_letter", "omitted_message", "wrong_recipient", "off_by_one"),
    play,
    author=5,
)
