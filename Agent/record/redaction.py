"""The choke point: every byte that reaches the tree is made here, after secrets were replaced by tokens.

Clean payloads, nearly all of them, pay for one sweep over their keys and one over their bytes. Only where a
sweep finds the shape of a secret is the value taken apart. The same secret becomes the same token, keyed, so
that comparisons and digests keep working over redacted values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from Agent.event.model import RedactedBytes
from Agent.event.pointers import escape

_DENIED_WORDS = (
    "password passwd passphrase pwd secret apikey api_key access_key private_key secret_key auth_token "
    "access_token refresh_token id_token bearer_token session_token credential credentials authorization "
    "cookie set_cookie client_secret connection_string csrf xsrf jwt ssn credit_card card_number cvv"
).split()
# A bare `token` or `auth` is a secret; `tokens`, `token_count`, `prompt_tokens`, `author` are not.
_DENIED_EXACT = frozenset({"token", "auth", "pin", "otp"})
_DENIED_KEY = re.compile("|".join(_DENIED_WORDS))
_KEY_SEPARATORS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\s.\-]+")

# Keys of our own envelope and payloads that would otherwise look like secrets.
OWN_KEYS = frozenset(
    {"session_id", "session_uid", "author", "authors", "fingerprint", "digest", "message_id"}
)

_MAX_KNOWN_KEYS = 8192

# Searched in bytes that were made small before: a search that folds case itself takes three times as long.
_SECRET_PREFIX = re.compile(
    rb"[sprkghxaneo](?:k[-_]|h[pousr]_|ithub_pat_|lpat-|ox|[ksgr][ipo]a|iza|pm_|ypi-|f_|yj)"
).search
_SECRET_NAME = re.compile(rb"secret|key|token|passw|pwd|asic |earer |sg\.").search
_HEX = b"0123456789abcdefABCDEF-"
_SECRET_NAME_ENDS = (b"password", b"passwd", b"secret", b"key", b"token", b"pwd")

# Bytes that long tokens are made of become `a`, all others a blank: one find then sees any run of 20.
_TOKEN_CLASS = bytes(
    97 if (chr(byte).isalnum() and byte < 128) or byte in b"-_+/" else 32 for byte in range(256)
)
_LONG_RUN = b"a" * 20

_SHAPES = r"""
    (?P<key>\b(?:sk|pk|rk)[-_](?:live|test|proj|ant|or|svcacct)?[-_A-Za-z0-9]{16,}
      | \bgh[pousr]_[A-Za-z0-9]{16,} | \bgithub_pat_[A-Za-z0-9_]{16,} | \bglpat-[A-Za-z0-9_\-]{16,}
      | \bxox[abeoprs]-[A-Za-z0-9\-]{10,} | \b(?:AKIA|ASIA|AGPA|AROA)[0-9A-Z]{12,} | \bAIza[0-9A-Za-z_\-]{30,}
      | \bnpm_[A-Za-z0-9]{30,} | \bpypi-[A-Za-z0-9_\-]{16,} | \bhf_[A-Za-z0-9]{16,} | \bSG\.[A-Za-z0-9_\-.]{20,}
      | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{4,}(?:\.[A-Za-z0-9_\-]*)? )
    | (?P<pem>-----BEGIN[ ][A-Z ]{0,40}PRIVATE[ ]KEY-----.{0,20000}?(?:-----END[ ][A-Z ]{0,40}PRIVATE[ ]KEY-----|\Z))
    | (?P<scheme>\b(?:[Bb]earer|[Bb]asic)[ ]+)(?P<credential>[A-Za-z0-9_\-.=+/~]{8,})
    | (?P<before>://[^\s:/@"']{0,200}:)(?P<userinfo>[^\s/@"']{1,200})(?=@)
    | (?P<name>\b[A-Za-z_\-]{0,40}(?:password|passwd|secret|api_?key|access_?key|token|pwd)["']?[ ]{0,3}[=:][ ]{0,3}["']?)
      (?P<value>[^\s"'&,;]{4,200})
"""
_ANCHORS = (
    "sk-", "sk_", "pk_", "rk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "AKIA",
    "ASIA", "AGPA", "AROA", "AIza", "npm_", "pypi-", "hf_", "SG.", "eyJ", "PRIVATE KEY", "earer ", "asic ",
)  # fmt: skip
_NAMED_ANCHORS = ("assw", "ecret", "api", "ccess", "oken", "pwd", "PASS", "SECRET", "API", "ACCESS", "TOKEN")


@lru_cache(maxsize=1)
def _shapes() -> re.Pattern[str]:
    """The shapes of secrets, compiled when the first text has to be looked at closely."""
    return re.compile(_SHAPES, re.VERBOSE | re.DOTALL | re.IGNORECASE)


class Redactor:
    """Judges keys and values, and replaces secrets by `[redacted:<16 hex>]`.

    Args:
        key: the secret by which tokens are made; without it nobody can test a guess against a token.
        enabled: False leaves values as they are; the bytes still pass through here.
    """

    def __init__(self, key: bytes, *, enabled: bool = True) -> None:
        from hashlib import blake2b

        self._blake2b = blake2b
        self._key = blake2b(key, digest_size=32).digest()
        self.enabled = enabled
        self.count = 0
        self.known_keys: set[str] = set(OWN_KEYS)
        """Keys judged harmless; the hot path asks `known_keys.issuperset(payload)`."""
        self._denied: set[str] = set()

    def token(self, secret: str) -> str:
        """The token that stands for this secret, the same at every time and place."""
        digest = self._blake2b(secret.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8)
        return f"[redacted:{digest.hexdigest()}]"

    def is_denied(self, key: str) -> bool:
        """Whether what stands under this key is a secret by its name."""
        if key in self.known_keys:
            return False
        if key in self._denied:
            return True
        plain = _KEY_SEPARATORS.sub("_", key).lower()
        denied = plain in _DENIED_EXACT or _DENIED_KEY.search(plain) is not None
        bucket = self._denied if denied else self.known_keys
        if len(bucket) < _MAX_KNOWN_KEYS:
            bucket.add(key)
        return denied

    def text(self, text: str) -> str:
        """The text with every secret in it replaced."""
        if not self.enabled or not _may_hold_secret(text):
            return text
        return _shapes().sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        self.count += 1
        for prefix, secret in (("scheme", "credential"), ("before", "userinfo"), ("name", "value")):
            if match.group(secret) is not None:
                if match.group(secret).startswith("[redacted:"):
                    return match.group()
                return match.group(prefix) + self.token(match.group(secret))
        return self.token(match.group())

    def value(self, value: Any, pointer: str, types: dict[str, str]) -> Any:
        """The JSON value with secrets replaced; each pointer that changed is marked in `types`."""
        if isinstance(value, str):
            clean = self.text(value)
            if clean is not value and clean != value:
                types[pointer] = "redacted"
            return clean
        if isinstance(value, dict):
            return {
                self.text(key): self._denied_value(item, f"{pointer}/{escape(key)}", types)
                if self.is_denied(key)
                else self.value(item, f"{pointer}/{escape(key)}", types)
                for key, item in value.items()
            }
        if isinstance(value, list):
            if types.get(pointer) == "map":
                return [self._pair(pair, f"{pointer}/{index}", types) for index, pair in enumerate(value)]
            return [self.value(item, f"{pointer}/{index}", types) for index, item in enumerate(value)]
        return value

    def _pair(self, pair: Any, pointer: str, types: dict[str, str]) -> Any:
        """One [key, value] of a mapping with other than text keys."""
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and self.is_denied(pair[0]):
            return [pair[0], self._denied_value(pair[1], f"{pointer}/1", types)]
        return self.value(pair, pointer, types)

    def _denied_value(self, value: Any, pointer: str, types: dict[str, str]) -> Any:
        if value is None or isinstance(value, bool):
            return value
        self.count += 1
        for inner in [known for known in types if known == pointer or known.startswith(pointer + "/")]:
            del types[inner]
        types[pointer] = "redacted"
        return self.token(value if isinstance(value, str) else orjson.dumps(value).decode())

    def payload(
        self, body: bytes, types: dict[str, str] | None, pointer: str
    ) -> tuple[bytes, dict[str, str] | None]:
        """A JSON object's inner bytes (without its braces) looked at closely, and what `types` is then."""
        if not self.enabled:
            return body, types
        tags = dict(types) if types else {}
        clean = self.value(orjson.loads(b"{" + body + b"}"), pointer, tags)
        return orjson.dumps(clean)[1:-1], tags or None

    def object(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """A whole JSON object, such as `session.json`, with secrets replaced."""
        if not self.enabled:
            return dict(value)
        result = self.value(dict(value), "", {})
        assert isinstance(result, dict)  # noqa: S101 - a dict stays one
        return result

    def arguments(self, argv: list[str]) -> list[str]:
        """A command line with the values behind secret options replaced."""
        result: list[str] = []
        hide_next = False
        for word in argv:
            name, equals, value = word.partition("=")
            is_secret = word.startswith("-") and self.is_denied(name.lstrip("-"))
            if hide_next and not word.startswith("-"):
                result.append(self.token(word))
            elif is_secret and equals:
                result.append(f"{name}={self.token(value)}")
            else:
                result.append(self.text(word))
            hide_next = is_secret and not equals
        return result


def looks_clean(raw: bytes) -> bool:
    """Whether no byte of the JSON text can belong to the shape of a secret; False means: look closely."""
    classes = raw.translate(_TOKEN_CLASS)
    # `find` and not `in`, which costs half as much again for bytes.
    position = classes.find(_LONG_RUN)
    if position >= 0 and not _runs_are_harmless(raw, classes, position):
        return False
    if 61 in raw and not _assignments_are_harmless(raw):  # a byte value: "="
        return False
    if 64 in raw and b"://" in raw:  # "@"
        return False
    # `w` is rare, and looking for one byte costs a tenth of looking for four.
    return 119 not in raw or raw.find(b"assw") < 0


def _runs_are_harmless(raw: bytes, classes: bytes, position: int) -> bool:
    """Whether each long run (a UUID, a path, a long name) neither holds the mark of a secret nor is named so."""
    while position >= 0:
        end = classes.find(b" ", position + 20)
        if end < 0:
            end = len(raw)
        token = raw[position:end]
        # UUIDs and digests are the usual long runs; no vendor's key is made of their characters alone.
        if token.strip(_HEX) and _SECRET_PREFIX(token.lower()):
            return False
        # A string of its own stands under a key, which is judged by its name elsewhere.
        if raw[position - 1] != 34 and _SECRET_NAME(raw[max(0, position - 24) : position].lower()):  # a quote
            return False
        position = classes.find(_LONG_RUN, end)
    return True


def _assignments_are_harmless(raw: bytes) -> bool:
    """Whether no `=` stands behind the name of a secret."""
    position = raw.find(b"=")
    while position >= 0:
        name = raw[max(0, position - 16) : position].rstrip(b" \\\"'").lower()
        if name.endswith(_SECRET_NAME_ENDS):
            return False
        position = raw.find(b"=", position + 1)
    return True


def _may_hold_secret(text: str) -> bool:
    if any(anchor in text for anchor in _ANCHORS):
        return True
    if "@" in text and "://" in text:
        return True
    return ("=" in text or ":" in text) and any(anchor in text for anchor in _NAMED_ANCHORS)


def redacted(raw: bytes) -> RedactedBytes:
    """Say that these bytes went through a `Redactor`; only this room calls it."""
    return RedactedBytes(raw)
