"""`ask_agent`: restore an agent as it was at a moment, and call a function of the user on it.

The worker process brings the target's object to the moment as a fork does, calls the function once, and
ends. Nothing is recorded. `ask_agent` is the caller's side, `answer_question` the worker's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from Agent.errors import EventNotFound, ReplayError, TargetNotFound, UsageError
from Agent.event.clock import parse_timestamp
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
from Agent.replay.plan.actions import Plan
from Agent.replay.plan.target import Target, TargetNotImported, import_target, place_of
from Agent.replay.worker.jobs import Job, run_job

_ASK = Job("question", "Agent.replay.forks.asking:answer_question")


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
