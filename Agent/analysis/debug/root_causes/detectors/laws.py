"""Detect events that break a law of arithmetic which the events of their sort keep, or kept at first.

A number is the sum, the difference or the product of two others, or a multiple of another one plus a
constant; it is never above another; it is the least or the most of a table; it never occurs twice. The
others are numbers of the same event, the sum of a table, what a table holds under a name that the event
gives, or the last number of the same field of the event's agent or thing.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import combinations, compress, permutations
from statistics import median
from typing import Any, Final, NamedTuple

from Agent.analysis.debug.root_causes.acts import Act, Log, is_number, leaf
from Agent.analysis.debug.root_causes.detectors.values import OUTPUTS
from Agent.analysis.debug.root_causes.scan import LAW, MIN_SEEN, STRICT, Beside, Finding, scan_violations
from Agent.event.kinds import SNAPSHOT

__all__ = ["find"]

MAX_NUMBERS: Final = 12
SOME: Final = 40
"""Laws are sought in samples of this many events, and checked in all of them."""
FIRST: Final = 6
"""Of a sample, so many are looked at first."""
KEPT: Final = 0.85
"""A law is kept by a larger share of all events, or of the first fifth: later it may be broken for good."""
FEWEST: Final = 8
MOST_BROKEN: Final = 0.9
MIN_DISTINCT: Final = 4
NEARLY_ALL: Final = 0.9
SELDOM: Final = 0.1
"""A law with a larger share of violations does not make a single one of them unusual."""
BY_CHANCE: Final = 0.5
ORDERED_BY_CHANCE: Final = 0.8
"""Largest share of events that keep a law with the numbers of other events, relative to their own."""
RECURRING: Final = 0.03
"""Largest share of values that recur, of numbers that should not."""
MAX_DECIMALS: Final = 6
LARGEST: Final = 1e15
"""Larger numbers have no exact sums."""

Latest = Mapping[str, Sequence[Mapping[str, float]]]
"""{whose: by place of the act, {name: the last number of that name before it}}."""


class Numbers(NamedTuple):
    """The numbers that events of one sort hold under one name, NaN where there is none."""

    path: str
    held: Sequence[float]
    unit: float
    """What the last digit counts, 0 for integers."""


class Law(NamedTuple):
    """What holds between a number and those beside it."""

    numbers: tuple[Numbers, ...]
    said: tuple[str, ...]
    """A template and the fields that it names."""
    keeps: Callable[[int, int], bool]
    """Whether it holds between the number of one row and those beside it of another."""
    by_chance: float = BY_CHANCE

    def is_known(self, row: int) -> bool:
        """Whether an event holds all its numbers."""
        return not any(math.isnan(each.held[row]) for each in self.numbers)


class Table(NamedTuple):
    """The numbers that events of one sort hold in a list, or under names: by row, {name: number}."""

    path: str
    rows: Sequence[Mapping[str, float]]


def find(log: Log) -> Iterator[Finding]:
    """Yield the events that break a law of their sort."""
    latest = _latest(log)
    for sort, acts in log.by_sort.items():
        if len(acts) < MIN_SEEN or sort[1] == SNAPSHOT:
            continue
        own = _numbers(log, acts)
        yield from _recurring(acts, own)
        found: set[bytes] = set()
        for law in _laws(acts, own, _tables(log, acts), latest):
            broken = bytes(not law.keeps(row, row) for row in range(len(acts)))
            if 1 in broken and broken not in found:
                found.add(broken)
                yield from _violations(law, acts, broken)


def _numbers(log: Log, acts: Sequence[Act]) -> list[Numbers]:
    """Return the numbers that nearly all acts hold, without those of tables."""
    counts = Counter(path for act in acts for path, value in act.values.items() if is_number(value))
    often = [
        path
        for path, number in counts.items()
        if number >= NEARLY_ALL * len(acts) and "~" not in path and not log.is_in_table(path)
    ]
    columns = (_column(path, [act.values.get(path) for act in acts]) for path in often)
    return [each for each in columns if each is not None][:MAX_NUMBERS]


def _column(path: str, held: Sequence[Any]) -> Numbers | None:
    """Return the numbers of one name, or None if they are few or hardly vary."""
    numbers = [float(value) if is_number(value) and abs(value) < LARGEST else math.nan for value in held]
    known = [value for value in numbers if not math.isnan(value)]
    if len(known) < NEARLY_ALL * len(numbers) or len(set(known)) < MIN_DISTINCT:
        return None
    return Numbers(path, numbers, _unit([value for value in held if is_number(value)][:SOME]))


def _unit(numbers: Sequence[float]) -> float:
    """Return what the last digit of some numbers counts, at least a millionth; 0 for integers."""
    if all(type(value) is int for value in numbers):
        return 0.0
    exponents = (int(Decimal(repr(value)).as_tuple().exponent) for value in numbers if math.isfinite(value))
    return 10.0 ** max(-MAX_DECIMALS, min(exponents, default=0))


def _tables(log: Log, acts: Sequence[Act]) -> list[Table]:
    """Return the lists, and the tables with names as keys, that nearly all acts hold."""
    found: dict[str, list[dict[str, float]]] = defaultdict(lambda: [{} for _ in acts])
    for row, act in enumerate(acts):
        for path, value in act.values.items():
            table, _, key = path.rpartition("[" if path.endswith("]") else ".")
            if is_number(value) and table and (path.endswith("]") or table in log.tables):
                found[table][row][key] = value
    return [
        Table(path, rows)
        for path, rows in found.items()
        if sum(len(row) > 1 for row in rows) >= NEARLY_ALL * len(acts)
    ]


def _latest(log: Log) -> Latest:
    """Return the last numbers of each act's agent, and of the first thing that it names."""
    known: dict[Hashable, dict[str, float]] = defaultdict(dict)
    found: dict[str, list[Mapping[str, float]]] = {"agent": [], "thing": []}
    for act in log.acts:
        numbers = {leaf(path): value for path, value in act.values.items() if is_number(value)}
        texts = (value for value in act.values.values() if isinstance(value, str))
        thing = next((value for value in texts if value != act.agent), "")
        for whose, name in (("agent", act.agent), ("thing", thing)):
            last = known[whose, name]
            found[whose].append({each: last[each] for each in numbers if each in last})
            if name:
                last.update(numbers)
    return found


