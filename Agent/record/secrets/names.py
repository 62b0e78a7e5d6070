"""Which names say that what stands under them is a secret, and how surely they say it.

Names are judged in lower case with `_` between their words: "apiKey", "API-Key" and "api key" are `api_key`.
A `SURE` name makes a secret of whatever stands under it. A `LIKELY` one (`session_id`, `license_key`, `token`)
stands over words and numbers as well, and makes one of what looks drawn by chance.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import inf
from typing import Final

from Agent.tree.undisturbed import undisturbed

__all__ = [
    "LIKELY", "NONE", "SURE", "compiled", "has_digit", "is_below", "is_issued", "is_secret_name", "is_wordlike",
    "is_words", "least_secret_number", "looks_drawn", "may_be_number", "name_says", "plain_name",
]  # fmt: skip

NONE, LIKELY, SURE = 0, 1, 2
_LEAST_SECRET: Final = 100.0

_SEPARATORS: Final = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\s.\-]+"
# What else is used as a key, a sentence or a piece of code, is a text and read as one.
_NAME: Final = r"[\w\s.\-/:\[\]()*#?@$]{2,100}"
_VENDORS: Final = (
    "openai|anthropic|azure|aws|gcp|google|gemini|stripe|github|gitlab|slack|sendgrid|twilio|mailgun|huggingface|hf|"
    "cohere|groq|mistral|deepseek|openrouter|tavily|pinecone|cloudflare|datadog|okta|algolia|heroku|linear|notion|"
    "hubspot|snyk|mailchimpe?|sonar|sourcegraph|square|shopify|figma|netlify|vercel|supabase|telegram|discord|twitter|"
    "dropbox|asana|airtable|fastly|newrelic|pagerduty|segment|mixpanel|amplitude|mapbox|firebase|sentry|bitbucket|jira"
)
_KEY_OWNERS: Final = (
    f"api|access|private|priv|secret|encryption|decryption|signing|ssh|gpg|pgp|rsa|hmac|aes|deploy|webhook|auth|jwt|"
    f"session|storage|cipher|crypto|fernet|vapid|service|wifi|wpa2?|{_VENDORS}"
)
_TOKEN_OWNERS: Final = f"api|auth|access|refresh|bearer|session|id|o?auth2?|csrf|xsrf|bot|personal|security|npm|pypi|vault|{_VENDORS}"
# What a name may go on with and still be that of the secret itself.
_SUFFIX: Final = r"(?:_?(?:id|pem|b64|base64|value|val|string|str|raw|plain|text|header|prod|dev|staging|test|live|base|v?\d+))*$"
_SURE_NAME: Final = rf"""(?x)
      passw(?:or)?d | passphrase | passcode | credential
    | passwort | kennwort | contrase(?:ñ|n)a | mot_?de_?passe | wachtwoord | senha(?:_|$) | has[lł]o(?:_|$)
    | (?:^|_)parola(?:_|$) | şifre | пароль | 密码 | 密碼 | パスワード | 비밀번호
    | (?:^|_)(?:secrets?|pwd|pw|auth|authori[sz]ation|cookies?|jwt|[cx]srf|ssn|cvv|cvc|creds?|pin|otp|totp|pass|mnemonic
      |passkey|bearer|psk)_?\d*$
    | (?:^|_)(?:pwd|jwt|[cx]srf)_ | (?<!^)secret{_SUFFIX}
    | (?:^|_)(?:db|database|user|usr|my|root|admin|sa|smtp|imap|ftp|ldap|vnc|wifi|mail|pg|sql|redis|mongo|login
      |bind|store|key|trust|require)_?(?:pass|pwd|pw)$
    | (?:^|_)(?:otp|pin|mfa|totp|2fa|recovery|backup|security|verification|confirmation|activation)_?codes?$
    | (?:seed|recovery|mnemonic|backup|secret)_?(?:phrase|words?_list|seed)$
    | (?:^|_|(?<=[a-z]))(?:{_KEY_OWNERS})_?keys?{_SUFFIX}
    | (?:^|_)(?:{_TOKEN_OWNERS})_?tokens$ | (?:^|_|(?<=[a-z]))(?:{_TOKEN_OWNERS})_?token{_SUFFIX}
    | pre_?shared_?keys?$ | ^x_(?:[a-z]+_)+key$ | ^masterauth$
    | secret_(?:access|token|value|string|base|code)
    | connection_?string | credit_?card | card_?num(?:ber)?
    """
_LIKELY_NAME: Final = rf"""(?x)
      (?:^|_)(?:sid|(?:php|j|asp)?sess(?:ion)?_?id|connect_sid|oauth2?|hmac|dsn|iban|salt|signature|sig|authentication|x?api_?token)$
    | (?:^|_)secrets?_ | (?:^|_)webhook(?:_?ur[li])?$
    | (?:^|_|(?<=[a-z]))(?:license|account|db|database|master|client|consumer|subscription|admin|app|application|host|server|shared
      |data|root|project|[a-z]+auth)_?keys?{_SUFFIX}
    | (?:^|_)token{_SUFFIX} | token$ | ^tokens$
    """
# Tokens of language models and cursors of paginated answers are no secrets.
_HARMLESS_WORDS: Final = (
    r"(?:^|_)(?:next|stop|eos|bos|pad|unk|sep|cls|mask|first|last|per|page|continuation|cursor|max|min|special|"
    r"start|end|new|prev|previous|current|predicted|generated|sampled|sample|output|input|target|image|each|every|"
    r"single|word|sub|text|prefix|suffix|cancel|cancellation|prompt|completion|best|top|vocab|this|that)_?token$"
)
_HARMLESS_END: Final = (
    r"_(?:count|counts|length|len|size|path|file|filename|name|names|type|policy|required|present|valid|expiry|"
    r"expires|expires_at|expires_in|ttl|age|strength|attempts|changed_at|reset_at|created_at|updated_at|limit|"
    r"usage|rate|price|cost|hits|tried|level|position|field|label|placeholder|url|uri|endpoint|prompt|prefix)$|(?:credentials?|secrets)_id$"
)
_MADE_UP: Final = r"(?:^|_)(?:fake|dummy|mock|bogus|placeholder|example|non_?(?:matching|existent|existing|secret|sensitive))_"
"""The name itself says that what stands under it is none."""
_ISSUED: Final = rf"(?:key|token){_SUFFIX}"
_DERIVED: Final = ("_hash", "_hint", "_digest", "_fingerprint")
"""What is made of a secret, and tells it at most."""
_OWN_SESSIONS: Final = frozenset({"session_id"})
"""A session of a program is none of a browser; what a cookie calls so is drawn, and its header is replaced."""
_NUMBERS_ARE_HARMLESS: Final = r"(?:^|_)(?:token|pass|auth|cookies?)$"


@lru_cache(maxsize=192)
def compiled(expression: str) -> re.Pattern[str]:
    """An expression, compiled when it is first asked for, since the import of the package must stay quick."""
    with undisturbed():
        return re.compile(expression)


def plain_name(name: str) -> str:
    """A key or a variable's name in lower case with `_` between its words."""
    return compiled(_SEPARATORS).sub("_", name).lower()


