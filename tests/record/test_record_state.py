"""What an agent exposes of its state, what of it is recorded when, and how it is put back."""

import collections
import ctypes
import dataclasses
import enum
import functools
import gc
import io
import itertools
import logging
import random
import socket
import threading
import types
import weakref
from array import array
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import attrs
import numpy as np
import orjson
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_kit import recording
from sameness import same
from strategies import hostile_values

from Agent.event.values.digest import digest_named
from Agent.event.values.reading import DEFAULT_LIMITS, Named
from Agent.event.values.values import decode_value, to_json
from Agent.record.emit.pipeline import RecordOptions
from Agent.record.encode.capture import make_judge
from Agent.record.encode.redaction import Redactor
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import read_state, restore_state
from Agent.record.state.tracker import StateTracker
from Agent.record.tracing.state_events import emit_last_states
from Agent.utils import AgentLogger, trace_agent_action


class Colour(enum.Enum):
    RED = 1


class Acting:
    """One traced method that does whatever the test hands in."""

    @trace_agent_action(capture_args=False, capture_result=False)
    def act(self, change=None):
        if change is not None:
            change(self)


class Plain(Acting):
    def __init__(self, **fields):
        self.agent_id = "p"
        vars(self).update(fields)


class Slots(Acting):
    __slots__ = ("__private", "agent_id", "unset", "x")

    def __init__(self, x=1):
        self.agent_id = "s"
        self.x = x
        self.__private = 2


@dataclasses.dataclass
class Data(Acting):
    agent_id: str = "d"
    x: int = 1
    more: list = dataclasses.field(default_factory=list)

    def __post_init__(self):
        self.beside = 5


class Inherited(Acting):
    __slots__ = ("_floor",)


@dataclasses.dataclass(slots=True)
class DataOfSlots(Inherited):
    agent_id: str = "i"
    x: int = 1

    def __post_init__(self):
        self._floor = 3


@dataclasses.dataclass(slots=True)
class DataOfClass(Inherited):
    agent_id: str = "v"
    x: int = 1
    bonus: dataclasses.InitVar[int] = 2
    made: ClassVar[int] = 3

    def __post_init__(self, bonus):
        self.x += bonus


@dataclasses.dataclass(frozen=True)
class FrozenData(Acting):
    agent_id: str = "f"
    x: int = 1


class Model(pydantic.BaseModel):
    agent_id: str = "m"
    x: int = 1

    @trace_agent_action(capture_args=False)
    def act(self, change=None):
        if change is not None:
            change(self)


class TraceState(Acting):
    def __init__(self):
        self.agent_id = "t"
        self.x = 1
        self.hidden = object()

    def trace_state(self):
        return {"x": self.x}

    def trace_restore(self, state):
        self.x = state["x"]


class GetState(Acting):
    def __init__(self):
        self.agent_id = "g"
        self.x = 1

    def __getstate__(self):
        return {"kept": self.x}

    def __setstate__(self, state):
        self.x = state["kept"]


class TupleState(GetState):
    def __getstate__(self):
        return (self.x, "y")

    def __setstate__(self, state):
        self.x = state[0]


class StateNamedState(GetState):
    def __getstate__(self):
        return {"state": self.x}

    def __setstate__(self, state):
        self.x = state["state"]


class Numbers(Acting, array):
    pass


class Grid(Acting, np.ndarray):
    pass


class Page(Acting, io.StringIO):
    pass


class Dice(Acting, random.Random):
    pass


class Broken(Acting, Exception):
    pass


class Shelf(Acting, defaultdict):
    pass


class Pair(Acting, ctypes.Structure):
    _fields_ = (("x", ctypes.c_int),)


@attrs.define
class Lift(Inherited):
    x: int = 0


HELD_IN_C = {
    "array": (lambda: Numbers("i", [1, 2]), lambda it: it.__setitem__(0, 5), {"self": ((5, 2), "i")}),
    "ndarray": (lambda: np.zeros(2).view(Grid), lambda it: it.fill(3), {"self": ((3.0, 3.0), (2,), "float64")}),
    "StringIO": (lambda: Page("a"), lambda it: it.write("bc"), {"self": ("bc", 2)}),
    "Random": (lambda: Dice(1), lambda it: it.seed(2), {"self": random.Random(2).getstate()}),
    "Exception": (lambda: Broken("a"), lambda it: setattr(it, "args", (7,)), {"self": (7,)}),
    "defaultdict": (
        lambda: Shelf(int), lambda it: setattr(it, "default_factory", str), {"self": {}, "default_factory": str},
    ),
    "ctypes": (lambda: Pair(1), lambda it: setattr(it, "x", 258), {"self": b"\x02\x01\0\0"}),
    "attrs with slots of a base": (Lift, lambda it: setattr(it, "_floor", 4), {"x": 0, "_floor": 4}),
}  # fmt: skip


