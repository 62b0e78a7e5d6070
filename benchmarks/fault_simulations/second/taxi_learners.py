"""Four taxis that learn by Q-learning where in the city to wait for passengers."""

import random
from typing import Any

from Agent import (
    AgentLogger,
    LearningLogger,
    PerformanceLogger,
    SystemLogger,
    tick,
    trace_agent_action,
    trace_learning_update,
)
from benchmarks.fault_simulations.kit import Event, Fault, pick

ZONES = ("airport", "station", "centre", "harbour", "suburb")
DEMAND = {"airport": 0.55, "station": 0.75, "centre": 0.9, "harbour": 0.35, "suburb": 0.2}
FARE = {"airport": 34.0, "station": 15.0, "centre": 12.0, "harbour": 17.0, "suburb": 22.0}
COST = {"airport": 14.0, "station": 2.5, "centre": 1.5, "harbour": 4.0, "suburb": 5.0}
SHIFTS = 160
_bug = {"fault": ""}


class Taxi:
    """A learner with one value for each zone and time of day."""

    def __init__(self, agent_id: str, seed: int) -> None:
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "taxi")
        self.learning = LearningLogger("q_learning", agent_id)
        self.rng = random.Random(f"{seed}/{agent_id}")
        self.q = {f"{zone}/{part}": 20.0 for zone in ZONES for part in ("day", "night")}
        self.rate = 0.25
        self.epsilon = 0.2
        self.earned = 0.0

    @trace_agent_action()
    def choose_zone(self, part: str, closed: str | None) -> str:
        """Choose where to wait, greedily or at random."""
        chance, other = self.rng.random(), self.rng.choice(ZONES)
        best = max((zone for zone in ZONES if zone != closed), key=lambda zone: self.q[f"{zone}/{part}"])
        explore = chance < self.epsilon and other != closed
        zone = other if explore else best
        self.learning.log_exploration_exploitation(zone, explore, self.epsilon)
        return zone

    @trace_learning_update()
    def learn(self, zone: str, part: str, reward: float) -> float:
        """Move the value of a zone towards the reward."""
        key = f"{zone}/{part}"
        self.q[key] = round(self.q[key] + self.rate * (reward - self.q[key]), 3)
        return self.q[key]

    @trace_agent_action()
    def load_policy(self, values: dict[str, float], version: int) -> int:
        """Replace the values by those of the fleet."""
        self.q = dict(values)
        self.version = version
        return version

    @trace_agent_action()
    def set_rate(self, rate: float) -> float:
        """Change the learning rate."""
        self.rate = rate
        return rate


class Meter:
    """Turns trips into rewards."""

    def __init__(self) -> None:
        self.agent_id = "meter"
        self.trips = 0

    @trace_agent_action()
    def reward(self, taxi: str, zone: str, fare: float, shift: int) -> float:
        """Return the profit of a trip, or the loss of an empty one."""
        self.trips += fare > 0
        cost = COST[zone]
        if _bug["fault"] == "free_fuel" and taxi == "taxi_2" and shift >= 40:
            cost = -cost
        return round(fare - cost, 2)


class Dispatcher:
    """Gives waiting passengers to taxis."""

    def __init__(self, seed: int) -> None:
        self.agent_id = "dispatcher"
        self.logger = AgentLogger("dispatcher", "dispatcher")
        self._rng = random.Random(seed)
        self.served = 0

    def passengers(self) -> dict[str, int]:
        """Return how many passengers wait in each zone."""
        return {zone: sum(self._rng.random() < DEMAND[zone] for _ in range(2)) for zone in ZONES}

    @trace_agent_action()
    def match(self, zone: str, taxis: list[str], waiting: int, shift: int) -> dict[str, int]:
        """Match taxis and passengers of a zone, in the order of a rotating list."""
        turn = shift % len(taxis)
        order = taxis[turn:] + taxis[:turn]
        seats = list(range(1, waiting + 1))
        if _bug["fault"] == "same_passenger" and zone == "centre" and shift >= 50 and waiting > 1:
            seats = [1] * waiting
        found = dict(zip(order, seats, strict=False))
        self.served += len(set(found.values()))
        return found


class Fleet:
    """The fleet's server: keeps the average of all values, and shares it with new cars."""

    def __init__(self) -> None:
        self.agent_id = "fleet_server"
        self.versions: dict[int, dict[str, float]] = {}

    @trace_agent_action()
    def snapshot(self, version: int, tables: list[dict[str, float]]) -> int:
        """Keep the average of the taxis' values."""
        keys = tables[0]
        self.versions[version] = {k: round(sum(t[k] for t in tables) / len(tables), 3) for k in keys}
        return version

    @trace_agent_action()
    def restore(self, reason: str) -> list[int]:
        """Come back after a restart, from the newest backup."""
        self.reason = reason
        backup = min(self.versions) if _bug["fault"] == "old_backup" else max(self.versions)
        self.versions = {version: table for version, table in self.versions.items() if version <= backup}
        return list(self.versions)

    @trace_agent_action()
    def newest(self) -> int:
        """Return the number of the version to use."""
        return max(self.versions)


