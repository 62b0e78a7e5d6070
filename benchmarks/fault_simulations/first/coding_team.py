"""A team of coding agents: a planner, coders, a reviewer, a tester and a merger.

The language models are scripted; they answer by the prompt and a seeded generator.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from Agent import AgentLogger, InteractionLogger, SystemLogger, trace_agent_action
from benchmarks.fault_simulations.kit import Event, Fault, pick

BROKEN: set[str] = set()
MODULES = ("auth", "billing", "search", "export", "mail", "reports")


class FakeModel:
    """A model with canned answers."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)

    def estimate(self, task: dict[str, Any]) -> int:
        """Guess the lines of a change."""
        return 10 * task["size"] + self.rng.randint(-4, 4)

    def signature(self, module: str, feature: int) -> str:
        """Say how the entry point of a module is called."""
        del feature
        return f"{module}(request, user)"

    def quality(self) -> float:
        """Draw the quality of a patch."""
        return round(self.rng.uniform(0.45, 1.0), 2)


class Agent:
    """What all members share: a mailbox, a logger, a model."""

    trace_ignore = ("team", "model", "inbox", "logger")

    def __init__(self, name: str, role: str, seed: int) -> None:
        self.agent_id = name
        self.logger = AgentLogger(name, role)
        self.model = FakeModel(f"{name}{seed}")
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        self.team: dict[str, Agent] = {}

    def tell(self, to: str, body: dict[str, Any]) -> None:
        """Send a message to a colleague."""
        self.team[to].inbox.put_nowait(self.logger.send(to, body))

    async def live(self) -> None:
        """Handle messages until told to stop."""
        while True:
            message = await self.inbox.get()
            if message is None:
                return
            await self.handle(message)

    async def handle(self, message: Any) -> None:
        """Handle one message."""
        raise NotImplementedError


class Planner(Agent):
    """Splits features into tasks and keeps the interfaces of the modules."""

    def __init__(self, seed: int) -> None:
        super().__init__("planner", "planner", seed)
        self.interfaces: dict[str, str] = {}
        self.open: dict[int, str] = {}
        self.done = 0

    @trace_agent_action()
    async def define_interface(self, module: str, feature: int) -> str:
        """Ask the model for the signature of a module, and write it down."""
        answer = self.model.signature(module, feature)
        if "answer" in BROKEN and module == "export":
            answer = f"{module}(request)"
        self.interfaces[module] = answer
        return answer

    @trace_agent_action()
    async def plan(self, feature: int, module: str, size: int) -> dict[str, Any]:
        """Make a task of a feature, and give it to a coder."""
        task = {"task": feature, "module": module, "size": size, "signature": self.interfaces[module]}
        task["lines"] = self.model.estimate(task)
        self.open[feature] = module
        self.tell(f"coder_{feature % 4}", {"type": "task", **task})
        await asyncio.sleep(0)
        return task

    @trace_agent_action("close")
    async def handle(self, message: Any) -> None:
        """Close a task that was merged."""
        self.logger.receive(message)
        self.open.pop(message.body["task"], None)
        self.done += 1