@pytest.mark.parametrize(("make", "change", "expected"), HELD_IN_C.values(), ids=HELD_IN_C)
def test_what_a_base_holds_outside_of_attributes_is_state(make, change, expected):
    agent = make()
    agent.agent_id = "held"
    first = read_state(agent).fields
    with recording() as found:
        agent.act()
        agent.act(change)
        agent.act()
    present = read_state(agent).fields
    assert {name: present[name] for name in expected} == expected
    changed = {name for name in expected if name not in first or first[name] != expected[name]}
    assert changed
    seen = [{*event["state"]["set"]} for event in found.of("agent_action")]
    # 625 numbers are over 4 KiB, which only full states have
    assert seen == [set(), set() if type(agent) is Dice else changed, set()]


def test_what_a_base_holds_is_read_without_code_of_the_agent():
    class Hostile(array):
        typecode = property(lambda self: 1 / 0)

        def __len__(self):
            return 1 // 0

    assert read_state(Hostile("i", [1, 2])).fields == {"self": ((1, 2), "i")}


def test_a_closed_file_in_memory_keeps_what_it_held():
    page = Page("a")
    held = read_state(page).fields["self"]
    page.close()
    assert held == read_state(page).fields["self"] == ("a", 0)


@pytest.mark.parametrize("kind", [float, object])
def test_many_items_of_an_array_are_read_as_they_are(kind):
    grid = np.array([kind() for _ in range(1001)], dtype=kind).view(Grid)
    held = read_state(grid).fields["self"]
    assert type(held) is np.ndarray
    assert held.tolist() == grid.tolist()
    if kind is float:
        grid[0] = 5
        assert read_state(grid).fields["self"] is held  # or other code would seem to have put it there
        assert held[0] == 5
    left = weakref.ref(grid)
    del grid, held
    gc.collect()
    assert left() is None


def test_getstate_of_a_class_in_an_installed_package_is_its_own():
    module = types.ModuleType("installed")
    text = "class Agent:\n    def __init__(self): self.a = self.b = 1\n    def __getstate__(self): return {'a': 1}\n"
    exec(compile(text, f"{Path(attrs.__file__).parent}/made.py", "exec"), vars(module))
    assert read_state(module.Agent()).fields == {"a": 1}


SORTS = {
    "attributes": (lambda: Plain(x=1), {"agent_id": "p", "x": 1}),
    "slots": (Slots, {"agent_id": "s", "x": 1, "_Slots__private": 2}),
    "dataclass": (Data, {"agent_id": "d", "x": 1, "more": [], "beside": 5}),
    "dataclass with slots of a base": (DataOfSlots, {"agent_id": "i", "x": 1, "_floor": 3}),
    "dataclass with attributes of its class": (DataOfClass, {"agent_id": "v", "x": 3}),
    "frozen dataclass": (FrozenData, {"agent_id": "f", "x": 1}),
    "pydantic": (Model, {"agent_id": "m", "x": 1}),
    "trace_state": (TraceState, {"x": 1}),
    "getstate": (GetState, {"kept": 1}),
    "getstate with a tuple": (TupleState, {"__state__": (1, "y")}),
    "getstate with a field named state": (StateNamedState, {"state": 1}),
}


@pytest.mark.parametrize("sort", SORTS)
def test_each_sort_of_class_exposes_its_state(sort):
    make, expected = SORTS[sort]
    exposed = read_state(make())
    assert exposed.fields == expected
    assert exposed.handles == exposed.ignored == ()


@pytest.mark.parametrize("sort", SORTS)
def test_state_that_was_read_can_be_put_back(sort):
    make, _ = SORTS[sort]
    one, other = make(), make()
    if sort != "pydantic":
        object.__setattr__(one, "x", 77)
    else:
        one.x = 77
    restore_state(other, read_state(one).fields)
    assert read_state(other).fields == read_state(one).fields
    assert other.x == 77


@pytest.mark.parametrize("sort", [sort for sort in SORTS if "frozen" not in sort])
def test_only_what_changed_stands_in_an_action(recorded, sort):
    make, _ = SORTS[sort]
    agent = make()
    agent.act()
    agent.act(lambda agent: setattr(agent, "x", 5))
    agent.act()
    nothing, change, again = (event["state"] for event in recorded.of("agent_action"))
    assert nothing == again == {"set": {}, "unset": []}
    assert len(change["set"]) == 1 and change["unset"] == []
    assert "5" in str(change["set"])


