"""The defaults of a tool's parameters count where a call uses them."""

import pytest

from Agent.flight.tool_calls import Defaults

MODULE = """
from Agent.flight import record_tool

@record_tool
def pay(to, amount=1, *, tags=()):
    seen.append(to)
    return "ok"

seen = []

class Agent:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "payer"

    @trace_agent_action
    def act(self):
        return pay("bob")

    @trace_agent_action
    def give(self):
        return pay("bob", 3, tags=("new",))

def build(spec):
    return Agent()

def main():
    agent = Agent()
    agent.act()
    agent.give()
"""


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("changed", "to"),
    [
        ("amount=1", "amount=1000"),
        ("tags=()", "tags=('old',)"),
        ("amount=1", "amount"),
        ("tags=()", "tags=[]"),
    ],
)
def test_another_default_of_a_tool_is_a_difference(toy, changed, to):
    toy.record(MODULE)
    assert toy.replay().verdict == "IDENTICAL"
    report = toy.change(changed, to).replay()
    assert (report.verdict, report.divergence.step, report.divergence.field) == ("DIVERGED", 1, "defaults")
    assert "defaults: tool.call pay" in str(report)


def test_a_default_counts_only_where_a_call_uses_it(toy):
    text = MODULE.replace("    agent.act()\n", "")
    report = toy.record(text).change("amount=1, *, tags=()", "amount=2, *, tags=('old',)").replay()
    assert report.verdict == "IDENTICAL", str(report)


def test_a_recording_that_lacks_defaults_is_judged_without_them(toy, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(Defaults, "digest", lambda *_: "")
        toy.record(MODULE)
    assert toy.replay().verdict == "IDENTICAL"


def test_a_default_counts_as_it_was_before_the_body_changed_it():
    def collect(item, found=[], limit=3):
        found.append(item)

    one, other = Defaults(collect), Defaults(collect)
    before = one.digest({"item": 1}, None)
    collect(1)
    assert one.digest({"item": 2}, None) == before != other.digest({"item": 2}, None)
    assert one.digest({"item": 2, "found": [], "limit": 3}, None) == ""
