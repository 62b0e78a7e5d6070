"""What code outside of actions changes in what agents hold is changed again by a replay, and nothing else is."""

from __future__ import annotations

import re

import pytest

PROGRAM = """
import random
import numpy as np

class World:
    def __init__(self):
        self.time, self.count, self.agents = 0, 0, []
        self.rng = {make}

STEP = 0
RNG = {make}

class Walker:
    def __init__(self, number, world):
        self.agent_id, self.agent_role, self.total = f"w{number}", "walker", 0.0
        self.own, self.box = {make}, {"rng": {make}, "weight": 1}
        {fields}

    @trace_agent_action
    def go(self):
        self.total += {read}
        {write}
        return round(self.total, 6)

def fresh():
    world = World()
    world.agents = [Walker(number, world) for number in range(3)]
    return world

def build(spec):
    found = {each.agent_id: each for each in fresh().agents}
    return found if spec.agent_id is None else found[spec.agent_id]

def main():
    global STEP
    world = fresh()
    for step in range(9):
        for walker in world.agents:
            {change}
            walker.go()
    return world
"""
MAKES = {
    "random": "random.Random(7)",
    "numpy": "np.random.default_rng(7)",
    "twister": "np.random.Generator(np.random.MT19937(7))",
    "philox": "np.random.Generator(np.random.Philox(7))",
}
PLACES = {
    "own": "walker.own",
    "nested": 'walker.box["rng"]',
    "shared": "walker.shared",
    "world": "walker.world.rng",
    "global": "RNG",
}


def _program(**parts: str) -> str:
    program = PROGRAM
    for name, text in {
        "make": MAKES["random"],
        "fields": "self.world = world",
        "write": "pass",
        **parts,
    }.items():
        program = program.replace(f"{{{name}}}", text)
    return program


def _drawn(make: str, place: str, change: str) -> str:
    return _program(
        make=MAKES[make],
        fields="self.world, self.shared = world, world.rng",
        read=f"{PLACES[place].replace('walker', 'self')}.random()",
        change=change,
    )


@pytest.mark.integration
@pytest.mark.process
@pytest.mark.parametrize("make", MAKES)
def test_a_scheduler_may_draw_from_any_generator_that_agents_reach(toy, make):
    for place, text in PLACES.items():
        report = toy.record(_drawn(make, place, f"{text}.random()")).replay("last")
        assert report.verdict == "IDENTICAL", (place, str(report))
        assert report.exit_code == 0


@pytest.mark.process
def test_one_draw_more_by_an_action_differs_although_the_scheduler_draws_too(toy):
    program = _drawn("numpy", "shared", "walker.own.random()")
    toy.record(program)
    toy.write(program.replace("        pass\n        return", "        self.own.random()\n        return"))
    report = toy.replay("last")
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.own"), str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize(
    ("read", "change"),
    [
        ("self.world.time", "world.time = step"),
        ("self.world.time", "world.time += 0.5"),
        ("STEP", "STEP = step"),
        ("(self.world.time or 0)", "world.time = None if step % 2 else step"),
    ],
)
def test_clocks_of_a_world_and_of_a_module_are_set_as_they_were(toy, read, change):
    report = toy.record(_program(read=read, change=change)).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert "written from outside, repeated from the recording" in str(report)
    single = toy.replay("last/w1")
    assert single.verdict == "IDENTICAL", str(single)


@pytest.mark.further
@pytest.mark.process
def test_what_changed_code_leaves_in_a_shared_object_is_a_difference_although_no_result_shows_it(toy):
    program = _program(read="1", write="self.world.count += 1", change="world.count += 10")
    toy.record(program)
    assert toy.replay("last").verdict == "IDENTICAL"
    toy.write(program.replace("world.count += 1\n", "world.count += 2\n"))
    report = toy.replay("last")
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.world.count"), str(report)
    assert report.divergence.step == 2


@pytest.mark.integration
def test_what_actions_alone_leave_in_an_object_that_the_scheduler_changes_is_compared_before_its_next_change(
    toy,
):
    program = _program(read="1", write="self.world.count += 1", change="world.time = step")
    toy.record(program)
    assert toy.replay("last").verdict == "IDENTICAL"
    toy.write(program.replace("self.world.count += 1", "pass"))
    report = toy.replay("last")
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.world.count"), str(report)
    assert (
        report.divergence.step == 7
    )  # the clock moves at the steps 4 and 7: it is seen to be changed from 4 on


@pytest.mark.further
@pytest.mark.process
def test_what_actions_alone_leave_in_a_container_there_is_compared_at_the_end(toy):
    program = _program(
        read="1", write="self.world.__dict__.setdefault('seen', []).append(1)", change="world.time = step"
    )
    toy.record(program)
    assert toy.replay("last").verdict == "IDENTICAL"
    toy.write(program.replace("self.world.__dict__.setdefault('seen', []).append(1)", "pass"))
    report = toy.replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "what w0.world leads to did not end as in the recording" in str(report)


