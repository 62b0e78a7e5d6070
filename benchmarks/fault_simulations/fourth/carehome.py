"""Medication rounds of a care home over fifteen days around the end of summer time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from Agent import tick, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

FIRST = datetime(2025, 10, 18)
DAYS = 15
ROUNDS = (8, 12, 17, 21)
DRUGS = {"metoprolol": 50, "metformin": 500, "warfarin": 3, "levodopa": 100, "oxazepam": 10, "furosemide": 40}
_RESIDENTS = [f"resident_{n:02d}" for n in range(1, 25)]
_NURSES = ["nurse_abel", "nurse_brandt", "nurse_conti", "nurse_dahl", "nurse_evers", "nurse_fink"]

_play: dict[str, Any] = {"seed": 0, "about": ""}


def _chance(*key: object) -> random.Random:
    return random.Random(f"{_play['seed']}#{key}")


def _is(about: str) -> bool:
    return bool(_play["about"] == about)


@dataclass(eq=False)
class Chart:
    """The medication charts of all residents."""

    agent_id: str = "charts"
    agent_role: str = "chart"
    lines: dict[str, dict[str, int]] = field(default_factory=dict)

    @trace_agent_action
    def merge(self, at: str, resident: str, ours: dict[str, int], theirs: dict[str, int]) -> dict[str, int]:
        """Merge our chart with that of a hospital or a practice."""
        self.lines[resident] = _merged(at, resident, ours, theirs)
        return self.lines[resident]

    @trace_agent_action
    def due(self, at: str, resident: str) -> dict[str, int]:
        """Return what a resident gets in a round."""
        hour = int(at[11:13])
        return {
            drug: mg
            for drug, mg in self.lines[resident].items()
            if hour in _hours_of(drug.split(" ")[0], resident)
        }


@dataclass(eq=False)
class Nurse:
    """Goes round with the trolley, and tells the next one what matters."""

    agent_id: str
    agent_role: str = "nurse"
    paused: list[str] = field(default_factory=list)

    @trace_agent_action
    def pause(self, at: str, resident: str, drug: str) -> None:
        """Note that a drug is not to be given until the doctor says so."""
        self.paused.append(f"{resident} {drug}")

    @trace_agent_action
    def give(self, at: str, resident: str, drug: str, mg: int) -> str:
        """Give a drug; ValueError if the resident spits it out."""
        if f"{resident} {drug}" in self.paused:
            return "held back"
        if _chance("spit", at, resident, drug).random() < 0.01:
            raise ValueError(f"{resident} spat out {drug}")
        return "given"

    @trace_agent_action
    def hand_over(self, at: str, to: str, notes: list[str]) -> int:
        """Tell the next nurse what to know."""
        self.paused = []
        return len(notes)

    @trace_agent_action
    def look_after(self, at: str, resident: str, pulse: int, alert: bool) -> str:
        """Look at a resident in the evening."""
        return "fine" if alert and pulse < 110 else "watch"


@dataclass(eq=False)
class Cupboard:
    """Holds the boxes of each resident."""

    agent_id: str = "cupboard"
    agent_role: str = "store"
    tablets: dict[str, int] = field(default_factory=dict)

    @trace_agent_action
    def take(self, at: str, box: str) -> bool:
        """Take a tablet; return whether there was one."""
        left = self.tablets.get(box, 0)
        self.tablets[box] = max(0, left - 1)
        return left > 0

    @trace_agent_action
    def count(self, at: str, low: int) -> list[str]:
        """Return the boxes with few tablets."""
        return sorted(box for box, left in self.tablets.items() if left <= low)


@dataclass(eq=False)
class Pharmacy:
    """Brings what is ordered on the next day but one."""

    agent_id: str = "pharmacy"
    agent_role: str = "pharmacy"
    on_way: dict[str, str] = field(default_factory=dict)

    @trace_agent_action
    def order(self, at: str, boxes: list[str]) -> int:
        """Take an order of boxes."""
        self.on_way.update(dict.fromkeys(boxes, at))
        return len(boxes)

    @trace_agent_action
    def bring(self, at: str, boxes: list[str]) -> None:
        """Bring boxes."""
        for box in boxes:
            del self.on_way[box]


@dataclass(eq=False)
class Dispenser:
    """Releases insulin before meals by its own clock."""

    agent_id: str
    agent_role: str = "dispenser"
    offset: int = 120

    @trace_agent_action
    def set_clock(self, at: str, utc_offset: int) -> None:
        """Set how many minutes the local time is ahead of UTC."""
        self.offset = utc_offset

    @trace_agent_action
    def release(self, utc: str, resident: str, units: int) -> int:
        """Release insulin."""
        return units


@dataclass(eq=False)
class Doctor:
    """Is called to residents who are not well."""

    agent_id: str = "doctor_gruber"
    agent_role: str = "doctor"

    @trace_agent_action
    def visit(self, at: str, resident: str, finding: str) -> str:
        """See a resident."""
        return {"nothing": "none", "sugar low": "glucose", "bleeding": "hospital"}.get(finding, "rest")


def _hours_of(drug: str, resident: str) -> set[int]:
    return {
        "warfarin": {17}, "oxazepam": {21}, "furosemide": {8}, "metformin": {8, 17}, "levodopa": {8, 12, 17},
    }.get(drug, {8, 21})  # fmt: skip


def _merged(at: str, resident: str, ours: dict[str, int], theirs: dict[str, int]) -> dict[str, int]:
    if _is("merge") and resident == "resident_15":
        joined = dict(ours)
        for drug, mg in theirs.items():
            joined[drug] = ours.get(drug, 0) + mg if ours.get(drug) != mg else mg
        return joined
    return {**ours, **theirs}


def _notes(nurse: Nurse, at: str) -> list[str]:
    notes = list(nurse.paused)
    if _is("handover") and at >= "2025-10-28" and "resident_11 warfarin" in notes:
        notes.remove("resident_11 warfarin")
    return notes


def _ordered(boxes: list[str], at: str) -> list[str]:
    return [box for box in boxes if not (_is("refill") and box == "resident_07 levodopa")]


def _offset(dispenser: str, at: str) -> int:
    winter = at >= "2025-10-26"
    if _is("clock") and dispenser == "dispenser_b" and winter:
        return 180
    return 60 if winter else 120


class _Home:
    """The house and what happens to its residents."""

    def __init__(self) -> None:
        self.chart, self.cupboard, self.pharmacy = Chart(), Cupboard(), Pharmacy()
        self.nurses = {name: Nurse(name) for name in _NURSES}
        self.machines = [Dispenser("dispenser_a"), Dispenser("dispenser_b")]
        self.doctor = Doctor()
        self.missed: dict[str, int] = {}
        self.low_sugar: dict[str, int] = {}
        self.sleepy: dict[str, int] = {}
        self.bled: list[str] = []
        self.given: dict[str, int] = {}
        for n, resident in enumerate(_RESIDENTS):
            draw = _chance("drugs", resident)
            lines = {drug: mg for drug, mg in DRUGS.items() if draw.random() < 0.4 and drug != "warfarin"}
            if n % 5 == 0:
                lines["warfarin"] = 3
            if n == 6:
                lines["levodopa"] = 100
            if n == 14:
                lines["oxazepam"] = 10
            self.chart.lines[resident] = lines or {"metoprolol": 50}
            for drug in self.chart.lines[resident]:
                per_day = len(_hours_of(drug, resident))
                self.cupboard.tablets[f"{resident} {drug}"] = per_day * (7 + draw.randrange(22))
        self.cupboard.tablets["resident_07 levodopa"] = 21

    def round(self, at: str, nurse: Nurse) -> None:
        """Give everybody what is due."""
        for resident in _RESIDENTS:
            for drug, mg in self.chart.due(at, resident).items():
                box = f"{resident} {drug}"
                if not self.cupboard.take(at, box):
                    self.missed[box] = self.missed.get(box, 0) + 1
                    continue
                try:
                    answer = nurse.give(at, resident, drug, mg)
                except ValueError:
                    answer = "later"
                if answer == "given" and box == "resident_11 warfarin" and at >= "2025-10-28":
                    self.given[box] = self.given.get(box, 0) + 1

    def insulin(self, day: datetime) -> None:
        """Let the dispensers work before breakfast and dinner."""
        winter = day >= datetime(2025, 10, 26)
        true = 60 if winter else 120
        for machine, residents in zip(self.machines, (_RESIDENTS[:3], _RESIDENTS[12:16]), strict=True):
            for hour in (7, 16):
                local = day + timedelta(hours=hour, minutes=40)
                utc = local - timedelta(minutes=machine.offset)
                for resident in residents:
                    machine.release(
                        utc.isoformat(timespec="minutes"), resident, 6 + _chance(resident).randrange(6)
                    )
                    early = machine.offset - true
                    if early > 60 and _chance("sugar", resident, day, hour).random() < 0.4:
                        self.low_sugar[resident] = self.low_sugar.get(resident, 0) + 1
                        self.doctor.visit(local.isoformat(timespec="minutes"), resident, "sugar low")

    def evening(self, at: str, nurse: Nurse, day: int) -> None:
        """Look at everybody, and call the doctor where needed."""
        for resident in _RESIDENTS:
            draw = _chance("evening", resident, day)
            dose = self.chart.lines[resident].get("oxazepam", 0)
            alert = draw.random() > 0.04 + max(0, dose - 12) * 0.05
            pulse = 66 + draw.randrange(30)
            if not alert:
                self.sleepy[resident] = self.sleepy.get(resident, 0) + 1
            if nurse.look_after(at, resident, pulse, alert) == "watch":
                self.doctor.visit(at, resident, "tired")
        if self.given.get("resident_11 warfarin", 0) == 2 and not self.bled:
            self.bled.append("resident_11")
            self.doctor.visit(at, "resident_11", "bleeding")


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play fifteen days and return what happened to the residents."""
    _play.update(seed=seed, about=fault)
    home = _Home()
    on_duty = home.nurses["nurse_abel"]
    for n in range(DAYS):
        day = FIRST + timedelta(days=n)
        home.insulin(day)
        for hour in ROUNDS:
            at = (day + timedelta(hours=hour)).isoformat(timespec="minutes")
            with tick(n * 24 + hour):
                if hour in {8, 17}:
                    follower = home.nurses[_NURSES[(2 * n + (hour == 17)) % 6]]
                    notes = _notes(on_duty, at)
                    if follower is not on_duty:
                        on_duty.hand_over(at, follower.agent_id, notes)
                        follower.paused = list(notes)
                        on_duty = follower
                if hour == 8 and n % 3 == 0:
                    waiting = set(home.pharmacy.on_way)
                    low = [box for box in home.cupboard.count(at, 12) if box not in waiting]
                    if wanted := _ordered(low, at):
                        home.pharmacy.order(at, wanted)
                if hour == 12 and n % 3 == 2 and home.pharmacy.on_way:
                    boxes = sorted(home.pharmacy.on_way)
                    home.pharmacy.bring(at, boxes)
                    for box in boxes:
                        home.cupboard.tablets[box] += 40
                if hour == 8 and (n in {0, 7} or day == datetime(2025, 10, 26)):
                    for machine in home.machines:
                        machine.set_clock(at, _offset(machine.agent_id, at))
                if hour == 12 and n in {2, 5, 9, 12}:
                    back = {2: "resident_04", 5: "resident_15", 9: "resident_20", 12: "resident_09"}[n]
                    ours = dict(home.chart.lines[back])
                    theirs = {"oxazepam": 15} if back == "resident_15" else {"furosemide": 20}
                    home.cupboard.tablets.setdefault(f"{back} {next(iter(theirs))}", 40)
                    home.chart.merge(at, back, ours, theirs)
                if hour == 12 and n in {4, 9}:
                    who = "resident_06" if n == 4 else "resident_11"
                    on_duty.pause(at, who, "warfarin")
                home.round(at, on_duty)
                if hour == 21:
                    home.evening(at, on_duty, n)
    return {
        "missed": home.missed,
        "low_sugar": home.low_sugar,
        "sleepy": home.sleepy,
        "bled": home.bled,
    }


