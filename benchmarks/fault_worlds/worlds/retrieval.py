"""A retrieval pipeline: questions, an index, a document store with a pool of connections, a cache and a ranker.

Coroutines with decorated methods, several questions at a time, no ticks. Evidence: nested calls (spans).
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from Agent import AgentLogger, SystemLogger, trace_agent_action
from benchmarks.fault_worlds.kit import Case, World, call

POOL = 9
QUOTA = 60


class Part:
    """One part of the pipeline."""

    trace_ignore = ("shared",)

    def __init__(self, shared: Shared, agent_id: str, agent_role: str) -> None:
        self.shared = shared
        self.agent_id, self.agent_role = agent_id, agent_role
        self.log = AgentLogger(agent_id, agent_role)


class Shared:
    """What the parts use together; the plan says when a part fails."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = case.rng("pipeline")
        self.turn = 0
        self.free = POOL
        self.spent = 0
        self.latest: dict[str, int] = {}
        self.store: dict[str, int] = {}
        self.cached: dict[str, int] = {}
        self.leaks: set[int] = set()


class Store(Part):
    """Holds the documents; a reader needs a connection."""

    @trace_agent_action()
    async def connect(self, reader: str, document: str) -> int:
        if self.shared.free == 0:
            raise ConnectionError("no connection is free")
        self.shared.free -= 1
        return self.shared.free

    @trace_agent_action()
    async def release(self, reader: str, document: str) -> int:
        self.shared.free += 1
        return self.shared.free

    @trace_agent_action()
    async def load(self, document: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"document": document, "version": self.shared.store.get(document, 1)}


class Fetcher(Part):
    """Reads documents through the cache."""

    @trace_agent_action()
    async def fetch(self, document: str, store: Store, question: int) -> dict[str, Any]:
        kept = self.shared.cached.get(document)
        if kept is not None:
            return {"document": document, "version": kept, "from": "cache"}
        await store.connect(self.agent_id, document)
        found = await store.load(document)
        if question not in self.shared.leaks:
            await store.release(self.agent_id, document)
        self.shared.cached[document] = found["version"]
        return found

    @trace_agent_action()
    async def evict(self, document: str) -> bool:
        return self.shared.cached.pop(document, None) is not None


class Writer(Part):
    """Applies new versions of documents."""

    @trace_agent_action()
    async def apply(self, document: str, version: int) -> int:
        self.shared.store[document] = version
        return version


class Ingest(Part):
    """Receives new versions, and has them applied and evicted from the cache."""

    @trace_agent_action()
    async def update(
        self, document: str, versions: list[int], writers: list[Writer], fetchers: list[Fetcher]
    ) -> int:
        for writer, version in zip(writers, versions, strict=False):
            await writer.apply(document, version)
        for fetcher in fetchers:
            await fetcher.evict(document)
        return len(versions)


class Ranker(Part):
    """Ranks passages; its calls have a quota that all share."""

    @trace_agent_action()
    async def score(self, document: str, attempt: int, poor: bool = False) -> float:
        self.shared.spent += 1
        if self.shared.spent > QUOTA:
            raise PermissionError("quota of this minute is used up")
        if poor:
            raise ValueError("no text in passage")
        return round(self.shared.rng.random(), 3)


class Answerer(Part):
    """Answers one question after the other."""

    @trace_agent_action()
    async def answer(
        self, question: int, document: str, fetcher: Fetcher, store: Store, ranker: Ranker
    ) -> dict[str, Any]:
        passage = await fetcher.fetch(document, store, question)
        score = await ranker.score(document, 1)
        await asyncio.sleep(0)
        return {"document": document, "version": passage["version"], "score": score}


class Desk(Part):
    """Where people read the answers."""

    @trace_agent_action()
    async def read(self, question: int, document: str, version: int, newest: int) -> str:
        return "fine" if version == newest else "outdated"

    @trace_agent_action()
    async def apologise(self, question: int) -> str:
        return "please ask again"


def play(case: Case) -> None:
    """Play the pipeline."""
    asyncio.run(_play(case))


