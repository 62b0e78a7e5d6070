"""Continuous deployment: releases go to canary hosts first, a gate reads their metrics, a balancer spreads users."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from Agent import tick, trace_agent_action
from benchmarks.fault_simulations.kit import Fault, pick

MINUTES = 480
HOSTS = [f"web-{number:02d}" for number in range(1, 25)]
STAFF = ("web-21", "web-22", "web-23", "web-24")
SERVICES = ("search", "basket", "checkout", "profile")
REGIONS = ("north", "south", "islands")


@dataclass
class Release:
    """A version of a service with what is wrong with it."""

    service: str
    version: int
    errors: float
    old_phones: float


RELEASES = {
    20: Release("search", 41, 0.002, 0.002),
    75: Release("basket", 17, 0.003, 0.003),
    130: Release("checkout", 88, 0.031, 0.031),
    190: Release("profile", 9, 0.001, 0.002),
    245: Release("search", 42, 0.027, 0.027),
    310: Release("basket", 18, 0.002, 0.11),
    370: Release("checkout", 89, 0.002, 0.002),
}


class Host:
    """A machine that runs all services."""

    agent_role = "host"

    def __init__(self, agent_id: str) -> None:
        """Start in the pool."""
        self.agent_id = agent_id
        self.versions = {"search": 40, "basket": 16, "checkout": 87, "profile": 8}
        self.in_pool = True

    @trace_agent_action()
    def install(self, service: str, version: int) -> str:
        """Install a version."""
        self.versions[service] = version
        return f"{service}:{version}"

    @trace_agent_action()
    def patch_kernel(self, build: str) -> str:
        """Install a kernel and restart."""
        return build


class Balancer:
    """Spreads users over the hosts in the pool."""

    agent_id, agent_role = "balancer", "balancer"

    def __init__(self) -> None:
        """Start with all hosts."""
        self.pool = list(HOSTS)

    @trace_agent_action()
    def drain(self, host: str) -> int:
        """Take a host out of the pool."""
        self.pool = [one for one in self.pool if one != host]
        return len(self.pool)

    @trace_agent_action()
    def restore(self, host: str) -> int:
        """Put a host back."""
        self.pool = sorted({*self.pool, host})
        return len(self.pool)

    @trace_agent_action()
    def spread(self, users: int, wait_ms: int) -> int:
        """Spread the users of a minute; return how many each host has."""
        return users // max(1, len(self.pool))


class Metrics:
    """Collects error rates of versions."""

    agent_id, agent_role = "metrics", "metrics"

    def __init__(self) -> None:
        """Start without rates."""
        self.rates: dict[str, float] = {}

    @trace_agent_action()
    def collect(self, service: str, version: int, requests: int, errors: float) -> float:
        """Take the error rate of a version on the canary hosts."""
        self.rates[f"{service}:{version}"] = errors
        return errors

    @trace_agent_action()
    def report(self, service: str, version: int, errors: float, age_min: int) -> float:
        """Answer the gate."""
        return errors


class Gate:
    """Decides whether a release goes on."""

    agent_id, agent_role = "gate", "gate"

    def __init__(self) -> None:
        """Start with the budgets of each service."""
        self.budgets = {"search": 0.01, "basket": 0.008, "checkout": 0.005, "profile": 0.02}

    @trace_agent_action()
    def set_budget(self, service: str, share: float) -> float:
        """Set which share of requests may fail."""
        self.budgets[service] = share
        return share

    @trace_agent_action()
    def judge(self, service: str, version: int, errors: float) -> str:
        """Promote or roll back."""
        return "promote" if errors <= self.budgets[service] else "roll back"


class Deployer:
    """Installs releases."""

    agent_id, agent_role = "deployer", "deployer"

    @trace_agent_action()
    def choose_canaries(self, service: str, version: int, hosts: list[str]) -> list[str]:
        """Choose the hosts that get a release first."""
        return hosts

    @trace_agent_action()
    def roll_out(self, service: str, version: int, hosts: int) -> int:
        """Announce a step."""
        return hosts


class Operator:
    """The people on call and their chores."""

    agent_role = "operator"

    def __init__(self, agent_id: str) -> None:
        """Begin a shift."""
        self.agent_id = agent_id

    @trace_agent_action()
    def chore(self, what: str, target: str) -> str:
        """Do a chore."""
        return "done"


class Users:
    """The users of a region."""

    agent_role = "users"

    def __init__(self, agent_id: str) -> None:
        """Start satisfied."""
        self.agent_id = agent_id

    @trace_agent_action()
    def use(self, service: str, users: int, failed: int, wait_ms: int) -> int:
        """Use a service for five minutes."""
        return failed


class _Site:
    def __init__(self, seed: int, fault: str) -> None:
        self.fault = fault
        self.rng = random.Random(f"site {seed}")
        self.hosts = {name: Host(name) for name in HOSTS}
        self.balancer, self.metrics, self.gate, self.deployer = Balancer(), Metrics(), Gate(), Deployer()
        self.people = [Operator("op_mira"), Operator("op_theo")]
        self.users = [Users(f"users_{region}") for region in REGIONS]
        self.bad = {f"{r.service}:{r.version}": r for r in RELEASES.values()}
        self.canaries: list[str] = []
        self.patching: list[tuple[int, str]] = []
        self.failed: dict[tuple[str, int], int] = {}
        self.worst_wait = 0

    def rate(self, host: Host, service: str, phones: bool) -> float:
        release = self.bad.get(f"{service}:{host.versions[service]}")
        if release is None:
            return 0.001
        return release.old_phones if phones else release.errors

    def begin(self, release: Release) -> None:
        names = [one for one in HOSTS if one in self.balancer.pool and one not in STAFF]
        chosen = sorted(self.rng.sample(names, 3))
        if self.fault == "staff_hosts" and release.version == 18:
            chosen = ["web-21", "web-22", "web-24"]
        self.canaries = self.deployer.choose_canaries(release.service, release.version, chosen)
        for name in self.canaries:
            self.hosts[name].install(release.service, release.version)

    def watch(self, release: Release) -> None:
        seen = []
        for name in self.canaries:
            phones = 0.0 if name in STAFF else 0.15
            old = self.rate(self.hosts[name], release.service, True)
            seen.append(old * phones + self.rate(self.hosts[name], release.service, False) * (1 - phones))
        errors = round(sum(seen) / 3 * self.rng.uniform(0.9, 1.1), 4)
        self.metrics.collect(release.service, release.version, self.rng.randint(4000, 7000), errors)

    def decide(self, release: Release) -> None:
        errors = self.metrics.rates[f"{release.service}:{release.version}"]
        if self.fault == "earlier_numbers" and release.version == 42:
            errors = self.metrics.rates["search:41"]
        errors = self.metrics.report(release.service, release.version, errors, self.rng.randint(1, 4))
        verdict = self.gate.judge(release.service, release.version, errors)
        if verdict == "promote":
            self.deployer.roll_out(release.service, release.version, len(HOSTS))
            for host in self.hosts.values():
                host.install(release.service, release.version)
        else:
            for name in self.canaries:
                self.hosts[name].install(release.service, release.version - 1)

    def chores(self, minute: int) -> None:
        person = self.people[minute // 240 % 2]
        if minute % 45 == 10:
            person.chore(
                self.rng.choice(("rotate logs", "renew certificate", "read alerts")), self.rng.choice(HOSTS)
            )
        if minute in {60, 110, 200, 290}:
            service = {60: "basket", 110: "checkout", 200: "search", 290: "profile"}[minute]
            share = {60: 0.007, 110: 0.006, 200: 0.012, 290: 0.018}[minute]
            if self.fault == "budget_in_percent" and minute == 110:
                share = 0.6
            self.gate.set_budget(service, share)
        if minute % 12 == 6 and minute < 300:
            name = HOSTS[minute // 12 % 20]
            self.balancer.drain(name)
            self.hosts[name].patch_kernel(f"6.1.{90 + minute // 120}")
            self.patching.append((minute + 5, name))
        for due, name in [one for one in self.patching if one[0] == minute]:
            self.patching.remove((due, name))
            if self.fault == "left_outside" and 150 <= minute <= 260:
                person.chore("read alerts", name)
            else:
                person.chore("check patch", name)
                self.balancer.restore(name)
        if minute == 395:
            person.chore("move rack power", "rack 4")

    def serve(self, minute: int) -> None:
        busy = 1.0 + (minute > 400) * 0.9 + 0.2 * self.rng.random()
        users = int(9000 * busy)
        each = users // len(self.balancer.pool)
        wait = int(80 + max(0, each - 950) * 2.5 + self.rng.randint(0, 25))
        self.worst_wait = max(self.worst_wait, wait)
        self.balancer.spread(users, wait)
        for group in self.users:
            for service in SERVICES:
                rates = [
                    self.rate(
                        self.hosts[name],
                        service,
                        group.agent_id == "users_islands" and self.rng.random() < 0.6,
                    )
                    for name in self.rng.sample(self.balancer.pool, 4)
                ]
                failed = int(users / 12 * sum(rates) / 4)
                group.use(service, users // 12, failed, wait)
                key = (service, minute // 60)
                self.failed[key] = self.failed.get(key, 0) + failed

    def play(self, minute: int) -> None:
        self.chores(minute)
        if minute in RELEASES:
            self.begin(RELEASES[minute])
        for start, release in RELEASES.items():
            if start < minute <= start + 12 and (minute - start) % 3 == 0:
                self.watch(release)
            if minute == start + 13:
                self.decide(release)
        if minute % 5 == 0:
            self.serve(minute)


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play eight hours of a site."""
    site = _Site(seed, fault)
    for minute in range(MINUTES):
        with tick(minute):
            site.play(minute)
    return {
        "checkout": site.failed["checkout", 3],
        "search": site.failed["search", 5],
        "basket": site.failed["basket", 6],
        "wait": site.worst_wait,
        "pool": len(site.balancer.pool),
    }


