"""Judges which names are names of secrets, and how certain that is.

Names are judged in lower case with `_` between their words: "apiKey", "API-Key" and "api key" are `api_key`.
Every value under a `SURE` name is a secret. A `LIKELY` name (`dsn`, `license_key`, `token`) is also used for
words and numbers, so that only random-looking values under it are secrets.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import inf
from typing import Final
from unicodedata import normalize

from Agent.event.limits_of_time import undisturbed

NONE, LIKELY, SURE = 0, 1, 2
_LEAST_SECRET: Final = 100.0

_SEPARATORS: Final = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\s.\-]+"
# Any other key, such as a sentence or code, is not a name; it is searched like a text.
_NAME: Final = r"[\w\u0900-\u0e7f\s.\-/:\[\]()*#?@$]{2,100}"  # with the vowels of Indic scripts and Thai
_LONG_NUMBER: Final = r"(?<![^\W_])[0-9]{5,}"
"""A number at the beginning of a word; after letters, its first digits may belong to them: `base64`, `wpa2`."""
_LONGEST_NUMBERED: Final = 100
_VENDORS: Final = (
    "openai|anthropic|azure|aws|gcp|google|gemini|stripe|github|gitlab|slack|sendgrid|twilio|mailgun|huggingface|hf|"
    "cohere|groq|mistral|deepseek|openrouter|tavily|pinecone|cloudflare|datadog|okta|algolia|heroku|linear|notion|"
    "hubspot|snyk|mailchimpe?|sonar|sourcegraph|square|shopify|figma|netlify|vercel|supabase|telegram|discord|twitter|"
    "dropbox|asana|airtable|fastly|newrelic|pagerduty|segment|mixpanel|amplitude|mapbox|firebase|sentry|bitbucket|jira|"
    "azure_?devops|azdo|rapid_?api|sumo(?:_?logic)?|(?<![a-z])exa"
)
_KEY_OWNERS: Final = (
    f"api|access|private|priv|secret|recovery|encryption|decryption|signing|ssh|gpg|pgp|rsa|hmac|aes|deploy|webhook|auth|jwt|"
    f"storage|unseal|cipher|crypto|fernet|vapid|service|wifi|wpa2?|{_VENDORS}"
)
_TOKEN_OWNERS: Final = f"api|auth|access|refresh|bearer|session|id|o?auth2?|csrf|xsrf|bot|personal|security|npm|pypi|vault|{_VENDORS}"
# Suffixes after which a name still denotes the secret itself. Possessive, since digits can be split in 2^n ways.
_SUFFIX: Final = r"(?:_?(?:id|pem|b64|base64|value|val|string|str|raw|plain|text|header|prod|dev|staging|test|live|base|v?\d++))*+$"
_ENDS_NAME: Final = r"_?(?:[:(]|[\]*?]{0,3}$)"
"""Characters after a name in a form: `Pass word (required)`, `[passWord]`."""
_SURE_NAME: Final = rf"""(?x)
      passw(?:or)?d | passphrase | passcode | credential | passwort | kennwort | wachtwoord
    | (?<![^\W_])(?<!by_)(?:pass_(?:word|wort|phrase|code|wd) | kenn_wort | wacht_woord)s?(?:{_SUFFIX}|{_ENDS_NAME})  # `passWord`
    | (?:contrase(?:ñ|n)a | mot_?de_?passe | (?:^|_)senha | (?:^|_)has[lł]o | (?:^|_)parola)s?{_SUFFIX}
    | (?:^|_)(?:clave_(?:de_acceso|secreta) | codice_(?:di_accesso|segreto) | passord | adgangskode | salasana | heslo | mdp | geheimnis | kata_sandi
      | cle_(?:api|secrete|d.acces)){_SUFFIX}
    | lösenord | jelszó | κωδικός | mật_khẩu | סיסמה | كلمة_(?:المرور|السر) | รหัสผ่าน | पासवर्ड | 口令
    | 密钥 | 密鑰 | (?:netzwerk|wlan|wifi|wpa2?|api|sicherheits|zugriffs|zugangs|geheim)_?schlüssel$ | ^clé_(?:api|secrète|d.accès)
    | şifre | пароль | 密码 | 密碼 | パスワード | 비밀번호 | 암호(?![화문학])
    | (?:^|_)(?:secrets?|pwd|pw|auth|authori[sz]ation|cookies?|jwt|[cx]srf|ssn|cvv|cvc|creds?|pin|otp|totp|pass|mnemonic
      |passkey|bearer|psk)_?\d*$
    | (?:^|_)(?:pwd|jwt|[cx]srf)_ | (?<!^)secret{_SUFFIX}
    | (?:^|_)(?:db|database|user|usr|my|root|admin|sa|smtp|imap|ftp|ldap|vnc|wifi|mail|pg|sql|redis|mongo|login
      |ssh|bind|store|key|trust|require)_?(?:pass|pwd|pw)$
    | (?:^|_)(?:otp|pin|mfa|totp|2fa|recovery|backup|security|verification|confirmation|activation|login|access|sign_?in)_?codes?$
    | (?:^|_)(?:security|secret)_?answers?$
    | (?:seed|recovery|mnemonic|backup|secret)_?(?:phrase|words?_list|seed)$
    | (?:^|_|(?<=[a-z]))(?:{_KEY_OWNERS})_?keys?{_SUFFIX}
    | (?:^|_)(?:{_TOKEN_OWNERS})_?tokens$ | (?:^|_|(?<=[a-z]))(?:{_TOKEN_OWNERS})_?token{_SUFFIX}
    | pre_?shared_?keys?$ | ^x_(?:[a-z]+_)+key$ | ^masterauth$
    | secret_(?:access|token|value|string|base|code)
    | (?:connection_?string | credit_?card | card_?num(?:ber)?)s?{_SUFFIX}
    """
_LIKELY_NAME: Final = rf"""(?x)
      (?:^|_)pat$ | (?:^|_)(?:sid|(?:php|j|asp)?sess(?:ion)?_?id|connect_sid|oauth2?|hmac|dsn|iban|salt|signature|sig|authentication|x?api_?token)$
    | (?:^|_)secrets?_ | (?:^|_)webhook(?:_?ur[li])?$
    | (?:^|_|(?<=[a-z]))(?:license|account|session|db|database|master|client|consumer|subscription|admin|app|application|host|server|shared
      |data|root|project|[a-z]+auth)_?keys?{_SUFFIX}
    | (?:^|_)token{_SUFFIX} | token$ | ^tokens$ | schlüssel$ | (?:^|_)(?:ключ|токен)[аиыу]?$ | 令牌 | トークン
    """
_IN_SECRET_NAMES: Final = (
    "pass pwd cred secret key token jwt srf mnemonic recovery backup phrase card connection_string connectionstring webhook "
    "kenn wacht contrase senha haslo parola clave_ codice_ adgangskode salasana heslo mdp geheimnis sandi cle_"
).split()
_END_SECRET_NAMES: Final = tuple(
    "pat pw auth authorization authorisation authentication cookie cookies ssn cvv cvc pin otp bearer psk code codes answer "
    "answers word_list words_list seedseed seed_seed sid sess_id session_id sessionid hmac dsn iban salt signature sig".split()
)
"""What an ASCII name contains, or ends with before digits, if `_SURE_NAME`, `_LIKELY_NAME` or `_VARIABLE` finds it."""
# Tokens of language models and cursors of paginated responses are not secrets.
_HARMLESS_WORDS: Final = (
    r"(?:^|_)(?:next|stop|eos|bos|pad|unk|sep|cls|mask|first|last|per|page|continuation|cursor|max|min|special|"
    r"start|end|new|prev|previous|current|predicted|generated|sampled|sample|output|input|target|image|each|every|"
    r"single|word|sub|text|prefix|suffix|cancel|cancellation|prompt|completion|best|top|vocab|this|that)_?token$|"
    r"(?:^|_)(?:boarding|bus|city|day|week|weekly|season|ski|mountain|forward|backward|band|low|high|test|render|compiler)_?pass$"
)
_HARMLESS_END: Final = (
    r"_(?:count|counts|length|len|size|path|file|filename|name|names|type|policy|required|present|valid|expiry|"
    r"expires|expires_at|expires_in|ttl|age|strength|attempts|changed_at|reset_at|created_at|updated_at|limit|"
    r"usage|rate|price|cost|hits|tried|level|position|field|label|placeholder|url|uri|endpoint|prompt|prefix|"
    r"hashers?|encoders?|validators?|validation|algorithms?|schemes?|rules|requirements|generator|manager)$|(?:credentials?|secrets)_id$"
)
_MADE_UP: Final = r"(?:^|_)(?:fake|dummy|mock|bogus|placeholder|example|non_?(?:matching|existent|existing|secret|sensitive))_"
"""The name itself shows that the value is not a real secret."""
_VARIABLE: Final = r"[A-Z][A-Z0-9_]*_KEY"
"""A variable of the environment; a key under a name in lower case may be one of a cache or a table."""
_KEY_OF_DATA: Final = (
    r"(?:^|_)(?:cache|primary|foreign|sort|partition|group|unique|row|range|hash|index|lookup|object|registry|hot|"
    r"shortcut|context|translation|message|route|lock|dict|map|query|state|storage|event|public)_key$"
)
_ISSUED: Final = rf"(?:key|token){_SUFFIX}"
_DERIVED: Final = ("_hash", "_hint", "_digest", "_fingerprint")
"""Suffixes of values derived from a secret: their names are only `LIKELY`."""
_OWN_SESSIONS: Final = frozenset({"session_id"})
"""Sessions of programs are not secret. In a cookie, a session id is replaced with the header's value."""
_NUMBERS_ARE_HARMLESS: Final = r"(?:^|_)(?:token|pass|auth|cookies?)$"


