"""An examination board: papers are scanned, marked, entered, read again and published.

Everything between two offices is a message that one logger sends and another receives.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from Agent import AgentLogger, caused_by, tick
from benchmarks.fault_worlds.kit import Case, World

STEPS = 110
SUBJECTS = ("history", "biology", "french", "geometry")
GIVEN = ("Anna", "Tom", "Ivo", "Lea", "Nils", "Rosa", "Max", "Ida", "Paul", "Vera")
FAMILY = (
    "Berg",
    "Lang",
    "Moser",
    "Keller",
    "Voss",
    "Haas",
    "Brandt",
    "Roth",
    "Kuhn",
    "Adler",
    "Falk",
    "Seidel",
)
TOLERANCE = 4


@dataclass
class Candidate:
    """A person who sits papers: the number, and what the office knows."""

    number: str
    name: str
    born: str
    known: bool = True
    sat: bool = False
    entered: dict[str, int] = field(default_factory=dict)

    @property
    def region(self) -> str:
        return "north" if self.number.startswith("N") else "south"


@dataclass
class Paper:
    """A script: whose it is, who marked it, and what was stored of it."""

    script: str
    candidate: Candidate
    subject: str
    marker: str
    sheets: int
    images: int = 0
    truth: int = 0
    marks: int = 0
    marked: str = ""
    stored: str = ""


class Board:
    """One session of the board."""

    def __init__(self, case: Case) -> None:
        self.case = case
        case.window(STEPS, 2)
        self.rng = case.rng("papers")
        self.markers = {
            subject: [f"marker_{10 * place + number}" for number in (1, 2, 3)]
            for place, subject in enumerate(SUBJECTS, 1)
        }
        roles = {name: "marker" for names in self.markers.values() for name in names}
        roles |= {f"chief_{subject}": "chief examiner" for subject in SUBJECTS}
        roles |= dict.fromkeys(("scan_room_1", "scan_room_2", "scan_room_3"), "scanning")
        roles |= {"desk_north": "results", "desk_south": "results", "registry": "registry"}
        roles |= dict.fromkeys(("moderator_1", "moderator_2"), "moderator")
        roles |= {"helpline_1": "helpline", "helpline_2": "helpline", "caretaker": "house"}
        self.log = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.scheme = dict.fromkeys(SUBJECTS, 1)
        self.knows = dict.fromkeys((name for names in self.markers.values() for name in names), 1)
        self.candidates: list[Candidate] = []
        self.papers: list[Paper] = []
        self.due: dict[int, list[Candidate]] = defaultdict(list)
        self.appeals: dict[int, list[Paper]] = defaultdict(list)
        who = case.rng("who")
        self.subject = who.choice(SUBJECTS)
        self.victim = who.choice(self.markers[self.subject])
        self.amended = case.rng("amend").sample(range(4, STEPS - 4), 9)
        self.merges = case.rng("merge").sample(range(6, STEPS - 4), 6)
        self.stray: Candidate | None = None
        self.blank: Paper | None = None

    def post(self, sender: str, to: str, **body: object) -> tuple[str, str]:
        message = self.log[sender].send(to, body)
        return message.event_id, self.log[to].receive(message)

    # Candidates

    def register(self, name: str, born: str) -> Candidate:
        region = self.rng.choice("NS")
        candidate = Candidate(
            f"{region}{1000 + 7 * len(self.candidates) + self.rng.randint(0, 6)}", name, born
        )
        self.candidates.append(candidate)
        self.log["registry"].log_action(
            "register", {"candidate": candidate.number, "name": name, "born": born}
        )
        return candidate

    def birthday(self) -> str:
        return f"2008-{self.rng.randint(1, 12):02}-{self.rng.randint(13, 28)}"

    def person(self) -> str:
        return f"{self.rng.choice(GIVEN)} {self.rng.choice(FAMILY)}"

    def same_person(self, one: Candidate, other: Candidate, merge: bool) -> str:
        details = {"name": one.name, "born": [one.born, other.born]}
        if not merge:
            return self.log["registry"].log_decision(
                "keep_both", {"candidates": [one.number, other.number], **details}, reasoning="two people"
            )
        merged = self.log["registry"].log_decision(
            "join_entries",
            {"kept": one.number, "dropped": other.number, **details},
            reasoning="entered twice",
        )
        other.known = False
        with caused_by(merged):
            sent, _ = self.post("registry", f"desk_{other.region}", use=one.number, instead_of=other.number)
        self.case.hop(sent)
        return merged

    def entries(self, now: int) -> None:
        case = self.case
        if now in self.merges:
            name = self.person()
            born = self.birthday()
            one, other = self.register(name, born), self.register(name, born if now % 3 else self.birthday())
            self.same_person(one, other, one.born == other.born)
        if case.has("wrong_merge") and now == case.begin:
            name = self.person()
            one, other = self.register(name, self.birthday()), self.register(name, self.birthday())
            merged = self.same_person(one, other, case.strikes("wrong_merge", now))
            if case.strikes("wrong_merge", now):
                case.root(merged)
            other.sat = True
            other.entered = {"biology": self.rng.randint(30, 90)}
            self.due[case.end].append(other)

    # Papers

    def scan(self, now: int, candidate: Candidate, subject: str, broken: bool = False) -> Paper:
        rng = self.rng
        paper = Paper(
            f"P{3000 + len(self.papers)}",
            candidate,
            subject,
            rng.choice(self.markers[subject]),
            rng.randint(6, 14),
        )
        self.papers.append(paper)
        candidate.sat = True
        room_name = rng.choice(("scan_room_1", "scan_room_2", "scan_room_3"))
        room = self.log[room_name]
        scanned = room.log_action(
            "feed_script",
            {
                "script": paper.script,
                "candidate": candidate.number,
                "subject": subject,
                "sheets": paper.sheets,
            },
        )
        with caused_by(scanned):
            if rng.random() < 0.08:
                room.warning("sheet jam", {"script": paper.script, "images": rng.randint(0, 5)})
                room.log_action("feed_again", {"script": paper.script})
            blank = rng.randint(0, 3)
            paper.images = 0 if broken else paper.sheets - blank
            paper.stored = room.log_action(
                "store_images",
                {"script": paper.script, "images": paper.images, "blank_backs": blank, "result": "complete"},
            )
            self.post(room_name, paper.marker, script=paper.script, subject=subject)
        return paper

    def mark(self, now: int, paper: Paper) -> None:
        rng, case = self.rng, self.case
        paper.truth = rng.randint(25, 90)
        behind = self.scheme[paper.subject] - self.knows[paper.marker]
        paper.marks = paper.truth + rng.randint(-1, 1) - (9 if behind else 0)
        paper.marked = self.log[paper.marker].log_action(
            "mark_script", {"script": paper.script, "scheme": self.knows[paper.marker], "marks": paper.marks}
        )
        number, subject = paper.candidate.number, paper.subject
        desk, other = (
            f"desk_{paper.candidate.region}",
            "desk_south" if paper.candidate.region == "north" else "desk_north",
        )
        stray = paper.candidate is self.stray and case.strikes("wrong_recipient")
        slip = {"candidate": number, "script": paper.script, "marks": paper.marks}
        with caused_by(paper.marked):
            if stray or rng.random() < 0.05:
                sent, came = self.post(paper.marker, other, **slip)
                with caused_by(came):
                    filed = self.log[other].log_action(
                        "file_slip", {"candidate": number, "tray": "strangers"}
                    )
                    if stray:
                        case.root(sent, came)
                        case.hop(filed)
                        return
                    self.post(other, desk, **slip)
            else:
                sent, came = self.post(paper.marker, desk, **slip)
        with caused_by(came):
            self.log[desk].log_action(
                "enter_mark", {"candidate": number, "subject": subject, "marks": paper.marks}
            )
        paper.candidate.entered[subject] = paper.marks

    def second_reading(self, paper: Paper) -> None:
        moderator = self.log[self.rng.choice(("moderator_1", "moderator_2"))]
        marks = paper.truth + self.rng.randint(-2, 2)
        with caused_by(paper.marked):
            read = moderator.log_action(
                "read_again",
                {
                    "script": paper.script,
                    "marks": marks,
                    "first_marks": paper.marks,
                    "scheme": self.scheme[paper.subject],
                },
            )
        if abs(marks - paper.marks) > TOLERANCE:
            gap = marks - paper.marks
            self.case.symptom(
                read,
                f"{moderator.agent_id} gives script {paper.script} {gap} marks more than the first reader did. Is the first reader asleep?",
                f"The first marks of {paper.script} are far too low. It is the same paper and the same rules!",
                f"Some {paper.subject} papers come out almost ten marks lower on the first reading than on the second.",
            )

    def amend(self, subject: str, skip: str = "") -> None:
        chief = f"chief_{subject}"
        self.scheme[subject] += 1
        amended = self.log[chief].log_decision(
            "amend_scheme",
            {"subject": subject, "scheme": self.scheme[subject], "question": self.rng.randint(1, 12)},
            reasoning="an answer was missing",
        )
        sent = []
        with caused_by(amended):
            for name in self.markers[subject]:
                if name != skip:
                    sent.append(self.post(chief, name, scheme=self.scheme[subject])[0])
                    self.knows[name] = self.scheme[subject]
        if skip:
            self.case.root(amended, *sent)

    def notices(self, now: int) -> None:
        case = self.case
        if case.has("omitted_message") and now == case.begin:
            self.amend(self.subject, self.victim if case.strikes("omitted_message", now) else "")
        elif now in self.amended:
            others = [subject for subject in SUBJECTS if subject != self.subject]
            self.amend(self.rng.choice(others if case.has("omitted_message") else list(SUBJECTS)))

    # Results

    def publish(self, candidate: Candidate) -> None:
        helper = self.rng.choice(("helpline_1", "helpline_2"))
        desk = f"desk_{candidate.region}"
        with caused_by(self.post(helper, desk, ask=candidate.number)[1]):
            if not candidate.known:
                answer = self.log[desk].log_action(
                    "answer", {"candidate": candidate.number, "result": "no such number"}
                )
                if candidate.sat:
                    self.case.symptom(
                        answer,
                        f"{candidate.number} called {helper} and was told that there is no such number, with the entry card in hand!",
                        f"The office says that {candidate.number} does not exist. My daughter sat there for three hours.",
                        "Somebody who took the examination with us is not known to anyone any more.",
                    )
                return
            result = sum(candidate.entered.values()) if candidate.entered else "absent"
            answer = self.log[desk].log_action("answer", {"candidate": candidate.number, "result": result})
            if candidate.sat and not candidate.entered:
                self.case.symptom(
                    answer,
                    f"{candidate.number} is reported absent, and {helper} cannot explain it. The paper was handed in and scanned.",
                    f"Why does the result of {candidate.number} say absent? There is a receipt for the script.",
                    "People who were there and wrote are listed as absent today.",
                )

    def appeal(self, paper: Paper) -> None:
        helper = self.rng.choice(("helpline_1", "helpline_2"))
        moderator = self.rng.choice(("moderator_1", "moderator_2"))
        asked, came = self.post(helper, moderator, appeal=paper.script)
        if self.case.has("swallowed_failure") and paper is self.blank:
            self.case.trigger(asked)
            self.case.hop(asked, came)
        with caused_by(came):
            opened = self.log[moderator].log_action(
                "open_images", {"script": paper.script, "images": paper.images}
            )
        if not paper.images:
            self.case.symptom(
                opened,
                f"{moderator} opened {paper.script} for an appeal and there is nothing to see, not one image.",
                f"The appeal about {paper.script} cannot be decided: no picture of it exists. It was scanned, I have the list.",
                "Pictures of a scanned script are gone just when somebody appeals. Are they deleted?",
            )

    # Everyday life

    def everyday(self, now: int) -> None:
        rng = self.case.rng(f"everyday/{now}")
        if rng.random() < 0.4:
            name = rng.choice(sorted(self.log))
            setting, choices = rng.choice(
                (("break_minutes", (10, 15, 20)), ("lamp", ("warm", "cold")), ("music", ("off", "low")))
            )
            old, new = rng.sample(choices, 2)
            self.log[name].log_state_change({setting: old}, {setting: new}, trigger="by hand")
        if rng.random() < 0.15:
            self.log["caretaker"].log_action(
                rng.choice(("open_windows", "refill_paper", "water_plants", "change_bulb", "wind_clock")),
                {"room": rng.randint(1, 20)},
            )
        if rng.random() < 0.1:
            room = self.log[rng.choice(("desk_north", "desk_south", "registry"))]
            with caused_by(room.warning("printer offline", {"tries": 1})):
                room.log_action("print_again", {"tries": 2})
        if now == self.case.decoy_at:
            self.log["caretaker"].warning("power cut in the east wing", {"seconds": 40})
            self.log[self.rng.choice(("desk_north", "desk_south"))].log_action(
                "restart_screen", {"program": "results"}
            )

    def step(self, now: int) -> None:
        case, rng = self.case, self.rng
        self.everyday(now)
        self.entries(now)
        self.notices(now)
        fresh = []
        for _ in range(rng.randint(2, 3)):
            candidate = self.register(self.person(), self.birthday())
            later = now + rng.randint(1, 70)
            self.due[later].append(candidate)
            if rng.random() < 0.07:
                self.log["registry"].log_action("note_absence", {"candidate": candidate.number})
                continue
            fresh.append(self.scan(now, candidate, rng.choice(SUBJECTS)))
        if case.has("wrong_recipient") and now == case.begin:
            self.stray = self.register(self.person(), self.birthday())
            self.due[case.end].append(self.stray)
            fresh.append(self.scan(now, self.stray, rng.choice(SUBJECTS)))
        if case.has("swallowed_failure") and now == case.begin:
            candidate = self.register(self.person(), self.birthday())
            self.blank = self.scan(
                now, candidate, rng.choice(SUBJECTS), case.strikes("swallowed_failure", now)
            )
            if case.strikes("swallowed_failure", now):
                case.root(self.blank.stored)
            fresh.append(self.blank)
            self.appeals[case.end].append(self.blank)
        if case.has("omitted_message") and now == case.begin:
            paper = self.scan(now, self.register(self.person(), self.birthday()), self.subject)
            paper.marker = self.victim
            fresh.append(paper)
        for paper in fresh:
            self.mark(now, paper)
            if rng.random() < 0.3 and paper is not self.blank:
                self.appeals[now + rng.randint(1, 60)].append(paper)
        kept = case.has("omitted_message") and case.begin <= now < case.end
        choice = [paper for paper in self.papers[-30:] if not (kept and paper.marker == self.victim)]
        if choice and rng.random() < 0.5:
            self.second_reading(rng.choice(choice))
        if case.has("omitted_message") and now == case.end:
            paper = next(paper for paper in reversed(self.papers) if paper.marker == self.victim)
            case.hop(paper.marked)
            self.second_reading(paper)
        for candidate in self.due.pop(now, ()):
            self.publish(candidate)
        for paper in self.appeals.pop(now, ()):
            self.appeal(paper)


def play(case: Case) -> None:
    """Play one session."""
    board = Board(case)
    for now in range(STEPS):
        with tick(now):
            board.step(now)


WORLD = World(
    "exams",
    "edges",
    ("wrong_merge", "wrong_recipient", "swallowed_failure", "omitted_message"),
    play,
    author=4,
)
