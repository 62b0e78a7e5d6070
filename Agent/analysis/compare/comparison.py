"""Behaviour in numbers, side by side: how large each difference is, and whether noise explains it.

`counts` gathers; `welch` tests. Units are agents where both sides have enough, else blocks of
time: events of one agent resemble each other, and counting them one by one would make noise look certain.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Agent.analysis.compare.counts import BLOCKS, ComparedSide, gather, values
from Agent.analysis.compare.text import comparison_text
from Agent.analysis.query.engine import open_engine
from Agent.analysis.stats.welch import holm, welch
from Agent.analysis.text import cell
from Agent.errors import UsageError

ALPHA = 0.05
MIN_LATENCY_RATIO = 1.25
"""Latencies of one session that differ by less are called alike."""
MIN_RATIO_OF_SESSIONS = 1.5
"""The same for two sessions, beyond what all operations have in common: no machine is equally busy twice."""
MAX_ERRORS = 50
_MIN_OPERATIONS = 3
METHOD = (
    "Welch's test on the values of {units}, corrected for {tests} comparisons by Holm's method; a difference "
    "is called real below 5 %. Latencies are tested by blocks of time on a logarithmic scale, and real "
    "only from {ratio} times on{common}."
)


@dataclass(frozen=True, slots=True)
class BehaviourDifference:
    """One thing that was compared.

    `what` is kind, action, reward, error or latency; `first` and `second` are rates (per agent and tick or
    second), means, or milliseconds; `low` and `high` bound the difference, for latencies the ratio, at 95 %;
    `chance` is corrected for the number of comparisons, None where there are too few values to tell.
    """

    what: str
    name: str
    first: float
    second: float
    low: float | None
    high: float | None
    chance: float | None
    is_real: bool
    note: str = ""
    """new or gone, for errors that one side lacks; what the test cannot say."""

    @property
    def change(self) -> float | None:
        """The second over the first, less one; None where the first is 0."""
        return self.second / self.first - 1.0 if self.first else None

    def to_dict(self) -> dict[str, Any]:
        """The difference as plain values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"change": self.change}


@dataclass(frozen=True, slots=True)
class BehaviourComparison:
    """Two sides and every difference between them, real ones first."""

    first: dict[str, Any]
    second: dict[str, Any]
    differences: tuple[BehaviourDifference, ...]
    unit: str
    """Of rates: per agent and tick, or second."""
    method: str
    notes: tuple[str, ...] = ()

    @property
    def real(self) -> tuple[BehaviourDifference, ...]:
        """The differences that noise does not explain."""
        return tuple(each for each in self.differences if each.is_real)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain values, ready for JSON."""
        return {
            "first": self.first,
            "second": self.second,
            "unit": self.unit,
            "method": self.method,
            "real": len(self.real),
            "differences": [each.to_dict() for each in self.differences],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return comparison_text(self.to_dict())


def compare_sessions(first: Path, second: Path) -> BehaviourComparison:
    """Two sessions, each as a whole.

    Args:
        first: the directory of the one that is taken for the usual.
        second: the one whose differences are asked for.
    """
    sides = _sides(first, second)
    if sides[0].by_agent != sides[1].by_agent:
        # only one of them has enough agents: both by blocks of time
        sides = _sides(first, second, by_time=True)
    return _compared(sides[0], sides[1], are_sessions=True)


def _sides(*paths: Path, by_time: bool = False) -> list[ComparedSide]:
    sides = []
    for path in paths:
        label = path.name.removeprefix("session_")
        with open_engine(path) as engine:
            sides.append(gather(engine, [label], by_time=by_time)[label])
    return sides


def compare_by(session: Path, field: str, chosen: Sequence[str] = ()) -> BehaviourComparison:
    """One session's events by the value of a field, such as `agent_version`.

    Args:
        session: its directory.
        field: a key of the payload, or one of agent_id, agent_role, level, logger, run_id, code, tick.
        chosen: the two values to compare; default: the two that most events have, in their own order.

    Raises:
        UsageError: the field has no two values, or not those.
    """
    with open_engine(session) as engine:
        known = values(engine, field)
        picked = list(chosen) or sorted(value for value, _ in known[:2])
        absent = [value for value in picked if value not in dict(known)]
        if len(picked) != 2 or absent:
            seen = ", ".join(value for value, _ in known[:8]) or "none"
            raise UsageError(
                f"{field} has no two values to compare" if not absent else f"{field} is never {absent[0]!r}",
                path=session,
                remedy=f"its values are: {seen}",
            )
        sides = gather(engine, picked, field)
    rest = [value for value, _ in known if value not in picked]
    notes = [f"other values of {field} are ignored: {', '.join(rest[:6])}"] if rest else []
    return _compared(sides[picked[0]], sides[picked[1]], notes)


def _compared(
    first: ComparedSide, second: ComparedSide, notes: Sequence[str] = (), *, are_sessions: bool = False
) -> BehaviourComparison:
    by_tick = bool(first.ticks and second.ticks)
    latencies = list(_latencies(first, second))
    common = _common_ratio(latencies) if are_sessions else 1.0
    untested = [*_rates(first, second, by_tick), *_rewards(first, second), *latencies]
    tested = [each for each in untested if each.chance is not None]
    corrected = iter(holm([each.chance for each in tested if each.chance is not None]))
    made = []
    for each in untested:
        chance = None if each.chance is None else next(corrected)
        real = chance is not None and chance < ALPHA and _matters(each, common, are_sessions)
        made.append(
            BehaviourDifference(
                each.what, each.name, each.first, each.second, each.low, each.high, chance, real, each.note
            )
        )
    made.sort(key=lambda d: (not d.is_real, 1.0 if d.chance is None else d.chance, d.what, d.name))
    units = "agents" if first.by_agent else f"{BLOCKS} blocks of time"
    return BehaviourComparison(
        _told(first),
        _told(second),
        tuple(made),
        "per agent and tick" if by_tick else "per agent and second",
        METHOD.format(
            units=units,
            tests=len(tested),
            ratio=MIN_RATIO_OF_SESSIONS if are_sessions else MIN_LATENCY_RATIO,
            common=f" beyond the {common:.2f} times that the medians of all operations have in common"
            if are_sessions
            else "",
        ),
        (*notes, *_doubts(first, second, by_tick=by_tick, are_sessions=are_sessions)),
    )


def _told(side: ComparedSide) -> dict[str, Any]:
    return {
        "label": side.label, "events": side.events, "agents": side.agents, "ticks": side.ticks or None,
        "seconds": side.seconds,
    }  # fmt: skip


def _doubts(first: ComparedSide, second: ComparedSide, *, by_tick: bool, are_sessions: bool) -> Iterator[str]:
    if are_sessions:
        what = "latencies" if by_tick else "latencies and rates per second"
        yield f"machine load affects the {what} of two sessions: repeat each to be sure"
    if not first.by_agent:
        yield "few agents: blocks of time are compared, and their values may be correlated"
    if bool(first.ticks) != bool(second.ticks):
        yield "only one side has ticks, so rates are per second"


def _common_ratio(latencies: Sequence[BehaviourDifference]) -> float:
    """By what the medians of all operations differ alike: the machine's part; 1 where they are few."""
    ratios = sorted(each.second / each.first for each in latencies if " p50 " in each.name and each.first > 0)
    return statistics.median(ratios) if len(ratios) >= _MIN_OPERATIONS else 1.0


