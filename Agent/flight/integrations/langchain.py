"""Record chat models of LangChain and LangGraph: `_generate` and `_stream`, sync and async."""

from __future__ import annotations

from typing import Any

from Agent.flight.integrations.driving import (
    Method,
    Shape,
    drive,
    drive_async,
    drive_stream,
    drive_stream_async,
    optional_module,
    recorded_by,
)
from Agent.flight.model_calls import ModelFacts, OpenModelCall, Usage, open_model_call

_PACKAGE = "langchain-core"
_chat_models = optional_module("langchain_core.language_models.chat_models", _PACKAGE)
_messages = optional_module("langchain_core.messages", _PACKAGE)
_outputs = optional_module("langchain_core.outputs", _PACKAGE)


def recorded(model: Any) -> Any:
    """Return a copy of a chat model that records its calls; `bind_tools` works as on the model itself."""
    return recorded_by(model, _METHODS, _open, _chat_models.BaseChatModel)


def _named(
    messages: Any,
    stop: Any = None,
    run_manager: Any = None,  # noqa: ARG001 - not an option of the model
    **options: Any,
) -> tuple[Any, Any, dict[str, Any]]:
    return messages, stop, options


def _open(
    model: Any, _method: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, streams: bool
) -> OpenModelCall:
    messages, stop, call_options = _named(*args, **kwargs)

    def request() -> dict[str, Any]:
        fields: dict[str, Any] = {"messages": [_request_message(message) for message in messages]}
        if stop:
            fields["stop"] = list(stop)
        # Options `ls_*` are metadata for tracing, which differ between runs and do not reach the model.
        options = {key: value for key, value in call_options.items() if not key.startswith("ls_")}
        if options:
            fields["options"] = options
        return fields

    return open_model_call(_facts(model, stop), request, streams=streams, owner=model)


def _facts(model: Any, stop: Any) -> ModelFacts:
    try:
        ls_params = model._get_ls_params(stop=stop)  # noqa: SLF001 - LangChain calls it for its tracers
    except Exception:  # noqa: BLE001 - a model without a name is recorded under its class
        ls_params = {}
    name = ls_params.get("ls_model_name") or getattr(model, "model_name", None) or type(model).__name__
    params = {
        key.removeprefix("ls_"): value
        for key, value in ls_params.items()
        if key in {"ls_temperature", "ls_max_tokens", "ls_stop"} and value is not None
    }
    return ModelFacts(str(name), "langchain", ls_params.get("ls_provider"), params or None)


def _request_message(message: Any) -> dict[str, Any]:
    """A message without its id, which differs between runs."""
    dumped: dict[str, Any] = _messages.message_to_dict(message)
    dumped["data"] = {key: value for key, value in dumped["data"].items() if key != "id"}
    return dumped


def _encode_generation(generation: Any) -> dict[str, Any]:
    return {
        "message": _messages.message_to_dict(generation.message),
        "generation_info": generation.generation_info,
    }


def _decode_message(dumped: Any) -> Any:
    return _messages.messages_from_dict([dumped])[0]


def _encode(result: Any) -> dict[str, Any]:
    generations = [_encode_generation(generation) for generation in result.generations]
    return {"generations": generations, "llm_output": result.llm_output}


def _decode(dumped: Any) -> Any:
    generations = [
        _outputs.ChatGeneration(
            message=_decode_message(one["message"]), generation_info=one["generation_info"]
        )
        for one in dumped["generations"]
    ]
    return _outputs.ChatResult(generations=generations, llm_output=dumped["llm_output"])


def _decode_chunk(dumped: Any) -> Any:
    return _outputs.ChatGenerationChunk(
        message=_decode_message(dumped["message"]), generation_info=dumped["generation_info"]
    )


def _combined(chunks: list[Any]) -> Any:
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    message = _messages.message_chunk_to_message(total.message)
    generation = _outputs.ChatGeneration(message=message, generation_info=total.generation_info)
    return _outputs.ChatResult(generations=[generation])


def _usage(result: Any) -> Usage | None:
    usage = getattr(result.generations[0].message, "usage_metadata", None) if result.generations else None
    if usage is not None:
        details = {key: value for key, value in usage.items() if key.endswith("_details") and value}
        return Usage(usage.get("input_tokens"), usage.get("output_tokens"), details or None)
    tokens = (result.llm_output or {}).get("token_usage")
    if not isinstance(tokens, dict):
        return None
    return Usage(tokens.get("prompt_tokens"), tokens.get("completion_tokens"))


_SHAPE = Shape(_encode, _decode, _usage, _encode_generation, _decode_chunk, _combined)
_EVENTS = Shape(_encode, _decode, lambda _: None, dict, dict, lambda _: None)
"""For models that implement the event protocol themselves; their pieces are plain mappings."""
_METHODS = (
    Method("_generate", drive, _SHAPE),
    Method("_agenerate", drive_async, _SHAPE),
    Method("_stream", drive_stream, _SHAPE),
    Method("_astream", drive_stream_async, _SHAPE),
    Method("_stream_chat_model_events", drive_stream, _EVENTS),
    Method("_astream_chat_model_events", drive_stream_async, _EVENTS),
)
