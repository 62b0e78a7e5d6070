"""A crew of research agents writes survey articles: a run for each article, a step for each section, coroutines inside."""

from __future__ import annotations

import asyncio
import contextvars
from random import Random
from typing import Any

from Agent import AgentLogger, trace_agent_action
from Agent.flight import record_tool, recorder
from benchmarks.fault_worlds.kit import Case, World, call

READERS = ("reader_ines", "reader_tomas", "reader_wei", "reader_fatou")
WRITERS = ("writer_odile", "writer_bram", "writer_sunniva")
REFEREES = ("referee_kaplan", "referee_osei", "referee_lindgren")
TOPICS = (
    "sleep and memory",
    "urban trees",
    "tidal power",
    "bilingual children",
    "soil fungi",
    "night shifts",
)
SURNAMES = (
    "Okafor",
    "Meyer",
    "Sato",
    "Haddad",
    "Novak",
    "Silva",
    "Brandt",
    "Iyer",
    "Moreau",
    "Quist",
    "Tran",
)
FILES = ("outline", "bibliography")
COST = 3  # credits of a search


@record_tool
async def fetch_pdf(paper: str) -> int:
    """Fetch a paper; return how many pages it has."""
    await asyncio.sleep(0)
    return 3 + len(paper)


@record_tool(name="spell_check")
async def check_spelling(section: int) -> int:
    """Count misspelt words."""
    return section % 3


class Member:
    """A member of the crew, or a service that it uses."""

    trace_ignore = ("crew", "log", "freed")

    def __init__(self, agent_id: str, role: str, crew: Crew) -> None:
        self.agent_id, self.agent_role, self.crew = agent_id, role, crew
        self.log = AgentLogger(agent_id, role)


class Service(Member):
    """The index of papers, the desk that counts credits, the tool that reads tables, and the store of notes."""

    @trace_agent_action()
    async def spend(self, amount: int, purpose: str) -> bool:
        """Take credits from the month's budget."""
        if amount > self.crew.credits:
            return False
        self.crew.credits -= amount
        return True

    @trace_agent_action()
    async def search(self, query: str, attempt: int) -> str:
        """Search once; some archives do not answer."""
        await self.crew.desk.spend(COST, query)
        return f"{len(query)} hits" if attempt >= self.crew.answers_at[query] else "timeout"

    @trace_agent_action()
    async def read_table(self, paper: str, table: int) -> int | None:
        """Read out of a table in a scanned paper how many people took part."""
        crew = self.crew
        return None if paper in crew.unreadable else crew.misread.get(paper, crew.people[paper])

    @trace_agent_action()
    async def keep(self, paper: str, people: int) -> None:
        """Keep a note."""
        self.crew.noted[paper] = people

    @trace_agent_action()
    async def recall(self, paper: str) -> int:
        """Look a note up."""
        return self.crew.noted[paper]


class Files(Member):
    """Lends the files of a joint volume to one writer at a time."""

    def __init__(self, agent_id: str, role: str, crew: Crew) -> None:
        super().__init__(agent_id, role, crew)
        self.holders: dict[str, str] = {}
        self.freed: dict[str, asyncio.Event] = {}

    @trace_agent_action()
    async def lend_file(self, file: str, writer: str, volume: str) -> bool:
        """Lend a file, unless somebody has it."""
        if self.holders.get(f"{volume}/{file}"):
            return False
        self.holders[f"{volume}/{file}"] = writer
        self.freed[f"{volume}/{file}"] = asyncio.Event()
        return True

    @trace_agent_action()
    async def return_file(self, file: str, writer: str, volume: str) -> None:
        """Take a file back."""
        self.holders.pop(f"{volume}/{file}")
        self.freed[f"{volume}/{file}"].set()


class Reader(Member):
    """Finds and reads papers."""

    @trace_agent_action()
    async def find(self, query: str, patience: int) -> str:
        """Search until there is an answer or no patience is left."""
        for attempt in range(1, patience + 1):
            if await self.crew.index.search(query, attempt) != "timeout":
                return "found"
            await asyncio.sleep(0)
        return "put off"

    @trace_agent_action()
    async def read(self, paper: str) -> str:
        """Read a paper, and note how many people took part; ask a model where the table is a blur."""
        crew = self.crew
        pages = await fetch_pdf(paper)
        people = await crew.tables.read_table(paper, 1 + len(paper) % 4)
        if people is None and paper not in crew.skimmed:
            people = await self.ask_model(paper)
        await crew.notes.keep(paper, pages if people is None else people)
        return "read and noted"

    @trace_agent_action()
    async def ask_model(self, paper: str) -> int:
        """Let a model find the number in the running text."""
        people = self.crew.people[paper]
        recorder.record_model_call(model_name="reader-9b", prompt=f"{paper}: how many?", output=str(people))
        return people


