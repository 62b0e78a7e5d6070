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
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, TypeAlias

import orjson

from Agent.archive.sealed.reader import open_reader
from Agent.errors import ReplayError, TargetNotGiven, UsageError
from Agent.event.ids import session_id_for
from Agent.event.kinds import ACTION_KINDS
from Agent.event.model import Event as RecordedEvent
from Agent.event.values.opaque import WRITTEN_OUTSIDE
from Agent.flight.run_reading import RunName, RunRef, find_explicit_run, find_session_run
from Agent.record.emit.installed import flush_active
from Agent.record.sources.sources import UNADOPTED
from Agent.replay.compare.comparison import SOMEWHERE_INSIDE
from Agent.replay.compare.emitted_events import ARGS_AFTER
from Agent.replay.compare.normaliser import (
    MADE_BY_LIBRARIES,
    Normaliser,
    agree_by_form,
    form_of,
    ignored_names,
)
from Agent.replay.compare.outcome import (
    Divergence,
    ReplayOutcome,
    ReplayReport,
    Verdict,
    joined_outcomes,
    judge,
    locate,
)
from Agent.replay.compare.program_state import program_state_of
from Agent.replay.drive.states import SHARED
from Agent.replay.plan.recording import check_agent, session_info
from Agent.replay.plan.target import Target, target_name
from Agent.replay.program_run import judged_by_program, replay_program
from Agent.replay.worker.fork_server import Worker
from Agent.replay.worker.jobs import Job, launches_anew, run_job, run_job_in_terminal
from Agent.tree.files.session import replace_file
from Agent.tree.layout import make_private, run_dir

ROOT_RUN = "root"
_HASH_SEEDS = 2
"""The number of other hash seeds under which a difference without changed code must recur: half of all seeds
give two members of a set the same order."""
_MORE_HASH_SEEDS = 5
"""The same number if the code has lines whose value varies between processes."""
_THREADS = "threads, "
"""The prefix of the text in `ReplayOutcome.unsteady` that names the places where threads were started."""
_STATE = "state."
_SAME_ORDERS = 3
"""How many replays must end at the same difference if the order of threads may vary."""
_MOST_ORDERS = 6
_SEEDED = {"random", "numpy.random", UNADOPTED}
"""Sources that a program may have seeded."""
_MOST_ALONE = 12
"""How many agents are replayed alone if their order is unknown."""
_CLOCK_SHIFTS_S = (40 * 86_400 + 5 * 3_600 + 61, 3 * 365 * 86_400 + 3_599)
"""How far ahead the clocks of libraries are in further replays: a different hour, day, month and year."""
_GREEN = {Verdict.IDENTICAL, Verdict.EQUIVALENT}
_OnceMore: TypeAlias = Callable[[str], ReplayOutcome]
"""Replays once more, with the argument `turns` as in `Driver`."""
_PASSED_ON = ("network", "asked_for", "strict_factory", "no_writes", "keep_going")
"""The options that a request has under the same names."""
_REPLAY = Job("replay", "Agent.replay.worker.workbench:replay")


