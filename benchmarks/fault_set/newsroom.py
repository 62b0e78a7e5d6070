"""A newsroom: an editor hands out stories, writers look up figures and draft, a fact checker sends back or passes."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, receive, send, tick, trace_agent_action
from Agent.record.messages import Message
from benchmarks.fault_set.case import Plan, Truth, World

TOPICS = ("council", "harbour", "football", "trade", "schools", "theatre", "traffic")
PROMPT_CHARACTERS = 900
REVISIONS = 5
HOUSE_NOTES = (
    "Numbers below ten are spelled out. ",
    "The name of the town comes first. ",
    "No exclamation marks, please. ",
    "Say who said it, and when. ",
)


class Archive:
    """The figures of every topic, with a cache before them and scopes for its readers."""

    def __init__(self, rng: random.Random, timeouts: float) -> None:
        self.agent_id = "archive"
        self.agent_role = "tool"
        self._rng, self._timeouts = rng, timeouts
        self._figures = dict.fromkeys(TOPICS, 1000)
        self._cached: dict[str, tuple[int, int]] = {}
        self._scopes: dict[str, str] = {}
        self._now = 0
        self.keep_rounds = 2
        self._reachable = True

    @trace_agent_action()
    def set_cache(self, keep_rounds: int) -> int:
        """For how many rounds a figure is kept."""
        self.keep_rounds = keep_rounds
        return keep_rounds

    @trace_agent_action()
    def grant(self, reader: str, scope: str) -> str:
        """What somebody may read."""
        self._scopes[reader] = scope
        return scope

    @trace_agent_action()
    def ingest(self, topic: str, figure: int) -> int:
        """The newest figure of a topic."""
        self._figures[topic] = figure
        return len(self._figures)

    @trace_agent_action()
    def look_up(self, reader: str, topic: str) -> dict[str, Any]:
        """The figure of a topic and background to it; TimeoutError where there is no answer."""
        if not self._reachable or self._rng.random() < self._timeouts:
            raise TimeoutError("no answer within 30 s")
        since, figure = self._cached.get(topic, (-1, 0))
        if since < 0 or self._now - since >= self.keep_rounds:
            since, figure = self._now, self._figures[topic]
            self._cached[topic] = (since, figure)
        pieces = self._rng.randint(4, 7) if self._scopes[reader] == "full" else self._rng.randint(0, 1)
        return {"topic": topic, "figure": figure, "background": pieces}


class Checker:
    """Compares the figures of a draft with the archive, as its prompt tells it to."""

    def __init__(self, archive: Archive, rng: random.Random) -> None:
        self.agent_id = "checker"
        self.agent_role = "fact checker"
        self._archive, self._rng = archive, rng
        self.prompt = ""
        self.max_words = 600

    @trace_agent_action()
    def load_prompt(self, version: str, text: str) -> str:
        """What the model behind it is told from now on."""
        self.prompt = text
        return version

    @trace_agent_action()
    def check(self, draft: Message) -> str:
        """What is wrong with a draft; "" where nothing is."""
        receive(draft)
        body, found = draft.body, ""
        if body["figure"] is None:
            found = "no source"
        elif body["words"] > self.max_words:
            found = "too long"
        else:
            catches = 0.95 if "every figure" in self.prompt else 0.1
            try:
                known = self._archive.look_up(self.agent_id, body["topic"])["figure"]
            except TimeoutError:
                known = body["figure"]  # nothing to compare with
            if known != body["figure"] and self._rng.random() < catches:
                found = "wrong figure"
        send(draft.sender, {"article": body["article"], "verdict": found or "pass"})
        return found


class Writer:
    """Drafts what a brief asks for, as far as brief and house notes fit into the prompt."""

    def __init__(self, agent_id: str, archive: Archive, rng: random.Random) -> None:
        self.agent_id = agent_id
        self.agent_role = "writer"
        self._archive, self._rng = archive, rng
        self._notes = [HOUSE_NOTES[0]]
        self.min_words = 180

    @trace_agent_action()
    def take_note(self, note: Message) -> int:
        """Keeps the last three house notes in mind."""
        receive(note)
        self._notes = [*self._notes, str(note.body["note"])][-3:]
        return len(self._notes)

    @trace_agent_action()
    def follow(self, min_words: int) -> int:
        """How long an article has to be at least."""
        self.min_words = min_words
        return min_words

    @trace_agent_action()
    def draft(self, brief: Message, revision: int, remark: str = "") -> Message:
        """The article so far, sent to the checker."""
        if not revision:
            receive(brief)
        # What does not fit falls off at the front, as in a chat that has become too long.
        prompt = f"write on: {brief.body['topic']}; {remark}; {' '.join(self._notes)}"[-PROMPT_CHARACTERS:]
        asked = [topic for topic in TOPICS if f"write on: {topic};" in prompt]
        topic = asked[0] if asked else self._rng.choice(TOPICS)
        figure, pieces = None, 0
        try:
            found = self._archive.look_up(self.agent_id, topic)
            figure, pieces = found["figure"], found["background"]
            # Models make figures up; told so, they look again.
            if self._rng.random() < 0.2 and remark != "wrong figure":
                figure += self._rng.choice([-90, 60, 110])
        except TimeoutError:
            pass
        words = max(self.min_words, 60 + 50 * pieces + self._rng.randint(0, 40))
        article = {"article": brief.body["article"], "topic": topic, "figure": figure}
        return send("checker", {**article, "words": words, "background": pieces, "revision": revision})


class Newsroom:
    """Everybody, and the editor, who logs by hand."""

    def __init__(self, plan: Plan, articles: int, timeouts: float) -> None:
        self.plan, self.articles = plan, articles
        self.archive = Archive(plan.chance("archive"), timeouts)
        self.checker = Checker(self.archive, plan.chance("checker"))
        names = [plan.name("writer", n) for n in range(plan.size)]
        self.writers = [Writer(name, self.archive, plan.chance(name)) for name in names]
        self.editor, self.wire = AgentLogger("editor", "editor"), AgentLogger("wire", "feed")
        self.metrics = PerformanceLogger()
        self.rng, self.hands = plan.chance("stories"), plan.chance("upkeep")
        self.begun = 0
        for name in [*names, "checker"]:
            self.archive.grant(name, "full")
        self.checker.load_prompt("v3", "Check every figure. Be brief.")

    def round(self, now: int) -> None:
        """Some news, and some articles on them."""
        self.archive._now = now
        printed, corrected = 0, 0
        for _ in range(2):
            topic = self.rng.choice(TOPICS)
            figure = self.archive._figures[topic] + self.rng.randint(5, 80)
            self.wire.log_action("item", {"topic": topic, "figure": figure, "agency": "town press"})
            self.archive.ingest(topic, figure)
        for _ in range(self.articles + self.rng.randint(0, 1)):
            article = self.article(self.writers[self.begun % self.plan.size])
            printed += bool(article)
            if article and article["figure"] != self.archive._figures[article["topic"]]:
                corrected += 1
                what = {"article": article["article"], "printed": article["figure"]}
                self.editor.log_action("correction", what)
        self.metrics.log_metric("printed", printed, "articles")
        self.metrics.log_metric("letters", self.rng.randint(0, 3) + 4 * corrected, "letters")

    def article(self, writer: Writer) -> dict[str, Any] | None:
        """One article from the brief to the print; None where it was given up."""
        self.begun += 1
        body = {"article": f"a_{self.begun:04d}", "topic": self.rng.choice(TOPICS)}
        brief, remark = self.editor.send(writer.agent_id, body), ""
        for revision in range(REVISIONS):
            draft = writer.draft(brief, revision, remark)
            remark = self.checker.check(draft)
            if not remark:
                self.editor.log_content_generation("article", body["article"], draft.body)
                if draft.body["topic"] != body["topic"]:
                    self.editor.warning("not what was asked for", {**body, "got": draft.body["topic"]})
                return dict(draft.body)
        self.editor.log_decision("spike", {**body, "writer": writer.agent_id}, remark)
        return None

    def note(self, writer: Writer, text: str) -> tuple[str, str]:
        """A house note for one writer; gives what the message says and its event."""
        message = self.editor.send(writer.agent_id, {"note": text})
        writer.take_note(message)
        return message.id, message.event_id


def run(plan: Plan, truth: Truth, articles: int = 2, timeouts: float = 0.02) -> None:
    """One session of the newsroom, a tick being an hour."""
    room, system = Newsroom(plan, articles, timeouts), SystemLogger("newsroom")
    system.log_simulation_start("newsroom", {"writers": plan.size, "model": "fake-large"})
    for now in range(plan.ticks):
        with tick(now):
            if now == plan.ticks // 3:
                system.log_config("crossword_size", 13, 15)
            _upkeep(room, now)
            _plant(plan, truth, room, now)
            room.round(now)
    system.log_simulation_end("newsroom", "finished")


def _upkeep(room: Newsroom, now: int) -> None:
    """What an editor sees to in the ordinary course of things."""
    plan, rng = room.plan, room.hands
    writer = room.writers[(now * 3 + 1) % plan.size]
    before = now < plan.at - 3
    touchable = before or plan.fault is None or writer is not room.writers[plan.victim]
    if now % 4 == 1:
        room.note(writer, rng.choice(HOUSE_NOTES) * rng.randint(1, 5))
    if now % 5 == 2 and touchable:
        writer.follow(min_words=rng.randint(150, 300))
    if now % 6 == 3 and touchable:
        room.archive.grant(writer.agent_id, "full")
    if now % 11 == 5 and (before or plan.fault != "stale_cache"):
        room.archive.set_cache(keep_rounds=rng.randint(1, 2))
    if now % 14 == 8 and (before or plan.fault != "prompt_regression"):
        tone = rng.choice(["Be brief.", "Be polite.", "Give a reason.", "Answer in one line."])
        room.checker.load_prompt(f"v{4 + now // 14}", f"Check every figure. {tone}")


def _plant(plan: Plan, truth: Truth, room: Newsroom, now: int) -> None:
    victim = room.writers[plan.victim]
    if plan.fault == "tool_outage":
        room.archive._reachable = not plan.at <= now < plan.at + 11
        if now == plan.at:
            truth.seek("archive", "look_up", now, first=2)
    if plan.begins("context_overflow", now):
        text = "From the minutes of the meeting on style: " + "".join(HOUSE_NOTES) * plan.rng.randint(9, 12)
        said, event = room.note(victim, text)
        truth.note(event)
        truth.seek_event(victim.agent_id, "agent_message", now, contains=said)
        truth.seek(victim.agent_id, "take_note", now, contains="minutes of the meeting")
    if plan.begins("stuck_loop", now):
        words = plan.rng.choice([700, 800, 900])
        victim.follow(min_words=words)
        truth.seek(victim.agent_id, "follow", now, contains=f'"min_words": {words}')
    if plan.begins("stale_cache", now):
        rounds = plan.rng.choice([200, 500])
        room.archive.set_cache(keep_rounds=rounds)
        truth.seek("archive", "set_cache", now, contains=f'"keep_rounds": {rounds}')
    if plan.begins("lost_permission", now):
        room.archive.grant(victim.agent_id, "teaser")
        truth.seek("archive", "grant", now, contains='"scope": "teaser"')
    if plan.begins("prompt_regression", now):
        room.checker.load_prompt("v11", "Be kind to the writers. When in doubt, let it pass.")
        truth.seek("checker", "load_prompt", now, contains="let it pass")


WORLD = World(
    name="newsroom",
    run=run,
    prefix="writer",
    sizes=(4, 7),
    ticks=(60, 90),
    complaints={
        "tool_outage": "for some hours hardly anything was printed, around tick {when} nearly every article was dropped",
        "context_overflow": "{victim} writes about all sorts of things but not about what the editor asked for",
        "stuck_loop": "articles of {victim} come back from the fact checker every time and never get printed",
        "stale_cache": "we print old figures, there have to be more and more corrections",
        "lost_permission": "the articles of {victim} have become thin, there is no background in them any more",
        "prompt_regression": "since about tick {when} wrong numbers get into print again and again, it was far better before",
    },
)
CALM = World(
    name="newsroom_election",
    run=partial(run, articles=3, timeouts=0.05),
    prefix="writer",
    sizes=(3, 8),
    ticks=(40, 80),
    complaints={
        "suspects_agent": "does {victim} work more slowly than the others? I think something holds it up",
        "suspects_archive": "the archive seems to be unreliable since about tick {when}",
        "suspects_checker": "I have the feeling that the fact checker sends back good articles",
    },
)
