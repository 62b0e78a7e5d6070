"""Campaigns learn which creative to show; an auction sells places on pages, and pacing keeps to budgets."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, InteractionLogger, LearningLogger, SystemLogger, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

ROUNDS = 300
PUBLISHERS = ("daily", "weather", "recipes", "maps")
ADVERTISERS = ("bikes", "tea", "shoes", "books", "tents", "soap", "lamps", "bread")
ARMS = ("blue", "photo", "offer", "story")
FLOORS = {40: ("maps", 26), 120: ("recipes", 31), 185: ("weather", 28), 260: ("daily", 33)}


class Campaign:
    """A campaign: its creatives with what it believes of them, and its budget in cents."""

    def __init__(self, name: str, seed: int) -> None:
        """Start without beliefs."""
        self.name = name
        self.rng = random.Random(f"{name} {seed}")
        self.log = AgentLogger(name, "campaign")
        self.learning = LearningLogger("bandit", name, "campaign")
        self.true = {arm: self.rng.uniform(0.05, 0.25) for arm in ARMS}
        self.value = dict.fromkeys(ARMS, 0.3)
        self.epsilon = 0.4
        self.budget = 9000
        self.spent = 0
        self.total = 0.0
        self.shown: deque[tuple[int, str, str, float]] = deque()

    def choose(self) -> str:
        """Choose a creative: mostly the best, sometimes any."""
        explores = self.rng.random() < self.epsilon
        any_arm = self.rng.choice(ARMS)
        arm = any_arm if explores else max(ARMS, key=lambda one: self.value[one])
        self.learning.log_exploration_exploitation(arm, explores, round(self.epsilon, 3))
        return arm

    def learn(self, place: str, arm: str, reward: float) -> None:
        """Learn from what a showing brought."""
        self.total += reward
        old = round(self.value[arm], 3)
        self.value[arm] += 0.2 * (reward - self.value[arm])
        self.learning.log_reward(place, reward, round(self.total, 2))
        self.learning.log_policy_update({"arm": arm}, old, round(self.value[arm], 3))


class Market:
    """The auction with everybody in it."""

    def __init__(self, seed: int, fault: str) -> None:
        """Set up campaigns and publishers."""
        self.fault = fault
        self.rng = random.Random(f"market {seed}")
        self.clicks = random.Random(f"clicks {seed}")
        self.campaigns = {name: Campaign(name, seed) for name in ADVERTISERS}
        self.campaigns["bikes"].true = {"blue": 0.1, "photo": 0.6, "offer": 0.12, "story": 0.08}
        self.campaigns["tents"].true = {"blue": 0.75, "photo": 0.08, "offer": 0.05, "story": 0.1}
        self.publishers = {name: AgentLogger(name, "publisher") for name in PUBLISHERS}
        self.sellers = {name: AgentLogger(name, "auctioneer") for name in ("auction_1", "auction_2")}
        self.credit, self.pacing = AgentLogger("attribution", "stage"), AgentLogger("pacing", "stage")
        self.talk, self.system = InteractionLogger(), SystemLogger("market")
        self.floors = {"daily": 30, "weather": 25, "recipes": 28, "maps": 24}
        self.places = 0
        self.sold: list[tuple[int, str, str, str, int]] = []
        self.pending: list[tuple[int, str, str, str, float]] = []
        self.soap_left = 0

    def bids(self, floor: int, now: int) -> list[tuple[int, str]]:
        """Let the campaigns bid."""
        found = []
        for name, one in self.campaigns.items():
            bid = int(28 + 20 * max(one.value.values()) + one.rng.randint(-6, 9))
            if one.spent + bid <= one.budget * (now + 12) / ROUNDS and bid >= floor:
                found.append((bid, name))
        return sorted(found, reverse=True)

    def sell(self, now: int, seller: str, publisher: str) -> None:
        """Sell one place on a page."""
        self.places += 1
        place, floor = f"place-{self.places:04d}", self.floors[publisher]
        self.publishers[publisher].log_action("offer_place", {"place": place, "floor": floor})
        bids = self.bids(floor, now)
        if not bids:
            self.sellers[seller].log_decision("unsold", {"place": place, "floor": floor})
            return
        bid, name = bids[0]
        price = max(floor, bids[1][0] if len(bids) > 1 else floor)
        campaign = self.campaigns[name]
        won = self.sellers[seller].log_decision("award", {"place": place, "to": name, "cents": price})
        arm = campaign.choose()
        campaign.spent += price
        campaign.log.log_action(
            "show", {"place": place, "creative": arm, "spent": campaign.spent}, causes=won
        )
        clicked = self.clicks.random() < campaign.true[arm]
        self.sold.append((now, name, arm, publisher, price))
        if clicked:
            self.talk.log_content_interaction(publisher, arm, "click", {"place": place, "campaign": name})
        self.pending.append((now + self.clicks.randint(1, 5), name, place, arm, float(clicked)))

    def give_credit(self, now: int) -> None:
        """Tell each campaign what its showings brought."""
        for case in [one for one in self.pending if one[0] <= now]:
            self.pending.remove(case)
            _, name, place, arm, reward = case
            if self.fault == "creatives_swapped" and name == "bikes" and now >= 150:
                arm = {"photo": "offer", "offer": "photo"}.get(arm, arm)
            known = self.credit.log_action("credit", {"place": place, "campaign": name, "creative": arm,
                                                      "reward": reward})  # fmt: skip
            letter = self.credit.send(name, {"place": place, "creative": arm, "reward": reward}, causes=known)
            self.campaigns[name].log.receive(letter)
            self.campaigns[name].learn(place, arm, reward)

    def flash_sale(self, now: int) -> None:
        """Sell the last fixed places of a day to soap: each auctioneer asks what is left and reserves it."""
        left = 5
        for number in range(3):
            before = left
            for seller in self.sellers:
                current = before if self.fault == "both_reserve" and now == 210 else left
                self.sellers[seller].log_action("ask_left", {"campaign": "soap", "left": current})
                if current > number % 2:
                    taken = self.sellers[seller].log_action(
                        "reserve", {"campaign": "soap", "places": min(2, current)}
                    )
                    self.pacing.log_action(
                        "confirm", {"seller": seller, "places": min(2, current)}, causes=taken
                    )
                    left -= min(2, current)
        self.soap_left = min(self.soap_left, left)
        bill = self.pacing.send("soap", {"reserved": 5 - left, "ordered": 5})
        self.campaigns["soap"].log.receive(bill)

    def settle(self, now: int) -> None:
        """Do what is planned for a round: floors, seasons, exploration."""
        if now in FLOORS:
            publisher, cents = FLOORS[now]
            if self.fault == "floor_in_tenths" and now == 185:
                cents *= 10
            self.publishers[publisher].log_action("set_floor", {"cents": cents, "for": "next rounds"})
            self.floors[publisher] = cents
        if now == 118:
            self.campaigns["tents"].true = {"blue": 0.6, "photo": 0.09, "offer": 0.97, "story": 0.1}
        if now in {60, 110}:
            for name, one in self.campaigns.items():
                new = max(0.05, round(one.epsilon * one.rng.uniform(0.8, 0.95), 3))
                if self.fault == "no_more_trials" and name == "tents" and now == 110:
                    new = 0.002
                one.log.log_strategy_update(
                    "exploration", {"epsilon": one.epsilon}, {"epsilon": new}, "schedule"
                )
                one.epsilon = new
        if now in {90, 210}:
            self.flash_sale(now)
        if now == 275:
            self.pacing.log_action("recount", {"campaigns": len(self.campaigns)})

    def play(self, now: int) -> None:
        """Play one round."""
        self.settle(now)
        for publisher in PUBLISHERS:
            if self.rng.random() < 0.68:
                self.sell(now, self.rng.choice(sorted(self.sellers)), publisher)
        if self.rng.random() < 0.02:
            self.pacing.warning("ledger answered late, asked again")
        self.give_credit(now)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play three hundred rounds."""
    market = Market(seed, fault)
    for now in range(ROUNDS):
        with tick(now):
            market.play(now)
    bikes = [arm for now, name, arm, _, _ in market.sold if name == "bikes" and now >= 230]
    tents = [arm for now, name, arm, _, _ in market.sold if name == "tents" and now >= 260]
    return {
        "bikes_photo": round(bikes.count("photo") / max(1, len(bikes)), 2),
        "tents_offer": round(tents.count("offer") / max(1, len(tents)), 2),
        "weather": sum(publisher == "weather" and now >= 185 for now, _, _, publisher, _ in market.sold),
        "soap_left": market.soap_left,
        "sold": len(market.sold),
    }


