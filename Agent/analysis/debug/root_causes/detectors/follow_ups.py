"""Detect missing follow-ups about a thing, and new transitions.

A thing is what an identifier names: an order, a document. An entity is one of a few that many acts concern.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from Agent.analysis.debug.root_causes.acts import Act, Log, leaf
from Agent.analysis.debug.root_causes.constants import (
    FEW,
    FOLLOWS,
    MAX_ENTITIES,
    MAX_LIFE,
    MAX_NAME,
    MAX_SELDOM,
    MIN_SERIES,
)
from Agent.analysis.debug.root_causes.scan import Finding, Observation, scan_novel, scan_rare

__all__ = ["find"]

Turn = tuple[str, str, str, str]
Entities = dict[tuple[str, str], list[Act]]


def find(log: Log) -> Iterator[Finding]:
    """Yield violations in the life cycles of entities and of things."""
    entities = _entities(log)
    yield from _out_of_order(entities)
    outcomes = _outcomes(log)
    yield from _missing(log, _seldom(entities), outcomes, lambda _, entity: str(entity[0]))
    lives = {thing: acts for thing, acts in log.by_thing.items() if len(acts) <= MAX_LIFE}
    if len(lives) >= FEW:
        yield from _missing(log, lives, outcomes, lambda act, thing: act.named[act.things.index(thing)])


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
        yield from scan_novel("order never seen", f"events about one {name}", seen, least=MIN_SERIES)


def _outcomes(log: Log) -> dict[Any, str]:
    """Return {sort: the field of its result that has few values}."""
    found: dict[Any, str] = {}
    for sort, acts in log.by_sort.items():
        for path in ("result", "outcome", "status"):
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


def _seldom(entities: Entities) -> Entities:
    """Return what is seldom done to each entity, such as what is undone again: lent and returned."""
    found: Entities = {}
    for entity, acts in entities.items():
        counts = Counter(act.sort for act in acts)
        found[entity] = [act for act in acts if counts[act.sort] <= MAX_SELDOM]
    return {entity: acts for entity, acts in found.items() if len(acts) > 1}


def _missing(
    log: Log, lives: Mapping[Any, list[Act]], outcomes: dict[Any, str], named: Callable[[Act, Any], str]
) -> Iterator[Finding]:
    """Yield acts without the act about the same thing that nearly always follows them.

    A follow-up counts until the same act recurs: a bed is cleaned after each guest.
    """
    turns = {act.place: _turn(act, outcomes) for acts in lives.values() for act in acts}
    lags: dict[tuple[Turn, Turn], list[int]] = defaultdict(list)
    starts: dict[Turn, list[tuple[Act, dict[Turn, int]]]] = defaultdict(list)
    about_of: dict[tuple[int, Turn], Any] = {}
    for thing, life in lives.items():
        next_of: dict[Turn, int] = {}
        again: dict[Turn, dict[Turn, None]] = defaultdict(dict)
        for act in reversed(life):
            # An act may concern several things, of which only one recurs.
            turn = (*turns[act.place][:3], f"{turns[act.place][3]} {named(act, thing)}")
            since = again[turn] if turn in next_of else next_of
            after = {other: next_of[other] - act.step for other in since if other != turn}
            starts[turn].append((act, after))
            about_of[act.place, turn] = thing
            for other, lag in after.items():
                lags[turn, other].append(lag)
            next_of[turn] = act.step
            again[turn] = {}
            for other, seen in again.items():
                if other != turn:
                    seen[turn] = None
    for (turn, other), found in sorted(lags.items()):
        begun = sorted(starts[turn], key=lambda pair: pair[0].place)
        if len(begun) < FEW or len(found) < FOLLOWS * len(begun) or len(found) == len(begun):
            continue
        # The follow-up may still happen within the longest time it ever took.
        horizon = max(found) + 1
        inside = [
            Observation(act, other not in after) for act, after in begun if act.step + horizon < log.steps
        ]
        for each in scan_rare("follow-up missing", f"{_told(turn)} -> {_told(other)}", inside):
            if len(each.acts) == 1:
                life = lives[about_of[each.first.place, turn]]
                each.extras = _ends(each.first, life, each.first.step + horizon)
            yield each


def _ends(act: Act, life: Sequence[Act], until: int) -> tuple[Act, ...]:
    """Return the last act about a thing after an act whose follow-up is missing."""
    after = [each for each in life if act.place < each.place and each.step <= until]
    return tuple(after[-1:])


def _told(turn: Turn) -> str:
    ended = turn[3].rpartition(" ")[0]
    return f"{turn[2] or turn[1]} ({ended})" if ended else turn[2] or turn[1]
