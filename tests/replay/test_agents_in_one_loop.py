"""Agents whose actions take turns in one event loop are driven so, and a difference counts."""

from __future__ import annotations

import pytest

TRADERS = """
import asyncio

LIMIT = 10
KEPT = []

class Trader:
    def __init__(self, name, book, lock):
        self.agent_id, self.agent_role = name, "trader"
        self.book, self.lock, self.had = book, lock, 0

    @trace_agent_action
    async def trade(self, amount):
        seen = []
        for _ in range(3):
            async with self.lock:
                self.had += amount
                await asyncio.sleep(0)
                self.book.append((self.agent_id, self.had % LIMIT))
            seen.append(len(self.book))
            await asyncio.sleep(0)
        return seen

    @trace_agent_action
    async def hand_over(self, mail):
        if self.agent_id == "a":
            await self.mail.put(self.had)
            return None
        return await self.mail.get() + 1

def table():
    book, lock, mail = [], asyncio.Lock(), asyncio.Queue()
    traders = {name: Trader(name, book, lock) for name in "ba"}
    for trader in traders.values():
        trader.mail = mail
    return traders

def build(spec):
    return table()

def build_one(spec):
    return table()[spec.agent_id]

def main():
    async def day():
        traders = table()
        KEPT.extend(traders.values())
        for number in (1, 2):
            await asyncio.gather(*(each.trade(number) for each in traders.values()))
        await asyncio.gather(*(each.hand_over(None) for each in traders.values()))
    asyncio.run(day())
"""


def test_agents_that_share_a_lock_and_a_queue_are_identical_unchanged(toy):
    report = toy.record(TRADERS).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.outcome.counts.driven == 6


def test_a_change_in_one_of_them_is_a_difference(toy):
    toy.record(TRADERS).change("self.had += amount", "self.had += amount + (self.had > 2)")
    report = toy.replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 3), str(report)


@pytest.mark.further
def test_a_change_elsewhere_is_a_difference_where_the_recording_has_the_module(toy):
    toy.record(TRADERS).change("LIMIT = 10", "LIMIT = 2")
    report = toy.replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)
    assert "but in no replayed method: toy_module" in str(report)


def test_one_of_them_alone_proves_nothing_where_others_used_what_it_uses(toy):
    report = toy.record(TRADERS).replay("last/a", factory="build_one")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "replay the whole session" in str(report)


@pytest.mark.further
def test_one_of_them_alone_is_no_difference_where_a_change_has_no_effect(toy):
    toy.record(TRADERS).change("self.had += amount", "self.had = self.had + amount")
    report = toy.replay("last/a")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("self.had = self.had", "self.had = 2 * self.had").replay("last/a")
    assert (report.verdict, report.divergence.agent_id) == ("DIVERGED", "a"), str(report)


INDEPENDENT = """
import asyncio

def worth(amount):
    return amount * 2

class Bidder:
    def __init__(self, name):
        self.agent_id, self.agent_role, self.bids = name, "bidder", []

    @trace_agent_action
    async def bid(self, amount):
        await asyncio.sleep(0.001 * amount)
        self.bids.append(worth(amount))
        return self.bids[-1]

def build(spec):
    return {name: Bidder(name) for name in spec.agent_ids}

def main():
    async def rounds():
        bidders = [Bidder(name) for name in "abc"]
        for number in range(2):
            await asyncio.gather(*(each.bid(3 - at + number) for at, each in enumerate(bidders)))
    asyncio.run(rounds())
"""


@pytest.mark.further
def test_a_helper_that_changed_is_a_difference_where_they_share_nothing(toy):
    report = toy.record(INDEPENDENT).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("return amount * 2", "return amount * 2 + (amount == 4)").replay("last")
    assert (report.verdict, report.divergence.step, report.divergence.agent_id) == ("DIVERGED", 4, "a"), str(
        report
    )


FED = """
import asyncio

class Eater:
    def __init__(self):
        self.agent_id, self.agent_role, self.plate = "a", "eater", asyncio.Queue()

    @trace_agent_action
    async def eat(self):
        return await self.plate.get()

def build(spec):
    return Eater()

def main():
    async def meal():
        eater = Eater()
        async def cook():
            await eater.plate.put("soup")
        await asyncio.gather(eater.eat(), cook())
    asyncio.run(meal())
"""


