"""Data of a class that takes long to encode, such as a mapper of a library, is not in every full state."""

from __future__ import annotations

import itertools

import pytest
from record_kit import recording

from Agent.record.emit.pipeline import RecordOptions
from Agent.record.tracing.state_events import emit_last_states
from Agent.utils import trace_agent_action


class Node:
    def __init__(self, number):
        self.number, self.next = number, None


def chain(length):
    nodes = [Node(number) for number in range(length)]
    for one, other in itertools.pairwise(nodes):
        one.next = other
    return nodes


def states_of(cells, options=None):
    """The payloads of the full states of 12 agents whose class holds that many objects."""

    class Clerk:
        agent_role = "clerk"
        table = chain(cells)

        def __init__(self, number):
            self.agent_id = f"clerk{number}"

        @trace_agent_action
        def act(self):
            type(self).table[0].number += 1  # so that it is encoded again

    with recording(options) as recorded:
        clerks = [Clerk(number) for number in range(12)]
        for clerk in clerks:
            clerk.act()
        emit_last_states(recorded.pipeline)
        return [event["extra"] for event in recorded.of("state")]


def reasons(states):
    return [state["reason"] for state in states if "class_fields" in state]


@pytest.mark.further
def test_large_data_of_a_class_is_in_the_states_that_can_afford_it_and_in_all_last_ones():
    assert reasons(states_of(20)) == ["first"] * 12 + ["exit"] * 12
    found = reasons(states_of(4_000))
    assert found.count("exit") == 12
    assert 1 <= found.count("first") < 12


@pytest.mark.further
def test_the_option_reads_it_in_every_state():
    found = reasons(states_of(4_000, RecordOptions(reads_large=True)))
    assert found == ["first"] * 12 + ["exit"] * 12


@pytest.mark.further
def test_the_last_states_have_the_data_as_it_ended():
    last = states_of(4_000)[-1]
    assert last["reason"] == "exit" and last["class_fields"]["table"][0]["attributes"]["number"] == 12
