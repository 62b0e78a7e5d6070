"""Jobs of the worker process, and tasks in forks of it: answers come back in order, errors as what they were."""

import gc
import os
from pathlib import Path

import pytest

from Agent.errors import ReplayError, TargetNotFound, UsageError
from Agent.replay.worker.fork_server import Forks
from Agent.replay.worker.jobs import Job, as_object, child_environment, from_object, run_job

pytestmark = pytest.mark.process

IMPORT = Job("import", "Agent.replay.worker.jobs:import_alone")


def test_a_job_answers_or_raises_here_what_it_raised_there():
    result = run_job(IMPORT, {"target": "json:dumps"})
    assert (result.answer, result.failure) == ({}, "")
    with pytest.raises(TargetNotFound, match="no_such_module_anywhere") as caught:
        run_job(IMPORT, {"target": "no_such_module_anywhere:build"})
    assert caught.value.remedy


def test_a_worker_process_is_given_the_directory_that_holds_the_package():
    package_parent = Path(child_environment()["PYTHONPATH"].split(os.pathsep)[0])
    assert (package_parent / "Agent" / "errors.py").is_file()


def test_a_process_that_answers_nothing_is_a_failure_in_words():
    result = run_job(Job("test", "os:_exit"), {})
    assert result.answer is None
    assert "before it could report" in result.failure
    with pytest.raises(ReplayError, match="before it could report"):
        result.answered()


def test_errors_keep_their_kind_place_and_remedy_on_the_way():
    error = UsageError("no", path="here", remedy="yes")
    again = from_object(as_object(error))
    assert (type(again), again.message, again.path, again.remedy) == (UsageError, "no", error.path, "yes")
    assert type(from_object({**as_object(error), "type": "OfAnotherVersion"})) is ReplayError


def refuse():
    raise UsageError("not so")


def break_down():
    raise ValueError("broken")


def test_tasks_in_forks_answer_in_order_fail_in_words_and_die_alone(tmp_path):
    tasks = [lambda: {"n": 1}, lambda: os._exit(9), refuse, break_down, lambda: {"n": os.getpid()}]
    try:
        one, died, refused, broken, other = Forks(tmp_path, 2, reports_progress=False).run(tasks)
    finally:
        gc.unfreeze()
    assert (one, died) == ({"n": 1}, None)
    assert refused["error"]["type"] == "UsageError" and refused["error"]["message"] == "not so"
    assert broken["error"]["message"] == "ValueError('broken')"
    assert other["n"] != os.getpid()
