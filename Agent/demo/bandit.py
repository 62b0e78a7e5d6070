"""The learner inside a creator: an epsilon-greedy bandit over kind of content x slot of the day."""

from __future__ import annotations

import random

Arm = str
"""What a creator chooses between: `kind/slot`; a plain text, so that tables of it are plain JSON."""

KINDS = ("video", "article", "podcast")
SLOTS = ("morning", "noon", "evening", "night")


def arm_of(kind: str, slot: str) -> Arm:
    """The arm for a kind of content at a slot of the day."""
    return f"{kind}/{slot}"


def parts_of(arm: Arm) -> tuple[str, str]:
    """The kind of content and the slot of an arm."""
    kind, _, slot = arm.partition("/")
    return kind, slot


ARMS: tuple[Arm, ...] = tuple(arm_of(kind, slot) for kind in KINDS for slot in SLOTS)


def choose_arm(values: dict[Arm, float], epsilon: float, rng: random.Random) -> tuple[Arm, bool]:
    """The arm to pull next and whether it was explored; ties go to the arm that stands first."""
    if rng.random() < epsilon:
        return rng.choice(ARMS), True
    return max(ARMS, key=lambda arm: values[arm]), False
