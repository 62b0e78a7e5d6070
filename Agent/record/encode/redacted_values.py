"""One walk over a JSON value that replaces what stands under the names of secrets, and what texts hold.

`redaction.py` says which names are denied, makes the tokens and reads the texts; here is where a name can
stand: over its value in a mapping, before it in a pair or a list, beside it in an object that names a member.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from Agent.event.pointers import escape
from Agent.record.secrets.assignments import scheme_and_credential
from Agent.record.secrets.names import LIKELY, NONE, SURE, looks_drawn, may_be_number, name_says, plain_name

if TYPE_CHECKING:
    from Agent.record.encode.redaction import Redactor

__all__ = ["BYTES_TAGS", "PAIR_TAGS", "TELLING_KEYS", "Repeats", "RedactionWalk"]

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
        for key, item in value.items():
            clean = self.redactor.text(key)
            says = max(self.redactor.says(key), named.get(key, NONE))
            result[clean] = self._under(key, says, item, self._place(pointer, key, clean))
        return result

    def _items(self, value: list[Any], pointer: str) -> list[Any]:
        tag = self.types.get(pointer, "") if self.types else ""
        if tag.startswith(PAIR_TAGS) or _are_pairs(value):
            return [self._pair(pair, f"{pointer}/{index}") for index, pair in enumerate(value)]
        if tag == "tuple" and len(value) == 2:
            pair: list[Any] = self._pair(value, pointer)
            return pair
        result: list[Any] = []
        before = ""
        for index, item in enumerate(value):
            place = f"{pointer}/{index}"
            told = self._told(item, place) if isinstance(item, str) else ""
            if told and before and self._follows(before, told):
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
        for inner in [known for known in self.types if known == pointer or known.startswith(pointer + "/")]:
            del self.types[inner]
        self.types[pointer] = "redacted"
        for text in [told] if told else _texts_in(value):
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


def _named_members(value: dict[str, Any]) -> dict[str, int]:
    """The members that another member names as secrets, as in `{"name": "Authorization", "value": ...}`."""
    if len(value) < 2:
        return {}
    if "kty" in value:
        return dict.fromkeys(_PRIVATE_MEMBERS, SURE)
    says = NONE
    for key, name in value.items():
        if isinstance(name, str) and key.lower() in _NAMING | _LABELING:
            says = max(says, name_says(name))
    if says == NONE:
        return {}
    return {key: _held_says(says, item, value) for key, item in value.items() if key.lower() in _HELD}


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