def test_a_first_full_state_stands_before_the_first_action(recorded):
    agent = Plain(x=1, when=datetime(2026, 11, 20, tzinfo=UTC), pair=(1, 2))
    agent.act(lambda agent: setattr(agent, "x", 2))
    state, action = recorded.of("state")[0], recorded.only("agent_action")
    assert recorded.events.index(state) < recorded.events.index(action)
    assert state["extra"]["reason"] == "first"
    assert state["extra"]["fields"]["x"] == 1
    assert state["types"]["/extra/fields/pair"] == "tuple"
    assert state["extra"]["class"].endswith(".Plain")
    below = {pointer.removeprefix("/extra/fields"): tag for pointer, tag in state["types"].items()}
    assert state["extra"]["digest"] == digest_named(state["extra"]["fields"], below)


VALUES = {
    "int": (1, 2),
    "bool and int": (True, 1),
    "int and float": (1, 1.0),
    "text": ("a", "b"),
    "none": (None, 0),
    "list": ([1], [1, 2]),
    "nested": ({"a": {"b": [1]}}, {"a": {"b": [2]}}),
    "tuple": ((1,), (1, 2)),
    "list and tuple": ([1], (1,)),
    "set": ({1}, {2}),
    "table": ({(1, 2): 0.5}, {(1, 2): 0.6}),
    "enum": (None, Colour.RED),
    "datetime": (datetime(2026, 1, 1), datetime(2026, 1, 2)),
    "bytes": (b"a", b"b"),
    "decimal": (Decimal("1.0"), Decimal("1.00")),
    "uuid": (UUID(int=1), UUID(int=2)),
    "path": (Path("a"), Path("b")),
    "array": (np.array([1, 2]), np.array([1, 3])),
    "numpy scalar": (np.float32(1), np.float32(2)),
    "nan": (1.0, float("nan")),
    "sign of zero": (0.0, -0.0),
    "nan in a list": ([1.0, None], [1.0, float("nan")]),
    "infinity": (float("inf"), float("-inf")),
    "dataclass": (dataclasses.make_dataclass("Made", ["a"])(1), None),
    "surrogate": ("\udcff", "\udcfe"),
    "big int": (2**80, 2**81),
}


@pytest.mark.first_case
@pytest.mark.parametrize("name", VALUES)
def test_a_change_of_any_value_is_seen_and_no_change_is_not(recorded, name):
    before, after = VALUES[name]
    agent = Plain(v=before)
    agent.act()
    agent.act(lambda agent: setattr(agent, "v", after))
    agent.act()
    agent.act(lambda agent: setattr(agent, "v", before))
    seen = [event["state"] for event in recorded.of("agent_action")]
    assert [list(state["set"]) for state in seen] == [[], ["v"], [], ["v"]]
    assert not recorded.health.notes and not recorded.health.dropped


def test_a_change_inside_a_container_is_seen(recorded):
    agent = Plain(deep={"a": [{"b": 1}], "s": {1}}, queue=[(1, 2)])
    agent.act()
    agent.act(lambda agent: agent.deep["a"][0].update(b=2))
    agent.act(lambda agent: agent.deep["s"].add(5))
    agent.act(lambda agent: agent.queue.append((3, 4)))
    assert [list(event["state"]["set"]) for event in recorded.of("agent_action")] == [
        [],
        ["deep"],
        ["deep"],
        ["queue"],
    ]


def test_what_is_recorded_of_a_change_shares_nothing_with_the_agent(recorded):
    agent = Plain(rows=[1])
    agent.act(lambda agent: agent.rows.append(2))
    agent.rows.append(3)
    assert recorded.only("agent_action")["state"]["set"] == {"rows": [1, 2]}


def test_a_nan_that_stays_is_no_change(recorded):
    agent = Plain(v=float("nan"), rows=[float("nan")])
    for _ in range(3):
        agent.act(lambda agent: setattr(agent, "v", float("nan")))
    assert all(event["state"]["set"] == {} for event in recorded.of("agent_action"))


def test_a_field_that_goes_is_unset(recorded):
    agent = Plain(x=1, rows=[1], large="y" * 10_000, rng=random.Random(1))
    agent.act()
    for name in ("x", "rows", "large", "rng"):
        agent.act(lambda agent, name=name: delattr(agent, name))
    assert [event["state"]["unset"] for event in recorded.of("agent_action")] == [
        [],
        ["x"],
        ["rows"],
        ["large"],
        ["rng"],
    ]


def test_a_new_field_is_set(recorded):
    agent = Plain()
    agent.act(lambda agent: setattr(agent, "new", [1, (2,)]))
    action = recorded.only("agent_action")
    assert action["state"]["set"] == {"new": [1, [2]]}
    assert action["types"] == {"/state/set/new/1": "tuple"}


