"""Auctions of advertising slots in two rooms: bidders log what they win, rooms what they sell, a ledger what it books."""

from __future__ import annotations

from functools import partial

from Agent import AgentLogger, InteractionLogger, LearningLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_set.case import Plan, Truth, World

WORTH = {"banner": 2.0, "text": 1.0, "video": 6.0, "audio": 3.5}
KINDS = tuple(WORTH)


class Ledger:
    """Everybody's money."""

    def __init__(self) -> None:
        self.agent_id = "ledger"
        self.agent_role = "service"
        self._accounts: dict[str, float] = {}

    @trace_agent_action()
    def check(self, bidder: str, amount: float) -> bool:
        """Whether somebody can pay that."""
        return self._accounts[bidder] >= amount

    @trace_agent_action()
    def charge(self, bidder: str, amount: float) -> float:
        """Takes an amount; gives what is left."""
        self._accounts[bidder] = round(self._accounts[bidder] - amount, 2)
        return self._accounts[bidder]

    @trace_agent_action()
    def deposit(self, bidder: str, amount: float) -> float:
        """Adds an amount."""
        self._accounts[bidder] = round(self._accounts.get(bidder, 0.0) + amount, 2)
        return self._accounts[bidder]

    @trace_agent_action()
    def statement(self) -> dict[str, float]:
        """All accounts."""
        return dict(self._accounts)


class Bidder:
    """Bids what it believes a slot to be worth, while it has money."""

    def __init__(self, agent_id: str, plan: Plan) -> None:
        self.agent_id = agent_id
        self.log = AgentLogger(agent_id, "bidder")
        self.learning = LearningLogger("bidding", agent_id)
        self.social = InteractionLogger(agent_id)
        self.rng = plan.chance(agent_id)
        self.values = {kind: round(worth * self.rng.uniform(0.9, 1.1), 2) for kind, worth in WORTH.items()}
        self.earned = 0.0
        self.acknowledged = True

    def bid(self, kind: str, money: float) -> float:
        """Nothing where the money does not suffice."""
        amount = round(self.values[kind] * self.rng.uniform(0.75, 1.25), 2)
        return amount if amount <= money else 0.0

    def win(self, room: str, slot: str, kind: str, price: float) -> None:
        """Learns a little of what a slot brought in."""
        worth = round(WORTH[kind] * self.rng.uniform(1.1, 1.5), 2)
        self.earned = round(self.earned + worth - price, 2)
        self.values[kind] = round(self.values[kind] + 0.02 * (worth / 1.3 - self.values[kind]), 3)
        self.social.log_interaction("win", self.agent_id, room, slot)
        self.learning.log_reward(kind, round(worth - price, 2), self.earned)

    def warm_start(self, values: dict[str, float], source: str) -> str:
        """Takes over what another campaign learned; gives the event."""
        self.values = dict(values)
        return self.learning.log_learning_update("warm_start", {"values": values, "source": source})


class Room:
    """Sells slots; the price is the bid of that rank, 1 being the second highest."""

    def __init__(self, name: str, ledger: Ledger) -> None:
        self.agent_id = name
        self.agent_role = "auctioneer"
        self._ledger = ledger
        self.price_rank = 1
        self.reserve = 0.2
        self.every: dict[str, int] = {}

    @trace_agent_action()
    def load_rules(self, reserve: float, price_rank: int) -> str:
        """What holds from now on."""
        self.reserve, self.price_rank = reserve, price_rank
        return f"reserve {reserve}, price of bid {price_rank}"

    @trace_agent_action()
    def throttle(self, bidder: str, every: int) -> int:
        """Hears a bidder in each so many-th auction only."""
        self.every = {**self.every, bidder: every}
        return every

    @trace_agent_action()
    def sell(self, slot: str, kind: str, bids: dict[str, float]) -> dict[str, object]:
        """The winner and what it pays."""
        number = int(slot.split("_")[1])
        heard = {name: bid for name, bid in bids.items() if number % self.every.get(name, 1) == 0}
        ranked = sorted(heard, key=lambda name: heard[name], reverse=True)
        if not ranked or heard[ranked[0]] < self.reserve:
            return {"winner": None}
        price = heard[ranked[self.price_rank]] if len(ranked) > self.price_rank else self.reserve
        price = max(self.reserve, price)
        self._ledger.charge(ranked[0], price)
        return {"winner": ranked[0], "price": price}


