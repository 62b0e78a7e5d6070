"""`@record_tool`: the function keeps its signature and type, and its calls are recorded and can be replayed.

A call asks the player in context for a recorded response (such as `tool_replayer.py`); otherwise the body
runs, and `OpenToolCall` records arguments as they came in, the answer or exception, and then the event.
`recorded_calls.py` reads it back.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextvars import Token
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar, overload

from Agent.errors import ConfigurationError, RecordingMiss
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
    Answer,
    CallPlace,
    Player,
    SpanScope,
    TracedCall,
    current_player,
    current_scope,
    learn_secrets,
)
from Agent.record.encode.safe_text import as_message, message_of
from Agent.record.tracing.changed_arguments import cannot_change
from Agent.record.tracing.decorators import (
    UNOBSERVED,
    Steps,
    TraceSpec,
    Unobserved,
    refuse_untraceable,
    wrap_generator,
)
from Agent.record.tracing.failures import outcome_of, record_error
from Agent.record.tracing.function_facts import is_async_generator, is_coroutine, is_generator

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import Pipeline
    from Agent.record.encode.event_template import AgentBinding

_MAX_ERROR_CHARS = 400


class Codec(Protocol):
    """How answers of a tool are recorded, and made again."""

    def encode(self, answer: Any, /) -> Any:
        """The answer as plain values."""

    def decode(self, recorded: Any, /) -> Any:
        """The answer again."""


class ToolFacts(NamedTuple):
    """What is known of a tool before it is called."""

    name: str
    kind: str
    """`read` or `write`."""
    qualname: str
    codec: Codec | None


class OpenToolCall:
    """A call that is open.

    Args:
        facts: the tool.
        agent: the agent whose method it is; None for the one around the call.
        arguments: by name.
        site: the function that calls it.
        idempotency_key: of this call, where it has one.
        answer: what the recording says, which stands for the body; None where the body runs.
    """

    __slots__ = (
        "_agent", "_board_slot", "_changeable", "_facts", "_parts", "_pipeline", "_run", "_scope", "_site",
        "_span_id", "_started_ns", "_token", "answer", "leave",
    )  # fmt: skip

    def __init__(
        self,
        facts: ToolFacts,
        pipeline: Pipeline,
        agent: AgentBinding | None,
        arguments: dict[str, Any],
        site: str,
        idempotency_key: str | None,
        answer: Answer | None,
    ) -> None:
        self._facts = facts
        self._pipeline = pipeline
        self._site = site
        self.answer = answer
        self.leave: Callable[[Any, BaseException | None], None] | None = None
        scope = settled_scope()
        if agent is not None and (scope is None or scope.agent is not agent):
            scope = SpanScope(scope, agent=agent)
        self._scope = scope
        self._run: Run = surrounding_run(pipeline)
        self._span_id = span_id = pipeline.next_span_id()
        if agent is None and scope is not None:
            agent = scope.agent
        self._agent = agent or pipeline.binding(self._run.agent_id, None, "flight", "errors")
        self._parts = CallParts(pipeline, self._run, span_id, facts.name)
        self._parts.take("args", arguments)
        self._changeable = None if cannot_change(map(type, arguments.values())) else arguments
        if idempotency_key is not None:
            self._parts.take("idempotency_key", idempotency_key)
        own_agent = None if agent is None else self._agent
        inside = SpanScope(scope, span_id=span_id, name=facts.name, agent=own_agent)
        learn_secrets(inside, self._parts.secrets)
        inside.reads = None  # a replay answers the tool, so nothing in its body is read again
        self._token: Token[SpanScope | None] = current_scope.set(inside)
        self._board_slot = open_on_board(pipeline, span_id, agent, facts.name)
        self._started_ns = pipeline.monotonic_ns()

    def end(self, result: Any) -> None:
        """The body returned, or the record answered: write the event."""
        duration_ns = self._pipeline.monotonic_ns() - self._started_ns
        try:
            self._close()
            self._parts.take_changes(self._changeable, result)
            self._take_answer("result", result)
            self._write(duration_ns)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(error)
        if self.leave is not None:
            self.leave(result, None)

    def fail(self, error: BaseException) -> None:
        """The body raised: write the error once, and the event."""
        duration_ns = self._pipeline.monotonic_ns() - self._started_ns
        ending = self._ending(error)
        try:
            self._close()
            self._parts.take_changes(self._changeable, error)
            self._write(duration_ns, ending)
        except Exception as trouble:  # noqa: BLE001 - the user's own exception is the one that must get out
            self._trouble(trouble)
        if self.leave is not None:
            self.leave(None, error)

    def _take_answer(self, part: str, value: Any) -> None:
        codec = self._facts.codec
        if codec is not None:
            try:
                value = codec.encode(value)
            except Exception as error:  # noqa: BLE001 - a codec of the user's; the plain record is better than none
                self._pipeline.health.trouble(f"the codec of the tool {self._facts.name}", error)
            else:
                self._parts.add(b'"coded":true')
        self._parts.take(part, value)

    def _ending(self, error: BaseException) -> dict[str, Any]:
        """What the event says of an exception; it is recorded within the call's own span."""
        ending: dict[str, Any] = {"outcome": outcome_of(error)}
        try:
            add_error(ending, self._pipeline, self._agent, error, self._facts.qualname, self._parts.secrets)
        except Exception as trouble:  # noqa: BLE001 - the user's own exception is the one that must get out
            self._trouble(trouble)
        return ending

    def _close(self) -> None:
        board = self._pipeline.board
        if self._board_slot >= 0 and board is not None:
            board.close_span(self._board_slot)
        self._leave_scope()

    def _leave_scope(self) -> None:
        try:
            current_scope.reset(self._token)
        except ValueError:  # a loop that ends closes what is open in a context of its own
            self._pipeline.health.note("a span was closed in another context")

    def _write(self, duration_ns: int, ending: Mapping[str, Any] | None = None) -> None:
        """Write the event; it stands in the run in which the call began."""
        facts = self._facts
        payload: dict[str, Any] = {"name": facts.name, "call_id": self._span_id, "tool_kind": facts.kind}
        if self._site:
            payload["site"] = self._site
        if self._scope is not None and self._scope.path:
            payload["path"] = list(self._scope.path)
        if self.answer is not None and self.answer.event_id is not None:
            payload["answered_by"] = self.answer.event_id
        if ending is not None:
            payload.update(ending)
        payload["duration_ms"] = round(duration_ns / 1e6, 6)
        emit_run_event(
            self._pipeline,
            self._run,
            "tool.call",
            payload,
            scope=self._scope or NOWHERE,
            span_id=self._span_id,
            judged=self._parts.members(),
            judged_types=self._parts.types,
        )

    def _trouble(self, error: BaseException) -> None:
        self._pipeline.health.trouble(f"the end of the tool {self._facts.name}", error)
        self._pipeline.health.drop("a call of a tool could not be recorded")


