"""An asyncio pipeline: a reader hands out documents, workers parse and enrich them, a store keeps them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from Agent import AgentLogger, SystemLogger, tick, trace_agent_action, trace_performance
from benchmarks.fault_set.case import Plan, Truth, World


class StoreError(Exception):
    """The store does not take a row."""


class QuotaError(Exception):
    """No calls are left."""


class Store:
    """Keeps rows, over at most so many connections."""

    def __init__(self) -> None:
        self.agent_id = "store"
        self.agent_role = "service"
        self._rows: set[str] = set()
        self.connections = 0
        self.limit = 24
        self.down = False

    @trace_agent_action()
    async def write(self, row: str) -> int:
        """Keeps one row."""
        await asyncio.sleep(0)
        if self.down:
            raise ConnectionError("store closed the connection")
        if row in self._rows:
            raise StoreError(f"row {row} is there already")
        self._rows.add(row)
        return len(self._rows)

    def connect(self) -> None:
        if self.connections >= self.limit:
            raise StoreError("too many connections")
        self.connections += 1


class Enricher:
    """A service that knows more about words; it answers from one of two replicas, and counts calls."""

    def __init__(self, rng: random.Random, calls: int) -> None:
        self.agent_id = "enricher"
        self.agent_role = "service"
        self._rng = rng
        self.replica = "near"
        self.calls_left = calls

    @trace_agent_action()
    async def use_replica(self, replica: str) -> str:
        """Answers come from there."""
        self.replica = replica
        return replica

    @trace_performance("lookup")
    async def lookup(self, words: int) -> float:
        """A score; QuotaError where the allowance is used up."""
        if self.calls_left <= 0:
            raise QuotaError("429: no calls left today")
        self.calls_left -= 1
        await asyncio.sleep(0.006 if self.replica == "far" else 0.0002)
        return round(self._rng.random(), 3)


class Worker:
    """Takes documents, one after the other."""

    def __init__(self, agent_id: str, enricher: Enricher, store: Store, gate: asyncio.Lock) -> None:
        self.agent_id = agent_id
        self.logger = AgentLogger(agent_id, "worker")
        self._enricher, self._store, self._gate = enricher, store, gate
        self.keep_alive = False
        self.glossary = ["common"]
        self.done = 0

    @trace_agent_action()
    async def configure(self, keep_alive: bool) -> bool:
        """Whether connections stay open for the next row."""
        self.keep_alive = keep_alive
        return keep_alive

    @trace_agent_action()
    async def take(self, message: Any) -> int:
        """Accepts a document."""
        self.logger.receive(message)
        if "glossary" in message.body:
            self.glossary = message.body["glossary"]
        return len(message.body["text"])

    @trace_agent_action()
    async def process(self, document: str, text: str) -> str:
        """Parses, enriches and stores a document."""
        known = sum(word in self.glossary for word in text.split())
        score = await self._enricher.lookup(words=len(text.split()) + known)
        self._store.connect()
        try:
            await self._store.write(document)
        finally:
            if not self.keep_alive:
                self._store.connections -= 1
        self.done += 1
        return f"{document}:{score}"

    @trace_agent_action()
    async def lock_index(self, reason: str) -> str:
        """Nobody else may process until it is unlocked."""
        await self._gate.acquire()
        return reason

    @trace_agent_action()
    async def unlock_index(self) -> None:
        """Others may process again."""
        self._gate.release()

    @trace_agent_action()
    async def backfill(self, documents: int) -> int:
        """Enriches old documents again."""
        self._enricher.calls_left -= documents
        return documents


class Windows:
    """Counts the documents of each window of batches."""

    def __init__(self) -> None:
        self.agent_id = "windows"
        self.logger = AgentLogger("windows", "aggregator")
        self.shift = 0
        self.counts: dict[str, int] = {}

    @trace_agent_action()
    def align(self, zone: str, shift: int) -> int:
        """Where a window begins."""
        self.shift = shift
        return shift

    @trace_agent_action()
    def count(self, batch: int, documents: int) -> int:
        """Adds a batch to the window it belongs to."""
        window = str((batch + self.shift) // 5)
        self.counts = {window: self.counts.get(window, 0) + documents}
        return self.counts[window]


class Pipeline:
    """The stages and what runs between them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.store = Store()
        self.enricher = Enricher(plan.chance("enricher"), plan.size * plan.ticks * 3 + 300)
        self.gate = asyncio.Lock()
        names = [plan.name("worker", n) for n in range(plan.size)]
        self.workers = [Worker(name, self.enricher, self.store, self.gate) for name in names]
        self.reader = AgentLogger("reader", "reader")
        self.windows = Windows()
        self.system = SystemLogger("pipeline")
        self.rng = plan.chance("documents")
        self.documents = 0

    def document(self) -> dict[str, object]:
        self.documents += 1
        words = self.rng.choices(["common", "rare", "new", "old"], k=self.rng.randint(3, 9))
        return {"document": f"doc-{self.documents:05d}", "text": " ".join(words)}

    async def handle(self, worker: Worker, bodies: list[dict[str, object]]) -> int:
        """One worker's share of a batch; gives how many it finished."""
        finished = 0
        for body in bodies:
            if self.gate.locked():
                continue
            await worker.take(self.reader.send(worker.agent_id, body))
            try:
                await worker.process(str(body["document"]), str(body["text"]))
            except (ConnectionError, StoreError, QuotaError, TypeError):
                continue
            finished += 1
        return finished

    async def batch(self, now: int) -> None:
        shares = [[self.document() for _ in range(self.rng.randint(2, 3))] for _ in self.workers]
        if self.plan.begins("race", now):  # two workers see the same document at the head of the queue
            shares[self.plan.other][0] = shares[self.plan.victim][0]
        pairs = zip(self.workers, shares, strict=True)
        finished = await asyncio.gather(*(self.handle(worker, share) for worker, share in pairs))
        self.windows.count(batch=now, documents=sum(finished))
        if (now + self.windows.shift) % 5 == 0 and now % 5 and now:
            self.windows.logger.warning("window closed in the middle of a period", extra={"batch": now})
        if now % 5 == 4:
            self.system.log_checkpoint("period", {"documents": sum(finished)})
            expected = f"window {now // 5}"
            self.windows.logger.log_decision("close", {"window": expected, "counts": self.windows.counts})


