"""`compare_runs`: the first difference of two sessions, runs or forks; `differing_events`: all of one agent.

Sessions are bisected if possible; they are reported as alike only after every event was compared. After the
first difference two runs no longer agree event by event, so `differing_events` pairs events by tick, kind and
action; an event without a partner is reported as one that only one run has. `replay_metrics` compares every
fork under a trace root with its origin.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.errors import InputError
from Agent.event.model import Event
from Agent.event.values.plain import read_json
from Agent.flight.run_reading import RunName, list_runs
from Agent.record.emit.installed import flush_active
from Agent.record.encode.artifact_bytes import is_text
from Agent.render.formats import plural
from Agent.render.html import TextInNotebook
from Agent.replay.compare.comparison import SOMEWHERE_INSIDE, Comparison, Recorded, with_other_frames
from Agent.replay.compare.emitted_events import describe, pair_difference
from Agent.replay.compare.normaliser import NOT_READ_IN_CALLS, LibraryValues
from Agent.replay.compare.outcome import ReplayOutcome, listed
from Agent.replay.compare.program_state import OF_STORED_CODE
from Agent.replay.compare.python_text import differing_texts
from Agent.replay.diff.first_difference import (
    PASSED_OVER,
    ForkedAt,
    PlacedDivergence,
    RunDivergence,
    SameIds,
    StreamWalk,
    placed_divergence,
    tick_times,
    with_tick,
)
from Agent.replay.diff.run_side import (
    END,
    Bisection,
    Meter,
    RunSide,
    StreamKey,
    Unseekable,
    align,
    open_side,
    pair_agents,
)
from Agent.replay.drive.states import FieldRules
from Agent.replay.plan.recording import is_traced_action, method_name, module_names
from Agent.tree.default_root import default_root
from Agent.tree.files.session import lineage_of, session_info
from Agent.tree.layout import (
    entries_in,
    files_below,
    is_encrypted,
    read_file,
    readable_sessions,
    run_dirs,
)
from Agent.tree.write.artifacts import ROOT_RUN, artifact_path, read_artifact

ONLY_COUNTED: Final = "is a generator, and the recording has only the number of its items"
_SMALL_BYTES: Final = 32 * 1024 * 1024
"""Sessions with fewer bytes together are compared completely, in about 0.1 s of processor time a MB."""
_MOST_NAMED = 5
MOST_DIFFERING: Final = 200
_MOST_PAIRED: Final = 4_000
"""The maximum number of events per run that are paired at once; pairing takes up to its square in steps."""


@dataclass(frozen=True)
class RunComparison(TextInNotebook):
    """The result of comparing two runs; true if they differ."""

    a: str
    b: str
    divergence: RunDivergence | None
    """The first difference; None if the runs are alike."""
    compared: int
    """The number of equal pairs of events."""
    states: int
    """The number of equal pairs of states (first, full and last)."""
    method: str
    """`bisection` or `walk`."""
    meter: Meter
    notes: tuple[str, ...] = ()
    not_compared: Mapping[str, str] = field(default_factory=dict)
    """{`agent.field`: why it was not compared}."""
    unseen: tuple[str, ...] = ()
    """Other values that could not be compared, and why."""
    of_agents: tuple[RunDivergence, ...] = ()
    """The first difference of each stream of events, in order, if `every_agent` was set."""
    changed_code: tuple[str, ...] = ()
    """The places of values that differ only in the code they contain, from `compare_actions`."""
    earlier_is_possible: bool = False
    """Whether an earlier difference is possible, since a bisection only sampled the events before it."""

    @property
    def exit_code(self) -> int:
        """Return 1 if they differ, 0 if they are alike, 4 if nothing could be compared."""
        return 1 if self.divergence is not None else 0 if self.compared or self.states else 4

    def __bool__(self) -> bool:
        return self.divergence is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        meter = self.meter
        read = {"lines": meter.lines, "size_bytes": meter.size_bytes, "of_bytes": meter.total_bytes}
        names = ("a", "b", "compared", "states", "not_compared", "unseen", "method", "notes")
        return {name: getattr(self, name) for name in (*names, "earlier_is_possible")} | {
            "differ": bool(self),
            "divergence": None if self.divergence is None else self.divergence.to_dict(),
            "read": read if self.method == "bisection" else None,
        }

    def __str__(self) -> str:
        divergence = self.divergence
        if divergence is None and not (self.compared or self.states):
            lines = [f"{self.a} and {self.b} have no comparable events or states"]
        elif divergence is None:
            rest = " in everything that could be compared" if self.not_compared or self.unseen else ""
            lines = [f"{self.a} and {self.b} are alike{rest}"]
        else:
            is_event = divergence.field == "events"
            one, other = (
                map(str, (divergence.a, divergence.b))
                if is_event
                else differing_texts(divergence.a, divergence.b)
            )
            earlier = " (an earlier difference is possible)" if self.earlier_is_possible else ""
            lines = [
                f"{self.a} and {self.b} differ at {divergence}{earlier}",
                f"  a: {one}" + (f" (event {divergence.event_a})" if divergence.event_a else ""),
                f"  b: {other}" + (f" (event {divergence.event_b})" if divergence.event_b else ""),
            ]
            if divergence.common_cause is not None:
                lines.append(f"  last in common: {divergence.common_cause}")
        lines += [f"  not compared: {line}" for line in _grouped(self.not_compared)]
        lines += [f"  not compared: {line}" for line in self.unseen[:_MOST_NAMED]]
        if len(self.unseen) > _MOST_NAMED:
            lines.append(f"  not compared: {plural(len(self.unseen) - _MOST_NAMED, 'more value')}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes), f"  {self._reading}"])

    @property
    def _reading(self) -> str:
        if self.method == "walk":
            before = " before that" if self.divergence is not None else ""
            return f"{_pairs(self.compared, 'event')} and {_pairs(self.states, 'state')} agree{before}"
        return (
            f"found by bisection: {plural(self.meter.lines, 'line')} read, "
            f"{self.meter.size_bytes / 1e6:.2f} of "
            f"{self.meter.total_bytes / 1e6:,.1f} MB ({self.meter.share:.2%})"
        )


def _pairs(count: int, what: str) -> str:
    return f"{plural(count, 'pair')} of {what}s"


def compare_runs(
    a: RunName,
    b: RunName,
    root: str | os.PathLike[str] | None = None,
    *,
    exhaustive: bool = False,
    every_agent: bool = False,
    progress: Callable[[float], None] = lambda _: None,
) -> RunComparison:
    """Find the first difference of two runs: tick, agent and field with both values.

    Also finds the last event that both have in common. Events are paired by agent, order and place; ids,
    times and measured numbers are ignored. A fork is compared with its origin from the point where it
    continues.

    Args:
        a: a run's id or a unique prefix, a session, `SESSION/agent_id`, or `last`.
        b: likewise.
        root: the trace root; default: the configured one, then ./trace.
        exhaustive: compare every event from the beginning instead of bisecting, as is done where the
            sessions are small.
        every_agent: likewise, and find the first difference of each agent, too.
        progress: called with the share of streams compared, unless bisection finds the difference.

    Raises:
        RunNotFound, SessionNotFound, AgentNotFound: a run does not exist.
        UsageError: they name two agents.
    """
    flush_active()
    one, other = open_side(a, root), open_side(b, root)
    pair_agents(one, other)
    notes = align(one, other)
    is_aligned = one.since is not None or other.since is not None
    same_ids = _same_ids(one, other)
    if not exhaustive and not every_agent and not is_aligned and not _are_small(one, other):
        try:
            comparison = _bisected(one, other, same_ids, notes)
        except Unseekable as why:
            notes.append(f"compared every event: {why}")
        else:
            if comparison is not None:
                return comparison
            notes.append("compared every event, since the ends are alike")
    return _walked(one, other, same_ids, notes, every_agent=every_agent, progress=progress)


def compare_actions(a: Path, b: Path, made: LibraryValues | None, *, is_whole: bool = False) -> RunComparison:
    """Find the first difference of two runs of one whole program inside their actions and in their states.

    Writes of untraced code between actions are not compared, since the moment at which they are noticed
    depends on timing. Neither are the final contents of referenced objects. Values that differ only in
    the code they contain are listed, since actions alone show its effect; see `unseen_effects`. It matters
    which of several equal objects another one holds.

    Args:
        a: the first session.
        b: the second.
        made: the ids and times that libraries made, which agree by form.
        is_whole: whether to compare what was recorded between actions, too.
    """
    one, other = open_side(a, None), open_side(b, None)
    one.skips_writes = other.skips_writes = True
    one.only_actions = other.only_actions = not is_whole
    return _walked(one, other, _same_ids(one, other), [], made=made, are_of_one_program=True)


def unseen_effects(
    comparison: RunComparison, events: Iterable[Event], in_program: Iterable[str], *, has_changed: bool
) -> Iterator[str]:
    """Yield why a program whose runs agree may do otherwise where its untraced code uses what actions made.

    Args:
        comparison: the comparison of its runs.
        events: the recorded events.
        in_program: the globals and the like that differ only in code.
        has_changed: whether any code of the program changed.
    """
    changed = (*comparison.changed_code, *in_program)
    if changed:
        yield f"code changed in {listed(changed, _MOST_NAMED)}, {OF_STORED_CODE}"
    hidden: dict[str, None] = {}
    for event in events if has_changed else ():
        if event.code is not None and event.extra.get("yielded"):
            yield f"code changed, and {describe(event)} {ONLY_COUNTED}"
        elif is_traced_action(event) and "yielded" not in event.extra:
            hidden.update(dict.fromkeys(_not_captured(event)))
    if hidden:
        yield f"code changed, and {listed(tuple(hidden), _MOST_NAMED)} are not captured"


def _not_captured(event: Event) -> Iterator[str]:
    """Yield whether the arguments and the result of a traced call were left out of its event."""
    call = f"{method_name(event)} of {event.agent_id}"
    if "args" not in event.extra:
        yield f"arguments of {call}"
    if "result" not in event.extra and event.extra.get("outcome") is None:
        yield f"results of {call}"


def _are_small(one: RunSide, other: RunSide) -> bool:
    """Whether a full comparison of two sessions that could be bisected is soon done."""
    files = [side.files(key) for side in (one, other) for key in side.streams()]
    if any(paths is None for paths in files):
        return False
    return sum(path.stat().st_size for paths in files for path in paths or ()) <= _SMALL_BYTES


def _have_arguments(one: RunSide, other: RunSide) -> bool:
    """Whether calls changed the same arguments in both; those of a fork changed copies."""
    return all(side.lineage is None and side.forked is None for side in (one, other))


def _same_ids(one: RunSide, other: RunSide) -> SameIds:
    sides = one, other
    return SameIds(
        frozenset(name for side in sides for name in side.writers()),
        frozenset(name for side in sides for name in side.reader.run_ids()),
    )


def _comparison(one: RunSide, other: RunSide, same_ids: SameIds, **more: Any) -> Comparison:
    """Return the comparison of two runs' values; `more` are other arguments of `Comparison`."""
    return Comparison(None, same_ids, scripts=module_names(one.session, other.session), **more)


