"""Any Python value in, plain JSON and sparse tags out; and back, exactly, where that is possible.

`encode_value` starts the walk of `walk.py`; `decode_value` folds the tags back by the table in
`codecs.py`, or makes a graph of objects again by `graph.py`. `serialise.py` comes next: it turns the outcome
into bytes, by a shorter way if it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from Agent.event.classes import class_name
from Agent.event.limits import DEFAULT_LIMITS, Limits
from Agent.event.pointers import fold_tags
from Agent.event.values.class_codecs import Binding
from Agent.event.values.graph import Graph, Unrestored, restore_tag
from Agent.event.values.opaque import shorten
from Agent.event.values.reading import USUAL, AgentOf, Reading
from Agent.event.values.registered import register_codec
from Agent.event.values.walk import BudgetSpent, RepeatsSpent, Walk

__all__ = [
    "DEFAULT_LIMITS",
    "AgentOf",
    "Encoded",
    "Limits",
    "Unrestored",
    "decode_value",
    "encode_value",
    "register_codec",
]


class Encoded(NamedTuple):
    """A value as it is recorded."""

    value: Any
    """Plain JSON that shares nothing with the original."""
    types: dict[str, str]
    """{JSON Pointer: tag}, empty for plain values."""
    opaque: tuple[str, ...]
    """Pointers of what cannot be restored."""


def encode_value(
    value: object,
    pointer: str = "",
    limits: Limits = DEFAULT_LIMITS,
    agent_of: AgentOf | None = None,
    reading: Reading = USUAL,
) -> Encoded:
    """The value as plain JSON with tags; never raises, whatever the value does.

    Args:
        value: anything.
        pointer: where it will stand in its event, as a JSON Pointer; the pointers in the outcome begin so.
        limits: what lies beyond is cut.
        agent_of: tells agents from other objects; an agent is recorded as its id.
        reading: how the content of values without a codec is read.
    """
    try:
        walk = Walk(limits, agent_of, cutting=False, reading=reading, start=pointer)
        return Encoded(walk.whole(value, pointer), walk.types, tuple(walk.opaque))
    except RepeatsSpent:
        limits = limits.usual()
    except BudgetSpent:
        pass  # too large as a whole: below it is walked once more, and cut
    except Exception as error:  # noqa: BLE001 - recording may not raise into the program that it records
        return _given_up(value, pointer, error)
    try:
        # Within a budget that leaves room for what cuts add.
        walk = Walk(limits, agent_of, cutting=True, reading=reading, start=pointer)
        return Encoded(walk.whole(value, pointer), walk.types, tuple(walk.opaque))
    except Exception as error:  # noqa: BLE001
        return _given_up(value, pointer, error)


def _given_up(value: object, pointer: str, error: BaseException) -> Encoded:
    name = class_name(type(value))
    form = {"repr": shorten(f"<{name} object>"), "class": name, "failure": class_name(type(error))}
    return Encoded({**form, "unseen": "it could not be read"}, {pointer: "opaque"}, (pointer,))


def decode_value(
    value: Any,
    types: Mapping[str, str] | None,
    pointer: str = "",
    codecs: Mapping[str, Any] | None = None,
    unrestored: list[str] | None = None,
) -> Any:
    """The recorded value as the Python value that it was; what cannot be bound is an `Unrestored`.

    Args:
        value: the recorded JSON; it is not changed and shares nothing with the outcome.
        types: the tags of its event.
        pointer: where the value stands in its event.
        codecs: {`module.QualName` in a tag: the class that it means here}; a factory of a defaultdict may be
            any callable, and under `agent` may stand a callable from an agent's id to the object, under
            `stand_in` one from the name of a class to what stands for a task of the recorded process.
        unrestored: collects the pointers of what could not be restored, where given.
    """
    if not types:
        return fold_tags(value, {}, pointer, _never)
    binding = Binding(codecs)
    if "opaque" in types.values():
        graph = Graph(value, types, pointer, binding)
        made = graph.made()
        if unrestored is not None:
            unrestored.extend(graph.unrestored)
        return made

    def restore(tag: str, node: Any, at: str) -> Any:
        restored = restore_tag(tag, node, binding)
        if type(restored) is Unrestored and unrestored is not None:
            unrestored.append(at)
        return restored

    return fold_tags(value, types, pointer, restore, unrestored)


def _never(tag: str, node: Any, at: str) -> Any:
    raise AssertionError(f"a tag {tag} at {at} on {node} where there are none")
