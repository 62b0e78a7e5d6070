"""An auction house. Coroutines of clerks, cashiers and auctioneers run side by side; calls nest, and there are no ticks."""

from __future__ import annotations

import asyncio
from typing import Any

from Agent import AgentLogger, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

LOTS = 100
QUOTA = 40
CALLS_PER_LOT = 2


class Gateway:
    """The bank's door. Each lot brings a few more requests that it allows."""

    agent_id, agent_role = "gateway", "bank"

    def __init__(self) -> None:
        self.quota = QUOTA
        self.credit: dict[str, int] = {}

    @trace_agent_action()
    async def charge(self, bidder: str, euros: int, valid: bool = True) -> str:
        await asyncio.sleep(0)
        self.quota -= 1
        if self.quota < 0:
            return "too many requests"
        if not valid:
            return "card unknown"
        left = self.credit.get(bidder, 9_000) - euros
        if left < 0:
            return "credit used up"
        self.credit[bidder] = left
        return "charged"


class Cashier:
    agent_role = "cashier"
    trace_ignore = ("gateway", "records", "patient")

    def __init__(self, name: str, gateway: Gateway) -> None:
        self.agent_id, self.gateway = name, gateway
        self.records = AgentLogger(name, "cashier")
        self.patient = True

    @trace_agent_action()
    async def take_deposit(self, bidder: str, euros: int) -> str:
        return await self.gateway.charge(bidder, euros)

    @trace_agent_action()
    async def collect(self, bidder: str, euros: int) -> str:
        return await self.gateway.charge(bidder, euros)

    @trace_agent_action()
    async def check_card(self, bidder: str, tries: int) -> int:
        """Ask for a card until it is known; a patient cashier gives up after two."""
        for attempt in range(1, tries + 1):
            if await self.gateway.charge(bidder, 0, valid=False) == "charged":
                return attempt
            self.records.warning("the card was not accepted", {"bidder": bidder, "attempt": attempt})
            if attempt == 2 and self.patient:
                break
        return 0


class PaddleBook:
    agent_id, agent_role = "paddle_book", "book"

    def __init__(self) -> None:
        self.holder: dict[int, str] = {}

    @trace_agent_action()
    async def first_free(self) -> int:
        await asyncio.sleep(0)
        return next(number for number in range(1, 1000) if number not in self.holder)

    @trace_agent_action()
    async def write_in(self, paddle: int, bidder: str) -> str:
        self.holder[paddle] = bidder
        return bidder

    @trace_agent_action()
    async def who_has(self, paddle: int) -> str:
        return self.holder.get(paddle, "nobody")


class Clerk:
    agent_role = "clerk"
    trace_ignore = ("book", "line", "stands_in_line")

    def __init__(self, name: str, book: PaddleBook, line: asyncio.Lock) -> None:
        self.agent_id, self.book, self.line = name, book, line
        self.stands_in_line = True

    @trace_agent_action()
    async def register(self, bidder: str) -> int:
        """Look for a free paddle and write the bidder in; one clerk at a time, as the rule is."""
        if not self.stands_in_line:
            return await self._look_and_write(bidder)
        async with self.line:
            return await self._look_and_write(bidder)

    async def _look_and_write(self, bidder: str) -> int:
        paddle = await self.book.first_free()
        await asyncio.sleep(0)
        await self.book.write_in(paddle, bidder)
        return paddle


class Commissions:
    """Written bids: up to which price the house bids for somebody who is away."""

    agent_id, agent_role = "commission_book", "book"

    def __init__(self) -> None:
        self.limits: dict[str, dict[str, int]] = {}

    @trace_agent_action()
    async def apply(self, lot: str, bidder: str, euros: int, letter: int) -> int:
        self.limits.setdefault(lot, {})[bidder] = euros
        return euros

    @trace_agent_action()
    async def best(self, lot: str) -> dict[str, Any]:
        bids = self.limits.get(lot, {})
        winner = max(bids, key=lambda bidder: bids[bidder], default="")
        return {"winner": winner, "euros": bids.get(winner, 0)}