NOWHERE = SpanScope(None)
"""In which no span, agent or run is."""


def add_error(
    ending: dict[str, Any],
    pipeline: Pipeline,
    agent: AgentBinding,
    error: BaseException,
    call: str,
    secrets: Sequence[str] = (),
) -> None:
    """Let what an event says of its end tell of an error, which is recorded; nothing for another outcome."""
    if ending["outcome"] == "error":
        told = f"{type(error).__qualname__}: {message_of(error)[:_MAX_ERROR_CHARS]}"
        ending["error"] = pipeline.redactor.text_without(secrets, told) if secrets else told
        ending["error_id"] = record_error(pipeline, agent, error, more={"call": call})


def described_call(
    kind: str,
    name: str,
    args: Mapping[str, Any],
    place: CallPlace,
    *,
    qualname: str,
    streams: bool,
    target: Any = None,
) -> TracedCall:
    """A call of a tool or a model as a player is asked about it; the agent is the one around it."""
    scope = current_scope.get()
    agent = scope.agent if scope is not None else None
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
        place=place,
    )


def call_place(site: str, *, is_write: bool = False, idempotency_key: str | None = None) -> CallPlace:
    """Where a call is made: the function that calls, and the spans around it."""
    scope = current_scope.get()
    path = scope.path if scope is not None else ()
    return CallPlace(site, path, is_write=is_write, idempotency_key=idempotency_key)


