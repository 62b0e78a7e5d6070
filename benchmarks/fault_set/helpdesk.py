"""A help desk on asyncio, without any ticks: tickets are sorted to desks, workers look customers up and answer."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from functools import partial
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, trace_agent_action, trace_performance
from Agent.record.messages import Message
from benchmarks.fault_set.case import Plan, Truth, World

DESKS = ("billing", "technical", "general")
PRODUCTS = {"invoice": "billing", "refund": "billing", "router": "technical", "app": "technical"}
ASKED = (*PRODUCTS, "something else")
FIELDS = ["customer", "product", "text", "attachment"]


class AttachmentError(Exception):
    """An attachment cannot be read."""


class TooManyRequests(Exception):
    """The mail server wants fewer calls."""


class Customers:
    """The customer register, in one of two regions."""

    def __init__(self, rng: random.Random) -> None:
        self.agent_id = "customers"
        self._log = AgentLogger("customers", "service")
        self._rng = rng
        self._seconds = 0.0

    def connect(self, region: str, pool: int) -> str:
        """Where to ask from now on; gives the event."""
        self._seconds = 0.009 if region == "backup" else 0.0003
        return self._log.log_action("connect", {"region": region, "pool": pool})

    @trace_performance("customer_lookup")
    async def look_up(self, customer: str) -> str:
        """The contract of a customer."""
        await asyncio.sleep(self._seconds)
        return self._rng.choice(["basic", "plus", "business"])


class Mail:
    """Sends answers; every call costs credit that comes back with time, refused ones a little less."""

    def __init__(self, rng: random.Random) -> None:
        self.agent_id = "mail"
        self.agent_role = "service"
        self._rng = rng
        self._credit = 30.0

    def passes(self, number: int) -> None:
        """Time goes on; now and then the server restarts, and takes few calls for a while."""
        self._credit = -15.0 if number % 33 == 30 else min(30.0, self._credit + 5.0)

    @trace_agent_action()
    async def post(self, ticket: str, attempt: int) -> str:
        """Sends one answer; TooManyRequests or ConnectionError where that is not possible."""
        await asyncio.sleep(0.0015 if self._credit <= 0 else 0)
        if self._credit <= 0:
            self._credit = max(-40.0, self._credit - 0.8)
            raise TooManyRequests("429: too many requests")
        self._credit -= 1.0
        if self._rng.random() < 0.04:
            raise ConnectionError("503: try again")
        return "sent"


class Desk:
    """The tickets of one desk."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[Message] = deque()
        self.claims = "exclusive"

    async def claim(self) -> Message | None:
        """The next ticket; two workers at once may get the same where claims are not exclusive."""
        if not self.waiting:
            return None
        ticket = self.waiting[0]
        # Whoever looks the ticket up before taking it leaves time for another worker.
        if self.claims == "optimistic":
            await asyncio.sleep(0.0008)
        if ticket in self.waiting:
            self.waiting.remove(ticket)
        return ticket


class Worker:
    """Answers the tickets of a desk, one after the other."""

    def __init__(self, agent_id: str, desk: Desk, help_desk: HelpDesk, rng: random.Random) -> None:
        self.agent_id = agent_id
        self.agent_role = f"{desk.name} worker"
        self._log = AgentLogger(agent_id, self.agent_role)
        self._desk, self._help_desk, self._rng = desk, help_desk, rng

    async def work(self) -> None:
        """Until it is told to go home."""
        while True:
            ticket = await self._desk.claim()
            if ticket is None:
                await asyncio.sleep(0.0003)
                continue
            received = self._log.receive(ticket)
            # The one ticket that no worker can read: its events are the truth of a case.
            if ticket.body["attachment"] == "nested.eml":
                self._help_desk.nested.setdefault("received", received)
            try:
                await self.answer(ticket.body["ticket"], ticket.body)
            except AttachmentError:
                self._desk.waiting.appendleft(ticket)  # it has to be answered, so again
            except (TooManyRequests, ConnectionError):
                self._log.warning("answer not sent", {"ticket": ticket.body["ticket"]})
            await asyncio.sleep(0.0001)

    @trace_agent_action()
    async def answer(self, ticket: str, body: dict[str, Any]) -> str:
        """Reads, looks up, writes and sends."""
        help_desk = self._help_desk
        if body["attachment"] == "nested.eml":
            await asyncio.sleep(0.004)
            raise AttachmentError(f"{body['attachment']}: more than 100 levels")
        contract = await help_desk.customers.look_up(body["customer"])
        for attempt in range(1, help_desk.tries + 1):
            try:
                await help_desk.mail.post(ticket, attempt)
            except (TooManyRequests, ConnectionError):
                if attempt == help_desk.tries:
                    raise
                await asyncio.sleep(help_desk.pause_s)
            else:
                break
        help_desk.answers[ticket] = help_desk.answers.get(ticket, 0) + 1
        if help_desk.answers[ticket] > 1:
            help_desk.inbox.log_action("complaint", {"ticket": ticket, "text": "you wrote to me twice"})
        return f"dear {contract} customer"


