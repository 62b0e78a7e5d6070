"""Finds secrets in a text: keys with issuers' prefixes, known forms, and values of secret names.

All patterns are anchored at literals: a long text costs a few searches in C, and only the surroundings of
their matches are examined. Every repetition is bounded or cannot be tried twice, so the time is linear.
"""

from __future__ import annotations

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import unquote

from Agent.record.secrets.commands import command_secrets
from Agent.record.secrets.introduced import (
    COMMAND_FORMS,
    HEADERS,
    OPEN,
    changes_often,
    credential_of_header,
    introduced,
)
from Agent.record.secrets.issuers import (
    ESCAPE,
    ESCAPE_SIGNS,
    LONGEST_ESCAPE,
    Token,
    after_escape,
    tokens_by_head,
)
from Agent.record.secrets.names import (
    LIKELY,
    NONE,
    SURE,
    counts_on,
    has_digit,
    is_code,
    is_filler,
    is_issued,
    is_placeholder,
    is_prose,
    is_random,
    is_strong_choice,
    is_wordlike,
    is_words,
    looks_drawn,
    marks_an_example,
    may_be_chosen,
    may_be_number,
    name_says,
    plain_name,
)
from Agent.record.secrets.names import compiled as _compiled
from Agent.record.secrets.nearby import REACH, next_mixed, value_before, value_near
from Agent.record.secrets.structures import in_inserts, in_tables, private_keys

# ---- keys that are marked by their issuer ----

_RUN: Final = r"[A-Za-z0-9_\-+/.=~$]{16,}+"
_HEAD: Final = r"[A-Za-z0-9][A-Za-z0-9_\-/.]"
_BEGINNING: Final = rf"(?<![A-Za-z0-9]){_HEAD}"
_BEHIND_EQUALS: Final = rf"(?<==[0-9A-F]{{2}}){_HEAD}"
_BEHIND_ESCAPE: Final = rf"(?:{after_escape()}){_HEAD}"
_BLOBS: Final = {
    **dict.fromkeys("-_", r"[A-Za-z0-9_\-]{40}"),
    # a path may be as long, but its names are not random
    **dict.fromkeys("+/", r"(?=.{0,39}[A-Z])(?=.{0,39}[a-z])(?=.{0,39}[0-9])[A-Za-z0-9+/]{40}"),
}


def _marked_keys(text: str) -> Iterator[Span]:
    by_head = tokens_by_head()
    for run in _compiled(_RUN).finditer(text):
        for start in _beginnings(text, run):
            for token in by_head.get(start[0], ()):
                at = start.start()
                if not text.startswith(token.prefix, at):
                    continue
                match = _compiled(token.expression).match(text, at)
                if match is not None and _is_key(token, match) and not _is_in_blob(text, at):
                    yield match.span()
                    break


def _beginnings(text: str, run: re.Match[str]) -> Iterator[re.Match[str]]:
    """Yield the first two characters of each place in a run where a word begins, also behind an encoded character."""
    yield from _compiled(_BEGINNING).finditer(text, *run.span())
    if "=" in run[0]:  # the only sign of an escape within a run
        yield from _compiled(_BEHIND_EQUALS).finditer(text, *run.span())
    begin = run.start()
    if begin and text[begin - 1] in ESCAPE_SIGNS and _compiled(ESCAPE).match(text, begin - 1):
        behind = (
            _compiled(_BEHIND_ESCAPE).match(text, begin + size) for size in range(1, LONGEST_ESCAPE + 1)
        )
        yield from filter(None, behind)


def _is_key(token: Token, match: re.Match[str]) -> bool:
    """Whether the text after the prefix is random, and neither words nor a placeholder such as `xxxx`."""
    body = match[0][len(token.prefix) :]
    if is_filler(body) or _compiled(_HIDDEN_OR_FILE).match(match.string, match.end()):
        return False
    if token.is_exact:
        # A body of capitals counts as one word of any length, so the test for words is skipped.
        return body.isupper() or not is_words(body)
    return not (is_placeholder(body) or marks_an_example(body) or (is_words(body) and not body.isupper()))


_HIDDEN_OR_FILE: Final = r"[*•█#]{4}|\.(?:png|jpe?g|gif|svg|ico|css|js|mjs|map|html?|woff2?|ttf|wasm|mp4)\b"
"""What follows a partly masked key, or a digest in a file name; neither is a key."""


def _is_in_blob(text: str, at: int) -> bool:
    """Whether the 40 characters before the key are base64, so that the key is part of a longer text."""
    blob = _BLOBS.get(text[at - 1]) if at > 0 else None
    return blob is not None and bool(_compiled(blob).fullmatch(text, max(0, at - 40), at))


# ---- forms ----

