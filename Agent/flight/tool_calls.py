"""Calls of tools and models: get the recorded response in a replay, open the call, write it as one event.

`@record_tool` records the calls of a function for replay; its signature is preserved. A call first requests a
recorded response from the current player (see `tool_replayer.py`). If it gets none, the body runs.
`OpenToolCall` records the arguments before the body, the response or exception after it, and then writes the
event. `model_calls.py` does the same for models; `recorded_calls.py` reads both back.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextvars import Token
from functools import partial
from types import FrameType
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, cast, overload

from Agent.errors import ConfigurationError, RecordingMiss
from Agent.event.limits_of_time import undisturbed
from Agent.event.values.content_digest import content_of
from Agent.event.values.digest import ALGORITHM, digest_json, leaves_out_secrets
from Agent.event.values.opaque import OpaqueKind
from Agent.event.values.reading import Hides, Reading
from Agent.flight.artifact_saving import CallParts
from Agent.flight.open_runs import (
    Run,
    emit_run_event,
    is_recorded,
    open_on_board,
    pipeline_of_first_call,
    settled_scope,
    surrounding_run,
)
from Agent.record.emit import installed
from Agent.record.emit.context import (
    CallPlace,
    Player,
    Response,
    SpanScope,
    TracedCall,
    current_player,
    current_scope,
    learn_secrets,
)
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.event_template import AgentBinding
from Agent.record.encode.safe_text import as_message, message_of
from Agent.record.tracing.changed_arguments import cannot_change
from Agent.record.tracing.decorators import (
    UNOBSERVED,
    Steps,
    TraceSpec,
    refuse_untraceable,
    wrap_generator,
)
from Agent.record.tracing.failures import outcome_of, record_error
from Agent.record.tracing.function_facts import is_async_generator, is_coroutine, is_generator

_MAX_ERROR_CHARS = 400

Leave = Callable[[Any, BaseException | None], None]
"""Reports the result or the exception of a live call to the player that allowed it."""


class ExternalCall:
    """An open call: its call site, its run, and the parts of it that are recorded.

    Args:
        name: the name of the tool or model.
        agent: the agent whose method is called; None for the agent around the call.
        site: the qualified name of the calling function.
        answer: the recorded response, returned in place of a call; None if the call is made.
    """

    __slots__ = (
        "_board_slot", "_name", "_own_agent", "_parts", "_pipeline", "_run", "_scope", "_site", "_span_id",
        "_started_ns", "answer",
    )  # fmt: skip

    def __init__(
        self, pipeline: Pipeline, name: str, agent: AgentBinding | None, site: str, answer: Response | None
    ) -> None:
        self._pipeline = pipeline
        self._name = name
        self._site = site
        self.answer = answer
        scope = settled_scope()
        if agent is not None and (scope is None or scope.agent is not agent):
            scope = SpanScope(scope, agent=agent)
        self._scope = scope
        self._own_agent = agent if agent is not None or scope is None else scope.agent
        self._run: Run = surrounding_run(pipeline)
        self._span_id = pipeline.next_span_id()
        self._parts = CallParts(pipeline, self._run, self._span_id, name)

    def _begin(self, shown: str) -> None:
        """Add the call to the board of open spans under that name, and start its clock."""
        self._board_slot = open_on_board(self._pipeline, self._span_id, self._own_agent, shown)
        self._started_ns = self._pipeline.monotonic_ns()

    def _elapsed_ms(self) -> float:
        return (self._pipeline.monotonic_ns() - self._started_ns) / 1e6

    def _leave_board(self) -> None:
        board = self._pipeline.board
        if self._board_slot >= 0 and board is not None:
            board.close_span(self._board_slot)

    def _is_late(self, subject: str) -> bool:
        """Whether the recording in which it began is closed, so that its event cannot be written."""
        if self._pipeline.closed:
            self._pipeline.health.note(f"{subject} outlived the recording that it began in")
        return self._pipeline.closed

    def _add_call_site(self, payload: dict[str, Any]) -> None:
        """Add call site and path to the payload."""
        if self._site:
            payload["site"] = self._site
        if self._scope is not None and self._scope.path:
            payload["path"] = list(self._scope.path)

    def _add_answered_by(self, payload: dict[str, Any]) -> None:
        """Add the id of the recorded call whose response was returned."""
        if self.answer is not None and self.answer.event_id is not None:
            payload["answered_by"] = self.answer.event_id

    def _ending(self, error: BaseException, call: str) -> dict[str, Any]:
        """The payload keys for an exception, which is also recorded as an `error` event.

        Args:
            error: the exception.
            call: the name under which the error event refers to the call.
        """
        ending: dict[str, Any] = {"outcome": outcome_of(error)}
        if ending["outcome"] != "error":
            return ending
        pipeline, secrets = self._pipeline, self._parts.secrets
        try:
            message = f"{type(error).__qualname__}: {message_of(error)[:_MAX_ERROR_CHARS]}"
            ending["error"] = pipeline.redactor.text_without(secrets, message) if secrets else message
            agent = self._own_agent or pipeline.binding(self._run.agent_id, None, "flight", "errors")
            ending["error_id"] = record_error(pipeline, agent, error, more={"call": call})
        except Exception as trouble:  # noqa: BLE001 - it must not replace the user's exception
            self._trouble(trouble)
        return ending

    def _emit(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Write the event to the run in which the call began."""
        emit_run_event(
            self._pipeline,
            self._run,
            kind,
            payload,
            scope=self._scope or _NOWHERE,
            span_id=self._span_id,
            judged=self._parts.members(),
            judged_types=self._parts.types,
        )

    def _trouble(self, error: BaseException) -> None:
        """Count a failure to record its end."""
        raise NotImplementedError