class Exchange:
    """Rooms, bidders and their treasury."""

    def __init__(self, plan: Plan, slots: int) -> None:
        self.plan, self.slots = plan, slots
        self.ledger = Ledger()
        self.rooms = [Room("room_a", self.ledger), Room("room_b", self.ledger)]
        self.bidders = [Bidder(plan.name("bidder", n), plan) for n in range(plan.size)]
        self.treasury = AgentLogger("treasury", "treasury")
        self.rng, self.hands = plan.chance("slots"), plan.chance("upkeep")
        self.sold = 0
        for bidder in self.bidders:
            self.ledger.deposit(bidder.agent_id, 60.0)

    def auctions(self) -> None:
        """Some slots in each room."""
        by_name = {bidder.agent_id: bidder for bidder in self.bidders}
        for _ in range(self.slots):
            for room in self.rooms:
                self.sold += 1
                slot, kind = f"slot_{self.sold:05d}", self.rng.choice(KINDS)
                accounts = self.ledger._accounts
                bids = {name: bidder.bid(kind, accounts[name]) for name, bidder in by_name.items()}
                result = room.sell(slot, kind, {name: bid for name, bid in bids.items() if bid})
                if result["winner"]:
                    price = float(str(result["price"]))
                    by_name[str(result["winner"])].win(room.agent_id, slot, kind, price)

    def refill(self, bidder: Bidder, lost: bool) -> str:
        """Money by message; the next comes when this one was acknowledged. Gives the event of the sending."""
        missing = max(0.0, round(60.0 - self.ledger._accounts[bidder.agent_id], 2))
        message = self.treasury.send(bidder.agent_id, {"grant": missing})
        bidder.acknowledged = False
        if not lost:
            bidder.log.receive(message)
            self.ledger.deposit(bidder.agent_id, missing)
            self.treasury.receive(bidder.log.send("treasury", {"booked": missing}))
            bidder.acknowledged = True
        return message.event_id

    def packages(self, bidder: Bidder, price: float, together: bool) -> None:
        """Both rooms offer a package for good money; who can pay gets it."""
        if together:  # both rooms ask before one has charged
            for room, paid in [(room, self.ledger.check(bidder.agent_id, price)) for room in self.rooms]:
                self._deliver(room, bidder, price, paid)
        else:
            for room in self.rooms:
                self._deliver(room, bidder, price, self.ledger.check(bidder.agent_id, price))

    def _deliver(self, room: Room, bidder: Bidder, price: float, paid: bool) -> None:
        if paid:
            self.ledger.charge(bidder.agent_id, price)
            bidder.social.log_interaction("package", bidder.agent_id, room.agent_id, data={"price": price})


def run(plan: Plan, truth: Truth, slots: int = 2) -> None:
    """One session of the exchange."""
    exchange, system = Exchange(plan, slots), SystemLogger("exchange")
    system.log_simulation_start("exchange", {"bidders": plan.size, "slots": 2 * slots})
    for room in exchange.rooms:
        room.load_rules(reserve=0.2, price_rank=1)
    dropped = False
    for now in range(plan.ticks):
        with tick(now):
            _upkeep(exchange, now)
            _plant(plan, truth, exchange, now)
            for number, bidder in enumerate(exchange.bidders):
                if (now + number) % 8 == 7 and bidder.acknowledged:
                    loses = plan.fault == "dropped_message" and number == plan.victim and now >= plan.at
                    event = exchange.refill(bidder, lost=loses and not dropped)
                    if loses and not dropped:
                        truth.note(event)
                        dropped = True
            exchange.auctions()
            if now % 10 == 9:
                exchange.ledger.statement()
    system.log_simulation_end("exchange", "finished")


