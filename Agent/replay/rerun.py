"""`replay_run`: find the run and its target, replay it in a worker process, and report.

The worker runs with another hash seed, with the caller's directory and import path, and by default without
network access.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import orjson

from Agent.archive.sealed.reader import open_reader
from Agent.errors import ReplayError, TargetNotGiven, UsageError
from Agent.event.ids import session_id_for
from Agent.event.kinds import ACTION_KINDS
from Agent.event.model import Event as RecordedEvent
from Agent.flight.run_reading import RunName, RunRef, find_explicit_run, find_session_run
from Agent.record.emit.installed import flush_active
from Agent.record.sources.sources import UNADOPTED
from Agent.replay.attempts import GREEN, REPLAY, Attempts, RedriveOptions
from Agent.replay.compare.emitted_events import ARGS_AFTER
from Agent.replay.compare.normaliser import (
    MADE_BY_LIBRARIES,
    MADE_BY_RUNS,
    Normaliser,
    agree_by_form,
    ignored_names,
)
from Agent.replay.compare.outcome import (
    Divergence,
    ReplayOutcome,
    Verdict,
    joined_outcomes,
    judge,
    locate,
)
from Agent.replay.compare.program_state import program_state_of
from Agent.replay.compare.report import ReplayReport
from Agent.replay.drive.states import SHARED
from Agent.replay.plan.recording import check_agent
from Agent.replay.plan.target import Target, target_name
from Agent.replay.worker.fork_server import Worker
from Agent.replay.worker.jobs import run_job_in_terminal
from Agent.tree.files.session import replace_file, session_info
from Agent.tree.layout import make_private, run_dir
from Agent.tree.write.artifacts import ROOT_RUN

_SEEDED = {"random", "numpy.random", UNADOPTED}
"""Sources that a program may have seeded."""
_MOST_ALONE = 12
"""How many agents are replayed alone if their order is unknown."""


def replay_run(  # noqa: PLR0913 - each is a separate option
    run: RunName = "last",
    target: Target | None = None,
    root: str | os.PathLike[str] | None = None,
    agent_id: str | None = None,
    *,
    timeout_seconds: float | None = None,
    normaliser: Normaliser | None = None,
    network: bool = False,
    ignore: Collection[str] = (),
    strict_factory: bool = False,
    no_writes: bool = False,
    keep_going: int = 0,
    pdb: bool = False,
    program: bool = True,
) -> ReplayReport:
    """Replay recorded actions on a fresh object, and compare their effects with the recording.

    Args:
        run: "last", a session's id, a unique prefix of it or its path, each optionally with `/agent_id`.
        target: `module:factory`, or such a function; the default is the target recorded in the session, then
            a run of the recorded script as a whole, if it is in the working directory.
        root: the trace root; default: the configured one, then ./trace.
        agent_id: the one agent to replay, if `run` does not name one.
        timeout_seconds: after this the worker process is killed, and the verdict is UNVERIFIED.
        normaliser: differences to allow; if one is used, the verdict is EQUIVALENT at best.
        network: whether replayed code may use the network; if it does, the verdict is EQUIVALENT at best.
        ignore: fields to ignore: `field`, `agent.field`, or patterns of them; the report names them.
        strict_factory: whether a first state that the factory built differently is DIVERGED, not a note.
        no_writes: whether to refuse to open existing files for writing.
        keep_going: how many differences to look for after the first one.
        pdb: whether to replay once more in this terminal, with the debugger at the step that differs.
        program: whether the whole recorded program may be run again if calling its actions one by one proves
            nothing; see `program_run.py`.

    Raises:
        SessionNotFound, AgentNotFound: the run does not exist.
        ReplayError: the run has no action that can be replayed.
        TargetNotGiven: no target was given, the session has none, and the script cannot be run again.
        TargetNotFound: the target cannot be imported.
        UsageError: the target is not an importable name, or there is no terminal for the debugger.
    """
    flush_active()
    if pdb and not sys.stdin.isatty():
        raise UsageError("the debugger needs a terminal", remedy="leave out --pdb, or run it in a terminal")
    _check_is_driven(run, root)
    reference = find_session_run(run, root, agent_id)
    reader = open_reader(reference.session)
    if reference.agent_id is not None:
        check_agent(reader, reference.agent_id)
    check_holds_actions(reference, reader.events(reference.agent_id))
    options = RedriveOptions(
        timeout_seconds,
        normaliser,
        network,
        ignore=ignored_names(ignore),
        strict_factory=strict_factory,
        no_writes=no_writes,
        keep_going=keep_going,
        program=program,
    )
    try:
        name = target_name(target, session_info(reference.session), reference.agent_id)
    except TargetNotGiven:
        report = None if pdb else _of_program_alone(reference, options)
        if report is None:
            raise
        return report
    report = drive_again(reference, name, options, with_others=reference.agent_id is not None)
    if pdb and report.divergence is not None:
        replayed = Attempts(reference._replace(agent_id=report.agent_id), name, options, None)
        run_job_in_terminal(REPLAY, {**replayed.request(), "pdb": report.divergence.step})
    return report


def _of_program_alone(reference: RunRef, options: RedriveOptions) -> ReplayReport | None:
    """Replay without a target, by rerunning the recorded script; None if that is not possible."""
    if not options.program:
        return None
    if not _is_plain(options) or options.no_writes or options.network:
        raise TargetNotGiven(
            "no target was given, and options that ignore, allow or refuse something need one",
            remedy="give --target module:factory (a class, or a function that takes a spec), or no option",
        )
    from Agent.replay.program_run import replay_program  # only a few replays run the program

    program_result = replay_program(reference.session, options.timeout_seconds, options.stop)
    if program_result is None:
        return None
    outcome, script = program_result
    if reference.agent_id is not None:
        outcome.remark(f"{script.name} was run as a whole, with all agents, not {reference.agent_id} alone")
    return _report(reference, script.name, outcome, None)


def _check_is_driven(run: RunName, root: str | os.PathLike[str] | None) -> None:
    run_ref = find_explicit_run(run, root)
    if run_ref is not None and run_ref.run_id is not None:
        session_id = run_ref.session.name.removeprefix("session_")
        raise ReplayError(
            f"{run_ref.run_id} is a run of the recorder; only traced actions of a session are replayed",
            path=run_ref.session,
            remedy=f"agent-trace replay {session_id} replays its traced actions; agent-trace play "
            f"{run_ref.run_id} shows the run's steps, and ReplayExecutor continues from its checkpoints",
        )


def check_holds_actions(reference: RunRef, events: Iterable[RecordedEvent]) -> None:
    """Raise ReplayError, which names alternatives, if the events contain no action."""
    if not any(event.kind in ACTION_KINDS for event in events):
        raise ReplayError(
            "no action is recorded here, so there is nothing to replay",
            path=reference.session,
            remedy="trace methods with @trace_agent_action or instrument(); agent-trace play "
            f"{reference.name} shows what is recorded, and ReplayExecutor continues from a run's checkpoints",
        )


def drive_again(
    reference: RunRef,
    target: str,
    options: RedriveOptions,
    worker: Worker | None = None,
    *,
    with_others: bool = False,
) -> ReplayReport:
    """Replay an existing run in worker processes, and report.

    Args:
        reference: the run.
        target: `module:factory`.
        options: how to replay it.
        worker: a process that forks for each replay; by default a new process is started.
        with_others: whether to replay the whole session if one agent alone proves nothing because others may
            change what it reads.

    Raises:
        TargetNotFound: the target cannot be imported.
        CancelledError: `options.stop` was set.
    """

    def replayed(agent_id: str | None) -> ReplayOutcome:
        return Attempts(reference._replace(agent_id=agent_id), target, options, worker).outcome()

    agent_id = reference.agent_id
    outcome = replayed(agent_id)
    if agent_id is None and options.agents is None:
        outcome, agent_id = _without_unknown_order(outcome, replayed)
    elif (
        with_others
        and len(open_reader(reference.session).agents()) > 1
        and (_may_be_caused_by_others(outcome) or _reads_program_state(outcome, reference.session))
    ):
        whole = replayed(None)
        verdict, divergence = judge(whole)[0], whole.divergence
        if verdict is Verdict.DIVERGED and divergence is not None and divergence.agent_id != agent_id:
            outcome.remark(f"the whole session differs first at another agent: {divergence.step_text}")
        elif verdict in GREEN or (verdict is Verdict.DIVERGED and outcome.needs_others):
            outcome = whole
            outcome.remark(
                f"{agent_id} alone proves nothing, since others may change what it reads: the whole session "
                "was replayed"
            )
            agent_id = None
        elif verdict is Verdict.UNVERIFIED and whole.has_unknown_order and _is_unchanged(outcome):
            outcome.doubts.append(
                f"no code changed, and in the whole session others acted at the same time as {agent_id}, in "
                "an order that a replay does not impose"
            )
    is_whole = reference.agent_id is None or with_others
    if options.program and is_whole and _may_ask_program(outcome, options):
        outcome, agent_id = _joined_with_program(outcome, agent_id, reference.session, target, options)
    return _report(reference, target, outcome, agent_id)


def _without_unknown_order(
    outcome: ReplayOutcome, replayed: Callable[[str | None], ReplayOutcome]
) -> tuple[ReplayOutcome, str | None]:
    """Replay agents alone where their order is unknown; return what counts, and its agent, None for all."""
    divergence = outcome.divergence
    if outcome.beside and divergence is not None and judge(outcome)[0] is Verdict.DIVERGED:
        alone = replayed(divergence.agent_id)
        if judge(alone)[0] in GREEN:
            outcome.has_unknown_order = True
            outcome.doubts.append(
                f"{divergence.agent_id} alone matches the recording: untraced code that runs while actions "
                "wait may cause the difference"
            )
    may_differ = outcome.divergence is not None or outcome.changed_code
    if not (outcome.has_unknown_order and may_differ and judge(outcome)[0] is Verdict.UNVERIFIED):
        return outcome, None
    outcome = _one_by_one(outcome, replayed)
    return outcome, outcome.agents[0] if judge(outcome)[0] is Verdict.DIVERGED else None


def _report(reference: RunRef, target: str, outcome: ReplayOutcome, agent_id: str | None) -> ReplayReport:
    """Build the report, and store it in the session."""
    session = reference.session
    if outcome.divergence is not None:
        outcome.divergence, *outcome.further = locate([outcome.divergence, *outcome.further], session)
    path = make_replay_directory(session)
    report = ReplayReport(reference.name, target, outcome, session, agent_id, path, *outcome.printed)
    why = "the session cannot be written"
    if report.path is not None:
        why = keep_json(report.path / "report.json", report.to_dict())
    if why:
        outcome.remarks.append(f"the report could not be stored: {why}")
    return report


def _may_be_caused_by_others(outcome: ReplayOutcome) -> bool:
    """Whether the outcome of one agent alone may be due only to the other agents not running."""
    verdict = judge(outcome)[0]
    if verdict is not Verdict.DIVERGED:
        return verdict is Verdict.UNVERIFIED and outcome.counts.driven > 0
    is_shared = any(SHARED in each for each in outcome.references)
    return outcome.needs_others or is_shared or _is_unchanged(outcome)


def _may_ask_program(outcome: ReplayOutcome, options: RedriveOptions) -> bool:
    """Whether a run of the whole program may prove more than calls of its actions."""
    # The program itself may seed these generators, which `program_run.py` checks by their final states.
    reads = [read for read in outcome.sources if not (read.is_of_library or read.source in _SEEDED)]
    if not _is_plain(options) or reads or outcome.unseen_fields or outcome.scope != "whole":
        return False
    if outcome.set_by_factory:
        return False  # the program may not set these attributes
    if judge(outcome)[0] is Verdict.DIVERGED:
        # What surrounds a call in the program, such as another decorator, is missing in a replay of it.
        return True
    if judge(outcome)[0] in GREEN:
        # Replaying recorded calls cannot show that a changed scheduler would make other calls, or that
        # objects that are compared by name changed.
        return outcome.is_changed
    return outcome.counts.driven > 0 or outcome.is_waiting


def _is_plain(options: RedriveOptions) -> bool:
    """Whether no option allows or adds differences, which a run of the whole program does not support."""
    return options.normaliser in {None, Normaliser()} and not options.ignore and not options.strict_factory


def _one_by_one(outcome: ReplayOutcome, replay: Callable[[str], ReplayOutcome]) -> ReplayOutcome:
    """Replay each agent alone; return the outcome of the whole if that proves nothing further.

    An unknown order of concurrent agents does not matter to an agent that runs alone, since the others' calls
    get recorded responses. The earliest difference counts. If each agent alone matches the recording, so do
    all. Of more than _MOST_ALONE agents, only the differing one and those with changed code are tried.
    """
    first = [] if outcome.divergence is None else [outcome.divergence.agent_id]
    changed = [name.rpartition(".")[0] for name in outcome.changed_code]
    is_each = len(outcome.agents) <= _MOST_ALONE
    tried = outcome.agents if is_each else list(dict.fromkeys((*first, *changed)))[:_MOST_ALONE]
    alone = [replay(agent_id) for agent_id in tried]
    note = f"{len(outcome.agents)} agents acted at the same time, in an order that a replay does not impose: "
    differing = [each for each in alone if judge(each)[0] is Verdict.DIVERGED]
    # Without changed code, what others did at the same time may be why one differs.
    by_code = [each for each in differing if not _is_unchanged(each)]
    if by_code:
        earliest = min(by_code, key=lambda each: _place_of(each.divergence))
        earliest.remark(f"{note}agents were replayed alone, and this is the earliest difference")
        return earliest
    if not is_each or any(judge(each)[0] not in GREEN for each in alone):
        return outcome
    merged = joined_outcomes(alone)
    merged.agents, merged.answered, merged.printed = outcome.agents, outcome.answered, outcome.printed
    merged.remark(f"{note}each was replayed alone")
    return merged


def _place_of(divergence: Divergence | None) -> int:
    """Return a difference's place in the recording: its event's number, which counts within a process."""
    number = "" if divergence is None else divergence.event_id.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0 if divergence is None else divergence.step


def make_replay_directory(session: Path, run_id: str = ROOT_RUN) -> Path | None:
    """Create a directory for this replay under the run; None if that fails."""
    replay_id = f"{session_id_for(time.time_ns() // 1000)}-{secrets.token_hex(4)}"
    path = run_dir(session, run_id) / "replays" / replay_id
    try:
        for directory in (*reversed(path.parents[:3]), path):
            make_private(directory, exist_ok=directory is not path)
    except OSError:
        return None  # `_report` adds a remark to the report
    return path


def keep_json(path: Path, value: object) -> str:
    """Write a JSON file with permissions for its owner only; return the error text, "" on success."""
    try:
        data = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str)
        replace_file(path, data)
    except OSError as error:
        return f"{error.strerror} ({path})"
    return ""


# Which verdict counts where a replay called the recorded actions, and then ran the whole program again.


def _joined_with_program(
    outcome: ReplayOutcome, agent_id: str | None, session: Path, target: str, options: RedriveOptions
) -> tuple[ReplayOutcome, str | None]:
    """Run the program again; return the outcome that counts, and its agent; None for all."""
    from Agent.replay.program_run import judged_by_program

    first, is_outside = outcome.divergence, _may_be_caused_from_outside(outcome)
    reads_state = _reads_program_state(outcome, session)
    is_open = is_outside or reads_state or not outcome.changed_code
    rerun = judged_by_program(
        outcome,
        session,
        target,
        options.timeout_seconds,
        options.stop,
        ends_at_difference=judge(outcome)[0] is Verdict.DIVERGED and not is_open,
    )
    if rerun is None:
        return outcome, agent_id
    rerun.printed, differs = outcome.printed, rerun.divergence
    if first is not None and differs is not None:
        counts = is_outside
        if reads_state:
            is_same = (first.step, first.replayed) == (differs.step, differs.replayed)
            counts = not is_same and not agree_by_form(first.recorded, first.replayed)
        if not counts:
            return outcome, agent_id  # both show a difference, and the calls show where for this agent
    # Calls get recorded ids and times, so that they show what changed code makes of these.
    is_by_form = any(remark.endswith((MADE_BY_LIBRARIES, MADE_BY_RUNS)) for remark in rerun.remarks)
    is_hidden = is_by_form and outcome.is_changed and judge(outcome)[0] is Verdict.DIVERGED
    if first is not None and differs is None and is_hidden:
        if not agree_by_form(first.recorded, first.replayed):
            outcome.doubts.append(f"{rerun.remarks[-1]}, but for ids and times, which other code may make")
        return outcome, agent_id
    if differs is not None and agent_id not in {None, differs.agent_id, differs.inner_agent_id}:
        outcome.remark(f"the program as a whole differs first at another agent: {differs.step_text}")
    elif differs is not None or is_outside or reads_state:
        if options.keep_going and differs is not None:
            rerun.remark(
                "--keep-going looks for further differences where calls are replayed one by one; of a run of "
                "the whole program only the first one counts, since later ones may follow from it"
            )
        return rerun, None
    elif first is None:
        for name in ("remarks", "reasons", "normalisers"):
            texts = getattr(outcome, name)
            texts += [each for each in getattr(rerun, name) if each not in texts]
    elif outcome.may_be_of_target:
        outcome.remark(f"{rerun.remarks[-1]}: the target builds other objects than the program")
    else:
        return rerun, None
    return outcome, agent_id


def _reads_program_state(outcome: ReplayOutcome, session: Path) -> bool:
    """Whether there is a difference where globals, closures or the like change, maybe by other code."""
    if judge(outcome)[0] is not Verdict.DIVERGED or outcome.may_be_of_target:
        return False
    program_state = program_state_of(open_reader(session).events())
    return program_state is not None and bool(program_state.changed or program_state.unknown)


def _may_be_caused_from_outside(outcome: ReplayOutcome) -> bool:
    """Whether the calls prove nothing, or other code may have changed the agents' state or arguments."""
    is_open = judge(outcome)[0] is Verdict.UNVERIFIED
    is_of_arguments = outcome.divergence is not None and outcome.divergence.field == ARGS_AFTER
    return is_open or is_of_arguments or bool(outcome.imposed or outcome.references or outcome.beside)


def _is_unchanged(outcome: ReplayOutcome) -> bool:
    """Whether the recording shows no changed code that could be the cause of the difference."""
    return outcome.is_same_code and not outcome.changed_modules
