"""Where an agent's behaviour parts from its own past and from its peers.

Pure statistics over `activity_series`.

Each departure carries a probability that chance alone made it, corrected for how many places were looked
at, and the share of peers that did the same. `change_candidates` then looks for what happened there.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from Agent.analysis.debug.changes.activity_series import Profile, Series

MAX_CHANCE = 0.01
"""A departure that chance makes more often than this is none."""
MIN_PEERS = 3
_MIN_COUNT = 4
_MIN_EFFECT = 0.8
_SLOWER = 2.0
_SPEAKING_SHARE = 0.2
"""Peers that do a thing less often than this share of one's own say nothing of when it is done."""
_SHARED = 0.5
_AS_WELL = 0.8
"""A place that explains so much of what the best one does may be the true one."""

STOPPED, FELL, ROSE, NEVER = "stopped", "fell", "rose", "never"


@dataclass(frozen=True, slots=True)
class Departure:
    """One agent's change in one series."""

    agent_id: str
    series: str
    sort: str
    """stopped, fell, rose or never."""
    measure: str
    """What changed: count, reward, share (of exploration) or duration."""
    bucket: int
    """The first bucket after the change."""
    before: float
    after: float
    """Count per bucket, or mean, on either side; of durations the geometric mean."""
    expected: float
    """How many there would have been after it, had nothing changed; for a mean, the one before."""
    seen: int
    """How many there were after it."""
    chance: float
    peers: int
    alike: int
    """How many of those peers show the same change at about the same time."""
    plausible: tuple[int, int] | None = None
    """The first and the last bucket at which the change of a mean may as well have been made."""

    @property
    def is_worse(self) -> bool:
        """Whether this is what people complain of: less done, less reward, more errors, slower."""
        if self.series == "error" or self.measure == "duration":
            return self.sort == ROSE
        return self.sort != ROSE


def find_departures(
    found: Profile, agent_id: str, tests: int, asked: Collection[str] = ()
) -> list[Departure]:
    """Every departure of one agent that chance does not explain, least likely first.

    Args:
        found: the series of the agent and of its peers.
        agent_id: whose.
        tests: how many agents are looked at in all; chances are corrected for it and for the series and
            places.
        asked: the series that somebody asks about: their chances are corrected for their own number only.
    """
    peers = found.peers(agent_id)
    departures: list[Departure] = []
    own = found.series.get(agent_id, {})
    every = max(1, tests) * max(1, len(own))
    few = max(1, tests) * max(1, len(own.keys() & set(asked)))
    for series in own.values():
        looks = few if series.name in asked else every
        departures.extend(_count_departures(found, series, peers, looks))
        departures.extend(_mean_departures(found, series, peers, looks))
    departures.extend(_never(found, agent_id, len(peers), every))
    return sorted((d for d in departures if d.chance <= MAX_CHANCE), key=lambda d: (d.chance, d.series))


def shared_departures(found: Profile) -> list[Departure]:
    """What changes for half of all agents or more, or of a role, at the same time; `agent_id` is empty.

    `peers` says how many agents do the thing, `alike` how many of them show the change.
    """
    departures: list[Departure] = []
    for role in (None, *sorted({found.roles.get(agent) or "" for agent in found.series})):
        sums = found.everybody(role)
        names = {departure.series for departure in departures}
        pooled = Profile(found.axis, {"": None}, {"": {n: s for n, s in sums.items() if n not in names}})
        pooled.first_bucket[""] = 0
        for departure in find_departures(pooled, "", 1):
            members = [
                found.get(agent, departure.series)
                for agent in found.series
                if departure.series in found.series[agent]
                and (role is None or found.roles.get(agent) == role)
            ]
            alike = sum(is_alike(departure, series) for series in members)
            if _is_at_an_end(departure.bucket, found.axis.buckets):
                continue
            if len(members) >= MIN_PEERS and alike >= _SHARED * len(members):
                departures.append(replace(departure, peers=len(members), alike=alike))
    return sorted(departures, key=lambda d: (d.chance, d.series))


