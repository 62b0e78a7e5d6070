"""What a replayed action makes of its own arguments is compared, as are those of the calls inside it."""

from __future__ import annotations

import orjson
import pytest
from support.session_files import remove_digests

PROGRAM = """
import asyncio
from dataclasses import dataclass, field

@dataclass
class Order:
    lines: list = field(default_factory=list)

class Plain:
    def __init__(self): self.seen = []

class Clerk:
    agent_id, agent_role = "a", "clerk"
    def __init__(self): self.rounds = 0
    def again(self):
        self.rounds += 1
        return self.rounds
    @trace_agent_action
    def sort_bids(self, bids):
        bids.sort()
        return self.again()
    @trace_agent_action
    def note(self, table):
        table["deep"][0]["n"] = 1
        return self.again()
    @trace_agent_action
    def fill(self, order, plain):
        order.lines.append(("tea", 2))
        plain.seen.append(3)
        return self.again()
    @trace_agent_action
    async def later(self, bids):
        await asyncio.sleep(0)
        bids.append(4)
        return self.again()
    @trace_agent_action
    def give_back(self, bids):
        bids.append(5)
        return bids
    @trace_agent_action
    def look(self, bids, table):
        return self.again()

def build(spec): return Clerk()
def main():
    clerk = Clerk()
    clerk.sort_bids([3, 1, 2])
    clerk.note({"deep": [{}], "x": 1})
    clerk.fill(Order(), Plain())
    asyncio.run(clerk.later([1]))
    clerk.give_back([1])
    clerk.look([1], {"a": [2]})
"""


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("before", "after", "step", "where"),
    [
        ("bids.sort()", "bids.sort(reverse=True)", 1, "argument bids[0], as the call left it"),
        ("bids.sort()", "bids = sorted(bids)", None, "argument bids of sort_bids of a ended differently"),
        ('["n"] = 1', '["n"] = 2', 2, "argument table['deep'][0]['n'], as the call left it"),
        ('("tea", 2)', '("tea", 2.0)', 3, "argument order.lines[0][1], as the call left it"),
        ("seen.append(3)", "seen.append(4)", 3, "[0], as the call left it"),
        ("bids.append(4)", "bids.append(5)", None, "argument bids of later of a ended differently"),
        ("return self.again()\n\ndef build", "bids.clear(); return self.again()\n\ndef build", 6, "bids, as"),
    ],
)
def test_an_action_that_changes_its_argument_otherwise_is_not_green(toy, before, after, step, where):
    report = toy.record(PROGRAM).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change(before, after).replay()
    assert report.verdict == ("UNVERIFIED" if step is None else "DIVERGED"), str(report)
    assert where in str(report)
    if step is not None:
        assert report.divergence.step == step


def test_an_action_that_only_changes_its_argument_says_something(toy):
    program = """
    class Clerk:
        agent_id, agent_role = "a", "clerk"
        @trace_agent_action
        def sort_bids(self, bids): bids.sort()
    def build(spec): return Clerk()
    def main(): Clerk().sort_bids([3, 1, 2])
    """
    report = toy.record(program).replay()
    assert (report.verdict, report.outcome.counts.covered) == ("IDENTICAL", 1), str(report)


def test_arguments_that_did_not_change_write_nothing(toy):
    toy.record(PROGRAM)
    log = next(toy.root.glob("session_*/agents/a.log")).read_bytes()
    lines = [orjson.loads(line) for line in log.splitlines()]
    told = {
        each["extra"]["call"].rpartition(".")[2]: each["extra"] for each in lines if "call" in each["extra"]
    }
    assert [name for name, extra in told.items() if "args_after" not in extra] == ["look"]
    assert not any("result_is" in extra for extra in told.values())


