"""A build farm without any ticks: runners build changes with a cache, a registry and a store; bots submit changes too."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from Agent import AgentLogger, PerformanceLogger, SystemLogger, instrument, trace_context
from benchmarks.fault_set.case import Plan, Truth, World

PACKAGES = ("zlib", "curl", "yaml", "icu", "png")
DISK_GB = 100.0
MIRRORS_S = {"north": (2.0, 6.0), "south": (3.0, 7.0), "overseas": (45.0, 80.0)}
BUILDS_IN_A_ROW_S = 45.0


class Store:
    """Somebody else's client of the package store: it logs nothing by itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._scopes = {"publisher": "packages:write"}

    def allow(self, account: str, scope: str) -> None:
        """What an account may do."""
        self._scopes[account] = scope

    def upload(self, account: str, package: str, size_mb: float) -> str:
        """Stores a package; PermissionError where the account may not write."""
        if not self._scopes[account].endswith(":write"):
            raise PermissionError(f"403: {package} not accepted")
        return f"{package}@{self.name}"


@dataclass
class Change:
    """What is to be built."""

    name: str
    author: str
    arch: str
    lock: int
    """Number of the lock file that it is built with."""
    bump: tuple[str, int] | None = None
    tries: int = 0


@dataclass
class Runner:
    """A machine that builds one change at a time."""

    agent_id: str
    journal: AgentLogger
    rng: random.Random
    disk_gb: float = 12.0
    keep_builds: int = 1
    kept_gb: deque[float] = field(default_factory=deque)
    linker: str = "14.1"
    busy_steps: int = 0


