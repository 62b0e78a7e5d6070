"""Golden traces made and brought up to date: reduced to what a replay needs, written and checked.

It is put together in a directory beside its place and gets its name when the check has shown that it holds.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from Agent.archive.run_export import export_run
from Agent.errors import ReplayError, UsageError
from Agent.event.clock import format_timestamp
from Agent.event.model import Event
from Agent.flight.run_reading import RunRef
from Agent.record.emit.installed import flush_active
from Agent.replay.compare.normaliser import Normaliser
from Agent.replay.compare.outcome import ReplayReport, Verdict
from Agent.replay.diff.run_side import name_of, named_run
from Agent.replay.forks.forking import resume_from_checkpoint
from Agent.replay.golden.trace import (
    DEFAULT_DIRECTORY,
    Accepted,
    Chosen,
    GoldenReport,
    GoldenTrace,
    asked_for,
    check_golden,
    check_unpacked,
    choose,
    golden_place,
    inside_agents,
    needed,
    unpacked,
    up_to,
    write_file,
)
from Agent.replay.plan.recording import Recording, RunReference, read_recording, session_info
from Agent.replay.plan.target import Target, target_name
from Agent.replay.rerun import check_holds_actions, ignored_names
from Agent.replay.worker.fork_server import Progress
from Agent.tree.files.session import SessionInfo, replace_file
from Agent.tree.layout import DIRECTORY_MODE
from Agent.tree.retention import delete_tree

_MOST_DIFFERENCES: Final = 20
_SETTINGS: Final = ("redact", "state", "level", "levels")


_MAX_CHARS = 100


@dataclass(frozen=True)
class AddedGolden:
    """What came of adding a golden trace."""

    golden: GoldenTrace
    report: GoldenReport
    """How the present code does on it."""
    is_kept: bool
    """It is there now; otherwise nothing was written, since it would fail at once."""
    again: GoldenReport | None = None
    """How the code did a second time, under another hash seed; None where it was not asked."""

    @property
    def exit_code(self) -> int:
        """0 where it is there, else that of the check that failed."""
        return 0 if self.is_kept else self.failing.exit_code

    @property
    def failing(self) -> GoldenReport:
        """The check that failed; the first where none did."""
        return self.again if self.report.passes and self.again is not None else self.report

    @property
    def ignorable(self) -> tuple[str, ...]:
        """Fields that could not be seen, or that differ between the two replays: what `ignore` could name."""
        reports = [each.report for each in (self.report, self.again) if each is not None]
        found = [name for report in reports for name in report.unseen]
        values = [report.differing_fields for report in reports]
        if len(values) == 2:
            found += [name for name in values[0] | values[1] if values[0].get(name) != values[1].get(name)]
        return tuple(dict.fromkeys(found))


def add_golden(  # noqa: PLR0913 - each is a question of its own
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
    """Keep a recorded run as a golden trace, once the present code has done the same twice.

    The two replays have different hash seeds, so what depends on those shows at once.

    Args:
        run: "last", a session, `SESSION/agent_id`, or a run's id or the beginning of one.
        target: `module:factory`, or such a function; without it the one that the session remembers.
        root: the trace root; the one configured, then ./trace without it.
        name: under which it is kept; without it that of the agent, the run or the session.
        directory: that holds the golden traces.
        normaliser: what may differ.
        ignore: fields that take no part: `field`, `agent.field`, or patterns of them.
        network: whether replayed code may use the network.
        timeout_seconds: after this a check ends as UNVERIFIED.
        replace_old: whether it may take the place of one of that name.
        failing: keep it also where the present code does something else, as a test that fails now.

    Raises:
        SessionNotFound, RunNotFound, AgentNotFound: there is no such run.
        SessionInUse: it is being recorded.
        TargetNotGiven: no code was named, and the session remembers none.
        UsageError: a golden trace of that name is there.
        ReplayError: the record is not whole, so that nothing can be kept of it.
    """
    flush_active()
    ref = named_run(run, root)
    info = session_info(ref.session)
    recording = read_recording(ref.session, ref.agent_id)
    _refuse_if_lacking(recording)
    own = (event for event in recording.events if ref.agent_id in {None, event.agent_id})
    check_holds_actions(RunReference(ref.session, ref.agent_id), own)
    name = name or ref.agent_id or ref.run_id or ref.session.name.removeprefix("session_")
    place = golden_place(name, Path(directory))
    if place.exists() and not replace_old:
        raise UsageError(
            f"there is a golden trace {name!r} already",
            path=place,
            remedy="give another --name, or --replace",
        )
    argv = () if info is None else info.argv
    golden = GoldenTrace(
        name=name,
        directory=place,
        target=target_name(target, info, ref.agent_id),
        agent_id=ref.agent_id,
        normaliser=normaliser or Normaliser(),
        ignore=ignored_names(ignore),
        network=network,
        timeout_seconds=timeout_seconds,
        origin=name_of(ref),
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
    older: Mapping[str, Path] | None = None,
) -> AddedGolden:
    """Put a golden trace together, check it, and give it its place if it holds.

    Args:
        golden: what it says of itself.
        ref: the run whose events it keeps.
        only: which of them; all without it.
        failing: keep it also where it fails, as long as the code could be replayed.
        twice: check it a second time.
        older: recordings up to accepted changes, by the name of the file.
    """
    _make_parent(golden.directory.parent)
    aside = golden.directory.with_name(f".{golden.directory.name}.{os.getpid()}.new")
    delete_tree(aside)
    draft = replace(golden, directory=aside)
    try:
        draft.save()
        export_run(ref, draft.recording, only=only)
        for name, source in (older or {}).items():
            write_file(aside / name, source.read_bytes())
        report = check_golden(draft, keep_going=_MOST_DIFFERENCES if twice else 0)
        if report.undeclared:
            # the recording itself holds hidden values or ids of events, and that is said where it is kept
            draft = replace(draft, accepts=tuple(dict.fromkeys((*draft.accepts, *report.undeclared))))
        again = check_golden(draft, keep_going=_MOST_DIFFERENCES) if twice else None
        made = [told for each in (report, again) if each for told in each.report.outcome.factory_differences]
        draft = replace(draft, factory=tuple(dict.fromkeys(made)))
        draft.save()
        place = replace(draft, directory=golden.directory)
        again = None if again is None else replace(again, golden=place)
        report = replace(report, golden=place)
        passes = report.passes and (again is None or again.passes)
        is_kept = passes or (failing and report.report.outcome.counts.actions > 0)
        if is_kept:
            write_file(draft.expected, report.expected_text.encode())
            _put_in_place(aside, golden.directory)
    finally:
        delete_tree(aside)
    return AddedGolden(report.golden, report, is_kept, again)


def _put_in_place(aside: Path, place: Path) -> None:
    """Give a directory its name; what had it goes away only then."""
    old = place.with_name(f".{place.name}.{os.getpid()}.old")
    if place.exists():
        place.rename(old)
    aside.rename(place)
    delete_tree(old)


def _make_parent(directory: Path) -> None:
    for each in (*reversed(directory.parents), directory):
        each.mkdir(mode=DIRECTORY_MODE, exist_ok=True)


def _settings(info: SessionInfo | None) -> dict[str, Any]:
    configuration = {} if info is None else info.configuration
    return {name: configuration[name] for name in _SETTINGS if name in configuration}


def _refuse_if_lacking(recording: Recording) -> None:
    lacking = None
    if recording.lost:
        lacking = f"{recording.lost:,} events of the session are missing"
    elif recording.damage:
        lacking = f"it is damaged at {recording.damage[0]}"
    if lacking is not None:
        raise ReplayError(
            f"a golden trace cannot be made of a record that is not whole: {lacking}",
            path=recording.session,
            remedy="`agent-trace verify` tells more",
        )


def source_of_test(golden: GoldenTrace, why: str = "", path: Path | None = None) -> str:
    """The test as text.

    Args:
        why: what the test is about, a clause without a full stop.
        path: the file that it will stand in; default: as `write_test`.
    """
    what = " ".join(why.split()) or f"the code still does what {golden.origin} did"
    told = f"{golden.name}: {what}".replace("\\", "/").replace('"', "'").rstrip(".")
    told = told if len(told) <= _MAX_CHARS else told[: _MAX_CHARS - 3] + ".."
    return (
        f'"""{told}."""\n\n\n'
        f"def test_{_identifier(golden.name)}(golden_trace):\n"
        f"    golden_trace({_quoted(golden.name)}{_place_of(golden, path or _beside(golden))})\n"
    )


def _place_of(golden: GoldenTrace, test: Path) -> str:
    """A further argument with the directory of golden traces, where the fixture does not look by itself."""
    place, beneath = golden.directory.parent.absolute(), test.parent.absolute()
    is_above = place.name == DEFAULT_DIRECTORY.name and beneath.is_relative_to(place.parent)
    if is_above or place == DEFAULT_DIRECTORY.absolute():
        return ""
    return f", directory={_quoted(Path(os.path.relpath(place, beneath)).as_posix())}"


def _beside(golden: GoldenTrace) -> Path:
    return golden.directory.parent.parent / f"test_golden_{_identifier(golden.name)}.py"


def write_test(golden: GoldenTrace, path: Path | None = None, why: str = "") -> Path:
    """Write the test into a new file and say which.

    Args:
        path: of the file; `test_golden_NAME.py` beside the directory of golden traces without it.

    Raises:
        UsageError: there is a file of that name which is no such test.
    """
    target = path or _beside(golden)
    if target.exists() and f"golden_trace({_quoted(golden.name)}" not in target.read_text("utf-8"):
        raise UsageError("the file already exists", path=target, remedy="choose another name with --test")
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, source_of_test(golden, why, target).encode())
    return target


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "run"


def _quoted(name: str) -> str:
    """The name as Python writes it, in the quotes that formatters leave alone."""
    return json.dumps(name) if name.isprintable() else repr(name)


# A golden trace brought up to date: the recorded actions run with the present code, and recorded again.
#
# An accepted change keeps the older recording up to a step, and checks it from then on.
#
# What other agents, tools and models answered stays as it was recorded; a call that has no answer there
# cannot be made up, so then the run has to be recorded again.


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
        if change is None and not 1 <= step <= len(whole.actions):
            raise UsageError(f"{golden.name} has no step {step}", remedy=f"it has 1 to {len(whole.actions)}")
        made = change or Accepted(step, "", whole.actions[step - 1].event.id)
        if step == 1:
            return replace(made, file="")
        chosen = whole.first(min(step - 1, len(whole.actions)))
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


# A failing run made small: the shortest beginning and the fewest agents that still fail in the same way.
#
# Every step down is tried by driving it; what does not fail in the same way is not taken. What is left is a
# golden trace of its own, and a test that fails until the code does again what was recorded.

_STEP = re.compile(r"\bstep \d+")
_MOST_TRIALS = 100


@dataclass(frozen=True)
class ShrunkGolden:
    """A small golden trace that fails as a larger one does."""

    golden: GoldenTrace
    report: GoldenReport
    actions: tuple[int, int]
    """How many actions it drives, of how many."""
    agents: tuple[int, int]
    """The code of how many agents runs, of how many."""
    trials: int
    """How often something was replayed for it."""
    is_smallest: bool
    """One action or one agent less, and it does not fail in this way; False where the trials ran out."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
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


