"""Arguments that a call changed in place, as `args_after` in its event: a replay that answers it does it too.

Asked for only where a replay may answer the call, and where the arguments as a whole are not the bytes that
they were at entry. What was changed is written as it is behind the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from Agent.event.classes import attributes_of
from Agent.event.plain import SCALARS
from Agent.record.native import native

if TYPE_CHECKING:
    from Agent.record.capture import Capture
    from Agent.record.judge import Types

_AT = "/extra/args/"
_CONTAINERS = frozenset({list, dict, set, bytearray})
cannot_change = (SCALARS | {bytes, complex, frozenset}).issuperset
"""Whether values of these types stay what they are."""


def _held(arguments: dict[str, Any]) -> tuple[Any, ...] | None:
    return None if cannot_change(map(type, arguments.values())) else ()


def _still_holds(_arguments: dict[str, Any], _held: tuple[Any, ...]) -> bool:
    return False


held: Callable[[dict[str, Any]], tuple[Any, ...] | None] = _held if native is None else native.held
"""Of plain arguments: all objects in them, or () for too many; None where no argument can change."""
still_holds: Callable[[dict[str, Any], tuple[Any, ...]], bool] = (
    _still_holds if native is None else native.still_holds
)
"""Whether they hold those very objects, so that nothing changed; False means: compare them as JSON."""


def result_is(arguments: Mapping[str, Any], result: object) -> str | None:
    """The name of the argument that the call gave back itself, None where there is none that can change."""
    found = None
    for name, value in arguments.items():
        if value is result and not cannot_change((type(value),)):
            found = name
    return found


def args_after(
    capture: Capture,
    arguments: Mapping[str, Any],
    entry: bytes,
    types: Types | None,
    result: object,
    *,
    was_plain: bool = False,
) -> tuple[bytes, Types | None]:
    """`"args_after":{...},"result_is":"name",` with its tags; nothing for what nobody changed or gave back.

    Args:
        arguments: as they are now.
        entry: `"args":{...}` as it was recorded at entry.
        types: the tags of that.
        result: what the call gave; where it is one of the arguments, its name is told.
        was_plain: the entry is what the judge gave, in which no secret was replaced yet.
    """
    changed: dict[str, Any] = {}
    given_back, found = result_is(arguments, result), None
    body = b"" if given_back is None else b'"result_is":%s,' % orjson.dumps(given_back)
    for name, value in arguments.items():
        kind = type(value)
        if cannot_change((kind,)):
            continue
        if kind not in _CONTAINERS and capture.agent_of is not None and capture.agent_of(value) is not None:
            continue
        if _is_changed(capture, name, value, entry, types, was_plain=was_plain):
            changed[name] = value
    if changed:
        raw, found = _written(capture, changed)
        body += raw + b","
    return body, found


def _is_changed(
    capture: Capture, name: str, value: object, entry: bytes, types: Types | None, *, was_plain: bool
) -> bool:
    before = orjson.loads(b"{%s}" % entry)["args"].get(name)
    if was_plain:
        raw = capture.judge.value(value)
        return raw is None or bool(orjson.dumps(before) != raw)
    body, found = capture.body({name: value}, "/extra/args")
    now, tags = orjson.loads(b"{%s}" % body)[name], found or {}
    at = _AT + name
    known = {place: tag for place, tag in (types or {}).items() if place == at or place.startswith(at + "/")}
    return bool(orjson.dumps(now) != orjson.dumps(before) or tags != known)


def _written(capture: Capture, changed: Mapping[str, Any]) -> tuple[bytes, Types | None]:
    """The arguments as they are now; of an object without a codec its attributes, which can be put back."""
    raw, types = capture.body({"args_after": dict(changed)})
    opaque = [name for name in changed if (types or {}).get(f"/extra/args_after/{name}") == "opaque"]
    if not opaque:
        return raw, types
    shown = dict(changed)
    for name in opaque:
        try:
            shown[name] = attributes_of(changed[name])
        except (ValueError, AttributeError, TypeError):
            continue  # it hides them: a replay names it
    return capture.body({"args_after": shown})