_PUTTY_KEY: Final = r"(?i)private-lines:[ ]\d{1,4}(?:\s|\\[rn])+(?P<secret>(?:[\w+/=\s]|\\[rn]){20,20000})"
_USER_INFO: Final = (
    r"""://(?!\[redacted:)(?:(?!\d{1,5}/)[^\s:/@"'<>]{0,200}:(?!\d{1,5}/)(?P<secret>[^\s"'<>]{3,200})(?=@[\w\[])"""
    r"""|(?P<alone>[\w\-.~]{16,200})(?=@[\w\[]))"""
)
# the same in a URL, as `?next=https%3A%2F%2Fbob%3AX%40h`, perhaps encoded again
_QUOTED_USER_INFO: Final = (
    r"""(?i:(?::|%(?:25)?3A)(?://|%(?:25)?2F%(?:25)?2F)(?!\[redacted:)(?:(?!%(?:25)?(?:3A|2F|40))[^\s:/@"'<>&]){0,200}(?::|%(?:25)?3A)"""
    r"""(?P<quoted>(?:(?!%(?:25)?(?:2F|40))[^\s/@"'<>&]){3,200})(?=(?:@|%(?:25)?40)[\w\[%]))"""
)
_SCHEME: Final = rf"(?i)(?:(?<![a-z])|{after_escape()})(?:bearer|basic)[ ]+(?P<secret>[\w\-.=+/~]{{8,}})"
# `Invalid token X` and the like: no sign follows the name, so only random values count
_TOKEN_OF_SENTENCE: Final = (
    r"""(?i)(?<![\w\-])(?<!per )token[ ]+\\{0,3}["'`]?(?P<secret>[\w\-.=+/~]{20,200})(?![\w/(])"""
)
# RFC 7616: the response that proves the password, also in parameters outside of their header
_DIGEST_RESPONSE: Final = (
    r"""(?i)(?<![\w\-])response=\\{0,3}["']?(?P<secret>[0-9a-f]{32}(?:[0-9a-f]{32})?)(?![\w\-])"""
)
_COOKIES: Final = r"""(?i)cookie(?:\\{0,3}["'])?[ ]{0,3}:[ ]{0,3}(?:\\{0,3}["'])?(?P<secret>[^\s"'\\=,:;]{1,200}=[^\r\n"'\\]{1,4000})"""
_HASH: Final = (
    r"""\$(?:2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}|argon2(?:id|i|d)\$[^\s"':]{30,300}"""
    r"""|(?:1|5|6|7|y|gy|apr1|scrypt)\$(?:[^\s:$"']{1,60}\$){1,3}[./A-Za-z0-9]{20,200})"""
)
# Literal, in lower case -> expression; the group `secret`, or else the whole, is the secret.
_FORMS: Final = {
    **COMMAND_FORMS,
    "private-lines": _PUTTY_KEY,
    "://": f"{_USER_INFO}|{_QUOTED_USER_INFO}",
    ":%2f%2f": _QUOTED_USER_INFO,
    "%3a//": _QUOTED_USER_INFO,
    "%3a%2f%2f": _QUOTED_USER_INFO,
    "%253a//": _QUOTED_USER_INFO,
    "%253a%252f%252f": _QUOTED_USER_INFO,
    "bearer ": _SCHEME,
    "basic ": _SCHEME,
    "token ": _TOKEN_OF_SENTENCE,
    "response=": _DIGEST_RESPONSE,
    "cookie": _COOKIES,
    ":a": r"(?<=\d{5}):(?P<secret>A[\w\-]{34})",
    "q~": rf"(?:(?<![\w~\-][\w.~]{{3}}\d)|{after_escape('[A-Za-z0-9_.~]{3}[0-9]')})"
    r"(?<=[\w.~]{3}\d)Q~[\w~.\-]{31,34}(?![\w~\-])",
    # https://learn.microsoft.com/purview/sit-defn-azure-devops-personal-access-token
    "azdo": r"(?<=[A-Za-z0-9]{76})AZDO[A-Za-z0-9]{4}(?![A-Za-z0-9])",
    # a key of RapidAPI, whose documentation does not say its form
    "msh": r"(?<=[0-9a-f]{10})msh[0-9a-f]{10,20}p1[0-9a-f]{4,8}jsn[0-9a-f]{8,16}(?![A-Za-z0-9])",
    "-us": r"(?<=[0-9a-f]{32})-us[1-9]\d?\b",
    ".atlasv1.": r"(?<=[A-Za-z0-9]{14})\.atlasv1\.[\w\-]{20}[\w=\-]{40,50}",
    "_mmk": r"(?<=_[A-Za-z0-9]{29})_mmk\b",
    "$": _HASH,
    "pbkdf2:": r"""pbkdf2:sha\d+:\d{1,8}\$[^\s"'$]{1,60}\$[\w+/=]{20,200}""",
    "pbkdf2_": r"""pbkdf2_sha\d+\$\d{1,8}\$[^\s"'$]{1,60}\$[\w+/=]{20,200}""",
    "scrypt:": r"""scrypt:\d{1,8}:\d{1,3}:\d{1,3}\$[^\s"'$]{1,60}\$[\w+/=]{20,200}""",
    "sha": r"(?:(?<=\{S)|(?<=\{))SHA(?:256|512)?\}[\w+/]{20,200}={0,2}",
    "|": r"(?<=\d{15})\|[\w\-]{27,40}",
    "sig=": r"""(?i)(?<=[?&])sig=(?P<secret>[^&\s"'\\]{8,})""",
}
_BEFORE_SPAN: Final = {
    "azdo": 76,
    "msh": 10,
    "|": 15,
    "-us": 32,
    "q~": 4,
    ".atlasv1.": 14,
    "_mmk": 36,
    "sha": 1,
}
"""Number of characters of a secret before its literal."""
_HTTP_TOOLS: Final = ("curl", "wget", "http", "etcdctl", "skopeo")
_TOOLS: Final = {
    "-u": _HTTP_TOOLS,
    "--user": _HTTP_TOOLS,
    "--proxy-user": _HTTP_TOOLS,
    " -p": (
        *"mysql mariadb mongo sshpass sqlcmd influx rdesktop".split(),
        *("bcp ", "zip ", "7z ", "7za ", "az login"),
        *("docker login", "podman login", "nerdctl login", "registry login", "oras login", "auth login"),
        *("mosquitto_", "cqlsh", "cypher-shell", "ipmitool", "psexec", "winexe", "evil-winrm", "smbmap"),
    ),
    " -k": ("openssl ",),
    " -a": ("redis-cli", "valkey-cli", "snmp"),
    " -w": ("ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldappasswd", "ldapwhoami"),
}
"""Options that carry a password only with these programs."""
_BESIDE: Final = {**_TOOLS, "response=": ("nonce=",)}
"""Literals that count only if the text also contains one of these words."""
# A Discord bot's token, which has no prefix, and the private members of a key in JSON. It begins with a number in
# Base64; behind a dot, only that tells it from the name of a class.
_DISCORD_BOT: Final = (
    rf"[MNO](?=[A-Za-z0-9]{{23}})(?:(?<![\w.\-].)|{after_escape('.')}"
    r"|(?<=\..)(?=[DTjz][AEIMQUYcgk][w-z0-5](?:[MNO][DTjz][AEIMQUYcgk][w-z0-5]){4}))"
    r"[A-Za-z0-9]{23,27}\.[\w\-]{6}\.[\w\-]{27,40}"
)
_PRIVATE_MEMBER: Final = (
    r"""\\{0,3}"(?:d|k|p|q|dp|dq|qi)\\{0,3}"[ ]?:[ ]?\\{0,3}"(?P<secret>[\w\-]{16,4000})"""
)
_DATA_BLOCK: Final = r"""(?im)^(?P<indent>[ \t]*)["']?(?:string)?data["']?:[ \t]*\r?\n(?P<data>(?:(?P=indent)[ \t]+\S.*(?:\n|\Z)){1,200})"""
_DATA_VALUE: Final = r"""(?m)^[ \t]+["']?[\w.\-/]{1,100}["']?:[ \t]*(?:[|>][-+]?\s+)?["']?(?P<secret>[A-Za-z0-9+/]{10,}+={0,3})"""


