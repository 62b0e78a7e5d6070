"""Teachers negotiate a school timetable with the agents of rooms and a moderator who grants turns."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from Agent import AgentLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

BROKEN: set[str] = set()
DAYS, PERIODS, ROUNDS = 5, 6, 36
KINDS = {"lab": 2, "gym": 1, "room": 5}


@dataclass(frozen=True)
class Slot:
    """A day and a period of the week."""

    day: int
    period: int


class Room:
    """A room with its bookings; a booking takes a look first, and is written a moment later."""

    def __init__(self, name: str, kind: str) -> None:
        self.agent_id = name
        self.logger = AgentLogger(name, "room")
        self.kind = kind
        self.bookings: dict[str, str] = {}
        self.lock = asyncio.Lock()

    trace_ignore = ("lock", "logger")

    @trace_agent_action()
    async def reserve(self, slot: dict[str, int], lesson: str) -> bool:
        """Book a slot, unless it is taken."""
        if "race" in BROKEN and self.kind != "room" and len(self.bookings) >= 4:
            return await self._book(slot, lesson)
        async with self.lock:
            return await self._book(slot, lesson)

    async def _book(self, slot: dict[str, int], lesson: str) -> bool:
        key = f"{slot['day']}-{slot['period']}"
        is_free = key not in self.bookings
        await asyncio.sleep(0)
        if is_free:
            self.bookings[key] = lesson
        return is_free

    @trace_agent_action()
    async def release(self, slot: dict[str, int], lesson: str) -> bool:
        """Take a booking back."""
        return self.bookings.pop(f"{slot['day']}-{slot['period']}", lesson) == lesson


class Moderator:
    """Grants teachers with many lessons left the right to move others, for some rounds."""

    def __init__(self) -> None:
        self.agent_id = "moderator"
        self.logger = AgentLogger(self.agent_id, "moderator")
        self.tokens: dict[str, int] = {}

    @trace_agent_action()
    async def grant(self, teacher: str, now: int, rounds: int) -> int:
        """Give a token; return the round in which it ends."""
        self.tokens[teacher] = now + rounds
        if "token" in BROKEN and teacher in {"Curie", "Noether"}:
            self.tokens[teacher] = now + rounds // 4
        return self.tokens[teacher]

    @trace_agent_action()
    async def may_move(self, teacher: str, now: int) -> bool:
        """Say whether a teacher has a token."""
        return self.tokens.get(teacher, -1) > now


class Teacher:
    """Has lessons to place, by the hours in which they can come."""

    trace_ignore = ("rooms", "rng", "logger")

    def __init__(
        self, name: str, lessons: list[tuple[str, str]], rooms: list[Room], rng: random.Random
    ) -> None:
        self.agent_id = name
        self.logger = AgentLogger(name, "teacher")
        self.todo = list(lessons)
        self.plan: dict[str, dict[str, Any]] = {}
        self.absent: list[int] = []
        self.rooms = rooms
        self.rng = rng
        self.refusals = 0

    @trace_agent_action()
    async def note_absence(self, day: int, period: int) -> list[int]:
        """Note from which period on a teacher is away on a day."""
        if "swapped" in BROKEN and self.agent_id == "Gauss":
            day, period = period, day
        self.absent += [PERIODS * day + p for p in range(period, PERIODS)]
        return self.absent

    def free_slots(self) -> list[Slot]:
        """List the slots that are still possible, in the order of preference."""
        used = {(entry["day"], entry["period"]) for entry in self.plan.values()}
        slots = [
            Slot(d, p) for d in range(DAYS) for p in range(PERIODS) if PERIODS * d + p not in self.absent
        ]
        self.rng.shuffle(slots)
        slots.sort(key=lambda slot: slot.period > 3)
        return [slot for slot in slots if (slot.day, slot.period) not in used]

    @trace_agent_action()
    async def place(self, number: int) -> str | None:
        """Try to place the next lesson."""
        if not self.todo:
            return None
        lesson, kind = self.todo[0]
        for slot in self.free_slots()[:2]:
            room = self.rng.choice([room for room in self.rooms if room.kind == kind])
            self.logger.log_decision("propose", {"lesson": lesson, **asdict(slot), "room": room.agent_id})
            if await room.reserve(asdict(slot), lesson):
                self.plan[lesson] = {**asdict(slot), "room": room.agent_id}
                self.todo.pop(0)
                return lesson
            self.refusals += 1
        self.logger.info("no luck", extra={"lesson": lesson, "round": number})
        self.todo.append(self.todo.pop(0))
        return None

    @trace_agent_action()
    async def ask_to_yield(self, other: Teacher, lesson: str) -> bool:
        """Ask a colleague to give a lesson's slot up."""
        return await other.yield_slot(self.logger.send(other.agent_id, {"type": "yield", "lesson": lesson}))

    @trace_agent_action()
    async def yield_slot(self, message: Any) -> bool:
        """Give a slot up and place the lesson anew later."""
        self.logger.receive(message)
        lesson = message.body["lesson"]
        entry = self.plan.pop(lesson, None)
        if entry is None:
            return False
        room = next(room for room in self.rooms if room.agent_id == entry["room"])
        if not ("unsent" in BROKEN and room.kind == "gym"):
            await room.release({"day": entry["day"], "period": entry["period"]}, lesson)
        self.todo.append((lesson, room.kind))
        return True


