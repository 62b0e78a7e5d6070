"""A failing run made small: the shortest beginning and the fewest agents that still fail in the same way.

Every step down is tried by driving it; what does not fail in the same way is not taken. What is left is a
golden trace of its own, and a test that fails until the code does again what was recorded.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from Agent.archive.run_export import export_run
from Agent.errors import UsageError
from Agent.flight.run_reading import RunRef
from Agent.replay.compare.outcome import ReplayReport, Verdict
from Agent.replay.golden.adding import Chosen, asked_for, choose, inside_agents, keep_recording, needed
from Agent.replay.golden.trace import GoldenReport, GoldenTrace, check_golden, golden_place, unpacked
from Agent.replay.plan.recording import Recording, read_recording
from Agent.replay.worker.fork_server import Progress
from Agent.tree.retention import delete_tree

__all__ = ["ShrunkGolden", "shrink_golden"]

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


class _Trials:
    """Drives parts of a recording and says whether they fail in the same way."""

    def __init__(
        self, golden: GoldenTrace, recording: Recording, failure: _Failure, progress: Progress | None
    ) -> None:
        self.golden = golden
        self.recording = recording
        self.failure = failure
        self.count = 0
        self._progress = progress
        self._known: dict[tuple[Any, ...], bool] = {}

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
            if self._progress is not None:
                self._progress(1 - 0.9**self.count)  # how many there will be nobody knows
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
        assert whole is not None  # noqa: S101 - without an end there is nothing that could be missing
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

    def first(count: int) -> Chosen:
        return replace(whole, actions=whole.actions[:count], is_whole=count == len(whole.actions))

    total = len(whole.actions)
    seen_at = report.outcome.counts.driven
    if report.divergence is not None:
        seen_at = report.divergence.step
    elif report.outcome.sources and not report.outcome.reasons:
        seen_at = min(read.step for read in report.outcome.sources)
    guesses = dict.fromkeys(min(max(1, guess), total) for guess in (seen_at, seen_at + 1))
    high = next((guess for guess in guesses if trials.fails(first(guess))), total)
    low = 0
    if high > 1 and not trials.fails(first(high - 1)):
        low = high - 1
    while low + 1 < high and not trials.are_over:
        middle = (low + high) // 2
        if trials.fails(first(middle)):
            high = middle
        else:
            low = middle
    return first(high)


def _fewest_agents(trials: _Trials, chosen: Chosen, report: ReplayReport) -> tuple[Chosen, str | None]:
    """The fewest agents whose code has to run; and the one that is replayed alone, where one is enough."""
    if trials.golden.agent_id is not None and not chosen.inside:
        return chosen, trials.golden.agent_id
    until = chosen.actions[-1].event.id
    ends = None if chosen.is_whole else until
    agent = report.divergence.agent_id if report.divergence is not None else chosen.actions[-1].agent_id
    if trials.golden.agent_id is None:
        for candidate in dict.fromkeys((agent, chosen.actions[-1].agent_id)):
            alone = choose(trials.recording, [candidate], [], ends)
            if trials.fails(alone, alone=candidate):
                assert alone is not None  # noqa: S101 - it was replayed
                return alone, candidate

    def part(agents: Collection[str]) -> Chosen | None:
        return choose(trials.recording, chosen.given & set(agents), chosen.inside & set(agents), ends)

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