def _forms(text: str, lower: str) -> Iterator[Span]:
    for literal, expression in _FORMS.items():
        at = lower.find(literal)
        if at < 0 or (literal in _BESIDE and not any(tool in lower for tool in _BESIDE[literal])):
            continue
        pattern = _compiled(expression)
        while at >= 0:
            match = pattern.match(text, at)
            if match is not None:
                begin, end = match.span(match.lastgroup or 0)
                begin -= _BEFORE_SPAN.get(literal, 0)
                if _is_credential(literal, text[begin:end], is_user=match.lastgroup == "alone"):
                    yield begin, end
            at = lower.find(literal, max(at + len(literal), match.end() if match is not None else 0))
    if "[" in text or "(" in text:
        yield from _secrets_of_commands(text)
    if text.count(".") > 1:
        yield from (match.span() for match in _compiled(_DISCORD_BOT).finditer(text))
    if "private key" in lower and "begin " in lower:
        yield from private_keys(text)
    if "kind:" in lower and "secret" in lower:
        yield from _values_of_kubernetes(text)
    if "into" in lower:
        yield from in_inserts(text)
    if "\n" in text or "\\n" in text:
        yield from in_tables(text)
    yield from introduced(text, lower)
    if "kty" in text:
        yield from (match.span("secret") for match in _compiled(_PRIVATE_MEMBER).finditer(text))


_LIST: Final = r"""[\[(]\\{0,3}["'](?:[^\[\]()]){3,2000}[\])]"""
_WORD: Final = r"""(?P<quote>\\{0,3}["'])(?P<word>(?:[^"'\\]|\\++(?!["'])){0,500})(?P=quote)"""


def _secrets_of_commands(text: str) -> Iterator[Span]:
    """Yield the passwords of commands in lists of words, as in `['docker', 'login', '-p', 'X']`."""
    for words in _compiled(_LIST).finditer(text):
        found = list(_compiled(_WORD).finditer(text, *words.span()))
        for index, at in command_secrets([match["word"] for match in found]).items():
            yield found[index].start("word") + at, found[index].end("word")


def _values_of_kubernetes(text: str) -> Iterator[Span]:
    """Yield the values below `data:` in a YAML document whose kind is `Secret`."""
    if _compiled(r"""(?i)kind:[ \t]*["']?secret\b""").search(text) is None:
        return
    for block in _compiled(_DATA_BLOCK).finditer(text):
        for match in _compiled(_DATA_VALUE).finditer(text, *block.span("data")):
            yield match.span("secret")


def _is_credential(literal: str, value: str, *, is_user: bool) -> bool:
    """Whether the value of a form is a credential, and not the next word of a sentence or a placeholder.

    `is_user` means that the value is the user in a URL without a password.
    """
    if is_placeholder(unquote(unquote(value)) if literal.endswith(("//", "2f")) else value):
        return False
    if literal in _TOOLS:
        user, _, word = value.strip("\"'\\").rpartition(":")
        # The user may be a key, without a password.
        return len(value) > 6 and (not is_placeholder(word) if word else looks_drawn(user))
    if literal == "bearer ":
        return has_digit(value) or (len(value) >= 20 and not value.islower())
    if literal == "token ":
        return changes_often(value)
    if literal == "basic ":
        if len(value) >= 20 and changes_often(value):
            return True
        try:
            # the end of a sentence, or the suffix of a file name, may follow
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
    """Return the (begin, end) of each secret in a text, in order and without overlaps."""
    return _secrets_as_seen(text) if _compiled(_UNSEEN).search(text) is not None else _secrets_of(text)