@pytest.mark.further
@pytest.mark.process
def test_a_constant_that_changes_such_an_object_otherwise_proves_nothing(toy):
    program = "RATE = 1\n" + _program(read="1", write="self.world.count += RATE", change="world.time = step")
    report = toy.record(program).change("RATE = 1", "RATE = 2").replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "world.count of " in str(report)


@pytest.mark.further
@pytest.mark.process
def test_a_read_of_a_generator_whose_draws_are_recorded_leaves_no_doubt(toy):
    program = "RATE = 1\n" + _program(read="RATE * self.world.rng.random()", change="world.time = step")
    report = toy.record(program).change("RATE = 1", "RATE = 2").replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)


@pytest.mark.further
@pytest.mark.process
def test_a_changed_result_differs_although_the_clock_is_set(toy):
    program = _program(read="self.world.time", change="world.time = step")
    toy.record(program)
    toy.write(program.replace("self.total += self.world.time", "self.total += self.world.time * 2"))
    report = toy.replay("last")
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "result"), str(report)


@pytest.mark.integration
@pytest.mark.process
def test_a_single_agent_that_shares_a_generator_proves_nothing_and_is_never_a_difference(toy):
    for make in MAKES:
        for place in ("shared", "global"):
            toy.record(_drawn(make, place, "pass"))
            report = toy.replay("last/w1")
            assert report.verdict in {"IDENTICAL", "UNVERIFIED"}, (make, place, str(report))


INBOX = """
class Letter:
    def __init__(self, text):
        self.text = text

class Clerk:
    def __init__(self):
        self.agent_id, self.agent_role, self.inbox, self.done = "a", "clerk", [], 0

    @trace_agent_action
    def work(self):
        if self.inbox:
            self.done += len(self.inbox.pop().text)
        return self.done

def build(spec):
    return Clerk()

def main():
    clerk = Clerk()
    for number in range(30):
        if number > 14 and number % 3 == 0:
            clerk.inbox.append(Letter("x" * number))
        clerk.work()
"""


@pytest.mark.further
@pytest.mark.process
def test_objects_that_the_program_puts_into_a_list_late_are_put_there_again(toy):
    report = toy.record(INBOX).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "written from outside, repeated from the recording: a.inbox" in str(report)
    toy.change("len(self.inbox.pop().text)", "len(self.inbox.pop().text) + 1")
    assert toy.replay().divergence.step == 16


REMEMBERED = """
import functools

def remembered(method):
    @functools.wraps(method)
    def wrapper(self, *args):
        answer = method(self, *args)
        self.answers[args] = answer
        return answer
    return wrapper

class Box:
    def __init__(self):
        self.agent_id, self.agent_role, self.answers = "a", "box", {}

    @trace_agent_action
    @remembered
    def offer(self, train, weight=3, *, loud=False):
        return f"{train}{weight}{loud}"

def build(spec):
    return Box()

def main():
    box = Box()
    box.offer("t")
    box.offer("t", 4)
"""


@pytest.mark.process
def test_a_decorator_that_takes_positions_alone_gets_them(toy):
    report = toy.record(REMEMBERED).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert toy.change("{weight}", "{weight + 1}").replay().verdict == "DIVERGED"


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize("broken", ['"moved":3', '"moved":{"x":{}}', '"moved":{"1":{"time":4}}'])
def test_a_change_that_cannot_be_read_is_damage(toy, broken):
    toy.record(_program(read="self.world.time", change="world.time = step"))
    for path in toy.root.glob("session_*/agents/*.log"):
        path.write_text(re.sub(r'"moved":\{"1":\{.*?\}\}\}', broken, path.read_text()))
    report = toy.replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "cannot be read" in str(report), str(report)


HELD_VALUES = """
import asyncio
from collections import deque
import numpy as np

class Roads:
    def __init__(self):
        self.edges, self.nodes = {(0, 1): 2.0}, {number: {"load": 0, "cap": 3} for number in range(4)}

class World:
    def __init__(self):
        self.field, self.board = np.zeros((3, 2)), [[0, 0], [0, 0]]
        self.prices, self.tags, self.events = {"tea": 3}, set(), deque(maxlen=3)
        self.roads, self.large = Roads(), list(range(500))
        self.board_view = self.board

class Walker:
    def __init__(self, name, world):
        self.agent_id, self.world, self.post, self.total = name, world, asyncio.Queue(), 0.0

    @trace_agent_action
    def go(self, step):
        {write}
        self.total += {read}
        return self.total

def make():
    world = World()
    return world, [Walker("one", world), Walker("two", world)]

def build(spec):
    world, walkers = make()
    found = {each.agent_id: each for each in walkers}
    return found if spec.agent_id is None else found[spec.agent_id]

def main():
    world, walkers = make()
    for step in range({steps}):
        for walker in walkers:
            {change}
            walker.go(step)
"""
CHANGES = {
    "an array, replaced": ("world.field = world.field + step", "float(self.world.field.sum())"),
    "an array, in place": ("world.field[step % 3] += 1", "float(self.world.field[1, 0])"),
    "a list in a list": ("world.board[step % 2][0] += step", "self.world.board_view[1][0]"),
    "a dict": ("world.prices[f'p{step % 3}'] = step", "sum(self.world.prices.values())"),
    "a set": ("world.tags.symmetric_difference_update({step % 4})", "sum(self.world.tags)"),
    "a deque": ("world.events.append(('rain', step))", "sum(day for _, day in self.world.events)"),
    "an inner object": ("world.roads.nodes[step % 4]['load'] += 1", "self.world.roads.nodes[2]['load']"),
    "a queue": ("walker.post.put_nowait(step)", "self.post.get_nowait() if not self.post.empty() else 0"),
    "a long list": ("world.large[7] += 1", "self.world.large[7]"),
}


