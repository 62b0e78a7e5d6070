"""Detect events whose values break a relation that nearly all events of their sort keep.

Two values of one event are equal or a constant amount apart, or one of the event and one of the latest
earlier events about the same thing, in the same call, or of the same agent; a number stays near what is usual
beside a value.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import compress, islice, repeat
from operator import attrgetter, eq, ne, sub
from statistics import median
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import SNAPSHOT, Act, Log, Sort, is_number, leaf
from Agent.analysis.debug.root_causes.constants import (
    COMMON,
    EACH,
    FAR,
    MAX_BACK,
    MAX_FIELDS,
    MAX_HOLDERS,
    MAY_BREAK,
    MIN_NUMBER,
    MIN_SEEN,
    SELDOM,
    SOME,
    SOME_SHARE,
)
from Agent.analysis.debug.root_causes.scan import Beside, Finding

__all__ = ["find", "link_amounts"]

Pair = tuple[Act, Act]
"""An act, and the act whose values its own are compared with."""

NO_LINK: Final = frozenset({"=", "#", "agent"})
_NUMBERS: Final = frozenset({int, float})
_ABSENT: Final = 2


class _Lacking:
    """Type of `_LACKS`."""


_LACKS: Final = _Lacking()
"""Stands for the value of a path that an event lacks."""


def find(log: Log) -> Iterator[Finding]:
    """Yield the events that break a relation between values."""
    fields = {sort: _fields(acts) for sort, acts in log.by_sort.items()}
    for sort, acts in log.by_sort.items():
        if len(acts) >= MIN_SEEN and sort[1] != SNAPSHOT:
            yield from _broken("", [(act, act) for act in acts], fields[sort], fields[sort])
            yield from _numbers(acts, fields[sort])
    for (sort, link, other), pairs in _linked(log).items():
        if len(pairs) >= MIN_SEEN:
            yield from _broken(link, pairs, fields[sort], fields[other])


def link_amounts(log: Log, findings: Sequence[Finding]) -> None:
    """Link events by which an amount parts to later ones that hold the difference, such as a balance."""
    holders: dict[float, list[Hashable]] = defaultdict(list)
    for token in log.by_token:
        if isinstance(token, tuple) and token[0] not in {"#", "event", "span"} and is_number(token[1]):
            holders[abs(token[1])].append(token)
    for each in findings:
        beside, act = each.beside, each.first
        if beside is None or each.rule not in PARTING or not is_number(beside.usual):
            continue
        if not (is_number(beside.value) and is_number(beside.level)):
            continue
        amount = round(abs(beside.value - beside.level - beside.usual), 6)
        for token in holders.get(amount, ()) if amount >= MIN_NUMBER or amount % 1 else ():
            held = log.by_token[token]
            if token not in act.tokens and act.place < held[-1].place and len(held) <= MAX_HOLDERS:
                act.tokens += (token,)
                insort(held, act, key=attrgetter("place"))


PARTING: Final = frozenset({"amounts part", "not carried on"})


def _fields(acts: Sequence[Act]) -> list[str]:
    """Return the paths that many of the acts have."""
    counts = Counter(path for act in acts for path in act.values if "~" not in path)
    return [path for path, number in counts.items() if number >= SOME_SHARE * len(acts)][:MAX_FIELDS]


def _linked(log: Log) -> dict[tuple[Sort, str, Sort], list[Pair]]:
    """Return {(sort, what both share, sort of the earlier act): pairs}."""
    pairs: dict[tuple[Sort, str, Sort], list[Pair]] = defaultdict(list)
    latest: dict[Hashable, dict[Sort, Act]] = defaultdict(dict)
    of_agent: dict[str, Act] = {}
    for act in log.acts:
        if act.kind == SNAPSHOT:
            continue
        names = {value: leaf(path) for path, value in act.values.items() if isinstance(value, str)}
        done: set[tuple[str, Sort]] = set()
        for token in act.tokens:
            link = token[0] if isinstance(token, tuple) else names.get(token)
            if link is None or link in NO_LINK or len(log.by_token[token]) > MAX_HOLDERS:
                continue
            before = latest[token]
            for sort in islice(reversed(before), MAX_BACK):
                if (link, sort) not in done:
                    done.add((link, sort))
                    pairs[act.sort, link, sort].append((act, before[sort]))
            before.pop(act.sort, None)
            before[act.sort] = act
        if act.agent in of_agent:
            earlier = of_agent[act.agent]
            pairs[act.sort, "agent", earlier.sort].append((act, earlier))
        if act.agent:
            of_agent[act.agent] = act
    return pairs


def _broken(link: str, pairs: list[Pair], own: Sequence[str], others: Sequence[str]) -> Iterator[Finding]:
    """Yield violations of relations between the values of pairs of acts."""
    some = pairs[:: max(1, len(pairs) // SOME)]
    columns = _Columns(pairs)
    beside_of = [
        (other, _Column([earlier.values.get(other, _LACKS) for _, earlier in some])) for other in others
    ]
    scanned: dict[bytes, list[Finding]] = {}
    for number, path in enumerate(own):
        own_values = _Column([act.values.get(path, _LACKS) for act, _ in some])
        for place, (other, beside) in enumerate(beside_of):
            if leaf(path) == leaf(other) == link if link else place >= number:
                continue
            values = own_values
            if values.is_sparse or beside.is_sparse:
                beside, values = _both(beside, values)  # noqa: PLW2901 - of the same relation, less what lacks
            if 2 * len(values.values) < MIN_SEEN:
                continue
            usual = None if values.commonest > COMMON else _difference(beside, values)
            if usual is not None:
                yield from _parted(link, path, other, columns, usual, scanned)


class _Column:
    """Values of one path, and what comparing it with many others needs, each found once."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values
        self.types = set(map(type, values))
        self.is_sparse = _Lacking in self.types

    @cached_property
    def commonest(self) -> float:
        """The share of the commonest value."""
        return max(Counter(map(str, self.values)).values()) / len(self.values)

    @cached_property
    def has_no_number(self) -> bool:
        """Whether the values can only be equal or not."""
        return not self.types & _NUMBERS

    @cached_property
    def is_finite(self) -> bool:
        """Whether all values are numbers with a difference."""
        return self.types <= _NUMBERS and all(map(math.isfinite, self.values))