@lru_cache(maxsize=192)
def compiled(expression: str) -> re.Pattern[str]:
    """Compile an expression at its first use, to keep the import of the package fast."""
    with undisturbed():
        return re.compile(expression)


def plain_name(name: str) -> str:
    """Return a key or a variable's name in lower case with `_` between its words."""
    if not name.isascii():
        name = normalize(
            "NFKC", compiled(_WITHOUT_WIDTH).sub("", name)
        )  # wide letters of Chinese and Japanese fonts
    return compiled(_SEPARATORS).sub("_", name.strip(_QUOTES)).lower()


_QUOTES: Final = "\"'`\\\u201c\u201d\u2018\u2019\u00ab\u00bb"
"""Quotation marks, which remain around keys when programs split texts."""
_WITHOUT_WIDTH: Final = "[\u00ad\u200b\u2060\ufeff]"
"""Characters that are not seen."""


@lru_cache(maxsize=4096)
def name_says(name: str) -> int:
    """Return how certain a value under this name is a secret: `SURE`, `LIKELY` or `NONE`."""
    if name.isascii() and len(name) <= _LONGEST_NUMBERED:
        # The names of a large mapping often differ only in a number, which no expression here reads.
        return _judged(compiled(_LONG_NUMBER).sub("0000", name))
    return _judged(name)


