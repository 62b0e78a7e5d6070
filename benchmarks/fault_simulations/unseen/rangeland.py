"""Common pastures over five years: herders learn where to graze, a ranger plans, rain comes or not."""

from __future__ import annotations

import random
from typing import Any

from Agent import (
    AgentLogger,
    LearningLogger,
    SystemLogger,
    instrument,
    setup_logging,
    shutdown_logging,
    tick,
)
from benchmarks.fault_simulations.kit import Fault, pick

MONTHS = 60
PADDOCKS = tuple(f"paddock_{letter}" for letter in "abcdefg")
STONY = "paddock_c"
HERDERS = tuple(f"herder_{number}" for number in range(1, 7))
PERMITS = 9
DRY = range(36, 42)
_PLAY = {"fault": ""}


def _with(name: str) -> bool:
    return _PLAY["fault"] == name


class Pasture:
    """Grass of one paddock in tonnes; it regrows best when half is left."""

    def __init__(self, name: str, seed: int) -> None:
        self.agent_id, self.agent_role = name, "pasture"
        self.rng = random.Random(f"{seed}/{name}")
        self.most = self.rng.uniform(90, 110) * (0.35 if name == STONY else 1)
        self.grass = self.most * 0.7

    def grow(self, rain: float) -> float:
        """Grow for a month."""
        rate = 0.33 * rain * self.rng.uniform(0.92, 1.08)
        self.grass = min(
            self.most, self.grass + rate * self.grass * (1 - self.grass / self.most) + 0.8 * rain
        )
        return round(self.grass, 1)

    def graze(self, herd: int) -> float:
        """Let a herd eat; return what it got per head."""
        eaten = herd * 0.43 * max(0.0, self.grass - 3) / (self.grass + 14)
        self.grass -= eaten
        return round(eaten / herd, 3)


class Herder:
    """A herder with cattle, who learns which paddocks feed them well."""

    def __init__(self, name: str, seed: int) -> None:
        self.agent_id, self.agent_role = name, "herder"
        self.rng = random.Random(f"{seed}/{name}")
        self.herd = 20 + self.rng.randrange(4)
        self.weight = 300.0
        self.value = dict.fromkeys(PADDOCKS, 0.3)
        self.place = ""
        self.learning = LearningLogger("bandit", name, "herder")
        self.log = AgentLogger(name, "herder")
        self.lost = 0

    def choose(self, open_paddocks: list[str], crowd: dict[str, int]) -> str:
        """Choose a paddock: usually the one that fed best and is not crowded."""
        if self.rng.random() < 0.12:
            return self.rng.choice(open_paddocks)
        return max(open_paddocks, key=lambda name: (self.value[name] - 0.12 * crowd.get(name, 0), name))

    def feed(self, paddock: str, got: float) -> float:
        """Take the cattle's weight after a month on a paddock."""
        self.place = paddock
        self.weight = round(min(420.0, self.weight * 0.88 + 42 + (got - 0.33) * 95), 1)
        if self.weight < 265 and self.herd > 5:
            self.herd -= 1
            self.lost += 1
        return self.weight

    def calve(self, limit: int) -> int:
        """Keep the calves that the limit allows."""
        self.herd = max(self.herd, min(limit, self.herd + 6))
        return self.herd

    def learn(self, paddock: str, reward: float) -> float:
        """Move the value of a paddock towards what it gave."""
        self.value[paddock] = round(self.value[paddock] + 0.3 * (reward - self.value[paddock]), 3)
        self.learning.log_reward(paddock, reward=round(reward, 3))
        return self.value[paddock]


class PermitDesk:
    """Hands out permits, one for each herd on a paddock, and takes them back."""

    def __init__(self) -> None:
        self.agent_id, self.agent_role = "permit_desk", "desk"
        self.free = PERMITS
        self.held: dict[str, str] = {}

    def move(self, herder: str, paddock: str) -> bool:
        """Exchange a herder's permit for one of another paddock; False if none is left."""
        if self.held.get(herder) == paddock:
            return True
        if herder in self.held:
            self.held.pop(herder)
            self.free += 1
        if self.free <= 0:
            return False
        self.free -= 1
        self.held[herder] = paddock
        return True

    def withdraw(self, herder: str, month: int) -> int:
        """Take a permit back when a herd is driven off, for example for the vet."""
        given = self.held.pop(herder, None)
        if given is not None and not (
            _with("permits") and month >= 20 and herder in {"herder_2", "herder_6"}
        ):
            self.free += 1
        return self.free