def _held_values(change: str, read: str, write: str = "pass", steps: int = 9) -> str:
    program = HELD_VALUES.replace("{change}", change).replace("{read}", read).replace("{write}", write)
    return program.replace("{steps}", str(steps))


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("kind", CHANGES)
def test_containers_and_arrays_that_a_scheduler_changes_are_changed_again(toy, kind):
    toy.record(_held_values(*CHANGES[kind]))
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert any(kind != "a queue" or "post" in name for name in report.proof["imposed"]), str(report)
    report = toy.change("return self.total", "return self.total + (step == 5)").replay("last")
    assert report.verdict == "DIVERGED", str(report)


@pytest.mark.first_case
@pytest.mark.parametrize("kind", ["an array, in place", "a list in a list", "a dict"])
def test_what_changed_code_leaves_there_otherwise_is_no_false_green(toy, kind):
    change, _ = CHANGES[kind]
    write = change.replace("world.", "self.world.").replace("step", "int(self.total * 2 + 1)")
    toy.record(_held_values(change, "1", write))
    assert toy.replay("last").verdict == "IDENTICAL"
    report = toy.change(write, "pass").replay("last")
    assert report.verdict in {"DIVERGED", "UNVERIFIED"}, str(report)


@pytest.mark.further
def test_late_changes_of_containers_are_seen(toy):
    change, read = CHANGES["a list in a list"]
    toy.record(_held_values(f"if step > 60: {change}", read, steps=80))
    report = toy.replay("last")
    assert report.verdict == "IDENTICAL", str(report)


KITS = """
from dataclasses import dataclass, field
from types import SimpleNamespace

{record}

class Diver:
    def __init__(self, number):
        self.agent_id, self.agent_role, self.kit = f"d{number}", "diver", Kit()

    @trace_agent_action
    def swim(self):
        if self.kit.air <= 0:
            return "out of air"
        self.kit.air -= 2
        self.kit.bag.append(self.kit.air)
        return self.kit.air

def build(spec):
    found = {f"d{number}": Diver(number) for number in range(2)}
    return found if spec.agent_id is None else found[spec.agent_id]

def main():
    divers = [Diver(number) for number in range(2)]
    for step in range(120):
        for diver in divers:
            if diver.swim() == "out of air":
                diver.kit.air = 150
                diver.kit.bag.clear()
    return divers
"""
RECORDS = {
    "a dataclass": "@dataclass\nclass Kit:\n    air: int = 200\n    bag: list = field(default_factory=list)\n"
    "    lamp: object = field(default_factory=lambda: SimpleNamespace(on=True))\n",
    "a dataclass with slots": "@dataclass(slots=True)\nclass Kit:\n    air: int = 200\n"
    "    bag: list = field(default_factory=list)\n",
    "slots": "class Kit:\n    __slots__ = ('air', 'bag')\n\n    def __init__(self):\n"
    "        self.air, self.bag = 200, []\n",
    "a pydantic model": "from pydantic import BaseModel\n\nclass Kit(BaseModel):\n    air: int = 200\n"
    "    bag: list = []\n",
    "an attrs class": "import attrs\n\n@attrs.define\nclass Kit:\n    air: int = 200\n"
    "    bag: list = attrs.Factory(list)\n",
    "attributes": "class Kit:\n    def __init__(self):\n        self.air, self.bag = 200, []\n",
}


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize("run", ["last", "last/d1"])
def test_what_a_scheduler_writes_late_into_a_record_that_an_agent_holds_is_written_again(toy, kind, run):
    toy.record(KITS.replace("{record}", RECORDS[kind]))
    report = toy.replay(run)
    assert report.verdict == "IDENTICAL", str(report)
    assert any(name.endswith("kit.air") for name in report.proof["imposed"]), str(report)
    report = toy.change("self.kit.air -= 2", "self.kit.air -= 1 + (len(self.kit.bag) < 90)").replay(run)
    assert report.verdict == "DIVERGED", str(report)