class Coder(Agent):
    """Writes patches, and again after a review that asks for changes."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name, "coder", seed)
        self.patches = 0
        self.waiting: list[int] = []

    @trace_agent_action("work")
    async def handle(self, message: Any) -> None:
        """Write or rewrite a patch; not more than two may wait for review."""
        self.logger.receive(message)
        body = message.body
        if body["type"] == "reviewed":
            if body["task"] in self.waiting:
                self.waiting.remove(body["task"])
            if body["ok"]:
                return
        await self.write(body["task"], body["module"], body["signature"], body.get("round", 0))

    @trace_agent_action()
    async def write(self, task: int, module: str, signature: str, tries: int) -> float:
        """Write a patch."""
        self.patches += 1
        quality = min(1.0, self.model.quality() + 0.25 * tries)
        await asyncio.sleep(0)
        if len(self.waiting) >= 4:
            self.logger.log_decision(
                "postpone", {"task": task, "waiting": list(self.waiting)}, "review limit"
            )
            return 0.0
        self.waiting.append(task)
        patch = {"type": "patch", "task": task, "module": module, "signature": signature, "quality": quality}
        self.tell("reviewer", {**patch, "round": tries, "author": self.agent_id})
        return quality


class Reviewer(Agent):
    """Approves patches, or sends them back."""

    def __init__(self, seed: int) -> None:
        super().__init__("reviewer", "reviewer", seed)
        self.seen = 0

    @trace_agent_action("review")
    async def handle(self, message: Any) -> bool:
        """Review a patch and tell its author."""
        self.logger.receive(message)
        body = message.body
        self.seen += 1
        good = body["quality"] >= 0.6
        self.logger.log_decision("verdict", {"task": body["task"], "ok": good, "quality": body["quality"]})
        if good:
            self.tell("tester", {**body, "type": "approved"})
        if (
            "unsent" in BROKEN
            and good
            and body["author"] == "coder_2"
            and body["round"] == 0
            and self.seen > 20
        ):
            return good
        self.tell(body["author"], {**body, "type": "reviewed", "ok": good, "round": body["round"] + 1})
        return good


class Tester(Agent):
    """Runs the tests of a patch in a sandbox that is down now and then."""

    def __init__(self, seed: int) -> None:
        super().__init__("tester", "tester", seed)
        self.runs = 0

    @trace_agent_action()
    async def run_tests(self, task: int, quality: float) -> dict[str, int]:
        """Run the tests of a patch."""
        self.runs += 1
        if self.runs % 9 == 0:
            raise ConnectionError(f"sandbox restarted during task {task}")
        return {"task": task, "passed": 20, "failed": 0 if quality >= 0.66 else 2}

    @trace_agent_action("test")
    async def handle(self, message: Any) -> str:
        """Test an approved patch; after a failure of the sandbox, once more."""
        self.logger.receive(message)
        body = message.body
        try:
            report = await self.run_tests(body["task"], body["quality"])
        except ConnectionError:
            self.logger.warning("sandbox is down, trying again", extra={"task": body["task"]})
            if "swallowed" in BROKEN and self.runs >= 18:
                report = {"task": body["task"], "passed": 0, "failed": 0}
            else:
                report = await self.run_tests(body["task"], body["quality"])
        if report["failed"]:
            self.tell(body["author"], {**body, "type": "reviewed", "ok": False, "round": body["round"] + 1})
            return "failed"
        self.tell("merger", {**body, "type": "tested", "report": report})
        return "passed"


class Merger(Agent):
    """Keeps the main branch: a list of tasks for each module, and the callers of each interface."""

    def __init__(self, seed: int) -> None:
        super().__init__("merger", "merger", seed)
        self.main: dict[str, list[int]] = {module: [] for module in MODULES}
        self.branch: dict[str, list[int]] = {}
        self.signatures = {module: f"{module}(request, user)" for module in MODULES}
        self.untested: list[int] = []

    @trace_agent_action()
    async def open_release_branch(self, name: str) -> dict[str, list[int]]:
        """Copy the main branch for a release."""
        self.branch = {module: list(tasks) for module, tasks in self.main.items()}
        self.logger.info("branch opened", extra={"release": name})
        return self.branch

    @trace_agent_action()
    async def merge_back(self, name: str, hotfix: int) -> dict[str, list[int]]:
        """Merge a release branch with its hotfix back into the main branch."""
        self.branch["billing"].append(hotfix)
        for module, tasks in self.branch.items():
            if "merge" in BROKEN and name == "r2" and module == "billing":
                self.main[module] = list(tasks)
            else:
                self.main[module] += [task for task in tasks if task not in self.main[module]]
        return self.main

    @trace_agent_action("merge")
    async def handle(self, message: Any) -> None:
        """Merge a tested patch into the main branch."""
        self.logger.receive(message)
        body = message.body
        self.main[body["module"]].append(body["task"])
        self.signatures[body["module"]] = body["signature"]
        if not body["report"]["passed"] and body["quality"] < 1:
            self.untested.append(body["task"])
        self.tell("planner", {"type": "merged", "task": body["task"]})


class Nightly:
    """The nightly build, which looks at the main branch as a user does."""

    def __init__(self, merger: Merger, planner: Planner) -> None:
        self.agent_id = "nightly"
        self.merger, self.planner = merger, planner
        self.logger = AgentLogger(self.agent_id, "nightly")
        self.failures: list[str] = []

    trace_ignore = ("merger", "planner")

    @trace_agent_action()
    async def build(self, night: int) -> dict[str, Any]:
        """Build and call every module."""
        broken = [name for name, sign in self.merger.signatures.items() if "user" not in sign]
        self.failures += broken if night >= 7 else []
        held = {module: len(tasks) for module, tasks in self.merger.main.items()}
        return {"night": night, "tasks": held, "broken": broken, "open": len(self.planner.open)}


async def _sprint(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    planner, merger = Planner(seed), Merger(seed)
    coders = [Coder(f"coder_{n}", seed) for n in range(4)]
    members: list[Agent] = [planner, *coders, Reviewer(seed), Tester(seed), merger]
    team = {member.agent_id: member for member in members}
    for member in members:
        member.team = team
    nightly, link, system = Nightly(merger, planner), InteractionLogger("board"), SystemLogger("board")
    lives = [asyncio.create_task(member.live()) for member in members]
    for night in range(1, 11):
        if night in {1, 4}:
            for module in MODULES[:3] if night == 1 else MODULES[3:]:
                await planner.define_interface(module, night)
        if night in {3, 6}:
            await merger.open_release_branch(f"r{night // 3}")
        for number in range(8):
            module = rng.choice(MODULES[:3] if night < 7 else MODULES)
            await planner.plan(8 * night + number, module, rng.randint(1, 8))
        for _ in range(60):
            await asyncio.sleep(0)
        if night in {4, 7}:
            link.log_collaboration(["merger", "reviewer"], "release")
            await merger.merge_back(f"r{night // 3}", 900 + night)
        if night == 5:
            system.log_config("review_limit", 3, 4)
        await nightly.build(night)
    for member in members:
        member.inbox.put_nowait(None)
    await asyncio.gather(*lives)
    merged = sum(len(tasks) for tasks in merger.main.values())
    return {
        "merged": merged,
        "closed": planner.done,
        "open": len(planner.open),
        "broken": len(nightly.failures),
        "untested": len(merger.untested),
    }


def run(seed: int, fault: str) -> dict[str, Any]:
    """Run ten days of work."""
    BROKEN.clear()
    BROKEN.add(fault)
    return asyncio.run(_sprint(seed))


def _swallowed(events: Sequence[Event]) -> list[str]:
    warnings = [event for event in events if event.message.startswith("sandbox is down")][1:4]
    calls = {event.parent for event in warnings}
    return [event.id for event in warnings] + pick(events, "tester", "test", where=lambda e: e.span in calls)


def _unanswered(events: Sequence[Event]) -> list[str]:
    reviews = [event for event in events if event.agent == "reviewer" and event.act == "review"]
    told = {
        e.parent for e in events if e.agent == "reviewer" and e.record["extra"].get("recipient") == "coder_2"
    }
    received = {e.parent: e.args for e in events if e.agent == "reviewer" and e.kind == "agent_message"}
    missed = [e for e in reviews if received[e.span]["author"] == "coder_2" and e.span not in told][:3]
    spans = {event.span for event in missed}
    return [event.id for event in missed] + pick(events, act="verdict", where=lambda e: e.parent in spans)


FAULTS = {
    "answer": Fault(
        "why does the nightly build complain about the export module from night 7 on?",
        lambda f, h: f["broken"] > h["broken"],
        lambda events: pick(
            events, "planner", "define_interface", where=lambda e: e.args["module"] == "export"
        ),
    ),
    "merge": Fault(
        "Billing tasks that were closed weeks ago have vanished from the main branch",
        lambda f, h: f["merged"] < h["merged"] and f["closed"] == h["closed"],
        lambda events: pick(events, "merger", "merge_back", where=lambda e: e.args["name"] == "r2"),
    ),
    "swallowed": Fault(
        "Several patches got merged with 0 passed tests, how was that possible?",
        lambda f, h: f["untested"] > h["untested"] + 1,
        _swallowed,
    ),
    "unsent": Fault(
        "coder_2 postpones all its work and a dozen tasks are still open at the end",
        lambda f, h: f["open"] > h["open"] + 4,
        _unanswered,
    ),
}
