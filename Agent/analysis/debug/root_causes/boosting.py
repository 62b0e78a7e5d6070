"""Boosted decision trees that correct a weighted sum of measures of events.

`benchmarks.fault_worlds.fit` makes their files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = ["BoostedTrees", "boosted_trees"]

LEAF: Final = 1
"""Length of a leaf, [value]; a branch is [number of a measure, largest value that goes left, left, right]."""


class BoostedTrees(NamedTuple):
    """A sum of trees over named measures, beside the sum that they correct."""

    measures: tuple[str, ...]
    corrected: float
    """Factor on the sum that they correct."""
    roots: Sequence[Any]
    """The root of each tree, nested lists as described at `LEAF`."""

    def score(self, measures: Mapping[str, float], weights: Mapping[str, float]) -> float:
        """Return the log of a likelihood, up to a constant of the session.

        Args:
            measures: the measures of an event by name.
            weights: those of the sum, by the name of the measure.
        """
        score = self.corrected * sum(weight * measures[name] for name, weight in weights.items())
        values = [measures[name] for name in self.measures]
        for root in self.roots:
            node = root
            while len(node) != LEAF:
                node = node[2] if values[node[0]] <= node[1] else node[3]
            score += node[0]
        return score


@lru_cache(maxsize=2)
def boosted_trees(name: str) -> BoostedTrees:
    """Return the trees of the file `name`.json beside this module."""
    content = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return BoostedTrees(tuple(content["measures"]), content["corrected"], content["trees"])
