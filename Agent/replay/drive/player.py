"""The player of recorded responses: decide for each traced call whether its body runs.

The rule: the code of an agent runs if the factory returned the agent; every other call gets its recorded
response, in recorded order. `driver.py` sets the action that is being replayed.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import get_ident
from typing import Any, NamedTuple, NoReturn, Protocol

from Agent.errors import RecordingMiss
from Agent.event.kinds import ACTION_KINDS
from Agent.event.model import Event
from Agent.event.ordering import order_key
from Agent.event.pointers import escape, value_at
from Agent.event.system_clock import SystemClock
from Agent.event.values.opaque import NOT_READ, OpaqueKind
from Agent.flight.recorded_calls import (
    CALL_KINDS,
    DEFAULTS,
    CallBook,
    Decoding,
    Match,
    Nearest,
    RequestedCall,
    Rung,
    calls_among,
)
from Agent.flight.run_reading import RunRef
from Agent.flight.tool_replayer import ToolReplayer
from Agent.record.emit.context import Response, ResponseTurn, TracedCall
from Agent.record.emit.pipeline import LineSink, Pipeline
from Agent.record.state.tracker import StateTracker
from Agent.record.tracing.changed_arguments import with_changes
from Agent.record.tracing.failures import LACKING, Unanswerable, remake_error, value_in
from Agent.record.tracing.function_facts import BESIDE_PARAMETER
from Agent.replay.compare.comparison import (
    NAMES,
    Comparison,
    Difference,
    Recorded,
    as_captured,
    in_payload,
)
from Agent.replay.compare.emitted_events import Identifiers
from Agent.replay.compare.folded_values import ABSENT, shown_beside
from Agent.replay.compare.outcome import Divergence, ReplayOutcome, ReplayStopped
from Agent.replay.drive.states import FieldRules, StateComparison
from Agent.replay.drive.thread_watch import ThreadWatch
from Agent.replay.plan.actions import DrivenAction, PlannedCall, calls_in
from Agent.replay.plan.recording import Recording
from Agent.replay.plan.target import Decoder

_ONE_BY_ONE = "call it in the action itself, or await one asyncio.to_thread after the other"

_open_call: ContextVar[PlannedCall | None] = ContextVar("agent_trace_replayed_call", default=None)

_CANCELLED_LATER_S = 1.0
"""How much later than in the recording a call may be cancelled."""


@dataclass(slots=True, eq=False)
class ActionProgress:
    """An action that is being replayed, and its progress."""

    action: DrivenAction | None = None
    has_begun: bool = False
    """Whether the replayed call itself was entered."""
    tokens: list[tuple[TracedCall, Token[PlannedCall | None]]] = field(default_factory=list)
    """Open live calls, innermost last; not keyed by `id()`, since each `id()` calls the audit hook."""
    tools: ActionTools | None = None
    responses: ResponseOrder | None = None

    def begin(self, action: DrivenAction) -> None:
        """Start an action."""
        self.action, self.has_begun, self.tools, self.responses = action, False, None, None
        self.tokens.clear()


class ResponseOrder:
    """The order in which the responses of an action came in the recording.

    A recorded response is there at once, so tasks that await several would go on in the order in which they
    asked. Each waits for those that came before it in the recording: as long as the call took there, but at
    most a second, since changed code may not ask for them.

    Args:
        calls: the events of the recorded calls.
    """

    def __init__(self, calls: Iterable[Event]) -> None:
        events = {event.id: event for event in calls}
        self._durations_ms = {name: each.extra.get("duration_ms") for name, each in events.items()}
        self._ids = deque(sorted(events, key=lambda name: order_key(events[name])))
        self._left = set(self._ids)

    def turn(self, event_id: str) -> ResponseTurn:
        """Return the turn of the response that an event has."""
        return _Turn(self, event_id)

    def came(self, event_id: str) -> None:
        """A response was returned."""
        self._left.discard(event_id)

    async def wait(self, event_id: str) -> None:
        """Let other tasks of the loop go on until all earlier responses came."""
        if event_id not in self._left or self._is_first(event_id):
            return
        import asyncio  # here: most replays await nothing

        try:
            asyncio.get_running_loop()
        except RuntimeError:  # another framework runs here, which does not take what asyncio yields
            return
        took_ms = self._durations_ms[event_id]
        patience_s = min(took_ms / 1000, _MOST_PATIENCE_S) if isinstance(took_ms, int | float) else 0.0
        until_s = SystemClock.monotonic_s() + patience_s
        passes = 0
        while event_id in self._left and not self._is_first(event_id):
            passes += 1
            if passes > _PASSES and SystemClock.monotonic_s() > until_s:
                self._left.difference_update(islice(self._ids, self._ids.index(event_id)))
                return
            await asyncio.sleep(0 if passes <= _PASSES else _PASS_S)

    def _is_first(self, event_id: str) -> bool:
        while self._ids[0] not in self._left:
            self._ids.popleft()
        return self._ids[0] == event_id


_PASSES, _PASS_S = 50, 0.001
_MOST_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Turn:
    order: ResponseOrder
    event_id: str

    async def wait(self) -> None:
        await self.order.wait(self.event_id)

    def came(self) -> None:
        self.order.came(self.event_id)


current_lane: ContextVar[ActionProgress | None] = ContextVar("agent_trace_lane", default=None)
"""The action that a task replays concurrently with others; None if actions are replayed one by one."""


def divergence_of(action: DrivenAction, field: str, difference: Difference, **more: Any) -> Divergence:
    """Return a difference of an action; `more` are other fields of `Divergence`."""
    details = {"event_id": action.event.id, "agent_id": action.agent_id, "path": difference.path, **more}
    return Divergence(
        step=action.number,
        action=action.call.name,
        field=field,
        recorded=difference.recorded,
        replayed=difference.replayed,
        **details,
    )


def driven_here() -> DrivenAction | None:
    """Return the action that this task replays concurrently with others."""
    lane = current_lane.get()
    return None if lane is None else lane.action


class Positional(dict[str, Any]):
    """Positional arguments of a stub, which does not know their names: `0`, `1` and so on."""


class Stage(Protocol):
    """The driver's side: notified when a live agent's action begins, and calls back into live agents."""

    def entered(self, call: TracedCall, recorded: PlannedCall | None) -> None:
        """Called when a live agent's traced call is about to run."""

    def call_back(self, recorded: PlannedCall) -> None:
        """Repeat a call that a call with a recorded response made in the recording."""

    def answered(self, call: TracedCall) -> None:
        """Called when a call of replayed code got its response."""