_NOWHERE = SpanScope(None)
"""A scope without span, agent or run, for calls outside of all of them; None would mean the current scope."""


def note_trouble(action: str, error: BaseException, lost: str | None = None) -> None:
    """Count a failure to record a part of a call, and the event or part that is lost."""
    active = installed.active_pipeline()
    if active is not None:
        active.health.trouble(action, error)
        if lost is not None:
            active.health.drop(lost)


def ask_player(player: Player, call: TracedCall) -> tuple[Response | None, Leave | None]:
    """Return (recorded response, None), or (None, the callback for the end of the live call).

    Raises:
        ReplayError: the replay has no response for the call, or refuses a live call.
    """
    answer = player.enter(call)
    return answer, None if answer is not None else partial(player.leave, call)


def described_call(
    kind: str,
    name: str,
    args: Mapping[str, Any],
    site: str,
    *,
    qualname: str,
    streams: bool,
    target: Any = None,
    is_write: bool = False,
    idempotency_key: str | None = None,
    defaults: Callable[[Any], str] | None = None,
) -> TracedCall:
    """Describe a call of a tool or a model for a player; its agent is the one around the call."""
    scope = current_scope.get()
    agent = scope.agent if scope is not None else None
    path = scope.path if scope is not None else ()
    return TracedCall(
        kind=kind,
        agent_id=agent.agent_id if agent is not None else None,
        agent_role=agent.agent_role if agent is not None else None,
        action_type=name,
        qualname=qualname,
        args=args,
        target=target,
        is_root=False,
        is_generator=streams,
        place=CallPlace(site, path, is_write=is_write, idempotency_key=idempotency_key),
        defaults=defaults,
    )


OPEN_PLAYERS: list[Player] = []
"""The tool replays that are open in this process, newest last."""


def active_player() -> Player | None:
    """The player that provides recorded responses; None outside of a replay."""
    player = current_player.get()
    # A thread does not inherit the context of the one that started it, so fall back to the newest replay.
    if player is None and OPEN_PLAYERS:
        return OPEN_PLAYERS[-1]
    return player or None


# Modules whose frames lie between a call and its caller: this package, event loops, executors, wrappers.
_BETWEEN = ("Agent.record.", "Agent.flight.", "asyncio.", "concurrent.futures.", "contextlib", "functools")
# Modules that start a task or a thread: frames below only wait for it, and differ between programs.
_BEGINNINGS = frozenset({"asyncio.events", "asyncio.base_events", "asyncio.runners", "threading"})
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>")


