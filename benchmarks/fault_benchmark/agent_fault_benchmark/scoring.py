"""Scores of an entry: hits overall and by group, false alarms, and how often its confidence is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .files import Answer, Cause, Truth

LOOKED_AT = 3  # a hit is among the first three causes
EVENT_IDS = 6  # so many events of a cause are looked at: naming everything is no answer
ALARM = 0.5  # from this confidence on, a cause of a healthy session is a false alarm
STRATA = (("under 5 %", 0.0, 0.05), ("5 to 20 %", 0.05, 0.2), ("above 20 %", 0.2, 1.01))
BINS = ((0.0, 0.5), (0.5, 0.65), (0.65, 0.8), (0.8, 1.01))
_WIDTH = 24
_BAR = 20  # length of a bar that stands for a share of 1


@dataclass(frozen=True)
class Group:
    """How many of some cases an entry hit.

    Args:
        first: hits by the first cause.
        three: hits by one of the first three.
    """

    name: str
    cases: int
    first: int
    three: int

    def to_text(self) -> str:
        """Return a row: shares, and the 95 % interval (Wilson's) of the hits by three."""
        low, high = interval(self.three, self.cases)
        shares = [hits / self.cases if self.cases else 0.0 for hits in (self.first, self.three)]
        return (
            f"{self.name:{_WIDTH}} {self.cases:5} {shares[0]:8.2f} {shares[1]:8.2f}  {low:.2f} to {high:.2f}"
        )


@dataclass(frozen=True)
class Scores:
    """What an entry is worth.

    Args:
        groups: {title: groups}: `all`, `lag`, and one for each label of the truth.
        calibration: (lowest, highest confidence of the first cause, cases, how many of these causes are true).
        healthy: healthy twins; `alarms` of them were said to have a cause.
        unanswered: cases without an answer; a faulty one counts as missed.
        unknown: answers to cases that the truth does not have.
    """

    groups: Mapping[str, Sequence[Group]]
    calibration: Sequence[tuple[float, float, int, int]]
    healthy: int
    alarms: int
    unanswered: int
    unknown: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "groups": {title: [asdict(group) for group in groups] for title, groups in self.groups.items()},
            "calibration": [
                {"from": low, "to": min(high, 1.0), "cases": cases, "true": true}
                for low, high, cases, true in self.calibration
            ],
            "healthy": self.healthy,
            "alarms": self.alarms,
            "unanswered": self.unanswered,
            "unknown": self.unknown,
        }

    def to_text(self) -> str:
        """Return the tables, for a terminal of 80 columns."""
        parts = [
            "\n".join([heading(title), *(group.to_text() for group in groups)])
            for title, groups in self.groups.items()
            if groups
        ]
        rows = [
            f"{f'{low:.2f} to {min(high, 1.0):.2f}':{_WIDTH}} {cases:5} {true / cases:8.2f}  {'#' * round(_BAR * true / cases)}"
            for low, high, cases, true in self.calibration
            if cases
        ]
        if rows:
            parts.append(
                "\n".join([f"{'first confidence':{_WIDTH}} {'n':>5} {'true':>8}  {'0':{_BAR - 1}}1", *rows])
            )
        share = self.alarms / self.healthy if self.healthy else 0.0
        low, high = interval(self.alarms, self.healthy)
        parts.append(
            f"false alarms: {self.alarms} of {self.healthy} healthy twins ({share:.2f}, {low:.2f} to {high:.2f})"
        )
        if self.unanswered or self.unknown:
            parts[-1] += f"\nunanswered: {self.unanswered}; answers to unknown cases: {self.unknown}"
        return "\n\n".join(parts)


def heading(title: str) -> str:
    """Return the heading of a table of groups."""
    return f"{title:{_WIDTH}} {'n':>5} {'hit@1':>8} {'hit@3':>8}  95 % interval"


def interval(hits: int, cases: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share; (0, 1) without cases."""
    if not cases:
        return 0.0, 1.0
    z = 1.959964
    share, square = hits / cases, z * z / cases
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / cases + square / (4 * cases)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def place_of(accepted: Collection[str], causes: Iterable[Cause]) -> int:
    """Return the place of the first cause that names an accepted event, from 1 to 3, or 0."""
    wanted = set(accepted)
    for place, cause in enumerate(causes, 1):
        if place > LOOKED_AT:
            break
        if wanted & set(cause.event_ids[:EVENT_IDS]):
            return place
    return 0


def grouped(title: str, cases: Iterable[tuple[str, int]], order: Sequence[str] = ()) -> Sequence[Group]:
    """Return a group for each name, given (name, place of the hit) of each case; by name, or in the given order."""
    places: dict[str, list[int]] = {}
    for name, place in cases:
        places.setdefault(name, []).append(place)
    names = [name for name in order if name in places] or sorted(places)
    return [
        Group(
            name or f"no {title}",
            len(places[name]),
            sum(each == 1 for each in places[name]),
            sum(each > 0 for each in places[name]),
        )
        for name in names
    ]


def stratum_of(lag: float | None) -> str:
    """Return the name of the stratum in which a lag is."""
    return "unknown" if lag is None else next(name for name, low, high in STRATA if low <= lag < high)


def score(truth: Sequence[Truth], answers: Sequence[Answer]) -> Scores:
    """Score an entry: each faulty case for hits, each healthy twin for false alarms."""
    by_case = {answer.case: answer for answer in answers}
    faulty = [each for each in truth if each.faulty]
    healthy = [each for each in truth if not each.faulty]
    causes = {each.case: by_case[each.case].causes if each.case in by_case else () for each in truth}
    places = {each.case: place_of(each.accepted, causes[each.case]) for each in faulty}

    def by(title: str, name: Callable[[Truth], str], order: Sequence[str] = ()) -> Sequence[Group]:
        return grouped(title, ((name(each), places[each.case]) for each in faulty), order)

    labels = list(dict.fromkeys(name for each in faulty for name in each.labels))
    first = [
        (causes[each.case][0].confidence, places[each.case] == 1) for each in faulty if causes[each.case]
    ]
    within = [[true for confidence, true in first if low <= confidence < high] for low, high in BINS]
    return Scores(
        {
            "all": by("all", lambda _: "all"),
            "lag": by("lag", lambda each: stratum_of(each.lag), [*(name for name, *_ in STRATA), "unknown"]),
            **{label: by(label, lambda each, label=label: each.labels.get(label, "")) for label in labels},  # type: ignore[misc]
        },
        [(low, high, len(trues), sum(trues)) for (low, high), trues in zip(BINS, within, strict=True)],
        len(healthy),
        sum(any(cause.confidence >= ALARM for cause in causes[each.case]) for each in healthy),
        sum(each.case not in by_case for each in truth),
        len(by_case.keys() - {each.case for each in truth}),
    )
