"""How far forks are: told to whoever listens, on a terminal by a bar, and to nobody where output is piped."""

import io
import subprocess
import sys
import time

import pytest

from Agent.cli.render import shown_forks
from Agent.replay import fork_run
from Agent.replay.worker import jobs
from Agent.tree.layout import list_sessions

SLOW = """
import time
from Agent import tick

class Sleeper:
    def __init__(self):
        self.agent_id, self.slept, self.pause_s = "a", 0, 0.0

    @trace_agent_action
    def sleep(self):
        time.sleep(self.pause_s)
        self.slept += 1

def main():
    sleeper = Sleeper()
    for number in range(12):
        with tick(number):
            sleeper.sleep()

def build(spec):
    return Sleeper()
"""


@pytest.fixture
def heard(monkeypatch):
    """The shares that a listener is told, without the patience of a terminal."""
    monkeypatch.setattr(jobs, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(jobs, "_INTERVAL_S", 0.02)
    shares = []
    token = jobs.listener.set(shares.append)
    yield shares
    jobs.listener.reset(token)


@pytest.mark.further
def test_a_slow_fork_tells_how_far_it_is(toy, heard):
    toy.record(SLOW)
    run = f"{list_sessions(toy.root)[0].session_id}/a"
    _, result = fork_run(run, "step_2", {"pause_s": 0.1}, f"{toy.name}:build", toy.root)
    assert result.state["slept"] == 12
    assert heard[-1] == 1.0
    assert heard == sorted(heard)
    assert any(0.0 < share < 0.99 for share in heard), heard


class Running:
    """A process that is still running until a file is there."""

    pid = returncode = 0

    def __init__(self, ends):
        self.ends, self.waits = ends, []

    def communicate(self, *, timeout=None):
        self.waits.append(timeout)
        if timeout is None or self.ends():
            return "", ""
        time.sleep(timeout)
        raise subprocess.TimeoutExpired("running", timeout)


def test_who_waits_hears_the_last_share_that_was_told_and_then_that_it_is_over(tmp_path, heard):
    (tmp_path / "progress").write_text("0.4000")
    assert jobs._output(Running(lambda: 0.4 in heard), tmp_path, 10.0, None) == ("", "")
    assert 0.4 in heard
    assert heard[-1] == 1.0


def test_a_process_that_takes_too_long_ends_with_the_last_share_as_well(tmp_path, heard):
    with pytest.raises(subprocess.TimeoutExpired):
        jobs._output(Running(lambda: False), tmp_path, 0.1, None)
    assert heard[-1] == 1.0


def test_nothing_is_followed_where_nobody_listens(tmp_path):
    running = Running(lambda: False)
    assert jobs._output(running, tmp_path, None, None) == ("", "")
    assert running.waits == [None]


def test_a_bar_is_drawn_on_a_terminal_alone(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with shown_forks("forking"):
        assert jobs.listener.get() is None
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with shown_forks("forking"):
        told = jobs.listener.get()
        assert told is not None
        told(0.5)
    assert "forking" in sys.stderr.getvalue()
    assert jobs.listener.get() is None
