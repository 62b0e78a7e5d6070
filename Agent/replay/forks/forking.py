"""`resume_from_checkpoint`, `fork_run`, `sweep_forks`: find the run and target, run a worker, report.

A fork is a new run in its own session, which names its origin; the original is only read. The forks of a
sweep leave no runs: they show how an outcome is distributed over many changes at one point.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from Agent.archive.sealed.reader import cores
from Agent.errors import UsageError
from Agent.flight.open_runs import new_run_id
from Agent.flight.run_reading import RunName, RunRef
from Agent.record.emit.installed import flush_active
from Agent.render.formats import plural
from Agent.render.html import TextInNotebook
from Agent.replay.diff.run_comparison import RunComparison, compare_runs
from Agent.replay.diff.run_side import open_side
from Agent.replay.forks.outcome import (
    ERROR,
    STOPPED,
    ForkOutcome,
    OutcomeOf,
    Patch,
    RaisedError,
    check_patch,
)
from Agent.replay.plan.target import Target, target_name
from Agent.replay.rerun import keep_json, make_replay_directory
from Agent.replay.worker.jobs import Job, run_job
from Agent.tree.files.session import session_info

_FORK = Job("fork", "Agent.replay.forks.fork:record_fork")
_SWEEP = Job("fork", "Agent.replay.forks.unrecorded:sweep")
_ASKED = ("run", "step", "target", "outcome", "workers")
_OF_EACH = ("value", "stopped", "errors", "steps", "seconds", "process_seconds")
"""The fields of a report that come from the request, and those of each fork that come from the answer."""
_SHOWN_VALUES = 8
_BAR_CHARS = 30


@dataclass(frozen=True)
class ForkResult(TextInNotebook):
    """The result of a forked or resumed run; `str()` of it is for people, `to_dict()` for programs."""

    run: str
    """The original, as written on a command line."""
    step: str
    fork_id: str
    """The id of the new run."""
    session: Path
    """The session of the new run."""
    target: str
    outcome: ForkOutcome
    patch: Any = None
    seed: int | None = None
    stdout: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)

    @property
    def completed(self) -> bool:
        """Return whether it ran to its end."""
        return self.outcome.stopped is None

    @property
    def stopped(self) -> str | None:
        """Return why it stopped early, such as a call without a recorded response."""
        return self.outcome.stopped

    @property
    def errors(self) -> tuple[RaisedError, ...]:
        """Return the exceptions that left replayed actions."""
        return tuple(self.outcome.errors)

    @property
    def states(self) -> dict[str, dict[str, Any]]:
        """Return the exposed fields at the end by agent, as JSON values."""
        return self.outcome.states

    @property
    def state(self) -> dict[str, Any]:
        """Return the fields of the agent that ran, or of the first of several."""
        return self.outcome.states.get(self.outcome.agents[0], {}) if self.outcome.agents else {}

    @property
    def exit_code(self) -> int:
        """Return 0 if it ran to its end as the original did, 1 if it differs, 4 if it had to stop."""
        return 4 if not self.completed else int(bool(self.comparison))

    @cached_property
    def comparison(self) -> RunComparison:
        """Return the differences from the original; this is not a verdict."""
        return compare_runs(self.run, self.fork_id, self.session.parent)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values, including the comparison with the original."""
        names = ("run", "step", "fork_id", "target", "patch", "seed", "completed")
        return {
            **{name: getattr(self, name) for name in names},
            "session": str(self.session),
            **self.outcome.to_object(),
            "comparison": self.comparison.to_dict(),
        }

    def __str__(self) -> str:
        outcome = self.outcome
        verb = "resumed" if self.patch is None and self.seed is None else "forked"
        lines = [
            f"{self.fork_id} {verb} from {self.run}, {outcome.point}",
            f"  state from {outcome.start}"
            + (
                f", {outcome.redriven:,} recorded actions replayed up to the point"
                if outcome.redriven
                else ""
            ),
        ]
        if outcome.changed:
            lines.append(f"  changed: {', '.join(outcome.changed)}")
        if outcome.steps or outcome.remaining:
            lines.append(f"  ran {outcome.steps:,} of {outcome.remaining:,} recorded actions from there")
        if outcome.answered:
            counts = ", ".join(f"{name} ({count:,})" for name, count in outcome.answered.most_common(5))
            moved = f", {outcome.moved:,} of them recorded in other actions" if outcome.moved else ""
            lines.append(f"  recorded responses used: {counts}{moved}")
        if outcome.live:
            lines.append(f"  live calls: {', '.join(f'{n} ({c:,})' for n, c in outcome.live.items())}")
        if outcome.stopped is not None:
            lines.append(f"  stopped: {outcome.stopped}")
        lines += [f"  raised: {error}" for error in outcome.errors[:5]]
        if len(outcome.errors) > 5:
            lines.append(f"  and {plural(len(outcome.errors) - 5, 'more error')}")
        lines += [f"  note: {note}" for note in outcome.notes]
        lines += [f"  {line}" for line in str(self.comparison).splitlines()]
        return "\n".join(lines)


