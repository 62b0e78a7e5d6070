"""A stock exchange: market makers quote, traders take, and clearing adds up; every message is recorded."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from Agent import AgentLogger, InteractionLogger, SystemLogger
from benchmarks.fault_simulations.kit import Event, Fault, pick

STEPS = 320
MAKERS = [f"mm{n}" for n in range(1, 6)]
TRADERS = [f"t{n:02d}" for n in range(1, 21)]
ODD = "mm3"


class Venue:
    """The venue with its engine, feeds, risk desk and clearing."""

    def __init__(self, seed: int, case: str) -> None:
        """Open the venue."""
        self.case, self.rng, self.walk = case, random.Random(seed), random.Random(seed + 17)
        names = ["engine", "risk_desk", "clearing", "feed_a", "feed_b", *MAKERS, *TRADERS]
        self.logs = {n: AgentLogger(n, n.rstrip("0123456789").rstrip("_ab")) for n in names}
        self.trades = InteractionLogger("engine", "engine")
        self.system = SystemLogger("venue")
        self.price = 100.0
        self.seen = {"feed_a": 100.0, "feed_b": 100.0}
        self.quotes: dict[str, tuple[str, float, float]] = {}
        self.position = dict.fromkeys(MAKERS + TRADERS, 0)
        self.cash = dict.fromkeys(MAKERS + TRADERS, 0.0)
        self.fees = dict.fromkeys(TRADERS, 0.0)
        self.limit = dict.fromkeys(TRADERS, 60)
        self.unit = {t: 0.01 for t in TRADERS}
        self.overcharge = dict.fromkeys(TRADERS, 0.0)
        self.widest = 0.0
        self.last_middle: dict[str, float] = {}
        self.patience = {m: 0.35 if m == ODD else 0.08 for m in MAKERS}

    def feeds(self, step: int) -> None:
        """Publish the price on both feeds."""
        jump = self.walk.gauss(0, 0.12) + (0.02 if step < 200 else -0.04)
        self.price = round(self.price + jump, 2)
        for feed in ("feed_a", "feed_b"):
            frozen = self.case == "feed" and feed == "feed_b" and 228 <= step
            shown = self.seen[feed] if frozen else self.price
            self.seen[feed] = shown
            self.logs[feed].log_action("publish", {"step": step, "price": shown, "sequence": step * 2 + 1})

    def quote(self, maker: str, step: int) -> None:
        """A maker withdraws the old quote and sends a new one."""
        log, engine = self.logs[maker], self.logs["engine"]
        feed = "feed_b" if maker in {"mm2", "mm4"} else "feed_a"
        middle, half = self.seen[feed], 0.05 + 0.01 * MAKERS.index(maker)
        self.last_middle[maker] = middle
        bid, ask = round(middle - half, 2), round(middle + half, 2)
        old, number = self.quotes.get(maker), f"{maker}-{step}"
        messages = []
        if old:
            messages.append(log.send("engine", {"do": "cancel", "quote": old[0], "step": step}))
        messages.append(
            log.send("engine", {"do": "new", "quote": number, "bid": bid, "ask": ask, "step": step})
        )
        if self.case == "order" and maker == ODD and step >= 100:
            messages.reverse()
        for message in messages:
            engine.receive(message)
            if message.body["do"] == "new":
                self.quotes[maker] = (number, bid, ask)
            elif self.quotes.get(maker):
                self.quotes.pop(maker)

    def order(self, trader: str, step: int) -> None:
        """A trader takes the best quote, if the risk desk allows it."""
        amount = self.rng.choice([5, 5, 10, 10, 15])
        lean = 0.92 if trader == "t08" else 0.5
        side = 1 if self.rng.random() < lean else -1
        if not self.quotes:
            return
        log = self.logs[trader]
        if abs(self.position[trader] + side * amount) > self.limit[trader]:
            log.log_action("order_refused", {"step": step, "amount": side * amount})
            return
        pick_one = min if side > 0 else max
        index = 2 if side > 0 else 1
        maker = pick_one(sorted(self.quotes), key=lambda m: self.quotes[m][index])
        paid = self.quotes[maker][index]
        gap = abs(paid - self.price)
        self.widest = max(self.widest, gap)
        log.log_action("order", {"step": step, "amount": side * amount})
        self.trades.log_interaction(
            "trade",
            trader,
            maker,
            self.quotes[maker][0],
            {"amount": side * amount, "price": paid, "step": step},
        )
        self.position[trader] += side * amount
        self.position[maker] -= side * amount
        self.cash[trader] -= side * amount * paid
        self.cash[maker] += side * amount * paid
        fee = round(amount * paid * 0.0004, 4)
        rough = self.case == "fees" and step >= 150
        booked = int(fee * 10 + 1) / 10 if rough else round(fee, 2)
        self.overcharge[trader] += booked - fee
        self.fees[trader] = round(self.fees[trader] + booked, 2)
        self.logs["clearing"].log_action("book_fee", {"trader": trader, "amount": amount, "fee": booked})

    def desk(self, step: int) -> None:
        """Everyday work of the risk desk and of operations."""
        if step in (60, 170, 260):
            for trader in ("t03", "t08", "t11"):
                limit = {60: 60, 170: 70, 260: 70}[step]
                if self.case == "limit" and trader == "t08" and step >= 170:
                    limit = 700
                self.limit[trader] = limit
                self.logs["risk_desk"].log_action(
                    "set_limit", {"trader": trader, "limit": limit, "step": step}
                )
        if step == 140:
            self.system.log_config("heartbeat_ms", 500, 400, {"gateway": "gw2"})
        if step == 222:
            self.logs["engine"].log_action("snapshot", {"step": step, "quotes": len(self.quotes)})
        if step % 57 == 31:
            self.logs[f"feed_{'ab'[step % 2]}"].warning("gap in the sequence, refilled", {"step": step})

    def play(self) -> Mapping[str, Any]:
        """Play the day."""
        self.system.log_simulation_start("venue", {"makers": len(MAKERS), "traders": len(TRADERS)})
        lonely = 0
        for step in range(STEPS):
            self.feeds(step)
            self.desk(step)
            for place, maker in enumerate(MAKERS):
                near = abs(self.seen["feed_a"] - self.last_middle.get(maker, 0)) < self.patience[maker]
                if step % 5 == place and not near:
                    self.quote(maker, step)
            lonely += ODD not in self.quotes and step > 10
            for trader in self.rng.sample(TRADERS, 2):
                self.order(trader, step)
        total = {n: round(self.cash[n] + self.position[n] * self.price, 2) for n in self.cash}
        self.logs["clearing"].log_action("close_day", {"price": self.price, "accounts": len(total)})
        return {
            "lonely": lonely, "widest": round(self.widest, 2), "t08": self.position["t08"],
            "t08_exposure": round(abs(self.position["t08"] * self.price)),
            "makers_b": round(total["mm2"] + total["mm4"], 2),
            "over": round(sum(self.overcharge.values()), 2),
        }  # fmt: skip


def run(seed: int, fault: str) -> Mapping[str, Any]:
    """Play one day of the venue."""
    return Venue(seed, fault).play()


def _overtaken(events: Sequence[Event]) -> list[str]:
    got = [e for e in events if e.agent == "engine" and e.act == "agent_message"]
    pairs = zip(got, got[1:], strict=False)
    return [
        cancel.id for new, cancel in pairs
        if new.args["quote"].startswith(ODD) and cancel.args["quote"].startswith(ODD)
        and new.args["do"] == "new" and cancel.args["do"] == "cancel" and new.args["step"] == cancel.args["step"]
    ][:3]  # fmt: skip


def _rough(events: Sequence[Event]) -> list[str]:
    booked = [e for e in events if e.act in {"book_fee", "trade"}]
    found = []
    for trade, fee in zip(booked, booked[1:], strict=False):
        if fee.act == "book_fee" and trade.act == "trade" and trade.args["step"] >= 150:
            right = fee.args["amount"] * trade.args["price"] * 0.0004
            found += [fee.id] if abs(fee.args["fee"] - right) > 0.006 else []
    return found[:3]


FAULTS = {
    "order": Fault(
        "One of our five market makers is not in the book for an hour though it swears that it is quoting.",
        lambda faulty, healthy: faulty["lonely"] >= healthy["lonely"] + 20,
        _overtaken,
    ),
    "limit": Fault(
        "At the close t08 holds a far larger position than this client was ever meant to have.",
        lambda faulty, healthy: abs(faulty["t08"]) > 1.5 * max(75, abs(healthy["t08"])),
        lambda events: pick(
            events, "risk_desk", "set_limit",
            where=lambda e: e.args["trader"] == "t08" and e.args["step"] >= 170, first=1,
        ),
    ),
    "feed": Fault(
        "I sold to mm2 for far more than the last price on my screen. Nice for me, but something is off.",
        lambda faulty, healthy: faulty["widest"] >= healthy["widest"] + 1,
        lambda events: pick(
            events, "feed_b", "publish", where=lambda e: e.args["step"] >= 228
        ),
    ),
    "fees": Fault(
        "The costs on tonight's statement are higher than the rate times what I traded, every client says so.",
        lambda faulty, healthy: faulty["over"] >= healthy["over"] + 6,
        _rough,
    ),
}  # fmt: skip
