"""A golden trace brought up to date: the recorded actions driven by the present code, and that recorded anew.

What other agents, tools and models answered stays as it was recorded; a call that has no answer there cannot
be made up, so then the run has to be recorded again.
"""

from __future__ import annotations

import os
from dataclasses import replace

from Agent.errors import ReplayError, UsageError
from Agent.flight.runs import RunRef
from Agent.replay.forks.forking import resume_from_checkpoint
from Agent.replay.golden.adding import keep_recording
from Agent.replay.golden.checking import GoldenReport, check_unpacked, unpacked
from Agent.replay.golden.selection import needed
from Agent.replay.golden.trace import GoldenTrace
from Agent.replay.recording import read_recording

__all__ = ["update_golden"]


def update_golden(golden: GoldenTrace, target: str | None = None) -> GoldenReport:
    """Keep what the code does now in place of what it did; the golden trace is as it was if that fails.

    Args:
        target: other code than the golden trace names; it is named there from now on.

    Raises:
        ReplayError: nothing was proved by driving it, or the code calls what has no recorded answer.
    """
    with unpacked(golden) as reference:
        before = check_unpacked(golden, reference, target)
        if before.report.exit_code == 4:
            return before  # whatever stands in the way of a verdict would stand in the way of the next one
        if golden.agents is not None:
            raise UsageError(
                f"{golden.name} drives some agents of a run only, so it cannot be recorded anew",
                remedy="record the run again, and add it with --replace",
            )
        fork = resume_from_checkpoint(
            _named(str(reference.session), golden.agent_id),
            "0",
            target or golden.target,
            timeout_seconds=golden.timeout_seconds,
        )
        if fork.stopped is not None:
            raise ReplayError(
                f"{golden.name} cannot be recorded anew from what it holds: {fork.stopped}",
                remedy=f"record the run again: agent-trace golden add RUN --name {golden.name} --replace",
            )
        recording = read_recording(fork.session, golden.agent_id)
        only = needed(recording) if golden.agent_id is not None else None
        draft = replace(golden, target=target or golden.target)
        added = keep_recording(draft, RunRef(fork.session, None), only)
    if not added.is_kept:
        why = added.report.report.reasons or (str(added.report.report.divergence),)
        raise ReplayError(
            f"{golden.name} was recorded anew, and the code does not do the same twice: {why[0]}",
            path=golden.directory,
            remedy="the golden trace is as it was",
        )
    return added.report


def _named(session: str, agent_id: str | None) -> str:
    return session if agent_id is None else f"{session}{os.sep}{agent_id}"
