"""A golden trace brought up to date: the recorded actions run with the present code, and recorded again.

What other agents, tools and models answered stays as it was recorded; a call that has no answer there cannot
be made up, so then the run has to be recorded again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from Agent.errors import ReplayError, UsageError
from Agent.flight.runs.reading import RunRef
from Agent.replay.forks.forking import resume_from_checkpoint
from Agent.replay.golden.adding import keep_recording
from Agent.replay.golden.checking import GoldenReport, check_unpacked, unpacked, up_to
from Agent.replay.golden.selection import needed
from Agent.replay.golden.trace import Accepted, GoldenTrace
from Agent.replay.plan.recording import read_recording

__all__ = ["record_anew", "update_golden"]


def update_golden(golden: GoldenTrace, target: str | None = None) -> GoldenReport:
    """Keep what the code does now in place of what it did; the golden trace is as it was if that fails.

    Accepted changes before which the code still does what was recorded stay; the report names the others.

    Args:
        target: other code than the golden trace names; it is named there from now on.

    Raises:
        ReplayError: nothing was proved by driving it, or the code calls what has no recorded response.
    """
    with unpacked(golden) as reference:
        before = check_unpacked(golden, reference, target)
        if before.report.exit_code == 4:
            return before  # whatever stands in the way of a verdict would stand in the way of the next one
    kept = tuple(each for each in golden.accepted if _still_applies(golden, each, target))
    older = {each.file: golden.directory / each.file for each in kept if each.file}
    report = record_anew(replace(golden, target=target or golden.target, accepted=kept), golden, older)
    return replace(report, dropped=tuple(each for each in golden.accepted if each not in kept))


def _still_applies(golden: GoldenTrace, change: Accepted, target: str | None) -> bool:
    """Whether the code does what was recorded before an accepted change."""
    if not change.file:
        return True
    with unpacked(golden, golden.directory / change.file) as reference:
        return check_unpacked(up_to(golden, change), reference, target).passes


def record_anew(
    draft: GoldenTrace, golden: GoldenTrace, older: Mapping[str, Path] | None = None
) -> GoldenReport:
    """Record a golden trace with the present code and the recorded responses, and keep that in its place.

    Args:
        draft: what it says of itself from now on.
        golden: what is there; it stays where this fails.
        older: recordings up to accepted changes, by the name of the file.

    Raises:
        UsageError: it holds only some agents of a run.
        ReplayError: the code calls what has no recorded response, or does not do the same twice.
    """
    if golden.agents is not None:
        raise UsageError(
            f"{golden.name} replays only some agents of a run, so it cannot be recorded again",
            remedy="record the run again, and add it with --replace",
        )
    with unpacked(golden) as reference:
        fork = resume_from_checkpoint(
            _named(str(reference.session), golden.agent_id),
            "0",
            draft.target,
            timeout_seconds=golden.timeout_seconds,
        )
        if fork.stopped is not None:
            raise ReplayError(
                f"{golden.name} cannot be recorded again from what it holds: {fork.stopped}",
                remedy=f"record the run again: agent-trace golden add RUN --name {golden.name} --replace",
            )
        recording = read_recording(fork.session, golden.agent_id)
        only = needed(recording) if golden.agent_id is not None else None
        added = keep_recording(draft, RunRef(fork.session, None), only, older=older)
    if not added.is_kept:
        why = added.report.report.reasons or (str(added.report.report.divergence),)
        raise ReplayError(
            f"{golden.name} was recorded again, and the code does not do the same twice: {why[0]}",
            path=golden.directory,
            remedy="the golden trace is as it was",
        )
    return added.report


def _named(session: str, agent_id: str | None) -> str:
    return session if agent_id is None else f"{session}{os.sep}{agent_id}"
