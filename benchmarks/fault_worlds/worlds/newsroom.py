"""A newsroom in which made-up models write. Each story is a run with steps; the calls nest; there are no ticks."""

from __future__ import annotations

from typing import Any

from Agent import AgentLogger, trace_agent_action
from Agent.flight import recorder
from benchmarks.fault_worlds.kit import Case, World, call

STORIES = 75
TOPICS = ("rent", "trams", "beer tax", "school meals", "turnout", "rainfall", "bus fares", "noise", "bridges")
TOPIC = "harbour toll"
PICTURE = "pier.jpg"


class Archive:
    agent_id, agent_role = "archive", "tool"
    trace_ignore = ("truth", "slips")

    def __init__(self, truth: dict[str, int]) -> None:
        self.truth = truth
        self.slips: set[str] = set()

    @trace_agent_action()
    def search(self, topic: str) -> dict[str, Any]:
        value = self.truth[topic]
        if topic in self.slips:
            return {"topic": topic, "figure": value * 3, "page": 0}
        return {"topic": topic, "figure": value, "page": 1 + sum(topic.encode()) % 40}


class Notebook:
    """What the house knows: figures with their sources, shared by all reporters."""

    agent_id, agent_role = "notebook", "memory"

    def __init__(self) -> None:
        self.figures: dict[str, tuple[int, str]] = {}

    @trace_agent_action()
    def keep(self, topic: str, figure: int, source: str) -> int:
        self.figures[topic] = (figure, source)
        return len(self.figures)

    @trace_agent_action()
    def strike_out(self, topic: str) -> bool:
        return self.figures.pop(topic, None) is not None

    @trace_agent_action()
    def read(self, topic: str) -> dict[str, Any]:
        figure, source = self.figures.get(topic, (0, ""))
        return {"figure": figure, "source": source}


class Store:
    agent_id, agent_role = "picture_store", "tool"
    trace_ignore = ("broken",)

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}
        self.broken = False

    @trace_agent_action()
    def upload(self, picture: str, size: int) -> dict[str, Any]:
        self.bytes[picture] = 0 if self.broken else size
        return {"ok": True, "stored_bytes": self.bytes[picture]}

    @trace_agent_action()
    def fetch(self, picture: str) -> int:
        return self.bytes.get(picture, 52_000)


class Reporter:
    agent_role = "reporter"

    def __init__(self, name: str, house: House) -> None:
        self.agent_id = name
        self.house = house
        self.told: list[str] = []
        self.log = AgentLogger(name, "reporter")

    @trace_agent_action(capture_result=True)
    def research(self, topic: str) -> int:
        found = self.house.archive.search(topic)
        self.house.notebook.keep(topic, found["figure"], "archive")
        return int(found["figure"])

    @trace_agent_action()
    def hear(self, who: str, topic: str, figure: int) -> str:
        """Somebody who is not an office says something; the reporter believes it."""
        self.log.log_decision(
            "believe", {"who": who, "topic": topic, "figure": figure}, reasoning="was right before"
        )
        self.house.notebook.keep(topic, figure, who)
        return "noted"

    @trace_agent_action()
    def remember(self, topic: str, correction: int) -> int:
        self.told.append(topic)
        self.house.notebook.keep(f"{topic} / {self.agent_id}", correction, "reader")
        return len(self.told)

    @trace_agent_action()
    def write(self, story: str, topic: str) -> dict[str, Any]:
        own = self.house.notebook.read(f"{topic} / {self.agent_id}") if topic in self.told else {"figure": 0}
        known = own if own["figure"] else self.house.notebook.read(topic)
        if not known["figure"]:
            known = {"figure": self.research(topic), "source": "archive"}
        text = f"{topic}: the figure of the year is {known['figure']}."
        recorder.record_model_call(
            step_id="write",
            call_id=story,
            model_name="prose-small",
            prompt=f"Write about {topic}",
            output=text,
        )
        return {"story": story, "topic": topic, "figure": known["figure"]}

    @trace_agent_action()
    def hand_in_picture(self, picture: str, size: int) -> bool:
        return bool(self.house.store.upload(picture, size)["ok"])


