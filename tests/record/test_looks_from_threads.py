"""What recording looks at in an agent's first actions, also where other threads act meanwhile."""

from __future__ import annotations

import queue
from types import MethodType

import pytest

from Agent.event.values.content_digest import content_of
from Agent.event.values.opaque import Content
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


def chain(length: int) -> Box:
    first = Box(None)
    for _ in range(length - 1):
        first = Box(first)
    return first


@pytest.mark.parametrize(("length", "looks"), [(100, 43), (1_000, 11), (2_000, 5), (20_000, 3)])
def test_the_longer_a_chain_of_objects_is_the_fewer_looks_are_taken_at_it(
    monkeypatch: pytest.MonkeyPatch, length: int, looks: int
) -> None:
    assert len(looks_at(monkeypatch, chain(length))) == looks


def test_an_object_too_large_for_a_digest_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("Agent.event.values.content_digest.MAX_NODES", 150)
    assert len(looks_at(monkeypatch, chain(200))) == 1


def test_many_objects_share_the_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [chain(200) for _ in range(16)]
    assert len(looks_at(monkeypatch, *boxes)) < 16 * len(looks_at(monkeypatch, boxes[0])) / 2


def looks_at(monkeypatch: pytest.MonkeyPatch, *boxes: Box) -> list[object]:
    """The values that a probe looks at while it has actions left, at each of which an agent has the boxes."""
    taken = []

    def counted(value: object, *args: object) -> Content:
        taken.append(value)
        return content_of(value, *args)

    monkeypatch.setattr("Agent.record.state.agents.content_of", counted)
    probe = Probe(lambda _: None, is_on=True)
    while probe.left > 0:
        probe.begins()
        probe.ended(boxes)
    return taken


def test_a_bound_method_changes_with_its_object() -> None:
    def agent_of(value: object) -> str | None:
        return "a" if value is agent else None

    agent = Box(None)
    assert is_object(Box(1).put, agent_of)
    assert is_object(queue.Queue().put, agent_of)
    assert not is_object(agent.put, agent_of)
    assert not is_object(MethodType(len, "text"), agent_of)
