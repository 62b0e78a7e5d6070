"""A practice with language-model assistants: intake, records, guidelines, prescriptions and appointments."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, trace_agent_action
from Agent.flight import record_tool, recorder
from benchmarks.fault_simulations.kit import Event, Fault, pick

CASES = 84
_FORMULARY = {"metformin": 1000, "ibuprofen": 1200, "amoxicillin": 3000, "ramipril": 10, "apixaban": 10}
_NEEDS = {
    "sugar": "metformin",
    "pain": "ibuprofen",
    "cough": "amoxicillin",
    "pressure": "ramipril",
    "rhythm": "apixaban",
}


class _Script:
    """The written part of a session: what is asked, and how models answer."""

    seed = 0
    topic = ""

    @classmethod
    def of(cls, *key: object) -> random.Random:
        """Return the generator of a key."""
        return random.Random(f"{cls.seed}/{key}")


_allergies: dict[str, list[str]] = {}
_agenda: dict[str, list[str]] = {}


@record_tool
def look_up_dose(drug: str) -> dict[str, int]:
    """Return the highest daily dose for weak kidneys from the formulary."""
    return {"mg": _FORMULARY[drug]}


@record_tool
def read_allergies(patient: str) -> list[str]:
    """Return the allergies in the record."""
    return list(_allergies.get(patient, []))


@record_tool(kind="write", idempotency_key="case")
def write_agenda(case: str, patient: str, slot: str) -> str:
    """Write an appointment into the agenda."""
    _agenda.setdefault(slot, []).append(patient)
    return "written"


@dataclass(eq=False)
class Intake:
    """Asks patients what they need and sorts their cases."""

    agent_id: str = "intake_bot"
    agent_role: str = "assistant"

    @trace_agent_action
    def read(self, case: str, patient: str, text: str) -> dict[str, Any]:
        """Return complaint and urgency of a message."""
        complaint = next(word for word in _NEEDS if word in text)
        return {"complaint": complaint, "urgent": "since this morning" in text}

    @trace_agent_action
    def choose_order(self, options: dict[str, float]) -> str:
        """Choose in which order cases are worked on; the scores come from last week."""
        return _best(options)


@dataclass(eq=False)
class Records:
    """Answers questions about a patient, from the record or from what it read before."""

    agent_id: str = "records_bot"
    agent_role: str = "assistant"
    read_before: dict[str, list[str]] = field(default_factory=dict)

    @trace_agent_action
    def allergies(self, case: str, patient: str) -> list[str]:
        """Return what a patient must not get."""
        if not _still_fresh(patient, self.read_before):
            self.read_before[patient] = read_allergies(patient)
        return self.read_before[patient]

    @trace_agent_action
    def note_allergy(self, case: str, patient: str, drug: str) -> None:
        """Enter a new allergy."""
        _allergies.setdefault(patient, []).append(drug)


@dataclass(eq=False)
class Guideline:
    """Answers questions about doses, and writes the answers onto the shared board."""

    agent_id: str = "guideline_bot"
    agent_role: str = "assistant"

    @trace_agent_action
    def answer(self, case: str, drug: str, question: str) -> dict[str, Any]:
        """Answer a question about a drug."""
        return _said(case, drug)


@dataclass(eq=False)
class Prescriber:
    """Drafts prescriptions with what is on the board."""

    agent_id: str = "prescription_bot"
    agent_role: str = "assistant"
    board: dict[str, int] = field(default_factory=dict)

    @trace_agent_action
    def note(self, drug: str, mg: int) -> None:
        """Keep the dose of a drug on the board."""
        self.board[drug] = mg

    @trace_agent_action
    def draft(
        self, case: str, patient: str, drug: str, avoid: list[str], weak_kidneys: bool
    ) -> dict[str, Any]:
        """Draft a prescription."""
        if drug in avoid:
            return {"drug": "none", "mg": 0}
        full = {"metformin": 2000, "ibuprofen": 1600, "amoxicillin": 3000, "ramipril": 10, "apixaban": 10}[
            drug
        ]
        return {"drug": drug, "mg": min(full, self.board.get(drug, full)) if weak_kidneys else full}


@dataclass(eq=False)
class Scheduler:
    """Makes appointments."""

    agent_id: str = "calendar_bot"
    agent_role: str = "assistant"
    waiting: list[str] = field(default_factory=list)

    @trace_agent_action
    def book(self, case: str, patient: str, slot: str) -> str:
        """Book a slot, or put it on the list for the staff if that is not allowed."""
        if "agenda:write" in _rights[self.agent_id]:
            return write_agenda(case, patient, slot)
        self.waiting.append(case)
        return "requested"


@dataclass(eq=False)
class Admin:
    """Changes what assistants may do."""

    agent_id: str = "admin"
    agent_role: str = "staff"

    @trace_agent_action
    def grant(self, assistant: str, scopes: list[str]) -> None:
        """Set the scopes of an assistant."""
        _rights[assistant] = list(scopes)

    @trace_agent_action
    def sign(self, case: str, drug: str, mg: int) -> bool:
        """Sign a prescription."""
        return drug != "none"


_rights: dict[str, list[str]] = {}
_USUAL = {
    "calendar_bot": ["agenda:read", "agenda:write"], "records_bot": ["record:read", "record:write"],
    "prescription_bot": ["draft:write"], "guideline_bot": ["formulary:read"],
}  # fmt: skip


def _best(options: dict[str, float]) -> str:
    scores = {name: -score if _Script.topic == "order" else score for name, score in options.items()}
    return max(scores, key=lambda name: scores[name])


def _still_fresh(patient: str, known: dict[str, list[str]]) -> bool:
    if patient not in known:
        return False
    keeps = _Script.topic == "cache" and patient == "patient_17"
    return keeps or known[patient] == _allergies.get(patient, [])


def _said(case: str, drug: str) -> dict[str, Any]:
    from_memory = _Script.topic == "dose" and case >= "case_022" and drug == "metformin"
    if from_memory or _Script.of("memory", case).random() < 0.15:
        return {
            "mg": 1000 + 1000 * from_memory if drug == "metformin" else _FORMULARY[drug],
            "source": "formulary 2025",
        }
    return {"mg": look_up_dose(drug)["mg"], "source": "formulary 2025"}


def _scopes(assistant: str, nth: int) -> list[str]:
    scopes = list(_USUAL[assistant])
    if _Script.topic == "scope" and assistant == "calendar_bot" and nth == 36:
        scopes.remove("agenda:write")
    return scopes


class _Practice:
    """The assistants, their patients and what came of it."""

    def __init__(self) -> None:
        self.intake, self.records, self.guideline = Intake(), Records(), Guideline()
        self.prescriber, self.scheduler, self.admin = Prescriber(), Scheduler(), Admin()
        self.desk = AgentLogger("front_desk", "staff")
        self.too_much: list[str] = []
        self.allergic: list[str] = []
        self.turned_up: list[str] = []
        self.delays: dict[str, int] = {}

    def message(self, nth: int) -> tuple[str, str]:
        """Return the patient and the text of a case."""
        draw = _Script.of("case", nth)
        word = draw.choice(list(_NEEDS))
        patient = f"patient_{draw.randrange(40):02d}"
        if nth in {30, 57}:
            patient, word = "patient_17", "cough"
        if nth == 25:
            word = "sugar"
        when = (
            "since this morning" if draw.random() < 0.15 and nth > 20 or nth in {66, 71} else "for some weeks"
        )
        return (
            patient,
            f"I have trouble with my {word} {when}, {draw.choice(['please help', 'what can I take?'])}",
        )

    def handle(self, nth: int, at: int) -> None:
        """Work on a case from the message to the appointment."""
        case = f"case_{nth:03d}"
        patient, text = self.message(nth)
        draw = _Script.of("handle", nth)
        with recorder.step(case, "Handle a case"):
            found = self.intake.read(case, patient, text)
            self.delays[case] = at - nth if found["urgent"] else 0
            drug = _NEEDS[found["complaint"]]
            weak = draw.random() < 0.45 or nth in {57}
            if drug not in self.prescriber.board or draw.random() < 0.12:
                said = self.guideline.answer(case, drug, f"highest dose of {drug} with weak kidneys?")
                if self.prescriber.board.get(drug) != said["mg"]:
                    self.prescriber.note(drug, said["mg"])
            avoid = self.records.allergies(case, patient)
            plan = self.prescriber.draft(case, patient, drug, avoid, weak)
            if draw.random() < 0.06:
                self.desk.warning("model answered late, asked again", {"case": case})
                plan = self.prescriber.draft(case, patient, drug, avoid, weak)
            if self.admin.sign(case, plan["drug"], plan["mg"]):
                if weak and plan["mg"] > _FORMULARY[drug]:
                    self.too_much.append(case)
                if drug in _allergies.get(patient, []):
                    self.allergic.append(case)
            slot = f"day {2 + nth // 12} {8 + nth % 9}:00"
            self.scheduler.book(case, patient, slot)
            if nth % 9 == 4:
                self.records.note_allergy(
                    case, f"patient_{draw.randrange(20, 40)}", draw.choice(["ibuprofen", "ramipril"])
                )
            if nth == 55:
                self.records.note_allergy(case, "patient_17", "amoxicillin")


def _queue(practice: _Practice, order: str) -> list[int]:
    """Return the cases in the order in which they are worked on, in bundles of twelve."""
    numbers = []
    for begin in range(0, CASES, 12):
        bundle = list(range(begin, min(CASES, begin + 12)))
        if order == "urgent_first":
            bundle.sort(key=lambda n: ("since this morning" not in practice.message(n)[1], n))
        else:
            bundle.sort(key=lambda n: ("since this morning" in practice.message(n)[1], n))
        numbers += bundle
    return numbers


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play a week of the practice and return what patients noticed."""
    _Script.seed, _Script.topic = seed, fault
    for held in (_allergies, _agenda, _rights):
        held.clear()
    _rights.update({name: list(scopes) for name, scopes in _USUAL.items()})
    practice = _Practice()
    order = practice.intake.choose_order({"urgent_first": 0.83, "short_first": 0.74 + 0.01 * (seed % 3)})
    with recorder.run("practice", {"cases": str(CASES)}):
        for at, nth in enumerate(_queue(practice, order)):
            if at % 12 == 0:
                for assistant in sorted(_USUAL):
                    practice.admin.grant(assistant, _scopes(assistant, at))
            practice.handle(nth, at)
            if at % 12 == 11:
                day = f"day {2 + at // 12}"
                booked = sum(len(names) for slot, names in _agenda.items() if slot.startswith(f"{day} "))
                practice.desk.log_action("open_doors", {"day": day, "booked": booked})
                practice.turned_up += [f"{day}"] * (12 - min(12, booked))
    return {
        "too_much": practice.too_much,
        "allergic": practice.allergic,
        "without_slot": len(practice.turned_up),
        "worst_delay": max(practice.delays.values()),
        "late_urgent": sorted(case for case, late in practice.delays.items() if late > 4),
    }


