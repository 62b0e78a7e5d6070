"""Pools made before the first event: one session for a program, whoever of its processes records first."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from support.processes import child_environment, run_python
from support.session_files import of_kind, only_session, session_directories, session_events

from Agent.tree.files.session import (
    Program,
    SessionInfo,
    agree_on_session,
    create_session,
    open_session,
    update_session,
)
from Agent.tree.read.reader import TreeReader

POOL = """
import sys, multiprocessing
from concurrent.futures import ProcessPoolExecutor
from Agent import AgentLogger

def work(number):
    AgentLogger(f"w{number % 3}").info(f"job {number}")

if __name__ == "__main__":
    kind, method, parent = sys.argv[1:]
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(3, mp_context=context) if kind == "executor" else context.Pool(3)
    if parent == "second":
        list(pool.map(work, range(3)))
    if parent != "never":
        AgentLogger("parent").info("parent")
    list(pool.map(work, range(20)))
    if kind == "executor":
        pool.shutdown()
    else:
        pool.close()
        pool.join()
"""


@pytest.mark.integration
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["pool", "executor"])
def test_a_pool_made_before_the_first_event_joins_one_session(tmp_path, trace_root, kind, method):
    (tmp_path / "program.py").write_text(POOL)
    for parent, expected in (("never", 20), ("first", 21), ("second", 24)):
        root = trace_root / parent
        done = run_python(
            "program.py",
            kind,
            method,
            parent,
            cwd=tmp_path,
            AGENT_TRACE_ROOT=str(root),
            AGENT_TRACE_SESSION="",
        )
        assert (done.returncode, done.stderr) == (0, "")
        session = only_session(root)
        assert len(of_kind(session_events(session), "log")) == expected, parent
        assert TreeReader(session).losses().clean
        assert open_session(session).ended_at is not None
        assert (session / "trace_summary.json").exists()
        assert not (root / ".programs").exists()


@pytest.mark.further
@pytest.mark.process
def test_a_pool_whose_parent_knows_nothing_of_recording_ends_its_session_itself(tmp_path, trace_root):
    (tmp_path / "worker.py").write_text(
        "def work(n):\n    import Agent\n    Agent.AgentLogger('w').info(str(n))\n"
    )
    (tmp_path / "program.py").write_text(
        "import multiprocessing, worker\n"
        "for batch in range(2):\n"
        "    with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "        pool.map(worker.work, range(10))\n"
        "        pool.close()\n"
        "        pool.join()\n"
    )
    done = run_python("program.py", cwd=tmp_path, AGENT_TRACE_ROOT=str(trace_root), AGENT_TRACE_SESSION="")
    assert (done.returncode, done.stderr) == (0, "")
    session = only_session(trace_root)
    assert len(of_kind(session_events(session), "log")) == 20
    assert open_session(session).ended_at is not None


ORPHANS = """
import multiprocessing, os, time
from Agent import AgentLogger

def child(number, parent):
    if number == 0:
        AgentLogger("early").info("m")
    while os.getppid() == parent:
        time.sleep(0.01)
    AgentLogger("late").info("m")

for number in range(3):
    multiprocessing.get_context("fork").Process(target=child, args=(number, os.getpid())).start()
open("ready", "w").close()
time.sleep(60)
"""


@pytest.mark.further
@pytest.mark.process
def test_a_child_whose_parent_was_killed_begins_its_own_session(tmp_path, trace_root):
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANS],
        cwd=tmp_path,
        env=child_environment(AGENT_TRACE_ROOT=str(trace_root), AGENT_TRACE_SESSION=""),
    ) as process:
        wait_for(lambda: (tmp_path / "ready").exists() and logs(trace_root) == 1)
        process.kill()
    # the one that had a session goes on there, the two others belong to no program that runs
    wait_for(lambda: logs(trace_root) == 4)
    assert len(session_directories(trace_root)) == 3


NESTED = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from Agent import AgentLogger

def work(number):
    AgentLogger("nested").info(f"job {number}")

def divide(number):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as inner:
        list(inner.map(work, range(number, number + 3)))

if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as outer:
        list(outer.map(divide, (0, 3)))
    AgentLogger("main").info("done")
"""


@pytest.mark.further
@pytest.mark.process
def test_pools_within_a_pool_join_one_session(tmp_path, trace_root):
    (tmp_path / "program.py").write_text(NESTED)
    done = run_python("program.py", cwd=tmp_path, AGENT_TRACE_ROOT=str(trace_root), AGENT_TRACE_SESSION="")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(of_kind(session_events(only_session(trace_root)), "log")) == 7


LAUNCHER = """
import os
from Agent import AgentLogger, setup_logging, shutdown_logging
import multiprocessing.pool

def launched():
    for again in range(2):
        setup_logging()
        AgentLogger("a").info("m")
        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.apply(AgentLogger("a").info, ("m",))
            pool.close()
            pool.join()
        shutdown_logging()

for number in range(2):
    if os.fork() == 0:
        launched()
        os._exit(0)
    os.wait()
"""


