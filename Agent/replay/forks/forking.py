"""`resume_from_checkpoint` and `fork_run`: find run and target, continue it in a child process, report.

A fork is a new run in its own session, which names its origin; the original is only read.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from Agent.flight.open_runs import new_run_id
from Agent.flight.run_reading import RunRef
from Agent.record.emit.installed import flush_active
from Agent.replay.diff.run_comparison import RunComparison, RunName, compare_runs
from Agent.replay.diff.run_side import open_side
from Agent.replay.forks.outcome import ForkOutcome, Patch, RaisedError, check_patch
from Agent.replay.plan.recording import session_info
from Agent.replay.plan.target import Target, target_name
from Agent.replay.worker.jobs import Job, run_job

_FORK = Job("fork", "Agent.replay.forks.fork:record_fork")


@dataclass(frozen=True)
class ForkResult:
    """The result of a forked or resumed run; `str()` of it is for people, `to_dict()` for programs."""

    run: str
    """The original as a command line names it."""
    step: str
    fork_id: str
    """The id of the new run."""
    session: Path
    """The session that holds it."""
    target: str
    outcome: ForkOutcome
    patch: Any = None
    seed: int | None = None
    stdout: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)

    @property
    def completed(self) -> bool:
        """Tell whether it ran to its end."""
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
        """Return where it differs from the original; this is not a verdict."""
        return compare_runs(self.run, self.fork_id, self.session.parent)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, the comparison with the original among them."""
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
            told = ", ".join(f"{name} ({count:,})" for name, count in outcome.answered.most_common(5))
            moved = f", {outcome.moved:,} of them recorded in other actions" if outcome.moved else ""
            lines.append(f"  recorded responses used: {told}{moved}")
        if outcome.live:
            lines.append(f"  live calls: {', '.join(f'{n} ({c:,})' for n, c in outcome.live.items())}")
        if outcome.stopped is not None:
            lines.append(f"  stopped: {outcome.stopped}")
        lines += [f"  raised: {error}" for error in outcome.errors[:5]]
        if len(outcome.errors) > 5:
            lines.append(f"  and {len(outcome.errors) - 5:,} more errors")
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
        target: `module:factory`, or such a function; default: the one that the session remembers.
        root: the trace root; default: the configured one, then ./trace. The fork is stored there too.
        seed: seeds every exposed generator there.
        live: names of tools, models and agents whose calls may be executed, or True for all. Another call
            without a recorded response ends the fork, and the result names it.
        timeout_seconds: then the child process is killed.

    Raises:
        RunNotFound, SessionNotFound, AgentNotFound: the run does not exist.
        EventNotFound: it has no such step.
        TargetNotGiven: no target was given, and the session remembers none.
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
    """What the child process is told of the run and the point.

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
