"""A season of a fishing fleet: skippers who learn where to fish, quotas, an auction and two harbours."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, InteractionLogger, LearningLogger, SystemLogger, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

DAYS = 110
BOATS = 18
FUEL = {"north_pier": 385.0, "south_pier": 1150.0}
GROUNDS = {"bank": 14, "shelf": 26, "reef": 44, "trench": 66}
_YIELD = {"bank": 4.4, "shelf": 5.4, "reef": 6.6, "trench": 7.4}


class _Season:
    """Draws by key, and what this season is about."""

    def __init__(self, seed: int, about: str) -> None:
        self.seed, self.about = seed, about
        self.stock = {ground: 460.0 for ground in GROUNDS}
        self.fuel = dict(FUEL)
        self.ice = {"north_pier": 0.0, "south_pier": 0.0}

    def of(self, *key: object) -> random.Random:
        return random.Random(f"{self.seed}/{key}")

    def landed(self, tonnes: float, day: int) -> float:
        """Return what the scales print for a catch."""
        return float(int(tonnes)) if self.about == "scales" and day >= 46 else round(tonnes, 1)

    def profit(self, boat: str, price: float, fuel: float, day: int) -> float:
        """Return what a trip earned."""
        back = self.about == "reward" and day >= 30 and int(boat[-2:]) % 3 == 0
        return round(price + fuel if back else price - fuel, 2)

    def parties(self, day: int, a: str, b: str) -> tuple[str, str]:
        """Return giver and taker of a quota."""
        return (b, a) if self.about == "transfer" and day == 45 else (a, b)

    def best(self, offers: dict[str, dict[str, float]]) -> str:
        """Return the supplier of ice to sign with for the season."""
        key = "per_week" if self.about == "contract" else "in_august"
        return min(offers, key=lambda name: offers[name]["price"] / offers[name][key])


@dataclass
class Skipper:
    """Chooses a ground by what trips there earned."""

    boat: str
    port: str
    values: dict[str, float] = field(default_factory=lambda: dict.fromkeys(GROUNDS, 3.0))
    earned: float = 0.0
    idle: int = 0

    def __post_init__(self) -> None:
        """Open the logs."""
        self.log = AgentLogger(self.boat, "skipper")
        self.learner = LearningLogger("bandit", self.boat, "skipper")

    def choose(self, day: int, season: _Season) -> str:
        """Choose a ground, sometimes a random one."""
        draw = season.of("choose", self.boat, day)
        if draw.random() < 0.15:
            ground = draw.choice(list(GROUNDS))
        else:
            ground = max(GROUNDS, key=lambda one: (self.values[one], one))
        self.log.log_decision("ground", {"day": day, "ground": ground})
        return ground

    def learn(self, ground: str, reward: float) -> None:
        """Learn from what a trip earned."""
        self.earned = round(self.earned + reward, 2)
        self.values[ground] = round(self.values[ground] + 0.2 * (reward - self.values[ground]), 3)
        self.learner.log_reward(ground, reward, self.earned)


class QuotaOffice:
    """Counts landings against quotas and transfers quotas between boats."""

    def __init__(self) -> None:
        """Give every boat the same quota."""
        self.log = AgentLogger("quota_office", "office")
        self.left = {f"boat_{n:02d}": 175.0 for n in range(1, BOATS + 1)}

    def count(self, boat: str, tonnes: float) -> None:
        """Count a landing."""
        self.left[boat] = round(self.left[boat] - tonnes, 1)
        self.log.log_action("count_landing", {"boat": boat, "tonnes": tonnes, "left": self.left[boat]})

    def transfer(self, giver: str, taker: str, tonnes: float) -> None:
        """Move quota from one boat to another."""
        self.left[giver] -= tonnes
        self.left[taker] += tonnes
        self.log.log_action("transfer", {"from": giver, "to": taker, "tonnes": tonnes})


class Auction:
    """Sells what is landed; more fish, lower prices, less ice, lower still."""

    def __init__(self) -> None:
        """Open the log."""
        self.log = AgentLogger("auction", "auction")
        self.prices: list[float] = []
        self.rotten: dict[int, float] = {}

    def sell(self, day: int, boat: str, tonnes: float, supply: float, iced: bool) -> float:
        """Sell a catch; return its price."""
        per_tonne = round(2.3 - 0.004 * supply, 2) * (1 if iced else 0.45)
        self.prices.append(per_tonne)
        if not iced:
            self.rotten[day] = self.rotten.get(day, 0) + tonnes
        self.log.log_action("sell", {"boat": boat, "tonnes": tonnes, "per_tonne": round(per_tonne, 2)})
        return per_tonne * tonnes


def _trip(
    day: int, skipper: Skipper, season: _Season, office: QuotaOffice, auction: Auction, supply: float
) -> tuple[float, bool]:
    """Sail, land, sell and learn; return the catch and whether there was fuel."""
    ground = skipper.choose(day, season)
    need = round(GROUNDS[ground] * 0.5, 1)
    if season.fuel[skipper.port] < need:
        skipper.idle += 1
        skipper.log.log_action("stay_in_port", {"fuel_wanted": need})
        return 0.0, False
    season.fuel[skipper.port] -= need
    draw = season.of("catch", skipper.boat, day)
    if draw.random() < 0.03:
        skipper.log.warning("net torn, mended at sea", {"ground": ground})
    density = season.stock[ground] / 460
    tonnes = round(max(0.3, _YIELD[ground] * density * draw.uniform(0.5, 1.5)) * 0.62, 2)
    season.stock[ground] -= tonnes
    skipper.log.log_action("fish", {"ground": ground, "tonnes": tonnes, "fuel": need})
    printed = season.landed(tonnes, day)
    skipper.log.log_action("land", {"port": skipper.port, "tonnes": printed})
    office.count(skipper.boat, printed)
    iced = season.ice[skipper.port] >= tonnes
    season.ice[skipper.port] -= tonnes if iced else 0
    price = auction.sell(day, skipper.boat, tonnes, supply, iced)
    skipper.learn(ground, season.profit(skipper.boat, price, need * 0.16, day))
    return tonnes, True


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play a season and return how fleet, harbours and stocks ended."""
    season = _Season(seed, fault)
    office, auction = QuotaOffice(), Auction()
    ties = InteractionLogger("cooperative", "cooperative")
    coop = AgentLogger("cooperative", "cooperative")
    harbours = {name: AgentLogger(name, "harbour") for name in season.fuel}
    scientist = AgentLogger("institute", "institute")
    system = SystemLogger("season")
    skippers = [
        Skipper(f"boat_{n:02d}", "north_pier" if n % 3 == 0 else "south_pier") for n in range(1, BOATS + 1)
    ]
    offers = {
        "polar_ice": {"price": 80, "per_week": 300, "in_august": 290},
        "harbour_ice": {"price": 64, "per_week": 310, "in_august": 70},
        "blue_ice": {"price": 120, "per_week": 350, "in_august": 330},
    }
    signed, dry, stopped, surveys = "", {name: 0 for name in harbours}, {}, []
    for day in range(DAYS):
        with tick(day):
            if day == 1:
                signed = season.best(offers)
                coop.log_decision("sign_contract", {"supplier": signed, "offers": offers})
            if day % 7 == 1:
                hot = day > 52
                amount = offers[signed]["in_august" if hot else "per_week"]
                for name, harbour in harbours.items():
                    season.ice[name] = amount * (0.33 if name == "north_pier" else 0.67)
                    season.fuel[name] = min(1.6 * FUEL[name], season.fuel[name] + FUEL[name])
                    harbour.log_action(
                        "stock_up", {"ice": round(season.ice[name]), "fuel": round(season.fuel[name])}
                    )
            if day % 15 == 0 and day:
                a, b = sorted(season.of("pair", day).sample(range(1, BOATS + 1), 2))
                pair = (f"boat_{a:02d}", f"boat_{b:02d}") if day != 45 else ("boat_04", "boat_11")
                giver, taker = season.parties(day, *pair)
                tonnes = 85.0 if day == 45 else 10.0
                ties.log_interaction("agree_on_quota", *pair, data={"giver": pair[0], "tonnes": tonnes})
                office.transfer(giver, taker, tonnes)
            supply = 0.0
            for skipper in skippers:
                if season.of("rest", skipper.boat, day).random() < 0.35:
                    continue
                if office.left[skipper.boat] < 2:
                    stopped.setdefault(skipper.boat, day)
                    skipper.log.log_action("stay_in_port", {"quota_left": office.left[skipper.boat]})
                    continue
                tonnes, fuelled = _trip(day, skipper, season, office, auction, supply)
                supply += tonnes
                dry[skipper.port] += not fuelled
            for ground in season.stock:
                grown = 0.085 * season.stock[ground] * (1 - season.stock[ground] / 480)
                season.stock[ground] = max(20.0, season.stock[ground] + grown)
            if day % 10 == 9:
                survey = {ground: round(left / 460, 2) for ground, left in season.stock.items()}
                surveys.append(survey)
                scientist.log_action("survey", survey)
            if day == 72:
                system.log_config("auction_opens", "06:00", "05:30")
    return {
        "stopped": stopped,
        "dry": dry,
        "rotten": round(sum(auction.rotten.values())),
        "earned": {skipper.boat: skipper.earned for skipper in skippers},
        "landed": round(175 * BOATS - sum(office.left.values())),
        "stock": surveys[-1],
        "real": round(sum(1 - share for share in surveys[-1].values()), 2),
    }


