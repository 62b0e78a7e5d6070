"""From the facts of a replay to its verdict: all rules in one place.

IDENTICAL requires that everything compared is equal and something informative is among it. A difference is
DIVERGED only if nothing but the code can have caused it. Everything else is UNVERIFIED, with the reason.
"""

from __future__ import annotations

from enum import StrEnum

from Agent.replay.compare.outcome import ReplayOutcome


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
    """Return the verdict and, if it is UNVERIFIED, the reasons."""
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
            "method would have passed"
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
