"""The choke point: every byte that reaches the tree is made here, after secrets were replaced by tokens.

Clean payloads, nearly all of them, pay for one sweep over their keys and one over their bytes. Only where a
sweep finds the shape of a secret is the value taken apart. The same secret becomes the same token, keyed, so
that comparisons and digests keep working over redacted values.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

import orjson

from Agent.event.model import RedactedBytes
from Agent.event.pointers import escape
from Agent.record.secret_shapes import is_secret_name, may_be_number, replaced

if TYPE_CHECKING:
    from Agent.record.capture_levels import CaptureLevels

# Keys of our own envelope and payloads, harmless whatever the names of secrets are.
OWN_KEYS = frozenset(
    {"session_id", "session_uid", "author", "authors", "fingerprint", "digest", "message_id"}
)

_MAX_KNOWN_KEYS = 8192

# Searched in bytes that were made small before: a search that folds case itself takes three times as long.
# A key begins at the beginning of its run, behind an escaped character, or behind a separator.
KEY_BEGINNINGS = (
    *b"sk- sk_ rk_l rk_t pk_l pk_t whsec_ ghp_ gho_ ghu_ ghs_ ghr_ github_pat glpat- gldt- glrt-".split(),
    *b"glsoat- glcbt- glptt- glsa_ xox xapp- akia asia agpa aroa aida aiza gocspx npm_ pypi- hf_".split(),
    *b"gsk_ xai- pplx- r8_ doo_v dop_v dor_v dapi shp lin_api sq0 dckr pcsk_ atatt nrak- age-s eyj".split(),
)
"""What a vendor's key begins with, in small letters, within a run of letters, digits and -_+/."""
NAMES_NEARBY = (
    *b"secret key token pass pwd".split(),
    b"asic ",
    b"earer ",
    *b"sg. ya29. hvs. hvb. hvr. cookie auth sig=".split(),
)
"""What makes a long run behind it suspicious."""
_SECRET_PREFIX = re.compile(
    rb"(?:^(?:[nrtbf]|u[0-9a-f]{4})?|[-_+/])(?:" + b"|".join(map(re.escape, KEY_BEGINNINGS)) + rb")"
).search
_SECRET_NAME = re.compile(b"|".join(map(re.escape, NAMES_NEARBY)) + rb"|\d{8}:").search
_HEX = b"0123456789abcdefABCDEF-"


def _class_of(byte: int) -> int:
    """What a byte counts as in `looks_clean`: `a` in a token, `!` where a closer look may be needed."""
    if byte < 128 and (chr(byte).isalnum() or byte in b"-_+/"):
        return 97
    return 33 if byte in b"=@'\\" else 32


# One pass over the bytes turns the searches that follow into searches among three letters.
_CLASSES = bytes(map(_class_of, range(256)))
_RUN_END = re.compile(rb"[^a]").search
_LONG_RUN = b"a" * 20

