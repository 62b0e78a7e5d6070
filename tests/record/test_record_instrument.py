"""Tracing classes and objects that nobody may edit."""

import asyncio
import inspect
import logging
import weakref
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent import instrument
from Agent.errors import ConfigurationError
from Agent.record.encode.native import native
from Agent.record.state import agents
from Agent.record.state.identity import clear_identity
from Agent.record.state.introspection import read_state
from Agent.utils import trace_agent_action


class Walker:
    """Stands for a third party's class."""

    def __init__(self, unique_id, speed=1):
        self.unique_id = unique_id
        self.speed = speed
        self.place = 0

    def step(self, by=1):
        self.place += by * self.speed
        return self.place

    async def rest(self):
        await asyncio.sleep(0)
        return "rested"

    @staticmethod
    def measure(distance):
        return distance * 2

    @classmethod
    def make(cls, unique_id):
        return cls(unique_id)

    def places(self):
        yield self.place

    @property
    def far(self):
        return self.place > 10


class Runner(Walker):
    def __init__(self, unique_id, speed=3, *, shoes="red"):
        super().__init__(unique_id, speed)
        self.shoes = shoes

    def step(self, by=1):
        super().step(by)
        return super().step(by)


@pytest.fixture
def fresh():
    """Classes of their own for each test."""

    class FreshWalker(Walker):
        pass

    return FreshWalker


class Magic:
    """All that it holds is behind `__getattr__`."""

    def __init__(self, **values):
        object.__setattr__(self, "values", values)

    def __getattr__(self, name):
        try:
            return object.__getattribute__(self, "values")[name]
        except KeyError:
            raise AttributeError(name) from None

    @trace_agent_action
    def act(self, other=None):
        return other


class MagicProxy:
    def __init__(self, behind):
        self.behind = behind

    def __getattr__(self, name):
        return getattr(self.behind, name)


def test_an_agent_whose_name_comes_from_getattr_is_named(recorded):
    agent = Magic(agent_id="ann", agent_role="tester")
    agent.act(agent)
    event = recorded.only("agent_action")
    assert (event["extra"]["agent_id"], event["extra"]["agent_role"]) == ("ann", "tester")
    assert event["extra"]["args"] == {"other": "ann"}


def test_no_role_is_made_up_by_an_object_that_answers_anything(recorded):
    class Stub:
        def __init__(self):
            self.agent_id = "stub"

        def __getattr__(self, name):
            asked.append(name)
            if name.startswith("__"):
                raise AttributeError(name)
            return lambda *_args: name

        @trace_agent_action
        def act(self):
            return self.answer()

    asked = []
    Stub().act()
    event = recorded.only("agent_action")
    assert not {"agent_role", "logger"}.intersection(asked), "a proxy would ask another process"
    assert (event["extra"]["agent_id"], event["logger"]) == ("stub", "agent")
    assert "agent_role" not in event["extra"]


def test_an_invented_name_and_a_proxy_without_traced_methods_are_no_agent(recorded):
    Magic(agent_id=object()).act(MagicProxy(Magic(agent_id="ann")))
    event = recorded.only("agent_action")
    assert "agent_id" not in event["extra"]
    assert event["extra"]["args"] != {"other": "ann"}


def test_each_step_of_each_object_is_recorded(recorded, fresh):
    with instrument(fresh, methods=["step"], agent_id="unique_id"):
        walkers = [fresh(number) for number in range(3)]
        for walker in walkers:
            walker.step()
            walker.step(by=2)
    events = recorded.of("agent_action")
    assert [event["extra"]["agent_id"] for event in events] == ["0", "0", "1", "1", "2", "2"]
    assert [event["extra"]["args"] for event in events[:2]] == [{}, {"by": 2}]
    assert [event["extra"]["result"] for event in events[:2]] == [1, 3]
    assert {event["extra"]["agent_role"] for event in events} == {"FreshWalker"}
    assert {event["extra"]["call"] for event in events} == {"Walker.step"}