class City:
    """The learners and their surroundings."""

    def __init__(self, seed: int) -> None:
        self.taxis = [Taxi(f"taxi_{n}", seed) for n in range(1, 5)]
        self.meter, self.dispatcher, self.fleet = Meter(), Dispatcher(seed), Fleet()
        self.metrics, self.system = PerformanceLogger("city"), SystemLogger("city")
        self.profit = {taxi.agent_id: [0.0, 0.0] for taxi in self.taxis}
        self.unserved = 0
        self.visits: dict[str, list[str]] = {taxi.agent_id: [] for taxi in self.taxis}

    def shift(self, number: int) -> None:
        """Play one shift: choose, serve, learn."""
        part = "night" if number % 2 else "day"
        closed = "harbour" if 70 <= number < 76 else None
        waiting = self.dispatcher.passengers()
        places: dict[str, list[Taxi]] = {}
        for taxi in self.taxis:
            zone = taxi.choose_zone(part, closed)
            places.setdefault(zone, []).append(taxi)
            self.visits[taxi.agent_id].append(zone)
        for zone, taxis in places.items():
            found = self.dispatcher.match(zone, [taxi.agent_id for taxi in taxis], waiting[zone], number)
            carried: set[int] = set()
            for taxi in taxis:
                seat = found.get(taxi.agent_id)
                fare = FARE[zone] if seat and seat not in carried else 0.0
                carried.add(seat or 0)
                reward = self.meter.reward(taxi.agent_id, zone, fare, number)
                true_profit = fare - COST[zone]
                taxi.learning.log_reward(zone, reward)
                taxi.learn(zone, part, reward)
                taxi.earned += true_profit
                self.profit[taxi.agent_id][number >= 90] += true_profit
            self.unserved += waiting[zone] - len(carried - {0}) if zone == "centre" and number >= 80 else 0
        if number % 8 == 0:
            self.metrics.log_metric("earned", round(sum(t.earned for t in self.taxis), 1), "EUR")

    def office(self, number: int) -> None:
        """Do what the office of the fleet does at certain shifts."""
        if number % 8 == 2 and number < 50:
            self.fleet.snapshot(number // 8 + 1, [taxi.q for taxi in self.taxis])
        if number in {21, 93}:
            self.taxis[number % 4].logger.warning("flat tyre, repaired")
        if number == 30:
            self.system.log_config("radio_channel", 4, 6)
        if number == 56:
            self.fleet.restore("update of the system")
        if number == 100:
            version = self.fleet.newest()
            for taxi in self.taxis:
                taxi.load_policy(self.fleet.versions[version], version)
                taxi.epsilon = 0.1
        if number == 48:
            rate = 1.5 if _bug["fault"] == "high_rate" else 0.25
            self.system.log_config("taxi_3.rate", 0.25, rate)
            self.taxis[2].set_rate(rate)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Let the taxis learn for some shifts."""
    _bug["fault"] = fault
    city = City(seed)
    city.system.log_simulation_start("city", {"shifts": SHIFTS, "zones": ZONES})
    for number in range(SHIFTS):
        with tick(number):
            city.office(number)
            city.shift(number)
    late = {name: parts[1] for name, parts in city.profit.items()}
    city.system.log_simulation_end("city", {"late_profit": late})
    airport = {n: sum(z == "airport" for z in zones[90:]) for n, zones in city.visits.items()}
    poor = sum(zone in {"suburb", "harbour"} for visits in city.visits.values() for zone in visits[100:120])
    peak = max(abs(value) for value in city.taxis[2].q.values())
    return {"late": late, "airport": airport, "poor": poor, "unserved": city.unserved, "peak": peak}


def _pairs(event: Event) -> bool:
    found = list(event.result.values())
    return len(found) > len(set(found))


FAULTS = {
    "free_fuel": Fault(
        "Why does taxi_2 go to the airport so often in the second half, much more than the others?",
        lambda out, ref: out["airport"]["taxi_2"] > ref["airport"]["taxi_2"] + 10,
        lambda events: pick(
            events, "meter", "reward", lambda at: at >= 40, lambda e: e.args["taxi"] == "taxi_2"
        ),
    ),
    "high_rate": Fault(
        "The values of taxi_3 jump about wildly and it never settles for a zone. Where does that come from?",
        lambda out, ref: out["peak"] > 1.5 * ref["peak"],
        lambda events: (
            pick(events, "taxi_3", "set_rate")
            + pick(events, where=lambda e: e.record["extra"].get("name") == "taxi_3.rate")
        ),
    ),
    "same_passenger": Fault(
        "why do so many passengers in the centre stay behind although there are enough cars",
        lambda out, ref: out["unserved"] > 1.3 * ref["unserved"],
        lambda events: pick(events, "dispatcher", "match", where=_pairs),
    ),
    "old_backup": Fault(
        "Since about shift 100 the taxis wait in the suburb and at the harbour again, like beginners",
        lambda out, ref: out["poor"] > ref["poor"] + 6,
        lambda events: pick(events, "fleet_server", "restore"),
    ),
}
