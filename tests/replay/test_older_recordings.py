"""Recordings of earlier versions: readable for ever, and honest about what they could not hold."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from Agent.replay import play_run, replay_run

GOLDEN = Path(__file__).parents[1] / "golden" / "before_content_digests"


@pytest.fixture
def older(tmp_path, monkeypatch):
    """A root with the recording that was made before content digests."""
    monkeypatch.syspath_prepend(str(GOLDEN))
    monkeypatch.delitem(sys.modules, "before_digests", raising=False)
    session = next(GOLDEN.glob("session_*"))
    shutil.copytree(session, tmp_path / session.name)
    return tmp_path


def test_a_recording_made_before_content_digests_proves_nothing(older):
    report = replay_run("last", "before_digests:build", older)
    assert report.verdict == "UNVERIFIED", str(report)


def test_it_is_shown_step_by_step_as_ever(older):
    playback = play_run("last/planner", root=older)
    assert [step.action for step in playback.steps] == ["plan"] * 3
    assert playback.sound


TRADER = """
from dataclasses import InitVar, dataclass
from typing import ClassVar

@dataclass(slots=True)
class Trader:
    agent_id: str = "a"
    cash: int = 100
    bonus: InitVar[int] = 0
    made: ClassVar[int] = 0

    def __post_init__(self, bonus): self.cash += bonus

    @trace_agent_action
    def buy(self, price):
        Trader.made += 1
        self.cash -= price
        return self.cash

def build(spec): return Trader()
def main():
    trader = Trader(bonus=5)
    trader.buy(10)
    trader.buy(20)
"""


def test_attributes_of_a_dataclass_itself_are_no_fields(toy):
    toy.record(TRADER)
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("self.cash -= price", "self.cash -= price + 1").replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)
