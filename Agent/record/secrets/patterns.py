"""Where secrets stand in a text: keys that are marked as such, forms that hold one, values of secret names.

Everything is anchored at literals, so that a long text costs a few searches in C and only the neighbourhood of
what they find is looked at; every repetition is bounded or cannot be tried twice, so the time is linear.
"""

from __future__ import annotations

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from typing import Final

from Agent.record.secrets.assignments import Span, named_values
from Agent.record.secrets.issuers import Token, tokens_by_head
from Agent.record.secrets.names import compiled as _compiled
from Agent.record.secrets.names import has_digit, is_wordlike, is_words, looks_drawn
from Agent.record.secrets.placeholders import is_filler, is_placeholder, marks_an_example

__all__ = ["replaced", "secrets_in"]

# ---- keys that are marked by their issuer ----

_RUN: Final = r"[A-Za-z0-9_\-+/.=~$]{16,}+"
_BEGINNING: Final = r"(?<![A-Za-z0-9])[A-Za-z0-9][A-Za-z0-9_\-/.]"
_BLOBS: Final = {
    **dict.fromkeys("-_", r"[A-Za-z0-9_\-]{40}"),
    # a path may be as long, but its names are not drawn
    **dict.fromkeys("+/", r"(?=.{0,39}[A-Z])(?=.{0,39}[a-z])(?=.{0,39}[0-9])[A-Za-z0-9+/]{40}"),
}


def _marked_keys(text: str) -> Iterator[Span]:
    by_head = tokens_by_head()
    for run in _compiled(_RUN).finditer(text):
        for start in _compiled(_BEGINNING).finditer(text, *run.span()):
            for token in by_head.get(start[0], ()):
                at = start.start()
                if not text.startswith(token.prefix, at):
                    continue
                match = _compiled(token.expression).match(text, at)
                if match is not None and _is_key(token, match) and not _is_in_blob(text, at):
                    yield match.span()
                    break


def _is_key(token: Token, match: re.Match[str]) -> bool:
    """Whether what follows the prefix is drawn, and neither words nor a placeholder such as `xxxx`."""
    body = match[0][len(token.prefix) :]
    if is_filler(body) or _compiled(_HIDDEN_OR_FILE).match(match.string, match.end()):
        return False
    if token.is_exact:
        # Capitals alone would be one word of any length.
        return body.isupper() or not is_words(body)
    return not (is_placeholder(body) or marks_an_example(body) or (is_words(body) and not body.isupper()))


_HIDDEN_OR_FILE: Final = r"[*•█#]{4}|\.(?:png|jpe?g|gif|svg|ico|css|js|mjs|map|html?|woff2?|ttf|wasm|mp4)\b"
"""What follows a key of which the rest is hidden, and the digest in the name of a file."""


def _is_in_blob(text: str, at: int) -> bool:
    """Whether the sign before the key belongs to a long piece of base64."""
    blob = _BLOBS.get(text[at - 1]) if at > 0 else None
    return blob is not None and bool(_compiled(blob).fullmatch(text, max(0, at - 40), at))


# ---- forms ----

