"""A difference where threads take part, which have another order in each replay."""

from dataclasses import replace

import pytest

from Agent.replay.attempts import Attempts, RedriveOptions
from Agent.replay.compare.outcome import Counts, Divergence, ReplayOutcome, judge
from Agent.replay.rerun import _one_by_one


class Given(Attempts):
    """Gives outcomes instead of replaying."""

    def __init__(self, given, options=None):
        super().__init__(None, "program:build", options or RedriveOptions(), None)
        self.given = iter(given)

    def once(self, **_more):
        return next(self.given)


def at(step, value=4):
    """What a replay gave that ended at a difference; step 0 for one without any."""
    differs = Divergence(step, f"w-{step}", "ask", "a", "result", 3, value) if step else None
    return ReplayOutcome(
        counts=Counts(driven=6, informative=6),
        divergence=differs,
        code={"a.ask": {"recorded": "1", "replayed": "1"}},
        unsteady=["threads, ask (program.py:7)"],
    )


def changed(step):
    """The same where the code of the method changed."""
    outcome = at(step)
    outcome.code["a.ask"]["replayed"] = "2"
    return outcome


def verdict_of(*replays):
    attempts = Given(replays[2:])
    chosen = attempts._in_other_orders_of_threads(list(replays[:2]))
    return judge(chosen)[0], chosen.divergence and chosen.divergence.step, len(list(attempts.given))


@pytest.mark.parametrize(
    ("replays", "verdict"),
    [
        pytest.param([at(4), at(4), at(4)], ("DIVERGED", 4, 0), id="each time the same"),
        pytest.param(
            [at(4), at(1), at(4), at(4)], ("DIVERGED", 4, 0), id="one ended at another order before"
        ),
        pytest.param([at(1, 7), at(1, 8), at(4), at(4), at(4)], ("DIVERGED", 4, 0), id="two did"),
        pytest.param([at(1), at(4), at(0)], ("IDENTICAL", None, 0), id="an order agrees"),
        pytest.param([at(4, n) for n in range(6)], ("UNVERIFIED", 4, 0), id="another one each time"),
        pytest.param(
            [at(4), at(4), at(1), at(4, 5), at(4), at(4)], ("UNVERIFIED", 4, 0), id="two at one step"
        ),
        pytest.param([at(n) for n in range(1, 7)], ("UNVERIFIED", 6, 0), id="never twice the same"),
    ],
)
def test_a_difference_among_threads_counts_where_the_furthest_replays_end_at_it(replays, verdict):
    assert verdict_of(*replays) == verdict


def test_changed_code_that_agrees_in_some_orders_of_its_threads_proves_nothing():
    changed = [at(2), at(0)]
    for each in changed:
        each.code["a.ask"]["replayed"] = "2"
    assert verdict_of(*changed) == ("UNVERIFIED", 2, 0)


@pytest.mark.parametrize(
    ("without_order", "verdict"),
    [
        pytest.param([at(2)], ("DIVERGED", 2), id="the same difference"),
        pytest.param([at(1), at(2)], ("DIVERGED", 2), id="the same, once another order does not come first"),
        pytest.param([at(4), at(4)], ("DIVERGED", 4), id="a later one, beside what is left out"),
        pytest.param([at(0)], ("UNVERIFIED", 2), id="nothing but the order"),
        pytest.param([at(4), at(5), at(6)], ("UNVERIFIED", 2), id="another one each time"),
    ],
)
def test_a_difference_that_may_be_the_order_of_threads_alone_proves_nothing(without_order, verdict):
    outcome = Given(without_order)._beyond_order(at(2))
    assert (judge(outcome)[0], outcome.divergence.step) == verdict


def test_a_field_is_left_out_only_where_the_recording_has_nothing_but_a_digest_of_it():
    differs = Divergence(2, "w-2", "ask", "a", "state.memory", "<M>", "<M>, changed somewhere inside")
    loose, other = Given([at(0)], RedriveOptions(ignore=("log",))), Given([at(0)])
    loose._beyond_order(replace(at(2), divergence=differs))
    assert (loose.options.ignore, loose.options.normaliser.order) == (("log", "memory"), True)
    other._beyond_order(at(2))
    assert other.options.ignore == ()


@pytest.mark.parametrize(
    ("alone", "verdict"),
    [
        pytest.param({"a": at(0), "b": at(0)}, ("IDENTICAL", None, ["a", "b"], 12), id="each as it was"),
        pytest.param({"a": changed(3), "b": at(0)}, ("DIVERGED", 3, [], 6), id="the suspected one differs"),
        pytest.param({"a": at(4), "b": changed(2)}, ("DIVERGED", 2, [], 6), id="another one differs before"),
        pytest.param({"a": at(1), "b": changed(2)}, ("DIVERGED", 2, [], 6), id="changed code comes first"),
        pytest.param(
            {"a": at(3), "b": at(0)},
            ("UNVERIFIED", 5, ["a", "b"], 6),
            id="no code changed: others may be why",
        ),
        pytest.param(
            {"a": at(0), "b": None}, ("UNVERIFIED", 5, ["a", "b"], 6), id="one alone proves nothing"
        ),
    ],
)
def test_agents_whose_order_is_unknown_are_identical_where_each_is_so_alone(alone, verdict):
    whole = at(5)
    whole.agents, whole.doubts = ["a", "b"], ["their order is not imposed"]
    unproved = at(0)
    unproved.reasons = ["a first state that cannot be restored"]
    outcome = _one_by_one(whole, lambda agent_id: alone[agent_id] or unproved)
    step = outcome.divergence and outcome.divergence.step
    assert (judge(outcome)[0], step, outcome.agents, outcome.counts.driven) == verdict
