"""Change-point scans shared by all detectors: where a group departs from the rest of the session.

A scan examines every agent, every value of a field, and every combination of both. It looks for the step from
which the group differs from its own past and from the others at the same time. Its result is in nats: the
log likelihood ratio of a change against none, minus the log of the number of changes tried.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from statistics import median
from typing import Any, Final, NamedTuple

from Agent.analysis.debug.root_causes.acts import Act, Group, Sort
from Agent.analysis.stats import exponent_of, fmean, scaled, unscaled

CAP: Final = 40.0
MAX_NATS: Final = 10.0
"""Cap: ten nats are one chance in 20,000, and a session makes about as many tests."""
MIN_SEEN: Final = 12
"""Minimum number of observations to learn a relation from."""
MAY_BREAK: Final = 0.65
"""Maximum share of violations: a relation may be broken for good after a third of the session."""
STRICT: Final = 0.03
"""Maximum share of earlier violations for a relation of two values."""
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
    shares: tuple[int, int] = (0, 0)
    """Of equalities and fixed differences: how many events have it, and of how many."""


class Recurring(NamedTuple):
    """A thing for which an event happens again, and the field that names it."""

    named: str
    thing: Any


class KindOfAct(NamedTuple):
    """A kind of act in the life of a thing: its sort, how it ended, and the field that names the thing."""

    sort: Sort
    ended: str
    named: str


class Absence(NamedTuple):
    """What is missing about the things of some acts."""

    step: KindOfAct
    """The acts that lack it."""
    other: KindOfAct
    """What they lack."""
    is_until_again: bool = True
    """Whether only what happens before such an act about the same thing recurs counts."""
    is_of_repeated: bool = False
    """Whether the acts that lack it are those that recur about their thing."""


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
    since: int = 0
    """Place of the group's last normal act."""
    of: int = 0
    """Number of observations that it was compared with."""
    extras: tuple[Act, ...] = ()
    """Other acts that belong to it."""
    beside: Beside | None = None
    """Of a broken relation between two values: both, at the first act."""
    missing: Absence | None = None
    """Of a missing act: which."""
    local: bool = False
    """Whether it is a single deviation near what the issue names; its nats then measure its rarity."""

    @property
    def first(self) -> Act:
        """The act that begins it."""
        return self.acts[0]

    @property
    def telling(self) -> list[Act]:
        """The acts that show it; the acts of a rate change only represent the counted steps."""
        extras = list(self.extras[:3])
        if self.rule == "follow-up missing":
            return [*extras, *self.acts[:3]]
        if self.rule == "rate changes":
            return extras or self.acts[:1]
        return [*self.acts[:3], *extras]

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


Members = Mapping[Group, Sequence[int]]
"""The places of the acts of each group among others."""


def members_of(acts: Sequence[Act], places: Iterable[int] | None = None) -> dict[Group, list[int]]:
    """Return the places of the acts of each group; `places` if they are not 0, 1, 2 and so on."""
    found: dict[Group, list[int]] = {}
    for at, act in zip(range(len(acts)) if places is None else places, acts, strict=True):
        for group in act.groups:
            found.setdefault(group, []).append(at)
    return found


def scan_rare(
    rule: str, about: str, seen: Sequence[Observation], *, most: float = 0.25, base: float = 0.1
) -> list[Finding]:
    """Return groups in which an event that is rare elsewhere (a true value) happens from some step on.

    Args:
        rule, about: what was examined.
        seen: observations in order; the value is whether the act is a violation.
        most: with a larger share of violations overall, no rule is assumed.
        base: with a larger share of earlier violations in the group, no rule is assumed for it.
    """
    bad = [at for at, each in enumerate(seen) if each.value]
    return scan_violations(rule, about, [each.act for each in seen], bad, most=most, base=base)


