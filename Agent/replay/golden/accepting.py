"""An accepted change of behaviour: from one step on the present code is right; before it nothing changes.

The older recording is kept up to that step and checked from then on; the new one is made by the present code.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from Agent.archive.run_export import export_run
from Agent.errors import ReplayError, UsageError
from Agent.event.clock import format_timestamp
from Agent.flight.runs.reading import RunRef
from Agent.replay.golden.checking import GoldenReport, check_golden, unpacked
from Agent.replay.golden.selection import asked_for, choose, inside_agents, needed
from Agent.replay.golden.trace import Accepted, GoldenTrace
from Agent.replay.golden.updating import record_anew
from Agent.replay.judging.report import ReplayReport
from Agent.replay.plan.recording import read_recording

__all__ = ["accept_golden"]


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
