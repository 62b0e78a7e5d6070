"""Worker processes of replays: a few at a time, each with a limit of time and of memory.

A worker runs what the server's operator registered over what somebody sent. So it is given a directory of its
own and a bare environment, nothing it prints is kept, and its group is killed when its time is over.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.server.errors import Problem
from Agent.server.replays.worker_process import OUTCOME, REQUEST, SPOOL
from Agent.server.settings import ServerSettings
from Agent.tree.retention.retention import delete_tree

__all__ = ["ReplayWorkers"]

_PREFIX: Final = "agent-trace-replay-"
_LEFT_S: Final = 86_400
"""No replay takes so long."""
_LOOK_S: Final = 0.05
_WAITING_PER_WORKER: Final = 4
_RETRY_AFTER_S: Final = 5
_MAX_SPOOL_BYTES: Final = 256 << 20
_MAX_OUTCOME_BYTES: Final = 64 << 20
_KEPT_WORDS: Final = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH")
_OUT_OF_TIME: Final = (-signal.SIGXCPU, -signal.SIGALRM)
_MAX_STDERR_BYTES: Final = 4096

_AS_LINE: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS

_log = logging.getLogger(__name__)


class ReplayWorkers:
    """Runs requests in processes of their own, a few at a time.

    Args:
        settings: how many, and what each may take.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.replay_workers, thread_name_prefix="agent-trace-replay")
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._open = 0
        _remove_leftovers()

    def submit(self, work: Callable[[], None]) -> Future[None]:
        """Lets a thread do some work that calls `run`, when its turn comes.

        Raises:
            Problem: 503, so many wait that this would take too long.
        """
        with self._lock:
            if self._open >= self._settings.replay_workers * (1 + _WAITING_PER_WORKER):
                raise Problem(
                    503,
                    "unavailable",
                    "all workers of this server are busy",
                    remedy="ask again later",
                    headers={"Retry-After": str(_RETRY_AFTER_S)},
                )
            self._open += 1
        future = self._threads.submit(work)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _future: Future[None]) -> None:
        with self._lock:
            self._open -= 1

    def close(self) -> None:
        """Ends the workers that run, and returns when they are gone; work that waits is not begun."""
        self._stop.set()
        self._threads.shutdown(cancel_futures=True)

    def run(
        self, request: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], timeout_s: float
    ) -> dict[str, Any]:
        """What a worker leaves of a request.

        Args:
            request: for `worker_process`.
            rows: the stored events that it works on.
            timeout_s: how long it may take, all in all.

        Returns:
            Its outcome, or one of `timed_out`, `out_of_memory`, `interrupted`, `ended` (its exit code), or
            `too_large` (in MiB).
        """
        settings = self._settings
        with tempfile.TemporaryDirectory(prefix=_PREFIX) as place:
            directory = Path(place)
            if not _spooled(directory / SPOOL, rows):
                return {"too_large": _MAX_SPOOL_BYTES >> 20}
            limits = {"memory_bytes": settings.replay_memory_bytes, "timeout_s": timeout_s}
            told = {**request, **limits, "executors": list(settings.executors)}
            (directory / REQUEST).write_bytes(orjson.dumps(told, option=orjson.OPT_NON_STR_KEYS))
            return self._outcome(directory, timeout_s)

    def _outcome(self, directory: Path, timeout_s: float) -> dict[str, Any]:
        with (directory / "stderr").open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 - this interpreter, this package, a directory of ours
                [sys.executable, "-P", "-m", "Agent.server.replays.worker_process", str(directory)],
                cwd=directory,
                env=_environment(directory),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                process_group=0,
            )
        ends_at = time.monotonic() + timeout_s
        try:
            while process.poll() is None:
                if self._stop.wait(_LOOK_S):
                    return {"interrupted": True}
                if time.monotonic() >= ends_at:
                    return {"timed_out": True}
        finally:
            # what it forked may outlive it
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return _read_outcome(directory, process.returncode)


def _remove_leftovers() -> None:
    """Removes the directories of workers whose server was killed: what was sent is in them."""
    oldest_s = time.time() - _LEFT_S
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
            found = path.lstat()
            if found.st_uid == os.getuid() and found.st_mtime < oldest_s:
                delete_tree(path)


def _spooled(path: Path, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Writes rows as lines; False where they come to more than a worker is given."""
    size_bytes = 0
    with path.open("wb") as file:
        for row in rows:
            size_bytes += file.write(orjson.dumps(row, option=_AS_LINE))
            if size_bytes > _MAX_SPOOL_BYTES:
                return False
    return True


def _read_outcome(directory: Path, returncode: int) -> dict[str, Any]:
    path = directory / OUTCOME
    if returncode == 0 and path.is_file():
        if path.stat().st_size > _MAX_OUTCOME_BYTES:
            return {"too_large": _MAX_OUTCOME_BYTES >> 20}
        found: dict[str, Any] = orjson.loads(path.read_bytes())
        return found
    if returncode in _OUT_OF_TIME:
        return {"timed_out": True}
    last = (directory / "stderr").read_bytes()[-_MAX_STDERR_BYTES:].decode("utf-8", "replace").splitlines()
    # the class of an error alone: its text may hold what was sent
    what = last[-1].partition(":")[0][:100] if last else "nothing said"
    if what == "MemoryError":
        return {"out_of_memory": True}
    _log.error("a worker of replays ended with %s: %s", returncode, what)
    return {"ended": returncode}


def _environment(directory: Path) -> dict[str, str]:
    """What a worker sees of the server's environment: no address, key or password."""
    environment = {name: os.environ[name] for name in _KEPT_WORDS if name in os.environ}
    package = str(Path(__file__).resolve().parents[3])
    behind = environment.get("PYTHONPATH")
    # the worker is in a directory of its own
    places = [str(Path(place).absolute()) for place in behind.split(os.pathsep)] if behind else []
    environment["PYTHONPATH"] = os.pathsep.join([package, *places])
    return environment | {"HOME": str(directory), "TMPDIR": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
