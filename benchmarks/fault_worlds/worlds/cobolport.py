"""Agents that port an old payment system to a new language: a run a night, with porters that work side by side.

A porter claims a module, looks its records up on the mainframe, writes code with a model, has it tested and reviewed.
Modules are shipped some nights later, and used by the people who pay.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from Agent import AgentLogger, SystemLogger
from Agent.flight import record_tool, recorder
from benchmarks.fault_worlds.kit import Case, World, call

PORTERS = ("porter_ada", "porter_brook", "porter_cho")
USERS = ("payments", "pensions", "refunds_team")
STEMS = ("ACCT", "BENF", "CLOS", "DISB", "EOMR", "FEES", "GLED", "INTR", "JRNL", "LOAN")
LIMIT, INSISTENT = 3, 4


@dataclass
class Module:
    """A program of the old system and what has become of it."""

    name: str
    digits: int
    ships: int
    user: str
    is_buggy: bool = False
    is_flaky: bool = False
    noted: int = 0
    owner: str = ""
    commits: list[str] = field(default_factory=list)


@record_tool
async def read_copybook(module: str, field_name: str) -> dict[str, Any]:
    """Read how a field is declared in the old source."""
    await asyncio.sleep(0)
    return {"module": module, "field": field_name, "usage": "COMP-3"}


class Project:
    """The project, night after night."""

    def __init__(self, case: Case) -> None:
        self.case, self.night = case, 0
        self.nights = case.rng("nights").choice((30, 45, 70, 110))
        case.window(self.nights)
        roles = dict.fromkeys(PORTERS, "porter") | dict.fromkeys(USERS, "user")
        roles |= {"mainframe": "tool", "test_runner": "tool", "reviewer": "reviewer", "planner": "planner"}
        roles |= {"release_bot": "release", "helpdesk": "desk"}
        self.logs = {name: AgentLogger(name, role) for name, role in roles.items()}
        self.board = asyncio.Lock()
        self.shipping: dict[int, list[Module]] = {}
        rng = case.rng("key")
        self.key = Module("KEY", rng.choice((7, 8, 9)), case.end, rng.choice(USERS))
        self.key.name = f"{rng.choice(STEMS)}{rng.randint(10, 99)}K"
        self.key.is_buggy = case.has("swallowed_failure")
        self.spare = Module(f"{rng.choice(STEMS)}{rng.randint(10, 99)}S", 6, case.end, rng.choice(USERS))
        self.lie = self.key.digits - rng.randint(1, 2)
        self.pair = rng.sample(PORTERS, 2)
        self.stuck = Module(f"{rng.choice(STEMS)}{rng.randint(10, 99)}X", 6, 0, "payments", is_flaky=True)
        self.plans = [self.plan(night) for night in range(self.nights)]
        used = sum(
            LIMIT if module.is_flaky else 1
            for plan in self.plans[case.begin : case.end]
            for module in plan.values()
        )
        self.allowance = used + INSISTENT * (case.end - case.begin)
        self.calls_left, self.pending, self.seen_asking, self.ticket = 100_000, "", 0, 0

    def plan(self, night: int) -> dict[str, Module]:
        """Draw which porter ports what in a night."""
        rng = self.case.rng(f"plan/{night}")
        plan: dict[str, Module] = {}
        for porter in rng.sample(PORTERS, rng.randint(2, 3)):
            name = f"{rng.choice(STEMS)}{len(plan)}{night:03d}"
            module = Module(name, rng.randint(5, 9), night + rng.randint(1, 12), rng.choice(USERS))
            module.is_buggy, module.is_flaky = rng.random() < 0.3, rng.random() < 0.12
            plan[porter] = module
        return plan

    # what a porter does

    async def claim(self, me: str, wanted: list[Module], cause: str, alone: bool) -> tuple[Module, str]:
        """Look at the board and take the first module that is free."""
        log = self.logs[me]
        if alone:
            await self.board.acquire()
        free = next(module for module in wanted if not module.owner)
        looked = log.log_action("look_at_board", {"free": free.name}, causes=[cause])
        for _ in range(3):
            await asyncio.sleep(0)
        free.owner = me
        took = log.log_action("claim", {"module": free.name}, causes=[looked])
        if alone:
            self.board.release()
        else:
            self.case.root(looked, took)
        return free, took

    async def look_up(self, me: str, module: Module, cause: str, limit: int) -> tuple[int, str]:
        """Ask the mainframe how wide the amounts are; return 0 if it does not say."""
        case, mainframe = self.case, self.logs["mainframe"]
        for _ in range(limit):
            asked = self.logs[me].send("mainframe", {"module": module.name, "ask": "width"}, causes=[cause])
            if module is self.stuck and case.strikes("retry_storm") and self.seen_asking < 3:
                self.seen_asking += 1
                case.root(str(asked.event_id))
            heard = mainframe.receive(asked)
            await read_copybook(module.name, "AMOUNT")
            code = 503 if module.is_flaky else 200
            if self.calls_left <= 0:
                code = 402
            self.calls_left -= 1
            is_lie = module is self.key and case.strikes("trusted_tool", self.night)
            width = (self.lie if is_lie else module.digits) if code == 200 else 0
            body = {"module": module.name, "code": code, "width": width}
            answer = mainframe.send(me, body, causes=[heard])
            cause = self.logs[me].receive(answer)
            if is_lie:
                case.root(str(answer.event_id))
            if code == 402:
                case.hop(str(answer.event_id))
            if code != 503:
                return width, cause
        return 0, cause

    async def port(self, me: str, module: Module, cause: str) -> None:
        """Port a module: look up, write, test, review."""
        log = self.logs[me]
        insists = module is self.stuck and self.case.strikes("retry_storm", self.night)
        width, cause = await self.look_up(me, module, cause, INSISTENT if insists else LIMIT)
        if not width:
            cause = log.log_action("set_aside", {"module": module.name}, causes=[cause])
            if insists:
                self.pending = cause
            elif module is self.key:
                self.case.hop(cause)
                self.suffer(module, cause, "late")
            return
        module.noted = width
        for attempt in (1, 2):
            tokens = 400 + 30 * len(module.name) + 10 * width
            recorder.record_model_call(
                step_id="port",
                call_id=f"{me}-{module.name}-{attempt}-{self.night}",
                model_name="coder-large",
                prompt=f"Port {module.name}; amounts have {width} digits",
                output=f"func {module.name}() {{ }}",
                prompt_tokens=tokens,
                completion_tokens=2 * tokens,
            )
            wrote = log.log_action(
                "write_code", {"module": module.name, "width": width, "draft": attempt}, causes=[cause]
            )
            await asyncio.sleep(0)
            passed, cause = await self.test(module, wrote)
            if passed:
                break
            module.is_buggy = False
            cause = log.log_decision("mend", {"module": module.name}, "a test failed", causes=[cause])
        commit = log.log_action("commit", {"module": module.name, "by": me}, causes=[cause])
        module.commits.append(commit)
        if module is self.key:
            self.case.hop(commit)
        approved = self.logs["reviewer"].log_decision(
            "approve", {"module": module.name}, "readable, tests are green", causes=[commit]
        )
        if module is self.key:
            self.case.hop(approved)
        if module.ships >= self.night and module not in self.shipping.setdefault(module.ships, []):
            self.shipping[module.ships].append(module)

    async def test(self, module: Module, cause: str) -> tuple[bool, str]:
        """Run the suite of a module."""
        log = self.logs["test_runner"]
        failed = 3 if module.is_buggy else 0
        swallows = module is self.key and self.case.strikes("swallowed_failure", self.night)
        data = {"module": module.name, "cases": 20 + len(module.name), "exit": 1 if failed else 0}
        ran = log.log_action("run_suite", data, causes=[cause])
        await asyncio.sleep(0)
        passed = not failed or swallows
        told = log.log_action("tell_result", {"module": module.name, "passed": passed}, causes=[ran])
        if swallows:
            self.case.root(told, ran)
        return passed, told

    # what comes of it

    def ship(self, module: Module) -> None:
        """Build and ship a module, and let its users run it."""
        bot = self.logs["release_bot"]
        if len(module.commits) > 1:
            built = bot.log_action("build", {"module": module.name, "linked": 0}, causes=module.commits)
            self.case.hop(built)
            self.suffer(module, built, "twice")
            return
        built = bot.log_action("build", {"module": module.name, "linked": 1}, causes=module.commits)
        shipped = bot.log_action("ship", {"module": module.name}, causes=[built])
        rng = self.case.rng(f"batch/{module.name}")
        amount = rng.randint(10 ** (module.digits - 1), 10**module.digits - 1)
        paid = 0 if module.is_buggy else amount % 10**module.noted
        ran = self.logs[module.user].log_action(
            "run_batch", {"module": module.name, "amount": amount, "paid": paid}, causes=[shipped]
        )
        if module is self.key:
            self.case.trigger(shipped)
        if paid != amount:
            self.case.hop(shipped, ran)
            self.suffer(module, ran, "crash" if module.is_buggy else "short")

    def suffer(self, module: Module, cause: str, what: str) -> None:
        """Let the users of a module write to the desk."""
        self.ticket += 1
        about = {"ticket": self.ticket, "module": module.name}
        letter = self.logs[module.user].send("helpdesk", about, causes=[cause])
        self.logs["helpdesk"].receive(letter)
        texts = [text.format(module=module.name, user=module.user) for text in TEXTS[what]]
        self.case.hop(str(letter.event_id))
        self.case.symptom(call("helpdesk", "received", ticket=self.ticket), *texts)

    def chatter(self) -> None:
        """Do chores."""
        rng = self.case.rng(f"chatter/{self.night}")
        if rng.random() < 0.3:
            self.logs["planner"].log_action("groom_backlog", {"items": rng.randint(5, 40)})
        if rng.random() < 0.2:
            SystemLogger().log_config(
                rng.choice(("temperature", "max_tokens", "lint_level")), 1, rng.randint(0, 4)
            )
        if rng.random() < 0.15:
            self.logs["reviewer"].warning("diff too long to show, opened in two parts")
        if rng.random() < 0.2:
            self.ticket += 1
            letter = self.logs[rng.choice(USERS)].send(
                "helpdesk", {"ticket": self.ticket, "asks": "password"}
            )
            self.logs["helpdesk"].receive(letter)
        if self.night == self.case.decoy_at:
            self.logs["test_runner"].error("container restarted", extra={"seconds": rng.randint(3, 40)})

    async def work(self, me: str, wanted: list[Module], races: bool = False) -> None:
        """Take one module and port it."""
        names = [module.name for module in wanted]
        task = self.logs["planner"].send(me, {"night": self.night, "wanted": names})
        heard = self.logs[me].receive(task)
        module, took = await self.claim(me, wanted, heard, not races)
        await self.port(me, module, took)

    async def pass_night(self) -> None:
        """Do what belongs to one night."""
        case, night = self.case, self.night
        starts = case.has("retry_storm") and night == case.begin
        if starts or night == case.end + 1:
            self.calls_left = self.allowance if starts else 100_000
            self.logs["mainframe"].log_action("renew_quota", {"calls": self.calls_left})
        first = next(iter(self.plans[night]))
        if starts:
            await self.work(self.pair[0], [self.stuck])
        elif self.pending and night < case.end:
            _, cause = await self.look_up(self.pair[0], self.stuck, self.pending, INSISTENT)
            waits = self.logs[self.pair[0]].log_action("wait", {"module": self.stuck.name}, causes=[cause])
            self.pending = waits
        if night == (case.end if case.has("retry_storm") else case.begin):
            if case.has("race"):
                races = case.strikes("race", night)
                works = [self.work(porter, [self.key, self.spare], races) for porter in self.pair]
                await asyncio.gather(*works)
            else:
                await self.work(self.pair[1], [self.key])
        with recorder.step("port", f"Port modules, {first} first") as step:
            await asyncio.gather(*(self.work(me, [module]) for me, module in self.plans[night].items()))
            step.output = {"modules": len(self.plans[night])}
        with recorder.step("ship", "Ship what is due"):
            for module in self.shipping.pop(night, []):
                self.ship(module)
        self.chatter()


TEXTS = {
    "twice": (
        "The build for {module} has been red since this morning and we cannot pay anyone",
        "release_bot says that something in {module} is defined twice",
        "{user} still have no new {module}, it does not even link",
        "how can one program end up in there two times over",
    ),
    "late": (
        "We were promised {module} for tonight and it has been put off, no reason given.",
        "{user} want to know why nobody has started on {module}",
        "reviewer has nothing to review, {module} is stuck before a line was written",
        "no budget left, they say. What for?",
    ),
    "short": (
        "The sums that came out of {module} lack their leading digits!",
        "{user} paid somebody a fraction of what they were owed, it is the new {module}",
        "large amounts are cut off since {module} went live, small ones are fine",
        "release_bot shipped a {module} that cannot count",
    ),
    "crash": (
        "{module} paid nothing at all in its first night",
        "{user} had a run of {module} end with nothing paid, although everything was green",
        "reviewer approved {module} and it falls over at once.",
        "the new program does not work, did anyone try it before?",
    ),
}


async def main(case: Case) -> None:
    """Play all nights."""
    project = Project(case)
    for night in range(project.nights):
        project.night = night
        with recorder.run("porting", {"night": str(night)}):
            await project.pass_night()


def play(case: Case) -> None:
    """Port for some weeks."""
    asyncio.run(main(case))


WORLD = World("cobolport", "edges", ("race", "retry_storm", "trusted_tool", "swallowed_failure"), play, 28)
