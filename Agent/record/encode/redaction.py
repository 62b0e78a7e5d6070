"""Replaces secrets by tokens; every byte that is written to the tree passes through here.

Nearly all payloads are clean and cost one scan of their keys and one of their bytes. Only if a scan finds the
format of a secret, `RedactionWalk` examines the value. A name can be the key of a value in a mapping, precede
it in a pair or a list, or be another member of the same object. The same secret always becomes the same keyed
token, so that comparisons and digests work on redacted values.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any, Protocol

import orjson

from Agent.event.model import RedactedBytes
from Agent.event.pointers import escape, value_at
from Agent.event.values.parts import HELD_AS, HOLDERS
from Agent.event.values.plain import read_json, write_json
from Agent.record.encode.native import native
from Agent.record.encode.repeats import BYTES_TAGS, PAIR_TAGS, Repeats, plain_text
from Agent.record.encode.safe_text import printable
from Agent.record.secrets.commands import command_secrets
from Agent.record.secrets.introduced import scheme_and_credential
from Agent.record.secrets.issuers import looks_clean
from Agent.record.secrets.members import ATTRIBUTES, ROWS, WORDS, columns_of, named_members, program_of
from Agent.record.secrets.names import (
    LIKELY,
    NONE,
    SURE,
    is_below,
    is_random,
    least_secret_number,
    looks_drawn,
    may_be_chosen,
    may_be_number,
    name_says,
    plain_name,
)
from Agent.record.secrets.nearby import answer_in, is_held_by, is_strong, speaks_of_secret
from Agent.record.secrets.patterns import replaced, secrets_in
from Agent.record.secrets.structures import (
    SCHEMA_VALUES,
    begins_key,
    columns_behind,
    is_schema,
    lines_of_key,
)

_COMMON_SCHEMES = frozenset({"bearer", "basic", "token"})
_MARK = "[redacted:"
_SAYS_NONE = frozenset("none null nil undefined true false enabled disabled required optional".split())
"""Texts under a secret name that are not secrets, but state whether there is one."""
_AUTHORITIES = frozenset({"netloc", "userinfo"})
"""Parts of a URL with its user and password, which no `://` introduces."""
TELLING_KEYS = frozenset({"kty"}) | _AUTHORITIES
"""Keys that are harmless but describe secrets: their mapping always takes the slow path."""
_MODES = frozenset(
    "basic bearer digest oauth oauth2 oidc openid saml ldap kerberos ntlm jwt token password session cookie "
    "api_key apikey api-key iam sso mtls anonymous custom managed native local".split()
)
"""Ways to authenticate, which are no secrets under `auth`."""

_LONGEST_ANSWER = 200
_WORDLESS = frozenset({int, float, bool, type(None)})
"""What is a secret only under a name."""
_DEPTH_BESIDE = 4
"""How deep below a member or item a secret is searched that another one speaks of."""
_MAX_REPEATED, _SHORTEST_REPEATED, _LONGEST_REPEATED = 16, 4, 4096


class RedactionWalk:
    """Replaces the secrets of one JSON value.

    Args:
        redactor: makes the tokens and judges keys.
        types: the tags of the value by pointer; each pointer that changes is marked in it.
        root: the pointer of the value, and the value.
    """

    def __init__(self, redactor: Redactor, types: dict[str, str], root: tuple[str, Any]) -> None:
        self.redactor = redactor
        self.types = types
        self._root = root
        self._tagged = sorted(types)
        self._of_keys: set[str] = set()
        """The pointers of texts that are single lines of a private key."""
        self._held_as: dict[str, str] = {}
        """The names of the values that functions hold, and of positional arguments, by pointer."""
        self.found: list[str] = []
        """Secrets that were replaced and may also occur elsewhere, at most 16."""

    def value(self, value: Any, pointer: str) -> Any:
        """Return the value without its secrets."""
        if self._held_as and (name := self._held_as.pop(pointer, "")):
            return self._under(name, self.redactor.says(name), value, pointer)
        if isinstance(value, str):
            return self._string(value, pointer)
        if isinstance(value, dict):
            return self._members(value, pointer, named_members(value))
        if isinstance(value, list):
            return self._items(value, pointer)
        return value

    def _members(self, value: dict[str, Any], pointer: str, named: Mapping[str, int]) -> dict[str, Any]:
        if HELD_AS in value and self.types.get(pointer, "").startswith(HOLDERS):
            self._held_as |= {f"{pointer}/{place}": name for name, place in value[HELD_AS].items()}
            value = {key: item for key, item in value.items() if key != HELD_AS}
        result: dict[str, Any] = {}
        columns, begun = columns_of(value), program_of(value)
        speaking = {key for key, item in value.items() if _speaks(item)}
        for key, item in value.items():
            clean = self.redactor.text(key)
            place = self._place(pointer, key, clean)
            if columns and key in ROWS and isinstance(item, list):
                result[clean] = self._rows(columns, item, place)
                continue
            if key in _AUTHORITIES and isinstance(item, str):
                result[clean] = self._authority(item, place)
                continue
            if begun and key in WORDS and isinstance(item, list) and place not in self._held_as:
                result[clean] = self._words(item, place, begun)
                continue
            says = max(self.redactor.says(key), named.get(key, NONE))
            if says == NONE and len(speaking) > (key in speaking) and self.redactor.reads_texts:
                result[clean] = self._beside(key, self.value(item, place), place)
            else:
                result[clean] = self._under(key, says, item, place)
        return result

    def _beside(self, key: str, value: Any, pointer: str, depth: int = 0) -> Any:
        """Redact what another member or item speaks of: `{"prompt": "New password?", "answer": X}`."""
        if isinstance(value, dict) and depth < _DEPTH_BESIDE:
            return {
                inner: self._beside(inner, item, f"{pointer}/{escape(inner)}", depth + 1)
                for inner, item in value.items()
            }
        if isinstance(value, list) and depth < _DEPTH_BESIDE:
            return [self._beside(key, item, f"{pointer}/{at}", depth + 1) for at, item in enumerate(value)]
        if isinstance(value, str) and is_held_by(key) and pointer not in self.types:
            if is_strong(value):
                return self._hidden(value, pointer)
            if len(value) <= _LONGEST_ANSWER and (span := answer_in(value)) is not None:
                self.types[pointer] = "redacted"
                return value[: span[0]] + self.redactor.counted_token(value[slice(*span)]) + value[span[1] :]
        return value

    def _authority(self, value: str, pointer: str) -> str:
        """Redact the password in `user:password@host`, a part of a URL."""
        before_host, at, host = value.rpartition("@")
        user, colon, password = before_host.partition(":")
        if not (at or pointer.endswith("/userinfo")) or not (colon and password):
            return self._string(value, pointer)
        return f"{user}:{self._hidden(password, pointer)}{at}{host}"

    def _rows(self, columns: list[str], rows: list[Any], pointer: str) -> list[Any]:
        """Redact the rows of a table, or its only row, whose values are named by the columns."""
        if len(rows) == len(columns) and not any(isinstance(item, list) for item in rows):
            return self._row(columns, rows, pointer)
        return [
            self._row(columns, row, f"{pointer}/{index}")
            if isinstance(row, list) and len(row) == len(columns)
            else self.value(row, f"{pointer}/{index}")
            for index, row in enumerate(rows)
        ]

    def _is_table(self, value: list[Any]) -> bool:
        """Whether the first item names the columns of all others, and one of them holds secrets."""
        if len(value) < 2 or not isinstance(value[0], list) or len(value[0]) < 2:
            return False
        if not all(isinstance(row, list) and len(row) == len(value[0]) for row in value):
            return False
        if not all(isinstance(name, str) for name in value[0]) or self.redactor.says(value[0][0]) != NONE:
            return False
        # commands may be lists of as many words as each other
        if any(name.startswith("-") for name in value[0]) or any(map(_is_command, value)):
            return False
        return any(
            self.redactor.says(name) == SURE and any(row[at] != name for row in value[1:])
            for at, name in enumerate(value[0])
        )

    def _row(self, columns: list[str], row: list[Any], pointer: str, most: int = SURE) -> list[Any]:
        return [
            self._under(name, min(most, self.redactor.says(name)), item, f"{pointer}/{index}")
            for index, (name, item) in enumerate(zip(columns, row, strict=True))
        ]

    def _items(self, value: list[Any], pointer: str) -> list[Any]:
        if not self._held_as and _WORDLESS.issuperset(map(type, value)):
            return value  # millions of numbers, of which none is the value of a name
        tag = self.types.get(pointer, "") if self.types else ""
        if not tag and self._is_table(value) and not self._names_items_of(pointer):
            # two columns may also be pairs, such as the attributes of an element in HTML
            are_pairs = len(value[0]) == 2 and not ATTRIBUTES.isdisjoint(
                row[0].lower() for row in value if isinstance(row[0], str)
            )
            most = LIKELY if are_pairs else SURE
            rows = enumerate(value[1:], 1)
            return [value[0], *(self._row(value[0], row, f"{pointer}/{at}", most) for at, row in rows)]
        if tag.startswith(PAIR_TAGS) or _are_pairs(value):
            return [self._pair(pair, f"{pointer}/{index}") for index, pair in enumerate(value)]
        if tag == "tuple" and len(value) == 2:
            pair: list[Any] = self._pair(value, pointer)
            return pair
        return self._words(value, pointer)

    def _words(self, value: list[Any], pointer: str, begun: Sequence[str] = ()) -> list[Any]:
        """Redact a list whose texts may be the words of a command, after other words of it."""
        result: list[Any] = []
        before = begun[-1] if begun else ""
        words = [
            self._text_of(item, f"{pointer}/{index}") if isinstance(item, str) else ""
            for index, item in enumerate(value)
        ]
        found = command_secrets([*begun, *words]) if self.redactor.reads_texts else {}
        carried = {index - len(begun): at for index, at in found.items()}
        for index, (item, word) in enumerate(zip(value, words, strict=True)):
            place = f"{pointer}/{index}"
            if index in carried:
                at = carried[index] if word == item else 0
                result.append(item[:at] + self._hidden(item[at:], place))
            elif word and before and self._follows(before, word):
                result.append(self._hidden(item, place))
            elif index and self.redactor.reads_texts and _speaks(value[index - 1]):
                result.append(self._beside("value", self.value(item, place), place))
            else:
                result.append(self.value(item, place))
            before = word
        return result

    def name_items(self, pointer: str, names: Mapping[int, str]) -> None:
        """Treat items of the list at a pointer as the values of these names, by their positions."""
        self._held_as |= {f"{pointer}/{position}": name for position, name in names.items()}

    def _names_items_of(self, pointer: str) -> bool:
        return any(held.rpartition("/")[0] == pointer for held in self._held_as)

    def _follows(self, name: str, value: str) -> bool:
        """Whether a text in a list is a secret named by the text before it, as in `--password X`."""
        if " " in name or value.startswith(("-", _MARK)):
            return False
        says = self.redactor.says(name.lstrip("-"))
        is_option = name.startswith("--") or (name.startswith("-") and may_be_chosen(value))
        return says != NONE and (looks_drawn(value) or (says == SURE and is_option))

    def _string(self, value: str, pointer: str) -> str:
        tag = self.types.get(pointer) if self.types else None
        shown = plain_text(value, tag)
        if pointer in self._of_keys:
            return self._hidden(value, pointer)
        clean = self.redactor.text(shown)
        if self.redactor.reads_texts and begins_key(shown):
            self._note_lines(pointer)
        if clean == shown:
            return value
        self.types[pointer] = "redacted"
        # Bytes are replaced as a whole: partly replaced, they would no longer be valid base64.
        return (
            self.redactor.token(shown)
            if tag in BYTES_TAGS
            else clean.encode("utf-8", "backslashreplace").decode()
        )

    def _note_lines(self, pointer: str) -> None:
        """Note the places of the lines of a private key that begins with the text at a pointer."""
        start, root = self._root
        for column in columns_behind(root, pointer[len(start) :]):
            lines = ((start + below, self._text_of(text, start + below)) for below, text in column)
            self._of_keys.update(lines_of_key(lines))

    def _text_of(self, value: str, pointer: str) -> str:
        return plain_text(value, self.types.get(pointer) if self.types else None)

    def _place(self, pointer: str, key: str, clean: str) -> str:
        """Return the pointer of a key's value; if the key itself was redacted, move the tags to it."""
        place = f"{pointer}/{escape(clean)}"
        if clean != key:
            old = f"{pointer}/{escape(key)}"
            moved = {place + known[len(old) :]: tag for known, tag in self._untagged(old).items()}
            self.types |= moved
            at = bisect_left(self._tagged, place + "/")
            self._tagged[at:at] = [known for known in moved if known != place]
        return place

    def _untagged(self, pointer: str) -> dict[str, str]:
        """Take the tags of a pointer and of all below it, and return them."""
        # in a sorted list, all pointers below one pointer are neighbours
        below = slice(*(bisect_left(self._tagged, pointer + end) for end in "/0"))
        return {at: self.types.pop(at) for at in (pointer, *self._tagged[below]) if at in self.types}

    def _under(self, key: str, says: int, value: Any, pointer: str) -> Any:
        """Redact a value under a key; `says` is how certain the key names a secret."""
        if (
            says == NONE
            or value in ("", None, [], {})
            or isinstance(value, bool)
            or _is_directory(key, value)
        ):
            return self.value(value, pointer)
        if isinstance(value, (int, float)):
            return value if says == LIKELY or may_be_number(key, value) else self._hidden(value, pointer)
        if isinstance(value, str) and (
            value.startswith(_MARK) or value.lower() in _SAYS_NONE or not value.strip("*•█")
        ):
            return value
        if isinstance(value, str) and value[:1].isupper() and _is_label(key, value):
            return value
        if isinstance(value, str) and value.lower() in _MODES and plain_name(key).endswith("auth"):
            return value
        if says == LIKELY:
            return self._likely(value, pointer)
        if isinstance(value, dict) and is_schema(value):
            named = dict.fromkeys(SCHEMA_VALUES, SURE)
            return self._members(value, pointer, named)
        if isinstance(value, str) and self._text_of(value, pointer) == value:
            # "Bearer abc" under `authorization` is the same secret as "abc" under `token`.
            split = scheme_and_credential(value)
            if split is not None and _keeps_scheme(key, split[0]):
                return split[0] + self._hidden(split[1], pointer)
        return self._hidden(value, pointer)

    def _likely(self, value: Any, pointer: str) -> Any:
        """Redact a value whose name may be that of a secret: random-looking texts in it are secrets."""
        if isinstance(value, list):
            return [self._likely(item, f"{pointer}/{index}") for index, item in enumerate(value)]
        if isinstance(value, dict):
            # The digests of an object look random; replay compares them.
            own = OWN_KEYS if self.types.get(pointer) == "opaque" else ()
            return self._members(value, pointer, {key: LIKELY for key in value if key not in own})
        if isinstance(value, str) and is_random(self._text_of(value, pointer)):
            return self._hidden(value, pointer)
        return self.value(value, pointer)

    def _hidden(self, value: Any, pointer: str) -> str:
        """Return the token for a whole value, and note its texts to find repetitions."""
        shown = self._text_of(value, pointer) if isinstance(value, str) else ""
        # An object's class and digest are not secrets: only its attributes are searched for elsewhere.
        is_form = isinstance(value, dict) and self.types.get(pointer) == "opaque"
        held = value.get("attributes") if is_form else value
        self._untagged(pointer)
        self.types[pointer] = "redacted"
        for text in [shown] if shown else _texts_in(held):
            if len(self.found) < _MAX_REPEATED and worth_finding(text):
                self.found.append(text)
        return self.redactor.counted_token(value if isinstance(value, str) else orjson.dumps(value).decode())

    def _pair(self, pair: Any, pointer: str) -> Any:
        """Redact a [key, value] pair of a mapping with keys other than texts, or of a list of headers."""
        if not isinstance(pair, list) or len(pair) != 2 or pointer in self._held_as:
            return self.value(pair, pointer)
        name = self._name_of(pair[0], f"{pointer}/0")
        says = self.redactor.says(name)
        if says == NONE:
            return self._words(pair, pointer)
        return [self.value(pair[0], f"{pointer}/0"), self._under(name, says, pair[1], f"{pointer}/1")]

    def _name_of(self, key: Any, pointer: str) -> str:
        """Return the name in a key of any type; of several in a tuple, the one most certain to be secret."""
        if isinstance(key, str):
            return self._text_of(key, pointer)
        names = [one for one in key if isinstance(one, str)] if isinstance(key, list) else []
        return max(names, key=self.redactor.says, default="")


