"""Detect missing follow-ups about a thing or of an agent, wrong numbers of events, and new transitions.

A thing is what an identifier names: an order, a document. An entity is one of a few that many acts concern.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any, Final, NamedTuple

from Agent.analysis.debug.root_causes.acts import OUTCOMES, Act, Log, Sort, leaf
from Agent.analysis.debug.root_causes.scan import (
    CAP,
    MAY_BREAK,
    MIN_SEEN,
    Absence,
    Finding,
    KindOfAct,
    Observation,
    Recurring,
    onset,
    scan_novel,
    scan_rare,
)
from Agent.analysis.debug.root_causes.symptoms import QUIET

MAX_LIFE: Final = 80
"""A thing with more events is a category."""
MIN_TIMES: Final = 6
FOLLOWS: Final = 0.4
MAX_ENTITIES: Final = 60
MAX_NAME: Final = 40
Turn = tuple[str, str, str, str]
Entities = dict[tuple[str, str], list[Act]]


def find(log: Log) -> Iterator[Finding]:
    """Yield violations in the life cycles of things."""
    entities = _entities(log)
    yield from _out_of_order(entities)
    yield from _left_open(log)
    outcomes = _outcomes(log)
    lives = {thing: acts for thing, acts in log.by_thing.items() if 1 <= len(acts) <= MAX_LIFE}
    turns = {act.place: _turn(act, outcomes) for acts in lives.values() for act in acts}
    yield from _undone(log, entities, outcomes)
    if len(lives) < MIN_TIMES:
        return
    yield from _missing(log, lives, turns, _named)
    yield from _missing_of_some(log, lives)
    yield from _again(lives)
    yield from _too_often(log)


def _entities(log: Log) -> Entities:
    """Return {(field, value): acts} for fields with few values that acts of several sorts share."""
    found: dict[tuple[str, str], list[Act]] = defaultdict(list)
    sorts: dict[str, set[Hashable]] = defaultdict(set)
    for act in log.acts:
        for path, value in act.values.items():
            if (
                isinstance(value, str)
                and value != act.agent
                and len(value) <= MAX_NAME
                and not path.startswith("state.")
                and "~" not in path
            ):
                name = leaf(path)
                if not found[name, value] or found[name, value][-1] is not act:
                    found[name, value].append(act)
                sorts[name].add(act.sort)
    levels = Counter(name for name, _ in found)
    return {
        key: acts
        for key, acts in found.items()
        if len(acts) >= 3 and len(sorts[key[0]]) > 1 and 2 <= levels[key[0]] <= MAX_ENTITIES
    }


def _out_of_order(entities: Entities) -> Iterator[Finding]:
    """Yield new transitions between consecutive events about an entity, by the same agent or not."""
    steps: dict[str, list[Observation]] = defaultdict(list)
    for (name, _), acts in entities.items():
        for before, act in pairwise(acts):
            steps[name].append(Observation(act, (before.name, act.name, before.agent == act.agent)))
    for name, seen in steps.items():
        seen.sort(key=lambda each: each.act.place)
        yield from scan_novel("order never seen", f"events about one {name}", seen, least=20)


def _outcomes(log: Log) -> dict[Any, str]:
    """Return {sort: the field of its result that has few values}."""
    found: dict[Any, str] = {}
    for sort, acts in log.by_sort.items():
        for path in OUTCOMES:
            values = {act.values.get(path) for act in acts}
            if 2 <= len(values) <= 6 and all(isinstance(value, str | bool | None) for value in values):
                found[sort] = path
                break
    return found


def _turn(act: Act, outcomes: dict[Any, str]) -> Turn:
    path = outcomes.get(act.sort)
    value = None if path is None else act.values.get(path)
    ended = "" if value is None else str(value)
    return (act.role, act.kind, act.name, "failed" if act.failed else ended)


def _undone(log: Log, entities: Entities, outcomes: dict[Any, str]) -> Iterator[Finding]:
    """Yield breaks in what is done to an entity and undone again: opened and closed, lent and returned."""
    seldom: dict[tuple[str, str], list[Act]] = {}
    often: dict[tuple[str, str], set[Sort]] = {}
    for entity, acts in entities.items():
        counts = Counter(act.sort for act in acts)
        often[entity] = {sort for sort, number in counts.items() if number > MAX_SELDOM}
        kept = [act for act in acts if act.sort not in often[entity]]
        if len(kept) > 1:
            seldom[entity] = kept
    turns = {act.place: _turn(act, outcomes) for acts in seldom.values() for act in acts}
    yield from _missing(log, seldom, turns, lambda _, entity: str(entity[0]), often)


MAX_SELDOM: Final = 30


def _named(act: Act, thing: Any) -> str:
    """Return the field under which an act names a thing."""
    return act.named[act.things.index(thing)]


def _missing(
    log: Log,
    lives: Mapping[Any, list[Act]],
    turns: dict[int, Turn],
    named: Callable[[Act, Any], str],
    often: Mapping[Any, Collection[Sort]] | None = None,
) -> Iterator[Finding]:
    """Yield acts without the act about the same thing that nearly always follows, or precedes, them.

    A follow-up counts until the same act recurs: a bed is cleaned after each guest.

    Args:
        often: {thing: sorts of acts about it that its life leaves out}; these are not missing.
    """  # fmt: skip
    often = often or {}
    for forward in (True, False):
        lags: dict[tuple[Turn, Turn], list[int]] = defaultdict(list)
        starts: dict[Turn, list[tuple[Act, dict[Turn, int], Any]]] = defaultdict(list)
        about_of: dict[tuple[int, Turn], Any] = {}
        for thing, life in lives.items():
            last: dict[Turn, int] = {}
            again: dict[Turn, dict[Turn, None]] = defaultdict(dict)
            for act in reversed(life if forward else life[::-1]):
                # An act may concern several things, of which only one recurs.
                turn = (*turns[act.place][:3], f"{turns[act.place][3]} {named(act, thing)}")
                since = again[turn] if turn in last else last
                after = {other: abs(last[other] - act.step) for other in since if other != turn}
                starts[turn].append((act, after, thing))
                about_of[act.place, turn] = thing
                for other, lag in after.items():
                    lags[turn, other].append(lag)
                last[turn] = act.step
                again[turn] = {}
                for other, seen in again.items():
                    if other != turn:
                        seen[turn] = None
        for (turn, other), found in sorted(lags.items()):
            begun = sorted(starts[turn], key=lambda start: start[0].place)
            if len(begun) < MIN_TIMES or len(found) < FOLLOWS * len(begun) or len(found) == len(begun):
                continue
            # The follow-up may still happen within the longest time it ever took.
            horizon = max(found) + 1
            inside = [
                Observation(act, other not in after and other[:3] not in often.get(thing, ()))
                for act, after, thing in begun
                if (act.step + horizon < log.steps if forward else act.step >= horizon)
            ]  # fmt: skip
            rule = "follow-up missing" if forward else "precondition missing"
            one, two = _words(turn), _words(other)
            about = f"{one} -> {two}" if forward else f"{two} before {one}"
            for each in scan_rare(rule, about, inside, most=MAY_BREAK):
                each.missing = Absence(_step(turn), _step(other))
                if len(each.acts) == 1:
                    thing = about_of[each.first.place, turn]
                    each.found = Recurring(named(each.first, thing), thing)
                    if forward:
                        each.extras = _ends(each.first, lives[thing], each.first.step + horizon)
                yield each


def _step(turn: Turn) -> KindOfAct:
    ended, _, named = turn[3].rpartition(" ")
    return KindOfAct(turn[:3], ended, named)


def _missing_of_some(log: Log, lives: Mapping[Any, list[Act]]) -> Iterator[Finding]:
    """Yield acts with some value, or repeated acts, without what nearly always follows those, but not others.

    Only messages in a foreign language are followed by one to an interpreter, only second bookings by a
    refund.
    """
    number: Counter[tuple[Sort, str]] = Counter()
    followed: dict[tuple[Sort, str], Counter[Sort]] = defaultdict(Counter)
    for thing, act, later in _with_later(lives):
        key = act.sort, _named(act, thing)
        number[key] += 1
        followed[key].update(later.keys())
    wanted: dict[tuple[Sort, str], list[Sort]] = {}
    for key, counts in followed.items():
        some = [sort for sort, times in counts.items() if MIN_TIMES <= times < FOLLOWS * number[key]]
        if some:
            wanted[key] = sorted(sort for sort in some if sort != key[0])
    begun: dict[tuple[Sort, str, tuple[str, str]], list[tuple[Any, Act, dict[Sort, int]]]] = defaultdict(list)
    for thing, act, later in _with_later(lives):
        key = act.sort, _named(act, thing)
        if key in wanted:
            after = {sort: later[sort] - act.step for sort in wanted[key] if sort in later}
            values = [each.key[0] for each in act.groups if len(each.key) == 1]
            if any(each.sort == act.sort for each in lives[thing] if each.place < act.place):
                values.append(_REPEATED)
            for value in values:
                # How an act ended is part of each turn already.
                if value[0] != "agent" and not value[0].startswith(OUTCOMES):
                    begun[*key, value].append((thing, act, after))
    strongest: dict[int, Finding] = {}
    for (sort, name, value), found in begun.items():
        for other in wanted[sort, name] if len(found) >= MIN_TIMES else ():
            longest = max((after[other] for *_, after in found if other in after), default=0)
            inside = [each for each in found if each[1].step + longest + 1 < log.steps]
            things = {thing for thing, *_ in inside}
            without = [(thing, act) for thing, act, after in inside if other not in after]
            lacking = len({thing for thing, _ in without})
            if not lacking or len(things) < MIN_TIMES or lacking > max(1.0, EXCEPTIONS * len(things)):
                continue
            nats = math.log((len(things) + 1) / (lacking + 0.5))
            about = f"{sort[2] or sort[1]} -> {other[2] or other[1]}"
            group = () if value == _REPEATED else (value,)
            missing = Absence(
                KindOfAct(sort, "", name),
                KindOfAct(other, "", name),
                is_until_again=False,
                is_of_repeated=value == _REPEATED,
            )
            for thing, act in without:
                if act.place not in strongest or strongest[act.place].nats < nats:
                    about_it = Recurring(name, thing)
                    strongest[act.place] = Finding(
                        "follow-up missing", about, [act], nats, group, of=len(things), found=about_it,
                        missing=missing,
                    )  # fmt: skip
    yield from strongest.values()


_REPEATED: Final = ("", "again")
EXCEPTIONS: Final = 0.1
"""Largest share of things without a follow-up that the others have; of few things, one may lack it."""


def _with_later(lives: Mapping[Any, list[Act]]) -> Iterator[tuple[Any, Act, dict[Sort, int]]]:
    """Yield (thing, act, {sort: step of the first later act of it about the thing}), last act first."""
    for thing, life in lives.items():
        later: dict[Sort, int] = {}
        for act in reversed(life):
            yield thing, act, later
            later[act.sort] = act.step


def _ends(act: Act, life: Sequence[Act], until: int) -> tuple[Act, ...]:
    """Return the last act about a thing after an act whose follow-up is missing."""
    after = [each for each in life if act.place < each.place and each.step <= until]
    return tuple(after[-1:])


class _Span(NamedTuple):
    """An act of an agent, and what the agent does until it does the same again."""

    act: Act
    within: dict[Sort, int]
    """{sort: number of events until the first act of that sort}."""
    rest: int | None = None
    """Number of events until the agent's last one, if it never does the same again."""


