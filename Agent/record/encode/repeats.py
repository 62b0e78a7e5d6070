"""Replaces secrets that are already known wherever else they occur in a value."""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

from Agent.event.pointers import escape

BYTES_TAGS = frozenset({"bytes", "bytearray"})
PAIR_TAGS = ("map", "Counter", "defaultdict", "OrderedDict")
_SAFE: Final = 8


class Tokens(Protocol):
    """Makes the tokens: a `Redactor`."""

    def token(self, secret: str) -> str:
        """Return the token of a secret."""

    def counted_token(self, secret: str) -> str:
        """Return the token of a secret in the recording, and count the replacement."""


class Repeats:
    """Replaces known secrets wherever they occur in texts.

    Args:
        redactor: makes the tokens.
        secrets: the secrets; one below 8 characters is found only without adjacent letters or digits.
    """

    def __init__(self, redactor: Tokens, secrets: Sequence[str]) -> None:
        self._redactor = redactor
        self._search = _expression_of(tuple(sorted(set(secrets), key=len, reverse=True)))

    def text(self, text: str) -> str:
        """Return the text without the secrets."""
        return self._search.sub(lambda match: self._redactor.counted_token(match[0]), text)

    def value(self, value: Any, pointer: str, types: dict[str, str], *, keeps_keys: bool = True) -> Any:
        """Return the JSON value without the secrets, and mark each changed pointer in `types`.

        A mapping in which a key changes is marked as a whole: nobody can look up the key any more.

        Args:
            keeps_keys: whether the keys of this mapping are names that recording or the code chose.
        """
        if isinstance(value, str):
            tag = types.get(pointer) if types else None
            shown = plain_text(value, tag)
            clean = self.text(shown)
            if clean == shown:
                return value
            types[pointer] = "redacted"
            return (
                self._redactor.token(shown)
                if tag in BYTES_TAGS
                else clean.encode("utf-8", "backslashreplace").decode()
            )
        if isinstance(value, dict):
            if not keeps_keys and types.get(pointer, "redacted").startswith(("redacted", *PAIR_TAGS)):
                value = self._with_clean_keys(value, pointer, types)
            return {
                key: self.value(item, f"{pointer}/{escape(key)}", types, keeps_keys=key in _HOLD_NAMES)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [
                self.value(item, f"{pointer}/{index}", types, keeps_keys=False)
                for index, item in enumerate(value)
            ]
        return value

    def _with_clean_keys(self, value: dict[str, Any], pointer: str, types: dict[str, str]) -> dict[str, Any]:
        """Return the mapping without the secrets in its own keys; the tags move with their values."""
        changed = {key: clean for key in value if (clean := self.text(key)) != key}
        if not changed:
            return value
        for key, clean in changed.items():
            old, place = f"{pointer}/{escape(key)}", f"{pointer}/{escape(clean)}"
            for known in [each for each in types if each == old or each.startswith(old + "/")]:
                types[place + known[len(old) :]] = types.pop(known)
        types[pointer] = "redacted"
        return {changed.get(key, key): item for key, item in value.items()}


_HOLD_NAMES = frozenset("args kwargs attributes error_attributes error_members error_cause".split())
"""Members whose own keys are names of parameters, of attributes, or of recording itself."""


@lru_cache(maxsize=64)
def _expression_of(secrets: tuple[str, ...]) -> re.Pattern[str]:
    forms = [
        re.escape(one) if len(one) >= _SAFE else rf"(?<![^\W_]){re.escape(one)}(?![^\W_])" for one in secrets
    ]
    return re.compile("|".join(forms))


def plain_text(value: str, tag: str | None) -> str:
    """Decode a recorded string by its tag: bytes from base64, a text with lone surrogates from escapes."""
    try:
        if tag in BYTES_TAGS:
            return a2b_base64(value).decode("latin-1")
        if tag == "str":
            return value.encode("ascii").decode("unicode_escape")
    except ValueError:
        return value
    return value
