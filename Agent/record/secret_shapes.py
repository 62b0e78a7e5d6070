"""What a secret looks like: by the name it stands under, and by its own shape inside a text.

`redaction.py` asks both. Everything here is anchored at literals, so that a long text costs a few searches in
C and only the neighbourhood of what they find is looked at.
"""

from __future__ import annotations

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from functools import lru_cache

# "apiKey", "API-Key" and "api key" are all `api_key` before they are judged.
_SEPARATORS = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\s.\-]+"
# What else is used as a key, a sentence or a piece of code, is a text and read as one.
_NAME = r"[\w\s.\-/:\[\]()*#?@$]{2,100}"
_KEY_OWNERS = (
    "api|access|private|secret|encryption|decryption|signing|ssh|gpg|pgp|rsa|hmac|aes|master|deploy|webhook|"
    "subscription|admin|auth|license|client|consumer|account|openai|anthropic|azure|aws|stripe|github|gitlab|"
    "slack|sendgrid|twilio|mailgun|huggingface|hf|cohere|groq|mistral"
)
_DENIED_NAME = rf"""(?x)
      passw(?:or)?d | passphrase | passcode | credential
    | (?:^|_)(?:secrets?|pwd|auth|authori[sz]ation|cookies?|jwt|[cx]srf|ssn|cvv|cvc|creds?|pin|otp|pass)_?\d*$
    | (?:^|_)secrets?_ | secret$ | (?:^|_)(?:pwd|jwt|[cx]srf)_
    | (?:^|_|(?<=[a-z]))(?:{_KEY_OWNERS})_?keys?(?:_(?:id|pem|b64|base64|\d+))?$
    | connection_?string | credit_?card | card_?number
    | (?:^|_)(?:api|auth|access|refresh|bearer|session|id|o?auth2?)_?tokens$
    | (?:api|auth|access|refresh|bearer|session|csrf|bot)token$
    """
_NAMED_TOKEN = r"(?:^|_)token(?:_?\d+)?$"
# Tokens of language models and cursors of paginated answers are no secrets.
_HARMLESS_WORDS = (
    r"(?:^|_)(?:next|stop|eos|bos|pad|unk|sep|cls|mask|first|last|per|page|continuation|cursor|max|min|special|"
    r"start|end|new|prev|previous|current|predicted|generated|sampled|sample|output|input|target|image|each|every|"
    r"single|word|sub|text|prefix|suffix|cancel|cancellation|prompt|completion|best|top|vocab|this|that)_token$"
)
_HARMLESS_END = (
    r"_(?:count|counts|length|len|size|path|file|filename|name|names|type|policy|required|present|valid|expiry|"
    r"expires|expires_at|expires_in|ttl|age|strength|attempts|changed_at|reset_at|created_at|updated_at|limit|"
    r"usage|rate|price|cost)$"
)
_NUMBERS_ARE_HARMLESS = r"(?:^|_)(?:token|pass|auth|cookies?)$"


def plain_name(name: str) -> str:
    """A key or a variable's name in lower case with `_` between its words."""
    return _compiled(_SEPARATORS).sub("_", name).lower()


def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is a secret; `tokens`, `token_count` and `author` are none."""
    if not _compiled(_NAME).fullmatch(name):
        return False
    plain = plain_name(name)
    if _compiled(_HARMLESS_END).search(plain):
        return False
    if _compiled(_DENIED_NAME).search(plain):
        return True
    is_token = _compiled(_NAMED_TOKEN).search(plain) is not None
    return is_token and _compiled(_HARMLESS_WORDS).search(plain) is None


def may_be_number(name: str) -> bool:
    """Whether a number under this secret name is none: the id of a language model's token, a count."""
    return _compiled(_NUMBERS_ARE_HARMLESS).search(plain_name(name)) is not None