class HelpDesk:
    """Forms, a robot that answers by itself where it is sure, a router, desks and workers."""

    def __init__(self, plan: Plan, returning: float) -> None:
        self.plan, self.returning = plan, returning
        self.customers, self.mail = Customers(plan.chance("customers")), Mail(plan.chance("mail"))
        self.desks = {name: Desk(name) for name in DESKS}
        names = [plan.name("worker", n) for n in range(plan.size)]
        self.workers = [
            Worker(name, self.desks[DESKS[n % 3]], self, plan.chance(name)) for n, name in enumerate(names)
        ]
        self.forms, self.router = AgentLogger("forms", "service"), AgentLogger("router", "router")
        self.robot, self.inbox = AgentLogger("auto_answer", "model"), AgentLogger("inbox", "service")
        self.operations, self.metrics = AgentLogger("operations", "operator"), PerformanceLogger()
        self.rng, self.hands = plan.chance("tickets"), plan.chance("upkeep")
        self.answers: dict[str, int] = {}
        self.fields = list(FIELDS)
        self.sure_from, self.tries, self.pause_s = 0.85, 3, 0.0005
        self.attachment: str | None = None
        self.nested: dict[str, str] = {}

    def open(self, number: int) -> None:
        """One ticket, to the robot and then to a desk."""
        asked, name = self.rng.choice(ASKED), f"T-{number:04d}"
        attachment = self.attachment or self.rng.choice([None, None, "screen.png", "letter.pdf"])
        values = [f"c_{self.rng.randint(100, 400)}", asked, f"my {asked} does not work", attachment]
        form = dict(zip(self.fields, values, strict=True))
        event = self.inbox.log_action("ticket", {"ticket": name, **form})
        if self.attachment:
            self.nested["came"] = event
        confidence = round(self.rng.betavariate(2, 2), 2)
        if confidence >= self.sure_from and not self.attachment:
            self.robot.log_decision("answer", {"ticket": name}, f"confidence {confidence}")
            if self.rng.random() > confidence + 0.05:
                text = "that was not my question"
                self.inbox.log_action("reopen", {"ticket": name, "text": text})
                self.queue({"ticket": f"{name}-2", "attachment": None, **form})
        else:
            self.queue({"ticket": name, **form})
        if self.rng.random() < self.returning:
            self.inbox.log_action("thanks", {"ticket": f"T-{max(0, number - 9):04d}"})

    def queue(self, form: dict[str, Any]) -> None:
        """Whoever knows the product gets it."""
        desk = PRODUCTS.get(form.get("product", ""), "general")
        self.router.log_decision("desk", {"ticket": form["ticket"], "desk": desk})
        ticket = self.router.send(f"{desk} desk", form)
        self.desks[desk].waiting.append(ticket)
        if form["attachment"] == "nested.eml":
            self.nested["sent"] = ticket.event_id

    def configure(self, name: str, **values: Any) -> str:
        """What operations set; gives the event."""
        return self.operations.log_action(name, values)

    def retry(self, tries: int, pause_ms: float) -> str:
        self.tries, self.pause_s = tries, pause_ms / 1000
        return self.configure("set_retry", tries=tries, pause_ms=pause_ms)

    def claim(self, mode: str) -> str:
        for desk in self.desks.values():
            desk.claims = mode
        return self.configure("set_claims", mode=mode)

    def publish(self, version: int, fields: list[str]) -> str:
        self.fields = fields
        return self.forms.log_action("publish", {"form": "contact", "version": version, "fields": fields})

    def threshold(self, system: SystemLogger, sure_from: float) -> str:
        old, self.sure_from = self.sure_from, sure_from
        return system.log_config("auto_answer_from", old, sure_from)


