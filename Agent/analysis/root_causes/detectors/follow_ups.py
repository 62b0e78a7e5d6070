"""What always follows about the same thing and does not, what happens once a thing and happens again, and steps in
the life of a thing that were never seen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from typing import Any, Final

from Agent.analysis.root_causes.acts import Act, Log
from Agent.analysis.root_causes.scan import Finding, Observation, scan_novel, scan_rare

__all__ = ["find"]

MAX_LIFE: Final = 80
"""A thing with more events is a category."""
MIN_TIMES: Final = 10
FOLLOWS: Final = 0.6
Turn = tuple[str, str, str, str]


def find(log: Log) -> Iterator[Finding]:
    """Violations in the lives of things."""
    lives = {thing: acts for thing, acts in log.by_thing.items() if 1 <= len(acts) <= MAX_LIFE}
    if len(lives) < MIN_TIMES:
        return
    outcomes = _outcomes(log)
    turns = {act.place: _turn(act, outcomes) for acts in lives.values() for act in acts}
    yield from _missing(log, lives, turns)
    yield from _again(lives)
    yield from _never_seen(log, lives, turns)


def _outcomes(log: Log) -> dict[Any, str]:
    """{sort: the field of its result that has a few values}."""
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
    ended = str(act.values.get(path)) if path is not None else ""
    return (act.role, act.kind, act.name, "failed" if act.failed else ended)


def _missing(log: Log, lives: dict[Any, list[Act]], turns: dict[int, Turn]) -> Iterator[Finding]:
    """Events that are followed, or preceded, by another about the same thing nearly always."""
    for forward in (True, False):
        lags: dict[tuple[Turn, Turn], list[int]] = defaultdict(list)
        starts: dict[Turn, list[tuple[Act, dict[Turn, int]]]] = defaultdict(list)
        for life in lives.values():
            ordered = life if forward else life[::-1]
            last: dict[Turn, int] = {}
            for act in reversed(ordered):
                turn = turns[act.place]
                after = {other: abs(step - act.step) for other, step in last.items()}
                starts[turn].append((act, after))
                for other, lag in after.items():
                    lags[turn, other].append(lag)
                last[turn] = act.step
        for (turn, other), seen in sorted(lags.items()):
            begun = starts[turn]
            if turn == other or len(begun) < MIN_TIMES or len(seen) < FOLLOWS * len(begun) or len(seen) == len(begun):
                continue
            horizon = sorted(seen)[int(0.95 * (len(seen) - 1))] + 1
            inside = [
                Observation(act, other not in after) for act, after in sorted(begun, key=lambda pair: pair[0].place)
                if (act.step + horizon < log.steps if forward else act.step >= horizon)
            ]  # fmt: skip
            rule = "follow-up missing" if forward else "precondition missing"
            yield from scan_rare(rule, f"{_told(turn)} -> {_told(other)}" if forward else f"{_told(other)} before {_told(turn)}", inside, most=0.45)


def _told(turn: Turn) -> str:
    return " ".join(part for part in (turn[2] or turn[1], turn[3]) if part)


def _again(lives: dict[Any, list[Act]]) -> Iterator[Finding]:
    """Events that come once a thing, and come again."""
    seen: dict[Hashable, list[Observation]] = defaultdict(list)
    for life in lives.values():
        done: Counter[Hashable] = Counter()
        for act in life:
            for key in ((act.sort, ""), (act.sort, act.agent)) if act.agent else ((act.sort, ""),):
                done[key] += 1
                if not key[1]:
                    seen[key[0]].append(Observation(act, done[key] > 1))
                else:
                    seen[key[0], "own"].append(Observation(act, done[key] > 1))
    for key, observations in seen.items():
        observations.sort(key=lambda each: each.act.place)
        act = observations[0].act
        yield from scan_rare("happens again", f"{act.name or act.kind}", observations)


def _never_seen(log: Log, lives: dict[Any, list[Act]], turns: dict[int, Turn]) -> Iterator[Finding]:
    """Steps from one event of a thing to the next, by whom, that were never seen before."""
    steps: list[tuple[Act, Hashable]] = []
    named: list[tuple[Act, Hashable]] = []
    for life in lives.values():
        before: Act | None = None
        for act in life:
            if before is not None and before.place != act.place:
                steps.append((act, (turns[before.place][1:], turns[act.place][1:])))
                if before.agent != act.agent:
                    named.append((act, (before.agent, act.agent)))
            before = act
    for rule, found in (("step never seen", steps), ("hand-over never seen", named)):
        found.sort(key=lambda pair: pair[0].place)
        yield from scan_novel(rule, "life of a thing", [Observation(act, key) for act, key in found])
