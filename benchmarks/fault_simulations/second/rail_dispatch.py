"""A railway line with single-track sections: trains ask boxes for sections and stations for platforms."""

import heapq
import random
from collections.abc import Callable
from itertools import count
from typing import Any

from Agent import AgentLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

STATIONS = ["Weststadt", "Bergen", "Marl", "Norden", "Ostend"]
RUN_MINUTES = [5, 6, 5, 6]
TRAINS = 26
HEADWAY = 8
TRANSFER = 6
_FAULT = {"name": ""}


class Clock:
    """The queue of future events."""

    def __init__(self) -> None:
        self.now = 0
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = count()

    def after(self, minutes: int, call: Callable[..., None], *args: Any) -> None:
        """Plan a call."""
        heapq.heappush(self._queue, (self.now + minutes, next(self._count), call, args))

    def run(self) -> None:
        """Play all events in the order of time."""
        while self._queue:
            self.now, _, call, args = heapq.heappop(self._queue)
            with tick(self.now):
                call(*args)


class SignalBox:
    """The box that admits trains to one section."""

    def __init__(self, number: int) -> None:
        self.agent_id = f"box_{number}"
        self.logger = AgentLogger(self.agent_id, "signal box")
        self.limit = 1
        self.inside: list[str] = []
        self.waiting: list[str] = []

    @trace_agent_action()
    def request(self, train: str, minute: int) -> bool:
        """Admit a train, or let it wait."""
        room = len(self.inside) < self.limit
        if _FAULT["name"] == "one_more" and self.agent_id == "box_2" and minute >= 75:
            room = len(self.inside) <= self.limit
        (self.inside if room else self.waiting).append(train)
        return room

    @trace_agent_action()
    def clear(self, train: str) -> str | None:
        """Take note that a train has left, and admit the next one."""
        self.inside.remove(train)
        if not self.waiting or len(self.inside) >= self.limit:
            return None
        following = self.waiting.pop(0)
        self.inside.append(following)
        return following


class Station:
    """A station with a few platforms."""

    def __init__(self, name: str, platforms: int) -> None:
        self.agent_id = name
        self.events = AgentLogger(name, "station")
        self.free = list(range(1, platforms + 1))
        self.used: dict[str, int] = {}
        self.outside: list[str] = []

    @trace_agent_action()
    def berth(self, train: str) -> int | None:
        """Give a train a platform, or let it wait before the station."""
        if not self.free:
            self.outside.append(train)
            self.events.warning("no free platform", {"train": train})
            return None
        self.used[train] = self.free.pop(0)
        return self.used[train]

    @trace_agent_action()
    def departed(self, train: str, shunted: bool) -> str | None:
        """A train has left; return the train that can come in."""
        platform = self.used.pop(train)
        if not (_FAULT["name"] == "kept_platform" and shunted and self.agent_id == "Marl"):
            self.free.append(platform)
        return self.outside.pop(0) if self.outside and self.free else None


class Dispatcher:
    """The dispatcher keeps connections."""

    def __init__(self) -> None:
        self.agent_id = "dispatcher"
        self.logger = AgentLogger(self.agent_id, "dispatcher")
        self.holds: dict[str, str] = {}

    @trace_agent_action()
    def keep_connection(self, station: str, waiting: str, feeder: str) -> None:
        """Let a train wait for another one at a station."""
        if _FAULT["name"] == "swapped_trains" and station == "Bergen":
            waiting, feeder = feeder, waiting
        self.holds[waiting] = feeder
        self.logger.log_decision("hold", {"station": station, "train": waiting, "for": feeder})


