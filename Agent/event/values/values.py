"""Any Python value in, plain JSON and sparse tags out; and back, exactly, where that is possible.

`encode_value` starts the walk of `walk.py`; `decode_value` folds the tags back by the table in
`codecs.py`. `serialise.py` comes next: it turns the outcome into bytes, by a shorter way if it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from Agent.event.classes import class_name, restore_attributes
from Agent.event.limits import DEFAULT_LIMITS, Limits
from Agent.event.locks import is_name_of_lock, make_lock
from Agent.event.pointers import fold_tags
from Agent.event.values.class_codecs import Binding
from Agent.event.values.codecs import BUILDERS
from Agent.event.values.content import content_of, is_plain_class
from Agent.event.values.opaque import CONTENT, OBJECT, STAND_IN, OpaqueKind, shorten
from Agent.event.values.reading import USUAL, Reading
from Agent.event.values.registered import REGISTERED, REGISTERED_NAMES, RegisteredCodec, register_codec
from Agent.event.values.walk import AgentOf, BudgetSpent, RepeatsSpent, Walk

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


class Unrestored:
    """Stands where a recorded value could not be brought back: its tag, and what was recorded.

    For a container the recorded form holds restored children; that of a `defaultdict` whose factory is not
    known is the dict.
    """

    __slots__ = ("tag", "value")

    def __init__(self, tag: str, value: Any) -> None:
        self.tag = tag
        self.value = value

    def __repr__(self) -> str:
        return f"Unrestored({self.tag!r}, {self.value!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is Unrestored and self.tag == other.tag and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((Unrestored, self.tag))


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

    def restore(tag: str, node: Any, at: str) -> Any:
        restored = _restore(tag, node, binding)
        if type(restored) is Unrestored and unrestored is not None:
            unrestored.append(at)
        return restored

    return fold_tags(value, types, pointer, restore, unrestored)


def _never(tag: str, node: Any, at: str) -> Any:
    raise AssertionError(f"a tag {tag} at {at} on {node} where there are none")


def _codec_of(name: str, binding: Binding) -> RegisteredCodec:
    """The codec registered for the class of a name, which may be that of a script that is imported here."""
    return REGISTERED_NAMES.get(name) or REGISTERED[binding.find(name, lambda _: True)]


def _restore(tag: str, node: Any, binding: Binding) -> Any:
    if type(tag) is not str:
        return Unrestored(str(type(tag)), node)
    name, _, argument = tag.partition(":")
    try:
        if name == "registered":
            return _codec_of(argument, binding).decode(node)
        if name == "agent" and "agent" in binding.codecs:
            return binding.codecs["agent"](node)
        if name == STAND_IN:
            return binding.codecs[STAND_IN](argument)
        if name == "opaque":
            return _made_again(node, binding)
        if name == OBJECT:
            return _filled(argument, node, binding)
        builder = BUILDERS.get(name)
        if builder is not None:
            return builder(node, argument, binding)
    except Exception:  # noqa: BLE001 - whatever stands on disk, and whatever a class does with it
        return Unrestored(tag, _content(name, node))
    return Unrestored(tag, node)


def _made_again(form: Any, binding: Binding) -> Any:
    """An object of a plain class made again from its form; LookupError unless its content is the recorded."""
    if type(form) is not dict or "same_as" in form:
        raise LookupError("another occurrence of an object")
    if OpaqueKind.HANDLE in form:
        return make_lock(form["class"], form[CONTENT])
    if STAND_IN in form and STAND_IN not in binding.codecs:
        raise LookupError("it holds what belonged to the recorded process")
    is_shown = not is_name_of_lock(form["class"])  # of a lock that somebody held attributes say too little
    made = _filled(form["class"], form.get(CONTENT, form.get("attributes") if is_shown else None), binding)
    if STAND_IN not in form and content_of(made).text != form["digest"]:
        raise LookupError("another content")
    return made


def _filled(name: str, attributes: Any, binding: Binding) -> Any:
    if type(attributes) is not dict or any(type(value) is Unrestored for value in attributes.values()):
        raise LookupError("attributes that cannot be restored")
    if is_name_of_lock(name):
        return make_lock(name, attributes)
    made: Any = object.__new__(binding.find(name, is_plain_class))
    restore_attributes(made, attributes)
    return made


def _content(name: str, node: Any) -> Any:
    """What an unbound value holds, in the form that helps most: pairs of a defaultdict as a dict."""
    if name == "defaultdict" and type(node) is list:
        try:
            return {key: value for key, value in node}  # noqa: C416 - a pair of another shape must raise
        except (TypeError, ValueError):
            return node
    return node