@pytest.mark.further
@pytest.mark.process
def test_programs_that_a_process_forks_to_launch_them_are_sessions_of_their_own(tmp_path, trace_root):
    done = run_python("-c", LAUNCHER, cwd=tmp_path, AGENT_TRACE_ROOT=str(trace_root), AGENT_TRACE_SESSION="")
    assert (done.returncode, done.stderr) == (0, "")
    sessions = session_directories(trace_root)
    assert [len(of_kind(session_events(session), "log")) for session in sessions] == [2, 2, 2, 2]
    assert all(open_session(session).ended_at for session in sessions)


def logs(root):
    return sum(len(of_kind(session_events(session), "log")) for session in session_directories(root))


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def program():
    return Program.of(os.getpid())


def agreed_on(root, program):
    with agree_on_session(root, program, create=True) as meeting:
        assert meeting is not None
        path = create_session(root, SessionInfo.begun_now())
        meeting.agree(path)
    return path


def found(root, program):
    with agree_on_session(root, program, create=True) as meeting:
        return None if meeting is None else meeting.session()


def test_a_session_that_was_agreed_on_is_found_until_it_is_forgotten(tmp_path, program):
    path = agreed_on(tmp_path, program)
    assert found(tmp_path, program) == path
    other = Program(program.pid, program.start_ticks + 1)
    assert found(tmp_path, other) is None
    with agree_on_session(tmp_path, program, create=True) as meeting:
        meeting.forget()
    # that of the other, which does not run, is gone, too
    assert not (tmp_path / ".programs").exists()
    assert found(tmp_path, program) is None


def test_sessions_of_another_program_or_that_are_none_are_not_followed(tmp_path, program):
    path = agreed_on(tmp_path, program)
    (file,) = (tmp_path / ".programs").iterdir()
    outside = create_session(tmp_path / "outside", SessionInfo.begun_now())
    (tmp_path / "session_20261120_103045").symlink_to(outside)
    for text in (
        "",
        "\n",
        "../outside/" + outside.name,
        str(outside),
        "session_20261120_103045",
        "\0",
        "x" * 9999,
    ):
        file.write_text(text)
        assert found(tmp_path, program) is None, text
    file.write_text(path.name)
    assert found(tmp_path, program) == path
    for change in ({"pid": 1}, {"process_start_ticks": 1}, {"host": "elsewhere"}, {"boot_id": "b"}):
        before = json.loads((path / "session.json").read_text())
        update_session(path, **change)
        assert found(tmp_path, program) is None, change
        (path / "session.json").write_text(json.dumps(before))
    path.chmod(0o777)
    assert found(tmp_path, program) is None


@pytest.mark.parametrize("place", ["directory", "file"])
def test_a_place_that_others_may_write_or_that_is_a_link_is_no_meeting(tmp_path, program, place):
    agreed_on(tmp_path, program)
    directory = tmp_path / ".programs"
    (file,) = directory.iterdir()
    spoiled, mode = (directory, 0o700) if place == "directory" else (file, 0o600)
    spoiled.chmod(mode | 0o022)
    with agree_on_session(tmp_path, program, create=True) as meeting:
        assert meeting is None
    spoiled.chmod(mode)
    if os.geteuid() == 0:
        os.chown(spoiled, 65534, -1)
        with agree_on_session(tmp_path, program, create=True) as meeting:
            assert meeting is None
        os.chown(spoiled, 0, -1)
    with agree_on_session(tmp_path, program, create=True) as meeting:
        assert meeting is not None
    spoiled.rename(tmp_path / "moved")
    spoiled.symlink_to(tmp_path / "moved")
    with agree_on_session(tmp_path, program, create=True) as meeting:
        assert meeting is None
    spoiled.unlink()
    if place == "file":
        os.mkfifo(spoiled)
        with agree_on_session(tmp_path, program, create=True) as meeting:
            assert meeting is None


def test_one_of_many_that_meet_at_once_makes_the_session(tmp_path, program):
    made = []

    def begin():
        with agree_on_session(tmp_path, program, create=True) as meeting:
            if meeting.session() is None:
                path = create_session(tmp_path, SessionInfo.begun_now())
                made.append(path)
                meeting.agree(path)

    threads = [threading.Thread(target=begin) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


@pytest.mark.process
def test_a_process_that_was_stopped_while_it_held_the_meeting_stops_no_other(tmp_path, program, monkeypatch):
    monkeypatch.setattr("Agent.tree.files.session._PATIENCE_S", 0.1)
    held = "from Agent.tree.files.session import *; import sys, time\n"
    held += f"with agree_on_session(__import__('pathlib').Path('.'), Program{tuple(program)}, create=True):\n"
    held += "    print(flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", held], cwd=tmp_path, env=child_environment(), stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        with agree_on_session(tmp_path, program, create=True) as meeting:
            assert meeting is None
        process.kill()
    with agree_on_session(tmp_path, program, create=True) as meeting:
        assert meeting is not None