class Line:
    """The line and its trains."""

    def __init__(self, seed: int) -> None:
        self.clock = Clock()
        self.boxes = [SignalBox(n) for n in range(1, 5)]
        self.stations = [Station(name, 26 if name in {"Weststadt", "Ostend"} else 2) for name in STATIONS]
        self.dispatcher = Dispatcher()
        self.names = [f"{'IC' if n % 3 == 0 else 'RB'}{10 + n}" for n in range(TRAINS)]
        self.loggers = {name: AgentLogger(name, "train") for name in self.names}
        rng = random.Random(seed)
        self.dwell = {(t, s): 2 + (rng.random() < 0.15) for t in self.names for s in range(5)}
        self.late: dict[str, int] = {}
        self.berthed: dict[tuple[str, int], int] = {}

    def arrive(self, train: str, at: int) -> None:
        """Bring a train to the station at the end of its section."""
        platform = self.stations[at].berth(train)
        if platform is not None:
            self.stop(train, at, platform)

    def stop(self, train: str, at: int, platform: int) -> None:
        """Stand at a platform, and tell the box behind that the section is clear."""
        log, clock = self.loggers[train], self.clock
        log.log_action("stop", {"station": STATIONS[at], "platform": platform})
        self.berthed[train, at] = clock.now
        quiet = _FAULT["name"] == "no_clear" and train == "RB21" and at == 3
        if at > 0 and not quiet:
            message = log.send(self.boxes[at - 1].agent_id, {"train": train, "report": "section clear"})
            self.boxes[at - 1].logger.receive(message)
            clock.after(0, self.cleared, train, at - 1)
        elif at > 0:
            clock.after(38, self.cleared, train, at - 1)
        if at == len(STATIONS) - 1:
            planned = self.names.index(train) * HEADWAY + sum(RUN_MINUTES) + 8
            self.late[train] = clock.now - planned
            log.log_action("terminate", {"minutes_late": self.late[train]})
        else:
            clock.after(self.dwell[train, at], self.leave, train, at)

    def cleared(self, train: str, section: int) -> None:
        """Pass the report on to the box, and let the next train go."""
        following = self.boxes[section].clear(train)
        if following:
            self.go(following, section)

    def leave(self, train: str, at: int) -> None:
        """Ask for the next section, unless the train has to wait for another one."""
        feeder = self.dispatcher.holds.get(train)
        if at == 1 and feeder and self.clock.now < self.berthed.get((feeder, at), 9999) + TRANSFER:
            self.loggers[train].log_action("wait", {"for": feeder})
            self.clock.after(3, self.leave, train, at)
        elif self.boxes[at].request(train, self.clock.now):
            self.go(train, at)

    def go(self, train: str, at: int) -> None:
        """Run through a section; behind another train only on sight."""
        shunted = (self.names.index(train) * 7 + at) % 9 == 4
        on_sight = len(self.boxes[at].inside) > 1
        self.loggers[train].log_action("depart", {"station": STATIONS[at], "on_sight": on_sight})
        coming = self.stations[at].departed(train, shunted)
        if coming:
            self.clock.after(1, self.arrive, coming, at)
        slow = 3 if self.names.index(train) % 5 == 2 else 0
        self.clock.after((RUN_MINUTES[at] + slow) * (4 if on_sight else 1), self.arrive, train, at + 1)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play one morning on the line."""
    _FAULT["name"] = fault
    line, system = Line(seed), SystemLogger("control")
    system.log_simulation_start("line", {"trains": TRAINS, "headway": HEADWAY, "stations": STATIONS})
    for number, name in enumerate(line.names):
        line.clock.after(number * HEADWAY, line.arrive, name, 0)
    for minute, station, waiting, feeder in ((70, "Bergen", "IC22", "RB21"), (40, "Norden", "IC16", "RB15")):
        line.clock.after(minute, line.dispatcher.keep_connection, station, waiting, feeder)
    line.clock.after(60, system.log_config, "passenger_display", "long", "short")
    line.clock.run()
    late = line.late
    system.log_simulation_end("line", {"late": sum(value > 3 for value in late.values())})
    return {"late": late, "arrived": len(late), "sum": sum(late.values())}


def _later(out: dict[str, Any], ref: dict[str, Any], trains: list[str], by: int) -> bool:
    return any(out["late"].get(train, 999) > ref["late"].get(train, 999) + by for train in trains)


def _unreported(events: list[Event]) -> list[str]:
    return pick(events, "RB21", "stop", where=lambda e: e.args["station"] == "Norden")


def _second_inside(event: Event) -> bool:
    return len(event.record.get("state", {}).get("set", {}).get("inside", [])) > 1


FAULTS = {
    "kept_platform": Fault(
        "No train gets to Ostend any more towards the end. Why does everything stand still?",
        lambda out, ref: out["arrived"] < ref["arrived"] - 3,
        lambda events: pick(events, "Marl", "departed", where=lambda e: e.args["shunted"]),
    ),
    "one_more": Fault(
        "Why did the later trains need so much longer between Bergen and the terminus than the first ones?",
        lambda out, ref: out["sum"] > ref["sum"] + 30,
        lambda events: pick(events, "box_2", "request", lambda at: at >= 75, _second_inside),
    ),
    "no_clear": Fault(
        "IC25 came into Ostend more than 20 minutes behind schedule, what held it up?",
        lambda out, ref: _later(out, ref, ["IC25"], 10),
        _unreported,
    ),
    "swapped_trains": Fault(
        "Why was RB21 so late at the terminus?",
        lambda out, ref: _later(out, ref, ["RB21"], 7),
        lambda events: pick(events, "dispatcher", "", where=lambda e: "Bergen" in str(e.args)),
    ),
}
