"""Change-point scans shared by all detectors: where a group departs from the rest of the session.

A scan examines every agent, every value of a field, and every combination of both. It looks for the step from
which the group differs from its own past and from the others at the same time. Its result is in nats: the
log likelihood ratio of a change against none, minus the log of the number of changes tried.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from statistics import fmean
from typing import Any, NamedTuple

from Agent.analysis.debug.root_causes.acts import Act, Group, Sort
from Agent.analysis.debug.root_causes.constants import (
    CAP,
    LEAST_CHANGE,
    MAX_FOUND,
    MAX_LOOKED_AT,
    MAX_TOLD,
    MAY_BREAK,
    MIN_DRIFT,
    MIN_NATS,
    MIN_OBSERVED,
    NOISE,
    SELDOM,
    SOME_SHARE,
)

__all__ = [
    "Beside",
    "Finding",
    "Observation",
    "onset",
    "scan_counts",
    "scan_drifts",
    "scan_rare",
    "scan_novel",
    "scan_beyond",
]

Shift = tuple[float, int, float, float]
"""A change: nats, place, level before, level after."""


class Observation(NamedTuple):
    """One act among others of its sort, with the measured value."""

    act: Act
    value: Any


class Beside(NamedTuple):
    """Two values that are related elsewhere: one of the event, one of the same or of an earlier event."""

    path: str
    value: Any
    other: str
    """The path of the value beside it."""
    level: Any
    """The value beside it."""
    usual: Any
    """What the value usually is; of equalities and fixed differences, how far the two are apart."""
    link: str = ""
    """What the event shares with the earlier one."""
    earlier: Sort | None = None
    """The sort of the earlier event."""


@dataclass(slots=True)
class Finding:
    """A change or a violation: the acts that show it, first to last."""

    rule: str
    """The relation or measure."""
    about: str
    """The field, or the pair of events."""
    acts: list[Act]
    nats: float
    group: tuple[tuple[str, str], ...] = ()
    """(field, value) pairs of the group that shows it; () for all acts."""
    usual: Any = None
    found: Any = None
    of: int = 0
    """Number of observations that it was compared with."""
    extras: tuple[Act, ...] = ()
    """Other acts that belong to it."""
    beside: Beside | None = None
    """Of a broken relation between two values: both, at the first act."""
    local: bool = False
    """Whether it is a single deviation near what the issue names; its nats then measure its rarity."""

    @property
    def first(self) -> Act:
        """The act that begins it."""
        return self.acts[0]

    @property
    def worth(self) -> float:
        """Its nats; those of a local finding decrease with each hop from the issue."""
        return self.nats * self.first.near if self.local else self.nats

    @property
    def step(self) -> int:
        """The step in which it begins."""
        return self.acts[0].step


def onset(finding: Finding) -> Finding:
    """Return a finding about a series as one about its first event: when it began is what matters."""
    return replace(finding, acts=finding.acts[:1], extras=tuple(finding.acts[1:4]))


def scan_rare(
    rule: str, about: str, seen: Sequence[Observation], *, most: float = MAY_BREAK, base: float = SELDOM
) -> list[Finding]:
    """Return groups in which an event that is rare elsewhere (a true value) happens from some step on.

    Args:
        rule, about: what was examined.
        seen: observations in order; the value is whether the act is a violation.
        most: with a larger share of violations overall, no rule is assumed.
        base: with a larger share of earlier violations in the group, no rule is assumed for it.
    """
    acts, is_bad = [each.act for each in seen], [bool(each.value) for each in seen]
    bad = [at for at, each in enumerate(is_bad) if each]
    number = len(acts)
    if not bad or number < MIN_OBSERVED or len(bad) > most * number:
        return []
    found: list[Finding] = []
    members: dict[Group, list[int]] = {}
    for at, act in enumerate(acts):
        for group in act.groups:
            members.setdefault(group, []).append(at)
    hits_of = Counter(group for at in bad for group in acts[at].groups)
    penalty = 0.5 * math.log(1 + len(members))
    everybody: tuple[tuple[str, str], ...] = ()
    groups: list[tuple[tuple[tuple[str, str], ...], Sequence[int]]] = [(everybody, range(number))]
    # No interval is likelier than by the entropy of its group: without a normal act there is no finding.
    groups += [
        (group.key, members[group])
        for group, number_bad in hits_of.items()
        if -_share(number_bad, len(members[group])) - penalty > MIN_NATS
    ]
    best = [(key, *_best_interval(places, is_bad, number, len(bad), base)) for key, places in groups]
    best.sort(key=lambda each: (-each[1], len(each[0]), each[0]))
    taken: set[int] = set()
    for key, score, hits in best:
        if score - penalty > MIN_NATS and 2 * len(taken.intersection(hits)) <= len(hits):
            taken.update(hits)
            shown = [acts[at] for at in hits]
            nats = min(CAP, score - penalty)
            found.append(Finding(rule, about, shown, nats, key, of=number, found=len(hits)))
    return found[:MAX_FOUND]


def _best_interval(
    members: Sequence[int], is_bad: Sequence[int], number: int, bad_all: int, base: float
) -> tuple[float, list[int]]:
    """Return the likeliest violating interval of a group: score, violations."""
    at_bad = [k for k, at in enumerate(members) if is_bad[at]]
    best, chosen = 0.0, at_bad[:0]
    is_all = len(members) == number
    for i, begin in enumerate(at_bad[:MAX_LOOKED_AT]):
        hits = len(at_bad) - i
        size = at_bad[-1] - begin + 1
        if i > base * begin:
            continue
        # It must be unlikely both by the group's own past and by all others.
        score = _apart(hits, size, i, begin)
        if not is_all and score > best:
            score = min(score, _apart(hits, size, bad_all - hits, number - size))
        # A later start was chosen among more candidates.
        score -= math.log(1 + i)
        if score > best + 1e-9:
            best, chosen = score, at_bad[i:]
    return best, [members[k] for k in chosen]


def scan_novel(rule: str, about: str, seen: Sequence[Observation], *, least: int = 5) -> list[Finding]:
    """Return values that first appear after many others, judged by the recent rate of new values."""
    count = Counter(each.value for each in seen)
    if len(count) == 1 or len(count) > max(12, SOME_SHARE * len(seen)):
        return []
    first: dict[Hashable, int] = {}
    for at, each in enumerate(seen):
        first.setdefault(each.value, at)
    order = sorted(first.items(), key=lambda pair: pair[1])
    found = []
    for rank, (value, at) in enumerate(order):
        if at < least or rank == 0:
            continue
        # Number of new values in the later half of the preceding observations.
        recent = sum(1 for _, place in order[:rank] if place >= at // 2)
        # Observations within one step are correlated, so they count as little more than one.
        steps = len({each.act.step for each in seen[at // 2 : at]})
        chance = min(1.0, (recent + 1.0) / (math.sqrt(steps * (at - at // 2)) + 1.0))
        nats = -math.log(chance)
        if nats > 1.0:
            acts = [each.act for each in seen[at:] if each.value == value][:40]
            usual = Counter(each.value for each in seen[:at]).most_common(3)
            found.append(
                Finding(
                    rule, about, acts, nats, of=at, found=value,
                    usual=[each for each, _ in usual],
                )
            )  # fmt: skip
    found.sort(key=lambda each: (-each.nats, each.first.place))
    return found[:MAX_FOUND]


def scan_beyond(rule: str, about: str, seen: Sequence[Observation]) -> list[Finding]:
    """Return numbers far outside the range of all earlier ones, in units of that range."""
    low = high = math.nan
    found = []
    for n, (act, value) in enumerate(seen):
        if n >= 3:
            spread = high - low
            gap = max(value - high, low - value)
            if gap > 0:
                floor = 0.05 * max(abs(high), abs(low), 1e-9)
                ratio = gap / max(spread, floor)
                if low > 0 and value > 0:
                    wide = max(math.log(high / low), 0.05)
                    ratio = min(ratio, max(math.log(value / high), math.log(low / value)) / wide)
                # If the number never changed before, only its ratio to the old value says what is far.
                alone = abs(math.log(value / high)) if high * value > 0 else 0.0
                # Heavy tails: count the logarithm of a large distance, and trust few earlier values less.
                far = ratio if ratio <= 1 else 1 + math.log(ratio)
                nats = (
                    min(far * math.log(n), (n - 1) * math.log1p(ratio)) if spread > 0 else math.log(n) + alone
                )
                if nats > 2.0:
                    found.append(
                        Finding(
                            rule, about, [act], min(CAP / 2, nats), of=n,
                            found=value, usual=(low, high),
                        )
                    )  # fmt: skip
        low = value if math.isnan(low) else min(low, value)
        high = value if math.isnan(high) else max(high, value)
    found.sort(key=lambda each: (-each.nats, each.first.place))
    return found[:MAX_FOUND]


def _standing_out(scores: Mapping[str, Shift], number: int) -> Iterator[tuple[str, float, Shift]]:
    """Yield the changes among `number` series that exceed what the other series show without a fault."""
    ranked = sorted((score for score, *_ in scores.values()), reverse=True)
    for owner, change in scores.items():
        others = ranked[1:] if change[0] == ranked[0] else ranked
        noise = others[len(others) // 4] if len(others) >= 3 else NOISE
        nats = change[0] / max(1.0, noise / NOISE) - math.log(max(1, number))
        if nats > LEAST_CHANGE:
            yield owner, nats, change


def _surest(found: list[Finding]) -> list[Finding]:
    """Return the strongest findings of one scan, at most `MAX_FOUND`."""
    return sorted(found, key=lambda each: (-each.nats, each.first.place))[:MAX_FOUND]


def _nats(values: Sequence[float], rest: Sequence[float], whole: float, within: float) -> float:
    """Return the nats of a change beside a straight line throughout, less with autocorrelation.

    Args:
        rest: the values less what the change explains.
        whole, within: the squares about the mean, before and after the change is taken away.
    """
    number = len(values)
    middle = (number - 1) / 2
    slope = sum((at - middle) * value for at, value in enumerate(values))
    plain = whole - 12 * slope * slope / (number * (number * number - 1))
    alike = max(0.0, min(0.98, sum(a * b for a, b in pairwise(rest)) / within))
    worth = (1 - alike) / (1 + alike)
    return 0.5 * number * worth * math.log(max(1.0, plain / within)) - math.log(number)


def scan_drifts(rule: str, about: str, seen: Sequence[Observation]) -> list[Finding]:
    """Return agents whose numbers rise or fall steadily from some act on, unlike before and the others."""
    series: dict[str, list[Observation]] = defaultdict(list)
    for each in seen:
        series[each.act.agent].append(each)
    scores = {
        owner: _bend([float(each.value) for each in seen])
        for owner, seen in series.items()
        if len(seen) >= MIN_DRIFT
    }
    found = []
    for owner, nats, (_, at, low, _) in _standing_out(scores, len(series)):
        own = series[owner]
        # The fitted line may end beyond all values that were seen.
        found.append(
            Finding(
                rule, about, [own[at].act], min(CAP / 2, nats), (("agent", owner),), usual=low,
                found=own[-1].value, of=len(own), extras=tuple(each.act for each in own[at + 1 : at + 4]),
            )
        )  # fmt: skip
    return _surest(found)


def _bend(values: Sequence[float]) -> Shift:
    """Return the best place from which a constant series rises or falls steadily."""
    number, mean = len(values), fmean(values)
    squares = sum((value - mean) ** 2 for value in values)
    best, place, slope = 0.0, 0, 0.0
    after = along = 0.0  # the sums of the values from a place on, and of these sums
    for at in range(number - 1, MIN_DRIFT // 4, -1):
        after += values[at]
        along += after
        size = number - at
        ramp = size * (size + 1) / 2
        spread = ramp * (2 * size + 1) / 3 - ramp * ramp / number
        together = along - ramp * mean
        gain = together * together / spread
        if size >= MIN_DRIFT // 4 and gain > best:
            best, place, slope = gain, at, together / spread
    if place == 0 or squares <= 1e-12:
        return 0.0, 0, 0.0, 0.0
    low = mean - slope * (number - place) * (number - place + 1) / 2 / number
    rest = [value - low - slope * max(0, at - place + 1) for at, value in enumerate(values)]
    within = max(squares - best, 1e-9 * squares)
    return _nats(values, rest, squares, within), place, low, low + slope * (number - place)


def scan_counts(
    rule: str, about: str, series: Mapping[str, Sequence[int]], act_at: Callable[[str, int], Act]
) -> list[Finding]:
    """Return owners who do something more or less often from a step on, unlike the others (by counts).

    Args:
        rule, about: what was counted.
        series: {owner: counts}; all end at the same step.
        act_at: a function from an owner and a place in its counts to an act there.
    """
    number = max(map(len, series.values()), default=0)
    sums = [0] * (number + 1)
    if len(series) >= 3:
        totals = [0] * number
        for counts in series.values():
            for at, count in enumerate(counts, number - len(counts)):
                if count:
                    totals[at] += count
        sums = [0, *accumulate(totals)]
    scores = {
        owner: _rate(counts, sums[number - len(counts) :] if len(series) >= 3 else None)
        for owner, counts in series.items()
        if len(counts) >= MIN_OBSERVED
    }
    found = []
    for owner, nats, (_, at, low, high) in _standing_out(scores, len(series)):
        group = (("agent", owner),) if owner else ()
        places = range(at, min(at + MAX_TOLD, len(series[owner])))
        found.append(
            Finding(
                rule, about, [act_at(owner, place) for place in places], min(CAP / 2, nats), group,
                usual=low, found=high, of=len(series[owner]),
            )
        )  # fmt: skip
    return _surest(found)


def _rate(own: Sequence[int], sums: Sequence[int] | None) -> Shift:
    """Return the best rate change: a Poisson likelihood, reduced by overdispersion.

    Args:
        own: the counts.
        sums: of the counts of all owners up to each place; the change must be as likely relative to theirs.
    """
    number, mine = len(own), sum(own)
    if mine < 4:
        return 0.0, 0, 0.0, 0.0
    whole = _poisson(mine, number)
    best, place, before = 0.0, 0, 0
    a = 0
    for at in range(1, number):
        a += own[at - 1]
        # Among zeros the likelihood is convex, so that its maximum is at one of their ends.
        if at < 3 or not (own[at - 1] or own[at] or at == 3):
            continue
        gain = _poisson(a, at) + _poisson(mine - a, number - at) - whole
        if gain > best:
            best, place, before = gain, at, a
    if not place:
        return 0.0, 0, 0.0, 0.0
    if sums is not None:
        others = sums[-1] - sums[0] - mine
        earlier = sums[place] - sums[0] - before
        if not 0 < earlier < others:
            return 0.0, 0, 0.0, 0.0
        beside = (
            _poisson(before, earlier) + _poisson(mine - before, others - earlier) - _poisson(mine, others)
        )
        best = min(best, beside)
    levels = before / place, (mine - before) / (number - place)
    scatter = sum((each - levels[at >= place]) ** 2 for at, each in enumerate(own))
    spread = max(1.0, scatter / number / max(mine / number, 1e-9))
    return best / spread - math.log(number), place, *levels


def _poisson(count: float, exposure: float) -> float:
    return count * math.log(count / exposure) if count > 0 else 0.0


def _apart(hits: int, size: int, others_hits: int, others: int) -> float:
    """Return the nats by which two shares explain two counts better; 0 unless the first is larger."""
    if others <= 0 or hits * others <= others_hits * size:
        return 0.0
    return _share(hits, size) + _share(others_hits, others) - _share(hits + others_hits, size + others)


def _share(hits: int, size: int) -> float:
    if hits in {0, size}:
        return 0.0
    return hits * math.log(hits / size) + (size - hits) * math.log(1 - hits / size)
