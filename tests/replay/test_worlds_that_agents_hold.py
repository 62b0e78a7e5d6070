"""Large values that agents hold and that the program changes between their actions."""

from __future__ import annotations

import pytest

WORLD = """
import numpy as np

class Walker:
    def __init__(self, world):
        self.agent_id, self.agent_role, self.at, self.world = "a", "walker", 0, world

    @trace_agent_action
    def go(self, steps):
        self.at = (self.at + steps) % 24
        return self.at

def fresh():
    return {world}

def build(spec):
    return Walker(fresh())

def main():
    world = fresh()
    walker = Walker(world)
    for number in range(20):
        walker.go(number % 5)
        {change}
    return walker
"""
RECORDS = {
    "world": 'np.zeros((24, 24), dtype=[("fuel", "i2"), ("heat", "f4"), ("wet", "?")])',
    "change": 'world["heat"][number, 2] += 1.5',
}
CELLS = {
    "world": '{f"cell {number}": {"fuel": 0, "near": [1, 2, 3]} for number in range(400)}',
    "change": 'world["cell 3"]["fuel"] += 1',
}


@pytest.mark.further
@pytest.mark.process
def test_an_array_of_records_that_the_program_changes_between_actions_is_seen_by_name(toy):
    report = toy.record(_filled(RECORDS)).replay()
    assert report.verdict == "IDENTICAL", str(report)
    assert "seen by name: world" in str(report)
    toy.write(_filled(RECORDS).replace("% 24\n", "% 22\n"))
    report = toy.replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "result"), str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize(
    "read", ["self.world['heat'].sum()", "(lambda world: world.sum())(self.world['heat'])"]
)
def test_an_array_of_records_that_code_reads_is_no_cause_of_a_difference(toy, read):
    toy.record(_filled(RECORDS).replace("return self.at", f"return self.at + float({read})"))
    report = toy.replay(program=False)
    assert report.verdict == "UNVERIFIED", str(report)
    assert "the replayed code reads world of a by Walker.go" in str(report)
    report = toy.change("self.at = (self.at + steps) % 24", "self.at = (self.at + steps) % 3").replay()
    assert report.verdict == "DIVERGED", str(report)


@pytest.mark.further
@pytest.mark.process
def test_a_large_mapping_that_nothing_replayed_changed_proves_nothing_and_says_what_to_do(toy):
    report = toy.record(_filled(CELLS)).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "a.world differs in a full state, and nothing that was replayed changed it" in str(report)
    assert toy.replay(ignore=["world"]).verdict == "IDENTICAL"


@pytest.mark.further
@pytest.mark.process
def test_a_large_mapping_that_changed_code_left_alone_is_a_difference(toy):
    program = _filled(CELLS | {"change": "pass"})
    touching = program.replace(
        "        return self.at\n", '        self.world["cell 1"]["fuel"] += steps\n        return self.at\n'
    )
    toy.record(touching)
    assert toy.replay().verdict == "IDENTICAL"
    toy.write(program)
    report = toy.replay()
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "state.world"), str(report)


def _filled(parts: dict[str, str]) -> str:
    program = WORLD
    for name, text in parts.items():
        program = program.replace(f"{{{name}}}", text)
    return program


GRID = """
class Grid:
    def __init__(self):
        self.cells, self.marks = [[] for _ in range(9)], [0, 0, 0]

class Drift:
    def __init__(self, depth):
        self.depth = depth

class Town:
    def __init__(self):
        self.grid, self.hour = Grid(), 0

class Plough:
    def __init__(self, name, town):
        self.agent_id, self.town, self.at = name, town, 0

    @trace_agent_action
    def clear(self):
        self.at = (self.at + 1) % 9
        return sum(drift.depth for drift in self.town.grid.cells[self.at])

def fresh():
    town = Town()
    return town, [Plough(name, town) for name in "a"]

def build(spec):
    return {each.agent_id: each for each in fresh()[1]}

def main():
    town, ploughs = fresh()
    for number in range(12):
        town.hour += 1
        town.grid.marks[number % 3] += 1
        town.grid.cells[number * 4 % 9].append(Drift(number))
        for each in ploughs:
            each.clear()
"""


@pytest.mark.further
def test_what_a_followed_object_holds_and_the_program_changes_makes_a_difference_prove_nothing(toy):
    report = toy.record(GRID).replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "cells of a.town.grid by Plough.clear" in report.reasons[0], str(report)