def resume_from_checkpoint(
    run: RunName,
    step: str | int,
    target: Target | None = None,
    root: str | os.PathLike[str] | None = None,
    *,
    live: bool | Collection[str] = False,
    timeout_seconds: float | None = None,
) -> ForkResult:
    """Continue a recorded run from a point, unchanged, in a new run; see `fork_run` for the arguments."""
    return fork_run(run, step, None, target, root, live=live, timeout_seconds=timeout_seconds)[1]


def fork_run(
    run: RunName,
    step: str | int,
    patch: Patch | None = None,
    target: Target | None = None,
    root: str | os.PathLike[str] | None = None,
    *,
    seed: int | None = None,
    live: bool | Collection[str] = False,
    timeout_seconds: float | None = None,
) -> tuple[str, ForkResult]:
    """Continue a recorded run from a point with something changed; return the new run's id and the result.

    Args:
        run: a run's id or a unique prefix, a session, `SESSION/agent_id`, or `last`.
        step: the id of a checkpoint or step, or of an event (the point after it), `tick:N` (before it), or
            the number of a replayed action, alone or as `step_N` (after it).
        patch: a change of the state there: a mapping is a JSON merge patch, a list of operations a JSON
            patch. If several agents are replayed, {agent_id: patch}.
        target: `module:factory`, or such a function; the default is the target recorded in the session.
        root: the trace root; default: the configured one, then ./trace. The fork is stored there too.
        seed: seeds every exposed generator there.
        live: names of tools, models and agents whose calls may be executed, or True for all. Any other call
            without a recorded response ends the fork, and the result names it.
        timeout_seconds: the time after which the worker process is killed.

    Raises:
        RunNotFound, SessionNotFound, AgentNotFound: the run does not exist.
        EventNotFound: the run has no such step.
        TargetNotGiven: no target was given, and the session has none.
        UsageError: the patch is invalid, or does not fit the state.
        ReplayError: the point cannot be reached.
    """
    if patch is not None:
        check_patch(patch)
    request = fork_request(run, step, target, root, live)
    request |= {"patch": patch, "seed": seed, "fork_id": new_run_id()}
    done = run_job(_FORK, request, timeout_seconds)
    answer = done.answered()
    result = ForkResult(
        session=Path(answer["session"]),
        outcome=ForkOutcome.from_object(answer["outcome"]),
        stdout=done.stdout,
        stderr=done.stderr,
        **{name: request[name] for name in ("run", "step", "fork_id", "target", "patch", "seed")},
    )
    return result.fork_id, result


def fork_request(
    run: RunName,
    step: str | int,
    target: Target | None,
    root: str | os.PathLike[str] | None,
    live: bool | Collection[str],
) -> dict[str, Any]:
    """Build the request for the worker process: the run, the point and the target.

    Raises:
        RunNotFound, SessionNotFound, AgentNotFound, TargetNotGiven, UsageError: as `fork_run`.
    """
    flush_active()
    side = open_side(run, root)
    info = session_info(side.session)
    ref: RunRef = side.ref
    agent_id = ref.agent_id
    owner = agent_id
    if ref.run_id is not None:
        began = next(side.reader.run_events(ref.run_id), None)
        owner = None if began is None else began.agent_id
    return {
        "run": side.name,
        "session": str(side.session.absolute()),
        "session_id": side.session.name.removeprefix("session_"),
        "session_uid": "" if info is None else info.session_uid,
        "run_id": ref.run_id,
        "run_ids": sorted(side.run_ids),
        "agent_id": agent_id,
        "owner": owner,
        "target": target_name(target, info, owner),
        "step": str(step),
        "live": live if isinstance(live, bool) else sorted({live} if isinstance(live, str) else live),
        "root": str(side.session.absolute().parent),
    }