def scan_violations(
    rule: str, about: str, acts: Sequence[Act], bad: Sequence[int], *, most: float, base: float,
    members: Members | None = None,
) -> list[Finding]:  # fmt: skip
    """Return the same as `scan_rare`, of acts and the places of those that are violations.

    Args:
        members: `members_of` the acts, if it is known: the scan then takes no longer for more normal acts.
    """
    number = len(acts)
    if not bad or number < 8 or len(bad) > most * number:
        return []
    found = _near(rule, about, [acts[at] for at in bad], len(bad), number)
    if members is None:
        members = members_of(acts)
    bad_of = members_of([acts[at] for at in bad], bad)
    penalty = 0.5 * math.log(1 + len(members))
    best: list[tuple[float, tuple[tuple[str, str], ...], list[int], int]] = []
    everybody: tuple[tuple[str, str], ...] = ()
    of_all: list[tuple[tuple[tuple[str, str], ...], Sequence[int], Sequence[int]]]
    of_all = [(everybody, range(number), bad)]
    # No interval is likelier than by the entropy of its group: without a normal act there is no finding.
    of_groups = [
        (group.key, members[group], of_group)
        for group, of_group in bad_of.items()
        if -_share(len(of_group), len(members[group])) - penalty > 1.0
    ]
    for key, places, of_places in of_all + of_groups:
        score, hits, since = _best_interval(places, of_places, number, len(bad), base)
        if score - penalty > 1.0:
            best.append((score - penalty, key, hits, since))
    best.sort(key=lambda each: (-each[0], len(each[1]), each[1]))
    several = len(found) + 4
    taken: set[int] = set()
    for score, key, hits, since in best:
        if len(taken.intersection(hits)) > len(hits) / 2:
            continue
        taken.update(hits)
        found.append(
            Finding(
                rule, about, [acts[at] for at in hits], min(CAP, score), key,
                since=acts[since].place if since >= 0 else 0,
                of=number, found=len(hits),
            )
        )  # fmt: skip
        if len(found) >= several:
            break
    return found


SELDOM_NEAR: Final = 0.2
"""An event with a larger share is not a deviation, wherever it happens."""
MAX_EACH: Final = 20


def _near(
    rule: str, about: str, acts: Sequence[Act], times: float, number: int, *, expected: float = 0.0
) -> list[Finding]:
    """Return events that are rare in the session and near what the issue names, one finding each."""
    share = (times + 0.5) / (number + 1)
    nats = -math.log(share) - expected
    if share > SELDOM_NEAR or nats < 1.0:
        return []
    near = sorted((act for act in acts if act.near), key=lambda act: -act.near)[:MAX_EACH]
    return [Finding(rule, about, [act], nats, of=number, found=1, local=True) for act in near]


def _best_interval(
    members: Sequence[int], bad: Sequence[int], number: int, bad_all: int, base: float
) -> tuple[float, list[int], int]:
    """Return the likeliest violating interval of a group: score, violations, last normal place before it."""
    at_bad = [bisect_left(members, at) for at in bad]
    if not at_bad:
        return 0.0, [], -1
    best, chosen, since = 0.0, [], -1
    last = at_bad[-1]
    is_all = len(members) == number
    for i, begin in enumerate(at_bad[:60]):
        hits = len(at_bad) - i
        size = last - begin + 1
        if i > base * begin:
            continue
        # It must be unlikely both by the group's own past and by all others.
        score = _apart(hits, size, i, begin)
        if not is_all and score > best:
            score = min(score, _apart(hits, size, bad_all - hits, number - size))
        # A later start was chosen among more candidates.
        score -= math.log(1 + i)
        if score > best + 1e-9:
            best, chosen, since = score, at_bad[i:], begin - 1
    return best, [members[k] for k in chosen], members[since] if since >= 0 and chosen else -1


def scan_novel(rule: str, about: str, seen: Sequence[Observation], *, least: int = 5) -> list[Finding]:
    """Return values that first appear after many others, judged by the recent rate of new values."""
    count = Counter(each.value for each in seen)
    if len(count) == 1 or len(count) > max(12, 0.3 * len(seen)):
        return []
    local = _seldom_values(rule, about, seen, count)
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
                    rule, about, acts, nats, since=seen[at - 1].act.place, of=at, found=value,
                    usual=[each for each, _ in usual],
                )
            )  # fmt: skip
    found.sort(key=lambda each: (-each.nats, each.first.place))
    return found[:6] + local


def _seldom_values(rule: str, about: str, seen: Sequence[Observation], count: Counter[Any]) -> list[Finding]:
    """Return rare values near what the issue names, relative to how rare values usually are in this field."""
    if not any(each.act.near for each in seen):
        return []
    number = len(seen)
    expected = -sum(times / number * math.log(times / number) for times in count.values())
    found = []
    for value, times in count.items():
        if times <= SELDOM_NEAR * number:
            acts = [each.act for each in seen if each.value == value and each.act.near]
            for each in _near(rule, about, acts, times, number, expected=expected):
                each.found = value
                each.usual = [common for common, _ in count.most_common(4) if common != value][:3]
                found.append(each)
    return found


