"""The generator behind the functions of `random`, adopted as a whole.

Functions such as `random.choice` are methods of one hidden generator, and draw by its attributes wherever
they were bound. Those that draw themselves are replaced in the module, and where other modules bound them.
"""

from __future__ import annotations

import random
from typing import Any

from Agent.record.sources.generators import adopt_random, adopted_of, recorded_methods, release_random
from Agent.record.sources.seams import Swaps, rebind

hidden_random: random.Random = vars(random)["_inst"]
"""The generator behind the functions of `random`."""
_swaps = Swaps()


def adopt_random_module() -> None:
    """Have the functions of `random` recorded; a second time changes nothing."""
    if adopted_of(hidden_random) is not None:
        return
    adopt_random(hidden_random, "random")
    methods: dict[str, Any] = recorded_methods(hidden_random)
    for name, method in methods.items():
        _swaps.put(random, name, method)
    rebind(_swaps.pairs())


def release_random_module() -> None:
    """Take that back."""
    release_random(hidden_random)
    _swaps.take_back()
