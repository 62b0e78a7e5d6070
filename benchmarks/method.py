"""How a call is timed: contenders take turns in many short rounds, and ratios are made within a round.

Machines have slow phases that last seconds, so two figures from different moments say nothing about each
other. In every round each contender runs the same number of calls, one after the other, the order turning
by one each time; a turn takes a millisecond or two, short enough to fall between two visits of the
scheduler. The cost of the empty loop in that round is subtracted; the ratio of two contenders is the median
over the rounds of their ratio within a round. Before a contender's turn its files are emptied, so that
nobody writes to a larger file than the others, and the collector has run; while it is timed the collector
is on, as in a program.
"""

from __future__ import annotations

import gc
import statistics
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LEAD_IN = 64
"""Calls before the timed ones: the emptied file has its first block again, and caches are as in a program."""


@dataclass
class Contender:
    """One way to do the work: a statement over names, and the files that it writes."""

    name: str
    statement: str
    names: dict[str, Any]
    empty_files: Callable[[], None] = lambda: None
    configuration: str = ""


@dataclass
class Measured:
    """Nanoseconds a call of each contender, loop overhead subtracted, in the order of rounds."""

    calls: int
    rounds: dict[str, list[float]] = field(default_factory=dict)
    left_out: int = 0
    """Rounds in which the machine was not itself."""

    def median_ns(self, name: str) -> float:
        return statistics.median(self.rounds[name])

    def ratio(self, name: str, other: str) -> float:
        """The median of the ratios within each round."""
        return quartiles_of_ratios(self.rounds[name], self.rounds[other])[1]

    def spread(self, name: str, other: str) -> tuple[float, float]:
        """The quartiles of those ratios."""
        low, _, high = quartiles_of_ratios(self.rounds[name], self.rounds[other])
        return low, high

    def keep(self, numbers: Sequence[int]) -> None:
        """Leave out all other rounds."""
        self.left_out = len(next(iter(self.rounds.values()))) - len(numbers)
        self.rounds = {name: [values[n] for n in numbers] for name, values in self.rounds.items()}


def empty(paths: Sequence[Path]) -> None:
    """Cut files to nothing; their writers append, so they go on at the start."""
    for path in paths:
        with path.open("r+b") as file:
            file.truncate(0)


def run_rounds(
    contenders: Sequence[Contender], *, calls: int, rounds: int, floor: str | None = None
) -> Measured:
    """Time every contender in turn; the first rounds warm up and are thrown away.

    Where one contender is the floor, rounds in which it took twice its median are left out and made up for.
    """
    loop = timeit.Timer("pass", "import gc; gc.enable()")
    timers = [timeit.Timer(c.statement, "import gc; gc.enable()", globals=c.names) for c in contenders]
    measured = Measured(calls, {contender.name: [] for contender in contenders})
    warm_up = 2
    sound: list[int] = []
    number = 0
    while len(sound) < rounds and number < 2 * rounds + warm_up:
        overhead = min(loop.repeat(3, calls))
        for offset in range(len(contenders)):
            position = (number + offset) % len(contenders)
            contender = contenders[position]
            contender.empty_files()
            gc.collect()
            timers[position].timeit(LEAD_IN)
            seconds = timers[position].timeit(calls)
            if number >= warm_up:
                measured.rounds[contender.name].append((seconds - overhead) / calls * 1e9)
        number += 1
        if number > warm_up:
            sound = sound_rounds(measured.rounds[floor]) if floor else [*range(number - warm_up)]
    measured.keep(sound)
    return measured


def sound_rounds(floor_ns: Sequence[float]) -> list[int]:
    """The rounds in which the machine was itself: the floor took less than twice its median."""
    most = 2 * statistics.median(floor_ns)
    return [number for number, value in enumerate(floor_ns) if value < most]


def quartiles_of_ratios(mine: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of the ratios within each round."""
    ratios = [one / other for one, other in zip(mine, theirs, strict=True)]
    if len(ratios) < 2:
        return ratios[0], ratios[0], ratios[0]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return low, middle, high


def percentiles(sorted_ns: Sequence[int]) -> dict[str, float]:
    """p50, p99, p99.9 and the longest, in microseconds."""
    last = len(sorted_ns) - 1
    at = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    figures = {name: sorted_ns[round(last * share)] / 1000 for name, share in at.items()}
    return {**figures, "max": sorted_ns[-1] / 1000}
