"""An answered call that changed its arguments in place, or gave one of them back, does so again."""

import collections
import dataclasses

import numpy as np
import pytest

from Agent import setup_logging, shutdown_logging
from Agent.flight import record_tool, recorder, replaying_tools
from Agent.record.emit.context import Response
from Agent.record.tracing.changed_arguments import with_changes
from Agent.record.tracing.failures import LACKING, Unanswerable

MARKET = """
import collections, dataclasses
import numpy as np
from Agent.flight import record_tool

@dataclasses.dataclass
class Order:
    qty: int
    fills: list
class Box:
    def __init__(self, held): self.held, self.log = held, []
class Slots:
    __slots__ = ("a", "b")
    def __init__(self): self.a = 1
class Rows(list): pass

@record_tool
def arrange(rows, into):
    rows.sort(key=str)
    into["n"] = len(rows)
    return into
@record_tool
def push(box, n): box.held += n

class Store:
    agent_id, agent_role = "store", "store"
    @trace_agent_action
    def fill(self, rows, n): rows.append(n)
    @trace_agent_action
    def deep(self, tree, n): tree["cart"].append(n); tree["map"]["x"] = n
    @trace_agent_action
    def others(self, members, queue, raw, n): members.add(n); queue.appendleft(n); raw.append(n)
    @trace_agent_action
    def array(self, array, n): array += n
    @trace_agent_action
    def order(self, order, n): order.qty -= 1; order.fills.append((n, order.qty))
    @trace_agent_action
    def box(self, box, n): box.held = n; box.log.append(n); box.extra = n
    @trace_agent_action
    def slots(self, slots, n): slots.b = n
    @trace_agent_action
    def rows(self, rows, n): rows.append(n); rows.tag = n
    @trace_agent_action
    def many(self, *lists, **named): lists[0].append(1); named["k"].append(2)
    @trace_agent_action
    def same(self, rows): return rows
    @trace_agent_action
    def failing(self, rows, n): rows.append(n); raise ValueError("x")
    @trace_agent_action
    def look(self, rows, n): return len(rows) + n

class Buyer:
    agent_id, agent_role = "a", "buyer"
    def __init__(self, store):
        self.store, self.cart, self.seen = store, [], []
        self.tree = {"cart": self.cart, "map": {}}
    @trace_agent_action
    def buy(self, n):
        members, queue, raw, array = {0}, collections.deque([1]), bytearray(b"a"), np.zeros(3)
        order, box, slots, rows, k = Order(5, []), Box(1), Slots(), Rows([1]), []
        fills, log, store = order.fills, box.log, self.store
        store.fill(self.cart, n)
        store.deep({"cart": self.cart, "map": self.tree["map"]}, n)
        store.others(members, queue, raw, n); store.array(array, n); store.order(order, n)
        store.box(box, n); store.slots(slots, n); store.rows(rows, n); store.many(self.cart, k=k)
        arrange(self.cart, self.tree["map"])["z"] = n
        push(box, n)
        store.same(self.cart).append("s")
        try:
            store.failing(self.cart, n)
        except ValueError:
            pass
        store.look(self.cart, n)
        self.seen.append([sorted(members), list(queue), bytes(raw), array.tolist(), order.qty, list(fills)])
        self.seen.append([box.held, list(log), box.extra, slots.b, list(rows), rows.tag, list(k)])
        return len(self.cart)

def build(spec): return Buyer(spec.peer("store"))
def with_store(spec): return Buyer(Store())
def main():
    buyer = Buyer(Store())
    for n in range(4):
        buyer.buy(n)
"""


@pytest.mark.integration
def test_an_answered_call_changes_its_arguments_in_place_again(toy):
    toy.record(MARKET)
    for factory in ("build", "with_store"):
        report = toy.replay(factory=factory)
        assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("bytes(raw), array", "bytes(raw[:1]), array").replay()
    assert report.verdict == "DIVERGED"


UNRESTORABLE = """
class Plan:
    def __init__(self): self.steps = iter([1, 2]); self.n = 0
class Store:
    agent_id, agent_role = "store", "store"
    @trace_agent_action
    def fill(self, plan): plan.n += 1
class Buyer:
    agent_id, agent_role = "a", "buyer"
    def __init__(self, store): self.store = store
    @trace_agent_action
    def buy(self):
        plan = Plan()
        self.store.fill(plan)
        return plan.n
def build(spec): return Buyer(Store())
def main(): Buyer(Store()).buy()
"""


def test_a_change_that_cannot_be_made_again_names_the_argument(toy):
    report = toy.record(UNRESTORABLE).replay()
    assert report.verdict == "UNVERIFIED"
    assert "changed its argument plan in place, a Plan" in str(report)


@record_tool
def extend(rows, n):
    rows.append(n)
    return rows


def test_a_recorded_tool_changes_its_arguments_outside_of_replays_of_agents_too(trace_root):
    setup_logging(trace_root=trace_root)
    run_id = recorder.start_run("clerk", "extend")
    rows = [1]
    assert extend(rows, 2) is rows
    recorder.finish_run(run_id, status="success")
    shutdown_logging()
    again = [1]
    with replaying_tools(run_id, root=trace_root):
        assert extend(again, 2) is again
    assert again == [1, 2]


@dataclasses.dataclass
class Point:
    x: object


class Plain:
    def __init__(self, **attributes):
        vars(self).update(attributes)


def changed(current, wanted):
    told = {"args_after": {"v": 0}}
    answer = with_changes(told, lambda _: wanted, {"v": current}, Response(1))
    answer.change()
    return current


def test_values_take_the_content_of_others_and_stay_themselves():
    inner = [1]
    cases = [
        ([inner, 2], [[1, 5]]), ({"b": inner, "a": 1}, {"a": 2, "b": [7]}), ({1}, {2, 3}),
        (bytearray(b"ab"), bytearray(b"c")), (collections.deque([1], maxlen=2), collections.deque([2, 3])),
        (Point(inner), Point([8])), (([1], "a"), ([2], "a")), ({"t": (1, [2])}, {"t": (1, [3])}), (collections.OrderedDict(a=1), collections.OrderedDict(b=2)),
    ]  # fmt: skip
    for current, wanted in cases:
        assert changed(current, wanted) == wanted
        if type(current) is dict:
            assert list(current) == list(wanted)
    assert inner == [8]
    array = np.zeros(2)
    assert changed(array, np.ones(2)).tolist() == [1.0, 1.0]
    plain = changed(Plain(a=1, gone=2), {"a": 5, "new": inner})
    assert vars(plain) == {"a": 5, "new": inner}


def test_what_cannot_take_the_content_of_another_is_refused():
    frozen = np.zeros(2)
    frozen.flags.writeable = False
    for current, wanted in [
        (np.zeros(2), np.zeros(3)),
        (frozen, np.ones(2)),
        ([1], {"a": 1}),
        (Plain(), {"a": 1}),
    ]:
        with pytest.raises(Unanswerable, match="changed its argument v in place"):
            changed(current, wanted)
    with pytest.raises(Unanswerable, match="cannot be restored"):
        changed([1], LACKING)
    with pytest.raises(Unanswerable, match="not given here"):
        with_changes({"args_after": {"w": 0}}, lambda _: 1, {"v": 1}, Response(1))
    with pytest.raises(Unanswerable, match="not in the recording"):
        with_changes({"args_after": "[dict 1:00]"}, lambda _: 1, {"v": 1}, Response(1))
