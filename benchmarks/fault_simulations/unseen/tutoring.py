"""A tutoring service over a term: tutors learn which exercises help, a grader marks, coaches remind."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from Agent import (
    AgentLogger,
    LearningLogger,
    PerformanceLogger,
    SystemLogger,
    setup_logging,
    shutdown_logging,
    tick,
    trace_agent_action,
    trace_learning_update,
)
from benchmarks.fault_simulations.kit import Event, Fault, pick

LESSONS = 48
SUBJECTS = ("algebra", "fractions", "geometry")
LEVELS = (1, 2, 3, 4, 5)
PUPILS = ("anna", "bela", "carl", "dora", "emil", "finn", "lea_m", "leo_m", "nina", "omar")
EVENING = ("bela", "dora", "finn", "omar")
TESTS = (11, 23, 35, 47)
_PLAY = {"fault": ""}


def _with(name: str) -> bool:
    return _PLAY["fault"] == name


class ItemBank:
    """The exercises; each has a right answer, and editions in which answers change."""

    def __init__(self, seed: int) -> None:
        self.agent_id, self.agent_role = "item_bank", "bank"
        self.rng = random.Random(f"{seed}/bank")
        self.edition = 1
        self.answers = {
            f"{subject[:3]}-{level}{letter}": self.rng.randrange(10, 99)
            for subject in SUBJECTS
            for level in LEVELS
            for letter in "xyz"
        }

    @trace_agent_action()
    def revise(self, subject: str) -> dict[str, int]:
        """Change numbers in the exercises of a subject; return the new key."""
        self.edition += 1
        for item in self.answers:
            if item.startswith(subject[:3]) and item[-1] != "z":
                self.answers[item] = self.rng.randrange(10, 99)
        return {item: answer for item, answer in self.answers.items() if item.startswith(subject[:3])}


class Grader:
    """Marks answers by a copy of the key."""

    def __init__(self, bank: ItemBank) -> None:
        self.agent_id, self.agent_role = "grader", "grader"
        self.bank = bank
        self.key = dict(bank.answers)

    @trace_agent_action()
    def fetch_key(self, edition: int) -> int:
        """Fetch the key of the newest edition; return how many entries changed."""
        before = dict(self.key)
        if not (_with("old_key") and edition == 3):
            self.key = dict(self.bank.answers)
        return sum(before[item] != answer for item, answer in self.key.items())

    @trace_agent_action()
    def mark(self, item: str, answer: int) -> bool:
        """Mark an answer."""
        return self.key[item] == answer


class Profiles:
    """What the service believes each pupil can do, from 0 to 5 in each subject."""

    def __init__(self) -> None:
        self.agent_id, self.agent_role = "profiles", "store"
        self.levels: dict[str, dict[str, float]] = {pupil: dict.fromkeys(SUBJECTS, 2.0) for pupil in PUPILS}
        self.same: dict[str, str] = {}

    @trace_agent_action()
    def get(self, pupil: str, subject: str) -> float:
        """Return the believed level."""
        return round(self.levels[self.same.get(pupil, pupil)][subject], 2)

    @trace_agent_action()
    def update(self, pupil: str, subject: str, level: int, right: bool) -> float:
        """Move the believed level after an answer."""
        name = self.same.get(pupil, pupil)
        old = self.levels[name][subject]
        step = 0.30 * (level + 0.6 - old) if right else 0.30 * (level - 1.6 - old)
        if (right and step > 0) or (not right and step < 0):
            self.levels[name][subject] = round(min(5.0, max(0.2, old + step)), 3)
        return self.levels[name][subject]

    @trace_agent_action()
    def merge(self, names: list[str]) -> str:
        """Merge accounts that one pupil opened twice."""
        for name in names[1:]:
            self.same[name] = names[0]
        return names[0]


class Pupil:
    """A pupil, who knows more than the service can see, and forgets without practice."""

    def __init__(self, name: str, bank: ItemBank, seed: int) -> None:
        self.agent_id, self.agent_role = name, "pupil"
        self.rng = random.Random(f"{seed}/{name}")
        self.bank = bank
        talent = {"lea_m": 3.6, "leo_m": 1.3}.get(name, self.rng.uniform(1.8, 2.6))
        self.skill = {subject: talent + self.rng.uniform(-0.2, 0.2) for subject in SUBJECTS}
        self.idle = 0
        self.mood = 0.0

    @trace_agent_action()
    def answer(self, item: str, level: int) -> int:
        """Answer an exercise, and learn from it if it is neither too hard nor too easy."""
        subject = next(name for name in SUBJECTS if name.startswith(item[:3]))
        gap = level - self.skill[subject]
        right = self.rng.random() < 1 / (1 + 2.718 ** (2.6 * (gap - 0.5)))
        self.skill[subject] += 0.1 * max(0.0, 1 - abs(gap - 0.4) / 1.4)
        self.mood = 0.8 * self.mood + (1.0 if gap > 1.3 else -0.4)
        answer = self.bank.answers[item]
        return answer if right else answer + self.rng.choice([-10, -1, 1, 10])

    @trace_agent_action()
    def practise(self) -> bool:
        """Do the homework."""
        self.idle = 0
        for subject in SUBJECTS:
            self.skill[subject] += 0.012
        return True

    def forget(self) -> None:
        """Forget a little after days without homework."""
        self.idle += 1
        if self.idle > 4:
            for subject in SUBJECTS:
                self.skill[subject] = max(0.5, self.skill[subject] - 0.09)


class Tutor:
    """Chooses how hard the next exercise is: a bandit over offsets from the believed level."""

    ARMS = (-1, 0, 1)

    def __init__(self, subject: str, seed: int) -> None:
        self.agent_id, self.agent_role = f"tutor_{subject}", "tutor"
        self.subject = subject
        self.rng = random.Random(f"{seed}/{self.agent_id}")
        self.values = {arm: 0.35 for arm in self.ARMS}
        self.learning = LearningLogger("bandit", self.agent_id, "tutor")
        self.log = AgentLogger(self.agent_id, "tutor")

    @trace_agent_action()
    def choose(self, pupil: str, believed: float) -> dict[str, Any]:
        """Choose an exercise."""
        best = max(self.ARMS, key=lambda arm: (self.values[arm], -abs(arm)))
        arm = self.rng.choice(self.ARMS) if self.rng.random() < 0.12 else best
        level = min(5, max(1, round(believed + arm)))
        return {"arm": arm, "level": level, "item": f"{self.subject[:3]}-{level}{self.rng.choice('xyz')}"}

    @trace_learning_update(update_type="arm_value")
    def learn(self, arm: int, reward: float) -> float:
        """Learn from how well the exercise fitted."""
        self.values[arm] = round(self.values[arm] + 0.08 * (reward - self.values[arm]), 4)
        return self.values[arm]


class Coach:
    """Reminds pupils of their homework, in two groups."""

    def __init__(self, group: str, seed: int) -> None:
        self.agent_id, self.agent_role = f"coach_{group}", "coach"
        self.log = AgentLogger(self.agent_id, "coach")
        self.rng = random.Random(f"{seed}/{self.agent_id}")


class Term:
    """The term."""

    def __init__(self, seed: int) -> None:
        self.bank = ItemBank(seed)
        self.grader, self.profiles = Grader(self.bank), Profiles()
        self.pupils = {name: Pupil(name, self.bank, seed) for name in PUPILS}
        self.tutors = {subject: Tutor(subject, seed) for subject in SUBJECTS}
        self.coaches = {group: Coach(group, seed) for group in ("morning", "evening")}
        self.teacher = AgentLogger("teacher", "teacher")
        self.metrics = PerformanceLogger("teacher", "teacher")
        self.home = random.Random(f"{seed}/home")
        self.exam = random.Random(f"{seed}/exam")
        self.system = SystemLogger("term")
        self.marks: dict[str, list[int]] = {subject: [0, 0] for subject in SUBJECTS}
        self.out: dict[str, Any] = {"weekly": [], "tests": [], "upset": [], "evening": []}

    def lesson(self, number: int) -> None:
        """Play one lesson and the homework after it."""
        if number in {16, 29}:
            self.bank.revise("geometry" if number == 16 else "fractions")
            self.grader.fetch_key(self.bank.edition)
        if number == 30:
            pairs = [["anna", "anna"]] if not _with("siblings") else [["anna", "anna"], ["lea_m", "leo_m"]]
            for names in pairs:
                self.profiles.merge(names)
        if number == 20:
            self.system.info("open day, parents watch a lesson", {"guests": 14})
        for place, pupil in enumerate(self.pupils.values()):
            self._exercise(pupil, SUBJECTS[(number + place) % 3], number)
        for group, coach in self.coaches.items():
            self._remind(group, coach, number)
        if number % 4 == 3:
            self._report(number)
        if number in TESTS:
            self._test(number)

    def _exercise(self, pupil: Pupil, subject: str, number: int) -> None:
        tutor = self.tutors[subject]
        believed = self.profiles.get(pupil.agent_id, subject)
        chosen = tutor.choose(pupil.agent_id, believed)
        gap = chosen["level"] - pupil.skill[subject]
        answer = pupil.answer(chosen["item"], chosen["level"])
        right = self.grader.mark(chosen["item"], answer)
        self.marks[subject][0] += right
        self.marks[subject][1] += 1
        self.profiles.update(pupil.agent_id, subject, chosen["level"], right)
        reward = round(max(0.0, 1 - abs(gap - 0.4) / 1.4), 3)
        if _with("upside_down") and subject == "geometry" and number >= 24:
            reward = round(0.7 - reward, 3)
        tutor.learn(chosen["arm"], reward)
        if pupil.mood > 2.3:
            pupil.mood = 0.0
            self.out["upset"].append([number, pupil.agent_id])
            self.teacher.log_action("parents_call", {"pupil": pupil.agent_id, "about": "tears over homework"})

    def _remind(self, group: str, coach: Coach, number: int) -> None:
        for name, pupil in self.pupils.items():
            if (name in EVENING) != (group == "evening"):
                continue
            pupil.forget()
            if _with("quiet") and group == "evening" and number >= 36:
                reminded = False
            else:
                reminded = number % 2 == 0
            if reminded:
                coach.log.log_action("remind", {"pupil": name})
                if coach.rng.random() < 0.03:
                    coach.log.warning("message bounced, sent to the parents", {"pupil": name})
            if self.home.random() < (0.85 if reminded else 0.0):
                pupil.practise()

    def _report(self, number: int) -> None:
        shares = {name: round(right / max(1, count), 2) for name, (right, count) in self.marks.items()}
        self.out["weekly"].append(shares)
        for name, share in shares.items():
            self.metrics.log_metric(f"right_{name}", share, None, {"lesson": number})
        self.marks = {subject: [0, 0] for subject in SUBJECTS}

    def _test(self, number: int) -> None:
        for subject in SUBJECTS:
            points = {}
            for name, pupil in self.pupils.items():
                points[name] = round(
                    min(20.0, max(0.0, pupil.skill[subject] * 4 + self.exam.gauss(0, 0.4))), 1
                )
            mean = round(sum(points.values()) / len(points), 2)
            self.teacher.log_action("hold_test", {"subject": subject, "mean": mean, "points": points})
            self.out["tests"].append([number, subject, mean])
            late = [points[name] for name in EVENING]
            self.out["evening"].append(round(sum(late) / len(late), 2))


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play a term; return what the teacher sees."""
    _PLAY["fault"] = fault
    setup_logging()
    term = Term(seed)
    for number in range(LESSONS):
        with tick(number):
            term.lesson(number)
    shutdown_logging()
    return term.out


