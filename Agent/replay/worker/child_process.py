"""The other process in which code is replayed: under another hash seed, and without this one's recording.

`jobs.py` starts one for each job.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import orjson

_LOOK_S = 0.2


@dataclass(frozen=True)
class Ended:
    """How a child process ended, and what it printed."""

    stdout: str
    stderr: str
    returncode: int | None
    """None: it took longer than it may, and was stopped."""

    @property
    def last_words(self) -> str:
        """How it ended, for one that left no outcome."""
        last = self.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return f"the child process ended with {self.returncode} before it could report: {last[0]}"


class Child(Protocol):
    """A process that carries out a request; a `subprocess.Popen` is one."""

    @property
    def pid(self) -> int:
        """Its id, and that of its process group."""

    returncode: int | Any

    def communicate(self, *, timeout: float | None = None) -> tuple[str, str]:
        """What it printed, once it has ended; subprocess.TimeoutExpired before that."""

    def kill(self) -> None:
        """End it."""


class Launcher(Protocol):
    """Starts a process in which a module carries out the request in a file, under an environment."""

    def __call__(self, module: str, request: Path, environment: Mapping[str, str]) -> Child:
        """The process, leader of a group of its own."""


def spawn(module: str, request: Path, environment: Mapping[str, str]) -> Child:
    """A new interpreter."""
    return subprocess.Popen(  # noqa: S603 - this interpreter, this package, a file of ours
        [sys.executable, "-m", module, str(request)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        process_group=0,
    )


_launcher: ContextVar[Launcher] = ContextVar("launcher", default=spawn)


@contextlib.contextmanager
def launched_by(launcher: Launcher) -> Iterator[None]:
    """Start child processes so until the block ends, also in threads that run in a copy of this context."""
    token = _launcher.set(launcher)
    try:
        yield
    finally:
        _launcher.reset(token)


def launches_anew() -> bool:
    """Whether each child process is a new interpreter."""
    return _launcher.get() is spawn


def run_module(
    module: str,
    request: Mapping[str, Any],
    directory: Path,
    timeout_seconds: float | None,
    stop: Event | None = None,
) -> Ended:
    """Let a module of this package carry out a request, which it gets as a file in that directory.

    Whatever ends this call early, an interrupt too, ends that process and those that it forked.

    Args:
        stop: set by another thread, it ends them as well, with CancelledError.
    """
    process = _launcher.get()(module, write_request(request, directory), child_environment())
    try:
        stdout, stderr = _output(process, timeout_seconds, stop)
    except subprocess.TimeoutExpired:
        stdout, stderr = _end(process)
        return Ended(stdout, stderr, None)
    except BaseException:
        _end(process)
        raise
    return Ended(stdout, stderr, process.returncode)


def write_request(request: Mapping[str, Any], directory: Path) -> Path:
    """Write the file that a worker process reads."""
    path = directory / "request.json"
    path.write_bytes(orjson.dumps(request))
    return path


def _output(process: Child, timeout_seconds: float | None, stop: Event | None) -> tuple[str, str]:
    """What a process printed, once it has ended."""
    if stop is None:
        return process.communicate(timeout=timeout_seconds)
    ends_at = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    while True:
        try:
            return process.communicate(timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            if stop.is_set():
                raise CancelledError from None
            if ends_at is not None and time.monotonic() >= ends_at:
                raise


def _end(process: Child) -> tuple[str, str]:
    """End a child process and those that it forked; what they had printed."""
    if hasattr(os, "killpg"):
        # an interrupt can come when it has just ended
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    return process.communicate()


def child_environment() -> dict[str, str]:
    """The caller's environment without its recording, under another hash seed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_TRACE_")}
    seed = 1 + secrets.randbelow(2**32 - 1)
    while str(seed) == os.environ.get("PYTHONHASHSEED"):
        seed = 1 + secrets.randbelow(2**32 - 1)
    environment["PYTHONHASHSEED"] = str(seed)
    package = str(Path(__file__).resolve().parents[3])
    behind = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = package if not behind else f"{package}{os.pathsep}{behind}"
    return environment
