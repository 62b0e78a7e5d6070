"""What goes through a graph of LangGraph as plain values, which need none of its classes to be read.

Messages, and what nodes say to the graph (`Command`, `Send` and their like), have a form each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from Agent.flight.integrations.driving import interface

__all__ = ["FRAMEWORK", "made_ids", "plain_values", "restored_values"]

FRAMEWORK: Final = "langgraph"
MESSAGE: Final = "langchain.message"
"""The key of a message among recorded values."""
_SAID: Final = {
    "Command": ("graph", "update", "resume", "goto"),
    "Send": ("node", "arg"),
    "Interrupt": ("value", "id"),
    "Overwrite": ("value",),
}
"""What nodes say to their graph, by class of `langgraph.types`, and the attributes of each."""
_PLAIN = (str, int, float, bool, bytes, type(None))


def plain_values(value: Any) -> Any:
    """The values of a graph with all that is LangGraph's own in a plain form; shared values stay shared."""
    return _plain(value, {})


def _plain(value: Any, made: dict[int, tuple[Any, Any]]) -> Any:
    """The plain form of one value; `made` has those that were met, with their forms."""
    if isinstance(value, _PLAIN):
        return value
    if id(value) in made:
        return made[id(value)][1]
    made[id(value)] = value, value  # within itself a value stands as it is
    form = _form(value, made)
    made[id(value)] = value, form
    return form


def _form(value: Any, made: dict[int, tuple[Any, Any]]) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each, made) for key, each in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(_plain(each, made) for each in value)
    messages = interface("langchain_core.messages", "langchain-core")
    if isinstance(value, messages.BaseMessage):
        return {MESSAGE: messages.message_to_dict(value)}
    name = type(value).__name__
    if name in _SAID and type(value) is getattr(interface("langgraph.types", FRAMEWORK), name, None):
        return {f"{FRAMEWORK}.{name}": {each: _plain(getattr(value, each), made) for each in _SAID[name]}}
    return value


def restored_values(value: Any) -> Any:
    """The values of a graph back from that."""
    if isinstance(value, dict):
        found = _marked(value)
        if found is None:
            return {key: restored_values(each) for key, each in value.items()}
        name, body = found
        if name == MESSAGE:
            return interface("langchain_core.messages", "langchain-core").messages_from_dict([body])[0]
        made = getattr(interface("langgraph.types", FRAMEWORK), name)
        return made(**{each: restored_values(part) for each, part in body.items()})
    if type(value) in {list, tuple}:
        return type(value)(restored_values(each) for each in value)
    return value


def made_ids(value: Any) -> Iterator[str]:
    """The ids of messages and interrupts among plain values: LangGraph makes those by chance."""
    pending, seen = [value], set[int]()
    while pending:
        node = pending.pop()
        if not isinstance(node, (dict, list, tuple)) or id(node) in seen:
            continue
        seen.add(id(node))
        found = _marked(node) if isinstance(node, dict) else None
        if found is not None:
            name, body = found
            identity = (body.get("data") or {}).get("id") if name == MESSAGE else body.get("id")
            if isinstance(identity, str):
                yield identity
        pending += node.values() if isinstance(node, dict) else node


def _marked(value: dict[Any, Any]) -> tuple[str, dict[str, Any]] | None:
    """What a plain form stands for, and its body; None of any other mapping."""
    if len(value) != 1:
        return None
    ((key, body),) = value.items()
    if not isinstance(key, str) or not isinstance(body, dict):
        return None
    name = key if key == MESSAGE else key.removeprefix(f"{FRAMEWORK}.")
    return (name, body) if name == MESSAGE or (name != key and name in _SAID) else None