def _bisected(one: RunSide, other: RunSide, same_ids: SameIds, notes: list[str]) -> RunComparison | None:
    comparison = _comparison(one, other, same_ids)
    bisection = Bisection(one, other, same_ids, comparison)
    window = bisection.window()
    if window is None:
        return None
    walk = StreamWalk(comparison, same_ids, has_ends=True, has_arguments=_have_arguments(one, other))
    best: PlacedDivergence | None = None
    for key in bisection.pairs:
        best = _earlier(best, walk.first_divergence(*bisection.events(key, window), limit=best))
    if best is None:
        raise Unseekable("the difference at the end could not be located by blocks")
    notes += window.notes
    is_sampled = window.first != -END
    if is_sampled:
        notes.append(
            f"events before {window.unit} {window.first:.0f} were sampled and found alike; --exhaustive "
            "compares all of them"
        )
    return RunComparison(
        one.name, other.name, best.divergence, walk.compared, walk.states, "bisection", bisection.meter,
        tuple(notes), earlier_is_possible=is_sampled,
    )  # fmt: skip


def _walked(
    one: RunSide,
    other: RunSide,
    same_ids: SameIds,
    notes: list[str],
    *,
    progress: Callable[[float], None] = lambda _: None,
    every_agent: bool = False,
    made: LibraryValues | None = None,
    are_of_one_program: bool = False,
) -> RunComparison:
    seen = ReplayOutcome()
    comparison = _comparison(one, other, same_ids, fields=FieldRules(seen), made=made)
    comparison.passes_code = comparison.passes_frames = comparison.compares_sharing = are_of_one_program
    if are_of_one_program:
        comparison.contents = partial(_contents, one.session, other.session)
    walk = StreamWalk(
        comparison,
        same_ids,
        (one.counts, other.counts),
        has_ends=not are_of_one_program,
        has_arguments=_have_arguments(one, other),
    )
    begun = cache(lambda: tick_times(event for key in one.streams() for event in one.events(key)))
    best: PlacedDivergence | None = None
    each: list[PlacedDivergence] = []
    keys = dict.fromkeys((*one.streams(), *other.streams()))
    for number, key in enumerate(keys, start=1):
        lineage = one.forked if key.kind == "agent" else None
        forked = None if lineage is None else ForkedAt.of(lineage, key.name)
        limit = None if every_agent else best
        divergence = walk.first_divergence(one.events(key), other.events(key), limit, forked)
        divergence = with_tick(divergence, begun)
        best = _earlier(best, divergence)
        each += [divergence] if divergence is not None and every_agent else []
        progress(number / len(keys))
    if comparison.overlooked.of_libraries:
        notes.append(f"{comparison.overlooked.of_libraries:,} {(made or LibraryValues).note}")
    if comparison.agreement.unread:
        notes.append(f"{comparison.agreement.unread:,} {NOT_READ_IN_CALLS}")
    if walk.reordered:
        notes.append(f"{walk.reordered:,} events of concurrent calls agree in another order")
    if comparison.agreement.redacted:
        notes.append(f"{plural(comparison.agreement.redacted, 'value', 'are')} redacted in both runs")
    for side in (one, other):
        damaged = side.reader.damaged_lines
        if damaged:
            notes.append(f"{side.name}: {plural(damaged, 'damaged line', 'were')} skipped")
    if best is not None and not are_of_one_program:
        notes += _other_scripts(one, other, best.divergence)
    each.sort(key=lambda placed: placed.order)
    return RunComparison(
        one.name, other.name, None if best is None else best.divergence, walk.compared, walk.states, "walk",
        Meter(), tuple(notes), {**walk.not_compared, **seen.unseen_fields}, tuple(seen.reasons),
        tuple(placed.divergence for placed in each),
        (*walk.changed_code, *map(with_other_frames, comparison.agreement.generators)),
    )  # fmt: skip


