"""The content of spans, exported only on request: arguments, results, prompts, answers, messages, states.

Values are as recorded, that is after redaction. Prompts and answers are in artifacts, in the form of the SDK
that made the call; roles and texts are extracted from common forms, and any other value becomes one text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from Agent.errors import DamagedInput
from Agent.event.model import Event
from Agent.export.conventions import MODEL, OWN, TOOL, SpanSort
from Agent.tree.write.artifacts import ROOT_RUN, artifact_path, read_artifact

MAX_CONTENT_BYTES: Final = 512 * 1024
"""The size limit of one value; larger ones are cut, and `agent_trace.cut_bytes` has the size of the rest."""
_ROLES: Final = {"human": "user", "ai": "assistant", "model": "assistant", "function": "tool"}
_JSON: Final = "application/json"


def json_text(value: Any) -> str:
    """Return a recorded value as JSON text."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str).decode("utf-8", "replace")


def content_of(event: Event, sort: SpanSort, session: Path) -> dict[str, Any]:
    """Return the attributes with the content of an event."""
    attributes = _both_sides(event, sort, session)
    if event.state and any(event.state.values()):
        attributes[OWN + "state"] = _cut(json_text(event.state), attributes)
    if event.message and event.kind == "log":
        attributes[OWN + "message"] = _cut(event.message, attributes)
    for key in _SHOWN_KEYS:
        if key in event.extra:
            value = event.extra[key]
            attributes[OWN + key] = _cut(value if isinstance(value, str) else json_text(value), attributes)
    return attributes


def _both_sides(event: Event, sort: SpanSort, session: Path) -> dict[str, Any]:
    """Return the attributes for the input and output of a call."""
    attributes: dict[str, Any] = {}
    request = recorded_value(event, session, "args", "prompt_ref", "args_ref")
    answered = recorded_value(event, session, "result", "output_ref", "result_ref")
    if request is None and isinstance(answered, dict) and {"input", "output"} <= answered.keys():
        request, answered = answered["input"], answered["output"]  # the output of a step of a graph
    for side, value in (("input", request), ("output", answered)):
        if value is None:
            continue
        is_text = isinstance(value, str)
        text = attributes[f"{side}.value"] = _cut(value if is_text else json_text(value), attributes)
        if not is_text:
            attributes[f"{side}.mime_type"] = _JSON
        if sort is TOOL:
            attributes |= dict.fromkeys(_TOOL_NAMES[side], text)
        elif sort is MODEL:
            attributes |= _messages(side, messages_in(value, by_model=side == "output"))
    return attributes


_TOOL_NAMES: Final = {
    "input": ("gen_ai.tool.call.arguments", "tool.parameters"),
    "output": ("gen_ai.tool.call.result",),
}
_SHOWN_KEYS: Final = (
    "action_data", "decision_context", "decision_data", "reasoning", "body", "data", "metadata", "old_state",
    "new_state", "changed", "old_strategy", "new_strategy", "reason", "update_data", "attributes",
)  # fmt: skip
"""The keys of payloads that hold content."""


def _cut(text: str, attributes: dict[str, Any]) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_CONTENT_BYTES:
        return text
    attributes[OWN + "cut_bytes"] = attributes.get(OWN + "cut_bytes", 0) + len(data) - MAX_CONTENT_BYTES
    return data[:MAX_CONTENT_BYTES].decode("utf-8", "ignore")


def recorded_value(event: Event, session: Path, key: str, *references: str) -> Any:
    """Return a value of the payload, or of the artifact to which it refers; None without either."""
    if key in event.extra:
        return event.extra[key]
    for name in references:
        ref = event.extra.get(name)
        if not isinstance(ref, str):
            continue
        try:
            path = artifact_path(session, event.run_id or ROOT_RUN, ref)
            text = b"".join(read_artifact(path, None)).decode()
        except (DamagedInput, OSError, UnicodeDecodeError):
            return None  # pruned, damaged or not text: the span has its reference
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return None


