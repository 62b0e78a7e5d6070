"""One process for many replays of one target: it imports the target once and forks for each replay.

Each fork finds modules, sources and watches as the import left them, so no replay sees another. A worker is a
fork server that has a target; `history.py` asks it.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, Self

import orjson

from Agent.replay.worker.child_process import Ended, launched_by, run_module, write_request
from Agent.replay.worker.fork_server import ForkServer
from Agent.replay.worker.jobs import from_object

__all__ = ["Worker", "Workers", "can_fork"]

_LOOK_S = 0.2


def can_fork() -> bool:
    """Whether this system has what a worker needs."""
    return hasattr(os, "fork") and hasattr(socket, "send_fds")


class Worker:
    """A process that has imported a target and forks for each replay; several threads may ask at once.

    Args:
        session: the session that it reads once.
        target: `module:factory`.
    """

    def __init__(self, session: Path, target: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="agent-trace-worker-")
        here = Path(self._directory.name)
        request = {
            "session": str(session.absolute()),
            "agent_id": None,
            "target": target,
            "sys_path": sys.path,
        }
        request["outcome_path"] = str(here / "outcome.json")
        path = write_request(request, here)
        self._stdout, self._stderr = here / "stdout.txt", here / "stderr.txt"
        self._files = self._stdout.open("wb"), self._stderr.open("wb")
        self._server = ForkServer(path, self._files)
        self._lock = threading.Lock()
        self._said: dict[str, Any] | None = None
        """What it said when the target was imported; None before that."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self,
        module: str,
        request: Mapping[str, Any],
        directory: Path,
        timeout_seconds: float | None = None,
        stop: Event | None = None,
    ) -> Ended:
        """Carry out one request for a replay in a fork, or as `run_module` does where the target forbids it.

        Raises:
            TargetNotFound: the target cannot be imported.
            CancelledError: `stop` was set.
        """
        with self._lock:
            if self._said is None:
                ends_at = None if timeout_seconds is None else time.monotonic() + timeout_seconds
                answer = _received(self._server.start(), ends_at, stop)
                if answer is None:
                    return Ended(*self._printed(), None)
                self._said = orjson.loads(answer or b"{}")
        if "error" in self._said:
            raise from_object(self._said["error"])
        if not self._said.get("ready"):
            return run_module(module, request, directory, timeout_seconds, stop)
        with launched_by(self._server):
            ended = run_module(module, request, directory, timeout_seconds, stop)
        stdout, stderr = self._printed()
        return replace(ended, stdout=stdout + ended.stdout, stderr=stderr + ended.stderr)

    def close(self) -> None:
        """End the process; what still runs in its forks is ended by whoever asked for it."""
        self._server.close()
        for file in self._files:
            file.close()
        self._directory.cleanup()

    def _printed(self) -> tuple[str, str]:
        """What the target printed when it was imported."""
        return self._stdout.read_text("utf-8", "replace"), self._stderr.read_text("utf-8", "replace")


class Workers:
    """Workers by session and target, each from its first replay to its last; none for what is replayed once.

    Args:
        wanted: session and target of every replay that is to come.
    """

    def __init__(self, wanted: Iterable[tuple[Path, str]]) -> None:
        self._left = Counter(wanted)
        self._shared = {key for key, count in self._left.items() if count > 1 and can_fork()}
        self._begun: dict[tuple[Path, str], Worker] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._begun.values():
            worker.close()

    @contextmanager
    def of(self, session: Path, target: str) -> Iterator[Worker | None]:
        """The worker for one of the replays; None where it needs a process of its own."""
        key = session, target
        with self._lock:
            if key in self._shared and key not in self._begun:
                self._begun[key] = Worker(session, target)
            found = self._begun.get(key)
        try:
            yield found
        finally:
            with self._lock:
                self._left[key] -= 1
                if not self._left[key]:
                    done = self._begun.pop(key, None)
                    if done is not None:
                        done.close()


def _received(connection: socket.socket, ends_at: float | None, stop: Event | None) -> bytes | None:
    """One line, b"" where the other side is gone; None where it took too long.

    Raises:
        CancelledError: `stop` was set.
    """
    line = b""
    while not line.endswith(b"\n"):
        left = None if ends_at is None else ends_at - time.monotonic()
        if left is not None and left <= 0:
            return None
        waits = [each for each in (left, _LOOK_S if stop is not None else None) if each is not None]
        if not select.select([connection], [], [], min(waits, default=None))[0]:
            if stop is not None and stop.is_set():
                raise CancelledError
            continue
        try:
            piece = connection.recv(1)
        except ConnectionError:
            return b""
        if not piece:
            return b""
        line += piece
    return line
