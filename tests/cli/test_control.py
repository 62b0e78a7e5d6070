"""`agent-trace control` over a program that runs in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from support.processes import child_environment

from Agent import LogAnalyzer
from Agent.replay import replay_run
from Agent.tree.files.control import read_program
from Agent.tree.layout import list_sessions

pytestmark = pytest.mark.process

PROGRAM = """
import sys, time
from pathlib import Path
from Agent import setup_logging, shutdown_logging, tick
from Agent.utils import trace_agent_action


class Sheep:
    def __init__(self, name):
        self.agent_id, self.agent_role, self.weight, self.bells, self.mood = name, "sheep", 10, (1, 2), "calm"

    @trace_agent_action
    def eat(self, grass):
        self.weight += grass
        return self.weight


def build(spec):
    return {name: Sheep(name) for name in spec.agent_ids}


if __name__ == "__main__":
    setup_logging(trace_root="trace", control="control" in sys.argv)
    flock = [Sheep("dolly"), Sheep("molly")]
    number = 0
    while not Path("end").exists() or number < 30:
        with tick(number):
            for sheep in flock:
                sheep.eat(number % 3)
        number += 1
        time.sleep(0.01)
    shutdown_logging()
"""


@pytest.fixture
def farm(tmp_path, monkeypatch):
    """Starts the program in the test's directory, and ends it."""
    (tmp_path / "farm.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("AGENT_TRACE_ROOT", "trace")

    @contextmanager
    def started(*arguments):
        program = subprocess.Popen(
            [sys.executable, "farm.py", *arguments],
            cwd=tmp_path,
            env=child_environment(PYTHONDONTWRITEBYTECODE="1"),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            end = time.monotonic() + 60
            while not _has_ticked(tmp_path / "trace", arguments):
                assert program.poll() is None and time.monotonic() < end, program.stderr.read()
                time.sleep(0.02)
            yield program
        finally:
            program.kill()
            program.wait()
            program.stderr.close()

    return started


def _has_ticked(root, arguments):
    for session in list_sessions(root):
        has_acted = any((session.path / "agents").glob("*.log"))
        if "control" not in arguments:
            return has_acted
        program = read_program(session.path)
        return has_acted and program is not None and program.has_ticked
    return False


def told(run, *arguments):
    done = run("control", "last", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def finish(tmp_path, program):
    (tmp_path / "end").touch()
    assert program.wait(60) == 0, program.stderr.read()


@pytest.mark.further
def test_a_run_that_was_paused_stepped_and_changed_by_hand_replays_with_what_was_done(farm, run, tmp_path):
    with farm("control") as program:
        assert told(run, "status")["state"] == "running"
        first = told(run, "pause")["tick"]
        state = told(run, "status")
        assert (state["state"], state["tick"], state["pid"]) == ("paused", first, program.pid)
        assert "paused" in run("sessions").stdout
        time.sleep(0.1)
        assert told(run, "status")["tick"] == first
        assert [told(run, "step")["tick"], told(run, "step", "3")["tick"]] == [first + 1, first + 4]
        changed = told(run, "set", "dolly", "weight=5000")
        assert changed["new"] == 5000 and changed["old"] < 1000 and changed["tick"] == first + 4
        assert "running on" in run("control", "last", "resume").stdout
        assert told(run, "status")["state"] == "running"
        later = told(run, "set", "molly", "mood=wild")
        assert (later["old"], later["new"]) == ("calm", "wild") and later["tick"] > first + 4
        told(run, "set", "molly", "bells=[7]")
        finish(tmp_path, program)
    analyzer = LogAnalyzer(root="trace")
    assert analyzer.state_at("dolly", f"tick:{first + 4}")["fields"]["weight"] >= 5000
    report = replay_run("last", "farm:build", "trace")
    assert report.verdict == "IDENTICAL", str(report)
    assert dict(report.outcome.by_hand) == {"dolly.weight": 1, "molly.mood": 1, "molly.bells": 1}
    notes = " ".join(report.outcome.remarks)
    assert f"by hand before tick {first + 4}, weight of dolly from {changed['old']} to 5000" in notes, notes
    for done in (
        f"pause before tick {first} (event",
        f"step before tick {first} (event",
        f"step of 3 ticks before tick {first + 1} (event",
        f"resume before tick {first + 4} (event",
    ):
        assert done in notes, notes
    alone = replay_run("last/dolly", "farm:build", "trace")
    assert alone.verdict == "IDENTICAL" and dict(alone.outcome.by_hand) == {"dolly.weight": 1}, str(alone)


@pytest.mark.further
def test_a_change_by_hand_is_found_by_those_who_look_at_the_run(farm, run, tmp_path):
    with farm("control") as program:
        told(run, "pause")
        told(run, "step")  # the pause may have come before anybody acted
        changed = told(run, "set", "dolly", "weight=5000")
        told(run, "resume")
        finish(tmp_path, program)
    event = json.loads(run("causes", changed["event_id"], "--json").stdout)
    assert event
    assert "by hand" in run("state", "dolly", "--why", "weight", "--at", f"tick:{changed['tick']}").stdout
    assert "intervention" in run("journey", "dolly", "--all").stdout
    sql = "SELECT state->>'$.weight' AS weight FROM action_states WHERE agent_id = 'dolly' ORDER BY ts_us"
    rows = json.loads(run("sql", sql, "--json").stdout)
    assert any(int(row["weight"]) >= 5000 for row in rows)


def test_a_program_that_is_killed_while_it_is_paused_is_told_as_such(farm, run):
    with farm("control") as program:
        tick = told(run, "pause")["tick"]
        program.send_signal(signal.SIGKILL)
        program.wait()
        done = run("control", "last", "status")
        assert done.returncode == 1 and f"killed while it was paused before tick {tick}" in done.stdout
        for command in (["resume"], ["pause"], ["step"], ["set", "dolly", "weight=1"]):
            done = run("control", "last", *command)
            assert done.returncode == 3 and "was killed" in done.stderr, done.stderr
        assert "crashed" in run("sessions").stdout
    report = replay_run("last", "farm:build", "trace")
    assert report.verdict == "IDENTICAL" and report.outcome.scope == "prefix", str(report)


def test_an_interrupt_ends_a_pause_and_the_recording_ends_as_usual(farm, run):
    with farm("control") as program:
        told(run, "pause")
        program.send_signal(signal.SIGINT)
        assert program.wait(30) != 0 and "KeyboardInterrupt" in program.stderr.read()
    assert "closed" in run("sessions").stdout
    done = run("control", "last", "status")
    assert done.returncode == 1 and "has ended" in done.stdout, done.stdout
    done = run("control", "last", "resume")
    assert done.returncode == 3 and "has ended" in done.stderr, done.stderr


@pytest.mark.further
def test_a_controller_that_dies_leaves_the_program_to_the_next_one(farm, run, tmp_path):
    with farm("control") as program:
        told(run, "pause")
        step = [sys.executable, "-m", "Agent", "control", "last", "step", "1000000", "--wait", "60"]
        with subprocess.Popen(step, cwd=tmp_path, env=child_environment(AGENT_TRACE_ROOT="trace")) as killed:
            while told(run, "status")["state"] == "paused":
                time.sleep(0.02)
            killed.kill()
        told(run, "pause")
        told(run, "resume")
        finish(tmp_path, program)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["set", "dolli", "weight=1"], 3, "no living agent 'dolli' has acted yet (did you mean 'dolly'?)"),
        (["set", "dolly", "wieght=1"], 2, "no field 'wieght' (did you mean 'weight'?)"),
        (["set", "dolly", "weight=heavy"], 2, "weight of dolly is of type int, and heavy is not"),
        (["set", "dolly", "weight=true"], 2, "of type int"),
        (["set", "dolly", "weight=null"], 2, "of type int"),
        (["set", "dolly", "bells=7"], 2, "of type tuple"),
        (["set", "dolly", "agent_id=polly"], 2, "identifies the agent"),
        (["set", "dolly", "weight"], 2, "AGENT FIELD=VALUE"),
        (["set", "dolly"], 2, "AGENT FIELD=VALUE"),
        (["step", "0"], 2, "at least 1"),
        (["pause", "now"], 2, "takes nothing more"),
        (["resume"], 1, "not paused"),
        (["step"], 1, "not paused"),
    ],
)
def test_what_cannot_be_done_says_why(shared_farm, run, words, code, said):
    done = run("control", "last", *words, AGENT_TRACE_ROOT=str(shared_farm / "trace"))
    assert done.returncode == code and said in done.stderr, done.stderr


