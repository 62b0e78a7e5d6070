"""A build farm: a scheduler, workers with licences, an artifact store, a version desk and releases.

One tick is a minute. Evidence: each action names the events that it follows from.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from Agent import AgentLogger, SystemLogger, tick
from benchmarks.fault_worlds.kit import Case, World

CLASSES = ("app", "scan", "docs")


@dataclass
class Job:
    """A job in the queue, with its last event."""

    name: str
    sort: str
    last: str
    release: str = ""
    flaky: int = 0


class Farm:
    """The farm and its agents."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = case.rng("farm")
        self.logs: dict[str, AgentLogger] = {}
        self.system = SystemLogger()
        self.workers = [f"worker_{n}" for n in range(1, self.rng.randint(4, 8))]
        self.queue: dict[str, deque[Job]] = {sort: deque() for sort in CLASSES}
        self.weight = {"app": 5, "scan": 3, "docs": 4}
        self.licences = 8
        self.leaky = ""
        self.no_limit = False
        self.versions: dict[str, int] = {}
        self.artifacts: dict[str, tuple[str, str]] = {}  # name and version -> digest, event
        self.done: dict[str, str] = {}
        self.last_setting: str | None = None
        self.number = self.rng.randint(100, 900)

    def act(
        self, agent: str, role: str, action: str, causes: str | list[str] | None = None, **data: Any
    ) -> str:
        """Record one action with its causes."""
        log = self.logs.setdefault(agent, AgentLogger(agent, role))
        return log.log_action(action, data, causes=causes)

    def submit(self, sort: str, *, flaky: int = 0, release: str = "") -> Job:
        """Queue a job."""
        self.number += 1
        name = f"{sort}-{self.number}"
        pushed = self.act(f"dev_{self.number % 7}", "developer", "push", None, job=name)
        queued = self.act("scheduler", "scheduler", "enqueue", pushed, job=name, sort=sort)
        job = Job(name, sort, queued, release, flaky)
        self.queue[sort].append(job)
        return job

    def work(self, now: int) -> None:
        """Let each worker take one job, the class with the highest weight first."""
        case = self.case
        requeued: list[Job] = []
        for worker in self.workers:
            sort = max((s for s in CLASSES if self.queue[s]), key=lambda s: self.weight[s], default=None)
            if sort is None:
                break
            job = self.queue[sort].popleft()
            causes = [job.last] + ([self.last_setting] if self.last_setting else [])
            given = self.act("scheduler", "scheduler", "assign", causes, job=job.name, to=worker)
            if job.flaky:
                failed = self.logs.setdefault(worker, AgentLogger(worker, "worker")).error(
                    "test failed, queued again", {"job": job.name}, causes=given
                )
                job.last = self.act("scheduler", "scheduler", "requeue", failed, job=job.name)
                case_job = self.no_limit and job.name == getattr(self, "storm", "")
                if not case_job:
                    job.flaky -= 1
                elif len(case.roots) < 3:
                    case.root(job.last, failed)
                copies = 2 if case_job and now % max(1, (case.end - case.begin) // 8) == 0 else 1
                requeued.extend(Job(job.name, sort, job.last, flaky=job.flaky) for _ in range(copies))
                continue
            got = self.act(
                "licences", "service", "check_out", given, job=job.name, holder=worker, left=self.licences - 1
            )
            if self.licences == 0:
                refused = self.act(worker, "worker", "no_licence", got, job=job.name)
                case.hop(given, got)
                self.act("release_desk", "desk", "postpone", refused, job=job.name)
                case.symptom(
                    refused,
                    f"{job.name} could not be built, there was no licence",
                    f"why are there no licences left? {worker} waits with {job.name}",
                    f"build of {job.name} refused for want of a licence",
                )
                requeued.append(job)
                continue
            self.licences -= 1
            built = self.act(worker, "worker", "build", got, job=job.name)
            self.done[job.name] = built
            if worker != self.leaky:
                self.act(
                    "licences",
                    "service",
                    "give_back",
                    built,
                    holder=worker,
                    job=job.name,
                    left=self.licences + 1,
                )
                self.licences += 1
            elif len(case.roots) < 3:
                case.root(built, got)
        for job in requeued:
            self.queue[job.sort].appendleft(job) if job.name == getattr(self, "storm", "") else self.queue[
                job.sort
            ].append(job)

    def publish(self, app: str, builders: list[str], *, racing: bool) -> list[tuple[str, str]]:
        """Let builders publish one artifact each under the next free version; return names and digests."""
        published, looked, chosen = [], [], []
        rounds = [builders] if racing else [[builder] for builder in builders]
        for together in rounds:
            version = self.versions.get(app, 0) + 1
            looks = [
                self.act("version_desk", "desk", "next_version", None, app=app, asked_by=b, answer=version)
                for b in together
            ]
            looked += looks
            for builder, look in zip(together, looks, strict=True):
                self.number += 1
                digest = f"{self.rng.getrandbits(32):08x}"
                self.versions[app] = version
                put = self.act(builder, "worker", "publish", look, app=app, version=version, digest=digest)
                self.artifacts[f"{app}:{version}"] = (digest, put)
                published.append((f"{app}:{version}", digest))
                chosen.append(put)
        if racing:
            self.case.root(chosen[-1], looked[-1])
        return published


def play(case: Case) -> None:
    """Play the farm for some hours."""
    farm = Farm(case)
    rng = farm.rng
    minutes = rng.randint(70, 300)
    case.window(minutes, shortest=8 if case.has("retry_storm") else 1)
    load = len(farm.workers) * rng.uniform(0.35, 0.6)
    waited: dict[int, list[str]] = {}
    deploys: dict[int, list[tuple[str, str]]] = {}
    for now in range(minutes):
        with tick(now):
            if rng.random() < 0.03:
                farm.act("operator", "operator", "update_worker", None, worker=rng.choice(farm.workers))
            if rng.random() < 0.07:
                farm.system.log_config(
                    rng.choice(("log_days", "page_size", "avatar", "mail_hour")),
                    rng.randint(1, 9),
                    rng.randint(1, 9),
                )
            if rng.random() < 0.12:  # weights of everyday, which change nothing
                farm.weight["app"] = rng.choice((5, 6))
                farm.last_setting = farm.act(
                    "operator", "operator", "set_weight", None, sort="app", weight=farm.weight["app"]
                )
            if now == case.decoy_at or rng.random() < 0.03:
                farm.act(rng.choice(farm.workers), "worker", "clean_disk", None, freed_gb=rng.randint(1, 40))
            for _ in range(int(load) + (rng.random() < load % 1)):
                farm.submit(rng.choices(CLASSES, (6, 3, 1))[0], flaky=rng.choice((0, 0, 0, 0, 0, 0, 1, 2)))
            if rng.random() < 0.12:
                app = f"lib_{rng.randint(1, 6)}"
                done = farm.publish(app, rng.sample(farm.workers, rng.choice((1, 1, 2))), racing=False)
                deploys.setdefault(now + rng.randint(1, minutes // 2), []).extend(done)
            _planned(farm, now, deploys, waited)
            farm.work(now)
            for wanted, digest in deploys.pop(now, ()):
                found, put = farm.artifacts[wanted]
                fetched = farm.act("deployer", "deployer", "fetch", put, artifact=wanted, expected=digest)
                checked = farm.act("site", "site", "verify", fetched, artifact=wanted, found=found)
                if found != digest:
                    case.hop(fetched)
                    case.symptom(
                        checked,
                        f"what runs as {wanted} is not what we built",
                        f"{wanted} has the wrong content, the deployer fetched it as usual",
                        f"digest of {wanted} does not match",
                    )
            for name in waited.pop(now, ()):
                ready = farm.done.get(name)
                asked = farm.act(
                    "release_desk",
                    "desk",
                    "ask_status",
                    ready or farm.last_setting,
                    job=name,
                    done=ready is not None,
                )
                if ready is None:
                    held = farm.act("release_manager", "manager", "hold_release", asked, job=name)
                    case.hop(asked)
                    case.symptom(
                        held,
                        f"the release is held because {name} was never built",
                        f"{name} has been queued for ages, release_desk cannot tell why",
                        f"{name} still not done",
                    )


def _planned(
    farm: Farm, now: int, deploys: dict[int, list[tuple[str, str]]], waited: dict[int, list[str]]
) -> None:
    """Do what the plan has for this minute, with the fault or without it."""
    case, rng = farm.case, farm.rng
    begin, end = case.begin, case.end
    if now == begin:
        if case.has("race"):
            pair = rng.sample(farm.workers, 2)
            deploys.setdefault(end, []).append(farm.publish("lib_3", pair, racing=case.strikes("race"))[0])
        elif case.has("starved_queue"):
            weight = 9 if case.strikes("starved_queue") else 3
            farm.weight["scan"] = weight
            farm.last_setting = farm.act(
                "operator", "operator", "set_weight", None, sort="scan", weight=weight
            )
            case.root(farm.last_setting)
        elif case.has("leaked_resource"):
            farm.licences = min(farm.licences, max(3, round((end - begin) * 0.9) + 1))
            leaky = rng.choice(farm.workers)
            farm.act("operator", "operator", "update_worker", None, worker=leaky)
            farm.leaky = leaky if case.strikes("leaked_resource") else ""
        elif case.has("retry_storm"):
            farm.no_limit = case.strikes("retry_storm")
            job = farm.submit("app", flaky=1)
            farm.storm = job.name  # type: ignore[attr-defined]
            farm.queue["app"].rotate(1)
    flood = max(begin, end - 12)
    if now == flood and case.has("starved_queue"):
        case.trigger(farm.act("operator", "operator", "import_repository", None, name="archive"))
    elif rng.random() < 0.02:
        farm.act("operator", "operator", "import_repository", None, name=f"lib_{rng.randint(1, 6)}")
    if case.has("starved_queue") and now >= flood:
        for _ in range(len(farm.workers)):
            farm.submit("scan")
    if case.kind in {"starved_queue", "retry_storm"} and now == max(begin, end - 5):
        waited.setdefault(end + 1 if end - begin < 3 else end, []).append(farm.submit("docs").name)


WORLD = World("buildfarm", "edges", ("starved_queue", "leaked_resource", "retry_storm", "race"), play)
