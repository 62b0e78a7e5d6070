"""On which side of an answered call an agent logs and learns is part of what it does."""

from types import SimpleNamespace

import pytest

from Agent.replay.drive.player import ResponseOrder

ASKER = """
import asyncio

class Peer:
    def __init__(self):
        self.agent_id, self.agent_role = "b", "peer"

    @trace_agent_action
    def offer(self, number):
        return number * 2

    @trace_agent_action
    async def wait(self, number):
        await asyncio.sleep(0)
        return number

class Asker:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "asker"
        self.logger = AgentLogger("a", "asker")
        self.peer = Peer()
        self.found = 0

    @trace_agent_action
    def ask(self, number):
        self.logger.info("asking")
        self.found = self.peer.offer(number)
        self.logger.info("asked")
        return self.found

    async def note(self):
        self.logger.info("noted")
        await asyncio.sleep(0)

    @trace_agent_action
    async def ask_beside(self, number):
        found, _ = await asyncio.gather(self.peer.wait(number), self.note())
        return found

def build(spec):
    return Asker()

def main():
    asker = Asker()
    for number in range(3):
        asker.ask(number)
        asyncio.run(asker.ask_beside(number))
"""


def test_a_line_moved_past_an_answered_call_is_a_difference(toy):
    toy.record(ASKER)
    report = toy.replay()
    assert report.verdict == "IDENTICAL", str(report)
    before = '        self.found = self.peer.offer(number)\n        self.logger.info("asked")\n'
    after = '        self.logger.info("asked")\n        self.found = self.peer.offer(number)\n'
    report = toy.change(before, after).replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)
    assert (report.divergence.field, report.divergence.place) == ("calls", "log of a")
    assert report.divergence.recorded == "after 1 answered calls"
    assert report.divergence.replayed == "after 0 answered calls"


@pytest.mark.further
def test_a_line_moved_past_an_answered_call_of_an_async_action_proves_nothing(toy):
    source = ASKER.replace("    def ask(self", "    async def ask(self").replace(
        "asker.ask(number)", "asyncio.run(asker.ask(number))"
    )
    report = toy.record(source).replay()
    assert report.verdict == "IDENTICAL", str(report)
    before = '        self.found = self.peer.offer(number)\n        self.logger.info("asked")\n'
    after = '        self.logger.info("asked")\n        self.found = self.peer.offer(number)\n'
    report = toy.change(before, after).replay()
    assert (report.verdict, report.divergence.field) == ("UNVERIFIED", "calls"), str(report)
    assert "step 1 is async" in report.reasons[0]


GATHERER = """
import asyncio
from Agent.flight import record_tool

@record_tool
async def price(day):
    await asyncio.sleep(0.002 * (3 - day))
    return 100 + day

@record_tool
def rate(day):
    return fee(day) + 1

@record_tool
def fee(day):
    return day

class Buyer:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "buyer"
        self.paid = 0

    @trace_agent_action
    async def buy(self):
        found = await asyncio.gather(*(price(day) for day in range(3)))
        self.paid = sum(found)
        return self.paid

    @trace_agent_action
    def plan(self):
        self.paid += rate(1)
        self.paid += fee(2)
        return self.paid

def build(spec):
    return Buyer()

def main():
    buyer = Buyer()
    buyer.plan()
    asyncio.run(buyer.buy())
"""


def test_tools_asked_at_one_time_answer_in_the_recorded_order(toy):
    report = toy.record(GATHERER).replay(program=False)
    assert report.verdict == "IDENTICAL", str(report)


def test_tools_asked_one_after_another_may_not(toy):
    source = GATHERER.replace("    asyncio.run(buyer.buy())\n", "")
    assert toy.record(source).replay().verdict == "IDENTICAL"
    one, two = "        self.paid += rate(1)\n", "        self.paid += fee(2)\n"
    report = toy.change(one + two, two + one).replay()
    assert report.verdict == "DIVERGED", str(report)


def test_outside_of_asyncio_a_response_waits_for_no_other():
    events = [
        SimpleNamespace(id=f"aaaaaaaa-{n}", timestamp=f"2026-11-20T10:30:4{n}Z", extra={}) for n in (1, 2)
    ]
    waiting = ResponseOrder(events).turn("aaaaaaaa-2").wait()
    with pytest.raises(StopIteration):  # a loop of another framework cannot take what asyncio yields
        waiting.send(None)