def _secrets_of(text: str) -> list[Span]:
    lower = text.lower()
    if len(lower) != len(text):  # some characters become two in lower case, which would shift positions
        lower = text.encode("utf-32-le", "surrogatepass").lower().decode("utf-32-le", "surrogatepass")
    found = [*_marked_keys(text), *_forms(text, lower), *named_values(text, lower)]
    found = [span for span in found if not text.startswith("[redacted:", span[0])]
    return _joined([*found, *_repeated(text, found)]) if found else []


_SHORTEST_REPEATED, _LONGEST_REPEATED, _MOST_REPEATED = 8, 200, 16


def _repeated(text: str, found: Sequence[Span]) -> Iterator[Span]:
    """Yield where else a random secret stands: `'X' is too short: password='X'`."""
    for secret in sorted({text[begin:end] for begin, end in found})[:_MOST_REPEATED]:
        if _SHORTEST_REPEATED <= len(secret) <= _LONGEST_REPEATED and is_random(secret):
            at = text.find(secret)
            while at >= 0:
                yield at, at + len(secret)
                at = text.find(secret, at + len(secret))


_UNSEEN: Final = r"\x1b\[[0-9;]{0,20}m|[\u00ad\u200b\u2060\ufeff]|[\0\uff01-\uff5e]|\\{1,8}+u00(?:[46][1-9a-fA-F]|[57][0-9aA])"
"""Styles of a terminal, letters that JSON need not escape, characters without a width, separators of `/proc/PID/cmdline`, and the wide ASCII of China and Japan."""
_WITHOUT_WIDTH: Final = frozenset("\u00ad\u200b\u2060\ufeff")
_AS_SEEN: Final = {0: " ", **{0xFEE0 + code: chr(code) for code in range(0x21, 0x7F)}}


def _secrets_as_seen(text: str) -> list[Span]:
    """Return the secrets of a text as it is seen: without styles, so that a coloured `token` is a name, too."""
    kept, letters = [True] * len(text), list(text)
    ends: dict[int, int] = {}
    for style in _compiled(_UNSEEN).finditer(text):
        begin, end = style.span()
        if text[begin] == "\\":
            letters[begin], ends[begin] = chr(int(text[end - 2 : end], 16)), end
            begin += 1
        if end - begin > 1 or text[begin] in _WITHOUT_WIDTH:
            kept[begin:end] = [False] * (end - begin)
    places = [at for at, is_kept in enumerate(kept) if is_kept]
    seen = "".join([letters[at] for at in places]).translate(_AS_SEEN)
    spans = ((places[begin], places[end - 1]) for begin, end in _secrets_of(seen))
    return [(begin, ends.get(last, last + 1)) for begin, last in spans]


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if joined and begin < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def replaced(text: str, token: Callable[[str], str]) -> str:
    """Return the text with each secret in it replaced by its token."""
    spans = secrets_in(text)
    if not spans:
        return text
    parts: list[str] = []
    done = 0
    for begin, end in spans:
        parts += (text[done:begin], token(text[begin:end]))
        done = end
    return "".join((*parts, text[done:]))


Span = tuple[int, int]

_ANCHORS: Final = (
    r"(?<=[_\-])pat(?![a-z])|"
    "appid|mot de passe|mdp|clave[ _](?:de acceso|secreta)|codice[ _](?:di accesso|segreto)|geheimnis|kata[ _]sandi|pass|pwd|secret|token|key|auth|cred|card|connection|cookie|pin|otp|ssn|psk|jwt|csrf|xsrf|cvv|cvc|sess|sid|mnemonic|"
    "(?<=pass )(?:word|wort)|phrase|number|bearer|signature|sig|oauth|hmac|dsn|iban|salt|webhook|code|pw|kennwort|passwort|contrase|parola|senha|"
    "wachtwoord|has[lł]o|lösenord|adgangskode|salasana|heslo|jelszó|κωδικός|mật[ _]khẩu|סיסמה|كلمة[ _](?:المرور|السر)|รหัสผ่าน|पासवर्ड|口令|schlüssel|cl[eé][ _](?:api|secr[eè]te|d.acc[eè]s)|ключ|токен|密钥|密鑰|令牌|トークン|şifre|пароль|密码|密碼|パスワード|비밀번호|암호(?![화문학])"
)
_LEFT: Final = r"[\w\-]{0,40}\Z"
_RIGHT: Final = r"[\w\-]{0,40}"
_WORD_BEFORE: Final = r"([A-Za-z0-9]{2,20})[ .]\Z"
_SECOND_WORDS: Final = frozenset(
    "key keys number phrase code codes string token password secret word words wort".split()
)
_PARAMETERS: Final = frozenset({"key", "code", "appid"})
"""Names that may be those of secrets as parameters of a URL."""
_NUMBER_NAMES: Final = (
    r"(?:^|_)(?:pin|otp|totp|ssn|cvv2?|cvc2?|passcode|card_?num(?:ber)?|credit_?card|iban|codes?)$"
)

