"""A team of agents that triages bug reports shift by shift. Coroutines in runs with steps, model and tool calls; no ticks."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from Agent import AgentLogger, trace_agent_action
from Agent.flight import recorder
from benchmarks.fault_worlds.kit import Case, World, call

MODULES = {
    "owner_ui": ("ui/menu", "ui/fonts", "ui/print"),
    "owner_net": ("net/cache", "net/proxy", "net/dns"),
    "owner_db": ("db/index", "db/vacuum", "db/locks"),
}
OWNER = {module: team for team, modules in MODULES.items() for module in modules}
BRANCHES = ("lts-4", "lts-5", "edge", "kiosk")  # nobody runs the last one any more
CLIENTS = ("Ortwin Bank", "Clinic Sarre", "Tramways", "Helder Labs")


class Worker:
    """An agent of the team or one of its tools, by its name."""

    trace_ignore = ("_red",)

    def __init__(self, name: str, role: str) -> None:
        self.agent_id, self.agent_role = name, role


class Reader(Worker):
    """Reads a report with a language model."""

    @trace_agent_action("read_report")
    async def read(self, bug: str, module: str, words: int) -> str:
        await asyncio.sleep(0)
        with recorder.step(f"read-{bug}", "Sum up a report") as step:
            text = f"{bug}: fault in {module}, {words} words"
            recorder.record_model_call(
                model_name="reader-small", prompt=f"Sum up {bug}", output=text, prompt_tokens=words
            )
            step.output = {"module": module}
        return text


class BlameTool(Worker):
    """Tells from the history of the code who owns a module."""

    @trace_agent_action("owner_of")
    async def owner_of(self, module: str, query: str, depth: int) -> str:
        """Ask with a depth of history; the last person who moved files is no owner."""
        await asyncio.sleep(0)
        return OWNER.get(module, "owner_db") if depth > 1 else "owner_ui"


class Assigner(Worker):
    """Keeps a table of routes, asks the tool for what it does not know."""

    def __init__(self, name: str, role: str, blame: BlameTool) -> None:
        super().__init__(name, role)
        self._blame = blame
        self._routes = dict(OWNER)

    @trace_agent_action("refresh_route")
    async def refresh_route(self, module: str, query: str, depth: int) -> str:
        self._routes[module] = await self._blame.owner_of(module, query, depth)
        return self._routes[module]

    @trace_agent_action("assign")
    async def assign(self, bug: str, module: str) -> str:
        await asyncio.sleep(0)
        return self._routes[module]


class Owner(Worker):
    """A team that mends what belongs to it."""

    @trace_agent_action("take_up")
    async def take_up(self, bug: str, module: str) -> str:
        await asyncio.sleep(0)
        return "fix planned" if module in MODULES[self.agent_id] else "put at the end of the list"

    @trace_agent_action("ship")
    async def ship(self, bug: str) -> str:
        await asyncio.sleep(0)
        return f"release with {bug}"

    @trace_agent_action("apply_by_hand")
    async def apply_by_hand(self, fix: str, branch: str) -> str:
        return "applied"


class Search(Worker):
    """Finds reports that look alike."""

    @trace_agent_action("similar")
    async def similar(self, bug: str, among: list[str]) -> list[str]:
        await asyncio.sleep(0)
        return among


class Dedup(Worker):
    """Closes a report in favour of another one."""

    def __init__(self, name: str, role: str, search: Search) -> None:
        super().__init__(name, role)
        self._search = search
        self._copies: dict[str, list[str]] = {}

    @trace_agent_action("fold")
    async def fold(self, bug: str, among: list[str], place: int) -> str:
        """Fold a report into one of those that look like it."""
        found = await self._search.similar(bug, among)
        self._copies.setdefault(found[place], []).append(bug)
        return found[place]

    @trace_agent_action("copies_of")
    async def copies_of(self, bug: str) -> list[str]:
        return self._copies.get(bug, [])


class Git(Worker):
    """Picks a change into a branch."""

    def __init__(self, name: str, role: str) -> None:
        super().__init__(name, role)
        self._inside: set[tuple[str, str]] = set()

    @trace_agent_action("cherry_pick")
    async def cherry_pick(self, fix: str, branch: str, files: int, moved: int) -> dict[str, int]:
        await asyncio.sleep(0)
        if not moved:
            self._inside.add((fix, branch))
        return {"applied": 0 if moved else files, "left": moved}

    @trace_agent_action("contains")
    async def contains(self, branch: str, fix: str) -> bool:
        return (fix, branch) in self._inside

    def note(self, fix: str, branch: str) -> None:
        self._inside.add((fix, branch))


class PatchBot(Worker):
    """Brings fixes into old branches."""

    def __init__(self, name: str, role: str, git: Git) -> None:
        super().__init__(name, role)
        self._git = git

    @trace_agent_action("backport")
    async def backport(self, fix: str, branch: str, files: int, moved: int, quiet: bool) -> str:
        picked = await self._git.cherry_pick(fix, branch, files, moved)
        return "in branch" if quiet or not picked["left"] else "needs a person"


class Farm(Worker):
    """A farm of test devices, with minutes for the whole quarter."""

    def __init__(self, name: str, role: str, minutes: int) -> None:
        super().__init__(name, role)
        self.minutes = minutes
        self._red: set[str] = set()

    def break_job(self, job: str) -> None:
        self._red.add(job)

    @trace_agent_action("run_job")
    async def run_job(self, job: str, attempt: int, needs: int) -> str:
        await asyncio.sleep(0)
        if self.minutes < needs:
            return "no minutes left"
        self.minutes -= needs
        return "red" if job in self._red else "green"


class Reproducer(Worker):
    """Lets reports be reproduced on the farm, again and again if it was told so."""

    def __init__(self, name: str, role: str, farm: Farm) -> None:
        super().__init__(name, role)
        self._farm = farm
        self._limits: dict[str, int] = {}
        self._tries: dict[str, int] = {}

    @trace_agent_action("schedule")
    async def schedule(self, job: str, limit: int) -> int:
        """Plan a job; 0 means until it is green."""
        self._limits[job], self._tries[job] = limit, 0
        return len(self._limits)

    @trace_agent_action("work_off")
    async def work_off(self, job: str, slots: int) -> str:
        """Use the slots of this shift while the job is red and may be tried."""
        last = "red"
        for _ in range(slots):
            if last == "red" and (not self._limits[job] or self._tries[job] < self._limits[job]):
                self._tries[job] += 1
                last = await self._farm.run_job(job, self._tries[job], 1)
        return last

    def tries(self, job: str) -> int:
        return self._tries.get(job, 0)


class Bisector(Worker):
    """Looks for the change that broke something; it takes long."""

    def __init__(self, name: str, role: str, farm: Farm) -> None:
        super().__init__(name, role)
        self._farm = farm

    @trace_agent_action("bisect")
    async def bisect(self, bug: str, minutes: int) -> str:
        return await self._farm.run_job(f"bisect {bug}", 1, minutes)


class Relations(Worker):
    """Writes to clients, and reads what they answer."""

    @trace_agent_action("write_to")
    async def write_to(self, client: str, bug: str, text: str) -> str:
        await asyncio.sleep(0)
        recorder.record_model_call(model_name="writer-large", prompt=f"Letter about {bug}", output=text)
        return f"{len(text)} characters"

    @trace_agent_action("file_answer")
    async def file_answer(self, client: str, bug: str, answer: str) -> str:
        return "filed"


@dataclass
class Team:
    """All workers, the open reports, and the plan of the case."""

    case: Case
    shifts: int
    shift: int = 0
    count: int = 3000
    masters: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = self.case.rng("team")
        self.client, self.module, self.slots = (
            rng.choice(CLIENTS),
            rng.choice(MODULES["owner_net"]),
            rng.randint(5, 8),
        )
        self.branch, self.bisecting = rng.choice(BRANCHES[:3]), rng.randint(20, 40)
        self.jobs = [[self.small_job(rng) for _ in range(rng.randint(1, 3))] for _ in range(self.shifts)]
        self.hunts = [rng.choice((0, 0, 2, 4)) for _ in range(self.shifts)]
        spent = [
            sum(cost for _, cost in jobs) + hunt for jobs, hunt in zip(self.jobs, self.hunts, strict=True)
        ]
        used = sum(spent[: self.case.end + 1]) + self.slots * (self.case.end - self.case.begin) + 3
        self.readers = [Reader(name, "reader") for name in ("reader_ida", "reader_tom", "reader_uma")]
        self.reader = rng.choice(self.readers)
        self.blame, self.search, self.git = (
            BlameTool("blame", "tool"),
            Search("search", "tool"),
            Git("git", "tool"),
        )
        self.assigner = Assigner("assigner", "assigner", self.blame)
        self.owners = {name: Owner(name, "owner") for name in MODULES}
        self.dedup, self.bot = Dedup("dedup", "dedup", self.search), PatchBot("patchbot", "bot", self.git)
        self.farm = Farm("device_farm", "tool", used + self.bisecting)
        self.repro = Reproducer("reproducer", "reproducer", self.farm)
        self.bisector = Bisector("bisector", "bisector", self.farm)
        self.relations = Relations("client_desk", "relations")
        self.office = AgentLogger("shift_lead", "lead")
        self.masters += [self.bug() for _ in range(6)]
        self.bug_a = self.bug_b = self.master_a = self.master_b = self.fix = self.job = ""

    @staticmethod
    def small_job(rng: random.Random) -> tuple[int, int]:
        """Return the limit of a job and how many minutes it will use: one that stays red uses all of them."""
        limit = rng.choice((0, 2, 3))
        return (limit, limit) if limit and rng.random() < 0.4 else (limit, 1)

    def bug(self) -> str:
        self.count += 1 + self.count % 2
        return f"BUG-{self.count}"

    async def report(self, seed: random.Random) -> None:
        """One report of an ordinary day: read it, fold it or assign it, and write to the client."""
        bug, reader, client = self.bug(), seed.choice(self.readers), seed.choice(CLIENTS)
        mine = self.case.has("trusted_tool")
        module = seed.choice([module for module in OWNER if module != self.module or not mine])
        await reader.read(bug, module, seed.randint(40, 400))
        if seed.random() < 0.3:
            await self.dedup.fold(bug, seed.sample(self.masters, 2), seed.randint(0, 1))
            return
        team = await self.assigner.assign(bug, module)
        text = await self.owners[team].take_up(bug, module)
        await self.relations.write_to(client, bug, text)
        if seed.random() < 0.4:
            answer = seed.choice(("thanks", "thanks", "when?", "please hurry", "already gone"))
            await self.relations.file_answer(client, bug, answer)

    async def backport(self, seed: random.Random) -> None:
        """A fix goes into an old branch; what does not fit is done by hand, save where nobody waits for it."""
        self.count += 1
        fix, branch, moved = f"fix-{self.count}", seed.choice(BRANCHES), seed.choice((0, 0, 1, 2))
        said = await self.bot.backport(fix, branch, seed.randint(1, 9), moved, branch == "kiosk")
        await self.follow(said, fix, branch)

    async def follow(self, said: str, fix: str, branch: str) -> None:
        if said == "needs a person":
            await self.owners["owner_db"].apply_by_hand(fix, branch)
            self.git.note(fix, branch)

    async def small_jobs(self, seed: random.Random) -> None:
        """Jobs on the farm, most of them green at once; now and then somebody looks for a culprit."""
        for limit, cost in self.jobs[self.shift]:
            self.count += 1
            job = f"J{self.count}"
            if cost > 1:
                self.farm.break_job(job)
            await self.repro.schedule(job, limit)
            await self.repro.work_off(job, seed.randint(4, 6))
        if self.hunts[self.shift]:
            await self.bisector.bisect(seed.choice(self.masters), self.hunts[self.shift])

    async def release(self, seed: random.Random) -> None:
        """A fix is released; those who wrote reports that were folded into it hear of it."""
        master, new = self.masters.pop(0), self.bug()
        self.masters.append(new)
        await seed.choice(self.readers).read(new, seed.choice(MODULES["owner_db"]), seed.randint(40, 400))
        await self.owners["owner_db"].ship(master)
        for bug in (await self.dedup.copies_of(master))[:2]:
            await self.relations.write_to(seed.choice(CLIENTS), bug, f"fixed with {master}")

    async def refresh(self, seed: random.Random) -> None:
        """Ask the tool about a module; old ones that nobody reports get a shallow look."""
        self.count += 1
        old = seed.random() < 0.4
        module = f"old/{seed.choice(('fax', 'modem', 'tape'))}" if old else seed.choice(list(OWNER))
        if module != self.module:
            await self.assigner.refresh_route(module, f"q{self.count}", 1 if old else seed.choice((2, 5, 9)))

    async def lead(self, seed: random.Random) -> None:
        """Settings, hiccups, chores; something striking shortly before the symptom."""
        if seed.random() < 0.2:
            await self.office.alog_action(
                "set_weight", {"label": seed.choice(("crash", "typo")), "weight": seed.randint(1, 9)}
            )
        if seed.random() < 0.2:
            await self.office.awarning("model answered slowly", {"seconds": seed.randint(8, 40)})
        if seed.random() < 0.15:
            await self.office.aerror("mail server closed the line, sent again", {"tries": 2})
        if seed.random() < 0.4:
            await self.office.alog_action(
                seed.choice(("stand_up", "tidy_labels", "thank_reporter")), {"shift": self.shift}
            )
        if self.shift == self.case.decoy_at:
            if seed.random() < 0.5:
                await self.office.aerror(
                    "disk of the build host nearly full", {"percent": seed.randint(91, 97)}
                )
            else:
                await self.office.alog_action("change_plan", {"of": "holidays", "week": seed.randint(1, 52)})

    async def begin(self) -> None:
        """The act of the case that may go wrong."""
        case, now = self.case, self.shift
        self.bug_a, self.fix, self.job = self.bug(), f"fix-{self.count}", f"J{self.count}"
        if case.has("trusted_tool"):
            query = f"q{self.count}"
            depth = 1 if case.strikes("trusted_tool", now) else 5
            await self.assigner.refresh_route(self.module, query, depth)
            case.root(call("blame", "owner_of", query=query), call("assigner", "refresh_route", query=query))
        elif case.has("wrong_merge"):
            await self.reader.read(self.bug_a, self.module, 210)
            place = 1 if case.strikes("wrong_merge", now) else 0
            await self.dedup.fold(self.bug_a, [self.master_a, self.master_b], place)
            case.root(call("dedup", "fold", bug=self.bug_a))
        elif case.has("swallowed_failure"):
            quiet = case.strikes("swallowed_failure", now)
            said = await self.bot.backport(self.fix, self.branch, 4, 2, quiet)
            await self.follow(said, self.fix, self.branch)
            case.root(call("patchbot", "backport", fix=self.fix), call("git", "cherry_pick", fix=self.fix))
        else:
            self.farm.break_job(self.job)
            await self.repro.schedule(self.job, 0 if case.strikes("retry_storm", now) else 3)
            case.root(call("reproducer", "schedule", job=self.job))

    async def storm(self) -> None:
        """Go on with the red job of the case."""
        before = self.repro.tries(self.job)
        await self.repro.work_off(self.job, self.slots)
        for attempt in range(before + 1, self.repro.tries(self.job) + 1):
            if 4 <= attempt <= 6:
                self.case.root(call("device_farm", "run_job", job=self.job, attempt=attempt))

    async def finish(self) -> None:
        """What shows whether the act went well."""
        self.bug_b = self.bug()
        case, bug = self.case, self.bug_b
        if case.has("trusted_tool"):
            await self.reader.read(bug, self.module, 320)
            team = await self.assigner.assign(bug, self.module)
            answer = await self.owners[team].take_up(bug, self.module)
            await self.relations.write_to(self.client, bug, answer)
            case.hop(call("assigner", "assign", bug=bug), call(team, "take_up", bug=bug))
            await self.judge(answer == "fix planned", bug, "nobody works on it")
        elif case.has("wrong_merge"):
            await self.owners["owner_ui"].ship(self.master_b)
            case.trigger(call("owner_ui", "ship", bug=self.master_b))
            told = await self.dedup.copies_of(self.master_b)
            case.hop(
                call("owner_ui", "ship", bug=self.master_b), call("dedup", "copies_of", bug=self.master_b)
            )
            for copy in told:
                await self.relations.write_to(self.client, copy, f"fixed with {self.master_b}")
                case.hop(call("client_desk", "write_to", bug=copy))
            await self.judge(self.bug_a not in told, self.bug_a, "still crashes")
        elif case.has("swallowed_failure"):
            await self.relations.write_to(self.client, bug, f"{self.fix} is in {self.branch}")
            inside = await self.git.contains(self.branch, self.fix)
            case.hop(call("client_desk", "write_to", bug=bug), call("git", "contains", fix=self.fix))
            await self.judge(inside, bug, "still crashes")
        else:
            await self.reader.read(bug, self.module, 90)
            found = await self.bisector.bisect(bug, self.bisecting)
            case.hop(call("device_farm", "run_job", job=f"bisect {bug}"), call("bisector", "bisect", bug=bug))
            await self.judge(found != "no minutes left", bug, "waits for the culprit")

    async def judge(self, is_well: bool, bug: str, answer: str) -> None:
        """File what the client answers; a complaint if it is not content."""
        await self.relations.file_answer(self.client, bug, "thanks" if is_well else answer)
        if is_well:
            return
        names = {
            "client": self.client,
            "bug": bug,
            "module": self.module,
            "branch": self.branch,
            "fix": self.fix,
        }
        names |= {"reader": self.reader.agent_id, "master": self.master_b}
        texts = [text.format(**names) for text in TEXTS[self.case.kind]]
        self.case.symptom(call("client_desk", "file_answer", bug=bug), *texts)

    async def work(self) -> None:
        """One shift: ordinary work side by side, then what the case needs."""
        case, now, rng = self.case, self.shift, self.case.rng(f"shift/{self.shift}")
        acts = [self.report] * rng.randint(3, 6) + [self.lead, self.small_jobs]
        acts += [act for act in (self.backport, self.release, self.refresh) if rng.random() < 0.55]
        with recorder.run("triage", {"shift": now}):
            await asyncio.gather(*(act(random.Random(f"{rng.random()}")) for act in acts))
            if case.has("wrong_merge") and now == max(0, case.begin - 2):
                self.master_a, self.master_b = self.bug(), self.bug()
                await self.readers[0].read(self.master_a, self.module, 180)
                await self.readers[1].read(self.master_b, "ui/fonts", 150)
            if now == case.begin:
                await self.begin()
            if case.has("retry_storm") and case.begin <= now <= case.end:
                await self.storm()
            if now == case.end:
                await self.finish()


TEXTS = {
    "trusted_tool": (
        "{client} is told that {bug} comes at the end of the list. It is a crash in {module}!",
        "Why does nobody work on {bug}? {reader} had read it within the hour",
        "{bug} lies around with a team that has nothing to do with it, client_desk had to admit that",
    ),
    "wrong_merge": (
        "client_desk wrote that {bug} is fixed, and it crashes exactly as before",
        "{client} is furious: told that {bug} was solved with {master}, which is about something else",
        "{bug} came up again after the release. {reader} had described it properly, hadn't it?",
    ),
    "swallowed_failure": (
        "{client} updated {branch} because we said the fix is in, and it still crashes",
        "Why is {fix} not in {branch}? client_desk promised it",
        "the crash of {client} was to be gone, we look like liars",
    ),
    "retry_storm": (
        "bisector cannot look for the culprit of {bug}, the quarter's test minutes are used up",
        "{client} waits for {bug} and we have no devices left, with weeks to go",
        "where have all the minutes of the farm gone? the bisector needs them now",
    ),
}


def play(case: Case) -> None:
    """Let the team work some weeks, shift after shift."""
    shifts = case.rng("season").choice((16, 28, 44, 70))
    case.window(shifts)
    team = Team(case, shifts)

    async def season() -> None:
        for team.shift in range(shifts):
            await team.work()

    asyncio.run(season())


WORLD = World(
    "bugtriage", "spans", ("trusted_tool", "retry_storm", "wrong_merge", "swallowed_failure"), play, 20
)
