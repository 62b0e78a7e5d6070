"""`replay_run`: finds the run and its target, starts the child process that replays it, and reports.

The child runs under another hash seed, with the caller's directory and import path, and without network
access.
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
from Agent.errors import ReplayError, UsageError
from Agent.event.ids import session_id_for
from Agent.event.model import Event as RecordedEvent
from Agent.event.values.opaque import WRITTEN_OUTSIDE
from Agent.record.emit.installed import flush_active
from Agent.record.sources.sources import UNADOPTED
from Agent.replay.compare.comparison import SOMEWHERE_INSIDE
from Agent.replay.compare.library_values import form_of
from Agent.replay.compare.normaliser import Normaliser
from Agent.replay.compare.outcome import (
    Divergence,
    ReplayOutcome,
    ReplayReport,
    Verdict,
    joined_outcomes,
    judge,
    locate,
)
from Agent.replay.drive.states import SHARED
from Agent.replay.plan.recording import (
    ACTION_KINDS,
    RunRef,
    RunReference,
    check_agent,
    explicit_run,
    find_run,
    session_info,
)
from Agent.replay.plan.target import Target, target_name
from Agent.replay.program_run import judged_by_program
from Agent.replay.worker.fork_server import Worker
from Agent.replay.worker.jobs import Job, launches_anew, run_job, run_job_in_terminal
from Agent.tree.files.session import replace_file
from Agent.tree.layout import DIRECTORY_MODE, run_dir

ROOT_RUN = "root"
_HASH_SEEDS = 2
"""How many other hash seeds a difference without changed code has to come through: two members of a set
stand in the same order under half of all seeds."""
_THREADS = "threads, "
"""What begins the text of `ReplayOutcome.unsteady` that names where threads were begun."""
_STATE = "state."
_SAME_ORDERS = 3
"""How many replays have to end at the same difference where threads may have an order of their own."""
_MOST_ORDERS = 6
_SEEDED = {"random", "numpy.random", UNADOPTED}
"""Sources that a program may have seeded."""
_MOST_ALONE = 12
"""How many agents are replayed alone where their order is unknown."""
_CLOCK_SHIFTS_S = (40 * 86_400 + 5 * 3_600 + 61, 3 * 365 * 86_400 + 3_599)
"""How far ahead the clocks of libraries are in further replays: other days, hours, and years."""
_GREEN = {Verdict.IDENTICAL, Verdict.EQUIVALENT}
_Replayed: TypeAlias = tuple[ReplayOutcome, str, str]
"""What a replay gave, with its two outputs."""
_OnceMore: TypeAlias = Callable[[str], _Replayed]
"""Replays another time, with turns as in `Driver`."""
_REPLAY = Job("replay", "Agent.replay.worker.workbench:replay")


@dataclass(frozen=True, slots=True)
class RedriveOptions:
    """How to replay a run, apart from what and with which code."""

    timeout_seconds: float | None = None
    normaliser: Normaliser | None = None
    network: bool = False
    agents: Collection[str] | None = None
    """Of what the target gives, only these: the others answer from the recording."""
    asked_for: str | None = None
    """With `agents`: the agent that the target is asked for, as it was for the whole of the run."""
    stop: Event | None = None
    """Another thread sets it to end the child process."""
    ignore: Collection[str] = ()
    """Fields that take no part: `field`, `agent.field`, or patterns of them."""
    strict_factory: bool = False
    """A first state that the factory made otherwise than it was recorded is a difference."""
    no_writes: bool = False
    """Refuse to open existing files for writing."""
    keep_going: int = 0
    """How many differences to look for behind the first one."""
    program: bool = False
    """Run the recorded program again as a whole where calls of its actions prove nothing."""


def replay_run(  # noqa: PLR0913 - each is a question of its own
    run: RunRef = "last",
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
        target: `module:factory`, or such a function; default: the one that the session remembers.
        root: the trace root; default: the configured one, then ./trace.
        agent_id: the one agent to replay, if `run` does not name one.
        timeout_seconds: then the child process is killed and the verdict is UNVERIFIED.
        normaliser: differences to allow; if one is used, the verdict is EQUIVALENT at best.
        network: whether replayed code may use the network; if it does, the verdict is EQUIVALENT at best.
        ignore: fields to ignore: `field`, `agent.field`, or patterns of them; the report names them.
        strict_factory: whether a first state that the factory built differently is DIVERGED, not a note.
        no_writes: whether to refuse to open existing files for writing.
        keep_going: how many differences to look for after the first one.
        pdb: whether to replay once more in this terminal, with the debugger at the step that differs.
        program: whether the recorded program may be run again as a whole where calls of its actions prove
            nothing; see `program_run.py`.

    Raises:
        SessionNotFound, AgentNotFound: the run does not exist.
        ReplayError: it has no action that can be replayed.
        TargetNotGiven: no target was given, and the session remembers none.
        TargetNotFound: the target cannot be imported.
        UsageError: the target is not an importable name, or there is no terminal for the debugger.
    """
    flush_active()
    if pdb and not sys.stdin.isatty():
        raise UsageError("the debugger needs a terminal", remedy="leave out --pdb, or run it in a terminal")
    _check_is_driven(run, root)
    reference = find_run(run, root, agent_id)
    reader = open_reader(reference.session)
    if reference.agent_id is not None:
        check_agent(reader, reference.agent_id)
    check_holds_actions(reference, reader.events(reference.agent_id))
    name = target_name(target, session_info(reference.session), reference.agent_id)
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
    report = drive_again(reference, name, options, with_others=reference.agent_id is not None)
    if pdb and report.divergence is not None:
        replayed = reference._replace(agent_id=report.agent_id)
        run_job_in_terminal(_REPLAY, {**_request(replayed, name, options), "pdb": report.divergence.step})
    return report


