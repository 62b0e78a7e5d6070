"""Hours of recording by many processes, watched and accounted for: `python tests/faults/soak.py --minutes 60`.

Writers record decorated calls, notes, messages, errors, metrics and rewards of thousands of agents into one
session, with small segments, mirrors that rotate, and retention; a follower and an analyzer work beside them.
At the end every number that a writer took stands in a file or under `retired`, every id that a call returned
among them, and what the processes take of the machine was flat. Exit code 1 where something of it does not hold.

Memory is judged from when the session came to its limit, before which it goes with the number of files, to the
time at which the writers end: then each agent's state is written at once, and whoever follows takes that in.

What is asked for: --minutes, --processes, --agents in all, --rate of calls a second by each writer,
--max-session-mb of retention (0: keep all), --segment-kb, --every of the samples and --analyze-every of the
analyzer's rounds in seconds, --directory to work in (kept), --json for the report's path.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[depth]) for depth in (0, 1, 2)]

from sampling import Sample, sample, size_of, trend
from soak_account import account_of
from soak_processes import leave
from support.processes import child_environment

from Agent import setup_logging, shutdown_logging
from Agent.tree.read.removal_logs import read_account

PROGRAM = Path(__file__).with_name("soak_processes.py")
MEMORY_GROWTH_BYTES = 8 * 1024 * 1024
MEMORY_GROWTH_SHARE = 0.05
"""What the line through the last three quarters may rise: the larger of the two, of the median."""
OPEN_FILES_GROWTH = 3.0
THREADS_GROWTH = 1.0
NOTICE_THREADS = 4.0
"""A follower ends its own while it falls behind, as it does now and then on a busy machine; lost ones would add up."""
_END_PATIENCE_S = 600.0
_LEAST_SAMPLES = 4


@dataclass(frozen=True)
class Plan:
    """What is run."""

    seconds: float
    processes: int = 8
    agents: int = 10_000
    rate: float = 150.0
    max_session_bytes: int = 0
    segment_size_bytes: int = 16 * 1024
    sample_s: float = 10.0
    analyze_s: float = 30.0
    resume_s: float = 60.0
    judge_growth: bool = True
    """Not where a run is too short to warm up."""

    def options(self) -> dict[str, Any]:
        """What every process hands to `setup_logging`."""
        retention = {"max_session_bytes": self.max_session_bytes} if self.max_session_bytes else {}
        return {
            "segment_size_bytes": self.segment_size_bytes,
            "rotation": {"agents": (2_000_000, 3), "errors": (500_000, 2)},
            **retention,
        }


@dataclass
class Soak:
    """One run: its processes, what was sampled, what was found."""

    plan: Plan
    directory: Path
    session: Path
    began_s: float
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    sizes: list[dict[str, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)

    def expect(self, holds: bool, what: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(what)

    def start(self, name: str, role: str, **more: Any) -> None:
        """Start one process beside this one."""
        spec = {
            "name": name,
            "role": role,
            "directory": str(self.directory),
            "root": str(self.session.parent),
            "session": str(self.session),
            "options": self.plan.options(),
            "began_s": self.began_s,
            "seconds": self.plan.seconds,
            "rate": self.plan.rate,
            "sample_s": self.plan.sample_s,
            "every_s": self.plan.analyze_s,
            "resume_s": self.plan.resume_s,
            **more,
        }
        with (self.directory / f"{name}.stderr").open("wb") as errors:
            self.processes[name] = subprocess.Popen(
                [sys.executable, str(PROGRAM), json.dumps(spec)],
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stderr=errors,
                cwd=self.directory,
            )

    def look(self) -> None:
        """Take one sample of everything."""
        at_s = time.monotonic() - self.began_s
        for name, process in self.processes.items():
            taken = sample(process.pid, at_s) if process.poll() is None else None
            if taken is not None:
                self.samples.setdefault(name, []).append(taken)
        size_bytes, files = size_of(self.session, ".log")
        self.sizes.append({"at_s": at_s, "size_bytes": size_bytes, "files": files})

    def told(self, name: str) -> dict[str, Any]:
        """What a process left behind; empty, and a problem, where it left nothing."""
        path = self.directory / f"{name}.json"
        errors = (self.directory / f"{name}.stderr").read_text(errors="replace")
        self.expect("Traceback" not in errors, f"{name}: {errors[-800:]}")
        code = self.processes[name].returncode
        self.expect(code == 0 and path.exists(), f"{name} ended with {code}: {errors[-300:]}")
        return json.loads(path.read_text()) if path.exists() else {}


def run(plan: Plan, directory: Path, *, talk: bool = False) -> Soak:
    """Run a plan to its end and judge it; `problems` is empty where all holds."""
    os.environ.setdefault("XDG_CONFIG_HOME", str(directory / "config"))
    recording = setup_logging(trace_root=directory / "trace", **plan.options())
    soak = Soak(plan, directory, recording.path, time.monotonic())
    try:
        _run_processes(soak, talk)
    finally:
        for process in soak.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        shutdown_logging()
    _judge(soak)
    return soak


def _run_processes(soak: Soak, talk: bool) -> None:
    plan = soak.plan
    writers = [f"writer-{number}" for number in range(plan.processes)]
    share = plan.agents // plan.processes
    for number, name in enumerate(writers):
        soak.start(name, "write", number=number, first_agent=number * share, agents=share)
    soak.start("follower", "follow")
    soak.start("analyzer", "analyze", agents=share * plan.processes)
    next_s = soak.began_s + plan.sample_s
    while any(soak.processes[name].poll() is None for name in writers):
        time.sleep(0.1)
        if time.monotonic() >= next_s:
            next_s += plan.sample_s
            soak.look()
            if talk:
                _tell(soak)
        late = time.monotonic() - soak.began_s - plan.seconds
        if late > _END_PATIENCE_S:
            soak.problems.append(f"a writer had not ended {_END_PATIENCE_S:.0f} s after its time")
            return
    soak.look()
    # recording in this process goes on until the follower has seen all: its own end is not part of that
    (soak.directory / "stop").touch()
    for name in ("follower", "analyzer"):
        try:
            soak.processes[name].wait(timeout=_END_PATIENCE_S)
        except subprocess.TimeoutExpired:
            soak.problems.append(f"{name} did not end")


def _tell(soak: Soak) -> None:
    size = soak.sizes[-1]
    memory = {
        role: sum(taken[-1].rss_bytes for name, taken in soak.samples.items() if name.startswith(role))
        for role in ("writer", "follower", "analyzer")
    }
    lag_file = soak.directory / "lag.json"
    lag = json.loads(lag_file.read_text()) if lag_file.exists() else {}
    print(
        f"{size['at_s']:7.0f} s  session {size['size_bytes'] / 1e6:7.1f} MB in {size['files']:6.0f} files  "
        + "  ".join(f"{role} {bytes_ / 1e6:6.1f} MB" for role, bytes_ in memory.items())
        + f"  lag p50 {lag.get('p50_ms', 0):.0f} ms, longest {lag.get('most_ms', 0):.0f} ms",
        flush=True,
    )


def _judge(soak: Soak) -> None:
    writers = {name: soak.told(name) for name in soak.processes if name.startswith("writer")}
    follower, analyzer = soak.told("follower"), soak.told("analyzer")
    # what somebody holds who waits for the next question: while it works, memory goes with the question
    soak.samples["analyzer"] = [Sample(**one) for one in analyzer.pop("at_rest", [])]
    soak.report = {
        "plan": vars(soak.plan),
        "session": str(soak.session),
        "account": account_of(soak, writers, follower),
        "trends": _trends(soak),
        "sizes": soak.sizes,
        "lags": follower.pop("lags", []),
        "follower": follower,
        "analyzer": analyzer,
        "samples": {name: [one.to_dict() for one in taken] for name, taken in soak.samples.items()},
        "problems": soak.problems,
    }
    for failure in analyzer.get("failures", [])[:5]:
        soak.problems.append(f"the analyzer: {failure}")
    soak.expect(analyzer.get("rounds", 0) > 0, "the analyzer asked nothing")
    if soak.plan.max_session_bytes:
        _judge_size(soak)


def _judge_size(soak: Soak) -> None:
    """A query may hold the log files until they come to twice the limit; a quarter more is for the pass itself."""
    most = max(size["size_bytes"] for size in soak.sizes)
    written = read_account(soak.session).size_bytes + soak.sizes[-1]["size_bytes"]
    allowed = soak.plan.max_session_bytes * 2.25
    soak.report["size"] = {"most_bytes": most, "allowed_bytes": allowed, "written_bytes": written}
    soak.expect(
        most <= allowed or not soak.plan.judge_growth,
        f"the log files came to {most / 1e6:.1f} MB of {allowed / 1e6:.1f} MB",
    )


def _warm_s(soak: Soak) -> float:
    """When the session came to its limit; until then its files become more, and who reads them knows more of them."""
    full = soak.plan.max_session_bytes * 0.9
    return (
        next((one["at_s"] for one in soak.sizes if one["size_bytes"] >= full), float("inf")) if full else 0.0
    )


def _trends(soak: Soak) -> dict[str, dict[str, Any]]:
    """The trend of each quantity of each process, and whether it is flat."""
    trends: dict[str, dict[str, Any]] = {}
    warm_s = _warm_s(soak)
    for name, every in soak.samples.items():
        threads = THREADS_GROWTH + (NOTICE_THREADS if name == "follower" else 0.0)
        bounds = {"open_files": OPEN_FILES_GROWTH, "threads": threads}
        taken = [one for one in every if warm_s <= one.at_s <= soak.plan.seconds]
        soak.expect(
            len(taken) >= _LEAST_SAMPLES or not soak.plan.judge_growth,
            f"{name}: not judged, the session came to its limit at {warm_s:.0f} s; take a lower one, or more minutes",
        )
        for quantity in ("rss_bytes", "uss_bytes", "open_files", "threads"):
            points = [(one.at_s, float(getattr(one, quantity))) for one in taken]
            if len(points) < 4:
                continue
            way = trend(points)
            bound = bounds.get(quantity) or max(MEMORY_GROWTH_BYTES, MEMORY_GROWTH_SHARE * way.median)
            trends.setdefault(name, {})[quantity] = {**vars(way), "bound": bound}
            if soak.plan.judge_growth:
                soak.expect(
                    way.growth <= bound, f"{name}: {quantity} rose by {way.growth:.1f}, over {bound:.1f}"
                )
    return trends


def table(soak: Soak) -> Iterator[str]:
    """The report as a few lines of text."""
    account = soak.report["account"]
    for key in ("numbers_taken", "read", "retired", "lost", "unacknowledged", "unknown", "followed"):
        yield f"{key:<24} {account[key]:>12,}"
    yield f"{'acknowledged by id':<24} {sum(account['acknowledged'].values()):>12,}"
    yield f"{'of them missing':<24} {account['acknowledged_and_missing']:>12,}"
    yield f"{'most bytes of log files':<24} {max(size['size_bytes'] for size in soak.sizes):>12,.0f}"
    yield ""
    yield f"{'process':<12} {'RSS MB':>8} {'growth':>8} {'USS MB':>8} {'growth':>8} {'files':>6} {'threads':>8}"
    for name, ways in soak.report["trends"].items():
        rss, uss = ways["rss_bytes"], ways["uss_bytes"]
        yield (
            f"{name:<12} {rss['median'] / 1e6:>8.1f} {rss['growth'] / 1e6:>+8.2f} {uss['median'] / 1e6:>8.1f} "
            f"{uss['growth'] / 1e6:>+8.2f} {ways['open_files']['most']:>6.0f} {ways['threads']['most']:>8.0f}"
        )
    lags = [lag for lag in soak.report["lags"] if lag["events"]]
    if lags:
        middle = sorted(lag["p50_ms"] for lag in lags)[len(lags) // 2]
        yield f"follower: median lag {middle:.0f} ms, longest {max(lag['most_ms'] for lag in lags):.0f} ms"
    analyzer = soak.report["analyzer"]
    if analyzer:
        again = analyzer["asked_again"]
        yield f"analyzer: {analyzer['rounds']} rounds, {again} asked again, longest ms {analyzer['longest_ms']}"
    yield ""
    yield from soak.problems or ["all of it holds"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=150.0)
    parser.add_argument("--max-session-mb", type=float, default=300.0)
    parser.add_argument("--segment-kb", type=float, default=32.0)
    parser.add_argument("--analyze-every", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=10.0)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    directory = given.directory or Path(tempfile.mkdtemp(prefix="soak-"))
    directory.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        seconds=given.minutes * 60,
        processes=given.processes,
        agents=given.agents,
        rate=given.rate,
        max_session_bytes=int(given.max_session_mb * 1e6),
        segment_size_bytes=int(given.segment_kb * 1024),
        analyze_s=given.analyze_every,
        sample_s=given.every,
        judge_growth=given.minutes >= 4,
    )
    print(f"works in {directory}", flush=True)
    soak = run(plan, directory, talk=True)
    leave(given.json or directory / "report.json", soak.report)
    print("\n".join(table(soak)))
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
