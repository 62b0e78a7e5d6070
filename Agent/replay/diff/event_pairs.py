"""`differing_events`: all events of one agent in which two runs differ, not only the first.

After the first difference the runs no longer agree event by event, so events are paired by tick, kind and
action before they are compared; an event without a partner is reported as one that only one run has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import islice
from typing import Final

from Agent.event.model import Event
from Agent.flight.run_reading import RunName
from Agent.record.emit.installed import flush_active
from Agent.replay.compare.comparison import ABSENT, Comparison, Difference, shown
from Agent.replay.compare.emitted_events import describe, event_difference
from Agent.replay.compare.outcome import ReplayOutcome
from Agent.replay.diff.first_difference import PASSED_OVER, RunDivergence, placed_divergence
from Agent.replay.diff.run_comparison import same_ids_of
from Agent.replay.diff.run_side import RunSide, StreamKey, align, open_side
from Agent.replay.drive.states import FieldRules
from Agent.replay.plan.recording import module_names

MOST_DIFFERING: Final = 200
_MOST_PAIRED: Final = 4_000
"""The maximum number of events per run that are paired at once; pairing takes up to its square in steps."""


def differing_events(
    a: RunName,
    b: RunName,
    agent_id: str,
    root: str | os.PathLike[str] | None = None,
    *,
    most: int = MOST_DIFFERING,
) -> tuple[list[RunDivergence], bool]:
    """List the events of an agent in which two runs differ, in order, and whether there are more.

    Args:
        a, b, root: as `compare_runs` takes them; ids, times and measurements are ignored likewise.
        agent_id: the agent whose events are compared.
        most: the maximum number of differences.

    Raises:
        RunNotFound, SessionNotFound: a run does not exist.
    """
    flush_active()
    one, other = open_side(a, root), open_side(b, root)
    align(one, other)
    same_ids = same_ids_of(one, other)
    scripts = module_names(one.session, other.session)
    comparison = Comparison(None, same_ids, scripts=scripts, fields=FieldRules(ReplayOutcome()))

    def differences() -> Iterator[RunDivergence]:
        for number, pair in enumerate(_pairs(*(_compared(side, agent_id) for side in (one, other))), 1):
            for event in filter(None, pair):
                same_ids.see(event)
            difference = _difference(*pair, comparison)
            if difference is not None:
                yield placed_divergence(*pair, difference, number, ()).divergence

    listed = list(islice(differences(), most + 1))
    return listed[:most], len(listed) > most


def _compared(side: RunSide, agent_id: str) -> Iterator[Event]:
    for event in side.events(StreamKey("agent", agent_id)):
        if event.kind not in PASSED_OVER and event.kind != "state" and side.counts(event):
            yield event


Pair = tuple[Event | None, Event | None]


def _pairs(ones: Iterator[Event], others: Iterator[Event]) -> Iterator[Pair]:
    """Pair the events of two runs block by block, those of one kind and tick in order."""
    left, right = list(islice(ones, _MOST_PAIRED)), list(islice(others, _MOST_PAIRED))
    while left or right:
        first, second = ([(event.tick, describe(event)) for event in side] for side in (left, right))
        for what, i0, i1, j0, j1 in SequenceMatcher(a=first, b=second, autojunk=False).get_opcodes():
            if what == "equal":
                yield from zip(left[i0:i1], right[j0:j1], strict=True)
            else:
                yield from ((event, None) for event in left[i0:i1])
                yield from ((None, event) for event in right[j0:j1])
        left, right = list(islice(ones, _MOST_PAIRED)), list(islice(others, _MOST_PAIRED))


def _difference(one: Event | None, other: Event | None, comparison: Comparison) -> Difference | None:
    if one is None or other is None:
        sides = [shown(ABSENT) if event is None else describe(event) for event in (one, other)]
        return Difference("", *sides)
    return event_difference(one, other, comparison)
