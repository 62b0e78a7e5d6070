"""Which verdict counts where a replay called the recorded actions, and then ran the whole program again."""

from __future__ import annotations

from pathlib import Path

from Agent.archive.sealed.reader import open_reader
from Agent.replay.compare.emitted_events import ARGS_AFTER
from Agent.replay.compare.library_values import MADE_BY_LIBRARIES, agree_by_form
from Agent.replay.compare.outcome import ReplayOutcome, Verdict, judge
from Agent.replay.compare.program_state import program_state_of


def joined_with_program(
    outcome: ReplayOutcome, rerun: ReplayOutcome, agent_id: str | None, session: Path, *, keeps_going: bool
) -> tuple[ReplayOutcome, str | None]:
    """Return the outcome that counts, of the calls or the program (`rerun`), and its agent; None for all."""
    first, differs = outcome.divergence, rerun.divergence
    reads_state = reads_program_state(outcome, session)
    is_outside = may_be_caused_from_outside(outcome)
    if first is not None and differs is not None:
        is_open = is_outside or is_unchanged(outcome)
        if reads_state:
            is_same = (first.step, first.replayed) == (differs.step, differs.replayed)
            is_open = not is_same and not agree_by_form(first.recorded, first.replayed)
        if not is_open:
            return outcome, agent_id  # both show a difference, and the calls show where for this agent
    if first is not None and differs is None and _hides_by_form(outcome, rerun):
        if not agree_by_form(first.recorded, first.replayed):
            outcome.doubts.append(
                f"{rerun.remarks[-1]}, but for ids and times, in which other code may differ"
            )
        return outcome, agent_id
    if differs is not None and agent_id not in {None, differs.agent_id, differs.inner_agent_id}:
        outcome.remark(f"the program as a whole differs first at another agent: {differs.step_text}")
    elif differs is not None or is_outside or reads_state:
        if keeps_going and differs is not None:
            rerun.remark(
                "--keep-going looks for further differences where calls are replayed one by one; of a run of "
                "the whole program only the first one counts, since later ones may follow from it"
            )
        return rerun, None
    elif first is None:
        for remark in rerun.remarks:
            outcome.remark(remark)
        outcome.normalisers += [each for each in rerun.normalisers if each not in outcome.normalisers]
    else:
        outcome.remark(
            f"{rerun.remarks[-1]}: the target builds other objects than the program, or they "
            "differ in a part that a replay does not restore"
        )
    return outcome, agent_id


def _hides_by_form(outcome: ReplayOutcome, rerun: ReplayOutcome) -> bool:
    """Whether code changed where calls differ, and the program's ids and times agree by their form alone.

    Calls get recorded ids and times, so that they show what changed code makes of these.
    """
    is_changed = outcome.changed_code or outcome.changed_modules
    return (
        bool(is_changed)
        and judge(outcome)[0] is Verdict.DIVERGED
        and any(remark.endswith(MADE_BY_LIBRARIES) for remark in rerun.remarks)
    )


def reads_program_state(outcome: ReplayOutcome, session: Path) -> bool:
    """Whether there is a difference where globals, closures or the like change, maybe by other code."""
    if judge(outcome)[0] is not Verdict.DIVERGED or outcome.may_be_of_target:
        return False
    program_state = program_state_of(open_reader(session).events())
    return program_state is not None and bool(program_state.changed or program_state.unknown)


def may_be_caused_from_outside(outcome: ReplayOutcome) -> bool:
    """Whether the calls prove nothing, or other code may have changed the agents' state or arguments."""
    is_open = judge(outcome)[0] is Verdict.UNVERIFIED
    is_of_arguments = outcome.divergence is not None and outcome.divergence.field == ARGS_AFTER
    return is_open or is_of_arguments or bool(outcome.imposed or outcome.references or outcome.beside)


def is_unchanged(outcome: ReplayOutcome) -> bool:
    """Whether the recording shows no changed code that could be the cause of the difference."""
    return outcome.is_same_code and not outcome.changed_modules