@lru_cache(maxsize=4096)
def name_says(name: str) -> int:
    """`SURE`, `LIKELY` or `NONE`: how surely a secret stands under this name."""
    if not compiled(_NAME).fullmatch(name):
        return NONE
    plain = plain_name(name.lstrip("#-"))
    if compiled(_HARMLESS_END).search(plain) and not plain.endswith("webhook_url"):
        return NONE
    if "public" in plain or compiled(_HARMLESS_WORDS).search(plain) or plain in _OWN_SESSIONS:
        return NONE
    if compiled(_MADE_UP).search(plain):
        return NONE
    if compiled(_SURE_NAME).search(plain):
        return LIKELY if plain.endswith(_DERIVED) else SURE
    return LIKELY if compiled(_LIKELY_NAME).search(plain) else NONE


def is_issued(name: str) -> bool:
    """Whether somebody's program draws what stands under this name: keys and tokens; people choose passwords."""
    return compiled(_ISSUED).search(plain_name(name)) is not None


def is_secret_name(name: str) -> bool:
    """Whether a secret stands under this name, surely or likely; `tokens`, `token_count` and `author` say no."""
    return name_says(name) != NONE


def may_be_number(name: str, number: float = 0) -> bool:
    """Whether a number under this secret name is none: the id of a language model's token, a count, a pin of a board."""
    return abs(number) < _LEAST_SECRET or compiled(_NUMBERS_ARE_HARMLESS).search(plain_name(name)) is not None


