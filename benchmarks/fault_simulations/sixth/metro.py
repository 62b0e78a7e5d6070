"""Control of a metro line: trains, platforms, track circuits, a regulator and drivers who relieve each other."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from Agent import PerformanceLogger, instrument, tick
from benchmarks.fault_simulations.kit import Event, Fault, pick

TICKS = 460
STOPS = 12
TRAINS = 9


class Train:
    """A train with its doors."""

    def __init__(self, number: int) -> None:
        """Couple the cars."""
        self.agent_id, self.stop, self.laps = f"train_{number}", 0, 0

    def doors(self, platform: str, cycles: int, seconds: float) -> float:
        """Open and close the doors."""
        return seconds

    def depart(self, platform: str, late_s: int) -> int:
        """Leave a platform."""
        self.stop = (self.stop + 1) % STOPS
        self.laps += self.stop == 0
        return late_s


class Circuit:
    """A piece of track that knows whether a train is on it."""

    def __init__(self, number: int) -> None:
        """Begin empty."""
        self.agent_id, self.occupied = f"circuit_{number:02d}", 0

    def enter(self, train: str) -> int:
        """A train drives onto the piece."""
        self.occupied += 1
        return self.occupied

    def leave(self, train: str) -> int:
        """A train has left the piece."""
        self.occupied -= 1
        return self.occupied


class Regulator:
    """Holds trains back so that they come evenly."""

    def __init__(self) -> None:
        """Begin with the plan of the morning."""
        self.agent_id = "regulator"
        self.plan = {"headway_s": 105, "hold_max_s": 40}

    def adjust(self, name: str, value: int) -> int:
        """Set one value of the plan."""
        self.plan[name] = value
        return value

    def hold(self, train: str, platform: str, seconds: int) -> int:
        """Hold a train at a platform."""
        return seconds


class Roster:
    """Knows which driver has which train, and calls relief."""

    def __init__(self) -> None:
        """Begin the duty book."""
        self.agent_id, self.reliefs = "duty_desk", 0

    def relieve(self, train: str, coming: str, going: str) -> int:
        """Hand a train from one driver to the next."""
        self.reliefs += 1
        return self.reliefs


class Driver:
    """A driver with a duty."""

    def __init__(self, number: int) -> None:
        """Sign on."""
        self.agent_id, self.calls = f"driver_{number:02d}", 0

    def called(self, train: str, platform: str) -> int:
        """Read the call to a relief."""
        self.calls += 1
        return self.calls

    def greet(self, text: str) -> str:
        """Make an announcement."""
        return text


class Board:
    """Shows passengers when the next train comes."""

    def __init__(self, number: int) -> None:
        """Switch on."""
        self.agent_id = f"board_{number:02d}"

    def show(self, minutes: int, train: str) -> int:
        """Show the minutes until a train."""
        return minutes

    def ping(self, millis: int) -> bool:
        """Answer the network's test; a slow answer raises."""
        if millis > 900:
            raise TimeoutError(f"{self.agent_id} took {millis} ms")
        return True


for _cls, _names in (
    (Train, ["doors", "depart"]), (Circuit, ["enter", "leave"]), (Regulator, ["adjust", "hold"]),
    (Roster, ["relieve"]), (Driver, ["called", "greet"]), (Board, ["show", "ping"]),
):  # fmt: skip
    instrument(_cls, methods=_names, agent_id="agent_id", agent_role=_cls.__name__.lower())


