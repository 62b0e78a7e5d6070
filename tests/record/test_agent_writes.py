"""What code outside of actions changed is the same whether the native part compares or Python looks one by one."""

from __future__ import annotations

import asyncio
import copy
import json
import queue
import random
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from record_kit import recording

from Agent import trace_agent_action
from Agent.record.encode.native import native
from Agent.record.state import agents, held_objects
from Agent.record.state.agent_writes import BetweenActions, _Looked


class Thing:
    def __init__(self, number):
        self.number = number


VALUES = st.one_of(
    st.integers(0, 2), st.floats(), st.none(), st.text(max_size=2), st.lists(st.integers(0, 1)),
    st.lists(st.builds(Thing, st.integers(0, 2)), max_size=2), st.sampled_from([97, 98]).map(lambda n: [Thing(0)] * n),
)  # fmt: skip
FIELDS = st.sampled_from(("one", "two", "three"))
NUMBERS = st.integers(0, 2)
OF_WORLD = st.sampled_from(("one", "two", "many", "random", "numpy", "grid", "moves"))
TOLD = ("agent_id", "changed", "unset", "writers", "moved")
ACTS = [(1, None, "one", 1, True)]
FIRST_ACTIONS = 40
"""More than are looked at one by one in any case."""


class World:
    def __init__(self):
        self.one, self.two, self.many = 0, [], list(range(150))
        self.random, self.numpy, self.grid = random.Random(1), np.random.default_rng(1), np.zeros((2, 2))

    def change(self, field, value):
        present = getattr(self, field)
        if field in {"random", "numpy"}:
            present.random()
        elif field == "grid":
            present[0, 1] += 1
        elif type(value) is type(present) is list:
            present.extend(value)
        else:
            setattr(self, field, value)


class Cell:
    """A world that allows no weak references."""

    __slots__ = ("__dict__",)
    __init__, change = World.__init__, World.change


class Peer:
    agent_role = "peer"

    def __init__(self, agent_id, world):
        self.agent_id, self.world, self.one, self.two = agent_id, world, 0, []

    @trace_agent_action()
    def write(self, other, field, value):
        if field == "moves":
            self.world = WORLDS[value == 1]
        elif other is None:
            self.world.change(field, value)
        elif type(value) is list and type(getattr(other, field, None)) is list:
            getattr(other, field).extend(value)
        else:
            setattr(other, field, value)


class SlottedPeer(Peer):
    """A peer whose state is more than its `__dict__`."""

    __slots__ = ("spare",)

    def __init__(self, agent_id, world):
        super().__init__(agent_id, world)
        self.spare = 0


class BarePeer:
    """A peer without a `__dict__`."""

    __slots__ = ("__weakref__", "agent_id", "one", "three", "two", "world")
    agent_role = "peer"
    __init__, write = Peer.__init__, Peer.write


class LonePeer:
    """A peer with slots that allows no weak references."""

    __slots__ = ("agent_id", "one", "three", "two", "world")
    agent_role = "peer"
    __init__, write = Peer.__init__, Peer.write


class SlowBetweenActions(BetweenActions):
    """Of a class that the native part does not know, so that it leaves all to Python."""

    __slots__ = ()


WORLDS = []


def told_of(changes, *, is_quick, of_world=World, of_peer=Peer):
    """What all events tell of changes from outside of actions."""
    with pytest.MonkeyPatch.context() as patch:
        if not is_quick:
            patch.setattr(agents, "BetweenActions", SlowBetweenActions)
            patch.setattr(held_objects, "_unlike_before", lambda objects, *_: objects)
        return told_in_memory(copy.deepcopy(changes), of_world, of_peer)  # a run extends its lists


def told_in_memory(changes, of_world, of_peer):
    with recording() as recorded:
        world = of_world()
        WORLDS[:] = world, of_world()
        peers = [of_peer(f"peer_{number}", world) for number in range(3)]
        for number in range(FIRST_ACTIONS):
            world.one = number // 4
            peers[number % 3].write(peers[(number + 1) % 3], "one", number)
        for actor, target, field, value, is_inside in changes:
            other = None if target is None else peers[target]
            if is_inside:
                peers[actor].write(other, field, value)
            elif field == "moves":
                peers[actor].world = WORLDS[value == 1]
            elif other is None:
                peers[actor].world.change(field, value)
            else:
                setattr(other, field, value)
        peers[0].write(peers[0], "one", 7)
        return [
            json.dumps({key: event["extra"].get(key) for key in TOLD}, sort_keys=True)
            for event in recorded.of("state_change")
        ]