@lru_cache(maxsize=1024)
def _judged(name: str) -> int:
    name = name.strip(_QUOTES)
    if not compiled(_NAME).fullmatch(name if name.isascii() else compiled(_WITHOUT_WIDTH).sub("", name)):
        return NONE
    plain = plain_name(name.lstrip("#-"))
    if not _may_be_found(plain):
        return NONE
    if compiled(_HARMLESS_END).search(plain) and not plain.endswith("webhook_url"):
        return NONE
    if "public" in plain or compiled(_HARMLESS_WORDS).search(plain) or plain in _OWN_SESSIONS:
        return NONE
    if compiled(_MADE_UP).search(plain):
        return NONE
    if compiled(_SURE_NAME).search(plain):
        return LIKELY if plain.endswith((*_DERIVED, "key_header")) else SURE
    if compiled(_VARIABLE).fullmatch(name) and compiled(_KEY_OF_DATA).search(plain) is None:
        return LIKELY
    return LIKELY if compiled(_LIKELY_NAME).search(plain) else NONE


def _may_be_found(plain: str) -> bool:
    """Whether an expression may find a plain name; the large ones take 6 ms to compile, and few names need them."""
    if not plain.isascii():
        return True
    is_end = plain.rstrip("_0123456789").endswith(_END_SECRET_NAMES)
    return is_end or any(part in plain for part in _IN_SECRET_NAMES)


def is_issued(name: str) -> bool:
    """Whether values under this name are generated, as keys and tokens are; people choose passwords."""
    return compiled(_ISSUED).search(plain_name(name)) is not None


def is_secret_name(name: str) -> bool:
    """Whether a value under this name is surely or likely a secret; not for `token_count` or `author`."""
    return name_says(name) != NONE