class Writer(Member):
    """Writes sections, and chapters of joint volumes."""

    @trace_agent_action()
    async def draft(self, section: int, paper: str) -> str:
        """Write about a paper from the notes."""
        people = await self.crew.notes.recall(paper)
        text = f"{paper} followed {people} people"
        recorder.record_model_call(model_name="writer-70b", prompt=f"section {section}: {paper}", output=text)
        await check_spelling(section)
        return text

    @trace_agent_action()
    async def write_chapter(self, volume: str, order: tuple[str, ...]) -> str:
        """Write a chapter with both files of a volume in hand."""
        files = self.crew.files
        for file in order:
            while not await files.lend_file(file, self.agent_id, volume):
                await files.freed[f"{volume}/{file}"].wait()
                if self.crew.is_over:
                    return "given up"
            await pause(4)
        for file in order:
            await files.return_file(file, self.agent_id, volume)
        self.crew.chapters.setdefault(volume, set()).add(self.agent_id)
        return "written"


class Office(Member):
    """Those who plan, compare, translate, collect and print."""

    @trace_agent_action()
    async def outline(self, article: int, topic: str) -> None:
        """Plan the sections of an article."""

    @trace_agent_action()
    async def commission(self, job: str, size: int) -> None:
        """Order a translation."""

    @trace_agent_action()
    async def compare(self, section: int, paper: str, text: str) -> str:
        """Compare a sentence with its source."""
        return "agrees" if text.endswith(f" {self.crew.people[paper]} people") else "differs from the source"

    @trace_agent_action()
    async def translate(self, job: str, size: int) -> str:
        """Translate, as far as credits allow."""
        return "translated" if await self.crew.desk.spend(size, job) else "left as it is"

    @trace_agent_action()
    async def collect(self, volume: str, writers: list[str]) -> int:
        """Collect the chapters of a volume."""
        return len(self.crew.chapters.get(volume, set()) & set(writers))

    @trace_agent_action()
    async def print_volume(self, volume: str, chapters: int, expected: int) -> str:
        """Print what was collected."""
        return "printed" if chapters == expected else "stopped: pages missing"


async def pause(turns: int) -> None:
    """Let others go on."""
    for _ in range(turns):
        await asyncio.sleep(0)


TEXTS = {
    "number": (
        "Your survey says {said} people took part in {paper}. It was {true}",
        "{referee} found that the sample size of {paper} is nonsense in our article",
        "why is the number for {paper} ({said}) so far off? {referee} sent the section back",
        "{said} participants in {paper}? I have the original here, please explain",
    ),
    "credits": (
        "{translator} left an article untranslated although the money for it had been set aside",
        "{job} stopped, no budget left. Who has used it up?",
        "Why is {job} still in the original language? {translator} said the account would not give {size}",
        "we were sure there were {size} credits left this month and there are not",
    ),
    "volume": (
        "{volume} went to the press without its chapters",
        "Neither author of {volume} has handed anything in and both say they are at it",
        "the press had to stop because {volume} has no pages from {one}",
        "What keeps {volume}? It was started long ago and other volumes were done in no time",
    ),
}