STAND = """
class Tree:
    def __init__(self, girth):
        self.girth = girth

class Stand:
    def __init__(self):
        self.day, self.trees = 0, {number: Tree(number + 1) for number in range(200)}

def scent(tree):
    return tree.girth * 3

class Beetle:
    def __init__(self, name, stand):
        self.agent_id, self.stand, self.smelled = name, stand, 0

    @trace_agent_action
    def search(self):
        self.smelled = scent(self.stand.trees[self.stand.day % 7])
        return self.smelled

def fresh():
    stand = Stand()
    return stand, [Beetle(name, stand) for name in "ab"]

def build(spec):
    return {each.agent_id: each for each in fresh()[1]}

def main():
    stand, beetles = fresh()
    for number in range(12):
        stand.day += 1
        if number == 6:
            for tree in stand.trees.values():
                tree.girth -= 1
        for each in beetles:
            each.search()
"""


@pytest.mark.further
def test_what_is_not_looked_at_of_an_object_that_untraced_code_changes_makes_a_difference_prove_nothing(toy):
    report = toy.record(STAND).replay("last")
    assert report.verdict == "UNVERIFIED", str(report)
    assert ".stand by Beetle.search" in report.reasons[0], str(report)


@pytest.mark.further
def test_a_helper_that_changed_is_a_difference_although_untraced_code_changes_what_it_reads(toy):
    report = toy.record(STAND).change("tree.girth * 3", "tree.girth * 4").replay("last")
    assert (report.verdict, report.divergence.step) == ("DIVERGED", 1), str(report)
    assert f"but in no replayed method: {toy.name}" in str(report)


LAKES = """
class Lake:
    def __init__(self):
        self.season, self.stock = 0, [float(number) for number in range(900)]
        self.families = []

class Family:
    def __init__(self, name, lake):
        self.agent_id, self.lake, self.taken = name, lake, 0
        lake.families.append(self)

    @trace_agent_action
    def haul(self, nets):
        self.taken += nets
        return self.taken

def fresh(growth):
    lake = Lake()
    return lake, [Family(f"family {growth} {number}", lake) for number in range(3)]

def build(spec):
    return {each.agent_id: each for growth in range(3) for each in fresh(growth)[1]}

def main():
    for growth in range(3):
        lake, families = fresh(growth)
        for season in range(14):
            lake.season += 1
            for number, family in enumerate(families):
                family.haul(number + lake.season % 3)
            lake.stock[season] -= 1.5
"""


@pytest.mark.further
def test_what_untraced_code_changes_is_noticed_of_worlds_that_come_late_too(toy):
    report = toy.record(LAKES).replay("last")
    assert report.verdict == "IDENTICAL", str(report)
    assert report.proof["counts"]["driven"] == 126
    report = toy.change("self.taken += nets", "self.taken += nets + (nets == 4)").replay("last")
    assert (report.verdict, report.divergence.action) == ("DIVERGED", "haul"), str(report)


LEDGER = """
class Ledger:
    def __init__(self):
        self.entries, self.pages = [], 1

LISTENERS = []

class Clerk:
    def __init__(self, ledger):
        self.agent_id, self.ledger, self.done = "a", ledger, 0

    @trace_agent_action
    def work(self, n):
        self.done += n
        for listener in LISTENERS:
            listener(n)
        return self.done

def build(spec):
    return Clerk(Ledger())

def main():
    clerk = Clerk(Ledger())
    LISTENERS.append(clerk.ledger.entries.append)
    for n in range(12):
        clerk.work(n)
        clerk.ledger.entries.append(-n)
    return clerk
"""


@pytest.mark.process
def test_what_others_change_while_an_action_runs_proves_nothing_until_the_field_is_ignored(toy):
    report = toy.record(LEDGER).replay()
    assert report.verdict == "UNVERIFIED", str(report)
    assert "if no action reads it: --ignore ledger" in str(report)
    report = toy.replay(ignore=["ledger"])
    assert report.verdict == "IDENTICAL", str(report)
    toy.write(LEDGER.replace("self.done += n", "self.done += n + n // 3"))
    report = toy.replay(ignore=["ledger"])
    assert (report.verdict, report.divergence.field) == ("DIVERGED", "result"), str(report)
