"""The report of a replay: verdict, proof, and what a person needs to act on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from Agent.replay.compare.outcome import Divergence, ReplayOutcome

_MOST_NAMED = 6
_STATE = "state."
_RECORDABLE = frozenset({"random", "a random", "numpy", "time", "datetime", "os", "uuid"})


@dataclass(frozen=True)
class ReplayReport:
    """The result of a replay; `str()` of it is for people, `to_dict()` for programs."""

    run: str
    """The run as a command line names it."""
    target: str
    outcome: ReplayOutcome
    session: Path
    agent_id: str | None = None
    path: Path | None = None
    """The directory of this replay; None where it could not be written."""
    stdout: str = ""
    """What the replayed code printed."""
    stderr: str = ""

    @cached_property
    def _judged(self) -> tuple[Verdict, list[str]]:
        return judge(self.outcome)

    @property
    def verdict(self) -> Verdict:
        """IDENTICAL, EQUIVALENT, DIVERGED or UNVERIFIED."""
        return self._judged[0]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is UNVERIFIED; empty for other verdicts."""
        return tuple(self._judged[1])

    @property
    def exit_code(self) -> int:
        """0 for IDENTICAL and EQUIVALENT, 1 for DIVERGED, 4 for UNVERIFIED."""
        return EXIT_CODES[self.verdict]

    @property
    def divergence(self) -> Divergence | None:
        """Return the first difference; under UNVERIFIED it proves nothing."""
        return self.outcome.divergence

    @property
    def scope(self) -> str:
        """Return `whole`, or `prefix` if the recording did not end cleanly: complete steps only."""
        return self.outcome.scope

    @property
    def unseen(self) -> tuple[str, ...]:
        """Fields of the replayed agents that could not be seen."""
        return tuple(self._own([*self.outcome.unseen, *self.outcome.unseen_fields]))

    @property
    def ignored(self) -> tuple[str, ...]:
        """Return the fields that the program or the caller asked to ignore."""
        return tuple(self._own(self.outcome.ignored))

    def _own(self, names: Iterable[str]) -> list[str]:
        """Names of fields, without the agent where only one is replayed; each once."""
        agents = self.outcome.agents
        alone = f"{agents[0]}." if len(agents) == 1 else ""
        return list(dict.fromkeys(name.removeprefix(alone) for name in names))

    @property
    def unseen_at_end(self) -> tuple[str, ...]:
        """Fields over 4 KiB and generators that no full state shows as they were at the end."""
        agents = self.outcome.agents
        return tuple(
            field if agents == [agent_id] else f"{agent_id}.{field}"
            for agent_id, fields in self.outcome.unseen_at_end.items()
            for field in fields
        )

    @property
    def proof(self) -> dict[str, Any]:
        """What was compared, in numbers and names."""
        proof = self.outcome.to_object()
        return {
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "run": self.run,
            "target": self.target,
            **proof,
            "reasons": list(self.reasons),
            "divergence": proof["divergence"],
        }

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values, `proof` with its text and place."""
        return {
            **self.proof,
            "headline": self.headline,
            "session": str(self.session),
            "agent_id": self.agent_id,
            "path": None if self.path is None else str(self.path),
        }

    @property
    def headline(self) -> str:
        """Verdict, coverage and the fields that could not be seen, in one line."""
        counts = self.outcome.counts
        who = _names(self.outcome.agents) or self.run
        scope = (
            ", the complete steps of a recording that did not end cleanly" if self.scope == "prefix" else ""
        )
        lacking = {
            "not seen": self.unseen,
            "seen by name": self._own(each.partition(" (")[0] for each in self.outcome.references),
            "not seen as they ended": self.unseen_at_end,
            "ignored": self.ignored,
        }
        seen = [f"{told}: {_names(names)}" for told, names in lacking.items() if names]
        return f"{self.verdict} {who}: {counts.covered:,} of {counts.actions:,} actions covered{scope}; " + (
            "; ".join(seen) or ("all fields seen" if counts.driven else "nothing was replayed")
        )

    @property
    def changed_code(self) -> tuple[str, ...]:
        """Return traced methods, and fields that hold functions, whose code has changed."""
        return self.outcome.changed_code

    @property
    def is_same_code(self) -> bool:
        """Whether the method that differs, and every other one that was compared, has its recorded code."""
        return self.outcome.is_same_code

    @property
    def differing_fields(self) -> dict[str, str]:
        """The fields of agents that differ, each with where and what the replay has of it."""
        first = self.divergence
        found = [] if first is None else [first, *self.outcome.further]
        fields = [each for each in found if each.field.startswith(_STATE)]
        return {
            self._own([f"{each.agent_id}.{each.field.removeprefix(_STATE)}"])[0]: repr(
                (each.step, each.path, each.replayed)
            )
            for each in fields
        }

    def __str__(self) -> str:
        return "\n".join([self.headline, *(f"  {line}" for line in self._lines())])

    def _lines(self) -> Iterator[str]:
        outcome = self.outcome
        yield from outcome.factory_differences[:_MOST_NAMED]
        if self.verdict is Verdict.DIVERGED and outcome.divergence is not None:
            yield from _difference(outcome.divergence, "first difference")
            if self.is_same_code:
                yield self._same_code
        if self.changed_code:
            yield f"changed since the recording: {_names(self.changed_code)}"
        yield from (f"because {reason}" for reason in self.reasons)
        if any(read.source.partition(".")[0] in _RECORDABLE for read in outcome.sources):
            yield (
                "to record such reads: `with recorded_sources():` around the program, and "
                "`recorder.adopt(generator)` for its own generators"
            )
        for number, later in enumerate(outcome.further, 2):
            yield from _difference(later, f"difference {number}")
        if self.verdict is Verdict.EQUIVALENT:
            yield from (f"equal but for: {name}" for name in outcome.normalisers)
        yield from self._compared()
        yield from (f"note: {remark}" for remark in outcome.remarks)
        yield f"target {self.target}" + (f", report in {self.path}" if self.path is not None else "")

    @property
    def _same_code(self) -> str:
        compared = _names(self.outcome.code)
        told = (
            f"no recorded code changed, of what was compared ({compared}): the difference comes from a "
            "constructor, the factory, a constant, a file, a library, or code that is not compared, such as "
            "what these methods call"
        )
        inner = self.divergence.inner_agent_id if self.divergence is not None else ""
        if inner and not any(name.startswith(f"{inner}.") for name in self.outcome.code):
            told += f", as what {inner} did inside"
        if self.outcome.environment.get("state") == "strict":
            return told
        return f'{told}; or from a write between the actions (record with state="strict" to see those)'

    def _compared(self) -> Iterator[str]:
        """What took part in the comparison, and what did not."""
        outcome, counts = self.outcome, self.outcome.counts
        compared = {
            "result": counts.results,
            "changed field": counts.fields,
            "effect": counts.effects,
            "full state": counts.full_states,
        }
        told = (f"{count:,} {what}{'s' * (count != 1)}" for what, count in compared.items() if count)
        numbers = ", ".join(told) or "nothing"
        yield f"{counts.driven:,} of {counts.actions:,} actions replayed; compared {numbers}"
        if outcome.references:
            yield f"compared by name: {_names(outcome.references)}"
        if outcome.handles:
            yield f"handles, not compared: {_names(outcome.handles)}"
        if counts.answers:
            yield f"{counts.answers:,} calls had recorded responses: {_names(outcome.answered)}"
        if outcome.inside:
            yield f"ran inside the replayed agents: {_names(outcome.inside)}"
        if outcome.imposed:
            yield f"written from outside, repeated from the recording: {_names(outcome.imposed)}"
        if outcome.opened_for_writing:
            yield f"existing files opened for writing: {_names(outcome.opened_for_writing)}"
        if counts.covered < counts.driven and self.verdict is not Verdict.DIVERGED:
            yield (
                f"out of scope: the last {counts.driven - counts.covered:,} replayed actions, which left "
                "nothing to compare"
            )
        if outcome.notes and counts.driven:
            notes = sum(outcome.notes.values())
            yield f"{notes:,} notes (log_action) outside actions were not replayed"


def _difference(found: Divergence, what: str) -> Iterator[str]:
    """A difference, each value on a line of its own so that the eye can compare them."""
    recorded, replayed = found.texts
    yield f"{what}: {found.step_text}"
    yield f"  {found.where or found.field}"
    yield f"    recorded: {recorded}"
    yield f"    replayed: {replayed}"
    if found.since is not None:
        yield (
            f"    it began in one of the steps {found.since + 1:,} to {found.step:,}: fields over 4 KiB and "
            "generators are compared at full states only"
        )


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(str(name) for name in listed[:_MOST_NAMED])
    return shown + (f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else "")


class Verdict(StrEnum):
    """The result of a replay."""

    IDENTICAL = "IDENTICAL"
    """Everything compared is equal, something informative was, and no unrecorded source was read."""
    EQUIVALENT = "EQUIVALENT"
    """Equal after declared normalisers, or over redacted values."""
    DIVERGED = "DIVERGED"
    """The code did something else; the report names the first difference."""
    UNVERIFIED = "UNVERIFIED"
    """Nothing was proved; the report says why."""


EXIT_CODES = {Verdict.IDENTICAL: 0, Verdict.EQUIVALENT: 0, Verdict.DIVERGED: 1, Verdict.UNVERIFIED: 4}
"""What a command ends with."""


def judge(outcome: ReplayOutcome) -> tuple[Verdict, list[str]]:
    """Return the verdict and, if it is UNVERIFIED, the reasons; all rules are here.

    IDENTICAL requires that everything compared is equal and something informative is among it. A difference
    is DIVERGED only if nothing but the code can have caused it. Everything else is UNVERIFIED.
    """
    reasons = [*outcome.reasons, *map(str, outcome.sources)]
    for name, why in outcome.unseen_fields.items():
        own = name.rpartition(".")[2]
        reasons.append(f"field {name} cannot be seen: {why}; if it does not matter: --ignore {own}")
    if not outcome.reasons and outcome.counts.driven == 0 and outcome.divergence is None:
        reasons.insert(0, _nothing_driven(outcome))
    if outcome.divergence is not None:
        if reasons or outcome.doubts:
            return Verdict.UNVERIFIED, [
                *reasons,
                *outcome.doubts,
                f"so this proves nothing: {outcome.divergence}",
            ]
        return Verdict.DIVERGED, []
    if not reasons and outcome.counts.informative == 0:
        reasons.append(
            "nothing informative was compared: no result, no changed field, no event, no call; an empty "
            "method would have passed: trace methods that return or change something"
        )
    if reasons:
        return Verdict.UNVERIFIED, reasons
    return (Verdict.EQUIVALENT if outcome.normalisers else Verdict.IDENTICAL), []


def _nothing_driven(outcome: ReplayOutcome) -> str:
    notes = sum(outcome.notes.values())
    if notes:
        return (
            f"the recording has {notes} notes (log_action) and no traced action of "
            f"{', '.join(outcome.agents)}: notes cannot be replayed"
        )
    return "the recording has no traced action that could be replayed"
