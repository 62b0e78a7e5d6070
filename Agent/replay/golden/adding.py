"""A recorded run made into a golden trace: reduced to what a replay needs, written, and checked at once.

It is put together in a directory beside its place and gets its name when the check has shown that it holds.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from Agent.archive.run_export import export_run
from Agent.errors import ReplayError, SessionNotFound, UsageError
from Agent.event.model import Event
from Agent.flight.runs.reading import RunRef
from Agent.flight.runs.reading import find_run as find_any_run
from Agent.record.emit.installed import flush_active
from Agent.replay.compare.normaliser import Normaliser
from Agent.replay.golden.checking import GoldenReport, check_golden
from Agent.replay.golden.selection import needed
from Agent.replay.golden.trace import DEFAULT_DIRECTORY, GoldenTrace, golden_place, write_file
from Agent.replay.plan.recording import Recording, read_recording, session_info
from Agent.replay.plan.reference import RunReference, find_run
from Agent.replay.plan.target import Target, target_name
from Agent.replay.rerun import check_holds_actions, ignored_names
from Agent.tree.files.session import SessionInfo
from Agent.tree.layout import DIRECTORY_MODE
from Agent.tree.retention.retention import delete_tree

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
    ref = _found(run, root)
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
        origin=_name_of(ref),
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
            draft.save()
        place = replace(draft, directory=golden.directory)
        again = check_golden(draft, keep_going=_MOST_DIFFERENCES) if twice else None
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


def _found(run: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> RunRef:
    """The session, agent or explicit run that is meant."""
    try:
        found: RunReference = find_run(run, root)
    except SessionNotFound:
        return find_any_run(run, root)
    return RunRef(found.session, None, found.agent_id)


def _name_of(ref: RunRef) -> str:
    session = ref.session.name.removeprefix("session_")
    return ref.run_id or (f"{session}/{ref.agent_id}" if ref.agent_id is not None else session)


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


def source_of_test(golden: GoldenTrace, why: str = "") -> str:
    """The test as text.

    Args:
        why: what the test is about, a clause without a full stop.
    """
    what = " ".join(why.split()) or f"the code still does what {golden.origin} did"
    told = f"{golden.name}: {what}".replace("\\", "/").replace('"', "'").rstrip(".")
    told = told if len(told) <= _MAX_CHARS else told[: _MAX_CHARS - 3] + ".."
    return (
        f'"""{told}."""\n\n\n'
        f"def test_{_identifier(golden.name)}(golden_trace):\n    golden_trace({_quoted(golden.name)})\n"
    )


def write_test(golden: GoldenTrace, path: Path | None = None, why: str = "") -> Path:
    """Write the test into a new file and say which.

    Args:
        path: of the file; `test_golden_NAME.py` beside the directory of golden traces without it.

    Raises:
        UsageError: there is a file of that name which is no such test.
    """
    target = path or golden.directory.parent.parent / f"test_golden_{_identifier(golden.name)}.py"
    if target.exists() and f"golden_trace({_quoted(golden.name)})" not in target.read_text("utf-8"):
        raise UsageError("the file already exists", path=target, remedy="choose another name with --test")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(source_of_test(golden, why), "utf-8")
    return target


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "run"


def _quoted(name: str) -> str:
    """The name as Python writes it, in the quotes that formatters leave alone."""
    return json.dumps(name) if name.isprintable() else repr(name)