def test_undoing_leaves_the_class_as_it_was(recorded, fresh):
    before = dict(vars(fresh))
    done = instrument(fresh, methods=["step", "rest", "measure", "make"], agent_id="unique_id", state=vars)
    assert dict(vars(fresh)) != before
    done.undo()
    assert dict(vars(fresh)) == before
    walker = fresh(1)
    walker.step()
    assert recorded.events == []
    assert read_state(walker).fields == {"unique_id": 1, "speed": 1, "place": 1}
    done.undo()


@pytest.mark.parametrize(
    ("agent_id", "expected"),
    [("unique_id", "7"), (lambda walker: f"w{walker.unique_id}", "w7"), (None, "7")],
)
def test_an_agent_is_named_by_attribute_or_function(recorded, fresh, agent_id, expected):
    with instrument(fresh, methods=["step"], agent_id=agent_id, agent_role="walker"):
        fresh(7).step()
    event = recorded.only("agent_action")
    assert (event["extra"]["agent_id"], event["extra"]["agent_role"]) == (expected, "walker")


def test_without_any_name_the_class_is_the_name(recorded):
    class Nameless:
        def act(self):
            return 1

    with instrument(Nameless, methods=["act"]):
        Nameless().act()
    assert recorded.only("agent_action")["extra"]["agent_id"] == "Nameless"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"id": 3, "name": "ann"}, "3"), ({"id": "a-3"}, "a-3"), ({"id": None, "name": "ann"}, "ann"),
        ({"unique_id": 5, "id": 3}, "5"), ({"agent_id": "x", "id": 3}, "x"), ({"id": True, "name": ""}, "Other"),
        ({"id": [3], "name": b"ann"}, "Other"),
    ],
)  # fmt: skip
def test_usual_attributes_name_an_agent(recorded, attributes, expected):
    class Other:
        def act(self):
            return 1

    other = Other()
    vars(other).update(attributes)
    with instrument(Other, methods=["act"]):
        other.act()
    assert recorded.only("agent_action")["extra"]["agent_id"] == expected


def test_an_object_that_answers_anything_is_named_by_what_it_has(recorded):
    class Proxy:
        def __getattr__(self, name):
            return (
                f"made up: {name}" if name in {"agent_id", "logger"} else object.__getattribute__(self, name)
            )

        def act(self):
            return 1

    proxy = Proxy()
    proxy.id = 4
    with instrument(Proxy, methods=["act"]):
        proxy.act()
    assert recorded.only("agent_action")["extra"]["agent_id"] == "4"


def test_objects_that_count_as_one_agent_are_told_of_once(recorded, capfd):
    class Alike:
        def act(self):
            return 1

    with instrument(Alike, methods=["act"]):
        first = Alike()
        first.act()
        first.act()
        assert capfd.readouterr().err == ""
        kept = [Alike() for _ in range(3)]
        for each in kept:
            each.act()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("agent-trace: objects of Alike have no agent_id") and "agent_id=" in line
    assert {event["extra"]["agent_id"] for event in recorded.of("agent_action")} == {"Alike"}


def test_objects_that_are_to_have_the_name_of_their_class_are_not_told_of(recorded, capfd):
    class Chosen:
        def act(self):
            return 1

    class Worker:
        agent_id = "Worker"

        @trace_agent_action
        def act(self):
            return 1

    with instrument(Chosen, methods=["act"], agent_id=lambda each: type(each).__name__):
        for cls in (Chosen, Worker, Chosen, Worker):
            cls().act()
    assert capfd.readouterr().err == ""
    assert {event["extra"]["agent_id"] for event in recorded.of("agent_action")} == {"Chosen", "Worker"}


def test_actions_of_objects_that_are_no_agents_are_told_of_once(recorded, capfd):
    class Nobody:
        @trace_agent_action
        def act(self):
            return 1

    class Somebody:
        agent_id = "s"

        @trace_agent_action
        def ask(self, other):
            return other.act()

        @classmethod
        @trace_agent_action
        def make(cls):
            return cls()

    Somebody.make().ask(Nobody())
    assert capfd.readouterr().err == ""
    Nobody().act()
    Nobody().act()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("agent-trace: Nobody has no agent_id: ")


