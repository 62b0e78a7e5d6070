"""A replay compares what was read of large arguments, and says how many values were not read."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import child_environment

from Agent.record.encode import large_contents
from Agent.replay import replay_run

pytestmark = pytest.mark.first_case

PROGRAM = """
class Cell:
    def __init__(self, number): self.number, self.near = number, []

class World:
    def __init__(self):
        self.time = 0
        self.cells = [Cell(number) for number in range(300)]
        for cell, other in zip(self.cells, self.cells[1:]): cell.near.append(other)

WORLD = World()

class Walker:
    agent_id, agent_role = "a", "walker"
    def __init__(self): self.steps = 0
    @trace_agent_action
    def walk(self, number):
        self.steps += 1
        WORLD.time = self.steps
        return Guide().show(WORLD, number)

class Guide:
    agent_id, agent_role = "g", "guide"
    @trace_agent_action
    def show(self, world, number):
        world.cells[0].number += number > 1
        return world.cells[number].number

def build(spec): return {"a": Walker(), "g": Guide()}
def main():
    walker = Walker()
    for number in range(1, 20): walker.walk(number)
"""


@pytest.fixture
def recorded(toy, monkeypatch):
    monkeypatch.setattr(large_contents, "FREE_BYTES", 1)
    monkeypatch.setattr(large_contents, "FREE_CALLS", 0)
    return toy.record(PROGRAM)


@pytest.mark.further
def test_what_compares_equal_is_unverified_and_the_report_counts_what_was_not_read(recorded):
    report = recorded.replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "17 large arguments or results were not read in their calls" in str(report)
    assert 'record with large_arguments="always"' in str(report)


@pytest.mark.further
def test_another_plain_attribute_of_an_unread_argument_differs(recorded):
    report = recorded.change("WORLD.time = self.steps", "WORLD.time = self.steps + (self.steps == 3)").replay(
        "last"
    )
    assert (report.verdict, report.divergence and report.divergence.step) == ("DIVERGED", 3), str(report)
    assert "time" in str(report)


def test_another_content_differs_where_it_was_read(recorded):
    report = recorded.change(
        "self.cells = [Cell(number)", "self.cells = [Cell(number + (number == 299))"
    ).replay("last")
    assert (report.verdict, report.divergence and report.divergence.step) == ("DIVERGED", 1), str(report)


def test_a_scalar_instead_of_an_unread_argument_differs(recorded):
    report = recorded.change("show(WORLD, number)", "show(WORLD if number != 2 else None, number)").replay(
        "last"
    )
    assert (report.verdict, report.divergence and report.divergence.step) == ("DIVERGED", 2), str(report)


def test_a_recorded_response_cannot_repeat_changes_that_were_not_read(recorded):
    report = recorded.change('{"a": Walker(), "g": Guide()}', '{"a": Walker()}').replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "its argument world was not read" in str(report) and 'large_arguments="always"' in str(report)


def test_an_action_that_was_given_an_unread_argument_cannot_be_replayed_alone(toy, monkeypatch):
    monkeypatch.setattr(large_contents, "FREE_BYTES", 1)
    monkeypatch.setattr(large_contents, "FREE_CALLS", 0)
    program = PROGRAM.replace("WORLD.time = self.steps", "pass").replace(
        "walker.walk(number)", "walker.see(WORLD)"
    )
    program = program.replace(
        "    @trace",
        "    @trace_agent_action\n    def see(self, world): return len(world.cells)\n    @trace",
        1,
    )
    report = toy.record(program).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "argument world of see" in str(report) and 'large_arguments="always"' in str(report)


SCRIPT = """
from Agent import setup_logging, trace_agent_action

class Cell:
    def __init__(self, number): self.number, self.near = number, []

class World:
    def __init__(self):
        self.cells = [Cell(number) for number in range(700)]
        for cell, other in zip(self.cells, self.cells[1:]): cell.near.append(other)

class Ant:
    agent_id, agent_role = "ant", "ant"
    def __init__(self): self.at = 0
    @trace_agent_action
    def walk(self, world):
        self.at += 1
        world.cells[self.at].number += 1
        return self.at

if __name__ == "__main__":
    setup_logging(trace_root="trace")
    ant, world = Ant(), World()
    for _ in range(26): ant.walk(world)