INSIDE = """
class Basket:
    def __init__(self): self.lines = []

class Till:
    agent_id, agent_role = "t", "till"
    def __init__(self): self.sums = 0
    @trace_agent_action
    def count(self, rows):
        rows.append(9)
        self.sums += 1
        return self.sums

class Clerk:
    agent_id, agent_role = "a", "clerk"
    def __init__(self, till): self.rounds, self.till = 0, till
    @trace_agent_action
    def act(self, n):
        self.fill([1], n)
        self.pack(Basket(), n)
        self.till.count([2])
        self.pass_on([3])
        self.rounds += 1
        return self.rounds
    @trace_agent_action
    def fill(self, rows, n):
        rows.append(n)
    @trace_agent_action
    def pack(self, basket, n):
        basket.lines.append(("tea", n))
    @trace_agent_action
    def pass_on(self, rows):
        self.look(rows)
        rows.append(7)
    @trace_agent_action
    def look(self, rows): pass
def build(spec):
    till = Till()
    return {"a": Clerk(till), "t": till}
def main():
    clerk = Clerk(Till())
    clerk.act(3)
    clerk.act(4)
"""


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("before", "after", "verdict", "where"),
    [
        ("rows.append(n)", "rows.append(n + 1)", "DIVERGED", "rows[1], as the call left it, in agent_action fill of a"),
        ('("tea", n)', '("tea", -n)', "DIVERGED", "[0][1], as the call left it, in agent_action pack of a"),
        ("rows.append(9)", "rows.append(8)", "DIVERGED", "rows[1], as the call left it, in agent_action count of t"),
        ("rows.append(7)", "rows.append(6)", "UNVERIFIED", "argument rows of act of a ended differently"),
        ("rows.append(n)", "return len(rows)", "DIVERGED", "fill of a"),
    ],
)  # fmt: skip
def test_what_a_call_inside_an_action_makes_of_an_argument_is_compared(toy, before, after, verdict, where):
    toy.record(INSIDE)
    assert toy.replay("last").verdict == "IDENTICAL"
    report = toy.change(before, after).replay("last")
    assert report.verdict == verdict, str(report)
    assert where in str(report)


def _make_older(toy, versions, lacks):
    """Leave out the arguments that calls changed, of those lines whose calls did not tell it at the time."""
    session = next(toy.root.glob("session_*"))
    (described := session / "session.json").write_bytes(
        orjson.dumps(
            {**orjson.loads(described.read_bytes()), "versions": {"agent-trace": "0.1.0", **versions}}
        )
    )
    left_out = 0
    for log in session.glob("agents/*.log"):
        lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
        for line in filter(lacks, lines):
            left_out += line["extra"].pop("args_after", None) is not None
            if "types" in line:
                line["types"] = {at: tag for at, tag in line["types"].items() if "/args_after/" not in at}
        log.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    remove_digests(session)
    assert left_out > 0


SHARED = """
class Exchange:
    agent_id, agent_role = "x", "exchange"
    def __init__(self, book): self.book, self.n = book, 0
    @trace_agent_action
    def place(self, price):
        self.n += 1
        self.book.append(price)
        return self.n
class Trader:
    agent_id, agent_role = "a", "trader"
    def __init__(self): self.own, self.n = [3, 1], 0
    @trace_agent_action
    def act(self, book, price):
        DESK["x"].place(price)
        self.n += 1
        return self.n
    @trace_agent_action
    def tidy(self, rows):
        rows.sort()
        return len(rows)
DESK = {}
def build(spec):
    DESK["x"] = Exchange([])
    return {"x": DESK["x"], "a": Trader()}
def main():
    book, trader = [], Trader()
    DESK["x"] = Exchange(book)
    trader.act(book, 3)
    trader.act(book, 4)
    trader.tidy(trader.own)
    trader.tidy([5, 4])
"""


def test_an_argument_that_others_hold_is_no_false_red(toy):
    report = toy.record(SHARED).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert "note: argument book of act of a ended differently" in str(report)
    report = toy.change("self.n += 1\n        return", "self.n = 1 + self.n\n        return").replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "because code changed, and argument book of act of a ended differently" in str(report)