def may_be_number(name: str, number: float = 0) -> bool:
    """Whether a number under this secret name may be harmless: a token id, a count, a pin of a board."""
    return abs(number) < _LEAST_SECRET or compiled(_NUMBERS_ARE_HARMLESS).search(plain_name(name)) is not None


def least_secret_number(name: str, says: int) -> float:
    """Return the absolute value from which a number under a secret name is hidden; infinity for never."""
    return inf if says == LIKELY or may_be_number(name, inf) else _LEAST_SECRET


def is_below(value: object, size: float) -> bool:
    """Whether a value is a number below a size, a boolean, or None; always False for size 0."""
    if value is None or value is True or value is False:
        return size > 0
    return (type(value) is int or type(value) is float) and abs(value) < size


def has_digit(value: str) -> bool:
    """Whether any character of a value is a digit."""
    return any(map(str.isdigit, value))


# Words and short numbers with separators: `user_17`, `gpt4`, `com.example/x`, `CamelCase`; not `a1b2c3`.
_WORDS: Final = (
    r"(?:[A-Z]?[a-z]{2,}+|[A-Z]{2,}+|(?<![A-Za-z0-9])[a-zA-Z](?![A-Za-z0-9])|(?<![A-Za-z0-9])\d{1,4}(?![A-Za-z0-9])"
    r"|(?<=[A-Za-z])\d{1,2}(?![A-Za-z0-9])|[_\-.:/])++"
)
_HARMLESS_VALUE: Final = rf"""(?xs)
      {_WORDS}
    | v?\d+(?:\.\d+){{1,3}}(?:[\-+][\w.]+)?                 # a version
    | \#[0-9a-fA-F]{{3,8}}                                      # a colour
    | (?i:md|sha|aes|hs|rs|es|base|utf|pbkdf|argon|oauth)[\-_]?\d{{1,4}}    # an algorithm
    | S-1(?:-\d{{1,20}}){{2,12}} | \d{{4}}-\d\d-\d\dT[\d:.]{{5,20}}(?:Z|[+\-]\d\d:?\d\d)?   # an account of Windows, a time
    | arn:[\w\-]{{1,10}}:.*                                    # a resource of AWS
    | 0x[0-9a-f]{{1,16}}                                      # an address or a handle
    | (?:~|\.{{1,2}})?/[a-z][a-z.\-]*/.*  | [A-Za-z]:\\.*     # a path
    | (?:self|os|env|settings|config|args|kwargs|options|process|var|secrets|data|request|this)[.\[].*
    | [A-Za-z_][\w.]*(?:\[.*|\(.*|\{{.*|@[0-9a-f]+)          # a call, an item, an object as it shows itself
    | (?:getenv|getpass).* | [$<{{`].* | %(?![0-9A-Fa-f]{{2}}).* | &\w+;?
    """


_CHARS_OF_WORD: Final = 4
"""Average length of real words; word-like pieces of random letters have less than 3 on average."""
_SHORTEST_DRAWN: Final = 6
_JUDGED_CHARS: Final = 128
"""Only this many characters of a long value are judged."""


def is_wordlike(value: str) -> bool:
    """Whether a value consists of words and short numbers with separators, like identifiers."""
    return compiled(_WORDS).fullmatch(value) is not None


def is_words(value: str) -> bool:
    """Whether a value consists of real words: lower-case ones with separators, or long ones without."""
    if not is_wordlike(value):
        return False
    words = compiled(r"[A-Z]?[a-z]+|[A-Z]+").findall(value)
    is_joined = value.islower() and not value.isalnum()
    return is_joined or (bool(words) and sum(map(len, words)) >= _CHARS_OF_WORD * len(words))


def looks_drawn(value: str) -> bool:
    """Whether a value without blanks looks random, and not like words, a number, a path or code."""
    value = value[:_JUDGED_CHARS]
    if len(value) < _SHORTEST_DRAWN or any(map(str.isspace, value)):
        return False
    if value.isdigit():
        return len(value) >= 15
    if not has_digit(value) and (len(value) < 20 or value.islower() or not value.isascii()):
        return is_letters_drawn(value)
    if _is_grouped(value):
        return True
    return compiled(_HARMLESS_VALUE).fullmatch(value) is None and not _is_camel_case(value)


