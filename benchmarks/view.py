"""The index of the pages and its windows: `python -m benchmarks.view`.

Options: `--quick`, `--json`, `--markdown`, `--directory DIR` (a real disk). Two sessions are made: one of about
330,000 large events of 60 traced agents with the project's own loggers, 963 MB, and one of 1,000,000 small
events of 1,000 agents; each is measured as recorded and sealed, in processes of their own. Windows are as the
browser asks for them: some lanes, a range of any size, 3,000 pixels for three screens of width.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.command import options, progress, require, run
from benchmarks.table import Report, Row, Table

LARGE_EVENTS, SMALL_EVENTS, SMALL_AGENTS = 337_351, 1_000_000, 1_000
QUICK_SHARE = 20
WINDOWS, SCRUBS = 500, 200


def make_large(root: Path, events: int) -> None:
    """Record agents whose prompts and answers are kilobytes long, with the project's own loggers."""
    from Agent import AgentLogger, setup_logging, shutdown_logging, trace_agent_action

    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=2 + n % 9)) for n in range(4_000)]

    def text(count: int) -> str:
        return " ".join(chance.choices(words, k=count))

    class Sample:
        def __init__(self, number: int) -> None:
            self.agent_id, self.agent_role = f"sample_{number:03}", "sample"
            self.score, self.turns, self.plan = 0, 0, ""
            self.log = AgentLogger(self.agent_id, self.agent_role)

        @trace_agent_action
        def generate(self, prompt: str) -> dict[str, Any]:
            self.turns += 1
            self.plan = text(26)
            if chance.random() < 0.002:
                raise TimeoutError("no answer within 60 s")
            return {"output": text(187), "tokens": len(prompt)}

        @trace_agent_action
        def grade(self, answer: str) -> dict[str, Any]:
            self.score += len(answer) % 3 - 1
            return {"score": self.score, "why": text(64)}

    setup_logging(trace_root=root, mirrors=False)
    samples = [Sample(number) for number in range(60)]
    made = turn = 0
    while made < events:
        for number, sample in enumerate(samples):
            try:
                sample.grade(sample.generate(text(413))["output"])
            except TimeoutError:
                made += 1
            if turn % 7 == 0:
                other = samples[(number + 1 + turn % 58) % 60]
                other.log.receive(sample.log.send(other.agent_id, {"note": text(38)}))
                made += 2
            sample.log.info(text(240))
            made += 3
        turn += 1
    shutdown_logging()


