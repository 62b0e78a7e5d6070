"""Recording reads objects without the code that the program has for that, such as a `__getattribute__`."""

from __future__ import annotations

import functools
import types
from collections import Counter
from dataclasses import dataclass

import pytest
from record_kit import recording

from Agent.errors import ConfigurationError
from Agent.record.state import introspection
from Agent.utils import trace_agent_action

READS = Counter()


class Told:
    __slots__ = ()

    def __getattribute__(self, name):
        READS[name] += 1
        return object.__getattribute__(self, name)


class Price(Told):
    def __init__(self, price):
        self.price = price
        self.notes = [price]


class Slotted(Told):
    __slots__ = ("agent_id", "feed", "many", "n")
    agent_role = "buyer"

    def __init__(self):
        self.agent_id, self.feed, self.n = "b", Price(3), 0
        self.many = [Price(1), {"one": Price(2)}]

    @trace_agent_action
    def buy(self, other, others):
        self.n += 1
        return self.feed


class Plain(Slotted):
    """It has a `__dict__` as well."""


@dataclass
class Record(Told):
    agent_id: str = "b"
    agent_role: str = "buyer"
    n: int = 0

    def __post_init__(self):
        self.feed = Price(3)

    @trace_agent_action
    def buy(self, other, others):
        self.n += 1
        return self.feed


@pytest.mark.parametrize("kind", [Slotted, Plain, Record])
def test_recording_calls_no_getattribute_of_the_program(kind):
    with recording() as recorded:
        agent = kind()
        READS.clear()
        for _ in range(12):
            agent.buy(Price(4), [Price(5)])
        assert READS == {"buy": 12, "n": 12, "feed": 12}
        (first, *_), actions = recorded.of("state"), recorded.of("agent_action")
    assert first["extra"]["fields"]["feed"]["attributes"] == {"price": 3}
    assert actions[-1]["state"]["set"] == {"n": 12}


def test_named_attributes_are_read_alike_in_c_and_python():
    agent = Plain()
    object.__setattr__(agent, "more", 1)
    READS.clear()
    names = ("agent_id", "more", "missing", "n")
    found = introspection._attributes_named(agent, names)
    assert found == introspection.attributes_named(agent, names) == {"agent_id": "b", "more": 1, "n": 0}
    assert not READS


class Column:
    """Reads a row again when it is asked, as a column of an expired model does."""

    def __get__(self, value, cls=None):
        READS["column"] += 1
        return "job"


class Job:
    agent_id = agent_role = logger = Column()

    def __init__(self):
        self.n = 1


class Computed:
    """Its id may wait for a lock that the program holds."""

    @property
    def agent_id(self):
        READS["agent_id"] += 1
        return "computed"


class Proxy:
    """Creates its target when an attribute is read."""

    __slots__ = ()

    @property
    def __dict__(self):
        READS["__dict__"] += 1
        return {"a": 1}


class Holder:
    def __init__(self, *held):
        self.agent_id, self.held, self.first = "holder", list(held), held[0]

    @trace_agent_action
    def keep(self, one, many):
        self.first = one
        return many


def test_arguments_and_fields_are_not_asked_to_compute_whether_they_are_agents():
    def answer(name):
        READS[name] += 1
        return "lazy"

    lazy = types.ModuleType("lazy_module")
    lazy.__getattr__ = answer
    things = [Job(), lazy, Computed(), Proxy()]
    READS.clear()
    with recording() as recorded:
        holder = Holder(*things)
        for thing in things:
            holder.keep(thing, [thing, {"thing": thing}])
        actions = recorded.of("agent_action")
    assert not {"column", "__dict__", "agent_id", "agent_role", "logger"} & READS.keys()
    assert [each["extra"]["agent_id"] for each in actions] == ["holder"] * 4
    assert actions[0]["extra"]["args"]["one"]["attributes"] == {"n": 1}


class Computing(Computed):
    @trace_agent_action
    def act(self, other):
        return other


def test_objects_with_traced_methods_may_compute_their_id():
    agent = Computing()
    with recording() as recorded:
        assert agent.act(agent) is agent
        (action,) = recorded.of("agent_action")
    assert action["extra"]["agent_id"] == action["extra"]["args"]["other"] == "computed"


@pytest.mark.parametrize("kind", [property, functools.cached_property])
def test_a_decorator_above_a_property_is_refused(kind):
    with pytest.raises(ConfigurationError, match=f"put it below {kind.__name__}"):
        trace_agent_action(kind(lambda self: 1))
