"""Passwords and tokens on command lines, in consoles of databases and in configurations of network devices.

`patterns.py` tries each expression where its literal stands.
"""

from __future__ import annotations

from typing import Final

_CURL_USER: Final = (
    r"""(?<![\w\-])(?:-[uU]|--user|--proxy-user)[ =]{0,3}(?P<secret>(?![<$\\])(?=[^\s:]{0,100}:)"""
    r"""(?:\\?"[^"\r\n\\]{0,200}\\?"|'[^'\r\n]{0,200}'|[^\s"'\\]){1,300}+)"""
)
_OPTION_OF_TOOL: Final = (
    r"""(?i:[ ]-[paw])[ ]?\\{0,3}["']?(?P<secret>(?!\d+:\d)[^\s"'$<\-\\][^\s"'$<\\]{2,100})"""
)
# smbclient(1), rpcclient(1), smbget(1), net(8): `-U user%password`, and `--user=` alike
_SAMBA_USER: Final = (
    r"""(?i:smbclient|rpcclient|smbget|net[ ](?:ads|rpc))[^\r\n|;&]{0,200}?[ ](?:-U|--user)[ =]{0,3}\\{0,3}["']?"""
    r"""[^\s%"']{1,100}%(?P<secret>[^\s"'$<\\]{1,100})"""
)
# openssl-passphrase-options(1): `-passin pass:X`; openssl-enc(1): `-k X`, and a key in hexadecimal digits
_OPENSSL_PASS: Final = r"""(?i)-pass(?:in|out)?[ ]+\\{0,3}["']?pass:(?P<secret>[^\s"'$<\\]{1,200})"""
_OPENSSL_KEY: Final = r"""(?i:[ ]-k)[ ]+\\{0,3}["']?(?P<secret>(?!\w+://)[^\s"'$<\-\\][^\s"'$<\\]{2,200})"""
# https://learn.microsoft.com/windows-server/administration/windows-commands/net-use: the password follows the
# share, or `/user:`
_NET_USE: Final = (
    r"""(?i)net[ ]use[ ]+(?:(?:[a-z]:|lpt\d:?|\*)[ ]+)?\\{2,8}[^\s"']{3,200}[ ]+(?:/user:\S{1,100}[ ]+)?"""
    r"""(?P<secret>[^\s"'/*$%<\\][^\s"'\\]{2,100})"""
)
# SQL*Plus: `sqlplus user/X@database`
_SQLPLUS: Final = (
    r"""(?i)sqlplus[ ]+(?:-\w+[ ]+)*\\{0,3}["']?[^\s/@"'\\]{1,100}/(?P<secret>[^\s@"'/$<\\]{1,100})@"""
)
# https://learn.microsoft.com/previous-versions/windows/it-pro/windows-server-2012-r2-and-2012/cc771865(v=ws.11)
_NET_USER: Final = (
    r"""(?i)net[ ]user[ ]+(?!/)[^\s/"']{1,100}[ ]+(?=[^\s"'\\]{6})(?=[^\s"'\\]*\d)(?=[^\s"'\\]*[a-z])"""
    r"""(?P<secret>[^\s"'/*$%<\\][^\s"'\\]{5,100})"""
)
# https://developer.hashicorp.com/vault/docs/commands/login: the token may be an argument
_VAULT_LOGIN: Final = (
    r"""(?i)vault[ ]login[ ]+(?:-[\w\-]+(?:=\S+)?[ ]+)*\\{0,3}["']?"""
    r"""(?=[^\s"'\\]*\d)(?P<secret>[\w.][\w.\-]{15,200})(?![\w=/])"""
)
# Cisco IOS: `snmp-server community X`, `tacacs-server key 7 X`, `key-string X`, `username U secret 5 X`
_COMMUNITY: Final = r"""(?i)(?<=snmp-)server[ ]community[ ]+(?:\d[ ]+)?(?P<secret>[^\s"'$<\\]{1,100})"""
_DEVICE_KEY: Final = (
    r"""(?i)(?:key-string|(?<=tacacs)-server[ ]key|(?<=radius)-server[ ]key"""
    r"""|username[ ][^\s"'\\]{1,60}(?:[ ]privilege[ ]\d{1,2})?[ ]secret)[ ]+(?:\d[ ]+)?"""
    r"""(?=[^\s"'\\]*\d)(?P<secret>[^\s"'$<\\]{5,200})"""
)
# https://learn.microsoft.com/powershell/module/microsoft.powershell.security/convertto-securestring
_SECURE_STRING: Final = (
    r"""(?i)securestring[ ]+(?:-string[ ]+)?\\{0,3}["'](?P<secret>[^"'$\\\r\n][^"'\\\r\n]{0,200})"""
)