def ignored_names(ignore: Collection[str]) -> tuple[str, ...]:
    """The patterns of fields to ignore, each once.

    Raises:
        UsageError: it is one text, or a pattern is empty.
    """
    if isinstance(ignore, str) or not all(isinstance(each, str) and each for each in ignore):
        raise UsageError(f"ignore is {ignore!r}", remedy='give a list of names of fields, such as ["cache"]')
    return tuple(dict.fromkeys(ignore))


def _check_is_driven(run: RunRef, root: str | os.PathLike[str] | None) -> None:
    found = explicit_run(run, root)
    if found is not None:
        session_id = found.session.name.removeprefix("session_")
        raise ReplayError(
            f"{found.run_id} is a run of the recorder; only traced actions of a session are replayed",
            path=found.session,
            remedy=f"agent-trace replay {session_id} replays all that it holds; agent-trace play "
            f"{found.run_id} shows the run's steps, and ReplayExecutor goes on from its checkpoints",
        )


def check_holds_actions(reference: RunReference, events: Iterable[RecordedEvent]) -> None:
    """Raise ReplayError, with alternatives, if there is nothing to replay among the events of the run."""
    if not any(event.kind in ACTION_KINDS for event in events):
        raise ReplayError(
            "no action is recorded here, so there is nothing to replay",
            path=reference.session,
            remedy="trace methods with @trace_agent_action or instrument(); agent-trace play "
            f"{reference.name} shows what there is, and ReplayExecutor goes on from a run's checkpoints",
        )


