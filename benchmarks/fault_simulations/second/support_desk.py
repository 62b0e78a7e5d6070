"""A customer-support desk: language-model agents with tools that answer tickets together."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

TICKETS = 90
TOPICS = {
    "refund": "I want my money back for order",
    "delivery": "My parcel has not come, order",
    "account": "I cannot log in any more, last order",
}
DESK = {"refund": "billing", "delivery": "logistics", "account": "identity"}
SETTINGS = {"fault": ""}


@dataclass
class Ticket:
    """What a customer asks."""

    number: int
    customer: str
    order: int
    topic: str
    text: str
    duplicate_of: int | None = None
    history: list[str] = field(default_factory=list)


class FakeModel:
    """A language model that answers from the words of the prompt."""

    def __init__(self, seed: int) -> None:
        self.agent_id = "model"
        self.rng = random.Random(seed)

    @trace_agent_action()
    async def complete(self, prompt: str) -> dict[str, Any]:
        """Return the topic of a text, and a draft."""
        await asyncio.sleep(0)
        words = {"money": "refund", "parcel": "delivery", "log in": "account"}
        topic = next((label for word, label in words.items() if word in prompt), "refund")
        return {
            "topic": topic,
            "confidence": round(0.8 + self.rng.random() / 5, 2),
            "tokens": len(prompt) // 3,
        }


class Tools:
    """The shop's systems, as tools."""

    def __init__(self, seed: int) -> None:
        self.agent_id = "shop_api"
        rng = random.Random(seed + 7)
        self._prices = {order: rng.randrange(20, 180) for order in range(1000, 1000 + TICKETS)}
        self.calls = 0

    @trace_agent_action()
    async def lookup_order(self, order: int) -> dict[str, Any]:
        """Return an order's amount and its address."""
        self.calls += 1
        await asyncio.sleep(0)
        if self.calls % 23 == 0:
            raise TimeoutError("no answer within 2 s")
        price = self._prices[order]
        if SETTINGS["fault"] == "wrong_answer" and order == 1031:
            price = 4 * self._prices[order] + 2000
        return {"order": order, "amount": price}

    @trace_agent_action()
    async def verify_grant(self, agent: str, ticket: int) -> bool:
        """Tell whether an agent may change accounts now."""
        ends = 42 if SETTINGS["fault"] == "short_grant" and agent == "billing" else 10_000
        return ticket < ends


class Cashier:
    """The daily budget for refunds."""

    def __init__(self) -> None:
        self.agent_id = "cashier"
        self.budget = 4400

    @trace_agent_action()
    async def pay_out(self, customer: str, amount: int) -> bool:
        """Pay a customer, if the budget allows."""
        self.last_customer = customer
        if amount > self.budget:
            return False
        self.budget -= amount
        return True


class Specialist:
    """An agent that solves the tickets of one desk."""

    def __init__(self, agent_id: str, model: FakeModel, tools: Tools, cashier: Cashier) -> None:
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "specialist")
        self._parts = model, tools, cashier
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        self.solved = 0
        self.returned = 0

    trace_ignore = ("inbox",)

    async def _order(self, ticket: Ticket) -> dict[str, Any]:
        for _ in range(3):
            try:
                return await self._parts[1].lookup_order(ticket.order)
            except TimeoutError:
                self.logger.warning("lookup timed out, trying again")
        return {"order": ticket.order, "amount": 0}

    @trace_agent_action()
    async def solve(self, ticket: int, customer: str, topic: str, order: dict[str, Any]) -> str:
        """Do what the ticket asks for."""
        _, tools, cashier = self._parts
        if DESK[topic] != self.agent_id:
            self.returned += 1
            return "not my desk"
        if not await tools.verify_grant(self.agent_id, ticket):
            return "postponed"
        if topic == "refund" and not await cashier.pay_out(customer, order["amount"]):
            return "refused"
        self.solved += 1
        return "solved"

    async def work(self, closed: dict[int, str]) -> None:
        """Work off the inbox."""
        while True:
            message, ticket = await self.inbox.get()
            with tick(ticket.number):
                self.logger.receive(message)
                order = await self._order(ticket)
                result = await self.solve(ticket.number, ticket.customer, ticket.topic, order)
                self.logger.log_decision("answer", {"ticket": ticket.number, "result": result})
                closed[ticket.number] = result
            self.inbox.task_done()