def test_a_class_that_does_not_say_its_name_is_recorded_and_told_of(recorded, capfd):
    class Hidden(type):
        @property
        def __name__(cls):
            raise RuntimeError("no name")

    class Nobody(metaclass=Hidden):
        @trace_agent_action
        def act(self):
            return 1

    assert Nobody().act() == 1
    assert recorded.only("agent_action")["extra"]["result"] == 1
    assert capfd.readouterr().err.startswith("agent-trace: Nobody has no agent_id: ")


@pytest.mark.parametrize("agent_id", ["missing", lambda walker: walker.missing, lambda walker: 1 / 0])
def test_a_name_that_cannot_be_found_costs_the_agent_not_the_call(recorded, fresh, agent_id):
    with instrument(fresh, methods=["step"], agent_id=agent_id):
        assert fresh(7).step() == 1
    assert "agent_id" not in recorded.only("agent_action")["extra"]


def test_one_object_alone_can_be_traced(recorded, fresh):
    one, other = fresh(1), fresh(2)
    with instrument(one, methods=["step"], agent_id="unique_id"):
        one.step()
        other.step()
    one.step()
    assert recorded.only("agent_action")["extra"]["agent_id"] == "1"
    assert "step" not in vars(one)


@pytest.mark.parametrize("whole", [True, False])
def test_methods_of_every_sort_keep_working(recorded, fresh, whole):
    walker = fresh(5)
    with instrument(
        fresh if whole else walker, methods=["step", "rest", "measure", "make"], agent_id="unique_id"
    ):
        assert walker.step(2) == 2
        assert asyncio.run(walker.rest()) == "rested"
        assert walker.measure(4) == 8
        assert walker.make(9).unique_id == 9
        assert inspect.signature(walker.step) == inspect.signature(Walker(1).step)
    events = {event["extra"]["action_type"]: event["extra"] for event in recorded.of("agent_action")}
    assert events["step"]["args"] == {"by": 2} and events["step"]["agent_id"] == "5"
    assert events["rest"]["result"] == "rested"
    assert events["measure"]["args"] == {"distance": 4}
    assert events["make"]["args"] == {"unique_id": 9}


def test_a_function_that_stands_in_the_object_itself_is_traced(recorded, fresh):
    walker = fresh(5)
    walker.act = lambda x: x + 1
    with instrument(walker, methods=["act"], agent_id="unique_id"):
        assert walker.act(1) == 2
    assert walker.act(1) == 2
    event = recorded.only("agent_action")
    assert event["extra"]["agent_id"] == "5" and event["extra"]["args"] == {"x": 1}


def test_doing_it_twice_records_once(recorded, fresh):
    walker = fresh(5)
    with instrument(fresh, methods=["step"], agent_id="unique_id"):
        with instrument(fresh, methods=["step", "rest"], agent_id="unique_id"):
            walker.step()
        with instrument(walker, methods=["step"], agent_id="unique_id"):
            walker.step()
        walker.step()
    assert len(recorded.of("agent_action")) == 3
    assert {event["extra"]["agent_id"] for event in recorded.of("agent_action")} == {"5"}


def test_a_decorated_method_is_not_traced_twice(recorded):
    class Decorated:
        agent_id = "d"

        @trace_agent_action
        def act(self):
            return 1

    with instrument(Decorated, methods=["act"]):
        Decorated().act()
    assert len(recorded.of("agent_action")) == 1


def test_a_subclass_that_calls_its_base_nests(recorded):
    with (
        instrument(Walker, methods=["step"], agent_id="unique_id"),
        instrument(Runner, methods=["step"], agent_id="unique_id"),
    ):
        assert Runner("r").step() == 6
    inner_one, inner_two, outer = recorded.of("agent_action")
    assert inner_one["parent_span_id"] == inner_two["parent_span_id"] == outer["span_id"]
    assert (inner_one["extra"]["call"], outer["extra"]["call"]) == ("Walker.step", "Runner.step")
    assert outer["state"]["set"] == {"place": 6}


