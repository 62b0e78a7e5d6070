"""Where what is asked about began: of whom the text names beside the peers, else of everybody, failures too.

`suspicion` weighs single events by how well they stand there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import Final

from Agent.analysis.courses import Change, Onset, onset_of
from Agent.analysis.fingerprints import shape_of
from Agent.analysis.habits import NEW, Oddity
from Agent.analysis.question import Question, stem, stems
from Agent.analysis.series import spread
from Agent.analysis.sights import Odd
from Agent.analysis.stretches import dense_from
from Agent.analysis.suspects import Survey

__all__ = ["onset_asked", "words_of"]

MAX_PEERS: Final = 15
_FIRST_FAILURE: Final = 8.0
_EARLY: Final = 0.08
_LIFE: Final = 0.3
"""What is named at more of the steps lives as long as the session."""


def onset_asked(survey: Survey, question: Question, roles: Mapping[str, str]) -> Onset:
    """Where what the text is about began: of the agents it names beside their peers, else of everybody."""
    words = words_of(question)
    whole = Onset([0.0] * survey.steps)
    for agent in question.agents:
        peers = sorted(peer for peer in survey.courses.tracks if _is_peer(peer, agent, roles))
        whole.join(onset_of(survey.courses, agent, spread(peers, MAX_PEERS), words))
    if not any(survey.courses.keys(agent) for agent in question.agents):
        # of whom the text names little is on record, or nobody is named
        wanted = {f"role:{role}" for role in question.roles} | {"role:"}
        for owner in map("role:{}".format, survey.courses.members):
            if not question.roles or owner in wanted:
                whole.join(onset_of(survey.courses, owner, [], words))
    _add_first_failures(whole, survey, question, words)
    _add_things(whole, survey)
    return whole


def _add_things(whole: Onset, survey: Survey) -> None:
    """What became of a thing was decided where events name it; the fewer steps those are, the surer."""
    steps = Counter(deed.step for deed in survey.deeds if deed.id in survey.named)
    if steps and len(steps) <= _LIFE * survey.steps:
        first, count = min(steps), steps.total()
        change = Change("", ("thing", "", "named"), first, 0.0, _FIRST_FAILURE)
        whole.add(change, {step: number / count for step, number in steps.items()})


def words_of(question: Question) -> set[str]:
    """The stems of what the text says."""
    return {stem(word) for word in question.words} | set(stems(" ".join(question.words)))


def _is_peer(peer: str, agent: str, roles: Mapping[str, str]) -> bool:
    return peer != agent and roles.get(peer) == roles.get(agent)


def _add_first_failures(whole: Onset, survey: Survey, question: Question, words: Collection[str]) -> None:
    """A sort of failure that comes for the first time in the course of the session begins something."""
    alike: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, deed in enumerate(survey.deeds):
        if deed.level == "WARNING" or (deed.failed and deed.kind in {"error", "log"}):
            alike[deed.kind, shape_of(deed.message)].append(place)
    for (kind, shape), places in alike.items():
        begin = dense_from([survey.deeds[place].step for place in places], survey.steps)
        deed = survey.deeds[places[begin]]
        if begin:
            chance = (begin + 0.5) / (len(places) + 1) / len(places)
            for place in places[begin : begin + 2]:
                survey.odd[place] = Odd(chance, "fails", deed.message, Oddity(chance, NEW))
        if deed.step < _EARLY * survey.steps:
            continue
        weight = _FIRST_FAILURE * (1 + 2 * len(set(stems(f"{deed.message} {deed.label}")) & set(words)))
        weight *= 2.0 if "error" in question.topics else 1.0
        weight *= 1.0 if not question.agents or deed.agent in question.agents else 0.3
        change = Change(deed.agent or "", (kind, shape, "first"), deed.step, 0.0, weight)
        whole.add(change, {deed.step: 1.0})
