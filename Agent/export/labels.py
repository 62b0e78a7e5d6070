"""Which texts are short labels: what may leave the machine as a name, and what stands for another.

`allowed.py` says where a label may stand. Whatever is in doubt is none: a text with blanks, an address, a
token, the shape of a secret.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from Agent.record.secrets.names import is_secret_name, plain_name
from Agent.record.secrets.patterns import secrets_in

__all__ = ["LABEL_CHARS", "hidden_name", "is_identity", "is_label", "may_hold"]

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