def test_objects_of_a_subclass_are_agents_too(recorded):
    with instrument(
        Walker, methods=["step"], agent_id="unique_id", agent_role="walker", state=lambda w: {"at": w.place}
    ):
        Runner("r").step()
    assert [event["extra"]["agent_id"] for event in recorded.of("agent_action")] == ["r", "r"]
    assert recorded.of("state")[0]["extra"]["fields"] == {"at": 0}
    assert "init" not in recorded.of("state")[0]["extra"]


def test_constructor_arguments_stand_in_the_first_state(recorded, fresh):
    with instrument(fresh, methods=["step"], agent_id="unique_id"):
        walker = fresh(7, speed=(2, 3)[0])
        for _ in range(3):
            walker.step()
    state = recorded.only("state")
    assert state["extra"]["init"] == {"args": [7], "kwargs": {"speed": 2}}
    assert state["extra"]["reason"] == "first"


def test_a_subclass_leaves_its_own_constructor_arguments(recorded):
    with (
        instrument(Walker, methods=["step"], agent_id="unique_id"),
        instrument(Runner, methods=["step"], agent_id="unique_id"),
    ):
        Runner("r", shoes="blue").step()
    assert recorded.of("state")[0]["extra"]["init"] == {"args": ["r"], "kwargs": {"shoes": "blue"}}


def test_constructor_arguments_are_those_at_entry(recorded):
    class Taker:
        def __init__(self, given):
            self.agent_id = "t"
            given.append("changed")

        def act(self):
            return 1

    with instrument(Taker, methods=["act"]):
        Taker(["as given", {1}]).act()
    init = recorded.only("state")
    assert init["extra"]["init"]["args"] == [["as given", [1]]]
    assert init["types"]["/extra/init/args/0/1"] == "set"


def test_a_world_that_agents_are_made_on_is_a_reference_among_their_constructor_arguments(recorded):
    class World:
        def __init__(self):
            self.dwellers = []
            self.places = [[number, {}] for number in range(600)]

    class Dweller:
        def __init__(self, number, world):
            self.agent_id = f"dweller_{number}"
            world.dwellers.append(self)

        def act(self):
            return 1

    with instrument(Dweller, methods=["act"]):
        world = World()
        for dweller in [Dweller(number, world) for number in range(3)]:
            dweller.act()
    first, *later = [event["extra"]["init"]["args"][1] for event in recorded.of("state")]
    assert "digest" in first, "nobody lived there yet"
    assert all(each["reference"].startswith("environment ") for each in later), later


def test_a_constructor_that_raises_raises(recorded):
    class Failing:
        def __init__(self):
            raise ValueError("no")

        def act(self):
            return 1

    with instrument(Failing, methods=["act"]), pytest.raises(ValueError, match="no"):
        Failing()


def test_state_is_read_by_the_function_given(recorded, fresh):
    with instrument(
        fresh, methods=["step"], agent_id="unique_id", state=lambda walker: {"place": walker.place, 1: "one"}
    ):
        walker = fresh(1)
        walker.step()
        walker.step()
    assert recorded.only("state")["extra"]["fields"] == {"place": 0, "1": "one"}
    assert [event["state"] for event in recorded.of("agent_action")] == [
        {"set": {"place": 1}, "unset": []},
        {"set": {"place": 2}, "unset": []},
    ]


@pytest.mark.parametrize("name", ["missing", "far", "speed", "__class__", ""])
def test_what_is_no_method_is_refused_and_nothing_is_changed(fresh, name):
    walker = fresh(1)
    for owner in (fresh, walker):
        before = dict(vars(owner))
        with pytest.raises(ConfigurationError) as refused:
            instrument(owner, methods=["step", name])
        assert refused.value.remedy
        assert dict(vars(owner)) == before


def test_a_refused_second_time_leaves_the_first_in_force(recorded, fresh):
    with instrument(fresh, methods=["step"], agent_id=lambda walker: "first"):
        with pytest.raises(ConfigurationError):
            instrument(fresh, methods=["missing"], agent_id=lambda walker: "second")
        fresh(1).step()
    assert recorded.only("agent_action")["extra"]["agent_id"] == "first"