def call_site(depth: int) -> str:
    """The qualified name of the calling function; "" if no frame of the user's code is found.

    That is the case if the call itself is what a task or thread runs.

    Args:
        depth: the number of frames to go up before the search begins; 1 is the caller of `call_site`.
    """
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001 - `inspect.stack` is far slower
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module in _BEGINNINGS:
            return ""
        if not module.startswith(_BETWEEN):
            name = frame.f_code.co_qualname
            # Python 3.12 inlines comprehensions; skipping their frames gives the same name in 3.11.
            if not name.endswith(_COMPREHENSIONS):
                return name
        frame = frame.f_back
    return ""


_LOST = "a call of a tool could not be recorded"


class Codec(Protocol):
    """Converts the responses of a tool to plain values and back."""

    def encode(self, answer: Any, /) -> Any:
        """Return the response as plain values."""

    def decode(self, recorded: Any, /) -> Any:
        """Return the response restored from plain values."""


class ToolFacts(NamedTuple):
    """Facts about a tool that do not depend on the call."""

    name: str
    kind: str
    """`read` or `write`."""
    qualname: str
    codec: Codec | None


class OpenToolCall(ExternalCall):
    """An open tool call. Its scope is the current one until it ends.

    Args:
        facts: the tool.
        arguments: {parameter name: value}.
        idempotency_key: the key of this call, if it has one.
        agent, site, answer: see `ExternalCall`.
        leave: the player's callback for the end of a live call.
        defaults: the digest of the defaults that it uses; "" for none.
    """

    __slots__ = ("_changeable", "_facts", "_leave", "_token")

    def __init__(
        self,
        facts: ToolFacts,
        pipeline: Pipeline,
        agent: AgentBinding | None,
        arguments: dict[str, Any],
        site: str,
        idempotency_key: str | None,
        answer: Response | None,
        leave: Leave | None = None,
        defaults: str = "",
    ) -> None:
        super().__init__(pipeline, facts.name, agent, site, answer)
        self._facts = facts
        self._leave = leave
        self._parts.take("args", arguments)
        if defaults:
            self._parts.add(b'"defaults":"%s"' % defaults.encode())
        self._changeable = None if cannot_change(map(type, arguments.values())) else arguments
        if idempotency_key is not None:
            self._parts.take("idempotency_key", idempotency_key)
        inside = SpanScope(self._scope, span_id=self._span_id, name=facts.name, agent=self._own_agent)
        learn_secrets(inside, self._parts.secrets)
        # A replay returns the response without running the body, so its reads of sources are not needed.
        inside.reads = None
        self._token: Token[SpanScope | None] = current_scope.set(inside)
        self._begin(facts.name)

    def end(self, result: Any) -> None:
        """Write the event of a call that returned, live or with its recorded response."""
        self._write(self._elapsed_ms(), {}, result)
        if self._leave is not None:
            self._leave(result, None)

    def fail(self, error: BaseException) -> None:
        """Write the event of a call that raised, and the `error` event unless this exception has one."""
        self._write(self._elapsed_ms(), self._ending(error, self._facts.qualname), error)
        if self._leave is not None:
            self._leave(None, error)

    def _write(self, duration_ms: float, ending: Mapping[str, Any], outcome: Any) -> None:
        """Leave board and scope, and write the event; failures are counted and not raised."""
        facts = self._facts
        try:
            self._leave_board()
            self._leave_scope()
            self._take_outcome(outcome, failed=bool(ending))
            payload: dict[str, Any] = {
                "name": facts.name,
                "call_id": self._span_id,
                "tool_kind": facts.kind,
            }
            self._add_call_site(payload)
            self._add_answered_by(payload)
            payload.update(ending)
            payload["duration_ms"] = round(duration_ms, 6)
            self._emit("tool.call", payload)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(error)

    def _take_outcome(self, outcome: Any, *, failed: bool) -> None:
        """Record the response, and the arguments that the body changed in place."""
        self._parts.take_changes(self._changeable, outcome)
        if failed:
            return
        codec = self._facts.codec
        if codec is not None:
            try:
                outcome = codec.encode(outcome)
            except Exception as error:  # noqa: BLE001 - then record it without the codec
                self._pipeline.health.trouble(f"the codec of the tool {self._facts.name}", error)
            else:
                self._parts.add(b'"coded":true')
        self._parts.take("result", outcome)

    def _leave_scope(self) -> None:
        try:
            current_scope.reset(self._token)
        except ValueError:  # an event loop that shuts down closes open generators in another context
            self._pipeline.health.note("a span was closed in another context")

    def _trouble(self, error: BaseException) -> None:
        self._pipeline.health.trouble(f"the end of the tool {self._facts.name}", error)
        self._pipeline.health.drop(_LOST)