def _left_open(log: Log) -> Iterator[Finding]:
    """Yield acts that their agent does again, or leaves for longer than ever, without what closes them.

    No identifier is needed. An act closes the one that it follows most closely.
    """
    spans = _spans(log)
    opens: dict[Sort, list[tuple[float, Sort, int]]] = defaultdict(list)
    for sort, own in spans.items():
        again = [each for each in own if each.rest is None]
        between = Counter(other for each in again for other in each.within)
        for other, number in between.items():
            is_closing = (
                len(again) >= MIN_SEEN
                and number >= CLOSED * len(again)
                and len(log.by_sort[other]) <= EXTRA * len(log.by_sort[sort])
            )
            if is_closing and other[1] == sort[1]:
                lags = [each.within[other] for each in own if other in each.within]
                opens[other].append((median(lags), sort, max(lags)))
    for other, found in opens.items():
        _, sort, longest = min(found)
        seen = [
            Observation(each.act, other not in each.within)
            for each in spans[sort]
            if other in each.within or each.rest is None or each.rest > longest
        ]
        about = f"{sort[2] or sort[1]} -> {other[2] or other[1]}"
        for each in scan_rare("left open", about, seen, most=MAY_BREAK):
            if not each.local:
                yield onset(each)


CLOSED: Final = 0.65
"""An agent that never closes what it opens, of three, leaves so large a share closed."""
EXTRA: Final = 1.05
"""An act that occurs more often than what it closes, by this factor, does not close it."""


