"""Detect events whose values break a relation that nearly all events of their sort keep.

A value is related to another of the same event, or of the latest earlier events about the same thing, in the
same call, or of the same agent. Four relations are learned: two values are equal or a constant amount apart;
one value determines the other, or is part of it; a number stays near what is usual beside a value. And a
value may continue one of the last event of its sort: a shift begins when the one before it ends.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import cached_property
from itertools import combinations, compress, islice, permutations, repeat
from operator import and_, attrgetter, eq, ne, sub
from statistics import median
from typing import Any, Final

from Agent.analysis.debug.root_causes.acts import MAX_LEVELS, TICK, Act, Log, Sort, is_number, leaf
from Agent.analysis.debug.root_causes.scan import (
    MAY_BREAK,
    MIN_SEEN,
    STRICT,
    Beside,
    Finding,
    Members,
    members_of,
    scan_violations,
)
from Agent.event.kinds import SNAPSHOT

Pair = tuple[Act, Act]
"""An act, and the act whose values its own are compared with."""

MAX_FIELDS: Final = 28
MIN_KEYS: Final = 3
OF_NAMES: Final = 0.8
"""Smallest share of the keys of a table that name things. Its entries are not compared with each other."""
SOME: Final = 40
"""Relations are sought in a sample of this many pairs, and checked in all of them."""
MAX_BACK: Final = 4
"""Number of sorts of earlier events about the same thing."""
MAX_HOLDERS: Final = 300
COMMON: Final = 0.7
"""A value that a larger share of events has anyway shows no relation."""
SELDOM: Final = 0.1
"""A relation with a larger share of violations does not make a single one of them unusual."""
EACH: Final = 4
"""Minimum number of events with a value, to say what is usual beside it."""
FAR: Final = 8.0
"""Deviations in units of the median deviation; smaller ones are left to the scans of levels."""
NO_LINK: Final = frozenset({"=", "#", "agent"})
_NUMBERS: Final = frozenset({int, float})
_ABSENT: Final = 2
_FEW: Final = frozenset({str, bool, int})
"""Types whose values may be levels."""


class _Lacking:
    """Type of `_LACKS`."""


_LACKS: Final = _Lacking()
"""Stands for the value of a path that an event lacks."""


def find(log: Log) -> Iterator[Finding]:
    """Yield the events that break a relation between values."""
    names = log.roles.keys() | log.by_thing.keys()
    fields = {sort: _fields(acts, names) for sort, acts in log.by_sort.items()}
    for sort, acts in log.by_sort.items():
        if len(acts) >= MIN_SEEN and sort[1] != SNAPSHOT:
            yield from _broken("", [(act, act) for act in acts], fields[sort], fields[sort])
            yield from _composed(acts, fields[sort])
            yield from _continued(acts, fields[sort])
            yield from _numbers(acts, fields[sort])
        elif len(acts) >= FEWEST and sort[1] != SNAPSHOT:
            yield from _equal_in_few(acts, fields[sort])
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
        for token in holders.get(amount, ()) if amount >= MIN_AMOUNT or amount % 1 else ():
            held = log.by_token[token]
            if token not in act.tokens and act.place < held[-1].place and len(held) <= MAX_HOLDERS:
                act.tokens += (token,)
                insort(held, act, key=attrgetter("place"))


PARTING: Final = frozenset({"amounts part", "not carried on"})
MIN_AMOUNT: Final = 100
"""Smaller whole numbers may be anything."""


def _fields(acts: Sequence[Act], names: AbstractSet[Any]) -> list[str]:
    """Return the paths that many of the acts have, without those that lead through a table."""
    counts = Counter(path for act in acts for path in act.values if "~" not in path)
    often = [path for path, number in counts.items() if number >= 0.3 * len(acts)]
    tables = _tables(counts, names)
    return [*islice((path for path in often if tables.isdisjoint(_parents(path))), MAX_FIELDS)]


def _tables(paths: Iterable[str], names: AbstractSet[Any]) -> set[str]:
    """Return the paths of dicts whose keys name agents or things."""
    keys: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        for parent in _parents(path):
            key = path.removeprefix(f"{parent}.").partition(".")[0]
            keys[parent].add(key.partition("[")[0].rstrip("#@"))
    return {
        path
        for path, found in keys.items()
        if len(found) >= MIN_KEYS and len(found & names) >= OF_NAMES * len(found)
    }


def _parents(path: str) -> Iterator[str]:
    """Yield the paths of the dicts that a path leads through: a.b and a for a.b.c."""
    while path := path.rpartition(".")[0]:
        yield path


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


def _broken(
    link: str, pairs: list[Pair], own: Sequence[str], others: Sequence[str], *, is_same_sort: bool = False
) -> Iterator[Finding]:
    """Yield violations of relations between the values of pairs of acts.

    Args:
        is_same_sort: whether only equal values of different fields are a relation.
    """
    some = pairs[:: max(1, len(pairs) // SOME)]
    columns = _Columns(pairs)
    # A time to come, such as a due date, goes along with the time of its event.
    others = others if link or TICK in others else [*others, TICK]
    earlier_acts = [earlier for _, earlier in some]
    beside_of = [(other, _Column(_values_of(earlier_acts, other))) for other in others]
    scanned: dict[bytes, list[Finding]] = {}
    for number, path in enumerate(own):
        own_values = _Column([act.values.get(path, _LACKS) for act, _ in some])
        for place, (other, beside) in enumerate(beside_of):
            if (not link and path == other) or (link and leaf(path) == leaf(other) == link):
                continue
            if is_same_sort and (leaf(path) == leaf(other) or not _moves(some, path)):
                continue
            values = own_values
            if values.is_sparse or beside.is_sparse:
                beside, values = _both(beside, values)  # noqa: PLW2901 - of the same relation, less what lacks
            if 2 * len(values.values) < MIN_SEEN:
                continue
            usual = None if values.has_common else _difference(beside, values)
            if usual is not None:
                if (link or place < number or other is TICK) and (
                    not is_same_sort or usual is True or usual == 0
                ):
                    yield from _parted(link, path, other, columns, usual, scanned)
            elif not is_same_sort and other is not TICK and _may_determine(beside, values):
                yield from _undetermined(link, path, other, columns)


def _values_of(acts: Sequence[Act], path: str) -> list[Any]:
    """Return the value of a path of each act, or its tick; `_LACKS` where there is none."""
    if path is TICK:
        return [_LACKS if act.tick is None else act.tick for act in acts]
    return [act.values.get(path, _LACKS) for act in acts]


def _moves(pairs: Sequence[Pair], path: str) -> bool:
    """Whether a value mostly differs between the two acts of a pair."""
    moved = [act for act, earlier in pairs if act.values.get(path) != earlier.values.get(path)]
    return 2 * len(moved) > len(pairs)


class _Column:
    """Values of one path, and what comparing it with many others needs, each found once."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values
        self.types = set(map(type, values))
        self.is_sparse = _Lacking in self.types

    @cached_property
    def has_common(self) -> bool:
        """Whether one value has more than the share `COMMON`."""
        most = COMMON * len(self.values)
        return not _none_has_more(self.levels, most, self.values) and (
            max(Counter(map(str, self.values)).values()) > most
        )

    @cached_property
    def is_present(self) -> list[bool]:
        """Of each place, whether a value is there."""
        return [value is not _LACKS for value in self.values]

    @cached_property
    def has_no_number(self) -> bool:
        """Whether the values can only be equal or not."""
        return not self.types & _NUMBERS

    @cached_property
    def is_finite(self) -> bool:
        """Whether all values are numbers with a difference."""
        return self.types <= _NUMBERS and all(map(math.isfinite, self.values))

    @cached_property
    def levels(self) -> set[Any]:
        """The distinct values."""
        return set(self.values)


