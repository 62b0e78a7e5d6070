"""Arguments that a call changed in place, as `args_after` in its event: a replay that answers it does it too.

Asked for only where a replay may answer the call, and where the arguments as a whole are not the bytes that
they were at entry. What was changed is written as it is behind the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from Agent.event.classes import attributes_of
from Agent.event.values.plain import SCALARS
from Agent.record.encode.native import native

if TYPE_CHECKING:
    from Agent.record.encode.capture import Capture
    from Agent.record.encode.fast_encoder import Types

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
    """The name of the argument that the call gave back itself, None if there is none that can change."""
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
    given_back, found = result_is(arguments, result), None
    body = b"" if given_back is None else b'"result_is":%s,' % orjson.dumps(given_back)
    may_be: dict[str, Any] = {}
    for name, value in arguments.items():
        kind = type(value)
        if cannot_change((kind,)):
            continue
        if kind in _CONTAINERS or capture.agent_of is None or capture.agent_of(value) is None:
            may_be[name] = value
    if was_plain:
        changed = _changed_of_plain(capture, may_be, entry)
    else:
        changed = _changed(capture, may_be, arguments, entry, types)
    if changed:
        raw, found = _written(capture, changed)
        body += raw + b","
    return body, found


def _changed_of_plain(capture: Capture, arguments: Mapping[str, Any], entry: bytes) -> dict[str, Any]:
    """Those of the arguments that are not what they were, where all were plain."""
    before = orjson.loads(b"{%s}" % entry)["args"]
    changed = {}
    for name, value in arguments.items():
        raw = capture.judge.value(value)
        if raw is None or orjson.dumps(before.get(name)) != raw:
            changed[name] = value
    return changed


def _changed(
    capture: Capture,
    may_be: Mapping[str, Any],
    arguments: Mapping[str, Any],
    entry: bytes,
    types: Types | None,
) -> dict[str, Any]:
    """The same for any others, of all arguments together: an object may stand in more than one of them."""
    if not may_be:
        return {}
    before = orjson.loads(b"{%s}" % entry)["args"]
    body, found = capture.body({"args": dict(arguments)})
    now = orjson.loads(b"{%s}" % body)["args"]
    return {
        name: value
        for name, value in may_be.items()
        if orjson.dumps(now[name]) != orjson.dumps(before.get(name))
        or _tags_of(name, found) != _tags_of(name, types)
    }


def _tags_of(name: str, types: Types | None) -> Types:
    at = f"/extra/args/{name}"
    return {place: tag for place, tag in (types or {}).items() if place == at or place.startswith(f"{at}/")}


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
            continue  # its attributes are hidden: it stays in the recording as opaque, which a replay names
    return capture.body({"args_after": shown})