def _not_told(events: Sequence[Event]) -> list[str]:
    return pick(
        events, act="hand_over", first=1,
        where=lambda e: e.args["at"] >= "2025-10-28" and "resident_11 warfarin" not in e.args["notes"],
    )  # fmt: skip


def _not_ordered(events: Sequence[Event]) -> list[str]:
    found = []
    waiting = False
    for n, event in enumerate(events):
        if event.act == "count" and "resident_07 levodopa" in (event.result or []) and not waiting:
            later = [one for one in events[n + 1 : n + 3] if one.act == "order"]
            if not any("resident_07 levodopa" in one.args["boxes"] for one in later):
                found.append(later[0].id if later else event.id)
            waiting = waiting or any("resident_07 levodopa" in one.args["boxes"] for one in later)
        if event.act == "bring" and "resident_07 levodopa" in event.args["boxes"]:
            waiting = False
    return found[:3]


FAULTS: dict[str, Fault] = {
    "clock": Fault(
        "Since the last weekend of October several residents of the second corridor have been shaky and sweating "
        "before breakfast. doctor_gruber gives them sugar every time.",
        lambda bad, good: sum(bad["low_sugar"].values()) >= 4 > sum(good["low_sugar"].values()),
        lambda events: pick(
            events, "dispenser_b", "set_clock", where=lambda e: e.args["at"] >= "2025-10-26", first=1
        ),
    ),
    "refill": Fault(
        "My husband, resident_07, can hardly walk any more; on Monday they admitted that his tablets for the "
        "shaking had run out days ago.",
        lambda bad, good: (
            bad["missed"].get("resident_07 levodopa", 0) > 5
            and not good["missed"].get("resident_07 levodopa")
        ),
        _not_ordered,
    ),
    "handover": Fault(
        "resident_11 was taken to hospital with a bleeding although it had been agreed that the blood thinner was "
        "to wait until after the dentist.",
        lambda bad, good: "resident_11" in bad["bled"] and not good["bled"],
        _not_told,
    ),
    "merge": Fault(
        "Since she came back from hospital our mother (resident_15) sleeps all day and evening. nurse_dahl says "
        "she only gives what is written down.",
        lambda bad, good: bad["sleepy"].get("resident_15", 0) >= good["sleepy"].get("resident_15", 0) + 3,
        lambda events: pick(events, "charts", "merge", where=lambda e: e.args["resident"] == "resident_15"),
    ),
}