@pytest.mark.integration
@pytest.mark.skipif(native is None, reason="built without its native part")
@given(
    st.lists(
        st.one_of(
            st.tuples(NUMBERS, NUMBERS, FIELDS, VALUES, st.booleans()),
            st.tuples(NUMBERS, st.none(), OF_WORLD, VALUES, st.booleans()),
        ),
        max_size=12,
    ),
    st.sampled_from((World, Cell)),
    st.sampled_from((Peer, SlottedPeer, BarePeer, LonePeer)),
)
@example(
    [
        *ACTS,
        (0, None, "moves", 1, True),
        *ACTS,
        (0, None, "moves", 0, False),
        (0, None, "one", 8, False),
        *ACTS,
    ],
    Cell,
    Peer,
)
@example(
    [*ACTS, (0, 1, "one", 5, True), (0, 1, "one", 39, True), *ACTS, (2, 1, "one", 9, False), *ACTS],
    World,
    Peer,
)
@example(
    [*ACTS, (0, None, "grid", 1, True), (0, None, "grid", 1, False), *ACTS, (2, 1, "one", 9, False), *ACTS],
    World,
    SlottedPeer,
)
@example(
    [*ACTS, (0, 1, "one", 5, True), (0, 1, "three", [1], True), *ACTS, (2, 1, "three", 9, False), *ACTS],
    World,
    BarePeer,
)
@example(
    [
        (0, 1, "two", [Thing(1)], True),
        *ACTS,
        (0, 1, "two", [Thing(2)], True),
        (1, 1, "two", [Thing(3)], True),
        *ACTS,
        (2, 1, "two", [Thing(0)] * 99, False),
        *ACTS,
        (0, 1, "two", [Thing(4)], True),
        (0, 1, "one", 7, True),
        (0, 1, "two", [1], False),
        *ACTS,
    ],
    World,
    LonePeer,
)
def test_the_native_part_tells_the_same_changes_as_python(changes, of_world, of_peer):
    quick = told_of(changes, is_quick=True, of_world=of_world, of_peer=of_peer)
    assert quick == told_of(changes, is_quick=False, of_world=of_world, of_peer=of_peer)
    assert any('"writers": {' in told for told in quick), "an agent wrote to another"
    assert any('"moved": {' in told for told in quick), "the scheduler changed the world"


QUEUES = (
    asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue, queue.Queue, queue.LifoQueue, queue.PriorityQueue,
)  # fmt: skip
CHANGES = ("nothing", "put", "get", "done", "get and put", "extend", "replace", "other field")


class Box:
    """An agent with a queue; its items are numbers, since some queues sort them."""

    def __init__(self, make, length):
        self.inbox, self.count = make(), 1
        for number in range(length):
            self.inbox.put_nowait(number)

    def change(self, how, make):
        inbox = self.inbox
        if how in {"get", "get and put", "done"} and inbox.qsize():
            item = inbox.get_nowait()
            if how == "get and put":
                inbox.put_nowait(item)
            elif how == "done":
                inbox.task_done()
        elif how in {"put", "extend"}:
            for number in range(1 if how == "put" else 150):
                inbox.put_nowait(number)
        elif how == "replace":
            self.inbox = make()
        elif how == "other field":
            self.count += 1


@pytest.mark.skipif(native is None, reason="built without its native part")
@given(
    st.sampled_from(QUEUES),
    st.sampled_from((0, 1, 3, 150)),
    st.lists(st.tuples(st.sampled_from(CHANGES), st.sampled_from(QUEUES)), min_size=1, max_size=8),
)
def test_the_native_part_misses_no_change_of_a_queue_and_lets_an_unchanged_one_pass(make, length, changes):
    box = Box(make, length)
    tracker = SimpleNamespace(where_fields_are=lambda _fields: (weakref.ref(box), ()))
    looked = _Looked(SimpleNamespace(tracker=tracker), None)
    looked.take(vars(box))
    for how, other in changes:
        box.change(how, other)
        is_moved = native.moved([looked.compared]) == [0]
        assert is_moved or not looked.moved(vars(box))
        assert not is_moved or how != "nothing"
        looked.take(vars(box))