def _speaks(value: Any) -> bool:
    """Whether a text, or a text in a mapping, speaks of a secret."""
    return any(map(speaks_of_secret, value.values())) if isinstance(value, dict) else speaks_of_secret(value)


def _is_command(words: list[Any]) -> bool:
    """Whether a list has the words of a command with a password."""
    return bool(command_secrets([word if isinstance(word, str) else "" for word in words]))


def _are_pairs(value: Sequence[Any]) -> bool:
    """Whether all items of a list are pairs that begin with a text, like headers in JSON."""
    return bool(value) and all(
        isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) for item in value
    )


def _keeps_scheme(key: str, scheme: str) -> bool:
    """Whether the first word of a value is the scheme of a header, which is not secret."""
    return scheme.strip().lower() in _COMMON_SCHEMES or plain_name(key).endswith(
        ("authorization", "authorisation")
    )


def _texts_in(value: Any) -> list[str]:
    """Return the texts of a value that was replaced as a whole: itself, or among its first 16 items."""
    if isinstance(value, str):
        return [value]
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in items[:_MAX_REPEATED] for text in ([item] if isinstance(item, str) else [])]


def worth_finding(secret: str) -> bool:
    """Whether to search for a secret elsewhere: it has 4 to 4096 characters and is not a path or token."""
    return _SHORTEST_REPEATED <= len(secret) <= _LONGEST_REPEATED and not secret.startswith((_MARK, "/"))


