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

from Agent.archive.sealed.reader import cores, open_reader
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
from Agent.render.formats import plural
from Agent.render.html import TextInNotebook
from Agent.replay.attempts import RedriveOptions
from Agent.replay.compare.normaliser import Normaliser, ignored_names
from Agent.replay.compare.outcome import EXIT_CODES, Divergence, Verdict, listed
from Agent.replay.compare.report import ReplayReport
from Agent.replay.plan.recording import check_agent
from Agent.replay.plan.target import Target, target_name
from Agent.replay.rerun import drive_again
from Agent.replay.worker.fork_server import Progress, Workers, in_parallel
from Agent.tree.default_root import default_root
from Agent.tree.files.session import session_info
from Agent.tree.layout import readable, readable_sessions

_MOST_NAMED = 5
_MOST_GROUPS = 20


@dataclass(frozen=True, slots=True)
class ReplayedRun:
    """The result of one run; the full report is stored in the run."""

    run: str
    """The run as written on a command line."""
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
        """The exit code of `replay` for this verdict."""
        return EXIT_CODES[self.verdict]

    @property
    def way(self) -> str:
        """Return how the run fails, without details that vary between runs; "" if it does not fail."""
        if self.verdict is Verdict.DIVERGED and self.divergence is not None:
            return f"differ at {self.divergence.action}, {self.divergence.field}"
        if self.verdict is Verdict.UNVERIFIED:
            return "proved nothing: " + re.sub(r"\d+", "N", self.reasons[0] if self.reasons else "no reason")
        return ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        more = {"verdict": self.verdict.value, "exit_code": self.exit_code, "reasons": list(self.reasons)}
        return asdict(self) | more


@dataclass(frozen=True)
class HistoryReport(TextInNotebook):
    """The result of many runs; `str()` is for people, `to_dict()` for programs."""

    runs: tuple[ReplayedRun, ...]
    seconds: float
    workers: int

    @property
    def counts(self) -> dict[str, int]:
        """Return {verdict: number of runs}."""
        counts = Counter(run.verdict.value for run in self.runs)
        return {verdict.value: counts[verdict.value] for verdict in Verdict}

    @property
    def verdict(self) -> Verdict:
        """DIVERGED if any run is, else UNVERIFIED if any is, else EQUIVALENT if any is, else IDENTICAL."""
        order = (Verdict.DIVERGED, Verdict.UNVERIFIED, Verdict.EQUIVALENT, Verdict.IDENTICAL)
        return next(verdict for verdict in order if self.counts[verdict.value])

    @property
    def exit_code(self) -> int:
        """Return 0 if every run is IDENTICAL or EQUIVALENT, 1 if one DIVERGED, else 4."""
        return EXIT_CODES[self.verdict]

    @property
    def failing(self) -> tuple[ReplayedRun, ...]:
        """The runs that are DIVERGED or UNVERIFIED."""
        return tuple(run for run in self.runs if run.exit_code)

    @property
    def ways(self) -> dict[str, tuple[ReplayedRun, ...]]:
        """Return {how runs fail: the runs that fail like this}, the most frequent first."""
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
        """Return the verdict of all runs, and the number of runs with each verdict."""
        counts = ", ".join(f"{count:,} {verdict}" for verdict, count in self.counts.items() if count)
        return f"{self.verdict} {len(self.runs):,} run{'s' * (len(self.runs) != 1)}: {counts}"

    def __str__(self) -> str:
        covered, actions = (sum(getattr(run, name) for run in self.runs) for name in ("covered", "actions"))
        lines = [self.headline]
        lines.append(
            f"  {covered:,} of {actions:,} actions covered; {self.seconds:.1f} s, {self.workers} in parallel"
        )
        for way, runs in list(self.ways.items())[:_MOST_GROUPS]:
            lines.append(
                f"  {len(runs):,} {way}" if runs[0].exit_code == 1 else f"  {len(runs):,} {_of(runs[0])}"
            )
            if runs[0].divergence is not None and runs[0].exit_code == 1:
                lines.append(f"    {runs[0].run}: {runs[0].divergence}")
            lines.append(f"    in {listed((run.run for run in runs), _MOST_NAMED)}")
        if len(self.ways) > _MOST_GROUPS:
            lines.append(f"  and {plural(len(self.ways) - _MOST_GROUPS, 'other way')}")
        return "\n".join(lines)


