"""`try_without`: events under suspicion, each tried in a child process, with and without what happened there.

Which fork says nothing is decided here, by what the forks themselves tell; what the numbers mean is not.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Agent.errors import AgentNotFound, AgentTraceError, ReplayError, TargetNotGiven, UsageError
from Agent.replay.experiments.interventions import Measure
from Agent.replay.forks.forking import fork_request
from Agent.replay.forks.outcome import STOPPED, OutcomeOf
from Agent.replay.plan.target import Target
from Agent.replay.worker.jobs import Job, run_job

DEFAULT_SEEDS = 19
"""With so many others, one run does worse than all of them by chance once in twenty."""
_MOST_STOPPED = 0.2
_EXPERIMENT = Job("fork", "Agent.replay.experiments.experiment:try_events")


@dataclass(frozen=True, slots=True)
class Tried:
    """One event with one way to be without it, and the measure of each fork; `lacks` if there is none."""

    event_id: str | None
    """None: nothing is left out, and only chance is another from the beginning on."""
    told: str
    with_it: tuple[Any, ...] = ()
    """Numbers, or booleans of a condition: first with the recorded chance, then one for each seed."""
    without_it: tuple[Any, ...] = ()
    lacks: str | None = None
    """Why nothing was compared."""


class Trials:
    """Tries events of one session; what stands in the way of all of them is raised when it is made.

    Args:
        session: the session's directory.
        sort: of the measure, with `series`, `agents` and `outcome`: see `Measure`.
        target: `module:factory`, or such a function; without it the one that the session remembers.
        live: what may be called live, as `fork_run` takes it.
        worse: 1 where more of it is worse, -1 where less is, 0 where nobody says.
        seeds: with how many other seeds of chance each is tried.
        timeout_seconds: after this the trial of one event is given up.

    Raises:
        TargetNotGiven: no code was named, and the session remembers none.
        UsageError: the outcome or the target is none.
    """

    def __init__(
        self,
        session: Path,
        sort: str,
        series: Sequence[str],
        agents: Sequence[str],
        *,
        outcome: str = "",
        target: Target | None = None,
        live: bool | Collection[str] = False,
        worse: int = 0,
        seeds: int = DEFAULT_SEEDS,
        timeout_seconds: float | None = None,
    ) -> None:
        if outcome:
            OutcomeOf.parse(outcome)
        if not hasattr(os, "fork"):
            raise UsageError("testing causes needs a system that can fork processes", remedy="use fork_run")
        self.measure = Measure(sort, tuple(series), tuple(agents), outcome)
        self._worse = worse
        self._seeds = list(range(1, seeds + 1))
        self._timeout_seconds = timeout_seconds
        self._runs = _runs(session, agents, target, live)

    def try_events(self, suspicions: Sequence[tuple[str, str, Collection[str]]]) -> list[list[Tried]]:
        """Chance alone, and then each event: every way to be without it that was tried.

        Args:
            suspicions: of each its id, the rule by which it is suspected, and ids of events whose values are
                not ordinary.

        Raises:
            ReplayError: nothing could be replayed.
        """
        asked = [(None, "", ()), *suspicions]
        told = self._told(asked)
        found = [[_chance(told[0])]]
        for (event_id, _, _), each in zip(suspicions, told[1:], strict=True):
            found.append(_of_event(event_id, each))
        return found

    def _told(self, asked: Sequence[tuple[str | None, str, Collection[str]]]) -> list[dict[str, Any]]:
        """What the child process tells of the first run that can be replayed."""
        reasons: list[str] = []
        more = {
            "events": [
                {"event_id": event_id, "rule": rule, "suspects": sorted(suspects)}
                for event_id, rule, suspects in asked
            ],
            "measure": self.measure.to_object(),
            "worse": self._worse,
            "seeds": self._seeds,
            "workers": len(os.sched_getaffinity(0)),
        }
        for request in self._runs:
            answer = run_job(_EXPERIMENT, request | more, self._timeout_seconds).answered()
            told: list[dict[str, Any]] = answer["told"]
            if "error" not in told[0]:
                return told
            reasons.append(_reason(told[0]["error"]))
        raise ReplayError("; ".join(dict.fromkeys(reasons)))


def _chance(told: dict[str, Any]) -> Tried:
    """Other seeds from the beginning on, and nothing else changed."""
    words = "chance seeded otherwise from the beginning on"
    lacks = _lacks(told)
    others = told["with_it"]
    values = [each["value"] for each in others if _is_sound(each)]
    if lacks is None and len(values) < (1 - _MOST_STOPPED) * len(others):
        lacks = _stopped(others)
    if lacks is not None:
        return Tried(None, words, lacks=lacks)
    return Tried(None, words, (told["baseline"]["value"],), tuple(values))


def _of_event(event_id: str, told: dict[str, Any]) -> list[Tried]:
    lacks = _reason(told["error"]) if "error" in told else _lacks(told)
    if lacks is None and not told["tried"]:
        lacks = "no intervention can leave this event out"
    if lacks is not None:
        return [Tried(event_id, "", lacks=lacks)]
    found = []
    for place, way in enumerate(told["tried"]):
        if place == told["chosen"]:
            found.append(_compared(event_id, way, told))
        elif not _is_sound(way["fork"]):
            found.append(Tried(event_id, way["told"], lacks=_stopped([way["fork"]])))
    return found


def _compared(event_id: str, way: dict[str, Any], told: dict[str, Any]) -> Tried:
    """Pairs of forks, each with and without, under one chance."""
    words = way["told"]
    with_it = [told["baseline"], *told["with_it"]]
    without_it = [way["fork"], *told["without_it"]]
    usual = {name for each in with_it for name in each["errors"]}
    broken = [each for each in without_it if {*each["errors"]} - usual]
    if broken:
        message = broken[0]["messages"][0]
        return Tried(event_id, words, lacks=f"without it the run fails in another way: {message}")
    pairs = [
        (one["value"], other["value"])
        for one, other in zip(with_it, without_it, strict=True)
        if _is_sound(one) and _is_sound(other)
    ]
    if not _is_sound(without_it[0]) or len(pairs) < (1 - _MOST_STOPPED) * len(with_it):
        return Tried(event_id, words, lacks=_stopped([*without_it, *with_it]))
    # the recorded chance chose among several ways, so it has no say in what the chosen one does
    counted = pairs[1:] if len(told["tried"]) > 1 and len(pairs) > 2 else pairs
    return Tried(event_id, words, tuple(one for one, _ in counted), tuple(other for _, other in counted))


def _reason(error: dict[str, Any]) -> str:
    remedy = f"; {error['remedy']}" if error["remedy"] else ""
    return f"{error['message']}{remedy}"


def _runs(
    session: Path, agents: Sequence[str], target: Target | None, live: bool | Collection[str]
) -> list[dict[str, Any]]:
    """What can be replayed: the whole session where a target builds that, else the agent it is about."""
    root, name = session.parent, session.name.removeprefix("session_")
    found: list[dict[str, Any]] = []
    missing: AgentTraceError | None = None
    for run in (name, *(f"{name}/{agent}" for agent in agents[:1])):
        try:
            found.append(fork_request(run, "0", target, root, live))
        except TargetNotGiven as error:
            missing = error
        except AgentNotFound:
            continue  # others speak of it, and it did nothing itself
    if not found:
        assert missing is not None  # noqa: S101 - the only way to have found nothing
        raise TargetNotGiven(
            "no target was given, and the session remembers none",
            remedy="give --target module:factory (target=): a function that takes a spec and returns the "
            "agent, or all of them",
        )
    return found


def _is_sound(fork: dict[str, Any]) -> bool:
    return fork["stopped"] is None and fork["value"] not in (None, STOPPED)


def _stopped(forks: Sequence[dict[str, Any]]) -> str:
    """Why forks have no number, for example."""
    unsound = [fork for fork in forks if not _is_sound(fork)]
    reason = next((fork["stopped"] for fork in unsound if fork["stopped"] is not None), None)
    return f"{len(unsound)} of {len(forks)} forks did not finish: {reason or 'there was nothing to measure'}"


def _lacks(told: dict[str, Any]) -> str | None:
    """What an unchanged fork lacks to stand for what was recorded."""
    baseline, recorded = told["baseline"], told["recorded"]
    if baseline["stopped"] is not None:
        return f"replayed without a change, the run stops: {baseline['stopped']}"
    if not told["is_same"]:
        return (
            f"replayed without a change, the run does not do what was recorded ({baseline['value']} "
            f"instead of {recorded}), so a change would prove nothing"
        )
    return "there is nothing to measure after that moment" if baseline["value"] is None else None


__all__ = ["Tried", "Trials"]
