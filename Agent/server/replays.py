"""The work of the routes of checkpoints and replays: check the request, run a worker, store the result."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, cast

import orjson

from Agent.event.ids import uuid7
from Agent.server.errors import Problem
from Agent.server.settings import ServerSettings
from Agent.server.worker_process import OUTCOME, REQUEST, SPOOL
from Agent.store import Project
from Agent.store.database import ReplayStore, TraceSession, checkpoint_id_of
from Agent.store.schema import CheckpointRow, ReplayRow, now_us
from Agent.tree.retention import delete_tree

_GRACE_S: Final = 30
_START_S: Final = 15
"""The seconds for the start of a process, in addition to a replay's own timeout."""
_MOST_UNTOLD: Final = 64
"""The maximum number of runs whose result of creating checkpoints is kept until a client requests it."""
_WAITS: Final = 5
"""The factor from the timeout of a replay to its due time, since it may wait for others before it starts."""
_NO_UID: Final = "00000000-0000-0000-0000-000000000000"


_GAUGES_S: Final = 10.0


def _ratio(count: float, of: int) -> float | None:
    return count / of if of else None


class Replays:
    """Checkpoints and replays of one service.

    Args:
        store: the store of checkpoints, replays and sent events.
        settings: the limits.
    """

    def __init__(self, store: ReplayStore, settings: ServerSettings) -> None:
        self.store = store
        self.settings = settings
        self.workers = ReplayWorkers(settings)
        self._making: dict[tuple[int, str], Future[Any]] = {}
        self._gauges: dict[int | None, tuple[float, dict[str, float | None]]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop the running workers, and close all connections."""
        self.workers.close()
        self.store.close()

    def gauges(self, project: Project | None) -> dict[str, float | None]:
        """Return the measures of checkpoints and replays by name, of one project or of all; None if unknown.

        They are read from the database at most every 10 seconds.
        """
        key = None if project is None else project.project_id
        with self._lock:
            read_s, gauges = self._gauges.get(key, (-math.inf, {}))
        if time.monotonic() - read_s < _GAUGES_S:
            return gauges
        counts = self.store.count_replays(project, now_us())
        measured = {
            "checkpoint_success_ratio": _ratio(counts.checkpointed_runs, counts.runs),
            "checkpoint_storage_bytes": float(counts.storage_bytes),
            "replays": float(counts.replays),
            "replay_success_ratio": _ratio(counts.completed, counts.replays),
            "replay_latency_seconds": _ratio(counts.latency_s, counts.replays),
            "replay_divergence_ratio": _ratio(counts.diverged, counts.completed),
        }
        with self._lock:
            self._gauges[key] = time.monotonic(), measured
        return measured

    def trace(self, project: Project, trace_id: str) -> TraceSession:
        """Return the session with a run's events.

        Raises:
            Problem: 404, the project does not have the run.
        """
        sent = self.store.find_sent(project, trace_id)
        if sent is None:
            raise Problem(404, "no run with that id", remedy="GET /v1/runs lists them")
        return sent

    def begin_making(self, project: Project, trace_id: str) -> Future[Any]:
        """Start a worker that makes the checkpoints of a run, or return the future of a running one.

        Returns:
            New ids, artifacts that were not sent, and fields that hide the state after other steps.

        Raises:
            Problem: the run was sent without content, or no worker is free.
        """
        with self._lock:
            if (project.project_id, trace_id) in self._making:
                return self._making[project.project_id, trace_id]
        sent = self.trace(project, trace_id)
        if self.store.list_checkpoints(project, trace_id, limit=1).items:
            done: Future[Any] = Future()
            done.set_result(([], [], []))
            return done
        if sent.events == 0:
            raise without_content(project, trace_id)
        self._refuse_large(sent)
        future = cast("Future[Any]", self.workers.submit(lambda: self._make(project, trace_id, sent)))
        with self._lock:
            self._making[project.project_id, trace_id] = future
            for key in list(self._making)[:-_MOST_UNTOLD]:
                del self._making[key]
        return future

    def forget_result(self, project: Project, trace_id: str) -> None:
        """Remove the result of making a run's checkpoints, after a client has received it."""
        with self._lock:
            self._making.pop((project.project_id, trace_id), None)

    def _make(self, project: Project, trace_id: str, sent: TraceSession) -> Any:
        request = {**_about(sent), "do": "checkpoints"}
        outcome = self.workers.run(request, self._rows(project, sent), self.settings.replay_timeout_s)
        if "without_content" in outcome:
            raise without_content(project, trace_id)
        if "checkpoints" not in outcome:
            raise self._problem_of(outcome, lacking_state=True)
        rows = [
            CheckpointRow(
                checkpoint_id=checkpoint_id_of(trace_id, found["step_id"], found["agent_id"]),
                run_id=trace_id,
                **found,
            )
            for found in outcome["checkpoints"]
        ]
        return self.store.add_checkpoints(project, rows), outcome["lacking"], outcome["hidden_by"]

    def keep_checkpoint(self, project: Project, trace_id: str, body: Mapping[str, Any]) -> str:
        """Store a state from a client as a checkpoint, and return its id.

        Raises:
            Problem: 409, the project accepts no content, or the id exists.
        """
        self.trace(project, trace_id)
        _refuse_without_leave(project)
        default_id = checkpoint_id_of(trace_id, body["step_id"], body.get("agent_id"))
        checkpoint_id = body.get("checkpoint_id") or default_id
        row = CheckpointRow(
            checkpoint_id=checkpoint_id,
            run_id=trace_id,
            position=0,
            step_id=body["step_id"],
            agent_id=body.get("agent_id"),
            saved_us=now_us(),
            reason="sent",
            state=json_text(body["state"], "/state"),
        )
        if not self.store.add_checkpoints(project, [row]):
            raise Problem(
                409,
                "a checkpoint with that id exists",
                remedy="delete it first, or give another checkpoint_id",
            )
        return checkpoint_id

    def begin_replay(
        self, project: Project, checkpoint_id: str, config: Mapping[str, Any]
    ) -> tuple[str, Future[None]]:
        """Store a replay from a checkpoint and start a worker for it; return the replay's id and a future.

        The future raises Problem if nothing was replayed, because of the request or the server.

        Raises:
            Problem: 404, 409 if the project accepts no content, 503 if no worker is free.
        """
        stored = self.store.find_checkpoint(project, checkpoint_id)
        if stored is None:
            raise no_checkpoint()
        _refuse_without_leave(project)
        sent = self.trace(project, stored[0]["run_id"])
        self._refuse_large(sent)
        created_us = now_us()
        replay_id = uuid7(created_us // 1000, os.urandom(10))
        longest_s = self.settings.replay_timeout_s * _WAITS + _GRACE_S
        row = ReplayRow(
            replay_id,
            stored[0]["run_id"],
            checkpoint_id,
            created_us=created_us,
            due_us=created_us + int(longest_s * 1e6),
            request=json_text(dict(config), ""),
        )
        self.store.begin_replay(project, row)
        try:
            future = self.workers.submit(lambda: self._replay(project, replay_id, stored, sent, config))
        except Problem as problem:
            self._end(project, replay_id, "failed", problem=problem)
            raise

        def ended(done: Future[None]) -> None:
            if done.cancelled():  # the server stopped before it started
                self._end(project, replay_id, "interrupted", problem=self._problem_of({"interrupted": True}))

        future.add_done_callback(ended)
        return replay_id, future

    def _replay(
        self,
        project: Project,
        replay_id: str,
        stored: tuple[dict[str, Any], dict[str, Any]],
        sent: TraceSession,
        config: Mapping[str, Any],
    ) -> None:
        checkpoint, last = stored
        rows = [checkpoint] if last["checkpoint_id"] == checkpoint["checkpoint_id"] else [checkpoint, last]
        request = {**_about(sent), "do": "replay", "checkpoints": rows, "config": config}
        try:
            outcome = self.workers.run(request, self._rows(project, sent), self._timeout_s(config))
            self._conclude(project, replay_id, outcome)
        except Problem:
            raise
        except BaseException:
            self._end(project, replay_id, "failed", problem=Problem(500, "this is a bug in Agent Trace"))
            raise

    def _conclude(self, project: Project, replay_id: str, outcome: Mapping[str, Any]) -> None:
        """Store the outcome of a replay; raise Problem for an error of the request or the server."""
        result = outcome.get("result")
        if not isinstance(result, dict):
            problem = self._problem_of(outcome)
            ended_early = (name for name in ("timed_out", "out_of_memory", "interrupted") if name in outcome)
            self._end(project, replay_id, next(ended_early, "failed"), problem=problem)
            if outcome.get("problem", {}).get("kind") in _REFUSED:
                raise problem
            return
        status = "completed"
        if not result["completed"]:
            error = result["error"] or ""
            status = "out_of_memory" if error.startswith("MemoryError") else "failed"
            status = "timed_out" if error.startswith("it did not end within") else status
        self._end(project, replay_id, status, result=result)

    def _end(
        self,
        project: Project,
        replay_id: str,
        status: str,
        *,
        result: Mapping[str, Any] | None = None,
        problem: Problem | None = None,
    ) -> None:
        error = None if problem is None else {"message": problem.message, "remedy": problem.remedy}
        values = {
            "status": status,
            "finished_us": now_us(),
            "result": None if result is None else orjson.dumps(result).decode(),
            "problem": None if error is None else orjson.dumps(error).decode(),
        }
        self.store.end_replay(project, replay_id, values)

    def _timeout_s(self, config: Mapping[str, Any]) -> float:
        """Return the timeout of the process, which is later than the executor's own, cleaner timeout."""
        timeout_s = config.get("timeout_seconds")
        most = self.settings.replay_timeout_s
        return most if timeout_s is None else min(most, timeout_s + _START_S)

    def _rows(self, project: Project, sent: TraceSession) -> Iterator[dict[str, Any]]:
        if sent.session_uid is not None and sent.events > 0:
            yield from self.store.sent_events(project, sent.session_uid)

    def _refuse_large(self, sent: TraceSession) -> None:
        most = self.settings.replay_max_events
        if sent.events > most:
            raise Problem(
                409,
                f"its session has {sent.events:,} events, this server replays at most {most:,}",
                remedy="replay it where it was recorded: agent-trace replay",
            )

    def _problem_of(self, outcome: Mapping[str, Any], *, lacking_state: bool = False) -> Problem:
        """Return why a worker has no result."""
        settings = self.settings
        most_mib = settings.replay_memory_bytes >> 20
        if "problem" in outcome:
            problem = outcome["problem"]
            if problem["kind"] == "ConfigurationError":
                return Problem(500, problem["message"], remedy="the operator of the server can fix that")
            status = 409 if lacking_state or problem["kind"] == "DamagedInput" else 422
            return Problem(status, problem["message"], remedy=problem["remedy"])
        if "timed_out" in outcome:
            text = f"it did not end within {settings.replay_timeout_s:g} s and was stopped"
        elif "out_of_memory" in outcome:
            text = f"it needs more than the {most_mib:,} MiB that it may use"
        elif "too_large" in outcome:
            text = f"its result is larger than {outcome['too_large']:,} MiB"
        elif "interrupted" in outcome:
            text = "the server was stopped before it finished"
        else:
            text = f"its process {_ending(outcome.get('ended'))} before it could report"
            if outcome.get("ended") in _CRASHES:
                text += f"; libraries crash so where they get no more memory than {most_mib:,} MiB"
        return Problem(409, text, remedy="replay it where it was recorded: agent-trace replay")


_CRASHES: Final = frozenset({-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS})


def _ending(code: object) -> str:
    """Return how a process ended, from the exit code of `subprocess`."""
    if isinstance(code, int) and -code in set(signal.Signals):
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with {code}"


_REFUSED: Final = frozenset({"ConfigurationError", "UsageError"})
"""Errors of the request or of the server, which are not outcomes of a replay."""


def without_content(project: Project, trace_id: str) -> Problem:
    """Make the problem of a run that was sent without content."""
    remedy = "send it with agent-trace ship --content; the stored run is then completed"
    if not project.content_allowed:
        remedy = (
            f"let the project accept content: agent-trace keys content {project.name} --on; then {remedy}"
        )
    return Problem(
        409,
        f"run {trace_id} was sent without content: no state, argument or result of it is stored to "
        "continue from",
        code="without_content",
        remedy=remedy,
    )


def no_checkpoint() -> Problem:
    """Make the problem of a missing checkpoint."""
    return Problem(
        404,
        "no checkpoint with that id",
        remedy="GET /api/traces/{trace_id}/checkpoints lists those of a run",
    )


def json_text(value: Any, path: str) -> str:
    """Encode a value of a body as JSON text.

    Raises:
        Problem: it is nested too deeply to be stored.
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise Problem(422, "it is nested too deeply", path=path) from None


def _refuse_without_leave(project: Project) -> None:
    if not project.content_allowed:
        raise Problem(
            409,
            f"project {project.name} stores no content, which a replay needs",
            code="without_content",
            remedy=f"agent-trace keys content {project.name} --on",
        )


def _about(sent: TraceSession) -> dict[str, Any]:
    return {"session_uid": sent.session_uid or _NO_UID, "run_id": sent.run_id}


_PREFIX: Final = "agent-trace-replay-"
_LEFTOVER_AGE_S: Final = 86_400
"""The age in seconds, longer than any replay, from which a worker's directory is a leftover."""
_POLL_S: Final = 0.05
_WAITING_PER_WORKER: Final = 4
_RETRY_AFTER_S: Final = 5
_MAX_SPOOL_BYTES: Final = 256 << 20
_MAX_OUTCOME_BYTES: Final = 64 << 20
_PASSED_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH")
_OUT_OF_TIME: Final = (-signal.SIGXCPU, -signal.SIGALRM)
_MAX_STDERR_BYTES: Final = 4096
_KILL_ROUNDS: Final = 10
_ERROR_CLASS: Final = re.compile(
    r"([A-Za-z_][\w.]{0,99}(?:Error|Exception|Exit|Interrupt|Cancelled\w*))(?::|$)"
)

_AS_LINE: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS

_log = logging.getLogger(__name__)


class ReplayWorkers:
    """Runs each request in a separate process, a limited number at a time.

    Args:
        settings: the number of processes and their limits.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.replay_workers, thread_name_prefix="agent-trace-replay")
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._open = 0
        _remove_leftovers()

    def submit(self, work: Callable[[], None]) -> Future[None]:
        """Queue work that calls `run` for a thread.

        Raises:
            Problem: 503, the queue is full.
        """
        with self._lock:
            if self._open >= self._settings.replay_workers * (1 + _WAITING_PER_WORKER):
                raise Problem(
                    503,
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
        """Stop the running workers, and return when they have ended; queued work is cancelled."""
        self._stop.set()
        self._threads.shutdown(cancel_futures=True)

    def run(
        self, request: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], timeout_s: float
    ) -> dict[str, Any]:
        """Run a worker for a request, and return its outcome.

        Args:
            request: the request, for `worker_process`.
            rows: the stored events for it.
            timeout_s: the total timeout.

        Returns:
            Its outcome, or one of `timed_out`, `out_of_memory`, `interrupted`, `ended` (its exit code), or
            `too_large` (in MiB).
        """
        settings = self._settings
        # Files that a process writes while it is being killed are removed by the next server.
        with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as worker_directory:
            directory = Path(worker_directory)
            if not _spooled(directory / SPOOL, rows):
                return {"too_large": _MAX_SPOOL_BYTES >> 20}
            limits = {"memory_bytes": settings.replay_memory_bytes, "timeout_s": timeout_s}
            settings_of_worker = {**request, **limits, "executors": list(settings.executors)}
            (directory / REQUEST).write_bytes(
                orjson.dumps(settings_of_worker, option=orjson.OPT_NON_STR_KEYS)
            )
            return self._outcome(directory, timeout_s)

    def _outcome(self, directory: Path, timeout_s: float) -> dict[str, Any]:
        with (directory / "stderr").open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 - this interpreter, this package, a directory of ours
                [sys.executable, "-P", "-m", "Agent.server.worker_process", str(directory)],
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
                if self._stop.wait(_POLL_S):
                    return {"interrupted": True}
                if time.monotonic() >= ends_at:
                    return {"timed_out": True}
        finally:
            # Its child processes may still be running.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _kill_escaped(directory)
        return _read_outcome(directory, process.returncode)


def _kill_escaped(directory: Path) -> None:
    """Kill processes that a worker started in other process groups and that still have its environment.

    Without `/proc` they are not found.
    """
    mark = b"TMPDIR=" + os.fsencode(directory)
    for _ in range(_KILL_ROUNDS):  # a killed process may have started another before
        pids = [pid for pid in _processes() if mark in _environment_of(pid).split(b"\0")]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not pids:
            return
        time.sleep(_POLL_S)


def _processes() -> list[int]:
    try:
        return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]
    except OSError:
        return []


def _environment_of(pid: int) -> bytes:
    """Return the environment of a process; empty if it has ended or belongs to another user."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _remove_leftovers() -> None:
    """Remove the directories of workers whose server was killed: they contain sent events."""
    oldest_s = time.time() - _LEFTOVER_AGE_S
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's directory, or already removed
            status = path.lstat()
            if status.st_uid == os.getuid() and status.st_mtime < oldest_s:
                delete_tree(path)


def _spooled(path: Path, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Write rows as lines; return False if they exceed the size limit of a worker's input."""
    size_bytes = 0
    with path.open("wb") as file:
        for row in rows:
            size_bytes += file.write(orjson.dumps(row, option=_AS_LINE))
            if size_bytes > _MAX_SPOOL_BYTES:
                return False
    return True


def _read_outcome(directory: Path, returncode: int) -> dict[str, Any]:
    if returncode == 0:
        raw = _regular(directory / OUTCOME)
        if len(raw) > _MAX_OUTCOME_BYTES:
            return {"too_large": _MAX_OUTCOME_BYTES >> 20}
        with contextlib.suppress(orjson.JSONDecodeError):  # user code in the worker may have changed the file
            outcome = orjson.loads(raw)
            if isinstance(outcome, dict):
                return outcome
    if returncode in _OUT_OF_TIME:
        return {"timed_out": True}
    last = _regular(directory / "stderr", _MAX_STDERR_BYTES).decode("utf-8", "replace").splitlines()
    # Only the class of an error, since its text may contain sent values.
    error = _ERROR_CLASS.match(last[-1]) if last else None
    error_name = error[1] if error is not None else "an unknown error"
    if error_name == "MemoryError":
        return {"out_of_memory": True}
    _log.error("a worker of replays ended with %s: %s", returncode, error_name)
    return {"ended": returncode}


def _regular(path: Path, last_bytes: int = _MAX_OUTCOME_BYTES + 1) -> bytes:
    """Read the last bytes of a file in a worker's directory; empty unless it is a regular file."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with open(opened, "rb") as file:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            return b""
        file.seek(max(0, status.st_size - last_bytes))
        return file.read(last_bytes)


def _environment(directory: Path) -> dict[str, str]:
    """Return the environment of a worker, without addresses, keys or passwords of the server."""
    environment = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
    package = str(Path(__file__).resolve().parents[2])
    behind = environment.get("PYTHONPATH")
    # Absolute paths, since the worker runs in another directory.
    paths = [str(Path(place).absolute()) for place in behind.split(os.pathsep)] if behind else []
    environment["PYTHONPATH"] = os.pathsep.join([package, *paths])
    return environment | {"HOME": str(directory), "TMPDIR": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
