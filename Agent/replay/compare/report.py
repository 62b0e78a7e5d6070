"""The report of a replay: the verdict, the proof, and hints for the reader."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from Agent.render.formats import plural
from Agent.render.html import TextInNotebook
from Agent.replay.compare.outcome import (
    EXIT_CODES,
    MOST_NAMED,
    STATE,
    Divergence,
    ReplayOutcome,
    Verdict,
    judge,
    listed,
)
from Agent.tree.layout import OPENED_ROOT, recorded_at

_RECORDABLE = frozenset({"random", "a random", "numpy", "time", "datetime", "os", "uuid"})
_ANSWERING = frozenset({"network", "a new process"})


@dataclass(frozen=True)
class ReplayReport(TextInNotebook):
    """The result of a replay; `str()` of it is for people, `to_dict()` for programs."""

    run: str
    """The run, as written on a command line."""
    target: str
    """`module:factory`; without a target the name of the script, which was run again as a whole."""
    outcome: ReplayOutcome
    session: Path
    agent_id: str | None = None
    """The one agent that was replayed; None for the whole session."""
    path: Path | None = None
    """The directory of this replay; None if it could not be written."""
    stdout: str = ""
    """The output of the replayed code."""
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
        """Return distinct names of fields, without the agent if only one is replayed."""
        agents = self.outcome.agents
        alone = f"{agents[0]}." if len(agents) == 1 else ""
        return list(dict.fromkeys(name.removeprefix(alone) for name in names))

    @property
    def unseen_at_end(self) -> tuple[str, ...]:
        """Fields over 4 KiB and generators whose final values are in no full state."""
        unseen = self.outcome.unseen_at_end.items()
        return tuple(self._own(f"{agent_id}.{name}" for agent_id, names in unseen for name in names))

    @property
    def at_full_states(self) -> tuple[str, ...]:
        """Fields over 4 KiB and generators, which were compared at full states only."""
        reported = {*self.unseen, *self.ignored, *self.unseen_at_end}
        reported.update(self._own(each.partition(" (")[0] for each in self.outcome.references))
        return tuple(name for name in self._own(self.outcome.at_full_states) if name not in reported)

    @property
    def proof(self) -> dict[str, Any]:
        """What was compared, in numbers and names, as JSON values."""
        return {
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "run": self.run,
            "target": self.target,
            **self.outcome.to_object(),
            "reasons": list(self.reasons),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: `proof` with headline and paths."""
        return {
            **self.proof,
            "headline": self.headline,
            "session": str(recorded_at(self.session)),
            "agent_id": self.agent_id,
            "path": self.kept_at,
        }

    @property
    def headline(self) -> str:
        """The verdict, the coverage and the fields that could not be seen, in one line."""
        counts = self.outcome.counts
        who = listed(self.outcome.agents) or self.run
        scope = (
            ", the complete steps of a recording that did not end cleanly" if self.scope == "prefix" else ""
        )
        lacking = {
            "not seen": self.unseen,
            "seen by name": self._own(each.partition(" (")[0] for each in self.outcome.references),
            "not seen as they ended": self.unseen_at_end,
            "not compared": self._own(self.outcome.left_out),
            "handles, not compared": self._own(self.outcome.handles),
            "ignored": self.ignored,
        }
        seen = [f"{label}: {listed(names)}" for label, names in lacking.items() if names]
        if not counts.driven:
            undriven = "the whole program ran again" if self.outcome.is_of_program else "nothing was replayed"
            seen = seen or [undriven]
        elif self.verdict not in {Verdict.DIVERGED, Verdict.UNVERIFIED}:
            seen = seen or ["all fields seen"]
        if self.at_full_states:
            seen.append(f"at full states only: {listed(self.at_full_states)}")
        return "; ".join([f"{self.verdict} {who}: {self._coverage}{scope}", *seen])

    @property
    def _coverage(self) -> str:
        """How many actions are covered, or which one differs first."""
        counts, divergence = self.outcome.counts, self.divergence
        if self.verdict is not Verdict.DIVERGED or divergence is None:
            return f"{counts.covered:,} of {counts.actions:,} actions covered"
        actions = f"{counts.actions:,} action{'s' * (counts.actions != 1)}"
        if not divergence.step:
            return f"differs before the first of {actions}"
        return f"differs at step {divergence.step:,} of {actions}"

    @property
    def changed_code(self) -> tuple[str, ...]:
        """Return traced methods, and fields that contain functions, whose code has changed."""
        return self.outcome.changed_code

    @property
    def is_same_code(self) -> bool:
        """Whether the differing method and every other compared method still have their recorded code."""
        return self.outcome.is_same_code

    @property
    def differing_fields(self) -> dict[str, str]:
        """The differing fields of agents, each with the step, path and replayed value as text."""
        first = self.divergence
        differing = [] if first is None else [first, *self.outcome.further]
        fields = [each for each in differing if each.field.startswith(STATE)]
        return {
            self._own([f"{each.agent_id}.{each.field.removeprefix(STATE)}"])[0]: repr(
                (each.step, each.path, each.replayed)
            )
            for each in fields
        }

    def __str__(self) -> str:
        return "\n".join([self.headline, *(f"  {line}" for line in self._lines())])

    def _lines(self) -> Iterator[str]:
        outcome = self.outcome
        yield from outcome.factory_differences[:MOST_NAMED]
        if self.verdict is Verdict.DIVERGED and outcome.divergence is not None:
            yield from _difference(outcome.divergence, "first difference")
            if self.is_same_code and not outcome.changed_modules:
                yield self._same_code
        if self.changed_code:
            yield f"changed since the recording: {listed(self.changed_code)}"
        elif outcome.changed_modules:
            yield (
                f"changed since the recording, but in no replayed method: {listed(outcome.changed_modules)}, "
                "such as what the methods call, a constructor or a constant"
            )
        yield from (f"because {reason}" for reason in self.reasons)
        if any(read.source.partition(".")[0] in _RECORDABLE for read in outcome.sources):
            yield (
                "to record such reads: `with recorded_sources():` around the program, and "
                "`recorder.adopt(generator)` for its own generators; both are in Agent.flight"
            )
        if any(read.source in _ANSWERING for read in outcome.sources):
            yield (
                "to record what another program answers: `@record_tool`, from Agent.flight, on the function "
                "that asks it; a replay returns the recorded response"
            )
        for number, later in enumerate(outcome.further, 2):
            yield from _difference(later, f"difference {number}")
        if self.verdict is Verdict.EQUIVALENT:
            yield from (f"equal but for: {name}" for name in outcome.normalisers)
        if self.outcome.open_arguments and self.verdict is not Verdict.UNVERIFIED:
            yield from (f"note: {each}" for each in outcome.open_arguments[:MOST_NAMED])
        yield from self._compared()
        yield from (f"note: {remark}" for remark in outcome.remarks)
        yield f"{'target' if ':' in self.target else 'program'} {self.target}{self._where}"

    @property
    def kept_at(self) -> str | None:
        """The directory of the report's files; None if they are not kept."""
        return None if self.path is None or self._is_opened else str(self.path)

    @property
    def _is_opened(self) -> bool:
        """Whether the session is encrypted, so that what is written into it goes when this process ends."""
        return self.session.parent.name.startswith(OPENED_ROOT)

    @property
    def _where(self) -> str:
        if self.path is None:
            return ""
        if self._is_opened:
            return "; the report is not kept, since the session is encrypted"
        return f", report in {self.path}"

    @property
    def _same_code(self) -> str:
        outcome = self.outcome
        reason = f"no compared code changed ({listed(outcome.code)})"
        if outcome.are_modules_known:
            reason += ", and no module of the program: look at the factory, files, environment and libraries"
        else:
            reason += ": look at constructors, factory, constants, files, libraries and what the methods call"
        inner = self.divergence.inner_agent_id if self.divergence is not None else ""
        if inner and not any(name.startswith(f"{inner}.") for name in outcome.code):
            reason += f", and at what {inner} did inside"
        if outcome.environment.get("state") == "strict" or self.outcome.is_of_program:
            return reason
        return f'{reason}; state="strict" also records writes between the actions'

    def _compared(self) -> Iterator[str]:
        """Yield lines about what was compared and what was not."""
        outcome, counts = self.outcome, self.outcome.counts
        compared = {
            "result": counts.results,
            "changed field": counts.fields,
            "effect": counts.effects,
            "full state": counts.full_states,
        }
        counted = (f"{count:,} {what}{'s' * (count != 1)}" for what, count in compared.items() if count)
        numbers = ", ".join(counted) or "nothing"
        yield f"{counts.driven:,} of {counts.actions:,} actions replayed; compared {numbers}"
        if outcome.references:
            yield f"compared by name: {listed(outcome.references)}"
        if counts.answers:
            yield f"{plural(counts.answers, 'call')} had recorded responses: {listed(outcome.answered)}"
        named: dict[str, Collection[str]] = {
            "ran inside the replayed agents": outcome.inside,
            "written from outside, repeated from the recording": outcome.imposed,
            "changed by hand, repeated from the recording": outcome.by_hand,
            "existing files opened for writing": outcome.opened_for_writing,
        }
        yield from (f"{what}: {listed(names)}" for what, names in named.items() if names)
        if counts.covered < counts.driven and self.verdict is not Verdict.DIVERGED:
            yield (
                f"out of scope: the last {counts.driven - counts.covered:,} replayed actions, which left "
                "nothing to compare"
            )
        if outcome.notes and counts.driven:
            notes = sum(outcome.notes.values())
            yield f"{notes:,} notes (log_action) outside actions were not replayed"


def _difference(divergence: Divergence, what: str) -> Iterator[str]:
    """Yield the lines of a difference, each value on a separate line so that they are easy to compare."""
    recorded, replayed = divergence.texts
    yield f"{what}: {divergence.step_text}"
    yield f"  {divergence.where or divergence.field}"
    yield f"    recorded: {recorded}"
    yield f"    replayed: {replayed}"
    if divergence.since is not None:
        yield (
            f"    it began in one of the steps {divergence.since + 1:,} to {divergence.step:,}: fields over "
            "4 KiB and generators are compared at full states only"
        )
