"""Finds the credential of an `Authorization` header, whatever its scheme, which is kept."""

from __future__ import annotations

import re
from typing import Final

from Agent.record.secrets.names import compiled, has_digit, is_placeholder, is_wordlike, looks_drawn

Span = tuple[int, int]

OPEN: Final = r"""(?:\\{0,3}["'`]|%2[27]|&(?:quot|apos|#3[49]);)"""
"""A quotation mark: of code, escaped, in a URL, or an entity of HTML."""
HEADERS: Final = ("authorization", "authorisation")
HEADER: Final = rf"""(?P<closed>{OPEN})?[ ]{{0,3}}(?P<sign>[:=,]|=>|%3A(?:%20)?)[ ]{{0,3}}(?P<value>{OPEN}(?i:value)(?:{OPEN})?[ ]?:[ ]?)?(?P<open>{OPEN})?"""
_CREDENTIAL: Final = r"(?s)(?P<scheme>[A-Za-z][A-Za-z0-9\-]{0,30})(?:[ ]{1,3}|%20)(?P<rest>\S.*)"
_PARAMETERS: Final = r"[A-Za-z][\w\-]{0,30}="
_KNOWN_SCHEMES: Final = frozenset(
    "basic bearer digest dpop gnap hoba mutual negotiate oauth privatetoken vapid token apikey api-key api-token key "
    "ntlm aws aws4-hmac-sha256 googlelogin ssws hawk mac sharedkey jwt wsse bot snowflake splunk".split()
)
"""Schemes registered at IANA, and those of individual services."""
_LONGEST_HEADER: Final = 4000


def scheme_and_credential(value: str) -> tuple[str, str] | None:
    """Split the value of an `Authorization` header into the scheme with its blank, and the credential."""
    match = compiled(_CREDENTIAL).fullmatch(value)
    return None if match is None else (value[: match.start("rest")], match["rest"])


def credential_of_header(text: str, begin: int, end: int) -> Span | None:
    """Return the span of the credential of an `Authorization` header whose name stands from `begin` to `end`."""
    match = compiled(HEADER).match(text, end)
    if match is None:
        return None
    at = match.end()
    stop = _end_of_header(text, at, begin, match)
    value = text[at:stop].rstrip()
    # Two words of a list are not a header and its value.
    quoted = match["open"] is not None and (
        match["sign"] != "," or match["value"] is not None or looks_drawn(value)
    )
    if value.lower() in _KNOWN_SCHEMES:
        return None
    word = value.partition(" ")[0]
    if word != value and word.lower() not in _KNOWN_SCHEMES and _is_random(word) and changes_often(word):
        return at, at + len(word)  # a credential without a scheme, before other words
    found = scheme_and_credential(value)
    if found is None:
        if is_placeholder(value):
            return None
        return (at, at + len(value)) if value and (quoted or looks_drawn(value)) else None
    scheme, rest = found
    first = rest.split(None, 1)[0]
    has_parameters = compiled(_PARAMETERS).match(rest) is not None and scheme.strip().lower() != "basic"
    is_known = scheme.removesuffix("%20").strip().lower() in _KNOWN_SCHEMES
    alone = first == rest and (is_known or quoted)
    if is_placeholder(first) or not (
        has_parameters or looks_drawn(first) or alone or (is_known and _is_random(first))
    ):
        return None
    begin = at + len(scheme)
    return begin, begin + (len(rest) if has_parameters else len(first))


def _end_of_header(text: str, at: int, begin: int, match: re.Match[str]) -> int:
    """Return the end of a header's value: the closing quote of value or header, or the end of the line."""
    quote = match["open"]
    if quote is None and not match["closed"]:
        before = text[max(0, begin - 4) : begin]
        opened = compiled(rf"{OPEN}\Z").search(before)
        quote = opened[0] if opened else None
    line_end = compiled(r"[\r\n]").search(text, at, at + _LONGEST_HEADER)
    limit = line_end.start() if line_end else min(len(text), at + _LONGEST_HEADER)
    if quote is None:
        return limit
    stop = text.find(quote, at, limit)
    while stop > 0 and text[stop - 1] == "\\":
        stop = text.find(quote, stop + 1, limit)
    return stop if stop >= 0 else limit


def _is_random(word: str) -> bool:
    return len(word) >= 16 and not is_wordlike(word)


_CHANGE: Final = r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[A-Za-z])"


def changes_often(value: str) -> bool:
    """Whether lower case, upper case and digits alternate, as in random texts, unlike names with numbers."""
    return has_digit(value) and len(compiled(_CHANGE).findall(value)) >= len(value) / 5