def _other_scripts(one: RunSide, other: RunSide, divergence: RunDivergence) -> list[str]:
    """Return a note if the digests of two objects may differ only by the name of their script."""
    infos = session_info(one.session), session_info(other.session)
    scripts = [Path(each.argv[0]).name for each in infos if each is not None and each.argv]
    is_inside = SOMEWHERE_INSIDE in f"{divergence.a}{divergence.b}"
    if not is_inside or len(set(scripts)) < len(infos):
        return []
    return [
        f"digests of objects whose classes a script defines contain its name, here {' and '.join(scripts)}: "
        "record both under one file name, or keep the classes in a module"
    ]


def _grouped(not_compared: Mapping[str, str]) -> list[str]:
    """Return one line for each reason, with the fields that it applies to."""
    whys: dict[str, list[str]] = {}
    for name, why in not_compared.items():
        whys.setdefault(why, []).append(name)
    return [f"{listed(names, _MOST_NAMED)}: {why}" for why, names in whys.items()]


def _earlier(one: PlacedDivergence | None, other: PlacedDivergence | None) -> PlacedDivergence | None:
    if one is None or (other is not None and other.order < one.order):
        return other
    return one


def differing_events(
    a: RunName,
    b: RunName,
    agent_id: str,
    root: str | os.PathLike[str] | None = None,
    *,
    most: int = MOST_DIFFERING,
) -> tuple[list[RunDivergence], bool]:
    """List the events of an agent in which two runs differ, in order, and whether there are more.

    Args:
        a, b, root: as `compare_runs` takes them; ids, times and measurements are ignored likewise.
        agent_id: the agent whose events are compared.
        most: the maximum number of differences.

    Raises:
        RunNotFound, SessionNotFound: a run does not exist.
    """
    flush_active()
    one, other = open_side(a, root), open_side(b, root)
    align(one, other)
    same_ids = _same_ids(one, other)
    comparison = _comparison(one, other, same_ids, fields=FieldRules(ReplayOutcome()))

    def differences() -> Iterator[RunDivergence]:
        for number, pair in enumerate(_event_pairs(*(_compared(side, agent_id) for side in (one, other))), 1):
            for event in filter(None, pair):
                same_ids.see(event)
            difference = pair_difference(*pair, comparison)
            if difference is not None:
                yield placed_divergence(*pair, difference, number, ()).divergence

    listed = list(islice(differences(), most + 1))
    return listed[:most], len(listed) > most