def drive_again(
    reference: RunReference,
    target: str,
    options: RedriveOptions,
    worker: Worker | None = None,
    *,
    with_others: bool = False,
) -> ReplayReport:
    """Replay an existing run in a child process, and report.

    Args:
        worker: forks for it; without one a new process is started.
        with_others: replay the whole session where one agent alone proves nothing, since it reads what
            others change.

    Raises:
        TargetNotFound: the target cannot be imported.
        CancelledError: `options.stop` was set.
    """
    outcome, stdout, stderr = _checked(reference, target, options, worker)
    agent_id = reference.agent_id
    is_of_many = agent_id is None and options.agents is None
    found = outcome.divergence
    if is_of_many and outcome.beside and found is not None and judge(outcome)[0] is Verdict.DIVERGED:
        alone = _checked(reference._replace(agent_id=found.agent_id), target, options, worker)[0]
        if judge(alone)[0] in _GREEN:
            outcome.has_unknown_order = True
            outcome.doubts.append(
                f"{found.agent_id} alone does what it did: what untraced code does while actions wait may "
                "be what differs"
            )
    may_differ = outcome.divergence is not None or outcome.changed_code
    if is_of_many and outcome.has_unknown_order and may_differ and judge(outcome)[0] is Verdict.UNVERIFIED:
        outcome, stdout, stderr = _one_by_one(
            (outcome, stdout, stderr),
            lambda agent_id: _checked(reference._replace(agent_id=agent_id), target, options, worker),
        )
        agent_id = outcome.agents[0] if judge(outcome)[0] is Verdict.DIVERGED else None
    elif with_others and _may_come_of_others(outcome) and len(open_reader(reference.session).agents()) > 1:
        whole = _checked(reference._replace(agent_id=None), target, options, worker)
        verdict, found = judge(whole[0])[0], whole[0].divergence
        if verdict is Verdict.DIVERGED and found is not None and found.agent_id != agent_id:
            outcome.remark(f"the whole session differs first at another agent: {found.step_text}")
        elif verdict in _GREEN or (verdict is Verdict.DIVERGED and outcome.needs_others):
            outcome, stdout, stderr = whole
            outcome.remark(
                f"{agent_id} alone proves nothing, since others may change what it reads: the whole session "
                "was replayed"
            )
            agent_id = None
        elif verdict is Verdict.UNVERIFIED and whole[0].has_unknown_order and _is_unchanged(outcome):
            outcome.doubts.append(
                f"no code changed, and in the whole session others acted at the same time as {agent_id}, in "
                "an order that a replay does not impose"
            )
    is_whole = reference.agent_id is None or with_others
    if options.program and is_whole and _may_come_of_program(outcome, options):
        told = judged_by_program(outcome, reference.session, target, options.timeout_seconds, options.stop)
        differs = None if told is None else told.divergence
        if differs is not None and agent_id not in {None, differs.agent_id}:
            outcome.remark(f"the program as a whole differs first at another agent: {differs.step_text}")
        elif told is not None and (differs is not None or _may_come_of_outside(outcome)):
            outcome, agent_id = told, None
        elif told is not None:
            outcome.remark(
                f"{told.remarks[-1]}: what the target gives is not what the program makes, or differs in "
                "what a replay does not restore"
            )
    if outcome.divergence is not None:
        outcome.divergence, *outcome.further = locate(
            [outcome.divergence, *outcome.further], reference.session
        )
    report = ReplayReport(
        run=reference.name,
        target=target,
        outcome=outcome,
        session=reference.session,
        agent_id=agent_id,
        path=make_replay_directory(reference.session),
        stdout=stdout,
        stderr=stderr,
    )
    _keep(report)
    return report


def _may_come_of_others(outcome: ReplayOutcome) -> bool:
    """Whether what comes of one agent alone may be nothing but that the others did not run."""
    verdict = judge(outcome)[0]
    if verdict is not Verdict.DIVERGED:
        return verdict is Verdict.UNVERIFIED and outcome.counts.driven > 0
    is_shared = any(SHARED in each for each in outcome.references)
    return outcome.needs_others or is_shared or _is_unchanged(outcome)


def _may_come_of_program(outcome: ReplayOutcome, options: RedriveOptions) -> bool:
    """Whether a run of the whole program may tell what calls of its actions do not."""
    is_plain = (
        options.normaliser in {None, Normaliser()} and not options.ignore and not options.strict_factory
    )
    # A program may seed what its agents draw from; how it ended tells.
    reads = [read for read in outcome.sources if not (read.is_of_library or read.source in _SEEDED)]
    if not is_plain or reads or outcome.unseen_fields or outcome.scope != "whole":
        return False
    if outcome.set_by_factory:
        return False  # which the program may not do
    if judge(outcome)[0] is Verdict.DIVERGED:
        return _may_come_of_outside(outcome) or _is_unchanged(outcome)
    return judge(outcome)[0] is Verdict.UNVERIFIED and (outcome.counts.driven > 0 or outcome.is_waiting)