class Farm:
    """Runners and all that they need."""

    def __init__(self, plan: Plan, changes: float) -> None:
        self.plan, self.changes = plan, changes
        names = [plan.name("runner", n) for n in range(plan.size)]
        self.runners = [Runner(name, AgentLogger(name, "runner"), plan.chance(name)) for name in names]
        self.scheduler = AgentLogger("scheduler", "scheduler")
        self.cache = AgentLogger("build_cache", "cache")
        self.registry, self.vault = AgentLogger("registry", "mirror"), AgentLogger("vault", "service")
        self.updater, self.pinner = AgentLogger("updater_bot", "bot"), AgentLogger("pin_bot", "bot")
        self.security, self.people = AgentLogger("security", "team"), AgentLogger("developers", "people")
        self.metrics, self.system = PerformanceLogger(), SystemLogger("farm")
        self.store = Store("eu-store")
        self.waiting: deque[Change] = deque()
        self.key_parts = ["os", "lock_file"]
        self.cached: dict[str, int] = {}
        self.mirror, self.lock = "north", 1
        self.versions = dict.fromkeys(PACKAGES, 10)
        self.released = dict.fromkeys(PACKAGES, 10)
        self.below = dict.fromkeys(PACKAGES, 99)
        self.proposed: set[tuple[str, int]] = set()
        self.rng, self.hands = plan.chance("changes"), plan.chance("upkeep")
        self.numbered = 0

    def submit(self, who: AgentLogger, bump: tuple[str, int] | None = None) -> None:
        """A change waits to be built; those of bots go first, as they are small."""
        self.numbered += 1
        author = str(who.agent_id) if bump else self.rng.choice(["mia", "joe", "lin", "tom"])
        arch = self.rng.choice(["x86", "arm"])
        change = Change(f"c{self.numbered:04d}", author, arch, self.lock, bump)
        what: dict[str, Any] = {"change": change.name, "author": author, "arch": arch, "lock": self.lock}
        if bump:
            what |= {"package": bump[0], "to": f"3.{bump[1]}"}
        who.log_action("submit", what)
        self.waiting.appendleft(change) if bump else self.waiting.append(change)

    def bots(self) -> None:
        """One bot brings packages up to date, the other holds back what is not allowed."""
        for package in PACKAGES:
            have, newest, limit = self.versions[package], self.released[package], self.below[package]
            wanted = limit - 1 if have >= limit else newest
            who = self.pinner if have >= limit else self.updater
            if wanted != have and (package, wanted) not in self.proposed:
                self.proposed.add((package, wanted))
                what = {"package": package, "have": f"3.{have}"}
                who.log_decision("pin" if have >= limit else "update", what)
                self.submit(who, (package, wanted))

    def build(self, runner: Runner, change: Change) -> None:
        """All that a runner does for a change."""
        journal, rng = runner.journal, runner.rng
        failure = ""
        with trace_context(journal, "build", change=change.name):
            size = rng.uniform(5, 9)
            if runner.disk_gb + size > DISK_GB:
                journal.error("no space left on device", {"change": change.name, "step": "checkout"})
                failure = "checkout"
            else:
                seconds, lock = self.dependencies(runner, change)
                runner.disk_gb += size
                runner.kept_gb.append(size)
                failure = self.compile(runner, change, lock)
                runner.busy_steps = int(seconds // BUILDS_IN_A_ROW_S)
                while len(runner.kept_gb) > runner.keep_builds:
                    runner.disk_gb -= runner.kept_gb.popleft()
        self.result(runner, change, failure)

    def dependencies(self, runner: Runner, change: Change) -> tuple[float, int]:
        """From the cache, else from the registry; gives seconds and the lock file they belong to."""
        values = {"os": "linux", "lock_file": f"lock{change.lock}", "arch": change.arch}
        key = "-".join(values[part] for part in self.key_parts)
        stored = self.cached.get(key)
        self.cache.log_action("hit" if stored else "miss", {"key": key, "runner": runner.agent_id})
        # A hit spares most of the fetching; what changed last is always asked for.
        seconds = runner.rng.uniform(*MIRRORS_S[self.mirror]) * (1.0 if stored else 2.0)
        if runner.rng.random() < 0.05:
            seconds += runner.rng.uniform(10, 30)
        self.metrics.log_latency("fetch", round(seconds * 1000, 1), {"runner": runner.agent_id})
        if stored is None:
            self.cached[key] = stored = change.lock
        return seconds, stored

    def compile(self, runner: Runner, change: Change, lock: int) -> str:
        """Compiles, links and tests; gives the step that failed."""
        journal, rng = runner.journal, runner.rng
        journal.log_action("compile", {"change": change.name, "seconds": round(rng.uniform(30, 70), 1)})
        if runner.linker.startswith("15") and change.arch == "arm" and rng.random() < 0.8:
            journal.error("relocation out of range", {"change": change.name, "step": "link"})
            return "link"
        if lock != change.lock and rng.random() < 0.7:
            journal.error(f"undefined symbol: init_{change.lock}", {"change": change.name, "step": "link"})
            return "link"
        failed = [f"test_{rng.randint(1, 400)}"] if rng.random() < 0.05 else []
        journal.log_action("test", {"change": change.name, "ran": rng.randint(380, 400), "failed": failed})
        return "test" if failed else ""

    def result(self, runner: Runner, change: Change, failure: str) -> None:
        """Tells what became of a change, and puts it back once where it failed."""
        outcome = f"failed in {failure}" if failure else "green"
        what = {"change": change.name, "by": runner.agent_id, "outcome": outcome}
        self.scheduler.log_action("result", what)
        if failure:
            change.tries += 1
            if change.tries < 2:
                self.waiting.append(change)
            elif change.bump:
                self.proposed.discard(change.bump)
            return
        if change.bump:
            self.versions[change.bump[0]] = change.bump[1]
            self.proposed.discard(change.bump)
            self.lock += 1
        try:
            self.store.upload("publisher", change.name, round(runner.rng.uniform(3, 40), 1))
        except PermissionError:
            runner.journal.warning("package not published", {"change": change.name})

    def step(self, number: int) -> None:
        """Some minutes of the farm."""
        for _ in self.runners:
            if self.rng.random() < self.changes:
                self.submit(self.people)
        if self.rng.random() < 0.12:
            self.released[self.rng.choice(PACKAGES)] += 1
        self.bots()
        for runner in self.rng.sample(self.runners, len(self.runners)):
            if runner.busy_steps:
                runner.busy_steps -= 1
            elif self.waiting:
                change = self.waiting.popleft()
                self.scheduler.log_decision("assign", {"change": change.name, "runner": runner.agent_id})
                self.build(runner, change)
        self.metrics.log_metric("waiting_changes", len(self.waiting), "changes")
        if number % 4 == 1:
            for runner in self.runners:
                where = {"runner": runner.agent_id}
                self.metrics.log_metric("disk_used", round(runner.disk_gb, 1), "GB", where)

    def clean_up(self, runner: Runner, keep_builds: int, reason: str) -> str:
        """How many builds stay on the disk of a runner; gives the event."""
        old, runner.keep_builds = runner.keep_builds, keep_builds
        settings = {"keep_builds": old}, {"keep_builds": keep_builds}
        return runner.journal.log_strategy_update("clean_up", *settings, reason)

    def key(self, parts: list[str]) -> str:
        """What the key of the cache is made of; the cache begins anew. Gives the event."""
        self.key_parts, self.cached = parts, {}
        return self.cache.log_action("set_key", {"parts": parts})

    def grant(self, scope: str) -> str:
        """What the publisher may do; gives the event."""
        self.store.allow("publisher", scope)
        return self.vault.log_action("grant", {"account": "publisher", "scope": scope, "days": 30})

    def switch(self, mirror: str, trigger: str) -> str:
        """Another mirror answers from now on; gives the event."""
        old, self.mirror = self.mirror, mirror
        return self.registry.log_state_change(old, mirror, trigger)

    def rule(self, package: str, below: int) -> list[str]:
        """The newest version of a package that is allowed; gives both events."""
        message = self.security.send("pin_bot", {"package": package, "below": f"3.{below}"})
        self.below[package] = below
        return [message.event_id, self.pinner.receive(message)]

    def install(self, runner: Runner, version: str) -> str:
        """Another linker on one runner; gives the event."""
        runner.linker = version
        return self.system.log_module("linker", version, {"runner": runner.agent_id})


def run(plan: Plan, truth: Truth, changes: float = 0.55) -> None:
    """One session of the farm, as many steps long as a plan has ticks."""
    instrument(Store, methods=["upload"], agent_id="name", agent_role="store")
    farm = Farm(plan, changes)
    farm.system.log_simulation_start("farm", {"runners": plan.size, "mirrors": list(MIRRORS_S)})
    for number in range(plan.ticks):
        if number == plan.ticks // 3:
            farm.system.log_config("badge_colour", "green", "teal")
        _upkeep(farm, number)
        _plant(plan, truth, farm, number)
        farm.step(number)
    farm.system.log_simulation_end("farm", "end of the day")


def _upkeep(farm: Farm, number: int) -> None:
    """What operators do in the ordinary course of a day."""
    plan, rng = farm.plan, farm.hands
    runner = farm.runners[(number * 3 + 1) % plan.size]
    before, fault = number < plan.at - 4, plan.fault
    touchable = before or fault is None or runner is not farm.runners[plan.victim]
    if number % 9 == 4 and touchable:
        farm.clean_up(runner, rng.randint(1, 4), "disk review")
    if number % 17 == 8 and (before or fault != "stale_cache"):
        farm.key(rng.choice([["os", "lock_file"], ["os", "lock_file", "arch"]]))
    if number % 15 == 6 and (before or fault != "permission_revoked"):
        farm.grant(rng.choice(["packages:write", "packages:write", "registry:write"]))
    if number % 13 == 9 and (before or fault != "slow_dependency"):
        farm.switch("south" if farm.mirror == "north" else "north", "maintenance")
    if number % 12 == 5:
        packages = [one for one in PACKAGES if before or fault != "stuck_loop" or one != "zlib"]
        farm.rule(rng.choice(packages), rng.randint(60, 90))
    if number % 10 == 2 and touchable:
        farm.install(runner, rng.choice(["14.1", "14.2", "14.3"]))


def _plant(plan: Plan, truth: Truth, farm: Farm, number: int) -> None:
    victim = farm.runners[plan.victim]
    if plan.begins("resource_leak", number):
        truth.note(farm.clean_up(victim, plan.rng.choice([150, 400]), "faster rebuilds"))
    if plan.begins("stale_cache", number):
        truth.note(farm.key(plan.rng.choice([["os"], ["os", "arch"]])))
    if plan.begins("permission_revoked", number):
        truth.note(farm.grant("packages:read"))
    if plan.begins("slow_dependency", number):
        truth.note(farm.switch("overseas", "health check"))
    if plan.begins("stuck_loop", number):
        farm.released["zlib"] = max(farm.released["zlib"], 12)
        truth.note(*farm.rule("zlib", min(farm.versions["zlib"], 11)))
    if plan.begins("bad_rollout", number):
        truth.note(farm.install(victim, "15.0"))


WORLD = World(
    name="build_farm",
    run=run,
    prefix="runner",
    sizes=(4, 7),
    ticks=(90, 130),
    complaints={
        "resource_leak": "whatever {victim} gets to build fails at once, there is nothing wrong with those changes",
        "stale_cache": "more and more changes fail with undefined symbols, on my own machine they build well",
        "permission_revoked": "my package is not in the store although the build was green, others say the same",
        "slow_dependency": "builds take much longer than in the morning and the changes pile up",
        "stuck_loop": "the bots keep the farm busy with changes that undo each other, over and over",
        "bad_rollout": "the same change fails on one machine and is green when it is tried again elsewhere",
    },
)
CALM = World(
    name="build_farm_release",
    run=partial(run, changes=0.7),
    prefix="runner",
    sizes=(4, 8),
    ticks=(80, 130),
    complaints={
        "suspects_agent": "does {victim} fail more tests than the other machines?",
        "suspects_cache": "I believe that the cache does not work any more since about change {when}",
        "suspects_registry": "fetching packages is slow at times, who has changed something there?",
    },
)