@pytest.fixture(scope="module")
def shared_farm(tmp_path_factory):
    """The directory of a program that runs for all tests that change nothing in it."""
    directory = tmp_path_factory.mktemp("farm")
    (directory / "farm.py").write_text(PROGRAM)
    program = subprocess.Popen([sys.executable, "farm.py", "control"], cwd=directory, env=child_environment())
    end = time.monotonic() + 60
    while not _has_ticked(directory / "trace", ["control"]):
        assert program.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    yield directory
    program.kill()
    program.wait()


@pytest.mark.further
def test_a_program_that_does_not_allow_it_is_not_controlled(farm, run, tmp_path):
    with farm() as program:
        for words in (["status"], ["pause"], ["set", "dolly", "weight=1"]):
            done = run("control", "last", *words)
            assert done.returncode == 3 and "setup_logging(control=True)" in done.stderr, done.stderr
        (session,) = list_sessions(tmp_path / "trace")
        assert not (session.path / ".state" / "control").exists()
        finish(tmp_path, program)


@pytest.mark.further
def test_a_request_that_no_tick_takes_is_withdrawn(farm, run, tmp_path):
    with farm("control") as program:
        program.send_signal(signal.SIGSTOP)  # as in a step that takes long
        done = run("control", "last", "set", "dolly", "weight=5000", "--wait", "0.2")
        assert done.returncode == 1 and "withdrawn" in done.stderr, done.stderr
        program.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        (session,) = list_sessions(tmp_path / "trace")
        assert {path.name for path in (session.path / ".state" / "control").iterdir()} == {"program.json"}
        finish(tmp_path, program)
    assert "intervention" not in (session.path / "agents" / "dolly.log").read_text()


def test_only_the_owner_can_read_and_write_what_controls_a_program(farm, run, tmp_path):
    with farm("control") as program:
        (session,) = list_sessions(tmp_path / "trace")
        directory = session.path / ".state" / "control"
        assert [path.stat().st_mode & 0o777 for path in (session.path, directory)] == [0o700, 0o700]
        assert (directory / "program.json").stat().st_mode & 0o777 == 0o600
        if os.geteuid() == 0:
            other = (
                "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); open(sys.argv[1], 'w')"
            )
            done = subprocess.run(
                [sys.executable, "-c", other, str(directory / "request.json")],
                capture_output=True,
                check=False,
            )
            assert b"PermissionError" in done.stderr
        finish(tmp_path, program)