def least_secret_number(name: str, says: int) -> float:
    """The size from which a number under the name of a secret is hidden; infinity where none is."""
    return inf if says == LIKELY or may_be_number(name, inf) else _LEAST_SECRET


def is_below(value: object, size: float) -> bool:
    """Whether a value is a number below a size, a boolean, or None; nothing is where the size is 0."""
    if value is None or value is True or value is False:
        return size > 0
    return (type(value) is int or type(value) is float) and abs(value) < size


def has_digit(value: str) -> bool:
    """Whether any character of a value is a digit."""
    return any(map(str.isdigit, value))


# Words and short numbers with what joins them: `user_17`, `gpt4`, `com.example/x`, `CamelCase`; not `a1b2c3`.
_WORDS: Final = (
    r"(?:[A-Z]?[a-z]{2,}+|[A-Z]{2,}+|(?<![A-Za-z0-9])[a-zA-Z](?![A-Za-z0-9])|(?<![A-Za-z0-9])\d{1,4}(?![A-Za-z0-9])"
    r"|(?<=[A-Za-z])\d{1,2}(?![A-Za-z0-9])|[_\-.:/])++"
)
_HARMLESS_VALUE: Final = rf"""(?xs)
      {_WORDS}
    | v?\d+(?:\.\d+){{1,3}}(?:[\-+][\w.]+)?                 # a version
    | \#[0-9a-fA-F]{{3,8}}                                      # a colour
    | 0x[0-9a-f]{{1,16}}                                      # an address or a handle
    | (?:~|\.{{1,2}})?/[a-z][a-z.\-]*/.*  | [A-Za-z]:\\.*     # a path
    | (?:self|os|env|settings|config|args|kwargs|options|process|var|secrets|data|request|this)[.\[].*
    | [A-Za-z_][\w.]*(?:\[.*|\(.*|\{{.*|@[0-9a-f]+)          # a call, an item, an object as it shows itself
    | (?:getenv|getpass).* | [$%<{{`].* | &\w+;?
    """


_CHARS_OF_WORD: Final = 4
"""On average; pieces of drawn letters that look like words have less than three."""
_JUDGED_CHARS: Final = 128
"""How much of a long value is judged."""


def is_wordlike(value: str) -> bool:
    """Whether a value is made of words and short numbers with what joins them, as names of things are."""
    return compiled(_WORDS).fullmatch(value) is not None


def is_words(value: str) -> bool:
    """Whether a value is made of real words: small ones with a dash between them, or long ones without."""
    if not is_wordlike(value):
        return False
    words = compiled(r"[A-Z]?[a-z]+|[A-Z]+").findall(value)
    is_joined = value.islower() and not value.isalnum()
    return is_joined or (bool(words) and sum(map(len, words)) >= _CHARS_OF_WORD * len(words))


def looks_drawn(value: str, least: int = 6) -> bool:
    """Whether a value without blanks looks drawn by chance, and not like words, a number, a path or code."""
    value = value[:_JUDGED_CHARS]
    if len(value) < least or any(map(str.isspace, value)):
        return False
    if value.isdigit():
        return len(value) >= 15
    if not has_digit(value) and (len(value) < 20 or value.islower() or not value.isascii()):
        return False
    if _is_grouped(value):
        return True
    return compiled(_HARMLESS_VALUE).fullmatch(value) is None and not _is_camel_case(value)


def _is_grouped(value: str) -> bool:
    """Whether a value is made of equally long groups that mix letters and digits: `ab12-cd34-ef56`."""
    groups = value.split("-")
    if len(groups) < 3 or len(set(map(len, groups))) > 1 or not all(map(str.isalnum, groups)):
        return False
    return 2 * sum(not one.isalpha() and not one.isdigit() for one in groups) > len(groups)


def _is_camel_case(value: str) -> bool:
    """Whether capitalised words make most of a value, as in the names of classes and types."""
    return sum(map(len, compiled(r"[A-Z][a-z]{3,}").findall(value))) > 0.7 * len(value)
