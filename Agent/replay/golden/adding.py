"""Adds, updates, accepts and shrinks golden traces: each is reduced to what a replay needs, and checked.

A golden trace is built in a temporary directory next to its final place, and renamed once the check passes.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from Agent.archive.run_export import export_run
from Agent.errors import ReplayError, UsageError
from Agent.event.clock import format_timestamp
from Agent.event.model import Event
from Agent.flight.run_reading import RunRef, find_run
from Agent.record.emit.installed import flush_active
from Agent.render.formats import plural
from Agent.replay.compare.normaliser import Normaliser, ignored_names
from Agent.replay.compare.outcome import Verdict
from Agent.replay.compare.report import ReplayReport
from Agent.replay.forks.forking import resume_from_checkpoint
from Agent.replay.golden.trace import (
    DEFAULT_DIRECTORY,
    Accepted,
    Chosen,
    GoldenReport,
    GoldenTrace,
    asked_for,
    check_golden,
    check_recording,
    choose,
    golden_place,
    inside_agents,
    needed,
    unpacked,
)
from Agent.replay.plan.recording import Recording, read_recording
from Agent.replay.plan.target import Target, target_name
from Agent.replay.rerun import check_holds_actions
from Agent.replay.worker.fork_server import Progress
from Agent.tree.files.session import SessionInfo, replace_file, session_info, write_output
from Agent.tree.layout import make_private
from Agent.tree.retention import delete_tree

_MOST_DIFFERENCES: Final = 20
_SETTINGS: Final = ("redact", "state", "level", "levels")


_MAX_CHARS = 100


@dataclass(frozen=True)
class AddedGolden:
    """The result of adding a golden trace."""

    golden: GoldenTrace
    report: GoldenReport
    """The check of the current code."""
    is_kept: bool
    """Whether it was written; a golden trace that would fail at once is not."""
    again: GoldenReport | None = None
    """The second check, with another hash seed; None if it was not requested."""

    @property
    def exit_code(self) -> int:
        """0 if the golden trace was written, else the exit code of the failing check."""
        return 0 if self.is_kept else self.failing.exit_code

    @property
    def failing(self) -> GoldenReport:
        """The check that failed; the first check if none failed."""
        return self.again if self.report.passes and self.again is not None else self.report

    @property
    def ignorable(self) -> tuple[str, ...]:
        """Candidates for `ignore`: fields that were not comparable, or that differ between the replays."""
        reports = [each.report for each in (self.report, self.again) if each is not None]
        names = [name for report in reports for name in report.unseen]
        values = [report.differing_fields for report in reports]
        if len(values) == 2:
            names += [name for name in values[0] | values[1] if values[0].get(name) != values[1].get(name)]
        return tuple(dict.fromkeys(names))


def add_golden(  # noqa: PLR0913 - each is a separate option
    run: str | os.PathLike[str] = "last",
    target: Target | None = None,
    root: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    directory: str | os.PathLike[str] = DEFAULT_DIRECTORY,
    normaliser: Normaliser | None = None,
    ignore: Collection[str] = (),
    network: bool = False,
    timeout_seconds: float | None = None,
    replace_old: bool = False,
    failing: bool = False,
) -> AddedGolden:
    """Keep a recorded run as a golden trace if the current code reproduces it twice.

    The two replays have different hash seeds, so that behaviour that depends on the seed shows at once.
    With `network` the second replay is skipped.

    Args:
        run: "last", a session, `SESSION/agent_id`, or a run's id or the beginning of one.
        target: `module:factory`, or such a function; the default is the target recorded in the session.
        root: the trace root; by default the configured one, then ./trace.
        name: the golden trace's name; by default that of the agent, the run or the session.
        directory: the directory of golden traces.
        normaliser: which differences are allowed.
        ignore: fields that are not compared: `field`, `agent.field`, or patterns of them.
        network: whether replayed code may use the network.
        timeout_seconds: after this a check ends as UNVERIFIED.
        replace_old: whether it may replace a golden trace with the same name.
        failing: keep it even if the current code differs, as a test that fails now.

    Raises:
        SessionNotFound, RunNotFound, AgentNotFound: the run does not exist.
        SessionInUse: the session is still being recorded.
        TargetNotGiven: no target was given, and the session has none.
        UsageError: a golden trace with this name exists.
        ReplayError: the recording is damaged or lacks events.
    """
    flush_active()
    ref = find_run(run, root)
    info = session_info(ref.session)
    recording = read_recording(ref.session, ref.agent_id)
    _refuse_if_lacking(recording)
    own = (event for event in recording.events if ref.agent_id in {None, event.agent_id})
    check_holds_actions(ref, own)
    name = name or ref.agent_id or ref.run_id or ref.session.name.removeprefix("session_")
    directory_of_golden = golden_place(name, Path(directory))
    if directory_of_golden.exists() and not replace_old:
        raise UsageError(
            f"the golden trace {name!r} already exists",
            path=directory_of_golden,
            remedy="give another --name, or --replace",
        )
    argv = () if info is None else info.argv
    golden = GoldenTrace(
        name=name,
        directory=directory_of_golden,
        target=target_name(target, info, ref.agent_id),
        agent_id=ref.agent_id,
        normaliser=normaliser or Normaliser(),
        ignore=ignored_names(ignore),
        network=network,
        timeout_seconds=timeout_seconds,
        origin=ref.name,
        recorded_at="" if info is None else info.started_at,
        program=Path(argv[0]).name if argv else "",
        settings=_settings(info),
    )
    only = needed(recording) if ref.agent_id is not None else None
    # Calls that reach the network are not made a second time.
    return keep_recording(golden, RunRef(ref.session, ref.run_id), only, failing=failing, twice=not network)


def keep_recording(
    golden: GoldenTrace,
    ref: RunRef,
    only: Callable[[Event], bool] | None,
    *,
    failing: bool = False,
    twice: bool = False,
    older: Path | None = None,
) -> AddedGolden:
    """Build a golden trace, check it, and move it to its place if it passes.

    Args:
        golden: its description.
        ref: the run whose events it keeps.
        only: selects the events to keep; all by default.
        failing: keep it even if it fails, provided that at least one action was replayed.
        twice: check it a second time.
        older: the directory of the recordings up to accepted changes; without it none is kept.
    """
    for each in (*reversed(golden.directory.parent.parents), golden.directory.parent):
        make_private(each, exist_ok=True)
    aside = golden.directory.with_name(f".{golden.directory.name}.{os.getpid()}.new")
    delete_tree(aside)
    draft = replace(golden, directory=aside)
    try:
        draft.save()
        export_run(ref, draft.recording, only=only)
        if older is not None:
            for change in golden.accepted_with_files:
                replace_file(aside / change.file, (older / change.file).read_bytes())
        report = check_golden(draft, keep_going=_MOST_DIFFERENCES if twice else 0)
        if report.undeclared:
            # The recording itself holds hidden values or event ids, which no check can compare: declare them.
            draft = replace(draft, accepts=tuple(dict.fromkeys((*draft.accepts, *report.undeclared))))
        again = check_golden(draft, keep_going=_MOST_DIFFERENCES) if twice else None
        checks = [each.report.outcome for each in (report, again) if each is not None]
        differences = [difference for outcome in checks for difference in outcome.factory_differences]
        draft = replace(draft, factory=tuple(dict.fromkeys(differences)))
        draft.save()
        in_place = replace(draft, directory=golden.directory)
        again = None if again is None else replace(again, golden=in_place)
        report = replace(report, golden=in_place)
        passes = report.passes and (again is None or again.passes)
        is_kept = passes or (failing and report.report.outcome.counts.actions > 0)
        if is_kept:
            replace_file(draft.expected, report.expected_text.encode())
            _put_in_place(aside, golden.directory)
    finally:
        delete_tree(aside)
    return AddedGolden(report.golden, report, is_kept, again)


def _put_in_place(aside: Path, target: Path) -> None:
    """Rename a directory to its final name; an older one is deleted only after that."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        target.rename(old)
    aside.rename(target)
    delete_tree(old)


