"""Finds secrets of command lines, protocols, calls, links and sentences, which no name with a sign introduces.

`structures.py` has those below a header.
"""

from __future__ import annotations

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from Agent.record.secrets.names import (
    NONE,
    SURE,
    compiled,
    has_digit,
    is_placeholder,
    is_wordlike,
    is_words,
    looks_drawn,
    may_be_chosen,
    name_says,
)

Span = tuple[int, int]


def _is_given(value: str) -> bool:
    return not is_placeholder(value)


def _is_drawn(value: str) -> bool:
    return looks_drawn(value) and not is_placeholder(value)


def _is_plain_login(value: str) -> bool:
    try:
        return a2b_base64(value).count(b"\0") == 2
    except NotBase64:
        return False


_SIGN_OF_NAME: Final = r"[\w\-./:@,()\[\]<>{}=]"


def is_strong(value: str) -> bool:
    """Whether a value has characters of three kinds (capitals, small letters, digits, signs), unlike a name."""
    kinds = (
        any(map(str.isupper, value)),
        any(map(str.islower, value)),
        has_digit(value),
        any(not compiled(_SIGN_OF_NAME).match(char) for char in value),
    )
    return sum(kinds) > 2 and _is_drawn(value)


def _is_random(value: str) -> bool:
    """Whether a value changes often between capitals, small letters and digits, and is no words."""
    changes = len(compiled(_CHANGE).findall(value))
    return 3 * changes >= len(value) and not is_words(value) and not is_placeholder(value)


class _Form(NamedTuple):
    """A form of a secret.

    Attributes:
        literals: the form is searched for in texts that contain one of them; in lower case.
        expression: the form, in which the group `secret` is the secret.
        accepts: whether the value is a secret; by default, if it is no placeholder.
    """

    literals: tuple[str, ...]
    expression: str
    accepts: Callable[[str], bool] = _is_given


_END: Final = r"""(?=[ \t]{0,8}(?:\Z|[\r\n]|\\[rn]|\\{0,3}["'][ ]{0,3}(?:\Z|[,\]})])))"""
"""The end of a line, or of a text in quotes."""
_BEGIN: Final = r"""(?:(?<![^\s"'])|(?<=\\n))"""
_VALUE: Final = r"""(?P<secret>[^\s"'`$<%{\\][^\s"'\\]{3,200})"""
_ARGUMENT: Final = r"""\\{0,3}["'](?P<secret>[^"'\\\r\n$<{][^"'\\\r\n]{2,300})\\{0,3}["']"""
_OPEN: Final = r"""\\{0,3}["']"""
_MIXED: Final = r"""["'`]?(?P<secret>[^\s"'`,;\\/]{4,100}?)["'`]?(?=[.,;!?]{0,2}(?:[\s"']|\\[nr]|\Z))"""

