"""Values that are recorded by a name or in part: what else they consist of is compared as well."""

from __future__ import annotations

import pytest

from Agent.flight.artifact_saving import Tagged
from Agent.replay.compare.comparison import Comparison, Recorded

TILL = """
import enum

class Status(enum.StrEnum):
    OK = "ok"

class Price(enum.Enum):
    TEA = (3, "EUR")
    MILK = 1

class Access(enum.Flag):
    READ = 1
    WRITE = 2

class Till:
    agent_id, agent_role = "a", "shop"

    def __init__(self):
        self.first, self.last = Price.MILK, None

    @trace_agent_action
    def sell(self):
        self.last = {{Price.TEA: [Access.READ | Access.WRITE]}}
        return {result}

def build(spec):
    return Till()

def main():
    till = Till()
    till.sell()
    till.sell()
"""


@pytest.mark.parametrize(
    ("result", "old", "new", "shown"),
    [
        ("Status.OK", '"ok"', '"refused"', ["<Status.OK: 'ok'>", "<Status.OK: 'refused'>"]),
        ("None", '(3, "EUR")', '(3, "USD")', ["Price"]),
        ("None", "WRITE = 2", "WRITE = 4", ["<Access.READ|WRITE: 3>", "<Access.READ|WRITE: 5>"]),
        ("{Status.OK}", '"ok"', '"refused"', ["<Status.OK: 'ok'>", "<Status.OK: 'refused'>"]),
    ],
)
def test_a_member_of_an_enum_with_another_value_is_another_value(toy, result, old, new, shown):
    report = toy.record(TILL.format(result=result)).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change(old, new).replay()
    assert report.verdict == "DIVERGED", str(report)
    assert all(text in str(report) for text in shown), str(report)


def test_a_member_of_the_first_state_that_the_factory_makes_otherwise_proves_nothing(toy):
    report = toy.record(TILL.format(result="1")).change("MILK = 1", "MILK = 2").replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "field first, recorded <Price.MILK: 1>, here <Price.MILK: 2>" in str(report)


def test_a_member_in_a_recording_that_has_its_name_alone_is_compared_by_name():
    def compared(earlier, now, scripts=()):
        sides = (
            Recorded([[name, {}]], {"": "set", "/0": "map", "/0/0": tag}, "") for name, tag in (earlier, now)
        )
        return Comparison(scripts=scripts).difference(*sides)

    earlier, now = ("OK", "enum:shop.Status"), ("OK", "enum:shop.Status@'ok'")
    assert compared(earlier, now) is None
    assert compared(now, earlier) is None
    assert compared(("OK", "enum:__main__.Status"), now, scripts=["shop"]) is None
    assert compared(earlier, ("NO", now[1])) is not None
    assert compared(("OK", "enum:shop.State"), now) is not None
    assert compared(("OK", "enum:shop.Status@'refused'"), now) is not None
    assert Tagged("OK", {"": now[1]}).as_earlier().digest == Tagged("OK", {"": earlier[1]}).digest
