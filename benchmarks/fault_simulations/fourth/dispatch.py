"""Twelve hours of an ambulance control room: calls, a positions board, crews, and a supervisor who looks twice."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, receive, send, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

END = 12 * 3600
_now_case = {"about": "", "seed": "0"}
Place = tuple[float, float]
_HOSPITALS: dict[str, Place] = {
    "hospital_east": (17.0, 9.0),
    "hospital_hill": (6.0, 14.0),
    "hospital_sea": (8.0, 3.0),
}


def _dice(*key: object) -> random.Random:
    return random.Random(f"{_now_case['seed']}|{key}")


def _far(a: Place, b: Place) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


@dataclass(eq=False)
class CallTaker:
    """Answers the telephone and writes down where help is needed."""

    agent_id: str
    agent_role: str = "call taker"
    answered: int = 0

    @trace_agent_action
    def answer(self, at: int, call: str, words: str, spot: Place) -> Place:
        """Write down a call; return the place on the map."""
        self.answered += 1
        return _on_map(self.agent_id, at, spot)


@dataclass(eq=False)
class Board:
    """Shows the last position of each ambulance."""

    agent_id: str
    agent_role: str = "board"
    places: dict[str, Place] = field(default_factory=dict)

    @trace_agent_action
    def report(self, at: int, unit: str, place: Place) -> None:
        """Take a position from a unit's radio."""
        self.places[unit] = place if _is_taken(unit, at) else self.places.get(unit, place)

    @trace_agent_action
    def show(self, at: int) -> dict[str, Place]:
        """Return the positions of all units."""
        return dict(self.places)


@dataclass(eq=False)
class Dispatcher:
    """Chooses an ambulance for a call."""

    agent_id: str
    agent_role: str = "dispatcher"
    busy: dict[str, str] = field(default_factory=dict)

    @trace_agent_action
    def choose(self, at: int, call: str, place: Place, free: list[str], positions: dict[str, Place]) -> str:
        """Choose the nearest free unit and send it."""
        unit = min(free, key=lambda one: (_far(positions[one], place), one))
        self.busy[unit] = call
        return unit

    @trace_agent_action
    def alert(self, at: int, unit: str, call: str, place: Place) -> Any:
        """Send a unit to a call."""
        return send(unit, {"call": call, "place": place})

    @trace_agent_action
    def clear(self, at: int, unit: str, message: Any) -> None:
        """Note that a unit is free again."""
        receive(message)
        self.busy.pop(unit, None)


@dataclass(eq=False)
class Crew:
    """Drives to people and takes them to a hospital."""

    agent_id: str
    place: Place
    agent_role: str = "crew"
    call: str = ""

    @trace_agent_action
    def accept(self, at: int, message: Any) -> str:
        """Take over a call from the radio."""
        receive(message)
        self.call = message.body["call"]
        return self.call

    @trace_agent_action
    def arrive(self, at: int, call: str, place: Place) -> bool:
        """Arrive; return whether somebody is there."""
        self.place = place
        return True

    @trace_agent_action
    def deliver(self, at: int, call: str, hospital: str) -> Any:
        """Bring the patient to a hospital and say that the unit is free."""
        self.place = _HOSPITALS[hospital]
        self.call = ""
        return send("desk", {"unit": self.agent_id, "free": True})

    @trace_agent_action
    def look_around(self, at: int, call: str) -> None:
        """Find nobody at the place, and ask the caller again."""


@dataclass(eq=False)
class Supervisor:
    """Looks every ten minutes for calls that nobody is on the way to."""

    agent_id: str
    agent_role: str = "supervisor"

    @trace_agent_action
    def sweep(self, at: int, waiting: list[str]) -> list[str]:
        """Return the calls to be sent again."""
        return list(waiting)


def _on_map(taker: str, at: int, spot: Place) -> Place:
    swapped = _now_case["about"] == "map" and taker == "taker_3" and at >= 22_000
    return (spot[1], spot[0]) if swapped else spot


def _is_taken(unit: str, at: int) -> bool:
    return not (_now_case["about"] == "board" and unit > "unit_02" and at >= 9_000)


def _looks_again(at: int) -> bool:
    return not (_now_case["about"] == "sweep" and at > 18_000)