@dataclass(slots=True, eq=False)
class RecordedPlayer:
    """Returns recorded responses to traced calls while an action is replayed."""

    _context: ReplayContext
    _answers: AnswerBook
    """Returns recorded responses."""
    threads: ThreadWatch
    """The watch on threads that the action starts."""
    stage: Stage = field(init=False)
    is_stopped: bool = False
    _only: ActionProgress = field(default_factory=ActionProgress)
    """The current action when actions are replayed one by one."""
    _thread_id: int = field(default_factory=get_ident)
    _built: dict[str, dict[str, None]] = field(default_factory=dict)
    """{method that the factory called: the agents}."""

    @property
    def _progress_here(self) -> ActionProgress:
        return current_lane.get() or self._only

    @property
    def action(self) -> DrivenAction | None:
        """The action being replayed here; None between actions."""
        return self._progress_here.action

    @action.setter
    def action(self, action: DrivenAction | None) -> None:
        self._progress_here.action = action

    @property
    def has_begun(self) -> bool:
        """Whether the replayed call itself was entered."""
        return (current_lane.get() or self._only).has_begun

    def enter(self, call: TracedCall) -> Response | None:
        """Return the recorded response, or None for the code of live agents."""
        if self.is_stopped:
            raise ReplayStopped
        lane = current_lane.get() or self._only
        action = lane.action
        if action is None:
            if call.kind in CALL_KINDS:
                self.stop(f"the factory calls {call.action_type}, which a replay does not execute")
            self._enter_outside(call)
            return None
        if get_ident() != self._thread_id and call.kind != "metric" and self.threads.overlaps:
            self.stop(f"{_requested_name(call)} was called in concurrent threads: {_ONE_BY_ONE}")
        if call.agent_id in self._context.live and call.kind in ACTION_KINDS and not call.is_generator:
            self._enter_live(call, action, lane)
            return None
        if call.kind in CALL_KINDS:
            return self._enter_tool(call, action)
        if call.is_generator and call.kind in ACTION_KINDS:
            self.stop(f"{_named(call)} is a generator, and the recording has only the number of its items")
        if call.kind not in ACTION_KINDS:
            self._measured(call)
            return None
        if not lane.has_begun:
            self.stop(
                f"{_named(call)} was called before {action.call.name} of {action.agent_id} began, "
                "which is not recorded"
            )
        return self._enter_answered(call, action)

    def leave(self, call: TracedCall, result: Any, error: BaseException | None) -> None:  # noqa: ARG002
        """Close a live call."""
        close_call((current_lane.get() or self._only).tokens, call, _open_call)

    def begin(self, action: DrivenAction) -> None:
        """Start replaying this action."""
        self._thread_id = get_ident()
        (current_lane.get() or self._only).begin(action)
        _open_call.set(None)

    def end(self) -> PlannedCall | None:
        """End the action; return a recorded call that was not made, None if all were made."""
        lane = current_lane.get() or self._only
        action, lane.action = lane.action, None
        _open_call.set(None)
        return None if action is None or not action.call.children else self._missing(action.call)

    def stop(self, reason: str) -> NoReturn:
        """End the replay: nothing more can be verified."""
        self.is_stopped = True
        self._context.outcome.reason(reason)
        raise ReplayStopped

    def diverge(self, divergence: Divergence) -> NoReturn:
        """End the replay with a difference."""
        self.is_stopped = True
        if self._context.outcome.divergence is None:
            self._context.outcome.divergence = divergence
        raise ReplayStopped

    def differs(self, action: DrivenAction, field: str, difference: Difference, **more: Any) -> NoReturn:
        """End the replay with a difference of an action.

        Args:
            more: other fields of `Divergence`.
        """
        self.diverge(divergence_of(action, field, difference, **more))

    def _stop_in_thread(self, call: TracedCall) -> None:
        """Stop at a call in a thread that the recording lacks; it may not have been a call of the action."""
        if get_ident() != self._thread_id:
            self.stop(
                f"{_requested_name(call)} was called in a thread, but not as a call of the action: "
                f"{_ONE_BY_ONE}"
            )

    def _enter_outside(self, call: TracedCall) -> None:
        """Let a call of the factory run, and add a remark."""
        if call.agent_id not in self._context.recording.agents or call.kind not in ACTION_KINDS:
            return
        callers = self._built.setdefault(_name(call), {})
        if callers and call.agent_id not in callers:
            self._context.outcome.remarks.remove(_describe_factory_call(_name(call), callers))
        callers[str(call.agent_id)] = None
        self._context.outcome.remark(_describe_factory_call(_name(call), callers))

    def _measured(self, call: TracedCall) -> None:
        """Stop at a measured call of a recorded agent: it has no response, unless it wraps a traced one."""
        if (
            call.agent_id in self._context.live
            or call.agent_id not in self._context.recording.agents
            or _wraps_traced(call)
        ):
            return
        self.stop(f"{_named(call)} is only measured (trace_performance), so the recording has no response")

    def _enter_live(self, call: TracedCall, action: DrivenAction, lane: ActionProgress) -> None:
        above = _open_call.get()
        recorded: PlannedCall | None
        if not lane.has_begun and call.agent_id == action.agent_id and _name(call) == action.call.name:
            lane.has_begun = True
            recorded = action.call
        else:
            # If it has none, the comparison of effects reports it.
            recorded = None if above is None else take_nested(call, above)
        self.stage.entered(call, recorded)
        lane.tokens.append((call, _open_call.set(recorded)))

    def _enter_answered(self, call: TracedCall, action: DrivenAction) -> Response:
        above = _open_call.get()
        waiting = [
            child
            for child in (above.children if above is not None else ())
            if not child.is_taken and child.agent_id not in self._context.live
        ]
        same = [child for child in waiting if child.agent_id == call.agent_id and child.name == _name(call)]
        chosen = self._match(call, action, waiting, same)
        chosen.is_taken = True
        self._context.outcome.counts.answers += 1
        self._context.outcome.answered[str(call.agent_id)] += 1
        self._call_back(chosen)
        self.stage.answered(call)
        try:
            answer, lack = self._answers.answer(chosen.event, named_arguments(call, chosen.event))
        except Unanswerable as error:
            self.stop(f"the response of {_named(call)} (event {chosen.event.id}): {error}")
        if lack is not None:
            self._context.outcome.doubts.append(
                f"the response of {_named(call)} (event {chosen.event.id}): {lack}"
            )
        return self._in_turn(answer, chosen.event.id, action)

    def _enter_tool(self, call: TracedCall, action: DrivenAction) -> Response:
        """Return the response of a tool or model to a call with the same name and arguments."""
        lane = self._progress_here
        if lane.tools is None:
            lane.tools = ActionTools(self._answers.calls_among(action.effects), self._context.comparison)
        try:
            given = lane.tools.answer(call)
        except Unanswerable as error:
            self.stop(str(error))
        if isinstance(given, ToolMiss):
            if given.difference.recorded == NO_CALL:
                self._stop_in_thread(call)
            self._diverge(action, *given, place=f"{call.kind} {call.action_type}")
        answer, doubt, event_id = given
        self._context.outcome.counts.answers += 1
        self._context.outcome.answered[call.action_type] += 1
        if doubt is not None:
            self._context.outcome.doubts.append(doubt)
        return with_stop(self._in_turn(answer, event_id, action), self.stop)

    def _in_turn(self, answer: Response, event_id: str, action: DrivenAction) -> Response:
        """Return the response with its turn; concurrent actions have turns of their own."""
        if current_lane.get() is not None:
            return answer
        if self._only.responses is None:
            tools = [event for event in action.effects if event.kind in CALL_KINDS]
            peers = [each.event for each in calls_in(action.call) if each.agent_id not in self._context.live]
            self._only.responses = ResponseOrder([*tools, *peers])
        return answer._replace(turn=self._only.responses.turn(event_id))

    def _match(
        self, call: TracedCall, action: DrivenAction, waiting: list[PlannedCall], same: list[PlannedCall]
    ) -> PlannedCall:
        """Return the recorded counterpart of a call; a call without one is a divergence."""
        first_difference = None
        for child in same:
            difference = self._args_difference(call, child.event)
            if difference is None:
                earlier = [other for other in waiting[: waiting.index(child)] if not other.overlaps(child)]
                if earlier:
                    order = Difference("", earlier[0].whose, _named(call))
                    self._diverge(action, "calls", order, place="order")
                return child
            first_difference = first_difference or difference
        if first_difference is not None:
            self._diverge(action, "args", first_difference, place=_named(call))
        expected = waiting[0].whose if waiting else NO_CALL
        if not waiting:
            self._stop_in_thread(call)
        return self._diverge(action, "calls", Difference("", expected, _named(call)))

    def _args_difference(self, call: TracedCall, event: Event) -> Difference | None:
        if "args" not in event.extra:
            self._context.outcome.note_uncaptured("arguments", _named(call))
            return None
        difference, agreed = self._context.comparison.compare(
            *both_arguments(call, event, self._context.pipeline), NAMES
        )
        for path, why in agreed.unseen.items():
            self._context.outcome.reason(f"argument {path[1:]} of {_named(call)} cannot be seen: {why}")
        return difference

    def _call_back(self, answered: PlannedCall) -> None:
        """Repeat the calls that the answered call made back into live agents."""
        pending = list(answered.children)
        while pending:
            call = pending.pop(0)
            if call.agent_id not in self._context.live:
                pending = call.children + pending
                continue
            above = PlannedCall(answered.event, answered.agent_id, answered.name, 0.0, children=[call])
            token = _open_call.set(above)
            try:
                self._context.outcome.counts.callbacks += 1
                self.stage.call_back(call)
            finally:
                _open_call.reset(token)

    def _missing(self, call: PlannedCall) -> PlannedCall | None:
        for child in call.children:
            if not child.is_taken:
                return child
            if child.agent_id in self._context.live:
                missing = self._missing(child)
                if missing is not None:
                    return missing
        return None

    def _diverge(
        self, action: DrivenAction, field: str, difference: Difference, *, place: str = ""
    ) -> NoReturn:
        if get_ident() != self._thread_id and self.threads.begun > 1:
            self.stop(f"calls of {action.call.name} come from several threads, in any order: {_ONE_BY_ONE}")
        sides = shown_beside(difference.recorded, difference.replayed)
        self.differs(action, field, Difference(difference.path, *sides), place=place)