def _both(beside: _Column, values: _Column) -> tuple[_Column, _Column]:
    """Return the two columns without the places at which one of them lacks a value."""
    have_both = [*map(and_, beside.is_present, values.is_present)]
    return _Column([*compress(beside.values, have_both)]), _Column([*compress(values.values, have_both)])


class _Columns:
    """The values of pairs, path by path, and what else many relations between them need, each read once."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = pairs
        self._is_of_one = all(act is earlier for act, earlier in pairs)
        self._own: dict[str, _Column] = {}
        self._others: dict[str, _Column] = {}

    def own(self, path: str) -> _Column:
        """Return the acts' own values of a path; `_LACKS` where there is none."""
        if path not in self._own:
            self._own[path] = _Column(_values_of(self.acts, path))
        return self._own[path]

    def others(self, path: str) -> _Column:
        """Return the values of a path beside them."""
        if self._is_of_one:
            return self.own(path)
        if path not in self._others:
            self._others[path] = _Column(_values_of([earlier for _, earlier in self.pairs], path))
        return self._others[path]

    @cached_property
    def rows(self) -> dict[int, int]:
        """{place of an act: its row}."""
        return {act.place: row for row, (act, _) in enumerate(self.pairs)}

    def beside(
        self, link: str, path: str, other: str, act: Act, usual: Any, shares: tuple[int, int] = (0, 0)
    ) -> Beside:
        """Return the two values of a relation that an act breaks."""
        row = self.rows[act.place]
        earlier = self.pairs[row][1].sort if link else None
        own, level = self.own(path).values[row], self.others(other).values[row]
        return Beside(path, own, other, level, usual, link, earlier, shares)

    @cached_property
    def acts(self) -> list[Act]:
        """The acts whose own values are compared."""
        return [act for act, _ in self.pairs]

    @cached_property
    def members(self) -> Members:
        """The places of the acts of each group."""
        return members_of(self.acts)