def _seldom_numbers(rule: str, about: str, seen: Sequence[Observation]) -> list[Finding]:
    """Return numbers near what the issue names that lie in the tail of all numbers."""
    near = [each for each in seen if each.act.near]
    if not near or len(seen) < 8:
        return []
    values = sorted(each.value for each in seen)
    found = []
    for act, value in near:
        below, above = bisect_left(values, value), len(values) - bisect_right(values, value)
        tail = min(len(values) - below, len(values) - above)
        for each in _near(rule, about, [act], 2 * tail, len(values)):
            each.found, each.usual = value, (values[len(values) // 10], values[-1 - len(values) // 10])
            found.append(each)
    return found


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
                    wide = max(_log_ratio(high, low), 0.05)
                    ratio = min(ratio, max(_log_ratio(value, high), _log_ratio(low, value)) / wide)
                # If the number never changed before, only its ratio to the old value says what is far.
                alone = abs(_log_ratio(value, high)) if high * value > 0 else 0.0
                # Heavy tails: count the logarithm of a large distance, and trust few earlier values less.
                far = ratio if ratio <= 1 else 1 + math.log(ratio)
                nats = (
                    min(far * math.log(n), (n - 1) * math.log1p(ratio)) if spread > 0 else math.log(n) + alone
                )
                if nats > 2.0:
                    found.append(
                        Finding(
                            rule, about, [act], min(CAP / 2, nats), since=seen[n - 1].act.place, of=n,
                            found=value, usual=(low, high),
                        )
                    )  # fmt: skip
        low = value if math.isnan(low) else min(low, value)
        high = value if math.isnan(high) else max(high, value)
    found.sort(key=lambda each: (-each.nats, each.first.place))
    return found[:4] + _seldom_numbers(rule, about, seen)


def _log_ratio(one: float, other: float) -> float:
    """Return the logarithm of the ratio of two numbers of one sign, also of a ratio that no float holds."""
    ratio = one / other
    return math.log(ratio) if 0 < ratio < math.inf else math.log(abs(one)) - math.log(abs(other))


def scan_lone(rule: str, about: str, seen: Sequence[Observation]) -> list[Finding]:
    """Return the number among the first that differs from all others, which are the same."""
    counts = Counter(each.value for each in seen).most_common(2)
    if len(seen) < 3 or [times for _, times in counts] != [len(seen) - 1, 1]:
        return []
    usual, value = counts[0][0], counts[1][0]
    at = next(at for at, each in enumerate(seen) if each.value == value)
    # After three others `scan_beyond` finds it.
    if at >= 3 or usual * value <= 0:
        return []
    nats = math.log(len(seen) - 1) + abs(_log_ratio(value, usual))
    finding = Finding(
        rule, about, [seen[at].act], min(CAP / 2, nats), of=len(seen) - 1, found=value, usual=(usual, usual)
    )
    return [finding] if nats > LEAST_CHANGE else []


def scan_numbers(
    rule: str,
    about: str,
    series: dict[str, list[Observation]],
    *,
    field: str = "agent",
    is_apart: bool = False,
) -> list[Finding]:
    """Return series whose level departs from their own past at some step, unlike the others at that step.

    Args:
        series: {owner: observations in order, each with a number}.
        field: what the owners are.
        is_apart: whether the numbers have no part that all series share, such as the time of day.
    """
    common = _common(series) if len(series) >= 4 and not is_apart else {}
    scores: dict[str, Shift] = {}
    for owner, seen in series.items():
        if len(seen) < 2 * LEAST_EITHER:
            continue
        values = [float(each.value) - common.get(each.act.step, 0.0) for each in seen]
        scores[owner] = _shift(values, max(LEAST_EITHER, len(seen) // 12))
    found = []
    for owner, nats, (_, at, low, high) in _standing_out(scores, len(series)):
        values = [float(each.value) - common.get(each.act.step, 0.0) for each in series[owner]]
        worth = min(nats * _suddenness(values, at, high - low), _seldom_move(series, owner, abs(high - low)))
        if worth > LEAST_CHANGE:
            group = ((field, owner),)
            # A reader compares with the numbers themselves, not with what is left without the common part.
            whole = [float(each.value) for each in series[owner]]
            usual, now = fmean(whole[:at]), fmean(whole[at:])
            found.append(_changed(rule, about, series[owner], at, worth, group, usual=usual, found=now))
    return _surest(found)


LEAST_EITHER: Final = 5
"""Minimum number of observations before and after a change of the level."""


def _standing_out(scores: Mapping[str, Shift], number: int) -> Iterator[tuple[str, float, Shift]]:
    """Yield the changes among `number` series that exceed what the other series show without a fault."""
    ranked = sorted((score for score, *_ in scores.values()), reverse=True)
    for owner, change in scores.items():
        others = ranked[1:] if change[0] == ranked[0] else ranked
        noise = others[len(others) // 4] if len(others) >= 3 else NOISE
        nats = change[0] / max(1.0, noise / NOISE) - math.log(max(1, number))
        if nats > LEAST_CHANGE:
            yield owner, nats, change


LEAST_CHANGE: Final = 2.0
NOISE: Final = 3.0
"""Nats of the best change in a series that has no real change."""


def _changed(
    rule: str, about: str, seen: Sequence[Observation], at: int, nats: float,
    group: tuple[tuple[str, str], ...], *, usual: float, found: float,
) -> Finding:  # fmt: skip
    """Return the finding for a series that changes at a place."""
    acts = [each.act for each in seen[at : at + MAX_TOLD]]
    since = seen[max(0, at - 1)].act.place
    return Finding(
        rule, about, acts, min(CAP / 2, nats), group, usual=usual, found=found, since=since, of=len(seen)
    )


def _surest(found: list[Finding]) -> list[Finding]:
    """Return the strongest findings of one scan, at most `MAX_FOUND`."""
    return sorted(found, key=lambda each: (-each.nats, each.first.place))[:MAX_FOUND]


MAX_TOLD: Final = 12
MAX_FOUND: Final = 4


def _seldom_move(series: Mapping[str, Sequence[Observation]], owner: str, change: float) -> float:
    """Return the cap on the nats of a level change; in a series that rarely moves, the rarity of such a move.

    Repeated readings between two moves are not independent observations.
    """
    own = [float(each.value) for each in series[owner]]
    if sum(a != b for a, b in pairwise(own)) > STANDING * len(own):
        return CAP
    moves = [abs(float(b.value) - float(a.value)) for seen in series.values() for a, b in pairwise(seen)]
    return math.log((1 + len(moves)) / max(1, sum(move >= change / 2 for move in moves)))


STANDING: Final = 0.25
"""A series that moves in at most this share of its readings counts as constant between moves."""


def _suddenness(values: Sequence[float], at: int, change: float) -> float:
    """Return how much of a level change happens at its place, 0 to 1: gradual change has no change point."""
    width = max(3, min(at, len(values) - at) // 4)
    step = fmean(values[at : at + width]) - fmean(values[max(0, at - width) : at])
    return min(1.0, max(0.0, step / change) / 0.6) if change else 0.0


def _common(series: dict[str, list[Observation]]) -> dict[int, float]:
    """Return {step: median over all owners of their value minus their own level}."""
    by_step: dict[int, list[float]] = defaultdict(list)
    for seen in series.values():
        level = median(float(each.value) for each in seen)
        for each in seen:
            by_step[each.act.step].append(float(each.value) - level)
    return {step: median(values) if len(values) >= 3 else 0.0 for step, values in by_step.items()}


def _shift(values: list[float], least: int) -> Shift:
    """Return the best level change (nats, place, level before and after), less with autocorrelation."""
    number = len(values)
    total = sum(values)
    squares = sum(value * value for value in values)
    all_within = squares - total * total / number
    if all_within <= 1e-12:
        return 0.0, 0, 0.0, 0.0
    best, place = 0.0, 0
    left = 0.0
    for at in range(1, number):
        left += values[at - 1]
        if at < least or number - at < least:
            continue
        right = total - left
        gain = left * left / at + right * right / (number - at) - total * total / number
        if gain > best:
            best, place = gain, at
    if place == 0:
        return 0.0, 0, 0.0, 0.0
    low, high = fmean(values[:place]), fmean(values[place:])
    rest = [value - (low if at < place else high) for at, value in enumerate(values)]
    return _nats(values, rest, all_within, max(all_within - best, 1e-9 * all_within)), place, low, high


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


def scan_drifts(rule: str, about: str, series: Mapping[str, Sequence[Observation]]) -> list[Finding]:
    """Return series whose numbers rise or fall steadily from some act on, unlike before and the others.

    Args:
        rule, about: what was measured.
        series: {agent: observations in order, each with a number}.
    """
    scores = {
        owner: _bend([float(each.value) for each in seen])
        for owner, seen in series.items()
        if len(seen) >= MIN_DRIFT
    }
    found = []
    for owner, nats, (_, at, low, _) in _standing_out(scores, len(series)):
        seen = series[owner]
        # The fitted line may end beyond all values that were seen.
        each = _changed(rule, about, seen, at, nats, (("agent", owner),), usual=low, found=seen[-1].value)
        found.append(onset(each))
    return _surest(found)


MIN_DRIFT: Final = 16


def _bend(values: Sequence[float]) -> Shift:
    """Return the best place from which a constant series rises or falls steadily."""
    exponent = max(0, exponent_of(values))
    values = scaled(values, exponent)
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
    end = low + slope * (number - place)
    return _nats(values, rest, squares, within), place, unscaled(low, exponent), unscaled(end, exponent)


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
        if len(counts) >= 8
    }
    found = []
    for owner, nats, (_, at, low, high) in _standing_out(scores, len(series)):
        group = (("agent", owner),) if owner else ()
        counts = series[owner]
        seen = [Observation(act_at(owner, place), count) for place, count in enumerate(counts)]
        found.append(_changed(rule, about, seen, at, nats, group, usual=low, found=high))
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
