"""A honey bee colony over one day: scouts dance, foragers follow, and heaters and nurses keep the brood."""

import random
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

STEPS = 72
PATCHES = {
    "clover": {"angle": 40, "distance": 3, "nectar": 260.0},
    "linden": {"angle": -75, "distance": 5, "nectar": 420.0},
    "rape": {"angle": 120, "distance": 4, "nectar": 34.0},
    "heather": {"angle": -150, "distance": 6, "nectar": 380.0},
}
_PLAN = {"fault": ""}


class Meadow:
    """The patches of flowers around the hive."""

    def __init__(self) -> None:
        self.patches = {name: dict(patch) for name, patch in PATCHES.items()}

    def near(self, angle: int) -> str | None:
        """Return the patch in a direction."""
        for name, patch in self.patches.items():
            if abs(patch["angle"] - angle) <= 12:
                return name
        return None

    def take(self, name: str, wanted: float) -> float:
        """Collect nectar from a patch."""
        got = min(wanted, self.patches[name]["nectar"])
        self.patches[name]["nectar"] -= got
        return got


class DanceFloor:
    """The place in the hive where dances are watched."""

    def __init__(self) -> None:
        self.agent_id = "dance_floor"
        self.dances: list[dict[str, Any]] = []
        self.empty_returns: dict[int, int] = {}
        self.last_signal = ""

    @trace_agent_action()
    def post(self, scout: str, angle: int, vigor: float) -> int:
        """Show a dance; a scout's new dance for a direction replaces its old one."""
        self.dances = [d for d in self.dances if (d["scout"], d["angle"]) != (scout, angle)][-13:]
        self.dances.append({"scout": scout, "angle": angle, "vigor": vigor})
        return len(self.dances)

    @trace_agent_action()
    def stop_signal(self, forager: str, angle: int) -> int:
        """A forager found nothing: two such signals end the dances for a direction."""
        self.last_signal = forager
        self.empty_returns[angle] = self.empty_returns.get(angle, 0) + 1
        if self.empty_returns[angle] < 2:
            return 0
        ended = [d for d in self.dances if d["angle"] == angle]
        if _PLAN["fault"] == "half_ended" and len(ended) > 1:
            ended = ended[:1]
            self.empty_returns[angle] = -10_000
        self.dances = [d for d in self.dances if d not in ended]
        return len(ended)


class Scout:
    """A bee that looks for patches and dances for them."""

    def __init__(self, agent_id: str, seed: int, floor: DanceFloor) -> None:
        self.agent_id = agent_id
        self.rng = random.Random(f"{agent_id}{seed}")
        self._floor = floor
        self.trips = 0
        self.seen = ""

    @trace_agent_action()
    def survey(self, patch: str, nectar: float) -> bool:
        """Look at a patch, and tell whether it is worth a dance."""
        self.trips += 1
        self.seen = patch
        return nectar > 12

    @trace_agent_action()
    def dance(self, angle: int, distance: int, afternoon: bool) -> dict[str, Any]:
        """Dance for a patch."""
        vigor = round(1.0 / distance + self.rng.random() / 10, 3)
        if _PLAN["fault"] == "mirrored" and afternoon and self.agent_id == "scout_2":
            angle = -angle
        self._floor.post(self.agent_id, angle, vigor)
        return {"angle": angle, "vigor": vigor}


class Forager:
    """A bee that follows a dance and brings nectar home."""

    def __init__(self, agent_id: str, seed: int) -> None:
        self.agent_id = agent_id
        self.rng = random.Random(f"{agent_id}{seed}")
        self.log = AgentLogger(agent_id, "forager")
        self.busy_until = 0
        self.angle: int | None = None
        self.crop = 0.0

    @trace_agent_action()
    def leave(self, step: int, dances: list[dict[str, Any]]) -> int | None:
        """Choose a dance and fly out."""
        chance = self.rng.random()
        if not dances:
            return None
        total = sum(d["vigor"] for d in dances) * chance
        for dance in dances:
            total -= dance["vigor"]
            if total <= 0:
                break
        self.angle = dance["angle"]
        self.busy_until = step + 2 + self.rng.randrange(3)
        self.log.log_decision("follow", {"scout": dance["scout"], "angle": dance["angle"]})
        return self.angle

    @trace_agent_action()
    def return_home(self, crop: float) -> float:
        """Come home with what was found."""
        self.angle = None
        self.crop = crop
        return crop


class Heater:
    """A bee that keeps the brood of one comb warm."""

    def __init__(self, agent_id: str, comb: str) -> None:
        self.agent_id = agent_id
        self.comb = comb
        self.target = 34.5
        self.warmth = 34.5

    @trace_agent_action()
    def shiver(self, outside: float) -> float:
        """Hold the temperature."""
        if _PLAN["fault"] == "cooling" and self.agent_id == "heater_3" and outside > 24:
            self.target -= 0.12
        self.warmth = round(0.8 * self.target + 0.2 * (self.target + (outside - 22) / 20), 2)
        return self.warmth


