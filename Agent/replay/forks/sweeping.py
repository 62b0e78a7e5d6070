"""`sweep_forks`: many forks of one point, how an outcome is distributed over them, and what flips it.

The point is reached once, in one process; forks of that process try the changes, as many at a time as there
are cores. They leave no runs: `fork_run` makes one of whichever is worth a look.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from Agent.errors import UsageError
from Agent.replay.diff.run_comparison import RunName
from Agent.replay.forks.forking import fork_request
from Agent.replay.forks.outcome import ERROR, STOPPED, OutcomeOf, Patch, check_patch
from Agent.replay.plan.target import Target
from Agent.replay.rerun import keep_json, make_replay_directory
from Agent.replay.worker.jobs import Job, run_job

_SWEEP = Job("fork", "Agent.replay.forks.sweep_job:sweep")
_ASKED = ("run", "step", "target", "outcome", "workers")
_TOLD = ("point", "start", "redriven", "baseline", "smallest", "reached_seconds", "forks_seconds")
_OF_EACH = ("value", "stopped", "errors", "steps", "seconds", "process_seconds")
"""What a report has of its request, of the answer, and of the answer on each fork."""
_SHOWN_VALUES = 8
_BAR_CHARS = 30


@dataclass(frozen=True, slots=True)
class SweptFork:
    """One change, and what came of it."""

    patch: Any
    seed: int | None
    value: Any
    """The outcome: a JSON value, `stopped` where a call had no recorded response."""
    stopped: str | None
    errors: Sequence[str]
    steps: int
    seconds: float
    """From the point on."""
    process_seconds: float
    """Processor time of the fork's process."""


@dataclass(frozen=True)
class SweepReport:
    """How an outcome is distributed over forks of one point."""

    run: str
    step: str
    target: str
    outcome: str
    point: str
    start: str
    redriven: int
    baseline: Any
    """The outcome without any change."""
    forks: tuple[SweptFork, ...]
    smallest: dict[str, Any] | None
    """The smallest change that flips the outcome, `patch` and `seed`; None where none does."""
    workers: int
    reached_seconds: float
    """What reaching the point took, once."""
    forks_seconds: float
    path: Path | None = None
    """Where the report is kept; None where it could not be."""
    live: tuple[str, ...] = ()
    """What the forks might call live."""

    @property
    def counts(self) -> Counter[str]:
        """How often each value came, as JSON text, the commonest first."""
        return Counter(_text(fork.value) for fork in self.forks)

    @property
    def numbers(self) -> list[float]:
        """The values, where all that did not stop are numbers; else empty."""
        values = [fork.value for fork in self.forks if fork.value != STOPPED]
        is_numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        return sorted(float(value) for value in values) if values and is_numeric else []

    @property
    def flips(self) -> tuple[SweptFork, ...]:
        """The forks whose outcome is another than without a change; those that stopped do not count."""
        return tuple(fork for fork in self.forks if fork.value not in (self.baseline, STOPPED))

    @property
    def exit_code(self) -> int:
        """0; 4 where every fork had to stop, so that nothing was found out."""
        return 4 if self.forks and all(fork.value == STOPPED for fork in self.forks) else 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        numbers = self.numbers
        return {
            **{name: getattr(self, name) for name in (*_ASKED, *_TOLD)},
            "counts": dict(self.counts.most_common()),
            "quantiles": _quantiles(numbers) if numbers else None,
            "flips": len(self.flips),
            "forks": [asdict(fork) for fork in self.forks],
        }

    def __str__(self) -> str:
        count = len(self.forks)
        lines = [
            f"{count:,} forks of {self.run}, {self.point}: {self.outcome}",
            f"  unchanged: {_text(self.baseline)}",
        ]
        numbers = self.numbers
        if numbers and len(self.counts) > _SHOWN_VALUES:
            told = ", ".join(f"{name} {value:g}" for name, value in _quantiles(numbers).items())
            lines += [f"  {told}", *_histogram(numbers)]
        else:
            lines += [
                f"  {text:<24} {number:>6,}  {_bar(number, count)}"
                for text, number in self.counts.most_common(_SHOWN_VALUES)
            ]
            rest = len(self.counts) - _SHOWN_VALUES
            if rest > 0:
                lines.append(f"  and {rest:,} more values")
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
        run, step, target, root, live, timeout_seconds: as `fork_run` takes them.
        patches: each as `fork_run` takes it.
        seeds: of the generators that agents expose.
        outcome: what is looked at: a field at the end (`followers`, `creator_001.followers`), a condition on
            one (`followers>1000`), or `error`: its type, or that there was none.
        workers: forks at the same time; as many as there are cores without it.

    Raises:
        UsageError: there is nothing to try, or a patch does not fit; others as `fork_run`.
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
    request |= {"variants": variants, "outcome": outcome, "workers": workers or len(os.sched_getaffinity(0))}
    answer = run_job(_SWEEP, request, timeout_seconds).answered()
    report = SweepReport(
        forks=tuple(
            SweptFork(**variant, **{name: told.get(name, 0.0) for name in _OF_EACH})
            for variant, told in zip(variants, answer["tried"], strict=True)
        ),
        path=make_replay_directory(Path(request["session"])),
        live=tuple(request["live"]) if isinstance(request["live"], list) else (),
        **{name: request[name] for name in _ASKED},
        **{name: answer[name] for name in _TOLD},
    )
    if report.path is not None and keep_json(report.path / "sweep.json", report.to_dict()):
        return replace(report, path=None)
    return report


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=repr).decode("utf-8", "replace")


def _quantiles(numbers: list[float]) -> dict[str, float]:
    if len(numbers) == 1:
        quarters = [numbers[0]] * 3
    else:
        quarters = statistics.quantiles(numbers, n=4, method="inclusive")
    names = ("min", "25 %", "median", "75 %", "max")
    return dict(zip(names, (numbers[0], *quarters, numbers[-1]), strict=True))


def _histogram(numbers: list[float], bins: int = 8) -> list[str]:
    low, high = numbers[0], numbers[-1]
    width = (high - low) / bins or 1.0
    counts = Counter(min(int((number - low) / width), bins - 1) for number in numbers)
    return [
        f"  {low + place * width:>12g} to {low + (place + 1) * width:<12g} {counts[place]:>6,}  "
        f"{_bar(counts[place], len(numbers))}"
        for place in range(bins)
    ]


def _bar(count: int, total: int) -> str:
    return "#" * round(_BAR_CHARS * count / max(total, 1))
