"""A shop's support by chat: a front bot, special bots with tools, and a few people for what bots may not do."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from Agent import AgentLogger, instrument, tick, trace_context
from benchmarks.fault_simulations.kit import Fault, pick

MINUTES = 600
CUSTOMERS = [f"cust_{number:03d}" for number in range(101, 149)]
TOPICS = ("order", "refund", "slot", "account", "cancel")
SHIFTS = {0: ("ines", "paul"), 240: ("paul", "rita"), 420: ("rita", "sven")}
LIMITS = {30: ("order_bot", 20), 95: ("account_bot", 10), 300: ("refund_bot", 60), 480: ("order_bot", 25)}
OFFSET = 2
"""Hours by which the shop's customers are ahead of UTC."""


class Ledger:
    """Pays money back, up to a limit for each bot."""

    def __init__(self) -> None:
        """Start with the usual limits."""
        self.agent_id = "ledger"
        self.limits = {"refund_bot": 50, "order_bot": 15, "account_bot": 5}

    def set_limit(self, role: str, euros: int) -> int:
        """Set how much a bot may pay back by itself."""
        self.limits[role] = euros
        return euros

    def refund(self, order: str, euros: int, role: str) -> str:
        """Pay back, or refuse."""
        if euros > self.limits.get(role, 0):
            return "needs a person"
        return "paid"


class Carrier:
    """Takes parcels, holds them back when asked, and drives."""

    def __init__(self) -> None:
        """Start with an empty depot."""
        self.agent_id = "carrier"
        self.held: list[str] = []
        self.slots: dict[str, int] = {}

    def hold(self, order: str) -> str:
        """Hold a parcel back."""
        self.held.append(order)
        return "held"

    def book_slot(self, order: str, hour_utc: int) -> str:
        """Note the hour at which a parcel is wanted."""
        self.slots[order] = hour_utc
        return f"{order} at {hour_utc}:00 UTC"

    def hand_over(self, order: str, hour_utc: int) -> str:
        """Bring a parcel to its customer."""
        return "held back" if order in self.held else "delivered"


class Crm:
    """What is known of customers and their orders."""

    def __init__(self) -> None:
        """Give each customer one order."""
        self.agent_id = "crm"
        self.orders = {name: f"ord-{5000 + 7 * int(name[-3:])}" for name in CUSTOMERS}
        self.cancelled: list[str] = []

    def find_order(self, customer: str) -> str:
        """Return the order of a customer."""
        return self.orders[customer]

    def cancel(self, order: str) -> bool:
        """Mark an order as cancelled."""
        self.cancelled.append(order)
        return True


for _tool, _methods in (
    (Ledger, ["set_limit", "refund"]),
    (Carrier, ["hold", "book_slot", "hand_over"]),
    (Crm, ["find_order", "cancel"]),
):
    instrument(_tool, methods=_methods, agent_id="agent_id", agent_role="tool")