def test_large_fields_and_generators_stand_only_in_full_states():
    with recording(RecordOptions(state_period=3)) as found:
        agent = Plain(
            large=list(range(3000)), text="y" * 5000, rng=random.Random(1), np_rng=np.random.default_rng(1)
        )

        def change(agent):
            agent.large.append(1)
            agent.text += "z"
            agent.rng.random()
            agent.np_rng.random()

        for _ in range(4):
            agent.act(change)
        states = [event["state"] for event in found.of("agent_action")]
        assert all((state["set"], state["unset"]) == ({}, []) for state in states)
        assert all(sorted(state["drew"]) == ["np_rng", "rng"] for state in states)
        assert len({state["drew"]["rng"] for state in states}) == len(states)
        first, *others, periodic = found.of("state")
        assert [each["extra"]["reason"] for each in (first, *others, periodic)] == ["first"] + 3 * [
            "periodic"
        ]
        assert [len(each["extra"]["fields"]["large"]) for each in others] == [3001, 3002]
        assert len(periodic["extra"]["fields"]["large"]) == 3003
        assert periodic["extra"]["fields"]["rng"] != first["extra"]["fields"]["rng"]
        assert periodic["types"]["/extra/fields/rng"] == "random.Random"
        assert periodic["extra"]["digest"] != first["extra"]["digest"]


def test_a_field_that_shrinks_to_a_scalar_is_seen_and_then_followed(recorded):
    agent = Plain(v="y" * 10_000)
    agent.act()
    agent.act(lambda agent: setattr(agent, "v", 1))
    agent.act(lambda agent: setattr(agent, "v", [1]))
    agent.act(lambda agent: agent.v.append(2))
    assert [event["state"]["set"] for event in recorded.of("agent_action")] == [
        {},
        {"v": 1},
        {"v": [1]},
        {"v": [1, 2]},
    ]


def test_full_states_come_every_so_often_on_error_and_at_the_end():
    with recording(RecordOptions(state_period=4)) as found:
        agent = Plain(x=0)

        def fail(agent):
            agent.x += 1
            raise ValueError("x")

        for number in range(9):
            agent.act(lambda agent: setattr(agent, "x", agent.x + 1))
            if number == 5:
                with pytest.raises(ValueError, match="x"):
                    agent.act(fail)
        emit_last_states(found.pipeline)
        reasons = [event["extra"]["reason"] for event in found.of("state")]
        assert reasons == ["first", "periodic", "error", "periodic", "exit"]
        assert found.of("state")[-1]["extra"]["fields"]["x"] == 10


@pytest.mark.first_case
@pytest.mark.parametrize("seed", range(5))
def test_the_deltas_fold_to_the_full_states(seed):
    """What replay and analysis rely on: first state and the changes give every later full state."""
    chance = random.Random(seed)
    with recording(RecordOptions(state_period=7)) as found:
        agent = Plain(a=0, b=[1], c=None)

        def change(agent):
            kind = chance.randrange(5)
            if kind == 0:
                agent.a = chance.choice([None, 1, 2.5, "x", float("nan"), True])
            elif kind == 1:
                agent.b.append(chance.randrange(9))
            elif kind == 2:
                setattr(agent, chance.choice("defg"), chance.choice([1, [1], {"k": (1,)}, {1}]))
            elif kind == 3:
                vars(agent).pop(chance.choice("cdefg"), None)
            else:
                agent.c = chance.choice([None, print, threading.Lock(), 3, {"x": 1}])

        for _ in range(200):
            agent.act(change)
        emit_last_states(found.pipeline)
        fields, checked = {}, 0
        for event in found.events:
            if event["extra"]["event_type"] == "state":
                if fields:
                    assert fields == event["extra"]["fields"]
                    checked += 1
                fields = dict(event["extra"]["fields"])
            elif event["extra"]["event_type"] == "agent_action":
                fields.update(event["state"]["set"])
                for name in event["state"]["unset"]:
                    del fields[name]
        assert checked > 20


def test_strict_mode_notices_writes_from_outside():
    with recording(RecordOptions(strict_state=True)) as found:
        agent = Plain(x=1, y=1)
        agent.act()
        agent.x = 5
        del agent.y
        agent.act()
        change = found.only("state_change")
        assert change["extra"]["trigger"] == "outside"
        assert change["extra"]["changed"] == {"x": 5} and change["extra"]["unset"] == ["y"]
        assert found.of("agent_action")[1]["state"] == {"set": {}, "unset": []}


