"""Arguments that are objects: they know each other, the agent holds them, or they hold functions of the program."""

from __future__ import annotations

import pytest

PROGRAM = """
import functools
from collections import defaultdict
from types import SimpleNamespace

class Cell:
    def __init__(self, number):
        self.number, self.visits, self.next = number, 0, None

class World:
    def __init__(self):
        self.cells = [Cell(n) for n in range(3)]
        self.cells[0].next, self.cells[1].next, self.cells[2].next = (*self.cells[1:], self.cells[0])
        self.total = 0

class Order:
    def __init__(self, of, rate):
        self.lines, self.of = [], of
        of.orders.append(self)
        self.cost = lambda n: n * rate + len(self.lines)

def doubled(n):
    return 2 * n

class Walker:
    agent_id, agent_role = "a", "walker"

    def __init__(self):
        self.world = World()

    @trace_agent_action
    def enter(self, world, cell):
        world.total += 1
        cell.visits += 1
        cell.next.visits += 10
        return [self.world.total, [each.visits for each in self.world.cells]]

    @trace_agent_action
    def take(self, order, rule, counts, *, shop):
        order.lines.append(1)
        counts["new"] += 1
        return [shop.orders[0] is order, order.cost(2), rule(3), counts["new"], shop.name]

def build(spec):
    return Walker()

def main():
    walker = Walker()
    for number in range(3):
        walker.enter(walker.world, walker.world.cells[number])
        shop = SimpleNamespace(name="s", orders=[])
        order = Order(shop, number)
        walker.take(order, functools.partial(doubled), defaultdict(lambda: 7, old=1), shop=shop)
"""


def test_arguments_are_what_they_were_for_the_agent_and_for_each_other(toy):
    report = toy.record(PROGRAM).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("cell.next.visits += 10", "World().cells[0].next.visits += 10").replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)


def test_a_function_in_an_argument_runs_as_the_program_has_it_now(toy):
    for before, after in (("n * rate + len", "n * rate - len"), ("2 * n", "3 * n")):
        report = toy.record(PROGRAM).change(before, after).replay()
        assert (report.verdict, report.divergence.step) == ("DIVERGED", 2), (before, str(report))


RENAMED = """
class Walker:
    agent_role = "walker"

    def __init__(self, agent_id):
        self.agent_id, self.n = agent_id, 0

    @trace_agent_action
    def step(self):
        self.n += 1
        if self.n == 2:
            self.agent_id = "b"
        return self.n

def build(spec):
    return {agent_id: Walker(agent_id) for agent_id in spec.agent_ids}

def main():
    walker = Walker("a")
    for _ in range(4):
        walker.step()
"""


def test_an_agent_whose_id_changes_goes_on_under_the_new_one(toy):
    toy.record(RENAMED)
    for run in ("last", "last/a", "last/b"):
        report = toy.replay(run)
        assert report.verdict == "IDENTICAL", (run, str(report))
    report = toy.change("self.n += 1", "self.n += 1 + (self.n > 2)").replay("last/b")
    assert report.verdict == "DIVERGED", str(report)


DESK = """
import copy, enum

class Kind(enum.Enum):
    NEW = 1

class Drawer:
    agent_id, agent_role = "d", "drawer"
    def __init__(self): self.papers = []
    @trace_agent_action
    def put(self, paper):
        self.papers.append(dict(paper))
        return len(self.papers)

class Desk:
    agent_id, agent_role = "a", "desk"
    def __init__(self):
        self.drawer, self.items, self.kind, self.name, self.last = Drawer(), [], Kind.NEW, "x", None
    @trace_agent_action
    def take(self, tickets):
        self.last = copy.copy(tickets.pop())
        return len(self.last)
    @trace_agent_action
    def add(self, item):
        self.items += [len(item)]
        return {"items": self.items[:], "kind": self.kind}
    @trace_agent_action
    def sorted(self, rows):
        return [*rows]
    @trace_agent_action
    def touch(self, items):
        items.append(0)
        return len(items)
    @trace_agent_action
    async def later(self):
        return [*self.items]
    @trace_agent_action
    def file(self, paper):
        return self.drawer.put(paper)

def build(spec):
    desk = Desk()
    return {"a": desk, "d": desk.drawer}

def main():
    import asyncio
    desk = Desk()
    for number in range(2):
        desk.take([{"n": number}])
        desk.add([number])
        desk.sorted([[number]])
        desk.touch(desk.items)
        desk.file({"n": number})
        asyncio.run(desk.later())
"""


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (
            "copy.copy(tickets.pop())",
            "tickets.pop()",
            "take of a keeps an object of its arguments in field last",
        ),
        ("self.items[:]", "self.items", "add of a returns an object of field items"),
        ("return [*rows]", "return rows", "sorted of a returns an object of its arguments"),
        ("dict(paper)", "paper", "put of d keeps an object of its arguments in field papers"),
        ("return [*self.items]", "return self.items", "later of a returns an object of field items"),
    ],
)
def test_changed_code_that_no_longer_copies_is_unverified(toy, old, new, what):
    toy.record(DESK)
    assert toy.replay("last").verdict == "IDENTICAL"
    report = toy.change(old, new).replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert any(what in reason for reason in report.reasons), str(report)


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("len(self.last)", "len([*self.last])"),
        ("items.append(0)", "items += [0]"),
        ('"kind": self.kind}', '"kind": self.kind or 0}'),
    ],
)
def test_changed_code_that_shares_nothing_with_others_is_identical(toy, old, new):
    report = toy.record(DESK).change(old, new).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.changed_code


def test_code_that_did_not_change_may_share_objects_beside_code_that_did(toy):
    toy.record(DESK.replace("self.items[:]", "self.items"))
    report = toy.change("len(self.last)", "len([*self.last])").replay("last")
    assert report.verdict == "IDENTICAL", str(report)


TICKETS = """
class Worker:
    agent_role = "worker"
    def __init__(self, agent_id): self.agent_id, self.ticket = agent_id, None
    @trace_agent_action
    def take(self, ticket):
        self.ticket = ticket
    @trace_agent_action
    def work(self):
        {work}

def build(spec): return {agent_id: Worker(agent_id) for agent_id in spec.agent_ids}

def main():
    a, b = Worker("a"), Worker("b")
    ticket = {ticket}
    a.take(ticket)
    {before}b.take(ticket)
    for worker in (b, a, b):
        worker.work()
"""
OF_DICT = 'self.ticket["hours"] += 1; return self.ticket["hours"]'


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("ticket", "work", "before"),
    [
        ('{"hours": 0}', OF_DICT, ""),
        ('{"hours": 0}', OF_DICT, "a.work()\n    "),
        ("[0]", "self.ticket[0] += 1; return self.ticket[0]", ""),
    ],
)
def test_one_object_given_to_two_agents_is_unverified_where_no_code_changed(toy, ticket, work, before):
    source = TICKETS.replace("{ticket}", ticket).replace("{work}", work).replace("{before}", before)
    report = toy.record(source).replay("last", keep_going=5)
    assert report.verdict == "UNVERIFIED", str(report)
    assert any("take of a got an object that another agent may hold" in each for each in report.reasons)
    steps = [each.step for each in report.outcome.further]
    assert steps == sorted(steps)
