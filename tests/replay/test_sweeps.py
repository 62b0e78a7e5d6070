"""Many forks of one point: how outcomes are distributed, and the smallest change that flips one."""

import json

import pytest

from Agent.errors import TargetNotGiven, UsageError
from Agent.replay import sweep_forks
from Agent.replay.forks.outcome import OutcomeOf
from Agent.tree.layout import list_sessions

SAVER = """
import random
from Agent import tick

class Saver:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "saver"
        self.chance = random.Random(4)
        self.money, self.rate, self.limit, self.mood = 10.0, 1.0, 10, {"calm": 1, "keen": 0}

    @trace_agent_action
    def save(self, amount):
        self.money += amount * self.rate + self.chance.random()
        if self.money > 90 and self.mood["keen"]:
            raise OverflowError("too keen")
        return round(self.money, 3)

def main():
    saver = Saver()
    for number in range(1, 11):
        with tick(number):
            saver.save(number)

def build(spec):
    return Saver()
"""


def sweep(toy, patches=(), **how):
    session = list_sessions(toy.root)[0].session_id
    return sweep_forks(f"{session}/a", "step_5", patches, target=f"{toy.name}:build", root=toy.root, **how)


def test_a_sweep_over_seeds_shows_how_a_number_is_distributed_and_leaves_no_runs(toy):
    toy.record(SAVER)
    report = sweep(toy, seeds=range(1, 13), outcome="money", workers=2)
    assert len(report.forks) == len(report.numbers) == 12
    assert len(set(report.numbers)) == 12
    # 10 at the beginning, 55 in all, and ten draws below one
    assert all(65 < number < 75 for number in report.numbers)
    assert report.redriven == 5
    assert report.baseline not in report.numbers
    assert len(list_sessions(toy.root)) == 1
    assert "median" in str(report)
    kept = json.loads((report.path / "sweep.json").read_bytes())
    assert len(kept["forks"]) == 12


def test_the_same_sweep_twice_gives_the_same(toy):
    toy.record(SAVER)
    values = [[fork.value for fork in sweep(toy, seeds=range(4), outcome="money").forks] for _ in range(2)]
    assert values[0] == values[1]


def test_the_smallest_change_that_flips_an_outcome_is_found_and_freed_of_what_it_does_not_need(toy):
    toy.record(SAVER)
    patches = [
        {"rate": 1.2},
        {"rate": 3.0, "mood": {"keen": 1}, "limit": 99},
        {"rate": 9.0, "limit": 3, "mood": {"calm": 0, "keen": 1}},
    ]
    report = sweep(toy, patches, outcome="error")
    assert report.baseline == "no error"
    assert [fork.value for fork in report.forks] == ["no error", "OverflowError", "OverflowError"]
    assert report.smallest == {"patch": {"rate": 3.0, "mood": {"keen": 1}}, "seed": None}
    assert "agent-trace fork" in str(report)


def test_of_single_numbers_the_one_nearest_to_what_it_was_is_the_smallest_change(toy):
    toy.record(SAVER)
    patches = [{"rate": rate} for rate in (0.5, 5.0, 2.0, 1.1)]
    report = sweep(toy, patches, outcome="money>100")
    assert [fork.value for fork in report.forks] == [False, True, True, False]
    assert report.smallest["patch"] == {"rate": 2.0}


def test_every_patch_is_tried_with_every_seed(toy):
    toy.record(SAVER)
    report = sweep(toy, [{"rate": 0.0}, {"rate": 1.0}], seeds=[1, 2, 3], outcome="money")
    assert [(fork.patch["rate"], fork.seed) for fork in report.forks] == [
        (rate, seed) for rate in (0.0, 1.0) for seed in (1, 2, 3)
    ]


def test_a_patch_that_does_not_fit_is_one_error(toy):
    toy.record(SAVER)
    with pytest.raises(UsageError, match="does not fit"):
        sweep(toy, [[{"op": "remove", "path": "/nothing"}]])


def test_a_sweep_with_nothing_to_try_or_no_target_is_one_error(toy):
    toy.record(SAVER)
    with pytest.raises(UsageError, match="a sweep needs changes"):
        sweep(toy)
    with pytest.raises(TargetNotGiven):
        sweep_forks("last/a", "step_5", seeds=[1], root=toy.root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("money", 12.5),
        ("a.money", 12.5),
        ("mood.keen", 1),
        ("mood/keen>=1", True),
        ("money>12.5", False),
        ("name=ann", True),
        ("name>3", False),
        ("price==0.1", True),
        ("price<0.1", False),
        ("share>0.3", True),
        ("huge>1", True),
        ("endless>1", False),
        ("nothing", "<absent>"),
        ("error", "no error"),
    ],
)
def test_an_outcome_is_a_field_a_condition_or_an_error(text, expected):
    from Agent.replay.forks.outcome import ForkOutcome

    fields = {"money": 12.5, "mood": {"keen": 1}, "name": "ann", "price": "0.10", "share": "1/3"}
    fields |= {"huge": "1e999999999", "endless": "Infinity"}
    fork = ForkOutcome(agents=["a"], states={"a": fields})
    assert OutcomeOf.parse(text).of(fork) == expected