"""


@pytest.mark.integration
@pytest.mark.parametrize(("setting", "verdict"), [("always", "IDENTICAL"), ("bounded", "UNVERIFIED")])
def test_a_program_that_runs_again_reads_large_arguments_as_often_as_it_was_recorded(
    tmp_path, monkeypatch, setting, verdict
):
    monkeypatch.chdir(tmp_path)
    Path("ants.py").write_text(SCRIPT)
    environment = {**child_environment(), "AGENT_TRACE_LARGE_ARGUMENTS": setting}
    subprocess.run([sys.executable, "ants.py"], check=True, env=environment, timeout=60)
    report = replay_run("last", None, "trace")
    assert report.verdict == verdict, str(report)
    assert str(report).count("were not read in their calls") == (verdict == "UNVERIFIED")


MAKER = """
class Boss:
    agent_id, agent_role = "a", "boss"
    def __init__(self): self.seen = 0
    @trace_agent_action
    def ask(self, number):
        self.seen += len(Maker().make(number))

class Maker:
    agent_id, agent_role = "m", "maker"
    @trace_agent_action
    def make(self, number): return dict.fromkeys(range(60_000), number)

def build(spec): return {"a": Boss(), "m": Maker()}
def main():
    boss = Boss()
    for number in range(4): boss.ask(number)
"""


@pytest.fixture
def made(toy, monkeypatch):
    monkeypatch.setattr(large_contents, "FREE_BYTES", 1)
    monkeypatch.setattr(large_contents, "FREE_CALLS", 0)
    return toy.record(MAKER)


@pytest.mark.further
def test_an_unread_result_is_counted_and_makes_a_replay_unverified(made):
    report = made.replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "3 large arguments or results were not read in their calls" in str(report)


@pytest.mark.further
def test_another_class_of_an_unread_result_differs(made):
    report = made.change(
        "return dict.fromkeys(range(60_000), number)",
        "return dict.fromkeys(range(60_000), number) if number != 2 else [0] * 60_000",
    ).replay("last")
    assert (report.verdict, report.divergence and report.divergence.step) == ("DIVERGED", 3), str(report)


def test_a_recorded_response_that_was_not_read_cannot_be_given_again(made):
    report = made.change('{"a": Boss(), "m": Maker()}', '{"a": Boss()}').replay("last")
    assert report.verdict == "UNVERIFIED", str(report)


def test_the_answer_of_a_call_names_the_setting_that_reads_its_result(toy, monkeypatch):
    monkeypatch.setattr(large_contents, "FREE_BYTES", 0)
    monkeypatch.setattr(large_contents, "FREE_CALLS", 0)
    recorded = toy.record(MAKER)
    report = recorded.change('{"a": Boss(), "m": Maker()}', '{"a": Boss()}').replay("last")
    assert "its result was not read" in str(report) and 'large_arguments="always"' in str(report)


SHOP = """
class Rates:
    agent_id, agent_role = "r", "rates"
    @trace_agent_action(capture_args=False)
    def rate(self, n): return 10

class Shop:
    agent_id, agent_role = "a", "shop"
    def __init__(self): self.rates, self.sold = Rates(), 0
    @trace_agent_action
    def sell(self, n):
        self.sold += n * self.rates.rate(n)
        return self.sold
    @trace_agent_action(capture_result=False)
    def quote(self, n):
        return 10 * n

def build(spec): return Shop()
def main():
    shop = Shop()
    for number in (1, 2):
        shop.sell(number)
        shop.quote(number)
"""


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("return 10 * n", "return -1 * n", "results of quote of a were not captured"),
        ("self.rates.rate(n)", "self.rates.rate(-n)", "arguments of rate of r were not captured"),
    ],
)
def test_what_changed_code_returns_or_passes_uncaptured_is_unverified(toy, old, new, reason):
    toy.record(SHOP)
    assert toy.replay().verdict == "IDENTICAL"
    report = toy.change(old, new).replay()
    assert (report.verdict, report.exit_code) == ("UNVERIFIED", 4)
    assert any(reason in each for each in report.reasons), str(report)


def test_a_difference_counts_beside_results_that_were_not_captured(toy):
    report = toy.record(SHOP).change("self.sold += n", "self.sold += 2 * n").replay()
    assert report.verdict == "DIVERGED", str(report)
