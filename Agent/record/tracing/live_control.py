"""Control of the running program: where a tick begins, it pauses and takes changes of its agents' fields.

`LiveControl` is called at each tick, in the program's own thread; a tick that nobody waits for costs one
system call. Each request becomes an event: `intervention`, or for a change a `state_change` with the trigger
`intervention`, which a replay repeats at the same tick (`replay/drive/changes_between.py`). The requests come
through `tree/files/control.py`.
"""

from __future__ import annotations

import difflib
import threading
from collections import deque
from collections.abc import Mapping
from enum import Enum
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from Agent.event.kinds import INTERVENTION, Category
from Agent.event.values.plain import read_json
from Agent.record.emit.context import current_scope
from Agent.record.state.agents import agent_id_of
from Agent.record.state.introspection import Sort, put_field, read_state, sort_of
from Agent.tree.files.control import PAUSED, RUNNING

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.state.tracker import Known
    from Agent.tree.files.control import ControlFiles

_POLL_S: Final = 0.05
_MOST_STEPS: Final = 1_000_000


class RequestRefused(Exception):
    """A request that is not carried out.

    Args:
        what: `agent`, `field`, `value` or `state` (of the program), to which it does not apply.
    """

    def __init__(self, what: str, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.what, self.message, self.remedy = what, message, remedy


class TickPlace(NamedTuple):
    """Where in a run a tick began, besides its number, which may occur more than once."""

    of_all: int
    """How many ticks of the process had begun, with this one."""
    in_span: int
    """The same since the enclosing span began or was entered again; 0 outside of spans."""


class TickCount:
    """Counts the ticks that begin."""

    def __init__(self) -> None:
        self._of_all = self._in_span = 0
        self._span: str | None = None

    def next(self) -> TickPlace:
        """Return the place of the tick that begins now, in the current scope."""
        self._of_all += 1
        scope = current_scope.get()
        span = None if scope is None else scope.span_id
        if span is None or span != self._span:
            self._span, self._in_span = span, 0
        self._in_span += span is not None
        return TickPlace(self._of_all, self._in_span)


class LiveControl:
    """Carries out the requests to one program, in the thread whose tick begins.

    A paused program waits for further requests, in all threads that begin a tick, until a request resumes it,
    recording ends, or its session's directory is removed. Signals such as Ctrl-C end the wait.

    Args:
        pipeline: records the interventions.
        files: where the requests come from.
    """

    def __init__(self, pipeline: Pipeline, files: ControlFiles) -> None:
        self._pipeline = pipeline
        self._files = files
        self._lock = threading.Lock()
        self._ticks = TickCount()
        self._is_paused = False
        self._is_over = threading.Event()
        self._steps = 0
        """How many more ticks begin before the program pauses again."""
        self._pending: str | None = None
        """The id of the request that is answered then."""

    def at_tick(self, number: int | None) -> None:
        """A tick begins: carry out what waits, and pause as long as that is asked for."""
        place = self._ticks.next()
        is_asked = self._steps or self._is_paused or self._files.waits()
        # Asked last: another thread that has taken the request is about to pause.
        if place.of_all > 1 and not (is_asked or self._lock.locked()):
            return
        try:
            with self._lock:
                self._look(number, place)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._pipeline.health.trouble("control", error)

    def close(self) -> None:
        """Take no more requests; a thread that is paused goes on."""
        self._is_over.set()
        try:
            self._files.end()
        except OSError as error:
            self._pipeline.health.trouble("control", error)

    def _look(self, number: int | None, place: TickPlace) -> None:
        if place.of_all == 1:
            self._files.tell(has_ticked=True)
        if self._steps:
            self._steps -= 1
            if not self._steps:
                self._pause(number)
        began_ns = self._pipeline.monotonic_ns()
        try:
            while not self._is_over.is_set():
                if self._files.waits():
                    self._take(number, place, began_ns)
                if not self._is_paused:
                    return
                if not self._files.is_there():
                    self._pipeline.health.note("a pause ended because the session's directory was removed")
                    return
                self._is_over.wait(_POLL_S)
        finally:
            if self._is_paused:  # by an interrupt, or because recording ended
                self._is_paused = False
                if self._files.is_there():
                    self._files.tell(state=RUNNING, tick=None)

    def _pause(self, number: int | None) -> None:
        self._is_paused = True
        self._pipeline.flush()  # so that all events so far can be read meanwhile
        pending, self._pending = self._pending, None
        answered = {} if pending is None else {"answered": {"id": pending, "tick": number}}
        self._files.tell(state=PAUSED, tick=number, **answered)

    def _take(self, number: int | None, place: TickPlace, began_ns: int) -> None:
        try:
            request = self._files.take()
        except PermissionError as refused:
            self._pipeline.health.note(str(refused))
            return
        if request is None:
            return
        try:
            answer = self._carry_out(request, number, place, began_ns)
        except RequestRefused as refused:
            message = self._pipeline.redactor.text(refused.message)
            refusal = {"what": refused.what, "message": message, "remedy": refused.remedy}
            self._files.tell(answered={"id": request.get("id"), "refused": refusal})
            return
        if answer is not None:
            self._files.tell(answered={"id": request.get("id"), "tick": number, **answer})

    def _carry_out(
        self, request: Mapping[str, Any], number: int | None, place: TickPlace, began_ns: int
    ) -> dict[str, Any] | None:
        """Carry out one request; return its answer, None if it is answered later.

        Raises:
            RequestRefused: it does not apply here.
        """
        command = request.get("command")
        if command == "set":
            return change_field(self._pipeline, request, place)
        is_paused = self._is_paused
        if command == "pause":
            if is_paused:
                return {}
            self._tell(request)
            self._pending = str(request.get("id"))
            self._pause(number)
            return None
        if command not in {"step", "resume"}:
            raise RequestRefused("state", f"{command!r} is no request to a program")
        if not is_paused:
            raise RequestRefused("state", "the program is not paused", "pause it first")
        self._is_paused = False
        paused_ms = (self._pipeline.monotonic_ns() - began_ns) / 1e6
        if command == "step":
            ticks = request.get("ticks")
            self._steps = ticks if type(ticks) is int and 1 <= ticks <= _MOST_STEPS else 1
            self._pending = str(request.get("id"))
            self._tell(request, ticks=self._steps, paused_ms=paused_ms)
            self._files.tell(state=RUNNING, tick=None)
            return None
        self._tell(request, paused_ms=paused_ms)
        self._files.tell(state=RUNNING, tick=None)
        return {}

    def _tell(self, request: Mapping[str, Any], **more: Any) -> None:
        """Record a request that changes no agent."""
        slot = self._pipeline.binding(None, None, INTERVENTION, Category.EVENTS.value).slot(INTERVENTION, 20)
        command = str(request["command"])
        self._pipeline.emit(slot, command, {"command": command, **_about(request), **more})


def change_field(pipeline: Pipeline, request: Mapping[str, Any], place: TickPlace) -> dict[str, Any]:
    """Change a field of an agent, and record it; return the answer.

    Args:
        pipeline: knows the agent, and records the change.
        request: `agent_id`, `field`, `value` (JSON) and `text`, the value as it was typed; `by`, `asked_at`.
        place: of the tick that begins.

    Raises:
        RequestRefused: the agent has no such field, or the value does not fit.
    """
    agent_id, name = str(request.get("agent_id")), str(request.get("field"))
    known, obj = _agent(pipeline, agent_id)
    tracker = known.tracker
    assert tracker is not None  # noqa: S101 - `_agent` returns only agents with one
    try:
        fields = read_state(obj).fields
    except Exception as error:
        raise RequestRefused("field", f"the state of {agent_id} cannot be read: {_said(error)}") from error
    if name not in fields:
        near = _near(name, fields)
        raise RequestRefused(
            "field", f"{agent_id} has no field {name!r}{near}", f"its fields are {_listed(fields)}"
        )
    present = fields[name]
    value = fitted(present, request.get("value"), request.get("text"), f"{name} of {agent_id}")
    payload = {
        "trigger": INTERVENTION,
        "changed": {name: value},
        "old_state": {name: present},
        **_about(request),
        "tick_number": place.of_all,
        "tick_in_span": place.in_span,
    }
    body, types = pipeline.capture.body(payload)  # now, since some classes change their values in place
    try:
        put_field(obj, fields, name, value)
        is_set = agent_id_of(obj) == agent_id and _is_same(read_state(obj).fields.get(name), value)
        if not is_set:
            put_field(obj, fields, name, present)
    except Exception as error:
        raise RequestRefused("value", f"{name} of {agent_id} cannot be set: {_said(error)}") from error
    if not is_set:
        raise RequestRefused(
            "field", f"{name} of {agent_id} cannot be set: it is computed, or identifies the agent"
        )
    tracker.changes(obj, {name})  # so that it counts neither as the action's change nor as found later
    tracker.watched |= {name}
    pipeline.agents.between.take_writers(known, obj, [name])
    event_id = pipeline.emit(known.binding.slot("state_change", 20), INTERVENTION, body=body, types=types)
    payload = read_json(b"{" + body + b"}")  # without secrets
    return {"event_id": event_id, "old": payload["old_state"][name], "new": payload["changed"][name]}


def fitted(present: Any, value: Any, text: Any, what: str) -> Any:
    """Return a JSON value as one of the present value's type.

    Args:
        present: the field's value; None takes any.
        value: what was given.
        text: how it was typed, which is the value of a field with a text.
        what: the field, for the error.

    Raises:
        RequestRefused: it has another type.
    """
    kind = type(present)
    if present is None or type(value) is kind:
        if kind is dict and not all(type(key) is str for key in present):
            raise RequestRefused("value", f"{what} has keys that are no texts, which JSON cannot have")
        return value
    try:
        if isinstance(present, Enum) and isinstance(value, str):
            return kind[value]
        if isinstance(present, str):
            return kind(value if isinstance(value, str) else text)
        if isinstance(present, float) and type(value) in {int, float}:
            return kind(value)
        if isinstance(present, Integral) and kind is not bool and type(value) is int:
            return kind(value)
        if isinstance(value, list) and isinstance(present, tuple | set | frozenset | deque):
            return kind(*value) if hasattr(kind, "_fields") else kind(value)
    except Exception as error:
        raise RequestRefused("value", f"{value!r} is no value for {what}: {_said(error)}") from error
    if sort_of(kind) is Sort.SCALAR or isinstance(
        present, Enum | str | list | dict | tuple | set | frozenset
    ):
        raise RequestRefused("value", f"{what} is of type {kind.__name__}, and {text!s} is not")
    raise RequestRefused("value", f"{what} holds a {kind.__name__}, which no text can replace")


def _agent(pipeline: Pipeline, agent_id: str) -> tuple[Known, object]:
    living = pipeline.agents.living()
    found = [(known, obj) for known, obj in living if known.binding.agent_id == agent_id]
    if not found:
        ids = [str(known.binding.agent_id) for known, _ in living]
        remedy = f"agents are {_listed(sorted(ids))}" if ids else None
        raise RequestRefused(
            "agent", f"no living agent {agent_id!r} has acted yet{_near(agent_id, ids)}", remedy
        )
    if len(found) > 1:
        raise RequestRefused("agent", f"{len(found)} objects have the agent id {agent_id!r}")
    return found[0]


def _about(request: Mapping[str, Any]) -> dict[str, str]:
    """Return who asked, and when."""
    return {key: str(request[key])[:100] for key in ("by", "asked_at") if key in request}


def _near(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, map(str, names), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _listed(names: Any) -> str:
    first = [str(name) for name in names][:9]
    return ", ".join(first[:8]) + (", ..." if len(first) > 8 else "")


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _is_same(one: object, other: object) -> bool:
    return one is other or bool(type(one) is type(other) and one == other)