def test_strict_can_be_asked_for_by_one_decorator(recorded):
    class Strict(Plain):
        @trace_agent_action(state="strict")
        def look(self):
            return 1

    agent = Strict(x=bytearray(b"a"))
    for _ in range(9):  # the first actions begin with a look anyway
        agent.look()
    agent.x.append(2)  # it is encoded to be compared, so that without strict it is not looked at each time
    agent.act()
    agent.x.append(3)
    agent.look()
    assert [event["extra"]["changed"].keys() for event in recorded.of("state_change")] == [{"x"}]


def test_other_agents_are_named_not_held(recorded):
    peer = Plain()
    peer.agent_id = "peer"
    agent = Plain(friend=peer, friends=[peer, peer], by_name={"p": peer})
    agent.act(lambda agent: setattr(agent, "best", peer))
    fields = recorded.of("state")[0]
    assert fields["extra"]["fields"] == {
        "agent_id": "p",
        "friend": "peer",
        "friends": ["peer", "peer"],
        "by_name": {"p": "peer"},
    }
    assert fields["types"]["/extra/fields/friend"] == "agent"
    assert recorded.only("agent_action")["state"]["set"] == {"best": "peer"}


def test_an_agent_that_knows_itself_is_no_loop(recorded):
    agent = Plain()
    agent.me = agent
    agent.us = [agent]
    agent.act()
    assert recorded.of("state")[0]["extra"]["fields"]["us"] == ["p"]


@dataclasses.dataclass
class Like:
    agent_id: str
    content_id: str


def test_a_value_that_names_an_agent_is_still_a_value(recorded):
    agent = Plain(last=Like("other", "c1"))
    agent.act()
    AgentLogger("p").log_action("take", {"like": Like("other", "c2")})
    assert recorded.of("state")[0]["extra"]["fields"]["last"] == {"agent_id": "other", "content_id": "c1"}
    assert recorded.last["extra"]["action_data"]["like"] == {"agent_id": "other", "content_id": "c2"}


def test_functions_classes_and_modules_are_state_and_handles_are_listed(recorded):
    agent = Plain(
        logger=AgentLogger("p"), other=logging.getLogger("x"), call=print, own=lambda: 1, lock=threading.Lock(),
        module=random, kind=int, thread=threading.current_thread(), x=1,
    )  # fmt: skip
    agent.act()
    state = recorded.of("state")[0]["extra"]
    assert state["fields"].keys() == {"agent_id", "x", "call", "own", "module", "kind"}
    assert state["fields"]["module"]["reference"] == "module random"
    assert state["fields"]["kind"]["reference"] == "class builtins.int"
    assert state["fields"]["call"]["digest"].startswith("c1:")
    assert sorted(state["handles"]) == ["lock", "logger", "other", "thread"]
    assert "unseen" not in state


def test_what_cannot_be_seen_is_named_with_its_reason(recorded):
    pointer = ctypes.pointer(ctypes.c_int(1))
    with socket.socket() as connection:
        agent = Plain(connection=connection, pointer=pointer, iterator=iter([1]), holder=[object()], x=1)
        agent.act()
        agent.act(lambda agent: setattr(agent, "later", connection))
        state = recorded.of("state")[0]["extra"]
        assert state["unseen"] == ["pointer"]
        assert "pointers" in state["fields"]["pointer"]["unseen"]
        assert state["opaque"] == ["holder", "iterator", "pointer"]
        assert state["handles"] == ["connection"]
        assert all(event["state"]["set"] == {} for event in recorded.of("agent_action"))


def test_what_an_action_changes_inside_an_object_without_a_codec_is_recorded(recorded):
    class Box:
        def __init__(self, inside):
            self.inside = inside

    agent = Plain(box=Box([1]), call=len)
    agent.act()
    agent.act(lambda agent: agent.box.inside.append(2))
    agent.act(lambda agent: setattr(agent, "call", print))
    agent.act()
    changed = [set(event["state"]["set"]) for event in recorded.of("agent_action")]
    assert changed == [set(), {"box"}, {"call"}, set()]


def test_a_field_that_becomes_a_handle_is_unset(recorded):
    agent = Plain(callback=None, held={"x": 1})
    agent.act()
    agent.act(lambda agent: setattr(agent, "callback", threading.Lock()))
    agent.act()
    agent.act(lambda agent: setattr(agent, "callback", None))
    states = [event["state"] for event in recorded.of("agent_action")]
    assert [state["unset"] for state in states] == [[], ["callback"], [], []]
    assert states[-1]["set"] == {"callback": None}