def test_an_action_that_waits_for_what_nothing_brings_ends_the_replay_and_says_so(toy):
    report = toy.record(FED).replay("last", timeout_seconds=30)
    assert report.verdict == "UNVERIFIED"
    assert (
        f"eat of a waits at {toy.name}.py:12 (return await self.plate.get()) for something that nothing"
        in str(report)
    )


POLLING = """
import asyncio, time

PAUSE_S = 0

class Clerk:
    def __init__(self, name, house):
        self.agent_id, self.agent_role, self.house, self.looks = name, "clerk", house, 0

    @trace_agent_action
    async def sell(self):
        self.house["price"] = 10
        while self.house["price"] > LEAST:
            self.house["price"] -= 1
            await asyncio.sleep(PAUSE_S)
        self.house["sold"].set()

    @trace_agent_action
    async def watch(self):
        while not self.house["sold"].is_set():
            self.looks += 1
            await asyncio.sleep(PAUSE_S)
        return self.looks

LEAST = 4

def table():
    house = {"price": 0, "sold": asyncio.Event()}
    return {name: Clerk(name, house) for name in "abc"}

def build(spec):
    return table()

def build_one(spec):
    return table()[spec.agent_id]

def main():
    async def day():
        clerks = table()
        await asyncio.gather(clerks["a"].sell(), clerks["b"].watch(), clerks["c"].watch())
    asyncio.run(day())
"""


@pytest.mark.integration
def test_agents_that_look_again_and_again_are_identical_and_one_alone_ends_by_itself(toy):
    for pause_s in ("0", "0.02"):
        toy.record(POLLING.replace("PAUSE_S = 0", f"PAUSE_S = {pause_s}"))
        report = toy.replay("last")
        assert report.verdict == "IDENTICAL", str(report)
        report = toy.replay("last/b", factory="build_one")
        assert report.verdict == "UNVERIFIED", str(report)
        assert f"watch of b waits at {toy.name}.py:" in str(report)
        assert "(await asyncio.sleep(PAUSE_S)) for something that nothing in this replay does" in str(report)


@pytest.mark.further
def test_what_began_late_because_the_loop_was_blocked_begins_at_once(toy):
    # As the recording of a large first state does, which takes its time while no other task goes on.
    blocked = POLLING.replace(".sell(), ", ".sell(), block(), ")
    toy.record(blocked.replace("LEAST = 4\n", "LEAST = 4\n\nasync def block():\n    time.sleep(0.1)\n"))
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    toy.change("self.looks += 1", "self.looks += 1 + (self.looks == 3)")
    report = toy.replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 2), str(report)


@pytest.mark.integration
def test_a_difference_is_told_although_others_now_wait_for_ever(toy):
    toy.record(POLLING).change('self.house["sold"].set()', "return 7")
    report = toy.replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)


PEERS = """
class Oracle:
    def __init__(self):
        self.agent_id, self.agent_role, self.asked = "oracle", "oracle", 0

    @trace_agent_action
    def ask(self, what):
        self.asked += 1
        return self.asked

class Buyer:
    def __init__(self, oracle=None):
        self.agent_id, self.agent_role, self.oracle, self.total = "buyer", "buyer", oracle, 0

    @trace_agent_action
    def buy(self, number):
        if number == 3 and self.oracle is not None:
            self.total += self.oracle.ask(number)
        self.total += number
        return self.total

KEPT = []

def build(spec):
    return Buyer(Oracle())

def main():
    oracle = Oracle()
    buyer = Buyer(oracle)
    KEPT.extend((oracle, buyer))
    oracle.ask(0)
    for number in range(6):
        buyer.buy(number)
"""


def test_a_peer_that_acted_before_the_agent_makes_no_actions_concurrent(toy):
    toy.record(PEERS).change("self.total += number", "self.total += number + (number == 4)")
    report = toy.replay("last/buyer")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 5), str(report)


SCANNER = """
import asyncio

class Scanner:
    def __init__(self):
        self.agent_id, self.busy, self.pages = "scanner", 0, []

    @trace_agent_action
    async def scan(self, page):
        self.busy += 1
        await asyncio.sleep(0)
        self.pages.append(page * 2)
        await asyncio.sleep(0)
        self.busy -= 1
        return len(self.pages)

    @trace_agent_action
    def load(self):
        return self.busy

def build(spec):
    return Scanner()

def main():
    async def day():
        scanner = Scanner()
        for _ in range(3):
            tasks = [asyncio.create_task(scanner.scan(page)) for page in range(4)]
            await asyncio.sleep(0)
            scanner.load()
            await asyncio.gather(*tasks)
    asyncio.run(day())
"""


