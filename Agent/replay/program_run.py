"""Reruns the whole recorded program if calling its actions one by one proves nothing.

Untraced code may change what agents read between their actions. A recording does not contain all of that
code, but the program does. `judged_by_program` records the program again, and compares the recordings.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event as StopEvent
from typing import NamedTuple

from Agent.archive.sealed.reader import open_reader
from Agent.event.clock import parse_timestamp
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.event.script_names import COPIES
from Agent.replay.compare.emitted_events import describe
from Agent.replay.compare.normaliser import (
    MADE_BY_RUNS,
    NOT_READ_IN_CALLS,
    RECORD_LARGE,
)
from Agent.replay.compare.outcome import Counts, Divergence, ReplayOutcome, Verdict, judge, listed
from Agent.replay.compare.program_state import bases_in, kinds_of, kinds_otherwise, program_state_of
from Agent.replay.compare.python_text import differing_texts
from Agent.replay.diff.first_difference import PASSED_OVER, RunDivergence, overlooked_in
from Agent.replay.diff.run_comparison import unseen_effects
from Agent.replay.drive.changes_between import note_repeated, to_script
from Agent.replay.plan.actions import DrivenAction, Plan, first_beside, groups_of, is_by_hand, make_plan
from Agent.replay.plan.recording import (
    Recording,
    codes_of,
    first_classes_of,
    is_traced_action,
    method_name,
    parents_of,
    read_recording,
    script_here,
    script_name,
    spans_around,
    with_changed_files,
)
from Agent.replay.program_copy import (
    COPY,
    ProgramRun,
    compare_runs,
    copied,
    recorded_until_us,
    session_for,
    tell_as_original,
)
from Agent.replay.program_ends import EndDifference, ProgramEnds, kind_difference, unrecorded_ends
from Agent.replay.worker.jobs import Job, JobResult, run_job
from Agent.tree.files.session import SessionInfo

_RUNS = 2
"""The number of runs that must agree; times, unseeded draws and the order of sets differ between them."""
_TIMES_SLOWER = 5
_AT_LEAST_S = 60.0
_PROGRAM = Job("program", "Agent.replay.worker.program:run_program")
_MOST_NEW = 4
_SETTINGS = ("level", "redact", "capture", "state", "large_arguments")
"""The recording settings that environment variables can set."""


def _other_files(found_changed: Sequence[str], read_newer: Sequence[str]) -> str:
    asked, read = listed(found_changed, _MOST_NEW), listed(read_newer, _MOST_NEW)
    left = f"; it asks for {asked}, left by the recorded run: remove it or put back what was there before"
    newer = f"; it reads {read}, newer than the recording: put back the old one"
    return left * bool(found_changed) + newer * bool(read_newer)


_TERMINATED = (
    ": processes that it started were killed while their files were open, as a block of multiprocessing.Pool "
    "does with its workers; call close() and join() in it"
)


def replay_program(
    session: Path, timeout_seconds: float | None = None, stop: StopEvent | None = None
) -> tuple[ReplayOutcome, Path] | None:
    """Replay a recording without a target, by runs of its program alone; None if its script is not found.

    Returns:
        The outcome, and the script.
    """
    program = script_here(session)
    if program is None:
        return None
    recording = read_recording(session)
    agents = frozenset(recording.agents)
    outcome = ReplayOutcome()
    recording.note_gaps(outcome)
    if outcome.scope != "whole":
        why = f"the recording did not end cleanly, and {program.name} is only run as a whole"
        outcome.reason(why + _TERMINATED * recording.lacks_workers)
    plan = make_plan(recording, agents, agents)
    if any(len(group) > 1 for group in groups_of(plan.actions)):
        outcome.beside = first_beside(plan.actions) or plan.actions[0].number
    may_run = not outcome.reasons
    proved = _Reruns(outcome, recording, program, timeout_seconds, stop).judged() if may_run else None
    if proved is not None:
        return proved, program
    outcome.agents, outcome.counts.actions = recording.acting_agents, len(plan.actions)
    outcome.is_of_program = may_run
    outcome.reasons += outcome.remarks
    outcome.remarks = ["--target module:factory replays the recorded actions one by one instead"]
    return outcome, program


def judged_by_program(
    outcome: ReplayOutcome,
    session: Path,
    target: str,
    timeout_seconds: float | None,
    stop: StopEvent | None,
    *,
    ends_at_difference: bool,
) -> ReplayOutcome | None:
    """Rerun the recorded program, and return the new outcome; None if that proves nothing further.

    If two runs match the recording, the program behaves the same. If code changed, runs that agree
    with each other and differ from the recording prove a difference: two runs, or three if actions ran at
    the same time.

    Args:
        outcome: the outcome of calls that were replayed one by one; receives notes.
        session: the recorded session.
        target: the target of these calls.
        timeout_seconds: the time limit of each run; by default it depends on the recorded duration.
        stop: stops the runs once it is set.
        ends_at_difference: whether the first run that differs from the recording is the last one, without a
            note, since only runs that record the same matter.
    """
    program = script_here(session, target)
    if program is None:
        return None
    recording = read_recording(session)
    if not recording.is_sound:
        return None  # a difference could be in the missing events
    remarks = len(outcome.remarks)
    proved = _Reruns(outcome, recording, program, timeout_seconds, stop, ends_at_difference).judged()
    is_elsewhere = bool(outcome.changed_modules and not outcome.changed_code)
    if proved is None and is_elsewhere and outcome.divergence is None and len(outcome.remarks) > remarks:
        # Calls of unchanged methods show nothing of what changed.
        why = outcome.remarks.pop()
        outcome.reason(
            f"code changed in no replayed method ({listed(outcome.changed_modules)}), and {why}; "
            "--no-program compares the replayed methods alone"
        )
    return proved


@dataclass(slots=True)
class _Reruns:
    """Further runs of a recorded program, and what they prove."""

    outcome: ReplayOutcome
    """That of calls that were replayed one by one; receives notes."""
    recording: Recording
    script: Path
    timeout_seconds: float | None
    stop: StopEvent | None
    ends_at_difference: bool = False
    runs: list[ProgramRun] = field(default_factory=list)
    by_form: bool = False
    """Whether ids and times agree by their form, since each run gets new ones from libraries or sources."""
    has_changed: bool = False
    """Whether code of the program changed."""
    not_made: frozenset[tuple[str, str]] = frozenset()
    """(recorded, replayed) ids that all runs have, so that they were not made anew."""

    def judged(self) -> ReplayOutcome | None:
        """Run the program until its runs prove something or nothing; None for nothing further."""
        self.by_form = self.recording.has_ids_and_times
        self.by_form = self.by_form or any(read.is_of_library for read in self.outcome.sources)
        with tempfile.TemporaryDirectory(prefix=COPIES) as directory:
            return self._judged(Path(directory))

    def _judged(self, directory: Path) -> ReplayOutcome | None:
        outcome, runs = self.outcome, self.runs
        may_differ = self._run_all(directory)
        if may_differ is None:
            return None
        if self._compare_shared_ids():
            may_differ = self.has_changed and all(run.did_otherwise for run in self.runs)
        # Durations that differ between runs of the same code were measured, so these runs do not differ.
        may_measure = all(run.is_by_form and not run.clocks for run in runs) and len(runs) >= _RUNS
        measured = may_measure and not self.recording.has_ids_and_times
        if measured:
            self._compare_by_duration()
        if self._draws_by_itself(directory):
            return None
        first, *others = self.runs
        if not any(run.divergence for run in self.runs):
            return self._judged_by_ends()
        if first.divergence is not None and not any(
            compare_runs(first.session, run.session, by_form=self.by_form, measured=[] if measured else None)
            for run in others
        ):
            if may_differ:
                return self._diverged(first.divergence)
            # A difference that the actions alone show remains a difference.
            is_green = outcome.divergence is None
            if is_green and self.has_changed and not (first.refused or first.found_changed_files):
                outcome.reasons.append(
                    f"code changed, and {self.script.name}, run again as a whole, {len(runs)} times, records "
                    f"the same each time, but not what was recorded: {first.divergence}; actions ran at "
                    "the same time, so their order alone may be the cause"
                )
                return None
        self._note_difference(next(run for run in self.runs if run.divergence is not None))
        return None

    def _run_all(self, directory: Path) -> bool | None:
        """Run the program as often as needed.

        Returns:
            Whether its runs may prove a difference; None if a run proves nothing, which is noted.
        """
        outcome, count, may_differ = self.outcome, _RUNS, False
        if hidden := _never_compared(self.recording):
            self._note_no_proof(f"{', '.join(hidden[:3])} cannot be compared")
            return None
        while len(self.runs) < count:
            run = self._run_and_compare(directory / str(len(self.runs)))
            if self.ends_at_difference and (isinstance(run, str) or run.divergence is not None):
                return None
            if isinstance(run, str) or not run.is_comparable or not _runs_same_code(run, outcome):
                self._note_no_proof(run if isinstance(run, str) else run.obstacle)
                return None
            self.by_form = self.by_form or run.is_by_form
            if not self.runs:
                if not outcome.counts.actions:
                    self._note_changes(run)
                may_differ = self.has_changed = outcome.is_changed
                count += self.has_changed and run.has_free_order
            self.runs.append(run)
            may_differ = may_differ and run.did_otherwise
            if len(self.runs) >= _RUNS and not may_differ:
                break
        return may_differ

    def _note_no_proof(self, why: str) -> None:
        self.outcome.remark(f"{self.script.name}, run again as a whole, proves nothing: {why}")

    def _note_changes(self, run: ProgramRun) -> None:
        """Note the traced methods and modules of the program whose code differs from the recording."""
        outcome, recording = self.outcome, self.recording
        outcome.code = {
            name: {"recorded": code, "replayed": run.code[name]}
            for name, code in codes_of(recording.events).items()
            if name in run.code
        }
        outcome.are_modules_known = bool(recording.modules)
        modules = read_recording(run.session).modules
        outcome.changed_modules = [
            name for name, digest in recording.modules.items() if modules.get(name, digest) != digest
        ]

    def _compare_by_duration(self) -> None:
        """Compare again without durations that libraries measured, unless two runs agree in one."""
        measured: list[list[str]] = [[] for _ in self.runs]
        compared = [
            self._compared_by_form(run, durations) for run, durations in zip(self.runs, measured, strict=True)
        ]
        varies = all(len(set(each)) == len(each) for each in zip(*measured, strict=False))
        if all(measured) and varies:
            self.runs = compared

    def _compare_shared_ids(self) -> bool:
        """Compare again if all runs have the same other ids, so that none was made anew; return whether."""
        self.not_made = frozenset.intersection(*(run.made_ids for run in self.runs))
        if self.not_made:
            self.runs = [self._compared_by_form(run, None) for run in self.runs]
        return bool(self.not_made)

    def _compared_by_form(self, run: ProgramRun, durations: list[str] | None) -> ProgramRun:
        one, other = self.recording.session, run.session
        compared = compare_runs(one, other, by_form=True, measured=durations, not_made=self.not_made)
        return replace(run, comparison=compared)

    def _draws_by_itself(self, directory: Path) -> bool:
        """Whether the program, and not only a library, draws without a seed; notes either."""
        is_asked = not self.outcome.counts.actions
        is_asked = is_asked or any(not read.is_of_library for read in self.outcome.sources)
        chance = _Chance.of(self.runs) if is_asked else _Chance()
        if chance.is_own:
            where = chance.place or next(iter(self._draws_of_numpy(directory, chance)), "")
            where = (
                where or f"from {' and '.join(sorted(chance.varying))}{self._repeated_with_a_target(chance)}"
            )
            self._note_no_proof(f"it draws without a seed: {where}")
        elif chance.varying:
            self.outcome.remark(
                f"an installed library draws without a seed: {chance.place}; {len(self.runs)} runs drew "
                "otherwise"
            )
        return chance.is_own

    def _repeated_with_a_target(self, chance: _Chance) -> str:
        """Say so if the recording holds the draws, which a run of the whole program makes anew."""
        sources = {source.partition("@")[0] for _, source, _ in self.recording.reads()}
        is_recorded = bool(sources & {*chance.varying})
        return "; only a replay with a target repeats the recorded draws" if is_recorded else ""

    def _judged_by_ends(self) -> ReplayOutcome | None:
        """Judge runs that recorded the same events by their final states; None if these are unknown."""
        outcome, recording, runs = self.outcome, self.recording, self.runs
        was_free = not any(run.refused or run.found_changed_files for run in runs)
        ends = ProgramEnds(recording, [run.session for run in runs])
        end_difference = None
        for each in filter(None, self._end_differences(ends, was_free=was_free)):
            end_difference = end_difference or each
            if each.divergence is not None:  # a sure difference outweighs what is unknown
                end_difference = each
                break
        if end_difference is None:
            return self._identical(ends)
        if self.has_changed and was_free and end_difference.divergence is not None:
            return self._diverged(end_difference.divergence)
        self._note_no_proof(f"{end_difference.why}{runs[0].other_files}")
        if end_difference.is_of_program and outcome.divergence is None:
            outcome.reason(end_difference.why)
        return None

    def _end_differences(self, ends: ProgramEnds, *, was_free: bool) -> Iterator[EndDifference | None]:
        """Yield what each check of the ends finds, in their order."""
        runs = self.runs
        yield ends.content_difference(may_differ=self.has_changed)
        if not self.has_changed:
            return
        if was_free:
            with_moments = not (self.by_form or any(run.reads_clock for run in runs))
            yield kind_difference(runs[0].kinds, runs[-1].kinds)
            yield ends.class_difference()
            yield ends.program_state_difference(with_moments=with_moments)
        compare = partial(compare_runs, by_form=any(run.is_by_form for run in runs), is_whole=True)
        yield ends.difference_between_actions(compare)
        if not any(run.has_free_order for run in runs):
            yield ends.order_difference()

    def _run(self, directory: Path, *, looks_at_numpy: bool = False) -> JobResult:
        """Run the program once in a copy of the working directory; return the answer of its process."""
        recording, info = self.recording, self.recording.info
        assert info is not None  # noqa: S101 - without it, the script would not be known
        settings = {name: info.configuration[name] for name in _SETTINGS if name in info.configuration}
        settings.setdefault("large_arguments", "always")  # as before the setting existed
        directory.mkdir()
        here, copy = Path.cwd(), directory / COPY
        left_out = copied(here, copy, recording.session, info)
        request = {
            "program": str(self.script),
            "argv": list(info.argv),
            "directory": str(directory),
            "moved": [str(here), str(here if left_out is None else copy)],
            "left_out": list(map(str, left_out or ())),
            "recorded_until_ns": recorded_until_us(info) * 1000,
            "by_hand": to_script(recording.events),
            "environment": {f"AGENT_TRACE_{name.upper()}": str(value) for name, value in settings.items()},
            "looks_at_numpy": looks_at_numpy,
            "looks_at_order": bool(self.outcome.beside),
            "bases": bases_in(kinds_of(recording.events)),
            "globals": [] if (left := program_state_of(recording.events)) is None else sorted(left.changed),
        }
        return run_job(_PROGRAM, request, self.timeout_seconds or _patience_s(info), self.stop)

    def _run_and_compare(self, directory: Path) -> ProgramRun | str:
        """Run the program once, and compare its recording; return why if that is not possible."""
        recorded, by_form = self.recording, self.by_form
        result = self._run(directory)
        if result.answer is None:
            return with_changed_files(result.failure, recorded)
        answer = result.answer
        refused, failure = answer["refused"], answer["failure"]
        files = _other_files(answer["asked_for_left_out"], answer["read_newer"])
        sessions = list((directory / "recorded").glob("session_*"))
        session = session_for(recorded.session, sessions)
        if session is None:
            detail = "; ".join([*refused[:2], failure])
            return f"it recorded {len(sessions)} sessions{detail and f' ({detail})'}{files}"
        reader = open_reader(session)
        is_sound = reader.losses().clean and not reader.damaged_lines
        tell_as_original(session, directory / COPY, Path.cwd())
        made_ids: set[tuple[str, str]] = set()
        comparison = compare_runs(recorded.session, session, by_form=by_form, made_ids=made_ids)
        of_libraries = answer["clocks_of_libraries"] or answer["drawn_by_libraries"]
        if comparison.divergence is not None and not by_form and of_libraries and not answer["clocks"]:
            by_form = True  # only libraries made times and ids
            comparison = compare_runs(recorded.session, session, by_form=True, made_ids=made_ids)
        reader = open_reader(session)
        reads_clock = self.outcome.beside and answer["clocks"]
        return ProgramRun(
            session=session,
            comparison=comparison,
            code=codes_of(reader.events()),
            classes=first_classes_of(reader.events(), script_name(recorded.session)),
            is_sound=is_sound,
            failure=failure,
            found_changed_files=tuple(answer["asked_for_left_out"]),
            other_files=files,
            chance=answer["chance"],
            has_free_order=bool(answer["has_free_order"] or reads_clock),
            is_by_form=by_form,
            reads_clock=bool(answer["clocks"] or of_libraries),
            made_ids=frozenset(made_ids),
            kinds=tuple(
                kinds_otherwise(kinds_of(recorded.events), kinds_of(reader.events()), answer["bases_here"])
            ),
            **{name: tuple(answer[name]) for name in ("refused", "unseeded", "drawn_by_libraries", "clocks")},
        )

    def _draws_of_numpy(self, directory: Path, chance: _Chance) -> Sequence[str]:
        """Return where the program draws from numpy's global generator, by a run that intercepts draws."""
        if "numpy.random" not in chance.varying:
            return ()
        answer = self._run(directory / "draws", looks_at_numpy=True).answer
        draws = () if answer is None else (*answer["unseeded"], *answer["drawn_by_libraries"])
        return [each for each in draws if each.startswith("numpy.random ")]

    def _identical(self, ends: ProgramEnds) -> ReplayOutcome:
        """Return the outcome of runs that recorded the same; notes of the comparison become normalisers."""
        recording, first = self.recording, self.runs[0].comparison
        proved, plan = self._of_program()
        proved.normalisers = [note for note in first.notes if not note.endswith(_REMARKS)]
        for note in first.notes:
            if note.endswith(NOT_READ_IN_CALLS):
                proved.reason(f"{note}; {RECORD_LARGE}")
            elif note not in proved.normalisers:
                proved.remark(note)
            if note.endswith(MADE_BY_RUNS) and self.has_changed and not self._calls_are_green:
                proved.reason(_MADE_OTHERWISE)
        proved.counts.driven = proved.counts.covered = len(plan.actions)
        proved.counts.informative = sum(
            event.extra.get("result") is not None
            or "args_after" in event.extra
            or any((event.state or {}).values())
            if is_traced_action(event)
            else event.parent_span_id is not None
            for event in recording.events
            if event.kind not in PASSED_OVER and event.kind != "state"
        )
        proved.counts.informative += ends.agreeing_globals()
        proved.remark(
            f"{self._why}: {self.script.name} was run again as a whole, {_RUNS} times, without network and "
            f"in a copy of its directory, and recorded the same {first.compared:,} events and "
            f"{first.states:,} states"
        )
        in_program = ends.changed_code() if self.has_changed else ()
        for why in unseen_effects(first, recording.events, in_program, has_changed=self.has_changed):
            proved.reason(why)
        if hidden := ends.redacted(has_changed=self.has_changed):
            proved.normalisers.append(f"{hidden:,} redacted values at the end, hidden in all runs")
        if self.has_changed:
            if failure := self.runs[0].failure:
                proved.reason(
                    f"code changed, and {self.script.name} ends with {failure}; the recording does not tell "
                    "how it ended then"
                )
            for kind in dict.fromkeys(each for run in self.runs for each in run.kinds):
                proved.reason(f"code changed: {kind}")
            ends.compare_beyond_agents(proved)
            changed = self.outcome.changed_code
            is_script = self.script.stem in self.outcome.changed_modules and not changed
            script = self.script.stem if is_script and not ends.has_same_script() else ""
            for why in unrecorded_ends(recording, changed, script):
                proved.reason(why)
        return proved

    def _diverged(self, divergence: RunDivergence) -> ReplayOutcome:
        """Return the outcome of runs of changed code that agree with each other, unlike the recording."""
        proved, plan = self._of_program()
        recording = self.recording
        differing = next((event for event in recording.events if event.id == divergence.event_a), None)
        step = _step_of(differing, divergence.agent_id, recording, plan)
        inner = None if divergence.agent_id == step.agent_id else divergence.agent_id
        proved.divergence = Divergence(
            step=step.number,
            event_id=divergence.event_a or step.event_id,
            action=step.action,
            agent_id=step.agent_id,
            field="calls" if divergence.field in {"events", "order"} else divergence.field,
            recorded=divergence.a,
            replayed=divergence.b,
            path=divergence.path,
            place=step.place,
            inner_agent_id=inner or "",
            tick=divergence.tick,
        )
        # In a program without agents, every traced call is a step.
        proved.counts.actions = len(plan.actions) or sum(map(is_traced_action, recording.events))
        proved.counts.driven = max(step.number, 1)
        proved.counts.covered = max(step.number - 1, 0)
        proved.remark(
            f"{self._why}: {self.script.name} was run again as a whole, {len(self.runs)} times, without "
            "network and in a copy of its directory; all runs did the same, unlike the recording"
            f"{self.runs[0].other_files}"
        )
        return proved

    def _of_program(self) -> tuple[ReplayOutcome, Plan]:
        """Return an outcome for all agents with the facts of the calls' that still hold, and the plan."""
        outcome, recording, first = self.outcome, self.recording, self.runs[0].comparison
        agents = frozenset(recording.agents)
        plan = make_plan(recording, agents, agents)
        proved = ReplayOutcome(
            agents=recording.acting_agents,
            counts=Counts(actions=len(plan.actions), effects=first.compared, full_states=first.states),
            is_of_program=True,
            handles=outcome.handles or recording.handles,
            notes=plan.notes,
            remarks=list(outcome.remarks),
            **{name: getattr(outcome, name) for name in _STILL_HOLD},
        )
        for event in filter(is_by_hand, recording.events):
            note_repeated(proved, event)
        return proved, plan

    @property
    def _calls_are_green(self) -> bool:
        """Whether each recorded call does the same, so that its ids and times were compared."""
        return bool(self.outcome.counts.actions) and judge(self.outcome)[0] is Verdict.IDENTICAL

    @property
    def _why(self) -> str:
        """Why the program was run again."""
        outcome = self.outcome
        if not outcome.counts.actions:
            return "no target was given"
        if outcome.divergence is None:
            if judge(outcome)[0] is Verdict.UNVERIFIED:
                return "calls of the recorded actions one by one prove nothing"
            changed = listed(outcome.changed_code or outcome.changed_modules, _MOST_NEW)
            return (
                f"each recorded call does the same, but {changed} changed, so the program may call otherwise"
            )
        return (
            f"called one by one, {outcome.divergence.step_text} differs: that call lacks what surrounds it "
            "in the program, or the target builds other objects"
        )

    def _note_difference(self, run: ProgramRun) -> None:
        """Note how a run differs; if no code changed and a call differs otherwise, that proves nothing."""
        called, divergence, outcome = self.outcome.divergence, run.divergence, self.outcome
        remark = f"{self.script.name}, run again as a whole, does not record the same: {divergence}"
        if divergence is not None:
            recorded, replayed = differing_texts(divergence.a, divergence.b)
            remark += f": recorded {recorded}, replayed {replayed}"
        remark += run.other_files
        if run.refused or run.failure:
            remark += f"; {run.obstacle}"
        elif run.clocks:
            remark += f"; it reads a clock: {run.clocks[0]}"
        outcome.remark(remark)
        is_same = called is None or divergence is None or divergence.b == called.replayed
        is_same = is_same or outcome.may_be_of_target
        if outcome.is_same_code and not (self.has_changed or is_same or run.refused or run.failure):
            outcome.doubts.append(
                f"no code changed, and {self.script.name}, run again as a whole, differs otherwise than the "
                f"call: {divergence}: the value depends on how the code is run"
            )