def _upkeep(exchange: Exchange, now: int) -> None:
    """What changes in the ordinary course of things."""
    plan, rng = exchange.plan, exchange.hands
    bidder = exchange.bidders[(now * 5) % plan.size]
    touchable = bidder is not exchange.bidders[plan.victim] or now < plan.at - 5 or plan.fault is None
    if now % 11 == 4 and (now < plan.at or plan.fault != "off_by_one"):
        for room in exchange.rooms:
            room.load_rules(reserve=round(rng.uniform(0.15, 0.25), 2), price_rank=1)
    if now % 6 == 1 and touchable:
        room = exchange.rooms[now % 2]
        room.throttle(bidder.agent_id, every=2)
    if now % 6 == 3:
        for room in exchange.rooms:
            for name in [name for name, every in room.every.items() if every == 2]:
                room.throttle(name, every=1)
    if now % 7 == 2 and touchable:
        values = {kind: round(worth * rng.uniform(0.95, 1.1), 2) for kind, worth in WORTH.items()}
        bidder.warm_start(values, f"campaign_{rng.randint(10, 40)}")
    if now % 9 == 5 and touchable:
        money = exchange.ledger._accounts[bidder.agent_id]
        exchange.packages(bidder, round(0.6 * money, 2), together=False)


def _plant(plan: Plan, truth: Truth, exchange: Exchange, now: int) -> None:
    victim = exchange.bidders[plan.victim]
    if plan.begins("off_by_one", now):
        for room in exchange.rooms:
            room.load_rules(reserve=0.2, price_rank=0)
            truth.seek(room.agent_id, "load_rules", now)
    if plan.begins("starvation", now):
        every = plan.rng.choice([50, 100])
        for room in exchange.rooms:
            room.throttle(victim.agent_id, every=every)
            truth.seek(room.agent_id, "throttle", now, contains=f'"every": {every}')
    if plan.begins("state_corruption", now):
        shifted = {kind: WORTH[KINDS[(n + 2) % 4]] for n, kind in enumerate(KINDS)}
        truth.note(victim.warm_start(shifted, f"campaign_{plan.rng.randint(10, 40)}"))
    if now == plan.at and plan.fault in {
        None,
        "race",
    }:  # without it, the second room hears that money is short
        price = round(0.75 * exchange.ledger._accounts[victim.agent_id], 2)
        exchange.packages(victim, price, together=plan.fault == "race")
    if plan.begins("race", now):
        for action in ("check", "charge"):
            said = f'"bidder": "{victim.agent_id}", "amount": {price}'
            truth.seek("ledger", action, now, contains=said, first=2)


WORLD = World(
    name="auction",
    run=run,
    prefix="bidder",
    sizes=(6, 10),
    ticks=(60, 90),
    complaints={
        "off_by_one": "bidders win as many slots as before but since about tick {when} they earn much less by it",
        "starvation": "{victim} hardly wins anything any more although it bids as much as the others",
        "state_corruption": "{victim} does not buy videos any more and gets lots of small slots that bring in little",
        "race": "{victim} has a negative balance, how can that be when the ledger checks before it charges?",
        "dropped_message": "{victim} has run out of money and stopped bidding",
    },
)
CALM = World(
    name="auction_thin",
    run=partial(run, slots=1),
    prefix="bidder",
    sizes=(4, 12),
    ticks=(50, 110),
    complaints={
        "suspects_agent": "{victim} should win more often, is it being held back?",
        "suspects_ledger": "I suspect that the ledger charges too much since tick {when}",
    },
)