@pytest.mark.further
def test_an_agent_with_several_of_its_actions_open_is_identical_and_differs_once_one_changes(toy):
    report = toy.record(SCANNER).replay("last")
    assert (report.verdict, report.proof["counts"]["driven"]) == ("IDENTICAL", 15), str(report)
    report = toy.change("page * 2", "page * 3").replay("last")
    # One action after the other gives another difference, but the recording tells which turns they took.
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.pages"), str(report)


STALLS = """
from contextvars import ContextVar

STALL = ContextVar("STALL", default="aisle")
PRICE = 2

class Visitor:
    def __init__(self):
        self.agent_id, self.seen = "a", []

    @trace_agent_action
    def look(self):
        self.seen.append(STALL.get())
        return price()

def price():
    return PRICE

def build(spec):
    return Visitor()

def main():
    visitor = Visitor()
    for name in {names}:
        {set}
        visitor.look()
"""


def test_a_context_variable_that_code_outside_of_actions_sets_makes_a_difference_prove_nothing(toy):
    report = toy.record(STALLS.replace("{names}", "'bc'").replace("{set}", "STALL.set(name)")).replay()
    assert (report.verdict, report.divergence.field) == ("UNVERIFIED", "state.seen"), str(report)
    assert "reads context variable STALL in Visitor.look" in report.reasons[0]


@pytest.mark.further
def test_a_context_variable_that_nobody_sets_changes_no_verdict(toy):
    report = toy.record(STALLS.replace("{names}", "'bc'").replace("{set}", "pass")).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("seen.append(STALL.get())", "seen.append(STALL.get() + '?')").replay()
    assert report.verdict == "DIVERGED", str(report)


GOSSIP = """
import asyncio

NAMES = "abcde"

class Station:
    def __init__(self, name):
        self.agent_id, self.table, self.merged, self.same = name, {name: 0}, 0, 0

    @trace_agent_action
    async def measure(self, hour):
        await asyncio.sleep(0)
        self.table[self.agent_id] = hour
        return hour

    @trace_agent_action
    def peers(self, hour):
        at = NAMES.index(self.agent_id)
        return [NAMES[(at + 1 + hour) % 5], NAMES[(at + 2) % 5]]

    @trace_agent_action
    async def receive(self, sender, table):
        if table == self.table:
            self.same += 1
            return {}
        for name, hour in table.items():
            if self.table.get(name, -1) < hour:
                self.table[name] = hour
                self.merged += 1
        await asyncio.sleep(0)
        return {name: hour for name, hour in self.table.items() if name not in table}

def build(spec):
    return {name: Station(name) for name in NAMES} if spec.agent_id is None else Station(spec.agent_id)

async def exchange(stations, sender, hour):
    for peer in sender.peers(hour):
        lacking = await stations[peer].receive(sender.agent_id, dict(sender.table))
        if lacking:
            await sender.receive(peer, lacking)

def main():
    async def day():
        stations = {name: Station(name) for name in NAMES}
        KEPT.append(stations)
        for hour in range(1, 7):
            await asyncio.gather(*(each.measure(hour) for each in stations.values()))
            await asyncio.gather(*(exchange(stations, each, hour) for each in stations.values()))
    asyncio.run(day())

KEPT = []
"""


@pytest.mark.integration
def test_tasks_that_await_agents_in_turn_take_turns_as_recorded(toy):
    report = toy.record(GOSSIP).replay("last")
    assert (report.verdict, len(report.proof["agents"])) == ("IDENTICAL", 5), str(report)
    assert not report.outcome.remarks, str(report)
    report = toy.change("self.merged += 1", "self.merged += 1 + (hour == 5)").replay("last")
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.merged"), str(report)


@pytest.mark.further
def test_one_agent_whose_turns_depend_on_others_is_replayed_with_all(toy):
    toy.record(GOSSIP)
    for name in "abcde":
        assert toy.replay(f"last/{name}").verdict == "IDENTICAL"