@dataclass(frozen=True, slots=True)
class _Failure:
    """In what way a replay fails, without what changes when less is replayed."""

    verdict: Verdict
    where: tuple[Any, ...]

    @classmethod
    def of(cls, found: GoldenReport) -> _Failure | None:
        report = found.report
        if found.passes:
            return None
        divergence = report.divergence
        if report.verdict is Verdict.DIVERGED and divergence is not None:
            told = asdict(divergence)
            del told["step"]  # it is another one where less is replayed
            return cls(report.verdict, tuple(map(repr, told.values())))
        first = report.reasons[0] if report.reasons else ", ".join(found.undeclared)
        return cls(report.verdict, (_STEP.sub("step N", first),))


@dataclass(slots=True)
class _Trials:
    """Drives parts of a recording and says whether they fail in the same way."""

    golden: GoldenTrace
    recording: Recording
    failure: _Failure
    progress: Progress | None
    count: int = 0
    _known: dict[tuple[Any, ...], bool] = field(default_factory=dict)

    @property
    def are_over(self) -> bool:
        """No more may be made."""
        return self.count >= _MOST_TRIALS

    def fails(self, chosen: Chosen | None, *, alone: str | None = None) -> bool:
        """Whether a part fails in the same way.

        Args:
            alone: the one agent that the target is asked for; else it is asked for the run.
        """
        if chosen is None or not chosen.actions or not chosen.given:
            return False
        key = (chosen.given, chosen.inside, len(chosen.actions), alone)
        if key not in self._known:
            if self.are_over:
                return False
            self.count += 1
            if self.progress is not None:
                self.progress(1 - 0.9**self.count)  # how many there will be nobody knows
            self._known[key] = self._driven(chosen, alone) == self.failure
        return self._known[key]

    def part(self, chosen: Chosen, alone: str | None) -> GoldenTrace:
        """A golden trace that drives that part."""
        if alone is not None or self.golden.agent_id is not None:
            return replace(self.golden, agent_id=alone or self.golden.agent_id, agents=None, asked_for=None)
        asked = asked_for(self.golden, self.recording)
        return replace(self.golden, agents=tuple(sorted(chosen.agents)), asked_for=asked)

    def _driven(self, chosen: Chosen, alone: str | None) -> _Failure | None:
        with tempfile.TemporaryDirectory(prefix="agent-trace-shrink-") as place:
            part = replace(self.part(chosen, alone), directory=Path(place))
            export_run(
                RunRef(self.recording.session, None), part.recording, only=needed(self.recording, chosen)
            )
            return _Failure.of(check_golden(part))


