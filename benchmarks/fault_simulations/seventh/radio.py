"""Radios that learn which channels to use beside licensed users, in three parts of a town."""

from __future__ import annotations

import random
from typing import Any

from Agent import LearningLogger, SystemLogger, tick, trace_agent_action, trace_learning_update
from benchmarks.fault_simulations.kit import Fault, pick

TICKS = 110
CHANNELS = range(1, 13)
"""Of these, 9 to 12 are for the campus only."""
AREAS = {"harbour": range(1, 7), "old_town": range(7, 13), "campus": range(13, 19)}
NIGHT_SHOW = 63
"""From this tick on a theatre uses channel 4 in the old town again."""


class Radio:
    """A radio with a value for each channel."""

    agent_role = "radio"

    def __init__(self, agent_id: str) -> None:
        """Make a radio that knows nothing."""
        self.agent_id = agent_id
        self.values = dict.fromkeys(CHANNELS, 0.5)
        self.rate = 0.25
        self.sent = 0

    @trace_agent_action
    def choose(self, allowed: list[int], explored: int) -> int:
        """Choose the best allowed channel, or the one that a draw says."""
        if explored in allowed:
            return explored
        return max(allowed, key=lambda channel: (self.values[channel], -channel))

    @trace_agent_action
    def transmit(self, channel: int, megahertz: float) -> None:
        """Send a frame."""
        self.sent += 1

    @trace_agent_action
    def set_rate(self, rate: float) -> None:
        """Take over how fast to learn."""
        self.rate = rate

    @trace_learning_update("channel_value")
    def update(self, channel: int, reward: float) -> float:
        """Move a channel's value towards a reward."""
        self.values[channel] = round(self.values[channel] + self.rate * (reward - self.values[channel]), 4)
        return self.values[channel]


class Register:
    """The register of licensed users of an area."""

    agent_role = "register"

    def __init__(self, area: str) -> None:
        """Open the register."""
        self.agent_id = f"register_{area}"
        self.answers = 0

    @trace_agent_action
    def list_free(self, licensed: list[int]) -> list[int]:
        """Return the channels that no licensed user has."""
        self.answers += 1
        return [channel for channel in CHANNELS if channel not in licensed]


class Station:
    """The base station of an area, which hears all frames."""

    agent_role = "station"

    def __init__(self, area: str) -> None:
        """Make a station."""
        self.agent_id = f"station_{area}"
        self.heard = 0

    @trace_agent_action
    def acknowledge(self, delivered: list[str], lost: list[str]) -> int:
        """Say whose frames arrived."""
        self.heard += len(delivered)
        return self.heard


class Stage:
    """The microphones of a theatre."""

    agent_role = "licensed"

    def __init__(self) -> None:
        """Make the theatre."""
        self.agent_id = "theatre"

    @trace_agent_action
    def check_sound(self, channel: int, crackles: int) -> bool:
        """Listen to the microphones."""
        return crackles == 0