# `b'X'` of Python, `N'X'` of SQL
_PREFIX: Final = r"""(?:[bBrRuUfFNL]{1,2}(?=\\{0,3}["']))?"""
_SCHEMES: Final = r"(?:(?i:bearer|basic|token|bot|apikey|api-key|jwt|ssws)[ ]{1,3})?"
_SIGNED: Final = (
    rf"""(?P<closed>{OPEN}{{1,2}})?(?:\[\w{{1,20}})?\]?[*_]{{0,2}}[ \t]{{0,8}}(?:(?:string|text|:[ ]?[&*]{{0,2}}[A-Za-z_][\w.\[\], |]{{0,40}}?)[ ]{{1,3}}(?=:?=))?"""
    r"""(?P<sign>:{1,3}=|[?.+|]{0,2}={1,3}>?|:|->|\.(?= ["'])|%3[AD](?:%20)?)"""
    # after `|` or `>`, a YAML block follows
    r"""(?:\*{1,2}(?=\s))?(?P<gap>(?:[ \t]{0,8}[|>][-+]?(?=[ \t]{0,8}(?:[\r\n]|\\[nr])))?(?:\s|\\[nrt]){0,30})"""
)
_ASSIGNED: Final = (
    rf"""{_SIGNED}(?:{_PREFIX}(?P<open>{OPEN}){_SCHEMES}(?!(?P=open))(?P<quoted>[^\r\n]{{1,2000}}?)(?P=open)"""
    rf"""|(?:{OPEN})?{_SCHEMES}(?P<bare>(?=[^\s"'`&,;]{{3}})(?:[^\s"'`&,;\\]{{1,200}}+|\\(?![nrt"'`\\])){{1,4}}+))"""
)
_TRIPLED: Final = (
    rf"""{_SIGNED}{_PREFIX}(?P<open>(?P<mark>{OPEN})(?P=mark){{2}})(?:\\?\s|\\{{1,2}}[nr]){{0,20}}{_SCHEMES}(?P<quoted>[^\r\n]{{1,2000}}?)"""
    r"""(?:\s|\\{1,2}[nr]){0,20}(?P=open)"""
)
_ELEMENT: Final = r"""(?:(?:\\{0,3}["'])?>(?:<[Vv]alue>)?|</key>(?:\s|\\[nrt]){0,20}<string>)(?:\s|\\[nrt]){0,60}(?:<!\[CDATA\[)?(?P<quoted>[^<>\s\\][^<>\r\n]{0,500}?)(?:\]\]>)?(?:\s|\\[nrt]){0,60}</"""
# The name in quotes, followed by its value in quotes, perhaps with `value` before it.
_PAIRED: Final = (
    rf"""(?:{OPEN}[ ]{{0,3}}(?:,|=>|[ ])|[ ](?=(?i:value)=))[ ]{{0,3}}(?P<header>(?:{OPEN})?(?i:(?:parameter|option|setting|property|variable)_?value|value|text|content|data|v)(?:{OPEN})?"""
    rf"""[ ]{{0,2}}[:=][ ]{{0,2}})?{_PREFIX}{OPEN}{_SCHEMES}(?P<quoted>(?:[^\r\n"'\\`]{{1,1000}}+|\\(?![nrt"'`\\])){{1,20}}+){OPEN}"""
)
_REST: Final = r"""[^\s"'`&,;\\]*+"""
_OPTION: Final = rf"""[ ]{{1,3}}(?:(?P<open>{OPEN})(?P<quoted>[^\r\n]{{1,500}}?)(?P=open)|(?P<bare>[^\s"'&,;\\\-][^\s"'&,;\\]{{2,500}}))"""
# `is X`, `to X`, `has been changed to X`
_SAYING: Final = r"(?:(?:has|had|will|should|must|is|was|be|been|now|set|reset|changed|updated)[ ]){0,4}(?:is|was|be|now|(?P<to>to|as)|provided|è|é|est|es|ist|lautet)"
# `the password for the server is X`
_OF: Final = r"(?:(?:for|of|on|to|do|da|de|del|du|für|von|vom)(?:[ ][\w.\-]{1,30}){1,3}(?:[ ]|(?=:)))?"
_SPOKEN: Final = (
    rf"""(?:{OPEN})?[ ]{{1,3}}{_OF}(?:(?:{_SAYING}:?|[=:])(?:\s|\\[nr]){{1,6}}(?:{OPEN})?(?P<bare>[^\s"'`,;\\]{{4,200}})"""
    r"""|(?P<open>["'`])(?P<quoted>[^"'`\r\n]{1,200})(?P=open))"""
)
# After `to` or `as`: a place or an algorithm, not a password.
_DESTINATION: Final = r"\w+://|[/.~]|(?:[a-z]+|[A-Z]+)[-_]?\d+\Z"
# A value right after a name, as in daemons' files, after a table's column separator, or after `for <user>:`.
_NEXT: Final = r"""(?:[ ]for(?:[ ][\w.@\-/~']{1,80}){1,2}:)?(?P<gap>(?:[ \t]|\\t){0,30}[|\u2502\u2503][ ]{1,8}|(?:[ \t]|\\t){1,30}(?:REG_\w{2,15}[ \t]{1,30}|[057][ ])?)(?P<bare>[^\s"'`,;\\|]{6,200})"""
_DIGITS: Final = r"""(?:\\{0,3}["'])?[ ]{0,3}(?:[:=#]|is|was)?[ ]{0,3}\\{0,3}["']?(?P<bare>[A-Z]{0,2}\d[\dA-Z \-]{1,32}\d)(?!\w|\.\w)"""
_PHRASE: Final = r"""(?:\\{0,3}["'])?[ ]{0,3}[:=](?:\s|\\[rn]){0,4}\\{0,3}["']?(?P<quoted>(?:[a-z]{3,8}[ ,]{1,2}){11,23}[a-z]{3,8})"""
_SHORTEST_BARE, _SHORTEST_QUOTED, _SHORTEST_TOLD = 3, 4, 16
_OUTSIDE: Final = r"[ ]?[,)\]};+%](?:[ ),\]}:]|\Z)"
"""What follows a text that ends with the name, as in `("Password: ", color="red")`."""
_TYPE_NAME: Final = r"_?(?:[A-Z]{2,5}(?=[A-Z][a-z]{2}))?(?:[A-Z][a-z]{2,}){2,}(?!\w)"
_EXPRESSION: Final = r"[ ](?:[+*/%|]|==?|!=|->|(?:if|else|and|or|for|in|is|not)\b)[ (]"
# `- name: DB_PASSWORD`, and on the next line `value: X`, as in manifests of Kubernetes
_NEXT_LINE: Final = r"""\\{0,3}["']?[ \t]{0,8}(?:\r?\n|(?:\\r)?\\n){1,2}(?:[ \t]|\\t){0,40}value:[ ]{1,8}\\{0,3}["']?(?P<bare>[^\s"'\\,;]{3,500})"""
# `["password"]=> string(5) "X"`, as PHP shows it
_DUMPED: Final = (
    rf"""{OPEN}\]=>(?:\s|\\[nrt]){{0,20}}string\(\d{{1,4}}\)[ ]{OPEN}(?P<quoted>[^\r\n"'\\]{{1,500}}){OPEN}"""
)
# `passwords: ['X', 'Y']`
_LISTED: Final = rf"""(?:{OPEN})?[ \t]{{0,8}}[:=][ ]{{0,3}}[\[(](?:\s|\\{{1,2}}[nr]){{0,40}}(?P<bare>\\{{0,3}}["'][^\[\](){{}}]{{3,2000}})[\])]"""
_TYPE_CHECKS: Final = frozenset(
    {"secret", "token", "pass", "auth", "cookie", "cookies", "bearer", "credentials"}
)
"""Names that also precede a colon in prose: an unquoted value after them must look random."""


