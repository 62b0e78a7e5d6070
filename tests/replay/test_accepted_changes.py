"""Intended changes: a golden trace goes on to check what came before the step from which new behaviour is right."""

import pytest

from Agent.errors import ReplayError, UsageError
from Agent.replay import Verdict, accept_golden, add_golden, check_golden, find_golden, update_golden

TILL = """
LIMIT = 100

class Till:
    def __init__(self, name="till"):
        self.agent_id, self.agent_role = name, "till"
        self.coins = 0

    @trace_agent_action
    def pay(self, amount):
        self.coins += amount
        return {"coins": self.coins, "full": self.coins > LIMIT}

def build(spec):
    found = {name: Till(name) for name in spec.agent_ids}
    return found if spec.agent_id is None else found[spec.agent_id]

def main():
    tills = [Till(), Till("other")]
    for amount in (1, 2, 3, 4, 5, 6):
        for each in tills:
            each.pay(amount)
"""


def kept(toy, run="last/till"):
    added = add_golden(run, f"{toy.name}:build", toy.root, name="till", directory=toy.directory / "goldens")
    assert added.is_kept, added.failing
    return added.golden


def reread(golden):
    return find_golden(golden.name, golden.directory.parent)


@pytest.mark.further
@pytest.mark.parametrize("run", ["last/till", pytest.param("last", marks=pytest.mark.integration)])
def test_from_the_step_on_the_new_behaviour_holds_and_before_it_the_old(toy, run):
    golden = kept(toy.record(TILL), run)
    step = 4 if run == "last/till" else 7  # the fourth payment makes ten coins
    toy.change("LIMIT = 100", "LIMIT = 9")
    assert check_golden(golden).report.divergence.step == step
    with pytest.raises(ReplayError, match=f"already differs at step {step}, before step {step + 1}"):
        accept_golden(golden, step + 1, "too late")
    report = accept_golden(golden, step, "the till is full at ten\n coins")
    assert report.passes, report
    golden = reread(golden)
    (change,) = golden.accepted
    assert (change.step, change.reason) == (step, "the till is full at ten coins")
    assert change.event_id
    assert str(change) in str(report)
    assert (golden.directory / change.file).is_file()
    assert check_golden(golden).passes
    # the old behaviour from there on is a failure now
    toy.change("LIMIT = 9", "LIMIT = 100")
    report = check_golden(golden).report
    assert (report.verdict, report.divergence.step) == (Verdict.DIVERGED, step)
    # and what came before is checked against what was recorded first
    toy.change("LIMIT = 100", "LIMIT = 2")
    found = check_golden(golden)
    assert (found.passes, found.before) == (False, change)
    assert f"before step {step}, where a change was accepted" in str(found)


@pytest.mark.integration
def test_changes_follow_one_another_and_each_cuts_what_is_older(toy):
    golden = kept(toy.record(TILL))
    toy.change("LIMIT = 100", "LIMIT = 9")
    accept_golden(golden, 4, "ten")
    toy.change("LIMIT = 9", "LIMIT = 5")  # from the third payment on
    with pytest.raises(ReplayError, match="already differs at step 3, before step 4"):
        accept_golden(reread(golden), 4, "five")
    assert accept_golden(reread(golden), 3, "five").passes
    golden = reread(golden)
    assert [(each.step, each.reason) for each in golden.accepted] == [(4, "ten"), (3, "five")]
    assert len({each.file for each in golden.accepted}) == 2
    toy.change("LIMIT = 5", "LIMIT = 0")
    assert accept_golden(golden, 1, "all of it").passes
    (change,) = reread(golden).accepted
    assert (change.step, change.file) == (1, "")
    assert not list(golden.directory.glob("before_step*"))