_FORMS: Final = (
    # FTP (RFC 959), POP3 (RFC 1939), NNTP (RFC 4643): behind the user, or the mark of a direction
    _Form(
        ("pass ",),
        rf"""(?i)(?:[>:][ ]|authinfo[ ]|\buser[ ]+[^\s\\]{{1,100}}(?:\\r|\r)?(?:\n|\\n))pass[ ]+:?{_VALUE}{_END}""",
    ),
    _Form(("pass ",), rf"""{_BEGIN}PASS[ ]+:?{_VALUE}{_END}""", is_strong),
    _Form(("> auth ",), rf"""(?i)>[ ]AUTH[ ]+(?:[\w.@\-]{{1,60}}[ ]+)?{_VALUE}{_END}"""),
    _Form(("send: auth ",), rf"""(?i)send:[ ]AUTH[ ]+[\w.@\-]{{1,60}}[ ]+{_VALUE}{_END}"""),
    # https://redis.io/docs/latest/commands/auth
    _Form(("auth ",), rf"""{_BEGIN}AUTH[ ]+(?:[\w.@\-]{{1,60}}[ ]+)?{_VALUE}{_END}""", is_strong),
    # IMAP (RFC 3501)
    _Form(
        ("login ",),
        rf"""\b[A-Za-z0-9.]{{1,12}}[ ]LOGIN[ ]+(?:{_OPEN})?[^\s"\\]{{1,100}}(?:{_OPEN})?[ ]+(?:{_OPEN})?{_VALUE}(?:{_OPEN})?{_END}""",
        lambda value: _is_drawn(value) or may_be_chosen(value),
    ),
    # RFC 4616: no user, a user and a password with NULs between them, in base64
    _Form(("auth plain ",), r"""(?i)auth[ ]plain[ ]+(?P<secret>[a-z0-9+/]{8,400}={0,2})""", _is_plain_login),
    # logs of GitHub and Azure: https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    _Form(
        ("::add-mask::", "issecret=true]"),
        r"""(?i)(?:::add-mask::|issecret=true\])(?P<secret>[^\s"'\\]{4,400})""",
    ),
    # SMTP: the server asks for the password in base64
    _Form(
        ("334 ugfzc3dvcmq6",),
        r"""(?i)334[ ]ugfzc3dvcmq6(?:[\r\n]|\\[rn])(?:\s|\\[rn]|[SC<>:]){0,20}(?P<secret>[a-z0-9+/]{4,400}={0,2})""",
    ),
    _Form(
        ("nickserv",),
        rf"""(?i)nickserv[ ]+:?identify[ ]+(?:[^\s"'\\]{{1,60}}[ ]+)?{_VALUE}{_END}""",
    ),
    # https://github.com/zxing/zxing/wiki/Barcode-Contents
    _Form(
        ("wifi:",),
        r"""(?i)wifi:(?:[tsheai]\w?:(?:[^;\\\r\n]|\\.){0,100};){0,5}p:(?P<secret>(?:[^;\\\r\n]|\\.){1,100});""",
    ),
    # PostgreSQL's file of passwords: host:port:database:user:password
    _Form(
        (":5432:",),
        rf"""[\w.*\-]{{1,100}}:5432:[^\s:"']{{1,100}}:[^\s:"']{{1,100}}:(?P<secret>[^\s:"'\\][^\s"'\\]{{3,200}}){_END}""",
    ),
    _Form(
        (":*:",),
        rf"""[\w.*\-]{{1,100}}:\*:[^\s:"']{{1,100}}:[^\s:"']{{1,100}}:(?P<secret>[^\s:"'\\][^\s"'\\]{{3,200}}){_END}""",
        lambda value: _is_drawn(value) or may_be_chosen(value),
    ),
    # `cohere.Client("X")`: the only argument is a key
    _Form(
        ("client(", "api("),
        r"""(?i)(?:client|api)\(\\?["'](?P<secret>[a-z0-9_\-]{20,200})\\?["']\)""",
        _is_drawn,
    ),
    # https://github.com/go-sql-driver/mysql#dsn-data-source-name
    _Form(
        ("@tcp(", "@unix("),
        r"""[\w.\-]{1,60}:(?P<secret>[^\s@"'/]{1,200})@(?:tcp|unix)\(""",
    ),
    # Postfix's map of passwords: [host]:port user:password
    _Form(
        ("]:",),
        rf"""\]:(?:25|465|587)[ ]+[^\s:"']{{1,100}}:{_VALUE}{_END}""",
    ),
    # `smtp.login('bob', 'X')`, `HTTPBasicAuth('bob', 'X')`, `PlainCredentials('bob', 'X')`
    _Form(
        ("login(", "auth(", "credential(", "credentials(", "authenticate("),
        rf"""(?i)(?:login|auth|credentials?|authenticate)\([ ]{{0,3}}(?:\w{{1,20}}[ ]?=[ ]?)?{_OPEN}[^"'\\\r\n]{{1,200}}{_OPEN}"""
        rf"""[ ]{{0,3}},[ ]{{0,3}}{_ARGUMENT}[ ]{{0,3}}[,)]""",
    ),
    # `mysqli_connect('host', 'bob', 'X')`, `DriverManager.getConnection(url, "bob", "X")`
    _Form(
        ("connect(", "getconnection(", "mysqli("),
        rf"""(?i)(?:connect|getconnection|mysqli)\((?:{_OPEN}[^"'\\\r\n]{{1,200}}{_OPEN}|[\w.]{{1,60}})[ ]{{0,3}},[ ]{{0,3}}"""
        rf"""{_OPEN}[^"'\\\r\n]{{1,100}}{_OPEN}[ ]{{0,3}},[ ]{{0,3}}{_ARGUMENT}[ ]{{0,3}}[,)]""",
        lambda value: _is_drawn(value) or may_be_chosen(value),
    ),
    # expect(1), pexpect
    _Form(
        ("expect",),
        r"""(?i)expect[ (]+(?:-\w+[ ]+)*(?:\\{0,3}["']|\{)[^"'{}\r\n]{0,60}pass(?:word|phrase|code)[^"'{}\r\n]{0,40}(?:\\{0,3}["']|\})"""
        r"""\)?(?:\s|\\[nrt]|[{;]){1,40}(?:\w{1,30}\.)?send(?:line)?(?:[ (]|--){1,6}\\{0,3}["'](?P<secret>[^"'\\$\r\n]{2,200})""",
    ),
    # `page.get_by_label('Password').fill('X')`
    _Form(
        (".fill(", ".type(", "sequentially(", "send_keys(", "sendkeys("),
        rf"""(?i){_OPEN}[^"'\\\r\n]{{0,60}}(?:pass(?:word|phrase|code)|passwd)[^"'\\\r\n]{{0,40}}{_OPEN}[^()\r\n]{{0,60}}\)\.(?:fill|type|press_?sequentially|send_?keys)\({_ARGUMENT}""",
    ),
    # cookies in the format of Netscape
    _Form(
        ("true\t", "false\t"),
        r"""(?i)(?:true|false)\t[^\t\r\n]{1,200}\t(?:true|false)\t\d{1,12}\t[^\t\r\n]{0,200}(?:sess(?:ion)?_?id|sid|auth|token|[cx]srf|jwt)\t(?P<secret>[^\s"'\\]{8,4000})""",
    ),
    # https://developers.asana.com/docs/personal-access-token
    _Form(
        ("1/", "2/"),
        r"""(?<![\w/])(?P<secret>[12]/\d{10,20}(?:/\d{10,20})?:[0-9a-f]{32})(?![0-9a-f])""",
    ),
    _Form(("/with/key/",), r"""(?i)/with/key/(?P<secret>[\w\-]{16,60})"""),
    _Form(
        ("password/", "password-reset/", "passwordreset/"),
        r"""(?i)/(?:(?:reset|forgot)[_\-]?password|password-?reset)/(?P<secret>[\w\-.]{20,300})""",
        _is_drawn,
    ),
    # what pydantic and argparse repeat
    _Form(
        ("input_value=",),
        rf"""(?i)(?:^|\n|\\n)[\w.\-]{{0,60}}(?:pass(?:word|wd|phrase|code)|secret|token|api_?key|credentials?)(?:\r?\n|\\n)[ ]{{2,4}}[^\r\n\[]{{1,300}}\[type=\w{{1,60}}, input_value={_ARGUMENT}""",
    ),
    _Form(
        (": invalid ",),
        rf"""(?i)(?:pass(?:word|wd|phrase|code)|secret|token|api[_\-]?key|credentials?):[ ]invalid[ ][\w ]{{1,60}}:[ ]{_ARGUMENT}""",
    ),
    # sentences
    # a user and a password in one sentence
    _Form(
        (" password ", " pass ", " pwd ", " passphrase ", " kennwort ", " пароль "),
        r"""(?i)\b(?:user(?:[ ]?name)?|login|account|e-?mail|benutzer(?:name)?|логин)(?:[ ]?[:=][ ]?|[ ]+)["'`]?[\w.@+\-]{1,80}["'`]?,?[ ]"""
        rf"""(?:(?:and|with|und|mit|et|y|и)[ ])?(?:(?:the|his|her|its)[ ])?(?:(?:temp(?:orary)?|new|initial|one-time)[ ])?(?:password|pass|pwd|passphrase|kennwort|пароль)[ ]+{_MIXED}""",
        may_be_chosen,
    ),
    _Form(
        ("in with ", "credentials ", "creds ", "failed for "),
        rf"""(?i)(?:(?:log|sign)[ ]?in[ ]with|(?:credentials|creds)(?:[ ](?:are|is|for[ ]\S{{1,60}}:?))?|(?:login|logon|authentication)[ ]failed[ ]for)"""
        rf"""[ ]+(?:user[ ])?["'`]?[\w.@\-]{{1,60}}["'`]?[ ]?[/:][ ]?{_MIXED}""",
        lambda value: _is_drawn(value) or may_be_chosen(value),
    ),
    _Form(
        ("token ",),
        r"""(?i)(?<![\w\-])token[ ]+["'`]?(?P<secret>[a-z0-9]{12,19})(?![\w/(.\-])""",
        lambda value: has_digit(value) and _is_random(value),
    ),
    # one-time codes
    _Form(
        ("your code", "use code", "enter code", "the code"),
        r"""(?i)(?:your|use|enter|the)[ ]code(?:[ ]is:?)?[ ]+(?:[a-z]-)?(?P<secret>\d{4,8}|\d{3}[ -]\d{3})"""
        r"""(?=[.,;!]?(?:[ ]to[ ](?:sign|log|verify|confirm|continue|complete|finish)|[ ]?(?:\Z|[\r\n"']|\\[nr])|[.!][ ]))""",
    ),
    _Form(
        ("is your ",),
        r"""(?i)(?<![\w.\-])(?:[a-z]-)?(?P<secret>\d{4,8})[ ]is[ ]your[ ](?:[\w\-]{1,20}[ ]){0,3}(?:code|otp|pin|passcode)\b""",
    ),
)


