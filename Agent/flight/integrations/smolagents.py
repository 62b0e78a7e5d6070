"""Record models of smolagents: `generate`, and `generate_stream` if the model has it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from Agent.flight.integrations.driving import Method, Shape, drive, drive_stream, optional_module, recorded_by
from Agent.flight.model_calls import ModelFacts, OpenModelCall, Usage, open_model_call

_models = optional_module("smolagents.models", "smolagents")


def recorded(model: Any) -> Any:
    """Return a copy of a model that records its calls."""
    return recorded_by(model, _METHODS, _open)


def _named(messages: Any, *args: Any, **kwargs: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    return messages, args, kwargs


def _open(
    model: Any, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, streams: bool
) -> OpenModelCall:
    messages, more, call_options = _named(*args, **kwargs)

    def request() -> dict[str, Any]:
        # Positional arguments get the names of the method's parameters after `self` and `messages`.
        names = method.__code__.co_varnames[2 : method.__code__.co_argcount]
        options = {**dict(zip(names, more, strict=False)), **call_options}
        tools = options.pop("tools_to_call_from", None)
        fields: dict[str, Any] = {"messages": [_request_message(message) for message in messages]}
        if tools:
            fields["tools"] = [_models.get_tool_json_schema(tool) for tool in tools]
        options = {key: value for key, value in options.items() if value is not None}
        if options:
            fields["options"] = options
        return fields

    name = getattr(model, "model_id", None) or type(model).__name__
    return open_model_call(ModelFacts(str(name), "smolagents"), request, streams=streams, owner=model)


def _request_message(message: Any) -> Any:
    """A message without its raw response and token counts, which the model does not get."""
    if isinstance(message, dict):
        return message
    dumped = _encode(message)
    dumped.pop("token_usage")
    return dumped


def _encode(message: Any) -> dict[str, Any]:
    return {
        "role": getattr(message.role, "value", message.role),
        "content": message.content,
        "tool_calls": None if message.tool_calls is None else [asdict(one) for one in message.tool_calls],
        "token_usage": _encode_usage(message.token_usage),
    }


def _encode_usage(usage: Any) -> dict[str, int] | None:
    if usage is None:
        return None
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def _decode_usage(dumped: Any) -> Any:
    return None if dumped is None else _models.TokenUsage(**dumped)


def _decode(dumped: Any) -> Any:
    return _models.ChatMessage.from_dict(dict(dumped), token_usage=_decode_usage(dumped["token_usage"]))


def _encode_chunk(delta: Any) -> dict[str, Any]:
    calls = delta.tool_calls
    return {
        "content": delta.content,
        "tool_calls": None if calls is None else [_encode_call_delta(one) for one in calls],
        "token_usage": _encode_usage(delta.token_usage),
    }


def _encode_call_delta(delta: Any) -> dict[str, Any]:
    function = delta.function
    parts = None if function is None else {
        "name": function.name,
        "arguments": function.arguments,
        "description": getattr(function, "description", None),
    }  # fmt: skip
    return {"index": delta.index, "id": delta.id, "type": delta.type, "function": parts}


def _decode_chunk(dumped: Any) -> Any:
    calls = dumped["tool_calls"]
    return _models.ChatMessageStreamDelta(
        content=dumped["content"],
        tool_calls=None if calls is None else [_decode_call_delta(one) for one in calls],
        token_usage=_decode_usage(dumped["token_usage"]),
    )


def _decode_call_delta(dumped: Any) -> Any:
    parts = dumped["function"]
    function = None if parts is None else _models.ChatMessageToolCallFunction(**parts)
    return _models.ChatMessageToolCallStreamDelta(**{**dumped, "function": function})


def _usage(message: Any) -> Usage | None:
    token_usage = message.token_usage
    return None if token_usage is None else Usage(token_usage.input_tokens, token_usage.output_tokens)


_SHAPE = Shape(
    _encode,
    _decode,
    _usage,
    _encode_chunk,
    _decode_chunk,
    _models.agglomerate_stream_deltas,
)
_METHODS = (Method("generate", drive, _SHAPE), Method("generate_stream", drive_stream, _SHAPE))