def _both(beside: _Column, values: _Column) -> tuple[_Column, _Column]:
    """Return the two columns without the places at which one of them lacks a value."""
    pairs = [
        each
        for each in zip(beside.values, values.values, strict=True)
        if each[0] is not _LACKS and each[1] is not _LACKS
    ]
    return _Column([each for each, _ in pairs]), _Column([each for _, each in pairs])


class _Columns:
    """The values of pairs, path by path, and what else many relations between them need, each read once."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = pairs
        self._own: dict[str, _Column] = {}
        self._others: dict[str, _Column] = {}

    def own(self, path: str) -> _Column:
        """Return the acts' own values of a path; `_LACKS` where there is none."""
        if path not in self._own:
            self._own[path] = _Column([act.values.get(path, _LACKS) for act, _ in self.pairs])
        return self._own[path]

    def others(self, path: str) -> _Column:
        """Return the values of a path beside them."""
        if path not in self._others:
            self._others[path] = _Column([earlier.values.get(path, _LACKS) for _, earlier in self.pairs])
        return self._others[path]

    @cached_property
    def rows(self) -> dict[int, int]:
        """{place of an act: its row}."""
        return {act.place: row for row, (act, _) in enumerate(self.pairs)}

    def beside(self, link: str, path: str, other: str, act: Act, usual: Any) -> Beside:
        """Return the two values of a relation that an act breaks."""
        row = self.rows[act.place]
        earlier = self.pairs[row][1].sort if link else None
        return Beside(
            path, self.own(path).values[row], other, self.others(other).values[row], usual, link, earlier
        )


def _gap(beside: Any, value: Any) -> Any:
    """Return the difference of two numbers, otherwise whether the values are equal."""
    if type(beside) in _NUMBERS and type(value) in _NUMBERS:
        gap = value - beside
        if type(gap) is int:
            return gap
        if gap == gap:  # else one is no number
            return round(gap, 6)
    return beside == value