def introduced(text: str, lower: str) -> Iterator[Span]:
    """Yield the spans of secrets in these forms; `lower` is the text in lower case."""
    for literals, expression, accepts in _FORMS:
        if any(literal in lower for literal in literals):
            for match in compiled(expression).finditer(text):
                if accepts(match["secret"]):
                    yield match.span("secret")
    if "value=" in lower and "<" in text:
        yield from _values_of_elements(text)
    if "codes" in lower or "keys" in lower or "passwords" in lower:
        yield from _of_lines(text)


_LISTED: Final = (
    r"(?i)(?:(?:recovery|backup|one-time|2fa|security)[ _-]?codes|passwords|(?:api|secret)[ _-]?keys)[^\r\n\\:]{0,40}:[ \t]*"
    r"(?P<lines>(?:(?:\r?\n|\\n)+[ \t]{0,8}(?:[-*][ ]|\d{1,2}[.)][ ])?[^\s\\\"']{6,200}(?=[ \t]*(?:\r?\n|\\n|\\{0,3}[\"']|\Z))){1,40})"
)


def _of_lines(text: str) -> Iterator[Span]:
    """Yield the values of a list of lines that its first line names: `Recovery codes:`."""
    for listed in compiled(_LISTED).finditer(text):
        for match in compiled(
            r"(?:[-*][ ]|\d{1,2}[.)][ ])?(?P<secret>(?:[^\s\\]|\\(?!n))+)(?:\s|\\n|\Z)"
        ).finditer(text, *listed.span("lines")):
            if has_digit(match["secret"]) and not is_placeholder(match["secret"]):
                yield match.span("secret")