def _of(run: ReplayedRun) -> str:
    """Return why a run proved nothing, from its own reasons."""
    more = f" (and {plural(len(run.reasons) - 1, 'more reason')})" if len(run.reasons) > 1 else ""
    return f"proved nothing: {run.reasons[0] if run.reasons else 'no reason'}{more}"


def replay_runs(  # noqa: PLR0913 - each is a separate option
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

    A session is replayed as a whole. If targets are recorded for single agents, these are replayed one by
    one.

    Args:
        target: `module:factory`, or such a function; default: the target recorded in each session.
        root: the trace root; default: the configured one, then ./trace.
        runs: which runs, named as for `replay_run`; default: every session under the root.
        agents: a pattern such as `creator_*`: matching agents are replayed one by one.
        since: only sessions that began at this time or later.
        normaliser: differences to allow.
        network: whether replayed code may use the network.
        timeout_seconds: after this a run ends as UNVERIFIED.
        workers: number of parallel runs; default: the number of cores.
        progress: receives the completed share.
        ignore: fields to ignore, as for `replay_run`; `strict_factory`, `no_writes` and `program` likewise.

    Raises:
        SessionNotFound: no run was found.
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
            "there is no run to replay", path=where, remedy="record one, or select other agents or times"
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
        target: `module:factory`, or such a function; default: the target recorded in the session.
        agents: their ids, or a pattern such as `creator_*`; default: all that have actions.
        root: the trace root; default: the configured one, then ./trace.
        options: how to replay them; its `agents` and `asked_for` are for whole runs.
        workers: number of parallel replays; default: the number of cores.
        progress: receives the completed share.

    Returns:
        A report for each agent, in the given order or in the order of their first actions.

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
    """Return the ids of the selected agents; AgentNotFound if the session lacks one."""
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
    """Return the given target, else the one recorded in the session; "" if it has none."""
    try:
        return target or target_name(None, session_info(reference.session), reference.agent_id)
    except TargetNotGiven:
        return ""  # `_replayed` reports the error


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
    """Replay one run; if it cannot be replayed, the error is the reason for UNVERIFIED.

    Raises:
        TargetNotFound: the target was given for all runs and cannot be imported.
    """
    try:
        readable(reference.session)
        name = target or target_name(None, session_info(reference.session), reference.agent_id)
        report = _report(reference, name, options, pool, stop)
    except AgentTraceError as error:
        if is_given and isinstance(error, TargetNotFound):
            raise
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
        report.kept_at,
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
            raise UsageError("runs is a single name", remedy="give a list of names")
        named = [find_session_run(run, root) for run in runs]
    return [
        each
        for reference in named
        if since is None or _began(reference.session) >= since.timestamp()
        for each in _units(reference, agents)
    ]


def _units(reference: RunRef, agents: str | None) -> list[RunRef]:
    """Return the parts to replay: the whole run, or its agents one by one."""
    if reference.agent_id is not None:
        return [reference]
    if agents is not None:
        known = (files.agent_id for files in open_reader(reference.session).agents())
        return [RunRef(reference.session, None, each) for each in known if fnmatchcase(each, agents)]
    info = session_info(reference.session)
    single = sorted(info.targets) if info is not None and "*" not in info.targets else []
    return [RunRef(reference.session, None, each) for each in single] or [reference]


def _began(session: Path) -> float:
    """Return a session's start in seconds since 1970; if it is not recorded, the time of its directory."""
    info = session_info(session)
    if info is not None and info.started_at:
        return datetime.fromisoformat(info.started_at).timestamp()
    return session.stat().st_mtime