@dataclass(frozen=True, slots=True)
class RedriveOptions:
    """Options of a replay, besides the run and the target."""

    timeout_seconds: float | None = None
    normaliser: Normaliser | None = None
    network: bool = False
    agents: Collection[str] | None = None
    """The agents to replay among the target's objects; other agents' calls get recorded responses."""
    asked_for: str | None = None
    """With `agents`: the agent id that is passed to the target, the same as for the whole run."""
    stop: Event | None = None
    """Another thread sets it to end the worker process."""
    ignore: Collection[str] = ()
    """Fields that are not compared: `field`, `agent.field`, or patterns of them."""
    strict_factory: bool = False
    """Treat a first state that the target built differently as a difference."""
    no_writes: bool = False
    """Refuse to open existing files for writing."""
    keep_going: int = 0
    """How many differences to look for after the first one."""
    program: bool = False
    """Run the whole recorded program again if calling its actions one by one proves nothing."""


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
        replayed = reference._replace(agent_id=report.agent_id)
        run_job_in_terminal(_REPLAY, {**_request(replayed, name, options), "pdb": report.divergence.step})
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
    outcome = _checked(reference, target, options, worker)
    agent_id = reference.agent_id
    is_of_many = agent_id is None and options.agents is None
    divergence = outcome.divergence
    if is_of_many and outcome.beside and divergence is not None and judge(outcome)[0] is Verdict.DIVERGED:
        alone = _checked(reference._replace(agent_id=divergence.agent_id), target, options, worker)
        if judge(alone)[0] in _GREEN:
            outcome.has_unknown_order = True
            outcome.doubts.append(
                f"{divergence.agent_id} alone matches the recording: untraced code that runs while actions "
                "wait may cause the difference"
            )
    may_differ = outcome.divergence is not None or outcome.changed_code
    if is_of_many and outcome.has_unknown_order and may_differ and judge(outcome)[0] is Verdict.UNVERIFIED:
        outcome = _one_by_one(
            outcome,
            lambda agent_id: _checked(reference._replace(agent_id=agent_id), target, options, worker),
        )
        agent_id = outcome.agents[0] if judge(outcome)[0] is Verdict.DIVERGED else None
    elif (
        with_others
        and len(open_reader(reference.session).agents()) > 1
        and (_may_be_caused_by_others(outcome) or _reads_program_state(outcome, reference.session))
    ):
        whole = _checked(reference._replace(agent_id=None), target, options, worker)
        verdict, divergence = judge(whole)[0], whole.divergence
        if verdict is Verdict.DIVERGED and divergence is not None and divergence.agent_id != agent_id:
            outcome.remark(f"the whole session differs first at another agent: {divergence.step_text}")
        elif verdict in _GREEN or (verdict is Verdict.DIVERGED and outcome.needs_others):
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
        rerun = judged_by_program(
            outcome,
            reference.session,
            target,
            options.timeout_seconds,
            options.stop,
            ends_at_difference=not _needs_program(outcome, reference.session),
        )
        if rerun is not None:
            rerun.printed = outcome.printed
            outcome, agent_id = _joined_with_program(
                outcome, rerun, agent_id, reference.session, keeps_going=bool(options.keep_going)
            )
    return _report(reference, target, outcome, agent_id)


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
    if judge(outcome)[0] in _GREEN:
        # Replaying recorded calls cannot show that a changed scheduler would make other calls, or that
        # objects that are compared by name changed.
        return bool(outcome.changed_code or outcome.changed_modules)
    return outcome.counts.driven > 0 or outcome.is_waiting


def _needs_program(outcome: ReplayOutcome, session: Path) -> bool:
    """Whether a difference that a run of the whole program shows may count, too."""
    if judge(outcome)[0] is not Verdict.DIVERGED:
        return True
    is_open = _may_be_caused_from_outside(outcome) or not outcome.changed_code
    return is_open or _reads_program_state(outcome, session)


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
    if not is_each or any(judge(each)[0] not in _GREEN for each in alone):
        return outcome
    merged = joined_outcomes(alone)
    merged.agents, merged.answered, merged.printed = outcome.agents, outcome.answered, outcome.printed
    merged.remark(f"{note}each was replayed alone")
    return merged


def _place_of(divergence: Divergence | None) -> int:
    """Return a difference's place in the recording: its event's number, which counts within a process."""
    number = "" if divergence is None else divergence.event_id.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0 if divergence is None else divergence.step