def _is_label(key: str, value: str) -> bool:
    """Whether a value repeats its key for people to read: `{"login.password": "Password"}`."""
    name = plain_name(value)
    return name_says(value) != NONE and value[1:] == value[1:].lower() and plain_name(key).endswith(name)


def _is_directory(key: str, value: Any) -> bool:
    """Whether it is the shell variable of the current or previous directory, and not a password."""
    return key in {"PWD", "OLDPWD"} and isinstance(value, str) and value.startswith("/")


# Keys of this package's envelope and payloads, which are harmless although some look like names of secrets.
OWN_KEYS = frozenset(
    {
        *("session_id", "session_uid", "author", "authors", "fingerprint", "message_id"),
        *("digest", "without_code", "without_frames", "generators"),
    }
)

_MAX_KNOWN_KEYS = 8192
_MAX_HARMLESS_KEYS = 65_536
"""More than the largest value that is recorded whole has: each call would judge all of its keys again."""
_MOST_KEPT, _MOST_KEPT_BYTES = 64, 4096

# Clean texts up to this length are cached, because names of classes and fields recur.
_SHORT = 200

# Shorter texts can contain neither a name with its secret nor a vendor's key.
_SHORTEST = 7
_HIDING_TAGS = BYTES_TAGS | {"str"}


