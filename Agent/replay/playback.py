"""`play_run`: the steps of a run from the recording alone; no user code runs, and there is no verdict."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from Agent.archive.sealed.reader import open_reader
from Agent.archive.verify import Verification, verify
from Agent.event.clock import format_timestamp
from Agent.event.kinds import ACTION_KINDS
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.flight.run_reading import RunName, find_explicit_run, find_session_run
from Agent.record.emit.installed import flush_active
from Agent.render.formats import indentation, plural
from Agent.render.html import TextInNotebook
from Agent.replay.plan.recording import (
    began_us,
    check_agent,
    parents_of,
    spans_around,
)

_PLAYED = ACTION_KINDS | {"tool.call", "model.call", "step.finished"}


@dataclass(frozen=True, slots=True)
class PlayedStep:
    """One recorded action, or one entry of a recorder: a step, a tool call, a model call."""

    number: int
    event_id: str
    began_at: str
    """RFC 3339, UTC."""
    agent_id: str | None
    action: str
    depth: int
    """The number of recorded actions that enclose it."""
    kind: str
    tick: int | None
    args: Any
    result: Any
    outcome: str
    """`ok`, `error`, `cancelled` or `interrupted`; `note` for a call of `log_action`."""
    error: str | None
    duration_ms: float | None
    changed: dict[str, Any] = field(default_factory=dict)
    """Fields that differ after the action, with their new values."""
    removed: tuple[str, ...] = ()
    """Fields that it removed."""

    def __str__(self) -> str:
        indent = indentation(self.depth)
        tick = f" tick {self.tick}" if self.tick is not None else ""
        arguments = f" {self.args!r}" if self.args else ""
        ending = f" -> {self.result!r}" if self.outcome == "ok" else f" -> {self.outcome}: {self.error or ''}"
        what = f"{indent}{self.agent_id or '-'} {self.action}{arguments}"
        lines = [f"{self.number:>5}  {self.began_at[11:23]}{tick}  {what}"]
        lines[0] += ending if self.outcome != "note" else ""
        below = " " * (9 + len(indent))
        lines += [f"{below}{name} = {value!r}" for name, value in self.changed.items()]
        lines += [f"{below}{name} removed" for name in self.removed]
        return "\n".join(lines)


@dataclass(frozen=True)
class Playback(TextInNotebook):
    """The recorded steps of a run in the order in which they began.

    Completeness is checked on the first request, since the check covers the whole session and takes longer
    than reading one agent's steps.
    """

    run: str
    session: Path
    agent_id: str | None
    """The agent whose steps these are; None for all agents."""
    steps: tuple[PlayedStep, ...]

    @cached_property
    def _verification(self) -> Verification:
        return verify(self.session)

    @cached_property
    def damage(self) -> tuple[str, ...]:
        """Return why the session is not sound: damaged lines and files, missing events, edits."""
        return tuple(self._verification.faults())

    @property
    def is_complete(self) -> bool:
        """Whether every process of the session ended cleanly."""
        return self._verification.is_complete

    @property
    def sound(self) -> bool:
        """Return whether the recording is complete and undamaged, as `agent-trace verify` tells."""
        return self._verification.sound

    @property
    def exit_code(self) -> int:
        """Return 0 if the recording is sound, 1 if it is damaged."""
        return 0 if self.sound else 1

    def __iter__(self) -> Iterator[PlayedStep]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def lines(self) -> Iterator[str]:
        """Return the text line by line: the steps, then what is missing."""
        yield f"{self.run}: {plural(len(self.steps), 'step')} of a recording"
        for step in self.steps:
            yield from str(step).splitlines()
        yield from (f"damage: {damage}" for damage in self.damage)
        ending = "" if self.is_complete else ", and did not end cleanly"
        state = "is sound" if self.sound else f"has {plural(len(self.damage), 'damaged place')}"
        yield f"the recording {state}{ending}"

    def __str__(self) -> str:
        return "\n".join(self.lines())


def play_run(
    run: RunName = "last", root: str | os.PathLike[str] | None = None, agent_id: str | None = None
) -> Playback:
    """Return the recorded steps of a run or of one agent, with arguments, responses and changes of state.

    Args:
        run: as in `replay_run`, or the id of a recorder's run or a unique prefix of it.
        root: the trace root; default: the configured one, then ./trace.
        agent_id: one agent, if `run` does not name one.

    Raises:
        SessionNotFound, AgentNotFound: the run does not exist.
        RunNotFound: several runs begin with that prefix.
    """
    flush_active()
    reference = find_explicit_run(run, root)
    if reference is None or reference.run_id is None:
        reference = find_session_run(run, root, agent_id)
        agent_id = reference.agent_id
    reader, run_id = open_reader(reference.session), reference.run_id
    if run_id is None and agent_id is not None:
        check_agent(reader, agent_id)
    events = [event for event in reader.events(agent_id) if run_id in {None, event.run_id}]
    return Playback(
        run=reference.name if run_id is None else run_id,
        session=reference.session,
        agent_id=agent_id,
        steps=tuple(_steps(events)),
    )


def _steps(events: list[Event]) -> Iterator[PlayedStep]:
    actions = [event for event in events if event.kind in _PLAYED]
    parents = parents_of(events)
    by_span = {event.span_id: event for event in actions if event.span_id is not None}
    errors = {event.id: event for event in events if event.kind == "error"}
    above = {
        event.id: [by_span[span_id] for span_id in spans_around(event, parents) if span_id in by_span]
        for event in actions
    }
    began = {event.id: began_us(event) for event in actions}
    for event in actions:
        # A call began before the events inside it, although its own event was written after them.
        for outer in above[event.id]:
            began[outer.id] = min(began[outer.id], began[event.id])
    actions.sort(key=lambda event: (began[event.id], len(above[event.id]), order_key(event)))
    for number, event in enumerate(actions, start=1):
        yield _step(number, event, len(above[event.id]), began[event.id], errors)


_NAMES = ("action_type", "learning_stage", "call", "name", "model_name", "step_id")
_ANSWERS = ("result", "result_ref", "output_ref")


def _name_of(event: Event) -> str:
    """Return the name of the step, from the field that its kind uses."""
    return str(next((event.extra[key] for key in _NAMES if event.extra.get(key)), event.message))


def _step(number: int, event: Event, depth: int, began: float, errors: dict[str, Event]) -> PlayedStep:
    extra = event.extra
    is_note = event.kind in ACTION_KINDS and "call" not in extra
    error_event = errors.get(str(extra.get("error_id")))
    state = event.state or {}
    duration = extra.get("duration_ms")
    return PlayedStep(
        number=number,
        event_id=event.id,
        began_at=format_timestamp(int(began)),
        agent_id=event.agent_id,
        action=_name_of(event),
        depth=depth,
        kind=event.kind,
        tick=event.tick,
        args=extra.get("action_data", extra.get("update_data")) if is_note else extra.get("args"),
        result=next((extra[key] for key in _ANSWERS if key in extra), None),
        outcome="note" if is_note else str(extra.get("outcome", "ok")),
        error=None
        if error_event is None
        else f"{error_event.extra.get('error_type')}: {error_event.extra.get('error_message')}",
        duration_ms=float(duration) if isinstance(duration, (int, float)) else None,
        changed=dict(state.get("set", {})),
        removed=tuple(state.get("unset", ())),
    )