def _checked(reference: RunRef, target: str, options: RedriveOptions, worker: Worker | None) -> ReplayOutcome:
    """Replay, and repeat the replay if a difference or its absence may be random."""
    outcome = _in_child(reference, target, options, worker)
    is_written = any(WRITTEN_OUTSIDE in name for name in outcome.references)
    reads_others = is_written or reference.agent_id is not None or bool(outcome.answered)

    def once_more(turns: str, **more: Any) -> ReplayOutcome:
        return _in_child(reference, target, options, worker, turns=turns, **more)

    if outcome.beside and (outcome.divergence is not None or outcome.is_waiting):
        outcome = _in_other_turns(outcome, once_more, is_whole=reference.agent_id is None)
    is_changed = outcome.changed_code or outcome.changed_modules
    if outcome.has_held and is_changed and judge(outcome)[0] in _GREEN:
        free = once_more("free")  # actions continue after an `await` as soon as they can
        if judge(free)[0] is Verdict.DIVERGED and free.divergence is not None:
            outcome.reason(
                "code changed, and after each await actions continued in the recorded order; without that "
                f"order, this differs: {free.divergence.step_text}. Changed delays or a busy machine can "
                "cause it"
            )
    # Without changed code, the order of a set may be the cause. Forks of one process share a hash seed, so
    # only a new process can show that.
    looks_at_hashes = outcome.is_same_code and launches_anew()
    has_threads = any(each.startswith(_THREADS) for each in outcome.unsteady)
    may_agree = has_threads and outcome.is_same_code
    may_change = reads_others or outcome.unsteady or outcome.is_same_code
    # Reads by libraries alone are examined last, since they may not affect the result.
    bare = _without_libraries(outcome) if all(read.is_of_library for read in outcome.sources) else outcome
    if may_agree or (may_change and judge(bare)[0] is Verdict.DIVERGED):
        # Watching every field that is read is slow, and without a difference it cannot change the verdict.
        if looks_at_hashes:
            worker = None
        again = once_more("", look_at_fields=reads_others or outcome.is_same_code)
        outcome.doubts += [doubt for doubt in again.doubts if doubt not in outcome.doubts]
        outcome.needs_others = outcome.needs_others or again.needs_others
        if has_threads:
            doubts = outcome.doubts
            outcome = _in_other_orders_of_threads([outcome, again], once_more)
            outcome.doubts += [doubt for doubt in doubts if doubt not in outcome.doubts]
            if outcome.is_same_code and judge(outcome)[0] is Verdict.DIVERGED:
                options = _without_order(options, outcome.divergence)
                outcome = _beyond_order(outcome, once_more)
        else:
            _check_is_steady(outcome, again, once_more, looks_at_hashes=looks_at_hashes)
    left_out: list[str] = []
    while (name := _field_varied_by_libraries(outcome, once_more)) and name not in left_out:
        left_out.append(name)
        options = replace(options, ignore=(*options.ignore, name))
        outcome = once_more("")
    if left_out:
        names = {each for each in outcome.ignored if each.rpartition(".")[2] in left_out}
        outcome.ignored = [each for each in outcome.ignored if each not in names]
        outcome.left_out = sorted(names)
        _report_left_out(outcome, ", ".join(left_out))
    _check_library_reads(outcome, once_more)
    return outcome


def _check_is_steady(
    outcome: ReplayOutcome, again: ReplayOutcome, once_more: _OnceMore, *, looks_at_hashes: bool
) -> None:
    """Add a doubt if the difference changes between replays.

    Args:
        outcome: the first replay; receives the doubt.
        again: the outcome of the second replay.
        once_more: replays once more.
        looks_at_hashes: whether to replay under one more hash seed.
    """
    seeds = _MORE_HASH_SEEDS if outcome.varying else _HASH_SEEDS
    for _ in range(seeds - 1 if looks_at_hashes else 0):
        if again.divergence != outcome.divergence:
            break
        again = once_more("")
    if again.divergence == outcome.divergence:
        return
    if outcome.unsteady:
        outcome.doubts.append(_changes(outcome))
    elif looks_at_hashes or outcome.is_same_code:
        outcome.doubts.append(
            "the difference varies between processes"
            + (f", maybe because of {', '.join(outcome.varying)}" if outcome.varying else "")
            + ": if the code iterates over a set there, sort it; and store no id of a thread, a process or "
            "an object, nor the time of an event loop" + _leaving_out(outcome.divergence)
        )


