"""The latest point at which a change still alters the outcome, where arithmetic tells it."""

import pytest

from Agent.errors import UsageError
from Agent.replay import turning_point

RUNNER = """
class Runner:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "runner"
        self.speed, self.total = 1, 0

    def trace_state(self):
        return {"speed": self.speed, "total": self.total, "is_fast": self.speed > 3}

    def trace_restore(self, state):
        self.speed, self.total = state["speed"], state["total"]

    @trace_agent_action
    def run(self):
        self.total += self.speed
        return self.total

def build(spec):
    return Runner()

def main():
    from Agent import tick
    runner = Runner()
    for minute in range(20):
        with tick(minute):
            runner.run()
"""


@pytest.fixture
def search(toy):
    toy.record(RUNNER)

    def find(outcome, step="step_0", speed=5):
        return turning_point("last/a", step, {"speed": speed}, outcome, f"{toy.name}:build", toy.root)

    return find


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.parametrize(("goal", "last"), [(50, 12), (97, 0), (21, 19), (60, 10)])
def test_the_last_point_is_the_one_that_arithmetic_tells(search, goal, last):
    """After k actions at speed 1 and 20 - k at speed 5 the total is 100 - 4 k."""
    found = search(f"total>={goal}")
    assert found.last.actions == last
    assert found.lost.actions == last + 1
    assert found.lost.tick == last, "the tick of the last action before the point"
    assert found.exit_code == 0
    assert len(found.probes) <= 7, "the range is halved"


def test_a_change_that_is_too_late_at_once_alters_nothing(search):
    found = search("total>=50", step="step_15")
    assert (found.last, found.exit_code, len(found.probes)) == (None, 1, 1)
    assert "no longer" in str(found)


def test_a_change_that_is_never_too_late(search):
    found = search("is_fast")
    assert (found.lost, found.last.actions) == (None, 20)


def test_an_outcome_that_many_changes_alter_is_refused(search):
    with pytest.raises(UsageError):
        search("error")


@pytest.mark.parametrize("outcome", ["speed>3", "a.speed", "a/speed=5"])
def test_what_the_change_itself_sets_is_no_outcome(search, outcome):
    with pytest.raises(UsageError, match="which the change itself sets") as refused:
        search(outcome)
    assert "affects indirectly" in refused.value.remedy
