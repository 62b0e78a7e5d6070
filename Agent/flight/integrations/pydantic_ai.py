"""Record models of Pydantic AI with its `WrapperModel`: `request` and `request_stream`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from Agent.flight.integrations.driving import RECORDED, Shape, decoded, drive_async, optional_module
from Agent.flight.model_calls import ModelFacts, OpenModelCall, Usage, open_model_call

_PACKAGE = "pydantic-ai-slim"
_messages = optional_module("pydantic_ai.messages", _PACKAGE)
_models = optional_module("pydantic_ai.models", _PACKAGE)
_wrapper: Any = optional_module("pydantic_ai.models.wrapper", _PACKAGE).WrapperModel
_EVENT = optional_module("pydantic", _PACKAGE).TypeAdapter(_messages.ModelResponseStreamEvent)

_SPECIFIC_TO_A_RUN = frozenset({"timestamp", "run_id", "conversation_id"})


def recorded(model: Any) -> Any:
    """Wrap a model so that its calls are recorded; a recorded model is returned as is."""
    return model if getattr(type(model), RECORDED, False) else _RecordedModel(model)


class _RecordedModel(_wrapper):  # type: ignore[misc]
    """Passes each request to the wrapped model and records it."""

    async def request(self, messages: Any, model_settings: Any, model_request_parameters: Any) -> Any:
        return await drive_async(
            lambda: _open(self, messages, model_settings, model_request_parameters),
            lambda: self.wrapped.request(messages, model_settings, model_request_parameters),
            _SHAPE,
        )

    @asynccontextmanager
    async def request_stream(
        self, messages: Any, model_settings: Any, model_request_parameters: Any, run_context: Any = None
    ) -> AsyncIterator[Any]:
        call = _open(self, messages, model_settings, model_request_parameters, streams=True)
        if call.answer is not None:
            with call.inside():
                stream = _played(call, model_request_parameters)
            yield _tapped(stream, call)
            _end(call, stream)
            return
        live = self.wrapped.request_stream(messages, model_settings, model_request_parameters, run_context)
        stream = None
        stack = AsyncExitStack()
        try:
            async with stack:
                with call.inside():
                    stream = await stack.enter_async_context(live)
                yield _tapped(stream, call)
        except GeneratorExit:
            call.close(None if stream is None else lambda: _encode(stream.get()))
            raise
        except BaseException as error:
            call.fail(error, None if stream is None else lambda: _encode(stream.get()))
            raise
        _end(call, stream)


setattr(_RecordedModel, RECORDED, True)


def _end(call: OpenModelCall, stream: Any) -> None:
    """Record the end of a stream that was read to its end, or only partly."""
    end = call.end if stream._finished else call.close  # noqa: SLF001 - no public attribute has it
    end(lambda: _encode(stream.get()), lambda: _usage(stream.get()))


def _played(call: OpenModelCall, parameters: Any) -> Any:
    """Rebuild a recorded stream, which yields its events one by one."""
    answer = call.answer
    assert answer is not None  # noqa: S101 - asked before, for the type checker
    if answer.error is not None and not answer.items:
        call.fail(answer.error)
        raise answer.error
    events = [decoded(_EVENT.validate_python, item, call) for item in answer.items or ()]
    if answer.result is not None:
        response = decoded(_decode, answer.result, call)
    else:
        response = _messages.ModelResponse(parts=[])
    stream = _models.CompletedStreamedResponse(
        response, model_request_parameters=parameters, replay_events=events
    )
    return stream if answer.error is None else _ending_with(stream, answer.error)


def _ending_with(stream: Any, error: BaseException) -> Any:
    """Make the stream raise the recorded exception after its last event."""

    async def with_end(events: Callable[[], Any]) -> AsyncIterator[Any]:
        async for event in events():
            yield event
        raise error

    return _through(stream, with_end)


def _tapped(stream: Any, call: OpenModelCall) -> Any:
    """Make the stream record each event in the call."""
    opened: list[Any] = []

    async def tap(events: Any) -> AsyncIterator[Any]:
        async for event in call.pieces_async(events):
            call.chunk(lambda event=event: _EVENT.dump_python(event, mode="json"))  # type: ignore[misc]
            yield event

    def once(events: Callable[[], Any]) -> Any:
        if not opened:
            opened.append(tap(events()))
        return opened[0]

    return _through(stream, once)


def _through(stream: Any, changed: Callable[[Callable[[], Any]], Any]) -> Any:
    """Pass the events of a stream through a function.

    The stream stays the same object; its class becomes a subclass with another `__aiter__`.
    """
    base = type(stream)

    def aiter_(self: Any) -> Any:
        return changed(lambda: base.__aiter__(self))

    stream.__class__ = type(base.__name__, (base,), {"__aiter__": aiter_, "__module__": base.__module__})
    return stream


def _open(
    model: Any, messages: Any, settings: Any, parameters: Any, *, streams: bool = False
) -> OpenModelCall:
    def request() -> dict[str, Any]:
        dumped = _messages.ModelMessagesTypeAdapter.dump_python(messages, mode="json")
        fields: dict[str, Any] = {"messages": [_without_run(message) for message in dumped]}
        tools = [_tool(tool) for tool in (*parameters.function_tools, *parameters.output_tools)]
        if tools:
            fields["tools"] = tools
        if settings:
            fields["settings"] = dict(settings)
        return fields

    return open_model_call(
        ModelFacts(model.model_name, "pydantic_ai", model.system), request, streams=streams
    )


def _without_run(message: dict[str, Any]) -> dict[str, Any]:
    """A message without the times and ids that differ between runs, so that a replay finds the call."""
    fields = {key: value for key, value in message.items() if key not in _SPECIFIC_TO_A_RUN}
    fields["parts"] = [
        {key: value for key, value in part.items() if key not in _SPECIFIC_TO_A_RUN}
        for part in message["parts"]
    ]
    return fields


def _tool(tool: Any) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters_json_schema}


def _encode(response: Any) -> Any:
    dumped = _messages.ModelMessagesTypeAdapter.dump_python([response], mode="json")[0]
    # The adapter also dumps default values; keep only those that the instance was created with.
    usage_fields = vars(response.usage)
    dumped["usage"] = {name: value for name, value in dumped["usage"].items() if name in usage_fields}
    return dumped


def _decode(dumped: Any) -> Any:
    response = _messages.ModelMessagesTypeAdapter.validate_python([dumped])[0]
    usage_fields = vars(response.usage)
    for name in usage_fields.keys() - dumped.get("usage", usage_fields).keys():
        del usage_fields[name]
    return response


def _usage(response: Any) -> Usage:
    return Usage(response.usage.input_tokens, response.usage.output_tokens, response.usage.details or None)


_SHAPE = Shape(_encode, _decode, _usage, lambda event: event, lambda event: event, lambda _: None)