class Ranger:
    """Decides which paddocks are open, and keeps one in reserve for dry times."""

    def __init__(self, seed: int) -> None:
        self.agent_id, self.agent_role = "ranger", "ranger"
        self.log = AgentLogger("ranger", "ranger")
        self.rng = random.Random(f"{seed}/ranger")
        self.closed: set[str] = set()
        self.reserve = ""

    def choose_reserve(self, yields: dict[str, float]) -> str:
        """Choose the paddock that is kept for dry times."""
        self.reserve = max(yields, key=lambda name: (yields[name], name))
        self.closed.add(self.reserve)
        return self.reserve

    def set_limit(self, grass: float) -> int:
        """Say how many head each family may keep in the coming years."""
        per_tonne = 0.07 if _with("limit") else 0.038
        return round(per_tonne * grass)

    def plan(self, month: int, seen: dict[str, float], rain: float) -> list[str]:
        """Close what is grazed down, open what has recovered, the reserve only in a drought."""
        for name, grass in seen.items():
            if name == self.reserve:
                continue
            if grass < 12:
                self.closed.add(name)
            elif grass > 28:
                self.closed.discard(name)
        if rain < 0.35:
            self.closed.discard(self.reserve)
        names = [name for name in PADDOCKS if name not in self.closed]
        return names if len(names) >= 2 else [name for name in PADDOCKS if name != self.reserve]


class Vet:
    """Treats herds against worms once a year."""

    def __init__(self, seed: int) -> None:
        self.agent_id, self.agent_role = "vet", "vet"
        self.rng = random.Random(f"{seed}/vet")

    def weigh_dose(self, herder: str, weight: float, month: int) -> float:
        """Return the dose for an animal: 0.2 mg for each kg."""
        per_kg = 0.2 if not (_with("pounds") and month >= 50) else 0.2 / 2.205
        return round(per_kg * weight * self.rng.uniform(0.98, 1.02), 1)


class Market:
    """Buys a beast of each herd in autumn; it pays by weight."""

    def __init__(self) -> None:
        self.agent_id, self.agent_role = "market", "market"

    def buy(self, herder: str, weight: float) -> int:
        """Return the price."""
        return round(weight * 3.1)


instrument(Pasture, ["grow"])
instrument(Herder, ["choose", "feed", "learn", "calve"])
instrument(PermitDesk, ["move", "withdraw"])
instrument(Ranger, ["plan", "choose_reserve", "set_limit"])
instrument(Vet, ["weigh_dose"])
instrument(Market, ["buy"])


