"""From the call to the screen: how long an event takes until `agent-trace tail -f` has printed it.

A process of its own logs at a steady pace, for several agents in turn; each event holds the time of its call
on the clock that both share, and the reader notes when the line comes out of the pipe. `python -m
benchmarks.tail_latency --help`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WRITER = """
import sys, time
from Agent import AgentLogger
agents, events, pace_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
loggers = [AgentLogger(f"agent_{number}", "paced") for number in range(agents)]
for logger in loggers:
    logger.info("ready")
print("ready", flush=True)
sys.stdin.readline()
due = time.monotonic()
for number in range(events):
    due += pace_s
    time.sleep(max(due - time.monotonic(), 0))
    loggers[number % agents].log_action("paced", {"called_ns": time.monotonic_ns()})
"""


def measure(agents: int, events: int, pace_s: float, directory: Path) -> list[float]:
    """The milliseconds from call to screen, sorted."""
    environment = {
        **os.environ,
        "AGENT_TRACE_ROOT": str(directory / f"trace_{agents}"),
        "HOME": str(directory),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }
    python = sys.executable
    writer = subprocess.Popen(
        [python, "-c", WRITER, str(agents), str(events), str(pace_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert writer.stdin is not None and writer.stdout is not None
    writer.stdout.readline()
    tail = subprocess.Popen(
        [python, "-m", "Agent", "tail", "-f", "-n", "1", "--json"], stdout=subprocess.PIPE, env=environment
    )
    assert tail.stdout is not None
    tail.stdout.readline()  # it is up
    time.sleep(1.0)
    writer.stdin.write(b"go\n")
    writer.stdin.flush()
    took_ms: list[float] = []
    while len(took_ms) < events:
        event = json.loads(tail.stdout.readline())
        arrived_ns = time.monotonic_ns()
        if event["extra"].get("action_type") == "paced":
            took_ms.append((arrived_ns - event["extra"]["action_data"]["called_ns"]) / 1e6)
    tail.terminate()
    tail.wait()
    writer.wait()
    return sorted(took_ms)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tail_latency", description=__doc__)
    parser.add_argument("--events", type=int, default=2000, help="in all (default: 2000)")
    parser.add_argument("--per-second", type=float, default=100.0, help="how many (default: 100)")
    parser.add_argument("--agents", type=int, nargs="+", default=[1, 20, 1000], help="(default: 1 20 1000)")
    given = parser.parse_args()
    paced = f"{given.events} events at {given.per_second:g} a second"
    print(f"event to screen of `tail -f`, ms; {paced}; budget: p99 <= 50")
    print(f"load of the machine at the beginning: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as directory:
        for agents in given.agents:
            took = measure(agents, given.events, 1 / given.per_second, Path(directory))
            shown = ", ".join(
                f"{name} {took[min(int(share * len(took)), len(took) - 1)]:.1f}"
                for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
            )
            print(f"  {agents:5} agents: {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