def _spans(log: Log) -> dict[Sort, list[_Span]]:
    """Return what agents do between two acts of each sort, in order."""
    found: dict[Sort, list[_Span]] = defaultdict(list)
    opened: dict[str, dict[Sort, _Span]] = defaultdict(dict)
    last: dict[str, int] = {}
    for act in log.acts:
        if not act.agent or act.kind in QUIET or act.kind in {"log", "error"}:
            continue
        own = opened[act.agent]
        if act.sort in own:
            found[act.sort].append(own.pop(act.sort))
        for each in own.values():
            each.within.setdefault(act.sort, act.place - each.act.place)
        own[act.sort] = _Span(act, {})
        last[act.agent] = act.place
    for agent, own in opened.items():
        for sort, each in own.items():
            found[sort].append(each._replace(rest=last[agent] - each.act.place))
    for spans in found.values():
        spans.sort(key=lambda each: each.act.place)
    return found


def _words(turn: Turn) -> str:
    ended = turn[3].rpartition(" ")[0]
    return f"{turn[2] or turn[1]} ({ended})" if ended else turn[2] or turn[1]


def _again(lives: dict[Any, list[Act]]) -> Iterator[Finding]:
    """Yield events that occur once per thing, where they recur."""
    seen: dict[tuple[Sort, bool], list[Observation]] = defaultdict(list)
    for life in lives.values():
        by_all: Counter[Sort] = Counter()
        by_one: Counter[tuple[Sort, str]] = Counter()
        for act in life:
            by_all[act.sort] += 1
            by_one[act.sort, act.agent] += 1
            seen[act.sort, False].append(Observation(act, by_all[act.sort] > 1))
            seen[act.sort, True].append(Observation(act, by_one[act.sort, act.agent] > 1))
    for observations in seen.values():
        observations.sort(key=lambda each: each.act.place)
        last = observations[3 * len(observations) // 4 :]
        # If few things circulate, most of them recur eventually.
        if sum(each.value for each in last) <= COMES_ROUND * len(last):
            act = observations[0].act
            for each in scan_rare("happens again", f"{act.name or act.kind}", observations):
                each.found = _recurring(each.first, lives) or each.found
                yield each


def _recurring(act: Act, lives: Mapping[Any, list[Act]]) -> Recurring | None:
    """Return the thing for which an event happens again, of those that it is about."""
    for named, thing in zip(act.named, act.things, strict=True):
        if any(each.sort == act.sort and each.place < act.place for each in lives.get(thing, ())):
            return Recurring(named, thing)
    return None


def _too_often(log: Log) -> Iterator[Finding]:
    """Yield things that acts of one sort are about far more often than any other: retries without end."""
    about: dict[tuple[Sort, str], dict[Hashable, list[Act]]] = defaultdict(lambda: defaultdict(list))
    for act in log.acts:
        for named, thing in zip(act.named, act.things, strict=True):
            about[act.sort, named][thing].append(act)
    for (sort, named), lives in about.items():
        (thing, most), *rest = sorted(lives.items(), key=lambda pair: -len(pair[1]))
        numbers = [len(acts) for _, acts in rest]
        if len(rest) < MIN_TIMES or len(most) < TOO_OFTEN * numbers[0]:
            continue
        # As if each act about another thing were the last with the same chance.
        once_more = (sum(numbers) - len(numbers) + 1) / (sum(numbers) + 2)
        nats = -(len(most) - numbers[0]) * math.log(once_more) - math.log(len(lives))
        if nats > 1.0:
            usual = int(median(numbers))
            yield Finding(
                "too often", sort[2] or sort[1], most[usual:], min(CAP, nats), usual=numbers[0],
                found=Recurring(named, thing), of=len(most), extras=tuple(most[:1]),
            )  # fmt: skip


TOO_OFTEN: Final = 2
COMES_ROUND: Final = 1 / 3