@dataclass(frozen=True, slots=True)
class SweptFork:
    """One change, and its outcome."""

    patch: Any
    seed: int | None
    value: Any
    """The outcome: a JSON value, or `stopped`, for example if a call had no recorded response."""
    stopped: str | None
    errors: Sequence[str]
    steps: int
    seconds: float
    """The duration after the point."""
    process_seconds: float
    """Processor time of the fork's process."""


@dataclass(frozen=True)
class SweepReport(TextInNotebook):
    """How an outcome is distributed over forks of one point."""

    run: str
    step: str
    target: str
    outcome: str
    point: str
    actions: int
    """The actions of the run that can be replayed."""
    actions_before: int
    """How many of them are before the point."""
    tick: int | None
    """The tick of the last action before the point."""
    event_id: str | None
    """The event of that action."""
    start: str
    redriven: int
    baseline: Any
    """The outcome without any change."""
    forks: tuple[SweptFork, ...]
    smallest: dict[str, Any] | None
    """The smallest change that flips the outcome, `patch` and `seed`; None if no change does."""
    workers: int
    reached_seconds: float
    """The time it took to reach the point, which happens once."""
    forks_seconds: float
    path: Path | None = None
    """The directory of the report; None if it could not be written."""
    live: tuple[str, ...] = ()
    """The names that the forks were allowed to call live."""

    @property
    def counts(self) -> Counter[str]:
        """The number of forks by value, as JSON text."""
        return Counter(_text(fork.value) for fork in self.forks)

    @property
    def numbers(self) -> list[float]:
        """The sorted values of the forks that did not stop; empty unless all of them are numbers."""
        values = [fork.value for fork in self.forks if fork.value != STOPPED]
        is_numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        return sorted(float(value) for value in values) if values and is_numeric else []

    @property
    def flips(self) -> tuple[SweptFork, ...]:
        """The forks whose outcome differs from the unchanged one; stopped forks do not count."""
        return tuple(fork for fork in self.forks if fork.value not in (self.baseline, STOPPED))

    @property
    def exit_code(self) -> int:
        """4 if every fork stopped, so that the sweep has no result; else 0."""
        return 4 if self.forks and all(fork.value == STOPPED for fork in self.forks) else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        numbers, values = self.numbers, asdict(self)
        del values["path"], values["live"]
        return values | {
            "counts": dict(self.counts.most_common()),
            "quantiles": _quantiles(numbers) if numbers else None,
            "flips": len(self.flips),
            "forks": list(values["forks"]),
        }

    @property
    def distribution(self) -> list[tuple[str, int]]:
        """The number of forks for each outcome, most frequent first, or for each range of many numbers."""
        numbers = self.numbers
        if len(self.counts) > _SHOWN_VALUES and numbers:
            return _histogram(numbers)
        shown = self.counts.most_common(_SHOWN_VALUES)
        rest = len(self.forks) - sum(number for _, number in shown)
        return [*shown, ("other values", rest)] if rest else shown

    def __str__(self) -> str:
        return self.text()

    def text(self, *, with_bars: bool = True) -> str:
        """Return the report, with or without the distribution as bars."""
        count = len(self.forks)
        lines = [
            f"{count:,} forks of {self.run}, {self.point}: {self.outcome}",
            f"  unchanged: {_text(self.baseline)}",
        ]
        numbers = self.numbers
        if len(self.counts) > _SHOWN_VALUES and numbers:
            quantiles = ", ".join(f"{name} {value:g}" for name, value in _quantiles(numbers).items())
            lines.append(f"  {quantiles}")
        if with_bars:
            lines += [
                f"  {text:<28} {number:>6,}  {'#' * round(_BAR_CHARS * number / max(count, 1))}"
                for text, number in self.distribution
            ]
        stopped = next((fork.stopped for fork in self.forks if fork.stopped is not None), None)
        if stopped is not None:
            lines.append(f"  stopped, for example: {stopped}")
        lines.append(f"  {len(self.flips):,} of {count:,} differ from the unchanged run")
        if self.smallest is not None:
            seed = "" if self.smallest["seed"] is None else f" --seed {self.smallest['seed']}"
            seed += "".join(f" --live {name}" for name in self.live)
            patch = orjson.dumps(self.smallest["patch"]).decode()
            lines += [
                f"  smallest change that does: {patch}",
                f"  try it: agent-trace fork {self.run} --step {self.step} --modify '{patch}'{seed} "
                f"--target {self.target}",
            ]
        lines.append(
            f"  state from {self.start}, {self.redriven:,} recorded actions replayed in "
            f"{self.reached_seconds:.1f} s; forks took {self.forks_seconds:.1f} s in {self.workers} processes"
        )
        return "\n".join(lines)


