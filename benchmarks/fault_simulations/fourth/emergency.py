"""A day in an emergency department: triage, cubicles, doctors, blood tests and beds upstairs, in SimPy."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from Agent import trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

_case: dict[str, Any] = {"name": "", "seed": 0}
_TARGETS = {1: 0, 2: 10, 3: 60, 4: 120, 5: 240}
_SHIFTS = [["doctor_ames", "doctor_bell", "doctor_cho"], ["doctor_diaz", "doctor_eriksen", "doctor_faro"]]


def _draw(*key: object) -> random.Random:
    return random.Random(f"{_case['seed']}:{key}")


@dataclass(eq=False)
class TriageNurse:
    """Sorts arriving patients into five categories."""

    agent_id: str
    agent_role: str = "triage"
    seen: int = 0

    @trace_agent_action
    def assess(self, minute: int, patient: str, pulse: int, pain: int) -> int:
        """Return the category of a patient."""
        self.seen += 1
        if pulse > 140:
            return 1
        return 2 if pulse > 118 else max(3, 5 - pain // 4)


@dataclass(eq=False)
class Coordinator:
    """Gives cubicles to the patients who are due first."""

    agent_id: str
    agent_role: str = "coordinator"
    free: list[str] = field(default_factory=lambda: [f"cubicle_{n}" for n in range(1, 10)])
    targets: dict[int, int] = field(default_factory=lambda: dict(_TARGETS))

    @trace_agent_action
    def set_target(self, minute: int, category: int, minutes: int) -> None:
        """Set within how many minutes patients of a category are to be seen."""
        self.targets[category] = minutes

    @trace_agent_action
    def place(self, minute: int, patient: str, category: int) -> str:
        """Give a patient the next free cubicle."""
        return self.free.pop(0)

    @trace_agent_action
    def clear(self, minute: int, cubicle: str) -> int:
        """Take a cubicle back after it was cleaned; return how many are free."""
        self.free.append(cubicle)
        return len(self.free)


@dataclass(eq=False)
class Doctor:
    """Sees patients, orders tests and decides where they go."""

    agent_id: str
    agent_role: str = "doctor"
    free_at: int = 0
    open_patients: list[str] = field(default_factory=list)

    @trace_agent_action
    def see(self, minute: int, patient: str, cubicle: str) -> bool:
        """Examine a patient; return whether blood is to be tested."""
        self.open_patients.append(patient)
        return _draw("test", patient).random() < 0.6

    @trace_agent_action
    def draw_blood(self, minute: int, patient: str, tube: str) -> str:
        """Fill a tube."""
        return tube

    @trace_agent_action
    def decide(self, minute: int, patient: str, value: float | None) -> str:
        """Send a patient home or to a ward."""
        self.open_patients.remove(patient)
        return "ward" if value is not None and value > 40 else "home"

    @trace_agent_action
    def hand_over(self, minute: int, to: str, patients: list[str]) -> int:
        """Tell a colleague about the patients who are still here."""
        self.open_patients.clear()
        return len(patients)


@dataclass(eq=False)
class LabDesk:
    """Labels tubes as they come in and reports values."""

    agent_id: str
    agent_role: str = "laboratory"
    labelled: dict[str, str] = field(default_factory=dict)

    @trace_agent_action
    def label(self, minute: int, tube: str, patient: str) -> None:
        """Print the label of a tube."""
        self.labelled[tube] = patient

    @trace_agent_action
    def report(self, minute: int, patient: str, value: float) -> float:
        """Report a value; ValueError if the tube clotted and has to be run again."""
        if _draw("clot", patient, minute).random() < 0.06:
            raise ValueError(f"clotted sample of {patient}")
        return value


@dataclass(eq=False)
class Porter:
    """Takes patients upstairs or to the exit."""

    agent_id: str
    agent_role: str = "porter"
    trips: int = 0

    @trace_agent_action
    def move(self, minute: int, patient: str, cubicle: str, to: str) -> int:
        """Move a patient; return the minutes it takes."""
        self.trips += 1
        return 4 + _draw("move", patient).randrange(9) if to == "ward" else 2


class _House:
    """The department with everybody in it, and what is waiting where."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.nurses = [TriageNurse("nurse_ito"), TriageNurse("nurse_kaya")]
        self.flow = Coordinator("coordinator")
        self.doctors = {name: Doctor(name) for names in _SHIFTS for name in names}
        self.lab = LabDesk("lab_desk")
        self.porters = [Porter("porter_lund"), Porter("porter_moss"), Porter("porter_nash")]
        self.waiting: list[tuple[int, str, int, int]] = []
        self.tubes: list[tuple[str, str]] = []
        self.owner: dict[str, str] = {}
        self.inside: dict[str, tuple[str, int]] = {}
        self.severity: dict[str, float] = {}
        self.waits: list[tuple[int, int, int]] = []
        self.stays: list[int] = []
        self.returned: list[str] = []
        self.drawn = 0

    @property
    def now(self) -> int:
        """The minute of the day."""
        return int(self.env.now)

    def on_duty(self) -> list[Doctor]:
        """Return the doctors of the shift."""
        return [self.doctors[name] for name in _SHIFTS[self.now // 480 % 2]]

    def arrive(self, patient: str) -> None:
        """Triage a patient and let the coordinator look for a place."""
        draw = _draw("patient", patient)
        value = round(draw.uniform(2, 90), 1)
        self.severity.setdefault(patient[:4], value)
        pulse = int(min(160, 66 + draw.random() * 40 + max(0, value - 45) * 0.9))
        if patient.endswith("r"):
            pulse = 150
        nurse = self.nurses[int(patient[1:4]) % 2]
        category = nurse.assess(self.now, patient, pulse, draw.randrange(10))
        self.waiting.append((self.now + self.flow.targets[category], patient, category, self.now))
        self.fill()

    def fill(self) -> None:
        """Place whoever is due first while there are cubicles."""
        while self.waiting and self.flow.free:
            self.waiting.sort()
            _, patient, category, came = self.waiting.pop(0)
            self.waits.append((category, self.now - came, self.now))
            cubicle = self.flow.place(self.now, patient, category)
            self.inside[patient] = (cubicle, came)
            self.env.process(self.treat(patient, cubicle))

    def treat(self, patient: str, cubicle: str) -> Generator[simpy.Event, None, None]:
        """See a patient, and test or release them."""
        doctor = min(self.on_duty(), key=lambda one: (max(one.free_at, self.now), one.agent_id))
        start = max(doctor.free_at, self.now)
        doctor.free_at = start + 5 + _draw("long", patient).randrange(8)
        yield self.env.timeout(start - self.now + 4)
        doctor = doctor if doctor in self.on_duty() else self.on_duty()[0]
        self.owner[patient] = doctor.agent_id
        if doctor.see(self.now, patient, cubicle):
            self.drawn += 1
            tube = doctor.draw_blood(self.now, patient, f"t{self.drawn:04d}")
            self.tubes.append((tube, patient))
        else:
            yield self.env.timeout(10)
            self.finish(patient, None)

    def finish(self, patient: str, value: float | None) -> None:
        """Let the doctor in charge decide, if there is one, and the porter move the patient."""
        name = self.owner.get(patient)
        if name is None or patient not in self.inside or patient not in self.doctors[name].open_patients:
            return
        to = self.doctors[name].decide(self.now, patient, value)
        self.env.process(self.leave(patient, to, len(self.stays) % 3))

    def leave(self, patient: str, to: str, turn: int) -> Generator[simpy.Event, None, None]:
        """Move a patient out and clean the cubicle."""
        cubicle, came = self.inside.pop(patient)
        self.stays.append(self.now - came)
        porter = self.porters[turn]
        told = _tells_desk(porter.agent_id, to, self.now)
        yield self.env.timeout(porter.move(self.now, patient, cubicle, to))
        if told:
            yield self.env.timeout(6)
            self.flow.clear(self.now, cubicle)
            self.fill()
        if to == "home" and self.severity[patient[:4]] > 62 and patient in self.lab.labelled.values():
            yield self.env.timeout(70)
            self.returned.append(patient)
            self.arrive(patient[:4] + "r")

    def collect(self) -> Generator[simpy.Event, None, None]:
        """Bring tubes to the laboratory four times an hour."""
        while True:
            yield self.env.timeout(15)
            batch, self.tubes = self.tubes, []
            names = _names_for(batch, self.severity, self.now)
            for (tube, patient), name in zip(batch, names, strict=True):
                self.lab.label(self.now, tube, name)
                self.env.process(self.analyse(name, self.severity[patient[:4]]))

    def analyse(self, name: str, value: float) -> Generator[simpy.Event, None, None]:
        """Report a value after a while, clotted tubes a second time."""
        yield self.env.timeout(20 + _draw("run", name).randrange(25))
        for _ in range(3):
            try:
                self.finish(name, self.lab.report(self.now, name, value))
                return
            except ValueError:
                yield self.env.timeout(12)

    def change_shift(self) -> Generator[simpy.Event, None, None]:
        """Hand patients over at eight in the morning and four in the afternoon."""
        for _ in range(2):
            before = self.on_duty()
            yield self.env.timeout(480)
            for old, new in zip(before, self.on_duty(), strict=True):
                kept = _told(list(old.open_patients), old.agent_id, self.now)
                old.hand_over(self.now, new.agent_id, kept)
                new.open_patients.extend(kept)
                self.owner.update(dict.fromkeys(kept, new.agent_id))

    def tune(self) -> Generator[simpy.Event, None, None]:
        """Adjust the targets every two hours, to how full it is."""
        while True:
            yield self.env.timeout(120)
            category = 2 + self.now // 120 % 3
            crowd = len(self.waiting) > 5
            self.flow.set_target(self.now, category, _typed(_TARGETS[category] + 5 * crowd, self.now))


def _tells_desk(porter: str, to: str, minute: int) -> bool:
    forgets = _case["name"] == "rooms_kept" and porter == "porter_moss" and to == "ward"
    return not (forgets and minute >= 640)


def _told(patients: list[str], doctor: str, minute: int) -> list[str]:
    if _case["name"] == "handover" and minute == 960 and patients and not _case.get("left"):
        _case["left"] = patients.pop()
    return patients


def _typed(minutes: int, minute: int) -> int:
    return minutes * 10 if _case["name"] == "target" and minute == 1080 and minutes < 30 else minutes


def _names_for(batch: list[tuple[str, str]], severity: Mapping[str, float], minute: int) -> list[str]:
    names = [patient for _, patient in batch]
    if _case["name"] == "labels" and minute >= 600 and not _case.get("done"):
        ill = [n for n, name in enumerate(names) if severity[name[:4]] > 62 and len(name) == 4]
        well = [n for n, name in enumerate(names) if severity[name[:4]] <= 40]
        if ill and well:
            names[ill[0]], names[well[0]] = names[well[0]], names[ill[0]]
            _case["done"] = True
    return names


def _arrivals(house: _House) -> Generator[simpy.Event, None, None]:
    number = 0
    while True:
        busy = 5.4 if 600 <= house.now < 940 else 3.8 if 940 <= house.now < 1140 else 14
        yield house.env.timeout(max(1, round(_draw("gap", number).expovariate(1 / busy))))
        number += 1
        house.arrive(f"p{number:03d}")


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play one day and return what the department's statistics show."""
    _case.clear()
    _case.update(name=fault, seed=seed)
    env = simpy.Environment()
    house = _House(env)
    for process in (_arrivals(house), house.collect(), house.change_shift(), house.tune()):
        env.process(process)
    env.run(until=1440)
    waits = [wait for _, wait, _ in house.waits]
    return {
        "seen": len(waits),
        "longest_urgent_wait": max((wait for cat, wait, _ in house.waits if cat == 2), default=0),
        "evening_wait": max([wait for _, wait, at in house.waits if at > 1100] + [0]),
        "still_waiting": len(house.waiting),
        "longest_inside": max((1440 - came for _, came in house.inside.values()), default=0),
        "returned": sorted(house.returned),
    }


def _misnamed(events: Sequence[Event]) -> list[str]:
    drawn = {e.args["tube"]: e.args["patient"] for e in events if e.act == "draw_blood"}
    return pick(events, act="label", where=lambda e: drawn.get(e.args["tube"]) != e.args["patient"])


def _left_out(events: Sequence[Event]) -> list[str]:
    open_now: dict[str, set[str]] = {}
    for event in events:
        mine = open_now.setdefault(event.agent, set())
        if event.act == "see":
            mine.add(event.args["patient"])
        elif event.act == "decide":
            mine.discard(event.args["patient"])
        elif event.act == "hand_over":
            if mine - set(event.args["patients"]):
                return [event.id]
            open_now.setdefault(event.args["to"], set()).update(event.args["patients"])
            mine.clear()
    return []


FAULTS: dict[str, Fault] = {
    "rooms_kept": Fault(
        "In the evening hardly anyone was called in any more, although we walked past several empty rooms.",
        lambda bad, good: bad["still_waiting"] > good["still_waiting"] + 8,
        lambda events: pick(
            events,
            "porter_moss",
            "move",
            where=lambda e: e.args["minute"] >= 640 and e.args["to"] == "ward",
        ),
    ),
    "target": Fault(
        "My father came with chest pain early in the evening and sat in the waiting room far too long, "
        "while people with sprained ankles were called by the coordinator before him.",
        lambda bad, good: bad["longest_urgent_wait"] > max(20, good["longest_urgent_wait"] + 10),
        lambda events: pick(events, "coordinator", "set_target", where=lambda e: e.args["minute"] == 1080),
    ),
    "handover": Fault(
        "On the late walk-round we found somebody in a cubicle since the afternoon whose results had been "
        "ready for hours. doctor_ames says nobody ever mentioned that person.",
        lambda bad, good: bad["longest_inside"] > 400 > good["longest_inside"],
        _left_out,
    ),
    "labels": Fault(
        "A woman was told that her blood was fine and was sent home, and an ambulance brought her back barely "
        "alive. How can that be?",
        lambda bad, good: len(bad["returned"]) > len(good["returned"]),
        _misnamed,
    ),
}