class SteppedToolCall(OpenToolCall):
    """The call of a generator: what it yields is kept, item by item, and stands in one event at its end."""

    __slots__ = ("_inner", "_yielded", "body")

    def __init__(
        self,
        facts: ToolFacts,
        pipeline: Pipeline,
        agent: AgentBinding | None,
        arguments: dict[str, Any],
        site: str,
        idempotency_key: str | None,
        answer: Answer | None,
    ) -> None:
        super().__init__(facts, pipeline, agent, arguments, site, idempotency_key, answer)
        self.body: Callable[..., Any] | None = None
        self._inner = current_scope.get()
        self._yielded = 0

    def suspend(self, item: Any) -> None:
        """An item was yielded: what the consumer does now is not done in this span."""
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
        """The body runs on, in its own span."""
        self._token = current_scope.set(self._inner)

    def close(self) -> None:
        """It was closed, or nobody wanted the rest."""
        self._finish({"outcome": "closed"})

    def end(self, result: Any) -> None:
        """The body returned."""
        if result is not None:
            try:
                self._parts.take("returned", result)
            except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
                self._trouble(error)
        self._finish(None)

    def fail(self, error: BaseException) -> None:
        """The body raised after what it yielded."""
        if self._is_late():
            return
        self._finish(self._ending(error))

    def _finish(self, ending: dict[str, Any] | None) -> None:
        if self._is_late():
            return
        duration_ns = self._pipeline.monotonic_ns() - self._started_ns
        try:
            self._close()
            self._parts.end_items()
            self._parts.add(b'"yielded":%d' % self._yielded)
            if self._facts.codec is not None:
                self._parts.add(b'"coded":true')
            self._write(duration_ns, ending)
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            self._trouble(error)

    def _is_late(self) -> bool:
        """Whether the recording in which it began has ended, so that its end has no place to stand."""
        if not self._pipeline.closed:
            return False
        self._pipeline.health.note("a generator outlived the recording that it began in")
        self._leave_scope()
        return True


def replayed_items(name: str, answer: Answer, like: Callable[..., Any]) -> Callable[..., Any]:
    """A generator function that takes any arguments and gives the recorded items."""

    def steps(*_args: Any, **_kwargs: Any) -> Generator[Any, Any, Any]:
        for item in answer.items or ():
            sent = yield item
            if sent is not None:
                raise _was_sent(name)
        if answer.error is not None:
            raise answer.error
        return answer.result

    async def async_steps(*_args: Any, **_kwargs: Any) -> AsyncGenerator[Any, Any]:
        for item in answer.items or ():
            sent = yield item
            if sent is not None:
                raise _was_sent(name)
        if answer.error is not None:
            raise answer.error

    return async_steps if is_async_generator(like) else steps


def _was_sent(name: str) -> RecordingMiss:
    return RecordingMiss(
        f"a value was sent into the recorded generator {name}, but its response is not in the recording",
        remedy="record what it depends on as an argument, or allow the call",
    )


F = TypeVar("F", bound=Callable[..., Any])

_SITE_DEPTH = 3  # the caller of the wrapper, seen from `call_site`

TOOLS: dict[str, ToolSpec] = {}
"""The tools of this process by name, the last one that was decorated under it: replays ask for its codec."""


