"""A parallel environment of PettingZoo, recorded; replayed with `--target pettingzoo_agents:build`."""

from pettingzoo.test.example_envs import generated_agents_parallel_v0

from Agent.flight import TraceWrapper


def build(spec=None):
    return TraceWrapper(generated_agents_parallel_v0.parallel_env())


if __name__ == "__main__":
    env = build()
    env.reset(seed=7)
    for _ in range(20):
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    print(env.episodes.step, "steps, returns by agent:", env.episodes.returns)
