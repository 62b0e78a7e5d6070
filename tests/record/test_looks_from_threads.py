"""What recording looks at in an agent's first actions, where other threads act meanwhile."""

from __future__ import annotations

import queue
from types import MethodType

from Agent.record.state.agents import Probe
from Agent.record.state.introspection import is_object


class Box:
    def __init__(self, held: object) -> None:
        self.held = held

    def put(self, held: object) -> None:
        self.held = held


def test_an_action_that_ends_while_another_is_looked_at_harms_neither() -> None:
    boxes = [Box(Box(number)) for number in range(4)]

    def ends_meanwhile(value: object) -> str | None:
        if value is boxes[0].held and len(later) == 1:
            later.append(later[0])
            probe.begins()
            probe.ended([boxes[3]])
        return None

    later: list[int] = []
    probe = Probe(ends_meanwhile, is_on=True)
    for box in boxes[:3]:
        probe.begins()
        probe.ended([box])
    later.append(0)
    probe.begins()
    probe.ended([boxes[0]])
    assert len(later) == 2, "nothing ended meanwhile, so this showed nothing"
    probe.begins()
    boxes[1].held = Box("other")
    assert probe.ended([]) == [boxes[1]]


def test_a_bound_method_changes_with_its_object() -> None:
    def agent_of(value: object) -> str | None:
        return "a" if value is agent else None

    agent = Box(None)
    assert is_object(Box(1).put, agent_of)
    assert is_object(queue.Queue().put, agent_of)
    assert not is_object(agent.put, agent_of)
    assert not is_object(MethodType(len, "text"), agent_of)