class _Line:
    def __init__(self, seed: int, case: str) -> None:
        self.case, self.rng = case, random.Random(seed)
        self.trains = [Train(n) for n in range(1, TRAINS + 1)]
        self.circuits = [Circuit(n) for n in range(1, STOPS + 1)]
        self.boards = [Board(n) for n in range(1, STOPS + 1)]
        self.drivers = {d.agent_id: d for d in (Driver(n) for n in range(1, TRAINS * 2 + 1))}
        self.regulator, self.roster = Regulator(), Roster()
        self.metrics = PerformanceLogger("line", "line")
        self.due = {t.agent_id: 4 + 4 * place for place, t in enumerate(self.trains)}
        self.driving = {t.agent_id: f"driver_{n:02d}" for n, t in enumerate(self.trains, 1)}
        self.cycles = dict.fromkeys(self.driving, 0)
        self.waits_for: dict[str, int] = {}
        self.held = dict.fromkeys(self.driving, 0)
        self.blocked = dict.fromkeys(self.driving, 0)
        self.last_seen = dict.fromkeys(range(STOPS), -1)
        self.gaps: list[tuple[int, int, int]] = []
        self.hold_total = 0
        self.unmanned = 0
        self.dwell_late: list[float] = []

    def _dwell(self, train: Train, now: int) -> float:
        seconds = 24 + self.rng.gauss(0, 1.5) + (5 if 120 <= now < 200 else 0)
        if self.case == "doors" and train.agent_id == "train_6" and now >= 60:
            seconds += (now - 60) * 0.14
        return round(max(18.0, seconds), 1)

    def _step(self, train: Train, now: int) -> None:
        name, stop = train.agent_id, train.stop
        circuit, platform = self.circuits[stop], f"stop_{stop + 1:02d}"
        if name in self.waits_for:
            if now < self.waits_for[name]:
                self.unmanned += 1
                return
            del self.waits_for[name]
        following = (stop + 1) % STOPS
        if self.circuits[following].occupied > 0:
            self.blocked[name] += 1
            return
        seconds = self._dwell(train, now)
        self.cycles[name] += 1
        train.doors(platform, self.cycles[name], seconds)
        if now >= 300 and name == "train_6":
            self.dwell_late.append(seconds)
        gap = (now - self.last_seen[stop]) * 30 if self.last_seen[stop] >= 0 else 150
        self.last_seen[stop] = now
        self.gaps.append((now, stop, gap))
        wait = 0
        short = self.regulator.plan["headway_s"] - gap
        if short > 20 and stop % 3 == 0:
            wait = min(short, self.regulator.plan["hold_max_s"])
            self.regulator.hold(name, platform, wait)
            self.hold_total += wait
        self.circuits[following].enter(name)
        stuck = self.case == "circuit" and stop == 7 and now >= 330 and name == "train_4"
        if circuit.occupied and not stuck:
            circuit.leave(name)
        late = round(seconds + wait - 24)
        train.depart(platform, late)
        if stop % 4 == 0:
            self.metrics.log_metric("headway", gap, "s", {"stop": stop + 1})
        if stop % 2:
            self.boards[following].show(2 + wait // 60, name)
        travel = 2 if self.rng.random() < 0.75 else 3
        self.due[name] = now + travel + round((seconds + wait - 24) / 30)
        if stop == 5 and train.laps in (2, 6) and (name, train.laps) not in self.relieved:
            self.relieved.add((name, train.laps))
            self._relief(train, now)

    def _relief(self, train: Train, now: int) -> None:
        name = train.agent_id
        going = self.driving[name]
        number = int(going[-2:])
        coming = f"driver_{(number + TRAINS - 1) % (2 * TRAINS) + 1:02d}"
        told = "train_5" if self.case == "relief" and name == "train_2" and train.laps == 6 else name
        self.drivers[coming].called(told, "stop_07")
        if told != name:
            self.waits_for[name] = now + 24
            return
        self.roster.relieve(name, coming, going)
        self.driving[name] = coming

    def play(self) -> Mapping[str, Any]:
        self.relieved: set[tuple[str, int]] = set()
        for now in range(TICKS):
            with tick(now):
                if now in (100, 210, 345):
                    self.regulator.adjust("hold_max_s", {100: 45, 210: 40, 345: 40}[now])
                if now == 210:
                    self.regulator.adjust("headway_s", 190 if self.case == "headway" else 110)
                if now == 338:
                    self.drivers["driver_03"].greet("happy birthday to the lady in car two")
                if now % 15 == 7:
                    board = self.rng.choice(self.boards)
                    try:
                        board.ping(self.rng.randrange(20, 1000))
                    except TimeoutError:
                        board.ping(40)
                for train in self.trains:
                    if self.due[train.agent_id] <= now:
                        self._step(train, now)
        laps = sum(t.laps * STOPS + t.stop for t in self.trains)
        tail = [g for at, _, g in self.gaps if at >= 380]
        return {
            "stops": laps, "hold_total": self.hold_total, "unmanned": self.unmanned,
            "longest": max(tail, default=9999), "tail_stops": len(tail), "dwell_6": max(self.dwell_late, default=0),
            "blocked_max": max(self.blocked.values()),
        }  # fmt: skip


def run(seed: int, fault: str) -> Mapping[str, Any]:
    """Play four hours of the line in steps of half a minute."""
    return _Line(seed, fault).play()


def _miscalled(events: Sequence[Event]) -> list[str]:
    calls = [e for e in events if e.act in {"called", "depart"}]
    pairs = zip(calls, calls[1:], strict=False)
    return [b.id for a, b in pairs if b.act == "called" and a.act == "depart" and a.agent != b.args["train"]]


FAULTS = {
    "doors": Fault(
        "One of the trains stands at every stop for a minute with its doors open, and all behind it bunch up.",
        lambda faulty, healthy: faulty["dwell_6"] >= healthy["dwell_6"] + 25,
        lambda events: pick(events, "train_6", "doors", tick=lambda t: t > 60),
    ),
    "headway": Fault(
        "Why do trains sit at stop_04 and other stations with nobody getting on? It was so all afternoon.",
        lambda faulty, healthy: faulty["hold_total"] >= healthy["hold_total"] + 2000,
        lambda events: pick(
            events, "regulator", "adjust", tick=210, where=lambda e: e.args["name"] == "headway_s"
        ),
    ),
    "circuit": Fault(
        "Nothing moves any more on the whole line, my train stands in the tunnel before stop_08.",
        lambda faulty, healthy: faulty["tail_stops"] < healthy["tail_stops"] * 0.4,
        lambda events: pick(
            events, "train_4", "depart", tick=lambda t: t >= 330,
            where=lambda e: e.args["platform"] == "stop_08", first=1,
        ),
    ),
    "relief": Fault(
        "train_2 waited for ten minutes at stop_07 without anybody in the cab.",
        lambda faulty, healthy: faulty["unmanned"] >= healthy["unmanned"] + 10,
        _miscalled,
    ),
}  # fmt: skip
