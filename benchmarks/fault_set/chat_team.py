"""A team that answers questions: a planner hands them out, workers look things up, a reviewer grades."""

from __future__ import annotations

import random
from typing import Any

from Agent import AgentLogger, LearningLogger, SystemLogger, tick, trace_agent_action
from benchmarks.fault_set.case import Plan, Truth, World

TOPICS = ("maths", "travel", "law", "food")


class QuotaExceeded(Exception):
    """The model's allowance is used up."""


class Search:
    """A tool of the team."""

    def __init__(self, rng: random.Random) -> None:
        self.agent_id = "search"
        self.agent_role = "tool"
        self._rng = rng
        self.down = False

    @trace_agent_action()
    def lookup(self, query: str) -> dict[str, object]:
        """Pages that match; ConnectionError where the index does not answer."""
        if self.down or self._rng.random() < 0.004:
            raise ConnectionError("index did not answer" if self.down else "connection reset")
        return {"pages": 1 + len(query) % 5, "score": round(self._rng.uniform(0.6, 1.0), 3)}


class Model:
    """A language model with an allowance of tokens for the session."""

    def __init__(self, allowance: int) -> None:
        self.agent_id = "model"
        self.agent_role = "tool"
        self.allowance = allowance

    @trace_agent_action()
    def complete(self, prompt_tokens: int) -> int:
        """Tokens that are left; QuotaExceeded where they do not suffice."""
        if prompt_tokens > self.allowance:
            raise QuotaExceeded("no tokens left in this period")
        self.allowance -= prompt_tokens
        return self.allowance


class Worker:
    """Answers one question at a time with what the tools say."""

    def __init__(self, agent_id: str, skill: str, search: Search, model: Model) -> None:
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "worker")
        self.skill = skill
        self._search, self._model = search, model
        self.memory: list[str] = []
        self.pause_until: int | None = 0
        self.certain_at = 0.0
        self.task: dict[str, object] | None = None
        self.waits_for: str | None = None

    @trace_agent_action()
    def read(self, message: Any) -> None:
        """Takes a message of the planner or the reviewer."""
        self.logger.receive(message)
        body = message.body
        if body["type"] == "pause":
            self.pause_until = body["until"]
        elif body["type"] == "question":
            self.task = body
            self.certain_at = body.get("certainty", 0.0)
            self.memory = [*self.memory[-14:], body["text"]]
        elif body["type"] == "approval":
            self.waits_for = None

    @trace_agent_action()
    def research(self, text: str) -> dict[str, object]:
        """One look at the index for a question."""
        return self._search.lookup(text)

    @trace_agent_action()
    def answer(self, topic: str) -> dict[str, object] | None:
        """The answer to the question at hand, None where it is not certain yet."""
        context = " ".join(self.memory)
        found = self.research(str(self.task["text"]) if self.task else "")
        if float(str(found["score"])) < self.certain_at:
            return None
        self._model.complete(40 + len(context) % 30)
        self.logger.log_decision("answer", {"topic": topic, "pages": found["pages"]}, "good enough")
        good = float(str(found["score"])) * (1.0 if topic == self.skill else 0.35)
        self.task = None
        return {"topic": topic, "quality": round(good, 3)}

    @trace_agent_action()
    def summarise_archive(self, documents: int) -> int:
        """Condenses old documents into notes."""
        return self._model.complete(documents * 50)

    @trace_agent_action()
    def wait_for_approval(self, draft: str) -> str:
        """Nothing is published without the reviewer."""
        return draft


class Planner:
    """Knows who is asked what."""

    def __init__(self, routing: dict[str, str]) -> None:
        self.agent_id = "planner"
        self.agent_role = "planner"
        self.logger = AgentLogger("planner", "planner")
        self.routing = routing

    @trace_agent_action()
    def update_routing(self, topic: str, worker: str) -> dict[str, str]:
        """Who is asked about a topic from now on."""
        self.routing[topic] = worker
        return dict(self.routing)