class Crew:
    """Everybody, what they share, and what is special about the case."""

    def __init__(self, case: Case, sections: int) -> None:
        self.case, self.now, self.is_over, rng = case, 0, False, case.rng("crew")
        self.people: dict[str, int] = {}
        self.noted: dict[str, int] = {}
        self.misread: dict[str, int] = {}
        self.unreadable: set[str] = set()
        self.answers_at: dict[str, int] = {}
        self.skimmed: set[str] = set()
        self.chapters: dict[str, set[str]] = {}
        self.to_draft: list[tuple[int, str]] = []
        self.to_collect: list[tuple[int, str, list[str]]] = []
        self.tasks: list[asyncio.Task[str]] = []
        self.desk, self.index = Service("credit_desk", "desk", self), Service("paper_index", "tool", self)
        self.tables, self.notes = Service("table_tool", "tool", self), Service("note_store", "store", self)
        self.files, self.press = Files("file_desk", "desk", self), Office("press", "press", self)
        self.planner, self.editor = Office("planner", "planner", self), Office("editor_amara", "editor", self)
        self.translator = Office("translator_goran", "translator", self)
        self.readers = {name: Reader(name, "reader", self) for name in READERS}
        self.writers = {name: Writer(name, "writer", self) for name in WRITERS}
        self.referees = {name: Office(name, "referee", self) for name in REFEREES}
        self.one, self.other = rng.sample(WRITERS, 2)
        self.hasty, self.topic = rng.choice(READERS), rng.choice(TOPICS)
        self.credits = self.allowance = 45 * sections + 100
        self.context = contextvars.copy_context()
        self.paper, self.longest, self.rooted = "", max(6, sections * 6 // 10), 0

    def new_paper(self, rng: Random, *, is_blurred: bool) -> str:
        """Let a paper be found."""
        paper = f"{rng.choice(SURNAMES)} {rng.randint(1991, 2024)}{'abcdefgh'[len(self.people) % 8]}"
        while paper in self.people:
            paper += "*"
        self.people[paper] = rng.choice((rng.randint(18, 90), rng.randint(100, 900), rng.randint(1000, 9000)))
        if is_blurred:
            self.unreadable.add(paper)
        return paper

    async def section(self) -> None:
        """Do what belongs to a section, side by side where it can be."""
        case, now = self.case, self.now
        rng = case.rng(f"section/{now}")
        self.chores(rng)
        await asyncio.gather(self.searching(rng), self.reading(case.rng(f"reading/{now}")))
        await self.drafting(case.rng(f"drafting/{now}"))
        await self.translations(case.rng(f"translations/{now}"))
        await self.volumes(case.rng(f"volumes/{now}"))

    async def searching(self, rng: Random) -> None:
        """Search, and try again where an archive does not answer."""
        case, now = self.case, self.now
        asked = [(rng.choice(READERS), rng.choice((1, 1, 1, 2, 99))) for _ in range(rng.randint(1, 3))]
        is_down = case.has("retry_storm") and case.begin <= now < case.end
        asked += [(self.hasty, 99)] if is_down else []
        for number, (name, answers_at) in enumerate(asked):
            query = f"{rng.choice(TOPICS)} {now}.{number}"
            self.answers_at[query] = answers_at
            stubborn = rng.randint(7, 9)
            patience = stubborn if answers_at == 1 and stubborn == 7 else 2  # harmless where all answer
            if is_down and number == len(asked) - 1 and case.strikes("retry_storm"):
                patience, self.rooted = stubborn, self.rooted + 1
                if self.rooted <= 3:
                    case.root(call(name, "find", query=query))
                    case.root(call("paper_index", "search", query=query, attempt=3))
            await self.readers[name].find(query, patience)
            self.allowance -= COST * min(2, answers_at)

    async def reading(self, rng: Random) -> None:
        """Read papers, which are written about soon or later."""
        case, now = self.case, self.now
        jobs = []
        for _ in range(rng.randint(1, 3)):
            paper = self.new_paper(rng, is_blurred=rng.random() < 0.3)
            ahead = rng.randint(0, 4) if rng.random() < 0.85 else rng.randint(5, self.longest)
            self.to_draft.append((now + ahead, paper))
            jobs.append((rng.choice(READERS), paper))
        if now == case.begin and (case.has("trusted_tool") or case.has("swallowed_failure")):
            self.paper = self.new_paper(rng, is_blurred=case.has("swallowed_failure"))
            self.to_draft.append((case.end, self.paper))
            jobs.append((self.hasty, self.paper))
            if case.strikes("trusted_tool", now):
                self.misread[self.paper] = self.people[self.paper] * 10 + 7
            if case.strikes("swallowed_failure", now):
                self.skimmed.add(self.paper)
                case.root(call(self.hasty, "read", paper=self.paper))
            case.root(call("table_tool", "read_table", paper=self.paper))
        await asyncio.gather(*(self.readers[name].read(paper) for name, paper in jobs))

    async def drafting(self, rng: Random) -> None:
        """Write about papers whose turn it is, and let referees compare."""
        for _, paper in [item for item in self.to_draft if item[0] == self.now]:
            name, referee, writer = f"{self.now}", rng.choice(REFEREES), rng.choice(WRITERS)
            text = await self.writers[writer].draft(int(name), paper)
            if rng.random() > 0.7 and paper != self.paper:
                continue
            if await self.referees[referee].compare(self.now, paper, text) != "agrees":
                self.case.hop(call("note_store", "recall", paper=paper), call(writer, "draft", paper=paper))
                words = {
                    "paper": paper,
                    "said": self.noted[paper],
                    "true": self.people[paper],
                    "referee": referee,
                }
                self.tell(call(referee, "compare", paper=paper, section=self.now), "number", **words)

    async def translations(self, rng: Random) -> None:
        """Translate small things, and once all that the budget should still allow."""
        case, job = self.case, f"translation {self.now}"
        is_big = case.has("retry_storm") and self.now == case.end
        if not is_big and rng.random() > 0.3:
            return
        size = self.allowance - 2 if is_big else rng.randint(4, 20)
        await self.planner.commission(job, size)
        if is_big:
            case.trigger(call("planner", "commission", job=job))
        self.allowance -= size if not is_big else 0
        if await self.translator.translate(job, size) != "translated":
            case.hop(call("credit_desk", "spend", purpose=job))
            name = "translator_goran"
            self.tell(call(name, "translate", job=job), "credits", job=job, size=size, translator=name)
        if is_big:  # a new month begins
            self.credits = self.allowance
            self.desk.log.log_action("new_month", {"credits": self.credits})

    async def volumes(self, rng: Random) -> None:
        """Begin joint volumes in the background, and collect others."""
        case, now = self.case, self.now
        pairs, straight, back = [], FILES, FILES[::-1]
        if rng.random() < 0.3:
            writers, order = rng.sample(WRITERS, rng.choice((1, 2))), rng.choice((straight, back))
            ahead = rng.randint(1, 6) if rng.random() < 0.85 else rng.randint(7, self.longest)
            pairs.append((f"vol. {now}a", writers, [order, order], now + ahead))
        if case.has("deadlock") and now == case.begin:
            volume, crossed = f"vol. {now}b", case.strikes("deadlock", now)
            orders = [straight, back if crossed else straight]
            pairs.append((volume, [self.one, self.other], orders, case.end))
            case.root(call("file_desk", "lend_file", file=back[0], writer=self.other, volume=volume))
            case.root(call("file_desk", "lend_file", file=straight[0], writer=self.one, volume=volume))
            case.root(call(self.other, "write_chapter", volume=volume))
        for volume, writers, orders, due in pairs:
            for name, order in zip(writers, orders, strict=False):
                task = self.writers[name].write_chapter(volume, order)
                self.tasks.append(asyncio.create_task(task, context=self.context.copy()))
            self.to_collect.append((due, volume, writers))
        await pause(40)
        for _, volume, writers in [item for item in self.to_collect if item[0] == now]:
            chapters = await self.editor.collect(volume, writers)
            if await self.press.print_volume(volume, chapters, len(writers)) != "printed":
                case.hop(call("editor_amara", "collect", volume=volume))
                self.tell(call("press", "print_volume", volume=volume), "volume", volume=volume, one=self.one)

    def tell(self, event: Any, matter: str, **words: object) -> None:
        """Let a user write about an event."""
        self.case.symptom(event, *(text.format(topic=self.topic, **words) for text in TEXTS[matter]))

    def chores(self, rng: Random) -> None:
        """Settings, hiccups and a coincidence."""
        member: Member = rng.choice([*self.readers.values(), *self.writers.values()])
        if rng.random() < 0.2:
            member.log.log_action("set_display", {"font_size": rng.randint(9, 14)})
        if rng.random() < 0.12:
            member.log.warning(
                "citation style unknown, took the usual one", extra={"style": rng.randint(1, 9)}
            )
        if rng.random() < 0.07:
            member.log.error(
                "context too long, shortened and sent again", extra={"tokens": rng.randint(9, 30) * 1000}
            )
        if rng.random() < 0.3:
            member.log.log_action(
                rng.choice(("tidy_notes", "number_figures", "greet")), {"minutes": rng.randint(1, 9)}
            )
        if self.now == self.case.decoy_at:
            member.log.warning("clock of the laptop was a minute off", extra={"seconds": rng.randint(50, 70)})


async def write_all(case: Case) -> None:
    """Write all articles."""
    sections = case.rng("sections").choice((32, 56, 84, 120))
    case.window(sections)
    with recorder.run("survey crew"):
        crew = Crew(case, sections)
        for article in range(sections // 4):
            rng = case.rng(f"article/{article}")
            with recorder.run(f"article {article}", labels={"topic": rng.choice(TOPICS)}):
                await crew.planner.outline(article, rng.choice(TOPICS))
                for part in range(4):
                    crew.now = 4 * article + part
                    with recorder.step(f"section {crew.now}", "A section"):
                        await crew.section()
        crew.is_over = True
        for event in crew.files.freed.values():
            event.set()
        await asyncio.gather(*crew.tasks)


def play(case: Case) -> None:
    """Play a month of the crew."""
    asyncio.run(write_all(case))


WORLD = World(
    "surveyarticles",
    "spans",
    ("retry_storm", "deadlock", "trusted_tool", "swallowed_failure"),
    play,
    author=21,
)
