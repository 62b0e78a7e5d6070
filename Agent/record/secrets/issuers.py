"""Keys and tokens with prefixes of their issuers (`issuers.txt`), and the quick check of a payload's bytes.

Nearly all payloads are clean and need only the quick check. It may have false positives, which cost an
unnecessary full search (`patterns.py`), but no false negatives. `_native.c` does the same faster.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from Agent.event.limits_of_time import undisturbed

ALPHABETS: Final = {
    "d": "0-9",
    "h": "0-9a-f",
    "x": "0-9a-fA-F",
    "l": "a-z0-9",
    "u": "A-Z0-9",
    "c": "A-Za-z",
    "a": "A-Za-z0-9",
    "w": "A-Za-z0-9_",
    "s": r"A-Za-z0-9_\-",
    "b": "A-Za-z0-9+/",
    "m": r"A-Za-z0-9+/_\-",
    "p": r"A-Za-z0-9_\-.=",
    "t": "A-Za-z0-9%",
}
"""Letter codes of alphabets in `issuers.txt`: digits, hexadecimal, letters and digits, base64, percent-encoding."""

_HEX_DIGIT: Final = "[0-9a-fA-F]"
_ESCAPES: Final = (
    *(
        r"\\[abefnrtv0]",
        rf"\\x{_HEX_DIGIT}{{2}}",
        rf"\\u{_HEX_DIGIT}{{4}}",
        rf"\\U{_HEX_DIGIT}{{8}}",
        r"\\[0-7]{3}",
    ),
    *(rf"%{'25' * times}{_HEX_DIGIT}{{2}}" for times in range(3)),  # of URLs, which may be in other URLs
    "=[0-9A-F]{2}",  # of mail
    *(r"\[[mKJH]", r"[\[;]\d[A-Za-z]", r"[\[;]\d\d[A-Za-z]", r"[\[;]\d{3}[A-Za-z]", r"\(B"),  # of a terminal
)
ESCAPE: Final = "|".join(_ESCAPES)
"""An encoded character, one of whose signs stands before its letters and digits."""
ESCAPE_SIGNS: Final = "\\%=[;("
LONGEST_ESCAPE: Final = 9
"""How many letters and digits these are at most."""


def after_escape(then: str = "") -> str:
    r"""Return the expression of a place behind an encoded character, such as `\n`, `%3D` or `\x1b[32m`, and behind `then`.

    What is encoded ends a word, although its last character is a letter or digit.
    """
    return "|".join(f"(?<={escape}{then})" for escape in _ESCAPES)


_TABLE: Final = Path(__file__).with_name("issuers.txt").read_text("utf-8")
_ROWS: Final = tuple(row for row in _TABLE.splitlines() if not row.startswith("#"))


class Token(NamedTuple):
    """One kind of key: its prefix, the parts that follow, its issuer, and the source of that information."""

    prefix: str
    parts: tuple[tuple[str, int, int | None], ...]
    """(alphabet, least, most or None); where the most is 0, a literal instead of the alphabet."""
    issuer: str
    source: str

    @property
    def expression(self) -> str:
        """The regular expression of the whole key, which takes linear time."""
        body = ""
        for name, least, most in self.parts:
            if most == 0:
                body += re.escape(name)
            elif most == least:
                body += f"[{ALPHABETS[name]}]{{{least}}}"
            else:
                body += f"[{ALPHABETS[name]}]{{{least},{most or ''}}}"
        name, _, most = self.parts[-1]
        # Up to 3 characters directly after an exact key are tolerated. A longer run, or any character after
        # a key that is not exact, such as a digest, means that it is something else.
        glued = "{4}" if self.is_exact and name not in _DIGITS else ""
        return re.escape(self.prefix) + body + (f"(?![{ALPHABETS[name]}]{glued})" if most else "")

    @property
    def is_exact(self) -> bool:
        """Whether every match is a key, whatever its letters: bounded, 30 or more characters, no digest."""
        is_bounded = all(most is not None for _, _, most in self.parts)
        is_digest = all(name in _DIGITS or not most for name, _, most in self.parts)
        return is_bounded and not is_digest and sum(least for _, least, _ in self.parts) >= _EXACT_CHARS


_ROW: Final = re.compile(
    r"(?P<prefix>\S+) +(?P<parts>(?:(?:'[^']+'|[a-z]\d+(?:\+|-\d+)?) +)+)(?P<issuer>\S.*?)  +(?P<source>\S.*)"
)
_EXACT_CHARS: Final = 30
_DIGITS: Final = frozenset("dhx")
_PART: Final = re.compile(
    r"'(?P<literal>[^']+)'|(?P<name>[a-z])(?P<least>\d+)(?P<open>\+)?(?:-(?P<most>\d+))?"
)
_RUN_CHARS: Final = frozenset("-_+/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def _parsed(row: str) -> Token:
    match = _ROW.fullmatch(row)
    if match is None:
        raise ValueError(f"not a row of the table of tokens: {row!r}")
    parts: list[tuple[str, int, int | None]] = []
    for part in _PART.finditer(match["parts"]):
        if part["literal"]:
            parts.append((part["literal"], 0, 0))
        else:
            least = int(part["least"])
            parts.append((part["name"], least, None if part["open"] else int(part["most"] or least)))
    return Token(match["prefix"], tuple(parts), match["issuer"], match["source"])


@lru_cache(maxsize=1)
@undisturbed()
def tokens() -> tuple[Token, ...]:
    """Return all rows of the table."""
    return tuple(map(_parsed, _ROWS))


@lru_cache(maxsize=1)
@undisturbed()
def tokens_by_head() -> dict[str, tuple[Token, ...]]:
    """Return {first two characters: rows whose prefix begins with them}, the longest prefix first."""
    found: dict[str, list[Token]] = {}
    for token in sorted(tokens(), key=lambda one: -len(one.prefix)):
        found.setdefault(token.prefix[:2], []).append(token)
    return {head: tuple(rows) for head, rows in found.items()}


_RUN: Final = 20
"""The least length of a run that the quick check examines."""
_TELLING_CHARS: Final = 6
"""A shorter prefix is not specific enough without the digits that follow."""
_TOLD_OTHERWISE: Final = {
    "pat": "pat" + "?" * 14 + ".",
    "access_token$production$": "access_token$production$" + "?" * 16 + "$",
}
"""Prefixes that are common words or far from the long run, with the literal right before the run."""


NAMES_NEARBY: Final = tuple(
    sorted((*b"secret key token pass pwd cookie auth sig= dp.st.".split(), b"asic ", b"earer "))
)
"""Literals that make a following long run suspicious, in lower case, sorted."""
_NOT_ASCII: Final = "contraseña hasło şifre пароль 密码 密碼 パスワード 비밀번호 암호 lösenord jelszó κωδικός khẩu סיסמה المرور السر รหัสผ่าน पासवर्ड 口令 schlüssel clé ключ токен 密钥 密鑰 令牌 トークン".split()


def _wide(word: str) -> str:
    """Return a word in the wide letters of Chinese and Japanese fonts."""
    return "".join(chr(ord(letter) + 0xFEE0) for letter in word)


_STEMS_WRITTEN_WIDE: Final = "pass pwd token key secret pin auth".split()
_NOT_SEEN: Final = "\u00ad \u200b \u2060 \ufeff".split(" ")
OTHER_SCRIPTS: Final = tuple(
    sorted(
        {
            form.encode().lower()
            for word in (*_NOT_ASCII, *map(_wide, _STEMS_WRITTEN_WIDE), *_NOT_SEEN)
            for form in (word, word.upper(), word.capitalize())
        }
    )
)
"""Names of secrets with letters beyond ASCII, whose ASCII letters are in lower case, and characters without a width."""
_SNMP: Final = "snmpwalk snmpget snmpgetnext snmpset snmpbulkwalk snmpbulkget snmptrap".split()
PASSWORD_OPTIONS: Final = {
    "-p": (
        "mongo mongosh mongodump mongorestore mongoimport mongoexport sshpass rdesktop login cqlsh cypher-shell psexec evil-winrm "
        "smbmap twine poetry rabbitmqadmin beeline couchbase-cli"
    ).split(),
    "-P": "sqlcmd osql tsql bcp zip unzip mosquitto_pub mosquitto_sub mosquitto_rr ipmitool".split(),
    "-a": "redis-cli valkey-cli http https".split(),
    "-w": "ldapsearch ldapadd ldapmodify ldapdelete ldappasswd ldapwhoami kadmin".split(),
    **{option: ["curl"] for option in ("-u", "-U", "--proxy-user")},
    "--user": ["curl", "etcdctl"],
    "--auth": ["http", "https"],
    **dict.fromkeys(("-A", "-X"), _SNMP),
    **{option: ["swaks"] for option in ("-ap", "-xp")},
    "-pw": ["plink", "pscp", "psftp"],
    "password": ["nmcli"],
}
"""Options of commands whose value is a password, in the next word or in the same one."""
JOINED_OPTIONS: Final = {
    "-p": "mysql mysqldump mysqladmin mysqlimport mysqlcheck mariadb mariadb-dump mariadb-admin 7z 7za unrar mysqlsh".split()
}
"""Options with a password only in the same word: the word after `mysql -p` is a database."""
LOGINS: Final = frozenset("docker podman nerdctl buildah skopeo az oc helm oras crane regctl".split())
"""Commands whose subcommand `login` takes a password."""
WHOLE_COMMANDS: Final = {
    **{
        name: (f"{name} ",)
        for name in (
            "smbclient rpcclient smbget sqlplus radtest mysqladmin ssh-keygen lftp schtasks wpa_passphrase rar swaks sendemail"
        ).split()
    },
    **dict.fromkeys(_SNMP, ("snmp",)),
    **dict.fromkeys(("xfreerdp", "xfreerdp3", "wlfreerdp", "sdl-freerdp"), ("freerdp",)),
    "vault": ("vault login ",),
    "rabbitmqctl": ("add_user ",),
    "openssl": ("-pass", " -k", "openssl passwd "),
    "net": ("net ads ", "net use ", "net user "),
    "qpdf": ("--encrypt ",),
    "rclone": ("rclone obscure ",),
    "gh": ("gh secret set ",),
    "cargo": ("cargo login ",),
    "wandb": ("wandb login ",),
    "htpasswd": ("htpasswd",),
}
"""Programs with passwords elsewhere, each with the literals of its forms in `introduced.COMMAND_FORMS`."""
COMMANDS: Final = frozenset(
    program
    for programs in (LOGINS, WHOLE_COMMANDS, *PASSWORD_OPTIONS.values(), *JOINED_OPTIONS.values())
    for program in programs
) - {"login"}
_SCHEMES: Final = {"http", "https"}
_STEMS: Final = "key token secret".split()
_GOES_ON: Final = (
    "id pem b64 base64 value val string str raw plain text header prod dev staging test live v base".split()
)
SUFFIXES: Final = tuple(
    sorted(
        (b"b", b"*", b"&quot;", b"&apos;", b"&#34;", b"&#39;", *(word.encode() for word in _GOES_ON)),
        key=lambda word: (word[-1:], -len(word)),
    )
)
"""Words after which a name still denotes the secret itself: by their last letters, the longest first; `b` of `b64`."""
INNER_NAMES: Final = tuple(
    sorted(
        b"passw passphrase passcode pwd jwt csrf xsrf secret credential kennwort wachtwoord authorization authorisation".split()
    )
)
"""Names of secrets, in lower case, that anything may follow: `DB_PWD_PROD`, `credentials_of_ann`."""
_CODES: Final = (
    "otp pin mfa totp 2fa recovery backup security verification confirmation activation login access signin sign_in"
).split()
_NAME_ENDS: Final = {
    *b"password passwords passwd pass phrase passcode pwd pw pat secret secrets token tokens key keys auth".split(),
    *b"authorization authorisation authentication cred creds credential credentials cookie cookies sig signature pin".split(),
    *b"otp totp ssn psk cvv cvc jwt csrf xsrf sid sessionid session_id sessid sess_id mnemonic passkey bearer".split(),
    *b"oauth hmac dsn iban salt webhook webhook_url webhookurl webhook_uri kennwort passwort contrasena".split(),
    # `adgangsko`, since the suffix `dev` is stripped from `adgangskodev`
    *b"login authenticate @tcp @unix :* wifi ugfzc3dvcmq segreto secreta acceso accesso passord adgangskode adgangsko salasana heslo mdp geheimnis sandi cle_api cle_secrete cle_d cle-api".split(),
    *(b" values", b"nvalues", b" values\\n", b"nvalues\\n", b")values"),
    *b"passe senha wachtwoord haslo parola sifre card_number cardnumber card_num cardnum creditcard".split(),
    *b"contrasenas passes senhas haslos parolas card_numbers cardnumbers card_nums cardnums creditcards".split(),
    *b"credit_cards connection_strings connectionstrings webhookuri word_list wordlist wordslist".split(),
    *b"credit_card connection_string connectionstring private-lines thin words_list seed kty nonce ?code &code ?appid &appid".split(),
    *(b"card number", b"credit card", b"connection string", b"secret_code", b"kind", b"key_block"),
    *(
        f"{name}{end}".encode()
        for name in "pass_word pass_wort pass_phrase pass_code pass_wd kenn_wort wacht_woord".split()
        for end in ("", "s")
    ),
    *(b"token string", b"key string", b"secret string"),
    *(f"security{joint}answer{end}".encode() for joint in ("_", "") for end in ("", "s")),
    *(
        f"{kind}{joint}{end}".encode()
        for kind in _CODES
        for joint in ("_", " ", "-", "")
        for end in ("code", "codes")
    ),
    *(f"{stem}{joint}{end}".encode() for stem in _STEMS for joint in ("_", "") for end in _GOES_ON),
    *b"parametervalue client( api( connect( getconnection( mysqli( add-mask issecret".split(),
    # as a word of a list, with or without its path
    *(f"{before}{program}".encode() for program in COMMANDS - _SCHEMES for before in ('"', "'", "/")),
    *(b'"-a', b"'-a"),  # an option of HTTPie, whose own names are values of many payloads
    *OTHER_SCRIPTS,
}
NAME_ENDS: Final = tuple(
    sorted(
        {name.replace(b"_", joint) for name in _NAME_ENDS for joint in (b"_", b"-", b".", b" ")},
        key=lambda name: name[::-1],
    )
)
"""Endings of names of secrets, in lower case, sorted by their reversed letters."""
_SPECIAL_HEADS: Final = b"{SSHA} {SHA} {SHA256} {SHA512} {SSHA256} {SSHA512} .atlasv1. .??????.".split()
_SPECIAL_BEGINNINGS: Final = (b"mmk", *(b"us%d" % digit for digit in range(1, 10)))


class Literals(NamedTuple):
    """Literals that indicate a marked key; `#` is any hexadecimal digit, `?` any character of a run."""

    beginnings: tuple[bytes, ...]
    """Beginnings of keys, within a run of at least 20 letters, digits and `-_+/`."""
    heads: tuple[bytes, ...]
    """Literals right before such a run; one that begins with a letter or digit must not follow another."""


@lru_cache(maxsize=1)
@undisturbed()
def literals() -> Literals:
    """Return the literals of the table of marked keys, computed at the first call.

    If one beginning is a prefix of another, only the shorter one is returned.
    """
    beginnings: set[str] = set()
    before: set[str] = set()
    for prefix, part, follows in {tuple(row.split()[:3]) for row in _ROWS}:
        name, count = part[0], part[1:]
        last = max((at for at, char in enumerate(prefix) if char not in _RUN_CHARS), default=-1)
        if last >= 0 and prefix not in _TOLD_OTHERWISE:
            before.add(prefix[: last + 1])
            if follows[0] == "'" and count.isdigit() and int(count) < _RUN:
                before.add(prefix + "?" * int(count) + follows.strip("'"))
        elif name in {"h", "x"} and len(prefix) < _TELLING_CHARS:
            beginnings.add(prefix + "#" * 8)
        elif prefix not in _TOLD_OTHERWISE:
            beginnings.add(prefix)
    shortest: list[str] = []
    for one in sorted(beginnings):  # each right after its prefixes
        if not shortest or not one.startswith(shortest[-1]):
            shortest.append(one)
    heads = {one.encode() for one in before | set(_TOLD_OTHERWISE.values())}
    return Literals(
        tuple(sorted((*(one.encode() for one in shortest), *_SPECIAL_BEGINNINGS))),
        tuple(sorted((*sorted(heads), *_SPECIAL_HEADS), key=lambda head: head[::-1])),
    )


_HEX: Final = b"0123456789abcdefABCDEF-"


def _class_of(byte: int) -> int:
    """Return the class of a byte for `looks_clean`: `a` in a run, `!` for a sign to check, else a blank."""
    if byte < 128 and (chr(byte).isalnum() or byte in b"-_+/"):
        return 97
    return 33 if byte in b"=@'\\<>$~%(`#|" else 32


# One pass maps all bytes to three classes, which makes the following searches fast.
_CLASSES: Final = bytes(map(_class_of, range(256)))
_RUN_END: Final = re.compile(rb"[^a]").search
_SIGNS: Final = ESCAPE_SIGNS.encode()
_LONG_RUN: Final = b"a" * 20
_REACH, _HEAD_REACH = 24, 64
_LONG_MARKED = 40
"""The least length of a run with a key that its issuer marks in the middle: Azure DevOps, RapidAPI."""
_NAME_NEARBY: Final = re.compile(b"|".join(map(re.escape, NAMES_NEARBY)) + rb"|\d{5}[:|]").search
# Characters allowed between a name and its sign: quotes, blanks, digits.
_BETWEEN: Final = b" \\\"'`0123456789_-[].?+|"
_NAME_REACH: Final = 160
_LAST_LETTERS: Final = frozenset(name[-1:] for name in (*NAME_ENDS, *SUFFIXES))
# A name that is one of JSON's own keys is judged elsewhere.
_INNER: Final = re.compile(
    rb"(?:" + b"|".join((*INNER_NAMES, *OTHER_SCRIPTS)) + rb')(?![\w\-\x80-\xff]*":)'
).search
_VALUE_END: Final = re.compile(rb'"[,\]}]').finditer
_ESCAPED_LETTER: Final = re.compile(rb"\\u00[4-7]").search
_QUOTED_URL: Final = re.compile(
    rb"(?:%(?:25)?3[aA]|:)(?:%(?:25)?2[fF]|//[^\s/@]*%(?:25)?40)|%(?:25)?3[aA]//"
).search
_FIELDS: Final = re.compile(rb"\$[^$]{1,8}\$").search
# A blank before a word that may introduce a secret, an option, or a value with a digit.
SAYING: Final = tuple(
    sorted(
        b"are is was be been est es ist lautet now has had will should must set reset changed updated to as for of on do da de del du von vom provided".split()
    )
)
"""Words between a name and its secret, sorted."""
_AFTER_NAME: Final = re.compile(
    rb"(?<! ) (?=[ |]*(?:(?i:" + b"|".join(SAYING) + rb")|[-'`\\]|[^ \"]{0,200}[0-9\x80-\xff]))"
).finditer
OPENERS: Final = tuple(
    sorted(
        (
            *b"asic earer securestring sqlplus login identify add_user radtest --encrypt ssh-keygen".split(),
            *b"schtasks freerdp wpa_passphrase snmpwalk snmpget snmpset snmpbulkwalk ]:587 ]:465 ]:25".split(),
            *(b"auth plain", b"auth default", b"identified by", b"net use", b"net user", b"server community"),
            *(b"rclone obscure", b"rar a", b"your code", b"use code", b"enter code", b"the code", b"is your"),
            *(b"in with", b"login failed for", b"logon failed for", b"authentication failed for"),
            *(b"> pass", b": pass", b"authinfo pass", b"\\npass"),
        ),
        key=lambda opener: opener[::-1],
    )
)
"""Words that are no names but may introduce a secret after a blank, in lower case, sorted by their reversed letters."""
_OPENER: Final = re.compile(rb"(?:" + b"|".join(OPENERS) + rb") ").search
_AFTER_OPTION: Final = re.compile(
    rb"(?:(?<![\w\-\x80-\xff])|(?<=\\[nrtbf]))-[\w\-\x80-\xff]{1,159} "
).finditer
_OPTION: Final = re.compile(rb" -(?:[aAwPpSuUkK]|-user)").search


_SEPARATOR: Final = re.compile(rb"(?<=[A-Za-z])[,;](?! )").search
_SEPARATORS: Final = re.compile(rb"(?<=[A-Za-z0-9])[,;](?! )").finditer


def _expression(literal: bytes) -> bytes:
    return re.escape(literal).replace(rb"\#", b"[0-9a-fA-F]").replace(rb"\?", rb"[A-Za-z0-9\-_+/]")


@lru_cache(maxsize=1)
def _any_beginning() -> bytes:
    return b"(?:" + b"|".join(map(_expression, literals().beginnings)) + b")"


# Each takes 4 ms to compile, and most programs need one or none of them.
@lru_cache(maxsize=1)
@undisturbed()
def _beginning_anywhere() -> Callable[..., object]:
    """Return the search for a key in a run: at its start, after a separator, or after an encoded character."""
    return re.compile(rb"(?:^|[-_+/])" + _any_beginning()).search


@lru_cache(maxsize=1)
@undisturbed()
def _beginning() -> Callable[..., object]:
    return re.compile(_any_beginning()).match


@lru_cache(maxsize=1)
@undisturbed()
def _beginning_behind_escape() -> Callable[..., object]:
    return re.compile(b"(?:" + ESCAPE.encode() + b")" + _any_beginning()).match


@lru_cache(maxsize=1)
@undisturbed()
def _head_before() -> Callable[..., object]:
    """Return the search for a head before a run."""
    heads = literals().heads
    bounded = [head for head in heads if head[:1].isalnum()]
    others = [head for head in heads if not head[:1].isalnum()]
    return re.compile(
        rb"(?:(?:(?<![A-Za-z0-9])|"
        + after_escape().encode()
        + b")(?:"
        + b"|".join(map(_expression, bounded))
        + b")|"
        rb"(?:" + b"|".join(map(_expression, others)) + rb"))\Z"
    ).search


def looks_clean(raw: bytes) -> bool:
    """Whether no byte of the JSON text can belong to a secret; if False, a full search is needed."""
    classes = raw.translate(_CLASSES)
    # `find` is used because `in` takes 1.5 times as long; a test for a single byte takes a tenth.
    position = classes.find(_LONG_RUN)
    if position >= 0 and not _runs_are_harmless(raw, classes, position):
        return False
    if 33 in classes and not _marks_are_harmless(raw):
        return False
    if _INNER(raw.lower()) is not None:
        return False
    return _texts_are_harmless(raw)


def _texts_are_harmless(raw: bytes) -> bool:
    """Whether no credential may follow a scheme, an option, `name:` or a name that is a value."""
    if 32 in raw and not _blanks_are_harmless(raw):
        return False
    # JSON's own colons follow a quote and are not signs in a text.
    others = raw.replace(b'":', b'";')
    if 58 in others and not (_names_are_harmless(others, b":") and b":5432:" not in others):
        return False
    return all(_is_harmless(raw, match.start()) for match in _VALUE_END(raw))


def _blanks_are_harmless(raw: bytes) -> bool:
    if _OPENER(raw.lower()) is not None:
        return False
    if _OPTION(raw) is not None:
        return False
    if 45 in raw and not all(_is_harmless(raw, match.end() - 1) for match in _AFTER_OPTION(raw)):
        return False
    return all(_is_harmless(raw, match.start()) for match in _AFTER_NAME(raw))


def _marks_are_harmless(raw: bytes) -> bool:
    """Whether no sign belongs to a secret."""
    if 37 in raw and _QUOTED_URL(raw) is not None:
        return False
    if not all(
        _names_are_harmless(raw, sign) for sign in (b"=", b"<", b">", b"%", b"(", b"'", b"`", b"#", b"\\")
    ):
        return False
    if 64 in raw and b"://" in raw:
        return False
    if 36 in raw and (_FIELDS(raw) is not None or b"scrypt:" in raw or b"pbkdf2" in raw):
        return False
    if 124 in raw and (b"-stdin" in raw or not _names_are_harmless(raw, b"|")):
        return False
    # the header of a table of text
    if 92 in raw and not _columns_are_harmless(raw):
        return False
    if 126 in raw and raw.find(b"Q~") >= 0:
        return False
    return 92 not in raw or (raw.find(b"PRIVATE KEY") < 0 and _ESCAPED_LETTER(raw) is None)


def _columns_are_harmless(raw: bytes) -> bool:
    """Whether no column of a table of text has the name of a secret; a comma of prose has a blank behind it."""
    if _SEPARATOR(raw) is None:
        return True
    return all(_is_harmless(raw, match.start()) for match in _SEPARATORS(raw))


def _runs_are_harmless(raw: bytes, classes: bytes, position: int) -> bool:
    """Whether no long run (a UUID, a path) contains the mark of a secret or follows the name of one."""
    while position >= 0:
        stop = _RUN_END(classes, position + 20)
        end = stop.start() if stop else len(raw)
        token = raw[position:end]
        # UUIDs and digests are the most common long runs; no vendor's key begins in the middle of them.
        if (_beginning_anywhere() if token.strip(_HEX) else _beginning())(token):
            return False
        if raw[position - 1] in _SIGNS and _beginning_behind_escape()(raw, position - 1):
            return False
        if len(token) >= _LONG_MARKED and (b"AZDO" in token or b"jsn" in token):
            return False
        # If the run begins its JSON string, the string's key is judged by name elsewhere.
        if raw[position - 1] != 34 and (
            _NAME_NEARBY(raw[max(0, position - _REACH) : position].lower())
            or _head_before()(raw[max(0, position - _HEAD_REACH) : position])
        ):
            return False
        position = classes.find(_LONG_RUN, end)
    return True


def _names_are_harmless(raw: bytes, sign: bytes) -> bool:
    """Whether no name of a secret precedes any of these signs."""
    position = raw.rfind(sign)
    while position >= 0:
        if not _is_harmless(raw, position):
            return False
        position = raw.rfind(sign, 0, position)
    return True


def _is_harmless(raw: bytes, position: int) -> bool:
    """Whether the text before a position does not end with the name of a secret, perhaps with suffixes."""
    before = raw[max(0, position - _NAME_REACH) : position].rstrip(_BETWEEN).lower()
    while before[-1:] in _LAST_LETTERS:
        if before.endswith(NAME_ENDS):
            return False
        shorter = next((before[: -len(word)] for word in SUFFIXES if before.endswith(word)), None)
        if shorter is None:
            return True
        before = shorter.rstrip(_BETWEEN)
    return True