def _may_come_of_outside(outcome: ReplayOutcome) -> bool:
    """Whether nothing is proved, or untraced code wrote to what the agents hold, or ran beside them."""
    is_open = judge(outcome)[0] is Verdict.UNVERIFIED
    return is_open or bool(outcome.imposed or outcome.references or outcome.beside)


def _is_unchanged(outcome: ReplayOutcome) -> bool:
    """Whether a difference cannot come of the program's code, as far as the recording tells."""
    return outcome.is_same_code and not outcome.changed_modules


def _one_by_one(whole: _Replayed, replay: Callable[[str], _Replayed]) -> _Replayed:
    """What comes of agents that are each replayed alone; the whole where that proves no more.

    Where the order in which agents acted together is unknown, it does not matter to one whose others answer
    from the recording. The earliest difference counts. Where each agent does alone what it did, so do all of
    them. Of many agents only the one at which the whole differed and those whose code changed are tried.
    """
    outcome = whole[0]
    first = [] if outcome.divergence is None else [outcome.divergence.agent_id]
    changed = [name.rpartition(".")[0] for name in outcome.changed_code]
    is_each = len(outcome.agents) <= _MOST_ALONE
    tried = outcome.agents if is_each else list(dict.fromkeys((*first, *changed)))[:_MOST_ALONE]
    alone = [replay(agent_id) for agent_id in tried]
    told = f"{len(outcome.agents)} agents acted at the same time, in an order that a replay does not impose: "
    differing = [each for each in alone if judge(each[0])[0] is Verdict.DIVERGED]
    if differing:
        earliest = min(differing, key=lambda each: _place_of(each[0].divergence))
        earliest[0].remark(f"{told}agents were replayed alone, and this is the earliest difference")
        return earliest
    if not is_each or any(judge(each)[0] not in _GREEN for each, *_ in alone):
        return whole
    merged = joined_outcomes([each for each, *_ in alone])
    merged.agents, merged.answered = outcome.agents, outcome.answered
    merged.remark(f"{told}each was replayed alone")
    return merged, *whole[1:]


def _place_of(found: Divergence | None) -> int:
    """Where in the recording a difference is: events of a process are numbered in order."""
    number = "" if found is None else found.event_id.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0 if found is None else found.step


def _checked(
    reference: RunReference, target: str, options: RedriveOptions, worker: Worker | None
) -> _Replayed:
    """Replay, and once more wherever a difference or its absence may have come by chance."""
    outcome, stdout, stderr = _in_child(reference, target, options, worker, {})
    is_written = any(WRITTEN_OUTSIDE in name for name in outcome.references)
    reads_others = is_written or reference.agent_id is not None

    def once_more(turns: str, *, look_at_fields: bool = False, clock_shift_s: int = 0) -> _Replayed:
        more = {"look_at_fields": look_at_fields, "turns": turns, "clock_shift_s": clock_shift_s}
        return _in_child(reference, target, options, worker, more)

    if outcome.beside and (outcome.divergence is not None or outcome.is_waiting):
        is_whole = reference.agent_id is None
        outcome, stdout, stderr = _in_other_turns((outcome, stdout, stderr), once_more, is_whole=is_whole)
    is_changed = outcome.changed_code or outcome.changed_modules
    if outcome.has_held and is_changed and judge(outcome)[0] in _GREEN:
        _check_holds(outcome, once_more("free")[0])
    # Where no code changed, it may be the order of a set; forks of one process have one hash seed.
    looks_at_hashes = outcome.is_same_code and launches_anew()
    has_threads = any(each.startswith(_THREADS) for each in outcome.unsteady)
    may_agree = has_threads and outcome.is_same_code
    may_change = reads_others or outcome.unsteady or outcome.is_same_code
    if may_agree or (may_change and judge(outcome)[0] is Verdict.DIVERGED):
        # To look at every field that is read takes time, and where nothing differs it changes nothing.
        if looks_at_hashes:
            worker = None
        again = once_more("", look_at_fields=reads_others or outcome.is_same_code)
        outcome.doubts += [doubt for doubt in again[0].doubts if doubt not in outcome.doubts]
        outcome.needs_others = outcome.needs_others or again[0].needs_others
        if has_threads:
            doubts, tried = outcome.doubts, ((outcome, stdout, stderr), again)
            outcome, stdout, stderr = _in_other_orders_of_threads(tried, once_more)
            outcome.doubts += [doubt for doubt in doubts if doubt not in outcome.doubts]
            if outcome.is_same_code and judge(outcome)[0] is Verdict.DIVERGED:
                options = _without_order(options, outcome.divergence)
                outcome, stdout, stderr = _beyond_order((outcome, stdout, stderr), once_more)
        else:
            _check_is_steady(outcome, again[0], once_more, looks_at_hashes=looks_at_hashes)
    left_out: list[str] = []
    while (name := _made_by_libraries(outcome, once_more)) and name not in left_out:
        left_out.append(name)
        options = replace(options, ignore=(*options.ignore, name))
        outcome, stdout, stderr = once_more("")
    if left_out:
        _tell_left_out(outcome, ", ".join(left_out))
    _look_at_libraries(outcome, once_more)
    return outcome, stdout, stderr