def licensed(area: str, at: int) -> list[int]:
    """Return the channels that licensed users have."""
    if area == "harbour":
        return [1, 9, 10, 11, 12] if at % 40 < 25 else [1, 7, 9, 10, 11, 12]
    if area == "old_town":
        return [4, 8, 9, 10, 11, 12] if at < 20 or at >= NIGHT_SHOW else [8, 9, 10, 11, 12]
    return [6]


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play 110 ticks."""
    rng = random.Random(f"radio{seed}")
    system, learning = SystemLogger("town"), LearningLogger("bandit")
    radios = {area: [Radio(f"n_{number:02}") for number in numbers] for area, numbers in AREAS.items()}
    registers = {area: Register(area) for area in AREAS}
    stations = {area: Station(area) for area in AREAS}
    stage = Stage()
    skews = {radio.agent_id: rng.uniform(-0.08, 0.08) for group in radios.values() for radio in group}
    disturbed: set[int] = set()
    system.log_simulation_start("town", {"ticks": TICKS, "radios": 18})
    outcome: dict[str, Any] = {"crackles": 0, "late": {}, "campus_late": 0}
    for at in range(TICKS):
        with tick(at):
            if at in (12, 46, 70):
                rate = {12: 0.3, 46: 0.22, 70: 0.24}[at]
                areas = {12: "harbour", 46: "campus", 70: "harbour"}[at]
                if fault == "slow_learning" and at == 46:
                    rate = 0.022
                for radio in radios[areas]:
                    radio.set_rate(rate)
            if at in (30, 88):
                system.log_config("beacon_ms", 100, 120 if at == 30 else 100, {"by": "operations"})
            for area, group in radios.items():
                known = licensed(area, at)
                if fault == "kept_answer" and area == "old_town" and NIGHT_SHOW <= at < NIGHT_SHOW + 25:
                    known = licensed(area, NIGHT_SHOW - 1)
                free = registers[area].list_free(known)
                used: dict[str, int] = {}
                touched: dict[str, list[int]] = {}
                for radio in group:
                    explored = rng.choice(CHANNELS) if rng.random() < 0.08 else 0
                    channel = radio.choose(free, explored)
                    if fault == "warm_crystal" and radio.agent_id == "n_02" and at >= 34:
                        skews["n_02"] += 0.011
                    offset = skews[radio.agent_id] + rng.uniform(-0.02, 0.02)
                    radio.transmit(channel, round(470 + channel + offset, 2))
                    used[radio.agent_id] = channel
                    touched[radio.agent_id] = [channel] if abs(offset) < 0.4 else [channel, channel + 1]
                if (
                    area == "campus" and at == 84
                ):  # a new link takes the part of the band where most is going on
                    disturbed = set(sorted(used.values())[:4])
                lost = []
                for name, channel in used.items():
                    others = [place for other, places in touched.items() if other != name for place in places]
                    noisy = area == "campus" and channel in disturbed
                    if channel in others or (noisy and rng.random() < 0.9) or rng.random() < 0.02:
                        lost.append(name)
                stations[area].acknowledge([name for name in used if name not in lost], lost)
                for radio in group:
                    name = radio.agent_id
                    reward = 0.0 if name in lost else 1.0
                    if fault == "inverted_acks" and name == "n_03" and at >= 40:
                        reward = 1.0 - reward
                    radio.update(used[name], reward)
                    if name in lost and at >= 80:
                        outcome["late"][name] = outcome["late"].get(name, 0) + 1
                if area == "old_town" and (at < 20 or at >= NIGHT_SHOW):
                    crackles = sum(channel == 4 for channel in used.values())
                    stage.check_sound(4, crackles)
                    outcome["crackles"] += crackles
                if area == "campus" and at >= 90:
                    outcome["campus_late"] += len(lost)
            if rng.random() < 0.08:
                system.warning(
                    "link to a station slow, frame counted twice and dropped once",
                    {"ms": rng.randint(90, 400)},
                )
            if at % 10 == 9:
                best = {area: max(group[0].values.values()) for area, group in radios.items()}
                learning.log_convergence("best_value", best)
    system.log_simulation_end("town", {"crackles": outcome["crackles"]})
    return outcome


def _harbour(outcome: Any) -> int:
    return sum(count for name, count in outcome["late"].items() if name != "n_03" and name < "n_07")


FAULTS = {
    "inverted_acks": Fault(
        "Far more frames than usual get lost in the harbour since the middle of the day, n_04 was perfect before. It is "
        "as if somebody follows us from channel to channel.",
        lambda faulty, healthy: _harbour(faulty) > 1.5 * _harbour(healthy) + 3,
        lambda events: pick(events, "n_03", "channel_value", tick=lambda at: at >= 40),
    ),
    "kept_answer": Fault(
        "The microphones crackle through the whole first act, the channel is licensed to us!",
        lambda faulty, healthy: faulty["crackles"] > healthy["crackles"] + 3,
        lambda events: pick(events, "register_old_town", "list_free", tick=lambda at: at >= NIGHT_SHOW),
    ),
    "warm_crystal": Fault(
        "In the harbour some radios find no quiet channel any more towards the end, wherever they go something spills in "
        "from below.",
        lambda faulty, healthy: (
            sum(faulty["late"].get(f"n_0{n}", 0) for n in (1, 3, 4, 5, 6))
            > sum(healthy["late"].get(f"n_0{n}", 0) for n in (1, 3, 4, 5, 6)) + 4
        ),
        lambda events: pick(events, "n_02", "transmit", tick=lambda at: at >= 34),
    ),
    "slow_learning": Fault(
        "When the new microwave link began to disturb some channels near tick 84, the radios on campus just stayed "
        "there and lost nearly everything. They used to move away within a few ticks.",
        lambda faulty, healthy: faulty["campus_late"] > 1.25 * healthy["campus_late"] + 4,
        lambda events: pick(events, act="set_rate", tick=46, where=lambda e: e.args["rate"] < 0.1),
    ),
}