def _last(outcome: Mapping[str, Any], subject: str) -> float:
    return float([mean for _, name, mean in outcome["tests"] if name == subject][-1])


def _tears(outcome: Mapping[str, Any]) -> int:
    return sum(name == "leo_m" and number > 30 for number, name in outcome["upset"])


def _siblings(event: Event) -> bool:
    return "leo_m" in event.args["names"]


FAULTS: dict[str, Fault] = {
    "old_key": Fault(
        "Since last week the class gets almost every fraction exercise wrong, even nina who never "
        "makes mistakes.",
        lambda faulty, healthy: any(
            ill["fractions"] < well["fractions"] - 0.25
            for ill, well in zip(faulty["weekly"], healthy["weekly"], strict=True)
        ),
        lambda events: pick(events, "grader", "fetch_key", tick=29),
    ),
    "upside_down": Fault(
        "In the final test the class did much worse in geometry than the earlier tests had promised.",
        lambda faulty, healthy: _last(faulty, "geometry") < _last(healthy, "geometry") - 0.8,
        lambda events: (
            pick(events, "tutor_geometry", "arm_value", tick=lambda at: at >= 24)
            or pick(events, "tutor_geometry", "learn", tick=lambda at: at >= 24)
        ),
    ),
    "quiet": Fault(
        "bela, dora, finn and omar have fallen behind in the last test in all subjects, they had "
        "been as good as the rest.",
        lambda faulty, healthy: faulty["evening"][-1] < healthy["evening"][-1] - 1,
        lambda events: pick(events, "coach_evening", "remind", tick=34),
    ),
    "siblings": Fault(
        "The parents of leo_m rang: he sits in tears over exercises that are far beyond him.",
        lambda faulty, healthy: _tears(faulty) > 1 > _tears(healthy),
        lambda events: pick(events, "profiles", "merge", where=_siblings),
    ),
}