def _settings(info: SessionInfo | None) -> dict[str, Any]:
    configuration = {} if info is None else info.configuration
    return {name: configuration[name] for name in _SETTINGS if name in configuration}


def _refuse_if_lacking(recording: Recording) -> None:
    lacking = None
    if recording.lost:
        lacking = f"{plural(recording.lost, 'event', 'are')} missing from the session"
    elif recording.damage:
        lacking = f"it is damaged at {recording.damage[0]}"
    elif recording.changed:
        lacking = f"it was changed after it was written: {recording.changed[0]}"
    if lacking is not None:
        raise ReplayError(
            f"a golden trace needs a complete recording: {lacking}",
            path=recording.session,
            remedy="`agent-trace verify` shows more",
        )


def source_of_test(golden: GoldenTrace, why: str = "", path: Path | None = None) -> str:
    """Return the source of a test of a golden trace.

    Args:
        why: the purpose of the test, as a clause without a full stop.
        path: the file of the test; the default is that of `write_test`.
    """
    what = " ".join(why.split()) or f"the code still does what {golden.origin} did"
    summary = f"{golden.name}: {what}".replace("\\", "/").replace('"', "'").rstrip(".")
    summary = summary if len(summary) <= _MAX_CHARS else summary[: _MAX_CHARS - 3] + ".."
    return (
        f'"""{summary}."""\n\n\n'
        f"def test_{_identifier(golden.name)}(golden_trace):\n"
        f"    golden_trace({_quoted(golden.name)}{_place_of(golden, path or _beside(golden))})\n"
    )


