"""What starting costs: whole processes, each beside a bare Python of the same flags, taking turns."""

from __future__ import annotations

import compileall
import importlib.metadata
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import Agent

# Names are loaded when they are first used, so a program that records pays for these.
STARTS: dict[str, list[str]] = {
    "bare": ["-c", "pass"],
    "import Agent": ["-c", "from Agent import AgentLogger, trace_agent_action"],
    "import structlog": ["-c", "import structlog"],
    "agent-trace --help": ["-m", "Agent", "--help"],
}


def compile_package() -> None:
    """Write the byte code first: the environment may forbid Python to write it while it is timed."""
    compileall.compile_dir(str(Path(Agent.__file__).parent), quiet=1)
    for name in ("click", "orjson", "structlog"):
        for file in importlib.metadata.files(name) or []:
            if file.suffix == ".py":
                compileall.compile_file(str(file.locate()), quiet=1)


def start_ms(arguments: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def measure_starts(rounds: int) -> dict[str, dict[str, float]]:
    """{what: {"ms", "over_bare_ms"}}: medians; the difference is made within a round."""
    package_parent = str(Path(Agent.__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": package_parent}
    times: dict[str, list[float]] = {name: [] for name in STARTS}
    for number in range(rounds + 1):
        for name, arguments in STARTS.items():
            elapsed = start_ms(arguments, environment)
            if number:  # the first turn fills the page cache
                times[name].append(elapsed)
    bare = times["bare"]
    return {
        name: {
            "ms": statistics.median(values),
            "over_bare_ms": statistics.median(mine - base for mine, base in zip(values, bare, strict=True)),
        }
        for name, values in times.items()
    }