class SteppedToolCall(OpenToolCall):
    """The call of a generator: its items are collected one by one and recorded in one event at its end."""

    __slots__ = ("_inner", "_yielded", "body")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.body: Callable[..., Any] | None = None
        self._inner = current_scope.get()
        self._yielded = 0

    def suspend(self, item: Any) -> None:
        """Record a yielded item and leave the span, since the consumer's code does not belong to it."""
        self._leave_scope()
        try:
            self._yielded += 1
            if self._facts.codec is not None:
                item = self._facts.codec.encode(item)
            self._parts.take_item(item)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._pipeline.health.trouble(f"an item of the tool {self._facts.name}", error)
            self._parts.lose_items()

    def resume(self) -> None:
        """Enter the span again for the next part of the body."""
        self._token = current_scope.set(self._inner)

    def close(self) -> None:
        """Write the event of a generator that was closed before its end."""
        self._finish({"outcome": "closed"})

    def end(self, result: Any) -> None:
        """Write the event of a generator that returned."""
        self._finish({}, result)

    def fail(self, error: BaseException) -> None:
        """Write the event of a generator that raised."""
        self._finish({} if self._pipeline.closed else self._ending(error, self._facts.qualname))

    def _finish(self, ending: dict[str, Any], returned: Any = None) -> None:
        if self._is_late("a generator"):
            self._leave_scope()
        else:
            self._write(self._elapsed_ms(), ending, returned)

    def _take_outcome(self, outcome: Any, *, failed: bool) -> None:  # noqa: ARG002 - items are kept anyway
        if outcome is not None:
            self._parts.take("returned", outcome)
        self._parts.end_items()
        self._parts.add(b'"yielded":%d' % self._yielded)
        if self._facts.codec is not None:
            self._parts.add(b'"coded":true')


def replayed_items(name: str, answer: Response, like: Callable[..., Any]) -> Callable[..., Any]:
    """Return a generator function that takes any arguments and yields the recorded items.

    Args:
        name: the tool, for errors.
        answer: the recorded items, and the recorded exception or return value.
        like: the function that it replaces; for an async generator the result is one, too.

    Raises:
        RecordingMiss: (when it runs) a value was sent into it.
    """

    def steps(*_args: Any, **_kwargs: Any) -> Generator[Any, Any, Any]:
        for item in answer.items or ():
            if (yield item) is not None:
                raise _was_sent(name)
        if answer.error is not None:
            raise answer.error
        return answer.result

    async def async_steps(*_args: Any, **_kwargs: Any) -> AsyncGenerator[Any, Any]:
        for item in steps():
            if (yield item) is not None:
                raise _was_sent(name)

    return async_steps if is_async_generator(like) else steps


def _was_sent(name: str) -> RecordingMiss:
    return RecordingMiss(
        f"a value was sent into the recorded generator {name}, but its response is not in the recording",
        remedy="record what it depends on as an argument, or allow the call",
    )


F = TypeVar("F", bound=Callable[..., Any])

_SITE_DEPTH = 3  # the caller of the wrapper, seen from `call_site`

