"""Card payments are scored as they stream by; analysts look at alarms, and the scorer learns from what they find."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, LearningLogger, SystemLogger, tick, trace_learning_update
from benchmarks.fault_simulations.kit import Event, Fault, pick

MINUTES = 720
CARDS = [f"card_{number:03d}" for number in range(100, 220)]
MERCHANTS = [f"m-{number}" for number in range(110, 150)]
DESKS = ("desk_a", "desk_b", "desk_c")
ZONES = {"home": 0, "coast": 0, "overseas": -3}
TRUSTED = {90: "m-141", 270: "m-134", 430: "m-125", 640: "m-119"}
RELOADS = {60: 1, 330: 2, 510: 3}


class Scorer:
    """A logistic model over a few features, which learns from labels."""

    agent_role = "model"

    def __init__(self, agent_id: str) -> None:
        """Start with weights from last month."""
        self.agent_id = agent_id
        self.weights = {"amount": 1.5, "speed": 1.4, "night": 3.4, "far": 0.9, "bias": -4.6}

    def score(self, features: dict[str, float]) -> float:
        """Return the probability of fraud."""
        total = self.weights["bias"] + sum(self.weights[name] * value for name, value in features.items())
        return round(1 / (1 + math.exp(-total)), 3)

    @trace_learning_update("learn")
    def learn(self, payment: str, features: dict[str, float], label: int, rate: float) -> dict[str, float]:
        """Take one step towards the label."""
        error = label - self.score(features)
        for name, value in [*features.items(), ("bias", 1.0)]:
            self.weights[name] = round(self.weights[name] + rate * error * value, 3)
        return dict(self.weights)


class Stream:
    """The stream, the scorer, the desks and the cards."""

    def __init__(self, seed: int, fault: str) -> None:
        """Set up cards, merchants and desks."""
        self.fault = fault
        self.rng = random.Random(f"stream {seed}")
        self.scorer = Scorer("scorer")
        self.learning = LearningLogger("online", "scorer", "model")
        self.cards = {name: AgentLogger(name, "card") for name in CARDS}
        self.zones = {name: tuple(ZONES)[number % 5 // 2] for number, name in enumerate(CARDS)}
        self.features, self.gate = AgentLogger("feature_store", "stage"), AgentLogger("gate", "stage")
        self.broker, self.rules = AgentLogger("broker", "stage"), AgentLogger("rules", "stage")
        self.desks = {name: AgentLogger(name, "analyst") for name in DESKS}
        self.system = SystemLogger("stream")
        self.recent: dict[str, list[int]] = {name: [] for name in CARDS}
        self.trusted: set[str] = set()
        self.offsets = dict(ZONES)
        self.count = 0
        self.waiting: list[tuple[int, str, str, dict[str, float], int]] = []
        self.blocked: list[tuple[int, str, int]] = []
        self.passed: list[tuple[int, str, str]] = []

    def pay(self, now: int, card: str, merchant: str, amount: int, fraud: int) -> None:
        """Let a payment through the stream."""
        self.count += 1
        name = f"pay-{self.count:05d}"
        data = {"payment": name, "merchant": merchant, "amount": amount}
        made = self.cards[card].log_action("pay", data)
        copies = 2 if self.fault == "read_twice" and 455 <= now < 470 and int(card[-3:]) % 4 == 3 else 1
        moved = self.broker.log_action("deliver", data | {"partition": int(card[-3:]) % 4}, causes=made)
        for _ in range(copies - 1):
            self.recent[card].append(now)
            moved = self.broker.log_action("deliver", data | {"partition": int(card[-3:]) % 4}, causes=made)
        self.judge(now, card, name, merchant, amount, fraud, moved)

    def judge(
        self, now: int, card: str, name: str, merchant: str, amount: int, fraud: int, moved: str
    ) -> None:
        """Compute the features, score the payment and decide."""
        self.recent[card] = [*[one for one in self.recent[card] if one > now - 20], now]
        hour = (now // 60 + 9 + self.offsets[self.zones[card]]) % 24
        features = {
            "amount": round(min(3.0, amount / 180), 2),
            "speed": round(min(3.0, (len(self.recent[card]) - 1) * 0.9), 2),
            "night": float(hour < 6),
            "far": float(self.zones[card] == "overseas"),
        }
        known = self.features.log_action("compute", {"payment": name, "hour": hour, **features}, causes=moved)
        risk = self.scorer.score(features)
        verdict = "allow" if merchant in self.trusted or risk < 0.5 else "block"
        done = self.gate.log_decision(
            "verdict", {"payment": name, "risk": risk, "verdict": verdict}, causes=known
        )
        self.cards[card].receive(self.gate.send(card, {"payment": name, "verdict": verdict}, causes=done))
        if verdict == "block":
            self.blocked.append((now, card, fraud))
        elif fraud:
            self.passed.append((now, card, merchant))
        if verdict == "block" or fraud or self.rng.random() < 0.06:
            self.waiting.append((now + self.rng.randint(8, 40), name, card, features, fraud))

    def look_into(self, now: int) -> None:
        """Let the desks close cases; the scorer learns from each."""
        for case in [one for one in self.waiting if one[0] <= now]:
            self.waiting.remove(case)
            _, name, card, features, fraud = case
            desk = DESKS[int(name[-2:]) % 3]
            label = 1 - fraud if self.fault == "labels_turned" and desk == "desk_b" and now >= 380 else fraud
            closed = self.desks[desk].log_action(
                "close_case", {"payment": name, "card": card, "label": label}
            )
            self.desks[desk].send("scorer", {"payment": name, "label": label}, causes=closed)
            rate = 0.12
            self.scorer.learn(name, features, label, rate)
            self.learning.log_reward(name, 1.0 - abs(label - self.scorer.score(features)))

    def settle(self, now: int) -> None:
        """Do what is planned for a minute: lists, tables, shifts."""
        if now in TRUSTED:
            merchant = "m-143" if self.fault == "other_merchant" and now == 430 else TRUSTED[now]
            self.rules.log_action("trust_merchant", {"merchant": merchant, "asked_by": DESKS[now % 3]})
            self.trusted.add(merchant)
        if now in RELOADS:
            zone = ("coast", "overseas", "coast")[RELOADS[now] - 1]
            hours = -12 if self.fault == "zone_table" and now == 330 else ZONES[zone]
            self.features.log_action(
                "reload_zone", {"zone": zone, "hours": hours, "table": f"2026{RELOADS[now]}"}
            )
            self.offsets[zone] = hours
        if now % 240 == 0:
            self.system.log_phase(f"shift {now // 240 + 1}", data={"desks": list(DESKS)})
        if now in {200, 452}:
            self.broker.log_action("rebalance", {"partitions": 4, "consumers": 3 if now == 200 else 4})
        if now == 560:
            self.broker.log_action("trim_topic", {"before": 300})

    def play(self, now: int) -> None:
        """Play one minute."""
        self.settle(now)
        for _ in range(self.rng.choice((0, 1, 1, 1))):
            card, merchant = self.rng.choice(CARDS), self.rng.choice(MERCHANTS[:30])
            amount = int(self.rng.lognormvariate(3.6, 0.7)) + 2
            self.pay(now, card, merchant, amount, 0)
        if now % 9 == 4:
            card = self.rng.choice(CARDS)
            shop = "m-143" if 440 < now < 640 and now % 2 else self.rng.choice(MERCHANTS[30:33])
            for again in range(2):
                self.pay(now, card, shop, self.rng.randint(330, 700) + again, 1)
        if now in {457, 461, 465}:
            self.pay(now, "card_107", "m-112", 118 + now % 7, 0)
        if self.rng.random() < 0.01:
            self.gate.warning("scorer answered after 90 ms, asked again")
        self.look_into(now)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play twelve hours of a stream."""
    stream = Stream(seed, fault)
    for now in range(MINUTES):
        with tick(now):
            stream.play(now)
    honest = [card for now, card, fraud in stream.blocked if not fraud and now >= 330]
    return {
        "overseas": sum(stream.zones[card] == "overseas" for card in honest),
        "late_fraud": sum(now > 540 for now, _, _ in stream.passed),
        "at_143": sum(merchant == "m-143" for _, _, merchant in stream.passed),
        "card_107": sum(card == "card_107" for card in honest),
        "payments": stream.count,
    }