def _place_of(golden: GoldenTrace, test: Path) -> str:
    """Return the argument `directory` of the test, or "" if the fixture looks there by default."""
    place, beneath = golden.directory.parent.absolute(), test.parent.absolute()
    is_above = place.name == DEFAULT_DIRECTORY.name and beneath.is_relative_to(place.parent)
    if is_above or place == DEFAULT_DIRECTORY.absolute():
        return ""
    return f", directory={_quoted(Path(os.path.relpath(place, beneath)).as_posix())}"


def _beside(golden: GoldenTrace) -> Path:
    return golden.directory.parent.parent / f"test_golden_{_identifier(golden.name)}.py"


def write_test(golden: GoldenTrace, path: Path | None = None, why: str = "") -> Path:
    """Write the test of a golden trace to a file, and return its path.

    Args:
        path: the file; by default `test_golden_NAME.py` next to the directory of golden traces.
        why: the purpose of the test; see `source_of_test`.

    Raises:
        UsageError: a file with this name exists, and is not a test of this golden trace.
    """
    target = path or _beside(golden)
    if target.exists() and f"golden_trace({_quoted(golden.name)}" not in target.read_text("utf-8"):
        raise UsageError("the file already exists", path=target, remedy="choose another name with --test")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_output(target, source_of_test(golden, why, target).encode())
    return target


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "run"


def _quoted(name: str) -> str:
    """Return the name as a Python literal, in double quotes if possible, which formatters leave unchanged."""
    return json.dumps(name) if name.isprintable() else repr(name)


# Updating a golden trace: the recorded actions run with the current code, and are recorded again.
#
# An accepted change keeps the older recording up to a step, which every later check replays too.
#
# The responses of other agents, tools and models stay as recorded. If the code makes a call without a
# recorded response, the run has to be recorded again.


def update_golden(golden: GoldenTrace, target: str | None = None) -> GoldenReport:
    """Replace the recording with the behaviour of the current code; on failure the golden trace is unchanged.

    Accepted changes before which the code still matches the recording are kept; the report names the others.
    If the check is UNVERIFIED, its report is returned and nothing is written.

    Args:
        target: the target to use, and to store, instead of the golden trace's own.

    Raises:
        UsageError: the golden trace holds only some agents of a run.
        ReplayError: the code makes a call without a recorded response, or does not do the same twice.
    """
    before = check_recording(golden, None, target)
    if before.report.exit_code == 4:
        return before  # the new recording would be UNVERIFIED for the same reasons
    older = golden.accepted_with_files
    dropped = tuple(each for each in older if not check_recording(golden, each, target).passes)
    applicable = tuple(each for each in golden.accepted if each not in dropped)
    report = record_anew(
        replace(golden, target=target or golden.target, accepted=applicable), golden, golden.directory
    )
    return replace(report, dropped=dropped)


def record_anew(draft: GoldenTrace, golden: GoldenTrace, older: Path) -> GoldenReport:
    """Record a golden trace again with the current code and the recorded responses, and replace it.

    Args:
        draft: the new description.
        golden: the existing golden trace; it is unchanged on failure.
        older: the directory of the recordings up to accepted changes.

    Raises:
        UsageError: the golden trace holds only some agents of a run.
        ReplayError: the code makes a call without a recorded response, or does not do the same twice.
    """
    if golden.agents is not None:
        raise UsageError(
            f"{golden.name} replays only some agents of a run, so it cannot be recorded again",
            remedy="record the run again, and add it with --replace",
        )
    with unpacked(golden) as reference:
        session = str(reference.session)
        fork = resume_from_checkpoint(
            session if golden.agent_id is None else f"{session}{os.sep}{golden.agent_id}",
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
            remedy="the golden trace is unchanged",
        )
    return added.report