FAULTS = {
    "creatives_swapped": Fault(
        complaint="bikes hardly shows its photo any more although that is what people click. It was the clear favourite "
        "all morning.",
        symptom=lambda faulty, healthy: faulty["bikes_photo"] < healthy["bikes_photo"] - 0.3,
        true=lambda events: pick(
            events,
            "attribution",
            "credit",
            tick=lambda at: at >= 150,
            where=lambda e: e.args["campaign"] == "bikes" and e.args["creative"] in {"photo", "offer"},
        ),
    ),
    "both_reserve": Fault(
        complaint="Soap ordered five fixed places and was billed for more than that this afternoon.",
        symptom=lambda faulty, healthy: faulty["soap_left"] < 0 <= healthy["soap_left"],
        true=lambda events: _double(events),
    ),
    "floor_in_tenths": Fault(
        complaint="Not one place was sold on the weather pages since round 185 or 186. The maps pages sell as always.",
        symptom=lambda faulty, healthy: faulty["weather"] == 0 < healthy["weather"],
        true=lambda events: pick(events, "weather", "set_floor", tick=185),
    ),
    "no_more_trials": Fault(
        complaint="The offer has been what campers want since the holidays began, yet to the very end the tents campaign "
        "went on with last month's picture.",
        symptom=lambda faulty, healthy: faulty["tents_offer"] < healthy["tents_offer"] - 0.3,
        true=lambda events: pick(events, "tents", "strategy_update", tick=110),
    ),
}


def _double(events: Sequence[Event]) -> list[str]:
    """Return the first reservations of the second sale that rest on what the other had already taken."""
    asked = [e for e in events if e.act == "ask_left" and e.tick == 210]
    return [
        two.id for one, two in zip(asked, asked[1:], strict=False) if two.args["left"] >= one.args["left"]
    ][:3]
