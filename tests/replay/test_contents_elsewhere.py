"""Values that are recorded by a name or in part: what else they consist of is compared as well."""

from __future__ import annotations

import pytest

from Agent.archive.sealed.reader import open_reader
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


@pytest.mark.first_case
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


def test_a_member_that_is_a_key_is_compared_by_class_name_and_value():
    def compared(one, other, scripts=()):
        sides = (
            Recorded([[name, {}]], {"": "set", "/0": "map", "/0/0": tag}, "") for name, tag in (one, other)
        )
        return Comparison(scripts=scripts).difference(*sides)

    now = ("OK", "enum:shop.Status@'ok'")
    assert compared(("OK", "enum:__main__.Status@'ok'"), now, scripts=["shop"]) is None
    assert compared(now, ("NO", now[1])) is not None
    assert compared(("OK", "enum:shop.State"), now) is not None
    assert compared(("OK", "enum:shop.Status@'refused'"), now) is not None


CARRIED = """
import dataclasses, typing

class Missing(Exception):
    status = 404
    password = "hunter2"

class Rates:
    rate = 3
    steps = ["one", ("two", 2)]
    registry = {}

    def __init__(self):
        self.own = 1

@dataclasses.dataclass
class Plan:
    at: int = 1
    kind: typing.ClassVar[str] = "plan"

UNUSED = Rates()

class Desk:
    agent_id, agent_role = "a", "desk"
    limit = 5

    def __init__(self):
        self.plan = None

    @trace_agent_action
    def find(self, kind):
        if kind == "error":
            raise Missing("x")
        if kind == "plan":
            self.plan = [Plan(7)]
            return None
        return Rates()

def build(spec):
    return Desk()

def main():
    desk = Desk()
    for kind in ("error", "plan", "rates"):
        try:
            desk.find(kind)
        except Missing:
            Rates.registry[kind] = object()
"""


def test_attributes_of_the_classes_of_values_are_recorded_without_secrets_and_without_those_of_agents(toy):
    toy.record(CARRIED)
    (session,) = toy.root.glob("session_*")
    events = list(open_reader(session).events())
    (program,) = (event.extra["program"] for event in events if event.kind == "log.closed")
    carried = program["carried"]
    names = ("Missing.password", "Missing.status", "Plan.kind", "Rates.rate", "Rates.steps")
    assert sorted(carried) == [f"{toy.name}.{name}" for name in names]
    assert carried[f"{toy.name}.Missing.password"].startswith("[redacted:")


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("status = 404", "status = 200", "Missing.status"),
        ("rate = 3", "rate = 4", "Rates.rate"),
        ('("two", 2)', '("two", 3)', "Rates.steps"),
        ('[str] = "plan"', '[str] = "plans"', "Plan.kind"),
        ("rate = 3", "pass", "Rates.rate"),
    ],
)
def test_a_changed_attribute_of_the_class_of_a_value_is_not_proved_equal(toy, old, new, name):
    report = toy.record(CARRIED).replay()
    assert report.verdict == "IDENTICAL", str(report)
    for run in ("last/a", "last"):
        toy.write(CARRIED)
        report = toy.change(old, new).replay(run)
        assert report.verdict == "UNVERIFIED", str(report)
        assert f"{toy.name}.{name} did not end as in the recording" in str(report)


@pytest.mark.parametrize(("old", "new"), [("limit = 5", "limit = 6"), ("at: int = 1", "at: int = 2")])
def test_attributes_that_no_value_has_may_change(toy, old, new):
    report = toy.record(CARRIED).change(old, new).replay()
    assert report.verdict == "IDENTICAL", str(report)


def test_a_hidden_slot_of_an_agent_is_a_field_of_its_own(toy):
    toy.record(
        """
        class Base:
            __slots__ = ("v",)

        class Node(Base):
            __slots__ = ("agent_id", "agent_role", "k", "v")

            def __init__(self):
                self.agent_id, self.agent_role, self.k, self.v = "a", "node", 0, 0
                Base.v.__set__(self, 0)

            @trace_agent_action
            def act(self):
                self.k += 1
                Base.v.__set__(self, self.k + 5)

        def build(spec):
            return Node()

        def main():
            node = Node()
            node.act()
            node.act()
        """
    )
    assert toy.replay().verdict == "IDENTICAL", str(toy.replay())
    report = toy.change("self.k + 5", "self.k + 6").replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.Base.v"), str(report)


def test_another_object_of_a_class_made_at_run_time_is_seen_although_no_code_changed(toy):
    source = """
    import pathlib

    class Maker:
        agent_id, agent_role = "a", "maker"

        def __init__(self):
            self.made = None

        @trace_agent_action
        def act(self):
            self.made = type("Q", (), {{"a": int(pathlib.Path({path!r}).read_text())}})()

    def build(spec):
        return Maker()

    def main():
        Maker().act()
    """
    path = toy.directory / "data.txt"
    path.write_text("1")
    toy.record(source.format(path=str(path)))
    assert toy.replay().verdict == "IDENTICAL"
    path.write_text("2")
    assert toy.replay().verdict == "DIVERGED"