_KEY_BEGINS: Final = r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"
_KEY_ENDS: Final = r"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}"
_KEY_BODY: Final = r"[\w+/=\s\\:,]{0,20000}+"
_KEY_LINE: Final = r"[A-Za-z0-9+/]{16,}"
_LONGEST_KEY: Final = 20_000
_PUTTY_KEY: Final = r"(?i)private-lines:[ ]\d{1,4}(?:\s|\\[rn])+(?P<secret>(?:[\w+/=\s]|\\[rn]){20,20000})"
_USER_INFO: Final = (
    r"""://(?!\[redacted:)(?:(?!\d{1,5}/)[^\s:/@"'<>]{0,200}:(?!\d{1,5}/)(?P<secret>[^\s"'<>]{3,200})(?=@[\w\[])"""
    r"""|(?P<alone>[\w\-.~]{16,200})(?=@[\w\[]))"""
)
_SCHEME: Final = r"(?i)(?<![a-z])(?:bearer|basic)[ ]+(?P<secret>[\w\-.=+/~]{8,})"
_COOKIES: Final = r"""(?i)cookie(?:\\{0,3}["'])?[ ]{0,3}:[ ]{0,3}(?:\\{0,3}["'])?(?P<secret>[^\s"'\\=,:;]{1,200}=[^\r\n"'\\]{1,4000})"""
_HASH: Final = (
    r"""\$(?:2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}|argon2(?:id|i|d)\$[^\s"':]{30,300}"""
    r"""|(?:1|5|6|7|y|gy|apr1|scrypt)\$(?:[^\s:$"']{1,60}\$){1,3}[./A-Za-z0-9]{20,200})"""
)
_CURL_USER: Final = (
    r"""(?<![\w\-])(?:-u|--user)[ =]{0,3}(?P<secret>(?![<$\\])(?=[^\s:]{0,100}:)"""
    r"""(?:\\?"[^"\r\n\\]{0,200}\\?"|'[^'\r\n]{0,200}'|[^\s"'\\]){1,300}+)"""
)
_OPTION_OF_TOOL: Final = (
    r"""(?i:[ ]-[paw])[ ]?\\{0,3}["']?(?P<secret>(?!\d+:\d)[^\s"'$<\-\\][^\s"'$<\\]{2,100})"""
)
# Literal, in lower case -> expression; the group `secret`, or else the whole, is the secret.
_FORMS: Final = {
    "private-lines": _PUTTY_KEY,
    "://": _USER_INFO,
    "bearer ": _SCHEME,
    "basic ": _SCHEME,
    "cookie": _COOKIES,
    ":a": r"(?<=\d{5}):(?P<secret>A[\w\-]{34})",
    "q~": r"(?<![\w~.\-][\w.~]{3}\d)(?<=[\w.~]{3}\d)Q~[\w~.\-]{31,34}(?![\w~.\-])",
    "-us": r"(?<=[0-9a-f]{32})-us\d{1,2}\b",
    ".atlasv1.": r"(?<=[A-Za-z0-9]{14})\.atlasv1\.[\w=\-]{60,70}",
    "_mmk": r"(?<=_[A-Za-z0-9]{29})_mmk\b",
    "$": _HASH,
    "pbkdf2:": r"""pbkdf2:sha\d+:\d{1,8}\$[^\s"'$]{1,60}\$[\w+/=]{20,200}""",
    "pbkdf2_": r"""pbkdf2_sha\d+\$\d{1,8}\$[^\s"'$]{1,60}\$[\w+/=]{20,200}""",
    "scrypt:": r"""scrypt:\d{1,8}:\d{1,3}:\d{1,3}\$[^\s"'$]{1,60}\$[\w+/=]{20,200}""",
    "sha": r"(?<=\{S)SHA(?:256|512)?\}[\w+/=]{20,200}|(?<=\{)SHA(?:256|512)?\}[\w+/=]{20,200}",
    "|": r"(?<=\d{15})\|[\w\-]{27,40}",
    "-u": _CURL_USER,
    "--user": _CURL_USER,
    **dict.fromkeys((" -p", " -a", " -w"), _OPTION_OF_TOOL),
    "echo ": r"""echo[ ]+(?:-n[ ]+)?["']?(?:[\w.\-]+:)?(?P<secret>[^\s"'|$`:]{4,100})["']?[ ]*\|[^|\n]{0,60}?(?:chpasswd|sudo -S|-stdin\b)""",
    "htpasswd": r"htpasswd(?:[ ]+-\w+)*?[ ]+-\w*b\w*(?:[ ]+-\w+)*[ ]+\S+[ ]+\S+[ ]+(?P<secret>\S+)",
    "thin:": r"(?i)thin:[\w.]{1,60}/(?P<secret>[^\s@]{3,100})@",
    "identified by": r"""(?i)identified[ ]by[ ]+(?:password[ ]+)?\\{0,3}["'](?P<secret>[^"'\\\r\n]{1,200})""",
    "set password for": r"""(?i)set[ ]password[ ]for[ ]+[^=\r\n]{1,120}=[ ]{0,3}(?:password\()?\\{0,3}["'](?P<secret>[^"'\\\r\n]{1,200})""",
    "login": r"""(?i)login\s{1,20}\S{1,100}\s{1,20}password[ \t]{1,20}(?P<secret>[^\s"'\\]{1,200})""",
    "sig=": r"""(?i)(?<=[?&])sig=(?P<secret>[^&\s"'\\]{8,})""",
}
_BEFORE_SPAN: Final = {"|": 15, "-us": 32, "q~": 4, ".atlasv1.": 14, "_mmk": 36, "sha": 1}
"""How much of a secret stands before its literal."""
_HTTP_TOOLS: Final = ("curl", "wget", "http")
_TOOLS: Final = {
    "-u": _HTTP_TOOLS,
    "--user": _HTTP_TOOLS,
    " -p": (
        *(
            "mysql",
            "mariadb",
            "mongo",
            "sshpass",
            "sqlcmd",
            "bcp ",
            "zip ",
            "7z ",
            "7za ",
            "influx",
            "rdesktop",
            "az login",
        ),
        *("docker login", "podman login", "nerdctl login"),
    ),
    " -a": ("redis-cli", "valkey-cli", "snmp"),
    " -w": ("ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldappasswd", "ldapwhoami"),
}
"""Options that carry a password with some programs only."""
# A bot's token at Discord, which has no prefix, and the private members of a key in JSON.
_DISCORD_BOT: Final = r"(?<![\w.\-])[MNO][A-Za-z0-9]{23,27}\.[\w\-]{6}\.[\w\-]{27,40}"
_PRIVATE_MEMBER: Final = (
    r"""\\{0,3}"(?:d|k|p|q|dp|dq|qi)\\{0,3}"[ ]?:[ ]?\\{0,3}"(?P<secret>[\w\-]{16,4000})"""
)
_DATA_BLOCK: Final = r"""(?im)^(?P<indent>[ \t]*)["']?(?:string)?data["']?:[ \t]*\r?\n(?P<data>(?:(?P=indent)[ \t]+\S.*(?:\n|\Z)){1,200})"""
_DATA_VALUE: Final = r"""(?m)^[ \t]+["']?[\w.\-/]{1,100}["']?:[ \t]*(?:[|>][-+]?\s+)?["']?(?P<secret>[A-Za-z0-9+/]{10,}+={0,3})"""