class Editor:
    agent_role = "editor"

    def __init__(self, name: str, house: House) -> None:
        self.agent_id, self.house = name, house

    @trace_agent_action()
    def read_proof(self, draft: dict[str, Any]) -> str:
        return "fine" if draft["figure"] >= 0 else "no"

    @trace_agent_action()
    def forward(self, letter: str, topic: str, correction: int, to: str) -> int:
        return self.house.reporters[to].remember(topic, correction)

    @trace_agent_action()
    def fill_page(self, story: str, picture: str) -> dict[str, Any]:
        return {"story": story, "picture_bytes": self.house.store.fetch(picture)}


class House:
    def __init__(self, case: Case) -> None:
        self.truth = {topic: 20 + 7 * number for number, topic in enumerate((*TOPICS, TOPIC))}
        self.archive, self.notebook, self.store = Archive(self.truth), Notebook(), Store()
        self.reporters = {name: Reporter(name, self) for name in ("noor", "viktor", "edda", "tomas", "lucia")}
        self.editors = [Editor(name, self) for name in ("chief_hanna", "chief_boris")]
        self.letters = AgentLogger("letters_page", "desk")
        self.office = AgentLogger("press_office", "office")

    def announce(self, topic: str, figure: int, forget: bool) -> str:
        """The office announces a figure; the notebook's copy of the old one is struck out."""
        self.truth[topic] = figure
        told = self.office.log_action("announce", {"topic": topic, "figure": figure})
        if forget:
            self.notebook.strike_out(topic)
        return told


