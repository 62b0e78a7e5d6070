"""The process that forks children for replays: what it forks does as a new interpreter does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest

from Agent.replay.worker.fork_server import ForkServer, in_parallel
from Agent.replay.worker.jobs import ChildResult, launched_by, launches_anew, run_module, spawn

pytestmark = pytest.mark.process

PROGRAM = """
import json, os, sys, time
from pathlib import Path

if __name__ == "__main__":
    exec(json.loads(Path(sys.argv[1]).read_bytes())["code"])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("program")
    (directory / "program_of_a_child.py").write_text(PROGRAM)
    with pytest.MonkeyPatch.context() as patch, ForkServer() as server:
        patch.setenv("PYTHONPATH", str(directory))
        yield server


@pytest.fixture(params=["new", "forked"])
def run(request, server, tmp_path):
    """Has a child carry out code; both kinds of children must do the same."""

    def run_code(code, timeout_seconds=30.0, stop=None) -> ChildResult:
        directory = Path(tempfile.mkdtemp(dir=tmp_path))
        return run_module("program_of_a_child", {"code": code}, directory, timeout_seconds, stop)

    with launched_by(spawn if request.param == "new" else server):
        yield run_code


def _ends(pid: int) -> bool:
    """Whether a process ends within 10 s; one that nobody waited for has."""
    for _ in range(1000):
        try:
            os.kill(pid, 0)
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False


def test_output_and_exit_code_come_back(run):
    ended = run("print('said\\r\\nmore'); print(chr(233), file=sys.stderr); sys.exit(7)")
    assert ended == ChildResult("said\nmore\n", "\u00e9\n", 7)
    ended = run("raise ValueError('no')")
    assert ended.returncode == 1 and ended.stderr.splitlines()[-1] == "ValueError: no"
    assert run("os.kill(os.getpid(), 9)").returncode == -signal.SIGKILL
    assert len(run("print('x' * 3_000_000)").stdout) == 3_000_001


def test_what_it_left_open_is_written_and_what_it_left_running_ends(run, tmp_path):
    code = f"""
import atexit, threading
directory = Path({str(tmp_path)!r})
left = [open(directory / "text.txt", "w"), open(directory / "bytes.bin", "wb")]
left[0].write("told")
left[1].write(b"told")
atexit.register(lambda: print("at exit"))
threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
"""
    assert run(code) == ChildResult("thread\nat exit\n", "", 0)
    assert [(tmp_path / name).read_bytes() for name in ("text.txt", "bytes.bin")] == [b"told"] * 2


@pytest.mark.further
def test_it_has_the_environment_and_directory_of_the_caller_and_no_recording(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A_SETTING", "1")
    monkeypatch.setenv("AGENT_TRACE_ROOT", "elsewhere")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "bytecode"))
    monkeypatch.delenv("HOME")
    code = """
from stat import S_ISSOCK

def is_open(number):
    try:
        return bool(os.fstat(number))
    except OSError:
        return False

print(json.dumps({
    "directory": os.getcwd(),
    "setting": os.environ.get("A_SETTING"),
    "home": os.environ.get("HOME"),
    "recording": [name for name in os.environ if name.startswith("AGENT_TRACE")],
    "bytecode": sys.pycache_prefix,
    "group": os.getpgid(0) == os.getpid(),
    "input": sys.stdin.read(),
    "main": sys.modules["__main__"].__spec__.name,
    "sockets": sum(S_ISSOCK(os.fstat(number).st_mode) for number in range(3, 100) if is_open(number)),
}))
"""
    assert json.loads(run(code).stdout) == {
        "directory": str(tmp_path),
        "setting": "1",
        "home": None,
        "recording": [],
        "bytecode": str(tmp_path / "bytecode"),
        "group": True,
        "input": "",
        "main": "program_of_a_child",
        "sockets": 0,
    }


def test_the_hash_seed_is_not_the_callers_and_chance_begins_anew(run):
    code = "import random; print(os.environ['PYTHONHASHSEED'], hash('a text'), random.random())"
    first, second = (run(code).stdout.split() for _ in range(2))
    assert first[0] not in {"0", os.environ.get("PYTHONHASHSEED", "")}
    assert int(first[1]) != hash("a text")
    assert first[2] != second[2]