def make_small(root: Path, events: int, agents: int) -> None:
    """Write a simulation of many agents with small events."""
    from support.known_truth import make_session  # `in_child` puts the directory of the tests on the path

    make_session(root, events=events, agents=agents)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def timed(ask: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = ask()
    return 1_000 * (time.perf_counter() - began), answer


def memory_mb(name: str) -> float:
    """The memory of this process, now (VmRSS) or at most so far (VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


def measure_view(session: Path) -> dict[str, Any]:
    """Open the view of a session in this process and ask it."""
    from Agent.view import SessionView
    from Agent.view.sessions import release_large_arrays

    release_large_arrays()  # as a server does
    before = time.perf_counter(), time.process_time()
    view = SessionView(session)
    first_s = None
    while not view.wait(0.005):
        if first_s is None and view.overview()["lanes"]:
            first_s = time.perf_counter() - before[0]
    ready_s, cpu_s = time.perf_counter() - before[0], time.process_time() - before[1]
    told = view.overview()
    found: dict[str, Any] = {
        "first_lanes_s": ready_s if first_s is None else first_s,
        "ready_s": ready_s,
        "cpu_s": cpu_s,
        "events": told["events"],
        "peak_mb": memory_mb("VmHWM"),  # not `ru_maxrss`, which begins at that of the parent
    }
    chance = random.Random(7)
    lanes, length = len(told["lanes"]), told["length_us"]
    took: list[float] = []
    cpu_ms: list[float] = []
    sizes: list[float] = []
    packed: list[float] = []
    for _ in range(WINDOWS):
        width = length * 10 ** chance.uniform(-4, 0)
        t0 = chance.uniform(0, length - width)
        first = chance.randrange(max(lanes - 60, 1))
        chosen = list(range(first, min(first + 60, lanes)))
        used = time.process_time()
        ms, answer = timed(partial(view.window, t0=t0, t1=t0 + width, px=3_000, lanes=chosen))
        cpu_ms.append(1_000 * (time.process_time() - used))
        took.append(ms)
        sizes.append(len(answer))
        packed.append(len(zlib.compress(answer, 6)))
    found["window_p95_ms"], found["window_p95_kb"] = percentile(took, 0.95), percentile(sizes, 0.95) / 1_000
    found["window_cpu_p95_ms"] = percentile(cpu_ms, 0.95)
    found["window_gzip_p95_kb"] = percentile(packed, 0.95) / 1_000
    found["whole_ms"], _ = timed(lambda: view.window(t0=0, t1=length, px=2_000, sum_lanes=True))
    scrubs: list[float] = []
    used_ms: list[float] = []
    agents = [lane["agent"] for lane in told["lanes"] if lane["agent"] != "(session)"]
    chosen_agents = chance.sample(agents, 3)
    for _ in range(SCRUBS):
        t = chance.uniform(0, length)

        def scrub(t: float = t) -> None:
            view.counters(t=t)
            view.state(agent=chance.choice(chosen_agents), t=t)
            view.events(t1=t, order="desc", limit=40)
            view.events(t0=t, limit=40)

        used = time.process_time()
        scrubs.append(timed(scrub)[0])
        used_ms.append(1_000 * (time.process_time() - used))
    found["scrub_cpu_p95_ms"] = percentile(used_ms, 0.95)
    found["scrub_p50_ms"], found["scrub_p95_ms"] = statistics.median(scrubs), percentile(scrubs, 0.95)
    causes = [timed(lambda n=n: view.event(view.step(t=n * length / 20)["id"]))[0] for n in range(20)]
    found["causes_p50_ms"] = statistics.median(causes)
    found["rss_mb"] = memory_mb("VmRSS")
    view.close()
    return found


def in_child(*arguments: str) -> str:
    """Run a part of this module in a process of its own."""
    here = str(Path(__file__).parents[1])
    places = os.pathsep.join([here, f"{here}/tests", os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.view", *arguments],
        check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": places},
    )  # fmt: skip
    return done.stdout


def measure(given: argparse.Namespace, directory: Path) -> Report:
    from Agent.archive import seal
    from Agent.tree.layout import tree_files

    share = QUICK_SHARE if given.quick else 1
    report = Report()
    headings = ("session", "first lanes warm", "build, per 100 MB", "processor", "window p95, processor", "p95 size, packed",
                "scrub p95, processor", "causes", "memory", "at most")  # fmt: skip
    table = Table("The index of the pages", headings)
    for name, arguments in (
        ("large", ["--make-large", str(LARGE_EVENTS // share)]),
        ("small", ["--make-small", str(SMALL_EVENTS // share)]),
    ):
        root = directory / name
        root.mkdir()
        progress(f"making the session of {name} events")
        in_child(*arguments, "--directory", str(root))
        (session,) = root.glob("session_*/")
        size_mb = sum(path.stat().st_size for path in tree_files(session)) / 1e6
        for form in ("as recorded", "sealed"):
            if form == "sealed":
                seal(session, remove=True)
            progress(f"{name}, {form}")
            cold = json.loads(in_child("--measure", str(session)))
            warm = json.loads(in_child("--measure", str(session)))
            report.figures[f"{name}, {form}"] = {"cold": cold, "warm": warm, "size_mb": size_mb}
            per_100 = 100 / size_mb
            table.lines.append(
                (
                    f"{cold['events']:,} {name} events, {size_mb:,.0f} MB, {form}",
                    f"{warm['first_lanes_s']:.2f} s",
                    f"{cold['ready_s']:.1f} s, {cold['ready_s'] * per_100:.2f} s",
                    f"{cold['cpu_s'] * per_100:.2f} s",
                    f"{warm['window_p95_ms']:.0f} ms, {warm['window_cpu_p95_ms']:.1f} ms",
                    f"{warm['window_p95_kb']:.0f} KB, {warm['window_gzip_p95_kb']:.0f} KB",
                    f"{warm['scrub_p95_ms']:.0f} ms, {warm['scrub_cpu_p95_ms']:.0f} ms",
                    f"{warm['causes_p50_ms']:.0f} ms",
                    f"{warm['rss_mb']:.0f} MB",
                    f"{cold['peak_mb']:.0f} MB",
                )
            )
            report.rows += budgets(f"{name}, {form}", cold, warm, per_100)
    report.tables.append(table)
    return report


def budgets(name: str, cold: dict[str, Any], warm: dict[str, Any], per_100: float) -> list[Row]:
    most_mb = 150 + 50 * cold["events"] / 1e6
    rows = (
        ("first lanes, warm index", warm["first_lanes_s"], 1.0, "s"),
        ("building the index, per 100 MB, processor time", cold["cpu_s"] * per_100, 1.0, "s"),
        ("window, p95", warm["window_p95_ms"], 50, "ms"),
        ("window, p95, packed", warm["window_gzip_p95_kb"], 200, "KB"),
        ("scrub, p95", warm["scrub_p95_ms"], 100, "ms"),
        ("memory of the process", warm["rss_mb"], most_mb, "MB"),
    )
    return [
        Row(f"{what}: {name}", f"{figure:.2f} {unit}", "", f"<= {most:.0f} {unit}", figure <= most)
        for what, figure, most, unit in rows
    ]


def main(arguments: list[str]) -> int:
    parser = options("benchmarks.view", "The index of the pages: building, windows, scrubbing, memory.")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--make-large", type=int, metavar="N", help=argparse.SUPPRESS)
    part.add_argument("--make-small", type=int, metavar="N", help=argparse.SUPPRESS)
    part.add_argument(
        "--measure", type=Path, metavar="SESSION", help="measure the view of one session, as JSON"
    )
    given = parser.parse_args(arguments)
    require(parser, "numpy", "duckdb", extras="view")
    if given.make_large:
        make_large(given.directory, given.make_large)
    elif given.make_small:
        make_small(given.directory, given.make_small, min(SMALL_AGENTS, given.make_small // 100))
    elif given.measure:
        print(json.dumps(measure_view(given.measure)))
    else:
        return run(given, lambda directory: measure(given, directory))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