def messages_in(value: Any, *, by_model: bool) -> list[dict[str, Any]]:
    """Return the messages in a recorded prompt or answer, in the form of `gen_ai.input.messages`.

    Args:
        value: the prompt or the answer, in the form of any SDK.
        by_model: whether the model produced it, for messages without a role.
    """
    messages = [_message(each, by_model) for each in _listed(value)]
    if not messages:
        text = value if isinstance(value, str) else json_text(value)
        messages = [_message({"content": text}, by_model)]
    return messages


def _listed(value: Any) -> list[Mapping[str, Any]]:
    """Return the messages of a value, each a mapping with a role or a content."""
    if isinstance(value, list):
        nested = [each for one in value for each in _listed(one)]
        return nested if len(nested) >= len(value) else []
    if not isinstance(value, Mapping):
        return []
    for key in ("messages", "choices", "generations", "output"):
        if isinstance(value.get(key), list):
            system = value.get("system")
            first = [{"role": "system", "content": system}] if system else []
            return [*first, *_listed(value[key])]
    if isinstance(value.get("message"), Mapping):
        ended = value.get("finish_reason")
        ends = {"finish_reason": ended} if isinstance(ended, str) else {}
        return [{**one, **ends} for one in _listed(value["message"])]
    if isinstance(value.get("data"), Mapping) and "type" in value:
        return [{"role": value["type"], **value["data"]}]
    return [value] if "content" in value or "tool_calls" in value else []


def _message(message: Mapping[str, Any], by_model: bool) -> dict[str, Any]:
    role = message.get("role")
    shown = role if isinstance(role, str) and role else "assistant" if by_model else "user"
    converted: dict[str, Any] = {"role": _ROLES.get(shown, shown), "parts": list(_parts(message))}
    if by_model:
        ended = next(
            (message[key] for key in ("finish_reason", "stop_reason") if isinstance(message.get(key), str)),
            "stop",
        )
        converted["finish_reason"] = ended
    return converted


def _parts(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    answers_call = message.get("tool_call_id")
    if isinstance(answers_call, str):
        yield {"type": "tool_call_response", "id": answers_call, "response": content}
        content = None
    for each in content if isinstance(content, list) else [content]:
        if isinstance(each, str):
            if each:
                yield {"type": "text", "content": each}
        elif isinstance(each, Mapping) and isinstance(each.get("text"), str):
            yield {"type": "text", "content": each["text"]}
        elif isinstance(each, Mapping) and each.get("type") in ("tool_use", "tool_call"):
            yield _tool_call(each, each.get("input", each.get("arguments", each.get("args"))))
        elif each is not None:
            yield {"type": "text", "content": json_text(each)}
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, Mapping):
            function = call.get("function")
            about = function if isinstance(function, Mapping) else call
            yield _tool_call({**call, "name": about.get("name")}, about.get("arguments", about.get("args")))


def _tool_call(call: Mapping[str, Any], arguments: Any) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "id": str(call.get("id") or ""),
        "name": str(call.get("name") or ""),
        "arguments": arguments,
    }


def _messages(side: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return messages under the names of both conventions."""
    attributes: dict[str, Any] = {f"gen_ai.{side}.messages": json_text(messages)}
    for number, message in enumerate(messages):
        begin = f"llm.{side}_messages.{number}.message"
        attributes[f"{begin}.role"] = message["role"]
        texts = [part["content"] for part in message["parts"] if part["type"] == "text"]
        texts += [
            part["response"] if isinstance(part["response"], str) else json_text(part["response"])
            for part in message["parts"]
            if part["type"] == "tool_call_response"
        ]
        if texts:
            attributes[f"{begin}.content"] = "\n".join(texts)
        calls = [part for part in message["parts"] if part["type"] == "tool_call"]
        for index, call in enumerate(calls):
            at = f"{begin}.tool_calls.{index}.tool_call"
            attributes |= {
                f"{at}.id": call["id"],
                f"{at}.function.name": call["name"],
                f"{at}.function.arguments": json_text(call["arguments"]),
            }
    return attributes