def test_it_ends_as_an_interpreter_ends(run):
    ended = run("import atexit; atexit.register(print, 'at the end'); print('work')")
    assert ended == ChildResult("work\nat the end\n", "", 0)


@pytest.mark.further
def test_what_takes_too_long_is_ended_with_what_it_forked(run):
    code = "child = os.fork()\nif child: print(os.getpid(), child, flush=True)\ntime.sleep(60)"
    began = time.monotonic()
    ended = run(code, timeout_seconds=1.0)
    assert time.monotonic() - began < 30
    assert ended.returncode is None
    assert all(_ends(int(pid)) for pid in ended.stdout.split())


def test_another_thread_can_stop_it(run):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(CancelledError):
        run("time.sleep(60)", stop=stop)


def test_many_threads_ask_at_one_time(run):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: run(f"time.sleep(0.05); print({number})").stdout, range(8)))
    assert answers == [f"{number}\n" for number in range(8)]


def test_other_settings_of_python_get_a_new_interpreter(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    with launched_by(server):
        ended = run_module("program_of_a_child", {"code": "print(sys.flags.optimize)"}, tmp_path, 30.0)
    assert ended.stdout == "2\n"


SPINNING = """
import os, time
from pathlib import Path
from Agent.replay.worker.jobs import end_with_parent

def spin(request):
    parent_id = os.getpid()
    if os.fork() == 0:
        end_with_parent(parent_id)
        Path(request["told"]).write_text(f"{parent_id} {os.getpid()}.")
    while True:
        pass
"""
CALLER = """
import sys, tempfile
from contextlib import ExitStack
from pathlib import Path
from Agent.replay.worker.jobs import run_module
from Agent.replay.worker.fork_server import forked_children

_, told, forks = sys.argv
request = {"job": "spinning_job:spin", "sys_path": sys.path, "told": told, "outcome_path": told + ".outcome"}
with ExitStack() as stack:
    if forks == "forked":
        stack.enter_context(forked_children())
    run_module("Agent.replay.worker.jobs", request, Path(tempfile.mkdtemp(dir=Path(told).parent)), None)
"""


@pytest.mark.first_case
@pytest.mark.parametrize("kind", ["new", "forked"])
def test_a_child_and_its_forks_end_when_the_process_that_waits_for_them_is_killed(kind, tmp_path):
    (tmp_path / "spinning_job.py").write_text(SPINNING)
    told = tmp_path / "told"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with subprocess.Popen([sys.executable, "-c", CALLER, str(told), kind], env=environment) as caller:
        for _ in range(3000):
            if told.exists() and told.read_text().endswith("."):
                break
            time.sleep(0.01)
        caller.kill()
    children = [int(pid) for pid in told.read_text().rstrip(".").split()]
    assert len(children) == 2
    assert all(_ends(pid) for pid in children)


@pytest.mark.integration
def test_a_server_that_was_killed_is_replaced(tmp_path):
    with ForkServer() as server, launched_by(server):
        request = {"sys_path": [], "outcome_path": str(tmp_path / "outcome.json")}
        for _ in range(2):
            assert "KeyError" in run_module("Agent.replay.worker.jobs", request, tmp_path, 30.0).stderr
            assert server._process is not None
            server._process.kill()
        server._process.wait()
        assert "KeyError" in run_module("Agent.replay.worker.jobs", request, tmp_path, 30.0).stderr


@pytest.mark.further
def test_the_server_ends_with_the_block_and_says_nothing(capfd):
    with ForkServer() as server:
        server.start()
        process = server._process
    assert process is not None and process.returncode is not None
    assert capfd.readouterr() == ("", "")


def test_many_replays_at_one_time_fork_and_one_alone_does_not():
    def anew(stop):
        return launches_anew()

    with launched_by(spawn):
        assert in_parallel([anew, anew]) == [False, False]
        assert in_parallel([anew]) == [True]
        assert launches_anew()