def is_letters_drawn(value: str) -> bool:
    """Whether a value of letters changes between capitals and small ones as drawn letters do, and names do not."""
    if not (_SHORTEST_OF_LETTERS <= len(value) <= _JUDGED_CHARS and value.isascii() and value.isalpha()):
        return False
    pieces = compiled(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])").findall(value)
    return len(value) < _CHARS_OF_PIECE * len(pieces)


_SHORTEST_OF_LETTERS: Final = 12
_CHARS_OF_PIECE: Final = 3
"""Drawn letters change case after 2 on average, capitalised words after 5."""


def _is_grouped(value: str) -> bool:
    """Whether a value consists of equally long groups that mix letters and digits: `ab12-cd34-ef56`."""
    groups = value.split("-")
    if len(groups) < 3 or len(set(map(len, groups))) > 1 or not all(map(str.isalnum, groups)):
        return False
    return 2 * sum(not one.isalpha() and not one.isdigit() for one in groups) > len(groups)


def _is_camel_case(value: str) -> bool:
    """Whether more than 70% of a value are capitalised words, as in the names of classes and types."""
    words = compiled(r"[A-Z][a-z]{3,}").findall(value)
    return sum(len(word) for word in words if _can_be_spoken(word)) > 0.7 * len(value)


def _can_be_spoken(word: str) -> bool:
    """Whether a word has a vowel in each five letters in a row, which drawn letters seldom have."""
    return compiled(r"(?i)[^aeiouy]{5}").search(word) is None


def may_be_chosen(value: str) -> bool:
    """Whether a value may be a password that a person chose: 8 characters or more, letters and digits, no algorithm."""
    return (
        len(value) >= _SHORTEST_CHOSEN
        and has_digit(value)
        and any(map(str.isalpha, value))
        and compiled(_NOT_CHOSEN).fullmatch(value) is None
        and not is_placeholder(value)
    )


def is_strong_choice(value: str) -> bool:
    """Whether a value that may be chosen is unlike words of prose: two digits, and two capitals or a sign."""
    signs = sum(map(str.isupper, value)) > 1 or compiled(r"[^\w\-/:.]").search(value) is not None
    return (
        signs and sum(map(str.isdigit, value)) > 1 and len(value) > _SHORTEST_CHOSEN and may_be_chosen(value)
    )


def is_random(value: str) -> bool:
    """Whether a value looks random, or like words and a number that a person chose."""
    return looks_drawn(value) or (value.rstrip("!?#*$%").isalnum() and is_strong_choice(value))


_SHORTEST_CHOSEN: Final = 8
_NOT_CHOSEN: Final = (
    r"(?i)(?:md|sha|hmac|aes|rsa|hs|rs|es|ed|base|utf|pbkdf|argon|bcrypt|scrypt|oauth|http|python|v)[-_]?\d.*|"
    r"\d+[-+]?[a-z]*(?:-[a-z]+)*|\d{1,4}[-/.:]\d.*|.*[()\[\]{}<>/\\=].*"
)
"""Algorithms, versions, times, measures, paths and code, which follow the name of a password in prose."""


_EVEN_CHARS: Final = 80
_LEAST_JUDGED: Final = 20
"""A shorter value may be a weak password, even if it is regular."""


def is_placeholder(value: str) -> bool:
    """Whether a value is a placeholder: `None`, `xxxx`, `***`, `${TOKEN}`, `<password>`, `your-key-here`."""
    value = value[:_JUDGED_CHARS].strip(" :;,!?")
    return (
        is_filler(value)
        or compiled(_BENIGN).fullmatch(value) is not None
        or (compiled(_ADVICE).fullmatch(value) is not None and not _holds_drawn(value))
        or compiled(_ELEMENT).fullmatch(value) is not None
        or _is_reference(value)
        or (is_even(value) and compiled(_UUID).fullmatch(value) is None)
        or _is_made_of_stand_ins(value)
    )


def is_filler(value: str) -> bool:
    """Whether a value is already masked, or mostly one repeated character: `***`, `xxxx`, `AAAA0000`."""
    value = value[:_JUDGED_CHARS]
    return (
        not value.strip("xX*.#-_?…• ")
        or compiled(_MASKED).fullmatch(value) is not None
        or 2 * sum(len(run[0]) for run in compiled(_SAME).finditer(value)) > len(value)
    )


