"""The allow-list: which keys of which kinds may leave the machine, and in what shape. Everything else stays.

The client keeps to it before it sends, and the server again before it stores. The payload table says for each
kind which texts may leave, and in which shape: `name` is a name that becomes a keyed digest where it is no
label, `key` is such a name or a number, `label` is dropped where it is none. What the table does not name is
dropped, with its path.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from Agent.event.kinds import FAILURE_TYPES, RUN_STATUSES
from Agent.event.payloads import KINDS, Kind
from Agent.export.messages import Dropped
from Agent.record.secrets.names import is_secret_name, plain_name
from Agent.record.secrets.patterns import secrets_in

_MAX_INTEGER: Final = 2**63 - 1
_MAX_MEMBERS: Final = 64
_MISSING: Final = object()
_CARD_DIGITS: Final = range(13, 20)

_OUTCOMES: Final = frozenset("ok error cancelled interrupted closed success failure partial".split())


class AllowList:
    """Keeps of payloads what may leave the machine; `dropped` says by path what was left out.

    Args:
        key: makes the digests that stand for names which are no labels, and for ids that tell something.
            Without it these are dropped.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self.dropped = Dropped()
        self._key = key
        self._shapes: dict[str, Callable[[Any, str], Any]] = {
            "name": self._name,
            "key": self._name_or_number,
            "keys": self._keys,
            "label": self._label,
            "id": self._identity,
            "digest": _digest,
            "number": _number,
            "flag": _flag,
            "count": _count,
            "numbers": self._numbers,
            "metadata": self._metadata,
            "outcome": _one_of(_OUTCOMES),
            "status": _one_of(RUN_STATUSES),
            "failure_type": _one_of(FAILURE_TYPES),
        }

    def payload(self, kind: str, extra: Mapping[str, Any], path: str = "/extra") -> dict[str, Any]:
        """What of an event's payload may leave; nothing of a kind that the table does not hold."""
        row = _ROWS.get(kind, {})
        kept: dict[str, Any] = {}
        for key, value in extra.items():
            shape = row.get(key)
            if value is None:
                continue
            found = _MISSING if shape is None else self._shapes[shape](value, f"{path}/{key}")
            if found is not _MISSING:
                kept[key] = found
            elif shape not in {"metadata", "numbers", "keys"} or not isinstance(value, (dict, list)):
                self.drop(path, key)
        return kept

    def drop(self, path: str, key: object) -> None:
        """Count what is left out; a key that is no label may tell something itself, so it is not named."""
        self.dropped.note(f"{path}/{key}" if isinstance(key, str) and is_label(key) else f"{path}/*")

    def name(self, value: Any, path: str) -> str | None:
        """A name as it may leave: itself, a digest in its place, or None, which is counted."""
        return self._counted(self._name(value, path), path)

    def label(self, value: Any, path: str) -> str | None:
        """A label, None for what is none, which is counted."""
        return self._counted(self._label(value, path), path)

    def identity(self, value: Any, path: str) -> str | None:
        """An id as it may leave: itself, a digest in its place, or None, which is counted."""
        return self._counted(self._identity(value, path), path)

    def _counted(self, found: Any, path: str) -> str | None:
        if found is _MISSING:
            self.dropped.note(path)
            return None
        return str(found)

    def metadata(self, value: Any, path: str) -> dict[str, Any]:
        """Numbers, flags and labels of a mapping under names that tell nothing; the others are counted."""
        found = self._metadata(value, path)
        if found is not _MISSING:
            return dict(found)
        if not isinstance(value, dict):
            self.dropped.note(path)
        return {}

    def _name(self, value: Any, _path: str) -> Any:
        return self._hidden_unless(is_label, value)

    def _identity(self, value: Any, _path: str) -> Any:
        """An id as it is; one that tells something becomes the same digest wherever it stands."""
        return self._hidden_unless(is_identity, value)

    def _hidden_unless(self, may_leave: Callable[[str], bool], value: Any) -> Any:
        if not isinstance(value, str) or not value:
            return _MISSING
        if may_leave(value):
            return value
        return _MISSING if self._key is None else hidden_name(value, self._key)

    def _name_or_number(self, value: Any, path: str) -> Any:
        return self._name(value, path) if isinstance(value, str) else _number(value, path)

    def _keys(self, value: Any, path: str) -> Any:
        if not isinstance(value, list):
            return _MISSING
        found = [self._name_or_number(each, path) for each in value[:_MAX_MEMBERS]]
        kept = [each for each in found if each is not _MISSING]
        for _ in range(len(value) - len(kept)):
            self.dropped.note(f"{path}/*")
        return kept or _MISSING

    @staticmethod
    def _label(value: Any, _path: str) -> Any:
        return value if isinstance(value, str) and is_label(value) else _MISSING

    def _numbers(self, value: Any, path: str) -> Any:
        return self._members(value, path, with_labels=False)

    def _metadata(self, value: Any, path: str) -> Any:
        return self._members(value, path, with_labels=True)

    def _members(self, value: Any, path: str, *, with_labels: bool) -> Any:
        """The members of a mapping of the user's: the keys are his as well, so they are judged, too."""
        if not isinstance(value, dict):
            return _MISSING
        kept: dict[str, Any] = {}
        for key, each in value.items():
            if each is None:
                continue
            if isinstance(key, str) and len(kept) < _MAX_MEMBERS and _may_stay(key, each, with_labels):
                kept[key] = each
            else:
                self.drop(path, key)
        return kept or _MISSING