def _none_has_more(levels: AbstractSet[Any], most: float, values: Sequence[Any]) -> bool:
    """Whether the values have so many levels that none can be more than `most` of them."""
    return len(values) - len(levels) + 1 <= most


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
    if (beside.has_no_number or values.has_no_number) and beside.levels.isdisjoint(values.levels):
        return None
    gaps, least = _gaps(beside, values), (1 - MAY_BREAK) * len(values.values)
    if _none_has_more(set(gaps), least, gaps):
        return None
    usual, times = Counter(gaps).most_common(1)[0]
    if usual is False or times <= least:
        return None
    first = gaps.index(usual)
    # One pair of values that recurs, such as a start value at tick 0, is no relation.
    level = beside.values[first]
    return (
        usual
        if any(gap == usual and each != level for gap, each in zip(gaps, beside.values, strict=True))
        else None
    )


def _may_determine(beside: _Column, values: _Column) -> bool:
    """Whether, in a sample, the values beside may nearly always determine the others."""
    if not (
        beside.types <= _FEW
        and values.types <= _FEW
        and 2 <= len(beside.levels) <= len(beside.values) / EACH
        and 2 <= len(values.levels) <= MAX_LEVELS
    ):
        return False
    usual: dict[Any, int] = {}
    for (level, _), times in Counter(zip(beside.values, values.values, strict=True)).items():
        usual[level] = max(usual.get(level, 0), times)
    # A sample of forty of a relation that a tenth breaks has over twelve that break it once in 10,000 times.
    return sum(usual.values()) >= (1 - 3 * SELDOM) * len(values.values)


def _parted(
    link: str, path: str, other: str, columns: _Columns, usual: Any, scanned: dict[bytes, list[Finding]]
) -> Iterator[Finding]:
    """Yield violations of an equality or a constant difference, single ones and those that stay.

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
    if 1 not in kept:
        return
    rule = "not carried on" if link else "amounts part"
    if kept not in scanned:
        acts, is_bad = columns.acts, kept
        members: Members | None = columns.members
        if _ABSENT in kept:
            acts = [act for act, each in zip(acts, kept, strict=True) if each != _ABSENT]
            is_bad, members = kept.replace(bytes([_ABSENT]), b""), None
        bad = [at for at, each in enumerate(is_bad) if each]
        found = scan_violations(rule, "", acts, bad, most=MAY_BREAK, base=STRICT, members=members)
        scanned[kept] = [*(each for each in found if not each.local), *_single(rule, "", acts, is_bad)]
    label = _label(columns.pairs[0][0].sort)
    about = f"{other} to {label} {path}" if link else f"{label}: {other} and {path}"
    shares = kept.count(0), len(kept) - kept.count(_ABSENT)
    for each in scanned[kept]:
        yield replace(each, about=about, beside=columns.beside(link, path, other, each.first, usual, shares))


def _undetermined(link: str, path: str, other: str, columns: _Columns) -> Iterator[Finding]:
    """Yield values that differ from what the value beside them nearly always determines."""
    levels, own = columns.others(other), columns.own(path)
    if levels.is_sparse or own.is_sparse:
        levels, own = _both(levels, own)
    both = Counter(zip(levels.values, own.values, strict=True))
    beside_it: Counter[Any] = Counter()
    values: Counter[str] = Counter()
    usual: dict[Any, tuple[int, Any]] = {}
    for (beside, value), times in both.items():
        beside_it[beside] += times
        values[str(value)] += times
        if times > usual.get(beside, (0, None))[0]:
            usual[beside] = times, value
    often = {beside: number for beside, number in beside_it.items() if number >= EACH}
    seen, of_both = sum(often.values()), both.total()
    bad = seen - sum(usual[beside][0] for beside in often)
    most = max(values.values())
    # A value that most events have is news only where the value beside it halves the exceptions.
    tells = most <= COMMON * of_both or 2 * bad <= of_both - most
    if bad and _is_seldom(bad, seen) and 2 * seen > of_both and tells:
        about = f"{_label(columns.pairs[0][0].sort)} {path} by {other}"
        rows = zip(columns.acts, columns.others(other).values, columns.own(path).values, strict=True)
        known = [row for row in rows if row[1] is not _LACKS and row[2] is not _LACKS and row[1] in often]
        is_bad = [value != usual[beside][1] for _, beside, value in known]
        for each in _single("not as beside it", about, [act for act, _, _ in known], is_bad):
            expected = usual[columns.others(other).values[columns.rows[each.first.place]]][1]
            each.beside = columns.beside(link, path, other, each.first, expected)
            yield each


def _continued(acts: Sequence[Act], fields: Sequence[str]) -> Iterator[Finding]:
    """Yield values that do not continue those of the last event of the agent, or with a field's value."""
    for field in ("", *fields):
        latest: dict[str, Act] = {}
        before: dict[int, tuple[Act, Act]] = {}
        for act in acts:
            value = act.values.get(field) if field else act.agent
            if isinstance(value, str):
                if value in latest:
                    before[act.place] = act, latest[value]
                latest[value] = act
        if len(latest) > 1 and len(before) >= max(MIN_SEEN, 2 * len(acts) / 3):
            pairs = [*before.values()]
            for each in _broken(leaf(field) or "agent", pairs, fields, fields, is_same_sort=True):
                if len(each.acts) == 1:
                    # Either of the two events may be the wrong one.
                    yield replace(each, extras=before[each.first.place][1:])


