"""Which events may have begun what is asked about: each weighed, and those that are one matter put together.

The weight of an event is a sum of common logarithms, as odds are multiplied (`Weight`): how few events are as
odd, how well it stands where the change begins, how near it is to whom the text names, what sort of event
it is, and whether it shares rare words with the text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from Agent.analysis.courses import Onset
from Agent.analysis.deeds import Deed, Steps
from Agent.analysis.matters import Matter, Suspect, Weight, apart, grouped, look_at_touched, with_forerunners
from Agent.analysis.onsets import words_of
from Agent.analysis.question import Question, stems
from Agent.analysis.sights import Odd, worth
from Agent.analysis.standing import Standing
from Agent.analysis.suspects import Survey, bursts_by_sort

__all__ = ["Matter", "Suspect", "Weight", "suspected"]

_OF_KIND: Final[Mapping[str, float]] = {
    # what is set from outside makes things happen
    "system.config": 0.3, "system.module": 0.3, "strategy_update": 0.3, "policy_update": 0.2,
    "agent_action": 0.2, "agent_message": 0.1, "state_change": 0.1, "phase": 0.1, "tool.call": 0.0,
    "model.call": 0.0, "decision": -0.1, "connection": -0.1, "learning_update": -0.2, "log": -0.2,
    "interaction": -0.2, "cascade": -0.3, "content_generation": -0.3, "error": -0.3, "milestone": -0.4,
    "checkpoint": -0.6, "training_step": -0.8,
    # what is measured shows what happened
    "reward": -1.0, "metric": -1.0, "resource": -1.0, "throughput": -1.0, "exploration": -1.0,
    "convergence": -1.0,
}  # fmt: skip
_OTHER_KIND: Final = -0.1
_ODDEST: Final = 0.03
_RARE: Final = 0.4
"""What comes a single time is as odd, though it says nothing unlike others."""
_BEGINNING: Final = 0.08
_SET_UP: Final = -0.8
_ENDING: Final = 0.02
_TOO_LATE: Final = -0.5
"""What comes last of all leads to nothing that is on record."""
_UNIVERSAL: Final = frozenset(
    {"all", "every", "everybody", "everyone", "everything", "each", "whole", "entire", "both"}
)
_MANY: Final = 3
_WORD_ALONE: Final = 0.5
_KEPT: Final = 200


def suspected(
    survey: Survey, question: Question, roles: Mapping[str, str], steps: Steps, onset: Onset
) -> list[Matter]:
    """The matters that may have begun it, the weightiest first."""
    scale = _Scale(survey, question, roles, steps, onset)
    weighed = [
        scale.weigh(place)
        for place, deed in enumerate(survey.deeds)
        if deed.kind != "state" and (place in survey.odd or not survey.is_routine(deed))
    ]
    weighed.sort(key=lambda each: (-each.weight.total, each.place))
    matters = apart(grouped(weighed[:_KEPT], survey))
    matters = apart(with_forerunners(matters, survey, scale.weigh))
    if not question.agents:
        look_at_touched(matters[:_TOUCHED], survey)
    return apart(matters)


_TOUCHED: Final = 24


@dataclass(slots=True)
class _Scale:
    """What all events are weighed with."""

    survey: Survey
    question: Question
    roles: Mapping[str, str]
    steps: Steps
    onset: Onset
    _fits: list[float] = field(init=False)
    _bursts: dict[tuple[str, str, str], int] = field(init=False)
    _words: dict[int, set[str]] = field(init=False)
    _frequency: Counter[str] = field(init=False)
    _members: Counter[str] = field(init=False)
    _for_all: bool = field(init=False)
    _plain: bool = field(init=False)
    _standing: Standing = field(init=False)

    def __post_init__(self) -> None:
        self._fits = self.onset.fits()
        self._bursts = bursts_by_sort(self.survey.deeds)
        self._members = Counter(self.roles.values())
        self._for_all = bool(_UNIVERSAL & set(self.question.text.lower().split()))
        self._standing = Standing(self.survey.deeds)
        self._plain = bool(self.question.agents) and all(map(str.isalpha, self.question.agents))
        self._words = _shared_words(self.survey.deeds, self.question)
        self._frequency = Counter(word for shared in self._words.values() for word in shared)

    def weigh(self, place: int) -> Suspect:
        """One event on the scale."""
        deed, odd = self.survey.deeds[place], self.survey.odd.get(place)
        moment = self._moment(deed.step)
        if deed.step < _BEGINNING * self.survey.steps:
            moment += _SET_UP
        elif deed.step >= self.survey.steps - max(1, round(_ENDING * self.survey.steps)):
            moment += _TOO_LATE
        is_one_of_many = self.survey.is_routine(deed)
        weight = Weight(
            self._oddity(deed, odd),
            math.log10(self._fits[deed.step]),
            self._nearness(deed),
            _kind_of(deed),
            self._said(place),
            moment,
            0.0 if is_one_of_many else self._standing.weight(deed),
        )
        return Suspect(place, deed, odd, weight, () if is_one_of_many else self._standing.reasons(deed))

    def _oddity(self, deed: Deed, odd: Odd | None) -> float:
        """How few events of its sort are as odd, as a logarithm: their number times the chance."""
        number = self.survey.totals[deed.sort] if self.survey.is_routine(deed) else self._bursts[deed.sort]
        if odd is None:
            return _RARE - math.log10(number)
        if odd.said:
            number = min(number, odd.said)
        # what comes of a thing is worth less however odd it is
        chance = number * min(1.0, odd.chance / worth(odd.path))
        return -math.log10(max(_ODDEST / worth(odd.path), chance))

    def _nearness(self, deed: Deed) -> float:
        """How near an event is to the agents that the text names; a plain word may mean no agent at all."""
        return self._distance(deed) * (_WORD_ALONE if self._plain else 1.0)

    def _distance(self, deed: Deed) -> float:
        named = self.question.agents
        if deed.agent in named:
            return 0.0
        if not named and self.survey.named:
            return 0.0 if deed.id in self.survey.named else _OTHER_THING
        if not named:
            return -0.3 if self._for_all and self._members[deed.role] > _MANY else 0.0
        if any(self._names(deed, agent) for agent in named):
            return -0.2
        if deed.agent is None:
            return -0.4
        ours = {self.roles.get(agent) for agent in named}
        return -0.6 if self.roles.get(deed.agent) not in ours else -1.6

    @staticmethod
    def _names(deed: Deed, agent: str) -> bool:
        extra = deed.extra
        # compared, not looked up: some of these may be any JSON value
        if agent in tuple(map(extra.get, ("recipient", "sender", "target_id", "source_id"))):
            return True
        return (
            any(
                agent == value or (isinstance(value, dict) and agent in value.values())
                for value in extra.values()
                if isinstance(value, str | dict)
            )
            and extra.get("agent_id") != agent
        )

    def _said(self, place: int) -> float:
        """What words that event and text share are worth: the more, the fewer events have them."""
        deed, survey = self.survey.deeds[place], self.survey
        rare = 0.0
        if deed.id in survey.named:
            rare = min(_THING, _OF_THING * math.log10(len(survey.deeds) / len(survey.named)))
        if survey.is_routine(deed) or deed.kind in {"log", "error"}:
            return rare  # what the text tells of is what is to be explained
        shared = self._words.get(place, ())
        return rare + min(
            0.5, sum(0.2 * math.log10(len(survey.deeds) / self._frequency[word]) for word in shared)
        )

    def _moment(self, step: int) -> float:
        """Whether it stands at, or some steps before, the tick that the text names."""
        if not self.question.ticks or not self.steps.by_tick:
            return 0.0
        slow = 0.07 * self.survey.steps
        lags = [self.steps.step(tick) - step for tick in self.question.ticks]
        fits = [0.15 if lag < -2 else 3.0 * math.exp(-max(0, lag - 3) / slow) for lag in lags]
        return math.log10(max(0.2, *fits))


def _kind_of(deed: Deed) -> float:
    """What an event of its kind is worth; a line of a log is what its level and its values make of it."""
    if deed.kind == "log":
        if deed.level in {"WARNING", "ERROR", "CRITICAL"}:
            return _COMPLAINT
        return _OF_KIND["agent_message" if deed.extra.keys() - _ENVELOPE else "log"]
    return _OF_KIND.get(deed.kind, _OTHER_KIND)


_OTHER_THING: Final = -0.3
_OF_THING: Final = 0.3
_THING: Final = 0.8
"""How much naming the thing in question is worth at most, and how much for each tenth of the events."""
_COMPLAINT: Final = -0.4
_ENVELOPE: Final = frozenset({"agent_id", "agent_role", "event_type"})


def _shared_words(deeds: Sequence[Deed], question: Question) -> dict[int, set[str]]:
    """{place: the words of the text that an event says, in its name, its values' names or its line}."""
    asked = words_of(question)
    known: dict[str, set[str]] = {}
    found = {}
    for place, deed in enumerate(deeds):
        who = "" if question.agents else deed.agent or ""
        names = " ".join(_names_of(deed))
        text = f"{who} {deed.label} {deed.message} {names}"
        if text not in known:
            known[text] = set(stems(text)) & asked
        if known[text]:
            found[place] = known[text]
    return found


def _names_of(deed: Deed) -> list[str]:
    names: list[str] = []
    for key in ("args", "action_data", "body", "data", "decision_data", "update_data", "new_value"):
        value = deed.extra.get(key)
        if isinstance(value, dict):
            names += map(str, value)
    return names + list((deed.state or {}).get("set") or ())