def take_nested(call: TracedCall, above: PlannedCall) -> PlannedCall | None:
    """Mark the recorded counterpart of a nested call as taken, and return it; None if it has none."""
    for child in above.children:
        if not child.is_taken and child.agent_id == call.agent_id and child.name == _name(call):
            child.is_taken = True
            return child
    return None


def with_stop(answer: Response, stop: Callable[[str], None]) -> Response:
    """Return the answer; end the replay if its changes to arguments cannot be made here."""
    change = answer.change
    if change is None:
        return answer

    def or_stop() -> None:
        try:
            change()
        except RecordingMiss as error:
            stop(str(error))

    return answer._replace(change=or_stop)


def close_call(opened: list[Any], call: TracedCall, variable: ContextVar[Any]) -> Any:
    """Remove a call from the open ones; return its entry, or None if it is not among them.

    Args:
        opened: for each open call a tuple of the call, the token of `variable`, and more; innermost last.
        variable: gets the value that it had around the call.
    """
    index = len(opened) - 1
    while index >= 0 and opened[index][0] is not call:
        index -= 1
    if index < 0:
        return None
    entry = opened.pop(index)
    try:
        variable.reset(entry[1])
    except ValueError:  # the call ended in a different task than it began in
        variable.set(None)
    return entry


def open_call() -> PlannedCall | None:
    """Return the recorded counterpart of the innermost open live call; None if it has none."""
    return _open_call.get()


