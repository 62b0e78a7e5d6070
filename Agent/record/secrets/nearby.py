"""Finds the value of a secret's name at any place behind the name, whatever the syntax.

`patterns.py` knows how a value follows its name directly. Here the words behind a name are read in turn, in
prose, markup, code, or on the next line, and the first one that looks like a password or a key is the secret,
unless it has a label of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from Agent.record.secrets.issuers import INNER_NAMES, OTHER_SCRIPTS, SAYING
from Agent.record.secrets.names import (
    SURE,
    compiled,
    has_digit,
    is_code,
    is_letters_drawn,
    is_placeholder,
    is_strong_choice,
    is_words,
    looks_drawn,
    may_be_chosen,
    name_says,
)

Span = tuple[int, int]

_HELD: Final = frozenset(
    "value v val text content contents data input default string new current now result output answer reply response "
    "typed entered literal plaintext plain clear a".split()
)
"""Labels of any value: a secret's name beside them says what the value is."""
_PIECE: Final = r"""(?P<tag></?[A-Za-z][^<>\r\n]{0,200}>|<!\[CDATA\[|\\[a-z]{4,20}\{|&\#?\w{1,8};)|(?P<line>\r?\n|(?:\\r)?\\n)|\\[rt]|(?P<word>[\u2e80-\uffff]+|[^\s"'`<>|,;()\[\]{}\\\u2010-\u2027\u2190-\u21ff\u2500-\u257f\u2e80-\uffff]+)"""
_BEFORE: Final = r"(?:[.,:;!?*_~=>\-]|%[0-9A-Fa-f]{2})*+(?P<core>.*)"
_BEHIND: Final = frozenset(".,:;?*")
"""Signs before and behind a word that do not belong to it."""
REACH: Final = 240
"""How many characters behind its name a value may stand."""
_MOST_WORDS: Final = 10
_LABELLED: Final = r"(?P<label>[A-Za-z][\w.\-]{0,40})[=:](?P<value>.+)"
_MAY_HOLD: Final = r"[A-Za-z_\-@!#%*+=][0-9]|[0-9][A-Za-z]|[a-z][A-Z]"
"""What each strong value has in it, found fast."""
_SIGN: Final = r"""[ \t"'`\]]{0,8}(?:=>|->|[:=])"""
_ARROW: Final = r"""["'`]{0,2}[ ]?(?:->|=>|\u2192)"""
_SENTENCE_ENDS: Final = r"[^\W\d_][.!](?:\s|\\n|\Z)"
_OWNERS: Final = frozenset(
    "for by from of in on at user username account login id host server commit version ticket order request session "
    "file key name hash digest fingerprint checksum sha256 md5 uuid".split()
)
"""Words before a name of somebody or something, not before a secret."""
_SEEN: Final = (
    r"""(?i)[ \\"'`0-9_\-\[\].?+|]{0,60}(?:[=<>%('`#\\:|"\r\n\t]|(?<! )[ ](?=[ |]*(?:[-'`"\\]|"""
    + "|".join(word.decode() for word in SAYING)
    + r"""|[^ "]{0,100}[0-9\u0080-\U0010ffff])))"""
)
"""What has to follow a name so that the quick look sees it, unless it sees the name wherever it stands."""
_ALWAYS_SEEN: Final = "|".join(re.escape(name.decode()) for name in (*INNER_NAMES, *OTHER_SCRIPTS))
_OTHER: Final = r"""(?xs)
      [0-9a-f\-:]+ | [0-9A-F\-:]+                                # a digest, a UUID, an address of hardware
    | [\w\-]+(?:\.[A-Za-z][\w\-]*)+(?::\d+)?                   # a host, a module, a file
    | [^@]*@[\w\-]+(?:\.[\w\-]+)+(?::\d+)?                    # an address of mail
    | .*://.* | [\w\-]{1,12}:.* | .*(?:A-Z|a-z).*
    | (?i:.*(?:hmac|(?:sha|pbkdf|argon|aes|rsa)-?\d).*)        # an algorithm
    | \d[\d.:/T+\-]*Z?
    """
_LONGEST_TOLD: Final = 400
_SHORTEST, _LONGEST, _SHORTEST_WITH_SLASH = 8, 200, 20


