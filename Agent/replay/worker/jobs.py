"""Jobs: what a worker process is asked to do, how it answers, and how its errors come back.

`run_job` asks; `main` is the worker process. A request is a JSON file that names the function which carries
it out and the file that takes the answer: `{"answer": ...}` or `{"error": ...}`.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import orjson

from Agent import errors
from Agent.errors import AgentTraceError, ReplayError
from Agent.replay.worker.child_process import Ended, child_environment, run_module, write_request
from Agent.replay.worker.progress import followed

_MODULE = "Agent.replay.worker.jobs"
_MAX_OUTPUT_CHARS = 20_000


class Job(NamedTuple):
    """A kind of job."""

    what: str
    """Its name in messages."""
    function: str
    """`module:function`, which takes the request and returns the answer as a JSON object."""


Runner = Callable[..., Ended]
"""Runs a module in another process, as `run_module` does."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """What came of a job."""

    answer: dict[str, Any] | None
    """None if the process died or took too long."""
    failure: str
    """Why there is no answer; "" if there is one."""
    stdout: str
    stderr: str

    def answered(self) -> dict[str, Any]:
        """Return the answer.

        Raises:
            ReplayError: there is none.
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
    """Carry out a job in another process, which has the caller's import path.

    Args:
        stop: set by another thread, it ends the process, with CancelledError.
        run: runs the process; default: `run_module`.

    Raises:
        AgentTraceError: what the job raised.
    """
    with tempfile.TemporaryDirectory(prefix="agent-trace-replay-") as place:
        directory = Path(place)
        whole = _whole(job, request, directory)
        with followed(directory):
            ended = (run or run_module)(_MODULE, whole, directory, timeout_seconds, stop)
        printed = ended.stdout[-_MAX_OUTPUT_CHARS:], ended.stderr[-_MAX_OUTPUT_CHARS:]
        if ended.returncode is None:
            failure = f"the {job.what} did not end within {timeout_seconds:g} s and was stopped"
            return JobResult(None, failure, *printed)
        try:
            told = orjson.loads(Path(whole["outcome_path"]).read_bytes())
        except (OSError, ValueError):
            return JobResult(None, ended.last_words, *printed)
    if "error" in told:
        raise from_object(told["error"])
    return JobResult(told["answer"], "", *printed)


def run_job_in_terminal(job: Job, request: Mapping[str, Any]) -> None:
    """Carry out a job in a process that has this one's terminal, for a debugger."""
    with tempfile.TemporaryDirectory(prefix="agent-trace-replay-") as place:
        path = write_request(_whole(job, request, Path(place)), Path(place))
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


def main(request_path: str) -> None:
    """Carry out the job in a file: the worker process."""
    request = orjson.loads(Path(request_path).read_bytes())
    module, _, name = request["job"].partition(":")
    answer(request, getattr(importlib.import_module(module), name))


def answer(request: dict[str, Any], carry_out: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write what the function returns for a request, or the error that it raises."""
    sys.path[:] = request["sys_path"]
    try:
        told = {"answer": carry_out(request)}
    except AgentTraceError as error:
        told = {"error": as_object(error)}
    Path(request["outcome_path"]).write_bytes(orjson.dumps(told, default=repr))


def as_object(error: AgentTraceError) -> dict[str, Any]:
    """An error as a JSON object, for the process that raises it."""
    return {
        "type": type(error).__name__,
        "message": error.message,
        "path": error.path,
        "remedy": error.remedy,
    }


def from_object(stored: Mapping[str, Any]) -> AgentTraceError:
    """The error that another process raised."""
    kind = getattr(errors, stored["type"], ReplayError)
    made: AgentTraceError = kind(stored["message"], path=stored["path"], remedy=stored["remedy"])
    return made


if __name__ == "__main__":
    main(sys.argv[1])