def _seen_busy(at: int, previous: str, busy: set[str]) -> set[str]:
    """Return what a desk sees as busy for the second call of a pair."""
    return busy - {previous} if _now_case["about"] == "pair" and at >= 20_000 else busy


class _Room:
    """The queue of events and everybody in it."""

    def __init__(self) -> None:
        self.queue: list[tuple[int, int, Callable[[int], None]]] = []
        self.order = itertools.count()
        self.takers = [CallTaker(f"taker_{n}") for n in (1, 2, 3)]
        self.board, self.desk = Board("board"), Dispatcher("desk")
        self.supervisor = Supervisor("supervisor")
        self.crews = {f"unit_{n:02d}": Crew(f"unit_{n:02d}", (2.0 * n, 20.0 - 1.7 * n)) for n in range(1, 11)}
        self.workshop = AgentLogger("workshop", "workshop")
        self.open: dict[str, tuple[int, Place, Place]] = {}
        self.on_way: dict[str, str] = {}
        self.responses: dict[str, float] = {}
        self.last_choice = ""
        self.looked = 0

    def later(self, at: int, act: Callable[[int], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self.queue, (at, next(self.order), act))

    def call(self, at: int, call: str, spot: Place, second: bool) -> None:
        """Answer a call and send somebody."""
        words = _dice("words", call).choice(["fell on the stairs", "chest pain", "cannot breathe", "a crash"])
        place = self.takers[int(call[1:4]) % 3].answer(at, call, words, spot)
        self.open[call] = (at, place, spot)
        self.dispatch(at, call, second)

    def dispatch(self, at: int, call: str, second: bool = False) -> None:
        """Choose a unit and alert it; without a free one, try again a little later."""
        if call not in self.open:
            return
        busy = set(self.desk.busy)
        if second:
            busy = _seen_busy(at, self.last_choice, busy)
        free = sorted(set(self.crews) - busy)
        if not free:
            self.later(at + 120, lambda then: self.dispatch(then, call))
            return
        _, place, pin = self.open[call]
        unit = self.desk.choose(at, call, place, free, self.board.show(at))
        self.last_choice = unit
        message = self.desk.alert(at, unit, call, place)
        if _dice("radio", call, at).random() < 0.07:
            self.on_way.pop(call, None)
            self.later(at + 1500, lambda then: self.desk.busy.pop(unit, None))
            return
        self.on_way[call] = unit
        self.crews[unit].accept(at + 5, message)
        self.drive(at + 60, unit, call, place, pin)

    def drive(self, at: int, unit: str, call: str, place: Place, spot: Place) -> None:
        """Let a unit arrive after the time that the way takes."""
        crew = self.crews[unit]
        took = int(_far(crew.place, place) / 38 * 3600 * _dice("road", call).uniform(0.9, 1.2))
        self.later(at + took, lambda then: self.arrive(then, unit, call, place, spot))

    def arrive(self, at: int, unit: str, call: str, place: Place, spot: Place) -> None:
        """Treat whoever is there."""
        crew = self.crews[unit]
        if crew.call != call:
            self.on_way.pop(call, None)
            return
        if _far(place, spot) > 1 or _dice("nobody", call, at).random() < 0.03:
            crew.look_around(at, call)
            crew.place = place
            self.later(at + 240, lambda then: self.drive(then, unit, call, spot, spot))
            return
        crew.arrive(at, call, spot)
        began = self.open.pop(call, (at, spot, spot))[0]
        self.responses.setdefault(call, round((at - began) / 60, 1))
        hospital = min(_HOSPITALS, key=lambda name: _far(_HOSPITALS[name], spot))
        took = 600 + int(_far(spot, _HOSPITALS[hospital]) / 38 * 3600)
        self.later(at + took, lambda then: self.deliver(then, unit, call, hospital))

    def deliver(self, at: int, unit: str, call: str, hospital: str) -> None:
        """Hand the patient over and become free."""
        message = self.crews[unit].deliver(at, call, hospital)
        self.later(at + 300, lambda then: self.desk.clear(then, unit, message))

    def look(self, at: int) -> None:
        """Send calls again that nobody is on the way to."""
        waiting = [
            call for call, (began, _, _) in self.open.items() if at - began > 420 and call not in self.on_way
        ]
        for call in self.supervisor.sweep(at, waiting):
            self.dispatch(at, call)
        if _looks_again(at + 300):
            self.later(at + 300, self.look)

    def report(self, at: int) -> None:
        """Report all positions, every five minutes."""
        for unit, crew in self.crews.items():
            self.board.report(at, unit, crew.place)
        self.later(at + 600, self.report)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play twelve hours and return how long people waited for help."""
    _now_case.update(about=fault, seed=str(seed))
    room = _Room()
    room.later(0, room.report)
    room.later(300, room.look)
    at, number = 200, 0
    while at < END - 3600:
        draw = _dice("call", number)
        pin = (round(draw.uniform(0, 20), 1), round(draw.uniform(0, 20), 1))
        calls = [(f"c{number:03d}", at, pin, False)]
        if draw.random() < 0.13:
            calls.append((f"c{number:03d}b", at + 4, (pin[0], round(min(20, pin[1] + 0.1), 1)), True))
        for call, when, where, second in calls:
            room.later(when, lambda then, c=call, w=where, s=second: room.call(then, c, w, s))  # type: ignore[misc]
        at += max(30, int(draw.expovariate(1 / 500)))
        number += 1
    for unit, when in (("unit_02", 9_000), ("unit_09", 24_500)):
        room.later(when, lambda then, u=unit: room.workshop.log_action("refuel", {"at": then, "unit": u}))  # type: ignore[misc]
    while room.queue and room.queue[0][0] < END:
        when, _, act = heapq.heappop(room.queue)
        act(when)
    waits = sorted(room.responses.values())
    return {
        "calls": len(room.responses),
        "mean": round(sum(waits) / len(waits), 2),
        "over_30": sorted(call for call, minutes in room.responses.items() if minutes > 30),
        "never": sorted(call for call, (began, _, _) in room.open.items() if began < END - 3600),
        "responses": room.responses,
    }


def _worse(bad: Any, good: Any, by: float, least: int) -> bool:
    mine, theirs = bad["responses"], good["responses"]
    return sum(mine[call] > minutes + by for call, minutes in theirs.items() if call in mine) >= least


def _same_twice(events: Sequence[Event]) -> list[str]:
    found, last = [], None
    for event in events:
        if event.act == "choose":
            if last and event.args["call"] == f"{last.args['call']}b" and event.result == last.result:
                found.append(event.id)
            last = event
    return found[:3]


def _frozen(events: Sequence[Event]) -> list[str]:
    told: dict[str, Any] = {}
    found = []
    for event in events:
        if event.act == "report":
            told[event.args["unit"]] = event.args["place"]
        elif event.act == "show" and event.result and any(event.result[unit] != told[unit] for unit in told):
            found.append(event.id)
    return found[:3]


def _turned(events: Sequence[Event]) -> list[str]:
    return pick(events, act="answer", where=lambda e: list(e.result) != list(e.args["spot"]))


FAULTS: dict[str, Fault] = {
    "pair": Fault(
        "After the crash one of us was driven off quickly, and the other lay on the road until long after; nobody "
        "seemed to be coming for him.",
        lambda bad, good: _worse(bad, good, 8, 1) and _worse(bad, good, 3, 2),
        _same_twice,
    ),
    "board": Fault(
        "Since late morning ambulances have come from the far side of town although I could see one parked around the "
        "corner. Help takes much longer than before; unit_01 says it follows its orders.",
        lambda bad, good: _worse(bad, good, 5, 3),
        _frozen,
    ),
    "sweep": Fault(
        "I telephoned at two o'clock and nobody ever came. The woman at the desk had promised me unit_05 or another.",
        lambda bad, good: len(bad["never"]) > len(good["never"]),
        lambda events: pick(list(reversed(events)), "supervisor", "sweep", first=1),
    ),
    "map": Fault(
        "Twice this afternoon unit_06 and others stood in the wrong street looking for somebody who was at the "
        "other end of town.",
        lambda bad, good: _worse(bad, good, 10, 3),
        _turned,
    ),
}