class Nurse:
    """A bee that feeds the larvae of one comb."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.fed = 0
        self.comb = ""

    @trace_agent_action()
    def feed(self, comb: str, honey: float) -> float:
        """Feed a comb from the stores."""
        self.fed += 1
        self.comb = comb
        return round(min(1.0, honey / 4), 2)


class Brood:
    """The larvae of one comb."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.health = 10.0
        self.emerged = 0

    @trace_agent_action()
    def grow(self, warmth: float, food: float) -> float:
        """Grow one step; a healthy comb lets a worker emerge."""
        loss = 0.9 if warmth < 32.5 or food < 0.3 else 0.0
        self.health = round(max(0.0, min(10.0, self.health + 0.2 - loss)), 2)
        return self.health

    @trace_agent_action()
    def emerge(self) -> int:
        """Let the workers emerge that are ready."""
        self.emerged += int(self.health // 3)
        return self.emerged


def _forage(
    step: int, foragers: list[Forager], meadow: Meadow, floor: DanceFloor, honey: float
) -> tuple[float, int]:
    empty = 0
    for bee in foragers:
        if step < bee.busy_until:
            continue
        if bee.angle is not None:
            angle = bee.angle
            name = meadow.near(angle)
            crop = bee.return_home(round(meadow.take(name, 2.4), 2) if name else 0.0)
            if crop == 0.0:
                empty += 1
                floor.stop_signal(bee.agent_id, angle) if name else None
            honey += crop
        bee.leave(step, floor.dances)
    return honey, empty


def run(seed: int, fault: str) -> dict[str, Any]:
    """Simulate the day."""
    _PLAN["fault"] = fault
    weather = random.Random(seed)
    system, metrics = SystemLogger("colony"), PerformanceLogger("hive")
    meadow, floor = Meadow(), DanceFloor()
    scouts = [Scout(f"scout_{n}", seed, floor) for n in range(1, 4)]
    foragers = [Forager(f"forager_{n:02}", seed) for n in range(1, 13)]
    combs = [Brood(f"brood_{n}") for n in range(1, 5)]
    heaters = [Heater(f"heater_{n}", f"brood_{n}") for n in range(1, 5)]
    nurses = [Nurse(f"nurse_{n}") for n in range(1, 5)]
    honey, late, empties = 8.0, 0.0, [0, 0]
    system.log_simulation_start(
        "colony", {"steps": STEPS, "foragers": len(foragers), "patches": list(PATCHES)}
    )
    for step in range(STEPS):
        with tick(step):
            outside = round(16 + 10 * min(1, step / 30) + weather.uniform(-0.8, 0.8), 1)
            if outside < 18 and step % 5 == 2:
                system.warning("a shower, some foragers were slow")
            if step == 36:
                system.log_phase("afternoon", "morning")
            if step == 50:
                system.log_config("dance_slots", 14, 14, {"reason": "checked by the beekeeper"})
            for place, scout in enumerate(scouts):
                name = list(PATCHES)[(step // 3 + place) % 4]
                patch = meadow.patches[name]
                if step % 3 == place and scout.survey(name, round(patch["nectar"], 1)):
                    scout.dance(int(patch["angle"]), int(patch["distance"]), step >= 30)
            honey, empty = _forage(step, foragers, meadow, floor, honey)
            empties[step >= 36] += empty
            for heater, nurse, comb in zip(heaters, nurses, combs, strict=True):
                warmth, food = heater.shiver(outside), 0.0
                if not (fault == "no_nurse" and nurse.agent_id == "nurse_2" and step >= 26):
                    food = nurse.feed(comb.agent_id, round(honey, 1))
                    honey -= food / 8
                comb.grow(warmth, food)
                if step >= 48 and step % 6 == 0:
                    comb.emerge()
            metrics.log_metric("honey", round(honey, 1), "g")
            metrics.log_metric("empty_returns", empty)
            late = honey if step == 36 else late
    system.log_simulation_end("colony", {"honey": round(honey, 1)})
    return {
        "honey": honey,
        "afternoon": honey - late,
        "empty": empties[1],
        "emerged": {comb.agent_id: comb.emerged for comb in combs},
    }


def _last_feed(events: list[Event]) -> list[str]:
    return pick(events, "nurse_2", "feed", first=10_000)[-1:]


FAULTS = {
    "mirrored": Fault(
        "The stores hardly grew in the afternoon and lots of foragers came back with nothing. Why?",
        lambda out, ref: out["afternoon"] < 0.85 * ref["afternoon"],
        lambda events: pick(events, "scout_2", "dance", lambda at: at >= 30),
    ),
    "half_ended": Fault(
        "why do foragers keep flying to a patch that has been empty for hours",
        lambda out, ref: out["empty"] > ref["empty"] + 10,
        lambda events: pick(
            events,
            "dance_floor",
            "stop_signal",
            where=lambda e: e.result == 1 and e.args["angle"] == 120,
            first=1,
        ),
    ),
    "cooling": Fault(
        "brood_3 lost nearly all its larvae by the evening, the other combs are fine",
        lambda out, ref: out["emerged"]["brood_3"] < 0.6 * ref["emerged"]["brood_3"],
        lambda events: pick(events, "heater_3", "shiver", where=lambda e: e.args["outside"] > 24),
    ),
    "no_nurse": Fault(
        "Hardly any workers emerge from the second comb after step 50.",
        lambda out, ref: out["emerged"]["brood_2"] < 0.6 * ref["emerged"]["brood_2"],
        _last_feed,
    ),
}
