"""The threads of recording: a program neither waits for them nor loses a signal to them."""

import _thread
import signal
import sys
import threading

import pytest
from support.processes import run_python
from support.recording_threads import recording_threads

from Agent.event.background_threads import BackgroundThread, current

OPTIONS = {
    "kernel": "buffer_entries=50",
    "disk": 'durability="disk"',
    "queued": 'durability="queued", max_session_bytes=1_000_000, keep_sessions=3',
}
BEGIN = """
import os, signal, threading, time
from Agent import ResourceSampler, setup_logging, trace_agent_action

setup_logging(%s)
sampler = ResourceSampler(interval_s=0.01).start()

class A:
    agent_id = "a1"
    @trace_agent_action()
    def go(self, n): self.n = n; return n

a1 = A()
a1.go(1)
time.sleep(0.1)
"""
WAITS_FOR_A_SIGNAL = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])
os.kill(os.getpid(), signal.SIGUSR1)
assert signal.sigwait([signal.SIGUSR1]) == signal.SIGUSR1
os.kill(os.getpid(), signal.SIGTERM)
assert signal.sigwait([signal.SIGTERM]) == signal.SIGTERM
print("got both")
"""
WAITS_FOR_ITS_THREADS = """
threads = [threading.Thread(target=a1.go, args=(n,)) for n in range(3)]
for thread in threads: thread.start()
for thread in threading.enumerate():
    if thread is not threading.current_thread(): thread.join()
while threading.active_count() > 1: time.sleep(0.01)
assert threading.enumerate() == [threading.main_thread()]
print("all ended")
"""
FORKS = """
pid = os.fork()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
a1.go(2)
time.sleep(0.1)
os.kill(os.getpid(), signal.SIGUSR1)
assert signal.sigwait([signal.SIGUSR1]) == signal.SIGUSR1
assert threading.enumerate() == [threading.main_thread()]
if pid: assert os.waitpid(pid, 0)[1] == 0; print("both went on")
"""


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(
    ("program", "said"),
    [(WAITS_FOR_A_SIGNAL, "got both"), (WAITS_FOR_ITS_THREADS, "all ended"), (FORKS, "both went on")],
    ids=["signal", "threads", "fork"],
)
def test_a_program_waits_for_its_own_signals_and_threads_while_it_is_recorded(
    program, said, options, tmp_path
):
    done = run_python("-c", BEGIN % options + program, cwd=tmp_path, timeout_s=100)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, said, "")


@pytest.fixture
def running():
    stopping = threading.Event()
    thread = BackgroundThread(stopping.wait, "agent-trace-test")
    thread.start()
    yield thread
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_thread_is_not_among_those_of_the_program(running):
    assert running.is_alive() and recording_threads("agent-trace-test") == [running]
    assert running.ident not in {thread.ident for thread in threading.enumerate()}


def test_a_thread_blocks_all_signals_but_faults_and_its_starter_none():
    found = []

    def look():
        found.append((signal.pthread_sigmask(signal.SIG_BLOCK, ()), current(), thread.is_current()))
        thread.join(10)  # not of itself

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    thread = BackgroundThread(look, "agent-trace-test")
    thread.start()
    thread.join(10)
    ((blocked, *own),) = found
    assert own == [thread, True] and current() is None
    assert {signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGALRM} <= blocked
    assert not {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL} & blocked
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_greenlet_in_place_of_a_thread_changes_no_signals(monkeypatch):
    monkeypatch.setattr(_thread, "start_new_thread", lambda work, args: work(*args))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    done = []
    BackgroundThread(lambda: done.append(1), "agent-trace-test").start()
    assert done == [1] and signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_an_error_in_a_thread_is_reported_as_that_of_any_thread(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    thread = BackgroundThread(lambda: 1 // 0, "agent-trace-test")
    thread.start()
    thread.join(10)
    assert [(each.exc_type, each.thread.name) for each in told] == [(ZeroDivisionError, "agent-trace-test")]


def test_a_thread_that_cannot_be_started_is_told_by_a_runtime_error(monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    thread = BackgroundThread(int, "agent-trace-test")
    with pytest.raises(RuntimeError):
        thread.start()
    assert not thread.is_alive()
    thread.join(10)


IN_A_SUBINTERPRETER = """
try: import _interpreters as interpreters
except ImportError: import _xxsubinterpreters as interpreters
one = interpreters.create(*(["legacy"] if interpreters.__name__ == "_interpreters" else []), %s)
interpreters.run_string(one, '''
from Agent import AgentLogger, setup_logging, shutdown_logging
setup_logging(trace_root="trace", %s)
log = AgentLogger("a1", "walker")
for n in range(5): log.log_action("go", {"n": n})
log.error("lost")
shutdown_logging()
''')
interpreters.destroy(one)
print("ended")
"""


@pytest.mark.process
@pytest.mark.parametrize("options", ["", 'durability="queued"'], ids=["kernel", "queued"])
def test_a_subinterpreter_records_without_threads_and_can_be_destroyed(tmp_path, options):
    isolated = "isolated=False" if sys.version_info < (3, 13) else ""
    done = run_python("-c", IN_A_SUBINTERPRETER % (isolated, options), cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")
    (session,) = (tmp_path / "trace").glob("session_*")
    assert len((session / "agents" / "a1.log").read_bytes().splitlines()) == 6