class ToolSpec:
    """What is known of a tool before it is called.

    Args:
        function: the undecorated function.
        key_of: the name of the parameter that is the idempotency key, or a function of the arguments.
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
        # It knows which argument is the object, and the names of the others.
        self._signature = TraceSpec(function, "agent_action", name)
        self._open: Callable[..., OpenToolCall] = SteppedToolCall if self.is_stepped else OpenToolCall

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenToolCall | Answer | None:
        """The open call, which may hold a recorded response; the Answer alone where nothing is recorded.

        Raises:
            ReplayError: a replay has no answer, or refuses a live call.
        """
        player = player_here()
        if player is None:
            if not is_recorded():
                return None
            return self._begin(args, kwargs, None, call_site(_SITE_DEPTH))
        site = call_site(_SITE_DEPTH)
        described = self._described(args, kwargs, site)
        answer = player.enter(described)
        call = self._begin(args, kwargs, answer, site) if is_recorded() else None
        if call is None:
            return answer
        if answer is None:
            call.leave = lambda result, error: player.leave(described, result, error)
        return call

    def _begin(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], answer: Answer | None, site: str
    ) -> OpenToolCall | None:
        try:
            pipeline = installed.active or pipeline_of_first_call()
            if pipeline is None:
                return None
            signature = self._signature
            target = signature.target_of(args)
            known = pipeline.agents.find(target) if target is not None else None
            arguments = signature.arguments(args, kwargs)
            return self._open(
                self,
                pipeline,
                None if known is None else known.binding,
                arguments,
                site,
                None if self._key_of is None else self._key(arguments),
                answer,
            )
        except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
            active = installed.active
            if active is not None:
                active.health.trouble(f"the call of the tool {self.name}", error)
                active.health.drop("a call of a tool could not be recorded")
            return None

    def _key(self, arguments: Mapping[str, Any]) -> str | None:
        """The idempotency key of a call with these arguments."""
        try:
            key = self._key_of(arguments) if callable(self._key_of) else arguments.get(self._key_of or "")
        except Exception as error:  # noqa: BLE001 - a function of the user's; the call then has no key
            active = installed.active
            if active is not None:
                active.health.trouble(f"the idempotency key of the tool {self.name}", error)
            return None
        return None if key is None or key == "" else as_message(key)

    def _described(self, args: tuple[Any, ...], kwargs: dict[str, Any], site: str) -> TracedCall:
        arguments = self._signature.arguments(args, kwargs)
        key = None if self._key_of is None else self._key(arguments)
        return described_call(
            "tool.call",
            self.name,
            arguments,
            call_place(site, is_write=self.kind == "write", idempotency_key=key),
            qualname=self.qualname,
            streams=self.is_stepped,
            target=self._signature.target_of(args),
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

    Arguments, response or exception, and duration are recorded. Works on functions, async functions,
    generators of both sorts, methods, static and class methods. A large response becomes an artifact of the
    run.

    Args:
        kind: `write` if a call changes something outside: a replay then executes it only if that is allowed
            and the call has an idempotency key.
        codec: an object whose `encode(response)` returns plain values and whose `decode` restores the
            response, for responses without an exact form of their own.
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
    if spec.is_stepped:
        return wrap_generator(function, functools.partial(_open_steps, spec, function), function)
    begin = spec.begin
    if is_coroutine(function):

        @functools.wraps(function)
        async def recorded_async(*args: Any, **kwargs: Any) -> Any:
            call = begin(args, kwargs)
            if call is None:
                return await function(*args, **kwargs)
            answer = call if type(call) is Answer else call.answer  # type: ignore[union-attr]
            if answer is not None:
                return _answered(call, answer)
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                call.fail(error)  # type: ignore[union-attr]
                raise
            call.end(result)  # type: ignore[union-attr]
            return result

        return recorded_async

    @functools.wraps(function)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        call = begin(args, kwargs)
        if call is None:
            return function(*args, **kwargs)
        answer = call if type(call) is Answer else call.answer  # type: ignore[union-attr]
        if answer is not None:
            return _answered(call, answer)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            call.fail(error)  # type: ignore[union-attr]
            raise
        call.end(result)  # type: ignore[union-attr]
        return result

    return recorded


def _answered(call: Any, answer: Answer) -> Any:
    """What the recording says the call gave; the event of the call names the one that it comes from."""
    if answer.change is not None:
        answer.change()
    if answer.error is not None:
        if call is not answer:
            call.fail(answer.error)
        raise answer.error
    if call is not answer:
        call.end(answer.result)
    return answer.result


def _open_steps(
    spec: ToolSpec, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Steps:
    """What is told of the steps of a generator, at its first resumption."""
    call = spec.begin(args, kwargs)
    if call is None:
        return UNOBSERVED
    answer = call if isinstance(call, Answer) else call.answer
    if answer is not None:
        body = replayed_items(spec.name, answer, like=function)
        if isinstance(call, Answer):
            return _Answered(body)
        call.body = body  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


class _Answered(Unobserved):
    """Steps that come from the recording and are not recorded again."""

    def __init__(self, body: Callable[..., Any]) -> None:
        self.body = body


OPEN_PLAYERS: list[Player] = []
"""The replays of tools that are open in this process, the newest last."""


def player_here() -> Player | None:
    """The player that is to be asked, None outside of every replay."""
    player = current_player.get()
    if player is None and OPEN_PLAYERS:
        return OPEN_PLAYERS[-1]
    return player


# What stands between a call and the function that made it: this package, event loops, executors, wrappers.
_BETWEEN = ("Agent.record.", "Agent.flight.", "asyncio.", "concurrent.futures.", "contextlib", "functools")
# Where a task or a thread begins: what stands below only waits for it, and differs from program to program.
_BEGINNINGS = frozenset({"asyncio.events", "asyncio.base_events", "asyncio.runners", "threading"})
_COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>")


def call_site(depth: int) -> str:
    """The qualified name of the function that calls, "" if there is none, as of a task of its own.

    Args:
        depth: how many callers up the search begins; 1 is the caller of this function.
    """
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001 - the one way to the caller at this price
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module in _BEGINNINGS:
            return ""
        if not module.startswith(_BETWEEN):
            name = frame.f_code.co_qualname
            # From Python 3.12 on these have no frames of their own.
            if not name.endswith(_COMPREHENSIONS):
                return name
        frame = frame.f_back
    return ""
