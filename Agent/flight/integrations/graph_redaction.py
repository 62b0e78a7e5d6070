"""Replaces the secrets in values that LangGraph serialized, by the rules of recordings.

The values are MessagePack. Objects in them are extensions that hold their module, class and arguments, and
stay so: an object with a secret argument is restored with a token in its place.
"""

from __future__ import annotations

from typing import Any, Final

import ormsgpack

from Agent.errors import UsageError
from Agent.event.pointers import escape
from Agent.flight.checkpoints.graph_file import is_encrypted
from Agent.record.encode.redaction import Redactor

_OBJECT: Final = "\0object"
_BYTES: Final = "\0bytes"
_PAIRS: Final = "\0pairs"
_ARRAY: Final = "\0array"
"""The only key of a mapping that stands for what JSON lacks."""
_ARRAY_CODE: Final = 6
"""The code of numpy's arrays among LangGraph's extensions: (type, shape, order, bytes)."""
_NON_TEXT_KEYS: Final = ormsgpack.OPT_NON_STR_KEYS


def without_secrets(redactor: Redactor, typed: tuple[str, bytes]) -> tuple[str, bytes]:
    """Return a serialized value without its secrets; one that has none, and an encrypted one, as it is.

    Args:
        redactor: makes the tokens.
        typed: (kind, bytes) as LangGraph's serializer gives it.

    Raises:
        UsageError: it is serialized in a way that cannot be read here, such as pickle.
    """
    kind, raw = typed
    if not redactor.enabled or kind == "null" or is_encrypted(kind):
        return typed
    if kind in {"bytes", "bytearray"}:
        return kind, redactor.text(raw.decode("latin-1")).encode("latin-1")
    if kind != "msgpack":
        raise UsageError(
            f"TraceSaver cannot find secrets in values that are serialized as {kind!r}",
            remedy="use LangGraph's own serializer, its EncryptedSerializer, or TraceSaver(redact=False)",
        )
    form = _JsonForm(redactor)
    types: dict[str, str] = {}
    told = form.told(form.unpacked(raw), "", types)
    clean = redactor.value(told, "", types)
    return typed if clean == told else (kind, form.packed(clean))


class _JsonForm:
    """One MessagePack value as JSON, and back."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._arrays: list[bytes] = []

    def unpacked(self, raw: bytes) -> Any:
        """The value, with its extensions as mappings."""
        return ormsgpack.unpackb(raw, ext_hook=self._extension, option=_NON_TEXT_KEYS)

    def _extension(self, code: int, data: bytes) -> Any:
        held = self.unpacked(data)
        if code != _ARRAY_CODE:
            return {_OBJECT: [code, held]}
        text = _text_in(held[0], held[3])
        if text is not None and self._redactor.text(text) != text:
            return self._redactor.counted_token(text)
        # an array's bytes are kept aside: they hold numbers, and a shape that a token would not fit
        self._arrays.append(data)
        return {_ARRAY: len(self._arrays) - 1}

    def told(self, value: Any, pointer: str, types: dict[str, str]) -> Any:
        """What was unpacked as JSON, with tags by which the redactor knows pairs of keys and values."""
        if isinstance(value, bytes):
            return {_BYTES: value.decode("latin-1")}
        if isinstance(value, list | tuple):
            return [self.told(item, f"{pointer}/{at}", types) for at, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if all(isinstance(key, str) for key in value):
            return {key: self.told(item, f"{pointer}/{escape(key)}", types) for key, item in value.items()}
        place = f"{pointer}/{escape(_PAIRS)}"
        types[place] = "map"
        return {
            _PAIRS: [
                [self.told(part, f"{place}/{at}/{which}", types) for which, part in enumerate(pair)]
                for at, pair in enumerate(value.items())
            ]
        }

    def packed(self, clean: Any) -> bytes:
        """The bytes of a value as JSON."""
        return ormsgpack.packb(self._packable(clean), option=_NON_TEXT_KEYS)

    def _packable(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._packable(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((key, held),) = value.items()
            if key == _OBJECT and isinstance(held, list):
                return ormsgpack.Ext(held[0], self.packed(held[1]))
            if key == _BYTES:
                return held.encode("latin-1")
            if key == _ARRAY and isinstance(held, int):
                return ormsgpack.Ext(_ARRAY_CODE, self._arrays[held])
            if key == _PAIRS and isinstance(held, list):
                return {_hashable(self._packable(name)): self._packable(item) for name, item in held}
        return {key: self._packable(item) for key, item in value.items()}


def _hashable(key: Any) -> Any:
    return tuple(map(_hashable, key)) if isinstance(key, list) else key


def _text_in(array_type: str, data: bytes) -> str | None:
    """The text in the bytes of an array, if its type is one of text: U with 4 bytes a character, S with 1."""
    if array_type[1:2] == "U":
        return data.decode("utf-32-be" if array_type[0] == ">" else "utf-32-le").replace("\0", "\n")
    return data.decode("latin-1").replace("\0", "\n") if array_type[1:2] == "S" else None
