"""What checkpoints cost: bytes, time to save, time to load; `python -m benchmarks.checkpoints`.

A state of 200 KB changes by one hundredth at each step: leaves, insertions into lists and removals from them,
and keys that come to the end. Bytes are those of the files, index included, beside what full states would
take as JSON. Beside it, in turns of a hundred steps, LangGraph's SqliteSaver keeps the same states, which it
does in full; 'one write' is the floor: the state as JSON, appended to a file. The long run can be made in
several sittings: `--keep DIR --minutes 9`, until it says that all steps are there.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from benchmarks.command import options, progress, run
from benchmarks.table import Report, Row, Table

FULL_STEPS, QUICK_STEPS, PEER_STEPS = 100_000, 2_000, 2_000
LOADS = 500
TURN = 100
SIZE_BYTES = 200_000


class Workload:
    """A state of a size that changes by one hundredth at each step."""

    def __init__(self, size_bytes: int, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        letters = "abcdefghijklmnopqrstuvwxyz"
        self.words = ["".join(self.chance.choices(letters, k=self.chance.randint(3, 9))) for _ in range(800)]
        self.made = 0
        self.state: dict[str, Any] = {"agent": "creator_001", "items": [], "q": {}}
        for number in range(400):
            self.state["q"][f"state_{number}"] = self.chance.random()
        while len(orjson.dumps(self.state)) < size_bytes:
            self.state["items"] += [self.record() for _ in range(20)]

    def record(self) -> dict[str, Any]:
        self.made += 1
        return {
            "id": f"item_{self.made:06d}",
            "score": self.chance.random(),
            "count": self.chance.randint(0, 10_000),
            "tags": self.chance.sample(self.words, 2),
            "text": " ".join(self.chance.choices(self.words, k=4)),
        }

    def step(self) -> dict[str, Any]:
        """Change a hundredth of the values: 2 of 300 are new, 2 gone, the others other numbers."""
        items, q, chance = self.state["items"], self.state["q"], self.chance
        for _ in range(2):
            items.insert(chance.randrange(len(items)), self.record())
            del items[chance.randrange(len(items))]
        for _ in range(len(items) // 100):
            chance.choice(items)["score"] = chance.random()
        for _ in range(len(q) // 100):
            key = chance.choice(list(q))
            q.pop(key)
            q[key] = chance.random()
        return self.state


@dataclass
class Kept:
    """What keeping the states of some steps came to."""

    steps: int = 0
    state_bytes: int = 0
    stored_bytes: int = 0
    save_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    load_ms: list[float] = field(default_factory=list)
    load_cpu_ms: list[float] = field(default_factory=list)

    def save(self, action: Callable[[], object]) -> None:
        began, cpu = time.perf_counter(), time.process_time()
        action()
        self.cpu_s += time.process_time() - cpu
        self.save_ms.append((time.perf_counter() - began) * 1e3)
        self.steps += 1

    def load(self, action: Callable[[], Any]) -> Any:
        began, cpu = time.perf_counter(), time.process_time()
        found = action()
        self.load_cpu_ms.append((time.process_time() - cpu) * 1e3)
        self.load_ms.append((time.perf_counter() - began) * 1e3)
        return found

    def line(self, name: str) -> tuple[str, ...]:
        loads = [at(self.load_ms, 0.5), at(self.load_ms, 0.99), max(self.load_ms)]
        loads += [at(self.load_cpu_ms, 0.99), max(self.load_cpu_ms)]
        return (
            name,
            f"{self.steps:,}",
            f"{self.stored_bytes / 1e6:,.1f}",
            f"{self.stored_bytes / self.state_bytes:.2%}",
            f"{at(self.save_ms, 0.5):.2f}",
            f"{at(self.save_ms, 0.99):.2f}",
            f"{self.cpu_s * 1e3 / self.steps:.2f}",
            *[f"{load:.1f}" for load in loads],
        )


def at(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def bytes_under(directory: Path) -> int:
    """The bytes of all files, each counted once however many names it has."""
    found = {}
    for path in directory.rglob("*"):
        if path.is_file():
            known = path.stat()
            found[known.st_ino] = known.st_size
    return sum(found.values())


def long_run(directory: Path, steps: int, minutes: float) -> Kept | None:
    """Many steps of one run, then loads of random ones, each compared with what was saved.

    It goes on with what an earlier sitting left in the directory; None where the time ran out before the end.
    """
    from Agent.flight.checkpoints.store import LocalCheckpointStore

    store_directory, account = directory / "store", directory / "account.json"
    wanted = set(random.Random(2).sample(range(steps), min(LOADS, steps)))
    kept, digests = Kept(), {}
    if account.exists():
        known = orjson.loads(account.read_bytes())
        kept, digests = Kept(**known["kept"]), {int(at): digest for at, digest in known["digests"].items()}
    workload = Workload(SIZE_BYTES)
    for _ in range(kept.steps):
        workload.step()  # what the state was then follows from the seed
    ends_s = time.monotonic() + minutes * 60
    with LocalCheckpointStore(store_directory) as store:
        for number in range(kept.steps, steps):
            state = workload.step()
            kept.save(
                lambda number=number, state=state: store.save_checkpoint("run", f"step_{number}", state)
            )
            text = orjson.dumps(state)
            kept.state_bytes += len(text)
            if number in wanted:
                digests[number] = blake2b(text, digest_size=16).hexdigest()
            if number % 5000 == 4999:
                progress(f"  {number + 1:,} steps, {sum(kept.save_ms) / len(kept.save_ms):.2f} ms each")
            if time.monotonic() > ends_s:
                break
    told = {"kept": asdict(kept), "digests": {str(at): digest for at, digest in digests.items()}}
    account.write_bytes(orjson.dumps(told))
    if kept.steps < steps:
        progress(f"  {kept.steps:,} of {steps:,} steps; the same command goes on")
        return None
    kept.stored_bytes = bytes_under(store_directory)
    with LocalCheckpointStore(store_directory) as store:
        store.load_checkpoint("run", "step_0")
        for number in random.Random(2).sample(range(steps), len(wanted)):
            found = kept.load(lambda number=number: store.load_checkpoint("run", f"step_{number}"))
            if blake2b(orjson.dumps(found.state), digest_size=16).hexdigest() != digests[number]:
                raise AssertionError(f"step {number} came back changed")
    return kept


class Langgraph:
    """LangGraph's saver, given each state as the one channel of a checkpoint."""

    name = "LangGraph SqliteSaver"
    configuration = "SqliteSaver on a file with its defaults (WAL), one thread, the state as one channel"

    def __init__(self, directory: Path) -> None:
        from langgraph.checkpoint.base import empty_checkpoint
        from langgraph.checkpoint.sqlite import SqliteSaver

        directory.mkdir()
        self.directory = directory
        self.empty = empty_checkpoint
        self.entered = SqliteSaver.from_conn_string(str(directory / "checkpoints.sqlite"))
        self.saver = self.entered.__enter__()
        self.saver.setup()
        self.config: Any = {"configurable": {"thread_id": "run", "checkpoint_ns": ""}}
        self.configs: list[Any] = []

    def save(self, number: int, state: dict[str, Any]) -> None:
        checkpoint = self.empty()
        checkpoint["channel_values"] = {"state": state}
        metadata: Any = {"source": "loop", "step": number, "parents": {}}
        self.config = self.saver.put(self.config, checkpoint, metadata, {})
        self.configs.append(self.config)

    def load(self, number: int) -> Any:
        return self.saver.get_tuple(self.configs[number]).checkpoint["channel_values"]["state"]

    def close(self) -> None:
        self.entered.__exit__(None, None, None)