def _laws(
    acts: Sequence[Act], own: Sequence[Numbers], tables: Iterable[Table], latest: Latest
) -> Iterator[Law]:
    """Yield the laws that a sample of all acts, or of the first fifth, keeps more often than by chance."""
    early = max(FEWEST, len(acts) // 5)
    samples = [range(0, number, max(1, number // SOME)) for number in (len(acts), early)]
    numbers = [*own]
    for table in tables:
        columns, laws = _of_table(table, acts)
        numbers += columns
        yield from _kept(laws, samples)
    # Of a law between two numbers, that of the output is told.
    numbers = sorted(numbers, key=lambda each: not each.path.startswith(OUTPUTS))[:MAX_NUMBERS]
    for of, one in permutations(numbers, 2):
        yield from _kept([*_multiples(of, one, samples), _at_most(of, one)], samples)
    for of in numbers:
        for one, other in combinations([each for each in numbers if each is not of], 2):
            yield from _kept(_sums(of, one, other), samples)
    for of in own:
        for whose, last in latest.items():
            name = leaf(of.path)
            before = _column(f"the last {name} of its {whose}", [last[act.place].get(name) for act in acts])
            for other in numbers if before is not None else ():
                if other is not of and before is not None:
                    yield from _kept(_sums(of, before, other)[:2], samples)


def _kept(laws: Iterable[Law], samples: Sequence[Sequence[int]]) -> Iterator[Law]:
    """Yield the laws that nearly all rows of a sample keep, and that numbers of other rows do not."""
    return (law for law in laws if any(_is_kept(law, rows) for rows in samples))


def _is_kept(law: Law, rows: Sequence[int]) -> bool:
    first = rows[:: max(1, len(rows) // FIRST)]
    if 2 * sum(law.keeps(row, row) for row in first) < len(first):
        return False
    known = [row for row in rows if law.is_known(row)]
    kept = sum(law.keeps(row, row) for row in known)
    if len(known) < FEWEST or kept <= KEPT * len(known):
        return False
    shift = 1 + len(known) // 3
    others = known[shift:] + known[:shift]
    return sum(map(law.keeps, known, others)) <= law.by_chance * kept


def _sums(of: Numbers, one: Numbers, other: Numbers) -> list[Law]:
    """Return the laws by which a number may follow from two others."""
    a, b, c = of.held, one.held, other.held
    room = 0.51 * (of.unit + one.unit + other.unit) + 1e-9
    whole = of.unit or float(bool(one.unit or other.unit))  # a product may be rounded to an integer

    def is_product(row: int, at: int) -> bool:
        near = 0.51 * (whole + abs(c[at]) * one.unit + abs(b[at]) * other.unit) + 1e-9 * abs(a[row])
        return abs(a[row] - b[at] * c[at]) <= near

    numbers, names = (of, one, other), (of.path, one.path, other.path)
    return [
        Law(numbers, ("{} is {} plus {}", *names), lambda row, at: abs(a[row] - b[at] - c[at]) <= room),
        Law(numbers, ("{} is {} minus {}", *names), lambda row, at: abs(a[row] - b[at] + c[at]) <= room),
        Law(numbers, ("{} is {} times {}", *names), is_product),
    ]


def _multiples(of: Numbers, one: Numbers, samples: Sequence[Sequence[int]]) -> Iterator[Law]:
    """Yield the laws by which a number may be a multiple of another plus a constant."""
    for rows in reversed(samples):  # what holds at first is not blurred by what breaks it later
        both = ((one.held[row], of.held[row]) for row in rows)
        known = sorted((x, y) for x, y in both if not math.isnan(x + y))
        # Pairs of numbers far apart show the slope most exactly.
        pairs = zip(known, known[len(known) // 2 :], strict=False)
        slopes = [(b - y) / (a - x) for (x, y), (a, b) in pairs if x != a]
        slope = median(slopes) if len(slopes) >= FIRST else 0.0
        # Equalities and constant differences are relations.
        if abs(slope) < 1e-9 or abs(slope - 1) < 1e-9:
            continue
        start = median(y - slope * x for x, y in known)
        whole = of.unit or float(bool(one.unit or slope % 1))
        room = 0.51 * (whole + abs(slope) * one.unit) + 1e-6 * abs(start) + 1e-9

        def keeps(row: int, at: int, line: tuple[float, float, float] = (slope, start, room)) -> bool:
            slope, start, room = line
            return abs(of.held[row] - slope * one.held[at] - start) <= room + 1e-6 * abs(of.held[row])

        added = "" if abs(start) <= room else f" {'plus' if start > 0 else 'minus'} {abs(start):.3g}"
        yield Law((of, one), (f"{{}} is {slope:.3g} times {{}}{added}", of.path, one.path), keeps)


def _at_most(of: Numbers, one: Numbers) -> Law:
    said = "{} is at most {}", of.path, one.path
    return Law((of, one), said, lambda row, at: of.held[row] <= one.held[at], ORDERED_BY_CHANCE)


def _of_table(table: Table, acts: Sequence[Act]) -> tuple[list[Numbers], list[Law]]:
    """Return the sum of a table, and what it holds under names that the acts give; and laws of extremes."""
    by_name: dict[str, list[float | None]] = defaultdict(lambda: [None] * len(acts))
    for row, (act, held) in enumerate(zip(acts, table.rows, strict=True)):
        for path, value in (("agent", act.agent), *act.values.items()):
            if isinstance(value, str) and value in held:
                by_name[leaf(path)][row] = held[value]
    sums = _column(
        f"the sum of {leaf(table.path)}", [sum(row.values()) if row else None for row in table.rows]
    )
    numbers, laws = [sums] if sums else [], []
    for name, values in by_name.items():
        column = _column(f"{table.path}[{name}]", values)
        if column is not None:
            numbers.append(column)
            laws += [_extreme(column, table, "least", min), _extreme(column, table, "most", max)]
    return numbers, laws


def _extreme(of: Numbers, table: Table, said: str, choice: Callable[[Iterable[float]], float]) -> Law:
    extremes = [choice(row.values()) if row else math.nan for row in table.rows]
    beside = Numbers(f"the {said} of {leaf(table.path)}", extremes, of.unit)
    said_of = "{} is {}", of.path, beside.path
    return Law((of, beside), said_of, lambda row, at: of.held[row] == extremes[at])


def _violations(law: Law, acts: Sequence[Act], broken: bytes) -> Iterator[Finding]:
    """Yield violations of a law, single ones and those that stay."""
    known = [*map(law.is_known, range(len(acts)))]
    told, is_bad = [*compress(acts, known)], bytes(compress(broken, known))
    bad = [*compress(told, is_bad)]
    scanned = scan_violations(LAW, "", told, is_bad, most=MOST_BROKEN, base=STRICT)
    found = [each for each in scanned if not each.local]
    if len(bad) <= SELDOM * len(told):
        nats = math.log((len(told) + 1) / (len(bad) + 0.5))
        found += [Finding(LAW, "", [act], nats, of=len(told), found=1) for act in bad]
    rows, (of, one, *_) = {act.place: row for row, act in enumerate(acts)}, law.numbers
    for each in found:
        # Of a law that is broken for good, its reader is told how often it held before.
        until = each.first.place if len(bad) > SELDOM * len(told) else math.inf
        seen, broken_before = (sum(act.place < until for act in some) for some in (told, bad))
        row, shares = rows[each.first.place], (seen - broken_before, seen)
        beside = Beside(of.path, of.held[row], one.path, one.held[row], law.said, shares=shares)
        yield replace(each, about=_about(each.first, law.said), beside=beside)


def _about(act: Act, said: tuple[str, ...]) -> str:
    return f"{act.sort[2] or act.sort[1]}: {said[0].format(*said[1:])}"


def _recurring(acts: Sequence[Act], numbers: Sequence[Numbers]) -> Iterator[Finding]:
    """Yield the events with the same integer, where it hardly ever recurs."""
    for path, held, unit in numbers:
        if unit or path.endswith("#"):
            continue
        counts = Counter(value for value in held if not math.isnan(value))
        again = [value for value, times in counts.items() if times > 1]
        if sum(counts[value] - 1 for value in again) > max(1.0, RECURRING * len(acts)):
            continue
        nats = math.log((len(acts) + 1) / (len(again) + 0.5))
        said, shares = ("no two have the same {}", path), (len(counts) - len(again), len(counts))
        for value in again:
            own = [act for act, each in zip(acts, held, strict=True) if each == value]
            beside = Beside(path, value, path, value, said, shares=shares)
            yield Finding(LAW, _about(own[0], said), own, nats, of=len(acts), found=len(own), beside=beside)
