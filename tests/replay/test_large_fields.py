"""Fields over 4 KiB: only full states hold them, and a difference there is placed between two of these."""

from __future__ import annotations

import pytest

BOARD = """
class Ant:
    def __init__(self):
        self.agent_id, self.agent_role, self.at = "a", "ant", 0
        self.board = [[0] * 60 for _ in range(60)]

    @trace_agent_action
    def move(self):
        self.board[self.at % 60][self.at // 60] += 1
        self.at += 7

def build(spec):
    return Ant()

def main():
    ant = Ant()
    for _ in range({steps}):
        ant.move()
"""
MOVE = "self.board[self.at % 60][self.at // 60] += 1"


def test_a_difference_is_placed_in_the_steps_since_the_last_full_state(toy):
    report = toy.record(BOARD.format(steps=20)).replay()
    assert report.verdict == "IDENTICAL", str(report)
    toy.change(MOVE, MOVE.replace("+= 1", "+= 1 + (self.at == 42)"))  # in its seventh action
    report = toy.replay()
    found = report.divergence
    assert (report.verdict, found.step, found.since, found.field) == ("DIVERGED", 8, 4, "state.board")
    assert "in one of the steps 5 to 8" in str(report)


@pytest.mark.further
def test_a_difference_in_the_first_or_second_action_is_placed_there(toy):
    toy.record(BOARD.format(steps=20))
    for at, step in ((0, 1), (7, 2)):
        toy.write(BOARD.format(steps=20)).change(MOVE, MOVE.replace("+= 1", f"+= 1 + (self.at == {at})"))
        found = toy.replay().divergence
        assert (found.step, found.since) == (step, None), str(found)


@pytest.mark.further
def test_another_difference_says_since_when_large_fields_were_not_compared(toy):
    toy.record(BOARD.format(steps=20)).change("self.at += 7", "self.at += 7 + (self.at == 84)")
    report = toy.replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 13)
    assert "fields over 4 KiB of a (board) were compared last after step 8" in str(report)


SHARED_BOX = """
import threading

LAST = 1

def box():
    made = threading.local()
    made.items = [*range(5_000), LAST]
    return made

class Peer:
    def __init__(self):
        self.agent_id, self.agent_role, self.box = "b", "peer", None

    @trace_agent_action
    def look(self):
        return 1

class Ant:
    def __init__(self):
        self.agent_id, self.agent_role, self.box, self.peer = "a", "ant", None, Peer()

    @trace_agent_action
    def move(self):
        self.box = self.peer.box = box()
        return self.peer.look()

def build(spec):
    ant = Ant()
    return {"a": ant, "b": ant.peer}

def main():
    ant = Ant()
    for _ in range(4):
        ant.move()
"""


def test_a_large_object_that_is_shared_with_an_agent_that_does_not_run_is_no_proof_where_it_differs(toy):
    report = toy.record(SHARED_BOX).replay("last/a")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("LAST = 1", "LAST = 2").replay("last/a")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "a.box differs from the recording, and agents that do not run share it" in " ".join(report.reasons)