def _check_library_reads(outcome: ReplayOutcome, once_more: Callable[..., ReplayOutcome]) -> None:
    """Remove libraries' unrecorded reads from the outcome if nothing compared depends on them.

    A framework creates ids and times for internal use. Further replays, with clocks days and years ahead and
    other draws, must have the same outcome as this one. Reads of the user's own code always count.
    """
    reads, chance = outcome.sources, outcome.chance_of_libraries
    is_alone = bool(reads or chance) and all(read.is_of_library for read in reads)
    without = _without_libraries(outcome)
    if not is_alone or judge(without)[0] is Verdict.UNVERIFIED:
        return
    for shift_s in _CLOCK_SHIFTS_S:
        other = once_more("", clock_shift_s=shift_s)
        bare = _without_libraries(other)
        is_same = (
            _masked_divergence(other) == _masked_divergence(outcome) and judge(bare)[0] is judge(without)[0]
        )
        if not is_same or not all(read.is_of_library for read in other.sources):
            return
    outcome.sources, outcome.doubts = [], without.doubts
    places = ", ".join(f"{read.source} by {read.function} ({read.file}:{read.line})" for read in reads[:2])
    more = f" and {len(reads) - 2} more" if len(reads) > 2 else ""
    outcome.remark(
        (f"installed libraries read {places}{more}, which is not recorded; " if reads else f"{chance}; ")
        + f"{len(_CLOCK_SHIFTS_S)} more replays with other times and draws had the same result"
    )


def _without_libraries(outcome: ReplayOutcome) -> ReplayOutcome:
    """Return the outcome without what installed libraries read, and drew while the target built objects."""
    doubts = [doubt for doubt in outcome.doubts if doubt != outcome.chance_of_libraries]
    return replace(outcome, sources=[], doubts=doubts)


def _field_varied_by_libraries(outcome: ReplayOutcome, once_more: Callable[..., ReplayOutcome]) -> str | None:
    """Return the field, recorded only as a digest, that differs because of libraries' unrecorded reads.

    That is the case if the digest changes again under another clock; else None.
    """
    divergence, reads = outcome.divergence, outcome.sources
    is_alone = bool(reads) and all(read.is_of_library for read in reads)
    if not is_alone or divergence is None or not _is_digest_of_field(divergence):
        return None
    other = once_more("", clock_shift_s=_CLOCK_SHIFTS_S[0]).divergence
    if other is None or (other.event_id, other.field) != (divergence.event_id, divergence.field):
        return None
    return divergence.field.removeprefix(_STATE) if other.replayed != divergence.replayed else None


def _report_left_out(outcome: ReplayOutcome, names: str) -> None:
    """Report fields that are not compared: as a reason if changed code may affect them, else as a remark."""
    note = (
        f"{names}: not compared: only its digest is recorded, and that includes times and random values that "
        "installed libraries read, which are not recorded"
    )
    if outcome.changed_code and outcome.divergence is None:
        outcome.reason(f"{note}; code changed: if what it changes there does not matter: --ignore {names}")
    else:
        outcome.remark(note)


def _is_digest_of_field(divergence: Divergence) -> bool:
    return str(divergence.replayed).endswith(SOMEWHERE_INSIDE) and divergence.field.startswith(_STATE)


def _masked_divergence(outcome: ReplayOutcome) -> Divergence | None:
    """Return the difference with ids and times masked, since those of libraries vary between replays."""
    first = outcome.divergence
    return None if first is None else replace(first, replayed=form_of(first.replayed))


def _changes(outcome: ReplayOutcome) -> str:
    """Return the doubt about a difference that may vary between replays."""
    return (
        "the difference may vary between replays, because of: "
        + "; ".join([*outcome.unsteady[:3], *outcome.varying])
        + _leaving_out(outcome.divergence)
    )