class Support:
    """The day of the support."""

    def __init__(self, seed: int, fault: str) -> None:
        """Set up tools, bots, people and customers."""
        self.fault = fault
        self.rng = random.Random(f"support {seed}")
        self.ledger, self.carrier, self.crm = Ledger(), Carrier(), Crm()
        self.bots = {name: AgentLogger(f"{name}_bot", "bot") for name in ("front", *TOPICS)}
        self.people = {name: AgentLogger(name, "clerk") for name in ("ines", "paul", "rita", "sven")}
        self.lead = AgentLogger("team_lead", "lead")
        self.customers = {name: AgentLogger(name, "customer") for name in CUSTOMERS}
        self.queue: deque[tuple[int, str, str, dict[str, Any]]] = deque()
        self.busy: dict[str, int] = {}
        self.waits: list[tuple[int, int]] = []
        self.wanted: dict[str, int] = {}
        self.got: dict[str, tuple[str, int]] = {}
        self.chats = 0
        self.plan = self.visits()

    def visits(self) -> dict[int, tuple[str, str]]:
        """Draw who writes when about what."""
        plan: dict[int, tuple[str, str]] = {}
        free = [one for one in CUSTOMERS if one not in {"cust_112", "cust_131", "cust_140"}]
        for minute in range(3, 590, 4):
            topic = self.rng.choices(TOPICS[:4], (3, 7, 5, 2))[0]
            plan[minute + self.rng.randint(0, 2)] = (self.rng.choice(free), topic)
        return plan | {151: ("cust_131", "cancel"), 262: ("cust_112", "cancel"), 263: ("cust_140", "order")}

    def clerks(self, minute: int) -> tuple[str, str]:
        """Return who is on duty."""
        return SHIFTS[max(start for start in SHIFTS if start <= minute)]

    def chat(self, minute: int, customer: str, topic: str) -> None:
        """Talk with a customer until a bot has done it or a person is needed."""
        self.chats += 1
        bot = self.bots["front"]
        with trace_context(bot, "chat", chat=f"chat-{self.chats}"):
            words = self.customers[customer].send("front_bot", {"about": topic, "chat": f"chat-{self.chats}"})
            bot.receive(words)
            sure = round(self.rng.uniform(0.7, 0.99), 2)
            bot.log_decision(
                "route", {"chat": f"chat-{self.chats}", "to": f"{topic}_bot", "confidence": sure}
            )
            order = self.crm.find_order(customer)
            getattr(self, f"do_{topic}")(minute, customer, order)
            answered = self.bots[topic].send(
                customer, {"chat": f"chat-{self.chats}", "text": "noted, thank you"}
            )
            self.customers[customer].receive(answered)

    def do_order(self, minute: int, customer: str, order: str) -> None:
        """Say where an order is; a third wants a little money for the delay."""
        self.bots["order"].log_action(
            "tell_status", {"order": order, "status": self.rng.choice(("packed", "sorted"))}
        )
        if customer == "cust_140":
            self.escalate(minute, customer, "change_address", order)
        elif self.rng.random() < 0.3:
            self.pay(minute, customer, order, self.rng.randint(3, 24), "order_bot")

    def do_refund(self, minute: int, customer: str, order: str) -> None:
        """Pay for something broken."""
        self.bots["refund"].log_decision(
            "accept_photo", {"order": order, "damage": round(self.rng.random(), 2)}
        )
        self.pay(minute, customer, order, self.rng.randint(8, 64), "refund_bot")

    def do_account(self, minute: int, customer: str, order: str) -> None:
        """Change something of an account."""
        self.bots["account"].log_action("change_setting", {"customer": customer, "setting": "newsletter"})
        if self.rng.random() < 0.1:
            self.bots["account"].warning("login service answered 503, tried again")

    def do_cancel(self, minute: int, customer: str, order: str) -> None:
        """Cancel an order, or hand it to a person if it is already packed."""
        if customer == "cust_112":
            self.bots["cancel"].log_decision("needs_person", {"order": order}, "already packed")
            self.escalate(minute, customer, "cancel", order)
            return
        self.crm.cancel(order)
        self.bots["cancel"].log_action("confirm_cancel", {"order": order})
        if self.fault != "parcel_not_held":
            self.carrier.hold(order)

    def do_slot(self, minute: int, customer: str, order: str) -> None:
        """Book the hour at which a parcel is to come."""
        local = min(21, (minute // 60) + 9 + OFFSET + self.rng.choice((0, 0, 1)))
        ahead = 1 if self.fault == "summer_hour" and minute >= 310 else OFFSET
        self.wanted[order] = local
        self.bots["slot"].log_action("agree_hour", {"order": order, "local_hour": local})
        self.carrier.book_slot(order, local - ahead)

    def pay(self, minute: int, customer: str, order: str, euros: int, role: str) -> None:
        """Pay back, by a person if the bot may not."""
        if self.ledger.refund(order, euros, role) != "paid":
            self.escalate(minute, customer, "refund", order, euros)

    def escalate(self, minute: int, customer: str, what: str, order: str, euros: int = 0) -> None:
        """Hand a case to the people."""
        case = {"customer": customer, "what": what, "order": order, "euros": euros}
        if self.fault == "case_of_another" and customer == "cust_112":
            case["order"] = self.crm.orders["cust_140"]
        self.bots["front"].log_action("hand_to_person", dict(case))
        self.queue.append((minute, customer, what, case))

    def serve(self, minute: int) -> None:
        """Let each person on duty take the next case when free."""
        for name in self.clerks(minute):
            if self.busy.get(name, 0) > minute or not self.queue:
                continue
            since, customer, what, case = self.queue.popleft()
            clerk = self.people[name]
            clerk.log_action("take_case", case | {"waited": minute - since})
            self.waits.append((minute, minute - since))
            self.busy[name] = minute + self.rng.randint(32, 52)
            if what == "cancel":
                self.crm.cancel(case["order"])
                self.carrier.hold(case["order"])
            if minute - since > 45:
                self.customers[customer].log_action("ask_again", {"waited": minute - since})
            self.customers[customer].receive(clerk.send(customer, {"what": what, "done": True}))

    def settle(self, minute: int) -> None:
        """Do what is due at a minute besides chats: limits, shifts, tours."""
        if minute in LIMITS:
            role, euros = LIMITS[minute]
            if self.fault == "small_limit" and minute == 300:
                euros = 6
            self.lead.log_decision("limit", {"bot": role, "euros": euros}, "review of last week")
            self.ledger.set_limit(role, euros)
        if minute in SHIFTS:
            self.lead.log_action("begin_shift", {"clerks": list(self.clerks(minute))})
        if minute == 455:
            self.lead.log_action("fire_drill", {"minutes": 4})
        if minute % 60 == 59:
            self.drive(minute)

    def drive(self, minute: int) -> None:
        """Bring the parcels of this hour; those without a wish are spread over the day."""
        hour = minute // 60 + 9
        for place, (customer, order) in enumerate(self.crm.orders.items()):
            due = self.carrier.slots.get(order, 13 + place % 7)
            if customer in {"cust_112", "cust_131", "cust_140"}:
                due = {"cust_131": 11, "cust_112": 15, "cust_140": 14}[customer]
            if order in self.got or due > hour:
                continue
            result = self.carrier.hand_over(order, hour)
            self.got[order] = (result, hour + OFFSET)
            if result == "delivered":
                self.customers[customer].log_action(
                    "take_parcel", {"order": order, "local_hour": hour + OFFSET}
                )

    def missed(self) -> int:
        """Return how many parcels came later than the agreed hour and the one after it."""
        late = [self.got[one][1] - hour for one, hour in self.wanted.items() if one in self.got]
        return sum(one > 0 for one in late)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play ten hours of a day."""
    day = Support(seed, fault)
    for minute in range(MINUTES):
        with tick(minute):
            day.settle(minute)
            if minute in day.plan:
                day.chat(minute, *day.plan[minute])
            day.serve(minute)
    late = [wait for minute, wait in day.waits if minute > 420] + [MINUTES - one[0] for one in day.queue]
    return {
        "wait": max(late, default=0),
        "got_131": day.got[day.crm.orders["cust_131"]][0],
        "got_140": day.got[day.crm.orders["cust_140"]][0],
        "missed": day.missed(),
        "chats": day.chats,
    }


FAULTS = {
    "small_limit": Fault(
        complaint="Been in the queue for a real person for almost an hour now because of a 30 euro refund. This always went "
        "through at once with the refund_bot.",
        symptom=lambda faulty, healthy: faulty["wait"] > 45 > healthy["wait"],
        true=lambda events: pick(events, tick=300, where=lambda e: e.args.get("euros") == 6, first=2),
    ),
    "case_of_another": Fault(
        complaint="My parcel never came today, and now I read that my order was 'held back on request'. I only asked to "
        "change the address!",
        symptom=lambda faulty, healthy: faulty["got_140"] != "delivered" == healthy["got_140"],
        true=lambda events: pick(
            events, "front_bot", "hand_to_person", where=lambda e: e.args["customer"] == "cust_112", first=1
        ),
    ),
    "parcel_not_held": Fault(
        complaint="cust_131: I cancelled in the morning, got the confirmation, and then the carrier stood at my door "
        "with the parcel anyway.",
        symptom=lambda faulty, healthy: faulty["got_131"] == "delivered" != healthy["got_131"],
        true=lambda events: pick(events, "cancel_bot", "confirm_cancel", tick=151, first=1),
    ),
    "summer_hour": Fault(
        complaint="Since this afternoon couriers come an hour later than agreed in the chat, several customers were no "
        "longer at home.",
        symptom=lambda faulty, healthy: faulty["missed"] >= healthy["missed"] + 2,
        true=lambda events: pick(events, "carrier", "book_slot", tick=lambda at: at >= 310),
    ),
}