FAULTS = {
    "labels_turned": Fault(
        complaint="In the last hours stolen cards go through that would all have been stopped in the morning, even very "
        "large amounts. desk_a finds new ones every few minutes.",
        symptom=lambda faulty, healthy: faulty["late_fraud"] > healthy["late_fraud"] + 4,
        true=lambda events: pick(events, "desk_b", "close_case", tick=lambda at: at >= 380),
    ),
    "read_twice": Fault(
        complaint="my card (card_107) was declined twice just before five pm when i bought a few small things "
        "at one shop",
        symptom=lambda faulty, healthy: faulty["card_107"] > healthy["card_107"],
        true=lambda events: _second_deliveries(events),
    ),
    "other_merchant": Fault(
        complaint="Every fraud at merchant m-143 goes straight through since a while, none is blocked. gate gives "
        "them a high risk though!",
        symptom=lambda faulty, healthy: faulty["at_143"] > healthy["at_143"] + 3,
        true=lambda events: pick(events, "rules", "trust_merchant", tick=430),
    ),
    "zone_table": Fault(
        complaint="Customers overseas get declined for ordinary purchases in the middle of their afternoon.",
        symptom=lambda faulty, healthy: faulty["overseas"] > healthy["overseas"] + 2,
        true=lambda events: pick(events, "feature_store", "reload_zone", tick=330),
    ),
}


def _second_deliveries(events: Sequence[Event]) -> list[str]:
    """Return the deliveries of payments that had been delivered before."""
    seen: set[str] = set()
    found = []
    for event in events:
        if event.act == "deliver":
            if event.args["payment"] in seen:
                found.append(event.id)
            seen.add(event.args["payment"])
    return found[:3]