_BENIGN: Final = (
    r"(?i)none|null|nil|true|false|str|string|int|bytes|bool|any|secretstr|secretbytes|required|undefined|empty|missing|"
    r"invalid|valid|wrong|expired|optional|unset|redacted|masked|hidden|secret|password|passwd|pass|pwd|auth|token|yyy|enabled|"
    r"disabled|active|inactive|malformed|mismatch|revoked|rotated|rejected|accepted|denied|failed|unknown|unavailable|"
    r"encrypted|yes|off|n/a|ok|changed|updated|saved|stored|loaded|created|generated|issued|requested|sent|resent|entered|typed|"
    r"provided|parsed|verified|unverified|confirmed|matched|correct|incorrect|reset|refreshed|cleared|deleted|removed|forgotten|"
    r"pending|\[{1,2}redacted:.*|enc\[.*"
)
_ADVICE: Final = r"(?i)(?:your|my|the|enter|insert|put)[-_ ].*|(?:.*[-_. ])?your[-_ ].*|.*_here"
"""Instructions for filling in a value; a random text after `my_` does not count."""
_MASKED: Final = r"(?s)[^*•█#]{0,8}[*•█#]{3,}[^*•█#]{0,4}|.*[*•█#]{6}.*|(?i:.*[\[(<](?:redacted|hidden|masked|removed|filtered|omitted|snip)[\])>].*)"
"""Values that are already masked, except perhaps for their ends."""
_UUID: Final = r"(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
"""A UUID is never a placeholder, even if it looks regular."""
_ELEMENT: Final = r"(?s)</?[A-Za-z][\w:.\-]*(?:[\s/>].*)?"
_SAME: Final = r"([xXaA01*#])\1{4,}"
"""The same character at least 5 times in a row, as in placeholders in documentation."""

# ---- references: variables that a program replaces by the secret ----

_REFERENCE: Final = (
    r"[$#]\{[^{}]*\}|\$\([^()]*\)|\$\[[\w.]+\]|\{\{[^{}]*\}\}|\{[^{}]*\}|%\(\w+\)[a-z]?|%[srdqv@]|%[A-Z_]{2,}%|"
    r"<[^<>]*>|\[[A-Z_ ]+\]|(?<!\w)\$(?:[A-Za-z_]\w*|\d|[@*#])|(?<!\w)@@\w+@@|(?<!\w)@[A-Z_]{2,}@|__[A-Z]+(?:_[A-Z]+)*__|`[^`]*`?"
)


_KEYED_REFERENCE: Final = rf"(?:--?)?(?:\b[A-Za-z_][\w\-]{{0,30}}[=:][ ]?)?(?:{_REFERENCE})"


def _is_reference(value: str) -> bool:
    """Whether a value refers to a variable: `${TOKEN}`, `%s`, `{user}:{pass}`, `Bearer <token>`."""
    if compiled(r"(?s)`.*|%").fullmatch(value):
        return True
    if compiled(r"[${<%@\[`#]|__").search(value) is None:
        return False
    # one that contains a random text is no reference
    rest = compiled(_KEYED_REFERENCE).sub(lambda match: match[0] if _holds_drawn(match[0]) else "", value)
    return rest != value and not any(map(str.isdigit, rest)) and sum(map(str.isalpha, rest)) <= 12


def _holds_drawn(value: str) -> bool:
    """Whether a run of at least 8 letters and digits in a value alternates between them more than once."""
    runs = compiled(r"[A-Za-z0-9]{8,}").findall(value)
    return any(len(compiled(r"[A-Za-z]+|\d+").findall(run)) > 2 for run in runs)


# ---- words of documentation ----

_MARKS: Final = frozenset(
    "example examples sample dummy fake mock placeholder changeme change changeit replace replaceme todo fixme tbd "
    "redacted hidden masked removed omitted filtered insert your yours enter paste put supply here".split()
)
"""Words that mark a value as a placeholder."""
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
_PARTS: Final = r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+"


def _is_made_of_stand_ins(value: str) -> bool:
    """Whether a value is a placeholder made of words: `changeme`, `my-secret-token`, `EXAMPLE_KEY_1`."""
    parts = compiled(_PARTS).findall(value)
    words = [part.lower() for part in parts if not part.isdigit()]
    if not words or len(words) > 12 or sum(map(len, parts)) < 0.6 * len(value):
        return False
    is_marked = not _MARKS.isdisjoint(words)
    has_number = len(words) < len(parts)
    # `secret-1` may be a password, and so may `Secret!`.
    if not is_marked and (has_number or len(words) < 2 or compiled(r"[\w\- ./:]+").fullmatch(value) is None):
        return False
    known = _MARKS | _SECRETS | _FILLING
    return known.issuperset(words) and (is_marked or not _SECRETS.isdisjoint(words))