def _compared(side: RunSide, agent_id: str) -> Iterator[Event]:
    for event in side.events(StreamKey("agent", agent_id)):
        if event.kind not in PASSED_OVER and event.kind != "state" and side.counts(event):
            yield event


def _event_pairs(
    ones: Iterator[Event], others: Iterator[Event]
) -> Iterator[tuple[Event | None, Event | None]]:
    """Pair the events of two runs block by block, those of one kind and tick in order."""
    while True:
        left, right = list(islice(ones, _MOST_PAIRED)), list(islice(others, _MOST_PAIRED))
        if not (left or right):
            return
        first, second = ([(event.tick, describe(event)) for event in side] for side in (left, right))
        for what, i0, i1, j0, j1 in SequenceMatcher(a=first, b=second, autojunk=False).get_opcodes():
            if what == "equal":
                yield from zip(left[i0:i1], right[j0:j1], strict=True)
            else:
                yield from ((event, None) for event in left[i0:i1])
                yield from ((None, event) for event in right[j0:j1])


# Metrics of the checkpoints, replays and forks under a trace root, computed from their files.


@dataclass(frozen=True, slots=True)
class ReplayMetrics:
    """Counts and rates; a rate is None if its denominator is 0."""

    runs: int
    """Recorded runs, without root runs and forks."""
    checkpointed_runs: int
    """Runs with checkpoints, all of which can be loaded."""
    storage_bytes: int
    """The size of all stored states as in `runs --checkpoints`, without their index; a file that several runs
    share counts once."""
    replays: int
    """Replays with a report."""
    completed_replays: int
    """Replays that finished, with a verdict other than UNVERIFIED."""
    latency_ms: float | None
    """The median duration of the replays whose report has one."""
    forks: int
    """Forked and resumed runs that could be compared with their origin."""
    diverged_forks: int
    """Forks that differ from their origin."""
    unread: tuple[str, ...] = ()
    """Reports and forks that could not be read or compared, and why."""

    @property
    def checkpoint_success_rate(self) -> float | None:
        """The share of runs with checkpoints that can all be loaded."""
        return _part(self.checkpointed_runs, self.runs)

    @property
    def replay_success_rate(self) -> float | None:
        """The share of replays that finished."""
        return _part(self.completed_replays, self.replays)

    @property
    def divergence_rate(self) -> float | None:
        """The share of forks that differ from their origin."""
        return _part(self.diverged_forks, self.forks)

    def to_dict(self) -> dict[str, Any]:
        """Return counts and rates as JSON values."""
        rates = ("checkpoint_success_rate", "replay_success_rate", "divergence_rate")
        return asdict(self) | {name: getattr(self, name) for name in rates}