async def _run(plan: Plan, truth: Truth, returning: float) -> None:
    desk, system = HelpDesk(plan, returning), SystemLogger("help_desk")
    system.log_simulation_start("help desk", {"workers": plan.size, "desks": list(DESKS)})
    desk.customers.connect("home", pool=4)
    async with asyncio.TaskGroup() as crew:
        tasks = [crew.create_task(worker.work()) for worker in desk.workers]
        for number in range(plan.ticks):
            _upkeep(desk, system, number)
            _plant(plan, truth, desk, system, number)
            desk.mail.passes(number)
            desk.open(number)
            desk.attachment = None
            await asyncio.sleep(0.004)
            if number % 5 == 0:
                waiting = {name: len(one.waiting) for name, one in desk.desks.items()}
                desk.metrics.log_metric("waiting", sum(waiting.values()), "tickets", waiting)
        for task in tasks:
            task.cancel()
    truth.note(*desk.nested.values())
    system.log_simulation_end("help desk", "finished")


def _upkeep(desk: HelpDesk, system: SystemLogger, number: int) -> None:
    """What is set anew in the ordinary course of things."""
    rng, fault = desk.hands, desk.plan.fault
    before = number < desk.plan.at - 6
    if number % 24 == 7 and (before or fault != "retry_storm"):
        desk.retry(rng.randint(2, 4), pause_ms=rng.choice([0.4, 0.5, 0.6]))
    if number % 31 == 11 and (before or fault != "race"):
        desk.claim("exclusive")
    if number % 27 == 14 and (before or fault != "schema_drift"):
        desk.publish(3 + number // 27, list(FIELDS))
    if number % 22 == 18 and (before or fault != "bad_threshold"):
        desk.threshold(system, round(rng.uniform(0.82, 0.88), 2))
    if number % 35 == 20 and (before or fault != "slow_dependency"):
        desk.customers.connect("home", pool=rng.randint(3, 6))
    if number % 40 == 25:
        desk.configure("greeting", text=rng.choice(["hello", "good day", "dear customer"]))


def _plant(plan: Plan, truth: Truth, desk: HelpDesk, system: SystemLogger, number: int) -> None:
    if plan.begins("retry_storm", number):
        truth.note(desk.retry(plan.rng.choice([60, 80, 100]), pause_ms=0.0))
    if plan.begins("poisoned_message", number):
        desk.attachment = "nested.eml"
    if plan.begins("slow_dependency", number):
        truth.note(desk.customers.connect("backup", pool=plan.rng.randint(3, 6)))
    if plan.begins("race", number):
        truth.note(desk.claim("optimistic"))
    if plan.begins("schema_drift", number):
        truth.note(desk.publish(19, ["customer", "product_code", "text", "attachment"]))
    if plan.begins("bad_threshold", number):
        truth.note(desk.threshold(system, round(plan.rng.uniform(0.25, 0.35), 2)))


def run(plan: Plan, truth: Truth, returning: float = 0.1) -> None:
    """One session of the help desk, as many tickets long as a plan has ticks."""
    asyncio.run(_run(plan, truth, returning))


WORLD = World(
    name="helpdesk",
    run=run,
    prefix="worker",
    sizes=(6, 9),
    ticks=(150, 230),
    complaints={
        "retry_storm": "hardly any answers get out any more, the mail server says 429 too many requests",
        "poisoned_message": "one of the desks is busy all the time and the same AttachmentError comes over and over",
        "slow_dependency": "workers need far longer for a ticket than in the beginning",
        "race": "customers complain that we wrote to them twice",
        "schema_drift": "since about ticket {when} everything lands at the general desk, the others have nothing to do",
        "bad_threshold": "many customers reopen their tickets and say that was not their question",
    },
)
CALM = World(
    name="helpdesk_monday",
    run=partial(run, returning=0.3),
    prefix="worker",
    sizes=(6, 10),
    ticks=(120, 240),
    complaints={
        "suspects_agent": "{victim} seems to answer fewer tickets than the others of that desk",
        "suspects_mail": "is the mail server broken? Some answers do not get out",
        "suspects_router": "I think the router sends tickets to the wrong desks since about ticket {when}",
    },
)