def _in_other_orders_of_threads(tries: list[ReplayOutcome], once_more: _OnceMore) -> ReplayOutcome:
    """Replay until the outcome of actions that start threads is clear, since their order varies.

    Without changed code, an order in which nothing differs is as good as the recorded one. Otherwise the
    replay that agrees with the most steps counts, once `_SAME_ORDERS` replays end at its difference; replays
    that ended earlier merely had a different order there. After `_MOST_ORDERS` replays a doubt is added.

    Args:
        tries: the first two replays.
        once_more: replays once more.
    """
    first = tries[0]
    while True:
        last = tries[-1]
        if first.is_same_code and judge(last)[0] in _GREEN:
            last.remark(
                f"its threads run in a different order each time: replay {len(tries)} agrees with the "
                f"recording, the first one did not, {first.divergence}"
            )
            return last
        best = max(tries, key=_agreed_steps)
        furthest = [each.divergence for each in tries if _agreed_steps(each) == _agreed_steps(best)]
        is_one = furthest.count(best.divergence) == len(furthest)
        if is_one and len(furthest) == _SAME_ORDERS:
            return best
        is_open = last.divergence is not None and (is_one or first.is_same_code)
        if not is_open or len(tries) == _MOST_ORDERS:
            best.doubts.append(_changes(best))
            return best
        tries.append(once_more(""))


def _without_order(options: RedriveOptions, divergence: Divergence | None) -> RedriveOptions:
    """Return options that ignore order, so that only other differences between threads remain.

    A digest cannot be compared without regard to order, so a field that is recorded only as one is ignored.
    """
    normaliser = replace(options.normaliser or Normaliser(), order=True)
    if divergence is None or not _is_digest_of_field(divergence):
        return replace(options, normaliser=normaliser)
    name = divergence.field.removeprefix(_STATE)
    return replace(options, normaliser=normaliser, ignore=(*options.ignore, name))


def _beyond_order(attempt: ReplayOutcome, once_more: _OnceMore) -> ReplayOutcome:
    """Check whether a difference with threads is more than a rare order in the recording.

    A difference that occurs twice without regard to order counts; else a doubt is added.

    Args:
        attempt: the replay whose difference recurred.
        once_more: replays without regard to order.
    """
    seen = [attempt]
    for _ in range(_SAME_ORDERS):
        other = once_more("")
        if judge(other)[0] is not Verdict.DIVERGED:
            break
        same = next((each for each in seen if each.divergence == other.divergence), None)
        if same is not None:
            return same
        seen.append(other)
    attempt.doubts.append(_changes(attempt))
    return attempt


def _leaving_out(divergence: Divergence | None) -> str:
    """Return the hint to ignore a field that varies between replays; "" for other differences."""
    if divergence is None or not divergence.field.startswith(_STATE):
        return ""
    return f"; if the field does not matter: --ignore {divergence.field.removeprefix(_STATE)}"


def _in_other_turns(first: ReplayOutcome, once_more: _OnceMore, *, is_whole: bool) -> ReplayOutcome:
    """Replay concurrent actions in other orders, and return the outcome that counts.

    The recording does not show exactly which of them began first. An order in which nothing differs is as
    good as the recorded one. A difference counts if running the actions one after the other gives the same
    one. With changed code and all agents, it also counts if that run differs earlier or never ends, or if the
    recording has the turns. Otherwise a doubt is added.

    Args:
        first: the first replay.
        once_more: replays in another order.
        is_whole: whether all agents are replayed; the turns of one alone may depend on the others.
    """
    has_paused = first.has_paused
    for turns in ("prompt", "loose", "sequential"):
        if turns == "prompt" and not has_paused:
            continue
        other = once_more(turns)
        if judge(other)[0] in _GREEN:
            return other
        has_paused = has_paused or other.has_paused
        if turns == "prompt" and _agreed_steps(other) > _agreed_steps(first):
            first = other
    divergence, later = first.divergence, other.divergence
    is_shorter = later is not None and divergence is not None and later.step < divergence.step
    is_changed = first.changed_code or first.changed_modules
    counts = is_shorter or other.is_waiting or not first.has_unknown_turns
    if divergence is not None and later != divergence and not (is_whole and is_changed and counts):
        first.has_unknown_order = first.needs_others = True
        remedy = "replay each agent alone" if len(first.agents) > 1 else "await one action before the next"
        first.doubts.append(
            f"steps ran at the same time, as step {first.beside} did, and in another order the difference "
            f"changes: {remedy}"
        )
    return first