async def _play(case: Case) -> None:
    shared = Shared(case)
    rng = shared.rng
    turns = rng.randint(60, 300)
    begin, end = case.window(turns)
    store, ingest = Store(shared, "store", "store"), Ingest(shared, "ingest", "ingest")
    fetchers = [Fetcher(shared, f"fetcher_{n}", "fetcher") for n in (1, 2)]
    writers = [Writer(shared, f"writer_{n}", "writer") for n in (1, 2)]
    ranker, desk, system = Ranker(shared, "ranker", "ranker"), Desk(shared, "desk", "desk"), SystemLogger()
    people = [Answerer(shared, f"answerer_{n}", "answerer") for n in range(1, 5)]
    documents = [f"doc-{rng.randint(100, 999)}-{n}" for n in range(40)]
    victim, poor = documents.pop(), documents.pop()
    width = rng.randint(1, 4)
    question = rng.randint(1000, 9000)
    due: dict[int, int] = {}
    if case.has("leaked_resource"):
        for number in range(POOL - 3):
            moment = begin + math.floor(number * (end - begin) / (POOL - 3))
            due[moment] = due.get(moment, 0) + 1
    tries = 0
    retrying = False
    for turn in range(turns):
        shared.turn, shared.spent = turn, 0
        if rng.random() < 0.07:
            system.log_config(
                rng.choice(("trace_colour", "batch_hint", "log_rate", "banner")),
                rng.randint(1, 9),
                rng.randint(1, 9),
            )
        if turn == case.decoy_at or rng.random() < 0.03:
            ranker.log.log_action("reload_weights", {"same": True})
        if rng.random() < 0.05:
            fetchers[0].log.warning("slow answer, waited", {"ms": rng.randint(200, 900)})
        # New versions of documents; both versions of a pair are sorted out if the first one arrives late.
        if rng.random() < 0.2:
            document = rng.choice(documents)
            newest = shared.latest[document] = shared.latest.get(document, 1) + 2
            if rng.random() < 0.25:
                await writers[1].apply(document, newest)
            copied = (
                document in shared.cached or rng.random() < 0.5
            )  # without a copy there is nothing to evict
            await ingest.update(document, [newest - 1, newest], writers, fetchers if copied else [])
        if turn == begin and case.kind in {"stale_cache", "out_of_order"}:
            shared.latest[victim] = 3
            shared.cached.setdefault(victim, 1)
            late, missed = case.strikes("out_of_order"), case.strikes("stale_cache")
            await ingest.update(victim, [3, 2] if late else [2, 3], writers, [] if missed else fetchers)
            if late:
                case.root(
                    call("writer_2", "apply", document=victim, version=2),
                    call("ingest", "update", document=victim),
                )
            else:
                case.root(
                    call("ingest", "update", document=victim),
                    call("writer_2", "apply", document=victim, version=3),
                )
        # Retries of a passage without text: three at most on other days.
        if case.has("retry_storm") and turn == begin:
            retrying = case.strikes("retry_storm")
            tries = 3
            case.root(call("ranker", "score", document=poor, attempt=1))
        retrying = retrying and turn <= end + 2
        if retrying:
            tries = min(QUOTA, 3 + round((QUOTA - 2) * ((turn - begin + 1) / (end - begin + 1)) ** 3))
        if retrying or tries or rng.random() < 0.05:
            other = poor if retrying or tries else rng.choice(documents)
            for attempt in range(1, (tries or rng.randint(1, 3)) + 1):
                try:
                    await ranker.score(
                        other,
                        attempt if not retrying or turn == begin else attempt + 3 * (turn - begin),
                        poor=True,
                    )
                except (ValueError, PermissionError):
                    continue
            tries = 0
        # The questions of this turn, at the same time.
        wanted = [rng.choice(documents) for _ in range(width)]
        if turn < begin and rng.random() < 0.1:
            wanted[0] = victim
        if turn == end and case.kind in {"stale_cache", "out_of_order"}:
            wanted[0] = victim
        leaking = due.get(turn, 0)
        if case.has("leaked_resource"):
            if turn == end or rng.random() < 0.02:
                bulk = desk.log.log_action("bulk_questions", {"count": 5})
                if turn == end:
                    case.trigger(bulk)
            fresh = [f"note-{turn}-{n}" for n in range(5 if turn == end else 1)]
            wanted += fresh
        numbers = list(range(question, question + len(wanted) + leaking))
        wanted += [f"scan-{turn}-{n}" for n in range(leaking)]
        question += len(wanted)
        for number, document in zip(numbers, wanted, strict=True):
            if document.startswith("scan-") and case.strikes("leaked_resource"):
                shared.leaks.add(number)
                if len(case.roots) < 6:
                    case.root(
                        call(f"fetcher_{1 + number % 2}", "fetch", document=document),
                        call("store", "connect", document=document),
                    )
        jobs = [
            people[number % 4].answer(number, document, fetchers[number % 2], store, ranker)
            for number, document in zip(numbers, wanted, strict=True)
        ]
        results = await asyncio.gather(*jobs, return_exceptions=True)
        for number, document, result in zip(numbers, wanted, results, strict=True):
            if isinstance(result, BaseException):
                await desk.apologise(number)
                case.hop(call(people[number % 4].agent_id, "answer", question=number))
                case.symptom(
                    call("desk", "apologise", question=number),
                    f"question {number} was not answered, the desk could only apologise",
                    f"since question {number} people get apologies in place of answers; answerer_1 to answerer_4 run as always",
                    f"no answer to {number}",
                )
            else:
                case.hop(
                    call(people[number % 4].agent_id, "answer", question=number)
                ) if document == victim and turn == end else None
                await desk.read(number, document, result["version"], shared.latest.get(document, 1))
                if result["version"] != shared.latest.get(document, 1):
                    case.symptom(
                        call("desk", "read", question=number),
                        f"the answer to question {number} quotes an old text of {document}",
                        f"question {number}: {people[number % 4].agent_id} cites a version that was replaced",
                        f"outdated answer {number}",
                    )


WORLD = World("retrieval", "spans", ("stale_cache", "leaked_resource", "retry_storm", "out_of_order"), play)