def _check_holds(outcome: ReplayOutcome, free: ReplayOutcome) -> None:
    """Say that changed code proves nothing by an order that it would not have come to by itself.

    Args:
        free: what came of actions that go on behind an `await` once they can.
    """
    if judge(free)[0] is Verdict.DIVERGED and free.divergence is not None:
        outcome.reason(
            "code changed, and actions went on behind each await in the recorded order; without that, this "
            f"differs: {free.divergence.step_text}. Changed delays do that, or a machine that was busy"
        )


def _check_is_steady(
    outcome: ReplayOutcome, again: ReplayOutcome, once_more: _OnceMore, *, looks_at_hashes: bool
) -> None:
    """Doubt a difference that is another one in another replay.

    Args:
        again: what the second replay gave.
        looks_at_hashes: look under one more hash seed, too.
    """
    for _ in range(_HASH_SEEDS - 1 if looks_at_hashes else 0):
        if again.divergence != outcome.divergence:
            break
        again, *_ = once_more("")
    if again.divergence == outcome.divergence:
        return
    if outcome.unsteady:
        outcome.doubts.append(_changes(outcome))
    elif looks_at_hashes:
        outcome.doubts.append(
            "in another process the difference is another one: sort what the code walks there, if it is "
            "a set, and keep no id of a thread, a process or an object" + _leaving_out(outcome.divergence)
        )


def _look_at_libraries(outcome: ReplayOutcome, once_more: Callable[..., _Replayed]) -> None:
    """Take back that libraries read clocks and chance, where nothing depends on what they read.

    A framework makes ids and times of its own, of which nothing that is compared may come. That is shown:
    with clocks that are years apart and with other draws, replays have to come to the same as this one. What
    the user's own code reads counts in any case.
    """
    reads = outcome.sources
    is_alone = bool(reads) and all(read.is_of_library for read in reads)
    without = replace(outcome, sources=[])
    if not is_alone or judge(without)[0] is Verdict.UNVERIFIED:
        return
    for shift_s in _CLOCK_SHIFTS_S:
        other, *_ = once_more("", clock_shift_s=shift_s)
        bare = replace(other, sources=[])
        is_same = _in_form(other) == _in_form(outcome) and judge(bare)[0] is judge(without)[0]
        if not is_same or not all(read.is_of_library for read in other.sources):
            return
    outcome.sources = []
    places = ", ".join(f"{read.source} by {read.function} ({read.file}:{read.line})" for read in reads[:2])
    more = f" and {len(reads) - 2} more" if len(reads) > 2 else ""
    outcome.remark(
        f"installed libraries read {places}{more}, which is not recorded; "
        f"{len(_CLOCK_SHIFTS_S)} more replays with other times and draws came to the same"
    )


def _made_by_libraries(outcome: ReplayOutcome, once_more: Callable[..., _Replayed]) -> str | None:
    """The field with a digest alone that differs because of what libraries read from clocks and chance.

    Under another clock the digest is another one again.
    """
    found, reads = outcome.divergence, outcome.sources
    is_alone = bool(reads) and all(read.is_of_library for read in reads)
    if not is_alone or found is None or not _is_digest_of_field(found):
        return None
    other = once_more("", clock_shift_s=_CLOCK_SHIFTS_S[0])[0].divergence
    if other is None or (other.event_id, other.field) != (found.event_id, found.field):
        return None
    return found.field.removeprefix(_STATE) if other.replayed != found.replayed else None


