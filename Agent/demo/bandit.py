"""The learner inside a creator: an epsilon-greedy bandit over kind of content x slot of the day."""

from __future__ import annotations

import random

Arm = tuple[str, str]
"""What a creator chooses between: (kind of content, slot of the day)."""

KINDS = ("video", "article", "podcast")
SLOTS = ("morning", "noon", "evening", "night")
ARMS: tuple[Arm, ...] = tuple((kind, slot) for kind in KINDS for slot in SLOTS)


def choose_arm(values: dict[Arm, float], epsilon: float, rng: random.Random) -> tuple[Arm, bool]:
    """The arm to pull next and whether it was explored; ties go to the arm that stands first."""
    if rng.random() < epsilon:
        return rng.choice(ARMS), True
    return max(ARMS, key=lambda arm: values[arm]), False