class PhoneRoom:
    """Calls bidders back, two before each lot, by the priority of their kind."""

    agent_id, agent_role = "phone_room", "phones"

    def __init__(self) -> None:
        self.priority = {"dealer": 3, "museum": 3, "private": 3, "overseas": 3}
        self.waiting: list[tuple[int, str, str]] = []
        self.called: set[str] = set()

    @trace_agent_action()
    async def set_priority(self, kind: str, place: int) -> dict[str, int]:
        old, self.priority[kind] = self.priority[kind], place
        return {"old": old, "new": place}

    @trace_agent_action()
    async def ask_call(self, bidder: str, kind: str, order: int) -> int:
        self.waiting.append((order, bidder, kind))
        return len(self.waiting)

    @trace_agent_action()
    async def ring(self, bidder: str, kind: str) -> str:
        self.called.add(bidder)
        return "spoke"

    @trace_agent_action()
    async def serve(self) -> int:
        self.waiting.sort(key=lambda entry: (self.priority[entry[2]], entry[0]))
        turn, self.waiting = self.waiting[:CALLS_PER_LOT], self.waiting[CALLS_PER_LOT:]
        for _, bidder, kind in turn:
            await self.ring(bidder, kind)
        return len(self.waiting)


class Auctioneer:
    agent_role = "auctioneer"
    trace_ignore = ("commissions", "book")

    def __init__(self, name: str, commissions: Commissions, book: PaddleBook) -> None:
        self.agent_id, self.commissions, self.book = name, commissions, book

    @trace_agent_action()
    async def sell(self, lot: str, room_euros: int) -> dict[str, Any]:
        best = await self.commissions.best(lot)
        return best if best["euros"] > room_euros else {"winner": "the room", "euros": room_euros}

    @trace_agent_action()
    async def knock_down(self, lot: str, paddle: int) -> str:
        return await self.book.who_has(paddle)