def _name(call: TracedCall) -> str:
    return call.qualname.rpartition(".")[2]


def _named(call: TracedCall) -> str:
    return f"{_name(call)} of {call.agent_id}"


def _requested_name(call: TracedCall) -> str:
    return call.action_type if call.kind in CALL_KINDS else _named(call)


def _describe_factory_call(name: str, agents: Mapping[str, None]) -> str:
    whose = next(iter(agents)) if len(agents) == 1 else f"{len(agents)} agents"
    return f"the factory called {name} of {whose}, which was executed"


def named_arguments(call: TracedCall, event: Event) -> Mapping[str, Any]:
    """Return the arguments of a call by name; those of a stub under their recorded names."""
    args, recorded = call.args, event.extra.get("args")
    if not isinstance(args, Positional) or not isinstance(recorded, dict):
        return args
    names = list(recorded)
    is_rest = (name.startswith("*") and not name.startswith(BESIDE_PARAMETER) for name in names)
    rest = next((index for index, found in enumerate(is_rest) if found), len(names))
    named: dict[str, Any] = {}
    for key, value in args.items():
        index = int(key) if key.isdigit() else None
        if index is not None and rest <= index and rest < len(names):
            named.setdefault(names[rest], []).append(value)
        elif index is not None:
            named[names[index] if index < len(names) else key] = value
        else:
            named[f"{BESIDE_PARAMETER}{key}" if key in named else key] = value
    return named


