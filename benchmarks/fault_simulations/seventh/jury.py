"""Ten weeks of a county court's jury office: summonses, replies, check-ins, panels and fines."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from Agent import AgentLogger, InteractionLogger, SystemLogger
from benchmarks.fault_simulations.kit import Event, Fault, pick

START = date(2026, 3, 30)
WEEKS = 10
HOLIDAYS = {date(2026, 4, 6), date(2026, 5, 25)}
ROOMS = [f"room_{n}" for n in range(1, 7)]
PEOPLE = [f"j_{n:03}" for n in range(1, 131)]
EXEMPT = {"j_061", "j_017", "j_102", "j_090"}


class Court:
    """The court's offices and its records of people."""

    def __init__(self, seed: int, fault: str) -> None:
        """Open the court."""
        self.fault = fault
        self.rng = random.Random(f"jury{seed}")
        self.loggers: dict[str, AgentLogger] = {}
        self.contacts = InteractionLogger()
        self.exempt = set(EXEMPT)
        self.excused: dict[str, int] = {}
        self.expected: dict[int, list[str]] = {}
        self.opening: dict[int, date] = {}
        self.order = [name for name in PEOPLE if name not in {"j_061", "j_088"}]
        self.rng.shuffle(self.order)
        self.outcome: dict[str, Any] = {"closed_door": 0, "fined": [], "two_rooms": [], "panels": 0}

    def log(self, agent: str, role: str) -> AgentLogger:
        """Return an agent's logger."""
        return self.loggers.setdefault(agent, AgentLogger(agent, role))

    def summon(self, week: int) -> None:
        """Send the summonses for the week three weeks ahead."""
        target = week + 3
        monday = START + timedelta(weeks=target - 1)
        opening = monday + timedelta(days=1) if monday in HOLIDAYS else monday
        if self.fault == "bank_holiday" and monday == date(2026, 5, 25):
            opening = monday
        self.opening[target] = opening
        office, registry = self.log("summons_office", "office"), self.log("registry", "registry")
        office.log_decision("reporting_day", {"week": target, "day": opening.isoformat()})
        called = [self.order[(week * 22 + n) % len(self.order)] for n in range(22)]
        if week == 5:
            called[3] = "j_061"
        if week == 4:
            called[7] = "j_088"
        self.expected[target] = []
        for name in called:
            registry.log_action("look_up", {"person": name, "exempt": name in self.exempt})
            if name in self.exempt:
                continue
            office.log_action("send_summons", {"person": name, "day": opening.isoformat(), "week": target})
            self.expected[target].append(name)
            self.contacts.log_interaction("letter", "summons_office", name, data={"week": target})

    def replies(self, week: int) -> None:
        """Let people answer the summonses that they got last week."""
        for name in list(self.expected.get(week + 2, [])):
            luck = self.rng.random()
            asks = luck < 0.2 and name != "j_088"
            if asks:
                self.ask(name, week, week + 2)
            elif luck < 0.9 and name != "j_061":
                self.log(name, "juror").log_action("confirm", {"week": week + 2})
        if week == 6:
            self.ask("j_088", week, 7)

    def ask(self, name: str, week: int, target: int) -> None:
        """Decide on somebody's excuse, and tell the desk."""
        registry = self.log("registry", "registry")
        wish = self.log(name, "juror").log_action(
            "ask_excuse",
            {"week": target, "reason": self.rng.choice(["illness", "exam", "harvest", "travel"])},
        )
        granted = self.rng.random() < 0.8 or name == "j_088"
        registry.log_decision("excuse", {"person": name, "week": target, "granted": granted}, causes=wish)
        if not granted:
            return
        note = registry.send("desk", {"strike": name, "week": target})
        if self.fault == "note_lost" and name == "j_088" and target == 7:
            return
        self.log("desk", "desk").receive(note)
        self.excused[name] = target

    def merge(self, week: int) -> None:
        """Let the registry merge double entries, as it does every second week."""
        registry = self.log("registry", "registry")
        kept, gone = {2: ("j_012", "x_912"), 4: ("j_090", "x_533"), 6: ("j_017", "x_101")}.get(
            week, ("j_077", "x_201")
        )
        registry.log_action("merge_entries", {"keep": kept, "drop": gone, "exempt": kept in self.exempt})
        if week == 4:
            other = "x_561" if self.fault != "same_name" else "x_044"
            is_exempt = self.fault != "same_name"
            registry.log_action("merge_entries", {"keep": "j_061", "drop": other, "exempt": is_exempt})
            if not is_exempt:
                self.exempt.discard("j_061")

    def monday(self, week: int) -> None:
        """Let people report, and draw the panels."""
        opening = self.opening[week]
        monday = START + timedelta(weeks=week - 1)
        desk, clerk = self.log("desk", "desk"), self.log("clerk", "clerk")
        present = []
        for name in self.expected[week]:
            if self.excused.get(name) == week:
                continue
            if self.rng.random() < 0.03 or name in {"j_061", "j_088"}:
                absent = desk.log_action("mark_absent", {"person": name, "week": week})
                self.log("bailiff", "bailiff").log_action(
                    "send_fine", {"person": name, "euros": 150, "week": week}, causes=absent
                )
                self.outcome["fined"].append(name)
                continue
            if opening in HOLIDAYS:
                self.log(name, "juror").log_action("arrive", {"day": opening.isoformat(), "door": "closed"})
                self.outcome["closed_door"] += 1
                continue
            self.log(name, "juror").log_action("arrive", {"day": opening.isoformat(), "door": "open"})
            desk.log_action("check_in", {"person": name, "week": week, "badge": self.rng.randint(100, 999)})
            present.append(name)
        if monday != opening or opening in HOLIDAYS:
            desk.info("short week", {"week": week})
        free = list(present)
        used: dict[str, str] = {}
        size = 6
        for room in [ROOMS[week % 6], ROOMS[(week + 3) % 6]]:
            size = min(6, len(free))
            if self.fault == "one_list" and week == 6 and used:
                free = sorted(set(present) - set(list(used)[:3]))
            seats = self.rng.sample(free, min(size, len(free)))
            clerk.log_action("draw_panel", {"room": room, "week": week, "people": seats})
            self.outcome["panels"] += 1
            for seat, name in enumerate(seats, start=1):
                self.log(name, "juror").log_action("take_seat", {"room": room, "seat": seat})
                if name in used:
                    self.log(room, "room").log_action("miss_juror", {"seat": seat, "week": week})
                    self.outcome["two_rooms"].append(f"{name} {used[name]} {room}")
                used.setdefault(name, room)
            free = [name for name in free if name not in used]

    def week(self, week: int) -> None:
        """Let one week pass."""
        if week in (1, 2, 3):
            self.expected[week] = self.rng.sample(self.order, 18)
            self.opening[week] = START + timedelta(weeks=week - 1, days=1 if week == 2 else 0)
        self.summon(week)
        if week % 2 == 0:
            self.merge(week)
        self.monday(week)
        self.replies(week)
        if week in (3, 8):
            self.log("desk", "desk").log_action(
                "test_alarm", {"week": week, "seconds": self.rng.randint(30, 60)}
            )
        for room in ROOMS:
            if self.rng.random() < 0.4:
                self.log(room, "room").log_action(
                    "close_case", {"week": week, "days": self.rng.randint(1, 5)}
                )
            if self.rng.random() < 0.08:
                self.log(room, "room").warning("recorder failed, second one used", {"week": week})
        for name in self.rng.sample(self.order, 8):
            self.log("paymaster", "paymaster").log_action(
                "pay_travel", {"person": name, "cents": 100 * week + 340}
            )


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play ten weeks."""
    court = Court(seed, fault)
    system = SystemLogger("court")
    system.log_simulation_start("term", {"weeks": WEEKS, "people": len(PEOPLE)})
    for week in range(1, WEEKS + 1):
        system.log_phase(f"week {week}", data={"monday": (START + timedelta(weeks=week - 1)).isoformat()})
        court.week(week)
    system.log_simulation_end("term", {"panels": court.outcome["panels"]})
    return court.outcome


def _draws(events: Sequence[Event]) -> list[str]:
    seats: dict[int, set[str]] = {}
    found = []
    for event in events:
        if event.act == "draw_panel":
            before = seats.setdefault(event.args["week"], set())
            if before & set(event.args["people"]):
                found.append(event.id)
            before |= set(event.args["people"])
    return found[:1]


def _note(events: Sequence[Event]) -> list[str]:
    wanted = {"strike": "j_088", "week": 7}
    return [e.id for e in events if e.kind == "agent_message" and e.record["extra"].get("body") == wanted][:1]


FAULTS = {
    "bank_holiday": Fault(
        "Twenty of us stood before a locked courthouse on 25 May with the letter in our hands.",
        lambda faulty, healthy: faulty["closed_door"] > healthy["closed_door"],
        lambda events: pick(
            events, "summons_office", "reporting_day", where=lambda e: e.args["day"] == "2026-05-25"
        ),
    ),
    "same_name": Fault(
        "I care for my mother and was freed from jury duty years ago, in writing. Now I get a fine of 150 euros. "
        "My number is j_061.",
        lambda faulty, healthy: faulty["fined"].count("j_061") > healthy["fined"].count("j_061"),
        lambda events: pick(events, "registry", "merge_entries", where=lambda e: e.args["keep"] == "j_061"),
    ),
    "note_lost": Fault(
        "They let me (j_088) off on the phone because of my exams and then I am fined anyway!",
        lambda faulty, healthy: faulty["fined"].count("j_088") > healthy["fined"].count("j_088"),
        _note,
    ),
    "one_list": Fault(
        "Two judges are waiting for the same jurors this morning, room_4 cannot start.",
        lambda faulty, healthy: len(faulty["two_rooms"]) > len(healthy["two_rooms"]),
        _draws,
    ),
}