def _agreed_steps(outcome: ReplayOutcome) -> int:
    """Return how many steps agreed before the difference; 0 if nothing differs."""
    return 0 if outcome.divergence is None else outcome.divergence.step - 1


def _in_child(
    reference: RunRef, target: str, options: RedriveOptions, worker: Worker | None, **more: Any
) -> ReplayOutcome:
    """Replay in a worker process; `more` is added to the request."""
    request = _request(reference, target, options) | more
    run = None if worker is None else worker.run
    result = run_job(_REPLAY, request, options.timeout_seconds, options.stop, run)
    if result.answer is not None:
        outcome = ReplayOutcome.from_object(result.answer)
    else:
        outcome = ReplayOutcome(agents=[] if reference.agent_id is None else [reference.agent_id])
        outcome.reason(result.failure)
    outcome.printed = result.stdout, result.stderr
    return outcome


def _request(reference: RunRef, target: str, options: RedriveOptions) -> dict[str, Any]:
    """Build the request for the worker process."""
    return {
        "session": str(reference.session.absolute()),
        "agent_id": reference.agent_id,
        "target": target,
        "normalise": options.normaliser.to_object() if options.normaliser is not None else {},
        "agents": None if options.agents is None else sorted(options.agents),
        "ignore": list(options.ignore),
        **{name: getattr(options, name) for name in _PASSED_ON},
    }


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
    outcome: ReplayOutcome, rerun: ReplayOutcome, agent_id: str | None, session: Path, *, keeps_going: bool
) -> tuple[ReplayOutcome, str | None]:
    """Return the outcome that counts, of the calls or the program (`rerun`), and its agent; None for all."""
    first, differs = outcome.divergence, rerun.divergence
    reads_state = _reads_program_state(outcome, session)
    is_outside = _may_be_caused_from_outside(outcome)
    if first is not None and differs is not None:
        is_open = is_outside or _is_unchanged(outcome)
        if reads_state:
            is_same = (first.step, first.replayed) == (differs.step, differs.replayed)
            is_open = not is_same and not agree_by_form(first.recorded, first.replayed)
        if not is_open:
            return outcome, agent_id  # both show a difference, and the calls show where for this agent
    if first is not None and differs is None and _hides_by_form(outcome, rerun):
        if not agree_by_form(first.recorded, first.replayed):
            outcome.doubts.append(f"{rerun.remarks[-1]}, but for ids and times, which other code may make")
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
        outcome.remarks += [each for each in rerun.remarks if each not in outcome.remarks]
        outcome.reasons += [each for each in rerun.reasons if each not in outcome.reasons]
        outcome.normalisers += [each for each in rerun.normalisers if each not in outcome.normalisers]
    elif outcome.may_be_of_target:
        outcome.remark(f"{rerun.remarks[-1]}: the target builds other objects than the program")
    else:
        return rerun, None
    return outcome, agent_id


def _hides_by_form(outcome: ReplayOutcome, rerun: ReplayOutcome) -> bool:
    """Whether code changed where calls differ, and the program's ids and times agree by their form alone.

    Calls get recorded ids and times, so that they show what changed code makes of these.
    """
    return (
        bool(outcome.changed_code or outcome.changed_modules)
        and judge(outcome)[0] is Verdict.DIVERGED
        and any(remark.endswith(MADE_BY_LIBRARIES) for remark in rerun.remarks)
    )


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
