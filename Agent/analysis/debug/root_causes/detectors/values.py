"""Detect unusual values and rates: new values, numbers out of range or round, changed levels and ratios.

Rates are how often each agent does each thing, how often it fails, and how long it takes.

With a baseline, sessions of the same program in which all was well, values and kinds of events that none of
them has are unusual even if the session has them from its beginning.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from itertools import combinations, pairwise
from statistics import median
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import MAX_LEVELS, Act, Log, Sort, is_number, leaf
from Agent.analysis.debug.root_causes.scan import (
    MAX_NATS,
    MIN_SEEN,
    Finding,
    Observation,
    members_of,
    onset,
    scan_beyond,
    scan_counts,
    scan_drifts,
    scan_lone,
    scan_novel,
    scan_numbers,
    scan_rare,
    scan_violations,
)
from Agent.analysis.stats import fmean
from Agent.event.kinds import SNAPSHOT


def find(log: Log) -> Iterator[Finding]:
    """Yield values and levels that depart from the baseline."""
    for sort, acts in log.by_sort.items():
        if len(acts) < 3 or sort[1] == "state":
            continue
        levelled = _levelled(acts)
        yield from _ratios(acts)
        for path, seen in columns(acts, log.roles).items():
            label = f"{sort[2] or sort[1]} {path}"
            if path.startswith("error_"):
                continue
            if len({each.value for each in seen}) == 1:
                continue
            numbers = seen if _all_numbers(seen) else [each for each in seen if is_number(each.value)]
            if len(numbers) > 0.9 * len(seen):
                yield from scan_beyond("value beyond range", label, numbers)
                yield from scan_lone("value beyond range", label, numbers)
                if len(numbers) >= MIN_SEEN and not path.endswith("#"):
                    yield from _rounded(label, numbers)
                if len(seen) >= 20 and "*" not in path:
                    yield from _levels(label, numbers, path, levelled)
            elif len(seen) >= MIN_SEEN:
                yield from scan_novel("new value", label, seen)
            if len(seen) >= MIN_SEEN:
                is_size = path.endswith("#")
                empty = [
                    Observation(act, not value and (is_size or not is_number(value)))
                    for act, value in seen
                    if not isinstance(value, bool)
                ]
                yield from scan_rare("empty", label, empty)
        yield from _shapes(sort[2] or sort[1], acts)


def columns(acts: list[Act], agents: Collection[str]) -> dict[str, list[Observation]]:
    """Return {path: observations}; a replaced value counts as observed before, agents as keys share one path.

    The items of a list share one path too: their values say more than their positions.
    """
    found: dict[str, list[Observation]] = defaultdict(list)
    plain: dict[str, str] = {}

    def one(path: str) -> str:
        if path not in plain:
            parts = _ITEM.sub("[]", path).split(".")
            plain[path] = ".".join("*" if part in agents else part for part in parts)
        return plain[path]

    for act in acts:
        for path, value in act.before.items():
            if path in act.values:
                found[one(path)].append(Observation(act, value))
        for path, value in act.values.items():
            found[one(path)].append(Observation(act, value))
    return found


_ITEM: Final = re.compile(r"\[[0-9]+\]")


def _rounded(label: str, numbers: list[Observation]) -> Iterator[Finding]:
    """Yield where numbers become round: from there on their last digit has a higher place than before."""
    if all(type(each.value) is int for each in numbers) and all(
        before.value <= each.value for before, each in pairwise(numbers)
    ):
        return  # a counter or the time: its last digit says nothing
    places = [_last_place(each.value) for each in numbers]
    counts = Counter(place for place in places if place is not None)
    finest = min((place for place, times in counts.items() if times >= MIN_ROUND), default=None)
    if finest is None or finest == max(counts):
        return
    rounder = [
        Observation(each.act, place is None or place > finest)
        for each, place in zip(numbers, places, strict=True)
    ]
    values = {each.act.place: each.value for each in numbers}
    for each in scan_rare("rounded", label, rounder, most=MAY_STAY, base=BY_CHANCE):
        # One round number that recurs often does not show rounding.
        if not each.local and len({values[act.place] for act in each.acts}) >= MIN_ROUND:
            yield onset(each)


MIN_ROUND: Final = 6
MAY_STAY: Final = 0.95
"""Numbers that were fine for a twentieth of the session may have become round."""
BY_CHANCE: Final = 0.25
"""Share of numbers that may end in zero: one in ten does by chance, and more in a small sample."""


def _last_place(value: float) -> int | None:
    """Return the power of ten of the last nonzero digit: -2 for 5.25, 1 for 120; None for zero."""
    if not value or math.isinf(value):
        return None
    return int(Decimal(repr(value)).normalize().as_tuple().exponent)


def _levels(
    label: str, numbers: list[Observation], measured: str, levelled: dict[str, set[str]]
) -> Iterator[Finding]:
    by_agent: dict[str, list[Observation]] = defaultdict(list)
    for each in numbers:
        by_agent[each.act.agent].append(each)
    if len({each.value for each in numbers}) >= MIN_DISTINCT:
        yield from scan_drifts("drifts", label, by_agent)
    if len(by_agent) > 1:
        yield from scan_numbers("level shifts", label, by_agent)
    else:
        yield from scan_numbers("level shifts", label, {"": numbers} if "" in by_agent else by_agent)
    for path, levels in levelled.items():
        if path == measured:
            continue
        series = defaultdict(list)
        for each in numbers:
            value = each.act.values.get(path)
            if value in levels:
                series[value].append(each)
        yield from scan_numbers("level shifts", label, series, field=path)


def _ratios(acts: list[Act]) -> Iterator[Finding]:
    """Yield where numbers part from those that they go along with: points from cents."""
    if len(acts) < 2 * MIN_SEEN:
        return
    counts = Counter(
        path for act in acts for path, value in act.values.items() if is_number(value) and value > 0
    )
    many = [
        path
        for path, number in counts.items()
        if number > 0.9 * len(acts)
        and not path.endswith("#")
        and len({act.values.get(path) for act in acts}) >= MIN_SIZES
    ]
    for pair in combinations(many[:MAX_NUMBERS], 2):
        both = [(act, act.values.get(pair[0]), act.values.get(pair[1])) for act in acts]
        rows = [(act, x, y) for act, x, y in both if is_number(x) and is_number(y) and x > 0 and y > 0]
        if len(rows) < 2 * MIN_SEEN:
            continue
        large, small = pair
        if median(x for _, x, _ in rows) < median(y for *_, y in rows):
            large, small = small, large
            rows = [(act, y, x) for act, x, y in rows]
        sizes = sorted(x for _, x, _ in rows)
        middle = sizes[len(sizes) // 2]
        spread = (sizes[-1 - len(sizes) // 10] - sizes[len(sizes) // 10]) / middle
        ratio = median(y / x for _, x, y in rows)
        off = median(abs(y / x / ratio - 1) for _, x, y in rows)
        # Numbers that hardly vary are near each other without any relation.
        if not 0 < off < min(ALONG, ALONG_OF_SPREAD * spread):
            continue
        series: dict[str, list[Observation]] = defaultdict(list)
        for act, x, y in rows:
            series[act.agent].append(Observation(act, y - ratio * x))
        if len(series) > 1:
            series[""] = [Observation(act, y - ratio * x) for act, x, y in rows]
        label = f"{acts[0].sort[2] or acts[0].sort[1]} {leaf(small)} per {leaf(large)}"
        parts = {act.place: y / x for act, x, y in rows}
        for each in scan_numbers("level shifts", label, series, is_apart=True):
            change, begins = onset(each), each.first.place
            own = [seen.act.place for seen in series[dict(each.group)["agent"]]]
            change.usual = fmean([parts[place] for place in own if place < begins])
            change.found = fmean([parts[place] for place in own if place >= begins])
            yield change


MAX_NUMBERS: Final = 8
MIN_SIZES: Final = 5
ALONG: Final = 0.08
"""Largest median deviation of numbers that go along with others, as a share."""
ALONG_OF_SPREAD: Final = 0.3
"""The same, as a share of how much the others vary."""
MIN_DISTINCT: Final = 6
"""With fewer distinct values, a number counts or names something."""
OUTPUTS: Final = ("result", "state.", "outcome")
"""Outputs of an act do not define groups to compare it by."""


def _levelled(acts: list[Act]) -> dict[str, set[str]]:
    levels: dict[str, set[str]] = defaultdict(set)
    for act in acts:
        for path, value in act.values.items():
            if isinstance(value, str) and len(levels[path]) <= MAX_LEVELS:
                levels[path].add(value)
    return {
        path: found
        for path, found in levels.items()
        if 2 <= len(found) <= MAX_LEVELS and not path.startswith(OUTPUTS)
    }


def _all_numbers(seen: list[Observation]) -> bool:
    return {int, float}.issuperset(type(each.value) for each in seen) and all(
        each.value == each.value for each in seen
    )


def _shapes(label: str, acts: list[Act]) -> Iterator[Finding]:
    """Yield fields that are missing or new."""
    seen = [Observation(act, tuple(sorted(path for path in act.values if "[" not in path))) for act in acts]
    if len({each.value for each in seen}) > 1:
        yield from scan_novel("fields differ", label, seen)


UNLIKE: Final = "unlike baseline"
MAY_DIFFER: Final = 0.25
"""Largest share of the distinct values of a field that no baseline has."""
BEYOND: Final = 1.0
"""Numbers outside of the range of the baselines by less than this share of it are of another seed."""


class Baseline:
    """What some sessions have; the argument is their acts."""

    def __init__(self, logs: Sequence[Log]) -> None:
        self._acts = sum(len(log.acts) for log in logs)
        self._kinds = {act.sort[1:] for log in logs for act in log.acts}
        self._values: dict[tuple[Sort, str], Counter[Any]] = defaultdict(Counter)
        """{(sort, path): how often each value occurs}."""
        for log in logs:
            for sort, acts in log.by_sort.items():
                for path, seen in columns(acts, log.roles).items():
                    self._values[sort, path].update(each.value for each in seen)

    def find(self, log: Log) -> list[Finding]:
        """Return the events of a session whose kinds, or values, no baseline has."""
        found = [*self._unlike(log)]
        # Of many that differ from the baselines, each is the less likely to matter.
        many = math.log(max(1, len(found)))
        return [replace(each, nats=each.nats - many) for each in found if each.nats > many]

    def _unlike(self, log: Log) -> Iterator[Finding]:
        for sort, acts in log.by_sort.items():
            label = sort[2] or sort[1]
            if sort[1:] not in self._kinds:
                yield Finding(UNLIKE, label, acts[:1], _rarity(self._acts), of=self._acts)
                continue
            for path, seen in columns(acts, log.roles).items():
                usual = self._values[sort, path]
                number = usual.total()
                odd = [each for each in seen if number >= MIN_SEEN and _is_unlike(each.value, usual)]
                distinct, odd_ones = len({each.value for each in seen}), len({each.value for each in odd})
                # Many values that no baseline has are of another seed.
                if odd and odd_ones <= max(1.0, MAY_DIFFER * distinct):
                    yield Finding(
                        UNLIKE, f"{label} {path}", [each.act for each in odd], _rarity(number), of=number,
                        found=odd[0].value, usual=[value for value, _ in usual.most_common(3)],
                    )  # fmt: skip


def _rarity(number: int) -> float:
    """Return the nats of what happens in none of so many events."""
    return min(MAX_NATS, math.log1p(number))


def _is_unlike(value: Any, usual: Mapping[Any, int]) -> bool:
    """Whether a value is none of few levels, or far beyond the numbers of the baselines."""
    if value in usual:
        return False
    if len(usual) <= MAX_LEVELS:
        return True
    numbers = [each for each in usual if is_number(each)]
    if not is_number(value) or 2 * len(numbers) < len(usual):
        return False
    low, high = min(numbers), max(numbers)
    return not low - BEYOND * (high - low) <= value <= high + BEYOND * (high - low)


MIN_ACTS: Final = 8
MAX_SLICES: Final = 120
MIN_PEERS: Final = 5
SHORT_MS: Final = 0.5
"""Shorter durations are noise of the machine."""


def find_rates(log: Log) -> Iterator[Finding]:
    """Yield changes of rates, failures and durations."""
    yield from _counts(log)
    yield from _never(log)
    yield from _failures(log)
    yield from _durations(log)


def _counts(log: Log) -> Iterator[Finding]:
    width = max(1, -(-log.steps // MAX_SLICES))
    slices = -(-log.steps // width)
    first: dict[str, int] = {}
    by_slice: dict[int, Act] = {}
    for act in log.acts:
        first[act.agent] = min(first.get(act.agent, act.step), act.step)  # ticks may begin again
        by_slice.setdefault(act.step // width, act)
    for sort, acts in log.by_sort.items():
        # The recorder decides when a state is recorded, such as at the end.
        if len(acts) < MIN_ACTS or acts[0].kind in {"error", SNAPSHOT}:
            continue
        begins = min(act.step for act in acts) // width
        agents = (log.peers.get(sort[0]) if sort[0] else None) or dict.fromkeys(act.agent for act in acts)
        starts = {agent: max(first.get(agent, 0) // width, begins) for agent in agents}
        series = {agent: [0] * (slices - start) for agent, start in starts.items()}
        total = [0] * (slices - begins)
        at: dict[tuple[str, int], Act] = {}
        for act in acts:
            part = act.step // width
            total[part - begins] += 1
            if act.agent in series:
                series[act.agent][part - starts[act.agent]] += 1
                at.setdefault((act.agent, part), act)
        at_slice = partial(_act_at, by_slice, acts[0])
        for each in scan_counts("rate changes", sort[2] or sort[1], series, partial(at_slice, starts, at)):
            owner = dict(each.group).get("agent", "")
            own = [act for act in each.acts if act.agent == owner and act.sort == sort]
            last = [act for act in acts if act.agent == owner and act.place < each.first.place]
            each.extras = tuple(own[:3] or last[-1:])
            yield _per_step(each, width)
        if len(series) > 2:
            found = scan_counts(
                "rate changes", sort[2] or sort[1], {"": total}, partial(at_slice, {"": begins}, {})
            )
            yield from (_per_step(each, width) for each in found)


def _per_step(change: Finding, width: int) -> Finding:
    """Convert counts per slice of `width` steps to counts per step."""
    return replace(change, usual=change.usual / width, found=change.found / width)


def _act_at(
    by_slice: Mapping[int, Act], otherwise: Act, starts: Mapping[str, int],
    own: Mapping[tuple[str, int], Act], agent: str, place: int,
) -> Act:  # fmt: skip
    """Return the first act that an agent's count counts, or the first of anybody in that slice."""
    part = starts[agent] + place
    return own.get((agent, part)) or by_slice.get(part) or otherwise