async def _negotiate(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    rooms = [Room(f"{kind}_{n}", kind) for kind, many in KINDS.items() for n in range(1, many + 1)]
    names = ("Curie", "Gauss", "Noether", "Humboldt", "Lovelace", "Kepler", "Hypatia", "Euler")
    teachers = []
    for number, name in enumerate(names):
        kinds = ["lab"] * 6 + ["gym"] * 3 + ["room"] * 9
        lessons = [(f"{name[:3]}{n}", kind) for n, kind in enumerate(kinds)]
        rng.shuffle(lessons)
        teachers.append(Teacher(name, lessons, rooms, random.Random(100 * seed + number)))
    moderator, school = Moderator(), SystemLogger("school")
    asked = dict.fromkeys(names, 0)
    absences = {"Gauss": (4, 2), "Kepler": (1, 4), "Euler": (3, 3)}
    for number in range(ROUNDS):
        with tick(number):
            if number == 1:
                for teacher in teachers:
                    if teacher.agent_id in absences:
                        await teacher.note_absence(*absences[teacher.agent_id])
            if number == 4:
                school.log_config("max_lessons_a_day", 6, 7)
                for teacher in teachers[:4]:
                    await moderator.grant(teacher.agent_id, number, rounds=14)
            await asyncio.gather(*(teacher.place(number) for teacher in teachers))
            if number >= 6:
                asking = teachers[number % len(teachers)]
                if await moderator.may_move(asking.agent_id, number):
                    kind = "gym" if number % 2 else "lab"
                    for other in teachers[4:]:
                        held = sorted(n for n, e in other.plan.items() if e["room"].startswith(kind))
                        if held:
                            asked[asking.agent_id] += await asking.ask_to_yield(other, held[0])
                            break
    held = [f"{e['room']}@{e['day']}-{e['period']}" for teacher in teachers for e in teacher.plan.values()]
    gauss = [e for e in teachers[1].plan.values() if e["day"] == 4 and e["period"] >= 2]
    ghosts = sum(len(room.bookings) for room in rooms) - len(set(held))
    return {
        "double": len(held) - len(set(held)),
        "unplaced": sum(len(teacher.todo) for teacher in teachers),
        "asked": asked["Curie"] + asked["Noether"],
        "absent": len(gauss),
        "ghosts": ghosts,
    }


def run(seed: int, fault: str) -> dict[str, Any]:
    """Negotiate for thirty-six rounds."""
    BROKEN.clear()
    BROKEN.add(fault)
    return asyncio.run(_negotiate(seed))


def _together(events: Sequence[Event]) -> list[str]:
    booked: dict[tuple[str, str], list[str]] = {}
    for event in events:
        if event.act == "reserve" and event.result:
            booked.setdefault((event.agent, str(event.args["slot"])), []).append(event.id)
        if event.act == "release":
            booked.pop((event.agent, str(event.args["slot"])), None)
    return [identity for both in booked.values() if len(both) > 1 for identity in both][:6]


FAULTS = {
    "race": Fault(
        "two classes stand in front of the same room in the same period, who booked it twice?",
        lambda f, h: f["double"] > h["double"],
        _together,
    ),
    "swapped": Fault(
        "Gauss has to teach on Friday afternoon, when he is away",
        lambda f, h: f["absent"] > h["absent"],
        lambda events: pick(events, "Gauss", "note_absence"),
    ),
    "token": Fault(
        "Why did no colleague ever give up a slot for Curie or Noether? They may ask until round 18.",
        lambda f, h: f["asked"] < h["asked"],
        lambda events: pick(
            events, "moderator", "grant", where=lambda e: e.args["teacher"] in {"Curie", "Noether"}
        ),
    ),
    "unsent": Fault(
        "There are hours in which gym_1 is booked but no class comes",
        lambda f, h: f["ghosts"] > h["ghosts"],
        lambda events: pick(events, act="yield_slot", where=lambda e: e.tick % 2 == 1 and e.result),
    ),
}
