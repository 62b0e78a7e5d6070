"""Replays of many runs with the current code: all recorded runs, or the agents of one session.

As many replays run in parallel as there are cores. Replays of agents of one session are forks of one process
that has imported the target and read the session.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from Agent.archive.sealed.reader import open_reader
from Agent.errors import (
    AgentTraceError,
    SessionNotFound,
    TargetNotFound,
    TargetNotGiven,
    UsageError,
)
from Agent.event.kinds import ACTION_KINDS
from Agent.flight.run_reading import RunName, RunRef, find_session_run
from Agent.record.emit.installed import flush_active
from Agent.render.html import TextInNotebook
from Agent.replay.compare.normaliser import Normaliser, ignored_names
from Agent.replay.compare.outcome import EXIT_CODES, Divergence, ReplayReport, Verdict
from Agent.replay.plan.recording import (
    check_agent,
    session_info,
)
from Agent.replay.plan.target import Target, target_name
from Agent.replay.rerun import RedriveOptions, drive_again
from Agent.replay.worker.fork_server import Progress, Workers, cores, in_parallel
from Agent.tree.default_root import default_root
from Agent.tree.layout import readable_sessions

_MOST_NAMED = 5
_MOST_GROUPS = 20


@dataclass(frozen=True, slots=True)
class ReplayedRun:
    """The result of one run; the run keeps the full report."""

    run: str
    """As a command line names it."""
    verdict: Verdict
    target: str = ""
    divergence: Divergence | None = None
    reasons: tuple[str, ...] = ()
    actions: int = 0
    covered: int = 0
    path: str | None = None
    """The directory of its report."""

    @property
    def exit_code(self) -> int:
        """That of `replay`."""
        return EXIT_CODES[self.verdict]

    @property
    def way(self) -> str:
        """In what way it does not do the same, without what differs from run to run; "" where it does."""
        if self.verdict is Verdict.DIVERGED and self.divergence is not None:
            return f"differ at {self.divergence.action}, {self.divergence.field}"
        if self.verdict is Verdict.UNVERIFIED:
            return "proved nothing: " + re.sub(r"\d+", "N", self.reasons[0] if self.reasons else "no reason")
        return ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "run": self.run,
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "target": self.target,
            "divergence": None if self.divergence is None else asdict(self.divergence),
            "reasons": list(self.reasons),
            "actions": self.actions,
            "covered": self.covered,
            "path": self.path,
        }


@dataclass(frozen=True)
class HistoryReport(TextInNotebook):
    """The result of many runs; `str()` of it is for people, `to_dict()` for programs."""

    runs: tuple[ReplayedRun, ...]
    seconds: float
    workers: int

    @property
    def counts(self) -> dict[str, int]:
        """Verdict to the number of runs."""
        counts = Counter(run.verdict.value for run in self.runs)
        return {verdict.value: counts[verdict.value] for verdict in Verdict}

    @property
    def verdict(self) -> Verdict:
        """DIVERGED if any run is, else UNVERIFIED if any is, else EQUIVALENT if any is, else IDENTICAL."""
        order = (Verdict.DIVERGED, Verdict.UNVERIFIED, Verdict.EQUIVALENT, Verdict.IDENTICAL)
        return next(verdict for verdict in order if self.counts[verdict.value])

    @property
    def exit_code(self) -> int:
        """0 where every run is IDENTICAL or EQUIVALENT, 1 where one DIVERGED, else 4."""
        return EXIT_CODES[self.verdict]

    @property
    def failing(self) -> tuple[ReplayedRun, ...]:
        """The runs that are DIVERGED or UNVERIFIED."""
        return tuple(run for run in self.runs if run.exit_code)

    @property
    def ways(self) -> dict[str, tuple[ReplayedRun, ...]]:
        """In what way runs do not do the same, and which do so, the most frequent first."""
        by_way: dict[str, list[ReplayedRun]] = {}
        for run in self.failing:
            by_way.setdefault(run.way, []).append(run)
        ordered = sorted(by_way.items(), key=lambda item: (item[1][0].exit_code == 4, -len(item[1])))
        return {way: tuple(runs) for way, runs in ordered}

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "counts": self.counts,
            "actions": sum(run.actions for run in self.runs),
            "covered": sum(run.covered for run in self.runs),
            "ways": {way: [run.run for run in runs] for way, runs in self.ways.items()},
            "runs": [run.to_dict() for run in self.runs],
            "seconds": round(self.seconds, 3),
            "workers": self.workers,
        }

    @property
    def headline(self) -> str:
        """The verdict over all, and how many runs have which."""
        counts = ", ".join(f"{count:,} {verdict}" for verdict, count in self.counts.items() if count)
        return f"{self.verdict} {len(self.runs):,} run{'s' * (len(self.runs) != 1)}: {counts}"

    def __str__(self) -> str:
        covered, actions = (sum(getattr(run, name) for run in self.runs) for name in ("covered", "actions"))
        lines = [self.headline]
        lines.append(
            f"  {covered:,} of {actions:,} actions covered; {self.seconds:.1f} s, {self.workers} at one time"
        )
        for way, runs in list(self.ways.items())[:_MOST_GROUPS]:
            lines.append(
                f"  {len(runs):,} {way}" if runs[0].exit_code == 1 else f"  {len(runs):,} {_of(runs[0])}"
            )
            if runs[0].divergence is not None and runs[0].exit_code == 1:
                lines.append(f"    {runs[0].run}: {runs[0].divergence}")
            named = ", ".join(run.run for run in runs[:_MOST_NAMED])
            more = f" and {len(runs) - _MOST_NAMED:,} more" if len(runs) > _MOST_NAMED else ""
            lines.append(f"    in {named}{more}")
        if len(self.ways) > _MOST_GROUPS:
            lines.append(f"  and {len(self.ways) - _MOST_GROUPS:,} other ways")
        return "\n".join(lines)


def _of(run: ReplayedRun) -> str:
    """Why a run proved nothing, as it said so itself."""
    more = f" (and {len(run.reasons) - 1} more reasons)" if len(run.reasons) > 1 else ""
    return f"proved nothing: {run.reasons[0] if run.reasons else 'no reason'}{more}"


def replay_runs(  # noqa: PLR0913 - each is a question of its own
    target: Target | None = None,
    root: str | os.PathLike[str] | None = None,
    *,
    runs: Iterable[RunName] | None = None,
    agents: str | None = None,
    since: datetime | None = None,
    normaliser: Normaliser | None = None,
    network: bool = False,
    timeout_seconds: float | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    ignore: Collection[str] = (),
    strict_factory: bool = False,
    no_writes: bool = False,
    program: bool = True,
) -> HistoryReport:
    """Replay all recorded runs with the current code, several in parallel.

    A session is replayed as a whole. If it remembers targets of single agents, these are replayed one by one.

    Args:
        target: `module:factory`, or such a function; default: the one that each session remembers.
        root: the trace root; default: the configured one, then ./trace.
        runs: which runs, named as for `replay_run`; default: every session under the root.
        agents: a pattern such as `creator_*`: matching agents are replayed one by one.
        since: only sessions that began at this time or later.
        normaliser: differences to allow.
        network: whether replayed code may use the network.
        timeout_seconds: then a run ends as UNVERIFIED.
        workers: number of parallel runs; default: the number of cores.
        progress: receives the completed share.
        ignore: fields to ignore, as for `replay_run`; `strict_factory`, `no_writes` and `program` likewise.

    Raises:
        SessionNotFound: there is no run.
        TargetNotFound: the given target cannot be imported.
        UsageError: the target is not an importable name.
    """
    flush_active()
    began = time.monotonic()
    name = None if target is None else target_name(target, None, None)
    references = _references(root, runs, agents, since)
    if not references:
        where = Path(root) if root is not None else default_root()
        raise SessionNotFound(
            "there is no run to replay", path=where, remedy="record one, or ask for other agents or times"
        )
    workers = min(workers or cores(), len(references))
    options = RedriveOptions(
        timeout_seconds,
        normaliser,
        network,
        ignore=ignored_names(ignore),
        strict_factory=strict_factory,
        no_writes=no_writes,
        program=program,
    )
    named = [(reference, _target_of(reference, name)) for reference in references]
    with Workers((reference.session, target) for reference, target in named if target) as pool:
        jobs = [
            partial(_replayed, reference, target, options, pool, is_given=name is not None)
            for reference, target in named
        ]
        results = in_parallel(jobs, workers, progress)
    return HistoryReport(tuple(results), time.monotonic() - began, workers)


def replay_agents(
    session: RunName,
    target: Target | None = None,
    agents: str | Iterable[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    *,
    options: RedriveOptions | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[ReplayReport]:
    """Replay the agents of one session one by one, in forks of a process that imports the target once.

    Args:
        session: "last", a session's id, a unique prefix of it or its path.
        target: `module:factory`, or such a function; default: the one that the session remembers.
        agents: their ids, or a pattern such as `creator_*`; default: all that have actions.
        root: the trace root; default: the configured one, then ./trace.
        options: how to replay them; its `agents` and `asked_for` are for whole runs.
        workers: number of parallel replays; default: the number of cores.
        progress: receives the completed share.

    Returns:
        A report for each agent, in the order given, or of their first actions.

    Raises:
        SessionNotFound, AgentNotFound: the session or an agent does not exist.
        TargetNotGiven, TargetNotFound: no target was given, or it cannot be imported.
    """
    flush_active()
    reference = find_session_run(session, root)
    chosen = _chosen(reference, agents)
    info = session_info(reference.session)
    named = [(RunRef(reference.session, None, each), target_name(target, info, each)) for each in chosen]
    options = options or RedriveOptions()
    with Workers((each.session, name) for each, name in named) as pool:
        jobs = [partial(_report, each, name, options, pool) for each, name in named]
        return in_parallel(jobs, min(workers or cores(), max(1, len(jobs))), progress)


def _chosen(reference: RunRef, agents: str | Iterable[str] | None) -> list[str]:
    """The ids of the agents that are meant; each must be there."""
    reader = open_reader(reference.session)
    if agents is not None and not isinstance(agents, str):
        chosen = list(dict.fromkeys(agents))
        for each in chosen:
            check_agent(reader, each)
        return chosen
    known = [files.agent_id for files in reader.agents()]
    acting = {event.agent_id for event in reader.events() if event.kind in ACTION_KINDS}
    return [each for each in known if each in acting and (agents is None or fnmatchcase(each, agents))]


def _target_of(reference: RunRef, target: str | None) -> str:
    """The target that is given, else the one that the session remembers; "" for none."""
    try:
        return target or target_name(None, session_info(reference.session), reference.agent_id)
    except TargetNotGiven:
        return ""  # `_replayed` asks again and reports it


def _report(
    reference: RunRef, target: str, options: RedriveOptions, pool: Workers, stop: Event
) -> ReplayReport:
    with pool.of(reference.session, target) as worker:
        return drive_again(reference, target, replace(options, stop=stop), worker)


def _replayed(
    reference: RunRef,
    target: str,
    options: RedriveOptions,
    pool: Workers,
    stop: Event,
    *,
    is_given: bool,
) -> ReplayedRun:
    """One run; what stands in the way of driving it is why it proved nothing.

    Raises:
        TargetNotFound: the target was given for all runs and cannot be imported.
    """
    try:
        name = target or target_name(None, session_info(reference.session), reference.agent_id)
        report = _report(reference, name, options, pool, stop)
    except TargetNotFound as error:
        if is_given:
            raise
        return ReplayedRun(reference.name, Verdict.UNVERIFIED, target, reasons=(str(error),))
    except AgentTraceError as error:
        return ReplayedRun(reference.name, Verdict.UNVERIFIED, target, reasons=(str(error),))
    counts = report.outcome.counts
    return ReplayedRun(
        reference.name,
        report.verdict,
        name,
        report.divergence if report.verdict is Verdict.DIVERGED else None,
        report.reasons,
        counts.actions,
        counts.covered,
        None if report.path is None else str(report.path),
    )


def _references(
    root: str | os.PathLike[str] | None,
    runs: Iterable[RunName] | None,
    agents: str | None,
    since: datetime | None,
) -> list[RunRef]:
    if runs is None:
        directory = Path(root) if root is not None else default_root()
        named = [RunRef(ref.path, None) for ref in readable_sessions(directory)]
    else:
        if isinstance(runs, (str, os.PathLike)):
            raise UsageError("runs is one name, not several", remedy="give a list of them")
        named = [find_session_run(run, root) for run in runs]
    return [
        each
        for reference in named
        if since is None or _began(reference.session) >= since.timestamp()
        for each in _units(reference, agents)
    ]


def _units(reference: RunRef, agents: str | None) -> list[RunRef]:
    """What is replayed of a run: all of it, or its agents one by one."""
    if reference.agent_id is not None:
        return [reference]
    if agents is not None:
        known = (files.agent_id for files in open_reader(reference.session).agents())
        return [RunRef(reference.session, None, each) for each in known if fnmatchcase(each, agents)]
    info = session_info(reference.session)
    single = sorted(info.targets) if info is not None and "*" not in info.targets else []
    return [RunRef(reference.session, None, each) for each in single] or [reference]


def _began(session: Path) -> float:
    """When a session began, in seconds since 1970; where nothing records it, by the directory's own time."""
    info = session_info(session)
    if info is not None and info.started_at:
        return datetime.fromisoformat(info.started_at).timestamp()
    return session.stat().st_mtime