def _may_stay(key: str, value: Any, with_labels: bool) -> bool:
    if isinstance(value, bool):
        return may_hold(key, a_number=True)
    if isinstance(value, (int, float)):
        return _number(value, "") is not _MISSING and not _is_card(value) and may_hold(key, a_number=True)
    # digits in quotes tell as little as a number
    return (
        with_labels and isinstance(value, str) and is_label(value) and may_hold(key, a_number=value.isdigit())
    )


def _is_card(value: float) -> bool:
    """Whether a number has the length and the check digit of a payment card."""
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
        return value if abs(value) <= _MAX_INTEGER else _MISSING
    return value if isinstance(value, float) and math.isfinite(value) else _MISSING


def _flag(value: Any, _path: str) -> Any:
    return value if isinstance(value, bool) else _MISSING


def _count(value: Any, path: str) -> Any:
    """How many a list held; a number is one already."""
    return len(value) if isinstance(value, list) else _number(value, path)


def _digest(value: Any, _path: str) -> Any:
    is_one = isinstance(value, str) and 8 <= len(value) <= 64 and not set(value) - set("0123456789abcdef")
    return value if is_one else _MISSING


def _one_of(values: frozenset[str]) -> Callable[[Any, str], Any]:
    return lambda value, _path: value if isinstance(value, str) and value in values else _MISSING


def _row(kind: Kind) -> dict[str, str]:
    """The shape in which each key of a kind may leave; its own numbers and flags may without being named."""
    plain = {"number": "number", "integer": "number", "boolean": "flag"}
    known = {each.name: each.leaves or plain.get(each.type, "") for each in (*kind.fields, *kind.also_leaves)}
    return {name: shape for name, shape in known.items() if shape}


_ROWS: Final = {name: _row(kind) for name, kind in KINDS.items()}


_BESIDE: Final = ("message", "state", "types", "artifact_text")
_NO_CONTENT: Final = frozenset({"logger", "code"})


def holds_content(row: Mapping[str, Any]) -> bool:
    """Whether the body of a stored event holds more than the allow-list lets through."""
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
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_OWN_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}|[a-z2-7]{8}-[1-9][0-9]{0,18}", re.ASCII)
"""A span, a trace or a UUID without its dashes, an event."""
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)
_MOMENT = re.compile(
    r"(?<!\d)20\d{2}-?[01]\d-?[0-3]\d[T_.-]?(?:[0-2]\d[:-]?[0-5]\d[:-]?(?:[0-5]\d)?)?Z?(?!\d)", re.ASCII
)
"""A day, or a time of it, as people put it into the ids of runs."""
_IDENTITY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:\-]{0,127}", re.ASCII)
_LONG_RUN = re.compile(r"[A-Za-z0-9]{20,}", re.ASCII)
_WORD = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]+(?![A-Za-z0-9])", re.ASCII)
_MOST_WORDS = 8
_MANY_DIGITS = re.compile(r"(?:\d[.:/\-_]?){9,}", re.ASCII)

# Numbers under these names are about a person; words under the others as well are what somebody wrote.
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
    """Whether the text is a label: a name of at most 64 characters without blanks, a version, a UUID.

    None are addresses, telephone numbers, URLs, secrets by their shape, and what looks drawn by chance.
    """
    return len(text) <= LABEL_CHARS and _is_short_label(text)


@lru_cache(maxsize=65536)  # of short texts alone: it keeps what it was asked about
def _is_short_label(text: str) -> bool:
    if _SMALL_NUMBER.fullmatch(text) or _VERSION.fullmatch(text) or _HIDDEN.fullmatch(text):
        return True
    if _UUID.fullmatch(text):
        return True
    return _LABEL.fullmatch(text) is not None and not _is_doubtful(text)


def is_identity(text: str) -> bool:
    """Whether the text can be the id of an event, a span, a run or a call, and tells nothing else."""
    if any(shape.fullmatch(text) for shape in (_OWN_ID, _UUID, _ULID, _HIDDEN)):
        return True
    return _IDENTITY.fullmatch(text) is not None and not _is_doubtful(_MOMENT.sub("t", text))


def _is_doubtful(text: str) -> bool:
    """Whether a text in the characters of a label looks like a URL, a number, a sentence or a secret."""
    if "//" in text or _MANY_DIGITS.search(text) or len(_WORD.findall(text)) > _MOST_WORDS:
        return True
    return any(_looks_drawn(run) for run in _LONG_RUN.findall(text)) or bool(secrets_in(text))


def _looks_drawn(run: str) -> bool:
    """Whether a long run of letters and digits changes between them as words do not."""
    changes = sum(a.isdigit() != b.isdigit() for a, b in itertools.pairwise(run))
    return changes >= 3 or not (run.isdigit() or any(vowel in run.lower() for vowel in "aeiou"))


def may_hold(key: str, *, a_number: bool) -> bool:
    """Whether metadata under this key may leave: `result_count` may, `email` and `prompt` may not.

    Args:
        key: of the metadata; it has to be a label itself.
        a_number: a number tells less: `prompt_tokens` are welcome, the text of a prompt is not.
    """
    return len(key) <= LABEL_CHARS and _may_hold_short(key, a_number)


@lru_cache(maxsize=4096)
def _may_hold_short(key: str, a_number: bool) -> bool:
    if not _is_short_label(key):
        return False
    words = set(plain_name(key).replace("/", "_").replace(":", "_").split("_"))
    if words & _PERSONAL:
        return False
    return a_number or (words.isdisjoint(_WRITTEN) and not is_secret_name(key))


def hidden_name(text: str, key: bytes) -> str:
    """What stands for a name that is no label: the same for the same name, and no help to guess it."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), key=key[:64], digest_size=8)
    return f"~{digest.hexdigest()}"
