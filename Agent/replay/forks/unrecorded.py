"""Forks that leave no run: a sweep of many changes at one point, and a question to an agent at a moment.

The worker process reaches the point once. A sweep forks the process there for every change, and each fork
writes its outcome to a file in the request's directory. A question (`ask_agent` is the caller's side,
`answer_question` the worker's) calls a function of the user once.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import orjson

from Agent.errors import EventNotFound, ReplayError, TargetNotFound, UsageError
from Agent.event.clock import parse_timestamp
from Agent.event.pointers import value_at
from Agent.event.values.digest import canonical_bytes
from Agent.event.values.values import to_json
from Agent.flight.run_reading import RunName, RunRef
from Agent.record.emit.context import current_player
from Agent.record.emit.installed import install_pipeline
from Agent.record.encode.safe_text import message_of
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import read_state
from Agent.render.html import TextInNotebook
from Agent.replay.forks.fork import Fork
from Agent.replay.forks.fork_point import ForkPoint, find_point, place_at
from Agent.replay.forks.forking import fork_request
from Agent.replay.forks.outcome import STOPPED, OutcomeOf, Patch, leaves, of_leaves
from Agent.replay.plan.actions import Plan
from Agent.replay.plan.target import Target, TargetNotImported, import_target, place_of
from Agent.replay.worker.fork_server import Forks
from Agent.replay.worker.jobs import Job, from_object, run_job

_DIED = {
    "value": STOPPED, "stopped": "its process died", "errors": [], "types": [], "steps": 0, "notes": [],
}  # fmt: skip
"""The result of a fork whose process died."""


def fork_each(fork: Fork, forks: Forks, tasks: Sequence[Callable[[], Any]]) -> list[dict[str, Any]]:
    """Run each task in a fork of this process; return the results in order.

    Args:
        tasks: each continues from the point with its change, and returns the `value` to report.

    Returns:
        For each task the keys of `_DIED` and times in seconds, or only `error` if it raised one.
    """

    def result_of(task: Callable[[], Any]) -> dict[str, Any]:
        fork.driver.leave_loop()
        value = task()
        outcome = fork.outcome
        return {
            "value": value,
            "stopped": outcome.stopped,
            "errors": [str(error) for error in outcome.errors[:3]],
            "types": [error.error_type for error in outcome.errors],
            "steps": outcome.steps,
            "notes": outcome.notes,
            "seconds": outcome.seconds,
            "process_seconds": time.process_time(),  # the process started with this fork
        }

    return [answer or _DIED for answer in forks.run([partial(result_of, task) for task in tasks])]


def raise_first(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Raise the first error, since a patch that does not fit is the caller's mistake, not an outcome."""
    for each in results:
        if "error" in each:
            raise from_object(each["error"])
    return results


@contextmanager
def silenced() -> Iterator[None]:
    """Discard what forks print in the block, since the mixed output of many forks is unreadable."""
    saved_descriptors = _pointed_at([os.open(os.devnull, os.O_WRONLY)] * 2)
    try:
        yield
    finally:
        _pointed_at(saved_descriptors)