def test_a_field_that_a_class_asks_to_ignore_is_listed_and_not_recorded(recorded):
    class Ignoring(Plain):
        trace_ignore = ("cache",)

    agent = Ignoring(cache=object(), x=1)
    agent.act()
    state = recorded.of("state")[0]["extra"]
    assert "cache" not in state["fields"] and state["ignored"] == ["cache"]


def test_an_object_that_two_agents_hold_stands_in_the_state_of_the_first(recorded):
    class Board:
        def __init__(self):
            self.notes = []

    board = Board()
    one, other = Plain(board=board, agent_id="one"), Plain(board=board, agent_id="other")
    one.act()
    other.act()
    first, second = (event["extra"] for event in recorded.of("state"))
    assert first["fields"]["board"]["digest"]
    assert second["fields"]["board"]["reference"] == "shared with one"
    assert second["shared_objects"] == {"board": "one"}


def test_what_a_class_holds_beside_its_code_is_its_state(recorded):
    @dataclasses.dataclass
    class Deciding(Acting):
        default: int = 1
        shared: ClassVar[int] = 2

        class Inside:
            pass

        @property
        def look(self):
            return 1

    Deciding.policy, Deciding.kept, Deciding.seen = Plain, [3], property(len)
    agent = Deciding()
    agent.agent_id = "p"
    agent.act()
    assert set(recorded.of("state")[0]["extra"]["class_fields"]) == {"shared", "policy", "kept", "seen"}


def test_a_large_object_that_leads_to_other_agents_is_an_environment(recorded):
    class World:
        pass

    agent, world = Plain(), World()
    world.cells = [World() for _ in range(600)]
    world.agents = [Plain(agent_id="other")]
    agent.world = world
    agent.act()
    form = recorded.of("state")[0]["extra"]["fields"]["world"]
    assert form["reference"].startswith("environment ")


def test_a_class_whose_module_only_begins_like_one_of_ours_is_state(recorded):
    made = dataclasses.make_dataclass("Inner", ["a"])
    made.__module__ = "threading_of_the_user"
    agent = Plain(inner=made(1))
    agent.act()
    assert recorded.of("state")[0]["extra"]["fields"]["inner"] == {"a": 1}


def test_a_generator_that_two_agents_hold_is_named_at_both():
    with recording(RecordOptions(state_period=1)) as found:
        rng = random.Random(1)
        one, other = Plain(rng=rng, own=random.Random(2)), Plain(rng=rng)
        other.agent_id = "q"
        one.act()
        other.act()
        one.act()
        first, second, third = (event["extra"] for event in found.of("state"))
        assert "shared" not in first
        assert second["shared"] == ["rng"] and third["shared"] == ["rng"]


def test_a_generator_is_put_back_in_place():
    for make in (
        lambda: random.Random(3),
        lambda: np.random.default_rng(3),
        lambda: np.random.RandomState(3),
    ):
        one, other = Plain(rng=make()), Plain(rng=make())
        kept = other.rng
        one.rng.random()
        restore_state(other, read_state(one).fields)
        assert other.rng is kept
        assert other.rng.random() == one.rng.random()


class ManyThings(Acting):
    def trace_state(self):
        raise RuntimeError("not now")


@pytest.mark.parametrize(
    "answer", [RuntimeError("not now"), None, 5, [1, 2], {1: 2, (3,): 4}, {"a": object()}]
)
def test_a_trace_state_of_any_sort_costs_no_action(recorded, answer):
    class Odd(Acting):
        agent_id = "odd"

        def trace_state(self):
            if isinstance(answer, Exception):
                raise answer
            return answer

    agent = Odd()
    for _ in range(3):
        agent.act()
    with pytest.raises(KeyError):
        agent.act(lambda agent: {}["x"])
    emit_last_states(recorded.pipeline)
    assert len(recorded.of("agent_action")) == 4
    assert not recorded.health.dropped
    assert bool(recorded.health.notes) == isinstance(answer, Exception)


def test_secrets_in_state_are_redacted_everywhere(recorded):
    agent = Plain(password="hunter2-xyz", config={"api_key": "hunter2-xyz"})
    agent.act(lambda agent: agent.config.update(token="hunter2-xyz"))
    agent.act(lambda agent: setattr(agent, "password", "hunter2-xyz-changed"))
    emit_last_states(recorded.pipeline)
    assert "hunter2" not in recorded.text
    assert recorded.of("agent_action")[1]["state"]["set"]["password"].startswith("[redacted:")


