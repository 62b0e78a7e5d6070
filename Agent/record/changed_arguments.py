"""Arguments that a call changed in place, as `args_after` in its event: a replay that answers it does it too.

Asked for only where a replay may answer the call, and only of arguments that can change. Those that did not
cost the bytes of each once more; what was changed is written as it is behind the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from Agent.event.classes import attributes_of
from Agent.event.plain import SCALARS

if TYPE_CHECKING:
    from Agent.record.capture import Capture
    from Agent.record.judge import Types

_AT = "/extra/args/"
_CONTAINERS = frozenset({list, dict, set, bytearray})
cannot_change = (SCALARS | {bytes, complex, frozenset}).issuperset
"""Whether values of these types stay what they are."""


def args_after(
    capture: Capture, arguments: Mapping[str, Any], entry: bytes, types: Types | None, result: object
) -> tuple[bytes, Types | None]:
    """`"args_after":{...},"result_is":"name",` with its tags; nothing for what nobody changed or gave back.

    Args:
        arguments: as they are now.
        entry: `"args":{...}` as it was recorded at entry.
        types: the tags of that.
        result: what the call gave; where it is one of the arguments, its name is told.
    """
    changed: dict[str, Any] = {}
    body, found = b"", None
    for name, value in arguments.items():
        kind = type(value)
        if cannot_change((kind,)):
            continue
        if value is result:
            body = b'"result_is":%s,' % orjson.dumps(name)
        if kind not in _CONTAINERS and capture.agent_of is not None and capture.agent_of(value) is not None:
            continue
        if _is_changed(capture, name, value, entry, types):
            changed[name] = value
    if changed:
        raw, found = _written(capture, changed)
        body += raw + b","
    return body, found


def _is_changed(capture: Capture, name: str, value: object, entry: bytes, types: Types | None) -> bool:
    raw = capture.judge.value(value)
    if raw is not None and not types:
        if b'"%s":%s' % (name.encode("utf-8", "replace"), raw) in entry:
            return False
        now, tags = orjson.loads(raw), {}
    else:
        body, found = capture.body({name: value}, "/extra/args")
        now, tags = orjson.loads(b"{%s}" % body)[name], found or {}
    before = orjson.loads(b"{%s}" % entry)["args"].get(name)
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