def accept_golden(golden: GoldenTrace, step: int, reason: str, target: str | None = None) -> GoldenReport:
    """Accept the behaviour of the current code from a step on, and keep checking the steps before it.

    Args:
        golden: the golden trace, which fails with this code.
        step: the first replayed action that may differ, counted from 1 as in reports.
        reason: why the new behaviour is right.
        target: the target to use, and to store, instead of the golden trace's own.

    Raises:
        UsageError: the step does not exist, the reason is empty, or nothing differs.
        ReplayError: it differs before that step, nothing was proved, or the code does not do the same twice.
    """
    if not reason.strip():
        raise UsageError("accepting a change needs a reason", remedy='give --reason "..."')
    checked = check_golden(golden, target)
    first = checked.report.divergence
    if checked.passes:
        raise UsageError(f"{golden.name} passes, so it has no new behaviour to accept")
    if checked.report.exit_code == 4 or first is None:
        why = (*checked.report.reasons, *checked.undeclared, "nothing was proved")[0]
        raise ReplayError(f"no change of {golden.name} can be accepted: {why}")
    if first.step < step:
        raise ReplayError(
            f"{golden.name} already differs at step {first.step}, before step {step}: {first}",
            remedy=f"fix that, or accept from step {first.step} on",
        )
    with tempfile.TemporaryDirectory(prefix="agent-trace-golden-") as directory:
        change, *trimmed = (
            _cut(golden, each, step, checked.report, Path(directory))
            for each in (None, *golden.accepted_with_files)
        )
        change = replace(change, reason=" ".join(reason.split()), at=format_timestamp(time.time_ns() // 1000))
        kept = (*(each for each in trimmed if each.file), change)
        draft = replace(golden, target=target or golden.target, accepted=kept)
        return record_anew(draft, golden, Path(directory))


def _cut(
    golden: GoldenTrace, change: Accepted | None, step: int, report: ReplayReport, place: Path
) -> Accepted:
    """Write the beginning of a recording up to a step to a file; for step 1 write nothing.

    Args:
        change: the accepted change whose older recording is cut; None for the current recording.
        step: the first action that is left out.
        report: a check of the golden trace, which names the replayed agents.
        place: the directory to write to.

    Returns:
        The accepted change with its new file; `file` is "" for step 1.

    Raises:
        UsageError: the current recording does not have this step.
    """
    with unpacked(golden, change) as reference:
        recording = read_recording(reference.session, golden.agent_id)
        driven_agents = [each for each in report.outcome.agents if each in recording.agents]
        inside = inside_agents(report, recording)
        whole = choose(recording, driven_agents, inside)
        if change is None and not 1 <= step <= len(whole.actions):
            raise UsageError(f"{golden.name} has no step {step}", remedy=f"it has 1 to {len(whole.actions)}")
        accepted = change or Accepted(step, "", whole.actions[step - 1].event.id)
        if step == 1:
            return replace(accepted, file="")
        chosen = whole.first(min(step - 1, len(whole.actions)))
        name = change.file if change is not None else _free_name(golden, step)
        export_run(RunRef(reference.session, None), place / name, only=needed(recording, chosen))
        if golden.agent_id is None:
            agents = tuple(sorted(chosen.agents))
            accepted = replace(accepted, agents=agents, asked_for=asked_for(golden, recording))
        return replace(accepted, file=name)


def _free_name(golden: GoldenTrace, step: int) -> str:
    """Return a file name for the older recording that no accepted change uses yet."""
    taken = {each.file for each in golden.accepted}
    names = (f"before_step_{step}{f'_{number}' if number else ''}.zip" for number in itertools.count())
    return next(name for name in names if name not in taken)


# Shrinking a failing run: find the shortest beginning and the fewest agents that still fail in the same way.
#
# Every reduction is replayed, and dropped if it does not fail in the same way. The result is a new golden
# trace, and a test that fails until the code matches the recording again.

_STEP = re.compile(r"\bstep \d+")
_MOST_TRIALS = 100


@dataclass(frozen=True)
class ShrunkGolden:
    """A small golden trace that fails in the same way as a larger one."""

    golden: GoldenTrace
    report: GoldenReport
    actions: tuple[int, int]
    """The number of replayed actions: after and before shrinking."""
    agents: tuple[int, int]
    """The number of agents whose code runs: after and before shrinking."""
    trials: int
    """The number of replays made while shrinking."""
    is_smallest: bool
    """Whether removing any one action or agent makes it pass or fail differently; False if trials ran out."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "name": self.golden.name,
            "directory": str(self.golden.directory),
            "actions": self.actions[0],
            "actions_before": self.actions[1],
            "agents": self.agents[0],
            "agents_before": self.agents[1],
            "trials": self.trials,
            "smallest": self.is_smallest,
            "check": self.report.to_dict(),
        }

    def __str__(self) -> str:
        ends = "" if self.is_smallest else ", not known to be the smallest: the trials ran out"
        return (
            f"{self.golden.name}: {self.actions[0]:,} of {self.actions[1]:,} actions, "
            f"{self.agents[0]:,} of {self.agents[1]:,} agents, {self.trials:,} trials{ends}\n{self.report}"
        )


_Failure = tuple[Any, ...]
"""How a replay fails, without details such as step numbers that change when less is replayed."""


def _failure_of(checked: GoldenReport) -> _Failure | None:
    report, divergence = checked.report, checked.report.divergence
    if checked.passes:
        return None
    if report.verdict is Verdict.DIVERGED and divergence is not None:
        fields = asdict(divergence)
        del fields["step"]
        return (report.verdict, *map(repr, fields.values()))
    first = report.reasons[0] if report.reasons else ", ".join(checked.undeclared)
    return report.verdict, _STEP.sub("step N", first)


@dataclass(slots=True)
class _Trials:
    """Replays parts of a recording, and checks whether they fail in the same way; results are cached."""

    golden: GoldenTrace
    recording: Recording
    failure: _Failure
    progress: Progress | None
    count: int = 0
    _known: dict[tuple[Any, ...], bool] = field(default_factory=dict)

    @property
    def are_over(self) -> bool:
        """Whether the limit of trials is reached."""
        return self.count >= _MOST_TRIALS

    def fails(self, chosen: Chosen | None, *, alone: str | None = None) -> bool:
        """Whether a part fails in the same way.

        Args:
            chosen: the part; None, like an empty part, does not fail.
            alone: the single agent to build with the target; by default it builds the run's.
        """
        if chosen is None or not chosen.actions or not chosen.given:
            return False
        key = (chosen.given, chosen.inside, len(chosen.actions), alone)
        if key not in self._known:
            if self.are_over:
                return False
            self.count += 1
            if self.progress is not None:
                self.progress(1 - 0.9**self.count)  # the total is unknown, so approach 1
            self._known[key] = self._driven(chosen, alone) == self.failure
        return self._known[key]

    def part(self, chosen: Chosen, alone: str | None) -> GoldenTrace:
        """Return a golden trace that replays this part."""
        if alone is not None or self.golden.agent_id is not None:
            return replace(self.golden, agent_id=alone or self.golden.agent_id, agents=None, asked_for=None)
        requested_agent = asked_for(self.golden, self.recording)
        return replace(self.golden, agents=tuple(sorted(chosen.agents)), asked_for=requested_agent)

    def _driven(self, chosen: Chosen, alone: str | None) -> _Failure | None:
        with tempfile.TemporaryDirectory(prefix="agent-trace-shrink-") as directory:
            part_trace = replace(self.part(chosen, alone), directory=Path(directory))
            export_run(
                RunRef(self.recording.session, None),
                part_trace.recording,
                only=needed(self.recording, chosen),
            )
            return _failure_of(check_golden(part_trace))


def shrink_golden(
    golden: GoldenTrace,
    target: str | None = None,
    *,
    name: str | None = None,
    directory: Path | None = None,
    progress: Progress | None = None,
) -> ShrunkGolden:
    """Make the smallest golden trace that fails in the same way as this one.

    Args:
        target: the target to use instead of the golden trace's own.
        name: the name of the small one; by default `NAME-shrunk`. One with the same name is replaced.
        directory: the directory of the small one; by default that of the large one.
        progress: called with a growing fraction between 0 and 1.

    Raises:
        UsageError: the golden trace passes, cannot be replayed, or fails differently each time.
    """
    golden = replace(golden, target=target or golden.target)
    with unpacked(golden) as reference:
        first = check_golden(golden)
        failure = _failure_of(first)
        if failure is None:
            raise UsageError(
                f"{golden.name} does not fail: the code does what was recorded",
                remedy="name code that fails with --target",
            )
        counts = first.report.outcome.counts
        if not counts.actions or not (counts.driven or first.report.divergence):
            why = first.report.reasons[0] if first.report.reasons else "no reason is known"
            raise UsageError(f"nothing of {golden.name} can be replayed: {why}", path=golden.directory)
        recording = read_recording(reference.session, golden.agent_id)
        trials = _Trials(golden, recording, failure, progress)
        driven_agents, inside = first.report.outcome.agents, inside_agents(first.report, recording)
        whole = choose(recording, driven_agents, inside)
        chosen, alone = _fewest_agents(trials, _shortest(trials, whole, first.report), first.report)
        place = directory if directory is not None else golden.directory.parent
        new = name or f"{golden.name}-shrunk"
        part_trace = replace(trials.part(chosen, alone), name=new, directory=golden_place(new, place))
        only = needed(recording, chosen)
        added = keep_recording(part_trace, RunRef(reference.session, None), only, failing=True)
    if not added.is_kept or _failure_of(added.report) != failure:
        if added.is_kept:
            delete_tree(added.golden.directory)
        raise UsageError(
            f"{golden.name} fails differently each time, so it cannot be made smaller",
            remedy="`agent-trace golden check` shows how",
        )
    return ShrunkGolden(
        added.golden,
        added.report,
        (len(chosen.actions), len(whole.actions)),
        (len(chosen.agents), len(whole.agents)),
        trials.count,
        not trials.are_over,
    )


def _shortest(trials: _Trials, whole: Chosen, report: ReplayReport) -> Chosen:
    """Return the shortest beginning that fails in the same way, by bisection from the step of the failure."""
    total = len(whole.actions)
    seen_at = report.outcome.counts.driven
    if report.divergence is not None:
        seen_at = report.divergence.step
    elif report.outcome.sources and not report.outcome.reasons:
        seen_at = min(read.step for read in report.outcome.sources)
    guesses = dict.fromkeys(min(max(1, guess), total) for guess in (seen_at, seen_at + 1))
    high = next((guess for guess in guesses if trials.fails(whole.first(guess))), total)
    low = 0
    if high > 1 and not trials.fails(whole.first(high - 1)):
        low = high - 1
    while low + 1 < high and not trials.are_over:
        middle = (low + high) // 2
        if trials.fails(whole.first(middle)):
            high = middle
        else:
            low = middle
    return whole.first(high)


def _fewest_agents(trials: _Trials, chosen: Chosen, report: ReplayReport) -> tuple[Chosen, str | None]:
    """Return the part with the fewest agents, and the agent to replay alone if one agent is enough."""
    if trials.golden.agent_id is not None and not chosen.inside:
        return chosen, trials.golden.agent_id
    until = chosen.actions[-1].event.id
    ends = None if chosen.is_whole else until
    agent = report.divergence.agent_id if report.divergence is not None else chosen.actions[-1].agent_id
    if trials.golden.agent_id is None:
        for candidate in dict.fromkeys((agent, chosen.actions[-1].agent_id)):
            alone = choose(trials.recording, [candidate], []).until(ends)
            if trials.fails(alone, alone=candidate):
                assert alone is not None  # noqa: S101 - it was replayed
                return alone, candidate

    def part(agents: Collection[str]) -> Chosen | None:
        kept = chosen.given & set(agents), chosen.inside & set(agents)
        return choose(trials.recording, *kept).until(ends)

    kept = _minimal(sorted(chosen.agents), lambda agents: trials.fails(part(agents)))
    failure = part(kept)
    assert failure is not None  # noqa: S101 - it was replayed now or before
    return failure, trials.golden.agent_id


def _minimal(agents: list[str], fails: Callable[[Collection[str]], bool]) -> list[str]:
    """Return a minimal list of agents that still fails, by delta debugging (Zeller, Hildebrandt 2002)."""
    parts = 2
    while len(agents) >= 2:
        size = -(-len(agents) // parts)
        for start in range(0, len(agents), size):
            rest = agents[:start] + agents[start + size :]
            if rest and fails(rest):
                agents, parts = rest, max(parts - 1, 2)
                break
        else:
            if parts >= len(agents):
                break
            parts = min(len(agents), 2 * parts)
    return agents