def named_values(text: str, lower: str) -> Iterator[Span]:
    """Yield the spans of values of secret names in a text; `lower` is the text in lower case."""
    done, mixed = 0, -1
    for anchor in _compiled(_ANCHORS).finditer(lower):
        at = anchor.start()
        if at < done:
            continue
        left = _compiled(_LEFT).search(text, max(0, at - 40), at)
        begin = left.start() if left else at
        if text[begin - 1 : begin] == "%":  # `%22password%22`
            begin = min(begin + 2, at)
        # no blank divides a name in Chinese or Japanese from what follows
        right = _compiled(_RIGHT).match(text, anchor.end()) if anchor[0] < "\u2e80" else None
        done = end = right.end() if right else anchor.end()
        name = text[begin:end]
        says = _says(text, name, begin)
        if says != NONE:
            span = _value_of(text, name, says, begin, end)
            if span is None and says == SURE and not lower[begin:end].endswith(HEADERS):
                if mixed < end:
                    mixed = next_mixed(text, end)
                near = value_near(text, begin, end) if mixed < end + REACH else None
                span = near or value_before(text, begin)
            if span is not None:
                done = max(done, span[1])
                yield span


def _says(text: str, name: str, begin: int) -> int:
    """Judge a name in a text, with the word before it (`API key`) or as a parameter (`?key=`, `&code=`)."""
    says = name_says(name.strip("-"))
    if says == SURE:
        return says
    if name.lower() in _PARAMETERS and text[begin - 1 : begin] in {"?", "&"}:
        return LIKELY
    if name.lower() in _SECOND_WORDS:
        word = _compiled(_WORD_BEFORE).search(text, max(0, begin - 22), begin)
        if word is not None:
            return max(says, name_says(f"{word[1].lower()}_{name}"))
    return says


def _value_of(text: str, name: str, says: int, begin: int, end: int) -> Span | None:
    plain = plain_name(name.strip("-"))
    if plain.endswith(HEADERS):
        return credential_of_header(text, begin, end)
    if plain.endswith(("signature", "sig")) and not _opens(text, begin, plain):
        return None
    if _compiled(_NUMBER_NAMES).search(plain) or plain == "number":
        match = _compiled(_DIGITS).match(text, end)
        if match is not None and sum(map(str.isdigit, match["bare"])) > (3 if "pin" in plain else 2):
            return match.span("bare")
    if "phrase" in plain or "mnemonic" in plain:
        match = _compiled(_PHRASE).match(text, end)
        if match is not None:
            return match.span("quoted")
    for expression, accepts in _ARRANGEMENTS:
        match = _compiled(expression).match(text, end)
        if match is not None:
            group = "quoted" if match.groupdict().get("quoted") is not None else "bare"
            begin, end = _trimmed(match, group)
            if not accepts(text, match, text[begin:end], name, says):
                return None
            # Only the beginning of a very long value was judged: extend the span to its end.
            rest = _compiled(_REST).match(text, end) if group == "bare" and end == match.end(group) else None
            return begin, rest.end() if rest is not None else end
    return _behind(text, name, says, end)