_TAG: Final = r"""<[A-Za-z][\w:.\-]{0,60}(?=\s)[^<>]{1,2000}>"""
_ATTRIBUTE: Final = r"""(?P<key>[\w:.\-]{1,60})[ ]?=[ ]?\\{0,3}["'](?P<value>[^"'<>\\]{0,500})\\{0,3}["']"""
_KEYS: Final = frozenset({"name", "key", "id", "property"})


def _values_of_elements(text: str) -> Iterator[Span]:
    """Yield the values of elements that another attribute names: `<property value="X" name="db.password"/>`."""
    for tag in compiled(_TAG).finditer(text):
        says, held = NONE, None
        for attribute in compiled(_ATTRIBUTE).finditer(text, *tag.span()):
            key, value = attribute["key"].lower(), attribute["value"]
            if key in _KEYS:
                says = max(says, name_says(value))
            elif key == "type" and value.lower() == "password":
                says = SURE
            elif key == "value":
                held = attribute
        if says == NONE or held is None or len(held["value"]) < _SHORTEST or is_placeholder(held["value"]):
            continue
        if looks_drawn(held["value"]) or (says == SURE and not is_wordlike(held["value"])):
            yield held.span("value")


_SHORTEST: Final = 4


# ---- command lines, consoles of databases, configurations of network devices ----

