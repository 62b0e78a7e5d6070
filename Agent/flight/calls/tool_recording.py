"""`@record_tool`: the function keeps its signature and type, and its calls are recorded and can be replayed.

A call asks the player in context for a recorded response (such as `tool_replayer.py`); otherwise the body
runs, and `tool_calls.py` records it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from Agent.errors import ConfigurationError, RecordingMiss
from Agent.event.kinds import Category
from Agent.flight.open_runs.run_events import pipeline_of_first_call
from Agent.record.emit import installed
from Agent.record.emit.context import Answer, CallPlace, Player, TracedCall, current_player, current_scope
from Agent.record.emit.installed import LIMITS
from Agent.record.encode.safe_text import as_message
from Agent.record.tracing.decorators import (
    UNOBSERVED,
    Steps,
    TraceSpec,
    Unobserved,
    refuse_untraceable,
    wrap_generator,
)
from Agent.record.tracing.function_facts import is_async_generator, is_coroutine, is_generator

if TYPE_CHECKING:
    from Agent.flight.calls.tool_calls import Codec, OpenToolCall


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

_INFO = 20
_LIMIT = LIMITS[Category.EVENTS.value]
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
        self._open: Callable[..., OpenToolCall] | None = None

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenToolCall | Answer | None:
        """The open call, which may hold a recorded response; the Answer alone where nothing is recorded.

        Raises:
            ReplayError: a replay has no answer, or refuses a live call.
        """
        player = player_here()
        is_recorded = _LIMIT.value <= _INFO
        if player is None:
            if not is_recorded:
                return None
            return self._begin(args, kwargs, None, call_site(_SITE_DEPTH))
        site = call_site(_SITE_DEPTH)
        described = self._described(args, kwargs, site)
        answer = player.enter(described)
        call = self._begin(args, kwargs, answer, site) if is_recorded else None
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
            return (self._open or self._prepare())(
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

    def _prepare(self) -> Callable[..., OpenToolCall]:
        """Load what a recorded call takes, once."""
        from Agent.flight.calls.tool_calls import OpenToolCall, SteppedToolCall

        self._open = SteppedToolCall if self.is_stepped else OpenToolCall
        return self._open

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
        scope = current_scope.get()
        agent = scope.agent if scope is not None else None
        return TracedCall(
            kind="tool.call",
            agent_id=agent.agent_id if agent is not None else None,
            agent_role=agent.agent_role if agent is not None else None,
            action_type=self.name,
            qualname=self.qualname,
            args=arguments,
            target=self._signature.target_of(args),
            is_root=False,
            is_generator=self.is_stepped,
            place=CallPlace(
                site,
                scope.path if scope is not None else (),
                is_write=self.kind == "write",
                idempotency_key=None if self._key_of is None else self._key(arguments),
            ),
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
