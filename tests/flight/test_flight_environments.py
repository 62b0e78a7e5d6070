"""Environments of Gymnasium and PettingZoo: resets, steps, rewards and seeds are recorded, and replay identically."""

from __future__ import annotations

import re

import pytest
from support.session_files import of_agent, of_kind, session_events

from Agent import LogAnalyzer, setup_logging, shutdown_logging, tick
from Agent.errors import UsageError
from Agent.flight import TraceWrapper
from Agent.replay import replay_run


@pytest.fixture(scope="module", autouse=True)
def libraries():
    """Loaded by the first test here, and not by each process of a test run."""
    global gymnasium, pettingzoo
    gymnasium = pytest.importorskip(
        "gymnasium", reason="gymnasium is not installed; it is in the extra [test]"
    )
    pettingzoo = pytest.importorskip(
        "pettingzoo", reason="pettingzoo is not installed; it is in the extra [test]"
    )


def slippery(spec=None):
    import gymnasium  # in the process of a replay, too

    return TraceWrapper(gymnasium.make("FrozenLake-v1"))


def dry(spec=None):
    import gymnasium

    return TraceWrapper(gymnasium.make("FrozenLake-v1", is_slippery=False))


def in_parallel(spec=None):
    from pettingzoo.test.example_envs import generated_agents_parallel_v0

    return TraceWrapper(generated_agents_parallel_v0.parallel_env(), "many")


def in_turn(spec=None):
    from pettingzoo.test.example_envs import generated_agents_env_v0

    return TraceWrapper(generated_agents_env_v0.env(), "turns")


@pytest.fixture
def session(trace_root):
    setup_logging(trace_root=trace_root)
    yield lambda: next(trace_root.glob("session_*"))
    shutdown_logging()


def play(env, episodes=3, **reset):
    """What an agent that knows nothing got to see."""
    seen = []
    for _ in range(episodes):
        seen.append(env.reset(**reset)[0])
        while True:
            found = env.step(env.action_space.sample())
            seen.append(found)
            if found[2] or found[3]:
                break
    return seen


def test_the_wrapper_is_an_environment_that_behaves_like_the_wrapped_one(session):
    plain, wrapped = gymnasium.make("FrozenLake-v1"), slippery()
    assert isinstance(wrapped, gymnasium.Env)
    for env in (plain, wrapped):
        env.action_space.seed(3)
    assert play(plain, seed=5) == play(wrapped, seed=5)
    assert wrapped.spec.id == "FrozenLake-v1"


def test_steps_rewards_and_seeds_are_recorded_and_each_step_is_a_tick(session):
    env = slippery()
    env.action_space.seed(1)
    seen = play(env)
    shutdown_logging()
    events = of_agent(session_events(session()), "environment")
    actions = of_kind(events, "agent_action")
    assert [each["extra"]["action_type"] for each in actions].count("reset") == 3
    assert len(actions) == len(seen)
    assert [each["tick"] for each in actions if each["extra"]["action_type"] == "step"] == list(
        range(len(seen) - 3)
    )
    rewards = [each["extra"]["reward"] for each in of_kind(events, "reward")]
    assert rewards == [float(each[1]) for each in seen if isinstance(each, tuple)]
    seeds = [each["extra"]["args"]["seed"] for each in actions if each["extra"]["action_type"] == "reset"]
    assert isinstance(seeds[0], int) and seeds[1:] == [None, None]  # later episodes go on from it
    table = LogAnalyzer(session()).agent_vars("environment")
    assert table["episode"].tolist()[-1] == 3


def test_ticks_of_the_program_stay(session):
    env = slippery()
    with tick(40):
        env.reset(seed=1)
        env.step(0)
    shutdown_logging()
    assert {each["tick"] for each in of_kind(session_events(session()), "agent_action")} == {40}


@pytest.mark.integration
def test_a_run_without_a_seed_of_its_own_replays_identically_and_another_environment_diverges(session):
    play(slippery())
    shutdown_logging()
    report = replay_run(session(), target=f"{__name__}:slippery", root=session().parent)
    assert report.verdict == "IDENTICAL", str(report)
    report = replay_run(session(), target=f"{__name__}:dry", root=session().parent, program=False)
    assert report.verdict == "DIVERGED", str(report)
    assert re.search(r"_?step of environment", str(report))


@pytest.mark.process
@pytest.mark.further
def test_agents_at_once_replay_identically_with_their_rewards(session):
    env = in_parallel()
    env.reset()
    returns = {}
    for _ in range(12):
        _, rewards, *_ = env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        for agent, reward in rewards.items():
            returns[agent] = returns.get(agent, 0) + reward
    shutdown_logging()
    assert env.episodes.returns == returns
    agent = max(returns, key=returns.get)
    recorded = of_kind(of_agent(session_events(session()), agent), "reward")
    assert sum(each["extra"]["reward"] for each in recorded) == returns[agent] > 0
    report = replay_run(session(), target=f"{__name__}:in_parallel", root=session().parent)
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.process
@pytest.mark.further
def test_agents_in_turn_replay_identically(session):
    env = in_turn()
    assert env.reset(seed=4) is None
    for number, agent in enumerate(env.agent_iter()):
        _, _, ended, cut, _ = env.last()
        assert env.step(None if ended or cut else env.action_space(agent).sample()) is None
        if number == 20:
            break
    shutdown_logging()
    steps = [
        each["extra"]
        for each in of_kind(of_agent(session_events(session()), "turns"), "agent_action")
        if each["extra"]["action_type"] == "step"
    ]
    # who acts is who was said to be next
    assert [each["args"]["agent"] for each in steps[1:]] == [each["result"]["agent"] for each in steps[:-1]]
    report = replay_run(session(), target=f"{__name__}:in_turn", root=session().parent)
    assert report.verdict == "IDENTICAL", str(report)


def test_what_is_no_environment_is_refused():
    with pytest.raises(UsageError, match=r"builtins\.dict is not an environment"):
        TraceWrapper({})
