"""What `suspicion` found, in words: what was odd about an event, and what changed from there on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from Agent.analysis.causality import INFERRED, RECORDED, Edge
from Agent.analysis.causes import Cause, make_cause
from Agent.analysis.courses import Change, Key, Onset
from Agent.analysis.deeds import Deed, Deeds, Steps, read_deeds
from Agent.analysis.habits import AGAIN, ANOTHER, BEYOND, DENSE, LEAP
from Agent.analysis.inquiry import Inquiry
from Agent.analysis.leaves import leaves
from Agent.analysis.matters import Matter, Suspect
from Agent.analysis.onsets import onset_asked
from Agent.analysis.orders import CIRCLE, SAME, UPON
from Agent.analysis.question import Question
from Agent.analysis.sights import FAILING, Odd
from Agent.analysis.suspects import survey
from Agent.analysis.suspicion import suspected
from Agent.analysis.text import plural, short_number, told_setting
from Agent.analysis.wordings import LACKS
from Agent.event.clock import format_timestamp

__all__ = ["suspect_causes", "told_odd"]

MAX_MATTERS: Final = 5
HINT: Final = 0.49
MIN_SCORE: Final = 0.0

MAX_EVENTS: Final = 4
"""So many events of a matter are named."""
_MAX_TOLD: Final = 60
_NEAR_STEPS: Final = 3
_CHANGES_TOLD: Final = 3


def suspect_causes(inquiry: Inquiry) -> list[Cause]:
    """A cause for each of the few matters that may have begun what is asked about."""
    axis, question = inquiry.seen.axis, inquiry.question
    if axis is None:
        return []
    steps = Steps.of(axis)
    naming = [each.id for each in question.naming]
    deeds = read_deeds(inquiry.engine, inquiry.lines, steps, question.agents, naming)
    return causes_among(deeds, steps, question, inquiry.looked_at)


def causes_among(deeds: Deeds, steps: Steps, question: Question, looked_at: list[str]) -> list[Cause]:
    """The causes among some events; what was looked at is added in words."""
    roles = {deed.agent: deed.role for deed in deeds.all if deed.agent is not None}
    seen = survey(deeds, steps.count)
    onset = onset_asked(seen, question, roles)
    matters = suspected(seen, question, roles, steps, onset)
    some = ", a sample of all" if deeds.sampled else ""
    looked_at.append(
        f"what {plural(len(deeds.all), 'event')} say{some}, each beside "
        f"those of its sort, and where {plural(len(onset.changes), 'course')} of what is asked about changes"
    )
    telling = [each for each in matters if each.score >= MIN_SCORE and _is_telling(each)]
    return [suspect_cause(each, onset, confidence_of(each, is_first=each is matters[0])) for each in telling][
        :MAX_MATTERS
    ]


def _is_telling(matter: Matter) -> bool:
    """Whether there is more than that it is there: something odd, or a change that begins with it."""
    weight = matter.main.weight
    return weight.oddity > _MIN_ODDITY or weight.onset + weight.moment >= _MIN_ONSET


_MIN_ONSET: Final = 0.3
_MIN_ODDITY: Final = 0.0


def confidence_of(matter: Matter, *, is_first: bool) -> float:
    """How sure a matter is: a hint, unless it is odd, stands where a change begins, and near who is named."""
    weight, odd = matter.main.weight, matter.main.odd
    is_clear = weight.oddity >= _CLEAR_ODDITY and weight.onset >= _CLEAR_ONSET and weight.nearness >= _NEAR
    is_outcome = weight.kind < _OUTCOME or odd is None or odd.path in _BESIDE
    if not is_first or not is_clear or is_outcome or weight.moment < 0:  # of several the weightiest can be it
        return min(HINT, 0.3 + 0.12 * matter.score)
    return min(0.95, max(0.5, 0.35 + 0.15 * matter.score))


_OUTCOME: Final = -0.4
_BESIDE: Final = frozenset({"after", "with", "failed"})
_CLEAR_ODDITY: Final = 0.3
_CLEAR_ONSET: Final = 0.5
_NEAR: Final = -0.4


def suspect_cause(matter: Matter, onset: Onset, confidence: float) -> Cause:
    """The cause told by a matter: its weightiest event, what is odd about it, and what it may have begun."""
    main, deed = matter.main, matter.main.deed
    named = matter.suspects[:MAX_EVENTS]
    odd = told_odd(main.odd)
    title = f"{_told_deed(deed)} at {_moment(deed)}{f', {odd}' if odd else ''}"
    told = [f"Event {deed.id}: {deed.message or deed.label}{f', {odd}' if odd else ''}."]
    if len(matter.suspects) > 1:
        others = len(matter.suspects) - 1
        first = ", ".join(f"{_told_deed(each.deed)} (event {each.deed.id})" for each in named[1:])
        told.append(
            f"With it {'goes' if others == 1 else 'go'} {plural(others, 'event')} of that moment: {first}."
        )
    told += main.reasons
    changes = _changes_at(onset, deed.step)
    if changes:
        told.append("What changes from about there on: " + "; ".join(map(_told_change, changes)) + ".")
    else:
        told.append("Nothing of what is asked about clearly changes there.")
    edges = [_edge(main, each) for each in named[1:]]
    if changes:
        effect = f"{changes[0].owner}:{':'.join(changes[0].key)}"
        reason = f"{_told_change(changes[0])} from about there on"
        edges.insert(0, Edge(deed.id, effect, INFERRED, "odd_event_before_change", reason))
    agents = [each.deed.agent for each in named]
    cause = make_cause(title, told, [each.deed.id for each in named], agents, edges, confidence, "event")
    return replace(cause, weight=matter.score)


def _moment(deed: Deed) -> str:
    return f"tick {deed.tick}" if deed.tick is not None else format_timestamp(deed.us)[11:23]


def _told_deed(deed: Deed) -> str:
    """An event in a few words."""
    extra, who = deed.extra, _named(deed) or "somebody"
    if deed.kind == "system.config":
        return told_setting(extra, _short)
    if deed.kind == "agent_message":
        if deed.label == "sent":
            return f"{who} sent a message to {extra.get('recipient')}"
        return f"{who} received a message from {extra.get('sender')}"
    if deed.kind in {"agent_action", "tool.call"}:
        return f"{who} did {deed.label}"
    return f"{f'{who}: ' if deed.agent else ''}{_short(deed.message or deed.label or deed.kind)}"


def _named(deed: Deed) -> str | None:
    """Whose event it is; who is called by a number alone, by its role besides."""
    is_bare = deed.agent is not None and deed.agent.isdigit() and deed.role != deed.agent
    return f"{deed.role} {deed.agent}" if is_bare else deed.agent


def _short(value: Any) -> str:
    text = (
        value if isinstance(value, str) else short_number(value) if isinstance(value, float) else str(value)
    )
    return text if len(text) <= _MAX_TOLD else text[: _MAX_TOLD - 3] + "..."


def told_odd(odd: Odd | None) -> str:
    """What an event says unlike the others of its sort."""
    if odd is None:
        return ""
    path, value = odd.path, _short(odd.value) or "empty"
    if path in _TOLD_OF:
        return _TOLD_OF[path].format(value)
    for begin, told in _TOLD_FROM.items():
        if path.startswith(begin):
            return told.format(path.removeprefix(begin), value)
    if path.startswith(SAME):
        return f"{path.removeprefix(SAME)} are {'' if odd.value else 'not '}the same, unlike those of others"
    if path.endswith(LACKS):
        return f"{path.removesuffix(LACKS)} lacks the words that the others have in common"
    if path.endswith("{}"):
        keys = f"the keys {value.replace(',', ', ')}" if odd.value else "no keys"
        return f"{path.removesuffix('{}')} has {keys}, unlike the others"
    ending = next((end for end in _MEASURED if path.endswith(end)), "")
    what = f"{_MEASURED[ending]}{path.removesuffix(ending)}"
    usual = odd.oddity.usual
    if odd.oddity.sort == BEYOND and isinstance(usual, tuple):
        low, high = map(_short, usual)
        return f"{what} is {value}, else {low if low == high else f'{low} to {high}'}"
    if odd.oddity.sort == LEAP:
        return f"{what} leaps from {_short(usual)} to {value}"
    if odd.oddity.sort == DENSE:
        return f"{what} is {value}, from here on thick and fast"
    if odd.oddity.sort == AGAIN:
        return f"{what} is {value} once more, where every other comes once"
    if odd.oddity.sort == ANOTHER:
        return f"{what} is {value}, where others have their own"
    return f"{what} is {value}, unlike the others" + ("" if usual is None else f" (before: {_short(usual)})")


_TOLD_OF: Final = {
    "arrived": "which was never received, as others are",
    "fails": "from which on it comes thick and fast",
    "failed": "which failed, as others do not",
    "after": "right after {}, which is seldom",
    "with": "with whom it seldom deals",
    FAILING: "{} is said by calls that fail and by none that succeeds",
}
_TOLD_FROM: Final = {
    UPON: "right after {1} upon the same {0}, which is seldom",
    CIRCLE: "where {0} leads back in a circle, which is seldom",
}
_MEASURED: Final = {"#": "the size of ", "~": "the length of ", "": ""}


def _changes_at(onset: Onset, step: int) -> list[Change]:
    """The changes that begin where an event stands, those that count most first."""
    near = [change for change in onset.changes if -1 <= change.step - step <= _NEAR_STEPS]
    return sorted(near, key=lambda change: (-change.weight, change.key))[:_CHANGES_TOLD]


def _told_change(change: Change) -> str:
    if change.key[-1] == "named":
        return "what the text names by its number comes up"
    who = change.owner.removeprefix("role:") or "all"
    return f"{_told_key(change.key)} of {who}" if change.key[-1] != "first" else f"first {change.key[1]!r}"


_MEASURES: Final = {"mean": "level", "moves": "movement", "drift": "trend", "duration": "duration"}


def _told_key(key: Key) -> str:
    if key[-1] == "count":
        return f"how often there is {key[1] or key[0]}"
    if key[-1] == "duration":
        return f"duration of {key[1] or key[0]}"
    return f"{_MEASURES.get(key[-1], key[-1])} of {' '.join(part for part in key[1:-1] if part)}"


def _edge(main: Suspect, other: Suspect) -> Edge:
    """How two events of one matter hang together."""
    a, b = main.deed, other.deed
    first, then = (a, b) if a.began_us <= b.began_us else (b, a)
    message = a.extra.get("message_id")
    if message is not None and message == b.extra.get("message_id"):
        return Edge(first.id, then.id, RECORDED, "message", "it is the same message")
    if (a.parent and a.parent == b.span) or (a.span and a.span == b.parent):
        return Edge(first.id, then.id, RECORDED, "span", "one happened inside the other")
    if a.sort == b.sort:
        return Edge(first.id, then.id, INFERRED, "alike", "the same was done at that moment")
    odd = main.odd.value if main.odd is not None else None
    if odd is not None and any(value == odd for _, value in leaves(b.extra, b.state)):
        return Edge(first.id, then.id, INFERRED, "same_value", "both say the same odd value")
    return Edge(first.id, then.id, INFERRED, "forerunner", "it came shortly before and may have led to it")
