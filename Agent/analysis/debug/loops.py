"""The same thing done again and again: calls that fail alike, and calls repeated alike within one step."""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from Agent.analysis.causality.chains import is_failure
from Agent.analysis.causality.event_window import Row

MIN_FAILING = 5
MIN_REPEATED = 20
_UNUSUAL = 4

_CALLS = frozenset({"agent_action", "tool.call", "error", "learning_update", "metric"})


@dataclass(slots=True)
class Loop:
    """A run of alike calls by one agent with no other outcome between them."""

    agent_id: str
    name: str
    failing: bool
    count: int
    first: Row
    last: Row
    last_failure: Row | None
    unbroken: bool = False
    """Whether it went on until the agent's last event of that sort."""
    total: int = 0
    """How many calls of that name the agent made in all."""


def call_name(row: Row) -> str:
    """What an event calls: the action, tool, operation or the type of its error."""
    extra = row["extra"]
    for key in ("action_type", "name", "metric_name", "learning_stage", "error_type"):
        if extra.get(key) is not None:
            return str(extra[key])
    return str(row["event_type"])


class LoopFinder:
    """Looks for loops in one agent's events, fed in order; `loops` has what was found."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self._failing: dict[str, Loop] = {}
        self._closed: list[Loop] = []
        self._totals: Counter[str] = Counter()
        self._within: dict[tuple[str, str], Loop] = {}
        self._step: object = None
        self._usual: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, row: Row) -> None:
        """Take the next event of the agent, or of what it called."""
        if row["event_type"] not in _CALLS:
            return
        name = call_name(row)
        if row["event_type"] != "error":
            self._totals[name] += 1
            self._add_repeat(row, name)
        self._add_failing(row, name)

    def _add_failing(self, row: Row, name: str) -> None:
        if row["event_type"] == "error":
            return
        run = self._failing.get(name)
        if not is_failure(row):
            # One success ends the run.
            if run is not None:
                self._closed.append(self._failing.pop(name))
            return
        if run is None:
            self._failing[name] = Loop(self.agent_id, name, True, 1, row, row, row)
            return
        run.count += 1
        run.last = run.last_failure = row

    def _add_repeat(self, row: Row, name: str) -> None:
        """Alike calls within one tick or one enclosing span, whatever their outcome."""
        step = (row["tick"], row["parent_span_id"])
        if step != self._step:
            self._step = step
            self._end_step()
        key = (name, _inputs(row))
        if step == (None, None) or is_failure(row):
            return
        loop = self._within.get(key)
        if loop is None:
            self._within[key] = Loop(self.agent_id, name, False, 1, row, row, None)
        else:
            loop.count += 1
            loop.last = row

    def _end_step(self) -> None:
        for loop in self._within.values():
            self._usual[loop.name].append(loop.count)
        self._closed.extend(loop for loop in self._within.values() if loop.count >= MIN_REPEATED)
        self._within = {}

    def _is_unusual(self, loop: Loop) -> bool:
        """Whether a step repeats a call far more often than the agent's steps do as a rule."""
        counts = self._usual[loop.name]
        return len(counts) < 3 or loop.count >= _UNUSUAL * statistics.median(counts)

    def loops(self) -> list[Loop]:
        """The loops, longest first."""
        running = list(self._failing.values())
        for loop in running:
            loop.unbroken = True
        found = [loop for loop in [*running, *self._closed] if loop.failing and loop.count >= MIN_FAILING]
        self._end_step()
        found += [loop for loop in self._closed if not loop.failing and self._is_unusual(loop)]
        for loop in found:
            loop.total = self._totals[loop.name]
        return sorted(found, key=lambda loop: -loop.count)


def _inputs(row: Row) -> str:
    import orjson

    extra = row["extra"]
    given: Any = {key: extra[key] for key in ("args", "action_data") if key in extra}
    return hashlib.blake2b(orjson.dumps(given, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