def _forms(text: str, lower: str) -> Iterator[Span]:
    for literal, expression in _FORMS.items():
        at = lower.find(literal)
        if at < 0 or (literal in _TOOLS and not any(tool in lower for tool in _TOOLS[literal])):
            continue
        pattern = _compiled(expression)
        while at >= 0:
            match = pattern.match(text, at)
            if match is not None:
                begin, end = _span_of(match)
                begin -= _BEFORE_SPAN.get(literal, 0)
                if _is_credential(literal, text[begin:end], is_user=match.lastgroup == "alone"):
                    yield begin, end
            at = lower.find(literal, max(at + len(literal), match.end() if match is not None else 0))
    if text.count(".") > 1:
        yield from (match.span() for match in _compiled(_DISCORD_BOT).finditer(text))
    if "private key" in lower and "begin " in lower:
        yield from _private_keys(text)
    if "kind:" in lower and "secret" in lower:
        yield from _values_of_kubernetes(text)
    if "kty" in text:
        yield from (match.span("secret") for match in _compiled(_PRIVATE_MEMBER).finditer(text))


def _private_keys(text: str) -> Iterator[Span]:
    """Private keys as text, up to their end; where that was cut off, all that follows, or what looks like one."""
    end: re.Match[str] | None = None
    has_end = True
    done = 0
    for begin in _compiled(_KEY_BEGINS).finditer(text):
        if begin.start() < done:
            continue
        if has_end and (end is None or end.start() < begin.end()):
            end = _compiled(_KEY_ENDS).search(text, begin.end())
            has_end = end is not None
        if end is not None and end.start() - begin.end() <= _LONGEST_KEY:
            done = end.end()
        elif len(text) - begin.end() <= _LONGEST_KEY:
            done = len(text)
        else:
            body = _compiled(_KEY_BODY).match(text, begin.end())
            done = body.end() if body is not None else begin.end()
        # Code that looks for the line has no key behind it.
        if any(not is_words(run[0]) for run in _compiled(_KEY_LINE).finditer(text, begin.end(), done)):
            yield begin.start(), done


def _values_of_kubernetes(text: str) -> Iterator[Span]:
    """The values below `data:` in a document of YAML whose kind is `Secret`."""
    if _compiled(r"""(?i)kind:[ \t]*["']?secret\b""").search(text) is None:
        return
    for block in _compiled(_DATA_BLOCK).finditer(text):
        for match in _compiled(_DATA_VALUE).finditer(text, *block.span("data")):
            yield match.span("secret")


def _span_of(match: re.Match[str]) -> Span:
    for group in ("secret", "alone", "quoted"):
        if match.groupdict().get(group) is not None:
            return match.span(group)
    return match.span()


def _is_credential(literal: str, value: str, *, is_user: bool) -> bool:
    """Whether what a form holds is a credential, and not the next word of a sentence or a placeholder.

    `is_user` says that it stands in a URL where a user does, with no password behind it.
    """
    if is_placeholder(value):
        return False
    if literal in _TOOLS:
        user, _, word = value.strip("\"'\\").rpartition(":")
        # A key may be the user, with no password.
        return len(value) > 6 and (not is_placeholder(word) if word else looks_drawn(user))
    if literal == "bearer ":
        return has_digit(value) or (len(value) >= 20 and not value.islower())
    if literal == "basic ":
        try:
            # behind it a sentence may end, or the name of a file go on
            encoded = value.partition(".")[0].rstrip("=~")
            name, colon, password = a2b_base64(encoded + "=" * (-len(encoded) % 4)).partition(b":")
        except NotBase64:
            return False
        return bool(colon) and len(name) + len(password) >= 6 and name.isascii()
    if literal == ":a":
        return not is_wordlike(value)
    return not (is_user and is_wordlike(value))


# ---- together ----


def secrets_in(text: str) -> list[Span]:
    """Where secrets stand in a text: (begin, end) in order, none overlapping another."""
    lower = text.lower()
    if len(lower) != len(text):  # a few letters become two; then only ASCII is folded
        lower = text.encode("utf-32-le", "surrogatepass").lower().decode("utf-32-le", "surrogatepass")
    found = [*_marked_keys(text), *_forms(text, lower), *named_values(text, lower)]
    return _joined([span for span in found if not text.startswith("[redacted:", span[0])])


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if joined and begin < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def replaced(text: str, token: Callable[[str], str]) -> str:
    """The text with each secret in it replaced by its token."""
    spans = secrets_in(text)
    if not spans:
        return text
    parts: list[str] = []
    done = 0
    for begin, end in spans:
        parts += (text[done:begin], token(text[begin:end]))
        done = end
    return "".join((*parts, text[done:]))