def _never_compared(recording: Recording) -> list[str]:
    """Return the fields without a recorded value, which no run can be compared in, as `agent.field`."""
    states = [(name, fact.first_state) for name, fact in sorted(recording.agents.items())]
    return [
        f"{agent_id}.{name}"
        for agent_id, state in states
        if state is not None
        for name in overlooked_in(state, state.extra["fields"])
    ]


def _patience_s(info: SessionInfo) -> float:
    """Return the time limit of a run in seconds, from the duration of the recorded one."""
    if info.ended_at is None:
        return _AT_LEAST_S
    took_us = parse_timestamp(info.ended_at) - parse_timestamp(info.started_at)
    return max(_AT_LEAST_S, _TIMES_SLOWER * took_us / 1e6)


def _runs_same_code(run: ProgramRun, outcome: ReplayOutcome) -> bool:
    """Whether the program ran the same code as the target's objects, in those methods that it called.

    Where calls of these objects prove nothing or differ, they have to be of the program's classes, too.
    """
    is_green = outcome.divergence is None and not outcome.reasons
    return all(
        run.code.get(name, each["replayed"]) == each["replayed"] for name, each in outcome.code.items()
    ) and (is_green or all(run.classes.get(name, cls) == cls for name, cls in outcome.classes.items()))