_VENDORS = {
    "sk-": r"sk-(?:(?:live|test|proj|ant|or|svcacct|admin|lf)-[\w\-]{8,}|[A-Za-z0-9]{20,}|[0-9a-f\-]{36})",
    "sk_": r"sk_(?:(?:live|test)_[A-Za-z0-9]{8,}|[A-Za-z0-9]{20,})",
    "pk_": r"pk_(?:live|test)_[A-Za-z0-9]{8,}",
    "rk_": r"rk_(?:live|test)_[A-Za-z0-9]{8,}",
    "whsec_": r"whsec_[A-Za-z0-9+/=]{16,}",
    **{f"gh{kind}_": rf"gh{kind}_[A-Za-z0-9]{{16,}}" for kind in "pousr"},
    "github_pat_": r"github_pat_\w{16,}",
    **{f"gl{kind}-": rf"gl{kind}-[\w\-]{{16,}}" for kind in ("pat", "dt", "rt", "soat", "cbt", "ptt")},
    "glsa_": r"glsa_\w{16,}",
    "xox": r"xox[abeoprs]-[A-Za-z0-9\-]{10,}",
    "xapp-": r"xapp-[A-Za-z0-9\-]{10,}",
    **{f"a{kind}a": rf"A{kind.upper()}A[0-9A-Z]{{12,}}" for kind in ("ki", "si", "gp", "ro", "id")},
    "aiza": r"AIza[0-9A-Za-z_\-]{30,}",
    "ya29.": r"ya29\.[\w\-]{20,}",
    "gocspx-": r"GOCSPX-[\w\-]{16,}",
    "npm_": r"npm_[A-Za-z0-9]{30,}",
    "pypi-": r"pypi-[\w\-]{16,}",
    "hf_": r"hf_[A-Za-z0-9]{16,}",
    "gsk_": r"gsk_[A-Za-z0-9]{20,}",
    "xai-": r"xai-[A-Za-z0-9]{20,}",
    "pplx-": r"pplx-[A-Za-z0-9]{20,}",
    "r8_": r"r8_[A-Za-z0-9]{20,}",
    "_v1_": r"(?<=do[opr])_v1_[0-9a-f]{32,}",
    "dapi": r"dapi[0-9a-f]{32}",
    "shp": r"shp(?:at|ss|ca|pa)_[0-9a-fA-F]{16,}",
    "lin_api_": r"lin_api_\w{16,}",
    "sq0": r"sq0[a-z]{3}-[\w\-]{16,}",
    **{f"hv{kind}.": rf"hv{kind}\.[\w\-]{{16,}}" for kind in "sbr"},
    "dckr_pat_": r"dckr_pat_[\w\-]{16,}",
    "pcsk_": r"pcsk_\w{20,}",
    "atatt3": r"ATATT3[\w\-=]{20,}",
    "nrak-": r"NRAK-[A-Z0-9]{20,}",
    "age-secret-key-": r"AGE-SECRET-KEY-1[0-9A-Z]{20,}",
    "sg.": r"SG\.[\w\-]{16,}\.[\w\-]{16,}",
    ":aa": r"(?<=\d{8}):AA[\w\-]{30,}",
    "eyj": r"eyJ[\w\-]{8,}\.[\w\-]{4,}(?:\.[\w\-]*)?",
}
"""What a vendor's key begins with, in lower case, to its whole shape."""

_PRIVATE_KEY = (
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?s:.{0,20000}?)(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)|[\w+/=\s\\:,]{0,20000})"
)
_USER_INFO = r"""://(?!\d{1,5}/)[^\s:/@"'<>]{0,200}:(?!\d{1,5}/)(?P<secret>[^\s"'<>]{1,200})(?=@[\w\[])"""
_SCHEME = r"(?:bearer|basic)[ ]+(?P<secret>[\w\-.=+/~]{8,})"
_SIGNATURE = r"""(?<=[?&])sig=(?P<secret>[^&\s"']{8,})"""
_COOKIES = r"""cookie(?:\\{0,3}["'])?[ ]{0,3}:[ ]{0,3}(?:\\{0,3}["'])?(?P<secret>[^\r\n"'\\]{3,4000})"""
_ASSIGNED = (
    r"""(?P<end>[\w\-]{0,40}?)(?:\\{0,3}["'])?[ ]{0,3}(?:={1,3}>?|:=?)[ ]{0,3}"""
    r"""(?:(?i:bearer|basic|token)[ ]+)?"""
    r"""(?:(?P<quote>\\{0,3}["'])(?P<quoted>[^\r\n]{1,500}?)(?P=quote)"""
    r"""|(?:\\{0,3}["'])?(?P<bare>[^\s"'&,;\\]{3,500}))"""
)
# `--api-key X`, and the name of a header in quotes with its value behind it: `("X-Api-Key", "X")`,
# `{"name": "Authorization", "value": "X"}`.
_FOLLOWING = (
    r"""(?P<end>[\w\-]{0,40}?)(?:(?P<option>[ ]{1,3})(?:(?P<bare>[^\s"'&,;\\\-][^\s"'&,;\\]{2,500})"""
    r"""|(?P<quote>\\{0,3}["'])(?P<given>[^\r\n]{1,500}?)(?P=quote))"""
    r"""|\\{0,3}["'][ ]?,[ ]?\\{0,3}["'](?P<header>value\\{0,3}["'][ ]?:[ ]?\\{0,3}["'])?"""
    r"""(?:(?i:bearer|basic|token)[ ]+)?(?P<quoted>[^\r\n"'\\]{3,500})\\{0,3}["'])"""
)
_NAME_ANCHORS = ("pass", "pwd", "secret", "token", "key", "auth", "cred", "card", "connection")
_ANCHORS: dict[str, str] = {
    **{
        anchor: rf"(?<![A-Za-z0-9]){shape}"
        for anchor, shape in _VENDORS.items()
        if not shape.startswith("(?<=")
    },
    **{anchor: shape for anchor, shape in _VENDORS.items() if shape.startswith("(?<=")},
    "-----begin ": _PRIVATE_KEY,
    "://": _USER_INFO,
    "bearer ": rf"(?i:(?<![a-z]){_SCHEME})",
    "basic ": rf"(?i:(?<![a-z]){_SCHEME})",
    "sig=": _SIGNATURE,
    "cookie": rf"(?i:{_COOKIES})",
}
_BEFORE = r"[A-Za-z0-9_\-]{0,40}\Z"
_BENIGN = (
    r"(?i)none|null|nil|true|false|str|string|int|bytes|bool|any|required|undefined|empty|missing|invalid|wrong|expired|"
    r"\*+|\.{3,}|x{3,}|\[redacted:.*"
)
# Code that fetches a secret holds none.
_CODE = r"(?s)(?:self|os|env|settings|config|args|kwargs|options)[.\[].*|getenv.*|getpass.*|[$%<{].*"


