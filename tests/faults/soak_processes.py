"""The processes of a soak: writers that record at a given pace, a follower and an analyzer beside them.

`soak.py` starts each with a specification as JSON on the command line; each leaves a report as JSON. Which
events a writer was given an id for, and which the follower saw, stands in files of bits, so that knowing it
costs no memory that grows.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[depth]) for depth in (0, 1, 2)]

from sampling import sample

from Agent import (
    AgentLogger,
    LearningLogger,
    PerformanceLogger,
    health,
    setup_logging,
    shutdown_logging,
    trace_agent_action,
)
from Agent.event.clock import parse_timestamp
from Agent.event.ids import split_event_id
from Agent.tree.read.follower import Follower

if TYPE_CHECKING:
    from Agent import LogAnalyzer

_BITS_BYTES = 8 * 1024 * 1024
_STEPS_A_TURN = 10
_SHARED_AGENTS = 8


class Bits:
    """Numbers that were met, a bit each, in a sparse file."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(fd, _BITS_BYTES)
        self._map = mmap.mmap(fd, _BITS_BYTES)
        os.close(fd)

    def add(self, number: int) -> bool:
        """Note a number; whether it was new."""
        at, bit = number >> 3, 1 << (number & 7)
        old = self._map[at]
        self._map[at] = old | bit
        return not old & bit

    def numbers(self) -> Iterator[int]:
        """All of them, ascending."""
        for at, byte in enumerate(self._map[:].rstrip(b"\0")):
            if byte:
                yield from (at * 8 + bit for bit in range(8) if byte >> bit & 1)


class BitsByWriter:
    """Event ids as bits, a file for each writer."""

    def __init__(self, directory: Path, prefix: str) -> None:
        self._directory, self._prefix = directory, prefix
        self._files: dict[str, Bits] = {}

    def add(self, identity: str) -> bool:
        writer, seq = split_event_id(identity)
        bits = self._files.get(writer)
        if bits is None:
            bits = self._files[writer] = Bits(self._directory / f"{self._prefix}{writer}.bits")
        return bits.add(seq)


def read_bits(directory: Path, prefix: str) -> dict[str, set[int]]:
    """What processes noted under a prefix: writer to numbers."""
    return {
        path.stem.removeprefix(prefix): set(Bits(path).numbers())
        for path in directory.glob(f"{prefix}*.bits")
    }


