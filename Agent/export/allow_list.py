"""The allow-list: which keys of which kinds may leave the machine, and in what form. All others are dropped.

The client applies it before sending, and the server again before storing. The payload table lists for each
kind the texts that may leave, with a form: a `name` that is not a label becomes a keyed digest, a `key` is
such a name or a number, a `label` that is not one is dropped. Keys that are missing in the table are dropped,
and their paths are counted.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any, Final

from Agent.event.ids import SENT_ID
from Agent.event.kinds import FAILURE_TYPES, RUN_STATUSES
from Agent.event.payloads import KINDS, Kind
from Agent.export.messages import MAX_INTEGER, Dropped
from Agent.record.secrets.names import is_secret_name, plain_name
from Agent.record.secrets.patterns import secrets_in

_MAX_MEMBERS: Final = 64
_MISSING: Final = object()
_CARD_DIGITS: Final = range(13, 20)

_OUTCOMES: Final = frozenset("ok error cancelled interrupted closed success failure partial".split())


class AllowList:
    """Reduces payloads to the values that may leave the machine; `dropped` counts the others by path.

    Args:
        key: the key of the digests that replace names that are not labels and ids that may contain
        information.
            Without a key these are dropped.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self.dropped = Dropped()
        self._key = key
        self._shapes: dict[str, Callable[[Any, str], Any]] = {
            "name": partial(self._hidden_unless, is_label),
            "key": self._name_or_number,
            "keys": self._keys,
            "label": _label,
            "id": partial(self._hidden_unless, is_identity),
            "digest": _digest,
            "number": _number,
            "flag": _flag,
            "count": _count,
            "numbers": partial(self._members, with_labels=False),
            "metadata": partial(self._members, with_labels=True),
            "outcome": _one_of(_OUTCOMES),
            "status": _one_of(RUN_STATUSES),
            "failure_type": _one_of(FAILURE_TYPES),
        }

    def uncounted(self) -> AllowList:
        """Return a list with the same key and separate counts, for payloads that are sent completely."""
        return AllowList(self._key)

    def payload(self, kind: str, extra: Mapping[str, Any], path: str = "/extra") -> dict[str, Any]:
        """Return the part of a payload that may leave; for an unknown kind it is empty."""
        row = _ROWS.get(kind, {})
        allowed: dict[str, Any] = {}
        for key, value in extra.items():
            shape = row.get(key)
            if value is None:
                continue
            allowed_value = _MISSING if shape is None else self._shapes[shape](value, f"{path}/{key}")
            if allowed_value is not _MISSING:
                allowed[key] = allowed_value
            elif shape not in {"metadata", "numbers", "keys"} or not isinstance(value, (dict, list)):
                self.drop(path, key)
        return allowed

    def drop(self, path: str, key: object) -> None:
        """Count a dropped value; a key that is not a label may be content, so it is counted as `*`."""
        place = f"{path}/{key}"
        # whether a key is a label takes 0.1 ms to find out, and a payload may have 500,000 keys
        is_shown = place in self.dropped or (
            not self.dropped.is_full and isinstance(key, str) and is_label(key)
        )
        self.dropped.note(place if is_shown else f"{path}/*")

    def name(self, value: Any, path: str) -> str | None:
        """Return a name, or the digest that replaces it, or None, which is counted."""
        return self._counted("name", value, path)

    def label(self, value: Any, path: str) -> str | None:
        """Return a label; None for other values, which are counted."""
        return self._counted("label", value, path)

    def identity(self, value: Any, path: str) -> str | None:
        """Return an id, or the digest that replaces it, or None, which is counted."""
        return self._counted("id", value, path)

    def _counted(self, shape: str, value: Any, path: str) -> str | None:
        allowed = self._shapes[shape](value, path)
        if allowed is _MISSING:
            self.dropped.note(path)
            return None
        return str(allowed)

    def metadata(self, value: Any, path: str) -> dict[str, Any]:
        """Return the numbers, booleans and labels of a mapping with harmless names; others are counted."""
        allowed = self._shapes["metadata"](value, path)
        if allowed is not _MISSING:
            return dict(allowed)
        if not isinstance(value, dict):
            self.dropped.note(path)
        return {}

    def _hidden_unless(self, may_leave: Callable[[str], bool], value: Any, _path: str) -> Any:
        """Return a name or an id; the digest of one that may contain information."""
        if not isinstance(value, str) or not value:
            return _MISSING
        if may_leave(value):
            return value
        return _MISSING if self._key is None else hidden_name(value, self._key)

    def _name_or_number(self, value: Any, path: str) -> Any:
        return self._shapes["name"](value, path) if isinstance(value, str) else _number(value, path)

    def _keys(self, value: Any, path: str) -> Any:
        if not isinstance(value, list):
            return _MISSING
        keys = [self._name_or_number(each, path) for each in value[:_MAX_MEMBERS]]
        allowed = [each for each in keys if each is not _MISSING]
        for _ in range(len(value) - len(allowed)):
            self.dropped.note(f"{path}/*")
        return allowed or _MISSING

    def _members(self, value: Any, path: str, *, with_labels: bool) -> Any:
        """Return the allowed members of a user's mapping; its keys, which may be content, are checked too."""
        if not isinstance(value, dict):
            return _MISSING
        members: dict[str, Any] = {}
        for key, each in value.items():
            if each is None:
                continue
            if isinstance(key, str) and len(members) < _MAX_MEMBERS and _may_stay(key, each, with_labels):
                members[key] = each
            else:
                self.drop(path, key)
        return members or _MISSING