def test_an_argument_that_the_agent_holds_is_its_own_object(toy):
    report = toy.record(SHARED).change("rows.sort()", "rows[:] = sorted(rows)").replay("last/a")
    assert report.divergence is None, str(report)
    report = toy.change("rows[:] = sorted(rows)", "rows.reverse(); rows.reverse()").replay("last/a")
    assert report.divergence.where == "field own", str(report)


HELD = """
from collections import deque
from dataclasses import dataclass, field

@dataclass(slots=True)
class Lot:
    name: str
    bids: list = field(default_factory=list)

class House:
    agent_id, agent_role = "a", "house"
    def __init__(self):
        self.lots, self.names, self.queue = {"cup": Lot("cup")}, {"x"}, deque([1])
    @trace_agent_action
    def close(self, lot): lot.bids.append(1)
    @trace_agent_action
    def forget(self, names): names.add("y")
    @trace_agent_action
    def next(self, queue): return queue.popleft()
def build(spec): return House()
def main():
    house = House()
    house.close(house.lots["cup"])
    house.forget(house.names)
    house.next(house.queue)
"""


def test_records_and_containers_that_the_agent_holds_are_its_own_objects(toy):
    report = toy.record(HELD).replay()
    assert report.verdict == "IDENTICAL", str(report)
    report = toy.change("lot.bids.append(1)", "lot.bids.append(2)").replay()
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)


PARTS = """
class Walker:
    agent_id, agent_role = "a", "walker"
    def __init__(self): self.path, self.n = [], 0
    @trace_agent_action
    def step(self, seen):
        self.n += 1
        self.path.append(self.n)
        seen["new"].append(self.n)
        return self.n
def build(spec): return Walker()
def main():
    walker = Walker()
    for _ in range(3):
        walker.step({"path": walker.path, "new": []})
"""


def test_parts_of_an_argument_that_the_agent_holds_are_no_false_red(toy):
    report = toy.record(PARTS).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "note: argument seen of step of a ended differently" in str(report)
    report = toy.change('seen["new"].append(self.n)', 'seen["new"].append(0)').replay()
    assert report.verdict == "UNVERIFIED", str(report)


BESIDE_ATTRIBUTES = """
import array, io, itertools, types
from functools import partial

class Box:
    def __init__(self): self.count = 0
    def more(self): self.count += 1

class Clerk:
    agent_id, agent_role = "a", "clerk"
    @trace_agent_action
    def use(self, each, change):
        getattr(self, change)(each, 1)
        return 1
    def append(self, each, n): each.append(n)
    def read(self, each, n): each.read(n)
    def put(self, each, n): each["k"].append(n)
    def take(self, each, n): [next(each) for _ in range(n)]
    def call(self, each, n): [each() for _ in range(n)]

def build(spec): return Clerk()
def main():
    clerk = Clerk()
    clerk.use({made}, "{change}")
"""


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("made", "change"),
    [
        ('array.array("i", [1])', "append"), ('io.StringIO("abcd")', "read"),
        ('types.MappingProxyType({"k": []})', "put"), ("itertools.count()", "take"),
        ("Box().more", "call"), ("partial(Box().more)", "call"), ("iter([1, 2, 3])", "take"),
        ('enumerate("abc")', "take"), ("memoryview(bytearray(3))", "append"),
    ],
)  # fmt: skip
def test_what_an_action_does_to_an_argument_with_more_than_attributes_is_not_green_if_it_changed(
    toy, made, change
):
    program = BESIDE_ATTRIBUTES.replace("{made}", made).replace("{change}", change)
    if made.startswith("memoryview"):
        program = program.replace("each.append(n)", "each.__setitem__(0, n)")
    before = toy.record(program).replay()
    report = toy.change("(each, 1)", "(each, 2)").replay()
    if before.verdict == "IDENTICAL":
        assert report.verdict == "DIVERGED", str(report)
        assert "as the call left it" in str(report)
    else:
        assert (before.verdict, report.verdict) == ("UNVERIFIED", "UNVERIFIED"), str(report)
