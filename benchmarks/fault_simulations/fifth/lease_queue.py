"""A job queue in SimPy: workers take jobs under a lease, renew nothing, and acknowledge them; the clock is seconds."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import simpy

from Agent import AgentLogger, SystemLogger
from benchmarks.fault_simulations.kit import Event, Fault, pick

END = 9_200
KINDS = {"thumbnail": (20, 50), "report": (60, 130), "video": (140, 260), "invoice": (40, 80)}
SERVES = {
    **{f"w{number:02d}": ("thumbnail", "report") for number in range(1, 7)},
    **{f"w{number:02d}": ("video",) for number in range(7, 13)},
    **{f"w{number:02d}": ("invoice",) for number in range(13, 16)},
}
LEASES = {"thumbnail": 90, "report": 220, "video": 420, "invoice": 150}


@dataclass
class Job:
    """A job with its state."""

    id: str
    kind: str
    owner: str
    created: float
    seconds: float
    state: str = "waiting"
    deadline: float = 0.0
    runs: int = 0
    made: int = 0


class Yard:
    """The queue, its workers and those who send jobs."""

    def __init__(self, seed: int, fault: str) -> None:
        """Set up everything."""
        self.fault = fault
        self.arrivals = {kind: random.Random(f"{kind} {seed}") for kind in KINDS}
        self.wear = {name: random.Random(f"{name} {seed}") for name in SERVES}
        self.env = simpy.Environment()
        self.jobs: list[Job] = []
        self.queue, self.reaper = AgentLogger("queue", "broker"), AgentLogger("lease_keeper", "broker")
        self.pool, self.billing = AgentLogger("gpu_pool", "resource"), AgentLogger("billing", "service")
        self.workers = {name: AgentLogger(name, "worker") for name in SERVES}
        self.senders = {
            name: AgentLogger(name, "sender") for name in ("studio", "shop", "archive", "press", "clinic")
        }
        self.system = SystemLogger("queue")
        self.leases = dict(LEASES)
        self.slots = 6
        self.paid: dict[str, int] = {}
        self.waits: dict[str, list[float]] = {kind: [] for kind in KINDS}

    def now(self) -> int:
        """Return the second."""
        return int(self.env.now)

    def send_jobs(self, kind: str, every: float) -> Generator[Any, Any, None]:
        """Send jobs of a kind from time to time."""
        rng = self.arrivals[kind]
        while True:
            yield self.env.timeout(rng.expovariate(1 / every))
            job = self.add(kind, rng.choice(sorted(self.senders)))
            self.env.process(self.fetch(job))

    def add(self, kind: str, owner: str) -> Job:
        """Put a job into the queue."""
        job = Job(
            f"job-{1001 + len(self.jobs)}",
            kind,
            owner,
            self.env.now,
            self.arrivals[kind].uniform(*KINDS[kind]),
        )
        self.jobs.append(job)
        made = self.senders[owner].log_action("submit", {"job": job.id, "kind": kind, "at": self.now()})
        self.queue.log_action("enqueue", {"job": job.id, "kind": kind, "at": self.now()}, causes=made)
        return job

    def fetch(self, job: Job) -> Generator[Any, Any, None]:
        """Look for the result of a job after some minutes."""
        yield self.env.timeout(300)
        found = job.made > 0
        self.senders[job.owner].log_action("fetch", {"job": job.id, "found": found, "at": self.now()})

    def take(self, name: str) -> Job | None:
        """Give the oldest fitting job to a worker."""
        fitting = [job for job in self.jobs if job.state == "waiting" and job.kind in SERVES[name]]
        if not fitting or ("video" in SERVES[name] and self.slots <= 0):
            return None
        job = fitting[0]
        job.state, job.runs = "leased", job.runs + 1
        job.deadline = self.env.now + self.leases[job.kind]
        grant = {"job": job.id, "worker": name, "lease_s": self.leases[job.kind], "at": self.now()}
        self.queue.log_decision("grant", grant)
        if job.runs == 1:
            self.waits[job.kind].append(self.env.now - job.created)
        return job

    def work(self, name: str) -> Generator[Any, Any, None]:
        """Take jobs and do them, for ever."""
        log, wear = self.workers[name], self.wear[name]
        while True:
            yield self.env.timeout(wear.uniform(6, 12))
            if name == "w04" and 3600 < self.env.now < 3700:
                log.log_action("update", {"version": "2.8.1", "at": self.now()})
                yield self.env.timeout(300)
            if self.fault == "sits_still" and name == "w14" and self.env.now > 5200:
                continue
            job = self.take(name)
            if job is None:
                continue
            if job.kind == "video":
                self.slots -= 1
                self.pool.log_action("lend", {"worker": name, "free": self.slots, "at": self.now()})
            log.log_action("begin", {"job": job.id, "kind": job.kind, "attempt": job.runs, "at": self.now()})
            breaks = wear.random() < 0.07
            yield self.env.timeout(job.seconds * (0.4 if breaks else 1) * wear.uniform(0.9, 1.1))
            if breaks:
                log.error("decoder stopped, the job goes back", {"job": job.id})
                job.state = "waiting"
            else:
                self.finish(name, job)
            if job.kind == "video" and not (
                self.fault == "slot_not_returned" and breaks and self.env.now > 2800
            ):
                self.slots += 1
                self.pool.log_action("take_back", {"worker": name, "free": self.slots, "at": self.now()})

    def finish(self, name: str, job: Job) -> None:
        """Store what a job made, acknowledge it and bill it."""
        log = self.workers[name]
        job.made += 1
        log.log_action(
            "store", {"job": job.id, "bytes": self.wear[name].randint(2_000, 90_000), "at": self.now()}
        )
        named = job
        if self.fault == "other_job_done" and job.kind == "invoice" and 7000 < self.env.now:
            running = [one for one in self.jobs if one.kind == "invoice" and one.state == "waiting"]
            if running and not any(one.state == "lost" for one in self.jobs):
                named = running[-1]
        ack = log.log_action("ack", {"job": named.id, "at": self.now()})
        if named.state in {"leased", "waiting"}:
            named.state = "done" if named is job else "lost"
        self.queue.log_action("close", {"job": named.id, "at": self.now()}, causes=ack)
        cents = {"thumbnail": 2, "report": 40, "video": 150, "invoice": 10}[job.kind]
        self.paid[job.id] = self.paid.get(job.id, 0) + 1
        letter = self.billing.send(job.owner, {"job": job.id, "cents": cents, "at": self.now()})
        self.senders[job.owner].receive(letter)

    def keep_leases(self) -> Generator[Any, Any, None]:
        """Give jobs whose lease has run out back to the queue."""
        while True:
            yield self.env.timeout(15)
            for job in self.jobs:
                if job.state == "leased" and job.deadline < self.env.now:
                    job.state = "waiting"
                    late = round(self.env.now - job.deadline)
                    self.reaper.log_action("expire", {"job": job.id, "late_s": late, "at": self.now()})

    def look(self) -> Generator[Any, Any, None]:
        """Log the lengths of the queue, and whatever maintenance brings."""
        while True:
            yield self.env.timeout(300)
            lengths = {
                kind: sum(j.kind == kind and j.state == "waiting" for j in self.jobs) for kind in KINDS
            }
            self.queue.log_action("lengths", lengths | {"at": self.now()})
            if self.now() in {1500, 3300, 6600, 9000}:
                self.set_lease(
                    {1500: "thumbnail", 3300: "report", 6600: "video", 9000: "invoice"}[self.now()]
                )
            if self.now() == 8100:
                self.queue.log_action("compact_journal", {"entries": len(self.jobs), "at": self.now()})

    def set_lease(self, kind: str) -> None:
        """Set the lease of a kind anew, by the latest durations."""
        new = {"thumbnail": 95, "report": 210, "video": 400, "invoice": 145}[kind]
        if self.fault == "short_lease" and kind == "video":
            new = 140
        self.system.log_config(f"lease.{kind}", self.leases[kind], new, {"at": self.now(), "unit": "s"})
        self.leases[kind] = new


def run(seed: int, fault: str) -> dict[str, Any]:
    """Play some hours of the queue."""
    yard = Yard(seed, fault)
    for kind, every in (("thumbnail", 75), ("report", 115), ("video", 56), ("invoice", 30)):
        yard.env.process(yard.send_jobs(kind, every))
    for name in SERVES:
        yard.env.process(yard.work(name))
    yard.env.process(yard.keep_leases())
    yard.env.process(yard.look())
    yard.env.run(END)
    twice = sum(count > 1 for count in yard.paid.values())
    lost = [job.id for job in yard.jobs if job.state == "lost" and not job.made]
    late = {kind: _late(yard, kind) for kind in KINDS}
    return {"twice": twice, "lost": len(lost), "late": late, "jobs": len(yard.jobs)}


def _late(yard: Yard, kind: str) -> float:
    """Return the mean age of those of the last jobs of a kind that still wait, and the waits of the others."""
    waiting = [END - job.created for job in yard.jobs if job.kind == kind and job.state == "waiting"]
    return round(sum(waits := yard.waits[kind][-30:] + waiting) / max(1, len(waits)))


def _broken(events: Sequence[Event]) -> list[str]:
    """Return the failures of video jobs after which no slot came back."""
    found = []
    for at, event in enumerate(events):
        if "decoder stopped" in event.message and event.agent in {
            f"w{number:02d}" for number in range(7, 13)
        }:
            back = events[at + 1] if at + 1 < len(events) else None
            if back is None or back.act != "take_back" or back.args.get("worker") != event.agent:
                found.append(event.id)
    return found[:3]


FAULTS = {
    "short_lease": Fault(
        complaint="studio gets bills for the same video twice, sometimes three times. The shop people see it too "
        "on their account.",
        symptom=lambda faulty, healthy: faulty["twice"] > healthy["twice"] + 3,
        true=lambda events: pick(
            events, act="system.config", where=lambda e: e.record["extra"].get("name") == "lease.video"
        ),
    ),
    "sits_still": Fault(
        complaint="Invoices used to be ready in a minute or two. By now they take ten minutes and more.",
        symptom=lambda faulty, healthy: faulty["late"]["invoice"] > 2 * healthy["late"]["invoice"] + 150,
        true=lambda events: pick(events, "w14", "ack", first=9999)[-1:],
    ),
    "slot_not_returned": Fault(
        complaint="Hardly anything happens with our videos any more, the queue only grows although six machines are up.",
        symptom=lambda faulty, healthy: faulty["late"]["video"] > 2 * healthy["late"]["video"] + 600,
        true=_broken,
    ),
    "other_job_done": Fault(
        complaint="An invoice job of ours is marked as done but there is no file behind it, although billing charged us nothing either.",
        symptom=lambda faulty, healthy: faulty["lost"] > healthy["lost"],
        true=lambda events: _foreign_ack(events),
    ),
}


def _foreign_ack(events: Sequence[Event]) -> list[str]:
    """Return the first acknowledgement of a job that the worker had not stored just before."""
    stored: dict[str, str] = {}
    for event in events:
        if event.act == "store":
            stored[event.agent] = event.args["job"]
        elif event.act == "ack" and stored.get(event.agent) != event.args["job"]:
            return [event.id]
    return []
