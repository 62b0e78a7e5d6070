"""Objects of the program that lead to each other: how often a field with them is read, and how much is walked."""

from __future__ import annotations

from collections import Counter

import pytest
from record_kit import recording

from Agent.event.values import content_digest
from Agent.event.values.content_digest import whole_digest
from Agent.event.values.opaque import ReachedObjects
from Agent.record.emit.pipeline import RecordOptions
from Agent.record.encode import large_contents
from Agent.record.state.agents import agent_id_of
from Agent.record.tracing import state_events
from Agent.utils import trace_agent_action


class Node:
    def __init__(self, number, *near):
        self.number = number
        self.near = list(near)


class Walker:
    agent_role = "walker"

    def __init__(self, nodes):
        self.agent_id = "w"
        self.at = 0
        self.nodes = nodes

    @trace_agent_action
    def step(self):
        self.at += 1
        self.nodes[self.at % len(self.nodes)].number += 1


def linked(count):
    nodes = [Node(number) for number in range(count)]
    for number, node in enumerate(nodes):
        node.near.append(nodes[number - 1])
    return nodes


def tree(count):
    nodes = [Node(number) for number in range(count)]
    for number, node in enumerate(nodes):
        node.near += nodes[2 * number + 1 : 2 * number + 3]
    return nodes


def graph(count):
    nodes = linked(count)
    for number, node in enumerate(nodes):
        node.near.append(nodes[number * 7 % count])
    return nodes


def heads(count, length):
    """Nodes that each lead to a chain of their own."""
    found = [Node(number) for number in range(count)]
    for node in found:
        for number in range(length):
            node.near = [Node(number, *node.near)]
    return found


SHAPES = {"linked": linked, "tree": tree, "graph": graph}


@pytest.fixture
def walks(monkeypatch):
    """Counts the passes over contents."""
    found, run = Counter(), content_digest._Walk.run

    def counting(walk, value):
        found["runs"] += 1
        run(walk, value)

    monkeypatch.setattr(content_digest._Walk, "run", counting)
    return found


def reasons(walker, actions, **options):
    with recording(RecordOptions(**options)) as recorded:
        for _ in range(actions):
            walker.step()
        return Counter(event["extra"]["reason"] for event in recorded.of("state"))


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("shape", SHAPES)
def test_full_states_of_a_large_graph_are_as_often_as_its_size_allows(shape, monkeypatch):
    monkeypatch.setattr(large_contents, "FREE_BYTES", 1)
    monkeypatch.setattr(state_events, "MUCH_BYTES", 10_000)
    found = reasons(Walker(SHAPES[shape](300)), 1_000, state_period=16)
    assert found["first"] == 1
    assert 0 < found["periodic"] < 25  # of the 62 periods, and 6 early ones


@pytest.mark.further
def test_full_states_of_a_large_graph_are_all_there_where_all_is_to_be_read(monkeypatch):
    monkeypatch.setattr(large_contents, "FREE_BYTES", 1)
    monkeypatch.setattr(state_events, "MUCH_BYTES", 10_000)
    found = reasons(Walker(linked(300)), 100, state_period=16, reads_large=True)
    assert found["periodic"] == 6 + 4


def test_full_states_of_little_content_come_at_each_period_and_early(monkeypatch):
    found = reasons(Walker(linked(60)), 100, state_period=16)
    assert found["periodic"] == 6 + 4


@pytest.mark.first_case
@pytest.mark.parametrize("shape", SHAPES)
def test_a_full_state_walks_once_from_each_object(shape, walks):
    count = 400
    with recording() as recorded:
        Walker(SHAPES[shape](count)).step()
        assert len(recorded.of("state")) == 1
    assert count // 2 < walks["runs"] <= count + 20


@pytest.mark.further
@pytest.mark.parametrize(("count", "length", "is_compared"), [(5, 20, True), (12, 450, False)])
def test_a_field_is_compared_at_each_action_where_its_digests_visit_little(count, length, is_compared, walks):
    walker = Walker([Node(number, *([each] for each in range(length))) for number in range(count)])
    with recording() as recorded:
        for _ in range(5):
            walker.step()
        before = walks["runs"]
        walker.step()
        assert (walks["runs"] > before) == is_compared
        assert ("nodes" in recorded.of("agent_action")[-1]["state"]["set"]) == is_compared


def test_a_digest_of_what_was_reached_before_is_no_id_that_a_library_made():
    """Objects far away count by the digest of the one from which they were reached first."""
    reached = ReachedObjects()
    whole_digest(far := linked(2_500), agent_id_of, None, reached)
    one, other = heads(2, 100)
    for head, last in ((one, far[5]), (other, far[6])):
        node = head
        while node.near:
            (node,) = node.near
        node.near = [last]
        head.number = 0
    assert len({whole_digest(each, agent_id_of, None, reached) for each in (one, other)}) == 2