async def _run(plan: Plan, truth: Truth) -> None:
    line = Pipeline(plan)
    line.system.log_simulation_start("pipeline", {"workers": plan.size})
    line.windows.align(zone="UTC", shift=0)
    for worker in line.workers:
        await worker.configure(keep_alive=False)
    outage = range(plan.at, plan.at + 6) if plan.fault == "tool_outage" else range(0)
    for now in range(plan.ticks):
        with tick(now):
            line.store.down = now in outage
            if now == plan.ticks // 6:
                line.system.log_config("log_format", "short", "long")
                await line.enricher.use_replica("near")
            if now % 10 == 6:
                colleague = line.workers[now % plan.size]
                if not line.gate.locked():
                    await colleague.lock_index("reindex")
                    await colleague.unlock_index()
            if now % 14 == 8:
                await line.workers[(now + 1) % plan.size].backfill(documents=3)
            await _plant(plan, truth, line, now)
            await line.batch(now)
    line.system.log_simulation_end("pipeline", "finished")


async def _plant(plan: Plan, truth: Truth, line: Pipeline, now: int) -> None:
    victim, other = line.workers[plan.victim], line.workers[plan.other]
    if plan.begins("tool_outage", now):
        truth.seek("store", "write", now, contains='"error_id"', first=2)
    if plan.begins("slow_dependency", now):
        await line.enricher.use_replica("far")
        truth.seek("enricher", "use_replica", now)
    if plan.begins("resource_leak", now):
        await victim.configure(keep_alive=True)
        truth.seek(victim.agent_id, "configure", now)
    if plan.begins("exhausted_quota", now):
        await other.backfill(documents=line.enricher.calls_left - plan.size * 8)
        truth.seek(other.agent_id, "backfill", now)
    if plan.begins("silent_agent", now):
        await other.lock_index("reindex")
        truth.seek(other.agent_id, "lock_index", now)
    if plan.begins("off_by_one_in_time", now):
        line.windows.align(zone="CET", shift=1)
        truth.seek("windows", "align", now)
    if plan.begins("poisoned_message", now):
        message = line.reader.send(victim.agent_id, {**line.document(), "glossary": 0})
        truth.note(message.event_id)
        await victim.take(message)
        truth.seek_event(victim.agent_id, "agent_message", now, contains=message.id)
        truth.seek(victim.agent_id, "take", now, contains='"glossary": 0')
    if plan.begins("race", now):
        for worker in (victim, other):
            truth.seek(worker.agent_id, "take", now)
            truth.seek_event(worker.agent_id, "agent_message", now)
            recipient = f'"recipient": "{worker.agent_id}"'
            truth.seek_event("reader", "agent_message", now, contains=recipient)


def run(plan: Plan, truth: Truth) -> None:
    """One session of the pipeline."""
    asyncio.run(_run(plan, truth))


WORLD = World(
    name="pipeline",
    run=run,
    prefix="worker",
    sizes=(4, 7),
    ticks=(40, 60),
    complaints={
        "tool_outage": "a lot of documents got lost in the middle of the run",
        "slow_dependency": "processing a document takes many times as long as at the start",
        "resource_leak": "documents fail with StoreError in the end, it worked fine for a long time",
        "exhausted_quota": "nothing gets processed any more, all workers fail on their documents",
        "silent_agent": "at tick {when} all workers had stopped processing and nobody knows why",
        "off_by_one_in_time": "the windows close in the middle of the period now and the counts are wrong",
        "poisoned_message": "{victim} cannot process a single document any more",
        "race": "one of the documents failed as it was there already",
    },
)