FIRST_INSIDE = """
LIMIT = 3

class Clerk:
    def __init__(self):
        self.agent_id, self.asked = "clerk", 0

    @trace_agent_action
    def empty(self, till):
        self.asked += 1
        return till.take(3)

class Till:
    def __init__(self, clerk):
        self.agent_id, self.coins, self.clerk = "till", 0, clerk

    @trace_agent_action
    def take(self, amount):
        self.coins -= amount
        return self.coins

    @trace_agent_action
    def pay(self, amount):
        self.coins += amount
        return self.clerk.empty(self) if self.coins > LIMIT else self.coins

def build(spec=None):
    clerk = Clerk()
    return {"clerk": clerk, "till": Till(clerk)}

def main():
    till = build()["till"]
    for amount in (1, 2, 1, 1, 2, 3):
        till.pay(amount)
"""


@pytest.mark.further
def test_an_agent_may_act_for_the_first_time_inside_the_action_of_another(toy):
    golden = kept(toy.record(FIRST_INSIDE), "last")
    assert update_golden(golden).passes
    toy.change("LIMIT = 3", "LIMIT = 2")
    assert check_golden(golden).report.divergence.step == 2
    assert accept_golden(golden, 2, "two coins are enough").passes
    assert check_golden(reread(golden)).passes
    toy.change("LIMIT = 2", "LIMIT = 4")
    assert check_golden(reread(golden)).report.divergence.step == 2


@pytest.mark.further
def test_what_is_no_new_behaviour_is_not_accepted(toy):
    golden = kept(toy.record(TILL))
    with pytest.raises(UsageError, match="it has no new behaviour"):
        accept_golden(golden, 1, "none")
    toy.change("LIMIT = 100", "LIMIT = 9")
    for step, reason, says in [(4, "  ", "needs a reason"), (0, "x", "no step 0")]:
        with pytest.raises(UsageError, match=says):
            accept_golden(golden, step, reason)
    toy.change("self.coins += amount", "self.coins += amount + 0 * __import__('random').randint(1, 2)")
    with pytest.raises(ReplayError, match="no change of"):
        accept_golden(golden, 4, "chance")
    assert reread(golden).accepted == ()


@pytest.mark.integration
def test_an_update_keeps_the_accepted_changes_before_which_nothing_differs_and_names_the_others(toy):
    golden = kept(toy.record(TILL))
    toy.change("LIMIT = 100", "LIMIT = 9")
    accept_golden(golden, 4, "ten")
    toy.change("LIMIT = 9", "LIMIT = 14")
    report = update_golden(reread(golden))
    assert (report.passes, report.dropped) == (True, ())
    assert [(each.step, each.reason) for each in reread(golden).accepted] == [(4, "ten")]
    toy.change("amount\n        return", "amount * 2\n        return")
    assert check_golden(reread(golden)).before.step == 4, "what came before the change is still checked"
    report = update_golden(reread(golden))
    assert report.passes
    assert [each.reason for each in report.dropped] == ["ten"]
    assert "no longer kept, since the code differs before it: new behaviour from step 4 on" in str(report)
    assert reread(golden).accepted == ()
    assert check_golden(reread(golden)).passes


UNSTABLE = """
class Till:
    trace = None
    def __init__(self):
        self.agent_id, self.agent_role = "till", "till"
        self.coins, self.order = 0, []

    @trace_agent_action
    def pay(self, amount):
        self.coins += amount
        self.order = list({"apple", "pear", "plum", "fig", "kiwi", "lime", "date", "nut"})
        return self.coins

def build(spec):
    return Till()

def main():
    till = Till()
    for amount in (1, 2, 3):
        till.pay(amount)
"""


@pytest.mark.integration  # forks of one process have one hash seed
def test_what_differs_between_two_hash_seeds_is_named_with_its_ignore_line(toy):
    toy.record(UNSTABLE)
    added = add_golden("last/till", f"{toy.name}:build", toy.root, name="t", directory=toy.directory / "g")
    assert not added.is_kept
    assert added.ignorable == ("order",)