def _may_stay(key: str, value: Any, with_labels: bool) -> bool:
    if isinstance(value, bool):
        return may_hold(key, a_number=True)
    if isinstance(value, (int, float)):
        return _number(value, "") is not _MISSING and not _is_card(value) and may_hold(key, a_number=True)
    # A text of digits is as harmless as a number.
    return (
        with_labels and isinstance(value, str) and is_label(value) and may_hold(key, a_number=value.isdigit())
    )


def _is_card(value: float) -> bool:
    """Return whether a number has the length and the check digit of a payment card."""
    digits = str(value)
    if len(digits) not in _CARD_DIGITS or not digits.isdigit():
        return False
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(each - 9 if each > 9 else each for each in doubled)
    return total % 10 == 0


def _number(value: Any, _path: str) -> Any:
    if isinstance(value, bool):
        return _MISSING
    if isinstance(value, int):
        return value if abs(value) <= MAX_INTEGER else _MISSING
    return value if isinstance(value, float) and math.isfinite(value) else _MISSING


def _label(value: Any, _path: str) -> Any:
    return value if isinstance(value, str) and is_label(value) else _MISSING


def _flag(value: Any, _path: str) -> Any:
    return value if isinstance(value, bool) else _MISSING


def _count(value: Any, path: str) -> Any:
    """Return the length of a list; a number is returned as it is."""
    return len(value) if isinstance(value, list) else _number(value, path)


def _digest(value: Any, _path: str) -> Any:
    is_one = isinstance(value, str) and 8 <= len(value) <= 64 and not set(value) - set("0123456789abcdef")
    return value if is_one else _MISSING


def _one_of(values: frozenset[str]) -> Callable[[Any, str], Any]:
    return lambda value, _path: value if isinstance(value, str) and value in values else _MISSING


def _row(kind: Kind) -> dict[str, str]:
    """Return the form in which each key of a kind may leave; its numbers and booleans always may."""
    plain = {"number": "number", "integer": "number", "boolean": "flag"}
    leaving = {
        each.name: each.leaves or plain.get(each.type, "") for each in (*kind.fields, *kind.also_leaves)
    }
    return {name: shape for name, shape in leaving.items() if shape}


_ROWS: Final = {name: _row(kind) for name, kind in KINDS.items()}


_BESIDE: Final = ("message", "state", "types", "artifact_text")
_NO_CONTENT: Final = frozenset({"logger", "code"})


def holds_content(row: Mapping[str, Any]) -> bool:
    """Return whether the body of a stored event has more than the allow-list permits."""
    body = {key: value for key, value in row["body"].items() if key not in _NO_CONTENT}
    if any(key in body for key in _BESIDE):
        return True
    allowed = AllowList()
    allowed.payload(row["kind"], body)
    return bool(allowed.dropped)


