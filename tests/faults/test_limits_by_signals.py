"""A time limit of the program, an exception that the handler of a signal raises, reaches the program."""

import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import signal, sys, time
from Agent import AgentLogger, health, trace_agent_action, trace_context

class Stop({base}):
    pass

class Held:
    def __repr__(self):
        return "held"

class Worker:
    agent_id = "w"

    def __init__(self):
        self.held = [Held(), Held()]

    @trace_agent_action()
    def act(self, value):
        return value

raised = got = calls = 0

{handler}

worker, log = Worker(), AgentLogger("l", "r")
worker.act(Held())
signal.signal(signal.SIGALRM, handler)
until = time.monotonic() + 1
armed = -1
while time.monotonic() < until:
    try:
        while time.monotonic() < until:
            if armed != raised and until - time.monotonic() > 0.1:  # none is left when the loop ends
                armed = raised
                signal.setitimer(signal.ITIMER_REAL, 0.012)
            {body}
            calls += 1
    except Stop:
        got += 1
signal.setitimer(signal.ITIMER_REAL, 0)
assert calls > 10
sys.stdout.write(f"{{raised}} {{got}}")
"""
HANDLERS = {
    "function": "def handler(number, frame):\n    global raised\n    raised += 1\n    raise Stop",
    "any arguments": "def handler(*_):\n    global raised\n    raised += 1\n    raise Stop",
    "method": (
        "class Limit:\n    def __call__(self, signum, frame=None):\n        global raised\n        raised += 1\n"
        "        self.stop()\n    def stop(self):\n        raise Stop\nhandler = Limit()"
    ),
}


def second_tier(case):
    return pytest.param(case, marks=pytest.mark.integration)


@pytest.mark.further
@pytest.mark.process
@pytest.mark.parametrize(
    "body",
    ["worker.act(Held())", second_tier("log.log_action('a', {'v': Held()})"), second_tier("log.info('m')")],
)
@pytest.mark.parametrize("handler", ["function", second_tier("any arguments"), second_tier("method")])
def test_an_exception_of_a_signal_reaches_the_program_wherever_it_interrupts_recording(
    tmp_path, handler, body
):
    program = PROGRAM.format(base="Exception", handler=textwrap.dedent(HANDLERS[handler]), body=body)
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "AGENT_TRACE_ROOT": str(tmp_path / "trace")},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    raised, got = map(int, done.stdout.split())
    assert raised > 20
    # the few others come while C code calls back
    assert got >= 0.9 * raised, (raised, got, done.stderr)
