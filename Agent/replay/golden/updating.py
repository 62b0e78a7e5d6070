"""A golden trace brought up to date: the recorded actions run with the present code, and recorded again.

An accepted change keeps the older recording up to a step, and checks it from then on.

What other agents, tools and models answered stays as it was recorded; a call that has no answer there cannot
be made up, so then the run has to be recorded again.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from Agent.archive.run_export import export_run
from Agent.errors import ReplayError, UsageError
from Agent.event.clock import format_timestamp
from Agent.flight.runs.reading import RunRef
from Agent.replay.forks.forking import resume_from_checkpoint
from Agent.replay.golden.adding import keep_recording
from Agent.replay.golden.checking import GoldenReport, check_golden, check_unpacked, unpacked, up_to
from Agent.replay.golden.selection import asked_for, choose, inside_agents, needed
from Agent.replay.golden.trace import Accepted, GoldenTrace
from Agent.replay.judging.report import ReplayReport
from Agent.replay.plan.recording import read_recording


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


def accept_golden(golden: GoldenTrace, step: int, reason: str, target: str | None = None) -> GoldenReport:
    """Accept what the present code does from a step on, and keep checking what came before.

    Args:
        golden: the golden trace, which fails with this code.
        step: the first replayed action that may differ, as reports number them from 1.
        reason: why the new behaviour is right.
        target: other code than the golden trace names; it is named there from now on.

    Raises:
        UsageError: there is no such step, no reason, or nothing differs.
        ReplayError: it differs before that step, nothing was proved, or the code does not do the same twice.
    """
    if not reason.strip():
        raise UsageError("a change is accepted for a reason", remedy='give --reason "..."')
    found = check_golden(golden, target)
    first = found.report.divergence
    if found.passes:
        raise UsageError(f"{golden.name} passes: there is no new behaviour to accept")
    if found.report.exit_code == 4 or first is None:
        why = (*found.report.reasons, *found.undeclared, "nothing was proved")[0]
        raise ReplayError(f"nothing can be accepted of {golden.name}: {why}")
    if first.step < step:
        raise ReplayError(
            f"{golden.name} differs at step {first.step} already, before step {step}: {first}",
            remedy=f"mend that, or accept from step {first.step} on",
        )
    with tempfile.TemporaryDirectory(prefix="agent-trace-golden-") as place:
        change, *trimmed = (
            _cut(golden, each, step, found.report, Path(place))
            for each in (None, *(each for each in golden.accepted if each.file))
        )
        change = replace(change, reason=" ".join(reason.split()), at=format_timestamp(time.time_ns() // 1000))
        kept = (*(each for each in trimmed if each.file), change)
        older = {each.file: Path(place, each.file) for each in kept if each.file}
        draft = replace(golden, target=target or golden.target, accepted=kept)
        return record_anew(draft, golden, older)


def _cut(
    golden: GoldenTrace, change: Accepted | None, step: int, report: ReplayReport, place: Path
) -> Accepted:
    """An older recording, or the present one, up to a step, in a file of the directory; nothing if that is 1.

    Raises:
        UsageError: the present recording has no such step.
    """
    source = golden.recording if change is None else golden.directory / change.file
    with unpacked(golden, source) as reference:
        recording = read_recording(reference.session, golden.agent_id)
        given = [each for each in report.outcome.agents if each in recording.agents]
        inside = inside_agents(report, recording)
        whole = choose(recording, given, inside)
        assert whole is not None  # noqa: S101 - without an end there is nothing that could be missing
        if change is None and not 1 <= step <= len(whole.actions):
            raise UsageError(f"{golden.name} has no step {step}", remedy=f"it has 1 to {len(whole.actions)}")
        made = change or Accepted(step, "", whole.actions[step - 1].event.id)
        if step == 1:
            return replace(made, file="")
        chosen = choose(
            recording, given, inside, whole.actions[min(step, len(whole.actions) + 1) - 2].event.id
        )
        assert chosen is not None  # noqa: S101 - the event is one of its actions
        name = change.file if change is not None else _free_name(golden, step)
        export_run(RunRef(reference.session, None), place / name, only=needed(recording, chosen))
        if golden.agent_id is None:
            agents = tuple(sorted(chosen.agents))
            made = replace(made, agents=agents, asked_for=asked_for(golden, recording))
        return replace(made, file=name)


def _free_name(golden: GoldenTrace, step: int) -> str:
    """A name for the older recording that no other accepted change has."""
    taken = {each.file for each in golden.accepted}
    names = (f"before_step_{step}{f'_{number}' if number else ''}.zip" for number in itertools.count())
    return next(name for name in names if name not in taken)
