"""`turning_point`: bisect forks for the latest point of a run at which a change still alters its outcome."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any

from Agent.errors import UsageError
from Agent.flight.run_reading import RunName
from Agent.render.html import TextInNotebook
from Agent.replay.forks.forking import SweepReport, sweep_forks
from Agent.replay.forks.outcome import STOPPED, OutcomeOf, Patch
from Agent.replay.plan.target import Target


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
        """Return 0 if a point was found, 1 if the change alters nothing at the first, 4 if that stopped."""
        if self.last is not None:
            return 0
        return 4 if self.probes[0].value == STOPPED else 1

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self) | {"probes": [asdict(probe) for probe in self.probes]}

    def __str__(self) -> str:
        told, count = self.outcome, len(self.probes)
        if self.exit_code == 4:
            lines = [f"The fork at {self.step} stopped, so nothing was found out"]
        elif self.last is None:
            lines = [f"At {self.step} the change no longer alters {told}: {_text(self.baseline)} both ways"]
        elif self.lost is None:
            lines = [f"Even {_place(self.last)} the change alters {told}"]
        else:
            value = f"{_text(self.last.value)} instead of {_text(self.baseline)}"
            lines = [
                f"The point of no return is {_place(self.lost)}",
                f"  there the change no longer alters {told}",
                f"  {_place(self.last)} it still does: {value}",
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

    The range of actions is halved until two neighbours differ. This assumes that a change that comes too late
    at one point comes too late at all later ones.

    Args:
        run, step, patch, target, root, live, timeout_seconds: as `fork_run` takes them; the step is the first
            point that is tried, such as the event that caused the trouble.
        outcome: as `sweep_forks` takes it; usually a condition such as `published>20`.
        progress: called with each fork's result.

    Raises:
        UsageError: the outcome is `error`, which a change may alter in many ways; others as `sweep_forks`.
    """
    if OutcomeOf.parse(outcome).field == "error":
        raise UsageError("name a field or a condition as the outcome", remedy="such as 'published>20'")
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


def _place(probe: ProbedPoint) -> str:
    tick = "" if probe.tick is None else f", tick {probe.tick}"
    event = "" if probe.event_id is None else f" ({probe.event_id}{tick})"
    return f"after action {probe.actions:,}{event}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