def both_arguments(call: TracedCall, event: Event, pipeline: Pipeline) -> tuple[Recorded, Recorded]:
    """Return the recorded arguments of a call, and the current ones as they would be recorded."""
    captured = pipeline.capture.body({"args": dict(named_arguments(call, event))})
    return in_payload(event, "args"), as_captured(captured, "/extra").part("args")


def _wraps_traced(call: TracedCall) -> bool:
    """Whether the measured function wraps a traced one, which gets its own response."""
    method: Callable[..., Any] | None = getattr(type(call.target), _name(call), None)
    depth = 0
    while method is not None and hasattr(method, "__wrapped__"):
        depth += 1
        method = inspect.getattr_static(method, "__wrapped__")
    return depth > 1


# Recorded results of calls in a form that can be returned again: a result or an exception.
#
# The player looks them up for calls of agents that are not replayed and of tools and models; it also judges
# missing responses.

NO_CALL = "<no further call>"
"""Shown in place of a recorded call if none is left."""


@dataclass(frozen=True, slots=True)
class AnswerBook:
    """Returns recorded responses."""

    _decoder: Decoder
    _errors: dict[str, Event]
    """The `error` events of the run by id."""
    _session: Path
    """The recorded session, which holds artifacts."""
    _session_id: str
    """Marks an exception as recorded already, so that it is not recorded twice."""

    def calls_among(self, events: Iterable[Event]) -> CallBook:
        """Return the calls of tools and models among events that have recorded responses."""
        decoder = self._decoder
        decoding = Decoding(decoder.codecs, decoder.find_class, self._errors, decoder.scripts)
        return calls_among(events, RunRef(self._session, None), decoding)

    def answer(self, event: Event, given: Mapping[str, Any] | None = None) -> tuple[Response, str | None]:
        """Return the answer, and what it lacks of the original result; None if it is the same.

        Args:
            event: the event of the recorded call.
            given: the current arguments by name; they are changed as in the recording.

        Raises:
            Unanswerable: the result was not captured, or cannot be restored.
        """
        answer, lack = self._given_then(event)
        if given is not None:
            answer = with_changes(event.extra, lambda path: self._part(event, path), given, answer)
            if answer.change is not None:
                answer.change()
        return answer, lack

    def _given_then(self, event: Event) -> tuple[Response, str | None]:
        outcome = event.extra.get("outcome")
        if outcome == "error":
            return self._error(event)
        if outcome == "cancelled":
            from asyncio import CancelledError

            # Its caller cancelled it, as by a timeout, and will do so again unless its code has changed.
            took_s = float(event.extra.get("duration_ms", 0.0)) / 1000
            return Response(error=CancelledError(), waits_s=took_s + _CANCELLED_LATER_S), None
        if outcome is not None:
            raise Unanswerable(f"it was {outcome}, and its exception is not in the recording")
        if "result" not in event.extra:
            raise Unanswerable("its result was not captured (capture_result=False)")
        form = event.extra["result"]
        if type(form) is dict and form.get(OpaqueKind.REFERENCE) == NOT_READ:
            raise Unanswerable(
                'its result was not read: drive both agents together, or record with large_arguments="always"'
            )
        restored = self._decoder.restore(in_payload(event, "result"))
        if restored.unrestored:
            raise Unanswerable(f"its result cannot be restored: {restored.unrestored[0]}")
        return Response(
            restored.value
        ), "a secret in it was replaced by a token" if restored.is_redacted else None

    def _error(self, event: Event) -> tuple[Response, str | None]:
        error_id = str(event.extra.get("error_id"))
        error_event = self._errors.get(error_id)
        if error_event is None:
            raise Unanswerable(f"its error event {error_id} is not in the recording")
        error, lack = remake_error(
            error_event.extra,
            error_id,
            self._session_id,
            part=lambda path: self._part(error_event, path),
            find_class=self._decoder.find_class,
        )
        return Response(error=error), lack

    def _part(self, error_event: Event, path: tuple[str, ...]) -> Any:
        """Return a value of an event; `LACKING` if it is missing or cannot be restored."""
        value = value_in(error_event.extra, path)
        if value is LACKING:
            return LACKING
        pointer = "/".join(("/extra", *map(escape, path)))
        restored = self._decoder.restore(Recorded(value, error_event.types or {}, pointer))
        return LACKING if restored.unrestored else restored.value


