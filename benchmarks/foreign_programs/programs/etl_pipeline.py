"""Asyncio ETL: a reader yields rows, two cleaners work behind a queue, a loader writes batches; retries with ids."""
import asyncio
import csv
import io
import json
import os
import random
import uuid
from dataclasses import asdict, dataclass, field

from Agent import AgentLogger, setup_logging, tick, trace_agent_action
from oracle import watch


def make_feed(rows=150, seed=8):
    rng = random.Random(seed)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["sensor", "hour", "value"])
    for n in range(rows):
        value = "n/a" if rng.random() < 0.08 else f"{rng.gauss(20, 6):.2f}"
        writer.writerow([f"s{rng.randrange(5)}", n // 6, value])
    return out.getvalue()


@dataclass
class Job:
    rows: list
    attempt: int = 0
    ident: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def lane(self):
        return int(self.ident[-1], 16) % 2


class Cleaner:
    def __init__(self, agent_id, low, high):
        self.agent_id = agent_id
        self.log = AgentLogger(agent_id, "cleaner")
        self.low, self.high = low, high
        self.rejected = []
        self.means = {}

    @trace_agent_action()
    @watch
    async def clean(self, rows):
        await asyncio.sleep(0)
        good = []
        for row in rows:
            try:
                value = float(row["value"])
            except ValueError:
                self.rejected.append((row["sensor"], row["hour"]))
                continue
            if self.low <= value <= self.high:
                good.append({**row, "value": value})
                n, mean = self.means.get(row["sensor"], (0, 0.0))
                self.means[row["sensor"]] = (n + 1, round(mean + (value - mean) / (n + 1), 6))
        if not good:
            raise ValueError(f"no usable row in a batch of {len(rows)}")
        return good


class Loader:
    def __init__(self, capacity=60):
        self.agent_id = "loader"
        self.capacity = capacity
        self.lanes = {0: [], 1: []}
        self.backlog = []
        self.written = 0

    @trace_agent_action()
    @watch
    async def load(self, rows, attempt):
        await asyncio.sleep(0)
        job = Job(rows, attempt)
        lane = self.lanes[job.lane()]
        if sum(len(j["rows"]) for j in lane) > self.capacity:
            self.backlog.append(asdict(job)["rows"])
            lane.clear()
            return "deferred"
        lane.append({"rows": job.rows, "attempt": job.attempt})
        self.written += len(rows)
        return "written"

    @trace_agent_action()
    @watch
    async def flush(self):
        text = json.dumps(self.backlog, sort_keys=True)
        count = len(self.backlog)
        self.backlog = []
        return {"batches": count, "bytes": len(text)}


def crew():
    return {a.agent_id: a for a in (Cleaner("strict", 8, 32), Cleaner("lax", 0, 45), Loader())}


def build(spec):
    agents = crew()
    return agents if spec.agent_id is None else agents[spec.agent_id]


async def batches(size):
    batch = []
    for row in csv.DictReader(io.StringIO(make_feed())):
        batch.append(dict(row))
        if len(batch) == size:
            yield batch
            batch = []
            await asyncio.sleep(0)
    if batch:
        yield batch


async def run():
    agents = crew()
    number = 0
    async for batch in batches(4):
        with tick(number):
            cleaner = agents["strict" if number % 3 else "lax"]
            try:
                rows = await cleaner.clean(batch)
            except ValueError as error:
                print(error)
                continue
            print(number, len(rows), await agents["loader"].load(rows, number % 3))
            if number % 10 == 9:
                print(await agents["loader"].flush())
        number += 1
    for name in ("strict", "lax"):
        print(name, len(agents[name].rejected), agents[name].means)


def main():
    setup_logging(trace_root=os.environ["TRACE_ROOT"])
    asyncio.run(run())


if __name__ == "__main__":
    main()