class Sale:
    """The sale of an evening, lot by lot."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, case.rng("room")
        plan = case.rng("plan")
        self.begin, self.end = case.window(LOTS)
        self.gateway, self.book, self.commissions, self.phones = (
            Gateway(),
            PaddleBook(),
            Commissions(),
            PhoneRoom(),
        )
        self.cashiers = [Cashier(name, self.gateway) for name in ("cash_left", "cash_right", "cash_web")]
        self.line = asyncio.Lock()
        self.clerks = [Clerk(name, self.book, self.line) for name in ("clerk_jo", "clerk_kim", "clerk_lee")]
        self.auctioneers = [Auctioneer(name, self.commissions, self.book) for name in ("mr_finch", "ms_wren")]
        self.counter = AgentLogger("front_desk", "desk")
        self.cashier, self.other_cashier = plan.sample(self.cashiers, 2)
        self.clerk, self.other_clerk = plan.sample(self.clerks, 2)
        self.auctioneer = plan.choice(self.auctioneers)
        self.bidder, self.rival = plan.sample([f"b{number}" for number in range(800, 900)], 2)
        self.paddles: dict[str, int] = {}

    def complain(self, lot: int, about: str, *texts: str) -> None:
        seen = self.counter.log_action("hear_complaint", {"lot": lot, "bidder": self.bidder, "about": about})
        self.case.symptom(seen, *texts)

    async def everyday(self, lot: int) -> None:
        rng = self.rng
        self.gateway.quota = min(QUOTA, self.gateway.quota + 6)
        newcomers = [f"b{lot:03}{number}" for number in range(rng.randint(1, 2))]
        clerks = rng.sample(self.clerks, len(newcomers))
        await asyncio.gather(
            *(clerk.register(name) for clerk, name in zip(clerks, newcomers, strict=True)),
            *(rng.choice(self.cashiers).take_deposit(name, 500) for name in newcomers),
        )
        for name in newcomers:
            first, second = sorted(rng.sample(range(200, 3_000, 50), 2))
            target, letter = f"lot_{min(LOTS - 1, lot + rng.randint(0, 9))}", rng.randint(1, 9_000)
            if target == f"lot_{self.end}":
                target = f"lot_{self.end + 1}"
            await self.commissions.apply(target, name, first, letter)
            if rng.random() < 0.3:
                await self.commissions.apply(target, name, second, letter + 1)
        for number in range(2):
            await self.phones.ask_call(f"w{lot:03}{number}", rng.choice(("dealer", "museum", "private")), lot)
        await self.phones.serve()
        if rng.random() < 0.3:
            await self.phones.set_priority(rng.choice(("dealer", "museum", "private")), rng.randint(3, 5))
        if rng.random() < 0.2:
            await rng.choice(self.cashiers).check_card(f"x{lot:03}", rng.randint(1, 9))
        sold = await rng.choice(self.auctioneers).sell(f"lot_{lot}", rng.randint(300, 2_000))
        paddle = rng.randint(1, max(1, len(self.book.holder) // 2))
        await rng.choice(self.auctioneers).knock_down(f"lot_{lot}", paddle)
        await rng.choice(self.cashiers).collect(f"p{lot}", sold["euros"])
        if rng.random() < 0.2:
            self.counter.log_action("hear_complaint", {"lot": lot, "bidder": f"x{lot}", "about": "cold soup"})
        if rng.random() < 0.2:
            self.counter.log_strategy_update(
                "steps of bids", {"euros": 50}, {"euros": rng.choice((20, 50, 100))}
            )
        if lot == self.case.decoy_at:
            self.counter.log_action("open_windows", {"hall": 2})
            self.counter.error("the loudspeaker crackled and was replaced", {"hall": 2})

    async def out_of_order(self, lot: int) -> None:
        case, mine = self.case, self.bidder
        if lot == self.begin:
            letters = [(600, 41), (3_900, 42)]
            wrong = case.strikes("out_of_order", lot)
            for euros, letter in reversed(letters) if wrong else letters:
                await self.commissions.apply(f"lot_{self.end}", mine, euros, letter)
            if wrong:
                case.root(call("commission_book", "apply", bidder=mine, letter=41))
                case.root(call("commission_book", "apply", bidder=mine, letter=42))
        if lot == self.end:
            sold = await self.auctioneer.sell(f"lot_{lot}", 1_450)
            if sold["winner"] != mine:
                case.hop(call(self.auctioneer.agent_id, "sell", lot=f"lot_{lot}", room_euros=1_450))
                self.complain(
                    lot,
                    "lost the lot",
                    f"{mine} wrote that we may go much higher, and {self.auctioneer.agent_id} let it go for little",
                    f"lot_{lot} went to the room although somebody had offered more in writing",
                    "a collector lost a picture that he had ordered in writing",
                )

    async def starved_queue(self, lot: int) -> None:
        case, mine = self.case, self.bidder
        if lot == self.begin:
            starve = case.strikes("starved_queue", lot)
            await self.phones.set_priority("overseas", 9 if starve else 2)
            await self.phones.ask_call(mine, "overseas", lot)
            await self.phones.ask_call(f"q{lot}", "dealer", lot)
            if starve:
                case.root(call("phone_room", "set_priority", kind="overseas", place=9))
        if lot == self.end and mine not in self.phones.called:
            await self.auctioneer.sell(f"lot_{lot}", 1_777)
            case.hop(call(self.auctioneer.agent_id, "sell", lot=f"lot_{lot}", room_euros=1_777))
            self.complain(
                lot,
                "never called",
                f"{mine} sat by the telephone all evening and nobody rang",
                f"{self.auctioneer.agent_id} sold lot_{lot} before a bidder abroad could be reached",
                "we promised a call to a client and did not make it",
            )

    async def retry_storm(self, lot: int) -> None:
        case = self.case
        if self.begin <= lot < self.end:
            self.cashier.patient = not case.strikes("retry_storm")
            await self.cashier.check_card("b777", max(8, 90 // (self.end - self.begin)))
            self.cashier.patient = True
            if case.faulty and not case.roots:
                case.root(
                    call("gateway", "charge", bidder="b777"),
                    call(self.cashier.agent_id, "check_card", bidder="b777"),
                    call(self.cashier.agent_id, "log", bidder="b777", attempt=3),
                )
        if lot == self.end and await self.other_cashier.collect(self.bidder, 700) != "charged":
            case.hop(call(self.other_cashier.agent_id, "collect", bidder=self.bidder))
            self.complain(
                lot,
                "cannot pay",
                f"{self.bidder} wants to pay for a clock and {self.other_cashier.agent_id} cannot take the money",
                "the bank turns all our buyers away this evening",
                f"{self.other_cashier.agent_id} has a queue of buyers who cannot pay",
            )

    async def doubled_act(self, lot: int) -> None:
        case, mine = self.case, self.bidder
        if lot == self.begin:
            self.gateway.credit[mine] = 5_000
            takers = (
                [self.cashier, self.other_cashier] if case.strikes("doubled_act", lot) else [self.cashier]
            )
            for cashier in takers:
                await cashier.take_deposit(mine, 2_000)
            if case.faulty:
                case.root(call(self.other_cashier.agent_id, "take_deposit", bidder=mine))
                case.root(call(self.cashier.agent_id, "take_deposit", bidder=mine))
                case.hop(call("gateway", "charge", bidder=mine))
        if lot == self.end:
            third = next(one for one in self.cashiers if one not in (self.cashier, self.other_cashier))
            answer = await third.collect(mine, 2_600)
            if answer != "charged":
                case.hop(call(third.agent_id, "collect", bidder=mine))
                case.trigger(call(third.agent_id, "collect", bidder=mine))
                self.complain(
                    lot,
                    "cannot pay",
                    f"{mine} has money enough for the vase and is told at {third.agent_id} that her credit is used up",
                    "a buyer is short of money that she never spent here",
                    f"{third.agent_id} refused a good customer",
                )

    async def race(self, lot: int) -> None:
        case = self.case
        if lot == self.begin:
            for clerk in (self.clerk, self.other_clerk):
                clerk.stands_in_line = not case.strikes("race", lot)
            mine, other = await asyncio.gather(
                self.clerk.register(self.bidder), self.other_clerk.register(self.rival)
            )
            self.clerk.stands_in_line = self.other_clerk.stands_in_line = True
            self.paddles = {self.bidder: mine, self.rival: other}
            if case.faulty:
                case.root(call(self.other_clerk.agent_id, "register", bidder=self.rival))
                case.root(call(self.clerk.agent_id, "register", bidder=self.bidder))
                case.root(call("paddle_book", "write_in", bidder=self.rival))
                case.root(call("paddle_book", "write_in", bidder=self.bidder))
        if lot == self.end:
            paddle = self.paddles[self.bidder]
            name = await self.auctioneer.knock_down(f"lot_{lot}", paddle)
            await self.other_cashier.collect(name, 90)
            if name != self.bidder:
                case.hop(call(self.auctioneer.agent_id, "knock_down", lot=f"lot_{lot}", paddle=paddle))
                case.hop(call(self.other_cashier.agent_id, "collect", bidder=name, euros=90))
                self.complain(
                    lot,
                    "wrong bill",
                    f"{self.rival} got a bill for a lamp on which she never bid",
                    f"{self.auctioneer.agent_id} knocked a lamp down to one person and another had to pay",
                    f"{self.bidder} won lot_{lot}, and the bill went to a stranger",
                )

    async def run(self) -> None:
        story = getattr(self, self.case.kind)
        for lot in range(LOTS):
            await self.everyday(lot)
            await story(lot)


KINDS = ("out_of_order", "starved_queue", "retry_storm", "doubled_act", "race")


def play(case: Case) -> None:
    asyncio.run(Sale(case).run())


WORLD = World("auction", "spans", KINDS, play, author=2)
