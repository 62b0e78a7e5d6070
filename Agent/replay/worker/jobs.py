"""Jobs for a worker process: the request, the start of the process, its progress and its answer.

`run_job` is the caller's side, `main` the worker's. A request is a JSON file that names the function to run
and the file for the answer: `{"answer": ...}` or `{"error": ...}`.
"""

from __future__ import annotations

import _thread
import ast
import contextlib
import difflib
import gc
import importlib
import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any, Final, NamedTuple, Protocol

import orjson

from Agent import errors
from Agent.errors import AgentTraceError, ReplayError, TargetNotFound
from Agent.replay.plan.target import TargetNotImported, import_target, target_name, target_not_found
from Agent.tree.read.reader import no_collection

# The worker process runs replayed code under another hash seed and without the caller's recording.
#
# Each job starts a new one.

_LOOK_S = 0.2
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ChildResult:
    """How a child process ended, and what it printed."""

    stdout: str
    stderr: str
    returncode: int | None
    """The exit code; None if the process exceeded its time limit and was stopped."""


class Child(Protocol):
    """A process that runs a request; `subprocess.Popen` satisfies this protocol."""

    @property
    def pid(self) -> int:
        """The id of the process and of its process group."""

    returncode: int | Any

    def communicate(self, *, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end and return stdout and stderr; subprocess.TimeoutExpired if it takes longer."""

    def kill(self) -> None:
        """Kill the process."""


Launcher = Callable[[str, Path, Mapping[str, str]], Child]
"""Starts a process that leads its own process group, and in which a module runs the request in a file."""


def spawn(module: str, request: Path, environment: Mapping[str, str]) -> Child:
    """Start a new interpreter; it imports nothing from the working directory before it has the request."""
    return subprocess.Popen(  # noqa: S603 - this interpreter, this package, a file of ours
        [sys.executable, "-P", "-m", module, str(request), str(os.getpid())],
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
    """Use this launcher until the block ends, also in threads that run in a copy of this context."""
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
) -> ChildResult:
    """Run a module of this package on a request, which is passed as a file in that directory.

    If this call ends early, also by an interrupt, the process and its forks are killed.

    Args:
        stop: when another thread sets it, they are killed and CancelledError is raised.
    """
    process = _launcher.get()(module, write_request(request, directory), child_environment())
    try:
        stdout, stderr = _output(process, directory, timeout_seconds, stop)
    except subprocess.TimeoutExpired:
        stdout, stderr = _end(process)
        return ChildResult(stdout, stderr, None)
    except BaseException:
        _end(process)
        raise
    return ChildResult(stdout, stderr, process.returncode)


def write_request(request: Mapping[str, Any], directory: Path) -> Path:
    """Write the file that a worker process reads."""
    path = directory / "request.json"
    path.write_bytes(orjson.dumps(request))
    return path


def end_with_parent(parent_id: int) -> None:
    """Have the system kill this process when its parent ends, even by a kill.

    A killed parent cannot end its child, and the child's task may never end. Forks of this process have to
    call this function themselves.

    Args:
        parent_id: the process that started this one.
    """
    if os.name == "nt":
        return  # Windows keeps the parent's id after its end
    prctl = _prctl()
    # Linux sends the signal when the parent's thread ends; that thread waits for this process.
    if prctl is not None and prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) == 0:
        if os.getppid() != parent_id:  # the parent ended before the call
            os._exit(1)
        return

    def watch() -> None:
        while os.getppid() == parent_id:
            time.sleep(_LOOK_S)
        os._exit(1)

    # Not `threading.Thread`: replayed code and the event loop of a replay count the threads.
    _thread.start_new_thread(watch, ())


@cache
def _prctl() -> Callable[..., int] | None:
    """Return the `prctl` function of Linux; None on other systems."""
    if sys.platform != "linux":
        return None
    import ctypes

    function = getattr(ctypes.CDLL(None), "prctl", None)
    if function is not None:
        function.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    return function


def _output(
    process: Child, directory: Path, timeout_seconds: float | None, stop: Event | None
) -> tuple[str, str]:
    """Wait for a process and return stdout and stderr; the listener hears the progress that it reports."""
    report_share, began = listener.get(), time.monotonic()
    if stop is None and report_share is None:
        return process.communicate(timeout=timeout_seconds)
    is_long = False
    try:
        while True:
            try:
                return process.communicate(timeout=_INTERVAL_S)
            except subprocess.TimeoutExpired:
                took_s = time.monotonic() - began
                if stop is not None and stop.is_set():
                    raise CancelledError from None
                if timeout_seconds is not None and took_s >= timeout_seconds:
                    raise
                is_long = report_share is not None and took_s >= _PATIENCE_S
                if report_share is not None and is_long:
                    report_share(_share(directory / _FILE))
    finally:
        if report_share is not None and is_long:
            report_share(1.0)


def _end(process: Child) -> tuple[str, str]:
    """Kill a child process and its forks; return what they had printed."""
    if hasattr(os, "killpg"):
        # An interrupt can arrive when the process has just ended.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    return process.communicate()


def child_environment() -> dict[str, str]:
    """Return the caller's environment without its recording settings, with another hash seed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_TRACE_")}
    seed = 1 + secrets.randbelow(2**32 - 1)
    while str(seed) == os.environ.get("PYTHONHASHSEED"):
        seed = 1 + secrets.randbelow(2**32 - 1)
    environment["PYTHONHASHSEED"] = str(seed)
    package = str(Path(__file__).resolve().parents[3])
    behind = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = package if not behind else f"{package}{os.pathsep}{behind}"
    return environment


_MODULE = "Agent.replay.worker.jobs"
_MAX_OUTPUT_CHARS = 20_000


class Job(NamedTuple):
    """A kind of job."""

    what: str
    """Its name in messages."""
    function: str
    """`module:function`; it takes the request and returns the answer as a JSON object."""


Runner = Callable[..., ChildResult]
"""Runs a module in another process, like `run_module`."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of a job."""

    answer: dict[str, Any] | None
    """None if the process died or exceeded its time limit."""
    failure: str
    """Why there is no answer; "" if there is one."""
    stdout: str
    stderr: str

    def answered(self) -> dict[str, Any]:
        """Return the answer.

        Raises:
            ReplayError: the job has no answer.
        """
        if self.answer is None:
            raise ReplayError(self.failure)
        return self.answer


def run_job(
    job: Job,
    request: Mapping[str, Any],
    timeout_seconds: float | None = None,
    stop: Event | None = None,
    run: Runner | None = None,
) -> JobResult:
    """Run a job in another process with the caller's import path.

    Args:
        stop: when another thread sets it, the process is killed and CancelledError is raised.
        run: runs the process; default: `run_module`.

    Raises:
        AgentTraceError: the job raised it.
    """
    with tempfile.TemporaryDirectory(prefix="agent-trace-replay-") as temporary:
        directory = Path(temporary)
        whole = _whole(job, request, directory)
        ended = (run or run_module)(_MODULE, whole, directory, timeout_seconds, stop)
        printed = ended.stdout[-_MAX_OUTPUT_CHARS:], ended.stderr[-_MAX_OUTPUT_CHARS:]
        if ended.returncode is None:
            failure = f"the {job.what} did not end within {timeout_seconds:g} s and was stopped"
            return JobResult(None, failure, *printed)
        try:
            response = orjson.loads(Path(whole["outcome_path"]).read_bytes())
        except (OSError, ValueError):
            last = ended.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
            failure = f"the child process ended with {ended.returncode} before it could report: {last[0]}"
            return JobResult(None, failure, *printed)
    if "error" in response:
        raise from_object(response["error"])
    return JobResult(response["answer"], "", *printed)


def run_job_in_terminal(job: Job, request: Mapping[str, Any]) -> None:
    """Run a job in a process that shares this terminal, for a debugger."""
    with tempfile.TemporaryDirectory(prefix="agent-trace-replay-") as directory:
        path = write_request(_whole(job, request, Path(directory)), Path(directory))
        subprocess.run(  # noqa: S603 - this interpreter, this package, a file of ours
            [sys.executable, "-m", _MODULE, str(path)], env=child_environment(), check=False
        )


def _whole(job: Job, request: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    return {
        **request,
        "job": job.function,
        "sys_path": sys.path,
        "outcome_path": str(directory / "outcome.json"),
    }


def main(request_path: str, parent_id: str = "") -> None:
    """Run the job in a file: the worker process, which ends when the given parent has ended."""
    if parent_id:
        end_with_parent(int(parent_id))
    request = orjson.loads(Path(request_path).read_bytes())
    module, _, name = request["job"].partition(":")
    # Of what is imported nothing becomes garbage; to look for it takes a tenth of a short job.
    with no_collection():
        function = getattr(importlib.import_module(module), name)
        gc.freeze()
    answer(request, function)


def answer(request: dict[str, Any], carry_out: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write the function's result for a request, or the error that it raises."""
    sys.path[:] = request["sys_path"]
    try:
        response = {"answer": carry_out(request)}
    except AgentTraceError as error:
        response = {"error": as_object(error)}
    Path(request["outcome_path"]).write_bytes(orjson.dumps(response, default=repr))


def as_object(error: AgentTraceError) -> dict[str, Any]:
    """Return an error as a JSON object, to be raised in another process."""
    return {
        "type": type(error).__name__,
        "message": error.message,
        "path": error.path,
        "remedy": error.remedy,
    }


def from_object(stored: Mapping[str, Any]) -> AgentTraceError:
    """Return the error that another process stored."""
    kind = getattr(errors, stored["type"], ReplayError)
    error: AgentTraceError = kind(stored["message"], path=stored["path"], remedy=stored["remedy"])
    return error


if __name__ == "__main__":
    main(*sys.argv[1:])


# Progress of a child process, passed through a file to the process that waits for it.
#
# The child may call `report_progress` often; the waiting process looks at it now and then.

listener: ContextVar[Callable[[float], None] | None] = ContextVar("fork_listener", default=None)
"""Called with the share that is done, 0.0 to 1.0, for forks that take more than a second."""

_PATIENCE_S: Final = 1.0
_INTERVAL_S: Final = 0.2
_FILE: Final = "progress"

_reported_at = 0.0


def report_progress(directory: Path, done: int, total: int) -> None:
    """Report progress; at most five reports per second are written."""
    global _reported_at  # noqa: PLW0603 - the time of the last report
    now = time.monotonic()
    if now - _reported_at < _INTERVAL_S or total <= 0:
        return
    _reported_at = now
    path = directory / f"{_FILE}.new"
    path.write_text(f"{min(done / total, 1.0):.4f}")
    path.rename(directory / _FILE)


def _share(path: Path) -> float:
    try:
        return min(float(path.read_text()), 0.99)  # 1.0 is reported when the process has ended
    except (OSError, ValueError):
        return 0.0  # no report yet


# Check whether a target can be imported, before a recording is read.
#
# The source is parsed first, without running it. If that is inconclusive, a child process imports the module.

_IMPORT = Job("import", "Agent.replay.worker.jobs:import_alone")


def check_target(target: str) -> None:
    """Raise unless `module:factory` can be imported in a process with the same `sys.path`.

    Raises:
        UsageError: the name is not valid.
        TargetNotFound: the module or factory does not exist, or importing the module fails.
    """
    module_name, _, qualname = target_name(target, None, None).partition(":")
    names = _names_in(module_name)
    if qualname in names:
        return
    try:
        result = run_job(_IMPORT, {"target": target})
    except TargetNotFound as error:
        close = difflib.get_close_matches(qualname, names, 1)
        if close:
            raise TargetNotFound(error.message, remedy=f"did you mean {module_name}:{close[0]}?") from None
        raise
    if result.answer is None:
        raise target_not_found(f"the target {module_name} ends the process that imports it")


def _names_in(module_name: str) -> list[str]:
    """Return the top-level functions and classes in a module's source; empty if it cannot be read."""
    try:
        source = _source(module_name)
        tree = None if source is None else ast.parse(source.read_bytes())
    except (ImportError, OSError, SyntaxError, ValueError, AttributeError):
        return []
    kinds = ast.FunctionDef | ast.ClassDef
    return [] if tree is None else [node.name for node in tree.body if isinstance(node, kinds)]


def _source(module_name: str) -> Path | None:
    """Return the file of a module outside packages or in a regular package on disk, without an import."""
    head, *parts = module_name.split(".")
    spec = importlib.util.find_spec(head)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    for part in parts:
        below = path.parent / part
        path = below / "__init__.py" if (below / "__init__.py").is_file() else below.with_suffix(".py")
    return path if path.suffix == ".py" else None


def import_alone(request: dict[str, Any]) -> dict[str, Any]:
    """Import the target of a request, in the worker process.

    Raises:
        TargetNotFound: the import fails.
    """
    from Agent.replay.worker.workbench import turn_recording_away

    turn_recording_away(Path(request["outcome_path"]).parent)
    try:
        import_target(request["target"])
    except TargetNotImported as error:
        raise target_not_found(str(error)) from error
    return {}
