"""Where calls of actions cannot show what changed code does, the program as a whole is asked."""

import subprocess
import sys

import pytest
from support.processes import child_environment

from Agent.replay import replay_run

pytestmark = pytest.mark.process

UNSEEDED = """
import random
from Agent.utils import trace_agent_action

class Clerk:
    def __init__(self, agent_id): self.agent_id, self.filed = agent_id, []

    @trace_agent_action
    def file(self, number, kind):
        self.filed.append(kind)
        return len(self.filed)

def build(spec): return Clerk(spec.agent_id)

if __name__ == "__main__":
    clerk = Clerk("clerk")
    for _ in range(3): clerk.file(random.random(), "bill")
"""
SURROUNDED = """
from contextvars import ContextVar

from Agent.utils import trace_agent_action

DESK = ContextVar("desk")

class Clerk:
    def __init__(self, agent_id): self.agent_id, self.served = agent_id, 0

    @trace_agent_action
    def greet(self):
        self.served += 1
        return DESK.get() + str(self.served)

def build(spec): return Clerk(spec.agent_id)

if __name__ == "__main__":
    DESK.set("north")
    clerk = Clerk("clerk")
    for _ in range(3): clerk.greet()
"""
INSIDE = """
from Agent.utils import trace_agent_action

class Worker:
    def __init__(self, agent_id): self.agent_id, self.done = agent_id, 0

    @trace_agent_action
    def work(self, amount): self.done += amount

class Chief:
    agent_id = "chief"
    def __init__(self, workers): self.workers, self.days = workers, 0

    @trace_agent_action
    def day(self):
        for worker in self.workers: worker.work(2)
        self.days += 1
        return self.days

def team():
    workers = [Worker("ann"), Worker("ben")]
    return {"chief": Chief(workers), "ann": workers[0], "ben": workers[1]}

def build(spec): return team() if spec.agent_id is None else team()[spec.agent_id]

if __name__ == "__main__":
    chief = team()["chief"]
    for _ in range(2): chief.day()
"""


@pytest.fixture
def replayed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def replay(text, *changes, target="office:build", **options):
        program = tmp_path / "office.py"
        program.write_text(text)
        subprocess.run([sys.executable, "office.py"], check=True, env=child_environment(), timeout=60)
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        program.write_text(text)
        return replay_run("last", target=target, root="trace", **options)

    return replay


@pytest.mark.further
def test_changed_code_that_calls_do_not_run_is_not_green_if_the_program_cannot_be_compared(replayed):
    assert replayed(UNSEEDED).verdict == "IDENTICAL"
    report = replayed(UNSEEDED, ('"bill"', '"note"'))
    assert report.verdict == "UNVERIFIED", str(report)
    assert "code changed in no replayed method (office)" in str(report)
    report = replayed(UNSEEDED, ('"bill"', '"note"'), program=False)
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
def test_a_changed_method_of_such_a_program_is_judged_by_its_calls(replayed):
    report = replayed(UNSEEDED, ("return len(self.filed)", "return len(self.filed) + 1"))
    assert report.verdict == "DIVERGED", str(report)
    report = replayed(UNSEEDED, ("self.filed.append(kind)", "self.filed += [kind]"))
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("change", [[], [("self.served += 1", "self.served = self.served + 1")]])
def test_calls_that_lack_what_surrounds_them_do_not_count_if_the_program_records_the_same(replayed, change):
    report = replayed(SURROUNDED, *change)
    assert report.verdict == "IDENTICAL", str(report)
    assert "lacks what surrounds it in the program" in str(report)


@pytest.mark.further
def test_a_difference_of_the_program_counts_there(replayed):
    report = replayed(SURROUNDED, ("self.served += 1", "self.served += 2"))
    assert report.verdict == "DIVERGED", str(report)


@pytest.mark.first_case
@pytest.mark.parametrize("target", ["office:build", None])
def test_another_order_of_calls_inside_an_action_is_a_difference(replayed, target):
    report = replayed(INSIDE, ("in self.workers: worker", "in self.workers[::-1]: worker"), target=target)
    assert report.verdict == "DIVERGED", str(report)
    assert "work of ann" in str(report) and "work of ben" in str(report)
