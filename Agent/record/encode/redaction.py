"""The choke point: every byte that reaches the tree is made here, after secrets were replaced by tokens.

Clean payloads, which are nearly all, cost one sweep over their keys and one over their bytes. Only if a sweep
finds the format of a secret is the value examined in detail. The same secret always becomes the same keyed
token, so that comparisons and digests work on redacted values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import orjson

from Agent.event.model import RedactedBytes
from Agent.record.encode.redacted_values import BYTES_TAGS, PAIR_TAGS, TELLING_KEYS, RedactionWalk, Repeats
from Agent.record.encode.safe_text import printable
from Agent.record.secrets.names import NONE, SURE, is_below, least_secret_number, name_says
from Agent.record.secrets.patterns import replaced
from Agent.record.secrets.quick_look import looks_clean

if TYPE_CHECKING:
    from Agent.record.encode.capture_levels import CaptureLevels

# Keys of our own envelope and payloads, harmless whatever the names of secrets are.
OWN_KEYS = frozenset(
    {"session_id", "session_uid", "author", "authors", "fingerprint", "digest", "without_code", "message_id"}
)

_MAX_KNOWN_KEYS = 8192
_MOST_KEPT, _MOST_KEPT_BYTES = 64, 4096

# Texts up to this length are remembered where they hold no secret: names of classes and fields come again.
_SHORT = 64

# A text that is shorter can hold no secret with its name, and no vendor's key.
_SHORTEST = 7
_HIDING_TAGS = BYTES_TAGS | {"str", "tuple"}


class Redactor:
    """Checks keys and values, and replaces secrets by `[redacted:<16 hex>]`.

    Args:
        key: the secret key of the tokens; without it nobody can test a guess against a token.
        enabled: False leaves values unchanged; the bytes still pass through here.
    """

    def __init__(self, key: bytes, *, enabled: bool = True) -> None:
        from hashlib import blake2b

        self._blake2b = blake2b
        self._key = blake2b(key, digest_size=32).digest()
        self.enabled = enabled
        self.count = 0
        self.reads_texts = True
        """Whether texts are looked through, too, or what stands under the names of secrets alone."""
        self.levels: CaptureLevels | None = None
        """What is kept of values, where that is not the same of all."""
        self.looks_clean: Callable[[bytes], bool] = looks_clean
        """Whether no byte of a JSON text can belong to a secret; a judge in C says it faster."""
        self.known_keys: set[str] = set(OWN_KEYS)
        """Keys judged harmless."""
        self._clean: set[str] = set()
        self._harmless: set[tuple[bytes, str, tuple[tuple[str, str], ...]]] = set()
        self.number_keys: dict[str, float] = {}
        """Names of secrets, each with the size from which a number under it may be one."""

    def token(self, secret: str) -> str:
        """Return the token of a secret, the same at every time and place."""
        digest = self._blake2b(secret.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8)
        return f"[redacted:{digest.hexdigest()}]"

    def digest(self, data: bytes) -> str:
        """Return a keyed digest, 16 hex digits: equal for equal bytes, useless for testing a guess."""
        return self._blake2b(data, key=self._key, digest_size=8).hexdigest()

    def stream_digest(self, chunks: Iterable[bytes]) -> tuple[int, str]:
        """Return size and keyed digest of bytes that come in chunks."""
        hasher, size_bytes = self._blake2b(key=self._key, digest_size=8), 0
        for chunk in chunks:
            hasher.update(chunk)
            size_bytes += len(chunk)
        return size_bytes, hasher.hexdigest()

    def for_names_alone(self) -> Redactor:
        """Return a redactor with the same key that only replaces values under the name of a secret."""
        twin = copy(self)
        twin._harmless = set()  # noqa: SLF001 - of the same class
        twin.reads_texts = False
        return twin

    def says(self, key: str) -> int:
        """Return how certain a key names a secret: `NONE`, `LIKELY` or `SURE` of `names`."""
        if key in self.known_keys:
            return NONE
        says = name_says(key)
        if not key.isascii() and printable(key) != key:
            return says  # a known key is written as it stands, and UTF-8 has no lone surrogates
        if says == NONE and key not in TELLING_KEYS and len(self.known_keys) < _MAX_KNOWN_KEYS:
            self.known_keys.add(key)
        elif says != NONE and key not in self.number_keys and len(self.number_keys) < _MAX_KNOWN_KEYS:
            is_text_clean = self.text(key) == key
            self.number_keys[key] = least_secret_number(key, says) if is_text_clean else 0.0
        return says

    def keys_pass(self, payload: Mapping[str, Any]) -> bool:
        """Whether each key is known, and harmless for what stands under it; the hot path asks this."""
        return self.known_keys.issuperset(payload) or all(
            key in self.known_keys or is_below(item, self.number_keys.get(key, 0.0))
            for key, item in payload.items()
        )

    def is_denied(self, key: str) -> bool:
        """Tell whether everything under this key is a secret by its name."""
        return self.says(key) == SURE

    def is_harmless(self, names: Iterable[str], raw: bytes) -> bool:
        """Tell whether neither the keys, all known, nor the JSON can contain a secret; False: examine it."""
        if not self.enabled:
            return True
        return self.known_keys.issuperset(names) and (not self.reads_texts or self.looks_clean(raw))

    def text(self, text: str) -> str:
        """Return the text with every secret in it replaced."""
        if not self.enabled or not self.reads_texts or len(text) < _SHORTEST or text in self._clean:
            return text
        clean = replaced(text, self.counted_token)
        if clean is text and len(text) <= _SHORT:
            if len(self._clean) >= _MAX_KNOWN_KEYS:
                self._clean.clear()
            self._clean.add(text)
        return clean

    def counted_token(self, secret: str) -> str:
        """The token that stands for a secret of the recording."""
        self.count += 1
        return self.token(secret)

    def value(self, value: Any, pointer: str, types: dict[str, str], found: list[str] | None = None) -> Any:
        """The JSON value with secrets replaced.

        Args:
            value: a JSON value.
            pointer: where it stands.
            types: its tags; each pointer that changed is marked there.
            found: takes the secrets that names gave away, at most 16.
        """
        walk = RedactionWalk(self, types)
        clean = walk.value(value, pointer)
        if walk.found and self.reads_texts:
            clean = Repeats(self, walk.found).value(clean, pointer, types)
            if found is not None:
                found += walk.found
        return clean

    def payload(
        self, body: bytes, types: dict[str, str] | None, pointer: str, found: list[str] | None = None
    ) -> tuple[bytes, dict[str, str] | None]:
        """A JSON object's inner bytes (without its braces) looked at closely, and what `types` is then.

        `found` takes the secrets that names gave away.
        """
        if not self.enabled:
            return body, types
        # What many states say alike, such as the fields of a class, is looked at once where it is harmless.
        asked = (body, pointer, tuple(types.items()) if types else ())
        if asked in self._harmless:
            return body, types
        tags = dict(types) if types else {}
        clean = orjson.dumps(self.value(orjson.loads(b"{" + body + b"}"), pointer, tags, found))[1:-1]
        if clean == body and tags == (types or {}) and len(body) <= _MOST_KEPT_BYTES:
            if len(self._harmless) >= _MOST_KEPT:
                self._harmless.clear()
            self._harmless.add(asked)
        return clean, tags or None

    def without(
        self, secrets: Sequence[str], body: bytes, types: dict[str, str] | None, pointer: str
    ) -> tuple[bytes, dict[str, str] | None]:
        """A JSON object's inner bytes without these secrets, and what `types` is then."""
        if not any(orjson.dumps(secret)[1:-1] in body for secret in secrets) and not (
            types and hides_text(types)
        ):
            return body, types
        tags = dict(types) if types else {}
        clean = Repeats(self, secrets).value(orjson.loads(b"{" + body + b"}"), pointer, tags)
        return orjson.dumps(clean)[1:-1], tags or None

    def text_without(self, secrets: Sequence[str], text: str) -> str:
        """A text without these secrets."""
        return Repeats(self, secrets).text(text)

    def object(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """A whole JSON object, such as `session.json`, with secrets replaced."""
        if not self.enabled:
            return dict(value)
        result = self.value(dict(value), "", {})
        assert isinstance(result, dict)  # noqa: S101 - a dict stays one
        return result

    def arguments(self, argv: list[str]) -> list[str]:
        """A command line with the values behind secret options replaced."""
        if not self.enabled:
            return list(argv)
        result: list[str] = []
        hide_next = False
        for word in argv:
            name, equals, value = word.partition("=")
            is_secret = word.startswith("-") and self.says(name.lstrip("-")) != NONE
            if hide_next and not word.startswith("-"):
                result.append(self.token(word))
            elif is_secret and equals:
                result.append(f"{name}={self.token(value)}")
            else:
                result.append(self.text(word))
            hide_next = is_secret and not equals
        return result


def hides_text(types: Mapping[str, str]) -> bool:
    """Whether a tag says that a text stands in another form than its own, or a name in another place."""
    return any(tag in _HIDING_TAGS or tag.startswith(PAIR_TAGS) for tag in types.values())


def redacted(raw: bytes) -> RedactedBytes:
    """Mark bytes as having passed a `Redactor`; only this package may call it."""
    return RedactedBytes(raw)
