"""Recordings of earlier versions: readable for ever, and honest about what they could not hold."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from Agent.record.state import introspection
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


def test_a_recording_made_before_content_digests_says_so_and_how_to_record_it_anew(older):
    report = replay_run("last", "before_digests:build", older)
    assert report.verdict == "UNVERIFIED", str(report)
    assert all("recorded before content digests" in reason for reason in report.reasons)
    assert all(reason.endswith(": python before_digests.py") for reason in report.reasons)
    named = " ".join(report.reasons)
    assert "planner.kept" in named and "planner.act" in named and "the result of plan" in named


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


@pytest.mark.parametrize("was_field", [True, False])
def test_attributes_of_a_dataclass_itself_are_no_fields_even_if_they_were_recorded_as_such(
    toy, monkeypatch, was_field
):
    if was_field:
        monkeypatch.setattr(introspection, "dataclass_fields", lambda cls: cls.__dataclass_fields__.values())
    toy.record(TRADER)
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert ("bonus of a is an attribute of its class" in str(report)) == was_field
    report = toy.change("self.cash -= price", "self.cash -= price + 1").replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)