def _behind(text: str, name: str, says: int, end: int) -> Span | None:
    """Return the value after an option, right after a name, or after words such as `is` or `changed to`."""
    plain = plain_name(name.strip("-"))
    if name.startswith("-"):
        match = _compiled(_OPTION).match(text, end)
        if match is not None:
            group = "quoted" if match["quoted"] is not None else "bare"
            is_long = name.startswith("--") or (
                len(name) > 4 and says == SURE and may_be_chosen(match[group])
            )
            if is_long or group == "quoted" or looks_drawn(match[group]):
                is_other = group == "bare" and _is_described(match[group])
                return None if is_other or is_placeholder(match[group]) else match.span(group)
    if says == SURE:
        match = _compiled(_NEXT).match(text, end)
        if match is not None and _follows(match["bare"], plain, match["gap"]):
            return match.start("bare"), match.start("bare") + len(match["bare"].rstrip(".!?:)"))
    match = _compiled(_SPOKEN).match(text, end)
    if match is not None:
        if match["quoted"] is None:
            value = match["bare"].rstrip(".!?:)")
            is_chosen = says == SURE and _is_of_people(plain) and may_be_chosen(value)
            if match["to"] is not None and _compiled(_DESTINATION).match(value):
                return None
            if not (is_chosen or looks_drawn(value)):
                return None
            return match.start("bare"), match.start("bare") + len(value)
        # In `Pass 'name' to choose`, `Pass` is a verb.
        if (
            plain != "pass"
            and ("pass" in plain or "pwd" in plain or plain == "psk")
            and says == SURE
            and not is_placeholder(match["quoted"])
            and (match["open"] != "`" or may_be_chosen(match["quoted"]))  # names of code are quoted so, too
        ):
            return match.span("quoted")
        # `the token 'X' is expired`; a token of a language model or a parser is shorter.
        if len(match["quoted"]) >= _SHORTEST_TOLD and looks_drawn(match["quoted"]):
            return match.span("quoted")
    return None


def _opens(text: str, begin: int, name: str) -> bool:
    """Whether a signature belongs to a signed URL, which gives access; others only prove an author."""
    return text[begin - 1 : begin] in {"?", "&", ";"} or name.startswith(("x_amz", "x_goog", "x_oss"))


def _is_described(value: str) -> bool:
    """Whether the word after an option is not a secret: `--password PASSWORD`, `--secret id=npm`."""
    if "=" in value and is_wordlike(value.replace("=", "")):
        return True
    value = value.rstrip("])}>")
    return (
        value.startswith(("[", "<")) or (value.isalpha() and value.isupper()) or value.lower() in _OF_OPTIONS
    )


_OF_OPTIONS: Final = frozenset(
    "option options flag flags argument arguments parameter parameters is are to and or can must for with instead from via the was".split()
)


def _is_of_people(name: str) -> bool:
    """Whether people choose the values under a sure name, as they do passwords, and not keys or tokens."""
    return name not in _TYPE_CHECKS and not is_issued(name)


def _follows(value: str, name: str, gap: str) -> bool:
    """Whether a word right after the name of a secret is its value, not the next word of a sentence."""
    value = value.rstrip(".!?:)")
    if _is_of_people(name) and (is_strong_choice(value) or (len(gap) > 1 and may_be_chosen(value))):
        return True  # the latter in the next column
    if name == "pass" and _compiled(r"[\w.\-]*/.*|.*::.*").fullmatch(value):
        return False  # a test that passed
    least = 20 if name in _TYPE_CHECKS else 8
    if len(value) < least or not (has_digit(value) and any(map(str.isalpha, value))):
        return False
    return looks_drawn(value) and not is_placeholder(value) and not value.startswith(("SHA256:", "MD5:"))


OPENINGS: Final = {")": "(", "]": "[", "}": "{", ">": "<"}


def _trimmed(match: re.Match[str], group: str) -> Span:
    """Return the span of a value without closing brackets that were opened before it."""
    begin, end = match.span(group)
    value = match[group]
    if group == "bare":
        while value[-1:] in OPENINGS and value.count(value[-1]) > value.count(OPENINGS[value[-1]]):
            value, end = value[:-1], end - 1
    return begin, end