_CURL_USER: Final = (
    r"""(?<![\w\-])(?:-[uU]|--user|--proxy-user)[ =]{0,3}(?P<secret>(?![<$\\])(?=[^\s:]{0,100}:)"""
    r"""(?:\\?"[^"\r\n\\]{0,200}\\?"|'[^'\r\n]{0,200}'|[^\s"'\\]){1,300}+)"""
)
# rabbitmqctl(8), radtest(1), qpdf(1), mysqladmin(1): the password is a plain word behind the user
_WORD: Final = r"""\\{0,3}["']?(?P<secret>[^\s"'$<\-\\][^\s"'\\]{2,200})"""
COMMAND_FORMS: Final = {
    "-u": _CURL_USER,
    "--user": _CURL_USER,
    "--proxy-user": _CURL_USER,
    **dict.fromkeys(
        (" -p", " -a", " -w"),
        (r"""(?i:[ ]-[paw])[ ]?\\{0,3}["']?(?P<secret>(?!\d+:\d)[^\s"'$<\-\\][^\s"'$<\\]{2,100})"""),
    ),
    " -k": r"""(?i:[ ]-k)[ ]+\\{0,3}["']?(?P<secret>(?!\w+://)[^\s"'$<\-\\][^\s"'$<\\]{2,200})""",
    # openssl-passphrase-options(1): `-passin pass:X`; openssl-enc(1): `-k X`, and a key in hexadecimal digits
    "-pass": r"""(?i)-pass(?:in|out)?[ ]+\\{0,3}["']?pass:(?P<secret>[^\s"'$<\\]{1,200})""",
    # smbclient(1), rpcclient(1), smbget(1), net(8): `-U user%password`, and `--user=` alike
    **dict.fromkeys(
        ("smbclient ", "rpcclient ", "smbget ", "net ads ", "net rpc "),
        (
            r"""(?i:smbclient|rpcclient|smbget|net[ ](?:ads|rpc))[^\r\n|;&]{0,200}?[ ](?:-U|--user)[ =]{0,3}\\{0,3}["']?"""
            r"""[^\s%"']{1,100}%(?P<secret>[^\s"'$<\\]{1,100})"""
        ),
    ),
    # https://learn.microsoft.com/windows-server/administration/windows-commands/net-use: the password follows the
    # share, or `/user:`
    "net use ": (
        r"""(?i)net[ ]use[ ]+(?:(?:[a-z]:|lpt\d:?|\*)[ ]+)?\\{2,8}[^\s"']{3,200}[ ]+(?:/user:\S{1,100}[ ]+)?"""
        r"""(?P<secret>[^\s"'/*$%<\\][^\s"'\\]{2,100})"""
    ),
    # https://learn.microsoft.com/previous-versions/windows/it-pro/windows-server-2012-r2-and-2012/cc771865(v=ws.11)
    "net user ": (
        r"""(?i)net[ ]user[ ]+(?!/)[^\s/"']{1,100}[ ]+(?=[^\s"'\\]{6})(?=[^\s"'\\]*\d)(?=[^\s"'\\]*[a-z])"""
        r"""(?P<secret>[^\s"'/*$%<\\][^\s"'\\]{5,100})"""
    ),
    # SQL*Plus: `sqlplus user/X@database`
    "sqlplus ": (
        r"""(?i)sqlplus[ ]+(?:-\w+[ ]+)*\\{0,3}["']?[^\s/@"'\\]{1,100}/(?P<secret>[^\s@"'/$<\\]{1,100})@"""
    ),
    # https://developer.hashicorp.com/vault/docs/commands/login: the token may be an argument
    "vault login ": (
        r"""(?i)vault[ ]login[ ]+(?:-[\w\-]+(?:=\S+)?[ ]+)*\\{0,3}["']?"""
        r"""(?=[^\s"'\\]*\d)(?P<secret>[\w.][\w.\-]{15,200})(?![\w=/])"""
    ),
    # Cisco IOS: `snmp-server community X`, `tacacs-server key 7 X`, `key-string X`, `username U secret 5 X`
    "server community ": r"""(?i)(?<=snmp-)server[ ]community[ ]+(?:\d[ ]+)?(?P<secret>[^\s"'$<\\]{1,100})""",
    **dict.fromkeys(
        ("key-string ", "-server key ", "username "),
        (
            r"""(?i)(?:key-string|(?<=tacacs)-server[ ]key|(?<=radius)-server[ ]key"""
            r"""|username[ ][^\s"'\\]{1,60}(?:[ ]privilege[ ]\d{1,2})?[ ]secret)[ ]+(?:\d[ ]+)?"""
            r"""(?=[^\s"'\\]*\d)(?P<secret>[^\s"'$<\\]{5,200})"""
        ),
    ),
    # https://learn.microsoft.com/powershell/module/microsoft.powershell.security/convertto-securestring
    "securestring ": (
        r"""(?i)securestring[ ]+(?:-string[ ]+)?\\{0,3}["'](?P<secret>[^"'$\\\r\n][^"'\\\r\n]{0,200})"""
    ),
    **dict.fromkeys(
        ("add_user ", "change_password ", "authenticate_user "),
        (
            rf"""(?i)(?:add_user|change_password|authenticate_user)[ ]+(?:--[ ]+)?[^\s"']{{1,100}}[ ]+{_WORD}"""
        ),
    ),
    "radtest ": rf"""(?i)radtest[ ]+(?:-\w[ ]+\w+[ ]+)*[^\s"']{{1,100}}[ ]+{_WORD}[ ]+[\w.:\-]+[ ]+\d""",
    "--encrypt ": rf"""--encrypt[ ]+[^\s]{{1,100}}[ ]+{_WORD}[ ]+(?:40|128|256)\b""",
    "mysqladmin ": rf"""(?i)mysqladmin[ ][^\r\n|;&]{{0,200}}?[ ]password[ ]+{_WORD}""",
    "ssh-keygen ": rf"""ssh-keygen[ ][^\r\n|;&]{{0,200}}?-[NP][ ]+{_WORD}""",
    "lftp ": rf"""lftp[ ][^\r\n|;&]{{0,100}}?-u[ ]+[^\s,"']{{1,100}},{_WORD}""",
    "freerdp": rf"""freerdp\d?[ ][^\r\n|;&]{{0,300}}?[ ]/p:{_WORD}""",
    "schtasks ": rf"""(?i)schtasks[ ][^\r\n|;&]{{0,300}}?[ ]/r?p[ ]+{_WORD}""",
    "snmp": rf"""snmp(?:walk|get|getnext|set|bulkwalk|bulkget|trap)[ ][^\r\n|;&]{{0,100}}?-c[ ]+(?!(?:public|private)\b){_WORD}""",
    "openssl passwd ": rf"""openssl[ ]passwd[ ]+(?:-(?:\w{{1,8}})[ ]+(?:(?<=-salt )\S+[ ]+)?)*{_WORD}""",
    "wpa_passphrase ": rf"""wpa_passphrase[ ]+(?:\\{{0,3}}"[^"]{{1,60}}"|[^\s"]{{1,60}})[ ]+(?!\[){_WORD}""",
    "rclone obscure ": rf"rclone[ ]obscure[ ]+{_WORD}",
    "rar ": r"""(?<![\w.])rar[ ][^\r\n|;&]{0,100}?[ ]-h?p(?P<secret>[^\s"'$<\-\\][^\s"'\\]{2,200})""",
    **dict.fromkeys(
        ("swaks ", "sendemail "), rf"""(?:swaks|sendemail)[ ][^\r\n|;&]{{0,300}}?[ ]-(?:ap|xp)[ ]+{_WORD}"""
    ),
    "gh secret set ": rf"""gh[ ]secret[ ]set[ ]+[\w\-]+[ ][^\r\n|;&]{{0,100}}?(?:--body|-b)[ =]+{_WORD}""",
    **dict.fromkeys(
        ("cargo login ", "wandb login "),
        r"""(?:cargo|wandb)[ ]login[ ]+(?:--\w+[ ]+)*(?P<secret>[A-Za-z0-9]{20,200})""",
    ),
    **dict.fromkeys(
        ("http ", "https "),
        (rf"""(?<![\w:/])https?[ ][^\r\n|;&]{{0,100}}?(?:-a|--auth)[ =]+(?!\$)[^\s:"']{{1,100}}:{_WORD}"""),
    ),
    "stats auth ": rf"stats[ ]auth[ ]+[^\s:]{{1,100}}:{_WORD}",
    "echo ": r"""echo[ ]+(?:-n[ ]+)?["']?(?:[\w.\-]+:)?(?P<secret>[^\s"'|$`:]{4,100})["']?[ ]*\|[^|\n]{0,60}?(?:chpasswd|sudo -S|-stdin\b)""",
    "htpasswd": r"htpasswd(?:[ ]+-\w+)*?[ ]+-\w*b\w*(?:[ ]+-\w+)*[ ]+\S+[ ]+\S+[ ]+(?P<secret>\S+)",
    "thin:": r"(?i)thin:[\w.]{1,60}/(?P<secret>[^\s@]{3,100})@",
    "identified by": r"""(?i)identified[ ]by[ ]+(?:password[ ]+)?(?:\\{0,3}["'](?P<secret>[^"'\\\r\n]{1,200})|(?P<alone>(?=[^\s;]*\d)[^\s"'\\;]{8,100}))""",
    "set password for": r"""(?i)set[ ]password[ ]for[ ]+[^=\r\n]{1,120}=[ ]{0,3}(?:password\()?\\{0,3}["'](?P<secret>[^"'\\\r\n]{1,200})""",
    "login": r"""(?i)login\s{1,20}\S{1,100}\s{1,20}password[ \t]{1,20}(?P<secret>[^\s"'\\]{1,200})""",
}
"""Literal, in lower case -> expression; the group `secret` is the secret. `patterns.py` tries each where its literal stands."""