TANK = """
import asyncio

class Tank:
    def __init__(self):
        self.agent_id, self.level = "tank", 0

    @trace_agent_action
    async def fill(self):
        for _ in range(4):
            await asyncio.sleep(0.05)
            self.level += 1
        return self.level

class Gauge:
    def __init__(self, tank):
        self.agent_id, self.tank, self.read_so_far = "gauge", tank, []

    @trace_agent_action
    async def read(self):
        await asyncio.sleep(0)
        self.read_so_far.append(self.tank.level)
        return self.tank.level

def build(spec):
    tank = Tank()
    return {"tank": tank, "gauge": Gauge(tank)}

def main():
    async def watch(gauge):
        for _ in range(4):
            await gauge.read()
            await asyncio.sleep(0.06)

    async def day():
        tank = Tank()
        gauge = Gauge(tank)
        KEPT.append(gauge)
        await asyncio.gather(tank.fill(), watch(gauge))
    asyncio.run(day())

KEPT = []
"""


@pytest.mark.further
def test_what_a_task_waited_for_between_its_actions_is_waited_for_again_where_that_matters(toy):
    report = toy.record(TANK).replay("last")
    assert report.verdict == "IDENTICAL", str(report)


DIGITISERS = """
import asyncio
from pathlib import Path

FIRST, SECOND = map(float, Path(__file__).with_suffix(".delays").read_text().split())
KEPT = []

class Digitiser:
    def __init__(self, name, delay_s, shelf):
        self.agent_id, self.delay_s, self.shelf, self.done = name, delay_s, shelf, []

    @trace_agent_action
    async def digitise(self, pages):
        for page in range(pages):
            await asyncio.sleep(self.delay_s)
            self.shelf.append(self.agent_id)
            self.done.append((page, len(self.shelf)))
        return len(self.shelf)

def team():
    shelf = []
    return {name: Digitiser(name, delay_s, shelf) for name, delay_s in {"a": FIRST, "b": SECOND}.items()}

def build(spec):
    return team()

def main():
    async def day():
        agents = team()
        KEPT.append(agents)
        await asyncio.gather(*(each.digitise(6) for each in agents.values()))
    asyncio.run(day())
"""


def _delays(toy, text):
    """Delays that no module tells: what makes them other ones is no change of code."""
    (toy.directory / f"{toy.name}.delays").write_text(text)


@pytest.mark.further
def test_actions_go_on_behind_each_await_in_the_recorded_order(toy):
    _delays(toy, "0.03 0.0171")
    toy.record(DIGITISERS)
    _delays(toy, "0.0171 0.03")
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("page, len(self.shelf)", "page, len(self.shelf) + (page == 4)").replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)


def test_changed_code_proves_nothing_by_an_order_that_it_does_not_come_to(toy):
    _delays(toy, "0.03 0.0171")
    report = (
        toy.record(DIGITISERS)
        .change("asyncio.sleep(self.delay_s)", "asyncio.sleep(0.05 - self.delay_s)")
        .replay("last")
    )
    assert report.verdict == "UNVERIFIED", str(report)
    assert "in the recorded order; without that order, this differs: step 1" in str(report)


@pytest.mark.integration
def test_awaits_that_are_gone_or_new_do_not_stop_a_replay(toy):
    _delays(toy, "0.1 0.005")
    toy.record(DIGITISERS)
    line = "await asyncio.sleep(self.delay_s)"
    report = toy.change(line, "pass").replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)
    report = toy.write(DIGITISERS).change(line, f"await asyncio.sleep(0); {line}").replay("last")
    assert report.verdict == "IDENTICAL", str(report)


STORE = """
from dataclasses import dataclass

@dataclass
class Order:
    number: int
    status: str = "open, and told at some length"
    paid: int = 0

class Clerk:
    def __init__(self, name, store):
        self.agent_id, self.store = name, store

    @trace_agent_action
    def settle(self, number):
        order = self.store[number]
        if order.paid:
            return 0
        order.paid += 5
        return order.paid

def clerks():
    store = {number: Order(number) for number in range(60)}
    return {name: Clerk(name, store) for name in "ab"}

def build(spec):
    return clerks() if spec.agent_id is None else clerks()[spec.agent_id]

def main():
    team = clerks()
    for number in range(20):
        team["b"].settle(number)
        team["a"].settle(number // 2 * 3)
    KEPT.append(team)

KEPT = []
"""


@pytest.mark.further
def test_a_difference_of_one_agent_that_the_whole_session_does_not_have_is_none(toy):
    report = toy.record(STORE).replay("last/a")
    assert report.verdict == "IDENTICAL", str(report)
    assert "the whole session was replayed" in str(report)
    report = toy.change("order.paid += 5", "order.paid += 6").replay("last/a")
    assert report.verdict == "DIVERGED", str(report)
