"""What is written to agents after their last action, while they are gone before recording ends, is no IDENTICAL."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.processes import child_environment

from Agent.replay import replay_run

pytestmark = pytest.mark.process

PROGRAM = """
from Agent import setup_logging, trace_agent_action


class Player:
    def __init__(self, agent_id):
        self.agent_id, self.points, self.medal, self.log = agent_id, 0, None, []

    @trace_agent_action
    def play(self, number):
        more = number
        self.points += more
        return self.points


class Judge:
    agent_id = "judge"

    @trace_agent_action
    def award(self, players):
        for each in players:
            each.medal = "gold" if each.points > 6 else "none"
            each.log.append(each.points)


def main():
    setup_logging(trace_root="trace")
    judge, *players = Judge(), Player("a"), Player("b")
    for number in range(ROUNDS):
        for at, each in enumerate(players):
            each.play(number % 4 + at if number < 4 else 0)
    judge.award(players)
    print("the end")


def build(spec):
    return {"judge": Judge(), "a": Player("a"), "b": Player("b")}


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def replayed(tmp_path, monkeypatch):
    """Record the program with so many rounds, change it, and replay it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(rounds, old, new, **options):
        text = PROGRAM.replace("ROUNDS", str(rounds))
        (tmp_path / "game.py").write_text(text)
        subprocess.run([sys.executable, "game.py"], check=True, env=child_environment(), timeout=60)
        assert text.count(old) == 1
        (tmp_path / "game.py").write_text(text.replace(old, new))
        return replay_run("last", root="trace", **options)

    return run


@pytest.mark.further
@pytest.mark.parametrize(
    ("old", "new", "field"),
    [("points > 6", "points >= 6", "medal"), ("append(each.points)", "append(-each.points)", "log")],
)
def test_what_the_last_action_wrote_to_other_agents_is_compared(replayed, old, new, field):
    report = replayed(4, old, new)
    assert (report.verdict, report.divergence.agent_id) == ("DIVERGED", "a"), str(report)
    assert report.divergence.field == f"state.{field}"


@pytest.mark.further
def test_unchanged_and_refactored_programs_whose_agents_are_gone_are_identical(replayed):
    assert replayed(4, "points > 6", "points > 6").verdict == "IDENTICAL"
    assert replayed(
        4, "        more = number\n        self.points += more", "        self.points += number"
    ).verdict == ("IDENTICAL")
    assert replayed(
        40, "        more = number\n        self.points += more", "        self.points += number"
    ).verdict == ("IDENTICAL")


@pytest.mark.further
def test_where_recording_no_longer_checked_them_an_action_that_changed_is_named(replayed):
    assert replayed(40, "points > 6", "points > 6").verdict == "IDENTICAL"
    report = replayed(40, "points > 6", "points >= 6")
    assert report.verdict == "UNVERIFIED", str(report)
    (reason,) = report.reasons
    assert reason == (
        "Judge.award changed, and what it wrote after the last actions of a, b is not recorded: they were gone when "
        "recording ended; call shutdown_logging() before that"
    )


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("new", ["players[0].points += 1", "players[0].medal = 'lead'"])
def test_a_script_that_changed_outside_of_actions_may_write_to_them_unseen(replayed, new):
    report = replayed(4, 'print("the end")', new)
    assert report.verdict == "UNVERIFIED", str(report)
    assert report.reasons[0].startswith("game changed, and what it wrote after the last actions of a, b")


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('print("the end")', 'print("the end")  # it is'),
        ("def main():\n", 'def main():\n    """Play."""\n'),
        ('{"judge": Judge(), "a"', '{\n        "judge": Judge(), "a"'),
    ],
)
def test_comments_and_docstrings_of_the_script_write_nothing(replayed, old, new):
    report = replayed(4, old, new)
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.further
def test_with_calls_alone_they_make_the_verdict_uncertain(replayed):
    report = replayed(4, "points > 6", "points >= 6", target="game:build", program=False)
    assert report.verdict == "UNVERIFIED", str(report)
