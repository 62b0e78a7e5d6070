"""A build farm on asyncio: a scheduler, workers with a shared cache, a test lab and a deployer."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from Agent import AgentLogger, SystemLogger, trace_agent_action
from benchmarks.fault_simulations.kit import Fault, pick

COMMITS = 110
REPOS = ["api", "billing", "mobile", "search", "webshop"]
SETUP = {"fault": ""}


class DiskFullError(RuntimeError):
    """The scratch disk of a worker is full."""


class Cache:
    """Keeps compiled dependencies, by repository and version of the shared library."""

    def __init__(self) -> None:
        self.agent_id = "cache"
        self.log = AgentLogger(self.agent_id, "service")
        self.entries: dict[str, int] = {}

    @trace_agent_action()
    def lookup(self, repo: str, library: int) -> dict[str, Any]:
        """Return the compiled dependencies of a repository."""
        if repo in self.entries:
            return {"hit": True, "library": self.entries[repo]}
        self.entries[repo] = library
        return {"hit": False, "library": library}

    @trace_agent_action()
    def invalidate(self, library: int) -> list[str]:
        """Drop what was compiled against an older library; return what was dropped."""
        old = [repo for repo, version in self.entries.items() if version < library]
        if SETUP["fault"] == "stale_cache" and library == 3:
            old = [repo for repo in old if not repo.startswith("m")]
        for repo in old:
            del self.entries[repo]
        return sorted(old)


class Registry:
    """Numbers the builds and keeps their artefacts."""

    def __init__(self) -> None:
        self.agent_id = "registry"
        self.last = 1000
        self.lock = asyncio.Lock()
        self.artefacts: dict[int, dict[str, Any]] = {}

    @trace_agent_action()
    async def next_number(self, repo: str, hotfix: bool) -> int:
        """Reserve a build number."""
        if SETUP["fault"] == "race" and hotfix:
            return await self._advance(repo)
        async with self.lock:
            return await self._advance(repo)

    async def _advance(self, repo: str) -> int:
        number = self.last + 1
        for _ in range(5):
            await asyncio.sleep(0)
        self.last = max(self.last, number)
        return number

    @trace_agent_action()
    def store(self, number: int, repo: str, commit: int, size: int, library: int) -> None:
        """Keep an artefact."""
        self.artefacts[number] = {"repo": repo, "commit": commit, "size": size, "library": library}


class Worker:
    """Builds one commit after the other."""

    def __init__(self, agent_id: str, seed: int) -> None:
        self.agent_id = agent_id
        self.log = AgentLogger(agent_id, "worker")
        self.dice = random.Random(f"{seed}{agent_id}")
        self.built = 0

    @trace_agent_action()
    async def compile(self, repo: str, commit: int, disk_full: bool) -> int:
        """Compile a commit; return the size of the result in kilobytes."""
        self.built += 1
        for _ in range(1 + commit % 4):
            await asyncio.sleep(0)
        if disk_full and not (SETUP["fault"] == "swallowed" and self.built > 8):
            raise DiskFullError(f"no space left for {repo} at {commit}")
        return 0 if disk_full else 4000 + 10 * commit + 7 * len(repo)


class Farm:
    """The scheduler, and what happens to a build after it."""

    def __init__(self, seed: int) -> None:
        self.agent_id = "scheduler"
        self.log = AgentLogger(self.agent_id, "scheduler")
        self.jobs: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.cache, self.registry = Cache(), Registry()
        self.workers = [Worker(f"worker_{i}", seed) for i in range(1, 5)]
        self.lab, self.deployer = AgentLogger("test_lab", "tester"), AgentLogger("deployer", "release")
        self.database = AgentLogger("database", "service")
        self.live: dict[str, int] = {}
        self.schema = 1
        self.library = 2
        self.outcome: dict[str, list[int]] = {
            "failed_tests": [],
            "crashed": [],
            "mixed_up": [],
            "no_column": [],
        }

    @trace_agent_action()
    async def enqueue(self, job: dict[str, Any]) -> None:
        """Take a commit into the queue."""
        await self.jobs.put(job)
        if job["lost_heartbeat"]:
            twice = SETUP["fault"] == "twice" and job["commit"] > 25
            data = {"commit": job["commit"], "requeued": twice}
            self.log.log_decision("heartbeat_lost", data, "requeue" if twice else "the worker answered again")
            if twice:
                await self.jobs.put(dict(job))

    async def work(self, worker: Worker) -> None:
        """Serve the queue with one worker until it is closed."""
        while (job := await self.jobs.get()) is not None:
            found = self.cache.lookup(job["repo"], self.library)
            number = await self.registry.next_number(job["repo"], job["hotfix"])
            try:
                size = await worker.compile(job["repo"], job["commit"], job["disk_full"])
            except DiskFullError:
                worker.log.log_action("clear_scratch", {"commit": job["commit"]})
                size = await worker.compile(job["repo"], job["commit"], disk_full=False)
            self.registry.store(number, job["repo"], job["commit"], size, found["library"])
            await asyncio.sleep(0)
            self.test_and_deploy(number, job)
        self.jobs.put_nowait(None)

    def test_and_deploy(self, number: int, job: dict[str, Any]) -> None:
        """Run the tests on an artefact, migrate the database if needed, and roll it out."""
        built = self.registry.artefacts[number]
        passed = not (job["new_api"] and built["library"] < self.library)
        self.lab.log_action("run_tests", {"build": number, "repo": job["repo"], "passed": passed})
        if not passed:
            self.outcome["failed_tests"].append(job["commit"])
            self.lab.error("undefined symbol in the tests", {"build": number, "repo": job["repo"]})
            return
        if job["migration"]:
            self.schema += 1
            self.database.log_action("migrate", {"build": number, "schema": self.schema})
        if job["needs_schema"]:
            fits = self.schema == job["needs_schema"]
            self.database.log_action("check_schema", {"schema": self.schema, "expected": job["needs_schema"]})
            if not fits:
                self.outcome["no_column"].append(job["commit"])
        self.live[job["repo"]] = number
        self.deployer.log_action("deploy", {"build": number, "repo": job["repo"], "on": "canary"})

    def patrol(self, now: int) -> None:
        """Call what is live, as the monitor does after each tenth commit."""
        for repo, number in sorted(self.live.items()):
            built = self.registry.artefacts[number]
            healthy = built["size"] > 0 and built["repo"] == repo
            data = {"after": now, "build": number, "answers_as": built["repo"], "healthy": healthy}
            AgentLogger(f"monitor_{repo}", "monitor").log_action("probe", data)
            if built["size"] == 0:
                self.outcome["crashed"].append(number)
            if built["repo"] != repo:
                self.outcome["mixed_up"].append(number)


def plan(seed: int) -> list[dict[str, Any]]:
    """Return the commits of the day."""
    rng = random.Random(seed)
    jobs, schema = [], 1
    for commit in range(1, COMMITS + 1):
        repo = rng.choice(REPOS)
        job = {"commit": commit, "repo": repo, "hotfix": rng.random() < 0.16 and commit > 24}
        job["disk_full"] = rng.random() < 0.06
        job["migration"] = commit in {12, 31, 76}
        schema += job["migration"]
        job["lost_heartbeat"] = commit in {17, 31, 54}
        job["new_api"] = commit > 66 and repo in {"mobile", "api"} and commit % 2 == 0
        job["needs_schema"] = schema if commit in {20, 60, 68, 74, 88, 97} else 0
        jobs.append(job)
    return jobs


async def day(seed: int) -> Farm:
    """Commit, build and deploy for a day."""
    farm = Farm(seed)
    tasks = [asyncio.create_task(farm.work(worker)) for worker in farm.workers]
    for job in plan(seed):
        if job["commit"] in {30, 90}:
            farm.library += 1
            SystemLogger("farm").log_config("library", farm.library - 1, farm.library)
            farm.cache.invalidate(farm.library)
        await farm.enqueue(job)
        for _ in range(0 if job["commit"] % 3 == 0 else 8):
            await asyncio.sleep(0)
        if job["commit"] % 10 == 0:
            farm.patrol(job["commit"])
    await farm.jobs.put(None)
    await asyncio.gather(*tasks)
    farm.patrol(COMMITS)
    return farm


def run(seed: int, fault: str) -> dict[str, Any]:
    """Run the farm for a day."""
    SETUP["fault"] = fault
    SystemLogger("farm").log_simulation_start("day", {"workers": 4, "repos": REPOS})
    return asyncio.run(day(seed)).outcome


def _is_stale(event: Any, events: Any) -> bool:
    start = next(e.number for e in events if e.act == "invalidate")
    return event.number > start and event.result["library"] < event.args["library"]


def _same_numbers(events: Any) -> list[str]:
    seen: dict[int, str] = {}
    for event in events:
        if event.act == "next_number":
            if event.result in seen:
                return [seen[event.result], event.id]
            seen[event.result] = event.id
    return []


FAULTS = {
    "stale_cache": Fault(
        "Why do the tests of mobile fail with an undefined symbol since the new library calls came in?",
        lambda f, h: len(f["failed_tests"]) > len(h["failed_tests"]),
        lambda events: (
            pick(events, "cache", "invalidate", first=1)
            + pick(events, "cache", "lookup", where=lambda e: _is_stale(e, events))
        ),
    ),
    "race": Fault(
        "a monitor got the answers of a different service, the wrong artefact is live",
        lambda f, h: len(f["mixed_up"]) > len(h["mixed_up"]),
        _same_numbers,
    ),
    "swallowed": Fault(
        "Some canaries crash because the deployed build is empty. How could an empty build get there?",
        lambda f, h: len(f["crashed"]) > len(h["crashed"]),
        lambda events: pick(events, act="compile", where=lambda e: e.result == 0),
    ),
    "twice": Fault(
        "The schema of the database is one ahead of what commits 60 and later expect",
        lambda f, h: len(f["no_column"]) > len(h["no_column"]),
        lambda events: (
            pick(events, "scheduler", "heartbeat_lost", where=lambda e: e.args["requeued"], first=1)
            + pick(events, "scheduler", "enqueue", where=lambda e: e.args["job"]["commit"] == 31)
        ),
    ),
}
