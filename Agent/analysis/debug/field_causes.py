"""Causes told by a field of an agent's state: one that the text names, and one that only ever grows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

from Agent.analysis.debug.causes import Cause
from Agent.analysis.debug.changes.history import FieldChange, History
from Agent.analysis.debug.changes.outlier_score import lasting, novelty, told_change
from Agent.analysis.debug.investigation import Inquiry
from Agent.analysis.debug.question.question import Question, stem, stems
from Agent.analysis.text import plural, short_number

MIN_ODDITY = 0.5
_GROWN = 8.0
_MIN_CHANGES = 8
_MAX_LOOKED = 8
_SETTLED = 3
_BREAK = 0.95


def field_causes(inquiry: Inquiry) -> list[Cause]:
    """A cause for each field that the text names and that makes an odd move, or that grows without end."""
    causes = []
    asks_growth = "growth" in inquiry.question.topics
    agents = inquiry.examined()
    if asks_growth and not inquiry.question.agents:
        agents = list(dict.fromkeys([*agents, *inquiry.services(), *inquiry.suspects()]))[:_MAX_LOOKED]
    for agent_id in agents:
        history = inquiry.history(agent_id)
        for name, changes in sorted(history.fields.items()):
            if _is_named(name, inquiry.question):
                causes += _odd_move(history, name, changes, inquiry.question)
            if asks_growth or _is_named(name, inquiry.question):
                causes += _growth(history, name, changes)
    if agents:
        inquiry.looked_at.append("the fields that the text names, and how they moved")
    return causes


def _is_named(name: str, question: Question) -> bool:
    own = [each for each in stems(name) if len(each) > 2]
    asked = {stem(word) for word in question.words} | set(stems(" ".join(question.words)))
    return bool(own) and all(each in asked for each in own)


def _odd_move(history: History, name: str, changes: Sequence[FieldChange], question: Question) -> list[Cause]:
    # its first moves are how it begins
    scored = [(_oddity(list(changes), n), n) for n in range(_SETTLED, len(changes))]
    if not scored:
        return []
    best, n = max(scored, key=lambda pair: (round(pair[0], 6), -pair[1]))
    if best < MIN_ODDITY:
        return []
    moment = changes[n].moment
    at = f"tick {moment.tick}" if moment.tick is not None else "there"
    # a field of somebody who is not asked about moves oddly somewhere as a rule
    near = 1.0 if history.agent_id in question.agents else 0.5
    told = told_change(name, changes, n)
    return [
        Cause(
            f"{history.agent_id}: {told} at {at}",
            f"{name} moved {plural(len(changes) - 1, 'time')}; the move least like the others is that of "
            f"event {moment.id}, where {told}.",
            (moment.id,), (history.agent_id,), (), round(min(0.85, 0.5 + 0.35 * best) * near, 2), "field",
        )
    ]  # fmt: skip


def _oddity(changes: list[FieldChange], n: int) -> float:
    """How odd a move is, whether it lasted or, where it breaks with all before it, not."""
    new = novelty(changes, n)
    return max(new * lasting(changes, n), 0.7 if n >= _SETTLED and new >= _BREAK else 0.0)


def _growth(history: History, name: str, changes: Sequence[FieldChange]) -> list[Cause]:
    """A field that nearly only grows, and ends far above where it was."""
    numbers = [(change.number, change) for change in changes if change.number is not None]
    if len(numbers) < _MIN_CHANGES or not any(change.size is not None for _, change in numbers):
        return []
    values = [value for value, _ in numbers]
    ups = sum(later > earlier for earlier, later in pairwise(values))
    early = statistics.median(values[: max(2, len(values) // 8)])
    if ups < 0.9 * (len(values) - 1) or values[-1] < _GROWN * max(1.0, early):
        return []
    first = next(change for value, change in numbers if value > values[0])
    return [
        Cause(
            f"{name} of {history.agent_id} only ever grows, from {short_number(values[0])} to "
            f"{short_number(values[-1])} items",
            f"Of {plural(len(values) - 1, 'change')} {ups} made it larger (the first counted is event "
            f"{first.moment.id}, the last {numbers[-1][1].moment.id}).",
            (first.moment.id, numbers[-1][1].moment.id), (history.agent_id,), (), 0.7, "growth",
        )
    ]  # fmt: skip
