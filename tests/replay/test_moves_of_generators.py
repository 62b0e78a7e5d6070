"""Draws of a main loop from a generator that agents hold are repeated by a replay, and compared in a second run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.processes import child_environment

from Agent.replay import add_golden, check_golden, replay_run

pytestmark = pytest.mark.process

WARD = """
KEPT = []

class Patient:
    def __init__(self, number, rng):
        self.agent_id, self.marker, self.rng = f"patient_{number}", 5.0, rng

    @trace_agent_action
    def live(self):
        self.marker = round(self.marker + self.rng.gauss(0, 0.2), 3)
        return self.marker

class Lab:
    def __init__(self):
        self.agent_id, self.samples = "lab", 0

    @trace_agent_action
    def measure(self, marker):
        self.samples += 1
        return marker > 5

def make():
    rng = random.Random(7)
    patients = [Patient(number, rng) for number in range(2)]
    return rng, {each.agent_id: each for each in (*patients, Lab())}

def build(spec):
    _, agents = make()
    return agents if spec.agent_id is None else agents[spec.agent_id]

def main():
    rng, agents = make()
    for day in range(12):
        for number in range(2):
            marker = agents[f"patient_{number}"].live()
            for _ in range(DRAWS):
                rng.random()
            if rng.random() < 0.7:
                agents["lab"].measure(marker)
        if day == 6:
            AGAIN
    KEPT.append(agents)
"""
SCRIPT = "import random\nfrom Agent import setup_logging, shutdown_logging, trace_agent_action\n" + WARD
AT_END = '\nsetup_logging(trace_root="trace")\nmain()\nshutdown_logging()\n'


def _ward(draws: int = 1, again: str = "pass") -> str:
    return WARD.replace("DRAWS", str(draws)).replace("AGAIN", again)


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("draws", "again"),
    [(1, "pass"), (700, "pass"), (30_000, "pass"), (1, "rng.seed(3)"), (0, "rng.gauss(0, 1)")],
)
def test_what_the_main_loop_drew_is_drawn_again(toy, draws, again):
    report = toy.record("import random\n" + _ward(draws, again)).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert "written from outside, repeated from the recording: patient_" in str(report)


def test_an_action_that_draws_more_often_differs(toy):
    toy.record("import random\n" + _ward())
    toy.change("self.rng.gauss(0, 0.2)", "self.rng.gauss(self.rng.random(), 0.2)")
    report = toy.replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)


def _play(place, text):
    (place / "main.py").write_text(text)
    subprocess.run([sys.executable, "main.py"], check=True, env=child_environment(), timeout=60)


@pytest.mark.further
def test_a_main_loop_that_draws_another_number_of_times_differs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = SCRIPT.replace("AGAIN", "pass") + AT_END
    _play(tmp_path, text.replace("DRAWS", "1"))
    report = replay_run("last", root="trace")
    assert report.verdict == "IDENTICAL", str(report)
    (tmp_path / "main.py").write_text(text.replace("DRAWS", "2"))
    report = replay_run("last", root="trace")
    assert report.verdict == "DIVERGED", str(report)


def test_a_recording_without_the_state_to_count_from_is_never_identical(toy):
    toy.record("import random\n" + _ward())
    for path in toy.root.glob("session_*/system.log"):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if '"source.state"' not in line))
    report = toy.replay("last")
    assert report.verdict != "IDENTICAL", str(report)


def test_a_golden_of_one_agent_has_the_draws_that_others_told(toy, tmp_path):
    one = _ward().replace("range(2)", "range(1)")  # so that only the main loop draws, too
    toy.record("import random\n" + one)
    added = add_golden("last/patient_0", root=toy.root, directory=tmp_path / "g", target=f"{toy.name}:build")
    found = check_golden(added.golden)
    assert found.report.verdict == "IDENTICAL", str(found.report)