def _equal_in_few(acts: Sequence[Act], fields: Sequence[str]) -> Iterator[Finding]:
    """Yield the only one of a few events of which two values that vary are not equal."""
    for path, other in combinations(fields, 2):
        both = [
            (act, act.values[path], act.values[other]) for act in acts if {path, other} <= act.values.keys()
        ]
        if len(both) < FEWEST or "~" in path + other:
            continue
        apart = [each for each in both if each[1] != each[2]]
        if len(apart) == 1 and max(Counter(str(value) for _, value, _ in both).values()) <= COMMON * len(
            both
        ):
            act, level, value = apart[0]
            usual = 0 if is_number(value) else True
            yield Finding(
                "amounts part", f"{_label(act.sort)}: {path} and {other}", [act],
                math.log((len(both) + 1) / 1.5), of=len(both), found=1,
                beside=Beside(other, value, path, level, usual, shares=(len(both) - 1, len(both))),
            )  # fmt: skip


FEWEST: Final = 6


def _composed(acts: Sequence[Act], fields: Sequence[str]) -> Iterator[Finding]:
    """Yield texts without the value that others of their field contain: profile-8 of client 7."""
    texts = {path: [act.values.get(path) for act in acts] for path in fields if not path.endswith(("#", "@"))}
    many = [path for path, values in texts.items() if len(set(values)) >= MIN_SEEN]
    for path, other in permutations(many, 2):
        both = [
            (act, text, part)
            for act, text, part in zip(acts, texts[path], texts[other], strict=True)
            if isinstance(text, str) and isinstance(part, str) and len(part) > 1
        ]
        some = both[:: max(1, len(both) // SOME)]
        if len(both) < MIN_SEEN or 2 * sum(map(_is_part, some)) <= len(some):
            continue
        usual = next(each for each in some if _is_part(each))
        compared, is_bad = [act for act, _, _ in both], [not _is_part(each) for each in both]
        about = f"{_label(compared[0].sort)} {path} by {other}"
        values = {act.place: (text, part) for act, text, part in both}
        bad = [at for at, each in enumerate(is_bad) if each]
        found = scan_violations("not as beside it", about, compared, bad, most=MAY_BREAK, base=STRICT)
        singles = _single("not as beside it", about, compared, is_bad)
        for each in [*(each for each in found if not each.local), *singles]:
            text, part = values[each.first.place]
            each.beside = Beside(path, text, other, part, usual[1].replace(usual[2], part))
            yield each


def _is_part(row: tuple[Act, str, str]) -> bool:
    """Whether a text contains another that is shorter."""
    _, text, part = row
    return len(part) < len(text) and part in text


def _numbers(acts: Sequence[Act], fields: Sequence[str]) -> Iterator[Finding]:
    """Yield numbers far from those of other events with the same value of a field."""
    numbers: dict[str, list[float | None]] = {}
    for other in fields:
        groups: dict[Any, list[int]] = defaultdict(list)
        for row, act in enumerate(acts):
            if isinstance(act.values.get(other), str | bool):
                groups[act.values[other]].append(row)
        if not 2 <= len(groups) <= len(acts) / EACH:
            continue
        for path in fields:
            far: list[tuple[float, Act, float]] = []
            number = 0
            if path not in numbers:
                every = (act.values.get(path) for act in acts)
                numbers[path] = [value if is_number(value) else None for value in every]
            column = numbers[path]
            for group in groups.values():
                own = [(value, row) for row in group if (value := column[row]) is not None]
                if len(own) < EACH:
                    continue
                number += len(own)
                level = median(value for value, _ in own)
                spread = median(abs(value - level) for value, _ in own) + abs(level) / 50 + 1e-9
                far += [
                    (away, acts[row], level)
                    for value, row in own
                    if (away := abs(value - level) / spread) > FAR
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
