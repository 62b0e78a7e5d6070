"""Which values stand for a secret and are none: placeholders, examples, references, masks, code and prose.

They are told by what they are made of: words of handbooks, a reference to a variable, one character or one row
of the alphabet again and again. A value that merely is weak, `password123`, is a secret.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from Agent.record.secrets.names import compiled as _compiled

if TYPE_CHECKING:
    import re

__all__ = [
    "counts_on",
    "is_code",
    "is_even",
    "is_filler",
    "is_placeholder",
    "is_prose",
    "marks_an_example",
]

_JUDGED_CHARS: Final = 128
"""How much of a long value is judged."""
_EVEN_CHARS: Final = 80
_LEAST_JUDGED: Final = 20
"""What is shorter can be a weak password, however even it is."""


def is_placeholder(value: str) -> bool:
    """Whether a value stands for one: `None`, `xxxx`, `***`, `${TOKEN}`, `<password>`, `your-key-here`."""
    value = value[:_JUDGED_CHARS].strip(" :;,!?")
    return (
        is_filler(value)
        or _compiled(_BENIGN).fullmatch(value) is not None
        or (_compiled(_ADVICE).fullmatch(value) is not None and not _holds_drawn(value))
        or _compiled(_ELEMENT).fullmatch(value) is not None
        or _is_reference(value)
        or (is_even(value) and _compiled(_UUID).fullmatch(value) is None)
        or _is_made_of_stand_ins(value)
    )


def is_filler(value: str) -> bool:
    """Whether a value is hidden already, or one letter that fills its place: `***`, `xxxx`, `AAAA0000`."""
    value = value[:_JUDGED_CHARS]
    return (
        not value.strip("xX*.#-_?…• ")
        or _compiled(_MASKED).fullmatch(value) is not None
        or 2 * sum(len(run[0]) for run in _compiled(_SAME).finditer(value)) > len(value)
    )


_BENIGN: Final = (
    r"(?i)none|null|nil|true|false|str|string|int|bytes|bool|any|secretstr|secretbytes|required|undefined|empty|missing|"
    r"invalid|valid|wrong|expired|optional|unset|redacted|masked|hidden|secret|password|passwd|pass|pwd|auth|token|yyy|enabled|"
    r"disabled|active|inactive|malformed|mismatch|revoked|rotated|rejected|accepted|denied|failed|unknown|unavailable|"
    r"encrypted|yes|off|n/a|\[redacted:.*|enc\[.*"
)
_ADVICE: Final = r"(?i)(?:your|my|the|enter|insert|put)[-_ ].*|(?:.*[-_. ])?your[-_ ].*|.*_here"
"""What somebody is told to put there; a drawn text behind `my_` is no advice."""
_MASKED: Final = r"(?s)[^*•█#]{0,8}[*•█#]{3,}[^*•█#]{0,4}|.*[*•█#]{6}.*|(?i:.*[\[(<](?:redacted|hidden|masked|removed|filtered|omitted|snip)[\])>].*)"
"""Somebody has hidden it already, and left at most its ends."""
_UUID: Final = r"(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
"""The form alone says that it is more than a word of a handbook."""
_ELEMENT: Final = r"(?s)</?[A-Za-z][\w:.\-]*(?:[\s/>].*)?"
_SAME: Final = r"([xXaA01*#])\1{4,}"
"""The same letter again and again, as in what stands for a key in a handbook."""

# ---- references: what a program puts the secret in the place of ----

_REFERENCE: Final = (
    r"[$#]\{[^{}]*\}|\$\([^()]*\)|\$\[[\w.]+\]|\{\{[^{}]*\}\}|\{[^{}]*\}|%\(\w+\)[a-z]?|%[srdqv@]|%[A-Z_]{2,}%|"
    r"<[^<>]*>|\[[A-Z_ ]+\]|(?<!\w)\$(?:[A-Za-z_]\w*|\d|[@*#])|(?<!\w)@@\w+@@|(?<!\w)@[A-Z_]{2,}@|__[A-Z]+(?:_[A-Z]+)*__|`[^`]*`?"
)


_KEYED_REFERENCE: Final = rf"(?:--?)?(?:\b[A-Za-z_][\w\-]{{0,30}}[=:][ ]?)?(?:{_REFERENCE})"


def _is_reference(value: str) -> bool:
    """Whether a value is made by a program of a variable: `${TOKEN}`, `%s`, `{user}:{pass}`, `Bearer <token>`."""
    if _compiled(r"(?s)`.*|%").fullmatch(value):
        return True
    if _compiled(r"[${<%@\[`#]|__").search(value) is None:
        return False
    rest = _compiled(_KEYED_REFERENCE).sub(_unless_drawn, value)
    return rest != value and not any(map(str.isdigit, rest)) and sum(map(str.isalpha, rest)) <= 12


def _unless_drawn(match: re.Match[str]) -> str:
    """Nothing in the place of a reference; what looks like one and holds a drawn text is none."""
    return match[0] if _holds_drawn(match[0]) else ""


def _holds_drawn(value: str) -> bool:
    """Whether in some run of a value letters and digits change places more than once."""
    runs = _compiled(r"[A-Za-z0-9]{8,}").findall(value)
    return any(len(_compiled(r"[A-Za-z]+|\d+").findall(run)) > 2 for run in runs)


# ---- words of handbooks ----

_MARKS: Final = frozenset(
    "example examples sample dummy fake mock placeholder changeme change changeit replace replaceme todo fixme tbd "
    "redacted hidden masked removed omitted filtered insert your yours enter paste put supply here".split()
)
"""Words that say of a value that it is none."""
_SECRETS: Final = frozenset(
    "secret secrets password passwords passwd pass pwd passphrase token tokens key keys apikey credential credentials "
    "auth authorization jwt bearer".split()
)
_FILLING: Final = frozenset(
    "a an the my our this that some any me it is in of to for from with and or goes be not real valid value values "
    "string text name id api access refresh client private public user username login admin test testing env var "
    "variable config settings db database service app server host bot web site new old long very strong secure "
    "random own actual generated with at least char chars characters".split()
)
_WORDS: Final = r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+"


def _is_made_of_stand_ins(value: str) -> bool:
    """Whether a value says in words what should stand in its place: `changeme`, `my-secret-token`, `EXAMPLE_KEY_1`."""
    parts = _compiled(_WORDS).findall(value)
    words = [part.lower() for part in parts if not part.isdigit()]
    if not words or len(words) > 12 or sum(map(len, parts)) < 0.6 * len(value):
        return False
    is_marked = not _MARKS.isdisjoint(words)
    has_number = len(words) < len(parts)
    # `secret-1` may be a password, and so may `Secret!`.
    if not is_marked and (has_number or len(words) < 2 or _compiled(r"[\w\- ./:]+").fullmatch(value) is None):
        return False
    known = _MARKS | _SECRETS | _FILLING
    return known.issuperset(words) and (is_marked or not _SECRETS.isdisjoint(words))


_EXAMPLE: Final = r"(?i:example){2}|EXAMPLE(?![A-Z])|(?<![a-z])[Ee]xample(?![a-z])|(?i:placeholder)"
_SHORTEST_WORD: Final = 4


def marks_an_example(key: str) -> bool:
    """Whether what follows the prefix of a key says that it is an example, as in handbooks: `RANDOMSTRINGHERE`."""
    if _compiled(_EXAMPLE).search(key) is not None:
        return True
    letters = "".join(filter(str.isalpha, key[:_JUDGED_CHARS])).lower()
    words = _compiled(_vocabulary()).findall(letters)
    return len(words) > 1 and sum(map(len, words)) > 0.6 * len(letters)


@lru_cache(maxsize=1)
def _vocabulary() -> str:
    words = sorted(_MARKS | _SECRETS | _FILLING, key=len, reverse=True)
    return "|".join(word for word in words if len(word) >= _SHORTEST_WORD)


# ---- one pattern again and again ----

_ROWS: Final = "abcdefghijklmnopqrstuvwxyz 01234567890 qwertyuiop asdfghjkl zxcvbnm"
_STEPS: Final = frozenset(
    steps for steps in zip(_ROWS, _ROWS[1:], _ROWS[2:], strict=False) if " " not in steps
)
_JOINTS_AND_NUMBERS: Final = r"(?:(?<![^\W_])\d+(?=[\W_])|[\W_]+)+"
_SHARE_OF_STEPS: Final = 0.25
"""A text of `abc` and `123` alone has one step in three characters, one drawn by chance less than one in a hundred."""
_RUNS_OF_ONE: Final = r"(.)\1{2,}"
_SHARE_OF_ONE: Final = 0.5
_FEW: Final = 3


def is_even(value: str) -> bool:
    """Whether a long value counts through the alphabet, or is made of runs of one character, or of three at most."""
    # Groups of digits alone are numbers of accounts.
    letters = _compiled(_JOINTS_AND_NUMBERS).sub("", value[:_EVEN_CHARS]).lower()
    count = len(letters)
    if count < _LEAST_JUDGED:
        return False
    steps = sum(map(_STEPS.__contains__, zip(letters, letters[1:], letters[2:], strict=False)))
    if steps >= _SHARE_OF_STEPS * count or len(set(letters)) <= _FEW:
        return True
    return sum(len(run[0]) for run in _compiled(_RUNS_OF_ONE).finditer(letters)) > _SHARE_OF_ONE * count


def counts_on(value: str) -> bool:
    """Whether a value is rows of the alphabet, of digits or of a keyboard, three or more: `AbCeFG123`."""
    letters = _compiled(r"[\W_]+").sub("", value[:_EVEN_CHARS]).lower()
    rows, at = 0, 0
    while at < len(letters):
        end = at
        while tuple(letters[end : end + 3]) in _STEPS:
            end += 1
        if end == at:
            return False
        rows, at = rows + 1, end + 2
    return rows > 2


# ---- code and prose ----

# Code that fetches a secret, or the name of what holds it, holds none.
_CODE: Final = (
    r"(?s)(?:self|os|env|settings|config|args|kwargs|options|process|var|data|this)[.\[].*|getenv.*|getpass.*|[$%<{].*|"
    r"(?:str|string|bytes|int|bool|Any|Optional|None|SecretStr|String|char)[^\w\-@.].*|"
    r"[A-Za-z_][\w.]*\(.*|[a-z]+(?:_[a-z]+)+|[A-Za-z_]\w*[\[{@].*|/[a-z][a-z.\-]*/.*|"
    r"\(+[\w.\[\]]*\)*|(?:~|\.\.?)/.*|!(?:vault|secret|ref|sub|getatt|importvalue|env|ENV|Ref|Sub|GetAtt|ImportValue)|v?\d+(?:\.\d+){1,3}"
)
_FETCH: Final = (
    r"(?s)(?:os\.environ|os\.getenv|process\.env|System\.getenv|ENV|env|secrets|vars|var|settings|config|self|this)"
    r"(?:\.[A-Za-z_]\w*|\[[^\]]*\]?|\(.*)+;?"
)
_TALK: Final = frozenset(
    "password passwords passcode passphrase secret token key required must invalid incorrect wrong please enter "
    "characters forgot reset confirm expired missing cannot should".split()
)
"""Words of labels and messages about a secret."""
_JOINTS: Final = frozenset("is are was be your the a an for not at to of or and with in has".split())


def is_code(value: str) -> bool:
    """Whether an unquoted value is code: a call, an item, a variable of two words, a type, a path."""
    return _compiled(_CODE).fullmatch(value[:_JUDGED_CHARS]) is not None


def is_prose(value: str) -> bool:
    """Whether a quoted value speaks of a secret, `Password is required`, or is the code that fetches it."""
    value = value[:_JUDGED_CHARS]
    if _compiled(_FETCH).fullmatch(value) is not None:
        return True
    words = _compiled(r"[^\W\d_]+").findall(value.lower())
    talked = len(_TALK.intersection(words))
    return talked > 0 and talked + len(_JOINTS.intersection(words)) >= 2