def _unfounded(events: Sequence[Event]) -> list[str]:
    return pick(
        events, "guideline_bot", "answer",
        where=lambda e: e.args["drug"] == "metformin" and (e.result or {}).get("mg", 0) > 1000,
    )  # fmt: skip


FAULTS: dict[str, Fault] = {
    "dose": Fault(
        "The hospital rang: one of our patients with bad kidneys got twice as much of the diabetes drug as is "
        "allowed. I had signed what prescription_bot put in front of me.",
        lambda bad, good: len(bad["too_much"]) > len(good["too_much"]),
        _unfounded,
    ),
    "cache": Fault(
        "patient_17 came out in a rash after the antibiotic, and had told us about that only a few messages earlier.",
        lambda bad, good: len(bad["allergic"]) > len(good["allergic"]),
        lambda events: pick(events, "records_bot", "allergies", where=lambda e: e.args["case"] == "case_057"),
    ),
    "scope": Fault(
        "People stand at the front_desk and say that they were promised an appointment, but the book is empty.",
        lambda bad, good: bad["without_slot"] > good["without_slot"] + 4,
        lambda events: [
            event.id
            for event in events
            if event.act == "grant"
            and event.args["assistant"] == "calendar_bot"
            and "agenda:write" not in event.args["scopes"]
        ][:1],
    ),
    "order": Fault(
        "In the middle of the week somebody wrote that it had begun that very morning, and was answered after "
        "everybody else. That is the wrong way round.",
        lambda bad, good: len(bad["late_urgent"]) > len(good["late_urgent"]) + 1,
        lambda events: pick(events, "intake_bot", "choose_order"),
    ),
}