def _failures(log: Log) -> Iterator[Finding]:
    by_name: dict[tuple[str, str], list[Act]] = defaultdict(list)
    for sort, acts in log.by_sort.items():
        if acts[0].kind != "error":
            by_name[sort[0], sort[2]] += acts
    for (role, name), acts in by_name.items():
        acts.sort(key=lambda act: act.place)
        if any(act.failed for act in acts):
            seen = [Observation(act, act.failed) for act in acts]
            yield from scan_rare("fails", f"{name or role}", seen, most=0.9, base=0.5)
    errors = [act for act in log.acts if act.is_error]
    if errors:
        seen = [Observation(act, (act.name, act.message.split(":")[0][:40])) for act in errors]
        yield from scan_novel("new error", "error", seen, least=4)
        beside: dict[str, list[Act]] = {act.role: [] for act in errors}
        places: dict[tuple[str, str], list[int]] = defaultdict(list)
        for act in log.acts:
            if act.role in beside:
                if act.is_error:
                    places[act.role, act.name].append(len(beside[act.role]))
                beside[act.role].append(act)
        members = {role: members_of(acts) for role, acts in beside.items()}
        for (role, name), bad in places.items():
            onsets = scan_violations(
                "error comes up", name, beside[role], bad, most=0.9, base=0.5, members=members[role]
            )
            # A failure that never recurs was dealt with.
            yield from (each for each in onsets if len(each.acts) > 1)


