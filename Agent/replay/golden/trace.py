"""A golden trace on disk (its recording, description and expected outcome), and its check.

`recording.zip` is written by `archive/run_export.py`. It is a zip because plain logs would be lost to a
`.gitignore` with `*.log`, and changed by a checkout that converts line ends.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from html import escape
from pathlib import Path
from threading import Event
from typing import Any, Final
from xml.etree import ElementTree

import orjson

from Agent.archive.run_import import import_run
from Agent.errors import AgentTraceError, DamagedInput, InputError, ReplayError, RunNotFound, UsageError
from Agent.event.model import Event as RecordedEvent
from Agent.flight.run_reading import RunRef
from Agent.record.emit.context import states_of
from Agent.render.html import TextInNotebook
from Agent.replay.attempts import RedriveOptions
from Agent.replay.compare.normaliser import Normaliser
from Agent.replay.compare.outcome import Verdict, listed, short
from Agent.replay.compare.report import ReplayReport
from Agent.replay.plan.actions import DrivenAction, make_plan
from Agent.replay.plan.recording import Recording, parents_of, spans_around
from Agent.replay.rerun import drive_again
from Agent.tree.files.session import record_of, replace_file, update_session, why_unread
from Agent.tree.layout import entries_in, files_below, make_private, safe_name
from Agent.tree.retention import delete_tree

DEFAULT_DIRECTORY: Final = Path("tests") / "golden_traces"
"""The default directory of golden traces, relative to a project's root."""
CONCURRENT_ORDER: Final = "order of what concurrent calls did"
"""A difference that every golden trace accepts by default, since a replay does not enforce that order."""
NOT_CHECKED: Final = "NOT CHECKED"
_FORMAT: Final = "agent-trace golden trace"
_VERSION: Final = 1
_WITH_CHANGES: Final = 2
"""The version of golden traces with ignored fields or accepted changes, which version 1 does not have."""
_LATER: Final = frozenset({"ignore", "accepted", "factory"})
_DESCRIPTION: Final = "golden.json"
_RECORDING: Final = "recording.zip"
_MAX_DESCRIPTION_BYTES: Final = 1 << 20
_RESTORE: Final = "restore it from version control, or add it again with --replace"


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted change of behaviour: from this step on, the code may differ from the older recording."""

    step: int
    """The first replayed action that may differ from the older recording, counted from 1."""
    reason: str
    event_id: str = ""
    """The event of that action in the older recording."""
    file: str = ""
    """The older recording up to that step, a file next to `recording.zip`; "" if the step is the first."""
    at: str = ""
    """When it was accepted, RFC 3339."""
    agents: tuple[str, ...] | None = None
    """The agents whose code runs in the older recording; None if a single agent is replayed."""
    asked_for: str | None = None
    """With `agents`: the agent id that is passed to the target."""

    def __str__(self) -> str:
        return f"new behaviour from step {self.step} on, accepted {self.at[:10]}: {self.reason}"


@dataclass(frozen=True, slots=True)
class GoldenTrace:
    """The description of a golden trace, stored in `golden.json`."""

    name: str
    directory: Path
    """The directory of this golden trace."""
    target: str
    """`module:factory`."""
    agent_id: str | None = None
    """The one agent that is replayed; None for the whole run."""
    agents: tuple[str, ...] | None = None
    """In a whole run, the agents whose code runs; None for all that the target returns."""
    asked_for: str | None = None
    """With `agents`: the agent id that is passed to the target; None for the whole run."""
    normaliser: Normaliser = field(default_factory=Normaliser)
    """Which differences are allowed."""
    accepts: tuple[str, ...] = (CONCURRENT_ORDER,)
    """Further allowed differences, such as redacted values and ids of events."""
    ignore: tuple[str, ...] = ()
    """Fields that are not compared: `field`, `agent.field`, or patterns of them."""
    accepted: tuple[Accepted, ...] = ()
    """Changes of behaviour, in the order in which they were accepted."""
    factory: tuple[str, ...] = ()
    """How the target's objects differed from the first recorded states when the golden trace was added."""
    network: bool = False
    """Whether replayed code may use the network."""
    timeout_seconds: float | None = None
    origin: str = ""
    """The run that it was made from, as written on a command line."""
    recorded_at: str = ""
    program: str = ""
    """The name of the recorded program's main file, whose classes are in `__main__`."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The settings of the recording that affect a replay."""

    @property
    def recording(self) -> Path:
        """The file that holds the recording."""
        return self.directory / _RECORDING

    @property
    def accepted_with_files(self) -> tuple[Accepted, ...]:
        """The accepted changes with an older recording; one from the first step on has none."""
        return tuple(change for change in self.accepted if change.file)

    @property
    def expected(self) -> Path:
        """The file with the expected outcome, for people and for syrupy."""
        return self.directory / "expected.txt"

    def to_object(self) -> dict[str, Any]:
        """Return the description as a JSON object; empty fields that version 1 does not have are left out."""
        stored: dict[str, Any] = {
            "format": _FORMAT,
            "version": _WITH_CHANGES if self.accepted or self.ignore else _VERSION,
        }
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "normaliser":
                stored["normalise"] = self.normaliser.to_object()
            elif each.name != "directory" and (value or each.name not in _LATER):
                stored[each.name] = value
        stored_form: dict[str, Any] = orjson.loads(orjson.dumps(stored))
        return stored_form

    def save(self) -> None:
        """Write the description; create the directory if it does not exist."""
        make_private(self.directory, parents=True, exist_ok=True)
        data = orjson.dumps(self.to_object(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        replace_file(self.directory / _DESCRIPTION, data)

    @property
    def size_bytes(self) -> int:
        """The total size of its files in bytes."""
        return sum(path.stat().st_size for path in files_below(self.directory))


def golden_place(name: str, directory: Path) -> Path:
    """Return the directory of the golden trace with this name.

    Raises:
        UsageError: the name is empty.
    """
    if not name.strip():
        raise UsageError("a golden trace needs a name", remedy="give --name")
    return directory / safe_name(name)


def find_golden(name: str, directory: Path = DEFAULT_DIRECTORY) -> GoldenTrace:
    """Return the golden trace with this name.

    Raises:
        RunNotFound: it does not exist.
        DamagedInput: it cannot be read.
    """
    place = golden_place(name, directory)
    if _is_golden(place):
        return _read(place)
    from difflib import get_close_matches

    near = get_close_matches(name, [path.name for path in golden_places(directory)], n=1)
    hint = f"did you mean {near[0]}? To add it" if near else "to add it"
    raise RunNotFound(
        f"there is no golden trace {name!r}",
        path=directory,
        remedy=f"{hint}: agent-trace golden add RUN --name {name}",
    )


def list_goldens(directory: Path = DEFAULT_DIRECTORY) -> list[GoldenTrace]:
    """Return the golden traces in a directory, sorted by name.

    Raises:
        DamagedInput: one of them cannot be read.
    """
    return sorted(map(_read, golden_places(directory)), key=lambda golden: golden.name)


def golden_places(directory: Path = DEFAULT_DIRECTORY) -> list[Path]:
    """Return the directory of each golden trace in a directory, sorted, without reading the golden traces."""
    shown = [path for path in entries_in(directory) if not path.name.startswith(".")]
    return sorted(filter(_is_golden, shown))


def _is_golden(place: Path) -> bool:
    """Return whether a directory is a golden trace, which it remains without one of its two files."""
    return any((place / name).exists() for name in (_DESCRIPTION, _RECORDING))


def remove_golden(name: str, directory: Path = DEFAULT_DIRECTORY) -> GoldenTrace:
    """Delete a golden trace, and return its description; errors as in `find_golden`."""
    golden = find_golden(name, directory)
    delete_tree(golden.directory)
    return golden


def _read(place: Path) -> GoldenTrace:
    path = place / _DESCRIPTION
    try:
        with path.open("rb") as file:
            stored = orjson.loads(file.read(_MAX_DESCRIPTION_BYTES))
        return _golden(stored, place)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, UsageError) as error:
        raise DamagedInput(
            f"the golden trace cannot be read: {why_unread(error)}",
            path=path,
            remedy=_RESTORE,
        ) from None


def _golden(stored: Any, path: Path) -> GoldenTrace:
    version = stored["version"]
    if stored["format"] != _FORMAT or type(version) is not int or version not in (_VERSION, _WITH_CHANGES):
        raise ValueError(f"it is {stored['format']!r} {version!r}, this version reads 1 and 2")
    known = {each.name for each in fields(GoldenTrace)} - {"directory", "normaliser"}
    missing = known - stored.keys() - _LATER
    if missing:
        raise ValueError(f"it lacks {min(missing)}")
    unknown = stored.keys() - known - {"format", "version", "normalise"}
    if unknown:
        raise ValueError(f"it has {min(unknown)!r}, which this version does not know")
    golden = record_of(
        GoldenTrace,
        stored,
        directory=path,
        normaliser=Normaliser.from_object(stored["normalise"]),
        accepted=tuple(map(_accepted, stored.get("accepted", ()))),
    )
    if ":" not in golden.target:
        raise ValueError(f"its target {golden.target!r} is not module:factory")
    if safe_name(golden.name) != path.name:
        raise ValueError(f"its name is {golden.name!r}, and that of its directory {path.name!r}")
    return golden


def _accepted(stored: Any) -> Accepted:
    accepted = record_of(Accepted, stored)
    if accepted.file and Path(accepted.file).name != accepted.file:
        raise ValueError(f"{accepted.file!r} is not the name of a file")
    return accepted


# Checking a golden trace: unpack its recording, replay it with the current code, and judge the outcome.
#
# A check passes only if something was proved: UNVERIFIED fails with its reasons, and EQUIVALENT passes only
# if the golden trace declares the differences.

_DECLARED = ", as declared"
_INHERENT = {
    "redacted values": re.compile(r"\d+ redacted values\b"),
    "ids of events": re.compile(r"\d+ ids of events\b"),
    CONCURRENT_ORDER: re.compile(re.escape(CONCURRENT_ORDER)),
}


@dataclass(frozen=True)
class GoldenReport(TextInNotebook):
    """The result of checking a golden trace; `str()` is for people, `to_dict()` for programs."""

    golden: GoldenTrace
    report: ReplayReport
    before: Accepted | None = None
    """The accepted change whose older recording no longer matches the code."""

    dropped: tuple[Accepted, ...] = ()
    """Accepted changes that an update removed, since the code now differs before them."""

    @property
    def name(self) -> str:
        """The golden trace's name."""
        return self.golden.name

    @property
    def directory(self) -> Path:
        """The directory that contains the golden trace."""
        return self.golden.directory.parent

    @property
    def undeclared(self) -> tuple[str, ...]:
        """The differences of an EQUIVALENT replay that the golden trace does not declare."""
        if self.report.verdict is not Verdict.EQUIVALENT:
            return ()
        kinds = (kind_of(line) for line in self.report.outcome.normalisers)
        return tuple(dict.fromkeys(kind for kind in kinds if kind and kind not in self.golden.accepts))

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of a passing check: changed target objects, changed code, accepted changes."""
        outcome = self.report.outcome
        differences = [
            difference for difference in outcome.factory_differences if difference not in self.golden.factory
        ]
        if outcome.changed_code:
            differences.append(f"changed since the recording: {listed(outcome.changed_code)}")
        elif outcome.changed_modules:
            # A golden trace holds the program's calls, not the program, so a change that alters which calls
            # are made cannot show up in a check.
            changed = ", ".join(outcome.changed_modules)
            differences.append(
                f"changed, but in no replayed method: {changed}; the recorded calls do the same"
            )
        return (*differences, *map(str, self.golden.accepted))

    @property
    def passes(self) -> bool:
        """Whether the code matches the recording: IDENTICAL, or EQUIVALENT as declared."""
        return self.report.verdict in {Verdict.IDENTICAL, Verdict.EQUIVALENT} and not self.undeclared

    @property
    def verdict(self) -> str:
        """The verdict of the check."""
        return str(self.report.verdict)

    @property
    def why(self) -> str:
        """The first difference of a failing check, or why it proved nothing, in one line."""
        divergence = self.report.outcome.divergence
        if divergence is not None:
            recorded, replayed = divergence.texts
            where = divergence.where or divergence.field + divergence.path
            return f"{divergence.step_text}: {where}, recorded {recorded}, replayed {replayed}"
        if self.report.reasons:
            return self.report.reasons[0]
        return f"may not differ in {' and '.join(self.undeclared)}" if self.undeclared else self.verdict

    @property
    def exit_code(self) -> int:
        """0 if the check passes, 4 if nothing was proved, else 1."""
        return 0 if self.passes else self.report.exit_code or 1

    @property
    def outcome_text(self) -> str:
        """The outcome in reproducible lines, which are compared with `expected.txt`."""
        divergence = self.report.outcome.divergence
        if self.passes:
            return self.expected_text
        lines = [f"does not do what was recorded: {self.report.verdict}"]
        if divergence is not None:
            where = f"{divergence.field}{divergence.path}"
            lines.append(f"step {divergence.step}, {divergence.action} of {divergence.agent_id}: {where}")
            lines += [f"recorded: {short(divergence.recorded)}", f"replayed: {short(divergence.replayed)}"]
        lines += [f"because {reason}" for reason in self.report.reasons]
        lines += [f"equal but for {kind}, which is not declared" for kind in self.undeclared]
        return "\n".join(lines) + "\n"

    @property
    def expected_text(self) -> str:
        """The contents of `expected.txt` for this recording."""
        outcome = self.report.outcome
        who = f"agents: {', '.join(outcome.agents)}\nactions: {outcome.counts.actions}\n"
        return f"does what was recorded\n{who}"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values, including the report of the replay."""
        shown = self.report.to_dict()
        del shown["session"], shown["path"]  # both were temporary
        return {
            **shown,
            "name": self.name,
            "passes": self.passes,
            "exit_code": self.exit_code,
            "undeclared": list(self.undeclared),
            "accepted": [asdict(each) for each in self.golden.accepted],
            "dropped": [asdict(each) for each in self.dropped],
            "failed_before": None if self.before is None else self.before.step,
        }

    def __str__(self) -> str:
        lines = str(self.report).splitlines()
        lines[-1] = f"  target {self.report.target}, golden trace {self.golden.directory}"
        if self.before is not None:
            lines.insert(1, f"  before step {self.before.step}, where a change was accepted")
        lines += [f"  {change}" for change in self.golden.accepted]
        lines += [f"  no longer kept, since the code differs before it: {change}" for change in self.dropped]
        if self.undeclared:
            lines.insert(1, f"  fails: it differs in {' and '.join(self.undeclared)}, which is not declared")
        return "\n".join(lines)


@dataclass(frozen=True)
class NotChecked:
    """A golden trace that could not be checked: it, or its target, cannot be read or imported."""

    name: str
    directory: Path
    """The directory that contains it."""
    error: AgentTraceError
    passes = False
    verdict = NOT_CHECKED
    notes = ()

    @property
    def why(self) -> str:
        """The error."""
        return str(self.error)

    @property
    def exit_code(self) -> int:
        """The exit code of the error."""
        return self.error.exit_code

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values, without a verdict."""
        return {"name": self.name, "passes": False, "verdict": None, "exit_code": self.exit_code}

    def __str__(self) -> str:
        return f"{NOT_CHECKED} {self.name}: {self.error}"


def try_golden(path: Path, target: str | None = None, stop: Event | None = None) -> GoldenReport | NotChecked:
    """Check a golden trace as `check_golden` does; return errors of it or of its target as NotChecked.

    Args:
        path: the directory of the golden trace.
    """
    name = path.name
    try:
        golden = _read(path)
        name = golden.name
        return check_golden(golden, target, stop)
    except (InputError, ReplayError) as error:
        return NotChecked(name, path.parent, error)


def kind_of(line: str) -> str | None:
    """Return the kind of difference that a report's line names; None if a normaliser was declared for it."""
    if line.endswith(_DECLARED):
        return None
    return next((kind for kind, pattern in _INHERENT.items() if pattern.match(line)), line)


def check_golden(
    golden: GoldenTrace, target: str | None = None, stop: Event | None = None, *, keep_going: int = 0
) -> GoldenReport:
    """Replay the recording with the current code in a worker process, without network access by default.

    The older recordings of accepted changes are checked first.

    Args:
        target: the target to use instead of the golden trace's own, as `module:factory`.
        stop: if another thread sets it, the check ends with CancelledError.
        keep_going: how many differences to look for after the first one.

    Raises:
        DamagedInput: the recording is damaged.
    """
    for change in golden.accepted_with_files:
        checked = check_recording(golden, change, target, stop, keep_going=keep_going)
        if not checked.passes:
            return replace(checked, golden=golden, before=change)
    return check_recording(golden, None, target, stop, keep_going=keep_going)


def check_recording(
    golden: GoldenTrace,
    before: Accepted | None,
    target: str | None = None,
    stop: Event | None = None,
    *,
    keep_going: int = 0,
) -> GoldenReport:
    """Check one recording of a golden trace.

    Args:
        before: the accepted change before which the older recording ends, which has a file; None for the
            recording itself.
        keep_going: how many differences to look for after the first one.
    """
    if before is not None:
        golden = replace(golden, agents=before.agents, asked_for=before.asked_for)
    same = ("timeout_seconds", "normaliser", "network", "agents", "asked_for", "ignore")
    options = RedriveOptions(
        **{name: getattr(golden, name) for name in same}, stop=stop, keep_going=keep_going
    )
    with unpacked(golden, before) as reference:
        return GoldenReport(golden, drive_again(reference, target or golden.target, options))


@contextmanager
def unpacked(golden: GoldenTrace, before: Accepted | None = None) -> Iterator[RunRef]:
    """Unpack a recording as a session in a temporary directory, which exists during the block.

    Args:
        before: as for `check_recording`.
    """
    recording = golden.recording if before is None else golden.directory / before.file
    if not recording.is_file():
        raise DamagedInput(f"the golden trace lacks {recording.name}", path=recording, remedy=_RESTORE)
    with tempfile.TemporaryDirectory(prefix="agent-trace-golden-") as directory:
        session = import_run(recording, Path(directory, "trace")).session
        update_session(session, configuration=golden.settings, argv=(golden.program,))
        yield RunRef(session, None, golden.agent_id)


# Selecting the events of a session that a replay of some agents or of the first steps needs.
#
# A golden trace keeps only these; `shrink_golden` looks for the fewest that still fail.


@dataclass(frozen=True, slots=True)
class Chosen:
    """A part of a recording that can be replayed alone."""

    given: frozenset[str]
    """The agents whose code runs and whose objects the target returns."""
    inside: frozenset[str]
    """The agents whose code runs inside a call of those."""
    actions: tuple[DrivenAction, ...]
    is_whole: bool
    """Whether it includes the last action, so that the final states can be compared."""

    @property
    def agents(self) -> frozenset[str]:
        """All agents whose code runs."""
        return self.given | self.inside

    def first(self, count: int) -> Chosen:
        """Return the part with only the first `count` actions."""
        return replace(self, actions=self.actions[:count], is_whole=count >= len(self.actions))

    def until(self, event_id: str | None) -> Chosen | None:
        """Return the part up to the action of an event (None: the whole part); None if it is not replayed."""
        if event_id is None:
            return self
        ends = [count for count, action in enumerate(self.actions, 1) if action.event.id == event_id]
        return self.first(ends[0]) if ends else None


def choose(recording: Recording, given: Collection[str], inside: Collection[str]) -> Chosen:
    """Return the part with all actions of these agents."""
    plan = make_plan(recording, frozenset(given), frozenset({*given, *inside}))
    return Chosen(frozenset(given), frozenset(inside), tuple(plan.actions), is_whole=True)


def needed(recording: Recording, chosen: Chosen | None = None) -> Callable[[RecordedEvent], bool]:
    """Return a predicate for the session's events: whether a replay of a part needs the event.

    Args:
        chosen: the part; the default is the whole recording, which may be that of one agent.
    """
    needed_events = recording.events if chosen is None else list(_events_of(recording, chosen))
    needed_events = [*needed_events, *_moves_of(recording, chosen)]
    ids = {event.id for event in needed_events}
    codes = {event.code for event in needed_events if event.code is not None}
    states: set[Any] = set()
    for event in needed_events:
        states |= states_of(event.extra)
    # The first states of all agents show whether a random generator is shared with one that is not replayed.
    is_shared = any(facts.shared_with for facts in recording.agents.values())

    def is_needed(event: RecordedEvent) -> bool:
        if event.id in ids or event.kind == "log.dropped":
            return True
        if event.kind == "code":
            return event.extra.get("digest") in codes or "modules" in event.extra
        if event.kind == "source.state":
            return event.id in states
        return is_shared and event.kind == "state" and event.extra.get("reason") == "first"

    return is_needed


def _moves_of(recording: Recording, chosen: Chosen | None) -> Iterator[RecordedEvent]:
    """Yield the changes between the actions to what the agents hold; events of none of them may tell it."""
    agents = {recording.agent_id} if chosen is None else chosen.agents
    held = {number for name, facts in recording.agents.items() if name in agents for number in facts.held}
    moves: Iterable[RecordedEvent] = recording.moves
    if chosen is not None and not chosen.is_whole:
        moves = (each for action in chosen.actions for each in action.moved)
    for event in moves:
        if not held.isdisjoint(map(int, event.extra["moved"])):
            yield event


def _events_of(recording: Recording, chosen: Chosen) -> Iterable[RecordedEvent]:
    """Yield the events of the replayed actions, those inside them, and the states around them."""
    spans = {action.event.span_id for action in chosen.actions}
    parents = parents_of(recording.events)
    around = {
        event.id for action in chosen.actions for event in (*action.before, *action.after, action.event)
    }
    for facts in recording.agents.values():
        if facts.agent_id in chosen.agents and facts.first_state is not None:
            around.add(facts.first_state.id)
    for event in recording.events:
        is_end = event.kind == "state" and str(event.extra.get("reason")) in {"exit", "gone"}
        if (
            event.id in around
            or (chosen.is_whole and is_end and event.agent_id in chosen.agents)
            or not spans.isdisjoint(spans_around(event, parents))
        ):
            yield event


def inside_agents(report: ReplayReport, recording: Recording) -> set[str]:
    """Return the agents whose code ran, or may have run, inside calls of the replayed agents."""
    outcome = report.outcome
    answered = set(outcome.answered)
    nested = {facts.agent_id for facts in recording.agents.values() if facts.entries and not facts.roots}
    return (set(outcome.inside) | (nested - answered if outcome.inside else set())) - set(outcome.agents)


def asked_for(golden: GoldenTrace, recording: Recording) -> str | None:
    """Return the agent id that is passed to the target if only a part of a whole run is replayed."""
    if golden.agents is not None:
        return golden.asked_for
    # The target has to build the same objects for a part as for the whole run.
    roots = [facts.agent_id for facts in recording.agents.values() if facts.roots]
    return roots[0] if len(roots) == 1 else None


_ERRORS: Final = {NOT_CHECKED, str(Verdict.UNVERIFIED)}
_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_report(reports: Sequence[GoldenReport | NotChecked]) -> bytes:
    """Return the checks as a JUnit XML suite: DIVERGED is a failure, a check that proved nothing an error."""
    failed = [report for report in reports if not report.passes]
    errors = sum(report.verdict in _ERRORS for report in failed)
    counts = {"tests": len(reports), "failures": len(failed) - errors, "errors": errors, "skipped": 0}
    suite = ElementTree.Element(
        "testsuite", {"name": "golden traces", **{name: str(count) for name, count in counts.items()}}
    )
    for report in reports:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {"classname": _clean(str(report.directory)), "name": _clean(report.name)},
        )
        if not report.passes:
            kind = "error" if report.verdict in _ERRORS else "failure"
            about = {"type": report.verdict, "message": _clean(report.why)}
            ElementTree.SubElement(case, kind, about).text = _clean(str(report))
        elif report.notes:
            ElementTree.SubElement(case, "system-out").text = _clean("\n".join(report.notes))
    whole = ElementTree.Element("testsuites")
    whole.append(suite)
    ElementTree.indent(whole)
    document: bytes = ElementTree.tostring(whole, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def markdown_report(reports: Sequence[GoldenReport | NotChecked]) -> str:
    """Return the checks as a table with each first difference, and the full reports of those that fail."""
    passed = sum(report.passes for report in reports)
    lines = [
        f"### Golden traces: {passed:,} of {len(reports):,} passed",
        "",
        "| golden trace | verdict | first difference |",
        "|---|---|---|",
    ]
    for report in reports:
        first = "" if report.passes else _cell(report.why)
        lines.append(f"| {_cell(report.name)} | {report.verdict} | {first} |")
    for report in reports:
        if not report.passes:
            text = str(report)
            fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=2) + 1)
            fence = fence if len(fence) > 2 else "```"
            lines += [
                "",
                f"<details><summary>{escape(report.name, quote=False)}</summary>",
                "",
                fence,
                text,
                fence,
                "",
                "</details>",
            ]
    return "\n".join(lines) + "\n"


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("�", text)


def _cell(text: str) -> str:
    return " ".join(escape(text, quote=False).replace("|", "\\|").split())
