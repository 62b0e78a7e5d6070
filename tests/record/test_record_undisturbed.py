"""Timers wait while recording does what it does once, so that a handler that raises cannot keep it from its end."""

import contextlib
import inspect
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
from support.processes import child_environment

from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.event.limits_of_time import undisturbed
from Agent.record.encode.native import native
from Agent.record.secrets import names as secret_names
from Agent.record.tracing.decorators import TraceSpec
from Agent.tree.read.reader import TreeReader
from Agent.tree.write import segment_writer

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no timers of Unix")


class Stop(BaseException):
    """What the program's own handler raises."""


@pytest.fixture
def raising():
    """Sends a signal whose handler raises; afterwards that handler is still the program's."""

    def stop(*_):
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        yield lambda: os.kill(os.getpid(), signal.SIGALRM)
        assert signal.getsignal(signal.SIGALRM) is stop
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_handler_comes_when_the_work_has_ended_whatever_thread_takes_its_signal(raising):
    done = []

    def work():
        with undisturbed():
            raising()
            with undisturbed():
                raising()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            other = threading.Thread(
                target=signal.pthread_sigmask, args=(signal.SIG_UNBLOCK, {signal.SIGALRM})
            )
            other.start()
            raising()
            other.join()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
            done.append("after the signals")

    with pytest.raises(Stop):
        work()
    assert done


def test_every_handler_has_its_turn_though_the_first_raises(raising):
    came = []
    before = signal.signal(signal.SIGPROF, lambda *_: came.append("prof"))

    def work():
        with undisturbed():
            raising()
            os.kill(os.getpid(), signal.SIGPROF)
            assert came == []

    try:
        with pytest.raises(Stop):
            work()
    finally:
        signal.signal(signal.SIGPROF, before)
    assert came == ["prof"]


def test_another_thread_changes_no_handler(raising):
    seen = []

    def work():
        with undisturbed():
            seen.append(signal.getsignal(signal.SIGALRM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGALRM)]


def test_an_error_of_the_work_itself_comes_out_of_it():
    with pytest.raises(ValueError, match="mine"), undisturbed():
        raise ValueError("mine")


def test_what_a_handler_interrupts_is_there_the_next_time(raising, monkeypatch):
    def interrupted(real):
        return lambda *given: (raising(), real(*given))[1]

    def act(self):
        return 1

    spec = TraceSpec(act, "agent_action", "act")
    with monkeypatch.context() as patch:
        patch.setattr(inspect, "getsource", interrupted(inspect.getsource))
        with pytest.raises(Stop):
            spec.identify()
    assert spec.code is not None and "return 1" in spec.code.source
    secret_names.compiled.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(secret_names.re, "compile", interrupted(re.compile))
        with pytest.raises(Stop):
            secret_names.compiled("a|b")


@pytest.mark.skipif(native is None, reason="in Python an event has its number before its file is opened")
def test_what_a_handler_raises_while_a_file_is_opened_or_rolled_leaves_no_gap(trace_root, monkeypatch):
    session = setup_logging(trace_root=trace_root, segment_size_bytes=4096)
    interruptions, kept = [], []

    def stop(*_):
        raise Stop

    def twice(real):
        def interrupted(*given):
            number = (signal.SIGALRM, signal.SIGUSR1)[len(interruptions) % 2]
            if len(interruptions) % 4 < 2:
                interruptions.append(number)
                os.kill(os.getpid(), number)
                return real(*given)
            made = real(*given)
            interruptions.append(number)
            os.kill(os.getpid(), number)
            return made

        return interrupted

    before = {each: signal.signal(each, stop) for each in (signal.SIGALRM, signal.SIGUSR1)}
    try:
        with monkeypatch.context() as patch:
            for name in ("claim_segment", "roll_segment", "reopen_segment"):
                patch.setattr(segment_writer, name, twice(getattr(segment_writer, name)))
            for number in range(200):
                with contextlib.suppress(Stop):
                    kept.append(AgentLogger(f"agent_{number % 4}").log_action("act", {"text": "x" * 200}))
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    shutdown_logging()
    assert len(interruptions) > 20 and len(kept) < 200 and all(kept)
    losses = TreeReader(session.path).losses()
    assert (losses.total_lost, losses.total_unknown, losses.damaged_lines) == (0, 0, 0)
    assert set(kept) <= {event.id for event in TreeReader(session.path).events()}


COLD = """
import signal, sys, time
from Agent import trace_agent_action, shutdown_logging, health
class Stop(BaseException): pass
def stop(*_): raise Stop
class Worker:
    def __init__(self): self.agent_id = "worker"
    @trace_agent_action()
    def act(self, number): return number
worker, made, tries, until = Worker(), 0, 0, time.monotonic() + 60
signal.signal(signal.SIGALRM, stop)
while not made and time.monotonic() < until:
    tries += 1
    try:
        signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
        worker.act(tries)
        made += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Stop:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
told = health()
shutdown_logging()
print(made, tries, told["recording"])
"""


LARGE = "".join(f"def f{n}():\n    global g{n}\n    g{n} = {'g0 + ' * 200}{n}\n" for n in range(50))
"""A module whose instructions take longer to read than the timer lets pass."""


@pytest.mark.process
@pytest.mark.parametrize("more", ["", LARGE], ids=["small module", "large module"])
def test_a_program_whose_handler_raises_each_millisecond_comes_to_its_first_action(tmp_path, more):
    ended = subprocess.run(
        [sys.executable, "-c", more + COLD, "0.001"],
        env={**child_environment(), "AGENT_TRACE_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    made, tries, recording = ended.stdout.split()
    assert (made, recording) == ("1", "True"), ended.stderr
    assert int(tries) < 2000
