"""Classes of the program with a `__getattribute__`: recording reads their objects without calling it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from record_kit import recording

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