_MADE_OTHERWISE = (
    "code changed, which may make ids and times otherwise, such as a hash of other contents or a later "
    "deadline; --target module:factory compares them with those that libraries make in the replay"
)
_REMARKS = (MADE_BY_RUNS, NOT_READ_IN_CALLS)
"""Notes of a comparison after which the verdict may still be IDENTICAL."""
_STILL_HOLD = (
    *("code", "changed_modules", "are_modules_known", "environment", "factory_differences"),
    *("ignored", "at_full_states"),
)
"""What an outcome of calls says about a run of the program, too."""


class _Step(NamedTuple):
    """The action at which a run of the program differs."""

    number: int
    event_id: str
    action: str
    agent_id: str
    place: str = ""
    """What differs inside the action or between actions; "" for the action itself."""


def _step_of(event: Event | None, agent_id: str | None, recording: Recording, plan: Plan) -> _Step:
    """Return the entry action around an event; without one, the next of the event's agent, or its last.

    In a program without agents it is the traced call that the event ends, or that ended before it.
    """
    own = [action for action in plan.actions if action.agent_id == agent_id] or plan.actions
    if not own:
        return _step_without_agent(event, recording)
    by_other = "" if agent_id is None else f"what {agent_id} did"
    if event is None:
        return _step(own[-1], by_other if own[-1].agent_id != agent_id else "")
    by_span = {action.event.span_id: action for action in plan.actions}
    around = (event.span_id, *spans_around(event, parents_of(recording.events)))
    outer = next((by_span[span_id] for span_id in around if span_id in by_span), None)
    action = outer or next((each for each in own if order_key(each.event) >= order_key(event)), own[-1])
    if outer is None and event.kind != "state":
        name = event.extra.get("name")
        named = f" {name}" if isinstance(name, str) and event.kind in {"tool.call", "model.call"} else ""
        return _step(action, f"{describe(event)}{named} outside of actions")
    if is_traced_action(event) and event.span_id != action.event.span_id:
        return _step(action, f"{method_name(event)} of {agent_id}")
    return _step(action, by_other if action.agent_id != agent_id else "")