def _pointed_at(targets: list[int]) -> list[int]:
    """Redirect stdout and stderr to these descriptors, close them, and return duplicates of the old ones."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved_descriptors = [os.dup(number) for number in (1, 2)]
    for number, target in zip((1, 2), targets, strict=True):
        os.dup2(target, number)
    for target in set(targets):
        os.close(target)
    return saved_descriptors


def sweep(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request of `sweep_forks`; the entry point of the worker process."""
    began = time.monotonic()
    outcome = OutcomeOf.parse(request["outcome"])
    fork = Fork(request, shows=outcome.concerns)
    fork.bring()
    reached = time.monotonic()
    pipeline = fork.unrecorded()
    forks = Forks(fork.bench.directory, request["workers"], reports_progress=True)

    def value(patch: Patch | None, seed: int | None) -> Any:
        fork.go_on(pipeline, patch, seed)
        return outcome.of(fork.outcome)

    def try_all(variants: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return fork_each(fork, forks, [partial(value, **each) for each in variants])

    variants = request["variants"]
    with silenced():
        baseline, *tried = raise_first(try_all([{"patch": None, "seed": None}, *variants]))
        smallest = _smallest(try_all, variants, tried, baseline["value"], _state_of(fork))
    before = fork.plan.actions[fork.point.index - 1].event if fork.point.index else None
    return {
        "point": fork.outcome.point,
        "actions": len(fork.plan.actions),
        "actions_before": fork.point.index,
        "tick": None if before is None else before.tick,
        "event_id": None if before is None else before.id,
        "start": fork.outcome.start,
        "redriven": fork.outcome.redriven,
        "baseline": baseline["value"],
        "tried": tried,
        "smallest": smallest,
        "reached_seconds": reached - began,
        "forks_seconds": time.monotonic() - reached,
    }


def _smallest(
    try_all: Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]],
    variants: Sequence[dict[str, Any]],
    tried: Sequence[dict[str, Any]],
    baseline: Any,
    state: Any,
) -> dict[str, Any] | None:
    """Return the smallest patch that changes the outcome, without unnecessary parts; None if none does."""
    flips = [
        variant
        for variant, result in zip(variants, tried, strict=True)
        if variant["patch"] is not None and result["value"] not in (baseline, STOPPED)
    ]
    if not flips:
        return None
    chosen = min(flips, key=lambda variant: _size(state, variant["patch"]))
    kept_leaves, index = leaves(chosen["patch"]), 0
    while index < len(kept_leaves) and len(kept_leaves) > 1:
        fewer = kept_leaves[:index] + kept_leaves[index + 1 :]
        (result,) = try_all([chosen | {"patch": of_leaves(chosen["patch"], fewer)}])
        if "error" not in result and result["value"] not in (baseline, STOPPED):
            kept_leaves = fewer
        else:
            index += 1
    return {"patch": of_leaves(chosen["patch"], kept_leaves), "seed": chosen["seed"]}


def _size(state: Any, patch: Patch) -> tuple[int, float, int]:
    """Return the size of a patch: number of single changes, relative distance, length in bytes."""
    single = leaves(patch)
    distance = 0.0
    for pointer, value in single:
        is_operation = isinstance(value, dict) and "op" in value
        change = value.get("value") if is_operation else value
        before = value_at(state, value["path"] if is_operation else pointer)
        if _is_number(before) and _is_number(change):
            distance += abs(change - before) / max(abs(before), 1)
        else:
            distance += 1
    return len(single), distance, len(orjson.dumps(patch))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _state_of(fork: Fork) -> Any:
    """Return the states at the point as JSON: the fields of a single agent, or {agent: fields}."""
    states = {
        name: orjson.loads(to_json(dict(read_state(obj).fields), "", agent_of=agent_id_of).json)
        for name, obj in (fork.bench.given if fork.is_of_one else fork.everybody()).items()
    }
    return next(iter(states.values())) if fork.is_of_one else states


# Questions to an agent as it was at a moment.

_ASK = Job("question", "Agent.replay.forks.unrecorded:answer_question")


@dataclass(frozen=True)
class Answer(TextInNotebook):
    """What a function returned for an agent as it was at a moment."""

    run: str
    agent_id: str
    function: str
    point: str
    """The moment in words."""
    start: str
    """The recorded state that the agent was made from."""
    redriven: int
    """The number of recorded actions that were replayed from there to the moment."""
    value: Any
    """The result as a JSON value."""
    types: dict[str, str]
    """{JSON pointer below the value: tag} for types that JSON lacks, such as tuples."""
    changed: tuple[str, ...]
    """Fields that the function changed in its copy of the agent: such a function is not pure."""
    notes: tuple[str, ...]
    stdout: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        return {**asdict(self), "changed": list(self.changed), "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = [
            orjson.dumps(self.value, option=orjson.OPT_INDENT_2).decode(),
            f"  {self.function} on {self.agent_id}, {self.point}",
            f"  state from {self.start}"
            + (f", {self.redriven:,} recorded actions replayed up to the moment" if self.redriven else ""),
        ]
        if self.changed:
            lines.append(f"  the function changed {', '.join(self.changed)}; the recording is unchanged")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def ask_agent(
    run: RunName,
    function: str,
    at: str | int | None = None,
    target: Target | None = None,
    root: str | os.PathLike[str] | None = None,
    *,
    timeout_seconds: float | None = None,
) -> Answer:
    """Call a function on an agent as it was at a moment of a recording, and return its result.

    Args:
        run: `SESSION/agent_id`, or a run of one agent.
        function: `module:function`; it takes the agent, and should only read it.
        at: `tick:N` or N (the end of that tick), a time (RFC 3339), or the id of an event, checkpoint or
            step (the moment after it); default: the end of the recording.
        target: `module:factory` that makes the agent; the default is the target recorded in the session.
        root: the trace root; default: the configured one, then ./trace.
        timeout_seconds: the time after which the worker process is killed.

    Raises:
        RunNotFound, SessionNotFound, AgentNotFound: the run does not exist.
        EventNotFound: the recording has no such moment.
        TargetNotGiven: no target was given, and the session has none.
        TargetNotFound: the function or the target cannot be imported.
        UsageError: the function is not written as `module:function`.
        ReplayError: the moment cannot be reached, or the function raised an exception.
    """
    if not all(part.strip() for part in function.partition(":")):
        raise UsageError(
            f"{function!r} does not name a function",
            remedy="write it as module:function, such as checks:is_stuck",
        )
    request = fork_request(run, f"tick:{at}" if isinstance(at, int) else at or "", target, root, live=False)
    done = run_job(_ASK, request | {"function": function}, timeout_seconds)
    answer = done.answered()
    answer |= {name: tuple(answer[name]) for name in ("changed", "notes")}
    return Answer(request["run"], function=function, stdout=done.stdout, stderr=done.stderr, **answer)


