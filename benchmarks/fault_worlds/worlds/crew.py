"""A research crew: scout, reader, librarian, writer and critic answer questions with a model that is not real.

Each question is a run with steps, tool calls and model calls; there are no ticks. Evidence: runs and steps (spans).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from Agent import AgentLogger, SystemLogger
from Agent.flight import recorder
from benchmarks.fault_worlds.kit import Case, World

FIRST = ("Alma", "Borin", "Celt", "Dorn", "Esk", "Fenn", "Garm", "Holt", "Istra", "Jura")
LAST = (
    "Analytics",
    "Bearings",
    "Ceramics",
    "Dairy",
    "Energy",
    "Foods",
    "Glass",
    "Hotels",
    "Insurance",
    "Journals",
)


@dataclass
class Note:
    """What the notebook holds about one company."""

    staff: int
    closed: bool = False
    of: str = ""


class Crew:
    """The agents and what they share."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = case.rng("crew")
        names = {
            "scout": "scout",
            "reader": "reader",
            "librarian": "librarian",
            "writer": "writer",
            "critic": "critic",
            "client": "client",
            "colleague_1": "colleague",
            "colleague_2": "colleague",
        }
        self.logs = {name: AgentLogger(name, role) for name, role in names.items()}
        self.system = SystemLogger()
        self.notes: dict[str, Note] = {}
        self.staff: dict[str, int] = {}
        self.calls = 0

    def ask_model(self, step: str, prompt: str, output: str) -> None:
        """Record a model call; its words are made up."""
        self.calls += 1
        recorder.record_model_call(
            step_id=step,
            call_id=f"call_{self.calls}",
            model_name="small-1",
            prompt=prompt,
            output=output,
            prompt_tokens=len(prompt.split()),
            completion_tokens=len(output.split()),
        )

    def learn(self, company: str, *, planned: bool) -> None:
        """Search for a company and put what was found into the notebook."""
        case, rng, logs = self.case, self.rng, self.logs
        with recorder.step("search", "Search"):
            logs["scout"].log_action("search", {"query": f"{company} staff"})
            found = self.staff[company]
            if planned and case.strikes("trusted_tool"):
                found *= 10
            answer = logs["scout"].log_action("search_result", {"company": company, "staff": found})
            if planned and case.has("trusted_tool"):
                case.root(answer)
            if not planned and rng.random() < 0.12:  # a wrong answer that a second search corrects
                logs["scout"].log_action("search_result", {"company": company, "staff": found * 10})
                logs["scout"].log_action("search", {"query": f"{company} annual report"})
                logs["scout"].log_action("search_result", {"company": company, "staff": found})
            if rng.random() < 0.06:
                logs["scout"].error("search quota reached, waited", {"seconds": 2})
        with recorder.step("read", "Read"):
            self.ask_model("read", f"How many people work for {company}?", f"{found} people")
            read = logs["reader"].log_decision("believe", {"company": company, "staff": found})
            if planned:
                case.hop(read)
        with recorder.step("store", "Store"):
            failed = planned and case.strikes("swallowed_failure")
            if not planned and rng.random() < 0.08:  # failed, and stored again
                logs["librarian"].log_action("store", {"company": company, "kept_bytes": 0, "ok": False})
            kept = logs["librarian"].log_action(
                "store", {"company": company, "kept_bytes": 0 if failed else 48, "ok": True}
            )
            if not failed:
                self.notes[company] = Note(found, of=company)
            if planned and case.has("swallowed_failure"):
                case.root(kept)
            elif planned:
                case.hop(kept)

    def hear(self, company: str, closed: bool) -> None:
        """A colleague sends news; the librarian believes them."""
        sender = self.logs[self.rng.choice(("colleague_1", "colleague_2"))]
        message = sender.send("librarian", {"company": company, "closed": closed})
        got = self.logs["librarian"].receive(message)
        belief = self.logs["librarian"].log_decision("believe", {"company": company, "closed": closed})
        if company in self.notes:
            self.notes[company].closed = closed
        if company == getattr(self, "subject", None):
            self.case.root(message.event_id, got)
            self.case.hop(got, belief)

    def join(self, kept: str, other: str) -> None:
        """Make one entry of two names."""
        self.logs["librarian"].log_decision("same_company", {"one": kept, "two": other})
        joined = self.logs["librarian"].log_action("join_entries", {"kept": kept, "other": other})
        if other == getattr(self, "subject", None):
            self.case.root(joined)
        self.notes[other] = self.notes[kept]

    def report(self, company: str) -> None:
        """Write a report from the notebook; the client knows the company and reads it."""
        logs, truth = self.logs, self.staff[company]
        with recorder.step("recall", "Recall"):
            note = self.notes.get(company)
            recalled = logs["librarian"].log_action(
                "recall",
                {
                    "company": company,
                    "entry": note.of if note else None,
                    "staff": note.staff if note else None,
                },
            )
        with recorder.step("write", "Write"):
            text = (
                "nothing known"
                if note is None
                else "out of business"
                if note.closed
                else f"{note.staff} people"
            )
            self.ask_model("write", f"Write about {company}", text)
            written = logs["writer"].log_content_generation("report", f"report-{company}", {"says": text})
        with recorder.step("review", "Review"):
            self.ask_model("review", f"Is this fluent? {text}", "yes")
            passed = logs["critic"].log_decision("approve", {"report": f"report-{company}", "fluent": True})
            if self.rng.random() < 0.1:
                logs["critic"].warning("style: sentence is short", {"report": f"report-{company}"})
        right = text == f"{truth} people"
        read = logs["client"].log_action("read_report", {"company": company, "satisfied": right})
        if not right:
            self.case.hop(recalled, written, passed)
            self.case.symptom(
                read,
                f"the report on {company} is wrong, it says '{text}' and they have {truth} people",
                f"our client is angry about the report on {company}. How did '{text}' get past the critic?",
                f"{company}: wrong facts in the report that the writer delivered",
            )