def sweep_forks(
    run: RunName,
    step: str | int,
    patches: Sequence[Patch] = (),
    *,
    seeds: Iterable[int] = (),
    outcome: str = ERROR,
    target: Target | None = None,
    root: str | os.PathLike[str] | None = None,
    live: bool | Collection[str] = False,
    workers: int | None = None,
    timeout_seconds: float | None = None,
) -> SweepReport:
    """Fork a run at one point with every patch, every seed, or every pair of them.

    Args:
        run: as `fork_run` takes it.
        step: likewise.
        patches: each as `fork_run` takes it.
        seeds: seeds for the generators that agents expose.
        outcome: the value to report: a field at the end (`followers`, `creator_001.followers`), a condition
            on one (`followers>1000`), or `error`: the type of the first error, or `no error`.
        target: as `fork_run` takes it.
        root: likewise.
        live: likewise.
        workers: the number of simultaneous forks; by default the number of available cores.
        timeout_seconds: as `fork_run` takes it.

    Raises:
        UsageError: no patch or seed was given, or a patch does not fit; others as `fork_run`.
    """
    OutcomeOf.parse(outcome)
    for patch in patches:
        check_patch(patch)
    every_seed = list(seeds)
    variants: list[dict[str, Any]] = [
        {"patch": patch, "seed": seed} for patch in (patches or (None,)) for seed in (every_seed or (None,))
    ]
    if variants == [{"patch": None, "seed": None}]:
        raise UsageError("a sweep needs changes", remedy="give patches, seeds, or both")
    if not hasattr(os, "fork"):
        raise UsageError("a sweep needs a system that can fork processes", remedy="use fork_run for each")
    request = fork_request(run, step, target, root, live)
    request |= {"variants": variants, "outcome": outcome, "workers": workers or cores()}
    answer = run_job(_SWEEP, request, timeout_seconds).answered()
    tried = answer.pop("tried")
    report = SweepReport(
        forks=tuple(
            SweptFork(**variant, **{name: result.get(name, 0.0) for name in _OF_EACH})
            for variant, result in zip(variants, tried, strict=True)
        ),
        path=make_replay_directory(Path(request["session"])),
        live=tuple(request["live"]) if isinstance(request["live"], list) else (),
        **{name: request[name] for name in _ASKED},
        **answer,
    )
    if report.path is not None and keep_json(report.path / "sweep.json", report.to_dict()):
        return replace(report, path=None)
    return report


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=repr).decode("utf-8", "replace")


def _quantiles(numbers: list[float]) -> dict[str, float]:
    several = numbers * 2 if len(numbers) == 1 else numbers
    quarters = statistics.quantiles(several, n=4, method="inclusive")
    names = ("min", "25 %", "median", "75 %", "max")
    return dict(zip(names, (numbers[0], *quarters, numbers[-1]), strict=True))


def _histogram(numbers: list[float], bins: int = 8) -> list[tuple[str, int]]:
    low, high = numbers[0], numbers[-1]
    width = (high - low) / bins or 1.0
    counts = Counter(min(int((number - low) / width), bins - 1) for number in numbers)
    return [
        (f"{low + index * width:>12g} to {low + (index + 1) * width:<12g}", counts[index])
        for index in range(bins)
    ]


@dataclass(frozen=True, slots=True)
class ProbedPoint:
    """A fork at one point with the change, beside one without it."""

    actions: int
    """The replayed actions before the point."""
    tick: int | None
    """The tick of the last of them."""
    event_id: str | None
    """The event of the last of them."""
    value: Any
    """The outcome with the change; `stopped` if a call had no recorded response."""
    alters: bool
    """Whether the outcome differs from that without the change; a fork that stopped alters nothing."""