class Ours:
    """The local store."""

    name = "Agent Trace"
    configuration = "LocalCheckpointStore with its defaults: redaction, durability kernel"

    def __init__(self, directory: Path) -> None:
        from Agent.flight.checkpoints.store import LocalCheckpointStore

        self.directory = directory
        self.store = LocalCheckpointStore(directory)

    def save(self, number: int, state: dict[str, Any]) -> None:
        self.store.save_checkpoint("run", f"step_{number}", state)

    def load(self, number: int) -> Any:
        return self.store.load_checkpoint("run", f"step_{number}").state

    def close(self) -> None:
        self.store.close()


class OneWrite:
    """The floor."""

    name = "one write"
    configuration = "os.write(fd, orjson.dumps(state)), nothing else"

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.fd = os.open(directory / "states", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.places: list[tuple[int, int]] = []

    def save(self, number: int, state: dict[str, Any]) -> None:
        text = orjson.dumps(state)
        self.places.append((os.fstat(self.fd).st_size, len(text)))
        os.write(self.fd, text)

    def load(self, number: int) -> Any:
        offset, size = self.places[number]
        return orjson.loads(os.pread(self.fd, size, offset))

    def close(self) -> None:
        os.close(self.fd)


def beside_peers(directory: Path, steps: int) -> tuple[dict[str, Kept], dict[str, str]]:
    """The same states kept by everybody, in turns."""
    makers: list[type[Ours | Langgraph | OneWrite]] = [Ours, OneWrite]
    if find_spec("langgraph") is not None and find_spec("langgraph.checkpoint.sqlite") is not None:
        makers.insert(1, Langgraph)
    stores = [maker(directory / f"peer_{number}") for number, maker in enumerate(makers)]
    kept = {store.name: Kept() for store in stores}
    workloads = [Workload(SIZE_BYTES) for _ in stores]
    for begin in range(0, steps, TURN):
        for store, workload in zip(stores, workloads, strict=True):
            own = kept[store.name]
            for number in range(begin, min(begin + TURN, steps)):
                state = workload.step()
                own.save(lambda store=store, number=number, state=state: store.save(number, state))
                own.state_bytes += len(orjson.dumps(state))
    chance = random.Random(3)
    for number in chance.sample(range(steps), min(LOADS, steps)):
        texts = {orjson.dumps(kept[s.name].load(lambda s=s, n=number: s.load(n))) for s in stores}
        if len(texts) != 1:
            raise AssertionError(f"step {number} differs between the stores")
    for store in stores:
        store.close()
        kept[store.name].stored_bytes = bytes_under(store.directory)
    return kept, {store.name: store.configuration for store in stores}


def measure(given: argparse.Namespace, directory: Path) -> Report:
    report = Report()
    headings = (
        *("", "steps", "MB", "of full JSON", "save ms p50", "save ms p99", "save CPU ms"),
        *("load ms p50", "load ms p99", "load ms max", "load CPU ms p99", "load CPU ms max"),
    )
    steps = given.steps or (QUICK_STEPS if given.quick else FULL_STEPS)
    progress(f"{steps:,} steps")
    place = given.keep or directory / "long"
    place.mkdir(exist_ok=True, parents=True)
    long = long_run(place, steps, given.minutes)
    if long is None:
        report.notes.append(f"not all of the {steps:,} steps are there yet: call it again")
        return report
    peer_steps = given.steps or (PEER_STEPS // 4 if given.quick else PEER_STEPS)
    progress(f"{peer_steps:,} steps beside others")
    kept, report.configurations = beside_peers(directory, peer_steps)
    lines = [each.line(name) for name, each in kept.items()]
    report.tables.append(Table("The same states, in turns", headings, lines))
    if Langgraph.name not in kept:
        report.notes.append("LangGraph's saver is not installed: pip install langgraph-checkpoint-sqlite")
    report.tables.append(Table("One long run", headings, [long.line("Agent Trace")]))
    report.rows += budgets(long)
    share, loads = long.stored_bytes / long.state_bytes, len(long.load_ms)
    report.figures["checkpoints"] = {"share": share, "loads": loads, "steps": steps}
    return report


def budgets(long: Kept) -> list[Row]:
    """What the long run has to keep."""
    share = long.stored_bytes / long.state_bytes
    rows = [Row("bytes, 1 % changed a step", f"{share:.2%}", "full states as JSON", "<= 3 %", share <= 0.03)]
    for name, quantile in (("p99", 0.99), ("max", 1.0)):
        slowest, cpu = at(long.load_ms, quantile), at(long.load_cpu_ms, quantile)
        what = f"loading any of {long.steps:,} steps, {name} of {len(long.load_ms)}"
        rows.append(Row(what, f"{slowest:.1f} ms", f"{cpu:.1f} ms of CPU", "<= 50 ms", slowest <= 50))
    return rows


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.checkpoints", "Checkpoints measured: bytes, time to save, time to load.")
    parser.add_argument("--steps", type=int, help="so many steps instead, in both tables")
    parser.add_argument("--keep", type=Path, help="where the long run stays, for another call to go on with")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long a call saves at most")
    given = parser.parse_args(arguments)
    given.keep = given.keep and given.keep.absolute()
    return run(given, lambda directory: measure(given, directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