@pytest.mark.parametrize("owner", [dict, object(), 5])
def test_what_cannot_be_changed_is_refused(owner):
    name = "keys" if owner is dict else "__repr__"
    with pytest.raises(ConfigurationError):
        instrument(owner, methods=[name])


def test_an_object_with_slots_is_refused_with_a_remedy():
    class Slots:
        __slots__ = ()

        def act(self):
            return 1

    with pytest.raises(ConfigurationError, match="takes no attribute"):
        instrument(Slots(), methods=["act"])


def test_one_method_may_be_named_by_a_text(recorded, fresh):
    with instrument(fresh, methods="step", agent_id="unique_id"):
        fresh(1).step()
    assert len(recorded.of("agent_action")) == 1


def test_an_unknown_level_is_refused(fresh):
    with pytest.raises(ConfigurationError, match="unknown level"):
        instrument(fresh, methods=["step"], level="LOUD")


def test_nothing_is_captured_where_nothing_is_recorded(recorded, fresh, level):
    level("agents", 100)
    with instrument(fresh, methods=["step"], agent_id="unique_id"):
        assert fresh(1).step() == 1
    assert recorded.events == []
    assert recorded.pipeline.agents._known == {}


class _Any:
    """Its objects have attributes alone."""


class _Answering:
    def __getattr__(self, name):
        return (
            f"made up: {name}"
            if name in {"agent_id", "unique_id", "id", "name"}
            else object.__getattr__(self, name)
        )


class _Slotted:
    __slots__ = ("agent_id", "id", "other", "unique_id")


class _OfClass:
    name = "of the class"

    @property
    def unique_id(self):
        return vars(self).get("other")


class _OfMeta(type):
    pass


_CLASSES = [_Any, _Answering, _Slotted, _OfClass, _OfMeta("_Made", (), {}), type("_Numbers", (list,), {})]
_VALUES = st.one_of(
    st.none(), st.sampled_from(["", "ann", True, b"ann", [1], 2**70, 2.5, np.int64(4), logging.getLogger("x")]),
    st.integers(), st.text(max_size=3),
)  # fmt: skip


@given(
    st.sampled_from(_CLASSES),
    st.dictionaries(st.sampled_from(["agent_id", "unique_id", "id", "name", "other", "logger"]), _VALUES),
    st.sampled_from([False, None, "id", "other", "unique_id", lambda each: 7]),
)
@pytest.mark.skipif(native is None, reason="the native part was not built")
def test_an_agent_has_one_name_with_and_without_the_native_part(cls, attributes, agent_id):
    derived = type(cls)(cls.__name__, (cls,), {"__slots__": ()} if cls is _Slotted else {})
    if agent_id is not False:
        derived.act = lambda self: None
        instrument(derived, methods=["act"], agent_id=agent_id)
    made = derived()
    for name, value in attributes.items():
        with suppress(AttributeError):
            setattr(made, name, value)
    try:
        assert [agents.agent_id_of(made) for _ in range(2)] == [agents._agent_id_of(made)] * 2
    finally:
        clear_identity(derived)


class Twin:
    def __init__(self, agent_id):
        self.agent_id = agent_id

    @trace_agent_action
    def act(self):
        return 1


def test_two_living_objects_that_act_under_one_id_get_one_warning(recorded, capfd):
    one, other, third = Twin("twin"), Twin("twin"), Twin("twin")
    for each in (one, one, other, one, other, third):
        each.act()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("agent-trace: two living objects act as agent twin,")
    assert recorded.health.notes["two living objects acted under one agent_id"] == 1


def test_an_object_in_the_place_of_one_that_is_gone_is_no_twin(recorded, capfd):
    agent = Twin("again")
    agent.act()
    seen = weakref.ref(agent)
    agent = Twin("again")
    agent.act()
    idle = Twin("again")
    agent.act()
    assert seen() is None and idle is not None and capfd.readouterr().err == ""
