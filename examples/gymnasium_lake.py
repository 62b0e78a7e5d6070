"""An environment of Gymnasium, recorded; replayed with `--target gymnasium_lake:build`."""

import gymnasium

from Agent.flight import TraceWrapper


def build(spec=None):
    return TraceWrapper(gymnasium.make("FrozenLake-v1"))


if __name__ == "__main__":
    env = build()
    for _episode in range(3):
        env.reset()
        while not any(env.step(env.action_space.sample())[2:4]):  # terminated or truncated
            pass
    print(env.episodes.number, "episodes; the last one took", env.episodes.step, "steps")