class Team:
    """Everybody, and the mail between them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.search = Search(plan.chance("search"))
        spent = plan.size * plan.ticks * 70
        self.model = Model(spent + 4_000)
        names = [plan.name("worker", n) for n in range(plan.size)]
        self.workers = [Worker(n, TOPICS[i % 4], self.search, self.model) for i, n in enumerate(names)]
        self.planner = Planner({topic: names[i] for i, topic in enumerate(TOPICS)})
        self.reviewer = AgentLogger("reviewer", "reviewer")
        self.grades = LearningLogger("grading", "reviewer")
        self.rng = plan.chance("questions")
        self.asked = 0

    def question(self, topic: str) -> dict[str, object]:
        self.asked += 1
        text = f"{topic} question {self.asked}"
        return {"type": "question", "topic": topic, "text": text, "certainty": 0.5}

    def work(self, worker: Worker, now: int) -> None:
        """One worker's turn: a question, an answer, a grade."""
        if worker.pause_until is None or now < worker.pause_until:
            return
        if worker.waits_for:
            worker.wait_for_approval(worker.waits_for)
            return
        if worker.task is None:
            body = self.question(self._topic_for(worker))
            worker.read(self.planner.logger.send(worker.agent_id, body))
        topic = str(worker.task["topic"]) if worker.task else ""
        try:
            answer = worker.answer(topic)
        except (ConnectionError, QuotaExceeded, TypeError):
            worker.task = None
            self.grades.log_reward(f"{topic} by {worker.agent_id}", 0.0)
            return
        if answer is not None:
            sent = worker.logger.send("reviewer", answer)
            self.reviewer.receive(sent)
            self.grades.log_reward(f"{topic} by {worker.agent_id}", float(str(answer["quality"])))

    def _topic_for(self, worker: Worker) -> str:
        mine = [topic for topic, name in self.planner.routing.items() if name == worker.agent_id]
        return self.rng.choice(mine) if mine else worker.skill

    def publish(self, worker: Worker, now: int, lost: bool) -> str:
        """A long text goes to the reviewer, whose approval comes back; gives the event of the approval."""
        draft = f"{worker.agent_id}-draft-{now}"
        self.reviewer.receive(worker.logger.send("reviewer", {"type": "draft", "draft": draft}))
        worker.waits_for = draft
        worker.wait_for_approval(draft)
        approval = self.reviewer.send(worker.agent_id, {"type": "approval", "draft": draft})
        if not lost:
            worker.read(approval)
        return approval.event_id


def run(plan: Plan, truth: Truth) -> None:
    """One session of the team."""
    team, system = Team(plan), SystemLogger("team")
    system.log_simulation_start("team", {"workers": plan.size})
    outage = range(plan.at, plan.at + 8) if plan.fault == "tool_outage" else range(0)
    for now in range(plan.ticks):
        with tick(now):
            team.search.down = now in outage
            if now == plan.ticks // 5:
                system.log_config("answer_style", "long", "short")
            if now % 11 == 3:
                colleague = team.workers[now % plan.size]
                pause = {"type": "pause", "until": now + 2}
                if colleague.pause_until is not None:
                    colleague.read(team.planner.logger.send(colleague.agent_id, pause))
            if now % 13 == 6:
                topic = TOPICS[now % 4]
                team.planner.update_routing(topic, team.planner.routing[topic])
            if now % 8 == 2 and now != plan.at:
                author = team.workers[now % plan.size]
                if author.pause_until is not None and author.waits_for is None:
                    team.publish(author, now, lost=False)
            _plant(plan, truth, team, now)
            for worker in team.workers:
                team.work(worker, now)
    system.log_simulation_end("team", "finished")


def _plant(plan: Plan, truth: Truth, team: Team, now: int) -> None:
    victim, other = team.workers[plan.victim], team.workers[plan.other]
    send = team.planner.logger.send
    if plan.begins("tool_outage", now):
        truth.seek("search", "lookup", now, contains='"error_id"', first=2)
    body: dict[str, object] | None = None
    if plan.begins("stuck_loop", now):
        body = {**team.question(victim.skill), "certainty": 1.01}
    elif plan.begins("silent_agent", now):
        body = {"type": "pause", "until": None}
    elif plan.begins("poisoned_message", now):
        body = {**team.question(victim.skill), "text": None}
    if body is not None:
        message = send(victim.agent_id, body)
        victim.read(message)
        truth.note(message.event_id)
        truth.seek_event(victim.agent_id, "agent_message", now, contains=message.id)
        truth.seek(victim.agent_id, "read", now, contains=f'"{message.id}"')
    if plan.begins("wrong_peer", now):
        index = plan.victim % 4
        wrong = team.workers[(index + 1) % 4]
        team.planner.update_routing(TOPICS[index], wrong.agent_id)
        change = f'"topic": "{TOPICS[index]}", "worker": "{wrong.agent_id}"'
        truth.seek("planner", "update_routing", now, contains=change)
    if plan.begins("dropped_message", now):
        truth.note(team.publish(victim, now, lost=True))
    if plan.begins("exhausted_quota", now):
        other.summarise_archive((team.model.allowance - 600) // 50)
        truth.seek(other.agent_id, "summarise_archive", now)
        truth.seek("model", "complete", now)


WORLD = World(
    name="chat_team",
    run=run,
    prefix="worker",
    sizes=(5, 8),
    ticks=(50, 80),
    complaints={
        "tool_outage": "Around tick {when} nobody in the team gave any useful answers, grades were zero",
        "stuck_loop": "{victim} is busy all the time but no answers come from it any more",
        "silent_agent": "{victim} does not do anything after tick {when}",
        "poisoned_message": "{victim} answers fail with TypeError over and over",
        "wrong_peer": "answers on one of the topics have become much worse, grades dropped",
        "dropped_message": "{victim} is waiting and never gets back to answering questions",
        "exhausted_quota": "the workers cannot answer anything in the second half, the model refuses",
    },
)