LABEL_CHARS: Final = 64

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/\-]{0,63}", re.ASCII)
_VERSION = re.compile(r"v?\d{1,4}(?:\.\d{1,3}){1,2}(?:[\-+.]?[A-Za-z][A-Za-z0-9.]{0,11})?", re.ASCII)
_SMALL_NUMBER = re.compile(r"\d{1,6}", re.ASCII)
_HIDDEN = re.compile(r"~[0-9a-f]{16}", re.ASCII)
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_OUR_ID = re.compile(rf"[0-9a-f]{{16}}|[0-9a-f]{{32}}|{SENT_ID}")
"""Ids of spans, traces and events, and UUIDs without dashes."""
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)
_MOMENT = re.compile(
    r"(?<!\d)20\d{2}-?[01]\d-?[0-3]\d[T_.-]?(?:[0-2]\d[:-]?[0-5]\d[:-]?(?:[0-5]\d)?)?Z?(?!\d)", re.ASCII
)
"""A date or a time of day, as in run ids chosen by users."""
_IDENTITY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:\-]{0,127}", re.ASCII)
_LONG_RUN = re.compile(r"[A-Za-z0-9]{20,}", re.ASCII)
_WORD = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]+(?![A-Za-z0-9])", re.ASCII)
_MOST_WORDS = 8
_MANY_DIGITS = re.compile(r"(?:\d[.:/\-_]?){9,}", re.ASCII)

# Numbers under these names may be personal data; texts under these and the names below may be content.
_PERSONAL = frozenset(
    "phone mobile fax email mail ssn iban bic passport birth birthday dob address zip postcode card account "
    "patient person surname firstname lastname fullname latitude longitude lat lon lng ip salary".split()
)
_WRITTEN = frozenset(
    "prompt prompts response responses completion completions content contents text texts body message "
    "messages query queries question questions answer answers document documents chunk chunks passage "
    "passages reasoning thought thoughts thinking rationale explanation summary input inputs output outputs "
    "user username customer client author sender recipient name title subject comment comments note notes "
    "description city street company employer url uri path file filename".split()
)


def is_label(text: str) -> bool:
    """Return whether a text is a label: a name of at most 64 characters without spaces, a version, a UUID.

    Addresses, telephone numbers, URLs, texts in the form of secrets and random-looking texts are not labels.
    """
    return len(text) <= LABEL_CHARS and _is_short_label(text)


@lru_cache(maxsize=65536)  # for short texts only, since the cache keeps them in memory
def _is_short_label(text: str) -> bool:
    if _SMALL_NUMBER.fullmatch(text) or _VERSION.fullmatch(text) or _HIDDEN.fullmatch(text):
        return True
    if UUID.fullmatch(text):
        return True
    return _LABEL.fullmatch(text) is not None and not _is_doubtful(text)


def is_identity(text: str) -> bool:
    """Return whether a text is the id of an event, a span, a run or a call without other information."""
    if any(shape.fullmatch(text) for shape in (_OUR_ID, UUID, _ULID, _HIDDEN)):
        return True
    return _IDENTITY.fullmatch(text) is not None and not _is_doubtful(_MOMENT.sub("t", text))


def _is_doubtful(text: str) -> bool:
    """Return whether a text with only label characters looks like a URL, number, sentence or secret."""
    if "//" in text or _MANY_DIGITS.search(text) or len(_WORD.findall(text)) > _MOST_WORDS:
        return True
    return any(_looks_random(run) for run in _LONG_RUN.findall(text)) or bool(secrets_in(text))


def _looks_random(run: str) -> bool:
    """Return whether a long run of letters and digits looks random: 3 changes between them, or no vowel."""
    changes = sum(a.isdigit() != b.isdigit() for a, b in itertools.pairwise(run))
    return changes >= 3 or not (run.isdigit() or any(vowel in run.lower() for vowel in "aeiou"))


def may_hold(key: str, *, a_number: bool) -> bool:
    """Return whether metadata with this key may leave: `result_count` may, `email` and `prompt` may not.

    Args:
        key: the key of the value; it has to be a label.
        a_number: whether the value is a number, for which more keys are allowed (`prompt_tokens`).
    """
    return len(key) <= LABEL_CHARS and _is_harmless_short_key(key, a_number)


@lru_cache(maxsize=4096)
def _is_harmless_short_key(key: str, a_number: bool) -> bool:
    if not _is_short_label(key):
        return False
    tokens = set(plain_name(key).replace("/", "_").replace(":", "_").split("_"))
    if tokens & _PERSONAL:
        return False
    return a_number or (tokens.isdisjoint(_WRITTEN) and not is_secret_name(key))


def hidden_name(text: str, key: bytes) -> str:
    """Return the keyed digest that replaces a name that is not a label; equal names have equal digests."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), key=key[:64], digest_size=8)
    return f"~{digest.hexdigest()}"