def shrink_golden(
    golden: GoldenTrace,
    target: str | None = None,
    *,
    name: str | None = None,
    directory: Path | None = None,
    progress: Progress | None = None,
) -> ShrunkGolden:
    """Make the smallest golden trace that fails as this one does.

    Args:
        target: other code than it names.
        name: of the small one; `NAME-shrunk` without it. One of that name is replaced.
        directory: where it is kept; beside the large one without it.
        progress: is told a share that grows.

    Raises:
        UsageError: it does not fail, or nothing of it can be replayed.
    """
    golden = replace(golden, target=target or golden.target)
    with unpacked(golden) as reference:
        first = check_golden(golden)
        failure = _Failure.of(first)
        if failure is None:
            raise UsageError(
                f"{golden.name} does not fail: the code does what was recorded",
                remedy="name code that fails with --target",
            )
        counts = first.report.outcome.counts
        if not counts.actions or not (counts.driven or first.report.divergence):
            why = first.report.reasons[0] if first.report.reasons else "it says not why"
            raise UsageError(f"nothing of {golden.name} can be replayed: {why}", path=golden.directory)
        recording = read_recording(reference.session, golden.agent_id)
        trials = _Trials(golden, recording, failure, progress)
        given, inside = first.report.outcome.agents, inside_agents(first.report, recording)
        whole = choose(recording, given, inside)
        chosen, alone = _fewest_agents(trials, _shortest(trials, whole, first.report), first.report)
        place = directory if directory is not None else golden.directory.parent
        new = name or f"{golden.name}-shrunk"
        part = replace(trials.part(chosen, alone), name=new, directory=golden_place(new, place))
        only = needed(recording, chosen)
        added = keep_recording(part, RunRef(reference.session, None), only, failing=True)
    if not added.is_kept or _Failure.of(added.report) != failure:
        if added.is_kept:
            delete_tree(added.golden.directory)
        raise UsageError(
            f"{golden.name} fails in another way each time, so it cannot be made smaller",
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
    """The shortest beginning that fails in the same way, looked for from where the failure was seen."""
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
    """The fewest agents whose code has to run; and the one that is replayed alone, where one is enough."""
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
    found = part(kept)
    assert found is not None  # noqa: S101 - it was replayed, or it is what was there before
    return found, trials.golden.agent_id


def _minimal(agents: list[str], fails: Callable[[Collection[str]], bool]) -> list[str]:
    """Agents of which none can be left out: delta debugging by complements (Zeller, Hildebrandt 2002)."""
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
