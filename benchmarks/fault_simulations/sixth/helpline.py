"""A telephone company's helpline: language-model assistants with tools, a shared notebook and handovers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from Agent import AgentLogger, SystemLogger
from Agent.flight import record_tool, recorder
from benchmarks.fault_simulations.kit import Event, Fault, pick

CALLS = 150
TOPICS = {"refund": "billing", "bill": "billing", "router": "tech", "roaming": "tech", "move": "orders"}
DAYS = {"return": 14, "roaming": 7, "move": 21}

ARTICLES: dict[str, dict[str, Any]] = {}
CACHE: dict[str, dict[str, Any]] = {}
ACCOUNTS: dict[str, float] = {}


@record_tool
def search_articles(topic: str) -> dict[str, Any]:
    """Look an article up."""
    if topic not in CACHE:
        CACHE[topic] = dict(ARTICLES[topic])
    return dict(CACHE[topic])


@record_tool
def account_of(phone: str) -> str:
    """Find the account of a phone number."""
    return f"acc-{phone[-4:]}"


@record_tool
def line_test(account: str, luck: float) -> str:
    """Test a line; the test bench is sometimes busy."""
    if luck < 0.12:
        raise TimeoutError("test bench busy")
    return "sync ok" if luck < 0.8 else "sync lost twice"


@record_tool(kind="write", idempotency_key="call")
def pay_back(account: str, amount: float, call: str) -> float:
    """Pay money back to an account."""
    ACCOUNTS[account] = ACCOUNTS.get(account, 0.0) + amount
    return amount


class Desk:
    """The helpline with all its assistants."""

    def __init__(self, seed: int, case: str) -> None:
        """Open the lines."""
        self.case, self.rng = case, random.Random(seed)
        names = ["greeter", "billing", "tech", "orders", "editor", "lead", "quality"]
        self.logs = {n: AgentLogger(n, "assistant") for n in names}
        self.system = SystemLogger("helpline")
        self.notebook: dict[str, str] = {}
        self.limits = {"billing": 40.0, "orders": 20.0}
        self.wrong_payee = 0
        self.old_price = 0
        self.bad_promise = 0
        self.paid = 0.0
        self.checked = 0
        ARTICLES.clear()
        CACHE.clear()
        ACCOUNTS.clear()
        ARTICLES.update(
            router={"title": "Router blinks", "days": 14, "text": "Restart it; exchange within 14 days."},
            roaming={"title": "Roaming", "price": 2.9, "text": "A day of roaming costs 2.90."},
            move={"title": "Moving house", "days": 21, "text": "Tell us 21 days ahead."},
            bill={"title": "Reading the bill", "text": "Page two lists the calls."},
            refund={"title": "Refunds", "text": "Up to the limit, ask the lead above it."},
        )

    def think(self, name: str, prompt: str, answer: str) -> str:
        """Let a model answer from its script."""
        used = {
            "model_name": "scribe-2",
            "prompt": prompt,
            "output": answer,
            "prompt_tokens": len(prompt) // 4,
        }
        recorder.record_model_call(step_id=name, call_id=f"{name}-{self.number}", **used)
        return answer

    def call(self, number: int, given: str = "") -> None:
        """Play one call, about a given topic if there is one."""
        self.number = number
        topic = given or self.rng.choice(list(TOPICS))
        phone, owed = f"0170-55{self.rng.randrange(1000, 9999)}", round(self.rng.uniform(5, 70), 2)
        luck = self.rng.random()
        greeter, role = self.logs["greeter"], TOPICS[topic]
        with recorder.run("helpline", {"call": f"c{number:03d}"}):
            self.think("greeter", f"What does the caller of {phone} want? ...{topic}...", topic)
            greeter.log_decision("route", {"call": f"c{number:03d}", "topic": topic, "to": role})
            account = account_of(phone)
            shown = self.last_account if self.case == "handover" and 84 <= number < 87 else account
            body = {"call": f"c{number:03d}", "topic": topic, "phone": phone, "account": shown}
            self.logs[role].receive(greeter.send(role, body))
            self.last_account = account
            getattr(self, role)(number, topic, shown, account, owed, luck)
        if number % 10 == 9:
            self.review(number)

    def billing(self, number: int, topic: str, account: str, real: str, owed: float, luck: float) -> None:
        """Explain a bill or pay something back."""
        log = self.logs["billing"]
        article = search_articles(topic)
        self.think("billing", f"{article['text']} The caller is owed {owed}.", "I will see to it.")
        if topic == "refund":
            allowed = owed <= self.limits["billing"]
            amount = owed if allowed else 0.0
            log.log_decision("refund", {"account": account, "amount": owed, "granted": allowed})
            if allowed:
                pay_back(account, amount, call=f"c{number:03d}")
                self.paid = round(self.paid + amount, 2)
                self.wrong_payee += account != real
            else:
                message = log.send("lead", {"account": account, "amount": owed})
                self.logs["lead"].receive(message)
        log.log_action("close_call", {"call": f"c{number:03d}", "topic": topic})

    def tech(self, number: int, topic: str, account: str, real: str, owed: float, luck: float) -> None:
        """Help with a router or with roaming."""
        log = self.logs["tech"]
        article = search_articles(topic)
        if topic == "roaming":
            text = self.think("tech", article["text"], f"A day of roaming is {article['price']:.2f}.")
            self.old_price += article["price"] != ARTICLES["roaming"]["price"]
        else:
            try:
                line_test(account, round(luck, 2))
            except TimeoutError:
                line_test(account, 0.5)
            known = self.notebook.get("exchange")
            days = known or f"{article['days']} days"
            if self.case == "notebook" and number == 61:
                days = "90 days"
            text = self.think(
                "tech", f"{article['text']} Notes: {known}", f"You can exchange it within {days}."
            )
            self.bad_promise += days != "14 days" and number >= 64
            if number % 2:
                self.notebook["exchange"] = days
                log.log_action("note", {"key": "exchange", "text": days, "call": f"c{number:03d}"})
        log.log_action("answer", {"call": f"c{number:03d}", "text": text})

    def orders(self, number: int, topic: str, account: str, real: str, owed: float, luck: float) -> None:
        """Take an order to move a line."""
        log = self.logs["orders"]
        article = search_articles(topic)
        self.think("orders", article["text"], f"Please tell us {article['days']} days ahead.")
        log.log_action("place_order", {"account": account, "topic": topic, "days": article["days"]})

    def review(self, number: int) -> None:
        """The quality assistant looks at the last calls."""
        self.checked += 10
        self.logs["quality"].log_action("sample", {"calls": self.checked, "tone": "friendly"})

    def routine(self, number: int) -> None:
        """What editor and lead change during the day."""
        editor, lead = self.logs["editor"], self.logs["lead"]
        if number in (24, 70, 104):
            topic = {24: "move", 70: "bill", 104: "roaming"}[number]
            if topic == "roaming":
                ARTICLES["roaming"].update(price=4.5, text="A day of roaming costs 4.50.")
            dropped = (
                0 if self.case == "cache" and topic == "roaming" else len([t for t in CACHE if t == topic])
            )
            if dropped:
                CACHE.pop(topic)
            editor.log_action("publish", {"article": topic, "cleared": dropped})
        if number in (20, 50, 90):
            value = {20: 40.0, 50: 20.0, 90: 400.0 if self.case == "limit" else 40.0}[number]
            who = "orders" if number == 50 else "billing"
            self.limits[who] = value
            lead.log_action("set_limit", {"assistant": who, "euros": value})
        if number == 58:
            self.logs["quality"].log_action("listen_in", {"guest": "works council", "minutes": 15})
        if number == 101:
            self.system.log_config("voice", "calm", "warm", {"language": "de"})

    def play(self) -> Mapping[str, Any]:
        """Play all calls of a day."""
        self.last_account = "acc-0000"
        for number in range(1, CALLS + 1):
            self.routine(number)
            # After the outage three callers in a row want their money back.
            self.call(number, "refund" if 84 <= number < 87 else "router" if number in (61, 63) else "")
        self.logs["lead"].log_action("close_books", {"paid_back": self.paid})
        return {
            "wrong_payee": self.wrong_payee, "old_price": self.old_price,
            "bad_promise": self.bad_promise, "paid": self.paid,
        }  # fmt: skip


def run(seed: int, fault: str) -> Mapping[str, Any]:
    """Play one day of the helpline."""
    return Desk(seed, fault).play()


def _other(event: Event) -> bool:
    body = event.args
    return body.get("account") != f"acc-{str(body.get('phone', ''))[-4:]}" and "phone" in body


def _invented(event: Event) -> bool:
    said = event.record.get("type") == "model.call" and event.record.get("step_id") == "tech"
    noted = event.agent == "tech" and event.act == "note"
    return (said and event.record["call_id"] == "tech-61") or (noted and event.args["call"] == "c061")


FAULTS = {
    "notebook": Fault(
        "Customers tell us that they were promised three months to exchange a router. We never offered that.",
        lambda faulty, healthy: faulty["bad_promise"] >= healthy["bad_promise"] + 3,
        lambda events: pick(events, where=_invented),
    ),
    "handover": Fault(
        "billing said that my money was on its way, they never came, somebody else must have them.",
        lambda faulty, healthy: faulty["wrong_payee"] > healthy["wrong_payee"],
        lambda events: pick(events, "greeter", "agent_message", where=_other),
    ),
    "cache": Fault(
        "tech quoted me 2.90 for a day abroad this afternoon but the bill says 4.50.",
        lambda faulty, healthy: faulty["old_price"] >= healthy["old_price"] + 2,
        lambda events: pick(events, "editor", "publish", where=lambda e: e.args["article"] == "roaming"),
    ),
    "limit": Fault(
        "We gave away far more money today than on any other day, the till was empty by closing time.",
        lambda faulty, healthy: faulty["paid"] >= healthy["paid"] * 1.25 + 30,
        lambda events: pick(
            events, "lead", "set_limit", where=lambda e: e.args["euros"] == 400, first=1
        ),
    ),
}  # fmt: skip