def _matters(each: BehaviourDifference, common: float, are_sessions: bool) -> bool:
    if each.what != "latency":
        return True
    if each.first <= 0 or each.second <= 0:
        return False
    ratio = each.second / each.first / common
    ratio = max(ratio, 1 / ratio)
    if not are_sessions:
        return ratio >= MIN_LATENCY_RATIO
    # the slowest calls of a session tell of the machine's worst moments
    return " p50 " in each.name and ratio >= MIN_RATIO_OF_SESSIONS


def _rates(first: ComparedSide, second: ComparedSide, by_tick: bool) -> Iterator[BehaviourDifference]:
    spans = [float(side.ticks) if by_tick else side.seconds for side in (first, second)]
    # a unit may be several agents, or the share that all have in a block
    units = [len(side.units) if first.by_agent else BLOCKS for side in (first, second)]
    agents = [max(1, side.agents) for side in (first, second)]
    spans = [span * many / max(1, unit) for span, many, unit in zip(spans, agents, units, strict=True)]
    names = sorted(first.counts.keys() | second.counts.keys())
    errors = sorted(
        (name for name in names if name[0] == "error"),
        key=lambda name: -sum(sum(side.counts.get(name, {}).values()) for side in (first, second)),
    )
    kept = set(errors[:MAX_ERRORS])
    for what, name in names:
        if what == "error" and (what, name) not in kept:
            continue
        rates = [
            [
                side.counts.get((what, name), {}).get(unit, 0) / span if span > 0 else 0.0
                for unit in sorted(side.units)
            ]
            for side, span in zip((first, second), spans, strict=True)
        ]
        shown = first.errors.get(name) or second.errors.get(name, name) if what == "error" else name
        note = ""
        if what == "error" and bool(sum(rates[0])) != bool(sum(rates[1])):
            note = "new" if sum(rates[1]) else "gone"
        yield _tested(what, shown, rates[0], rates[1], note)


def _rewards(first: ComparedSide, second: ComparedSide) -> Iterator[BehaviourDifference]:
    means = [[total / n for n, total in side.rewards.values()] for side in (first, second)]
    if means[0] and means[1]:
        yield _tested("reward", "mean reward", means[0], means[1])


def _latencies(first: ComparedSide, second: ComparedSide) -> Iterator[BehaviourDifference]:
    for name in sorted(first.latencies.keys() & second.latencies.keys()):
        for place, label in ((1, "p50"), (2, "p95")):
            logs = [
                [math.log(max(row[place], 1e-6)) for row in side.latencies[name].values()]
                for side in (first, second)
            ]
            found = welch(logs[0], logs[1])
            yield BehaviourDifference(
                "latency", f"{name} {label} ms", math.exp(found.mean_1), math.exp(found.mean_2),
                None if found.low is None else math.exp(found.low),
                None if found.high is None else math.exp(found.high), found.chance, False,
                "" if found.chance is not None else "too few to tell",
            )  # fmt: skip


def _tested(
    what: str, name: str, first: list[float], second: list[float], note: str = ""
) -> BehaviourDifference:
    found = welch(first, second)
    if found.chance is None:
        note = f"{note}, too few to tell" if note else "too few to tell"
    return BehaviourDifference(
        what, cell(name), found.mean_1, found.mean_2, found.low, found.high, found.chance, False, note
    )