def _is_at_an_end(bucket: int, buckets: int) -> bool:
    """Whether a change stands so near the beginning or the end that it is how things begin and end."""
    return bucket <= max(1, buckets // 10) or bucket >= buckets - max(1, buckets // 20)


def is_alike(departure: Departure, series: Series) -> bool:
    """Whether an agent's series shows a change that many show."""
    if departure.measure == "count":
        return _does_alike(series.counts, departure.bucket, departure.sort)
    if departure.measure == "duration":
        return _shifts_alike(series, departure.bucket, math.log(departure.after / departure.before))
    return _shifts_alike(series, departure.bucket, departure.after - departure.before)


def _count_departures(found: Profile, series: Series, peers: Sequence[str], looks: int) -> list[Departure]:
    """At most one change of how often something is done."""
    start = found.first_bucket.get(series.agent_id, 0)
    counts = series.counts[start:]
    if sum(counts) < _MIN_COUNT or len(counts) < 4:
        return []
    shape = _shape(found, series, start) if len(peers) >= MIN_PEERS else None
    split = _best_split(counts, shape)
    if split == 0:
        return []
    chance = _count_chance(counts, split, shape, looks)
    if chance > MAX_CHANCE:
        return []
    before, after = sum(counts[:split]), sum(counts[split:])
    expected = _expected(counts, split, shape)
    sort = STOPPED if after == 0 else FELL if after < expected else ROSE
    if sort is ROSE and before * 4 < _MIN_COUNT and shape is None and series.name != "error":
        return []  # beginning something new is no departure by itself
    alike = sum(_does_alike(found.get(peer, series.name).counts[start:], split, sort) for peer in peers)
    return [
        Departure(
            series.agent_id, series.name, sort, "count", start + split, before / split,
            after / (len(counts) - split), expected, after, chance, len(peers), alike,
        )
    ]  # fmt: skip


def _shape(found: Profile, series: Series, start: int) -> list[float] | None:
    """How the peers' doing is spread over time; None if they do it too seldom to tell."""
    role = found.roles.get(series.agent_id)
    everybody = found.role_counts(role)[series.name]
    sums = [float(all_of - own) for all_of, own in zip(everybody, series.counts, strict=True)][start:]
    each = sum(sums) / max(1, len(found.members(role)) - 1)
    return sums if each >= _SPEAKING_SHARE * sum(series.counts[start:]) else None


def _exposures(counts: Sequence[int], split: int, shape: Sequence[float] | None) -> tuple[float, float]:
    if shape is None:
        return float(split), float(len(counts) - split)
    return sum(shape[:split]), sum(shape[split:])


def _expected(counts: Sequence[int], split: int, shape: Sequence[float] | None) -> float:
    before, after = _exposures(counts, split, shape)
    if before <= 0:
        before, after = float(split), float(len(counts) - split)
    return sum(counts[:split]) * after / before


def _best_split(counts: Sequence[int], shape: Sequence[float] | None) -> int:
    """The place at which two rates explain the counts best; 0 if none is better than one rate."""
    best, place = 1e-9, 0
    total = sum(counts)
    done = 0
    for split in range(1, len(counts)):
        done += counts[split - 1]
        ratio = _likelihood_ratio(done, total - done, float(split), float(len(counts) - split))
        if shape is not None:
            # Both its own past and its peers must speak for a change.
            ratio = min(ratio, _likelihood_ratio(done, total - done, *_exposures(counts, split, shape)))
        if ratio > best:
            best, place = ratio, split
    return place


def _likelihood_ratio(first: int, second: int, exposure_1: float, exposure_2: float) -> float:
    """Log likelihood of two Poisson rates over that of one."""
    total, exposure = first + second, exposure_1 + exposure_2
    if exposure_1 <= 0 or exposure_2 <= 0 or total == 0:
        return 0.0
    ratio = 0.0
    for count, part in ((first, exposure_1), (second, exposure_2)):
        if count:
            ratio += count * math.log(count / (total * part / exposure))
    return ratio


def _count_chance(counts: Sequence[int], split: int, shape: Sequence[float] | None, looks: int) -> float:
    """How often chance alone makes a change of this size somewhere among all the places looked at."""
    spread = max(_dispersion(counts[:split]), _dispersion(counts[split:]), 1.0)
    chances = [_binomial_chance(counts, split, None, spread)]
    if shape is not None:
        chances.append(_binomial_chance(counts, split, shape, spread))
    poisson = max(chances) * len(counts)
    after = sum(counts[split:])
    if after == 0 and (shape is None or sum(shape[split:]) > 0):
        # A thing done regularly is less chancy than Poisson says: how likely is this much silence at the end?
        return min(1.0, 2 * looks * min(poisson, _silence_chance(counts)))
    return min(1.0, looks * poisson)


def _dispersion(counts: Sequence[int]) -> float:
    """Variance by mean; 1 for chance arrivals, more for bursts."""
    if len(counts) < 3:
        return 1.0
    mean = sum(counts) / len(counts)
    if mean == 0:
        return 1.0
    return sum((count - mean) ** 2 for count in counts) / (len(counts) - 1) / mean


def _silence_chance(counts: Sequence[int]) -> float:
    """The chance that all active buckets come before the last silence, were their order chance."""
    active = sum(1 for count in counts if count)
    last = max(n for n, count in enumerate(counts) if count)
    return math.exp(_log_choose(last + 1, active) - _log_choose(len(counts), active))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _binomial_chance(
    counts: Sequence[int], split: int, shape: Sequence[float] | None, spread: float
) -> float:
    """The two-sided chance of that many of all after the split, if only the exposure decided."""
    before, after = _exposures(counts, split, shape)
    total, late = sum(counts) / spread, sum(counts[split:]) / spread
    if before + after <= 0:
        return 1.0
    share = after / (before + after)
    if share in {0.0, 1.0}:
        return 1.0
    n, k = round(total), round(late)
    if n > 2000:
        deviation = math.sqrt(n * share * (1 - share))
        return math.erfc(abs(k - n * share) / deviation / math.sqrt(2))
    low = range(k + 1) if k <= n * share else range(k, n + 1)
    logs = [_log_choose(n, i) + i * math.log(share) + (n - i) * math.log1p(-share) for i in low]
    return min(1.0, 2 * math.fsum(math.exp(value) for value in logs))


def _does_alike(counts: Sequence[int], split: int, sort: str) -> bool:
    """Whether a peer's rate changes in the same direction there, to half the extent or more."""
    before, after = sum(counts[:split]), sum(counts[split:])
    if before + after < _MIN_COUNT:
        return False
    rate_1, rate_2 = before / split, after / (len(counts) - split)
    if sort == ROSE:
        return rate_2 > 2 * rate_1
    return rate_2 < rate_1 * (0.25 if sort == STOPPED else 0.6)


def _mean_departures(found: Profile, series: Series, peers: Sequence[str], looks: int) -> list[Departure]:
    """At most one change of the mean of what was measured: rewards, share of exploration, durations."""
    measure = {"reward": "reward", "exploration": "share"}.get(series.name, "duration")
    split, plausible, chance = _best_mean_split(series)
    chance = min(1.0, chance * len(series.counts) * looks)
    if split == 0 or chance > MAX_CHANCE:
        return []
    before, after = _mean(series, 0, split), _mean(series, split, len(series.counts))
    deviation = math.sqrt(max(_variance(series, 0, split), _variance(series, split, len(series.counts))))
    if deviation > 0 and abs(after - before) < _MIN_EFFECT * deviation:
        return []
    if measure == "duration" and not after - before > math.log(_SLOWER):
        return []
    alike = sum(_shifts_alike(found.get(peer, series.name), split, after - before) for peer in peers)
    sort = FELL if after < before else ROSE
    if measure == "duration":  # back from logarithms
        before, after = math.exp(min(before, 700.0)), math.exp(min(after, 700.0))
    return [
        Departure(
            series.agent_id, series.name, sort, measure, split, before, after, before,
            sum(series.measured[split:]), chance, len(peers), alike,
            plausible,
        )
    ]  # fmt: skip


def _best_mean_split(series: Series) -> tuple[int, tuple[int, int], float]:
    """Where one mean gives way to another, by what two explain; where else it may be; the chance."""
    explained = [0.0] * len(series.counts)
    for split in range(1, len(series.counts)):
        n1, n2 = sum(series.measured[:split]), sum(series.measured[split:])
        if min(n1, n2) < _MIN_COUNT:
            continue
        within = _squares(series, 0, split) + _squares(series, split, len(series.counts))
        between = (_mean(series, 0, split) - _mean(series, split, len(series.counts))) ** 2
        gain = between * n1 * n2 / (n1 + n2)
        explained[split] = gain / (gain + within) if gain > 0 else 0.0
    place = max(range(len(explained)), key=lambda split: (explained[split], -split))
    alike = [split for split, share in enumerate(explained) if share >= _AS_WELL * explained[place]]
    return place, (alike[0], alike[-1]), _mean_chance(series, place) if place else 1.0


def _squares(series: Series, start: int, end: int) -> float:
    """The sum of squared distances from the mean."""
    return _variance(series, start, end) * max(0, sum(series.measured[start:end]) - 1)


def _mean_chance(series: Series, split: int) -> float:
    n1, n2 = sum(series.measured[:split]), sum(series.measured[split:])
    if min(n1, n2) < _MIN_COUNT:
        return 1.0
    difference = abs(_mean(series, 0, split) - _mean(series, split, len(series.counts)))
    spread_1, spread_2 = _variance(series, 0, split), _variance(series, split, len(series.counts))
    # A few like values by chance are not certainty: the error is never below that of the common spread.
    common = (spread_1 * (n1 - 1) + spread_2 * (n2 - 1)) / (n1 + n2 - 2)
    error = math.sqrt(max(spread_1 / n1 + spread_2 / n2, common * (1 / n1 + 1 / n2)))
    if difference == 0:
        return 1.0
    # Few values make the error itself uncertain: the statistic is shrunk as Student's is to the normal one.
    z = difference / max(error, 1e-9 * difference)
    freedom = n1 + n2 - 2
    shrunk = math.sqrt(freedom * math.log1p(z * z / freedom))
    return math.erfc(shrunk / math.sqrt(2))


def _mean(series: Series, start: int, end: int) -> float:
    count = sum(series.measured[start:end])
    return sum(series.sums[start:end]) / count if count else 0.0


def _variance(series: Series, start: int, end: int) -> float:
    count = sum(series.measured[start:end])
    if count < 2:
        return 0.0
    mean = _mean(series, start, end)
    return max(0.0, sum(series.squares[start:end]) - count * mean * mean) / (count - 1)


def _shifts_alike(other: Series, split: int, shift: float) -> bool:
    if min(sum(other.measured[:split]), sum(other.measured[split:])) < 2:
        return False
    own = _mean(other, split, len(other.counts)) - _mean(other, 0, split)
    return own * shift > 0 and abs(own) >= 0.5 * abs(shift)


def _never(found: Profile, agent_id: str, peers: int, looks: int) -> list[Departure]:
    """What every peer does and this agent never did."""
    if peers < MIN_PEERS:
        return []
    everybody = found.role_totals(found.roles.get(agent_id))
    departures = []
    for name in sorted(everybody.keys() - found.series.get(agent_id, {}).keys() - {"error"}):
        totals = everybody[name][1:]  # the first zero is the agent's own
        # One odd peer does not make the thing optional.
        usual = totals[len(totals) // 10]
        doing = sum(1 for total in totals if total)
        if usual < _MIN_COUNT or doing < 0.8 * peers:
            continue
        chance = min(1.0, looks * math.exp(-usual))
        mean = sum(totals) / len(totals)
        departures.append(
            Departure(
                agent_id, name, NEVER, "count", found.first_bucket.get(agent_id, 0),
                0.0, 0.0, mean, 0, chance, peers, peers - doing,
            )
        )  # fmt: skip
    return departures