@given(
    st.dictionaries(
        st.text("abcdefgh", min_size=1, max_size=3).map(lambda name: f"f_{name}"),
        st.recursive(
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(),
                st.text(max_size=20),
                st.binary(max_size=5),
            ),
            lambda values: (
                st.lists(values, max_size=3)
                | st.tuples(values, values)
                | st.dictionaries(st.text(max_size=3), values, max_size=3)
            ),
            max_leaves=6,
        ),
        max_size=5,
    )
)
def test_any_state_comes_back_as_it_was(fields):
    with recording(redact=False) as found:
        agent = Plain(**fields)
        agent.act()
        state = found.of("state")[0]
        restored = decode_value(state["extra"]["fields"], state.get("types"), "/extra/fields")
        other = Plain()
        restore_state(other, restored)
        assert same(vars(other), vars(agent))


# JSON alone does not tell these apart.
_ALIKE = ([[1]], [(1,)], [UUID(int=1)], [str(UUID(int=1))], [None], [float("nan")], {"a": [1]}, {"a": (1,)})
_FIELD_VALUES = hostile_values | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "password"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_STATES = st.fixed_dictionaries({"w": st.sampled_from(_ALIKE)}) | st.dictionaries(
    st.sampled_from(["x", "y", "z"]), _FIELD_VALUES, max_size=3
)


@given(st.lists(_STATES, min_size=1, max_size=8), st.lists(st.sampled_from("abc"), max_size=3))
def test_the_judge_finds_the_changes_that_the_walk_finds(states, learned):
    """Which of the two looks at a value may change from one action to the next: keys become known."""
    redactor = Redactor(b"key")
    judge = make_judge(redactor, DEFAULT_LIMITS)
    judged, walked = Plain(), Plain()
    slow = types.SimpleNamespace(value=lambda _: None, tagged=lambda *_: None)
    by_judge = StateTracker(judged, lambda _: None, None, judge, None)
    by_walk = StateTracker(walked, lambda _: None, None, slow, None)
    for number, fields in enumerate(states):
        for agent in (judged, walked):
            vars(agent).clear()
            vars(agent).update(fields)
        redactor.known_keys.update(learned[:number])
        found, expected = by_judge.changes(judged), by_walk.changes(walked)
        assert (list(found[0]), found[1]) == (list(expected[0]), expected[1])
        assert all(found[0][name] is fields[name] for name in found[0])
        assert by_judge.heavy == by_walk.heavy


def test_no_secret_in_what_is_kept_of_an_object_reaches_a_line(recorded):
    class Inner:
        def __init__(self):
            self.api_key, self.rows = "zq8Kx2mPv91LtRw4", [1, 2]

    class Connection:
        def __init__(self):
            self.password, self.items, self.inner = "hunter2secretXY77", [1], Inner()
            self.notes = ["token=ghp_R7xQ2mLv9TzKc4WnB8yHs5JdPf3Ag6Ue1MoX"]

    agent = Plain(connection=Connection())
    agent.act(lambda agent: agent.connection.items.append(2))
    told = repr(recorded.of("state") + recorded.of("agent_action"))
    assert "'rows': [1, 2]" in told
    assert not any(secret in told for secret in ("zq8Kx2mPv91", "hunter2secret", "ghp_R7xQ2mLv"))


def test_a_base_of_another_library_does_not_say_what_the_state_is():
    class Keeper:
        """Keeps the arguments of the constructor alone, as gymnasium's EzPickle does."""

        __module__ = "somebody.elses"

        def __getstate__(self):
            return {"args": []}

    class Board(Keeper):
        def __init__(self):
            self.cells = [0]

    class Own(Keeper):
        def __getstate__(self):
            return {"all": self.cells}

    own = Own()
    own.cells = [1]
    assert read_state(Board()).fields == {"cells": [0]}
    assert read_state(own).fields == {"all": [1]}


def test_an_object_whose_class_is_renamed_replaced_or_loaded_again_is_shown_with_its_present_class(recorded):
    def made(name):
        return type(name, (), {"__module__": "world", "__init__": lambda self: setattr(self, "n", [1])})

    class Visitor(Acting):
        def __init__(self, agent_id, place):
            self.agent_id, self.place = agent_id, place

    old, other = made("Place"), made("Other")
    place = old()
    Visitor("a", place).act()
    old.__qualname__ = "Renamed"
    Visitor("b", old()).act()
    place.__class__ = other
    Visitor("c", place).act()
    Visitor("d", made("Place")()).act()
    first = [event["extra"] for event in recorded.of("state") if event["extra"]["reason"] == "first"]
    shown = [extra["fields"]["place"]["class"] for extra in first]
    assert shown == ["world.Place", "world.Renamed", "world.Other", "world.Place"]


