"""The byte forms that a text can take in a file: as it is, escaped, quoted for a URL, as base64.

`erase` finds by them what has to go, and proves by them that nothing of it is left.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

import orjson

__all__ = ["SHORTEST_BASE64", "ByteForms", "base64_forms"]

SHORTEST_BASE64: Final = 6
"""A shorter run of base64 stands in other data by chance; it is not looked for."""
_ESCAPED_TWICE: Final = ("JSON", "JSON in JSON")


def _json_forms(text: str) -> Iterator[bytes]:
    """The text inside a JSON string, with and without escapes for what is not ASCII; surrogates escaped."""
    yield json.dumps(text)[1:-1].encode()
    try:
        yield orjson.dumps(text)[1:-1]
    except orjson.JSONEncodeError:  # a lone surrogate, which stands as an escape alone
        return


def _escapes(text: str) -> Iterator[tuple[str, bytes]]:
    for once in dict.fromkeys(_json_forms(text)):
        yield _ESCAPED_TWICE[0], once
        for twice in dict.fromkeys(_json_forms(once.decode())):
            yield _ESCAPED_TWICE[1], twice
    yield "Python", repr(text)[1:-1].encode("utf-8", "backslashreplace")
    yield "Python", text.encode("unicode_escape")


def _quotes(raw: bytes) -> Iterator[bytes]:
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw), quote(raw, safe="/:@!$&'()*+,;=~")):
        yield quoted.encode()
        yield re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quoted).encode()


def base64_forms(raw: bytes) -> Iterator[bytes]:
    """What of the base64 of any bytes that hold these does not depend on what stands beside them."""
    for offset in range(3):
        bits = 8 * (offset + len(raw))
        encoded = base64.b64encode(b"\0" * offset + raw + b"\0\0")
        sure = encoded[-(-8 * offset // 6) : bits // 6]
        if len(sure) >= SHORTEST_BASE64:
            yield sure
            yield sure.translate(bytes.maketrans(b"+/", b"-_"))


class ByteForms:
    """The forms of one or more texts, and where they stand in bytes.

    Args:
        texts: what is looked for; not empty.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)
        names: dict[bytes, str] = {}
        for text in self.texts:
            raw = text.encode("utf-8", "surrogatepass")
            for name, form in (
                ("literal", raw),
                *_escapes(text),
                *(("URL", form) for form in _quotes(raw)),
                *(("base64", form) for form in base64_forms(raw)),
            ):
                names.setdefault(form, name)
        self._names = names
        self._has_base64 = all(
            any(True for _ in base64_forms(text.encode("utf-8", "surrogatepass"))) for text in self.texts
        )
        # The longest first, so that what is found is named by the form that it has.
        ordered = sorted(names, key=len, reverse=True)
        self._search = re.compile(b"|".join(map(re.escape, ordered))).search
        self.longest = max(map(len, ordered))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the forms that are looked for; base64 is not where it is too short."""
        always = ("literal", "JSON", "JSON in JSON", "Python", "URL")
        return (*always, "base64") if self._has_base64 else always

    def find(self, data: bytes) -> str | None:
        """The name of a form that stands in these bytes; None where none does."""
        found = self._search(data)
        return None if found is None else self._names[found[0]]

    def find_in_text(self, text: str) -> str | None:
        """The same for a text, such as the name of a file."""
        return self.find(text.encode("utf-8", "surrogatepass"))

    def find_in_stream(self, chunks: Iterable[bytes]) -> str | None:
        """The same for bytes that come in chunks, which are never in memory together."""
        held = b""
        for chunk in chunks:
            held += chunk
            found = self.find(held)
            if found is not None:
                return found
            held = held[-self.longest :]
        return None