@lru_cache(maxsize=128)
def _compiled(shape: str) -> re.Pattern[str]:
    """A shape, compiled when it is first asked for, since the import of the package must stay quick."""
    return re.compile(shape)


def secrets_in(text: str) -> list[tuple[int, int]]:
    """Where secrets stand in a text: (begin, end) in order, none overlapping another."""
    lower = text.lower()
    if len(lower) != len(text):  # a few letters become two; then only ASCII is folded
        lower = text.encode("utf-32-le", "surrogatepass").lower().decode("utf-32-le", "surrogatepass")
    spans: list[tuple[int, int]] = []
    for anchor, shape in _ANCHORS.items():
        for at in _places(lower, anchor):
            match = _compiled(shape).match(text, at)
            if match is not None:
                named = match.groupdict().get("secret") is not None
                begin, end = match.span("secret") if named else match.span()
                if _is_credential(anchor, text[begin:end]):
                    spans.append((begin - 3 if anchor == "_v1_" else begin, end))
    if "=" in text or ":" in text or "," in text or "--" in text:
        for anchor in _NAME_ANCHORS:
            for at in _places(lower, anchor):
                spans.extend(_assigned(text, at, len(anchor)))
        for at in _places(lower, "cookie"):
            spans.extend(_following(text, at, len("cookie")))
    return _joined(spans)


def _places(lower: str, anchor: str) -> Iterator[int]:
    at = lower.find(anchor)
    while at >= 0:
        yield at
        at = lower.find(anchor, at + len(anchor))


def _assigned(text: str, at: int, length: int) -> Iterator[tuple[int, int]]:
    """The value that is assigned to the name around this place, if the name is a secret's."""
    match = _compiled(_ASSIGNED).match(text, at + length)
    if match is None:
        yield from _following(text, at, length)
        return
    before = _compiled(_BEFORE).search(text, max(0, at - 40), at)
    name = (before.group() if before else "") + text[at : at + length] + match["end"]
    group = "quoted" if match["quoted"] is not None else "bare"
    value = match[group]
    if name.upper() in {"PWD", "OLDPWD"} and value.startswith("/"):
        return
    if not is_secret_name(name) or _compiled(_BENIGN).fullmatch(value) or value.lower() == name.lower():
        return
    if group == "bare" and _compiled(_CODE).fullmatch(value):
        return
    # A token in prose is a word; one that is a secret has digits, or is long.
    if may_be_number(name) and not _looks_random(value):
        return
    yield match.span(group)


def _following(text: str, at: int, length: int) -> Iterator[tuple[int, int]]:
    """The value behind an option of a command line, or behind the name of a header in quotes."""
    match = _compiled(_FOLLOWING).match(text, at + length)
    if match is None:
        return
    before = _compiled(_BEFORE).search(text, max(0, at - 40), at)
    name = (before.group() if before else "") + text[at : at + length] + match["end"]
    group = "quoted" if not match["option"] else "bare" if match["bare"] else "given"
    if match["option"] and not name.startswith("--"):
        return
    # Two words of a list are none; what stands under `value`, or looks like nothing that is spoken, is one.
    is_listed = not match["option"] and not match["header"]
    if not is_secret_name(name.lstrip("-")) or (is_listed and not _looks_random(match[group])):
        return
    if not _compiled(_BENIGN).fullmatch(match[group]) and not _compiled(_CODE).fullmatch(match[group]):
        yield match.span(group)


def _looks_random(value: str) -> bool:
    return len(value) >= 20 or (
        len(value) >= 6 and any(char.isdigit() for char in value) and not value.isdigit()
    )


def _is_credential(anchor: str, value: str) -> bool:
    """Whether what follows `Bearer` or `Basic` is a credential and not the next word of a sentence."""
    if value.startswith("[redacted:"):
        return False
    if anchor == "bearer ":
        return any(char.isdigit() for char in value) or (len(value) >= 20 and not value.islower())
    if anchor == "basic ":
        try:
            # behind it a sentence may end, or the name of a file go on
            encoded = value.partition(".")[0].rstrip("=~")
            return b":" in a2b_base64(encoded + "=" * (-len(encoded) % 4))
        except NotBase64:
            return False
    return True


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
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