def _tell_left_out(outcome: ReplayOutcome, names: str) -> None:
    """Say which fields are not compared; where code changed, nobody knows whether it changed these."""
    told = (
        f"{names}: not compared; there is a digest alone, and what installed libraries read from clocks and "
        "chance is part of it, which is not recorded"
    )
    if outcome.changed_code and outcome.divergence is None:
        outcome.reason(f"{told}; code changed: if what it changes there does not matter: --ignore {names}")
    else:
        outcome.remark(told)


def _is_digest_of_field(found: Divergence) -> bool:
    return str(found.replayed).endswith(SOMEWHERE_INSIDE) and found.field.startswith(_STATE)


def _in_form(outcome: ReplayOutcome) -> Divergence | None:
    """The difference without the ids and times of libraries, which are others in each replay."""
    found = outcome.divergence
    return None if found is None else replace(found, replayed=form_of(found.replayed))


def _changes(outcome: ReplayOutcome) -> str:
    """Why a difference proves nothing that is another one in each replay."""
    return (
        "the difference may be another one in each replay, because of: "
        + "; ".join(outcome.unsteady[:3])
        + _leaving_out(outcome.divergence)
    )


def _in_other_orders_of_threads(tried: tuple[_Replayed, _Replayed], once_more: _OnceMore) -> _Replayed:
    """What comes of a difference where an action began threads, which have an order of their own each time.

    An order in which nothing differs is as good as the recorded one, where no code changed. Otherwise the
    replay counts that agrees with most of the recording, once `_SAME_ORDERS` of them end at its difference:
    those that ended before it only came to another order there.

    Args:
        tried: the first two replays.
    """
    found = list(tried)
    first = found[0][0]
    while True:
        last = found[-1][0]
        if first.is_same_code and judge(last)[0] in _GREEN:
            last.remark(
                f"its threads take turns in another order each time: replay {len(found)} agrees with the "
                f"recording, the first one did not, {first.divergence}"
            )
            return found[-1]
        best = max(found, key=lambda each: _agreed_steps(each[0]))
        furthest = [each[0].divergence for each in found if _agreed_steps(each[0]) == _agreed_steps(best[0])]
        is_one = furthest.count(best[0].divergence) == len(furthest)
        if is_one and len(furthest) == _SAME_ORDERS:
            return best
        is_open = last.divergence is not None and (is_one or first.is_same_code)
        if not is_open or len(found) == _MOST_ORDERS:
            best[0].doubts.append(_changes(best[0]))
            return best
        found.append(once_more(""))


def _without_order(options: RedriveOptions, found: Divergence | None) -> RedriveOptions:
    """Options under which a difference shows that is more than the order in which threads did things.

    In an object of which the recording has a digest alone nobody can tell, so its field is left out.
    """
    normaliser = replace(options.normaliser or Normaliser(), order=True)
    if found is None or not _is_digest_of_field(found):
        return replace(options, normaliser=normaliser)
    name = found.field.removeprefix(_STATE)
    return replace(options, normaliser=normaliser, ignore=(*options.ignore, name))


def _beyond_order(found: _Replayed, once_more: _OnceMore) -> _Replayed:
    """What comes of a difference among threads that may be nothing but a rare order in the recording.

    Args:
        found: each replay ended at its difference.
        once_more: replays without regard to order.
    """
    seen = [found]
    for _ in range(_SAME_ORDERS):
        other = once_more("")
        if judge(other[0])[0] is not Verdict.DIVERGED:
            break
        same = next((each for each in seen if each[0].divergence == other[0].divergence), None)
        if same is not None:
            return same
        seen.append(other)
    found[0].doubts.append(_changes(found[0]))
    return found


def _leaving_out(found: Divergence | None) -> str:
    """What to do about a field that is another in each replay."""
    if found is None or not found.field.startswith(_STATE):
        return ""
    return f"; if the field does not matter: --ignore {found.field.removeprefix(_STATE)}"