class Worker:
    """An agent with a little state, and an action that fails."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.agent_role = "worker"
        self.energy = 100
        self.seen: list[int] = []

    @trace_agent_action("step")
    def step(self, number: int, mood: str = "calm") -> dict[str, Any]:
        self.energy = (self.energy * 7 + number) % 101
        self.seen = [*self.seen[-4:], number]
        return {"energy": self.energy, "mood": mood}

    @trace_agent_action("fail")
    def fail(self, number: int) -> None:
        raise ValueError(f"number {number % 5} is not to be had")


class Writer:
    """Records as fast as it is told to, until its time is over."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._chance = random.Random(spec["number"])
        first, count = spec["first_agent"], spec["agents"]
        self._workers = [Worker(f"agent_{number:05d}") for number in range(first, first + count)]
        self._loggers = [AgentLogger(worker.agent_id, worker.agent_role) for worker in self._workers]
        self._shared = [AgentLogger(f"shared_{number}", "worker") for number in range(_SHARED_AGENTS)]
        self._metrics, self._learning = PerformanceLogger(), LearningLogger()
        self._acknowledged = BitsByWriter(Path(spec["directory"]), f"acknowledged-{spec['number']}-")
        self.made: Counter[str] = Counter()
        self.given = self.refused = 0

    def run(self) -> None:
        """In batches of a twentieth of a second; what cannot be kept up with is made up for later."""
        began = time.monotonic()
        number = 0
        while (now := time.monotonic()) < began + self._spec["seconds"]:
            due = int((now - began) * self._spec["rate"])
            while number < due:
                self._one(number)
                number += 1
            time.sleep(0.05)

    def _take(self, kind: str, identity: str) -> None:
        self.made[kind] += 1
        if identity:
            self.given += 1
            self._acknowledged.add(identity)
        else:
            self.refused += 1

    def _one(self, number: int) -> None:
        # everybody comes once at first, so that what an agent costs is paid while the run warms up
        count = len(self._workers)
        index = number if number < count else self._chance.randrange(count)
        step = number % _STEPS_A_TURN
        logger = self._loggers[index]
        if step < 4:
            self._workers[index].step(number, mood="x" * (number % 50))
            self.made["step"] += 1
        elif step == 4:
            self._take("note", logger.log_action("note", {"number": number, "text": "y" * (number % 300)}))
        elif step == 5:
            shared = self._shared[number // _STEPS_A_TURN % _SHARED_AGENTS]
            self._take("note", shared.log_action("note", {"number": number, "by": self._spec["number"]}))
        elif step == 6:
            message = logger.send(self._workers[self._chance.randrange(count)].agent_id, {"number": number})
            self._take("message", message.event_id)
            self._take("message", self._loggers[(index + 1) % count].receive(message))
        elif step == 7:
            self._take("metric", self._metrics.log_metric("queue", float(number % 97), "entries"))
        elif step == 8:
            self._take("reward", self._learning.log_reward(number, float(number % 3), number / 1000))
        elif number // _STEPS_A_TURN % 5:
            self._take("log", logger.info("nothing to do", extra={"number": number}))
        else:
            try:
                self._workers[index].fail(number)
            except ValueError:
                self.made["fail"] += 1


def write(spec: dict[str, Any]) -> dict[str, Any]:
    """A writer from its first event to its clean end."""
    setup_logging(trace_root=spec["root"], **spec["options"])
    writer = Writer(spec)
    writer.run()
    told = health()
    shutdown_logging()
    return {"made": writer.made, "given": writer.given, "refused": writer.refused, "health": told}


class Lag:
    """How long after its time an event was seen: per report, the middle and the longest."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def see(self, timestamp: str) -> None:
        self._seconds.append(time.time() - parse_timestamp(timestamp) / 1e6)

    def told(self) -> dict[str, float]:
        """Since it was last asked."""
        seconds, self._seconds = sorted(self._seconds), []
        if not seconds:
            return {"events": 0, "p50_ms": 0.0, "p99_ms": 0.0, "most_ms": 0.0}
        at = [seconds[len(seconds) // 2], seconds[len(seconds) * 99 // 100], seconds[-1]]
        p50, p99, most = (round(value * 1000, 1) for value in at)
        return {"events": len(seconds), "p50_ms": p50, "p99_ms": p99, "most_ms": most}


def follow(spec: dict[str, Any]) -> dict[str, Any]:
    """Follow to the end; every so often begin anew at a cursor that went through JSON."""
    directory, session = Path(spec["directory"]), Path(spec["session"])
    seen = BitsByWriter(directory, "followed-")
    stop = directory / "stop"
    kinds: Counter[str] = Counter()
    doubled = resumed = events = 0
    lag, lags, told_s = Lag(), [], time.monotonic()
    follower = Follower(session)
    while True:
        again_s = time.monotonic() + spec["resume_s"]
        for event in follower.follow(lambda: stop.exists() or time.monotonic() > again_s):
            events += 1
            doubled += not seen.add(event.id)
            kinds[event.kind if event.kind != "agent_action" else event.extra["action_type"]] += 1
            lag.see(event.timestamp)
            if time.monotonic() - told_s > spec["sample_s"]:
                told_s = time.monotonic()
                lags.append({"at_s": told_s - spec["began_s"], **lag.told()})
                leave(directory / "lag.json", lags[-1])
        if stop.exists():
            break
        leave(directory / "cursor.json", follower.cursor())
        follower.close()
        # as where another process goes on: two at once, or the text of a cursor, would be what is measured
        del follower
        follower = Follower(session, cursor=json.loads((directory / "cursor.json").read_bytes()))
        resumed += 1
    damaged = len(follower.damage())
    follower.close()
    return {
        "events": events,
        "doubled": doubled,
        "resumed": resumed,
        "damaged": damaged,
        "kinds": kinds,
        "lags": lags,
    }


def questions(analyzer: LogAnalyzer, chance: random.Random, agents: int) -> dict[str, Callable[[], Any]]:
    """What the analyzer asks in each round."""
    agent_id = f"agent_{chance.randrange(agents):05d}"
    return {
        "losses": analyzer.losses,
        "journey": lambda: analyzer.trace_agent_journey(agent_id),
        "interactions": analyzer.analyze_interactions,
        "errors": analyzer.find_error_patterns,
        "performance": analyzer.performance_summary,
        "sql": lambda: analyzer.sql("SELECT event_type, count(*) AS n FROM events GROUP BY event_type"),
    }


REST_S = 3.0


def analyze(spec: dict[str, Any]) -> dict[str, Any]:
    """Ask every so often, each round as somebody who has just come would.

    What it takes at rest is told: while it works, its memory goes with the question.
    """
    from Agent import LogAnalyzer
    from Agent.analysis.query.engine import FilesMoved

    directory = Path(spec["directory"])
    chance = random.Random(0)
    rounds = asked_again = 0
    at_rest: list[dict[str, Any]] = []
    failures: list[str] = []
    longest_ms: Counter[str] = Counter()
    while not (directory / "stop").exists():
        began = time.monotonic()
        try:
            analyzer = LogAnalyzer(spec["session"])
            for name, ask in questions(analyzer, chance, spec["agents"]).items():
                at = time.monotonic()
                answer = ask()
                longest_ms[name] = max(longest_ms[name], round((time.monotonic() - at) * 1000))
                if name == "losses" and (answer["lost"] or answer["unknown"]):
                    failures.append(
                        f"losses() while it runs: {answer['lost']} lost, {answer['unknown']} unknown"
                    )
            analyzer.close()
        except FilesMoved:
            # retention does not wait for ever for a query: the answer is to ask again
            asked_again += 1
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}"[:500])
        rounds += 1
        # DuckDB's threads give their pages back within two seconds after the connection is closed
        rested = time.monotonic() + REST_S
        while time.monotonic() < max(began + spec["every_s"], rested) and not (directory / "stop").exists():
            time.sleep(0.2)
        if time.monotonic() >= rested:
            taken = sample(os.getpid(), time.monotonic() - spec["began_s"])
            at_rest += [taken.to_dict()] if taken else []
    return {
        "rounds": rounds,
        "asked_again": asked_again,
        "at_rest": at_rest,
        "failures": failures,
        "longest_ms": longest_ms,
    }


def leave(path: Path, report: dict[str, Any]) -> None:
    """Put a report in place as a whole."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(report))
    new.replace(path)


ROLES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "write": write,
    "follow": follow,
    "analyze": analyze,
}


def main() -> None:
    spec = json.loads(sys.argv[1])
    leave(Path(spec["directory"]) / f"{spec['name']}.json", ROLES[spec["role"]](spec))


if __name__ == "__main__":
    main()