def _accepts_assigned(text: str, match: re.Match[str], value: str, name: str, says: int) -> bool:
    if is_placeholder(value) or value.lower() == name.lower() or (is_issued(name) and counts_on(value)):
        return False
    if name.upper() in {"PWD", "OLDPWD"} and value.startswith("/"):
        return False
    if match["quoted"] is not None:
        if len(value) < _SHORTEST_QUOTED or is_prose(value) or _is_attribute(value):
            return False
        if _is_beginning(text, match) or _compiled(_OUTSIDE).match(value):
            return False
        is_command = match["open"].endswith("`") and " " in value
        return (says == SURE and not is_command) or is_random(value)
    if len(value) < _SHORTEST_BARE or value[0] in OPENINGS or is_code(value) or _is_attribute(value):
        return False
    if is_wordlike(value) and _compiled(_NUMBER_NAMES).search(plain_name(name)):
        return False  # `MISO pin: GPIO19`
    if match["sign"] == "->" and not is_random(value):
        return False  # `before -> after`
    if value.replace(".", "").isidentifier() and not has_digit(value) and _is_in_code(text, match):
        return False
    if value.isdigit() and not looks_drawn(value) and may_be_number(name.strip("-"), int(value)):
        return False
    # A quoted name with an unquoted value is a dict in code, in which a word is a variable.
    if match["closed"] and value.isidentifier() and not has_digit(value):
        return False
    if says != SURE or plain_name(name.strip("-")) in _TYPE_CHECKS or "\n" in match["gap"]:
        return looks_drawn(value) or (
            says == SURE
            and (_ends(text, match) or not match["gap"].strip(":="))
            and (has_digit(value) or _is_drawn_word(value))
        )
    if plain_name(name).endswith("key") and not (has_digit(value) and any(map(str.isalpha, value))):
        return looks_drawn(value)
    # `password: click here` is prose, `password: swordfish` is not.
    is_word = value.isalpha() and match["sign"] == ":" and " " in match["gap"]
    return not (is_word and _compiled(r"[ ][A-Za-z]").match(text, match.end()))


def _accepts_tripled(text: str, match: re.Match[str], value: str, name: str, says: int) -> bool:
    """Accept a text in triple quotes, unless it is the docstring of a class: on its own line below a name with a colon."""
    is_below = match["sign"] == ":" and _compiled(r"[\r\n]|\\[nr]").search(match["gap"]) is not None
    return _accepts_assigned(text, match, value, name, LIKELY if is_below else says)


def _is_attribute(value: str) -> bool:
    """Whether a value is an attribute in code: `var.db_password`, `form.token`, `request.url.username`."""
    parts = value.split(".")
    if len(parts) < 2 or not all(map(str.isidentifier, parts)):
        return False
    return any(map(name_says, parts)) or (len(parts) > 2 and all(map(is_wordlike, parts)))


def _is_in_code(text: str, match: re.Match[str]) -> bool:
    """Whether an unquoted word is a variable or a type.

    It is one in an expression, in an annotation, or in an assignment to a tuple or an attribute.
    """
    if match["sign"].endswith("==") or _compiled(_EXPRESSION).match(text, match.end()):
        return True
    name_begins = _compiled(_LEFT).search(text, max(0, match.start() - 40), match.start())
    before = text[: name_begins.start()][-2:] if name_begins is not None else ""
    if match["sign"] == "=" and " " in match["gap"]:
        return before == ", " or before.endswith(".")
    is_type = _compiled(_TYPE_NAME).match(match["bare"]) is not None
    return (
        match["sign"] == ":" and is_type and _compiled(r"[,)\]]|[ ]\|").match(text, match.end()) is not None
    )


def _is_beginning(text: str, match: re.Match[str]) -> bool:
    """Whether a quoted text is the first part of a concatenation: `"Basic " + code`, `"user=" + name`."""
    return match["quoted"][-1] in " =:/" and _compiled(r"[ ]{0,3}[+%.&]").match(text, match.end()) is not None


def _ends(text: str, match: re.Match[str]) -> bool:
    """Whether a value is at the end of its line or of a quoted text."""
    return text[match.end() : match.end() + 1] in {"", "\n", "\r", '"', "'", "\\"}


def _accepts_element(_text: str, _match: re.Match[str], value: str, _name: str, says: int) -> bool:
    return not is_placeholder(value) and (looks_drawn(value) or (says == SURE and " " not in value))


_LIST_JOINT: Final = r"""\A(?:\s|\\+[nr]|\\*["'])+|(?:\s|\\+[nr]|\\*["'])+\Z"""


def _accepts_list(_text: str, _match: re.Match[str], value: str, _name: str, says: int) -> bool:
    """Accept a list with a random text in it, as a whole."""
    texts = (_compiled(_LIST_JOINT).sub("", each) for each in value.split(","))
    return says == SURE and any(
        (looks_drawn(each) and not is_placeholder(each)) or may_be_chosen(each) for each in texts
    )


def _accepts_paired(_text: str, match: re.Match[str], value: str, name: str, says: int) -> bool:
    if (
        is_placeholder(value)
        or is_code(value)
        or value.lower() == name.lower()
        or (not match["header"] and is_wordlike(value) and name_says(value) != NONE)
    ):
        return False
    # Two words of a list are not a name and its secret. A value after `value`, or one that is no word, is.
    return (says == SURE and (bool(match["header"]) or _is_drawn_word(value))) or looks_drawn(value)


_ARRANGEMENTS: Final = (
    (_LISTED, _accepts_list),
    (_DUMPED, _accepts_element),
    (_TRIPLED, _accepts_tripled),
    (_ASSIGNED, _accepts_assigned),
    (_ELEMENT, _accepts_element),
    (_PAIRED, _accepts_paired),
    (_NEXT_LINE, _accepts_element),
)
"""How a value follows its name, each with the test whether it is a secret; the first match decides."""


def _is_drawn_word(value: str) -> bool:
    """Whether a value of letters and digits is not words, like a generated password."""
    return len(value) >= 8 and value.isalnum() and not is_words(value)