def answer_question(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request of `ask_agent`; the entry point of the worker process."""
    fork = Fork(request, find=lambda plan: _moment(fork, plan))
    fork.bring()
    agent_id, agent = _asked_agent(fork, request["agent_id"])
    try:
        function = import_target(request["function"])
    except TargetNotImported as error:
        why = str(error).replace("the target ", "", 1)
        raise TargetNotFound(why, remedy="run this where its module can be imported from") from error
    install_pipeline(fork.unrecorded())
    current_player.set(None)
    fork.bench.watch.is_on = False
    before = _digests(agent)
    try:
        value = function(agent)
    except Exception as error:
        raise ReplayError(
            f"{request['function']} raised {type(error).__qualname__}: {message_of(error)}{place_of(error)}"
        ) from error
    after = _digests(agent)
    dumped = to_json(value, "", agent_of=agent_id_of)
    return {
        "agent_id": agent_id,
        "point": fork.outcome.point,
        "start": fork.outcome.start,
        "redriven": fork.outcome.redriven,
        "value": orjson.loads(dumped.json),
        "types": dict(dumped.types or {}),
        "changed": sorted(
            name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
        ),
        "notes": fork.outcome.notes,
    }


def _moment(fork: Fork, plan: Plan) -> ForkPoint:
    """Return the place of the requested moment; one inside an action is the place before that action."""
    step, actions, recording = fork.bench.request["step"], plan.actions, fork.bench.recording
    if not step:
        return ForkPoint("at the end of the recording", len(actions))
    tick = step.removeprefix("tick:")
    if step.startswith("tick:") and tick.lstrip("-").isdigit():
        recorded = [each.event.tick for each in actions if each.event.tick is not None]
        if not recorded or int(tick) < recorded[0]:
            raise EventNotFound(
                f"no action was recorded by the end of tick {tick}",
                path=recording.session,
                remedy=f"the first is of tick {recorded[0]}"
                if recorded
                else "give a time or the id of an event",
            )
        later = (index for index, each in enumerate(actions) if (each.event.tick or 0) > int(tick))
        return ForkPoint(f"at the end of tick {tick}", next(later, len(actions)))
    try:
        point = place_at(parse_timestamp(step), f"at {step}", actions)
    except ValueError:
        ref = RunRef(recording.session, fork.bench.request["run_id"])
        point = find_point(step, plan, recording, ref)
        point = replace(point, what=f"after {point.what}")
    if point.effect is None:
        return point
    return ForkPoint(f"{point.what}, before the action that was running then", point.index)


def _asked_agent(fork: Fork, agent_id: str | None) -> tuple[str, object]:
    """Return the agent that the question is about, and its id."""
    agents: Mapping[str, object] = fork.everybody()
    if agent_id is None and len(agents) == 1:
        agent_id = next(iter(agents))
    if agent_id in agents:
        return str(agent_id), agents[str(agent_id)]
    raise UsageError(
        "the run has several agents" if agent_id is None else f"the target builds no {agent_id}",
        remedy=f"name one, as SESSION/agent: {', '.join(list(agents)[:5])}",
    )


def _digests(agent: object) -> dict[str, bytes]:
    """Return the value of each exposed field of an agent in a comparable form."""
    fields = read_state(agent).fields
    encoded = {name: to_json({name: value}, "", agent_of=agent_id_of) for name, value in fields.items()}
    return {
        name: canonical_bytes([orjson.loads(each.json), dict(each.types or {})])
        for name, each in encoded.items()
    }