def _durations(log: Log) -> Iterator[Finding]:
    for sort, acts in log.by_sort.items():
        timed = [act for act in acts if act.duration_ms is not None and act.duration_ms > 0]
        if len(timed) < 20:
            continue
        series: dict[str, list[Observation]] = defaultdict(list)
        for act in timed:
            series[act.agent].append(Observation(act, math.log(act.duration_ms or 1e-3)))
        for each in scan_numbers("duration shifts", sort[2] or sort[1], series):
            if abs(each.found - each.usual) > math.log(2) and max(each.found, each.usual) > math.log(
                SHORT_MS
            ):
                each.usual, each.found = math.exp(each.usual), math.exp(each.found)
                yield each


def _never(log: Log) -> Iterator[Finding]:
    """Yield what all peers of an agent do repeatedly and the agent never does."""
    done: dict[str, dict[tuple[str, str], Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    firsts: dict[str, Act] = {}
    for act in log.acts:
        firsts.setdefault(act.agent, act)
        if act.agent and act.kind != "error":
            done[act.role][act.kind, act.name][act.agent] += 1
    for role, sorts in done.items():
        members = [agent for agent in log.peers.get(role, ()) if agent in firsts]
        for (_, name), counts in sorts.items():
            lacking = [agent for agent in members if not counts[agent]]
            if len(members) < MIN_PEERS or len(lacking) != 1 or min(counts.values()) < 3:
                continue
            usual = sorted(counts.values())[len(counts) // 2]
            nats = min(20.0, usual * math.log(len(members)) / 2)
            yield Finding(
                "never done", name, [firsts[lacking[0]]], nats, (("agent", lacking[0]),),
                usual=usual, found=0, of=len(counts),
            )  # fmt: skip
