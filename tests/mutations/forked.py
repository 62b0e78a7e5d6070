"""Work in forks of this process, which has everything loaded: a tenth of what a new process costs.

`replay_run` starts a process for each re-drive. Here it is given `run_forked` for that: the same code of the
child runs, over the same request, under the hash seed of this process, which was not that of the recording.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from Agent.replay.worker import jobs
from Agent.replay.worker.jobs import ChildResult, write_request

_SPARE_WORDS = 2000


def in_fork(work: Callable[[], None], output: Path) -> ChildResult:
    """Do the work in a fork of this process, which prints into a file; how it ended."""
    output.parent.mkdir(parents=True, exist_ok=True)
    process = os.fork()
    if process == 0:
        code = 1
        try:
            descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(process, 0)
    return ChildResult(
        "", output.read_text(errors="replace")[-_SPARE_WORDS:], os.waitstatus_to_exitcode(status)
    )


def run_forked(module: str, request: Mapping[str, Any], directory: Path, *_limits: object) -> ChildResult:
    """`run_module` in a fork."""
    path = str(write_request(request, directory))
    main = importlib.import_module(module).main
    return in_fork(lambda: main(path), directory / "output.txt")


@contextmanager
def forks() -> Iterator[None]:
    """Have `replay_run` fork until the block ends."""
    before = jobs.run_module
    vars(jobs)["run_module"] = run_forked
    try:
        yield
    finally:
        vars(jobs)["run_module"] = before