TOOLS: dict[str, ToolSpec] = {}
"""{name: the tool last decorated with it in this process}; replays look up its codec here."""


class ToolSpec:
    """A decorated tool: its facts, and what opens its calls.

    Args:
        function: the undecorated function.
        key_of: the parameter that is the idempotency key, or a function from the arguments to the key.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        kind: str,
        codec: Codec | None,
        key_of: str | Callable[[Mapping[str, Any]], Any] | None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.codec = codec
        self.qualname = function.__qualname__
        self.is_stepped = is_generator(function)
        self._key_of = key_of
        # Used only to name the arguments and to find the object whose method is called.
        self._signature = TraceSpec(function, "agent_action", name)
        self.defaults = Defaults(function)
        self._open: Callable[..., OpenToolCall] = SteppedToolCall if self.is_stepped else OpenToolCall

    def begin(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[OpenToolCall | None, Response | None]:
        """Open a call: return the call if something records it, and the recorded response in a replay.

        Raises:
            ReplayError: the replay has no response for the call, or refuses a live call.
        """
        player = active_player()
        if player is None and not is_recorded():
            return None, None
        site = call_site(_SITE_DEPTH)
        answer, leave = None, None
        if player is not None:
            answer, leave = ask_player(player, self._described(args, kwargs, site))
        return self._begin(args, kwargs, answer, leave, site) if is_recorded() else None, answer

    def _begin(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        answer: Response | None,
        leave: Leave | None,
        site: str,
    ) -> OpenToolCall | None:
        try:
            pipeline = installed.active or pipeline_of_first_call()
            if pipeline is None:
                return None
            signature = self._signature
            target = signature.target_of(args)
            agent = pipeline.agents.find(target) if target is not None else None
            arguments = signature.arguments(args, kwargs)
            return self._open(
                self,
                pipeline,
                None if agent is None else agent.binding,
                arguments,
                site,
                None if self._key_of is None else self._key(arguments),
                answer,
                leave,
                self.defaults.digest(arguments, pipeline.capture.reading.hides),
            )
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            note_trouble(f"the call of the tool {self.name}", error, _LOST)
            return None

    def _key(self, arguments: Mapping[str, Any]) -> str | None:
        """The idempotency key of a call with these arguments; None if it is empty or cannot be computed."""
        try:
            key = self._key_of(arguments) if callable(self._key_of) else arguments.get(self._key_of or "")
        except Exception as error:  # noqa: BLE001 - if the user's function fails, the call has no key
            note_trouble(f"the idempotency key of the tool {self.name}", error)
            return None
        return None if key is None or key == "" else as_message(key)

    def _described(self, args: tuple[Any, ...], kwargs: dict[str, Any], site: str) -> TracedCall:
        arguments = self._signature.arguments(args, kwargs)
        return described_call(
            "tool.call",
            self.name,
            arguments,
            site,
            qualname=self.qualname,
            streams=self.is_stepped,
            target=self._signature.target_of(args),
            is_write=self.kind == "write",
            idempotency_key=None if self._key_of is None else self._key(arguments),
            defaults=partial(self.defaults.digest, arguments),
        )


@overload
def record_tool(function: F, /) -> F: ...
@overload
def record_tool(
    function: None = None,
    /,
    *,
    kind: Literal["read", "write"] = "read",
    codec: Codec | None = None,
    name: str | None = None,
    idempotency_key: str | Callable[[Mapping[str, Any]], Any] | None = None,
) -> Callable[[F], F]: ...
def record_tool(
    function: Any = None,
    /,
    *,
    kind: Literal["read", "write"] = "read",
    codec: Codec | None = None,
    name: str | None = None,
    idempotency_key: str | Callable[[Mapping[str, Any]], Any] | None = None,
) -> Any:
    """Record each call of a tool, so that a replay can return the recorded response.

    Arguments, response or exception, and duration are recorded. Works on functions, async functions, sync
    and async generators, methods, static and class methods. A large response becomes an artifact of the run.

    Args:
        kind: `write` if a call changes something outside: a replay then executes it only if that is allowed
            and the call has an idempotency key.
        codec: an object whose `encode(response)` returns plain values and whose `decode` restores the
            response, for responses that have no exact recorded form.
        name: the recorded name; default: the function's name.
        idempotency_key: the parameter that is the key, or a function from the arguments to it.
    """
    if kind not in {"read", "write"}:
        raise ConfigurationError(f"a tool of kind {kind!r} is unknown", remedy='use kind="read" or "write"')
    if codec is not None and not (hasattr(codec, "encode") and hasattr(codec, "decode")):
        raise ConfigurationError(
            f"{type(codec).__name__} is not a codec",
            remedy="give an object with encode and decode",
        )

    def decorate(inner: Any) -> Any:
        if isinstance(inner, (staticmethod, classmethod)):
            return type(inner)(decorate(inner.__func__))
        refuse_untraceable(inner)
        spec = ToolSpec(inner, name or inner.__name__, kind, codec, idempotency_key)
        TOOLS[spec.name] = spec
        return _wrap(inner, spec)

    return decorate if function is None else decorate(function)


def _wrap(function: Callable[..., Any], spec: ToolSpec) -> Callable[..., Any]:
    """The wrapper of a tool, of the same sort as the function: sync, async or generator."""
    if spec.is_stepped:
        return wrap_generator(function, partial(_open_steps, spec, function), function)
    begin = spec.begin
    if is_coroutine(function):

        @functools.wraps(function)
        async def recorded_async(*args: Any, **kwargs: Any) -> Any:
            call, answer = begin(args, kwargs)
            if answer is not None:
                if answer.turn is not None:
                    await answer.turn.wait()
                return _recorded_outcome(call, answer)
            if call is None:
                return await function(*args, **kwargs)
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                call.fail(error)
                raise
            call.end(result)
            return result

        return recorded_async

    @functools.wraps(function)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        call, answer = begin(args, kwargs)
        if answer is not None:
            return _recorded_outcome(call, answer)
        if call is None:
            return function(*args, **kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        call.end(result)
        return result

    return recorded


def _recorded_outcome(call: OpenToolCall | None, answer: Response) -> Any:
    """Return or raise the recorded outcome; the event of the current call refers to the recorded one."""
    if answer.turn is not None:
        answer.turn.came()
    if answer.change is not None:
        answer.change()
    if answer.error is not None:
        if call is not None:
            call.fail(answer.error)
        raise answer.error
    if call is not None:
        call.end(answer.result)
    return answer.result


def _open_steps(
    spec: ToolSpec, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Steps:
    """The observer of a generator's steps, created when the generator first runs."""
    call, answer = spec.begin(args, kwargs)
    if call is None and answer is None:
        return UNOBSERVED
    steps: Any = Steps() if call is None else call
    if answer is not None:
        steps.body = replayed_items(spec.name, answer, like=function)
    return cast("Steps", steps)


class Defaults:
    """The digests of a function's defaults, which a call uses without naming them.

    They are taken at its first call, since the body may change a list or a dict.

    Code, secrets, ids and moments in them do not count, nor what cannot be seen.
    """

    __slots__ = ("_digests", "_function")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._digests: dict[str, str] | None = None

    def digest(self, arguments: Mapping[str, Any], hides: Hides | None) -> str:
        """Return the digest of the defaults that a call with these arguments uses; "" if it uses none.

        Args:
            arguments: by name of parameter.
            hides: finds secrets.
        """
        if self._digests is None:
            self._digests = _digests(self._function, hides)
        used = {name: digest for name, digest in self._digests.items() if name not in arguments}
        return f"{ALGORITHM}:{digest_json(used)}" if used else ""


@undisturbed()
def _digests(function: Callable[..., Any], hides: Hides | None) -> dict[str, str]:
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    digests = {}
    for name, value in defaults.items():
        content = content_of({name: value}, reading=Reading(hides=hides))
        text = content.without_code or content.without_made or content.text
        if content.kind is OpaqueKind.COMPARABLE and not leaves_out_secrets(content.text):
            digests[name] = text
    return digests
