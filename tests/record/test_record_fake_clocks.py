"""Clocks and pauses that a program puts in place of the system's: recording neither waits for them nor calls them."""

import pytest
from support.processes import run_python

pytestmark = pytest.mark.process

PROGRAM = """
import contextlib, pathlib, sys, time
from unittest import mock
import freezegun

def fake(name, value):
    return mock.patch("time." + name, value)

CLOCKS = {
    "stands still": lambda: freezegun.freeze_time("2026-06-01"),
    "is before 1970": lambda: freezegun.freeze_time("1960-05-05"),
    "falls": lambda: fake("monotonic", iter(range(10**9, 0, -1)).__next__),
    "is negative": lambda: fake("monotonic", lambda: -1e18),
    "raises": lambda: fake("monotonic", lambda: 1 / 0),
}
clock = CLOCKS[sys.argv[1]]
with clock() if sys.argv[2] == "before the package" else contextlib.nullcontext():
    from Agent import setup_logging, shutdown_logging, trace_agent_action

class Agent:
    def __init__(self, agent_id):
        self.agent_id, self.n = agent_id, 0

    @trace_agent_action()
    def act(self, text=""):
        self.n += 1
        return self.n

with clock() if sys.argv[2] == "before the first event" else contextlib.nullcontext():
    setup_logging(segment_size_bytes=4096, max_session_bytes=20_000)
    Agent("a").act()
    Agent("b").act()
with clock():
    for path in pathlib.Path("trace").glob("session_*/agents/a.log"):
        path.unlink()
    print(Agent("c").act(), Agent("d").act())
    for _ in range(20):
        Agent("e").act("x" * 1000)
    shutdown_logging()
"""


SINCE = ["in between", "before the first event", "before the package"]


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("clock", "since"),
    [
        *(("stands still", since) for since in SINCE),
        *(("is negative", since) for since in SINCE),
        *((clock, "in between") for clock in ("is before 1970", "falls", "raises")),
    ],
)
def test_a_program_ends_when_its_clock(clock, since, tmp_path):
    pytest.importorskip("freezegun")
    done = run_python("-c", PROGRAM, clock, since, cwd=tmp_path, timeout_s=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 1\n", "")


PAUSES = """
import time
from unittest import mock
import Agent

with mock.patch("time.sleep") as sleep:
    Agent.setup_logging()
    for i in range(200):
        Agent.AgentLogger(f"a{i}").info("hello")
    real = __import__("threading").Event().wait
    real(0.3)
    Agent.shutdown_logging()
print(sleep.call_count)
"""


@pytest.mark.further
def test_a_replaced_sleep_is_called_by_the_program_alone(tmp_path):
    done = run_python("-c", PAUSES, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("0\n", "")