def replay_metrics(
    root: str | os.PathLike[str] | None = None, progress: Callable[[float], None] = lambda _: None
) -> ReplayMetrics:
    """Read every checkpoint and report under a root, and compare every fork with its origin.

    Args:
        root: the trace root; by default the configured one, then ./trace.
        progress: called with the share of sessions that are done.
    """
    from statistics import median

    directory = Path(root) if root is not None else default_root()
    sessions = [ref.path for ref in readable_sessions(directory)]
    runs, good, size = 0, 0, 0
    done: list[tuple[bool, float | None]] = []
    forks: list[bool] = []
    unread: list[str] = []
    for number, session in enumerate(sessions, start=1):
        if is_encrypted(session):
            unread.append(f"{session.name}: it is encrypted and cannot be opened")
            continue
        lineage = lineage_of(session)
        if lineage is None:
            own, sound = _checkpointed(directory, session)
            runs, good = runs + own, good + sound
        else:
            try:
                forks.append(bool(compare_runs(lineage.run, lineage.run_id, directory)))
            except InputError as error:
                unread.append(f"fork {lineage.run_id}: {error}")
        size += _stored_bytes(session)
        done += _reports(session, unread)
        progress(number / len(sessions))
    times = [each for _, each in done if each is not None]
    return ReplayMetrics(
        runs,
        good,
        size,
        len(done),
        sum(completed for completed, _ in done),
        median(times) if times else None,
        len(forks),
        sum(forks),
        tuple(unread),
    )