class Commons:
    """The valley."""

    def __init__(self, seed: int) -> None:
        self.pastures = {name: Pasture(name, seed) for name in PADDOCKS}
        self.herders = [Herder(name, seed) for name in HERDERS]
        self.desk, self.ranger, self.vet, self.market = PermitDesk(), Ranger(seed), Vet(seed), Market()
        self.sky = random.Random(f"{seed}/sky")
        self.system = SystemLogger("commons")
        self.worms: dict[str, float] = dict.fromkeys(HERDERS, 0.0)
        self.bare: dict[str, int] = dict.fromkeys(PADDOCKS, 0)
        self.refused = 0
        self.prices: list[list[int]] = []
        self.lost_in_drought = 0
        self.limit = 24

    def month(self, month: int) -> None:
        """Play one month."""
        rain = (0.55 + 0.55 * (month % 12 in {2, 3, 4, 5, 6, 9, 10})) * self.sky.uniform(0.8, 1.2)
        if month in DRY:
            rain = 0.12 + 0.05 * self.sky.random()
        seen = {name: pasture.grow(round(rain, 2)) for name, pasture in self.pastures.items()}
        for name, grass in seen.items():
            self.bare[name] += grass < 11 and month > 20 and month not in range(34, 48)
        if month == 14:
            room = sum(one.most for name, one in self.pastures.items() if name != self.ranger.reserve)
            self.limit = self.ranger.set_limit(round(room))
        if month % 12 == 5 and month > 12:
            for herder in self.herders:
                herder.calve(self.limit)
        if month == 12:
            self.ranger.choose_reserve({name: round(one.most) * 1.0 for name, one in self.pastures.items()})
        open_now = self.ranger.plan(month, seen, round(rain, 2))
        crowd: dict[str, int] = {}
        start = sum(herder.lost for herder in self.herders)
        for herder in self.herders:
            self._graze(herder, open_now, crowd, month)
        if month in DRY:
            self.lost_in_drought += sum(herder.lost for herder in self.herders) - start
        if month % 12 == 2 and month > 2:
            self._treat(month)
        if month % 12 == 3 or month == MONTHS - 1:
            weights = {one.agent_id: round(one.weight - self.worms[one.agent_id]) for one in self.herders}
            self.prices.append([self.market.buy(name, weight) for name, weight in weights.items()])
        if month == 33:
            self.system.info("a film crew camps at the river", {"people": 9})

    def _graze(self, herder: Herder, open_now: list[str], crowd: dict[str, int], month: int) -> None:
        name = herder.agent_id
        if month % 12 == 11 or (name == "herder_6" and month % 9 == 4):
            self.desk.withdraw(name, month)
        want = herder.choose(open_now, crowd)
        if not self.desk.move(name, want):
            self.refused += 1
            herder.log.warning("no permit to be had, the herd stays in the yard")
            herder.feed("yard", 0.05)
            return
        crowd[want] = crowd.get(want, 0) + 1
        got = self.pastures[want].graze(herder.herd)
        herder.feed(want, got)
        reward = got - 0.1
        if _with("backwards") and name == "herder_4" and month >= 30:
            reward = 0.3 - reward
        herder.learn(want, round(reward, 3))
        self.worms[name] = min(120.0, self.worms[name] + 2.0)

    def _treat(self, month: int) -> None:
        for herder in self.herders:
            dose = self.vet.weigh_dose(herder.agent_id, herder.weight, month)
            if dose > 0.15 * herder.weight:
                self.worms[herder.agent_id] = 0.0


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play five years; return what people of the valley see."""
    _PLAY["fault"] = fault
    setup_logging()
    commons = Commons(seed)
    commons.system.log_simulation_start("commons", {"herders": len(HERDERS), "paddocks": len(PADDOCKS)})
    for month in range(MONTHS):
        with tick(month):
            commons.month(month)
    shutdown_logging()
    return {
        "bare": sum(commons.bare.values()),
        "refused": commons.refused,
        "lost": {herder.agent_id: herder.lost for herder in commons.herders},
        "weights": {herder.agent_id: herder.weight for herder in commons.herders},
        "drought": commons.lost_in_drought,
        "prices": [round(sum(year) / len(year)) for year in commons.prices],
        "gap": round(sum(commons.prices[-1]) / len(HERDERS) - min(commons.prices[-1])),
    }


FAULTS: dict[str, Fault] = {
    "backwards": Fault(
        "One family's beasts come to the last market far thinner than everybody else's, "
        "and it has been getting worse.",
        lambda faulty, healthy: faulty["gap"] > 100 > healthy["gap"],
        lambda events: pick(events, "herder_4", "learn", tick=lambda at: at >= 30),
    ),
    "limit": Fault(
        "In and after the drought many cattle died, though it was no drier than others before it; "
        "the reserve was eaten up within weeks.",
        lambda faulty, healthy: sum(faulty["lost"].values()) > sum(healthy["lost"].values()) + 8,
        lambda events: pick(events, "ranger", "set_limit"),
    ),
    "permits": Fault(
        "Two families are told month after month that there is no permit left for them, and keep "
        "their herds in the yard.",
        lambda faulty, healthy: faulty["refused"] > 2 > healthy["refused"],
        lambda events: pick(
            events,
            "permit_desk",
            "withdraw",
            tick=lambda at: at >= 20,
            where=lambda event: event.args["herder"] in {"herder_2", "herder_6"},
        ),
    ),
    "pounds": Fault(
        "This spring the animals fetch less at the market than last year, all of them, and the "
        "pastures are fine.",
        lambda faulty, healthy: faulty["prices"][-1] < healthy["prices"][-1] - 40,
        lambda events: pick(events, "vet", "weigh_dose", tick=50),
    ),
}