def is_held_by(label: str) -> bool:
    """Whether a label or key is that of any value, such as `value`, `new` or `ParameterValue`."""
    return label.lower() in _HELD or label.lower().endswith("value")


def is_strong(value: str) -> bool:
    """Whether a value looks like a password or a key wherever it stands: letters of both cases and digits, no name."""
    if not _SHORTEST <= len(value) <= _LONGEST or not value.isascii() or not _may_be_secret(value):
        return False
    if "/" in value and (len(value) < _SHORTEST_WITH_SLASH or any(map(is_words, value.split("/")))):
        return False
    if is_strong_choice(value) or is_letters_drawn(value):
        return True
    has_cases = any(map(str.isupper, value)) and any(map(str.islower, value))
    return has_cases and has_digit(value) and looks_drawn(value)


def _may_be_secret(value: str) -> bool:
    """Whether a value is no digest, address, time, file, stand-in or code."""
    return compiled(_OTHER).fullmatch(value) is None and not is_placeholder(value) and not is_code(value)


def speaks_of_secret(value: object) -> bool:
    """Whether a value is a short text that contains the name of a secret, or ends with one."""
    if not isinstance(value, str) or len(value) > _LONGEST_TOLD:
        return False
    if compiled(_ALWAYS_SEEN).search(value.lower()) is not None:
        return True
    last = compiled(r"(?:\w+[ ])?\w+(?=[.?]?\Z)").search(value[-60:])
    return last is not None and name_says(last[0]) == SURE


def answer_in(text: str) -> Span | None:
    """Return the span of a strong value in a text that answers another: `It is X`."""
    return value_near(text, 0, 0, is_seen=True)


def next_mixed(text: str, begin: int) -> int:
    """Return where the next word may be that is strong, behind the end of the text if there is none."""
    match = compiled(_MAY_HOLD).search(text, begin)
    return match.start() if match is not None else len(text) + REACH


def value_near(text: str, begin: int, end: int, *, is_seen: bool = False) -> Span | None:
    """Return the span of the value of the surely secret name from `begin` to `end`, if it stands near behind it."""
    if not (
        is_seen or compiled(_ALWAYS_SEEN).search(text[begin:end].lower()) or compiled(_SEEN).match(text, end)
    ):
        return None
    has_sign = compiled(_SIGN).match(text, end) is not None
    words = 0
    last = (end, end)
    for at, stop, lines in _words(text, end):
        if at == end and begin < end and max(text[begin:end]) < "\u2e80":
            return None  # the rest of a very long name
        value, gap = text[at:stop], text[last[1] : at]
        is_answer = (
            words == lines == 0 and has_sign and compiled(r"[<(\[{]").search(text, end, stop + 1) is None
        )
        if is_answer:
            # `patterns.py` has judged it, but not the second of `password = "old" -> "new"`
            if compiled(_ARROW).match(text, stop) is None:
                return None
        elif words == 0 and (lines or not has_sign) and compiled(r"[(<\[\r\n\\]").search(gap):
            # right behind the name, where no sign says what is a value, brackets, tags and lines do
            if (not lines or _is_alone(text, at, stop)) and _may_be_given(value):
                return at, stop
        elif (own := _marked_value(text, last, (at, stop), words, lines)) is not None:
            return own
        if name_says(value) == SURE or compiled(_SENTENCE_ENDS).match(text, stop - 1):
            return None
        words += not value.isdigit()
        if words > _MOST_WORDS:
            return None
        last = (at, stop)
    return None


def _words(text: str, begin: int) -> Iterator[tuple[int, int, int]]:
    """Yield where the words behind a place begin and end, and how many lines end before them."""
    lines = 0
    for piece in compiled(_PIECE).finditer(text, begin, min(len(text), begin + REACH)):
        lines += piece["line"] is not None
        at, stop = _core(text, *piece.span()) if piece["word"] is not None else (0, 0)
        if at < stop:
            if text.startswith("[redacted:", at - 1):
                return
            yield at, stop, lines