def _wrong_sum(events: Sequence[Event]) -> list[str]:
    price, fuel, found = 0.0, 0.0, []
    for event in events:
        if event.act == "fish":
            fuel = event.args["fuel"] * 0.16
        elif event.act == "sell":
            price = event.args["tonnes"] * event.args["per_tonne"]
        elif event.kind == "reward" and event.record["extra"]["reward"] > price:
            found.append(event.id)
    return found[:3] if fuel else []


def _swapped(events: Sequence[Event]) -> list[str]:
    return pick(events, "quota_office", "transfer", tick=45)


FAULTS: dict[str, Fault] = {
    "reward": Fault(
        "There is no diesel left at north_pier by the weekend, again and again, and our crews sit idle. In spring it "
        "was always enough.",
        lambda bad, good: bad["dry"]["north_pier"] > good["dry"]["north_pier"] + 4,
        _wrong_sum,
    ),
    "transfer": Fault(
        "boat_11 had to stay in port for the last weeks: nothing left to catch, they say. We had bought extra "
        "tonnes in July for exactly this.",
        lambda bad, good: "boat_11" in bad["stopped"] and "boat_11" not in good["stopped"],
        _swapped,
    ),
    "scales": Fault(
        "The institute's last survey is a shock: far fewer fish than we should have by the books of the "
        "quota_office, which say that everybody kept within the limits.",
        lambda bad, good: bad["real"] > good["real"] + 0.1,
        lambda events: pick(
            events,
            act="land",
            tick=lambda day: day >= 46,
            where=lambda e: e.args["tonnes"] == int(e.args["tonnes"]),
        ),
    ),
    "contract": Fault(
        "In the heat of the late summer half of what we brought in went soft in the boxes and auction paid next to nothing.",
        lambda bad, good: bad["rotten"] > good["rotten"] + 50,
        lambda events: pick(events, "cooperative", "sign_contract"),
    ),
}