# A text that is shorter can hold no secret with its name, and no vendor's key.
_SHORTEST = 7
_BYTES_TAGS = frozenset({"bytes", "bytearray"})
_PAIR_TAGS = ("map", "Counter", "defaultdict", "OrderedDict")
_CREDENTIAL = re.compile(r"(?i)((?:bearer|basic|token)[ ]+)(\S.*)", re.DOTALL)
_MARK = "[redacted:"
_HIDING_TAGS = _BYTES_TAGS | {"str", "tuple"}
NAME_ENDS = tuple(
    b"password passwords passwd pass phrase passcode pwd secret token tokens key keys auth authorization "
    b"authorisation cred creds credential credentials cookie cookies card number string sig key_id".split()
)
"""How the name of a secret ends, in small letters."""
# What may stand between a name and its sign: a quote, a blank, a number.
_BETWEEN = b" \\\"'0123456789_]"
# A header that is an object, in JSON, in JSON inside a text, and as Python shows it.
_HEADER_VALUE = re.compile(rb"""value(?:":"|\\":|':)""").search
_HEADER_NAME = re.compile(
    rb"""(?:name|key|header)\\?["'][ ]?:[ ]?\\?["'][\w\-. ]{0,40}?(?i:auth|key|token|secret|cookie|pass)"""
).search
_HEADER_NAMES = ("name", "key", "header")
_LAST_LETTERS = frozenset(name[-3:] for name in NAME_ENDS)


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
        self.reads_texts = True
        """Whether texts are looked through, too, or what stands under the names of secrets alone."""
        self.levels: CaptureLevels | None = None
        """What is kept of values, where that is not the same of all."""
        self.known_keys: set[str] = set(OWN_KEYS)
        """Keys judged harmless; the hot path asks `known_keys.issuperset(payload)`."""
        self._denied: set[str] = set()

    def token(self, secret: str) -> str:
        """The token that stands for this secret, the same at every time and place."""
        digest = self._blake2b(secret.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8)
        return f"[redacted:{digest.hexdigest()}]"

    def digest(self, data: bytes) -> str:
        """A keyed digest, 16 hex digits: equal for equal bytes, and nothing to test a guess against."""
        return self._blake2b(data, key=self._key, digest_size=8).hexdigest()

    def stream_digest(self, chunks: Iterable[bytes]) -> tuple[int, str]:
        """Size and keyed digest of bytes that come in chunks."""
        hasher, size_bytes = self._blake2b(key=self._key, digest_size=8), 0
        for chunk in chunks:
            hasher.update(chunk)
            size_bytes += len(chunk)
        return size_bytes, hasher.hexdigest()

    def for_names_alone(self) -> Redactor:
        """One of the same key that replaces what stands under the name of a secret, and reads no texts."""
        twin = copy(self)
        twin.reads_texts = False
        return twin

    def is_denied(self, key: str) -> bool:
        """Whether what stands under this key is a secret by its name."""
        if key in self.known_keys:
            return False
        if key in self._denied:
            return True
        denied = is_secret_name(key)
        bucket = self._denied if denied else self.known_keys
        if len(bucket) < _MAX_KNOWN_KEYS:
            bucket.add(key)
        return denied

    def is_harmless(self, names: Iterable[str], raw: bytes) -> bool:
        """Whether neither the names, all known, nor the JSON can hold a secret; False means: look closely."""
        if not self.enabled:
            return True
        return self.known_keys.issuperset(names) and (not self.reads_texts or looks_clean(raw))

    def text(self, text: str) -> str:
        """The text with every secret in it replaced."""
        if not self.enabled or not self.reads_texts or len(text) < _SHORTEST:
            return text
        return replaced(text, self._counted_token)

    def _counted_token(self, secret: str) -> str:
        self.count += 1
        return self.token(secret)

    def value(self, value: Any, pointer: str, types: dict[str, str]) -> Any:
        """The JSON value with secrets replaced; each pointer that changed is marked in `types`."""
        if isinstance(value, str):
            return self._string(value, pointer, types)
        if isinstance(value, dict):
            hidden = "value" if "value" in value and _names_secret(value) else None
            return {
                clean: self._under(
                    "password" if key == hidden else key, item, self._place(pointer, key, clean, types), types
                )
                for key, item in value.items()
                for clean in (self.text(key),)
            }
        if isinstance(value, list):
            tag = types.get(pointer, "") if types else ""
            if tag.startswith(_PAIR_TAGS):
                return [self._pair(pair, f"{pointer}/{index}", types) for index, pair in enumerate(value)]
            if tag == "tuple" and len(value) == 2:
                return self._pair(value, pointer, types)
            return [self.value(item, f"{pointer}/{index}", types) for index, item in enumerate(value)]
        return value

    def _string(self, value: str, pointer: str, types: dict[str, str]) -> str:
        tag = types.get(pointer) if types else None
        told = _plain_text(value, tag)
        clean = self.text(told)
        if clean == told:
            return value
        types[pointer] = "redacted"
        # Of bytes nothing is kept: what is left of them would no longer be base64.
        return self.token(told) if tag in _BYTES_TAGS else clean.encode("utf-8", "backslashreplace").decode()

    def _place(self, pointer: str, key: str, clean: str, types: dict[str, str]) -> str:
        """The pointer of what stands under a key; tags follow a key that held a secret itself."""
        place = f"{pointer}/{escape(clean)}"
        if clean != key:
            old = f"{pointer}/{escape(key)}"
            for known in [known for known in types if known == old or known.startswith(old + "/")]:
                types[place + known[len(old) :]] = types.pop(known)
        return place

    def _under(self, key: str, value: Any, pointer: str, types: dict[str, str]) -> Any:
        """A value that stands under a key."""
        if not self.is_denied(key) or _is_directory(key, value):
            return self.value(value, pointer, types)
        if value in ("", None, [], {}) or isinstance(value, bool):
            return value
        if isinstance(value, (int, float)) and may_be_number(key):
            return value
        if isinstance(value, str) and value.startswith(_MARK):
            return value
        for inner in [known for known in types if known == pointer or known.startswith(pointer + "/")]:
            del types[inner]
        types[pointer] = "redacted"
        if not isinstance(value, str):
            return self._counted_token(orjson.dumps(value).decode())
        # "Bearer abc" under `authorization` is the same secret as "abc" under `token`.
        scheme = _CREDENTIAL.fullmatch(value)
        if scheme is not None:
            return scheme[1] + self._counted_token(scheme[2])
        return self._counted_token(value)

    def _pair(self, pair: Any, pointer: str, types: dict[str, str]) -> Any:
        """A [key, value] of a mapping with other than text keys, or of a list of headers."""
        if not isinstance(pair, list):
            return self.value(pair, pointer, types)
        if len(pair) != 2 or not isinstance(pair[0], str):
            return [self.value(item, f"{pointer}/{index}", types) for index, item in enumerate(pair)]
        name = _plain_text(pair[0], types.get(f"{pointer}/0"))
        return [
            self.value(pair[0], f"{pointer}/0", types),
            self._under(name, pair[1], f"{pointer}/1", types),
        ]

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
        if not self.enabled:
            return list(argv)
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
    classes = raw.translate(_CLASSES)
    # `find` and not `in`, which costs half as much again; a single byte is found at a tenth of the price.
    position = classes.find(_LONG_RUN)
    if position >= 0 and not _runs_are_harmless(raw, classes, position):
        return False
    if 33 in classes and not _marks_are_harmless(raw):
        return False
    # `w` is rare.
    if 119 in raw and raw.find(b"assw") >= 0:
        return False
    return _texts_are_harmless(raw)