def _in_other_turns(first: _Replayed, once_more: _OnceMore, *, is_whole: bool) -> _Replayed:
    """What comes of a difference among actions that ran at the same time, once they take turns otherwise.

    The recording does not tell to the microsecond which of them began first. An order in which nothing
    differs is as good as the recorded one. A difference counts where one action after the other gives the
    same, or, where code changed, agrees with less of the recording or cannot come to an end, and where the
    recording tells which turns they took.

    Args:
        is_whole: whether all agents are replayed: the turns of one alone may depend on the others.
    """
    has_paused = first[0].has_paused
    for turns in ("prompt", "loose", "sequential"):
        if turns == "prompt" and not has_paused:
            continue
        other = once_more(turns)
        if judge(other[0])[0] in _GREEN:
            return other
        has_paused = has_paused or other[0].has_paused
        if turns == "prompt" and _agreed_steps(other[0]) > _agreed_steps(first[0]):
            first = other
    outcome, found, later = first[0], first[0].divergence, other[0].divergence
    is_shorter = later is not None and found is not None and later.step < found.step
    is_changed = outcome.changed_code or outcome.changed_modules
    counts = is_shorter or other[0].is_waiting or not outcome.has_unknown_turns
    if found is not None and later != found and not (is_whole and is_changed and counts):
        outcome.has_unknown_order = outcome.needs_others = True
        remedy = "replay each agent alone" if len(outcome.agents) > 1 else "await one action before the next"
        outcome.doubts.append(
            f"steps ran at one time, as step {outcome.beside} did, and in another order the difference is "
            f"another one: {remedy}"
        )
    return first


def _agreed_steps(outcome: ReplayOutcome) -> int:
    """How far a replay went as recorded; 0 where it ended without a difference."""
    return 0 if outcome.divergence is None else outcome.divergence.step - 1


def _in_child(
    reference: RunReference,
    target: str,
    options: RedriveOptions,
    worker: Worker | None,
    more: dict[str, Any],
) -> tuple[ReplayOutcome, str, str]:
    """Replay in a worker process; `more` is what else the request says."""
    request = {**_request(reference, target, options), **more}
    run = None if worker is None else worker.run
    result = run_job(_REPLAY, request, options.timeout_seconds, options.stop, run)
    if result.answer is not None:
        outcome = ReplayOutcome.from_object(result.answer)
    else:
        outcome = ReplayOutcome(agents=[] if reference.agent_id is None else [reference.agent_id])
        outcome.reason(result.failure)
    return outcome, result.stdout, result.stderr


def _request(reference: RunReference, target: str, options: RedriveOptions) -> dict[str, Any]:
    """What the worker process is asked for."""
    return {
        "session": str(reference.session.absolute()),
        "agent_id": reference.agent_id,
        "target": target,
        "normalise": options.normaliser.to_object() if options.normaliser is not None else {},
        "network": options.network,
        "agents": None if options.agents is None else sorted(options.agents),
        "asked_for": options.asked_for,
        "ignore": list(options.ignore),
        "strict_factory": options.strict_factory,
        "no_writes": options.no_writes,
        "keep_going": options.keep_going,
    }


def make_replay_directory(session: Path, run_id: str = ROOT_RUN) -> Path | None:
    """Create a directory for this replay under the run; None if that fails."""
    replay_id = f"{session_id_for(time.time_ns() // 1000)}-{secrets.token_hex(4)}"
    path = run_dir(session, run_id) / "replays" / replay_id
    try:
        for directory in (*reversed(path.parents[:3]), path):
            directory.mkdir(mode=DIRECTORY_MODE, exist_ok=directory is not path)
    except OSError:
        return None  # `_keep` says so in the report
    return path


def _keep(report: ReplayReport) -> None:
    why = "the session cannot be written"
    if report.path is not None:
        why = keep_json(report.path / "report.json", report.to_dict())
    if why:
        report.outcome.remarks.append(f"the report could not be kept: {why}")


def keep_json(path: Path, value: object) -> str:
    """Write a file of a replay's directory, private; what the system says if it refuses."""
    try:
        replace_file(
            path, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str)
        )
    except OSError as error:
        return f"{error.strerror} ({path})"
    return ""