class Triage:
    """The agent that reads new tickets and hands them over."""

    def __init__(self, model: FakeModel, desks: dict[str, Specialist]) -> None:
        self.agent_id = "triage"
        self.logger = AgentLogger("triage", "router")
        self._model, self._desks = model, desks
        self.open: dict[str, int] = {}

    @trace_agent_action()
    async def merge(self, ticket: int, customer: str, known: int) -> dict[str, int]:
        """Merge a second message of a customer into the first one."""
        if SETTINGS["fault"] == "wrong_merge" and ticket == 38:
            customer, known = "customer_21", 21
        self.open[customer] = known
        return {"closed": ticket, "kept": known}

    @trace_agent_action()
    async def route(self, ticket: int, topic: str) -> str:
        """Choose the desk for a topic."""
        desk = DESK[topic]
        if SETTINGS["fault"] == "wrong_desk" and topic == "account" and ticket >= 33:
            desk = "logistics"
        return desk

    async def take(self, ticket: Ticket) -> None:
        """Handle a new ticket."""
        if ticket.customer in self.open:
            self.logger.info("customer has an open ticket")
            return
        answer = await self._model.complete(ticket.text)
        if ticket.duplicate_of is not None:
            await self.merge(ticket.number, ticket.customer, ticket.duplicate_of)
            return
        desk = await self.route(ticket.number, answer["topic"])
        message = self.logger.send(desk, {"ticket": ticket.number, "customer": ticket.customer})
        self._desks[desk].inbox.put_nowait((message, ticket))


def _tickets(seed: int) -> list[Ticket]:
    rng, found = random.Random(seed + 1), []
    for number in range(TICKETS):
        topic = rng.choice(sorted(TOPICS))
        if number in {31, 50, 53}:
            topic = "refund"
        elif number in {34, 35, 39}:
            topic = "account"
        order = 1000 + number
        text = f"{TOPICS[topic]} {order}, please help."
        found.append(Ticket(number, f"customer_{number}", order, topic, text))
    for number in (14, 38, 61):
        found[number].duplicate_of = number - 2
        found[number].customer = found[number - 2].customer
    found[70].customer = found[21].customer
    return found


async def _session(seed: int) -> dict[str, Any]:
    model, tools, cashier = FakeModel(seed), Tools(seed), Cashier()
    desks = {name: Specialist(name, model, tools, cashier) for name in DESK.values()}
    triage, closed = Triage(model, desks), dict[int, str]()
    metrics, system = PerformanceLogger("desk"), SystemLogger("support")
    system.log_simulation_start("support", {"tickets": TICKETS, "desks": sorted(desks)})
    workers = [asyncio.create_task(desk.work(closed)) for desk in desks.values()]
    for ticket in _tickets(seed):
        with tick(ticket.number):
            if ticket.number == 25:
                system.log_config("greeting", "Hello", "Dear customer")
            await triage.take(ticket)
            await asyncio.gather(*(desk.inbox.join() for desk in desks.values()))
            if ticket.number % 5 == 0:
                metrics.log_metric("open", ticket.number + 1 - len(closed))
                metrics.log_metric("budget", cashier.budget, "EUR")
    for worker in workers:
        worker.cancel()
    results = list(closed.values())
    counts = {name: results.count(name) for name in sorted(set(results))}
    system.log_simulation_end("support", counts)
    return {"closed": closed, "counts": counts, "budget": cashier.budget}


def run(seed: int, fault: str) -> dict[str, Any]:
    """Answer the tickets of a day."""
    SETTINGS["fault"] = fault
    return asyncio.run(_session(seed))


def _count(out: dict[str, Any], result: str) -> int:
    return out["counts"].get(result, 0)


def _grants(events: list[Event]) -> list[str]:
    return pick(events, "shop_api", "verify_grant", where=lambda e: e.result is False)


FAULTS = {
    "wrong_answer": Fault(
        "Refunds are refused in the afternoon because the budget is used up, which never happens this early.",
        lambda out, ref: _count(out, "refused") > _count(ref, "refused") + 4,
        lambda events: pick(
            events, "shop_api", "lookup_order", where=lambda e: e.args.get("order") == 1031, first=1
        ),
    ),
    "short_grant": Fault(
        "why do so many customers who asked for their money back get no refund after ticket 42?",
        lambda out, ref: _count(out, "postponed") > _count(ref, "postponed") + 4,
        _grants,
    ),
    "wrong_merge": Fault(
        "customer_21 wrote to us again later, ticket 70, and never got an answer",
        lambda out, ref: "70" not in out["closed"] and "70" in ref["closed"],
        lambda events: pick(events, "triage", "merge", where=lambda e: e.args["ticket"] == 38),
    ),
    "wrong_desk": Fault(
        "Login problems stay unsolved from some point on, and identity has nothing to do.",
        lambda out, ref: _count(out, "not my desk") > _count(ref, "not my desk") + 4,
        lambda events: pick(
            events, "triage", "route", where=lambda e: e.args["ticket"] >= 33 and e.args["topic"] == "account"
        ),
    ),
}
