"""Values as bytes: plain payloads in one sweep and one call of the codec, everything else with care.

Careful means: the value codec with its tags and bounds, then redaction of what came out. Either way the
result is the inside of one JSON object, ready to stand in a line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from Agent.event.limits import DEFAULT_LIMITS, Limits
from Agent.event.plain import DUMP_OPTIONS, SCALARS, any_nonfinite
from Agent.event.pointers import escape
from Agent.event.serialise import to_json
from Agent.record.redaction import Redactor, hides_text, looks_clean

_MAX_PLAIN_DEPTH = 8

Types = dict[str, str]
AgentOf = Callable[[object], str | None]


_all_scalars = SCALARS.issuperset
_no_floats = (SCALARS - {float}).issuperset


def is_plain(payload: Mapping[str, Any], known_keys: set[str]) -> bool:
    """Whether plain JSON holds these values exactly and every key below is known to be harmless."""
    for value in payload.values():
        kind = type(value)
        if kind is dict:
            if not known_keys.issuperset(value):
                return False
            if not _all_scalars(map(type, value.values())) and not is_deeply_plain(value, known_keys):
                return False
        elif kind is list:
            if not _all_scalars(map(type, value)) and not is_deeply_plain(value, known_keys):
                return False
        elif kind not in SCALARS:
            return False
    return True


def is_deeply_plain(value: Any, known_keys: set[str], depth: int = 0) -> bool:
    """The same for the items of one container."""
    if depth > _MAX_PLAIN_DEPTH:
        return False
    for item in value.values() if type(value) is dict else value:
        kind = type(item)
        if kind is dict:
            if not known_keys.issuperset(item):
                return False
            if not _all_scalars(map(type, item.values())) and not is_deeply_plain(
                item, known_keys, depth + 1
            ):
                return False
        elif kind is list:
            if not _all_scalars(map(type, item)) and not is_deeply_plain(item, known_keys, depth + 1):
                return False
        elif kind not in SCALARS:
            return False
    return True


def holds_nonfinite(value: Any) -> bool:
    """Whether a NaN or an infinity stands somewhere in a plain container; the codec would write null."""
    children = list(value.values() if type(value) is dict else value)
    return any_nonfinite(children) or any(
        holds_nonfinite(child) for child in children if type(child) is dict or type(child) is list
    )


def _is_finite(value: Any) -> bool:
    """Whether orjson wrote no null for a number of the value."""
    if type(value) is dict or type(value) is list:
        return not holds_nonfinite(value)
    return not any_nonfinite((value,))


class Capture:
    """Makes payload bytes for one pipeline."""

    def __init__(
        self, redactor: Redactor, limits: Limits = DEFAULT_LIMITS, agent_of: AgentOf | None = None
    ) -> None:
        self.redactor = redactor
        self.limits = limits
        self.known_keys = redactor.known_keys
        self.agent_of = agent_of
        self.careful_count = 0
        self._check = redactor.enabled
        self._unread_bytes = limits.unread_bytes

    def body(self, payload: Mapping[str, Any], pointer: str = "/extra") -> tuple[bytes, Types | None]:
        """The payload's inner JSON bytes, redacted, and the tags of what plain JSON cannot hold.

        The keys of `payload` itself are taken as harmless: they are ours, or were judged by the caller.
        """
        try:
            if is_plain(payload, self.known_keys):
                raw = orjson.dumps(payload, None, DUMP_OPTIONS)[1:-1]
                if (
                    len(raw) <= self._unread_bytes
                    and (not self._check or looks_clean(raw))
                    and (raw.find(b"null") < 0 or not holds_nonfinite(dict(payload)))
                ):
                    return raw, None
        except Exception:  # noqa: BLE001 - a key that cannot be hashed, a dict that changes: the careful way knows
            self.careful_count += 1
        return self.careful_body(payload, pointer)

    def plain_value(self, value: Any) -> bytes | None:
        """The JSON bytes of one plain value; None where it has to go through `body`.

        The bytes are not yet looked through for secrets in texts: `is_clean` does that for several at once.
        """
        kind = type(value)
        try:
            if kind is dict:
                if not self.known_keys.issuperset(value):
                    return None
                if _no_floats(map(type, value.values())):
                    raw = orjson.dumps(value, None, DUMP_OPTIONS)
                    return raw if len(raw) <= self._unread_bytes else None
            elif value is None:
                return b"null"
            elif kind is not list and (kind not in SCALARS or value != value):
                return None
            if (kind is dict or kind is list) and not is_deeply_plain(value, self.known_keys):
                return None
            raw = orjson.dumps(value, None, DUMP_OPTIONS)
        except Exception:  # noqa: BLE001 - a strange key, a dict that changes meanwhile: `body` knows
            return None
        if len(raw) > self._unread_bytes or (raw.find(b"null") >= 0 and not _is_finite(value)):
            return None
        return raw

    def is_clean(self, raw: bytes) -> bool:
        """Whether nothing in the JSON bytes has the shape of a secret."""
        return not self._check or looks_clean(raw)

    def careful_body(self, payload: Mapping[str, Any], pointer: str) -> tuple[bytes, Types | None]:
        """The same with every value looked at one by one."""
        self.careful_count += 1
        parts: list[bytes] = []
        types: Types = {}
        for key, value in payload.items():
            dumped = to_json(value, f"{pointer}/{escape(key)}", self.limits, self.agent_of)
            parts.append(orjson.dumps(key) + b":" + dumped.json)
            if dumped.types:
                types.update(dumped.types)
        return self._redact(b",".join(parts), types or None, pointer, own_keys=frozenset(payload))

    def user_body(self, payload: Mapping[Any, Any], pointer: str) -> tuple[bytes, Types | None]:
        """The same for a mapping whose own keys are the user's."""
        try:
            if type(payload) is dict and self.known_keys.issuperset(payload):
                return self.body(payload, pointer)
        except Exception:  # noqa: BLE001 - a key with a broken __hash__ or __eq__ goes the careful way
            self.careful_count += 1
        dumped = to_json(payload, pointer, self.limits, self.agent_of)
        raw, types = dumped.json, dumped.types
        if not raw.startswith(b"{") or (types and pointer in types):
            # Not a plain mapping of text keys: it stands under one key, tagged as what it is.
            moved = {f"{pointer}/value{known[len(pointer) :]}": tag for known, tag in (types or {}).items()}
            return self._redact(b'"value":' + raw, moved or None, pointer, own_keys=frozenset({"value"}))
        return self._redact(raw[1:-1], types, pointer, own_keys=frozenset())

    def _redact(
        self, body: bytes, types: Types | None, pointer: str, *, own_keys: frozenset[str]
    ) -> tuple[bytes, Types | None]:
        if not self._check:
            return body, types
        value = orjson.loads(b"{" + body + b"}")
        known_keys = self.known_keys
        keys_known = all(key in known_keys or key in own_keys for key in value)
        if (
            keys_known
            and all(map(self._keys_known, value.values()))
            and looks_clean(body)
            and not (types and hides_text(types))
        ):
            return body, types
        self.known_keys.update(own_keys)
        return self.redactor.payload(body, types, pointer)

    def _keys_known(self, value: Any) -> bool:
        """Whether every key in a JSON value is known to be harmless."""
        if type(value) is dict:
            if not self.known_keys.issuperset(value):
                return False
            value = value.values()
        elif type(value) is not list:
            return True
        for item in value:
            if (type(item) is dict or type(item) is list) and not self._keys_known(item):
                return False
        return True