# rabbitmqctl(8), radtest(1), qpdf(1), mysqladmin(1): the password is a plain word behind the user
_WORD: Final = r"""\\{0,3}["']?(?P<secret>[^\s"'$<\-\\][^\s"'\\]{2,200})"""
_RABBIT: Final = (
    rf"""(?i)(?:add_user|change_password|authenticate_user)[ ]+(?:--[ ]+)?[^\s"']{{1,100}}[ ]+{_WORD}"""
)
_RADTEST: Final = rf"""(?i)radtest[ ]+(?:-\w[ ]+\w+[ ]+)*[^\s"']{{1,100}}[ ]+{_WORD}[ ]+[\w.:\-]+[ ]+\d"""
_QPDF: Final = rf"""--encrypt[ ]+[^\s]{{1,100}}[ ]+{_WORD}[ ]+(?:40|128|256)\b"""
_MYSQLADMIN: Final = rf"""(?i)mysqladmin[ ][^\r\n|;&]{{0,200}}?[ ]password[ ]+{_WORD}"""
_SSH_KEYGEN: Final = rf"""ssh-keygen[ ][^\r\n|;&]{{0,200}}?-[NP][ ]+{_WORD}"""
_LFTP: Final = rf"""lftp[ ][^\r\n|;&]{{0,100}}?-u[ ]+[^\s,"']{{1,100}},{_WORD}"""
_FREERDP: Final = rf"""freerdp\d?[ ][^\r\n|;&]{{0,300}}?[ ]/p:{_WORD}"""
_SCHTASKS: Final = rf"""(?i)schtasks[ ][^\r\n|;&]{{0,300}}?[ ]/r?p[ ]+{_WORD}"""
_SNMP: Final = rf"""snmp(?:walk|get|getnext|set|bulkwalk|bulkget|trap)[ ][^\r\n|;&]{{0,100}}?-c[ ]+(?!(?:public|private)\b){_WORD}"""
_OPENSSL_PASSWD: Final = rf"""openssl[ ]passwd[ ]+(?:-(?:\w{{1,8}})[ ]+(?:(?<=-salt )\S+[ ]+)?)*{_WORD}"""
_WPA: Final = rf"""wpa_passphrase[ ]+(?:\\{{0,3}}"[^"]{{1,60}}"|[^\s"]{{1,60}})[ ]+(?!\[){_WORD}"""
_RAR: Final = r"""(?<![\w.])rar[ ][^\r\n|;&]{0,100}?[ ]-h?p(?P<secret>[^\s"'$<\-\\][^\s"'\\]{2,200})"""
_SWAKS: Final = rf"""(?:swaks|sendemail)[ ][^\r\n|;&]{{0,300}}?[ ]-(?:ap|xp)[ ]+{_WORD}"""
_GH: Final = rf"""gh[ ]secret[ ]set[ ]+[\w\-]+[ ][^\r\n|;&]{{0,100}}?(?:--body|-b)[ =]+{_WORD}"""
_TOKEN_LOGIN: Final = r"""(?:cargo|wandb)[ ]login[ ]+(?:--\w+[ ]+)*(?P<secret>[A-Za-z0-9]{20,200})"""
_HTTPIE: Final = (
    rf"""(?<![\w:/])https?[ ][^\r\n|;&]{{0,100}}?(?:-a|--auth)[ =]+(?!\$)[^\s:"']{{1,100}}:{_WORD}"""
)

COMMAND_FORMS: Final = {
    "-u": _CURL_USER,
    "--user": _CURL_USER,
    "--proxy-user": _CURL_USER,
    **dict.fromkeys((" -p", " -a", " -w"), _OPTION_OF_TOOL),
    " -k": _OPENSSL_KEY,
    "-pass": _OPENSSL_PASS,
    **dict.fromkeys(("smbclient ", "rpcclient ", "smbget ", "net ads ", "net rpc "), _SAMBA_USER),
    "net use ": _NET_USE,
    "net user ": _NET_USER,
    "sqlplus ": _SQLPLUS,
    "vault login ": _VAULT_LOGIN,
    "server community ": _COMMUNITY,
    **dict.fromkeys(("key-string ", "-server key ", "username "), _DEVICE_KEY),
    "securestring ": _SECURE_STRING,
    **dict.fromkeys(("add_user ", "change_password ", "authenticate_user "), _RABBIT),
    "radtest ": _RADTEST,
    "--encrypt ": _QPDF,
    "mysqladmin ": _MYSQLADMIN,
    "ssh-keygen ": _SSH_KEYGEN,
    "lftp ": _LFTP,
    "freerdp": _FREERDP,
    "schtasks ": _SCHTASKS,
    "snmp": _SNMP,
    "openssl passwd ": _OPENSSL_PASSWD,
    "wpa_passphrase ": _WPA,
    "rclone obscure ": rf"rclone[ ]obscure[ ]+{_WORD}",
    "rar ": _RAR,
    **dict.fromkeys(("swaks ", "sendemail "), _SWAKS),
    "gh secret set ": _GH,
    **dict.fromkeys(("cargo login ", "wandb login "), _TOKEN_LOGIN),
    **dict.fromkeys(("http ", "https "), _HTTPIE),
    "stats auth ": rf"stats[ ]auth[ ]+[^\s:]{{1,100}}:{_WORD}",
    "echo ": r"""echo[ ]+(?:-n[ ]+)?["']?(?:[\w.\-]+:)?(?P<secret>[^\s"'|$`:]{4,100})["']?[ ]*\|[^|\n]{0,60}?(?:chpasswd|sudo -S|-stdin\b)""",
    "htpasswd": r"htpasswd(?:[ ]+-\w+)*?[ ]+-\w*b\w*(?:[ ]+-\w+)*[ ]+\S+[ ]+\S+[ ]+(?P<secret>\S+)",
    "thin:": r"(?i)thin:[\w.]{1,60}/(?P<secret>[^\s@]{3,100})@",
    "identified by": r"""(?i)identified[ ]by[ ]+(?:password[ ]+)?(?:\\{0,3}["'](?P<secret>[^"'\\\r\n]{1,200})|(?P<alone>(?=[^\s;]*\d)[^\s"'\\;]{8,100}))""",
    "set password for": r"""(?i)set[ ]password[ ]for[ ]+[^=\r\n]{1,120}=[ ]{0,3}(?:password\()?\\{0,3}["'](?P<secret>[^"'\\\r\n]{1,200})""",
    "login": r"""(?i)login\s{1,20}\S{1,100}\s{1,20}password[ \t]{1,20}(?P<secret>[^\s"'\\]{1,200})""",
}
"""Literal, in lower case -> expression; the group `secret` is the secret."""