def _marked_value(text: str, last: Span, span: Span, words: int, lines: int) -> Span | None:
    """Return the span of a strong value in a word that a label, a sign or its position marks as the secret."""
    at, stop = span
    own = compiled(_LABELLED).fullmatch(text, at, stop)
    if own is not None:
        is_held, at = is_held_by(own["label"]), own.start("value")
        is_other = not is_held
    else:
        is_held, is_other = _label(text, last, at) if words else (False, False)
    if is_other or not is_strong(text[at:stop]):
        return None
    is_said = text[slice(*last)].lower() in _SAYING
    if lines:
        return (at, stop) if is_held or is_said or _is_alone(text, at, stop) else None
    sign = compiled(r"""[:="'`<>\u2192]|->""").search(text, last[1], at)
    return (at, stop) if words == 0 or is_held or is_said or sign is not None else None


def _may_be_given(value: str) -> bool:
    """Whether a value right behind the name may be a password that a person chose, or is strong."""
    return is_strong(value) or (may_be_chosen(value) and _may_be_secret(value))


def _core(text: str, begin: int, end: int) -> Span:
    """Return the span of a word without the signs around it, but with those that may end a password."""
    match = compiled(_BEFORE).match(text, begin, end)
    begin = match.start("core") if match is not None else begin
    while begin < end and text[end - 1] in _BEHIND:
        end -= 1
    return begin, end


def _label(text: str, last: Span, at: int) -> tuple[bool, bool]:
    """Return whether the word before a value is the label of any value, and whether it is another's label."""
    begin, end = last
    word, gap = text[begin:end], text[end:at]
    if is_held_by(word):
        return True, False
    if word.isdigit() or word.lower() in _SAYING:
        return False, False
    if compiled(r"[:=]").search(gap) is None:
        return False, word.lower() in _OWNERS
    # In `for the user bob: X` the word is part of a sentence; in `, id: X`, or alone on a line, it is a label.
    is_in_a_sentence = compiled(r"(?<=[\w'`.,)])[ ]\Z|[(\[]\Z").search(text, max(0, begin - 2), begin)
    return False, "=" in gap or "_" in word or is_in_a_sentence is None


_SAYING: Final = frozenset(
    "is s are was be now as to est es è é ist lautet är er jest to теперь это 是 为 は 는 은".split()
)
"""Words that introduce a value, most of them for `is`; `s` of `it's`."""
_UNDER: Final = (
    r"""(?:^|[\r\n]|\\n)(?:[ \t>*"'`|\-\u2500-\u257f]|</?[A-Za-z][^<>\r\n]{0,60}>|[\w\[\]]{1,10}:){0,40}\Z"""
)
_CELL: Final = r"""[|\u2502\t>][ "'`]{0,8}\Z""", r"""[ "'`]{0,8}[|\u2502\t<]"""
_OVER: Final = r"""(?:[ \t"'`|\u2500-\u257f]|<[/A-Za-z][^<>\r\n]{0,60}>){0,40}(?:[\r\n]|\\[rn]|\Z)"""


def _is_alone(text: str, begin: int, end: int) -> bool:
    """Whether a value stands alone on its line, but for markup, or alone in its cell."""
    left, right = _CELL
    return (
        compiled(left).search(text, max(0, begin - 10), begin) is not None
        and compiled(right).match(text, end) is not None
    ) or (
        compiled(_UNDER).search(text, max(0, begin - 80), begin) is not None
        and compiled(_OVER).match(text, end) is not None
    )


_FORWARD: Final = r"""["'`]?[ ](?:is|as|was|est|ist|es)[ ](?:(?:the|your|my|our|its|his|her|a|an|new|now|le|la|das|dein|ihr)[ ]){0,2}(?:[\w\-]{1,20}[ ]){0,2}\Z|["'`]?[ ]?[(\[]\Z"""
_BEING: Final = (" is ", " as ", " was ", " est ", " ist ", " es ")


def value_before(text: str, begin: int) -> Span | None:
    """Return the span of a value that a sentence gives before the name: `X is the password`, `X (password)`."""
    least = max(0, begin - 80)
    before = text[least:begin]
    if not (before.endswith(("(", "[")) or any(word in before for word in _BEING)):
        return None
    match = compiled(_FORWARD).search(before)
    if match is None:
        return None
    end = least + match.start()
    word = compiled(r"[^\s\"'`<>|,;()\[\]{}\\]{1,200}\Z").search(text, max(0, end - 200), end)
    return word.span() if word is not None and is_strong(word[0]) else None