def test_a_small_object_in_a_field_is_compared_by_what_the_codec_writes(recorded):
    class Plan:
        def __init__(self, **attributes):
            self.__dict__.update(attributes)

    class Slotted:
        __slots__ = ("n",)

    slotted = Slotted()
    slotted.n = 1
    values = [
        *(Plan(n=1), Plan(n=1, text="a", none=None, share=0.5), Plan(text="x" * 3_000), Plan(), slotted),
        *(
            Plan(big=2**70),
            Plan(text="\ud800"),
            Plan(share=float("nan")),
            Plan(inner=[1]),
            Plan(agent_id="a"),
        ),
        *(
            Plan(**{f"a{n}": n for n in range(40)}),
            Plan(password="hunter2222"),
            Named(Plan(n=1), "x"),
            3,
            None,
        ),
    ]
    agent = Acting()
    tracker = StateTracker(agent, agent_id_of, "a", recorded.pipeline.capture.judge, None)
    described = 0
    for value in values:
        small = tracker._small_object("plan", value, agent_id_of)
        if small is not None:
            described += 1
            whole = to_json(value, "", agent_of=agent_id_of)
            assert small == whole.json + orjson.dumps(whole.types)
            assert tracker.forms["plan"] == (whole.attributes, whole.json)
    assert described >= 4


def test_what_a_class_holds_is_encoded_again_where_it_changed(recorded):
    class Counting(Acting):
        numbers, limits, name = itertools.count(1), {"low": 1}, "first"

        def __init__(self, agent_id):
            self.agent_id = agent_id

    changes = [
        lambda: None,
        lambda: next(Counting.numbers),
        lambda: Counting.limits.update(low=2),
        lambda: setattr(Counting, "name", "second"),
        lambda: setattr(Counting, "more", 1),
        lambda: delattr(Counting, "more"),
    ]
    agents = [Counting(f"a{number}") for number in range(len(changes))]
    for agent, change in zip(agents, changes, strict=True):
        change()
        agent.act()
    shown = [event["extra"]["class_fields"] for event in recorded.of("state")]
    assert [fields["numbers"]["content"]["parts"] for fields in shown] == [[1], [2], [2], [2], [2], [2]]
    assert [fields["limits"]["low"] for fields in shown] == [1, 1, 2, 2, 2, 2]
    assert [fields["name"] for fields in shown] == ["first"] * 3 + ["second"] * 3
    assert [fields.get("more") for fields in shown] == [None] * 4 + [1, None]


def test_what_a_class_holds_is_right_after_many_changes_and_after_none(recorded):
    class Counting(Acting):
        ids = collections.defaultdict(functools.partial(itertools.count, 1))
        limit = 1

        def __init__(self, agent_id):
            self.agent_id = agent_id

    told = []
    for number in range(60):
        if number < 20 or number == 50:
            next(Counting.ids["world"])  # as each new agent does in Mesa
        if number == 55:
            Counting.limit = 2
        Counting(f"a{number}").act()
        told.append((Counting.ids["world"].__reduce__()[1], Counting.limit))
    shown = [event["extra"]["class_fields"] for event in recorded.of("state")]
    assert [(tuple(fields["ids"]["world"]["content"]["parts"]), fields["limit"]) for fields in shown] == told


def test_of_many_agents_of_a_class_some_first_states_and_all_later_ones_have_its_data(recorded):
    class Counting(Acting):
        ids = itertools.count(1)

        def __init__(self, agent_id):
            self.agent_id = agent_id

    agents = [Counting(f"a{number}") for number in range(200)]
    for agent in agents:
        agent.act()
    states = recorded.of("state")
    assert [number for number, event in enumerate(states) if "class_fields" in event["extra"]] == [
        *range(65),
        128,
        192,
    ]
    emit_last_states(recorded.pipeline)
    later = recorded.of("state")[len(states) :]
    assert later and all("class_fields" in event["extra"] for event in later)


class Nest(list):
    """An agent that is a list."""


class Bare(list):
    __slots__ = ()


def test_the_members_of_a_container_are_one_object_that_does_not_keep_the_agent_alive():
    nest = Nest([1, 2])
    members = read_state(nest).fields["self"]
    nest.append(3)
    assert read_state(nest).fields["self"] is members
    assert (members, type(members)) == ([1, 2, 3], list)
    assert read_state(Bare([1])).fields == {"self": [1]}
    nest.append([nest])
    assert read_state(nest).fields["self"] == [1, 2, 3, [nest]]
    seen = weakref.ref(nest)
    nest.clear()
    read_state(nest)
    nest.append({"mother": nest})
    read_state(nest)
    del nest
    gc.collect()
    assert seen() is None


def test_many_members_that_are_objects_are_not_read():
    nest = Nest([[number] for number in range(64)])
    assert len(read_state(nest).fields["self"]) == 64
    nest.append([64])
    assert read_state(nest).fields == {}
