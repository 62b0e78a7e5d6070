"""A command as its user has it: a process of its own, its time from start to end, and its memory at the peak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import Agent

__all__ = ["OWN", "STOPPED", "Ran", "child_environment", "run_child"]

STOPPED = 124
OWN = (sys.executable, "-m", "Agent")


@dataclass(frozen=True)
class Ran:
    """What one process did; the peak is that of the largest among it and those it waited for."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    exit_code: int
    """`STOPPED` where it took too long."""
    out: bytes
    err: bytes


def child_environment() -> dict[str, str]:
    """That of this process, and the package that it measures."""
    own = str(Path(Agent.__file__).parents[1])
    path = os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


_WAITER = """
import json, os, subprocess, sys, threading, time
told, patience_s, *arguments = sys.argv[1:]
began = time.perf_counter()
child = subprocess.Popen(arguments)
late = threading.Event()
timer = threading.Timer(float(patience_s), lambda: (late.set(), child.kill()))
timer.start()
_, status, used = os.wait4(child.pid, 0)
took = time.perf_counter() - began
timer.cancel()
code = 124 if late.is_set() else os.waitstatus_to_exitcode(status)
with open(told, "w") as file:
    json.dump([took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, code], file)
"""
"""A small process that starts the command: what is started has the memory of its parent until it is on its own,
and that counts as its peak."""


def run_child(arguments: Sequence[str], *, patience_s: float = 1800.0) -> Ran:
    """Run a command to its end, its output in files, so that nobody waits for a reader."""
    with (
        tempfile.TemporaryDirectory() as place,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        told = Path(place) / "told.json"
        waiter = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _WAITER, str(told), str(patience_s), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=child_environment(),
            check=False,
        )
        if waiter.returncode:
            err.seek(0)
            raise RuntimeError(err.read().decode(errors="replace"))
        wall_s, cpu_s, peak_mb, exit_code = json.loads(told.read_bytes())
        out.seek(0)
        err.seek(0)
        return Ran(wall_s, cpu_s, peak_mb, exit_code, out.read(), err.read())