_EXAMPLE: Final = r"(?i:example){2}|EXAMPLE(?![A-Z])|(?<![a-z])[Ee]xample(?![a-z])|(?i:placeholder)"
_SHORTEST_WORD: Final = 4


def marks_an_example(key: str) -> bool:
    """Whether the rest of a key after its prefix marks it as an example, such as `RANDOMSTRINGHERE`."""
    if compiled(_EXAMPLE).search(key) is not None:
        return True
    letters = "".join(filter(str.isalpha, key[:_JUDGED_CHARS])).lower()
    words = compiled(_vocabulary()).findall(letters)
    return len(words) > 1 and sum(map(len, words)) > 0.6 * len(letters)


@lru_cache(maxsize=1)
def _vocabulary() -> str:
    words = sorted(_MARKS | _SECRETS | _FILLING, key=len, reverse=True)
    return "|".join(word for word in words if len(word) >= _SHORTEST_WORD)


# ---- repeated patterns ----

_ROWS: Final = "abcdefghijklmnopqrstuvwxyz 01234567890 qwertyuiop asdfghjkl zxcvbnm"
_STEPS: Final = frozenset(
    steps for steps in zip(_ROWS, _ROWS[1:], _ROWS[2:], strict=False) if " " not in steps
)
_JOINTS_AND_NUMBERS: Final = r"(?:(?<![^\W_])\d+(?=[\W_])|[\W_]+)+"
_SHARE_OF_STEPS: Final = 0.25
"""A text of only `abc` and `123` has 1 step in 3 characters, a random text less than 1 in 100."""
_RUNS_OF_ONE: Final = r"(.)\1{2,}"
_SHARE_OF_ONE: Final = 0.5
_FEW: Final = 3


def is_even(value: str) -> bool:
    """Whether a long value is regular: alphabetical, mostly runs of one character, or 3 distinct at most."""
    # Separate groups of digits, as in account numbers, are not counted.
    letters = compiled(_JOINTS_AND_NUMBERS).sub("", value[:_EVEN_CHARS]).lower()
    count = len(letters)
    if count < _LEAST_JUDGED:
        return False
    steps = sum(map(_STEPS.__contains__, zip(letters, letters[1:], letters[2:], strict=False)))
    if steps >= _SHARE_OF_STEPS * count or len(set(letters)) <= _FEW:
        return True
    return sum(len(run[0]) for run in compiled(_RUNS_OF_ONE).finditer(letters)) > _SHARE_OF_ONE * count


def counts_on(value: str) -> bool:
    """Whether a value consists of 3 or more sequences from the alphabet, digits or keyboard: `AbCeFG123`."""
    letters = compiled(r"[\W_]+").sub("", value[:_EVEN_CHARS]).lower()
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

# Code that reads a secret, or the name of the variable that holds it, does not contain the secret.
_CODE: Final = (
    r"(?s)(?:self|os|env|settings|config|args|kwargs|options|process|var|data|this)[.\[].*|getenv.*|getpass.*|[$<{].*|%(?![0-9A-Fa-f]{2}).*|"
    r"(?:str|string|bytes|int|bool|Any|Optional|None|SecretStr|String|char)[^\w\-@.].*|"
    r"[A-Za-z_][\w.]*\(.*|[a-z]+(?:_[a-z]+)+|[A-Za-z_]\w*(?:[\[{].*|@(?:[0-9a-f]+|[\w\-]+(?:\.[\w\-]+)+))|/[a-z][a-z.\-]*/.*|"
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
    """Whether an unquoted value is code: a call, a subscript, a name of several words, a type, a path."""
    return compiled(_CODE).fullmatch(value[:_JUDGED_CHARS]) is not None


def is_prose(value: str) -> bool:
    """Whether a quoted value is a message about a secret, `Password is required`, or code that reads it."""
    value = value[:_JUDGED_CHARS]
    if compiled(_FETCH).fullmatch(value) is not None:
        return True
    words = compiled(r"[^\W\d_]+").findall(value.lower())
    talked = len(_TALK.intersection(words))
    return talked > 0 and talked + len(_JOINTS.intersection(words)) >= 2
