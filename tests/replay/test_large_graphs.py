"""Graphs so large that full states with them are rare: a replay compares them where the recording has them."""

from __future__ import annotations

import pytest

from Agent.record.encode import large_contents
from Agent.record.tracing import state_events

GRAPH = """
class Node:
    def __init__(self, number):
        self.number = number
        self.near = []

class Walker:
    def __init__(self):
        self.agent_id, self.agent_role, self.at = "a", "walker", 0
        self.nodes = [Node(number) for number in range(120)]
        for number, node in enumerate(self.nodes):
            node.near.append(self.nodes[number - 1])

    @trace_agent_action
    def walk(self, number):
        self.nodes[number % 3].number += 1
        self.at = number
        if number == 255:
            self.nodes = [Node(each) for each in range(3)]

def build(spec):
    return Walker()

def main():
    global walker
    walker = Walker()
    for number in range(270):
        walker.walk(number)
"""


@pytest.fixture(autouse=True)
def _little_is_free(monkeypatch):
    monkeypatch.setattr(large_contents, "FREE_BYTES", 1)
    monkeypatch.setattr(large_contents, "BYTES_A_CALL", 1)
    monkeypatch.setattr(state_events, "MUCH_BYTES", 10_000)


def test_a_replay_writes_full_states_where_the_recording_has_them(toy):
    """Or a field that has become small would be compared at actions at which it was not recorded."""
    report = toy.record(GRAPH).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "at full states only: nodes" in str(report)
    assert "270 results" in str(report), str(report)


@pytest.mark.further
def test_a_difference_in_such_a_graph_is_found_at_the_end(toy):
    source = GRAPH.replace("if number == 255", "if number == 999")
    toy.record(source).change("number += 1", "number += 1 + (number == 40)")
    report = toy.replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.nodes"), str(report)
    assert "fields over 4 KiB" in str(report)