def _step(action: DrivenAction, place: str) -> _Step:
    return _Step(action.number, action.event.id, action.call.name, action.agent_id, place)


def _step_without_agent(event: Event | None, recording: Recording) -> _Step:
    calls = [each for each in recording.events if is_traced_action(each)]
    until = calls if event is None else [each for each in calls if order_key(each) <= order_key(event)]
    last = until[-1] if until else event
    if last is None:
        return _Step(0, "", "", "")
    place = "" if event is None or event.id == last.id else f"{describe(event)} after it"
    return _Step(len(until), last.id, method_name(last) or describe(last), "", place)


class _Chance(NamedTuple):
    """Unseeded draws, which differ between runs."""

    varying: frozenset[str] = frozenset()
    """The global generators whose final states differ between runs."""
    is_own: bool = False
    """Whether the program draws itself, and not only installed libraries."""
    place: str = ""
    """Where the first draw was seen."""

    @classmethod
    def of(cls, runs: Sequence[ProgramRun]) -> _Chance:
        """Return what differs between runs."""
        names = {name for run in runs for name in run.chance}
        varying = frozenset(name for name in names if len({run.chance.get(name) for run in runs}) > 1)
        own = next((run.unseeded for run in runs if run.unseeded), ())
        libraries = [each for each in runs[0].drawn_by_libraries if each.startswith("random ")]
        if own or not varying:
            return cls(varying, bool(own), next(iter(own), ""))
        is_of_libraries = varying == {"random"} and bool(libraries)
        return cls(varying, not is_of_libraries, libraries[0] if is_of_libraries else "")