class ToolMiss(NamedTuple):
    """A call that the recording lacks, beside the recorded call in its place."""

    field: str
    difference: Difference


class ActionTools:
    """Answers the calls of one action, each once, by name and arguments in recorded order.

    Args:
        calls: the recorded calls of the action.
        comparison: defines how arguments may differ.
    """

    def __init__(self, calls: CallBook, comparison: Comparison) -> None:
        # A call may move within the code, but its arguments and its order must not change.
        self._book = calls
        self._replayer = ToolReplayer(book=calls, tolerance=0.0)
        self._comparison = comparison

    def answer(self, call: TracedCall) -> tuple[Response, str | None, str] | ToolMiss:
        """Return the recorded response, what it lacks as in `AnswerBook`, its event; or what was recorded.

        Raises:
            Unanswerable: the call is in the recording, but its result cannot be returned again.
        """
        requested = self._replayer.ask(call.kind, call.action_type, dict(call.args), defaults=call.defaults)
        unseen = requested.arguments.unseen
        if unseen is not None:
            raise Unanswerable(f"its argument {unseen}")
        match = self._replayer.find(requested)
        if not isinstance(match, Match):
            declared = self._as_declared(requested)
            if declared is None:
                return self._missed(requested, match)
            match = declared
        try:
            answer = self._replayer.take(match, call.args)
        except RecordingMiss as error:
            raise Unanswerable(str(error)) from None
        doubt = self._book.lacks.get(match.call.event.id)
        if not match.is_exact:
            doubt = "the call was matched although an argument contains a secret"
        lacking = None if doubt is None else f"the response of {call.action_type}: {doubt}"
        return answer, lacking, match.call.event.id

    def _as_declared(self, requested: RequestedCall) -> Match | None:
        """Return the first free call whose arguments differ only as declared, or in the script's name."""
        if not self._comparison.overlooked.normaliser and "opaque" in requested.arguments.types.values():
            return None  # the parts that distinguish such objects were compared before
        requested_arguments = Recorded(*requested.arguments, "")
        for call in self._replayer.unused:
            is_same = (call.kind, call.name) == (requested.kind, requested.name)
            if is_same and requested.uses_defaults_of(call):
                mark = self._comparison.mark()
                difference, agreed = self._comparison.compare(
                    Recorded(*call.arguments, ""), requested_arguments, NAMES
                )
                if difference is None and not agreed.unseen:
                    return Match(call, Rung.EXACT, {})
                self._comparison.go_back(mark)
        return None

    def _missed(self, requested: RequestedCall, nearest: tuple[Nearest, ...]) -> ToolMiss:
        if not nearest:
            unused = self._replayer.unused
            recorded = f"{unused[0].kind} {unused[0].name}" if unused else NO_CALL
            return ToolMiss("calls", Difference("", recorded, f"{requested.kind} {requested.name}"))
        one = nearest[0]
        path = max(one.distance, key=lambda at: one.distance[at])
        if path == DEFAULTS:
            now = requested.defaults or str(ABSENT)
            return ToolMiss(DEFAULTS, Difference("", one.call.defaults, now))
        both = (one.call.arguments, requested.arguments)
        sides = [
            value if tag is None else {"tag": tag, "value": value}
            for value, tag in ((value_at(each.value, path, ABSENT), each.types.get(path)) for each in both)
        ]
        return ToolMiss("args", Difference(path, *sides))


# The shared parts of one replay, which the workbench creates.


class ReplayContext:
    """The parts that record, restore, answer and compare, and the outcome."""

    recording: Recording
    live: frozenset[str]
    """Agents whose code runs."""
    errors: dict[str, Event]
    """The recorded error events by id."""
    outcome: ReplayOutcome
    pipeline: Pipeline
    sink: LineSink
    decoder: Decoder
    comparison: Comparison
    identifiers: Identifiers
    fields: FieldRules
    """Which fields are compared."""
    player: RecordedPlayer
    """Answers calls before a fork point; created before any target is built."""

    @property
    def states(self) -> StateComparison:
        """Compares states of objects with recorded ones."""
        return StateComparison(self.pipeline, self.comparison, self.fields)

    def tracker(self, obj: object) -> StateTracker | None:
        """Return what recording knows of an agent's state; None before its first action."""
        known = self.pipeline.agents.find(obj)
        return None if known is None else known.tracker

    def heavy(self, obj: object) -> frozenset[str]:
        """Return the agent's fields that are compared only at full states."""
        tracker = self.tracker(obj)
        return frozenset(() if tracker is None else tracker.heavy)