def _part(count: int, of: int) -> float | None:
    return count / of if of else None


def _checkpointed(root: Path, session: Path) -> tuple[int, int]:
    from Agent.flight.checkpoints.store import LocalCheckpointStore

    names = {each.run_id for each in list_runs(root, session.name)}
    with LocalCheckpointStore(session) as store:
        kept = names & set(store.runs())
        sound = sum(not any(problem.step_id for problem in store.check(run_id)) for run_id in kept)
    return len(names), sound


def _stored_bytes(session: Path) -> int:
    """Return the size of a session's state files; a file with several hard links counts once."""
    seen = {}
    for run in run_dirs(session):
        for path in files_below(run / "checkpoints"):
            if not path.name.startswith("index."):
                status = path.stat()
                seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values())


def _reports(session: Path, unread: list[str]) -> Iterator[tuple[bool, float | None]]:
    """Yield whether each replay finished, and its duration in milliseconds if recorded."""
    replays = [directory for run in run_dirs(session) for directory in entries_in(run / "replays")]
    for path in [
        path for directory in replays for path in entries_in(directory) if path.name == "report.json"
    ]:
        try:
            report = orjson.loads(read_file(path))
            completed = report.get("completed", True) and report["verdict"] != "UNVERIFIED"
            took = report.get("duration_ms")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            unread.append(f"{path}: {type(error).__name__}")
            continue
        yield bool(completed), float(took) if isinstance(took, (int, float)) else None


_JSON: Final = "application/json"
_MOST_BYTES: Final = 64 * 1024 * 1024
_BINARY: Final = "its bytes differ, and may hold ids or times"
_UNSEEN: Final = "its digest differs, and its content cannot be read"


def _contents(recorded: Path, replayed: Path, one: Event, other: Event) -> tuple[Recorded, Recorded] | str:
    """Return the contents of artifacts of two sessions, or why they cannot be compared.

    A digest cannot be compared by form, as ids and times are: any two have the same.
    """
    if any(not is_text(str(event.extra.get("media_type"))) for event in (one, other)):
        return _BINARY
    try:
        return _content(recorded, one), _content(replayed, other)
    except (InputError, OSError, ValueError):
        return _UNSEEN


def _content(session: Path, event: Event) -> Recorded:
    extra = event.extra
    if int(extra["size_bytes"]) > _MOST_BYTES:
        raise ValueError(_UNSEEN)
    # Its digest is not checked: paths in what another run recorded were replaced by those of the original.
    path = artifact_path(session, event.run_id or ROOT_RUN, str(extra["ref"]))
    raw = b"".join(read_artifact(path))
    if extra.get("media_type") != _JSON:
        return Recorded(raw.decode("utf-8", "surrogateescape"), {}, "")
    tags = extra.get("value_types")
    return Recorded(read_json(raw), tags if isinstance(tags, dict) else {}, "")