def _texts_are_harmless(raw: bytes) -> bool:
    """Whether no credential is introduced by its scheme, by an option, by `name:` or by a header's name."""
    if 32 in raw:
        if raw.find(b"earer ") >= 0 or raw.find(b"asic ") >= 0:
            return False
        if raw.find(b"--") >= 0 and not _names_are_harmless(raw, b" ", raw.rfind(b" ")):
            return False
    # Of JSON's own colons each stands behind a quote.
    others = raw.replace(b'":', b'";')
    if 58 in others and not _names_are_harmless(others, b":", others.rfind(b":")):
        return False
    position = raw.find(b"value")
    return position < 0 or not (_HEADER_VALUE(raw, position) and _HEADER_NAME(raw))


def _marks_are_harmless(raw: bytes) -> bool:
    """Whether no `=`, `@`, backslash or apostrophe belongs to a secret."""
    if 61 in raw and not _names_are_harmless(raw, b"=", raw.rfind(b"=")):
        return False
    if 64 in raw and b"://" in raw:
        return False
    if 92 in raw and (
        raw.find(b"PRIVATE KEY") >= 0
        or not _names_are_harmless(raw, b'\\":', raw.rfind(b'\\":'))
        or not _names_are_harmless(raw, b'\\",', raw.rfind(b'\\",'))
    ):
        return False
    return 39 not in raw or (
        _names_are_harmless(raw, b"':", raw.rfind(b"':"))
        and _names_are_harmless(raw, b"',", raw.rfind(b"',"))
    )


def _runs_are_harmless(raw: bytes, classes: bytes, position: int) -> bool:
    """Whether each long run (a UUID, a path) neither holds the mark of a secret nor is named so."""
    while position >= 0:
        stop = _RUN_END(classes, position + 20)
        end = stop.start() if stop else len(raw)
        token = raw[position:end]
        # UUIDs and digests are the usual long runs; no vendor's key is made of their characters alone.
        if token.strip(_HEX) and _SECRET_PREFIX(token.lower()):
            return False
        # A string of its own stands under a key, which is judged by its name elsewhere.
        if raw[position - 1] != 34 and _SECRET_NAME(raw[max(0, position - 24) : position].lower()):  # a quote
            return False
        position = classes.find(_LONG_RUN, end)
    return True


def _names_are_harmless(raw: bytes, sign: bytes, position: int) -> bool:
    """Whether no name of a secret stands before any of these signs, of which the last is at that place."""
    while position >= 0:
        before = raw[position - 20 if position > 20 else 0 : position].rstrip(_BETWEEN)
        if before[-3:].lower() in _LAST_LETTERS and before.lower().endswith(NAME_ENDS):
            return False
        position = raw.rfind(sign, 0, position)
    return True


def _names_secret(header: Mapping[str, Any]) -> bool:
    """Whether an object such as `{"name": "Authorization", "value": ...}` names a secret."""
    names = [header.get(key) for key in _HEADER_NAMES]
    return any(isinstance(name, str) and is_secret_name(name) for name in names)


def hides_text(types: Mapping[str, str]) -> bool:
    """Whether a tag says that a text stands in another form than its own, or a name in another place."""
    return any(tag in _HIDING_TAGS or tag.startswith(_PAIR_TAGS) for tag in types.values())


def _plain_text(value: str, tag: str | None) -> str:
    """The text that a string of the record stands for, which may be one of bytes or of lone surrogates."""
    try:
        if tag in _BYTES_TAGS:
            return a2b_base64(value).decode("latin-1")
        if tag == "str":
            return value.encode("ascii").decode("unicode_escape")
    except ValueError:
        return value
    return value


def redacted(raw: bytes) -> RedactedBytes:
    """Say that these bytes went through a `Redactor`; only this room calls it."""
    return RedactedBytes(raw)


def _is_directory(key: str, value: Any) -> bool:
    """Whether it is the shell's variable for the directory that one is in, and no password."""
    return key in {"PWD", "OLDPWD"} and isinstance(value, str) and value.startswith("/")
