"""The parts of the simulation that decide by themselves: the bandit and the cascades."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from Agent.demo.creators import ARMS, TrendQuotaExceeded, TrendTimeout, choose_arm
from Agent.demo.platform import spread


def test_a_greedy_choice_takes_the_best_arm_and_the_first_of_equals():
    values = dict.fromkeys(ARMS, 1.0)
    assert choose_arm(values, 0.0, random.Random(1)) == (ARMS[0], False)
    values[ARMS[5]] = 1.5
    assert choose_arm(values, 0.0, random.Random(1)) == (ARMS[5], False)


def test_exploration_reaches_every_arm_and_says_so():
    rng = random.Random(2)
    chosen = [choose_arm(dict.fromkeys(ARMS, 0.0), 1.0, rng) for _ in range(500)]
    assert {arm for arm, _ in chosen} == set(ARMS)
    assert all(explored for _, explored in chosen)


AGENTS = [f"a{number}" for number in range(8)]
GRAPHS = st.fixed_dictionaries(
    {name: st.lists(st.sampled_from(AGENTS), max_size=5, unique=True) for name in AGENTS}
)


@given(GRAPHS, st.floats(0, 1), st.integers(0, 1000))
def test_a_cascade_is_a_tree_below_the_author_along_the_edges_of_the_graph(followers, chance, seed):
    cascade = spread("c1", "a0", followers, chance, random.Random(seed))
    depth_of = {"a0": 0}
    for share in cascade.shares:
        assert share.agent_id in followers[share.parent_id]
        assert share.agent_id not in depth_of
        assert share.depth == depth_of[share.parent_id] + 1
        depth_of[share.agent_id] = share.depth
    assert cascade.size == len(cascade.shares) == sum(cascade.by_depth())
    assert cascade.depth == max(depth_of.values()) == len(cascade.by_depth())
    assert cascade.shares == spread("c1", "a0", followers, chance, random.Random(seed)).shares


def test_the_two_failures_of_the_trend_service_tell_different_units():
    # The planted fault is that a creator takes both for ticks.
    assert TrendTimeout("x").retry_after < 10 < 1000 < TrendQuotaExceeded("x").retry_after