def play(case: Case) -> None:
    """Let the crew answer some dozens of questions."""
    crew = Crew(case)
    rng = crew.rng
    questions = rng.randint(40, 110)
    begin, end = case.window(questions)
    names = [f"{one} {two}" for one in FIRST for two in LAST]
    rng.shuffle(names)
    crew.staff = {name: rng.randint(20, 900) for name in names}
    asked: dict[int, list[str]] = {}
    victim, twin = names.pop(), names.pop()
    background = (
        begin if case.kind in {"trusted_tool", "swallowed_failure"} else max(0, begin - rng.randint(0, 3))
    )
    for now in range(questions):
        with recorder.run("answer", {"number": now}):
            if rng.random() < 0.1:
                crew.system.log_config(
                    rng.choice(("temperature", "max_tokens", "font", "timeout_s")),
                    rng.randint(1, 9),
                    rng.randint(1, 9),
                )
            if now == case.decoy_at or rng.random() < 0.03:
                crew.logs["critic"].log_strategy_update(
                    "tone", "plain", rng.choice(("warm", "short")), "feedback"
                )
            if names and rng.random() < 0.7:
                company = names.pop()
                crew.learn(company, planned=False)
                later = now + max(1, round(math.exp(rng.uniform(0, math.log(0.6 * questions)))))
                asked.setdefault(later, []).append(company)
            if now == background:
                if case.has("wrong_merge"):
                    crew.learn(twin, planned=False)
                crew.learn(victim, planned=case.kind in {"trusted_tool", "swallowed_failure"})
                asked.setdefault(end, []).append(victim)
            _news(crew, case, now, victim, twin)
            for company in asked.pop(now, ()):
                crew.report(company)


def _news(crew: Crew, case: Case, now: int, victim: str, twin: str) -> None:
    """News and joined entries of every day, and those of the plan."""
    rng = crew.rng
    known = sorted(set(crew.notes) - {victim, twin})
    if known and rng.random() < 0.15:
        company = rng.choice(known)
        if rng.random() < 0.3:  # false news, taken back at once
            crew.hear(company, closed=True)
        crew.hear(company, closed=False)
    if known and rng.random() < 0.1:
        company = rng.choice(known)
        crew.staff[f"{company} Ltd"] = crew.staff[company]
        crew.join(company, f"{company} Ltd")
    if now == case.begin:
        crew.subject = victim  # type: ignore[attr-defined]
        if case.has("false_belief"):
            crew.hear(victim, closed=case.strikes("false_belief"))
        if case.strikes("wrong_merge"):
            crew.join(twin, victim)
        crew.subject = None  # type: ignore[attr-defined]


WORLD = World("crew", "spans", ("trusted_tool", "false_belief", "wrong_merge", "swallowed_failure"), play)