@dataclass(frozen=True)
class TurningPoint(TextInNotebook):
    """The latest point at which a change still alters the outcome of a run."""

    run: str
    step: str
    """Where the search began."""
    target: str
    outcome: str
    patch: Any
    baseline: Any
    """The outcome without the change."""
    last: ProbedPoint | None
    """The latest point at which the change alters the outcome; None if it does not at the first one."""
    lost: ProbedPoint | None
    """The first point at which it no longer does; None if it does even at the last action."""
    probes: tuple[ProbedPoint, ...]
    """All forks, in the order of the search, which halves the range each time."""
    stopped: str | None
    """Why a fork stopped, if one did."""

    @property
    def exit_code(self) -> int:
        """Return 0 if a point was found, 1 if the first fork is unaffected by the change, 4 if it stopped."""
        if self.last is not None:
            return 0
        return 4 if self.probes[0].value == STOPPED else 1

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self) | {"probes": [asdict(probe) for probe in self.probes]}

    def __str__(self) -> str:
        outcome, count = self.outcome, len(self.probes)
        if self.exit_code == 4:
            lines = [f"The fork at {self.step} stopped, so the search has no result"]
        elif self.last is None:
            lines = [
                f"At {self.step} the change no longer alters {outcome}: {_text(self.baseline)} both ways"
            ]
        elif self.lost is None:
            lines = [f"Even {_place_of(self.last)} the change alters {outcome}"]
        else:
            value = f"{_text(self.last.value)} instead of {_text(self.baseline)}"
            lines = [
                f"The point of no return is {_place_of(self.lost)}",
                f"  there the change no longer alters {outcome}",
                f"  {_place_of(self.last)} it still does: {value}",
            ]
        if self.stopped is not None:
            lines.append(f"  a fork stopped: {self.stopped}")
        lines.append(
            f"  {count} fork{'s' * (count != 1)} of {self.run} from {self.step} on; this assumes that "
            "what is too late at one point is too late at all later ones"
        )
        return "\n".join(lines)


def turning_point(
    run: RunName,
    step: str | int,
    patch: Patch,
    outcome: str,
    target: Target | None = None,
    root: str | os.PathLike[str] | None = None,
    *,
    live: bool | Collection[str] = False,
    timeout_seconds: float | None = None,
    progress: Callable[[ProbedPoint], None] | None = None,
) -> TurningPoint:
    """Find the latest point, from a step on, at which a change still alters an outcome.

    The range of actions is halved until two neighbours differ. This assumes that a change that is too late at
    one point is too late at all later ones.

    Args:
        run: as `fork_run` takes it.
        step: the first point to try, such as the event that caused the problem.
        patch: as `fork_run` takes it.
        outcome: as `sweep_forks` takes it; usually a condition such as `published>20`.
        target: as `fork_run` takes it.
        root: likewise.
        live: likewise.
        timeout_seconds: likewise.
        progress: called with each fork's result.

    Raises:
        UsageError: the outcome is `error`, which a change may alter in many ways, or a field that the change
            sets; others as `sweep_forks`.
    """
    measured = OutcomeOf.parse(outcome)
    if measured.field == ERROR:
        raise UsageError("name a field or a condition as the outcome", remedy="such as 'published>20'")
    check_patch(patch)
    agent_id = fork_request(run, step, target, root, live)["agent_id"]
    if measured.is_set_by(patch, agent_id):
        raise UsageError(
            f"the outcome is {measured.field}, which the change itself sets",
            remedy="name a field that the change affects indirectly, such as 'published>20'",
        )
    probes: list[ProbedPoint] = []
    stopped: list[str] = []

    def at(place: str | int) -> tuple[SweepReport, ProbedPoint]:
        report = sweep_forks(
            run, place, [patch], outcome=outcome, target=target, root=root, live=live,
            workers=2, timeout_seconds=timeout_seconds,
        )  # fmt: skip
        (tried,) = report.forks
        stopped.extend([tried.stopped] if tried.stopped else [])
        probe = ProbedPoint(
            report.actions_before, report.tick, report.event_id, tried.value,
            tried.value not in (report.baseline, STOPPED),
        )  # fmt: skip
        probes.append(probe)
        if progress is not None:
            progress(probe)
        return report, probe

    first, probe = at(step)
    last, lost = (probe, None) if probe.alters else (None, probe)
    if last is not None:
        end = at(f"step_{first.actions}")[1] if first.actions > last.actions else last
        last, lost = (end, None) if end.alters else (last, end)
        while lost is not None and lost.actions - last.actions > 1:
            middle = at(f"step_{(last.actions + lost.actions) // 2}")[1]
            last, lost = (middle, lost) if middle.alters else (last, middle)
    return TurningPoint(
        first.run, str(step), first.target, outcome, patch, first.baseline, last, lost, tuple(probes),
        stopped=next(iter(stopped), None),
    )  # fmt: skip


def _place_of(probe: ProbedPoint) -> str:
    tick = "" if probe.tick is None else f", tick {probe.tick}"
    event = "" if probe.event_id is None else f" ({probe.event_id}{tick})"
    return f"after action {probe.actions:,}{event}"
