"""Changed code of agents whose responses are returned from the recording does not run, and the report says so."""

from __future__ import annotations

import pytest

MARKET = """
import time

class Seller:
    def __init__(self):
        self.agent_id, self.n = "s", 0

    @trace_agent_action
    def ask(self, k):
        self.n += 1
        return self.n

class Buyer:
    def __init__(self, seller):
        self.agent_id, self.seller = "a", seller

    @trace_agent_action
    def buy(self, k):
        return self.seller.ask(k)

def real(spec):
    return Buyer(Seller())

def stub(spec):
    return Buyer(spec.peer("s"))

def main():
    buyer = Buyer(Seller())
    for k in range(4):
        buyer.buy(k)
"""


@pytest.mark.parametrize("factory", ["real", "stub"])
def test_a_changed_method_that_did_not_run_is_named(toy, factory):
    toy.record(MARKET)
    assert "did not run here" not in str(toy.replay(factory=factory, program=False))
    report = toy.change("        self.n += 1\n", "        self.n += 1 + 0 * int(time.time())\n").replay(
        factory=factory, program=False
    )
    assert (report.verdict, report.changed_code) == ("IDENTICAL", ()), str(report)
    assert "note: s.ask changed and did not run here" in str(report)
