"""The choke point: every byte that reaches the tree is made here, after secrets were replaced by tokens.

Clean payloads, which are nearly all, cost one sweep over their keys and one over their bytes. Only if a
sweep finds the format of a secret does `RedactionWalk` examine the value: names can stand over a value in a
mapping, before it in a pair or a list, or beside it in an object that names a member. The same secret
always becomes the same keyed token, so that comparisons and digests work on redacted values.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from typing import Any, Protocol

import orjson

from Agent.event.model import RedactedBytes
from Agent.event.pointers import escape
from Agent.event.values.plain import read_json, write_json
from Agent.record.encode.safe_text import printable
from Agent.record.secrets.issuers import looks_clean
from Agent.record.secrets.names import (
    LIKELY,
    NONE,
    SURE,
    is_below,
    least_secret_number,
    looks_drawn,
    may_be_number,
    name_says,
    plain_name,
)
from Agent.record.secrets.patterns import command_secrets, replaced, scheme_and_credential

BYTES_TAGS = frozenset({"bytes", "bytearray"})
PAIR_TAGS = ("map", "Counter", "defaultdict", "OrderedDict")
_COMMON_SCHEMES = frozenset({"bearer", "basic", "token"})
_MARK = "[redacted:"
_SAYS_NONE = frozenset("none null nil undefined true false enabled disabled required optional".split())
"""Texts that say whether there is a secret."""
TELLING_KEYS = frozenset({"kty"})
"""Harmless keys beside which others are none: they send their mapping the careful way each time."""
_PRIVATE_MEMBERS = frozenset("d k p q dp dq qi oth".split())
"""The members of a JSON Web Key that are private (RFC 7518, section 6)."""

# The members of an object that name what another of its members holds, as headers, variables and forms do.
_NAMING = frozenset(
    "name key header field param parameter variable option attribute setting property".split()
)
_LABELING = frozenset("id label selector placeholder title element arg".split())
_HELD = frozenset("value v val text content contents data input default string".split())

# A mapping of these keys alone under the name of a secret describes one, as a tool's parameters do.
_SCHEMA_KEYS = frozenset(
    "$ref $comment $id $schema additionalProperties allOf anyOf const default deprecated "
    "description dependencies enum example examples exclusiveMaximum exclusiveMinimum format "
    "items maxItems maxLength maxProperties maximum minItems minLength minProperties minimum "
    "multipleOf not nullable oneOf pattern properties readOnly required strict title type "
    "uniqueItems writeOnly".split()
)
_SCHEMA_MARKS = frozenset("$ref allOf anyOf oneOf enum properties".split())
_SCHEMA_TYPES = frozenset("string number integer boolean object array null".split())
_SCHEMA_VALUES = frozenset("const default example examples".split())

_COLUMNS = frozenset("columns column_names fields field_names header names".split())
_ROWS = frozenset("row rows data values records".split())

_MAX_REPEATED, _SHORTEST_REPEATED, _SAFE_REPEATED, _LONGEST_REPEATED = 16, 4, 8, 4096


class RedactionWalk:
    """Replaces the secrets of one JSON value.

    Args:
        redactor: makes the tokens and judges keys.
        types: the tags of the value by pointer; each pointer that changes is marked in it.
    """

    def __init__(self, redactor: Redactor, types: dict[str, str]) -> None:
        self.redactor = redactor
        self.types = types
        self.found: list[str] = []
        """Secrets that were replaced and may be repeated elsewhere, at most 16."""

    def value(self, value: Any, pointer: str) -> Any:
        """The value without its secrets."""
        if isinstance(value, str):
            return self._string(value, pointer)
        if isinstance(value, dict):
            return self._members(value, pointer, _named_members(value))
        if isinstance(value, list):
            return self._items(value, pointer)
        return value

    def _members(self, value: dict[str, Any], pointer: str, named: Mapping[str, int]) -> dict[str, Any]:
        result = {}
        columns = _columns_of(value)
        for key, item in value.items():
            clean = self.redactor.text(key)
            place = self._place(pointer, key, clean)
            if columns and key in _ROWS and isinstance(item, list):
                result[clean] = self._rows(columns, item, place)
                continue
            says = max(self.redactor.says(key), named.get(key, NONE))
            result[clean] = self._under(key, says, item, place)
        return result

    def _rows(self, columns: list[str], rows: list[Any], pointer: str) -> list[Any]:
        """Rows of a table, or its only one, whose values are named by their columns."""
        if len(rows) == len(columns) and not any(isinstance(item, list) for item in rows):
            return self._row(columns, rows, pointer)
        return [
            self._row(columns, row, f"{pointer}/{index}")
            if isinstance(row, list) and len(row) == len(columns)
            else self.value(row, f"{pointer}/{index}")
            for index, row in enumerate(rows)
        ]

    def _row(self, columns: list[str], row: list[Any], pointer: str) -> list[Any]:
        return [
            self._under(name, self.redactor.says(name), item, f"{pointer}/{index}")
            for index, (name, item) in enumerate(zip(columns, row, strict=True))
        ]

    def _items(self, value: list[Any], pointer: str) -> list[Any]:
        tag = self.types.get(pointer, "") if self.types else ""
        if tag.startswith(PAIR_TAGS) or _are_pairs(value):
            return [self._pair(pair, f"{pointer}/{index}") for index, pair in enumerate(value)]
        if tag == "tuple" and len(value) == 2:
            pair: list[Any] = self._pair(value, pointer)
            return pair
        result: list[Any] = []
        before = ""
        words = [
            self._told(item, f"{pointer}/{index}") if isinstance(item, str) else ""
            for index, item in enumerate(value)
        ]
        carried = command_secrets(words) if self.redactor.reads_texts else {}
        for index, (item, told) in enumerate(zip(value, words, strict=True)):
            place = f"{pointer}/{index}"
            if index in carried:
                at = carried[index] if told == item else 0
                result.append(item[:at] + self._hidden(item[at:], place))
            elif told and before and self._follows(before, told):
                result.append(self._hidden(item, place))
            else:
                result.append(self.value(item, place))
            before = told
        return result

    def _follows(self, name: str, value: str) -> bool:
        """Whether a text of a list is the secret that the text before it names, as in `--password X`."""
        if " " in name or value.startswith(("-", _MARK)):
            return False
        says = self.redactor.says(name.lstrip("-"))
        return says != NONE and (looks_drawn(value) or (says == SURE and name.startswith("--")))

    def _string(self, value: str, pointer: str) -> str:
        tag = self.types.get(pointer) if self.types else None
        told = _plain_text(value, tag)
        clean = self.redactor.text(told)
        if clean == told:
            return value
        self.types[pointer] = "redacted"
        # Of bytes nothing is kept: what is left of them would no longer be base64.
        return (
            self.redactor.token(told)
            if tag in BYTES_TAGS
            else clean.encode("utf-8", "backslashreplace").decode()
        )

    def _told(self, value: str, pointer: str) -> str:
        return _plain_text(value, self.types.get(pointer) if self.types else None)

    def _place(self, pointer: str, key: str, clean: str) -> str:
        """The pointer of what stands under a key; tags follow a key that held a secret itself."""
        place = f"{pointer}/{escape(clean)}"
        if clean != key:
            old = f"{pointer}/{escape(key)}"
            for known in [known for known in self.types if known == old or known.startswith(old + "/")]:
                self.types[place + known[len(old) :]] = self.types.pop(known)
        return place

    def _under(self, key: str, says: int, value: Any, pointer: str) -> Any:
        """A value that stands under a key."""
        if (
            says == NONE
            or value in ("", None, [], {})
            or isinstance(value, bool)
            or _is_directory(key, value)
        ):
            return self.value(value, pointer)
        if isinstance(value, (int, float)):
            return value if says == LIKELY or may_be_number(key, value) else self._hidden(value, pointer)
        if isinstance(value, str) and (value.startswith(_MARK) or value.lower() in _SAYS_NONE):
            return value
        if says == LIKELY:
            return self._likely(value, pointer)
        if isinstance(value, dict) and _is_schema(value):
            named = dict.fromkeys(_SCHEMA_VALUES, SURE)
            return self._members(value, pointer, named)
        if isinstance(value, str) and self._told(value, pointer) == value:
            # "Bearer abc" under `authorization` is the same secret as "abc" under `token`.
            split = scheme_and_credential(value)
            if split is not None and _keeps_scheme(key, split[0]):
                return split[0] + self._hidden(split[1], pointer)
        return self._hidden(value, pointer)

    def _likely(self, value: Any, pointer: str) -> Any:
        """A value whose name may be that of a secret: what looks drawn in it is one."""
        if isinstance(value, list):
            return [self._likely(item, f"{pointer}/{index}") for index, item in enumerate(value)]
        if isinstance(value, dict):
            return self._members(value, pointer, dict.fromkeys(value, LIKELY))
        if isinstance(value, str) and looks_drawn(self._told(value, pointer)):
            return self._hidden(value, pointer)
        return self.value(value, pointer)

    def _hidden(self, value: Any, pointer: str) -> str:
        """The token for a whole value."""
        told = self._told(value, pointer) if isinstance(value, str) else ""
        # Class and digest of an object are no secrets, whatever it holds.
        is_form = isinstance(value, dict) and self.types.get(pointer) == "opaque"
        held = value.get("attributes") if is_form else value
        for inner in [known for known in self.types if known == pointer or known.startswith(pointer + "/")]:
            del self.types[inner]
        self.types[pointer] = "redacted"
        for text in [told] if told else _texts_in(held):
            if len(self.found) < _MAX_REPEATED and worth_finding(text):
                self.found.append(text)
        return self.redactor.counted_token(value if isinstance(value, str) else orjson.dumps(value).decode())

    def _pair(self, pair: Any, pointer: str) -> Any:
        """A [key, value] of a mapping with other than text keys, or of a list of headers."""
        if not isinstance(pair, list) or len(pair) != 2:
            return self.value(pair, pointer)
        name = self._name_of(pair[0], f"{pointer}/0")
        return [
            self.value(pair[0], f"{pointer}/0"),
            self._under(name, self.redactor.says(name), pair[1], f"{pointer}/1"),
        ]

    def _name_of(self, key: Any, pointer: str) -> str:
        """The name that a key of any kind is, or the one in a tuple that says most."""
        if isinstance(key, str):
            return self._told(key, pointer)
        names = [one for one in key if isinstance(one, str)] if isinstance(key, list) else []
        return max(names, key=self.redactor.says, default="")


def _columns_of(value: dict[str, Any]) -> list[str]:
    """The names of columns, as in `{"columns": ["user", "password"], "rows": [...]}`; empty without any."""
    if _COLUMNS.isdisjoint(value) or _ROWS.isdisjoint(value):
        return []
    found = next(value[key] for key in value if key in _COLUMNS)
    return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else []


def _named_members(value: dict[str, Any]) -> dict[str, int]:
    """The members that another member names as secrets, as in `{"name": "Authorization", "value": ...}`."""
    if len(value) < 2:
        return {}
    if "kty" in value:
        return dict.fromkeys(_PRIVATE_MEMBERS, SURE)
    says = NONE
    owned: dict[str, int] = {}
    for key, name in value.items():
        lower = key.lower()
        if isinstance(name, str) and lower in _NAMING | _LABELING:
            says = max(says, name_says(name))
        elif isinstance(name, str) and lower.endswith(("key", "name")):
            # `ParameterKey` beside `ParameterValue`
            owned[lower.removesuffix("key").removesuffix("name") + "value"] = name_says(name)
    if says == NONE and not any(owned.values()):
        return {}
    named = {key: _held_says(says, item, value) for key, item in value.items() if key.lower() in _HELD}
    return {key: owned.get(key.lower(), NONE) for key in value} | named


def _held_says(says: int, item: Any, holder: dict[str, Any]) -> int:
    """How surely the value beside a name is a secret: the text beside a label may be for people."""
    is_named = any(key.lower() in _NAMING for key in holder)
    return LIKELY if not is_named and isinstance(item, str) and " " in item.strip() else says


def _are_pairs(value: Sequence[Any]) -> bool:
    """Whether a list is one of pairs that begin with a text, as headers are in JSON."""
    return bool(value) and all(
        isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) for item in value
    )


def _is_schema(value: dict[str, Any]) -> bool:
    """Whether a mapping is a JSON schema, which describes a secret and holds none."""
    if not _SCHEMA_KEYS.issuperset(value):
        return False
    kind = value.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return all(one in _SCHEMA_TYPES for one in kinds) if kind else not _SCHEMA_MARKS.isdisjoint(value)


def _keeps_scheme(key: str, scheme: str) -> bool:
    """Whether the first word of a value is the scheme of a header, which is no secret."""
    return scheme.strip().lower() in _COMMON_SCHEMES or plain_name(key).endswith(
        ("authorization", "authorisation")
    )


def _texts_in(value: Any) -> list[str]:
    """The texts of a value that was hidden as a whole, of its first levels and items."""
    if isinstance(value, str):
        return [value]
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in items[:_MAX_REPEATED] for text in ([item] if isinstance(item, str) else [])]


def worth_finding(secret: str) -> bool:
    """Whether a secret is looked for elsewhere: no path, not so short that words hold it, and not huge."""
    return _SHORTEST_REPEATED <= len(secret) <= _LONGEST_REPEATED and not secret.startswith((_MARK, "/"))


class Repeats:
    """Replaces secrets that are known by what they are, wherever a text repeats them.

    Args:
        redactor: makes the tokens.
        secrets: what to look for; one below 8 characters counts where no letter or digit is next to it.
    """

    def __init__(self, redactor: Redactor, secrets: Sequence[str]) -> None:
        self._redactor = redactor
        self._search = _expression_of(tuple(sorted(set(secrets), key=len, reverse=True)))

    def text(self, text: str) -> str:
        """The text without them."""
        return self._search.sub(lambda match: self._redactor.counted_token(match[0]), text)

    def value(self, value: Any, pointer: str, types: dict[str, str]) -> Any:
        """The JSON value without them; each pointer that changed is marked in `types`."""
        if isinstance(value, str):
            tag = types.get(pointer) if types else None
            told = _plain_text(value, tag)
            clean = self.text(told)
            if clean == told:
                return value
            types[pointer] = "redacted"
            return (
                self._redactor.token(told)
                if tag in BYTES_TAGS
                else clean.encode("utf-8", "backslashreplace").decode()
            )
        if isinstance(value, dict):
            return {key: self.value(item, f"{pointer}/{escape(key)}", types) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, f"{pointer}/{index}", types) for index, item in enumerate(value)]
        return value


@lru_cache(maxsize=64)
def _expression_of(secrets: tuple[str, ...]) -> re.Pattern[str]:
    forms = [
        re.escape(one) if len(one) >= _SAFE_REPEATED else rf"(?<![^\W_]){re.escape(one)}(?![^\W_])"
        for one in secrets
    ]
    return re.compile("|".join(forms))


def _plain_text(value: str, tag: str | None) -> str:
    """The text that a string of the recording stands for, which may be one of bytes or of lone surrogates."""
    try:
        if tag in BYTES_TAGS:
            return a2b_base64(value).decode("latin-1")
        if tag == "str":
            return value.encode("ascii").decode("unicode_escape")
    except ValueError:
        return value
    return value


def _is_directory(key: str, value: Any) -> bool:
    """Whether it is the shell's variable for the directory that one is in, and no password."""
    return key in {"PWD", "OLDPWD"} and isinstance(value, str) and value.startswith("/")


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


class Levels(Protocol):
    """What is kept of values where that is not the same of all; `capture_levels.py` implements it."""

    keeps_texts: bool
    """Whether something is recorded with its texts as they are."""
    reads_lines: bool
    """Whether lines have to be looked through at all."""

    def line(self, slot: Any, raw: bytes) -> bytes:
        """An event of an `event_template.Slot` as its level has it: JSON behind the id, to the line's end."""

    def document(self, values: dict[str, Any], types: dict[str, str]) -> dict[str, Any]:
        """The values of a checkpoint."""

    def kept(self, capture: Any, names: Iterable[str], tool: str | None, encode: Callable[[Any], Any]) -> Any:
        """An artifact, made by a `Capture`, as its level has it, and the level."""

    def arguments(self, argv: list[str]) -> list[str]:
        """A command line."""


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
        self.levels: Levels | None = None
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
        clean = write_json(self.value(read_json(b"{" + body + b"}"), pointer, tags, found))[1:-1]
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
        clean = Repeats(self, secrets).value(read_json(b"{" + body + b"}"), pointer, tags)
        return write_json(clean)[1:-1], tags or None

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
