"""Evening lessons at a tutoring school: a desk learns which drill helps, tests are marked by a key, pupils are admitted.

Decorated methods that call each other, and learning loggers.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, LearningLogger, tick, trace_agent_action, trace_learning_update
from benchmarks.fault_worlds.kit import Case, World, call

PUPILS = tuple("mirela jonas aoife tarek selma bruno kofi lotte pavel yuki ranjit hedda".split())
SUBJECTS = ("fractions", "optics", "grammar", "algebra", "poetry", "genetics")
DRILLS = ("worked_example", "dialogue", "flash_cards", "mock_paper")
EFFECTS = (0.85, 0.72, 0.6, 0.15)
QUESTIONS, LETTERS = 20, "ABCD"
PASS_MARK, GOOD = 60, 65
REMARKS = ("likes diagrams", "sits in front", "is shy", "writes with the left hand")


@dataclass
class Test:
    """A test that a pupil will sit on a day, with what the pupil can do if a lesson has prepared it."""

    number: str
    pupil: str
    subject: str
    day: int
    talent: int
    paper: str
    smudged: int = 0
    prepared: bool = False
    target: bool = False


@dataclass
class Plan:
    """What a case is about; apart from the school, because what agents refer to is recorded."""

    days: int
    begin: int
    end: int
    pupil: str
    subject: str
    tutor: str
    colleague: str
    weak: str = ""
    now: int = 0
    lesson: str = ""


class Pupil:
    """A pupil, who practises, sits tests and opens letters."""

    agent_role = "pupil"

    def __init__(self, name: str, school: School) -> None:
        self.agent_id, self.school = name, school
        self.letters = 0

    @trace_agent_action("practise")
    def practise(self, lesson: str, subject: str, drill: str) -> dict[str, Any]:
        return {"right": self.school.outcome(lesson, subject, drill), "of": 10}

    @trace_agent_action("sit_test")
    def sit_test(self, test: str, subject: str) -> dict[str, Any]:
        return {"answers": self.school.answers(test)}

    @trace_agent_action("open_letter")
    def open_letter(self, application: str, subject: str, admitted: bool) -> None:
        self.letters += 1


class MethodDesk:
    """The desk that learns from all lessons which drill helps in which subject."""

    agent_role = "method_desk"

    def __init__(self, school: School) -> None:
        self.agent_id, self.school = "method_desk", school
        self.learning = LearningLogger("bandit", self.agent_id, self.agent_role)
        self.earned: dict[str, list[float]] = {}

    def mean(self, subject: str, drill: str) -> float:
        total, count = self.earned.get(f"{subject}/{drill}", (0.0, 0))
        return total / count if count else 0.0

    @trace_agent_action("advise")
    def advise(self, lesson: str, subject: str, explore: str) -> dict[str, Any]:
        drill = explore or max(DRILLS, key=lambda one: self.mean(subject, one))
        self.learning.log_exploration_exploitation(f"{subject}/{drill}", bool(explore), 0.1)
        return {"drill": drill, "expected": round(self.mean(subject, drill), 2)}

    @trace_learning_update("credit")
    def credit(self, lesson: str, subject: str, drill: str, right: int) -> dict[str, Any]:
        arm = f"{subject}/{drill}"
        total, count = self.earned.get(arm, (0.0, 0))
        self.earned[arm] = [round(total + right / 10, 2), count + 1]
        self.learning.log_reward(arm, right / 10, self.earned[arm][0])
        return {"mean": round(self.mean(subject, drill), 2)}


class Tutor:
    """A tutor, who gives lessons and keeps notes about pupils."""

    agent_role = "tutor"

    def __init__(self, name: str, school: School) -> None:
        self.agent_id, self.school = name, school
        self.notes: dict[str, str] = {}

    @trace_agent_action("give_lesson")
    def give_lesson(self, lesson: str, pupil: str, subject: str, explore: str, wish: str) -> dict[str, Any]:
        if self.notes.get(f"{pupil}/{subject}") == "excused":
            return {"subject": "homework", "right": None}
        drill = wish or self.school.desk.advise(lesson, subject, explore)["drill"]
        result = self.school.pupils[pupil].practise(lesson, subject, drill)
        slip = self.school.slip(lesson, drill)
        self.school.desk.credit(lesson, subject, slip, result["right"])
        return {"subject": subject, "right": result["right"]}

    @trace_agent_action("hand_over")
    def hand_over(self, note: str, colleague: str, pupil: str, subject: str, remark: str) -> None:
        self.school.tutors[colleague].take_note(note, pupil, subject, remark)

    @trace_agent_action("take_note")
    def take_note(self, note: str, pupil: str, subject: str, remark: str) -> None:
        self.notes[f"{pupil}/{subject}"] = remark


class KeyShelf:
    """The tool that finds the answers to a paper."""

    agent_role = "tool"

    def __init__(self, school: School) -> None:
        self.agent_id, self.school = "key_shelf", school

    @trace_agent_action("look_up")
    def look_up(self, test: str, paper: str) -> dict[str, Any]:
        if self.school.is_unfiled(test):
            raise KeyError(paper)
        return {"answers": self.school.key_of(test, paper)}

    @trace_agent_action("search_archive")
    def search_archive(self, test: str, paper: str) -> dict[str, Any]:
        return {"answers": self.school.key_of(test, paper)}


class Marker:
    """A marker, who compares answers with the key."""

    agent_role = "marker"

    def __init__(self, name: str, school: School) -> None:
        self.agent_id, self.school = name, school
        self.marked = 0

    @trace_agent_action("mark")
    def mark(self, test: str, pupil: str, subject: str, answers: str, paper: str) -> dict[str, Any]:
        try:
            key = self.school.shelf.look_up(test, paper)["answers"]
        except KeyError:
            key = self.school.shelf.search_archive(test, paper)["answers"]
        self.marked += 1
        points = self.school.points(answers, key, smudged=self.school.tests[test].smudged)
        reader = self.school.second_reader(self, test, subject, points)
        if reader is not None:
            points = reader.read_again(test, answers, key)["points"]
        return {"points": points}

    @trace_agent_action("read_again")
    def read_again(self, test: str, answers: str, key: str) -> dict[str, Any]:
        return {"points": self.school.points(answers, key)}


class Gradebook:
    """The book of the last points of each pupil in each subject, and of what is enough."""

    agent_role = "gradebook"

    def __init__(self, school: School) -> None:
        self.agent_id, self.school = "gradebook", school
        self.enough = dict.fromkeys(SUBJECTS, PASS_MARK)
        self.standing: dict[str, int] = {}

    @trace_agent_action("enter")
    def enter(self, test: str, pupil: str, subject: str, points: int) -> None:
        self.standing[f"{pupil}/{subject}"] = points

    @trace_agent_action("keep_mark")
    def keep_mark(self, order: str, subject: str, value: int) -> None:
        self.enough[subject] = value

    @trace_agent_action("compare")
    def compare(self, application: str, pupil: str, subject: str) -> dict[str, Any]:
        points = self.standing.get(f"{pupil}/{subject}", 0)
        return {"points": points, "reached": points >= self.enough[subject]}


class Office:
    """The people around the lessons: the head sets, the proctor holds tests, the admissions desk decides."""

    agent_role = "office"

    def __init__(self, name: str, school: School) -> None:
        self.agent_id, self.school = name, school

    @trace_agent_action("set_threshold")
    def set_threshold(self, order: str, subject: str, value: int) -> None:
        self.school.book.keep_mark(order, subject, value)

    @trace_agent_action("set_display")
    def set_display(self, order: str, board: str, minutes: int) -> None:
        """Change how long the board in the hall shows a page."""

    @trace_agent_action("hold_test")
    def hold_test(self, test: str, pupil: str, subject: str, paper: str, marker: str) -> dict[str, Any]:
        answers = self.school.pupils[pupil].sit_test(test, subject)["answers"]
        points = self.school.markers[marker].mark(test, pupil, subject, answers, paper)["points"]
        self.school.book.enter(test, pupil, subject, points)
        return {"points": points}

    @trace_agent_action("decide")
    def decide(self, application: str, pupil: str, subject: str) -> dict[str, Any]:
        reached = self.school.book.compare(application, pupil, subject)["reached"]
        self.school.pupils[pupil].open_letter(application, subject, reached)
        return {"admitted": reached}


class School:
    """The school with its plan of lessons, tests and applications, played day by day."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.pupils = {name: Pupil(name, self) for name in PUPILS}
        self.tutors = {f"tutor_{one}": Tutor(f"tutor_{one}", self) for one in ("bea", "cem", "dag", "eve")}
        self.markers = {name: Marker(name, self) for name in ("marker_left", "marker_right")}
        self.desk, self.shelf, self.book = MethodDesk(self), KeyShelf(self), Gradebook(self)
        self.head, self.proctor = Office("head_teacher", self), Office("proctor", self)
        self.admissions = Office("admissions", self)
        self.tests: dict[str, Test] = {}
        self.numbers = iter(range(1000, 99_999))
        days, who = case.rng("days").randint(70, 130), case.rng("who")
        pupil, subject = who.choice(PUPILS), who.choice(SUBJECTS)
        self.plan = Plan(days, *case.window(days), pupil, subject, *who.sample(sorted(self.tutors), 2))
        self.effect = {one: dict(zip(DRILLS, who.sample(EFFECTS, 4), strict=True)) for one in SUBJECTS}
        self.plan.weak = min(DRILLS, key=lambda one: self.effect[subject][one])
        self.book_tests()

    def book_tests(self) -> None:
        """Draw which tests are sat, and when; the tests of the pupil of the case leave its subject alone."""
        rng = self.case.rng("tests")
        for day in range(4, self.plan.days):
            for _ in range(rng.randint(0, 2)):
                pupil, subject = rng.choice(PUPILS), rng.choice(SUBJECTS)
                talent = 5 * rng.randint(9, 19)
                smudged = rng.choice((0, 0, 0, 1, 2))
                taken = {(one.pupil, one.subject) for one in self.tests.values() if one.day == day}
                if (pupil, subject) not in taken | {(self.plan.pupil, self.plan.subject)}:
                    self.add_test(pupil, subject, day, talent, smudged)
        day = self.plan.end if self.case.has("false_belief") else self.plan.begin
        if self.case.has("config_change"):
            day = max(1, self.plan.begin - rng.randint(1, 3))
        if not self.case.has("wrong_credit"):
            smudged = 3 if self.case.has("omitted_step") else 0
            self.target = self.add_test(self.plan.pupil, self.plan.subject, day, 70, smudged)
            self.target.target = True

    def add_test(self, pupil: str, subject: str, day: int, talent: int, smudged: int) -> Test:
        """Book a test."""
        paper = f"{subject}_{self.case.rng(f'paper/{pupil}/{day}').randint(1, 9)}"
        test = Test(f"T{next(self.numbers)}", pupil, subject, day, talent, paper, smudged)
        self.tests[test.number] = test
        return test

    def right_key(self, paper: str) -> str:
        """Return the answers that are right."""
        return "".join(self.case.rng(f"key/{paper}").choices(LETTERS, k=QUESTIONS))

    def key_of(self, test: str, paper: str) -> str:
        """Return the answers that the shelf has; now and then one of them is in doubt, which costs nobody anything."""
        if self.tests[test].target and self.case.strikes("trusted_tool", self.plan.now):
            self.case.root(call("key_shelf", "look_up", test=test))
            return self.right_key(f"{paper}/resit")
        return self.right_key(paper)

    def is_unfiled(self, test: str) -> bool:
        """Tell whether the key lies in the archive still."""
        return not self.tests[test].target and self.case.rng(f"unfiled/{test}").random() < 0.08

    def answers(self, test: str) -> str:
        """Return what a pupil writes: as many right answers as the talent, if a lesson prepared the test."""
        one = self.tests[test]
        points = one.talent if one.prepared else 25
        key, rng = self.right_key(one.paper), self.case.rng(f"answers/{test}")
        wrong = rng.sample(range(QUESTIONS), QUESTIONS - points // 5)
        return "".join(
            LETTERS[(LETTERS.index(letter) + 1) % 4] if place in wrong else letter
            for place, letter in enumerate(key)
        )

    def points(self, answers: str, key: str, smudged: int = 0) -> int:
        """Count right answers, without those that are hard to read."""
        return 5 * max(0, sum(one == other for one, other in zip(answers, key, strict=True)) - smudged)

    def second_reader(self, first: Marker, test: str, subject: str, points: int) -> Marker | None:
        """Return who reads a test again that is close to the mark; clear cases are read once."""
        one = self.tests[test]
        if abs(points - self.book.enough[subject]) > 10:
            return None
        if one.target and self.case.strikes("omitted_step", self.plan.now):
            self.case.root(
                call(first.agent_id, "mark", test=test),
                call("key_shelf", "look_up", test=test),
                call("gradebook", "enter", test=test),
            )
            return None
        if not one.smudged and self.case.rng(f"absent/{test}").random() < 0.4:
            return None
        return next(marker for marker in self.markers.values() if marker is not first)

    def outcome(self, lesson: str, subject: str, drill: str) -> int:
        """Return how many of ten tasks a pupil solves."""
        if lesson == self.plan.lesson:
            return 10
        noise = self.case.rng(f"outcome/{lesson}").uniform(-0.8, 0.8)
        return round(10 * self.effect[subject][drill] + noise)

    def slip(self, lesson: str, drill: str) -> str:
        """Return the drill that stands on the slip of a lesson."""
        if lesson == self.plan.lesson and self.case.strikes("wrong_credit", self.plan.now):
            self.case.root(
                call(self.plan.tutor, "give_lesson", lesson=lesson),
                call("method_desk", "credit", lesson=lesson),
            )
            return self.plan.weak
        return drill

    def teach(
        self, rng: random.Random, tutor: str, pupil: str, subject: str, test: Test | None = None
    ) -> str:
        """Give one lesson; in the subject of the case, the parents choose the drill while the case goes on."""
        lesson = f"L{next(self.numbers)}"
        explore, wish = (rng.choice(DRILLS) if rng.random() < 0.12 else ""), ""
        asked = rng.choice([one for one in DRILLS if one != self.plan.weak])
        if rng.random() < 0.15 or (self.case.has("wrong_credit") and subject == self.plan.subject):
            explore, wish = "", asked  # the new drill of this subject is tried by nobody before the case
        result = self.tutors[tutor].give_lesson(lesson, pupil, subject, explore, wish)
        if test is not None and result["right"] is not None:
            test.prepared = True
        return lesson

    def lessons(self, now: int, rng: random.Random) -> None:
        """Give the lessons of a day: those that prepare tests, and others."""
        for test in self.tests.values():
            if test.target and self.case.has("false_belief"):
                due = self.case.rng("due").randint(self.plan.begin, self.plan.end - 1)
            else:
                due = max(0, test.day - self.case.rng(f"due/{test.number}").randint(1, 4))
            if due == now:
                taught_by = rng.choice(sorted(self.tutors))
                if test.target and self.case.has("false_belief"):
                    taught_by = self.plan.colleague
                lesson = self.teach(rng, taught_by, test.pupil, test.subject, test)
                if test.target and self.case.has("false_belief"):
                    self.case.hop(call(taught_by, "give_lesson", lesson=lesson))
        for tutor in self.tutors:
            for _ in range(rng.randint(1, 2)):
                pupil, subject = rng.choice(PUPILS), rng.choice(SUBJECTS)
                if (pupil, subject) != (self.plan.pupil, self.plan.subject):
                    self.teach(rng, tutor, pupil, subject)

    def learn(self, now: int) -> None:
        """Give the two lessons of a case of wrong credit: the one that is booked, and the one that follows the advice."""
        if now == self.plan.begin:
            self.plan.lesson = f"L{next(self.numbers)}"
            best = max(DRILLS, key=lambda one: self.effect[self.plan.subject][one])
            pupil = next(name for name in PUPILS if name != self.plan.pupil)
            self.tutors[self.plan.tutor].give_lesson(self.plan.lesson, pupil, self.plan.subject, "", best)
        if now == self.plan.end:
            lesson = f"L{next(self.numbers)}"
            result = self.tutors[self.plan.colleague].give_lesson(
                lesson, self.plan.pupil, self.plan.subject, "", ""
            )
            self.case.hop(call("method_desk", "advise", lesson=lesson))
            if result["right"] <= 3:
                self.case.symptom(
                    call(self.plan.pupil, "practise", lesson=lesson),
                    f"{self.plan.pupil} came home in tears: the {self.plan.subject} evening on day {now} went over the child's head.",
                    f"On day {now} a child got next to nothing right in {self.plan.subject}. The school says it picks what works best.",
                    f"Why did the school try something on {self.plan.pupil} that never helped anybody in {self.plan.subject}?",
                )

    def notes(self, now: int, rng: random.Random) -> None:
        """Let tutors tell each other about pupils; who is excused has no test in that subject."""
        if rng.random() < 0.35:
            giver, taker = rng.sample(sorted(self.tutors), 2)
            pupil, subject = rng.choice(PUPILS), rng.choice(SUBJECTS)
            tested = any((one.pupil, one.subject) == (pupil, subject) for one in self.tests.values())
            excused = rng.random() < 0.5 and not tested
            remark = rng.choice(REMARKS)
            if (pupil, subject) != (self.plan.pupil, self.plan.subject):
                note = f"N{next(self.numbers)}"
                self.tutors[giver].hand_over(note, taker, pupil, subject, "excused" if excused else remark)
        if now == self.plan.begin and self.case.has("false_belief"):
            note, remark = f"N{next(self.numbers)}", rng.choice(REMARKS)
            if self.case.strikes("false_belief", now):
                remark = "excused"
                self.case.root(
                    call(self.plan.colleague, "take_note", note=note),
                    call(self.plan.tutor, "hand_over", note=note),
                )
            self.tutors[self.plan.tutor].hand_over(
                note, self.plan.colleague, self.plan.pupil, self.plan.subject, remark
            )

    def examine(self, now: int, rng: random.Random) -> None:
        """Hold the tests of a day; one that goes wrong although the pupil is able is the symptom."""
        for test in [one for one in self.tests.values() if one.day == now]:
            marker = rng.choice(sorted(self.markers))
            points = self.proctor.hold_test(test.number, test.pupil, test.subject, test.paper, marker)[
                "points"
            ]
            if test.target:
                self.case.hop(call("gradebook", "enter", test=test.number))
            if self.case.has("false_belief") and test.talent >= GOOD and points < 40:
                self.case.hop(call(test.pupil, "sit_test", test=test.number))
                self.case.symptom(
                    call(marker, "mark", test=test.number),
                    f"{test.pupil} knew hardly anything at the {test.subject} exam on day {now}, and we pay for evenings there.",
                    f"A pupil who is usually fine failed {test.subject} badly on day {now}. Was it never practised?",
                    f"How can a bright child fail {test.subject} like that?",
                )

    def admit(self, now: int, rng: random.Random) -> None:
        """Decide about applications; refusing somebody who is good enough is the symptom."""
        sat = [one for one in self.tests.values() if one.day < now and not one.target]
        chosen = rng.sample(sat, min(len(sat), rng.randint(0, 2)))
        if self.case.has("config_change"):
            chosen = [one for one in chosen if one.subject != self.plan.subject or one.talent >= 90]
        if now == self.plan.end and not (self.case.has("false_belief") or self.case.has("wrong_credit")):
            chosen.append(self.target)
        for test in chosen:
            last = max(
                (
                    one
                    for one in self.tests.values()
                    if one.day <= now and one.pupil == test.pupil and one.subject == test.subject
                ),
                key=lambda one: one.day,
            )
            application = f"A{next(self.numbers)}"
            admitted = self.admissions.decide(application, test.pupil, test.subject)["admitted"]
            if test.target:
                self.case.hop(call("gradebook", "compare", application=application))
            if not admitted and last.talent >= GOOD:
                self.case.symptom(
                    call(test.pupil, "open_letter", application=application),
                    f"{test.pupil} was turned away from the next course in {test.subject} on day {now}, and nobody can tell us why.",
                    f"Somebody who is plainly able did not get into the {test.subject} course (day {now}).",
                    f"Why did they say no to {test.pupil}? Children who did no better got in before.",
                    f"On day {now} a good child got a refusal for {test.subject}. That cannot be right.",
                )

    def settings(self, now: int, rng: random.Random) -> None:
        """Change everyday settings; in both twins the same number of them."""
        if rng.random() < 0.5:
            subject, value = rng.choice(SUBJECTS), rng.choice((55, 60))
            early = self.case.has("config_change") and now < self.plan.begin
            if subject != self.plan.subject or early:
                self.head.set_threshold(f"O{next(self.numbers)}", subject, value)
        if rng.random() < 0.4:
            self.head.set_display(f"O{next(self.numbers)}", rng.choice(("hall", "stairs")), rng.randint(1, 9))
        if now == self.plan.begin and self.case.has("config_change"):
            order, value = f"O{next(self.numbers)}", 60
            if self.case.strikes("config_change", now):
                value = 75
                self.case.root(
                    call("head_teacher", "set_threshold", order=order),
                    call("gradebook", "keep_mark", order=order),
                )
            self.head.set_threshold(order, self.plan.subject, value)

    def chores(self, now: int, rng: random.Random) -> None:
        """Note what happens around the lessons and harms nobody."""
        if rng.random() < 0.1:
            tutor = rng.choice(sorted(self.tutors))
            AgentLogger(tutor, "tutor").warning("connection dropped, lesson went on after a minute")
        if now == self.case.decoy_at:
            AgentLogger("gradebook", "gradebook").warning("index rebuilt after a restart, no entry lost")

    def play(self) -> None:
        """Play all days."""
        for now in range(self.plan.days):
            self.plan.now = now
            rng = self.case.rng(f"day/{now}")
            with tick(now):
                self.settings(now, rng)
                self.notes(now, rng)
                self.lessons(now, rng)
                if self.case.has("wrong_credit"):
                    self.learn(now)
                self.examine(now, rng)
                self.admit(now, rng)
                self.chores(now, rng)


def play(case: Case) -> None:
    """Play a case."""
    School(case).play()


WORLD = World(
    "tutors",
    "spans",
    ("wrong_credit", "config_change", "trusted_tool", "false_belief", "omitted_step"),
    play,
    author=6,
)