FAULTS = {
    "budget_in_percent": Fault(
        complaint="Paying fails again and again since about minute 145, users_north report it most. How could a release "
        "like that pass the gate?",
        symptom=lambda faulty, healthy: faulty["checkout"] > 4 * healthy["checkout"],
        true=lambda events: pick(events, "gate", "set_budget", tick=110),
    ),
    "earlier_numbers": Fault(
        complaint="Search is broken for many people, it began right after the last search release went to all hosts.",
        symptom=lambda faulty, healthy: faulty["search"] > 4 * healthy["search"],
        true=lambda events: pick(events, "metrics", "report", where=lambda e: e.args["version"] == 42),
    ),
    "left_outside": Fault(
        complaint="In the evening everything is slow, half a second and more per click, and the machines that "
        "balancer still uses are at their limit.",
        symptom=lambda faulty, healthy: faulty["wait"] > 1.6 * healthy["wait"],
        true=lambda events: _unrestored(events),
    ),
    "staff_hosts": Fault(
        complaint="People on the islands with old phones cannot fill their basket any more; others have no trouble.",
        symptom=lambda faulty, healthy: faulty["basket"] > 3 * healthy["basket"],
        true=lambda events: pick(
            events, "deployer", "choose_canaries", where=lambda e: e.args["version"] == 18
        ),
    ),
}


def _unrestored(events: Any) -> list[str]:
    """Return the chores after a patch that did not put the host back."""
    patched = {(e.tick + 5, e.agent) for e in events if e.act == "patch_kernel"}
    return pick(
        events,
        act="chore",
        tick=lambda at: 150 <= at <= 260,
        where=lambda e: (e.tick, e.args["target"]) in patched,
    )