# ---- the credential of an `Authorization` header, whatever its scheme, which is kept ----

OPEN: Final = r"""(?:\\{0,3}["'`]|%2[27]|&(?:quot|apos|#3[49]);)"""
"""A quotation mark: of code, escaped, in a URL, or an entity of HTML."""
HEADERS: Final = ("authorization", "authorisation")
HEADER: Final = rf"""(?P<closed>{OPEN})?[ ]{{0,3}}(?P<sign>[:=,]|=>|%3A(?:%20)?)[ ]{{0,3}}(?P<value>{OPEN}(?i:value)(?:{OPEN})?[ ]?:[ ]?)?(?P<open>{OPEN})?"""
_CREDENTIAL: Final = r"(?s)(?P<scheme>[A-Za-z][A-Za-z0-9\-]{0,30})(?:[ ]{1,3}|%20)(?P<rest>\S.*)"
_FIRST_PARAMETER: Final = r"[A-Za-z][\w\-]{0,30}="
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
    if word != value and word.lower() not in _KNOWN_SCHEMES and _is_long(word) and changes_often(word):
        return at, at + len(word)  # a credential without a scheme, before other words
    found = scheme_and_credential(value)
    if found is None:
        if is_placeholder(value):
            return None
        return (at, at + len(value)) if value and (quoted or looks_drawn(value)) else None
    scheme, rest = found
    first = rest.split(None, 1)[0]
    has_parameters = compiled(_FIRST_PARAMETER).match(rest) is not None and scheme.strip().lower() != "basic"
    is_known = scheme.removesuffix("%20").strip().lower() in _KNOWN_SCHEMES
    alone = first == rest and (is_known or quoted)
    if is_placeholder(first) or not (
        has_parameters or looks_drawn(first) or alone or (is_known and _is_long(first))
    ):
        return None
    begin = at + len(scheme)
    return begin, begin + (len(rest) if has_parameters else len(first))


def _is_long(word: str) -> bool:
    return len(word) >= 16 and not is_wordlike(word)


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


_CHANGE: Final = r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[A-Za-z])"


def changes_often(value: str) -> bool:
    """Whether lower case, upper case and digits alternate, as in random texts, unlike names with numbers."""
    return has_digit(value) and len(compiled(_CHANGE).findall(value)) >= len(value) / 5
