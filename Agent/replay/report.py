"""The report of a re-drive: verdict, proof and what a person needs to read on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from Agent.replay.outcome import Divergence, Outcome
from Agent.replay.verdict import EXIT_CODES, Verdict, judge

_MOST_NAMED = 6
_RECORDABLE = frozenset({"random", "a random", "numpy", "time", "datetime", "os", "uuid"})


@dataclass(frozen=True)
class ReplayReport:
    """What driving the code again proved; `str()` of it is for people, `to_dict()` for programs."""

    run: str
    """The run as a command line names it."""
    target: str
    outcome: Outcome
    session: Path
    agent_id: str | None = None
    path: Path | None = None
    """The directory of this replay; None where it could not be written."""
    stdout: str = ""
    """What the driven code printed."""
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
        """The first difference; under UNVERIFIED one that proves nothing."""
        return self.outcome.divergence

    @property
    def scope(self) -> str:
        """`whole`, or `prefix` where the recording did not end cleanly: complete steps only."""
        return self.outcome.scope

    @property
    def unseen(self) -> tuple[str, ...]:
        """Fields of the driven agents that could not be seen."""
        return tuple(self.outcome.unseen)

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
        covered = f"{counts.covered:,} of {counts.actions:,} actions covered"
        scope = ", complete steps of a recording that did not end cleanly" if self.scope == "prefix" else ""
        seen = f"not seen: {_names(self.outcome.unseen)}" if self.outcome.unseen else "all fields seen"
        compared = f"{counts.informative:,} informative comparisons"
        if self.unseen_at_end:
            seen += f"; not seen as they ended: {_names(self.unseen_at_end)}"
        return f"{self.verdict} {who}: {covered}{scope}, {compared}; {seen}"

    def __str__(self) -> str:
        lines = [self.headline]
        outcome, counts = self.outcome, self.outcome.counts
        if self.verdict is Verdict.DIVERGED:
            lines.append(f"  first difference: {outcome.divergence}")
        lines += [f"  because {reason}" for reason in self.reasons]
        if any(read.source.partition(".")[0] in _RECORDABLE for read in outcome.sources):
            lines.append(
                "  a program records such reads within `with recorded_sources():`, and those of a generator "
                "of its own by `recorder.adopt(generator)`"
            )
        if self.verdict is Verdict.EQUIVALENT:
            lines += [f"  equal but for: {name}" for name in outcome.normalisers]
        lines.append(
            f"  driven {counts.driven:,} of {counts.actions:,}; compared {counts.results:,} results, "
            f"{counts.fields:,} changed fields, {counts.effects:,} effects, "
            f"{counts.full_states:,} full states"
        )
        if counts.answers:
            lines.append(
                f"  {counts.answers:,} calls were answered from the record: {_names(outcome.answered)}"
            )
        if outcome.inside:
            lines.append(f"  ran inside the driven agents: {_names(outcome.inside)}")
        if outcome.imposed:
            lines.append(f"  written from outside, and put in from the record: {_names(outcome.imposed)}")
        if counts.covered < counts.driven and self.verdict is not Verdict.DIVERGED:
            lines.append(
                f"  out of scope: {counts.driven - counts.covered:,} driven actions at the end, which left "
                "nothing to compare"
            )
        if outcome.notes and counts.driven:
            lines.append(
                f"  {sum(outcome.notes.values()):,} notes (log_action) outside actions were not driven"
            )
        lines += [f"  note: {remark}" for remark in outcome.remarks]
        if self.verdict is Verdict.DIVERGED and outcome.environment.get("state") != "strict":
            lines.append(
                "  note: what is done between the driven actions would look the same: writes to an agent "
                'from outside (state="strict" records them), and what a scheduler does (trace its step)'
            )
        changed = [name for name, code in outcome.code.items() if code["recorded"] != code["replayed"]]
        if changed:
            lines.append(f"  other code than was recorded: {_names(changed)}")
        lines.append(
            f"  target {self.target}" + (f", report in {self.path}" if self.path is not None else "")
        )
        return "\n".join(lines)


def _names(names: Any) -> str:
    listed = list(names)
    shown = ", ".join(str(name) for name in listed[:_MOST_NAMED])
    return shown + (f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else "")