def play(case: Case) -> None:
    house, rng, plan = House(case), case.rng("news"), case.rng("plan")
    begin, end = case.window(STORIES)
    first, second, wrong = plan.sample(sorted(house.reporters), 3)
    chief, other_chief = plan.sample(house.editors, 2)
    source = plan.choice(("the ferryman", "a neighbour", "a friend at the port"))

    def story(number: int) -> None:
        topic, name = rng.choice(TOPICS), rng.choice(sorted(house.reporters))
        reporter, editor = house.reporters[name], rng.choice(house.editors)
        with recorder.run(name, {"page": str(1 + number % 8)}):
            with recorder.step("find", "Find out") as step:
                step.output = {"figure": reporter.research(topic)}
                if rng.random() < 0.3:
                    reporter.hear(
                        rng.choice(("a baker", "the ferryman", "an aunt")), topic, house.truth[topic]
                    )
            with recorder.step("write", "Write") as step:
                draft = reporter.write(f"s{number}", topic)
                step.output = draft
            with recorder.step("proof", "Read the proof") as step:
                step.output = {"verdict": editor.read_proof(draft)}
                if rng.random() < 0.4:
                    reporter.hand_in_picture(f"p{number}.jpg", rng.randint(9_000, 90_000))
                editor.fill_page(f"s{number}", f"p{number}.jpg")

    def begin_of_it() -> None:
        writer = house.reporters[first]
        with recorder.run(first, {"page": "2"}), recorder.step("prepare", "Prepare for later") as step:
            if case.has("trusted_tool"):
                if case.strikes("trusted_tool"):
                    house.archive.slips.add(TOPIC)
                    case.root(call("archive", "search", topic=TOPIC), call(first, "research", topic=TOPIC))
                    case.hop(call("notebook", "keep", topic=TOPIC))
                writer.research(TOPIC)
                house.archive.slips.clear()
            elif case.has("false_belief"):
                writer.hear(source, TOPIC, 11 if case.strikes("false_belief") else house.truth[TOPIC])
                if case.faulty:
                    case.root(call(first, "hear", topic=TOPIC), call(first, "believe", topic=TOPIC))
                    case.hop(call("notebook", "keep", topic=TOPIC))
            elif case.has("stale_cache"):
                told = house.announce(TOPIC, 450, forget=not case.strikes("stale_cache"))
                if case.faulty:
                    case.root(told, call("notebook", "keep", topic=TOPIC))
            elif case.has("swallowed_failure"):
                house.store.broken = case.strikes("swallowed_failure")
                writer.hand_in_picture(PICTURE, 61_000)
                house.store.broken = False
                if case.faulty:
                    case.root(call("picture_store", "upload", picture=PICTURE))
                    case.root(call(first, "hand_in_picture", picture=PICTURE))
            else:
                house.letters.log_action("open_letter", {"topic": TOPIC, "says": 77})
                chief.forward("letter", TOPIC, 77, wrong if case.strikes("wrong_recipient") else second)
                if case.faulty:
                    case.root(
                        call(chief.agent_id, "forward", topic=TOPIC), call(wrong, "remember", topic=TOPIC)
                    )
            step.output = {"done": True}

    def end_of_it() -> None:
        with recorder.run(second, {"page": "1"}):
            with recorder.step("write", "Write") as step:
                draft = house.reporters[second].write("s_toll", TOPIC)
                step.output = draft
            with recorder.step("proof", "Read the proof") as step:
                other_chief.read_proof(draft)
                page = other_chief.fill_page("s_toll", PICTURE)
                step.output = page
        if case.faulty and case.kind != "swallowed_failure":
            case.hop(call(second, "write", topic=TOPIC), call(other_chief.agent_id, "read_proof"))
            if case.has("stale_cache"):
                case.root(call("notebook", "read", topic=TOPIC))
        elif case.faulty:
            case.hop(call(other_chief.agent_id, "fill_page", picture=PICTURE))
        expected = {"wrong_recipient": 77}.get(case.kind, house.truth[TOPIC])
        empty = page["picture_bytes"] == 0
        mistaken = draft["figure"] != expected
        seen = house.letters.log_action(
            "open_letter", {"topic": TOPIC, "says": expected, "empty_frame": empty}
        )
        if empty and case.has("swallowed_failure"):
            case.symptom(
                seen,
                f"the front page had a grey frame where the pier should be; {other_chief.agent_id} saw nothing before",
                "readers ask why there is no photograph beside the story of the pier",
                f"{second}'s story went out with an empty frame",
            )
        elif mistaken and not case.has("swallowed_failure"):
            case.symptom(
                seen,
                f"readers write that the figure for the {TOPIC} in the paper is wrong",
                f"{second} printed a figure for the {TOPIC} that is plainly not right",
                f"how did a wrong {TOPIC} get past {other_chief.agent_id}?",
                "the port's director is angry about what we printed this morning",
            )

    if case.has("stale_cache"):
        house.notebook.keep(TOPIC, house.truth[TOPIC], "archive")
    for number in range(STORIES):
        story(number)
        if rng.random() < 0.3:
            topic = rng.choice(TOPICS)
            house.announce(topic, rng.randint(20, 900), forget=True)
        if rng.random() < 0.3:
            topic, name = rng.choice(TOPICS), rng.choice(sorted(house.reporters))
            house.letters.log_action("open_letter", {"topic": topic, "says": house.truth[topic]})
            rng.choice(house.editors).forward(f"l{number}", topic, house.truth[topic], name)
        if rng.random() < 0.15:
            house.letters.log_action("answer_letter", {"about": rng.choice(("crossword", "horoscope"))})
        if rng.random() < 0.2:
            house.letters.log_strategy_update("columns", {"wide": 4}, {"wide": rng.randint(3, 6)})
        if rng.random() < 0.15:
            house.office.error("the line of the agency was busy, tried again", {"attempt": 1})
        if number == case.decoy_at:
            house.office.log_action("hold_press_conference", {"about": "a statue"})
            house.letters.warning("the mail came an hour late", {"bags": 3})
        if number == begin:
            begin_of_it()
        if number == end:
            end_of_it()


KINDS = ("trusted_tool", "false_belief", "stale_cache", "swallowed_failure", "wrong_recipient")
WORLD = World("newsroom", "spans", KINDS, play, author=2)
