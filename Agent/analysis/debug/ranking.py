"""The causes that a report shows: what one event explains is told once, and the first three are three."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from Agent.analysis.debug.causes import Cause

__all__ = ["ranked"]

MIN_CONFIDENCE: Final = 0.2
MAX_CAUSES: Final = 8
_ONE_MORE: Final = 0.25
"""A further cause that says the same of another agent is worth so much less in the order."""
_ONE_FACE: Final = 0.15
"""A further symptom of the same agent, likewise: what fails, repeats and stops together is one thing."""
_SYMPTOMS: Final = frozenset({"departure", "loop", "errors", "in_flight"})
_TOLD_AGAIN: Final = frozenset({"errors", "loop", "shared", "field", "event"})
_VALUES: Final = re.compile(r"[-+]?[0-9][0-9.,]*")


def ranked(causes: Sequence[Cause], agents: Collection[str]) -> list[Cause]:
    """The causes in the order in which they are shown; `agents` are all of the session.

    The surest first; of those that tell the same of several agents one stands before the others, and what
    only tells a surer one again is left out.
    """
    kept: list[Cause] = []
    joined: set[str] = set()
    for cause in sorted(causes, key=_surest):
        if cause.confidence < MIN_CONFIDENCE:
            continue
        place = next((place for place, known in enumerate(kept) if _is_told(cause, known)), None)
        if place is None:
            kept.append(cause)
        elif cause.sort == "event":
            kept[place] = _joined(kept[place], cause)
            joined.add(kept[place].title)
    seen: Counter[str] = Counter()
    order: list[tuple[float, int, Cause]] = []
    for place, cause in enumerate(kept):
        form, whose = _form(cause, agents), f"{cause.agent_ids[:1]}" if cause.sort in _SYMPTOMS else ""
        worth = cause.confidence - _ONE_MORE * seen[form] - (_ONE_FACE * seen[whose] if whose else 0.0)
        order.append((worth, place, cause))
        seen.update([form, whose])
    order.sort(key=lambda each: (-each[0], each[1]))
    return _with_events([cause for _, _, cause in order], joined)[:MAX_CAUSES]


def _with_events(order: Sequence[Cause], joined: Collection[str]) -> list[Cause]:
    """The same causes, the single events of the first places before a second one that tells of a course.

    Several courses change with one cause: the surest of them tells that something did, the others tell it
    again. A course whose title is in `joined` tells of a single event, too.
    """
    first: list[Cause] = []
    events, courses = sum(cause.sort == "event" for cause in order), 0
    for cause in order:
        if len(first) == _FIRST:
            break
        is_event = cause.sort == "event"
        if not is_event and events and cause.title not in joined and (courses or cause.confidence < _SURE):
            continue
        first.append(cause)
        events -= is_event
        courses += not is_event and cause.title not in joined
    return [*first, *(cause for cause in order if cause not in first)]


_FIRST: Final = 3
_SURE: Final = 0.5
_OWN: Final = 3


def _surest(cause: Cause) -> tuple[float, float, str]:
    return -cause.confidence, -cause.weight, cause.title


def _is_told(cause: Cause, known: Cause) -> bool:
    """Whether a surer cause tells this one already."""
    if cause.title == known.title:
        return True
    if cause.sort == "event":
        # two root causes may share what they led to; their own first events say what each is about
        return known.sort != "event" and bool(set(cause.event_ids[:_OWN]) & set(known.event_ids))
    if cause.sort not in _TOLD_AGAIN or not set(cause.event_ids) & set(known.event_ids):
        return False
    return set(cause.agent_ids) <= set(known.agent_ids)


def _joined(cause: Cause, same: Cause) -> Cause:
    """A cause with what a single event tells of the same matter."""
    return replace(
        cause,
        explanation=f"{cause.explanation} The same matter: {same.title}.",
        event_ids=tuple(dict.fromkeys([*cause.event_ids, *same.event_ids])),
    )


def _form(cause: Cause, agents: Collection[str]) -> str:
    """What a cause says, whoever it says it of."""
    if cause.sort == "event":
        return cause.title
    if cause.sort == "errors":
        message = cause.title.partition(" with ")[2].partition(", when ")[0].partition(" from tick ")[0]
        return f"errors {_VALUES.sub('#', message)}"
    words = ["AGENT" if word.strip(":',") in agents else word for word in cause.title.split()]
    return f"{cause.sort} {_VALUES.sub('#', ' '.join(words))}"