class Levels(Protocol):
    """The interface of the capture levels, for recordings with several; see `capture_levels.py`."""

    keeps_texts: bool
    """Whether some texts are recorded unchanged."""
    reads_lines: bool
    """Whether lines have to be processed."""

    def line(self, slot: Any, raw: bytes) -> bytes:
        """Apply the level to an event of an `event_template.Slot`: the bytes of its line after the id."""

    def document(self, values: dict[str, Any], types: dict[str, str]) -> dict[str, Any]:
        """Apply the level to the values of a checkpoint."""

    def kept(self, capture: Any, names: Iterable[str], tool: str | None, encode: Callable[[Any], Any]) -> Any:
        """Encode an artifact with a `Capture` at its level; return it and the level."""

    def arguments(self, argv: list[str]) -> list[str]:
        """Apply the level to a command line."""


class Redactor:
    """Checks keys and values, and replaces secrets by `[redacted:<16 hex>]`.

    Args:
        key: the secret key of the tokens; without it, a guess cannot be tested against a token.
        enabled: whether to replace secrets; if False, values pass through unchanged.
    """

    def __init__(self, key: bytes, *, enabled: bool = True) -> None:
        from hashlib import blake2b

        self._blake2b = blake2b
        self._key = blake2b(key, digest_size=32).digest()
        self.enabled = enabled
        self.count = 0
        self.reads_texts = True
        """Whether texts are searched, too; if False, only values under the names of secrets are replaced."""
        self.levels: Levels | None = None
        """The capture levels, if the recording has several."""
        self.looks_clean: Callable[[bytes], bool] = looks_clean
        """Whether no byte of a JSON text can belong to a secret; replaced by the faster judge in C."""
        self.known_keys: set[str] = set(OWN_KEYS)
        """Keys judged harmless."""
        self._clean: set[str | int] = set()
        self._clean_tags: set[str] = set()
        self._harmless: set[tuple[bytes, str, tuple[tuple[str, str], ...]]] = set()
        self.number_keys: dict[str, float] = {}
        """Names of secrets, each with the absolute value from which a number under it is hidden."""

    def token(self, secret: str) -> str:
        """Return the token of a secret, which is the same everywhere for one key."""
        digest = self._blake2b(secret.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8)
        return f"[redacted:{digest.hexdigest()}]"

    def digest(self, data: bytes) -> str:
        """Return a keyed digest, 16 hex digits: equal for equal bytes, useless for testing a guess."""
        return self._blake2b(data, key=self._key, digest_size=8).hexdigest()

    def stream_digest(self, chunks: Iterable[bytes]) -> tuple[int, str]:
        """Return the size and keyed digest of bytes in chunks."""
        hasher, size_bytes = self._blake2b(key=self._key, digest_size=8), 0
        for chunk in chunks:
            hasher.update(chunk)
            size_bytes += len(chunk)
        return size_bytes, hasher.hexdigest()

    def for_names_alone(self) -> Redactor:
        """Return a redactor with the same key that only replaces values under the name of a secret."""
        twin = copy(self)
        twin._harmless = set()  # noqa: SLF001 - of the same class
        twin._clean_tags = set()  # noqa: SLF001 - as above
        twin.reads_texts = False
        return twin

    def says(self, key: str) -> int:
        """Return how certain a key names a secret: `NONE`, `LIKELY` or `SURE` of `names`."""
        if key in self.known_keys:
            return NONE
        says = name_says(key)
        if not key.isascii() and printable(key) != key:
            return says  # known keys are written unchanged, and UTF-8 cannot encode lone surrogates
        if says == NONE and key not in TELLING_KEYS:
            if len(self.known_keys) >= _MAX_HARMLESS_KEYS:
                # In place, since the judge in C holds this set; by one call, so that it never lacks our own.
                self.known_keys.intersection_update(OWN_KEYS)
            self.known_keys.add(key)
        elif says != NONE and key not in self.number_keys and len(self.number_keys) < _MAX_KNOWN_KEYS:
            is_text_clean = self.text(key) == key
            self.number_keys[key] = least_secret_number(key, says) if is_text_clean else 0.0
        return says

    def keys_pass(self, payload: Mapping[str, Any]) -> bool:
        """Whether each key is known to be harmless, or its value is; called on the hot path."""
        return self.known_keys.issuperset(payload) or all(
            key in self.known_keys or is_below(item, self.number_keys.get(key, 0.0))
            for key, item in payload.items()
        )

    def is_denied(self, key: str) -> bool:
        """Return whether everything under this key is a secret by its name."""
        return self.says(key) == SURE

    def is_harmless(self, names: Iterable[str], raw: bytes) -> bool:
        """Return whether all keys are known and the JSON cannot contain a secret; if False, examine it."""
        if not self.enabled:
            return True
        return self.known_keys.issuperset(names) and (not self.reads_texts or self.looks_clean(raw))

    def text(self, text: str) -> str:
        """Return the text with every secret in it replaced."""
        if not self.enabled or not self.reads_texts or len(text) < _SHORTEST:
            return text
        known: str | int = text if len(text) <= _SHORT else hash(text)
        if known in self._clean:
            return text
        clean = text if self._looks_clean(text) else replaced(text, self.counted_token)
        if clean is text:
            if len(self._clean) >= _MAX_KNOWN_KEYS:
                self._clean.clear()
            self._clean.add(known)
        return clean

    def pieces(self, texts: Sequence[str]) -> list[str]:
        """Return consecutive pieces of a text, such as those of a stream, without the secrets of the whole.

        Each part of a secret is replaced by the token of the secret.
        """
        whole, clean, begin = "".join(texts), [], 0
        is_searched = self.enabled and self.reads_texts and not self._looks_clean(whole)
        spans = secrets_in(whole) if is_searched else ()
        for text in texts:
            end, done = begin + len(text), begin
            parts: list[str] = []
            for first, last in spans:
                if first < end and last > begin:
                    parts += (whole[done : max(first, done)], self.counted_token(whole[first:last]))
                    done = min(last, end)
            clean.append("".join((*parts, whole[done:end])))
            begin = end
        return clean

    def tags(self, types: dict[str, str]) -> dict[str, str]:
        """Return tags without secrets: behind its colon, a tag may have the name of a class, any text."""
        if self._clean_tags.issuperset(types.values()):
            return types
        cleaned: dict[str, str] = {}
        for tag in {*types.values()} - self._clean_tags:
            kind, colon, name = tag.partition(":")
            cleaned[tag] = kind + colon + self.text(name)
        if len(self._clean_tags) >= _MAX_KNOWN_KEYS:
            self._clean_tags.clear()
        self._clean_tags |= {tag for tag, clean in cleaned.items() if clean == tag}
        return {place: cleaned.get(tag, tag) for place, tag in types.items()}

    def _looks_clean(self, text: str) -> bool:
        try:
            return self.looks_clean(orjson.dumps([text]) if len(text) <= _SHORT else write_json([text]))
        except TypeError:  # a lone surrogate
            return False

    def counted_token(self, secret: str) -> str:
        """Return the token of a secret in the recording, and count the replacement."""
        self.count += 1
        return self.token(secret)

    def value(
        self,
        value: Any,
        pointer: str,
        types: dict[str, str],
        found: list[str] | None = None,
        positional: Mapping[int, str] | None = None,
    ) -> Any:
        """Return the JSON value with secrets replaced.

        Args:
            value: a JSON value.
            pointer: the pointer of the value.
            types: its tags; each changed pointer is marked there.
            found: receives the secrets recognised by name, at most 16.
            positional: the names of items of the member `args`, by position.
        """
        if types:
            types.update(self.tags(types))
        walk = RedactionWalk(self, types, (pointer, value))
        if positional:
            walk.name_items(f"{pointer}/args", positional)
        clean = walk.value(value, pointer)
        if walk.found and self.reads_texts:
            clean = Repeats(self, walk.found).value(clean, pointer, types)
            if found is not None:
                found += walk.found
        return clean

    def payload(
        self,
        body: bytes,
        types: dict[str, str] | None,
        pointer: str,
        found: list[str] | None = None,
        positional: Mapping[int, str] | None = None,
    ) -> tuple[bytes, dict[str, str] | None]:
        """Redact a JSON object's inner bytes (without its braces); return them with the new `types`.

        For `found` and `positional` see `value`.
        """
        if not self.enabled:
            return body, types
        # Harmless bodies are cached, because many states repeat some, such as the fields of a class.
        asked = (body, pointer, tuple(types.items()) if types else ())
        if asked in self._harmless and not positional:
            return body, types
        tags = dict(types) if types else {}
        clean = write_json(self.value(read_json(b"{" + body + b"}"), pointer, tags, found, positional))[1:-1]
        if clean == body and not positional and tags == (types or {}) and len(body) <= _MOST_KEPT_BYTES:
            if len(self._harmless) >= _MOST_KEPT:
                self._harmless.clear()
            self._harmless.add(asked)
        return clean, tags or None

    def without(
        self, secrets: Sequence[str], body: bytes, types: dict[str, str] | None, pointer: str
    ) -> tuple[bytes, dict[str, str] | None]:
        """Replace these secrets in a JSON object's inner bytes; return them with the new `types`."""
        if not any(orjson.dumps(secret)[1:-1] in body for secret in secrets) and not (
            types and hides_text(types)
        ):
            return body, types
        tags = dict(types) if types else {}
        clean = Repeats(self, secrets).value(read_json(b"{" + body + b"}"), pointer, tags)
        return write_json(clean)[1:-1], tags or None

    def secrets_among(self, values: Mapping[Any, Any]) -> list[str]:
        """Return the texts and whole numbers under the names of secrets, as a message may show them."""
        secrets: list[str] = []
        for key, value in values.items() if self.enabled else ():
            text = value.decode("utf-8", "backslashreplace") if type(value) is bytes else value
            text = str.__str__(text) if issubclass(type(text), str) else text
            if type(key) is not str or type(text) not in (str, int) or self.says(key) == NONE:
                continue
            walk = RedactionWalk(self, {}, ("", {}))
            if walk.value({key: text}, "") != {key: text}:
                secrets += walk.found if type(text) is str else filter(worth_finding, [str(text)])
        return secrets

    def text_without(self, secrets: Sequence[str], text: str) -> str:
        """Return a text without these secrets."""
        return Repeats(self, secrets).text(text)

    def object(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return a whole JSON object, such as `session.json`, with secrets replaced."""
        if not self.enabled:
            return dict(value)
        result = self.value(dict(value), "", {})
        assert isinstance(result, dict)  # noqa: S101 - a dict stays one
        return result

    def arguments(self, argv: list[str]) -> list[str]:
        """Return a command line with the values of secret options replaced."""
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


def hides_text(
    types: Mapping[str, str], value: Any = None, pointer: str = "", says: Callable[[str], int] | None = None
) -> bool:
    """Whether a tag shows that a text is recorded in an encoded form, or that a pair may begin with a name.

    Args:
        value: the JSON value that has these tags, if it is at hand, with which only names of secrets count.
        pointer: its pointer.
        says: as `Redactor.says`, with a value.
    """
    begin = len(pointer)
    for place, tag in types.items():
        if tag in _HIDING_TAGS:
            return True
        if tag == "tuple":
            if says is None or _begins_with_name(_part_at(value, place, begin), says):
                return True
        elif tag.startswith(PAIR_TAGS) and (says is None or _has_names(_part_at(value, place, begin), says)):
            return True
    return False


def _part_at(value: Any, place: str, begin: int) -> Any:
    part = None if native is None else native.part_at(value, place, begin)
    return value_at(value, place[begin:]) if part is None else part


def _has_names(pairs: Any, says: Callable[[str], int]) -> bool:
    """Whether a mapping is a list of pairs in which a key may be, or hold, the name of a secret."""
    if type(pairs) is dict:
        return False  # its keys are checked like those of any other
    return type(pairs) is not list or any(_begins_with_name(pair, says) for pair in pairs)


def _begins_with_name(pair: Any, says: Callable[[str], int]) -> bool:
    """Whether a list may be a pair of the name of a secret, or of several names, and its value."""
    if type(pair) is not list:
        return True
    key = pair[0] if len(pair) == 2 else None  # `RedactionWalk` treats no other list as a pair
    names = [key] if type(key) is str else key if type(key) is list else ()
    return any(type(name) is str and says(name) != NONE for name in names)


def redacted(raw: bytes) -> RedactedBytes:
    """Mark bytes as having passed a `Redactor`; only this package may call it."""
    return RedactedBytes(raw)