def _gaps(beside: _Column, values: _Column) -> list[Any]:
    """Return `_gap` of each pair of two columns without gaps, by one call of C where their types allow it."""
    if beside.has_no_number or values.has_no_number:
        return [*map(eq, beside.values, values.values)]
    if beside.types == values.types == {int}:
        return [*map(sub, values.values, beside.values)]
    if beside.is_finite and values.is_finite:
        return [*map(round, map(sub, values.values, beside.values), repeat(6))]
    return [*map(_gap, beside.values, values.values)]


def _difference(beside: _Column, values: _Column) -> Any:
    """Return the difference that many have, or None; True stands for equal texts."""
    usual, times = Counter(_gaps(beside, values)).most_common(1)[0]
    return usual if usual is not False and times > (1 - MAY_BREAK) * len(values.values) else None


def _parted(
    link: str, path: str, other: str, columns: _Columns, usual: Any, scanned: dict[bytes, list[Finding]]
) -> Iterator[Finding]:
    """Yield violations of an equality or a constant difference.

    Args:
        scanned: what was found for other values that the same events violate; counters often go together.
    """
    beside, values = columns.others(other), columns.own(path)
    if beside.is_sparse or values.is_sparse:
        kept = bytes(
            [
                _ABSENT if value is _LACKS or level is _LACKS else _gap(level, value) != usual
                for level, value in zip(beside.values, values.values, strict=True)
            ]
        )
    else:
        kept = bytes(map(ne, _gaps(beside, values), repeat(usual)))
    if not 1 <= kept.count(1) <= SELDOM * len(kept):
        return
    if kept not in scanned:
        acts = [act for (act, _), each in zip(columns.pairs, kept, strict=True) if each != _ABSENT]
        rule = "not carried on" if link else "amounts part"
        scanned[kept] = [*_single(rule, "", acts, kept.replace(bytes([_ABSENT]), b""))]
    label = _label(columns.pairs[0][0].sort)
    about = f"{other} to {label} {path}" if link else f"{label}: {other} and {path}"
    for each in scanned[kept]:
        yield replace(each, about=about, beside=columns.beside(link, path, other, each.first, usual))


def _numbers(acts: Sequence[Act], fields: Sequence[str]) -> Iterator[Finding]:
    """Yield numbers far from those of other events with the same value of a field."""
    for other in fields:
        groups: dict[Any, list[Act]] = defaultdict(list)
        for act in acts:
            if isinstance(act.values.get(other), str | bool):
                groups[act.values[other]].append(act)
        if not 2 <= len(groups) <= len(acts) / EACH:
            continue
        for path in fields:
            far: list[tuple[float, Act, float]] = []
            number = 0
            for group in groups.values():
                own = [act for act in group if is_number(act.values.get(path))]
                if len(own) < EACH:
                    continue
                number += len(own)
                level = median(act.values[path] for act in own)
                spread = median(abs(act.values[path] - level) for act in own) + abs(level) / 50 + 1e-9
                far += [
                    (away, act, level)
                    for act in own
                    if (away := abs(act.values[path] - level) / spread) > FAR
                ]
            if number >= MIN_SEEN and len(far) <= SELDOM * number:
                far.sort(key=lambda each: (-each[0], each[1].place))
                for rank, (_, act, level) in enumerate(far[:MAX_BACK], 1):
                    yield Finding(
                        "far from usual", f"{_label(act.sort)} {path} by {other}", [act],
                        math.log((number + 1) / rank), found=act.values[path], of=number,
                        beside=Beside(path, act.values[path], other, act.values[other], level),
                    )  # fmt: skip


def _single(rule: str, about: str, acts: Sequence[Act], is_bad: Sequence[int]) -> Iterator[Finding]:
    """Yield each violation of a relation that few break, with the nats of its rarity."""
    bad = [*compress(acts, is_bad)]
    if _is_seldom(len(bad), len(acts)):
        nats = math.log((len(acts) + 1) / (len(bad) + 0.5))
        for act in bad:
            yield Finding(rule, about, [act], nats, of=len(acts), found=1)


def _is_seldom(number: int, of: int) -> bool:
    return of >= MIN_SEEN and number <= SELDOM * of


def _label(sort: Sort) -> str:
    return sort[2] or sort[1]
