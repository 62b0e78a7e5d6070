"""Record models of the OpenAI Agents SDK: `get_response` and `stream_response`."""

from __future__ import annotations

from typing import Any

from Agent.flight.integrations.driving import (
    Method,
    Shape,
    drive_async,
    drive_stream_async,
    optional_module,
    recorded_by,
)
from Agent.flight.model_calls import ModelFacts, OpenModelCall, Usage, open_model_call

_PACKAGE = "openai-agents"
_items = optional_module("agents.items", _PACKAGE)
_usage_module = optional_module("agents.usage", _PACKAGE)
_adapter = optional_module("pydantic", _PACKAGE).TypeAdapter
_OUTPUT_ITEM = _adapter(_items.TResponseOutputItem)
_EVENT = _adapter(_items.TResponseStreamEvent)

# The parameters of both methods in order, by which positional arguments are named.
_PARAMETERS = (
    *("system_instructions", "input", "model_settings", "tools", "output_schema", "handoffs", "tracing"),
    *("previous_response_id", "conversation_id", "prompt"),
)
# Types of the events that end a stream and hold the complete response.
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


def recorded(model: Any) -> Any:
    """Return a copy of a model that records its calls."""
    return recorded_by(model, _METHODS, _open)


def _open(
    model: Any, _method: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, streams: bool
) -> OpenModelCall:
    named = {**dict(zip(_PARAMETERS, args, strict=False)), **kwargs}

    def request() -> dict[str, Any]:
        fields = {
            "instructions": named.get("system_instructions"),
            "input": named.get("input"),
            "settings": _settings(named.get("model_settings")),
            "tools": [_tool(tool) for tool in named.get("tools") or ()],
            "handoffs": [handoff.tool_name for handoff in named.get("handoffs") or ()],
            "output_schema": _schema_name(named.get("output_schema")),
            "prompt": named.get("prompt"),
            "previous_response_id": named.get("previous_response_id"),
            "conversation_id": named.get("conversation_id"),
        }
        return {key: value for key, value in fields.items() if value not in (None, [], {})}

    name = getattr(model, "model", None)
    facts = ModelFacts(name if isinstance(name, str) else type(model).__name__, "openai_agents")
    return open_model_call(facts, request, streams=streams, owner=model)


def _settings(settings: Any) -> dict[str, Any] | None:
    if settings is None:
        return None
    return {key: value for key, value in settings.to_json_dict().items() if value is not None}


def _tool(tool: Any) -> dict[str, Any]:
    described = {"name": tool.name, "description": getattr(tool, "description", None)}
    schema = getattr(tool, "params_json_schema", None)
    return {**described, "parameters": schema} if schema is not None else described


def _schema_name(schema: Any) -> str | None:
    return None if schema is None else str(schema.name())


def _plain(item: Any) -> Any:
    """The fields of a pydantic model that were set, without defaults; any other value is returned as is."""
    return item.model_dump(mode="json", exclude_unset=True) if hasattr(item, "model_dump") else item


def _encode(response: Any) -> dict[str, Any]:
    return {
        "output": [_plain(item) for item in response.output],
        "usage": _usage_module.serialize_usage(response.usage),
        "response_id": response.response_id,
        "request_id": getattr(response, "request_id", None),
    }


def _decode(dumped: Any) -> Any:
    return _items.ModelResponse(
        output=[_OUTPUT_ITEM.validate_python(item) for item in dumped["output"]],
        usage=_usage_module.deserialize_usage(dumped["usage"]),
        response_id=dumped["response_id"],
        request_id=dumped["request_id"],
    )


def _usage(response: Any) -> Usage:
    used = response.usage
    return Usage(used.input_tokens, used.output_tokens)


def _final_response(events: list[Any]) -> Any:
    """The response in the last event of a stream; None if the stream did not reach its end."""
    last = events[-1]
    if getattr(last, "type", None) not in _ENDS:
        return None
    used = last.response.usage
    usage = _usage_module.Usage()
    if used is not None:
        usage = _usage_module.Usage(
            requests=1,
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            total_tokens=used.total_tokens,
        )
    return _items.ModelResponse(output=last.response.output, usage=usage, response_id=last.response.id)


_SHAPE = Shape(_encode, _decode, _usage, _plain, _EVENT.validate_python, _final_response)
_METHODS = (
    Method("get_response", drive_async, _SHAPE),
    Method("stream_response", drive_stream_async, _SHAPE),
)
